package ring

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"unsafe"
)

// What a message may be refused with besides the ring's own errors.
var (
	ErrStale     = errors.New("the client is not connected")
	ErrWrongPort = errors.New("the client is another port's")
	ErrDraining  = errors.New("the router drains")
)

// Cells of Counts.Refused, as CORELANE_REFUSED_.
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
	Message = 1
	Expired = 2
	Left    = 3
	Close   = 4
	Closed  = 5
	Refused = 6
)

const headerBytes = 56

// Slots is the client table; the offsets are those that the library tells.
type Slots struct {
	Base                                          unsafe.Pointer
	Count, Stride                                 uint32
	Place, Phase, Token, Submitted, Handed, Track uint32
	SampledAt, Credit                             uint32
}

func (s *Slots) at(index uint32) unsafe.Pointer {
	return unsafe.Add(s.Base, uintptr(index)*uintptr(s.Stride))
}

func u64(slot unsafe.Pointer, offset uint32) *uint64 { return (*uint64)(unsafe.Add(slot, offset)) }

// of is a connected client's slot, or nil.
func (s *Slots) of(client uint64) unsafe.Pointer {
	if uint32(client) >= s.Count {
		return nil
	}
	slot := s.at(uint32(client))
	if atomic.LoadUint64(u64(slot, s.Place))>>32 != client>>32 {
		return nil
	}
	return slot
}

func (s *Slots) phase(slot unsafe.Pointer) uint32 {
	return atomic.LoadUint32((*uint32)(unsafe.Add(slot, s.Phase))) & 0xffff
}

// Counts is what the port counts; its host alone writes the cells.
type Counts struct {
	Submitted, Consumed, UndeliverableClosed, Polls *uint64
	OutstandingMessages, OutstandingBytes           *uint64
	Refused                                         []uint64
}

func count(cell *uint64) { atomic.StoreUint64(cell, atomic.LoadUint64(cell)+1) }

// Event is what a poll hands out; Bytes is a view until Release or the next poll.
type Event struct {
	Kind                               uint16
	Reason                             uint16
	Client, Token, Sender, Correlation uint64
	Bytes                              []byte
}

// Lane is the way to and from one worker.
type Lane struct {
	To                    *Producer
	From                  *Consumer
	record                []byte
	kind, flags           uint16
	recipient, recipients uint32
	payload               []byte
	dirty, stalled        bool
}

// Port is a port whose rings this side drives: include/corelane_inline.h in Go. One goroutine's at a time.
type Port struct {
	Lanes      []*Lane
	Own        Wake
	Slots      Slots
	Counts     Counts
	Number     uint32
	MaxMessage uint32
	Draining   *byte
	// StampSource is what stamps count: see Stamp.
	StampSource uint64
	// ClientClosed is corelane_client_closed: called once for each client, with its last event.
	ClientClosed func(client uint64)
	// PayloadTake and PayloadRelease are corelane_payload_take and corelane_payload_release, for payloads beside the rings.
	PayloadTake    func(number uint64) []byte
	PayloadRelease func()
	first          int
	armed          bool
	beside         bool
}

// Open takes over where the port's own side left the rings.
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

// Submit commits one message; visible after Publish.
func (p *Port) Submit(client uint64, length int, correlation, stamp uint64, fill func([]byte)) error {
	slot := p.Slots.of(client)
	if slot == nil {
		return p.refuse(refusedStale, ErrStale)
	}
	place := atomic.LoadUint64(u64(slot, p.Slots.Place))
	switch {
	case uint32(place>>16)&0xffff != p.Number:
		return p.refuse(refusedWrongPort, ErrWrongPort)
	case p.Slots.phase(slot) != 1:
		return p.refuse(refusedStale, ErrStale)
	case length > int(p.MaxMessage):
		return p.refuse(refusedTooLarge, ErrTooLarge)
	case *p.Draining != 0: // One byte, written once.
		return p.refuse(refusedDraining, ErrDraining)
	}
	lane := p.Lanes[int(place&0xffff)%len(p.Lanes)]
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
	// Counted before it can be seen.
	count(p.Counts.Submitted)
	count(u64(slot, p.Slots.Submitted))
	lane.To.Commit()
	lane.dirty, lane.stalled = true, false
	return nil
}

