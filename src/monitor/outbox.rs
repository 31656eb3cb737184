//! Delivery of alerts and reports to listeners. The monitor's thread puts each entry into a bounded queue per
//! listener. Host code runs neither on that thread nor under a lock of the library.
//!
//! - A callback has its own thread. If it blocks, only its own queue fills. If it panics, it is called again with the
//!   next entry.
//! - A poll has a descriptor for the host's event loop.
//!
//! A full queue drops its oldest entry and counts it. A queue keeps its order, so a listener sees an alert's
//! notifications in order.

mod callback;
mod poll;

pub use callback::CallbackId;
pub use poll::ListenerPoll;

use crate::error::ListenError;
use crate::sync::{Arc, AtomicU64, Mutex, Relaxed, lock};
use callback::Callback;
use poll::Inbox;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Weak;
use std::time::Duration;

/// Maximum number of callbacks, and of polls.
pub(super) const MAX_LISTENERS: usize = 16;
/// How long dropping an outbox waits for callbacks in progress.
const PATIENCE: Duration = Duration::from_secs(1);

/// Losses in delivery, for the figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListenerLosses {
    /// Entries that a listener did not get.
    pub(crate) dropped: u64,
    /// Panics of callbacks.
    pub(crate) panics: u64,
}

/// Counts of all listeners, including removed ones. Relaxed throughout: nothing is published through them.
#[derive(Debug)]
struct OutboxCounts {
    dropped: AtomicU64,
    panics: AtomicU64,
}

/// One listener's queue. A full queue drops its oldest entry.
#[derive(Debug)]
struct NoticeQueue<T> {
    queue: VecDeque<Arc<T>>,
    capacity: usize,
}

impl<T> NoticeQueue<T> {
    fn new(capacity: usize) -> Self {
        Self { queue: VecDeque::new(), capacity }
    }

    fn push(&mut self, one: Arc<T>, counts: &OutboxCounts) {
        if self.queue.len() >= self.capacity {
            self.queue.pop_front();
            counts.dropped.fetch_add(1, Relaxed); // Relaxed: see `OutboxCounts`.
        }
        self.queue.push_back(one);
    }

    /// Drops all queued entries and counts them.
    fn discard(&mut self, counts: &OutboxCounts) {
        counts.dropped.fetch_add(self.queue.len() as u64, Relaxed); // Relaxed: see `OutboxCounts`.
        self.queue.clear();
    }
}

#[derive(Debug)]
struct Listeners<T> {
    /// Removed callbacks stay until their threads have ended, so that the number of threads is bounded too.
    callbacks: Vec<Arc<Callback<T>>>,
    polls: Vec<Weak<Inbox<T>>>,
    made: u64,
}

/// The listeners; see the module documentation.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    /// Name of the callbacks' threads.
    thread: &'static str,
    /// Maximum number of entries in one listener's queue.
    capacity: usize,
    listeners: Mutex<Listeners<T>>,
    counts: Arc<OutboxCounts>,
}

