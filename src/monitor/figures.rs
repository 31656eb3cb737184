//! The figures that the monitor shows: plain values for reports, dashboards and exporters. `snapshot` fills them.

use super::alert::AlertFigures;
use super::system::{CostStats, SystemStats};
use super::window::WindowStats;
use crate::metrics::{
    Accounting, ClusterStatus, CustomStats, Distribution, ExporterStats, LatencyStats, MessageStats,
    PlacementStats, PortStats, Rates, RoomStats, RoutingStats, SeriesStats, WorkerStats,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// All figures at one moment. They count from `since_milliseconds`: the start, or the last
/// [`reset`](super::Monitor::reset). A figure that is never reset says so, and counts from `started_milliseconds`.
/// Times of day are milliseconds since 1970. Durations are nanoseconds unless their name says otherwise.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct MonitorStats {
    /// When the figures were read.
    pub time_milliseconds: u64,
    /// Time since the monitor was created.
    pub uptime_nanoseconds: u64,
    /// When the figures began: at the start (of the router, for a router's monitor), or at the last reset.
    pub since_milliseconds: u64,
    /// When the figures that are never reset began: `routing`, `alerts`, `custom`, `monitor`, `reports`,
    /// `cluster`, `exporters` and `system`.
    /// For a router's monitor, the router's start.
    pub started_milliseconds: u64,
    /// Number of resets so far.
    pub resets: u64,
    /// All messages: those that a router has routed, and those that the host has recorded. Null while
    /// `enable_metrics` is off; `routing.accounting` then still shows the router's own counts.
    pub messages: Option<MessageFigures>,
    /// Figures by type. The first entry holds the messages of all types without a series of their own. Null while
    /// `enable_metrics` is off.
    pub types: Option<Vec<SeriesFigures>>,
    /// Figures by protocol. The first entry holds the messages of all protocols without a series of their own. Null
    /// while `enable_metrics` is off.
    pub protocols: Option<Vec<SeriesFigures>>,
    /// Figures by application. The first entry holds the messages of all applications without a series of their own.
    /// Null while `enable_metrics` is off.
    pub applications: Option<Vec<SeriesFigures>>,
    /// Number of lookups of names without a series of their own, by kind of name.
    pub folded: FoldedFigures,
    /// The clients with the largest figures. Null while `detailed_stats` or `enable_metrics` is off.
    pub clients: Option<ClientsFigures>,
    /// The latest slow messages. Null while `enable_metrics` is off.
    pub slow_messages: Option<SlowFigures>,
    /// Connections.
    pub connections: ConnectionFigures,
    /// The process and the machine at the last look. Null before the first look.
    pub system: Option<SystemStats>,
    /// Routing. Null without a router. Never reset.
    pub routing: Option<RoutingFigures>,
    /// Alerts. Never reset.
    pub alerts: AlertFigures,
    /// The host's own metrics. Never reset.
    pub custom: CustomStats,
    /// Cost of the monitor itself. Never reset.
    pub monitor: CostStats,
    /// Periodic reports. Never reset.
    pub reports: ReportFigures,
    /// The router's part in a cluster: this machine, and its links to the others. Null without a cluster. Never reset.
    #[serde(default)]
    pub cluster: Option<ClusterStatus>,
    /// Exporters, by kind: of each kind that was ever started. Never reset.
    #[serde(default)] // A program may read the report of an older server.
    pub exporters: Vec<ExporterStats>,
}

/// The last minute, hour and day as sliding windows.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Windowed {
    /// The last minute.
    pub last_minute: WindowStats,
    /// The last hour.
    pub last_hour: WindowStats,
    /// The last `stats_retention_hours`; 24 hours by default.
    pub last_day: WindowStats,
}

