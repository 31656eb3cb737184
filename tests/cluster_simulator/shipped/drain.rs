//! Rule 11: a machine that is taken away.

use super::{PATIENCE, Shipped};
use crate::bucket::Ask;
use crate::ledger::Kind;
use corelane::cluster::wire;
use std::time::Duration;

/// The host closes clients this long after it has begun to drain.
const TELLING: Duration = Duration::from_secs(3);
/// After a stop, what is under way has so long to be acknowledged.
const ENDING: Duration = Duration::from_secs(1);

impl Shipped {
    /// The host of a machine drains it. From then on it takes no claims. After a while it closes its clients, one after
    /// another.
    pub(super) fn drain(&mut self) {
        let Some(place) = self.some_place() else { return };
        let now = self.now;
        let node = self.node(place);
        if node.drains_from.is_some() {
            return;
        }
        node.drains_from = Some(now + TELLING);
        node.info.is_draining = true;
        node.lease.hurry(now);
        let (incarnation, process) = (node.incarnation, node.process);
        // A renewal that is lost keeps the next one back.
        let keeps_back = node.asked.values().any(|(ask, until)| {
            matches!(ask, Ask::Renew(..) | Ask::ReadLease(_))
                && now + PATIENCE >= *until + Duration::from_secs(1)
        });
        let is_joined = node.lease.is_valid(now) && !keeps_back;
        let is_told = is_joined && self.asks.lost == 0 && !self.cut.contains(&process);
        while self.now < now + TELLING {
            self.round();
            self.advance(50);
        }
        // Unless a renewal or a read is still under way, which keeps the next renewal back.
        let is_over = self.nodes[place].as_ref().is_some_and(|node| {
            let mut asked = node.asked.values();
            node.incarnation == incarnation
                && node.lease.is_valid(self.now)
                && !asked.any(|(ask, _)| matches!(ask, Ask::Renew(..) | Ask::ReadLease(_)))
        });
        if is_told && is_over {
            let info = self.bucket.lease(incarnation);
            assert!(info.is_some_and(|info| info.is_draining), "it drains, and its lease does not say so");
            self.reached.note("its lease says that it drains");
        }
    }

    /// The host of a machine that drains closes a client, or gives up a claim whose client is not connected.
    pub(super) fn drain_on(&mut self, place: usize) {
        let now = self.now;
        let is_due = self.node(place).drains_from.is_some_and(|from| now >= from);
        if !is_due || self.random.chance(50) {
            return;
        }
        let node = self.node(place);
        for (claim, name) in std::mem::take(&mut node.opening) {
            node.succeeded.remove(&claim);
            node.names.release(name, claim);
        }
        let Some(client) = node.core.clients.values_mut().find(|client| !client.leaving) else { return };
        client.returns = false;
        let name = client.name;
        self.send_among(place, name);
        self.node(place).core.close(name);
    }

    /// A client of another machine sends to a client that is about to be closed.
    fn send_among(&mut self, place: usize, name: &'static str) {
        let Some((sender, number)) = self.some_client() else { return };
        if sender == place || self.node(sender).drains_from.is_some() {
            return;
        }
        let now = self.now;
        let node = self.nodes[sender].as_mut().unwrap();
        node.core.submit((node.process, number), name, Kind::Now, now, &mut self.ledger, &mut self.random);
        node.core.port.publish();
        self.cycle_of(sender);
        self.turn(sender);
        self.advance(20);
        self.carry();
        self.node(place).core.gateway.publish();
        self.cycle_of(place);
    }

    /// Hosts stop machines whose clients are gone. Some wait until their names are given up, others do not. The machine's thread
    /// then ends as the driver does.
    pub(super) fn stop_drained(&mut self) {
        for place in 0..self.nodes.len() {
            let waits = self.random.chance(50);
            let is_idle = self.is_running(place)
                && self.nodes[place].as_ref().is_some_and(|node| {
                    node.drains_from.is_some_and(|from| self.now >= from)
                        && node.core.clients.is_empty()
                        && node.claims.is_empty()
                        && node.opening.is_empty()
                        && (node.names.is_empty() || !waits)
                });
            let now = self.now;
            if is_idle {
                self.node(place).stopped.get_or_insert(now);
            }
            if self.is_running(place) && self.node(place).stopped.is_some() {
                self.turn(place);
                if self.is_over(place) {
                    self.stop(place);
                }
            }
        }
    }

    /// See `Driver::is_over`.
    fn is_over(&self, place: usize) -> bool {
        let Some(node) = &self.nodes[place] else { return false };
        let Some(stopped) = node.stopped else { return false };
        let can_wait = node.lease.is_valid(self.now) && !self.cut.contains(&node.process);
        !can_wait || self.now >= stopped + ENDING || node.links.is_settled()
    }

    /// The end of the thread (`Driver::end`).
    fn stop(&mut self, place: usize) {
        let now = self.now;
        let node = self.node(place);
        let (process, own) = (node.process, node.incarnation);
        let had_lease = node.lease.is_valid(now) && !self.cut.contains(&process);
        self.carry_out(place);
        if had_lease {
            for (subject, frame) in self.node(place).links.last_frames(own, now) {
                let to = wire::decode(&frame).unwrap().to;
                self.send_to(place, to, subject, frame);
            }
            self.check_acknowledged(place);
            // NATS gets it behind the frames.
            let at = now.max(self.frames.last_from(own)) + Duration::from_millis(1);
            let knew = super::Knew { may_seize: false, owner: None, generation: 0 };
            self.asks.put(at, (process, 0), (0, Ask::EndLease(own), knew));
        }
        self.nodes[place] = None;
        self.reached.note("drained");
    }

    /// Before its lease ends, a machine has said what became of every message that it has delivered. So no sender is told
    /// that such a message was lost.
    fn check_acknowledged(&mut self, place: usize) {
        let node = self.nodes[place].as_mut().unwrap();
        for from in node.links.incarnations() {
            let Some(epoch) = node.counts(from).and_then(|counts| counts.epoch) else { continue };
            let way = (from, node.incarnation, epoch);
            for (sequence, number) in self.rules.unacknowledged(way) {
                let is_delivered = !self.ledger.of(number).got.is_empty();
                assert!(!is_delivered, "{number} was delivered, and {way:?} {sequence} is not acknowledged");
            }
        }
    }
}
