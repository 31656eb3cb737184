//! Local workers: a worker that lives on the thread of a port. The host's event loop calls `Port::cycle` between reading
//! and writing its sockets. Port and worker share one wake word, so the loop waits for one descriptor.
//!
//! Between two cycles the worker lies in its [`Seat`]. Whoever takes it from there has it alone:
//!
//! - the owner, that is, the port that `Router::local_port` has opened, for one cycle at a time;
//! - while there is no owner, the seat's keeper: a thread of the router that drives the worker, so that what other ports
//!   and workers send to it still ends;
//! - the host of a lane, for one cycle, whose message the cycle then handles on the host's thread ([`Seat::cycle_for`]);
//! - a stop, once its time is over. It ends the worker and never puts it back; a later cycle then says closed.
//!
//! The keeper and the owner never use the wake word at the same time (`park::Keeping`).
//!
//! This is the one file where both sides meet: `port/` uses the seat, and the seat uses the worker.

#[cfg(all(test, not(corelane_loom)))]
mod tests;

use crate::config::Key;
use crate::error::Closed;
use crate::park::{Keeping, Waiter, WakeWord, after_publishing};
use crate::router::local_loop::LocalLoop;
use crate::router::shared::Shared;
use crate::router::thread::{self, discard};
use crate::router::worker::adoption;
use crate::router::worker::cycle::Worker;
use crate::router::worker::handler::WorkerCode;
use crate::sync::{Acquire, Arc, AtomicBool, Handover, Release, mutant};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::thread::Thread;
use std::time::Duration;

/// The place of one local worker.
#[derive(Debug)]
pub(in crate::router) struct Seat {
    shared: Arc<Shared>,
    /// The worker's index.
    pub(in crate::router) index: usize,
    worker: Handover<Box<Worker>>,
    /// Whether a port has the worker.
    keeping: Keeping,
    /// The worker has stopped, or is lost. It takes nothing any more.
    ended: AtomicBool,
    /// The keeper's thread, if the router has started one.
    keeper: OnceLock<Thread>,
}

impl Seat {
    pub(in crate::router) fn new(worker: Worker) -> Self {
        let (shared, index) = (Arc::clone(&worker.shared), worker.index);
        let seat = Self {
            shared,
            index,
            worker: Handover::new(),
            keeping: Keeping::new(),
            ended: AtomicBool::new(false),
            keeper: OnceLock::new(),
        };
        seat.lay_down(Box::new(worker));
        seat
    }

    /// The word that the worker and its port share.
    pub(in crate::router) fn wake(&self) -> &Arc<WakeWord> {
        self.shared.workers[self.index].bell.wake()
    }

    fn local(&self) -> Option<&LocalLoop> {
        self.shared.workers[self.index].local.as_ref()
    }

    fn is_driven_here(&self) -> bool {
        self.local().is_some_and(LocalLoop::is_driven_here)
    }

    /// Takes the worker for a port, if it has none. The keeper has let go of it then.
    fn own(&self) -> bool {
        !self.has_ended() && self.keeping.own(self.wake())
    }

    /// The port is gone. The keeper drives the worker from now on.
    pub(in crate::router) fn release(&self) {
        self.forget_thread();
        if !mutant("local-released-unowned") {
            self.keeping.release();
        }
        if let Some(keeper) = self.keeper.get() {
            keeper.unpark();
        }
    }

    /// Whether the worker takes nothing any more.
    pub(in crate::router) fn has_ended(&self) -> bool {
        self.ended.load(Acquire) // Acquire: the worker has left its pairs; pairs with the Release in `end`.
    }

    fn end(&self) {
        self.forget_thread();
        self.ended.store(true, Release); // Release: pairs with the Acquire in `has_ended`.
        if let Some(keeper) = self.keeper.get() {
            keeper.unpark();
        }
    }

    fn forget_thread(&self) {
        if let Some(local) = self.local() {
            local.drive_nowhere();
        }
    }

    /// One cycle of the owner, on its thread. Returns how much work was done.
    ///
    /// # Errors
    /// [`Closed`] once the worker has stopped.
    pub(in crate::router) fn cycle(&self) -> Result<usize, Closed> {
        if self.has_ended() {
            return Err(Closed);
        }
        let Some(worker) = self.worker.take_back() else { return Ok(0) };
        if let Some(local) = self.local() {
            local.drive_here();
        }
        Ok(self.cycle_with(worker))
    }

