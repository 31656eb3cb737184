package corelane

import (
	"math"
	"runtime/metrics"
)

// The figures of Go's runtime, which the monitor pushes by itself once a second. All of them come from runtime/metrics,
// which does not stop the world.

// runtimeSample is corelane_runtime.
type runtimeSample struct {
	goroutines, gcCount                 uint64
	lastPause, averagePause, totalPause uint64
	gcShare                             float64
	heap, stack                         uint64
}

const (
	nameGoroutines = "/sched/goroutines:goroutines"
	nameCycles     = "/gc/cycles/total:gc-cycles"
	namePauses     = "/sched/pauses/total/gc:seconds"
	nameGCTime     = "/cpu/classes/gc/total:cpu-seconds"
	nameAllTime    = "/cpu/classes/total:cpu-seconds"
	nameHeap       = "/memory/classes/heap/objects:bytes"
	nameStacks     = "/memory/classes/heap/stacks:bytes"
	nameLatencies  = "/sched/latencies:seconds"
)

// The names under which the latency of the scheduler is shown: how long goroutines that could run have waited for a
// processor, in the second before.
var latencyQuantiles = []struct {
	quantile float64
	name     string
}{
	{0.5, "runtime_scheduler_latency_p50_seconds"},
	{0.99, "runtime_scheduler_latency_p99_seconds"},
	{1, "runtime_scheduler_latency_maximum_seconds"},
}

type runtimeFigures struct {
	monitor   *Monitor
	samples   []metrics.Sample
	latencies []*Gauge
	counts    []uint64 // Of the look before.
	pauses    []uint64
	lastPause uint64
}

func newRuntimeFigures(monitor *Monitor) *runtimeFigures {
	figures := &runtimeFigures{monitor: monitor}
	for _, name := range []string{
		nameGoroutines, nameCycles, namePauses, nameGCTime, nameAllTime, nameHeap, nameStacks, nameLatencies,
	} {
		figures.samples = append(figures.samples, metrics.Sample{Name: name})
	}
	for _, one := range latencyQuantiles {
		gauge, err := monitor.Gauge(Metric{
			Name: one.name, Unit: "seconds", Help: "How long goroutines waited for a processor, in the last second.",
		})
		if err != nil { // `max_custom_series` is reached: the other figures are pushed all the same.
			figures.latencies = nil
			break
		}
		figures.latencies = append(figures.latencies, gauge)
	}
	return figures
}

func (f *runtimeFigures) push() {
	metrics.Read(f.samples)
	var one runtimeSample
	var gcTime, allTime float64
	for at := range f.samples {
		value := &f.samples[at].Value
		switch f.samples[at].Name {
		case nameGoroutines:
			one.goroutines = whole(value)
		case nameCycles:
			one.gcCount = whole(value)
		case nameHeap:
			one.heap = whole(value)
		case nameStacks:
			one.stack = whole(value)
		case nameGCTime:
			gcTime = number(value)
		case nameAllTime:
			allTime = number(value)
		case namePauses:
			f.readPauses(value, &one)
		case nameLatencies:
			f.readLatencies(value)
		}
	}
	if allTime > 0 {
		one.gcShare = min(max(gcTime/allTime, 0), 1)
	}
	f.monitor.handle.pushRuntime(&one)
}

// readPauses adds the pauses up. The runtime keeps them as a histogram, so a pause counts as the middle of its range.
func (f *runtimeFigures) readPauses(value *metrics.Value, one *runtimeSample) {
	if value.Kind() != metrics.KindFloat64Histogram {
		return
	}
	histogram := value.Float64Histogram()
	var count uint64
	var total float64
	for at, occurred := range histogram.Counts {
		if occurred == 0 {
			continue
		}
		pause := middle(histogram, at)
		count += occurred
		total += float64(occurred) * pause
		if at >= len(f.pauses) || occurred > f.pauses[at] {
			f.lastPause = uint64(pause * 1e9) // The longest since the look before.
		}
	}
	f.pauses = append(f.pauses[:0], histogram.Counts...)
	one.totalPause, one.lastPause = uint64(total*1e9), f.lastPause
	if count > 0 {
		one.averagePause = one.totalPause / count
	}
}

func (f *runtimeFigures) readLatencies(value *metrics.Value) {
	if value.Kind() != metrics.KindFloat64Histogram || f.latencies == nil {
		return
	}
	histogram := value.Float64Histogram()
	var count uint64
	fresh := make([]uint64, len(histogram.Counts))
	for at, number := range histogram.Counts {
		fresh[at] = number
		if at < len(f.counts) {
			fresh[at] -= f.counts[at]
		}
		count += fresh[at]
	}
	f.counts = append(f.counts[:0], histogram.Counts...)
	for at, wanted := range latencyQuantiles {
		rank, seen, latency := uint64(math.Ceil(wanted.quantile*float64(count))), uint64(0), 0.0
		for bucket, number := range fresh {
			seen += number
			if number > 0 && seen >= rank {
				latency = upper(histogram, bucket)
				break
			}
		}
		f.latencies[at].Set(latency)
	}
}

func whole(value *metrics.Value) uint64 {
	if value.Kind() != metrics.KindUint64 {
		return 0 // Not in this version of Go.
	}
	return value.Uint64()
}

func number(value *metrics.Value) float64 {
	if value.Kind() != metrics.KindFloat64 {
		return 0
	}
	return value.Float64()
}

// upper is the end of a range, or its beginning if it has no end.
func upper(histogram *metrics.Float64Histogram, bucket int) float64 {
	if end := histogram.Buckets[bucket+1]; !math.IsInf(end, 1) {
		return end
	}
	return histogram.Buckets[bucket]
}

func middle(histogram *metrics.Float64Histogram, bucket int) float64 {
	begin, end := histogram.Buckets[bucket], histogram.Buckets[bucket+1]
	switch {
	case math.IsInf(begin, -1):
		return max(end, 0)
	case math.IsInf(end, 1):
		return begin
	default:
		return (begin + end) / 2
	}
}
