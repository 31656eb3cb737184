//! A worker's loop. The worker is one pinned thread that owns the receiving ends of its ingress rings and its
//! shard. `cycle` does one round; `run` is the loop around it, and a test can call `cycle` itself. Every end of
//! a worker is settled: by a stop ([`Worker::stop`]), or in its place by `adoption`.
//!
//! Each record that `cycle` takes goes to `dispatch`. Used by `router` (creates the workers), `driven` (`take`
//! runs a cycle) and `adoption` (settles with a worker of its own).

mod figures;

use crate::clock::Stamp;
use crate::config::{Balance, Idle, Key};
use crate::error::{CloseReason, Failed};
use crate::park::{Seen, Waiter, WakeWord, after_publishing};
use crate::ring::{Consumer, Corrupt, Record};
use crate::router::lane::rings::LaneIngress;
use crate::router::pair::PairCounts;
use crate::router::shared::{Shared, WorkerShared};
use crate::router::thread::{InWorker, discard};
use crate::router::worker::egress::EgressSender;
use crate::router::worker::gate::Gate;
use crate::router::worker::handler::WorkerCode;
use crate::router::worker::state::{WorkerContext, WorkerState};
use crate::sync::Arc;
use crate::sync::os::process_cores;
use crossbeam_utils::Backoff;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// One worker of a router built with [`Builder::build`](crate::router::Builder::build), which the host drives.
///
/// ```
/// use corelane::{config::Config, router::Builder};
///
/// let (router, mut workers) = Builder::new(Config::default()).build()?;
/// let mut port = router.port()?;
/// let ann = port.connect("ann", "generic", "", 1)?;
/// port.submit(ann, br#"{"type":"offer","to":"ann"}"#, 0)?;
/// port.publish();
/// for worker in &mut workers {
///     while worker.cycle(port.clock().now()) > 0 {}
/// }
/// assert_eq!(port.poll_each(256, |event| println!("{event:?}"))?, 1);
/// # Ok::<(), corelane::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Worker {
    pub(in crate::router) shared: Arc<Shared>,
    pub(in crate::router) code: Arc<WorkerCode>,
    pub(in crate::router) index: usize,
    pub(in crate::router) ingress: Vec<Option<IngressReceiver>>,
    /// Boxed, so that a pointer can be handed over while a handler runs.
    pub(in crate::router) state: Box<WorkerState>,
    /// The port at which the next cycle starts. It rotates, so that no port is always first.
    first_port: usize,
    attach_seen: u64,
    batch: usize,
    /// When the last cycle ended.
    idle_since: Option<u64>,
    /// The latest time that the worker has used. Its time never goes back.
    latest: u64,
    /// The longest sleep while a frontier is behind.
    frontier_wait: Duration,
    pub(in crate::router) stopped: bool,
    /// Set if this worker settles for one that ended without a stop (see `adoption`): the reason for which the
    /// waiting records fail.
    pub(in crate::router) failing: Option<Failed>,
    /// Set while a leaving port or a stop waits for tasks: the count of returned tasks at that time.
    pub(super) look_again: Option<u64>,
    /// One bit per port that needs no wake: the thread of this cycle is its host's, and polls next.
    pub(in crate::router) quiet: u64,
    /// What a local worker's keeper has seen before its sleep, see [`due`](Self::due).
    kept_due: (bool, u64),
}

/// The first and the longest sleep before a worker checks again what the ports have consumed. The time doubles
/// in between.
const FRONTIER_WAIT: Duration = Duration::from_millis(1);
const FRONTIER_WAIT_MAXIMUM: Duration = Duration::from_secs(1);

/// The longest sleep while deliveries wait in a backlog.
const BACKLOG_WAIT: Duration = Duration::from_millis(10);