// Publish makes what was submitted visible, once per batch; also before each call of the library with this port.
func (p *Port) Publish() {
	for _, lane := range p.Lanes {
		if lane.dirty {
			lane.dirty = false
			lane.To.Publish()
		}
	}
}

// Resume takes over after a call that pushes (connect, disconnect); above 0 waiting disconnects want room.
func (p *Port) Resume(waiting int) error {
	for _, lane := range p.Lanes {
		if err := lane.To.Resume(); err != nil {
			return err
		}
		lane.stalled = lane.stalled || waiting > 0
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
	taken, open := 0, false
	for offset := range p.Lanes {
		lane := p.Lanes[(p.first+offset)%len(p.Lanes)]
		from := lane.From
		closed := from.Memory.Flag(from.Memory.ClosedWord) != 0 // Before the tail: what came before it is then seen.
		if err := from.Refresh(); err != nil {
			return events, err
		}
		for taken < limit {
			if lane.recipient == lane.recipients {
				if more, err := p.next(lane); err != nil || !more {
					if err != nil {
						return events, err
					}
					break
				}
			}
			if event, ok := p.handOut(lane); ok {
				events = append(events, event)
				taken++
			}
		}
		open = open || !closed || from.HasMore() || lane.recipient != lane.recipients
	}
	if taken == 0 && !open {
		return events, ErrClosed
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
	payload := record[headerBytes+8*int(recipients):]
	if kind == Message && flags&1 != 0 {
		if len(payload) < 16 {
			return false, ErrCorrupt
		}
		if payload = p.PayloadTake(binary.NativeEndian.Uint64(payload)); payload == nil {
			return false, ErrCorrupt
		}
		p.beside = true
	}
	l.record, l.kind, l.flags, l.recipient, l.recipients, l.payload = record, kind, flags, 0, recipients, payload
	return true, nil
}

func raise(cell *uint64, value uint64) {
	if value > atomic.LoadUint64(cell) {
		atomic.StoreUint64(cell, value)
	}
}

// track: a delivery on credit is handed out. It is outstanding until it is acknowledged, and timed where no earlier one of
// the client is.
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

// handOut is one recipient's event of the lane's record; nobody may get it.
func (p *Port) handOut(lane *Lane) (Event, bool) {
	client := binary.NativeEndian.Uint64(lane.record[headerBytes+8*int(lane.recipient):])
	payload := lane.payload
	lane.recipient++
	onCredit := lane.kind == Message || lane.kind == Expired
	slot := p.Slots.of(client)
	if slot == nil || (p.Slots.phase(slot) != 1 && p.Slots.phase(slot) != 2) {
		if onCredit && uint32(client) < p.Slots.Count {
			const messageShift = 31
			atomic.AddUint64(u64(p.Slots.at(uint32(client)), p.Slots.Credit), ^(1<<messageShift + uint64(len(payload)) - 1))
		}
		count(p.Counts.UndeliverableClosed)
		return Event{}, false
	}
	if onCredit {
		p.track(slot, uint64(len(payload)))
	}
	event := Event{
		Kind: lane.kind, Client: client, Token: atomic.LoadUint64(u64(slot, p.Slots.Token)), Bytes: payload,
		Sender: binary.NativeEndian.Uint64(lane.record[8:]), Correlation: binary.NativeEndian.Uint64(lane.record[24:]),
	}
	if lane.kind == Close {
		event.Reason = lane.flags + 1
	}
	if lane.kind == Refused {
		const credit = 1
		event.Reason = credit
	}
	if lane.kind == Closed {
		p.ClientClosed(client)
	}
	count(p.Counts.Consumed)
	return event, true
}

// Release gives back the space of what the last poll handed out; its views end.
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

// Arm says that this side is about to sleep; false: something is there already.
func (p *Port) Arm() bool {
	for _, lane := range p.Lanes {
		if lane.stalled {
			lane.To.RequestSpace()
		}
	}
	p.armed = true
	p.Own.Arm()
	news := false
	for _, lane := range p.Lanes {
		if lane.stalled && lane.To.SpaceMoved() {
			lane.stalled = false
			news = true
		}
		news = news || lane.From.HasMore() || lane.recipient != lane.recipients
	}
	return !news
}
