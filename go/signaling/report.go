package signaling

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// DetailedPerformanceReport has everything that is known at one moment.
type DetailedPerformanceReport struct {
	GeneratedAt time.Time
	// Server has the figures of a [SignalingServer]; nil in the report of a monitor.
	Server *ServerStats
	Stats  *PerformanceStats
	// Core is the library's own report with every figure, as JSON (docs/schema.json). Empty if there is none.
	Core json.RawMessage
}

// GetDetailedPerformanceReport returns all figures, with the library's own report.
func (pm *PerformanceMonitor) GetDetailedPerformanceReport() *DetailedPerformanceReport {
	f := pm.figures()
	core, _ := json.Marshal(f)
	return &DetailedPerformanceReport{GeneratedAt: time.Now(), Stats: pm.stats(f), Core: core}
}

// String returns the report as text, for a log or a terminal.
func (r *DetailedPerformanceReport) String() string {
	var b strings.Builder
	line := func(format string, values ...any) { fmt.Fprintf(&b, format+"\n", values...) }
	line("Performance report, %s", r.GeneratedAt.Format(time.RFC3339))
	if r.Server != nil {
		line("Server: %s, up %v, %d clients", r.Server.Address, r.Server.Uptime.Round(time.Second), r.Server.Clients)
	}
	m, c, s := r.Stats.Message, r.Stats.Connection, r.Stats.System
	line("Messages: %d, %.2f%% succeeded, %d slow (over %v)", m.TotalMessages, 100*m.SuccessRate, m.SlowMessages, m.SlowMessageThreshold)
	line("Latency: average %v, p50 %v, p95 %v, p99 %v, maximum %v", m.AverageLatency, m.P50Latency, m.P95Latency, m.P99Latency, m.MaxLatency)
	for _, window := range []struct {
		name  string
		stats *TimeWindowStats
	}{{"minute", m.LastMinuteStats}, {"hour", m.LastHourStats}} {
		w := window.stats
		line("Last %s: %d messages, %.1f per second, %.2f%% errors, p95 %v, p99 %v", window.name, w.MessageCount,
			w.ThroughputPerSec, 100*w.ErrorRate, w.P95Latency, w.P99Latency)
	}
	line("Connections: %d active, %d in total, %d at most, %.0f connects and %.0f disconnects per minute, average duration %v",
		c.ActiveConnections, c.TotalConnections, c.PeakConnections, c.ConnectionsPerMinute, c.DisconnectionsPerMinute,
		c.AverageConnectionDuration)
	line("System: %.1f MB resident (%.1f%% of the threshold), %.1f MB allocated, CPU %.1f%%, %d goroutines, %d collections (last pause %v)",
		megabytes(s.MemoryUsage.ResidentBytes), s.MemoryUsage.UsagePercent, megabytes(s.MemoryUsage.AllocatedBytes),
		s.CPUUsage, s.GoroutineCount, s.GCStats.NumGC, s.GCStats.LastPause)
	if q := r.Stats.Routing; q != nil {
		line("Routing: %d routed, %d errors, %d refused, average %v, %d in flight, %d queued (at most %d), workers %.1f%% busy",
			q.TotalRoutedMessages, q.RoutingErrors, q.RefusedMessages, q.AverageRoutingTime, q.ConcurrentMessages,
			q.QueuedMessages, q.MaxQueueDepth, q.WorkerUsage)
	}
	for _, a := range r.Stats.Alerts.Current {
		line("Alert: %s", a.Message)
	}
	return b.String()
}

func megabytes(bytes uint64) float64 { return float64(bytes) / (1 << 20) }
