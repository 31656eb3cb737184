//! Connection events for whoever follows them: a bounded queue per follower, filled under the lock that a connect and a
//! disconnect take anyway. Without followers an event costs a look at an empty list.

use super::ClientName;
use crate::sync::{Arc, Mutex, lock};
use std::collections::VecDeque;
use std::sync::Weak;
use std::time::SystemTime;

/// Maximum number of followers.
const MAX_FOLLOWERS: usize = 16;

/// One connect or disconnect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoggedConnection {
    pub(crate) at: SystemTime,
    pub(crate) name: ClientName,
    /// The application's number.
    pub(crate) application: u16,
    /// Whether the client has connected. Otherwise it has disconnected.
    pub(crate) connected: bool,
    /// How long the client was connected, in milliseconds, if it has disconnected and has figures.
    pub(crate) lived_milliseconds: Option<u64>,
}

/// The events that one follower has not taken. A full queue drops its oldest event and counts it.
#[derive(Debug)]
pub(crate) struct ConnectionQueue {
    waiting: VecDeque<LoggedConnection>,
    capacity: usize,
    dropped: u64,
}

impl ConnectionQueue {
    /// Takes the oldest events, at most `limit`. Returns how many events the queue has dropped since the last call.
    pub(crate) fn take(&mut self, limit: usize, into: &mut Vec<LoggedConnection>) -> u64 {
        let count = self.waiting.len().min(limit);
        into.extend(self.waiting.drain(..count));
        std::mem::take(&mut self.dropped)
    }

    fn push(&mut self, event: LoggedConnection) {
        if self.waiting.len() >= self.capacity {
            self.waiting.pop_front();
            self.dropped += 1;
        }
        self.waiting.push_back(event);
    }
}

/// Those who follow the connections.
#[derive(Debug, Default)]
pub(super) struct Followers(Vec<Weak<Mutex<ConnectionQueue>>>);

impl Followers {
    /// A queue that gets each event from now on, until it is dropped. `None` if there are too many followers.
    pub(super) fn add(&mut self, capacity: usize) -> Option<Arc<Mutex<ConnectionQueue>>> {
        self.0.retain(|queue| queue.strong_count() > 0);
        if self.0.len() >= MAX_FOLLOWERS {
            return None;
        }
        let waiting = VecDeque::with_capacity(capacity);
        let queue = Arc::new(Mutex::new(ConnectionQueue { waiting, capacity, dropped: 0 }));
        self.0.push(Arc::downgrade(&queue));
        Some(queue)
    }

    /// Whether somebody follows, so that the caller need not make an event for nobody.
    pub(super) fn are_there(&self) -> bool {
        !self.0.is_empty()
    }

    #[cold]
    pub(super) fn tell(&mut self, event: LoggedConnection) {
        self.0.retain(|queue| {
            let queue = queue.upgrade();
            queue.iter().for_each(|queue| lock(queue).push(event));
            queue.is_some()
        });
    }
}
