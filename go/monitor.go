package corelane

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Monitor measures messages, connections, the process and the machine, raises alerts and writes reports. Any number of
// goroutines may use it at once. After Close its methods return [ErrStale], and recording does nothing.
type Monitor struct {
	handle monitorHandle
	shards shards
	router *Router // nil for a monitor of its own

	metrics customMetrics

	// The recorders that RecordMessage has looked up, by names; a bounded number.
	named      sync.Map
	namedCount atomic.Int64
	// The connected clients by name.
	connections sync.Map

	closed  atomic.Bool
	done    chan struct{} // Closed by Close.
	stopped chan struct{} // Closed by the end of the flusher.

	beforeRelease func() // For a test.
}

var _ io.Closer = (*Monitor)(nil)

const (
	flushEvery   = 100 * time.Millisecond
	runtimeEvery = time.Second
	maxNamed     = 4096
)

// StartMonitor starts a monitor without a router, which measures what the program records. Close it at the end.
func StartMonitor(config Config) (*Monitor, error) {
	text, err := config.text()
	if err != nil {
		return nil, err
	}
	return StartMonitorText(text)
}

// StartMonitorFile is [StartMonitor] with a configuration file.
func StartMonitorFile(path string) (*Monitor, error) {
	text, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	return StartMonitorText(text)
}

// StartMonitorText is [StartMonitor] with a configuration text: one key=value on each line; a # begins a comment.
func StartMonitorText(config string) (*Monitor, error) {
	handle, err := startMonitor(config)
	if err != nil {
		return nil, err
	}
	return newMonitor(handle, nil), nil
}

// Monitor returns the monitor of the router, with the router's configuration. The first call starts it. The program may
// record to it as well. Close it at the end, before or after the router.
func (r *Router) Monitor() (*Monitor, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.monitor != nil && !r.monitor.closed.Load() {
		return r.monitor, nil
	}
	handle, err := r.handle.monitor()
	if err != nil {
		return nil, err
	}
	r.monitor = newMonitor(handle, r)
	return r.monitor, nil
}

func newMonitor(handle monitorHandle, router *Router) *Monitor {
	monitor := &Monitor{handle: handle, router: router, done: make(chan struct{}), stopped: make(chan struct{})}
	monitor.shards.init()
	if stub {
		close(monitor.stopped)
	} else {
		go monitor.flushRegularly()
	}
	return monitor
}

// flushRegularly hands buffers over, and pushes the figures of Go's runtime.
func (m *Monitor) flushRegularly() {
	defer close(m.stopped)
	figures := newRuntimeFigures(m)
	figures.push()
	flush, runtime := time.NewTicker(flushEvery), time.NewTicker(runtimeEvery)
	defer flush.Stop()
	defer runtime.Stop()
	for {
		select {
		case <-m.done:
			return
		case <-flush.C:
			m.Flush()
		case <-runtime.C:
			figures.push()
		}
	}
}

// Flush hands everything that was recorded and counted before this call to the library. Snapshots, reports and Close do
// this by themselves.
func (m *Monitor) Flush() {
	for _, one := range m.shards.all() {
		one.samples.drain(m.takeSamples)
		one.operations.drain(m.takeOperations)
	}
	m.metrics.flush()
}

// Close hands over what is in the buffers, ends the monitor and releases it. A second call does nothing and returns nil.
func (m *Monitor) Close() error {
	if m.closed.Swap(true) {
		<-m.stopped
		return nil
	}
	close(m.done)
	<-m.stopped
	m.Flush()
	if m.beforeRelease != nil {
		m.beforeRelease()
	}
	m.metrics.release()
	err := m.handle.release()
	if errors.Is(err, ErrStale) {
		return nil
	}
	return err
}

// Recorder looks up the figures of a protocol, a message type and an application; each may be empty. Do this once, at the
// start. Beyond `max_recorded_types` and `max_applications` further names count as `other`.
func (m *Monitor) Recorder(protocol, messageType, application string) (*Recorder, error) {
	series, err := m.handle.series(protocol, messageType, application)
	if err != nil {
		return nil, err
	}
	return &Recorder{monitor: m, series: series}, nil
}

// Message names what a [Sample] is about.
type Message struct {
	// Protocol, Type and Application may be empty.
	Protocol, Type, Application string
	// Client is the name of the sender, which need not be connected. Empty for none.
	Client string
	Sample
}

type names struct{ protocol, messageType, application string }

// RecordMessage records a message by names. It is [Recorder.Record] after a lookup in a table of Go. A client that
// [Monitor.Connect] has not connected, and names beyond 4,096 combinations, cost a call of C.
func (m *Monitor) RecordMessage(message Message) error {
	if message.Client != "" && message.Connection == nil {
		found, connected := m.connections.Load(message.Client)
		if !connected {
			return m.handle.recordMessage(&message)
		}
		message.Connection = found.(*Connection)
	}
	key := names{message.Protocol, message.Type, message.Application}
	found, known := m.named.Load(key)
	if !known {
		recorder, err := m.Recorder(key.protocol, key.messageType, key.application)
		if err != nil {
			return err
		}
		found = recorder
		if m.namedCount.Load() < maxNamed {
			if _, raced := m.named.LoadOrStore(key, recorder); !raced {
				m.namedCount.Add(1)
			}
		}
	}
	found.(*Recorder).Record(message.Sample)
	return nil
}

