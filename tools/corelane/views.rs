//! The tables of `corelane top`, from a monitor's figures.

use crate::addresses::Addresses;
use crate::figures::Figures;
use crate::table::{Cell, Column, Order, Table, numbers, words};
use crate::text;
use corelane::error::{Failed, RoomRefused, SubmitError, TakenOver, Unacknowledged, Undeliverable};
use corelane::metrics::ByReason;
use corelane::monitor::{ClientFigures, ClientsFigures, MonitorStats, SeriesFigures, WindowStats};

/// The tables, in the order of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    Types,
    Protocols,
    Applications,
    Workers,
    Ports,
    Clients,
    Idle,
    Slow,
    Alerts,
    Refusals,
}

const OFF: &str = "The server does not measure messages: enable_metrics is off.";
const NO_DETAIL: &str = "The server keeps no figures of clients: detailed_stats or enable_metrics is off.";
const NO_ROUTER: &str = "The server has no router; it records what it has done by itself.";

impl View {
    pub const ALL: [Self; 10] = [
        Self::Types,
        Self::Protocols,
        Self::Applications,
        Self::Workers,
        Self::Ports,
        Self::Clients,
        Self::Idle,
        Self::Slow,
        Self::Alerts,
        Self::Refusals,
    ];

    pub const fn title(self) -> &'static str {
        match self {
            Self::Types => "Types",
            Self::Protocols => "Protocols",
            Self::Applications => "Apps",
            Self::Workers => "Workers",
            Self::Ports => "Ports",
            Self::Clients => "Clients",
            Self::Idle => "Idle",
            Self::Slow => "Slow",
            Self::Alerts => "Alerts",
            Self::Refusals => "Refusals",
        }
    }

    pub const fn columns(self) -> &'static [Column] {
        match self {
            Self::Types => TYPES,
            Self::Protocols => PROTOCOLS,
            Self::Applications => APPLICATIONS,
            Self::Workers => WORKERS,
            Self::Ports => PORTS,
            Self::Clients => CLIENTS,
            Self::Idle => IDLE,
            Self::Slow => SLOW,
            Self::Alerts => ALERTS,
            Self::Refusals => REFUSALS,
        }
    }

    /// The column that names a row, in tables whose last column may be too long for a line.
    const fn named(self) -> Option<usize> {
        match self {
            Self::Alerts => Some(2),
            Self::Refusals => Some(1),
            _ => None,
        }
    }

    /// The order that a table has at first; `None`: that of the monitor.
    pub const fn first_order(self) -> Option<Order> {
        let (column, descending) = match self {
            Self::Types | Self::Protocols | Self::Applications => (1, true),
            Self::Workers | Self::Ports => (0, false),
            Self::Clients => (1, true),
            Self::Idle => (1, true),
            Self::Slow => (0, false),
            Self::Alerts => return None,
            Self::Refusals => (2, true),
        };
        Some(Order { column, descending })
    }

    pub fn table(self, figures: &Figures, order: Option<Order>) -> Table {
        let (stats, addresses) = (&figures.stats, &figures.addresses);
        let (rows, empty) = match self {
            Self::Types => series(self, stats, stats.types.as_deref()),
            Self::Protocols => series(self, stats, stats.protocols.as_deref()),
            Self::Applications => series(self, stats, stats.applications.as_deref()),
            Self::Workers => workers(stats),
            Self::Ports => ports(stats),
            Self::Clients => clients(stats, addresses, order),
            Self::Idle => match &figures.idle {
                Some(clients) => (
                    clients.iter().map(|client| idle_row(client, addresses)).collect(),
                    "No client has been silent for that long.",
                ),
                None => (Vec::new(), "Asking …"),
            },
            Self::Slow => slow(stats),
            Self::Alerts => (alerts(stats), "No alert has been raised."),
            Self::Refusals => (refusals(stats), "Nothing has been refused, lost or failed."),
        };
        let mut table = Table { columns: self.columns(), rows, named: self.named(), empty: empty.to_owned() };
        if let Some(order) = order {
            table.sort(order);
        }
        table
    }
}

