package signaling_test

import (
	"bytes"
	"context"
	"io"
	"log"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/corelane/corelane/go/signaling"
)

// The tests of this file run the listings of the specification, which specification_listings_test.go has as they are
// written, and check what they give.

func monitorOf(t *testing.T, config *PerformanceMonitorConfig) *PerformanceMonitor {
	t.Helper()
	pm := NewPerformanceMonitor(config)
	if err := pm.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pm.Stop)
	return pm
}

// printed returns what a listing prints.
func printed(t *testing.T, listing func()) string {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdout
	os.Stdout = write
	defer func() { os.Stdout = before }()
	listing()
	write.Close()
	text, err := io.ReadAll(read)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func eventually(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ready(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func TestListing01RecordsAndPrints(t *testing.T) {
	pm := monitorOf(t, nil)
	text := printed(t, func() { listing01_messages(pm, "client1", "offer", 1500*time.Millisecond, true) })
	if text != "平均延迟: 1.5s慢消息数量: 1" {
		t.Fatal(text)
	}
}

// relay is a base router that remembers what it was asked, and what was delivered.
type relay struct {
	lock      sync.Mutex
	asked     []string
	delivered []string
}

func (r *relay) RouteMessage(message []byte, clientID string) (*RouteResult, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.asked = append(r.asked, clientID)
	return &RouteResult{Success: true, MessageType: "base"}, nil
}

func (r *relay) Deliver(clientID string, message []byte) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.delivered = append(r.delivered, clientID+" "+string(message))
}

func TestListing02RoutesThroughTheWorkers(t *testing.T) {
	pm := monitorOf(t, nil)
	if err := pm.RecordConnectionEvent("connect", "ben", "shop"); err != nil {
		t.Fatal(err)
	}
	base := &relay{}
	result, router, err := listing02_router(base, pm, []byte(`{"type":"offer","to":"ben"}`), "ann")
	defer router.Stop()
	if err != nil || !result.Success || result.Fallback || result.ClientID != "ann" {
		t.Fatalf("%+v %v", result, err)
	}
	eventually(t, "the delivery", func() bool {
		base.lock.Lock()
		defer base.lock.Unlock()
		return len(base.delivered) == 1 && strings.HasPrefix(base.delivered[0], `ben {"from":"ann"`) && len(base.asked) == 0
	})
	s := pm.GetStats()
	if s.Routing == nil || len(s.Routing.Workers) != 10 || s.Message.MessageTypeStats["offer"].Count != 1 ||
		s.Connection.ActiveConnections != 2 || s.Connection.AppConnections["shop"].ActiveConnections != 1 {
		t.Fatalf("%+v %+v %+v", s.Routing, s.Message.MessageTypeStats, s.Connection)
	}
}

func serverOf(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	return WithServerOptions(ctx, ServerOptions{Address: "127.0.0.1:0"})
}

func TestListing03And08RunAServer(t *testing.T) {
	ctx := serverOf(t)
	server, performance, message, connection := listing08_server(ctx, &EncoderConfig{Codec: "vp8"}, nil,
		[]ICEServer{{URLs: []string{"stun:stun.example.org"}}})
	defer server.Stop()
	if server.Addr() == nil || performance == nil || message == nil || connection == nil || performance.Routing == nil ||
		performance.Uptime <= 0 || connection.ActiveConnections != 0 {
		t.Fatalf("%v %+v", server.Addr(), performance)
	}
	if _, err := server.Router().RouteMessage([]byte(`{"type":"ping"}`), "ann"); err != nil {
		t.Fatal(err)
	}
	report := listing03_report(server)
	s := report.Stats
	if report.Server == nil || report.Server.Uptime <= 0 || s.Message.TotalMessages != 1 || s.Connection.TotalConnections != 1 ||
		s.System.GoroutineCount == 0 || s.Routing.TotalRoutedMessages != 1 || len(report.Core) == 0 {
		t.Fatalf("%+v", report)
	}
	if text := report.String(); !strings.Contains(text, "Server: 127.0.0.1:") || !strings.Contains(text, "Routing: 1 routed") {
		t.Fatal(text)
	}
}

func TestListing04PrintsMemoryAndConnections(t *testing.T) {
	pm := monitorOf(t, nil)
	_ = pm.RecordConnectionEvent("connect", "a", "")
	text := printed(t, func() { listing04_system(pm, pm.GetConnectionStats()) })
	memory, connections, found := strings.Cut(text, "活跃连接: ")
	if !found || connections != "1" || !strings.HasPrefix(memory, "内存使用: ") || strings.Contains(memory, " 0.00 MB") {
		t.Fatal(text)
	}
}

func TestListings05And06AreTheStructs(t *testing.T) {
	for _, pair := range [][2]reflect.Type{
		{listing05_monitor_config(), reflect.TypeFor[PerformanceMonitorConfig]()},
		{listing06_router_config(), reflect.TypeFor[ConcurrentRouterConfig]()},
	} {
		listed, ours := pair[0], pair[1]
		if listed.NumField() < 6 {
			t.Fatal(listed)
		}
		for i := range listed.NumField() {
			want, got := listed.Field(i), ours.Field(i)
			if want.Name != got.Name || want.Type != got.Type {
				t.Errorf("%v: field %d is %s %v, not %s %v", ours, i, got.Name, got.Type, want.Name, want.Type)
			}
		}
	}
}

func TestListing07IsTheBasicUse(t *testing.T) {
	stats, pm := listing07_basic()
	ping := stats.Message.MessageTypeStats["ping"]
	if stats.Message.TotalMessages != 1 || ping == nil || ping.AverageLatency != 10*time.Millisecond || ping.ErrorCount != 0 ||
		stats.Connection.ActiveConnections != 1 || stats.Connection.AppConnections["app1"] == nil {
		t.Fatalf("%+v %+v", stats.Message, stats.Connection)
	}
	if err := pm.Start(); err == nil {
		t.Fatal("the listing's Stop has not stopped the monitor")
	}
}

// TestListings09And13TellAlerts raises the three alerts of the specification.
func TestListings09And13TellAlerts(t *testing.T) {
	config := DefaultPerformanceMonitorConfig()
	config.MonitorInterval = 100 * time.Millisecond
	config.HighMemoryThreshold, config.HighConnectionThreshold, config.HighErrorRateThreshold = 1<<20, 1, 0.01
	pm := monitorOf(t, config)
	var lock sync.Mutex
	var text bytes.Buffer
	log.SetOutput(locked{&lock, &text})
	t.Cleanup(func() { log.SetOutput(os.Stderr) })

	debug := pm.Config()
	listing09_alerts(pm)
	listing13_debugging(&debug, pm)
	if !debug.EnableLogging || debug.MonitorInterval != time.Second || !debug.DetailedStatsEnabled {
		t.Fatalf("%+v", debug)
	}
	if err := pm.SetConfig(&debug); err != nil {
		t.Fatal(err)
	}
	debug.MonitorInterval = 100 * time.Millisecond // So that the test is short.
	if err := pm.SetConfig(&debug); err != nil {
		t.Fatal(err)
	}
	_ = pm.RecordConnectionEvent("connect", "a", "")
	_ = pm.RecordConnectionEvent("connect", "b", "")
	eventually(t, "the alerts are told", func() bool {
		for i := range 40 {
			pm.RecordMessageProcessing([]string{"a", "b", "c"}[i%3], "offer", time.Millisecond, i%2 == 0)
		}
		lock.Lock()
		defer lock.Unlock()
		log := text.String()
		return strings.Contains(log, "内存使用过高: ") && strings.Contains(log, "连接数过多: 2") && strings.Contains(log, "错误率过高: 0.") &&
			strings.Contains(log, "DEBUG: Alert details: map[") && strings.Contains(log, "metric:")
	})
}

type locked struct {
	lock *sync.Mutex
	to   io.Writer
}

func (l locked) Write(p []byte) (int, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.to.Write(p)
}

func TestListing10IsThePreset(t *testing.T) {
	config := listing10_production()
	if *config != *ProductionPerformanceMonitorConfig() {
		t.Fatalf("%+v", config)
	}
	pm := monitorOf(t, config)
	if pm.GetMessageStats().SlowMessageThreshold != 100*time.Millisecond {
		t.Fatal("the threshold is not in force")
	}
}
