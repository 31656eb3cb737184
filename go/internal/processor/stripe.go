//go:build corelane_no_linkname

// Package processor gives out stripes in place of the processors of the scheduler: see pin.go.
package processor

import (
	"math/rand/v2"
	"sync"
)

type stripe struct {
	lock sync.Mutex
	_    [56]byte
}

var stripes [64]stripe

// Pin returns a number that no other goroutine has before Unpin.
func Pin() int {
	at := int(rand.Uint32() % uint32(len(stripes)))
	for tries := 0; tries < 4; tries++ {
		if stripes[at].lock.TryLock() {
			return at
		}
		at = (at + 1) % len(stripes)
	}
	stripes[at].lock.Lock()
	return at
}

// Unpin ends a Pin.
func Unpin(at int) { stripes[at].lock.Unlock() }