/// Takes up to `limit` records from a `port`'s ring, adds their number to `count`, and passes each with its position to
/// `handle`; `reach` gets each position before. Ends early if the ring is empty, if a task blocks the next record, or if a
/// notice waits for room.
#[inline(always)]
pub(super) fn take_each(
    mut context: WorkerContext<'_>,
    (port, sealed): (usize, bool),
    (ring, blocked): (&mut Consumer, &mut Option<u64>),
    limit: usize,
    count: &mut usize,
    reach: impl Fn(u64),
    mut handle: impl FnMut(&mut WorkerContext<'_>, u64, &Record<'_>) -> Result<(), Corrupt>,
) -> Result<(), Corrupt> {
    context.state.notice_listed = false;
    let mut records = ring.records();
    while *count < limit {
        let position = records.position();
        context.state.inside.taken[port] = position;
        reach(position);
        if context.state.tasks.is_driven() {
            match context.gate(port, &mut records)? {
                Gate::Open => {}
                Gate::Shut => return Ok(()),
                Gate::Blocked => {
                    *blocked = Some(context.state.tasks.returned);
                    return Ok(());
                }
            }
        }
        let Some(record) = records.next()? else { return Ok(()) };
        *count += 1;
        handle(&mut context, position, &record)?;
        if context.state.inside.abandoned {
            return Ok(());
        }
        // A stop leaves the notices to the port, so it takes all records.
        if context.state.notice_listed && !sealed && context.has_notices(port) {
            context.state.inside.taken[port] = records.position();
            return Ok(());
        }
    }
    context.state.inside.taken[port] = records.position();
    context.shard().full_batches.add(&mut context.state.writer, 1);
    Ok(())
}

/// The receiving end of one port's ingress ring.
#[derive(Debug)]
pub(in crate::router) struct IngressReceiver {
    pub(in crate::router) ring: Consumer,
    pub(in crate::router) counts: Arc<PairCounts>,
    pub(in crate::router) port_wake: Arc<WakeWord>,
    /// The router stops: nothing above the tail at that time is taken.
    pub(in crate::router) sealed: bool,
    pub(in crate::router) corrupt: bool,
    /// Set while the next record waits for tasks: the count of returned tasks at that time.
    pub(in crate::router) blocked: Option<u64>,
    /// Set if the ring comes from a lane.
    pub(in crate::router) lane: Option<LaneIngress>,
}

/// Bytes per port in a worker.
pub(in crate::router) const PAIR_BYTES: u64 =
    (size_of::<Option<IngressReceiver>>() + size_of::<Option<EgressSender>>()) as u64;

impl Worker {
    /// Makes the reserved memory resident.
    pub(in crate::router) fn touch(&mut self) -> std::io::Result<()> {
        self.state.touch()
    }

    pub(in crate::router) fn new(shared: Arc<Shared>, code: Arc<WorkerCode>, index: usize) -> Self {
        let state = WorkerState::with_spare(&shared, index);
        Self::with(shared, code, index, state)
    }

    pub(in crate::router) fn with(
        shared: Arc<Shared>,
        code: Arc<WorkerCode>,
        index: usize,
        state: Box<WorkerState>,
    ) -> Self {
        Self {
            ingress: (0..shared.ports.len()).map(|_| None).collect(),
            state,
            code,
            first_port: 0,
            attach_seen: 0,
            batch: shared.config.count(Key::Batch),
            idle_since: None,
            latest: shared.clock.raw(),
            frontier_wait: FRONTIER_WAIT,
            stopped: false,
            failing: None,
            look_again: None,
            quiet: 0,
            kept_due: (false, u64::MAX),
            index,
            shared,
        }
    }

    fn own(&self) -> &WorkerShared {
        &self.shared.workers[self.index]
    }

    /// Whether the worker has stopped for good.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// The time now, of the router's clock.
    #[cfg(not(corelane_loom))]
    pub(crate) fn now(&self) -> Stamp {
        self.shared.clock.now()
    }

