//! The receiving end: which records count, what became of each, and the acknowledgement.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{MAX_WINDOW, Moment, SEQUENCES};
use crate::cluster::seam::{DeliverError, Incoming, Reject};
use crate::cluster::wire::{Acknowledgement, Frame, Kind, MAX_REJECTS, Position, Record};
use crate::error::Failed;
use crate::sync::mutant;

/// The most bytes that wait for room in the router. Beyond, records are rejected.
pub const MAX_WAITING_BYTES: usize = 8 << 20;

/// Messages for a name that is being written wait so long for the answer. Then they are gone.
pub const WRITING: Moment = Moment::from_secs(1);

/// How a frame was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Its records were taken. Acknowledge.
    Yes,
    /// It belongs to an older epoch, or comes too late in this one.
    Stale,
    /// The link cannot go on in this epoch: answer with a reset.
    Reset,
}

/// What the receiver asks of the machine: its router, and the state of a name.
pub trait Recipient {
    /// Hands a message to the router, with a ticket that is `sequence`.
    fn deliver(&mut self, incoming: &Incoming<'_>, sequence: u64) -> Result<(), DeliverError>;
    /// How a name of this revision stands here. Once a message for it was answered as gone, it is elsewhere for ever: a
    /// later message must not overtake the earlier ones, which wait at their sender until the name has a new revision.
    fn place(&self, name: &str, revision: u64) -> Place;
    /// A message for a name of this revision is answered as gone.
    fn set_gone(&mut self, name: &str, revision: u64);
}

/// How a name with a revision stands at this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// This machine owns it in this revision.
    Here,
    /// It does, and its client is about to be connected: messages wait for that.
    Opening,
    /// It is writing the name, perhaps in this revision: the bucket's watch may have told the sender before the bucket has
    /// answered here. Messages wait for the answer.
    Writing,
    /// It does not own the name, or in another revision, or a message was answered as gone.
    Elsewhere,
}

/// Counts of a receiving end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverFigures {
    /// Records that the router has taken.
    pub received: u64,
    /// Records that did not arrive in time.
    pub lost: u64,
    /// Frames that were dropped: of an older epoch, or late.
    pub stale: u64,
    /// Records that were not delivered, the lost ones included.
    pub rejected: u64,
}

/// The receiving end of a link.
#[derive(Debug, Default)]
pub struct Receiver {
    epoch: Option<u32>,
    /// The sequence that comes next.
    expected: u64,
    /// All below are done.
    upto: u64,
    /// What became of those from `upto` on.
    results: VecDeque<Progress>,
    /// The rejected ones below `upto` whose rejects the sender may not know.
    rejects: VecDeque<(u64, Reject)>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// How many records of each name wait for its connect, or behind such a record.
    parked: HashMap<Box<str>, u32>,
    /// The router has no room: everything waits.
    is_full: bool,
    figures: ReceiverFigures,
}

/// What is known of a record.
#[derive(Debug)]
enum Progress {
    /// It waits, or the router has it. With the name and its revision, unless it is for a room.
    Pending(Option<(Box<str>, u64)>),
    Done(Result<(), Reject>),
}

/// What the router said to a record.
enum Offer {
    Taken,
    Rejected(Reject),
    /// No room.
    Full,
    /// The name's client is about to be connected.
    Opening,
    /// The name is being written.
    Writing,
}

/// A record that waits for room in the router, or for its recipient's connect.
#[derive(Debug)]
struct Waiting {
    sequence: u64,
    name: Box<str>,
    is_room: bool,
    revision: u64,
    message_type: Box<str>,
    correlation: u64,
    age: Moment,
    payload: Box<[u8]>,
    since: Moment,
}

impl Waiting {
    fn new(record: &Record<'_>, sequence: u64, since: Moment) -> Self {
        Self {
            sequence,
            name: record.name.into(),
            is_room: record.is_room,
            revision: record.revision,
            message_type: record.message_type.into(),
            correlation: record.correlation,
            age: record.age,
            payload: record.payload.into(),
            since,
        }
    }

    fn record(&self, now: Moment) -> Record<'_> {
        Record {
            name: &self.name,
            is_room: self.is_room,
            revision: self.revision,
            message_type: &self.message_type,
            correlation: self.correlation,
            age: self.age + now.saturating_sub(self.since),
            payload: &self.payload,
        }
    }

    fn bytes(&self) -> usize {
        self.payload.len() + self.name.len() + self.message_type.len() + size_of::<Self>()
    }
}

impl Receiver {
    /// The counts so far.
    pub fn figures(&self) -> ReceiverFigures {
        self.figures
    }

