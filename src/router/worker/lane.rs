//! The worker's side of a lane: what a port's two halves do otherwise. It checks and admits the messages that the host has
//! pushed, takes its acknowledgements, answers disconnects, and counts all of that. For the clients placed here it alone
//! writes what the halves of a port write for theirs. Everything that the host has written is untrusted.
//!
//! Used by `cycle`, for rings that come from a lane, and by `pairs` and `adoption`. An admitted message goes on to
//! `dispatch` or `unusual`.

use crate::clients::{ClientId, ClientSlot, NoticeAt, Phase, Refusals};
use crate::config::Key;
use crate::error::{Loss, SubmitError, Undeliverable};
use crate::ring::record::{
    Acknowledgement, DeliveryHeader, IngressHeader, delivery_kind, ingress_flag, ingress_kind, word_of,
};
use crate::ring::{Corrupt, Record};
use crate::router::notice::Notice;
use crate::router::pair::PairCounts;
use crate::router::payload::{Payload, Way, read_reference};
use crate::router::worker::cycle::{IngressReceiver, Worker, take_each};
use crate::router::worker::dispatch::UNUSUAL;
use crate::router::worker::egress::Read;
use crate::router::worker::state::WorkerContext;
use crate::sync::{Acquire, Arc, mutant};

/// What may be wrong with a client whose message a lane has pushed.
enum Refused<'a> {
    /// The host's client: it is told.
    Told(ClientId, &'a ClientSlot, SubmitError),
    /// No client that the host could be told of.
    Untold(SubmitError),
}

impl Worker {
    /// The part of `take_records` that only a lane's ring needs.
    pub(in crate::router) fn take_lane_records(
        &mut self,
        port: usize,
        limit: usize,
        time: &mut u64,
        count: &mut usize,
    ) -> Result<(), Corrupt> {
        let Some(Some(receiver)) = self.ingress.get_mut(port) else { return Ok(()) };
        let IngressReceiver { ring, counts, blocked, sealed, lane, .. } = receiver;
        let Some(lane) = lane else { return Ok(()) };
        // Read the flag before the tail: everything that was published before the drain began is below it. Acquire: pairs
        // with the Release in `Router::drain`.
        let begins = lane.drains_from.is_none() && self.shared.draining.load(Acquire);
        if !*sealed {
            ring.refresh()?;
        }
        if begins {
            lane.drains_from = Some(ring.seen_tail());
        }
        let drains_from = lane.drains_from.unwrap_or(u64::MAX);
        let reach = |position| {
            if position >= drains_from {
                // Not only when the ring is empty: a host that floods may never let it be.
                lane.rings.end_drain();
            }
        };
        let context = WorkerContext::new(&self.shared, &self.code, &mut self.state);
        let from = (port, *sealed);
        take_each(context, from, (ring, blocked), limit, count, reach, |context, position, record| {
            context.lane_record(port, counts, position >= drains_from, record, time)
        })
    }

    /// Looks what the hosts of the lanes have read: closes the clients whose last record that was, and tells of further
    /// refusals. Returns how much was done.
    #[cold]
    pub(in crate::router) fn serve_lanes(&mut self) -> usize {
        let (mut ports, mut work) = (self.state.lanes, 0);
        while ports != 0 {
            let port = ports.trailing_zeros() as usize;
            ports &= ports - 1;
            let mut context = WorkerContext::new(&self.shared, &self.code, &mut self.state);
            match context.serve_lane(port) {
                Ok(served) => work += served,
                Err(Corrupt) => self.break_lane(port),
            }
        }
        work
    }

    /// A lane's egress ring has an impossible head. Nothing is written there any more, and what it held reaches nobody. The
    /// host finds the ring closed.
    #[cold]
    fn break_lane(&mut self, port: usize) {
        let Some(Some(egress)) = self.state.egress.get_mut(port) else { return };
        let Some(rings) = egress.lane.as_ref().map(|lane| Arc::clone(&lane.rings)) else { return };
        if rings.is_broken() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let cells = &shared.workers[self.index].paths[port].lane;
        egress.memory().close();
        let consumed = cells.consumed();
        rings.break_egress();
        let held = rings.emitted() - consumed;
        let given_up = egress.give_up(&shared.clients, &shared.payloads, (self.index, port));
        rings.leave_unread(egress.take_unread());
        let listed = given_up.closed.len() + given_up.closes.len() + given_up.notices.len();
        for client in given_up.closes {
            let slot = shared.clients.slot(client.index());
            slot.inspect(|slot| slot.credit.end_close_delivery(client.generation()));
        }
        let lost = held + given_up.recipients + listed as u64;
        cells.undeliverable[Undeliverable::PortGone as usize].add(&mut self.state.writer, lost);
        self.own_shard_add(|shard| &shard.corrupt_rings, 1);
        // The ingress ring ends with it: without a way back the host cannot be told anything.
        if let Some(Some(ingoing)) = self.ingress.get_mut(port) {
            ingoing.corrupt = true;
            ingoing.ring.memory().close();
        }
        for (client, slot) in shared.clients.open_of(port, Some(self.index)) {
            slot.credit.close(client.generation());
        }
        rings.give_up();
        if let Some(Some(egress)) = self.state.egress.get(port) {
            crate::park::after_publishing(|| egress.wake());
        }
    }
}

