package corelane

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	rings "github.com/corelane/corelane/go/internal/ring"
	"github.com/corelane/corelane/go/internal/stamp"
)

// flushAfter is how long an acknowledgement may wait for a push or a poll that takes it along.
const flushAfter = 5 * time.Millisecond

// laneCalls are the calls of a lane. Each is one cgo call. Any goroutine may make any of them at any time, and none of them
// touches a ring.
type laneCalls interface {
	reserve(name, protocol, application string, policy CreditPolicy) (id ClientID, worker uint32, err error)
	enter(ClientID) error
	cancel(ClientID) error
	disconnect(ClientID) error
	closed(ClientID) error
	releaseName(ClientID) error
	join(client ClientID, room string) (RoomID, error)
	leave(ClientID, RoomID) error
	workerOf(ClientID) (uint32, error)
	workerOfRoom(RoomID) (uint32, error)
	messageType(protocol, name string) (MessageType, error)
	put(worker uint32, payload []byte) (number uint64, err error)
	take(worker uint32, number uint64, into []byte) (int, error)
	refused(reason Reason, count uint64)
	// cycle runs one cycle of a local worker. False: it is not to be had now.
	cycle(worker uint32) bool
	release() error
}

// laneMemory is what a lane shares with the workers.
type laneMemory struct {
	stampSource                 uint64
	maxMessage, maxClients      int
	queueMessages               uint64
	creditMessages, creditBytes uint64
	// wake is the lane's own wake word and its descriptor.
	wake    rings.Wake
	workers []workerMemory
	// local says that the workers are local: cycle can run them.
	local bool
}

type workerMemory struct {
	ingress, egress rings.Memory
	wake            rings.Wake
}

// Lane is a group of clients whose messages go to the workers and come back through shared memory, without a cgo call per
// message. The library checks, limits and counts; the lane keeps the program's own table of clients.
//
// Any number of goroutines may push: Submit, Send, Acknowledge, Disconnect. One at a time may poll: [Lane.Events],
// [Lane.Poll] and [Lane.Wait].
type Lane struct {
	calls laneCalls
	// Set once.
	stampSource                   uint64
	maxMessage                    int
	queueMessages                 uint64
	quarterMessages, quarterBytes uint64
	pairs                         []pair
	clients                       []atomic.Pointer[Client]
	wake                          rings.Wake
	file                          *os.File

	gone   atomic.Bool
	kicked atomic.Bool
	// full counts messages that found their ring full, until the library has counted them.
	full atomic.Uint64
	// The timer that pushes what waits. timed says that it runs.
	timer *time.Timer
	timed atomic.Bool

	// blocked counts goroutines inside SubmitWait. They wait for room to be closed; the poller then makes another one.
	blocked  atomic.Int32
	roomLock sync.Mutex
	room     chan struct{}

	// waits says that a goroutine is inside Wait, polls that one is inside Events.
	waits, polls atomic.Bool
	// poll is the poll lock: it covers what follows. A goroutine that holds it may take a push lock, never the reverse.
	poll sync.Mutex
	outbox
	first int
	over  bool
	count [8]byte
	err   error
	// retry: a worker is about to leave, and no wake announces that.
	retry atomic.Bool
	local bool
}

// outbox is what one poll hands out. arena has the messages of the events, rest the events for which the caller had no room.
// Both are Go's memory, so that a view that is kept too long is never a view of memory that is gone.
type outbox struct {
	arena  []byte
	rest   []Event
	restAt int
}

var _ io.Closer = (*Lane)(nil)

// OpenLane opens a lane. Close it at the end. A lane takes one of the router's `max_ports` ports, and one ring to and one
// from each worker.
//
// ErrLimit (`max_ports`), ErrState (the router has no worker threads), ErrClosed (the router has stopped), ErrStale.
func (r *Router) OpenLane() (*Lane, error) {
	calls, memory, err := openLane(r)
	if err != nil {
		return nil, err
	}
	lane, err := newLane(calls, memory)
	if err != nil {
		_ = calls.release()
		return nil, err
	}
	return lane, nil
}

