//go:build !linux

package corelane

import "os"

// wakeFile fails: the library is for Linux, and elsewhere there is only the stub build, which opens no lane.
func wakeFile(int32) (*os.File, error) { return nil, ErrUnsupported }