    /// One cycle of whoever comes. 0 if another thread has the worker.
    pub(in crate::router) fn cycle_once(&self) -> usize {
        self.worker.take_back().map_or(0, |worker| self.cycle_with(worker))
    }

    /// One cycle for the host of the lane with this port's number, on the host's thread. The host has published before, and
    /// polls afterwards, so the cycle does not wake it. Returns how much work was done. `None` if the worker is not to be had:
    /// another thread has it, a port owns it, or it has ended. Then the host tests the worker's wake word as after every
    /// publication.
    ///
    /// The keeper may be asleep meanwhile. It is woken if the cycle leaves something to do, or something that is due before
    /// the keeper's sleep is over.
    pub(in crate::router) fn cycle_for(&self, port: usize) -> Option<usize> {
        if self.has_ended() || self.keeping.is_owned() {
            return None;
        }
        let mut worker = self.worker.take_back()?;
        if let Some(local) = self.local() {
            local.count_cycle();
        }
        worker.quiet = 1 << port;
        let work = self.run(&mut worker);
        worker.quiet = 0;
        let more = worker.needs_keeper();
        self.put_back(worker);
        // An owner that has come meanwhile has not found the worker when it asked what is due.
        if more || self.keeping.is_owned() {
            after_publishing(|| self.wake().wake_if_asleep());
        }
        Some(work)
    }

    /// One cycle, and puts the worker back.
    fn cycle_with(&self, mut worker: Box<Worker>) -> usize {
        if let Some(local) = self.local() {
            local.count_cycle();
        }
        let work = self.run(&mut worker);
        self.put_back(worker);
        work
    }

    /// One cycle of a worker that this thread has. A worker that panics is lost, and has ended. The panic goes no
    /// further: it would unwind the host's loop, and the seat would stay taken.
    fn run(&self, worker: &mut Worker) -> usize {
        let now = self.shared.clock.raw();
        catch_unwind(AssertUnwindSafe(|| worker.cycle_at(now))).unwrap_or_else(|panic| {
            worker.lose(Some(&*panic));
            discard(panic);
            0
        })
    }

    fn put_back(&self, worker: Box<Worker>) {
        let stopped = worker.is_stopped();
        self.lay_down(worker);
        if stopped {
            self.end();
        }
    }

    fn lay_down(&self, worker: Box<Worker>) {
        let laid_down = self.worker.lay_down(worker);
        debug_assert!(laid_down.is_ok(), "the seat is new, or this thread has taken the worker from it");
    }

    /// Arms the word for the owner's poller, unless there is news for the worker or for the `port`. Returns whether the
    /// owner may wait.
    pub(in crate::router) fn arm(&self, waiter: &mut Waiter, port: impl FnOnce() -> bool) -> bool {
        if self.has_ended() {
            return waiter.arm_unless(self.wake(), port);
        }
        // Another thread has the worker for a moment: look again.
        let Some(mut worker) = self.worker.take_back() else { return false };
        let may_wait = worker.arm_unless(waiter, port);
        self.put_back(worker);
        may_wait
    }

    /// When the owner must call `cycle` again even if nothing arrives, in whole milliseconds, rounded up.
    pub(in crate::router) fn next_due(&self) -> Option<Duration> {
        let worker = self.worker.take_back()?;
        let due = worker.next_due(self.shared.clock.raw());
        self.put_back(worker);
        due.map(whole_milliseconds)
    }

    /// Ends the worker, if no thread is inside one of its cycles. Nobody else drives it afterwards.
    fn claim(&self) {
        let Some(mut worker) = self.worker.claim() else { return };
        while !worker.is_stopped() {
            self.run(&mut worker);
        }
        drop(worker);
        self.end();
    }

    /// The keeper's thread: drives the worker whenever no port has it.
    fn keep(&self) {
        if self.shared.config.touches() {
            thread::touch();
        }
        while !self.has_ended() {
            self.keeping.keep(|| {
                if self.cycle_once() == 0 {
                    self.sleep();
                }
                !self.has_ended()
            });
            if !self.has_ended() {
                std::thread::park(); // `release` and `end` unpark, also before this call.
            }
        }
    }

