//! A worker's path to one port: the sender of the egress ring, a bounded backlog behind it, and a list of
//! closings, which are never dropped. Owned by the worker.
//!
//! Used by `deliver`, `rooms` and `over_limit` (emit), `cycle` (flush, publish, leave) and `state`. The records
//! go on to `port/poll`.

use crate::clients::{ClientId, Clients, NoticeAt, Refusals, SlotList};
use crate::error::CloseReason;
use crate::metrics::{PathShard, Writer};
use crate::park::WakeWord;
use crate::ring::record::{DELIVERY_BYTES, DeliveryHeader, delivery_flag, delivery_kind};
use crate::ring::{ALIGNMENT, Consumer, Corrupt, Memory, Producer, PushError};
use crate::router::lane::rings::LaneRings;
use crate::router::notice::Notice;
use crate::router::pair::{Pair, give_back};
use crate::router::payload::{Payload, Payloads, REFERENCE_BYTES, Way, read_reference};
use crate::router::placement::Frontier;
use crate::sync::{Arc, AtomicU32, AtomicU64, mutant};
use std::collections::VecDeque;

/// What a worker keeps for an egress ring that leads to a lane.
#[derive(Debug)]
pub(in crate::router) struct LaneEgress {
    pub(in crate::router) rings: Arc<LaneRings>,
    /// The records whose reading the worker waits for, in the order of the ring: the position behind each, plus 1 for a
    /// CLIENT_CLOSED (the others are REFUSED), and its client. Never more than the ring has records.
    unread: VecDeque<(u64, ClientId)>,
    /// Clients whose REFUSED found no room, linked through `port_link`.
    owed: SlotList,
}

/// A record that the host has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::router) enum Read {
    Closed(ClientId),
    Refused(ClientId),
}

#[derive(Debug)]
pub(in crate::router) struct EgressSender {
    ring: Producer,
    wake: Arc<WakeWord>,
    /// The deliveries for which the ring had no room, in order. Both ends of this ring belong to the worker.
    backlog: (Producer, Consumer),
    backlogged: u64,
    /// The ring belongs to a port, and the backlog is empty: the ordinary path.
    is_direct: bool,
    /// Set if the ring leads to a lane.
    pub(in crate::router) lane: Option<Box<LaneEgress>>,
    pub(in crate::router) frontier: Frontier,
    /// The closings that found backlog and ring full, in order, linked through the slots of their clients. A
    /// client may have two entries, a CLOSE and a CLIENT_CLOSED. See [`Closing`].
    closings: SlotList,
    /// The notices that found backlog and ring full, in order. They go before the closings.
    notices: VecDeque<Notice>,
    backlog_maximum: u64,
    listed_maximum: u64,
    /// Something waits, or waited at the last report.
    reported: bool,
}

/// A CLOSE or a CLIENT_CLOSED of one client, as a list entry: the slot's index, and in the lowest two bits 0
/// for CLIENT_CLOSED, or 1 plus the reason of a CLOSE.
#[derive(Clone, Copy)]
struct Closing(u32);

impl Closing {
    fn new(header: &DeliveryHeader, client: ClientId) -> Self {
        let is_close = header.kind == delivery_kind::CLOSE;
        Self(client.index() << 2 | if is_close { 1 + u32::from(header.flags) } else { 0 })
    }

    fn index(self) -> u32 {
        self.0 >> 2
    }

    fn header(self) -> DeliveryHeader {
        match self.0 & 3 {
            0 => DeliveryHeader { kind: delivery_kind::CLIENT_CLOSED, ..DeliveryHeader::default() },
            reason => DeliveryHeader {
                kind: delivery_kind::CLOSE,
                flags: reason as u16 - 1,
                ..DeliveryHeader::default()
            },
        }
    }

    /// The word of the slot that links the entry. The slot is not reused while it is listed: a CLOSE that is
    /// under way, or an unfinished disconnect, keeps it.
    fn link(entry: u32, clients: &Clients) -> Option<&AtomicU32> {
        let slot = clients.slot(Self(entry).index())?;
        Some(if entry & 3 == 0 { &slot.closed_link } else { &slot.close_link })
    }

