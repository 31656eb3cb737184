package corelane

import (
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	rings "github.com/corelane/corelane/go/internal/ring"
	"github.com/corelane/corelane/go/internal/stamp"
)

// Kinds and flags of the records that a lane pushes, and of those that it polls. docs/layout.md has the tables.
const (
	recordMessage     = 1
	recordDisconnect  = 2
	recordSend        = 4
	recordSendToRoom  = 5
	recordAcknowledge = 6
	recordDiscarded   = 7

	flagTellFailed = 2
	flagOwned      = 4
	flagAddressed  = 8

	headerBytes     = 56
	referenceBytes  = 16
	disconnectBytes = 16
	discardedBytes  = 16
	entriesAt       = 16
	entryBytes      = 24
	maxEntries      = 64

	// A large payload's record takes 128 bytes, and at most 64 of a pad.
	promiseBytes = 192
	anyType      = ^uint32(0)
)

// A pair has the two rings that a lane shares with one worker.
type pair struct {
	lane  *Lane
	index uint32

	// The push lock covers everything up to the next comment.
	lock    sync.Mutex
	waiting atomic.Int32
	to      rings.Producer
	// gone: the lane is closed, and the memory with it.
	gone bool
	// inline is the largest message that fits a record. reserve is the space that only acknowledgements and disconnects
	// may use. promised is what payloads that are being put will use.
	inline            int
	reserve, promised uint64
	// taken is the worker's count of records at the last look, for queue_messages.
	taken uint64
	// shares has, for each record that the worker may not have released, whose it is and where it ends. It starts at the
	// position settled.
	shares           []share
	sharesAt, shared int
	settled          uint64
	// others takes the place of the client in records that no client of the lane owns: messages to rooms, and to clients
	// of other ports.
	others Client
	// stalled: the ring had no room for a push. seen is the worker's head at that time.
	stalled bool
	seen    uint64
	// What waits to be pushed: clients with acknowledgements and clients that leave, as lists.
	owed, leaving clientQueue
	pending       atomic.Bool

	// turn covers the rest: who has it polls, or makes the worker run. A goroutine that has it may take the push lock, never
	// the reverse.
	_    [64]byte
	turn sync.Mutex
	from rings.Consumer
	// out and events are what a Turn hands out.
	out    outbox
	events []Event
	// discarded counts deliveries that were thrown away and not reported yet. The lane reports them with its next push.
	discarded atomic.Uint64
	// broke: this side has found the ring to the worker corrupt. corrupt: the poller has found either ring so.
	broke atomic.Bool
	// ended: the worker has left, or has given a ring up as corrupt, and everything in its ring was handed out.
	ended, corrupt bool
	scan           int
	clients        atomic.Int64
}

// A share is one record's part of a ring.
type share struct {
	client *Client
	end    uint64
}

// A clientQueue is a queue that is linked through the clients, so that it needs no memory of its own.
type clientQueue struct{ first, last *Client }

func (l *clientQueue) add(c *Client, next func(*Client) **Client) {
	if l.first == nil {
		l.first = c
	} else {
		*next(l.last) = c
	}
	l.last = c
}

func owedNext(c *Client) **Client    { return &c.nextOwed }
func leavingNext(c *Client) **Client { return &c.nextLeaving }

func (p *pair) init(lane *Lane, index uint32, to rings.Producer, from rings.Consumer) {
	capacity := to.Capacity()
	p.lane, p.index, p.to, p.from = lane, index, to, from
	p.inline = to.MaxRecord() - headerBytes
	p.reserve = min(capacity/8, 4096)
	p.shares = make([]share, capacity/64)
}

// enter takes the push lock. It says so to the one that holds it, who then leaves the publication to this goroutine.
func (p *pair) enter() {
	if !p.lock.TryLock() {
		p.waiting.Add(1)
		p.lock.Lock()
		p.waiting.Add(-1)
	}
}

// leave pushes what waits, publishes unless another goroutine waits for the lock, and gives the lock back. A quarter of the
// ring is published in any case, so that a worker is not kept waiting by goroutines that follow each other.
func (p *pair) leave() {
	if p.pending.Load() {
		p.flush()
	}
	p.leaveAsIs()
}

