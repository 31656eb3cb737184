//! The error type, its stable codes, and the closed lists of reasons: why the router refused a message, why a message
//! failed, and why a delivery was not handed out. Counters, exports and the C ABI use these names.

use crate::id::{ClientId, MAX_NAME_BYTES};
use std::fmt;

/// Declares a list of reasons: an enum whose variants have a number and a name. The numbers index arrays of counters.
macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every reason, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// The number of reasons.
            pub const COUNT: usize = Self::ALL.len();

            /// The name used in metrics.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.label())
            }
        }
    };
}

reasons! {
    /// Why the port refused a message. The router has kept nothing of a refused message.
    Refused {
        /// The ingress ring to the client's worker is full. Retry after the next poll, or drop the message.
        Full = "ring_full",
        /// The router is stopping or stopped, or the worker closed the ingress ring before it took the message.
        Closed = "closed",
        /// The router is draining: it finishes accepted messages and accepts no new ones.
        Draining = "draining",
        /// The client is not connected.
        Stale = "stale_client",
        /// The client belongs to another port.
        WrongPort = "wrong_port",
        /// The message is larger than `max_message`, or too large for a ring.
        TooLarge = "too_large",
        /// The ingress ring is corrupt: it holds values that no correct host or worker writes. The port cannot be
        /// used further.
        Corrupt = "corrupt",
        /// The client has `max_in_flight` messages that have no outcome yet.
        InFlight = "in_flight_limit",
        /// The client sends faster than `client_rate` and `client_burst` allow.
        RateLimited = "rate_limited",
        /// The router has `max_concurrent_messages` messages in flight.
        Concurrency = "concurrency_limit",
        /// The message needs an out-of-line payload, and `payloads` or `payload_bytes` is reached. A message needs
        /// one if it is too large for a ring, or if the host gave its bytes away.
        PayloadsFull = "payloads_full",
        /// `max_calls` callers are already waiting for results on this port.
        TooManyCalls = "too_many_calls",
    }
}

reasons! {
    /// Why an accepted message was not delivered.
    Failed {
        /// The message has no bytes.
        Empty = "empty",
        /// The message is not UTF-8.
        NotUtf8 = "not_utf8",
        /// The message is not JSON, or bytes follow the JSON value.
        NotJson = "not_json",
        /// The message is JSON, but not an object.
        NotAnObject = "not_an_object",
        /// The JSON is nested too deeply.
        TooDeep = "too_deep",
        /// The message contains a field of the protocol twice.
        DuplicateField = "duplicate_field",
        /// A field of the protocol has the wrong JSON type.
        WrongType = "wrong_type",
        /// The message has no type.
        MissingType = "missing_type",
        /// The protocol does not list the message type.
        UnknownType = "unknown_type",
        /// A field of the protocol, or the recipient's name, is longer than the limit.
        NameTooLong = "field_too_long",
        /// The message contains a key that some readers could mistake for the sender key.
        AmbiguousSender = "ambiguous_sender",
        /// The message needs a recipient and names none.
        NoRecipient = "no_recipient",
        /// The recipient is not connected, and messages of this type are not held.
        UnknownRecipient = "unknown_recipient",
        /// The recipient is not connected, and a hold limit is reached: of the recipient's name, of the sender, or of
        /// the worker.
        HoldFull = "hold_full",
        /// The recipient is closing.
        RecipientClosed = "recipient_closed",
        /// The recipient has no credit left. Its credit policy decides what happens next.
        Credit = "credit_exhausted",
        /// The egress ring to the recipient's port and the backlog behind it are full.
        EgressFull = "egress_full",
        /// The recipient's port has been released.
        PortGone = "port_gone",
        /// The relayed message would be too large for the recipient's egress ring.
        TooLarge = "too_large",
        /// The record names a client that does not belong to the port.
        StaleClient = "stale_client",
        /// The record is not one that a host may write.
        BadRecord = "bad_record",
        /// The router stopped while it held the message.
        Stopped = "stopped",
        /// No room of that name has members.
        UnknownRoom = "unknown_room",
        /// The sender is not a member of the room.
        NotAMember = "not_a_member",
        /// The handler returned a failure.
        Handler = "handler_failed",
        /// The handler panicked, or the value that the host gave away as the message did.
        Panicked = "handler_panicked",
        /// The worker was still inside a handler when the stop time-out ended.
        Stuck = "stuck",
        /// The delivery is too large for a ring and needs an out-of-line payload, and `payloads` or `payload_bytes`
        /// is reached.
        PayloadsFull = "payloads_full",
        /// The host handled the message itself and recorded it as failed.
        Reported = "reported",
        /// The client set a field that only the server may set: the sender.
        ForgedSender = "forged_sender",
        /// The worker ended before it handled the message: the worker's thread panicked, or the host dropped the
        /// worker.
        WorkerLost = "worker_lost",
    }
}

