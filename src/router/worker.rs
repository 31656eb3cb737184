//! A worker: one pinned thread that owns the consuming end of its rings and its shard. `cycle` is all it does;
//! `run` is the loop around it, and a test can call `cycle` itself.

mod figures;

use super::driven::Gate;
use super::egress::Egress;
use super::handler::NOT_TAKEN_UP;
use super::pair::{settle_ingress, untaken_deliveries};
use super::payload::{Payload, Way, read_reference};
use super::relay::Relay;
use super::route::this_is_a_worker;
use super::shared::{Shared, WorkerShared};
use crate::clients::NameHash;
use crate::config::{Balance, Idle, Key};
use crate::error::Undeliverable;
use crate::park::WakeWord;
use crate::ring::record::{Ingress, ingress_flag, ingress_kind};
use crate::ring::{Consumer, Corrupt, State};
use crate::sync::{Acquire, Arc, Relaxed, mutant, wake_fence};
use crossbeam_utils::Backoff;
use std::time::Duration;

/// One worker of a router made by [`Builder::build`](super::Builder::build).
#[derive(Debug)]
pub struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    pub(super) ingress: Vec<Option<Ingoing>>,
    /// In a box, so that it can be laid down while a handler runs.
    pub(super) relay: Box<Relay>,
    /// Where the next cycle starts, so that no port is always first.
    first_port: usize,
    attach_seen: u64,
    batch: usize,
    /// When the last cycle ended.
    idle_since: Option<u64>,
    /// How long to sleep at most while a frontier is behind.
    frontier_wait: Duration,
    pub(super) stopped: bool,
    /// It settles in the place of a worker that was given up, see `stuck`.
    pub(super) adopted: bool,
    /// What waits in its rings fails at its stop: the host lets go of it.
    pub(super) failing: bool,
    /// A port that leaves, or a stop, waited for tasks when so many had come back.
    look_again: Option<u64>,
}

/// How long a sleeping worker waits at first, and at most, before it looks again at what the ports have consumed.
const FRONTIER_WAIT: Duration = Duration::from_millis(1);
const FRONTIER_WAIT_MAXIMUM: Duration = Duration::from_secs(1);

/// The consuming end of one port's ring.
#[derive(Debug)]
pub(super) struct Ingoing {
    pub(super) ring: Consumer,
    pub(super) port_wake: Arc<WakeWord>,
    /// The router stops: nothing above the tail as it was then is taken.
    pub(super) sealed: bool,
    pub(super) corrupt: bool,
    /// Its next record waited for tasks when so many had come back.
    pub(super) blocked: Option<u64>,
}

/// Bytes that a worker has for each port.
pub(super) const PAIR_BYTES: u64 = (size_of::<Option<Ingoing>>() + size_of::<Option<Egress>>()) as u64;

impl Worker {
    /// Takes what is reserved from the system.
    pub(super) fn touch(&mut self) -> std::io::Result<()> {
        self.relay.touch()
    }