impl<'a> WorkerContext<'a> {
    /// Handles one record of a lane's ring. `time` is as in `dispatch`; `drains`: the router drained before the record was
    /// published.
    fn lane_record(
        &mut self,
        port: usize,
        counts: &PairCounts,
        drains: bool,
        record: &Record<'_>,
        time: &mut u64,
    ) -> Result<(), Corrupt> {
        match (record.kind, record.flags) {
            (ingress_kind::MESSAGE | ingress_kind::SEND | ingress_kind::SEND_TO_ROOM, flags) => {
                let addressed =
                    if record.kind == ingress_kind::MESSAGE { ingress_flag::ADDRESSED } else { 0 };
                if flags & !(ingress_flag::TELL_FAILED | ingress_flag::OWNED | addressed) != 0 {
                    return Err(Corrupt);
                }
                // The prefix was read once; the host may have changed it since.
                let (header, payload) = IngressHeader::read(record.bytes).ok_or(Corrupt)?;
                let header = IngressHeader { kind: record.kind, flags, ..header };
                self.lane_message(port, counts, drains, (&header, payload), time)
            }
            (ingress_kind::ACKNOWLEDGE, 0) => {
                let entries = Acknowledgement::read_all(record.bytes).ok_or(Corrupt)?;
                self.lane_acknowledgements(port, entries, *time);
                Ok(())
            }
            (ingress_kind::DISCONNECT, 0) => {
                self.lane_disconnect(port, ClientId(word_of(record.bytes).ok_or(Corrupt)?));
                Ok(())
            }
            (ingress_kind::DISCARDED, 0) => {
                let discarded = word_of(record.bytes).ok_or(Corrupt)?;
                let cells = &self.shared.workers[self.state.worker].paths[port].lane;
                cells.discarded.add(&mut self.state.writer, discarded);
                Ok(())
            }
            _ => Err(Corrupt),
        }
    }

    /// Admits a message or a send and handles it, or refuses it. Counts it as submitted in both cases.
    fn lane_message(
        &mut self,
        port: usize,
        counts: &PairCounts,
        drains: bool,
        (header, payload): (&IngressHeader, &[u8]),
        time: &mut u64,
    ) -> Result<(), Corrupt> {
        let shared = self.shared;
        let cells = &shared.workers[self.state.worker].paths[port].lane;
        let mut beside = None;
        if header.flags & ingress_flag::OWNED != 0 {
            let (number, _) = read_reference(payload).ok_or(Corrupt)?;
            beside = Some(shared.payloads.take(Way::In, self.state.worker, port, number));
        }
        let length = beside.as_ref().map_or(payload.len(), |one| one.as_ref().map_or(0, Payload::length));
        // Counted before the outcome: a reader loads outcomes, then refusals, then this.
        cells.submitted.add(&mut self.state.writer, 1);
        let slot = match self.admit_lane(port, header, length, drains, *time) {
            Ok(slot) => slot,
            Err(refused) => {
                self.refuse_lane(port, header, &refused);
                return Ok(());
            }
        };
        if let Some(slot) = slot {
            slot.submit();
            if let Some(bucket) = shared.buckets.get(ClientId(header.client).index() as usize) {
                bucket.take(shared.rate);
            }
        }
        self.state.inside.lane_message = Some(port);
        let handled = if header.kind == ingress_kind::MESSAGE && header.flags & UNUSUAL == 0 {
            *time = self.ordinary(port, header, payload, *time);
            Ok(())
        } else {
            self.with_payload(port, counts, header.kind, (header, payload), beside, time)
        };
        if !self.state.inside.abandoned {
            self.state.inside.lane_message = None;
        }
        handled
    }