reasons! {
    /// Why a delivery that was handed out stays unacknowledged for good. Corelane cannot know whether the host wrote
    /// it to the client's socket.
    Unacknowledged {
        /// The client's connection is closed.
        Closed = "closed",
        /// The client's port was released.
        PortGone = "port_gone",
    }
}

reasons! {
    /// Why a message was taken over: the base route handled it, outside the order of the client's other messages.
    TakenOver {
        /// `enable_concurrent_routing` is off.
        Disabled = "disabled",
        /// The ingress ring to the client's worker was full.
        Full = "ring_full",
        /// The router was draining, stopping or stopped, or the ingress ring was corrupt.
        Closed = "closed",
        /// The message had waited longer than `max_queue_wait_ms`.
        Expired = "expired",
        /// The caller's time-out ended before a worker started the message.
        TimedOut = "timed_out",
        /// `max_calls` callers were already waiting for results on this port.
        TooManyCalls = "too_many_calls",
    }
}

reasons! {
    /// Why a delivery was not handed out. Counted once per recipient.
    Undeliverable {
        /// The recipient was already closed.
        Closed = "closed",
        /// The egress ring of the recipient's port and its backlog were full.
        EgressFull = "egress_full",
        /// The recipient's port was released while the delivery was in its egress ring or backlog.
        PortGone = "port_gone",
        /// The delivery was in a backlog when its worker stopped or ended otherwise.
        Stopped = "stopped",
        /// A room member had no credit for a room message, or a client had none for a notice.
        Credit = "credit_exhausted",
        /// The record refers to an out-of-line payload that does not exist. Only corruption can cause this.
        PayloadLost = "payload_lost",
        /// A room message was too large for a ring, and `payloads` out-of-line payloads were already waiting.
        PayloadsFull = "payloads_full",
    }
}

reasons! {
    /// Why a client could not join a room, or cannot leave it yet. Nothing has changed.
    RoomRefused {
        /// `max_rooms` rooms have members.
        TooManyRooms = "too_many_rooms",
        /// The room has `max_room_members` members.
        RoomFull = "room_full",
        /// The client is in `max_client_rooms` rooms.
        TooManyClientRooms = "too_many_client_rooms",
        /// Workers in the middle of a batch still read replaced member lists, and `room_retired_lists` or
        /// `room_retired_bytes` is reached.
        Busy = "lists_in_use",
    }
}

reasons! {
    /// Why the router asks the host to close a client.
    CloseReason {
        /// The client has run out of credit: it did not acknowledge enough of its deliveries.
        Credit = "credit_exhausted",
        /// A ring of the client's port is corrupt.
        Corrupt = "corrupt",
    }
}

/// Why a message has not reached its recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// It waited in the queue for longer than `max_queue_wait_ms`, or was held for longer than `hold_ms`.
    Expired,
    /// A worker could not deliver it.
    Failed(Failed),
    /// The port had accepted it, but no worker took it.
    Refused(Refused),
}

impl Loss {
    /// The name of the reason: `expired`, or the label of the reason in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Failed(reason) => reason.label(),
            Self::Refused(reason) => reason.label(),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.label())
    }
}

/// The router has stopped, and everything has been handed out: no event will come any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the router has stopped, and everything has been handed out: release the port")
    }
}

impl std::error::Error for Closed {}

