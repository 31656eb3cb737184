package signaling

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	corelane "github.com/corelane/corelane/go"
)

// ErrStopped is the error of what needs a monitor or a router that runs, after its Stop.
var ErrStopped = errors.New("signaling: stopped")

// PerformanceMonitor measures. The host records messages and connections; a [ConcurrentMessageRouter] with this monitor
// adds those that it handles by itself. Any number of goroutines may use a monitor at once.
//
// A wrong configuration is told by Start and by Err. Such a monitor accepts every call, and all its figures are zero.
type PerformanceMonitor struct {
	// now is what figures go to at present: a monitor of its own, or that of the router. nil if there is none.
	now     atomic.Pointer[corelane.Monitor]
	isEarly atomic.Bool // early is not nil.

	lock      sync.Mutex // Guards the following fields.
	config    PerformanceMonitorConfig
	err       error
	started   bool
	early     []earlyRecord // What was recorded while a router may still be started.
	router    *ConcurrentMessageRouter
	connected map[string]connection
	gauges    map[string]gauge
	end       context.CancelFunc // Ends the goroutines of Start.
	// What Stop has left.
	last        *corelane.Snapshot
	lastMetrics string

	callbacks listeners
	fallback  fallbacks

	exporter   *corelane.Exporter
	exported   *corelane.ElasticsearchOptions
	lastExport corelane.ExporterFigures
}

// connection is one that the host has told by RecordConnectionEvent.
type connection struct {
	application string
	recorded    *corelane.Connection // nil for a client of the router.
}

// earlyRecord is a message that was recorded before there was a router. The figures of a router's monitor begin with the
// router, so these messages are recorded again there.
type earlyRecord struct {
	clientID, messageType string
	time                  time.Duration
	success               bool
}

// earlyRecords is how many messages can be recorded before a router with the monitor is started. After more of them, the
// figures start anew with the router.
const earlyRecords = 4096

// NewPerformanceMonitor returns a monitor; nil is the default configuration. Figures are kept from now on. Start it to get
// alerts and reports, and Stop it at the end.
func NewPerformanceMonitor(config *PerformanceMonitorConfig) *PerformanceMonitor {
	pm := &PerformanceMonitor{config: config.withDefaults(), connected: map[string]connection{}}
	if pm.err = config.Validate(); pm.err != nil {
		return pm
	}
	core, err := corelane.StartMonitor(pm.config.keys())
	if err != nil {
		pm.err = fmt.Errorf("signaling: the monitor has not started: %w", err)
		return pm
	}
	pm.early = make([]earlyRecord, 0, 16)
	pm.isEarly.Store(true)
	pm.now.Store(core)
	return pm
}

// Err returns why the monitor does not work: the error of its configuration. nil if it does.
func (pm *PerformanceMonitor) Err() error {
	pm.lock.Lock()
	defer pm.lock.Unlock()
	return pm.err
}

// Start starts alerts, reports and the log. It returns the error of the configuration, if it has one. A second Start does
// nothing.
func (pm *PerformanceMonitor) Start() error {
	pm.lock.Lock()
	defer pm.lock.Unlock()
	if pm.err != nil || pm.started {
		return pm.err
	}
	pm.started = true
	ctx, cancel := context.WithCancel(context.Background())
	pm.end = cancel
	pm.callbacks.start(ctx, pm.logPanic)
	pm.callbacks.listen(pm.now.Load())
	go pm.periodically(ctx)
	return nil
}

// Stop ends the monitor. The figures stay as they are now, and can be read. No callback starts after it; one that runs
// goes on, and may have called Stop itself. A second Stop does nothing.
func (pm *PerformanceMonitor) Stop() {
	pm.lock.Lock()
	core := pm.now.Load()
	if core == nil || errors.Is(pm.err, ErrStopped) {
		pm.lock.Unlock()
		return
	}
	pm.err = ErrStopped
	pm.endEarly()
	if pm.end != nil {
		pm.end()
	}
	exporter := pm.exporter
	pm.lock.Unlock()
	if exporter != nil {
		figures := pm.endExport(exporter)
		pm.lock.Lock()
		pm.exporter, pm.lastExport = nil, figures
		pm.lock.Unlock()
	}
	last, _ := core.Snapshot()
	metrics, _ := core.Metrics()
	pm.lock.Lock()
	pm.last, pm.lastMetrics = last, metrics
	pm.now.Store(nil)
	pm.lock.Unlock()
	_ = core.Close()
}

