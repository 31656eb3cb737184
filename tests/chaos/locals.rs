//! Local workers: in half of the runs some or all workers live on the threads of ports, which is this thread. Their ports
//! cycle them, and the router those without a port.

use crate::polling::Polling;
use crate::world::{Place, World};
use corelane::error::{CycleError, PortError};
use corelane::router::Port;

impl World {
    /// Opens a port of either shape. `None` if no place is free yet.
    pub fn open_some_port(&self) -> Option<Port> {
        let local = self.setup.locals > 0 && (self.workers.is_empty() || self.chance(60));
        if local {
            match self.router.local_port() {
                Ok(port) => {
                    self.reach(|reached| reached.local_ports += 1);
                    return Some(port);
                }
                Err(PortError::OwnThread) => assert!(self.inside.get() > 0, "no worker is at work"),
                Err(PortError::TooManyLocalPorts(limit)) => assert_eq!(limit, self.setup.locals as u32),
                // A worker waits for its tasks, or its port is in use.
                Err(PortError::TooManyPorts(_)) => return None,
                Err(other) => panic!("{other}"),
            }
        }
        match self.router.port() {
            Err(PortError::TooManyPorts(_)) if self.setup.driven || self.setup.locals > 0 => None,
            Err(PortError::EveryWorkerIsLocal) if self.workers.is_empty() => None,
            port => Some(port.unwrap()),
        }
    }

    /// One cycle of the local worker of some port, or of those without a port.
    pub fn work_on_some_local(&self) {
        if self.chance(25) {
            let work = self.work_on_unowned() as u64;
            return self.reach(|reached| reached.unowned_work += work);
        }
        if let Some(place) = self.some_place() {
            self.work_on_local(place);
        }
    }

    /// One cycle of every worker. Returns the amount of work done.
    pub fn work_on_all(&self) -> usize {
        let threaded: usize = (0..self.workers.len()).map(|worker| self.work_on(worker)).sum();
        threaded + self.work_on_locals()
    }

    pub fn work_on_locals(&self) -> usize {
        if self.setup.locals == 0 {
            return 0;
        }
        let began = {
            let mut ledger = self.ledger.borrow_mut();
            ledger.now += 1;
            ledger.now
        };
        let mut work = self.work_on_unowned();
        let mut all = true;
        for place in self.open_places() {
            match self.work_on_local(&self.ports[place]) {
                Some(done) => work += done,
                None => all = false,
            }
        }
        if all {
            self.locals_cycled.set(began);
        }
        work
    }

    fn work_on_unowned(&self) -> usize {
        self.within_worker(|| self.router.cycle_unowned())
    }

    /// One cycle of the local worker of a port, if the port has one. `None` if the port is in use.
    fn work_on_local(&self, place: &Place) -> Option<usize> {
        let cycled = self.polling(place, |port| self.within_worker(|| port.cycle()))?;
        self.trace(|| format!("cycle {}: {cycled:?}", place.serial.get()));
        Some(match cycled {
            Ok(work) => {
                self.reach(|reached| reached.local_work += work as u64);
                work
            }
            Err(CycleError::NoLocalWorker) => 0,
            Err(CycleError::Closed) => {
                assert!(self.stopped.get(), "a local worker has ended although nobody stopped it");
                0
            }
            Err(other) => panic!("{other}"),
        })
    }

    fn within_worker<R>(&self, run: impl FnOnce() -> R) -> R {
        let inside = self.inside.replace(self.inside.get() + 1);
        let result = run();
        self.inside.set(inside);
        result
    }

    /// A loop may sleep: its local worker has nothing to do, except what is due.
    pub fn assert_nothing_to_do(&self, place: &Place) {
        let due = self.polling(place, |port| match port {
            Polling::Plain(port) => port.next_due(),
            Polling::Shared(poller) => poller.next_due(),
        });
        let Some(Ok(due)) = due else { return };
        let work = self.work_on_local(place).unwrap_or(0);
        assert!(work == 0 || due.is_some(), "the loop would sleep on {work} records");
        self.reach(|reached| reached.local_waits += 1);
    }

    /// Checks that every local worker has ended with the stop.
    pub fn assert_locals_ended(&self) {
        assert_eq!(self.router.cycle_unowned(), 0, "a local worker without a port did not stop");
        for place in self.open_places() {
            let cycled = self.polling(&self.ports[place], |port| port.cycle());
            assert!(matches!(cycled, Some(Err(_))), "a local worker did not stop: {cycled:?}");
            let ended = u64::from(cycled == Some(Err(CycleError::Closed)));
            self.reach(|reached| reached.locals_ended += ended);
        }
    }
}
