//! A port whose submitting half is behind a lock, for hosts whose threads come and go. The lock covers place,
//! claim, write and publish, so the messages of one client keep the order in which they were submitted. No host
//! code runs under the lock, and no thread sleeps there.
//!
//! Polling has one owner and never waits for the lock. Its work on the submitting half is done at once if the
//! lock is free, and otherwise by the lock's holder when it unlocks (`sync::Delegated`).
//!
//! The handles of a port that stay on one thread have the same calls and no lock (`sync::sharing`).
//!
//! Used by `handle` ([`Port::share`](crate::router::Port::share)) and `route` (synchronous calls). Messages go on through
//! `submit`; deliveries come through `poll`.

use crate::clients::{ClientId, ClientName, Outstanding, RoomId};
use crate::error::{
    ClientError, Closed, ConnectError, CycleError, JoinError, LeaveError, NoLocalWorker, StaleClient,
    StaleRoom, SubmitError, TrySubmitError,
};
use crate::router::port::batch::{Batch, Polled, sealed};
use crate::router::port::connect::ConnectOptions;
use crate::router::port::event::Event;
use crate::router::port::handle::Port;
use crate::router::port::handle::{Lease, one_by_one};
use crate::router::port::ingress::IngressSenders;
use crate::router::port::poll::PollHalf;
use crate::router::port::send::SendOptions;
#[cfg(feature = "tokio")]
use crate::router::port::submit::IsFirst;
use crate::router::port::submit::{Entered, SubmitHalf, SubmitOptions};
use crate::router::rules::MessageType;
use crate::router::shared::Shared;
#[cfg(feature = "tokio")]
use crate::sync::OneThread;
use crate::sync::{AnyThread, Arc, SharedHalf, Sharing};
use std::fmt;
use std::ops::ControlFlow;
#[cfg(not(corelane_loom))]
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

fn split<S: Sharing>(submit: SubmitHalf, poll: PollHalf, lease: Lease) -> (SharedPort<S>, Poller<S>) {
    let shared = Arc::clone(&submit.shared);
    let submit = S::Of::of(submit);
    (SharedPort { submit: submit.clone(), shared }, Poller { submit, poll, lease })
}

/// Submits from any thread; clones are handles to the same port. Calls wait for each other, never for a worker
/// or a poll. After the [`Poller`] is dropped, its clients are not connected any more, and every message is refused as
/// closed.
///
/// With [`OneThread`](crate::router::OneThread) (`tokio::AsyncPort::local`) the handles stay on their thread and take no
/// lock.
///
/// ```
/// use corelane::{config::Config, router::{Builder, Event}};
/// use std::{thread, time::Duration};
///
/// let router = Builder::new(Config::default()).start()?;
/// let (port, mut poller) = router.port()?.share();
/// let ann = port.connect("ann", "generic", "", 1)?;
/// for correlation in 0..2 {
///     let port = port.clone();
///     thread::spawn(move || port.submit(ann, br#"{"type":"offer","to":"ann"}"#, correlation));
/// }
/// let mut got = 0;
/// while got < 2 {
///     poller.wait(Duration::from_secs(5));
///     poller.poll_each(256, |event| got += u64::from(matches!(event, Event::Message(_))))?;
/// }
/// # Ok::<(), corelane::error::Error>(())
/// ```
pub struct SharedPort<S: Sharing = AnyThread> {
    pub(in crate::router) submit: S::Of<SubmitHalf>,
    pub(in crate::router) shared: Arc<Shared>,
}

impl<S: Sharing> Clone for SharedPort<S> {
    fn clone(&self) -> Self {
        Self { submit: self.submit.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S: Sharing> fmt::Debug for SharedPort<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SharedPort").finish_non_exhaustive()
    }
}

impl Port {
    /// Puts the submitting half behind a lock, so that any number of threads can submit. The poller keeps
    /// polling without a lock. Messages of one client keep the order in which their submitters took the lock.
    pub fn share(self) -> (SharedPort, Poller) {
        self.split()
    }

    /// As [`share`](Self::share), for handles that stay on one thread.
    #[cfg(feature = "tokio")]
    pub(crate) fn share_on_one_thread(self) -> (SharedPort<OneThread>, Poller<OneThread>) {
        self.split()
    }

