//! Ends a run: drives everything until nothing moves. Then all accounts must balance and every resource must be free
//! again.

use crate::ledger::ended;
use crate::values;
use crate::world::World;
use std::time::Duration;

/// Upper bound, in rounds, for the router to become idle.
const ROUNDS: usize = 3_000;

impl World {
    pub fn end(&self) {
        self.calm.set(true);
        if !self.stopped.get() && self.chance(30) {
            self.request_stop();
        }
        for place in self.ports.iter().filter(|place| place.serial.get() > 0) {
            // A port that has no submitting side left can only be released.
            if place.plain.borrow().is_none() && place.shared.borrow().is_none() {
                self.release(place);
            }
        }
        if self.stopped.get() && self.chance(30) {
            self.lose_worker();
        }
        self.drive_all();
        self.assert_accounts();
        self.disconnect_all();
        self.assert_accounts();
        self.assert_free();
        if !self.stopped.get() && !self.draining.get() && self.some_worker_runs() {
            self.all_names_again();
        }
        self.request_stop();
        self.drive_all();
        self.assert_accounts();
        assert!(self.workers.iter().all(|hand| hand.gone.get()), "a worker did not stop");
        self.assert_locals_ended();
        for place in self.ports.iter().filter(|place| place.serial.get() > 0) {
            self.release(place);
        }
        self.orphans.borrow_mut().clear();
        self.assert_accounts();
        self.assert_free();
        self.reach(|reached| {
            let stats = self.router.stats();
            let paths = stats.ports.iter().flat_map(|port| &port.workers);
            reached.closings_listed += paths.map(|path| path.closings_maximum).sum::<u64>();
            reached.worker_lost += stats.messages.failures.get("worker_lost");
        });
        assert_eq!(values::living(), 0, "an owned payload was not dropped exactly once");
    }

    fn some_worker_runs(&self) -> bool {
        self.workers.is_empty() || self.workers.iter().any(|hand| !hand.gone.get())
    }

    /// Whether there are workers that are not local, and all of them are gone.
    pub fn are_hands_lost(&self) -> bool {
        !self.workers.is_empty() && self.workers.iter().all(|hand| hand.gone.get())
    }

    /// Works, polls and acknowledges until nothing moves.
    fn drive_all(&self) {
        let mut idle = 0;
        for round in 0..ROUNDS {
            // Advance little at first, then enough for held messages to expire.
            self.hands.advance(Duration::from_millis(if round < 20 { 1 } else { 20 }));
            let mut moved = 0;
            for place in self.ports.iter().filter(|place| place.serial.get() > 0) {
                self.publish_on(place);
            }
            for worker in 0..self.workers.len() {
                let work = self.work_on(worker);
                self.trace(|| format!("work {worker} did {work}"));
                self.trace_accounts();
                moved += work;
            }
            moved += self.work_on_locals();
            for place in self.ports.iter().filter(|place| place.serial.get() > 0) {
                moved += self.poll_place(place, 1_000);
            }
            self.acknowledge_all();
            self.check();
            idle = if moved == 0 && round > 30 { idle + 1 } else { 0 };
            if idle > 5 {
                return;
            }
        }
        panic!("never quiet: {:?}", self.router.accounting());
    }

    /// Checks conservation of messages while nothing is in flight.
    fn assert_accounts(&self) {
        self.check();
        let accounting = self.router.accounting();
        let ended = ended(&accounting);
        let waiting: Vec<_> =
            self.router.stats().workers.iter().map(|worker| worker.queue_messages).collect();
        assert_eq!((ended, accounting.held), (accounting.submitted, 0), "{waiting:?} wait, {accounting:?}");
        let done = accounting.consumed + accounting.undeliverable;
        assert_eq!((done, accounting.queued), (accounting.deliveries, 0), "{accounting:?}");
        let there: Vec<_> = {
            let ledger = self.ledger.borrow();
            ledger.peers.iter().filter(|(_, peer)| peer.is_there()).map(|(id, _)| *id).collect()
        };
        there.into_iter().for_each(|client| self.assert_nothing_outstanding(client));
    }

    fn disconnect_all(&self) {
        let open: Vec<_> = {
            let ledger = self.ledger.borrow();
            let open = ledger.peers.iter().filter(|(_, peer)| peer.is_there() && !peer.leaving);
            open.map(|(id, peer)| (*id, peer.port)).collect()
        };
        for (client, port) in open {
            self.disconnect_one(client, self.place_of(port).unwrap());
        }
        self.drive_all();
        for (id, peer) in &self.ledger.borrow().peers {
            assert!(!peer.is_there(), "{id:x} was disconnected and never got its last event: {peer:?}");
        }
    }

    /// Checks that the router keeps nothing when no client is connected.
    fn assert_free(&self) {
        let stats = self.router.stats();
        assert_eq!((stats.payloads_waiting, stats.payload_bytes), (0, 0), "payloads");
        assert_eq!((stats.rooms.open, stats.rooms.members, stats.rooms.retired_lists), (0, 0, 0), "rooms");
        assert_eq!(stats.placement.permits_available, self.setup.permits, "permits");
    }

    /// Connects the maximum number of clients, sends each a message, and disconnects them.
    fn all_names_again(&self) {
        self.open_port();
        let Some(place) = self.some_place() else { return };
        // Let the rate limiter's token bucket refill before new messages are sent.
        self.hands.advance(Duration::from_secs(10));
        let mut fresh = Vec::new();
        for name in 0..self.setup.max_clients {
            let client = self.connect_as(place, name).expect("a client slot was not freed");
            fresh.push(client);
            if name % 8 == 7 {
                self.drive_few();
            }
        }
        self.drive_few();
        let before = self.ledger.borrow().events;
        let mut wanted = 0;
        for client in &fresh {
            wanted += u64::from(self.send_to(place, *client));
            self.drive_few();
        }
        let came = self.ledger.borrow().events - before;
        assert_eq!((came, wanted), (wanted, fresh.len() as u64), "new clients did not get their messages");
        self.reach(|reached| reached.fresh += wanted);
        self.disconnect_all();
        self.assert_accounts();
        self.assert_free();
    }

    /// Drives a few rounds: enough for the messages of a few clients, whatever the batch size.
    fn drive_few(&self) {
        for _ in 0..12 {
            for place in self.ports.iter().filter(|place| place.serial.get() > 0) {
                self.publish_on(place);
            }
            self.work_on_all();
            for place in self.ports.iter().filter(|place| place.serial.get() > 0) {
                self.poll_place(place, 1_000);
            }
        }
    }
}
