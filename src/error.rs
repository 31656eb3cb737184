//! Errors of calls, with stable codes, and the closed lists of reasons why a message was refused, failed, or a
//! delivery could not be made. Counters, exports and the C ABI all use these names.

use crate::id::{ClientId, MAX_NAME_BYTES};
use std::fmt;

/// A list of reasons: an enum with a number, a name and a text each, so that counters can be arrays.
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
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name that metrics carry.
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
    /// Why a message was not accepted. Nothing of it has entered the router.
    Refused {
        /// The ring to the client's worker is full. Retry after the next poll, or drop.
        Full = "ring_full",
        /// The router is stopping or stopped, or its worker closed the ring before taking the message.
        Closed = "closed",
        /// The router drains; what it has is finished, nothing new is taken.
        Draining = "draining",
        /// The client is not connected, or no longer.
        Stale = "stale_client",
        /// The client belongs to another port.
        WrongPort = "wrong_port",
        /// Larger than `max_message`.
        TooLarge = "too_large",
        /// The ring holds what no one could have written; the port is of no further use.
        Corrupt = "corrupt",
        /// `max_in_flight` of the client's messages have not ended yet.
        InFlight = "in_flight_limit",
        /// The client sends faster than `client_rate` and `client_burst` allow.
        RateLimited = "rate_limited",
        /// `max_concurrent_messages` are in flight in the whole router.
        Concurrency = "concurrency_limit",
        /// Too large for a ring, or given away, and as many payloads outside rings wait as `payloads` and `payload_bytes`
        /// allow.
        PayloadsFull = "payloads_full",
        /// As many callers wait for results on this port as `max_calls` allows.
        TooManyCalls = "too_many_calls",
    }
}

reasons! {
    /// Why an accepted message ended without being delivered.
    Failed {
        /// The message has no bytes.
        Empty = "empty",
        /// Not UTF-8.
        NotUtf8 = "not_utf8",
        /// Not JSON, or something follows it.
        NotJson = "not_json",
        /// JSON, but not an object.
        NotAnObject = "not_an_object",
        /// Nested too deeply.
        TooDeep = "too_deep",
        /// A field that the protocol uses stands twice.
        DuplicateField = "duplicate_field",
        /// A field that the protocol uses has the wrong type.
        WrongType = "wrong_type",
        /// No type.
        MissingType = "missing_type",
        /// A type that the protocol does not know.
        UnknownType = "unknown_type",
        /// A field that the protocol uses, or a recipient's name, is longer than it can be.
        NameTooLong = "field_too_long",
        /// A key that some readers would take for the sender's.
        AmbiguousSender = "ambiguous_sender",
        /// A message that needs a recipient names none.
        NoRecipient = "no_recipient",
        /// The recipient is not connected, and this type is not held.
        UnknownRecipient = "unknown_recipient",
        /// The recipient is not connected, and no more can be held for it, for this sender, or here.
        HoldFull = "hold_full",
        /// The recipient is being closed.
        RecipientClosed = "recipient_closed",
        /// The recipient has not acknowledged what it was given; its credit policy says what follows.
        Credit = "credit_exhausted",
        /// The way to the recipient's port is full, its backlog included.
        EgressFull = "egress_full",
        /// The recipient's port is gone.
        PortGone = "port_gone",
        /// Once relayed it would be too large for the recipient's ring.
        TooLarge = "too_large",
        /// The record names a client that does not belong to its port.
        StaleClient = "stale_client",
        /// The record is not one that a host may write.
        BadRecord = "bad_record",
        /// Held when the router stopped.
        Stopped = "stopped",
        /// No room of that name has a member.
        UnknownRoom = "unknown_room",
        /// The sender is not a member of the room that it sends to.
        NotAMember = "not_a_member",
        /// Its handler said so.
        Handler = "handler_failed",
        /// Its handler panicked.
        Panicked = "handler_panicked",
        /// Its worker was inside a handler that a stop did not wait for any longer.
        Stuck = "stuck",
        /// Too large for a ring, and as many payloads outside rings wait as `payloads` and `payload_bytes` allow.
        PayloadsFull = "payloads_full",
        /// Its host, which handled it itself, says so.
        Reported = "reported",
        /// The client has written where the server puts the sender.
        ForgedSender = "forged_sender",
        /// Its worker ended before it was handled: its thread panicked, or its host dropped it.
        WorkerLost = "worker_lost",
    }
}

reasons! {
    /// Why what was handed out will never be acknowledged as written. Whether it was written nobody knows.
    Unacknowledged {
        /// Its client's connection is closed.
        Closed = "closed",
        /// Its port was released.
        PortGone = "port_gone",
    }
}

