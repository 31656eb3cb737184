//go:build cgo && !corelane_stub

package corelane

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// lockedBuffer is a buffer for a logger.
type lockedBuffer struct {
	lock sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.text.Write(text)
}

func (b *lockedBuffer) logIfFailed(t *testing.T) {
	if t.Failed() {
		t.Log(b)
	}
}

func (b *lockedBuffer) String() string {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.text.String()
}

// waitForLog waits until the log has all texts.
func waitForLog(t *testing.T, log *lockedBuffer, texts ...string) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		missing := ""
		for _, text := range texts {
			if !strings.Contains(log.String(), text) {
				missing = text
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log has no %q:\n%s", missing, log)
		}
	}
}

// TestTheLogOfARouter: start, a handler that takes too long, an alert, and the stop.
func TestTheLogOfARouter(t *testing.T) {
	log := &lockedBuffer{}
	logger := slog.New(slog.NewTextHandler(log, nil))
	release := make(chan struct{})
	defer log.logIfFailed(t)
	served, err := Serve(context.Background(), Config{"workers": "1", "pin": "off", "processing_timeout_ms": "50", "monitor_interval_ms": "100"},
		Handlers{"save": func(context.Context, *Task) error { <-release; return nil }}, WithProtocol(gameProtocol), WithLogger(logger))
	if err != nil {
		t.Fatal(err)
	}
	monitor, err := served.Monitor()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- monitor.Log(context.Background(), logger) }()
	if err := monitor.AddRule(Rule{Name: "any_client", Metric: "connections.active", Trigger: 0, Severity: SeverityCritical}); err != nil {
		t.Fatal(err)
	}
	lane, err := served.OpenLane()
	if err != nil {
		t.Fatal(err)
	}
	ann := player(t, lane, "ann")
	if text := ann.String(); !strings.HasPrefix(text, `"ann" (`) {
		t.Error(text)
	}
	if err := monitor.Mark(ann.ID(), false); err != nil {
		t.Error(err)
	}
	if clients, err := monitor.Clients("ann"); err != nil || len(clients) != 1 || clients[0].Healthy {
		t.Errorf("%+v %v", clients, err)
	}
	if err := monitor.Mark(ann.ID()+1<<32, false); !errors.Is(err, ErrStale) {
		t.Error(err)
	}
	if err := ann.Submit([]byte(`{"kind":"save"}`), SubmitOptions{}); err != nil {
		t.Fatal(err)
	}
	waitForLog(t, log, `msg="the router has started"`, `level=WARN msg="a handler takes longer than processing_timeout_ms" worker=0`)
	if got := served.Figures().Stalled; got != 1 {
		t.Error(got)
	}
	waitForLog(t, log, "level=ERROR", "alert=any_client notification=raised severity=critical metric=connections.active value=1 threshold=0")
	if err := ann.Disconnect(); err != nil {
		t.Error(err)
	}
	close(release)
	if event := next(t, lane); event.Kind != EventClosed {
		t.Errorf("%+v", event)
	}
	if err := lane.Close(); err != nil {
		t.Error(err)
	}
	if err := served.Close(); err != nil {
		t.Error(err)
	}
	waitForLog(t, log, `msg="the router is closed"`)
	monitor.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServeRefusesHandlersThatAreNeverCalled(t *testing.T) {
	nothing := func(context.Context, *Task) error { return nil }
	for name, want := range map[string]error{
		"save": nil, "game/save": nil, "": nil, "svae": ErrNotFound, "game/svae": ErrNotFound, "games/save": ErrNotFound,
		"peerjs/save": ErrNotFound, "chat": ErrInvalid, "game/chat": ErrInvalid, "game/": ErrNotFound,
	} {
		served, err := Serve(context.Background(), Config{"workers": "1"}, Handlers{name: nothing}, WithProtocol(gameProtocol))
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%q: %v", name, err)
		}
		if err != nil {
			if !strings.Contains(err.Error(), name) {
				t.Error(err)
			}
			continue
		}
		served.Close()
	}
	if _, err := Serve(context.Background(), nil, Handlers{"save": nil}, WithProtocol(gameProtocol)); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	_, err := Serve(context.Background(), nil, Handlers{"svae": nothing}, WithProtocol(gameProtocol))
	if err == nil || !strings.Contains(err.Error(), "save") {
		t.Error("the error lists no types:", err)
	}
}
