package signaling

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	corelane "github.com/corelane/corelane/go"
)

// PerformanceAlert is an alert: one figure that is, or was, beyond its threshold.
type PerformanceAlert struct {
	Type      string // "memory", "connections", "error_rate", or another rule of the monitor.
	Severity  string // "info", "warning", "critical".
	Message   string // A sentence with the value and the threshold.
	State     string // "pending", "firing", "recovering", "resolved".
	Timestamp time.Time
	// CurrentValue and Threshold are bytes as a uint64 for "memory", a number of connections as an int for "connections",
	// and otherwise a float64: a share from 0 to 1 for "error_rate".
	CurrentValue, Threshold any
	// Details has the metric, the alert's id, its label set, and since when the figure is beyond the threshold.
	Details map[string]any
}

// AddAlertCallback adds a function that gets each alert when it is raised, and again while it lasts (every four hours). The
// callbacks run on one goroutine, one after another, never on a thread of the library: a slow one delays other callbacks and
// nothing else. A panic is recovered and counted. At most 256 alerts wait; then the oldest are dropped and counted.
//
// A figure must be beyond its threshold at three looks (MonitorInterval) before the alert is raised.
func (pm *PerformanceMonitor) AddAlertCallback(callback func(alert *PerformanceAlert)) {
	if callback == nil {
		return
	}
	pm.callbacks.add(func(l *listeners) {
		l.alerts = append(l.alerts, func(a *PerformanceAlert) {
			if a.State != "resolved" {
				callback(a)
			}
		})
	})
}

// AddAlertChangeCallback is AddAlertCallback with the ends of alerts: the State is "resolved" then.
func (pm *PerformanceMonitor) AddAlertChangeCallback(callback func(alert *PerformanceAlert)) {
	if callback == nil {
		return
	}
	pm.callbacks.add(func(l *listeners) { l.alerts = append(l.alerts, callback) })
}

// AddReportCallback adds a function that gets each periodic report (ReportInterval). It runs as the alert callbacks do.
func (pm *PerformanceMonitor) AddReportCallback(callback func(report *DetailedPerformanceReport)) {
	if callback == nil {
		return
	}
	pm.callbacks.add(func(l *listeners) { l.reports = append(l.reports, callback) })
}

// listeners are the callbacks, and the goroutine that calls them.
type listeners struct {
	lock    sync.Mutex
	alerts  []func(*PerformanceAlert)
	reports []func(*DetailedPerformanceReport)
	queue   []func() // What is to be told, oldest first.
	more    chan struct{}
	context context.Context
	source  context.CancelFunc // Ends the goroutine that listens to the core.
	onPanic func(what string, value any)
	panics  atomic.Uint64
	dropped atomic.Uint64
}

// waiting is how many alerts and reports may wait.
const waiting = 256

func (l *listeners) add(change func(*listeners)) {
	l.lock.Lock()
	defer l.lock.Unlock()
	change(l)
}

func (l *listeners) start(ctx context.Context, onPanic func(what string, value any)) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.context, l.onPanic = ctx, onPanic
	l.more = make(chan struct{}, 1)
	go l.run(ctx)
}

func (l *listeners) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.more:
		}
		for ctx.Err() == nil {
			l.lock.Lock()
			if len(l.queue) == 0 {
				l.lock.Unlock()
				break
			}
			next := l.queue[0]
			l.queue = l.queue[1:]
			l.lock.Unlock()
			next()
		}
	}
}

func (l *listeners) tell(what string, call func()) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.more == nil {
		return
	}
	if len(l.queue) == waiting {
		l.queue = l.queue[1:]
		l.dropped.Add(1)
	}
	l.queue = append(l.queue, func() {
		defer func() {
			if value := recover(); value != nil {
				l.panics.Add(1)
				l.onPanic(what, value)
			}
		}()
		call()
	})
	select {
	case l.more <- struct{}{}:
	default:
	}
}

func (l *listeners) tellReport(report *DetailedPerformanceReport) {
	l.lock.Lock()
	callbacks := append([]func(*DetailedPerformanceReport){}, l.reports...)
	l.lock.Unlock()
	for _, callback := range callbacks {
		l.tell("report", func() { callback(report) })
	}
}

func (l *listeners) wantReports() bool {
	l.lock.Lock()
	defer l.lock.Unlock()
	return len(l.reports) > 0
}

// listen tells the alerts of a core, in place of those of the core before.
func (l *listeners) listen(core *corelane.Monitor) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.context == nil {
		return
	}
	if l.source != nil {
		l.source()
	}
	ctx, cancel := context.WithCancel(l.context)
	l.source = cancel
	go func() {
		for alert, err := range core.Alerts(ctx) {
			if err == nil {
				l.tellAlert(&alert)
			}
		}
	}()
}

// tellAlert queues a call of each callback, with an alert of its own.
func (l *listeners) tellAlert(alert *corelane.Alert) {
	l.lock.Lock()
	callbacks := append([]func(*PerformanceAlert){}, l.alerts...)
	l.lock.Unlock()
	for _, callback := range callbacks {
		own := newAlert(alert)
		l.tell("alert "+own.Type, func() { callback(&own) })
	}
}
