package stamp

import (
	"sync"
	"time"
)

// Rate is how many nanoseconds a tick of this source takes. The first call for the counter takes a millisecond.
func Rate(source uint64) float64 {
	if source == Counter {
		return counterRate()
	}
	return 1
}

var counterRate = sync.OnceValue(func() float64 {
	from, fromCounter := both()
	time.Sleep(time.Millisecond)
	to, toCounter := both()
	if toCounter <= fromCounter || to <= from {
		return 1
	}
	return float64(to-from) / float64(toCounter-fromCounter)
})

// both reads both clocks as close to each other as it can.
func both() (nanoseconds, ticks uint64) {
	best := ^uint64(0)
	for range 20 {
		before := counter()
		now := monotonic()
		if took := counter() - before; took < best {
			best, nanoseconds, ticks = took, now, before+took/2
		}
	}
	return nanoseconds, ticks
}
