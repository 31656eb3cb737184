//! The router. [`Builder`] checks the configuration, reserves the memory and creates the workers; [`Router`]
//! opens ports and stops the workers. A [`Port`] connects clients, submits their messages and the host's own, and hands
//! out [`Event`]s; [`Port::share`] gives several threads a [`SharedPort`]. The fields of [`SubmitOptions`],
//! [`SendOptions`] and [`ConnectOptions`] say what can be chosen for each message and client. [`Request`] is what a handler
//! sees. [`Worker`], [`Task`] and [`Watchdog`] are only for hosts that drive the workers themselves.

// A message enters in `port/submit`, waits in an ingress ring, is handled in `worker/dispatch`, leaves through
// `worker/egress` and an egress ring, and is handed out in `port/poll`. `port/` is the host's side and
// `worker/` the other side. The files directly in this folder are used by both sides: `shared` (the common
// state), `local` (workers on the threads of ports), `pair` (one worker and one port), `settle` (what an ended worker or pair leaves), `placement` (the
// worker of a client), `payload` (out-of-line payloads), `permits`, `rules`, `base`.
//
// Used by the crate's users, by `ffi` and, through `source`, by the monitor.

mod activity;
mod base;
mod crossing;
mod elsewhere;
mod lane;
mod local;
mod local_loop;
mod notice;
mod opening;
mod pair;
mod payload;
mod permits;
mod placement;
mod port;
mod rules;
mod settle;
mod shared;
#[cfg(not(corelane_loom))]
mod source;
mod thread;
mod watch;
mod worker;

/// The types that the models of `models::clients` use.
#[cfg(all(test, corelane_loom))]
pub(crate) mod model {
    pub(crate) use super::activity::Activity;
    pub(crate) use super::elsewhere::{Directory, GatewayOptions, LinkId};
    pub(crate) use super::lane::{rings::LaneRings, settle::untaken_messages};
    pub(crate) use super::notice::Tell;
    pub(crate) use super::payload::{Payloads, Way};
    pub(crate) use super::placement::{Frontier, frontiers};
    pub(crate) use super::port::link::PortLink;
    pub(crate) use super::port::poll::EgressReceiver;
    pub(crate) use super::worker::hold::{Held, Holds};
}

pub use crate::sync::{AnyThread, OneThread, Sharing};
pub use base::{BaseRequest, Routed};
#[cfg(not(corelane_loom))]
#[doc(hidden)]
pub use elsewhere::{GatewayOptions, Incoming, LinkId, LinkSet, Reject, Whereabouts};
#[cfg(not(corelane_loom))]
pub(crate) use lane::handle::{Lane, LaneClient, LaneView};
#[cfg(all(any(test, feature = "bench-internals"), not(corelane_loom)))]
#[doc(hidden)]
pub use lane::host::{LaneEvent, LaneHost, LaneKind, LaneSubmit};
pub use payload::{Owned, Returned};
pub use port::batch::{Batch, Polled};
pub use port::connect::ConnectOptions;
pub use port::event::{DeliveredMessage, Event, Recipient};
#[cfg(not(corelane_loom))]
#[doc(hidden)]
pub use port::gateway::{DeliverError, FromWorker, Gateway};
pub use port::handle::Port;
pub use port::send::SendOptions;
pub use port::shared::{Poller, SharedPort};
#[cfg(feature = "tokio")]
pub(crate) use port::submit::IsFirst;
pub use port::submit::{Address, SubmitOptions};
pub use rules::{Action, MessageType, ProtocolRules};
pub use watch::Watchdog;
pub use worker::cycle::Worker;
pub use worker::driven::Task;
pub use worker::request::{Relayed, Request};
pub use worker::tasks::TaskId;

use crate::clock::Clock;
use crate::config::{Budget, Config, Key, Sizes};
use crate::error::{BuildError, ConfigError, DrainError, Failed, PortError, StopError};
use crate::metrics::{Accounting, Stats};
use crate::sync::{Arc, Ordering, lock};
use base::{BaseRoute, Fallback};
use local::Seats;
use shared::Shared;
use std::time::{Duration, Instant};
use watch::Watch;
use worker::handler::{Handler, WorkerCode};

