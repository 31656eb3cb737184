//! What the typed setters take.

use super::Idle;
use crate::clients::CreditPolicy;
use std::time::Duration;

/// What a typed setter takes: whole numbers, switches, times (in milliseconds, rounded up) and choices.
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

/// Shares are kept in as many parts.
pub(super) const MILLION: u64 = 1_000_000;

impl Setting for f64 {
    fn number(self) -> u64 {
        // What is no share comes out above a million, and is refused.
        let share = (0.0..=1.0).contains(&self).then(|| (self * MILLION as f64).round() as u64);
        share.unwrap_or(u64::MAX)
    }
}

/// Choices, their variants in the order of their words.
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
    /// The base route takes it over, if there is one; otherwise it is refused.
    Auto,
    /// The base route takes it over.
    Inline,
    /// It is refused.
    Refuse,
}

/// Which worker gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Balance {
    /// The next one; keeps no order.
    RoundRobin,
    /// The one of the client's name.
    Hash,
    /// The one with the least load, once nothing of the client is under way elsewhere.
    LeastLoaded,
}
