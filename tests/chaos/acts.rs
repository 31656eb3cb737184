//! Chooses an actor's next act, at the top level or inside host code, and checks the invariants after each step.

use crate::ledger::ended;
use crate::watching;
use crate::world::World;
use corelane::error::DrainError;
use std::time::Duration;

/// The maximum number of acts that one step may lead to.
const FUEL: u64 = 30;

impl World {
    pub fn step(&self) {
        self.fuel.set(FUEL);
        self.act();
        self.trace_accounts();
        self.check();
    }

    /// Performs one more act inside host code while fuel is left.
    pub fn act_inside(&self) {
        if self.calm.get() || self.depth.get() >= 4 || self.fuel.get() == 0 {
            return;
        }
        self.fuel.set(self.fuel.get() - 1);
        self.depth.set(self.depth.get() + 1);
        self.reach(|reached| reached.nested_acts += 1);
        self.act();
        self.depth.set(self.depth.get() - 1);
    }

    pub fn is_inside(&self) -> bool {
        self.depth.get() > 0
    }

    fn act(&self) {
        self.ledger.borrow_mut().now += 1;
        let act = self.below(100);
        self.trace(|| format!("act {act}"));
        match act {
            0..10 => self.connect(),
            10..34 => self.submit(),
            34..38 => self.send(),
            38..40 => self.batch(),
            40..42 => self.route(),
            42..46 => self.join(),
            46 if self.chance(50) => self.leave(),
            46 => self.churn(),
            47..52 => self.publish(),
            52..68 => self.work(),
            68..79 => self.poll(),
            79..86 => self.acknowledge(),
            86..90 => self.disconnect(),
            90 => self.release_name(),
            91 => self.open_port(),
            92 if self.chance(25) => self.release_port(),
            92 => self.share(),
            93 => self.advance(),
            94 => self.scene(),
            95 => self.rebind(),
            96 => self.place(),
            97 => self.flood(),
            98 if self.chance(70) => self.wait(),
            98 => self.stall(),
            _ => self.seldom(),
        }
    }

    fn advance(&self) {
        let milliseconds = match self.below(30) {
            0 => 10_000,
            1 => 3_600_000,
            _ => self.below(30),
        };
        self.hands.advance(Duration::from_millis(milliseconds));
    }

    /// Changes the placement of clients, or evaluates the workers' state.
    pub fn place(&self) {
        let threaded = self.workers.len() as u64;
        let worker = self.below(threaded.max(1)) as usize;
        match self.below(4) {
            0 | 1 if threaded == 0 => {}
            0 => self.router.set_active_workers(worker + 1).unwrap(),
            1 => self.router.set_stalled(worker, self.chance(40)),
            2 => {
                let stats = self.router.stats();
                assert_eq!(stats.workers.len(), self.setup.workers);
            }
            _ => {
                let stalled = self.router.watchdog().look(self.clock.now());
                self.reach(|reached| reached.stalls += stalled as u64);
            }
        }
    }

    /// Rare acts that end something permanently.
    fn seldom(&self) {
        match self.below(3) {
            0 if self.setup.may_stop && self.chance(20) => self.request_stop(),
            1 if self.setup.may_lose && self.chance(40) => self.lose_worker(),
            2 if self.setup.may_drain && self.chance(30) => self.drain(),
            _ => {}
        }
    }

    pub fn request_stop(&self) {
        self.router.request_stop();
        if !self.stopped.replace(true) && !self.calm.get() {
            let inside = u64::from(self.inside.get() > 0);
            self.reach(|reached| {
                reached.stops_midway += 1;
                reached.nested_stops += inside;
            });
        }
    }

    fn drain(&self) {
        let drained = self.router.drain(Duration::ZERO);
        if drained == Err(DrainError::OwnThread) {
            assert!(self.setup.locals > 0, "no worker lives on this thread");
            return;
        }
        self.draining.set(true);
        let accounting = self.router.accounting();
        if self.inside.get() == 0 {
            assert_eq!(drained.is_ok(), accounting.in_flight == 0 && accounting.queued == 0);
        }
        self.reach(|reached| reached.drains += 1);
    }

    /// Prints an act when a single seed is traced.
    pub fn trace(&self, text: impl FnOnce() -> String) {
        if self.traced {
            eprintln!("{:1$}{2}", "", 2 * self.depth.get() as usize, text());
        }
    }

    /// Prints the state of every message.
    pub fn trace_accounts(&self) {
        self.trace(|| {
            let accounting = self.router.accounting();
            let workers = self.router.stats().workers;
            let counts: Vec<_> =
                workers.iter().map(|one| (one.received, one.ended, one.queue_messages)).collect();
            let out: usize = self.workers.iter().map(|hand| hand.tasks.borrow().len()).sum();
            let (in_flight, held) = (accounting.in_flight, accounting.held);
            format!("in flight {in_flight}, held {held}, out {out}, received, ended, waiting {counts:?}")
        });
    }

    /// Checks the invariants that hold at every moment.
    pub fn check(&self) {
        assert_eq!(watching::panics(), self.panics, "a panic that no actor threw");
        let accounting = self.router.accounting();
        let ledger = self.ledger.borrow();
        let ended = ended(&accounting);
        assert!(ended <= accounting.submitted, "more messages ended than were submitted: {accounting:?}");
        let done = accounting.consumed + accounting.undeliverable;
        assert!(done <= accounting.deliveries, "more deliveries ended than were created: {accounting:?}");
        assert_eq!(accounting.submitted, ledger.submitted, "{accounting:?}");
        assert!(ledger.refused <= accounting.refused, "{} refusals reported, {accounting:?}", ledger.refused);
        assert_eq!(accounting.consumed, ledger.events, "{accounting:?}");
        assert!(ledger.base_runs <= accounting.taken_over, "{} runs, {accounting:?}", ledger.base_runs);
        self.reach(|reached| {
            reached.held += accounting.held;
            reached.undeliverable += accounting.undeliverable;
        });
    }
}
