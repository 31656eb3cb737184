//! The counters of one thread. A worker's shard holds one series per type, protocol and application. A port's
//! shard counts what was submitted, refused and handed out. Each shard has one writer; `snapshot` merges the
//! shards.

use super::bucket::Bucketed;
use super::cell::{Cell, Writer};
use super::failing::Failing;
use super::histogram::Histogram;
use super::label::{ApplicationId, ProtocolId, TypeId};
use super::slow::SlowRing;
use super::spans::{NAMED, NAMED_FROM, named_span};
use super::timing::{Outcome, SeriesIds, Timing};
use crate::error::{Failed, SubmitError, TakenOver, Unacknowledged, Undeliverable};
use crossbeam_utils::CachePadded;

fn cells(count: usize) -> Box<[Cell]> {
    (0..count).map(|_| Cell::default()).collect()
}

/// Figures of one message type.
#[derive(Debug)]
pub(crate) struct TypeSeries {
    pub(crate) received: Cell,
    pub(crate) ok: Cell,
    pub(crate) expired: Cell,
    pub(crate) failed: Box<[Cell]>,
    pub(crate) bytes: Cell,
    /// Messages that took longer than the monitor's threshold.
    pub(crate) slow: Cell,
    /// When the last message ended, in raw ticks.
    pub(crate) last: Cell,
    pub(crate) service: Histogram,
    pub(crate) queue_wait: Histogram,
    /// Service times by named span, without the first span.
    pub(crate) named: [Cell; NAMED],
}

/// Figures of one protocol or application.
#[derive(Debug)]
pub(crate) struct GroupSeries {
    pub(crate) ok: Cell,
    /// Messages failed, for any reason.
    pub(crate) failed: Cell,
    pub(crate) expired: Cell,
    pub(crate) bytes: Cell,
    pub(crate) slow: Cell,
    pub(crate) last: Cell,
    pub(crate) service: Histogram,
}

impl TypeSeries {
    pub(crate) fn new() -> Self {
        Self {
            received: Cell::default(),
            ok: Cell::default(),
            expired: Cell::default(),
            failed: cells(Failed::COUNT),
            bytes: Cell::default(),
            slow: Cell::default(),
            last: Cell::default(),
            service: Histogram::new(),
            queue_wait: Histogram::new(),
            named: std::array::from_fn(|_| Cell::default()),
        }
    }

    /// Bytes of one series, for the budget.
    pub(crate) const BYTES: usize =
        size_of::<Self>() + 2 * Histogram::CELL_BYTES + Failed::COUNT * size_of::<Cell>() + 24;

    /// Makes the pages of the series resident.
    pub(crate) fn touch(&mut self) -> std::io::Result<()> {
        self.service.touch()?;
        self.queue_wait.touch()
    }

    /// Counts a message without its outcome. A held message is not counted as received again: it was counted
    /// when it arrived.
    #[inline(always)]
    pub(crate) fn record(
        &self,
        writer: &mut Writer,
        bytes: u64,
        timing: &Timing,
        service: Bucketed,
        is_slow: bool,
    ) {
        if timing.held.is_none() {
            self.received.add(writer, 1);
        }
        self.bytes.add(writer, bytes);
        self.last.set(writer, timing.ended);
        self.service.count(writer, service);
        self.queue_wait.record(writer, timing.queue_wait);
        if timing.service >= NAMED_FROM[0] {
            self.named[named_span(timing.service)].add(writer, 1);
        }
        if is_slow {
            self.slow.add(writer, 1);
        }
    }

    /// Counts the outcome of a message. Call this after `record`, so that a reader of the outcome sees the
    /// rest of the message.
    #[inline]
    pub(crate) fn count_outcome(&self, writer: &mut Writer, outcome: Outcome) {
        match outcome {
            Outcome::Ok => self.ok.add(writer, 1),
            Outcome::Expired => self.expired.add(writer, 1),
            Outcome::Failed(reason) => {
                if let Some(cell) = self.failed.get(reason as usize) {
                    cell.add(writer, 1);
                }
            }
        }
    }

    /// Like [`record`](Self::record), in a series that several threads write.
    #[cfg(not(corelane_loom))]
    pub(crate) fn record_shared(
        &self,
        epoch: u64,
        bytes: u64,
        timing: &Timing,
        service: Bucketed,
        is_slow: bool,
    ) {
        self.received.add_shared(1);
        self.bytes.add_shared(bytes);
        self.last.raise_shared(timing.ended);
        self.service.record_shared(epoch, service);
        self.queue_wait.record_shared(epoch, Bucketed::new(timing.queue_wait));
        if timing.service >= NAMED_FROM[0] {
            self.named[named_span(timing.service)].add_shared(1);
        }
        if is_slow {
            self.slow.add_shared(1);
        }
    }

