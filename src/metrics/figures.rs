//! The plain values of a snapshot, which are shown, exported and tested. `snapshot` fills them.

use super::cluster::ClusterStatus;
use super::histogram::Distribution;
use super::reasons::ByReason;
#[cfg(feature = "schema")]
use super::reasons::schemas;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Figures of a distribution, in nanoseconds; null if no value was recorded. A percentile is the upper bound
/// of a cell that is at most 3.13 % wide, and never above the maximum. A percentile of 2^36 ns or more is the
/// maximum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LatencyStats {
    /// Recorded values.
    pub count: u64,
    /// Mean, rounded down.
    pub average: Option<u64>,
    /// Smallest value. Exact, unless the value was recorded before a reset; then it may be up to 3.13 % too
    /// low.
    pub minimum: Option<u64>,
    /// Largest value. Exact, unless the value was recorded before a reset; then it may be up to 3.13 % too
    /// high.
    pub maximum: Option<u64>,
    /// 50th percentile.
    pub p50: Option<u64>,
    /// 90th percentile.
    pub p90: Option<u64>,
    /// 95th percentile.
    pub p95: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
    /// 99.9th percentile.
    pub p999: Option<u64>,
    /// The cells of the distribution.
    #[serde(skip)]
    pub distribution: Distribution,
}

impl From<Distribution> for LatencyStats {
    fn from(distribution: Distribution) -> Self {
        let percentile = |per_mille| distribution.percentile(per_mille, 1000);
        Self {
            count: distribution.count(),
            average: distribution.average(),
            minimum: distribution.minimum(),
            maximum: distribution.maximum(),
            p50: percentile(500),
            p90: percentile(900),
            p95: percentile(950),
            p99: percentile(990),
            p999: percentile(999),
            distribution,
        }
    }
}

/// One message type, protocol or application.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SeriesStats {
    /// The protocol of a type; empty for the types without a series of their own. Null for protocols and applications.
    pub protocol: Option<String>,
    /// Name of the type, protocol or application.
    pub name: String,
    /// Messages that workers have taken or that the host has recorded. Those without an outcome are held, or were
    /// taken over by the host's base route. Types only.
    pub received: Option<u64>,
    /// Messages that have ended.
    pub total: u64,
    /// Messages of `total` that succeeded: handed to the recipient's port, or completed at the router.
    pub succeeded: u64,
    /// Messages of `total` that failed, for any reason.
    pub failed: u64,
    /// Messages of `total` that expired, because they waited too long.
    pub expired: u64,
    /// Failed messages, by reason. Types only.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schemas::optional_failed"))]
    pub failures: Option<ByReason>,
    /// Slow messages: queue wait, handling and hold together took longer than `slow_message_threshold_ms`.
    pub slow: u64,
    /// Payload bytes of the messages.
    pub bytes: u64,
    /// Handling time.
    pub latency: LatencyStats,
    /// Time from the socket to the worker. Types only.
    pub queue_wait: Option<LatencyStats>,
}

/// All messages.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct MessageStats {
    /// Messages that have ended.
    pub total: u64,
    /// Messages of `total` that succeeded: handed to the recipient's port, or completed at the router. [`Accounting`]
    /// shows whether a delivery was then acknowledged as written, never acknowledged, or given up.
    pub succeeded: u64,
    /// Messages of `total` that failed, for any reason.
    pub failed: u64,
    /// Messages of `total` that expired, because they waited too long.
    pub expired: u64,
    /// Failed messages, by reason.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schemas::failed"))]
    pub failures: ByReason,
    /// `succeeded` ÷ `total`, from 0 to 1. Null before the first message.
    pub success_rate: Option<f64>,
    /// Slow messages: queue wait, handling and hold together took longer than `slow_message_threshold_ms`.
    pub slow: u64,
    /// Payload bytes received.
    pub bytes_in: u64,
    /// Payload bytes written to clients.
    pub bytes_out: u64,
    /// Handling time, all types.
    pub latency: LatencyStats,
    /// Time that messages waited in a queue before they were handled, all types.
    pub queue_wait: LatencyStats,
    /// Time that held messages were held, waiting for a recipient that is not connected. It counts towards the time
    /// that makes a message slow. Its values are null without a router.
    pub held: LatencyStats,
    /// Time from the poll that hands a delivery out to the acknowledgement that it is written, all ports; see
    /// [`PortStats::write`]. Its values are null without a router.
    pub write: LatencyStats,
}

/// Connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Connections {
    /// Connections since the start.
    pub total: u64,
    /// Current connections.
    pub active: u64,
    /// Largest number of connections at the same time.
    pub peak: u64,
}

