package corelane

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !holds(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatal("not in time:", what)
		}
	}
}

func connect(t testing.TB, lane *Lane, name string) *Client {
	t.Helper()
	c, err := lane.Connect(name, "generic", ConnectOptions{Value: name})
	if err != nil {
		t.Fatal(name, err)
	}
	return c
}

// next polls until there is an event.
func next(t testing.TB, lane *Lane) Event {
	t.Helper()
	buffer := make([]Event, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for {
		n, err := lane.Poll(buffer)
		if err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			return buffer[0]
		}
		if err := lane.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFakeRound(t *testing.T) {
	r, lane := newFake(t, 2, 4096, nil)
	a, b := connect(t, lane, "a"), connect(t, lane, "b")
	if _, err := lane.Connect("a", "generic", ConnectOptions{}); !errors.Is(err, ErrNameTaken) {
		t.Error(err)
	}
	if a.Value() != "a" || a.Name() != "a" || a.Lane() != lane || lane.Client(a.ID()) != a || !a.Connected() {
		t.Error("the client")
	}
	if err := a.Submit([]byte("hello"), SubmitOptions{Correlation: 7, Recipient: b.ID(), Type: 3, TellFailed: true}); err != nil {
		t.Fatal(err)
	}
	event := next(t, lane)
	if event.Kind != EventMessage || event.Client != b || event.ID != b.ID() || event.Sender != a.ID() ||
		string(event.Message) != "hello" || event.Correlation != 7 {
		t.Errorf("%+v", event)
	}
	b.Acknowledge(1, 5)
	await(t, "the acknowledgement, without a push or a poll", func() bool {
		slot := r.client(b.ID())
		return slot.acknowledged == 1 && slot.bytes == 5 && slot.stamps == 1
	})
	b.SetValue(8)
	if err := b.Send([]byte("sent"), SendOptions{Correlation: 9}); err != nil {
		t.Fatal(err)
	}
	event = next(t, lane)
	if event.Client != b || event.Sender != 0 || string(event.Message) != "sent" || event.Client.Value() != 8 || event.Correlation != 9 {
		t.Errorf("%+v", event)
	}
	room, err := a.Join("four")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = b.Join("four"); err != nil {
		t.Fatal(err)
	}
	if err := room.Send([]byte("all"), SendOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, one := range []*Client{a, b} {
		if event := next(t, lane); event.Client != one || string(event.Message) != "all" {
			t.Errorf("%+v", event)
		}
	}
	if err := a.Disconnect(); err != nil {
		t.Fatal(err)
	}
	if err := a.Disconnect(); err != ErrStale {
		t.Error(err)
	}
	if err := a.Submit(nil, SubmitOptions{}); err != ErrStale {
		t.Error(err)
	}
	if event := next(t, lane); event.Kind != EventClosed || event.Client != a {
		t.Errorf("%+v", event)
	}
	if lane.Client(a.ID()) != nil || a.Connected() {
		t.Error("still there")
	}
	a.Acknowledge(1, 1)
	if err := lane.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Submit(nil, SubmitOptions{}); err != ErrClosed {
		t.Error(err)
	}
	if _, err := lane.Poll(make([]Event, 1)); err != ErrClosed {
		t.Error(err)
	}
	if err := lane.Wait(context.Background()); err != ErrClosed {
		t.Error(err)
	}
	if _, err := lane.Connect("z", "generic", ConnectOptions{}); err != ErrClosed {
		t.Error(err)
	}
	if err := b.Disconnect(); err != ErrClosed {
		t.Error(err)
	}
}

// Whatever the sizes, every byte arrives: in records, and beside them.
func TestFakeSizes(t *testing.T) {
	_, lane := newFake(t, 1, 4096, nil)
	a := connect(t, lane, "a")
	for _, length := range []int{0, 1, 7, 8, 9, 63, 64, 967, 968, 969, 4096, 65536} {
		message := make([]byte, length)
		for at := range message {
			message[at] = byte(at * 7)
		}
		if err := a.Submit(message, SubmitOptions{}); err != nil {
			t.Fatal(length, err)
		}
		if event := next(t, lane); string(event.Message) != string(message) {
			t.Errorf("%d bytes: others", length)
		}
	}
	if err := a.Submit(make([]byte, 65537), SubmitOptions{}); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "65537 bytes; max_message allows 65536") {
		t.Error(err)
	}
}

// A payload that cannot be put is refused, and the space that was promised for it comes back.
func TestFakePayloadsFull(t *testing.T) {
	r, lane := newFake(t, 1, 4096, nil)
	a := connect(t, lane, "a")
	r.lock.Lock()
	r.failPuts = true
	r.lock.Unlock()
	for range 1000 {
		if err := a.Submit(make([]byte, 5000), SubmitOptions{}); err != ErrPayloads {
			t.Fatal(err)
		}
	}
	if p := a.home; p.promised != 0 || a.held != 0 {
		t.Error(p.promised, a.held)
	}
}

// A record for many clients does not fit the caller's buffer: the rest comes with the next polls.
func TestFakeRoomsAndSmallBuffers(t *testing.T) {
	_, lane := newFake(t, 2, 4096, nil)
	var clients []*Client
	var room *Room
	for at := range 50 {
		c := connect(t, lane, fmt.Sprint(at))
		clients = append(clients, c)
		room, _ = c.Join("r")
	}
	if err := room.Send([]byte("one"), SendOptions{}); err != nil {
		t.Fatal(err)
	}
	buffer := make([]Event, 7)
	for got := 0; got < len(clients); {
		n, err := lane.Poll(buffer)
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range buffer[:n] {
			if event.Client != clients[got] || string(event.Message) != "one" {
				t.Fatalf("%+v", event)
			}
			got++
		}
	}
	// The same, with loops that end early.
	if err := room.Send([]byte("two"), SendOptions{}); err != nil {
		t.Fatal(err)
	}
	for got := 0; got < len(clients); got++ {
		for event := range lane.Events(context.Background()) {
			if event.Client != clients[got] || string(event.Message) != "two" {
				t.Fatalf("%+v", event)
			}
			break
		}
		if err := lane.Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// A loop whose body panics loses no event but its own.
func TestFakePanicInTheLoop(t *testing.T) {
	_, lane := newFake(t, 1, 4096, nil)
	a := connect(t, lane, "a")
	for at := range 10 {
		if err := a.Submit([]byte{byte(at)}, SubmitOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "all are there", func() bool { head, tail := a.home.to.Positions(); return head == tail })
	for at := range 10 {
		func() {
			defer func() { _ = recover() }()
			for event := range lane.Events(context.Background()) {
				if event.Message[0] != byte(at) {
					t.Errorf("%d, not %d", event.Message[0], at)
				}
				panic("the body")
			}
		}()
	}
}

// A client that floods takes part of the ring only. Another client's message, its acknowledgement and its disconnect pass.
func TestFakeFlood(t *testing.T) {
	r, lane := newFake(t, 1, 8192, nil)
	r.workers[0].paused.Store(true)
	time.Sleep(5 * time.Millisecond)
	flood, more, calm := connect(t, lane, "flood"), connect(t, lane, "more"), connect(t, lane, "calm")
	message := make([]byte, 100)
	for _, one := range []*Client{flood, more} {
		pushed := 0
		for ; pushed < 1000; pushed++ {
			if err := one.Submit(message, SubmitOptions{}); err != nil {
				if !errors.Is(err, ErrFull) {
					t.Fatal(err)
				}
				break
			}
		}
		t.Logf("%s: %d messages", one.Name(), pushed)
		if pushed == 0 || pushed == 1000 {
			t.Error(pushed)
		}
	}
	for at := range 3 {
		if err := calm.Submit(message, SubmitOptions{Correlation: uint64(at)}); err != nil {
			t.Fatal("the calm client's message:", err)
		}
	}
	// Then everybody fills the ring with what messages may use.
	for at := 0; at < 100; at++ {
		c := connect(t, lane, fmt.Sprint("other", at))
		for c.Submit(message, SubmitOptions{}) == nil {
		}
	}
	// Acknowledgements and disconnects have space of their own.
	_, before := r.memory.workers[0].ingress.Positions()
	calm.Acknowledge(300, 100)
	if err := calm.Disconnect(); err != nil {
		t.Fatal(err)
	}
	if _, after := r.memory.workers[0].ingress.Positions(); after != before+128 {
		t.Errorf("%d bytes", after-before)
	}
	// The poller sleeps, and wakes when there is space.
	buffer := make([]Event, 64)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	go func() {
		time.Sleep(10 * time.Millisecond)
		r.workers[0].paused.Store(false)
	}()
	for flood.Submit(message, SubmitOptions{}) != nil {
		if err := lane.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := lane.Poll(buffer); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "what was owed", func() bool { return r.client(calm.ID()).acknowledged == 300 })
	p := calm.home
	await(t, "empty shares", func() bool {
		_, _ = lane.Poll(buffer)
		p.enter()
		defer p.leave()
		return p.look() == nil && p.shared == 0 && flood.held == 0 && calm.held == 0 && p.others.held == 0
	})
}

// Acknowledgements and disconnects that find no space at all wait, and are not lost.
func TestFakeNothingIsLost(t *testing.T) {
	r, lane := newFake(t, 1, 4096, nil)
	r.workers[0].paused.Store(true)
	time.Sleep(5 * time.Millisecond)
	var clients []*Client
	for at := range 200 {
		clients = append(clients, connect(t, lane, fmt.Sprint(at)))
	}
	for _, c := range clients {
		_ = c.Submit(make([]byte, 50), SubmitOptions{})
	}
	for range 5 {
		for _, c := range clients {
			c.Acknowledge(300, 7)
		}
	}
	for _, c := range clients {
		if err := c.Disconnect(); err != nil {
			t.Fatal(err)
		}
	}
	r.workers[0].paused.Store(false)
	closed := 0
	for event := range lane.Events(context.Background()) {
		if event.Kind == EventClosed {
			if closed++; closed == len(clients) {
				break
			}
		}
	}
	for _, c := range clients {
		if slot := r.client(c.ID()); slot.acknowledged != 1500 || slot.bytes != 35 {
			t.Errorf("%+v", slot)
		}
	}
	if r.workers[0].disconnects.Load() != 200 {
		t.Error("disconnects")
	}
}

// Deliveries for clients that are gone are thrown away, and the worker is told how many.
func TestFakeDiscarded(t *testing.T) {
	r, lane := newFake(t, 2, 16384, nil)
	a, b := connect(t, lane, "a"), connect(t, lane, "b")
	if a.home == b.home {
		t.Fatal("one worker")
	}
	if err := b.Disconnect(); err != nil {
		t.Fatal(err)
	}
	if event := next(t, lane); event.Kind != EventClosed || event.Client != b {
		t.Fatalf("%+v", event)
	}
	for range 10 {
		if err := a.Submit([]byte("x"), SubmitOptions{Recipient: b.ID()}); err != nil {
			t.Fatal(err)
		}
		if err := a.Submit([]byte("x"), SubmitOptions{Recipient: ClientID(9999 << 32)}); err != nil {
			t.Fatal(err)
		}
		if err := a.Submit([]byte("x"), SubmitOptions{Recipient: ClientID(1<<32 - 1)}); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "30 thrown away", func() bool {
		if n, err := lane.Poll(make([]Event, 4)); n != 0 || err != nil {
			t.Fatal(n, err)
		}
		return r.workers[a.home.index].thrown.Load() == 30
	})
}

// A worker that ends closes its ring: the lane hands out the ends of its clients itself, then says that it is over.
func TestFakeEndedWorkers(t *testing.T) {
	r, lane := newFake(t, 2, 32768, nil)
	for at := range 100 {
		c := connect(t, lane, fmt.Sprint(at))
		if err := c.Submit([]byte("last words"), SubmitOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "all handled", func() bool { return r.workers[0].messages.Load()+r.workers[1].messages.Load() == 100 })
	go r.end()
	messages, closed := 0, 0
	for event := range lane.Events(context.Background()) {
		switch event.Kind {
		case EventMessage:
			messages++
		case EventClosed:
			closed++
		}
	}
	if lane.Err() != ErrClosed || messages != 100 || closed != 100 {
		t.Error(lane.Err(), messages, closed)
	}
	if err := lane.Wait(context.Background()); err != ErrClosed {
		t.Error(err)
	}
}

// A worker's ring with impossible contents stops the polls, not the process.
func TestFakeCorruptEgress(t *testing.T) {
	for name, corrupt := range map[string]func(to *ringProducer){
		"tail":       func(to *ringProducer) { _, tail := to.Words(); atomic.StoreUint64(tail, 1<<40) },
		"short":      func(to *ringProducer) { forge(to, 55, 1, 0, 1) },
		"kind":       func(to *ringProducer) { forge(to, 100, 77, 0, 1) },
		"nobody":     func(to *ringProducer) { forge(to, 100, 1, 0, 0) },
		"everybody":  func(to *ringProducer) { forge(to, 100, 1, 0, 1<<31) },
		"no payload": func(to *ringProducer) { forge(to, 64, 1, 1, 1) },
		"large":      func(to *ringProducer) { forge(to, 96, 1, 1, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			r, lane := newFake(t, 1, 4096, nil)
			connect(t, lane, "a")
			r.end()
			corrupt(&r.workers[0].to)
			n, err := lane.Poll(make([]Event, 4))
			if n != 0 || err != ErrCorrupt || !r.memory.workers[0].egress.Corrupt() {
				t.Error(n, err)
			}
			if err := lane.Wait(shortly(t)); err == nil {
				t.Error("something to poll")
			}
		})
	}
}

func shortly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// An impossible head in the ring to a worker stops the pushes.
func TestFakeCorruptHead(t *testing.T) {
	r, lane := newFake(t, 1, 4096, nil)
	c := connect(t, lane, "a")
	r.end()
	head, _ := r.workers[0].from.Words()
	atomic.StoreUint64(head, 1<<40)
	atomic.StoreUint32(r.workers[0].from.ClosedWord(), 0)
	var err error
	for range 100 {
		if err = c.Submit(make([]byte, 100), SubmitOptions{}); err != nil {
			break
		}
	}
	if err != ErrCorrupt {
		t.Error(err)
	}
}

// Contexts end waits, at any moment, and no wait is ended by another one's context.
func TestFakeCancelledWaits(t *testing.T) {
	_, lane := newFake(t, 1, 4096, nil)
	a := connect(t, lane, "a")
	for turn := range 2000 {
		ctx, cancel := context.WithCancel(context.Background())
		delay := time.Duration(rand.IntN(50)) * time.Microsecond
		go func() { time.Sleep(delay); cancel() }()
		if err := lane.Wait(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		cancel()
		if turn%10 == 0 {
			if err := a.Submit([]byte("x"), SubmitOptions{}); err != nil {
				t.Fatal(err)
			}
			if event := next(t, lane); event.Client != a {
				t.Fatalf("%+v", event)
			}
		}
	}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	if err := lane.Wait(done); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for range lane.Events(done) {
		t.Error("an event")
	}
	if !errors.Is(lane.Err(), context.Canceled) {
		t.Error(lane.Err())
	}
}

// One goroutine polls at a time.
func TestFakeTwoPollers(t *testing.T) {
	_, lane := newFake(t, 1, 4096, nil)
	a := connect(t, lane, "a")
	if err := a.Submit([]byte("x"), SubmitOptions{}); err != nil {
		t.Fatal(err)
	}
	for range lane.Events(context.Background()) {
		if _, err := lane.Poll(make([]Event, 1)); err != ErrBusy {
			t.Error(err)
		}
		if err := lane.Wait(context.Background()); err != ErrBusy {
			t.Error(err)
		}
		for range lane.Events(context.Background()) {
			t.Error("an event")
		}
		break
	}
}

// Goroutines push on one lane, with messages in records and beside them; each client's messages arrive in order.
func TestFakeManyGoroutines(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	manyGoroutines(t, func() (*Lane, func(*Client)) {
		_, lane := newFake(t, 2, 16384, nil)
		return lane, nil
	}, rounds)
}

func manyGoroutines(t *testing.T, open func() (*Lane, func(*Client)), rounds int) {
	const goroutines = 100
	lane, _ := open()
	var clients []*Client
	for at := range goroutines {
		clients = append(clients, connect(t, lane, fmt.Sprint("many-", at)))
	}
	var pushers sync.WaitGroup
	for _, c := range clients {
		pushers.Add(1)
		go func() {
			defer pushers.Done()
			message := make([]byte, 6000)
			for round := 0; round < rounds; {
				length := 16 + rand.IntN(200)
				if rand.IntN(50) == 0 {
					length = 5000
				}
				binary.NativeEndian.PutUint64(message, uint64(round))
				err := c.Submit(message[:length], SubmitOptions{Correlation: uint64(round)})
				switch {
				case err == nil:
					round++
				case errors.Is(err, ErrFull) || errors.Is(err, ErrPayloads):
					runtime.Gosched()
				default:
					t.Error(err)
					return
				}
			}
		}()
	}
	expected := map[*Client]uint64{}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()
	left := goroutines * rounds
	for event := range lane.Events(ctx) {
		number := binary.NativeEndian.Uint64(event.Message)
		if event.Kind != EventMessage || number != expected[event.Client] || event.Correlation != number {
			t.Fatalf("%+v: message %d, expected %d", event, number, expected[event.Client])
		}
		expected[event.Client]++
		event.Client.Acknowledge(1, len(event.Message))
		if left--; left == 0 {
			break
		}
	}
	if left != 0 {
		t.Fatal(left, lane.Err())
	}
	pushers.Wait()
}

// Close while everybody is inside a call.
func TestFakeCloseRaces(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 40
	}
	for range rounds {
		_, lane := newFake(t, 2, 4096, nil)
		closeRace(t, lane)
	}
}

func closeRace(t *testing.T, lane *Lane) {
	var all sync.WaitGroup
	allowed := func(err error) {
		if err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrFull) && !errors.Is(err, ErrStale) &&
			!errors.Is(err, ErrBusy) && !errors.Is(err, ErrNameTaken) && !errors.Is(err, ErrLimit) && !errors.Is(err, ErrPayloads) {
			t.Error(err)
		}
	}
	do := func(body func(turn int) bool) {
		all.Add(1)
		go func() {
			defer all.Done()
			for turn := 0; body(turn); turn++ {
			}
		}()
	}
	var a *Client
	for begin := time.Now(); a == nil; { // The slots of the round before come back soon.
		one, err := lane.Connect("a", "generic", ConnectOptions{})
		if a = one; err != nil && (!errors.Is(err, ErrLimit) && !errors.Is(err, ErrNameTaken) || time.Since(begin) > 30*time.Second) {
			t.Fatal(err)
		}
	}
	do(func(int) bool {
		err := a.Submit(make([]byte, rand.IntN(6000)), SubmitOptions{})
		allowed(err)
		a.Acknowledge(1, 10)
		return !errors.Is(err, ErrClosed)
	})
	do(func(int) bool {
		err := a.Send([]byte("x"), SendOptions{})
		allowed(err)
		return !errors.Is(err, ErrClosed)
	})
	do(func(turn int) bool {
		c, err := lane.Connect(fmt.Sprint("c", turn), "generic", ConnectOptions{})
		allowed(err)
		if err == nil {
			allowed(c.Disconnect())
		}
		return !errors.Is(err, ErrClosed)
	})
	sum := 0
	do(func(int) bool {
		for event := range lane.Events(context.Background()) {
			for _, one := range event.Message {
				sum += int(one)
			}
			event.Client.Acknowledge(1, len(event.Message))
		}
		allowed(lane.Err())
		return !lane.Closed()
	})
	time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
	do(func(turn int) bool { allowed(lane.Close()); return turn < 1 })
	allowed(lane.Close())
	all.Wait()
}

// A loop may close its own lane.
func TestFakeCloseInTheLoop(t *testing.T) {
	_, lane := newFake(t, 1, 4096, nil)
	a := connect(t, lane, "a")
	if err := a.Submit([]byte("x"), SubmitOptions{}); err != nil {
		t.Fatal(err)
	}
	for event := range lane.Events(context.Background()) {
		if err := lane.Close(); err != nil || string(event.Message) != "x" {
			t.Error(err)
		}
	}
	if lane.Err() != ErrClosed {
		t.Error(lane.Err())
	}
}

// Neither a push, nor a poll, nor an acknowledgement allocates.
func TestFakeNoAllocation(t *testing.T) {
	_, lane := newFake(t, 1, 1<<17, nil)
	noAllocation(t, lane)
}

func noAllocation(t *testing.T, lane *Lane) {
	a := connect(t, lane, "none")
	message, buffer := make([]byte, 200), make([]Event, 16)
	round := func() {
		if err := a.Submit(message, SubmitOptions{Correlation: 1, Recipient: a.ID()}); err != nil {
			t.Fatal(err)
		}
		for n := 0; n == 0; {
			var err error
			if n, err = lane.Poll(buffer); err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				runtime.Gosched()
			}
			for at := range n {
				buffer[at].Client.Acknowledge(1, len(buffer[at].Message))
			}
		}
	}
	for range 10 {
		round()
	}
	if got := testing.AllocsPerRun(2000, round); got > 0 {
		t.Error(got)
	}
}

// The queue's limit in messages holds in the host.
func TestFakeQueueMessages(t *testing.T) {
	r, lane := newFake(t, 1, 1<<16, func(m *laneMemory) { m.queueMessages = 10 })
	r.workers[0].paused.Store(true)
	time.Sleep(5 * time.Millisecond)
	a := connect(t, lane, "a")
	for at := range 20 {
		if err := a.Submit([]byte("x"), SubmitOptions{}); (err == nil) != (at < 10) {
			t.Error(at, err)
		}
	}
}

// A refusal for that limit waits for the worker like any other, and ends with it.
func TestFakeQueueMessagesWaits(t *testing.T) {
	r, lane := newFake(t, 1, 1<<16, func(m *laneMemory) { m.queueMessages = 4 })
	a := connect(t, lane, "a")
	for range 10 {
		if err := a.Submit([]byte("x"), SubmitOptions{}); err != nil {
			t.Fatal(err)
		}
		next(t, lane)
	}
	r.workers[0].paused.Store(true)
	time.Sleep(5 * time.Millisecond)
	for a.Submit([]byte("x"), SubmitOptions{}) == nil {
	}
	if err := a.Submit(make([]byte, 30000), SubmitOptions{}); err != ErrFull {
		t.Error("a large message:", err)
	}
	early := 0
	for range 10 {
		if err := a.Submit([]byte("x"), SubmitOptions{}); err != ErrFull {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		if lane.Wait(ctx) == nil {
			early++
		}
		cancel()
	}
	if early > 1 {
		t.Error(early, "waits ended early")
	}
	blocked := make(chan error)
	go func() { blocked <- a.SubmitWait(context.Background(), []byte("x"), SubmitOptions{}) }()
	go func() {
		for range lane.Events(context.Background()) {
		}
	}()
	time.Sleep(5 * time.Millisecond)
	r.end()
	select {
	case err := <-blocked:
		if err != ErrClosed && err != ErrStale {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("SubmitWait does not end with the worker")
	}
}

// While a large payload is being put, acknowledgements may use up all the space that is theirs: the payload's record still
// has its own.
func TestFakePromiseBesideTheReserve(t *testing.T) {
	r, lane := newFake(t, 1, 4096, nil)
	r.workers[0].paused.Store(true)
	time.Sleep(5 * time.Millisecond)
	large := connect(t, lane, "large")
	p := large.home
	for at := 0; p.to.Free() >= 2*promiseBytes+p.reserve; at++ {
		_ = connect(t, lane, fmt.Sprint(at)).Submit(nil, SubmitOptions{})
	}
	r.putting = func(ClientID) {
		for before := p.to.Free() + 1; p.to.Free() < before; {
			before = p.to.Free()
			large.Acknowledge(1024, 0)
		}
	}
	if err := large.Submit(make([]byte, 5000), SubmitOptions{}); err != nil {
		t.Error(err, p.to.Free(), p.reserve)
	}
	if p.promised != 0 || len(r.payloads) != 1 {
		t.Error(p.promised, len(r.payloads))
	}
	// A payload whose record cannot be pushed any more is taken back.
	r.workers[0].paused.Store(false)
	await(t, "the message", func() bool { return r.workers[0].messages.Load() > 0 && large.home.to.Taken() > 0 })
	for {
		if n, _ := lane.Poll(make([]Event, 64)); n == 0 {
			break
		}
	}
	r.putting = func(ClientID) { _ = lane.Close() }
	if err := large.Submit(make([]byte, 5000), SubmitOptions{}); err != ErrClosed {
		t.Error(err)
	}
	r.end()
	r.lock.Lock()
	defer r.lock.Unlock()
	if len(r.payloads) > 1 { // One delivery that was not read.
		t.Error(len(r.payloads))
	}
}

// Clients that come while their worker ends are counted out once, so that the loop over Events ends.
func TestFakeConnectsWhileTheWorkerEnds(t *testing.T) {
	r, lane := newFake(t, 1, 4096, nil)
	first := connect(t, lane, "first")
	poll := func() (n int, err error) { return lane.Poll(make([]Event, 16)) }
	r.entering = func(id ClientID) {
		r.end()
		r.lock.Lock()
		r.slot(id).used = false // The library has given the reservation back.
		r.lock.Unlock()
		_, _ = poll()
	}
	if c, err := lane.Connect("second", "generic", ConnectOptions{}); err == nil {
		t.Error(c)
	}
	if n := first.home.clients.Load(); n != 0 {
		t.Error(n, "clients")
	}
	if _, err := poll(); err != ErrClosed {
		t.Error(err)
	}

	r, lane = newFake(t, 1, 4096, nil)
	first = connect(t, lane, "first")
	r.closing = func(id ClientID) { // Its place is another's before the poller has taken it out of the table.
		if c := connect(t, lane, "next"); uint32(c.id) != uint32(id) {
			t.Error(c.id, id)
		}
	}
	r.end()
	ended := 0
	for {
		n, err := poll()
		if ended += n; n == 0 {
			if err != ErrClosed {
				t.Error(err)
			}
			break
		}
	}
	if n := first.home.clients.Load(); n != 0 || ended != 2 {
		t.Error(n, "clients,", ended, "ends")
	}
}

// SubmitWait ends with the client, also if the worker that leaves has not closed its ring yet when the poller has handed
// everything out.
func TestFakeSubmitWaitEndsWithTheWorker(t *testing.T) {
	r, lane := newFake(t, 1, 4096, nil)
	r.workers[0].paused.Store(true)
	time.Sleep(5 * time.Millisecond)
	c := connect(t, lane, "c")
	for c.Submit(nil, SubmitOptions{}) == nil {
	}
	blocked := make(chan error)
	go func() { blocked <- c.SubmitWait(context.Background(), nil, SubmitOptions{}) }()
	await(t, "a goroutine that waits", func() bool { return lane.blocked.Load() > 0 })
	time.Sleep(time.Millisecond)
	r.workers[0].ended.Store(true)
	r.memory.workers[0].egress.Close()
	r.memory.wake.IfAsleep()
	for range lane.Events(context.Background()) {
	}
	if err := lane.Err(); err != ErrClosed {
		t.Error(err)
	}
	select {
	case err := <-blocked:
		if err != ErrStale && err != ErrClosed {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("SubmitWait waits on")
	}
}

func TestReasons(t *testing.T) {
	for _, one := range []struct {
		kind  EventKind
		flags uint16
		want  Reason
	}{
		{EventMessage, 1, ReasonNone}, {EventClose, 0, ReasonCreditExhausted}, {EventClose, 1, ReasonCorrupt},
		{EventClose, 2, unknownReason}, {EventUndelivered, 0, ReasonEmpty}, {EventUndelivered, 15, ReasonCreditExhausted},
		{EventSendFailed, 30, ReasonWorkerLost}, {EventSendFailed, 34, ReasonMoved}, {EventSendFailed, 35, unknownReason}, {EventUndelivered, 256, ReasonExpired},
		{EventUndelivered, 257, ReasonRingFull}, {EventUndelivered, 268, ReasonTooManyCalls},
		{EventUndelivered, 65535, unknownReason}, {EventRefused, 8, ReasonRateLimited}, {EventRefused, 12, unknownReason},
	} {
		if got := reasonOf(one.kind, one.flags); got != one.want {
			t.Errorf("%v %d: %v", one.kind, one.flags, got)
		}
	}
	if ReasonWorkerLost.String() != "worker_lost" || unknownReason.String() != "unknown" || EventRefused.String() != "refused" {
		t.Error("names")
	}
}

// Whatever bytes are in a worker's ring, a poll returns events or ErrCorrupt, and touches nothing else.
func TestFakeRandomEgress(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	events, corrupt := 0, 0
	for range rounds {
		r, lane := newFake(t, 1, 1024, nil)
		a := connect(t, lane, "a")
		r.end()
		to := &r.workers[0].to
		for range 8 {
			length := 56 + rand.IntN(200)
			place, err := to.Claim(length, uint16(1+rand.IntN(9)), uint16(rand.IntN(300)), 0)
			if err != nil {
				break
			}
			rest := unsafe.Slice((*byte)(unsafe.Add(place, 8)), length-8)
			for at := range rest {
				rest[at] = byte(rand.IntN(256)) & byte(rand.IntN(256)) & byte(rand.IntN(256))
			}
			if rand.IntN(8) > 0 {
				binary.NativeEndian.PutUint32(rest[36:], uint32(1+rand.IntN(2)))
				if len(rest) >= 56 {
					binary.NativeEndian.PutUint64(rest[48:], uint64(a.ID()))
				}
			}
			to.Commit()
			to.Publish()
		}
		buffer := make([]Event, 3)
		for {
			n, err := lane.Poll(buffer)
			events += n
			if err != nil {
				if errors.Is(err, ErrCorrupt) {
					corrupt++
				} else if !errors.Is(err, ErrClosed) {
					t.Fatal(err)
				}
				break
			}
		}
		_ = lane.Close()
	}
	t.Logf("%d events, %d corrupt rings", events, corrupt)
	if events == 0 || corrupt == 0 || corrupt == rounds {
		t.Error("one-sided")
	}
}

// SubmitWait waits for space, whoever else pushes, while the poller sleeps between the events. Nothing comes back from the
// worker for most of the messages, so only the wake for space ends the poller's sleep.
func TestFakeSubmitWait(t *testing.T) {
	r, lane := newFake(t, 1, 4096, nil)
	var pushers sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	ended := make(chan error)
	go func() {
		for range lane.Events(ctx) {
		}
		ended <- lane.Err()
	}()
	const goroutines, rounds = 5, 2000
	for at := range goroutines {
		c := connect(t, lane, fmt.Sprint(at))
		pushers.Add(1)
		go func() {
			defer pushers.Done()
			for range rounds {
				if err := c.SubmitWait(ctx, make([]byte, 100), SubmitOptions{Recipient: 1<<40 | 255}); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	pushers.Wait()
	await(t, "all messages", func() bool { return r.workers[0].messages.Load() == goroutines*rounds })
	r.workers[0].paused.Store(true)
	time.Sleep(5 * time.Millisecond)
	c := connect(t, lane, "full")
	for c.Submit(make([]byte, 100), SubmitOptions{}) == nil {
	}
	short, end := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer end()
	if err := c.SubmitWait(short, make([]byte, 100), SubmitOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	blocked := make(chan error)
	go func() { blocked <- c.SubmitWait(ctx, make([]byte, 100), SubmitOptions{}) }()
	time.Sleep(5 * time.Millisecond)
	if err := lane.Close(); err != nil {
		t.Error(err)
	}
	if err := <-blocked; err != ErrClosed {
		t.Error(err)
	}
	if err := <-ended; err != ErrClosed {
		t.Error(err)
	}
}