    /// One round: takes up to a batch from each ring, delivers, expires, publishes, wakes. `now` is a reading
    /// of the router's clock; a time in the future, or before the last cycle's, counts as the present. Returns
    /// how much work was done; 0 means that the worker may sleep.
    pub fn cycle(&mut self, now: Stamp) -> usize {
        let present = self.shared.clock.raw();
        let now = if now.0 < self.latest { present } else { now.0.min(present) };
        self.cycle_at(now)
    }

    pub(in crate::router) fn cycle_at(&mut self, now: u64) -> usize {
        if self.stopped {
            return 0;
        }
        let _inside = InWorker::enter();
        let now = now.max(self.latest);
        self.state.batch += 1;
        self.state.writer.controlled = self.shared.controls.now();
        let changes = self.own().bell.attach_changes();
        if changes != self.attach_seen || self.look_again.is_some() {
            self.attach_seen = changes;
            self.look_at_pairs(now);
        }
        if self.is_abandoned() {
            return 0;
        }
        self.look_at_queues(now);
        let mut work = 0;
        let posts = self.own().bell.take_posts();
        if posts != 0 {
            WorkerContext::new(&self.shared, &self.code, &mut self.state).look_up_posted(posts);
            work += 1;
        }
        if self.own().bell.is_stopping() {
            self.look_at_pairs(now);
            if !self.is_abandoned() {
                work += self.stop(now);
                self.flush();
                self.end_batch();
            }
            // Records that wait for the host's tasks are no work.
            return work + usize::from(self.stopped);
        }
        work += self.flush_egress();
        if self.state.lanes != 0 {
            work += self.serve_lanes();
        }
        let ports = self.ingress.len();
        let mut time = now;
        let mut load = 0;
        for offset in 0..ports {
            let port = (self.first_port + offset) % ports;
            let taken = if self.is_held_back(port) { 0 } else { self.drain(port, self.batch, &mut time) };
            if self.is_abandoned() {
                return 0;
            }
            work += taken;
            let all = taken < self.batch && !self.is_held_back(port) && self.state.tasks.of_port(port) == 0;
            load += if all { taken as u64 } else { self.waiting(port) };
        }
        self.publish_load(load);
        self.first_port = (self.first_port + 1) % ports;
        if !self.state.holds.is_empty() {
            work += WorkerContext::new(&self.shared, &self.code, &mut self.state).expire(time);
        }
        if work > 0 {
            let own = &self.shared.workers[self.index].shard;
            own.cycles.add(&mut self.state.writer, 1);
            let busy = self.shared.clock.nanoseconds(now, time);
            own.busy_nanoseconds.add(&mut self.state.writer, busy);
        }
        self.latest = self.latest.max(time);
        self.idle_since = Some(time);
        self.publish();
        self.end_batch();
        self.follow_ports();
        work
    }

    /// Ends the use of everything that this batch has read.
    pub(in crate::router) fn end_batch(&mut self) {
        self.state.leave_rooms();
        // Member lists that were kept for this batch may be freed now, even if no port calls again.
        self.shared.rooms.follow_up();
    }

    /// Whether the worker was given up inside a handler that has now returned. Another worker owns its state,
    /// so this one ends at once.
    pub(in crate::router) fn is_abandoned(&mut self) -> bool {
        self.stopped |= self.state.inside.abandoned;
        self.state.inside.abandoned
    }

    /// Whether nothing is taken from a port's ring in this cycle, because notices wait for room in the port's egress
    /// ring: more records could cause more notices.
    fn is_held_back(&self, port: usize) -> bool {
        let egress = self.state.egress.get(port).and_then(Option::as_ref);
        egress.is_some_and(EgressSender::has_notices)
    }

    /// The records in a port's ring that the worker has not taken.
    fn waiting(&self, port: usize) -> u64 {
        let ring = self.ingress.get(port).and_then(Option::as_ref);
        ring.map_or(0, |ingoing| {
            let (pushed, popped) = ingoing.ring.memory().traffic();
            pushed.saturating_sub(popped)
        })
    }

