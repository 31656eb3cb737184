//! A host's handle: one ring to each worker, one back from each. One owner at a time, any thread. Submitting and
//! polling wait for nobody; connecting, disconnecting and releasing take the control lock.

use super::pair::{Pair, give_back, holds_credit, untaken_deliveries, untaken_messages};
use super::shared::{RouterState, Shared};
use crate::clients::{ClientId, NewClient, Phase};
use crate::config::Key;
use crate::error::{CloseReason, Error, Refused, Undeliverable};
use crate::metrics::{PortShard, Writer};
use crate::park::WakeWord;
use crate::ring::record::{Delivery, INGRESS_BYTES, Ingress, delivery_kind, ingress_kind};
use crate::ring::{Consumer, Memory, Producer, PushError, State};
use crate::sync::{Arc, Relaxed, Release, lock, mutant, wake_fence};
use std::collections::VecDeque;
use std::time::Duration;

/// What a poll hands out. `token` is the value that the host gave the client at connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Write these bytes to the client, then acknowledge them.
    Message(Message<'a>),
    /// What the client sent to a name has expired, since nobody of that name connected. Told once per name;
    /// acknowledge it like a message of `name`'s length.
    Expired {
        /// Who sent it.
        client: ClientId,
        /// The sender's token.
        token: u64,
        /// The name that did not connect.
        name: &'a [u8],
        /// The submitter's value of the first message.
        correlation: u64,
    },
    /// The client has left its name: [`Port::release_name`] if others may have it. It stays connected.
    Left {
        /// Which.
        client: ClientId,
        /// Its token.
        token: u64,
    },
    /// Close this client's connection, then call [`Port::disconnect`].
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
    },
}

/// A message for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The recipient.
    pub client: ClientId,
    /// The recipient's token.
    pub token: u64,
    /// Who sent it.
    pub sender: ClientId,
    /// The submitter's value.
    pub correlation: u64,
    /// The bytes to write.
    pub payload: &'a [u8],
}

/// A port. `Send`, not `Sync`. Dropping it disconnects its clients and gives up what it has not polled.
#[derive(Debug)]
pub struct Port {
    shared: Arc<Shared>,
    index: usize,
    ways: Vec<Way>,
    wake: Arc<WakeWord>,
    armed: bool,
    writer: Writer,
    /// Disconnects and posts of them that found their ring full.
    pending: VecDeque<ClientId>,
    max_message: usize,
}

/// The rings to and from one worker.
#[derive(Debug)]
struct Way {
    ingress: Producer,
    egress: Consumer,
    /// A push found the ring full; the port waits for space.
    stalled: bool,
    /// Something was committed since the last publication.
    dirty: bool,
    /// The worker has left, and what it did not take has been settled.
    settled: bool,
}

