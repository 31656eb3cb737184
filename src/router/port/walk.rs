//! One poll of a port: finds the events one by one. It reads the records in the egress rings of all workers; before them
//! come the events that come from no ring (`closings`). Nothing of the host runs here.
//!
//! Used by `batch`, which lends the events. `poll` has the state that stays from poll to poll.

use crate::clients::{ClientId, Phase};
use crate::error::{CloseReason, Closed, Undeliverable};
use crate::ring::record::{DELIVERY_BYTES, DeliveryHeader, delivery_flag, delivery_kind};
use crate::ring::{Corrupt, Record};
use crate::router::pair::{give_back_one, holds_credit, payload_bytes};
use crate::router::payload::{Way, read_reference};
use crate::router::port::closings::Closing;
use crate::router::port::event::{DeliveredMessage, Event, Names};
use crate::router::port::poll::{Beside, Current, EgressReceiver, PollHalf, forgive};
use crate::sync::{Arc, mutant};

/// How far a poll is.
#[derive(Debug)]
pub(in crate::router) struct Walk {
    limit: usize,
    /// Recipients taken.
    pub(super) taken: usize,
    /// The events from no ring are still to come.
    closings: bool,
    /// The worker whose ring is read, and how many workers are left, with this one.
    worker: usize,
    workers: usize,
    /// The clock, read at most once per poll, and not at all if no delivery is sampled.
    now: Option<u64>,
}

/// An event that is to be lent. It borrows nothing.
#[derive(Clone, Copy)]
pub(super) enum Found {
    /// From no ring.
    Closing(Closing),
    /// For one recipient of a record.
    Record { worker: usize, record: Current, client: ClientId, token: u64 },
}

/// Why there is no next record.
enum Unopened {
    /// The ring has no more.
    None,
    /// The record cannot be read, and is passed.
    Bad,
}

/// What became of one recipient of the next record.
enum Step {
    Event(Found),
    /// No event: the client is gone, or the record cannot be read.
    Gone,
    /// The ring has no more records.
    End,
}

impl PollHalf {
    /// Starts a poll of up to `limit` recipients.
    ///
    /// # Errors
    /// [`Closed`] if no event can come any more.
    pub(in crate::router) fn begin(&mut self, limit: usize) -> Result<Walk, Closed> {
        self.end_wait();
        self.release();
        let shared = Arc::clone(&self.shared);
        let shard = &shared.ports[self.index].poll;
        shard.polls.add(&mut self.writer, 1);
        let workers = self.ways.len();
        let (mut open, mut corrupt) = (false, false);
        for (worker, way) in self.ways.iter_mut().enumerate() {
            // Read `closed` before the tail: then everything that was published before closing is seen in this poll.
            let closed = way.ring.memory().is_closed();
            if way.ring.refresh().is_err() && !std::mem::replace(&mut way.corrupt, true) {
                corrupt = true;
            }
            if closed {
                way.see_leave(&shared, &self.link, (worker, self.index));
            }
            open |= !way.left || way.has_more();
        }
        if corrupt {
            self.cut_off_clients();
        }
        // Settling by the submitting half may close further clients.
        open |= self.has_closings() || self.link.has_work();
        self.told = !open;
        if !open {
            return Err(Closed);
        }
        self.first = if self.first + 1 < workers { self.first + 1 } else { 0 };
        Ok(Walk { limit, taken: 0, closings: true, worker: self.first, workers, now: None })
    }

    /// Finds the next event. All changes that belong to it are made here, before the host sees it.
    #[inline]
    pub(super) fn find(&mut self, walk: &mut Walk) -> Option<Found> {
        if walk.taken >= walk.limit {
            return None;
        }
        if walk.closings {
            if let Some(closing) = self.next_closing() {
                walk.taken += 1;
                return Some(Found::Closing(closing));
            }
            walk.closings = false;
        }
        while walk.workers > 0 {
            match self.step(walk) {
                Step::Event(found) => return Some(found),
                Step::Gone if walk.taken >= walk.limit => return None,
                Step::Gone => {}
                Step::End => {
                    walk.workers -= 1;
                    walk.worker = if walk.worker + 1 < self.ways.len() { walk.worker + 1 } else { 0 };
                }
            }
        }
        None
    }

