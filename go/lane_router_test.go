//go:build cgo && !corelane_stub

package corelane

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// startTestRouter starts a router for a test. The test's end checks that every message and every delivery has ended exactly once.
func startTestRouter(t testing.TB, config Config) *Router {
	t.Helper()
	merged := Config{"pin": "off", "workers": "2", "idle": "park"}
	for key, value := range config {
		merged[key] = value
	}
	router, err := Start(merged)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conserved(t, router)
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := router.Stop(ctx); err != nil {
			t.Error("stop:", err)
		}
		if err := router.Close(); err != nil {
			t.Error("close:", err)
		}
	})
	return router
}

func openRouterLane(t testing.TB, router *Router) *Lane {
	t.Helper()
	lane, err := router.OpenLane()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lane.Close(); err != nil {
			t.Error("close of the lane:", err)
		}
	})
	return lane
}

// figure is the sum of a family's samples whose line contains the label, from the router's Prometheus text.
func figure(t testing.TB, router *Router, family, label string) (total uint64) {
	t.Helper()
	text, err := router.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(text, "\n") {
		rest, found := strings.CutPrefix(line, family)
		if found && (strings.HasPrefix(rest, "{") || strings.HasPrefix(rest, " ")) && strings.Contains(line, label) {
			value, _ := strconv.ParseUint(line[strings.LastIndexByte(line, ' ')+1:], 10, 64)
			total += value
		}
	}
	return total
}

// conserved waits until every message and every delivery has ended exactly once (I4).
func conserved(t testing.TB, router *Router) {
	t.Helper()
	var state string
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		submitted := figure(t, router, "corelane_messages_submitted_total", "")
		refused := figure(t, router, "corelane_messages_refused_total", "")
		failed := figure(t, router, "corelane_messages_failed_total", "")
		delivered := figure(t, router, "corelane_messages_delivered_total", "")
		expired := figure(t, router, "corelane_messages_expired_total", "")
		queued := figure(t, router, "corelane_deliveries_queued", "")
		if submitted == refused+failed+delivered+expired && queued == 0 {
			return
		}
		state = fmt.Sprintf("submitted %d, refused %d, failed %d, delivered %d, expired %d, deliveries queued %d",
			submitted, refused, failed, delivered, expired, queued)
		if time.Now().After(end) {
			t.Error("not conserved:", state)
			return
		}
	}
}

