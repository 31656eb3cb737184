package signaling

import "time"

// The structs of this file are copies: each call fills new ones, and nothing changes them later. A duration that has no
// value, because nothing was recorded, is 0; a share that has no value is 0 as well.

// PerformanceStats are all figures at one moment.
type PerformanceStats struct {
	Time    time.Time     // When the figures were read.
	Since   time.Time     // When they began: at the start, or at the last reset.
	Uptime  time.Duration // Since the start of the monitor.
	Resets  uint64
	Message *MessageProcessingStats
	// Connection, System and Routing as from the calls of these names. Routing is nil without a router.
	Connection *ConnectionStats
	System     *SystemStats
	Routing    *RoutingStats
	Alerts     *AlertStats
}

// LatencyStats is a distribution of times. Percentiles are at most 3.13 % too high; the other values are exact.
type LatencyStats struct {
	Count                    uint64
	Average, Min, Max        time.Duration
	P50, P90, P95, P99, P999 time.Duration
}

// MessageProcessingStats are the figures of messages: of those that the host has recorded, and of those that a router has
// handled.
type MessageProcessingStats struct {
	TotalMessages      uint64 // SuccessfulMessages + FailedMessages.
	SuccessfulMessages uint64
	FailedMessages     uint64 // Expired ones included.
	ExpiredMessages    uint64 // Those that have waited too long.
	SuccessRate        float64
	ErrorRate          float64

	// Times of handling, without the wait in a queue.
	AverageLatency, MinLatency, MaxLatency                      time.Duration
	P50Latency, P90Latency, P95Latency, P99Latency, P999Latency time.Duration
	// QueueWait has the waits in a queue, Write the times from a delivery to its acknowledgement.
	QueueWait, Write LatencyStats

	SlowMessages         uint64
	SlowMessageThreshold time.Duration
	SlowMessageDetails   []SlowMessage // The latest ones, newest first.

	// LatencyDistribution counts messages by time: "0-1ms", "1-5ms", "5-10ms", "10-50ms", "50-100ms", "100-500ms",
	// "500ms-1s", "1s-5s", "5s+".
	LatencyDistribution map[string]uint64
	LatencyBuckets      []LatencyBucket // The same in order.

	FailureReasons map[string]uint64 // Failed messages by reason; reasons that did not occur are left out.

	MessageTypeStats map[string]*MessageTypeStats // By message type.
	ProtocolStats    map[string]*MessageTypeStats
	ApplicationStats map[string]*MessageTypeStats

	LastMinuteStats, LastHourStats, LastDayStats *TimeWindowStats

	BytesReceived, BytesSent uint64

	TopClients []ClientStats // The clients with the most messages; empty without DetailedStatsEnabled.
}

// LatencyBucket counts the messages of one range of times.
type LatencyBucket struct {
	Name  string
	Count uint64
}

// MessageTypeStats are the figures of one message type, protocol or application. Types of the same name in several
// protocols are added up, with the percentiles of the busiest.
type MessageTypeStats struct {
	Count, SuccessCount, ErrorCount, SlowCount, Bytes uint64
	AverageLatency, MinLatency, MaxLatency            time.Duration
	P95Latency, P99Latency, TotalLatency              time.Duration
	LastProcessed                                     time.Time
}

// TimeWindowStats are the figures of a sliding window.
type TimeWindowStats struct {
	StartTime, EndTime                         time.Time
	MessageCount, ErrorCount, SlowCount, Bytes uint64
	ErrorRate                                  float64
	AverageLatency, MaxLatency, P50Latency     time.Duration
	P95Latency, P99Latency                     time.Duration
	ThroughputPerSec                           float64
}

// SlowMessage is one entry of the list of slow messages. Messages of one type, client and application share an entry.
type SlowMessage struct {
	ClientID, MessageType, Protocol, Application string
	Count                                        uint64
	First, Last                                  time.Time
	Success                                      bool // Of the last message, as the following figures.
	Size                                         uint64
	QueueWait, ProcessingTime                    time.Duration
	Slowest                                      time.Duration // The longest time of any of the messages.
}

// ClientStats are the figures of one client.
type ClientStats struct {
	ClientID, Application                    string
	Connected, Healthy                       bool
	Messages, Errors, BytesIn, BytesOut      uint64
	AverageLatency, MaxLatency               time.Duration
	LastActivity                             time.Time
	ConnectedFor, Idle                       time.Duration
	OutstandingMessages, UndeliveredMessages uint64
}

