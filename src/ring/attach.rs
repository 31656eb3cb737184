//! The attach state of one (worker, port) pair: FREE → ATTACHED → DETACHING → FREE. Holds what both sides
//! share (their rings) from attach until the second of them has left, who settles and frees it.
//!
//! | field | written by | read by | ordering |
//! |---|---|---|---|
//! | `state` → ATTACHED | the attaching port | the worker | Release / Acquire: publishes `value` |
//! | `state` → DETACHING | each side once, by swap | the other side's swap | AcqRel: the first one's work is the second one's to see |
//! | `state` → FREE | the second to leave | the next attach | Release / Acquire: `value` is gone |
//! | `value` | attach in FREE; the second to leave | either side in ATTACHED or DETACHING, before its own leave | through `state` |

use crate::sync::{AcqRel, Acquire, AtomicU32, Relaxed, Release, UnsafeCell, mutant, ordering};

const FREE: u32 = 0;
const ATTACHED: u32 = 1;
const DETACHING: u32 = 2;

/// What a look at the pair found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttachState {
    Free,
    Attached,
    /// One side has left.
    Detaching,
}

/// One pair's state and, while it is not free, what its two sides share.
#[derive(Debug)]
pub(crate) struct Attachment<T> {
    state: AtomicU32,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: `value` is handed from thread to thread by `state` as in the table above; T is Send.
unsafe impl<T: Send> Sync for Attachment<T> {}

impl<T: Clone> Attachment<T> {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU32::new(FREE), value: UnsafeCell::new(None) }
    }

    /// What the pair is in. Acquire: with ATTACHED comes `value`, with DETACHING the first leaver's work.
    #[inline(always)]
    pub(crate) fn state(&self) -> AttachState {
        match self.state.load(Acquire) {
            FREE => AttachState::Free,
            ATTACHED => AttachState::Attached,
            _ => AttachState::Detaching,
        }
    }

    /// Attaches, if the pair is free; gives the value back otherwise. One attaching thread at a time (the
    /// router's control lock).
    pub(crate) fn attach(&self, value: T) -> Result<(), T> {
        // Acquire: the last pair's value is gone; pairs with the Release in `leave`.
        if self.state.load(ordering("attach-free-relaxed-load", Acquire, Relaxed)) != FREE {
            return Err(value);
        }
        self.value.with_mut(|slot| {
            // SAFETY: in FREE nobody but the one attaching thread touches `value`.
            unsafe { *slot = Some(value) }
        });
        // Release: publishes `value`; pairs with the Acquire in `state`.
        self.state.store(ATTACHED, ordering("attach-attached-relaxed", Release, Relaxed));
        Ok(())
    }

    /// A copy of the shared value, for a side that has seen the pair attached and has not left it.
    pub(crate) fn view(&self) -> Option<T> {
        if self.state() == AttachState::Free {
            return None;
        }
        self.value.with(|slot| {
            // SAFETY: the caller's side has not left, so no second leaver has taken the value; nobody writes it.
            unsafe { (*slot).clone() }
        })
    }

    /// Leaves the pair. The second side to do so gets the value to settle, and the pair is free afterwards.
    /// Each side calls this once per attachment.
    pub(crate) fn leave(&self, settle: impl FnOnce(T)) {
        // AcqRel: gives the other side what this one did, or takes what the other side did.
        let order = ordering("attach-leave-relaxed", AcqRel, Relaxed);
        if self.state.swap(DETACHING, order) != DETACHING {
            return;
        }
        let value = self.value.with_mut(|slot| {
            // SAFETY: both sides have left; only this thread, the second, touches the value now.
            unsafe { (*slot).take() }
        });
        if mutant("attach-free-before-settle") {
            self.state.store(FREE, Release);
        }
        if let Some(value) = value {
            settle(value);
        }
        // Release: the value is gone; pairs with the Acquire in `attach`.
        self.state.store(FREE, ordering("attach-free-relaxed", Release, Relaxed));
    }
}
