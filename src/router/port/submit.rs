//! A port's submitting half: connect, submit and publish; `disconnect` and `send` have its other parts. Owned by the
//! port, or by a shared port behind its lock. It waits for no other port and runs no host code; connect takes the
//! control lock.
//!
//! A message is checked (`admit`), placed on a worker (`place_message`), written by `ingress` and published.
//! Next, `worker/cycle` takes it from the ring.
//!
//! Used by `handle`, `shared` (under the lock), and `route` (calls).

use crate::call::CallId;
use crate::clients::{ClientId, ClientSlot, NewClient, RoomId};
use crate::clock::Stamp;
use crate::config::{Balance, Key};
use crate::error::{
    ClientError, ConnectError, JoinError, LeaveError, SubmitError, TakenOver, TrySubmitError,
};
use crate::metrics::Writer;
use crate::park::after_publishing;
use crate::ring::Memory;
use crate::ring::record::{IngressHeader, ingress_flag, ingress_kind};
use crate::router::payload::Owned;
use crate::router::placement::Placement;
use crate::router::port::connect::ConnectOptions;
use crate::router::port::ingress::{Bytes, IngressSender, IngressSenders};
use crate::router::rules::MessageType;
use crate::router::shared::Shared;
use crate::sync::{Arc, Relaxed};

/// Options of a submitted message. A number alone is the correlation.
///
/// ```
/// use corelane::{config::Config, router::{Builder, SubmitOptions}};
///
/// let router = Builder::new(Config::default()).start()?;
/// let mut port = router.port()?;
/// let ann = port.connect("ann", "generic", "", 1)?;
/// let read_at = port.clock().now(); // When the socket was read: the wait counts from here.
/// let options = SubmitOptions { correlation: 7, stamp: Some(read_at), tell_failed: true, ..SubmitOptions::default() };
/// port.submit_with(ann, br#"{"type":"offer","to":"ben"}"#, options)?;
/// # Ok::<(), corelane::error::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubmitOptions {
    /// The host's value for the message. Every event that the message causes carries it.
    pub correlation: u64,
    /// When the host read the message from its socket. `None` means now.
    pub stamp: Option<Stamp>,
    /// Whether the client's port gets an [`Event::Undelivered`](crate::router::Event::Undelivered) if the message fails or
    /// expires, for example because its recipient is not connected or it is not JSON. A message of a type that is held
    /// has it when the hold ends without the recipient, with the reason `expired`. Only a message that is refused has
    /// none: the call has returned the reason. The notice is never dropped while the client is connected: if the
    /// port does not poll, and its ring and backlog are full, the workers take no more messages from it until it does.
    pub tell_failed: bool,
    /// For a host that has read the message itself: where it goes. `None` lets the worker read the message by the rules of
    /// the client's protocol.
    pub address: Option<Address>,
}

/// The type and the recipient of a message, as the host has read them. The router does not read such a message: it delivers
/// the bytes unchanged to this client, without holding them and without a handler. Otherwise it treats the message like any
/// other of its sender: the order, the limits, the credit, the figures.
///
/// ```
/// use corelane::{config::Config, router::{Address, Builder, SubmitOptions}};
///
/// let router = Builder::new(Config::default()).start()?;
/// let mut port = router.port()?;
/// let (ann, ben) = (port.connect("ann", "generic", "", 1)?, port.connect("ben", "generic", "", 2)?);
/// let address = Address { to: ben, message_type: port.message_type("generic", "offer") };
/// let options = SubmitOptions { address: Some(address), ..SubmitOptions::default() };
/// port.submit_with(ann, b"any bytes", options)?;
/// # Ok::<(), corelane::error::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The recipient. If it is not connected any more, the message fails as `recipient_closed`.
    pub to: ClientId,
    /// The type under which the message counts, and which says whether it is droppable. `None`, and a type of another
    /// protocol than the sender's, mean the type `send` of the sender's protocol.
    pub message_type: Option<MessageType>,
}

impl From<u64> for SubmitOptions {
    fn from(correlation: u64) -> Self {
        Self { correlation, ..Self::default() }
    }
}

