package main

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corelane "github.com/corelane/corelane/go"
	"github.com/gorilla/websocket"
)

// start serves on free ports. The function that it returns stops the server and waits for its end.
func start(t *testing.T, words ...string) (address string, stop func()) {
	t.Helper()
	options, err := read(append([]string{"--port", "0", "--host", "127.0.0.1", "--monitor", "127.0.0.1:0", "--log", "off"}, words...)...)
	if err != nil {
		t.Fatal(err)
	}
	startLog(options.logLevel, false)
	router, err := corelane.Start(options.configuration())
	if err != nil {
		t.Fatal(err)
	}
	monitor, err := startMonitor(options, router)
	if err != nil {
		t.Fatal(err)
	}
	server, err := newServer(options, router, monitor)
	if err != nil {
		t.Fatal(err)
	}
	public, watching, err := server.openAll()
	if err != nil {
		t.Fatal(err)
	}
	signals, over := make(chan os.Signal, 1), make(chan struct{})
	go func() {
		defer close(over)
		server.serve(public, watching, signals)
		monitor.Close()
		router.Close()
	}()
	return public[0].address.String(), sync.OnceFunc(func() {
		signals <- syscall.SIGTERM
		<-over
	})
}

// dial connects a client and reads its greeting.
func dial(address, id string) (*websocket.Conn, error) {
	query := url.Values{"key": {"peerjs"}, "id": {id}, "token": {"t" + id}}
	socket, _, err := websocket.DefaultDialer.DialContext(context.Background(), "ws://"+address+"/peerjs?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	socket.SetReadDeadline(time.Now().Add(60 * time.Second))
	_, text, err := socket.ReadMessage()
	if err == nil && string(text) != openText {
		err = fmt.Errorf("%s: %s", id, text)
	}
	return socket, err
}

// figures of this process: goroutines, descriptors, resident KiB.
func figures(t *testing.T) (goroutines, descriptors, resident int) {
	t.Helper()
	debug.FreeOSMemory()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	resident, _ = strconv.Atoi(strings.Fields(rest)[0])
	return runtime.NumGoroutine(), len(entries), resident
}

// settled waits until there are no more goroutines and descriptors than before.
func settled(t *testing.T, goroutines, descriptors int) (int, int, int) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		g, d, r := figures(t)
		if g <= goroutines && d <= descriptors || time.Now().After(until) {
			return g, d, r
		}
	}
}

// Clients come, exchange a message, and go: with a closing frame, without one, or replaced by a newer socket. Nothing is
// left of them.
func TestSoak(t *testing.T) {
	clients := 400
	if os.Getenv("CORELANE_SOAK") != "" {
		clients = 20_000
	}
	before := runtime.NumGoroutine()
	address, stop := start(t, "--threads", "2", "--lanes", "2")
	defer stop()
	come := func(number int) error {
		ann, ben := fmt.Sprintf("ann-%d", number), fmt.Sprintf("ben-%d", number)
		one, err := dial(address, ann)
		if err != nil {
			return err
		}
		defer one.Close()
		other, err := dial(address, ben)
		if err != nil {
			return err
		}
		defer other.Close()
		if number%5 == 0 {
			newer, err := dial(address, ben)
			if err != nil {
				return err
			}
			defer newer.Close()
			other = newer
		}
		text := fmt.Sprintf(`{"type":"OFFER","dst":"%s","payload":%d}`, ben, number)
		if err := one.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			return err
		}
		if number%3 == 0 { // for one that never comes, and for one that goes without reading
			one.WriteMessage(websocket.TextMessage, []byte(`{"type":"OFFER","dst":"nobody","payload":1}`))
			other.Close()
			return nil
		}
		if _, got, err := other.ReadMessage(); err != nil || !strings.Contains(string(got), ann) {
			return fmt.Errorf("%s: %s, %w", ben, got, err)
		}
		other.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(30*time.Second))
		_, _, err = other.ReadMessage()
		if !websocket.IsCloseError(err, 1000) {
			return fmt.Errorf("%s: %w", ben, err)
		}
		return nil
	}
	round := func(from, to int) {
		t.Helper()
		var next atomic.Int64
		next.Store(int64(from))
		var all sync.WaitGroup
		for range 32 {
			all.Go(func() {
				for number := next.Add(1); number <= int64(to); number = next.Add(1) {
					if err := come(int(number)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
	}
	round(0, clients/2)
	goroutines, descriptors, resident := settled(t, before+32, 64)
	// A leak grows in each part; what grows in one alone is memory that is used for the first time.
	const parts = 3
	least := math.MaxInt
	for part := range parts {
		from := clients/2 + clients/2*part/parts
		round(from, clients/2+clients/2*(part+1)/parts)
		g, d, r := settled(t, goroutines, descriptors)
		t.Logf("goroutines %d, then %d; descriptors %d, then %d; resident %d KiB, then %d", goroutines, g, descriptors, d, resident, r)
		if g > goroutines || d > descriptors {
			t.Error("something is left of them")
		}
		least = min(least, r-resident)
		resident = r
	}
	if least > 1<<10 && !underRace {
		t.Errorf("at least %d KiB more after each part", least)
	}
	stop()
	if g, _, _ := settled(t, before+1, 1<<20); g > before+1 { // the log's writer stays
		stacks := make([]byte, 1<<16)
		t.Errorf("%d goroutines before, %d after the stop:\n%s", before, g, stacks[:runtime.Stack(stacks, true)])
	}
}
