//! How alerts and reports get to those who listen. The monitor's thread puts them into a bounded queue per listener and goes on: no
//! code of a host's runs on it, and none under a lock of ours.
//!
//! - A callback has a thread of its own. One that blocks fills its own queue; one that panics is called again with the next.
//! - A poll has a descriptor for the host's event loop.
//!
//! A full queue loses its oldest entry, which is counted. A queue keeps its order, so each alert's story does too.

mod callback;
mod poll;

pub use callback::CallbackId;
pub use poll::ListenerPoll;

use crate::error::Error;
use crate::sync::{Arc, AtomicU64, Mutex, Relaxed, lock};
use callback::Callback;
use poll::Inbox;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Weak;
use std::time::Duration;

/// Callbacks at once, and polls at once.
pub(super) const MAX_LISTENERS: usize = 16;
/// How long the end of an outbox waits for callbacks that are being called.
const PATIENCE: Duration = Duration::from_secs(1);

/// What delivery has cost, for the figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListenerLosses {
    /// What a listener did not get.
    pub(crate) dropped: u64,
    /// Callbacks' panics.
    pub(crate) panics: u64,
}

/// OutboxCounts of all listeners, those that are gone included. Relaxed throughout: nothing is published through them.
#[derive(Debug)]
struct OutboxCounts {
    dropped: AtomicU64,
    panics: AtomicU64,
}

/// What waits for one listener; the oldest goes where there is no room.
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

    /// Whoever waits for these will not get them.
    fn discard(&mut self, counts: &OutboxCounts) {
        counts.dropped.fetch_add(self.queue.len() as u64, Relaxed); // Relaxed: see `OutboxCounts`.
        self.queue.clear();
    }
}

#[derive(Debug)]
struct Listeners<T> {
    /// Those that were removed stay until their threads have ended, so that those are bounded too.
    callbacks: Vec<Arc<Callback<T>>>,
    polls: Vec<Weak<Inbox<T>>>,
    made: u64,
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    /// What its callbacks' threads are called.
    thread: &'static str,
    /// How much waits for one listener.
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

    /// Has `callback` called with each entry from now on, on a thread of its own.
    ///
    /// # Errors
    /// [`Error::TooManyListeners`] past 16, [`Error::System`] where there is no thread to be had.
    pub(crate) fn add_callback(
        &self,
        callback: impl Fn(&T) + Send + Sync + 'static,
    ) -> Result<CallbackId, Error> {
        let mut listeners = lock(&self.listeners);
        listeners.callbacks.retain(|callback| !callback.has_ended());
        if listeners.callbacks.len() >= MAX_LISTENERS {
            return Err(Error::TooManyListeners(MAX_LISTENERS as u32));
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

    /// Ends a callback: what waits for it is dropped. True: it is over and will not be called again. False: it is being
    /// called and has not returned within `patience`, or asks this of itself; after that call it is not called again.
    pub(crate) fn remove_callback(&self, id: CallbackId, patience: Duration) -> bool {
        let found = {
            let listeners = lock(&self.listeners);
            listeners.callbacks.iter().find(|callback| callback.id() == id).map(Arc::clone)
        };
        // Not under the lock: it may take a while. Until it has ended it keeps its place.
        found.is_none_or(|callback| callback.end(patience))
    }

    /// A queue that gets each entry from now on, until it is dropped.
    ///
    /// # Errors
    /// [`Error::TooManyListeners`] past 16, [`Error::System`] where there is no descriptor to be had.
    pub(crate) fn poll(&self) -> Result<ListenerPoll<T>, Error> {
        let mut listeners = lock(&self.listeners);
        listeners.polls.retain(|inbox| inbox.strong_count() > 0);
        if listeners.polls.len() >= MAX_LISTENERS {
            return Err(Error::TooManyListeners(MAX_LISTENERS as u32));
        }
        let inbox = Arc::new(Inbox::new(self.capacity)?);
        listeners.polls.push(Arc::downgrade(&inbox));
        Ok(ListenerPoll::new(inbox))
    }

    /// Queues entries for everyone, in their order. Waits for nobody.
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
    /// Ends every callback and closes every poll. Waits up to `patience` for callbacks that are being called; says how
    /// many it left behind.
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
            tracing::warn!(left, "callbacks have not returned; their threads are left behind");
        }
    }
}

#[cfg(test)]
mod tests;
