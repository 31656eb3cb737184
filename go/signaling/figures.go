package signaling

import (
	"time"

	corelane "github.com/corelane/corelane/go"
)

// This file turns the core's figures into those of the specification.

// or returns the value, or zero for a figure without a value.
func or[T any](value *T) T {
	if value == nil {
		var zero T
		return zero
	}
	return *value
}

func atMillisecond(ms uint64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms))
}

func latency(l *corelane.LatencyStats, unit time.Duration) LatencyStats {
	if l == nil {
		return LatencyStats{}
	}
	d := func(value *uint64) time.Duration { return time.Duration(or(value)) * unit }
	return LatencyStats{
		Count: l.Count, Average: d(l.Average), Min: d(l.Minimum), Max: d(l.Maximum),
		P50: d(l.P50), P90: d(l.P90), P95: d(l.P95), P99: d(l.P99), P999: d(l.P999),
	}
}

func messageStats(f *corelane.Snapshot) *MessageProcessingStats {
	s := &MessageProcessingStats{
		LatencyDistribution: map[string]uint64{},
		FailureReasons:      map[string]uint64{},
		MessageTypeStats:    series(f.Types),
		ProtocolStats:       series(f.Protocols),
		ApplicationStats:    series(f.Applications),
		LastMinuteStats:     new(TimeWindowStats),
		LastHourStats:       new(TimeWindowStats),
		LastDayStats:        new(TimeWindowStats),
	}
	if m := f.Messages; m != nil {
		s.TotalMessages, s.SuccessfulMessages = m.Total, m.Succeeded
		s.FailedMessages, s.ExpiredMessages = m.Failed+m.Expired, m.Expired
		s.SuccessRate = or(m.SuccessRate)
		if m.Total > 0 {
			s.ErrorRate = float64(s.FailedMessages) / float64(m.Total)
		}
		l := latency(&m.Latency, time.Nanosecond)
		s.AverageLatency, s.MinLatency, s.MaxLatency = l.Average, l.Min, l.Max
		s.P50Latency, s.P90Latency, s.P95Latency, s.P99Latency, s.P999Latency = l.P50, l.P90, l.P95, l.P99, l.P999
		s.QueueWait, s.Write = latency(&m.QueueWait, time.Nanosecond), latency(&m.Write, time.Nanosecond)
		s.SlowMessages = m.Slow
		for _, b := range m.Buckets {
			s.LatencyBuckets = append(s.LatencyBuckets, LatencyBucket{b.Name, b.Count})
			s.LatencyDistribution[b.Name] = b.Count
		}
		for reason, count := range m.Failures {
			if count > 0 {
				s.FailureReasons[reason] = count
			}
		}
		s.BytesReceived, s.BytesSent = m.BytesIn, m.BytesOut
		s.LastMinuteStats, s.LastHourStats, s.LastDayStats =
			window(&m.Windows.LastMinute), window(&m.Windows.LastHour), window(&m.Windows.LastDay)
	}
	if f.SlowMessages != nil {
		s.SlowMessageThreshold = time.Duration(f.SlowMessages.ThresholdNanoseconds)
		for _, e := range f.SlowMessages.Entries {
			s.SlowMessageDetails = append(s.SlowMessageDetails, SlowMessage{
				ClientID: e.Client, MessageType: e.MessageType, Protocol: e.Protocol, Application: e.Application,
				Count: e.Count, First: atMillisecond(e.FirstMilliseconds), Last: atMillisecond(e.LastMilliseconds),
				Success: e.Succeeded, Size: e.Bytes, QueueWait: time.Duration(e.QueueWaitNanoseconds),
				ProcessingTime: time.Duration(e.ServiceNanoseconds), Slowest: time.Duration(e.SlowestNanoseconds),
			})
		}
	}
	if f.Clients != nil {
		for i := range f.Clients.ByMessages {
			s.TopClients = append(s.TopClients, clientStats(&f.Clients.ByMessages[i]))
		}
	}
	return s
}

func clientStats(c *corelane.ClientFigures) ClientStats {
	return ClientStats{
		ClientID: c.Name, Application: c.Application, Connected: c.Connected, Healthy: c.Healthy,
		Messages: c.Messages, Errors: c.Errors, BytesIn: c.BytesIn, BytesOut: c.BytesOut,
		AverageLatency: time.Duration(or(c.AverageNanoseconds)), MaxLatency: time.Duration(c.MaximumNanoseconds),
		LastActivity:        atMillisecond(c.LastActivityMilliseconds),
		ConnectedFor:        time.Duration(c.ConnectedForMilliseconds) * time.Millisecond,
		Idle:                time.Duration(c.IdleMilliseconds) * time.Millisecond,
		OutstandingMessages: c.OutstandingMessages, UndeliveredMessages: c.Undelivered,
	}
}

