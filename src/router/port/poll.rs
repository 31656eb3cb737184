//! A port's polling half: takes deliveries from every worker's ring and hands them out as events. One owner at a
//! time; it never waits, and takes no lock that a submitter can hold.

use crate::clients::{ClientId, ClientSlot, END, KeptFigures, Outstanding, Phase, Stack, UNLISTED};
use crate::error::{CloseReason, Error, Failed, Refused, Unacknowledged, Undeliverable};
use crate::metrics::{PollShard, Writer};
use crate::park::{WakeWord, after_publishing};
use crate::ring::record::{DeliveryHeader, delivery_flag, delivery_kind};
use crate::ring::{AttachState, Consumer, Corrupt, Record};
use crate::router::pair::{give_back_from, give_back_one, holds_credit, payload_bytes};
use crate::router::payload::{Payload, read_reference};
use crate::router::port::link::PortLink;
use crate::router::shared::Shared;
use crate::sync::{Arc, AtomicU32, Relaxed, Release, mutant};
use std::time::Duration;

/// What a poll hands out. `token` is the value that the host gave the client at connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Write these bytes to the client, then acknowledge them.
    Message(DeliveredMessage<'a>),
    /// What the client sent to a name has expired, since nobody of that name connected. Told once per name;
    /// acknowledge it like a message of `name`'s length. With an empty name: the message has waited too long to be
    /// handled, and was submitted with [`SubmitOptions::tell_expired`](crate::router::SubmitOptions::tell_expired).
    Expired {
        /// Who sent it.
        client: ClientId,
        /// The sender's token.
        token: u64,
        /// The name that did not connect; empty where the message itself came too late.
        name: &'a [u8],
        /// The submitter's value of the first message.
        correlation: u64,
    },
    /// What the client sent was refused: the recipient's credit is used up and its policy is
    /// [`CreditPolicy::Refuse`](crate::clients::CreditPolicy::Refuse). Takes no credit: nothing to acknowledge.
    Refused {
        /// Who sent it.
        client: ClientId,
        /// The sender's token.
        token: u64,
        /// Who could not take it.
        recipient: ClientId,
        /// The submitter's value.
        correlation: u64,
        /// Why.
        reason: Failed,
    },
    /// The client has left its name: [`Port::release_name`](crate::router::Port::release_name) if others may have it. It stays connected.
    Left {
        /// Which.
        client: ClientId,
        /// Its token.
        token: u64,
    },
    /// Close this client's connection, then call [`Port::disconnect`](crate::router::Port::disconnect). Once at most, and not where
    /// that was called before.
    Close {
        /// Which.
        client: ClientId,
        /// Its token.
        token: u64,
        /// Why.
        reason: CloseReason,
    },
    /// The last event for this client: what its token points at may be freed.
    Closed {
        /// Which.
        client: ClientId,
        /// Its token.
        token: u64,
        /// What it was counted with, for a client that takes its place.
        figures: &'a KeptFigures,
    },
}

/// A message for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveredMessage<'a> {
    /// The recipient.
    pub client: ClientId,
    /// The recipient's token.
    pub token: u64,
    /// Who sent it; `ClientId(0)` for what a host sent itself.
    pub sender: ClientId,
    /// The submitter's value.
    pub correlation: u64,
    /// The bytes to write.
    pub payload: &'a [u8],
}

#[derive(Debug)]
pub(in crate::router) struct PollHalf {
    pub(in crate::router) shared: Arc<Shared>,
    pub(in crate::router) index: usize,
    ways: Vec<EgressReceiver>,
    link: Arc<PortLink>,
    wake: Arc<WakeWord>,
    armed: bool,
    /// Where the next look starts, so that no worker is always first.
    first: usize,
    writer: Writer,
    /// Payloads beside the rings that were handed out: views of them last as long as those of the rings.
    views: Vec<Payload>,
    /// Clients taken off the stacks of [`Ended`](crate::router::shared::Ended) and not yet handed out: the first of each.
    closes: u32,
    closings: u32,
}

/// The ring from one worker.
#[derive(Debug)]
pub(crate) struct EgressReceiver {
    ring: Consumer,
    /// The worker has left, and the submitting half has been told.
    left: bool,
    /// The worker has left, and everything that it emitted has been given back.
    consumed: bool,
    /// Where the record starts that is being handed out: the next poll goes on with it if the host's code panics in its
    /// middle.
    current: Option<u64>,
    /// Recipients of that record, or of the next, that it was handed out to already: a limit came in its middle, or a panic.
    handed: usize,
    /// Nothing in the ring can be trusted any more.
    corrupt: bool,
    /// The payload of that record, if it lies beside the ring.
    beside: Option<Payload>,
}