/// Builds a router.
///
/// ```
/// use corelane::{config::Config, router::{Builder, ProtocolRules}};
///
/// let rules = r#"{"name":"chat","type":"kind","recipient":"to","types":{"say":"relay"}}"#;
/// let builder = Builder::new(Config::default())
///     .protocol(ProtocolRules::parse(rules)?)
///     .short_handler("generic", "bye", |request| request.relay().map(|_| ()));
/// println!("{}", builder.budget()?); // The memory, before any is reserved.
/// let router = builder.start()?;
/// # Ok::<(), corelane::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Builder {
    config: Config,
    protocols: Vec<ProtocolRules>,
    handlers: Vec<(String, String, Handler)>,
    clock: Clock,
    name_keys: [u64; 2],
    base: BaseRoute,
}

impl Builder {
    /// Starts from a configuration, with the protocols `generic` and `peerjs`. Add the other shipped protocols,
    /// or the host's own, with [`protocol`](Self::protocol).
    pub fn new(config: Config) -> Self {
        Self {
            config,
            protocols: vec![ProtocolRules::generic(), ProtocolRules::peerjs()],
            handlers: Vec::new(),
            clock: Clock::new(),
            base: BaseRoute::default(),
            name_keys: crate::clients::random_keys(),
        }
    }

    /// Adds a protocol, shipped or the host's own. It replaces a protocol of the same name. Each type that the
    /// protocol lists costs two histograms of 8 KiB per worker.
    pub fn protocol(mut self, rules: ProtocolRules) -> Self {
        match self.protocols.iter_mut().find(|one| one.name() == rules.name()) {
            Some(one) => *one = rules,
            None => self.protocols.push(rules),
        }
        self
    }