reasons! {
    /// Why the fallback took a message over: the host's own route has handled it, and it has left the order.
    TakenOver {
        /// `enable_concurrent_routing` is off.
        Disabled = "disabled",
        /// The ring to the client's worker was full.
        Full = "ring_full",
        /// The router was stopping or stopped, drained, or the ring was of no use any more.
        Closed = "closed",
        /// It had waited longer than `max_queue_wait_ms`.
        Expired = "expired",
        /// Its caller's time was over before a worker started it.
        TimedOut = "timed_out",
        /// As many callers waited for results on this port as `max_calls` allows.
        TooManyCalls = "too_many_calls",
    }
}

reasons! {
    /// Why a delivery was not handed out. Counted in recipients.
    Undeliverable {
        /// Its recipient had been closed before.
        Closed = "closed",
        /// Ring and backlog of the recipient's port were full.
        EgressFull = "egress_full",
        /// The recipient's port was released with the delivery in its ring or backlog.
        PortGone = "port_gone",
        /// In a backlog when its worker stopped, or ended otherwise.
        Stopped = "stopped",
        /// A room's member had no credit for the room's message, or a client none for a notice.
        Credit = "credit_exhausted",
        /// The record stands for a payload that is not there: only corruption can have written it.
        PayloadLost = "payload_lost",
        /// A room's message, too large for a ring, when as many payloads outside rings waited as `payloads` allows.
        PayloadsFull = "payloads_full",
    }
}

reasons! {
    /// Why a room was not joined, or not left yet. Nothing has changed.
    RoomRefused {
        /// `max_rooms` rooms have members.
        TooManyRooms = "too_many_rooms",
        /// The room has `max_room_members` members.
        RoomFull = "room_full",
        /// The client is in `max_client_rooms` rooms.
        TooManyClientRooms = "too_many_client_rooms",
        /// As many replaced member lists as allowed are still being read by workers in the middle of a batch.
        Busy = "lists_in_use",
    }
}

reasons! {
    /// Why the router asks a host to close a client.
    CloseReason {
        /// It has not acknowledged what it was given: more is outstanding than its credit allows.
        Credit = "credit_exhausted",
        /// Its port's ring was corrupt.
        Corrupt = "corrupt",
    }
}

