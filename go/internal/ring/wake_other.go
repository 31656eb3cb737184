//go:build !linux

package ring

// wake does nothing: the library is for Linux, and elsewhere there is only the stub build, which has no rings.
func (Wake) wake() {}

// Sleep does nothing.
func (Wake) Sleep(int64) {}