    /// Takes the next recipient of a worker's ring.
    #[inline(always)]
    fn step(&mut self, walk: &mut Walk) -> Step {
        let worker = walk.worker;
        let current = self.ways.get(worker).and_then(|way| way.current);
        let (record, first) =
            match current.map_or_else(|| self.open_record(worker), |record| Ok((record, None))) {
                Ok(opened) => opened,
                Err(Unopened::None) => return Step::End,
                Err(Unopened::Bad) => {
                    walk.taken += 1;
                    return Step::Gone;
                }
            };
        let shared = &*self.shared;
        let shard = &shared.ports[self.index].poll;
        let Some(way) = self.ways.get_mut(worker) else { return Step::End };
        let Current { header, bytes, .. } = record;
        let client = match first {
            Some(first) if way.handed == 0 && header.recipients == 1 => first,
            _ => way.next_of_several(record),
        };
        walk.taken += 1;
        let mut gone = |reason: Undeliverable| {
            give_back_one(header.kind, client, bytes, &shared.clients);
            shard.undeliverable[reason as usize].add(&mut self.writer, 1);
            Step::Gone
        };
        if matches!(way.beside, Beside::Lost) {
            return gone(Undeliverable::PayloadLost);
        }
        if header.kind >= delivery_kind::SEND_FAILED {
            // The recipient of the send may be gone, or belong to another port, or be a room: the event is the port's.
            shard.consumed.add(&mut self.writer, 1);
            return Step::Event(Found::Record { worker, record, client, token: 0 });
        }
        let slot = shared.clients.get(client).filter(|slot| {
            match slot.phase_of(client.generation()) {
                Some(Phase::Open) => true,
                // A client that the host has disconnected needs no close event.
                Some(Phase::Closing) => header.kind != delivery_kind::CLOSE,
                _ => mutant("deliver-after-closed"),
            }
        });
        let Some(slot) = slot else { return gone(Undeliverable::Closed) };
        if holds_credit(header.kind) {
            let outstanding =
                slot.hand_out(bytes as u32, || *walk.now.get_or_insert_with(|| shared.clock.raw()));
            shard.outstanding_messages_maximum.raise(&mut self.writer, u64::from(outstanding.0));
            shard.outstanding_bytes_maximum.raise(&mut self.writer, u64::from(outstanding.1));
        }
        let token = slot.token();
        shard.consumed.add(&mut self.writer, 1);
        match header.kind {
            delivery_kind::CLOSE => slot.credit.end_close_delivery(client.generation()),
            delivery_kind::CLIENT_CLOSED => {
                let figures = shared.clients.keep_figures(client, shared.controls.now());
                if let Some((forgiven, reason)) = shared.clients.end_close(client) {
                    forgive(shard, &mut self.writer, forgiven, reason);
                }
                return Step::Event(Found::Closing(Closing::Closed { client, token, figures }));
            }
            _ => {}
        }
        Step::Event(Found::Record { worker, record, client, token })
    }