func newLane(calls laneCalls, memory *laneMemory) (*Lane, error) {
	file, err := wakeFile(memory.wake.FD)
	if err != nil {
		return nil, &Error{Code: CodeSystem, Message: "the lane's descriptor: " + err.Error()}
	}
	l := &Lane{
		calls: calls, stampSource: memory.stampSource, maxMessage: memory.maxMessage, queueMessages: memory.queueMessages,
		quarterMessages: max(memory.creditMessages/4, 1), quarterBytes: max(memory.creditBytes/4, 1),
		pairs: make([]pair, len(memory.workers)), clients: make([]atomic.Pointer[Client], memory.maxClients),
		wake: memory.wake, file: file, local: memory.local,
	}
	largest := uint64(0)
	for at := range memory.workers {
		w := &memory.workers[at]
		l.pairs[at].init(l, uint32(at), rings.NewProducer(w.ingress, w.wake), rings.NewConsumer(w.egress, w.wake))
		largest = max(largest, w.egress.Capacity())
	}
	// The messages of one poll are copied here. A quarter of a ring is the largest record.
	l.arena = make([]byte, 0, largest/2)
	l.timer = time.AfterFunc(time.Hour, l.flushAll)
	l.timer.Stop()
	return l, nil
}

// explain returns the error of a call. After Close the library says that the lane is stale.
func (l *Lane) explain(err error) error {
	if err != nil && l.gone.Load() && errors.Is(err, ErrStale) {
		return ErrClosed
	}
	return err
}

// Connect connects a client under a name, 1 to 64 bytes, that speaks a protocol such as "peerjs" or "generic". Other clients
// send to this name.
//
// ErrNameTaken, ErrLimit (`max_clients`), ErrNotFound (the protocol), ErrInvalid (the name), ErrClosed.
func (l *Lane) Connect(name, protocol string, options ConnectOptions) (*Client, error) {
	if l.gone.Load() {
		return nil, ErrClosed
	}
	id, worker, err := l.calls.reserve(name, protocol, options.Application, options.Credit)
	if err != nil {
		return nil, l.explain(err)
	}
	index := uint32(id)
	if int(worker) >= len(l.pairs) || uint64(index) >= uint64(len(l.clients)) {
		_ = l.calls.cancel(id)
		return nil, ErrCorrupt
	}
	p := &l.pairs[worker]
	c := &Client{lane: l, home: p, id: id, name: name}
	if options.Value != nil {
		c.value.Store(&options.Value)
	}
	// The table has the client before anybody can find its name, because a worker may deliver at once. Whoever takes a client
	// out of the table counts it out, also who replaces one that has ended and that nobody has taken out yet.
	p.clients.Add(1)
	if before := l.clients[index].Swap(c); before != nil {
		before.home.clients.Add(-1)
	}
	if err := l.calls.enter(id); err != nil {
		l.remove(c) // The place may be another client's by now.
		return nil, l.explain(err)
	}
	// If the worker has ended meanwhile, the poller hands out the client's end.
	l.poke(p)
	return c, nil
}

// poke wakes the poller if this worker has ended.
func (l *Lane) poke(p *pair) {
	p.enter()
	if !p.gone && p.left() {
		l.wake.IfAsleep()
	}
	p.leaveAsIs()
}

// MessageType looks up a type of a protocol, for SendOptions, SubmitOptions and Event. ErrNotFound.
func (l *Lane) MessageType(protocol, name string) (MessageType, error) {
	messageType, err := l.calls.messageType(protocol, name)
	return messageType, l.explain(err)
}

// Client returns the client with this number, or nil if it is no client of this lane, or is gone.
func (l *Lane) Client(id ClientID) *Client {
	if index := uint32(id); uint64(index) < uint64(len(l.clients)) {
		if c := l.clients[index].Load(); c != nil && c.id == id {
			return c
		}
	}
	return nil
}

// SendTo sends a message of the program to a client of any port of the router, as [Client.Send]. For a client of another
// port it makes a call.
func (l *Lane) SendTo(id ClientID, message []byte, options SendOptions) error {
	if c := l.Client(id); c != nil {
		return c.Send(message, options)
	}
	worker, err := l.calls.workerOf(id)
	if err != nil {
		return l.explain(err)
	}
	if int(worker) >= len(l.pairs) {
		return ErrCorrupt
	}
	p := &l.pairs[worker]
	h := header{correlation: options.Correlation, recipient: uint64(id), messageType: options.Type.label()}
	return p.push(nil, &p.others, recordSend, 0, &h, message)
}