// Close is Stop, for io.Closer.
func (pm *PerformanceMonitor) Close() error {
	pm.Stop()
	return nil
}

// Config returns a copy of the configuration in force.
func (pm *PerformanceMonitor) Config() PerformanceMonitorConfig {
	pm.lock.Lock()
	defer pm.lock.Unlock()
	return pm.config
}

// SetConfig changes intervals, thresholds, logging and the level of detail of a running monitor. Details can be switched on
// only if they were on at the start. EnableConcurrentRouting and MaxConcurrentMessages take effect in routers that are
// started later. After an error the values before it are in force.
func (pm *PerformanceMonitor) SetConfig(config *PerformanceMonitorConfig) error {
	if err := config.Validate(); err != nil {
		return err
	}
	pm.lock.Lock()
	defer pm.lock.Unlock()
	if pm.err != nil {
		return pm.err
	}
	after := config.withDefaults()
	before, wanted := pm.config.keys(), after.keys()
	core := pm.now.Load()
	for _, key := range runtimeKeys {
		if before[key] == wanted[key] {
			continue
		}
		if err := core.Set(key, wanted[key]); err != nil {
			for _, done := range runtimeKeys {
				_ = core.Set(done, before[done])
			}
			return fmt.Errorf("signaling: the configuration is unchanged: %w", err)
		}
	}
	pm.config = after
	return nil
}

var runtimeKeys = []string{"monitor_interval_ms", "slow_message_threshold_ms", "high_memory_threshold_bytes",
	"high_connection_threshold", "high_error_rate_threshold", "detailed_stats"}

// RecordMessageProcessing counts a message that the host has handled: the client that has sent it, its type, how long it
// took, and whether it has succeeded. Messages that a router with this monitor handles are counted without it.
func (pm *PerformanceMonitor) RecordMessageProcessing(clientID, messageType string, processingTime time.Duration, success bool) {
	if pm.isEarly.Load() && pm.recordEarly(clientID, messageType, processingTime, success) {
		return
	}
	if core := pm.now.Load(); core != nil {
		record(core, clientID, messageType, processingTime, success)
	}
}

func record(core *corelane.Monitor, clientID, messageType string, processingTime time.Duration, success bool) {
	message := corelane.Message{Type: messageType, Client: clientID, Sample: corelane.Sample{Service: processingTime}}
	if !success {
		message.Reason = corelane.ReasonReported
	}
	_ = core.RecordMessage(message) // It fails for texts that are not UTF-8, and after Close.
}

// recordEarly also keeps the message for a router to come. It returns false if it is too late for that.
func (pm *PerformanceMonitor) recordEarly(clientID, messageType string, processingTime time.Duration, success bool) bool {
	pm.lock.Lock()
	defer pm.lock.Unlock()
	core := pm.now.Load()
	if pm.early == nil || core == nil {
		return false
	}
	if len(pm.early) == earlyRecords {
		pm.endEarly()
		return false
	}
	pm.early = append(pm.early, earlyRecord{clientID, messageType, processingTime, success})
	record(core, clientID, messageType, processingTime, success)
	return true
}

// endEarly is called with the lock.
func (pm *PerformanceMonitor) endEarly() {
	pm.early = nil
	pm.isEarly.Store(false)
}