/// Where every message and every delivery is. Exact while the router is quiet:
///
/// - `submitted` = `refused` + `accepted`
/// - `accepted` = `ok` + `failed` + `expired` + `taken_over` + `in_flight`
/// - `deliveries` = `consumed` + `undeliverable` + `queued`
/// - `consumed` = `acknowledged` + `unacknowledged` + what the host still has to acknowledge + what is never
///   acknowledged: each `Undelivered`, `SendFailed`, `Left`, `Close` and `Closed` event
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Accounting {
    /// Messages submitted to ports.
    pub submitted: u64,
    /// Submitted messages that were refused.
    pub refused: u64,
    /// Refused messages, by reason.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schemas::refused"))]
    pub refusals: ByReason,
    /// Messages submitted and not refused.
    pub accepted: u64,
    /// Accepted messages delivered.
    pub ok: u64,
    /// Accepted messages failed.
    pub failed: u64,
    /// Failed messages, by reason.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schemas::failed"))]
    pub failures: ByReason,
    /// Accepted messages expired.
    pub expired: u64,
    /// Accepted messages taken over by the host's base route.
    pub taken_over: u64,
    /// Taken-over messages, by reason.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schemas::taken_over"))]
    pub takeovers: ByReason,
    /// Accepted messages without an outcome, including held messages.
    pub in_flight: u64,
    /// Messages in flight that are held for a name.
    pub held: u64,
    /// Deliveries emitted, counted per recipient, including notices and closing notices.
    pub deliveries: u64,
    /// Deliveries handed out by polls.
    pub consumed: u64,
    /// Consumed messages that the host acknowledged as written.
    pub acknowledged: u64,
    /// Consumed messages that will never be acknowledged.
    pub unacknowledged: u64,
    /// Messages that will never be acknowledged, by reason.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schemas::unacknowledged"))]
    pub unacknowledged_reasons: ByReason,
    /// Deliveries given up.
    pub undeliverable: u64,
    /// Deliveries given up, by reason.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schemas::undeliverable"))]
    pub undelivered: ByReason,
    /// Deliveries in rings and backlogs.
    pub queued: u64,
}

/// One worker.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct WorkerStats {
    /// Messages taken.
    pub received: u64,
    /// Cycles that found work.
    pub cycles: u64,
    /// Rings from which a full batch was taken, so that more may have been waiting.
    pub full_batches: u64,
    /// Times that the worker slept.
    pub parks: u64,
    /// Times that the worker woke a port.
    pub wakes: u64,
    /// Nanoseconds in cycles that found work.
    pub busy_nanoseconds: u64,
    /// Nanoseconds between cycles and in cycles that found nothing, up to the start of the last cycle.
    pub idle_nanoseconds: u64,
    /// Messages with an outcome at this worker.
    pub ended: u64,
    /// Messages failed.
    pub failed: u64,
    /// Messages expired.
    pub expired: u64,
    /// Mean of queue wait plus service, in nanoseconds, rounded down. Null before the first message.
    pub average_nanoseconds: Option<u64>,
    /// Records in the ingress rings of the worker, including the batch that it is processing: messages, and
    /// connects and disconnects of clients.
    pub queue_messages: u64,
    /// Bytes of the ingress rings in use.
    pub queue_bytes: u64,
    /// Largest number of records in all ingress rings together, observed at the start of a cycle.
    pub queue_messages_maximum: u64,
    /// Largest number of bytes in all ingress rings together, observed at the start of a cycle.
    pub queue_bytes_maximum: u64,
    /// Largest number of waiting records plus held messages, observed at the start of a cycle.
    pub in_flight_maximum: u64,
    /// Whether the worker has work: records in a ring, or deliveries that wait for room.
    pub is_active: bool,
    /// Messages held for names.
    pub held: u64,
    /// Largest number of held messages at the same time.
    pub held_maximum: u64,
    /// Deliveries that went through a backlog.
    pub backlogged: u64,
    /// Largest number of bytes in one backlog.
    pub backlog_bytes_maximum: u64,
    /// Messages whose time stamp is in the future. They count as having no queue wait.
    pub stamps_clamped: u64,
    /// Clients closed because they had no credit left.
    pub credit_closes: u64,
    /// Rings given up as corrupt.
    pub corrupt_rings: u64,
    /// Part of the deliveries dropped as `credit_exhausted`: those under the policy `refuse`.
    pub credit_refusals: u64,
    /// Part of the deliveries dropped as `credit_exhausted`: those of droppable types under the policy `drop`.
    pub credit_drops: u64,
    /// Messages relayed to a room.
    pub room_messages: u64,
    /// Delivery records written for room messages: one per port with members, or more if one record would be
    /// too large.
    pub room_records: u64,
    /// Recipients in these delivery records.
    pub room_recipients: u64,
    /// Payload bytes written into these delivery records.
    pub room_bytes_copied: u64,
    /// Panics in handlers.
    pub handler_panics: u64,
    /// Whether the handler had processed one message for longer than `processing_timeout_ms` at the last
    /// check.
    pub stalled: bool,
    /// Times that the worker became stalled.
    pub stalls: u64,
    /// Nanoseconds that the running handler has spent on its message. 0 if no handler is running.
    pub message_age_nanoseconds: u64,
    /// Whether a stop gave the worker up inside a handler. The thread and memory of such a worker are left
    /// behind.
    pub given_up: bool,
    /// Whether the worker ended without a stop: its thread panicked, or the host dropped it. Its messages
    /// have failed as `worker_lost`.
    pub lost: bool,
    /// Records that the worker found waiting in its last cycle. Ports compare this load when they choose a
    /// worker.
    pub load: u64,
}

/// Rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RoomStats {
    /// Rooms that have members.
    pub open: u64,
    /// Current memberships. May include clients that have just disconnected.
    pub members: u64,
    /// Largest number of memberships at the same time.
    pub members_maximum: u64,
    /// Joins since the start.
    pub joined: u64,
    /// Leaves since the start, including those of disconnected clients.
    pub left: u64,
    /// Joins and leaves refused, by reason.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schemas::room_refused"))]
    pub refusals: ByReason,
    /// Replaced member lists that are kept because a worker may still read them.
    pub retired_lists: u64,
    /// Bytes of these member lists.
    pub retired_bytes: u64,
}

/// What the exporters of one kind have sent, and lost. An item is a document of Elasticsearch, or a data point of
/// OpenTelemetry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ExporterStats {
    /// The kind: `elasticsearch` or `otlp`.
    pub name: Cow<'static, str>,
    /// Exporters of this kind that have not ended.
    pub running: u64,
    /// Items that the server has stored.
    pub sent: u64,
    /// Items that the server had stored already: the answer to an earlier request was lost.
    pub repeated: u64,
    /// Items that the server has refused for good. The log has the reason.
    pub rejected: u64,
    /// Items that were given up. Documents: the queue was full, or the exporter ended. Data points: their request failed;
    /// the next one has the same series, and newer values.
    pub dropped: u64,
    /// Connection events that came too fast to become documents.
    pub missed: u64,
    /// Requests that failed.
    pub failed_requests: u64,
    /// Documents that wait.
    pub waiting: u64,
    /// Bytes of these documents.
    pub waiting_bytes: u64,
    /// Why the last request failed. Null if it succeeded.
    pub last_error: Option<String>,
}

/// Placement of messages on workers, and permits for messages in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PlacementStats {
    /// Workers on which messages are placed.
    pub active_workers: u64,
    /// Submissions for which another worker than the client's current one would have been better. A client
    /// with a message in flight stays on its worker. With `least_loaded`, such a client on a usable worker is
    /// not compared and not counted.
    pub moves_wanted: u64,
    /// Wanted moves that were made.
    pub moves_made: u64,
    /// `max_concurrent_messages`. 0 for no limit.
    pub permits: u64,
    /// Permits that neither a message uses nor a port keeps for its next messages.
    pub permits_available: u64,
}

/// All figures of a router.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Stats {
    /// All messages.
    pub messages: MessageStats,
    /// Figures by message type. The first holds the messages of all types without a series of their own.
    pub types: Vec<SeriesStats>,
    /// Figures by protocol. The first holds the messages of all protocols without a series of their own.
    pub protocols: Vec<SeriesStats>,
    /// Figures by application. The first holds the messages of all applications without a series of their own.
    pub applications: Vec<SeriesStats>,
    /// Connections.
    pub connections: Connections,
    /// Accounting of every message and every delivery.
    pub accounting: Accounting,
    /// Figures by worker.
    pub workers: Vec<WorkerStats>,
    /// Figures by port, one for each of `max_ports` places.
    pub ports: Vec<PortStats>,
    /// Figures of routing as a whole.
    pub routing: RoutingStats,
    /// Nanoseconds since the router was built, by its clock.
    pub uptime_nanoseconds: u64,
    /// Bytes of out-of-line payloads, including those that the host still views.
    pub payload_bytes: u64,
    /// Out-of-line payloads that wait to be taken.
    pub payloads_waiting: u64,
    /// Placement of messages and permits.
    pub placement: PlacementStats,
    /// Connects whose application had no series of its own.
    pub applications_folded: u64,
    /// Rooms and their members.
    pub rooms: RoomStats,
    /// Delivery records that a poll skipped because they had no recipients or were shorter than their header
    /// states. Only corruption causes these.
    pub bad_deliveries: u64,
    /// Egress rings that a poll gave up as corrupt.
    pub corrupt_deliveries: u64,
    /// Messages that the host routed itself and reported. Not included in the figures above.
    pub recorded: RecordedStats,
    /// The router's part in a cluster. Null if it was never in one.
    #[serde(default)]
    pub cluster: Option<ClusterStatus>,
    /// Whether `enable_metrics` is on. If off, times and bytes of messages are not recorded, their counts are
    /// 0, and [`prometheus`](crate::export::prometheus) omits their families.
    pub metrics_enabled: bool,
}

