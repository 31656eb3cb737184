//! The router: built from a configuration, it hands out ports and runs pinned workers. `port` is the hosts'
//! side, `worker` the other; `relay` is what happens to a message in between; `egress` the way out.

mod activity;
mod base;
mod call_result;
mod on_worker;
mod pair;
mod panics;
mod payload;
mod permits;
mod placement;
mod port;
mod rules;
mod settle;
mod shared;
#[cfg(not(corelane_loom))]
mod source;
mod stack;
mod watch;
mod worker;

/// What the models of `models::clients` call.
#[cfg(all(test, corelane_loom))]
pub(crate) mod model {
    pub(crate) use super::activity::Activity;
    pub(crate) use super::placement::{Frontier, frontiers};
    pub(crate) use super::port::link::PortLink;
    pub(crate) use super::port::poll::EgressReceiver;
    pub(crate) use super::worker::hold::{Held, Holds};
}

pub use base::{BaseRequest, Routed};
pub use payload::{Owned, Returned};
pub use port::connect::ConnectOptions;
pub use port::handle::Port;
#[cfg(not(corelane_loom))]
pub(crate) use port::inline::InlineView;
pub use port::poll::{DeliveredMessage, Event};
pub use port::shared::{Poller, SharedPort};
pub use port::submit::SubmitOptions;
pub use rules::{Action, ProtocolRules};
pub use watch::Watchdog;
pub use worker::cycle::Worker;
pub use worker::driven::Task;
pub use worker::request::{Relayed, Request};
pub use worker::tasks::TaskId;

use crate::clock::Clock;
use crate::config::{Budget, Config, Key, Sizes};
use crate::error::{Error, Failed};
use crate::metrics::{Accounting, Stats};
use crate::sync::{Arc, Ordering, lock};
use base::{BaseRoute, Fallback};
use shared::Shared;
use std::time::{Duration, Instant};
use watch::Watch;
use worker::handler::{Handler, WorkerCode};

/// Builds a router.
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
    /// Starts from a configuration, with the protocols `generic` and `peerjs`. The others that ship, and a host's own,
    /// are added by [`protocol`](Self::protocol).
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

    /// Adds a protocol, one that ships or one of the host's own; one that has the name of another takes its place. Each
    /// type that it lists costs two histograms of 8 KiB per worker.
    pub fn protocol(mut self, rules: ProtocolRules) -> Self {
        match self.protocols.iter_mut().find(|one| one.name() == rules.name()) {
            Some(one) => *one = rules,
            None => self.protocols.push(rules),
        }
        self
    }

    /// The host's own route: what takes a message over, on the caller's thread, where the router cannot handle it
    /// (`route_fallback`, `enable_concurrent_routing`). Returns whether that worked. It must not route or submit on the
    /// same port.
    pub fn base_route(mut self, route: impl Fn(&BaseRequest<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.base = BaseRoute::new(route);
        self
    }

    /// Runs a closure on every message of a type that the protocol lists, whatever its action; [`Request::relay`] does
    /// what the action says. It runs on the workers' threads, on several at once, and keeps its worker's other clients
    /// waiting until it returns: it must not block. What it returns is the message's outcome; a panic counts as
    /// [`Failed::Panicked`] and ends with the message. (A panic while the process is already reporting one, in a panic
    /// hook or in the message's `Display`, ends the process: that is the language's rule.) It must not stop or drop
    /// its router.
    ///
    /// ```
    /// use corelane::{config::Config, error::Failed, router::Builder};
    ///
    /// let router = Builder::new(Config::default())
    ///     .handler("generic", "offer", |request| match request.payload().len() {
    ///         ..4096 => request.relay().map(|_| ()),
    ///         _ => Err(Failed::Handler),
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
        self.handlers.push((protocol.to_owned(), message_type.to_owned(), Handler::new(handler)));
        self
    }

    /// Takes time from another clock, for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Hashes names under known keys, so that a test's run can be repeated. Peers that knew the keys could
    /// choose names that collide.
    pub fn name_keys(mut self, keys: [u64; 2]) -> Self {
        self.name_keys = keys;
        self
    }

    /// What the router may come to need, before it is built.
    pub fn budget(&self) -> Budget {
        // Each protocol's own, one for what hosts send, and `other`.
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
        Budget::new(
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
                    + port::poll::PAIR_BYTES,
                thread: (stack::THREAD_BYTES, stack::STACK_BYTES as u64),
            },
        )
    }

    /// Builds the router and its workers, without threads: for hosts and tests that drive the workers
    /// themselves by [`Worker::cycle`].
    ///
    /// # Errors
    /// [`Error::Config`] for values that do not fit together or whose budget is above `memory_limit_bytes`, before
    /// anything is taken; [`Error::Handler`] or [`Error::UnknownProtocol`] for a handler of something that is not
    /// listed; with `touch_memory` [`Error::System`] where the system has no memory left.
    pub fn build(self) -> Result<(Router, Vec<Worker>), Error> {
        self.config.validate()?;
        self.budget().check(&self.config)?;
        self.protocols.iter().try_for_each(ProtocolRules::check)?;
        let fallback = Fallback::new(&self.config, &self.base)?;
        let handlers = worker::handler::resolve(&self.protocols, self.handlers)?;
        let mut shared =
            Shared::new(self.config, self.protocols, (self.base, fallback), self.clock, self.name_keys);
        let touch = shared.config.touches();
        if touch {
            shared.touch()?;
        }
        let shared = Arc::new(shared);
        let code = Arc::new(WorkerCode::new(handlers, shared.workers.len()));
        let worker = |index| Worker::new(Arc::clone(&shared), Arc::clone(&code), index);
        let mut workers: Vec<_> = (0..shared.workers.len()).map(worker).collect();
        if touch && let Err(error) = workers.iter_mut().try_for_each(Worker::touch) {
            shared.request_stop(); // None of them is missed.
            return Err(error.into());
        }
        Ok((Router { shared, code, threads: Vec::new(), watch: None }, workers))
    }

    /// Builds the router and starts a thread per worker.
    ///
    /// # Errors
    /// As [`build`](Self::build); [`Error::System`] where a thread cannot be started; [`Error::Handler`] for a type that is
    /// handed out to the host ([`Action::Host`]), which needs workers that the host drives.
    pub fn start(self) -> Result<Router, Error> {
        let has_handlers = !self.handlers.is_empty();
        if let Some(rules) = self.protocols.iter().find(|rules| rules.has_tasks()) {
            let problem = "it is handed out, and the threads of Builder::start take nothing: use Builder::build and Worker::take";
            let protocol = rules.name().to_owned();
            return Err(Error::Handler { protocol, message_type: rules.task_type().to_owned(), problem });
        }
        let (mut router, workers) = self.build()?;
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let pin = router.shared.config.get(Key::Pin) == 1 && workers.len() <= cores.len();
        for (index, worker) in workers.into_iter().enumerate() {
            let core = cores.get(index).copied().filter(|_| pin);
            let thread = std::thread::Builder::new().name(format!("corelane-{index}"));
            let thread = thread.stack_size(stack::STACK_BYTES).spawn(move || {
                if let Some(core) = core {
                    core_affinity::set_for_current(core);
                }
                worker.run();
            });
            match thread {
                Ok(thread) => router.threads.push(thread),
                Err(error) => {
                    router.request_stop(); // Those that run stop; nobody misses the others.
                    return Err(error.into());
                }
            }
        }
        if has_handlers {
            router.watch = Some(Watch::start(&router.shared)?);
        }
        Ok(router)
    }
}