type Rows = (Vec<Vec<Cell>>, &'static str);

const TYPES: &[Column] = &[
    words("TYPE", 0),
    numbers("MSG/S", 0),
    numbers("TOTAL", 0),
    numbers("ERR", 0),
    numbers("P50", 0),
    numbers("P95", 4),
    numbers("P99", 0),
    numbers("WAIT P99", 3),
    numbers("SLOW", 1),
    numbers("BYTES", 5),
    numbers("LAST", 2),
    words("PROTOCOL", 0),
];
const PROTOCOLS: &[Column] = &[
    words("PROTOCOL", 0),
    numbers("MSG/S", 0),
    numbers("TOTAL", 0),
    numbers("ERR", 0),
    numbers("P50", 0),
    numbers("P95", 0),
    numbers("P99", 0),
    numbers("SLOW", 1),
    numbers("BYTES", 2),
    numbers("LAST", 2),
];
const APPLICATIONS: &[Column] = &[
    words("APPLICATION", 0),
    numbers("MSG/S", 0),
    numbers("TOTAL", 0),
    numbers("ERR", 0),
    numbers("P50", 0),
    numbers("P95", 0),
    numbers("P99", 0),
    numbers("OPEN", 0),
    numbers("SLOW", 1),
    numbers("BYTES", 2),
    numbers("LAST", 2),
];
const WORKERS: &[Column] = &[
    numbers("#", 0),
    words("STATE", 0),
    numbers("BUSY", 0),
    numbers("QUEUE", 0),
    numbers("MAX", 0),
    numbers("BYTES", 3),
    numbers("HELD", 0),
    numbers("ENDED", 0),
    numbers("FAILED", 0),
    numbers("AVERAGE", 0),
    numbers("OLDEST", 1),
    numbers("STALLS", 0),
    numbers("CREDIT", 2),
    numbers("PARKS", 4),
];
const PORTS: &[Column] = &[
    numbers("#", 0),
    numbers("SUBMITTED", 0),
    numbers("REFUSED", 0),
    numbers("CONSUMED", 0),
    numbers("LOST", 0),
    numbers("UNACKED", 1),
    numbers("IN", 0),
    numbers("OUT", 0),
    numbers("BACKLOG", 0),
    numbers("FULL", 0),
    numbers("WRITE P99", 1),
    numbers("BYTES OUT", 2),
];
/// All columns after the name are figures that the monitor keeps a list by, in this order, up to [`LISTS`].
const CLIENTS: &[Column] = &[
    words("CLIENT", 0),
    numbers("MSGS", 0),
    numbers("ERR", 0),
    numbers("IN", 0),
    numbers("OUT", 0),
    numbers("AVG", 0),
    numbers("MAX", 0),
    numbers("UNACK", 0),
    numbers("PEAK", 0),
    numbers("LOST", 0),
    words("ADDRESS", 1),
    numbers("IDLE", 2),
    words("APP", 3),
    numbers("CONNECTED", 4),
    words("PROTOCOL", 5),
];
/// The columns that clients can be sorted by.
pub const LISTS: std::ops::Range<usize> = 1..10;
const IDLE: &[Column] = &[
    words("CLIENT", 0),
    numbers("IDLE", 0),
    numbers("CONNECTED", 0),
    numbers("MSGS", 0),
    numbers("ERR", 2),
    numbers("UNACKED", 0),
    words("ADDRESS", 0),
    words("HEALTH", 0),
    words("APP", 1),
];
const SLOW: &[Column] = &[
    numbers("AGO", 0),
    numbers("N", 0),
    words("TYPE", 0),
    words("CLIENT", 0),
    numbers("WAIT", 0),
    numbers("HANDLING", 0),
    numbers("HELD", 0),
    numbers("SLOWEST", 0),
    words("END", 0),
    numbers("WORKER", 1),
    numbers("BYTES", 3),
    words("APP", 2),
];
const ALERTS: &[Column] = &[
    words("STATE", 0),
    words("SEVERITY", 0),
    words("NAME", 0),
    words("SINCE", 0),
    numbers("FOR", 0),
    numbers("VALUE", 1),
    numbers("LIMIT", 2),
    words("OF", 3),
    words("MESSAGE", 0),
];
const REFUSALS: &[Column] = &[words("WHAT", 0), words("REASON", 0), numbers("COUNT", 0), words("MEANING", 0)];

fn minute(series: &SeriesFigures) -> Option<&WindowStats> {
    series.windows.as_ref().map(|windows| &windows.last_minute)
}

fn series(view: View, stats: &MonitorStats, all: Option<&[SeriesFigures]>) -> Rows {
    let Some(all) = all else { return (Vec::new(), OFF) };
    let used =
        all.iter().filter(|one| one.totals.total > 0 || one.totals.received.is_some_and(|count| count > 0));
    let row = |one: &SeriesFigures| {
        let totals = &one.totals;
        let minute = minute(one);
        // Percentiles of the last minute; since the start where the series has no windows.
        let latency = minute.map_or(&totals.latency, |minute| &minute.latency);
        let errors = match minute {
            Some(minute) => minute.error_rate,
            None => (totals.total > 0).then(|| (totals.failed + totals.expired) as f64 / totals.total as f64),
        };
        let mut row = vec![
            Cell::name(&totals.name),
            Cell::optional(minute.and_then(|minute| minute.throughput_per_second), text::rate),
            Cell::count(totals.total),
            Cell::optional(errors, text::percent),
            Cell::duration(latency.p50),
            Cell::duration(latency.p95),
            Cell::duration(latency.p99),
        ];
        match view {
            View::Types => row.push(Cell::duration(totals.queue_wait.as_ref().and_then(|wait| wait.p99))),
            View::Applications => {
                let found = stats.connections.applications.iter().find(|other| other.name == totals.name);
                row.push(Cell::count(found.map_or(0, |application| application.active)));
            }
            _ => {}
        }
        row.extend([
            Cell::count(totals.slow),
            Cell::bytes(totals.bytes),
            Cell::age(
                one.last_processed_milliseconds.map(|last| stats.time_milliseconds.saturating_sub(last)),
            ),
        ]);
        if view == View::Types {
            row.push(Cell::name(totals.protocol.as_deref().unwrap_or("")));
        }
        row
    };
    (used.map(row).collect(), "No message yet.")
}

fn workers(stats: &MonitorStats) -> Rows {
    let Some(routing) = &stats.routing else { return (Vec::new(), NO_ROUTER) };
    let row = |(place, worker): (usize, &corelane::metrics::WorkerStats)| {
        let state = match () {
            () if worker.lost => "LOST",
            () if worker.given_up => "GIVEN UP",
            () if worker.stalled => "STALLED",
            () if worker.is_active => "active",
            () => "idle",
        };
        let busy = routing.rates.worker_utilisation.get(place).copied();
        vec![
            Cell::count(place as u64),
            Cell::name(state),
            Cell::optional(busy, text::percent),
            Cell::count(worker.queue_messages),
            Cell::count(worker.queue_messages_maximum),
            Cell::bytes(worker.queue_bytes),
            Cell::count(worker.held),
            Cell::count(worker.ended),
            Cell::count(worker.failed + worker.expired),
            Cell::duration(worker.average_nanoseconds),
            Cell::duration(Some(worker.message_age_nanoseconds).filter(|age| *age > 0)),
            Cell::count(worker.stalls),
            Cell::count(worker.credit_refusals + worker.credit_drops + worker.credit_closes),
            Cell::count(worker.parks),
        ]
    };
    (routing.workers.iter().enumerate().map(row).collect(), "No worker.")
}

fn ports(stats: &MonitorStats) -> Rows {
    let Some(routing) = &stats.routing else { return (Vec::new(), NO_ROUTER) };
    let row = |(place, port): (usize, &corelane::metrics::PortStats)| {
        let sum =
            |figure: fn(&corelane::metrics::PathStats) -> u64| port.workers.iter().map(figure).sum::<u64>();
        vec![
            Cell::count(place as u64),
            Cell::count(port.submitted),
            Cell::count(port.refused),
            Cell::count(port.consumed),
            Cell::count(port.undeliverable),
            Cell::count(port.consumed.saturating_sub(port.acknowledged + port.unacknowledged)),
            Cell::count(sum(|path| path.ingress_messages)),
            Cell::count(sum(|path| path.egress_messages)),
            Cell::bytes(sum(|path| path.backlog_bytes)),
            Cell::count(sum(|path| path.egress_full)),
            Cell::duration(port.write.p99),
            Cell::bytes(port.bytes_out),
        ]
    };
    (routing.ports.iter().enumerate().map(row).collect(), "No port.")
}

/// The monitor's list of the clients with the largest figures of a column.
pub fn list(clients: &ClientsFigures, column: usize) -> &[ClientFigures] {
    match column {
        2 => &clients.by_errors,
        3 => &clients.by_bytes_in,
        4 => &clients.by_bytes_out,
        5 => &clients.by_average,
        6 => &clients.by_maximum,
        7 => &clients.by_outstanding,
        8 => &clients.by_outstanding_peak,
        9 => &clients.by_undelivered,
        _ => &clients.by_messages,
    }
}

fn clients(stats: &MonitorStats, addresses: &Addresses, order: Option<Order>) -> Rows {
    let Some(clients) = &stats.clients else { return (Vec::new(), NO_DETAIL) };
    let row = |client: &ClientFigures| {
        vec![
            Cell::name(&client.name),
            Cell::count(client.messages),
            Cell::count(client.errors),
            Cell::bytes(client.bytes_in),
            Cell::bytes(client.bytes_out),
            Cell::duration(client.average_nanoseconds),
            Cell::duration(client.maximum_nanoseconds),
            Cell::bytes(client.outstanding_bytes),
            Cell::count(client.outstanding_peak),
            Cell::count(client.undelivered),
            Cell::name(address(addresses, client)),
            Cell::age(client.idle_milliseconds),
            Cell::name(&client.application),
            Cell::age(client.connected.then_some(client.connected_for_milliseconds)),
            Cell::name(client.protocol.as_deref().unwrap_or("-")),
        ]
    };
    let list = list(clients, order.map_or(1, |order| order.column));
    (list.iter().map(row).collect(), "No client has such a figure.")
}

fn address<'a>(addresses: &'a Addresses, client: &ClientFigures) -> &'a str {
    Some(addresses.get(client)).filter(|address| !address.is_empty()).unwrap_or("-")
}

