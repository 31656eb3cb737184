//! Who may use the submitting half of a shared port: any thread, through a lock, or one thread, without one.

use super::{Arc, Delegated};
use std::cell::RefCell;
use std::fmt::Debug;
use std::rc::Rc;

/// How the handles of a port share its submitting half: [`AnyThread`] or [`OneThread`].
pub trait Sharing: Copy + Debug + 'static + sealed::Sharing {}

/// Through a lock. The handles may move to other threads.
#[derive(Clone, Copy, Debug)]
pub struct AnyThread;

/// Without a lock. All handles stay on one thread.
///
/// ```compile_fail,E0277
/// fn may_move<T: Send>() {}
/// may_move::<corelane::tokio::Submitter<corelane::router::OneThread>>();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct OneThread;

impl Sharing for AnyThread {}
impl Sharing for OneThread {}

pub(crate) mod sealed {
    pub trait Sharing {
        type Of<T>: super::Shared<T>;
    }
}

impl sealed::Sharing for AnyThread {
    type Of<T> = Arc<Delegated<T>>;
}

impl sealed::Sharing for OneThread {
    type Of<T> = Rc<RefCell<Option<T>>>;
}

/// A value that several handles use, one after another. The calls are those of [`Delegated`].
pub trait Shared<T>: Clone {
    /// The first handle.
    fn of(value: T) -> Self;
    /// See `Delegated::with`.
    fn with<R, D>(&self, call: impl FnOnce(Option<&mut T>) -> R, serve: impl Fn(&mut T) -> D) -> R;
    /// See `Delegated::ask`.
    fn ask<D>(&self, serve: impl Fn(&mut T) -> D);
    /// See `Delegated::take`.
    fn take(&self) -> Option<T>;
}

impl<T> Shared<T> for Arc<Delegated<T>> {
    fn of(value: T) -> Self {
        Self::new(Delegated::new(value))
    }

    #[inline]
    fn with<R, D>(&self, call: impl FnOnce(Option<&mut T>) -> R, serve: impl Fn(&mut T) -> D) -> R {
        (**self).with(call, serve)
    }

    fn ask<D>(&self, serve: impl Fn(&mut T) -> D) {
        (**self).ask(serve);
    }

    fn take(&self) -> Option<T> {
        (**self).take()
    }
}

/// No call runs code of the host, so none comes inside another one, and nobody has work for later.
impl<T> Shared<T> for Rc<RefCell<Option<T>>> {
    fn of(value: T) -> Self {
        Self::new(RefCell::new(Some(value)))
    }

    #[inline]
    fn with<R, D>(&self, call: impl FnOnce(Option<&mut T>) -> R, _: impl Fn(&mut T) -> D) -> R {
        call(self.borrow_mut().as_mut())
    }

    fn ask<D>(&self, serve: impl Fn(&mut T) -> D) {
        // Dropped after the borrow: it may be the host's.
        let rest = self.borrow_mut().as_mut().map(serve);
        drop(rest);
    }

    fn take(&self) -> Option<T> {
        self.borrow_mut().take()
    }
}
