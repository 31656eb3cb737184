// The layout and both wakes from Go: records of random sizes go through a ring to a Rust thread and come back on another,
// without a cgo call per message. Both sides sleep: Rust on a futex, this one on an eventfd; the rings fill all the time.
//
// torture [RECORDS [CAPACITY]]
package main

/*
#include "corelane.h"
int32_t corelane_test_echo_start(uint64_t capacity, corelane_layout *out_layout);
int64_t corelane_test_echo_join(uint64_t *sleeps);
*/
import "C"

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"
	"unsafe"

	"corelane.test/ffi/ring"
)

const longestSleep = 20

// xorshift64*: the same for both ends of a record's life, so that nothing need be kept.
type random uint64

func (r *random) next() uint64 {
	*r ^= *r >> 12
	*r ^= *r << 25
	*r ^= *r >> 27
	return uint64(*r) * 0x2545f4914f6cdd1d
}

// Mostly small, sometimes as large as the ring takes.
func lengthOf(value, capacity uint64) uint32 {
	limit := uint64(200)
	if value&0x1f == 0 {
		limit = capacity / 4
	}
	return 24 + uint32((value>>8)%(limit-23))
}

func seedOf(number uint64) uint64 {
	state := random(number*0xd1342543de82ef95 + 1)
	return state.next()
}

func fill(record []byte, number uint64) {
	seed := seedOf(number)
	binary.NativeEndian.PutUint64(record[8:], number)
	rest := record[24:]
	for ; len(rest) >= 8; rest = rest[8:] {
		binary.NativeEndian.PutUint64(rest, seed)
		seed += 0x9e3779b97f4a7c15
	}
	for at := range rest {
		rest[at] = byte(seed >> 56)
	}
	binary.NativeEndian.PutUint64(record[16:], sum(record, number))
}

func sum(record []byte, number uint64) uint64 {
	total := seedOf(number) ^ uint64(len(record))
	rest := record[24:]
	for ; len(rest) >= 8; rest = rest[8:] {
		total = (total ^ binary.NativeEndian.Uint64(rest)) * 0x100000001b3
	}
	for _, one := range rest {
		total = (total ^ uint64(one)) * 0x100000001b3
	}
	return total
}

func isWhole(record []byte, number uint64) bool {
	return binary.NativeEndian.Uint64(record[8:]) == number && binary.NativeEndian.Uint64(record[16:]) == sum(record, number)
}

func memory(from *C.corelane_ring) ring.Memory {
	return ring.Memory{
		Base: unsafe.Pointer(from.base), Capacity: uint64(from.capacity), Data: uint32(from.data),
		Tail: uint32(from.tail), Pushed: uint32(from.pushed), RefusedFull: uint32(from.refused_full),
		Head: uint32(from.head), Popped: uint32(from.popped), NeedSpace: uint32(from.need_space),
		ClosedWord: uint32(from.closed), CorruptWord: uint32(from.corrupt),
	}
}

type side struct {
	to             *ring.Producer
	from           *ring.Consumer
	own, worker    ring.Wake
	sent, received uint64
	sleeps, full   uint64
}

func (s *side) die(why string) {
	fmt.Fprintf(os.Stderr, "%s: sent %d, received %d, worker word %d, port word %d\n", why, s.sent, s.received, *s.worker.Word, *s.own.Word)
	for name, m := range map[string]*ring.Memory{"to Rust": &s.to.Memory, "from Rust": &s.from.Memory} {
		fmt.Fprintf(os.Stderr, "  %s: tail %d head %d capacity %d need_space %d closed %d corrupt %d\n", name, m.Word(m.Tail),
			m.Word(m.Head), m.Capacity, m.Flag(m.NeedSpace), m.Flag(m.ClosedWord), m.Flag(m.CorruptWord))
	}
	os.Exit(1)
}

func (s *side) need(condition bool, what string) {
	if !condition {
		s.die(what + " does not hold")
	}
}

var spun uint64

// Lets the other side's publications fall between this side's steps: without it both take turns in lockstep.
func jitter(state random) {
	value := state.next()
	if value&3 == 0 {
		for turns := (value >> 8) & 0x7ff; turns > 0; turns-- {
			atomic.AddUint64(&spun, 1)
		}
	}
}