// RecordConnectionEvent counts an event of a client's connection: "connect", "disconnect", "reconnect" (an attempt of a
// client that is connected), "unhealthy" and "healthy". A connect of a connected client counts as a reconnect. With a
// router, "connect" and "disconnect" also connect and disconnect the router's client of this name.
func (pm *PerformanceMonitor) RecordConnectionEvent(event, clientID, application string) error {
	pm.lock.Lock()
	defer pm.lock.Unlock()
	core := pm.now.Load()
	if core == nil {
		return pm.err
	}
	was, known := pm.connected[clientID]
	switch event {
	case "connect":
		if known {
			return core.Reconnected()
		}
		now, err := pm.connect(core, clientID, application)
		if err != nil {
			return fmt.Errorf("signaling: the connection of %q is not counted: %w", clientID, err)
		}
		pm.connected[clientID] = now
		return nil
	case "reconnect":
		return core.Reconnected()
	case "disconnect", "healthy", "unhealthy":
		if !known {
			return fmt.Errorf("signaling: %q is not connected", clientID)
		}
	default:
		return fmt.Errorf("signaling: %q is no event of a connection; use connect, disconnect, reconnect, healthy or unhealthy", event)
	}
	switch {
	case event != "disconnect" && was.recorded == nil:
		return pm.router.mark(clientID, event == "healthy")
	case event != "disconnect":
		return was.recorded.Mark(event == "healthy")
	}
	delete(pm.connected, clientID)
	if was.recorded == nil {
		pm.router.Disconnect(clientID)
		return nil
	}
	return was.recorded.Close()
}

// connect counts a connection: as a client of the router, if there is one.
func (pm *PerformanceMonitor) connect(core *corelane.Monitor, clientID, application string) (connection, error) {
	if pm.router != nil && pm.router.announce(clientID, application) {
		return connection{application, nil}, nil
	}
	recorded, err := core.Connect(clientID, application)
	return connection{application, recorded}, err
}

// forget takes back a connect that the host has told, because the router has closed the client.
func (pm *PerformanceMonitor) forget(clientID string) {
	pm.lock.Lock()
	defer pm.lock.Unlock()
	if was, known := pm.connected[clientID]; known && was.recorded == nil {
		if _, again := pm.router.clients.Load(clientID); !again {
			delete(pm.connected, clientID)
		}
	}
}

// GetStats returns all figures.
func (pm *PerformanceMonitor) GetStats() *PerformanceStats {
	return pm.stats(pm.figures())
}

func (pm *PerformanceMonitor) stats(f *corelane.Snapshot) *PerformanceStats {
	return &PerformanceStats{
		Time: atMillisecond(f.TimeMilliseconds), Since: atMillisecond(f.SinceMilliseconds), Uptime: time.Duration(f.UptimeNanoseconds), Resets: f.Resets,
		Message: messageStats(f), Connection: connectionStats(f), System: withRuntime(systemStats(f)), Routing: pm.routing(f),
		Alerts: pm.alerts(f),
	}
}

// GetMessageStats returns the figures of messages.
func (pm *PerformanceMonitor) GetMessageStats() *MessageProcessingStats {
	return messageStats(pm.figures())
}

// GetConnectionStats returns the figures of connections.
func (pm *PerformanceMonitor) GetConnectionStats() *ConnectionStats {
	return connectionStats(pm.figures())
}

// GetSystemStats returns the figures of the process, the machine and Go's runtime.
func (pm *PerformanceMonitor) GetSystemStats() *SystemStats {
	return withRuntime(systemStats(pm.figures()))
}

// GetRoutingStats returns the figures of the router; nil if none was started.
func (pm *PerformanceMonitor) GetRoutingStats() *RoutingStats { return pm.routing(pm.figures()) }

// GetAlertStats returns the alerts that are raised, and those that are over.
func (pm *PerformanceMonitor) GetAlertStats() *AlertStats { return pm.alerts(pm.figures()) }

// ResetStats starts the figures of messages and connections anew, while recording goes on: nothing is lost between the two
// figures, and nothing is counted in both. Connections that are open, routing, alerts and custom metrics are not reset. It
// returns the figures of the moment before.
func (pm *PerformanceMonitor) ResetStats() *PerformanceStats {
	before := pm.GetStats()
	if core := pm.now.Load(); core != nil {
		_ = core.Reset()
	}
	return before
}

func (pm *PerformanceMonitor) routing(f *corelane.Snapshot) *RoutingStats {
	return pm.fallback.addTo(routingStats(f))
}

func (pm *PerformanceMonitor) alerts(f *corelane.Snapshot) *AlertStats {
	s := alertStats(f)
	s.CallbackPanics = pm.callbacks.panics.Load()
	s.CallbacksDropped += pm.callbacks.dropped.Load()
	return s
}