impl<T: Clone + Debug + Send + Sync + 'static> Outbox<T> {
    pub(crate) fn new(thread: &'static str, capacity: usize) -> Self {
        let counts = OutboxCounts { dropped: AtomicU64::new(0), panics: AtomicU64::new(0) };
        let listeners = Listeners { callbacks: Vec::new(), polls: Vec::new(), made: 0 };
        Self { thread, capacity, listeners: Mutex::new(listeners), counts: Arc::new(counts) }
    }

    /// Calls `callback` with each entry from this moment on, on a thread of its own.
    ///
    /// # Errors
    /// - [`ListenError::TooMany`] if there are 16 callbacks.
    /// - [`ListenError::System`] if the thread cannot be created.
    pub(crate) fn add_callback(
        &self,
        callback: impl Fn(&T) + Send + Sync + 'static,
    ) -> Result<CallbackId, ListenError> {
        let mut listeners = lock(&self.listeners);
        listeners.callbacks.retain(|callback| !callback.has_ended());
        if listeners.callbacks.len() >= MAX_LISTENERS {
            return Err(ListenError::TooMany(MAX_LISTENERS as u32));
        }
        let number = listeners.made;
        let callback = Callback::start(
            self.thread,
            self.capacity,
            number,
            Box::new(callback),
            Arc::clone(&self.counts),
        )?;
        listeners.callbacks.push(Arc::new(callback));
        listeners.made += 1;
        Ok(CallbackId(number))
    }

    /// Ends a callback and drops its queued entries. Returns true if the callback has ended and is not called again.
    /// Returns false if a call is in progress and has not returned within `patience`, or if the callback removes
    /// itself; no new call starts after it.
    pub(crate) fn remove_callback(&self, id: CallbackId, patience: Duration) -> bool {
        let found = {
            let listeners = lock(&self.listeners);
            listeners.callbacks.iter().find(|callback| callback.id() == id).map(Arc::clone)
        };
        // Without the lock, because the wait may be long. The callback keeps its place until it has ended.
        found.is_none_or(|callback| callback.end(patience))
    }

    /// Returns a queue that gets each entry from this moment on, until it is dropped.
    ///
    /// # Errors
    /// - [`ListenError::TooMany`] if there are 16 such queues.
    /// - [`ListenError::System`] if the descriptor cannot be created.
    pub(crate) fn poll(&self) -> Result<ListenerPoll<T>, ListenError> {
        let mut listeners = lock(&self.listeners);
        listeners.polls.retain(|inbox| inbox.strong_count() > 0);
        if listeners.polls.len() >= MAX_LISTENERS {
            return Err(ListenError::TooMany(MAX_LISTENERS as u32));
        }
        let inbox = Arc::new(Inbox::new(self.capacity)?);
        listeners.polls.push(Arc::downgrade(&inbox));
        Ok(ListenerPoll::new(inbox))
    }

    /// Queues entries for all listeners, in order. Does not wait for any listener.
    pub(crate) fn send(&self, entries: Vec<T>) {
        if entries.is_empty() {
            return;
        }
        let listeners = lock(&self.listeners);
        for entry in entries.into_iter().map(Arc::new) {
            for callback in &listeners.callbacks {
                callback.push(&entry, &self.counts);
            }
            for inbox in listeners.polls.iter().filter_map(Weak::upgrade) {
                inbox.push(&entry, &self.counts);
            }
        }
    }

    pub(crate) fn delivery(&self) -> ListenerLosses {
        let load = |count: &AtomicU64| count.load(Relaxed); // Relaxed: see `OutboxCounts`.
        ListenerLosses { dropped: load(&self.counts.dropped), panics: load(&self.counts.panics) }
    }
}

impl<T> Outbox<T> {
    /// Ends every callback and closes every poll. Waits up to `patience` for callbacks in progress. Returns how many
    /// of them have not returned.
    fn close(&self, patience: Duration) -> usize {
        let (callbacks, polls) = {
            let mut listeners = lock(&self.listeners);
            let Listeners { callbacks, polls, .. } = &mut *listeners;
            (std::mem::take(callbacks), std::mem::take(polls))
        };
        for inbox in polls.iter().filter_map(Weak::upgrade) {
            inbox.close();
        }
        for callback in &callbacks {
            callback.close();
        }
        let start = std::time::Instant::now();
        let left = |callback: &&Arc<Callback<T>>| !callback.end(patience.saturating_sub(start.elapsed()));
        callbacks.iter().filter(left).count()
    }
}

impl<T> Drop for Outbox<T> {
    fn drop(&mut self) {
        let left = self.close(PATIENCE);
        if left > 0 {
            tracing::warn!(
                left,
                "alert or report callbacks did not return in time; their threads are left behind"
            );
        }
    }
}

#[cfg(test)]
mod tests;
