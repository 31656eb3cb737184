//! Ports for hosts that run on tokio. An [`AsyncPort`] is a shared port whose poller has a task: the task calls
//! [`AsyncPort::recv`] in a loop, which publishes, drives the local worker if the port has one, and sleeps on the port's
//! descriptor. Other tasks submit with a [`Submitter`], which waits for room, and acknowledge with an [`Acknowledger`].
//!
//! All types work in a current-thread runtime and in a multi-thread runtime. The handles of [`AsyncPort::local`] stay on
//! one thread and take no lock; the type says so ([`OneThread`]).
//!
//! ```
//! use corelane::{config::Config, router::{Builder, Event}, tokio::AsyncPort};
//! use std::time::Duration;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let router = Builder::new(Config::default()).start()?;
//! let mut port = AsyncPort::new(router.port()?)?;
//! let (submitter, acknowledger) = (port.submitter(), port.acknowledger());
//! let ann = submitter.port().connect("ann", "generic", "", 1)?;
//! submitter.port().connect("ben", "generic", "", 2)?;
//!
//! // A socket's task, which has read a message:
//! let reader = tokio::spawn(async move {
//!     submitter.submit(ann, br#"{"type":"offer","to":"ben"}"#, 7).await
//! });
//! // The port's task:
//! let mut arrived = None;
//! while arrived.is_none() {
//!     let mut batch = port.recv(64).await?;
//!     while let Some(event) = batch.next() {
//!         if let Event::Message(message) = event {
//!             arrived = Some((message.token, message.client, message.payload.len()));
//!         }
//!     }
//! }
//! let (token, ben, bytes) = arrived.unwrap();
//! acknowledger.acknowledge(ben, 1, bytes as u32); // On any task, once the socket has the bytes.
//! assert_eq!(token, 2);
//! reader.await??;
//! router.stop_async(Duration::from_secs(5)).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::clients::{ClientId, RoomId};
use crate::error::{Closed, DrainError, PortError, StopError, SubmitError, TrySubmitError};
use crate::router::{
    AnyThread, Batch, IsFirst, OneThread, Poller, Port, Router, SendOptions, SharedPort, Sharing,
    SubmitOptions,
};
use crate::sync::os::register;
use crate::sync::{Arc, Mutex, lock};
use ::tokio::io::unix::AsyncFd;
use ::tokio::sync::Notify;
use ::tokio::task::yield_now;
use ::tokio::time::{sleep, timeout};
use std::collections::HashMap;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// How many times in a row `recv` goes on without a wait before it lets the thread's other tasks run.
const BEFORE_YIELD: u32 = 16;
/// How often a drain and a stop look whether they have ended.
const LOOK: Duration = Duration::from_millis(1);
/// After what time a submitter tries again if no wake may announce the end of a limit. The time doubles from the first
/// to the last value.
const AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(32));

/// A port, with or without a local worker, whose events a task receives. Dropping it closes the port, after it has passed
/// on what was acknowledged before. What is acknowledged later counts as `unacknowledged`, with the reason `port_gone`.
#[derive(Debug)]
pub struct AsyncPort<S: Sharing = AnyThread> {
    poller: Poller<S>,
    descriptor: AsyncFd<OwnedFd>,
    /// Acknowledgements taken from the shared list; empty between two turns.
    taken: HashMap<ClientId, (u32, u32)>,
    without_wait: u32,
    /// Declared after the poller, and so dropped after it: whoever waits for room is told when the port is closed.
    tasks: TellsEnd<S>,
}

/// What the port's task shares with others.
#[derive(Debug)]
struct Tasks<S: Sharing> {
    port: SharedPort<S>,
    /// There is something for `recv` to publish or to acknowledge.
    work: Notify,
    /// There may be room in a ring that was full, or messages have ended.
    room: Notify,
    /// Messages and bytes to acknowledge, by client. `None` once the port is closed.
    acknowledged: Mutex<Option<HashMap<ClientId, (u32, u32)>>>,
}

