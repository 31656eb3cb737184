//! One callback and its thread. `outbox` fills the queue and ends it.

use super::{NoticeQueue, OutboxCounts};
use crate::sync::{Arc, Mutex, MutexGuard, Relaxed, lock};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, PoisonError};
use std::thread::{Thread, ThreadId};
use std::time::{Duration, Instant};

/// Which callback, for removing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallbackId(pub(super) u64);

pub(super) type Function<T> = Box<dyn Fn(&T) + Send + Sync>;

/// How long an end waits at least for a thread that is not inside the host's code: it only has to be scheduled. Bounded
/// because in a child of fork there is none.
const SCHEDULING: Duration = Duration::from_secs(5);

/// Where the thread is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CallbackPlace {
    /// In our code.
    #[default]
    Waiting,
    /// In the host's: called, or being dropped.
    Inside,
    /// Out of both, for good.
    Ended,
}

#[derive(Debug)]
struct CallbackState<T> {
    waiting: NoticeQueue<T>,
    closed: bool,
    place: CallbackPlace,
}

#[derive(Debug)]
struct CallbackShared<T> {
    state: Mutex<CallbackState<T>>,
    /// Something waits, it was closed, or the thread is in another place.
    changed: Condvar,
}

#[derive(Debug)]
pub(super) struct Callback<T> {
    number: u64,
    shared: Arc<CallbackShared<T>>,
    counts: Arc<OutboxCounts>,
    thread: Thread,
}

impl<T: Send + Sync + 'static> Callback<T> {
    pub(super) fn start(
        thread: &str,
        capacity: usize,
        number: u64,
        function: Function<T>,
        counts: Arc<OutboxCounts>,
    ) -> std::io::Result<Self> {
        let state = CallbackState {
            waiting: NoticeQueue::new(capacity),
            closed: false,
            place: CallbackPlace::default(),
        };
        let shared = Arc::new(CallbackShared { state: Mutex::new(state), changed: Condvar::new() });
        let (its, its_counts) = (Arc::clone(&shared), Arc::clone(&counts));
        let thread = std::thread::Builder::new().name(format!("{thread}-{number}"));
        // Never joined: `Ended` is the last thing it does, and one inside the host's code may stay there for ever.
        let handle = thread.spawn(move || its.run(function, &its_counts))?;
        Ok(Self { number, shared, counts, thread: handle.thread().clone() })
    }
}

impl<T> Callback<T> {
    pub(super) fn id(&self) -> CallbackId {
        CallbackId(self.number)
    }

    pub(super) fn push(&self, entry: &Arc<T>, counts: &OutboxCounts) {
        let mut state = lock(&self.shared.state);
        if !state.closed {
            state.waiting.push(Arc::clone(entry), counts);
            self.shared.changed.notify_all();
        }
    }

    /// It is called no more, but for the call that it may be in. What waits is dropped.
    pub(super) fn close(&self) {
        let mut state = lock(&self.shared.state);
        state.closed = true;
        state.waiting.discard(&self.counts);
        self.shared.changed.notify_all();
    }

    pub(super) fn has_ended(&self) -> bool {
        lock(&self.shared.state).place == CallbackPlace::Ended
    }

    /// Closes it and waits for its thread's end, up to `patience` where that is inside the host's code. Says whether it
    /// has ended.
    pub(super) fn end(&self, patience: Duration) -> bool {
        self.close();
        if self.is_own(std::thread::current().id()) {
            return false;
        }
        let start = Instant::now();
        let mut state = lock(&self.shared.state);
        loop {
            let limit = match state.place {
                CallbackPlace::Ended => return true,
                CallbackPlace::Inside => patience,
                CallbackPlace::Waiting => patience.max(SCHEDULING),
            };
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether it is the callback itself that asks: it would wait for itself.
    fn is_own(&self, thread: ThreadId) -> bool {
        self.thread.id() == thread
    }
}

impl<T> CallbackShared<T> {
    /// The thread.
    fn run(&self, function: Function<T>, counts: &OutboxCounts) {
        while let Some(entry) = self.take() {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| function(&entry))) {
                counts.panics.fetch_add(1, Relaxed); // Relaxed: see `OutboxCounts`.
                let_go(payload);
            }
        }
        // Dropping it drops what it has captured.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(function))) {
            counts.panics.fetch_add(1, Relaxed); // Relaxed: see `OutboxCounts`.
            let_go(payload);
        }
        lock(&self.state).place = CallbackPlace::Ended;
        self.changed.notify_all();
    }

    /// The next entry, once there is one; nothing once it is closed. The host's code follows in either case.
    fn take(&self) -> Option<Arc<T>> {
        let mut state = lock(&self.state);
        state.place = CallbackPlace::Waiting;
        loop {
            let next = state.waiting.queue.pop_front();
            if next.is_some() || state.closed {
                state.place = CallbackPlace::Inside;
                return next;
            }
            state = self.sleep(state);
        }
    }

    fn sleep<'a>(&self, state: MutexGuard<'a, CallbackState<T>>) -> MutexGuard<'a, CallbackState<T>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of what a callback panicked with, which may panic in turn.
fn let_go(payload: Box<dyn Any + Send>) {
    if let Err(next) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // It would go on for ever; what little it is stays where it is.
        std::mem::forget(next);
    }
}
