//! The one list of the router's figures. The Prometheus text and the tables of the text and HTML reports are written
//! from it. The JSON report is written from the types themselves, whose fields these figures read.

use super::cluster::{ClusterStatus, LinkStatus};
use super::figures::{
    Accounting, Connections, ExporterStats, PathStats, PlacementStats, PortStats, RoomStats, SeriesStats,
    WorkerStats,
};

/// One figure of a `T`.
#[derive(Debug)]
pub(crate) struct Figure<T> {
    /// The name of the Prometheus family, without the prefix `corelane_`.
    name: &'static str,
    /// The head of the column in reports. Empty if reports leave the figure out.
    pub(crate) title: &'static str,
    /// What the figure is, for Prometheus.
    pub(crate) help: &'static str,
    /// The value: nanoseconds for a name in seconds, otherwise a count.
    pub(crate) value: fn(&T) -> u64,
}

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Count,
    Bytes,
    Nanoseconds,
}

impl<T> Figure<T> {
    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    /// The unit, which a Prometheus name states.
    pub(crate) fn unit(&self) -> Unit {
        let has = |part: &str| self.name.trim_end_matches("_total").ends_with(part);
        match () {
            () if has("_seconds") => Unit::Nanoseconds,
            () if has("_bytes") => Unit::Bytes,
            () => Unit::Count,
        }
    }

    /// Whether the value only grows. Prometheus requires that such a name ends in `_total`.
    pub(crate) fn is_counter(&self) -> bool {
        self.name.ends_with("_total")
    }
}

