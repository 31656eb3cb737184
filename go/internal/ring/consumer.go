package ring

import (
	"sync/atomic"
	"unsafe"
)

// Consumer is the consumer end. Only one goroutine at a time may use it.
type Consumer struct {
	Memory
	producer                            Wake
	head, released, cachedTail, records uint64
}

// NewConsumer takes an unused ring. producer is how the other side sleeps.
func NewConsumer(memory Memory, producer Wake) Consumer {
	return Consumer{Memory: memory, producer: producer}
}

// Refresh loads the tail. Call it once per batch.
func (c *Consumer) Refresh() error {
	tail := atomic.LoadUint64(c.tail)
	if tail == c.cachedTail {
		return nil
	}
	if tail < c.cachedTail || tail-c.released > c.capacity || tail%alignment != 0 {
		return ErrCorrupt
	}
	if Enabled && !c.own {
		acquireRace()
	}
	c.cachedTail = tail
	return nil
}

// A Record is a record that the consumer has taken. Start points at the prefix; the record is valid until Release.
type Record struct {
	Start       unsafe.Pointer
	Length      int
	Kind, Flags uint16
}

// U64 reads an aligned word of the record.
func (r Record) U64(at int) uint64 { return atomic.LoadUint64((*uint64)(unsafe.Add(r.Start, at))) }

// U32 reads an aligned word of the record.
func (r Record) U32(at int) uint32 { return atomic.LoadUint32((*uint32)(unsafe.Add(r.Start, at))) }

// Bytes is the record from this offset on.
func (r Record) Bytes(from int) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(r.Start, from)), r.Length-from)
}

// Next takes the next record before the tail of the last Refresh. It returns false if there is none.
func (c *Consumer) Next() (record Record, found bool, err error) {
	for c.head != c.cachedTail {
		index := c.head & c.mask
		length, kind, flags := c.prefix(index)
		step := stride(int(length))
		bad := length < prefixBytes || step > c.cachedTail-c.head || step > c.capacity-index
		if kind == padKind {
			if bad || uint64(length) != c.capacity-index {
				return Record{}, false, ErrCorrupt
			}
			c.head += step
			continue
		}
		if bad || uint64(length) > c.capacity/4 {
			return Record{}, false, ErrCorrupt
		}
		c.head += step
		c.records++
		return Record{c.at(index), int(length), kind, flags}, true, nil
	}
	return Record{}, false, nil
}

// Back un-takes the last record that Next returned.
func (c *Consumer) Back(record Record) {
	c.head -= stride(record.Length)
	c.records--
}

// Release releases the space of all records taken and wakes the producer if it waits for space. Call it once per batch.
func (c *Consumer) Release() bool {
	if c.head == c.released {
		return false
	}
	c.released = c.head
	storeOwn(c.popped, c.records)
	atomic.StoreUint64(c.Memory.head, c.head)
	// Only the producer writes this word.
	return atomic.LoadUint32(c.needSpace) != 0 && c.producer.IfAsleep()
}

// HasMore is the re-check after arming: whether there are records.
func (c *Consumer) HasMore() bool { return atomic.LoadUint64(c.tail) != c.head }
