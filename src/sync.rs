//! The one place that names atomics, cells, threads and locks: the standard library's, or loom's under
//! `--cfg corelane_loom`. Everything that loom must see goes through here; every module uses it.
//! `sync::os` holds the system calls, `sync::published` what is read without waiting and replaced whole.

mod delegated;
pub(crate) mod handoff;
mod handover;
pub(crate) mod os;
mod published;

pub(crate) use published::{Crowded, PublishedWriter, Reader, Retirement, published};

pub(crate) use delegated::Delegated;
pub(crate) use handover::Handover;

#[cfg(not(corelane_loom))]
mod facade {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, fence};
    pub(crate) use std::sync::{Arc, Mutex};

    /// `std::cell::UnsafeCell` with loom's interface.
    #[derive(Debug, Default)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Runs `f` with a pointer for reading.
        #[inline(always)]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        /// Runs `f` with a pointer for writing.
        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

#[cfg(corelane_loom)]
mod facade {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, fence};
    pub(crate) use loom::sync::{Arc, Mutex};
}

/// A number that any thread sets. No part of a model.
#[cfg(not(corelane_loom))]
pub(crate) type Gauge = atomic::Atomic<f64>;

pub(crate) use facade::{Arc, AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Mutex, UnsafeCell, fence};
pub(crate) use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};

/// Locks, going on with the data when another holder panicked: every lock here guards data that is whole
/// between two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

/// As [`lock`], or nothing where another thread holds it. Never waits.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(std::sync::TryLockError::WouldBlock) => None,
    }
}

#[cfg(corelane_loom)]
pub(crate) use loom::sync::MutexGuard;
#[cfg(not(corelane_loom))]
pub(crate) use std::sync::MutexGuard;

/// What this thread, the only writer of `word`, last stored there. Under loom a look that is no access: an access
/// would hide others' from its search for schedules, which remembers only the last one.
#[cfg(not(corelane_loom))]
#[inline(always)]
pub(crate) fn own_load(word: &AtomicU64) -> u64 {
    word.load(Relaxed) // Relaxed: our own last store.
}

#[cfg(corelane_loom)]
pub(crate) fn own_load(word: &AtomicU64) -> u64 {
    // SAFETY: the caller is the only writer, so no store is concurrent; loom checks it.
    unsafe { word.unsync_load() }
}

/// Whether the named weakening is planted in this run. Always false, and free, outside builds with
/// `--cfg corelane_mutants`; there the environment variable `CORELANE_MUTANT` names it. Each is there to be
/// caught by a model or by the simulator (`make loom-mutants`, `make simulator-mutants`).
#[cfg(not(corelane_mutants))]
#[inline(always)]
pub(crate) const fn mutant(_name: &str) -> bool {
    false
}

#[cfg(corelane_mutants)]
pub(crate) fn mutant(name: &str) -> bool {
    use std::sync::OnceLock;
    static PLANTED: OnceLock<Option<String>> = OnceLock::new();
    PLANTED.get_or_init(|| std::env::var("CORELANE_MUTANT").ok()).as_deref() == Some(name)
}

/// `right`, or `weak` where the named mutant is planted.
#[inline(always)]
pub(crate) fn ordering(name: &str, right: Ordering, weak: Ordering) -> Ordering {
    if mutant(name) { weak } else { right }
}

/// The full fence between a publication and the test of a wake word, on both sides of every wake.
/// Pairs with itself: of two threads that each write, fence and read, at least one sees the other's write.
#[inline(always)]
pub(crate) fn wake_fence(mutant_name: &str) {
    fence(ordering(mutant_name, SeqCst, AcqRel));
}
