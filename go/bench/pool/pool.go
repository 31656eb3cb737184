// Package pool is the peer of the benchmarks: what the specification describes, written with Go's own means. A router with
// a queue, a dispatcher and workers, all goroutines behind channels; a base router that reads messages with encoding/json;
// and a performance monitor behind a mutex. It computes what the specification asks for on the way of a message: counts,
// the distribution of latencies, averages, per type and per client, slow messages. It has the timeouts and the three modes
// of balancing, and it keeps none of the mistakes of the code that the specification stems from.
package pool

import (
	"encoding/json"
	"errors"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"time"
)

// Config has the fields of the specification's ConcurrentRouterConfig.
type Config struct {
	WorkerCount       int
	QueueSize         int
	MaxQueueWaitTime  time.Duration
	LoadBalanceMode   string
	ProcessingTimeout time.Duration
}

// DefaultConfig returns the specification's defaults.
func DefaultConfig() Config {
	return Config{10, 1000, 5 * time.Second, "least_loaded", 30 * time.Second}
}

// Errors of RouteMessage.
var (
	ErrQueueFull = errors.New("queue full")
	ErrTimeout   = errors.New("processing timeout")
)

// Result is what RouteMessage returns.
type Result struct {
	Type    string
	Success bool
}

// BaseRouter handles one message.
type BaseRouter interface {
	RouteMessage(message []byte, clientID string) (*Result, error)
}

// Router is the concurrent message router.
type Router struct {
	base    BaseRouter
	config  Config
	monitor *Monitor
	queue   chan *task
	workers []*worker
	next    int
	done    chan struct{}
	ended   sync.WaitGroup
}

type worker struct {
	tasks   chan *task
	pending atomic.Int64
}

type task struct {
	message  []byte
	clientID string
	queued   time.Time
	result   chan outcome
}

type outcome struct {
	result *Result
	err    error
}

// NewRouter returns a router. Start it.
func NewRouter(base BaseRouter, config Config, monitor *Monitor) *Router {
	r := &Router{base: base, config: config, monitor: monitor,
		queue: make(chan *task, config.QueueSize), done: make(chan struct{})}
	for range config.WorkerCount {
		r.workers = append(r.workers, &worker{tasks: make(chan *task, 10)})
	}
	return r
}

// Start starts the goroutines.
func (r *Router) Start() {
	r.ended.Add(1 + len(r.workers))
	go r.dispatch()
	for _, w := range r.workers {
		go r.work(w)
	}
}

// Stop ends the goroutines.
func (r *Router) Stop() {
	close(r.done)
	r.ended.Wait()
}

// RouteMessage queues the message and waits for its result.
func (r *Router) RouteMessage(message []byte, clientID string) (*Result, error) {
	t := &task{message: message, clientID: clientID, queued: time.Now(), result: make(chan outcome, 1)}
	select {
	case r.queue <- t:
	default:
		wait := time.NewTimer(r.config.MaxQueueWaitTime)
		select {
		case r.queue <- t:
			wait.Stop()
		case <-wait.C:
			return r.base.RouteMessage(message, clientID)
		}
	}
	limit := time.NewTimer(r.config.ProcessingTimeout)
	defer limit.Stop()
	select {
	case o := <-t.result:
		return o.result, o.err
	case <-limit.C:
		return nil, ErrTimeout
	}
}

// Submit queues a copy of the message and does not wait for a result.
func (r *Router) Submit(message []byte, clientID string) error {
	t := &task{message: append([]byte(nil), message...), clientID: clientID, queued: time.Now()}
	select {
	case r.queue <- t:
		return nil
	default:
		return ErrQueueFull
	}
}

func (r *Router) dispatch() {
	defer r.ended.Done()
	for {
		select {
		case t := <-r.queue:
			w := r.pick(t.clientID)
			w.pending.Add(1)
			select {
			case w.tasks <- t:
			case <-r.done:
				return
			}
		case <-r.done:
			return
		}
	}
}

func (r *Router) pick(clientID string) *worker {
	switch r.config.LoadBalanceMode {
	case "hash":
		h := fnv.New32a()
		_, _ = h.Write([]byte(clientID))
		return r.workers[h.Sum32()%uint32(len(r.workers))]
	case "round_robin":
		r.next = (r.next + 1) % len(r.workers)
		return r.workers[r.next]
	}
	best := r.workers[0]
	load := best.pending.Load()
	for _, w := range r.workers[1:] {
		if other := w.pending.Load(); other < load {
			best, load = w, other
		}
	}
	return best
}

func (r *Router) work(w *worker) {
	defer r.ended.Done()
	for {
		select {
		case t := <-w.tasks:
			started := time.Now()
			var o outcome
			if started.Sub(t.queued) > r.config.MaxQueueWaitTime {
				o.err = ErrQueueFull
			} else {
				o.result, o.err = r.base.RouteMessage(t.message, t.clientID)
			}
			ended := time.Now()
			kind := "unknown"
			if o.result != nil {
				kind = o.result.Type
			}
			r.monitor.RecordMessage(t.clientID, kind, len(t.message), started.Sub(t.queued), ended.Sub(started), o.err == nil)
			w.pending.Add(-1)
			if t.result != nil {
				t.result <- o
			}
		case <-r.done:
			return
		}
	}
}

// Relay is the base router of the benchmarks: it relays a message to its recipient, with the true sender, as corelane's
// protocol "generic" does.
type Relay struct {
	lock    sync.RWMutex
	clients map[string]func(message []byte)
}

// NewRelay returns a relay without clients.
func NewRelay() *Relay { return &Relay{clients: map[string]func([]byte){}} }

// Connect adds a client.
func (r *Relay) Connect(clientID string, deliver func(message []byte)) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.clients[clientID] = deliver
}

type envelope struct {
	Type    string          `json:"type"`
	To      string          `json:"to,omitempty"`
	Room    string          `json:"room,omitempty"`
	ID      json.RawMessage `json:"id,omitempty"`
	From    string          `json:"from,omitempty"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// RouteMessage implements BaseRouter.
func (r *Relay) RouteMessage(message []byte, clientID string) (*Result, error) {
	var e envelope
	if err := json.Unmarshal(message, &e); err != nil {
		return nil, err
	}
	if e.Type == "ping" {
		return &Result{e.Type, true}, nil
	}
	r.lock.RLock()
	deliver := r.clients[e.To]
	r.lock.RUnlock()
	if deliver == nil {
		return &Result{e.Type, false}, errors.New("unknown recipient")
	}
	e.From = clientID
	relayed, err := json.Marshal(&e)
	if err != nil {
		return nil, err
	}
	deliver(relayed)
	return &Result{e.Type, true}, nil
}