    /// Publishes the load that the ports compare when they place a client: the records found waiting in this
    /// cycle.
    fn publish_load(&mut self, load: u64) {
        let cell = &self.shared.workers[self.index].shard.load;
        if cell.get() != load {
            cell.set(&mut self.state.writer, load);
        }
    }

    /// Gives back the permits of ended messages.
    pub(in crate::router) fn give_permits(&mut self) {
        self.shared.permits.give(std::mem::take(&mut self.state.ended));
    }

    /// Publishes how far the ports have consumed.
    pub(in crate::router) fn follow_ports(&mut self) {
        let own = &self.shared.workers[self.index];
        for (egress, published) in self.state.egress.iter_mut().zip(&own.frontiers) {
            if let Some(egress) = egress {
                egress.advance(self.state.batch, published);
            }
        }
    }

    /// Takes up to `limit` records from one port's ring. Returns how many.
    pub(super) fn drain(&mut self, port: usize, limit: usize, time: &mut u64) -> usize {
        let mut count = 0;
        if self.take_records(port, limit, time, &mut count).is_err() {
            self.give_up_ring(port);
        }
        count
    }

    fn take_records(
        &mut self,
        port: usize,
        limit: usize,
        time: &mut u64,
        count: &mut usize,
    ) -> Result<(), Corrupt> {
        let Some(Some(receiver)) = self.ingress.get_mut(port) else { return Ok(()) };
        // No task has come back since a task blocked the ring's next record.
        if receiver.corrupt || receiver.blocked == Some(self.state.tasks.returned) {
            return Ok(());
        }
        receiver.blocked = None;
        if receiver.lane.is_some() {
            return self.take_lane_records(port, limit, time, count);
        }
        if !receiver.sealed && !receiver.ring.refresh()? {
            return Ok(());
        }
        let context = WorkerContext::new(&self.shared, &self.code, &mut self.state);
        let IngressReceiver { ring, counts, blocked, sealed, .. } = receiver;
        let from = (port, *sealed);
        take_each(
            context,
            from,
            (ring, blocked),
            limit,
            count,
            |_| (),
            |context, _, record| context.dispatch(port, counts, record, time),
        )
    }

    /// Gives up a corrupt ring, because none of its records is reliable. The port reads the ring's closed and
    /// corrupt words. The clients whose messages came through it are to be closed.
    #[cold]
    fn give_up_ring(&mut self, port: usize) {
        let Some(Some(receiver)) = self.ingress.get_mut(port) else { return };
        receiver.corrupt = true;
        let lane = receiver.lane.as_ref().map(|lane| Arc::clone(&lane.rings));
        self.shared.workers[self.index].shard.corrupt_rings.add(&mut self.state.writer, 1);
        receiver.ring.mark_corrupt();
        // Wake a port that waits for space in the ring, because there will be none.
        after_publishing(|| receiver.port_wake.wake_if_asleep());
        if let Some(calls) = self.shared.calls.get(port) {
            calls.wake_all();
        }
        let mut context = WorkerContext::new(&self.shared, &self.code, &mut self.state);
        for (client, slot) in self.shared.clients.open_of(port, Some(self.index)) {
            context.close_client(client, slot, CloseReason::Corrupt);
        }
        // From now on the lane ends these clients itself, and this worker writes nothing into their slots.
        if let Some(lane) = lane {
            lane.give_up();
        }
    }

    pub(super) fn flush_egress(&mut self) -> usize {
        let clients = &self.shared.clients;
        let full =
            self.state.remotes.as_ref().filter(|remotes| remotes.ring_full).map(|remotes| remotes.port);
        let (mut work, mut has_room) = (0, false);
        for (port, egress) in self.state.egress.iter_mut().enumerate() {
            if let Some(egress) = egress.as_mut().filter(|egress| egress.is_stalled()) {
                let moved = egress.flush(clients);
                work += moved;
                has_room |= moved > 0 && full == Some(port);
            }
        }
        if has_room {
            WorkerContext::new(&self.shared, &self.code, &mut self.state).ring_has_room();
        }
        work
    }

