//! The facade for atomics, cells and locks: the standard library's, or loom's under `--cfg corelane_loom`. Everything
//! that loom must see goes through this module. `sync::os` holds the system calls; `sync::published` holds the
//! copy-on-write cells with wait-free readers.

mod delegated;
#[cfg_attr(corelane_loom, allow(dead_code, reason = "only the C interface and the models use it"))]
mod handles;
pub(crate) mod handoff;
mod handover;
pub(crate) mod os;
mod published;
mod sharing;

pub(crate) use published::{Crowded, PublishedWriter, Reader, Retirement, published};

pub(crate) use delegated::Delegated;
pub(crate) use handles::{Handles, Refused};
pub(crate) use handover::Handover;
pub(crate) use sharing::Shared as SharedHalf;
pub use sharing::{AnyThread, OneThread, Sharing};

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

/// A number that any thread may set. Not part of any loom model.
#[cfg(not(corelane_loom))]
pub(crate) type Gauge = atomic::Atomic<f64>;

pub(crate) use facade::{Arc, AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Mutex, UnsafeCell, fence};
pub(crate) use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};

/// Locks the mutex, also after another holder panicked: every lock here guards data that is valid between any two
/// statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

/// Like [`lock`], but returns `None` if another thread holds the mutex. Never waits.
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

/// The value that this thread, the only writer of `word`, last stored. Under loom the load is not an access: loom's
/// search for schedules remembers only the last access of an object, so an access here would hide those of other
/// threads.
#[cfg(not(corelane_loom))]
#[inline(always)]
pub(crate) fn own_load(word: &AtomicU64) -> u64 {
    word.load(Relaxed) // Relaxed: our own last store.
}

#[cfg(corelane_loom)]
pub(crate) fn own_load(word: &AtomicU64) -> u64 {
    // SAFETY: the caller is the only writer, so no store is concurrent. loom checks this.
    unsafe { word.unsync_load() }
}

/// A place between two accesses where a model is to try a switch of threads that loom's search would leave out (see
/// [`own_load`]). Nothing outside of models.
#[cfg(not(corelane_loom))]
#[inline(always)]
pub(crate) const fn may_switch() {}

#[cfg(corelane_loom)]
pub(crate) fn may_switch() {
    loom::thread::yield_now();
}

/// Whether the named weakening is planted in this run. Always false, and free, except in builds with `--cfg
/// corelane_mutants`, where the environment variable `CORELANE_MUTANT` names it. A model or the simulator must detect
/// each weakening (`scripts/test.sh loom-mutants simulator-mutants`).
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

/// `right`, or `weak` if the named weakening is planted.
#[inline(always)]
pub(crate) fn ordering(name: &str, right: Ordering, weak: Ordering) -> Ordering {
    if mutant(name) { weak } else { right }
}

/// The full fence between a publication and the test of a wake word, on both sides of every wake. Pairs with itself:
/// of two threads that each write, fence and read, at least one sees the other's write.
#[inline(always)]
pub(crate) fn wake_fence(mutant_name: &str) {
    fence(ordering(mutant_name, SeqCst, AcqRel));
}
