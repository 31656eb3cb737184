//! A port's polling half: takes delivery records from the egress rings of all workers and hands them out as
//! events. One owner at a time. It never waits, and takes no lock that a submitter can hold.
//!
//! Used by `handle`, `shared` (the poller) and `inline`. The records come from `worker/egress`. After an event
//! the message is the host's, until the host acknowledges it here.

use crate::clients::{ClientId, ClientSlot, END, KeptFigures, Outstanding, Phase};
use crate::error::{CloseReason, Error, Failed, Refused, Unacknowledged, Undeliverable};
use crate::metrics::{PollShard, Writer};
use crate::park::{Waiter, WakeWord, after_publishing};
use crate::ring::record::{DeliveryHeader, delivery_flag, delivery_kind};
use crate::ring::{AttachState, Consumer, Corrupt, Record};
use crate::router::local::Seat;
use crate::router::pair::{give_back_from, give_back_one, holds_credit, payload_bytes};
use crate::router::payload::{Payload, read_reference};
use crate::router::port::link::PortLink;
use crate::router::shared::Shared;
use crate::sync::{Arc, mutant};
use std::time::Duration;

/// An event that a poll hands out. `token` is the host's value for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Write these bytes to the client, then acknowledge them.
    Message(DeliveredMessage<'a>),
    /// A message of the client has expired because no client of the recipient's name has connected. Sent once
    /// per name. Acknowledge it like a message of `name`'s length. With an empty `name`, the message itself has
    /// waited too long in the queue and was submitted with
    /// [`SubmitOptions::tell_expired`](crate::router::SubmitOptions::tell_expired).
    Expired {
        /// The sender of the message.
        client: ClientId,
        /// The sender's token.
        token: u64,
        /// The name that did not connect; empty if the message waited too long in the queue.
        name: &'a [u8],
        /// The correlation of the first message for the name.
        correlation: u64,
    },
    /// A message of the client was refused because the recipient has no credit left and its policy is
    /// [`CreditPolicy::Refuse`](crate::clients::CreditPolicy::Refuse). This event uses no credit, so do not
    /// acknowledge it.
    Refused {
        /// The sender of the message.
        client: ClientId,
        /// The sender's token.
        token: u64,
        /// The recipient that has no credit left.
        recipient: ClientId,
        /// The correlation of the message.
        correlation: u64,
        /// The reason.
        reason: Failed,
    },
    /// The client has given up its name (for example with PeerJS's LEAVE). Call
    /// [`Port::release_name`](crate::router::Port::release_name) if others may have the name. The client stays
    /// connected.
    Left {
        /// The client.
        client: ClientId,
        /// Its token.
        token: u64,
    },
    /// Close this client's connection, then call [`Port::disconnect`](crate::router::Port::disconnect). Sent at most
    /// once, and not after that call.
    Close {
        /// The client.
        client: ClientId,
        /// Its token.
        token: u64,
        /// The reason.
        reason: CloseReason,
    },
    /// The last event for this client. The host may now free what the token points at.
    Closed {
        /// The client.
        client: ClientId,
        /// Its token.
        token: u64,
        /// The client's figures, for a client that replaces it.
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
    /// The sender; `ClientId(0)` for a message that a host sent.
    pub sender: ClientId,
    /// The correlation of the submitted message.
    pub correlation: u64,
    /// The bytes to write.
    pub payload: &'a [u8],
}

#[derive(Debug)]
pub(in crate::router) struct PollHalf {
    pub(in crate::router) shared: Arc<Shared>,
    pub(in crate::router) index: usize,
    pub(super) ways: Vec<EgressReceiver>,
    link: Arc<PortLink>,
    wake: Arc<WakeWord>,
    waiter: Waiter,
    /// The last poll has said closed. Until then the end is news: the follow-up of the poll before may have settled what
    /// kept the port open, and nobody wakes a port for that.
    told: bool,
    /// The place of the local worker that this thread drives.
    pub(in crate::router) seat: Option<Arc<Seat>>,
    /// The worker at which the next poll starts. It rotates, so that no worker is always first.
    first: usize,
    pub(super) writer: Writer,
    /// Out-of-line payloads that were handed out. They stay as long as the bytes in the rings.
    views: Vec<Payload>,
    /// Chains of clients taken from the stacks of [`EndedClients`](crate::router::shared::EndedClients) and not
    /// handed out yet: the first client of each.
    pub(super) closes: u32,
    pub(super) closings: u32,
}

/// The egress ring from one worker.
#[derive(Debug)]
pub(crate) struct EgressReceiver {
    pub(super) ring: Consumer,
    /// The worker has left, and the submitting half knows.
    left: bool,
    /// The worker has left, and all its deliveries have been consumed and released.
    consumed: bool,
    /// The start of the record that is being handed out. If the host's code panics in the middle, the next poll
    /// continues with this record.
    current: Option<u64>,
    /// How many recipients of that record, or of the next one, are handed out already. Not 0 after a limit or a
    /// panic in the middle of a record.
    handed: usize,
    /// The ring is corrupt and is not read any more.
    corrupt: bool,
    /// The out-of-line payload of that record.
    beside: Option<Payload>,
}

impl EgressReceiver {
    /// The receiver for a worker's ring. For a `lost` worker nothing will come.
    pub(crate) fn new(ring: Consumer, lost: bool) -> Self {
        Self { ring, left: lost, consumed: lost, current: None, handed: 0, corrupt: false, beside: None }
    }

    pub(super) fn has_more(&self) -> bool {
        !self.corrupt && (self.ring.has_more() || self.current.is_some())
    }

    /// Whether there is a reason not to sleep: a record, or that the worker has closed the ring.
    pub(crate) fn has_news(&self) -> bool {
        self.has_more() || (!self.left && self.ring.memory().is_closed() && !mutant("closed-is-no-news"))
    }

    /// The worker has closed the ring. Once it has also left the pair, tells the submitting half, once.
    fn see_leave(&mut self, shared: &Shared, link: &PortLink, (worker, port): (usize, usize)) {
        if !self.left && shared.pair(worker, port).state() == AttachState::Detaching {
            self.left = true;
            link.worker_left(worker);
        }
    }

    /// The worker has left and its ring is empty. The port then ends the frontier, once.
    fn end_frontier(&mut self, shared: &Shared, (worker, port): (usize, usize)) {
        if !std::mem::replace(&mut self.consumed, true) {
            shared.end_frontier(worker, port);
        }
    }

    /// Makes the current record, in which the host's code panicked, the next one again.
    fn go_back(&mut self) {
        if let Some(start) = self.current.take() {
            self.ring.rewind(start);
        }
    }
}

/// Bytes per worker in a port's polling half.
pub(in crate::router) const PAIR_BYTES: u64 = size_of::<EgressReceiver>() as u64;

/// The result of one poll.
pub(in crate::router) struct Taken {
    pub(in crate::router) count: usize,
    /// More events can come.
    pub(in crate::router) open: bool,
}

impl Taken {
    /// The host's result: the number of events, or closed if no event can come any more.
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
            waiter: Waiter::default(),
            told: false,
            seat: None,
            first: 0,
            writer: Writer::new(),
            views: Vec::new(),
            closes: END,
            closings: END,
        }
    }

    /// Hands out up to `limit` deliveries. Their bytes stay until [`release`](Self::release). If `each` panics,
    /// the event that it was called with counts as handed out, and the next call continues behind it.
    pub(in crate::router) fn take(&mut self, limit: usize, mut each: impl FnMut(Event<'_>)) -> Taken {
        self.end_wait();
        self.release();
        let mut taken = Taken { count: self.hand_out_closings(limit, &mut each), open: false };
        let shared = &self.shared;
        let shard = &shared.ports[self.index].poll;
        shard.polls.add(&mut self.writer, 1);
        // The clock is read at most once per poll, and not at all if no delivery is sampled.
        let mut now = None;
        let workers = self.ways.len();
        self.first = (self.first + 1) % workers.max(1);
        for offset in 0..workers {
            let worker = (self.first + offset) % workers;
            let way = &mut self.ways[worker];
            // Read `closed` before the tail: then everything that was published before closing is seen in this
            // poll.
            let closed = way.ring.memory().is_closed();
            let mut readable = way.ring.refresh().is_ok();
            let mut records = way.ring.records();
            while readable && taken.count < limit && !way.corrupt {
                let before = records.position();
                let record = match records.next() {
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
                    records.rewind(before);
                    break;
                }
                way.handed = 0;
                self.views.extend(way.beside.take());
            }
            drop(records);
            if !readable && !std::mem::replace(&mut way.corrupt, true) {
                // Only a worker writes this ring, so other code has overwritten the memory.
                shard.corrupt_rings.add(&mut self.writer, 1);
            }
            if closed {
                way.see_leave(shared, &self.link, (worker, self.index));
            }
            taken.open |= !way.left || way.has_more();
        }
        // Settling by the submitting half may close further clients.
        taken.open |= self.has_closings() || self.link.has_work();
        self.told = taken.count == 0 && !taken.open;
        taken
    }

    /// Gives back the ring space of what was handed out, and wakes workers that wait for the space.
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

    /// Whether some, but not all, recipients of a delivery have been handed out.
    #[cfg(not(corelane_loom))]
    pub(in crate::router) fn is_in_part(&self) -> bool {
        self.ways.iter().any(|way| way.handed > 0)
    }

    /// Reads how far the host of an inline port has read its rings.
    #[cfg(not(corelane_loom))]
    pub(in crate::router) fn take_over(&mut self) {
        for way in &mut self.ways {
            (way.ring, way.handed) = Consumer::resume_taken(Arc::clone(way.ring.memory()));
            way.corrupt = way.ring.refresh().is_err() || way.ring.memory().is_corrupt();
        }
    }

    /// After the host of an inline port has polled its rings: notes which workers have left, and whose rings
    /// are empty.
    #[cfg(not(corelane_loom))]
    pub(in crate::router) fn look_inline(&mut self) {
        self.take_over();
        for (worker, way) in self.ways.iter_mut().enumerate() {
            if way.ring.memory().is_closed() {
                way.see_leave(&self.shared, &self.link, (worker, self.index));
            }
            // The host releases, so the head in the ring header is the valid one.
            let memory = way.ring.memory();
            if way.left && memory.shared_head() == memory.shared_tail() {
                way.end_frontier(&self.shared, (worker, self.index));
            }
        }
    }

    /// Takes the payload of a delivery record that an inline host has taken from its ring.
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

    /// Announces that the host is about to wait for the descriptor. False if there is something to poll, or
    /// room again after a refusal as full.
    pub(in crate::router) fn arm(&mut self) -> bool {
        let mut waiter = std::mem::take(&mut self.waiter);
        let news = || self.link.space_moved() || self.has_news();
        let may_wait = match &self.seat {
            Some(seat) => seat.arm(&mut waiter, news),
            None => waiter.arm_unless(&self.wake, news),
        };
        self.waiter = waiter;
        if !may_wait {
            // The thread goes on. A word that still says asleep would make it signal itself.
            self.waiter.awake(&self.wake, false);
        }
        may_wait
    }

    /// The local worker's place.
    fn local(&self) -> Result<&Arc<Seat>, Error> {
        self.seat
            .as_ref()
            .ok_or(Error::State("the port has no local worker: open it with Router::local_port to drive one"))
    }

    /// One cycle of the local worker. First ends the wait that the thread was in.
    pub(in crate::router) fn cycle(&mut self) -> Result<usize, Error> {
        self.end_wait();
        self.local()?.cycle()
    }

    /// Ends a wait of which nothing else is known: disarms, and reads the descriptor.
    pub(in crate::router) fn end_wait(&mut self) {
        self.waiter.awake_unsure(&self.wake);
    }

    /// See [`Port::next_due`](crate::router::Port::next_due). Does not end a wait: a host may ask between its arm and its
    /// wait.
    pub(in crate::router) fn next_due(&self) -> Result<Option<Duration>, Error> {
        Ok(self.local()?.next_due())
    }

    /// The port is released: it gives up its local worker.
    pub(in crate::router) fn leave_seat(&mut self) {
        self.end_wait();
        if let Some(seat) = self.seat.take() {
            seat.release();
        }
    }

    /// See [`Port::awake`](crate::router::Port::awake).
    pub(in crate::router) fn awake(&mut self, reported: bool) {
        self.waiter.awake(&self.wake, reported);
    }

    /// Whether there is something to poll or to settle.
    pub(in crate::router) fn has_news(&self) -> bool {
        self.ways.iter().any(EgressReceiver::has_news)
            || self.has_closings()
            || self.link.left() != 0
            || (!self.told && !self.ways.is_empty() && self.is_over())
    }

    /// Whether every worker has left and everything has been handed out.
    pub(in crate::router) fn is_over(&self) -> bool {
        let left = self.ways.iter().all(|way| way.left && !way.has_more());
        left && !self.has_closings() && !self.link.has_work()
    }

    /// The egress ring from a worker.
    #[cfg(not(corelane_loom))]
    pub(in crate::router) fn memory(&self, worker: usize) -> Option<&crate::ring::Memory> {
        self.ways.get(worker).map(|way| &**way.ring.memory())
    }

    /// Waits until there is news, or room after a refusal as full, or something is due, or `timeout` is over.
    pub(in crate::router) fn wait(&mut self, timeout: Duration) {
        let due = self.seat.as_ref().and_then(|seat| seat.next_due());
        let timeout = due.map_or(timeout, |due| due.min(timeout));
        let reported = self.arm() && self.wake.sleep(Some(timeout));
        self.awake(reported);
    }

    /// Gives up the rest of the records that were handed out in part. The settlement then finds only whole
    /// records, and what was handed out is neither given back nor counted twice.
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

    /// Counts messages that were handed out and can never be acknowledged.
    pub(in crate::router) fn forgive(&mut self, messages: u32, reason: Unacknowledged) {
        forgive(&self.shared.ports[self.index].poll, &mut self.writer, messages, reason);
    }

    /// Counts deliveries that will not be handed out, because the port is released.
    pub(in crate::router) fn give_up(&mut self, recipients: u64) {
        let shard = &self.shared.ports[self.index].poll;
        shard.undeliverable[Undeliverable::PortGone as usize].add(&mut self.writer, recipients);
    }
}

