//! A port's submitting half: connect, submit, publish, disconnect. Owned by the port, or by a shared port behind its
//! lock. Waits for nobody else; connecting and disconnecting take the control lock.

use super::pair::untaken_messages;
use super::shared::Shared;
use crate::clients::{ClientId, NewClient, Phase};
use crate::error::{Error, Refused};
use crate::metrics::Writer;
use crate::ring::record::{INGRESS_BYTES, Ingress, ingress_flag, ingress_kind};
use crate::ring::{Producer, PushError};
use crate::sync::{Arc, Relaxed, Release, mutant, wake_fence};
use std::collections::VecDeque;

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
    pending: VecDeque<ClientId>,
    max_message: usize,
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
        let worker = self.shared.clients.names().hash(name.as_bytes()).0 % self.ways.len() as u64;
        let (client, hash) = self.shared.clients.connect(NewClient {
            name,
            token,
            port: self.index as u16,
            worker: worker as u16,
            protocol,
            application: self.shared.labels.application(application).0,
        })?;
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
        self.submit_with(client, message, SubmitOptions { correlation, ..SubmitOptions::default() })
    }

    /// See [`Port::submit_with`](super::Port::submit_with).
    pub(super) fn submit_with(
        &mut self,
        client: ClientId,
        message: &[u8],
        options: SubmitOptions,
    ) -> Result<(), Error> {
        self.counted(|submit| submit.try_submit(client, message, options))
    }

    /// See [`Port::send`](super::Port::send).
    pub(super) fn send(&mut self, to: ClientId, message: &[u8], correlation: u64) -> Result<(), Error> {
        self.counted(|submit| submit.try_send(to, message, correlation))
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
        // Counted first: a reader that sees how it ended has seen that it came.
        self.shared.ports[self.index].submit.submitted.add(&mut self.writer, 1);
        match attempt(self) {
            Ok(()) => Ok(()),
            Err(reason) => {
                self.shared.ports[self.index].submit.refused[reason as usize].add(&mut self.writer, 1);
                Err(Error::Refused(reason))
            }
        }
    }

    /// To the recipient's own worker, whichever port's client it is; there it fails if it is gone by then.
    fn try_send(&mut self, to: ClientId, message: &[u8], correlation: u64) -> Result<(), Refused> {
        let slot = self.shared.clients.get(to).ok_or(Refused::Stale)?;
        // Another port's word, perhaps: who reads it late sends a record that fails at the worker.
        if slot.phase() != Phase::Open {
            return Err(Refused::Stale);
        }
        if message.len() > self.max_message {
            return Err(Refused::TooLarge);
        }
        // Relaxed: see `Router::drain`.
        if self.shared.draining.load(Relaxed) {
            return Err(Refused::Draining);
        }
        let header = Ingress {
            kind: ingress_kind::SEND,
            recipient: to.0,
            stamp: self.shared.clock.raw(),
            correlation,
            message_type: u32::MAX,
            ..Ingress::default()
        };
        push(&mut self.ways, usize::from(slot.send_worker()), &header, message)
    }

    fn try_submit(
        &mut self,
        client: ClientId,
        message: &[u8],
        options: SubmitOptions,
    ) -> Result<(), Refused> {
        let Self { shared, ways, .. } = self;
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
            flags: if options.tell_expired { ingress_flag::TELL_EXPIRED } else { 0 },
            client: client.0,
            stamp: options.stamp.unwrap_or_else(|| shared.clock.raw()),
            correlation: options.correlation,
            message_type: u32::MAX,
            ..Ingress::default()
        };
        push(ways, usize::from(place.worker), &header, message)?;
        slot.submit();
        Ok(())
    }

    /// See [`Port::publish`](super::Port::publish).
    pub(super) fn publish(&mut self) {
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
        self.pending.push_back(client);
        self.push_pending();
        self.publish();
        Ok(())
    }

    /// Pushes the disconnects that wait, in order, as far as there is room.
    fn push_pending(&mut self) {
        for _ in 0..self.pending.len() {
            let Some(client) = self.pending.pop_front() else { return };
            let Some(slot) = self.shared.clients.get(client) else { continue };
            let worker = usize::from(slot.place().worker);
            let header = Ingress { kind: ingress_kind::DISCONNECT, client: client.0, ..Ingress::default() };
            match push(&mut self.ways, worker, &header, b"") {
                Ok(()) => {}
                Err(Refused::Full) => self.pending.push_back(client),
                // The worker is gone; nothing will come for this client any more.
                Err(_) => self.shared.clients.end_close(client),
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
    }
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