impl Port {
    pub(super) fn open(shared: &Arc<Shared>) -> Result<Self, Error> {
        for _ in 0..100 {
            let waiting = match Self::try_open(shared)? {
                Ok(port) => return Ok(port),
                Err(waiting) => waiting,
            };
            if !waiting {
                break;
            }
            // A port was just released: its workers are about to leave.
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(Error::TooManyPorts(shared.ports.len() as u32))
    }

    /// The port, or whether one will be free once its workers have left it.
    fn try_open(shared: &Arc<Shared>) -> Result<Result<Self, bool>, Error> {
        let mut control = lock(&shared.control);
        if control.state != RouterState::Running {
            return Err(Error::State("the router is stopped: no port can be opened"));
        }
        let workers = shared.workers.len();
        let is_free = |port: usize| (0..workers).all(|one| shared.pair(one, port).state() == State::Free);
        let mut unused = (0..shared.ports.len()).filter(|port| !control.port_open[*port]);
        let Some(index) = unused.clone().find(|port| is_free(*port)) else {
            return Ok(Err(unused.next().is_some()));
        };
        let wake = Arc::new(WakeWord::descriptor()?);
        let capacity = shared.config.count(Key::RingBytes);
        let pairs: Vec<Pair> = (0..workers)
            .map(|_| {
                Ok(Pair {
                    ingress: Arc::new(Memory::new(capacity)?),
                    egress: Arc::new(Memory::new(capacity)?),
                    port_wake: Arc::clone(&wake),
                })
            })
            .collect::<std::io::Result<_>>()?;
        let mut ways = Vec::with_capacity(workers);
        for (worker, pair) in pairs.into_iter().enumerate() {
            ways.push(Way {
                ingress: Producer::new(Arc::clone(&pair.ingress)),
                egress: Consumer::new(Arc::clone(&pair.egress)),
                stalled: false,
                dirty: false,
                settled: false,
            });
            if shared.pair(worker, index).attach(pair).is_err() {
                return Err(Error::State("a free pair was attached by another: this is a defect"));
            }
            announce(shared, worker);
        }
        control.port_open[index] = true;
        drop(control);
        Ok(Ok(Self {
            shared: Arc::clone(shared),
            index,
            ways,
            wake,
            armed: false,
            writer: Writer::new(),
            pending: VecDeque::new(),
            max_message: shared.config.count(Key::MaxMessage),
        }))
    }

    /// Connects a client under a name, on this port. Messages held for the name are delivered to it.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::NameLength`], [`Error::TooManyClients`], [`Error::UnknownProtocol`], or
    /// [`Error::Refused`] once the router drains or is stopped.
    pub fn connect(
        &mut self,
        name: &str,
        protocol: &str,
        application: &str,
        token: u64,
    ) -> Result<ClientId, Error> {
        if self.shared.draining.load(Relaxed) {
            return Err(Error::Refused(Refused::Draining)); // Relaxed: see `Router::drain`.
        }
        if self.ways.iter().any(|way| way.ingress.memory().is_closed()) {
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
            if self.push(worker, &post, b"").is_err() && !mutant("post-lost") {
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

    /// Submits one of a client's messages; visible to its worker after [`publish`](Self::publish).
    /// `correlation` comes back with what the message causes.
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason under which it is counted.
    pub fn submit(&mut self, client: ClientId, message: &[u8], correlation: u64) -> Result<(), Error> {
        self.submit_at(client, message, correlation, self.shared.clock.raw())
    }

    /// As [`submit`](Self::submit), with the moment (in the clock's raw ticks) at which the host read the message
    /// from its socket, so that the time until now counts as waiting.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn submit_at(
        &mut self,
        client: ClientId,
        message: &[u8],
        correlation: u64,
        stamp: u64,
    ) -> Result<(), Error> {
        // Counted first: a reader that sees how it ended has seen that it came.
        self.shared.ports[self.index].submitted.add(&mut self.writer, 1);
        match self.try_submit(client, message, correlation, stamp) {
            Ok(()) => Ok(()),
            Err(reason) => {
                self.shared.ports[self.index].refused[reason as usize].add(&mut self.writer, 1);
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
        let shared = Arc::clone(&self.shared);
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
        self.push(usize::from(place.worker), &header, message)?;
        slot.submit();
        Ok(())
    }

    /// Claims, writes and commits one record; not yet published.
    fn push(&mut self, worker: usize, header: &Ingress, payload: &[u8]) -> Result<(), Refused> {
        let Some(way) = self.ways.get_mut(worker) else { return Err(Refused::Stale) };
        let memory = way.ingress.memory();
        if memory.is_closed() {
            return Err(if memory.is_corrupt() { Refused::Corrupt } else { Refused::Closed });
        }
        match way.ingress.claim(INGRESS_BYTES + payload.len(), header.kind, header.flags) {
            Ok(record) => {
                header.write(record);
                if let Some(target) = record.get_mut(INGRESS_BYTES..) {
                    target.copy_from_slice(payload);
                }
                way.ingress.commit();
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

    /// Makes what was submitted visible to the workers and wakes those that sleep: once per batch.
    pub fn publish(&mut self) {
        let mut any = false;
        for way in &mut self.ways {
            if way.dirty {
                any |= way.ingress.publish();
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

    /// Starts a client's disconnect: its name is free at once, what it submitted is still handled, and
    /// [`Event::Closed`] comes behind it. Later submissions are refused as stale.
    ///
    /// # Errors
    /// [`Error::StaleClient`] if it is not connected, [`Error::WrongPort`] if it is another port's.
    pub fn disconnect(&mut self, client: ClientId) -> Result<(), Error> {
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
            match self.push(worker, &header, b"") {
                Ok(()) => {}
                Err(Refused::Full) => self.pending.push_back(client),
                // The worker is gone; nothing will come for this client any more.
                Err(_) => self.shared.clients.end_close(client),
            }
        }
    }

    /// Frees a client's name for others while it stays connected; see [`Event::Left`].
    ///
    /// # Errors
    /// [`Error::StaleClient`] if it is not connected, [`Error::WrongPort`] if it is another port's.
    pub fn release_name(&mut self, client: ClientId) -> Result<(), Error> {
        let slot = self.shared.clients.get(client).ok_or(Error::StaleClient)?;
        if usize::from(slot.place().port) != self.index {
            return Err(Error::WrongPort);
        }
        self.shared.clients.remove_name(client, slot);
        Ok(())
    }

    /// Hands out up to `limit` deliveries to `each`, which must not block: nothing else of this port moves
    /// meanwhile. Returns how many were taken from the rings.
    ///
    /// # Errors
    /// [`Refused::Closed`] once the router has stopped and everything has been handed out.
    pub fn poll(&mut self, limit: usize, mut each: impl FnMut(Event<'_>)) -> Result<usize, Error> {
        if std::mem::take(&mut self.armed) {
            self.wake.disarm();
            self.wake.drain();
        }
        let shared = Arc::clone(&self.shared);
        let shard = &shared.ports[self.index];
        shard.polls.add(&mut self.writer, 1);
        let mut count = 0;
        let mut open = false;
        let mut released = 0u64;
        for (worker, way) in self.ways.iter_mut().enumerate() {
            // Closed is looked at before the tail: what was published before closing is then seen.
            let closed = way.egress.memory().is_closed();
            if way.egress.refresh().is_err() {
                continue; // Never: a worker wrote it.
            }
            while count < limit {
                let Ok(Some(record)) = way.egress.next() else { break };
                count += 1;
                hand_out(&shared, shard, &mut self.writer, record.bytes, &mut each);
            }
            if way.egress.release() {
                released |= 1 << worker;
            }
            open |= !closed || way.egress.has_more();
            if closed && !way.settled && shared.pair(worker, self.index).state() == State::Detaching {
                // The worker has left, so this side will be the second: it may settle already.
                way.settled = true;
                // What was committed and not published counts too; nothing more can be claimed.
                if !mutant("settle-unpublished") {
                    way.ingress.publish();
                }
                settle_messages(shard, &mut self.writer, way.ingress.memory());
            }
        }
        if released != 0 {
            wake_fence("port-release-fence");
            for (worker, way) in self.ways.iter().enumerate() {
                if released & (1 << worker) != 0 && way.egress.memory().needs_space() {
                    shared.workers[worker].wake.wake_if_asleep();
                }
            }
        }
        if !self.pending.is_empty() {
            self.push_pending();
            self.publish();
        }
        if count == 0 && !open {
            return Err(Error::Refused(Refused::Closed));
        }
        Ok(count)
    }

    /// Says that so many messages and bytes of what was handed out for a client have been written (or thrown
    /// away). Never gives back more than was handed out; after [`Event::Closed`] it does nothing.
    pub fn acknowledge(&mut self, client: ClientId, messages: u32, bytes: u32) {
        let Some(slot) = self.shared.clients.get(client) else { return };
        if usize::from(slot.place().port) != self.index || slot.phase() == Phase::Closed {
            return;
        }
        let (messages, bytes) = slot.acknowledge(messages, bytes);
        let shard = &self.shared.ports[self.index];
        shard.acknowledged.add(&mut self.writer, u64::from(messages));
        shard.bytes_out.add(&mut self.writer, u64::from(bytes));
    }

    /// The descriptor that becomes readable when there is something to poll, or space after a refusal as full.
    /// Call [`arm`](Self::arm) before waiting for it. It belongs to the port.
    pub fn descriptor(&self) -> i32 {
        self.wake.raw_descriptor().unwrap_or(-1)
    }

    /// Says that the host is about to wait for the descriptor. False: something is there already, poll first.
    pub fn arm(&mut self) -> bool {
        for way in self.ways.iter_mut().filter(|way| way.stalled) {
            way.ingress.request_space();
        }
        self.armed = true;
        self.wake.arm();
        let mut moved = false;
        for way in &mut self.ways {
            let closing = !way.settled && way.egress.memory().is_closed();
            let space = way.stalled && way.ingress.space_moved();
            way.stalled &= !space;
            moved |= way.egress.has_more() || closing || space;
        }
        !moved
    }

    /// Waits until there is something to poll, or `timeout` is over; for hosts without an event loop.
    pub fn wait(&mut self, timeout: Duration) {
        if self.arm() {
            self.wake.sleep(Some(timeout));
        }
        self.armed = false;
        self.wake.disarm();
        self.wake.drain();
    }

    /// When the client's worker last saw a keep-alive, in the clock's raw ticks; 0 for never.
    pub fn alive_at(&self, client: ClientId) -> u64 {
        // Relaxed: a time, for a timer.
        self.shared.clients.get(client).map_or(0, |slot| slot.alive_at.load(Relaxed))
    }

    /// The router's clock.
    pub fn clock(&self) -> &crate::clock::Clock {
        &self.shared.clock
    }

    /// Whether the router still runs.
    pub fn is_running(&self) -> bool {
        self.shared.is_running()
    }
}

/// Hands one record's events out, or counts why not.
fn hand_out(
    shared: &Shared,
    shard: &PortShard,
    writer: &mut Writer,
    record: &[u8],
    each: &mut impl FnMut(Event<'_>),
) {
    let Some((header, recipients, payload)) = Delivery::read(record) else { return };
    for recipient in recipients.iter() {
        let client = ClientId(recipient);
        let slot = shared.clients.get(client);
        let open = |phase| matches!(phase, Phase::Open | Phase::Closing);
        let Some(slot) = slot.filter(|slot| open(slot.phase()) || mutant("deliver-after-closed")) else {
            give_back(record, &shared.clients);
            shard.undeliverable[Undeliverable::Closed as usize].add(writer, 1);
            continue;
        };
        if holds_credit(header.kind) {
            slot.hand_out(payload.len() as u32);
        }
        let token = slot.token();
        let event = match header.kind {
            delivery_kind::MESSAGE => Event::Message(Message {
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
            delivery_kind::CLOSE => {
                let reason = CloseReason::ALL.get(usize::from(header.flags));
                Event::Close { client, token, reason: reason.copied().unwrap_or(CloseReason::Credit) }
            }
            _ => Event::Closed { client, token },
        };
        shard.consumed.add(writer, 1);
        if matches!(event, Event::Closed { .. }) {
            shared.clients.end_close(client);
        }
        each(event);
    }
}

/// Counts the messages that a worker left in its ring.
fn settle_messages(shard: &PortShard, writer: &mut Writer, ingress: &Arc<Memory>) {
    let reason = if ingress.is_corrupt() { Refused::Corrupt } else { Refused::Closed };
    shard.refused[reason as usize].add(writer, untaken_messages(ingress));
}

/// Tells a worker that one of its pairs has changed.
fn announce(shared: &Shared, worker: usize) {
    let worker = &shared.workers[worker];
    worker.attach_changes.fetch_add(1, Release); // Release: pairs with the Acquire in `Worker::cycle`.
    wake_fence("attach-fence");
    worker.wake.wake_if_asleep();
}

impl Drop for Port {
    fn drop(&mut self) {
        self.publish();
        let shared = Arc::clone(&self.shared);
        let clients: Vec<_> = shared.clients.of_port(self.index as u16).collect();
        for (client, _) in clients {
            shared.clients.begin_close(client);
            shared.clients.end_close(client);
        }
        for worker in 0..self.ways.len() {
            let settled = self.ways[worker].settled;
            let (index, writer) = (self.index, &mut self.writer);
            self.ways[worker].egress.release();
            shared.pair(worker, index).leave(|pair| {
                let shard = &shared.ports[index];
                if !settled {
                    settle_messages(shard, writer, &pair.ingress);
                }
                let untaken = untaken_deliveries(&pair.egress, &shared.clients);
                shard.undeliverable[Undeliverable::PortGone as usize].add(writer, untaken);
            });
            announce(&shared, worker);
        }
        lock(&shared.control).port_open[self.index] = false;
    }
}
