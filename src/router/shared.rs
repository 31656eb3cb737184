//! The state that ports, workers and readers of one router share. Built once by `router`. Afterwards each field
//! is either read-only, a cell with one writer, a type with its own protocol (wake words, pairs, clients), or
//! behind the control lock. Used by nearly every file in `port/` and `worker/`, and by `settle`, `watch` and
//! `source`.

use super::activity::Activity;
use super::base::{BaseRoute, Fallback};
use super::elsewhere::{Directory, Elsewhere};
use super::local_loop::LocalLoop;
use super::notice::Notice;
use super::pair::Pair;
use super::payload::Payloads;
use super::permits::Permits;
use super::placement::{self, Placement};
use super::rules::{MessageType, ProtocolRules, SEND};
use crate::call::Calls;
use crate::clients::{
    Bucket, ClientId, ClientSlot, Clients, Limits, NameHash, Rate, RoomId, Rooms, Stack, UNLISTED,
};
use crate::clock::Clock;
use crate::config::{Config, Key};
use crate::envelope::Names;
use crate::error::{RoomRefused, StaleClient, TakenOver};
use crate::metrics::{
    Accounting, ApplicationId, ByReason, Controls, Depth, LabelTable, OTHER, PathDepth, PathShard, PortShard,
    ProtocolId, RoomStats, Sources, Stats, TypeId, WorkerShard, account, collect,
};
use crate::park::{Doorbell, WakeWord, after_publishing};
use crate::ring::Attachment;
use crate::sync::os::process_cores;
use crate::sync::{Acquire, Arc, AtomicBool, AtomicU64, Mutex, Relaxed, Release, lock, mutant, try_lock};
use crossbeam_utils::CachePadded;
use std::collections::VecDeque;
use std::sync::OnceLock;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) limits: Limits,
    pub(super) protocols: Vec<ProtocolEntry>,
    pub(super) labels: LabelTable,
    /// By type.
    droppable: Vec<bool>,
    /// When the router was built, in raw ticks.
    started: u64,
    /// Settings that the monitor may change at run time.
    pub(super) controls: Arc<Controls>,
    /// The figures that the host records.
    #[cfg(not(corelane_loom))]
    pub(super) hub: Arc<crate::record::Hub>,
    pub(super) clients: Clients,
    pub(super) rooms: Rooms,
    pub(super) workers: Box<[CachePadded<WorkerShared>]>,
    pub(super) ports: Box<[PortShard]>,
    /// One per (worker, port), ordered by worker.
    pub(super) pairs: Box<[Attachment<Pair>]>,
    /// The synchronous calls, by port.
    pub(super) calls: Box<[Calls]>,
    /// By port.
    pub(super) ended: Box<[CachePadded<EndedClients>]>,
    /// By reason: messages that the base route has taken over for callers whose port was already released.
    pub(super) late_takeovers: Box<[AtomicU64]>,
    pub(super) base: BaseRoute,
    pub(super) fallback: Fallback,
    /// If false, everything goes to the base route.
    pub(super) concurrent: bool,
    /// The out-of-line payloads.
    pub(super) payloads: Payloads,
    pub(super) placement: Placement,
    pub(super) rate: Rate,
    /// One token bucket per client if there is a rate limit; otherwise empty.
    pub(super) buckets: Box<[Bucket]>,
    pub(super) permits: Permits,
    pub(super) draining: AtomicBool,
    /// What is known of other machines. Set when the first gateway opens.
    pub(super) other_machines: OnceLock<Directory>,
    pub(super) control: Mutex<RouterControl>,
}

/// Events that ended workers leave to a port, and those of messages that they have not taken; the port's polls hand them
/// out.
#[derive(Debug)]
pub(super) struct EndedClients {
    /// Clients that must be closed, because the worker gave up their CLOSE. Linked by `close_link`.
    pub(super) closes: Stack,
    /// Clients that are closing and that no worker will close. Linked by `port_link`.
    pub(super) closings: Stack,
    /// Notices that a worker could not put into a ring before it ended, and those of messages that no worker took. Not
    /// more than the records of the rings between the port and the ended workers, and what these workers held.
    notices: Mutex<VecDeque<Notice>>,
    /// Whether there are notices.
    has_notices: AtomicBool,
}

