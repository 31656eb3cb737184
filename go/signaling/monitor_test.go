package signaling

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// quick returns a configuration whose alerts come soon.
func quick() *PerformanceMonitorConfig {
	config := DefaultPerformanceMonitorConfig()
	config.MonitorInterval = 100 * time.Millisecond
	return config
}

// started returns a monitor that runs until the end of the test.
func started(t *testing.T, config *PerformanceMonitorConfig) *PerformanceMonitor {
	t.Helper()
	pm := NewPerformanceMonitor(config)
	if err := pm.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pm.Stop)
	return pm
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// near allows the 3.13 % of a percentile.
func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if math.Abs(float64(got-want)) > 0.0313*float64(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func eventually(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ready(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// TestEveryFigureOfMessages feeds known input and checks each figure.
func TestEveryFigureOfMessages(t *testing.T) {
	config := quick()
	config.SlowMessageThreshold = 200 * time.Millisecond
	pm := started(t, config)
	for i := range 100 {
		pm.RecordMessageProcessing("ann", "ping", time.Duration(i+1)*time.Millisecond, true)
	}
	for range 10 {
		pm.RecordMessageProcessing("ben", "offer", 300*time.Millisecond, false)
	}
	m := pm.GetMessageStats()
	equal(t, "total", m.TotalMessages, 110)
	equal(t, "succeeded", m.SuccessfulMessages, 100)
	equal(t, "failed", m.FailedMessages, 10)
	equal(t, "expired", m.ExpiredMessages, 0)
	equal(t, "success rate", m.SuccessRate, 100.0/110)
	equal(t, "error rate", m.ErrorRate, 10.0/110)
	equal(t, "average", m.AverageLatency, (5050*time.Millisecond+3000*time.Millisecond)/110)
	equal(t, "minimum", m.MinLatency, time.Millisecond)
	equal(t, "maximum", m.MaxLatency, 300*time.Millisecond)
	near(t, "p50", m.P50Latency, 55*time.Millisecond)
	near(t, "p90", m.P90Latency, 99*time.Millisecond)
	near(t, "p95", m.P95Latency, 300*time.Millisecond)
	near(t, "p99", m.P99Latency, 300*time.Millisecond)
	equal(t, "slow", m.SlowMessages, 10)
	equal(t, "threshold", m.SlowMessageThreshold, 200*time.Millisecond)
	for name, want := range map[string]uint64{"0-1ms": 0, "1-5ms": 4, "5-10ms": 5, "10-50ms": 40, "50-100ms": 50,
		"100-500ms": 11, "500ms-1s": 0, "1s-5s": 0, "5s+": 0} {
		equal(t, "distribution "+name, m.LatencyDistribution[name], want)
	}
	equal(t, "buckets", len(m.LatencyBuckets), 9)
	equal(t, "failures", m.FailureReasons["reported"], 10)

	if len(m.SlowMessageDetails) != 1 {
		t.Fatalf("slow messages: %+v", m.SlowMessageDetails)
	}
	slow := m.SlowMessageDetails[0]
	equal(t, "slow client", slow.ClientID, "ben")
	equal(t, "slow type", slow.MessageType, "offer")
	equal(t, "slow count", slow.Count, 10)
	equal(t, "slow success", slow.Success, false)
	equal(t, "slow time", slow.ProcessingTime, 300*time.Millisecond)
	equal(t, "slowest", slow.Slowest, 300*time.Millisecond)

	offer := m.MessageTypeStats["offer"]
	if offer == nil {
		t.Fatalf("types: %v", m.MessageTypeStats)
	}
	equal(t, "offers", offer.Count, 10)
	equal(t, "offer errors", offer.ErrorCount, 10)
	equal(t, "offer successes", offer.SuccessCount, 0)
	equal(t, "offer slow", offer.SlowCount, 10)
	equal(t, "offer average", offer.AverageLatency, 300*time.Millisecond)
	equal(t, "offer total", offer.TotalLatency, 3*time.Second)
	if time.Since(offer.LastProcessed) > time.Minute {
		t.Errorf("offer last: %v", offer.LastProcessed)
	}
	equal(t, "pings", m.MessageTypeStats["ping"].Count, 100)

	clients := map[string]ClientStats{}
	for _, c := range m.TopClients {
		clients[c.ClientID] = c
	}
	equal(t, "ann's messages", clients["ann"].Messages, 100)
	equal(t, "ben's errors", clients["ben"].Errors, 10)
	equal(t, "ben's maximum", clients["ben"].MaxLatency, 300*time.Millisecond)

	// The windows are filled once a second.
	eventually(t, "the last minute has all", func() bool {
		w := pm.GetMessageStats().LastMinuteStats
		return w.MessageCount == 110 && w.ErrorCount == 10 && w.SlowCount == 10 && w.ThroughputPerSec > 0 &&
			w.AverageLatency == m.AverageLatency && w.P95Latency == m.P95Latency && w.EndTime.After(w.StartTime)
	})
	equal(t, "last hour", pm.GetMessageStats().LastHourStats.MessageCount, 110)
}

func TestEveryFigureOfConnections(t *testing.T) {
	pm := started(t, quick())
	for _, client := range []string{"a", "b", "c"} {
		if err := pm.RecordConnectionEvent("connect", client, "shop"); err != nil {
			t.Fatal(err)
		}
	}
	_ = pm.RecordConnectionEvent("connect", "a", "shop") // It is connected: an attempt to reconnect.
	_ = pm.RecordConnectionEvent("reconnect", "b", "shop")
	_ = pm.RecordConnectionEvent("unhealthy", "b", "shop")
	time.Sleep(20 * time.Millisecond)
	if err := pm.RecordConnectionEvent("disconnect", "c", "shop"); err != nil {
		t.Fatal(err)
	}
	c := pm.GetConnectionStats()
	equal(t, "total", c.TotalConnections, 3)
	equal(t, "active", c.ActiveConnections, 2)
	equal(t, "peak", c.PeakConnections, 3)
	equal(t, "reconnects", c.ReconnectAttempts, 2)
	if c.AverageConnectionDuration < 20*time.Millisecond || c.AverageConnectionDuration > 20*time.Second {
		t.Errorf("average duration: %v", c.AverageConnectionDuration)
	}
	equal(t, "ended connections", c.ConnectionDurations.Count, 1)
	equal(t, "open connections", c.OpenDurations.Count, 2)
	shop := c.AppConnections["shop"]
	if shop == nil {
		t.Fatalf("applications: %v", c.AppConnections)
	}
	equal(t, "shop active", shop.ActiveConnections, 2)
	equal(t, "shop total", shop.TotalConnections, 3)
	if time.Since(shop.LastActivity) > time.Minute {
		t.Errorf("shop last: %v", shop.LastActivity)
	}
	eventually(t, "the rates and the health", func() bool {
		c := pm.GetConnectionStats()
		return c.ConnectionsPerMinute == 3 && c.DisconnectionsPerMinute == 1 && c.HealthyConnections == 1 && c.UnhealthyConnections == 1
	})
	_ = pm.RecordConnectionEvent("healthy", "b", "")
	eventually(t, "b is healthy again", func() bool { return pm.GetConnectionStats().HealthyConnections == 2 })

	for _, wrong := range [][2]string{{"disconnect", "c"}, {"disconnect", "nobody"}, {"healthy", "nobody"}, {"vanish", "a"}} {
		if err := pm.RecordConnectionEvent(wrong[0], wrong[1], ""); err == nil {
			t.Errorf("%v is accepted", wrong)
		}
	}
	equal(t, "active after wrong events", pm.GetConnectionStats().ActiveConnections, 2)
}

var ballast []byte

func TestEveryFigureOfTheSystem(t *testing.T) {
	pm := started(t, quick())
	ballast = make([]byte, 8<<20)
	eventually(t, "a look at the system", func() bool { return pm.GetSystemStats().MemoryUsage.ResidentBytes > 0 })
	s := pm.GetSystemStats()
	m := s.MemoryUsage
	for name, value := range map[string]uint64{"allocated": m.AllocatedBytes, "total allocated": m.TotalAllocatedBytes,
		"heap": m.HeapBytes, "stack": m.StackBytes, "runtime": m.RuntimeBytes, "resident": m.ResidentBytes,
		"virtual": m.VirtualBytes, "machine": m.SystemBytes, "available": m.AvailableBytes} {
		if value == 0 {
			t.Errorf("%s is 0", name)
		}
	}
	if m.HeapBytes < 8<<20 || m.AllocatedBytes < m.HeapBytes || m.ResidentBytes > m.VirtualBytes {
		t.Errorf("memory: %+v", m)
	}
	equal(t, "usage", math.Abs(m.UsagePercent-100*float64(m.ResidentBytes)/(1<<30)) < 1e-6, true)
	if s.GoroutineCount < 2 || s.ThreadCount < 2 || s.OpenFiles < 3 {
		t.Errorf("goroutines %d, threads %d, files %d", s.GoroutineCount, s.ThreadCount, s.OpenFiles)
	}
	eventually(t, "processor time", func() bool {
		s := pm.GetSystemStats()
		return s.CPUUsage >= 0 && s.CPUTime > 0
	})
	collections := s.GCStats.NumGC
	collect()
	s = pm.GetSystemStats()
	if s.GCStats.NumGC <= collections || s.GCStats.TotalPause == 0 || s.GCStats.LastPause == 0 ||
		s.GCStats.AveragePause == 0 || s.GCStats.LastGC.IsZero() {
		t.Errorf("collections: %+v", s.GCStats)
	}
}

func TestTheThreeAlertsOfTheSpecification(t *testing.T) {
	config := quick()
	config.HighMemoryThreshold = 1 << 20
	config.HighConnectionThreshold = 2
	config.HighErrorRateThreshold = 0.1
	pm := started(t, config)
	var lock sync.Mutex
	seen := map[string]*PerformanceAlert{}
	var inside atomic.Int32
	pm.AddAlertCallback(func(*PerformanceAlert) { panic("a callback") })
	pm.AddAlertCallback(func(alert *PerformanceAlert) {
		if inside.Add(1) != 1 {
			t.Error("two callbacks at once")
		}
		defer inside.Add(-1)
		alert.Details["mine"] = true // Each callback has an alert of its own.
		lock.Lock()
		defer lock.Unlock()
		seen[alert.Type] = alert
	})
	for _, client := range []string{"a", "b", "c"} {
		_ = pm.RecordConnectionEvent("connect", client, "")
	}
	eventually(t, "the three alerts", func() bool {
		for i := range 40 {
			pm.RecordMessageProcessing([]string{"a", "b", "c"}[i%3], "offer", time.Millisecond, i%2 == 0)
		}
		lock.Lock()
		defer lock.Unlock()
		return seen["memory"] != nil && seen["connections"] != nil && seen["error_rate"] != nil
	})
	lock.Lock()
	defer lock.Unlock()
	if bytes, ok := seen["memory"].CurrentValue.(uint64); !ok || bytes < 1<<20 {
		t.Errorf("memory: %v", seen["memory"].CurrentValue)
	}
	equal[any](t, "connections", seen["connections"].CurrentValue, 3)
	equal[any](t, "threshold", seen["connections"].Threshold, 2)
	if rate, ok := seen["error_rate"].CurrentValue.(float64); !ok || rate < 0.3 || rate > 0.7 {
		t.Errorf("error rate: %v", seen["error_rate"].CurrentValue)
	}
	for name, alert := range seen {
		if alert.Message == "" || alert.Severity == "" || alert.State != "firing" || alert.Details["metric"] == nil ||
			time.Since(alert.Timestamp) > time.Minute {
			t.Errorf("%s: %+v", name, alert)
		}
	}
	s := pm.GetAlertStats()
	if s.Raised < 3 || len(s.Current) < 3 || s.CallbackPanics < 3 {
		t.Errorf("alerts: %+v", s)
	}
}

func TestAnAlertEndsAndIsToldOnlyToWhoAsks(t *testing.T) {
	config := quick()
	config.HighConnectionThreshold = 1
	pm := started(t, config)
	var raised, resolved atomic.Int32
	pm.AddAlertCallback(func(alert *PerformanceAlert) {
		if alert.Type == "connections" {
			raised.Add(1)
			if alert.State == "resolved" {
				t.Error("told that it is over")
			}
		}
	})
	pm.AddAlertChangeCallback(func(alert *PerformanceAlert) {
		if alert.Type == "connections" && alert.State == "resolved" {
			resolved.Add(1)
		}
	})
	_ = pm.RecordConnectionEvent("connect", "a", "")
	_ = pm.RecordConnectionEvent("connect", "b", "")
	eventually(t, "the alert", func() bool { return raised.Load() == 1 })
	if err := pm.SetConfig(quick()); err != nil { // A threshold that is not reached.
		t.Fatal(err)
	}
	eventually(t, "its end", func() bool { return resolved.Load() == 1 })
	equal(t, "raised", raised.Load(), 1)
	eventually(t, "the history", func() bool {
		s := pm.GetAlertStats()
		return len(s.History) == 1 && s.History[0].Type == "connections" && s.History[0].State == "resolved"
	})
}

func TestResetWhileOthersRecordLosesNothing(t *testing.T) {
	pm := started(t, quick())
	const threads, each = 4, 5000
	var all sync.WaitGroup
	for thread := range threads {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := range each {
				pm.RecordMessageProcessing([]string{"a", "b"}[thread%2], "ping", time.Microsecond, i%2 == 0)
			}
		}()
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(3 * time.Millisecond):
			pm.ResetStats()
		}
	}
	if before := pm.ResetStats().Message; before.TotalMessages > threads*each {
		t.Errorf("%d messages", before.TotalMessages)
	}
	after := pm.GetStats()
	equal(t, "messages after the reset", after.Message.TotalMessages, 0)
	if after.Resets < 1 || time.Since(after.Since) > time.Minute {
		t.Errorf("%+v", after)
	}
}

func TestWrongConfigurations(t *testing.T) {
	for field, change := range map[string]func(*PerformanceMonitorConfig){
		"MonitorInterval":         func(c *PerformanceMonitorConfig) { c.MonitorInterval = time.Millisecond },
		"ReportInterval":          func(c *PerformanceMonitorConfig) { c.ReportInterval = 48 * time.Hour },
		"SlowMessageThreshold":    func(c *PerformanceMonitorConfig) { c.SlowMessageThreshold = 1500 * time.Microsecond },
		"HighMemoryThreshold":     func(c *PerformanceMonitorConfig) { c.HighMemoryThreshold = 5 },
		"HighConnectionThreshold": func(c *PerformanceMonitorConfig) { c.HighConnectionThreshold = -1 },
		"HighErrorRateThreshold":  func(c *PerformanceMonitorConfig) { c.HighErrorRateThreshold = math.NaN() },
		"MaxConcurrentMessages":   func(c *PerformanceMonitorConfig) { c.MaxConcurrentMessages = 2_000_000_000 },
	} {
		config := DefaultPerformanceMonitorConfig()
		change(config)
		pm := NewPerformanceMonitor(config)
		err := pm.Start()
		var wrong *ConfigError
		if !errors.As(err, &wrong) || wrong.Field != "PerformanceMonitorConfig."+field || pm.Err() == nil {
			t.Errorf("%s: %v", field, err)
		}
		// It still accepts every call.
		pm.RecordMessageProcessing("a", "b", time.Second, true)
		pm.AddAlertCallback(func(*PerformanceAlert) {})
		if pm.RecordConnectionEvent("connect", "a", "") == nil || pm.GetStats().Message.TotalMessages != 0 || pm.SetConfig(nil) == nil {
			t.Errorf("%s: it works", field)
		}
		pm.ResetStats()
		pm.Stop()
	}
	for field, config := range map[string]*ConcurrentRouterConfig{
		"WorkerCount":       {WorkerCount: 65},
		"QueueSize":         {QueueSize: -1},
		"MaxQueueWaitTime":  {MaxQueueWaitTime: 2 * time.Hour},
		"LoadBalanceMode":   {LoadBalanceMode: "random"},
		"ProcessingTimeout": {ProcessingTimeout: time.Nanosecond},
	} {
		var wrong *ConfigError
		if err := config.Validate(); !errors.As(err, &wrong) || wrong.Field != "ConcurrentRouterConfig."+field {
			t.Errorf("%s: %v", field, err)
		}
		pm := NewPerformanceMonitor(nil)
		router := NewConcurrentMessageRouter(nil, config, pm)
		if err := router.Start(); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", field, err)
		}
		pm.Stop()
	}
}

