//! A value behind a lock, and work on that value that a thread can request without waiting for the lock: if the lock
//! is held, its holder does the work after it has released the lock. The poller of a shared port uses this for work
//! that only the submitting half can do.
//!
//! A requester sets `wanted`, fences and tries the lock. A holder releases the lock, fences and checks `wanted`. One
//! of the two fences is first, so either the requester finds the lock free, or the holder finds the request (Dekker's
//! protocol, as in `park`). Model: `models::handoff`.

use super::{AcqRel, AtomicBool, Mutex, Relaxed, Release, lock, try_lock, wake_fence};

/// Every call must pass a `serve` that does the same work.
#[derive(Debug)]
pub struct Delegated<T> {
    value: Mutex<Option<T>>,
    wanted: AtomicBool,
}

impl<T> Delegated<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Mutex::new(Some(value)), wanted: AtomicBool::new(false) }
    }

    /// Runs `call` on the value with exclusive access, then `serve` if another thread has requested it meanwhile.
    /// Waits for other calls. `call` gets `None` once the value has been taken. The result of `serve` is dropped
    /// outside the lock.
    pub(crate) fn with<R, D>(
        &self,
        call: impl FnOnce(Option<&mut T>) -> R,
        serve: impl Fn(&mut T) -> D,
    ) -> R {
        let result = call(lock(&self.value).as_mut());
        self.serve_if_wanted(serve);
        result
    }

    /// Requests `serve`: runs it here, or leaves it to the thread that holds the lock. Never waits.
    pub(crate) fn ask<D>(&self, serve: impl Fn(&mut T) -> D) {
        self.wanted.swap(true, Release); // Release: publishes what the request is about; pairs with the swap below.
        self.serve_if_wanted(serve);
    }

    /// Takes the value for good.
    pub(crate) fn take(&self) -> Option<T> {
        lock(&self.value).take()
    }

    fn serve_if_wanted<D>(&self, serve: impl Fn(&mut T) -> D) {
        loop {
            wake_fence("delegated-fence");
            // Relaxed: after the fence.
            if !self.wanted.load(Relaxed) {
                return;
            }
            // The holder calls this function after it has released the lock.
            let Some(mut value) = try_lock(&self.value) else { return };
            // AcqRel: pairs with the Release in `ask`. If the flag is clear, another holder has served the request.
            let wanted = self.wanted.swap(false, AcqRel);
            let rest = value.as_mut().filter(|_| wanted).map(&serve);
            drop(value);
            drop(rest);
        }
    }
}
