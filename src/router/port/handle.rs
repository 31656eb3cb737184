//! A host's handle: one ring to each worker, one back from each. One owner at a time, any thread. Its two halves are
//! `submit` and `poll`; [`Port::share`] puts the first behind a lock, for hosts whose threads come and go.

use crate::clients::{ClientId, Outstanding, RoomId};
use crate::config::Key;
use crate::error::{Error, Unacknowledged};
use crate::park::WakeWord;
use crate::ring::{AttachState, Consumer, Memory, Producer};
use crate::router::pair::{Pair, PairCounts};
use crate::router::payload::{Owned, Returned, Way};
use crate::router::port::connect::ConnectOptions;
use crate::router::port::ingress::{IngressSender, IngressSenders};
use crate::router::port::link::PortLink;
use crate::router::port::poll::{EgressReceiver, Event, PollHalf};
use crate::router::port::submit::{Entered, SubmitHalf, SubmitOptions};
use crate::router::settle::untaken_deliveries;
use crate::router::shared::{RouterState, Shared};
use crate::sync::{Arc, Relaxed, lock};
use std::time::Duration;

/// A port. `Send`, not `Sync`. Dropping it disconnects its clients and gives up what it has not polled.
#[derive(Debug)]
pub struct Port {
    pub(in crate::router) submit: SubmitHalf,
    pub(in crate::router) poll: PollHalf,
    /// Another language drives the rings (`inline`).
    #[cfg(not(corelane_loom))]
    pub(in crate::router) inline: bool,
    /// Leaves the workers when the port, or the poller that it was shared with, goes.
    pub(in crate::router) lease: Lease,
}

