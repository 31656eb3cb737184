//! Values handed over by number. A value that is too large for a ring's record, or that belongs to the host, waits in
//! this table, and the record carries {index, generation}. A number allows one take: a value is taken once, even if a
//! ring contains its number twice or by mistake. A value that is never taken is found by its tag. Used by
//! `router::payload`; model: `models/handoff.rs`.
//!
//! | step | how |
//! |---|---|
//! | FREE → BUSY | compare-exchange by the thread that puts, Acquire of FREE |
//! | BUSY → LIVE | store, Release: publishes the value |
//! | LIVE → BUSY | compare-exchange by the thread that takes or sweeps, Acquire |
//! | BUSY → FREE, next generation | store, Release: the value is gone |

use super::{AcqRel, AtomicU32, AtomicU64, Relaxed, Release, UnsafeCell, mutant, ordering};

const FREE: u64 = 0;
const BUSY: u64 = 1;
const LIVE: u64 = 2;
const STATE: u64 = 0xffff_ffff;

#[derive(Debug)]
struct HandoffEntry<T> {
    word: AtomicU64,
    tag: AtomicU32,
    value: UnsafeCell<Option<T>>,
}

/// A bounded table of such values. Any thread may call any function; no function waits.
#[derive(Debug)]
pub(crate) struct Handoff<T>(Box<[HandoffEntry<T>]>);

// SAFETY: only the thread that has moved an entry to BUSY touches its value. T is Send.
unsafe impl<T: Send> Sync for Handoff<T> {}

fn next_free(word: u64) -> u64 {
    // Generation 0 is never used, so number 0 never refers to a value.
    u64::from(((word >> 32) as u32).wrapping_add(1).max(1)) << 32 | FREE
}

impl<T> Handoff<T> {
    pub(crate) fn new(count: usize) -> Self {
        let entry = |_| HandoffEntry {
            word: AtomicU64::new(1 << 32 | FREE),
            tag: AtomicU32::new(0),
            value: UnsafeCell::new(None),
        };
        Self((0..count).map(entry).collect())
    }

    /// Bytes of a table with `count` entries, for the memory budget.
    pub(crate) const fn bytes(count: usize) -> usize {
        count * size_of::<HandoffEntry<T>>()
    }

    /// Puts a value into the table under a tag and returns its number. Returns the value if the table is full.
    pub(crate) fn put(&self, tag: u32, value: T) -> Result<u64, T> {
        for (index, entry) in self.0.iter().enumerate() {
            let word = entry.word.load(Relaxed); // Relaxed: the compare-exchange decides.
            // AcqRel: the entry's previous value is gone; pairs with the Release in `take_from`.
            let order = ordering("handoff-put-relaxed", AcqRel, Relaxed);
            if word & STATE != FREE
                || entry.word.compare_exchange(word, word & !STATE | BUSY, order, Relaxed).is_err()
            {
                continue;
            }
            entry.tag.store(tag, Relaxed); // Relaxed: LIVE publishes the tag.
            entry.value.with_mut(|place| {
                // SAFETY: this thread has moved the entry to BUSY.
                unsafe { *place = Some(value) };
            });
            // Release: publishes the value; pairs with the AcqRel in `take_from`.
            entry.word.store(word & !STATE | LIVE, ordering("handoff-live-relaxed", Release, Relaxed));
            return Ok(word & !STATE | index as u64);
        }
        Err(value)
    }

    /// Takes a value out. `None` if the value was already taken, the number was never issued, or it was put under
    /// another tag.
    pub(crate) fn take(&self, number: u64, tag: u32) -> Option<T> {
        let entry = self.0.get((number & STATE) as usize)?;
        let live = number & !STATE | LIVE;
        // Acquire: LIVE publishes the tag. If the entry is another's by the time of the take, the take fails.
        let is_meant = entry.word.load(super::Acquire) == live && entry.tag.load(Relaxed) == tag;
        if is_meant { self.take_from(entry, live) } else { None }
    }

    fn take_from(&self, entry: &HandoffEntry<T>, live: u64) -> Option<T> {
        if mutant("handoff-take-by-load") {
            if entry.word.load(super::Acquire) != live {
                return None;
            }
            entry.word.store(live & !STATE | BUSY, Release);
        } else {
            // AcqRel: pairs with the Release in `put`. Exactly one taker wins.
            entry.word.compare_exchange(live, live & !STATE | BUSY, AcqRel, Relaxed).ok()?;
        }
        let value = entry.value.with_mut(|place| {
            // SAFETY: this thread has moved the entry to BUSY.
            unsafe { (*place).take() }
        });
        // Release: the value is gone; pairs with the AcqRel in `put`.
        entry.word.store(next_free(live), ordering("handoff-free-relaxed", Release, Relaxed));
        value
    }

    /// Takes out every value whose tag `unwanted` accepts.
    pub(crate) fn sweep(&self, unwanted: impl Fn(u32) -> bool) -> Vec<T> {
        let mut swept = Vec::new();
        for entry in &self.0 {
            // Acquire: LIVE publishes the tag.
            let word = entry.word.load(super::Acquire);
            // If the tag changes in between, it belongs to a later generation, and the take fails.
            if word & STATE == LIVE && unwanted(entry.tag.load(Relaxed)) {
                swept.extend(self.take_from(entry, word));
            }
        }
        swept
    }

    /// The number of values in the table.
    pub(crate) fn live(&self) -> usize {
        // Relaxed: a figure for reports.
        self.0.iter().filter(|entry| entry.word.load(Relaxed) & STATE == LIVE).count()
    }
}
