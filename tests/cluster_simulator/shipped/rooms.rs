//! Rule 10: rooms with members on several machines.

use super::{Node, Shipped};
use crate::bucket::Ask;
use crate::core::ROOMS;
use crate::ledger::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

impl Node {
    /// The keys of rooms that are to be written or deleted.
    pub(super) fn room_asks(&mut self, now: Duration) -> Vec<Ask> {
        if let Some(changes) = self.core.gateway.room_changes() {
            self.rooms.follow(changes);
        }
        let mut asks = Vec::new();
        if self.lease.is_valid(now) {
            let mut dead = self.directory.dead_rooms(usize::MAX);
            dead.sort();
            asks.extend(dead.into_iter().map(|(room, of)| Ask::SweepRoom(room.into(), of)));
            // The router lists its rooms in another order each time.
            let mut rooms: Vec<_> = std::iter::from_fn(|| self.rooms.next_write()).collect();
            rooms.sort();
            asks.extend(rooms.into_iter().map(|(room, has)| Ask::Room(room, self.incarnation, has)));
        }
        asks
    }
}

impl Shipped {
    /// The members of a room, by place.
    fn members(&self, room: &str) -> BTreeMap<usize, Vec<u64>> {
        let mut all = BTreeMap::<usize, Vec<u64>>::new();
        for (place, node) in self.nodes.iter().enumerate() {
            for (number, client) in node.iter().flat_map(|node| &node.core.clients) {
                if client.rooms.contains(room) && !client.leaving {
                    all.entry(place).or_default().push(*number);
                }
            }
        }
        all
    }

    /// At the end everybody joins a room, and a member's message reaches all other members, wherever they are.
    pub(super) fn reach_rooms(&mut self) {
        for place in 0..self.nodes.len() {
            let clients = self.nodes[place].iter().flat_map(|node| &node.core.clients);
            let all: Vec<u64> = clients.filter(|one| !one.1.leaving).map(|one| *one.0).collect();
            all.into_iter().for_each(|number| self.join_room(place, number, ROOMS[0]));
        }
        self.settle();
        for room in ROOMS {
            let members = self.members(room);
            for (place, number) in members.iter().map(|(place, all)| (*place, all[0])) {
                // Copies of a large message for several small links may be more than a sender's share of all links.
                let reaches = (0..20).any(|_| self.reaches_room(place, number, room));
                assert!(reaches, "a message of {number} for {room} does not reach all of {members:?}");
                if members.len() > 1 {
                    self.reached.note("a room reaches all its members");
                }
            }
        }
    }

    fn reaches_room(&mut self, place: usize, number: u64, room: &'static str) -> bool {
        let others: BTreeSet<u64> =
            self.members(room).into_values().flatten().filter(|one| *one != number).collect();
        let (now, message) = (self.now, self.ledger.next());
        let node = self.nodes[place].as_mut().unwrap();
        if node.core.clients.get(&number).is_none_or(|client| client.leaving) {
            return true;
        }
        let from = (node.process, number);
        node.core.submit(from, room, Kind::Room, now, &mut self.ledger, &mut self.random);
        for _ in 0..100 {
            if self.ledger.next() == message {
                return true; // Refused.
            }
            let got: BTreeSet<u64> = self.ledger.of(message).got.iter().copied().collect();
            if got.is_superset(&others) {
                return true;
            }
            self.round();
            self.check();
            self.advance(20);
        }
        false
    }

    /// At the end everybody has read, and the rooms' keys are written.
    pub(super) fn settle(&mut self) {
        for _ in 0..20 {
            self.round();
            self.check();
            self.advance(100);
        }
    }

    /// At the end the bucket has the rooms that have members, and the names of claims that hosts have, and nothing else.
    pub(super) fn check_bucket(&self) {
        let mut rooms = BTreeSet::new();
        for room in ROOMS {
            let places = self.members(room).into_keys();
            rooms.extend(
                places.map(|place| (room.to_owned(), self.nodes[place].as_ref().unwrap().incarnation)),
            );
        }
        if self.nodes.iter().all(Option::is_none) {
            return; // Nobody sweeps.
        }
        assert_eq!(self.bucket.rooms().cloned().collect::<BTreeSet<_>>(), rooms, "the rooms of the bucket");
        for (name, owner) in self.bucket.owners() {
            let node = self.nodes.iter().flatten().find(|node| node.incarnation == owner.incarnation);
            // A dead machine's name without room is not known, and so not swept.
            let may_stay = self.settings.gateway.names < 100 && node.is_none();
            let is_owned = may_stay || node.is_some_and(|node| node.succeeded.contains(&owner.claim));
            assert!(is_owned, "{name} belongs to {owner:?}, which has ended");
        }
    }
}
