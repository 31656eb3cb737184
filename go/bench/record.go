package main

import (
	"sync"
	"time"

	corelane "github.com/corelane/corelane/go"
	"github.com/corelane/corelane/go/bench/pool"
	"github.com/prometheus/client_golang/prometheus"
)

// A recorder records one message: its type, outcome, size and time. Each call of recorderFor is for one goroutine.
type recorder func()

// vectors are client_golang's: what a server with this library usually has.
type vectors struct {
	messages *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	wait     *prometheus.HistogramVec
}

func newVectors() *vectors {
	buckets := prometheus.ExponentialBuckets(1e-6, 2, 24)
	return &vectors{
		prometheus.NewCounterVec(prometheus.CounterOpts{Name: "messages_total", Help: "Messages."}, []string{"type", "outcome"}),
		prometheus.NewCounterVec(prometheus.CounterOpts{Name: "bytes_total", Help: "Bytes."}, []string{"type"}),
		prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "latency_seconds", Help: "Time.", Buckets: buckets}, []string{"type"}),
		prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "wait_seconds", Help: "Wait.", Buckets: buckets}, []string{"type"}),
	}
}

// byLabels looks the series up for each message.
func (v *vectors) byLabels() recorder {
	return func() {
		v.messages.WithLabelValues("offer", "ok").Inc()
		v.bytes.WithLabelValues("offer").Add(300)
		v.latency.WithLabelValues("offer").Observe(0.002)
		v.wait.WithLabelValues("offer").Observe(0.0001)
	}
}

// byHandle has looked them up before: the library's fastest way.
func (v *vectors) byHandle() recorder {
	messages, bytes := v.messages.WithLabelValues("offer", "ok"), v.bytes.WithLabelValues("offer")
	latency, wait := v.latency.WithLabelValues("offer"), v.wait.WithLabelValues("offer")
	return func() {
		messages.Inc()
		bytes.Add(300)
		latency.Observe(0.002)
		wait.Observe(0.0001)
	}
}

// recordings are the sides of the comparison.
type recordings struct {
	monitor  *corelane.Monitor
	recorder *corelane.Recorder
	client   *corelane.Connection
	vectors  *vectors
	pool     *pool.Monitor
}

func newRecordings() *recordings {
	monitor, err := corelane.StartMonitor(corelane.Config{})
	must(err)
	one, err := monitor.Recorder("generic", "offer", "")
	must(err)
	client, err := monitor.Connect("ann", "")
	must(err)
	return &recordings{monitor, one, client, newVectors(), pool.NewMonitor()}
}

func (r *recordings) stop() { must(r.monitor.Close()) }

// sides are in the order of the table.
func (r *recordings) sides() []side {
	sample := corelane.Sample{Bytes: 300, Service: 2 * time.Millisecond, QueueWait: 100 * time.Microsecond}
	ofClient := sample
	ofClient.Connection = r.client
	return []side{
		{"corelane", func() { r.recorder.Record(sample) }},
		{"corelane-client", func() { r.recorder.Record(ofClient) }},
		{"client_golang-handle", r.vectors.byHandle()},
		{"client_golang-labels", r.vectors.byLabels()},
		{"mutex-monitor", func() { r.pool.RecordMessage("ann", "offer", 300, 100*time.Microsecond, 2*time.Millisecond, true) }},
	}
}

type side struct {
	name string
	run  recorder
}

// together lets so many goroutines record.
func together(run recorder, goroutines, count int) {
	var all sync.WaitGroup
	for range goroutines {
		all.Add(1)
		go func() {
			defer all.Done()
			for range count / goroutines {
				run()
			}
		}()
	}
	all.Wait()
}
