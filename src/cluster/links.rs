//! The links of a machine to all others, on the router's gateway: which incarnation is in which slot, and the numbers that
//! keep epochs and tickets apart. Without I/O and without a clock.

use std::collections::{BTreeMap, BTreeSet};

use super::asks::Answer;
use super::directory::{Change, Directory};
use super::link::Moment;
use super::names::Names;
use super::peer::{Machine, Peer, Taken};
use super::seam::Outgoing;
use super::tickets::Tickets;
use super::wire::Frame;
use crate::router::{FromWorker, Gateway, LinkSet, Whereabouts};
use crate::sync::mutant;

/// All links of a machine.
#[derive(Debug, Default)]
pub struct Links {
    /// By incarnation.
    peers: BTreeMap<u64, Peer>,
    /// By slot: the incarnation of the link.
    slots: Vec<Option<u64>>,
    /// The machines that live and have no link, because all slots are in use.
    left_out: BTreeSet<u64>,
    epochs: u32,
    tickets: Tickets,
    /// The most bytes of a frame.
    max_payload: usize,
}

/// What [`Links::change`] could not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no slot for another machine.
    Machine,
    /// The router's directory has no room for the name.
    Name,
    /// It has no room for the room.
    Room,
}

impl Links {
    /// No links. The NATS server takes payloads of at most `max_payload` bytes.
    pub fn new(max_payload: usize) -> Self {
        Self { max_payload, ..Self::default() }
    }

    /// The link to an incarnation.
    pub fn get_mut(&mut self, incarnation: u64) -> Option<&mut Peer> {
        self.peers.get_mut(&incarnation)
    }

    /// The incarnations that have links.
    pub fn incarnations(&self) -> Vec<u64> {
        self.peers.keys().copied().collect()
    }

    /// How many machines live and have no link.
    pub fn left_out(&self) -> usize {
        self.left_out.len()
    }

    /// A machine without a link, if a slot is free now. Tell of it and of its names again
    /// ([`Directory::tell_again`](super::directory::Directory::tell_again)).
    pub fn to_link(&mut self) -> Option<u64> {
        let is_free = self.slots.iter().any(Option::is_none);
        is_free.then(|| self.left_out.pop_first()).flatten()
    }

    /// The links.
    pub fn values(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values()
    }

