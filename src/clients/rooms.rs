//! Rooms: named sets of clients. Ports join and leave under a lock of their own; workers look a room up by its name and
//! read its members without waiting. A room comes with its first member and goes with its last.
//!
//! A list that is replaced while a worker may read it is kept for that worker (`sync::published`), bounded in number and
//! bytes: past it joins and leaves are refused, to be retried. A client that disconnects then stays in its lists until a
//! later call takes it out; its credit is closed, so nothing is delivered to it meanwhile.

use super::check_name;
use super::members::Members;
use super::names::{NameHash, NameTable};
use crate::error::{Error, RoomRefused};
use crate::id::{ClientId, MAX_NAME_BYTES, RoomId};
use crate::sync::{
    AtomicBool, Crowded, Mutex, PublishedWriter, Reader, Relaxed, Retirement, lock, mutant, published,
    try_lock,
};
use std::collections::{HashMap, VecDeque};

/// A worker's way to the members of rooms.
pub(crate) type RoomReader = Reader<Members>;

/// What rooms may come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoomLimits {
    pub(crate) rooms: usize,
    pub(crate) members: usize,
    pub(crate) client_rooms: usize,
    pub(crate) clients: usize,
    pub(crate) ports: usize,
    pub(crate) workers: usize,
    pub(crate) retired_lists: usize,
    pub(crate) retired_bytes: usize,
}

impl RoomLimits {
    /// The largest list.
    pub(crate) const fn list_bytes(&self) -> u64 {
        Members::bytes_of(self.members, self.ports, MAX_NAME_BYTES) as u64
    }

    /// All memory that rooms take at most.
    pub(crate) const fn bytes(&self) -> u64 {
        // A cell, a generation, a place on the free list, the name's node, and an empty list with its name and ports.
        let room = 8 + 4 + 4 + 64 + Members::bytes_of(0, self.ports, MAX_NAME_BYTES);
        let by_rooms = self.rooms.saturating_mul(self.members);
        let by_clients = self.clients.saturating_mul(self.client_rooms);
        let memberships = if by_rooms < by_clients { by_rooms } else { by_clients };
        // Per client a place in the map, which may be twice as large as used, and one in the queue of the leaving; per
        // membership one in a list and one in the client's own, which grows by doubling.
        let clients = self.clients * 96 + memberships * (8 + 16) + self.clients * 32;
        let retired = self.retired_bytes + self.retired_lists * (96 + 8 * self.workers);
        // The list that is being made, and each worker's place for recipients.
        let working = self.members * 16 + self.workers * self.members * 8;
        (self.rooms * room + clients + retired + working) as u64
    }
}

/// What rooms have come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoomFigures {
    pub(crate) open: u64,
    pub(crate) members: u64,
    pub(crate) members_maximum: u64,
    pub(crate) joined: u64,
    pub(crate) left: u64,
    pub(crate) retired_lists: u64,
    pub(crate) retired_bytes: u64,
    pub(crate) refused: [u64; RoomRefused::COUNT],
}

/// How many memberships a worker ends at the end of a batch: each copies a list of up to `max_room_members`.
const TAKEN_OUT_PER_CALL: usize = 4;

/// All rooms of a router.
#[derive(Debug)]
pub(crate) struct Rooms {
    /// Each name's room; the table holds handles, and a room's is as wide as a client's.
    names: NameTable,
    limits: RoomLimits,
    control: Mutex<RoomControl>,
    readers: Mutex<Vec<RoomReader>>,
    /// Clients are still to be taken out of their rooms.
    leaving: AtomicBool,
}

#[derive(Debug)]
struct RoomControl {
    lists: PublishedWriter<Members>,
    /// Of each place that was ever used.
    generations: Vec<u32>,
    free: Vec<u32>,
    /// Each client's rooms, with the port that it is on.
    memberships: HashMap<ClientId, (u16, Vec<RoomId>)>,
    /// Disconnected, and still in rooms.
    leaving: VecDeque<ClientId>,
    figures: RoomFigures,
}

