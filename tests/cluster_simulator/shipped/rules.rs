//! What the rules of a cluster promise, checked by what the machines do:
//!
//! | rule | promise |
//! |---|---|
//! | 2 | an incarnation gets its own frames only (`shipped`) |
//! | 3 | frames of another epoch and late frames are dropped and counted; what is missing is counted as lost |
//! | 7 | a machine that was told of the end of an incarnation takes nothing of it any more |
//! | 10 | a room's message reaches the members on all machines, once, in its sender's order (`rooms`, `ledger`) |
//! | 11 | a machine that drains says so, gives its names up, and acknowledges what it has delivered before its lease ends (`drain`) |
//! | 12 | the claims in flight have a limit |
//! | 13 | the list of names has a limit |
//! | 14 | a key is a subject whatever is in the names (`bucket`) |
//! | 15 | of each link, sent = delivered + gone + lost + rejected + in flight |

use super::{Node, Shipped, Way};
use crate::bucket::Ask;
use crate::random::Random;
use corelane::cluster::lists::{Lists, PARTS};
use corelane::cluster::names::{Action, MAX_CLAIMS};
use corelane::cluster::wire::{self, Frame, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is known of frames without asking the machines.
pub struct Rules {
    /// The most claims in flight at a machine.
    pub max_claims: usize,
    /// Some frames come when their sender's lease has long expired.
    pub holds_back: bool,
    /// The sequence that comes next.
    expected: BTreeMap<Way, u64>,
    /// The messages to names, by sequence.
    sent: BTreeMap<Way, BTreeMap<u64, u64>>,
    /// All sequences below were acknowledged.
    acknowledged: BTreeMap<Way, u64>,
    checks: usize,
}

/// What a receiving end has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub epoch: Option<u32>,
    received: u64,
    lost: u64,
    stale: u64,
}

impl Rules {
    pub fn new(random: &mut Random) -> Self {
        Self {
            max_claims: if random.chance(10) { 2 } else { MAX_CLAIMS },
            holds_back: random.chance(30),
            expected: BTreeMap::new(),
            sent: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            checks: 0,
        }
    }

    /// A frame is sent.
    pub fn sent(&mut self, frame: &Frame<'_>) {
        if let Some(acknowledgement) = &frame.acknowledgement {
            let way = (frame.to, frame.from, acknowledgement.epoch);
            let upto = self.acknowledged.entry(way).or_default();
            *upto = (*upto).max(acknowledgement.upto);
        }
        let all = self.sent.entry((frame.from, frame.to, frame.position.epoch)).or_default();
        let records = (frame.position.first..).zip(&frame.records).filter(|(_, record)| !record.is_room);
        all.extend(records.map(|(sequence, record)| (sequence, record.correlation)));
    }

    /// The messages whose outcome was not sent: sequences and numbers.
    pub fn unacknowledged(&self, way: Way) -> Vec<(u64, u64)> {
        let upto = self.acknowledged.get(&way).copied().unwrap_or_default();
        let all = self.sent.get(&way).into_iter().flat_map(|all| all.range(upto..));
        all.map(|(sequence, number)| (*sequence, *number)).collect()
    }

    /// Whether a frame stays in a connection that hangs, and for how long.
    pub fn holds_back(&self, random: &mut Random) -> Option<Duration> {
        (self.holds_back && random.chance(2)).then(|| Duration::from_millis(5_000 + random.below(40_000)))
    }