    /// Whether a message or a send is accepted. Returns the sending client's slot; a send has none.
    fn admit_lane(
        &self,
        port: usize,
        header: &IngressHeader,
        length: usize,
        drains: bool,
        started: u64,
    ) -> Result<Option<&'a ClientSlot>, Refused<'a>> {
        let shared = self.shared;
        let client = ClientId(header.client);
        let mut sender = None;
        if header.kind == ingress_kind::MESSAGE {
            let slot = self.lane_client(port, client).map_err(Refused::Untold)?;
            if slot.has_left() && !mutant("lane-takes-after-disconnect") {
                return Err(Refused::Untold(SubmitError::StaleClient));
            }
            sender = Some(slot);
        }
        let refused = |reason| match sender {
            Some(slot) => Refused::Told(client, slot, reason),
            None => Refused::Untold(reason),
        };
        if length > shared.config.count(Key::MaxMessage) {
            return Err(refused(SubmitError::TooLarge));
        }
        if drains {
            return Err(refused(SubmitError::Draining));
        }
        if let Some(slot) = sender {
            let limit = shared.config.get(Key::MaxInFlight);
            if limit > 0 && slot.submitted().saturating_sub(slot.finished()) >= limit {
                return Err(refused(SubmitError::InFlightLimit));
            }
            // A stamp in the future would fill the bucket, and a bucket's time never goes back.
            let stamp = header.stamp.min(started);
            if let Some(bucket) = shared.buckets.get(client.index() as usize)
                && !bucket.has_token(shared.rate, stamp)
            {
                return Err(refused(SubmitError::RateLimited));
            }
        }
        if !shared.permits.take_one() {
            return Err(refused(SubmitError::ConcurrencyLimit));
        }
        Ok(sender)
    }

