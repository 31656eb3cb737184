//! A value behind a lock, and work on it that a thread may ask for without ever waiting for that lock: whoever holds it
//! does the work after letting go. How a shared port's poller has done what only the submitting half can do.
//!
//! Who asks stores the wish, fences and tries the lock. Who lets go of the lock fences and looks for a wish. Of the two
//! fences one comes first: either the one who asks finds the lock free, or the holder finds the wish. Model:
//! `models::delegated`.

use super::{AcqRel, AtomicBool, Mutex, Relaxed, Release, lock, try_lock, wake_fence};

/// `serve` is the same work in every call.
#[derive(Debug)]
pub(crate) struct Delegated<T> {
    value: Mutex<Option<T>>,
    wanted: AtomicBool,
}

impl<T> Delegated<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Mutex::new(Some(value)), wanted: AtomicBool::new(false) }
    }

    /// Runs `call` on the value, alone; then `serve`, if anybody has asked for it meanwhile. Waits for other calls. Nothing
    /// is given to `call` once the value has been taken. What `serve` returns is dropped outside the lock.
    pub(crate) fn with<R, D>(
        &self,
        call: impl FnOnce(Option<&mut T>) -> R,
        serve: impl Fn(&mut T) -> D,
    ) -> R {
        let result = call(lock(&self.value).as_mut());
        self.serve_if_wanted(serve);
        result
    }

    /// Has `serve` run on the value, here or by whoever holds the lock. Never waits.
    pub(crate) fn ask<D>(&self, serve: impl Fn(&mut T) -> D) {
        self.wanted.swap(true, Release); // Release: with the wish comes what it is about; pairs with the swap below.
        self.serve_if_wanted(serve);
    }

    /// Takes the value for good.
    pub(crate) fn take(&self) -> Option<T> {
        lock(&self.value).take()
    }

    fn serve_if_wanted<D>(&self, serve: impl Fn(&mut T) -> D) {
        loop {
            wake_fence("delegated-fence");
            // Relaxed: behind the fence.
            if !self.wanted.load(Relaxed) {
                return;
            }
            // Whoever has it comes here afterwards.
            let Some(mut value) = try_lock(&self.value) else { return };
            // AcqRel: pairs with the Release in `ask`. Not there any more: another holder has done it.
            let wanted = self.wanted.swap(false, AcqRel);
            let rest = value.as_mut().filter(|_| wanted).map(&serve);
            drop(value);
            drop(rest);
        }
    }
}
