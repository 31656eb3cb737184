//! The exposition: one walk over the figures, the families sorted by name, labels in a fixed order. Follows prometheus/docs,
//! `instrumenting/exposition_formats.md`, and OpenMetrics 1.0 (`specs/om/open_metrics_spec.md`).

use super::bounds::{Bounds, Buckets};
use super::family::{Labels, TextFamily, counter, gauge, histogram, info};
use super::format::TextFormat;
use crate::metrics::listed::{
    ACCOUNTING, CLUSTER, CONNECTION, EXPORTER, Figure, LINK, PATH, PLACEMENT, PORT, ROOM, ROOM_MESSAGE, TYPE,
    WORKER,
};
use crate::metrics::{Accounting, ByReason, ClusterStatus, PortStats, RecordedStats, SeriesStats, Stats};
use crate::monitor::alert::AlertFigures;
use crate::monitor::{ExposedBuckets, ExposedFigures, Monitor, SystemStats};

/// Writes what a monitor shows in the text format of Prometheus, 0.0.4, as [`Exposition`] does by default.
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
    Exposition::new(TextFormat::Prometheus).write(monitor)
}

/// Writes what a monitor shows in OpenMetrics 1.0, as [`Exposition`] does by default.
pub fn openmetrics(monitor: &Monitor) -> String {
    Exposition::new(TextFormat::OpenMetrics).write(monitor)
}

/// What is written, and in which format.
///
/// ```
/// use corelane::{config::Config, export::{Exposition, TextFormat}, monitor::Monitor};
///
/// let monitor = Monitor::new(Config::default())?;
/// let text = Exposition::new(TextFormat::OpenMetrics).process(false).write(&monitor);
/// assert!(text.ends_with("\n# EOF\n") && !text.contains("process_"));
/// # Ok::<(), corelane::error::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Exposition {
    format: TextFormat,
    process: bool,
    door: Option<DoorFigures>,
}

/// What an HTTP door has counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct DoorFigures {
    pub(crate) requests: u64,
    pub(crate) refusals: Vec<(&'static str, u64)>,
    pub(crate) connections: u64,
    pub(crate) streams: u64,
}

impl Exposition {
    /// Everything, in this format.
    pub const fn new(format: TextFormat) -> Self {
        Self { format, process: true, door: None }
    }

    /// Whether the `process_` families are written, which every Prometheus client library has under the same names. A
    /// host whose own library writes them leaves them out here: a family must not appear twice.
    #[must_use]
    pub const fn process(mut self, on: bool) -> Self {
        self.process = on;
        self
    }

    #[cfg(feature = "http")]
    pub(crate) fn door(mut self, door: DoorFigures) -> Self {
        self.door = Some(door);
        self
    }

    /// Writes what a monitor shows: the router's figures, if there is a router; the messages that the host has recorded;
    /// the connections of both; the host's own metrics; alerts, system and process.
    pub fn write(&self, monitor: &Monitor) -> String {
        let exposed = monitor.exposed();
        let ExposedBuckets { minimum, maximum, per_octave } = exposed.buckets;
        let walk = Walk::new(Buckets { first: minimum, last: maximum, per_octave });
        let mut families = walk.connections(&exposed);
        families.extend(
            exposed.custom.families.iter().map(|one| TextFamily::custom(one, &walk.durations, &walk.sizes)),
        );
        if let Some(stats) = &exposed.router {
            families.extend(walk.router(stats));
        }
        if exposed.metrics_enabled {
            families.extend(walk.recorded(&exposed.recorded));
        }
        families.extend(monitor_families(&exposed));
        families.extend(alert_families(&exposed.alerts));
        let exporters = exposed.exporters.iter();
        families.extend(self::families(
            EXPORTER,
            exporters.map(|one| (vec![("exporter", one.name.to_string())], one)),
        ));
        families.extend(exposed.system.iter().flat_map(system_families));
        if self.process {
            families.extend(exposed.system.iter().flat_map(process_families));
        }
        families.extend(self.door.iter().flat_map(door_families));
        written(families, self.format)
    }
}