    /// Releases the records that were read, makes the emitted deliveries visible, and wakes the sleepers. One
    /// fence serves all ports.
    pub(in crate::router) fn publish(&mut self) {
        // Before the ring space: a port that waits for permits is woken by the space.
        self.give_permits();
        self.report_paths();
        let (mut released, mut published) = (0u64, 0u64);
        // Before the ring space: a lane that sees that a record's space is free has the record's events before it.
        for (port, egress) in self.state.egress.iter_mut().enumerate() {
            if egress.as_mut().is_some_and(EgressSender::publish) {
                published |= 1 << port;
            }
        }
        for (port, ingoing) in self.ingress.iter_mut().enumerate() {
            let kept = self.state.tasks.kept_from(port);
            let release = |ring: &mut Consumer| match kept {
                Some(kept) => ring.release_below(kept),
                None => ring.release(),
            };
            if ingoing.as_mut().is_some_and(|ingoing| release(&mut ingoing.ring)) {
                released |= 1 << port;
            }
        }
        if released | published == 0 {
            return;
        }
        let quiet = self.quiet;
        let wakes = after_publishing(|| {
            let mut wakes = 0;
            for (port, (ingoing, egress)) in self.ingress.iter().zip(&self.state.egress).enumerate() {
                if let Some(ingoing) = ingoing
                    && released & (1 << port) != 0
                    && ingoing.ring.memory().needs_space()
                {
                    wakes += u64::from(ingoing.port_wake.wake_if_asleep());
                }
                if let Some(egress) = egress
                    && published & !quiet & (1 << port) != 0
                {
                    wakes += u64::from(egress.wake());
                }
            }
            wakes
        });
        self.own_shard_add(|shard| &shard.wakes, wakes);
    }

    pub(super) fn own_shard_add(
        &mut self,
        cell: impl FnOnce(&crate::metrics::WorkerShard) -> &crate::metrics::Cell,
        count: u64,
    ) {
        cell(&self.shared.workers[self.index].shard).add(&mut self.state.writer, count);
    }

    /// Whether there is a reason not to sleep. Called behind the fence of the wake word.
    fn rings_have_news(&self) -> bool {
        (self.look_again.is_some() && !self.waits_for_tasks())
            || self.ingress.iter().enumerate().any(|(port, ingoing)| {
                let Some(ingoing) = ingoing else { return false };
                let blocked = ingoing.blocked == Some(self.state.tasks.returned)
                    || (!ingoing.sealed && self.is_held_back(port));
                // Nothing above the seal is taken.
                let more = if ingoing.sealed { !ingoing.ring.is_drained() } else { ingoing.ring.has_more() };
                !ingoing.corrupt && !blocked && more
            })
            || self.state.egress.iter().flatten().any(|egress| egress.waits() && egress.space_moved())
    }

    /// The thread's main function.
    pub(in crate::router) fn run(mut self) {
        let ended = catch_unwind(AssertUnwindSafe(|| self.work()));
        if let Err(panic) = ended {
            self.lose(Some(&*panic));
            discard(panic);
        }
    }

    fn work(&mut self) {
        if self.shared.config.touches() {
            crate::router::thread::touch();
        }
        let idle = self.shared.config.router.idle;
        let cores = process_cores(); // This thread may be pinned to one.
        // With fewer cores than threads, spinning takes time from the threads that this worker waits for.
        let crowded = cores < 2 * self.shared.placement.threaded();
        let mut backoff = Backoff::new();
        let mut yielded = false;
        while !self.stopped {
            let now = self.shared.clock.raw();
            if self.cycle_at(now) > 0 {
                backoff = Backoff::new();
                yielded = false;
                self.frontier_wait = FRONTIER_WAIT;
                continue;
            }
            match idle {
                Idle::Spin => std::hint::spin_loop(),
                Idle::Backoff if crowded && !yielded => {
                    std::thread::yield_now();
                    yielded = true;
                }
                Idle::Backoff if !crowded && !backoff.is_completed() => backoff.snooze(),
                Idle::Backoff | Idle::Park => {
                    self.sleep(now, None);
                    backoff = Backoff::new();
                    yielded = false;
                }
            }
        }
    }

