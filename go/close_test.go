package corelane_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corelane "github.com/corelane/corelane/go"
)

// Every method of a monitor and of its router, while both are closed at a random moment. Nothing may crash, hang or race.
func TestCloseRacesWithEveryCall(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for round := range rounds {
		raceClose(t, round)
	}
}

func raceClose(t *testing.T, round int) {
	var router *corelane.Router
	var monitor *corelane.Monitor
	var err error
	if corelane.Stub || round%2 == 0 {
		monitor, err = corelane.StartMonitor(nil)
	} else {
		if router, err = corelane.Start(corelane.Config{"workers": "1"}); err != nil {
			t.Fatal(err)
		}
		monitor, err = router.Monitor()
	}
	if err != nil {
		t.Fatal(err)
	}
	recorder, _ := monitor.Recorder("sip", "offer", "web")
	counter, err := monitor.Counter(corelane.Metric{Name: "joins_total", Help: "Joins."})
	if err != nil {
		t.Fatal(err)
	}
	gauge, _ := monitor.Gauge(corelane.Metric{Name: "level", Help: "A level."})
	histogram, _ := monitor.Histogram(corelane.Metric{Name: "setup_seconds", Unit: "seconds", Help: "Setup."})
	ctx, cancel := context.WithCancel(context.Background())
	calls := []func(int){
		func(int) { recorder.Record(corelane.Sample{Bytes: 1}) },
		func(int) { counter.Inc() },
		func(int) { gauge.Add(1) },
		func(int) { histogram.Record(1) },
		func(at int) {
			if connection, err := monitor.Connect(fmt.Sprint("client", at), ""); err == nil {
				connection.Sent(1)
				connection.Mark(true)
				recorder.Record(corelane.Sample{Connection: connection})
				connection.Close()
			}
		},
		func(at int) { monitor.RecordMessage(corelane.Message{Type: "x", Client: fmt.Sprint("client", at%10)}) },
		func(int) { monitor.Snapshot() },
		func(int) { monitor.Metrics() },
		func(int) { monitor.Clients("client1") },
		func(int) { monitor.IdleClients(0) },
		func(int) { monitor.History("messages", corelane.SpanMinute) },
		func(int) { monitor.HistoryNames() },
		func(int) { monitor.Reset() },
		func(int) { monitor.Set("slow_message_threshold_ms", "100") },
		func(int) { monitor.Bytes() },
		func(int) { monitor.Flush() },
		func(int) { monitor.Reconnected() },
		func(int) { monitor.CurrentAlerts() },
		func(at int) {
			monitor.AddRule(corelane.Rule{Name: fmt.Sprint("rule", at%5), Metric: "connections.active", Trigger: 1})
			monitor.SetThreshold(fmt.Sprint("rule", at%5), 2, 1)
			monitor.RemoveRule(fmt.Sprint("rule", at%5))
		},
		func(at int) {
			monitor.Counter(corelane.Metric{Name: "more_total", Help: "More.", Labels: []string{"at"}}, strconv.Itoa(at%10))
		},
		func(int) { monitor.Recorder("sip", "answer", "web") },
		func(int) {
			short, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(3000))*time.Microsecond)
			defer cancel()
			for range monitor.Alerts(short) {
			}
		},
		func(int) { monitor.Close() },
	}
	if router != nil {
		calls = append(calls,
			func(int) { router.Metrics() },
			func(int) { router.Monitor() },
			func(int) { router.SetActiveWorkers(1) },
			func(int) {
				short, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(3000))*time.Microsecond)
				defer cancel()
				router.Drain(short)
				router.Stop(short)
			},
			func(int) { router.RequestStop() },
			func(int) { router.Close() },
		)
	}
	var all sync.WaitGroup
	begin := make(chan struct{})
	for number, call := range calls {
		all.Add(1)
		go func() {
			defer all.Done()
			<-begin
			if number == 22 || number == len(calls)-1 && router != nil { // The two closes.
				time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond)
				call(0)
				return
			}
			for at := range 50 {
				call(at)
			}
		}()
	}
	close(begin)
	all.Wait()
	cancel()
	monitor.Close()
	if router != nil {
		// A look at the router may have started another monitor after the Close.
		if again, err := router.Monitor(); err == nil {
			again.Close()
		}
		router.Close()
	}
}

