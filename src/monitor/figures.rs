//! What the monitor shows: plain values, as reports, dashboards and exporters take them. `collector` fills them.

use super::alert::AlertFigures;
use super::report::ReportFigures;
use super::system::{CostStats, SystemStats};
use super::window::WindowStats;
use crate::error::Failed;
use crate::metrics::{
    Accounting, ByReason, CustomStats, Distribution, LatencyStats, PlacementStats, PortStats, Rates,
    RoomStats, RoutingStats, WorkerStats,
};
use serde::Serialize;

/// Everything, at one moment. Since `since_milliseconds`: the start, or the last [`reset`](super::Monitor::reset). What no reset
/// touches says so, and is since `started_milliseconds`. Times of day are milliseconds since 1970; spans of time are nanoseconds unless their name says otherwise.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct MonitorStats {
    /// When this was read.
    pub time_milliseconds: u64,
    /// Since the monitor was made.
    pub uptime_nanoseconds: u64,
    /// When the figures began: at the start, a router's own where the monitor is of one, or at the last reset.
    pub since_milliseconds: u64,
    /// When what is never reset began: `routing`, `alerts`, `custom`, `monitor`, `reports` and `system`. A router's own start where
    /// the monitor is of one.
    pub started_milliseconds: u64,
    /// Resets so far.
    pub resets: u64,
    /// All messages: those that a router routed, and those that the host recorded. Null while `enable_metrics` is off; what
    /// a router counts all the same is in `routing.accounting`.
    pub messages: Option<MessageFigures>,
    /// By type; the first is what has no series of its own. Null while `enable_metrics` is off.
    pub types: Option<Vec<SeriesFigures>>,
    /// By protocol; the first likewise. Null while `enable_metrics` is off.
    pub protocols: Option<Vec<SeriesFigures>>,
    /// By application; the first likewise. Null while `enable_metrics` is off.
    pub applications: Option<Vec<SeriesFigures>>,
    /// Names that had no series of their own, by what they name.
    pub folded: FoldedFigures,
    /// The clients with the most of each figure. Null while `detailed_stats` or `enable_metrics` is off.
    pub clients: Option<ClientsFigures>,
    /// The last slow messages. Null while `enable_metrics` is off.
    pub slow_messages: Option<SlowFigures>,
    /// Connections.
    pub connections: ConnectionFigures,
    /// The process and the machine, as last looked at; null before the first look.
    pub system: Option<SystemStats>,
    /// Routing; null without a router. Never reset.
    pub routing: Option<RoutingFigures>,
    /// Alerts. Never reset.
    pub alerts: AlertFigures,
    /// The host's own metrics. Never reset.
    pub custom: CustomStats,
    /// What the monitor itself costs. Never reset.
    pub monitor: CostStats,
    /// Reports on the timer. Never reset.
    pub reports: ReportFigures,
}

/// The schema of failures by reason, `expired` among them.
#[cfg(feature = "schema")]
fn failures_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    crate::metrics::schema_of(failure_names())
}

/// As [`failures_schema`], or null.
#[cfg(feature = "schema")]
fn optional_failures_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"anyOf": [failures_schema(generator), {"type": "null"}]})
}

/// The reasons of `failures`.
pub(super) fn failure_names() -> impl Iterator<Item = &'static str> {
    Failed::ALL.iter().map(|reason| reason.label()).chain(["expired"])
}

/// The last minute, hour and day as sliding windows.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Windowed {
    /// The last minute.
    pub last_minute: WindowStats,
    /// The last hour.
    pub last_hour: WindowStats,
    /// The last `stats_retention_hours`, a day unless set.
    pub last_day: WindowStats,
}

/// All messages.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct MessageFigures {
    /// Messages that have ended.
    pub total: u64,
    /// Of these, well: given to its recipient's port to be handed out, or what ends at the router. Whether it was written is in
    /// `routing.accounting`: acknowledged, never acknowledged, given up.
    pub succeeded: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Of these, expired: they had waited too long.
    pub expired: u64,
    /// Succeeded ÷ total, from 0 to 1; null before the first.
    pub success_rate: Option<f64>,
    /// Failed or expired, by reason.
    #[cfg_attr(feature = "schema", schemars(schema_with = "failures_schema"))]
    pub failures: ByReason,
    /// Slow: they took longer than `slow_message_threshold_ms`, waiting and holding included.
    pub slow: u64,
    /// Payload bytes that came in.
    pub bytes_in: u64,
    /// Payload bytes that clients were written.
    pub bytes_out: u64,
    /// How long they were handled.
    pub latency: LatencyStats,
    /// How long they waited before.
    pub queue_wait: LatencyStats,
    /// How long they were held for a name, those that were; part of what makes a message slow. Null values without a router.
    pub held: LatencyStats,
    /// How long deliveries took from the poll that handed them out to the acknowledgement that they are written; of one
    /// per client at a time. Null values without a router.
    pub write: LatencyStats,
    /// How many were handled for how long, under the names that the specification gives. Exact.
    pub buckets: Vec<BucketFigures>,
    /// By how long they were handled.
    pub windows: Windowed,
    /// Of how many clients the last minute's errors are. Of more than some hundred that fail within a minute, some may be
    /// counted as one; messages of nobody in particular are one client's.
    pub error_clients_last_minute: u64,
    /// By how long they waited.
    pub queue_wait_windows: Windowed,
}

