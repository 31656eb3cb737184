//! A table of values that callers name by handles: an index and a generation. The table lives as long as the process.
//! One atomic word per place detects a handle that is stale, forged, or used by two threads at once. A value is accessed
//! only by a thread that has entered its place. A release during another thread's call is deferred: the last thread to
//! leave removes the value.
//!
//! | word | meaning |
//! |---|---|
//! | upper half | generation; each new use of the place increments it |
//! | lower half 0 | free |
//! | 1 | in use, no thread inside |
//! | 1 + n | n threads inside, shared |
//! | bit 30 + 1 | one thread inside, exclusive |
//! | bit 31 | released: no thread enters any more, and the last one inside removes the value |

use super::{AcqRel, Acquire, AtomicU64, Mutex, Relaxed, Release, UnsafeCell, lock, mutant, ordering};

const HALF: u64 = 0xffff_ffff;
const READY: u64 = 1;
const ALONE: u64 = 1 << 30;
const RELEASED: u64 = 1 << 31;

/// Why a handle cannot be entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The value was released, or the handle was never valid.
    Stale,
    /// Another thread is inside.
    Busy,
}

struct Place<T> {
    word: AtomicU64,
    value: UnsafeCell<Option<T>>,
}

/// A table of up to `N` values of one kind.
pub(crate) struct Handles<T, const N: usize> {
    places: [Place<T>; N],
    /// Serializes the search for a free place.
    opening: Mutex<()>,
}

// SAFETY: a place's word lets one thread at a time access the value exclusively. Shared access is only possible through
// `enter_shared`, which requires `T: Sync`.
unsafe impl<T: Send, const N: usize> Sync for Handles<T, N> {}

impl<T: Send, const N: usize> Handles<T, N> {
    #[cfg(not(corelane_loom))]
    pub(crate) const fn new() -> Self {
        let places = [const { Place { word: AtomicU64::new(0), value: UnsafeCell::new(None) } }; N];
        Self { places, opening: Mutex::new(()) }
    }

    #[cfg(corelane_loom)]
    pub(crate) fn new() -> Self {
        let place = |_| Place { word: AtomicU64::new(0), value: UnsafeCell::new(None) };
        Self { places: std::array::from_fn(place), opening: Mutex::new(()) }
    }

    /// Inserts a value. Returns its new handle, or the value if every place is in use.
    pub(crate) fn insert(&self, value: T) -> Result<u64, T> {
        let _opening = lock(&self.opening);
        // Relaxed: only the holder of the lock takes a place out of the free state.
        let free = self.places.iter().enumerate().find(|(_, place)| place.word.load(Relaxed) & HALF == 0);
        let Some((index, place)) = free else { return Err(value) };
        // Acquire: sees everything done by the thread that freed the place; pairs with the Release in `take`.
        let generation = ((place.word.load(ordering("handle-insert-relaxed", Acquire, Relaxed)) >> 32)
            as u32)
            .wrapping_add(1)
            .max(1);
        place.value.with_mut(|cell| {
            // SAFETY: no thread enters a free place, and the lock lets only this thread take it.
            unsafe { *cell = Some(value) };
        });
        let handle = u64::from(generation) << 32 | index as u64;
        // Release: publishes the value; pairs with the Acquire in `enter` and in `enter_shared`.
        place.word.store(handle & !HALF | READY, Release);
        Ok(handle)
    }

    /// The handle's place and the place's word, if the handle is valid at this moment.
    #[inline]
    fn find(&self, handle: u64) -> Result<(&Place<T>, u64), Refused> {
        let place = self.places.get((handle & HALF) as usize).ok_or(Refused::Stale)?;
        let word = place.word.load(Relaxed); // Relaxed: every use of the word is a compare-exchange.
        let valid = word & HALF != 0 && word & RELEASED == 0 && word >> 32 == handle >> 32;
        if valid { Ok((place, word)) } else { Err(Refused::Stale) }
    }

    /// Whether the handle is valid at this moment. For a thread that has its own copy of what it needs of the value, and
    /// so does not enter.
    #[inline]
    pub(crate) fn is_valid(&self, handle: u64) -> bool {
        self.find(handle).is_ok()
    }

