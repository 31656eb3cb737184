//! The closed lists of reasons: why a port refused a message, why a message failed, why a delivery was not handed out,
//! and so on. Counters, exports and the C interface use these names. `docs/reasons.md` lists them all.

use std::fmt;

/// Declares a list of reasons: an enum whose variants have a number, a name and a meaning. The numbers index arrays of
/// counters. A reason that is also the error of a call has a text that says what to change.
macro_rules! reasons {
    ($(#[$about:meta])* $name:ident {
        $($(#[doc = $meaning:literal])+ $variant:ident = $label:literal $(=> $advice:literal)?,)+
    }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum $name { $($(#[doc = $meaning])+ $variant,)+ }

        impl $name {
            /// Every reason, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// The number of reasons.
            pub const COUNT: usize = Self::ALL.len();

            /// The name used in metrics: the variant's name in snake case.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// What the reason means, as in `docs/reasons.md`.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($meaning),+),)+ }.trim_start()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(match self { $(Self::$variant => first!($($advice,)? $label),)+ })
            }
        }
    };
}

/// The first of its arguments.
macro_rules! first {
    ($first:literal $(, $other:literal)*) => {
        $first
    };
}

reasons! {
    /// Why a port refuses a message: the error of `submit` and `send`, and the reason under which the refusal is counted.
    /// The router has kept nothing of a refused message.
    SubmitError {
        /// The ingress ring to the client's worker is full. Retry after the next poll, or drop the message.
        RingFull = "ring_full" =>
            "the ring to the worker is full: poll, then retry the message, or drop it",
        /// The router is stopping or stopped, or the worker closed the ingress ring before it took the message.
        Closed = "closed" =>
            "the router has stopped, or the port's worker or poller has ended: submit nothing more, and poll the rest",
        /// The router is draining: it finishes accepted messages and accepts no new ones.
        Draining = "draining" =>
            "the router is draining: submit nothing more, and poll the rest",
        /// The client is not connected.
        StaleClient = "stale_client" =>
            "the client is not connected: connect it first",
        /// The client belongs to another port.
        WrongPort = "wrong_port" =>
            "the client belongs to another port: submit on that port",
        /// The message is larger than `max_message`, or too large for a ring.
        TooLarge = "too_large" =>
            "the message is larger than max_message, or too large for a ring: send less, or raise max_message",
        /// The ingress ring is corrupt: it holds values that no correct host or worker writes. The port cannot be
        /// used further.
        Corrupt = "corrupt" =>
            "the ring is corrupt, because other code has overwritten it: drop the port and open another one",
        /// The client has `max_in_flight` messages that have no outcome yet.
        InFlightLimit = "in_flight_limit" =>
            "the client has max_in_flight messages in flight: wait for them, or raise max_in_flight",
        /// The client sends faster than `client_rate` and `client_burst` allow.
        RateLimited = "rate_limited" =>
            "the client sends too fast: drop the message, or raise client_rate or client_burst",
        /// The router has `max_concurrent_messages` messages in flight.
        ConcurrencyLimit = "concurrency_limit" =>
            "max_concurrent_messages are in flight: publish and poll, or raise max_concurrent_messages",
        /// The message needs an out-of-line payload, and `payloads` or `payload_bytes` is reached. A message needs
        /// one if it is too large for a ring, or if the host gave its bytes away.
        PayloadsFull = "payloads_full" =>
            "no room for an out-of-line payload: publish and poll, or raise payloads or payload_bytes",
        /// `max_calls` callers are already waiting for results on this port.
        TooManyCalls = "too_many_calls" =>
            "max_calls callers wait for results on this port: wait for them, or raise max_calls",
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
        FieldTooLong = "field_too_long",
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
        CreditExhausted = "credit_exhausted",
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
        HandlerFailed = "handler_failed",
        /// The handler panicked, or the value that the host gave away as the message did.
        HandlerPanicked = "handler_panicked",
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
        /// The recipient is on another machine, and too many messages to that machine are not acknowledged yet, of all
        /// senders or of this one.
        LinkFull = "link_full",
        /// The recipient is on another machine, and the link to it is down. The message's type is not held.
        LinkDown = "link_down",
        /// The link to the recipient's machine was lost before that machine acknowledged the message. It may have been
        /// delivered.
        LinkLost = "link_lost",
        /// The recipient has moved to another machine, and its old one has not acknowledged earlier messages: not within a
        /// second, or the message's type is not held.
        Moved = "moved",
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
        /// The client's connection is closed, because the same client has connected again: here or, in a cluster, to another
        /// machine.
        Replaced = "replaced",
    }
}

reasons! {
    /// Why a message was taken over: the base route handled it, outside the order of the client's other messages.
    TakenOver {
        /// `enable_concurrent_routing` is off.
        Disabled = "disabled",
        /// The ingress ring to the client's worker was full.
        RingFull = "ring_full",
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
        /// The recipient had no credit left: for a relayed message, a send, a room's message or a notice.
        CreditExhausted = "credit_exhausted",
        /// The record refers to an out-of-line payload that does not exist. Only corruption can cause this.
        PayloadLost = "payload_lost",
        /// A room message was too large for a ring, and `payloads` out-of-line payloads were already waiting.
        PayloadsFull = "payloads_full",
        /// A room message for the members on another machine found its link full or down.
        Link = "link",
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
        ListsInUse = "lists_in_use",
    }
}

reasons! {
    /// Why the router asks the host to close a client.
    CloseReason {
        /// The client has run out of credit: it did not acknowledge enough of its deliveries.
        CreditExhausted = "credit_exhausted",
        /// A ring of the client's port is corrupt.
        Corrupt = "corrupt",
    }
}

impl std::error::Error for SubmitError {}

impl SubmitError {
    /// Whether the same message may be accepted later, once messages under way have ended.
    pub(crate) const fn is_full(self) -> bool {
        matches!(self, Self::RingFull | Self::InFlightLimit | Self::ConcurrencyLimit | Self::PayloadsFull)
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
    Refused(SubmitError),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    /// `CamelCase` in snake case.
    fn snake(name: &str) -> String {
        let mut snake = String::new();
        for letter in name.chars() {
            if letter.is_uppercase() && !snake.is_empty() {
                snake.push('_');
            }
            snake.extend(letter.to_lowercase());
        }
        snake
    }

    /// The labels of one list, with their variants and numbers.
    fn check<R: Copy + Debug>(all: &[R], number: impl Fn(R) -> usize, label: impl Fn(R) -> &'static str) {
        for (place, reason) in all.iter().enumerate() {
            assert_eq!(number(*reason), place);
            assert_eq!(label(*reason), snake(&format!("{reason:?}")));
        }
    }

    #[test]
    fn variants_have_the_names_of_their_labels() {
        macro_rules! check_all {
            ($($name:ident)+) => { $(check($name::ALL, |reason| reason as usize, $name::label);)+ };
        }
        check_all!(SubmitError Failed Unacknowledged TakenOver Undeliverable RoomRefused CloseReason);
    }

    #[test]
    fn an_error_says_what_to_do_and_a_reason_its_label() {
        for reason in SubmitError::ALL {
            assert!(reason.to_string().contains(": "), "{reason}");
        }
        assert_eq!(Failed::CreditExhausted.to_string(), "credit_exhausted");
        assert_eq!(CloseReason::Corrupt.meaning(), "A ring of the client's port is corrupt.");
    }
}