fn idle_row(client: &ClientFigures, addresses: &Addresses) -> Vec<Cell> {
    vec![
        Cell::name(&client.name),
        Cell::age(client.idle_milliseconds),
        Cell::age(client.connected_for_milliseconds),
        Cell::count(client.messages),
        Cell::count(client.errors),
        Cell::bytes(client.outstanding_bytes),
        Cell::name(address(addresses, client)),
        Cell::name(if client.healthy { "healthy" } else { "UNHEALTHY" }),
        Cell::name(&client.application),
    ]
}

fn slow(stats: &MonitorStats) -> Rows {
    let Some(slow) = &stats.slow_messages else { return (Vec::new(), OFF) };
    let row = |entry: &corelane::monitor::SlowEntry| {
        vec![
            Cell::age(stats.time_milliseconds.saturating_sub(entry.last_milliseconds)),
            Cell::count(entry.count),
            Cell::name(&entry.message_type),
            Cell::name(if entry.client.is_empty() { "-" } else { &entry.client }),
            Cell::duration(entry.queue_wait_nanoseconds),
            Cell::duration(entry.service_nanoseconds),
            Cell::duration(Some(entry.held_nanoseconds).filter(|held| *held > 0)),
            Cell::duration(entry.slowest_nanoseconds),
            Cell::name(if entry.succeeded { "ok" } else { "FAILED" }),
            Cell::optional(entry.worker.map(|worker| worker as f64), |worker| worker.to_string()),
            Cell::bytes(entry.bytes),
            Cell::name(&entry.application),
        ]
    };
    (slow.entries.iter().map(row).collect(), "No slow message.")
}

