package signaling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corelane "github.com/corelane/corelane/go"
)

// standard is a base router that counts, and can be told what to do.
type standard struct {
	calls     atomic.Int64
	delivered atomic.Int64
	answer    func(message []byte, clientID string) (*RouteResult, error)
}

func (s *standard) RouteMessage(message []byte, clientID string) (*RouteResult, error) {
	s.calls.Add(1)
	if s.answer != nil {
		return s.answer(message, clientID)
	}
	return &RouteResult{Success: true, MessageType: "base"}, nil
}

func (s *standard) Deliver(string, []byte) { s.delivered.Add(1) }

// routing returns a router that runs until the end of the test.
func routing(t *testing.T, base BaseRouter, config *ConcurrentRouterConfig, monitor *PerformanceMonitorConfig) *ConcurrentMessageRouter {
	t.Helper()
	if config == nil {
		config = &ConcurrentRouterConfig{WorkerCount: 2, EnableMetrics: true}
	}
	if monitor == nil {
		monitor = quick()
	}
	r := NewConcurrentMessageRouter(base, config, started(t, monitor))
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	return r
}

func TestResultsOfMessages(t *testing.T) {
	base := &standard{}
	r := routing(t, base, nil, nil)
	got := make(chan string, 10)
	if err := r.Connect("ben", "shop", func(message []byte) { got <- string(message) }); err != nil {
		t.Fatal(err)
	}
	result, err := r.RouteMessage([]byte(`{"type":"offer","to":"ben","payload":1}`), "ann")
	if err != nil || !result.Success || result.Fallback || result.ProcessingTime <= 0 {
		t.Fatalf("%+v %v", result, err)
	}
	equal(t, "delivery", <-got, `{"from":"ann","type":"offer","to":"ben","payload":1}`)
	if result, err := r.RouteMessage([]byte(`{"type":"ping"}`), "ann"); err != nil || !result.Success {
		t.Fatalf("%+v %v", result, err)
	}
	large := `{"type":"offer","to":"ben","payload":"` + strings.Repeat("x", 60_000) + `"}`
	if _, err := r.RouteMessage([]byte(large), "ann"); err != nil {
		t.Fatal(err)
	}
	equal(t, "large", len(<-got), len(large)+len(`"from":"ann",`))
	for message, reason := range map[string]corelane.Reason{
		`{"type":"offer","to":"nobody"}`: corelane.ReasonUnknownRecipient,
		`{"type":"offer"}`:               corelane.ReasonNoRecipient,
		`{"to":"ben"}`:                   corelane.ReasonMissingType,
		`{"type":"offer"`:                corelane.ReasonNotJSON,
		`[]`:                             corelane.ReasonNotAnObject,
	} {
		result, err := r.RouteMessage([]byte(message), "ann")
		var failed *RouteError
		if !errors.As(err, &failed) || failed.Reason != reason || result.Success || result.Reason != reason.String() {
			t.Errorf("%s: %+v %v", message, result, err)
		}
	}
	if _, err := r.RouteMessage(make([]byte, 1<<20), "ann"); !errors.Is(err, corelane.ErrTooLarge) {
		t.Error(err)
	}
	if _, err := r.RouteMessage([]byte(`{"type":"ping"}`), strings.Repeat("x", 65)); !errors.Is(err, corelane.ErrInvalid) {
		t.Error(err)
	}
	equal(t, "calls of the base router", base.calls.Load(), 0)

	// Acknowledgements wait in the rings too, for some milliseconds.
	eventually(t, "the rings are empty", func() bool { return r.Monitor().GetStats().Routing.QueuedMessages == 0 })
	s := r.Monitor().GetStats()
	equal(t, "messages", s.Message.TotalMessages, 8)
	equal(t, "failed", s.Message.FailedMessages, 5)
	equal(t, "routed", s.Routing.TotalRoutedMessages, 8)
	equal(t, "routing errors", s.Routing.RoutingErrors, 5)
	equal(t, "in flight", s.Routing.ConcurrentMessages, 0)
	equal(t, "queued", s.Routing.QueuedMessages, 0)
	if s.Routing.AverageRoutingTime <= 0 || s.Routing.MaxConcurrency < 1 || s.Routing.MaxQueueDepth < 1 ||
		s.Routing.ActiveWorkers+s.Routing.IdleWorkers != 2 || len(s.Routing.Workers) != 2 {
		t.Errorf("%+v", s.Routing)
	}
	equal(t, "offers", s.Message.MessageTypeStats["offer"].Count, 4)
	equal(t, "pings", s.Message.MessageTypeStats["ping"].Count, 1)
	equal(t, "queue waits", s.Message.QueueWait.Count, 8)
	equal(t, "connections", s.Connection.ActiveConnections, 2)
	eventually(t, "the writes are timed", func() bool {
		m := r.Monitor().GetMessageStats()
		return m.Write.Count > 0 && m.BytesSent > 60_000
	})
}

