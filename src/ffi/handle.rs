//! Handles: an index and a generation for a table that lives as long as the process. One atomic word per slot detects a
//! handle that is stale, forged, or used by two threads at once. A value is accessed only after its slot was entered.
//!
//! | word | meaning |
//! |---|---|
//! | upper half | generation; each new use of the slot increments it |
//! | lower half 0 | free |
//! | 1 | in use, no thread inside |
//! | 1 + n | n threads inside, shared |
//! | all ones | one thread inside, exclusive |

#[cfg(test)]
use super::status::{CORELANE_BUSY, CORELANE_STALE};
use super::status::{CORELANE_LIMIT, Failure};
use crate::sync::{AcqRel, Acquire, AtomicU64, Mutex, Relaxed, Release, UnsafeCell, lock};

/// A router. The value 0 is never a valid handle. Copy it freely; it is valid until `corelane_router_release`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneRouter {
    /// Index in the lower half, generation in the upper.
    pub value: u64,
}

/// A port. The value 0 is never a valid handle. Copy it freely; it is valid until `corelane_port_release`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelanePort {
    /// Index in the lower half, generation in the upper.
    pub value: u64,
}

/// A client. The value 0 is never a valid handle. Valid from `corelane_connect` until its CORELANE_EVENT_CLOSED.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneClient {
    /// Index in the lower half, generation in the upper.
    pub value: u64,
}

const HALF: u64 = 0xffff_ffff;
const READY: u64 = 1;
const ALONE: u64 = HALF;

struct HandleSlot<T> {
    word: AtomicU64,
    value: UnsafeCell<Option<T>>,
}

/// A table of up to `N` handles of one kind.
pub(super) struct HandleTable<T, const N: usize> {
    kind: &'static str,
    slots: [HandleSlot<T>; N],
    /// Serializes the search for a free slot.
    opening: Mutex<()>,
}

// SAFETY: a slot's word lets one thread at a time access the value exclusively. Shared access is only possible through
// `enter_shared`, which requires `T: Sync`.
unsafe impl<T: Send, const N: usize> Sync for HandleTable<T, N> {}

impl<T: Send, const N: usize> HandleTable<T, N> {
    pub(super) const fn new(kind: &'static str) -> Self {
        let slots = [const { HandleSlot { word: AtomicU64::new(0), value: UnsafeCell::new(None) } }; N];
        Self { kind, slots, opening: Mutex::new(()) }
    }

    /// Inserts a value. Returns its new handle.
    pub(super) fn insert(&self, value: T) -> Result<u64, Failure> {
        let opening = lock(&self.opening);
        // Relaxed: only the holder of the lock takes a slot out of the free state.
        let free = self.slots.iter().enumerate().find(|(_, slot)| slot.word.load(Relaxed) & HALF == 0);
        let Some((index, slot)) = free else {
            drop(opening);
            let text = format!("this process has {N} {}s open, the maximum: release some", self.kind);
            return Err(Failure::new(CORELANE_LIMIT, text));
        };
        // Acquire: sees everything done by the thread that freed the slot; pairs with the Release in `remove`.
        let generation = ((slot.word.load(Acquire) >> 32) as u32).wrapping_add(1).max(1);
        slot.value.with_mut(|place| {
            // SAFETY: no thread enters a free slot, and the lock lets only this thread take it.
            unsafe { *place = Some(value) };
        });
        let handle = u64::from(generation) << 32 | index as u64;
        // Release: publishes the value; pairs with the Acquire in `alone` and in `enter_shared`.
        slot.word.store(handle & !HALF | READY, Release);
        drop(opening);
        Ok(handle)
    }

    /// The handle's slot and the slot's word, if the handle is valid at this moment.
    fn find(&self, handle: u64) -> Result<(&HandleSlot<T>, u64), Failure> {
        let slot = self.slots.get((handle & HALF) as usize).ok_or_else(|| Failure::stale(self.kind))?;
        let word = slot.word.load(Relaxed); // Relaxed: every use of the word is a compare-exchange.
        if word & HALF == 0 || word >> 32 != handle >> 32 {
            Err(Failure::stale(self.kind))
        } else {
            Ok((slot, word))
        }
    }

    /// Enters a slot exclusively: from no thread inside to this thread alone.
    fn alone(&self, handle: u64) -> Result<&HandleSlot<T>, Failure> {
        let (slot, _) = self.find(handle)?;
        let ready = handle & !HALF | READY;
        // Acquire: sees what the last thread inside did; pairs with the Release with which it left.
        match slot.word.compare_exchange(ready, handle & !HALF | ALONE, Acquire, Relaxed) {
            Ok(_) => Ok(slot),
            // The handle may have been released between the two loads.
            Err(_) => Err(self.find(handle).err().unwrap_or_else(|| Failure::busy(self.kind))),
        }
    }

