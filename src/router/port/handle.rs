//! [`Port`]: the host's handle to the router, with one ingress ring to each worker and one egress ring from
//! each. One owner at a time, on any thread. The calls pass on to the two halves: `submit`, from which a
//! message goes to its worker, and `poll`, which hands out what comes back. [`Port::share`] puts the submitting
//! half behind a lock (`shared`), for hosts whose threads come and go.
//!
//! Used by `router` (opening a port), `route` (further calls of `Port`), and `shared` (the lease).

use crate::clients::{ClientId, ClientName, Outstanding, RoomId};
use crate::clock::Stamp;
use crate::config::Key;
use crate::error::{
    ClientError, Closed, ConnectError, CycleError, JoinError, LeaveError, NoLocalWorker, PortError,
    StaleClient, StaleRoom, SubmitError, TrySubmitError, Unacknowledged,
};
use crate::park::WakeWord;
use crate::ring::{Consumer, Producer};
use crate::router::local::Seat;
use crate::router::opening;
use crate::router::pair::Pair;
use crate::router::payload::{Owned, Returned, Way};
use crate::router::port::batch::{Batch, Polled, sealed};
use crate::router::port::connect::ConnectOptions;
use crate::router::port::event::Event;
use crate::router::port::ingress::{IngressSender, IngressSenders};
use crate::router::port::link::PortLink;
use crate::router::port::poll::{EgressReceiver, PollHalf};
use crate::router::port::send::SendOptions;
use crate::router::port::submit::{Entered, SubmitHalf, SubmitOptions};
use crate::router::rules::MessageType;
use crate::router::settle::untaken_deliveries;
use crate::router::shared::Shared;
use crate::sync::{Arc, Relaxed, lock};
use std::ops::ControlFlow;
#[cfg(not(corelane_loom))]
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// A host thread's handle to the router. `Send`, not `Sync`. Dropping it disconnects its clients; deliveries
/// that are not polled become undeliverable.
///
/// ```
/// use corelane::{config::Config, router::{Builder, Event}};
/// use std::time::Duration;
///
/// let router = Builder::new(Config::default()).start()?;
/// let mut port = router.port()?;
/// let ann = port.connect("ann", "generic", "my-app", 1)?; // 1 is the token of your socket.
/// port.submit(ann, br#"{"type":"offer","to":"ann"}"#, 7)?; // 7 is your number for the message.
/// port.publish(); // Once for all that was submitted.
/// port.wait(Duration::from_secs(5)); // An event loop calls `arm` and waits for `as_fd` instead.
/// let mut batch = port.poll(256)?;
/// while let Some(event) = batch.next() {
///     if let Event::Message(message) = event {
///         let (client, bytes) = (message.client, message.payload.len() as u32);
///         // Write message.payload to the socket of message.token. When it is written:
///         batch.port().acknowledge(client, 1, bytes);
///     }
/// }
/// drop(batch);
/// port.disconnect(ann)?; // `Event::Closed` is the client's last event.
/// # Ok::<(), corelane::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Port {
    pub(in crate::router) submit: SubmitHalf,
    pub(in crate::router) poll: PollHalf,
    /// Detaches the pairs when the port, or the poller of a shared port, is dropped.
    pub(in crate::router) lease: Lease,
}

impl Port {
    /// Opens a port, with the local worker of a `seat` that the caller has taken for it. `cycle` drives the local workers
    /// that only this thread can drive, and returns how much work they have done.
    pub(in crate::router) fn open(
        shared: &Arc<Shared>,
        seat: Option<&Arc<Seat>>,
        cycle: impl Fn() -> usize,
    ) -> Result<Self, PortError> {
        opening::open(shared, cycle, || Self::try_open(shared, seat))
    }