// Sends and receives everything, asleep when neither is possible.
func (s *side) run(records, capacity uint64) {
	sending, checking := random(0x9e3779b97f4a7c15), random(0x9e3779b97f4a7c15)
	next := sending.next()
	for s.received < records {
		before, stalled := s.received, false
		for burst := 1 + (next>>40)%64; s.sent < records && burst > 0; burst-- {
			record, err := s.to.Claim(lengthOf(next, capacity), uint16(s.sent%1000+1), uint16(s.sent>>3))
			if err == ring.ErrFull {
				stalled = true
				s.full++
				break
			}
			s.need(err == nil, "a claim")
			fill(record, s.sent)
			s.to.Commit()
			s.sent++
			next = sending.next()
		}
		s.to.Publish()
		s.need(s.from.Refresh() == nil, "the tail from Rust")
		for {
			record, kind, flags, err := s.from.Next()
			s.need(err == nil, "a record from Rust")
			if record == nil {
				break
			}
			length := lengthOf(checking.next(), capacity)
			s.need(uint32(len(record)) == length && kind == uint16(s.received%1000+1) && flags == uint16(s.received>>3) &&
				isWhole(record, s.received), "what was sent comes back")
			s.received++
		}
		s.from.Release()
		if s.received != before || !(stalled || s.sent == records) {
			continue
		}
		jitter(checking)
		if stalled {
			s.to.RequestSpace()
		}
		s.own.Arm()
		if !s.from.HasMore() && !(stalled && s.to.SpaceMoved()) {
			jitter(sending)
			s.sleeps++
			start := time.Now()
			s.own.Sleep(longestSleep)
			if time.Since(start) >= longestSleep*time.Second {
				s.die("no wake came")
			}
		}
		s.own.Disarm()
		s.own.Drain()
	}
}

func main() {
	number := func(at int, otherwise uint64) uint64 {
		if len(os.Args) > at {
			value, err := strconv.ParseUint(os.Args[at], 10, 64)
			if err == nil {
				return value
			}
		}
		return otherwise
	}
	records, capacity := number(1, 10_000_000), number(2, 4096)
	time.AfterFunc(5*time.Minute, func() {
		fmt.Fprintln(os.Stderr, "not done after five minutes")
		os.Exit(1)
	})
	layout := new(C.corelane_layout)
	layout.size = C.uint32_t(unsafe.Sizeof(*layout))
	if status := C.corelane_test_echo_start(C.uint64_t(capacity), layout); status != C.CORELANE_OK {
		fmt.Fprintln(os.Stderr, "echo:", C.GoString(C.corelane_status_text(status)))
		os.Exit(1)
	}
	s := &side{
		own:    ring.Wake{Word: (*uint32)(unsafe.Pointer(layout.port_wake)), FD: int32(layout.port_fd)},
		worker: ring.Wake{Word: (*uint32)(unsafe.Pointer(layout.worker_wake)), FD: -1},
	}
	var toErr, fromErr error
	s.to, toErr = ring.NewProducer(memory(&layout.ingress), s.worker)
	s.from, fromErr = ring.NewConsumer(memory(&layout.egress), s.worker)
	s.need(toErr == nil && fromErr == nil, "the layout")
	start := time.Now()
	s.run(records, capacity)
	took := time.Since(start)
	to, from := s.to.Memory, s.from.Memory
	s.need(to.Word(to.RefusedFull) == s.full && to.Word(to.Popped) == records, "counts to Rust")
	s.need(from.Word(from.Pushed) == records && from.Word(from.Popped) == records, "counts from Rust")
	var rustSleeps C.uint64_t
	s.need(uint64(C.corelane_test_echo_join(&rustSleeps)) == records, "the echo's count")
	if records >= 100_000 && (s.sleeps == 0 || rustSleeps == 0 || s.full == 0) {
		fmt.Fprintln(os.Stderr, "a side never slept")
		os.Exit(1)
	}
	fmt.Printf("go torture: %d records each way, ring %d, full %d, sleeps here %d, in Rust %d, %.1f s\n", records, capacity,
		s.full, s.sleeps, rustSleeps, took.Seconds())
}