impl Rooms {
    pub(crate) fn new(limits: RoomLimits, keys: [u64; 2]) -> Self {
        let retirement = Retirement { values: limits.retired_lists, bytes: limits.retired_bytes };
        let (lists, readers) = published(limits.rooms, limits.workers, retirement);
        Self {
            names: NameTable::new(limits.rooms as u32, keys),
            limits,
            control: Mutex::new(RoomControl {
                lists,
                generations: Vec::new(),
                free: Vec::new(),
                memberships: HashMap::new(),
                leaving: VecDeque::new(),
                figures: RoomFigures::default(),
            }),
            readers: Mutex::new(readers),
            leaving: AtomicBool::new(false),
        }
    }

    /// A worker's reader: there are as many as workers.
    pub(crate) fn reader(&self) -> Option<RoomReader> {
        lock(&self.readers).pop()
    }

    /// Puts a client of `port` into the room of that name, which it makes if there is none. A member stays one.
    pub(crate) fn join(&self, client: ClientId, port: u16, name: &str) -> Result<RoomId, Error> {
        check_name(name)?;
        let hash = self.names.hash(name.as_bytes());
        let mut control = lock(&self.control);
        self.take_out_leaving(&mut control);
        let joined = self.try_join(&mut control, client, port, hash, name.as_bytes());
        joined.map_err(|reason| {
            control.figures.refused[reason as usize] += 1;
            self.error(reason)
        })
    }

    fn error(&self, reason: RoomRefused) -> Error {
        match reason {
            RoomRefused::TooManyRooms => Error::TooManyRooms(self.limits.rooms as u32),
            RoomRefused::RoomFull => Error::RoomFull(self.limits.members as u32),
            RoomRefused::TooManyClientRooms => Error::TooManyClientRooms(self.limits.client_rooms as u32),
            RoomRefused::Busy => Error::RoomsBusy,
        }
    }

    fn try_join(
        &self,
        control: &mut RoomControl,
        client: ClientId,
        port: u16,
        hash: NameHash,
        name: &[u8],
    ) -> Result<RoomId, RoomRefused> {
        let own = control.memberships.get(&client).map_or(0, |(_, rooms)| rooms.len());
        let present = self.names.get(hash).map(|room| RoomId(room.0));
        let list = present.and_then(|room| control.lists.get(room.index()));
        match list {
            // Keyed 64-bit hashes do not collide in practice; another's room would be a wrong delivery.
            Some(list) if list.name() != name => return Err(RoomRefused::TooManyRooms),
            Some(list) if list.contains(port, client) => return Ok(list.room()),
            Some(list) if list.len() >= self.limits.members => return Err(RoomRefused::RoomFull),
            _ => {}
        }
        if own >= self.limits.client_rooms {
            return Err(RoomRefused::TooManyClientRooms);
        }
        if own == 0 && control.memberships.len() >= self.limits.clients {
            return Err(RoomRefused::Busy); // Disconnected clients are still to be taken out.
        }
        let room = match list {
            Some(list) => {
                let (room, bytes) = (list.room(), list.bytes());
                // Copied only now that nothing else refuses it. Nothing: a member already, which was seen to above.
                let Some(next) = list.with(port, client) else { return Ok(room) };
                control.lists.replace(room.index(), Some(Box::new(next)), bytes)?;
                room
            }
            None => {
                let room = control.new_room(self.limits.rooms).ok_or(RoomRefused::TooManyRooms)?;
                let first = Members::first(room, name, port, client);
                control.lists.replace(room.index(), Some(Box::new(first)), 0)?; // The cell is empty: not refused.
                // The list comes first: who finds the name finds it.
                let inserted = self.names.insert(hash, ClientId(room.0));
                debug_assert!(inserted.is_ok(), "names change under the control lock");
                control.figures.open += 1;
                room
            }
        };
        control.memberships.entry(client).or_insert_with(|| (port, Vec::new())).1.push(room);
        let figures = &mut control.figures;
        (figures.joined, figures.members) = (figures.joined + 1, figures.members + 1);
        figures.members_maximum = figures.members_maximum.max(figures.members);
        Ok(room)
    }