func TestDefaultsArePresets(t *testing.T) {
	d := DefaultPerformanceMonitorConfig()
	equal(t, "monitor", *d, PerformanceMonitorConfig{MonitorInterval: 5 * time.Second, ReportInterval: time.Minute,
		SlowMessageThreshold: time.Second, HighMemoryThreshold: 1073741824, HighConnectionThreshold: 1000,
		HighErrorRateThreshold: 0.05, EnableConcurrentRouting: true, MaxConcurrentMessages: 100, DetailedStatsEnabled: true})
	equal(t, "router", *DefaultConcurrentRouterConfig(), ConcurrentRouterConfig{10, 1000, 5 * time.Second, "least_loaded",
		30 * time.Second, true})
	for _, config := range []*PerformanceMonitorConfig{d, ProductionPerformanceMonitorConfig(), {}, nil} {
		if err := config.Validate(); err != nil {
			t.Error(err)
		}
	}
	filled := (&PerformanceMonitorConfig{EnableConcurrentRouting: true, DetailedStatsEnabled: true}).withDefaults()
	equal(t, "zeros", filled, *d)
}

func TestAStoppedMonitorKeepsItsFigures(t *testing.T) {
	pm := NewPerformanceMonitor(quick())
	if err := pm.Start(); err != nil {
		t.Fatal(err)
	}
	pm.RecordMessageProcessing("a", "ping", time.Millisecond, true)
	pm.Stop()
	pm.Stop()
	pm.RecordMessageProcessing("a", "ping", time.Millisecond, true)
	equal(t, "messages", pm.GetMessageStats().TotalMessages, 1)
	text, err := pm.ExportToPrometheus()
	if err != nil || !strings.Contains(text, "corelane") {
		t.Errorf("%q, %v", text, err)
	}
	if !errors.Is(pm.Start(), ErrStopped) || !errors.Is(pm.RecordConnectionEvent("connect", "a", ""), ErrStopped) {
		t.Error("it starts again")
	}
}