    fn client(self, clients: &Clients) -> Option<ClientId> {
        let slot = clients.slot(self.index())?;
        Some(ClientId::new(self.index(), slot.place().generation))
    }
}

const _: () = assert!(CloseReason::COUNT <= 3, "an entry has two bits for the reason");

/// The deliveries that were given up.
pub(in crate::router) struct GivenUp {
    /// The number of recipients.
    pub(in crate::router) recipients: u64,
    /// Clients whose CLIENT_CLOSED was given up and whose disconnect is not finished. Not in `recipients`.
    pub(in crate::router) closed: Vec<ClientId>,
    /// Clients whose CLOSE was given up and still keeps their slot. Not in `recipients`.
    pub(in crate::router) closes: Vec<ClientId>,
    /// The notices, in order. Not in `recipients`.
    pub(in crate::router) notices: VecDeque<Notice>,
}

/// Why a record was not emitted: neither ring nor backlog has room, or the record is too large for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::router) enum Rejected {
    Full,
    TooLarge,
    /// The table of out-of-line payloads is full.
    PayloadsFull,
}

impl EgressSender {
    pub(in crate::router) fn new(pair: &Pair) -> Self {
        Self {
            ring: Producer::new(Arc::clone(&pair.egress)),
            wake: Arc::clone(&pair.port_wake),
            backlog: (Producer::new(Arc::clone(&pair.backlog)), Consumer::new(Arc::clone(&pair.backlog))),
            backlogged: 0,
            is_direct: pair.lane.is_none(),
            lane: pair.lane.as_ref().map(|rings| Box::new(LaneEgress::new(rings))),
            frontier: Frontier::new(),
            closings: SlotList::new(),
            notices: VecDeque::new(),
            backlog_maximum: 0,
            listed_maximum: 0,
            reported: false,
        }
    }

