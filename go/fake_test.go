package corelane

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	rings "github.com/corelane/corelane/go/internal/ring"
)

// A fakeRouter takes the part of the library in tests of the lane: its rings are in Go memory, so that the race detector
// sees every access of both ends, and its workers are goroutines. A worker delivers a message to the recipient in its record,
// or back to its sender.
type fakeRouter struct {
	t       testing.TB
	memory  *laneMemory
	workers []*fakeWorker

	lock        sync.Mutex
	names       map[string]ClientID
	slots       []fakeClient
	rooms       map[string][]ClientID
	payloads    map[uint64][]byte
	numbers     uint64
	failPuts    bool
	refusals    map[Reason]uint64
	stale, gone bool
	stop        atomic.Bool
	done        sync.WaitGroup
	// What the test does at the end of such calls, without the lock.
	putting, entering, closing func(ClientID)
}

func (r *fakeRouter) during(what *func(ClientID), id ClientID) {
	r.lock.Lock()
	act := *what
	*what = nil
	r.lock.Unlock()
	if act != nil {
		act(id)
	}
}

type fakeClient struct {
	id                            ClientID
	name                          string
	worker                        uint32
	used, entered, closing, freed bool
	acknowledged, bytes, stamps   uint64
}

type fakeWorker struct {
	router *fakeRouter
	index  uint32
	from   rings.Consumer
	to     rings.Producer
	wake   rings.Wake
	lane   rings.Wake
	// paused keeps the worker from taking records.
	paused                                                 atomic.Bool
	messages, sends, disconnects, entries, records, thrown atomic.Uint64
	problem                                                atomic.Pointer[string]
	leaving                                                []fakeLeaving
	ended                                                  atomic.Bool
}

type fakeLeaving struct {
	id  ClientID
	end uint64
}

