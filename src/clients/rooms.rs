//! Rooms: named sets of clients. Ports join and leave under the rooms' own lock; a worker does so for a handler,
//! but never waits for the lock. Workers look a room up by
//! its name and read its members without waiting (RCU). A room is created with its first member and removed
//! with its last.
//!
//! A list that is replaced while a worker may read it is retained for this worker (`sync::published`). Number
//! and bytes of retained lists are bounded; beyond the bound, joins and leaves are refused and can be
//! retried. A client that disconnects meanwhile stays in its lists until a later call removes it. Its credit
//! is closed, so nothing is delivered to it.

use super::is_name;
use super::members::Members;
use super::names::{NameHash, NameTable};
use crate::error::{JoinError, LeaveError, RoomRefused, StaleRoom};
use crate::id::{ClientId, MAX_NAME_BYTES, RoomId};
use crate::sync::{
    AtomicBool, AtomicU64, Crowded, Mutex, MutexGuard, PublishedWriter, Reader, Relaxed, Retirement, lock,
    mutant, published, try_lock,
};
use std::collections::{HashMap, VecDeque};

/// A worker's access to the members of rooms.
pub(crate) type RoomReader = Reader<Members>;

/// Limits on rooms.
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
    /// Bytes of the largest list.
    pub(crate) const fn list_bytes(&self) -> u64 {
        Members::bytes_of(self.members, self.ports, MAX_NAME_BYTES) as u64
    }

    /// Upper bound in bytes of all rooms.
    pub(crate) const fn bytes(&self) -> u64 {
        // A cell, a generation, a place on the free list, the node of the name, and an empty list with its
        // name and ports.
        let room = 8 + 4 + 4 + 64 + Members::bytes_of(0, self.ports, MAX_NAME_BYTES);
        let by_rooms = self.rooms.saturating_mul(self.members);
        let by_clients = self.clients.saturating_mul(self.client_rooms);
        let memberships = if by_rooms < by_clients { by_rooms } else { by_clients };
        // Per client: an entry in the map, whose capacity may be twice its use, and an entry in the queue of
        // leaving clients. Per membership: an entry in a list and one in the client's own list, which grows
        // by doubling.
        let clients = self.clients * 96 + memberships * (8 + 16) + self.clients * 32;
        let retired = self.retired_bytes + self.retired_lists * (96 + 8 * self.workers);
        // The list that is being built, and each worker's buffer for recipients.
        let working = self.members * 16 + self.workers * self.members * 8;
        (self.rooms * room + clients + retired + working) as u64
    }
}

/// Figures of all rooms.
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

/// Number of memberships that a worker ends at the end of a batch. Each one copies a list of up to
/// `max_room_members` entries.
const TAKEN_OUT_PER_CALL: usize = 4;

/// All rooms of a router.
#[derive(Debug)]
pub(crate) struct Rooms {
    /// Room of each name. The table stores handles of clients; a room's handle has the same width.
    names: NameTable,
    limits: RoomLimits,
    control: Mutex<RoomControl>,
    readers: Mutex<Vec<RoomReader>>,
    /// Whether disconnected clients must still be removed from rooms.
    leaving: AtomicBool,
    /// Calls of workers that found the lock taken. They are refused as busy.
    contended: AtomicU64,
}

#[derive(Debug)]
struct RoomControl {
    lists: PublishedWriter<Members>,
    /// Generation of each place that was ever used.
    generations: Vec<u32>,
    free: Vec<u32>,
    /// Rooms of each client, and the client's port.
    memberships: HashMap<ClientId, (u16, Vec<RoomId>)>,
    /// Disconnected clients that are still in rooms.
    leaving: VecDeque<ClientId>,
    figures: RoomFigures,
    /// Rooms that got their first member or lost their last one, for who follows them.
    changes: Option<RoomChanges>,
}

/// The most changes that are listed.
const MOST_CHANGES: usize = 4096;

