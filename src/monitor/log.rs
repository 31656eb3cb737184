//! What the monitor logs: on its thread, and under no lock, since whoever subscribes is the host's.

use super::alert::{Alert, Notification};
use super::figures::SlowEntry;

/// Slow messages that are new in the list; those like one that is there already are not told again.
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

/// Rules that cannot raise anything: name, metric and reason of each.
pub(super) fn unavailable(rules: &[(String, String, &'static str)]) {
    for (name, metric, reason) in rules {
        tracing::warn!(target: "corelane::alert", rule = name, metric, "this rule raises no alert: {reason}");
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
