//! `max_concurrent_messages`: a cap on the messages that are accepted and have not ended, for the whole router. Permits lie
//! in one shared word, which nobody touches per message: a port takes a block when its own spare ones are used up and
//! gives the rest back when it publishes or polls, so an idle port keeps none; a worker gives back, once per cycle,
//! one for each message that ended. A permit is in that word, a port's spare, or a message's: never in two places.

use crate::error::Refused;
use crate::sync::{AcqRel, Acquire, AtomicU64, Relaxed, Release, mutant};
use crossbeam_utils::CachePadded;

#[derive(Debug)]
pub(crate) struct Permits {
    available: CachePadded<AtomicU64>,
    /// The cap; 0 for none.
    limit: u64,
    block: u64,
}

impl Permits {
    pub(crate) fn new(limit: u64, ports: u64) -> Self {
        // Small enough that one port's spare ones are not what others are refused for.
        let block = (limit / (2 * ports.max(1))).clamp(1, 64);
        Self { available: CachePadded::new(AtomicU64::new(limit)), limit, block }
    }

    #[inline(always)]
    pub(crate) fn is_limited(&self) -> bool {
        self.limit > 0
    }

    /// Takes up to a block; 0 where none is left.
    pub(crate) fn take(&self) -> u64 {
        // AcqRel: the messages whose permits these were have ended; pairs with `give`.
        let taken = self.available.fetch_update(AcqRel, Acquire, |available| {
            (available > 0).then(|| available - available.min(self.block))
        });
        taken.map_or(0, |available| available.min(self.block))
    }

    /// Sees to it that a port has a spare permit for its next message.
    #[inline]
    pub(crate) fn admit(&self, spare: &mut u64) -> Result<(), Refused> {
        if self.is_limited() && *spare == 0 {
            *spare = self.take();
            if *spare == 0 {
                return Err(Refused::Concurrency);
            }
        }
        Ok(())
    }

    /// The message that `admit` was for has been accepted.
    #[inline]
    pub(crate) fn spend(&self, spare: &mut u64) {
        *spare -= u64::from(self.is_limited());
    }

    /// Gives permits back: spare ones, or those of messages that have ended.
    pub(crate) fn give(&self, permits: u64) {
        if permits > 0 && self.is_limited() && !mutant("permit-leak") {
            self.available.fetch_add(permits, Release); // Release: pairs with `take`.
        }
    }

    /// The cap, and how many permits nobody has. Both 0 without a cap.
    pub(crate) fn figures(&self) -> (u64, u64) {
        (self.limit, self.available.load(Relaxed)) // Relaxed: a reading by itself.
    }
}
