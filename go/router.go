package corelane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"
	"time"
)

// Router routes messages between clients. Any number of goroutines may use it at once. After Close its methods return
// [ErrStale].
type Router struct {
	handle routerHandle
	logger *slog.Logger // nil: none.

	lock    sync.Mutex
	monitor *Monitor
}

var _ io.Closer = (*Router)(nil)

// Option changes what [Start] starts.
type Option func(*options)

type options struct {
	protocols []string
	logger    *slog.Logger
}

func chosen(with []Option) (o options) {
	for _, one := range with {
		one(&o)
	}
	return o
}

// WithProtocol adds a protocol: the name of one that comes with the library, or the JSON text of your own
// (docs/protocols.md).
func WithProtocol(protocol string) Option {
	return func(o *options) { o.protocols = append(o.protocols, protocol) }
}

// Start starts a router with its worker threads. Close it at the end. The router has the protocols "generic" and
// "peerjs", and those of the options.
func Start(config Config, with ...Option) (*Router, error) {
	text, err := config.text()
	if err != nil {
		return nil, err
	}
	return StartText(text, with...)
}

// StartFile is [Start] with a configuration file.
func StartFile(path string, with ...Option) (*Router, error) {
	text, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	return StartText(text, with...)
}

// StartText is [Start] with a configuration text: one key=value on each line; a # begins a comment.
func StartText(config string, with ...Option) (*Router, error) {
	o := chosen(with)
	handle, err := startRouter(config, o.protocols)
	if err != nil {
		return nil, err
	}
	r := &Router{handle: handle, logger: o.logger}
	r.log(slog.LevelInfo, "the router has started", "version", Version())
	return r, nil
}

// Drain refuses new messages and waits until every accepted message has its outcome. Events must be taken meanwhile. After
// an error of the context the router goes on draining: stop it.
func (r *Router) Drain(ctx context.Context) error {
	r.log(slog.LevelInfo, "the router drains")
	pause := time.NewTimer(0)
	defer pause.Stop()
	for wait := time.Millisecond; ; wait = min(wait*2, 10*time.Millisecond) {
		err := r.handle.drain()
		if !errors.Is(err, ErrTimeout) {
			return err
		}
		pause.Reset(wait)
		select {
		case <-ctx.Done():
			return fmt.Errorf("corelane: the drain is not over: %w", ctx.Err())
		case <-pause.C:
		}
	}
}

// Stop stops the workers. Messages published before are handled, and later ones are refused. At the deadline of the context
// a worker that is still inside a handler is given up. If the context is cancelled, Stop returns its error at once and the
// workers go on stopping. One thread waits meanwhile. A second call waits again.
func (r *Router) Stop(ctx context.Context) error {
	if err := r.handle.requestStop(); err != nil {
		return err
	}
	began := time.Now()
	err := r.stop(ctx)
	if err == nil {
		r.log(slog.LevelInfo, "the router has stopped", "took", time.Since(began))
	} else {
		r.log(slog.LevelError, "the router has not stopped", "took", time.Since(began), "error", err)
	}
	return err
}

func (r *Router) stop(ctx context.Context) error {
	if ctx.Done() == nil {
		return r.handle.stop(math.MaxInt64)
	}
	stopped := make(chan error, 1)
	limit := time.Duration(math.MaxInt64)
	if deadline, has := ctx.Deadline(); has {
		limit = max(time.Until(deadline), 0)
	}
	go func() { stopped <- r.handle.stop(limit) }()
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
	}
	// The call ends at the same deadline. A result that is there counts.
	select {
	case err := <-stopped:
		if err == nil {
			return nil
		}
		return fmt.Errorf("corelane: the router has not stopped: %w: %w", context.Cause(ctx), err)
	case <-time.After(20 * time.Millisecond):
		return fmt.Errorf("corelane: the router has not stopped: %w", context.Cause(ctx))
	}
}

// RequestStop asks the workers to stop and returns at once.
func (r *Router) RequestStop() error { return r.handle.requestStop() }

// SetActiveWorkers sets how many workers get new clients.
func (r *Router) SetActiveWorkers(workers int) error { return r.handle.setActiveWorkers(workers) }

// Metrics returns the router's figures in the Prometheus text format 0.0.4, from the router alone. [Monitor.Metrics] has
// more.
func (r *Router) Metrics() (string, error) { return r.handle.prometheus() }

// Close stops the router, waits for its workers and releases it. A second call does nothing and returns nil. The router's
// monitor, if it has one, stays open.
func (r *Router) Close() error {
	err := r.handle.release()
	if errors.Is(err, ErrStale) {
		return nil
	}
	r.log(slog.LevelInfo, "the router is closed")
	return err
}
