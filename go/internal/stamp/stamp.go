// Package stamp reads the clock that stamps messages. It needs no cgo.
package stamp

// The units of stamps, as the library reports them.
const (
	// Monotonic is nanoseconds of CLOCK_MONOTONIC.
	Monotonic = 0
	// Counter is the cycle counter: the TSC on amd64, CNTVCT_EL0 on arm64.
	Counter = 1
)

// Now reads the clock of this source.
func Now(source uint64) uint64 {
	if source == Counter {
		return counter()
	}
	return monotonic()
}