#[derive(Debug)]
pub(in crate::router) struct SubmitHalf {
    pub(in crate::router) shared: Arc<Shared>,
    pub(in crate::router) index: usize,
    pub(in crate::router) out: IngressSenders,
    pub(super) writer: Writer,
    max_message: usize,
    /// 0 means no limit.
    max_in_flight: u64,
    /// Permits taken from the router that no message uses yet; see `permits`.
    pub(super) spare: u64,
    /// The worker of the last message, for `round_robin`.
    last: usize,
    /// The local worker on this port's thread.
    pub(in crate::router) home: Option<usize>,
    /// Somebody knows that there may be something to publish, and will publish.
    #[cfg(feature = "tokio")]
    announced: bool,
}

/// Whether a message of a shared port is the first one since the last publication that its submitter left to others.
/// Then the submitter must tell whoever publishes.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IsFirst(pub(crate) bool);

/// Where a submitted message has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::router) enum Entered {
    /// Into a ring.
    Ring,
    /// Counted as taken over. The caller runs the base route, outside every lock.
    Base(TakenOver),
}

impl SubmitHalf {
    pub(in crate::router) fn new(shared: &Arc<Shared>, out: IngressSenders, max_message: usize) -> Self {
        Self {
            shared: Arc::clone(shared),
            index: out.index,
            out,
            writer: Writer::new(),
            max_message,
            max_in_flight: shared.config.get(Key::MaxInFlight),
            spare: 0,
            last: 0,
            home: None,
            #[cfg(feature = "tokio")]
            announced: false,
        }
    }

    /// Notes that somebody is told to publish. Returns whether the caller must tell.
    #[cfg(feature = "tokio")]
    pub(super) fn announce(&mut self) -> IsFirst {
        IsFirst(!std::mem::replace(&mut self.announced, true))
    }

    /// Whoever was told publishes now.
    #[cfg(feature = "tokio")]
    pub(super) fn end_announcement(&mut self) {
        self.announced = false;
    }

    /// See [`Port::connect`](crate::router::Port::connect).
    pub(in crate::router) fn connect(
        &mut self,
        name: &str,
        options: ConnectOptions<'_>,
    ) -> Result<ClientId, ConnectError> {
        let ConnectOptions { protocol, application, token, credit_policy, figures } = options;
        if self.shared.draining.load(Relaxed) {
            return Err(ConnectError::Draining); // Relaxed: see `Router::drain`.
        }
        if self.shared.is_stopping() || self.out.ways.iter().all(|way| way.ring.memory().is_closed()) {
            return Err(ConnectError::Closed);
        }
        let Some(protocol) = self.shared.protocol(protocol) else {
            return Err(ConnectError::UnknownProtocol(protocol.to_owned()));
        };
        let hash = self.shared.clients.names().hash(name.as_bytes()).0;
        let worker = self.first_worker(protocol, hash)?;
        // Another worker may still run, but this client's messages could not go there.
        if self.memory(worker).is_none_or(|ring| ring.is_closed()) {
            return Err(ConnectError::Closed);
        }
        let (client, hash) = self.shared.clients.connect(NewClient {
            name,
            token,
            port: self.index as u16,
            worker: worker as u16,
            protocol,
            application: self.shared.labels.application(application).0,
            policy: credit_policy.unwrap_or_else(|| self.shared.config.credit.policy),
            figures,
        })?;
        let placement = &self.shared.placement;
        let takes_turns = placement.balance == Balance::RoundRobin && self.home != Some(worker);
        let several = takes_turns.then_some(placement.threaded());
        if let Some(slot) = self.shared.clients.get(client) {
            slot.start_at(worker, Placement::hash_part(hash.0), several);
        }
        if let Some(bucket) = self.shared.buckets.get(client.index() as usize) {
            bucket.fill();
        }
        // The name is in the table first. Then every worker is told, by a record in its ring or, if the ring
        // has no room, by its flag. The worker flushes what it holds for the name.
        let post = IngressHeader {
            kind: ingress_kind::NAME_CONNECTED,
            recipient: hash.0,
            ..IngressHeader::default()
        };
        for worker in 0..self.out.ways.len() {
            if self.out.push_other(worker, &post).is_err() {
                self.shared.workers[worker].bell.post(hash.0);
            }
        }
        self.publish();
        Ok(client)
    }

