//! A queue of alerts for a host with an event loop. Its descriptor is readable while the queue holds an alert.
//! `outbox` fills the queue, and the host empties it.

use super::{NoticeQueue, OutboxCounts};
use crate::sync::os::EventFd;
use crate::sync::{Arc, Mutex, lock};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

#[derive(Debug)]
struct PollState<T> {
    waiting: NoticeQueue<T>,
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Inbox<T> {
    /// The descriptor is signalled and drained under this lock, so that it always agrees with the queue.
    state: Mutex<PollState<T>>,
    descriptor: EventFd,
}

impl<T> Inbox<T> {
    pub(super) fn new(capacity: usize) -> std::io::Result<Self> {
        let state = PollState { waiting: NoticeQueue::new(capacity), closed: false };
        Ok(Self { state: Mutex::new(state), descriptor: EventFd::new()? })
    }

    pub(super) fn push(&self, entry: &Arc<T>, counts: &OutboxCounts) {
        let mut state = lock(&self.state);
        if state.waiting.queue.is_empty() {
            self.descriptor.signal();
        }
        state.waiting.push(Arc::clone(entry), counts);
    }

    /// Closes the queue: the descriptor stays readable, so that a waiting host notices the end.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        self.descriptor.signal();
    }
}

/// A queue of alerts for one reader. It holds at most 256 alerts; a full queue drops its oldest alert and counts it.
/// May be used from any thread.
#[derive(Debug)]
pub struct ListenerPoll<T> {
    inbox: Arc<Inbox<T>>,
}

/// The descriptor, readable (as `poll` and `epoll` define it) while an alert waits, and permanently after the monitor has
/// ended. The host must not read it.
impl<T> AsFd for ListenerPoll<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inbox.descriptor.as_fd()
    }
}

impl<T: Clone> ListenerPoll<T> {
    pub(super) fn new(inbox: Arc<Inbox<T>>) -> Self {
        Self { inbox }
    }

    /// Returns the next alert, if one waits.
    pub fn next(&self) -> Option<T> {
        let mut state = lock(&self.inbox.state);
        let next = state.waiting.queue.pop_front()?;
        if state.waiting.queue.is_empty() && !state.closed {
            self.inbox.descriptor.drain();
        }
        drop(state);
        Some(Arc::unwrap_or_clone(next))
    }

    /// Whether the monitor has ended. Alerts that still wait can be taken; no new alerts follow.
    pub fn is_closed(&self) -> bool {
        lock(&self.inbox.state).closed
    }

    /// Sleeps until an alert waits, the monitor has ended, or `timeout` is over (`None` waits without limit). Returns
    /// whether an alert waits.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        let start = Instant::now();
        loop {
            {
                let state = lock(&self.inbox.state);
                if !state.waiting.queue.is_empty() || state.closed {
                    return !state.waiting.queue.is_empty();
                }
            }
            let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            self.inbox.descriptor.wait(left);
        }
    }
}