    fn split<S: Sharing>(mut self) -> (SharedPort<S>, Poller<S>) {
        // Publish what is committed: a shared port publishes each message itself, so these records would
        // otherwise wait for the next call.
        self.submit.publish();
        // The placeholders that stay in `self` have no rings and no attached pair, so dropping `self` gives
        // nothing up.
        let (shared, index) = (Arc::clone(&self.lease.shared), self.lease.index);
        let link = Arc::clone(&self.submit.out.link);
        let wake = Arc::clone(self.poll.wake());
        let out = IngressSenders { index, ways: Vec::new(), link: Arc::clone(&link) };
        let submit = std::mem::replace(&mut self.submit, SubmitHalf::new(&shared, out, 0));
        let poll = std::mem::replace(&mut self.poll, PollHalf::new(&shared, index, Vec::new(), link, wake));
        let lease = std::mem::replace(&mut self.lease, Lease { shared, index, attached: 0 });
        split(submit, poll, lease)
    }
}

/// A call that may find no room, after the poller was dropped.
const NO_POLLER: TrySubmitError = TrySubmitError::Refused(SubmitError::Closed);

impl<S: Sharing> SharedPort<S> {
    /// Makes a call under the lock, or fails with `closed` after the poller is dropped.
    pub(in crate::router) fn with<R, E>(
        &self,
        closed: E,
        call: impl FnOnce(&mut SubmitHalf) -> Result<R, E>,
    ) -> Result<R, E> {
        self.submit.with(|submit| submit.map_or(Err(closed), call), SubmitHalf::follow_up)
    }

    /// As [`with`](Self::with), and publishes under the same lock.
    fn publishing<R, E>(
        &self,
        closed: E,
        call: impl FnOnce(&mut SubmitHalf) -> Result<R, E>,
    ) -> Result<R, E> {
        self.with(closed, |submit| {
            let result = call(submit);
            submit.publish();
            result
        })
    }

    /// Runs the base route for a message that was left to it, outside the lock.
    fn run_base(&self, entered: Entered, client: ClientId, message: &[u8]) {
        if let Entered::Base(reason) = entered {
            self.shared.run_base(reason, client, message);
        }
    }

    /// As [`Port::connect`](crate::router::Port::connect).
    ///
    /// # Errors
    /// As [`Port::connect`](crate::router::Port::connect).
    pub fn connect(
        &self,
        name: &str,
        protocol: &str,
        application: &str,
        token: u64,
    ) -> Result<ClientId, ConnectError> {
        self.connect_with(name, ConnectOptions::new(protocol, application, token))
    }

    /// As [`Port::connect_with`](crate::router::Port::connect_with).
    ///
    /// # Errors
    /// As [`Port::connect_with`](crate::router::Port::connect_with).
    pub fn connect_with(&self, name: &str, options: ConnectOptions<'_>) -> Result<ClientId, ConnectError> {
        self.with(ConnectError::Closed, |submit| submit.connect(name, options))
    }

    /// Submits and publishes one message.
    ///
    /// # Errors
    /// As [`Port::submit`](crate::router::Port::submit).
    pub fn submit(&self, client: ClientId, message: &[u8], correlation: u64) -> Result<(), SubmitError> {
        self.submit_with(client, message, SubmitOptions { correlation, ..SubmitOptions::default() })
    }

    /// As [`submit`](Self::submit), with all options of a message.
    ///
    /// # Errors
    /// As [`Port::submit`](crate::router::Port::submit).
    pub fn submit_with(
        &self,
        client: ClientId,
        message: &[u8],
        options: SubmitOptions,
    ) -> Result<(), SubmitError> {
        let entered =
            self.publishing(SubmitError::Closed, |submit| submit.submit_with(client, message, options))?;
        self.run_base(entered, client, message);
        Ok(())
    }

    /// As [`Port::try_submit`](crate::router::Port::try_submit), and publishes.
    ///
    /// # Errors
    /// As [`Port::try_submit`](crate::router::Port::try_submit).
    pub fn try_submit(
        &self,
        client: ClientId,
        message: &[u8],
        options: SubmitOptions,
    ) -> Result<(), TrySubmitError> {
        let entered = self.publishing(NO_POLLER, |submit| submit.submit_if_room(client, message, options))?;
        self.run_base(entered, client, message);
        Ok(())
    }

    /// As [`try_submit`](Self::try_submit); the caller publishes, or sees to it that another task does.
    #[cfg(feature = "tokio")]
    pub(crate) fn try_submit_unpublished(
        &self,
        client: ClientId,
        message: &[u8],
        options: SubmitOptions,
    ) -> Result<IsFirst, TrySubmitError> {
        let (entered, is_first) = self.with(NO_POLLER, |submit| {
            Ok((submit.submit_if_room(client, message, options)?, submit.announce()))
        })?;
        self.run_base(entered, client, message);
        Ok(is_first)
    }