impl EndedClients {
    fn new() -> Self {
        Self {
            closes: Stack::new(),
            closings: Stack::new(),
            notices: Mutex::new(VecDeque::new()),
            has_notices: AtomicBool::new(false),
        }
    }

    /// Leaves notices to the port. The caller then wakes the port.
    pub(super) fn leave_notices(&self, mut notices: VecDeque<Notice>) {
        if !notices.is_empty() {
            let mut listed = lock(&self.notices);
            listed.append(&mut notices);
            // Release: pairs with the Acquire in `is_empty`.
            self.has_notices.store(true, Release);
        }
    }

    /// Takes all notices.
    pub(super) fn take_notices(&self) -> VecDeque<Notice> {
        let mut notices = lock(&self.notices);
        self.has_notices.store(false, Relaxed); // Relaxed: the lock orders it with `leave_notices`.
        std::mem::take(&mut *notices)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        // Acquire: pairs with the Release in `leave_notices`.
        self.closes.is_empty() && self.closings.is_empty() && !self.has_notices.load(Acquire)
    }
}

/// The part of a worker that other threads see.
#[derive(Debug)]
pub(super) struct WorkerShared {
    pub(super) bell: Doorbell,
    /// Only a local worker has one.
    pub(super) local: Option<LocalLoop>,
    /// The worker's handler exceeds its time limit. Written by the watchdog, see `watch`.
    pub(super) stalled: AtomicBool,
    /// The number of stalls, and the number of the handler run that was counted last.
    pub(super) stalls: AtomicU64,
    pub(super) stall_counted: AtomicU64,
    pub(super) activity: CachePadded<Activity>,
    /// A stop has given the worker up inside a handler.
    pub(super) given_up: AtomicBool,
    /// How far each port has consumed what this worker emitted, in the worker's batches; see `placement`.
    pub(super) frontiers: Box<[CachePadded<AtomicU64>]>,
    pub(super) shard: WorkerShard,
    /// The path to each port.
    pub(super) paths: Box<[PathShard]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RouterState {
    Running,
    Stopped,
}

#[derive(Debug)]
pub(super) struct RouterControl {
    pub(super) state: RouterState,
    pub(super) port_open: Vec<bool>,
    /// The rings of the open ports, indexed as `Shared::pairs`, for readers of the ring depths.
    pub(super) pairs: Vec<Option<Pair>>,
}

/// A protocol with its series.
#[derive(Debug)]
pub(super) struct ProtocolEntry {
    pub(super) rules: ProtocolRules,
    pub(super) id: ProtocolId,
    pub(super) types: Vec<TypeId>,
    /// The names of `types`.
    pub(super) names: Names,
    /// The type under which host sends to its clients count.
    pub(super) send: TypeId,
    /// A handler of the protocol may block, so its clients are not placed on local workers.
    pub(super) may_block: bool,
}

impl ProtocolEntry {
    /// The type of this name.
    #[cfg(not(corelane_loom))]
    pub(super) fn type_named(&self, name: &str) -> Option<TypeId> {
        let place = self.rules.types().iter().position(|(known, _)| known == name)?;
        self.types.get(place).copied()
    }

    /// The type under which a send to a client of this protocol counts: the given type if it is one of the protocol's,
    /// otherwise `send`. The number is not trusted, because a record in a ring may contain any.
    pub(super) fn type_of_send(&self, given: u32) -> TypeId {
        let own = self.types.iter().find(|one| u32::from(one.0) == given && !mutant("send-untyped"));
        own.copied().unwrap_or(self.send)
    }
}

impl Shared {
    /// Nothing that the worker has emitted to the port is under way any more. See
    /// [`Frontier::end`](placement::Frontier::end).
    pub(super) fn end_frontier(&self, worker: usize, port: usize) {
        if let Some(published) = self.workers[worker].frontiers.get(port) {
            placement::Frontier::end(published);
        }
    }

