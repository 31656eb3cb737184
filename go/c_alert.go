//go:build !corelane_stub

package corelane

// #include <corelane.h>
import "C"

import (
	"runtime"
	"time"
	"unsafe"
)

var severities = map[Severity]C.uint32_t{
	"":               C.CORELANE_SEVERITY_DEFAULT,
	SeverityInfo:     C.CORELANE_SEVERITY_INFO,
	SeverityWarning:  C.CORELANE_SEVERITY_WARNING,
	SeverityCritical: C.CORELANE_SEVERITY_CRITICAL,
}

func (h monitorHandle) addRule(rule *Rule) error {
	severity, known := severities[rule.Severity]
	if !known {
		return &Error{Code: CodeInvalid, Message: "severity: " + string(rule.Severity) + " is none of info, warning and critical"}
	}
	var pins runtime.Pinner
	defer pins.Unpin()
	one := C.corelane_rule{
		size:        C.uint32_t(unsafe.Sizeof(C.corelane_rule{})),
		severity:    severity,
		trigger:     C.double(rule.Trigger),
		pending_ns:  nanoseconds(rule.Pending),
		keep_ns:     nanoseconds(rule.Keep),
		min_samples: C.uint64_t(rule.MinSamples),
		min_clients: C.uint64_t(rule.MinClients),
		repeat_ns:   nanoseconds(rule.Repeat),
		cooldown_ns: nanoseconds(rule.Cooldown),
	}
	one.name, one.name_length = pinnedText(&pins, rule.Name)
	one.metric, one.metric_length = pinnedText(&pins, rule.Metric)
	one.unit, one.unit_length = pinnedText(&pins, rule.Unit)
	one.text, one.text_length = pinnedText(&pins, rule.Text)
	if rule.Below {
		one.flags |= C.CORELANE_RULE_BELOW
	}
	if rule.Clear != nil {
		one.flags |= C.CORELANE_RULE_CLEAR
		one.clear = C.double(*rule.Clear)
	}
	if rule.Repeat != 0 {
		one.flags |= C.CORELANE_RULE_REPEAT
	}
	if rule.Cooldown != 0 {
		one.flags |= C.CORELANE_RULE_COOLDOWN
	}
	detail := newError()
	return failure(C.corelane_monitor_add_rule(h.c, &one, &detail), &detail)
}

func nanoseconds(time time.Duration) C.uint64_t { return C.uint64_t(max(time, 0)) }

func (h monitorHandle) removeRule(name string) error {
	n, nn := text(name)
	return failure(C.corelane_monitor_remove_rule(h.c, n, nn), nil)
}

func (h monitorHandle) setThreshold(name string, trigger, clear float64) error {
	n, nn := text(name)
	return failure(C.corelane_monitor_set_threshold(h.c, n, nn, C.double(trigger), C.double(clear)), nil)
}

// alertPoll is the library's queue of alerts.
type alertPoll struct{ c C.corelane_alert_poll }

func (h monitorHandle) alertPoll() (alertPoll, error) {
	var poll alertPoll
	detail := newError()
	err := failure(C.corelane_monitor_alert_poll(h.c, &poll.c, &detail), &detail)
	return poll, err
}

func (p alertPoll) descriptor() (int, error) {
	descriptor := C.corelane_alert_poll_fd(p.c)
	return int(descriptor), failure(descriptor, nil)
}

func (p alertPoll) release() { C.corelane_alert_poll_release(p.c) }

// next returns ErrAgain if none waits, and ErrClosed if the monitor has ended besides.
func (p alertPoll) next() (Alert, error) {
	one := C.corelane_alert{size: C.uint32_t(unsafe.Sizeof(C.corelane_alert{}))}
	if err := failure(C.corelane_alert_poll_next(p.c, &one), nil); err != nil {
		return Alert{}, err
	}
	alert := Alert{
		ID: fixed(one.name[:]), Name: fixed(one.name[:]), LabelSet: fixed(one.label_set[:]), Metric: fixed(one.metric[:]),
		Message: fixed(one.sentence[:]), Threshold: float64(one.threshold), CurrentValue: Number(one.value),
		Since: uint64(one.since_ms), Raised: known(one.raised_ms), Resolved: known(one.resolved_ms),
	}
	if alert.LabelSet != "" {
		alert.ID += "/" + alert.LabelSet
	}
	switch one.severity {
	case C.CORELANE_SEVERITY_INFO:
		alert.Severity = SeverityInfo
	case C.CORELANE_SEVERITY_CRITICAL:
		alert.Severity = SeverityCritical
	default:
		alert.Severity = SeverityWarning
	}
	switch one.state {
	case C.CORELANE_ALERT_PENDING:
		alert.State = AlertStatePending
	case C.CORELANE_ALERT_FIRING:
		alert.State = AlertStateFiring
	case C.CORELANE_ALERT_RECOVERING:
		alert.State = AlertStateRecovering
	case C.CORELANE_ALERT_RESOLVED:
		alert.State = AlertStateResolved
	}
	var notification Notification
	switch one.notification {
	case C.CORELANE_NOTIFICATION_RAISED:
		notification = NotificationRaised
	case C.CORELANE_NOTIFICATION_REPEATED:
		notification = NotificationRepeated
	case C.CORELANE_NOTIFICATION_RESOLVED:
		notification = NotificationResolved
	}
	if notification != "" {
		alert.Notification = &notification
	}
	return alert, nil
}