/// All messages.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct MessageFigures {
    /// The figures that a router's own [`Stats`](crate::metrics::Stats) have too. In JSON, its members stand beside the others.
    #[serde(flatten)]
    pub totals: MessageStats,
    /// Number of messages by handling time, in the ranges of `SPAN_NAMES`. Exact.
    pub buckets: Vec<BucketFigures>,
    /// Handling time in sliding windows.
    pub windows: Windowed,
    /// Number of clients that caused the last minute's errors. If more than a few hundred clients fail within a
    /// minute, some of them may be counted as one. A client that continues the figures of the one that it replaces counts
    /// as the same client. Messages without a client count as one client.
    pub error_clients_last_minute: u64,
    /// Queue wait in sliding windows.
    pub queue_wait_windows: Windowed,
}

impl MonitorStats {
    /// Drops the distributions, which only exporters need. They are by far the largest part of the figures.
    pub(crate) fn drop_distributions(&mut self) {
        let messages = self.messages.iter_mut().flat_map(|messages| {
            let MessageStats { latency, queue_wait, held, write, .. } = &mut messages.totals;
            [latency, queue_wait, held, write]
        });
        let groups = [&mut self.types, &mut self.protocols, &mut self.applications];
        let series = groups.into_iter().flatten().flatten();
        let of_series =
            series.flat_map(|one| std::iter::once(&mut one.totals.latency).chain(&mut one.totals.queue_wait));
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
    /// Bytes of one series in a queued report, with its two names and the reasons of failures.
    pub(super) const BYTES: u64 = size_of::<Self>() as u64 + 1024;
}

/// One named range of handling times.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BucketFigures {
    /// The range's name. `1-5ms`, for example, means at least 1 ms and less than 5 ms.
    pub name: Cow<'static, str>,
    /// Number of messages.
    pub count: u64,
}

/// One type, protocol or application.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SeriesFigures {
    /// The figures that a router's own [`Stats`](crate::metrics::Stats) have too. In JSON, its members stand beside the others.
    #[serde(flatten)]
    pub totals: SeriesStats,
    /// Sum of all handling times.
    pub total_nanoseconds: u64,
    /// When the last message was handled, regardless of resets. Null before the first message.
    pub last_processed_milliseconds: Option<u64>,
    /// Sliding windows, with `detailed_stats`, for as many series as `max_windowed_series` allows.
    pub windows: Option<Windowed>,
}

/// Lookups of names that have no series of their own and are counted as `other`. Each message recorded by name is one
/// lookup. Labels are one lookup, however many messages are recorded with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FoldedFigures {
    /// Recorded messages whose type has no series. Null while `enable_metrics` is off.
    pub types: Option<u64>,
    /// Recorded messages whose protocol has no series. Null while `enable_metrics` is off.
    pub protocols: Option<u64>,
    /// Recorded messages, and connects, whose application has no series. While `enable_metrics` is off, connects only.
    pub applications: u64,
    /// Recorded messages whose client has no figures. Null while `enable_metrics` is off.
    pub clients: Option<u64>,
    /// Series without windows. Null while `detailed_stats` or `enable_metrics` is off.
    pub windows: Option<u64>,
    /// Recorded messages that are not counted anywhere else, because one of their durations is invalid: 2^62
    /// nanoseconds or more, which is also what a negative difference becomes. Null while `enable_metrics` is off.
    pub impossible: Option<u64>,
}

