//! The credit that a client uses: messages and bytes that are delivered to it and not acknowledged as
//! written. Workers add to one word, and the client's port subtracts from it.
//!
//! | bits | meaning |
//! |---|---|
//! | 63 | closing: no more credit is given |
//! | 62 | a CLOSE delivery is on its way to the port: set together with closing, cleared when this delivery ends |
//! | 47–61 | the low 15 bits of the slot's generation |
//! | 31–46 | outstanding messages |
//! | 0–30 | outstanding bytes |
//!
//! Every write is a read-modify-write that compares the generation. Limits therefore hold exactly, only one
//! thread wins the closing, and a stale handle changes nothing. Subtraction stops at 0 in each field, so no
//! field borrows from its neighbour.
//!
//! The word publishes no data: the bytes of a delivery travel in rings. The orderings protect the reuse of
//! the slot (see `clients`): a slot with anything outstanding, or with a CLOSE on its way, is not reused.

use crate::sync::{AcqRel, Acquire, AtomicU64, Release, mutant};

const CLOSING: u64 = 1 << 63;
const CLOSE_SENT: u64 = 1 << 62;
const GENERATION_SHIFT: u32 = 47;
const GENERATION_MASK: u64 = 0x7fff << GENERATION_SHIFT;
const MESSAGE_SHIFT: u32 = 31;
const MESSAGE_MASK: u64 = 0xffff;
const BYTES_MASK: u64 = (1 << MESSAGE_SHIFT) - 1;

/// Largest number of messages that a limit can allow.
pub(crate) const MAX_MESSAGES: u32 = 0xffff;
/// Largest number of bytes that a limit can allow.
pub(crate) const MAX_BYTES: u32 = BYTES_MASK as u32;

/// Credit limits of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) messages: u32,
    pub(crate) bytes: u32,
}

/// Why no credit was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// The client is closing, or the generation does not match.
    Closed,
    /// The limit would be exceeded.
    Exhausted,
}

#[derive(Debug)]
pub(crate) struct Credit(AtomicU64);

/// How much of this can be given back: at most what is outstanding.
#[inline]
fn given_back(word: u64, messages: u32, bytes: u32) -> (u64, u64) {
    let (messages, bytes) = (u64::from(messages), u64::from(bytes));
    if mutant("credit-underflow") {
        return (messages, bytes);
    }
    (messages.min((word >> MESSAGE_SHIFT) & MESSAGE_MASK), bytes.min(word & BYTES_MASK))
}

const fn generation_bits(generation: u32) -> u64 {
    ((generation as u64) << GENERATION_SHIFT) & GENERATION_MASK
}

