//! [`Lane`]: the calls of a lane's host. Any thread may make any of them at any time. None touches a ring: the host alone
//! pushes and pops.
//!
//! Used by `router` (opens a lane), `ffi` and `host`. A message goes from the host's ring to `worker/lane`.

use super::rings::LaneRings;
use super::settle::settle_lane;
use crate::clients::{ClientId, CreditPolicy, KeptFigures, NewClient, Phase, RoomId};
use crate::config::{Balance, Key};
use crate::error::{ClientError, ConnectError, JoinError, LeaveError, PortError, StaleClient, SubmitError};
use crate::metrics::Writer;
use crate::park::WakeWord;
use crate::ring::Memory;
use crate::router::local::Seat;
use crate::router::opening;
use crate::router::pair::Pair;
use crate::router::payload::{Payload, Way};
use crate::router::placement::Placement;
use crate::router::rules::MessageType;
use crate::router::shared::Shared;
use crate::sync::{Arc, Mutex, Relaxed, lock, mutant};

/// What a host needs of one worker's pair with its lane.
pub(crate) struct LaneView<'a> {
    pub(crate) ingress: &'a Arc<Memory>,
    pub(crate) egress: &'a Arc<Memory>,
    pub(crate) worker_wake: &'a WakeWord,
    pub(crate) lane_wake: &'a WakeWord,
    pub(crate) workers: usize,
    /// The host can run the worker's cycles: [`Lane::cycle`].
    pub(crate) local: bool,
    pub(crate) max_message: usize,
    pub(crate) max_clients: usize,
    /// 0: no limit besides the ring's bytes.
    pub(crate) queue_messages: u64,
    pub(crate) credit: (u32, u32),
}

/// A new client of a lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneClient<'a> {
    pub(crate) name: &'a str,
    pub(crate) protocol: &'a str,
    pub(crate) application: &'a str,
    pub(crate) policy: Option<CreditPolicy>,
}

/// A host's lane. Dropping it releases it: the host has published, and neither pushes nor polls any more.
#[derive(Debug)]
pub(crate) struct Lane {
    shared: Arc<Shared>,
    index: usize,
    wake: Arc<WakeWord>,
    /// By worker with a thread of its own; or, in a router that has only local workers, by local worker.
    pairs: Box<[LanePair]>,
    /// The seats of the local workers, in a router that has no others.
    seats: Box<[Arc<Seat>]>,
    /// The right to write the counts of the port's number, and of pairs that their workers have left.
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct LanePair {
    pair: Pair,
    rings: Arc<LaneRings>,
    /// False for a worker that was lost when the lane was opened.
    attached: bool,
}

impl Lane {
    pub(in crate::router) fn open(
        shared: &Arc<Shared>,
        seats: &[Arc<Seat>],
        cycle: impl Fn() -> usize,
    ) -> Result<Self, PortError> {
        let seats = if shared.placement.threaded() == 0 { seats } else { &[] };
        if !shared.concurrent {
            return Err(PortError::OnlyBaseRoute);
        }
        opening::open(shared, cycle, || Self::try_open(shared, seats))
    }

    /// The lane; or else whether a place becomes free once the workers have left a released port's pairs.
    fn try_open(shared: &Arc<Shared>, seats: &[Arc<Seat>]) -> Result<Result<Self, bool>, PortError> {
        let mut control = lock(&shared.control);
        let index = match opening::free_place(shared, &control)? {
            Ok(index) => index,
            Err(waiting) => return Ok(Err(waiting)),
        };
        let workers = if seats.is_empty() { shared.placement.threaded() } else { seats.len() };
        let wake = Arc::new(WakeWord::descriptor()?);
        let mut pairs = Vec::with_capacity(workers);
        for worker in 0..workers {
            let mut pair = opening::pair(shared, &wake)?;
            let consumed = shared.workers[worker].paths[index].lane.consumed();
            let rings = Arc::new(LaneRings::new(pair.egress.capacity(), consumed));
            pair.lane = Some(Arc::clone(&rings));
            pairs.push(LanePair { pair, rings, attached: false });
        }
        for (worker, one) in pairs.iter_mut().enumerate() {
            // The control lock is held, and a worker takes it when it becomes lost.
            if shared.placement.is_lost(worker) {
                one.pair.ingress.close();
                one.pair.egress.close();
                one.rings.give_up();
                continue;
            }
            control.pairs[shared.path(worker, index)] = Some(one.pair.clone());
            one.attached = shared.pair(worker, index).attach(one.pair.clone()).is_ok();
            debug_assert!(one.attached, "the pair is free, and the control lock is held");
            shared.workers[worker].bell.announce_attach();
        }
        control.port_open[index] = true;
        drop(control);
        let (shared, pairs) = (Arc::clone(shared), pairs.into());
        Ok(Ok(Self { shared, index, wake, pairs, seats: seats.into(), writer: Mutex::new(Writer::new()) }))
    }