    /// The keeper's sleep. It ends when the worker has something to do, and when a port wants the worker.
    fn sleep(&self) {
        let mut waiter = Waiter::default();
        // A lane's host has the worker for a moment, or a stop has ended it.
        let Some(mut worker) = self.worker.take_back() else { return std::thread::yield_now() };
        let may_wait = worker.arm_unless(&mut waiter, || self.keeping.is_owned());
        let due = worker.next_due(self.shared.clock.raw()).map(whole_milliseconds);
        worker.keeper_sleeps();
        self.put_back(worker);
        let reported = may_wait && !self.has_ended() && self.wake().sleep(due);
        waiter.awake(self.wake(), reported);
    }
}

fn whole_milliseconds(due: Duration) -> Duration {
    Duration::from_millis(due.as_nanos().div_ceil(1_000_000) as u64)
}

/// All local workers of a router.
#[derive(Debug)]
pub(in crate::router) struct Seats {
    seats: Box<[Arc<Seat>]>,
    keepers: Vec<std::thread::JoinHandle<()>>,
}

impl Seats {
    pub(in crate::router) fn new(workers: impl IntoIterator<Item = Worker>) -> Self {
        let seats = workers.into_iter().map(|worker| Arc::new(Seat::new(worker))).collect();
        Self { seats, keepers: Vec::new() }
    }

    pub(in crate::router) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    pub(in crate::router) fn get(&self, worker: usize) -> Option<&Arc<Seat>> {
        self.seats.iter().find(|seat| seat.index == worker)
    }

    /// Takes a local worker that has no port.
    pub(in crate::router) fn own_one(&self) -> Option<Arc<Seat>> {
        self.seats.iter().find(|seat| seat.own()).cloned()
    }

    pub(in crate::router) fn all(&self) -> &[Arc<Seat>] {
        &self.seats
    }

    /// Starts the keepers: the threads that drive the workers without a port.
    pub(in crate::router) fn start_keepers(&mut self) -> std::io::Result<()> {
        for seat in &self.seats {
            let kept = Arc::clone(seat);
            let builder = std::thread::Builder::new().name(format!("corelane-keep-{}", seat.index));
            let keeper = builder.stack_size(thread::STACK_BYTES).spawn(move || kept.keep())?;
            let _ = seat.keeper.set(keeper.thread().clone()); // Started once.
            self.keepers.push(keeper);
        }
        Ok(())
    }

    /// One cycle of each worker that has not ended and is `wanted`. Returns how much work was done.
    fn cycle_each(&self, wanted: impl Fn(&Seat) -> bool) -> usize {
        let wanted = self.seats.iter().filter(|seat| wanted(seat) && !seat.has_ended());
        wanted.map(|seat| seat.cycle_once()).sum()
    }

    /// One cycle of each worker without a port. Returns how much work was done.
    pub(in crate::router) fn cycle_unowned(&self) -> usize {
        self.cycle_each(|seat| !seat.keeping.is_owned())
    }

    /// One cycle of each worker that no loop drives: it has no port, or its port's loop has not begun. For a stop, which
    /// must not wait for a loop that may never begin.
    pub(in crate::router) fn cycle_undriven(&self) -> usize {
        self.cycle_each(|seat| !(seat.keeping.is_owned() && seat.local().is_some_and(LocalLoop::is_driven)))
    }

    /// Ends every worker that no thread is inside of, and gives up those whose handler does not return.
    pub(in crate::router) fn end_all(&self, code: &Arc<WorkerCode>) {
        for seat in &self.seats {
            seat.claim();
            adoption::give_up(&seat.shared, code, seat.index);
        }
    }

    /// One cycle of each worker that this thread drives. Returns how much work was done.
    pub(in crate::router) fn cycle_here(&self) -> usize {
        self.cycle_each(Seat::is_driven_here)
    }

    /// Ends the workers that this thread drives.
    pub(in crate::router) fn end_here(&self) {
        self.seats.iter().filter(|seat| seat.is_driven_here()).for_each(|seat| seat.claim());
    }

    /// Waits for the keepers whose worker has ended.
    pub(in crate::router) fn join_keepers(&mut self) {
        for (seat, keeper) in self.seats.iter().zip(self.keepers.drain(..)) {
            if seat.has_ended() {
                // The keeper catches its worker's panics.
                let _ = keeper.join();
            }
        }
    }
}

/// The number of local ports that a router can have open.
pub(in crate::router) fn limit(shared: &Shared) -> u32 {
    shared.config.get(Key::LocalWorkers) as u32
}
