package signaling

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	corelane "github.com/corelane/corelane/go"
)

// lane is a running router of the core, with its one lane, its monitor, and the goroutine that polls.
//
// How a caller learns its result without a record of its own: it pushes the message and files a call under the position in
// the worker's ring behind it, both under the lock of the worker's file, so that the poller finds every call of a message that
// a worker has handled. The poller first reads how far each worker has come, then hands out every event, then ends the calls
// up to those positions. An event about a message that has failed comes before that, and marks its call.
type lane struct {
	router  *corelane.Router
	lane    *corelane.Lane
	monitor *corelane.Monitor
	owner   *ConcurrentMessageRouter
	limit   time.Duration // How long a caller waits.
	// callers is how many callers may wait; negative for any number. The workers are not told of this limit, because they tell
	// a client's refusals together, and a caller must know its own.
	callers int64

	calls  calls
	files  []file       // By worker.
	open   atomic.Int64 // Calls without a result.
	cancel context.CancelFunc
	ended  chan struct{}
}

// file has the calls of one worker, in the order of their positions. A caller takes the push lock under its lock.
type file struct {
	lock  sync.Mutex
	calls []filed
	first int
	_     [64]byte
}

type filed struct {
	position uint64
	call     *call
}

func openLane(owner *ConcurrentMessageRouter, monitor PerformanceMonitorConfig) (*lane, error) {
	router, err := corelane.Start(owner.config.keys(monitor))
	if err != nil {
		return nil, err
	}
	l := &lane{router: router, owner: owner, limit: owner.config.MaxQueueWaitTime + owner.config.ProcessingTimeout,
		callers: int64(monitor.MaxConcurrentMessages), ended: make(chan struct{})}
	if l.lane, err = router.OpenLane(); err == nil {
		l.monitor, err = router.Monitor()
	}
	if err != nil {
		if l.lane != nil {
			_ = l.lane.Close()
		}
		_ = router.Close()
		return nil, err
	}
	l.files = make([]file, l.lane.Workers())
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(context.Background())
	go l.poll(ctx)
	return l, nil
}

// close stops the workers, lets the poller hand out what they have left, and frees everything but the monitor, which the
// performance monitor has.
func (l *lane) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = l.router.Stop(ctx)
	select {
	case <-l.ended:
	case <-ctx.Done():
		l.cancel()
		<-l.ended
	}
	l.cancel()
	_ = l.lane.Close()
	_ = l.router.Close()
}

// route pushes a message and waits for its result.
func (l *lane) route(ctx context.Context, client *corelane.Client, message []byte) (corelane.Reason, error) {
	if open := l.open.Add(1); l.callers >= 0 && open > l.callers {
		l.open.Add(-1)
		return corelane.ReasonConcurrencyLimit, nil
	}
	c := l.calls.take()
	f := &l.files[client.Worker()]
	f.lock.Lock()
	position, err := client.SubmitTracked(message, corelane.SubmitOptions{Correlation: c.number(), TellFailed: true})
	if err == nil {
		f.calls = append(f.calls, filed{position, c})
	}
	f.lock.Unlock()
	if err != nil {
		l.open.Add(-1)
		l.calls.give(c)
		return 0, err
	}
	if ctx.Done() == nil {
		// The poller ends a call that is too old: no timer per message.
		<-c.done
	} else {
		select {
		case <-c.done:
		case <-ctx.Done():
			if c.abandon() {
				return 0, ctx.Err() // The poller gives the call back.
			}
			<-c.done
		}
	}
	reason, err := c.reason, c.err
	l.calls.give(c)
	return reason, err
}

// poll is the poller's goroutine.
func (l *lane) poll(ctx context.Context) {
	defer close(l.ended)
	defer l.endAll()
	defer l.lane.Close() // From now on pushes fail, so no further call is filed.
	events := make([]corelane.Event, 256)
	positions := make([]uint64, len(l.files))
	ended := make([]bool, len(l.files))
	idle, lastLook := 0, time.Now()
	timer := time.AfterFunc(time.Hour, l.lane.Wake)
	defer timer.Stop()
	for ctx.Err() == nil {
		waiting := l.open.Load() > 0
		if waiting {
			for worker := range positions {
				positions[worker], ended[worker] = l.lane.Progress(worker)
			}
		}
		handled := 0
		for {
			n, err := l.lane.Poll(events)
			for i := range events[:n] {
				l.handle(&events[i])
			}
			clear(events[:n])
			handled += n
			if errors.Is(err, corelane.ErrBusy) {
				continue
			}
			if err != nil { // Everything was handed out, or the rings are corrupt.
				for worker := range positions {
					position, _ := l.lane.Progress(worker)
					l.end(worker, position, true)
				}
				return
			}
			if n == 0 {
				break
			}
		}
		if waiting {
			for worker := range positions {
				handled += l.end(worker, positions[worker], ended[worker])
			}
			if now := time.Now(); now.Sub(lastLook) > time.Second/10 {
				lastLook = now
				l.expire(now)
			}
		}
		if handled > 0 {
			idle = 0
			continue
		}
		idle++
		l.rest(ctx, idle, timer)
	}
}