impl From<Closed> for Error {
    fn from(_: Closed) -> Self {
        Self::Refused(Refused::Closed)
    }
}

/// An error of a call. The text says what is wrong and what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The port refused the message. The refusal is counted under this reason.
    Refused(Refused),
    /// A configuration value is not allowed.
    Config {
        /// The key, as in the configuration table.
        key: &'static str,
        /// The value that was given.
        value: String,
        /// The values that are allowed.
        allowed: String,
    },
    /// A client of this name is connected. Carries that client's handle.
    NameTaken(ClientId),
    /// The name is empty or longer than [`MAX_NAME_BYTES`]. Carries its length in bytes.
    NameLength(usize),
    /// `max_clients` clients are connected, or left so recently that their slots are still in use. Carries the limit.
    TooManyClients(u32),
    /// `max_ports` ports are open. Carries the limit.
    TooManyPorts(u32),
    /// The client is not connected.
    StaleClient,
    /// The client belongs to another port.
    WrongPort,
    /// The client belongs to another port. Only its own port can change its token.
    RebindElsewhere,
    /// The router or port is not in a state that allows the call. Carries the reason.
    State(&'static str),
    /// No protocol of this name is configured.
    UnknownProtocol(String),
    /// Every local worker has a port. Carries `local_workers`.
    TooManyLocalPorts(u32),
    /// A type of this protocol has a handler that may block, and the router has only local workers. Carries the
    /// protocol's name.
    MayBlock(String),
    /// A system call failed.
    System {
        /// The operating system's message.
        text: String,
        /// The error number (`errno`), or 0 if there is none.
        errno: i32,
    },
    /// The call's time-out ended before the work was done.
    Timeout,
    /// The call's time-out ended while a worker handled the message. The worker finishes the message; its result is
    /// discarded.
    TimeoutStarted,
    /// The call would dead-lock: a worker's own thread cannot wait for a worker. A thread that drives a local worker is
    /// such a thread.
    OwnThread,
    /// `max_calls` threads are already waiting for results on this port. Carries the limit.
    TooManyCalls(u32),
    /// `max_rooms` rooms have members. Carries the limit.
    TooManyRooms(u32),
    /// The room has `max_room_members` members. Carries the limit.
    RoomFull(u32),
    /// The client is in `max_client_rooms` rooms. Carries the limit.
    TooManyClientRooms(u32),
    /// Workers in the middle of a batch still read replaced member lists, and `room_retired_lists` or
    /// `room_retired_bytes` is reached. Retry.
    RoomsBusy,
    /// The room does not exist: it never did, or its last member has left.
    StaleRoom,
    /// The client is not a member of the room.
    NotAMember,
    /// The task is not one that this worker's host holds: it is unknown or already done.
    StaleTask,
    /// A handler does not match what the protocol lists.
    Handler {
        /// The protocol's name.
        protocol: String,
        /// The message type.
        message_type: String,
        /// What is wrong, and what to change.
        problem: &'static str,
    },
    /// A protocol description is not valid.
    Protocol {
        /// The protocol's name; empty if it has none.
        protocol: String,
        /// Which part is wrong, and what to change.
        problem: String,
    },
    /// An alert rule is not valid.
    Rule {
        /// The rule's name, cut to the longest name allowed.
        rule: String,
        /// What is wrong, and what to change.
        problem: String,
    },
    /// The history of this number of the report cannot be kept.
    Watch {
        /// The number's path.
        metric: String,
        /// What is wrong, and what to change.
        problem: String,
    },
    /// An alert rule of this name exists.
    RuleExists(String),
    /// No alert rule of this name exists.
    UnknownRule(String),
    /// The limit of alert rules is reached. Carries the limit.
    TooManyRules(u32),
    /// The limit of alert callbacks, or of alert polls, is reached. A removed callback counts until its running call
    /// has returned. Carries the limit.
    TooManyListeners(u32),
    /// A custom metric cannot be declared as given.
    Metric {
        /// The metric's name.
        name: String,
        /// What is wrong, and what to change.
        problem: &'static str,
    },
    /// The number of label values differs from the number of the metric's labels.
    MetricLabels {
        /// The metric's name.
        name: String,
        /// The number of labels that the metric has.
        wanted: u32,
        /// The number of values that were given.
        given: u32,
    },
    /// `max_custom_series` series or 256 families are declared. Carries the first limit.
    TooManyMetrics(u32),
    /// The router has stopped, except for this many workers: each was inside a handler that did not return in time.
    /// Their threads and memory are left behind.
    Stuck(u32),
}

