package corelane_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corelane "github.com/corelane/corelane/go"
)

func startMonitor(t testing.TB, config corelane.Config) *corelane.Monitor {
	t.Helper()
	monitor, err := corelane.StartMonitor(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := monitor.Close(); err != nil {
			t.Error(err)
		}
	})
	return monitor
}

func snapshot(t testing.TB, monitor *corelane.Monitor) *corelane.Snapshot {
	t.Helper()
	snapshot, err := monitor.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

func TestEveryRecordedMessageIsInTheNextSnapshot(t *testing.T) {
	needLibrary(t)
	monitor := startMonitor(t, nil)
	recorder, err := monitor.Recorder("sip", "offer", "web")
	if err != nil {
		t.Fatal(err)
	}
	const goroutines, messages = 50, 3000
	var all sync.WaitGroup
	for range goroutines {
		all.Add(1)
		go func() {
			defer all.Done()
			for at := range messages {
				reason := corelane.ReasonNone
				switch at % 10 {
				case 0:
					reason = corelane.ReasonUnknownRecipient
				case 1:
					reason = corelane.ReasonExpired
				case 2:
					reason = corelane.ReasonRateLimited // A refusal: counts as reported.
				}
				recorder.Record(corelane.Sample{Bytes: 100, Service: 2 * time.Millisecond, Reason: reason})
			}
		}()
	}
	all.Wait()
	got := snapshot(t, monitor).Messages
	const total = goroutines * messages
	if got.Total != total || got.Succeeded != total*7/10 || got.Failed != total*2/10 || got.Expired != total/10 ||
		got.BytesIn != total*100 || got.Failures["reported"] != total/10 || got.Failures["unknown_recipient"] != total/10 {
		t.Errorf("%+v", got)
	}
	if got.Latency.Average == nil || *got.Latency.Average != 2_000_000 {
		t.Errorf("average: %v", got.Latency.Average)
	}
	types := snapshot(t, monitor).Types
	if len(types) != 2 || types[1].Name != "offer" || *types[1].Protocol != "sip" || types[1].Total != total {
		t.Errorf("%+v", types)
	}
}

func TestNothingIsLostOnClose(t *testing.T) {
	needLibrary(t)
	router, err := corelane.Start(corelane.Config{"workers": "1"})
	if err != nil {
		t.Fatal(err)
	}
	defer router.Close()
	path := filepath.Join(t.TempDir(), "report.json")
	monitor, err := router.Monitor()
	if err != nil {
		t.Fatal(err)
	}
	again, err := router.Monitor()
	if err != nil || again != monitor {
		t.Fatal("a router has one monitor", err)
	}
	counter, err := monitor.Counter(corelane.Metric{Name: "joins_total", Help: "Joins."})
	if err != nil {
		t.Fatal(err)
	}
	recorder, _ := monitor.Recorder("", "", "")
	counted := startMonitor(t, nil)
	_ = counted
	for range 1000 {
		recorder.Record(corelane.Sample{})
		counter.Inc()
	}
	corelane.LookBeforeRelease(monitor, func(text string) { os.WriteFile(path, []byte(text), 0o600) })
	if err := monitor.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), `"name":"joins_total"`) || !strings.Contains(string(text), `"value":1000`) ||
		!strings.Contains(string(text), `"total":1000`) {
		t.Errorf("%.300s", text)
	}
	recorder.Record(corelane.Sample{}) // Does nothing.
	counter.Inc()
	if _, err := monitor.Snapshot(); !errors.Is(err, corelane.ErrStale) {
		t.Error(err)
	}
	if _, err := monitor.Counter(corelane.Metric{Name: "other_total"}); !errors.Is(err, corelane.ErrStale) {
		t.Error(err)
	}
	fresh, err := router.Monitor()
	if err != nil || fresh == monitor {
		t.Fatal("a closed monitor is replaced", err)
	}
	fresh.Close()
}

