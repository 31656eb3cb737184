//! A client's token bucket: `client_rate` messages a second, up to `client_burst` at once. Two plain cells
//! of its port's own, so that a host in another language can keep it as well; integers throughout, so nothing drifts.
//!
//! What is used up is counted in units: one message costs as many units as a second has raw ticks, and each tick gives
//! `rate` of them back. So no division is needed, and a rate is kept exactly however it relates to the clock.

use crate::sync::{AtomicU64, Relaxed, own_load};

/// How fast a client may send; one for all clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Messages per second; 0 where nothing is limited.
    pub(crate) per_second: u64,
    /// Units that a message costs: raw ticks per second.
    cost: u64,
    /// Units that may be used up.
    full: u64,
}

impl Rate {
    /// `burst` 0 stands for a second's worth.
    pub(crate) fn new(per_second: u64, burst: u64, ticks_per_second: u64) -> Self {
        let burst = if burst == 0 { per_second } else { burst };
        Self { per_second, cost: ticks_per_second, full: burst.saturating_mul(ticks_per_second) }
    }
}

/// One client's. Written by its port alone, on a line of its own; there are such only where there is a rate.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Bucket {
    /// Units used up when it was last looked at.
    used: AtomicU64,
    /// When that was, in raw ticks.
    at: AtomicU64,
}

impl Bucket {
    pub(crate) fn new() -> Self {
        Self { used: AtomicU64::new(0), at: AtomicU64::new(0) }
    }

    /// Full again, for the slot's next client.
    pub(crate) fn fill(&self) {
        // Relaxed, here and below: the port's own.
        self.used.store(0, Relaxed);
        self.at.store(0, Relaxed);
    }

    /// Whether there is a token at `now`. A `now` before the last one counts as that one: nothing is given twice.
    #[inline]
    pub(crate) fn has_token(&self, rate: Rate, now: u64) -> bool {
        let at = own_load(&self.at);
        let given = now.saturating_sub(at).saturating_mul(rate.per_second);
        let used = own_load(&self.used).saturating_sub(given);
        self.used.store(used, Relaxed);
        self.at.store(at.max(now), Relaxed);
        used.saturating_add(rate.cost) <= rate.full
    }

    /// Takes the token that `has_token` has seen.
    #[inline]
    pub(crate) fn take(&self, rate: Rate) {
        if !crate::sync::mutant("bucket-without-charge") {
            self.used.store(own_load(&self.used) + rate.cost, Relaxed);
        }
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_rate_and_the_burst_pass() {
        // A clock of three ticks per message and a fraction: 1,000 ticks a second, 300 messages.
        let rate = Rate::new(300, 5, 1_000);
        let bucket = Bucket::new();
        let mut passed = 0;
        for now in 1_000_000..1_100_000 {
            while bucket.has_token(rate, now) {
                bucket.take(rate);
                passed += 1;
            }
        }
        // 99,999 ticks give 29,999.7 messages; 5 were there at the start.
        assert_eq!(passed, 5 + 29_999);
    }

    #[test]
    fn time_that_goes_back_gives_nothing() {
        let rate = Rate::new(10, 1, 1_000);
        let bucket = Bucket::new();
        assert!(bucket.has_token(rate, 5_000));
        bucket.take(rate);
        for now in [4_000, 5_000, 1, 5_099] {
            assert!(!bucket.has_token(rate, now), "{now}");
        }
        assert!(bucket.has_token(rate, 5_100));
    }
}