    /// Runs one cycle of a local worker on this thread, as [`Seat::cycle_for`] describes. `None` if it is not to be had, or if
    /// the workers have threads of their own.
    pub(crate) fn cycle(&self, worker: usize) -> Option<usize> {
        self.seats.get(worker)?.cycle_for(self.index)
    }

    /// What the host needs of one worker's pair.
    pub(crate) fn describe(&self, worker: usize) -> Option<LaneView<'_>> {
        let (shared, one) = (&self.shared, self.pairs.get(worker)?);
        Some(LaneView {
            ingress: &one.pair.ingress,
            egress: &one.pair.egress,
            worker_wake: shared.workers[worker].bell.wake(),
            lane_wake: &self.wake,
            workers: self.pairs.len(),
            local: !self.seats.is_empty(),
            max_message: shared.config.count(Key::MaxMessage),
            max_clients: shared.config.count(Key::MaxClients),
            queue_messages: shared.config.get(Key::QueueMessages),
            credit: (shared.limits.messages, shared.limits.bytes),
        })
    }

    /// The first step of a connect: takes a slot on a worker. Nobody can find the client yet.
    ///
    /// # Errors
    /// [`ConnectError`], with the reason.
    pub(crate) fn reserve(&self, new: LaneClient<'_>) -> Result<(ClientId, usize), ConnectError> {
        let shared = &self.shared;
        if shared.draining.load(Relaxed) {
            return Err(ConnectError::Draining); // Relaxed: see `Router::drain`.
        }
        if shared.is_stopping() {
            return Err(ConnectError::Closed);
        }
        self.end_read();
        let Some(protocol) = shared.protocol(new.protocol) else {
            return Err(ConnectError::UnknownProtocol(new.protocol.to_owned()));
        };
        let worker = self.first_worker(shared.clients.names().hash(new.name.as_bytes()).0);
        if !self.is_served(worker) {
            return Err(ConnectError::Closed);
        }
        let (client, _) = shared.clients.reserve(NewClient {
            name: new.name,
            token: 0,
            port: self.index as u16,
            worker: worker as u16,
            protocol,
            application: shared.labels.application(new.application).0,
            policy: new.policy.unwrap_or(shared.config.credit.policy),
            figures: KeptFigures::NONE,
        })?;
        if let Some(bucket) = shared.buckets.get(client.index() as usize) {
            bucket.fill();
        }
        if mutant("lane-name-first") {
            let _ = self.enter(client);
        }
        Ok((client, worker))
    }

    /// The worker of a new client, for good.
    fn first_worker(&self, hash: u64) -> usize {
        let placement = &self.shared.placement;
        if !self.seats.is_empty() {
            return self.first_seat(Placement::hash_part(hash));
        }
        let by_hash = placement.by_hash(Placement::hash_part(hash));
        match placement.balance {
            Balance::LeastLoaded => placement.least(by_hash, |worker| self.load(worker)),
            Balance::Hash | Balance::RoundRobin => by_hash,
        }
    }

    /// As [`first_worker`](Self::first_worker), in a router that has only local workers.
    fn first_seat(&self, hash: u16) -> usize {
        let (placement, count) = (&self.shared.placement, self.pairs.len());
        let first = usize::from(hash) % count;
        let mut usable =
            (0..count).map(|offset| (first + offset) % count).filter(|one| !placement.is_lost(*one));
        let found = match placement.balance {
            Balance::LeastLoaded => usable.min_by_key(|one| self.load(*one)),
            Balance::Hash | Balance::RoundRobin => usable.next(),
        };
        found.unwrap_or(first)
    }

    fn load(&self, worker: usize) -> u64 {
        let waiting = self.pairs.get(worker).map_or(0, |one| one.pair.ingress.waiting().0);
        self.shared.workers[worker].shard.load.get() + waiting
    }

    /// Whether a worker still takes records.
    fn is_served(&self, worker: usize) -> bool {
        self.pairs.get(worker).is_some_and(|one| !one.pair.ingress.is_closed()) && !self.has_left(worker)
    }

    /// Whether a worker takes and writes nothing any more.
    fn has_left(&self, worker: usize) -> bool {
        let Some(one) = self.pairs.get(worker) else { return true };
        // The worker stores the seal before it closes the egress ring.
        !one.attached || one.rings.is_given_up() || one.rings.seal().is_some()
    }