// leaveAsIs is leave without pushing what waits.
func (p *pair) leaveAsIs() {
	if p.waiting.Load() == 0 || p.to.Unpublished() >= p.to.Capacity()/4 {
		if !p.gone {
			p.to.Publish()
		}
	}
	p.lock.Unlock()
}

// left says that the worker pushes nothing more: it has ended, or has found one of the rings corrupt.
func (p *pair) left() bool { return p.from.Closed() || p.from.Corrupt() || p.to.Corrupt() }

// look loads the worker's head, and takes the records behind it out of their clients' shares.
func (p *pair) look() error {
	if err := p.to.Look(); err != nil {
		return err
	}
	head := p.to.Seen()
	for p.shared > 0 {
		one := &p.shares[p.sharesAt]
		if one.end > head {
			break
		}
		one.client.held -= one.end - p.settled
		p.settled = one.end
		one.client = nil
		p.sharesAt = (p.sharesAt + 1) & (len(p.shares) - 1)
		p.shared--
	}
	return nil
}

// count refuses a record beyond queue_messages.
func (p *pair) count() error {
	limit := p.lane.queueMessages
	if limit == 0 || p.to.Records()-p.taken < limit {
		return nil
	}
	// The head before the count, which the worker stores first: a refusal then waits for the head that comes next.
	if err := p.look(); err != nil {
		return p.broken()
	}
	if p.taken = min(p.to.Taken(), p.to.Records()); p.to.Records()-p.taken < limit {
		return nil
	}
	if p.to.Closed() {
		return p.closed()
	}
	return p.full()
}

// claim claims space for a record of a client. A client's records may take no more of the ring than is left free, so the
// records of one that floods leave room for the others: k clients that flood leave 1/(k+1) of the ring.
func (p *pair) claim(c *Client, length int, kind, flags uint16) (unsafe.Pointer, error) {
	needed, kept := rings.Stride(length), p.reserve+p.promised
	if err := p.count(); err != nil {
		return nil, err
	}
	if c.held+needed+kept > p.to.Free() {
		if err := p.look(); err != nil {
			return nil, p.broken()
		}
		if c.held+needed+kept > p.to.Free() {
			if p.to.Closed() {
				return nil, p.closed()
			}
			return nil, p.full()
		}
	}
	return p.reserved(length, kind, flags, kept)
}

// reserved claims space without regard to shares.
func (p *pair) reserved(length int, kind, flags uint16, kept uint64) (unsafe.Pointer, error) {
	if p.to.Closed() || p.to.Corrupt() {
		return nil, p.closed()
	}
	place, err := p.to.Claim(length, kind, flags, kept)
	switch err {
	case nil:
		return place, nil
	case rings.ErrFull:
		return nil, p.full()
	case rings.ErrTooLarge:
		return nil, ErrTooLarge
	default:
		return nil, p.broken()
	}
}

// full notes which head a refusal saw, so that Wait ends when the worker has moved it. The poller may be asleep already, so
// the worker is asked for a wake now.
func (p *pair) full() error {
	if !p.stalled {
		p.stalled, p.seen = true, p.to.Seen()
		p.to.RequestSpace()
		if p.to.SpaceMoved(p.seen) { // Perhaps before it could see the request.
			p.lane.wake.IfAsleep()
		}
	}
	return ErrFull
}

func (p *pair) closed() error {
	if p.to.Corrupt() {
		return ErrCorrupt
	}
	return ErrClosed
}

// broken notes that the worker's head is impossible. Polls then return ErrCorrupt, too.
func (p *pair) broken() error {
	p.to.MarkCorrupt()
	p.broke.Store(true)
	return ErrCorrupt
}

// commit appends the claimed record, which is this client's.
func (p *pair) commit(c *Client) {
	before := p.to.Tail()
	p.to.Commit()
	end := p.to.Tail()
	if p.shared == len(p.shares) {
		// The ring has no more rows than this, so the head has moved.
		if p.look() != nil || p.shared == len(p.shares) {
			return
		}
	}
	if p.shared == 0 {
		p.settled = before
	}
	c.held += end - before
	p.shares[(p.sharesAt+p.shared)&(len(p.shares)-1)] = share{c, end}
	p.shared++
}

