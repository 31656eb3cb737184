package ring

import (
	"math"
	"testing"
	"time"
	"unsafe"
)

// Credit is given back to the client that it was taken from, and no field borrows from its neighbour.
func TestCreditIsTheClients(t *testing.T) {
	const generation, index = 0x1_8003, 1
	var words [2]uint64
	slots := Slots{Base: unsafe.Pointer(&words), Count: 2, Stride: 8}
	client := uint64(generation<<32 | index)
	top := uint64(1<<63 | creditCloseSent | (generation&0x7fff)<<creditGenerationShift)
	for _, one := range []struct {
		client              uint64
		kind                uint16
		length              uint64
		before, after, bits uint64
	}{
		{client, Message, 100, 2*creditMessage + 150, creditMessage + 50, top},
		{client, Expired, 100, creditMessage + 50, 0, top},
		{client, Message, 1, 0, 0, top},
		{client, Message, 1, 7, 6, top},
		{client, Left, 1, creditMessage + 7, creditMessage + 7, top},
		{client - 1<<32, Message, 1, creditMessage + 7, creditMessage + 7, top},
		{client - 1<<32, Close, 0, 7, 7, top},
		{client, Close, 0, creditMessage + 7, creditMessage + 7, top &^ creditCloseSent},
		{generation<<32 | 2, Message, 1, 7, 7, top},
	} {
		words = [2]uint64{5, top | one.before}
		slots.giveBack(one.client, one.kind, one.length)
		if words != [2]uint64{5, one.bits | one.after} {
			t.Errorf("%+v: %#x", one, words)
		}
	}
}

// rate measures two stamps against the monotonic clock. The result is in nanoseconds per tick.
func rate(t *testing.T, source uint64) float64 {
	// The closest pair of readings of both clocks. It reads again as long as they are too far apart,
	// because the thread may be suspended between the two.
	beside := func() (stamp, now uint64) {
		closest := uint64(math.MaxUint64)
		for turn := 0; turn < 100_000 && closest >= 20_000; turn++ {
			before := monotonic()
			one, after := Stamp(source), monotonic()
			if after-before < closest {
				stamp, now, closest = one, after, after-before
			}
		}
		// Two pairs this close change the rate over 50 milliseconds by at most a tenth of what the test allows.
		if closest >= 50_000 {
			t.Fatalf("the closest of 100,000 pairs of readings are %d ns apart", closest)
		}
		return stamp, now
	}
	stamp, now := beside()
	time.Sleep(50 * time.Millisecond)
	laterStamp, later := beside()
	return float64(later-now) / float64(laterStamp-stamp)
}

func TestStampsRunSteadily(t *testing.T) {
	for source := uint64(0); source < 2; source++ {
		before := Stamp(source)
		for turn := 0; turn < 100_000; turn++ {
			now := Stamp(source)
			if now < before {
				t.Fatalf("source %d runs backwards: %d, %d", source, before, now)
			}
			before = now
		}
		one, other := rate(t, source), rate(t, source)
		t.Logf("source %d: %f and %f ns per tick", source, one, other)
		if one/other < 0.99 || one/other > 1.01 || (source == 0 && (one < 0.99 || one > 1.01)) {
			t.Errorf("source %d: %f and %f ns per tick", source, one, other)
		}
	}
}
