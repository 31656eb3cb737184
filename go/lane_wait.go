//go:build linux

package corelane

import (
	"os"
	"syscall"
)

// wakeFile returns a file that waits for an eventfd on Go's network poller. The descriptor is a copy: closing the file leaves
// the library's own open.
func wakeFile(descriptor int32) (*os.File, error) {
	syscall.ForkLock.RLock()
	copied, err := syscall.Dup(int(descriptor))
	if err == nil {
		syscall.CloseOnExec(copied)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, err
	}
	if err := syscall.SetNonblock(copied, true); err != nil {
		_ = syscall.Close(copied)
		return nil, err
	}
	return os.NewFile(uintptr(copied), "corelane lane"), nil
}