    /// Emits a delivery to one client. `fill` writes the payload. Order is kept: while the backlog is not
    /// empty, everything goes there. Returns whether the record went to the backlog.
    #[inline]
    pub(in crate::router) fn emit(
        &mut self,
        header: &DeliveryHeader,
        recipient: u64,
        payload: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<bool, Rejected> {
        self.emit_to(header, &[recipient], payload, fill)
    }

    /// The most recipients that fit into one record with a payload of this many bytes: the rest of the largest
    /// record that both ring and backlog take, at 8 bytes per recipient.
    pub(in crate::router) fn most_recipients(&self, payload: usize) -> usize {
        let largest = self.ring.memory().max_record().min(self.backlog.0.memory().max_record());
        largest.saturating_sub(DeliveryHeader::record_bytes(0, payload)) / 8
    }

    /// As [`emit`](Self::emit), to several clients of this port in one record. Either all get it or none.
    #[inline]
    pub(in crate::router) fn emit_to(
        &mut self,
        header: &DeliveryHeader,
        recipients: &[u64],
        payload: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<bool, Rejected> {
        let length = DeliveryHeader::record_bytes(recipients.len(), payload);
        if self.is_direct || (mutant("egress-past-backlog") && self.lane.is_none()) {
            match self.ring.claim(length, header.kind, header.flags) {
                Ok(record) => {
                    fill(header.write(recipients, record));
                    self.ring.commit();
                    return Ok(false);
                }
                Err(PushError::TooLarge) => return Err(Rejected::TooLarge),
                Err(PushError::Full | PushError::Closed) => {}
            }
        } else if let Some(lane) = self.lane.as_deref_mut().filter(|_| self.backlogged == 0) {
            if lane.rings.is_broken() {
                return Err(Rejected::Full);
            }
            let before = self.ring.position();
            match self.ring.claim(length, header.kind, header.flags) {
                Ok(record) => {
                    fill(header.write(recipients, record));
                    self.ring.commit();
                    lane.note((before, self.ring.position()), length, header.kind, recipients);
                    return Ok(false);
                }
                Err(PushError::TooLarge) => return Err(Rejected::TooLarge),
                Err(PushError::Full | PushError::Closed) => {}
            }
        }
        // Such a record could never leave the backlog, nor could anything behind it.
        if length > self.ring.memory().max_record() && !mutant("backlog-past-ring") {
            return Err(Rejected::TooLarge);
        }
        match self.backlog.0.claim(length, header.kind, header.flags) {
            Ok(record) => {
                fill(header.write(recipients, record));
                self.backlog.0.commit();
                self.backlog.0.publish();
                self.backlogged += 1;
                self.is_direct = false;
                self.backlog_maximum = self.backlog_maximum.max(self.backlog_bytes());
                Ok(true)
            }
            Err(PushError::TooLarge) => Err(Rejected::TooLarge),
            Err(PushError::Full | PushError::Closed) => Err(Rejected::Full),
        }
    }

    /// As [`emit_to`](Self::emit_to), for an out-of-line payload.
    #[cold]
    pub(in crate::router) fn emit_beside(
        &mut self,
        payloads: &Payloads,
        (worker, port): (usize, usize),
        header: &DeliveryHeader,
        recipients: &[u64],
        payload: Payload,
    ) -> Result<bool, Rejected> {
        let copy = payload.clone();
        let number = payloads.put(Way::Out, worker, port, payload).map_err(|_| Rejected::PayloadsFull)?;
        let header = DeliveryHeader { flags: header.flags | delivery_flag::OWNED, ..*header };
        let reference = copy.reference(number);
        let emitted =
            self.emit_to(&header, recipients, REFERENCE_BYTES, |out| out.copy_from_slice(&reference));
        if emitted.is_err() {
            drop(payloads.take(Way::Out, worker, port, number));
        }
        emitted
    }

    /// Emits a closing, or lists it: a closing is never dropped, and never overtakes a listed one. The client's
    /// disconnect finishes when its CLIENT_CLOSED is in the ring, and keeps the slot until then.
    pub(in crate::router) fn emit_closing(
        &mut self,
        header: &DeliveryHeader,
        client: ClientId,
        clients: &Clients,
    ) {
        let waits = !self.closings.is_empty() || !self.notices.is_empty();
        let emitted = if waits { Err(Rejected::Full) } else { self.emit(header, client.0, 0, |_| ()) };
        if mutant("closed-unpinned") && header.kind == delivery_kind::CLIENT_CLOSED {
            clients.slot(client.index()).into_iter().for_each(|slot| slot.finish(1));
        }
        if emitted == Ok(false) {
            self.end_closing(header.kind, client, clients);
        }
        if emitted.is_ok() {
            return;
        }
        self.closings.push(Closing::new(header, client).0, |entry| Closing::link(entry, clients));
        self.listed_maximum = self.listed_maximum.max(self.listed());
    }

    /// Emits a notice, or lists it: a notice is never dropped while its port is there.
    pub(in crate::router) fn emit_notice(&mut self, notice: Notice) {
        if !self.notices.is_empty() || self.emit(&notice.header, notice.client.0, 0, |_| ()).is_err() {
            self.notices.push_back(notice);
            self.listed_maximum = self.listed_maximum.max(self.listed());
        }
    }

    /// Whether a notice waits for room.
    pub(in crate::router) fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }

    /// How many closings and notices wait for room.
    fn listed(&self) -> u64 {
        self.closings.len() + self.notices.len() as u64
    }

    /// Moves the waiting records that fit: the backlog into the ring, then the notices and the closings behind it.
    /// These therefore get the freed space before new deliveries, and a steady load does not delay them. Returns
    /// how many records moved.
    pub(in crate::router) fn flush(&mut self, clients: &Clients) -> usize {
        let moved = self.flush_backlog(clients) + self.flush_notices();
        moved + if self.notices.is_empty() { self.flush_closings(clients) } else { 0 }
    }

    fn flush_backlog(&mut self, clients: &Clients) -> usize {
        if self.backlogged == 0 || self.backlog.1.refresh().is_err() {
            return 0;
        }
        if self.lane.is_some() {
            return self.flush_lane_backlog(clients);
        }
        let mut moved = 0;
        let (mut batch, mut records) = (self.ring.batch(), self.backlog.1.records());
        while let Ok(Some(record)) = records.peek() {
            let Ok(target) = batch.claim(record.bytes.len(), record.kind, record.flags) else { break };
            target.copy_from_slice(record.bytes);
            batch.commit();
            if record.kind == delivery_kind::CLIENT_CLOSED
                && let Some((_, recipients, _)) = DeliveryHeader::read(record.bytes)
            {
                recipients.iter().for_each(|client| end_closing(record.kind, ClientId(client), clients));
            }
            records.skip();
            moved += 1;
        }
        drop((batch, records));
        self.backlog.1.release();
        self.backlogged -= moved;
        self.is_direct = self.backlogged == 0;
        moved as usize
    }

    /// As [`flush_backlog`](Self::flush_backlog), into the ring of a lane.
    #[cold]
    fn flush_lane_backlog(&mut self, clients: &Clients) -> usize {
        let Some(lane) = self.lane.as_deref_mut() else { return 0 };
        let (mut moved, mut records) = (0, self.backlog.1.records());
        while let Ok(Some(record)) = records.peek() {
            let before = self.ring.position();
            let Ok(target) = self.ring.claim(record.bytes.len(), record.kind, record.flags) else { break };
            target.copy_from_slice(record.bytes);
            self.ring.commit();
            if let Some((header, recipients, _)) = DeliveryHeader::read(record.bytes) {
                let first = recipients.iter().next().unwrap_or(0);
                let end = self.ring.position();
                lane.note_some((before, end), record.bytes.len(), header.kind, (header.recipients, first));
                if header.kind == delivery_kind::CLOSE {
                    end_close(ClientId(first), clients);
                }
            }
            records.skip();
            moved += 1;
        }
        drop(records);
        self.backlog.1.release();
        self.backlogged -= moved;
        moved as usize
    }

    /// Called when a closing is in the ring. A CLIENT_CLOSED to a port then finishes the client's disconnect, so that the
    /// slot may be reused once the record is handed out. A lane's clients do not depend on their CLOSE: the host compares
    /// their generations.
    fn end_closing(&self, kind: u16, client: ClientId, clients: &Clients) {
        if self.lane.is_none() {
            end_closing(kind, client, clients);
        } else if kind == delivery_kind::CLOSE {
            end_close(client, clients);
        }
    }

    /// The oldest record of those that the worker waits for, if the host has read it.
    ///
    /// # Errors
    /// [`Corrupt`] if the ring's head is impossible.
    pub(in crate::router) fn next_read(&mut self) -> Result<Option<Read>, Corrupt> {
        let Some(lane) = self.lane.as_deref_mut() else { return Ok(None) };
        let Some((mark, client)) = lane.unread.front().copied() else { return Ok(None) };
        let (position, is_closed) = (mark & !1, mark & 1 == 1);
        if self.ring.seen_head() < position
            && self.ring.refresh_head()? < position
            && !(is_closed && mutant("lane-closed-unread"))
        {
            return Ok(None);
        }
        lane.unread.pop_front();
        Ok(Some(if is_closed { Read::Closed(client) } else { Read::Refused(client) }))
    }

    /// The REFUSED of this client found no room.
    pub(in crate::router) fn owe(&mut self, client: ClientId, clients: &Clients) {
        if let Some(lane) = self.lane.as_deref_mut() {
            lane.owed.push(client.index(), |index| port_link(clients, index));
        }
    }

    /// Takes a client whose REFUSED found no room, if there may be room now.
    pub(in crate::router) fn take_owed(&mut self, clients: &Clients) -> Option<u32> {
        let lane = self.lane.as_deref_mut().filter(|_| self.backlogged == 0)?;
        let first = lane.owed.first()?;
        lane.owed.pop(|index| port_link(clients, index));
        Some(first)
    }

    /// The worker leaves: takes the clients whose CLIENT_CLOSED the host has not read, with its position.
    pub(in crate::router) fn take_unread(&mut self) -> Vec<(u64, ClientId)> {
        let unread =
            self.lane.as_deref_mut().map(|lane| std::mem::take(&mut lane.unread)).unwrap_or_default();
        unread
            .into_iter()
            .filter(|(mark, _)| mark & 1 == 1)
            .map(|(mark, client)| (mark & !1, client))
            .collect()
    }

    /// Whether the worker wants to know when the host reads on.
    #[inline]
    pub(in crate::router) fn waits(&self) -> bool {
        self.is_stalled() || self.lane.as_deref().is_some_and(LaneEgress::waits)
    }

    /// Reads the head of a ring that leads to a lane. Withdraws the request for space if nothing waits for it any more.
    pub(in crate::router) fn look(&mut self) -> Result<(), Corrupt> {
        self.ring.refresh_head()?;
        if !self.waits() {
            self.ring.end_request();
        }
        Ok(())
    }

    pub(in crate::router) fn memory(&self) -> &Memory {
        self.ring.memory()
    }

    fn flush_notices(&mut self) -> usize {
        let mut moved = 0;
        while let Some(notice) = self.notices.front().copied() {
            if self.emit(&notice.header, notice.client.0, 0, |_| ()).is_err() {
                return moved;
            }
            self.notices.pop_front();
            moved += 1;
        }
        self.notices.shrink_to(0);
        moved
    }

    fn flush_closings(&mut self, clients: &Clients) -> usize {
        let mut moved = 0;
        while let Some(closing) = self.closings.first().map(Closing) {
            let (header, Some(client)) = (closing.header(), closing.client(clients)) else { return moved };
            let Ok(backlogged) = self.emit(&header, client.0, 0, |_| ()) else { return moved };
            self.closings.pop(|entry| Closing::link(entry, clients));
            if !backlogged {
                self.end_closing(header.kind, client, clients);
            }
            moved += 1;
        }
        moved
    }

    /// Gives up everything that waits, because the port is gone or the worker ends. Gives back what the
    /// deliveries hold.
    pub(in crate::router) fn give_up(
        &mut self,
        clients: &Clients,
        payloads: &Payloads,
        (worker, port): (usize, usize),
    ) -> GivenUp {
        let mut given_up =
            GivenUp { recipients: 0, closed: Vec::new(), closes: Vec::new(), notices: VecDeque::new() };
        if self.backlog.1.refresh().is_ok() {
            while let Ok(Some(record)) = self.backlog.1.next() {
                let Some((header, recipients, payload)) = DeliveryHeader::read(record.bytes) else {
                    continue;
                };
                match header.kind {
                    delivery_kind::CLIENT_CLOSED => given_up.closed.extend(recipients.iter().map(ClientId)),
                    delivery_kind::CLOSE => given_up.closes.extend(recipients.iter().map(ClientId)),
                    kind if Notice::is_kind(kind) => {
                        let notice = |client| Notice { header, client: ClientId(client) };
                        given_up.notices.extend(recipients.iter().map(notice));
                    }
                    _ => given_up.recipients += give_back(record.bytes, clients),
                }
                if delivery_kind::may_be_beside(header.kind) && header.flags & delivery_flag::OWNED != 0 {
                    let taken = |(number, _)| payloads.take(Way::Out, worker, port, number);
                    drop(read_reference(payload).and_then(taken));
                }
            }
        }
        self.backlog.1.release();
        self.backlogged = 0;
        self.is_direct = self.lane.is_none();
        if let Some(lane) = self.lane.as_deref_mut() {
            while let Some(index) = lane.owed.first() {
                lane.owed.pop(|index| port_link(clients, index));
                if let Some(slot) = clients.slot(index) {
                    slot.set_refusals(Refusals { notice: NoticeAt::Nowhere, ..slot.refusals() });
                }
            }
        }
        given_up.notices.append(&mut self.notices);
        while let Some(closing) = self.closings.first().map(Closing) {
            let (header, client) = (closing.header(), closing.client(clients));
            self.closings.pop(|entry| Closing::link(entry, clients));
            let Some(client) = client else { continue };
            let is_close = header.kind == delivery_kind::CLOSE;
            if is_close { &mut given_up.closes } else { &mut given_up.closed }.push(client);
        }
        given_up
    }

    /// The worker leaves: publishes what it has emitted into the ring, and leaves the frontier.
    pub(in crate::router) fn leave(&mut self, published: &AtomicU64) {
        self.ring.publish();
        self.frontier.leave(&self.ring, published);
    }

    /// Called at the end of a cycle: publishes how far the port has consumed.
    #[inline]
    pub(in crate::router) fn advance(&mut self, batch: u64, published: &AtomicU64) {
        self.frontier.advance(batch, &self.ring, self.backlogged, published);
    }

    /// Whether anything waits for room.
    pub(in crate::router) fn is_stalled(&self) -> bool {
        self.backlogged > 0 || self.listed() > 0
    }

    /// Writes the backlog's figures to their cells, if they may have changed since the last report.
    pub(in crate::router) fn report(&mut self, path: &PathShard, writer: &mut Writer) {
        let stalled = self.is_stalled();
        if stalled || self.reported {
            path.backlog_bytes.set(writer, if self.backlogged > 0 { self.backlog_bytes() } else { 0 });
            path.backlog_bytes_maximum.raise(writer, self.backlog_maximum);
            path.closings.set(writer, self.listed());
            path.closings_maximum.raise(writer, self.listed_maximum);
        }
        self.reported = stalled;
    }

    pub(in crate::router) fn backlog_bytes(&self) -> u64 {
        self.backlog.1.pending_bytes()
    }

    /// Makes the emitted records visible. The caller then issues one fence for all ports, and wakes.
    #[inline]
    pub(in crate::router) fn publish(&mut self) -> bool {
        let published = self.ring.publish();
        if published {
            // If something still waits for room, the worker requests space again before it sleeps.
            self.ring.end_request();
        }
        published
    }

    pub(in crate::router) fn wake(&self) -> bool {
        self.wake.wake_if_asleep()
    }

    /// Announces that this side waits for room. Called before the worker sleeps.
    pub(in crate::router) fn request_space(&mut self) {
        self.ring.request_space();
    }

    pub(in crate::router) fn space_moved(&self) -> bool {
        // A lane's broken ring never has room: what is listed waits for the lane's release, and the worker may sleep.
        let broken = self.lane.as_deref().is_some_and(|lane| lane.rings.is_broken());
        !broken && self.ring.space_moved()
    }

    /// Closes the ring: nothing more will come.
    pub(in crate::router) fn close(&self) {
        self.ring.memory().close();
    }
}

impl LaneEgress {
    fn new(rings: &Arc<LaneRings>) -> Self {
        Self { rings: Arc::clone(rings), unread: VecDeque::new(), owed: SlotList::new() }
    }

