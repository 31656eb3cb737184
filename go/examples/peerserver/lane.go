package main

// A lane's goroutine: it takes what the router hands out, puts it into the queues of the connections, and writes each
// queue once per batch.

import (
	"context"
	"errors"
	"log/slog"
	"runtime"

	corelane "github.com/corelane/corelane/go"
	"github.com/gorilla/websocket"
)

// eventsAtOnce is the most events before the queues are written.
const eventsAtOnce = 256

type lane struct {
	server *server
	inner  *corelane.Lane
	// dirty are the connections whose queue is written after the batch.
	dirty []*conn
}

// run takes events until the router has stopped.
func (l *lane) run() {
	events := make([]corelane.Event, eventsAtOnce)
	for idle := false; ; {
		count, err := l.inner.Poll(events)
		for at := range count {
			l.handOut(&events[at])
		}
		l.write()
		switch {
		case err != nil:
		case count > 0:
			idle = false
		case !idle:
			idle = true
			runtime.Gosched() // who waits to run may bring the next event
		default:
			err = l.inner.Wait(context.Background())
		}
		if err != nil {
			if !errors.Is(err, corelane.ErrClosed) {
				slog.Error("a lane failed", "error", err)
			}
			return
		}
	}
}

func (l *lane) write() {
	for at, c := range l.dirty {
		c.lock.Lock()
		c.isDirty = false
		c.flushAndUnlock()
		l.dirty[at] = nil
	}
	l.dirty = l.dirty[:0]
}

func (l *lane) handOut(event *corelane.Event) {
	c, ok := event.Client.Value().(*conn)
	if !ok {
		return
	}
	switch event.Kind {
	case corelane.EventMessage:
		c.lock.Lock()
		// Otherwise the client has left, and the router returns its credit with its last event.
		if c.takesMessages() {
			c.queue(l, event.Client, event.Message, credit{1, uint32(len(event.Message))})
		}
		c.lock.Unlock()
	case corelane.EventExpired:
		text := []byte(`{"type":"EXPIRE","src":` + asJSON(string(event.Message)) + `,"dst":` + asJSON(c.id) + `}`)
		c.lock.Lock()
		if c.takesMessages() {
			c.queue(l, event.Client, text, credit{1, uint32(len(event.Message))})
		}
		c.lock.Unlock()
	case corelane.EventLeft:
		event.Client.ReleaseName()
		l.server.registry.leave(c.id, c)
		c.lock.Lock()
		over := c.claim
		c.claim, c.hasLeft = nil, true
		c.lock.Unlock()
		over.release()
	case corelane.EventClose:
		c.leave()
		c.abort("the client does not read")
	case corelane.EventClosed:
		c.lock.Lock()
		c.isRouted, c.isConnected = false, false
		over := c.handOver()
		state := c.state
		c.lock.Unlock()
		over.release()
		switch state {
		case replaced:
			c.close(websocket.CloseNormalClosure, "")
		case drained:
			c.close(websocket.CloseServiceRestart, "")
		}
	}
}

// takesMessages: a socket will write new messages, this one or its successor. Called with the lock.
func (c *conn) takesMessages() bool { return c.isConnected || c.successor != nil || c.state == drained }

// queue adds a delivery, and has the lane write it. Called with the lock.
func (c *conn) queue(l *lane, client *corelane.Client, text []byte, credit credit) {
	if c.client == nil {
		c.client = client // the call that connects has not returned yet
	}
	c.active.Store(c.server.now())
	c.out.push(textFrame, text, credit)
	if !c.isDirty {
		c.isDirty = true
		l.dirty = append(l.dirty, c)
	}
}