// TestEveryCallerGetsItsOwnResult mixes messages that succeed and fail, from many goroutines and for clients in common.
func TestEveryCallerGetsItsOwnResult(t *testing.T) {
	monitor := quick()
	monitor.MaxConcurrentMessages = -1
	base := &standard{}
	r := routing(t, base, &ConcurrentRouterConfig{WorkerCount: 3, EnableMetrics: true, QueueSize: 10_000}, monitor)
	var received atomic.Int64
	for i := range 8 {
		if err := r.Connect(fmt.Sprint("c", i), "", func([]byte) { received.Add(1) }); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	var succeeded, unknown, wrong atomic.Int64
	const goroutines, each = 32, 300
	for g := range goroutines {
		all.Add(1)
		go func() {
			defer all.Done()
			random := rand.New(rand.NewPCG(1, uint64(g)))
			for range each {
				client := fmt.Sprint("c", random.IntN(8))
				switch random.IntN(4) {
				case 0:
					_, err := r.RouteMessage([]byte(`{"type":"offer","to":"nobody"}`), client)
					var failed *RouteError
					if !errors.As(err, &failed) || failed.Reason != corelane.ReasonUnknownRecipient {
						t.Errorf("a message to nobody: %v", err)
					}
					unknown.Add(1)
				case 1:
					_, err := r.RouteMessage([]byte(`{"type":1}`), client)
					if err == nil {
						t.Error("a wrong message has succeeded")
					}
					wrong.Add(1)
				default:
					to := fmt.Sprint("c", random.IntN(8))
					if _, err := r.RouteMessage([]byte(`{"type":"offer","to":"`+to+`"}`), client); err != nil {
						t.Error(err)
					}
					succeeded.Add(1)
				}
			}
		}()
	}
	all.Wait()
	s := r.Monitor().GetStats()
	equal(t, "succeeded", s.Message.SuccessfulMessages, uint64(succeeded.Load()))
	equal(t, "failed", s.Message.FailedMessages, uint64(unknown.Load()+wrong.Load()))
	equal(t, "unknown recipients", s.Message.FailureReasons["unknown_recipient"], uint64(unknown.Load()))
	eventually(t, "all deliveries", func() bool { return received.Load() == succeeded.Load() })
	equal(t, "calls of the base router", base.calls.Load(), 0)
	equal(t, "open calls", r.running.Load().open.Load(), 0)
}

func TestTheBaseRouterHandlesWhatTheWorkersCannot(t *testing.T) {
	t.Run("disabled", func(t *testing.T) {
		monitor := quick()
		monitor.EnableConcurrentRouting = false
		base := &standard{}
		r := routing(t, base, nil, monitor)
		result, err := r.RouteMessage([]byte(`{}`), "ann")
		if err != nil || !result.Fallback || result.FallbackReason != "disabled" || result.ClientID != "ann" || base.calls.Load() != 1 {
			t.Fatalf("%+v %v", result, err)
		}
		s := r.Monitor().GetStats()
		equal(t, "messages", s.Message.MessageTypeStats["base"].Count, 1)
		equal(t, "fallbacks", s.Routing.Fallbacks["disabled"], 1)
		if err := NewConcurrentMessageRouter(nil, nil, r.Monitor()).Start(); err == nil {
			t.Fatal("without a base router it starts")
		}
	})
	t.Run("not running", func(t *testing.T) {
		base := &standard{}
		r := NewConcurrentMessageRouter(base, nil, started(t, quick()))
		if result, err := r.RouteMessage([]byte(`{}`), "ann"); err != nil || result.FallbackReason != "not_running" {
			t.Fatalf("%+v %v", result, err)
		}
		if err := r.SubmitMessage([]byte(`{}`), "ann"); !errors.Is(err, ErrStopped) {
			t.Fatal(err)
		}
		none := NewConcurrentMessageRouter(nil, nil, r.Monitor())
		if _, err := none.RouteMessage([]byte(`{}`), "ann"); !errors.Is(err, ErrStopped) {
			t.Fatal(err)
		}
	})
	t.Run("stopped", func(t *testing.T) {
		base := &standard{}
		r := routing(t, base, nil, nil)
		if _, err := r.RouteMessage([]byte(`{"type":"ping"}`), "ann"); err != nil {
			t.Fatal(err)
		}
		r.Stop()
		r.Stop()
		if result, err := r.RouteMessage([]byte(`{"type":"ping"}`), "ann"); err != nil || result.FallbackReason != "not_running" {
			t.Fatalf("%+v %v", result, err)
		}
		s := r.Monitor().GetStats()
		equal(t, "messages", s.Message.TotalMessages, 2)
		equal(t, "connections", s.Connection.ActiveConnections, 0)
	})
	t.Run("too many callers", func(t *testing.T) {
		monitor := quick()
		monitor.MaxConcurrentMessages = 1
		base := &standard{}
		r := routing(t, base, nil, monitor)
		r.running.Load().open.Add(1) // A caller that waits.
		result, err := r.RouteMessage([]byte(`{"type":"ping"}`), "ann")
		r.running.Load().open.Add(-1)
		if err != nil || result.FallbackReason != "concurrency_limit" {
			t.Fatalf("%+v %v", result, err)
		}
	})
	t.Run("queue full", func(t *testing.T) {
		base := &standard{}
		config := &ConcurrentRouterConfig{WorkerCount: 1, QueueSize: 1, EnableMetrics: true}
		r := routing(t, base, config, nil)
		var full, other atomic.Int64
		var all sync.WaitGroup
		for g := range 8 {
			all.Add(1)
			go func() {
				defer all.Done()
				for range 500 {
					switch result, err := r.RouteMessage([]byte(`{"type":"ping"}`), fmt.Sprint("c", g)); {
					case err != nil:
						t.Error(err)
					case result.FallbackReason == "queue_full":
						full.Add(1)
					default:
						other.Add(1)
					}
				}
			}()
		}
		all.Wait()
		equal(t, "calls of the base router", base.calls.Load(), full.Load())
		s := r.Monitor().GetStats()
		equal(t, "fallbacks", s.Routing.Fallbacks["queue_full"], uint64(full.Load()))
		equal(t, "messages", s.Message.TotalMessages, uint64(full.Load()+other.Load()))
		if full.Load() == 0 {
			t.Log("the queue was never full")
		}
	})
}

func TestAPanickingBaseRouterAndSink(t *testing.T) {
	monitor := quick()
	monitor.EnableConcurrentRouting = false
	base := &standard{answer: func([]byte, string) (*RouteResult, error) { panic("base") }}
	r := routing(t, base, nil, monitor)
	result, err := r.RouteMessage([]byte(`{}`), "ann")
	if !errors.Is(err, ErrPanicked) || result.Success {
		t.Fatalf("%+v %v", result, err)
	}
	s := r.Monitor().GetRoutingStats()
	equal(t, "panics", s.FallbackPanics, 1)
	equal(t, "errors", s.FallbackErrors, 1)

	r = routing(t, nil, nil, nil)
	var calls atomic.Int64
	if err := r.Connect("ben", "", func([]byte) { calls.Add(1); panic("sink") }); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := r.RouteMessage([]byte(`{"type":"offer","to":"ben"}`), "ann"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "three panics are counted", func() bool {
		return calls.Load() == 3 && r.Monitor().GetRoutingStats().DeliveryPanics == 3
	})
}

func TestContextsEndAtRandom(t *testing.T) {
	r := routing(t, &standard{}, nil, nil)
	var all sync.WaitGroup
	for g := range 16 {
		all.Add(1)
		go func() {
			defer all.Done()
			random := rand.New(rand.NewPCG(2, uint64(g)))
			for range 300 {
				ctx, cancel := context.WithCancel(context.Background())
				switch random.IntN(3) {
				case 0:
					cancel()
				case 1:
					time.AfterFunc(time.Duration(random.IntN(100_000)), cancel)
				}
				result, err := r.RouteMessageContext(ctx, []byte(`{"type":"ping"}`), fmt.Sprint("c", g%4))
				if err == nil && !result.Success || err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("%+v %v", result, err)
				}
				cancel()
			}
		}()
	}
	all.Wait()
	eventually(t, "no call is left", func() bool { return r.running.Load().open.Load() == 0 })
	if _, err := r.RouteMessage([]byte(`{"type":"ping"}`), "c0"); err != nil {
		t.Fatal(err)
	}
}