impl MonitorStats {
    /// Gives up what only exporters want: most of it, by far.
    pub(super) fn drop_distributions(&mut self) {
        let messages = self.messages.iter_mut().flat_map(|messages| {
            [&mut messages.latency, &mut messages.queue_wait, &mut messages.held, &mut messages.write]
        });
        let groups = [&mut self.types, &mut self.protocols, &mut self.applications];
        let series = groups.into_iter().flatten().flatten();
        let of_series = series.flat_map(|one| std::iter::once(&mut one.latency).chain(&mut one.queue_wait));
        let own = self.custom.families.iter_mut().flat_map(|family| &mut family.series);
        let ports =
            self.routing.iter_mut().flat_map(|routing| &mut routing.ports).map(|port| &mut port.write);
        let connections = &mut self.connections;
        messages
            .chain(&mut connections.closed_milliseconds)
            .chain(&mut connections.open_milliseconds)
            .chain(of_series)
            .chain(own.filter_map(|one| one.histogram.as_mut()))
            .chain(ports)
            .for_each(|latency| latency.distribution = Distribution::default());
    }
}

impl SeriesFigures {
    /// Of one in a report that waits: with two names, and reasons of failures.
    pub(super) const BYTES: u64 = size_of::<Self>() as u64 + 1024;
}

/// One of the named spans of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BucketFigures {
    /// Its name, such as `1-5ms`: from 1 ms on and below 5 ms.
    pub name: &'static str,
    /// Messages.
    pub count: u64,
}

/// One type, protocol or application.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SeriesFigures {
    /// A type's protocol; empty otherwise.
    pub protocol: String,
    /// Its name.
    pub name: String,
    /// Messages that have ended.
    pub total: u64,
    /// Of these, well.
    pub succeeded: u64,
    /// Of these, failed or expired.
    pub failed: u64,
    /// Failed or expired, by reason. Types only.
    #[cfg_attr(feature = "schema", schemars(schema_with = "optional_failures_schema"))]
    pub failures: Option<ByReason>,
    /// Slow ones.
    pub slow: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long they were handled.
    pub latency: LatencyStats,
    /// All that together.
    pub total_nanoseconds: u64,
    /// How long they waited before. Types only.
    pub queue_wait: Option<LatencyStats>,
    /// When the last one was handled, resets or not; null before the first.
    pub last_processed_milliseconds: Option<u64>,
    /// Windows, for as many series as `max_windowed_series` allows, with `detailed_stats`.
    pub windows: Option<Windowed>,
}

/// Lookups of names that had no series of their own and are counted as `other`: one for each message recorded by name, one
/// for all that are recorded with labels looked up once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FoldedFigures {
    /// Recorded messages, by type. Null while `enable_metrics` is off.
    pub types: Option<u64>,
    /// Recorded messages, by protocol. Null while `enable_metrics` is off.
    pub protocols: Option<u64>,
    /// Recorded messages, by application, and connects. While `enable_metrics` is off, connects alone.
    pub applications: u64,
    /// Recorded messages, by client. Null while `enable_metrics` is off.
    pub clients: Option<u64>,
    /// Series without windows. Null while `detailed_stats` or `enable_metrics` is off.
    pub windows: Option<u64>,
    /// Recorded messages that are counted nowhere else, since a duration of theirs cannot be: 2^62 nanoseconds or more, which a
    /// negative difference becomes. Null while `enable_metrics` is off.
    pub impossible: Option<u64>,
}

/// One client, since it connected or since the last reset, whichever was later.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ClientFigures {
    /// Its number: what connects under its name later has another.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its application.
    pub application: String,
    /// Its protocol; empty for one that the host reported.
    pub protocol: String,
    /// Whether the host reported it; otherwise it is a router's.
    pub recorded: bool,
    /// Whether it is connected; one that messages were only recorded of is not.
    pub connected: bool,
    /// Messages that it sent.
    pub messages: u64,
    /// Of these, failed or expired.
    pub errors: u64,
    /// Bytes that it sent.
    pub bytes_in: u64,
    /// Bytes that were written to it.
    pub bytes_out: u64,
    /// How long its messages waited, were handled and held, mean, rounded down; null before the first.
    pub average_nanoseconds: Option<u64>,
    /// The longest of these, exact.
    pub maximum_nanoseconds: u64,
    /// When its last message was handled, or it connected.
    pub last_activity_milliseconds: u64,
    /// How long it has been connected.
    pub connected_for_milliseconds: u64,
    /// How long it has been silent.
    pub idle_milliseconds: u64,
    /// Messages for it that are not acknowledged as written.
    pub outstanding_messages: u64,
    /// Their bytes.
    pub outstanding_bytes: u64,
    /// Not silent for longer than `unhealthy_after_ms`, and not marked by the host.
    pub healthy: bool,
}