/// A running router. Dropping it stops it; ports stay valid and say that it is closed.
#[derive(Debug)]
pub struct Router {
    shared: Arc<Shared>,
    code: Arc<WorkerCode>,
    threads: Vec<std::thread::JoinHandle<()>>,
    /// Looks at the workers while there are handlers that could keep them.
    watch: Option<Watch>,
}

impl Router {
    /// Opens a port. Each host thread has its own; what it submits and polls never waits for another's.
    ///
    /// # Errors
    /// [`Error::TooManyPorts`], [`Error::State`] once stopped, [`Error::System`] where no memory or descriptor
    /// is left.
    pub fn port(&self) -> Result<Port, Error> {
        Port::open(&self.shared)
    }

    /// A handle for reading figures, for any thread, that outlives the router.
    pub fn reader(&self) -> StatsReader {
        StatsReader { shared: Arc::clone(&self.shared) }
    }

    /// All figures now. Workers go on meanwhile; the accounting never shows a negative difference.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Records a message that the host routed itself: from any thread, in figures of its own ([`Stats::recorded`]) that no
    /// figure of routed messages contains; the monitor's contain both. Types and applications get series on first use,
    /// as long as `max_recorded_types` and `max_applications` last; then they count as `other`.
    #[cfg(not(corelane_loom))]
    pub fn record(&self, message: &crate::record::RecordedMessage<'_>) {
        self.shared.hub.record(message);
    }

    /// Where a monitor reads this router's figures; see [`Monitor::of`](crate::monitor::Monitor::of). It outlives the router.
    #[cfg(not(corelane_loom))]
    pub fn source(&self) -> crate::record::MonitorSource {
        crate::record::MonitorSource(self.shared.clone())
    }

    /// Where every message and delivery is: the cheap part of [`stats`](Self::stats).
    pub fn accounting(&self) -> Accounting {
        self.shared.accounting()
    }