    /// As [`Port::try_send`](crate::router::Port::try_send), and publishes.
    ///
    /// # Errors
    /// As [`Port::try_submit`](crate::router::Port::try_submit).
    pub fn try_send(
        &self,
        to: ClientId,
        message: &[u8],
        options: impl Into<SendOptions>,
    ) -> Result<(), TrySubmitError> {
        let options = options.into();
        self.publishing(NO_POLLER, |submit| submit.send_if_room(to, message, options))
    }

    /// As [`try_send`](Self::try_send); the caller publishes.
    #[cfg(feature = "tokio")]
    pub(crate) fn try_send_unpublished(
        &self,
        to: ClientId,
        message: &[u8],
        options: SendOptions,
    ) -> Result<IsFirst, TrySubmitError> {
        self.with(NO_POLLER, |submit| submit.send_if_room(to, message, options).map(|()| submit.announce()))
    }

    /// As [`Port::try_send_to_room`](crate::router::Port::try_send_to_room), and publishes.
    ///
    /// # Errors
    /// As [`Port::try_submit`](crate::router::Port::try_submit).
    pub fn try_send_to_room(
        &self,
        room: RoomId,
        message: &[u8],
        options: impl Into<SendOptions>,
    ) -> Result<(), TrySubmitError> {
        let options = options.into();
        self.publishing(NO_POLLER, |submit| submit.send_to_room_if_room(room, message, options))
    }

    /// As [`try_send_to_room`](Self::try_send_to_room); the caller publishes.
    #[cfg(feature = "tokio")]
    pub(crate) fn try_send_to_room_unpublished(
        &self,
        room: RoomId,
        message: &[u8],
        options: SendOptions,
    ) -> Result<IsFirst, TrySubmitError> {
        self.with(NO_POLLER, |submit| {
            submit.send_to_room_if_room(room, message, options).map(|()| submit.announce())
        })
    }

    /// Publishes what was submitted without. Without the submitting half the poller is dropped: then there is nothing
    /// to publish.
    pub(crate) fn publish(&self) {
        let publish = |submit: &mut SubmitHalf| {
            #[cfg(feature = "tokio")]
            submit.end_announcement();
            submit.publish();
        };
        self.submit.with(|submit| submit.map_or((), publish), SubmitHalf::follow_up);
    }

    /// As [`Port::submit_batch`](crate::router::Port::submit_batch). The lock is taken for each message separately: the
    /// iterator and `each` run outside the lock, and messages of other threads may come in between. After the
    /// poller is dropped, every message is refused as closed.
    pub fn submit_batch<'a>(
        &self,
        batch: impl IntoIterator<Item = (ClientId, &'a [u8], u64)>,
        each: impl FnMut(usize, Result<(), SubmitError>) -> ControlFlow<()>,
    ) -> usize {
        let options = |correlation| SubmitOptions { correlation, ..SubmitOptions::default() };
        let one = |client, message: &[u8], correlation| {
            let options = options(correlation);
            let entered =
                self.with(SubmitError::Closed, |submit| submit.submit_with(client, message, options))?;
            self.run_base(entered, client, message);
            Ok(())
        };
        self.publishing_batch(batch, one, each)
    }

    /// Sends and publishes one message of the host, as [`Port::send`](crate::router::Port::send).
    ///
    /// # Errors
    /// As [`Port::send`](crate::router::Port::send).
    pub fn send(
        &self,
        to: ClientId,
        message: &[u8],
        options: impl Into<SendOptions>,
    ) -> Result<(), SubmitError> {
        let options = options.into();
        self.publishing(SubmitError::Closed, |submit| submit.send(to, message, options))
    }

    /// Sends and publishes one message to a room, as [`Port::send_to_room`](crate::router::Port::send_to_room).
    ///
    /// # Errors
    /// As [`Port::send_to_room`](crate::router::Port::send_to_room).
    pub fn send_to_room(
        &self,
        room: RoomId,
        message: &[u8],
        options: impl Into<SendOptions>,
    ) -> Result<(), SubmitError> {
        let options = options.into();
        self.publishing(SubmitError::Closed, |submit| submit.send_to_room(room, message, options))
    }

    /// The router's clock.
    pub fn clock(&self) -> &crate::clock::Clock {
        &self.shared.clock
    }

    /// As [`Port::message_type`](crate::router::Port::message_type).
    pub fn message_type(&self, protocol: &str, name: &str) -> Option<MessageType> {
        self.shared.message_type(protocol, name)
    }

