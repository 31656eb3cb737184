package corelane_test

import (
	"testing"
	"time"

	corelane "github.com/corelane/corelane/go"
)

// What a message costs the goroutine that records it, all batches included. The goal: a third of one call of C at most.
func BenchmarkRecord(b *testing.B) {
	needLibrary(b)
	monitor := startMonitor(b, nil)
	recorder, err := monitor.Recorder("sip", "offer", "web")
	if err != nil {
		b.Fatal(err)
	}
	connection, err := monitor.Connect("ann", "web")
	if err != nil {
		b.Fatal(err)
	}
	message := corelane.Sample{Bytes: 300, Service: 2 * time.Millisecond}
	ofClient := message
	ofClient.Connection = connection
	named := corelane.Message{Protocol: "sip", Type: "offer", Application: "web", Client: "ann", Sample: message}
	counter, err := monitor.Counter(corelane.Metric{Name: "joins_total", Help: "Joins."})
	if err != nil {
		b.Fatal(err)
	}
	gauge, _ := monitor.Gauge(corelane.Metric{Name: "level", Help: "A level."})
	histogram, _ := monitor.Histogram(corelane.Metric{Name: "setup_seconds", Help: "Setup.", Unit: "seconds"})
	for _, one := range []struct {
		name string
		run  func() func() // For each goroutine.
	}{
		{"record/buffer", each(func() { recorder.Record(message) })},
		{"record/buffer-client", each(func() { recorder.Record(ofClient) })},
		{"record/buffer-names", each(func() { monitor.RecordMessage(named) })},
		{"record/call", func() func() { return recorder.ByCall(message, 1) }},
		{"record/call-client", func() func() { return recorder.ByCall(ofClient, 1) }},
		{"record/call-of-128", func() func() { return recorder.ByCall(message, 128) }},
		{"counter/buffer", each(counter.Inc)},
		{"counter/call", func() func() { return counter.ByCall(monitor) }},
		{"gauge/buffer", each(func() { gauge.Set(1) })},
		{"histogram/buffer", func() func() {
			value := uint64(1)
			return func() { // Values of many sizes.
				value = value*6364136223846793005 + 1442695040888963407
				histogram.Record(value >> 34)
			}
		}},
		{"histogram/call", func() func() { return histogram.ByCall() }},
		{"empty/call", each(corelane.CallNothing)},
	} {
		b.Run(one.name, func(b *testing.B) {
			b.ReportAllocs()
			run := one.run()
			for range b.N {
				run()
			}
		})
		b.Run(one.name+"-parallel", func(b *testing.B) {
			b.RunParallel(func(each *testing.PB) {
				run := one.run()
				for each.Next() {
					run()
				}
			})
		})
	}
}

func each(run func()) func() func() { return func() func() { return run } }
