package main

import (
	"strings"
	"testing"
	"time"
)

// BenchmarkSides has the benches with names that benchstat compares: -col /side.
func BenchmarkSides(b *testing.B) {
	for _, bench := range benches() {
		sides, stop := bench.start()
		for _, side := range sides {
			b.Run(bench.name+"/side="+side.name, func(b *testing.B) {
				b.ReportAllocs()
				side.run(b.N)
			})
		}
		stop()
	}
}

// TestBothSidesDoTheSame routes each message through each side.
func TestBothSidesDoTheSame(t *testing.T) {
	clients := names(3)
	for _, kind := range kinds {
		var bytes [2]uint64
		for i, start := range []func([]string, int) router{newOurs, newTheirs} {
			before := consumed.Load()
			r := start(clients, 2)
			messages := messagesFor(kind.text, clients)
			routeAll(r, clients, messages, 30)
			r.stop() // Hands the last deliveries out.
			bytes[i] = consumed.Load() - before
		}
		if bytes[0] != bytes[1] || (bytes[0] == 0) != (kind.name == "ping") {
			t.Errorf("%s: %d and %d bytes", kind.name, bytes[0], bytes[1])
		}
	}
}

func TestEveryBenchRuns(t *testing.T) {
	for _, bench := range benches() {
		if rows := bench.measure(1, time.Millisecond); len(rows) < 2 || strings.Contains(rows[0].Name, " ") {
			t.Error(bench.name)
		}
	}
}
