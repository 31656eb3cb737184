//! The sending end: sequences, the worker of each record, hellos, probes, and what an acknowledgement settles.

use std::collections::VecDeque;
use std::time::Duration;

use super::{HELLO_EVERY, IDLE_PROBE_EVERY, LOST_AFTER, MAX_WINDOW, Moment, PROBE_EVERY};
use crate::cluster::seam::Reject;
use crate::cluster::wire::{Acknowledgement, Kind, MAX_RECORDS, Position, RECORD_BYTES, Record, Records};

/// What the driver must do for a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Send a frame of this kind, at [`Sender::position`].
    Send(Kind),
    /// The link is lost: tell the router, then [`Sender::restart`].
    Lost,
}

/// What an acknowledgement means.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// It belongs to another epoch, or makes no sense.
    Nothing,
    /// The link is up now.
    Up,
    /// It was read; [`Sender::settled`] may have something.
    Settled,
}

/// The first messages of one worker that are done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The worker.
    pub worker: usize,
    /// How many.
    pub count: u32,
    /// The rejected ones among them.
    pub rejects: Vec<(u32, Reject)>,
}

/// The sending end of a link.
#[derive(Debug)]
pub struct Sender {
    epoch: u32,
    is_up: bool,
    /// The sequence of the first record that is not settled.
    base: u64,
    /// The workers of the records from `base` on, sent or not.
    workers: VecDeque<u16>,
    /// Frames that are full, and the one that is being filled.
    full: VecDeque<Records>,
    filling: Records,
    max_records_bytes: usize,
    /// The first sequence that no frame has taken.
    unsent: u64,
    settled: Vec<Settled>,
    progress: Moment,
    asked: Option<Moment>,
    timed: Option<(u64, Moment)>,
    round_trip: Option<Duration>,
}

impl Sender {
    /// A link that is down. Frames have at most `max_records_bytes` of records.
    pub fn new(epoch: u32, max_records_bytes: usize, now: Moment) -> Self {
        Self {
            epoch,
            is_up: false,
            base: 0,
            workers: VecDeque::new(),
            full: VecDeque::new(),
            filling: Records::default(),
            max_records_bytes,
            unsent: 0,
            settled: Vec::new(),
            progress: now,
            asked: None,
            timed: None,
            round_trip: None,
        }
    }

    /// Begins again in another epoch. All records are forgotten: the router has ended them.
    pub fn restart(&mut self, epoch: u32, now: Moment) {
        *self = Self::new(epoch, self.max_records_bytes, now);
    }

    /// Whether records may be sent.
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// The epoch.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// How many records are not settled.
    pub fn in_flight(&self) -> usize {
        self.workers.len()
    }

    /// The time from a frame to its acknowledgement, measured last.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Where a frame without records stands.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, base: self.base, first: self.unsent }
    }

    /// Takes a record of a worker. False: it can never be sent (too large); the sequence is used and the caller settles it
    /// by [`Sender::refuse_last`].
    pub fn push(&mut self, worker: usize, record: &Record<'_>, now: Moment) -> bool {
        let bytes = RECORD_BYTES + record.name.len() + record.message_type.len() + record.payload.len();
        if bytes > self.max_records_bytes || self.workers.len() as u64 >= MAX_WINDOW {
            return false;
        }
        let is_full = self.filling.bytes() + bytes > self.max_records_bytes
            || usize::from(self.filling.count()) >= MAX_RECORDS;
        if is_full {
            self.full.push_back(std::mem::take(&mut self.filling));
        }
        if !self.filling.push(record) {
            return false;
        }
        if self.workers.is_empty() {
            self.progress = now;
        }
        self.workers.push_back(u16::try_from(worker).unwrap_or(u16::MAX));
        true
    }

    /// Whether a frame with records can be taken.
    pub fn has_frame(&self) -> bool {
        self.is_up && (!self.full.is_empty() || self.filling.count() > 0)
    }

    /// The bytes that wait for a frame.
    pub fn unsent_bytes(&self) -> usize {
        self.full.iter().map(Records::bytes).sum::<usize>() + self.filling.bytes()
    }

    /// Takes the next frame's records and position.
    pub fn take_frame(&mut self, now: Moment) -> Option<(Position, Records)> {
        if !self.is_up {
            return None;
        }
        let records = match self.full.pop_front() {
            Some(records) => records,
            None if self.filling.count() > 0 => std::mem::take(&mut self.filling),
            None => return None,
        };
        let position = self.position();
        self.unsent += u64::from(records.count());
        self.asked = Some(now);
        if self.timed.is_none() {
            self.timed = Some((self.unsent, now));
        }
        Some((position, records))
    }

    /// What is due.
    pub fn due(&mut self, now: Moment) -> Due {
        let since_asked = self.asked.map(|asked| now.saturating_sub(asked));
        if !self.is_up {
            if since_asked.is_none_or(|since| since >= HELLO_EVERY) {
                self.asked = Some(now);
                return Due::Send(Kind::Hello);
            }
            return Due::Nothing;
        }
        let is_waiting = !self.workers.is_empty();
        let silent = now.saturating_sub(self.progress);
        if silent >= if is_waiting { LOST_AFTER } else { LOST_AFTER + IDLE_PROBE_EVERY } {
            return Due::Lost;
        }
        let every = if is_waiting { PROBE_EVERY } else { IDLE_PROBE_EVERY };
        // Only what is sent can be asked for.
        if since_asked.is_none_or(|since| since >= every) && self.unsent_bytes() == 0 {
            self.asked = Some(now);
            if self.timed.is_none() {
                self.timed = Some((self.unsent, now));
            }
            return Due::Send(Kind::Probe);
        }
        Due::Nothing
    }

    /// Whether the link can be given up without a message's loss.
    pub fn is_idle(&self) -> bool {
        self.workers.is_empty()
    }

    /// Reads an acknowledgement of this direction.
    pub fn acknowledged(&mut self, acknowledgement: &Acknowledgement, now: Moment) -> Heard {
        // An older epoch's acknowledgement is about messages that have ended.
        if acknowledgement.epoch != self.epoch || acknowledgement.upto > self.unsent {
            return Heard::Nothing;
        }
        if !self.is_up {
            self.is_up = true;
            self.progress = now;
            return Heard::Up;
        }
        if let Some((sequence, sent)) = self.timed
            && acknowledgement.upto >= sequence
        {
            self.round_trip = Some(now.saturating_sub(sent));
            self.timed = None;
        }
        if self.workers.is_empty() {
            self.progress = now;
        }
        if acknowledgement.upto <= self.base {
            return Heard::Settled;
        }
        self.progress = now;
        let mut rejects =
            acknowledgement.rejects.iter().filter(|(sequence, _)| *sequence >= self.base).peekable();
        for sequence in self.base..acknowledgement.upto {
            let Some(worker) = self.workers.pop_front() else { break };
            let worker = usize::from(worker);
            let place = match self.settled.iter().position(|settled| settled.worker == worker) {
                Some(place) => place,
                None => {
                    self.settled.push(Settled { worker, count: 0, rejects: Vec::new() });
                    self.settled.len() - 1
                }
            };
            let settled = &mut self.settled[place];
            if let Some((_, reject)) = rejects.next_if(|(rejected, _)| *rejected == sequence) {
                settled.rejects.push((settled.count, *reject));
            }
            settled.count += 1;
        }
        self.base = acknowledgement.upto;
        Heard::Settled
    }

    /// What the acknowledgements have settled since the last call.
    pub fn settled(&mut self) -> Vec<Settled> {
        std::mem::take(&mut self.settled)
    }
}