// series leaves out what was never seen.
func series(of []corelane.SeriesFigures) map[string]*MessageTypeStats {
	all := map[string]*MessageTypeStats{}
	for i := range of {
		f := &of[i]
		if f.Total == 0 {
			continue
		}
		l := latency(&f.Latency, time.Nanosecond)
		s := &MessageTypeStats{
			Count: f.Total, SuccessCount: f.Succeeded, ErrorCount: f.Total - f.Succeeded, SlowCount: f.Slow,
			Bytes: f.Bytes, AverageLatency: l.Average, MinLatency: l.Min, MaxLatency: l.Max,
			P95Latency: l.P95, P99Latency: l.P99, TotalLatency: time.Duration(f.TotalNanoseconds),
			LastProcessed: atMillisecond(or(f.LastProcessedMilliseconds)),
		}
		if before := all[f.Name]; before != nil {
			s.add(before)
		}
		all[f.Name] = s
	}
	return all
}

func (s *MessageTypeStats) add(o *MessageTypeStats) {
	if o.Count > s.Count {
		s.P95Latency, s.P99Latency = o.P95Latency, o.P99Latency
	}
	s.Count += o.Count
	s.SuccessCount += o.SuccessCount
	s.ErrorCount += o.ErrorCount
	s.SlowCount += o.SlowCount
	s.Bytes += o.Bytes
	s.TotalLatency += o.TotalLatency
	s.AverageLatency = s.TotalLatency / time.Duration(s.Count)
	s.MinLatency = min(s.MinLatency, o.MinLatency)
	s.MaxLatency = max(s.MaxLatency, o.MaxLatency)
	if o.LastProcessed.After(s.LastProcessed) {
		s.LastProcessed = o.LastProcessed
	}
}

func window(w *corelane.WindowStats) *TimeWindowStats {
	d := func(value *uint64) time.Duration { return time.Duration(or(value)) }
	return &TimeWindowStats{
		StartTime: atMillisecond(w.StartMilliseconds), EndTime: atMillisecond(w.EndMilliseconds),
		MessageCount: w.Count, ErrorCount: w.Errors, SlowCount: w.Slow, Bytes: w.Bytes, ErrorRate: or(w.ErrorRate),
		AverageLatency: d(w.Average), MaxLatency: d(w.Maximum), P50Latency: d(w.P50), P95Latency: d(w.P95),
		P99Latency: d(w.P99), ThroughputPerSec: or(w.ThroughputPerSecond),
	}
}

func connectionStats(f *corelane.Snapshot) *ConnectionStats {
	c := &f.Connections
	s := &ConnectionStats{
		TotalConnections: c.Total, ActiveConnections: int(c.Active), PeakConnections: int(c.Peak),
		AverageConnectionDuration: time.Duration(or(c.AverageDurationMilliseconds)) * time.Millisecond,
		ConnectionDurations:       latency(c.ClosedMilliseconds, time.Millisecond),
		OpenDurations:             latency(c.OpenMilliseconds, time.Millisecond),
		ConnectionsPerMinute:      float64(c.ConnectsLastMinute),
		DisconnectionsPerMinute:   float64(c.DisconnectsLastMinute),
		HealthyConnections:        int(or(c.Healthy)), UnhealthyConnections: int(or(c.Unhealthy)),
		ReconnectAttempts: c.ReconnectAttempts,
		AppConnections:    map[string]*AppConnectionStats{},
	}
	for _, a := range c.Applications {
		if a.Total > 0 || a.Active > 0 {
			s.AppConnections[a.Name] = &AppConnectionStats{int(a.Active), a.Total, atMillisecond(or(a.LastActivityMilliseconds))}
		}
	}
	return s
}

