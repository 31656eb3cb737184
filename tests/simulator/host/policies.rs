//! Credit policies, refusal notices, rebinds, batched acknowledgements and the write stage, checked against a model.

use super::{Host, PROTOCOL, Peer};
use crate::random::Random;
use corelane::clients::{ClientId, CreditPolicy};
use corelane::error::{ClientError, Failed};
use corelane::metrics::Stats;
use corelane::router::{ConnectOptions, Router, SendOptions};
use std::collections::{HashMap, HashSet};

pub const DROPPABLE: &str = "CANDIDATE";
/// The types of sends. The first is droppable. Sends without a type count as the third.
pub const SENDS: [&str; 3] = ["NEWS", "WORD", "send"];
const POLICIES: [CreditPolicy; 3] = [CreditPolicy::Disconnect, CreditPolicy::Refuse, CreditPolicy::Drop];

/// The expected state of policies and of the write stage.
#[derive(Default)]
pub struct Model {
    pub router_policy: u64,
    pub notices_on: bool,
    /// The policy of every client, disconnected ones included.
    policies: HashMap<u64, CreditPolicy>,
    /// Messages for which the sender got a refusal notice.
    pub refused: HashSet<u64>,
    /// The accepted sends, by the type under which they must count.
    pub sends: HashMap<&'static str, u64>,
    writes: u64,
    write_nanoseconds: u64,
}

/// A client's timed delivery: the number of acknowledgements until it is written, and the time of the delivery.
#[derive(Default)]
pub struct Sample {
    left: usize,
    since: u64,
    messages_maximum: usize,
    bytes_maximum: u32,
}

impl Model {
    pub fn new(router_policy: u64, notices_on: bool) -> Self {
        Self { router_policy, notices_on, ..Self::default() }
    }
}

/// The options of a send of a random type, with the name under which it must count.
pub fn send_options(random: &mut Random, router: &Router, number: u64) -> (&'static str, SendOptions) {
    let message_type = |name| router.message_type(PROTOCOL, name).unwrap();
    let options = SendOptions::from(number);
    match random.below(5) {
        0 => (SENDS[0], options.message_type(message_type(SENDS[0]))),
        1 => (SENDS[1], options.message_type(message_type(SENDS[1]))),
        // A type that the protocol does not list, and one of another protocol.
        2 => (SENDS[2], options.message_type(message_type("unlisted"))),
        3 => (SENDS[2], options.message_type(router.message_type("peerjs", "OFFER").unwrap())),
        _ => (SENDS[2], options),
    }
}

impl Host {
    /// The options of a connect. Half of the clients have a policy of their own.
    pub fn connect_options(&mut self, token: u64) -> (ConnectOptions<'static>, CreditPolicy) {
        let options = ConnectOptions::new(PROTOCOL, "simulator", token);
        if self.random.chance(50) {
            return (options, POLICIES[self.model.router_policy as usize]);
        }
        let policy = POLICIES[self.random.below(3) as usize];
        (options.credit_policy(policy), policy)
    }

    pub fn connected(&mut self, id: ClientId, policy: CreditPolicy) {
        self.model.policies.insert(id.0, policy);
    }

    /// Handles a refusal notice to a sender.
    pub fn refusal(
        &mut self,
        client: ClientId,
        token: u64,
        recipient: ClientId,
        number: u64,
        reason: Failed,
        is_requested: bool,
    ) {
        self.reached.refusal_notices += 1;
        assert!(self.model.notices_on || is_requested, "a notice although notices are off");
        assert_eq!((self.peers[&token].id, reason), (client, Failed::CreditExhausted));
        assert_eq!(self.numbers_of[&number], client.0, "a notice about another client's message");
        assert_eq!(self.model.policies[&recipient.0], CreditPolicy::Refuse);
        assert!(!self.seen.contains(&number), "refused and delivered");
        // This check exempts room messages. tests/faults/rooms.rs checks that they cause one notice at most.
        assert!(
            self.model.refused.insert(number) || self.rooms.was_sent(number),
            "two notices for one message"
        );
    }

    pub fn asked_to_close(&self, client: ClientId) {
        assert_ne!(
            self.model.policies[&client.0],
            CreditPolicy::Refuse,
            "close request against the client's policy"
        );
    }

    /// Notes a delivery that takes credit.
    pub fn sample(&mut self, token: u64) {
        let now = self.clock.now().0;
        let peer = self.peers.get_mut(&token).unwrap();
        let count = peer.unacknowledged.len();
        if peer.sample.left == 0 {
            (peer.sample.left, peer.sample.since) = (count, now);
        }
        let bytes = peer.unacknowledged.iter().sum();
        peer.sample.messages_maximum = peer.sample.messages_maximum.max(count);
        peer.sample.bytes_maximum = peer.sample.bytes_maximum.max(bytes);
    }

    /// Marks a client's oldest deliveries as written. Returns what to acknowledge.
    pub fn written(&mut self, token: u64, all: bool) -> (usize, (ClientId, u32, u32)) {
        let now = self.clock.now().0;
        let peer = self.peers.get_mut(&token).unwrap();
        let count = if all { peer.unacknowledged.len() } else { peer.unacknowledged.len() / 2 };
        let bytes: u32 = peer.unacknowledged.drain(..count).sum();
        let sample = &mut peer.sample;
        if sample.left > 0 && count >= sample.left {
            self.model.writes += 1;
            self.model.write_nanoseconds += now - sample.since;
            self.reached.writes_timed += 1;
        }
        sample.left = sample.left.saturating_sub(count);
        (peer.port, (peer.id, count as u32, bytes))
    }

