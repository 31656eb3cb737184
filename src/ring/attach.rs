//! The attach state of one (worker, port) pair: FREE → ATTACHED → DETACHING → FREE. The slot holds what both sides
//! share (their rings) from the attach until both sides have left. The side that leaves second settles the value and
//! frees the slot.
//!
//! | field | written by | read by | ordering |
//! |---|---|---|---|
//! | `state` → ATTACHED | the attaching port | the worker | Release / Acquire: publishes `value` |
//! | `state` → DETACHING | each side once, by swap | the other side's swap | AcqRel: passes on the first side's work |
//! | `state` → FREE | the second to leave | the next attach | Release / Acquire: `value` is gone |
//! | `value` | attach in FREE; the second to leave | a side in ATTACHED or DETACHING, before its leave | via `state` |

use crate::sync::{AcqRel, Acquire, AtomicU32, Relaxed, Release, UnsafeCell, mutant, ordering};

const FREE: u32 = 0;
const ATTACHED: u32 = 1;
const DETACHING: u32 = 2;

/// The state that a load of the pair returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttachState {
    Free,
    Attached,
    /// One side has left.
    Detaching,
}

/// The state of one pair and, unless the pair is free, the value that its two sides share.
#[derive(Debug)]
pub(crate) struct Attachment<T> {
    state: AtomicU32,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: `state` passes `value` from thread to thread, as in the table above; T is Send.
unsafe impl<T: Send> Sync for Attachment<T> {}

impl<T: Clone> Attachment<T> {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU32::new(FREE), value: UnsafeCell::new(None) }
    }

    /// The pair's state. Acquire: ATTACHED publishes `value`, and DETACHING publishes what the first leaver did.
    #[inline(always)]
    pub(crate) fn state(&self) -> AttachState {
        match self.state.load(Acquire) {
            FREE => AttachState::Free,
            ATTACHED => AttachState::Attached,
            _ => AttachState::Detaching,
        }
    }

    /// Attaches if the pair is free; otherwise returns the value. Only one thread at a time may attach (the router's
    /// control lock).
    pub(crate) fn attach(&self, value: T) -> Result<(), T> {
        // Acquire: the previous pair's value is gone; pairs with the Release in `leave`.
        if self.state.load(ordering("attach-free-relaxed-load", Acquire, Relaxed)) != FREE {
            return Err(value);
        }
        self.value.with_mut(|slot| {
            // SAFETY: in FREE only the one attaching thread touches `value`.
            unsafe { *slot = Some(value) }
        });
        // Release: publishes `value`; pairs with the Acquire in `state`.
        self.state.store(ATTACHED, ordering("attach-attached-relaxed", Release, Relaxed));
        Ok(())
    }

    /// A copy of the shared value. The calling side has seen the pair attached and has not left it.
    pub(crate) fn view(&self) -> Option<T> {
        if self.state() == AttachState::Free {
            return None;
        }
        self.value.with(|slot| {
            // SAFETY: the caller's side has not left, so no second leaver has taken the value, and no thread writes
            // it.
            unsafe { (*slot).clone() }
        })
    }

    /// Leaves the pair. The side that leaves second passes the value to `settle`; then the pair is free. Each side
    /// calls this once per attachment.
    pub(crate) fn leave(&self, settle: impl FnOnce(T)) {
        // AcqRel: publishes what this side did (first leaver), or sees what the other side did (second leaver).
        let order = ordering("attach-leave-relaxed", AcqRel, Relaxed);
        if self.state.swap(DETACHING, order) != DETACHING {
            return;
        }
        let value = self.value.with_mut(|slot| {
            // SAFETY: both sides have left. Only this thread, the second leaver, touches the value now.
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