// systemStats leaves Go's runtime out.
func systemStats(f *corelane.Snapshot) *SystemStats {
	s := new(SystemStats)
	if f.System == nil {
		return s
	}
	c, m, p := &f.System.CPU, &f.System.Memory, &f.System.Process
	s.CPUUsage, s.MachineCPU = 100*or(c.ProcessShare), 100*or(c.SystemShare)
	s.CPUTime = time.Duration(c.ProcessNanoseconds)
	if l := c.LoadAverage; l != nil {
		s.LoadAverage = [3]float64{l.One, l.Five, l.Fifteen}
	}
	s.MemoryUsage = MemoryUsage{
		LibraryBytes: or(m.HeapBytes), ResidentBytes: or(m.ResidentBytes), VirtualBytes: or(m.VirtualBytes),
		SystemBytes: or(m.SystemTotalBytes), AvailableBytes: or(m.SystemAvailableBytes), LimitBytes: or(m.LimitBytes),
		UsagePercent: 100 * or(m.ShareOfThreshold),
	}
	s.ThreadCount, s.OpenFiles = int(or(p.Threads)), int(or(p.OpenDescriptors))
	if l := f.System.Load; l != nil {
		s.SystemLoad = SystemLoad{l.QueueMessages, 100 * or(l.ConnectionPoolUse), 100 * or(l.WorkerPoolUse)}
	}
	return s
}

// routingStats is nil without a router.
func routingStats(f *corelane.Snapshot) *RoutingStats {
	r := f.Routing
	if r == nil {
		return nil
	}
	a, t := &r.Accounting, &r.Totals
	s := &RoutingStats{
		TotalRoutedMessages: a.Ok + a.Failed + a.Expired, RoutingErrors: a.Failed + a.Expired, RefusedMessages: a.Refused,
		AverageRoutingTime: time.Duration(or(t.AverageNanoseconds)), ConcurrentMessages: a.InFlight,
		MaxConcurrency: t.ConcurrencyMaximumOfAWorker, QueuedMessages: t.QueueMessages,
		MessagesPerSecond: r.Rates.MessagesPerSecond, WorkerUsage: 100 * r.Rates.Utilisation,
		ActiveWorkers: int(t.WorkersActive), IdleWorkers: int(t.WorkersIdle), StalledWorkers: int(r.WorkersStalled),
		Deliveries: a.Deliveries, Consumed: a.Consumed, Undeliverable: a.Undeliverable, QueuedDeliveries: a.Queued,
		Refusals: map[string]uint64{},
	}
	for reason, count := range a.Refusals {
		if count > 0 {
			s.Refusals[reason] = count
		}
	}
	for i := range r.Workers {
		w := &r.Workers[i]
		s.MaxQueueDepth = max(s.MaxQueueDepth, w.QueueMessagesMaximum)
		s.Workers = append(s.Workers, WorkerStats{
			Processed: w.Ended, Failed: w.Failed, Expired: w.Expired,
			AverageTime: time.Duration(or(w.AverageNanoseconds)), IdleTime: time.Duration(w.IdleNanoseconds),
			Parks: w.Parks, FullBatches: w.FullBatches, QueueDepth: w.QueueMessages,
			MaxQueueDepth: w.QueueMessagesMaximum, Stalled: w.Stalled,
		})
	}
	return s
}

func alertStats(f *corelane.Snapshot) *AlertStats {
	s := &AlertStats{Raised: f.Alerts.Raised, Resolved: f.Alerts.Resolved, CallbacksDropped: f.Alerts.NotificationsDropped}
	for i := range f.Alerts.Current {
		s.Current = append(s.Current, newAlert(&f.Alerts.Current[i]))
	}
	for i := range f.Alerts.History {
		s.History = append(s.History, newAlert(&f.Alerts.History[i]))
	}
	return s
}

// newAlert converts an alert. Its time is that of its last change.
func newAlert(a *corelane.Alert) PerformanceAlert {
	at := a.Since
	if a.Raised != nil {
		at = *a.Raised
	}
	if a.Resolved != nil {
		at = *a.Resolved
	}
	value, threshold := inUnit(a.Name, float64(a.CurrentValue)), inUnit(a.Name, a.Threshold)
	alert := PerformanceAlert{
		Type: a.Name, Severity: string(a.Severity), Message: a.Message, State: string(a.State),
		Timestamp: atMillisecond(at), CurrentValue: value, Threshold: threshold,
		Details: map[string]any{"id": a.ID, "metric": a.Metric, "since": atMillisecond(a.Since), "threshold": threshold,
			"current_value": value},
	}
	if a.LabelSet != "" {
		alert.Details["label_set"] = a.LabelSet
	}
	for _, detail := range a.Details {
		alert.Details[detail[0]] = detail[1]
	}
	return alert
}

// inUnit returns what a reader of the specification expects of the value of an alert.
func inUnit(name string, value float64) any {
	switch name {
	case "memory":
		return uint64(max(value, 0))
	case "connections":
		return int(value)
	}
	return value
}