impl EgressReceiver {
    /// From a worker, or in the place of one that is `lost`: then nothing will come.
    pub(crate) fn new(ring: Consumer, lost: bool) -> Self {
        Self { ring, left: lost, consumed: lost, current: None, handed: 0, corrupt: false, beside: None }
    }

    fn has_more(&self) -> bool {
        !self.corrupt && (self.ring.has_more() || self.current.is_some())
    }

    /// Whether a sleep would miss something: a record, or that the worker has closed the ring.
    pub(crate) fn has_news(&self) -> bool {
        self.has_more() || (!self.left && self.ring.memory().is_closed() && !mutant("closed-is-no-news"))
    }

    /// The worker has closed the ring: tells the submitting half, once, that it has left as well.
    fn see_leave(&mut self, shared: &Shared, link: &PortLink, (worker, port): (usize, usize)) {
        if !self.left && shared.pair(worker, port).state() == AttachState::Detaching {
            self.left = true;
            link.worker_left(worker);
        }
    }

    /// The worker has left and the ring is empty: that everything is consumed is the port's to say, once.
    fn end_frontier(&mut self, shared: &Shared, (worker, port): (usize, usize)) {
        if !std::mem::replace(&mut self.consumed, true) {
            shared.end_frontier(worker, port);
        }
    }

    /// Makes the record that a panic came in the middle of the next one again.
    fn go_back(&mut self) {
        if let Some(start) = self.current.take() {
            self.ring.rewind(start);
        }
    }
}

/// Bytes that a port's polling half has for each worker.
pub(in crate::router) const PAIR_BYTES: u64 = size_of::<EgressReceiver>() as u64;

/// What a look at the rings came to.
pub(in crate::router) struct Taken {
    pub(in crate::router) count: usize,
    /// More may come.
    pub(in crate::router) open: bool,
}

impl Taken {
    /// What the host is told: how many, or that nothing will come any more.
    pub(in crate::router) fn result(&self) -> Result<usize, Error> {
        if self.count == 0 && !self.open {
            return Err(Error::Refused(Refused::Closed));
        }
        Ok(self.count)
    }
}

