//! A value that its owner lays down while it is away, and takes back when it returns, unless another has claimed it
//! for good meanwhile. How a worker is away inside a handler, and how a stop takes over one that never returns.
//!
//! | state | who may touch `value` | left by |
//! |---|---|---|
//! | HOME: nothing lies here | nobody but the owner, who has the value itself | the owner's `lay_down` (Release) |
//! | AWAY: the value lies here | nobody | compare-exchange: the owner's to HOME, or one claim's to CLAIMED |
//! | CLAIMED: gone for good | nobody; the claimer has taken the value | never |
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

// SAFETY: `value` passes from thread to thread by `state` as in the table above; T is Send.
unsafe impl<T: Send> Sync for Handover<T> {}

impl<T> Handover<T> {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU32::new(HOME), value: UnsafeCell::new(None) }
    }

    /// The owner goes away: from now on the value can be claimed. Gives the value back where it cannot be laid down,
    /// because one lies here or has been claimed. One owner; it holds the value that `take_back` gave it.
    #[inline]
    pub(crate) fn lay_down(&self, value: T) -> Result<(), T> {
        // Relaxed: in HOME only the owner, this thread, changes the state.
        if self.state.load(Relaxed) != HOME {
            return Err(value);
        }
        self.value.with_mut(|slot| {
            // SAFETY: in HOME nobody but the owner touches `value`, and that is this thread.
            unsafe { *slot = Some(value) }
        });
        // Release: the value, and all that the owner did before; pairs with the Acquire in `take_back` and `claim`.
        self.state.store(AWAY, ordering("stuck-lay-down-relaxed", Release, Relaxed));
        Ok(())
    }

    /// The owner is back. Nothing: the value has been claimed, and the owner must not touch what went with it.
    #[inline]
    pub(crate) fn take_back(&self) -> Option<T> {
        self.take(HOME, mutant("stuck-back-by-swap"))
    }

    /// Takes the value for good, if its owner is away. At most one claim ever gets it.
    pub(crate) fn claim(&self) -> Option<T> {
        self.take(CLAIMED, mutant("stuck-claim-by-swap"))
    }

    fn take(&self, next: u32, by_swap: bool) -> Option<T> {
        if by_swap {
            if self.state.swap(next, AcqRel) != AWAY {
                return None;
            }
        } else {
            // AcqRel: with AWAY comes all that the owner did before it went; pairs with the Release in `lay_down`.
            let order = ordering("stuck-take-relaxed", AcqRel, Relaxed);
            if self.state.compare_exchange(AWAY, next, order, Relaxed).is_err() {
                return None;
            }
        }
        self.value.with_mut(|slot| {
            // SAFETY: one thread leaves AWAY, and this one did: no other touches `value` until the owner lays one down
            // again, which only follows a `take_back`.
            unsafe { (*slot).take() }
        })
    }

    /// Whether the owner is away; a hint, as soon as it is read.
    pub(crate) fn is_away(&self) -> bool {
        self.state.load(Acquire) == AWAY // Acquire: pairs with `lay_down`; nothing is read because of it.
    }

    /// Whether it has been claimed.
    pub(crate) fn is_claimed(&self) -> bool {
        self.state.load(Acquire) == CLAIMED // Acquire: pairs with the claim's exchange.
    }
}