func TestConnectionsHaveFiguresOfTheirOwn(t *testing.T) {
	needLibrary(t)
	monitor := startMonitor(t, nil)
	ann, err := monitor.Connect("ann", "web")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := monitor.Connect("ann", "web"); !errors.Is(err, corelane.ErrNameTaken) {
		t.Error(err)
	}
	if monitor.Connection("ann") != ann || monitor.Connection("ben") != nil || ann.Name() != "ann" {
		t.Error("the table of connections")
	}
	recorder, _ := monitor.Recorder("sip", "offer", "web")
	for range 10 {
		recorder.Record(corelane.Sample{Connection: ann, Bytes: 7})
		ann.Sent(5)
	}
	if err := monitor.RecordMessage(corelane.Message{Type: "offer", Client: "ann", Sample: corelane.Sample{Bytes: 7}}); err != nil {
		t.Fatal(err)
	}
	if err := monitor.RecordMessage(corelane.Message{Type: "offer", Client: "stranger"}); err != nil {
		t.Fatal(err)
	}
	figures, err := monitor.Clients("ann")
	if err != nil || len(figures) != 1 {
		t.Fatal(figures, err)
	}
	one := figures[0]
	if one.Messages != 11 || one.BytesIn != 77 || one.BytesOut != 50 || !one.Connected || !one.Recorded || one.Name != "ann" {
		t.Errorf("%+v", one)
	}
	if strangers, err := monitor.Clients("stranger"); err != nil || len(strangers) != 1 || strangers[0].Messages != 1 {
		t.Error(strangers, err)
	}
	if idle, err := monitor.IdleClients(0); err != nil || len(idle) > 1 {
		t.Error(idle, err)
	}
	if err := ann.Mark(false); err != nil {
		t.Error(err)
	}
	if got := snapshot(t, monitor).Connections; *got.Unhealthy != 1 || got.Active != 1 {
		t.Errorf("%+v", got)
	}
	recorder.Record(corelane.Sample{Connection: ann})
	for range 2 {
		if err := ann.Close(); err != nil {
			t.Error(err)
		}
	}
	// The last record came before the end, so it counts as ann's.
	if got := snapshot(t, monitor); *got.Folded.Clients != 0 || got.Connections.Active != 0 {
		t.Errorf("%+v %+v", got.Folded, got.Connections)
	}
}

func TestCustomMetrics(t *testing.T) {
	needLibrary(t)
	monitor := startMonitor(t, nil)
	joins := corelane.Metric{Name: "joins_total", Help: "Joins.", Labels: []string{"room"}}
	counter, err := monitor.Counter(joins, "blue")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := monitor.Counter(joins, "blue"); err != nil || again != counter {
		t.Error("one series has one object", err)
	}
	gauge, err := monitor.Gauge(corelane.Metric{Name: "queue_messages", Help: "Waiting."})
	if err != nil {
		t.Fatal(err)
	}
	histogram, err := monitor.Histogram(corelane.Metric{Name: "setup_seconds", Help: "Setup.", Unit: "seconds"})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Add(1)
		go func() {
			defer all.Done()
			for range 1000 {
				counter.Inc()
				gauge.Add(1)
				histogram.Observe(time.Millisecond)
			}
		}()
	}
	all.Wait()
	gauge.Add(-5)
	families := map[string]corelane.CustomSeriesStats{}
	for _, family := range snapshot(t, monitor).Custom.Families {
		families[family.Name] = family.Series[0]
	}
	if got := families["joins_total"]; got.Value != 20_000 || got.Labels[0] != [2]string{"room", "blue"} {
		t.Errorf("%+v", got)
	}
	if got := families["queue_messages"]; got.Value != 19_995 {
		t.Errorf("%+v", got)
	}
	if got := families["setup_seconds"]; got.Histogram == nil || got.Histogram.Count != 20_000 {
		t.Errorf("%+v", got)
	}
	if _, err := monitor.Counter(corelane.Metric{Name: "not a name"}); !errors.Is(err, corelane.ErrInvalid) {
		t.Error(err)
	}
	if _, err := monitor.Gauge(corelane.Metric{Name: "joins_total", Labels: []string{"room"}}, "blue"); !errors.Is(err, corelane.ErrInvalid) {
		t.Error("another kind under the same name", err)
	}
}

