// Package ring has both ends of a ring and both directions of waking in plain Go: sync/atomic and system calls on
// memory that the library allocated, without a call into it. The protocol is that of docs/layout.md. Go's
// atomics are sequentially consistent, so a store followed by a load of another word needs no fence.
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

// Errors of a claim or a poll.
var (
	ErrFull     = errors.New("the ring is full")
	ErrTooLarge = errors.New("larger than a quarter of the ring")
	ErrClosed   = errors.New("the ring is closed")
	ErrCorrupt  = errors.New("the other side wrote what it may not")
	ErrLayout   = errors.New("not a ring of layout version 1")
)

// Memory is the memory of a ring, with the offsets that the library reports.
type Memory struct {
	Base                                              unsafe.Pointer
	Capacity                                          uint64
	Data, Tail, Pushed, RefusedFull, Head, Popped     uint32
	Taken, Handed, NeedSpace, ClosedWord, CorruptWord uint32
}

func (m *Memory) u64(at uint32) *uint64 { return (*uint64)(unsafe.Add(m.Base, at)) }
func (m *Memory) u32(at uint32) *uint32 { return (*uint32)(unsafe.Add(m.Base, at)) }

// Word loads a 64-bit word of the header.
func (m *Memory) Word(at uint32) uint64 { return atomic.LoadUint64(m.u64(at)) }

// Flag loads a 32-bit word of the header.
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

// Wake is a thread's wake word and how the thread sleeps: on the descriptor, or, if that is -1, on the word itself.
type Wake struct {
	Word *uint32
	FD   int32
}

// Arm announces that the owner is about to sleep. Afterwards re-check everything that could have been published.
func (w Wake) Arm() { atomic.SwapUint32(w.Word, 1) }

// Disarm ends the announcement.
func (w Wake) Disarm() { atomic.SwapUint32(w.Word, 0) }

// IfAsleep clears the word of a sleeping owner, then wakes it. Call it after a publication.
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

// Sleep waits for the descriptor, for at most this many seconds.
func (w Wake) Sleep(seconds int64) {
	descriptor := struct {
		fd              int32
		events, revents int16
	}{fd: w.FD, events: 1}
	limit := syscall.Timespec{Sec: seconds}
	_, _, _ = syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&descriptor)), 1,
		uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
}

// Drain makes the descriptor unreadable. Call it before a poll, never between the re-check and the sleep: that would
// lose a wake.
func (w Wake) Drain() {
	var count [8]byte
	_, _ = syscall.Read(int(w.FD), count[:])
}

// Producer is the producer end. Only one goroutine at a time may use it.
type Producer struct {
	Memory                                       Memory
	consumer                                     Wake
	tail, published, cachedHead, pushed, claimed uint64
	needsSpace                                   bool
}

// NewProducer takes an unused ring. consumer is how the other side sleeps.
func NewProducer(memory Memory, consumer Wake) (*Producer, error) {
	return &Producer{Memory: memory, consumer: consumer}, memory.check()
}

// Resume takes over the positions after a call that pushes, and whether that call asked for space. Everything that
// this side committed must be published. SpaceMoved goes on comparing with the head of the Look before the call: a
// refusal inside the call saw that head or a later one. A head read here may already be the one that the consumer
// stored after the refusal.
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

// Look loads the consumer's head.
func (p *Producer) Look() error {
	head := p.Memory.Word(p.Memory.Head)
	if head < p.cachedHead || head > p.published {
		return ErrCorrupt
	}
	p.cachedHead = head
	return nil
}

// Claim claims space for a record of this length and writes the prefix, which the length includes. After an error the
// ring's records are unchanged.
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

// Commit appends the last claimed record to the ring. It stays invisible until Publish.
func (p *Producer) Commit() {
	if p.claimed > 0 {
		p.tail += p.claimed
		p.claimed = 0
		p.pushed++
	}
}

// Publish makes all committed records visible and wakes the consumer if it sleeps. Call it once per batch.
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

// RequestSpace announces that this side waits for space. A producer that found the ring full calls it before Arm.
func (p *Producer) RequestSpace() {
	p.needsSpace = true
	atomic.StoreUint32(p.Memory.u32(p.Memory.NeedSpace), 1)
}

// SpaceMoved is the re-check after Arm: whether the consumer has released space, or the ring is closed.
func (p *Producer) SpaceMoved() bool {
	return p.Memory.Word(p.Memory.Head) != p.cachedHead || p.Memory.Flag(p.Memory.ClosedWord) != 0
}

// Consumer is the consumer end. Only one goroutine at a time may use it.
type Consumer struct {
	Memory                             Memory
	producer                           Wake
	head, released, cachedTail, popped uint64
}

// NewConsumer takes an unused ring. producer is how the other side sleeps.
func NewConsumer(memory Memory, producer Wake) (*Consumer, error) {
	return &Consumer{Memory: memory, producer: producer}, memory.check()
}

// Resume takes over at the position at which another consumer stopped.
func (c *Consumer) Resume() error {
	head := c.Memory.Word(c.Memory.Head)
	if head%alignment != 0 {
		return ErrCorrupt
	}
	c.head, c.released, c.cachedTail = head, head, head
	c.popped = c.Memory.Word(c.Memory.Popped)
	return nil
}

// Refresh loads the tail. Call it once per batch.
func (c *Consumer) Refresh() error {
	tail := c.Memory.Word(c.Memory.Tail)
	if tail < c.cachedTail || tail-c.released > c.Memory.Capacity || tail%alignment != 0 {
		return ErrCorrupt
	}
	c.cachedTail = tail
	return nil
}

// Next takes the next record before that tail, including its prefix, or nil. The record is valid until Release.
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

// Release releases the space of all records read and wakes the producer if it waits for space. Call it once per batch.
func (c *Consumer) Release() bool {
	if c.head == c.released {
		return false
	}
	c.released = c.head
	atomic.StoreUint64(c.Memory.u64(c.Memory.Popped), c.popped)
	atomic.StoreUint64(c.Memory.u64(c.Memory.Head), c.head)
	// Only the producer writes this word.
	return c.Memory.Flag(c.Memory.NeedSpace) != 0 && c.producer.IfAsleep()
}

// Tell writes how far this side is: taken, the position up to which every record was handed out, and handed, the
// number of recipients of the next record that have it already. The release of the port continues there.
func (c *Consumer) Tell(taken, handed uint64) {
	m := &c.Memory
	if m.Word(m.Taken) != taken || m.Word(m.Handed) != handed {
		atomic.StoreUint64(m.u64(m.Taken), taken)
		atomic.StoreUint64(m.u64(m.Handed), handed)
	}
}

// HasMore is the re-check after Arm: whether there are records.
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