#[derive(Debug)]
struct TellsEnd<S: Sharing>(Arc<Tasks<S>>);

impl<S: Sharing> Drop for TellsEnd<S> {
    fn drop(&mut self) {
        *lock(&self.0.acknowledged) = None;
        self.0.room.notify_waiters();
    }
}

impl AsyncPort {
    /// Makes an async port of a port that [`Router::port`] or [`Router::local_port`] has opened. Call it on a thread of
    /// the runtime whose task will receive. A local worker runs on whatever thread runs that task: give it a
    /// current-thread runtime, so that its messages do not change threads.
    ///
    /// # Errors
    /// [`PortError::System`] if the descriptor cannot be registered.
    ///
    /// # Panics
    /// Outside a tokio runtime, or without its I/O driver.
    pub fn new(port: Port) -> Result<Self, PortError> {
        Self::of(port.share())
    }
}

impl AsyncPort<OneThread> {
    /// As [`new`](AsyncPort::new), for a port whose handles all stay on its thread: in a current-thread runtime, with
    /// `spawn_local`. A submission then takes no lock, so this suits hosts with a thread per core.
    ///
    /// ```
    /// use corelane::{config::Config, router::{Builder, Event}, tokio::AsyncPort};
    ///
    /// let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// let tasks = tokio::task::LocalSet::new();
    /// tasks.block_on(&runtime, async {
    ///     let mut config = Config::default();
    ///     config.router.local_workers = 1;
    ///     let router = Builder::new(config).start()?;
    ///     let mut port = AsyncPort::local(router.local_port()?)?;
    ///     let submitter = port.submitter();
    ///     let ann = submitter.port().connect("ann", "generic", "", 1)?;
    ///     let socket = tokio::task::spawn_local(async move {
    ///         submitter.submit(ann, br#"{"type":"offer","to":"ann"}"#, 7).await
    ///     });
    ///     let mut messages = 0;
    ///     while messages == 0 {
    ///         let batch = port.recv(64).await?;
    ///         batch.for_each(|event| messages += u32::from(matches!(event, Event::Message(_))));
    ///     }
    ///     socket.await??;
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](AsyncPort::new).
    ///
    /// # Panics
    /// As [`new`](AsyncPort::new).
    pub fn local(port: Port) -> Result<Self, PortError> {
        Self::of(port.share_on_one_thread())
    }
}

impl<S: Sharing> AsyncPort<S> {
    fn of((port, poller): (SharedPort<S>, Poller<S>)) -> Result<Self, PortError> {
        let descriptor = register(std::os::fd::AsFd::as_fd(&poller))?;
        let tasks = Tasks {
            port,
            work: Notify::new(),
            room: Notify::new(),
            acknowledged: Mutex::new(Some(HashMap::new())),
        };
        let tasks = TellsEnd(Arc::new(tasks));
        Ok(Self { poller, descriptor, taken: HashMap::new(), without_wait: 0, tasks })
    }

    /// A handle that submits and sends from other tasks.
    pub fn submitter(&self) -> Submitter<S> {
        Submitter { tasks: Arc::clone(&self.tasks.0) }
    }

    /// A handle that acknowledges from other tasks.
    pub fn acknowledger(&self) -> Acknowledger<S> {
        Acknowledger { tasks: Arc::clone(&self.tasks.0) }
    }

    /// The poller, to acknowledge or rebind on the task that receives.
    pub fn poller(&mut self) -> &mut Poller<S> {
        &mut self.poller
    }