    /// See [`Port::submit_with`](crate::router::Port::submit_with).
    pub(in crate::router) fn submit_with(
        &mut self,
        client: ClientId,
        message: &[u8],
        options: SubmitOptions,
    ) -> Result<Entered, SubmitError> {
        self.counted(|submit| submit.try_submit(client, Bytes::Copied(message), options))
    }

    /// See [`Port::submit_owned`](crate::router::Port::submit_owned). Takes the message only if it goes into a ring.
    pub(in crate::router) fn submit_owned(
        &mut self,
        client: ClientId,
        message: &mut Option<Owned>,
        length: usize,
        options: SubmitOptions,
    ) -> Result<Entered, SubmitError> {
        self.counted(|submit| submit.try_submit(client, Bytes::Given(message, length), options))
    }

    /// See [`Port::try_submit`](crate::router::Port::try_submit).
    pub(in crate::router) fn submit_if_room(
        &mut self,
        client: ClientId,
        message: &[u8],
        options: SubmitOptions,
    ) -> Result<Entered, TrySubmitError> {
        if !self.shared.concurrent {
            // The base route takes messages over without waiting, so there is always room.
            return self.submit_with(client, message, options).map_err(TrySubmitError::Refused);
        }
        self.counted_if_room(|submit| submit.try_submit(client, Bytes::Copied(message), options))
    }

    /// Counts a submission, and its refusal, unless only room is missing. Counted after the attempt, and so before the
    /// publication: no worker sees the message before it is counted. Once the router stops, no room will come, and the
    /// submission is refused as closed.
    pub(super) fn counted_if_room<R>(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> Result<R, SubmitError>,
    ) -> Result<R, TrySubmitError> {
        let mut outcome = attempt(self);
        if outcome.as_ref().is_err_and(|reason| reason.is_full() && *reason != SubmitError::RingFull) {
            // A full ring has asked for space already. Ask here as well, then look again.
            self.out.stall_behind_records();
            outcome = attempt(self);
        }
        match outcome {
            Err(reason) if reason.is_full() && !self.shared.is_stopping() => {
                Err(TrySubmitError::Full(reason))
            }
            outcome => {
                self.count_submitted();
                let refused =
                    |reason: SubmitError| if reason.is_full() { SubmitError::Closed } else { reason };
                outcome.map_err(|reason| TrySubmitError::Refused(self.count_refused(refused(reason))))
            }
        }
    }

    /// Counts a submission, and its refusal.
    #[inline(always)]
    pub(super) fn counted<R>(
        &mut self,
        attempt: impl FnOnce(&mut Self) -> Result<R, SubmitError>,
    ) -> Result<R, SubmitError> {
        self.count_submitted();
        attempt(self).map_err(|reason| self.count_refused(reason))
    }

    /// Counted before the attempt: a reader that sees the outcome of a message also sees its submission.
    pub(in crate::router) fn count_submitted(&mut self) {
        self.shared.ports[self.index].submit.submitted.add(&mut self.writer, 1);
    }

    pub(in crate::router) fn count_refused(&mut self, reason: SubmitError) -> SubmitError {
        self.shared.ports[self.index].submit.refused[reason as usize].add(&mut self.writer, 1);
        reason
    }

    pub(in crate::router) fn count_taken_over(&mut self, reason: TakenOver) {
        self.shared.ports[self.index].submit.taken_over[reason as usize].add(&mut self.writer, 1);
    }

    /// Admits one message of a client, then puts it into a ring or leaves it to the base route.
    fn try_submit(
        &mut self,
        client: ClientId,
        message: Bytes<'_, '_>,
        options: SubmitOptions,
    ) -> Result<Entered, SubmitError> {
        let stamp = self.admit(client, message.len(), options.stamp.map(|stamp| stamp.0))?;
        if !self.shared.concurrent {
            return self.leave_to_base(client).map(Entered::Base);
        }
        self.enter(client, message, options, stamp, None)?;
        Ok(Entered::Ring)
    }