macro_rules! figures {
    ($(#[$about:meta])* $list:ident of $of:ty; $($name:ident $title:literal $help:literal $value:expr,)+) => {
        $(#[$about])*
        pub(crate) const $list: &[Figure<$of>] =
            &[$(Figure { name: stringify!($name), title: $title, help: $help, value: $value },)+];
    };
}

figures! {
    /// By message type.
    TYPE of SeriesStats;
    messages_received_total "" "Messages taken by workers." |one| one.received.unwrap_or(0),
    messages_delivered_total "" "Messages handed to their recipients, or completed at the router." |one| one.succeeded,
    messages_expired_total "" "Messages that expired because they waited or were held too long." |one| one.expired,
}

figures! {
    /// All messages and deliveries.
    ACCOUNTING of Accounting;
    messages_submitted_total "Submitted" "Messages submitted to ports." |one| one.submitted,
    messages_in_flight "In flight" "Accepted messages that have not ended, including held messages." |one| one.in_flight,
    messages_held "Held" "Messages held for recipients that are not connected." |one| one.held,
    deliveries_total "Deliveries" "Deliveries emitted, counted per recipient." |one| one.deliveries,
    deliveries_queued "Queued" "Deliveries in egress rings and backlogs." |one| one.queued,
}

figures! {
    CONNECTION of Connections;
    connections_opened_total "" "Connects since the start." |one| one.total,
    connections_closed_total "" "Disconnects since the start." |one| one.total - one.active,
    connections_open "" "Clients that are connected." |one| one.active,
    connections_open_peak "" "Most clients connected at once." |one| one.peak,
}

figures! {
    /// Placement of messages, and the state of admission.
    PLACEMENT of PlacementStats;
    workers_enabled "Workers enabled" "Workers that messages are placed on." |one| one.active_workers,
    placement_moves_wanted_total "Moves wanted"
        "Submissions for which another worker would have been better than the client's." |one| one.moves_wanted,
    placement_moves_total "Moves made" "Submissions that moved the client to a better worker." |one| one.moves_made,
    messages_permitted "Permits"
        "Limit on messages in flight (max_concurrent_messages); 0 for none." |one| one.permits,
    message_permits_available "Available"
        "Permits of messages_permitted that neither a message nor a port holds." |one| one.permits_available,
}

figures! {
    ROOM of RoomStats;
    rooms_open "Open" "Rooms that have members." |one| one.open,
    room_members "Members" "Memberships in rooms." |one| one.members,
    room_members_peak "Peak" "Most memberships in rooms at once." |one| one.members_maximum,
    room_joins_total "Joins" "Joins since the start." |one| one.joined,
    room_leaves_total "Leaves" "Leaves since the start, including leaves by disconnecting." |one| one.left,
    room_retired_lists "Replaced lists" "Replaced member lists that workers may still read." |one| one.retired_lists,
    room_retired_bytes "" "Bytes of replaced member lists that workers may still read." |one| one.retired_bytes,
}

figures! {
    /// By kind of exporter.
    EXPORTER of ExporterStats;
    exporter_sent_total "Sent" "Documents or data points that the server has stored." |one| one.sent,
    exporter_repeated_total "Repeated"
        "Documents that the server had stored already, because an answer was lost." |one| one.repeated,
    exporter_rejected_total "Rejected" "Documents or data points that the server has refused." |one| one.rejected,
    exporter_dropped_total "Dropped"
        "Documents dropped by a full queue or an end, and data points of failed requests." |one| one.dropped,
    exporter_missed_total "Missed" "Connection events that came too fast to become documents." |one| one.missed,
    exporter_failed_requests_total "Failed requests" "Requests of exporters that failed." |one| one.failed_requests,
    exporter_queue_documents "Waiting" "Documents that wait to be sent." |one| one.waiting,
    exporter_queue_bytes "Waiting bytes" "Bytes of the documents that wait to be sent." |one| one.waiting_bytes,
    exporters_running "Running" "Exporters that have not ended." |one| one.running,
}

figures! {
    /// The router's part in a cluster.
    CLUSTER of ClusterStatus;
    cluster_connected "Connected" "1 while NATS is connected, else 0." |one| u64::from(one.connected),
    cluster_synced "Complete" "1 while the directory is complete, else 0." |one| u64::from(one.synced),
    cluster_unavailable "Unavailable"
        "1 while NATS or its bucket does not answer, or refuses what this machine needs, else 0."
        |one| u64::from(one.unavailable),
    cluster_fenced "Fenced" "1 while this machine owns no names, because it could not renew its lease, else 0."
        |one| u64::from(one.fenced),
    cluster_fences_total "Fences" "Times that this machine was fenced." |one| one.fences,
    cluster_fenced_seconds_total "Fenced for" "Time that this machine was fenced." |one| one.fenced_ms * 1_000_000,
    cluster_machines "Machines" "Machines that live, this one included." |one| one.machines.len() as u64,
    cluster_names_owned "Names here" "Names that clients of this machine own or claim." |one| one.names_owned as u64,
    cluster_names_known "Names" "Names of all machines that this machine knows." |one| one.names_known as u64,
    cluster_names_left_out_total "Left out" "Names of other machines that had no room here (names)." |one| one.names_left_out,
    cluster_rooms_left_out_total "Rooms left out" "Rooms with members elsewhere that had no place here (rooms)." |one| one.rooms_left_out,
    cluster_names_asked "Names asked for" "Names that had no room here and were asked for." |one| one.names_asked as u64,
    cluster_names_evicted_total "Evicted" "Names that were asked for and have made room for others." |one| one.names_evicted,
    cluster_asks_total "Asked" "Names asked for at the leader of the bucket." |one| one.asks,
    cluster_asks_in_flight "Asks" "Names asked for without an answer yet." |one| one.asks_in_flight as u64,
    cluster_asks_found_total "Found" "Names asked for that were on another machine." |one| one.asks_found,
    cluster_asks_nowhere_total "Nowhere" "Names asked for that were on no other machine." |one| one.asks_nowhere,
    cluster_asks_failed_total "Not answered" "Names asked for without an answer of the leader." |one| one.asks_failed,
    cluster_machines_left_out "No link" "Machines that live and have no link from this one, because it has 255."
        |one| one.machines_left_out as u64,
    cluster_claims_in_flight "Claims" "Claims of names without an answer yet." |one| one.claims_in_flight as u64,
    cluster_directory_lag "Behind" "Changes of names that NATS has and this machine has not seen." |one| one.directory_lag,
    cluster_frames_dropped_total "Frames dropped" "Frames that were none, or whose machine does not live."
        |one| one.frames_dropped,
}

figures! {
    /// The link to another machine.
    LINK of LinkStatus;
    cluster_link_up "Up" "1 while messages flow to the machine, else 0." |one| u64::from(one.up),
    cluster_link_in_flight "In flight" "Messages to the machine without an acknowledgement." |one| one.in_flight as u64,
    cluster_link_round_trip_seconds "Round trip" "Time from a frame to its acknowledgement, measured last."
        |one| one.round_trip_us * 1_000,
    cluster_link_sent_total "Sent" "Messages to the machine." |one| one.sent,
    cluster_link_delivered_total "Delivered" "Messages that the machine acknowledged as delivered." |one| one.delivered,
    cluster_link_gone_total "Gone" "Messages that came back, because their recipient was not there." |one| one.gone,
    cluster_link_lost_total "Lost" "Messages that were lost on the way to the machine." |one| one.lost,
    cluster_link_rejected_total "Rejected" "Messages that the machine rejected for another reason." |one| one.rejected,
    cluster_link_losses_total "Losses" "Times that the link was lost, with all that was in flight." |one| one.losses,
    cluster_link_received_total "Received" "Messages of the machine that the router took." |one| one.received,
    cluster_link_receive_lost_total "Received with gaps" "Messages of the machine that did not arrive in order." |one| one.receive_lost,
    cluster_link_stale_total "Late frames" "Frames of the machine that were dropped because they were late." |one| one.stale,
    cluster_link_receive_rejected_total "Not delivered" "Messages of the machine that were not delivered." |one| one.receive_rejected,
}

figures! {
    /// Room messages, to be summed over all workers.
    ROOM_MESSAGE of WorkerStats;
    room_messages_total "" "Messages relayed to rooms." |one| one.room_messages,
    room_records_total "" "Delivery records written for room messages." |one| one.room_records,
    room_recipients_total "" "Recipients in the delivery records of room messages." |one| one.room_recipients,
    room_copied_bytes_total "" "Payload bytes written into the delivery records of room messages."
        |one| one.room_bytes_copied,
}

figures! {
    WORKER of WorkerStats;
    worker_messages_total "Ended" "Messages that ended at the worker." |one| one.ended,
    worker_failures_total "Failed or expired" "Messages that failed or expired at the worker."
        |one| one.failed + one.expired,
    worker_queue_messages "Queued" "Records in the worker's ingress rings." |one| one.queue_messages,
    worker_queue_bytes "" "Bytes in use in the worker's ingress rings." |one| one.queue_bytes,
    worker_queue_peak_messages "Peak" "Most records that waited at the start of a cycle."
        |one| one.queue_messages_maximum,
    worker_queue_peak_bytes "" "Most bytes that waited at the start of a cycle." |one| one.queue_bytes_maximum,
    worker_in_flight_peak_messages "" "Most waiting records and held messages together at the start of a cycle."
        |one| one.in_flight_maximum,
    worker_held_peak_messages "Held peak" "Most messages held at once." |one| one.held_maximum,
    worker_load_records "" "Records that waited at the start of the worker's last cycle." |one| one.load,
    worker_busy_seconds_total "Busy" "Time that the worker spent in cycles with work." |one| one.busy_nanoseconds,
    worker_idle_seconds_total "Idle" "Time that the worker spent between cycles and in cycles without work."
        |one| one.idle_nanoseconds,
    worker_batches_total "Batches" "Cycles with work." |one| one.cycles,
    worker_full_batches_total "Full batches" "Batches that reached their limit while more records waited in the ring."
        |one| one.full_batches,
    worker_parks_total "Parks" "Times that the worker slept." |one| one.parks,
    worker_wakeups_total "" "Times that the worker woke a port." |one| one.wakes,
    worker_backlogged_total "Backlogged"
        "Deliveries that went through a backlog, because their egress ring was full." |one| one.backlogged,
    worker_backlog_peak_bytes "" "Most bytes in one backlog at once." |one| one.backlog_bytes_maximum,
    worker_credit_refusals_total "Credit refusals"
        "Part of the deliveries dropped as credit_exhausted: those under the policy refuse." |one| one.credit_refusals,
    worker_credit_drops_total "Credit drops"
        "Part of the deliveries dropped as credit_exhausted: those of droppable types under the policy drop." |one| one.credit_drops,
    worker_stamps_clamped_total "" "Time stamps in the future, clamped to the present." |one| one.stamps_clamped,
    worker_corrupt_rings_total "" "Ingress rings given up as corrupt." |one| one.corrupt_rings,
    worker_handler_panics_total "Panics" "Panics of message handlers." |one| one.handler_panics,
    worker_stalls_total "Stalls" "Times that a handler exceeded processing_timeout_ms." |one| one.stalls,
    worker_stalled "Stalled now" "1 while the handler exceeds processing_timeout_ms, else 0."
        |one| u64::from(one.stalled),
    worker_message_age_seconds "Age of its message"
        "Time that the running handler has spent on its message; 0 if none runs." |one| one.message_age_nanoseconds,
    worker_given_up "" "1 if a stop left the worker behind inside a handler, else 0." |one| u64::from(one.given_up),
    worker_lost "Lost" "1 if the worker ended without a stop, else 0." |one| u64::from(one.lost),
}

figures! {
    PORT of PortStats;
    port_deliveries_total "Deliveries" "Deliveries handed out." |one| one.consumed,
    port_acknowledged_total "Acknowledged" "Messages acknowledged as written." |one| one.acknowledged,
    port_sent_bytes_total "Written" "Bytes acknowledged as written." |one| one.bytes_out,
    port_discarded_total "Discarded"
        "Deliveries that a host in another language has read and thrown away, because their client was closed." |one| one.discarded,
    port_outstanding_peak_messages "Unacknowledged peak" "Most unacknowledged messages of one client."
        |one| one.outstanding_messages_maximum,
    port_outstanding_peak_bytes "In bytes" "Most unacknowledged bytes of one client."
        |one| one.outstanding_bytes_maximum,
}

figures! {
    /// The path between one port and one worker.
    PATH of PathStats;
    path_ingress_messages "To the worker" "Records in the ingress ring to the worker." |one| one.ingress_messages,
    path_egress_messages "To the port" "Deliveries in the egress ring to the port." |one| one.egress_messages,
    path_backlog_bytes "Backlog" "Bytes in the backlog behind the egress ring." |one| one.backlog_bytes,
    path_backlog_peak_bytes "Backlog peak" "Most bytes in the backlog at once." |one| one.backlog_bytes_maximum,
    path_egress_full_total "Egress full" "Deliveries given up because egress ring and backlog were full."
        |one| one.egress_full,
    path_closings "" "Closings and notices of failed messages that wait for room in egress ring and backlog." |one| one.closings,
    path_closings_peak "" "Most closings and notices that waited at once." |one| one.closings_maximum,
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_name_states_the_kind_and_the_unit() {
        let of = |name: &str| {
            let figure = WORKER.iter().find(|figure| figure.name == name).unwrap();
            (figure.is_counter(), figure.unit())
        };
        assert_eq!(of("worker_busy_seconds_total"), (true, Unit::Nanoseconds));
        assert_eq!(of("worker_message_age_seconds"), (false, Unit::Nanoseconds));
        assert_eq!(of("worker_queue_bytes"), (false, Unit::Bytes));
        assert_eq!(of("worker_parks_total"), (true, Unit::Count));
    }
}
