//! A port's submitting half: connect, submit, publish, disconnect. Owned by the port, or by a shared port behind its
//! lock. Waits for nobody else; connecting and disconnecting take the control lock.

use super::connect::ConnectOptions;
use super::pair::{closed_reason, settle_ingress};
use super::payload::{Owned, Payloads, Returned, Way};
use super::route::with_room;
use super::shared::Shared;
use crate::call::CallId;
use crate::clients::{ClientId, Clients, NewClient, Phase, RoomId, Slot};
use crate::config::{Balance, Key, SubmitFull};
use crate::error::{Error, Refused, TakenOver};
use crate::metrics::Writer;
#[cfg(not(corelane_loom))]
use crate::ring::Corrupt;
use crate::ring::record::{INGRESS_BYTES, Ingress, ingress_flag, ingress_kind};
use crate::ring::{Memory, Producer, PushError};
use crate::sync::{Arc, Relaxed, Release, mutant, wake_fence};
use std::time::Instant;

/// What a message is submitted with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubmitOptions {
    /// Comes back with what the message causes.
    pub correlation: u64,
    /// When the host read the message from its socket, in the clock's raw ticks; now, if not given.
    pub stamp: Option<u64>,
    /// Whether the client's port gets an [`Event::Expired`](super::Event::Expired) without a name if the message has
    /// waited longer than `max_queue_wait_ms`. It takes credit like a message of no bytes, and is not sent without.
    pub tell_expired: bool,
}

#[derive(Debug)]
pub(super) struct Submit {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    ways: Vec<WayIn>,
    writer: Writer,
    /// Disconnects that found their ring full.
    pending: Pending,
    max_message: usize,
    /// A full ring is waited for.
    waits: bool,
    /// 0 for no limit.
    max_in_flight: u64,
    /// Permits that no message has; see `permits`.
    spare: u64,
    /// The worker that the last message went to, for `round_robin`.
    last: usize,
}

/// The ring to one worker.
#[derive(Debug)]
struct WayIn {
    ring: Producer,
    /// A push found the ring full; the port waits for space.
    stalled: bool,
    /// Something was committed since the last publication.
    dirty: bool,
    /// The worker has left, and what it did not take has been settled.
    settled: bool,
    /// Records that may wait in the ring: `queue_messages`, or as many as its bytes take.
    most: u64,
    /// Records that the worker had taken when this side last looked.
    popped: u64,
}

/// Bytes that a port's submitting half has for each worker.
pub(super) const PAIR_BYTES: u64 = size_of::<WayIn>() as u64;

impl WayIn {
    /// Whether one more message may wait here.
    #[inline]
    fn has_place(&mut self) -> bool {
        if self.ring.pushed() - self.popped < self.most {
            return true;
        }
        // The worker's own line, looked at only where the last look does not suffice.
        self.popped = self.ring.memory().traffic().1;
        let has_place = self.ring.pushed().saturating_sub(self.popped) < self.most;
        self.stalled |= !has_place;
        has_place
    }
}

/// Disconnects that wait, linked through their clients' slots, which are theirs until they are done.
#[derive(Debug)]
struct Pending {
    first: u32,
    last: u32,
    count: usize,
}

impl Pending {
    const fn new() -> Self {
        Self { first: u32::MAX, last: u32::MAX, count: 0 }
    }

    fn push(&mut self, clients: &Clients, client: ClientId) {
        match clients.slot(self.last).filter(|_| self.count > 0) {
            Some(last) => last.set_pending_link(client.index()),
            None => self.first = client.index(),
        }
        self.last = client.index();
        self.count += 1;
    }

    fn pop(&mut self, clients: &Clients) -> Option<ClientId> {
        self.count = self.count.checked_sub(1)?;
        let index = self.first;
        let slot = clients.slot(index)?;
        self.first = slot.pending_link();
        Some(ClientId::new(index, slot.place().generation))
    }
}

impl Submit {
    pub(super) fn new(shared: &Arc<Shared>, index: usize, rings: Vec<Producer>, max_message: usize) -> Self {
        let most = match shared.config.get(Key::QueueMessages) {
            0 => u64::MAX,
            most => most,
        };
        let way = |ring| WayIn { ring, stalled: false, dirty: false, settled: false, most, popped: 0 };
        Self {
            shared: Arc::clone(shared),
            index,
            ways: rings.into_iter().map(way).collect(),
            writer: Writer::new(),
            pending: Pending::new(),
            max_message,
            waits: shared.config.get(Key::SubmitFull) == SubmitFull::Wait as u64,
            max_in_flight: shared.config.get(Key::MaxInFlight),
            spare: 0,
            last: 0,
        }
    }

