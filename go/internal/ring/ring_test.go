package ring

import (
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// records is how many records a torture sends: RECORDS, or otherwise this many.
func records(t *testing.T, otherwise uint64) uint64 {
	text := os.Getenv("RECORDS")
	if text == "" {
		if Enabled || testing.Short() {
			return otherwise / 10
		}
		return otherwise
	}
	value, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// A sleeper is a wake word on which a goroutine sleeps with a futex.
func sleeper() Wake { return Wake{Word: new(uint32), FD: -1} }

// pair makes both ends of a ring in Go memory.
func pair(capacity uint64) (Producer, Consumer, Wake, Wake) {
	memory, ofProducer, ofConsumer := Allocate(capacity), sleeper(), sleeper()
	return NewProducer(memory, ofConsumer), NewConsumer(memory, ofProducer), ofProducer, ofConsumer
}

func random(state *uint64) uint64 {
	*state ^= *state >> 12
	*state ^= *state << 25
	*state ^= *state >> 27
	return *state * 0x2545f4914f6cdd1d
}

// Both ends run in Go, in memory that the race detector sees. Records have random lengths, both ends sleep, and every
// byte is checked.
func TestTorture(t *testing.T) {
	total := records(t, 2_000_000)
	producer, consumer, ofProducer, ofConsumer := pair(4096)
	var sleeps, waits, full uint64
	done := make(chan error, 1)
	go func() {
		state, number := uint64(7), uint64(0)
		for number < total {
			err := consumer.Refresh()
			for err == nil {
				record, found, bad := consumer.Next()
				if bad != nil || !found {
					err = bad
					break
				}
				value := random(&state)
				if record.Kind != uint16(number&0xff) || record.Flags != 3 || record.U64(8) != value ||
					record.Length != 16+int(value>>32%1000) {
					err = errors.New("another record")
				}
				for _, one := range record.Bytes(16) {
					if one != byte(value) {
						err = errors.New("another byte")
					}
				}
				number++
			}
			if err != nil {
				done <- err
				return
			}
			if !consumer.Release() && !consumer.HasMore() && number < total {
				ofConsumer.Arm()
				if !consumer.HasMore() {
					atomic.AddUint64(&sleeps, 1)
					// The wake may be for a tail that was seen already.
					asleep := time.Now()
					ofConsumer.Sleep(int64(20 * time.Second))
					if !consumer.HasMore() && time.Since(asleep) > 15*time.Second {
						done <- errors.New("no wake for a record")
						return
					}
				}
				ofConsumer.Disarm()
			}
		}
		done <- nil
	}()
	state := uint64(7)
	for number := uint64(0); number < total; {
		value := random(&state)
		length := 16 + int(value>>32%1000)
		for {
			place, err := producer.Claim(length, uint16(number&0xff), 3, 0)
			if err == nil {
				*(*uint64)(unsafe.Add(place, 8)) = value
				rest := unsafe.Slice((*byte)(unsafe.Add(place, 16)), length-16)
				for at := range rest {
					rest[at] = byte(value)
				}
				producer.Commit()
				break
			}
			if err != ErrFull {
				t.Fatal(err)
			}
			full++
			seen := producer.Seen()
			producer.Publish()
			producer.RequestSpace()
			ofProducer.Arm()
			if !producer.SpaceMoved(seen) {
				waits++
				// The wake may be for a head that the refusal has seen already.
				if asleep := time.Now(); !producer.SpaceMoved(seen) {
					ofProducer.Sleep(int64(20 * time.Second))
					if !producer.SpaceMoved(seen) && time.Since(asleep) > 15*time.Second {
						t.Fatal("no wake for space")
					}
				}
			}
			ofProducer.Disarm()
			producer.EndRequest()
		}
		number++
		if value&7 == 0 || number == total {
			producer.Publish()
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if head, tail := producer.Positions(); head != tail || producer.Waiting() != 0 || producer.Taken() != total {
		t.Fatal(head, tail)
	}
	t.Logf("%d records, full %d, sleeps of the consumer %d, of the producer %d", total, full, sleeps, waits)
	if total > 100_000 && (full == 0 || sleeps == 0) {
		t.Error("nobody slept")
	}
}

func push(t *testing.T, producer *Producer, length int) {
	t.Helper()
	if _, err := producer.Claim(length, 1, 0, 0); err != nil {
		t.Fatal(err)
	}
	producer.Commit()
	producer.Publish()
}

func TestClaimsThatDoNotFit(t *testing.T) {
	producer, consumer, _, _ := pair(1024)
	for _, length := range []int{-1, 0, 7, 257, 1 << 40} {
		if _, err := producer.Claim(length, 1, 0, 0); err != ErrTooLarge {
			t.Error(length, err)
		}
	}
	if _, err := producer.Claim(8, padKind, 0, 0); err != ErrTooLarge {
		t.Error(err)
	}
	for at := 0; at < 16; at++ {
		push(t, &producer, 8)
	}
	if _, err := producer.Claim(8, 1, 0, 0); err != ErrFull || producer.Free() != 0 {
		t.Error(err)
	}
	if err := consumer.Refresh(); err != nil {
		t.Fatal(err)
	}
	for at := 0; at < 3; at++ {
		if record, found, err := consumer.Next(); !found || err != nil || record.Length != 8 {
			t.Fatal(record, err)
		}
	}
	consumer.Release()
	if _, err := producer.Claim(8, 1, 0, 129); err != ErrFull {
		t.Error("spare space was used")
	}
	push(t, &producer, 128)
	if producer.Free() != 64 {
		t.Error(producer.Free())
	}
}

// A record that does not fit before the end leaves a pad there, which the consumer skips.
func TestPads(t *testing.T) {
	producer, consumer, _, _ := pair(1024)
	for at := 0; at < 200; at++ {
		push(t, &producer, 64+64*(at%3))
		if err := consumer.Refresh(); err != nil {
			t.Fatal(err)
		}
		record, found, err := consumer.Next()
		if !found || err != nil || record.Length != 64+64*(at%3) {
			t.Fatal(at, record, err)
		}
		if at%2 == 0 {
			consumer.Back(record)
			if again, _, _ := consumer.Next(); again != record {
				t.Fatal("another record")
			}
		}
		consumer.Release()
	}
	if producer.Taken() != 200 {
		t.Error("pads were counted")
	}
}

// What an end that breaks the rules may write, and what the other end makes of it.
func TestCorruptHeads(t *testing.T) {
	for _, head := range []uint64{1, 64, 1 << 63, ^uint64(0), 4096} {
		producer, _, _, _ := pair(1024)
		for at := 0; at < 16; at++ {
			if _, err := producer.Claim(8, 1, 0, 0); err != nil {
				t.Fatal(err)
			}
			producer.Commit() // Not published, so that no head but 0 is possible.
		}
		atomic.StoreUint64(producer.head, head)
		if _, err := producer.Claim(8, 1, 0, 0); err != ErrCorrupt {
			t.Errorf("head %d: %v", head, err)
		}
	}
	producer, consumer, _, _ := pair(1024)
	push(t, &producer, 8)
	_ = consumer.Refresh()
	_, _, _ = consumer.Next()
	consumer.Release()
	if err := producer.Look(); err != nil {
		t.Fatal(err)
	}
	atomic.StoreUint64(producer.head, 0)
	if err := producer.Look(); err != ErrCorrupt {
		t.Error("a head moved back:", err)
	}
}

func TestCorruptTails(t *testing.T) {
	for _, tail := range []uint64{1, 63, 65, 1024 + 64, 1 << 63, ^uint64(0)} {
		_, consumer, _, _ := pair(1024)
		atomic.StoreUint64(consumer.tail, tail)
		if err := consumer.Refresh(); err != ErrCorrupt {
			t.Errorf("tail %d: %v", tail, err)
		}
	}
	producer, consumer, _, _ := pair(1024)
	push(t, &producer, 8)
	_ = consumer.Refresh()
	atomic.StoreUint64(consumer.tail, 0)
	if err := consumer.Refresh(); err != ErrCorrupt {
		t.Error("a tail moved back:", err)
	}
}

func TestCorruptRecords(t *testing.T) {
	for _, one := range []struct {
		length uint32
		kind   uint16
		tail   uint64
	}{
		{0, 1, 64}, {7, 1, 64}, {65, 1, 64}, {257, 1, 1024}, {1 << 31, 1, 1024}, {^uint32(0), 1, 1024},
		{64, padKind, 64}, {0, padKind, 64}, {1024, padKind, 64}, {960, padKind, 1024}, {1088, padKind, 1024},
	} {
		_, consumer, _, _ := pair(1024)
		consumer.putPrefix(0, one.length, one.kind, 0)
		atomic.StoreUint64(consumer.tail, one.tail)
		if err := consumer.Refresh(); err != nil {
			t.Fatal(err)
		}
		if record, _, err := consumer.Next(); err != ErrCorrupt {
			t.Errorf("%+v: %v, %v", one, record, err)
		}
	}
}

func TestForeignLayouts(t *testing.T) {
	memory := Allocate(1024)
	base := unsafe.Add(memory.data, -headerBytes)
	layout := Layout{Base: base, Capacity: 1024, Data: headerBytes, Tail: 128, Pushed: 136, RefusedFull: 144, Head: 256,
		Popped: 264, NeedSpace: 384, Closed: 388, Corrupt: 392}
	if _, err := Map(layout); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Layout){
		"nowhere":        func(l *Layout) { l.Base = nil },
		"capacity":       func(l *Layout) { l.Capacity = 2048 },
		"no power":       func(l *Layout) { l.Capacity = 1025 },
		"data":           func(l *Layout) { l.Data = 576 },
		"tail in data":   func(l *Layout) { l.Tail = 512 },
		"tail unaligned": func(l *Layout) { l.Tail = 129 },
		"flag unaligned": func(l *Layout) { l.Closed = 390 },
	} {
		other := layout
		change(&other)
		if _, err := Map(other); err != ErrLayout {
			t.Errorf("%s: %v", name, err)
		}
	}
	bytes := unsafe.Slice((*byte)(base), headerBytes)
	for _, at := range []int{0, 4, 24} {
		binary.NativeEndian.PutUint32(bytes[at:], binary.NativeEndian.Uint32(bytes[at:])+1)
		if _, err := Map(layout); err != ErrLayout {
			t.Errorf("word at %d: %v", at, err)
		}
		binary.NativeEndian.PutUint32(bytes[at:], binary.NativeEndian.Uint32(bytes[at:])-1)
	}
}

func TestAClosedRingSaysSo(t *testing.T) {
	producer, consumer, _, _ := pair(1024)
	push(t, &producer, 8)
	seen := producer.Seen()
	if producer.SpaceMoved(seen) {
		t.Error("nothing moved")
	}
	consumer.Close()
	if !producer.SpaceMoved(seen) || !producer.Closed() || consumer.Corrupt() {
		t.Error("closed")
	}
}

func BenchmarkPushAndPop(b *testing.B) {
	producer, consumer, _, _ := pair(1 << 17)
	b.SetBytes(200)
	for range b.N {
		place, err := producer.Claim(256, 1, 0, 0)
		if err != nil {
			b.Fatal(err)
		}
		*(*uint64)(unsafe.Add(place, 8)) = 1
		producer.Commit()
		producer.Publish()
		_ = consumer.Refresh()
		if _, found, err := consumer.Next(); !found || err != nil {
			b.Fatal(err)
		}
		consumer.Release()
	}
}
