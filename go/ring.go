package corelane

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/corelane/corelane/go/internal/processor"
)

// The buffers between recording goroutines and the library. Every processor of the scheduler has a shard, and a goroutine
// writes to the shard of the processor on which it is pinned. So each ring has one writer at a time.
//
//	| field | written by                    | read by         |
//	| slots | the pinned goroutine          | whoever drains  |
//	| tail  | the pinned goroutine, release | whoever drains  |
//	| head  | whoever has the lock, release | the pinned goroutine |
//
// Writers of one shard follow each other: each loads the tail that its predecessor has stored.

// ringSize is a power of two. A shard takes 18 KiB.
const ringSize = 256

type ring[T any] struct {
	head atomic.Uint64
	_    [56]byte
	tail atomic.Uint64
	_    [56]byte
	lock sync.Mutex // Held by whoever drains.

	slots [ringSize]T
}

// slot returns the place for the next value, or nil if there is no room. The caller is pinned to the ring's processor, fills
// the place, and calls publish.
func (r *ring[T]) slot() *T {
	tail := r.tail.Load()
	if tail-r.head.Load() >= ringSize {
		return nil
	}
	return &r.slots[tail%ringSize]
}

// publish makes the value visible. It returns whether half a ring was written since it was last said: then call relieve, not
// pinned.
func (r *ring[T]) publish() (half bool) {
	tail := r.tail.Load() + 1
	processor.Publish(&r.tail, tail)
	return tail%(ringSize/2) == 0
}

// drain hands everything that is in the ring to `take`, in at most two parts.
func (r *ring[T]) drain(take func([]T)) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.drainLocked(take)
}

func (r *ring[T]) drainLocked(take func([]T)) {
	head, tail := r.head.Load(), r.tail.Load()
	for head != tail {
		from := head % ringSize
		count := min(tail-head, ringSize-from)
		take(r.slots[from : from+count])
		head += count
		r.head.Store(head) // The slots may be written again.
	}
}

// relieve drains a ring that is half full, unless another goroutine does so already.
func (r *ring[T]) relieve(take func([]T)) {
	if r.lock.TryLock() {
		defer r.lock.Unlock()
		r.drainLocked(take)
	}
}

// sample is corelane_sample.
type sample struct {
	size      uint32
	reason    uint32
	series    uint64
	client    uint64
	bytes     uint64
	queueWait uint64
	service   uint64
}

const sampleSize = 48

// operation is a value for the library that is neither a sample nor a sum.
type operation struct {
	kind   uint64
	handle uint64
	value  uint64
}

const (
	operationHistogram = 1 // handle: a histogram
	operationSent      = 2 // handle: a client; value: bytes written to it
)

type shard struct {
	samples    ring[sample]
	operations ring[operation]
}

// shards are the shards of a monitor by processor. The list only grows, and never holds nil.
type shards struct {
	list atomic.Pointer[[]*shard]
	grow sync.Mutex
}

func (s *shards) init() {
	list := make([]*shard, runtime.GOMAXPROCS(0))
	for at := range list {
		list[at] = new(shard)
	}
	s.list.Store(&list)
}

// pin returns the shard of this processor and its number for Unpin.
func (s *shards) pin() (*shard, int) {
	for {
		at := processor.Pin()
		list := *s.list.Load()
		if at < len(list) {
			return list[at], at
		}
		processor.Unpin(at)
		s.extend(at + 1)
	}
}

func (s *shards) extend(count int) {
	s.grow.Lock()
	defer s.grow.Unlock()
	old := *s.list.Load()
	if len(old) >= count {
		return
	}
	list := make([]*shard, count)
	for at := copy(list, old); at < count; at++ {
		list[at] = new(shard)
	}
	s.list.Store(&list)
}

func (s *shards) all() []*shard { return *s.list.Load() }