func TestStopInsideACallback(t *testing.T) {
	config := quick()
	config.HighMemoryThreshold = 1 << 20
	pm := started(t, config)
	stopped := make(chan struct{})
	var once sync.Once
	pm.AddAlertCallback(func(*PerformanceAlert) { pm.Stop(); once.Do(func() { close(stopped) }) })
	select {
	case <-stopped:
	case <-time.After(60 * time.Second):
		t.Fatal("it hangs")
	}
}

func TestReportsAndLog(t *testing.T) {
	var lock sync.Mutex
	var log bytes.Buffer
	config := quick()
	config.ReportInterval = 150 * time.Millisecond
	config.SlowMessageThreshold = 10 * time.Millisecond
	config.EnableLogging = true
	config.Logger = slog.New(slog.NewTextHandler(locked{&lock, &log}, nil))
	pm := started(t, config)
	reports := make(chan *DetailedPerformanceReport, 100)
	pm.AddReportCallback(func(*DetailedPerformanceReport) { panic("a callback") })
	pm.AddReportCallback(func(report *DetailedPerformanceReport) { reports <- report })
	pm.RecordMessageProcessing("ann", "offer", 20*time.Millisecond, true)
	var report *DetailedPerformanceReport
	for range 2 {
		select {
		case report = <-reports:
		case <-time.After(60 * time.Second):
			t.Fatal("no report")
		}
	}
	equal(t, "messages", report.Stats.Message.TotalMessages, 1)
	if text := report.String(); !strings.Contains(text, "Messages: 1") || !strings.Contains(text, "Connections: 0") {
		t.Error(text)
	}
	if !bytes.Contains(report.Core, []byte(`"schema_version"`)) {
		t.Errorf("%s", report.Core)
	}
	eventually(t, "the log has both", func() bool {
		lock.Lock()
		defer lock.Unlock()
		text := log.String()
		return strings.Contains(text, "performance report") && strings.Contains(text, "slow message") &&
			strings.Contains(text, "client=ann") && strings.Contains(text, "panicked")
	})
}

