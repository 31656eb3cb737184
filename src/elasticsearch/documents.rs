//! Figures and events become documents. The members have the names of the JSON report.

use super::Options;
use super::queue::Document;
use crate::metrics::{CustomFamilyStats, CustomSeriesStats, Kind, SeriesStats};
use crate::monitor::alert::{Alert, AlertState};
use crate::monitor::{ConnectionEvent, MonitorStats, SeriesFigures, SlowEntry};
use crate::outgoing;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The data streams, without the namespace.
pub(super) const SUMMARY: &str = "metrics-corelane.summary";
pub(super) const SERIES: &str = "metrics-corelane.series";
pub(super) const WORKERS: &str = "metrics-corelane.workers";
pub(super) const CUSTOM: &str = "metrics-corelane.custom";
pub(super) const SLOW: &str = "logs-corelane.slow";
pub(super) const ALERTS: &str = "logs-corelane.alerts";
pub(super) const CONNECTIONS: &str = "logs-corelane.connections";

/// The most clients and types whose slow messages are followed. Beyond, the map starts again, and a document may then
/// repeat messages of an earlier one.
const SLOW_FOLLOWED: usize = 4096;

/// Who sends the documents, and how many it has sent.
#[derive(Debug)]
pub(super) struct Instance {
    namespace: String,
    service: String,
    host: String,
    /// Random, so that the ids of two runs differ.
    id: String,
    made: u64,
}

impl Instance {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            namespace: options.namespace.clone(),
            service: outgoing::service(&options.service),
            host: sysinfo::System::host_name().unwrap_or_default(),
            id: outgoing::instance(),
            made: 0,
        }
    }

    /// A document of a data stream. The id makes a repeated request harmless.
    fn document(&mut self, stream: &str, milliseconds: u64, mut body: Map<String, Value>) -> Document {
        self.made += 1;
        body.insert("@timestamp".to_owned(), milliseconds.into());
        body.insert("service".to_owned(), json!({ "name": self.service, "instance": self.id }));
        body.insert("host".to_owned(), json!({ "name": self.host }));
        let id = format!("{}-{}", self.id, self.made);
        let action = json!({ "create": { "_index": format!("{stream}-{}", self.namespace), "_id": id } });
        Document { lines: format!("{action}\n{}\n", Value::Object(body)) }
    }
}

/// What the last documents of figures said.
#[derive(Debug, Default)]
pub(super) struct Told {
    series: HashMap<String, u64>,
    slow: HashMap<(String, String, String, String), u64>,
    /// Of the host's counters and histograms, whose number is bounded by the monitor: by name and labels.
    custom: HashMap<(String, Vec<(String, String)>), u64>,
}

/// The documents of one look at the figures.
pub(super) fn of_figures(instance: &mut Instance, stats: &MonitorStats, told: &mut Told) -> Vec<Document> {
    let time = stats.time_milliseconds;
    let mut documents = vec![instance.document(SUMMARY, time, summary(stats))];
    let kinds =
        [("type", &stats.types), ("protocol", &stats.protocols), ("application", &stats.applications)];
    for (kind, series) in kinds.into_iter().filter_map(|(kind, list)| Some((kind, list.as_ref()?))) {
        for one in series.iter().filter(|one| told.is_news(kind, &one.totals)) {
            documents.push(instance.document(SERIES, time, of_series(kind, one)));
        }
    }
    if let Some(routing) = &stats.routing {
        for (number, worker) in routing.workers.iter().enumerate() {
            let mut body = plain(worker);
            body.insert("worker".to_owned(), number.into());
            documents.push(instance.document(WORKERS, time, body));
        }
    }
    for family in &stats.custom.families {
        for series in family.series.iter().filter(|series| told.is_changed(family, series)) {
            documents.push(instance.document(CUSTOM, time, of_custom(family, series)));
        }
    }
    for entry in stats.slow_messages.iter().flat_map(|slow| &slow.entries) {
        if let Some(more) = told.more_slow(entry) {
            let mut body = plain(entry);
            body.insert("new".to_owned(), more.into());
            documents.push(instance.document(SLOW, entry.last_milliseconds, body));
        }
    }
    documents
}

pub(super) fn of_alert(instance: &mut Instance, alert: &Alert, now: u64) -> Document {
    let at = match alert.state {
        AlertState::Resolved => alert.resolved,
        _ => None,
    };
    let mut body = plain(alert);
    // An infinite number is text in JSON, and no number for the server.
    for number in ["threshold", "current_value"] {
        body.retain(|name, value| name != number || value.is_number());
    }
    body.insert(
        "details".to_owned(),
        alert.details.iter().map(|(name, value)| format!("{name}: {value}")).collect(),
    );
    instance.document(ALERTS, at.unwrap_or(now), body)
}

