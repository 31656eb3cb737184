//! The monitor's log lines. They are written on the monitor's thread without any lock, because the subscriber is host
//! code.

use super::alert::{Alert, Notification};
use super::figures::SlowEntry;

/// Logs slow messages that are new in the list. Messages that join an existing entry are not logged.
pub(super) fn slow(entries: &[SlowEntry]) {
    for entry in entries {
        tracing::warn!(
            target: "corelane::slow",
            client = entry.client,
            protocol = entry.protocol,
            message_type = entry.message_type,
            application = entry.application,
            bytes = entry.bytes,
            queue_wait_nanoseconds = entry.queue_wait_nanoseconds,
            service_nanoseconds = entry.service_nanoseconds,
            "slow message"
        );
    }
}

/// Logs rules that cannot raise an alert: name, metric and reason of each.
pub(super) fn unavailable(rules: &[(String, String, &'static str)]) {
    for (name, metric, reason) in rules {
        tracing::warn!(target: "corelane::alert", rule = name, metric, "this rule cannot raise an alert: {reason}");
    }
}

pub(super) fn alerts(alerts: &[Alert]) {
    for alert in alerts {
        let Alert { id, message, current_value, threshold, .. } = alert;
        if alert.notification == Some(Notification::Resolved) {
            tracing::info!(target: "corelane::alert", id, current_value, threshold, "resolved: {message}");
        } else {
            tracing::warn!(target: "corelane::alert", id, current_value, threshold, "{message}");
        }
    }
}