    /// Enters a place exclusively, runs `body` on the value, and leaves, also if `body` panics.
    ///
    /// # Errors
    /// [`Refused`] if the handle is not valid or another thread is inside.
    #[inline]
    pub(crate) fn enter<R>(&self, handle: u64, body: impl FnOnce(&mut T) -> R) -> Result<R, Refused> {
        let place = self.places.get((handle & HALF) as usize).ok_or(Refused::Stale)?;
        let ready = handle & !HALF | READY;
        // Acquire: sees what the last thread inside did; pairs with the AcqRel with which it left.
        if place.word.compare_exchange(ready, ready | ALONE, Acquire, Relaxed).is_err() {
            // The handle may become valid between the two loads, if the other thread leaves.
            return Err(self.find(handle).err().unwrap_or(Refused::Busy));
        }
        let _leave = Leave { place, held: ALONE };
        place.value.with_mut(|value| {
            // SAFETY: this thread has exclusive access, so no other reference to the value exists.
            match unsafe { &mut *value } {
                Some(value) => Ok(body(value)),
                None => {
                    debug_assert!(false, "a place in use has a value");
                    Err(Refused::Stale)
                }
            }
        })
    }

    /// Makes the handle stale. Returns the value if no thread is inside. Otherwise the last thread to leave drops it.
    ///
    /// # Errors
    /// [`Refused::Stale`] if the handle is not valid, for example because it was released already.
    pub(crate) fn release(&self, handle: u64) -> Result<Option<T>, Refused> {
        loop {
            let (place, word) = self.find(handle)?;
            // Acquire: sees what the threads that were inside did; pairs with the AcqRel with which they left.
            let released = place.word.compare_exchange(
                word,
                word | RELEASED,
                ordering("handle-release-relaxed", Acquire, Relaxed),
                Relaxed,
            );
            if released.is_ok() {
                let nobody = word & HALF == READY;
                return Ok(if nobody || mutant("handle-release-at-once") { place.take() } else { None });
            }
        }
    }
}

impl<T: Send + Sync, const N: usize> Handles<T, N> {
    /// Runs `body` on the value with shared access; any number of threads may do so at once.
    ///
    /// # Errors
    /// [`Refused`] if the handle is not valid or a thread is inside exclusively.
    #[inline]
    pub(crate) fn enter_shared<R>(&self, handle: u64, body: impl FnOnce(&T) -> R) -> Result<R, Refused> {
        let place = loop {
            let (place, word) = self.find(handle)?;
            if word & HALF >= ALONE - 1 {
                return Err(Refused::Busy);
            }
            // Acquire: sees the value and the changes made with exclusive access; pairs with the Release in `insert`
            // and the AcqRel with which other threads left.
            if place.word.compare_exchange(word, word + 1, Acquire, Relaxed).is_ok() {
                break place;
            }
        };
        let _leave = Leave { place, held: 1 };
        place.value.with(|value| {
            // SAFETY: while a thread is inside with shared access none has exclusive access, so no thread writes the
            // value.
            match unsafe { &*value } {
                Some(value) => Ok(body(value)),
                None => {
                    debug_assert!(false, "a place in use has a value");
                    Err(Refused::Stale)
                }
            }
        })
    }
}

impl<T> Place<T> {
    /// Removes the value and frees the place. The caller has released the handle, and no thread is inside.
    fn take(&self) -> Option<T> {
        let value = self.value.with_mut(|value| {
            // SAFETY: a released place is never entered again, and this thread is the only one left: it found nobody
            // inside when it released the handle, or it was the last one to leave.
            unsafe { (*value).take() }
        });
        // Relaxed: no other thread changes the word of a released place that nobody is in.
        let generation = self.word.load(Relaxed) & !HALF;
        // Release: the value was removed; pairs with the Acquire in `insert`. The free place keeps its generation.
        self.word.store(generation, ordering("handle-free-relaxed", Release, Relaxed));
        value
    }
}

/// One thread's stay in a place.
struct Leave<'a, T> {
    place: &'a Place<T>,
    /// What the thread added to the word when it entered.
    held: u64,
}

