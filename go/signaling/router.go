package signaling

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corelane "github.com/corelane/corelane/go"
)

// BaseRouter is the standard route: it handles a message on the caller's goroutine. A concurrent router calls it for the
// messages that it cannot handle itself; several goroutines may call it at once.
type BaseRouter interface {
	RouteMessage(message []byte, clientID string) (*RouteResult, error)
}

// BaseRouterFunc is a function that is a BaseRouter.
type BaseRouterFunc func(message []byte, clientID string) (*RouteResult, error)

// RouteMessage calls the function.
func (f BaseRouterFunc) RouteMessage(message []byte, clientID string) (*RouteResult, error) {
	return f(message, clientID)
}

// Deliverer is what a BaseRouter may implement to get the messages that the concurrent router delivers to clients which
// were not connected with [ConcurrentMessageRouter.Connect]. The calls for one client come one after another, on the goroutines
// that call RouteMessage or on the router's own; those for several clients may come at once. It must not block, must not call the
// router, and must not keep the message. Without it such messages are dropped.
type Deliverer interface {
	Deliver(clientID string, message []byte)
}

// RouteResult says what has become of a message.
type RouteResult struct {
	ClientID string
	// Success says that the message was delivered to its recipients' connections, or ended at the router, as a ping does.
	Success bool
	// MessageType is what a base router says; a worker's result leaves it empty.
	MessageType string
	// Reason is why the message has failed, such as "unknown_recipient" (docs/reasons.md).
	Reason string
	// Fallback says that the base router has handled the message, and FallbackReason why: a reason, or "disabled",
	// "not_running", "queue_full", "client_limit".
	Fallback       bool
	FallbackReason string
	// ProcessingTime is the time from the call to the result.
	ProcessingTime time.Duration
	// Data is for a base router.
	Data any
}

// RouteError is the error of a message that was not delivered. It is also in the result.
type RouteError struct {
	ClientID string
	Reason   corelane.Reason
}

func (e *RouteError) Error() string {
	return fmt.Sprintf("signaling: the message of %q was not delivered: %v", e.ClientID, e.Reason)
}

// Errors of RouteMessage.
var (
	// ErrTimeout: no result has come within MaxQueueWaitTime + ProcessingTimeout. The message may still be delivered, so the
	// base router was not called.
	ErrTimeout = errors.New("signaling: no result within the time limit")
	// ErrPanicked: the base router has panicked.
	ErrPanicked = errors.New("signaling: the base router has panicked")
)

// ConcurrentMessageRouter routes messages of JSON ("type", "to", "room", "from": the protocol "generic", docs/protocols.md)
// between clients. The library's workers read, relay, count and time them. RouteMessage runs the client's worker on the calling
// goroutine, with one call of C, so no other thread has to wake up for a message; a thread of the library runs the workers when
// no caller does. Any number of goroutines may use a router at once.
type ConcurrentMessageRouter struct {
	base    BaseRouter
	config  ConcurrentRouterConfig
	monitor *PerformanceMonitor
	invalid error

	running atomic.Pointer[lane] // nil unless the router runs.
	lock    sync.Mutex
	started bool
	clients sync.Map // *routed by name.
}

// routed is a client of the router.
type routed struct {
	name   string
	client *corelane.Client
	sink   sink
	// implicit: RouteMessage has connected it.
	implicit bool
	lock     sync.Mutex
	ended    bool
}

// deliver gives the sink one message at a time.
func (c *routed) deliver(message []byte) bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.ended || c.sink.deliver(message)
}

// end tells the sink of the client's end. Another goroutine may be about to deliver what another worker has sent: it does not
// after this.
func (c *routed) end() {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.ended = true
	c.sink.closed(corelane.ReasonNone)
}

// sink is where a client's events go, on the goroutine of a caller of RouteMessage, or of the router.
type sink interface {
	// deliver gets a message. written says that it is done with; otherwise the sink acknowledges it later.
	deliver(message []byte) (written bool)
	// failed gets the reason of a message that was submitted with this correlation.
	failed(correlation uint64, reason corelane.Reason)
	// closed is the last call. reason is not ReasonNone if the router has closed the client.
	closed(reason corelane.Reason)
}

