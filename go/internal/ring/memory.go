// Package ring has both ends of a ring in plain Go: sync/atomic and raw system calls on memory that the library
// allocated, without a call into it. docs/layout.md has the protocol. Go's atomics are sequentially consistent, so a store
// followed by a load of another word needs no fence.
//
// Whatever the other end wrote is untrusted: a header is read once into a local, and lengths, kinds and positions are
// checked.
//
// The race detector does not see memory outside Go's heap. The tests of this package use rings in Go memory, so that the
// detector sees every access of both ends. For the library's memory, in builds with -race, Publish
// and Refresh tell the detector what a publication orders, because it sees neither the words in that memory nor the
// workers, which carry a message from one lane to another.
package ring

import (
	"errors"
	"sync/atomic"
	"unsafe"
)

const (
	alignment   = 64
	prefixBytes = 8
	padKind     = 0xffff
	magic       = 0x31524c43
	version     = 1
	headerBytes = 512
)

// Errors of a claim or a poll.
var (
	ErrFull     = errors.New("the ring is full")
	ErrTooLarge = errors.New("the record is larger than a quarter of the ring")
	ErrClosed   = errors.New("the ring is closed")
	ErrCorrupt  = errors.New("the ring is corrupt")
	ErrLayout   = errors.New("not a ring of layout version 1")
)

// Layout says where a ring is. The offsets are from Base, in bytes.
type Layout struct {
	Base                                                                      unsafe.Pointer
	Capacity                                                                  uint64
	Data, Tail, Pushed, RefusedFull, Head, Popped, NeedSpace, Closed, Corrupt uint32
}

// Memory is the memory of a ring. Several ends may use copies of it.
type Memory struct {
	data                                    unsafe.Pointer
	capacity, mask                          uint64
	tail, pushed, refusedFull, head, popped *uint64
	needSpace, closed, corrupt              *uint32
	// own: the memory is Go's, so the race detector sees the atomics that order its use.
	own bool
}

// Map checks the header of a ring, and returns its memory.
func Map(l Layout) (Memory, error) {
	u64 := func(at uint32) *uint64 { return (*uint64)(unsafe.Add(l.Base, at)) }
	u32 := func(at uint32) *uint32 { return (*uint32)(unsafe.Add(l.Base, at)) }
	if l.Base == nil || l.Capacity < 1024 || l.Capacity&(l.Capacity-1) != 0 || atomic.LoadUint32(u32(0)) != magic ||
		atomic.LoadUint32(u32(4)) != version || atomic.LoadUint64(u64(8)) != l.Capacity ||
		atomic.LoadUint64(u64(16)) != uint64(l.Data) || l.Data%alignment != 0 || atomic.LoadUint64(u64(24)) != 0 {
		return Memory{}, ErrLayout
	}
	for _, at := range []uint32{l.Tail, l.Pushed, l.RefusedFull, l.Head, l.Popped} {
		if at%8 != 0 || at+8 > l.Data {
			return Memory{}, ErrLayout
		}
	}
	for _, at := range []uint32{l.NeedSpace, l.Closed, l.Corrupt} {
		if at%4 != 0 || at+4 > l.Data {
			return Memory{}, ErrLayout
		}
	}
	return Memory{
		data: unsafe.Add(l.Base, l.Data), capacity: l.Capacity, mask: l.Capacity - 1,
		tail: u64(l.Tail), pushed: u64(l.Pushed), refusedFull: u64(l.RefusedFull), head: u64(l.Head), popped: u64(l.Popped),
		needSpace: u32(l.NeedSpace), closed: u32(l.Closed), corrupt: u32(l.Corrupt),
	}, nil
}

// Allocate makes an unused ring in Go memory, for tests. It has the layout of docs/layout.md.
func Allocate(capacity uint64) Memory {
	words := make([]uint64, (headerBytes+capacity)/8)
	words[0], words[1], words[2] = magic|version<<32, capacity, headerBytes
	words[400/8] = ^uint64(0)
	memory, err := Map(Layout{
		Base: unsafe.Pointer(&words[0]), Capacity: capacity, Data: headerBytes, Tail: 128, Pushed: 136, RefusedFull: 144,
		Head: 256, Popped: 264, NeedSpace: 384, Closed: 388, Corrupt: 392,
	})
	if err != nil {
		panic(err)
	}
	memory.own = true
	return memory
}

// Capacity is the size of the data in bytes.
func (m *Memory) Capacity() uint64 { return m.capacity }

// MaxRecord is the length of the largest record.
func (m *Memory) MaxRecord() int { return int(m.capacity / 4) }

// Closed says whether the other end has left.
func (m *Memory) Closed() bool { return atomic.LoadUint32(m.closed) != 0 }

// Close says that no more records will be taken, or pushed.
func (m *Memory) Close() { atomic.StoreUint32(m.closed, 1) }

// Corrupt says whether an end has found the ring corrupt.
func (m *Memory) Corrupt() bool { return atomic.LoadUint32(m.corrupt) != 0 }

// MarkCorrupt says that this end has found the ring corrupt.
func (m *Memory) MarkCorrupt() { atomic.StoreUint32(m.corrupt, 1) }

// Waiting is the records that are published and not taken. Another end's words may change meanwhile.
func (m *Memory) Waiting() uint64 {
	popped := atomic.LoadUint64(m.popped)
	return max(atomic.LoadUint64(m.pushed), popped) - popped
}

// Positions are head and tail, for tests and for messages about faults.
func (m *Memory) Positions() (head, tail uint64) {
	return atomic.LoadUint64(m.head), atomic.LoadUint64(m.tail)
}

// Words are the words that only a test may overwrite: it takes the part of a host that writes what it may not.
func (m *Memory) Words() (head, tail *uint64) { return m.head, m.tail }

// ClosedWord is the word that says that an end has left, for the same tests.
func (m *Memory) ClosedWord() *uint32 { return m.closed }

func (m *Memory) at(index uint64) unsafe.Pointer { return unsafe.Add(m.data, index) }

// A prefix is the first word of a record. It is read and written at once.
func (m *Memory) putPrefix(index uint64, length uint32, kind, flags uint16) {
	place := m.at(index)
	*(*uint32)(place) = length
	*(*uint16)(unsafe.Add(place, 4)) = kind
	*(*uint16)(unsafe.Add(place, 6)) = flags
}

func (m *Memory) prefix(index uint64) (length uint32, kind, flags uint16) {
	word := atomic.LoadUint64((*uint64)(m.at(index)))
	parts := (*[4]uint16)(unsafe.Pointer(&word))
	return *(*uint32)(unsafe.Pointer(&word)), parts[2], parts[3]
}
