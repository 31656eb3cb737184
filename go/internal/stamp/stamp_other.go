//go:build !amd64 && !arm64

package stamp

// On other architectures the library uses no counter either.
func counter() uint64 { return monotonic() }
