//! What ports, workers and readers of one router share. Built once; afterwards every field is either read-only,
//! a cell with one writer, a protocol of its own (wake words, pairs, clients), or behind the control lock.

use super::handler::Handler;
use super::pair::Pair;
use super::relay::Relay;
use super::rules::ProtocolRules;
use super::send::SEND;
use super::watch::Activity;
use crate::clients::{Clients, Limits};
use crate::clock::Clock;
use crate::config::{Config, Key};
use crate::metrics::{
    Accounting, Labels, OTHER, PortShard, ProtocolId, Sources, Stats, TypeId, WorkerShard, account, collect,
};
use crate::park::WakeWord;
use crate::ring::Attachment;
use crate::sync::{AtomicBool, AtomicU64, Handover, Mutex, Relaxed, lock};
use crossbeam_utils::CachePadded;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) limits: Limits,
    pub(super) protocols: Vec<Rules>,
    pub(super) labels: Labels,
    #[cfg(not(corelane_loom))]
    pub(super) recorder: crate::metrics::Recorder,
    pub(super) clients: Clients,
    pub(super) workers: Box<[CachePadded<WorkerShared>]>,
    pub(super) ports: Box<[PortShard]>,
    /// One per (worker, port), worker by worker.
    pub(super) pairs: Box<[Attachment<Pair>]>,
    pub(super) draining: AtomicBool,
    pub(super) control: Mutex<Control>,
}

/// What others see of a worker.
#[derive(Debug)]
pub(super) struct WorkerShared {
    pub(super) wake: WakeWord,
    /// Counts attach and detach events of this worker's pairs, so that it looks at them only then.
    pub(super) attach_changes: AtomicU64,
    pub(super) stop: AtomicBool,
    /// A post found the ring full: look up every name that something is held for.
    pub(super) look_up_all: AtomicBool,
    /// Its handler is over its time; written by the watchdog, see `watch`.
    pub(super) stalled: AtomicBool,
    /// How often that came about, and the number of the handler's run that was counted last.
    pub(super) stalls: AtomicU64,
    pub(super) stall_counted: AtomicU64,
    pub(super) activity: CachePadded<Activity>,
    /// Where its relay lies while it is inside a handler.
    pub(super) handover: CachePadded<Handover<Box<Relay>>>,
    pub(super) shard: WorkerShard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RouterState {
    Running,
    Stopped,
}

#[derive(Debug)]
pub(super) struct Control {
    pub(super) state: RouterState,
    pub(super) port_open: Vec<bool>,
}

/// A protocol with its series.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) rules: ProtocolRules,
    pub(super) id: ProtocolId,
    pub(super) types: Vec<TypeId>,
    /// The type under which what hosts send to its clients is counted.
    pub(super) send: TypeId,
    /// By type, the closure that it runs.
    pub(super) handlers: Vec<Option<Handler>>,
}

impl Shared {
    pub(super) fn new(
        config: Config,
        protocols: Vec<ProtocolRules>,
        handlers: Vec<Vec<Option<Handler>>>,
        clock: Clock,
        name_keys: [u64; 2],
    ) -> Self {
        let mut labels = Labels::new(config.count(Key::MaxApplications));
        let protocols: Vec<_> = protocols
            .into_iter()
            .zip(handlers)
            .map(|(rules, handlers)| {
                let mut names: Vec<_> = rules.types().iter().map(|(name, _)| name.clone()).collect();
                // A protocol that lists a type of that name shares its series.
                let listed = names.iter().position(|name| name == SEND);
                if listed.is_none() {
                    names.push(SEND.to_owned());
                }
                let (id, types) = labels.add_protocol(rules.name(), &names);
                let send = types.get(listed.unwrap_or(names.len() - 1)).copied().unwrap_or(TypeId(OTHER));
                Rules { rules, id, types, send, handlers }
            })
            .collect();
        let (workers, ports) = (config.workers(), config.count(Key::MaxPorts));
        let shard = || {
            WorkerShard::new(labels.types().len(), labels.protocols().len(), labels.application_capacity())
        };
        Self {
            limits: Limits {
                messages: config.get(Key::CreditMessages) as u32,
                bytes: config.get(Key::CreditBytes) as u32,
            },
            clients: Clients::new(config.get(Key::MaxClients) as u32, name_keys),
            workers: (0..workers)
                .map(|_| {
                    CachePadded::new(WorkerShared {
                        wake: WakeWord::futex(),
                        attach_changes: AtomicU64::new(0),
                        stop: AtomicBool::new(false),
                        look_up_all: AtomicBool::new(false),
                        stalled: AtomicBool::new(false),
                        stalls: AtomicU64::new(0),
                        stall_counted: AtomicU64::new(0),
                        activity: CachePadded::new(Activity::new()),
                        handover: CachePadded::new(Handover::new()),
                        shard: shard(),
                    })
                })
                .collect(),
            ports: (0..ports).map(|_| PortShard::new()).collect(),
            pairs: (0..workers * ports).map(|_| Attachment::new()).collect(),
            draining: AtomicBool::new(false),
            #[cfg(not(corelane_loom))]
            recorder: crate::metrics::Recorder::new(
                config.count(Key::MaxRecordedTypes),
                config.count(Key::MaxApplications),
            ),
            control: Mutex::new(Control { state: RouterState::Running, port_open: vec![false; ports] }),
            config,
            clock,
            protocols,
            labels,
        }
    }

    pub(super) fn pair(&self, worker: usize, port: usize) -> &Attachment<Pair> {
        &self.pairs[worker * self.ports.len() + port]
    }

    pub(super) fn protocol(&self, name: &str) -> Option<u16> {
        self.protocols.iter().position(|one| one.rules.name() == name).map(|place| place as u16)
    }

    pub(super) fn is_running(&self) -> bool {
        lock(&self.control).state == RouterState::Running
    }

    pub(super) fn stats(&self) -> Stats {
        let mut stats = self.read(collect);
        let now = self.clock.raw();
        for (stats, worker) in stats.workers.iter_mut().zip(&self.workers) {
            // Relaxed: readings by themselves.
            stats.stalled = worker.stalled.load(Relaxed);
            stats.stalls = worker.stalls.load(Relaxed);
            let present = worker.activity.present();
            stats.message_age_nanoseconds =
                present.map_or(0, |(_, since)| self.clock.nanoseconds(since, now));
            stats.given_up = worker.handover.is_claimed();
        }
        #[cfg(not(corelane_loom))]
        let stats = Stats { recorded: self.recorder.stats(), ..stats };
        stats
    }

    pub(super) fn accounting(&self) -> Accounting {
        self.read(account)
    }

    fn read<R>(&self, reader: impl FnOnce(&Sources<'_>) -> R) -> R {
        let workers: Vec<_> = self.workers.iter().map(|worker| &worker.shard).collect();
        let ports: Vec<_> = self.ports.iter().collect();
        reader(&Sources {
            workers: &workers,
            ports: &ports,
            labels: &self.labels,
            connections: self.clients.figures(),
        })
    }
}