    /// Waits until there is something to poll, and polls up to `limit` recipients. The batch lends the events; it may be
    /// empty. Some task must call this in a loop without long breaks: it also publishes what the [`Submitter`]s have
    /// submitted, passes acknowledgements on, wakes those who wait for room, and drives the local worker.
    ///
    /// Cancel safe: nothing is taken from the port before the batch is returned. An event that is not taken from the
    /// batch comes with the next one.
    ///
    /// # Errors
    /// [`Closed`] once the router has stopped and everything has been handed out, or if the runtime shuts down. As with
    /// [`Port::poll`], clients may be disconnected after that and be received as closed.
    pub async fn recv(&mut self, limit: usize) -> Result<Batch<'_, Poller<S>>, Closed> {
        let ready = self.ready().await;
        if ready.is_err() || self.poller.is_over() {
            // Who waits for room tries once more, and learns that the port is closed.
            self.tasks.0.room.notify_waiters();
        }
        ready.map_err(|_| Closed)?;
        self.poller.poll(limit)
    }

    async fn ready(&mut self) -> std::io::Result<()> {
        loop {
            self.without_wait += 1;
            if self.without_wait >= BEFORE_YIELD {
                self.without_wait = 0;
                yield_now().await;
            }
            let worked = self.turn();
            // Looked at in every turn: with a steady flow of news this loop never arms.
            if self.poller.space_moved() {
                self.announce_room();
            }
            if self.poller.has_news() || self.poller.is_over() {
                return Ok(());
            }
            if worked > 0 {
                continue;
            }
            if !self.poller.arm() {
                // Room for a submitter, or news: a submitter must run before the next look.
                self.announce_room();
                self.without_wait = 0;
                yield_now().await;
                continue;
            }
            let due = self.poller.next_due().unwrap_or(None);
            let reported = wait(&self.descriptor, &self.tasks.0.work, due).await?;
            self.without_wait = 0;
            self.poller.awake(reported);
        }
    }

    fn pass_acknowledgements_on(&mut self) {
        if let Some(acknowledged) = &mut *lock(&self.tasks.0.acknowledged) {
            std::mem::swap(acknowledged, &mut self.taken);
        }
        if self.taken.is_empty() {
            return; // A drain clears the whole table, also an empty one.
        }
        let taken = self.taken.drain();
        self.poller.acknowledge_batch(taken.map(|(client, (messages, bytes))| (client, messages, bytes)));
    }

    /// A worker has given room back, so the messages whose records were there have ended. Disconnects that wait for the
    /// room go first.
    fn announce_room(&mut self) {
        self.poller.follow_up();
        self.tasks.0.room.notify_waiters();
    }

    /// Passes on what other tasks have left, and runs one cycle of the local worker. Returns how much the worker has done.
    fn turn(&mut self) -> usize {
        self.poller.awake(false); // A cancelled wait may have left the port armed; publishing would signal this thread.
        self.pass_acknowledgements_on();
        let tasks = &self.tasks.0;
        tasks.port.publish();
        // Without a local worker there is nothing to do. Once it has stopped, the poll says so too.
        let worked = self.poller.cycle().unwrap_or(0);
        if worked > 0 {
            tasks.room.notify_waiters();
        }
        worked
    }
}

impl<S: Sharing> Drop for AsyncPort<S> {
    fn drop(&mut self) {
        self.pass_acknowledgements_on();
    }
}

/// Waits for the descriptor, for another task, or until something is due. Returns whether the event loop has reported the
/// descriptor.
async fn wait(descriptor: &AsyncFd<OwnedFd>, work: &Notify, due: Option<Duration>) -> std::io::Result<bool> {
    let mut work = pin!(work.notified());
    let wait = poll_fn(|context| match descriptor.poll_read_ready(context) {
        Poll::Ready(ready) => {
            ready?.clear_ready();
            Poll::Ready(Ok(true))
        }
        Poll::Pending => work.as_mut().poll(context).map(|()| Ok(false)),
    });
    match due {
        Some(due) => timeout(due, wait).await.unwrap_or(Ok(false)),
        None => wait.await,
    }
}

