//! Local workers: in half of the runs some or all workers live on the threads of ports, and the host's loop drives them.
//! Workers of both shapes work in one router.

use super::Host;
use crate::random::Random;
use crate::reached::reached;
use corelane::error::{CycleError, PortError};
use corelane::router::Port;

reached! {
    ports: "local ports",
    work: "work done by local workers",
    unowned: "work done by local workers without a port",
    waits: "waits of a loop",
    kept_awake: "waits that the re-check refused",
    stopped: "local workers that their loop stopped",
}

/// A number of local workers. Tasks need a worker that is not local.
pub fn random(random: &mut Random, workers: u64, driven: bool) -> u64 {
    match random.chance(50) {
        true => random.below(if driven { workers } else { workers + 1 }),
        false => 0,
    }
}

fn is_local(port: &Port) -> bool {
    port.next_due().is_ok()
}

impl Host {
    /// Opens a port of either shape.
    pub(super) fn open_some_port(&mut self) -> Option<Port> {
        let open = self.ports.iter().flatten().filter(|port| is_local(port)).count() as u64;
        if open < self.locals && (self.workers.is_empty() || self.random.chance(70)) {
            self.reached.local.ports += 1;
            return Some(self.router.local_port().unwrap());
        }
        if open == self.locals && self.locals > 0 {
            let refused = self.router.local_port().unwrap_err();
            assert_eq!(refused, PortError::TooManyLocalPorts(self.locals as u32));
        }
        match self.router.port() {
            Ok(port) => Some(port),
            Err(PortError::EveryWorkerIsLocal) if self.workers.is_empty() => None,
            Err(other) => panic!("{other}"),
        }
    }

    /// One pass of a loop: a cycle, or a wait. A loop that may wait has nothing to do, except what is due.
    pub(super) fn cycle_some_local(&mut self) {
        if self.random.chance(20) {
            self.reached.local.unowned += self.router.cycle_unowned() as u64;
        }
        let Some(place) = self.some_port() else { return };
        let wait = self.random.chance(30);
        let reported = self.random.chance(50);
        let Some(port) = self.ports[place].as_mut().filter(|port| is_local(port)) else { return };
        if !wait {
            self.reached.local.work += port.cycle().unwrap() as u64;
            return;
        }
        let may_wait = port.arm();
        let due = port.next_due().unwrap();
        if self.random.chance(50) {
            port.awake(reported);
        }
        if may_wait {
            self.reached.local.waits += 1;
            assert!(!port.has_news(), "the loop would sleep on deliveries");
            let work = port.cycle().unwrap();
            assert!(work == 0 || due.is_some(), "the loop would sleep on {work} records");
        } else {
            self.reached.local.kept_awake += 1;
        }
    }

    /// Lets every local worker do what it has.
    pub(super) fn cycle_locals(&mut self) {
        for port in self.ports.iter_mut().flatten().filter(|port| is_local(port)) {
            while port.cycle().is_ok_and(|work| work > 0) {}
        }
        while self.router.cycle_unowned() > 0 {}
    }

    /// Ends the local workers after a stop was requested: those of ports by their loops, the others by the router.
    pub(super) fn stop_locals(&mut self) {
        for place in 0..self.ports.len() {
            let released = self.random.chance(20);
            let Some(port) = self.ports[place].as_mut().filter(|port| is_local(port)) else { continue };
            if released {
                self.release(place);
                continue;
            }
            let end = (0..100).find_map(|_| port.cycle().err());
            assert_eq!(end, Some(CycleError::Closed), "a loop never stops its worker");
            self.reached.local.stopped += 1;
        }
        while self.router.cycle_unowned() > 0 {}
    }
}