pub(super) fn of_connection(instance: &mut Instance, event: &ConnectionEvent) -> Document {
    let body = object(json!({
        "event": if event.connected { "connect" } else { "disconnect" },
        "client": event.client,
        "application": event.application,
        "lived_milliseconds": event.lived_milliseconds,
    }));
    instance.document(CONNECTIONS, event.time_milliseconds, body)
}

fn summary(stats: &MonitorStats) -> Map<String, Value> {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| {
        body.insert(name.to_owned(), value);
    };
    put("uptime_nanoseconds", stats.uptime_nanoseconds.into());
    put("resets", stats.resets.into());
    if let Some(messages) = &stats.messages {
        let mut totals = plain(&messages.totals);
        totals.insert("windows".to_owned(), json!({ "last_minute": plain(&messages.windows.last_minute) }));
        let queue_wait = json!({ "last_minute": plain(&messages.queue_wait_windows.last_minute) });
        totals.insert("queue_wait_windows".to_owned(), queue_wait);
        totals.insert("error_clients_last_minute".to_owned(), messages.error_clients_last_minute.into());
        put("messages", totals.into());
    }
    if let Some(slow) = &stats.slow_messages {
        put(
            "slow_messages",
            json!({ "total": slow.total, "threshold_nanoseconds": slow.threshold_nanoseconds }),
        );
    }
    put("connections", plain(&stats.connections).into());
    if let Some(system) = &stats.system {
        put("system", plain(system).into());
    }
    if let Some(routing) = &stats.routing {
        put("routing", plain(routing).into());
    }
    let firing = stats.alerts.current.iter().filter(|alert| alert.state == AlertState::Firing).count();
    put("alerts", json!({ "firing": firing }));
    put("folded", plain(&stats.folded).into());
    put("reports", plain(&stats.reports).into());
    body
}

fn of_series(kind: &str, series: &SeriesFigures) -> Map<String, Value> {
    let mut body = plain(&series.totals);
    body.insert("kind".to_owned(), kind.into());
    body.insert("last_processed_milliseconds".to_owned(), series.last_processed_milliseconds.into());
    if let Some(windows) = &series.windows {
        body.insert("windows".to_owned(), json!({ "last_minute": plain(&windows.last_minute) }));
    }
    body
}

/// One series of a metric of the host. Labels are texts of one field (`name=value`): each label as a field of its own could make
/// the mapping grow without end.
fn of_custom(family: &CustomFamilyStats, series: &CustomSeriesStats) -> Map<String, Value> {
    let mut body = plain(series);
    // An infinite number is text in JSON, and no number for the server.
    body.retain(|name, value| name != "value" || value.is_number());
    body.insert("name".to_owned(), family.name.clone().into());
    body.insert("kind".to_owned(), serde_json::to_value(family.kind).unwrap_or_default());
    body.insert("unit".to_owned(), family.unit.clone().into());
    body.insert(
        "labels".to_owned(),
        series.labels.iter().map(|(name, value)| format!("{name}={value}")).collect(),
    );
    body
}

impl Told {
    /// Whether a series of a metric of the host has changed since its last document. A gauge has always: its value says
    /// something at each time.
    fn is_changed(&mut self, family: &CustomFamilyStats, series: &CustomSeriesStats) -> bool {
        let now = match (family.kind, &series.histogram) {
            (Kind::Gauge, _) => return true,
            (_, Some(histogram)) => histogram.count,
            _ => series.value.unwrap_or(0.0).to_bits(),
        };
        let key = (family.name.clone(), series.labels.clone());
        self.custom.insert(key, now) != Some(now)
    }

    /// Whether a series has had messages since its last document.
    fn is_news(&mut self, kind: &str, totals: &SeriesStats) -> bool {
        let name = format!("{kind}/{}/{}", totals.protocol.as_deref().unwrap_or_default(), totals.name);
        totals.total > 0 && self.series.insert(name, totals.total) != Some(totals.total)
    }

    /// How many slow messages an entry has more than its last document said.
    fn more_slow(&mut self, entry: &SlowEntry) -> Option<u64> {
        if self.slow.len() > SLOW_FOLLOWED {
            self.slow.clear();
        }
        let key = [&entry.client, &entry.protocol, &entry.message_type, &entry.application];
        let [client, protocol, message_type, application] = key.map(String::clone);
        let before =
            self.slow.insert((client, protocol, message_type, application), entry.count).unwrap_or(0);
        // A reset, or an entry that was pushed out of the list, starts from 0 again.
        let before = if before > entry.count { 0 } else { before };
        Some(entry.count - before).filter(|more| *more > 0)
    }
}

/// The members that a document can keep: no lists, because one document describes one thing, and no empty values.
fn plain(figures: &impl Serialize) -> Map<String, Value> {
    let mut body = object(serde_json::to_value(figures).unwrap_or_default());
    prune(&mut body);
    body
}

fn prune(body: &mut Map<String, Value>) {
    body.retain(|_, value| {
        if let Value::Object(inner) = value {
            prune(inner);
            return !inner.is_empty();
        }
        !value.is_null() && !value.is_array()
    });
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
