//go:build !corelane_no_linkname

// Package processor tells which processor of the Go scheduler (P) a goroutine runs on, and keeps it there for a moment.
//
// runtime.procPin is not part of Go's promise of compatibility, but the runtime keeps it for packages like this one
// (go.dev/issue/67401). With the tag corelane_no_linkname stripes under locks take its place: about 15 ns more each time.
package processor

import _ "unsafe" // for linkname

//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()

// Pin returns the number of this processor, from 0. Until Unpin the goroutine is not preempted, so no other goroutine pins
// the same number. The code between the two must be short and must not block.
func Pin() int { return procPin() }

// Unpin ends a Pin.
func Unpin(int) { procUnpin() }
