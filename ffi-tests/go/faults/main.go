// Regression tests for inline ports: inputs that once failed, each with the right result. Every wait is
// bounded.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"corelane.test/ffi/host"
	"corelane.test/ffi/ring"
)

const (
	toB    = `{"type":"offer","to":"b"}`
	toY    = `{"type":"offer","to":"y"}`
	toZ    = `{"type":"offer","to":"z"}`
	nobody = `{"type":"x"}`
	most   = 64
)

var need = host.Need

// large is a message like the given one that does not fit a record in a ring of 8192 bytes.
func large(message string) []byte {
	return []byte(message[:len(message)-1] + `,"data":"` + strings.Repeat("x", 3000) + `"}`)
}

type bench struct {
	host.Router
	*host.Port
}

func start(config string) *bench {
	sizes := "max_message=4000\npayload_bytes=1000000\n"
	if strings.Contains(config, "max_message=") {
		sizes = "" // No key may be set twice.
	}
	return &bench{Router: host.Start("pin=off\nidle=park\n" + sizes + config)}
}

func (b *bench) open() {
	b.Port = b.Router.Port()
	b.Port.Open()
}

// join connects once a slot is free: the worker frees the slot of a client that has just left.
func (b *bench) join(name string, token uint64) uint64 {
	client, status := b.Connect(name, token)
	for turn := 0; turn < 2000 && status == host.Limit; turn++ {
		time.Sleep(time.Millisecond)
		client, status = b.Connect(name, token)
	}
	need(status == host.OK, fmt.Sprintf("connect %s: %d", name, status))
	return client
}

func (b *bench) submit(client uint64, message string, correlation uint64) error {
	return b.Submit(client, len(message), correlation, ring.Stamp(b.StampSource), func(place []byte) { copy(place, message) })
}

func (b *bench) await(holds func() bool, what string) {
	for turn := 0; turn < 5000 && !holds(); turn++ {
		time.Sleep(time.Millisecond)
	}
	need(holds(), what)
}

func (b *bench) awaitFigure(family string, value uint64) {
	b.await(func() bool { return b.Figure(family, "") >= value }, family)
}

func (b *bench) poll(limit int) []ring.Event {
	events, err := b.Poll(nil, limit)
	need(err == nil, "a poll")
	return events
}

// take polls until the wanted events have come. It does not acknowledge them.
func (b *bench) take(wanted, limit int) (events []ring.Event) {
	b.await(func() bool {
		if len(events) < wanted {
			events = append(events, b.poll(limit)...)
		}
		return len(events) >= wanted
	}, "the events came")
	return events
}

// conserved waits until every message and every delivery has ended exactly once. It compares totals, because the
// difference figures are clamped at 0.
func (b *bench) conserved() {
	b.await(func() bool {
		ended := b.Figure("corelane_messages_refused_total", "") + b.Figure("corelane_messages_failed_total", "") +
			b.Figure("corelane_messages_delivered_total", "") + b.Figure("corelane_messages_expired_total", "")
		return b.Figure("corelane_messages_submitted_total", "") == ended && b.Figure("corelane_deliveries_queued", "") == 0
	}, "conservation")
}

func (b *bench) end() {
	need(b.Give() == host.OK, "release of the port")
	b.conserved()
	need(b.Stop() == host.OK && b.Router.Release() == host.OK, "the end")
}

func (b *bench) cell(client uint64, offset uint32) uint64 {
	slot := unsafe.Add(b.Slots.Base, uintptr(uint32(client))*uintptr(b.Slots.Stride))
	return atomic.LoadUint64((*uint64)(unsafe.Add(slot, offset)))
}

func (b *bench) workerOf(client uint64) uint64 { return b.cell(client, b.Slots.State) >> 16 & 0xffff }

