package main

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corelane "github.com/corelane/corelane/go"
	"github.com/corelane/corelane/go/bench/pool"
	"github.com/corelane/corelane/go/signaling"
)

// kinds are the messages. %s is the recipient.
var kinds = []struct{ name, text string }{
	{"ping", `{"type":"ping"}`},
	{"candidate", `{"type":"candidate","to":"%s","payload":{"candidate":"candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 10.0.0.17 rport 46154 generation 0 ufrag EEtu network-cost 999","sdpMid":"0","sdpMLineIndex":0}}`},
	{"offer", `{"type":"offer","to":"%s","payload":{"type":"offer","sdp":"v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n` +
		strings.Repeat(`a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 transport-cc\r\na=fmtp:97 apt=96\r\n`, 25) + `"}}`},
}

// A router is one side of the comparison.
type router interface {
	// route waits for the result.
	route(message []byte, client string) error
	// submit does not. False: the queue is full.
	submit(message []byte, client string) bool
	// settle waits until everything that was submitted is handled; count is how much there was in all.
	settle(clients []string, count uint64)
	stop()
}

// ours is corelane, by the names of the specification.
type ours struct {
	monitor *signaling.PerformanceMonitor
	router  *signaling.ConcurrentMessageRouter
}

var consumed atomic.Uint64

func newOurs(clients []string, workers int) router {
	config := signaling.DefaultPerformanceMonitorConfig()
	config.MaxConcurrentMessages = -1
	monitor := signaling.NewPerformanceMonitor(config)
	routes := signaling.DefaultConcurrentRouterConfig()
	routes.WorkerCount = workers
	o := &ours{monitor, signaling.NewConcurrentMessageRouter(nil, routes, monitor)}
	must(monitor.Start())
	must(o.router.Start())
	for _, client := range clients {
		must(o.router.Connect(client, "", func(message []byte) { consumed.Add(uint64(len(message))) }))
	}
	return o
}

func (o *ours) route(message []byte, client string) error {
	_, err := o.router.RouteMessage(message, client)
	return err
}

func (o *ours) submit(message []byte, client string) bool {
	err := o.router.SubmitMessage(message, client)
	if err != nil && !errors.Is(err, corelane.ErrFull) {
		panic(err)
	}
	return err == nil
}

// settle routes a last message of each client: its worker has handled the ones before.
func (o *ours) settle(clients []string, _ uint64) {
	for _, client := range clients {
		_, err := o.router.RouteMessage([]byte(kinds[0].text), client)
		for errors.Is(err, corelane.ErrFull) {
			runtime.Gosched()
			_, err = o.router.RouteMessage([]byte(kinds[0].text), client)
		}
		must(err)
	}
}

func (o *ours) stop() {
	o.router.Stop()
	o.monitor.Stop()
}

// theirs is the pool of goroutines and channels.
type theirs struct {
	monitor *pool.Monitor
	router  *pool.Router
}

func newTheirs(clients []string, workers int) router {
	config := pool.DefaultConfig()
	config.WorkerCount = workers
	relay := pool.NewRelay()
	for _, client := range clients {
		relay.Connect(client, func(message []byte) { consumed.Add(uint64(len(message))) })
	}
	t := &theirs{monitor: pool.NewMonitor()}
	t.router = pool.NewRouter(relay, config, t.monitor)
	t.router.Start()
	return t
}

func (t *theirs) route(message []byte, client string) error {
	_, err := t.router.RouteMessage(message, client)
	return err
}

func (t *theirs) submit(message []byte, client string) bool {
	return t.router.Submit(message, client) == nil
}

func (t *theirs) settle(_ []string, count uint64) {
	for t.monitor.Total() < count {
		runtime.Gosched()
	}
}

func (t *theirs) stop() { t.router.Stop() }

// names returns the names of so many clients.
func names(count int) []string {
	all := make([]string, count)
	for i := range all {
		all[i] = fmt.Sprint("client-", i)
	}
	return all
}

// messagesFor returns the message of each client, which is for the next one.
func messagesFor(text string, clients []string) [][]byte {
	all := make([][]byte, len(clients))
	for i := range clients {
		all[i] = []byte(strings.ReplaceAll(text, "%s", clients[(i+1)%len(clients)]))
	}
	return all
}

// routeAll lets each client's goroutine route its part of the messages.
func routeAll(r router, clients []string, messages [][]byte, count int) {
	var all sync.WaitGroup
	for i, client := range clients {
		all.Add(1)
		go func() {
			defer all.Done()
			for n := i; n < count; n += len(clients) {
				if err := r.route(messages[i], client); err != nil {
					panic(err)
				}
			}
		}()
	}
	all.Wait()
}

// submitAll is routeAll without results. done is how much was submitted before.
func submitAll(r router, clients []string, messages [][]byte, count int, done *uint64) {
	var all sync.WaitGroup
	for i, client := range clients {
		all.Add(1)
		go func() {
			defer all.Done()
			for n := i; n < count; n += len(clients) {
				for !r.submit(messages[i], client) {
					runtime.Gosched()
				}
			}
		}()
	}
	all.Wait()
	*done += uint64(count)
	r.settle(clients, *done)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func since(began time.Time, count int) float64 {
	return float64(time.Since(began).Nanoseconds()) / float64(count)
}
