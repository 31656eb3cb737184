//! The list of slow messages: reads what recording threads have stored since the last collection, and folds similar
//! messages into one entry.

use super::figures::SlowEntry;
use crate::metrics::{ApplicationId, OTHER, ProtocolId, SlowMessage, SlowRing, Sources, TypeId};
use crate::record::Hub;
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct SlowLog {
    /// Newest first.
    entries: VecDeque<SlowLogEntry>,
    limit: usize,
    /// How far each ring has been read: the workers' rings, then the recorders' rings.
    seen: [Vec<u64>; 2],
    /// When the last reset was, in raw ticks.
    since: u64,
}

#[derive(Clone, Debug)]
struct SlowLogEntry {
    key: Alike,
    count: u64,
    /// In raw ticks.
    first: u64,
    last: SlowMessage,
    worker: Option<u64>,
    slowest: u64,
    /// Whether the entry has been logged, or was new while logging was off. Later messages of the entry are not
    /// logged.
    logged: bool,
}

/// Messages with the same key share an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Alike {
    client: String,
    protocol: String,
    message_type: String,
    application: String,
}

impl SlowLog {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), limit, seen: Default::default(), since: 0 }
    }

    /// The most bytes of the list: each entry with four names.
    pub(super) const fn bytes(limit: usize) -> u64 {
        (limit * (size_of::<SlowLogEntry>() + 4 * 88)) as u64
    }

    /// Reads what has been stored since the last collection.
    pub(super) fn collect(&mut self, sources: &Sources<'_>, hub: &Hub) {
        let labels = sources.labels;
        for (place, worker) in sources.workers.iter().enumerate() {
            let messages = self.read(0, place, &worker.slow);
            for message in messages {
                let (message_type, protocol, application) = message.ids;
                let key = Alike {
                    client: message.client_name(),
                    protocol: labels.protocol_name(protocol).to_owned(),
                    message_type: labels.type_name(message_type).to_owned(),
                    application: labels.application_name(application).to_owned(),
                };
                self.add(key, message, Some(place as u64));
            }
        }
        for (place, ring) in hub.slow_rings().enumerate() {
            let messages = self.read(1, place, ring);
            for message in messages {
                let (TypeId(place), ProtocolId(protocol), ApplicationId(application)) = message.ids;
                let (mut its, message_type) = hub.types.name(place.into());
                // `other` belongs to no protocol, but the message may have one.
                if place == OTHER && protocol != OTHER {
                    its = hub.protocols.name(protocol.into()).1;
                }
                let (protocol, application) = (its, hub.applications.name(application.into()).1);
                let key = Alike { client: message.client_name(), protocol, message_type, application };
                self.add(key, message, None);
            }
        }
    }

    fn read(&mut self, kind: usize, place: usize, ring: &SlowRing) -> Vec<SlowMessage> {
        let seen = &mut self.seen[kind];
        if seen.len() <= place {
            seen.resize(place + 1, 0);
        }
        let mut messages = Vec::new();
        let next = ring.messages(seen[place], |message| messages.push(message));
        seen[place] = next;
        messages
    }

    fn add(&mut self, key: Alike, message: SlowMessage, worker: Option<u64>) {
        if message.timing.ended < self.since {
            return;
        }
        let time = message.timing.total();
        let known = self.entries.iter().position(|entry| entry.key == key);
        let before = known.and_then(|place| self.entries.remove(place));
        self.entries.truncate(self.limit - 1);
        self.entries.push_front(SlowLogEntry {
            key,
            count: before.as_ref().map_or(0, |entry| entry.count) + 1,
            first: before.as_ref().map_or(message.timing.ended, |entry| entry.first),
            slowest: before.as_ref().map_or(0, |entry| entry.slowest).max(time),
            logged: before.is_some_and(|entry| entry.logged),
            last: message,
            worker,
        });
    }

    /// The entries, newest first. `wall` converts raw ticks to milliseconds since 1970.
    pub(super) fn entries(&self, wall: impl Fn(u64) -> u64) -> Vec<SlowEntry> {
        self.entries.iter().map(|entry| entry.shown(&wall)).collect()
    }

    /// Returns the entries that have not been logged, oldest first, and marks them as logged.
    pub(super) fn take_unlogged(&mut self, wall: impl Fn(u64) -> u64) -> Vec<SlowEntry> {
        let new = self.entries.iter_mut().rev().filter(|entry| !entry.logged);
        let taken = |entry: &mut SlowLogEntry| {
            entry.logged = true;
            entry.shown(&wall)
        };
        new.map(taken).collect()
    }

    /// Empties the list. Messages that ended before `now`, in raw ticks, are not listed any more: the reset has counted
    /// them.
    pub(super) fn reset(&mut self, now: u64) {
        self.entries.clear();
        self.since = now;
    }
}

impl SlowLogEntry {
    fn shown(&self, wall: impl Fn(u64) -> u64) -> SlowEntry {
        let (key, timing) = (&self.key, self.last.timing);
        SlowEntry {
            count: self.count,
            first_milliseconds: wall(self.first),
            last_milliseconds: wall(timing.ended),
            client: key.client.clone(),
            protocol: key.protocol.clone(),
            message_type: key.message_type.clone(),
            application: key.application.clone(),
            worker: self.worker,
            bytes: self.last.bytes,
            queue_wait_nanoseconds: timing.queue_wait,
            service_nanoseconds: timing.service,
            held_nanoseconds: timing.held.unwrap_or(0),
            succeeded: self.last.succeeded,
            slowest_nanoseconds: self.slowest,
        }
    }
}