// Flush pushes acknowledgements and disconnects that wait, and makes everything visible to the workers. Nobody needs it for
// progress: see [Client.Acknowledge].
func (l *Lane) Flush() {
	for at := range l.pairs {
		p := &l.pairs[at]
		if p.pending.Load() {
			p.enter()
			p.leave()
		}
	}
}

// flushSoon sees to it that what waits is pushed, even if nobody pushes or polls.
func (l *Lane) flushSoon() {
	if !l.timed.Load() && !l.timed.Swap(true) && !l.gone.Load() {
		l.timer.Reset(flushAfter)
	}
}

func (l *Lane) flushAll() {
	l.timed.Store(false)
	l.Flush()
}

// refused counts a message that could not be pushed. Full rings are frequent in a flood, so they are counted with the next
// poll; the rest goes to the library at once.
func (l *Lane) refused(err error) {
	reason := ReasonNone
	switch err {
	case ErrFull:
		l.full.Add(1)
		return
	case ErrClosed:
		reason = ReasonClosed
	case ErrCorrupt:
		reason = ReasonCorrupt
	case ErrStale:
		reason = ReasonStaleClient
	default:
		switch {
		case errors.Is(err, ErrTooLarge):
			reason = ReasonTooLarge
		case errors.Is(err, ErrPayloads):
			reason = ReasonPayloadsFull
		default: // A context that has ended while the ring was full.
			l.full.Add(1)
			return
		}
	}
	l.calls.refused(reason, 1)
}

// countFull hands the number of messages over that found their ring full.
func (l *Lane) countFull() {
	if l.full.Load() > 0 {
		l.calls.refused(ReasonRingFull, l.full.Swap(0))
	}
}

// Poll fills the buffer with events, and returns how many there are. It does not wait, and copies the messages to memory of
// the lane: they are valid until the next Poll. One goroutine at a time may poll.
//
// ErrClosed: the lane is closed, or the router has stopped and every event was handed out. ErrCorrupt: a worker's ring has
// impossible contents; close the lane. ErrBusy: another goroutine polls.
func (l *Lane) Poll(buffer []Event) (int, error) {
	if l.polls.Load() {
		return 0, l.busy()
	}
	return l.take(buffer)
}

func (l *Lane) busy() error {
	if l.gone.Load() {
		return ErrClosed
	}
	return ErrBusy
}

func (l *Lane) take(buffer []Event) (int, error) {
	if !l.poll.TryLock() {
		return 0, l.busy()
	}
	defer l.poll.Unlock()
	if l.gone.Load() {
		return 0, ErrClosed
	}
	if l.restAt < len(l.rest) {
		n := copy(buffer, l.rest[l.restAt:])
		clear(l.rest[l.restAt : l.restAt+n])
		if l.restAt += n; l.restAt == len(l.rest) {
			l.rest, l.restAt = l.rest[:0], 0
		}
		return n, nil
	}
	l.Flush()
	l.countFull()
	if l.blocked.Load() > 0 {
		l.lookForRoom()
	}
	l.arena = l.arena[:0]
	l.first++
	n, ended, clients, full := 0, 0, int64(0), false
	var failure error
	for offset := range l.pairs {
		p := &l.pairs[(l.first+offset)%len(l.pairs)]
		p.turn.Lock()
		p.corrupt = p.corrupt || p.broke.Load()
		if !full && n < len(buffer) {
			n, full = l.drain(&l.outbox, p, buffer, n)
		}
		if p.corrupt {
			failure = ErrCorrupt
		}
		if p.ended {
			ended++
			clients += p.clients.Load()
		}
		p.turn.Unlock()
	}
	if n > 0 || len(buffer) == 0 {
		return n, nil
	}
	if failure == nil && ended == len(l.pairs) && clients == 0 {
		l.over = true
		failure = ErrClosed
	}
	return 0, failure
}

// drain polls the ring from one worker. full says that the arena has no more room. The caller has the worker's turn.
func (l *Lane) drain(o *outbox, p *pair, buffer []Event, n int) (taken int, full bool) {
	if p.corrupt {
		return n, false
	}
	taken, full, err := l.drainRing(o, p, buffer, n)
	if err != nil {
		p.corrupt = true
		p.from.MarkCorrupt()
	}
	return taken, full
}

