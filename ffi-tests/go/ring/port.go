package ring

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"unsafe"
)

// Reasons for which a message is refused, in addition to the ring's errors.
var (
	ErrStale     = errors.New("the client is not connected")
	ErrWrongPort = errors.New("the client is another port's")
	ErrDraining  = errors.New("the router drains")
	// ErrAgain is a further result of Closings.
	ErrAgain = errors.New("poll first")
)

// Indices of Counts.Refused, as CORELANE_REFUSED_.
const (
	refusedFull = iota
	refusedClosed
	refusedDraining
	refusedStale
	refusedWrongPort
	refusedTooLarge
	refusedCorrupt
)

// Kinds of events, as CORELANE_EVENT_.
const (
	Message     = 1
	Expired     = 2
	Left        = 3
	Close       = 4
	Closed      = 5
	Undelivered = 6
	SendFailed  = 7
)

const (
	headerBytes    = 56
	referenceBytes = 16
)

// A slot's state: generation << 32 | worker << 16 | phase.
const (
	open    = 1
	closing = 2
)

// A slot's credit, from the top: closing, a CLOSE is on its way, 15 bits of the generation, 16 of messages, 31 of
// bytes.
const (
	creditCloseSent       = 1 << 62
	creditGenerationShift = 47
	creditMessage         = 1 << 31
)

// Slots is the client table, with the offsets that the library reports.
type Slots struct {
	Base                                          unsafe.Pointer
	Count, Stride                                 uint32
	Place, State, Token, Submitted, Handed, Track uint32
	SampledAt, Credit                             uint32
}

func (s *Slots) at(index uint32) unsafe.Pointer {
	return unsafe.Add(s.Base, uintptr(index)*uintptr(s.Stride))
}

func u64(slot unsafe.Pointer, offset uint32) *uint64 { return (*uint64)(unsafe.Add(slot, offset)) }

// of returns a client's slot and its state, or nil if the slot is another client's. One load yields generation and
// state, so no reuse of the slot can come between them.
func (s *Slots) of(client uint64) (slot unsafe.Pointer, state uint64) {
	if uint32(client) >= s.Count {
		return nil, 0
	}
	slot = s.at(uint32(client))
	state = atomic.LoadUint64(u64(slot, s.State))
	if state>>32 != client>>32 {
		return nil, 0
	}
	return slot, state
}

// giveBack gives back what one recipient's share of a delivery holds of its client: the credit of a message, or the
// slot that a CLOSE on its way keeps in use. Nothing changes if another client uses the slot by now, and no field
// goes below 0.
func (s *Slots) giveBack(client uint64, kind uint16, length uint64) {
	if uint32(client) >= s.Count {
		return
	}
	credit := u64(s.at(uint32(client)), s.Credit)
	for {
		word := atomic.LoadUint64(credit)
		next := word
		switch kind {
		case Close:
			next &^= creditCloseSent
		case Message, Expired:
			if word/creditMessage&0xffff != 0 {
				next -= creditMessage
			}
			next -= min(length, word%creditMessage)
		}
		if (word>>creditGenerationShift^client>>32)&0x7fff != 0 || next == word || atomic.CompareAndSwapUint64(credit, word, next) {
			return
		}
	}
}

// Counts has the port's counters. Only the port's host writes these cells.
type Counts struct {
	Submitted, Consumed, Polls             *uint64
	UndeliverableClosed, UndeliverableLost *uint64
	OutstandingMessages, OutstandingBytes  *uint64
	Refused                                []uint64
}

func count(cell *uint64) { atomic.StoreUint64(cell, atomic.LoadUint64(cell)+1) }

// Event is an event that a poll hands out. Bytes is a view, valid until Release or the next poll.
type Event struct {
	Kind                               uint16
	Reason                             uint16
	Client, Token, Sender, Correlation uint64
	Bytes                              []byte
}