// A client of an inline port stays on its worker, by whatever way it submits.
func clientsStay() {
	b := start("workers=2\nmax_ports=1\nmax_clients=64\nring_bytes=8192\n")
	b.open()
	b.join("y", 0)
	b.join("z", 0)
	one := [3]uint64{b.join("a", 0), b.join("b", 0), b.join("c", 0)}
	// Of three clients at least two are on the same worker.
	sender, filler := one[0], one[1]
	if b.workerOf(sender) != b.workerOf(filler) {
		filler = one[2]
	}
	if b.workerOf(sender) != b.workerOf(filler) {
		sender = one[1]
	}
	worker, sent, got := b.workerOf(sender), uint64(0), uint64(0)
	need(worker == b.workerOf(filler), "two on one worker")
	for round := 0; round < 1000; round++ {
		// Keep the sender's worker busy while the sender is quiet.
		for at := 0; at < 8; at++ {
			_ = b.submit(filler, toY, 0)
		}
		b.Publish()
		for at := 0; at < 4; at++ {
			if at == 0 || at == 3 {
				if b.Send(sender, large(toZ), sent) == host.OK {
					sent++
				}
			} else if b.submit(sender, toZ, sent) == nil {
				sent++
			}
		}
		b.Publish()
		for turn := 0; turn < 2000 && got < sent; turn++ {
			events := b.poll(most)
			for _, event := range events {
				b.Acknowledge(event.Client, 1, uint32(len(event.Bytes)))
				if event.Sender == sender {
					need(event.Correlation == got, "order")
					got++
				}
			}
			if len(events) == 0 {
				time.Sleep(20 * time.Microsecond)
			}
		}
		need(got == sent && b.workerOf(sender) == worker, "all came, and nobody moved")
		// Nothing of the sender is in flight, and its worker has seen that.
		b.Port.Release()
		if round%10 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	b.end()
}

// If a worker ends between the last poll and arming, arming reports news.
func closedIsNews() {
	b := start("workers=1\nmax_ports=2\nmax_clients=10\nring_bytes=8192\n")
	b.open()
	need(len(b.poll(most)) == 0 && b.Arm() && len(b.poll(most)) == 0, "nothing is there")
	need(b.Stop() == host.OK, "stop") // The port is not armed, so nothing wakes it.
	need(!b.Arm(), "closed is news")
	for _, what := range []string{"closed", "closed again"} {
		_, err := b.Poll(nil, most)
		need(err == ring.ErrClosed && b.Arm(), what)
	}
	b.end()
}

// waitForRoom arms, and sleeps if arming allows it. The sleep must end before its limit, because space becomes free.
func (b *bench) waitForRoom() {
	if b.Arm() {
		before := time.Now()
		b.Own.Sleep(5)
		need(time.Since(before) < 4*time.Second, "a wake for room")
	}
}

// crowd submits messages until the ring is full; the worker sees them at the next call.
func (b *bench) crowd(client uint64, message string, count int) {
	for at := 0; at < count && b.submit(client, message, 0) == nil; at++ {
	}
}

const room = "workers=1\nmax_ports=2\nmax_clients=10\nring_bytes=8192\nmax_message=8000000\n" +
	"payload_bytes=40000000\ncredit_bytes=10000000\n"

// An occupier is a second port that keeps the worker busy for some milliseconds with a message of several megabytes.
type occupier struct {
	*host.Port
	client uint64
}

var huge = []byte(`{"type":"x","data":"` + strings.Repeat("x", 7_900_000) + `"}`)

func (b *bench) occupier() occupier {
	port := b.Router.Port()
	client, status := port.Connect("o", 9)
	need(status == host.OK, "a second port's client")
	return occupier{port, client}
}

func (o occupier) occupy() {
	need(o.Send(o.client, huge, 0) == host.OK && o.PushWaiting() == 0, "a huge message")
	time.Sleep(300 * time.Microsecond)
}

func (b *bench) headAndTail() (head, tail uint64) {
	m := &b.Lanes[0].To.Memory
	return m.Word(m.Head), m.Word(m.Tail)
}

// awaitEmpty waits until the worker has taken all records from the ring.
func (b *bench) awaitEmpty() {
	b.await(func() bool { head, tail := b.headAndTail(); return head == tail }, "an empty ring")
}

// forget clears the requests for space that the port's own refusals have made.
func (b *bench) forget() {
	b.awaitEmpty()
	for !b.Arm() {
		b.poll(most)
	}
	b.poll(most)
}

// A call that is refused because the ring or the queue is full asks for space, as the port's own refusals do.
func refusalsAskForSpace(config string, count int) {
	b := start(room + config)
	b.open()
	other, client := b.occupier(), b.join("a", 1)
	full, twice := 0, 0
	for turn := 0; turn < 500 && (full < 5 || twice < 3); turn++ {
		b.forget()
		other.occupy()
		b.crowd(client, nobody, count)
		// While the head does not move, arming reports news at most once.
		head, _ := b.headAndTail()
		status := b.Send(client, large(nobody), 0)
		b.Arm()
		b.poll(most)
		again := b.Send(client, large(nobody), 0)
		if status == host.Full && again == host.Full {
			armed := b.Arm()
			if now, _ := b.headAndTail(); now == head {
				need(armed, "no news where nothing has moved")
				twice++
			}
		}
		status = again
		if status == host.Full {
			full++
		}
		for retries := 0; retries < 1000 && status == host.Full; retries++ {
			b.waitForRoom()
			b.poll(most)
			status = b.Send(client, large(nobody), 0)
		}
		need(status == host.OK, "room at last")
	}
	need(full >= 5 && twice >= 3, "enough refusals")
	b.forget()
	// The worker frees space between the refusal and the resume. Only with a limit in messages: the ring then has
	// space, and the port itself refuses nothing.
	for late, turn := 0, 0; count < 63 && late < 3; turn++ {
		need(turn < 500, "enough late refusals")
		b.forget()
		other.occupy()
		b.crowd(client, nobody, count)
		b.Between = b.awaitEmpty
		status := b.Send(client, large(nobody), 0)
		b.Between = nil
		if status == host.Full {
			need(!b.Arm(), "there is room")
			late++
		}
	}
	b.forget()
	// A call that pushes nothing does not make the port forget its own refusal.
	b.crowd(client, nobody, 100_000)
	b.Publish()
	b.awaitEmpty()
	b.PushWaiting()
	need(!b.Arm(), "its own refusal's room")
	b.poll(most)
	need(other.Give() == host.OK, "release")
	b.end()
}

// A disconnect that waits for space asks for it, as a message does.
func waitingDisconnects() {
	b := start(room)
	b.open()
	other, client, waited := b.occupier(), b.join("a", 0), 0
	for turn := 0; turn < 500 && waited < 5; turn++ {
		leaving := b.join("b", 1)
		b.awaitEmpty()
		other.occupy()
		b.crowd(client, "{}", 4096)
		status := b.Disconnect(leaving)
		if status > 0 {
			waited++
		}
		for retries := 0; retries < 1000 && status > 0; retries++ {
			b.waitForRoom()
			b.poll(most)
			status = b.PushWaiting()
		}
		events := b.take(1, most)
		need(status == 0 && events[0].Kind == ring.Closed && events[0].Token == 1, "a last event")
	}
	need(waited == 5 && other.Give() == host.OK, "enough that wait")
	b.end()
}

// If a disconnect still waits for space when the workers end, its client's last event comes from the port, and then
// the port is over.
func waitingToTheEnd() {
	waits := false
	for turn := 0; turn < 50 && !waits; turn++ {
		b := start(room)
		b.open()
		other, client, leaving := b.occupier(), b.join("a", 0), b.join("b", 1)
		b.awaitEmpty()
		other.occupy()
		b.crowd(client, "{}", 4096)
		waits = b.Disconnect(leaving) > 0
		need(b.Stop() == host.OK, "stop")
		events := b.take(1, most)
		need(events[0].Kind == ring.Closed && events[0].Token == 1, "a last event")
		_, err := b.Poll(nil, most)
		need(err == ring.ErrClosed, "over")
		need(other.Give() == host.OK, "release")
		b.end()
	}
	need(waits, "a disconnect that waits")
}

// When a port is released, deliveries that were handed out and not released are settled exactly once, and so are
// those that were not handed out. Both slots are free again, round after round.
func settledOnce(limit, wanted int) {
	const messages = 5
	b := start("workers=1\nmax_ports=1\nmax_clients=2\nring_bytes=8192\n")
	for round := 1; round <= 30; round++ {
		b.open()
		a := b.join("a", 1)
		b.join("b", 2)
		for at := 0; at < messages; at++ {
			if at == 3 {
				need(b.Send(a, large(toB), 0) == host.OK, "a large one")
			} else {
				need(b.submit(a, toB, 0) == nil, "a small one")
			}
		}
		b.Publish()
		b.awaitFigure("corelane_deliveries_total", uint64(messages*round))
		need(len(b.take(wanted, limit)) == wanted, "as many as wanted")
		need(b.Give() == host.OK, "release")
		b.conserved()
		rest := uint64((messages - wanted) * round)
		need(b.Figure("corelane_deliveries_dropped_total", "") == rest, "given up once")
		need(b.Figure("corelane_deliveries_dropped_total", "port_gone") == rest, "given up for the port")
		need(b.Figure("corelane_payloads_waiting", "") == 0, "no payload is left")
	}
	b.open()
	b.end()
}

// Connects after an unreadable record do not count as refused messages.
func onlyMessagesCount() {
	posts := 0
	for turn := 0; turn < 50 && posts == 0; turn++ {
		b := start("workers=1\nmax_ports=1\nmax_clients=50\nring_bytes=1048576\n")
		b.open()
		client := b.join("a", 1)
		b.crowd(client, nobody, 3000)
		bad := b.Submit(client, 2, 0, 0, func(place []byte) {
			// An impossible length, at the start of the 56-byte header.
			binary.NativeEndian.PutUint32(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(&place[0]), -56)), 4), 0xeeeeeeee)
		})
		need(bad == nil, "a record that cannot be read")
		for at := 0; at < 20 && posts == at; at++ {
			if _, status := b.Connect(fmt.Sprintf("n%d", at), 1); status == host.OK {
				posts++
			}
		}
		need(b.Give() == host.OK, "release")
		b.conserved()
		need(b.Figure("corelane_messages_refused_total", "corrupt") == 1, "one message is refused as corrupt")
		need(b.Stop() == host.OK && b.Router.Release() == host.OK, "the end")
	}
	need(posts > 0, "a connect behind it")
}

