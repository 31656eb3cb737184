//! What ports, workers and readers of one router share. Built once; afterwards every field is either read-only,
//! a cell with one writer, a protocol of its own (wake words, pairs, clients), or behind the control lock.

use super::pair::Pair;
use super::permits::Permits;
use super::placement::{self, Placement};
use super::rules::ProtocolRules;
use crate::clients::{Clients, Limits, Rate};
use crate::clock::Clock;
use crate::config::{Config, Key};
use crate::metrics::{
    Accounting, Labels, PortShard, ProtocolId, Sources, Stats, TypeId, WorkerShard, account, collect,
};
use crate::park::WakeWord;
use crate::ring::Attachment;
use crate::sync::{AtomicBool, AtomicU64, Mutex, lock};
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
    pub(super) placement: Placement,
    pub(super) rate: Rate,
    pub(super) permits: Permits,
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
    /// How far each port has consumed what this worker emitted, in its batches; see `placement`.
    pub(super) frontiers: Box<[CachePadded<AtomicU64>]>,
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
}

impl Shared {
    pub(super) fn new(
        config: Config,
        protocols: Vec<ProtocolRules>,
        clock: Clock,
        name_keys: [u64; 2],
    ) -> Self {
        let mut labels = Labels::new(config.count(Key::MaxApplications));
        let protocols: Vec<_> = protocols
            .into_iter()
            .map(|rules| {
                let names: Vec<_> = rules.types().iter().map(|(name, _)| name.clone()).collect();
                let (id, types) = labels.add_protocol(rules.name(), &names);
                Rules { rules, id, types }
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
                        frontiers: placement::frontiers(ports),
                        shard: shard(),
                    })
                })
                .collect(),
            ports: (0..ports).map(|_| PortShard::new()).collect(),
            pairs: (0..workers * ports).map(|_| Attachment::new()).collect(),
            placement: Placement::new(&config, workers),
            rate: Rate::new(
                config.get(Key::ClientRate),
                config.get(Key::ClientBurst),
                clock.ticks(std::time::Duration::from_secs(1)),
            ),
            permits: Permits::new(config.get(Key::MaxConcurrentMessages), ports as u64),
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
        let stats = self.read(collect);
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
            active_workers: self.placement.active(),
            permits: self.permits.figures(),
        })
    }
}