    /// The slot of a client that is placed on this worker and belongs to this lane. The lane's clients of earlier
    /// incarnations are closed, so their handles lead to nothing.
    fn lane_client(&self, port: usize, client: ClientId) -> Result<&'a ClientSlot, SubmitError> {
        let shared = self.shared;
        let slot = shared.clients.slot(client.index()).ok_or(SubmitError::StaleClient)?;
        let place = slot.place();
        let is_meant = place.generation == client.generation() || mutant("lane-any-generation");
        let phase = if is_meant { Some(slot.state().phase) } else { None };
        if !matches!(phase, Some(Phase::Open | Phase::Closing)) {
            return Err(SubmitError::StaleClient);
        }
        if usize::from(place.port) != port || usize::from(place.worker) != self.state.worker {
            return Err(SubmitError::WrongPort);
        }
        Ok(slot)
    }

    /// Counts a refused message or send, and tells the host. Its payload goes with the record.
    fn refuse_lane(&mut self, port: usize, header: &IngressHeader, refused: &Refused<'_>) {
        let shared = self.shared;
        let cells = &shared.workers[self.state.worker].paths[port].lane;
        let (Refused::Told(_, _, reason) | Refused::Untold(reason)) = refused;
        cells.refused[*reason as usize].add(&mut self.state.writer, 1);
        match *refused {
            Refused::Told(client, slot, reason) => {
                let mut refusals = slot.refusals();
                refusals.untold = refusals.untold.saturating_add(1);
                (refusals.reason, refusals.correlation) = (reason as u8, header.correlation);
                slot.set_refusals(refusals);
                if refusals.notice == NoticeAt::Nowhere || mutant("refused-each") {
                    self.tell_refusals(port, client, slot);
                }
            }
            Refused::Untold(reason) if header.kind != ingress_kind::MESSAGE => {
                // The host's own message: each has a notice.
                if let Some(notice) = Notice::wanted(header, Loss::Refused(reason)) {
                    self.tell_port(port, notice);
                }
            }
            Refused::Untold(_) => {}
        }
    }

    /// Sends a client's REFUSED, or notes that it is owed.
    fn tell_refusals(&mut self, port: usize, client: ClientId, slot: &ClientSlot) {
        let shared = self.shared;
        self.see_to(port);
        let Some(Some(egress)) = self.state.egress.get_mut(port) else { return };
        let refusals = slot.refusals();
        let header = DeliveryHeader {
            kind: delivery_kind::REFUSED,
            flags: u16::from(refusals.reason),
            correlation: refusals.correlation,
            ..DeliveryHeader::default()
        };
        let count = u64::from(refusals.untold).to_ne_bytes();
        let emitted = egress.emit(&header, client.0, count.len(), |out| out.copy_from_slice(&count));
        if emitted.is_ok() {
            slot.set_refusals(Refusals { untold: 0, notice: NoticeAt::UnderWay, ..refusals });
            self.shard().emitted.add(&mut self.state.writer, 1);
        } else if refusals.notice != NoticeAt::Owed {
            egress.owe(client, &shared.clients);
            slot.set_refusals(Refusals { notice: NoticeAt::Owed, ..refusals });
        }
    }

    /// Takes what the host has written to its peers.
    fn lane_acknowledgements(
        &mut self,
        port: usize,
        entries: impl Iterator<Item = Acknowledgement>,
        now: u64,
    ) {
        let shared = self.shared;
        let cells = &shared.workers[self.state.worker].paths[port].lane;
        let (mut all_messages, mut all_bytes) = (0, 0);
        for entry in entries {
            let client = ClientId(entry.client);
            let Ok(slot) = self.lane_client(port, client) else { continue };
            let (before, before_bytes) = slot.credit.outstanding();
            cells.outstanding_messages_maximum.raise(&mut self.state.writer, before.into());
            cells.outstanding_bytes_maximum.raise(&mut self.state.writer, before_bytes.into());
            let (messages, bytes) = shared.clients.acknowledge_on_lane(client, entry.messages, entry.bytes);
            all_messages += u64::from(messages);
            all_bytes += u64::from(bytes);
            if self.state.writer.controlled.detailed
                && let Some(line) = shared.clients.line(client)
            {
                line.sent(self.state.writer.controlled.epoch, bytes.into());
            }
            if entry.handed_out != 0 && messages > 0 {
                let since = entry.handed_out.min(now);
                let took = shared.clock.nanoseconds(since, now);
                self.shard().write_time.record(&mut self.state.writer, took);
            }
        }
        cells.acknowledged.add(&mut self.state.writer, all_messages);
        cells.bytes_out.add(&mut self.state.writer, all_bytes);
    }

    /// Takes a client's disconnect, which the call has begun. The record comes behind all its messages, so CLIENT_CLOSED
    /// comes behind all their deliveries to the client itself.
    pub(in crate::router) fn lane_disconnect(&mut self, port: usize, client: ClientId) {
        let shared = self.shared;
        let Ok(slot) = self.lane_client(port, client) else { return };
        let begun = slot.phase_of(client.generation()) == Some(Phase::Closing);
        if !begun || slot.has_left() {
            return;
        }
        slot.leave_lane();
        self.see_to(port);
        if let Some(Some(egress)) = self.state.egress.get_mut(port) {
            let closed = DeliveryHeader { kind: delivery_kind::CLIENT_CLOSED, ..DeliveryHeader::default() };
            egress.emit_closing(&closed, client, &shared.clients);
            self.shard().emitted.add(&mut self.state.writer, 1);
        }
    }

    fn serve_lane(&mut self, port: usize) -> Result<usize, Corrupt> {
        let shared = self.shared;
        let Some(Some(egress)) = self.state.egress.get_mut(port) else { return Ok(0) };
        if !egress.waits() || egress.lane.as_ref().is_some_and(|lane| lane.rings.is_broken()) {
            return Ok(0);
        }
        egress.look()?;
        let given_up = egress.lane.as_ref().is_some_and(|lane| lane.rings.is_given_up());
        let mut work = 0;
        while let Some(Some(egress)) = self.state.egress.get_mut(port)
            && let Some(read) = egress.next_read()?
        {
            work += 1;
            match read {
                Read::Closed(client) => self.close_lane_client(port, client),
                // Of a lane that was given up, the host may have ended the client, and the slot may be another's.
                Read::Refused(_) if given_up => {}
                Read::Refused(client) => {
                    if let Some(slot) = shared.clients.on(client, port) {
                        self.tell_again(port, client, slot);
                    }
                }
            }
        }
        while let Some(Some(egress)) = self.state.egress.get_mut(port)
            && let Some(index) = egress.take_owed(&shared.clients)
        {
            let Some(slot) = shared.clients.slot(index).filter(|_| !given_up) else { continue };
            let client = ClientId::new(index, slot.place().generation);
            self.tell_again(port, client, slot);
            if slot.refusals().notice == NoticeAt::Owed {
                break;
            }
            work += 1;
        }
        Ok(work)
    }

    /// A client's REFUSED was read, or there is room for one that is owed.
    fn tell_again(&mut self, port: usize, client: ClientId, slot: &ClientSlot) {
        let refusals = Refusals { notice: NoticeAt::Nowhere, ..slot.refusals() };
        slot.set_refusals(refusals);
        let present = matches!(slot.phase_of(client.generation()), Some(Phase::Open | Phase::Closing));
        if refusals.untold > 0 && present {
            self.tell_refusals(port, client, slot);
        }
    }

    /// The host has read a client's CLIENT_CLOSED. Everything that the client had outstanding is forgiven, also what other
    /// workers still have for it in their rings, and its slot may be reused once its held messages have ended.
    fn close_lane_client(&mut self, port: usize, client: ClientId) {
        let shared = self.shared;
        if let Some((forgiven, reason)) = shared.clients.end_close(client) {
            let cells = &shared.workers[self.state.worker].paths[port].lane;
            cells.unacknowledged[reason as usize].add(&mut self.state.writer, forgiven.into());
        }
    }
}
