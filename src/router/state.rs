//! What a worker owns beside its ingress rings: the senders of its egress rings, held messages, tasks, and its figures'
//! writer. It lies in one box, so that it can be handed over while a handler runs.

use super::egress::EgressSender;
use super::handler::{Inside, WorkerCode};
use super::hold::Holds;
use super::shared::Shared;
use super::tasks::Tasks;
use crate::clients::RoomReader;
use crate::config::Key;
use crate::metrics::{WorkerShard, Writer};
use crate::sync::os;

#[derive(Debug)]
pub(super) struct WorkerState {
    pub(super) worker: usize,
    pub(super) egress: Vec<Option<EgressSender>>,
    pub(super) holds: Holds,
    pub(super) writer: Writer,
    /// A payload on its way to or from where it is held.
    pub(super) scratch: Vec<u8>,
    pub(super) inside: Inside,
    /// The present cycle's number, from 1 on; see `placement`.
    pub(super) batch: u64,
    /// Messages that have ended here since their permits were given back.
    pub(super) ended: u64,
    pub(super) max_wait_ticks: u64,
    /// `enable_metrics`.
    pub(super) metrics: bool,
    /// The worker's way to rooms, and a place for one port's members, as large as the largest room.
    pub(super) rooms: Option<RoomReader>,
    pub(super) members: Vec<u64>,
    /// What the host that drives the worker has.
    pub(super) tasks: Tasks,
}

impl WorkerState {
    pub(super) fn new(shared: &Shared, worker: usize) -> Self {
        let hold_ticks = shared.clock.ticks(shared.config.milliseconds(Key::HoldTime));
        Self {
            egress: (0..shared.ports.len()).map(|_| None).collect(),
            holds: Holds::new(&shared.config, hold_ticks),
            writer: Writer::new(),
            scratch: Vec::with_capacity(shared.config.max_relayed()),
            inside: Inside::new(shared.ports.len()),
            batch: 0,
            ended: 0,
            max_wait_ticks: shared.clock.ticks(shared.config.milliseconds(Key::MaxQueueWait)),
            metrics: shared.config.has_metrics(),
            rooms: shared.rooms.reader(),
            members: Vec::with_capacity(shared.config.count(Key::MaxRoomMembers)),
            tasks: Tasks::new(worker, shared.task_limit(), shared.ports.len()),
            worker,
        }
    }

    /// What stands in a worker's place for its relay while that is laid down: nothing is done with it.
    pub(super) fn hollow(worker: usize) -> Self {
        Self {
            egress: Vec::new(),
            holds: Holds::hollow(),
            writer: Writer::new(),
            scratch: Vec::new(),
            inside: Inside::new(0),
            batch: 0,
            ended: 0,
            max_wait_ticks: 0,
            metrics: false,
            rooms: None,
            members: Vec::new(),
            tasks: Tasks::new(worker, 0, 0),
            worker,
        }
    }

    /// Takes what is reserved from the system.
    pub(super) fn touch(&mut self) -> std::io::Result<()> {
        os::touch(self.scratch.spare_capacity_mut())?;
        self.holds.touch()
    }

    /// A relay with what it needs to go into a handler without allocating.
    pub(super) fn with_spare(shared: &Shared, worker: usize) -> Box<Self> {
        let mut state = Box::new(Self::new(shared, worker));
        state.inside.spare = Some(Box::new(Self::hollow(worker)));
        state
    }

    /// Ends the worker's look at member lists: at the end of a cycle, and before any code of the host's runs.
    #[inline]
    pub(super) fn leave_rooms(&mut self) {
        if let Some(reader) = &mut self.rooms {
            reader.leave();
        }
    }
}

/// A worker at work: its own state, and what it shares with ports and with other workers. Every step of a message is a
/// method of this.
pub(super) struct WorkerContext<'a> {
    pub(super) shared: &'a Shared,
    pub(super) code: &'a WorkerCode,
    pub(super) state: &'a mut Box<WorkerState>,
}

impl<'a> WorkerContext<'a> {
    pub(super) fn new(shared: &'a Shared, code: &'a WorkerCode, state: &'a mut Box<WorkerState>) -> Self {
        Self { shared, code, state }
    }

    /// The worker's own counters.
    #[inline(always)]
    pub(super) fn shard(&self) -> &'a WorkerShard {
        &self.shared.workers[self.state.worker].shard
    }
}
