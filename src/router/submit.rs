//! A port's submitting half: connect, submit, publish, disconnect. Owned by the port, or by a shared port behind its
//! lock. Waits for nobody else; connecting and disconnecting take the control lock.

use super::pair::untaken_messages;
use super::placement::Balance;
use super::shared::Shared;
use crate::clients::{ClientId, NewClient, Phase, Slot};
use crate::config::Key;
use crate::error::{Error, Refused};
use crate::metrics::Writer;
use crate::ring::record::{INGRESS_BYTES, Ingress, ingress_kind};
use crate::ring::{Producer, PushError};
use crate::sync::{Arc, Relaxed, Release, mutant, wake_fence};
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Submit {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    ways: Vec<WayIn>,
    writer: Writer,
    /// Disconnects that found their ring full, and the workers, a bit each, that are still to get them.
    pending: VecDeque<(ClientId, u64)>,
    max_message: usize,
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
}

impl Submit {
    pub(super) fn new(shared: &Arc<Shared>, index: usize, rings: Vec<Producer>, max_message: usize) -> Self {
        let way = |ring| WayIn { ring, stalled: false, dirty: false, settled: false };
        Self {
            shared: Arc::clone(shared),
            index,
            ways: rings.into_iter().map(way).collect(),
            writer: Writer::new(),
            pending: VecDeque::new(),
            max_message,
            max_in_flight: shared.config.get(Key::MaxInFlight),
            spare: 0,
            last: 0,
        }
    }