/// Counts the unacknowledged messages of a closed client.
pub(super) fn forgive(shard: &PollShard, writer: &mut Writer, messages: u32, reason: Unacknowledged) {
    shard.unacknowledged[reason as usize].add(writer, messages.into());
}

/// A delivery's out-of-line payload.
#[derive(Clone, Copy)]
enum Beside<'a> {
    No,
    There(&'a [u8]),
    /// The record's number is not in the table, or the host's value panicked.
    Lost,
}

/// The number of a delivery's out-of-line payload; `None` if the payload is in the ring. An unreadable
/// reference gives 0, which no payload has.
#[inline]
fn reference(record: &Record<'_>) -> Option<u64> {
    if record.kind != delivery_kind::MESSAGE || record.flags & delivery_flag::OWNED == 0 {
        return None;
    }
    let number = DeliveryHeader::read(record.bytes).and_then(|(_, _, payload)| read_reference(payload));
    Some(number.map_or(0, |(number, _)| number))
}

/// The result of handing out one record.
struct Handed {
    /// How much of the limit was used.
    events: usize,
    /// There are recipients left.
    more: bool,
}

/// Hands out one record's events to the recipients in `range`, or counts why not. `cursor` is the index of the
/// next recipient at every moment, so a panic in the host's code loses none. `now` caches the poll's time.
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
                // A client that the host has disconnected needs no close event.
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

/// Hands out one event. All changes are made before the host's code runs.
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