    pub(super) fn new(shared: Arc<Shared>, index: usize) -> Self {
        Self {
            ingress: (0..shared.ports.len()).map(|_| None).collect(),
            relay: Relay::with_spare(&shared, index),
            first_port: 0,
            attach_seen: 0,
            batch: shared.config.count(Key::Batch),
            idle_since: None,
            frontier_wait: FRONTIER_WAIT,
            stopped: false,
            adopted: false,
            failing: false,
            look_again: None,
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

    /// One round: takes up to a batch from each ring, delivers, expires, publishes, wakes. `now` is a reading of
    /// the router's clock. Returns how much it did; 0 means that it may sleep.
    pub fn cycle(&mut self, now: u64) -> usize {
        if self.stopped {
            return 0;
        }
        self.relay.batch += 1;
        self.relay.writer.controlled = self.shared.controls.now();
        // Acquire: pairs with the Release of whoever attached or detached.
        let changes = self.own().attach_changes.load(Acquire);
        if changes != self.attach_seen || self.look_again.is_some() {
            self.attach_seen = changes;
            self.look_at_pairs(now);
        }
        if self.is_abandoned() {
            return 0;
        }
        self.look_at_queues(now);
        // Acquire: pairs with the Release in `Router::request_stop`.
        if self.own().stop.load(Acquire) {
            self.look_at_pairs(now);
            if !self.is_abandoned() {
                self.stop(now);
                self.flush();
                self.relay.leave_rooms();
            }
            return 1;
        }
        let mut work = self.flush_egress();
        if self.own().look_up_all.load(Relaxed) {
            // Cleared first, then looked: a post that comes in between sets it again. AcqRel: the names inserted
            // before the post are there to be found.
            self.own().look_up_all.swap(false, crate::sync::AcqRel);
            self.relay.look_up_all(&self.shared);
            work += 1;
        }
        let ports = self.ingress.len();
        let mut time = now;
        let mut load = 0;
        for offset in 0..ports {
            let port = (self.first_port + offset) % ports;
            let taken = self.drain(port, self.batch, &mut time);
            if self.is_abandoned() {
                return 0;
            }
            work += taken;
            let all = taken < self.batch && self.relay.tasks.of_port(port) == 0;
            load += if all { taken as u64 } else { self.waiting(port) };
        }
        self.publish_load(load);
        self.first_port = (self.first_port + 1) % ports;
        if !self.relay.holds.is_empty() {
            work += self.relay.expire(&self.shared, time);
        }
        if work > 0 {
            let own = &self.shared.workers[self.index].shard;
            own.cycles.add(&mut self.relay.writer, 1);
            let busy = self.shared.clock.nanoseconds(now, time);
            own.busy_nanoseconds.add(&mut self.relay.writer, busy);
        }
        self.idle_since = Some(time);
        self.publish();
        self.relay.leave_rooms();
        self.follow_ports();
        work
    }

    /// Whether it was given up inside a handler that has returned now: what it had is another's, and it ends at once.
    pub(super) fn is_abandoned(&mut self) -> bool {
        self.stopped |= self.relay.inside.abandoned;
        self.relay.inside.abandoned
    }

    /// What lay in a port's ring before this cycle took its part, in records.
    fn waiting(&self, port: usize) -> u64 {
        let ring = self.ingress.get(port).and_then(Option::as_ref);
        ring.map_or(0, |ingoing| {
            let (pushed, popped) = ingoing.ring.memory().traffic();
            pushed.saturating_sub(popped)
        })
    }

    /// What the ports weigh when they place: the records found waiting in this cycle.
    fn publish_load(&mut self, load: u64) {
        let cell = &self.shared.workers[self.index].shard.load;
        if cell.get() != load {
            cell.set(&mut self.relay.writer, load);
        }
    }

    /// Gives back the permits of what has ended, and publishes how far the ports have come.
    pub(super) fn follow_ports(&mut self) {
        let own = &self.shared.workers[self.index];
        self.shared.permits.give(std::mem::take(&mut self.relay.ended));
        for (egress, published) in self.relay.egress.iter_mut().zip(&own.frontiers) {
            if let Some(egress) = egress {
                egress.advance(self.relay.batch, published);
            }
        }
    }

    /// Takes up to `limit` records from one port's ring.
    fn drain(&mut self, port: usize, limit: usize, time: &mut u64) -> usize {
        let Some(Some(ingoing)) = self.ingress.get_mut(port) else { return 0 };
        // Nothing has come back since the ring's next record began to wait for that.
        if ingoing.corrupt || ingoing.blocked == Some(self.relay.tasks.returned) {
            return 0;
        }
        ingoing.blocked = None;
        let own = &self.shared.workers[self.index].shard;
        let mut count = 0;
        let refreshed = if ingoing.sealed { Ok(true) } else { ingoing.ring.refresh() };
        let result = refreshed.and_then(|any| {
            if !any {
                return Ok(());
            }
            while count < limit {
                self.relay.inside.taken[port] = ingoing.ring.position();
                if self.relay.tasks.is_driven() {
                    match self.relay.gate(&self.shared, port, &mut ingoing.ring)? {
                        Gate::Open => {}
                        Gate::Shut => return Ok(()),
                        Gate::Blocked => {
                            ingoing.blocked = Some(self.relay.tasks.returned);
                            return Ok(());
                        }
                    }
                }
                let Some(record) = ingoing.ring.next()? else { return Ok(()) };
                count += 1;
                let header = Ingress::read(record.bytes);
                // Kept until the message is done with.
                let beside = header.as_ref().and_then(|(header, payload)| {
                    let owned = header.flags & ingress_flag::OWNED != 0;
                    owned.then(|| {
                        read_reference(payload).and_then(|(number, _)| self.shared.payloads.take(number))
                    })
                });
                let bytes = |payload| {
                    beside.as_ref().map_or(Some(payload), |one| one.as_ref().map(Payload::as_slice))
                };
                match (record.kind, header) {
                    (ingress_kind::MESSAGE, Some((header, payload))) => {
                        // For a task, which keeps it.
                        self.relay.tasks.arriving = beside.clone().flatten();
                        *time = self.relay.message(&self.shared, port, &header, bytes(payload), *time);
                        if self.relay.inside.abandoned {
                            return Ok(());
                        }
                        self.relay.tasks.arriving = None;
                    }
                    (ingress_kind::SEND, Some((header, payload))) => {
                        *time = self.relay.send(&self.shared, &header, bytes(payload), *time);
                    }
                    (ingress_kind::DISCONNECT, Some((header, _))) => {
                        self.relay.disconnect(&self.shared, port, &header)
                    }
                    (ingress_kind::NAME_CONNECTED, Some((header, _))) => {
                        self.relay.name_connected(&self.shared, NameHash(header.recipient));
                    }
                    _ => return Err(Corrupt),
                }
            }
            self.relay.inside.taken[port] = ingoing.ring.position();
            own.full_batches.add(&mut self.relay.writer, 1);
            Ok(())
        });
        if result.is_err() {
            // Nothing in this ring can be trusted any more. The port learns it from CLOSED and `is_corrupt`.
            ingoing.corrupt = true;
            own.corrupt_rings.add(&mut self.relay.writer, 1);
            ingoing.ring.mark_corrupt();
            if let Some(calls) = self.shared.calls.get(port) {
                calls.wake_all();
            }
        }
        count
    }

    fn flush_egress(&mut self) -> usize {
        let clients = &self.shared.clients;
        self.relay
            .egress
            .iter_mut()
            .flatten()
            .filter(|egress| egress.is_stalled())
            .map(|e| e.flush(clients))
            .sum()
    }

    /// Gives back what was read and makes what was emitted visible; one fence for all; then the wakes.
    pub(super) fn publish(&mut self) {
        self.report_paths();
        let (mut released, mut published) = (0u64, 0u64);
        for (port, ingoing) in self.ingress.iter_mut().enumerate() {
            let kept = self.relay.tasks.kept_from(port);
            let release = |ring: &mut Consumer| match kept {
                Some(kept) => ring.release_below(kept),
                None => ring.release(),
            };
            if ingoing.as_mut().is_some_and(|ingoing| release(&mut ingoing.ring)) {
                released |= 1 << port;
            }
        }
        for (port, egress) in self.relay.egress.iter_mut().enumerate() {
            if egress.as_mut().is_some_and(Egress::publish) {
                published |= 1 << port;
            }
        }
        if released | published == 0 {
            return;
        }
        wake_fence("worker-publish-fence");
        let mut wakes = 0;
        for (port, (ingoing, egress)) in self.ingress.iter().zip(&self.relay.egress).enumerate() {
            if let Some(ingoing) = ingoing
                && released & (1 << port) != 0
                && ingoing.ring.memory().needs_space()
            {
                wakes += u64::from(ingoing.port_wake.wake_if_asleep());
            }
            if let Some(egress) = egress
                && published & (1 << port) != 0
            {
                wakes += u64::from(egress.wake());
            }
        }
        self.own_shard_add(|shard| &shard.wakes, wakes);
    }

    fn own_shard_add(
        &mut self,
        cell: impl FnOnce(&crate::metrics::WorkerShard) -> &crate::metrics::Cell,
        count: u64,
    ) {
        cell(&self.shared.workers[self.index].shard).add(&mut self.relay.writer, count);
    }

    /// Takes up the pairs that were attached, and leaves those whose port has.
    pub(super) fn look_at_pairs(&mut self, now: u64) {
        self.look_again = None;
        for port in 0..self.ingress.len() {
            let state = self.shared.pair(self.index, port).state();
            if state == State::Free {
                continue;
            }
            if self.ingress[port].is_none() {
                self.take_up(port);
            }
            if state == State::Detaching {
                let mut time = now;
                while !self.is_abandoned() && self.drain(port, usize::MAX, &mut time) > 0 {}
                if self.is_abandoned() {
                    return;
                }
                if self.has_unended(port) {
                    self.look_again = Some(self.relay.tasks.returned);
                    continue;
                }
                self.leave(port, Undeliverable::PortGone);
            }
        }
    }

    /// Takes up the rings of a pair that was attached.
    pub(super) fn take_up(&mut self, port: usize) {
        let Some(pair) = self.shared.pair(self.index, port).view() else { return };
        // It may have been seen to before.
        self.relay.egress[port].get_or_insert_with(|| Egress::new(&pair));
        self.relay.inside.taken[port] = 0;
        self.ingress[port] = Some(Ingoing {
            ring: Consumer::new(pair.ingress),
            port_wake: pair.port_wake,
            sealed: false,
            corrupt: false,
            blocked: None,
        });
    }

    /// Stops: takes what is published in every ring, up to its seal, and leaves every pair.
    pub(super) fn stop(&mut self, now: u64) {
        let mut time = now;
        if self.adopted || self.failing {
            self.relay.fail_tasks(&self.shared, now);
        }
        for port in 0..self.ingress.len() {
            if let Some(Some(ingoing)) = self.ingress.get_mut(port) {
                if !ingoing.sealed {
                    ingoing.corrupt |= ingoing.ring.close_and_seal().is_err();
                    ingoing.sealed = true;
                }
                if self.adopted || self.failing {
                    self.fail_rest(port, now);
                } else {
                    self.drain(port, usize::MAX, &mut time);
                }
                if self.is_abandoned() {
                    return;
                }
            }
        }
        if (0..self.ingress.len()).any(|port| self.has_unended(port)) {
            // The host goes on taking what was published before the stop.
            self.look_again = Some(self.relay.tasks.returned);
            return;
        }
        self.relay.stop_holds(&self.shared);
        self.flush_egress();
        for port in 0..self.ingress.len() {
            if self.ingress[port].is_some() {
                self.leave(port, Undeliverable::Stopped);
            }
        }
        // Callers look whether their ring is closed.
        for calls in &self.shared.calls {
            calls.wake_all();
        }
        self.follow_ports();
        self.stopped = true;
    }

    /// Leaves one pair: gives up its backlog, seals, publishes, wakes once more without being asked, and settles
    /// the rest if the port has left before.
    fn leave(&mut self, port: usize, reason: Undeliverable) {
        let Some(mut ingoing) = self.ingress[port].take() else { return };
        self.relay.inside.taken[port] = NOT_TAKEN_UP;
        let mut egress = self.relay.egress[port].take();
        let published = &self.shared.workers[self.index].frontiers[port];
        if let Some(egress) = &mut egress {
            egress.report(&self.shared.workers[self.index].paths[port], &mut self.relay.writer);
            let given_up = egress.give_up(&self.shared.clients);
            self.relay.undeliverable(&self.shared, reason, given_up);
            egress.report(&self.shared.workers[self.index].paths[port], &mut self.relay.writer);
            egress.frontier.leave(published);
            egress.publish();
        }
        ingoing.ring.store_seal();
        if self.adopted {
            ingoing.ring.keep(); // The handler that was given up may still be reading from it.
        } else {
            ingoing.ring.release();
        }
        if let Some(egress) = &egress {
            egress.close();
        }
        ingoing.ring.memory().close();
        wake_fence("worker-publish-fence");
        if !mutant("stop-no-space-step") {
            ingoing.port_wake.wake_if_asleep();
        }
        drop(ingoing);
        let shared = Arc::clone(&self.shared);
        shared.pair(self.index, port).leave(|pair| {
            settle_ingress(&shared, (self.index, port), &pair.ingress, |reason, untaken| {
                self.own_shard_add(|shard| &shard.refused[reason as usize], untaken);
            });
            shared.payloads.sweep(Way::Out, self.index, port);
            let untaken = untaken_deliveries(&pair.egress, &shared.clients);
            self.relay.undeliverable(&self.shared, Undeliverable::PortGone, untaken);
        });
    }

    /// Whether a leave or a stop can only go on when the host is done with something.
    fn waits_for_tasks(&self) -> bool {
        self.look_again == Some(self.relay.tasks.returned) && !self.relay.tasks.is_empty()
    }

    /// Whether anything has come that a sleep would miss. Behind the fence of `WakeWord::arm`.
    fn must_stay_awake(&self) -> bool {
        let own = self.own();
        own.attach_changes.load(Relaxed) != self.attach_seen // Relaxed: behind the fence, and re-read by `cycle`.
            || (own.stop.load(Relaxed) && !self.waits_for_tasks())
            || own.look_up_all.load(Relaxed)
            || (self.look_again.is_some() && !self.waits_for_tasks())
            || self.ingress.iter().flatten().any(|ingoing| {
                let blocked = ingoing.blocked == Some(self.relay.tasks.returned);
                // Behind its seal there is nothing to take.
                let more = if ingoing.sealed { !ingoing.ring.is_drained() } else { ingoing.ring.has_more() };
                !ingoing.corrupt && !blocked && more
            })
            || self.relay.egress.iter().flatten().any(|egress| egress.is_stalled() && egress.space_moved())
    }

    /// The thread's life.
    pub(super) fn run(mut self) {
        this_is_a_worker();
        if self.shared.config.touches() {
            super::stack::touch();
        }
        let idle = self.shared.config.idle();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // With fewer cores than threads, spinning takes the time of those that are waited for.
        let crowded = cores < 2 * self.shared.workers.len();
        let mut backoff = Backoff::new();
        let mut yielded = false;
        while !self.stopped {
            let now = self.shared.clock.raw();
            if self.cycle(now) > 0 {
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

    /// Sleeps until something comes, or something is due, or `most` is over.
    pub(super) fn sleep(&mut self, now: u64, most: Option<Duration>) {
        let mut timeout = most;
        for egress in self.relay.egress.iter_mut().flatten().filter(|egress| egress.is_stalled()) {
            egress.request_space();
            let wait = Duration::from_millis(10);
            timeout = Some(most.map_or(wait, |most| most.min(wait)));
        }
        let moves = self.shared.workers.len() > 1 && self.shared.placement.balance != Balance::RoundRobin;
        if moves && self.relay.egress.iter().flatten().any(|egress| egress.frontier.is_behind()) {
            // Nobody wakes a worker for what its ports have consumed; and whoever waits to move needs to be told.
            let wait = self.frontier_wait;
            timeout = Some(timeout.map_or(wait, |timeout: Duration| timeout.min(wait)));
            self.frontier_wait = (2 * wait).min(FRONTIER_WAIT_MAXIMUM);
        }
        if let Some(due) = self.relay.holds.next_expiry() {
            let wait =
                Duration::from_nanos(self.shared.clock.nanoseconds(now, due)) + Duration::from_micros(50);
            timeout = Some(timeout.map_or(wait, |timeout: Duration| timeout.min(wait)));
        }
        let shared = Arc::clone(&self.shared);
        let wake = &shared.workers[self.index].wake;
        wake.arm();
        if !self.must_stay_awake() {
            self.own_shard_add(|shard| &shard.parks, 1);
            wake.sleep(timeout);
        }
        wake.disarm();
    }
}
