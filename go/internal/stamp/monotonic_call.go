//go:build corelane_no_linkname

package stamp

import (
	"syscall"
	"unsafe"
)

// monotonic reads CLOCK_MONOTONIC by a system call, for a build in which no package may refer to the runtime's functions.
func monotonic() uint64 {
	var now syscall.Timespec
	const clockMonotonic = 1
	_, _, _ = syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&now)), 0)
	return uint64(now.Nano())
}
