package corelane

import (
	"context"
	"log/slog"
)

// WithLogger lets a router log its start, its drain and its stop. [Monitor.Log] logs alerts, among them stalled and lost workers.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) { o.logger = logger }
}

// log logs if there is a logger.
func (r *Router) log(level slog.Level, message string, values ...any) {
	if r.logger != nil {
		r.logger.Log(context.Background(), level, message, values...)
	}
}

// Log writes each alert to a logger when it is raised, repeated and resolved, until the context or the monitor ends: rules of
// the program, and those that come with the library, such as worker_stalled, worker_lost, memory and error_rate. Run it on a
// goroutine of its own; while it waits it takes no thread. The error is that of [Monitor.Alerts].
//
//	go monitor.Log(ctx, slog.Default())
func (m *Monitor) Log(ctx context.Context, logger *slog.Logger) error {
	for alert, err := range m.Alerts(ctx) {
		if err != nil {
			return err
		}
		level, notification := slog.LevelWarn, NotificationRaised
		if alert.Notification != nil {
			notification = *alert.Notification
		}
		switch {
		case notification == NotificationResolved, alert.Severity == SeverityInfo:
			level = slog.LevelInfo
		case alert.Severity == SeverityCritical:
			level = slog.LevelError
		}
		logger.Log(ctx, level, alert.Message, "alert", alert.ID, "notification", string(notification), "severity", string(alert.Severity),
			"metric", alert.Metric, "value", float64(alert.CurrentValue), "threshold", alert.Threshold)
	}
	return nil
}