    /// Takes a client out of a room.
    pub(crate) fn leave(&self, client: ClientId, room: RoomId) -> Result<(), Error> {
        let mut control = lock(&self.control);
        self.take_out_leaving(&mut control);
        if control.lists.get(room.index()).is_none_or(|list| list.room() != room) {
            return Err(Error::StaleRoom);
        }
        let is_member = |(_, rooms): &(u16, Vec<RoomId>)| rooms.contains(&room);
        if !control.memberships.get(&client).is_some_and(is_member) {
            return Err(Error::NotAMember);
        }
        control.take_out(&self.names, client, room).map_err(|Crowded| {
            control.figures.refused[RoomRefused::Busy as usize] += 1;
            Error::RoomsBusy
        })
    }

    /// Takes a client that disconnects out of all its rooms: at once, or, where lists are still read, later.
    pub(crate) fn leave_all(&self, client: ClientId) {
        if mutant("room-keeps-disconnected") {
            return;
        }
        let mut control = lock(&self.control);
        if control.memberships.contains_key(&client) {
            control.leaving.push_back(client);
        }
        self.take_out_leaving(&mut control);
    }

    /// Takes the clients out that a disconnect has left in their rooms. Cheap where there are none; never waits. Called after
    /// every poll, and by workers at the end of a batch, whose looks are what keeps the lists.
    pub(crate) fn follow_up(&self) {
        // Relaxed: a hint; a late look is made up for by the next one. Whoever has the lock looks for itself.
        if self.leaving.load(Relaxed)
            && let Some(mut control) = try_lock(&self.control)
        {
            self.take_out_some(&mut control, TAKEN_OUT_PER_CALL);
        }
    }

    fn take_out_leaving(&self, control: &mut RoomControl) {
        self.take_out_some(control, usize::MAX);
    }

    fn take_out_some(&self, control: &mut RoomControl, most: usize) {
        let mut taken_out = 0;
        while taken_out < most
            && let Some(client) = control.leaving.front().copied()
        {
            let room = control.memberships.get(&client).and_then(|(_, rooms)| rooms.last().copied());
            match room.map(|room| control.take_out(&self.names, client, room)) {
                Some(Ok(())) => taken_out += 1,
                Some(Err(Crowded)) => break,
                None => drop(control.leaving.pop_front()),
            }
        }
        self.leaving.store(!control.leaving.is_empty(), Relaxed); // Relaxed: as in `follow_up`.
    }

    /// The members of the room of that name now. The list stays until the reader leaves; never waits.
    #[inline]
    pub(crate) fn find<'a>(&self, reader: &'a mut RoomReader, name: &[u8]) -> Option<&'a Members> {
        let room = RoomId(self.names.get(self.names.hash(name))?.0);
        // The room may have gone and its place have become another's since the name was looked up.
        reader.get(room.index()).filter(|list| list.room() == room && list.name() == name)
    }

    /// Now, and so far.
    pub(crate) fn figures(&self) -> RoomFigures {
        let mut control = lock(&self.control);
        let (lists, bytes) = control.lists.collect();
        RoomFigures { retired_lists: lists as u64, retired_bytes: bytes as u64, ..control.figures.clone() }
    }
}

impl RoomControl {
    fn new_room(&mut self, limit: usize) -> Option<RoomId> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.generations.len() < limit => {
                self.generations.push(0);
                self.generations.len() as u32 - 1
            }
            None => return None,
        };
        let generation = self.generations.get_mut(index as usize)?;
        // 0 is nobody's generation.
        *generation = generation.wrapping_add(1).max(1);
        Some(RoomId::new(index, *generation))
    }

    /// Takes a member out of a room; the room goes with its last.
    fn take_out(&mut self, names: &NameTable, client: ClientId, room: RoomId) -> Result<(), Crowded> {
        let Some((port, rooms)) = self.memberships.get_mut(&client) else { return Ok(()) };
        let forget = |rooms: &mut Vec<RoomId>| rooms.retain(|one| *one != room);
        let list = self.lists.get(room.index()).filter(|list| list.room() == room);
        // Asked first: the next list is a copy.
        if list.is_some_and(|list| !self.lists.has_room(list.bytes())) {
            return Err(Crowded);
        }
        let Some((list, Ok(next))) = list.map(|list| (list, list.without(*port, client))) else {
            forget(rooms); // Never: a membership is in both.
            return Ok(());
        };
        let (hash, bytes, gone) = (names.hash(list.name()), list.bytes(), next.is_none());
        self.lists.replace(room.index(), next.map(Box::new), bytes)?;
        forget(rooms);
        if rooms.is_empty() {
            self.memberships.remove(&client);
        }
        if gone {
            names.remove(hash, ClientId(room.0));
            self.free.push(room.index() as u32);
            self.figures.open -= 1;
        }
        self.figures.left += 1;
        self.figures.members -= 1;
        Ok(())
    }
}