    /// Takes the next record of a worker's ring. Also returns its first recipient.
    #[inline(always)]
    fn open_record(&mut self, worker: usize) -> Result<(Current, Option<ClientId>), Unopened> {
        let shared = &*self.shared;
        let shard = &shared.ports[self.index].poll;
        let way = self.ways.get_mut(worker).filter(|way| !way.corrupt).ok_or(Unopened::None)?;
        let before = way.ring.position();
        let (start, record) = match way.ring.next_at() {
            Ok(next) => next.ok_or(Unopened::None)?,
            Err(Corrupt) => {
                way.corrupt = true;
                self.cut_off_clients();
                return Err(Unopened::None);
            }
        };
        let length = record.bytes.len();
        let is_known = (delivery_kind::MESSAGE..=delivery_kind::ROOM_SEND_FAILED).contains(&record.kind)
            || (self.is_gateway && record.kind >= delivery_kind::ELSEWHERE);
        let read =
            DeliveryHeader::read(record.bytes).filter(|(header, ..)| header.recipients > 0 && is_known);
        let Some((header, recipients, payload)) = read else {
            shard.bad_records.add(&mut self.writer, 1);
            return Err(Unopened::Bad);
        };
        let bytes = payload_bytes(&header, payload);
        // In the middle of a record the payload is there from the poll before.
        if way.handed == 0 {
            way.beside = match reference(&record, payload)
                .map(|number| shared.payloads.take(Way::Out, worker, self.index, number))
            {
                None => Beside::No,
                Some(Some(payload)) if payload.bytes().is_some() => Beside::There(payload),
                Some(_) => Beside::Lost,
            };
        }
        if let Beside::There(payload) = &way.beside {
            self.views.push(payload.clone());
        }
        let first = recipients.iter().next().map(ClientId);
        Ok((Current { before, start, length, header, bytes }, first))
    }

    /// The event that was found.
    #[inline(always)]
    pub(super) fn event(&self, found: Found) -> Event<'_> {
        let (worker, record, client, token) = match found {
            Found::Record { worker, record, client, token } => (worker, record, client, token),
            Found::Closing(closing) => return closing.event(),
        };
        let header = &record.header;
        let correlation = header.correlation;
        match header.kind {
            delivery_kind::MESSAGE => Event::Message(DeliveredMessage {
                client,
                token,
                sender: Some(ClientId(header.sender)).filter(|sender| sender.0 != 0),
                correlation,
                payload: self.payload(worker, &record),
                names: Names(&self.shared.clients),
            }),
            delivery_kind::EXPIRED => {
                Event::Expired { client, token, name: self.payload(worker, &record), correlation }
            }
            delivery_kind::LEFT => Event::Left { client, token },
            delivery_kind::CLOSE => {
                let reason = CloseReason::ALL.get(usize::from(header.flags));
                Event::Close {
                    client,
                    token,
                    reason: reason.copied().unwrap_or(CloseReason::CreditExhausted),
                }
            }
            _ => Event::of_notice(header, client, token),
        }
    }

    /// The payload of a record that was just found.
    #[inline]
    pub(super) fn payload(&self, worker: usize, record: &Current) -> &[u8] {
        let Some(way) = self.ways.get(worker) else { return &[] };
        if let Beside::There(payload) = &way.beside {
            return payload.bytes().unwrap_or_default();
        }
        let bytes = way.ring.read_back(record.start, record.length);
        let before = DELIVERY_BYTES + 8 * record.header.recipients as usize;
        bytes.and_then(|bytes| bytes.get(before..)).unwrap_or_default()
    }
}

impl EgressReceiver {
    /// Takes the next recipient of a record of which some recipients are handed out already, or which has several.
    #[inline(never)]
    fn next_of_several(&mut self, record: Current) -> ClientId {
        let place = std::mem::take(&mut self.handed);
        // The id is inside the record: its header was read, with this number of recipients.
        let id = self.ring.read_back(record.start + (DELIVERY_BYTES + 8 * place) as u64, 8);
        self.current = (place + 1 < record.header.recipients as usize).then_some(record);
        if self.current.is_some() && !mutant("room-cursor-lost") {
            self.handed = place + 1;
        }
        ClientId(id.and_then(|id| id.try_into().ok()).map_or(0, u64::from_ne_bytes))
    }
}

/// The number of a delivery's out-of-line payload; `None` if the payload is in the ring. An unreadable reference gives
/// 0, which no payload has.
#[inline]
fn reference(record: &Record<'_>, payload: &[u8]) -> Option<u64> {
    if !delivery_kind::may_be_beside(record.kind) || record.flags & delivery_flag::OWNED == 0 {
        return None;
    }
    Some(read_reference(payload).map_or(0, |(number, _)| number))
}