// A CLOSE ends when it is handed out, or when its client is already leaving and does not need it. The slot is free
// again.
func aCloseEnds(leaving bool) {
	b := start("workers=1\nmax_ports=1\nmax_clients=2\nring_bytes=8192\ncredit_messages=1\n")
	b.open()
	for round := uint64(1); round <= 10; round++ {
		a, c := b.join("a", 1), b.join("b", 2)
		need(b.submit(a, toB, 0) == nil && b.submit(a, toB, 0) == nil, "two messages")
		b.Publish()
		b.awaitFigure("corelane_messages_failed_total", round) // Afterwards the CLOSE is on its way.
		closed, rest := round, 3
		if !leaving {
			events := b.take(2, most)
			need(events[1].Kind == ring.Close && events[1].Reason == 1, "a CLOSE for want of credit")
			closed, rest = 0, 2
		}
		need(b.Disconnect(c) == 0 && b.Disconnect(a) == 0, "disconnect")
		b.take(rest, most)
		need(b.Figure("corelane_deliveries_dropped_total", "closed") == closed, "a CLOSE that nobody needs")
	}
	b.end()
}

// If an out-of-line payload is missing, the recipient gets its credit back, and the lane continues.
func aPayloadIsLost() {
	b := start("workers=1\nmax_ports=1\nmax_clients=2\nring_bytes=8192\n")
	b.open()
	a, c := b.join("a", 1), b.join("b", 2)
	need(b.Send(a, large(toB), 0) == host.OK, "a large one")
	b.awaitFigure("corelane_deliveries_total", 1)
	// Take the payload before the poll does.
	m := &b.Lanes[0].From.Memory
	record := unsafe.Slice((*byte)(unsafe.Add(m.Base, m.Data)), 128)
	number := binary.NativeEndian.Uint64(record[64:])
	_, found := b.Payload(number)
	_, again := b.Payload(number)
	need(found && !again, "a payload is taken once")
	need(len(b.poll(most)) == 0, "nothing is handed out")
	need(b.Figure("corelane_deliveries_dropped_total", "payload_lost") == 1, "it counts as lost")
	need(b.cell(c, b.Slots.Credit)&0x7fffffffffff == 0, "its credit is given back")
	need(b.submit(a, toB, 7) == nil, "a small one")
	b.Publish()
	need(b.take(1, most)[0].Correlation == 7 && m.Flag(m.CorruptWord) == 0, "the lane goes on")
	b.end()
}