    /// Begins again, as if nothing had arrived. The counts go on.
    pub fn forget(&mut self) {
        *self = Self { figures: self.figures, ..Self::default() };
    }

    /// The current epoch.
    pub fn epoch(&self) -> Option<u32> {
        self.epoch
    }

    /// Whether records wait for room or for a connect.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether it is known of every record what became of it.
    pub fn is_settled(&self) -> bool {
        self.results.is_empty()
    }

    /// A receiver whose next sequence is this one.
    #[cfg(test)]
    pub fn at(sequence: u64) -> Self {
        Self { epoch: Some(1), expected: sequence, upto: sequence, ..Self::default() }
    }

    /// Takes a frame. Its acknowledgement of the other direction is not this end's business.
    pub fn take(&mut self, frame: &Frame<'_>, now: Moment, recipient: &mut impl Recipient) -> Taken {
        let position = frame.position;
        match frame.kind {
            Kind::Acknowledgement | Kind::Reset => return Taken::Yes,
            Kind::Hello => return self.hello(position),
            Kind::Data | Kind::Probe => {}
        }
        if self.epoch != Some(position.epoch) && !mutant("cluster-old-epoch") {
            self.figures.stale += 1;
            return Taken::Stale;
        }
        // From `base` on the rejects are kept. A sender that settles nothing must not make them many.
        let window = position.first.saturating_sub(position.base).saturating_add(frame.records.len() as u64);
        let end = position.first.saturating_add(frame.records.len() as u64);
        if window > MAX_WINDOW || position.base > self.upto || end > SEQUENCES {
            return Taken::Reset;
        }
        while self.rejects.front().is_some_and(|(sequence, _)| *sequence < position.base) {
            self.rejects.pop_front();
        }
        // Behind: what was counted as lost and reported comes after all, or the connection has changed the order.
        if position.first < self.expected && !mutant("cluster-late-frame") {
            self.figures.stale += u64::from(!mutant("cluster-late-uncounted"));
            return Taken::Stale;
        }
        while self.expected < position.first {
            self.figures.lost += u64::from(!mutant("cluster-gap-uncounted"));
            let outcome = if mutant("cluster-gap-delivered") { Ok(()) } else { Err(Reject::Lost) };
            self.results.push_back(Progress::Done(outcome));
            self.expected += 1;
        }
        for record in &frame.records {
            let sequence = self.expected;
            self.expected += 1;
            let name = (!record.is_room).then(|| (record.name.into(), record.revision));
            self.results.push_back(Progress::Pending(name));
            self.record(record, sequence, now, recipient);
        }
        self.advance();
        Taken::Yes
    }

    /// Whether a hello of this epoch begins it.
    pub fn begins(&self, epoch: u32) -> bool {
        self.epoch.is_none_or(|present| epoch > present)
    }

    fn hello(&mut self, position: Position) -> Taken {
        match self.epoch {
            // The sender has not heard of the acknowledgement yet.
            Some(epoch) if epoch == position.epoch => Taken::Yes,
            Some(epoch) if epoch > position.epoch => {
                self.figures.stale += 1;
                Taken::Stale
            }
            _ => {
                *self = Self { epoch: Some(position.epoch), figures: self.figures, ..Self::default() };
                Taken::Yes
            }
        }
    }

    fn record(&mut self, record: &Record<'_>, sequence: u64, now: Moment, recipient: &mut impl Recipient) {
        // Nothing overtakes what waits for room, and nothing of a name what waits for its connect.
        let is_parked = !record.is_room && self.parked.contains_key(record.name);
        if !self.is_full && !is_parked {
            match self.offer(record, sequence, recipient) {
                Offer::Taken => return,
                Offer::Rejected(reject) => {
                    return self
                        .finish(sequence, Err(reject), |name, revision| recipient.set_gone(name, revision));
                }
                Offer::Full => self.is_full = true,
                Offer::Opening | Offer::Writing => {}
            }
        }
        let waiting = Waiting::new(record, sequence, now);
        if self.waiting_bytes + waiting.bytes() > MAX_WAITING_BYTES {
            // Its sender floods a router that has no room.
            self.finish(sequence, Err(Reject::Failed(Failed::EgressFull as u16)), |_, _| {});
            return;
        }
        if !record.is_room {
            *self.parked.entry(record.name.into()).or_default() += 1;
        }
        self.waiting_bytes += waiting.bytes();
        self.waiting.push_back(waiting);
    }