// Lane has the rings to and from one worker.
type Lane struct {
	To                    *Producer
	From                  *Consumer
	record                []byte
	kind, flags           uint16
	recipient, recipients uint32
	payload               []byte
	// length is the part of each recipient's credit that the payload takes; lost is set if the out-of-line payload is
	// missing.
	length  uint64
	lost    bool
	dirty   bool
	stalled bool
	closed  bool // A poll has seen that the worker closed the ring.
}

// Port is an inline port (docs/layout.md). Only one goroutine at a time may use it.
type Port struct {
	Lanes      []*Lane
	Own        Wake
	Slots      Slots
	Counts     Counts
	Number     uint32
	MaxMessage uint32
	Draining   *byte
	// StampSource is the unit of stamps: see Stamp.
	StampSource uint64
	// ClientClosed is corelane_client_closed. It is called once for each client, with the client's last event.
	ClientClosed func(client uint64)
	// PayloadTake and PayloadRelease are corelane_payload_take and corelane_payload_release, for out-of-line payloads.
	PayloadTake    func(number uint64) (payload []byte, found bool)
	PayloadRelease func()
	// Closings is corelane_port_closings, called after a worker has ended. It appends up to room events. ErrClosed:
	// no event will come. ErrAgain: there are events, but room is 0 or records precede them.
	Closings func(events []Event, room int) ([]Event, error)
	first    int
	armed    bool
	over     bool // A poll has returned ErrClosed.
	beside   bool
}

// Open takes over the rings at the positions at which the library left them.
func (p *Port) Open() error {
	for _, lane := range p.Lanes {
		if err := errors.Join(lane.To.Resume(), lane.From.Resume()); err != nil {
			return err
		}
	}
	return nil
}

func (p *Port) refuse(reason int, err error) error {
	count(p.Counts.Submitted)
	count(&p.Counts.Refused[reason])
	return err
}

// Submit commits one message. It becomes visible with Publish.
func (p *Port) Submit(client uint64, length int, correlation, stamp uint64, fill func([]byte)) error {
	slot, state := p.Slots.of(client)
	if slot == nil {
		return p.refuse(refusedStale, ErrStale)
	}
	place := atomic.LoadUint64(u64(slot, p.Slots.Place))
	switch {
	case place>>32 == client>>32 && uint32(place>>16)&0xffff != p.Number:
		return p.refuse(refusedWrongPort, ErrWrongPort)
	case place>>32 != client>>32 || state&0xffff != open: // Only this side closes the client.
		return p.refuse(refusedStale, ErrStale)
	case length > int(p.MaxMessage):
		return p.refuse(refusedTooLarge, ErrTooLarge)
	case *p.Draining != 0: // A single byte that is written once, so a plain load is enough.
		return p.refuse(refusedDraining, ErrDraining)
	}
	lane := p.Lanes[int(state>>16&0xffff)%len(p.Lanes)]
	record, err := lane.To.Claim(uint32(headerBytes+length), 1, 0)
	switch err {
	case nil:
	case ErrFull:
		lane.stalled = true
		return p.refuse(refusedFull, err)
	case ErrClosed:
		return p.refuse(refusedClosed, err)
	case ErrTooLarge:
		return p.refuse(refusedTooLarge, err)
	default:
		return p.refuse(refusedCorrupt, err)
	}
	binary.NativeEndian.PutUint64(record[8:], client)
	binary.NativeEndian.PutUint64(record[16:], stamp)
	binary.NativeEndian.PutUint64(record[24:], correlation)
	binary.NativeEndian.PutUint64(record[32:], 0)
	binary.NativeEndian.PutUint64(record[40:], 0xffffffff)
	fill(record[headerBytes:])
	if lane.To.Memory.Flag(lane.To.Memory.ClosedWord) != 0 { // The ring may be settled: a record would be lost.
		lane.To.claimed = 0
		return p.refuse(refusedClosed, ErrClosed)
	}
	// Count the message before it can become visible.
	count(p.Counts.Submitted)
	count(u64(slot, p.Slots.Submitted))
	lane.To.Commit()
	lane.dirty = true
	return nil
}

