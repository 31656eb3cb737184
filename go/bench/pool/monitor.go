package pool

import (
	"sync"
	"time"
)

// Monitor is the specification's performance monitor: one mutex, maps of figures by type and by client.
type Monitor struct {
	mutex     sync.Mutex
	threshold time.Duration

	total, succeeded, failed, slow uint64
	latency, queueWait             time.Duration
	minimum, maximum               time.Duration
	distribution                   map[string]uint64
	types                          map[string]*typeStats
	clients                        map[string]*clientStats
	minute, hour                   window
	slowest                        []slowMessage
}

type typeStats struct {
	count, succeeded, failed, bytes uint64
	total, minimum, maximum         time.Duration
	last                            time.Time
}

type clientStats struct {
	messages, errors, bytes uint64
	total, maximum          time.Duration
	last                    time.Time
}

type window struct {
	start         time.Time
	count, errors uint64
	total         time.Duration
}

type slowMessage struct {
	at             time.Time
	client, kind   string
	processingTime time.Duration
}

// NewMonitor returns an empty monitor.
func NewMonitor() *Monitor {
	return &Monitor{threshold: time.Second, distribution: map[string]uint64{}, types: map[string]*typeStats{},
		clients: map[string]*clientStats{}}
}

func bucket(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "0-1ms"
	case d < 5*time.Millisecond:
		return "1-5ms"
	case d < 10*time.Millisecond:
		return "5-10ms"
	case d < 50*time.Millisecond:
		return "10-50ms"
	case d < 100*time.Millisecond:
		return "50-100ms"
	case d < 500*time.Millisecond:
		return "100-500ms"
	case d < time.Second:
		return "500ms-1s"
	case d < 5*time.Second:
		return "1s-5s"
	}
	return "5s+"
}

// RecordMessageProcessing counts a message.
func (m *Monitor) RecordMessageProcessing(clientID, messageType string, processingTime time.Duration, success bool) {
	m.RecordMessage(clientID, messageType, 0, 0, processingTime, success)
}

// RecordMessage counts a message with its size and its wait.
func (m *Monitor) RecordMessage(clientID, messageType string, bytes int, wait, processingTime time.Duration, success bool) {
	now := time.Now()
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.total++
	m.latency += processingTime
	m.queueWait += wait
	if m.total == 1 || processingTime < m.minimum {
		m.minimum = processingTime
	}
	m.maximum = max(m.maximum, processingTime)
	m.distribution[bucket(processingTime)]++
	t := m.types[messageType]
	if t == nil {
		t = &typeStats{minimum: processingTime}
		m.types[messageType] = t
	}
	t.count++
	t.bytes += uint64(bytes)
	t.total += processingTime
	t.minimum = min(t.minimum, processingTime)
	t.maximum = max(t.maximum, processingTime)
	t.last = now
	c := m.clients[clientID]
	if c == nil {
		c = &clientStats{}
		m.clients[clientID] = c
	}
	c.messages++
	c.bytes += uint64(bytes)
	c.total += processingTime
	c.maximum = max(c.maximum, processingTime)
	c.last = now
	m.minute.add(now, time.Minute, processingTime, success)
	m.hour.add(now, time.Hour, processingTime, success)
	if success {
		m.succeeded++
		t.succeeded++
	} else {
		m.failed++
		t.failed++
		c.errors++
	}
	if processingTime > m.threshold {
		m.slow++
		m.slowest = append(m.slowest, slowMessage{now, clientID, messageType, processingTime})
		if len(m.slowest) > 100 {
			m.slowest = m.slowest[1:]
		}
	}
}

func (w *window) add(now time.Time, length, latency time.Duration, success bool) {
	if now.Sub(w.start) > length {
		*w = window{start: now}
	}
	w.count++
	w.total += latency
	if !success {
		w.errors++
	}
}

// Total returns how many messages were counted.
func (m *Monitor) Total() uint64 {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.total
}