/// Rooms that got their first member, or lost their last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomChanges {
    /// The names are those of all rooms with members: at first, and if there were too many changes to list.
    pub all: bool,
    /// Names, and whether the room has members. A room may be listed several times: the last one counts.
    pub rooms: Vec<(String, bool)>,
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
                changes: None,
            }),
            readers: Mutex::new(readers),
            leaving: AtomicBool::new(false),
            contended: AtomicU64::new(0),
        }
    }

    /// A reader for one worker. There are as many readers as workers.
    pub(crate) fn reader(&self) -> Option<RoomReader> {
        lock(&self.readers).pop()
    }

    /// What has changed since the last call; all rooms with members at the first one. `None` for nothing.
    #[cfg(not(corelane_loom))]
    pub(crate) fn changes(&self) -> Option<RoomChanges> {
        let mut control = lock(&self.control);
        let first = RoomChanges { all: true, rooms: Vec::new() };
        let mut changes = control.changes.replace(RoomChanges::default()).unwrap_or(first);
        if changes.all {
            let open = (0..control.generations.len()).filter_map(|place| control.lists.get(place));
            let name = |list: &Members| String::from_utf8_lossy(list.name()).into_owned();
            changes.rooms = open.map(|list| (name(list), true)).collect();
        }
        (changes.all || !changes.rooms.is_empty()).then_some(changes)
    }

    /// Nobody follows the rooms any more.
    #[cfg(not(corelane_loom))]
    pub(crate) fn end_changes(&self) {
        lock(&self.control).changes = None;
    }

    /// The room of this name, if it has members.
    #[cfg(not(corelane_loom))]
    pub(crate) fn id_of(&self, name: &str) -> Option<RoomId> {
        let room = RoomId(self.names.get(self.names.hash(name.as_bytes()))?.0);
        let control = lock(&self.control);
        control.lists.get(room.index()).filter(|list| list.name() == name.as_bytes()).map(|list| list.room())
    }

    /// Adds a client of `port` to the room with this name, and creates the room if necessary. Joining again
    /// changes nothing. `is_open`: whether the client is connected; a disconnect says so first, and then calls
    /// [`leave_all`](Self::leave_all).
    pub(crate) fn join(
        &self,
        client: ClientId,
        port: u16,
        name: &str,
        is_open: impl Fn() -> bool,
    ) -> Result<RoomId, JoinError> {
        check_name(name)?;
        self.join_locked(&mut lock(&self.control), client, port, name, is_open)
    }

    /// As [`join`](Self::join), for a worker: it does not wait for a thread that has the lock.
    pub(crate) fn join_now(
        &self,
        client: ClientId,
        port: u16,
        name: &str,
        is_open: impl Fn() -> bool,
    ) -> Result<RoomId, JoinError> {
        check_name(name)?;
        let checked = mutant("room-join-checked-early") && is_open();
        let mut control = self.lock_now().ok_or(JoinError::ListsInUse)?;
        self.join_locked(&mut control, client, port, name, || checked || is_open())
    }

    /// The lock, if no other thread has it.
    fn lock_now(&self) -> Option<MutexGuard<'_, RoomControl>> {
        let control = try_lock(&self.control);
        if control.is_none() {
            self.contended.fetch_add(1, Relaxed); // Relaxed: an independent counter.
        }
        control
    }

    fn join_locked(
        &self,
        control: &mut RoomControl,
        client: ClientId,
        port: u16,
        name: &str,
        is_open: impl Fn() -> bool,
    ) -> Result<RoomId, JoinError> {
        let hash = self.names.hash(name.as_bytes());
        self.take_out_leaving(control);
        // Checked under the lock: a disconnect that is not seen here takes the client out again afterwards.
        if !is_open() && !mutant("room-join-closed") {
            return Err(JoinError::StaleClient);
        }
        let joined = self.try_join(control, client, port, hash, name.as_bytes());
        joined.map_err(|reason| {
            control.figures.refused[reason as usize] += 1;
            self.error(reason)
        })
    }

    fn error(&self, reason: RoomRefused) -> JoinError {
        match reason {
            RoomRefused::TooManyRooms => JoinError::TooManyRooms(self.limits.rooms as u32),
            RoomRefused::RoomFull => JoinError::RoomFull(self.limits.members as u32),
            RoomRefused::TooManyClientRooms => JoinError::TooManyClientRooms(self.limits.client_rooms as u32),
            RoomRefused::ListsInUse => JoinError::ListsInUse,
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
            // Compare the names: keyed 64-bit hashes do not collide in practice, but a collision would
            // deliver to the wrong room.
            Some(list) if list.name() != name => return Err(RoomRefused::TooManyRooms),
            Some(list) if list.contains(port, client) => return Ok(list.room()),
            Some(list) if list.len() >= self.limits.members => return Err(RoomRefused::RoomFull),
            _ => {}
        }
        if own >= self.limits.client_rooms {
            return Err(RoomRefused::TooManyClientRooms);
        }
        if own == 0 && control.memberships.len() >= self.limits.clients {
            return Err(RoomRefused::ListsInUse); // Disconnected clients must be removed first.
        }
        let room = match list {
            Some(list) => {
                let (room, bytes) = (list.room(), list.bytes());
                // Copy the list only after all checks.
                let Some(next) = list.with(port, client) else {
                    debug_assert!(false, "members were handled above");
                    return Ok(room);
                };
                control.lists.replace(room.index(), Some(Box::new(next)), bytes)?;
                room
            }
            None => {
                let room = control.new_room(self.limits.rooms).ok_or(RoomRefused::TooManyRooms)?;
                let first = Members::first(room, name, port, client);
                control.lists.replace(room.index(), Some(Box::new(first)), 0)?; // Never refused: the cell is empty.
                // Publish the list before the name: a reader that finds the name finds the list.
                let inserted = self.names.insert(hash, ClientId(room.0));
                debug_assert!(inserted.is_ok(), "names change under the control lock");
                control.figures.open += 1;
                control.note_change(name, true);
                room
            }
        };
        control.memberships.entry(client).or_insert_with(|| (port, Vec::new())).1.push(room);
        let figures = &mut control.figures;
        (figures.joined, figures.members) = (figures.joined + 1, figures.members + 1);
        figures.members_maximum = figures.members_maximum.max(figures.members);
        Ok(room)
    }

    /// Removes a client from a room.
    pub(crate) fn leave(&self, client: ClientId, room: RoomId) -> Result<(), LeaveError> {
        self.leave_locked(&mut lock(&self.control), client, room)
    }

    /// As [`leave`](Self::leave), for a worker: it does not wait for a thread that has the lock.
    pub(crate) fn leave_now(&self, client: ClientId, room: RoomId) -> Result<(), LeaveError> {
        let mut control = self.lock_now().ok_or(LeaveError::ListsInUse)?;
        self.leave_locked(&mut control, client, room)
    }

    fn leave_locked(
        &self,
        control: &mut RoomControl,
        client: ClientId,
        room: RoomId,
    ) -> Result<(), LeaveError> {
        self.take_out_leaving(control);
        if control.lists.get(room.index()).is_none_or(|list| list.room() != room) {
            return Err(LeaveError::StaleRoom);
        }
        let is_member = |(_, rooms): &(u16, Vec<RoomId>)| rooms.contains(&room);
        if !control.memberships.get(&client).is_some_and(is_member) {
            return Err(LeaveError::NotAMember);
        }
        control.take_out(&self.names, client, room).map_err(|Crowded| {
            control.figures.refused[RoomRefused::ListsInUse as usize] += 1;
            LeaveError::ListsInUse
        })
    }

    /// Removes a disconnecting client from all its rooms. If too many replaced lists are still being read, a
    /// later call does this.
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

    /// Removes disconnected clients that are still in rooms. Cheap if there are none, and never waits. Called
    /// after every poll, and by workers at the end of a batch, because the workers' reads are what retains
    /// the lists.
    pub(crate) fn follow_up(&self) {
        // Relaxed: a hint. A later call makes up for a stale value, and the holder of the lock checks for
        // itself.
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

    /// The current members of the room with this name. The list stays valid until the reader leaves. Never
    /// waits.
    #[inline]
    pub(crate) fn find<'a>(&self, reader: &'a mut RoomReader, name: &[u8]) -> Option<&'a Members> {
        let room = RoomId(self.names.get(self.names.hash(name))?.0);
        // Since the lookup of the name, the room may have been removed and another room may have taken its
        // place.
        reader.get(room.index()).filter(|list| list.room() == room && list.name() == name)
    }

    /// The current members of the room with this handle, as [`find`](Self::find).
    #[inline]
    pub(crate) fn get<'a>(&self, reader: &'a mut RoomReader, room: RoomId) -> Option<&'a Members> {
        reader.get(room.index()).filter(|list| list.room() == room)
    }

    /// A copy of a room's members, grouped by port, without disconnected ones. Waits while another thread changes
    /// rooms; workers read the lists meanwhile.
    pub(crate) fn members(&self, room: RoomId) -> Result<Vec<ClientId>, StaleRoom> {
        let control = lock(&self.control);
        let list = control.lists.get(room.index()).filter(|list| list.room() == room);
        let all = list.ok_or(StaleRoom)?.by_port().flat_map(|(_, clients)| clients).copied();
        Ok(all.filter(|client| !control.leaving.contains(client)).collect())
    }

    /// The rooms of a client, in the order in which it joined them. Waits like [`members`](Self::members).
    pub(crate) fn of_client(&self, client: ClientId) -> Vec<RoomId> {
        lock(&self.control).rooms_of(client)
    }

    /// As [`of_client`](Self::of_client), for a worker: it does not wait for a thread that has the lock.
    pub(crate) fn of_client_now(&self, client: ClientId) -> Option<Vec<RoomId>> {
        Some(self.lock_now()?.rooms_of(client))
    }

    /// Current figures, and totals since the start.
    pub(crate) fn figures(&self) -> RoomFigures {
        let mut control = lock(&self.control);
        let (lists, bytes) = control.lists.collect();
        let mut figures = control.figures.clone();
        figures.refused[RoomRefused::ListsInUse as usize] += self.contended.load(Relaxed); // Relaxed: an independent counter.
        RoomFigures { retired_lists: lists as u64, retired_bytes: bytes as u64, ..figures }
    }
}

