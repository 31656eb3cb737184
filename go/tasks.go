package corelane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Handler handles a message of a client. A nil error says that it is handled; otherwise the message counts as failed, for
// the reason of [FailedWith] or as handler_failed. A panic fails the message as handler_panicked, and the worker lives on.
//
// Messages of one client are handled one after another, in the order of their submission. A handler that blocks delays the
// clients of its worker only.
type Handler func(ctx context.Context, task *Task) error

// Handlers are the handlers of a router, by the message's type: "protocol/type" or "type" for every protocol. The handler
// under "" takes all other types. Only types with the action `host` reach a handler (docs/protocols.md). A message of such a
// type without a handler fails as handler_failed.
type Handlers map[string]Handler

// FailedWith is an error with which a handler fails its message for a given reason.
func FailedWith(reason Reason) error { return failedWith(reason) }

type failedWith Reason

func (f failedWith) Error() string { return "corelane: the message failed: " + Reason(f).String() }

// Task is a message that a [Handler] handles. It is valid until the handler returns, and so are its bytes.
type Task struct {
	// Client has sent the message.
	Client ClientID
	// Correlation is the value that SubmitOptions had.
	Correlation uint64
	// Waited is how long the message has waited for its worker.
	Waited time.Duration
	// Name is the sender's name. Empty if the sender is gone.
	Name string
	// Protocol, Type and Application are the sender's protocol, the message's type and the sender's application.
	Protocol, Type, Application string
	// Message has the bytes.
	Message []byte

	id      uint64
	answers *taskAnswers
	relay   bool
	first   int
}

// taskAnswers has what the handlers of one batch send. The bytes are in one piece, so that one call passes them all.
type taskAnswers struct {
	sends []taskSend
	bytes []byte
	done  []taskDone
}

// The next two are read by C: see tasks_c.go.
type taskSend struct{ client, offset, length uint64 }

type taskDone struct {
	id, serviceNS        uint64
	reason               int32
	relay, first, amount uint32
}

// Send sends bytes to a client; 0 is the sender. They are copied, and go out when the batch is over. The delivery's sender is
// the sender of this message. If they cannot be delivered, the message counts as failed.
func (t *Task) Send(client ClientID, bytes []byte) {
	a := t.answers
	a.sends = append(a.sends, taskSend{uint64(client), uint64(len(a.bytes)), uint64(len(bytes))})
	a.bytes = append(a.bytes, bytes...)
}

// Relay runs the relay of the message when the batch is over: to the recipient or to the room that it names.
func (t *Task) Relay() { t.relay = true }

// TaskFigures counts what the handlers of a router have done.
type TaskFigures struct {
	// Handled, Failed and Panicked count messages by how they ended.
	Handled, Failed, Panicked uint64
	// Batches counts the calls that took messages and gave their outcomes back.
	Batches uint64
	// Stalled counts messages whose handler has taken longer than `processing_timeout_ms`. With [WithLogger] each is logged,
	// while the handler runs.
	Stalled uint64
}

// Served is a router whose messages Go handles: each of its workers runs on a goroutine, and takes its messages in batches,
// with one cgo call for a batch.
type Served struct {
	*Router
	handlers                           Handlers
	workers                            []taskWorker
	running                            sync.WaitGroup
	cancel                             context.CancelFunc
	handled, failed, panicked, batches atomic.Uint64
	stalled                            atomic.Uint64
	// busy has, for each worker, when its present handler began, in nanoseconds since began; 0 for none.
	busy  []atomic.Int64
	began time.Time
	// Panicked, if set, is told what a handler has panicked with, on the worker's goroutine.
	panics func(task *Task, value any, stack []byte)
}

// taskWorker is a worker that this program drives.
type taskWorker interface {
	// step gives outcomes back, and takes the next tasks. It waits for them if there are none, and returns 0 after a while.
	step(answers *taskAnswers, into *taskBatch, wait time.Duration) (int, error)
	release()
}

// taskBatch has the tasks of one step.
type taskBatch struct {
	tasks []Task
	// texts interns the names of protocols, types and applications.
	texts map[string]string
	bytes []byte
	// c is the memory that the call fills.
	c taskMemory
}

const taskBatchSize = 64

// Serve starts a router whose workers run handlers in Go. The context ends with Close; handlers get it. Everything else is as
// with [Start]: open lanes, connect clients, poll their events.
//
// ErrNotFound: a handler for a type that no protocol of the router lists. ErrInvalid: one for a type with another action.
//
// Each worker occupies a thread while it waits, as a worker of the library does.
func Serve(ctx context.Context, config Config, handlers Handlers, with ...Option) (*Served, error) {
	text, err := config.text()
	if err != nil {
		return nil, err
	}
	o := chosen(with)
	router, workers, err := buildServed(text, o.protocols)
	if err != nil {
		return nil, err
	}
	if err := router.checkHandlers(handlers); err != nil {
		for _, worker := range workers {
			worker.release()
		}
		_ = router.Close()
		return nil, err
	}
	router.logger = o.logger
	router.log(slog.LevelInfo, "the router has started", "version", Version(), "handlers", len(handlers), "workers", len(workers))
	ctx, cancel := context.WithCancel(ctx)
	s := &Served{
		Router: router, handlers: handlers, workers: workers, cancel: cancel, busy: make([]atomic.Int64, len(workers)),
		began: time.Now().Add(-time.Nanosecond),
	}
	for at, worker := range workers {
		s.running.Add(1)
		go s.drive(ctx, at, worker)
	}
	go s.watch(ctx, processingTimeout(config))
	return s, nil
}