    /// See [`Port::connect`](super::Port::connect).
    pub(super) fn connect(
        &mut self,
        name: &str,
        protocol: &str,
        application: &str,
        token: u64,
    ) -> Result<ClientId, Error> {
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
        })?;
        let several = (self.shared.placement.balance == Balance::RoundRobin).then_some(self.ways.len());
        if let Some(slot) = self.shared.clients.get(client) {
            slot.start_at(worker, hash_part(hash.0), several);
        }
        self.pending.reserve(1);
        // The name is in the table; now every worker is told, in its ring or by its flag.
        let post = Ingress { kind: ingress_kind::NAME_CONNECTED, recipient: hash.0, ..Ingress::default() };
        for worker in 0..self.ways.len() {
            if push(&mut self.ways, worker, &post, b"").is_err() && !mutant("post-lost") {
                let worker = &self.shared.workers[worker];
                // Release: with the flag comes the name; pairs with the worker's swap.
                worker.look_up_all.store(true, Release);
                wake_fence("post-fence");
                worker.wake.wake_if_asleep();
            }
        }
        self.publish();
        Ok(client)
    }

    /// See [`Port::submit`](super::Port::submit).
    pub(super) fn submit(&mut self, client: ClientId, message: &[u8], correlation: u64) -> Result<(), Error> {
        self.submit_at(client, message, correlation, self.shared.clock.raw())
    }

    /// See [`Port::submit_at`](super::Port::submit_at).
    pub(super) fn submit_at(
        &mut self,
        client: ClientId,
        message: &[u8],
        correlation: u64,
        stamp: u64,
    ) -> Result<(), Error> {
        // Counted first: a reader that sees how it ended has seen that it came.
        self.shared.ports[self.index].submit.submitted.add(&mut self.writer, 1);
        match self.try_submit(client, message, correlation, stamp) {
            Ok(()) => Ok(()),
            Err(reason) => {
                self.shared.ports[self.index].submit.refused[reason as usize].add(&mut self.writer, 1);
                Err(Error::Refused(reason))
            }
        }
    }

    fn try_submit(
        &mut self,
        client: ClientId,
        message: &[u8],
        correlation: u64,
        stamp: u64,
    ) -> Result<(), Refused> {
        let Self { shared, ways, writer, spare, .. } = self;
        let slot = shared.clients.get(client).ok_or(Refused::Stale)?;
        let place = slot.place();
        if usize::from(place.port) != self.index {
            return Err(Refused::WrongPort);
        }
        if slot.phase() != Phase::Open {
            return Err(Refused::Stale);
        }
        if message.len() > self.max_message {
            return Err(Refused::TooLarge);
        }
        // Relaxed: see `Router::drain`.
        if shared.draining.load(Relaxed) {
            return Err(Refused::Draining);
        }
        let header = Ingress {
            kind: ingress_kind::MESSAGE,
            client: client.0,
            stamp,
            correlation,
            message_type: u32::MAX,
            ..Ingress::default()
        };
        let limited = shared.permits.is_limited();
        if self.max_in_flight > 0 && slot.submitted() - slot.finished() >= self.max_in_flight {
            return Err(Refused::InFlight);
        }
        if shared.rate.per_second > 0 && !slot.bucket().has_token(shared.rate, stamp) {
            return Err(Refused::RateLimited);
        }
        if limited && *spare == 0 {
            *spare = shared.permits.take();
            if *spare == 0 {
                return Err(Refused::Concurrency);
            }
        }
        let worker = place_message(shared, ways, slot, self.last, self.index, writer);
        push(ways, worker, &header, message)?;
        slot.submit();
        self.last = worker;
        if shared.rate.per_second > 0 {
            slot.bucket().take(shared.rate);
        }
        *spare -= u64::from(limited);
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
        let slot = self.shared.clients.get(client).ok_or(Error::StaleClient)?;
        if usize::from(slot.place().port) != self.index {
            return Err(Error::WrongPort);
        }
        if !self.shared.clients.begin_close(client) {
            return Err(Error::StaleClient);
        }
        // Behind what it sent: on its own worker's ring, or, without one, on every ring, and the last worker answers.
        let workers = match self.shared.placement.balance {
            Balance::RoundRobin => u64::MAX >> (64 - self.ways.len().clamp(1, 64)),
            Balance::Hash | Balance::LeastLoaded => 1 << slot.current().0,
        };
        self.pending.push_back((client, workers));
        self.push_pending();
        self.publish();
        Ok(())
    }

    /// Pushes the disconnects that wait, in order, as far as there is room.
    fn push_pending(&mut self) {
        for _ in 0..self.pending.len() {
            let Some((client, workers)) = self.pending.pop_front() else { return };
            let Some(slot) = self.shared.clients.get(client) else { continue };
            let header = Ingress { kind: ingress_kind::DISCONNECT, client: client.0, ..Ingress::default() };
            let mut left = workers;
            for worker in (0..self.ways.len()).filter(|worker| workers & 1 << worker != 0) {
                match push(&mut self.ways, worker, &header, b"") {
                    Ok(()) => left &= !(1 << worker),
                    Err(Refused::Full) => {}
                    // The worker is gone; nothing will come for this client any more.
                    Err(_) => {
                        left = 0;
                        if slot.phase() != Phase::Closed {
                            self.shared.clients.end_close(client);
                        }
                        break;
                    }
                }
            }
            if left != 0 {
                self.pending.push_back((client, left));
            }
        }
    }

    /// See [`Port::release_name`](super::Port::release_name).
    pub(super) fn release_name(&mut self, client: ClientId) -> Result<(), Error> {
        let slot = self.shared.clients.get(client).ok_or(Error::StaleClient)?;
        if usize::from(slot.place().port) != self.index {
            return Err(Error::WrongPort);
        }
        self.shared.clients.remove_name(client, slot);
        Ok(())
    }

    /// The ring to a worker.
    #[cfg(not(corelane_loom))]
    pub(super) fn memory(&self, worker: usize) -> Option<&crate::ring::Memory> {
        self.ways.get(worker).map(|way| &**way.ring.memory())
    }

    /// What a poll leaves to this half: settles with the workers that have left (a bit for each), and pushes the
    /// disconnects that wait for room.
    pub(super) fn follow_up(&mut self, left: u64) {
        for worker in (0..self.ways.len()).filter(|worker| left & (1 << worker) != 0) {
            self.settle(worker);
        }
        self.return_spare();
        if !self.pending.is_empty() {
            self.push_pending();
            self.publish();
        }
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
        let ingress = way.ring.memory();
        let reason = if ingress.is_corrupt() { Refused::Corrupt } else { Refused::Closed };
        let untaken = untaken_messages(ingress);
        self.shared.ports[self.index].submit.refused[reason as usize].add(&mut self.writer, untaken);
        if reason == Refused::Closed {
            // What a corrupt ring held is not known exactly: its permits are lost rather than given twice.
            self.shared.permits.give(untaken);
        }
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
        return Err(if memory.is_corrupt() { Refused::Corrupt } else { Refused::Closed });
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
