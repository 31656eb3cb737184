//! The Prometheus text format 0.0.4: families sorted by name, each with HELP and TYPE, labels in a fixed order, and
//! buckets whose bounds are exact cell boundaries. Follows prometheus/docs, `instrumenting/exposition_formats.md`.

use super::family::{Labels, TextFamily, counter, gauge, histogram};
use crate::metrics::listed::{
    ACCOUNTING, CONNECTION, Figure, PATH, PLACEMENT, PORT, ROOM, ROOM_MESSAGE, TYPE, WORKER,
};
use crate::metrics::{Accounting, ByReason, PortStats, RecordedStats, SeriesStats, Stats};
use crate::monitor::Monitor;

/// The content type of the text that [`prometheus`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes what a monitor shows in the Prometheus text format 0.0.4: the router's figures, if there is a router; the
/// messages that the host has recorded; the connections of both; the host's own metrics. All of them count since the
/// start, whatever was [`reset`](Monitor::reset), because a counter must not go back.
///
/// ```
/// use corelane::{config::Config, export::prometheus, monitor::Monitor};
///
/// let monitor = Monitor::new(Config::default())?;
/// monitor.connect("ann", "my-app")?;
/// assert!(prometheus(&monitor).contains("\ncorelane_connections_open 1\n"));
/// # Ok::<(), corelane::error::Error>(())
/// ```
pub fn prometheus(monitor: &Monitor) -> String {
    let exposed = monitor.exposed();
    let mut families = families(CONNECTION, std::iter::once((OwnedLabels::new(), &exposed.connections)));
    families.push(sent_bytes(exposed.bytes_out));
    families.extend(exposed.custom.families.iter().map(TextFamily::custom));
    if let Some(stats) = &exposed.router {
        families.extend(router_families(stats));
    }
    if exposed.metrics_enabled {
        families.extend(recorded_families(&exposed.recorded));
    }
    written(families)
}

/// As [`prometheus`], from a router's figures alone: without the connections and the metrics of the host.
///
/// ```
/// let router = corelane::router::Builder::new(corelane::config::Config::default()).build()?.0;
/// let text = corelane::export::prometheus_of_router(&router.stats());
/// assert!(text.contains("\ncorelane_connections_open 0\n"));
/// # Ok::<(), corelane::error::Error>(())
/// ```
pub fn prometheus_of_router(stats: &Stats) -> String {
    let mut families = families(CONNECTION, std::iter::once((OwnedLabels::new(), &stats.connections)));
    families.push(sent_bytes(stats.messages.bytes_out));
    families.extend(router_families(stats));
    if stats.metrics_enabled {
        families.extend(recorded_families(&stats.recorded));
    }
    written(families)
}

/// The families that only a router has.
fn router_families(stats: &Stats) -> Vec<TextFamily> {
    let mut families = listed_families(stats);
    families.extend(reason_families(stats));
    families.extend(single_families(stats));
    families.extend(time_families(stats));
    if stats.metrics_enabled {
        families.extend(measured_families(stats));
    }
    families
}

/// The families by name, and the version.
fn written(mut families: Vec<TextFamily>) -> String {
    families.push(
        gauge("build_info", "Version of corelane; the value is always 1.")
            .count(&[("version", env!("CARGO_PKG_VERSION"))], 1),
    );
    families.sort_by(|one, other| one.name.cmp(&other.name));
    let mut text = String::with_capacity(families.iter().map(|family| family.text.len()).sum());
    families.iter().for_each(|family| text.push_str(&family.text));
    text
}

fn sent_bytes(bytes: u64) -> TextFamily {
    counter("sent_bytes_total", "Payload bytes acknowledged as written.").count(&[], bytes)
}