type locked struct {
	lock *sync.Mutex
	to   *bytes.Buffer
}

func (l locked) Write(p []byte) (int, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.to.Write(p)
}

// TestExportToElasticsearch: documents come, also after a router has taken the monitor over, and Stop sends the last ones.
func TestExportToElasticsearch(t *testing.T) {
	var bulks atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if r.URL.Path != "/_bulk" {
			_, _ = io.WriteString(w, `{"acknowledged":true}`)
			return
		}
		bulks.Add(1)
		items := strings.Repeat(`{"create":{"status":201}},`, bytes.Count(text, []byte("\n"))/2)
		_, _ = io.WriteString(w, `{"items":[`+strings.TrimSuffix(items, ",")+"]}")
	}))
	defer server.Close()
	t.Setenv("ELASTICSEARCH_URL", "")
	config := DefaultPerformanceMonitorConfig()
	pm := NewPerformanceMonitor(config)
	defer pm.Stop()
	if err := pm.ExportToElasticsearch(); err == nil || !strings.Contains(err.Error(), "ELASTICSEARCH_URL") {
		t.Fatal(err)
	}
	t.Setenv("ELASTICSEARCH_URL", server.URL)
	for range 2 {
		if err := pm.ExportToElasticsearch(); err != nil {
			t.Fatal(err)
		}
	}
	r := NewConcurrentMessageRouter(nil, nil, pm)
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.RouteMessage([]byte(`{"type":"ping"}`), "ann"); err != nil {
		t.Fatal(err)
	}
	r.Stop()
	pm.Stop()
	figures, err := pm.ExportFigures()
	if err != nil || figures.Sent == 0 || figures.Dropped != 0 || bulks.Load() == 0 {
		t.Fatalf("%+v %v", figures, err)
	}
	if err := pm.ExportToElasticsearch(); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
}
