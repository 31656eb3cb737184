//! Token bucket of a client: `client_rate` messages per second with bursts of up to `client_burst` messages.
//! The bucket consists of two cells that only the client's port writes, so a host in another language can
//! keep it as well. It uses integers only, so nothing drifts.
//!
//! Usage is counted in units. A message costs as many units as there are raw ticks in a second, and each tick
//! gives `rate` units back. This needs no division and keeps any rate exactly, independent of the clock's
//! frequency.

use crate::sync::{AtomicU64, Relaxed, own_load};

/// The rate limit of a client. All clients have the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Messages per second. 0 for no limit.
    pub(crate) per_second: u64,
    /// Units that a message costs: raw ticks per second.
    cost: u64,
    /// Largest number of units in use.
    full: u64,
}

impl Rate {
    /// A `burst` of 0 allows as many messages as one second does.
    pub(crate) fn new(per_second: u64, burst: u64, ticks_per_second: u64) -> Self {
        let burst = if burst == 0 { per_second } else { burst };
        Self { per_second, cost: ticks_per_second, full: burst.saturating_mul(ticks_per_second) }
    }
}

/// The bucket of one client, on its own cache line. Written only by the client's port. Exists only if there
/// is a rate limit.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Bucket {
    /// Units in use at the last check.
    used: AtomicU64,
    /// Time of the last check, in raw ticks.
    at: AtomicU64,
}

impl Bucket {
    pub(crate) fn new() -> Self {
        Self { used: AtomicU64::new(0), at: AtomicU64::new(0) }
    }

    /// Refills the bucket, for the next client of the slot.
    pub(crate) fn fill(&self) {
        // Relaxed, here and below: only the port uses these cells.
        self.used.store(0, Relaxed);
        self.at.store(0, Relaxed);
    }

    /// Whether there is a token at `now`. If `now` is before the last check, the time of the last check is
    /// used, so that no unit is given back twice.
    #[inline]
    pub(crate) fn has_token(&self, rate: Rate, now: u64) -> bool {
        let at = own_load(&self.at);
        let given = now.saturating_sub(at).saturating_mul(rate.per_second);
        let used = own_load(&self.used).saturating_sub(given);
        self.used.store(used, Relaxed);
        self.at.store(at.max(now), Relaxed);
        used.saturating_add(rate.cost) <= rate.full
    }

    /// Takes the token that `has_token` has found.
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
        // 1,000 ticks and 300 messages per second: 3⅓ ticks per message.
        let rate = Rate::new(300, 5, 1_000);
        let bucket = Bucket::new();
        let mut passed = 0;
        for now in 1_000_000..1_100_000 {
            while bucket.has_token(rate, now) {
                bucket.take(rate);
                passed += 1;
            }
        }
        // 99,999 ticks give 29,999.7 messages, in addition to the burst of 5.
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