// processingTimeout is the value of the configuration, which the library has checked.
func processingTimeout(config Config) time.Duration {
	if milliseconds, err := strconv.ParseInt(strings.TrimSpace(config["processing_timeout_ms"]), 10, 64); err == nil {
		return time.Duration(milliseconds) * time.Millisecond
	}
	return 30 * time.Second
}

// watch counts and logs handlers that take too long, each once, until the context ends.
func (s *Served) watch(ctx context.Context, limit time.Duration) {
	told := make([]int64, len(s.busy))
	ticks := time.NewTicker(min(max(limit/4, time.Millisecond), time.Second))
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		for at := range s.busy {
			since := s.busy[at].Load()
			took := time.Since(s.began) - time.Duration(since)
			if since == 0 || since == told[at] || took < limit {
				continue
			}
			told[at] = since
			s.stalled.Add(1)
			s.log(slog.LevelWarn, "a handler takes longer than processing_timeout_ms", "worker", at, "took", took)
		}
	}
}

// checkHandlers refuses a handler that would never be called.
func (r *Router) checkHandlers(handlers Handlers) error {
	for _, name := range slices.Sorted(maps.Keys(handlers)) {
		if name == "" {
			continue
		}
		if handlers[name] == nil {
			return &Error{Code: CodeInvalid, Message: fmt.Sprintf("the handler %q is nil", name)}
		}
		protocol, messageType, named := strings.Cut(name, "/")
		if !named {
			protocol, messageType = "", name
		}
		isTask, err := r.handle.isTask(protocol, messageType)
		if err == nil && !isTask {
			err = &Error{Code: CodeInvalid, Message: fmt.Sprintf("the type's action is not host: set it to host in the protocol's description, so that messages of %q reach a handler", name)}
		}
		if err != nil {
			return fmt.Errorf("the handler %q: %w", name, err)
		}
	}
	return nil
}

// OnPanic sets a function that is told of a handler's panic, on the worker's goroutine. Set it before the first message.
func (s *Served) OnPanic(told func(task *Task, value any, stack []byte)) { s.panics = told }

// Figures returns what the handlers have done so far.
func (s *Served) Figures() TaskFigures {
	return TaskFigures{Handled: s.handled.Load(), Failed: s.failed.Load(), Panicked: s.panicked.Load(), Batches: s.batches.Load(), Stalled: s.stalled.Load()}
}

// Close stops the router, waits for the handlers that run, and releases everything. A second call returns nil.
func (s *Served) Close() error {
	err := s.Router.RequestStop()
	if errors.Is(err, ErrStale) {
		err = nil
	}
	s.running.Wait()
	s.cancel()
	return errors.Join(err, s.Router.Close())
}

func (s *Served) drive(ctx context.Context, number int, worker taskWorker) {
	defer s.running.Done()
	defer worker.release()
	// The worker's calls block; a thread of its own spares the others of the scheduler.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	answers := &taskAnswers{}
	batch := &taskBatch{texts: map[string]string{}}
	batch.init(taskBatchSize)
	for {
		n, err := worker.step(answers, batch, 100*time.Millisecond)
		if len(answers.done) > 0 {
			s.batches.Add(1)
		}
		answers.sends, answers.bytes, answers.done = answers.sends[:0], answers.bytes[:0], answers.done[:0]
		if err != nil {
			return // The router has stopped.
		}
		for at := range n {
			s.handle(ctx, &s.busy[number], &batch.tasks[at], answers)
		}
	}
}

func (s *Served) handle(ctx context.Context, busy *atomic.Int64, task *Task, answers *taskAnswers) {
	start := time.Now()
	busy.Store(int64(start.Sub(s.began)))
	defer busy.Store(0)
	task.answers, task.relay, task.first = answers, false, len(answers.sends)
	reason := s.outcome(ctx, task)
	if reason != ReasonNone { // What a failed message would have sent is not sent.
		answers.sends, task.relay = answers.sends[:task.first], false
	}
	done := taskDone{
		id: task.id, serviceNS: uint64(time.Since(start)), reason: int32(reason),
		first: uint32(task.first), amount: uint32(len(answers.sends) - task.first),
	}
	if task.relay {
		done.relay = 1
	}
	answers.done = append(answers.done, done)
}

// outcome runs the handler.
func (s *Served) outcome(ctx context.Context, task *Task) (reason Reason) {
	handler := s.handlers[task.Protocol+"/"+task.Type]
	if handler == nil {
		handler = s.handlers[task.Type]
	}
	if handler == nil {
		handler = s.handlers[""]
	}
	if handler == nil {
		s.failed.Add(1)
		return ReasonHandlerFailed
	}
	returned := false
	defer func() {
		if returned {
			return
		}
		value := recover() // nil after runtime.Goexit, which ends a test's handler.
		s.panicked.Add(1)
		reason = ReasonHandlerPanicked
		if s.panics != nil {
			s.panics(task, value, debug.Stack())
		}
	}()
	err := handler(ctx, task)
	returned = true
	var failed failedWith
	switch {
	case err == nil:
		s.handled.Add(1)
		return ReasonNone
	case errors.As(err, &failed) && failed != failedWith(ReasonNone):
		reason = Reason(failed)
	default:
		reason = ReasonHandlerFailed
	}
	s.failed.Add(1)
	return reason
}

// text returns a string with these bytes, and allocates for those that it has not seen.
func (b *taskBatch) text(bytes []byte) string {
	if known, found := b.texts[string(bytes)]; found {
		return known
	}
	if len(b.texts) >= 4096 {
		clear(b.texts)
	}
	text := string(bytes)
	b.texts[text] = text
	return text
}
