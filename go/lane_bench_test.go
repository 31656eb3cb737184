//go:build cgo && !corelane_stub

package corelane

import (
	"bytes"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/corelane/corelane/go/internal/cport"
)

// The message has 200 bytes.
var benchMessage = func() []byte {
	message := []byte(`{"type":"candidate","to":"bench","data":"`)
	return append(append(message, bytes.Repeat([]byte("x"), 198-len(message))...), `"}`...)
}()

// A message that the worker ends after a look at its type, so that nothing comes back.
var benchKeep = append(append([]byte(`{"type":"none","data":"`), bytes.Repeat([]byte("x"), 175)...), `"}`...)

const benchBurst = 64

func benchRouter(b *testing.B) *Router {
	return startTestRouter(b, Config{"workers": "1", "idle": "backoff", "credit_messages": "60000", "credit_bytes": "100000000", "max_clients": "16"})
}

// bursts measures bursts of pushes, each into an empty ring: the time until the worker has emptied it does not count.
func bursts(b *testing.B, push func() bool, wait func()) {
	b.ReportAllocs()
	b.ResetTimer()
	spent := time.Duration(0)
	for left := b.N; left > 0; {
		burst := min(left, benchBurst)
		start := time.Now()
		for range burst {
			if !push() {
				b.Fatal("full")
			}
		}
		spent += time.Since(start)
		left -= burst
		wait()
	}
	b.ReportMetric(float64(spent)/float64(b.N), "ns/push")
	b.ReportMetric(0, "ns/op")
}

// A push through a lane: check, stamp, claim, copy of 200 bytes, publication, and the test whether the worker sleeps.
func BenchmarkPush(b *testing.B) {
	b.Run("lane", func(b *testing.B) {
		lane := openRouterLane(b, benchRouter(b))
		c := connect(b, lane, "bench")
		p := c.home
		bursts(b, func() bool { return c.Submit(benchKeep, SubmitOptions{}) == nil }, func() {
			for head, tail := p.to.Positions(); head != tail; head, tail = p.to.Positions() {
				runtime.Gosched()
			}
		})
	})
	b.Run("cgo", func(b *testing.B) {
		router := benchRouter(b)
		port, client := benchPort(b, router)
		bursts(b, func() bool { return port.Submit(client, benchKeep) == 0 }, func() {
			time.Sleep(benchBurst * 2 * time.Microsecond)
		})
	})
	b.Run("channel", func(b *testing.B) {
		messages := make(chan []byte, 1024)
		done := make(chan int)
		go func() {
			total := 0
			for message := range messages {
				total += len(message)
			}
			done <- total
		}()
		bursts(b, func() bool {
			copied := make([]byte, len(benchKeep))
			copy(copied, benchKeep)
			messages <- copied
			return true
		}, func() {
			for len(messages) > 0 {
				runtime.Gosched()
			}
		})
		close(messages)
		<-done
	})
}

func benchPort(b *testing.B, router *Router) (*cport.Port, uint64) {
	port, status := cport.Open(uint64(router.handle.c.value))
	if status != 0 {
		b.Fatal(status)
	}
	b.Cleanup(func() { port.Release() })
	client, status := port.Connect("bench")
	if status != 0 {
		b.Fatal(status)
	}
	return port, client
}

// A round: push, the worker's relay to the same client, poll, acknowledge. One operation is one message; up to 64 are on the
// way.
func BenchmarkRound(b *testing.B) {
	b.Run("lane", func(b *testing.B) {
		lane := openRouterLane(b, benchRouter(b))
		c := connect(b, lane, "bench")
		events := make([]Event, benchBurst)
		b.ReportAllocs()
		b.ResetTimer()
		for sent, got := 0, 0; got < b.N; {
			for sent < b.N && sent-got < benchBurst {
				err := c.Submit(benchMessage, SubmitOptions{})
				if err != nil {
					if !errors.Is(err, ErrFull) {
						b.Fatal(err)
					}
					break
				}
				sent++
			}
			n, err := lane.Poll(events)
			if err != nil {
				b.Fatal(err)
			}
			for at := range n {
				events[at].Client.Acknowledge(1, len(events[at].Message))
			}
			if got += n; n == 0 {
				runtime.Gosched()
			}
		}
	})
	b.Run("cgo", func(b *testing.B) {
		port, client := benchPort(b, benchRouter(b))
		b.ReportAllocs()
		b.ResetTimer()
		for sent, got := 0, 0; got < b.N; {
			for sent < b.N && sent-got < benchBurst {
				if port.Submit(client, benchMessage) != 0 {
					break
				}
				sent++
			}
			to, message, n := port.Poll()
			if n < 0 {
				b.Fatal(n)
			}
			if n > 0 {
				port.Acknowledge(to, 1, len(message))
			}
			if got += n; n == 0 {
				runtime.Gosched()
			}
		}
	})
	b.Run("channel", func(b *testing.B) {
		there, back := make(chan []byte, 1024), make(chan []byte, 1024)
		go func() {
			for message := range there {
				back <- message
			}
			close(back)
		}()
		b.ReportAllocs()
		b.ResetTimer()
		for sent, got := 0, 0; got < b.N; {
			for sent < b.N && sent-got < benchBurst {
				copied := make([]byte, len(benchMessage))
				copy(copied, benchMessage)
				there <- copied
				sent++
			}
			<-back
			got++
		}
		close(there)
	})
}

// A poll of 64 deliveries that are there, with their acknowledgements.
func BenchmarkPoll(b *testing.B) {
	each := func(b *testing.B, fill func(int), poll func(int) int) {
		b.ReportAllocs()
		b.ResetTimer()
		spent := time.Duration(0)
		for left := b.N; left > 0; {
			burst := min(left, benchBurst)
			fill(burst)
			time.Sleep(benchBurst * 3 * time.Microsecond)
			for got := 0; got < burst; {
				start := time.Now()
				n := poll(burst - got)
				if n > 0 {
					spent += time.Since(start)
				}
				got += n
			}
			left -= burst
		}
		b.ReportMetric(float64(spent)/float64(b.N), "ns/event")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("lane", func(b *testing.B) {
		lane := openRouterLane(b, benchRouter(b))
		c := connect(b, lane, "bench")
		events := make([]Event, benchBurst)
		each(b, func(burst int) {
			for range burst {
				for c.Submit(benchMessage, SubmitOptions{}) != nil {
					runtime.Gosched()
				}
			}
		}, func(most int) int {
			n, _ := lane.Poll(events[:most])
			for at := range n {
				events[at].Client.Acknowledge(1, len(events[at].Message))
			}
			return n
		})
	})
	b.Run("cgo", func(b *testing.B) {
		port, client := benchPort(b, benchRouter(b))
		each(b, func(burst int) {
			for range burst {
				for port.Submit(client, benchMessage) != 0 {
					runtime.Gosched()
				}
			}
		}, func(most int) int {
			n := 0
			for n < most {
				to, message, taken := port.Poll()
				if taken <= 0 {
					break
				}
				port.Acknowledge(to, 1, len(message))
				n++
			}
			return n
		})
	})
}
