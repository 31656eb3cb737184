//! The sending end: sequences, the worker of each record, hellos, probes, and what an acknowledgement settles.

use std::collections::VecDeque;
use std::time::Duration;

use super::{
    HELLO_EVERY, IDLE_PROBE_EVERY, LOST_AFTER, Moment, NEARLY_OUT, PROBE_EVERY, SEQUENCES, STUCK_AFTER,
};
use crate::cluster::seam::Reject;
use crate::cluster::wire::{Acknowledgement, Kind, MAX_RECORDS, Position, RECORD_BYTES, Record, Records};
use crate::error::Failed;

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

/// How large frames get.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A frame with this many bytes of records is full.
    pub frame: usize,
    /// No record is larger than this.
    pub record: usize,
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
    full: VecDeque<(u64, Records)>,
    filling: Records,
    unsent_bytes: usize,
    limits: Limits,
    /// The records that are in no frame, because no frame has room for them. The receiver finds them lost.
    refused: VecDeque<u64>,
    /// The first sequence that no frame has taken.
    unsent: u64,
    settled: Vec<Settled>,
    /// When an acknowledgement has settled something, or nothing was in flight.
    progress: Moment,
    /// When the last acknowledgement came, or when the first message after an idle time was pushed.
    heard: Moment,
    asked: Option<Moment>,
    timed: Option<(u64, Moment)>,
    round_trip: Option<Duration>,
}

impl Sender {
    /// A link that is down.
    pub fn new(epoch: u32, limits: Limits, now: Moment) -> Self {
        Self {
            epoch,
            is_up: false,
            base: 0,
            workers: VecDeque::new(),
            full: VecDeque::new(),
            filling: Records::default(),
            unsent_bytes: 0,
            limits,
            refused: VecDeque::new(),
            unsent: 0,
            settled: Vec::new(),
            progress: now,
            heard: now,
            asked: None,
            timed: None,
            round_trip: None,
        }
    }

    /// A sender whose next sequence is this one.
    #[cfg(test)]
    pub fn at(sequence: u64, limits: Limits) -> Self {
        Self { is_up: true, base: sequence, unsent: sequence, ..Self::new(1, limits, Moment::ZERO) }
    }

    /// Frames may be this large from now on. False: what is to be sent is larger, and the link must begin again.
    pub fn set_limits(&mut self, limits: Limits) -> bool {
        self.limits = limits;
        let mut unsent = self.full.iter().map(|(_, records)| records).chain([&self.filling]);
        unsent.all(|records| records.bytes() <= limits.record)
    }

    /// Begins again in another epoch. All records are forgotten: the router has ended them.
    pub fn restart(&mut self, epoch: u32, now: Moment) {
        *self = Self::new(epoch, self.limits, now);
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

    /// Takes a record of a worker. One that is too large ends as such, in its place.
    pub fn push(&mut self, worker: usize, record: &Record<'_>, now: Moment) {
        let bytes = RECORD_BYTES + record.name.len() + record.message_type.len() + record.payload.len();
        let is_full = self.filling.bytes() + bytes > self.limits.frame
            || usize::from(self.filling.count()) >= MAX_RECORDS;
        let fits = bytes <= self.limits.record;
        if is_full || !fits {
            self.close_frame();
        }
        let next = self.base + self.workers.len() as u64;
        if fits && self.filling.push(record) {
            self.unsent_bytes += bytes;
        } else {
            self.refused.push_back(next);
        }
        if self.workers.is_empty() {
            (self.progress, self.heard) = (now, now);
        }
        self.workers.push_back(u16::try_from(worker).unwrap_or(u16::MAX));
    }

    fn close_frame(&mut self) {
        let count = self.filling.count();
        if count > 0 {
            let first = self.base + self.workers.len() as u64 - u64::from(count);
            self.full.push_back((first, std::mem::take(&mut self.filling)));
        }
    }

    /// Whether a frame with records can be taken.
    pub fn has_frame(&self) -> bool {
        self.is_up && (!self.full.is_empty() || self.filling.count() > 0)
    }

    /// The bytes that wait for a frame.
    pub fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    /// Takes the next frame's records and position.
    pub fn take_frame(&mut self, now: Moment) -> Option<(Position, Records)> {
        if !self.is_up {
            return None;
        }
        if self.full.is_empty() {
            self.close_frame();
        }
        let (first, records) = self.full.pop_front()?;
        self.unsent_bytes -= records.bytes();
        self.unsent = first + u64::from(records.count());
        self.asked = Some(now);
        if self.timed.is_none() {
            self.timed = Some((self.unsent, now));
        }
        Some((Position { epoch: self.epoch, base: self.base, first }, records))
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
        let next = self.base + self.workers.len() as u64;
        // The receiver takes no sequence behind the end. Best when nothing is in flight.
        if next >= SEQUENCES || (!is_waiting && next >= SEQUENCES - NEARLY_OUT) {
            return Due::Lost;
        }
        let (silent, stuck) = (now.saturating_sub(self.heard), now.saturating_sub(self.progress));
        let patience = if is_waiting { LOST_AFTER } else { LOST_AFTER + IDLE_PROBE_EVERY };
        if silent >= patience || (is_waiting && stuck >= STUCK_AFTER) {
            return Due::Lost;
        }
        let every = if is_waiting { PROBE_EVERY } else { IDLE_PROBE_EVERY };
        // Only what is sent can be asked for.
        if since_asked.is_none_or(|since| since >= every) && self.unsent_bytes == 0 {
            self.asked = Some(now);
            self.unsent = self.base + self.workers.len() as u64; // With those at the end that no frame has room for.
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
            (self.progress, self.heard) = (now, now);
            return Heard::Up;
        }
        self.heard = now;
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
            let Some(settled) = self.settled.get_mut(place) else { break };
            let mut reject =
                rejects.next_if(|(rejected, _)| *rejected == sequence).map(|(_, reject)| *reject);
            if self.refused.front() == Some(&sequence) {
                self.refused.pop_front();
                reject = Some(Reject::Failed(Failed::TooLarge as u16));
            }
            settled.rejects.extend(reject.map(|reject| (settled.count, reject)));
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
