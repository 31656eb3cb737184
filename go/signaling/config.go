package signaling

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	corelane "github.com/corelane/corelane/go"
)

// PerformanceMonitorConfig configures a [PerformanceMonitor]. A number that is 0 has the default of
// [DefaultPerformanceMonitorConfig]; a switch is as it stands.
type PerformanceMonitorConfig struct {
	// MonitorInterval is how often the system is measured and the alert rules are evaluated: 100 ms to 1 h. Windows are
	// filled every second, independent of it.
	MonitorInterval time.Duration
	// ReportInterval is how often a detailed report is made, for the callbacks and, with EnableLogging, for the log: 1 ms to
	// 24 h, or negative for never.
	ReportInterval time.Duration
	// SlowMessageThreshold is the time above which a message is slow: 1 ms to 1 h, waiting time included.
	SlowMessageThreshold time.Duration
	// HighMemoryThreshold is the resident memory of the process, in bytes, above which the alert "memory" is raised: at
	// least 1 MiB.
	HighMemoryThreshold uint64
	// HighConnectionThreshold is the number of connections above which the alert "connections" is raised.
	HighConnectionThreshold int
	// HighErrorRateThreshold is the share of the last minute's messages, from 0 to 1, above which the alert "error_rate" is
	// raised.
	HighErrorRateThreshold float64
	// EnableConcurrentRouting switches a router with this monitor on. If it is off, the base router handles every message,
	// on the caller's goroutine.
	EnableConcurrentRouting bool
	// MaxConcurrentMessages is how many callers of RouteMessage may wait for the result of a router with this monitor at
	// once, or negative for no limit. Further messages go to the base router.
	MaxConcurrentMessages int
	// DetailedStatsEnabled keeps figures for each client, and windows for each type.
	DetailedStatsEnabled bool
	// EnableLogging writes alerts, new slow messages and periodic reports to Logger.
	EnableLogging bool

	// Logger is used with EnableLogging; nil is slog.Default().
	Logger *slog.Logger
	// Elasticsearch is the server of ExportToElasticsearch; nil is that of the environment variable ELASTICSEARCH_URL.
	Elasticsearch *corelane.ElasticsearchOptions
}

// DefaultPerformanceMonitorConfig returns the defaults, for a server with up to 1,000 connections.
func DefaultPerformanceMonitorConfig() *PerformanceMonitorConfig {
	return &PerformanceMonitorConfig{
		MonitorInterval:         5 * time.Second,
		ReportInterval:          60 * time.Second,
		SlowMessageThreshold:    time.Second,
		HighMemoryThreshold:     1 << 30,
		HighConnectionThreshold: 1000,
		HighErrorRateThreshold:  0.05,
		EnableConcurrentRouting: true,
		MaxConcurrentMessages:   100,
		DetailedStatsEnabled:    true,
	}
}

// ProductionPerformanceMonitorConfig returns what the specification recommends for production, for a server with up to
// 10,000 connections.
func ProductionPerformanceMonitorConfig() *PerformanceMonitorConfig {
	return &PerformanceMonitorConfig{
		MonitorInterval:         5 * time.Second,
		ReportInterval:          60 * time.Second,
		SlowMessageThreshold:    100 * time.Millisecond,
		HighMemoryThreshold:     2 << 30,
		HighConnectionThreshold: 10000,
		HighErrorRateThreshold:  0.01,
		EnableConcurrentRouting: true,
		MaxConcurrentMessages:   1000,
		DetailedStatsEnabled:    true,
	}
}

// ConcurrentRouterConfig configures a [ConcurrentMessageRouter]. A number that is 0, or an empty text, has the default of
// [DefaultConcurrentRouterConfig]; a switch is as it stands.
type ConcurrentRouterConfig struct {
	// WorkerCount is the number of workers, each a thread of its own: 1 to 64. They are pinned if there are at least as many
	// cores.
	WorkerCount int
	// QueueSize is how many messages may wait for one worker: 1 to 1,000,000. A message that finds the queue full goes to
	// the base router.
	QueueSize int
	// MaxQueueWaitTime is how long a message may wait for its worker: 1 ms to 1 h. Then it goes to the base router.
	MaxQueueWaitTime time.Duration
	// LoadBalanceMode is how the worker of a client is chosen when it connects: "round_robin", "least_loaded" or "hash". A
	// client stays with its worker, so its messages keep their order in every mode.
	LoadBalanceMode string
	// ProcessingTimeout is how long a worker may take for one message before it counts as stalled, and how long RouteMessage
	// waits for a result beyond MaxQueueWaitTime: 1 ms to 1 h.
	ProcessingTimeout time.Duration
	// EnableMetrics switches the figures of messages on. Without it messages are counted by outcome only.
	EnableMetrics bool
}

