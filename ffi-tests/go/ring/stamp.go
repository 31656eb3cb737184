package ring

import (
	"syscall"
	"unsafe"
)

// Stamp reads the stamp source: 1 is the cycle counter (the TSC on amd64, CNTVCT_EL0 on arm64), 0 is nanoseconds of
// CLOCK_MONOTONIC.
func Stamp(source uint64) uint64 {
	if source == 1 {
		return counter()
	}
	return monotonic()
}

func monotonic() uint64 {
	var now syscall.Timespec
	const clockMonotonic = 1
	_, _, _ = syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&now)), 0)
	return uint64(now.Nano())
}