// A header is what a record begins with, after the prefix.
type header struct {
	client, stamp, correlation, recipient uint64
	messageType                           uint32
}

func (h *header) write(place unsafe.Pointer) {
	words := (*[headerBytes / 8]uint64)(place)
	words[1], words[2], words[3], words[4] = h.client, h.stamp, h.correlation, h.recipient
	*(*uint32)(unsafe.Add(place, 40)) = h.messageType
}

// push is tryPush, and counts the message as refused if it could not be pushed.
func (p *pair) push(sender, owner *Client, kind, flags uint16, h *header, message []byte) error {
	err := p.tryPush(sender, owner, kind, flags, h, message)
	if err != nil {
		p.lane.refused(err)
	}
	return err
}

// tryPush pushes one record with its payload. sender is checked under the lock to be open, unless it is nil; the record counts
// against owner's share.
func (p *pair) tryPush(sender, owner *Client, kind, flags uint16, h *header, message []byte) error {
	lane := p.lane
	if len(message) > p.inline || len(message) > lane.maxMessage {
		return p.pushLarge(sender, owner, kind, flags, h, message)
	}
	if h.stamp == 0 {
		h.stamp = stamp.Now(lane.stampSource)
	}
	p.enter()
	if err := p.open(sender); err != nil {
		p.leaveAsIs()
		return err
	}
	place, err := p.claim(owner, headerBytes+len(message), kind, flags)
	switch err {
	case nil:
		h.write(place)
		copy(unsafe.Slice((*byte)(unsafe.Add(place, headerBytes)), len(message)), message)
		p.commit(owner)
	case ErrFull:
		p.to.Refused()
	}
	p.leave()
	return err
}

// claimMessage claims a message's record, writes its header, and returns the place of its bytes.
func (p *pair) claimMessage(c *Client, h *header, flags uint16, length int) ([]byte, error) {
	place, err := p.claim(c, headerBytes+length, recordMessage, flags)
	if err != nil {
		return nil, err
	}
	h.write(place)
	return unsafe.Slice((*byte)(unsafe.Add(place, headerBytes)), length), nil
}

// open says whether the sender may push. The caller holds the push lock.
func (p *pair) open(sender *Client) error {
	if p.gone {
		return ErrClosed
	}
	if sender != nil && sender.state.Load() != clientOpen {
		return ErrStale
	}
	return nil
}

// pushLarge puts the payload aside by a call, and pushes a record with its number. The space for the record is promised
// before the call, so that a payload that was put is always pushed; no lock is held meanwhile.
func (p *pair) pushLarge(sender, owner *Client, kind, flags uint16, h *header, message []byte) error {
	if len(message) > p.lane.maxMessage {
		return &Error{Code: CodeTooLarge, Message: fmt.Sprintf("the message has %d bytes; max_message allows %d", len(message), p.lane.maxMessage)}
	}
	if h.stamp == 0 {
		h.stamp = stamp.Now(p.lane.stampSource)
	}
	p.enter()
	err := p.open(sender)
	if err == nil && p.to.Closed() {
		err = p.closed()
	}
	if err == nil {
		if err = p.count(); err == ErrFull {
			p.to.Refused()
		}
	}
	if err == nil && owner.held+promiseBytes+p.reserve+p.promised > p.to.Free() {
		if p.look() != nil {
			err = p.broken()
		} else if owner.held+promiseBytes+p.reserve+p.promised > p.to.Free() {
			err = p.full()
			p.to.Refused()
		}
	}
	if err != nil {
		p.leave()
		return err
	}
	p.promised += promiseBytes
	p.leave()
	number, err := p.lane.calls.put(p.index, message)
	if err != nil {
		p.enter()
		p.promised -= promiseBytes
		p.leave()
		return p.lane.explain(err)
	}
	p.enter()
	p.promised -= promiseBytes
	if p.gone {
		err = ErrClosed
	} else {
		var place unsafe.Pointer
		// Also if the client has left meanwhile: the worker then refuses the message, and frees the payload. Acknowledgements
		// may have used the reserve up: the promise is beside it.
		place, err = p.reserved(headerBytes+referenceBytes, kind, flags|flagOwned, p.promised)
		if err == nil {
			h.write(place)
			reference := (*[2]uint64)(unsafe.Add(place, headerBytes))
			reference[0], reference[1] = number, uint64(len(message))
			p.commit(owner)
		}
	}
	p.leave()
	if err != nil { // The worker or the lane has left.
		_, _ = p.lane.calls.take(p.index, number, nil)
	}
	return err
}

