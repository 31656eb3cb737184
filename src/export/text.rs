//! The Prometheus text format 0.0.4: families sorted by name, each with HELP and TYPE, labels in a fixed order, and
//! buckets whose bounds are exact cell boundaries. Follows prometheus/docs, `instrumenting/exposition_formats.md`.

use super::family::{Labels, TextFamily, counter, gauge, histogram};
use crate::metrics::{ByReason, Stats, TypeStats, WorkerStats};
use std::fmt::Write;

/// The content type of the text that [`prometheus`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

fn per_type(mut family: TextFamily, stats: &Stats, value: impl Fn(&TypeStats) -> u64) -> TextFamily {
    for one in &stats.types {
        family = family.count(&type_labels(&one.protocol, &one.message_type), value(one));
    }
    family
}

/// An empty label value means that the label is absent, so the series of unlisted types gets the protocol `other`.
fn type_labels<'a>(protocol: &'a str, message_type: &'a str) -> [(&'a str, &'a str); 2] {
    [("message_type", message_type), ("protocol", if protocol.is_empty() { "other" } else { protocol })]
}

fn per_worker(
    mut family: TextFamily,
    stats: &Stats,
    sample: impl Fn(TextFamily, Labels<'_>, &WorkerStats) -> TextFamily,
) -> TextFamily {
    for (index, worker) in stats.workers.iter().enumerate() {
        family = sample(family, &[("worker", &index.to_string())], worker);
    }
    family
}

/// Adds one sample per reason, including reasons with the count 0: `rate()` sees the first failure only if a 0
/// precedes it.
fn per_reason(mut family: TextFamily, labels: Labels<'_>, counts: &ByReason) -> TextFamily {
    for (reason, count) in counts.iter() {
        family = family.count(&[labels, &[("reason", reason)]].concat(), count);
    }
    family
}

/// Writes the snapshot in the Prometheus text format 0.0.4.
///
/// ```
/// let router = corelane::router::Builder::new(corelane::config::Config::default()).build()?.0;
/// let text = corelane::export::prometheus(&router.stats());
/// assert!(text.contains("\ncorelane_connections_open 0\n"));
/// # Ok::<(), corelane::error::Error>(())
/// ```
pub fn prometheus(stats: &Stats) -> String {
    let mut families = message_families(stats);
    if stats.metrics_enabled {
        families.extend(measured_families(stats));
        families.extend(recorded_families(stats));
    }
    families.extend(connection_families(stats));
    families.extend(worker_families(stats));
    families.extend(super::ports::port_families(stats));
    families.extend(placement_families(stats));
    families.extend(room_families(stats));
    families.sort_by_key(|family| family.name);
    let mut text = String::with_capacity(families.iter().map(|family| family.text.len()).sum());
    for family in families {
        // Writing to a String cannot fail.
        let _ = text.write_str(&family.text);
    }
    text
}

fn message_families(stats: &Stats) -> Vec<TextFamily> {
    let mut failed = counter("messages_failed_total", "Accepted messages that failed, by reason.");
    for one in &stats.types {
        failed = per_reason(failed, &type_labels(&one.protocol, &one.message_type), &one.failures);
    }
    let accounting = &stats.accounting;
    vec![
        per_type(counter("messages_received_total", "Messages taken by workers."), stats, |one| one.received),
        per_type(
            counter(
                "messages_delivered_total",
                "Messages handed to their recipients, or completed at the router.",
            ),
            stats,
            |one| one.succeeded,
        ),
        per_type(
            counter(
                "messages_expired_total",
                "Messages that expired because they waited or were held too long.",
            ),
            stats,
            |one| one.expired,
        ),
        failed,
        per_reason(
            counter(
                "messages_refused_total",
                "Messages that a port did not accept, by reason. A message that is submitted again counts each time.",
            ),
            &[],
            &accounting.refusals,
        ),
        per_reason(
            counter(
                "messages_taken_over_total",
                "Messages that the host's base route handled instead, by reason.",
            ),
            &[],
            &accounting.takeovers,
        ),
        per_reason(
            counter(
                "deliveries_dropped_total",
                "Deliveries given up before they were handed out, by reason.",
            ),
            &[],
            &accounting.undelivered,
        ),
        per_reason(
            counter(
                "deliveries_unacknowledged_total",
                "Messages handed out that will never be acknowledged as written, by reason.",
            ),
            &[],
            &accounting.unacknowledged_reasons,
        ),
        counter("messages_submitted_total", "Messages submitted to ports.").count(&[], accounting.submitted),
        counter("deliveries_total", "Deliveries emitted, counted per recipient.")
            .count(&[], accounting.deliveries),
        gauge("messages_in_flight", "Accepted messages that have not ended, including held messages.")
            .count(&[], accounting.in_flight),
        gauge("messages_held", "Messages held for recipients that are not connected.")
            .count(&[], accounting.held),
        gauge("deliveries_queued", "Deliveries in egress rings and backlogs.").count(&[], accounting.queued),
        counter("sent_bytes_total", "Payload bytes acknowledged as written.")
            .count(&[], stats.messages.bytes_out),
        histogram(
            "message_write_duration_seconds",
            "Time from the poll that hands a delivery out to its acknowledgement.",
        )
        .histogram(&[], &stats.messages.write),
        gauge("workers_active", "Workers that have work.").count(&[], stats.routing.workers_active),
        gauge("workers_idle", "Workers that have no work.").count(&[], stats.routing.workers_idle),
    ]
}

/// Figures that need `enable_metrics`.
fn measured_families(stats: &Stats) -> Vec<TextFamily> {
    let mut by_type = histogram(
        "message_duration_seconds",
        "Handling time of messages: from leaving the ingress ring to the end. Excludes message_queue_duration_seconds.",
    );
    for one in &stats.types {
        by_type = by_type.histogram(&type_labels(&one.protocol, &one.message_type), &one.service);
    }
    let mut by_app = histogram("app_message_duration_seconds", "Handling time of messages, by application.");
    for one in &stats.applications {
        by_app = by_app.histogram(&[("app", &one.name)], &one.service);
    }
    let overflows = stats.types.iter();
    let overflows =
        overflows.map(|one| one.service.distribution.overflows() + one.queue_wait.distribution.overflows());
    let average =
        gauge("routing_average_seconds", "Mean of queue wait and handling time together, over all messages.");
    // Before the first message there is no mean, so there is no sample.
    let average = match stats.routing.average_nanoseconds {
        Some(nanoseconds) => average.seconds(&[], nanoseconds),
        None => average,
    };
    vec![
        average,
        counter("received_bytes_total", "Payload bytes that workers received.")
            .count(&[], stats.messages.bytes_in),
        by_type,
        by_app,
        histogram("message_held_duration_seconds", "Hold time of held messages that have ended.")
            .histogram(&[], &stats.messages.held),
        histogram("message_queue_duration_seconds", "Time from the socket to the worker.")
            .histogram(&[], &stats.messages.queue_wait),
        counter("latency_overflows_total", "Durations above the largest bucket.").count(&[], overflows.sum()),
    ]
}

fn connection_families(stats: &Stats) -> Vec<TextFamily> {
    let connections = stats.connections;
    let closes = stats.workers.iter().map(|worker| worker.credit_closes).sum();
    vec![
        counter("connections_opened_total", "Connects since the start.").count(&[], connections.total),
        counter("connections_closed_total", "Disconnects since the start.")
            .count(&[], connections.total - connections.active),
        gauge("connections_open", "Clients that are connected.").count(&[], connections.active),
        gauge("connections_open_peak", "Most clients connected at once.").count(&[], connections.peak),
        counter("clients_expelled_total", "Clients that the router asked the host to close, by reason.")
            .count(&[("reason", "credit_exhausted")], closes),
        counter("label_overflows_total", "Connects whose application was folded into the series other.")
            .count(&[("label", "app")], stats.applications_folded),
        gauge("build_info", "Version of corelane; the value is always 1.")
            .count(&[("version", env!("CARGO_PKG_VERSION"))], 1),
    ]
}

fn room_families(stats: &Stats) -> Vec<TextFamily> {
    let rooms = &stats.rooms;
    let all = |value: fn(&WorkerStats) -> u64| stats.workers.iter().map(value).sum();
    vec![
        gauge("rooms_open", "Rooms that have members.").count(&[], rooms.open),
        gauge("room_members", "Memberships in rooms.").count(&[], rooms.members),
        gauge("room_members_peak", "Most memberships in rooms at once.").count(&[], rooms.members_maximum),
        counter("room_joins_total", "Joins since the start.").count(&[], rooms.joined),
        counter("room_leaves_total", "Leaves since the start, including leaves by disconnecting.")
            .count(&[], rooms.left),
        per_reason(
            counter("room_refused_total", "Refused joins and leaves, by reason."),
            &[],
            &rooms.refusals,
        ),
        gauge("room_retired_lists", "Replaced member lists that workers may still read.")
            .count(&[], rooms.retired_lists),
        gauge("room_retired_bytes", "Bytes of replaced member lists that workers may still read.")
            .count(&[], rooms.retired_bytes),
        counter("room_messages_total", "Messages relayed to rooms.")
            .count(&[], all(|worker| worker.room_messages)),
        counter("room_records_total", "Delivery records written for room messages.")
            .count(&[], all(|worker| worker.room_records)),
        counter("room_recipients_total", "Recipients in the delivery records of room messages.")
            .count(&[], all(|worker| worker.room_recipients)),
        counter(
            "room_copied_bytes_total",
            "Payload bytes written into the delivery records of room messages.",
        )
        .count(&[], all(|worker| worker.room_bytes_copied)),
        counter("bad_deliveries_total", "Corrupt delivery records that a poll skipped.")
            .count(&[], stats.bad_deliveries),
        counter("corrupt_deliveries_total", "Egress rings that a poll gave up as corrupt.")
            .count(&[], stats.corrupt_deliveries),
    ]
}

/// Placement of messages, and the state of admission.
fn placement_families(stats: &Stats) -> Vec<TextFamily> {
    let placement = &stats.placement;
    let load = gauge("worker_load_records", "Records that waited at the start of the worker's last cycle.");
    vec![
        per_worker(load, stats, |family, labels, worker| family.count(labels, worker.load)),
        gauge("workers_enabled", "Workers that messages are placed on.").count(&[], placement.active_workers),
        counter(
            "placement_moves_wanted_total",
            "Submissions for which another worker would have been better than the client's.",
        )
        .count(&[], placement.moves_wanted),
        counter("placement_moves_total", "Submissions that moved the client to a better worker.")
            .count(&[], placement.moves_made),
        gauge("payload_bytes", "Bytes of out-of-line payloads.").count(&[], stats.payload_bytes),
        gauge("payloads_waiting", "Out-of-line payloads that wait to be taken.")
            .count(&[], stats.payloads_waiting),
        gauge("messages_permitted", "Limit on messages in flight (max_concurrent_messages); 0 for none.")
            .count(&[], placement.permits),
        gauge(
            "message_permits_available",
            "Permits of messages_permitted that neither a message nor a port holds.",
        )
        .count(&[], placement.permits_available),
    ]
}

/// Figures of messages that the host has routed itself and recorded.
fn recorded_families(stats: &Stats) -> Vec<TextFamily> {
    let recorded = &stats.recorded;
    let mut messages =
        counter("recorded_messages_total", "Messages that the host routed itself and recorded, by outcome.");
    let mut bytes = counter("recorded_bytes_total", "Payload bytes of recorded messages.");
    let mut durations = histogram("recorded_duration_seconds", "Handling time of recorded messages.");
    for one in &recorded.types {
        let [message_type, protocol] = type_labels(&one.protocol, &one.message_type);
        for (outcome, count) in [("ok", one.succeeded), ("failed", one.failed)] {
            messages = messages.count(&[message_type, protocol, ("outcome", outcome)], count);
        }
        bytes = bytes.count(&[message_type, protocol], one.bytes);
        durations = durations.histogram(&[message_type, protocol], &one.duration);
    }
    let mut by_app = counter("recorded_app_messages_total", "Recorded messages, by application and outcome.");
    for one in &recorded.applications {
        for (outcome, count) in [("ok", one.succeeded), ("failed", one.failed)] {
            by_app = by_app.count(&[("app", &one.name), ("outcome", outcome)], count);
        }
    }
    let folded =
        counter("recorded_folded_total", "Lookups of recorded names that were folded into the series other.");
    let folded = folded
        .count(&[("label", "app")], recorded.applications_folded)
        .count(&[("label", "type")], recorded.types_folded);
    vec![messages, bytes, durations, by_app, folded]
}

fn worker_families(stats: &Stats) -> Vec<TextFamily> {
    let each_counter = |name, help, value: fn(&WorkerStats) -> u64| {
        per_worker(counter(name, help), stats, |family, labels, worker| family.count(labels, value(worker)))
    };
    let each_gauge = |name, help, value: fn(&WorkerStats) -> u64| {
        per_worker(gauge(name, help), stats, |family, labels, worker| family.count(labels, value(worker)))
    };
    let age = gauge(
        "worker_message_age_seconds",
        "Time that the running handler has spent on its message; 0 if none runs.",
    );
    let busy = counter("worker_busy_seconds_total", "Time that the worker spent in cycles with work.");
    vec![
        per_worker(busy, stats, |family, labels, worker| family.seconds(labels, worker.busy_nanoseconds)),
        each_counter("worker_batches_total", "Cycles with work.", |worker| worker.cycles),
        each_counter(
            "worker_full_batches_total",
            "Batches that reached their limit while more records waited in the ring.",
            |worker| worker.full_batches,
        ),
        each_counter("worker_parks_total", "Times that the worker slept.", |worker| worker.parks),
        each_counter("worker_wakeups_total", "Times that the worker woke a port.", |worker| worker.wakes),
        each_counter(
            "worker_backlogged_total",
            "Deliveries that went through a backlog, because their egress ring was full.",
            |worker| worker.backlogged,
        ),
        each_counter(
            "worker_stamps_clamped_total",
            "Time stamps in the future, clamped to the present.",
            |worker| worker.stamps_clamped,
        ),
        each_counter("worker_corrupt_rings_total", "Ingress rings given up as corrupt.", |worker| {
            worker.corrupt_rings
        }),
        per_worker(
            counter(
                "worker_idle_seconds_total",
                "Time that the worker spent between cycles and in cycles without work.",
            ),
            stats,
            |family, labels, worker| family.seconds(labels, worker.idle_nanoseconds),
        ),
        each_counter("worker_messages_total", "Messages that ended at the worker.", |worker| worker.ended),
        each_counter("worker_failures_total", "Messages that failed or expired at the worker.", |worker| {
            worker.failed + worker.expired
        }),
        each_counter(
            "worker_credit_refusals_total",
            "Deliveries refused because the recipient had no credit left.",
            |worker| worker.credit_refusals,
        ),
        each_counter(
            "worker_credit_drops_total",
            "Deliveries dropped because the recipient had no credit left.",
            |worker| worker.credit_drops,
        ),
        each_gauge("worker_queue_messages", "Records in the worker's ingress rings.", |worker| {
            worker.queue_messages
        }),
        each_gauge("worker_queue_bytes", "Bytes in use in the worker's ingress rings.", |worker| {
            worker.queue_bytes
        }),
        each_gauge(
            "worker_queue_peak_messages",
            "Most records that waited at the start of a cycle.",
            |worker| worker.queue_messages_maximum,
        ),
        each_gauge(
            "worker_in_flight_peak_messages",
            "Most waiting records and held messages together at the start of a cycle.",
            |worker| worker.in_flight_maximum,
        ),
        each_counter("worker_handler_panics_total", "Panics of message handlers.", |worker| {
            worker.handler_panics
        }),
        each_counter(
            "worker_stalls_total",
            "Times that a handler exceeded processing_timeout_ms.",
            |worker| worker.stalls,
        ),
        each_gauge(
            "worker_stalled",
            "1 while the handler exceeds processing_timeout_ms, else 0.",
            |worker| u64::from(worker.stalled),
        ),
        each_gauge(
            "worker_given_up",
            "1 if a stop left the worker behind inside a handler, else 0.",
            |worker| u64::from(worker.given_up),
        ),
        each_gauge("worker_lost", "1 if the worker ended without a stop, else 0.", |worker| {
            u64::from(worker.lost)
        }),
        per_worker(age, stats, |family, labels, worker| {
            family.seconds(labels, worker.message_age_nanoseconds)
        }),
        each_gauge("worker_queue_peak_bytes", "Most bytes that waited at the start of a cycle.", |worker| {
            worker.queue_bytes_maximum
        }),
        each_gauge("worker_backlog_peak_bytes", "Most bytes in one backlog at once.", |worker| {
            worker.backlog_bytes_maximum
        }),
        each_gauge("worker_held_peak_messages", "Most messages held at once.", |worker| worker.held_maximum),
    ]
}
