//! Messages for names that are not connected. Each worker holds what it received, in one queue per name, until
//! the name connects or the queue's time, counted from its first message, is over. Bounded per sender, per name
//! and per worker; owned by the worker.

use crate::clients::{ClientId, HashedBuilder, MAX_NAME_BYTES, NameHash};
use crate::config::{Config, Key};
use crate::metrics::{ApplicationId, ProtocolId, TypeId};
use std::collections::{HashMap, VecDeque};

/// A message that waits, in the form in which it will be relayed.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) sender: ClientId,
    pub(crate) stamp: u64,
    pub(crate) correlation: u64,
    pub(crate) labels: (TypeId, ProtocolId, ApplicationId),
    pub(crate) payload: Vec<u8>,
}

/// What is held for one name.
#[derive(Debug)]
pub(crate) struct Queue {
    name: [u8; MAX_NAME_BYTES],
    name_length: usize,
    serial: u64,
    pub(crate) messages: VecDeque<Held>,
}

impl Queue {
    pub(crate) fn name(&self) -> &[u8] {
        self.name.get(..self.name_length).unwrap_or_default()
    }
}

#[derive(Debug)]
pub(crate) struct Holds {
    queues: HashMap<NameHash, Queue, HashedBuilder>,
    /// Every queue made, in order of time; a queue flushed meanwhile is recognised by its serial.
    order: VecDeque<(u64, NameHash, u64)>,
    serial: u64,
    messages: usize,
    bytes: usize,
    /// Payload buffers to use again.
    spare: Vec<Vec<u8>>,
    hold_ticks: u64,
    per_sender: u32,
    per_name: usize,
    message_limit: usize,
    byte_limit: usize,
}

/// Buffers kept for reuse, and how large one may be to be kept.
const SPARE_BUFFERS: usize = 64;
const SPARE_BYTES: usize = 8 << 10;

impl Holds {
    pub(crate) fn new(config: &Config, hold_ticks: u64) -> Self {
        Self {
            queues: HashMap::default(),
            order: VecDeque::new(),
            serial: 0,
            messages: 0,
            bytes: 0,
            spare: Vec::new(),
            hold_ticks,
            per_sender: config.get(Key::HoldPerSender) as u32,
            per_name: config.count(Key::HoldPerName),
            message_limit: config.count(Key::HoldMessages),
            byte_limit: config.count(Key::HoldBytes),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    pub(crate) fn holds_for(&self, hash: NameHash) -> bool {
        self.messages > 0 && self.queues.contains_key(&hash)
    }

    /// Whether one more message of `bytes` can be held; `of_sender` is how many of its sender's already are.
    pub(crate) fn has_room(&self, hash: NameHash, of_sender: u32, bytes: usize) -> bool {
        let for_name = self.queues.get(&hash).map_or(0, |queue| queue.messages.len());
        of_sender < self.per_sender
            && for_name < self.per_name
            && self.messages < self.message_limit
            && self.bytes + bytes <= self.byte_limit
    }

    /// A buffer of `length` bytes for a held payload.
    pub(crate) fn buffer(&mut self, length: usize) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.resize(length, 0);
        buffer
    }

    /// Takes a finished message's buffer back.
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS && buffer.capacity() <= SPARE_BYTES {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Holds a message; `has_room` has said that it may.
    pub(crate) fn hold(&mut self, hash: NameHash, name: &[u8], now: u64, held: Held) {
        self.messages += 1;
        self.bytes += held.payload.len();
        let queue = self.queues.entry(hash).or_insert_with(|| {
            self.serial += 1;
            self.order.push_back((now, hash, self.serial));
            let mut copy = [0; MAX_NAME_BYTES];
            for (to, from) in copy.iter_mut().zip(name) {
                *to = *from;
            }
            Queue {
                name: copy,
                name_length: name.len().min(MAX_NAME_BYTES),
                serial: self.serial,
                messages: VecDeque::new(),
            }
        });
        queue.messages.push_back(held);
    }

    /// Takes everything held for a name.
    pub(crate) fn take(&mut self, hash: NameHash) -> Option<Queue> {
        let queue = self.queues.remove(&hash)?;
        self.messages -= queue.messages.len();
        self.bytes -= queue.messages.iter().map(|held| held.payload.len()).sum::<usize>();
        Some(queue)
    }

    /// Puts what is left of a queue back where it was taken from; its time runs on.
    pub(crate) fn put_back(&mut self, hash: NameHash, queue: Queue) {
        self.messages += queue.messages.len();
        self.bytes += queue.messages.iter().map(|held| held.payload.len()).sum::<usize>();
        self.queues.insert(hash, queue);
    }

    /// Takes the next queue whose time is over.
    pub(crate) fn take_expired(&mut self, now: u64) -> Option<Queue> {
        while let Some((created, hash, serial)) = self.order.front().copied() {
            let live = self.queues.get(&hash).is_some_and(|queue| queue.serial == serial);
            if live && now.saturating_sub(created) < self.hold_ticks {
                return None;
            }
            self.order.pop_front();
            if live {
                return self.take(hash);
            }
        }
        None
    }

    /// When to look again, in raw ticks: when the oldest queue's time is over, or earlier where that queue is
    /// flushed already.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        let (created, ..) = self.order.front()?;
        Some(created.saturating_add(self.hold_ticks))
    }

    /// The names for which something is held.
    pub(crate) fn names(&self) -> Vec<NameHash> {
        self.queues.keys().copied().collect()
    }
}