// DefaultConcurrentRouterConfig returns the defaults.
func DefaultConcurrentRouterConfig() *ConcurrentRouterConfig {
	return &ConcurrentRouterConfig{
		WorkerCount:       10,
		QueueSize:         1000,
		MaxQueueWaitTime:  5 * time.Second,
		LoadBalanceMode:   "least_loaded",
		ProcessingTimeout: 30 * time.Second,
		EnableMetrics:     true,
	}
}

// A ConfigError says which field has a value that is not allowed, and what is allowed.
type ConfigError struct {
	Field   string // such as "PerformanceMonitorConfig.MonitorInterval"
	Value   string
	Allowed string
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("signaling: %s is %s; allowed: %s", e.Field, e.Value, e.Allowed)
}

// Validate returns a [*ConfigError] for each value that is not allowed, joined.
func (c *PerformanceMonitorConfig) Validate() error {
	d := c.withDefaults()
	const of = "PerformanceMonitorConfig."
	errs := []error{
		milliseconds(of+"MonitorInterval", d.MonitorInterval, 100*time.Millisecond, time.Hour),
		milliseconds(of+"SlowMessageThreshold", d.SlowMessageThreshold, time.Millisecond, time.Hour),
		between(of+"HighMemoryThreshold", d.HighMemoryThreshold, 1<<20, 1<<50),
		between(of+"HighConnectionThreshold", d.HighConnectionThreshold, 1, 10_000_000),
	}
	if d.ReportInterval > 0 {
		errs = append(errs, milliseconds(of+"ReportInterval", d.ReportInterval, time.Millisecond, 24*time.Hour))
	}
	if !(d.HighErrorRateThreshold >= 0 && d.HighErrorRateThreshold <= 1) {
		value := strconv.FormatFloat(d.HighErrorRateThreshold, 'g', -1, 64)
		errs = append(errs, &ConfigError{of + "HighErrorRateThreshold", value, "0 to 1"})
	}
	if d.MaxConcurrentMessages > 0 {
		errs = append(errs, between(of+"MaxConcurrentMessages", d.MaxConcurrentMessages, 1, 1_000_000_000))
	}
	return errors.Join(errs...)
}

// Validate returns a [*ConfigError] for each value that is not allowed, joined.
func (c *ConcurrentRouterConfig) Validate() error {
	d := c.withDefaults()
	const of = "ConcurrentRouterConfig."
	errs := []error{
		between(of+"WorkerCount", d.WorkerCount, 1, 64),
		between(of+"QueueSize", d.QueueSize, 1, 1_000_000),
		milliseconds(of+"MaxQueueWaitTime", d.MaxQueueWaitTime, time.Millisecond, time.Hour),
		milliseconds(of+"ProcessingTimeout", d.ProcessingTimeout, time.Millisecond, time.Hour),
	}
	switch d.LoadBalanceMode {
	case "round_robin", "least_loaded", "hash":
	default:
		errs = append(errs, &ConfigError{of + "LoadBalanceMode", strconv.Quote(d.LoadBalanceMode),
			`"round_robin", "least_loaded", "hash"`})
	}
	return errors.Join(errs...)
}

// withDefaults returns a copy without zeros.
func (c *PerformanceMonitorConfig) withDefaults() PerformanceMonitorConfig {
	d := *DefaultPerformanceMonitorConfig()
	if c == nil {
		return d
	}
	r := *c
	r.MonitorInterval = cmp.Or(r.MonitorInterval, d.MonitorInterval)
	r.ReportInterval = cmp.Or(r.ReportInterval, d.ReportInterval)
	r.SlowMessageThreshold = cmp.Or(r.SlowMessageThreshold, d.SlowMessageThreshold)
	r.HighMemoryThreshold = cmp.Or(r.HighMemoryThreshold, d.HighMemoryThreshold)
	r.HighConnectionThreshold = cmp.Or(r.HighConnectionThreshold, d.HighConnectionThreshold)
	r.HighErrorRateThreshold = cmp.Or(r.HighErrorRateThreshold, d.HighErrorRateThreshold)
	r.MaxConcurrentMessages = cmp.Or(r.MaxConcurrentMessages, d.MaxConcurrentMessages)
	return r
}

