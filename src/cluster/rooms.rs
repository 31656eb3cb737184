//! The rooms that have members here: which keys of the bucket are to be written. Without I/O and without a clock.

use crate::clients::RoomChanges;
use crate::sync::mutant;
use std::collections::{BTreeMap, BTreeSet};

/// Keys that are written at the same time.
const IN_FLIGHT: usize = 64;

/// The rooms of a machine.
#[derive(Debug, Default)]
pub struct Rooms {
    /// Whether a room has members here.
    known: BTreeMap<String, bool>,
    to_write: Vec<String>,
    in_flight: usize,
    /// The keys that the watch has told of since it began, until it has told everything.
    told: Option<BTreeSet<String>>,
}

impl Rooms {
    /// The bucket, or this machine's incarnation, is another one: everything is written again.
    pub fn write_all(&mut self) {
        self.to_write = self.known.keys().cloned().collect();
    }

    /// Follows what the router tells.
    pub fn follow(&mut self, changes: RoomChanges) {
        if changes.all {
            self.known.values_mut().for_each(|has_members| *has_members = false);
            self.to_write.extend(self.known.keys().cloned());
        }
        for (room, has_members) in changes.rooms {
            self.known.insert(room.clone(), has_members);
            self.to_write.push(room);
        }
    }

    /// The next room whose key is to be written, or deleted if it has no members.
    pub fn next_write(&mut self) -> Option<(String, bool)> {
        if self.in_flight >= IN_FLIGHT {
            return None;
        }
        let room = self.to_write.pop()?;
        let has_members = self.known.get(&room).copied().unwrap_or(false);
        if !has_members {
            self.known.remove(&room);
        }
        self.in_flight += 1;
        Some((room, has_members))
    }

    /// The watch tells of a key of this incarnation. Another machine may have deleted it, or a write that was given up has come
    /// late.
    pub fn seen(&mut self, room: &str, has_members: bool) {
        if let Some(told) = self.told.as_mut().filter(|_| has_members) {
            told.insert(room.to_owned());
        }
        if self.known.get(room).copied().unwrap_or(false) != has_members {
            self.to_write.push(room.to_owned());
        }
    }

    /// The watch begins again.
    pub fn watch_begins(&mut self) {
        self.told = Some(BTreeSet::new());
    }

    /// The watch has told everything: writes the keys again that the bucket does not have.
    pub fn write_missing(&mut self) {
        let Some(told) = self.told.take() else { return };
        let missing = self.known.iter().filter(|(room, has_members)| **has_members && !told.contains(*room));
        self.to_write.extend(missing.map(|(room, _)| room.clone()));
    }

    /// A key was written, or not.
    pub fn done(&mut self, room: String, has_members: bool, is_done: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if (!is_done || self.known.get(&room).copied().unwrap_or(false) != has_members)
            && !mutant("cluster-room-untold")
        {
            self.to_write.push(room);
        }
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    fn changes(all: bool, rooms: &[(&str, bool)]) -> RoomChanges {
        RoomChanges { all, rooms: rooms.iter().map(|(room, has)| ((*room).to_owned(), *has)).collect() }
    }

    #[test]
    fn a_key_that_the_watch_does_not_tell_of_is_written_again() {
        let mut rooms = Rooms::default();
        rooms.follow(changes(false, &[("there", true), ("deleted", true), ("left", false)]));
        while let Some((room, has_members)) = rooms.next_write() {
            rooms.done(room, has_members, true);
        }
        rooms.watch_begins();
        rooms.seen("there", true);
        rooms.write_missing();
        assert_eq!(rooms.next_write(), Some(("deleted".to_owned(), true)));
        assert_eq!(rooms.next_write(), None);
        // Later the watch tells of what it has told of before: nothing is missing.
        rooms.write_missing();
        assert_eq!(rooms.next_write(), None);
    }

    #[test]
    fn a_room_is_written_until_the_bucket_has_what_the_router_has() {
        let mut rooms = Rooms::default();
        rooms.follow(changes(false, &[("lobby", true)]));
        assert_eq!(rooms.next_write(), Some(("lobby".to_owned(), true)));
        assert_eq!(rooms.next_write(), None);
        // It failed; and then the members left while it was being written.
        rooms.done("lobby".to_owned(), true, false);
        assert_eq!(rooms.next_write(), Some(("lobby".to_owned(), true)));
        rooms.follow(changes(false, &[("lobby", false)]));
        assert_eq!(rooms.next_write(), Some(("lobby".to_owned(), false)));
        rooms.done("lobby".to_owned(), true, true);
        assert_eq!(rooms.next_write(), Some(("lobby".to_owned(), false)));
        rooms.done("lobby".to_owned(), false, true);
        rooms.done("lobby".to_owned(), false, true);
        assert_eq!(rooms.next_write(), None);
    }

    #[test]
    fn a_key_that_the_watch_tells_otherwise_is_written_again() {
        let mut rooms = Rooms::default();
        rooms.follow(changes(false, &[("lobby", true)]));
        rooms.next_write();
        rooms.done("lobby".to_owned(), true, true);
        rooms.seen("lobby", true);
        assert_eq!(rooms.next_write(), None);
        rooms.seen("lobby", false);
        assert_eq!(rooms.next_write(), Some(("lobby".to_owned(), true)));
        rooms.seen("hall", true);
        assert_eq!(rooms.next_write(), Some(("hall".to_owned(), false)));
    }

    #[test]
    fn few_keys_are_written_at_once() {
        let mut rooms = Rooms::default();
        let many: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        rooms.follow(changes(false, &many.iter().map(|room| (room.as_str(), true)).collect::<Vec<_>>()));
        let first: Vec<_> = std::iter::from_fn(|| rooms.next_write()).collect();
        assert_eq!(first.len(), IN_FLIGHT);
        first.into_iter().for_each(|(room, has)| rooms.done(room, has, true));
        assert_eq!(std::iter::from_fn(|| rooms.next_write()).count(), 100 - IN_FLIGHT);
        rooms.write_all();
        assert_eq!(rooms.to_write.len(), 100);
        rooms.follow(changes(true, &[("new", true)]));
        assert_eq!(rooms.known.values().filter(|has| **has).count(), 1);
    }
}
