package corelane

// BuildTag is the tag that this build was made with.
const BuildTag = buildTag

// LookBeforeRelease calls a function with the JSON report between the last flush of Close and the release.
func LookBeforeRelease(m *Monitor, look func(string)) {
	m.beforeRelease = func() {
		text, _ := m.handle.report(ReportJSON)
		look(text)
	}
}

// ByCall returns a function that records `count` messages with one call of C.
func (r *Recorder) ByCall(message Sample, count int) func() {
	batch := make([]sample, count)
	for at := range batch {
		batch[at] = sample{
			size: sampleSize, series: r.series, bytes: uint64(message.Bytes), service: uint64(message.Service),
		}
		if message.Connection != nil {
			batch[at].client = message.Connection.handle
		}
	}
	return func() { r.monitor.handle.record(batch) }
}

// ByCall returns a function that adds 1 with one call of C.
func (c *Counter) ByCall(m *Monitor) func() {
	one := []total{{c.handle, 1}}
	return func() { m.handle.add(one) }
}

// ByCall returns a function that records one value with one call of C.
func (h *Histogram) ByCall() func() {
	one := []operation{{operationHistogram, h.handle, 1000}}
	return func() { h.monitor.handle.operate(one) }
}

// CallNothing is one call of C that does nothing.
func CallNothing() { libraryVersion() }
