//! What a snapshot consists of: plain values, shown, exported and tested. `snapshot` fills them.

use super::histogram::Distribution;
use super::ports::PortStats;
use super::reasons::ByReason;
#[cfg(feature = "schema")]
use super::reasons::schemas;
use super::routing::RoutingStats;
use serde::Serialize;

/// A distribution's figures, in nanoseconds; null where nothing was recorded. Percentiles are upper bounds of
/// cells at most 3.13 % wide, never above the maximum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LatencyStats {
    /// Values recorded.
    pub count: u64,
    /// Mean, rounded down.
    pub average: Option<u64>,
    /// Smallest, exact.
    pub minimum: Option<u64>,
    /// Largest, exact.
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
    /// The cells themselves.
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

/// One message type of one protocol.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TypeStats {
    /// The protocol; empty for `other`.
    pub protocol: String,
    /// The type.
    pub message_type: String,
    /// Messages taken by workers.
    pub received: u64,
    /// Delivered.
    pub succeeded: u64,
    /// Failed, for any reason.
    pub failed: u64,
    /// Failed, by reason.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schemas::failed"))]
    pub failures: ByReason,
    /// Expired.
    pub expired: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Time in handling.
    pub service: LatencyStats,
    /// Time from the socket to the worker.
    pub queue_wait: LatencyStats,
}

/// One protocol or application.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct GroupStats {
    /// Its name.
    pub name: String,
    /// Messages delivered.
    pub succeeded: u64,
    /// Messages failed or expired.
    pub failed: u64,
    /// Time in handling.
    pub service: LatencyStats,
}

/// All messages.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct MessageStats {
    /// Messages that have ended.
    pub total: u64,
    /// Delivered.
    pub succeeded: u64,
    /// Failed, for any reason.
    pub failed: u64,
    /// Expired.
    pub expired: u64,
    /// Failed, by reason.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schemas::failed"))]
    pub failures: ByReason,
    /// Succeeded ÷ total; null before the first.
    pub success_rate: Option<f64>,
    /// Payload bytes taken.
    pub bytes_in: u64,
    /// Payload bytes acknowledged as written.
    pub bytes_out: u64,
    /// Time in handling, all types.
    pub service: LatencyStats,
    /// Time from the socket to the worker, all types.
    pub queue_wait: LatencyStats,
    /// Time on hold for a name, of messages that were held and have ended.
    pub held: LatencyStats,
    /// Time from the poll that hands a delivery out to its acknowledgement, all ports; see [`PortStats::write`].
    pub write: LatencyStats,
}

/// Connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Connections {
    /// Connected so far.
    pub total: u64,
    /// Connected now.
    pub active: u64,
    /// Most at once.
    pub peak: u64,
}

/// Where every message and every delivery is (invariant I4). Exact whenever the router is quiet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Accounting {
    /// Messages given to ports.
    pub submitted: u64,
    /// Of these, refused.
    pub refused: u64,
    /// Refused, by reason.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schemas::refused"))]
    pub refusals: ByReason,
    /// Submitted and not refused.
    pub accepted: u64,
    /// Accepted, delivered.
    pub ok: u64,
    /// Accepted, failed.
    pub failed: u64,
    /// Failed, by reason.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schemas::failed"))]
    pub failures: ByReason,
    /// Accepted, expired.
    pub expired: u64,
    /// Accepted, handled by the host's base route instead.
    pub taken_over: u64,
    /// Taken over, by reason.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schemas::taken_over"))]
    pub takeovers: ByReason,
    /// Accepted, not ended yet; held ones included.
    pub in_flight: u64,
    /// Of these, held for a name.
    pub held: u64,
    /// Deliveries emitted, in recipients, notices and closings included.
    pub deliveries: u64,
    /// Of these, handed out by polls.
    pub consumed: u64,
    /// Of these, messages that hosts acknowledged as written.
    pub acknowledged: u64,
    /// Of these, messages that will never be acknowledged.
    pub unacknowledged: u64,
    /// Never acknowledged, by reason.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schemas::unacknowledged"))]
    pub unacknowledged_reasons: ByReason,
    /// Of the deliveries, given up.
    pub undeliverable: u64,
    /// Given up, by reason.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schemas::undeliverable"))]
    pub undelivered: ByReason,
    /// Of these, in rings and backlogs.
    pub queued: u64,
}