/// Submits and sends from any task on any thread, and waits for room. Clones are handles to the same port. Messages are
/// published by the port's next [`recv`](AsyncPort::recv), so one publication serves all tasks that are ready.
///
/// Do not wait here on the task that receives: the wait would never end. Use another task, or `tokio::select!`.
#[derive(Clone, Debug)]
pub struct Submitter<S: Sharing = AnyThread> {
    tasks: Arc<Tasks<S>>,
}

impl<S: Sharing> Submitter<S> {
    /// The port, for the calls that never wait and publish at once, such as [`SharedPort::connect`].
    pub fn port(&self) -> &SharedPort<S> {
        &self.tasks.port
    }

    /// As [`Port::submit_with`], but waits while there is no room: while the ring is full, while the client has
    /// `max_in_flight` messages under way, while the router has `max_concurrent_messages`, or while the payloads are
    /// used up. The end of this port's messages wakes the call; the end of other ports' messages and of held ones does not,
    /// so it also tries again from time to time. `options` may be only a correlation. Waiting counts neither as messages nor as refused. The client's
    /// messages keep their order if one task submits them.
    ///
    /// Cancel safe: a cancelled call has submitted nothing.
    ///
    /// # Errors
    /// As [`Port::submit`], without the reasons for which it waits.
    pub async fn submit(
        &self,
        client: ClientId,
        message: &[u8],
        options: impl Into<SubmitOptions>,
    ) -> Result<(), SubmitError> {
        let options = options.into();
        self.when_room(|port| port.try_submit_unpublished(client, message, options)).await
    }

    /// As [`Port::try_submit`]: does not wait, and counts nothing while there is no room. Unlike
    /// [`SharedPort::try_submit`] it leaves the publication to the port's task, as [`submit`](Self::submit) does. A task
    /// that finds no room can go on with [`submit`](Self::submit).
    ///
    /// # Errors
    /// As [`Port::try_submit`].
    pub fn try_submit(
        &self,
        client: ClientId,
        message: &[u8],
        options: impl Into<SubmitOptions>,
    ) -> Result<(), TrySubmitError> {
        let options = options.into();
        self.attempt(|port| port.try_submit_unpublished(client, message, options))
    }

    /// As [`Port::send`], but waits while there is no room, as [`submit`](Self::submit). Cancel safe as well.
    ///
    /// # Errors
    /// As [`Port::send`], without the reasons for which it waits.
    pub async fn send(
        &self,
        to: ClientId,
        message: &[u8],
        options: impl Into<SendOptions>,
    ) -> Result<(), SubmitError> {
        let options = options.into();
        self.when_room(|port| port.try_send_unpublished(to, message, options)).await
    }

    /// As [`Port::try_send`], and leaves the publication to the port's task, as [`try_submit`](Self::try_submit).
    ///
    /// # Errors
    /// As [`Port::try_send`].
    pub fn try_send(
        &self,
        to: ClientId,
        message: &[u8],
        options: impl Into<SendOptions>,
    ) -> Result<(), TrySubmitError> {
        let options = options.into();
        self.attempt(|port| port.try_send_unpublished(to, message, options))
    }

    /// As [`Port::send_to_room`], but waits while there is no room, as [`submit`](Self::submit). Cancel safe as well.
    ///
    /// # Errors
    /// As [`Port::send_to_room`], without the reasons for which it waits.
    pub async fn send_to_room(
        &self,
        room: RoomId,
        message: &[u8],
        options: impl Into<SendOptions>,
    ) -> Result<(), SubmitError> {
        let options = options.into();
        self.when_room(|port| port.try_send_to_room_unpublished(room, message, options)).await
    }

    /// As [`Port::try_send_to_room`], and leaves the publication to the port's task, as [`try_submit`](Self::try_submit).
    ///
    /// # Errors
    /// As [`Port::try_send_to_room`].
    pub fn try_send_to_room(
        &self,
        room: RoomId,
        message: &[u8],
        options: impl Into<SendOptions>,
    ) -> Result<(), TrySubmitError> {
        let options = options.into();
        self.attempt(|port| port.try_send_to_room_unpublished(room, message, options))
    }