    /// See [`Port::connect`](super::Port::connect).
    pub(super) fn connect(&mut self, name: &str, options: ConnectOptions<'_>) -> Result<ClientId, Error> {
        let ConnectOptions { protocol, application, token, credit_policy } = options;
        if self.shared.draining.load(Relaxed) {
            return Err(Error::Refused(Refused::Draining)); // Relaxed: see `Router::drain`.
        }
        if self.ways.iter().any(|way| way.ring.memory().is_closed()) {
            return Err(Error::Refused(Refused::Closed));
        }
        let Some(protocol) = self.shared.protocol(protocol) else {
            return Err(Error::UnknownProtocol(protocol.to_owned()));
        };
        let hash = self.shared.clients.names().hash(name.as_bytes()).0;
        let worker = self.first_worker(hash);
        let (client, hash) = self.shared.clients.connect(NewClient {
            name,
            token,
            port: self.index as u16,
            worker: worker as u16,
            protocol,
            application: self.shared.labels.application(application).0,
            policy: credit_policy.unwrap_or_else(|| self.shared.config.credit_policy()),
        })?;
        let several = (self.shared.placement.balance == Balance::RoundRobin).then_some(self.ways.len());
        if let Some(slot) = self.shared.clients.get(client) {
            slot.start_at(worker, hash_part(hash.0), several);
        }
        if let Some(bucket) = self.shared.buckets.get(client.index() as usize) {
            bucket.fill();
        }
        // The name is in the table; now every worker is told, in its ring or by its flag.
        let post = Ingress { kind: ingress_kind::NAME_CONNECTED, recipient: hash.0, ..Ingress::default() };
        for worker in 0..self.ways.len() {
            if push(&mut self.ways, worker, &post, b"").is_err() && !mutant("post-lost") {
                let worker = &self.shared.workers[worker];
                // Release: with the flag comes the name; pairs with the worker's swap. An RMW like every write of this
                // flag, so that neither side's can be taken for older than the other's.
                worker.look_up_all.swap(true, Release);
                wake_fence("post-fence");
                worker.wake.wake_if_asleep();
            }
        }
        self.publish();
        Ok(client)
    }

    /// See [`Port::submit`](super::Port::submit).
    pub(super) fn submit(&mut self, client: ClientId, message: &[u8], correlation: u64) -> Result<(), Error> {
        self.submit_with(client, message, SubmitOptions { correlation, ..SubmitOptions::default() })
    }

    /// See [`Port::submit_with`](super::Port::submit_with).
    pub(super) fn submit_with(
        &mut self,
        client: ClientId,
        message: &[u8],
        options: SubmitOptions,
    ) -> Result<(), Error> {
        if !self.shared.concurrent {
            self.disabled(client, message);
            return Ok(());
        }
        let attempt =
            |submit: &mut Self| submit.try_submit(client, Bytes::Copied(message), options, None).map(drop);
        if !self.waits {
            return self.counted(attempt);
        }
        let deadline = Instant::now() + self.shared.config.milliseconds(Key::SubmitWait);
        with_room(deadline, || {
            let submitted = self.counted(attempt);
            if submitted.is_err() {
                self.publish();
            }
            submitted
        })
    }

    /// See [`Port::send`](super::Port::send).
    pub(super) fn send(&mut self, to: ClientId, message: &[u8], correlation: u64) -> Result<(), Error> {
        self.counted(|submit| submit.try_send(to, Bytes::Copied(message), correlation))
    }

    /// See [`Port::submit_owned`](super::Port::submit_owned).
    pub(super) fn submit_owned(
        &mut self,
        client: ClientId,
        message: Owned,
        options: SubmitOptions,
    ) -> Result<(), Returned> {
        if !self.shared.concurrent {
            self.disabled(client, (*message).as_ref());
            return Ok(());
        }
        let mut place = Some(message);
        let result = self
            .counted(|submit| submit.try_submit(client, Bytes::Given(&mut place), options, None).map(drop));
        match (result, place) {
            (Err(error), Some(message)) => Err(Returned { error, message }),
            // Accepted; or refused and not given back, which cannot be.
            _ => Ok(()),
        }
    }

