package ring

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// wake wakes an owner that has cleared its word. Neither system call blocks, so Go's scheduler need not know of them: the
// descriptor is an eventfd in non-blocking mode.
func (w Wake) wake() {
	if w.FD >= 0 {
		one := uint64(1)
		_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(w.FD), uintptr(unsafe.Pointer(&one)), 8)
		return
	}
	const wakePrivate, all = 1 | 128, 1<<31 - 1
	_, _, _ = syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(w.Word)), wakePrivate, all, 0, 0, 0)
}

// Sleep waits on the word as a worker does, until it is cleared or the time is over. Only tests use it: it blocks the
// thread.
func (w Wake) Sleep(nanoseconds int64) {
	const waitPrivate = 0 | 128
	limit := syscall.NsecToTimespec(nanoseconds)
	for atomic.LoadUint32(w.Word) == 1 {
		_, _, errno := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(w.Word)), waitPrivate, 1,
			uintptr(unsafe.Pointer(&limit)), 0, 0)
		if errno == syscall.ETIMEDOUT {
			return
		}
	}
}
