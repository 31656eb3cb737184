package signaling

import (
	"sync"
	"sync/atomic"
	"time"

	corelane "github.com/corelane/corelane/go"
)

// call is one caller that waits for the result of a message. Calls are used again; the generation is part of the number that
// the message carries, so that a late event finds no later call.
type call struct {
	index      uint32
	generation atomic.Uint32
	state      atomic.Uint32
	done       chan struct{}
	// Written by the poller until it ends the call.
	reason corelane.Reason
	err    error
	seen   time.Time
}

// The states of a call.
const (
	callWaits uint32 = iota
	callEnded
	callAbandoned
)

// callNumbers begin here, so that the correlations of hosts that submit themselves are no calls.
const callBit = 1 << 63

func (c *call) number() uint64 { return callBit | uint64(c.generation.Load())<<32 | uint64(c.index) }

// again makes the call one for another message.
func (c *call) again() {
	c.generation.Store((c.generation.Load() + 1) & (1<<31 - 1))
	c.reason = corelane.ReasonNone
}

// end says that the caller still waits.
func (c *call) end() bool { return c.state.CompareAndSwap(callWaits, callEnded) }

// abandon says that the poller has not ended the call.
func (c *call) abandon() bool { return c.state.CompareAndSwap(callWaits, callAbandoned) }

// calls is the table of calls.
type calls struct {
	lock sync.Mutex
	free []*call
	all  []*call
}

func (t *calls) take() *call {
	t.lock.Lock()
	defer t.lock.Unlock()
	if n := len(t.free); n > 0 {
		c := t.free[n-1]
		t.free = t.free[:n-1]
		return c
	}
	c := &call{index: uint32(len(t.all)), done: make(chan struct{}, 1)}
	t.all = append(t.all, c)
	return c
}

func (t *calls) give(c *call) {
	t.lock.Lock()
	defer t.lock.Unlock()
	c.again()
	c.err, c.seen = nil, time.Time{}
	c.state.Store(callWaits)
	t.free = append(t.free, c)
}

// mark notes why the message of a call has failed. False: the number is not that of a call that waits.
func (t *calls) mark(number uint64, reason corelane.Reason) bool {
	if number&callBit == 0 {
		return false
	}
	t.lock.Lock()
	defer t.lock.Unlock()
	index := uint32(number)
	if int(index) >= len(t.all) {
		return true
	}
	if c := t.all[index]; c.number() == number {
		c.reason = reason
	}
	return true
}
