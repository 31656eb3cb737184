package signaling

import (
	"fmt"
	"testing"
)

// BenchmarkRouteMessage is one caller. go/bench compares it with a pool of goroutines.
func BenchmarkRouteMessage(b *testing.B) {
	config := DefaultPerformanceMonitorConfig()
	config.MaxConcurrentMessages = -1
	r := NewConcurrentMessageRouter(nil, nil, NewPerformanceMonitor(config))
	if err := r.monitor.Start(); err != nil {
		b.Fatal(err)
	}
	defer r.monitor.Stop()
	if err := r.Start(); err != nil {
		b.Fatal(err)
	}
	defer r.Stop()
	for i := range 2 {
		if err := r.Connect(fmt.Sprint("client-", i), "", func([]byte) {}); err != nil {
			b.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"ping":      `{"type":"ping"}`,
		"candidate": `{"type":"candidate","to":"client-1","payload":{"candidate":"candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx","sdpMid":"0"}}`,
	} {
		b.Run(name, func(b *testing.B) {
			message := []byte(text)
			b.ReportAllocs()
			for range b.N {
				if _, err := r.RouteMessage(message, "client-0"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