// ConnectionStats are the figures of connections.
type ConnectionStats struct {
	TotalConnections  uint64
	ActiveConnections int
	PeakConnections   int

	AverageConnectionDuration time.Duration // Of the connections that have ended.
	ConnectionDurations       LatencyStats  // Of the same.
	OpenDurations             LatencyStats  // Of the connections that are open.

	ConnectionsPerMinute    float64 // Connects in the last minute.
	DisconnectionsPerMinute float64

	HealthyConnections, UnhealthyConnections int
	ReconnectAttempts                        uint64

	AppConnections map[string]*AppConnectionStats // By application.
}

// AppConnectionStats are the connections of one application.
type AppConnectionStats struct {
	ActiveConnections int
	TotalConnections  uint64
	LastActivity      time.Time
}

// SystemStats are the figures of the process and the machine, of the last look (MonitorInterval). Those of Go's runtime are
// of this moment.
type SystemStats struct {
	MemoryUsage    MemoryUsage
	CPUUsage       float64 // Percent of the cores that the process may use, from 0 to 100.
	MachineCPU     float64 // Percent of all cores, used by all processes.
	CPUTime        time.Duration
	LoadAverage    [3]float64 // Over one, five and fifteen minutes.
	GoroutineCount int
	ThreadCount    int
	OpenFiles      int
	GCStats        GCStats
	SystemLoad     SystemLoad
}

// MemoryUsage is the memory of the process.
type MemoryUsage struct {
	AllocatedBytes      uint64 // Go's heap in use, and the library's heap.
	TotalAllocatedBytes uint64 // All that Go has ever allocated.
	HeapBytes           uint64 // Go's heap in use.
	StackBytes          uint64 // Stacks of goroutines.
	RuntimeBytes        uint64 // All memory that Go's runtime holds.
	LibraryBytes        uint64 // Allocated by malloc, so by the library and other C code.
	ResidentBytes       uint64 // Memory of the process that is in RAM.
	VirtualBytes        uint64
	SystemBytes         uint64  // RAM of the machine.
	AvailableBytes      uint64  // RAM that is available without swapping.
	LimitBytes          uint64  // Of the control group; 0 without a limit.
	UsagePercent        float64 // ResidentBytes in percent of HighMemoryThreshold.
}

// GCStats are the garbage collections of Go's runtime.
type GCStats struct {
	NumGC                               uint64
	LastPause, AveragePause, TotalPause time.Duration
	LastGC                              time.Time
	CPUFraction                         float64 // Share of the processor time since the start.
}

// SystemLoad is the load of queues and pools.
type SystemLoad struct {
	MessageQueueDepth   uint64
	ConnectionPoolUsage float64 // Connections in percent of those that are allowed.
	ThreadPoolUsage     float64 // Percent of the workers' time that they spent on messages.
}

// RoutingStats are the figures of a [ConcurrentMessageRouter]. They are not reset.
type RoutingStats struct {
	TotalRoutedMessages uint64        // Messages that a worker or the base router has handled.
	RoutingErrors       uint64        // Of these, those that failed or expired.
	RefusedMessages     uint64        // Not accepted; the base router may have handled them.
	AverageRoutingTime  time.Duration // Wait in the queue and handling.
	ConcurrentMessages  uint64        // Accepted, and without an outcome at present.
	MaxConcurrency      uint64        // The most that one worker has seen at once.
	QueuedMessages      uint64        // In queues at present.
	MaxQueueDepth       uint64        // The most that one worker has seen in its queues.
	MessagesPerSecond   float64
	WorkerUsage         float64 // Percent of the workers' time that they spent on messages.
	ActiveWorkers       int
	IdleWorkers         int
	StalledWorkers      int
	Workers             []WorkerStats

	Refusals map[string]uint64 // Refused messages by reason; reasons that did not occur are left out.

	// Fallbacks counts the messages that the base router has handled instead, by reason; FallbackErrors those of them that
	// failed, FallbackPanics those in which the base router panicked.
	Fallbacks                      map[string]uint64
	FallbackErrors, FallbackPanics uint64
	AverageFallbackTime            time.Duration
	// Deliveries are messages for clients: handed to the host, given up, waiting.
	Deliveries, Consumed, Undeliverable, QueuedDeliveries uint64
	// DeliveryPanics counts panics of the host's functions that take deliveries.
	DeliveryPanics uint64
}

// WorkerStats are the figures of one worker.
type WorkerStats struct {
	Processed, Failed, Expired uint64
	AverageTime, IdleTime      time.Duration
	Parks, FullBatches         uint64
	QueueDepth, MaxQueueDepth  uint64
	Stalled                    bool
}

// AlertStats are the alerts that are raised, and the counts of all.
type AlertStats struct {
	Current                          []PerformanceAlert
	History                          []PerformanceAlert // Those that are over, newest first; at most 256.
	Raised, Resolved                 uint64
	CallbackPanics, CallbacksDropped uint64
}