    /// Checks whether the port accepts a message of a client. Every submission passes this check. Returns the
    /// message's stamp.
    #[inline(always)]
    pub(in crate::router) fn admit(
        &mut self,
        client: ClientId,
        bytes: usize,
        stamp: Option<u64>,
    ) -> Result<u64, SubmitError> {
        let shared = &self.shared;
        let slot = shared.clients.open_on(client, self.index)?;
        self.check(bytes)?;
        if self.max_in_flight > 0 && slot.submitted().saturating_sub(slot.finished()) >= self.max_in_flight {
            return Err(SubmitError::InFlightLimit);
        }
        let now = stamp.unwrap_or_else(|| shared.clock.raw());
        if let Some(bucket) = shared.buckets.get(client.index() as usize) {
            // Clamp the host's stamp to now: after a stamp in the future the bucket would not refill until
            // that time.
            let now = if stamp.is_some() { now.min(shared.clock.raw()) } else { now };
            if !bucket.has_token(shared.rate, now) {
                return Err(SubmitError::RateLimited);
            }
        }
        Ok(now)
    }

    /// With `enable_concurrent_routing` off, the base route handles every admitted message.
    pub(in crate::router) fn leave_to_base(&mut self, client: ClientId) -> Result<TakenOver, SubmitError> {
        if self.shared.is_stopping() {
            return Err(SubmitError::Closed);
        }
        self.charge(client);
        self.count_taken_over(TakenOver::Disabled);
        Ok(TakenOver::Disabled)
    }

    /// Claims, writes and commits one admitted message. Returns its worker.
    #[inline(always)]
    pub(in crate::router) fn enter(
        &mut self,
        client: ClientId,
        message: Bytes<'_, '_>,
        options: SubmitOptions,
        stamp: u64,
        call: Option<CallId>,
    ) -> Result<usize, SubmitError> {
        let (addressed, recipient, message_type) = match options.address {
            None => (0, 0, None),
            Some(address) => (ingress_flag::ADDRESSED, address.to.0, address.message_type),
        };
        let header = IngressHeader {
            kind: ingress_kind::MESSAGE,
            flags: addressed
                | if options.tell_failed { ingress_flag::TELL_FAILED } else { 0 }
                | if call.is_some() { ingress_flag::CALL } else { 0 },
            client: client.0,
            stamp,
            correlation: options.correlation,
            recipient,
            message_type: message_type.map_or(u32::MAX, MessageType::label),
            call: call.map_or(0, |call| call.0),
        };
        let shared = &self.shared;
        let slot = shared.clients.slot(client.index()).ok_or(SubmitError::StaleClient)?;
        shared.permits.admit(&mut self.spare)?;
        let worker = place_message(shared, &self.out.ways, slot, self.last, self.index, &mut self.writer);
        self.out.push_message(&shared.payloads, worker, header, message)?;
        slot.submit();
        // The turn of `round_robin` goes over the workers with threads; a local worker is not among them.
        if worker < shared.placement.threaded() {
            self.last = worker;
        }
        shared.permits.spend(&mut self.spare);
        self.charge(client);
        Ok(worker)
    }

    /// Takes the token-bucket token of an accepted message.
    #[inline]
    fn charge(&self, client: ClientId) {
        if let Some(bucket) = self.shared.buckets.get(client.index() as usize) {
            bucket.take(self.shared.rate);
        }
    }

    /// The checks for every message, submitted or sent.
    #[inline(always)]
    pub(super) fn check(&self, bytes: usize) -> Result<(), SubmitError> {
        if bytes > self.max_message {
            return Err(SubmitError::TooLarge);
        }
        // Relaxed: see `Router::drain`.
        if self.shared.draining.load(Relaxed) {
            return Err(SubmitError::Draining);
        }
        Ok(())
    }

    /// The worker of a new client. On a local port that is the port's own worker, for good, unless a handler of the
    /// client's protocol may block. The choice is made per client and not per type, because messages of a type that
    /// another worker handles would be overtaken (I5). Otherwise the worker is the first one of the client: by hash, or
    /// the least loaded one.
    fn first_worker(&self, protocol: u16, hash: u64) -> Result<usize, ConnectError> {
        let rules = self.shared.protocols.get(usize::from(protocol));
        let may_block = rules.is_none_or(|rules| rules.may_block);
        if let Some(home) = self.home.filter(|_| !may_block) {
            return Ok(home);
        }
        let placement = &self.shared.placement;
        if placement.threaded() == 0 {
            let name = rules.map_or("", |rules| rules.rules.name());
            return Err(ConnectError::MayBlock(name.to_owned()));
        }
        let by_hash = placement.by_hash(Placement::hash_part(hash));
        Ok(match placement.balance {
            Balance::LeastLoaded => {
                placement.least(by_hash, |worker| load(&self.shared, &self.out.ways, worker))
            }
            Balance::Hash | Balance::RoundRobin => by_hash,
        })
    }