impl Error {
    /// The code that the C ABI returns. Codes are never reused.
    pub const fn code(&self) -> i32 {
        match self {
            Self::Refused(Refused::Full) => -2,
            Self::Refused(Refused::TooLarge) => -12,
            Self::Refused(Refused::Stale) | Self::StaleClient => -14,
            Self::Refused(Refused::WrongPort) | Self::WrongPort => -11,
            Self::Refused(Refused::Closed | Refused::Draining) => -20,
            Self::Refused(Refused::Corrupt) => -29,
            Self::Refused(
                Refused::InFlight
                | Refused::RateLimited
                | Refused::Concurrency
                | Refused::PayloadsFull
                | Refused::TooManyCalls,
            ) => -16,
            Self::NameLength(_) | Self::RebindElsewhere => -11,
            Self::NameTaken(_) => -15,
            Self::TooManyClients(_) | Self::TooManyPorts(_) | Self::TooManyCalls(_) => -16,
            Self::TooManyLocalPorts(_) => -16,
            Self::State(_) => -17,
            Self::Timeout | Self::Stuck(_) => -19,
            Self::Handler { .. } | Self::MayBlock(_) => -25,
            Self::OwnThread => -21,
            Self::TimeoutStarted => -31,
            Self::UnknownProtocol(_) => -13,
            Self::TooManyRooms(_) | Self::RoomFull(_) | Self::TooManyClientRooms(_) | Self::RoomsBusy => -16,
            Self::StaleRoom | Self::StaleTask => -14,
            Self::NotAMember => -13,
            Self::Config { .. } | Self::Protocol { .. } => -25,
            Self::Rule { .. } | Self::Watch { .. } | Self::Metric { .. } | Self::MetricLabels { .. } => -11,
            Self::TooManyMetrics(_) => -16,
            Self::RuleExists(_) => -15,
            Self::UnknownRule(_) => -13,
            Self::TooManyRules(_) | Self::TooManyListeners(_) => -16,
            Self::System { .. } => -27,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(Refused::Full) => write!(formatter, "the ring is full: poll, then retry, or drop"),
            Self::Refused(Refused::TooLarge) => {
                write!(formatter, "the message is larger than max_message: send less, or raise max_message")
            }
            Self::Refused(Refused::InFlight) => {
                write!(
                    formatter,
                    "the client has max_in_flight messages in flight: wait for them, or raise max_in_flight"
                )
            }
            Self::Refused(Refused::RateLimited) => {
                write!(
                    formatter,
                    "the client sends too fast: drop the message, or raise client_rate or client_burst"
                )
            }
            Self::Refused(Refused::Concurrency) => {
                write!(
                    formatter,
                    "max_concurrent_messages are in flight: publish and poll, or raise max_concurrent_messages"
                )
            }
            Self::Refused(reason) => write!(formatter, "the message was refused: {reason}"),
            Self::Config { key, value, allowed } => {
                write!(formatter, "{key} = {value} is not valid; allowed: {allowed}")
            }
            Self::NameTaken(_) => {
                write!(formatter, "a client of this name is connected: disconnect that client first")
            }
            Self::NameLength(length) => {
                write!(formatter, "the name has {length} bytes; allowed: 1 to {}", MAX_NAME_BYTES)
            }
            Self::TooManyClients(limit) => {
                write!(formatter, "{limit} clients are connected or leaving: raise max_clients")
            }
            Self::TooManyPorts(limit) => {
                write!(formatter, "{limit} ports are open: raise max_ports, or share ports")
            }
            Self::StaleClient => write!(formatter, "the client is not connected"),
            Self::WrongPort => write!(formatter, "the client belongs to another port"),
            Self::RebindElsewhere => write!(
                formatter,
                "the client belongs to another port: disconnect it there, then connect it through this one"
            ),
            Self::State(text) => formatter.write_str(text),
            Self::UnknownProtocol(name) => {
                write!(formatter, "no protocol named {name:?} is configured: configure it first")
            }
            Self::TooManyLocalPorts(limit) => {
                write!(formatter, "{limit} local ports are open, one per local worker: raise local_workers")
            }
            Self::MayBlock(name) => write!(
                formatter,
                "a handler of protocol {name:?} may block, and every worker is local: register it with \
                 Builder::short_handler, or raise workers"
            ),
            Self::System { text, .. } => write!(formatter, "a system call failed: {text}"),
            Self::Timeout => write!(formatter, "the time-out ended before the work was done"),
            Self::TimeoutStarted => {
                write!(
                    formatter,
                    "the time-out ended while a worker handles the message: do not send it again"
                )
            }
            Self::OwnThread => {
                write!(
                    formatter,
                    "the call would dead-lock on a worker's own thread: make it on another thread; to send, use submit"
                )
            }
            Self::TooManyCalls(limit) => {
                write!(formatter, "{limit} threads wait for results on this port: raise max_calls")
            }
            Self::TooManyRooms(limit) => write!(formatter, "{limit} rooms have members: raise max_rooms"),
            Self::RoomFull(limit) => {
                write!(formatter, "the room has {limit} members: raise max_room_members")
            }
            Self::TooManyClientRooms(limit) => {
                write!(formatter, "the client is in {limit} rooms: leave one, or raise max_client_rooms")
            }
            Self::RoomsBusy => write!(
                formatter,
                "workers still read replaced member lists: retry after the next poll, or raise \
                 room_retired_lists and room_retired_bytes"
            ),
            Self::StaleRoom => {
                write!(formatter, "the room does not exist: its last member has left, or it never existed")
            }
            Self::NotAMember => write!(formatter, "the client is not a member of the room: join it first"),
            Self::StaleTask => {
                write!(formatter, "this worker's host does not hold the task: it is unknown or already done")
            }
            Self::Handler { protocol, message_type, problem } => {
                write!(formatter, "the handler for {protocol:?} {message_type:?}: {problem}")
            }
            Self::Metric { name, problem } => write!(formatter, "the metric {name:?}: {problem}"),
            Self::MetricLabels { name, wanted, given } => {
                write!(formatter, "the metric {name:?} has {wanted} labels, but {given} values were given")
            }
            Self::TooManyMetrics(limit) => {
                write!(
                    formatter,
                    "{limit} series or 256 families are declared: raise max_custom_series, or declare fewer"
                )
            }
            Self::Protocol { protocol, problem } if protocol.is_empty() => {
                write!(formatter, "the protocol: {problem}")
            }
            Self::Protocol { protocol, problem } => {
                write!(formatter, "the protocol {protocol:?}: {problem}")
            }
            Self::Rule { rule, problem } => write!(formatter, "the alert rule {rule:?}: {problem}"),
            Self::Watch { metric, problem } => write!(formatter, "the figure {metric:?}: {problem}"),
            Self::RuleExists(rule) => {
                write!(formatter, "an alert rule {rule:?} exists: remove it first, or choose another name")
            }
            Self::UnknownRule(rule) => write!(formatter, "no alert rule {rule:?} exists: add it first"),
            Self::TooManyRules(limit) => {
                write!(formatter, "at most {limit} alert rules: remove one first")
            }
            Self::TooManyListeners(limit) => {
                write!(
                    formatter,
                    "at most {limit} alert listeners: remove one, or fan out in your own callback"
                )
            }
            Self::Stuck(workers) => {
                write!(
                    formatter,
                    "{workers} workers are left behind in handlers that did not return: make the handlers return, \
                     or raise stop_timeout_ms"
                )
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::System { text: error.to_string(), errno: error.raw_os_error().unwrap_or(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_number_themselves_and_names_are_unique() {
        for (number, reason) in Failed::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, number);
        }
        let names: std::collections::HashSet<_> = Failed::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(names.len(), Failed::COUNT);
        assert_eq!(Undeliverable::COUNT, 7);
    }
}
