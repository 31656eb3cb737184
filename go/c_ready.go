//go:build cgo && !corelane_stub

package corelane

import (
	"context"
	"os"
	"syscall"
	"time"
)

// readiness waits for a descriptor of the library with Go's poller, so that no thread is parked. It has a copy of the
// descriptor: the library may close its own meanwhile.
type readiness struct {
	file *os.File
	raw  syscall.RawConn
}

func newReadiness(poll interface{ descriptor() (int, error) }) (readiness, error) {
	descriptor, err := poll.descriptor()
	if err != nil {
		return readiness{}, err
	}
	own, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(descriptor), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return readiness{}, &Error{Code: CodeSystem, Message: "a copy of the library's descriptor", Errno: errno}
	}
	file := os.NewFile(own, "corelane events")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return readiness{}, err
	}
	return readiness{file, raw}, nil
}

// wait calls `look` until it returns true, each time that the descriptor may have become readable.
func (r readiness) wait(ctx context.Context, look func() bool) error {
	stop := context.AfterFunc(ctx, func() { r.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	return r.raw.Read(func(uintptr) bool { return look() })
}

func (r readiness) close() {
	r.file.Close()
}