// NewConcurrentMessageRouter returns a router. The monitor gets all its figures, and says with EnableConcurrentRouting and
// MaxConcurrentMessages how it works; nil is a monitor with defaults. A nil configuration is the default. Start it.
func NewConcurrentMessageRouter(baseRouter BaseRouter, config *ConcurrentRouterConfig, monitor *PerformanceMonitor) *ConcurrentMessageRouter {
	if monitor == nil {
		monitor = NewPerformanceMonitor(nil)
	}
	r := &ConcurrentMessageRouter{base: baseRouter, config: config.withDefaults(), monitor: monitor}
	r.invalid = config.Validate()
	if r.invalid == nil && baseRouter == nil && !monitor.Config().EnableConcurrentRouting {
		r.invalid = errors.New("signaling: EnableConcurrentRouting is off, so the router needs a base router")
	}
	return r
}

// Monitor returns the monitor.
func (r *ConcurrentMessageRouter) Monitor() *PerformanceMonitor { return r.monitor }

// Start starts the workers. It returns the error of a configuration that is not allowed; then nothing was started. A router
// starts once.
func (r *ConcurrentMessageRouter) Start() error {
	r.lock.Lock()
	defer r.lock.Unlock()
	if err := errors.Join(r.invalid, r.monitor.Err()); err != nil {
		return err
	}
	if r.started {
		return nil
	}
	config := r.monitor.Config()
	if !config.EnableConcurrentRouting {
		r.started = true
		return nil
	}
	l, err := openLane(r, config)
	if err != nil {
		return err
	}
	if err := r.monitor.adopt(r, l.monitor, func() { r.running.Store(l) }); err != nil {
		l.close()
		return err
	}
	r.started = true
	return nil
}

// Stop stops the workers. Messages that were accepted are handled first, for at most ten seconds; what has not got a result by
// then fails. Later messages go to the base router. A second Stop does nothing.
func (r *ConcurrentMessageRouter) Stop() {
	r.lock.Lock()
	l := r.running.Swap(nil)
	r.lock.Unlock()
	if l != nil {
		l.close()
	}
}

// RouteMessage routes a message that a client has sent, and waits for the result: RouteMessageContext without a context.
func (r *ConcurrentMessageRouter) RouteMessage(message []byte, clientID string) (*RouteResult, error) {
	return r.RouteMessageContext(context.Background(), message, clientID)
}

// RouteMessageContext routes a message that a client has sent, and waits for the result. The message is copied. A client
// that is not connected is connected first.
//
// The base router handles the message instead, on this goroutine and exactly once, if concurrent routing is off, if the
// router does not run, if the queue is full or MaxConcurrentMessages are on their way, if the message has waited longer than
// MaxQueueWaitTime, or if the worker has ended. Without a base router the result then is an error.
//
// A message that was not delivered for another reason gives a [*RouteError]; one without a result in time [ErrTimeout]. If the
// context ends first, its error is returned, and the message may still be delivered.
func (r *ConcurrentMessageRouter) RouteMessageContext(ctx context.Context, message []byte, clientID string) (*RouteResult, error) {
	l := r.running.Load()
	if l == nil {
		return r.takeOver(message, clientID, r.whyNot(), true, time.Now())
	}
	c, err := r.client(l, clientID)
	if err != nil {
		return r.refused(message, clientID, err, time.Now())
	}
	stamp := l.lane.Stamp()
	result, reason, err := l.route(ctx, c.client, message, stamp)
	if err == nil && reason == corelane.ReasonNone {
		result.ClientID, result.Success, result.ProcessingTime = clientID, true, l.lane.Since(stamp)
		return result, nil
	}
	began := time.Now().Add(-l.lane.Since(stamp))
	switch {
	case err != nil:
		return r.refused(message, clientID, err, began)
	case fallsBack(reason) && r.base != nil:
		return r.takeOver(message, clientID, reason.String(), isRefusal(reason), began)
	}
	return &RouteResult{ClientID: clientID, Reason: reason.String(), ProcessingTime: time.Since(began)}, &RouteError{clientID, reason}
}