    /// The second step of a connect, after the host has filled its own table: inserts the name, then tells every worker.
    ///
    /// # Errors
    /// [`ConnectError::NameTaken`], and [`ConnectError::Closed`] if the worker has left: the reservation is given back.
    /// `None` if there is no such reservation.
    pub(crate) fn enter(&self, client: ClientId) -> Option<Result<(), ConnectError>> {
        let shared = &self.shared;
        let slot = shared.clients.on(client, self.index)?;
        if !self.is_served(usize::from(slot.place().worker)) {
            return shared.clients.cancel(client).then_some(Err(ConnectError::Closed));
        }
        Some(match shared.clients.enter(client)? {
            Err(error) => Err(error.into()),
            Ok(hash) => {
                for worker in &shared.workers {
                    worker.bell.post(hash.0);
                }
                Ok(())
            }
        })
    }

    /// Instead of [`enter`](Self::enter). Returns whether there was such a reservation.
    pub(crate) fn cancel(&self, client: ClientId) -> bool {
        let clients = &self.shared.clients;
        clients.on(client, self.index).is_some() && clients.cancel(client)
    }

    /// Starts a disconnect: the client loses its name and its rooms, and gets no more deliveries. The host then pushes the
    /// record DISCONNECT.
    ///
    /// # Errors
    /// [`ClientError::StaleClient`] if the client is not connected or already closing, [`ClientError::WrongPort`].
    pub(crate) fn disconnect(&self, client: ClientId) -> Result<(), ClientError> {
        let shared = &self.shared;
        shared.clients.open_on(client, self.index)?;
        if mutant("lane-disconnect-without-call") {
            return Ok(());
        }
        if !shared.clients.begin_close(client) {
            return Err(ClientError::StaleClient);
        }
        shared.rooms.leave_all(client);
        Ok(())
    }

    /// Ends a client whose worker has left, or has given the lane's rings up. `None` if it has not, or if the client is only
    /// reserved.
    ///
    /// # Errors
    /// [`StaleClient`] if the client is closed already.
    pub(crate) fn closed(&self, client: ClientId) -> Option<Result<(), StaleClient>> {
        let shared = &self.shared;
        let Some(slot) = shared.clients.on(client, self.index) else { return Some(Err(StaleClient)) };
        if !self.has_left(usize::from(slot.place().worker)) {
            return None;
        }
        // Not yet if `enter` or `cancel` is still to come, which ends the reservation, or if a worker that has given the
        // lane up still lists the client's CLIENT_CLOSED: an entry there belongs to the slot's present client.
        let reserved = slot.phase_of(client.generation()) == Some(Phase::Reserved);
        if reserved || slot.is_listed_as_closed() {
            return None;
        }
        Some(self.end(client))
    }

    /// Ends a client for which no worker writes anything any more.
    fn end(&self, client: ClientId) -> Result<(), StaleClient> {
        let shared = &self.shared;
        if shared.clients.begin_close(client) {
            shared.rooms.leave_all(client);
        }
        let (forgiven, reason) = shared.clients.end_close(client).ok_or(StaleClient)?;
        let cells = &shared.ports[self.index].poll.unacknowledged;
        cells[reason as usize].add(&mut lock(&self.writer), forgiven.into());
        Ok(())
    }

    /// Ends the clients whose CLIENT_CLOSED the host has read after their worker had left.
    fn end_read(&self) {
        for (worker, one) in self.pairs.iter().enumerate() {
            if self.has_left(worker) {
                for client in one.rings.take_read(&one.pair.egress) {
                    let _ = self.end(client); // The host may have ended it already.
                }
            }
        }
    }

    /// Frees a client's name for others; the client stays connected.
    ///
    /// # Errors
    /// As [`disconnect`](Self::disconnect).
    pub(crate) fn release_name(&self, client: ClientId) -> Result<(), ClientError> {
        let clients = &self.shared.clients;
        clients.remove_name(client, clients.open_on(client, self.index)?);
        Ok(())
    }

    /// As [`Port::join`](crate::router::Port::join).
    ///
    /// # Errors
    /// [`JoinError`], with the reason.
    pub(crate) fn join(&self, client: ClientId, room: &str) -> Result<RoomId, JoinError> {
        let clients = &self.shared.clients;
        clients.open_on(client, self.index)?;
        self.shared.rooms.join(client, self.index as u16, room, || clients.is_open(client))
    }