// figures never returns nil.
func (pm *PerformanceMonitor) figures() *corelane.Snapshot {
	if core := pm.now.Load(); core != nil {
		if snapshot, err := core.Snapshot(); err == nil {
			return snapshot
		}
	}
	pm.lock.Lock()
	defer pm.lock.Unlock()
	if pm.last != nil {
		return pm.last
	}
	return new(corelane.Snapshot)
}

// adopt makes the monitor of a router this monitor's. `then` lets the router run.
func (pm *PerformanceMonitor) adopt(router *ConcurrentMessageRouter, core *corelane.Monitor, then func()) error {
	pm.lock.Lock()
	defer pm.lock.Unlock()
	if pm.err != nil {
		return pm.err
	}
	if pm.router != nil {
		return errors.New("signaling: the monitor belongs to another router")
	}
	old := pm.now.Swap(core)
	pm.router = router
	then()
	for _, e := range pm.early {
		record(core, e.clientID, e.messageType, e.time, e.success)
	}
	pm.endEarly()
	for clientID, was := range pm.connected {
		now, err := pm.connect(core, clientID, was.application)
		if err != nil {
			delete(pm.connected, clientID)
			continue
		}
		pm.connected[clientID] = now
	}
	for name, g := range pm.gauges {
		if now, err := core.Gauge(corelane.Metric{Name: name, Help: g.help}); err == nil {
			now.Set(g.value)
			pm.gauges[name] = gauge{g.help, g.value, now}
		}
	}
	if pm.started {
		pm.callbacks.listen(core)
	}
	if before := pm.exporter; before != nil {
		// What waits of the monitor before is sent meanwhile.
		go pm.endExport(before)
		pm.exporter, _ = core.ExportToElasticsearch(*pm.exported) // The same options.
	}
	return old.Close()
}

// periodically makes the reports and writes the log.
func (pm *PerformanceMonitor) periodically(ctx context.Context) {
	began := time.Now()
	lastReport, lastLook := began, began
	logged := map[slowKind]uint64{}
	for {
		config := pm.Config()
		next := lastLook.Add(config.MonitorInterval)
		if config.ReportInterval > 0 {
			if report := lastReport.Add(config.ReportInterval); report.Before(next) {
				next = report
			}
		}
		wake := time.NewTimer(min(time.Until(next), 100*time.Millisecond))
		select {
		case <-ctx.Done():
			wake.Stop()
			return
		case <-wake.C:
		}
		now := time.Now()
		if now.Sub(lastLook) >= config.MonitorInterval {
			lastLook = now
			if config.EnableLogging {
				logged = pm.logSlow(config, logged)
			}
		}
		if config.ReportInterval > 0 && now.Sub(lastReport) >= config.ReportInterval {
			lastReport = now
			pm.report(config)
		}
	}
}

// report makes a periodic report.
func (pm *PerformanceMonitor) report(config PerformanceMonitorConfig) {
	if !config.EnableLogging && !pm.callbacks.wantReports() {
		return
	}
	report := pm.GetDetailedPerformanceReport()
	if config.EnableLogging {
		m, c := report.Stats.Message, report.Stats.Connection
		config.logger().Info("performance report", "messages", m.TotalMessages, "success_rate", m.SuccessRate,
			"average", m.AverageLatency, "p95", m.P95Latency, "p99", m.P99Latency, "slow", m.SlowMessages,
			"per_second", m.LastMinuteStats.ThroughputPerSec, "connections", c.ActiveConnections,
			"resident_bytes", report.Stats.System.MemoryUsage.ResidentBytes)
	}
	pm.callbacks.tellReport(report)
}

// A slowKind is what slow messages are listed by.
type slowKind struct{ client, messageType, protocol, application string }

// logSlow logs the slow messages that are not logged yet. logged has their numbers at the last look; the result has those of
// now. Times would not do: they have milliseconds, and several messages may end in one.
func (pm *PerformanceMonitor) logSlow(config PerformanceMonitorConfig, logged map[slowKind]uint64) map[slowKind]uint64 {
	now := make(map[slowKind]uint64, len(logged))
	for _, m := range pm.GetMessageStats().SlowMessageDetails {
		kind := slowKind{m.ClientID, m.MessageType, m.Protocol, m.Application}
		now[kind] = m.Count
		if m.Count == logged[kind] {
			continue
		}
		config.logger().Warn("slow message", "client", m.ClientID, "type", m.MessageType, "count", m.Count,
			"queue_wait", m.QueueWait, "processing", m.ProcessingTime, "slowest", m.Slowest, "success", m.Success)
	}
	return now
}