// Publish makes all committed messages visible. Call it once per batch.
func (p *Port) Publish() {
	for _, lane := range p.Lanes {
		if lane.dirty {
			lane.dirty = false
			lane.To.Publish()
		}
	}
}

// Suspend publishes, and loads the heads for Producer.Resume. Call it before each call of the library that pushes on
// this port. If a refusal already waits for space, the head that the refusal saw is kept.
func (p *Port) Suspend() {
	p.Publish()
	for _, lane := range p.Lanes {
		if !lane.stalled {
			_ = lane.To.Look() // If it is corrupt, the call that follows returns that.
		}
	}
}

// Resume takes over the positions after such a call (connect, disconnect), and notes the rings in which the call
// found no space. If waiting is above 0, disconnects wait for space.
func (p *Port) Resume(waiting int) error {
	for _, lane := range p.Lanes {
		if err := lane.To.Resume(); err != nil {
			return err
		}
		lane.stalled = lane.stalled || lane.To.needsSpace || waiting > 0
	}
	return nil
}

// Poll appends up to limit events. ErrClosed: the router has stopped and everything was handed out.
func (p *Port) Poll(events []Event, limit int) ([]Event, error) {
	if p.armed {
		p.armed = false
		p.Own.Disarm()
		p.Own.Drain()
	}
	p.Release()
	count(p.Counts.Polls)
	p.first++
	before, ended := len(events), false
	for offset := range p.Lanes {
		lane := p.Lanes[(p.first+offset)%len(p.Lanes)]
		from := lane.From
		lane.closed = from.Memory.Flag(from.Memory.ClosedWord) != 0 // Before the tail: sees all records.
		ended = ended || lane.closed
		err := from.Refresh()
		for more := true; err == nil && len(events)-before < limit; {
			if lane.recipient == lane.recipients {
				if more, err = p.next(lane); err != nil || !more {
					break
				}
			}
			if event, ok := p.handOut(lane); ok {
				events = append(events, event)
			}
		}
		if lane.recipient == lane.recipients {
			from.Tell(from.head, 0)
		} else {
			from.Tell(from.head-(uint64(len(lane.record))+alignment-1)&^(alignment-1), uint64(lane.recipient))
		}
		if err != nil {
			return events, err
		}
	}
	if room := limit - (len(events) - before); ended && room > 0 {
		var err error
		p.Publish() // The call settles the records that ended workers have left in their rings.
		events, err = p.Closings(events, room)
		if p.over = err == ErrClosed && len(events) == before; p.over {
			return events, ErrClosed
		}
	}
	return events, nil
}

func (p *Port) next(l *Lane) (bool, error) {
	record, kind, flags, err := l.From.Next()
	if err != nil || record == nil {
		return false, err
	}
	recipients := uint32(0)
	if len(record) >= headerBytes {
		recipients = binary.NativeEndian.Uint32(record[44:])
	}
	if recipients == 0 || uint64(recipients) > uint64(len(record)-headerBytes)/8 {
		return false, ErrCorrupt
	}
	payload, lost := record[headerBytes+8*int(recipients):], false
	length := uint64(len(payload))
	if kind == Message && flags&1 != 0 {
		var number uint64
		length = 0
		if len(payload) >= referenceBytes {
			number, length = binary.NativeEndian.Uint64(payload), binary.NativeEndian.Uint64(payload[8:])
		}
		taken, found := p.PayloadTake(number)
		payload, lost = taken, !found
		p.beside = p.beside || found
	}
	l.record, l.kind, l.flags, l.recipient, l.recipients = record, kind, flags, 0, recipients
	l.payload, l.length, l.lost = payload, length, lost
	return true, nil
}

func raise(cell *uint64, value uint64) {
	if value > atomic.LoadUint64(cell) {
		atomic.StoreUint64(cell, value)
	}
}

