//! The documents that wait, oldest first. A full queue drops its oldest document and counts it.

use crate::sync::{Mutex, lock};
use std::collections::VecDeque;
use std::sync::{Condvar, PoisonError};
use std::time::Duration;

/// A document that waits, as two lines of a bulk request.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) lines: String,
}

#[derive(Debug, Default)]
struct Waiting {
    documents: VecDeque<Document>,
    bytes: usize,
    dropped: u64,
}

#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    capacity: usize,
}

pub(super) struct QueueFigures {
    pub(super) documents: u64,
    pub(super) bytes: u64,
    pub(super) dropped: u64,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self { waiting: Mutex::new(Waiting::default()), changed: Condvar::new(), capacity }
    }

    pub(super) fn push(&self, documents: impl IntoIterator<Item = Document>) {
        let mut waiting = lock(&self.waiting);
        for document in documents {
            waiting.bytes += document.lines.len();
            waiting.documents.push_back(document);
            while waiting.bytes > self.capacity {
                waiting.drop_first();
            }
        }
        drop(waiting);
        self.changed.notify_all();
    }

    /// Takes the oldest documents: at most `count` with at most `bytes` together, but at least one if one waits.
    pub(super) fn take(&self, count: usize, bytes: usize) -> Vec<Document> {
        let mut waiting = lock(&self.waiting);
        let (mut taken, mut size) = (Vec::new(), 0);
        while taken.len() < count
            && let Some(next) = waiting.documents.front()
            && (taken.is_empty() || size + next.lines.len() <= bytes)
        {
            size += next.lines.len();
            taken.extend(waiting.documents.pop_front());
        }
        waiting.bytes -= size;
        taken
    }

    /// Puts documents back in front, in their order. If newer ones have taken their room, the oldest are dropped.
    pub(super) fn put_back(&self, documents: Vec<Document>) {
        let mut waiting = lock(&self.waiting);
        for document in documents.into_iter().rev() {
            waiting.bytes += document.lines.len();
            waiting.documents.push_front(document);
        }
        while waiting.bytes > self.capacity {
            waiting.drop_first();
        }
    }

    /// Drops and counts everything that waits.
    pub(super) fn discard(&self) {
        let mut waiting = lock(&self.waiting);
        while !waiting.documents.is_empty() {
            waiting.drop_first();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.waiting).documents.is_empty()
    }

    /// Waits until `enough` says so, or until the time is over. `enough` is asked at first and after every change.
    pub(super) fn wait(&self, most: Duration, enough: impl Fn(bool) -> bool) {
        let waiting = lock(&self.waiting);
        let more = |waiting: &mut Waiting| !enough(waiting.documents.is_empty());
        drop(self.changed.wait_timeout_while(waiting, most, more).map_err(PoisonError::into_inner));
    }

    /// Makes those who wait ask again.
    pub(super) fn wake(&self) {
        drop(lock(&self.waiting));
        self.changed.notify_all();
    }

    pub(super) fn figures(&self) -> QueueFigures {
        let waiting = lock(&self.waiting);
        QueueFigures {
            documents: waiting.documents.len() as u64,
            bytes: waiting.bytes as u64,
            dropped: waiting.dropped,
        }
    }
}

impl Waiting {
    fn drop_first(&mut self) {
        if let Some(first) = self.documents.pop_front() {
            self.bytes -= first.lines.len();
            self.dropped += 1;
        }
    }
}
