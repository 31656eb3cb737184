//! The router: built from a configuration, it hands out ports and runs pinned workers. `port` is the hosts'
//! side, `worker` the other; `relay` is what happens to a message in between; `egress` the way out.

mod egress;
mod held;
mod hold;
mod pair;
mod permits;
mod placement;
mod poll;
mod port;
mod relay;
mod rules;
mod shared;
mod shared_port;
mod submit;
mod worker;

/// What the models of `models::clients` call.
#[cfg(all(test, corelane_loom))]
pub(crate) mod model {
    pub(crate) use super::hold::{Held, Holds};
    pub(crate) use super::placement::{Frontier, frontiers};
}

pub use poll::{Event, Message};
pub use port::Port;
pub use rules::{Action, ProtocolRules};
pub use shared_port::{Poller, SharedPort};
pub use worker::Worker;

use crate::clock::Clock;
use crate::config::{Budget, Config};
use crate::error::Error;
use crate::metrics::{Accounting, Stats};
use crate::sync::{Arc, Ordering, lock, wake_fence};
use shared::{RouterState, Shared};
use std::time::{Duration, Instant};

/// Builds a router.
#[derive(Debug)]
pub struct Builder {
    config: Config,
    protocols: Vec<ProtocolRules>,
    clock: Clock,
    name_keys: [u64; 2],
}

impl Builder {
    /// Starts from a configuration, with the protocols that ship: `generic` and `peerjs`.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            protocols: vec![ProtocolRules::generic(), ProtocolRules::peerjs()],
            clock: Clock::new(),
            name_keys: std::array::from_fn(|_| {
                use std::hash::{BuildHasher, Hasher};
                // The standard library's own random keys, from the operating system.
                std::hash::RandomState::new().build_hasher().finish()
            }),
        }
    }

    /// Adds a protocol of the host's own.
    pub fn protocol(mut self, rules: ProtocolRules) -> Self {
        self.protocols.push(rules);
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
        let types = self.protocols.iter().map(|rules| rules.types().len()).sum::<usize>() + 1;
        Budget::new(&self.config, types, self.protocols.len() + 1)
    }

    /// Builds the router and its workers, without threads: for hosts and tests that drive the workers
    /// themselves by [`Worker::cycle`].
    ///
    /// # Errors
    /// [`Error::Config`] for values that do not fit together.
    pub fn build(self) -> Result<(Router, Vec<Worker>), Error> {
        self.config.validate()?;
        let shared = Arc::new(Shared::new(self.config, self.protocols, self.clock, self.name_keys));
        let workers =
            (0..shared.workers.len()).map(|index| Worker::new(Arc::clone(&shared), index)).collect();
        Ok((Router { shared, threads: Vec::new() }, workers))
    }

    /// Builds the router and starts a thread per worker.
    ///
    /// # Errors
    /// [`Error::Config`] as [`build`](Self::build), or [`Error::System`] where a thread cannot be started.
    pub fn start(self) -> Result<Router, Error> {
        let (mut router, workers) = self.build()?;
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let pin = router.shared.config.get(crate::config::Key::Pin) == 1 && workers.len() <= cores.len();
        for (index, worker) in workers.into_iter().enumerate() {
            let core = cores.get(index).copied().filter(|_| pin);
            let thread = std::thread::Builder::new().name(format!("corelane-{index}")).spawn(move || {
                if let Some(core) = core {
                    core_affinity::set_for_current(core);
                }
                worker.run();
            });
            match thread {
                Ok(thread) => router.threads.push(thread),
                Err(error) => return Err(error.into()), // Dropping the router stops those that run.
            }
        }
        Ok(router)
    }
}

/// A running router. Dropping it stops it; ports stay valid and say that it is closed.
#[derive(Debug)]
pub struct Router {
    shared: Arc<Shared>,
    threads: Vec<std::thread::JoinHandle<()>>,
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

    /// Records a message that the host routed itself, for hosts that only want to see: from any thread, in figures of its
    /// own ([`Stats::recorded`]) that no figure of routed messages contains. Types and applications get series on first
    /// use, as long as `max_recorded_types` and `max_applications` last; then they count as `other`.
    #[cfg(not(corelane_loom))]
    pub fn record(
        &self,
        protocol: &str,
        message_type: &str,
        application: &str,
        success: bool,
        bytes: u64,
        duration_nanoseconds: u64,
    ) {
        let labels = (protocol, message_type, application);
        self.shared.recorder.record(labels, success, bytes, duration_nanoseconds);
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
        let end = Instant::now() + timeout;
        loop {
            let accounting = self.shared.accounting();
            if accounting.in_flight == 0 && accounting.queued == 0 {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(Error::Timeout);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Asks the workers to stop: each takes what had been published to it, and leaves. For routers whose
    /// workers are driven by hand; [`stop`](Self::stop) also waits.
    pub fn request_stop(&self) {
        let mut control = lock(&self.shared.control);
        control.state = RouterState::Stopped;
        for worker in &self.shared.workers {
            // Release: a worker that sees the flag sees every pair attached before; attaching takes the lock.
            worker.stop.store(true, Ordering::Release);
            wake_fence("stop-fence");
            worker.wake.wake_if_asleep();
        }
    }

    /// As [`stop`](Self::stop), waiting only so long. The workers stop in any case.
    ///
    /// # Errors
    /// [`Error::Timeout`] when time is over and a worker still runs.
    pub fn stop_within(&self, timeout: Duration) -> Result<(), Error> {
        self.request_stop();
        let start = Instant::now();
        while !self.threads.iter().all(std::thread::JoinHandle::is_finished) {
            if start.elapsed() >= timeout {
                return Err(Error::Timeout);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Stops: nothing published before is lost, what is published later is refused as closed, what was held
    /// fails as stopped. Deliveries can still be polled afterwards.
    pub fn stop(&mut self) {
        self.request_stop();
        for thread in self.threads.drain(..) {
            // A worker's panic has been reported by its thread; stopping goes on with the others.
            let _ = thread.join();
        }
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
