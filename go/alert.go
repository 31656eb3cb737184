package corelane

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Rule is an alert rule over any figure. Name, Metric and Trigger are needed; all zeros elsewhere are the defaults.
type Rule struct {
	// Name is the type of the rule's alerts: 1 to 64 of a to z, 0 to 9 and _.
	Name string
	// Metric is the path of a number in the JSON report, such as "messages.windows.last_minute.p99" (docs/guide.md). A *
	// stands for every element of a list; each element has its own alert.
	Metric string
	// Unit of the metric. Values in "bytes", "nanoseconds" and "share" are written in a readable form.
	Unit string
	// Text is the subject of the alerts' sentence. Empty: the metric.
	Text string
	// Severity of the alerts. Empty: a warning.
	Severity Severity
	// Trigger is the value beyond which an alert is raised: above it, or below it with Below.
	Trigger float64
	Below   bool
	// Clear is the value past which an alert is resolved. Nil: the trigger.
	Clear *float64
	// Pending is how long the metric must be beyond the trigger before an alert is raised: at least three looks.
	Pending time.Duration
	// Keep is how long the metric must be past the clear value before an alert is resolved.
	Keep time.Duration
	// Readings that rest on fewer samples, or whose errors come from fewer clients, raise no alert.
	MinSamples, MinClients uint64
	// Repeat is the interval at which the notification of a firing alert repeats; negative for never. 0: 4 hours.
	Repeat time.Duration
	// Cooldown is how long after a resolution no new alert is notified; negative for not at all. 0: a minute.
	Cooldown time.Duration
}

// AddRule adds a rule. The monitor looks at it every `monitor_interval_ms`. [ErrExists]: there is a rule of that name.
func (m *Monitor) AddRule(rule Rule) error { return m.handle.addRule(&rule) }

// RemoveRule removes a rule, also one that comes with the library. An alert that it has raised is resolved at the next look.
func (m *Monitor) RemoveRule(name string) error { return m.handle.removeRule(name) }

// SetThreshold changes a rule's trigger and clear value from the next look on.
func (m *Monitor) SetThreshold(name string, trigger, clear float64) error {
	return m.handle.setThreshold(name, trigger, clear)
}

// CurrentAlerts returns the alerts that are raised.
func (m *Monitor) CurrentAlerts() ([]Alert, error) {
	snapshot, err := m.Snapshot()
	if err != nil {
		return nil, err
	}
	return snapshot.Alerts.Current, nil
}

// Alerts gives each alert when it is raised, repeated and resolved: its Notification says which. It begins with the alerts that
// are raised already, and ends when the context or the monitor ends. The loop may take long: a queue holds 256 alerts; a full one drops its
// oldest alert and counts it. A waiting loop takes no thread. The error is not nil only if the alerts cannot be had; then the
// loop ends.
//
//	for alert, err := range monitor.Alerts(ctx) {
//		if err != nil {
//			return err
//		}
//		slog.Warn(alert.Message, "alert", alert.ID)
//	}
func (m *Monitor) Alerts(ctx context.Context) iter.Seq2[Alert, error] {
	return func(yield func(Alert, error) bool) {
		poll, err := m.handle.alertPoll()
		if err != nil {
			yield(Alert{}, err)
			return
		}
		defer poll.release()
		ready, err := newReadiness(poll)
		if err != nil {
			yield(Alert{}, err)
			return
		}
		defer ready.close()
		// The queue is open, so an alert that is raised from now on is in it. One that is raised meanwhile is in both.
		current, err := m.CurrentAlerts()
		if err != nil && !errors.Is(err, ErrStale) {
			yield(Alert{}, err)
			return
		}
		told := map[string]uint64{}
		for _, alert := range current {
			if alert.Notification == nil || alert.Raised == nil {
				continue // A cooldown delays its notification, which will be in the queue.
			}
			told[alert.ID] = *alert.Raised
			if ctx.Err() != nil || !yield(alert, nil) {
				return
			}
		}
		for ctx.Err() == nil {
			var alert Alert
			var failed error
			waited := ready.wait(ctx, func() bool {
				alert, failed = poll.next()
				return !errors.Is(failed, ErrAgain)
			})
			switch {
			case waited != nil, errors.Is(failed, ErrClosed):
				return // The context or the monitor has ended.
			case failed != nil:
				yield(Alert{}, failed)
				return
			case alert.Raised != nil && told[alert.ID] == *alert.Raised && alert.Notification != nil &&
				*alert.Notification == NotificationRaised:
				delete(told, alert.ID)
			case !yield(alert, nil):
				return
			}
		}
	}
}
