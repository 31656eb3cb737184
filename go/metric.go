package corelane

import (
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/corelane/corelane/go/internal/processor"
)

// Metric is the name and the description of a metric of the program. Its name follows the conventions of Prometheus: the
// name of a counter, and no other, ends in _total, and a unit is part of the name.
type Metric struct {
	// Name, such as "conference_joins_total".
	Name string
	// Help says what it counts.
	Help string
	// Unit is "seconds", "bytes", "ratio" or another base unit. It may be empty.
	Unit string
	// Labels are the names of the labels, at most 8.
	Labels []string
	// MaxSeries says how many label sets may have a series of their own; 0 for 64. Further ones share the series in which
	// every label is `other`.
	MaxSeries int
}

// Counter only grows. Counting does not call C: each processor has a cell, and the sums cross to the library every 100 ms
// and before every snapshot, report and Close.
type Counter struct {
	handle uint64
	cells  atomic.Pointer[[]*cell]
	grow   sync.Mutex
}

// cell has a cache line of its own.
type cell struct {
	count atomic.Uint64
	_     [56]byte
}

// Gauge goes up and down. Its value is in Go, and crosses to the library as a counter's does.
type Gauge struct {
	handle uint64
	bits   atomic.Uint64
	dirty  atomic.Bool
}

// Histogram is a distribution of times or sizes.
type Histogram struct {
	monitor *Monitor
	handle  uint64
}

// total is a sum for one counter; level is a value for one gauge.
type (
	total struct{ handle, count uint64 }
	level struct {
		handle uint64
		value  float64
	}
)

// customMetrics are the custom metrics of a monitor. Every series has one object, whoever looks it up.
type customMetrics struct {
	lock       sync.Mutex // Also held during a flush, so that a second flush waits for the first.
	library    monitorHandle
	known      map[string]any
	counters   []*Counter
	gauges     []*Gauge
	histograms []*Histogram
	released   bool
	totals     []total
	levels     []level
}

func seriesKey(kind string, metric *Metric, values []string) string {
	return strings.Join([]string{kind, metric.Name, strings.Join(metric.Labels, "\x00"), strings.Join(values, "\x00")}, "\x01")
}

// Counter looks up one series of a counter, and declares the counter if it is new. The values are those of the labels, in
// their order. Do this once, at the start.
func (m *Monitor) Counter(metric Metric, values ...string) (*Counter, error) {
	return lookUp(m, "counter", &metric, values, m.handle.counter, func(handle uint64) *Counter {
		counter := &Counter{handle: handle}
		counter.cells.Store(new([]*cell))
		m.metrics.counters = append(m.metrics.counters, counter)
		return counter
	})
}

// Gauge is [Monitor.Counter] for a gauge.
func (m *Monitor) Gauge(metric Metric, values ...string) (*Gauge, error) {
	return lookUp(m, "gauge", &metric, values, m.handle.gauge, func(handle uint64) *Gauge {
		gauge := &Gauge{handle: handle}
		m.metrics.gauges = append(m.metrics.gauges, gauge)
		return gauge
	})
}

// Histogram is [Monitor.Counter] for a histogram. Its unit is "seconds" or "bytes".
func (m *Monitor) Histogram(metric Metric, values ...string) (*Histogram, error) {
	return lookUp(m, "histogram", &metric, values, m.handle.histogram, func(handle uint64) *Histogram {
		histogram := &Histogram{monitor: m, handle: handle}
		m.metrics.histograms = append(m.metrics.histograms, histogram)
		return histogram
	})
}

func lookUp[T any](m *Monitor, kind string, metric *Metric, values []string,
	find func(*Metric, []string) (uint64, error), add func(uint64) *T,
) (*T, error) {
	m.metrics.lock.Lock()
	defer m.metrics.lock.Unlock()
	if m.metrics.released {
		return nil, ErrStale
	}
	key := seriesKey(kind, metric, values)
	if found, known := m.metrics.known[key]; known {
		return found.(*T), nil
	}
	handle, err := find(metric, values)
	if err != nil {
		return nil, err
	}
	if m.metrics.known == nil {
		m.metrics.known = map[string]any{}
		m.metrics.library = m.handle
	}
	one := add(handle)
	m.metrics.known[key] = one
	return one, nil
}

