// Package ring is both ends of a ring and both wakes in plain Go: sync/atomic and system calls on memory that the library
// made, no call into it. The protocol is that of include/corelane_ring.h; Go's atomics are sequentially consistent, so that
// a store followed by a load of another word needs no fence of its own.
package ring

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"syscall"
	"unsafe"
)

const (
	alignment = 64
	prefix    = 8
	padKind   = 0xffff
	magic     = 0x31524c43
)

// What a claim or a poll may say.
var (
	ErrFull     = errors.New("the ring is full")
	ErrTooLarge = errors.New("larger than a quarter of the ring")
	ErrClosed   = errors.New("the ring is closed")
	ErrCorrupt  = errors.New("the other side wrote what it may not")
	ErrLayout   = errors.New("not a ring of layout version 1")
)

// Memory is where a ring lies; the offsets are those that the library tells.
type Memory struct {
	Base                                              unsafe.Pointer
	Capacity                                          uint64
	Data, Tail, Pushed, RefusedFull, Head, Popped     uint32
	Taken, Handed, NeedSpace, ClosedWord, CorruptWord uint32
}

func (m *Memory) u64(at uint32) *uint64 { return (*uint64)(unsafe.Add(m.Base, at)) }
func (m *Memory) u32(at uint32) *uint32 { return (*uint32)(unsafe.Add(m.Base, at)) }

// Word reads one of the header's words, for messages and checks.
func (m *Memory) Word(at uint32) uint64 { return atomic.LoadUint64(m.u64(at)) }

// Flag reads one of the header's flags.
func (m *Memory) Flag(at uint32) uint32 { return atomic.LoadUint32(m.u32(at)) }

func (m *Memory) data() []byte {
	return unsafe.Slice((*byte)(unsafe.Add(m.Base, m.Data)), int(m.Capacity))
}

func (m *Memory) check() error {
	if m.Capacity < 1024 || m.Capacity&(m.Capacity-1) != 0 || m.Flag(0) != magic || m.Flag(4) != 1 ||
		m.Word(8) != m.Capacity || m.Word(16) != uint64(m.Data) || m.Word(24) != 0 {
		return ErrLayout
	}
	return nil
}

// Wake is a thread's wake word and how it sleeps: on a descriptor, or with -1 on the word itself.
type Wake struct {
	Word *uint32
	FD   int32
}

// Arm says that the owner is about to sleep; behind it everything is looked at once more.
func (w Wake) Arm() { atomic.SwapUint32(w.Word, 1) }

// Disarm says that the owner goes on.
func (w Wake) Disarm() { atomic.SwapUint32(w.Word, 0) }

// IfAsleep clears the word of a sleeper, then wakes it; after a publication.
func (w Wake) IfAsleep() bool {
	if atomic.LoadUint32(w.Word) != 1 || atomic.SwapUint32(w.Word, 0) != 1 {
		return false
	}
	if w.FD >= 0 {
		one := [8]byte{1}
		_, _ = syscall.Write(int(w.FD), one[:])
	} else {
		const wakePrivate, all = 1 | 128, 1<<31 - 1
		_, _, _ = syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(w.Word)), wakePrivate, all, 0, 0, 0)
	}
	return true
}

// Sleep waits for the descriptor, so many seconds at most.
func (w Wake) Sleep(seconds int64) {
	descriptor := struct {
		fd              int32
		events, revents int16
	}{fd: w.FD, events: 1}
	limit := syscall.Timespec{Sec: seconds}
	_, _, _ = syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&descriptor)), 1,
		uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
}

// Drain makes the descriptor unreadable: before a poll, never between the second look and the sleep.
func (w Wake) Drain() {
	var count [8]byte
	_, _ = syscall.Read(int(w.FD), count[:])
}

// Producer is the writing end, one goroutine's at a time.
type Producer struct {
	Memory                                       Memory
	consumer                                     Wake
	tail, published, cachedHead, pushed, claimed uint64
	needsSpace                                   bool
}

// NewProducer takes an unused ring; consumer is how its other side sleeps.
func NewProducer(memory Memory, consumer Wake) (*Producer, error) {
	return &Producer{Memory: memory, consumer: consumer}, memory.check()
}

// Resume takes over where a call that pushes left the ring, and whether it asked for space; everything that this side committed
// is published. SpaceMoved goes on comparing with the head of the Look before the call: a refusal inside the call saw that head
// or a later one. A head that is read here may already be the one that the consumer set behind the refusal.
func (p *Producer) Resume() error {
	m := &p.Memory
	tail, head := m.Word(m.Tail), m.Word(m.Head)
	if tail < p.published || tail%alignment != 0 || head < p.cachedHead || head > tail || tail-head > m.Capacity {
		return ErrCorrupt
	}
	p.tail, p.published, p.claimed = tail, tail, 0
	p.pushed = m.Word(m.Pushed)
	p.needsSpace = m.Flag(m.NeedSpace) != 0
	return nil
}

// Look takes over how far the consumer is.
func (p *Producer) Look() error {
	head := p.Memory.Word(p.Memory.Head)
	if head < p.cachedHead || head > p.published {
		return ErrCorrupt
	}
	p.cachedHead = head
	return nil
}