    /// Like [`count_outcome`](Self::count_outcome), in a series that several threads write.
    #[cfg(not(corelane_loom))]
    pub(crate) fn count_outcome_shared(&self, outcome: Outcome) {
        let cell = match outcome {
            Outcome::Ok => Some(&self.ok),
            Outcome::Expired => Some(&self.expired),
            Outcome::Failed(reason) => self.failed.get(reason as usize),
        };
        if let Some(cell) = cell {
            cell.add_shared(1);
        }
    }
}

impl GroupSeries {
    pub(crate) fn new() -> Self {
        let cell = Cell::default;
        Self {
            ok: cell(),
            failed: cell(),
            expired: cell(),
            bytes: cell(),
            slow: cell(),
            last: cell(),
            service: Histogram::new(),
        }
    }

    /// Bytes of one series, for the budget.
    pub(crate) const BYTES: usize = size_of::<Self>() + Histogram::CELL_BYTES;

    /// Counts a message without its outcome. It ended at `ended`, in raw ticks.
    #[inline(always)]
    pub(crate) fn record(
        &self,
        writer: &mut Writer,
        bytes: u64,
        ended: u64,
        service: Bucketed,
        is_slow: bool,
    ) {
        self.bytes.add(writer, bytes);
        self.last.set(writer, ended);
        self.service.count(writer, service);
        if is_slow {
            self.slow.add(writer, 1);
        }
    }

    /// Counts the outcome of a message. Call this after `record`.
    #[inline]
    pub(crate) fn count_outcome(&self, writer: &mut Writer, outcome: Outcome) {
        self.cell(outcome).add(writer, 1);
    }

    /// The cell that counts an outcome.
    #[inline]
    fn cell(&self, outcome: Outcome) -> &Cell {
        match outcome {
            Outcome::Ok => &self.ok,
            Outcome::Expired => &self.expired,
            Outcome::Failed(_) => &self.failed,
        }
    }

    /// Counts a message and then its outcome, in a series that several threads write.
    #[cfg(not(corelane_loom))]
    pub(crate) fn record_shared(
        &self,
        epoch: u64,
        bytes: u64,
        ended: u64,
        service: Bucketed,
        is_slow: bool,
        outcome: Outcome,
    ) {
        self.bytes.add_shared(bytes);
        self.last.raise_shared(ended);
        self.service.record_shared(epoch, service);
        if is_slow {
            self.slow.add_shared(1);
        }
        self.cell(outcome).add_shared(1);
    }
}

/// Counters of one worker.
#[derive(Debug)]
pub(crate) struct WorkerShard {
    pub(crate) types: Box<[TypeSeries]>,
    pub(crate) protocols: Box<[GroupSeries]>,
    pub(crate) applications: Box<[GroupSeries]>,
    /// Deliveries emitted, counted per recipient, including notices and CLIENT_CLOSED.
    pub(crate) emitted: Cell,
    pub(crate) undeliverable: Box<[Cell]>,
    /// Messages that were submitted but never taken, settled by this worker.
    pub(crate) refused: Box<[Cell]>,
    pub(crate) held: Cell,
    /// Time on hold.
    pub(crate) held_time: Histogram,
    pub(crate) held_maximum: Cell,
    pub(crate) cycles: Cell,
    pub(crate) full_batches: Cell,
    pub(crate) parks: Cell,
    pub(crate) wakes: Cell,
    pub(crate) busy_nanoseconds: Cell,
    pub(crate) queue_bytes_maximum: Cell,
    pub(crate) backlogged: Cell,
    pub(crate) backlog_bytes_maximum: Cell,
    pub(crate) stamps_clamped: Cell,
    pub(crate) credit_closes: Cell,
    pub(crate) corrupt_rings: Cell,
    pub(crate) credit_refusals: Cell,
    pub(crate) credit_drops: Cell,
    pub(crate) idle_nanoseconds: Cell,
    pub(crate) queue_messages_maximum: Cell,
    pub(crate) in_flight_maximum: Cell,
    pub(crate) rooms: RoomCells,
    pub(crate) handler_panics: Cell,
    /// The latest slow messages.
    pub(crate) slow: SlowRing,
    /// Clients that have failed recently.
    pub(crate) failing: Failing,
    /// As a port's, for the clients of lanes.
    pub(crate) write_time: Histogram,
    /// Records found waiting in the last cycle. Ports read this load when they choose a worker.
    pub(crate) load: CachePadded<Cell>,
}