    /// The port; or else whether one becomes free once the workers have left a released port's pairs.
    fn try_open(shared: &Arc<Shared>, seat: Option<&Arc<Seat>>) -> Result<Result<Self, bool>, PortError> {
        let mut control = lock(&shared.control);
        let workers = shared.workers.len();
        // The control lock is held, and a worker takes it when it becomes lost, so this list cannot become
        // outdated while pairs are attached.
        let lost: Vec<bool> = (0..workers).map(|worker| shared.placement.is_lost(worker)).collect();
        let index = match opening::free_place(shared, &control)? {
            Ok(index) => index,
            Err(waiting) => return Ok(Err(waiting)),
        };
        let wake = match seat {
            Some(seat) => Arc::clone(seat.wake()),
            None => Arc::new(WakeWord::descriptor()?),
        };
        let pairs: Vec<Pair> =
            (0..workers).map(|_| opening::pair(shared, &wake)).collect::<std::io::Result<_>>()?;
        let rings = pairs.iter().map(|pair| Arc::clone(&pair.ingress));
        let queue_messages = shared.config.get(Key::QueueMessages);
        let link = Arc::new(PortLink::new(Arc::clone(&wake), queue_messages, rings));
        let (mut ways_in, mut ways_out) = (Vec::with_capacity(workers), Vec::with_capacity(workers));
        for (worker, (pair, lost)) in pairs.into_iter().zip(&lost).enumerate() {
            let ring = Producer::new(Arc::clone(&pair.ingress));
            ways_in.push(IngressSender::new(ring, Arc::clone(&pair.counts), *lost));
            ways_out.push(EgressReceiver::new(Consumer::new(Arc::clone(&pair.egress)), *lost));
            if *lost {
                // The worker is lost and never takes this pair up. Closing both rings refuses every push.
                pair.ingress.close();
                pair.egress.close();
                continue;
            }
            control.pairs[shared.path(worker, index)] = Some(pair.clone());
            if shared.pair(worker, index).attach(pair).is_err() {
                debug_assert!(
                    false,
                    "the pair is free, and only the holder of the control lock attaches one"
                );
                return Ok(Err(true));
            }
            shared.workers[worker].bell.announce_attach();
        }
        control.port_open[index] = true;
        drop(control);
        let out = IngressSenders { index, ways: ways_in, link: Arc::clone(&link) };
        let attached =
            lost.iter().enumerate().fold(0, |bits, (worker, lost)| bits | u64::from(!lost) << worker);
        let mut submit = SubmitHalf::new(shared, out, shared.config.count(Key::MaxMessage));
        submit.home = seat.map(|seat| seat.index);
        let mut poll = PollHalf::new(shared, index, ways_out, link, wake);
        poll.seat = seat.cloned();
        Ok(Ok(Self { submit, poll, lease: Lease { shared: Arc::clone(shared), index, attached } }))
    }

    /// Connects a client to this port under a name. Messages that are held for the name are delivered to it.
    ///
    /// # Errors
    /// [`ConnectError`], with the reason.
    pub fn connect(
        &mut self,
        name: &str,
        protocol: &str,
        application: &str,
        token: u64,
    ) -> Result<ClientId, ConnectError> {
        self.connect_with(name, ConnectOptions::new(protocol, application, token))
    }