/// What the host reported with [`Router::record`](crate::router::Router::record).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RecordedStats {
    /// Figures by message type. The first is `other`.
    pub types: Vec<SeriesStats>,
    /// Figures by application. The first is `other`.
    pub applications: Vec<SeriesStats>,
    /// Lookups of types without their own series. Each message recorded by name is one lookup.
    pub types_folded: u64,
    /// Lookups of applications without their own series.
    pub applications_folded: u64,
}

/// One port. Successive ports in the same place add to the same figures.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PortStats {
    /// Messages submitted to the port.
    pub submitted: u64,
    /// Submitted messages that the port refused.
    pub refused: u64,
    /// Deliveries handed out.
    pub consumed: u64,
    /// Deliveries that the port could not hand out, because their client was closed or the port was released.
    pub undeliverable: u64,
    /// Messages acknowledged as written.
    pub acknowledged: u64,
    /// Messages handed out that will never be acknowledged, because their client was closed or the port was
    /// released.
    pub unacknowledged: u64,
    /// Bytes acknowledged as written.
    pub bytes_out: u64,
    /// Deliveries that a host in another language has read from its rings and thrown away, because their client was
    /// closed by then. They count as handed out.
    #[serde(default)]
    pub discarded: u64,
    /// Calls of `poll`.
    pub polls: u64,
    /// Largest number of unacknowledged messages of one client.
    pub outstanding_messages_maximum: u64,
    /// Largest number of unacknowledged bytes of one client.
    pub outstanding_bytes_maximum: u64,
    /// Nanoseconds from the poll that hands a delivery out to the acknowledgement that covers it. One
    /// delivery per client is timed at a time: the first that is handed out while no other delivery of this
    /// client is timed.
    pub write: LatencyStats,
    /// The path between this port and each worker.
    pub workers: Vec<PathStats>,
}

/// The path between one port and one worker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PathStats {
    /// Records in the ingress ring, including the batch that the worker is processing: messages, and connects
    /// and disconnects of clients.
    pub ingress_messages: u64,
    /// Bytes of the ingress ring in use.
    pub ingress_bytes: u64,
    /// Deliveries in the egress ring.
    pub egress_messages: u64,
    /// Bytes of the egress ring in use.
    pub egress_bytes: u64,
    /// Bytes in the backlog of the egress ring.
    pub backlog_bytes: u64,
    /// Largest number of bytes in the backlog.
    pub backlog_bytes_maximum: u64,
    /// Deliveries given up because the egress ring and the backlog were full.
    pub egress_full: u64,
    /// Closing notices that wait on a separate list because the egress ring and the backlog are full.
    pub closings: u64,
    /// Largest number of closing notices on this list.
    pub closings_maximum: u64,
}

/// Routing as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RoutingStats {
    /// Messages delivered or handled by the router itself.
    pub routed: u64,
    /// Messages failed.
    pub failed: u64,
    /// Messages expired.
    pub expired: u64,
    /// Mean of queue wait plus service over all messages taken, in nanoseconds, rounded down. Null before the
    /// first message. Time on hold is not included.
    pub average_nanoseconds: Option<u64>,
    /// Accepted messages without an outcome, including held messages.
    pub concurrency: u64,
    /// Largest number of waiting and held messages that one worker observed at the start of a cycle. There is
    /// no maximum over all workers together, because workers share no counter.
    pub concurrency_maximum_of_a_worker: u64,
    /// Records in all ingress rings.
    pub queue_messages: u64,
    /// Bytes of all ingress rings in use.
    pub queue_bytes: u64,
    /// Workers that have work: records in a ring, or deliveries that wait for room.
    pub workers_active: u64,
    /// Workers without work.
    pub workers_idle: u64,
}
