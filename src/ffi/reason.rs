//! The numbers of reasons in C. A number is fixed for good; the names are the labels of docs/reasons.md.

use super::guard::Failure;
use crate::error::{CloseReason, Failed, Loss};
use std::ffi::{CStr, c_char};
use std::sync::LazyLock;

/// Why a message was not delivered, or why a client must be closed. New reasons may be added: treat an unknown one as an
/// unspecified reason.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorelaneReason {
    /// No reason.
    None = 0,
    /// The message waited in the queue for longer than `max_queue_wait_ms`, or was held for longer than
    /// `hold_ms`.
    Expired = 1,
    /// The recipient, or the client to close, has used up its credit: it has not acknowledged its deliveries.
    CreditExhausted = 2,
    /// A ring of the client's port contains values that neither end can have written.
    Corrupt = 3,
    /// The ingress ring to the client's worker is full. Retry after the next poll, or drop the message.
    RingFull = 4,
    /// The router is stopping or stopped, or the worker closed the ingress ring before it took the message.
    Closed = 5,
    /// The router is draining: it finishes accepted messages and accepts no new ones.
    Draining = 6,
    /// The client is not connected, or does not belong to the port.
    StaleClient = 7,
    /// The client belongs to another port.
    WrongPort = 8,
    /// The message is larger than `max_message`, or too large for a ring.
    TooLarge = 9,
    /// The client has `max_in_flight` messages that have no outcome yet.
    InFlightLimit = 10,
    /// The client sends faster than `client_rate` and `client_burst` allow.
    RateLimited = 11,
    /// The router has `max_concurrent_messages` messages in flight.
    ConcurrencyLimit = 12,
    /// The message is too large for a ring, and `payloads` or `payload_bytes` is reached.
    PayloadsFull = 13,
    /// `max_calls` callers are already waiting for results on this port.
    TooManyCalls = 14,
    /// The message has no bytes.
    Empty = 15,
    /// The message is not UTF-8.
    NotUtf8 = 16,
    /// The message is not JSON, or bytes follow the JSON value.
    NotJson = 17,
    /// The message is JSON, but not an object.
    NotAnObject = 18,
    /// The JSON is nested too deeply.
    TooDeep = 19,
    /// The message contains a field of the protocol twice.
    DuplicateField = 20,
    /// A field of the protocol has the wrong JSON type.
    WrongType = 21,
    /// The message has no type.
    MissingType = 22,
    /// The protocol does not list the message type.
    UnknownType = 23,
    /// A field of the protocol, or the recipient's name, is longer than the limit.
    FieldTooLong = 24,
    /// The message contains a key that some readers could mistake for the sender key.
    AmbiguousSender = 25,
    /// The message needs a recipient and names none.
    NoRecipient = 26,
    /// The recipient is not connected, and messages of this type are not held.
    UnknownRecipient = 27,
    /// The recipient is not connected, and a hold limit is reached: of the recipient's name, of the sender, or
    /// of the worker.
    HoldFull = 28,
    /// The recipient is closing.
    RecipientClosed = 29,
    /// The egress ring to the recipient's port and the backlog behind it are full.
    EgressFull = 30,
    /// The recipient's port has been released.
    PortGone = 31,
    /// The record is not one that a host may write.
    BadRecord = 32,
    /// The router stopped while it held the message.
    Stopped = 33,
    /// No room of that name has members.
    UnknownRoom = 34,
    /// The sender is not a member of the room.
    NotAMember = 35,
    /// The handler returned a failure.
    HandlerFailed = 36,
    /// The handler panicked, or the value that the host gave away as the message did.
    HandlerPanicked = 37,
    /// The worker was still inside a handler when the stop time-out ended.
    Stuck = 38,
    /// The host handled the message itself and recorded it as failed.
    Reported = 39,
    /// The client set a field that only the server may set: the sender.
    ForgedSender = 40,
    /// The worker ended before it handled the message: the worker's thread panicked, or the host dropped the
    /// worker.
    WorkerLost = 41,
    /// The recipient is on another machine, and too many messages to that machine are not acknowledged yet.
    LinkFull = 42,
    /// The recipient is on another machine, and the link to it is down.
    LinkDown = 43,
    /// The link to the recipient's machine was lost before that machine acknowledged the message.
    LinkLost = 44,
    /// The recipient has moved to another machine, and earlier messages to its old one are not acknowledged yet.
    Moved = 45,
}

