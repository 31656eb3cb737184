//! The report for people: headings, notices and tables. `text` writes it. The figures that an operator needs
//! first come first.

use super::{bytes, cut, duration, percent, time};
use crate::metrics::listed::{
    ACCOUNTING, CLUSTER, EXPORTER, Figure, LINK, PATH, PLACEMENT, PORT, ROOM, Unit, WORKER,
};
use crate::metrics::{ClusterStatus, ExporterStats, LatencyStats, PortStats};
use crate::monitor::figures::{
    ClientFigures, ConnectionFigures, MessageFigures, MonitorStats, RoutingFigures, SeriesFigures,
    SlowFigures, Windowed,
};
use crate::monitor::paths::NO_ROUTER;
use crate::monitor::system::{CostStats, SystemStats};

/// A part of the report.
pub(super) enum Part {
    Heading(String),
    Notice(Importance, String),
    Table(Table),
}

/// How a notice is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Importance {
    Plain,
    Urgent,
}

/// A table with at least one row. The rows are as long as the heads.
pub(super) struct Table {
    pub(super) title: String,
    pub(super) heads: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

/// Shown in place of the message figures while there are none.
const NO_MESSAGES: &str = "No message figures: enable_metrics is off.";
/// Shown in place of the client figures while there are none.
const NO_CLIENTS: &str = "No client figures: detailed_stats or enable_metrics is off.";

/// The whole report. Its first part is a heading.
pub(super) fn document(stats: &MonitorStats) -> Vec<Part> {
    let mut parts = Parts(Vec::new());
    parts.heading(format!("corelane report, {}", time(stats.time_milliseconds)));
    let (since, resets) = (time(stats.since_milliseconds), stats.resets);
    let up = duration(stats.uptime_nanoseconds);
    parts.notice(Importance::Plain, format!("Figures since {since} (resets: {resets}); up for {up}."));
    let kept = format!("since {}, never reset", time(stats.started_milliseconds));
    parts.alerts(&kept, stats);
    match &stats.messages {
        Some(messages) => parts.messages(messages),
        None => parts.notice(Importance::Urgent, NO_MESSAGES.to_owned()),
    }
    parts.series("Types", stats.types.as_deref());
    parts.series("Protocols", stats.protocols.as_deref());
    parts.series("Applications", stats.applications.as_deref());
    stats.slow_messages.iter().for_each(|slow| parts.slow(slow));
    parts.connections(&stats.connections);
    match &stats.clients {
        Some(all) => {
            parts.clients("Clients with the most messages", all.tracked, &all.by_messages);
            parts.clients("Clients with the most errors", all.tracked, &all.by_errors);
            parts.clients("Slowest clients", all.tracked, &all.by_average);
            parts.clients("Clients with the most unacknowledged bytes", all.tracked, &all.by_outstanding);
            let peaks = &all.by_outstanding_peak;
            parts.clients("Clients with the most unacknowledged messages at once", all.tracked, peaks);
            parts.clients("Clients that lost the most deliveries", all.tracked, &all.by_undelivered);
        }
        None => parts.notice(Importance::Urgent, NO_CLIENTS.to_owned()),
    }
    stats.routing.iter().for_each(|routing| parts.routing(&kept, routing));
    stats.system.iter().for_each(|system| parts.system(system));
    parts.custom(&kept, stats);
    parts.cost(&kept, &stats.monitor);
    stats.cluster.iter().for_each(|cluster| parts.cluster(cluster));
    parts.exporters(&kept, &stats.exporters);
    parts.0
}

struct Parts(Vec<Part>);

impl Parts {
    fn heading(&mut self, text: String) {
        self.0.push(Part::Heading(text));
    }

    fn notice(&mut self, importance: Importance, text: String) {
        self.0.push(Part::Notice(importance, text));
    }