impl<T> Drop for Leave<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // AcqRel: this thread's use of the value happens before a later exclusive access and before the removal; pairs
        // with the Acquire in `enter`, `enter_shared` and `release`, and with the AcqRel of the last thread to leave.
        let before = self.place.word.fetch_sub(self.held, ordering("handle-leave-relaxed", AcqRel, Relaxed));
        if before & RELEASED != 0 && before.wrapping_sub(self.held) & HALF == RELEASED | READY {
            self.remove();
        }
    }
}

impl<T> Leave<'_, T> {
    #[cold]
    fn remove(&self) {
        drop(self.place.take());
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn handles_are_valid_once_and_say_why_not() {
        static TABLE: Handles<u32, 2> = Handles::new();
        let first = TABLE.insert(1).unwrap();
        let second = TABLE.insert(2).unwrap();
        assert_eq!(TABLE.insert(3), Err(3));
        for forged in
            [0, 1, 7, first + (1 << 32), u64::MAX, first ^ (1 << 63), first | 1 << 31, first | 1 << 30]
        {
            assert_eq!(TABLE.enter(forged, |_| ()), Err(Refused::Stale), "{forged:x}");
            assert_eq!(TABLE.enter_shared(forged, |_| ()), Err(Refused::Stale), "{forged:x}");
            assert_eq!(TABLE.release(forged), Err(Refused::Stale), "{forged:x}");
        }
        let nested = TABLE.enter(first, |value| {
            *value += 10;
            assert_eq!(TABLE.enter(first, |_| ()), Err(Refused::Busy));
            assert_eq!(TABLE.enter_shared(first, |_| ()), Err(Refused::Busy));
            TABLE.enter(second, |value| *value)
        });
        assert_eq!(nested, Ok(Ok(2)));
        let shared = TABLE.enter_shared(first, |value| {
            assert_eq!(TABLE.enter(first, |_| ()), Err(Refused::Busy));
            TABLE.enter_shared(first, |same| *value + *same)
        });
        assert_eq!(shared, Ok(Ok(22)));
        assert!(std::panic::catch_unwind(|| TABLE.enter(first, |_| panic!())).is_err());
        assert!(TABLE.is_valid(first) && !TABLE.is_valid(first + (1 << 32)) && !TABLE.is_valid(0));
        assert_eq!(TABLE.release(first), Ok(Some(11)));
        assert_eq!(TABLE.release(first), Err(Refused::Stale));
        assert!(!TABLE.is_valid(first));
        let third = TABLE.insert(3).unwrap();
        assert_eq!((third & HALF, TABLE.enter(first, |_| ())), (first & HALF, Err(Refused::Stale)));
        assert_eq!((TABLE.release(third), TABLE.release(second)), (Ok(Some(3)), Ok(Some(2))));
    }

    #[test]
    fn a_release_during_a_call_is_done_when_the_call_ends() {
        static TABLE: Handles<Arc<()>, 1> = Handles::new();
        let value = Arc::new(());
        let exclusive = TABLE.insert(value.clone()).unwrap();
        let inside = TABLE.enter(exclusive, |_| {
            assert_eq!(TABLE.release(exclusive), Ok(None));
            assert_eq!(TABLE.release(exclusive), Err(Refused::Stale));
            assert_eq!(TABLE.enter(exclusive, |_| ()), Err(Refused::Stale));
            assert!(TABLE.insert(value.clone()).is_err(), "the place is still in use");
            Arc::strong_count(&value)
        });
        assert_eq!((inside, Arc::strong_count(&value)), (Ok(2), 1));
        let shared = TABLE.insert(value.clone()).unwrap();
        let inside = TABLE.enter_shared(shared, |_| {
            let twice = TABLE.enter_shared(shared, |_| assert_eq!(TABLE.release(shared), Ok(None)));
            assert_eq!((twice, Arc::strong_count(&value)), (Ok(()), 2), "one call is left");
        });
        assert_eq!((inside, Arc::strong_count(&value)), (Ok(()), 1));
        // A call that panics removes the value as well.
        let last = TABLE.insert(value.clone()).unwrap();
        let panicked = std::panic::catch_unwind(|| {
            TABLE.enter(last, |_| {
                assert_eq!(TABLE.release(last), Ok(None));
                panic!();
            })
        });
        assert!(panicked.is_err());
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
