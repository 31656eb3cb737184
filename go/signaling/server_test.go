package signaling

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/corelane/corelane/go/signaling/internal/websocket"
)

// serving returns a server that runs until the end of the test, and its address.
func serving(t *testing.T, options ServerOptions, media any) (*SignalingServer, string) {
	t.Helper()
	options.Address = "127.0.0.1:0"
	ctx, cancel := context.WithCancel(WithServerOptions(context.Background(), options))
	t.Cleanup(cancel)
	s := NewSignalingServer(ctx, &EncoderConfig{Codec: "vp8"}, media, []ICEServer{{URLs: []string{"stun:stun.example.org"}}})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s, s.Addr().String()
}

type browser struct {
	t    *testing.T
	conn *websocket.Conn
}

func join(t *testing.T, address, id string) browser {
	t.Helper()
	conn, err := websocket.Dial(context.Background(), "ws://"+address+"/ws?app=shop&client_id="+id, websocket.Options{IdleTimeout: 60 * time.Second, MaxMessage: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	b := browser{t, conn}
	if welcome := b.read(); welcome["type"] != "welcome" || welcome["id"] != id || welcome["ice_servers"] == nil || welcome["encoder"] == nil {
		t.Fatal(welcome)
	}
	return b
}

func (b browser) send(message string) {
	b.t.Helper()
	if err := b.conn.Write(websocket.Text, []byte(message)); err != nil {
		b.t.Fatal(err)
	}
}

func (b browser) read() map[string]any {
	b.t.Helper()
	_, message, err := b.conn.Read(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(message, &fields); err != nil {
		b.t.Fatal(err)
	}
	return fields
}

// callThrough exchanges what a call needs between two browsers.
func callThrough(t *testing.T, address string) {
	ann, ben := join(t, address, "ann"), join(t, address, "ben")
	ann.send(`{"type":"ping"}`)
	equal[any](t, "pong", ann.read()["type"], "pong")
	ann.send(`{"type":"offer","to":"ben","payload":{"sdp":"v=0"},"from":"mallory"}`)
	offer := ben.read()
	equal[any](t, "sender", offer["from"], "ann")
	equal[any](t, "type", offer["type"], "offer")
	ben.send(`{"type":"answer","to":"ann"}`)
	equal[any](t, "answer", ann.read()["from"], "ben")
	for i := range 5 {
		ann.send(fmt.Sprintf(`{"type":"candidate","to":"ben","id":%d}`, i))
	}
	for i := range 5 {
		equal[any](t, "candidate", ben.read()["id"], float64(i))
	}
	ann.send(`{"type":"offer","to":"nobody"}`)
	equal[any](t, "error", ann.read()["reason"], "unknown_recipient")
	ann.send(`no JSON`)
	equal[any](t, "error", ann.read()["reason"], "not_json")
	ann.conn.Close(websocket.CodeNormal, "")
	ben.conn.Close(websocket.CodeNormal, "")
}

func TestACallThroughTheServer(t *testing.T) {
	s, address := serving(t, ServerOptions{Monitor: quick()}, nil)
	callThrough(t, address)
	eventually(t, "both have gone", func() bool { return s.GetConnectionStats().ActiveConnections == 0 })
	m, c := s.GetMessageStats(), s.GetConnectionStats()
	equal(t, "messages", m.TotalMessages, 10)
	equal(t, "failed", m.FailedMessages, 2)
	equal(t, "candidates", m.MessageTypeStats["candidate"].Count, 5)
	equal(t, "connections", c.TotalConnections, 2)
	equal(t, "peak", c.PeakConnections, 2)
	equal(t, "application", c.AppConnections["shop"].TotalConnections, 2)
	for path, text := range map[string]string{"/healthz": "ok", "/metrics": "corelane_", "/report": "Performance report", "/stats": `"TotalMessages":10`} {
		response, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != 200 || !strings.Contains(string(body), text) {
			t.Errorf("%s: %s %.300s", path, response.Status, body)
		}
	}
}

func TestACallWithoutConcurrentRouting(t *testing.T) {
	monitor := quick()
	monitor.EnableConcurrentRouting = false
	s, address := serving(t, ServerOptions{Monitor: monitor}, nil)
	callThrough(t, address)
	eventually(t, "both have gone", func() bool { return s.GetConnectionStats().ActiveConnections == 0 })
	equal(t, "fallbacks", s.GetPerformanceStats().Routing.Fallbacks["disabled"], 10)
	equal(t, "messages", s.GetMessageStats().TotalMessages, 10)
}

func TestANameIsTakenOnce(t *testing.T) {
	s, address := serving(t, ServerOptions{}, nil)
	join(t, address, "ann")
	response, err := http.Get("http://" + address + "/ws?client_id=ann")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	equal(t, "status", response.StatusCode, http.StatusConflict)
	equal(t, "connections", s.GetConnectionStats().ActiveConnections, 1)
	response, err = http.Get("http://" + address + "/ws?client_id=" + strings.Repeat("x", 65))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	equal(t, "status", response.StatusCode, http.StatusBadRequest)
}

type camera struct{}

func (camera) HandleMessage(clientID string, message []byte, send func([]byte) error) error {
	return send([]byte(`{"type":"answer","from":"camera","to":"` + clientID + `"}`))
}

func TestMessagesWithoutARecipientGoToTheMediaStream(t *testing.T) {
	_, address := serving(t, ServerOptions{}, camera{})
	ann := join(t, address, "ann")
	ann.send(`{"type":"offer"}`)
	equal[any](t, "answer", ann.read()["from"], "camera")
}

func TestAWrongAddressStartsNothing(t *testing.T) {
	ctx := WithServerOptions(context.Background(), ServerOptions{Address: "127.0.0.1:99999"})
	s := NewSignalingServer(ctx, nil, nil, nil)
	if err := s.Start(); err == nil {
		t.Fatal("it starts")
	}
	s.Stop()
	if _, err := http.Get("http://127.0.0.1:99999/"); err == nil {
		t.Fatal("it serves")
	}
}

// TestStopEndsEverything opens and closes servers with clients that talk, and counts goroutines.
func TestStopEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 10 {
		ctx, cancel := context.WithCancel(WithServerOptions(context.Background(), ServerOptions{Address: "127.0.0.1:0"}))
		s := NewSignalingServer(ctx, nil, nil, nil)
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for i := range 5 {
			all.Add(1)
			go func() {
				defer all.Done()
				conn, err := websocket.Dial(ctx, "ws://"+s.Addr().String()+"/ws?client_id=c"+fmt.Sprint(i), websocket.Options{})
				if err != nil {
					return
				}
				for conn.Write(websocket.Text, []byte(`{"type":"offer","to":"c0"}`)) == nil {
					if _, _, err := conn.Read(nil); err != nil && i != 0 {
						conn.Close(websocket.CodeNormal, "")
						return
					}
				}
			}()
		}
		time.Sleep(20 * time.Millisecond)
		cancel() // As Stop.
		s.Stop()
		all.Wait()
	}
	eventually(t, fmt.Sprintf("back to %d goroutines", before), func() bool { return runtime.NumGoroutine() <= before+2 })
}