impl Port {
    pub(in crate::router) fn open(shared: &Arc<Shared>) -> Result<Self, Error> {
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
        // Under the control lock, which a worker takes as it is lost: from then on no pair is attached to it.
        let lost: Vec<bool> = (0..workers).map(|worker| shared.placement.is_lost(worker)).collect();
        let is_free =
            |port: usize| (0..workers).all(|one| shared.pair(one, port).state() == AttachState::Free);
        let mut unused = (0..shared.ports.len()).filter(|port| !control.port_open[*port]);
        let Some(index) = unused.clone().find(|port| is_free(*port)) else {
            return Ok(Err(unused.next().is_some()));
        };
        let wake = Arc::new(WakeWord::descriptor()?);
        let capacity = shared.config.count(Key::RingBytes);
        let stamps = shared.clock.source() as u64;
        let backlog = shared.config.count(Key::BacklogBytes);
        let touch = shared.config.touches();
        let memory = || {
            let memory = Memory::reserve(capacity, touch)?;
            memory.set_stamp_source(stamps);
            Ok::<_, std::io::Error>(Arc::new(memory))
        };
        let pairs: Vec<Pair> = (0..workers)
            .map(|_| {
                let backlog = Arc::new(Memory::reserve(backlog, touch)?);
                let (port_wake, counts) = (Arc::clone(&wake), Arc::new(PairCounts::new()));
                Ok(Pair { ingress: memory()?, egress: memory()?, backlog, port_wake, counts })
            })
            .collect::<std::io::Result<_>>()?;
        let rings = pairs.iter().map(|pair| Arc::clone(&pair.ingress));
        let queue_messages = shared.config.get(Key::QueueMessages);
        let link = Arc::new(PortLink::new(Arc::clone(&wake), queue_messages, rings));
        let (mut ways_in, mut ways_out) = (Vec::with_capacity(workers), Vec::with_capacity(workers));
        for (worker, (pair, lost)) in pairs.into_iter().zip(&lost).enumerate() {
            let ring = Producer::new(Arc::clone(&pair.ingress));
            ways_in.push(IngressSender::new(ring, Arc::clone(&pair.counts), *lost));
            ways_out.push(EgressReceiver::new(Consumer::new(Arc::clone(&pair.egress)), *lost));
            if *lost {
                // Nobody takes this pair up: nothing is accepted into its ring, and nothing comes.
                pair.ingress.close();
                pair.egress.close();
                continue;
            }
            control.pairs[shared.path(worker, index)] = Some(pair.clone());
            if shared.pair(worker, index).attach(pair).is_err() {
                return Err(Error::State("a free pair was attached by another: this is a defect"));
            }
            shared.workers[worker].bell.announce_attach();
        }
        control.port_open[index] = true;
        drop(control);
        let out = IngressSenders { index, ways: ways_in, link: Arc::clone(&link) };
        let attached =
            lost.iter().enumerate().fold(0, |bits, (worker, lost)| bits | u64::from(!lost) << worker);
        Ok(Ok(Self {
            submit: SubmitHalf::new(shared, out, shared.config.count(Key::MaxMessage)),
            poll: PollHalf::new(shared, index, ways_out, link, wake),
            #[cfg(not(corelane_loom))]
            inline: false,
            lease: Lease { shared: Arc::clone(shared), index, attached },
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
        self.connect_with(name, ConnectOptions::new(protocol, application, token))
    }

    /// As [`connect`](Self::connect), with all that a client can be given.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_with(&mut self, name: &str, options: ConnectOptions<'_>) -> Result<ClientId, Error> {
        self.submit.connect(name, options)
    }

    /// Submits one of a client's messages; visible to its worker after [`publish`](Self::publish).
    /// `correlation` comes back with what the message causes.
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason under which it is counted.
    #[inline]
    pub fn submit(&mut self, client: ClientId, message: &[u8], correlation: u64) -> Result<(), Error> {
        self.submit_with(client, message, SubmitOptions { correlation, ..SubmitOptions::default() })
    }

    /// As [`submit`](Self::submit), with the moment (in the clock's raw ticks) at which the host read the message
    /// from its socket, so that the time until now counts as waiting.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    #[inline]
    pub fn submit_at(
        &mut self,
        client: ClientId,
        message: &[u8],
        correlation: u64,
        stamp: u64,
    ) -> Result<(), Error> {
        let options = SubmitOptions { correlation, stamp: Some(stamp), ..SubmitOptions::default() };
        self.submit_with(client, message, options)
    }

    /// As [`submit`](Self::submit), with all that a message can be submitted with.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    #[inline]
    pub fn submit_with(
        &mut self,
        client: ClientId,
        message: &[u8],
        options: SubmitOptions,
    ) -> Result<(), Error> {
        if let Entered::Base(reason) = self.submit.submit_with(client, message, options)? {
            self.lease.shared.run_base(reason, client, message);
        }
        Ok(())
    }

    /// As [`submit_with`](Self::submit_with), giving the message away instead of having it copied: it is dropped once,
    /// on any thread, when nobody needs it any more. It comes back where it is refused.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), with the message.
    pub fn submit_owned(
        &mut self,
        client: ClientId,
        message: Owned,
        options: SubmitOptions,
    ) -> Result<(), Returned> {
        let length = (*message).as_ref().len();
        let mut place = Some(message);
        let entered = self.submit.submit_owned(client, &mut place, length, options);
        match (entered, place) {
            (Err(error), Some(message)) => return Err(Returned { error, message }),
            (Ok(Entered::Base(reason)), Some(message)) => {
                self.lease.shared.run_base(reason, client, (*message).as_ref());
            }
            // It is in a ring; or refused and not given back, which cannot be.
            _ => {}
        }
        Ok(())
    }

    /// Submits many messages, in order, and publishes once. `each` is told how each fared, by its place, and says
    /// whether to go on: a host that wants its clients' order kept stops at the first refusal as full. Returns how many
    /// were accepted.
    pub fn submit_batch<'a>(
        &mut self,
        batch: impl IntoIterator<Item = (ClientId, &'a [u8], u64)>,
        each: impl FnMut(usize, Result<(), Error>) -> bool,
    ) -> usize {
        let accepted =
            one_by_one(batch, |client, message, correlation| self.submit(client, message, correlation), each);
        self.publish();
        accepted
    }

    /// Sends a host's own message to a client, this port's or another's; visible after [`publish`](Self::publish). It is
    /// delivered as it is, on the client's credit, with no sender ([`DeliveredMessage::sender`](crate::router::DeliveredMessage::sender) is
    /// `ClientId(0)`), and counted as type `send` of the client's protocol. Sends to one client through one port arrive in
    /// their order. `max_queue_wait_ms` holds for them as well.
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason under which it is counted; as stale if the client is gone for good.
    #[inline]
    pub fn send(&mut self, to: ClientId, message: &[u8], correlation: u64) -> Result<(), Error> {
        self.submit.send(to, message, correlation)
    }

    /// Sends many, as [`submit_batch`](Self::submit_batch).
    pub fn send_batch<'a>(
        &mut self,
        batch: impl IntoIterator<Item = (ClientId, &'a [u8], u64)>,
        each: impl FnMut(usize, Result<(), Error>) -> bool,
    ) -> usize {
        let accepted =
            one_by_one(batch, |to, message, correlation| self.send(to, message, correlation), each);
        self.publish();
        accepted
    }

    /// Makes what was submitted visible to the workers and wakes those that sleep: once per batch.
    pub fn publish(&mut self) {
        self.submit.publish();
    }

    /// Starts a client's disconnect: its name is free at once, what it submitted is still handled, and
    /// [`Event::Closed`] comes behind it. Later submissions are refused as stale.
    ///
    /// # Errors
    /// [`Error::StaleClient`] if it is not connected, [`Error::WrongPort`] if it is another port's.
    pub fn disconnect(&mut self, client: ClientId) -> Result<(), Error> {
        self.submit.disconnect(client)
    }

    /// Frees a client's name for others while it stays connected; see [`Event::Left`].
    ///
    /// # Errors
    /// [`Error::StaleClient`] if it is not connected, [`Error::WrongPort`] if it is another port's.
    pub fn release_name(&mut self, client: ClientId) -> Result<(), Error> {
        self.submit.release_name(client)
    }

    /// Puts a client into the room of that name, which it makes if there is none: from now on it gets what other members
    /// send there, and may send there itself. A member stays one. Its messages that are still on their way to their worker
    /// meet the room as it is when they arrive. Any port's members may be in one room; nobody waits for another.
    ///
    /// # Errors
    /// [`Error::StaleClient`], [`Error::WrongPort`], [`Error::NameLength`], [`Error::TooManyRooms`], [`Error::RoomFull`],
    /// [`Error::TooManyClientRooms`], and [`Error::RoomsBusy`], to be retried.
    pub fn join(&mut self, client: ClientId, room: &str) -> Result<RoomId, Error> {
        self.submit.join(client, room)
    }

    /// Takes a client out of a room. Messages relayed before may still come. A disconnect leaves every room by itself.
    ///
    /// # Errors
    /// [`Error::StaleClient`], [`Error::WrongPort`], [`Error::StaleRoom`], [`Error::NotAMember`], and [`Error::RoomsBusy`],
    /// to be retried.
    pub fn leave(&mut self, client: ClientId, room: RoomId) -> Result<(), Error> {
        self.submit.leave(client, room)
    }

    /// Hands out up to `limit` deliveries to `each`, which must not block: nothing else of this port moves
    /// meanwhile. Returns how many were taken, in recipients, those included whose client is closed and that only count;
    /// the next poll goes on where a limit came in the middle of a room's message.
    ///
    /// # Errors
    /// [`Refused::Closed`](crate::error::Refused::Closed) once the router has stopped and everything has been handed out.
    pub fn poll(&mut self, limit: usize, each: impl FnMut(Event<'_>)) -> Result<usize, Error> {
        let polled = self.take(limit, each);
        self.release();
        polled
    }

    /// As [`poll`](Self::poll), but what was handed out stays where it lies until [`release`](Self::release) or the
    /// next poll: for hosts that take views first and write afterwards.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn take(&mut self, limit: usize, each: impl FnMut(Event<'_>)) -> Result<usize, Error> {
        let taken = self.poll.take(limit, each);
        self.follow_up();
        taken.result()
    }

    /// What a poll leaves to the submitting half.
    pub(in crate::router) fn follow_up(&mut self) {
        drop(self.submit.follow_up());
        self.lease.shared.rooms.follow_up();
    }

    /// Gives back the ring space of what was handed out, and wakes workers that wait for it.
    pub fn release(&mut self) {
        self.poll.release();
    }

    /// Says that so many messages and bytes of what was handed out for a client have been written (or thrown
    /// away). Never gives back more than was handed out; after [`Event::Closed`] it does nothing.
    pub fn acknowledge(&mut self, client: ClientId, messages: u32, bytes: u32) {
        self.poll.acknowledge_batch([(client, messages, bytes)]);
    }

    /// As [`acknowledge`](Self::acknowledge) for each of a batch, with one look at the clock for all: per client how many
    /// messages and bytes have been written.
    pub fn acknowledge_batch(&mut self, written: impl IntoIterator<Item = (ClientId, u32, u32)>) {
        self.poll.acknowledge_batch(written);
    }

    /// Gives a connected client another token, for a peer that comes back on another connection: what is handed out
    /// after this returns carries it. What was handed out before and is not acknowledged still is outstanding:
    /// acknowledge it, written or thrown away.
    ///
    /// # Errors
    /// [`Error::StaleClient`] if it is not connected or is leaving, [`Error::RebindElsewhere`] if it is another port's:
    /// disconnect it there, then connect it here.
    pub fn rebind(&mut self, client: ClientId, token: u64) -> Result<(), Error> {
        self.poll.rebind(client, token)
    }

    /// What a client has outstanding now, and what it had handed out at most. Workers may add to it meanwhile.
    ///
    /// # Errors
    /// [`Error::StaleClient`] if it is not connected, [`Error::WrongPort`] if it is another port's.
    pub fn outstanding(&self, client: ClientId) -> Result<Outstanding, Error> {
        self.poll.outstanding(client)
    }

    /// The descriptor that becomes readable when there is something to poll, or space after a refusal as full.
    /// Call [`arm`](Self::arm) before waiting for it, and again after a refusal as full. It belongs to the port.
    pub fn descriptor(&self) -> i32 {
        self.poll.descriptor()
    }

    /// Says that the host is about to wait for the descriptor. False: something is there already, poll first.
    pub fn arm(&mut self) -> bool {
        self.poll.arm()
    }

    /// Waits until there is something to poll, or `timeout` is over; for hosts without an event loop.
    pub fn wait(&mut self, timeout: Duration) {
        self.poll.wait(timeout);
    }

    /// Whether something has come since the last poll.
    pub fn has_news(&self) -> bool {
        self.poll.has_news()
    }

    /// Whether the router has stopped and everything has been handed out: what poll says as closed.
    pub fn is_over(&self) -> bool {
        self.poll.is_over()
    }

    /// When the client's worker last saw a keep-alive, in the clock's raw ticks; 0 for never.
    pub fn alive_at(&self, client: ClientId) -> u64 {
        let clients = &self.lease.shared.clients;
        // Relaxed: a time, for a timer.
        let alive_at = clients.get(client).map_or(0, |slot| slot.alive_at.load(Relaxed));
        // Otherwise the slot is a later client's.
        if clients.get(client).is_some() { alive_at } else { 0 }
    }

    /// The router's clock.
    pub fn clock(&self) -> &crate::clock::Clock {
        &self.lease.shared.clock
    }

    /// Whether the router still runs.
    pub fn is_running(&self) -> bool {
        self.lease.shared.is_running()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        #[cfg(not(corelane_loom))]
        if self.inline {
            self.poll.take_over();
        }
        self.lease.give_up(&mut self.submit, &mut self.poll);
    }
}

/// A port's place at the workers.
#[derive(Debug)]
pub(in crate::router) struct Lease {
    pub(in crate::router) shared: Arc<Shared>,
    pub(in crate::router) index: usize,
    /// A bit for each worker whose pair with this port is attached.
    pub(in crate::router) attached: u64,
}

impl Lease {
    /// Disconnects the port's clients and leaves every pair, settling those that their workers have left. Once.
    pub(in crate::router) fn give_up(&self, submit: &mut SubmitHalf, poll: &mut PollHalf) {
        if self.attached == 0 && submit.out.ways.is_empty() {
            return;
        }
        submit.publish();
        submit.forget_waiting();
        poll.give_up_parts();
        poll.release();
        let (shared, index) = (&self.shared, self.index);
        for client in shared.clients.of_port(index as u16) {
            shared.clients.begin_close(client);
            let forgiven = shared.clients.end_close(client).unwrap_or(0);
            poll.forgive(forgiven, Unacknowledged::PortGone);
            shared.rooms.leave_all(client);
        }
        for worker in (0..shared.workers.len()).filter(|worker| self.attached & 1 << worker != 0) {
            shared.pair(worker, index).leave(|pair| {
                drop(submit.settle_with(worker, &pair, |_| ()));
                drop(shared.payloads.sweep(Way::Out, worker, index));
                poll.give_up(untaken_deliveries(&pair.egress, &shared.clients));
                shared.end_frontier(worker, index);
            });
            shared.workers[worker].bell.announce_attach();
        }
        poll.give_up_closings();
        let mut control = lock(&shared.control);
        for worker in 0..shared.workers.len() {
            control.pairs[shared.path(worker, index)] = None;
        }
        control.port_open[index] = false;
    }
}

/// Gives each of a batch to `one`, in order, until `each` has had enough. Says how many were accepted.
pub(in crate::router) fn one_by_one<'a>(
    batch: impl IntoIterator<Item = (ClientId, &'a [u8], u64)>,
    mut one: impl FnMut(ClientId, &[u8], u64) -> Result<(), Error>,
    mut each: impl FnMut(usize, Result<(), Error>) -> bool,
) -> usize {
    let mut accepted = 0;
    for (place, (client, message, correlation)) in batch.into_iter().enumerate() {
        let result = one(client, message, correlation);
        accepted += usize::from(result.is_ok());
        if !each(place, result) {
            break;
        }
    }
    accepted
}
