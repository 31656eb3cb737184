package signaling

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// withRuntime adds the figures of Go's runtime at this moment. Nothing stops the world: runtime/metrics and ReadGCStats do
// not.
func withRuntime(s *SystemStats) *SystemStats {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/cpu/classes/gc/total:cpu-seconds"},
		{Name: "/cpu/classes/total:cpu-seconds"},
	}
	metrics.Read(samples)
	m := &s.MemoryUsage
	m.HeapBytes = samples[0].Value.Uint64()
	m.TotalAllocatedBytes = samples[1].Value.Uint64()
	m.StackBytes = samples[2].Value.Uint64()
	m.RuntimeBytes = samples[3].Value.Uint64()
	m.AllocatedBytes = m.HeapBytes + m.LibraryBytes
	s.GoroutineCount = runtime.NumGoroutine()

	var gc debug.GCStats
	debug.ReadGCStats(&gc)
	s.GCStats = GCStats{NumGC: samples[4].Value.Uint64(), TotalPause: gc.PauseTotal, LastGC: gc.LastGC}
	if len(gc.Pause) > 0 {
		s.GCStats.LastPause = gc.Pause[0]
	}
	if gc.NumGC > 0 {
		s.GCStats.AveragePause = gc.PauseTotal / time.Duration(gc.NumGC)
	}
	if all := samples[6].Value.Float64(); all > 0 {
		s.GCStats.CPUFraction = samples[5].Value.Float64() / all
	}
	return s
}
