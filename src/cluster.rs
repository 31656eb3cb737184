//! Several machines as one router, over NATS (`docs/cluster.md`; with the feature `nats`).
//!
//! Each machine has a router of its own and the sockets of its clients. A client's name belongs to one machine at a time:
//! the host claims it before it connects the client. A message to a name that is on another machine goes there.
//!
//! ```no_run
//! use corelane::{cluster::{Cluster, ClusterOptions}, config::Config, router::Builder};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let router = Builder::new(Config::default()).start()?;
//! let mut port = router.port()?;
//! let options = ClusterOptions {
//!     servers: "nats://10.0.0.1:4222,nats://10.0.0.2:4222".to_owned(),
//!     cluster: "prod".to_owned(),
//!     machine: "a".to_owned(),
//!     ..ClusterOptions::default()
//! };
//! let cluster = Cluster::start(&router, options)?; // Does not wait for NATS.
//! cluster.on_lost(|lost| println!("close {}: {:?}", lost.name, lost.reason));
//! let claim = cluster.claim("ann", "her token").await?;
//! let ann = port.connect("ann", "generic", "", 1)?;
//! // After the client's `Event::Closed`:
//! drop(claim);
//! cluster.stop();
//! # Ok(())
//! # }
//! ```
//!
//! | file | contents |
//! |---|---|
//! | `wire`, `link` | frames, and the two ends of a link |
//! | `lease`, `names`, `directory` | the machine's lease and fence, the names it owns, and what the bucket says of all |
//! | `asks`, `owner` | the names that had no room in the directory and are asked for; what the bucket has of a name |
//! | `name_map`, `lists` | a map of names that is read piece by piece; lists of all names for the host |
//! | `rooms` | which rooms' keys are to be written |
//! | `keys`, `nats` | subjects, keys and values; the connection |
//! | `peer`, `links`, `tickets`, `driver` | a link with the router's side; all links; the messages that the router has; the thread |

#![forbid(unsafe_code)]

pub mod asks;
pub mod directory;
mod driver;
#[doc(hidden)]
pub mod keys;
pub mod lease;
pub mod link;
pub mod links;
#[doc(hidden)]
pub mod lists;
mod name_map;
pub mod names;
mod nats;
mod options;
mod owner;
#[doc(hidden)]
pub mod peer;
#[doc(hidden)]
pub mod rooms;
pub mod seam;
mod tickets;
pub mod wire;

pub use crate::metrics::{ClusterStatus, LinkStatus, MachineStatus};
pub use names::{ClaimError, LostReason};
pub use options::ClusterOptions;

use std::fmt;
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::error::PortError;
use crate::metrics::ClusterFigures;
use crate::router::Router;
use crate::sync::{AcqRel, Acquire, Arc, AtomicBool, AtomicU64, Mutex, Relaxed, Release, lock};
use driver::{Command, Host};

/// The most claims that wait for the cluster's thread. Beyond, a claim is busy.
const MAX_WAITING_CLAIMS: u64 = 4096;
/// How often a thread looks whether another list of names is done.
const LOOK_FOR_PLACE: Duration = Duration::from_millis(1);

/// A name that its claim has lost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// The name.
    pub name: String,
    /// The claim, as [`Claim::id`] tells it.
    pub claim: u64,
    /// Why.
    pub reason: LostReason,
}

/// Why a cluster did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// An option makes no sense; the text says which, and what to change.
    Options(String),
    /// The router opens no gateway.
    Port(PortError),
    /// The thread cannot be started.
    System(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(text) => formatter.write_str(text),
            Self::Port(error) => write!(formatter, "the router's gateway: {error}"),
            Self::System(error) => write!(formatter, "the cluster's thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

type OnLost = Box<dyn Fn(Lost) + Send>;

/// What the handles and the thread share.
struct Told {
    /// The router's monitor has them too.
    figures: Arc<ClusterFigures>,
    on_lost: Mutex<Option<OnLost>>,
}

impl Host for Arc<Told> {
    fn lost(&self, name: &str, claim: u64, reason: LostReason) {
        // Called outside of the lock, so that it may set another one. Only this thread calls it.
        let taken = lock(&self.on_lost).take();
        if let Some(on_lost) = taken {
            on_lost(Lost { name: name.to_owned(), claim, reason });
            lock(&self.on_lost).get_or_insert(on_lost);
        }
    }

    fn status(&self, status: ClusterStatus) {
        self.figures.change(|figures| *figures = status);
    }
}

/// Says that the thread has ended, however it has.
struct Ending(Arc<Told>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.figures.change(|status| {
            if status.state != "stopped" {
                status.state = "stopped".into();
                status.unavailable = true;
                status.problem = Some("The cluster's thread has ended: its log says why.".to_owned());
            }
        });
    }
}

struct Inner {
    commands: mpsc::UnboundedSender<Command>,
    told: Arc<Told>,
    claims: AtomicU64,
    waiting: Arc<AtomicU64>,
    /// Has the one place of a list of names that is being made.
    listing: Arc<Semaphore>,
    is_draining: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: ThreadId,
}

/// A machine's part in a cluster. Clones are handles of the same one. It ends with [`stop`](Self::stop), or when the last
/// handle and the last claim are dropped.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

impl fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.0.told.figures.get();
        write!(formatter, "Cluster({}, {}, {})", status.cluster, status.machine, status.state)
    }
}

