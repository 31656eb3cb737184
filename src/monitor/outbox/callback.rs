//! One callback and its thread. `outbox` fills its queue and ends it.

use super::{NoticeQueue, OutboxCounts};
use crate::sync::{Arc, Mutex, MutexGuard, Relaxed, lock};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, PoisonError};
use std::thread::{Thread, ThreadId};
use std::time::{Duration, Instant};

/// Identifies a callback, for its removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallbackId(pub(super) u64);

pub(super) type Function<T> = Box<dyn Fn(&T) + Send + Sync>;

/// The least time that `end` waits for a thread that is not in host code, and so only has to be scheduled. Bounded,
/// because in a forked child the thread does not exist.
const SCHEDULING: Duration = Duration::from_secs(5);

/// Where the callback's thread is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CallbackPlace {
    /// In library code.
    #[default]
    Waiting,
    /// In host code: the callback is being called or dropped.
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
    /// Signals a new entry, a close, or a change of the thread's place.
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
        // The thread is never joined: setting `Ended` is its last act, and a thread in host code may stay there for
        // ever.
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

    /// Closes the callback and drops its queued entries. No new call starts; a call in progress finishes.
    pub(super) fn close(&self) {
        let mut state = lock(&self.shared.state);
        state.closed = true;
        state.waiting.discard(&self.counts);
        self.shared.changed.notify_all();
    }

    pub(super) fn has_ended(&self) -> bool {
        lock(&self.shared.state).place == CallbackPlace::Ended
    }

    /// Closes the callback and waits for its thread's end, up to `patience` if the thread is in host code. Returns
    /// whether the thread has ended.
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

    /// Whether the caller is the callback itself, which would wait for its own end.
    fn is_own(&self, thread: ThreadId) -> bool {
        self.thread.id() == thread
    }
}

impl<T> CallbackShared<T> {
    /// The thread's main function.
    fn run(&self, function: Function<T>, counts: &OutboxCounts) {
        while let Some(entry) = self.take() {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| function(&entry))) {
                counts.panics.fetch_add(1, Relaxed); // Relaxed: see `OutboxCounts`.
                let_go(payload);
            }
        }
        // Dropping the function drops the host's captured values.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(function))) {
            counts.panics.fetch_add(1, Relaxed); // Relaxed: see `OutboxCounts`.
            let_go(payload);
        }
        lock(&self.state).place = CallbackPlace::Ended;
        self.changed.notify_all();
    }

    /// Waits for the next entry, or `None` after a close. Host code follows in either case.
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

/// Drops a panic's payload. The drop may panic in turn.
fn let_go(payload: Box<dyn Any + Send>) {
    if let Err(next) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Dropping could panic for ever; leak the payload instead.
        std::mem::forget(next);
    }
}