    /// Sends many messages, as [`submit_batch`](Self::submit_batch).
    pub fn send_batch<'a>(
        &self,
        batch: impl IntoIterator<Item = (ClientId, &'a [u8], impl Into<SendOptions>)>,
        each: impl FnMut(usize, Result<(), SubmitError>) -> ControlFlow<()>,
    ) -> usize {
        let one = |to, message: &[u8], options: SendOptions| {
            self.with(SubmitError::Closed, |submit| submit.send(to, message, options))
        };
        self.publishing_batch(batch, |to, message, options| one(to, message, options.into()), each)
    }

    fn publishing_batch<'a, O>(
        &self,
        batch: impl IntoIterator<Item = (ClientId, &'a [u8], O)>,
        one: impl FnMut(ClientId, &[u8], O) -> Result<(), SubmitError>,
        each: impl FnMut(usize, Result<(), SubmitError>) -> ControlFlow<()>,
    ) -> usize {
        let _publishes = Publishes(self);
        one_by_one(batch, one, each)
    }

    /// As [`Port::disconnect`](crate::router::Port::disconnect).
    ///
    /// # Errors
    /// As [`Port::disconnect`](crate::router::Port::disconnect).
    pub fn disconnect(&self, client: ClientId) -> Result<(), ClientError> {
        self.with(ClientError::StaleClient, |submit| submit.disconnect(client))
    }

    /// As [`Port::release_name`](crate::router::Port::release_name).
    ///
    /// # Errors
    /// As [`Port::release_name`](crate::router::Port::release_name).
    pub fn release_name(&self, client: ClientId) -> Result<(), ClientError> {
        self.with(ClientError::StaleClient, |submit| submit.release_name(client))
    }

    /// As [`Port::join`](crate::router::Port::join).
    ///
    /// # Errors
    /// As [`Port::join`](crate::router::Port::join).
    pub fn join(&self, client: ClientId, room: &str) -> Result<RoomId, JoinError> {
        self.with(JoinError::StaleClient, |submit| submit.join(client, room))
    }

    /// As [`Port::leave`](crate::router::Port::leave).
    ///
    /// # Errors
    /// As [`Port::leave`](crate::router::Port::leave).
    pub fn leave(&self, client: ClientId, room: RoomId) -> Result<(), LeaveError> {
        self.with(LeaveError::StaleClient, |submit| submit.leave(client, room))
    }

    /// As [`Port::members`](crate::router::Port::members). Does not take the port's lock.
    ///
    /// # Errors
    /// As [`Port::members`](crate::router::Port::members).
    pub fn members(&self, room: RoomId) -> Result<Vec<ClientId>, StaleRoom> {
        self.shared.rooms.members(room)
    }

    /// As [`Port::rooms_of`](crate::router::Port::rooms_of). Does not take the port's lock.
    ///
    /// # Errors
    /// As [`Port::rooms_of`](crate::router::Port::rooms_of).
    pub fn rooms_of(&self, client: ClientId) -> Result<Vec<RoomId>, StaleClient> {
        self.shared.rooms_of(client)
    }
}

/// Publishes at the end of a batch, even if the host's code panics in the middle of it.
struct Publishes<'a, S: Sharing>(&'a SharedPort<S>);

impl<S: Sharing> Drop for Publishes<'_, S> {
    fn drop(&mut self) {
        self.0.publish();
    }
}

/// The polling half of a shared port. `Send`, not `Sync`. Dropping it closes the port. See [`SharedPort`] for an example.
pub struct Poller<S: Sharing = AnyThread> {
    submit: S::Of<SubmitHalf>,
    poll: PollHalf,
    lease: Lease,
}

impl<S: Sharing> fmt::Debug for Poller<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Poller").field("poll", &self.poll).finish_non_exhaustive()
    }
}