    /// One call for all clients of one port.
    pub fn acknowledge_batch(&mut self) {
        let Some(port) = self.some_port() else { return };
        let mut batch = Vec::new();
        for token in self.peers_of(port) {
            let all = self.random.chance(70);
            batch.push(self.written(token, all).1);
        }
        self.ports[port].as_mut().unwrap().acknowledge_batch(batch);
    }

    /// Checks a client's unacknowledged messages and bytes in the router.
    pub(super) fn check_outstanding(&self, peer: &Peer) {
        let now = self.ports[peer.port].as_ref().unwrap().outstanding(peer.id).unwrap();
        let bytes: u32 = peer.unacknowledged.iter().sum();
        assert_eq!((now.handed_messages as usize, now.handed_bytes), (peer.unacknowledged.len(), bytes));
        assert!(now.messages >= now.handed_messages && now.bytes >= now.handed_bytes, "{now:?}");
        let most = (now.handed_messages_maximum as usize, now.handed_bytes_maximum);
        assert_eq!(most, (peer.sample.messages_maximum, peer.sample.bytes_maximum));
    }

    /// A client continues on another connection: every later delivery carries the new token.
    pub fn rebind(&mut self) {
        let Some(token) = self.some_peer() else { return };
        let new = self.next_token;
        self.next_token += 1;
        let (id, place, leaving) =
            (self.peers[&token].id, self.peers[&token].port, self.peers[&token].leaving);
        for other in (0..self.ports.len()).filter(|other| *other != place) {
            if let Some(port) = self.ports[other].as_mut() {
                assert_eq!(port.rebind(id, new), Err(ClientError::WrongPort));
            }
        }
        let result = self.ports[place].as_mut().unwrap().rebind(id, new);
        if leaving {
            assert_eq!(result, Err(ClientError::StaleClient));
            return;
        }
        result.unwrap();
        self.reached.rebinds += 1;
        let peer = self.peers.remove(&token).unwrap();
        self.peers.insert(new, peer);
        self.rooms.rebound(token, new);
    }

    /// Every lack of credit is accounted for by exactly one policy, every refusal by a notice or a counted loss, and
    /// the write stage by the acknowledgements.
    pub fn check_policies(&mut self, stats: &Stats) {
        let all =
            |pick: fn(&corelane::metrics::WorkerStats) -> u64| stats.workers.iter().map(pick).sum::<u64>();
        let (closes, refusals, drops) =
            (all(|one| one.credit_closes), all(|one| one.credit_refusals), all(|one| one.credit_drops));
        let count = |counts: &corelane::metrics::ByReason| counts.get("credit_exhausted");
        let failed = count(&stats.messages.failures);
        let dropped = count(&stats.accounting.undelivered);
        assert_eq!(dropped, closes + refusals + drops, "dropped because of missing credit; by policy");
        // A message whose handler was given up failed for that reason, whatever the handler had relayed before.
        assert!(failed <= dropped, "{failed} messages failed, {dropped} deliveries were dropped");
        let notices_not_given = dropped - failed;
        let listed = stats.types.iter().filter(|one| [DROPPABLE, SENDS[0]].contains(&&*one.name));
        let may_drop: u64 = listed.map(|one| one.failures.as_ref().map_or(0, count)).sum();
        assert!(drops <= may_drop + notices_not_given, "{drops} dropped, {may_drop} of a listed type failed");
        if self.model.notices_on {
            let told = self.reached.refusal_notices;
            let on_the_way = stats.accounting.queued;
            let lost = stats.accounting.undeliverable - dropped;
            // A message of the host itself has no sender that could get a notice.
            let sends = stats.types.iter().filter(|one| SENDS.contains(&&*one.name));
            let untold: u64 = sends.map(|one| one.failures.as_ref().map_or(0, count)).sum();
            assert!(told <= refusals, "more notices than refusals");
            assert!(
                refusals <= told + notices_not_given + lost + on_the_way + untold,
                "a notice is missing: {refusals} refusals, {told} notices, {lost} lost, {on_the_way} in flight, {untold} without a sender"
            );
        }
        self.reached.drops = drops;
        let write = &stats.messages.write;
        assert_eq!(
            (write.count, write.distribution.sum()),
            (self.model.writes, self.model.write_nanoseconds)
        );
    }

    /// Every accepted send counts under its own type. Called when nothing is in flight. Sends to a client that was gone
    /// have no protocol, so they count as `other`, and so do those that a stop refused.
    pub fn check_sends(&self, stats: &Stats) {
        for name in SENDS {
            let sent = self.model.sends.get(name).copied().unwrap_or(0);
            let of_type = stats
                .types
                .iter()
                .find(|one| (one.protocol.as_deref(), &*one.name) == (Some(PROTOCOL), name));
            let counted = of_type.map_or(0, |one| one.succeeded + one.failed + one.expired);
            assert!(counted <= sent, "{counted} count as {name}, {sent} were sent");
        }
    }

    /// After everything has been delivered or given up, nothing waits on any path.
    pub fn check_paths_are_empty(stats: &Stats) {
        for path in stats.ports.iter().flat_map(|port| &port.workers) {
            assert_eq!((path.backlog_bytes, path.closings), (0, 0), "{path:?}");
        }
    }
}