type OwnedLabels = Vec<(&'static str, String)>;

/// The labels of a type. An empty label value means that the label is absent, so the series of unlisted types gets the
/// protocol `other`.
fn type_labels(one: &SeriesStats) -> [(&'static str, &str); 2] {
    let protocol = one.protocol.as_deref().filter(|protocol| !protocol.is_empty()).unwrap_or("other");
    [("message_type", &one.name), ("protocol", protocol)]
}

/// The ports that have ever carried a record, with their places.
fn used_ports(stats: &Stats) -> impl Iterator<Item = (usize, &PortStats)> + Clone {
    stats.ports.iter().enumerate().filter(|(_, port)| port.was_used())
}

/// A family for each figure of a list, with one sample per item.
fn families<'a, T: 'a>(
    list: &[Figure<T>],
    items: impl Iterator<Item = (OwnedLabels, &'a T)> + Clone,
) -> Vec<TextFamily> {
    let family = |figure: &Figure<T>| {
        let empty = TextFamily::listed(figure);
        items.clone().fold(empty, |family, (labels, item)| {
            let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            family.value(figure.unit(), &labels, (figure.value)(item))
        })
    };
    list.iter().map(family).collect()
}

/// The families of `metrics::listed`.
fn listed_families(stats: &Stats) -> Vec<TextFamily> {
    let types = stats
        .types
        .iter()
        .map(|one| (type_labels(one).map(|(name, value)| (name, value.to_owned())).to_vec(), one));
    let workers = stats.workers.iter().enumerate();
    let workers = workers.map(|(place, worker)| (vec![("worker", place.to_string())], worker));
    let ports = used_ports(stats).map(|(place, port)| (vec![("port", place.to_string())], port));
    let paths = used_ports(stats).flat_map(|(place, port)| {
        let workers = port.workers.iter().enumerate();
        workers.map(move |(worker, path)| {
            (vec![("port", place.to_string()), ("worker", worker.to_string())], path)
        })
    });
    let rooms = ROOM_MESSAGE.iter().map(|figure| {
        let all = stats.workers.iter().map(figure.value).sum();
        TextFamily::listed(figure).value(figure.unit(), &[], all)
    });
    let alone = OwnedLabels::new;
    [
        families(TYPE, types),
        families(ACCOUNTING, std::iter::once((alone(), &stats.accounting))),
        families(PLACEMENT, std::iter::once((alone(), &stats.placement))),
        families(ROOM, std::iter::once((alone(), &stats.rooms))),
        rooms.collect(),
        families(WORKER, workers),
        families(PORT, ports),
        families(PATH, paths),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Adds one sample per reason, including reasons with the count 0: `rate()` sees the first failure only if a 0
/// precedes it.
fn per_reason(mut family: TextFamily, labels: Labels<'_>, counts: &ByReason) -> TextFamily {
    for (reason, count) in counts.iter() {
        family = family.count(&[labels, &[("reason", reason)]].concat(), count);
    }
    family
}

/// Families with one sample per reason.
fn reason_families(stats: &Stats) -> Vec<TextFamily> {
    let mut failed = counter("messages_failed_total", "Accepted messages that failed, by reason.");
    for one in &stats.types {
        if let Some(failures) = &one.failures {
            failed = per_reason(failed, &type_labels(one), failures);
        }
    }
    let Accounting { refusals, takeovers, undelivered, unacknowledged_reasons, .. } = &stats.accounting;
    let all: [(_, _, &ByReason); 5] = [
        (
            "messages_refused_total",
            "Messages that a port did not accept, by reason. A message that is submitted again counts each time.",
            refusals,
        ),
        (
            "messages_taken_over_total",
            "Messages that the host's base route handled instead, by reason.",
            takeovers,
        ),
        (
            "deliveries_dropped_total",
            "Deliveries given up before they were handed out, by reason.",
            undelivered,
        ),
        (
            "deliveries_unacknowledged_total",
            "Messages handed out that will never be acknowledged as written, by reason.",
            unacknowledged_reasons,
        ),
        ("room_refused_total", "Refused joins and leaves, by reason.", &stats.rooms.refusals),
    ];
    let all = all.into_iter().map(|(name, help, counts)| per_reason(counter(name, help), &[], counts));
    std::iter::once(failed).chain(all).collect()
}

/// Figures that stand alone.
fn single_families(stats: &Stats) -> Vec<TextFamily> {
    let closes = stats.workers.iter().map(|worker| worker.credit_closes).sum();
    vec![
        gauge("workers_active", "Workers that have work.").count(&[], stats.routing.workers_active),
        gauge("workers_idle", "Workers that have no work.").count(&[], stats.routing.workers_idle),
        gauge("payload_bytes", "Bytes of out-of-line payloads.").count(&[], stats.payload_bytes),
        gauge("payloads_waiting", "Out-of-line payloads that wait to be taken.")
            .count(&[], stats.payloads_waiting),
        counter("bad_deliveries_total", "Corrupt delivery records that a poll skipped.")
            .count(&[], stats.bad_deliveries),
        counter("corrupt_deliveries_total", "Egress rings that a poll gave up as corrupt.")
            .count(&[], stats.corrupt_deliveries),
        counter("clients_expelled_total", "Clients that the router asked the host to close, by reason.")
            .count(&[("reason", "credit_exhausted")], closes),
        counter("label_overflows_total", "Connects whose application was folded into the series other.")
            .count(&[("label", "app")], stats.applications_folded),
    ]
}

/// Times that ports measure, with `enable_metrics` off too.
fn time_families(stats: &Stats) -> Vec<TextFamily> {
    let mut by_port = histogram(
        "port_write_duration_seconds",
        "Time from the poll that hands a delivery out to its acknowledgement; one at a time per client is timed.",
    );
    for (place, port) in used_ports(stats) {
        by_port = by_port.histogram(&[("port", &place.to_string())], &port.write);
    }
    let all = histogram(
        "message_write_duration_seconds",
        "Time from the poll that hands a delivery out to its acknowledgement.",
    );
    vec![by_port, all.histogram(&[], &stats.messages.write)]
}

/// Figures that need `enable_metrics`.
fn measured_families(stats: &Stats) -> Vec<TextFamily> {
    let mut by_type = histogram(
        "message_duration_seconds",
        "Handling time of messages: from leaving the ingress ring to the end. Excludes message_queue_duration_seconds.",
    );
    for one in &stats.types {
        by_type = by_type.histogram(&type_labels(one), &one.latency);
    }
    let mut by_app = histogram("app_message_duration_seconds", "Handling time of messages, by application.");
    for one in &stats.applications {
        by_app = by_app.histogram(&[("app", &one.name)], &one.latency);
    }
    let messages = &stats.messages;
    let overflows = messages.latency.distribution.overflows() + messages.queue_wait.distribution.overflows();
    let average =
        gauge("routing_average_seconds", "Mean of queue wait and handling time together, over all messages.");
    // Before the first message there is no mean, so there is no sample.
    let average = match stats.routing.average_nanoseconds {
        Some(nanoseconds) => average.seconds(&[], nanoseconds),
        None => average,
    };
    vec![
        average,
        counter("received_bytes_total", "Payload bytes that workers received.").count(&[], messages.bytes_in),
        by_type,
        by_app,
        histogram("message_held_duration_seconds", "Hold time of held messages that have ended.")
            .histogram(&[], &messages.held),
        histogram("message_queue_duration_seconds", "Time from the socket to the worker.")
            .histogram(&[], &messages.queue_wait),
        counter("latency_overflows_total", "Durations above the largest bucket.").count(&[], overflows),
    ]
}

/// Figures of messages that the host has routed itself and recorded.
fn recorded_families(recorded: &RecordedStats) -> Vec<TextFamily> {
    let mut messages =
        counter("recorded_messages_total", "Messages that the host routed itself and recorded, by outcome.");
    let mut bytes = counter("recorded_bytes_total", "Payload bytes of recorded messages.");
    let mut durations = histogram("recorded_duration_seconds", "Handling time of recorded messages.");
    for one in &recorded.types {
        let labels = type_labels(one);
        for (outcome, count) in [("ok", one.succeeded), ("failed", one.failed)] {
            messages = messages.count(&[&labels[..], &[("outcome", outcome)]].concat(), count);
        }
        bytes = bytes.count(&labels, one.bytes);
        durations = durations.histogram(&labels, &one.latency);
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