// What the lane refuses itself is counted as well: submitted, and refused with its reason (I9).
func TestLaneCountsItsRefusals(t *testing.T) {
	router := startTestRouter(t, Config{"workers": "1", "max_message": "100000", "ring_bytes": "65536"})
	lane := openRouterLane(t, router)
	ann, err := lane.Connect("ann", "generic", ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	large := make([]byte, 100001)
	for _, err := range []error{ann.Submit(large, SubmitOptions{}), ann.Send(large, SendOptions{})} {
		if !errors.Is(err, ErrTooLarge) {
			t.Fatal(err)
		}
	}
	full := uint64(0)
	// Few of these fill the ring, and the worker needs longer to read one than the lane to copy it.
	message := offerOf("zoe", 12000)
	for end := time.Now().Add(30 * time.Second); full < 3 && time.Now().Before(end); {
		if err := ann.Submit(message, SubmitOptions{}); errors.Is(err, ErrFull) {
			full++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if full != 3 {
		t.Fatal("the ring is never full")
	}
	if err := ann.Disconnect(); err != nil {
		t.Fatal(err)
	}
	if err := ann.Submit([]byte("{}"), SubmitOptions{}); !errors.Is(err, ErrStale) {
		t.Fatal(err)
	}
	buffer := make([]Event, 16)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if n, _ := lane.Poll(buffer); n > 0 && buffer[n-1].Kind == EventClosed {
			break
		}
	}
	for reason, count := range map[string]uint64{"too_large": 2, "ring_full": full, "stale_client": 1} {
		if found := figure(t, router, "corelane_messages_refused_total", `reason="`+reason+`"`); found != count {
			t.Errorf("%s: %d, not %d", reason, found, count)
		}
	}
	conserved(t, router)
}

func offer(to string) []byte { return []byte(`{"type":"offer","to":"` + to + `"}`) }

func offerOf(to string, length int) []byte {
	return []byte(`{"type":"offer","to":"` + to + `","data":"` + strings.Repeat("x", length) + `"}`)
}

func TestLaneRound(t *testing.T) {
	router := startTestRouter(t, nil)
	lane := openRouterLane(t, router)
	ann, ben := connect(t, lane, "ann"), connect(t, lane, "ben")
	if _, err := lane.Connect("ann", "generic", ConnectOptions{}); !errors.Is(err, ErrNameTaken) {
		t.Error(err)
	}
	if _, err := lane.Connect("zoe", "smtp", ConnectOptions{}); err == nil {
		t.Error("no such protocol")
	}
	if _, err := lane.Connect("", "generic", ConnectOptions{}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if err := ann.Submit(offer("ben"), SubmitOptions{Correlation: 7}); err != nil {
		t.Fatal(err)
	}
	event := next(t, lane)
	if event.Kind != EventMessage || event.Client != ben || event.Sender != ann.ID() || !bytes.Contains(event.Message, []byte(`"offer"`)) ||
		event.Correlation != 7 {
		t.Errorf("%+v %s", event, event.Message)
	}
	offerType, err := lane.MessageType("generic", "offer")
	if err != nil || offerType != event.Type {
		t.Error(offerType, event.Type, err)
	}
	ben.Acknowledge(1, len(event.Message))
	await(t, "the time of the write", func() bool {
		return figure(t, router, "corelane_message_write_duration_seconds_count", "") == 1
	})
	if err := ann.Submit(offer("nobody"), SubmitOptions{Correlation: 8, TellFailed: true}); err != nil {
		t.Fatal(err)
	}
	event = next(t, lane)
	if event.Kind != EventUndelivered || event.Client != ann || event.Correlation != 8 || event.Reason != ReasonUnknownRecipient {
		t.Errorf("%+v", event)
	}
	if err := ann.Submit([]byte("raw"), SubmitOptions{Recipient: ben.ID(), Type: offerType}); err != nil {
		t.Fatal(err)
	}
	if event = next(t, lane); event.Client != ben || string(event.Message) != "raw" || event.Type != offerType {
		t.Errorf("%+v %s", event, event.Message)
	}
	if err := ben.Send([]byte("hello"), SendOptions{Correlation: 9}); err != nil {
		t.Fatal(err)
	}
	if event = next(t, lane); event.Client != ben || event.Sender != 0 || string(event.Message) != "hello" {
		t.Errorf("%+v %s", event, event.Message)
	}
	room, err := ann.Join("kitchen")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ben.Join("kitchen"); err != nil || again.ID() != room.ID() {
		t.Fatal(err)
	}
	if err := room.Send([]byte("dinner"), SendOptions{}); err != nil {
		t.Fatal(err)
	}
	got := map[*Client]bool{}
	for range 2 {
		event := next(t, lane)
		got[event.Client] = string(event.Message) == "dinner"
	}
	if !got[ann] || !got[ben] {
		t.Error(got)
	}
	if err := ben.Leave(room); err != nil {
		t.Error(err)
	}
	if err := ben.Leave(room); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if err := lane.SendTo(ClientID(77<<32), []byte("x"), SendOptions{Correlation: 10}); err == nil {
		if event := next(t, lane); event.Kind != EventSendFailed || event.Correlation != 10 {
			t.Errorf("%+v", event)
		}
	} else if !errors.Is(err, ErrStale) {
		t.Error(err)
	}
	if err := ann.Disconnect(); err != nil {
		t.Fatal(err)
	}
	if err := ann.Disconnect(); !errors.Is(err, ErrStale) {
		t.Error(err)
	}
	if event := next(t, lane); event.Kind != EventClosed || event.Client != ann {
		t.Errorf("%+v", event)
	}
	if err := ann.Submit(offer("ben"), SubmitOptions{}); !errors.Is(err, ErrStale) {
		t.Error(err)
	}
	if _, err := ann.Join("kitchen"); !errors.Is(err, ErrStale) {
		t.Error(err)
	}
	if err := room.Send([]byte("nobody"), SendOptions{Correlation: 11}); err != nil {
		t.Fatal(err)
	}
	if event := next(t, lane); event.Kind != EventSendFailed || event.Room != room.ID() || event.Correlation != 11 {
		t.Errorf("%+v", event)
	}
	if again := connect(t, lane, "ann"); again.ID() == ann.ID() {
		t.Error("the same number")
	}
}

// Messages of every size, also those that do not fit a record.
func TestLaneSizes(t *testing.T) {
	router := startTestRouter(t, Config{"ring_bytes": "8192", "max_message": "100000"})
	lane := openRouterLane(t, router)
	ann, ben := connect(t, lane, "ann"), connect(t, lane, "ben")
	for _, length := range []int{0, 1, 100, 1900, 1950, 1990, 2000, 2048, 3000, 9000, 65536, 99000} {
		message := offerOf("ben", length)
		if err := ann.Submit(message, SubmitOptions{}); err != nil {
			t.Fatal(length, err)
		}
		event := next(t, lane)
		if event.Client != ben || bytes.Count(event.Message, []byte("x")) != length {
			t.Fatalf("%d: %v %d bytes", length, event.Kind, len(event.Message))
		}
		ben.Acknowledge(1, len(event.Message))
	}
	if err := ann.Submit(make([]byte, 100001), SubmitOptions{}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if err := ben.Send(make([]byte, 50000), SendOptions{}); err != nil {
		t.Fatal(err)
	}
	if event := next(t, lane); event.Client != ben || len(event.Message) != 50000 {
		t.Errorf("%v %d", event.Kind, len(event.Message))
	}
}

// Bytes that are no message fail in the router, and the lane goes on.
func TestLaneWrongMessages(t *testing.T) {
	router := startTestRouter(t, nil)
	lane := openRouterLane(t, router)
	ann := connect(t, lane, "ann")
	for message, reason := range map[string]Reason{
		"": ReasonEmpty, "x": ReasonNotJSON, "\xff": ReasonNotUTF8, "[]": ReasonNotAnObject, "{}": ReasonMissingType,
	} {
		if err := ann.Submit([]byte(message), SubmitOptions{TellFailed: true, Correlation: 5}); err != nil {
			t.Fatal(err)
		}
		if event := next(t, lane); event.Kind != EventUndelivered || event.Reason != reason || event.Correlation != 5 {
			t.Errorf("%q: %+v", message, event)
		}
	}
	if err := ann.Submit(nil, SubmitOptions{}); err != nil {
		t.Error(err)
	}
	if err := ann.Leave(nil); !errors.Is(err, ErrNull) {
		t.Error(err)
	}
	if _, err := ann.Join(""); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if _, err := lane.MessageType("smtp", "x"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if lane.Client(ann.ID()) != ann || lane.Client(0) != nil || lane.Client(^ClientID(0)) != nil {
		t.Error("Client")
	}
}

// A client beyond its rate is refused by the worker, with at most one unread event.
func TestLaneRefused(t *testing.T) {
	router := startTestRouter(t, Config{"workers": "1", "client_rate": "10", "client_burst": "10"})
	lane := openRouterLane(t, router)
	ann, ben := connect(t, lane, "ann"), connect(t, lane, "ben")
	sent := uint64(0)
	for sent < 200 {
		if err := ann.Submit(offer("ben"), SubmitOptions{Correlation: sent}); err == nil {
			sent++
		} else if !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
	}
	messages, refused, events := uint64(0), uint64(0), 0
	for messages+refused < sent {
		switch event := next(t, lane); event.Kind {
		case EventMessage:
			messages++
			ben.Acknowledge(1, len(event.Message))
		case EventRefused:
			if event.Client != ann || event.Reason != ReasonRateLimited {
				t.Fatalf("%+v", event)
			}
			refused += event.Count
			events++
		default:
			t.Fatalf("%+v", event)
		}
	}
	t.Logf("%d delivered, %d refused in %d events", messages, refused, events)
	if messages < 10 || refused < 100 || figure(t, router, "corelane_messages_refused_total", "rate_limited") != refused {
		t.Error(messages, refused)
	}
}

// A client that does not acknowledge loses its credit, and gets it back with an acknowledgement.
func TestLaneCredit(t *testing.T) {
	router := startTestRouter(t, Config{"credit_messages": "10", "credit_policy": "refuse"})
	lane := openRouterLane(t, router)
	ann, ben := connect(t, lane, "ann"), connect(t, lane, "ben")
	for turn := range 5 {
		got, begun := 0, time.Now()
		for correlation := 0; correlation < 12; correlation++ {
			if err := ann.Submit(offer("ben"), SubmitOptions{Correlation: uint64(correlation), TellFailed: true}); err != nil {
				t.Fatal(err)
			}
			switch event := next(t, lane); {
			case event.Kind == EventMessage:
				got++
			case event.Kind != EventUndelivered || event.Reason != ReasonCreditExhausted:
				t.Fatalf("%+v", event)
			case turn > 0 && got == 0 && time.Since(begun) < 20*time.Second:
				// The worker of ben has not seen the acknowledgement yet, which has all of the credit.
				correlation--
				time.Sleep(time.Millisecond)
			}
		}
		if got != 10 {
			t.Fatal(turn, got)
		}
		ben.Acknowledge(10, 10*len(offer("ben")))
		lane.Flush()
	}
}

// A client that is out of credit is to be closed once, and its successor has its own credit.
func TestLaneCreditClose(t *testing.T) {
	router := startTestRouter(t, Config{"credit_messages": "5"})
	lane := openRouterLane(t, router)
	ann := connect(t, lane, "ann")
	for range 20 {
		ben := connect(t, lane, "ben")
		for range 8 {
			if err := ann.Submit(offer("ben"), SubmitOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		closes, messages := 0, 0
		for closed := false; !closed; {
			event := next(t, lane)
			if event.Client != ben {
				t.Fatalf("%+v", event)
			}
			switch event.Kind {
			case EventMessage:
				messages++
			case EventClose:
				if closes++; event.Reason != ReasonCreditExhausted {
					t.Errorf("%+v", event)
				}
				ben.Acknowledge(1000, 1<<30) // A forged amount reaches nobody else.
				if err := ben.Disconnect(); err != nil {
					t.Fatal(err)
				}
			case EventClosed:
				closed = true
			}
		}
		if closes != 1 || messages != 5 {
			t.Error(closes, messages)
		}
	}
}

// 100 goroutines on shared lanes; every client's messages arrive in the order of their submission.
func TestLaneManyGoroutines(t *testing.T) {
	const goroutines = 100
	rounds := 500
	if testing.Short() || raceBuild {
		rounds = 100
	}
	// The pushers do not wait for the pollers, so everything must fit the backlogs and the payloads: what does not is given up.
	router := startTestRouter(t, Config{
		"max_clients": "300", "credit_messages": "60000", "credit_bytes": "100000000", "backlog_bytes": "67108864",
		"payloads": "65536", "payload_bytes": "1000000000",
	})
	lanes := []*Lane{openRouterLane(t, router), openRouterLane(t, router)}
	var clients []*Client
	for at := range goroutines {
		clients = append(clients, connect(t, lanes[at%2], fmt.Sprint("c", at)))
	}
	var pushers, pollers sync.WaitGroup
	left := atomic.Int64{}
	left.Store(goroutines * int64(rounds))
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()
	for at, c := range clients {
		pushers.Add(1)
		go func() {
			defer pushers.Done()
			to := clients[(at*7+1)%goroutines]
			for round := 0; round < rounds; {
				length := rand.IntN(300)
				if rand.IntN(100) == 0 {
					length = 40000
				}
				err := c.Submit(offerOf(to.Name(), length), SubmitOptions{Correlation: uint64(round)})
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
	for _, lane := range lanes {
		pollers.Add(1)
		go func() {
			defer pollers.Done()
			expected := map[ClientID]uint64{}
			for event := range lane.Events(ctx) {
				if event.Kind != EventMessage || event.Correlation != expected[event.Sender] {
					t.Errorf("%+v: expected %d", event, expected[event.Sender])
					cancel()
					return
				}
				expected[event.Sender]++
				event.Client.Acknowledge(1, len(event.Message))
				if left.Add(-1) == 0 {
					cancel()
				}
			}
		}()
	}
	pushers.Wait()
	pollers.Wait()
	if left.Load() != 0 {
		t.Error(left.Load(), "have not come")
	}
}

// Close races with every call of a lane; conservation holds afterwards.
func TestLaneCloseRaces(t *testing.T) {
	rounds := 200
	if testing.Short() || raceBuild {
		rounds = 40
	}
	router := startTestRouter(t, Config{"max_clients": "100", "ring_bytes": "8192"})
	for range rounds {
		lane, err := router.OpenLane()
		if err != nil {
			t.Fatal(err)
		}
		closeRace(t, lane)
	}
	// Every slot and every name is free again.
	lane, connected := openRouterLane(t, router), 0
	await(t, "100 clients", func() bool {
		_, err := lane.Connect(fmt.Sprint("c", connected), "generic", ConnectOptions{})
		if err == nil {
			connected++
		} else if !errors.Is(err, ErrLimit) && !errors.Is(err, ErrNameTaken) {
			t.Fatal(err)
		}
		return connected == 100
	})
}

// The router stops while clients are connected and messages are on the way.
func TestLaneStopRaces(t *testing.T) {
	rounds := 50
	if testing.Short() || raceBuild {
		rounds = 10
	}
	for range rounds {
		router, err := Start(Config{"pin": "off", "workers": "2", "ring_bytes": "8192", "max_clients": "100"})
		if err != nil {
			t.Fatal(err)
		}
		lane, err := router.OpenLane()
		if err != nil {
			t.Fatal(err)
		}
		ann, ben := connect(t, lane, "ann"), connect(t, lane, "ben")
		done := make(chan int)
		go func() {
			pushed := 0
			for {
				err := ann.Submit(offer("ben"), SubmitOptions{})
				if errors.Is(err, ErrClosed) || errors.Is(err, ErrStale) {
					break
				}
				if err == nil {
					pushed++
				} else if !errors.Is(err, ErrFull) {
					t.Error(err)
					break
				}
				runtime.Gosched()
			}
			done <- pushed
		}()
		closed := make(chan map[*Client]bool)
		go func() {
			ends := map[*Client]bool{}
			for event := range lane.Events(context.Background()) {
				switch event.Kind {
				case EventMessage:
					event.Client.Acknowledge(1, len(event.Message))
				case EventClosed:
					ends[event.Client] = true
				}
			}
			if !errors.Is(lane.Err(), ErrClosed) {
				t.Error(lane.Err())
			}
			closed <- ends
		}()
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		if err := router.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		select {
		case ends := <-closed:
			if !ends[ann] || !ends[ben] {
				t.Error("no last event", ends)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the loop has not ended")
		}
		<-done
		if err := lane.Close(); err != nil {
			t.Error(err)
		}
		conserved(t, router)
		if err := router.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Contexts end waits at random moments while messages come and go.
func TestLaneCancelledWaits(t *testing.T) {
	router := startTestRouter(t, nil)
	lane := openRouterLane(t, router)
	ann, ben := connect(t, lane, "ann"), connect(t, lane, "ben")
	sent, got := 0, 0
	for turn := range 3000 {
		if turn%3 == 0 {
			if err := ann.Submit(offer("ben"), SubmitOptions{}); err != nil {
				t.Fatal(err)
			}
			sent++
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(100))*time.Microsecond)
		for event := range lane.Events(ctx) {
			if event.Client != ben {
				t.Errorf("%+v", event)
			}
			ben.Acknowledge(1, len(event.Message))
			got++
		}
		if err := lane.Err(); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		cancel()
	}
	for ; got < sent; got++ {
		if event := next(t, lane); event.Client != ben {
			t.Errorf("%+v", event)
		}
		ben.Acknowledge(1, 1)
	}
}

// A flood of one client leaves room for the others, and its acknowledgements and ends pass.
func TestLaneFlood(t *testing.T) {
	router := startTestRouter(t, Config{"workers": "1", "ring_bytes": "16384", "credit_messages": "60000"})
	lane := openRouterLane(t, router)
	flood, calm, ben := connect(t, lane, "flood"), connect(t, lane, "calm"), connect(t, lane, "ben")
	var stop atomic.Bool
	var flooding sync.WaitGroup
	for range 2 {
		flooding.Add(1)
		go func() {
			defer flooding.Done()
			for !stop.Load() {
				_ = flood.Submit([]byte(`{"type":"keep"}`), SubmitOptions{})
				runtime.Gosched()
			}
		}()
	}
	full := 0
	for round := range 2000 {
		for {
			err := calm.Submit(offer("ben"), SubmitOptions{Correlation: uint64(round)})
			if err == nil {
				break
			}
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			full++
			runtime.Gosched()
		}
		event := next(t, lane)
		if event.Client != ben || event.Correlation != uint64(round) {
			t.Fatalf("%+v", event)
		}
		ben.Acknowledge(1, len(event.Message))
	}
	if err := calm.Disconnect(); err != nil {
		t.Fatal(err)
	}
	if event := next(t, lane); event.Kind != EventClosed || event.Client != calm {
		t.Errorf("%+v", event)
	}
	stop.Store(true)
	flooding.Wait()
	if full > 0 {
		t.Errorf("the calm client was refused %d times", full)
	}
}

// What a host must not write: the worker finds it, counts it, closes the clients, and lives on.
func TestLaneForgedRecords(t *testing.T) {
	for name, forge := range map[string]func(p *pair, ann *Client){
		"call":             func(p *pair, ann *Client) { forgeIngress(p, 64, 1, 1, uint64(ann.id)) },
		"kind":             func(p *pair, ann *Client) { forgeIngress(p, 64, 99, 0, 0) },
		"name":             func(p *pair, ann *Client) { forgeIngress(p, 64, 3, 0, 0) },
		"short message":    func(p *pair, ann *Client) { forgeIngress(p, 55, 1, 0, 0) },
		"short disconnect": func(p *pair, ann *Client) { forgeIngress(p, 15, 2, 0, 0) },
		"entries":          func(p *pair, ann *Client) { forgeIngress(p, 40, 6, 0, 2) },
		"many entries":     func(p *pair, ann *Client) { forgeIngress(p, 40, 6, 0, 1<<32-1) },
		"flags":            func(p *pair, ann *Client) { forgeIngress(p, 16, 2, 8, uint64(ann.id)) },
		"tail": func(p *pair, ann *Client) {
			_, tail := p.to.Words()
			atomic.StoreUint64(tail, 1<<40)
			p.lane.wakeWorkers()
		},
		"odd tail": func(p *pair, ann *Client) {
			_, tail := p.to.Words()
			atomic.StoreUint64(tail, 7)
			p.lane.wakeWorkers()
		},
	} {
		t.Run(name, func(t *testing.T) {
			router := startTestRouter(t, Config{"workers": "1", "ring_bytes": "8192"})
			bad, good := openRouterLane(t, router), openRouterLane(t, router)
			ann, ben := connect(t, bad, "ann"), connect(t, good, "ben")
			forge(ann.home, ann)
			await(t, "the ring is corrupt", func() bool { return ann.home.to.Corrupt() })
			if err := ann.Submit(offer("ben"), SubmitOptions{}); err == nil {
				t.Error("accepted")
			}
			if err := ben.Submit(offer("ben"), SubmitOptions{}); err != nil {
				t.Fatal(err)
			}
			if event := next(t, good); event.Client != ben {
				t.Errorf("%+v", event)
			}
			closed := false
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			for event := range bad.Events(ctx) {
				if closed = event.Kind == EventClose || event.Kind == EventClosed; closed {
					break
				}
			}
			if !closed {
				t.Error("the client was not closed:", bad.Err())
			}
		})
	}
}

// Records of clients that are none of the lane's are refused, and hit nobody.
func TestLaneForgedClients(t *testing.T) {
	router := startTestRouter(t, Config{"workers": "2"})
	lane, other := openRouterLane(t, router), openRouterLane(t, router)
	ann, ben := connect(t, lane, "ann"), connect(t, lane, "ben")
	foreign := connect(t, other, "foreign")
	before := figure(t, router, "corelane_messages_refused_total", "")
	for _, id := range []uint64{0, 1 << 32, uint64(ann.id) + 1<<32, uint64(foreign.id), ^uint64(0), uint64(uint32(ann.id))} {
		for at := range lane.pairs {
			p := &lane.pairs[at]
			forgeIngress(p, 60, 1, 0, id)
			forgeIngress(p, 16, 2, 0, id)
			p.enter()
			place, err := p.reserved(40, 6, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			*(*[4]uint64)(unsafe.Add(place, 8)) = [4]uint64{1, id, ^uint64(0), 5}
			p.commit(&p.others)
			p.leave()
		}
	}
	await(t, "refusals", func() bool { return figure(t, router, "corelane_messages_refused_total", "")-before >= 10 })
	if !ann.Connected() || !foreign.Connected() {
		t.Error("closed")
	}
	if err := ann.Submit(offer("ben"), SubmitOptions{}); err != nil {
		t.Fatal(err)
	}
	if event := next(t, lane); event.Client != ben || event.Kind != EventMessage {
		t.Errorf("%+v", event)
	}
	if err := foreign.Submit(offer("foreign"), SubmitOptions{}); err != nil {
		t.Fatal(err)
	}
	if event := next(t, other); event.Client != foreign || event.Kind != EventMessage {
		t.Errorf("%+v", event)
	}
}

// forgeIngress pushes a record that no correct host writes. Its first word after the prefix has this value.
func forgeIngress(p *pair, length int, kind, flags uint16, first uint64) {
	p.enter()
	defer p.leave()
	place, err := p.reserved(length, kind, flags, 0)
	if err != nil {
		panic(err)
	}
	clear(unsafe.Slice((*byte)(unsafe.Add(place, 8)), length-8))
	if length >= 16 {
		*(*uint64)(unsafe.Add(place, 8)) = first
	}
	p.commit(&p.others)
}

// wakeWorkers makes the workers look at the rings.
func (l *Lane) wakeWorkers() {
	for at := range l.pairs {
		l.pairs[at].wakeWorker()
	}
}

func (p *pair) wakeWorker() {
	p.enter()
	p.to.WakeConsumer()
	p.lock.Unlock()
}

// An impossible head in the ring from a worker: the worker finds it and gives the ring up; the others live on.
func TestLaneForgedHead(t *testing.T) {
	router := startTestRouter(t, Config{"workers": "1", "ring_bytes": "8192"})
	bad, good := openRouterLane(t, router), openRouterLane(t, router)
	ann, ben := connect(t, bad, "ann"), connect(t, good, "ben")
	head, _ := ann.home.from.Words()
	atomic.StoreUint64(head, 1<<40)
	for range 200 {
		if err := ann.Submit(offer("ann"), SubmitOptions{}); err != nil {
			break
		}
	}
	if err := ben.Submit(offer("ben"), SubmitOptions{}); err != nil {
		t.Fatal(err)
	}
	if event := next(t, good); event.Client != ben {
		t.Errorf("%+v", event)
	}
}

// Opening and closing leaves nothing behind: no goroutine, no thread, no descriptor, no memory.
func TestLaneLeaks(t *testing.T) {
	rounds := 1000
	if testing.Short() || raceBuild {
		rounds = 100
	}
	round := func() {
		router, err := Start(Config{"pin": "off", "workers": "1", "max_clients": "16", "max_ports": "2", "ring_bytes": "8192"})
		if err != nil {
			t.Fatal(err)
		}
		lane, err := router.OpenLane()
		if err != nil {
			t.Fatal(err)
		}
		ann := connect(t, lane, "ann")
		if err := ann.Submit(offerOf("ann", 3000), SubmitOptions{}); err != nil {
			t.Fatal(err)
		}
		event := next(t, lane)
		ann.Acknowledge(1, len(event.Message))
		if err := lane.Close(); err != nil {
			t.Fatal(err)
		}
		if err := router.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		round()
	}
	before := resources(t)
	for range rounds {
		round()
	}
	var after [4]int
	for range 100 {
		after = resources(t)
		if after[0] <= before[0]+2 && after[1] <= before[1]+4 && after[2] <= before[2] {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("goroutines, threads, descriptors, KiB resident: %v, after %d rounds %v", before, rounds, after)
	if after[0] > before[0]+2 || after[1] > before[1]+4 || after[2] > before[2] || (!raceBuild && after[3] > before[3]+20_000) {
		t.Errorf("%v, then %v", before, after)
	}
}

// Served routers that come and go, with messages on their way, leave nothing behind.
func TestServeLeaks(t *testing.T) {
	rounds := 300
	if testing.Short() || raceBuild {
		rounds = 40
	}
	round := func() {
		served, err := Serve(context.Background(), Config{"pin": "off", "workers": "2", "max_clients": "16", "max_ports": "2", "ring_bytes": "8192"},
			Handlers{"save": func(_ context.Context, task *Task) error { task.Send(0, task.Message); return nil }}, WithProtocol(gameProtocol))
		if err != nil {
			t.Fatal(err)
		}
		lane, err := served.OpenLane()
		if err != nil {
			t.Fatal(err)
		}
		ann := player(t, lane, "ann")
		for range 5 { // Only the first is waited for.
			if err := ann.Submit([]byte(`{"kind":"save"}`), SubmitOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		next(t, lane)
		if err := lane.Close(); err != nil {
			t.Fatal(err)
		}
		if err := served.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		round()
	}
	before := resources(t)
	for range rounds {
		round()
	}
	var after [4]int
	for range 100 {
		after = resources(t)
		if after[0] <= before[0]+2 && after[1] <= before[1]+4 && after[2] <= before[2] {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if after[0] > before[0]+2 || after[1] > before[1]+4 || after[2] > before[2] || (!raceBuild && after[3] > before[3]+20_000) {
		t.Errorf("%v, after %d rounds %v", before, rounds, after)
	}
}

func resources(t *testing.T) (found [4]int) {
	runtime.GC()
	found[0] = runtime.NumGoroutine()
	for at, folder := range []string{"/proc/self/task", "/proc/self/fd"} {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Skip("no /proc")
		}
		found[1+at] = len(entries)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc")
	}
	for _, line := range strings.Split(string(status), "\n") {
		if text, found1 := strings.CutPrefix(line, "VmRSS:"); found1 {
			found[3], _ = strconv.Atoi(strings.Fields(text)[0])
		}
	}
	return found
}

func TestLaneNoAllocation(t *testing.T) {
	router := startTestRouter(t, Config{"workers": "1"})
	noAllocation(t, openRouterLane(t, router))
}

// Torture: clients send each other checksummed messages of random sizes. Both sides sleep, and the rings fill all the time.
// At the end the router's figures are compared with the counts of this test. RECORDS says how many records go each way.
const (
	tortureClients = 5
	// More than the rings hold, less than a client's credit.
	mostOnTheWay = 800
	tortureHead  = `{"type":"offer","to":"client-?","number":"0123456789abcdef","sum":"0123456789abcdef","data":"`
	tortureTail  = `"}`
)

var (
	toAt, numberAt, sumAt = strings.Index(tortureHead, "?"), strings.Index(tortureHead, "0123"), strings.LastIndex(tortureHead, "0123")
	numberMark, sumMark   = []byte(`"number":"`), []byte(`"sum":"`)
	dataMark              = []byte(`"data":"`)
)

type randomState uint64

func (r *randomState) next() uint64 {
	*r ^= *r >> 12
	*r ^= *r << 25
	*r ^= *r >> 27
	return uint64(*r) * 0x2545f4914f6cdd1d
}

func putHex(place []byte, value uint64) {
	for at := 15; at >= 0; at-- {
		place[at] = "0123456789abcdef"[value&15]
		value >>= 4
	}
}

func getHex(place []byte) (value uint64) {
	for _, digit := range place[:16] {
		if digit <= '9' {
			value = value<<4 | uint64(digit-'0')
		} else {
			value = value<<4 | uint64(digit-'a'+10)
		}
	}
	return value
}

func sumOf(number uint64, data []byte) uint64 {
	sum := number*0xd1342543de82ef95 + uint64(len(data))
	for ; len(data) >= 8; data = data[8:] {
		sum = (sum ^ binary.NativeEndian.Uint64(data)) * 0x100000001b3
	}
	for _, one := range data {
		sum = (sum ^ uint64(one)) * 0x100000001b3
	}
	return sum
}

// fillTorture writes a message with this many bytes of data. All bytes are determined by number and seed.
func fillTorture(place []byte, length, to int, number, seed uint64) {
	copy(place, tortureHead)
	data := place[len(tortureHead) : len(tortureHead)+length]
	for at := range data {
		data[at] = 'a' + byte((seed>>59)%26)
		seed = seed*0x9e3779b97f4a7c15 + 1
	}
	copy(place[len(tortureHead)+length:], tortureTail)
	place[toAt] = '0' + byte(to)
	putHex(place[numberAt:], number)
	putHex(place[sumAt:], sumOf(number, data))
}

// checkTorture computes the checksum over the data that arrived.
func checkTorture(text []byte) (number uint64, whole bool) {
	n, s, d := bytes.Index(text, numberMark), bytes.Index(text, sumMark), bytes.Index(text, dataMark)
	if n < 0 || s < 0 || d < 0 {
		return 0, false
	}
	data := text[d+len(dataMark):]
	end := bytes.IndexByte(data, '"')
	number = getHex(text[n+len(numberMark):])
	return number, end >= 0 && getHex(text[s+len(sumMark):]) == sumOf(number, data[:end])
}

func tortureRecords(t *testing.T) uint64 {
	if text := os.Getenv("RECORDS"); text != "" {
		value, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	if testing.Short() || raceBuild {
		return 100_000
	}
	return 10_000_000
}

func TestLaneTorture(t *testing.T) {
	records := tortureRecords(t)
	for _, workers := range []string{"1", "2"} {
		t.Run(workers+" workers", func(t *testing.T) {
			router := startTestRouter(t, Config{
				"workers": workers, "max_ports": "1", "max_clients": "10", "max_message": "1000", "ring_bytes": "8192",
			})
			lane := openRouterLane(t, router)
			if workers == "2" && os.Getenv("RECORDS") == "" {
				records /= 4 // RECORDS is for both.
			}
			before := resources(t)
			torture(t, router, lane, records)
			// The torture leaves nothing behind: no goroutine, thread or descriptor, and no memory for each record.
			after := resources(t)
			if after[0] > before[0]+2 || after[1] > before[1]+8 || after[2] > before[2] || (!raceBuild && after[3] > before[3]+30_000) {
				t.Errorf("goroutines, threads, descriptors, KiB resident: %v before, %v after", before, after)
			}
		})
	}
}

func torture(t *testing.T, router *Router, lane *Lane, records uint64) {
	var clients [tortureClients]*Client
	for at := range clients {
		clients[at] = connect(t, lane, fmt.Sprint("client-", at))
	}
	var sent, received, full, sleeps uint64
	var sentBy, expected [tortureClients]uint64
	var messages, size [tortureClients]int
	place, buffer := make([]byte, 1000), make([]Event, 64)
	state := randomState(0x9e3779b97f4a7c15)
	start := time.Now()
	for received < records {
		stalled, value := false, state.next()
		for burst := 1 + (value>>40)%64; sent < records && sent-received < mostOnTheWay && burst > 0; burst-- {
			data, from := int((value>>8)%120), int(value>>60)%tortureClients
			if value&0x1f == 0 {
				data = int((value >> 8) % 800)
			}
			number := sentBy[from]*tortureClients + uint64(from)
			fillTorture(place, data, (from+1)%tortureClients, number, value)
			err := clients[from].Submit(place[:len(tortureHead)+len(tortureTail)+data], SubmitOptions{Correlation: sentBy[from]})
			if errors.Is(err, ErrFull) {
				stalled = true
				full++
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			sentBy[from]++
			sent++
			value = state.next()
		}
		n, err := lane.Poll(buffer)
		if err != nil {
			t.Fatal(err)
		}
		for at := range n {
			event := &buffer[at]
			to := int(event.Client.name[len("client-")] - '0')
			from := (to + tortureClients - 1) % tortureClients
			number, whole := checkTorture(event.Message)
			if event.Kind != EventMessage || event.Sender != clients[from].ID() || !whole || event.Correlation != expected[from] ||
				number != expected[from]*tortureClients+uint64(from) {
				t.Fatalf("%+v for %d, number %d (whole: %v), expected %d of %d: not as it was sent: %s", event, to, number, whole,
					expected[from], from, event.Message)
			}
			expected[from]++
			messages[to]++
			size[to] += len(event.Message)
			received++
		}
		for at := range messages {
			if messages[at] > 100 {
				clients[at].Acknowledge(messages[at], size[at])
				messages[at], size[at] = 0, 0
			}
		}
		if n > 0 || !(stalled || sent == records || sent-received >= mostOnTheWay) {
			continue
		}
		if value&3 == 0 { // Varies this side's timing, so that the two sides do not run in lockstep.
			for turns := (value >> 8) & 0x7ff; turns > 0; turns-- {
				atomic.AddUint64(&spun, 1)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		sleeps++
		if err := lane.Wait(ctx); err != nil {
			t.Fatalf("no wake came: %v; %s", err, lane.describe())
		}
		cancel()
	}
	took := time.Since(start)
	for at, c := range clients {
		c.Acknowledge(messages[at], size[at])
		if err := c.Disconnect(); err != nil {
			t.Fatal(err)
		}
	}
	for range clients {
		if event := next(t, lane); event.Kind != EventClosed {
			t.Fatalf("%+v", event)
		}
	}
	_, _ = lane.Poll(buffer)
	conserved(t, router)
	for what, is := range map[string]bool{
		"submitted":  figure(t, router, "corelane_messages_submitted_total", "") == records+figure(t, router, "corelane_messages_refused_total", "ring_full"),
		"delivered":  figure(t, router, "corelane_messages_delivered_total", "offer") == records,
		"deliveries": figure(t, router, "corelane_deliveries_total", "") == records+tortureClients,
		"in flight":  figure(t, router, "corelane_messages_in_flight", "") == 0,
		"queued":     figure(t, router, "corelane_deliveries_queued", "") == 0,
		"sleeping":   records < 100_000 || (sleeps > 0 && full > 0 && figure(t, router, "corelane_worker_parks_total", "") > 0),
	} {
		if !is {
			t.Error(what, figure(t, router, "corelane_messages_submitted_total", ""),
				figure(t, router, "corelane_messages_refused_total", ""), figure(t, router, "corelane_deliveries_total", ""))
		}
	}
	t.Logf("%d records each way, full %d, sleeps here %d, of the workers %d, %.1f s", records, full, sleeps,
		figure(t, router, "corelane_worker_parks_total", ""), took.Seconds())
}

var spun uint64

func (l *Lane) describe() string {
	var text strings.Builder
	fmt.Fprintf(&text, "lane word %d", atomic.LoadUint32(l.wake.Word))
	for at := range l.pairs {
		p := &l.pairs[at]
		toHead, toTail := p.to.Positions()
		fromHead, fromTail := p.from.Positions()
		fmt.Fprintf(&text, "; worker %d: to head %d tail %d closed %v corrupt %v stalled %v; from head %d tail %d closed %v", at, toHead,
			toTail, p.to.Closed(), p.to.Corrupt(), p.stalled, fromHead, fromTail, p.from.Closed())
	}
	return text.String()
}

// SubmitWait against the library: messages that cause no event, while the poller sleeps.
func TestLaneSubmitWait(t *testing.T) {
	router := startTestRouter(t, Config{"ring_bytes": "8192", "workers": "1"})
	lane := openRouterLane(t, router)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	ended := make(chan bool)
	go func() {
		for range lane.Events(ctx) {
		}
		close(ended)
	}()
	const goroutines, rounds = 10, 2000
	var pushers sync.WaitGroup
	for at := range goroutines {
		c := connect(t, lane, fmt.Sprint("w", at))
		pushers.Add(1)
		go func() {
			defer pushers.Done()
			for range rounds {
				if err := c.SubmitWait(ctx, offerOf("nobody", 100), SubmitOptions{}); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	pushers.Wait()
	await(t, "all failed", func() bool { return figure(t, router, "corelane_messages_failed_total", "") == goroutines*rounds })
	cancel()
	<-ended
}