/// Messages that one worker relays to rooms.
#[derive(Debug, Default)]
pub(crate) struct RoomCells {
    /// Messages relayed to a room.
    pub(crate) messages: Cell,
    /// Delivery records written for these messages: one per port with members, or more if one record would be
    /// too large.
    pub(crate) records: Cell,
    /// Recipients in these delivery records.
    pub(crate) recipients: Cell,
    /// Payload bytes written into these delivery records.
    pub(crate) bytes_copied: Cell,
}

impl WorkerShard {
    pub(crate) fn new(types: usize, protocols: usize, applications: usize) -> Self {
        Self {
            types: (0..types).map(|_| TypeSeries::new()).collect(),
            protocols: (0..protocols).map(|_| GroupSeries::new()).collect(),
            applications: (0..applications).map(|_| GroupSeries::new()).collect(),
            emitted: Cell::default(),
            undeliverable: cells(Undeliverable::COUNT),
            refused: cells(SubmitError::COUNT),
            held: Cell::default(),
            held_time: Histogram::new(),
            held_maximum: Cell::default(),
            cycles: Cell::default(),
            full_batches: Cell::default(),
            parks: Cell::default(),
            wakes: Cell::default(),
            busy_nanoseconds: Cell::default(),
            queue_bytes_maximum: Cell::default(),
            backlogged: Cell::default(),
            backlog_bytes_maximum: Cell::default(),
            stamps_clamped: Cell::default(),
            credit_closes: Cell::default(),
            corrupt_rings: Cell::default(),
            credit_refusals: Cell::default(),
            credit_drops: Cell::default(),
            idle_nanoseconds: Cell::default(),
            queue_messages_maximum: Cell::default(),
            in_flight_maximum: Cell::default(),
            rooms: RoomCells::default(),
            handler_panics: Cell::default(),
            slow: SlowRing::new(),
            failing: Failing::new(),
            write_time: Histogram::new(),
            load: CachePadded::new(Cell::default()),
        }
    }

    /// Bytes of one shard, for the budget.
    pub(crate) const fn bytes(types: usize, protocols: usize, applications: usize) -> u64 {
        let reasons = Failed::COUNT + Undeliverable::COUNT + SubmitError::COUNT;
        let series = types * TypeSeries::BYTES + (protocols + applications) * GroupSeries::BYTES;
        (series
            + size_of::<Self>()
            + SlowRing::BYTES
            + Failing::BYTES
            + 2 * Histogram::CELL_BYTES
            + reasons * 8
            + 128) as u64
    }

    /// Makes the pages of the histograms resident.
    pub(crate) fn touch(&mut self) -> std::io::Result<()> {
        self.types.iter_mut().try_for_each(TypeSeries::touch)?;
        self.held_time.touch()?;
        self.write_time.touch()?;
        let mut groups = self.protocols.iter_mut().chain(&mut self.applications);
        groups.try_for_each(|series| series.service.touch())
    }

    /// Counts a received message that has no outcome at this worker yet. Either the message is held, and
    /// everything else is counted when it ends, or the host's base route has taken it over.
    pub(crate) fn receive(&self, writer: &mut Writer, message_type: TypeId) {
        if let Some(series) = self.types.get(message_type.0 as usize) {
            series.received.add(writer, 1);
        }
    }

    /// Counts one message that has ended in all its series. Everything is counted at once, so that the
    /// figures of a rate belong to the same messages. Returns whether the message was slow.
    #[inline(always)]
    pub(crate) fn record(
        &self,
        writer: &mut Writer,
        (message_type, protocol, application): SeriesIds,
        bytes: usize,
        timing: Timing,
        outcome: Outcome,
    ) -> bool {
        let is_slow = timing.total() > writer.controlled.slow;
        let service = Bucketed::new(timing.service);
        if let Some(held) = timing.held {
            self.held_time.record(writer, held);
        }
        // One after the other: a loop over both takes a branch for each.
        if let Some(series) = self.protocols.get(protocol.0 as usize) {
            series.record(writer, bytes as u64, timing.ended, service, is_slow);
            series.count_outcome(writer, outcome);
        }
        if let Some(series) = self.applications.get(application.0 as usize) {
            series.record(writer, bytes as u64, timing.ended, service, is_slow);
            series.count_outcome(writer, outcome);
        }
        if let Some(series) = self.types.get(message_type.0 as usize) {
            series.record(writer, bytes as u64, &timing, service, is_slow);
            series.count_outcome(writer, outcome);
        }
        is_slow
    }