    /// Sets the base route: the host's own handler, which takes a message over when the router cannot handle it
    /// (`route_fallback`, `enable_concurrent_routing`). It runs on the caller's thread and returns whether it
    /// succeeded. It must not route or submit on the same port.
    pub fn base_route(mut self, route: impl Fn(&BaseRequest<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.base = BaseRoute::new(route);
        self
    }

    /// Runs a closure on every message of a listed type, whatever the type's action. The closure can call
    /// [`Request::relay`] to run that action.
    ///
    /// The closure runs on the workers' threads, on several at the same time. It must not block, because the
    /// other clients of its worker wait until it returns, and it must not stop or drop its router. Its result
    /// is the outcome of the message. A panic counts as [`Failed::HandlerPanicked`] and ends with the message. (A
    /// panic while the process is already reporting one, in a panic hook or in the message's `Display`, ends
    /// the process: that is Rust's rule.)
    ///
    /// ```
    /// use corelane::{config::Config, error::Failed, router::Builder};
    ///
    /// let router = Builder::new(Config::default())
    ///     .handler("generic", "offer", |request| match request.payload().len() {
    ///         ..4096 => request.relay().map(|_| ()),
    ///         _ => Err(Failed::HandlerFailed),
    ///     })
    ///     .build()?;
    /// let wrong = Builder::new(Config::default()).handler("generic", "ofer", |_| Ok(())).build();
    /// assert!(wrong.unwrap_err().to_string().contains("does not list the type"));
    /// # Ok::<(), corelane::error::Error>(())
    /// ```
    pub fn handler(
        mut self,
        protocol: &str,
        message_type: &str,
        handler: impl Fn(&mut Request<'_>) -> Result<(), Failed> + Send + Sync + 'static,
    ) -> Self {
        self.handlers.push((protocol.to_owned(), message_type.to_owned(), Handler::new(handler, false)));
        self
    }

    /// As [`handler`](Self::handler), for a closure that never blocks and always returns within microseconds. Such a
    /// closure may also run on a local worker, that is, on the thread of a port's event loop, which reads no socket
    /// until the closure returns. Clients of a protocol with any other closure, or with tasks, are placed on workers
    /// with threads of their own.
    pub fn short_handler(
        mut self,
        protocol: &str,
        message_type: &str,
        handler: impl Fn(&mut Request<'_>) -> Result<(), Failed> + Send + Sync + 'static,
    ) -> Self {
        self.handlers.push((protocol.to_owned(), message_type.to_owned(), Handler::new(handler, true)));
        self
    }

    /// Replaces the clock, for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the keys of the name hash, so that a test run is repeatable. Clients that know the keys can choose
    /// names that collide, so leave the random default in production.
    pub fn name_keys(mut self, keys: [u64; 2]) -> Self {
        self.name_keys = keys;
        self
    }

    /// The memory that the router can need, by part. Nothing is reserved yet.
    ///
    /// # Errors
    /// The configuration is not valid.
    pub fn budget(&self) -> Result<Budget, ConfigError> {
        self.config.validate()?;
        // The listed types of each protocol, `send` per protocol, and one `other`.
        let types = self.protocols.iter().map(|rules| rules.types().len() + 1).sum::<usize>() + 1;
        let (messages, bytes) = (self.config.get(Key::HoldMessages), self.config.get(Key::HoldBytes));
        let scratch = self.config.max_relayed() as u64;
        let tasks = match self.protocols.iter().any(ProtocolRules::has_tasks) {
            true => {
                worker::tasks::Tasks::memory(self.config.get(Key::MaxTasks), self.config.get(Key::MaxPorts))
            }
            false => 0,
        };
        #[cfg(not(corelane_loom))]
        let (recorded, customs) = {
            let sizes = crate::record::HubSizes::of(&self.config);
            (sizes.bytes(), sizes.custom_bytes())
        };
        #[cfg(corelane_loom)]
        let (recorded, customs) = (0, 0);
        Ok(Budget::new(
            &self.config,
            Sizes {
                types,
                protocols: self.protocols.len() + 1,
                recorded,
                customs,
                holds: worker::hold::Holds::memory(messages, bytes, self.config.get(Key::MaxClients))
                    + scratch
                    + tasks,
                payloads: payload::Payloads::memory(
                    self.config.count(Key::Payloads),
                    self.config.get(Key::PayloadBytes),
                ),
                pair: pair::PAIR_BYTES
                    + worker::cycle::PAIR_BYTES
                    + port::ingress::PAIR_BYTES
                    + port::link::PAIR_BYTES
                    + lane::rings::LaneRings::bytes(self.config.get(Key::RingBytes))
                    + port::poll::PAIR_BYTES,
                thread: (thread::THREAD_BYTES, thread::STACK_BYTES as u64),
            },
        ))
    }

    /// The number of workers that [`build`](Self::build) returns.
    #[cfg(not(corelane_loom))]
    pub(crate) fn driven_workers(&self) -> usize {
        self.config.threaded_workers()
    }

    /// Builds the router and its workers without starting threads, for hosts and tests that drive the workers
    /// themselves with [`Worker::cycle`]. Local workers are not among the returned ones: the router keeps them for
    /// [`Router::local_port`], and [`Router::cycle_unowned`] drives those without a port.
    ///
    /// # Errors
    /// [`BuildError::Config`] if values do not fit together or their budget is above `memory_limit_bytes`; this is
    /// checked before any memory is reserved. [`BuildError::Rules`] for rules that can never work.
    /// [`BuildError::Handler`] or [`BuildError::UnknownProtocol`] for a handler of a type or protocol that is not listed.
    /// [`BuildError::System`] with `touch_memory` if the system has no memory left.
    pub fn build(self) -> Result<(Router, Vec<Worker>), BuildError> {
        self.budget()?.check(&self.config)?;
        self.protocols.iter().try_for_each(ProtocolRules::check)?;
        let fallback = Fallback::new(&self.config, &self.base)?;
        let handlers = worker::handler::resolve(&self.protocols, self.handlers)?;
        let mut shared =
            Shared::new(self.config, self.protocols, (self.base, fallback), self.clock, self.name_keys)?;
        for (entry, handlers) in shared.protocols.iter_mut().zip(&handlers) {
            entry.may_block = worker::handler::may_block(&entry.rules, handlers);
        }
        let touch = shared.config.touches();
        if touch {
            shared.touch()?;
        }
        let shared = Arc::new(shared);
        let code = Arc::new(WorkerCode::new(handlers, shared.workers.len()));
        let worker = |index| Worker::new(Arc::clone(&shared), Arc::clone(&code), index);
        let mut workers: Vec<_> = (0..shared.workers.len()).map(worker).collect();
        if touch && let Err(error) = workers.iter_mut().try_for_each(Worker::touch) {
            shared.request_stop(); // These workers count as stopped, not as lost.
            return Err(error.into());
        }
        let seats = Seats::new(workers.split_off(shared.placement.threaded()));
        Ok((Router { shared, code, threads: Vec::new(), seats, watch: None }, workers))
    }

    /// Builds the router and starts one thread per worker. The thread of a local worker drives it only while it has
    /// no port.
    ///
    /// # Errors
    /// As [`build`](Self::build). [`BuildError::System`] if a thread cannot be started. [`BuildError::Handler`] for a
    /// type whose action is [`Action::Host`], because tasks need host-driven workers.
    pub fn start(self) -> Result<Router, BuildError> {
        let has_handlers = !self.handlers.is_empty();
        if let Some(rules) = self.protocols.iter().find(|rules| rules.has_tasks()) {
            let problem = "its action is host, which needs workers that the host drives: build the router without threads (Builder::build, corelane_builder_build)";
            let protocol = rules.name().to_owned();
            return Err(BuildError::Handler {
                protocol,
                message_type: rules.task_type().to_owned(),
                problem,
            });
        }
        let (mut router, workers) = self.build()?;
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let pin = router.shared.config.router.pin && workers.len() <= cores.len();
        for (index, worker) in workers.into_iter().enumerate() {
            let core = cores.get(index).copied().filter(|_| pin);
            let thread = std::thread::Builder::new().name(format!("corelane-{index}"));
            let thread = thread.stack_size(thread::STACK_BYTES).spawn(move || {
                if let Some(core) = core {
                    core_affinity::set_for_current(core);
                }
                worker.run();
            });
            match thread {
                Ok(thread) => router.threads.push(thread),
                Err(error) => {
                    router.request_stop(); // The started workers stop; the others do not count as lost.
                    return Err(error.into());
                }
            }
        }
        router.seats.start_keepers()?;
        if has_handlers || !router.seats.is_empty() {
            router.watch = Some(Watch::start(&router.shared)?);
        }
        Ok(router)
    }
}

/// A running router. Dropping it stops it. Its ports stay valid and report that the router is closed.
///
/// ```
/// use corelane::{config::Config, router::Builder};
/// use std::time::Duration;
///
/// let mut router = Builder::new(Config::default()).start()?;
/// let monitor = router.monitor()?;
/// let port = router.port()?; // One for each host thread.
/// router.drain(Duration::from_secs(1))?; // Accepts nothing more, and waits for what it has accepted.
/// router.stop();
/// assert!(!port.is_running());
/// # Ok::<(), corelane::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Router {
    shared: Arc<Shared>,
    code: Arc<WorkerCode>,
    /// The threads of the workers that are not local.
    threads: Vec<std::thread::JoinHandle<()>>,
    /// The local workers.
    seats: Seats,
    /// Detects stalled workers, if there are handlers that can stall one.
    watch: Option<Watch>,
}

impl Router {
    /// Resolves a message type of a protocol once, for the sends of that type
    /// ([`SendOptions::message_type`]). A type that the protocol does not list counts as the protocol's type `send`,
    /// because series are created only before the start. `None` if there is no such protocol.
    pub fn message_type(&self, protocol: &str, name: &str) -> Option<MessageType> {
        self.shared.message_type(protocol, name)
    }

    /// Opens a port. Give each host thread its own: submitting and polling on one port never wait for another
    /// port.
    ///
    /// # Errors
    /// [`PortError::TooManyPorts`] if `max_ports` ports are open, [`PortError::Stopped`] after a stop,
    /// [`PortError::EveryWorkerIsLocal`], and [`PortError::System`] if the system has no memory or descriptor left.
    pub fn port(&self) -> Result<Port, PortError> {
        if self.shared.placement.threaded() == 0 {
            return Err(PortError::EveryWorkerIsLocal);
        }
        Port::open(&self.shared, None, || self.seats.cycle_here())
    }

    /// How many workers there are, local ones included.
    #[cfg(all(feature = "nats", not(corelane_loom)))]
    pub(crate) fn workers(&self) -> usize {
        self.shared.workers.len()
    }

    /// Opens the port to other machines. One at a time.
    #[cfg(not(corelane_loom))]
    #[doc(hidden)]
    pub fn gateway(&self, options: GatewayOptions) -> Result<Gateway, PortError> {
        Gateway::open(&self.shared, options, || self.seats.cycle_here())
    }

    /// Opens a port together with a local worker, for a host thread that is an event loop. The loop calls
    /// [`Port::cycle`] between reading and writing its sockets, and waits for one descriptor for both. The port's
    /// clients are placed on this worker for good: their messages to each other never leave the thread. Clients of a
    /// protocol with handlers that may block are placed on workers with threads of their own.
    ///
    /// When the port is released, a thread of the router drives the worker until the next port is opened with it.
    ///
    /// ```
    /// use corelane::{config::Config, router::{Builder, Event}};
    ///
    /// let mut config = Config::default();
    /// config.router.workers = Some(1);
    /// config.router.local_workers = 1;
    /// let router = Builder::new(config).start()?;
    /// let mut port = router.local_port()?;
    /// let ann = port.connect("ann", "generic", "", 1)?;
    /// port.connect("ben", "generic", "", 2)?;
    /// let mut got = 0;
    /// port.submit(ann, br#"{"type":"offer","to":"ben"}"#, 0)?; // What the loop has read from its sockets.
    /// while port.cycle()? > 0 {
    ///     port.poll_each(64, |event| got += usize::from(matches!(event, Event::Message(_))))?;
    /// }
    /// assert_eq!(got, 1);
    /// assert_eq!(port.next_due()?, None); // How long the loop may wait at most.
    /// assert!(port.arm()); // Now the loop waits for its sockets and the port's descriptor.
    /// port.awake(false); // A socket has ended the wait, not the descriptor.
    /// # Ok::<(), corelane::error::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`PortError::TooManyLocalPorts`] if every local worker has a port, [`PortError::OwnThread`] on a worker's thread.
    /// Otherwise as [`port`](Self::port).
    pub fn local_port(&self) -> Result<Port, PortError> {
        if !self.shared.is_running() {
            return Err(PortError::Stopped);
        }
        if thread::is_on_worker() {
            return Err(PortError::OwnThread);
        }
        let seat =
            self.seats.own_one().ok_or_else(|| PortError::TooManyLocalPorts(local::limit(&self.shared)))?;
        Port::open(&self.shared, Some(&seat), || seat.cycle_once() + self.seats.cycle_here())
            .inspect_err(|_| seat.release())
    }

    /// Whether messages of a type become tasks of the host: in one protocol, or in any if `protocol` is empty.
    ///
    /// # Errors
    /// A text that names what is listed, if the protocol or the type is not.
    #[cfg(not(corelane_loom))]
    pub(crate) fn is_task(&self, protocol: &str, name: &str) -> Result<bool, String> {
        let all = || self.shared.protocols.iter().map(|entry| &entry.rules);
        let meant: Vec<_> = all().filter(|rules| protocol.is_empty() || rules.name() == protocol).collect();
        if meant.is_empty() {
            let names: Vec<_> = all().map(ProtocolRules::name).collect();
            return Err(format!("{protocol:?} is no protocol of this router; it has {}", names.join(", ")));
        }
        let is_host = |action: &Action| matches!(action, Action::Host { .. });
        if meant.iter().any(|rules| rules.unknown().as_ref().is_some_and(is_host)) {
            return Ok(true);
        }
        let types = || meant.iter().flat_map(|rules| rules.types());
        let mut actions = types().filter(|(one, _)| one == name).map(|(_, action)| *action).peekable();
        if actions.peek().is_none() {
            let mut names: Vec<_> =
                types().filter(|(_, action)| is_host(action)).map(|(one, _)| one.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let list = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(format!("no protocol lists the type {name:?}; types with the action host: {list}"));
        }
        Ok(actions.any(|action| is_host(&action)))
    }

    /// Opens a lane, for a host in another language. See `lane`.
    #[cfg(not(corelane_loom))]
    pub(crate) fn lane(&self) -> Result<lane::handle::Lane, PortError> {
        lane::handle::Lane::open(&self.shared, self.seats.all(), || self.seats.cycle_here())
    }

    /// Opens a lane with a host in Rust. For corelane's own tests and benchmarks.
    ///
    /// # Errors
    /// As [`port`](Self::port).
    #[cfg(all(any(test, feature = "bench-internals"), not(corelane_loom)))]
    #[doc(hidden)]
    pub fn lane_host(&self) -> Result<LaneHost, PortError> {
        Ok(LaneHost::new(self.lane()?))
    }

    /// Runs one cycle of each local worker that has no port, on this thread. For routers built with
    /// [`Builder::build`]; [`Builder::start`] starts a thread that does this. Returns how much work was done.
    pub fn cycle_unowned(&self) -> usize {
        self.seats.cycle_unowned()
    }

    /// A handle that reads the figures. It can be used on any thread and outlives the router.
    pub fn reader(&self) -> StatsReader {
        StatsReader { shared: Arc::clone(&self.shared) }
    }

    /// All figures at this moment. Workers continue meanwhile, and no difference in the accounting is ever
    /// negative.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Records a message that the host has routed itself. Any thread may call it. These messages have their own
    /// figures ([`Stats::recorded`]), separate from the figures of routed messages; the monitor's figures
    /// contain both. A type or application gets its series on first use, up to `max_recorded_types` and
    /// `max_applications`; after that it counts as `other`.
    #[cfg(not(corelane_loom))]
    pub fn record(&self, message: &crate::record::RecordedMessage<'_>) {
        self.shared.hub.record(message);
    }

    /// The source from which a monitor reads this router's figures; see
    /// [`Monitor::of`](crate::monitor::Monitor::of). It outlives the router.
    #[cfg(not(corelane_loom))]
    pub fn source(&self) -> crate::record::MonitorSource {
        crate::record::MonitorSource(self.shared.clone())
    }

    /// The accounting of all messages and deliveries: the cheap part of [`stats`](Self::stats).
    pub fn accounting(&self) -> Accounting {
        self.shared.accounting()
    }

    /// Sets how many of the workers with threads of their own get messages: the first `workers` ones. The other workers finish what they have
    /// and keep the clients that cannot move yet. With `hash` and `least_loaded` a client moves only when it is
    /// quiet, so order is kept.
    ///
    /// # Errors
    /// [`ConfigError`] for 0, or for more workers than the router has.
    pub fn set_active_workers(&self, workers: usize) -> Result<(), ConfigError> {
        let all = self.shared.placement.threaded();
        if workers == 0 || workers > all {
            let allowed = format!("1 to {all} threads");
            return Err(ConfigError::value("active_workers", workers.to_string(), allowed));
        }
        let _control = lock(&self.shared.control);
        self.shared.placement.set_active(workers);
        Ok(())
    }

    /// Marks a worker as stalled, as the watchdog does: no new client is placed on it, and its clients move away as
    /// soon as they can. For corelane's own tests.
    #[cfg(feature = "bench-internals")]
    #[doc(hidden)]
    pub fn set_stalled(&self, worker: usize, stalled: bool) {
        if worker < self.shared.workers.len() {
            self.shared.placement.set_stalled(worker, stalled);
        }
    }

    /// Refuses new messages (as draining) and waits until every accepted message has ended, held messages
    /// included, and every delivery has been polled. The ports must be polled meanwhile, so do not call it on the thread
    /// that polls one. It does not wait for acknowledgements.
    ///
    /// # Errors
    /// [`DrainError::TimedOut`] if that takes longer than `timeout`; the router keeps draining. [`DrainError::OwnThread`] on a
    /// thread that drives a local worker, because the call would wait for its own thread; nothing is changed.
    pub fn drain(&self, timeout: Duration) -> Result<(), DrainError> {
        if self.shared.is_loop_here() {
            return Err(DrainError::OwnThread);
        }
        let start = Instant::now();
        loop {
            if self.look_at_drain() {
                return Ok(());
            }
            if start.elapsed() >= timeout {
                return Err(DrainError::TimedOut);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Starts a drain if none is under way. Returns whether it has ended.
    pub(crate) fn look_at_drain(&self) -> bool {
        // A port that reads the flag late accepts one more message, and the drain waits for that message. Release: a worker
        // that sees the flag takes what lanes had published before.
        self.shared.draining.store(true, Ordering::Release);
        if !self.shared.are_lanes_drained() {
            return false;
        }
        let accounting = self.shared.accounting();
        accounting.in_flight == 0 && accounting.queued == 0
    }

    /// A watchdog that detects workers whose handler exceeds its time limit. A router with handlers runs its
    /// own watchdog once it is started.
    pub fn watchdog(&self) -> Watchdog {
        Watchdog::new(&self.shared)
    }

    /// Asks the workers to stop and returns at once. Each worker handles what has been published to it, then
    /// leaves its pairs. This is for routers whose workers the host drives; [`stop`](Self::stop) also waits.
    pub fn request_stop(&self) {
        self.shared.request_stop();
    }

    /// As [`stop`](Self::stop), but waits at most `timeout`. A worker that is inside a handler at that time is
    /// given up: the handler's message and the records behind it fail as [`Failed::Stuck`], the messages that
    /// the worker held fail as stopped, and its thread stays behind with the memory that the thread may still
    /// read. If the handler returns later, the thread ends without touching anything. All other workers stop
    /// normally. Host-driven workers stop in their next cycles; this call does not wait for them, except for
    /// one that is inside a handler. Local workers stop in the next cycles of their loops; after `timeout` this call
    /// ends those whose loop has not come back, in place of the loop. It does not wait for a loop that has not begun.
    ///
    /// # Errors
    /// [`StopError::TimedOut`] if a worker still runs after `timeout`. [`StopError::Stuck`] if all workers have stopped
    /// except those that were given up. [`StopError::OwnThread`] on a thread that drives a local worker, because the call
    /// would wait for its own thread: call [`request_stop`](Self::request_stop) and continue the loop until
    /// [`Port::poll`] says closed.
    pub fn stop_within(&self, timeout: Duration) -> Result<(), StopError> {
        if self.shared.is_loop_here() {
            return Err(StopError::OwnThread);
        }
        self.request_stop();
        let start = Instant::now();
        loop {
            if let Some(stopped) = self.look_at_stop(start.elapsed() >= timeout) {
                return stopped;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// After a request to stop: drives the local workers that nobody drives, and gives up the stuck workers once the time
    /// `is_over`. Returns the result of the stop if it has ended.
    pub(crate) fn look_at_stop(&self, is_over: bool) -> Option<Result<(), StopError>> {
        if !self.have_all_left() {
            self.seats.cycle_undriven();
        }
        if !self.have_all_left() {
            if !is_over {
                return None;
            }
            for worker in 0..self.shared.placement.threaded() {
                worker::adoption::give_up(&self.shared, &self.code, worker);
            }
            self.seats.end_all(&self.code);
            if !self.have_all_left() {
                return Some(Err(StopError::TimedOut));
            }
        }
        Some(match self.code.handovers().filter(|handover| handover.is_claimed()).count() {
            0 => Ok(()),
            given_up => Err(StopError::Stuck(given_up as u32)),
        })
    }

    fn have_all_left(&self) -> bool {
        let mut workers = self.code.handovers().enumerate();
        workers.all(|(index, handover)| match (self.seats.get(index), self.threads.get(index)) {
            (Some(seat), _) => seat.has_ended() || handover.is_claimed(),
            (None, Some(thread)) => thread.is_finished() || handover.is_claimed(),
            (None, None) => !handover.is_away(), // Host-driven: it leaves in its next cycle.
        })
    }

    /// Stops the router. Everything published before is handled, later submissions are refused as closed, and
    /// held messages fail as stopped. Deliveries can still be polled afterwards, and clients stay connected until the host
    /// disconnects them or drops their port. The call waits for every
    /// worker. It waits up to `stop_timeout_ms` for a worker that is inside a handler, then gives that worker
    /// up, as [`stop_within`](Self::stop_within) does. The local workers of the calling thread are ended at once.
    pub fn stop(&mut self) {
        if self.shared.is_loop_here() {
            self.request_stop();
            self.seats.end_here();
        }
        let mut timeout = self.shared.config.milliseconds(Key::StopTimeout);
        while self.stop_within(timeout) == Err(StopError::TimedOut) {
            // The worker is not inside a handler, so it cannot be given up at this moment: it will enter one or
            // stop. Try again soon.
            timeout = Duration::from_millis(1);
        }
        for thread in self.threads.drain(..).filter(std::thread::JoinHandle::is_finished) {
            // The thread itself has reported its worker's panic. Continue with the other threads.
            let _ = thread.join();
        }
        self.seats.join_keepers();
        self.watch = None;
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Reads a router's figures from any thread.
#[derive(Clone, Debug)]
pub struct StatsReader {
    shared: Arc<Shared>,
}

impl StatsReader {
    /// The accounting, as [`Router::accounting`].
    pub fn accounting(&self) -> Accounting {
        self.shared.accounting()
    }

    /// All figures at this moment, as [`Router::stats`].
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }
}