// Add adds to the counter.
func (c *Counter) Add(count uint64) {
	for {
		at := processor.Pin()
		cells := *c.cells.Load()
		if at < len(cells) {
			cells[at].count.Add(count)
			processor.Unpin(at)
			return
		}
		processor.Unpin(at)
		c.extend(at + 1)
	}
}

// Inc adds 1 to the counter.
func (c *Counter) Inc() { c.Add(1) }

// extend gives the counter a cell for each processor. A goroutine may still write to a cell of the list before, so the new
// list has the same cells.
func (c *Counter) extend(count int) {
	c.grow.Lock()
	defer c.grow.Unlock()
	old := *c.cells.Load()
	if len(old) >= count {
		return
	}
	list := make([]*cell, max(count, runtime.GOMAXPROCS(0)))
	fresh := make([]cell, len(list)-len(old))
	for at := copy(list, old); at < len(list); at++ {
		list[at] = &fresh[at-len(old)]
	}
	c.cells.Store(&list)
}

// take returns what was added since the last call.
func (c *Counter) take() (sum uint64) {
	for _, one := range *c.cells.Load() {
		if one.count.Load() != 0 {
			sum += one.count.Swap(0)
		}
	}
	return sum
}

// Set sets the gauge. NaN leaves it unchanged.
func (g *Gauge) Set(value float64) {
	if math.IsNaN(value) {
		return
	}
	g.bits.Store(math.Float64bits(value))
	g.changed()
}

// Add adds to the gauge; a negative value subtracts. A sum of NaN leaves it unchanged.
func (g *Gauge) Add(value float64) {
	for {
		old := g.bits.Load()
		sum := math.Float64frombits(old) + value
		if math.IsNaN(sum) {
			return
		}
		if g.bits.CompareAndSwap(old, math.Float64bits(sum)) {
			g.changed()
			return
		}
	}
}

// Value returns the present value.
func (g *Gauge) Value() float64 { return math.Float64frombits(g.bits.Load()) }

func (g *Gauge) changed() {
	if !g.dirty.Load() {
		g.dirty.Store(true)
	}
}

// Record counts a value: nanoseconds if the unit is seconds, otherwise bytes. A value of 2^62 or more is ignored and
// counted as such.
func (h *Histogram) Record(value uint64) {
	h.monitor.operate(operation{kind: operationHistogram, handle: h.handle, value: value})
}

// Observe counts a time in a histogram whose unit is seconds.
func (h *Histogram) Observe(time time.Duration) { h.Record(uint64(time)) }

func (m *customMetrics) flush() {
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.released || m.known == nil {
		return
	}
	m.totals = m.totals[:0]
	for _, counter := range m.counters {
		if count := counter.take(); count != 0 {
			m.totals = append(m.totals, total{counter.handle, count})
		}
	}
	if len(m.totals) > 0 {
		m.library.add(m.totals)
	}
	m.levels = m.levels[:0]
	for _, gauge := range m.gauges {
		if gauge.dirty.Swap(false) {
			m.levels = append(m.levels, level{gauge.handle, gauge.Value()})
		}
	}
	if len(m.levels) > 0 {
		m.library.level(m.levels)
	}
}

func (m *customMetrics) release() {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.released = true
	for _, one := range m.counters {
		m.library.releaseCounter(one.handle)
	}
	for _, one := range m.gauges {
		m.library.releaseGauge(one.handle)
	}
	for _, one := range m.histograms {
		m.library.releaseHistogram(one.handle)
	}
	m.counters, m.gauges, m.histograms, m.known = nil, nil, nil, nil
}
