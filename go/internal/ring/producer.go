package ring

import (
	"sync/atomic"
	"unsafe"
)

// Producer is the producer end. Only one goroutine at a time may use it.
type Producer struct {
	Memory
	consumer                             Wake
	tail, published, cachedHead, claimed uint64
	records                              uint64
	needsSpace                           bool
}

// NewProducer takes an unused ring. consumer is how the other side sleeps.
func NewProducer(memory Memory, consumer Wake) Producer {
	return Producer{Memory: memory, consumer: consumer}
}

func stride(length int) uint64 { return (uint64(length) + alignment - 1) &^ (alignment - 1) }

// Stride is the space that a record of this length takes, without a pad.
func Stride(length int) uint64 { return stride(length) }

// Look loads the consumer's head.
func (p *Producer) Look() error {
	head := atomic.LoadUint64(p.head)
	if head < p.cachedHead || head > p.published || head%alignment != 0 {
		return ErrCorrupt
	}
	p.cachedHead = head
	return nil
}

// Free is the space that is not in use, by the head of the last Look.
func (p *Producer) Free() uint64 { return p.capacity - (p.tail - p.cachedHead) }

// Seen is the head of the last Look.
func (p *Producer) Seen() uint64 { return p.cachedHead }

// Tail is the position after the last committed record.
func (p *Producer) Tail() uint64 { return p.tail }

// Unpublished is how many bytes are committed and not yet visible.
func (p *Producer) Unpublished() uint64 { return p.tail - p.published }

// Records is how many records were committed.
func (p *Producer) Records() uint64 { return p.records }

// Taken is how many records the consumer has taken.
func (p *Producer) Taken() uint64 { return atomic.LoadUint64(p.popped) }

// Claim claims space for a record of this length, which includes the prefix, and writes the prefix. At least spare bytes
// stay free. After an error the ring's records are unchanged.
func (p *Producer) Claim(length int, kind, flags uint16, spare uint64) (unsafe.Pointer, error) {
	if uint(length-prefixBytes) > uint(p.capacity/4-prefixBytes) || kind == padKind {
		return nil, ErrTooLarge
	}
	needed := stride(length)
	index := p.tail & p.mask
	pad := uint64(0)
	if needed > p.capacity-index {
		pad = p.capacity - index
	}
	if p.tail+pad+needed+spare > p.cachedHead+p.capacity {
		if err := p.Look(); err != nil {
			return nil, err
		}
		if p.tail+pad+needed+spare > p.cachedHead+p.capacity {
			return nil, ErrFull
		}
	}
	if pad > 0 {
		p.putPrefix(index, uint32(pad), padKind, 0)
		index = 0
	}
	p.putPrefix(index, uint32(length), kind, flags)
	p.claimed = pad + needed
	return p.at(index), nil
}

// Refused counts a claim that the ring had no space for.
func (p *Producer) Refused() { atomic.StoreUint64(p.refusedFull, atomic.LoadUint64(p.refusedFull)+1) }

// Commit appends the last claimed record to the ring. It stays invisible until Publish.
func (p *Producer) Commit() {
	p.tail += p.claimed
	p.claimed = 0
	p.records++
}

// Publish makes all committed records visible and wakes the consumer if it sleeps. Call it once per batch. It returns
// whether it has woken the consumer.
func (p *Producer) Publish() bool {
	return p.PublishQuietly() && p.consumer.IfAsleep()
}

// PublishQuietly is Publish without a wake, for a producer that makes the consumer run, or calls WakeConsumer. It returns
// whether there was anything to publish.
func (p *Producer) PublishQuietly() bool {
	if p.tail == p.published {
		return false
	}
	p.published = p.tail
	if Enabled && !p.own {
		releaseRace()
	}
	storeOwn(p.pushed, p.records)
	atomic.StoreUint64(p.Memory.tail, p.tail)
	return true
}

// WakeConsumer wakes the consumer if it sleeps. Call it after a quiet publication.
func (p *Producer) WakeConsumer() bool { return p.consumer.IfAsleep() }

// RequestSpace announces that this side waits for space. A producer that found the ring full calls it before it arms, and
// re-checks SpaceMoved afterwards.
func (p *Producer) RequestSpace() {
	p.needsSpace = true
	atomic.StoreUint32(p.needSpace, 1)
}

// EndRequest withdraws the request for space.
func (p *Producer) EndRequest() {
	if p.needsSpace {
		p.needsSpace = false
		atomic.StoreUint32(p.needSpace, 0)
	}
}

// SpaceMoved is the re-check after arming: whether the consumer's head differs from the one that a refusal saw, or the
// ring is closed.
func (p *Producer) SpaceMoved(seen uint64) bool {
	return atomic.LoadUint64(p.head) != seen || p.Closed()
}