    fn offer(&mut self, record: &Record<'_>, sequence: u64, recipient: &mut impl Recipient) -> Offer {
        if !record.is_room {
            match recipient.place(record.name, record.revision) {
                Place::Elsewhere => return Offer::Rejected(Reject::Gone),
                Place::Writing => return Offer::Writing,
                Place::Here | Place::Opening => {}
            }
        }
        let incoming = Incoming {
            name: record.name,
            is_room: record.is_room,
            message_type: record.message_type,
            correlation: record.correlation,
            age: record.age,
            payload: record.payload,
        };
        match recipient.deliver(&incoming, sequence) {
            Ok(()) => {
                self.figures.received += 1;
                Offer::Taken
            }
            Err(DeliverError::Full) => Offer::Full,
            Err(DeliverError::Gone) if record.is_room => Offer::Rejected(Reject::Gone),
            Err(DeliverError::Gone) if recipient.place(record.name, record.revision) == Place::Opening => {
                Offer::Opening
            }
            Err(DeliverError::Gone | DeliverError::Replaced) => Offer::Rejected(Reject::Gone),
            Err(DeliverError::Refused(reject)) => Offer::Rejected(reject),
        }
    }

    /// Offers again what waits. True if something was done.
    pub fn retry(&mut self, now: Moment, recipient: &mut impl Recipient) -> bool {
        let before = self.waiting.len();
        self.is_full = false;
        let mut blocked: HashSet<Box<str>> = HashSet::new();
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut left = VecDeque::new();
        while let Some(one) = waiting.pop_front() {
            if !one.is_room && blocked.contains(&one.name) {
                left.push_back(one);
                continue;
            }
            match self.offer(&one.record(now), one.sequence, recipient) {
                Offer::Taken => self.unpark(&one),
                Offer::Rejected(reject) => {
                    self.unpark(&one);
                    self.finish(one.sequence, Err(reject), |name, revision| {
                        recipient.set_gone(name, revision)
                    });
                }
                Offer::Full => {
                    self.is_full = true;
                    left.push_back(one);
                    break;
                }
                Offer::Writing if now.saturating_sub(one.since) >= WRITING => {
                    self.unpark(&one);
                    self.finish(one.sequence, Err(Reject::Gone), |name, revision| {
                        recipient.set_gone(name, revision)
                    });
                }
                Offer::Opening | Offer::Writing => {
                    blocked.insert(one.name.clone());
                    left.push_back(one);
                }
            }
        }
        left.append(&mut waiting);
        self.waiting = left;
        self.advance();
        self.waiting.len() < before
    }

    fn unpark(&mut self, waiting: &Waiting) {
        self.waiting_bytes -= waiting.bytes();
        if !waiting.is_room
            && let Some(count) = self.parked.get_mut(&waiting.name)
        {
            *count -= 1;
            if *count == 0 {
                self.parked.remove(&waiting.name);
            }
        }
    }

    /// The router's result for a ticket of `epoch`. `set_gone` is [`Recipient::set_gone`].
    pub fn result(
        &mut self,
        epoch: u32,
        sequence: u64,
        outcome: Result<(), Reject>,
        set_gone: impl FnOnce(&str, u64),
    ) {
        if self.epoch == Some(epoch) {
            self.finish(sequence, outcome, set_gone);
            self.advance();
        }
    }

    fn finish(&mut self, sequence: u64, outcome: Result<(), Reject>, set_gone: impl FnOnce(&str, u64)) {
        let Some(place) = sequence.checked_sub(self.upto) else { return };
        let Some(progress) = usize::try_from(place).ok().and_then(|place| self.results.get_mut(place)) else {
            return;
        };
        let Progress::Pending(name) = progress else { return };
        let name = name.take();
        *progress = Progress::Done(outcome);
        if let (Err(Reject::Gone), Some((name, revision))) = (outcome, name) {
            set_gone(&name, revision);
        }
    }

    fn advance(&mut self) {
        while let Some(Progress::Done(outcome)) = self.results.front() {
            if let Err(reject) = *outcome {
                self.figures.rejected += 1;
                self.rejects.push_back((self.upto, reject));
            }
            self.results.pop_front();
            self.upto += 1;
        }
    }

    /// The acknowledgement of all that is done, or of as much as one frame can tell.
    pub fn acknowledgement(&self) -> Option<Acknowledgement> {
        let epoch = self.epoch?;
        let upto = self.rejects.get(MAX_REJECTS).map_or(self.upto, |(sequence, _)| *sequence);
        let rejects = self.rejects.iter().take(MAX_REJECTS).copied().collect();
        Some(Acknowledgement { epoch, upto, rejects })
    }
}