func eventfd(t testing.TB) int32 {
	const nonBlocking, closeOnExec = syscall.O_NONBLOCK, syscall.O_CLOEXEC
	fd, _, errno := syscall.Syscall(syscall.SYS_EVENTFD2, 0, nonBlocking|closeOnExec, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	t.Cleanup(func() { _ = syscall.Close(int(fd)) })
	return int32(fd)
}

func newFake(t testing.TB, workers int, ringBytes uint64, change func(*laneMemory)) (*fakeRouter, *Lane) {
	t.Helper()
	wake := rings.Wake{Word: new(uint32), FD: eventfd(t)}
	r := &fakeRouter{
		t: t, names: map[string]ClientID{}, rooms: map[string][]ClientID{}, payloads: map[uint64][]byte{},
		memory: &laneMemory{stampSource: 1, maxMessage: 1 << 16, maxClients: 256, creditMessages: 1024, creditBytes: 1 << 20, wake: wake},
		slots:  make([]fakeClient, 256),
	}
	for at := range workers {
		own := rings.Wake{Word: new(uint32), FD: -1}
		w := workerMemory{ingress: rings.Allocate(ringBytes), egress: rings.Allocate(ringBytes), wake: own}
		r.memory.workers = append(r.memory.workers, w)
		worker := &fakeWorker{router: r, index: uint32(at), wake: own, lane: wake,
			from: rings.NewConsumer(w.ingress, wake), to: rings.NewProducer(w.egress, wake)}
		r.workers = append(r.workers, worker)
	}
	if change != nil {
		change(r.memory)
	}
	lane, err := newLane(r, r.memory)
	if err != nil {
		t.Fatal(err)
	}
	for _, worker := range r.workers {
		r.done.Add(1)
		go worker.run()
	}
	t.Cleanup(func() {
		_ = lane.Close()
		r.end()
		for _, worker := range r.workers {
			if problem := worker.problem.Load(); problem != nil {
				t.Error("the worker found:", *problem)
			}
		}
	})
	return r, lane
}

// end stops the workers.
func (r *fakeRouter) end() {
	r.stop.Store(true)
	for _, worker := range r.workers {
		worker.wake.IfAsleep()
	}
	r.done.Wait()
}

func (w *fakeWorker) fault(text string, values ...any) {
	text = fmt.Sprintf(text, values...)
	w.problem.CompareAndSwap(nil, &text)
}

func (w *fakeWorker) run() {
	defer w.router.done.Done()
	for !w.router.stop.Load() {
		if !w.cycle() {
			w.wake.Arm()
			switch {
			case w.paused.Load():
				w.wake.Sleep(int64(time.Millisecond))
			case len(w.leaving) > 0: // The lane's release of the last record frees a slot.
				w.wake.Sleep(int64(time.Millisecond))
			case !w.from.HasMore() && !w.router.stop.Load():
				before := time.Now()
				if w.wake.Sleep(int64(20 * time.Second)); time.Since(before) > 19*time.Second && w.from.HasMore() {
					w.fault("no wake for a record")
				}
			}
			w.wake.Disarm()
		}
	}
	w.from.Close()
	w.to.Publish()
	w.to.Close()
	w.ended.Store(true)
	w.lane.IfAsleep()
}

func (w *fakeWorker) cycle() bool {
	w.free()
	if w.paused.Load() {
		return false
	}
	if err := w.from.Refresh(); err != nil {
		w.fault("%v", err)
		return false
	}
	worked := false
	for !w.paused.Load() {
		record, found, err := w.from.Next()
		if err != nil {
			w.fault("%v", err)
			return false
		}
		if !found {
			break
		}
		worked = true
		w.handle(record)
	}
	w.from.Release()
	w.to.Publish()
	return worked
}

// free frees the slots of clients whose last record was taken.
func (w *fakeWorker) free() {
	for len(w.leaving) > 0 {
		if err := w.to.Look(); err != nil {
			w.fault("%v", err)
			return
		}
		if w.leaving[0].end > w.to.Seen() {
			return
		}
		w.router.lock.Lock()
		slot := &w.router.slots[uint32(w.leaving[0].id)]
		if slot.id == w.leaving[0].id {
			slot.used, slot.freed = false, true
		}
		w.router.lock.Unlock()
		w.leaving = w.leaving[1:]
	}
}

func (w *fakeWorker) handle(record rings.Record) {
	r := w.router
	w.records.Add(1)
	switch record.Kind {
	case recordMessage, recordSend, recordSendToRoom:
		message := record.Bytes(headerBytes)
		if record.Flags&flagOwned != 0 {
			number, length := record.U64(headerBytes), record.U64(headerBytes+8)
			r.lock.Lock()
			message = r.payloads[number]
			delete(r.payloads, number)
			r.lock.Unlock()
			if uint64(len(message)) != length {
				w.fault("payload %d has %d bytes, not %d", number, len(message), length)
			}
		}
		client, recipient := record.U64(8), record.U64(32)
		switch record.Kind {
		case recordMessage:
			w.messages.Add(1)
			if !r.alive(ClientID(client), w.index) {
				return
			}
			if record.Flags&flagAddressed == 0 {
				recipient = client
			}
			w.deliver(1, 0, client, record.U64(24), []uint64{recipient}, message)
		case recordSend:
			w.sends.Add(1)
			w.deliver(1, 0, 0, record.U64(24), []uint64{recipient}, message)
		default:
			w.sends.Add(1)
			var members []uint64
			r.lock.Lock()
			for _, id := range r.rooms[fmt.Sprint("room ", recipient)] {
				members = append(members, uint64(id))
			}
			r.lock.Unlock()
			if len(members) == 0 {
				w.deliver(8, 22, 0, record.U64(24), []uint64{recipient}, nil)
			} else {
				w.deliver(1, 0, 0, record.U64(24), members, message)
			}
		}
	case recordDisconnect:
		w.disconnects.Add(1)
		if record.Length != disconnectBytes || !r.alive(ClientID(record.U64(8)), w.index) {
			w.fault("a disconnect of %x", record.U64(8))
			return
		}
		w.deliver(5, 0, 0, 0, []uint64{record.U64(8)}, nil)
		w.leaving = append(w.leaving, fakeLeaving{ClientID(record.U64(8)), w.to.Tail()})
	case recordAcknowledge:
		count := int(record.U32(8))
		if count == 0 || record.U32(12) != 0 || record.Length != entriesAt+count*entryBytes {
			w.fault("an acknowledgement of %d entries in %d bytes", count, record.Length)
			return
		}
		r.lock.Lock()
		for at := range count {
			w.entries.Add(1)
			id := ClientID(record.U64(entriesAt + at*entryBytes))
			slot := &r.slots[uint32(id)]
			if slot.id != id || slot.worker != w.index {
				continue
			}
			slot.acknowledged += uint64(record.U32(entriesAt + at*entryBytes + 8))
			slot.bytes += uint64(record.U32(entriesAt + at*entryBytes + 12))
			if record.U64(entriesAt+at*entryBytes+16) != 0 {
				slot.stamps++
			}
		}
		r.lock.Unlock()
	case recordDiscarded:
		w.thrown.Add(record.U64(8))
	default:
		w.fault("kind %d", record.Kind)
	}
}

// deliver pushes a delivery record, and waits for space as a worker never does.
func (w *fakeWorker) deliver(kind, flags uint16, sender, correlation uint64, recipients []uint64, message []byte) {
	payload := message
	if len(message) > w.to.MaxRecord()-headerBytes-8*len(recipients) {
		w.router.lock.Lock()
		w.router.numbers++
		number := w.router.numbers
		w.router.payloads[number] = append([]byte(nil), message...)
		w.router.lock.Unlock()
		payload = binary.NativeEndian.AppendUint64(nil, number)
		payload = binary.NativeEndian.AppendUint64(payload, uint64(len(message)))
		flags |= 1
	}
	for {
		place, err := w.to.Claim(headerBytes+8*len(recipients)+len(payload), kind, flags, 0)
		if err == nil {
			*(*uint64)(unsafe.Add(place, 8)) = sender
			*(*uint64)(unsafe.Add(place, 24)) = correlation
			*(*uint32)(unsafe.Add(place, 40)) = anyType
			*(*uint32)(unsafe.Add(place, 44)) = uint32(len(recipients))
			for at, id := range recipients {
				*(*uint64)(unsafe.Add(place, headerBytes+8*at)) = id
			}
			copy(unsafe.Slice((*byte)(unsafe.Add(place, headerBytes+8*len(recipients))), len(payload)), payload)
			w.to.Commit()
			return
		}
		if err != rings.ErrFull {
			w.fault("a delivery: %v", err)
			return
		}
		w.to.Publish() // The ring to this worker keeps the record that it handles.
		if w.router.stop.Load() {
			return
		}
		w.to.RequestSpace()
		w.wake.Arm()
		if !w.to.SpaceMoved(w.to.Seen()) {
			w.wake.Sleep(int64(time.Millisecond))
		}
		w.wake.Disarm()
	}
}

func (r *fakeRouter) alive(id ClientID, worker uint32) bool {
	r.lock.Lock()
	defer r.lock.Unlock()
	slot := &r.slots[uint32(id)]
	return slot.used && slot.id == id && slot.worker == worker
}

func (r *fakeRouter) client(id ClientID) fakeClient {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.slots[uint32(id)]
}

func (r *fakeRouter) reserve(name, _, _ string, _ CreditPolicy) (ClientID, uint32, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	for at := range r.slots {
		if slot := &r.slots[at]; !slot.used && uint32(at) < uint32(r.memory.maxClients) {
			id := ClientID(uint64(slot.id>>32+1)<<32 | uint64(at))
			*slot = fakeClient{id: id, name: name, worker: uint32(at % len(r.workers)), used: true}
			return id, slot.worker, nil
		}
	}
	return 0, 0, ErrLimit
}

func (r *fakeRouter) slot(id ClientID) *fakeClient {
	if slot := &r.slots[uint32(id)]; slot.used && slot.id == id {
		return slot
	}
	return nil
}

func (r *fakeRouter) enter(id ClientID) error {
	r.during(&r.entering, id)
	r.lock.Lock()
	defer r.lock.Unlock()
	slot := r.slot(id)
	if slot == nil {
		return ErrStale
	}
	if _, taken := r.names[slot.name]; taken {
		slot.used = false
		return ErrNameTaken
	}
	r.names[slot.name], slot.entered = id, true
	return nil
}

func (r *fakeRouter) cancel(id ClientID) error {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.slots[uint32(id)].used = false
	return nil
}

func (r *fakeRouter) disconnect(id ClientID) error {
	r.lock.Lock()
	defer r.lock.Unlock()
	slot := r.slot(id)
	if slot == nil || slot.closing {
		return ErrStale
	}
	slot.closing = true
	delete(r.names, slot.name)
	return nil
}

func (r *fakeRouter) closed(id ClientID) error {
	defer r.during(&r.closing, id)
	r.lock.Lock()
	defer r.lock.Unlock()
	slot := r.slot(id)
	if slot == nil {
		return ErrStale
	}
	if !r.workers[slot.worker].ended.Load() {
		return ErrState
	}
	delete(r.names, slot.name)
	slot.used = false
	return nil
}

func (r *fakeRouter) releaseName(ClientID) error { return nil }

func (r *fakeRouter) join(id ClientID, room string) (RoomID, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	key := "room " + fmt.Sprint(len(room))
	r.rooms[key] = append(r.rooms[key], id)
	return RoomID(len(room)), nil
}

func (r *fakeRouter) leave(ClientID, RoomID) error { return nil }

func (r *fakeRouter) workerOf(id ClientID) (uint32, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if slot := r.slot(id); slot != nil {
		return slot.worker, nil
	}
	return 0, ErrStale
}

func (r *fakeRouter) workerOfRoom(RoomID) (uint32, error) { return 0, nil }

func (r *fakeRouter) messageType(_, name string) (MessageType, error) {
	return MessageType(len(name)), nil
}

func (r *fakeRouter) put(_ uint32, payload []byte) (uint64, error) {
	r.during(&r.putting, 0)
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.failPuts {
		return 0, ErrPayloads
	}
	r.numbers++
	r.payloads[r.numbers] = append([]byte(nil), payload...)
	return r.numbers, nil
}

func (r *fakeRouter) take(_ uint32, number uint64, into []byte) (int, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	payload, found := r.payloads[number]
	if !found {
		return 0, ErrNotFound
	}
	delete(r.payloads, number)
	return copy(into, payload), nil
}

func (r *fakeRouter) refused(reason Reason, count uint64) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.refusals == nil {
		r.refusals = map[Reason]uint64{}
	}
	r.refusals[reason] += count
}

func (r *fakeRouter) cycle(uint32) bool { return false }

func (r *fakeRouter) release() error {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.gone = true
	return nil
}