func (c *PerformanceMonitorConfig) logger() *slog.Logger { return cmp.Or(c.Logger, slog.Default()) }

func (pm *PerformanceMonitor) logPanic(what string, value any) {
	if config := pm.Config(); config.EnableLogging {
		config.logger().Error("performance monitor: a callback has panicked", "callback", what, "panic", value)
	}
}

// ExportToPrometheus returns the figures in the Prometheus text format 0.0.4. They count from the start, whatever was reset.
// [PerformanceMonitor.PrometheusHandler] serves them.
func (pm *PerformanceMonitor) ExportToPrometheus() (string, error) {
	if core := pm.now.Load(); core != nil {
		if text, err := core.Metrics(); err == nil {
			return text, nil
		}
	}
	pm.lock.Lock()
	defer pm.lock.Unlock()
	if pm.last == nil {
		return "", pm.err
	}
	return pm.lastMetrics, nil
}

// PrometheusHandler serves ExportToPrometheus, for a path such as /metrics.
func (pm *PerformanceMonitor) PrometheusHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		text, err := pm.ExportToPrometheus()
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write([]byte(text))
	})
}

// ExportToElasticsearch starts to send figures, alerts, slow messages, connections and reports to Elasticsearch or OpenSearch,
// until Stop. The server is that of the field Elasticsearch of the configuration; without it, that of the environment variable
// ELASTICSEARCH_URL, with ELASTICSEARCH_API_KEY, or ELASTICSEARCH_USER and ELASTICSEARCH_PASSWORD. It need not be there yet.
// A second call does nothing. ExportFigures says what was sent and lost.
func (pm *PerformanceMonitor) ExportToElasticsearch() error {
	pm.lock.Lock()
	defer pm.lock.Unlock()
	core := pm.now.Load()
	if pm.err != nil || core == nil {
		return cmp.Or(pm.err, ErrStopped)
	}
	if pm.exporter != nil {
		return nil
	}
	options := pm.config.Elasticsearch
	if options == nil {
		options = &corelane.ElasticsearchOptions{
			URL: os.Getenv("ELASTICSEARCH_URL"), APIKey: os.Getenv("ELASTICSEARCH_API_KEY"),
			User: os.Getenv("ELASTICSEARCH_USER"), Password: os.Getenv("ELASTICSEARCH_PASSWORD"),
		}
	}
	if options.URL == "" {
		return errors.New("signaling: no server to export to: set PerformanceMonitorConfig.Elasticsearch or ELASTICSEARCH_URL")
	}
	exporter, err := core.ExportToElasticsearch(*options)
	if err != nil {
		return fmt.Errorf("signaling: no export to Elasticsearch: %w", err)
	}
	pm.exporter, pm.exported = exporter, options
	return nil
}

// ExportFigures returns what ExportToElasticsearch has sent and lost; the error is that of the last request. After Stop it
// returns the last figures.
func (pm *PerformanceMonitor) ExportFigures() (corelane.ExporterFigures, error) {
	pm.lock.Lock()
	defer pm.lock.Unlock()
	if pm.exporter == nil {
		return pm.lastExport, nil
	}
	figures, err := pm.exporter.Figures()
	if err == nil {
		err = pm.exporter.LastError()
	}
	return figures, err
}

// exportTimeout is how long Stop waits for the last documents.
const exportTimeout = 5 * time.Second

// endExport sends what waits and ends the exporter. The caller does not hold the lock, unless no other goroutine can wait for it
// for long.
func (pm *PerformanceMonitor) endExport(exporter *corelane.Exporter) (figures corelane.ExporterFigures) {
	ctx, cancel := context.WithTimeout(context.Background(), exportTimeout)
	defer cancel()
	_ = exporter.Stop(ctx)
	figures, _ = exporter.Figures()
	_ = exporter.Close()
	return figures
}