/// A figure of an alert, which may have any unit.
pub fn value(number: f64) -> String {
    if number != 0.0 && number.abs() < 10.0 {
        format!("{number:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{number:.0}")
    }
}

fn alerts(stats: &MonitorStats) -> Vec<Vec<Cell>> {
    let alerts = &stats.alerts;
    let all = alerts.current.iter().chain(&alerts.pending).chain(&alerts.history);
    let row = |alert: &corelane::monitor::alert::Alert| {
        let end = alert.resolved.unwrap_or(stats.time_milliseconds);
        let start = alert.raised.unwrap_or(alert.since);
        vec![
            Cell::name(alert.state.label()),
            Cell::name(alert.severity.label()),
            Cell::name(&alert.name),
            Cell::number(start as f64, text::clock(start)),
            Cell::age(end.saturating_sub(start)),
            Cell::number(alert.current_value, value(alert.current_value)),
            Cell::number(alert.threshold, value(alert.threshold)),
            Cell::name(&alert.label_set),
            Cell::name(&alert.message),
        ]
    };
    all.map(row).collect()
}

/// All counts by reason: what, the reason, how often, and what the reason means.
fn refusals(stats: &MonitorStats) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    let mut add = |what: &str, counts: &ByReason, meaning: &dyn Fn(&str) -> Option<&'static str>| {
        rows.extend(counts.counted().into_iter().map(|(reason, count)| {
            let meaning = meaning(reason).unwrap_or("");
            vec![Cell::name(what), Cell::name(reason), Cell::count(count), Cell::name(meaning)]
        }));
    };
    macro_rules! meaning {
        ($list:ident) => {
            &|label| $list::ALL.iter().find(|reason| reason.label() == label).map(|reason| reason.meaning())
        };
    }
    if let Some(routing) = &stats.routing {
        let accounting = &routing.accounting;
        add("refused", &accounting.refusals, meaning!(SubmitError));
        add("undelivered", &accounting.undelivered, meaning!(Undeliverable));
        add("unacknowledged", &accounting.unacknowledged_reasons, meaning!(Unacknowledged));
        add("taken over", &accounting.takeovers, meaning!(TakenOver));
        add("room refused", &routing.rooms.refusals, meaning!(RoomRefused));
    }
    match (&stats.messages, &stats.routing) {
        (Some(messages), _) => add("failed", &messages.totals.failures, meaning!(Failed)),
        (None, Some(routing)) => add("failed", &routing.accounting.failures, meaning!(Failed)),
        (None, None) => {}
    }
    rows
}
