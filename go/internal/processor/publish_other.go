//go:build !amd64 || race

package processor

import "sync/atomic"

// Publish stores a value with release ordering: whoever loads it sees what was written before.
func Publish(to *atomic.Uint64, value uint64) { to.Store(value) }