// A message whose worker ends while the host writes it is refused: no worker would take it.
func closedWhileFilling() {
	b := start("workers=1\nmax_ports=1\nmax_clients=4\nring_bytes=8192\n")
	b.open()
	a := b.join("a", 1)
	err := b.Port.Submit(a, 2, 0, 0, func([]byte) { need(b.Stop() == host.OK, "stop") })
	need(err == ring.ErrClosed, "closed")
	need(b.Figure("corelane_messages_refused_total", "closed") == 1, "it is counted")
	need(b.Disconnect(a) == 0, "disconnect")
	events := b.poll(most)
	need(len(events) == 1 && events[0].Kind == ring.Closed && events[0].Token == 1, "a last event")
	b.conserved()
	b.end()
}

// A client that leaves after all workers have ended gets its last event from the port itself.
func lastEventsWithoutAWorker() {
	b := start("workers=2\nmax_ports=1\nmax_clients=4\nring_bytes=8192\n")
	b.open()
	a := b.join("a", 1)
	need(b.Stop() == host.OK, "stop")
	_, status := b.Connect("late", 2)
	need(status == host.Closed, "no connect any more")
	need(b.Disconnect(a) == 0 && !b.Arm(), "there is something to poll")
	events := b.poll(1)
	need(len(events) == 1 && events[0].Kind == ring.Closed && events[0].Token == 1, "a last event")
	need(!b.Arm(), "that it is over is not said yet")
	_, err := b.Poll(nil, most)
	need(err == ring.ErrClosed && b.Arm(), "over")
	b.conserved()
	b.end()
}

