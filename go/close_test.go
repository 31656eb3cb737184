package corelane_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
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

// inLeakTest is set in the environment of the process in which the rounds run.
const inLeakTest = "CORELANE_IN_LEAK_TEST"

// What the process holds must not grow over a thousand rounds. A leak grows in every window of rounds. A first use grows once: Go's
// pool of threads, a table, what the allocator keeps. So the smallest growth of the later windows counts. The rounds run in a process
// of their own, so that what other tests leave does not end among them, and with an allocator that keeps little.
func TestNothingLeaksOverManyRounds(t *testing.T) {
	needLibrary(t)
	if os.Getenv(inLeakTest) == "" {
		words := []string{"-test.run=^" + t.Name() + "$", "-test.v", "-test.count=1"}
		if testing.Short() {
			words = append(words, "-test.short")
		}
		alone := exec.Command(os.Args[0], words...)
		alone.Env = append(os.Environ(), inLeakTest+"=1", "GLIBC_TUNABLES=glibc.malloc.arena_max=1:glibc.malloc.tcache_count=0:"+
			"glibc.malloc.mmap_threshold=32768:glibc.malloc.trim_threshold=32768")
		output, err := alone.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		t.Logf("%s", output)
		return
	}
	const windows = 6
	rounds := 170
	if testing.Short() {
		rounds = 20
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
	var all []holdings
	for range windows {
		for range rounds {
			round()
		}
		all = append(all, held(t, all))
	}
	// Of a leak of one per round, each window would have as many as it has rounds.
	few := rounds / 4
	for _, one := range []struct {
		name  string
		limit int
		of    func(holdings) int
	}{
		{"goroutines", few, func(h holdings) int { return h.goroutines }},
		{"threads", few, func(h holdings) int { return h.threads }},
		{"descriptors", few, func(h holdings) int { return h.descriptors }},
		{"bytes of Go's heap", few << 10, func(h holdings) int { return h.heap }},
		// What the allocator and Go's runtime keep comes and goes by a megabyte.
		{"bytes in memory", rounds * 4 << 10, func(h holdings) int { return h.resident }},
	} {
		growths := make([]int, 0, windows)
		for at := 2; at < windows; at++ { // the first windows are the first uses
			growths = append(growths, one.of(all[at])-one.of(all[at-1]))
		}
		if least := slices.Min(growths); least > one.limit {
			t.Errorf("%s grow by at least %d in %d rounds; at most %d are no leak: %v", one.name, least, rounds, one.limit, growths)
		}
	}
	t.Logf("each %d rounds: %+v", rounds, all)
}

// holdings are what the process holds.
type holdings struct{ goroutines, threads, descriptors, heap, resident int }

// held reads what the process holds. A goroutine or thread ends a moment after the call that ends it, so it waits until there are no
// more of them than before, for at most two seconds.
func held(t *testing.T, before []holdings) holdings {
	t.Helper()
	var found holdings
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		found = holdings{goroutines: runtime.NumGoroutine(), threads: statusOf(t, "Threads:"), descriptors: descriptors()}
		if len(before) == 0 {
			if time.Until(deadline) < 1500*time.Millisecond {
				break
			}
			continue
		}
		last := before[len(before)-1]
		isSettled := found.goroutines <= last.goroutines && found.threads <= last.threads && found.descriptors <= last.descriptors
		if isSettled || time.Now().After(deadline) {
			break
		}
	}
	debug.FreeOSMemory() // collects first
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	found.heap, found.resident = int(memory.HeapAlloc), statusOf(t, "VmRSS:")<<10
	return found
}

// statusOf is a number of /proc/self/status.
func statusOf(t *testing.T, name string) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc")
	}
	_, rest, _ := strings.Cut(string(status), "\n"+name)
	number, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return number
}

func descriptors() int {
	open, _ := os.ReadDir("/proc/self/fd")
	return len(open)
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