impl RoomControl {
    fn rooms_of(&self, client: ClientId) -> Vec<RoomId> {
        // A disconnected client may still be in its lists.
        let present = self.memberships.get(&client).filter(|_| !self.leaving.contains(&client));
        present.map_or_else(Vec::new, |(_, rooms)| rooms.clone())
    }

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
        // 0 is never a valid generation.
        *generation = generation.wrapping_add(1).max(1);
        Some(RoomId::new(index, *generation))
    }

    /// Lists a change for who follows them.
    fn note_change(&mut self, name: &[u8], open: bool) {
        let Some(changes) = &mut self.changes else { return };
        if changes.rooms.len() >= MOST_CHANGES {
            changes.all = true;
            changes.rooms.clear();
        }
        if !changes.all {
            changes.rooms.push((String::from_utf8_lossy(name).into_owned(), open));
        }
    }

    /// Removes a member from a room. A room without members is removed.
    fn take_out(&mut self, names: &NameTable, client: ClientId, room: RoomId) -> Result<(), Crowded> {
        let Some((port, rooms)) = self.memberships.get_mut(&client) else { return Ok(()) };
        let forget = |rooms: &mut Vec<RoomId>| rooms.retain(|one| *one != room);
        let list = self.lists.get(room.index()).filter(|list| list.room() == room);
        // Check for room first, because the next list is a copy.
        if list.is_some_and(|list| !self.lists.has_room(list.bytes())) {
            return Err(Crowded);
        }
        let Some((list, Ok(next))) = list.map(|list| (list, list.without(*port, client))) else {
            debug_assert!(false, "every membership is in both");
            forget(rooms);
            return Ok(());
        };
        let (hash, bytes, gone) = (names.hash(list.name()), list.bytes(), next.is_none());
        let ended = (gone && self.changes.is_some()).then(|| list.name().to_vec());
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
        if let Some(name) = ended {
            self.note_change(&name, false);
        }
        self.figures.left += 1;
        self.figures.members -= 1;
        Ok(())
    }
}