/// One client. The figures count from its connect or from the last reset, whichever is later.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ClientFigures {
    /// The client's number. A later client of the same name has another number.
    pub id: u64,
    /// The client's name.
    pub name: String,
    /// The client's application.
    pub application: String,
    /// Its protocol. Null for a client that the host reported.
    pub protocol: Option<String>,
    /// True for a client that the host recorded, false for a router's client.
    pub recorded: bool,
    /// Whether the client is connected. False for a client that only had messages recorded.
    pub connected: bool,
    /// Messages that the client sent.
    pub messages: u64,
    /// Messages of `messages` that failed or expired.
    pub errors: u64,
    /// Payload bytes that the client sent.
    pub bytes_in: u64,
    /// Payload bytes written to the client.
    pub bytes_out: u64,
    /// Mean time of the client's messages (queue wait, handling and hold together), rounded down. Null before the
    /// first message.
    pub average_nanoseconds: Option<u64>,
    /// The longest of these times. Exact.
    pub maximum_nanoseconds: u64,
    /// When the client's last message was handled, or when it connected, whichever is later.
    pub last_activity_milliseconds: u64,
    /// Time since the client connected.
    pub connected_for_milliseconds: u64,
    /// Time since the client's last activity.
    pub idle_milliseconds: u64,
    /// Messages for the client that are not yet acknowledged as written.
    pub outstanding_messages: u64,
    /// Bytes of these messages.
    pub outstanding_bytes: u64,
    /// Largest number of messages that were handed out to the host and not yet acknowledged at the same time, since this
    /// connection began: a reset does not restart it. Exact. Messages that wait in a ring or backlog are not in it.
    pub outstanding_peak: u64,
    /// Deliveries to the client that were given up: it had no credit left, it was closing, or ring and backlog of its
    /// port were full. Includes messages of other clients and rooms, sends of the host, and notices.
    pub undelivered: u64,
    /// True unless the client has been silent for longer than `unhealthy_after_ms` or the host has marked it as
    /// unhealthy.
    pub healthy: bool,
}

/// The clients with the largest figures: for each figure up to `top_clients`, in descending order. Clients whose
/// figure is 0 are left out.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ClientsFigures {
    /// Number of clients that have figures.
    pub tracked: u64,
    /// By messages sent.
    pub by_messages: Vec<ClientFigures>,
    /// By errors.
    pub by_errors: Vec<ClientFigures>,
    /// By bytes sent.
    pub by_bytes_in: Vec<ClientFigures>,
    /// By bytes written to the client.
    pub by_bytes_out: Vec<ClientFigures>,
    /// By mean time.
    pub by_average: Vec<ClientFigures>,
    /// By the slowest single message.
    pub by_maximum: Vec<ClientFigures>,
    /// By unacknowledged bytes.
    pub by_outstanding: Vec<ClientFigures>,
    /// By the largest number of unacknowledged messages.
    pub by_outstanding_peak: Vec<ClientFigures>,
    /// By deliveries to the client that were given up.
    pub by_undelivered: Vec<ClientFigures>,
}

/// Slow messages.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SlowFigures {
    /// A message that takes longer than this is slow.
    pub threshold_nanoseconds: u64,
    /// Number of slow messages.
    pub total: u64,
    /// Slow messages that are not listed in `entries`, even if the list has room: a worker, a recorder, or the threads
    /// that share a shard keep the last 64 until the next collection, a second later. Or newer messages took their places.
    pub unlisted: u64,
    /// The latest slow messages, newest first. Messages of one type, application and client share one entry.
    pub entries: Vec<SlowEntry>,
}

/// A slow message, together with later slow messages of the same type, application and client.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SlowEntry {
    /// Number of messages.
    pub count: u64,
    /// When the first message ended.
    pub first_milliseconds: u64,
    /// When the last message ended.
    pub last_milliseconds: u64,
    /// The client that sent the messages. Empty for messages without a client.
    pub client: String,
    /// The protocol of the messages.
    pub protocol: String,
    /// The type of the messages.
    pub message_type: String,
    /// The application of the messages.
    pub application: String,
    /// The worker that handled the last message. Null if the host handled it.
    pub worker: Option<u64>,
    /// Payload bytes of the last message.
    pub bytes: u64,
    /// Queue wait of the last message.
    pub queue_wait_nanoseconds: u64,
    /// Handling time of the last message.
    pub service_nanoseconds: u64,
    /// Time that the last message was held. 0 if it was not held.
    pub held_nanoseconds: u64,
    /// Whether the last message succeeded.
    pub succeeded: bool,
    /// The longest time of any of the messages: queue wait, handling and hold together.
    pub slowest_nanoseconds: u64,
}