// later notes that something waits to be pushed.
func (p *pair) later() {
	p.pending.Store(true)
	p.lane.flushSoon()
}

// flush pushes what waits: acknowledgements, then the clients that leave, then the number of discarded deliveries. It may
// use the space that messages may not. What does not fit goes on waiting. The caller holds the push lock.
func (p *pair) flush() {
	p.pending.Store(false)
	if p.gone {
		return
	}
	for p.owed.first != nil {
		if err := p.pushOwed(); err != nil {
			p.keep(err)
			break
		}
	}
	for p.leaving.first != nil && p.owed.first == nil {
		c := p.leaving.first
		place, err := p.reserved(disconnectBytes, recordDisconnect, 0, p.promised)
		if err != nil {
			p.keep(err)
			break
		}
		*(*uint64)(unsafe.Add(place, 8)) = uint64(c.id)
		p.commit(c)
		p.leaving.first, c.nextLeaving = c.nextLeaving, nil
	}
	if discarded := p.discarded.Load(); discarded > 0 {
		place, err := p.reserved(discardedBytes, recordDiscarded, 0, p.promised)
		if err != nil {
			p.keep(err)
			return
		}
		*(*uint64)(unsafe.Add(place, 8)) = discarded
		p.commit(&p.others)
		p.discarded.Add(-discarded)
	}
}

// keep keeps what waits for later if the ring is full. A worker that has left needs none of it.
func (p *pair) keep(err error) {
	if err == ErrFull {
		p.later()
		return
	}
	for c := p.owed.first; c != nil; c = p.owed.first {
		p.owed.first, c.nextOwed, c.owed = c.nextOwed, nil, false
	}
	for c := p.leaving.first; c != nil; c = p.leaving.first {
		p.leaving.first, c.nextLeaving = c.nextLeaving, nil
	}
}

// pushOwed pushes one record of acknowledgements.
func (p *pair) pushOwed() error {
	count := 0
	for c := p.owed.first; c != nil && count < maxEntries && entriesAt+entryBytes*(count+1) <= p.to.MaxRecord(); c = c.nextOwed {
		count++
	}
	place, err := p.reserved(entriesAt+entryBytes*count, recordAcknowledge, 0, p.promised)
	if err == ErrFull && count > 1 {
		count = 1
		place, err = p.reserved(entriesAt+entryBytes, recordAcknowledge, 0, p.promised)
	}
	if err != nil {
		return err
	}
	*(*[2]uint32)(unsafe.Add(place, 8)) = [2]uint32{uint32(count), 0}
	for at := range count {
		c := p.owed.first
		p.owed.first, c.nextOwed, c.owed = c.nextOwed, nil, false
		entry := unsafe.Add(place, entriesAt+entryBytes*at)
		messages, bytes := min(c.owedMessages, 1<<32-1), min(c.owedBytes, 1<<32-1)
		*(*uint64)(entry) = uint64(c.id)
		*(*[2]uint32)(unsafe.Add(entry, 8)) = [2]uint32{uint32(messages), uint32(bytes)}
		*(*uint64)(unsafe.Add(entry, 16)) = c.owedStamp
		c.owedMessages, c.owedBytes, c.owedStamp = 0, 0, 0
	}
	p.commit(&p.others)
	return nil
}

// news says whether the worker has made space since a push was refused, and ends the wait for it. The caller holds the
// push lock.
func (p *pair) news() bool {
	if !p.stalled || p.gone || !p.to.SpaceMoved(p.seen) {
		return false
	}
	p.stalled = false
	p.to.EndRequest()
	return true
}