    /// The links.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.peers.values_mut()
    }

    fn in_slot(&mut self, slot: u8) -> Option<&mut Peer> {
        let incarnation = (*self.slots.get(usize::from(slot))?)?;
        self.peers.get_mut(&incarnation)
    }

    /// Takes a record of a worker: a message for a link, or the result of one that came over a link. What it asks is the
    /// directory's.
    pub fn record(&mut self, record: FromWorker<'_>, names: &mut Names, now: Moment) {
        match record {
            FromWorker::Message {
                link,
                worker,
                name,
                is_room,
                revision,
                message_type,
                correlation,
                age,
                payload,
            } => {
                let message = Outgoing { name, is_room, revision, message_type, correlation, age, payload };
                if let Some(peer) = self.in_slot(link.slot).filter(|peer| peer.link == link) {
                    peer.push(worker, &message, now);
                }
            }
            FromWorker::Result { ticket, outcome } => {
                if let Some((of, tag, sequence)) = self.tickets.returned(ticket)
                    && let Some(peer) = self.peers.get_mut(&of)
                {
                    peer.result(tag, sequence, outcome, names);
                }
            }
            FromWorker::Ask { .. } => {}
        }
    }

    /// Where the name is that a worker has asked for.
    pub fn whereabouts(&self, answer: Answer) -> Whereabouts {
        match answer {
            // The machine may have no link.
            Answer::At(incarnation, revision) => self
                .peers
                .get(&incarnation)
                .map_or(Whereabouts::Nowhere, |peer| Whereabouts::At(peer.link, revision)),
            Answer::Nowhere => Whereabouts::Nowhere,
            Answer::Unanswered => Whereabouts::Unanswered,
        }
    }

    /// Takes a frame. False: its sender has no link.
    pub fn frame(
        &mut self,
        frame: &Frame<'_>,
        gateway: &mut Gateway,
        names: &mut Names,
        now: Moment,
    ) -> bool {
        let Some(peer) = self.peers.get_mut(&frame.from) else { return false };
        if peer.begins(frame) {
            // Without a free tag the epoch does not begin yet: the hello comes again.
            let Some(tag) = self.tickets.begin(frame.from) else { return true };
            peer.set_tag(tag).into_iter().for_each(|tag| self.tickets.end(tag));
        }
        let mut machine = Machine::new(gateway, names, now);
        let taken = peer.take(frame, now, &mut machine);
        peer.tag().into_iter().for_each(|tag| self.tickets.taken(tag, machine.taken));
        match taken {
            Taken::Going => {}
            Taken::Up => gateway.link_up(peer.link),
            Taken::Lost => self.lose(frame.from, gateway, now),
        }
        true
    }

    /// Offers the router again what waits on a link for room or for a connect.
    pub fn retry(&mut self, incarnation: u64, gateway: &mut Gateway, names: &mut Names, now: Moment) {
        let Some(peer) = self.peers.get_mut(&incarnation).filter(|peer| peer.is_waiting()) else { return };
        let mut machine = Machine::new(gateway, names, now);
        peer.retry(now, &mut machine);
        peer.tag().into_iter().for_each(|tag| self.tickets.taken(tag, machine.taken));
    }

    /// The NATS server takes payloads up to this size: after a reconnect it may be another server. A link with a larger
    /// frame to send begins again.
    pub fn set_max_payload(&mut self, max_payload: usize, gateway: &mut Gateway, now: Moment) {
        if std::mem::replace(&mut self.max_payload, max_payload) == max_payload {
            return;
        }
        let small = self
            .peers
            .values_mut()
            .filter_map(|peer| (!peer.set_max_payload(max_payload)).then_some(peer.incarnation));
        let small: Vec<u64> = small.collect();
        small.into_iter().for_each(|one| self.lose(one, gateway, now));
    }

    /// Everything in flight on a link is lost.
    pub fn lose(&mut self, incarnation: u64, gateway: &mut Gateway, now: Moment) {
        self.epochs = self.epochs.wrapping_add(1);
        if let Some(peer) = self.peers.get_mut(&incarnation) {
            let link = gateway.lose_link(peer.link);
            peer.restart(link, self.epochs, now);
        }
    }

    /// Order and delivery end with a connection to NATS: links with nothing in flight begin again. What is in flight on the
    /// others may still be acknowledged in time.
    pub fn disconnected(&mut self, gateway: &mut Gateway, now: Moment) {
        let idle = self.values().filter(|peer| peer.is_idle()).map(|peer| peer.incarnation);
        let idle: Vec<u64> = idle.collect();
        idle.into_iter().for_each(|one| self.lose(one, gateway, now));
    }

    /// Whether nothing is to be sent or acknowledged, in both directions.
    pub fn is_settled(&self) -> bool {
        self.values().all(Peer::is_settled)
    }

    /// What is left to send before this incarnation ends, with the subjects: records, and an acknowledgement of everything
    /// that was delivered here, so that no sender is told that it was lost.
    pub fn last_frames(&mut self, own: u64, now: Moment) -> Vec<(String, Vec<u8>)> {
        let mut frames = Vec::new();
        for peer in self.peers.values_mut() {
            while let Some(frame) = peer.frame(own, now) {
                frames.push((peer.subject.clone(), frame));
            }
        }
        frames
    }

    /// This machine has another incarnation: all links begin again, in both directions.
    pub fn begin_again(&mut self, gateway: &mut Gateway, now: Moment) {
        for incarnation in self.incarnations() {
            self.lose(incarnation, gateway, now);
            if let Some(peer) = self.peers.get_mut(&incarnation) {
                peer.forget_received();
            }
        }
    }

    /// Passes a change of the directory on to the router. `subject` is that of a machine's frames.
    ///
    /// # Errors
    /// [`Refused`]: there is no room. Nothing has changed.
    pub fn change(
        &mut self,
        change: Change,
        (gateway, directory): (&mut Gateway, &Directory),
        subject: impl FnOnce(&str, u64) -> String,
        now: Moment,
    ) -> Result<(), Refused> {
        match change {
            Change::Up(incarnation) => {
                if self.peers.contains_key(&incarnation) {
                    return Ok(());
                }
                // It has ended already: its end is the next change.
                let Some(info) = directory.machine(incarnation) else { return Ok(()) };
                let Some(link) = gateway.open_link() else {
                    self.left_out.insert(incarnation);
                    return Err(Refused::Machine);
                };
                self.left_out.remove(&incarnation);
                self.epochs = self.epochs.wrapping_add(1);
                let who = (incarnation, info.machine.as_str());
                let subject = subject(&info.machine, incarnation);
                let peer = Peer::new(who, subject, link, self.epochs, self.max_payload, now);
                self.peers.insert(incarnation, peer);
                let slot = usize::from(link.slot);
                self.slots.resize(self.slots.len().max(slot + 1), None);
                if let Some(slot) = self.slots.get_mut(slot) {
                    *slot = Some(incarnation);
                }
            }
            Change::Down(_) if mutant("cluster-dead-heard") => {}
            Change::Down(incarnation) => {
                self.left_out.remove(&incarnation);
                if let Some(peer) = self.peers.remove(&incarnation) {
                    let is_next = |one: &&mut Peer| one.machine() == peer.machine();
                    if let Some(next) = self.peers.values_mut().find(is_next) {
                        next.succeed(&peer);
                    }
                    gateway.close_link(peer.link);
                    peer.tag().into_iter().for_each(|tag| self.tickets.end(tag));
                    if let Some(slot) = self.slots.get_mut(usize::from(peer.link.slot)) {
                        *slot = None;
                    }
                }
            }
            Change::Place(name, incarnation, revision) => {
                let Some(link) = self.peers.get(&incarnation).map(|peer| peer.link) else {
                    gateway.displace(&name); // Of a machine that is left out.
                    return Ok(());
                };
                if !gateway.place(&name, link, revision) {
                    gateway.displace(&name);
                    return Err(Refused::Name);
                }
            }
            Change::Displace(name) => gateway.displace(&name),
            Change::Complete(is_complete) => gateway.set_complete(is_complete),
            Change::Interest(room) => {
                let peers = directory.interested(&room).filter_map(|one| self.peers.get(&one));
                let links: LinkSet = peers.map(|peer| peer.link.slot).collect();
                if !gateway.set_interest(&room, links) {
                    return Err(Refused::Room);
                }
            }
        }
        Ok(())
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;
    use crate::cluster::directory::{MachineInfo, Owner};
    use crate::cluster::names::{Outcome, Seen};
    use crate::cluster::wire::{self, Kind, Position, Record, Records};
    use crate::config::Config;
    use crate::router::{Builder, GatewayOptions, Router};
    use std::time::Duration;

    const NOW: Moment = Duration::from_secs(100);

    /// Machine 1, with a link to machine 2.
    struct World {
        _router: Router,
        gateway: Gateway,
        directory: Directory,
        links: Links,
        names: Names,
    }

    impl World {
        fn new() -> Self {
            let mut config = Config::default();
            config.set("workers", "1").unwrap();
            let router = Builder::new(config).start().unwrap();
            let gateway = router.gateway(GatewayOptions::default()).unwrap();
            let (directory, links) = (Directory::new(1, 10, 10), Links::new(1 << 20));
            let mut world = Self { _router: router, gateway, directory, links, names: Names::new(1) };
            world.directory.lease(2, MachineInfo { machine: "b".to_owned(), is_draining: false });
            world.change(Change::Up(2)).unwrap();
            world
        }

        fn change(&mut self, change: Change) -> Result<(), Refused> {
            let router = (&mut self.gateway, &self.directory);
            self.links.change(change, router, |_, _| String::new(), NOW)
        }

        /// Machine 2 sends a frame, in this epoch of its link.
        fn frame(&mut self, kind: Kind, epoch: u32, records: &[Record<'_>]) {
            let mut bytes = Vec::new();
            wire::write_head(&mut bytes, kind, (2, 1), Position { epoch, base: 0, first: 0 }, None);
            if kind == Kind::Data {
                let mut all = Records::default();
                records.iter().for_each(|record| assert!(all.push(record)));
                all.write(&mut bytes);
            }
            let frame = wire::decode(&bytes).unwrap();
            assert!(self.links.frame(&frame, &mut self.gateway, &mut self.names, NOW));
        }

        /// A claim that has succeeded so long ago that its client should be connected.
        fn own(&mut self, name: &str, revision: u64) {
            let seen = Seen { directory: &self.directory, may_seize: true };
            self.names.claim(name, 1, [1; 16], Moment::ZERO, &seen);
            let operation = self.names.operations().remove(0);
            self.names.done(&operation, Outcome::Done(revision), Moment::ZERO, &seen);
        }
    }

    fn record<'a>(name: &'a str, payload: &'a [u8]) -> Record<'a> {
        let (age, message_type) = (Duration::ZERO, "T");
        Record { name, is_room: false, revision: 5, message_type, correlation: 0, age, payload }
    }

    #[test]
    fn a_name_that_was_gone_still_needs_a_revision_when_its_link_has_ended_and_begun_again() {
        let mut world = World::new();
        world.own("x", 5);
        world.frame(Kind::Hello, 1, &[]);
        world.frame(Kind::Data, 1, &[record("x", b"1")]);
        world.change(Change::Down(2)).unwrap();
        world.change(Change::Up(2)).unwrap();
        world.frame(Kind::Hello, 1, &[]);
        // The sender holds the message until the name has another revision.
        assert_eq!(world.names.gone(), ["x".into()]);
        assert!(world.names.was_gone("x", 5));
    }

    #[test]
    fn the_last_frames_acknowledge_everything() {
        let mut world = World::new();
        world.frame(Kind::Hello, 1, &[]);
        world.frame(Kind::Data, 1, &[record("x", b"1")]);
        let frames = world.links.last_frames(1, NOW);
        let acknowledged: Vec<u64> = frames
            .iter()
            .map(|(_, frame)| wire::decode(frame).unwrap().acknowledgement.unwrap().upto)
            .collect();
        assert_eq!(acknowledged, [1]);
        assert!(world.links.is_settled() && world.links.last_frames(1, NOW).is_empty());
    }

    #[test]
    fn a_link_with_a_frame_that_is_too_large_for_the_next_server_begins_again() {
        let mut world = World::new();
        let link = world.links.get_mut(2).unwrap().link;
        let payload = [b'x'; 3000];
        let message = FromWorker::Message {
            link,
            worker: 0,
            name: "x",
            is_room: false,
            revision: 5,
            message_type: "T",
            correlation: 0,
            age: Duration::ZERO,
            payload: &payload,
        };
        world.links.record(message, &mut world.names, NOW);
        world.links.set_max_payload(wire::MAX_HEAD_BYTES + 4000, &mut world.gateway, NOW);
        assert_eq!(world.links.get_mut(2).unwrap().link, link, "it fits");
        world.links.set_max_payload(wire::MAX_HEAD_BYTES + 2000, &mut world.gateway, NOW);
        assert_ne!(world.links.get_mut(2).unwrap().link, link);
    }

    #[test]
    fn a_machine_that_has_ended_before_its_link_began_gets_none() {
        let mut world = World::new();
        assert_eq!(world.change(Change::Up(3)), Ok(()));
        assert_eq!(world.links.incarnations(), [2]);
    }

    #[test]
    fn a_machine_without_a_link_gets_one_with_its_names_when_another_ends() {
        let (router, _workers) = Builder::new(Config::default()).build().unwrap();
        let mut gateway = router.gateway(GatewayOptions::default()).unwrap();
        let (mut links, mut directory) = (Links::new(1 << 20), Directory::new(1_000, 1_000, 10));
        let mut follow = |links: &mut Links, directory: &mut Directory| {
            let changes = directory.changes();
            let subject = |machine: &str, _| machine.to_owned();
            let change = |change| links.change(change, (&mut gateway, directory), subject, Moment::ZERO);
            changes.into_iter().map(change).filter(Result::is_err).collect::<Vec<_>>()
        };
        directory.begin(false);
        for incarnation in 1..=256 {
            let info = MachineInfo { machine: format!("m{incarnation}"), is_draining: false };
            directory.lease(incarnation, info);
            let owner = Owner { incarnation, claim: 1, mac: [0; 16] };
            directory.name(&format!("n{incarnation}"), incarnation, owner, Moment::ZERO);
        }
        directory.synced(Moment::ZERO);
        assert_eq!(follow(&mut links, &mut directory), [Err(Refused::Machine)]);
        assert_eq!((links.values().count(), links.left_out(), links.to_link()), (255, 1, None));
        let out = (1..=256).find(|one| links.get_mut(*one).is_none()).unwrap();
        let ends = if out == 7 { 8 } else { 7 };
        let before = links.get_mut(ends).unwrap().link;
        directory.lease_gone(ends, Moment::ZERO);
        assert!(follow(&mut links, &mut directory).is_empty());
        assert_eq!(links.to_link(), Some(out));
        directory.tell_again(out);
        let told = directory.changes();
        assert_eq!(told, [Change::Up(out), Change::Place(format!("n{out}").into(), out, out)]);
        directory.tell_again(out);
        assert!(follow(&mut links, &mut directory).is_empty());
        let after = links.get_mut(out).unwrap();
        assert!(after.link.slot == before.slot && after.link.epoch != before.epoch);
        assert_eq!((links.left_out(), links.to_link()), (0, None));
        // One that ends before is left out no more.
        directory.lease(257, MachineInfo { machine: "m257".to_owned(), is_draining: false });
        assert_eq!(follow(&mut links, &mut directory), [Err(Refused::Machine)]);
        directory.lease_gone(257, Moment::ZERO);
        assert!(follow(&mut links, &mut directory).is_empty());
        assert_eq!(links.left_out(), 0);
    }
}