/// Connections.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ConnectionFigures {
    /// Number of connects.
    pub total: u64,
    /// Connections that are open at present, regardless of resets.
    pub active: u64,
    /// The most connections at once. If both a router and its host have connections, the sum of the two peaks.
    pub peak: u64,
    /// Mean duration of the connections that have ended, rounded down. Null before the first, and while
    /// `detailed_stats` is off.
    pub average_duration_milliseconds: Option<u64>,
    /// Durations of the connections that have ended, in milliseconds. Null while `detailed_stats` or `enable_metrics` is off.
    pub closed_milliseconds: Option<LatencyStats>,
    /// Durations so far of the connections that are open, in milliseconds. Null while `detailed_stats` or `enable_metrics` is off.
    pub open_milliseconds: Option<LatencyStats>,
    /// Actual length of the last minute in the next two figures: one minute, give or take a second or two. It is
    /// shorter after the start or a reset, and longer if the monitor was delayed.
    pub last_minute_milliseconds: u64,
    /// Connects in the last minute.
    pub connects_last_minute: u64,
    /// Disconnects in the last minute.
    pub disconnects_last_minute: u64,
    /// Connected clients that have not been silent for longer than `unhealthy_after_ms` and that the host has not
    /// marked as unhealthy. Null while `detailed_stats` or `enable_metrics` is off.
    pub healthy: Option<u64>,
    /// Connected clients that are not healthy. Null while `detailed_stats` or `enable_metrics` is off.
    pub unhealthy: Option<u64>,
    /// Connects under the name of a connected client, and reconnect attempts that the host recorded.
    pub reconnect_attempts: u64,
    /// Connections by application.
    pub applications: Vec<ApplicationConnectionFigures>,
}

/// One application's connections.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ApplicationConnectionFigures {
    /// The application's name.
    pub name: String,
    /// Number of connects.
    pub total: u64,
    /// Connections that are open at present.
    pub active: u64,
    /// When the last connect, disconnect or message happened. Null before the first.
    pub last_activity_milliseconds: Option<u64>,
}

/// Routing. Counts from the router's start and ignores resets, so that the accounting always adds up.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RoutingFigures {
    /// Totals of all workers and ports.
    pub totals: RoutingStats,
    /// Rates between the last two looks, which are `monitor_interval_ms` apart.
    pub rates: Rates,
    /// The place or outcome of every message and delivery.
    pub accounting: Accounting,
    /// Actual length of the last minute in the next two figures; as in `connections`.
    pub last_minute_milliseconds: u64,
    /// Deliveries that found no room in the egress ring and its backlog, in the last minute.
    pub egress_full_last_minute: u64,
    /// Deliveries that were refused, dropped or ended by a close because the client had no credit left, in the last
    /// minute.
    pub credit_exhausted_last_minute: u64,
    /// Workers that have spent more than `processing_timeout_ms` on one message.
    pub workers_stalled: u64,
    /// Workers that ended without a stop: the thread panicked, or the host dropped the worker.
    pub workers_lost: u64,
    /// Figures by worker.
    pub workers: Vec<WorkerStats>,
    /// Figures by port.
    pub ports: Vec<PortStats>,
    /// Placement and admission.
    pub placement: PlacementStats,
    /// Rooms.
    pub rooms: RoomStats,
    /// Bytes of out-of-line payloads.
    pub payload_bytes: u64,
    /// Out-of-line payloads that wait in a queue.
    pub payloads_waiting: u64,
}

/// Counts of periodic reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ReportFigures {
    /// Number of periodic reports made.
    pub made: u64,
    /// Number of reports that a receiver missed, because its queue was full.
    pub dropped: u64,
    /// Number of reports that could not be written to their file.
    pub failed: u64,
    /// Number of files whose last report could not be written.
    pub failing: u64,
    /// Number of panics in callbacks.
    pub panics: u64,
}