// TestStopRacesWithEverything: every call returns, and every message is handled by a worker or by the base router, once.
func TestStopRacesWithEverything(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	for round := range rounds {
		base := &standard{}
		pm := NewPerformanceMonitor(quick())
		if err := pm.Start(); err != nil {
			t.Fatal(err)
		}
		r := NewConcurrentMessageRouter(base, &ConcurrentRouterConfig{WorkerCount: 2, EnableMetrics: true}, pm)
		if err := r.Start(); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		var done atomic.Int64
		for g := range 8 {
			all.Add(1)
			go func() {
				defer all.Done()
				for i := range 200 {
					name := fmt.Sprint("c", g)
					result, err := r.RouteMessage([]byte(`{"type":"offer","to":"c0"}`), name)
					var failed *RouteError // c0 may not be connected.
					if err != nil && !errors.As(err, &failed) {
						t.Errorf("%+v %v", result, err)
					}
					done.Add(1)
					if i%50 == 49 {
						r.Disconnect(name)
					}
				}
			}()
		}
		all.Add(2)
		go func() {
			defer all.Done()
			for range 20 {
				pm.GetStats()
				_ = pm.RecordConnectionEvent("connect", "x", "")
				_ = pm.RecordConnectionEvent("disconnect", "x", "")
			}
		}()
		go func() {
			defer all.Done()
			time.Sleep(time.Duration(round) * 200 * time.Microsecond)
			r.Stop()
			if round%4 == 0 {
				pm.Stop()
			}
		}()
		all.Wait()
		equal(t, "results", done.Load(), 1600)
		if round%4 != 0 {
			s := pm.GetStats()
			fallbacks := uint64(0)
			for _, count := range s.Routing.Fallbacks {
				fallbacks += count
			}
			equal(t, "calls of the base router", uint64(base.calls.Load()), fallbacks)
			if total := s.Message.TotalMessages; total != 1600 {
				t.Errorf("round %d: %d messages; fallbacks %v, refusals %v", round, total, s.Routing.Fallbacks, s.Routing.Refusals)
			}
		}
		pm.Stop()
	}
}