    /// Runs `body` on the value with exclusive access.
    pub(super) fn enter<R>(
        &self,
        handle: u64,
        body: impl FnOnce(&mut T) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let slot = self.alone(handle)?;
        // Leaves even if `body` panics. Release: pairs with the Acquire in `alone` and in `enter_shared`.
        let _leave = Leave(|| slot.word.store(handle & !HALF | READY, Release));
        slot.value.with_mut(|value| {
            // SAFETY: this thread has exclusive access, so no other reference to the value exists.
            match unsafe { &mut *value } {
                Some(value) => body(value),
                None => {
                    debug_assert!(false, "a slot in use has a value");
                    Err(Failure::stale(self.kind))
                }
            }
        })
    }

    /// Removes and returns the value; the handle is stale afterwards.
    pub(super) fn remove(&self, handle: u64) -> Result<T, Failure> {
        let slot = self.alone(handle)?;
        let value = slot.value.with_mut(|value| {
            // SAFETY: as in `enter`, this thread has exclusive access.
            unsafe { (*value).take() }
        });
        // Release: the value was removed; pairs with the Acquire in `insert`. The free slot keeps its generation.
        slot.word.store(handle & !HALF, Release);
        value.ok_or_else(|| Failure::stale(self.kind))
    }
}

impl<T: Send + Sync, const N: usize> HandleTable<T, N> {
    /// Runs `body` on the value with shared access; any number of threads may do so at once.
    pub(super) fn enter_shared<R>(
        &self,
        handle: u64,
        body: impl FnOnce(&T) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let slot = loop {
            let (slot, word) = self.find(handle)?;
            if word & HALF >= ALONE - 1 {
                return Err(Failure::busy(self.kind));
            }
            // Acquire: sees the value and the changes made with exclusive access; pairs with the Release in `insert`
            // and `enter`.
            if slot.word.compare_exchange(word, word + 1, Acquire, Relaxed).is_ok() {
                break slot;
            }
        };
        // AcqRel: this thread's use of the value happens before a later exclusive access; pairs with the Acquire in
        // `alone`.
        let _leave = Leave(|| {
            slot.word.fetch_sub(1, AcqRel);
        });
        slot.value.with(|value| {
            // SAFETY: while a thread is inside with shared access none has exclusive access, so no thread writes the
            // value.
            match unsafe { &*value } {
                Some(value) => body(value),
                None => {
                    debug_assert!(false, "a slot in use has a value");
                    Err(Failure::stale(self.kind))
                }
            }
        })
    }
}

struct Leave<F: FnMut()>(F);

impl<F: FnMut()> Drop for Leave<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static TABLE: HandleTable<u32, 2> = HandleTable::new("thing");

    fn code<R>(result: Result<R, Failure>) -> i32 {
        result.err().map_or(0, |failure| failure.code())
    }

    #[test]
    fn handles_are_valid_once_and_say_why_not() {
        let first = TABLE.insert(1).unwrap();
        let second = TABLE.insert(2).unwrap();
        assert_eq!(code(TABLE.insert(3)), CORELANE_LIMIT);
        for forged in [0, 1, 7, first + (1 << 32), u64::MAX, first ^ (1 << 63)] {
            assert_eq!(code(TABLE.enter(forged, |_| Ok(()))), CORELANE_STALE, "{forged:x}");
        }
        let nested = TABLE.enter(first, |value| {
            *value += 10;
            assert_eq!(code(TABLE.enter(first, |_| Ok(()))), CORELANE_BUSY);
            assert_eq!(code(TABLE.enter_shared(first, |_| Ok(()))), CORELANE_BUSY);
            assert_eq!(code(TABLE.remove(first)), CORELANE_BUSY);
            TABLE.enter(second, |value| Ok(*value))
        });
        assert_eq!(nested.unwrap(), 2);
        let shared = TABLE.enter_shared(first, |value| {
            assert_eq!(code(TABLE.remove(first)), CORELANE_BUSY);
            TABLE.enter_shared(first, |same| Ok(*value + *same))
        });
        assert_eq!(shared.unwrap(), 22);
        assert!(std::panic::catch_unwind(|| TABLE.enter(first, |_| -> Result<(), _> { panic!() })).is_err());
        assert_eq!(TABLE.remove(first).unwrap(), 11);
        assert_eq!(code(TABLE.remove(first)), CORELANE_STALE);
        let third = TABLE.insert(3).unwrap();
        assert_eq!((third & HALF, code(TABLE.enter(first, |_| Ok(())))), (first & HALF, CORELANE_STALE));
        assert_eq!((TABLE.remove(third).unwrap(), TABLE.remove(second).unwrap()), (3, 2));
    }
}