/// What a call can fail with. The texts say what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The message was refused; it is counted under this reason.
    Refused(Refused),
    /// A configuration value is wrong: the key, the value, and what is allowed.
    Config {
        /// The key as in the configuration table.
        key: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// The name is connected; its present client is given.
    NameTaken(ClientId),
    /// The name is empty or longer than [`MAX_NAME_BYTES`].
    NameLength(usize),
    /// `max_clients` are connected, or have left so recently that their slots are still in use.
    TooManyClients(u32),
    /// `max_ports` ports are open.
    TooManyPorts(u32),
    /// The client is not connected, or no longer, or was never.
    StaleClient,
    /// The client belongs to another port.
    WrongPort,
    /// The client belongs to another port, and a token is given by its own.
    RebindElsewhere,
    /// The router is not in a state for this call.
    State(&'static str),
    /// The application or protocol label is unknown, and the budget for new ones is used up.
    UnknownProtocol(String),
    /// The operating system refused something.
    System {
        /// What it says.
        text: String,
        /// Its error number, 0 where there is none.
        errno: i32,
    },
    /// Not done in the time given.
    Timeout,
    /// The time was over while a worker handled the message: it ends there, and its result is not waited for.
    TimeoutStarted,
    /// A worker's own thread must not wait for a worker.
    OwnThread,
    /// As many threads wait for results on this port as `max_calls` allows.
    TooManyCalls(u32),
    /// `max_rooms` rooms have members.
    TooManyRooms(u32),
    /// The room has `max_room_members` members.
    RoomFull(u32),
    /// The client is in `max_client_rooms` rooms.
    TooManyClientRooms(u32),
    /// Workers in the middle of a batch still read as many replaced member lists as may be kept for them.
    RoomsBusy,
    /// The room is gone with its last member, or never was.
    StaleRoom,
    /// The client is not a member of the room.
    NotAMember,
    /// The message is not handed out to this worker's host, or not any more.
    StaleTask,
    /// A handler does not fit what the protocol lists.
    Handler {
        /// The protocol's name.
        protocol: String,
        /// The message type.
        message_type: String,
        /// What is wrong, and what to change.
        problem: &'static str,
    },
    /// The description of a protocol is wrong.
    Protocol {
        /// Its name, if it has one.
        protocol: String,
        /// Which part is wrong, and what to change.
        problem: String,
    },
    /// An alert rule is wrong.
    Rule {
        /// Its name, as far as a name may go.
        rule: String,
        /// What is wrong, and what to change.
        problem: &'static str,
    },
    /// There is an alert rule of that name.
    RuleExists(String),
    /// There is no alert rule of that name.
    UnknownRule(String),
    /// As many alert rules as there can be.
    TooManyRules(u32),
    /// As many alert callbacks, or polls, as there can be; callbacks that were removed and have not returned count.
    TooManyListeners(u32),
    /// A metric of the host's own cannot be declared so.
    Metric {
        /// Its name.
        name: String,
        /// What is wrong, and what to change.
        problem: &'static str,
    },
    /// Another number of label values than the metric has labels.
    MetricLabels {
        /// The metric.
        name: String,
        /// Labels.
        wanted: u32,
        /// Values.
        given: u32,
    },
    /// `max_custom_series` series, or 256 families, are declared.
    TooManyMetrics(u32),
    /// The router has stopped without so many of its workers: each was inside a handler that did not return in time.
    /// Its thread and its memory are left behind.
    Stuck(u32),
}

impl Error {
    /// The code that the C ABI returns; never reused.
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
            Self::State(_) => -17,
            Self::Timeout | Self::Stuck(_) => -19,
            Self::Handler { .. } => -25,
            Self::OwnThread => -21,
            Self::TimeoutStarted => -31,
            Self::UnknownProtocol(_) => -13,
            Self::TooManyRooms(_) | Self::RoomFull(_) | Self::TooManyClientRooms(_) | Self::RoomsBusy => -16,
            Self::StaleRoom | Self::StaleTask => -14,
            Self::NotAMember => -13,
            Self::Config { .. } | Self::Protocol { .. } => -25,
            Self::Rule { .. } | Self::Metric { .. } | Self::MetricLabels { .. } => -11,
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
                    "the client has max_in_flight messages in flight: wait for them, or raise it"
                )
            }
            Self::Refused(Refused::RateLimited) => {
                write!(
                    formatter,
                    "the client sends too fast: drop the message, or raise client_rate or client_burst"
                )
            }
            Self::Refused(Refused::Concurrency) => {
                write!(formatter, "max_concurrent_messages are in flight: publish and poll, or raise it")
            }
            Self::Refused(reason) => write!(formatter, "refused: {reason}"),
            Self::Config { key, value, allowed } => {
                write!(formatter, "{key} = {value} is not possible; allowed: {allowed}")
            }
            Self::NameTaken(_) => write!(formatter, "the name is connected: disconnect that client first"),
            Self::NameLength(length) => {
                write!(formatter, "a name of {length} bytes; allowed: 1 to {}", MAX_NAME_BYTES)
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
            Self::UnknownProtocol(name) => write!(formatter, "no protocol is called {name:?}: configure it"),
            Self::System { text, .. } => write!(formatter, "the operating system refused: {text}"),
            Self::Timeout => write!(formatter, "not done in the time given"),
            Self::TimeoutStarted => {
                write!(
                    formatter,
                    "the time is over and a worker is handling the message: do not send it again"
                )
            }
            Self::OwnThread => {
                write!(formatter, "called on a worker's thread, which it would wait for: submit instead")
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
                "workers still read the member lists that were replaced: retry after the next poll, or raise \
                 room_retired_lists and room_retired_bytes"
            ),
            Self::StaleRoom => write!(formatter, "the room is gone: it went with its last member"),
            Self::NotAMember => write!(formatter, "the client is not a member of the room: join it first"),
            Self::StaleTask => {
                write!(formatter, "the message is not handed out by this worker, or is done already")
            }
            Self::Handler { protocol, message_type, problem } => {
                write!(formatter, "the handler of {protocol:?} {message_type:?}: {problem}")
            }
            Self::Metric { name, problem } => write!(formatter, "the metric {name:?}: {problem}"),
            Self::MetricLabels { name, wanted, given } => {
                write!(formatter, "the metric {name:?} has {wanted} labels, and {given} values were given")
            }
            Self::TooManyMetrics(limit) => {
                write!(
                    formatter,
                    "{limit} series or 256 families are declared: raise max_custom_series, or declare fewer"
                )
            }
            Self::Protocol { protocol, problem } => {
                write!(formatter, "the protocol {protocol:?}: {problem}")
            }
            Self::Rule { rule, problem } => write!(formatter, "the alert rule {rule:?}: {problem}"),
            Self::RuleExists(rule) => {
                write!(formatter, "there is an alert rule {rule:?}: remove it first, or choose another name")
            }
            Self::UnknownRule(rule) => write!(formatter, "there is no alert rule {rule:?}: add it first"),
            Self::TooManyRules(limit) => write!(formatter, "{limit} alert rules: remove one first"),
            Self::TooManyListeners(limit) => {
                write!(
                    formatter,
                    "{limit} listen to alerts in this way: remove one first, or tell several from one"
                )
            }
            Self::Stuck(workers) => {
                write!(
                    formatter,
                    "{workers} workers were left behind inside handlers that did not return: make them return, or \
                     raise stop_timeout_ms"
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