    pub(super) fn new(
        config: Config,
        protocols: Vec<ProtocolRules>,
        (base, fallback): (BaseRoute, Fallback),
        clock: Clock,
        name_keys: [u64; 2],
    ) -> std::io::Result<Self> {
        let mut labels = LabelTable::new(config.count(Key::MaxApplications));
        let protocols: Vec<_> = protocols
            .into_iter()
            .map(|rules| {
                let mut names: Vec<_> = rules.types().iter().map(|(name, _)| name.clone()).collect();
                // A protocol that lists a type of that name shares its series with the sends.
                let listed = names.iter().position(|name| name == SEND);
                if listed.is_none() {
                    names.push(SEND.to_owned());
                }
                let (id, types) = labels.add_protocol(rules.name(), &names);
                let send = types.get(listed.unwrap_or(names.len() - 1)).copied().unwrap_or(TypeId(OTHER));
                let listed = Names::new(rules.types().iter().map(|(name, _)| name.as_str()));
                ProtocolEntry { rules, id, types, names: listed, send, may_block: false }
            })
            .collect();
        let mut droppable = vec![false; labels.types().len()];
        for ProtocolEntry { rules, types, .. } in &protocols {
            for ((name, _), id) in rules.types().iter().zip(types) {
                if let Some(one) = droppable.get_mut(usize::from(id.0)) {
                    *one = rules.is_droppable(name);
                }
            }
        }
        let (workers, ports) = (config.workers(), config.count(Key::MaxPorts));
        let threaded = config.threaded_workers();
        let spins = process_cores() > threaded.max(1);
        let shard = || {
            WorkerShard::new(labels.types().len(), labels.protocols().len(), labels.application_capacity())
        };
        let slow = config.milliseconds(Key::SlowMessageThreshold).as_nanos() as u64;
        let controls = Arc::new(Controls::new(slow, config.has_details()));
        let worker = |index| {
            let local = index >= threaded;
            let wake = if local { WakeWord::descriptor()? } else { WakeWord::futex() };
            Ok(CachePadded::new(WorkerShared {
                bell: Doorbell::new(wake),
                local: local.then(LocalLoop::new),
                stalled: AtomicBool::new(false),
                stalls: AtomicU64::new(0),
                stall_counted: AtomicU64::new(0),
                activity: CachePadded::new(Activity::new()),
                given_up: AtomicBool::new(false),
                frontiers: placement::frontiers(ports),
                shard: shard(),
                paths: (0..ports).map(|_| PathShard::new()).collect(),
            }))
        };
        Ok(Self {
            limits: Limits {
                messages: config.get(Key::CreditMessages) as u32,
                bytes: config.get(Key::CreditBytes) as u32,
            },
            clients: Clients::new(config.client_limits(), name_keys, clock.clone()),
            rooms: Rooms::new(config.room_limits(), name_keys),
            workers: (0..workers).map(worker).collect::<std::io::Result<_>>()?,
            ports: (0..ports).map(|_| PortShard::new()).collect(),
            pairs: (0..workers * ports).map(|_| Attachment::new()).collect(),
            ended: (0..ports).map(|_| CachePadded::new(EndedClients::new())).collect(),
            late_takeovers: TakenOver::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            calls: (0..ports).map(|_| Calls::new(config.count(Key::MaxCalls), spins)).collect(),
            base,
            fallback,
            concurrent: config.router.concurrent_routing,
            payloads: Payloads::new(config.count(Key::Payloads), config.get(Key::PayloadBytes)),
            placement: Placement::new(&config, threaded),
            rate: Rate::new(
                config.get(Key::ClientRate),
                config.get(Key::ClientBurst),
                clock.ticks(std::time::Duration::from_secs(1)),
            ),
            buckets: (0..config.buckets()).map(|_| Bucket::new()).collect(),
            permits: Permits::new(config.get(Key::MaxConcurrentMessages), ports as u64),
            draining: AtomicBool::new(false),
            other_machines: OnceLock::new(),
            #[cfg(not(corelane_loom))]
            hub: Arc::new(crate::record::Hub::new(
                crate::record::HubSizes::of(&config),
                Arc::clone(&controls),
                name_keys,
                clock.clone(),
            )),
            controls,
            control: Mutex::new(RouterControl {
                state: RouterState::Running,
                port_open: vec![false; ports],
                pairs: vec![None; workers * ports],
            }),
            started: clock.raw(),
            droppable,
            config,
            clock,
            protocols,
            labels,
        })
    }