impl<S: Sharing> Poller<S> {
    /// As [`Port::poll`](crate::router::Port::poll). Never waits for a submitter.
    ///
    /// # Errors
    /// As [`Port::poll`](crate::router::Port::poll).
    pub fn poll(&mut self, limit: usize) -> Result<Batch<'_, Self>, Closed> {
        Batch::begin(self, limit)
    }

    /// As [`Port::poll_each`](crate::router::Port::poll_each). Never waits for a submitter.
    ///
    /// # Errors
    /// As [`Port::poll`](crate::router::Port::poll).
    pub fn poll_each(&mut self, limit: usize, each: impl FnMut(Event<'_>)) -> Result<usize, Closed> {
        Ok(self.poll(limit)?.for_each(each))
    }

    /// As [`Port::name`](crate::router::Port::name).
    pub fn name(&self, client: ClientId) -> Option<ClientName> {
        self.lease.shared.clients.name(client)
    }

    /// As [`Port::acknowledge`](crate::router::Port::acknowledge).
    pub fn acknowledge(&mut self, client: ClientId, messages: u32, bytes: u32) {
        self.poll.acknowledge_batch([(client, messages, bytes)]);
    }

    /// As [`Port::acknowledge_batch`](crate::router::Port::acknowledge_batch).
    pub fn acknowledge_batch(&mut self, written: impl IntoIterator<Item = (ClientId, u32, u32)>) {
        self.poll.acknowledge_batch(written);
    }

    /// As [`Port::rebind`](crate::router::Port::rebind).
    ///
    /// # Errors
    /// As [`Port::rebind`](crate::router::Port::rebind).
    pub fn rebind(&mut self, client: ClientId, token: u64) -> Result<(), ClientError> {
        self.poll.rebind(client, token)
    }

    /// As [`Port::outstanding`](crate::router::Port::outstanding).
    ///
    /// # Errors
    /// As [`Port::outstanding`](crate::router::Port::outstanding).
    pub fn outstanding(&self, client: ClientId) -> Result<Outstanding, ClientError> {
        self.poll.outstanding(client)
    }

    /// As [`Port::cycle`](crate::router::Port::cycle). Never waits for a submitter.
    ///
    /// # Errors
    /// As [`Port::cycle`](crate::router::Port::cycle).
    pub fn cycle(&mut self) -> Result<usize, CycleError> {
        self.poll.cycle()
    }

    /// As [`Port::next_due`](crate::router::Port::next_due).
    ///
    /// # Errors
    /// As [`Port::next_due`](crate::router::Port::next_due).
    pub fn next_due(&self) -> Result<Option<Duration>, NoLocalWorker> {
        self.poll.next_due()
    }

    /// As [`Port::awake`](crate::router::Port::awake).
    pub fn awake(&mut self, reported: bool) {
        self.poll.awake(reported);
    }

    /// As [`Port::arm`](crate::router::Port::arm).
    pub fn arm(&mut self) -> bool {
        self.poll.arm()
    }

    /// As [`Port::wait`](crate::router::Port::wait).
    pub fn wait(&mut self, timeout: Duration) {
        self.poll.wait(timeout);
    }

    /// As [`Port::release`](crate::router::Port::release).
    #[cfg(not(corelane_loom))]
    pub(crate) fn release(&mut self) {
        self.poll.release();
    }

    /// As [`Port::waker`](crate::router::Port::waker).
    #[cfg(not(corelane_loom))]
    pub(crate) fn waker(&self) -> Arc<crate::park::WakeWord> {
        Arc::clone(self.poll.wake())
    }

    /// As [`Port::has_news`](crate::router::Port::has_news).
    pub fn has_news(&self) -> bool {
        self.poll.has_news()
    }

    /// As [`Port::is_over`](crate::router::Port::is_over).
    pub fn is_over(&self) -> bool {
        self.poll.is_over()
    }

    /// Whether there is room again after a refusal as full; true once per refusal.
    #[cfg(feature = "tokio")]
    pub(crate) fn space_moved(&self) -> bool {
        self.poll.link().space_moved()
    }

    /// What a poll leaves to the submitting half: disconnects that wait for room, workers that have left.
    #[cfg(feature = "tokio")]
    pub(crate) fn follow_up(&mut self) {
        sealed::Polled::follow_up(self);
    }
}

/// The port's descriptor, as for [`Port`].
#[cfg(not(corelane_loom))]
impl<S: Sharing> AsFd for Poller<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}

impl<S: Sharing> Polled for Poller<S> {}

impl<S: Sharing> sealed::Polled for Poller<S> {
    #[expect(private_interfaces, reason = "sealed: no other crate can name it")]
    #[inline]
    fn half(&mut self) -> &mut PollHalf {
        &mut self.poll
    }

    fn follow_up(&mut self) {
        if self.poll.link().has_work() {
            self.submit.ask(SubmitHalf::follow_up);
        }
        self.poll.shared.rooms.follow_up();
    }
}

impl<S: Sharing> Drop for Poller<S> {
    fn drop(&mut self) {
        if let Some(mut submit) = self.submit.take() {
            self.lease.give_up(&mut submit, &mut self.poll);
        }
    }
}