impl From<Crowded> for RoomRefused {
    fn from(_: Crowded) -> Self {
        Self::ListsInUse
    }
}

fn check_name(name: &str) -> Result<(), JoinError> {
    if is_name(name) { Ok(()) } else { Err(JoinError::NameLength(name.len())) }
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
        let lobby = rooms.join(id(1), 0, "lobby", || true).unwrap();
        rooms.join(id(1), 0, "den", || true).unwrap();
        let seen = rooms.find(&mut worker, b"lobby").unwrap();
        // The worker is within a batch: two lists are retained for it, and a third change is refused.
        rooms.join(id(2), 0, "lobby", || true).unwrap();
        rooms.join(id(3), 0, "lobby", || true).unwrap();
        assert_eq!(rooms.join(id(2), 0, "den", || true), Err(JoinError::ListsInUse));
        assert_eq!(rooms.leave(id(1), lobby), Err(LeaveError::ListsInUse));
        assert_eq!((seen.len(), rooms.find(&mut worker, b"lobby").unwrap().len()), (1, 3));
        // A disconnect cannot be refused, so its client is removed later. A new client must wait until then.
        rooms.leave_all(id(1));
        assert_eq!((rooms.of_client(id(1)), rooms.of_client_now(id(1))), (vec![], Some(vec![])));
        assert_eq!(rooms.members(lobby), Ok(vec![id(2), id(3)]));
        let figures = rooms.figures();
        assert_eq!((figures.retired_lists, figures.members, figures.left), (2, 4, 0));
        assert!(figures.retired_bytes <= LIMITS.retired_bytes as u64);
        assert_eq!(figures.refused[RoomRefused::ListsInUse as usize], 2);
        assert_eq!(rooms.join(id(4), 0, "new", || true), Err(JoinError::ListsInUse));
        rooms.follow_up();
        assert_eq!(rooms.figures().left, 0);
        worker.leave();
        rooms.follow_up();
        let figures = rooms.figures();
        assert_eq!((figures.retired_lists, figures.retired_bytes), (0, 0));
        assert_eq!((figures.open, figures.members, figures.left), (1, 2, 2));
        assert!(rooms.find(&mut worker, b"den").is_none());
        assert!(!rooms.find(&mut worker, b"lobby").unwrap().contains(0, id(1)));
        rooms.join(id(4), 0, "new", || true).unwrap();
    }

    #[test]
    fn a_worker_is_refused_as_busy_while_another_thread_has_the_lock() {
        let rooms = Rooms::new(LIMITS, [1, 2]);
        let lobby = rooms.join(id(1), 0, "lobby", || true).unwrap();
        let locked = lock(&rooms.control);
        assert_eq!(rooms.join_now(id(2), 0, "lobby", || true), Err(JoinError::ListsInUse));
        assert_eq!(rooms.leave_now(id(1), lobby), Err(LeaveError::ListsInUse));
        assert_eq!(rooms.of_client_now(id(1)), None);
        drop(locked);
        assert_eq!(rooms.figures().refused[RoomRefused::ListsInUse as usize], 3);
        assert_eq!(rooms.join_now(id(2), 0, "lobby", || true), Ok(lobby));
        assert_eq!(rooms.join_now(id(3), 0, "lobby", || false), Err(JoinError::StaleClient));
        assert_eq!((rooms.of_client_now(id(2)), rooms.leave_now(id(2), lobby)), (Some(vec![lobby]), Ok(())));
    }

    #[test]
    fn a_room_that_took_a_place_is_not_taken_for_the_one_before() {
        let rooms = Rooms::new(RoomLimits { rooms: 1, ..LIMITS }, [1, 2]);
        let mut worker = rooms.reader().unwrap();
        let first = rooms.join(id(1), 0, "first", || true).unwrap();
        rooms.leave(id(1), first).unwrap();
        let second = rooms.join(id(1), 0, "second", || true).unwrap();
        assert_eq!((first.index(), first == second), (second.index(), false));
        assert!(rooms.find(&mut worker, b"first").is_none());
        assert_eq!(rooms.find(&mut worker, b"second").map(Members::room), Some(second));
        assert_eq!(rooms.leave(id(1), first), Err(LeaveError::StaleRoom));
    }
}