func (l *Lane) drainRing(o *outbox, p *pair, buffer []Event, n int) (taken int, full bool, err error) {
	closed := p.left() // Before the tail: then the tail is the last one.
	if err := p.from.Refresh(); err != nil {
		return n, false, err
	}
	sampledAt, empty := uint64(0), false
	for n < len(buffer) {
		record, found, err := p.from.Next()
		if err != nil {
			return n, false, err
		}
		if !found {
			empty = true
			break
		}
		if sampledAt == 0 {
			sampledAt = stamp.Now(l.stampSource)
		}
		var room bool
		if n, room, err = l.handOut(o, p, record, sampledAt, buffer, n); err != nil {
			return n, false, err
		}
		if !room {
			p.from.Back(record)
			full = true
			break
		}
	}
	p.from.Release()
	if p.discarded.Load() > 0 && !p.ended {
		p.later()
	}
	if closed && empty {
		p.ended = true
	}
	if p.ended {
		n = l.end(p, buffer, n)
	}
	return n, full, nil
}

// end hands out the ends of clients whose worker has ended.
func (l *Lane) end(p *pair, buffer []Event, n int) int {
	if p.clients.Load() == 0 {
		return n
	}
	for ; p.scan < len(l.clients) && n < len(buffer); p.scan++ {
		c := l.clients[p.scan].Load()
		if c == nil || c.home != p {
			continue
		}
		// The name may not be entered yet, or the worker may not have left yet: the next poll tries again.
		if err := l.calls.closed(c.id); err != nil && !errors.Is(err, ErrStale) {
			l.retry.Store(true)
			continue
		}
		l.remove(c)
		buffer[n] = Event{Kind: EventClosed, Client: c, ID: c.id}
		n++
	}
	if p.scan == len(l.clients) {
		p.scan = 0
	}
	l.announceRoom() // For those that wait to push for a client that has ended: no space comes.
	return n
}

// remove takes a client out of the table: from now on nothing is handed out for it.
func (l *Lane) remove(c *Client) {
	c.state.Store(clientClosed)
	if l.clients[uint32(c.id)].CompareAndSwap(c, nil) {
		c.home.clients.Add(-1)
	}
}

// handOut makes the events of a record. room is false if the arena has no room for the record; then nothing was done.
func (l *Lane) handOut(o *outbox, p *pair, record rings.Record, now uint64, buffer []Event, n int) (taken int, room bool, err error) {
	if record.Length < headerBytes {
		return n, false, rings.ErrCorrupt
	}
	recipients := int(record.U32(44))
	if recipients == 0 || recipients > (record.Length-headerBytes)/8 {
		return n, false, rings.ErrCorrupt
	}
	kind, start := EventKind(record.Kind), headerBytes+8*recipients
	length, number := record.Length-start, uint64(0)
	owned := kind == EventMessage && record.Flags&1 != 0
	event := Event{Kind: kind, Correlation: record.U64(24)}
	switch kind {
	case EventMessage:
		event.Sender, event.Type = ClientID(record.U64(8)), typeOf(record.U32(40))
		if owned {
			if length < referenceBytes {
				return n, false, rings.ErrCorrupt
			}
			number = record.U64(start)
			large := record.U64(start + 8)
			if large > maxPayload {
				return n, false, rings.ErrCorrupt
			}
			length = int(large)
		}
	case EventExpired, EventLeft, EventClosed:
	case EventClose, EventSendFailed:
		event.Reason = reasonOf(kind, record.Flags)
	case EventUndelivered:
		event.Sender, event.Reason = ClientID(record.U64(8)), reasonOf(kind, record.Flags)
	case kindRoomSendFailed:
		event.Kind = EventSendFailed
		event.Room, event.Reason = RoomID(record.U64(headerBytes)), reasonOf(EventSendFailed, record.Flags)
	case EventRefused:
		event.Reason = reasonOf(kind, record.Flags)
		event.Count = 1
		if length >= 8 {
			event.Count = record.U64(start)
		}
		length = 0
	default:
		return n, false, rings.ErrCorrupt
	}
	credit := length
	lost := false
	if length > 0 {
		at := len(o.arena)
		if at+length > cap(o.arena) {
			if at > 0 {
				return n, false, nil
			}
			o.arena = make([]byte, 0, length)
		}
		o.arena = o.arena[:at+length]
		message := o.arena[at : at+length : at+length]
		if owned {
			got, err := l.calls.take(p.index, number, message)
			if lost = err != nil || got != length; lost {
				o.arena = o.arena[:at]
			}
		} else {
			copy(message, record.Bytes(start))
		}
		event.Message = message
	}
	discarded := uint64(0)
	for at := range recipients {
		id := ClientID(record.U64(headerBytes + 8*at))
		one := event
		one.ID = id
		if kind == kindRoomSendFailed {
			one.ID = 0
		} else {
			c := l.Client(id)
			one.Client = c
			switch {
			case kind == EventSendFailed: // The client may be gone, or another port's.
			case c == nil || (kind == EventClose && c.state.Load() != clientOpen):
				discarded++
				continue
			case lost:
				// The client has not got it, so its credit comes back.
				discarded++
				c.handed.Add(1)
				c.Acknowledge(1, credit)
				continue
			case kind == EventMessage || kind == EventExpired:
				handed := c.handed.Add(1)
				if c.sampledAt.Load() == 0 {
					c.sample.Store(handed)
					c.sampledAt.Store(now)
				}
			case kind == EventClosed:
				l.remove(c)
			}
		}
		if n < len(buffer) {
			buffer[n] = one
			n++
		} else {
			o.rest = append(o.rest, one)
		}
	}
	if discarded > 0 {
		p.discarded.Add(discarded)
	}
	return n, true, nil
}