    /// Does one after the other, until `each` has had enough; then publishes. Says how many were accepted.
    pub(super) fn batch<'a>(
        &mut self,
        batch: impl IntoIterator<Item = (ClientId, &'a [u8], u64)>,
        one: impl Fn(&mut Self, ClientId, &[u8], u64) -> Result<(), Error>,
        mut each: impl FnMut(usize, Result<(), Error>) -> bool,
    ) -> usize {
        let mut accepted = 0;
        for (place, (client, message, correlation)) in batch.into_iter().enumerate() {
            let result = one(self, client, message, correlation);
            accepted += usize::from(result.is_ok());
            if !each(place, result) {
                break;
            }
        }
        self.publish();
        accepted
    }

    /// Counts what a message that is given to the port comes to.
    #[inline(always)]
    fn counted(&mut self, attempt: impl FnOnce(&mut Self) -> Result<(), Refused>) -> Result<(), Error> {
        self.count_submitted();
        attempt(self).map_err(|reason| self.count_refused(reason))
    }

    /// Counted first: a reader that sees how it ended has seen that it came.
    pub(super) fn count_submitted(&mut self) {
        self.shared.ports[self.index].submit.submitted.add(&mut self.writer, 1);
    }

    pub(super) fn count_refused(&mut self, reason: Refused) -> Error {
        self.shared.ports[self.index].submit.refused[reason as usize].add(&mut self.writer, 1);
        Error::Refused(reason)
    }

    pub(super) fn count_taken_over(&mut self, reason: TakenOver) {
        self.shared.ports[self.index].submit.taken_over[reason as usize].add(&mut self.writer, 1);
    }

    /// To the recipient's own worker, whichever port's client it is; there it fails if it is gone by then.
    fn try_send(&mut self, to: ClientId, message: Bytes<'_, '_>, correlation: u64) -> Result<(), Refused> {
        let slot = self.shared.clients.get(to).ok_or(Refused::Stale)?;
        // The phase is another port's word, perhaps: who reads it late sends a record that fails at the worker.
        self.check(slot, message.len())?;
        let header = Ingress {
            kind: ingress_kind::SEND,
            recipient: to.0,
            stamp: self.shared.clock.raw(),
            correlation,
            message_type: u32::MAX,
            ..Ingress::default()
        };
        self.shared.permits.admit(&mut self.spare)?;
        let way = (usize::from(slot.send_worker()), self.index);
        push_message(&self.shared.payloads, &mut self.ways, way, header, message)?;
        self.shared.permits.spend(&mut self.spare);
        Ok(())
    }

    /// Admits, claims, writes and commits one message; returns its worker.
    pub(super) fn try_submit(
        &mut self,
        client: ClientId,
        message: Bytes<'_, '_>,
        options: SubmitOptions,
        call: Option<CallId>,
    ) -> Result<usize, Refused> {
        let shared = &self.shared;
        let slot = shared.clients.get(client).ok_or(Refused::Stale)?;
        if usize::from(slot.place().port) != self.index {
            return Err(Refused::WrongPort);
        }
        self.check(slot, message.len())?;
        let header = Ingress {
            kind: ingress_kind::MESSAGE,
            flags: if options.tell_expired { ingress_flag::TELL_EXPIRED } else { 0 }
                | if call.is_some() { ingress_flag::CALL } else { 0 },
            client: client.0,
            stamp: options.stamp.unwrap_or_else(|| shared.clock.raw()),
            correlation: options.correlation,
            message_type: u32::MAX,
            call: call.map_or(0, |call| call.0),
            ..Ingress::default()
        };
        if self.max_in_flight > 0 && slot.submitted() - slot.finished() >= self.max_in_flight {
            return Err(Refused::InFlight);
        }
        let bucket = shared.buckets.get(client.index() as usize);
        if bucket.is_some_and(|bucket| !bucket.has_token(shared.rate, header.stamp)) {
            return Err(Refused::RateLimited);
        }
        shared.permits.admit(&mut self.spare)?;
        let worker = place_message(shared, &self.ways, slot, self.last, self.index, &mut self.writer);
        push_message(&shared.payloads, &mut self.ways, (worker, self.index), header, message)?;
        slot.submit();
        self.last = worker;
        if let Some(bucket) = bucket {
            bucket.take(shared.rate);
        }
        shared.permits.spend(&mut self.spare);
        Ok(worker)
    }

