//! What the typed setters take.

use super::Idle;
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

impl Setting for Idle {
    fn number(self) -> u64 {
        self as u64 // In the order of its words.
    }
}