// A client that leaves while the workers end gets exactly one last event, from a worker or from the port, and no
// sleep misses it.
func lastEventsInAStop() {
	for round := 0; round < 100; round++ {
		b := start("workers=2\nmax_ports=1\nmax_clients=16\nring_bytes=8192\n")
		b.open()
		var clients [16]uint64
		for at := range clients {
			clients[at] = b.join(string(rune('a'+at)), uint64(at))
		}
		for at := 0; at < 40; at++ {
			need(b.submit(clients[at%16], toB, 0) == nil, "a message")
		}
		stopped := make(chan int32)
		go func() { stopped <- b.Stop() }()
		for _, client := range clients {
			time.Sleep(time.Duration(round%10) * time.Microsecond)
			_ = b.submit(client, toB, 0)
			b.Disconnect(client)
		}
		gone, over := 0, false
		for turn := 0; turn < 1000 && !over; turn++ {
			events, err := b.Poll(nil, 3)
			over = err == ring.ErrClosed
			need(err == nil || over, "a poll")
			for _, event := range events {
				if event.Kind == ring.Closed {
					gone++
				}
			}
			if len(events) == 0 && !over && b.Arm() {
				b.Own.Sleep(5)
			}
		}
		need(over && gone == 16, "one last event each")
		need(<-stopped == host.OK, "stop")
		b.conserved()
		b.end()
	}
}

func main() {
	time.AfterFunc(110*time.Second, func() {
		fmt.Fprintln(os.Stderr, "not done in time")
		os.Exit(1)
	})
	clientsStay()
	closedIsNews()
	refusalsAskForSpace("", 4096)
	refusalsAskForSpace("queue_messages=8\n", 20)
	waitingDisconnects()
	waitingToTheEnd()
	settledOnce(most, 5)
	settledOnce(2, 2)
	settledOnce(4, 4)
	onlyMessagesCount()
	aCloseEnds(false)
	aCloseEnds(true)
	aPayloadIsLost()
	closedWhileFilling()
	lastEventsWithoutAWorker()
	lastEventsInAStop()
}
