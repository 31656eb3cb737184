//go:build !corelane_no_linkname

package stamp

import _ "unsafe" // For go:linkname.

// monotonic reads CLOCK_MONOTONIC.
func monotonic() uint64 { return uint64(nanotime()) }

// nanotime reads CLOCK_MONOTONIC without a system call where the kernel allows it. time.Now would read a second clock.
//
//go:linkname nanotime runtime.nanotime
//go:noescape
func nanotime() int64