impl From<Crowded> for RoomRefused {
    fn from(_: Crowded) -> Self {
        Self::Busy
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    const LIMITS: RoomLimits = RoomLimits {
        rooms: 4,
        members: 8,
        client_rooms: 4,
        clients: 3,
        ports: 1,
        workers: 1,
        retired_lists: 2,
        retired_bytes: 4096,
    };

    fn id(index: u32) -> ClientId {
        ClientId::new(index, 1)
    }

    #[test]
    fn lists_that_a_worker_reads_are_kept_up_to_the_bound_and_nobody_is_lost() {
        let rooms = Rooms::new(LIMITS, [1, 2]);
        let mut worker = rooms.reader().unwrap();
        assert!(rooms.reader().is_none());
        let lobby = rooms.join(id(1), 0, "lobby").unwrap();
        rooms.join(id(1), 0, "den").unwrap();
        let seen = rooms.find(&mut worker, b"lobby").unwrap();
        // The worker is in the middle of its batch: two lists are kept for it, a third is refused.
        rooms.join(id(2), 0, "lobby").unwrap();
        rooms.join(id(3), 0, "lobby").unwrap();
        assert_eq!(rooms.join(id(2), 0, "den"), Err(Error::RoomsBusy));
        assert_eq!(rooms.leave(id(1), lobby), Err(Error::RoomsBusy));
        assert_eq!((seen.len(), rooms.find(&mut worker, b"lobby").unwrap().len()), (1, 3));
        // Who disconnects cannot be refused: taken out later. A new client must wait for that.
        rooms.leave_all(id(1));
        let figures = rooms.figures();
        assert_eq!((figures.retired_lists, figures.members, figures.left), (2, 4, 0));
        assert!(figures.retired_bytes <= LIMITS.retired_bytes as u64);
        assert_eq!(figures.refused[RoomRefused::Busy as usize], 2);
        assert_eq!(rooms.join(id(4), 0, "new"), Err(Error::RoomsBusy));
        rooms.follow_up();
        assert_eq!(rooms.figures().left, 0);
        worker.leave();
        rooms.follow_up();
        let figures = rooms.figures();
        assert_eq!((figures.retired_lists, figures.retired_bytes), (0, 0));
        assert_eq!((figures.open, figures.members, figures.left), (1, 2, 2));
        assert!(rooms.find(&mut worker, b"den").is_none());
        assert!(!rooms.find(&mut worker, b"lobby").unwrap().contains(0, id(1)));
        rooms.join(id(4), 0, "new").unwrap();
    }

    #[test]
    fn a_room_that_took_a_place_is_not_taken_for_the_one_before() {
        let rooms = Rooms::new(RoomLimits { rooms: 1, ..LIMITS }, [1, 2]);
        let mut worker = rooms.reader().unwrap();
        let first = rooms.join(id(1), 0, "first").unwrap();
        rooms.leave(id(1), first).unwrap();
        let second = rooms.join(id(1), 0, "second").unwrap();
        assert_eq!((first.index(), first == second), (second.index(), false));
        assert!(rooms.find(&mut worker, b"first").is_none());
        assert_eq!(rooms.find(&mut worker, b"second").map(Members::room), Some(second));
        assert_eq!(rooms.leave(id(1), first), Err(Error::StaleRoom));
    }
}