impl PollHalf {
    pub(in crate::router) fn new(
        shared: &Arc<Shared>,
        index: usize,
        ways: Vec<EgressReceiver>,
        link: Arc<PortLink>,
        wake: Arc<WakeWord>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            index,
            ways,
            link,
            wake,
            armed: false,
            first: 0,
            writer: Writer::new(),
            views: Vec::new(),
            closes: END,
            closings: END,
        }
    }

    /// Hands out up to `limit` deliveries; their bytes stay until [`release`](Self::release). Should `each` panic, the event
    /// that it was called with counts as handed out, and the next call goes on behind it.
    pub(in crate::router) fn take(&mut self, limit: usize, mut each: impl FnMut(Event<'_>)) -> Taken {
        if std::mem::take(&mut self.armed) {
            self.wake.disarm();
            self.wake.drain();
        }
        self.release();
        let mut taken = Taken { count: self.hand_out_closings(limit, &mut each), open: false };
        let shared = &self.shared;
        let shard = &shared.ports[self.index].poll;
        shard.polls.add(&mut self.writer, 1);
        // One reading for all that is handed out, and none where nothing is sampled.
        let mut now = None;
        let workers = self.ways.len();
        self.first = (self.first + 1) % workers.max(1);
        for offset in 0..workers {
            let worker = (self.first + offset) % workers;
            let way = &mut self.ways[worker];
            // Closed is looked at before the tail: what was published before closing is then seen.
            let closed = way.ring.memory().is_closed();
            let mut readable = way.ring.refresh().is_ok();
            while readable && taken.count < limit && !way.corrupt {
                let before = way.ring.position();
                let record = match way.ring.next() {
                    Ok(Some(record)) => record,
                    Ok(None) => break,
                    Err(Corrupt) => {
                        readable = false;
                        break;
                    }
                };
                way.current = Some(before).filter(|_| !mutant("poll-panic-loses-record"));
                if way.beside.is_none()
                    && let Some(number) = reference(&record)
                {
                    way.beside = shared.payloads.take(number);
                }
                let beside = match &way.beside {
                    Some(payload) => payload.bytes().map_or(Beside::Lost, Beside::There),
                    None if reference(&record).is_some() => Beside::Lost,
                    None => Beside::No,
                };
                let range = way.handed..way.handed.saturating_add(limit - taken.count);
                let parts = (&**shared, &**shard, &mut self.writer);
                let handed =
                    hand_out(parts, (record.bytes, beside), range, &mut way.handed, &mut now, &mut each);
                taken.count += handed.events;
                way.current = None;
                if handed.more {
                    self.views.extend(way.beside.clone());
                    way.ring.rewind(before);
                    break;
                }
                way.handed = 0;
                self.views.extend(way.beside.take());
            }
            if !readable && !std::mem::replace(&mut way.corrupt, true) {
                // A worker wrote it; somebody else has written over it since.
                shard.corrupt_rings.add(&mut self.writer, 1);
            }
            if closed {
                way.see_leave(shared, &self.link, (worker, self.index));
            }
            taken.open |= !way.left || way.has_more();
        }
        // What the submitting half settles may close further clients.
        taken.open |= self.has_closings() || self.link.has_work();
        taken
    }

    /// Hands out what workers have left to the port: that a client is to be closed, and the last events of clients that no
    /// worker will close any more. The latter come behind what those workers had for them. First in each poll, so that a
    /// steady load does not keep them waiting.
    pub(in crate::router) fn hand_out_closings(
        &mut self,
        limit: usize,
        each: &mut impl FnMut(Event<'_>),
    ) -> usize {
        if !self.has_closings() {
            return 0;
        }
        let shared = Arc::clone(&self.shared);
        let ended = &shared.ended[self.index];
        let mut count = 0;
        while count < limit
            && let Some(client) = take_next(&mut self.closes, &ended.closes, &shared, |slot| &slot.close_link)
        {
            count += self.hand_out_close(&shared, client, each);
        }
        // Taken off their list before the rings are looked at: what was published before a client was listed is then seen.
        if self.closings == END {
            self.closings = ended.closings.take();
        }
        let is_drained = |way: &EgressReceiver| !way.ring.memory().is_closed() || !way.has_more();
        if !self.ways.iter().all(is_drained) {
            return count;
        }
        let none = Stack::new();
        while count < limit
            && let Some(client) = take_next(&mut self.closings, &none, &shared, |slot| &slot.port_link)
        {
            count += self.hand_out_closed(&shared, client, each);
        }
        count
    }

    fn hand_out_close(
        &mut self,
        shared: &Shared,
        client: ClientId,
        each: &mut impl FnMut(Event<'_>),
    ) -> usize {
        let Some(slot) = shared.clients.slot(client.index()) else { return 0 };
        let (token, phase) = (slot.token(), slot.phase_of(client.generation()));
        slot.close_link.store(UNLISTED, Relaxed); // Relaxed: the credit word releases the slot.
        slot.credit.end_close_delivery(client.generation());
        if phase != Some(Phase::Open) {
            self.count_closed();
            return 0;
        }
        shared.ports[self.index].poll.consumed.add(&mut self.writer, 1);
        each(Event::Close { client, token, reason: CloseReason::Credit });
        1
    }

    fn hand_out_closed(
        &mut self,
        shared: &Shared,
        client: ClientId,
        each: &mut impl FnMut(Event<'_>),
    ) -> usize {
        let Some(slot) = shared.clients.slot(client.index()) else { return 0 };
        let token = slot.token();
        let figures = shared.clients.keep_figures(client, shared.controls.now());
        let forgiven = shared.clients.end_close(client);
        slot.port_link.store(UNLISTED, Release); // Release: pairs with the Acquire in `ClientSlot::is_unused`.
        let Some(forgiven) = forgiven else {
            self.count_closed();
            return 0;
        };
        let shard = &shared.ports[self.index].poll;
        forgive(shard, &mut self.writer, forgiven, Unacknowledged::Closed);
        shard.consumed.add(&mut self.writer, 1);
        each(Event::Closed { client, token, figures: &figures });
        1
    }

    fn count_closed(&mut self) {
        let shard = &self.shared.ports[self.index].poll;
        shard.undeliverable[Undeliverable::Closed as usize].add(&mut self.writer, 1);
    }

    pub(in crate::router) fn has_closings(&self) -> bool {
        let ended = &self.shared.ended[self.index];
        self.closes != END || self.closings != END || !ended.is_empty()
    }

    /// Gives back the ring space of what was handed out, and wakes workers that wait for it.
    pub(in crate::router) fn release(&mut self) {
        self.views.clear();
        let mut released = 0u64;
        for (worker, way) in self.ways.iter_mut().enumerate() {
            way.go_back();
            released |= u64::from(way.ring.release()) << worker;
            if way.left && !way.has_more() {
                way.end_frontier(&self.shared, (worker, self.index));
            }
        }
        if released == 0 {
            return;
        }
        after_publishing(|| {
            for (worker, way) in self.ways.iter().enumerate() {
                if released & (1 << worker) != 0 && way.ring.memory().needs_space() {
                    self.shared.workers[worker].bell.wake().wake_if_asleep();
                }
            }
        });
    }

    /// Whether a delivery was handed out to some of its recipients, and not to all.
    #[cfg(not(corelane_loom))]
    pub(in crate::router) fn is_in_part(&self) -> bool {
        self.ways.iter().any(|way| way.handed > 0)
    }

    /// Takes over how far the host of an inline port is in its rings.
    #[cfg(not(corelane_loom))]
    pub(in crate::router) fn take_over(&mut self) {
        for way in &mut self.ways {
            (way.ring, way.handed) = Consumer::resume_taken(Arc::clone(way.ring.memory()));
            way.corrupt = way.ring.refresh().is_err() || way.ring.memory().is_corrupt();
        }
    }

    /// The host of an inline port has polled its rings: sees which workers have left, and whose rings are empty.
    #[cfg(not(corelane_loom))]
    pub(in crate::router) fn look_inline(&mut self) {
        self.take_over();
        for (worker, way) in self.ways.iter_mut().enumerate() {
            if way.ring.memory().is_closed() {
                way.see_leave(&self.shared, &self.link, (worker, self.index));
            }
            // `release` is the host's, and so is the head.
            let memory = way.ring.memory();
            if way.left && memory.shared_head() == memory.shared_tail() {
                way.end_frontier(&self.shared, (worker, self.index));
            }
        }
    }

    /// Takes the payload of a delivery that another language has taken from its ring.
    #[cfg(not(corelane_loom))]
    pub(in crate::router) fn take_payload(&mut self, number: u64) -> Option<&[u8]> {
        self.views.push(self.shared.payloads.take(number)?);
        self.views.last().and_then(Payload::bytes)
    }

    #[cfg(not(corelane_loom))]
    pub(in crate::router) fn release_payloads(&mut self) {
        self.views.clear();
    }

    /// See [`Port::acknowledge_batch`](crate::router::Port::acknowledge_batch).
    pub(in crate::router) fn acknowledge_batch(
        &mut self,
        written: impl IntoIterator<Item = (ClientId, u32, u32)>,
    ) {
        let shared = &self.shared;
        let shard = &shared.ports[self.index].poll;
        let (mut all_messages, mut all_bytes) = (0, 0);
        self.writer.controlled = shared.controls.now();
        let mut now = None;
        for (client, messages, bytes) in written {
            let Some(given) = shared.clients.acknowledge(client, self.index, messages, bytes) else {
                continue;
            };
            all_messages += u64::from(given.messages);
            all_bytes += u64::from(given.bytes);
            if let Some(line) = shared.clients.line(client).filter(|_| self.writer.controlled.detailed) {
                line.sent(self.writer.controlled.epoch, given.bytes.into());
            }
            if let Some(since) = given.sampled_at {
                let now = *now.get_or_insert_with(|| shared.clock.raw());
                shard.write_time.record(&mut self.writer, shared.clock.nanoseconds(since, now));
            }
        }
        shard.acknowledged.add(&mut self.writer, all_messages);
        shard.bytes_out.add(&mut self.writer, all_bytes);
    }

    /// See [`Port::rebind`](crate::router::Port::rebind).
    pub(in crate::router) fn rebind(&mut self, client: ClientId, token: u64) -> Result<(), Error> {
        let slot = self.shared.clients.open_on(client, self.index, Error::RebindElsewhere)?;
        if !mutant("rebind-old-token") {
            slot.rebind(token);
        }
        Ok(())
    }

    /// See [`Port::outstanding`](crate::router::Port::outstanding).
    pub(in crate::router) fn outstanding(&self, client: ClientId) -> Result<Outstanding, Error> {
        let clients = &self.shared.clients;
        match clients.present(client, self.index) {
            Some(slot) => Ok(slot.outstanding()),
            None if clients.get(client).is_some() && clients.on(client, self.index).is_none() => {
                Err(Error::WrongPort)
            }
            None => Err(Error::StaleClient),
        }
    }

    pub(in crate::router) fn link(&self) -> &PortLink {
        &self.link
    }

    pub(in crate::router) fn wake(&self) -> &Arc<WakeWord> {
        &self.wake
    }

    pub(in crate::router) fn descriptor(&self) -> i32 {
        self.wake.raw_descriptor().unwrap_or(-1)
    }

    /// Says that the host is about to wait for the descriptor. False: something is there already, or there is room again
    /// where something was refused.
    pub(in crate::router) fn arm(&mut self) -> bool {
        self.armed = true;
        self.wake.arm_unless(|| self.link.space_moved() || self.has_news())
    }

    /// Whether anything has come since the last look.
    pub(in crate::router) fn has_news(&self) -> bool {
        self.ways.iter().any(EgressReceiver::has_news) || self.has_closings() || self.link.left() != 0
    }

    /// Whether every worker has left and nothing is there any more.
    pub(in crate::router) fn is_over(&self) -> bool {
        let left = self.ways.iter().all(|way| way.left && !way.has_more());
        left && !self.has_closings() && !self.link.has_work()
    }

    /// The ring from a worker.
    #[cfg(not(corelane_loom))]
    pub(in crate::router) fn memory(&self, worker: usize) -> Option<&crate::ring::Memory> {
        self.ways.get(worker).map(|way| &**way.ring.memory())
    }

    /// Waits until there is news, or room where something was refused, or `timeout` is over.
    pub(in crate::router) fn wait(&mut self, timeout: Duration) {
        if self.arm() {
            self.wake.sleep(Some(timeout));
        }
        self.armed = false;
        self.wake.disarm();
        self.wake.drain();
    }

    /// Gives up what is left of the records that were handed out in part, so that who settles the rings finds only whole
    /// ones: what was handed out is neither given back again nor counted twice.
    pub(in crate::router) fn give_up_parts(&mut self) {
        let mut rest = 0;
        for way in &mut self.ways {
            way.go_back();
            let handed = std::mem::take(&mut way.handed);
            if handed > 0
                && !mutant("room-partial-release")
                && let Ok(Some(record)) = way.ring.next()
            {
                rest += give_back_from(record.bytes, handed, &self.shared.clients);
            }
        }
        self.give_up(rest);
    }

    /// The port is released: the clients that it would close itself get no event any more.
    pub(in crate::router) fn give_up_closings(&mut self) {
        let taken = (std::mem::replace(&mut self.closes, END), std::mem::replace(&mut self.closings, END));
        let rest = self.shared.forget_ended(self.index, taken);
        self.give_up(rest);
    }

    /// Counts messages that were handed out and will never be acknowledged.
    pub(in crate::router) fn forgive(&mut self, messages: u32, reason: Unacknowledged) {
        forgive(&self.shared.ports[self.index].poll, &mut self.writer, messages, reason);
    }

    /// Counts deliveries that nobody will take.
    pub(in crate::router) fn give_up(&mut self, recipients: u64) {
        let shard = &self.shared.ports[self.index].poll;
        shard.undeliverable[Undeliverable::PortGone as usize].add(&mut self.writer, recipients);
    }
}

/// Takes the next client off a chain, which is first taken off its stack where there is none.
fn take_next<'a>(
    next: &mut u32,
    stack: &Stack,
    shared: &'a Shared,
    link: impl Fn(&'a ClientSlot) -> &'a AtomicU32,
) -> Option<ClientId> {
    if *next == END && !stack.is_empty() {
        *next = stack.take();
    }
    let index = *next;
    let slot = shared.clients.slot(index)?;
    *next = link(slot).load(Relaxed); // Relaxed: `take` acquired it.
    Some(ClientId::new(index, slot.place().generation))
}

/// Counts what a closed client was handed out and had not acknowledged.
fn forgive(shard: &PollShard, writer: &mut Writer, messages: u32, reason: Unacknowledged) {
    shard.unacknowledged[reason as usize].add(writer, messages.into());
}

/// A delivery's payload outside the rings.
#[derive(Clone, Copy)]
enum Beside<'a> {
    No,
    There(&'a [u8]),
    /// The record's number leads nowhere, or the host's value panicked.
    Lost,
}

/// The number of a delivery's payload, if it lies outside the ring.
#[inline]
fn reference(record: &Record<'_>) -> Option<u64> {
    if record.kind != delivery_kind::MESSAGE || record.flags & delivery_flag::OWNED == 0 {
        return None;
    }
    let number = DeliveryHeader::read(record.bytes).and_then(|(_, _, payload)| read_reference(payload));
    Some(number.map_or(0, |(number, _)| number))
}

/// How far a record was handed out.
struct Handed {
    /// How much of the limit it took.
    events: usize,
    /// There are recipients that it was not handed out to.
    more: bool,
}

/// Hands the events of one record's recipients in `range` out, or counts why not. `cursor` says at every moment which
/// recipient is next. `now` is the poll's time, once anything has asked for it.
#[inline]
fn hand_out(
    (shared, shard, writer): (&Shared, &PollShard, &mut Writer),
    (record, beside): (&[u8], Beside<'_>),
    range: std::ops::Range<usize>,
    cursor: &mut usize,
    now: &mut Option<u64>,
    each: &mut impl FnMut(Event<'_>),
) -> Handed {
    let read = DeliveryHeader::read(record).filter(|(header, ..)| header.recipients > 0);
    let Some((header, recipients, payload)) = read else {
        shard.bad_records.add(writer, 1);
        return Handed { events: 1, more: false };
    };
    let all = header.recipients as usize;
    let end = range.end.min(all);
    let start = if mutant("room-cursor-lost") { 0 } else { range.start };
    let (payload, lost) = match beside {
        Beside::No => (payload, None),
        Beside::There(payload) => (payload, None),
        Beside::Lost => (&[][..], Some(payload_bytes(&header, payload))),
    };
    for recipient in recipients.iter().take(end).skip(start) {
        *cursor += 1;
        let client = ClientId(recipient);
        let gone = |writer: &mut Writer, bytes, reason: Undeliverable| {
            give_back_one(header.kind, client, bytes, &shared.clients);
            shard.undeliverable[reason as usize].add(writer, 1);
        };
        if let Some(bytes) = lost {
            gone(writer, bytes, Undeliverable::PayloadLost);
            continue;
        }
        let slot = shared.clients.get(client).filter(|slot| {
            match slot.phase_of(client.generation()) {
                Some(Phase::Open) => true,
                // Whom the host has disconnected it need not be asked to close.
                Some(Phase::Closing) => header.kind != delivery_kind::CLOSE,
                _ => mutant("deliver-after-closed"),
            }
        });
        match slot {
            Some(slot) => hand_out_to((shared, shard, writer), (client, slot), &header, payload, now, each),
            None => gone(writer, payload.len(), Undeliverable::Closed),
        }
    }
    Handed { events: end.saturating_sub(range.start), more: end < all }
}

/// Hands one event out. All that it changes is done before the host's code runs.
#[inline]
fn hand_out_to(
    (shared, shard, writer): (&Shared, &PollShard, &mut Writer),
    (client, slot): (ClientId, &ClientSlot),
    header: &DeliveryHeader,
    payload: &[u8],
    now: &mut Option<u64>,
    each: &mut impl FnMut(Event<'_>),
) {
    if holds_credit(header.kind) {
        let outstanding =
            slot.hand_out(payload.len() as u32, || *now.get_or_insert_with(|| shared.clock.raw()));
        shard.outstanding_messages_maximum.raise(writer, u64::from(outstanding.0));
        shard.outstanding_bytes_maximum.raise(writer, u64::from(outstanding.1));
    }
    let token = slot.token();
    let event = match header.kind {
        delivery_kind::MESSAGE => Event::Message(DeliveredMessage {
            client,
            token,
            sender: ClientId(header.sender),
            correlation: header.correlation,
            payload,
        }),
        delivery_kind::EXPIRED => {
            Event::Expired { client, token, name: payload, correlation: header.correlation }
        }
        delivery_kind::LEFT => Event::Left { client, token },
        delivery_kind::REFUSED => Event::Refused {
            client,
            token,
            recipient: ClientId(header.sender),
            correlation: header.correlation,
            reason: Failed::ALL.get(usize::from(header.flags)).copied().unwrap_or(Failed::Credit),
        },
        delivery_kind::CLOSE => {
            slot.credit.end_close_delivery(client.generation());
            let reason = CloseReason::ALL.get(usize::from(header.flags));
            Event::Close { client, token, reason: reason.copied().unwrap_or(CloseReason::Credit) }
        }
        _ => {
            shard.consumed.add(writer, 1);
            let figures = shared.clients.keep_figures(client, shared.controls.now());
            let forgiven = shared.clients.end_close(client).unwrap_or(0);
            forgive(shard, writer, forgiven, Unacknowledged::Closed);
            return each(Event::Closed { client, token, figures: &figures });
        }
    };
    shard.consumed.add(writer, 1);
    each(event);
}