// ReportFormat is the format of a report.
type ReportFormat uint32

// The formats of a report.
const (
	// ReportText: for a terminal or a log.
	ReportText ReportFormat = 1
	// ReportJSON: every figure, as docs/schema.json describes it.
	ReportJSON ReportFormat = 2
	// ReportHTML: a self-contained page without scripts.
	ReportHTML ReportFormat = 3
	// ReportPrometheus: the Prometheus text format 0.0.4. Its figures count from the start, whatever was reset.
	ReportPrometheus ReportFormat = 4
)

// ContentType returns the HTTP content type of a format.
func (f ReportFormat) ContentType() string {
	switch f {
	case ReportJSON:
		return "application/json"
	case ReportHTML:
		return "text/html; charset=utf-8"
	case ReportPrometheus:
		return "text/plain; version=0.0.4; charset=utf-8"
	default:
		return "text/plain; charset=utf-8"
	}
}

// Report collects and writes all figures.
func (m *Monitor) Report(format ReportFormat) (string, error) {
	m.Flush()
	return m.handle.report(format)
}

// Metrics returns all figures in the Prometheus text format 0.0.4.
func (m *Monitor) Metrics() (string, error) { return m.Report(ReportPrometheus) }

// JSON returns all figures as JSON, as docs/schema.json describes them.
func (m *Monitor) JSON() ([]byte, error) {
	text, err := m.Report(ReportJSON)
	return []byte(text), err
}

// Snapshot collects, and returns all figures of this moment.
func (m *Monitor) Snapshot() (*Snapshot, error) {
	text, err := m.JSON()
	if err != nil {
		return nil, err
	}
	var snapshot Snapshot
	if err := json.Unmarshal(text, &snapshot); err != nil {
		return nil, fmt.Errorf("corelane: the report: %w", err)
	}
	return &snapshot, nil
}

// Reset starts all figures anew at one moment. Present values, such as connections, the router's accounting, alerts and
// custom metrics are not reset.
func (m *Monitor) Reset() error {
	m.Flush()
	return m.handle.reset()
}

// Set changes a configuration value while the monitor runs. docs/configuration.md says which keys can be changed.
func (m *Monitor) Set(key, value string) error { return m.handle.set(key, value) }

// Bytes returns the most memory that the monitor can hold, if everything that the configuration allows is in use.
func (m *Monitor) Bytes() (uint64, error) { return m.handle.bytes() }

// Span is the length of a history.
type Span uint32

// The spans of a history.
const (
	// SpanMinute: the last 60 seconds, in slots of a second.
	SpanMinute Span = 1
	// SpanHour: the last 60 minutes, in slots of a minute.
	SpanHour Span = 2
	// SpanDay: the last `stats_retention_hours`, in slots of a quarter of an hour.
	SpanDay Span = 3
)

// History returns one series over a span as JSON, oldest first. docs/schema.json describes the fields.
func (m *Monitor) History(name string, span Span) (json.RawMessage, error) {
	m.Flush()
	text, err := m.handle.history(name, span)
	return json.RawMessage(text), err
}

// HistoryNames returns the names that [Monitor.History] knows.
func (m *Monitor) HistoryNames() ([]string, error) {
	text, err := m.handle.historyNames()
	if err != nil {
		return nil, err
	}
	var names []string
	if err := json.Unmarshal([]byte(text), &names); err != nil {
		return nil, fmt.Errorf("corelane: the names of histories: %w", err)
	}
	return names, nil
}

// Clients returns the figures of the clients with this name: at most one of the router's clients and one that the program
// has recorded. None if `detailed_stats` was off at the start.
func (m *Monitor) Clients(name string) ([]ClientFigures, error) {
	m.Flush()
	return m.handle.clients(name)
}

// IdleClients returns the connected clients that have been silent for longer than a time, so that the program can close
// them. None while `detailed_stats` is off.
func (m *Monitor) IdleClients(longerThan time.Duration) ([]ClientFigures, error) {
	m.Flush()
	return m.handle.idleClients(longerThan)
}

// ReportTo writes each periodic report (`report_interval_ms`) to a file, which always holds a whole report. Close ends it.
func (m *Monitor) ReportTo(format ReportFormat, path string) (io.Closer, error) {
	return m.handle.reportTo(format, path)
}

// CheckSettings returns an error if a monitor cannot start with this configuration. Nothing is started.
func CheckSettings(config Config) error {
	text, err := config.text()
	if err != nil {
		return err
	}
	return checkMonitor(text)
}