impl Credit {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(CLOSING))
    }

    /// Starts a generation with nothing outstanding.
    pub(crate) fn open(&self, generation: u32) {
        // Release publishes the filled slot; pairs with the Acquire in `try_add`.
        self.0.swap(generation_bits(generation), AcqRel);
    }

    /// Adds one message of `bytes`, or returns why not. The limit is tested before the addition: to add first
    /// and undo later would refuse other senders that have room.
    #[inline]
    pub(crate) fn try_add(&self, generation: u32, bytes: u32, limits: Limits) -> Result<(), Shortage> {
        let mut word = self.0.load(Acquire);
        loop {
            let stale = word & GENERATION_MASK != generation_bits(generation);
            if word & CLOSING != 0 || (stale && !mutant("credit-ignores-generation")) {
                return Err(Shortage::Closed);
            }
            let (messages, outstanding) = ((word >> MESSAGE_SHIFT) & MESSAGE_MASK, word & BYTES_MASK);
            if messages + 1 > u64::from(limits.messages)
                || outstanding + u64::from(bytes) > u64::from(limits.bytes)
            {
                return Err(Shortage::Exhausted);
            }
            let next = word + (1 << MESSAGE_SHIFT) + u64::from(bytes);
            if mutant("credit-add-apart") {
                self.0.store(next, Release);
                return Ok(());
            }
            // Acquire: the thread sees the slot as `open` filled it. Release: a reuse of the slot happens
            // after this addition.
            match self.0.compare_exchange_weak(word, next, AcqRel, Acquire) {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Gives back credit of this generation, at most what is outstanding. Does nothing for another
    /// generation. Returns the messages and bytes that were given back.
    #[inline]
    pub(crate) fn subtract(&self, generation: u32, messages: u32, bytes: u32) -> (u32, u32) {
        let before = self.update(generation, |word| {
            let (messages, bytes) = given_back(word, messages, bytes);
            word.wrapping_sub((messages << MESSAGE_SHIFT).wrapping_add(bytes))
        });
        before.map_or((0, 0), |word| {
            let (messages, bytes) = given_back(word, messages, bytes);
            (messages as u32, bytes as u32)
        })
    }

    /// Ends the credit of this generation. True for the one caller that ended it. This caller then sends the
    /// CLOSE delivery, which keeps the slot from being reused until
    /// [`end_close_delivery`](Self::end_close_delivery).
    pub(crate) fn close_and_send(&self, generation: u32) -> bool {
        let sent = if mutant("close-unpinned") { 0 } else { CLOSE_SENT };
        self.close_with(generation, CLOSING | sent)
    }

    /// Ends the credit of this generation without a CLOSE delivery, because the port itself closes the
    /// client.
    pub(crate) fn close(&self, generation: u32) {
        self.close_with(generation, CLOSING);
    }

    fn close_with(&self, generation: u32, bits: u64) -> bool {
        let mut word = self.0.load(Acquire);
        loop {
            if word & CLOSING != 0 || word & GENERATION_MASK != generation_bits(generation) {
                return false;
            }
            if mutant("credit-close-by-load") {
                self.0.store(word | bits, Release);
                return true;
            }
            match self.0.compare_exchange_weak(word, word | bits, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Notes that the CLOSE delivery of this generation was handed out or given up.
    pub(crate) fn end_close_delivery(&self, generation: u32) {
        self.update(generation, |word| word & !CLOSE_SENT);
    }

    /// Changes the word of this generation and returns the word before. Does nothing for another generation.
    #[inline]
    fn update(&self, generation: u32, change: impl Fn(u64) -> u64) -> Option<u64> {
        let mut word = self.0.load(Acquire);
        while word & GENERATION_MASK == generation_bits(generation) || mutant("credit-ignores-generation") {
            // Release: the caller is done with the slot; pairs with the Acquire in `is_unused`.
            match self.0.compare_exchange_weak(word, change(word), AcqRel, Acquire) {
                Ok(_) => return Some(word),
                Err(now) => word = now,
            }
        }
        None
    }

    /// Whether nothing is outstanding and no CLOSE delivery is on its way, so that the slot may be reused.
    /// Acquire pairs with the Release in `update`.
    pub(crate) fn is_unused(&self) -> bool {
        self.0.load(Acquire) & (CLOSE_SENT | MESSAGE_MASK << MESSAGE_SHIFT | BYTES_MASK) == 0
    }

    /// Outstanding messages and bytes. Acquire pairs with the Release in `update`.
    pub(crate) fn outstanding(&self) -> (u32, u32) {
        let word = self.0.load(Acquire);
        (((word >> MESSAGE_SHIFT) & MESSAGE_MASK) as u32, (word & BYTES_MASK) as u32)
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { messages: 2, bytes: 100 };

    #[test]
    fn limits_are_exact_and_given_back() {
        let credit = Credit::new();
        credit.open(7);
        assert_eq!(credit.try_add(7, 101, LIMITS), Err(Shortage::Exhausted));
        assert_eq!(credit.try_add(7, 100, LIMITS), Ok(()));
        assert_eq!(credit.try_add(7, 1, LIMITS), Err(Shortage::Exhausted));
        credit.subtract(7, 1, 100);
        assert_eq!(credit.try_add(7, 0, LIMITS), Ok(()));
        assert_eq!(credit.try_add(7, 0, LIMITS), Ok(()));
        assert_eq!(credit.try_add(7, 0, LIMITS), Err(Shortage::Exhausted));
        assert_eq!(credit.outstanding(), (2, 0));
    }

    #[test]
    fn another_generation_gets_nothing_and_closes_nothing() {
        let credit = Credit::new();
        credit.open(7);
        assert_eq!(credit.try_add(8, 1, LIMITS), Err(Shortage::Closed));
        assert!(!credit.close_and_send(6));
        assert!(credit.close_and_send(7) && !credit.close_and_send(7));
        assert_eq!(credit.try_add(7, 1, LIMITS), Err(Shortage::Closed));
    }

    #[test]
    fn a_late_or_forged_subtraction_borrows_from_no_neighbour() {
        let credit = Credit::new();
        credit.open(7);
        assert_eq!(credit.try_add(7, 10, LIMITS), Ok(()));
        credit.subtract(6, 1, 10);
        assert_eq!(credit.outstanding(), (1, 10), "the subtraction has another generation");
        credit.subtract(7, 0, 11);
        assert_eq!(credit.outstanding(), (1, 0));
        credit.subtract(7, u32::MAX, u32::MAX);
        assert_eq!(credit.outstanding(), (0, 0));
        assert_eq!(credit.try_add(7, 10, LIMITS), Ok(()), "the generation is unchanged");
    }

    #[test]
    fn a_close_on_its_way_keeps_the_slot() {
        let credit = Credit::new();
        credit.open(7);
        assert!(credit.is_unused() && credit.close_and_send(7) && !credit.is_unused());
        credit.end_close_delivery(6);
        assert!(!credit.is_unused());
        credit.end_close_delivery(7);
        assert!(credit.is_unused());
    }

    #[test]
    fn the_largest_limits_do_not_overflow() {
        let credit = Credit::new();
        credit.open(u32::MAX);
        let limits = Limits { messages: MAX_MESSAGES, bytes: MAX_BYTES };
        assert_eq!(credit.try_add(u32::MAX, MAX_BYTES, limits), Ok(()));
        assert_eq!(credit.try_add(u32::MAX, 1, limits), Err(Shortage::Exhausted));
        for _ in 1..MAX_MESSAGES {
            assert_eq!(credit.try_add(u32::MAX, 0, limits), Ok(()));
        }
        assert_eq!(credit.try_add(u32::MAX, 0, limits), Err(Shortage::Exhausted));
        credit.subtract(u32::MAX, MAX_MESSAGES, MAX_BYTES);
        assert_eq!(credit.outstanding(), (0, 0));
    }
}