/// One worker.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct WorkerStats {
    /// Messages taken.
    pub received: u64,
    /// Cycles that found work.
    pub cycles: u64,
    /// Rings left with a full batch taken: more was waiting.
    pub full_batches: u64,
    /// Times it slept.
    pub parks: u64,
    /// Times it woke a port.
    pub wakes: u64,
    /// Nanoseconds in cycles that found work.
    pub busy_nanoseconds: u64,
    /// Nanoseconds between cycles, and in cycles that found nothing; until the last cycle's start.
    pub idle_nanoseconds: u64,
    /// Messages that ended here.
    pub ended: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Of these, expired.
    pub expired: u64,
    /// Mean of queue wait and service together, in nanoseconds rounded down; null before the first message.
    pub average_nanoseconds: Option<u64>,
    /// Records in its rings now, the batch in hand included: messages, and connects and disconnects of clients.
    pub queue_messages: u64,
    /// Bytes of its rings in use now.
    pub queue_bytes: u64,
    /// Most records that it saw waiting in all its rings at the start of a cycle.
    pub queue_messages_maximum: u64,
    /// Most bytes, likewise.
    pub queue_bytes_maximum: u64,
    /// Most records that it saw waiting and messages that it held, together, at the start of a cycle.
    pub in_flight_maximum: u64,
    /// Whether it has something to do: records in a ring, or deliveries that wait for room.
    pub is_active: bool,
    /// Messages held for names now.
    pub held: u64,
    /// Most held at once.
    pub held_maximum: u64,
    /// Deliveries that went through a backlog.
    pub backlogged: u64,
    /// Most bytes in one backlog.
    pub backlog_bytes_maximum: u64,
    /// Stamps from the future.
    pub stamps_clamped: u64,
    /// Clients closed for want of credit.
    pub credit_closes: u64,
    /// Rings given up as corrupt.
    pub corrupt_rings: u64,
    /// Deliveries refused for want of credit, by the recipient's policy.
    pub credit_refusals: u64,
    /// Deliveries dropped for want of credit, by the recipient's policy.
    pub credit_drops: u64,
    /// Messages relayed to a room.
    pub room_messages: u64,
    /// Delivery records written for them: one per port with members, or more where one is too large.
    pub room_records: u64,
    /// Recipients in these records.
    pub room_recipients: u64,
    /// Payload bytes written into these records.
    pub room_bytes_copied: u64,
    /// Panics of handlers.
    pub handler_panics: u64,
    /// Whether its handler has been at one message for longer than `processing_timeout_ms`, as last looked at.
    pub stalled: bool,
    /// How often it has become so.
    pub stalls: u64,
    /// How long the handler that is running now has been at its message; 0 for none.
    pub message_age_nanoseconds: u64,
    /// Whether a stop gave it up inside a handler: its thread and memory are left behind.
    pub given_up: bool,
    /// Whether it ended without a stop: its thread panicked, or its host dropped it. What it had has failed as `worker_lost`.
    pub lost: bool,
    /// Records that it found waiting in its last cycle: what ports weigh when they place.
    pub load: u64,
}

/// Rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RoomStats {
    /// Rooms that have members now.
    pub open: u64,
    /// Memberships now; clients that have just disconnected may be among them.
    pub members: u64,
    /// Most at once.
    pub members_maximum: u64,
    /// Joins so far.
    pub joined: u64,
    /// Leaves so far, those of disconnected clients included.
    pub left: u64,
    /// Joins and leaves refused, by reason.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schemas::room_refused"))]
    pub refusals: ByReason,
    /// Replaced member lists that are kept since a worker may still read them.
    pub retired_lists: u64,
    /// Their bytes.
    pub retired_bytes: u64,
}

/// Where messages are placed, and what admission has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PlacementStats {
    /// Workers that messages are placed on.
    pub active_workers: u64,
    /// Submissions for which another worker than the client's would have been better. A client of which something is
    /// under way stays where it is, and with `least_loaded` on a usable worker it is not looked at.
    pub moves_wanted: u64,
    /// Of these, with which the client moved there.
    pub moves_made: u64,
    /// `max_concurrent_messages`; 0 for no cap.
    pub permits: u64,
    /// Of these, neither a message's nor kept by a port for its next ones.
    pub permits_available: u64,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Stats {
    /// All messages.
    pub messages: MessageStats,
    /// By type.
    pub types: Vec<TypeStats>,
    /// By protocol.
    pub protocols: Vec<GroupStats>,
    /// By application.
    pub applications: Vec<GroupStats>,
    /// Connections.
    pub connections: Connections,
    /// Conservation.
    pub accounting: Accounting,
    /// By worker.
    pub workers: Vec<WorkerStats>,
    /// By port, `max_ports` of them.
    pub ports: Vec<PortStats>,
    /// Routing as a whole.
    pub routing: RoutingStats,
    /// Nanoseconds since the router was built, by its clock.
    pub uptime_nanoseconds: u64,
    /// Bytes of payloads outside rings, those that hosts still view included.
    pub payload_bytes: u64,
    /// Such payloads that wait to be taken.
    pub payloads_waiting: u64,
    /// Placement and admission.
    pub placement: PlacementStats,
    /// Connects whose application had no series of its own.
    pub applications_folded: u64,
    /// Rooms and their members.
    pub rooms: RoomStats,
    /// Delivery records that a poll passed over: without recipients, or shorter than they say. Only corruption writes such.
    pub bad_deliveries: u64,
    /// Rings from workers that a poll gave up as corrupt.
    pub corrupt_deliveries: u64,
    /// What the host routed itself and reported. In none of the figures above.
    pub recorded: RecordedStats,
    /// Whether `enable_metrics` is on. Where it is off, times and bytes of messages are not kept: they have no count here, and
    /// [`prometheus`](crate::export::prometheus) leaves their families out.
    pub metrics_enabled: bool,
}

/// What a host reported by [`Router::record`](crate::router::Router::record).
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RecordedStats {
    /// By type; the first is `other`.
    pub types: Vec<RecordedTypeStats>,
    /// By application; the first is `other`.
    pub applications: Vec<GroupStats>,
    /// Lookups of types that had no series of their own: one for each message recorded by name.
    pub types_folded: u64,
    /// Lookups of applications that had no series of their own.
    pub applications_folded: u64,
}

/// One reported type.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RecordedTypeStats {
    /// The protocol; empty for `other`.
    pub protocol: String,
    /// The type.
    pub message_type: String,
    /// Reported as successes.
    pub succeeded: u64,
    /// Reported as failures.
    pub failed: u64,
    /// Bytes.
    pub bytes: u64,
    /// How long they took.
    pub duration: LatencyStats,
}