    /// The series of a message's protocol and application.
    #[inline]
    fn groups(&self, protocol: ProtocolId, application: ApplicationId) -> impl Iterator<Item = &GroupSeries> {
        let both = [self.protocols.get(protocol.0 as usize), self.applications.get(application.0 as usize)];
        both.into_iter().flatten()
    }

    /// Like `record` with metrics off: counts only the outcome and, unless the message was held, its arrival.
    pub(crate) fn record_plainly(
        &self,
        writer: &mut Writer,
        ids @ (message_type, ..): SeriesIds,
        was_held: bool,
        outcome: Outcome,
    ) {
        if !was_held {
            self.receive(writer, message_type);
        }
        self.settle(writer, ids, outcome);
    }

    /// Counts the outcome of a message.
    #[inline]
    fn settle(
        &self,
        writer: &mut Writer,
        (message_type, protocol, application): SeriesIds,
        outcome: Outcome,
    ) {
        for series in self.groups(protocol, application) {
            series.count_outcome(writer, outcome);
        }
        if let Some(series) = self.types.get(message_type.0 as usize) {
            series.count_outcome(writer, outcome);
        }
    }
}

/// Counters of one port. They survive a release of the port; the next owner of the place adds to them. Two
/// threads may own the two halves of a port, so each half has its own cells on its own cache lines.
#[derive(Debug)]
pub(crate) struct PortShard {
    pub(crate) submit: CachePadded<SubmitShard>,
    pub(crate) poll: CachePadded<PollShard>,
}

/// Counters of the submitting half of a port.
#[derive(Debug)]
pub(crate) struct SubmitShard {
    /// Messages submitted to the port. Counted before they are published.
    pub(crate) submitted: Cell,
    pub(crate) refused: Box<[Cell]>,
    /// Messages that the host's base route has taken over.
    pub(crate) taken_over: Box<[Cell]>,
    /// Submissions for which another worker than the client's current one would have been better.
    pub(crate) moves_wanted: Cell,
    /// Wanted moves that were made.
    pub(crate) moves_made: Cell,
    /// Deliveries that the port itself creates: the closing notice of each client that no worker closes, and the notices
    /// of messages that no worker took.
    pub(crate) closings: Cell,
}

/// Counters of the polling half of a port.
#[derive(Debug)]
pub(crate) struct PollShard {
    /// Deliveries handed out, counted per recipient.
    pub(crate) consumed: Cell,
    pub(crate) undeliverable: Box<[Cell]>,
    pub(crate) bytes_out: Cell,
    pub(crate) acknowledged: Cell,
    /// Messages handed out that will never be acknowledged.
    pub(crate) unacknowledged: Box<[Cell]>,
    pub(crate) polls: Cell,
    /// Largest number of unacknowledged messages of one client.
    pub(crate) outstanding_messages_maximum: Cell,
    pub(crate) outstanding_bytes_maximum: Cell,
    /// Time from handing a sampled delivery out to its acknowledgement.
    pub(crate) write_time: Histogram,
    /// Records without recipients, or shorter than their header states.
    pub(crate) bad_records: Cell,
    /// Egress rings given up because their contents can only be the result of corruption.
    pub(crate) corrupt_rings: Cell,
}

impl PortShard {
    /// Makes the pages of the histogram resident.
    pub(crate) fn touch(&mut self) -> std::io::Result<()> {
        self.poll.write_time.touch()
    }

    /// Bytes of one shard, for the budget.
    pub(crate) const fn bytes() -> u64 {
        let reasons =
            (SubmitError::COUNT + TakenOver::COUNT + Undeliverable::COUNT + Unacknowledged::COUNT) * 8 + 16;
        (size_of::<Self>() + Histogram::CELL_BYTES + reasons + 80) as u64
    }

    pub(crate) fn new() -> Self {
        Self {
            submit: CachePadded::new(SubmitShard {
                submitted: Cell::default(),
                refused: cells(SubmitError::COUNT),
                taken_over: cells(TakenOver::COUNT),
                moves_wanted: Cell::default(),
                moves_made: Cell::default(),
                closings: Cell::default(),
            }),
            poll: CachePadded::new(PollShard {
                consumed: Cell::default(),
                undeliverable: cells(Undeliverable::COUNT),
                bytes_out: Cell::default(),
                acknowledged: Cell::default(),
                unacknowledged: cells(Unacknowledged::COUNT),
                polls: Cell::default(),
                outstanding_messages_maximum: Cell::default(),
                outstanding_bytes_maximum: Cell::default(),
                write_time: Histogram::new(),
                bad_records: Cell::default(),
                corrupt_rings: Cell::default(),
            }),
        }
    }
}
