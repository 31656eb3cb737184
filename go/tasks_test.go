//go:build cgo && !corelane_stub

package corelane

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const gameProtocol = `{"name":"game","type":"kind","recipient":"to","room":"room",` +
	`"types":{"save":"host","pass":"host","fail":"host","panic":"host","exit":"host","chat":"relay"}}`

func serve(t testing.TB, config Config, handlers Handlers) (*Served, *Lane) {
	t.Helper()
	merged := Config{"pin": "off", "workers": "2"}
	for key, value := range config {
		merged[key] = value
	}
	served, err := Serve(context.Background(), merged, handlers, WithProtocol(gameProtocol))
	if err != nil {
		t.Fatal(err)
	}
	lane, err := served.OpenLane()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conserved(t, served.Router)
		if err := lane.Close(); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := served.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return served, lane
}

func player(t testing.TB, lane *Lane, name string) *Client {
	t.Helper()
	c, err := lane.Connect(name, "game", ConnectOptions{Application: "tests"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestServe(t *testing.T) {
	var told atomic.Uint64
	served, lane := serve(t, nil, Handlers{
		"save": func(_ context.Context, task *Task) error {
			if task.Name != "ann" || task.Protocol != "game" || task.Type != "save" || task.Application != "tests" {
				return fmt.Errorf("%+v", task)
			}
			task.Send(0, append([]byte("saved "), task.Message...))
			task.Send(0, []byte("twice"))
			return nil
		},
		"game/pass": func(_ context.Context, task *Task) error { task.Relay(); return nil },
		"fail":      func(_ context.Context, task *Task) error { task.Send(0, nil); return FailedWith(ReasonReported) },
		"panic":     func(context.Context, *Task) error { panic("a handler") },
	})
	served.OnPanic(func(task *Task, value any, stack []byte) {
		if value == "a handler" && strings.Contains(string(stack), "TestServe") && task.Type == "panic" {
			told.Add(1)
		}
	})
	ann, ben := player(t, lane, "ann"), player(t, lane, "ben")
	if err := ann.Submit([]byte(`{"kind":"save"}`), SubmitOptions{Correlation: 4}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`saved {"kind":"save"}`, "twice"} {
		if event := next(t, lane); event.Client != ann || string(event.Message) != want {
			t.Errorf("%+v %s", event, event.Message)
		}
	}
	if err := ann.Submit([]byte(`{"kind":"pass","to":"ben"}`), SubmitOptions{}); err != nil {
		t.Fatal(err)
	}
	if event := next(t, lane); event.Client != ben || event.Sender != ann.ID() {
		t.Errorf("%+v", event)
	}
	for kind, reason := range map[string]Reason{"fail": ReasonReported, "panic": ReasonHandlerPanicked, "exit": ReasonHandlerFailed} {
		if err := ann.Submit([]byte(`{"kind":"`+kind+`"}`), SubmitOptions{TellFailed: true}); err != nil {
			t.Fatal(err)
		}
		if event := next(t, lane); event.Kind != EventUndelivered || event.Reason != reason {
			t.Errorf("%s: %+v", kind, event)
		}
	}
	figures := served.Figures()
	if figures.Handled != 2 || figures.Failed != 2 || figures.Panicked != 1 || told.Load() != 1 {
		t.Errorf("%+v, told %d", figures, told.Load())
	}
}

// Panics and failures at random; each client's messages are handled in order, and every message ends once.
func TestServeManyWithPanics(t *testing.T) {
	var lock sync.Mutex
	last := map[ClientID]uint64{}
	served, lane := serve(t, Config{"credit_messages": "60000"}, Handlers{"": func(_ context.Context, task *Task) error {
		lock.Lock()
		wrong := task.Correlation != last[task.Client]+1
		last[task.Client] = task.Correlation
		lock.Unlock()
		if wrong {
			t.Error("order")
		}
		switch task.Correlation % 10 {
		case 0:
			panic(task.Correlation)
		case 1:
			return errors.New("a failure")
		}
		task.Send(0, task.Message)
		return nil
	}})
	const players, rounds = 20, 200
	var pushers sync.WaitGroup
	for at := range players {
		c := player(t, lane, fmt.Sprint("p", at))
		pushers.Add(1)
		go func() {
			defer pushers.Done()
			for round := uint64(1); round <= rounds; {
				if c.Submit([]byte(`{"kind":"save"}`), SubmitOptions{Correlation: round}) == nil {
					round++
				} else {
					time.Sleep(50 * time.Microsecond)
				}
			}
		}()
	}
	want := players * rounds * 8 / 10
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for event := range lane.Events(ctx) {
		event.Client.Acknowledge(1, len(event.Message))
		if want--; want == 0 {
			break
		}
	}
	pushers.Wait()
	await(t, "all handled", func() bool {
		f := served.Figures()
		return f.Handled+f.Failed+f.Panicked == players*rounds
	})
	figures := served.Figures()
	t.Logf("%+v", figures)
	if want != 0 || figures.Panicked != players*rounds/10 || figures.Failed != players*rounds/10 {
		t.Error(want)
	}
}

// Close while handlers run and messages come.
func TestServeCloseRaces(t *testing.T) {
	for range 30 {
		served, err := Serve(context.Background(), Config{"pin": "off", "workers": "2"}, Handlers{
			"": func(ctx context.Context, task *Task) error { task.Send(0, task.Message); return ctx.Err() },
		}, WithProtocol(gameProtocol))
		if err != nil {
			t.Fatal(err)
		}
		lane, err := served.OpenLane()
		if err != nil {
			t.Fatal(err)
		}
		c := player(t, lane, "a")
		var pushing sync.WaitGroup
		pushing.Add(1)
		go func() {
			defer pushing.Done()
			for {
				err := c.Submit([]byte(`{"kind":"save"}`), SubmitOptions{})
				if errors.Is(err, ErrClosed) || errors.Is(err, ErrStale) {
					return
				}
				time.Sleep(time.Microsecond)
			}
		}()
		time.Sleep(time.Millisecond)
		if err := served.Close(); err != nil {
			t.Error(err)
		}
		for range lane.Events(context.Background()) {
		}
		if !errors.Is(lane.Err(), ErrClosed) {
			t.Error(lane.Err())
		}
		pushing.Wait()
		if err := lane.Close(); err != nil {
			t.Error(err)
		}
	}
}
