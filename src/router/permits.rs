//! `max_concurrent_messages`: a limit on the accepted messages of the whole router that have not ended. The
//! free permits are in one shared word that no message touches. A port takes a block when its spare permits are
//! used up, and gives the rest back when it publishes or polls, so an idle port keeps none. A worker gives
//! back, once per cycle, one permit per message that has ended. A permit is in exactly one place: the shared
//! word, a port's spare, or a message.
//!
//! Used by `port/submit` (admits and returns spare permits), `worker/cycle` and `settle` (give back), through
//! `shared`.

use crate::error::SubmitError;
use crate::sync::{AcqRel, Acquire, AtomicU64, Relaxed, Release, mutant};
use crossbeam_utils::CachePadded;

#[derive(Debug)]
pub(crate) struct Permits {
    available: CachePadded<AtomicU64>,
    /// The limit; 0 for no limit.
    limit: u64,
    block: u64,
}

impl Permits {
    pub(crate) fn new(limit: u64, ports: u64) -> Self {
        // Small enough that the spare permits of one port do not get other ports' messages refused.
        let block = (limit / (2 * ports.max(1))).clamp(1, 64);
        Self { available: CachePadded::new(AtomicU64::new(limit)), limit, block }
    }

    #[inline(always)]
    pub(crate) fn is_limited(&self) -> bool {
        self.limit > 0
    }

    /// Takes up to a block; 0 if none is left.
    pub(crate) fn take(&self) -> u64 {
        // AcqRel: the messages that had these permits have ended; pairs with the Release in `give`.
        let taken = self.available.fetch_update(AcqRel, Acquire, |available| {
            (available > 0).then(|| available - available.min(self.block))
        });
        taken.map_or(0, |available| available.min(self.block))
    }

    /// Takes one, for a message of a lane.
    pub(crate) fn take_one(&self) -> bool {
        // AcqRel: as in `take`.
        let one_less = |available: u64| available.checked_sub(1);
        !self.is_limited() || self.available.fetch_update(AcqRel, Acquire, one_less).is_ok()
    }

    /// Makes sure that a port has a spare permit for its next message.
    #[inline]
    pub(crate) fn admit(&self, spare: &mut u64) -> Result<(), SubmitError> {
        if self.is_limited() && *spare == 0 {
            *spare = self.take();
            if *spare == 0 {
                return Err(SubmitError::ConcurrencyLimit);
            }
        }
        Ok(())
    }

    /// The message for which `admit` was called has been accepted.
    #[inline]
    pub(crate) fn spend(&self, spare: &mut u64) {
        *spare -= u64::from(self.is_limited());
    }

    /// Gives permits back: spare ones, or those of ended messages.
    pub(crate) fn give(&self, permits: u64) {
        if permits > 0 && self.is_limited() && !mutant("permit-leak") {
            self.available.fetch_add(permits, Release); // Release: pairs with the AcqRel in `take`.
        }
    }

    /// The limit, and the permits in the shared word. Both are 0 without a limit.
    pub(crate) fn figures(&self) -> (u64, u64) {
        (self.limit, self.available.load(Relaxed)) // Relaxed: an independent reading.
    }
}