    /// The index of a pair in `pairs`.
    pub(super) fn path(&self, worker: usize, port: usize) -> usize {
        worker * self.ports.len() + port
    }

    /// Makes the reserved memory resident, while no other thread uses it.
    pub(super) fn touch(&mut self) -> std::io::Result<()> {
        self.clients.touch()?;
        #[cfg(not(corelane_loom))]
        if let Some(hub) = Arc::get_mut(&mut self.hub) {
            hub.touch()?;
        }
        self.ports.iter_mut().try_for_each(PortShard::touch)?;
        self.workers.iter_mut().try_for_each(|worker| worker.shard.touch())
    }

    pub(super) fn pair(&self, worker: usize, port: usize) -> &Attachment<Pair> {
        &self.pairs[self.path(worker, port)]
    }

    /// How many tasks a worker may have handed out; 0 if no type is a task.
    pub(super) fn task_limit(&self) -> usize {
        let any = self.protocols.iter().any(|one| one.rules.has_tasks());
        if any { self.config.count(Key::MaxTasks) } else { 0 }
    }

    /// What is known of other machines, if this router is one of several.
    #[inline(always)]
    pub(super) fn directory(&self) -> Option<&Directory> {
        self.other_machines.get()
    }

    /// On which other machine a name is.
    pub(super) fn elsewhere(&self, hash: NameHash) -> Option<Elsewhere> {
        self.directory().and_then(|directory| directory.find(hash))
    }

    /// Asks every worker to stop.
    pub(super) fn request_stop(&self) {
        let mut control = lock(&self.control);
        control.state = RouterState::Stopped;
        for worker in &self.workers {
            // Under the lock that attaching takes, so the stopping worker sees every pair that was attached
            // before.
            worker.bell.request_stop();
        }
    }

    /// Whether the workers have been asked to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.workers.iter().any(|worker| worker.bell.is_stopping())
    }

    /// Leaves the closing of a client to its port's polls, because no worker will close it. Called once per
    /// client that is closing.
    pub(super) fn close_by_port(&self, client: ClientId, port: usize) {
        if let (Some(slot), Some(ended)) = (self.clients.get(client), self.ended.get(port)) {
            ended.closings.push(client.index(), &slot.port_link);
        }
    }

    /// Leaves a worker's CLOSE for a client to the port's polls, because the worker ends.
    pub(super) fn ask_to_close_by_port(&self, client: ClientId, port: usize) {
        if let (Some(slot), Some(ended)) = (self.clients.get(client), self.ended.get(port)) {
            ended.closes.push(client.index(), &slot.close_link);
        }
    }