    /// As [`connect`](Self::connect), with all options of a client.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_with(
        &mut self,
        name: &str,
        options: ConnectOptions<'_>,
    ) -> Result<ClientId, ConnectError> {
        self.submit.connect(name, options)
    }

    /// Submits one message of a client. Its worker sees it after [`publish`](Self::publish). Every event that
    /// the message causes carries `correlation`.
    ///
    /// # Errors
    /// [`SubmitError`], the reason under which the refusal is counted.
    #[inline]
    pub fn submit(&mut self, client: ClientId, message: &[u8], correlation: u64) -> Result<(), SubmitError> {
        self.submit_with(client, message, SubmitOptions { correlation, ..SubmitOptions::default() })
    }

    /// As [`submit`](Self::submit), with the time at which the host read the message from its socket. The
    /// time since then counts as queue wait.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    #[inline]
    pub fn submit_at(
        &mut self,
        client: ClientId,
        message: &[u8],
        correlation: u64,
        stamp: Stamp,
    ) -> Result<(), SubmitError> {
        let options = SubmitOptions { correlation, stamp: Some(stamp), ..SubmitOptions::default() };
        self.submit_with(client, message, options)
    }

    /// As [`submit`](Self::submit), with all options of a message.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    #[inline]
    pub fn submit_with(
        &mut self,
        client: ClientId,
        message: &[u8],
        options: SubmitOptions,
    ) -> Result<(), SubmitError> {
        if let Entered::Base(reason) = self.submit.submit_with(client, message, options)? {
            self.lease.shared.run_base(reason, client, message);
        }
        Ok(())
    }

    /// As [`submit_with`](Self::submit_with), for a host that keeps the message and tries again when there is no room now.
    /// Such an attempt counts neither as a message nor as refused. After a full ring the port's descriptor becomes
    /// readable when there is room; publish what is submitted, and [`arm`](Self::arm), before waiting for it. After
    /// another limit it becomes readable when workers have ended messages of this port. The end of other ports' messages,
    /// and of held ones, is not announced: try again after a while, too. Once the router stops, no attempt finds the port
    /// full: it is refused as closed.
    ///
    /// # Errors
    /// [`TrySubmitError::Full`] without room, [`TrySubmitError::Refused`] otherwise.
    pub fn try_submit(
        &mut self,
        client: ClientId,
        message: &[u8],
        options: SubmitOptions,
    ) -> Result<(), TrySubmitError> {
        if let Entered::Base(reason) = self.submit.submit_if_room(client, message, options)? {
            self.lease.shared.run_base(reason, client, message);
        }
        Ok(())
    }

    /// As [`submit_with`](Self::submit_with), but the router takes ownership of the message instead of copying
    /// it. The message is dropped exactly once, on any thread, when nothing needs it any more. If the message
    /// is refused, the error returns it.
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
            // The message is in a ring. (A refusal without the message cannot happen.)
            _ => {}
        }
        Ok(())
    }

    /// Submits many messages in order and publishes once. After each message `each` gets its index and its
    /// result, and says whether to continue. To keep the order of a client's messages, stop at the first
    /// refusal as full. Returns how many messages were accepted.
    pub fn submit_batch<'a>(
        &mut self,
        batch: impl IntoIterator<Item = (ClientId, &'a [u8], u64)>,
        each: impl FnMut(usize, Result<(), SubmitError>) -> ControlFlow<()>,
    ) -> usize {
        let accepted =
            one_by_one(batch, |client, message, correlation| self.submit(client, message, correlation), each);
        self.publish();
        accepted
    }

    /// Sends a message of the host to a client of this or another port. Its worker sees it after
    /// [`publish`](Self::publish). It is delivered unchanged, uses the client's credit, has no sender
    /// ([`DeliveredMessage::sender`](crate::router::DeliveredMessage::sender) is `None`), and counts as the
    /// type in the options, without one as type `send` of the client's protocol. If it fails after this call has
    /// accepted it, this port gets [`Event::SendFailed`]. Sends to one client through one port arrive in order,
    /// whatever their types. `max_queue_wait_ms` applies to them as well.
    ///
    /// ```
    /// use corelane::{config::Config, router::{Builder, SendOptions}};
    ///
    /// let mut config = Config::default();
    /// config.router.workers = Some(1);
    /// let (router, mut workers) = Builder::new(config).build()?;
    /// let mut port = router.port()?;
    /// let ann = port.connect("ann", "peerjs", "", 1)?;
    /// let offer = port.message_type("peerjs", "OFFER").unwrap();
    /// port.send(ann, b"{}", SendOptions::from(7).message_type(offer))?;
    /// port.send(ann, b"{}", 8)?; // Only a correlation: counts as `send`.
    /// port.publish();
    /// workers[0].cycle(port.clock().now());
    /// let stats = router.stats();
    /// let counted = stats.types.iter().filter(|one| one.succeeded > 0).map(|one| one.name.as_str());
    /// assert_eq!(counted.collect::<Vec<_>>(), ["OFFER", "send"]);
    /// # Ok::<(), corelane::error::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`SubmitError`], the reason under which the refusal is counted; [`SubmitError::StaleClient`] if the client is not
    /// connected any more.
    #[inline]
    pub fn send(
        &mut self,
        to: ClientId,
        message: &[u8],
        options: impl Into<SendOptions>,
    ) -> Result<(), SubmitError> {
        self.submit.send(to, message, options.into())
    }

    /// As [`send`](Self::send), for a host that keeps the message and tries again when there is no room now, as with
    /// [`try_submit`](Self::try_submit).
    ///
    /// # Errors
    /// As [`try_submit`](Self::try_submit).
    pub fn try_send(
        &mut self,
        to: ClientId,
        message: &[u8],
        options: impl Into<SendOptions>,
    ) -> Result<(), TrySubmitError> {
        self.submit.send_if_room(to, message, options.into())
    }

    /// As [`send_to_room`](Self::send_to_room), for a host that keeps the message and tries again, as with
    /// [`try_submit`](Self::try_submit).
    ///
    /// # Errors
    /// As [`try_submit`](Self::try_submit).
    pub fn try_send_to_room(
        &mut self,
        room: RoomId,
        message: &[u8],
        options: impl Into<SendOptions>,
    ) -> Result<(), TrySubmitError> {
        self.submit.send_to_room_if_room(room, message, options.into())
    }

    /// Sends a message of the host to all members of a room, as [`send`](Self::send). Each member gets it on its own
    /// credit; a member without credit, or with a full port, costs only its own delivery, which counts as undeliverable
    /// with the reason. The message counts under the protocol and application of one member. Sends to one room
    /// through one port arrive in order at each member; sends to the room and to its members singly have no order among
    /// each other. If the room is gone when the worker handles the message, it fails as `unknown_room`. In a cluster the
    /// members on other machines get it too, if the room has a member here.
    ///
    /// # Errors
    /// As [`send`](Self::send), but not stale.
    pub fn send_to_room(
        &mut self,
        room: RoomId,
        message: &[u8],
        options: impl Into<SendOptions>,
    ) -> Result<(), SubmitError> {
        self.submit.send_to_room(room, message, options.into())
    }

    /// Sends many messages, as [`submit_batch`](Self::submit_batch).
    pub fn send_batch<'a>(
        &mut self,
        batch: impl IntoIterator<Item = (ClientId, &'a [u8], impl Into<SendOptions>)>,
        each: impl FnMut(usize, Result<(), SubmitError>) -> ControlFlow<()>,
    ) -> usize {
        let accepted = one_by_one(batch, |to, message, options| self.send(to, message, options), each);
        self.publish();
        accepted
    }

    /// As [`Router::message_type`](crate::router::Router::message_type).
    pub fn message_type(&self, protocol: &str, name: &str) -> Option<MessageType> {
        self.lease.shared.message_type(protocol, name)
    }

    /// Makes the submitted messages visible to the workers and wakes the sleeping ones. Call it once per batch.
    pub fn publish(&mut self) {
        self.submit.publish();
    }

    /// Starts a client's disconnect. Its name is free at once. Messages that it has submitted are still
    /// handled, and [`Event::Closed`] follows them. Later submissions are refused as stale.
    ///
    /// # Errors
    /// [`ClientError::StaleClient`] if the client is not connected, [`ClientError::WrongPort`] if it belongs to another
    /// port.
    pub fn disconnect(&mut self, client: ClientId) -> Result<(), ClientError> {
        self.submit.disconnect(client)
    }

    /// Frees a client's name for others; the client stays connected. See [`Event::Left`].
    ///
    /// # Errors
    /// [`ClientError::StaleClient`] if the client is not connected, [`ClientError::WrongPort`] if it belongs to another
    /// port.
    pub fn release_name(&mut self, client: ClientId) -> Result<(), ClientError> {
        self.submit.release_name(client)
    }

    /// Puts a client into a room and creates the room if it does not exist. From now on the client gets the
    /// messages that other members send there, and may send there itself. Joining a room twice has no further
    /// effect. Messages that are still on their way to a worker use the membership at the time when the worker
    /// handles them. Clients of different ports may be in one room, and no member waits for another.
    ///
    /// # Errors
    /// [`JoinError`], with the reason. After [`JoinError::ListsInUse`] the caller may retry.
    pub fn join(&mut self, client: ClientId, room: &str) -> Result<RoomId, JoinError> {
        self.submit.join(client, room)
    }

    /// Takes a client out of a room. Messages that were relayed before may still arrive. A disconnect leaves
    /// all rooms.
    ///
    /// # Errors
    /// [`LeaveError`], with the reason. After [`LeaveError::ListsInUse`] the caller may retry.
    pub fn leave(&mut self, client: ClientId, room: RoomId) -> Result<(), LeaveError> {
        self.submit.leave(client, room)
    }

    /// The members of a room, of all ports. The list is a copy: other threads may join, leave and disconnect clients
    /// as soon as it is made. Making it waits for a join or leave on another port, and these wait for it; no worker
    /// waits.
    ///
    /// # Errors
    /// [`StaleRoom`] if the room's last member has left.
    pub fn members(&self, room: RoomId) -> Result<Vec<ClientId>, StaleRoom> {
        self.lease.shared.rooms.members(room)
    }

    /// The rooms of a client of this or another port, in the order of its joins. A copy, as for
    /// [`members`](Self::members).
    ///
    /// # Errors
    /// [`StaleClient`] if the client is not connected.
    pub fn rooms_of(&self, client: ClientId) -> Result<Vec<RoomId>, StaleClient> {
        self.lease.shared.rooms_of(client)
    }

    /// Returns a batch that lends up to `limit` events. A message to a room counts once for each recipient; if the limit
    /// ends in the middle of one, the next poll continues there.
    ///
    /// # Errors
    /// [`Closed`] once the router has stopped and everything has been handed out. Clients that are still connected then
    /// can be disconnected: the next poll hands out their [`Event::Closed`], and the poll after that says closed again.
    pub fn poll(&mut self, limit: usize) -> Result<Batch<'_, Self>, Closed> {
        Batch::begin(self, limit)
    }

    /// As [`poll`](Self::poll), with each event passed to `each`. `each` must not block, because nothing else on this port
    /// proceeds meanwhile. Returns how many recipients were taken, including those whose client is closed, for whom there
    /// is no event.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn poll_each(&mut self, limit: usize, each: impl FnMut(Event<'_>)) -> Result<usize, Closed> {
        Ok(self.poll(limit)?.for_each(each))
    }

    /// The part of a poll that the submitting half does.
    pub(in crate::router) fn follow_up(&mut self) {
        drop(self.submit.follow_up());
        self.lease.shared.rooms.follow_up();
    }

    /// Gives back the ring space of what was handed out, and wakes workers that wait for the space.
    pub(crate) fn release(&mut self) {
        self.poll.release();
    }

    /// Reports that this many messages and bytes handed out for a client have been written, or thrown away.
    /// This returns the client's credit, never more than was handed out. After [`Event::Closed`] it does
    /// nothing.
    pub fn acknowledge(&mut self, client: ClientId, messages: u32, bytes: u32) {
        self.poll.acknowledge_batch([(client, messages, bytes)]);
    }

    /// As [`acknowledge`](Self::acknowledge), for a batch of (client, messages, bytes). The clock is read at
    /// most once.
    pub fn acknowledge_batch(&mut self, written: impl IntoIterator<Item = (ClientId, u32, u32)>) {
        self.poll.acknowledge_batch(written);
    }

    /// Gives a connected client another token, for a peer that reconnects on another connection. Everything
    /// handed out after this call carries the new token. What was handed out before stays unacknowledged:
    /// acknowledge it, written or thrown away.
    ///
    /// # Errors
    /// [`ClientError::StaleClient`] if the client is not connected or is closing, [`ClientError::WrongPort`] if it
    /// belongs to another port: disconnect it there, then connect it here.
    pub fn rebind(&mut self, client: ClientId, token: u64) -> Result<(), ClientError> {
        self.poll.rebind(client, token)
    }

    /// What a client has unacknowledged now, and the most that it has had handed out and unacknowledged at the
    /// same time, since its connect. Workers may add to it meanwhile.
    ///
    /// # Errors
    /// [`ClientError::StaleClient`] if the client is not connected, [`ClientError::WrongPort`] if it belongs to another
    /// port.
    pub fn outstanding(&self, client: ClientId) -> Result<Outstanding, ClientError> {
        self.poll.outstanding(client)
    }

    /// Runs one cycle of the port's local worker, after publishing what was submitted. Call it between reading and
    /// writing the sockets, and poll afterwards. Returns how much work was done; if that and the poll are 0, the loop
    /// may [`arm`](Self::arm) and wait.
    ///
    /// # Errors
    /// [`CycleError::NoLocalWorker`] if the port has no local worker: open it with
    /// [`Router::local_port`](crate::router::Router::local_port). [`CycleError::Closed`]
    /// once the worker has stopped; poll until the poll says so as well.
    pub fn cycle(&mut self) -> Result<usize, CycleError> {
        self.poll.end_wait(); // Publishing must not signal this thread.
        self.submit.publish();
        self.poll.cycle()
    }

    /// When the loop must call [`cycle`](Self::cycle) again even if nothing arrives: the time until a held message
    /// expires, in whole milliseconds, rounded up. `None` if nothing is due. Ask after the poll.
    ///
    /// # Errors
    /// [`NoLocalWorker`] if the port has no local worker.
    pub fn next_due(&self) -> Result<Option<Duration>, NoLocalWorker> {
        self.poll.next_due()
    }

    /// The loop is awake, whatever has ended its wait. Call it first after each wait: until then other threads, and
    /// this one, may pay for a signal that nobody needs. `reported`: the poller has reported the descriptor; it is
    /// read then, and only then. Without this call the next [`poll`](Self::poll) or [`cycle`](Self::cycle) reads the
    /// descriptor in any case.
    pub fn awake(&mut self, reported: bool) {
        self.poll.awake(reported);
    }

    /// Publishes, and announces that the host is about to wait for the port's descriptor
    /// ([`as_fd`](std::os::fd::AsFd::as_fd)). False means that there is something
    /// to poll already, or for the local worker to do, or space again after a refusal as full: cycle, poll, or submit
    /// again, before waiting.
    pub fn arm(&mut self) -> bool {
        self.poll.awake(false); // Publishing must not signal this thread.
        self.submit.publish();
        self.poll.arm()
    }

    /// Waits until there is something to poll, or for the local worker to do, or `timeout` is over. For hosts without
    /// an event loop.
    pub fn wait(&mut self, timeout: Duration) {
        self.submit.publish();
        self.poll.wait(timeout);
    }

    /// Whether there is something to poll.
    pub fn has_news(&self) -> bool {
        self.poll.has_news()
    }

    /// Whether the router has stopped and everything has been handed out, so that [`poll`](Self::poll) reports
    /// closed.
    pub fn is_over(&self) -> bool {
        self.poll.is_over()
    }

    /// What the port's owner sleeps on, for a wait outside of the port and for ending one.
    #[cfg(not(corelane_loom))]
    pub(crate) fn waker(&self) -> Arc<WakeWord> {
        Arc::clone(self.poll.wake())
    }

    /// The two rings between this port and a worker: ingress and egress.
    #[cfg(all(any(test, feature = "ffi-test"), not(corelane_loom)))]
    pub(crate) fn memories(&self, worker: usize) -> Option<(&crate::ring::Memory, &crate::ring::Memory)> {
        Some((self.submit.memory(worker)?, self.poll.memory(worker)?))
    }

    /// The name of a connected client, of any port.
    pub fn name(&self, client: ClientId) -> Option<ClientName> {
        self.lease.shared.clients.name(client)
    }

    /// When the client's worker last handled a keep-alive of the client; `None` for never.
    pub fn alive_at(&self, client: ClientId) -> Option<Stamp> {
        let clients = &self.lease.shared.clients;
        // Relaxed: a single value for a timer, with no data behind it.
        let alive_at = clients.get(client).map_or(0, |slot| slot.alive_at.load(Relaxed));
        // If the client is gone, the value may belong to the next client of the slot.
        clients.get(client).filter(|_| alive_at > 0).map(|_| Stamp(alive_at))
    }

    /// The router's clock.
    pub fn clock(&self) -> &crate::clock::Clock {
        &self.lease.shared.clock
    }

    /// Whether the router is running.
    pub fn is_running(&self) -> bool {
        self.lease.shared.is_running()
    }
}

