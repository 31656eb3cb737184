//! Handles: an index and a generation into a table that lives as long as the process. A handle that is stale,
//! forged, or used by two threads at once finds that out in one word; nothing it names is ever touched unentered.
//!
//! | word | meaning |
//! |---|---|
//! | upper half | generation; a slot's next user has the next one |
//! | lower half 0 | free |
//! | 1 | in use, nobody inside |
//! | 1 + n | n threads inside, sharing |
//! | all ones | one thread inside, alone |

#[cfg(test)]
use super::status::{CORELANE_BUSY, CORELANE_STALE};
use super::status::{CORELANE_LIMIT, Failure};
use crate::sync::{AcqRel, Acquire, AtomicU64, Mutex, Relaxed, Release, UnsafeCell, lock};

/// A router. 0 is none. Copy it freely; it is valid until `corelane_router_release`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneRouter {
    /// Index in the lower half, generation in the upper.
    pub value: u64,
}

/// A port. 0 is none. Copy it freely; it is valid until `corelane_port_release`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelanePort {
    /// Index in the lower half, generation in the upper.
    pub value: u64,
}

/// A client. 0 is none. Valid from `corelane_connect` until its CORELANE_EVENT_CLOSED.
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
    /// One thread at a time looks for a free slot.
    opening: Mutex<()>,
}

// SAFETY: a value is reached by one thread at a time, alone inside; several share it only through
// `enter_shared`, which asks for `T: Sync`.
unsafe impl<T: Send, const N: usize> Sync for HandleTable<T, N> {}

impl<T: Send, const N: usize> HandleTable<T, N> {
    pub(super) const fn new(kind: &'static str) -> Self {
        let slots = [const { HandleSlot { word: AtomicU64::new(0), value: UnsafeCell::new(None) } }; N];
        Self { kind, slots, opening: Mutex::new(()) }
    }

    /// Puts a value in, under a new handle.
    pub(super) fn insert(&self, value: T) -> Result<u64, Failure> {
        let opening = lock(&self.opening);
        // Relaxed: only this thread, by the lock, takes a slot out of free.
        let free = self.slots.iter().enumerate().find(|(_, slot)| slot.word.load(Relaxed) & HALF == 0);
        let Some((index, slot)) = free else {
            drop(opening);
            let text = format!("{N} {}s are open in this process: release some", self.kind);
            return Err(Failure::new(CORELANE_LIMIT, text));
        };
        // Acquire: whoever freed the slot is done with it; pairs with the Release in `remove`.
        let generation = ((slot.word.load(Acquire) >> 32) as u32).wrapping_add(1).max(1);
        slot.value.with_mut(|place| {
            // SAFETY: a free slot is entered by nobody, and taken by this thread alone.
            unsafe { *place = Some(value) };
        });
        let handle = u64::from(generation) << 32 | index as u64;
        // Release: publishes the value; pairs with the Acquire of whoever enters.
        slot.word.store(handle & !HALF | READY, Release);
        drop(opening);
        Ok(handle)
    }

    /// The handle's slot and its word, if the handle is valid now.
    fn find(&self, handle: u64) -> Result<(&HandleSlot<T>, u64), Failure> {
        let slot = self.slots.get((handle & HALF) as usize).ok_or_else(|| Failure::stale(self.kind))?;
        let word = slot.word.load(Relaxed); // Relaxed: what is done with it is a compare-exchange.
        if word & HALF == 0 || word >> 32 != handle >> 32 {
            Err(Failure::stale(self.kind))
        } else {
            Ok((slot, word))
        }
    }

    /// Moves a valid handle's slot from nobody inside to one thread alone.
    fn alone(&self, handle: u64) -> Result<&HandleSlot<T>, Failure> {
        let (slot, _) = self.find(handle)?;
        let ready = handle & !HALF | READY;
        // Acquire: what the last one inside did; pairs with the Release of its leave.
        match slot.word.compare_exchange(ready, handle & !HALF | ALONE, Acquire, Relaxed) {
            Ok(_) => Ok(slot),
            // Between the two looks it may also have been released.
            Err(_) => Err(self.find(handle).err().unwrap_or_else(|| Failure::busy(self.kind))),
        }
    }

    /// Runs `body` on the value, nobody else inside.
    pub(super) fn enter<R>(
        &self,
        handle: u64,
        body: impl FnOnce(&mut T) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let slot = self.alone(handle)?;
        // Leaves when `body` panics, too.
        let _leave = Leave(|| slot.word.store(handle & !HALF | READY, Release));
        slot.value.with_mut(|value| {
            // SAFETY: alone inside: no other reference to the value exists.
            match unsafe { &mut *value } {
                Some(value) => body(value),
                None => Err(Failure::stale(self.kind)), // Never: a slot in use has a value.
            }
        })
    }

    /// Takes the value out; the handle is stale from now on.
    pub(super) fn remove(&self, handle: u64) -> Result<T, Failure> {
        let slot = self.alone(handle)?;
        let value = slot.value.with_mut(|value| {
            // SAFETY: as in `enter`.
            unsafe { (*value).take() }
        });
        // Release: the value is out; pairs with the Acquire in `insert`. The generation stays until then.
        slot.word.store(handle & !HALF, Release);
        value.ok_or_else(|| Failure::stale(self.kind))
    }
}

impl<T: Send + Sync, const N: usize> HandleTable<T, N> {
    /// Runs `body` on the value, together with any number of others.
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
            // Acquire: the value, and what was done to it alone.
            if slot.word.compare_exchange(word, word + 1, Acquire, Relaxed).is_ok() {
                break slot;
            }
        };
        // AcqRel: what this thread did with the value is done before somebody alone takes it out.
        let _leave = Leave(|| {
            slot.word.fetch_sub(1, AcqRel);
        });
        slot.value.with(|value| {
            // SAFETY: entered together: nobody is alone inside, so nobody writes the value.
            match unsafe { &*value } {
                Some(value) => body(value),
                None => Err(Failure::stale(self.kind)), // Never: as in `enter`.
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