    /// When the worker must run again even if nothing arrives: the time until a held message expires, or until it
    /// tries again to move a backlog.
    pub(in crate::router) fn next_due(&self, now: u64) -> Option<Duration> {
        let stalled = self.state.egress.iter().flatten().any(EgressSender::is_stalled);
        let expiry = self.state.next_expiry().map(|due| {
            Duration::from_nanos(self.shared.clock.nanoseconds(now, due)) + Duration::from_micros(50)
        });
        stalled.then_some(BACKLOG_WAIT).into_iter().chain(expiry).min()
    }

    /// What ends a sleep without a signal: whether a backlog waits, and when the first held message expires.
    fn due(&self) -> (bool, u64) {
        let stalled = self.state.egress.iter().flatten().any(EgressSender::is_stalled);
        (stalled, self.state.next_expiry().unwrap_or(u64::MAX))
    }

    /// The keeper of a local worker is about to sleep until [`next_due`](Self::next_due).
    pub(in crate::router) fn keeper_sleeps(&mut self) {
        self.kept_due = self.due();
    }

    /// Whether a sleeping keeper must be woken: something is left to do, or is due before its sleep is over.
    pub(in crate::router) fn needs_keeper(&self) -> bool {
        let ((stalled, expiry), (kept_stalled, kept_expiry)) = (self.due(), self.kept_due);
        self.rings_have_news() || (stalled && !kept_stalled) || expiry < kept_expiry
    }

    /// Asks the ports whose rings are full to announce space. Called before the worker sleeps.
    fn request_space(&mut self) {
        let egress = self.state.egress.iter_mut().flatten();
        egress.filter(|egress| egress.waits()).for_each(EgressSender::request_space);
    }

    /// Sleeps until something arrives, something is due, or `most` is over.
    pub(in crate::router) fn sleep(&mut self, now: u64, most: Option<Duration>) {
        self.request_space();
        let moves =
            self.shared.placement.threaded() > 1 && self.shared.placement.balance != Balance::RoundRobin;
        let behind = moves && self.state.egress.iter().flatten().any(|egress| egress.frontier.is_behind());
        // A port does not wake a worker when it has consumed, so re-check after a while: a client that is waiting
        // to move depends on it.
        let frontier = behind.then_some(self.frontier_wait);
        if behind {
            self.frontier_wait = (2 * self.frontier_wait).min(FRONTIER_WAIT_MAXIMUM);
        }
        let timeout = most.into_iter().chain(frontier).chain(self.next_due(now)).min();
        let seen = self.seen();
        let shared = Arc::clone(&self.shared);
        shared.workers[self.index].bell.sleep_unless(seen, timeout, || {
            let news = self.rings_have_news();
            self.own_shard_add(|shard| &shard.parks, u64::from(!news));
            news
        });
    }

    /// For a worker on its port's thread: arms their word for the thread's poller, unless there is news for the
    /// worker or for the `port`. Returns whether the thread may wait.
    pub(in crate::router) fn arm_unless(&mut self, waiter: &mut Waiter, port: impl FnOnce() -> bool) -> bool {
        self.request_space();
        let rings = || self.rings_have_news();
        let may_wait = self.own().bell.arm_unless(waiter, self.seen(), rings, port);
        self.own_shard_add(|shard| &shard.parks, u64::from(may_wait));
        may_wait
    }

    /// The signals that this worker has handled.
    fn seen(&self) -> Seen {
        Seen { attach_changes: self.attach_seen, stop: self.waits_for_tasks() }
    }
}