    /// Changes how many workers messages are placed on, the first ones; the others go on with what they have, and with
    /// clients that cannot move yet. With `hash` and `least_loaded` each client moves when nothing of it is under way,
    /// so order is kept.
    ///
    /// # Errors
    /// [`Error::Config`] for 0, or for more than there are.
    pub fn set_active_workers(&self, workers: usize) -> Result<(), Error> {
        let all = self.shared.workers.len();
        if workers == 0 || workers > all {
            let allowed = format!("1 to {all} threads");
            return Err(Error::Config { key: "active_workers", value: workers.to_string(), allowed });
        }
        let _control = lock(&self.shared.control);
        self.shared.placement.set_active(workers);
        Ok(())
    }

    /// Marks a worker as stalled: nobody new is placed there, and who can move does. For tests of hosts; a watchdog
    /// does the same.
    #[doc(hidden)]
    pub fn set_stalled(&self, worker: usize, stalled: bool) {
        if worker < self.shared.workers.len() {
            self.shared.placement.set_stalled(worker, stalled);
        }
    }

    /// The protocols' names, in the order of their numbers.
    pub fn protocol(&self, name: &str) -> Option<u16> {
        self.shared.protocol(name)
    }

    /// Takes nothing new (submissions are refused as draining) and waits until everything accepted has ended,
    /// held messages included, and every delivery has been polled.
    ///
    /// # Errors
    /// [`Error::Timeout`] when time is over; the router still drains.
    pub fn drain(&self, timeout: Duration) -> Result<(), Error> {
        // Relaxed: a port that reads it late takes one more message, which is then waited for.
        self.shared.draining.store(true, Ordering::Relaxed);
        let start = Instant::now();
        loop {
            let accounting = self.shared.accounting();
            if accounting.in_flight == 0 && accounting.queued == 0 {
                return Ok(());
            }
            if start.elapsed() >= timeout {
                return Err(Error::Timeout);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What finds workers whose handlers are over their time. A started router with handlers runs one itself.
    pub fn watchdog(&self) -> Watchdog {
        Watchdog::new(&self.shared)
    }

    /// Asks the workers to stop: each takes what had been published to it, and leaves. For routers whose
    /// workers are driven by hand; [`stop`](Self::stop) also waits.
    pub fn request_stop(&self) {
        self.shared.request_stop();
    }

    /// As [`stop`](Self::stop), waiting only so long. A worker that is then inside a handler is given up: the handler's
    /// message and what waits behind it fail as [`Failed::Stuck`], what the worker held fails as stopped, and its thread
    /// is left behind, with the memory that it may still read. Should the handler return, its thread ends without
    /// touching anything. The other workers stop in any case. Workers that are driven by hand stop in their next
    /// cycles, which this does not wait for, except for one that is inside a handler.
    ///
    /// # Errors
    /// [`Error::Timeout`] when time is over and a worker still runs; [`Error::Stuck`] when all have stopped but those
    /// that were given up.
    pub fn stop_within(&self, timeout: Duration) -> Result<(), Error> {
        self.request_stop();
        let start = Instant::now();
        while !self.have_all_left() {
            if start.elapsed() >= timeout {
                for worker in 0..self.shared.workers.len() {
                    worker::adoption::give_up(&self.shared, &self.code, worker);
                }
                if self.have_all_left() {
                    break;
                }
                return Err(Error::Timeout);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        match self.code.handovers().filter(|handover| handover.is_claimed()).count() {
            0 => Ok(()),
            given_up => Err(Error::Stuck(given_up as u32)),
        }
    }

    fn have_all_left(&self) -> bool {
        let mut workers = self.code.handovers().enumerate();
        workers.all(|(index, handover)| match self.threads.get(index) {
            Some(thread) => thread.is_finished() || handover.is_claimed(),
            None => !handover.is_away(), // Driven by hand: it leaves in its next cycle.
        })
    }

    /// Stops: nothing published before is lost, what is published later is refused as closed, what was held
    /// fails as stopped. Deliveries can still be polled afterwards. Waits for every worker, for one that is inside a
    /// handler up to `stop_timeout_ms`; then it gives that one up, as [`stop_within`](Self::stop_within).
    pub fn stop(&mut self) {
        let mut timeout = self.shared.config.milliseconds(Key::StopTimeout);
        while self.stop_within(timeout) == Err(Error::Timeout) {
            // Between two messages, or at work without any handler: it comes to one or to its end.
            timeout = Duration::from_millis(1);
        }
        for thread in self.threads.drain(..).filter(std::thread::JoinHandle::is_finished) {
            // A worker's panic has been reported by its thread; stopping goes on with the others.
            let _ = thread.join();
        }
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
    /// Where every message and delivery is, as [`Router::accounting`].
    pub fn accounting(&self) -> Accounting {
        self.shared.accounting()
    }

    /// All figures now, as [`Router::stats`].
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }
}