// track counts a handed-out delivery against credit: it is outstanding until it is acknowledged. It becomes the
// client's sampled delivery, whose write is timed, if the client has none.
func (p *Port) track(slot unsafe.Pointer, length uint64) {
	handed, track := u64(slot, p.Slots.Handed), u64(slot, p.Slots.Track)
	now, before := atomic.LoadUint64(handed)+1<<32+length, atomic.LoadUint64(track)
	messages, bytes := now>>32, now&0xffffffff
	left, most := before>>48, max(before>>32&0xffff, min(messages, 0xffff))
	atomic.StoreUint64(handed, now)
	if left == 0 {
		left = min(messages, 0xffff)
		atomic.StoreUint64(u64(slot, p.Slots.SampledAt), Stamp(p.StampSource))
	}
	atomic.StoreUint64(track, left<<48|most<<32|max(before&0xffffffff, bytes))
	raise(p.Counts.OutstandingMessages, messages)
	raise(p.Counts.OutstandingBytes, bytes)
}

// handOut makes the event for one recipient of the lane's record. It returns false if the recipient does not get it.
func (p *Port) handOut(lane *Lane) (Event, bool) {
	client := binary.NativeEndian.Uint64(lane.record[headerBytes+8*int(lane.recipient):])
	payload := lane.payload
	lane.recipient++
	if lane.lost {
		p.Slots.giveBack(client, lane.kind, lane.length)
		count(p.Counts.UndeliverableLost)
		return Event{}, false
	}
	// Credit is the only reason that has a number here; 15 is its number in the record.
	var reason uint16
	if (lane.kind == Undelivered || lane.kind == SendFailed) && lane.flags == 15 {
		reason = 1
	}
	correlation := binary.NativeEndian.Uint64(lane.record[24:])
	if lane.kind == SendFailed {
		// The port's event: the client may be gone, or another port's.
		count(p.Counts.Consumed)
		return Event{Kind: lane.kind, Client: client, Correlation: correlation, Reason: reason}, true
	}
	slot, state := p.Slots.of(client)
	phase := state & 0xffff
	// A client that the host has disconnected needs no CLOSE.
	if slot == nil || (phase != open && (phase != closing || lane.kind == Close)) {
		p.Slots.giveBack(client, lane.kind, lane.length)
		count(p.Counts.UndeliverableClosed)
		return Event{}, false
	}
	switch lane.kind {
	case Message, Expired:
		p.track(slot, lane.length)
	case Close:
		p.Slots.giveBack(client, Close, 0)
	}
	event := Event{
		Kind: lane.kind, Client: client, Token: atomic.LoadUint64(u64(slot, p.Slots.Token)), Bytes: payload,
		Sender: binary.NativeEndian.Uint64(lane.record[8:]), Correlation: correlation, Reason: reason,
	}
	if lane.kind == Close {
		event.Reason = lane.flags + 1
	}
	if lane.kind == Closed {
		p.ClientClosed(client)
	}
	count(p.Counts.Consumed)
	return event, true
}

// Release releases the ring space of the events that the last poll handed out. Their views become invalid.
func (p *Port) Release() {
	done := true
	for _, lane := range p.Lanes {
		if lane.recipient == lane.recipients {
			lane.From.Release()
		} else {
			done = false
		}
	}
	if p.beside && done {
		p.beside = false
		p.PayloadRelease()
	}
}

// Arm announces that this side is about to sleep. It returns false if there is something to poll. The end of a worker
// counts as something to poll until a poll has seen it.
func (p *Port) Arm() bool {
	for _, lane := range p.Lanes {
		if lane.stalled {
			lane.To.RequestSpace()
		}
	}
	p.armed = true
	p.Own.Arm()
	news, ended := false, false
	for _, lane := range p.Lanes {
		if lane.stalled && lane.To.SpaceMoved() {
			lane.stalled = false
			news = true
		}
		from := lane.From
		news = news || from.HasMore() || lane.recipient != lane.recipients ||
			(!lane.closed && from.Memory.Flag(from.Memory.ClosedWord) != 0)
		ended = ended || lane.closed
	}
	if ended && !news {
		p.Publish()
		_, err := p.Closings(nil, 0)
		news = err == ErrAgain || (err == ErrClosed && !p.over)
	}
	return !news
}