    /// A record is in the ring, between two positions.
    fn note(&mut self, ring: (u64, u64), length: usize, kind: u16, recipients: &[u64]) {
        let first = recipients.first().copied().unwrap_or(0);
        self.note_some(ring, length, kind, (recipients.len() as u32, first));
    }

    /// As [`note`](Self::note), with the number of recipients and the first one.
    fn note_some(
        &mut self,
        (before, end): (u64, u64),
        length: usize,
        kind: u16,
        (recipients, first): (u32, u64),
    ) {
        let start = end - length.next_multiple_of(ALIGNMENT) as u64;
        self.rings.emit((before, start, end), u64::from(recipients));
        match kind {
            delivery_kind::CLIENT_CLOSED => self.unread.push_back((end | 1, ClientId(first))),
            delivery_kind::REFUSED => self.unread.push_back((end, ClientId(first))),
            _ => {}
        }
    }

    fn waits(&self) -> bool {
        !self.unread.is_empty() || !self.owed.is_empty()
    }
}

fn port_link(clients: &Clients, index: u32) -> Option<&AtomicU32> {
    clients.slot(index).map(|slot| &slot.port_link)
}

/// A CLOSE to a lane's client is in the ring.
fn end_close(client: ClientId, clients: &Clients) {
    if let Some(slot) = clients.slot(client.index()) {
        slot.credit.end_close_delivery(client.generation());
    }
}

/// Called when a closing to a port is in the ring.
fn end_closing(kind: u16, client: ClientId, clients: &Clients) {
    if kind == delivery_kind::CLIENT_CLOSED
        && !mutant("closed-unpinned")
        && let Some(slot) = clients.slot(client.index())
    {
        slot.finish(1);
    }
}

const _: () = assert!(DELIVERY_BYTES.is_multiple_of(8));
