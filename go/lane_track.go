package corelane

import (
	"encoding/binary"
)

// SubmitTracked is [Client.Submit] for a program that wants to know when the message was handled: when [Lane.Progress] of the
// client's worker has come to the position that it returns.
func (c *Client) SubmitTracked(message []byte, options SubmitOptions) (position uint64, err error) {
	p := c.home
	h, flags := options.header(c)
	if len(message) > p.inline || len(message) > p.lane.maxMessage {
		if err := p.push(c, c, recordMessage, flags, &h, message); err != nil {
			return 0, err
		}
		p.enter()
		defer p.leaveAsIs()
		if p.gone {
			return 0, ErrClosed // What has become of the message is not known.
		}
		p.expect(p.to.Seen())
		if p.to.SpaceMoved(p.seen) { // The worker may have handled it before it could see the request.
			p.lane.wake.IfAsleep()
		}
		return p.to.Tail(), nil // Perhaps behind later records as well.
	}
	p.enter()
	if err := p.open(c); err != nil {
		p.leaveAsIs()
		p.lane.refused(err)
		return 0, err
	}
	place, err := p.claimMessage(c, &h, flags, len(message))
	if err == nil {
		copy(place, message)
		p.commit(c)
		p.expect(p.to.Seen()) // Before the publication: the worker sees the request, or the poller that the head has moved.
	} else if err == ErrFull {
		p.to.Refused()
	}
	position = p.to.Tail()
	p.leave()
	if err != nil {
		p.lane.refused(err)
		return 0, err
	}
	return position, nil
}

// expect asks the worker for a wake when its head leaves this position, as a push does that found no space. The caller holds
// the push lock.
func (p *pair) expect(seen uint64) {
	if !p.stalled {
		p.stalled, p.seen = true, seen
		p.to.RequestSpace()
	}
}

// Progress returns up to which position a worker has handled what was pushed, and lets the next Wait end when it has handled
// more. Only the poller calls it. A worker publishes its events first: if the poller then polls until nothing comes, it has
// seen the events of every message up to that position. A message of which it has seen neither an undelivered nor a refused
// event was delivered, or is held for its recipient. Only if the ring from the worker was full an event can come later.
//
// ended says that the worker has left and all its events were polled. Messages beyond its position were refused: closed.
func (l *Lane) Progress(worker int) (position uint64, ended bool) {
	p := &l.pairs[worker]
	p.turn.Lock()
	defer p.turn.Unlock()
	return p.progress()
}

// progress is Progress for who has the turn.
func (p *pair) progress() (position uint64, ended bool) {
	p.enter()
	defer p.leaveAsIs()
	if p.gone {
		return 0, true
	}
	ended = p.ended || p.corrupt
	position, _ = p.to.Positions()
	if !ended {
		p.expect(position)
	}
	return position, ended
}

// Worker is the number of the worker that handles the client's messages, for good.
func (c *Client) Worker() int { return int(c.home.index) }

// Workers is the number of workers that the lane shares rings with.
func (l *Lane) Workers() int { return len(l.pairs) }

// Wake ends the poller's present or next Wait. Any goroutine may call it.
func (l *Lane) Wake() {
	_, _ = l.file.Write(oneWake[:]) // It fails after Close.
}

var oneWake = func() (bytes [8]byte) {
	binary.NativeEndian.PutUint64(bytes[:], 1)
	return bytes
}()