impl Cluster {
    /// Joins a cluster. Returns at once, whether NATS answers or not: until it does, claims are unavailable and local
    /// routing goes on.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(router: &Router, options: ClusterOptions) -> Result<Self, StartError> {
        let gateway = options.gateway(router.workers()).map_err(StartError::Options)?;
        let gateway = router.gateway(gateway).map_err(StartError::Port)?;
        let status = ClusterStatus {
            cluster: options.cluster.clone(),
            machine: options.machine.clone(),
            state: "starting".into(),
            unavailable: true,
            ..ClusterStatus::default()
        };
        let told = Arc::new(Told { figures: Arc::default(), on_lost: Mutex::new(None) });
        told.figures.change(|figures| *figures = status);
        let (commands, receiver) = mpsc::unbounded_channel();
        let (started, start) = std::sync::mpsc::sync_channel(1);
        let host = Arc::clone(&told);
        let ending = Ending(Arc::clone(&told));
        let body = move || {
            let _ending = ending;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(StartError::System(error)))),
            };
            runtime.block_on(async move {
                let nats = match nats::Nats::connect(&options).await {
                    Ok(nats) => nats,
                    Err(text) => return started.send(Err(StartError::Options(text))).unwrap_or(()),
                };
                gateway.show(&host.figures);
                let _ = started.send(Ok(()));
                if let Err(error) = driver::run(options, gateway, nats, receiver, host).await {
                    tracing::error!("the cluster's thread has ended: {error}");
                }
            });
            runtime.shutdown_timeout(Duration::from_millis(100));
        };
        let thread = std::thread::Builder::new().name("corelane-nats".to_owned()).spawn(body);
        let thread = thread.map_err(StartError::System)?;
        let started = start.recv();
        let has_ended = |_| Err(StartError::System(std::io::Error::other("it has ended")));
        if let Err(error) = started.unwrap_or_else(has_ended) {
            let _ = thread.join(); // So that the gateway is closed, and the host can try again at once.
            return Err(error);
        }
        Ok(Self(Arc::new(Inner {
            commands,
            told,
            claims: AtomicU64::new(1),
            waiting: Arc::new(AtomicU64::new(0)),
            listing: Arc::new(Semaphore::new(1)),
            is_draining: AtomicBool::new(false),
            thread_id: thread.thread().id(),
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// Claims a name for a client that shows this token. Connect the client after the answer, and drop the claim after the
    /// client's [`Closed`](crate::router::Event::Closed). A dropped future gives the name up.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn claim(&self, name: &str, token: &str) -> Result<Claim, ClaimError> {
        let (sender, receiver) = oneshot::channel();
        let claim = self.send(name, token, move |result| {
            let _ = sender.send(result);
        })?;
        receiver.await.unwrap_or(Err(ClaimError::Stopped)).map(|()| claim)
    }

    /// As [`claim`](Self::claim), for threads that may wait.
    ///
    /// # Errors
    /// [`ClaimError`]; [`ClaimError::Unavailable`] after `timeout`.
    pub fn claim_blocking(&self, name: &str, token: &str, timeout: Duration) -> Result<Claim, ClaimError> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let claim = self.send(name, token, move |result| {
            let _ = sender.try_send(result);
        })?;
        match receiver.recv_timeout(timeout) {
            Ok(result) => result.map(|()| claim),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => Err(ClaimError::Unavailable),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => Err(ClaimError::Stopped),
        }
    }

    /// As [`claim`](Self::claim); `reply` is called on the cluster's thread, and must not wait.
    ///
    /// # Errors
    /// [`ClaimError`], if the claim is not even sent.
    pub fn claim_then(
        &self,
        name: &str,
        token: &str,
        reply: impl FnOnce(Result<(), ClaimError>) + Send + 'static,
    ) -> Result<Claim, ClaimError> {
        self.send(name, token, reply)
    }

    fn send(
        &self,
        name: &str,
        token: &str,
        reply: impl FnOnce(Result<(), ClaimError>) + Send + 'static,
    ) -> Result<Claim, ClaimError> {
        if self.is_draining() {
            return Err(ClaimError::Draining);
        }
        // AcqRel: only the count matters; it orders nothing else.
        if self.0.waiting.fetch_add(1, AcqRel) >= MAX_WAITING_CLAIMS {
            self.0.waiting.fetch_sub(1, AcqRel);
            return Err(ClaimError::Busy);
        }
        let id = self.0.claims.fetch_add(1, Relaxed); // Relaxed: a number that is used once.
        let claim = Claim { commands: self.0.commands.clone(), name: name.to_owned(), id };
        let waiting = WaitingClaim(Arc::clone(&self.0.waiting));
        let reply = Box::new(move |result| {
            drop(waiting);
            reply(result);
        });
        let command = Command::Claim(name.to_owned(), token.to_owned(), id, reply);
        self.0.commands.send(command).map_err(|_| ClaimError::Stopped)?;
        Ok(claim)
    }

    /// Sets what is called, on the cluster's thread, when a client's name was taken over or lost: close that client. It must not
    /// wait. It may call everything of this cluster, also `on_lost`: the next loss is then told to the new one.
    pub fn on_lost(&self, on_lost: impl Fn(Lost) + Send + 'static) {
        *lock(&self.0.told.on_lost) = Some(Box::new(on_lost));
    }

    /// The figures. The cluster's thread writes them ten times a second, and less often when it has too much to do.
    pub fn status(&self) -> ClusterStatus {
        let mut status = self.0.told.figures.get();
        if self.is_draining() && status.state == "joined" {
            status.state = "draining".into();
        }
        status
    }

    /// The names of all machines as this one knows them, at most `limit`, in no order. Copying many takes time of the cluster's
    /// thread, which does it in pieces: keep the list for a while. One list is made at a time. Empty after the stop.
    pub async fn names(&self, limit: usize) -> Vec<String> {
        let Ok(place) = Arc::clone(&self.0.listing).acquire_owned().await else { return Vec::new() };
        let (sender, receiver) = oneshot::channel();
        self.ask_for_names(limit, place, move |names| {
            let _ = sender.send(names);
        });
        receiver.await.unwrap_or_default()
    }

    /// As [`names`](Self::names), for threads that may wait; `None` after `timeout`.
    pub fn names_blocking(&self, limit: usize, timeout: Duration) -> Option<Vec<String>> {
        let begun = std::time::Instant::now();
        let place = loop {
            match Arc::clone(&self.0.listing).try_acquire_owned() {
                Ok(place) => break place,
                Err(_) if begun.elapsed() >= timeout => return None,
                Err(_) => std::thread::sleep(LOOK_FOR_PLACE),
            }
        };
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.ask_for_names(limit, place, move |names| {
            let _ = sender.try_send(names);
        });
        match receiver.recv_timeout(timeout.saturating_sub(begun.elapsed())) {
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => None,
            answer => Some(answer.unwrap_or_default()),
        }
    }

    /// The host may stop waiting: its `reply` then does nothing. The place is free when the thread is done with the list.
    fn ask_for_names(
        &self,
        limit: usize,
        place: OwnedSemaphorePermit,
        reply: impl FnOnce(Vec<String>) + Send + 'static,
    ) {
        let reply = Box::new(move |names| {
            drop(place);
            reply(names);
        });
        // An error means that the thread has ended; whoever waits for the dropped reply notices.
        let _ = self.0.commands.send(Command::Names(limit, reply));
    }

    /// Whether claims can succeed now.
    pub fn is_joined(&self) -> bool {
        self.0.told.figures.get().state == "joined"
    }

    /// Takes no claims any more, and tells the other machines so. Close the clients then, paced; drop their claims; and
    /// call [`stop`](Self::stop).
    pub fn drain(&self) {
        self.0.is_draining.store(true, Release); // Release: pairs with the Acquire in `is_draining`.
        let _ = self.0.commands.send(Command::Drain);
    }

    /// Whether [`drain`](Self::drain) was called.
    pub fn is_draining(&self) -> bool {
        self.0.is_draining.load(Acquire) // Acquire: pairs with the Release in `drain`.
    }

    /// Leaves the cluster: what is under way is acknowledged, for a second at most, and then the lease is deleted, so that the other
    /// machines know at once. Waits for the end, for a few seconds at most; so does a second call at the same time. On the cluster's
    /// own thread (in a callback) it does not wait.
    pub fn stop(&self) {
        // An error means that the thread has ended.
        let _ = self.0.commands.send(Command::Stop);
        if std::thread::current().id() != self.0.thread_id {
            // The lock is held meanwhile, so that another call waits too. The cluster's thread never takes it.
            if let Some(thread) = lock(&self.0.thread).take() {
                let _ = thread.join();
            }
        }
    }
}

/// Counts a claim as waiting.
struct WaitingClaim(Arc<AtomicU64>);

impl Drop for WaitingClaim {
    fn drop(&mut self) {
        self.0.fetch_sub(1, AcqRel); // AcqRel: as where it is counted.
    }
}

/// A name that belongs to a client of this machine. Dropping it gives the name up.
#[derive(Debug)]
pub struct Claim {
    commands: mpsc::UnboundedSender<Command>,
    name: String,
    id: u64,
}

impl Claim {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The claim's number, as in [`Lost::claim`].
    pub fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Release(std::mem::take(&mut self.name), self.id));
    }
}