    /// What is asked of every message, whoever it is from.
    #[inline(always)]
    fn check(&self, slot: &Slot, bytes: usize) -> Result<(), Refused> {
        if slot.phase() != Phase::Open {
            return Err(Refused::Stale);
        }
        if bytes > self.max_message {
            return Err(Refused::TooLarge);
        }
        // Relaxed: see `Router::drain`.
        if self.shared.draining.load(Relaxed) {
            return Err(Refused::Draining);
        }
        Ok(())
    }

    /// Where a new client's messages go: what `hash` names, or the least loaded worker.
    fn first_worker(&self, hash: u64) -> usize {
        let placement = &self.shared.placement;
        let by_hash = placement.by_hash(hash_part(hash));
        match placement.balance {
            Balance::LeastLoaded => placement.least(by_hash, |worker| load(&self.shared, &self.ways, worker)),
            Balance::Hash | Balance::RoundRobin => by_hash,
        }
    }

    /// Gives back the permits that no message has.
    fn return_spare(&mut self) {
        if self.spare > 0 {
            self.shared.permits.give(std::mem::take(&mut self.spare));
        }
    }

    /// See [`Port::publish`](super::Port::publish).
    pub(super) fn publish(&mut self) {
        self.return_spare();
        let mut any = false;
        for way in &mut self.ways {
            if way.dirty {
                any |= way.ring.publish();
            }
        }
        if !any {
            return;
        }
        wake_fence("port-publish-fence");
        for (worker, way) in self.ways.iter_mut().enumerate() {
            if std::mem::take(&mut way.dirty) {
                self.shared.workers[worker].wake.wake_if_asleep();
            }
        }
    }

    /// See [`Port::disconnect`](super::Port::disconnect).
    pub(super) fn disconnect(&mut self, client: ClientId) -> Result<(), Error> {
        let slot = self.shared.clients.own(client, self.index, Error::WrongPort)?;
        if !self.shared.clients.begin_close(client) {
            return Err(Error::StaleClient);
        }
        self.shared.rooms.leave_all(client);
        if self.shared.placement.balance == Balance::RoundRobin {
            slot.set_current(0);
        }
        self.pending.push(&self.shared.clients, client);
        self.push_pending();
        self.publish();
        Ok(())
    }

    /// Pushes the disconnects that wait, in order, as far as there is room.
    fn push_pending(&mut self) {
        for _ in 0..self.pending.count {
            let Some(client) = self.pending.pop(&self.shared.clients) else { return };
            let Some(slot) = self.shared.clients.get(client) else { continue };
            if !push_disconnect(&self.shared, &mut self.ways, client, slot) {
                self.pending.push(&self.shared.clients, client);
            }
        }
    }

    /// See [`Port::release_name`](super::Port::release_name).
    pub(super) fn release_name(&mut self, client: ClientId) -> Result<(), Error> {
        let slot = self.shared.clients.own(client, self.index, Error::WrongPort)?;
        self.shared.clients.remove_name(client, slot);
        Ok(())
    }

    /// See [`Port::join`](super::Port::join).
    pub(super) fn join(&mut self, client: ClientId, room: &str) -> Result<RoomId, Error> {
        self.check_open(client)?;
        self.shared.rooms.join(client, self.index as u16, room)
    }

    /// See [`Port::leave`](super::Port::leave).
    pub(super) fn leave(&mut self, client: ClientId, room: RoomId) -> Result<(), Error> {
        self.check_open(client)?;
        self.shared.rooms.leave(client, room)
    }

    /// Whether a client is this port's and not disconnected.
    fn check_open(&self, client: ClientId) -> Result<(), Error> {
        let slot = self.shared.clients.own(client, self.index, Error::WrongPort)?;
        if slot.phase() == Phase::Open { Ok(()) } else { Err(Error::StaleClient) }
    }

    /// The ring to a worker.
    pub(super) fn memory(&self, worker: usize) -> Option<&Arc<Memory>> {
        self.ways.get(worker).map(|way| way.ring.memory())
    }