// maxPayload is the largest value of `max_message`, with what a relay may add to a message.
const maxPayload = 1 << 26

func typeOf(label uint32) MessageType {
	if label == anyType {
		return 0
	}
	return MessageType(label + 1)
}

// arm announces that the poller is about to sleep. ready says that there is something to do instead.
func (l *Lane) arm() (ready bool) {
	if l.restAt < len(l.rest) {
		return true
	}
	l.Flush()
	l.wake.Arm()
	for at := range l.pairs {
		p := &l.pairs[at]
		p.enter()
		news := p.news()
		p.leaveAsIs()
		if ready = ready || news; news {
			l.announceRoom()
		}
		p.turn.Lock() // What its holder polls may be all that there is, or not.
		if !p.corrupt {
			ready = ready || p.from.HasMore() || (!p.ended && p.left())
			ready = ready || (p.ended && p.clients.Load() > 0 && !l.retry.Load())
		}
		p.turn.Unlock()
	}
	return ready
}

// lookForRoom tells the goroutines that wait for space in a ring if there is some.
func (l *Lane) lookForRoom() {
	moved := false
	for at := range l.pairs {
		p := &l.pairs[at]
		p.enter()
		moved = moved || (p.stalled && !p.gone && p.to.SpaceMoved(p.seen))
		p.leaveAsIs()
	}
	if moved {
		l.announceRoom()
	}
}

func (l *Lane) announceRoom() {
	if l.blocked.Load() == 0 {
		return
	}
	l.roomLock.Lock()
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
	l.roomLock.Unlock()
}

// waitForRoom returns a channel that is closed when there may be space.
func (l *Lane) waitForRoom() <-chan struct{} {
	l.roomLock.Lock()
	defer l.roomLock.Unlock()
	if l.room == nil {
		l.room = make(chan struct{})
	}
	return l.room
}

// Wait sleeps until there may be something to poll, until there is space after ErrFull, or until the context ends. It waits
// on Go's network poller, and parks no thread. It may return early. Only the poller calls it.
//
// The error is that of the context, or ErrClosed.
func (l *Lane) Wait(ctx context.Context) error {
	if l.polls.Load() {
		return l.busy()
	}
	return l.sleep(ctx)
}

func (l *Lane) sleep(ctx context.Context) error {
	if !l.waits.CompareAndSwap(false, true) {
		return l.busy()
	}
	defer l.waits.Store(false)
	if err := ctx.Err(); err != nil {
		return err
	}
	if !l.poll.TryLock() {
		return l.busy()
	}
	if l.gone.Load() || l.over {
		l.poll.Unlock()
		return ErrClosed
	}
	ready, retry := l.arm(), l.retry.Swap(false)
	if ready {
		l.wake.Disarm()
		l.poll.Unlock()
		return nil
	}
	l.poll.Unlock()
	err := l.await(ctx, retry)
	l.poll.Lock()
	if !l.gone.Load() {
		l.wake.Disarm() // First, whatever has ended the sleep.
	}
	l.poll.Unlock()
	return err
}