    async fn when_room(
        &self,
        attempt: impl Fn(&SharedPort<S>) -> Result<IsFirst, TrySubmitError>,
    ) -> Result<(), SubmitError> {
        let mut again = AGAIN.0;
        let mut outcome = self.attempt(&attempt);
        while let Err(TrySubmitError::Full(_)) = outcome {
            // Registered before the next attempt: room that comes in between wakes it.
            let mut room = pin!(self.tasks.room.notified());
            room.as_mut().enable();
            outcome = self.attempt(&attempt);
            match outcome {
                Err(TrySubmitError::Full(SubmitError::RingFull)) => room.await,
                // The end of a held message, and of other ports' messages, is not announced.
                Err(TrySubmitError::Full(_)) => {
                    drop(timeout(again, room).await);
                    again = (2 * again).min(AGAIN.1);
                }
                _ => {}
            }
        }
        outcome.map_err(|error| match error {
            TrySubmitError::Refused(reason) | TrySubmitError::Full(reason) => reason,
        })
    }

    /// Tries once, and sees to it that the port's task publishes.
    fn attempt(
        &self,
        attempt: impl Fn(&SharedPort<S>) -> Result<IsFirst, TrySubmitError>,
    ) -> Result<(), TrySubmitError> {
        let outcome = attempt(&self.tasks.port);
        // Also without room: what fills the ring must be published before there can be any.
        if matches!(outcome, Ok(IsFirst(true)) | Err(TrySubmitError::Full(_))) {
            self.tasks.work.notify_one();
        }
        outcome.map(|_| ())
    }
}

/// Acknowledges from any task on any thread, without waiting. Clones are handles to the same port. It keeps one entry for
/// each client until the port's next [`recv`](AsyncPort::recv) takes them, so its memory is bounded by the clients.
#[derive(Clone, Debug)]
pub struct Acknowledger<S: Sharing = AnyThread> {
    tasks: Arc<Tasks<S>>,
}

impl<S: Sharing> Acknowledger<S> {
    /// As [`Port::acknowledge`].
    pub fn acknowledge(&self, client: ClientId, messages: u32, bytes: u32) {
        let mut locked = lock(&self.tasks.acknowledged);
        let Some(acknowledged) = &mut *locked else { return };
        let is_first = acknowledged.is_empty();
        let entry = acknowledged.entry(client).or_default();
        *entry = (entry.0.saturating_add(messages), entry.1.saturating_add(bytes));
        drop(locked);
        if is_first {
            self.tasks.work.notify_one();
        }
    }
}

impl Router {
    /// As [`drain`](Self::drain), without blocking the thread. It may be called on a thread that drives a local worker,
    /// whose loop goes on meanwhile. A cancelled call leaves the router draining.
    ///
    /// # Errors
    /// [`DrainError::TimedOut`] if that takes longer than `timeout`; the router keeps draining.
    pub async fn drain_async(&self, timeout: Duration) -> Result<(), DrainError> {
        let start = Instant::now();
        while !self.look_at_drain() {
            if start.elapsed() >= timeout {
                return Err(DrainError::TimedOut);
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// As [`stop_within`](Self::stop_within), without blocking the thread. It may be called on a thread that drives a
    /// local worker, whose loop goes on meanwhile until its [`AsyncPort::recv`] says closed. A cancelled call leaves the
    /// router stopping. Dropping the router afterwards does not wait.
    ///
    /// # Errors
    /// [`StopError::TimedOut`] and [`StopError::Stuck`], as for [`stop_within`](Self::stop_within).
    pub async fn stop_async(&self, timeout: Duration) -> Result<(), StopError> {
        self.request_stop();
        let start = Instant::now();
        loop {
            if let Some(stopped) = self.look_at_stop(start.elapsed() >= timeout) {
                return stopped;
            }
            sleep(LOOK).await;
        }
    }
}