func TestFiguresOfTheRuntimeComeByThemselves(t *testing.T) {
	needLibrary(t)
	monitor := startMonitor(t, corelane.Config{"monitor_interval_ms": "1000"})
	deadline := time.Now().Add(60 * time.Second)
	for {
		got := snapshot(t, monitor).System
		if got != nil && got.Runtime != nil {
			if got.Runtime.Goroutines == 0 || got.Runtime.HeapBytes == 0 || got.Runtime.StackBytes == 0 {
				t.Errorf("%+v", got.Runtime)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no figures")
		}
		time.Sleep(20 * time.Millisecond)
	}
	text, err := monitor.Metrics()
	if err != nil || !strings.Contains(text, "runtime_scheduler_latency_p99_seconds") {
		t.Error("no latency of the scheduler", err)
	}
}

func TestAlerts(t *testing.T) {
	needLibrary(t)
	monitor := startMonitor(t, corelane.Config{"monitor_interval_ms": "100"})
	rule := corelane.Rule{
		Name: "many", Metric: "connections.active", Trigger: 2, Text: "Connections", Severity: corelane.SeverityCritical,
		Pending: time.Nanosecond, Keep: time.Nanosecond, Repeat: -1, Cooldown: -1,
	}
	if err := monitor.AddRule(rule); err != nil {
		t.Fatal(err)
	}
	if err := monitor.AddRule(rule); !errors.Is(err, corelane.ErrExists) {
		t.Error(err)
	}
	if err := monitor.AddRule(corelane.Rule{Name: "wrong", Metric: "connection.active"}); !errors.Is(err, corelane.ErrInvalid) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	connected := make(chan struct{})
	go func() {
		defer close(connected)
		time.Sleep(50 * time.Millisecond)
		for at := range 5 {
			monitor.Connect(fmt.Sprint("client", at), "")
		}
	}()
	var seen []corelane.Notification
	for alert, err := range monitor.Alerts(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if alert.Name != "many" {
			continue // Of this machine.
		}
		seen = append(seen, *alert.Notification)
		if len(seen) == 1 {
			if alert.Severity != corelane.SeverityCritical || alert.Threshold != 2 || alert.Message == "" || alert.Raised == nil {
				t.Errorf("%+v", alert)
			}
			if current, err := monitor.CurrentAlerts(); err != nil || len(current) == 0 {
				t.Error(current, err)
			}
			<-connected // The alert is raised by the third of them.
			for at := range 5 {
				monitor.Connection(fmt.Sprint("client", at)).Close()
			}
			continue
		}
		break
	}
	if len(seen) != 2 || seen[0] != corelane.NotificationRaised || seen[1] != corelane.NotificationResolved {
		t.Error(seen)
	}
	if err := monitor.SetThreshold("many", 10, 9); err != nil {
		t.Error(err)
	}
	if err := monitor.RemoveRule("many"); err != nil {
		t.Error(err)
	}
	if err := monitor.RemoveRule("many"); !errors.Is(err, corelane.ErrNotFound) {
		t.Error(err)
	}
}

// An alert that was raised before the loop began is told once.
func TestAlertsBeginWithThoseThatAreRaised(t *testing.T) {
	needLibrary(t)
	monitor := startMonitor(t, corelane.Config{"monitor_interval_ms": "100"})
	err := monitor.AddRule(corelane.Rule{Name: "always", Metric: "uptime_nanoseconds", Pending: time.Nanosecond, Repeat: -1})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(60 * time.Second)
	for raised := false; !raised; {
		current, err := monitor.CurrentAlerts()
		if err != nil || time.Now().After(deadline) {
			t.Fatal(current, err)
		}
		for _, alert := range current {
			raised = raised || alert.Name == "always"
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	told := 0
	for alert, err := range monitor.Alerts(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if alert.Name == "always" {
			told++
			time.AfterFunc(300*time.Millisecond, cancel) // Long enough for a second one.
		}
	}
	if told != 1 {
		t.Error(told)
	}
}

func TestAlertsEndWithTheirContextAndTheirMonitor(t *testing.T) {
	monitor, err := corelane.StartMonitor(nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan time.Duration, 2)
	listen := func(ctx context.Context) {
		for range monitor.Alerts(ctx) {
		}
		ended <- 0
	}
	ctx, cancel := context.WithCancel(context.Background())
	go listen(ctx)
	time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
	cancel()
	<-ended
	listen(ctx) // It has ended already.
	<-ended
	if corelane.Stub {
		return
	}
	go listen(context.Background())
	time.Sleep(20 * time.Millisecond)
	monitor.Close()
	<-ended
}

func TestReportsHistoryAndSettings(t *testing.T) {
	needLibrary(t)
	monitor := startMonitor(t, nil)
	for format, want := range map[corelane.ReportFormat]string{
		corelane.ReportText: "Messages", corelane.ReportJSON: `"schema_version"`, corelane.ReportHTML: "<html",
		corelane.ReportPrometheus: "# TYPE",
	} {
		text, err := monitor.Report(format)
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("%v: %.200s", err, text)
		}
	}
	if _, err := monitor.Report(9); !errors.Is(err, corelane.ErrInvalid) {
		t.Error(err)
	}
	names, err := monitor.HistoryNames()
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	if history, err := monitor.History(names[0], corelane.SpanMinute); err != nil || len(history) == 0 {
		t.Error(err)
	}
	if _, err := monitor.History("no such series", corelane.SpanMinute); !errors.Is(err, corelane.ErrNotFound) {
		t.Error(err)
	}
	if err := monitor.Set("slow_message_threshold_ms", "250"); err != nil {
		t.Error(err)
	}
	if got := snapshot(t, monitor).SlowMessages; got.ThresholdNanoseconds != 250_000_000 {
		t.Errorf("%+v", got)
	}
	if err := monitor.Set("workers", "2"); !errors.Is(err, corelane.ErrConfigValue) {
		t.Error(err)
	}
	if bytes, err := monitor.Bytes(); err != nil || bytes == 0 {
		t.Error(bytes, err)
	}
	monitor.RecordMessage(corelane.Message{Type: "x"})
	if err := monitor.Reset(); err != nil {
		t.Error(err)
	}
	if got := snapshot(t, monitor); got.Messages.Total != 0 || got.Resets != 1 {
		t.Errorf("%+v", got.Messages)
	}
	path := filepath.Join(t.TempDir(), "report.html")
	reports, err := monitor.ReportTo(corelane.ReportHTML, path)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := reports.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := corelane.CheckSettings(corelane.Config{"alert_memory": "yes"}); err == nil {
		t.Error("an unknown key")
	}
}

// In a stub build every call succeeds and nothing is kept.
func TestStubMonitorKeepsNothing(t *testing.T) {
	if !corelane.Stub {
		t.Skip("not a stub build")
	}
	monitor := startMonitor(t, corelane.Config{"whatever": "is not looked at"})
	recorder, err := monitor.Recorder("a", "b", "c")
	if err != nil {
		t.Fatal(err)
	}
	for range 10_000 {
		recorder.Record(corelane.Sample{})
	}
	connection, err := monitor.Connect("ann", "")
	if err != nil {
		t.Fatal(err)
	}
	connection.Sent(1)
	connection.Close()
	counter, err := monitor.Counter(corelane.Metric{Name: "x_total"})
	if err != nil {
		t.Fatal(err)
	}
	counter.Inc()
	if got := snapshot(t, monitor); got.Messages != nil || got.Connections.Total != 0 {
		t.Errorf("%+v", got)
	}
}
