//! Argument types of the typed setters.

use super::Idle;
use crate::clients::CreditPolicy;
use std::time::Duration;

/// An argument of a typed setter: a whole number, a switch, a duration (stored in milliseconds, rounded up)
/// or a choice.
pub(super) trait Setting {
    fn number(self) -> u64;
}

impl Setting for u64 {
    fn number(self) -> u64 {
        self
    }
}

impl Setting for bool {
    fn number(self) -> u64 {
        self.into()
    }
}

impl Setting for Duration {
    fn number(self) -> u64 {
        u64::try_from(self.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// Fractions are stored in millionths.
pub(super) const MILLION: u64 = 1_000_000;

impl Setting for f64 {
    fn number(self) -> u64 {
        // A value outside 0 to 1, or NaN, becomes more than a million and is therefore refused.
        let share = (0.0..=1.0).contains(&self).then(|| (self * MILLION as f64).round() as u64);
        share.unwrap_or(u64::MAX)
    }
}

/// Choices. The variants have the order of their words in the table.
macro_rules! choices {
    ($($choice:ty),+) => { $(impl Setting for $choice {
        fn number(self) -> u64 {
            self as u64
        }
    })+ };
}

choices!(Idle, Balance, RouteFallback, CreditPolicy);

/// What happens to a message that is routed synchronously and cannot be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteFallback {
    /// The base route takes the message over. Without a base route the message is refused.
    Auto,
    /// The base route takes the message over.
    Inline,
    /// The message is refused.
    Refuse,
}

/// How a port chooses the worker for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Balance {
    /// The next worker in turn. Does not keep the order of a client's messages.
    RoundRobin,
    /// The worker that the hash of the client's name selects.
    Hash,
    /// The worker with the least load. A client moves only while none of its messages is in flight on another
    /// worker.
    LeastLoaded,
}
