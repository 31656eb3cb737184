//! How alerts get to those who listen. The monitor's thread puts them into a bounded queue per listener and goes on: no
//! code of a host's runs on it, and none under a lock of ours.
//!
//! - A callback has a thread of its own. One that blocks fills its own queue; one that panics is called again with the next.
//! - A poll has a descriptor for the host's event loop.
//!
//! A full queue loses its oldest alert, which is counted. A queue keeps its order, so each alert's story does too.

mod callback;
mod poll;

pub use callback::CallbackId;
pub use poll::AlertPoll;

use super::Alert;
use crate::error::Error;
use crate::sync::{Arc, AtomicU64, Mutex, Relaxed, lock};
use callback::Callback;
use poll::Inbox;
use std::collections::VecDeque;
use std::sync::Weak;
use std::time::Duration;

/// Alerts that wait for one listener.
const CAPACITY: usize = 256;
/// Callbacks at once, and polls at once.
const MAX_LISTENERS: usize = 16;
/// How long the end of an outbox waits for callbacks that are being called.
const PATIENCE: Duration = Duration::from_secs(1);

/// What delivery has cost, for the figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// Alerts that a listener did not get.
    pub(crate) dropped: u64,
    /// Callbacks' panics.
    pub(crate) panics: u64,
}

/// Counts of all listeners, those that are gone included. Relaxed throughout: nothing is published through them.
#[derive(Debug)]
struct Counts {
    dropped: AtomicU64,
    panics: AtomicU64,
}

/// Alerts that wait for one listener; the oldest goes where there is no room.
#[derive(Debug, Default)]
struct Waiting(VecDeque<Arc<Alert>>);

impl Waiting {
    fn push(&mut self, alert: Arc<Alert>, counts: &Counts) {
        if self.0.len() >= CAPACITY {
            self.0.pop_front();
            counts.dropped.fetch_add(1, Relaxed); // Relaxed: see `Counts`.
        }
        self.0.push_back(alert);
    }

    /// Whoever waits for these will not get them.
    fn discard(&mut self, counts: &Counts) {
        counts.dropped.fetch_add(self.0.len() as u64, Relaxed); // Relaxed: see `Counts`.
        self.0.clear();
    }
}

#[derive(Debug, Default)]
struct Listeners {
    /// Those that were removed stay until their threads have ended, so that those are bounded too.
    callbacks: Vec<Arc<Callback>>,
    polls: Vec<Weak<Inbox>>,
    made: u64,
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Outbox {
    listeners: Mutex<Listeners>,
    counts: Arc<Counts>,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        let counts = Counts { dropped: AtomicU64::new(0), panics: AtomicU64::new(0) };
        Self { listeners: Mutex::new(Listeners::default()), counts: Arc::new(counts) }
    }

    /// Has `callback` called with each alert from now on, on a thread of its own.
    ///
    /// # Errors
    /// [`Error::TooManyListeners`] past 16, [`Error::System`] where there is no thread to be had.
    pub(crate) fn add_callback(
        &self,
        callback: impl Fn(&Alert) + Send + Sync + 'static,
    ) -> Result<CallbackId, Error> {
        let mut listeners = lock(&self.listeners);
        listeners.callbacks.retain(|callback| !callback.has_ended());
        if listeners.callbacks.len() >= MAX_LISTENERS {
            return Err(Error::TooManyListeners(MAX_LISTENERS as u32));
        }
        let number = listeners.made;
        let callback = Callback::start(number, Box::new(callback), Arc::clone(&self.counts))?;
        listeners.callbacks.push(Arc::new(callback));
        listeners.made += 1;
        Ok(CallbackId(number))
    }

    /// Ends a callback: what waits for it is dropped. Says whether it is certain that it is not called any more; where it
    /// is being called and does not return within `patience`, and from within itself, it is not: it is then called no
    /// more once it returns.
    pub(crate) fn remove_callback(&self, id: CallbackId, patience: Duration) -> bool {
        let found = {
            let listeners = lock(&self.listeners);
            listeners.callbacks.iter().find(|callback| callback.id() == id).map(Arc::clone)
        };
        // Not under the lock: it may take a while. Until it has ended it keeps its place.
        found.is_none_or(|callback| callback.end(patience))
    }

    /// A queue that gets each alert from now on, until it is dropped.
    ///
    /// # Errors
    /// [`Error::TooManyListeners`] past 16, [`Error::System`] where there is no descriptor to be had.
    pub(crate) fn poll(&self) -> Result<AlertPoll, Error> {
        let mut listeners = lock(&self.listeners);
        listeners.polls.retain(|inbox| inbox.strong_count() > 0);
        if listeners.polls.len() >= MAX_LISTENERS {
            return Err(Error::TooManyListeners(MAX_LISTENERS as u32));
        }
        let inbox = Arc::new(Inbox::new()?);
        listeners.polls.push(Arc::downgrade(&inbox));
        Ok(AlertPoll::new(inbox))
    }

    /// Queues alerts for everyone, in their order. Waits for nobody.
    pub(crate) fn send(&self, alerts: Vec<Alert>) {
        if alerts.is_empty() {
            return;
        }
        let listeners = lock(&self.listeners);
        for alert in alerts.into_iter().map(Arc::new) {
            for callback in &listeners.callbacks {
                callback.push(&alert, &self.counts);
            }
            for inbox in listeners.polls.iter().filter_map(Weak::upgrade) {
                inbox.push(&alert, &self.counts);
            }
        }
    }

    pub(crate) fn delivery(&self) -> Delivery {
        let load = |count: &AtomicU64| count.load(Relaxed); // Relaxed: see `Counts`.
        Delivery { dropped: load(&self.counts.dropped), panics: load(&self.counts.panics) }
    }

    /// Ends every callback and closes every poll. Waits up to `patience` for callbacks that are being called; says how
    /// many it left behind.
    fn close(&self, patience: Duration) -> usize {
        let listeners = std::mem::take(&mut *lock(&self.listeners));
        for inbox in listeners.polls.iter().filter_map(Weak::upgrade) {
            inbox.close();
        }
        for callback in &listeners.callbacks {
            callback.close();
        }
        let start = std::time::Instant::now();
        let left = |callback: &&Arc<Callback>| !callback.end(patience.saturating_sub(start.elapsed()));
        listeners.callbacks.iter().filter(left).count()
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let left = self.close(PATIENCE);
        if left > 0 {
            tracing::warn!(left, "alert callbacks have not returned; their threads are left behind");
        }
    }
}

#[cfg(test)]
mod tests;
