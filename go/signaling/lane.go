package signaling

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	corelane "github.com/corelane/corelane/go"
)

// lane is a running router of the core, with its one lane, its monitor, and the goroutine that polls.
//
// The workers are local ones: a caller takes the turn of its client's worker, runs the worker itself, on its own thread, and
// hands out what comes of its message. No thread is woken, and the next caller waits for less than it would take to wake one.
// A thread of the library (the keeper) drives a worker when nobody does.
//
// If a caller does not get the worker, it files a call under the position in the worker's ring behind its message, while it has
// the turn, so that the poller finds every call of a message that a worker has handled. The poller takes a worker's turn, reads
// how far the worker has come, hands out every event, then ends the calls up to that position. An event about a message that has
// failed comes before that, and marks its call.
type lane struct {
	router  *corelane.Router
	lane    *corelane.Lane
	monitor *corelane.Monitor
	owner   *ConcurrentMessageRouter
	limit   time.Duration // How long a caller waits.
	wait    time.Duration // How long its message waits for the worker.
	// callers is how many callers may wait; negative for any number. The workers are not told of this limit, because they tell
	// a client's refusals together, and a caller must know its own.
	callers int64

	calls  calls
	files  []file       // By worker.
	open   atomic.Int64 // Callers, if they are limited.
	filed  atomic.Int64 // Calls without a result.
	cancel context.CancelFunc
	ended  chan struct{}
	hand   func(*corelane.Event) // handle, made once.
}

