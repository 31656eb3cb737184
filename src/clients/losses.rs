//! Deliveries that each client has lost as their recipient, beside the lines of `figures`. Workers of other clients count
//! them, so they are not on the client's line: its own worker writes that line with each message. A loss is rare, so
//! every change is a read-modify-write. It compares the generation, because the client may be gone meanwhile.
//!
//! | bits of a word | meaning |
//! |---|---|
//! | 42–63 | the low 22 bits of the slot's generation |
//! | 32–41 | the epoch, as in the flags of a line |
//! | 0–31 | lost deliveries of this epoch |

use crate::sync::{AtomicU64, Relaxed};

const EPOCH_SHIFT: u32 = 32;
const GENERATION_SHIFT: u32 = 42;
const EPOCH_MASK: u64 = (1 << (GENERATION_SHIFT - EPOCH_SHIFT)) - 1;

const _: () = assert!(super::figures::EPOCH_MASK as u64 == EPOCH_MASK);

#[derive(Debug)]
pub(super) struct Losses(AtomicU64);

/// Generation and epoch as they are stored.
fn owner(generation: u32, epoch: u32) -> u64 {
    u64::from(generation) << GENERATION_SHIFT | u64::from(epoch) << EPOCH_SHIFT
}

// Relaxed throughout: the word publishes nothing.
impl Losses {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Starts the word of a client that connects. The count continues from `count`.
    pub(super) fn open(&self, generation: u32, epoch: u32, count: u64) {
        self.0.store(owner(generation, epoch) | count.min(u32::MAX.into()), Relaxed);
    }

    /// Counts one lost delivery. The first one after a reset starts the count anew.
    pub(super) fn add(&self, generation: u32, epoch: u32) {
        let owner = owner(generation, epoch);
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let same_client = word >> GENERATION_SHIFT == owner >> GENERATION_SHIFT;
            let count = if word >> EPOCH_SHIFT == owner >> EPOCH_SHIFT { word as u32 } else { 0 };
            same_client.then_some(owner | u64::from(count.saturating_add(1)))
        }); // Fails if the client is gone. Its figures are gone too.
    }

    /// The lost deliveries of this generation in this epoch.
    pub(super) fn read(&self, generation: u32, epoch: u32) -> u64 {
        let word = self.0.load(Relaxed);
        let is_meant = word >> EPOCH_SHIFT == owner(generation, epoch) >> EPOCH_SHIFT;
        if is_meant { u64::from(word as u32) } else { 0 }
    }

    /// Clears a count of an earlier epoch, before the epoch's number recurs.
    pub(super) fn clear_earlier(&self, epoch: u32) {
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let is_earlier = word >> EPOCH_SHIFT & EPOCH_MASK != u64::from(epoch);
            is_earlier.then_some(word >> GENERATION_SHIFT << GENERATION_SHIFT)
        }); // Fails if the count is of this epoch.
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn losses_belong_to_one_client_and_one_epoch() {
        let losses = Losses::new();
        losses.open(7, 3, 5);
        losses.add(7, 3);
        losses.add(8, 3);
        assert_eq!((losses.read(7, 3), losses.read(8, 3), losses.read(7, 4)), (6, 0, 0));
        losses.add(7, 4);
        assert_eq!((losses.read(7, 3), losses.read(7, 4)), (0, 1));
        losses.clear_earlier(4);
        assert_eq!(losses.read(7, 4), 1);
        losses.clear_earlier(5);
        assert_eq!((losses.read(7, 4), losses.read(7, 0)), (0, 0));
        losses.add(7, 5);
        assert_eq!(losses.read(7, 5), 1);
        losses.open(9, 5, u64::MAX);
        losses.add(9, 5);
        assert_eq!(losses.read(9, 5), u64::from(u32::MAX), "a full count stays");
    }
}