    #[cfg(not(corelane_loom))]
    pub(super) fn max_message(&self) -> usize {
        self.max_message
    }

    /// Disconnects that wait for room in their ring.
    #[cfg(not(corelane_loom))]
    pub(super) fn waiting(&self) -> usize {
        self.pending.count
    }

    /// See `Producer::reload`.
    #[cfg(not(corelane_loom))]
    pub(super) fn reload(&mut self) -> Result<(), Corrupt> {
        self.ways.iter_mut().try_for_each(|way| way.ring.reload())
    }

    /// What a poll leaves to this half: settles with the workers that have left (a bit for each), and pushes the
    /// disconnects that wait for room.
    pub(super) fn follow_up(&mut self, left: u64) {
        for worker in (0..self.ways.len()).filter(|worker| left & (1 << worker) != 0) {
            self.settle(worker);
        }
        self.return_spare();
        if self.pending.count > 0 {
            self.push_pending();
            self.publish();
        }
        self.shared.rooms.follow_up();
    }

    /// Before the port sleeps: asks for space in every ring that it is stalled on.
    pub(super) fn request_space(&mut self) {
        for way in self.ways.iter_mut().filter(|way| way.stalled) {
            way.ring.request_space();
        }
    }

    /// After the wake word is armed: whether there is space again where the port was stalled.
    pub(super) fn space_moved(&mut self) -> bool {
        let mut moved = false;
        for way in &mut self.ways {
            let space = way.stalled && way.ring.space_moved();
            way.stalled &= !space;
            moved |= space;
        }
        moved
    }

    /// Counts the messages that a worker left in its ring. The worker has left, so this side is the second.
    pub(super) fn settle(&mut self, worker: usize) {
        let Some(way) = self.ways.get_mut(worker) else { return };
        if std::mem::replace(&mut way.settled, true) {
            return;
        }
        // What was committed and not published counts too; nothing more can be claimed.
        if !mutant("settle-unpublished") {
            way.ring.publish();
        }
        let refused = &self.shared.ports[self.index].submit.refused;
        settle_ingress(&self.shared, (worker, self.index), way.ring.memory(), |reason, untaken| {
            refused[reason as usize].add(&mut self.writer, untaken);
        });
    }
}

/// What waits for a worker, in records: what it found in its last cycle, and what this port has pushed since.
fn load(shared: &Shared, ways: &[WayIn], worker: usize) -> u64 {
    let own =
        ways.get(worker).map_or(0, |way| way.ring.pushed().saturating_sub(way.ring.memory().traffic().1));
    shared.workers[worker].shard.load.get() + own
}

/// The worker that a client's next message goes to. A client moves only while it is quiet.
#[inline]
fn place_message(
    shared: &Shared,
    ways: &[WayIn],
    slot: &Slot,
    last: usize,
    port: usize,
    writer: &mut Writer,
) -> usize {
    let (current, hash) = slot.current();
    if ways.len() == 1 {
        return current;
    }
    let placement = &shared.placement;
    let least = || placement.least(current, |worker| load(shared, ways, worker));
    let wanted = match placement.balance {
        Balance::RoundRobin => return placement.after(last),
        Balance::Hash => placement.by_hash(hash),
        Balance::LeastLoaded if placement.usable() & 1 << current == 0 => least(),
        // Looked at only where it may move; and where nothing waits is no better place.
        Balance::LeastLoaded if slot.finished() != slot.submitted() => current,
        Balance::LeastLoaded if load(shared, ways, current) == 0 => current,
        Balance::LeastLoaded => least(),
    };
    if wanted == current {
        return current;
    }
    let counts = &shared.ports[port].submit;
    counts.moves_wanted.add(writer, 1);
    if !slot.is_quiet(&shared.workers[current].frontiers) {
        return current;
    }
    counts.moves_made.add(writer, 1);
    slot.move_to(wanted);
    wanted
}

/// The part of a name's hash that a slot keeps.
fn hash_part(hash: u64) -> u16 {
    (hash >> 48) as u16
}