    /// Removes what ended workers have left to a port that is being released: the chains that its polling half
    /// has already `taken` off the lists, and the rest. Returns how many deliveries that were.
    pub(super) fn forget_ended(&self, port: usize, taken: (u32, u32)) -> u64 {
        let Some(ended) = self.ended.get(port) else { return 0 };
        let mut count = ended.take_notices().len() as u64;
        let mut each = |first: u32, end: &dyn Fn(&ClientSlot) -> u32| {
            let mut next = first;
            while let Some(slot) = self.clients.slot(next) {
                next = end(slot);
                count += 1;
            }
        };
        // Relaxed: `take` has acquired the links.
        for first in [taken.0, ended.closes.take()] {
            each(first, &|slot| {
                let next = slot.close_link.load(Relaxed);
                slot.close_link.store(UNLISTED, Relaxed); // Relaxed: the credit word's Release publishes it.
                slot.credit.end_close_delivery(slot.place().generation);
                next
            });
        }
        for first in [taken.1, ended.closings.take()] {
            each(first, &|slot| {
                let next = slot.port_link.load(Relaxed);
                // Release: pairs with the Acquire in `ClientSlot::is_unused`.
                slot.port_link.store(UNLISTED, Release);
                next
            });
        }
        count
    }

    /// Whether messages of a type may be dropped when the recipient has no credit.
    pub(super) fn is_droppable(&self, message_type: u32) -> bool {
        self.droppable.get(message_type as usize).copied().unwrap_or(false)
    }

    /// The rules for a client's messages, and its application.
    #[inline]
    pub(super) fn rules_of(&self, slot: &ClientSlot) -> Option<(&ProtocolEntry, ApplicationId)> {
        let (protocol, application) = slot.labels();
        Some((self.protocols.get(usize::from(protocol))?, ApplicationId(application)))
    }

    pub(super) fn protocol(&self, name: &str) -> Option<u16> {
        self.protocols.iter().position(|one| one.rules.name() == name).map(|place| place as u16)
    }

    /// See [`Port::rooms_of`](super::Port::rooms_of).
    pub(super) fn rooms_of(&self, client: ClientId) -> Result<Vec<RoomId>, StaleClient> {
        if self.clients.is_open(client) { Ok(self.rooms.of_client(client)) } else { Err(StaleClient) }
    }

    /// See [`Router::message_type`](super::Router::message_type).
    pub(super) fn message_type(&self, protocol: &str, name: &str) -> Option<MessageType> {
        let entry = self.protocols.get(usize::from(self.protocol(protocol)?))?;
        let listed = entry.rules.types().iter().position(|(one, _)| one == name);
        let label = listed.and_then(|place| entry.types.get(place)).copied().unwrap_or(entry.send);
        Some(MessageType::new(label))
    }

    /// The loops of the local workers, with the workers' indexes.
    pub(super) fn locals(&self) -> impl Iterator<Item = (usize, &LocalLoop)> {
        let loops = self.workers.iter().map(|worker| worker.local.as_ref());
        loops.enumerate().filter_map(|(index, local)| Some((index, local?)))
    }

    /// Whether this thread drives a local worker, and so must not wait for a worker.
    pub(super) fn is_loop_here(&self) -> bool {
        self.locals().any(|(_, local)| local.is_driven_here())
    }

    pub(super) fn is_running(&self) -> bool {
        lock(&self.control).state == RouterState::Running
    }

    pub(super) fn stats(&self) -> Stats {
        let depth = |memory: &crate::ring::Memory| {
            let (records, bytes) = memory.waiting();
            Depth { records, bytes }
        };
        let depths: Vec<_> = lock(&self.control)
            .pairs
            .iter()
            .map(|pair| {
                let both =
                    |pair: &Pair| PathDepth { ingress: depth(&pair.ingress), egress: depth(&pair.egress) };
                pair.as_ref().map_or_else(PathDepth::default, both)
            })
            .collect();
        let (payload_bytes, payloads_waiting) = self.payloads.figures();
        let mut stats = Stats {
            rooms: self.room_stats(),
            payload_bytes,
            payloads_waiting,
            metrics_enabled: self.config.has_metrics(),
            ..self.read_shards(&depths, collect)
        };
        let now = self.clock.raw();
        for (index, (stats, worker)) in stats.workers.iter_mut().zip(&self.workers).enumerate() {
            // Relaxed: independent readings.
            stats.stalled = worker.stalled.load(Relaxed);
            stats.stalls = worker.stalls.load(Relaxed);
            let present = worker.activity.present();
            stats.message_age_nanoseconds =
                present.map_or(0, |(_, since)| self.clock.nanoseconds(since, now));
            stats.given_up = worker.given_up.load(Relaxed);
            stats.lost = self.placement.is_lost(index);
        }
        #[cfg(not(corelane_loom))]
        let stats = Stats {
            recorded: self.hub.recorded(),
            cluster: lock(&self.hub.cluster).as_ref().map(|figures| figures.get()),
            ..stats
        };
        stats
    }