impl CorelaneReason {
    /// Every reason.
    const ALL: [Self; 46] = [
        Self::None,
        Self::Expired,
        Self::CreditExhausted,
        Self::Corrupt,
        Self::RingFull,
        Self::Closed,
        Self::Draining,
        Self::StaleClient,
        Self::WrongPort,
        Self::TooLarge,
        Self::InFlightLimit,
        Self::RateLimited,
        Self::ConcurrencyLimit,
        Self::PayloadsFull,
        Self::TooManyCalls,
        Self::Empty,
        Self::NotUtf8,
        Self::NotJson,
        Self::NotAnObject,
        Self::TooDeep,
        Self::DuplicateField,
        Self::WrongType,
        Self::MissingType,
        Self::UnknownType,
        Self::FieldTooLong,
        Self::AmbiguousSender,
        Self::NoRecipient,
        Self::UnknownRecipient,
        Self::HoldFull,
        Self::RecipientClosed,
        Self::EgressFull,
        Self::PortGone,
        Self::BadRecord,
        Self::Stopped,
        Self::UnknownRoom,
        Self::NotAMember,
        Self::HandlerFailed,
        Self::HandlerPanicked,
        Self::Stuck,
        Self::Reported,
        Self::ForgedSender,
        Self::WorkerLost,
        Self::LinkFull,
        Self::LinkDown,
        Self::LinkLost,
        Self::Moved,
    ];

    const fn name(self) -> &'static CStr {
        match self {
            Self::None => c"none",
            Self::Expired => c"expired",
            Self::CreditExhausted => c"credit_exhausted",
            Self::Corrupt => c"corrupt",
            Self::RingFull => c"ring_full",
            Self::Closed => c"closed",
            Self::Draining => c"draining",
            Self::StaleClient => c"stale_client",
            Self::WrongPort => c"wrong_port",
            Self::TooLarge => c"too_large",
            Self::InFlightLimit => c"in_flight_limit",
            Self::RateLimited => c"rate_limited",
            Self::ConcurrencyLimit => c"concurrency_limit",
            Self::PayloadsFull => c"payloads_full",
            Self::TooManyCalls => c"too_many_calls",
            Self::Empty => c"empty",
            Self::NotUtf8 => c"not_utf8",
            Self::NotJson => c"not_json",
            Self::NotAnObject => c"not_an_object",
            Self::TooDeep => c"too_deep",
            Self::DuplicateField => c"duplicate_field",
            Self::WrongType => c"wrong_type",
            Self::MissingType => c"missing_type",
            Self::UnknownType => c"unknown_type",
            Self::FieldTooLong => c"field_too_long",
            Self::AmbiguousSender => c"ambiguous_sender",
            Self::NoRecipient => c"no_recipient",
            Self::UnknownRecipient => c"unknown_recipient",
            Self::HoldFull => c"hold_full",
            Self::RecipientClosed => c"recipient_closed",
            Self::EgressFull => c"egress_full",
            Self::PortGone => c"port_gone",
            Self::BadRecord => c"bad_record",
            Self::Stopped => c"stopped",
            Self::UnknownRoom => c"unknown_room",
            Self::NotAMember => c"not_a_member",
            Self::HandlerFailed => c"handler_failed",
            Self::HandlerPanicked => c"handler_panicked",
            Self::Stuck => c"stuck",
            Self::Reported => c"reported",
            Self::ForgedSender => c"forged_sender",
            Self::WorkerLost => c"worker_lost",
            Self::LinkFull => c"link_full",
            Self::LinkDown => c"link_down",
            Self::LinkLost => c"link_lost",
            Self::Moved => c"moved",
        }
    }

    /// The label of a number.
    pub(super) fn label_of(number: u32) -> Option<&'static str> {
        let known = Self::ALL.into_iter().find(|one| *one as u32 == number)?;
        known.name().to_str().ok()
    }

    /// The reason with this label. `None` for a label without a number, which a test rules out.
    fn of_label(label: &str) -> Self {
        let found = Self::ALL.into_iter().find(|one| one.name().to_bytes() == label.as_bytes());
        debug_assert!(found.is_some(), "{label} has no number");
        found.unwrap_or(Self::None)
    }
}