    /// Adds a table, unless it has no rows.
    fn table<const N: usize>(
        &mut self,
        title: impl Into<String>,
        heads: [&'static str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) {
        self.rows(title, heads.to_vec(), rows.into_iter().map(Vec::from).collect());
    }

    fn rows(&mut self, title: impl Into<String>, heads: Vec<&'static str>, rows: Vec<Vec<String>>) {
        if !rows.is_empty() {
            self.0.push(Part::Table(Table { title: title.into(), heads, rows }));
        }
    }

    /// A table of the listed figures that have a title. Each row has a name and the item that the figures describe.
    /// Without a head for the names, there is no column for them.
    fn listed<'a, T: 'a>(
        &mut self,
        title: impl Into<String>,
        first: &'static str,
        list: &[Figure<T>],
        rows: impl IntoIterator<Item = (String, &'a T)>,
    ) {
        let named = !first.is_empty();
        let shown = || list.iter().filter(|figure| !figure.title.is_empty());
        let cell = |figure: &Figure<T>, item: &T| {
            let value = (figure.value)(item);
            match figure.unit() {
                Unit::Count => value.to_string(),
                Unit::Bytes => bytes(value),
                Unit::Nanoseconds => duration(value),
            }
        };
        let rows = rows.into_iter().map(|(name, item)| {
            named.then_some(name).into_iter().chain(shown().map(|figure| cell(figure, item))).collect()
        });
        let heads = named.then_some(first).into_iter().chain(shown().map(|figure| figure.title)).collect();
        self.rows(title, heads, rows.collect());
    }

    fn alerts(&mut self, kept: &str, stats: &MonitorStats) {
        let alerts = &stats.alerts;
        self.heading(format!("Alerts, {kept}: {} raised, {} resolved", alerts.raised, alerts.resolved));
        if alerts.current.is_empty() {
            self.notice(Importance::Plain, "No alert is raised.".to_owned());
        }
        for alert in &alerts.current {
            let text = format!("{} {}: {}", alert.severity.label(), alert.id, alert.message);
            self.notice(Importance::Urgent, text);
        }
        if alerts.label_sets_folded > 0 {
            self.notice(
                Importance::Plain,
                format!(
                    "Readings without an alert, because their rule had no place left or their label set is too long: {}.",
                    alerts.label_sets_folded
                ),
            );
        }
        let past = alerts.history.iter().map(|alert| {
            let at = |milliseconds: Option<u64>| or_dash(milliseconds, time);
            [alert.id.clone(), at(alert.raised), at(alert.resolved), alert.message.clone()]
        });
        let title = cut("Past alerts", alerts.history.len() as u64, alerts.resolved);
        self.table(title, ["Alert", "Raised", "Resolved", "Message"], past);
        let unavailable = alerts.rules.iter().filter_map(|rule| {
            let reason = rule.unavailable.as_deref().filter(|reason| *reason != NO_ROUTER)?;
            Some([rule.name.clone(), rule.metric.clone(), reason.to_owned()])
        });
        self.table("Rules that cannot raise an alert", ["Rule", "Metric", "Reason"], unavailable);
    }

    fn messages(&mut self, messages: &MessageFigures) {
        let totals = &messages.totals;
        let row = [
            totals.total.to_string(),
            totals.succeeded.to_string(),
            percent(totals.success_rate),
            totals.failed.to_string(),
            totals.expired.to_string(),
            totals.slow.to_string(),
            bytes(totals.bytes_in),
            bytes(totals.bytes_out),
        ];
        let heads = ["Total", "Succeeded", "Success rate", "Failed", "Expired", "Slow", "In", "Out"];
        self.table("Messages", heads, [row]);
        let times = [
            ("Handling", &totals.latency),
            ("Queue wait", &totals.queue_wait),
            ("Hold", &totals.held),
            ("Write", &totals.write),
        ];
        let times = times.map(|(name, latency)| {
            let LatencyStats { average, p50, p90, p95, p99, p999, maximum, .. } = latency;
            let [a, b, c, d, e, f, g] =
                [average, p50, p90, p95, p99, p999, maximum].map(|time| or_dash(*time, duration));
            [name.to_owned(), a, b, c, d, e, f, g]
        });
        self.table("Times", ["", "Average", "p50", "p90", "p95", "p99", "p99.9", "Maximum"], times);
        self.windows(&messages.windows);
        let failures = totals.failures.counted().into_iter();
        let failures = failures.map(|(reason, count)| [reason.to_owned(), count.to_string()]);
        self.table("Failures", ["Reason", "Messages"], failures);
        let ranges = messages.buckets.iter().filter(|bucket| bucket.count > 0);
        let ranges = ranges.map(|bucket| [bucket.name.clone().into_owned(), bucket.count.to_string()]);
        self.table("Handling times", ["Range", "Messages"], ranges);
    }

    fn windows(&mut self, windows: &Windowed) {
        let all = [
            ("Last minute", &windows.last_minute),
            ("Last hour", &windows.last_hour),
            ("Last day", &windows.last_day),
        ];
        let rows = all.map(|(name, window)| {
            let LatencyStats { count, average, p50, p95, p99, .. } = &window.latency;
            let [average, p50, p95, p99] = [average, p50, p95, p99].map(|time| or_dash(*time, duration));
            let throughput = format!("{:.1}", window.throughput_per_second.unwrap_or(0.0));
            let errors = percent(window.error_rate);
            [name.to_owned(), count.to_string(), throughput, errors, average, p50, p95, p99]
        });
        self.table("Windows", ["", "Messages", "Per second", "Errors", "Average", "p50", "p95", "p99"], rows);
    }

    /// The series that have messages, by total handling time.
    fn series(&mut self, title: &str, series: Option<&[SeriesFigures]>) {
        let all = series.unwrap_or_default().iter();
        let mut used: Vec<_> =
            all.filter(|one| one.totals.total > 0 || one.totals.latency.count > 0).collect();
        used.sort_by_key(|one| std::cmp::Reverse(one.total_nanoseconds));
        let rows = used.into_iter().map(|one| {
            let totals = &one.totals;
            let minute = one.windows.as_ref().map(|windows| &windows.last_minute.latency);
            [
                full_name(totals.protocol.as_deref().unwrap_or_default(), &totals.name),
                totals.total.to_string(),
                totals.failed.to_string(),
                totals.expired.to_string(),
                totals.slow.to_string(),
                bytes(totals.bytes),
                or_dash(totals.latency.average, duration),
                or_dash(totals.latency.p99, duration),
                or_dash(totals.latency.maximum, duration),
                or_dash(minute.map(|minute| minute.count), count),
                or_dash(minute.and_then(|minute| minute.p99), duration),
            ]
        });
        let heads = [
            "Name",
            "Messages",
            "Failed",
            "Expired",
            "Slow",
            "Bytes",
            "Average",
            "p99",
            "Maximum",
            "Last minute",
            "Last minute's p99",
        ];
        self.table(format!("{title}, by total handling time"), heads, rows);
    }

    fn slow(&mut self, slow: &SlowFigures) {
        let rows = slow.entries.iter().map(|entry| {
            [
                time(entry.last_milliseconds),
                full_name(&entry.protocol, &entry.message_type),
                entry.client.clone(),
                entry.application.clone(),
                entry.count.to_string(),
                duration(entry.queue_wait_nanoseconds),
                duration(entry.service_nanoseconds),
                bytes(entry.bytes),
                or_dash(entry.worker, count),
            ]
        });
        let heads =
            ["Last", "Type", "Client", "Application", "Count", "Queue wait", "Handling", "Bytes", "Worker"];
        let title = format!("Slow messages, over {}", duration(slow.threshold_nanoseconds));
        let title = cut(&title, slow.total - slow.unlisted.min(slow.total), slow.total);
        // The list may have room for what is missing, so say why it is.
        let why =
            if slow.unlisted > 0 { "; the others came too fast to be listed, or were displaced" } else { "" };
        self.table(title + why, heads, rows);
    }

    fn connections(&mut self, connections: &ConnectionFigures) {
        let counts = [
            Some(connections.active),
            Some(connections.peak),
            Some(connections.total),
            Some(connections.connects_last_minute),
            Some(connections.disconnects_last_minute),
            connections.healthy,
            connections.unhealthy,
            Some(connections.reconnect_attempts),
        ];
        let heads = [
            "Open",
            "Peak",
            "Total",
            "Connects (minute)",
            "Disconnects (minute)",
            "Healthy",
            "Unhealthy",
            "Reconnect attempts",
        ];
        self.table("Connections", heads, [counts.map(|one| or_dash(one, count))]);
        let used = connections.applications.iter().filter(|one| one.total > 0);
        let rows = used.map(|one| {
            let last = or_dash(one.last_activity_milliseconds, time);
            [one.name.clone(), one.active.to_string(), one.total.to_string(), last]
        });
        self.table("Connections by application", ["Application", "Open", "Total", "Last activity"], rows);
    }

    fn clients(&mut self, title: &str, tracked: u64, clients: &[ClientFigures]) {
        let rows = clients.iter().map(|client| {
            [
                client.name.clone(),
                client.application.clone(),
                client.messages.to_string(),
                client.errors.to_string(),
                bytes(client.bytes_in),
                bytes(client.bytes_out),
                or_dash(client.average_nanoseconds, duration),
                duration(client.maximum_nanoseconds),
                bytes(client.outstanding_bytes),
                client.outstanding_peak.to_string(),
                client.undelivered.to_string(),
            ]
        });
        let heads = [
            "Client",
            "Application",
            "Messages",
            "Errors",
            "In",
            "Out",
            "Average",
            "Maximum",
            "Unacknowledged",
            "Peak",
            "Undelivered",
        ];
        self.table(cut(title, clients.len() as u64, tracked), heads, rows);
    }

    fn routing(&mut self, kept: &str, routing: &RoutingFigures) {
        let (totals, rates) = (&routing.totals, &routing.rates);
        let row = [
            totals.routed.to_string(),
            totals.failed.to_string(),
            totals.expired.to_string(),
            or_dash(totals.average_nanoseconds, duration),
            format!("{:.1}", rates.messages_per_second),
            percent(Some(rates.utilisation)),
            totals.queue_messages.to_string(),
            bytes(totals.queue_bytes),
            routing.egress_full_last_minute.to_string(),
            routing.credit_exhausted_last_minute.to_string(),
        ];
        let heads = [
            "Routed",
            "Failed",
            "Expired",
            "Average",
            "Per second",
            "Utilisation",
            "Queued",
            "In bytes",
            "Egress full (minute)",
            "Credit exhausted (minute)",
        ];
        self.table(format!("Routing, {kept}"), heads, [row]);
        let accounting = &routing.accounting;
        self.listed("Accounting", "", ACCOUNTING, [(String::new(), accounting)]);
        let reasons = [
            ("Refused", &accounting.refusals),
            ("Taken over", &accounting.takeovers),
            ("Undeliverable", &accounting.undelivered),
            ("Unacknowledged", &accounting.unacknowledged_reasons),
        ];
        let reasons = reasons.into_iter().flat_map(|(what, counts)| {
            let counted = counts.counted().into_iter();
            counted.map(move |(reason, count)| [what.to_owned(), reason.to_owned(), count.to_string()])
        });
        self.table("Not delivered, by reason", ["What", "Reason", "Count"], reasons);
        let workers = routing.workers.iter().enumerate();
        self.listed("Workers", "Worker", WORKER, workers.map(|(place, one)| (place.to_string(), one)));
        let ports = || routing.ports.iter().enumerate().filter(|(_, port)| port.was_used());
        self.listed("Ports", "Port", PORT, ports().map(|(place, one)| (place.to_string(), one)));
        let paths = ports().flat_map(|(place, port): (usize, &PortStats)| {
            let workers = port.workers.iter().enumerate();
            workers.map(move |(worker, path)| (format!("port {place}, worker {worker}"), path))
        });
        self.listed("Queues", "Between", PATH, paths);
        self.listed("Placement", "", PLACEMENT, [(String::new(), &routing.placement)]);
        if routing.rooms.joined > 0 {
            self.listed("Rooms", "", ROOM, [(String::new(), &routing.rooms)]);
        }
    }

    fn system(&mut self, system: &SystemStats) {
        let (memory, cpu, process) = (&system.memory, &system.cpu, &system.process);
        let row = [
            or_dash(memory.resident_bytes, bytes),
            percent(memory.share_of_threshold),
            or_dash(memory.heap_bytes, bytes),
            or_dash(memory.system_available_bytes, bytes),
            or_dash(memory.system_total_bytes, bytes),
            percent(cpu.process_share),
            or_dash(cpu.cores_allowed, |cores| cores.to_string()),
            percent(cpu.system_share),
            cpu.load_average
                .as_ref()
                .map_or_else(dash, |load| format!("{} {} {}", load.one, load.five, load.fifteen)),
            or_dash(process.threads, count),
            or_dash(process.open_descriptors, count),
            or_dash(process.descriptor_limit, count),
        ];
        let heads = [
            "Resident",
            "Of the threshold",
            "Allocated",
            "Available",
            "Whole memory",
            "Processor",
            "Cores",
            "Whole system",
            "Load",
            "Threads",
            "Descriptors",
            "Descriptor limit",
        ];
        self.table("System", heads, [row]);
        let runtime = system.runtime.iter().map(|runtime| {
            [
                runtime.goroutines.to_string(),
                runtime.gc_count.to_string(),
                duration(runtime.gc_last_pause_nanoseconds),
                bytes(runtime.heap_bytes),
            ]
        });
        self.table("Runtime of the host", ["Goroutines", "Collections", "Last pause", "Heap"], runtime);
    }

    fn custom(&mut self, kept: &str, stats: &MonitorStats) {
        let rows = stats.custom.families.iter().flat_map(|family| {
            family.series.iter().filter_map(|series| {
                let labels = series.labels.iter().map(|(name, value)| format!("{name}={value:?}"));
                let value = match (&series.value, &series.histogram) {
                    (Some(value), _) => value.to_string(),
                    (None, histogram) => format!("{} values", histogram.as_ref()?.count),
                };
                Some([family.name.clone(), labels.collect::<Vec<_>>().join(", "), value])
            })
        });
        self.table(format!("Metrics of the host, {kept}"), ["Name", "Labels", "Value"], rows);
    }

    fn cost(&mut self, kept: &str, cost: &CostStats) {
        let row = [
            duration(cost.cpu_nanoseconds),
            bytes(cost.bytes),
            cost.ticks.to_string(),
            duration(cost.collect_nanoseconds_maximum),
        ];
        let heads = ["Processor time", "Memory", "Collections", "Longest"];
        self.table(format!("The monitor itself, {kept}"), heads, [row]);
    }

    fn cluster(&mut self, cluster: &ClusterStatus) {
        let ClusterStatus { cluster: name, machine, state, .. } = cluster;
        let title = format!("Cluster {name}: this machine, {machine}, is {state}");
        self.listed(title, "", CLUSTER, [(String::new(), cluster)]);
        let links = cluster.links_by_machine();
        self.listed("Links", "Machine", LINK, links.iter().map(|link| (link.machine.clone(), link)));
        if let Some(problem) = &cluster.problem {
            self.notice(Importance::Urgent, problem.clone());
        }
    }

    fn exporters(&mut self, kept: &str, exporters: &[ExporterStats]) {
        let rows = exporters.iter().map(|one| (one.name.to_string(), one));
        self.listed(format!("Exporters, {kept}"), "Exporter", EXPORTER, rows);
        for (name, error) in exporters.iter().filter_map(|one| Some((&one.name, one.last_error.as_ref()?))) {
            self.notice(Importance::Urgent, format!("The exporter {name} could not send: {error}"));
        }
    }
}

fn count(count: u64) -> String {
    count.to_string()
}

/// A type with its protocol. Messages without a type of their own have no protocol either.
fn full_name(protocol: &str, name: &str) -> String {
    if protocol.is_empty() { name.to_owned() } else { format!("{protocol}/{name}") }
}

fn dash() -> String {
    "-".to_owned()
}

/// A value in readable form, or a dash.
fn or_dash<T>(value: Option<T>, shown: impl Fn(T) -> String) -> String {
    value.map_or_else(dash, shown)
}
