package corelane

import (
	"time"

	"github.com/corelane/corelane/go/internal/stamp"
)

// A Turn is the right to poll what one worker sends, and, in a router with local workers only, to run the worker. One goroutine
// at a time has it. With it [Turn.Route] pushes a message, runs the worker on the calling goroutine's thread, and hands the
// events out that come of it: no other thread has to wake up, which costs more than the message.
//
// A program that uses turns polls with them only, so that the events of a client keep their order: it calls [Turn.Poll] in
// place of [Lane.Poll], and [Lane.Tend] before [Lane.Wait]. Keep turns short. Within one, do not close the lane, wait for
// another message, or take a second turn.
type Turn struct{ p *pair }

// Turn waits for a worker's turn. False: the lane is closed. Otherwise call [Turn.End].
func (l *Lane) Turn(worker int) (Turn, bool) {
	p := &l.pairs[worker]
	p.turn.Lock()
	if l.gone.Load() {
		p.turn.Unlock()
		return Turn{}, false
	}
	return Turn{p}, true
}

// TryTurn is Turn without waiting. got says whether the goroutine has the turn, open whether the lane is open.
func (l *Lane) TryTurn(worker int) (t Turn, got, open bool) {
	p := &l.pairs[worker]
	if !p.turn.TryLock() {
		return Turn{}, false, !l.gone.Load()
	}
	if l.gone.Load() {
		p.turn.Unlock()
		return Turn{}, false, false
	}
	return Turn{p}, true, true
}

// End gives the turn back.
func (t Turn) End() { t.p.turn.Unlock() }

// Stamp reads the router's clock, for [SubmitOptions.Stamp] and [Lane.Since]. It costs less than time.Now.
func (l *Lane) Stamp() uint64 { return stamp.Now(l.stampSource) }

// Since is the time since a stamp, as exact as the clock's rate was measured when the lane was opened: a part in 1,000 or
// better.
func (l *Lane) Since(from uint64) time.Duration {
	if now := stamp.Now(l.stampSource); now > from {
		return time.Duration(float64(now-from) * stamp.Rate(l.stampSource))
	}
	return 0
}

// cycles is how often Route runs the worker for one message. More than once, because a cycle takes a batch from each ring, and
// because another thread may have the worker for a moment.
const cycles = 20

// roomTries is how often Route runs the worker to make room in the ring.
const roomTries = 4

// pushQuietly pushes a message, and what waits, without a wake.
func (p *pair) pushQuietly(c *Client, h *header, flags uint16, message []byte) (position uint64, err error) {
	p.enter()
	defer p.lock.Unlock()
	if err := p.open(c); err != nil {
		return 0, err
	}
	if p.pending.Load() {
		p.flush()
	}
	place, err := p.claimMessage(c, h, flags, len(message))
	if err == nil {
		copy(place, message)
		p.commit(c)
	} else if err == ErrFull {
		p.to.Refused()
	}
	position = p.to.Tail()
	p.to.PublishQuietly()
	return position, err
}

// Route is [Client.SubmitTracked] for a client of this turn's worker, and also runs the worker and polls, if the worker is
// local. handled says that the message is handled and that its events were handed out. Otherwise the worker handles it on
// another thread, as after SubmitTracked: the poller's Wait ends when it has.
func (t Turn) Route(c *Client, message []byte, options SubmitOptions, hand func(*Event)) (position uint64, handled bool, err error) {
	p, l := t.p, t.p.lane
	if !l.local || len(message) > p.inline || len(message) > l.maxMessage {
		position, err = c.SubmitTracked(message, options)
		return position, false, err
	}
	h, flags := options.header(c)
	for try := 0; ; try++ {
		position, err = p.pushQuietly(c, &h, flags, message)
		if err != ErrFull || try == roomTries {
			break
		}
		// Other goroutines have filled the ring. The worker makes room when it runs.
		l.calls.cycle(p.index)
		if _, err := t.Poll(hand); err != nil {
			break
		}
	}
	if err != nil {
		if err == ErrStale && p.left() {
			err = ErrClosed // The worker has ended, and its clients with it.
		}
		l.refused(err)
		return 0, false, err
	}
	for range cycles {
		l.calls.cycle(p.index)
		if head, _ := p.to.Positions(); head >= position {
			handled = true
			break
		}
	}
	if !handled {
		p.enter()
		p.to.WakeConsumer()
		p.expect(p.to.Seen())
		if p.to.SpaceMoved(p.seen) {
			l.wake.IfAsleep()
		}
		p.leaveAsIs()
	} else if p.waiting.Load() > 0 || l.blocked.Load() > 0 {
		l.lookForRoom()
	}
	_, err = t.Poll(hand)
	return position, handled, err
}

// run runs a local worker once, or wakes it, for a goroutine that has published quietly and does not poll.
func (p *pair) run() {
	if !p.lane.calls.cycle(p.index) {
		p.to.WakeConsumer()
		return
	}
	// The cycle has not woken the poller.
	if head, tail := p.from.Positions(); head != tail {
		p.lane.wake.IfAsleep()
	}
}

// Poll hands out all events of the worker, and returns how many. An event is valid until hand returns. The error is
// ErrCorrupt: close the lane.
func (t Turn) Poll(hand func(*Event)) (count int, err error) {
	p, l := t.p, t.p.lane
	p.corrupt = p.corrupt || p.broke.Load()
	if p.events == nil {
		p.events = make([]Event, 16)
		p.out.arena = make([]byte, 0, p.from.Capacity()/2)
	}
	for {
		p.out.arena = p.out.arena[:0]
		n, full := l.drain(&p.out, p, p.events, 0)
		for at := range n {
			hand(&p.events[at])
		}
		for at := range p.out.rest {
			hand(&p.out.rest[at])
		}
		count += n + len(p.out.rest)
		clear(p.events[:n])
		clear(p.out.rest)
		p.out.rest = p.out.rest[:0]
		if n < len(p.events) && !full {
			break
		}
	}
	if p.corrupt {
		err = ErrCorrupt
	}
	return count, err
}

// Progress is [Lane.Progress] of this worker.
func (t Turn) Progress() (position uint64, ended bool) { return t.p.progress() }

// Tend does what Poll does besides polling: it pushes what waits, and says when the lane has ended. Call it before Wait, after
// a round of turns. ErrClosed: the lane is closed, or the router has stopped and every event was handed out. ErrCorrupt,
// ErrBusy: as for [Lane.Poll].
func (l *Lane) Tend() error {
	if l.polls.Load() || !l.poll.TryLock() {
		return l.busy()
	}
	defer l.poll.Unlock()
	if l.gone.Load() {
		return ErrClosed
	}
	l.Flush()
	l.countFull()
	if l.blocked.Load() > 0 {
		l.lookForRoom()
	}
	over := true
	for at := range l.pairs {
		p := &l.pairs[at]
		p.turn.Lock()
		corrupt := p.corrupt
		over = over && p.ended && p.clients.Load() == 0
		p.turn.Unlock()
		if corrupt {
			return ErrCorrupt
		}
	}
	if over {
		l.over = true
		return ErrClosed
	}
	return nil
}