    /// As [`Port::leave`](crate::router::Port::leave).
    ///
    /// # Errors
    /// [`LeaveError`], with the reason.
    pub(crate) fn leave(&self, client: ClientId, room: RoomId) -> Result<(), LeaveError> {
        self.shared.clients.open_on(client, self.index)?;
        self.shared.rooms.leave(client, room)
    }

    /// The worker to whose ring a send to a client of any port goes. It stays the same as long as the client is connected.
    ///
    /// # Errors
    /// [`StaleClient`] if the client is not connected.
    pub(crate) fn worker_of(&self, client: ClientId) -> Result<usize, StaleClient> {
        let clients = &self.shared.clients;
        let slot = clients.get(client).filter(|_| clients.is_open(client)).ok_or(StaleClient)?;
        Ok(self.sending_worker(usize::from(slot.place().worker)))
    }

    /// The worker to whose ring a send to a room goes. It stays the same.
    pub(crate) fn worker_of_room(&self, room: RoomId) -> usize {
        self.sending_worker(room.0 as usize % self.pairs.len())
    }

    /// The given worker if the lane has rings to it and it still takes records; otherwise one that does.
    fn sending_worker(&self, worker: usize) -> usize {
        if self.is_served(worker) {
            return worker;
        }
        let count = self.pairs.len();
        (0..count).map(|offset| (worker + offset) % count).find(|one| self.is_served(*one)).unwrap_or(0)
    }

    /// Puts a payload that is too large for a record into the table. The host then pushes its number and its length.
    ///
    /// # Errors
    /// [`SubmitError::TooLarge`], [`SubmitError::PayloadsFull`], [`SubmitError::Closed`] if the worker takes nothing more.
    pub(crate) fn put(&self, worker: usize, bytes: &[u8]) -> Result<u64, SubmitError> {
        let shared = &self.shared;
        if worker >= self.pairs.len() {
            return Err(SubmitError::Closed);
        }
        if bytes.len() > shared.config.count(Key::MaxMessage) {
            return Err(SubmitError::TooLarge);
        }
        let payload = shared.payloads.fill(bytes.len(), |out| out.copy_from_slice(bytes));
        let payload = payload.ok_or(SubmitError::PayloadsFull)?;
        shared.payloads.put_unless((Way::In, worker, self.index), payload, || self.has_left(worker))
    }

    /// Takes a delivery's payload, or one that was put and that no record carries.
    pub(in crate::router) fn take(&self, worker: usize, number: u64) -> Option<Payload> {
        let payloads = &self.shared.payloads;
        payloads
            .take(Way::Out, worker, self.index, number)
            .or_else(|| payloads.take(Way::In, worker, self.index, number))
    }

    /// As [`take`](Self::take), and passes the bytes to `read`.
    pub(crate) fn take_with<R>(
        &self,
        worker: usize,
        number: u64,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        let payload = self.take(worker, number)?;
        payload.bytes().map(read)
    }

    /// Counts messages that the host has refused itself, before they were in a ring: as submitted and refused.
    pub(crate) fn count_refused(&self, reason: SubmitError, count: u64) {
        let Some(shard) = self.shared.ports.get(self.index) else { return };
        let writer = &mut *lock(&self.writer);
        // Counted before the refusal: a reader loads refusals, then this.
        shard.submit.submitted.add(writer, count);
        shard.submit.refused[reason as usize].add(writer, count);
    }

    /// As [`Router::message_type`](crate::router::Router::message_type).
    pub(crate) fn message_type(&self, protocol: &str, name: &str) -> Option<MessageType> {
        self.shared.message_type(protocol, name)
    }

    /// The router's clock.
    #[cfg(any(test, feature = "bench-internals"))]
    pub(crate) fn clock(&self) -> &crate::clock::Clock {
        &self.shared.clock
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let (shared, index) = (Arc::clone(&self.shared), self.index);
        for client in shared.clients.reserved_of(index) {
            shared.clients.cancel(client);
        }
        for client in shared.clients.of_port(index as u16) {
            shared.clients.begin_close(client);
            shared.rooms.leave_all(client);
        }
        for (worker, one) in self.pairs.iter().enumerate() {
            one.rings.consumed(&one.pair.egress, &shared.workers[worker].paths[index].lane);
            if !one.attached {
                continue;
            }
            shared.pair(worker, index).leave(|pair| {
                let way = (worker, index);
                drop(settle_lane(&shared, way, &pair, &one.rings, &mut lock(&self.writer)));
            });
            shared.workers[worker].bell.announce_attach();
        }
        let mut control = lock(&shared.control);
        for worker in 0..shared.workers.len() {
            control.pairs[shared.path(worker, index)] = None;
        }
        control.port_open[index] = false;
    }
}