/// As [`prometheus`], from a router's figures alone: without the connections and the metrics of the host, and with the default
/// bounds of buckets.
///
/// ```
/// let router = corelane::router::Builder::new(corelane::config::Config::default()).build()?.0;
/// let text = corelane::export::prometheus_of_router(&router.stats());
/// assert!(text.contains("\ncorelane_connections_open 0\n"));
/// # Ok::<(), corelane::error::Error>(())
/// ```
pub fn prometheus_of_router(stats: &Stats) -> String {
    let walk = Walk::new(Buckets::default());
    let mut families = families(CONNECTION, std::iter::once((OwnedLabels::new(), &stats.connections)));
    families.push(sent_bytes(stats.messages.bytes_out));
    families.extend(walk.router(stats));
    if stats.metrics_enabled {
        families.extend(walk.recorded(&stats.recorded));
    }
    written(families, TextFormat::Prometheus)
}

/// The families by name, and the version.
fn written(mut families: Vec<TextFamily>, format: TextFormat) -> String {
    families.push(
        info("build_info", "Version of corelane; the value is always 1.")
            .count(&[("version", env!("CARGO_PKG_VERSION"))], 1),
    );
    families.sort_by(|one, other| one.name.cmp(&other.name));
    let mut text = String::with_capacity(64 << 10);
    families.iter().for_each(|family| family.write(format, &mut text));
    if format == TextFormat::OpenMetrics {
        text.push_str("# EOF\n");
    }
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

/// The series that have had a message.
fn used(series: &[SeriesStats]) -> impl Iterator<Item = &SeriesStats> + Clone {
    series.iter().filter(|one| one.total > 0 || one.received.is_some_and(|received| received > 0))
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
    let types = used(&stats.types)
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
    for one in used(&stats.types) {
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

/// This machine in its cluster, and its links. The machines that live are the only ones with series.
fn cluster_families(cluster: &ClusterStatus) -> Vec<TextFamily> {
    let mut all = families(CLUSTER, std::iter::once((OwnedLabels::new(), cluster)));
    let links = cluster.links_by_machine();
    all.extend(families(LINK, links.iter().map(|link| (vec![("machine", link.machine.clone())], link))));
    let mut state = gauge("cluster_state", "1 for the state that this machine is in, 0 for the others.");
    for one in ClusterStatus::STATES {
        state = state.count(&[("state", one)], u64::from(cluster.state == *one));
    }
    let labels = [("cluster", cluster.cluster.as_str()), ("machine", cluster.machine.as_str())];
    let names = info("cluster_info", "The cluster and this machine; the value is always 1.");
    all.extend([state, names.count(&labels, 1)]);
    all
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

/// What a walk over the figures needs.
struct Walk {
    durations: Bounds,
    sizes: Bounds,
    long: Bounds,
}

impl Walk {
    fn new(buckets: Buckets) -> Self {
        let (sizes, long) = (Bounds::of_sizes(), Bounds::of_milliseconds());
        Self { durations: Bounds::of(buckets), sizes, long }
    }

    /// The families that only a router has.
    fn router(&self, stats: &Stats) -> Vec<TextFamily> {
        let mut families = listed_families(stats);
        families.extend(reason_families(stats));
        families.extend(single_families(stats));
        families.extend(stats.cluster.iter().flat_map(cluster_families));
        families.extend(self.times(stats));
        if stats.metrics_enabled {
            families.extend(self.measured(stats));
        }
        families
    }

    /// Connections of the router and of the host.
    fn connections(&self, exposed: &ExposedFigures) -> Vec<TextFamily> {
        let mut all = families(CONNECTION, std::iter::once((OwnedLabels::new(), &exposed.connections)));
        let (mut open, mut opened) = (
            gauge("app_connections_open", "Clients that are connected, by application."),
            counter("app_connections_opened_total", "Connects since the start, by application."),
        );
        for one in exposed.applications.iter().filter(|one| one.total > 0) {
            open = open.count(&[("app", &one.name)], one.active);
            opened = opened.count(&[("app", &one.name)], one.total);
        }
        let reconnects = counter(
            "reconnect_attempts_total",
            "Connects under the name of a connected client, and reconnects that the host recorded.",
        );
        let mut used = gauge("connection_pool_open", "Connections that count against a limit, by pool.");
        let mut limit = gauge("connection_pool_limit", "Limits on connections, by pool.");
        for (pool, connections, most) in &exposed.pools {
            used = used.count(&[("pool", pool)], *connections);
            limit = limit.count(&[("pool", pool)], *most);
        }
        all.extend([
            open,
            opened,
            used,
            limit,
            reconnects.count(&[], exposed.reconnects),
            sent_bytes(exposed.bytes_out),
        ]);
        if let Some((healthy, unhealthy)) = exposed.health {
            let health = gauge(
                "connections_by_health",
                "Connected clients that are healthy, or silent for longer than unhealthy_after_ms or marked as unhealthy.",
            );
            let lived = histogram("connection_duration_seconds", "Durations of connections that have ended.");
            all.extend([
                health.count(&[("health", "healthy")], healthy).count(&[("health", "unhealthy")], unhealthy),
                lived.long_times(&[], &exposed.lived, &self.long),
            ]);
        }
        all
    }

    /// Times that ports measure, with `enable_metrics` off too.
    fn times(&self, stats: &Stats) -> Vec<TextFamily> {
        let mut by_port = histogram(
            "port_write_duration_seconds",
            "Time from the poll that hands a delivery out to its acknowledgement; one at a time per client is timed.",
        );
        for (place, port) in used_ports(stats) {
            let write = &port.write.distribution;
            by_port = by_port.times(&[("port", &place.to_string())], write, &self.durations);
        }
        let all = histogram(
            "message_write_duration_seconds",
            "Time from the poll that hands a delivery out to its acknowledgement.",
        );
        vec![by_port, all.times(&[], &stats.messages.write.distribution, &self.durations)]
    }

    /// Figures that need `enable_metrics`.
    fn measured(&self, stats: &Stats) -> Vec<TextFamily> {
        let mut by_type = histogram(
            "message_duration_seconds",
            "Handling time of messages: from leaving the ingress ring to the end. Excludes message_queue_duration_seconds.",
        );
        let mut slow = counter(
            "slow_messages_total",
            "Messages that took longer than slow_message_threshold_seconds: queue wait, handling and hold together.",
        );
        let mut bytes = counter("message_bytes_total", "Payload bytes of messages, by type.");
        for one in used(&stats.types) {
            let labels = type_labels(one);
            by_type = by_type.times(&labels, &one.latency.distribution, &self.durations);
            slow = slow.count(&labels, one.slow);
            bytes = bytes.count(&labels, one.bytes);
        }
        let mut by_app =
            histogram("app_message_duration_seconds", "Handling time of messages, by application.");
        let mut app_messages =
            counter("app_messages_total", "Messages that have ended, by application and outcome.");
        for one in used(&stats.applications) {
            by_app = by_app.times(&[("app", &one.name)], &one.latency.distribution, &self.durations);
            for (outcome, count) in [("expired", one.expired), ("failed", one.failed), ("ok", one.succeeded)]
            {
                app_messages = app_messages.count(&[("app", &one.name), ("outcome", outcome)], count);
            }
        }
        let messages = &stats.messages;
        let overflows =
            messages.latency.distribution.overflows() + messages.queue_wait.distribution.overflows();
        let average = gauge(
            "routing_average_seconds",
            "Mean of queue wait and handling time together, over all messages.",
        );
        // Before the first message there is no mean, so there is no sample.
        let average = match stats.routing.average_nanoseconds {
            Some(nanoseconds) => average.seconds(&[], nanoseconds),
            None => average,
        };
        vec![
            average,
            counter("received_bytes_total", "Payload bytes that workers received.")
                .count(&[], messages.bytes_in),
            by_type,
            slow,
            bytes,
            by_app,
            app_messages,
            histogram("message_held_duration_seconds", "Hold time of held messages that have ended.").times(
                &[],
                &messages.held.distribution,
                &self.durations,
            ),
            histogram("message_queue_duration_seconds", "Time from the socket to the worker.").times(
                &[],
                &messages.queue_wait.distribution,
                &self.durations,
            ),
            counter("latency_overflows_total", "Durations above the largest cell, 68.7 s.")
                .count(&[], overflows),
        ]
    }

    /// Figures of messages that the host has routed itself and recorded.
    fn recorded(&self, recorded: &RecordedStats) -> Vec<TextFamily> {
        let mut messages = counter(
            "recorded_messages_total",
            "Messages that the host routed itself and recorded, by outcome.",
        );
        let mut bytes = counter("recorded_bytes_total", "Payload bytes of recorded messages.");
        let mut slow = counter(
            "recorded_slow_total",
            "Recorded messages that took longer than slow_message_threshold_seconds.",
        );
        let mut durations = histogram("recorded_duration_seconds", "Handling time of recorded messages.");
        let mut waits = histogram("recorded_queue_duration_seconds", "Queue wait of recorded messages.");
        for one in used(&recorded.types) {
            let labels = type_labels(one);
            for (outcome, count) in [("failed", one.failed), ("ok", one.succeeded)] {
                messages = messages.count(&[&labels[..], &[("outcome", outcome)]].concat(), count);
            }
            bytes = bytes.count(&labels, one.bytes);
            slow = slow.count(&labels, one.slow);
            durations = durations.times(&labels, &one.latency.distribution, &self.durations);
            if let Some(wait) = &one.queue_wait {
                waits = waits.times(&labels, &wait.distribution, &self.durations);
            }
        }
        let mut by_app =
            counter("recorded_app_messages_total", "Recorded messages, by application and outcome.");
        let mut app_durations =
            histogram("recorded_app_duration_seconds", "Handling time of recorded messages, by application.");
        for one in used(&recorded.applications) {
            for (outcome, count) in [("failed", one.failed), ("ok", one.succeeded)] {
                by_app = by_app.count(&[("app", &one.name), ("outcome", outcome)], count);
            }
            app_durations =
                app_durations.times(&[("app", &one.name)], &one.latency.distribution, &self.durations);
        }
        vec![messages, bytes, slow, durations, waits, by_app, app_durations]
    }
}

/// The monitor itself: start, resets, names without a series, reports, cost.
fn monitor_families(exposed: &ExposedFigures) -> Vec<TextFamily> {
    let (cost, reports, folded) = (&exposed.cost, &exposed.reports, &exposed.folded);
    let mut lookups =
        counter("recorded_folded_total", "Lookups of recorded names that were folded into the series other.");
    let all = [
        ("app", Some(folded.applications)),
        ("client", folded.clients),
        ("protocol", folded.protocols),
        ("type", folded.types),
    ];
    for (label, count) in all {
        if let Some(count) = count {
            lookups = lookups.count(&[("label", label)], count);
        }
    }
    let mut families = vec![
        gauge("start_time_seconds", "When the figures began: Unix time.")
            .seconds(&[], exposed.started_milliseconds * 1_000_000),
        counter("resets_total", "Resets of the monitor's figures. They do not change this exposition.")
            .count(&[], exposed.resets),
        lookups,
        counter("reports_total", "Periodic reports made.").count(&[], reports.made),
        counter("reports_dropped_total", "Reports that a receiver missed.").count(&[], reports.dropped),
        counter("reports_failed_total", "Reports that could not be written to their file.")
            .count(&[], reports.failed),
        counter("report_panics_total", "Panics in callbacks for reports.").count(&[], reports.panics),
        gauge("reports_failing", "Files whose last report could not be written.").count(&[], reports.failing),
        counter("monitor_cpu_seconds_total", "Processor time of the monitor.")
            .seconds(&[], cost.cpu_nanoseconds),
        gauge("monitor_memory_bytes", "Memory that the monitor holds.").count(&[], cost.bytes),
        counter("monitor_collections_total", "Collections of figures.").count(&[], cost.ticks),
        gauge("monitor_collection_last_seconds", "Duration of the last collection.")
            .seconds(&[], cost.collect_nanoseconds_last),
        gauge("monitor_collection_peak_seconds", "Duration of the longest collection.")
            .seconds(&[], cost.collect_nanoseconds_maximum),
    ];
    if exposed.metrics_enabled {
        families.push(
            gauge("slow_message_threshold_seconds", "A message that takes longer than this is slow.")
                .seconds(&[], exposed.slow_threshold),
        );
    }
    if let Some(impossible) = folded.impossible {
        let text =
            "Recorded messages that are counted nowhere else, because one of their durations is invalid.";
        families.push(counter("recorded_impossible_total", text).count(&[], impossible));
    }
    if let Some(limits) = &exposed.limits {
        families.extend([
            gauge("payload_limit_bytes", "Limit on the bytes of out-of-line payloads (payload_bytes).")
                .count(&[], limits.payload_bytes),
            gauge("payload_limit", "Limit on the number of out-of-line payloads (payloads).")
                .count(&[], limits.payloads),
            gauge("ring_capacity_bytes", "Capacity of each ring (ring_bytes).").count(&[], limits.ring_bytes),
            gauge("backlog_capacity_bytes", "Capacity of each backlog (backlog_bytes).")
                .count(&[], limits.backlog_bytes),
            gauge("worker_held_limit", "Limit on the held messages of one worker (hold_messages).")
                .count(&[], limits.held),
            gauge("rooms_limit", "Limit on rooms (max_rooms).").count(&[], limits.rooms),
        ]);
    }
    families
}

fn alert_families(alerts: &AlertFigures) -> Vec<TextFamily> {
    let mut firing = gauge("alerts_firing", "Alerts that are raised, by rule; 0 if none is.");
    let mut pending =
        gauge("alerts_pending", "Alerts whose condition does not hold for long enough yet, by rule.");
    let mut trigger = gauge(
        "alert_trigger_value",
        "The value beyond which a rule raises an alert, in the unit of its figure.",
    );
    let mut transitions = counter("alert_transitions_total", "Entries of alerts into a state, by rule.");
    let mut available =
        gauge("alert_available", "1 if the rule's figure is kept, 0 if a setting prevents that.");
    for rule in &alerts.rules {
        let labels = [("alert", rule.name.as_str()), ("severity", rule.severity.label())];
        firing = firing.count(&labels, rule.firing);
        pending = pending.count(&labels, rule.pending);
        trigger = trigger.number(&labels, rule.trigger);
        available = available.count(&labels, u64::from(rule.unavailable.is_none()));
        let all = &rule.transitions;
        let states = [
            ("firing", all.firing),
            ("pending", all.pending),
            ("recovering", all.recovering),
            ("resolved", all.resolved),
        ];
        for (state, count) in states {
            transitions = transitions.count(&[&labels[..], &[("state", state)]].concat(), count);
        }
    }
    vec![
        firing,
        pending,
        trigger,
        available,
        transitions,
        counter("alerts_raised_total", "Alerts raised.").count(&[], alerts.raised),
        counter("alerts_resolved_total", "Alerts resolved.").count(&[], alerts.resolved),
        counter("alert_reminders_total", "Reminders of alerts that were still firing.")
            .count(&[], alerts.repeated),
        counter(
            "alerts_withheld_total",
            "Alerts that were resolved before the cooldown let them be notified.",
        )
        .count(&[], alerts.withheld),
        counter("alert_notifications_dropped_total", "Notifications that a slow listener missed.")
            .count(&[], alerts.notifications_dropped),
        counter("alert_panics_total", "Panics in callbacks for alerts.").count(&[], alerts.callback_panics),
        counter("alert_folded_total", "Readings that got no alert, because their rule had no place left.")
            .count(&[], alerts.label_sets_folded),
    ]
}

/// A gauge with one sample, if the value is known.
fn known(name: &str, help: &str, value: Option<f64>) -> TextFamily {
    let empty = gauge(name, help);
    match value {
        Some(value) => empty.number(&[], value),
        None => empty,
    }
}

fn count(value: Option<u64>) -> Option<f64> {
    value.map(|value| value as f64)
}

/// The machine, and what the host's runtime has pushed; at the monitor's last look.
fn system_families(system: &SystemStats) -> Vec<TextFamily> {
    let (memory, cpu) = (&system.memory, &system.cpu);
    let load = cpu.load_average;
    let mut families = vec![
        known("system_memory_size_bytes", "RAM of the machine.", count(memory.system_total_bytes)),
        known(
            "system_memory_available_bytes",
            "RAM that is available without swapping.",
            count(memory.system_available_bytes),
        ),
        known(
            "system_memory_limit_bytes",
            "The smallest memory limit of the process's control groups.",
            count(memory.limit_bytes),
        ),
        known(
            "system_memory_limit_free_bytes",
            "Memory that the control groups may still use.",
            count(memory.limit_free_bytes),
        ),
        known(
            "system_cpu_ratio",
            "Share of the time of all cores that all processes used.",
            cpu.system_share,
        ),
        known("system_cpus", "Cores of the machine.", count(cpu.cores)),
        known("system_load1", "Load average over a minute.", load.map(|load| load.one)),
        known("system_load5", "Load average over five minutes.", load.map(|load| load.five)),
        known("system_load15", "Load average over fifteen minutes.", load.map(|load| load.fifteen)),
        known(
            "cpu_ratio",
            "Share of the processor time available to the process that it used.",
            cpu.process_share,
        ),
        known("cpus_allowed", "Cores that the process may use.", cpu.cores_allowed),
        known("heap_bytes", "Memory allocated by malloc and not freed.", count(memory.heap_bytes)),
        known("threads", "Threads of the process.", count(system.process.threads)),
    ];
    if let Some(load) = &system.load {
        families.extend([
            known(
                "connection_pool_ratio",
                "Use of the limit on connections that refuses first.",
                load.connection_pool_use,
            ),
            known("worker_pool_ratio", "Share of the workers' time spent on messages.", load.worker_pool_use),
        ]);
    }
    if let Some(runtime) = &system.runtime {
        families.extend([
            gauge("runtime_goroutines", "Goroutines of the host.").count(&[], runtime.goroutines),
            gauge("runtime_heap_bytes", "Heap of the host's runtime.").count(&[], runtime.heap_bytes),
            gauge("runtime_stack_bytes", "Stacks of the host's runtime.").count(&[], runtime.stack_bytes),
            counter("runtime_collections_total", "Garbage collections of the host's runtime.")
                .count(&[], runtime.gc_count),
            counter("runtime_pause_seconds_total", "Pauses of the host's garbage collection.")
                .seconds(&[], runtime.gc_total_pause_nanoseconds),
            gauge(
                "runtime_collection_cpu_ratio",
                "Share of the processor time that garbage collection took.",
            )
            .number(&[], runtime.gc_cpu_fraction),
            gauge("runtime_age_seconds", "Age of the runtime's figures.")
                .seconds(&[], runtime.age_milliseconds * 1_000_000),
        ]);
    }
    families
}

/// The families that every Prometheus client library has.
fn process_families(system: &SystemStats) -> Vec<TextFamily> {
    let known = |name: &str, help: &str, value: Option<f64>| {
        let empty = TextFamily::standard(name, help);
        match value {
            Some(value) => empty.number(&[], value),
            None => empty,
        }
    };
    let (memory, process) = (&system.memory, &system.process);
    vec![
        TextFamily::standard("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")
            .seconds(&[], system.cpu.process_nanoseconds),
        known(
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            count(memory.resident_bytes),
        ),
        known("process_virtual_memory_bytes", "Virtual memory size in bytes.", count(memory.virtual_bytes)),
        known("process_open_fds", "Number of open file descriptors.", count(process.open_descriptors)),
        known("process_max_fds", "Maximum number of open file descriptors.", count(process.descriptor_limit)),
        known(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            count(process.started_seconds),
        ),
    ]
}

fn door_families(door: &DoorFigures) -> Vec<TextFamily> {
    let mut refused =
        counter("http_refused_total", "Connections and requests that the HTTP door refused, by reason.");
    for (reason, count) in &door.refusals {
        refused = refused.count(&[("reason", reason)], *count);
    }
    vec![
        refused,
        counter("http_requests_total", "Requests of the HTTP door.").count(&[], door.requests),
        gauge("http_connections_open", "Connections of the HTTP door.").count(&[], door.connections),
        gauge("http_streams_open", "Streams of events of the HTTP door.").count(&[], door.streams),
    ]
}
