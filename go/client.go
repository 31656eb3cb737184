package corelane

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/corelane/corelane/go/internal/stamp"
)

// ConnectOptions are the options of [Lane.Connect]. The zero value has the defaults.
type ConnectOptions struct {
	// Application is the client's application, for the figures.
	Application string
	// Value is the program's own value, such as the connection. See [Client.Value].
	Value any
	// Credit says what happens when the client has too much unacknowledged.
	Credit CreditPolicy
}

// CreditPolicy says what happens when a client has more unacknowledged deliveries than `credit_messages` or `credit_bytes`
// allow.
type CreditPolicy uint32

// The policies.
const (
	// CreditConfigured is the policy of the configuration key `credit_policy`.
	CreditConfigured CreditPolicy = iota
	// CreditRefuse keeps the client connected, and refuses messages to it.
	CreditRefuse
	// CreditDrop drops messages of droppable types. At any other type it does the same as CreditDisconnect.
	CreditDrop
	// CreditDisconnect asks the program to close the client, by an event of the kind close.
	CreditDisconnect
)

// SubmitOptions are the options of [Client.Submit]. The zero value has the defaults.
type SubmitOptions struct {
	// Correlation is the program's own value. Every event that the message causes carries it.
	Correlation uint64
	// TellFailed asks for an event of the kind undelivered if the message fails.
	TellFailed bool
	// Recipient is for a program that has read the message itself: the router delivers the bytes to this client, unchanged
	// and unread. 0 lets the router read the message by the rules of the client's protocol.
	Recipient ClientID
	// Type is, with Recipient, the type under which the message counts. 0 is the type "send".
	Type MessageType
	// Stamp is when the message has arrived, by [Lane.Stamp]: it has waited since then. 0 is now.
	Stamp uint64
}

// header returns what the message's record begins with, and its flags.
func (o *SubmitOptions) header(c *Client) (h header, flags uint16) {
	h = header{client: uint64(c.id), stamp: o.Stamp, correlation: o.Correlation, messageType: anyType}
	if o.TellFailed {
		flags |= flagTellFailed
	}
	if o.Recipient != 0 {
		flags |= flagAddressed
		h.recipient, h.messageType = uint64(o.Recipient), o.Type.label()
	}
	if h.stamp == 0 {
		h.stamp = stamp.Now(c.lane.stampSource)
	}
	return h, flags
}

// SendOptions are the options of [Client.Send], [Lane.SendTo] and [Room.Send]. The zero value has the defaults.
type SendOptions struct {
	// Correlation is the program's own value. The event of the kind send failed carries it.
	Correlation uint64
	// Type is the type under which the message counts. 0 is the type "send".
	Type MessageType
}

// MessageType is the number of a message type, from [Lane.MessageType]. 0 is no type.
type MessageType uint32

func (t MessageType) label() uint32 {
	if t == 0 {
		return anyType
	}
	return uint32(t - 1)
}

// The states of a client.
const (
	clientOpen uint32 = iota
	clientClosing
	clientClosed
)

// Client is a connected client of a lane. Any number of goroutines may use it at once.
type Client struct {
	lane  *Lane
	home  *pair
	id    ClientID
	name  string
	state atomic.Uint32
	value atomic.Pointer[any]

	// Under the push lock of the home worker's pair. held is the space that the client's records have in the ring. What the
	// client has acknowledged and the worker does not know yet; owed says that the client is in the list.
	held                    uint64
	owedMessages, owedBytes uint64
	owedStamp               uint64
	acknowledged            uint64
	owed                    bool
	nextOwed, nextLeaving   *Client

	// Deliveries handed out. Those from several workers may be handed out at once.
	handed atomic.Uint64
	// One delivery at a time is sampled, to time its write: when it was handed out, and how many were handed out up to it.
	// The poller sets them, and the acknowledgement that covers the delivery clears them.
	sampledAt atomic.Uint64
	sample    atomic.Uint64
}

// ID is the client's number.
func (c *Client) ID() ClientID { return c.id }

// Name is the name that the client connected under.
func (c *Client) Name() string { return c.name }

// String is the name and the number, for logs.
func (c *Client) String() string { return fmt.Sprintf("%q (%d)", c.name, uint64(c.id)) }

// Lane is the client's lane.
func (c *Client) Lane() *Lane { return c.lane }

// Value is the program's own value for the client.
func (c *Client) Value() any {
	if value := c.value.Load(); value != nil {
		return *value
	}
	return nil
}

// SetValue sets the program's own value for the client. Events that are handed out later show it.
func (c *Client) SetValue(value any) { c.value.Store(&value) }

// Connected says whether Disconnect was not called yet and the client's last event was not handed out.
func (c *Client) Connected() bool { return c.state.Load() == clientOpen }

// Submit gives the router a message that the client has sent. The bytes are copied. It never waits: [ErrFull] says that the
// client's part of the ring is full. Retry after Wait, or drop the message.
//
// The router checks the message when a worker takes it. A message beyond a limit of the client or of the router ends there,
// and the lane hands out an event of the kind refused.
//
// ErrFull, ErrTooLarge, ErrStale (the client has disconnected), ErrClosed, ErrCorrupt; ErrPayloads for a message that is too
// large for a ring.
func (c *Client) Submit(message []byte, options SubmitOptions) error {
	err := c.trySubmit(message, options)
	if err != nil {
		c.lane.refused(err)
	}
	return err
}

