//go:build !amd64

package ring

func counter() uint64 { return monotonic() }