    fn room_stats(&self) -> RoomStats {
        let figures = self.rooms.figures();
        let refusals = RoomRefused::ALL.iter().map(|reason| reason.label()).zip(figures.refused);
        RoomStats {
            open: figures.open,
            members: figures.members,
            members_maximum: figures.members_maximum,
            joined: figures.joined,
            left: figures.left,
            refusals: ByReason::new(refusals),
            retired_lists: figures.retired_lists,
            retired_bytes: figures.retired_bytes,
        }
    }

    /// Looks how far the hosts of the lanes have read, for the figures that follow.
    fn look_at_lanes(&self) {
        let control = lock(&self.control);
        for (path, pair) in control.pairs.iter().enumerate() {
            let (worker, port) = (path / self.ports.len(), path % self.ports.len());
            if let Some((pair, rings)) = pair.as_ref().and_then(|pair| Some((pair, pair.lane.as_ref()?))) {
                rings.consumed(&pair.egress, &self.workers[worker].paths[port].lane);
            }
        }
    }

    /// Ends the frontiers of a lost worker for the lanes that have read all that it had for them. (A port's poll does this
    /// itself.) Does nothing if somebody else has the control lock.
    #[cold]
    pub(super) fn follow_lanes(&self, worker: usize) {
        let Some(control) = try_lock(&self.control) else { return };
        for port in 0..self.ports.len() {
            let pair = control.pairs.get(self.path(worker, port)).and_then(Option::as_ref);
            if let Some(pair) = pair.filter(|pair| pair.lane.is_some())
                && pair.egress.released() == pair.egress.shared_tail()
            {
                self.end_frontier(worker, port);
            }
        }
    }

    /// Whether every worker has taken what the lanes had published when it saw the router drain.
    pub(super) fn are_lanes_drained(&self) -> bool {
        let control = lock(&self.control);
        let mut lanes = control.pairs.iter().enumerate().filter_map(|(path, pair)| {
            let rings = pair.as_ref()?.lane.as_ref()?;
            Some((path / self.ports.len(), rings))
        });
        let drained = lanes.try_for_each(|(worker, rings)| {
            if rings.is_drained() {
                return Ok(());
            }
            after_publishing(|| self.workers[worker].bell.wake().wake_if_asleep());
            Err(())
        });
        drained.is_ok()
    }

    pub(super) fn accounting(&self) -> Accounting {
        self.read_shards(&[], account)
    }

    pub(super) fn read_shards<R>(&self, depths: &[PathDepth], reader: impl FnOnce(&Sources<'_>) -> R) -> R {
        self.look_at_lanes();
        let workers: Vec<_> = self.workers.iter().map(|worker| &worker.shard).collect();
        let ports: Vec<_> = self.ports.iter().collect();
        let paths: Vec<_> = self.workers.iter().map(|worker| &*worker.paths).collect();
        reader(&Sources {
            workers: &workers,
            ports: &ports,
            labels: &self.labels,
            connections: self.clients.figures(),
            paths: &paths,
            depths,
            epoch: self.controls.now().epoch,
            uptime_nanoseconds: self.clock.nanoseconds(self.started, self.clock.raw()),
            active_workers: self.placement.active() + self.locals().count(),
            permits: self.permits.figures(),
            late_takeovers: &self.late_takeovers,
        })
    }
}