// file has the calls of one worker, in the order of their positions. Whoever has the worker's turn may use it.
type file struct {
	calls []filed
	first int
	// own is the call of the caller that has the turn.
	own *call
	// results are results to give away, made several at a time.
	results []RouteResult
	_       [64]byte
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
		wait:    owner.config.MaxQueueWaitTime,
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
	l.files, l.hand = make([]file, l.lane.Workers()), l.handle
	l.lane.Since(0) // Measures the clock, once in a process.
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

// route has a message handled, and waits for its result. The result's memory is nil if there is an error. stamp is when the
// message has come.
func (l *lane) route(ctx context.Context, client *corelane.Client, message []byte, stamp uint64) (*RouteResult, corelane.Reason, error) {
	if l.callers >= 0 {
		defer l.open.Add(-1)
		if l.open.Add(1) > l.callers {
			return nil, corelane.ReasonConcurrencyLimit, nil
		}
	}
	worker := client.Worker()
	turn, err := l.turn(ctx, worker, stamp)
	if err != nil {
		return nil, 0, err
	}
	f := &l.files[worker]
	if f.own == nil {
		f.own = l.calls.take()
	}
	c := f.own
	options := corelane.SubmitOptions{Correlation: c.number(), TellFailed: true, Stamp: stamp}
	position, handled, err := turn.Route(client, message, options, l.hand)
	result := f.result()
	if handled || err != nil {
		reason := c.reason
		c.again()
		turn.End()
		if handled {
			err = nil // A corrupt ring is the poller's to find.
		}
		return result, reason, err
	}
	f.own = nil
	f.calls = append(f.calls, filed{position, c})
	l.filed.Add(1)
	turn.End()
	if ctx.Done() == nil {
		// The poller ends a call that is too old: no timer per message.
		<-c.done
	} else {
		select {
		case <-c.done:
		case <-ctx.Done():
			if c.abandon() {
				return nil, 0, ctx.Err() // The poller gives the call back.
			}
			<-c.done
		}
	}
	reason, err := c.reason, c.err
	l.calls.give(c)
	return result, reason, err
}

// errWaited: the message has waited for its worker for longer than MaxQueueWaitTime.
var errWaited = errors.New("signaling: the message has waited for too long")

// turn waits for a worker's turn. Usually the one that has it gives it back at once, or has lost its processor to this goroutine.
// It does not if a host's function blocks, which must not keep callers without an end.
func (l *lane) turn(ctx context.Context, worker int, stamp uint64) (corelane.Turn, error) {
	for try := 0; ; try++ {
		turn, got, open := l.lane.TryTurn(worker)
		switch {
		case got:
			return turn, nil
		case !open:
			return turn, corelane.ErrClosed
		case try < looks:
			continue
		case try < looks+10:
			runtime.Gosched()
			continue
		case ctx.Err() != nil:
			return turn, ctx.Err()
		case l.lane.Since(stamp) > l.wait:
			return turn, errWaited
		}
		time.Sleep(min(time.Duration(try-looks-9)*20*time.Microsecond, time.Millisecond))
	}
}

// looks is how often a caller looks for its turn before it gives its processor away: for about as long as a message takes, if
// the one that has the turn can run meanwhile.
var looks = func() int {
	if runtime.NumCPU() == 1 {
		return 1
	}
	return 300
}()

// result returns memory for a result.
func (f *file) result() *RouteResult {
	if len(f.results) == 0 {
		f.results = make([]RouteResult, 16)
	}
	one := &f.results[0]
	f.results = f.results[1:]
	return one
}

// poll is the poller's goroutine.
func (l *lane) poll(ctx context.Context) {
	defer close(l.ended)
	defer l.endAll()
	defer l.lane.Close() // From now on nobody gets a turn, so no further call is filed.
	idle, lastLook := 0, time.Now()
	timer := time.AfterFunc(time.Hour, l.lane.Wake)
	defer timer.Stop()
	for ctx.Err() == nil {
		handled := 0
		for worker := range l.files {
			turn, open := l.lane.Turn(worker)
			if !open {
				return
			}
			handled += l.round(worker, turn)
			turn.End()
		}
		switch err := l.lane.Tend(); {
		case err == nil, errors.Is(err, corelane.ErrBusy):
		default: // Everything was handed out, or the rings are corrupt.
			return
		}
		if l.filed.Load() > 0 {
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

// round polls a worker with its turn, and ends the calls that it has handled. Returns how much there was.
func (l *lane) round(worker int, turn corelane.Turn) int {
	position, ended := uint64(0), false
	f := &l.files[worker]
	waiting := f.first < len(f.calls)
	if waiting {
		position, ended = turn.Progress()
	}
	handled, err := turn.Poll(l.hand)
	if waiting {
		handled += l.end(f, position, ended || err != nil)
	}
	return handled
}

// rest waits until there is something to poll, or a worker has handled the message of a call. It looks again for a few
// microseconds first, because a worker that is awake is as quick, unless it would have to wait for this core.
func (l *lane) rest(ctx context.Context, idle int, timer *time.Timer) {
	switch {
	case l.filed.Load() == 0:
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
func (l *lane) end(f *file, position uint64, all bool) int {
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
	l.filed.Add(-1)
	if c.end() {
		c.done <- struct{}{}
	} else {
		l.calls.give(c)
	}
}

// expire ends the calls that have waited for too long.
func (l *lane) expire(now time.Time) {
	for worker := range l.files {
		turn, open := l.lane.Turn(worker)
		if !open {
			return
		}
		f := &l.files[worker]
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
		turn.End()
	}
}

// endAll ends the calls that are left when the poller ends. The lane is closed, so nobody has a turn. A worker's head says which
// messages were handled.
func (l *lane) endAll() {
	for worker := range l.files {
		l.end(&l.files[worker], 0, true)
	}
}

// handle hands an event out, on the goroutine that has the turn of its worker. Events for one client may come from several
// workers at once.
func (l *lane) handle(e *corelane.Event) {
	var c *routed
	if e.Client != nil {
		c, _ = e.Client.Value().(*routed)
	}
	switch e.Kind {
	case corelane.EventMessage:
		if c == nil || c.deliver(e.Message) {
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
			c.end()
		}
	}
}

func acknowledge(e *corelane.Event) {
	if e.Client != nil {
		e.Client.Acknowledge(1, len(e.Message))
	}
}
