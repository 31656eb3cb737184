// Bench compares the Go side of corelane with what a Go program would otherwise have: the specification's pool of goroutines
// and channels with encoding/json and a monitor behind a mutex (package pool), and client_golang's vectors. Both sides run in
// turn in each round, and the other way round in every second; a line has the median over the rounds, with the smallest and the
// largest.
//
//	go run -tags corelane_static . -rounds 15 -json report.json
//
// The same sides are Benchmark functions, for benchstat: go test -tags corelane_static -bench . -count 10
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// row is one line of the result: nanoseconds per message.
type row struct {
	Name string    `json:"name"`
	Side string    `json:"side"`
	Wall []float64 `json:"wall_ns"`
	CPU  []float64 `json:"cpu_ns"`
	// Of the same round: this side's time ÷ the first side's. On a machine that others use, the ratio of processor time says
	// more.
	Ratios    []float64 `json:"wall_ratio_to_first"`
	CPURatios []float64 `json:"cpu_ratio_to_first"`
}

func main() {
	rounds := flag.Int("rounds", 15, "rounds")
	length := flag.Duration("round", 100*time.Millisecond, "time of one side in one round")
	only := flag.String("only", "", "run only the benches whose name contains this")
	output := flag.String("json", "", "write the result to this file")
	flag.Parse()
	var rows []row
	for _, bench := range benches() {
		if strings.Contains(bench.name, *only) {
			rows = append(rows, bench.measure(*rounds, *length)...)
		}
	}
	if *output != "" {
		text, err := json.MarshalIndent(map[string]any{"machine": machine(), "rows": rows}, "", "  ")
		must(err)
		must(os.WriteFile(*output, append(text, '\n'), 0o644))
	}
}

func machine() string {
	return fmt.Sprintf("%s/%s, %d cores, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}

// bench is one comparison.
type bench struct {
	name string
	// start returns the sides, each as a function that handles so many messages, and what ends them.
	start func() (sides []contender, stop func())
}

type contender struct {
	name string
	run  func(count int)
}

func benches() []bench {
	var all []bench
	for _, callers := range []int{1, 64} {
		for _, kind := range kinds {
			all = append(all, routeBench(fmt.Sprintf("route/%s/callers-%d", kind.name, callers), kind.text, callers, false))
		}
	}
	for _, kind := range kinds {
		all = append(all, routeBench("submit/"+kind.name+"/callers-2", kind.text, 2, true))
	}
	for _, goroutines := range []int{1, runtime.NumCPU()} {
		all = append(all, bench{fmt.Sprintf("record/goroutines-%d", goroutines), func() ([]contender, func()) {
			r := newRecordings()
			var sides []contender
			for _, s := range r.sides() {
				sides = append(sides, contender{s.name, func(count int) { together(s.run, goroutines, count) }})
			}
			return sides, r.stop
		}})
	}
	return all
}

// routeBench compares the routers, each with the specification's number of workers and with as few as this machine needs.
func routeBench(name, text string, callers int, submit bool) bench {
	return bench{name, func() ([]contender, func()) {
		clients := names(callers)
		if len(clients) == 1 {
			clients = names(2)
		}
		messages := messagesFor(text, clients)
		var sides []contender
		var stops []func()
		for _, one := range []struct {
			name string
			new  func([]string, int) router
		}{
			{"corelane-1-worker", newOurs}, {"corelane-10-workers", newOurs},
			{"pool-10-workers", newTheirs}, {"pool-2-workers", newTheirs},
		} {
			workers := 0
			_, _ = fmt.Sscanf(one.name[strings.Index(one.name, "-")+1:], "%d", &workers)
			r := one.new(clients, workers)
			stops = append(stops, r.stop)
			done := uint64(0)
			sides = append(sides, contender{one.name, func(count int) {
				if submit {
					submitAll(r, clients, messages, count, &done)
				} else {
					routeAll(r, clients[:callers], messages, count)
				}
			}})
		}
		return sides, func() {
			for _, stop := range stops {
				stop()
			}
		}
	}}
}

func (b bench) measure(rounds int, length time.Duration) []row {
	sides, stop := b.start()
	defer stop()
	rows := make([]row, len(sides))
	counts := make([]int, len(sides))
	for i, side := range sides {
		rows[i] = row{Name: b.name, Side: side.name}
		counts[i] = 64
		for began := time.Now(); ; began = time.Now() { // Also warms up.
			side.run(counts[i])
			if took := time.Since(began); took > length/4 {
				counts[i] = max(int(float64(counts[i])*float64(length)/float64(took)), 64)
				break
			}
			counts[i] *= 2
		}
	}
	for round := range rounds {
		order := make([]int, len(sides))
		for i := range order {
			order[i] = i
		}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, i := range order {
			runtime.GC()
			cpu, began := processorTime(), time.Now()
			sides[i].run(counts[i])
			rows[i].Wall = append(rows[i].Wall, since(began, counts[i]))
			rows[i].CPU = append(rows[i].CPU, float64(processorTime()-cpu)/float64(counts[i]))
		}
		for i := range rows {
			rows[i].Ratios = append(rows[i].Ratios, rows[i].Wall[round]/rows[0].Wall[round])
			rows[i].CPURatios = append(rows[i].CPURatios, rows[i].CPU[round]/max(rows[0].CPU[round], 1))
		}
	}
	for i := range rows {
		fmt.Printf("%-28s %-22s %s ns, ratio %s; CPU %s ns, ratio %s\n", rows[i].Name, rows[i].Side, spread(rows[i].Wall, "%.0f"),
			spread(rows[i].Ratios, "%.2f"), spread(rows[i].CPU, "%.0f"), spread(rows[i].CPURatios, "%.2f"))
	}
	return rows
}

// spread writes the median with minimum and maximum.
func spread(values []float64, format string) string {
	sorted := slices.Sorted(slices.Values(values))
	return fmt.Sprintf(format+" ["+format+"–"+format+"]", sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1])
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
