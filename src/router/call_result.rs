//! The result of a synchronous call, as the number in its call slot. `worker/message_end` and `settle` write
//! it, `port/route` reads it; `worker/dispatch`, `worker/driven` and `worker/adoption` find the call of a
//! record.

use crate::call::CallId;
use crate::metrics::Outcome;
use crate::ring::record::{IngressHeader, ingress_flag};

pub(super) const DELIVERED: u64 = 0;
pub(super) const HELD: u64 = 1;
pub(super) const EXPIRED: u64 = 2;
pub(super) const CLOSED: u64 = 3;
pub(super) const FAILED: u64 = 4;

/// A worker's result as a number. No outcome means that the message is held.
pub(super) fn result_of(outcome: Option<Outcome>) -> u64 {
    match outcome {
        Some(Outcome::Ok) => DELIVERED,
        None => HELD,
        Some(Outcome::Expired) => EXPIRED,
        Some(Outcome::Failed(reason)) => FAILED + reason as u64,
    }
}

/// The call of a record, if a caller waits for it.
#[inline]
pub(super) fn call_of(header: &IngressHeader) -> Option<CallId> {
    (header.flags & ingress_flag::CALL != 0).then_some(CallId(header.call))
}