/// The reason of a message that the host has recorded. `None` for CORELANE_REASON_NONE.
pub(super) fn recorded_reason(number: u32) -> Result<Option<Loss>, Failure> {
    /// By number.
    static LOSSES: LazyLock<[Option<Loss>; CorelaneReason::ALL.len()]> = LazyLock::new(|| {
        CorelaneReason::ALL.map(|reason| {
            let failed = Failed::ALL.iter().find(|one| one.label().as_bytes() == reason.name().to_bytes());
            let expired = (reason == CorelaneReason::Expired).then_some(Loss::Expired);
            failed.copied().map(Loss::Failed).or(expired)
        })
    });
    if number == CorelaneReason::None as u32 {
        return Ok(None);
    }
    match LOSSES.get(number as usize) {
        Some(Some(loss)) => Ok(Some(*loss)),
        _ => Err(Failure::invalid(format!(
            "reason {number} is not one with which a handled message ends: use CORELANE_REASON_REPORTED"
        ))),
    }
}

impl From<Loss> for CorelaneReason {
    fn from(reason: Loss) -> Self {
        Self::of_label(reason.label())
    }
}

impl From<Failed> for CorelaneReason {
    fn from(reason: Failed) -> Self {
        Self::of_label(reason.label())
    }
}

impl From<CloseReason> for CorelaneReason {
    fn from(reason: CloseReason) -> Self {
        Self::of_label(reason.label())
    }
}

/// Returns the name of a CORELANE_REASON_ number, such as "unknown_recipient": a static text, never NULL. Metrics and
/// reports use the same names.
///
/// Any thread. Never fails, never blocks.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_reason_name(reason: u32) -> *const c_char {
    let known = CorelaneReason::ALL.into_iter().find(|one| *one as u32 == reason);
    known.map_or(c"unknown", CorelaneReason::name).as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SubmitError;

    #[test]
    fn a_recorded_message_ends_with_the_reasons_of_handled_messages() {
        assert!(matches!(recorded_reason(0), Ok(None)));
        let accepted =
            CorelaneReason::ALL.into_iter().filter(|one| matches!(recorded_reason(*one as u32), Ok(Some(_))));
        let accepted: Vec<_> = accepted.map(|one| one.name().to_bytes()).collect();
        let mut wanted: Vec<_> =
            Failed::ALL.iter().map(|one| one.label().as_bytes()).chain([&b"expired"[..]]).collect();
        wanted.sort_by_key(|label| {
            CorelaneReason::ALL.into_iter().position(|one| one.name().to_bytes() == *label)
        });
        assert_eq!(accepted, wanted);
        for refused in [CorelaneReason::RingFull as u32, CorelaneReason::ALL.len() as u32, u32::MAX] {
            let told = recorded_reason(refused).unwrap_err();
            assert_eq!(told.code(), crate::ffi::CorelaneStatus::Invalid as i32);
        }
    }

    #[test]
    fn every_reason_has_a_number() {
        let labels = Failed::ALL.iter().map(|one| one.label());
        let labels = labels.chain(SubmitError::ALL.iter().map(|one| one.label()));
        let labels = labels.chain(CloseReason::ALL.iter().map(|one| one.label()));
        for label in labels.chain(["expired"]) {
            let reason = CorelaneReason::of_label(label);
            // SAFETY: the call has no requirements, and the text is static.
            let name = unsafe { CStr::from_ptr(corelane_reason_name(reason as u32)) };
            assert_eq!(name.to_str(), Ok(label));
        }
        for (number, reason) in CorelaneReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
        }
    }
}