/// Claims, writes and commits one record; not yet published.
fn push(ways: &mut [WayIn], worker: usize, header: &Ingress, payload: &[u8]) -> Result<(), Refused> {
    let Some(way) = ways.get_mut(worker) else { return Err(Refused::Stale) };
    let memory = way.ring.memory();
    if memory.is_closed() {
        return Err(closed_reason(memory));
    }
    match way.ring.claim(INGRESS_BYTES + payload.len(), header.kind, header.flags) {
        Ok(record) => {
            header.write(record);
            if let Some(target) = record.get_mut(INGRESS_BYTES..) {
                target.copy_from_slice(payload);
            }
            way.ring.commit();
            way.dirty = true;
            way.stalled = false;
            Ok(())
        }
        Err(PushError::Full) => {
            way.stalled = true;
            Err(Refused::Full)
        }
        Err(PushError::TooLarge) => Err(Refused::TooLarge),
        Err(PushError::Closed) => Err(Refused::Corrupt),
    }
}

/// What a message is given to a port as.
pub(super) enum Bytes<'a, 'b> {
    /// To be copied.
    Copied(&'a [u8]),
    /// To be taken, if the message is accepted.
    Given(&'b mut Option<Owned>),
}

impl Bytes<'_, '_> {
    fn len(&self) -> usize {
        match self {
            Self::Copied(bytes) => bytes.len(),
            Self::Given(owned) => owned.as_ref().map_or(0, |owned| (**owned).as_ref().len()),
        }
    }
}

/// Pushes a message: in its record, or beside the ring where it is too large for one or the host gives it away.
#[inline]
fn push_message(
    payloads: &Payloads,
    ways: &mut [WayIn],
    (worker, port): (usize, usize),
    header: Ingress,
    message: Bytes<'_, '_>,
) -> Result<(), Refused> {
    let Some(way) = ways.get_mut(worker) else { return Err(Refused::Stale) };
    if !way.has_place() {
        return Err(Refused::Full);
    }
    let largest = way.ring.memory().max_record();
    match message {
        Bytes::Copied(bytes) if INGRESS_BYTES + bytes.len() <= largest => push(ways, worker, &header, bytes),
        other => push_beside(payloads, ways, (worker, port), header, other),
    }
}

#[cold]
fn push_beside(
    payloads: &Payloads,
    ways: &mut [WayIn],
    (worker, port): (usize, usize),
    header: Ingress,
    message: Bytes<'_, '_>,
) -> Result<(), Refused> {
    let (payload, place) = match message {
        Bytes::Copied(bytes) => {
            let payload = payloads.fill(bytes.len(), |out| out.copy_from_slice(bytes));
            (payload.ok_or(Refused::PayloadsFull)?, None)
        }
        Bytes::Given(place) => {
            let Some(owned) = place.take() else { return Err(Refused::Stale) };
            match payloads.own(owned) {
                Ok(payload) => (payload, Some(place)),
                Err(owned) => {
                    *place = Some(owned);
                    return Err(Refused::PayloadsFull);
                }
            }
        }
    };
    let pushed = match payloads.put(Way::In, worker, port, payload.clone()) {
        Ok(number) => {
            let header = Ingress { flags: header.flags | ingress_flag::OWNED, ..header };
            let pushed = push(ways, worker, &header, &payload.reference(number));
            if pushed.is_err() {
                drop(payloads.take(number));
            }
            pushed
        }
        Err(_) => Err(Refused::PayloadsFull),
    };
    // What was not pushed is the host's again.
    if let (Err(_), Some(place)) = (&pushed, place) {
        *place = payload.into_owned();
    }
    pushed
}

/// Pushes a client's last record behind what it sent: on its own worker's ring or, without one, on every ring, and the
/// last worker answers. Says whether there was room.
fn push_disconnect(shared: &Shared, ways: &mut [WayIn], client: ClientId, slot: &Slot) -> bool {
    let (current, several) = (slot.current().0, shared.placement.balance == Balance::RoundRobin);
    let end = if several { ways.len() } else { current + 1 };
    let header = Ingress { kind: ingress_kind::DISCONNECT, client: client.0, ..Ingress::default() };
    for worker in current..end {
        match push(ways, worker, &header, b"") {
            Ok(()) => {}
            Err(Refused::Full) => {
                if several {
                    slot.set_current(worker);
                }
                return false;
            }
            // The worker is gone; nothing will come for this client any more.
            Err(_) => {
                if slot.phase() != Phase::Closed {
                    shared.clients.end_close(client);
                }
                return true;
            }
        }
    }
    true
}
