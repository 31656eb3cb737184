//! Short sequences of acts that chance alone rarely produces. A host may perform each of these acts.

use crate::ledger::{To, filling, name_of};
use crate::world::{Place, World};
use corelane::clients::ClientId;
use corelane::clock::Stamp;
use corelane::metrics::Accounting;
use corelane::router::SubmitOptions;
use std::time::Duration;

impl World {
    pub fn scene(&self) {
        if self.is_inside() || self.calm.get() {
            return;
        }
        match self.below(4) {
            0 => self.late_notices_and_moves(),
            1 => self.late_post(),
            2 => self.clog(),
            _ => self.loss_between_messages(),
        }
    }

    /// Submits one message of a type to a name, with nothing random about it. Returns its number if the port accepted
    /// it.
    fn submit_plainly(
        &self,
        client: u64,
        place: &Place,
        kind: &str,
        to: Option<u64>,
        stamp: Option<Stamp>,
    ) -> Option<u64> {
        let meant = to.map_or(To::Nobody, To::Name);
        let number = self.ledger.borrow_mut().send(client, place.serial.get(), meant, 3);
        let address = to.map_or(String::new(), |to| format!(r#""dst":"{}","#, name_of(to)));
        let fill = filling(number, 3);
        let bytes = format!(r#"{{"type":"{kind}",{address}"payload":[{number},"{fill}"]}}"#);
        {
            let sent = &mut self.ledger.borrow_mut().sent[number as usize];
            (sent.tell, sent.is_leave) = (stamp.is_some(), kind == "leave");
        }
        let options = SubmitOptions {
            correlation: number,
            stamp,
            tell_failed: stamp.is_some(),
            ..SubmitOptions::default()
        };
        let result =
            self.submitting(place, |mut way| way.submit_with(ClientId(client), bytes.as_bytes(), options))?;
        self.ledger.borrow_mut().submitted += 1;
        self.answered(number, result.as_ref().err());
        result.is_ok().then_some(number)
    }

    /// Runs one cycle of each worker while no actor acts.
    fn cycle_calmly(&self) -> usize {
        self.calm.set(true);
        let work = self.work_on_all();
        self.calm.set(false);
        work
    }

    /// Expiry notices keep their order although their client moves to another worker in between.
    fn late_notices_and_moves(&self) {
        let Some((client, place)) = self.client_and_place() else { return };
        for _ in 0..4 {
            if self.submit_plainly(client, place, "relay", Some(0), Some(Stamp(0))).is_none() {
                return;
            }
            self.publish_on(place);
            self.cycle_calmly();
            self.place();
        }
    }

    /// A name connects when the messages held for it are due to expire, and its post waits behind other records. The
    /// client gets the held messages.
    fn late_post(&self) {
        let Some((client, place)) = self.client_and_place() else { return };
        let before = self.router.accounting();
        let free = {
            let ledger = self.ledger.borrow();
            let taken = |name: &u64| ledger.peers.values().any(|peer| peer.name == *name && peer.has_name());
            (0..self.setup.names).find(|name| !taken(name))
        };
        let Some(name) = free.filter(|_| !self.setup.driven) else { return };
        let Some(number) = self.submit_plainly(client, place, "relay", Some(name), None) else { return };
        self.publish_on(place);
        for _ in 0..100 {
            if self.cycle_calmly() == 0 {
                break;
            }
        }
        self.acknowledge_all();
        let now = self.router.accounting();
        let ended = |one: &Accounting| (one.failed, one.expired, one.refused, one.taken_over);
        if now.held <= before.held || ended(&now) != ended(&before) {
            return; // It ended: there was no space to hold it, or it was behind an expired one.
        }
        // If the clock does not move, only the post releases the held message, and the post may be lost to a full
        // ring.
        let is_due = self.chance(50);
        if is_due {
            self.hands.advance(Duration::from_secs(1));
        }
        let held = self.router.accounting().held;
        for _ in 0..if is_due { self.below(20) } else { 100 } {
            self.submit_plainly(client, place, "alive", None, None);
        }
        if self.connect_as(place, name).is_none() {
            return;
        }
        for _ in 0..60 {
            self.cycle_calmly();
        }
        let left = self.router.accounting().held;
        assert!(left < held, "{number} is still held although its name is connected");
        self.calm.set(true);
        for place in self.ports.iter().filter(|place| place.serial.get() > 0) {
            self.poll_place(place, 1_000);
        }
        self.calm.set(false);
        let has_expired = self.ledger.borrow().sent[number as usize].expired;
        assert!(!has_expired, "{number} has expired although its name is connected");
        self.reach(|reached| reached.late_posts += 1);
    }

    /// Fills the egress ring and the backlog of a port with notices that take no credit. Close requests then wait on
    /// the worker's list while their clients leave and others connect.
    fn clog(&self) {
        let Some((client, place)) = self.client_and_place() else { return };
        let others: Vec<_> = {
            let ledger = self.ledger.borrow();
            let here =
                ledger.peers.iter().filter(|(_, peer)| peer.port == place.serial.get() && peer.has_name());
            here.map(|(id, peer)| (*id, peer.name)).filter(|(id, _)| *id != client).take(4).collect()
        };
        // Use up the recipients' credit first. A delivery that finds no space gives its credit back.
        for _ in 0..3 {
            self.cycle_calmly();
            self.poll_place(place, 1_000);
        }
        self.acknowledge_all();
        self.overload(client, place, &others, self.setup.credit.0);
        for _ in 0..10 {
            for _ in 0..30 {
                self.submit_plainly(client, place, "leave", None, None);
            }
            self.publish_on(place);
            self.cycle_calmly();
        }
        self.overload(client, place, &others, 1);
        for (other, _) in &others {
            self.disconnect_one(*other, place);
        }
        // Run one worker, which may not be the one with the waiting close requests.
        self.calm.set(true);
        self.work();
        self.calm.set(false);
        for _ in 0..6 {
            self.poll_place(place, if self.chance(50) { 1_000 } else { 1 + self.below(20) as usize });
            if self.chance(30) {
                self.cycle_calmly();
            }
            self.connect();
        }
        self.reach(|reached| reached.clogs += 1);
    }

    /// Sends `count` messages from one client to each of the others.
    fn overload(&self, client: u64, place: &Place, others: &[(u64, u64)], count: u32) {
        for (_, name) in others {
            for _ in 0..count {
                self.submit_plainly(client, place, "now", Some(*name), None);
            }
            self.publish_on(place);
            for _ in 0..3 {
                self.cycle_calmly();
            }
        }
    }

    /// Loses a worker with deliveries that its port has not taken. The senders continue.
    fn loss_between_messages(&self) {
        let Some((client, place)) = self.client_and_place() else { return };
        if !self.setup.may_lose || self.chance(50) {
            return;
        }
        let names: Vec<_> = self
            .ledger
            .borrow()
            .peers
            .values()
            .filter(|peer| peer.has_name())
            .map(|peer| peer.name)
            .collect();
        let Some(name) = self.pick(&names) else { return };
        self.submit_plainly(client, place, "now", Some(name), None);
        self.publish_on(place);
        self.cycle_calmly();
        self.lose_worker();
        // The port alternates which worker it polls first.
        self.poll_place(place, 0);
        for _ in 0..3 {
            self.submit_plainly(client, place, "now", Some(name), None);
            self.publish_on(place);
            self.cycle_calmly();
            self.poll();
        }
        self.reach(|reached| reached.losses_between += 1);
    }
}