    /// Gives back the permits that no message uses.
    pub(super) fn return_spare(&mut self) {
        if self.spare > 0 {
            self.shared.permits.give(std::mem::take(&mut self.spare));
        }
    }

    /// See [`Port::publish`](crate::router::Port::publish).
    pub(in crate::router) fn publish(&mut self) {
        self.return_spare();
        let mut any = false;
        for (worker, way) in self.out.ways.iter_mut().enumerate() {
            if way.dirty && way.ring.publish() {
                self.out.link.published(worker, &mut way.ring);
                any = true;
            }
        }
        if !any {
            return;
        }
        after_publishing(|| {
            for (worker, way) in self.out.ways.iter_mut().enumerate() {
                if std::mem::take(&mut way.dirty) {
                    self.shared.workers[worker].bell.wake().wake_if_asleep();
                }
            }
        });
    }

    /// See [`Port::release_name`](crate::router::Port::release_name).
    pub(in crate::router) fn release_name(&mut self, client: ClientId) -> Result<(), ClientError> {
        let slot = self.shared.clients.open_on(client, self.index)?;
        self.shared.clients.remove_name(client, slot);
        Ok(())
    }

    /// See [`Port::join`](crate::router::Port::join).
    pub(in crate::router) fn join(&mut self, client: ClientId, room: &str) -> Result<RoomId, JoinError> {
        self.check_open(client)?;
        let clients = &self.shared.clients;
        self.shared.rooms.join(client, self.index as u16, room, || clients.is_open(client))
    }

    /// See [`Port::leave`](crate::router::Port::leave).
    pub(in crate::router) fn leave(&mut self, client: ClientId, room: RoomId) -> Result<(), LeaveError> {
        self.check_open(client)?;
        self.shared.rooms.leave(client, room)
    }

    /// Checks that a client belongs to this port and is open.
    fn check_open(&self, client: ClientId) -> Result<(), ClientError> {
        self.shared.clients.open_on(client, self.index).map(|_| ())
    }

    /// The ingress ring to a worker.
    pub(in crate::router) fn memory(&self, worker: usize) -> Option<&Arc<Memory>> {
        self.out.ways.get(worker).map(|way| way.ring.memory())
    }
}

/// A worker's load in records: what it found waiting in its last cycle, plus what this port has pushed and the
/// worker has not taken.
fn load(shared: &Shared, ways: &[IngressSender], worker: usize) -> u64 {
    let own =
        ways.get(worker).map_or(0, |way| way.ring.pushed().saturating_sub(way.ring.memory().traffic().1));
    shared.workers[worker].shard.load.get() + own
}

/// The worker for a client's next message. A client moves only while it is quiet, and a local worker's client never.
#[inline]
fn place_message(
    shared: &Shared,
    ways: &[IngressSender],
    slot: &ClientSlot,
    last: usize,
    port: usize,
    writer: &mut Writer,
) -> usize {
    let (current, hash) = slot.current();
    let placement = &shared.placement;
    if ways.len() == 1 || current >= placement.threaded() {
        return current;
    }
    let least = || placement.least(current, |worker| load(shared, ways, worker));
    let wanted = match placement.balance {
        Balance::RoundRobin => return placement.after(last),
        Balance::Hash => placement.by_hash(hash),
        Balance::LeastLoaded if placement.usable() & 1 << current == 0 => least(),
        // Compare loads only if the client can move; a worker with no waiting records cannot be improved on.
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
        if placement.is_lost(current) {
            shared.follow_lanes(current);
        }
        return current;
    }
    counts.moves_made.add(writer, 1);
    slot.move_to(wanted);
    wanted
}