/// The clients with the most of each figure, most first, `top_clients` each; those without any are left out.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ClientsFigures {
    /// Clients that have figures.
    pub tracked: u64,
    /// Most messages sent.
    pub by_messages: Vec<ClientFigures>,
    /// Most errors.
    pub by_errors: Vec<ClientFigures>,
    /// Most bytes sent.
    pub by_bytes_in: Vec<ClientFigures>,
    /// Most bytes written to them.
    pub by_bytes_out: Vec<ClientFigures>,
    /// Slowest on average.
    pub by_average: Vec<ClientFigures>,
    /// Slowest single message.
    pub by_maximum: Vec<ClientFigures>,
    /// Most bytes not acknowledged.
    pub by_outstanding: Vec<ClientFigures>,
}

/// Slow messages.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SlowFigures {
    /// Beyond it a message is slow.
    pub threshold_nanoseconds: u64,
    /// Slow messages.
    pub total: u64,
    /// Of these, not in the list: too many came at once, or newer ones took their places.
    pub unlisted: u64,
    /// The last ones, newest first. Those of one type, application and client are one entry.
    pub entries: Vec<SlowEntry>,
}

/// A slow message, and those like it that followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SlowEntry {
    /// How many.
    pub count: u64,
    /// When the first one ended.
    pub first_milliseconds: u64,
    /// When the last one ended.
    pub last_milliseconds: u64,
    /// Whose they were; empty for nobody in particular.
    pub client: String,
    /// Their protocol.
    pub protocol: String,
    /// Their type.
    pub message_type: String,
    /// Their application.
    pub application: String,
    /// The worker that handled the last one; null where the host did.
    pub worker: Option<u64>,
    /// The last one's size.
    pub bytes: u64,
    /// How long the last one waited.
    pub queue_wait_nanoseconds: u64,
    /// How long the last one was handled.
    pub service_nanoseconds: u64,
    /// How long the last one was held for a name; 0 where it was not.
    pub held_nanoseconds: u64,
    /// Whether the last one ended well.
    pub succeeded: bool,
    /// The slowest one, waiting, handling and holding together.
    pub slowest_nanoseconds: u64,
}

/// Connections.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ConnectionFigures {
    /// Connects.
    pub total: u64,
    /// Connected now, resets or not.
    pub active: u64,
    /// Most at once; where a router and its host both have connections, the most of the one and of the other together.
    pub peak: u64,
    /// Mean of how long those that ended had lasted, rounded down. Null before the first, and while `detailed_stats` is off.
    pub average_duration_milliseconds: Option<u64>,
    /// How long those that ended had lasted, in milliseconds. Null while `detailed_stats` is off.
    pub closed_milliseconds: Option<LatencyStats>,
    /// How long those that are open have lasted, in milliseconds. Null while `detailed_stats` is off.
    pub open_milliseconds: Option<LatencyStats>,
    /// How long what is called the last minute is here and in the next two: a minute to a second or two, less since the start or
    /// the last reset, more where the monitor was held up.
    pub last_minute_milliseconds: u64,
    /// Connects in the last minute.
    pub connects_last_minute: u64,
    /// Disconnects in the last minute.
    pub disconnects_last_minute: u64,
    /// Connected, not silent for longer than `unhealthy_after_ms`, and not marked by the host. Null while `detailed_stats` is
    /// off.
    pub healthy: Option<u64>,
    /// Connected, and not healthy. Null while `detailed_stats` is off.
    pub unhealthy: Option<u64>,
    /// Connects under a name that was still connected, and those that the host reported.
    pub reconnect_attempts: u64,
    /// By application.
    pub applications: Vec<ApplicationConnectionFigures>,
}

/// One application's connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ApplicationConnectionFigures {
    /// Its name.
    pub name: String,
    /// Connects.
    pub total: u64,
    /// Connected now.
    pub active: u64,
    /// The last connect, disconnect or message; null before the first.
    pub last_activity_milliseconds: Option<u64>,
}

/// Routing. Counted since the router's start, whatever was reset, so that it can be added up.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RoutingFigures {
    /// Routing as a whole.
    pub totals: RoutingStats,
    /// Between the last two looks, `monitor_interval_ms` apart.
    pub rates: Rates,
    /// Where every message and delivery is.
    pub accounting: Accounting,
    /// How long the last minute is in the next two; as in `connections`.
    pub last_minute_milliseconds: u64,
    /// Deliveries for which ring and backlog had no room, in the last minute.
    pub egress_full_last_minute: u64,
    /// Deliveries refused, dropped or ended by a close for want of credit, in the last minute.
    pub credit_exhausted_last_minute: u64,
    /// Workers that are over `processing_timeout_ms`.
    pub workers_stalled: u64,
    /// Workers that ended without a stop: a thread that panicked, or a host that dropped one.
    pub workers_lost: u64,
    /// By worker.
    pub workers: Vec<WorkerStats>,
    /// By port.
    pub ports: Vec<PortStats>,
    /// Placement and admission.
    pub placement: PlacementStats,
    /// Rooms.
    pub rooms: RoomStats,
    /// Bytes of payloads outside rings.
    pub payload_bytes: u64,
    /// Such payloads that wait.
    pub payloads_waiting: u64,
}