// Claim makes room for a record of so many bytes, its prefix included and written. After an error nothing has changed.
func (p *Producer) Claim(length uint32, kind, flags uint16) ([]byte, error) {
	capacity := p.Memory.Capacity
	if length < prefix || uint64(length) > capacity/4 || kind == padKind {
		return nil, ErrTooLarge
	}
	if p.Memory.Flag(p.Memory.ClosedWord) != 0 {
		return nil, ErrClosed
	}
	needed := (uint64(length) + alignment - 1) &^ (alignment - 1)
	index := p.tail & (capacity - 1)
	pad := uint64(0)
	if needed > capacity-index {
		pad = capacity - index
	}
	if p.tail+pad+needed-p.cachedHead > capacity {
		if err := p.Look(); err != nil {
			return nil, err
		}
		if p.tail+pad+needed-p.cachedHead > capacity {
			atomic.StoreUint64(p.Memory.u64(p.Memory.RefusedFull), p.Memory.Word(p.Memory.RefusedFull)+1)
			return nil, ErrFull
		}
	}
	data := p.Memory.data()
	if pad > 0 {
		putPrefix(data[index:], uint32(pad), padKind, 0)
		index = 0
	}
	putPrefix(data[index:], length, kind, flags)
	p.claimed = pad + needed
	return data[index : index+uint64(length)], nil
}

// Commit makes the last claim part of the ring.
func (p *Producer) Commit() {
	if p.claimed > 0 {
		p.tail += p.claimed
		p.claimed = 0
		p.pushed++
	}
}

// Publish makes every committed record visible, once per batch, and wakes the consumer if it sleeps.
func (p *Producer) Publish() bool {
	if p.tail == p.published {
		return false
	}
	p.published = p.tail
	atomic.StoreUint64(p.Memory.u64(p.Memory.Pushed), p.pushed)
	atomic.StoreUint64(p.Memory.u64(p.Memory.Tail), p.tail)
	if p.needsSpace {
		atomic.StoreUint32(p.Memory.u32(p.Memory.NeedSpace), 0)
		p.needsSpace = false
	}
	return p.consumer.IfAsleep()
}

// RequestSpace is called before Arm by a producer that found the ring full.
func (p *Producer) RequestSpace() {
	p.needsSpace = true
	atomic.StoreUint32(p.Memory.u32(p.Memory.NeedSpace), 1)
}

// SpaceMoved is its second look, behind Arm.
func (p *Producer) SpaceMoved() bool {
	return p.Memory.Word(p.Memory.Head) != p.cachedHead || p.Memory.Flag(p.Memory.ClosedWord) != 0
}

// Consumer is the reading end, one goroutine's at a time.
type Consumer struct {
	Memory                             Memory
	producer                           Wake
	head, released, cachedTail, popped uint64
}

// NewConsumer takes an unused ring; producer is how its other side sleeps.
func NewConsumer(memory Memory, producer Wake) (*Consumer, error) {
	return &Consumer{Memory: memory, producer: producer}, memory.check()
}

// Resume takes over where another stopped reading.
func (c *Consumer) Resume() error {
	head := c.Memory.Word(c.Memory.Head)
	if head%alignment != 0 {
		return ErrCorrupt
	}
	c.head, c.released, c.cachedTail = head, head, head
	c.popped = c.Memory.Word(c.Memory.Popped)
	return nil
}

// Refresh looks at the tail, once per batch.
func (c *Consumer) Refresh() error {
	tail := c.Memory.Word(c.Memory.Tail)
	if tail < c.cachedTail || tail-c.released > c.Memory.Capacity || tail%alignment != 0 {
		return ErrCorrupt
	}
	c.cachedTail = tail
	return nil
}

// Next is the next record up to that tail, prefix included, or nil; valid until Release.
func (c *Consumer) Next() (record []byte, kind, flags uint16, err error) {
	data := c.Memory.data()
	for c.head != c.cachedTail {
		index := c.head & (c.Memory.Capacity - 1)
		length, kind, flags := getPrefix(data[index:])
		stride := (uint64(length) + alignment - 1) &^ (alignment - 1)
		bad := stride > c.cachedTail-c.head || stride > c.Memory.Capacity-index
		if kind == padKind {
			if bad || uint64(length) != c.Memory.Capacity-index {
				return nil, 0, 0, ErrCorrupt
			}
			c.head += stride
			continue
		}
		if bad || length < prefix || uint64(length) > c.Memory.Capacity/4 {
			return nil, 0, 0, ErrCorrupt
		}
		c.head += stride
		c.popped++
		return data[index : index+uint64(length)], kind, flags, nil
	}
	return nil, 0, 0, nil
}

// Release gives back everything read, once per batch, and wakes the producer if it waits for space.
func (c *Consumer) Release() bool {
	if c.head == c.released {
		return false
	}
	c.released = c.head
	atomic.StoreUint64(c.Memory.u64(c.Memory.Popped), c.popped)
	atomic.StoreUint64(c.Memory.u64(c.Memory.Head), c.head)
	// The producer alone writes the word.
	return c.Memory.Flag(c.Memory.NeedSpace) != 0 && c.producer.IfAsleep()
}

// Tell says how far this side is: up to where every record was handed out, and to how many recipients the next one was. Whoever
// releases the port goes on there.
func (c *Consumer) Tell(taken, handed uint64) {
	m := &c.Memory
	if m.Word(m.Taken) != taken || m.Word(m.Handed) != handed {
		atomic.StoreUint64(m.u64(m.Taken), taken)
		atomic.StoreUint64(m.u64(m.Handed), handed)
	}
}

// HasMore is the second look, behind Arm.
func (c *Consumer) HasMore() bool { return c.Memory.Word(c.Memory.Tail) != c.head }

func putPrefix(record []byte, length uint32, kind, flags uint16) {
	_ = record[prefix-1]
	binary.NativeEndian.PutUint32(record, length)
	binary.NativeEndian.PutUint16(record[4:], kind)
	binary.NativeEndian.PutUint16(record[6:], flags)
}

func getPrefix(record []byte) (length uint32, kind, flags uint16) {
	_ = record[prefix-1]
	return binary.NativeEndian.Uint32(record), binary.NativeEndian.Uint16(record[4:]), binary.NativeEndian.Uint16(record[6:])
}