// TestEarlyRecordsAreKept: what was recorded and connected before the router is in the figures of both.
func TestEarlyRecordsAreKept(t *testing.T) {
	pm := started(t, quick())
	pm.RecordMessageProcessing("ann", "ping", 10*time.Millisecond, true)
	pm.RecordMessageProcessing("ann", "ping", 30*time.Millisecond, false)
	_ = pm.RecordConnectionEvent("connect", "ann", "shop")
	_ = pm.RecordCustomMetric(CustomMetrics{BusinessMetric1: 5})
	r := NewConcurrentMessageRouter(&standard{}, &ConcurrentRouterConfig{WorkerCount: 1, EnableMetrics: true}, pm)
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	defer r.Stop()
	if _, err := r.RouteMessage([]byte(`{"type":"ping"}`), "ann"); err != nil {
		t.Fatal(err)
	}
	pm.RecordMessageProcessing("ann", "ping", 20*time.Millisecond, true)
	s := pm.GetStats()
	equal(t, "pings", s.Message.MessageTypeStats["ping"].Count, 4)
	equal(t, "errors", s.Message.MessageTypeStats["ping"].ErrorCount, 1)
	equal(t, "maximum", s.Message.MaxLatency, 30*time.Millisecond)
	equal(t, "connections", s.Connection.ActiveConnections, 1)
	equal(t, "application", s.Connection.AppConnections["shop"].ActiveConnections, 1)
	if text, _ := pm.ExportToPrometheus(); !strings.Contains(text, "business_metric1 5\n") {
		t.Error("the custom metric is lost")
	}
	if err := pm.RecordConnectionEvent("disconnect", "ann", ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client has gone", func() bool { return pm.GetConnectionStats().ActiveConnections == 0 })
	if err := NewConcurrentMessageRouter(&standard{}, nil, pm).Start(); err == nil {
		t.Error("a second router has the same monitor")
	}
}

func TestSubmittedMessagesKeepTheirOrder(t *testing.T) {
	r := routing(t, nil, nil, nil)
	got := make(chan string, 2000)
	if err := r.Connect("ben", "", func(message []byte) { got <- string(message) }); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		message := []byte(fmt.Sprintf(`{"type":"candidate","to":"ben","id":%d}`, i))
		err := r.SubmitMessage(message, "ann")
		for errors.Is(err, corelane.ErrFull) {
			time.Sleep(50 * time.Microsecond)
			err = r.SubmitMessage(message, "ann")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		equal(t, "message", <-got, fmt.Sprintf(`{"from":"ann","type":"candidate","to":"ben","id":%d}`, i))
	}
}

// TestWhichReasonsGoToTheBaseRouter: exactly those for which the message is not to blame; of these, refused messages are in no
// figure yet.
func TestWhichReasonsGoToTheBaseRouter(t *testing.T) {
	for reason := corelane.ReasonNone; reason <= corelane.ReasonMoved; reason++ {
		falls, refused := false, false
		switch reason.String() {
		case "expired", "stopped", "stuck", "worker_lost":
			falls = true
		case "ring_full", "closed", "draining", "concurrency_limit", "payloads_full", "corrupt":
			falls, refused = true, true
		}
		equal(t, reason.String(), fallsBack(reason), falls)
		equal(t, reason.String()+" refused", isRefusal(reason), refused)
	}
}

// TestACallThatIsTooOldEnds: no worker ever handles the call's message, because there is none.
func TestACallThatIsTooOldEnds(t *testing.T) {
	r := routing(t, &standard{}, nil, nil)
	l := r.running.Load()
	c := l.calls.take()
	c.seen = time.Now().Add(-2 * l.limit)
	l.filed.Add(1)
	turn, _ := l.lane.Turn(0)
	l.files[0].calls = append(l.files[0].calls, filed{1 << 62, c})
	turn.End()
	l.lane.Wake()
	<-c.done
	if !errors.Is(c.err, ErrTimeout) || l.filed.Load() != 0 {
		t.Fatal(c.err, l.filed.Load())
	}
	l.calls.give(c)
	if _, err := r.RouteMessage([]byte(`{"type":"ping"}`), "ann"); err != nil {
		t.Fatal(err)
	}
}

// TestMaxQueueWaitTime: a message that its worker takes too late goes to the base router, and so does one that never gets to its
// worker. Both wait here because the test has the worker's turn, as a host's function has that blocks.
func TestMaxQueueWaitTime(t *testing.T) {
	config := DefaultConcurrentRouterConfig()
	config.WorkerCount, config.MaxQueueWaitTime = 1, 50*time.Millisecond
	base := &standard{}
	r := routing(t, base, config, nil)
	if _, err := r.RouteMessage([]byte(`{"type":"ping"}`), "ann"); err != nil {
		t.Fatal(err)
	}
	l := r.running.Load()
	turn, _ := l.lane.Turn(0)
	ctx, cancel := context.WithCancel(context.Background())
	cancelled := make(chan error, 1)
	go func() {
		_, err := r.RouteMessageContext(ctx, []byte(`{"type":"ping"}`), "ann")
		cancelled <- err
	}()
	cancel()
	if err := <-cancelled; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	began := time.Now()
	result, err := r.RouteMessage([]byte(`{"type":"ping"}`), "ann")
	if waited := time.Since(began); err != nil || !result.Fallback || result.FallbackReason != "expired" || waited < 50*time.Millisecond || waited > 30*time.Second {
		t.Errorf("%+v %v after %v", result, err, waited)
	}
	// It is in the ring, and the worker comes too late.
	client, err := r.client(l, "ann")
	if err != nil {
		t.Fatal(err)
	}
	c := l.calls.take()
	var handled bool
	for try := 0; ; try++ { // The keeper may come between.
		_, handled, err = turn.Route(client.client, []byte(`{"type":"ping"}`), corelane.SubmitOptions{
			Correlation: c.number(), TellFailed: true, Stamp: l.lane.Stamp() - uint64(float64(10*time.Second)/rate(l)),
		}, l.hand)
		if err != nil {
			t.Fatal(err)
		}
		if handled || try > 100 {
			break
		}
	}
	if !handled || c.reason != corelane.ReasonExpired {
		t.Errorf("%v %v", handled, c.reason)
	}
	turn.End()
	if got := r.Monitor().GetRoutingStats().Fallbacks["expired"]; got != 1 {
		t.Error(got)
	}
}

// rate is how many nanoseconds a tick of the stamps takes.
func rate(l *lane) float64 {
	stamp, now := l.lane.Stamp(), time.Now()
	time.Sleep(10 * time.Millisecond)
	return float64(time.Since(now)) / float64(l.lane.Stamp()-stamp)
}

// TestProcessingTimeout: a message whose worker takes it and does not end gives ErrTimeout, and the base router is not called.
// The worker's thread cannot be stopped from outside, so the test files a call for a position that never comes.
func TestProcessingTimeout(t *testing.T) {
	config := DefaultConcurrentRouterConfig()
	config.WorkerCount, config.MaxQueueWaitTime, config.ProcessingTimeout = 1, 100*time.Millisecond, 200*time.Millisecond
	r := routing(t, &standard{}, config, nil)
	l := r.running.Load()
	began := time.Now()
	c := l.calls.take()
	l.filed.Add(1)
	turn, _ := l.lane.Turn(0)
	l.files[0].calls = append(l.files[0].calls, filed{1 << 62, c})
	turn.End()
	l.lane.Wake()
	<-c.done
	if took := time.Since(began); !errors.Is(c.err, ErrTimeout) || took < 300*time.Millisecond || took > 30*time.Second {
		t.Error(c.err, took)
	}
}

// TestMarkOfARoutersClient: the mark reaches the figures of the router's client.
func TestMarkOfARoutersClient(t *testing.T) {
	r := routing(t, &standard{}, nil, nil)
	pm := r.Monitor()
	if err := pm.RecordConnectionEvent("connect", "ann", "web"); err != nil {
		t.Fatal(err)
	}
	for _, event := range []string{"unhealthy", "healthy"} {
		if err := pm.RecordConnectionEvent(event, "ann", "web"); err != nil {
			t.Fatal(event, err)
		}
		clients, err := pm.now.Load().Clients("ann")
		if err != nil || len(clients) != 1 || clients[0].Healthy != (event == "healthy") {
			t.Fatalf("%s: %+v %v", event, clients, err)
		}
	}
}

// TestCallersAndSubmittersShareWorkers: messages of callers and of SubmitMessage at once: each client gets its
// messages in order, and each caller its result.
func TestCallersAndSubmittersShareWorkers(t *testing.T) {
	config := DefaultConcurrentRouterConfig()
	config.WorkerCount = 2
	r := routing(t, &standard{}, config, nil)
	const clients, rounds = 8, 300
	var inside [clients]atomic.Int32
	var next [clients][clients]int
	var got atomic.Int64
	for i := range clients {
		err := r.Connect(fmt.Sprint("c", i), "", func(message []byte) {
			if inside[i].Add(1) != 1 {
				t.Error("two deliveries to one client at once")
			}
			defer inside[i].Add(-1)
			var m struct {
				From string
				ID   int
			}
			if err := json.Unmarshal(message, &m); err != nil {
				t.Error(err)
				return
			}
			from := int(m.From[1] - '0')
			if m.ID != next[i][from] {
				t.Errorf("%s to c%d: %d, not %d", m.From, i, m.ID, next[i][from])
			}
			next[i][from]++
			got.Add(1)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for i := range clients {
		all.Add(1)
		go func() {
			defer all.Done()
			for n := range rounds {
				for to := range clients {
					message := []byte(fmt.Sprintf(`{"type":"offer","to":"c%d","id":%d}`, to, n))
					if i%2 == 0 {
						result, err := r.RouteMessage(message, fmt.Sprint("c", i))
						// The submitters may fill the queue. Then the base router gets the message, and delivers nothing.
						for err == nil && result.FallbackReason == "queue_full" {
							time.Sleep(20 * time.Microsecond)
							result, err = r.RouteMessage(message, fmt.Sprint("c", i))
						}
						if err != nil || result.Fallback {
							t.Errorf("%+v %v", result, err)
							return
						}
						continue
					}
					err := r.SubmitMessage(message, fmt.Sprint("c", i))
					for errors.Is(err, corelane.ErrFull) {
						time.Sleep(20 * time.Microsecond)
						err = r.SubmitMessage(message, fmt.Sprint("c", i))
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			}
		}()
	}
	all.Wait()
	for deadline := time.Now().Add(60 * time.Second); got.Load() < clients*clients*rounds; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(got.Load())
		}
	}
}
