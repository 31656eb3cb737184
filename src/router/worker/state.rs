//! What a worker owns besides its ingress rings: the senders of its egress rings, held messages, tasks, and the
//! writer of its figures. It is one box, so that it can be handed over while a handler runs.
//!
//! [`WorkerContext`], the worker at work, is used by every file of this folder that handles a message. `cycle`
//! creates the state.

use crate::clients::{RecentNames, RoomReader};
use crate::config::Key;
use crate::metrics::{WorkerShard, Writer};
use crate::router::notice::Tell;
use crate::router::shared::Shared;
use crate::router::worker::asks::Asks;
use crate::router::worker::egress::EgressSender;
use crate::router::worker::handler::{Inside, WorkerCode};
use crate::router::worker::hold::Holds;
use crate::router::worker::tasks::Tasks;
use crate::router::worker::under_way::Remotes;
use crate::sync::os;

#[derive(Debug)]
pub(in crate::router) struct WorkerState {
    pub(in crate::router) worker: usize,
    pub(in crate::router) egress: Vec<Option<EgressSender>>,
    pub(in crate::router) holds: Holds,
    /// Messages under way to other machines. Made with the first one.
    pub(in crate::router) remotes: Option<Box<Remotes>>,
    /// Names that were asked for. Made with the first one.
    pub(in crate::router) asks: Option<Box<Asks>>,
    pub(in crate::router) writer: Writer,
    /// A payload on its way into or out of a hold.
    pub(in crate::router) scratch: Vec<u8>,
    /// A name and a payload on their way into or out of `remotes`.
    pub(in crate::router) kept: Vec<u8>,
    pub(in crate::router) inside: Inside,
    /// The current cycle's number, from 1 on; see `placement`.
    pub(in crate::router) batch: u64,
    /// Whether the submitter of the message at hand wants a notice.
    pub(in crate::router) tell: Tell,
    /// The last notice waits for room, or an earlier one of the same port.
    pub(in crate::router) notice_listed: bool,
    /// While a host's send to a room is delivered: its port and its correlation. Each member that it does not reach is a
    /// notice.
    pub(in crate::router) room_send: Option<(usize, u64)>,
    /// Messages that have ended since their permits were last given back.
    pub(in crate::router) ended: u64,
    pub(in crate::router) max_wait_ticks: u64,
    /// `enable_metrics`.
    pub(in crate::router) metrics: bool,
    /// The worker's reader of member lists, and space for one port's members, sized for the largest room.
    pub(in crate::router) rooms: Option<RoomReader>,
    pub(in crate::router) members: Vec<u64>,
    /// The tasks that are out.
    pub(in crate::router) tasks: Tasks,
    /// One bit per port whose egress ring is taken up and leads to a lane.
    pub(in crate::router) lanes: u64,
    /// The recipients found last.
    pub(in crate::router) recent: RecentNames,
}

impl WorkerState {
    pub(in crate::router) fn new(shared: &Shared, worker: usize) -> Self {
        let hold_ticks = shared.clock.ticks(shared.config.milliseconds(Key::HoldTime));
        Self {
            egress: (0..shared.ports.len()).map(|_| None).collect(),
            holds: Holds::new(&shared.config, hold_ticks),
            remotes: None,
            asks: None,
            writer: Writer::new(),
            kept: Vec::new(),
            scratch: Vec::with_capacity(shared.config.max_relayed()),
            inside: Inside::new(shared.ports.len()),
            batch: 0,
            tell: Tell::No,
            notice_listed: false,
            room_send: None,
            ended: 0,
            max_wait_ticks: shared.clock.ticks(shared.config.milliseconds(Key::MaxQueueWait)),
            metrics: shared.config.has_metrics(),
            rooms: shared.rooms.reader(),
            members: Vec::with_capacity(shared.config.count(Key::MaxRoomMembers)),
            tasks: Tasks::new(worker, shared.task_limit(), shared.ports.len()),
            lanes: 0,
            recent: RecentNames::new(),
            worker,
        }
    }

    /// The placeholder for a worker's state while the real state is handed over. It is never used.
    pub(in crate::router) fn hollow(worker: usize) -> Self {
        Self {
            egress: Vec::new(),
            holds: Holds::hollow(),
            remotes: None,
            asks: None,
            writer: Writer::new(),
            kept: Vec::new(),
            scratch: Vec::new(),
            inside: Inside::new(0),
            batch: 0,
            tell: Tell::No,
            notice_listed: false,
            room_send: None,
            ended: 0,
            max_wait_ticks: 0,
            metrics: false,
            rooms: None,
            members: Vec::new(),
            tasks: Tasks::new(worker, 0, 0),
            lanes: 0,
            recent: RecentNames::hollow(),
            worker,
        }
    }

    /// Makes the reserved memory resident.
    pub(in crate::router) fn touch(&mut self) -> std::io::Result<()> {
        os::touch(self.scratch.spare_capacity_mut())?;
        self.recent.touch()?;
        self.holds.touch()
    }

    /// A state with a spare placeholder, so that calling a handler allocates nothing.
    pub(in crate::router) fn with_spare(shared: &Shared, worker: usize) -> Box<Self> {
        let mut state = Box::new(Self::new(shared, worker));
        state.inside.spare = Some(Box::new(Self::hollow(worker)));
        state
    }

    /// When held messages expire next, have waited for another machine's answers for too long, or are asked for again.
    pub(in crate::router) fn next_expiry(&self) -> Option<u64> {
        let patience = self.remotes.as_ref().and_then(|remotes| remotes.next_patience());
        let asks = self.asks.as_ref().filter(|_| !self.holds.is_empty());
        let ask = asks.and_then(|asks| asks.next_due());
        self.holds.next_expiry().into_iter().chain(patience).chain(ask).min()
    }

    /// Stops reading member lists: at the end of a cycle, and before host code runs.
    #[inline]
    pub(in crate::router) fn leave_rooms(&mut self) {
        if let Some(reader) = &mut self.rooms {
            reader.leave();
        }
    }
}

/// A worker at work: its own state, and what it shares with ports and other workers. Each step of a message is
/// a method of this type.
pub(in crate::router) struct WorkerContext<'a> {
    pub(in crate::router) shared: &'a Shared,
    pub(in crate::router) code: &'a WorkerCode,
    pub(in crate::router) state: &'a mut Box<WorkerState>,
}

impl<'a> WorkerContext<'a> {
    pub(in crate::router) fn new(
        shared: &'a Shared,
        code: &'a WorkerCode,
        state: &'a mut Box<WorkerState>,
    ) -> Self {
        Self { shared, code, state }
    }

    /// The worker's own counters.
    #[inline(always)]
    pub(in crate::router) fn shard(&self) -> &'a WorkerShard {
        &self.shared.workers[self.state.worker].shard
    }
}