// withDefaults returns a copy without zeros.
func (c *ConcurrentRouterConfig) withDefaults() ConcurrentRouterConfig {
	d := *DefaultConcurrentRouterConfig()
	if c == nil {
		return d
	}
	r := *c
	r.WorkerCount = cmp.Or(r.WorkerCount, d.WorkerCount)
	r.QueueSize = cmp.Or(r.QueueSize, d.QueueSize)
	r.MaxQueueWaitTime = cmp.Or(r.MaxQueueWaitTime, d.MaxQueueWaitTime)
	r.LoadBalanceMode = cmp.Or(r.LoadBalanceMode, d.LoadBalanceMode)
	r.ProcessingTimeout = cmp.Or(r.ProcessingTimeout, d.ProcessingTimeout)
	return r
}

func between[N int | uint64](field string, value, low, high N) error {
	if value < low || value > high {
		return &ConfigError{field, fmt.Sprint(value), fmt.Sprintf("%d to %d", low, high)}
	}
	return nil
}

func milliseconds(field string, value, low, high time.Duration) error {
	if value < low || value > high || value%time.Millisecond != 0 {
		return &ConfigError{field, value.String(), fmt.Sprintf("whole milliseconds from %v to %v", low, high)}
	}
	return nil
}

// keys returns the core's keys and values for a monitor.
func (c PerformanceMonitorConfig) keys() map[string]string {
	return map[string]string{
		"monitor_interval_ms":         inMilliseconds(c.MonitorInterval),
		"report_interval_ms":          "0", // The reports of this package are made here.
		"slow_message_threshold_ms":   inMilliseconds(c.SlowMessageThreshold),
		"high_memory_threshold_bytes": strconv.FormatUint(c.HighMemoryThreshold, 10),
		"high_connection_threshold":   strconv.Itoa(c.HighConnectionThreshold),
		"high_error_rate_threshold":   strconv.FormatFloat(c.HighErrorRateThreshold, 'f', -1, 64),
		"detailed_stats":              onOff(c.DetailedStatsEnabled),
		"max_recorded_clients":        strconv.Itoa(c.clients()),
	}
}

// clients returns for how many clients there is room: twice the number that raises an alert.
func (c PerformanceMonitorConfig) clients() int {
	return min(max(2*c.HighConnectionThreshold, 10_000), 1_000_000)
}

// keys returns the core's keys and values for a router with this monitor.
func (c ConcurrentRouterConfig) keys(monitor PerformanceMonitorConfig) map[string]string {
	keys := monitor.keys()
	// Local workers: callers run them. See lane.
	keys["workers"] = strconv.Itoa(c.WorkerCount)
	keys["local_workers"] = keys["workers"]
	keys["queue_messages"] = strconv.Itoa(c.QueueSize)
	keys["ring_bytes"] = strconv.Itoa(ringBytes(c.QueueSize))
	keys["max_queue_wait_ms"] = inMilliseconds(c.MaxQueueWaitTime)
	keys["balance"] = c.LoadBalanceMode
	keys["processing_timeout_ms"] = inMilliseconds(c.ProcessingTimeout)
	keys["enable_metrics"] = onOff(c.EnableMetrics)
	keys["max_clients"] = strconv.Itoa(monitor.clients())
	keys["max_ports"] = "2"
	// Acknowledgements wait in the queue behind messages, so a client's credit must be more than a queue.
	keys["credit_messages"] = strconv.Itoa(min(max(1024, 8*c.QueueSize), 65_535))
	keys["credit_bytes"] = strconv.Itoa(min(max(1<<20, 8<<10*c.QueueSize), 64<<20))
	return keys
}

// ringBytes returns a ring for so many messages of 448 bytes: most messages of signaling are smaller, and a session
// description is larger.
func ringBytes(messages int) int {
	bytes := 128 << 10
	for bytes < messages*512 && bytes < 4<<20 {
		bytes *= 2
	}
	return bytes
}

func inMilliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