// rest waits until there is something to poll, or a worker has handled the message of a call. It looks again for a few
// microseconds first, because a worker that is awake is as quick, unless it would have to wait for this core.
func (l *lane) rest(ctx context.Context, idle int, timer *time.Timer) {
	switch {
	case l.open.Load() == 0:
	case idle < spins:
		runtime.Gosched()
		return
	default:
		timer.Reset(time.Second / 4) // To see calls that have waited for too long.
	}
	_ = l.lane.Wait(ctx)
}

var spins = func() int {
	if runtime.NumCPU() == 1 {
		return 0
	}
	return 50
}()

// end ends the calls of a worker up to a position, or all, and returns how many.
func (l *lane) end(worker int, position uint64, all bool) int {
	f := &l.files[worker]
	f.lock.Lock()
	defer f.lock.Unlock()
	ended := 0
	for ; f.first < len(f.calls); f.first++ {
		one := &f.calls[f.first]
		switch {
		case one.position <= position:
			l.finish(one.call, corelane.ReasonNone, nil)
		case all:
			l.finish(one.call, corelane.ReasonClosed, nil)
		default:
			if f.first > len(f.calls)/2 { // Keeps the list as short as what waits.
				n := copy(f.calls, f.calls[f.first:])
				clear(f.calls[n:])
				f.calls, f.first = f.calls[:n], 0
			}
			return ended
		}
		one.call = nil
		ended++
	}
	f.calls, f.first = f.calls[:0], 0
	return ended
}

// finish gives a call its result, unless an event has brought it another. What the poller has marked stays.
func (l *lane) finish(c *call, reason corelane.Reason, err error) {
	if c.reason == corelane.ReasonNone {
		c.reason = reason
	}
	c.err = err
	l.open.Add(-1)
	if c.end() {
		c.done <- struct{}{}
	} else {
		l.calls.give(c)
	}
}

// expire ends the calls that have waited for too long.
func (l *lane) expire(now time.Time) {
	for worker := range l.files {
		f := &l.files[worker]
		f.lock.Lock()
		kept := f.calls[:0]
		for _, one := range f.calls[f.first:] {
			switch {
			case one.call.seen.IsZero():
				one.call.seen = now
			case now.Sub(one.call.seen) > l.limit:
				l.finish(one.call, corelane.ReasonNone, ErrTimeout)
				continue
			}
			kept = append(kept, one)
		}
		clear(f.calls[len(kept):])
		f.calls, f.first = kept, 0
		f.lock.Unlock()
	}
}

// endAll ends the calls that are left when the poller ends, also of callers that are about to push: they get an error.
func (l *lane) endAll() {
	for l.open.Load() > 0 {
		for worker := range l.files {
			l.end(worker, 0, true)
		}
		runtime.Gosched()
	}
}

// handle hands an event out.
func (l *lane) handle(e *corelane.Event) {
	var c *routed
	if e.Client != nil {
		c, _ = e.Client.Value().(*routed)
	}
	switch e.Kind {
	case corelane.EventMessage:
		if c == nil || c.sink.deliver(e.Message) {
			acknowledge(e)
		}
	case corelane.EventExpired:
		acknowledge(e)
	case corelane.EventUndelivered, corelane.EventRefused:
		if !l.calls.mark(e.Correlation, e.Reason) && c != nil {
			c.sink.failed(e.Correlation, e.Reason)
		}
	case corelane.EventClose:
		_ = e.Client.Disconnect()
		if c != nil {
			l.owner.clients.CompareAndDelete(c.name, c)
			l.owner.monitor.forget(c.name)
			c.sink.closed(e.Reason)
		}
	case corelane.EventClosed:
		if c != nil {
			l.owner.clients.CompareAndDelete(c.name, c)
			c.sink.closed(corelane.ReasonNone)
		}
	}
}

func acknowledge(e *corelane.Event) {
	if e.Client != nil {
		e.Client.Acknowledge(1, len(e.Message))
	}
}
