//! A value that its owner lays down while it is away and takes back when it returns, unless another thread has
//! claimed the value for good. A worker is away while it is inside a handler; a stop claims the state of a worker
//! whose handler does not return.
//!
//! | state | who may touch `value` | left by |
//! |---|---|---|
//! | HOME: the owner holds the value | only the owner | the owner's `lay_down` (Release) |
//! | AWAY: the value is stored here | nobody | compare-exchange: the owner's to HOME, or a claimer's to CLAIMED |
//! | CLAIMED: the claimer has taken the value | nobody | never |
//!
//! Model: `models::stuck`.

use super::{AcqRel, Acquire, AtomicU32, Relaxed, Release, UnsafeCell, mutant, ordering};

const HOME: u32 = 0;
const AWAY: u32 = 1;
const CLAIMED: u32 = 2;

#[derive(Debug)]
pub(crate) struct Handover<T> {
    state: AtomicU32,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: `state` passes `value` from thread to thread, as in the table above; T is Send.
unsafe impl<T: Send> Sync for Handover<T> {}

impl<T> Handover<T> {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU32::new(HOME), value: UnsafeCell::new(None) }
    }

    /// The owner goes away; from now on the value can be claimed. Returns the value if the state is not HOME: a value
    /// is stored already, or one has been claimed. There is one owner, which holds the value that `take_back`
    /// returned.
    #[inline]
    pub(crate) fn lay_down(&self, value: T) -> Result<(), T> {
        // Relaxed: in HOME only the owner, which is this thread, changes the state.
        if self.state.load(Relaxed) != HOME {
            return Err(value);
        }
        self.value.with_mut(|slot| {
            // SAFETY: in HOME only the owner, which is this thread, touches `value`.
            unsafe { *slot = Some(value) }
        });
        // Release: publishes the value and everything that the owner did before; pairs with the AcqRel in `take_back`
        // and `claim`.
        self.state.store(AWAY, ordering("stuck-lay-down-relaxed", Release, Relaxed));
        Ok(())
    }

    /// The owner returns. `None`: the value has been claimed, and the owner must not touch the state that belongs to
    /// it.
    #[inline]
    pub(crate) fn take_back(&self) -> Option<T> {
        self.take(HOME, mutant("stuck-back-by-swap"))
    }

    /// Takes the value for good if its owner is away. At most one claim ever gets it.
    pub(crate) fn claim(&self) -> Option<T> {
        self.take(CLAIMED, mutant("stuck-claim-by-swap"))
    }

    fn take(&self, next: u32, by_swap: bool) -> Option<T> {
        if by_swap {
            if self.state.swap(next, AcqRel) != AWAY {
                return None;
            }
        } else {
            // AcqRel: makes everything that the owner did before AWAY visible; pairs with the Release in `lay_down`.
            let order = ordering("stuck-take-relaxed", AcqRel, Relaxed);
            if self.state.compare_exchange(AWAY, next, order, Relaxed).is_err() {
                return None;
            }
        }
        self.value.with_mut(|slot| {
            // SAFETY: exactly one thread leaves AWAY, and this one did. No other thread touches `value` until the
            // owner lays one down again, which it does only after a `take_back`.
            unsafe { (*slot).take() }
        })
    }

    /// Whether the owner is away. Only a hint: it may be outdated at once.
    pub(crate) fn is_away(&self) -> bool {
        self.state.load(Acquire) == AWAY // Acquire: pairs with `lay_down`; the caller reads nothing because of it.
    }

    /// Whether the value has been claimed.
    pub(crate) fn is_claimed(&self) -> bool {
        self.state.load(Acquire) == CLAIMED // Acquire: pairs with the claim's exchange.
    }
}