/// The descriptor that becomes readable when there is something to poll, or for the local worker, or when there is space
/// after a refusal as full. Call [`Port::arm`] before waiting for it, and again after a refusal as full. Only
/// [`Port::awake`] reads it. A copy of the descriptor stays open without the port; a copy of a local port's means the
/// local worker's next port then.
#[cfg(not(corelane_loom))]
impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}

impl Polled for Port {}

impl sealed::Polled for Port {
    #[expect(private_interfaces, reason = "sealed: no other crate can name it")]
    #[inline]
    fn half(&mut self) -> &mut PollHalf {
        &mut self.poll
    }

    fn follow_up(&mut self) {
        Self::follow_up(self);
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.lease.give_up(&mut self.submit, &mut self.poll);
    }
}

/// The attached pairs of one port.
#[derive(Debug)]
pub(in crate::router) struct Lease {
    pub(in crate::router) shared: Arc<Shared>,
    pub(in crate::router) index: usize,
    /// One bit per worker whose pair with this port is attached.
    pub(in crate::router) attached: u64,
}

impl Lease {
    /// Disconnects the port's clients and leaves every pair. Settles the pairs that their workers have already
    /// left. The second call does nothing.
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
            if let Some((forgiven, _)) = shared.clients.end_close(client) {
                poll.forgive(forgiven, Unacknowledged::PortGone);
            }
            shared.rooms.leave_all(client);
        }
        for worker in (0..shared.workers.len()).filter(|worker| self.attached & 1 << worker != 0) {
            shared.pair(worker, index).leave(|pair| {
                drop(submit.settle_with(worker, &pair, |_| (), |_| ()));
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
        drop(control);
        poll.leave_seat();
    }
}

/// Passes each element of a batch to `one`, in order, until `each` breaks. Returns how many were
/// accepted.
pub(in crate::router) fn one_by_one<'a, O>(
    batch: impl IntoIterator<Item = (ClientId, &'a [u8], O)>,
    mut one: impl FnMut(ClientId, &[u8], O) -> Result<(), SubmitError>,
    mut each: impl FnMut(usize, Result<(), SubmitError>) -> ControlFlow<()>,
) -> usize {
    let mut accepted = 0;
    for (place, (client, message, options)) in batch.into_iter().enumerate() {
        let result = one(client, message, options);
        accepted += usize::from(result.is_ok());
        if each(place, result).is_break() {
            break;
        }
    }
    accepted
}