// await reads the descriptor, which waits on the network poller.
func (l *Lane) await(ctx context.Context, retry bool) error {
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, l.kick)
		defer stop()
	}
	if retry {
		// A worker is about to leave, and no wake announces that.
		time.Sleep(time.Millisecond)
		return ctx.Err()
	}
	for {
		if l.kicked.Swap(false) {
			// An earlier cancellation came too late for its Wait, or a later one is on the way, which the next lines see.
			_ = l.file.SetReadDeadline(time.Time{})
		}
		if l.gone.Load() {
			return ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := l.file.Read(l.count[:])
		switch {
		case l.gone.Load():
			return ErrClosed
		case err == nil:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			l.kicked.Store(true)
		default:
			return &Error{Code: CodeSystem, Message: "the lane's descriptor: " + err.Error()}
		}
	}
}

// kick ends a wait.
func (l *Lane) kick() {
	_ = l.file.SetReadDeadline(time.Unix(1, 0))
	l.kicked.Store(true)
}

// Events hands out the lane's events one after another, and waits when there are none. The loop ends with the context, when
// the lane is closed, and when the router has stopped and every event was handed out. [Lane.Err] says why. An event is valid
// until the next one. Events that a loop has not handed out come in the next loop.
// While one goroutine polls, another one's loop ends at once without an event, and does not change Err.
func (l *Lane) Events(ctx context.Context) iter.Seq[*Event] {
	return func(yield func(*Event) bool) {
		if !l.polls.CompareAndSwap(false, true) {
			return // Err stays that of the loop that runs.
		}
		defer l.polls.Store(false)
		batch := make([]Event, 64)
		at, n := 0, 0
		defer func() {
			// Also if the loop's body panics.
			l.keep(batch[at:n])
		}()
		var err error
		for idle := 0; err == nil; {
			if err = ctx.Err(); err != nil {
				break
			}
			at = 0
			if n, err = l.take(batch); err != nil {
				n = 0
				break
			}
			for at < n {
				at++
				if !yield(&batch[at-1]) {
					l.setErr(nil)
					return
				}
			}
			switch {
			case n > 0:
				idle = 0
			case idle == 0:
				idle++
				runtime.Gosched() // Whoever waits to run may bring the next event.
			default:
				err = l.sleep(ctx)
			}
		}
		l.setErr(err)
	}
}

// keep keeps events for the next poll.
func (l *Lane) keep(events []Event) {
	if len(events) == 0 {
		return
	}
	l.poll.Lock()
	defer l.poll.Unlock()
	rest := append([]Event(nil), events...)
	l.rest, l.restAt = append(rest, l.rest[l.restAt:]...), 0
}

func (l *Lane) setErr(err error) {
	l.poll.Lock()
	l.err = err
	l.poll.Unlock()
}

// Err says why the last loop over Events has ended: nil if its body has left it, the context's error, or ErrClosed.
func (l *Lane) Err() error {
	l.poll.Lock()
	defer l.poll.Unlock()
	return l.err
}

// Close closes the lane. Messages that were pushed before are handled; later pushes return ErrClosed. A loop over Events and
// a Wait end. The lane's clients are gone, without an event. A second call does nothing. Close may be called inside a loop
// over Events.
func (l *Lane) Close() error {
	if l.gone.Swap(true) {
		return nil
	}
	l.timer.Stop()
	for at := range l.pairs {
		p := &l.pairs[at]
		p.enter()
		if p.pending.Load() {
			p.flush()
		}
		p.to.Publish()
		p.gone = true
		p.lock.Unlock()
	}
	l.kick()
	l.announceRoom()
	l.poll.Lock()
	l.countFull()
	for at := range l.pairs {
		l.pairs[at].turn.Lock()
	}
	err := l.calls.release()
	for at := range l.pairs {
		l.pairs[at].turn.Unlock()
	}
	l.poll.Unlock()
	_ = l.file.Close()
	return err
}

// Closed says whether Close was called.
func (l *Lane) Closed() bool { return l.gone.Load() }