    /// Rule 3: an older epoch and a late frame are dropped and counted, and a gap is counted as lost.
    fn counts(&mut self, frame: &Frame<'_>, before: Counts, after: Counts) -> &'static str {
        let epoch = frame.position.epoch;
        let way = (frame.from, frame.to, epoch);
        let stale = Counts { stale: before.stale + 1, ..before };
        match frame.kind {
            Kind::Hello if after.epoch != before.epoch => {
                assert!(before.epoch < after.epoch && after.epoch == Some(epoch), "an older epoch begins");
                self.expected.insert(way, 0);
            }
            Kind::Hello if before.epoch != Some(epoch) => {
                assert_eq!(after, stale, "a hello of an older epoch");
                return "an older epoch";
            }
            Kind::Data | Kind::Probe if before.epoch != Some(epoch) => {
                assert_eq!(after, stale, "a frame of another epoch");
                return "an older epoch";
            }
            Kind::Data | Kind::Probe => {
                let expected = self.expected.entry(way).or_default();
                let first = frame.position.first;
                if first < *expected {
                    assert_eq!(after, stale, "a late frame");
                    return "a late frame";
                }
                let missing = first - std::mem::replace(expected, first + frame.records.len() as u64);
                assert_eq!((after.lost, after.stale), (before.lost + missing, before.stale), "a gap");
                if missing > 0 {
                    return "a gap";
                }
            }
            Kind::Hello | Kind::Acknowledgement | Kind::Reset => {
                assert_eq!(after, before, "a frame without records");
            }
        }
        "a frame"
    }
}

impl Node {
    /// What the receiving end of the link to an incarnation has counted.
    pub(super) fn counts(&mut self, from: u64) -> Option<Counts> {
        let own = self.incarnation;
        let peer = self.links.get_mut(from)?;
        let bytes = peer.bare(Kind::Acknowledgement, own);
        let epoch = wire::decode(&bytes).unwrap().acknowledgement.map(|one| one.epoch);
        let status = peer.status();
        let (received, lost, stale) = (status.received, status.receive_lost, status.stale);
        Some(Counts { epoch, received, lost, stale })
    }

    fn received(&self) -> u64 {
        self.links.values().map(|peer| peer.status().received).sum()
    }

    /// The operations on names that have no answer.
    pub(super) fn operations(&self) -> usize {
        self.asked.values().filter(|(ask, _)| matches!(ask, Ask::Operate(_))).count()
    }

    /// The names that are being claimed: written, or read.
    fn claiming(&self) -> usize {
        let claimed: BTreeSet<&str> = self.claims.values().copied().collect();
        let writes = |action| !matches!(action, Action::Delete(_));
        let asked = self.asked.values().filter_map(|(ask, _)| match ask {
            Ask::Operate(operation) if writes(operation.action) => Some(&*operation.name),
            _ => None,
        });
        asked.filter(|name| claimed.contains(name)).collect::<BTreeSet<_>>().len()
    }
}

impl Shipped {
    /// A machine takes a frame.
    pub(super) fn take_frame(&mut self, place: usize, frame: &Frame<'_>) {
        let now = self.now;
        let node = self.nodes[place].as_mut().unwrap();
        let (before, received) = (node.counts(frame.from), node.received());
        node.links.frame(frame, &mut node.core.gateway, &mut node.names, now);
        if node.ended.contains(&frame.from) {
            self.reached.note("a frame of a machine that has ended");
            assert_eq!(node.received(), received, "rule 7: a message of a machine that has ended is taken");
        }
        if let (Some(before), Some(after)) = (before, node.counts(frame.from)) {
            self.reached.note(self.rules.counts(frame, before, after));
        }
    }

    /// What holds after every step. Figures do not heal, so a look at some of the steps is enough.
    pub(super) fn check_rules(&mut self) {
        self.rules.checks += 1;
        for node in self.nodes.iter().flatten() {
            let most = self.rules.max_claims;
            assert!(node.claiming() <= most, "rule 12: more than {most} claims in flight");
        }
        if !self.rules.checks.is_multiple_of(8) {
            return;
        }
        for node in self.nodes.iter().flatten() {
            for peer in node.links.values() {
                let all = peer.status();
                let ended = all.delivered + all.gone + all.lost + all.rejected;
                assert_eq!(all.sent, ended + all.in_flight as u64, "rule 15: {all:?}");
            }
            let limit = self.rules.checks / 8 % 8;
            let (sender, listed) = std::sync::mpsc::channel();
            let mut lists = Lists::default();
            lists.ask(limit, Box::new(move |list| sender.send(list).unwrap()));
            while lists.turn(&node.directory, |_, _| true) {}
            let list: Vec<String> = listed.recv().unwrap();
            let parts = (0..PARTS).flat_map(|part| node.directory.part(part));
            let known: BTreeSet<&str> = parts.map(|(name, _)| name).collect();
            assert_eq!(list.len(), limit.min(known.len()), "rule 13: the list of names has a limit");
            let listed: BTreeSet<&str> = list.iter().map(String::as_str).collect();
            assert!(listed.len() == list.len() && listed.is_subset(&known), "rule 13: {list:?}");
        }
    }
}
