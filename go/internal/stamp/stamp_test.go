package stamp

import (
	"math"
	"testing"
	"time"
)

// rate measures two stamps against the monotonic clock. The result is in nanoseconds per tick.
func rate(t *testing.T, source uint64) float64 {
	// The closest pair of readings of both clocks. It reads again as long as they are too far apart, because the thread
	// may be suspended between the two.
	beside := func() (stamp, now uint64) {
		closest := uint64(math.MaxUint64)
		for turn := 0; turn < 100_000 && closest >= 20_000; turn++ {
			before := monotonic()
			one, after := Now(source), monotonic()
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
	for source := uint64(Monotonic); source <= Counter; source++ {
		before := Now(source)
		for turn := 0; turn < 100_000; turn++ {
			now := Now(source)
			if now < before {
				t.Fatalf("source %d runs backwards: %d, %d", source, before, now)
			}
			before = now
		}
		one, other := rate(t, source), rate(t, source)
		t.Logf("source %d: %f and %f ns per tick", source, one, other)
		if one/other < 0.99 || one/other > 1.01 || (source == Monotonic && (one < 0.99 || one > 1.01)) {
			t.Errorf("source %d: %f and %f ns per tick", source, one, other)
		}
	}
}

func BenchmarkNow(b *testing.B) {
	for _, source := range []struct {
		name  string
		value uint64
	}{{"monotonic", Monotonic}, {"counter", Counter}} {
		b.Run(source.name, func(b *testing.B) {
			sum := uint64(0)
			for range b.N {
				sum += Now(source.value)
			}
			sink = sum
		})
	}
}

var sink uint64