// trySubmit is Submit without counting a refusal.
func (c *Client) trySubmit(message []byte, options SubmitOptions) error {
	h, flags := options.header(c)
	return c.home.tryPush(c, c, recordMessage, flags, &h, message)
}

// SubmitWait is Submit, and waits while the client's part of the ring is full. It needs a poller: a loop over Events, or a
// goroutine that calls Poll and Wait. A goroutine that polls must not call it.
//
// Errors as for Submit, except ErrFull, and the error of the context.
func (c *Client) SubmitWait(ctx context.Context, message []byte, options SubmitOptions) error {
	err := c.trySubmit(message, options)
	if err == ErrFull {
		err = c.submitLater(ctx, message, options)
	}
	if err != nil {
		c.lane.refused(err)
	}
	return err
}

func (c *Client) submitLater(ctx context.Context, message []byte, options SubmitOptions) error {
	l := c.lane
	l.blocked.Add(1)
	defer l.blocked.Add(-1)
	for {
		room := l.waitForRoom()
		// Once more: the room may have been announced before the channel was there.
		if err := c.trySubmit(message, options); err != ErrFull {
			return err
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Send sends the client a message of the program. The bytes are copied and delivered unread, in the order of the sends.
// It never waits. If the message cannot be delivered, the lane hands out an event of the kind send failed.
//
// Errors as for Submit.
func (c *Client) Send(message []byte, options SendOptions) error {
	h := header{correlation: options.Correlation, recipient: uint64(c.id), messageType: options.Type.label()}
	return c.home.push(c, c, recordSend, 0, &h, message)
}

// Acknowledge says that the program has written, or dropped, this many messages and bytes of the client's deliveries. The
// client gets that credit back. It reaches the router with the lane's next push or poll, and after 5 ms at the latest; a
// quarter of the client's credit goes at once. Nothing is lost if the ring is full.
func (c *Client) Acknowledge(messages, bytes int) {
	if messages < 0 || bytes < 0 || messages|bytes == 0 {
		return
	}
	p := c.home
	p.enter()
	if p.gone || c.state.Load() == clientClosed {
		p.leaveAsIs()
		return
	}
	p.owe(c, uint64(messages), uint64(bytes))
	if c.owedMessages >= c.lane.quarterMessages || c.owedBytes >= c.lane.quarterBytes {
		if c.lane.local {
			p.flush()
			p.to.PublishQuietly()
			p.lock.Unlock()
			p.run()
			return
		}
		p.leave()
		return
	}
	p.leaveAsIs()
}

// owe notes an acknowledgement. The caller holds the push lock.
func (p *pair) owe(c *Client, messages, bytes uint64) {
	c.owedMessages = min(c.owedMessages+messages, 1<<40)
	c.owedBytes = min(c.owedBytes+bytes, 1<<40)
	c.acknowledged += messages
	if at := c.sampledAt.Load(); at != 0 && c.acknowledged >= c.sample.Load() {
		if c.owedStamp == 0 {
			c.owedStamp = at
		}
		c.sampledAt.Store(0)
	}
	if !c.owed {
		c.owed = true
		p.owed.add(c, owedNext)
		p.later()
	}
}

// Disconnect takes the client's name and its rooms away. Its messages so far are still handled. What other clients send it
// arrives no more after EventClosed, its last event. ErrStale: the client has disconnected already.
func (c *Client) Disconnect() error {
	p := c.home
	p.enter()
	if p.gone {
		p.leaveAsIs()
		return ErrClosed
	}
	open := c.state.CompareAndSwap(clientOpen, clientClosing)
	p.leaveAsIs() // The call waits for nobody who needs this lock, but it may take long.
	if !open {
		return ErrStale
	}
	if err := c.lane.calls.disconnect(c.id); err != nil {
		return c.lane.explain(err)
	}
	p.enter()
	if !p.gone && c.state.Load() == clientClosing {
		p.leaving.add(c, leavingNext)
		p.pending.Store(true)
	}
	p.leave()
	return nil
}

// ReleaseName gives the client's name up, so that another client can connect under it. The client stays connected.
func (c *Client) ReleaseName() error { return c.lane.explain(c.lane.calls.releaseName(c.id)) }

// Join puts the client into a room, and creates the room if it has no members. Joining twice has no further effect.
//
// ErrLimit (`max_rooms`, `max_room_members`, `max_client_rooms`, or member lists are in use: retry), ErrInvalid (the name),
// ErrStale.
func (c *Client) Join(room string) (*Room, error) {
	if c.state.Load() != clientOpen {
		return nil, ErrStale
	}
	id, err := c.lane.calls.join(c.id, room)
	if err != nil {
		return nil, c.lane.explain(err)
	}
	return c.lane.Room(id)
}

// Leave takes the client out of a room. Messages that were relayed before may still arrive. A disconnect leaves all rooms.
//
// ErrNotFound (the client is not a member), ErrStale (the client, or the room has no members any more), ErrLimit (member
// lists are in use: retry).
func (c *Client) Leave(room *Room) error {
	if room == nil {
		return ErrNull
	}
	return c.lane.explain(c.lane.calls.leave(c.id, room.id))
}