// What the process holds must not grow over a thousand rounds.
func TestNothingLeaksOverManyRounds(t *testing.T) {
	needLibrary(t)
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	round := func() {
		router, err := corelane.Start(corelane.Config{"workers": "1", "max_clients": "64"})
		if err != nil {
			t.Fatal(err)
		}
		monitor, err := router.Monitor()
		if err != nil {
			t.Fatal(err)
		}
		own, err := corelane.StartMonitor(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range []*corelane.Monitor{monitor, own} {
			recorder, _ := one.Recorder("sip", "offer", "web")
			connection, err := one.Connect("ann", "")
			if err != nil {
				t.Fatal(err)
			}
			counter, err := one.Counter(corelane.Metric{Name: "joins_total", Help: "Joins."})
			if err != nil {
				t.Fatal(err)
			}
			for range 10 {
				recorder.Record(corelane.Sample{Connection: connection})
				counter.Inc()
			}
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Microsecond)
			for range one.Alerts(ctx) {
			}
			cancel()
		}
		own.Snapshot()
		if err := own.Close(); err != nil {
			t.Fatal(err)
		}
		if rand.IntN(2) == 0 {
			monitor.Close()
			router.Close()
		} else {
			router.Close()
			monitor.Close()
		}
	}
	warm := rounds / 2
	for range warm {
		round()
	}
	before := held(t)
	for range rounds - warm {
		round()
	}
	after := held(t)
	// Threads of Go's pool may come; each round of a leak would add at least one of each.
	if after.goroutines > before.goroutines+2 || after.threads > before.threads+10 || after.descriptors > before.descriptors+5 ||
		after.resident > before.resident+16<<20 {
		t.Errorf("after %d rounds %+v, after %d %+v", warm, before, rounds, after)
	}
	t.Logf("after %d rounds %+v, after %d %+v", warm, before, rounds, after)
}

type holdings struct{ goroutines, threads, descriptors, resident int }

func held(t *testing.T) holdings {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > 5 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	runtime.GC()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc")
	}
	found := holdings{goroutines: runtime.NumGoroutine()}
	for _, line := range strings.Split(string(status), "\n") {
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "Threads:"):
			found.threads, _ = strconv.Atoi(fields[1])
		case strings.HasPrefix(line, "VmRSS:"):
			found.resident, _ = strconv.Atoi(fields[1])
			found.resident <<= 10
		}
	}
	descriptors, _ := os.ReadDir("/proc/self/fd")
	found.descriptors = len(descriptors)
	return found
}

func TestWaitsEndWithTheirContexts(t *testing.T) {
	needLibrary(t)
	router, err := corelane.Start(corelane.Config{"workers": "1"})
	if err != nil {
		t.Fatal(err)
	}
	defer router.Close()
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for range 50 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(2000))*time.Microsecond)
		router.Drain(ctx) // Either ends, or says that it has not.
		cancel()
	}
	router.Stop(cancelled)
	if err := router.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// The buffers follow the number of processors.
func TestTheNumberOfProcessorsMayChange(t *testing.T) {
	needLibrary(t)
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	monitor := startMonitor(t, nil)
	recorder, _ := monitor.Recorder("", "", "")
	counter, err := monitor.Counter(corelane.Metric{Name: "joins_total", Help: "Joins."})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	const goroutines, messages = 16, 2000
	for range goroutines {
		all.Add(1)
		go func() {
			defer all.Done()
			for at := range messages {
				recorder.Record(corelane.Sample{})
				counter.Inc()
				if at%100 == 0 {
					runtime.Gosched()
				}
			}
		}()
	}
	for _, processors := range []int{8, 2, 16, 1, 4} {
		runtime.GOMAXPROCS(processors)
		time.Sleep(time.Millisecond)
	}
	all.Wait()
	got := snapshot(t, monitor)
	if got.Messages.Total != goroutines*messages {
		t.Error(got.Messages.Total)
	}
	for _, family := range got.Custom.Families {
		if family.Name == "joins_total" && family.Series[0].Value != goroutines*messages {
			t.Error(family.Series[0].Value)
		}
	}
}