// SubmitMessage is RouteMessage without a result: it returns when the message is in the queue. The message is copied. A full
// queue gives [corelane.ErrFull], a router that does not run [ErrStopped]; the base router is not called. Messages that fail
// are counted by the monitor.
func (r *ConcurrentMessageRouter) SubmitMessage(message []byte, clientID string) error {
	l := r.running.Load()
	if l == nil {
		return ErrStopped
	}
	c, err := r.client(l, clientID)
	if err != nil {
		return err
	}
	return c.client.Submit(message, corelane.SubmitOptions{})
}

// Connect connects a client. `deliver` gets the messages for it, one after another, on the goroutines that call RouteMessage or
// on the router's own: it must not block, must not call the router, and must not keep the message.
func (r *ConcurrentMessageRouter) Connect(clientID, application string, deliver func(message []byte)) error {
	l := r.running.Load()
	if l == nil {
		return ErrStopped
	}
	_, err := r.connect(l, clientID, application, functionSink{r, deliver}, false)
	return err
}

// Disconnect disconnects a client. Its messages so far are handled; later ones of this name are those of a new client.
func (r *ConcurrentMessageRouter) Disconnect(clientID string) {
	if found, known := r.clients.LoadAndDelete(clientID); known {
		_ = found.(*routed).client.Disconnect()
	}
}

// client returns the client of this name, and connects it if need be.
func (r *ConcurrentMessageRouter) client(l *lane, clientID string) (*routed, error) {
	for try := range 50 {
		if found, known := r.clients.Load(clientID); known {
			if c := found.(*routed); c.client.Connected() {
				return c, nil
			}
			r.clients.CompareAndDelete(clientID, found) // Closed by the router.
		}
		c, err := r.connect(l, clientID, "", r.baseSink(clientID), true)
		if !errors.Is(err, corelane.ErrNameTaken) {
			return c, err
		}
		// Another goroutine connects it, or has not yet given up the name of the client before.
		time.Sleep(time.Duration(try) * 10 * time.Microsecond)
	}
	return nil, corelane.ErrNameTaken
}

func (r *ConcurrentMessageRouter) connect(l *lane, clientID, application string, to sink, implicit bool) (*routed, error) {
	c := &routed{name: clientID, sink: to, implicit: implicit}
	var err error
	c.client, err = l.lane.Connect(clientID, "generic", corelane.ConnectOptions{Application: application, Value: c})
	if err != nil {
		return nil, err
	}
	r.clients.Store(clientID, c)
	return c, nil
}

// announce connects a client that the host has told the monitor of. False: it is the monitor's alone.
func (r *ConcurrentMessageRouter) announce(clientID, application string) bool {
	l := r.running.Load()
	if l == nil {
		return false
	}
	if _, known := r.clients.Load(clientID); known {
		return true
	}
	_, err := r.connect(l, clientID, application, r.baseSink(clientID), false)
	return err == nil
}

// mark marks the connection of a client as healthy or not.
func (r *ConcurrentMessageRouter) mark(clientID string, healthy bool) error {
	l := r.running.Load()
	found, known := r.clients.Load(clientID)
	if l == nil || !known {
		return ErrStopped
	}
	return l.monitor.Mark(found.(*routed).client.ID(), healthy)
}

func (r *ConcurrentMessageRouter) baseSink(clientID string) sink {
	deliverer, _ := r.base.(Deliverer)
	if deliverer == nil {
		return functionSink{r, nil}
	}
	return functionSink{r, func(message []byte) { deliverer.Deliver(clientID, message) }}
}

// functionSink gives deliveries to a function of the host.
type functionSink struct {
	router *ConcurrentMessageRouter
	call   func(message []byte)
}

func (s functionSink) deliver(message []byte) bool {
	if s.call == nil {
		return true
	}
	defer func() {
		if recover() != nil {
			s.router.monitor.fallback.deliveryPanics.Add(1)
		}
	}()
	s.call(message)
	return true
}

func (functionSink) failed(uint64, corelane.Reason) {}
func (functionSink) closed(corelane.Reason)         {}
