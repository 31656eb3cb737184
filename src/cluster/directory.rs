//! What the watch of the bucket says: who owns which name, and which machines live. Without I/O and without a clock, except
//! for the times that it is told.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::asks::{Answer, AskFigures, Asks, Kept};
use super::link::Moment;
use super::name_map::NameMap;
pub use super::owner::{Mac, News, Owner};
use crate::router::GatewayOptions;
use crate::sync::mutant;

/// After this time the names of a dead machine are swept.
pub const SWEEP_AFTER: Duration = Duration::from_secs(2);
/// After the loss of the bucket each machine writes its lease and its names again. So long nobody is given up.
pub const REFILL: Duration = Duration::from_secs(5);

/// The time between two readings of the rooms that had no place.
const READ_ROOMS_EVERY: Duration = Duration::from_secs(10);

/// A room, and the incarnation of a machine with members in it.
type Member = (Box<str>, u64);

/// What a lease's value says of its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineInfo {
    /// The machine's name.
    pub machine: String,
    /// It takes no clients any more.
    pub is_draining: bool,
}

/// Whether an incarnation lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Its lease exists.
    Alive,
    /// Its lease is gone, or was never there before its names.
    Dead,
    /// The watch has not said yet.
    Unknown,
}

/// A change that concerns the router or the links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An incarnation lives.
    Up(u64),
    /// It has ended.
    Down(u64),
    /// A name is at that incarnation, in this revision.
    Place(Box<str>, u64, u64),
    /// A name is nowhere else (any more).
    Displace(Box<str>),
    /// These incarnations have members in a room.
    Interest(Box<str>),
    /// Whether every name of another machine is placed.
    Complete(bool),
}

/// A name with its owner.
#[derive(Clone, Copy, Debug)]
struct Known {
    revision: u64,
    owner: Owner,
    is_placed: bool,
    round: u32,
}

impl Known {
    fn place(&self) -> Answer {
        if self.is_placed { Answer::At(self.owner.incarnation, self.revision) } else { Answer::Nowhere }
    }
}

#[derive(Debug)]
struct Machine {
    info: MachineInfo,
    round: u32,
}

/// The names and machines of the cluster.
#[derive(Debug)]
pub struct Directory {
    own: u64,
    names: NameMap<Known>,
    machines: HashMap<u64, Machine>,
    /// The dead incarnations that may still own names, and from when on their names are swept.
    dead: HashMap<u64, Moment>,
    /// The dead incarnations that may still own names that had no room here. Such a name can be claimed only if its owner is
    /// known to be dead.
    ended: HashSet<u64>,
    rooms: HashMap<Box<str>, HashSet<u64>>,
    /// The rooms that were known before the watch started again.
    old_rooms: HashSet<Box<str>>,
    /// Rooms that dead machines have not left.
    dead_rooms: Vec<Member>,
    max_names: usize,
    max_rooms: usize,
    /// Rooms had no place since they were read last.
    misses_rooms: bool,
    /// The reading of all rooms that is under way, and the members that have left since it began: it may still tell of them.
    reading: Option<(u32, HashSet<Member>)>,
    readings: u32,
    next_reading: Moment,
    /// The names among `names` that have no room there and were asked for.
    kept: Kept,
    asks: Asks,
    /// Every name of another machine is in `names`.
    is_complete: bool,
    /// Names had no room since the watch began.
    has_left_out: bool,
    is_synced: bool,
    /// The bucket is another one than before, and the machines have not all written what is theirs again.
    is_new: bool,
    /// When what was not told again is given up.
    purge: Option<Moment>,
    round: u32,
    left_out: u64,
    changes: Vec<Change>,
}

impl Directory {
    /// A directory of at most `max_names` names and `max_rooms` rooms, and of [`GatewayOptions::asked`] names beyond.
    pub fn new(own: u64, max_names: usize, max_rooms: usize) -> Self {
        Self {
            own,
            names: NameMap::new(),
            machines: HashMap::new(),
            dead: HashMap::new(),
            ended: HashSet::new(),
            rooms: HashMap::new(),
            old_rooms: HashSet::new(),
            dead_rooms: Vec::new(),
            max_names,
            max_rooms,
            misses_rooms: false,
            reading: None,
            readings: 0,
            next_reading: Moment::ZERO,
            kept: Kept::new(GatewayOptions::asked(max_names)),
            asks: Asks::default(),
            is_complete: true,
            has_left_out: false,
            is_synced: false,
            is_new: false,
            purge: None,
            round: 0,
            left_out: 0,
            changes: Vec::new(),
        }
    }

    /// The changes since the last call, in order.
    pub fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Whether the watch has told all that there was.
    pub fn is_synced(&self) -> bool {
        self.is_synced
    }

    /// How many names are known.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether no name is known.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Entries that had no room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The machine of an incarnation that lives.
    pub fn machine(&self, incarnation: u64) -> Option<&MachineInfo> {
        self.machines.get(&incarnation).map(|machine| &machine.info)
    }

    /// The incarnations that live.
    pub fn machines(&self) -> impl Iterator<Item = (u64, &MachineInfo)> {
        self.machines.iter().map(|(incarnation, machine)| (*incarnation, &machine.info))
    }

    /// The names of one part of all, below [`PARTS`](super::name_map::PARTS), with their owners' incarnations. A name is always in the
    /// same part.
    pub fn part(&self, part: usize) -> impl Iterator<Item = (&str, u64)> {
        self.names.part(part).map(|(name, known)| (&**name, known.owner.incarnation))
    }

    /// Whether an incarnation lives.
    pub fn liveness(&self, incarnation: u64) -> Liveness {
        match () {
            () if self.machines.contains_key(&incarnation) => Liveness::Alive,
            () if self.dead.contains_key(&incarnation) || self.ended.contains(&incarnation) => Liveness::Dead,
            () => Liveness::Unknown,
        }
    }

    /// The owner of a name, and the revision.
    pub fn owner(&self, name: &str) -> Option<(Owner, u64)> {
        self.names.get(name).map(|known| (known.owner, known.revision))
    }

    /// The other incarnations with members in a room.
    pub fn interested(&self, room: &str) -> impl Iterator<Item = u64> + '_ {
        self.rooms.get(room).into_iter().flatten().copied().filter(|one| *one != self.own)
    }

    /// The machine has another incarnation.
    pub fn set_own(&mut self, own: u64, now: Moment) {
        let before = std::mem::replace(&mut self.own, own);
        self.machines.remove(&before);
        self.dead.insert(before, now + SWEEP_AFTER);
        for (room, members) in &mut self.rooms {
            if members.remove(&before) {
                self.dead_rooms.push((room.clone(), before));
            }
        }
    }

    /// The watch starts from the beginning. What it does not tell again until [`Directory::synced`] is gone; of a bucket that
    /// is new, only [`REFILL`] after it was told first, however often the watch starts in that time.
    pub fn begin(&mut self, is_new: bool) {
        self.is_synced = false;
        (self.misses_rooms, self.reading) = (false, None); // The watch tells of all rooms.
        self.has_left_out = false;
        if is_new {
            (self.is_new, self.purge) = (true, None);
        }
        self.round += 1;
        self.ended.clear();
        self.old_rooms.extend(self.rooms.drain().map(|(room, _)| room));
    }

    /// The watch has told everything.
    pub fn synced(&mut self, now: Moment) {
        self.is_synced = true;
        match self.purge {
            Some(purge) if now < purge => {}
            None if self.is_new => self.purge = Some(now + REFILL),
            _ => self.purge(now),
        }
        // Owners without a lease are dead: a lease is written before any name.
        let owners: HashSet<u64> = self.names.values().map(|known| known.owner.incarnation).collect();
        for owner in owners {
            if !self.machines.contains_key(&owner) && owner != self.own {
                self.dead.entry(owner).or_insert(now + SWEEP_AFTER);
            }
        }
        let live: Vec<u64> = self.machines.keys().copied().filter(|one| *one != self.own).collect();
        live.into_iter().for_each(|one| self.up(one));
        self.leave_rooms_of_the_dead();
        let mut rooms = std::mem::take(&mut self.old_rooms);
        rooms.extend(self.rooms.keys().cloned());
        self.changes.extend(rooms.into_iter().map(Change::Interest));
        if !self.has_left_out && !self.is_complete {
            self.is_complete = true;
            self.changes.push(Change::Complete(true));
        }
    }

    /// A lease is written before any room: who has none has ended, and its keys are to be deleted. Returns the rooms that such
    /// machines leave.
    fn leave_rooms_of_the_dead(&mut self) -> Vec<Box<str>> {
        let before = self.dead_rooms.len();
        for (room, members) in &mut self.rooms {
            members.retain(|one| {
                let is_live = self.machines.contains_key(one) || *one == self.own;
                if !is_live {
                    self.dead_rooms.push((room.clone(), *one));
                }
                is_live
            });
        }
        self.dead_rooms.iter().skip(before).map(|(room, _)| room.clone()).collect()
    }

    /// A name has no room. From now on names are asked for, until the watch begins again and all have room.
    pub fn leave_out(&mut self) {
        self.left_out += 1;
        self.has_left_out = true;
        if self.is_complete {
            self.is_complete = false;
            self.changes.push(Change::Complete(false));
        }
    }

    /// Gives up what a new bucket has not got again in time.
    pub fn tick(&mut self, now: Moment) {
        if self.is_synced && self.purge.is_some_and(|purge| now >= purge) {
            self.purge(now);
        }
    }

    fn purge(&mut self, now: Moment) {
        self.purge = None;
        self.is_new = false;
        let round = self.round;
        let gone: Vec<u64> =
            self.machines.iter().filter(|(_, machine)| machine.round != round).map(|(one, _)| *one).collect();
        // This machine's own lease is its own business.
        let gone: Vec<u64> = gone.into_iter().filter(|one| *one != self.own).collect();
        gone.into_iter().for_each(|one| self.lease_gone(one, now));
        let old: Vec<Box<str>> = self
            .names
            .iter()
            .filter(|(_, known)| known.round != round)
            .map(|(name, _)| name.clone())
            .collect();
        old.iter().for_each(|name| self.forget(name));
        // In the first seconds of a new bucket a machine may write a room and end, unknown to others.
        let left = self.leave_rooms_of_the_dead();
        self.changes.extend(left.into_iter().map(Change::Interest));
    }

    /// Tells of an incarnation and of its names.
    fn up(&mut self, incarnation: u64) {
        self.changes.push(Change::Up(incarnation));
        for (name, known) in &mut self.names {
            if known.owner.incarnation == incarnation && !known.is_placed {
                known.is_placed = true;
                self.changes.push(Change::Place(name.clone(), incarnation, known.revision));
            }
        }
    }

    /// Tells of an incarnation, of its names and of its rooms again: it had no link.
    pub fn tell_again(&mut self, incarnation: u64) {
        if !self.is_synced || incarnation == self.own || !self.machines.contains_key(&incarnation) {
            return; // It is told of later, or it has ended.
        }
        for known in self.names.values_mut() {
            known.is_placed &= known.owner.incarnation != incarnation;
        }
        self.up(incarnation);
        let rooms = self.rooms.iter().filter(|(_, members)| members.contains(&incarnation));
        self.changes.extend(rooms.map(|(room, _)| Change::Interest(room.clone())));
    }

    /// A lease was written.
    pub fn lease(&mut self, incarnation: u64, info: MachineInfo) {
        let round = self.round;
        let is_new = self.machines.insert(incarnation, Machine { info, round }).is_none();
        self.dead.remove(&incarnation);
        self.ended.remove(&incarnation);
        if is_new && self.is_synced && incarnation != self.own {
            self.up(incarnation);
        }
    }

    /// A lease has expired, or was deleted.
    pub fn lease_gone(&mut self, incarnation: u64, now: Moment) {
        self.dead.insert(incarnation, now + SWEEP_AFTER);
        if self.machines.remove(&incarnation).is_none() {
            return;
        }
        for (name, known) in &mut self.names {
            if known.owner.incarnation == incarnation && known.is_placed {
                known.is_placed = false;
                self.changes.push(Change::Displace(name.clone()));
            }
        }
        for (room, members) in &mut self.rooms {
            if members.remove(&incarnation) {
                self.changes.push(Change::Interest(room.clone()));
                self.dead_rooms.push((room.clone(), incarnation));
            }
        }
        if incarnation != self.own {
            self.changes.push(Change::Down(incarnation));
        }
    }

    /// A name was written.
    pub fn name(&mut self, name: &str, revision: u64, owner: Owner, now: Moment) {
        let is_live = self.machines.contains_key(&owner.incarnation);
        if self.is_synced && !is_live && owner.incarnation != self.own {
            self.dead.entry(owner.incarnation).or_insert(now + SWEEP_AFTER);
        }
        let before = self.names.get(name).copied();
        // A watch that starts again tells old news.
        if before.is_some_and(|known| known.revision > revision && known.round == self.round) {
            return;
        }
        let has_room = self.names.len() - self.kept.len() < self.max_names;
        self.asks.told(name, (revision, Some(owner)), has_room);
        if before.is_none() && !has_room {
            self.leave_out();
            if !is_live && owner.incarnation != self.own {
                self.ended.insert(owner.incarnation);
            }
            return;
        }
        if has_room {
            self.kept.remove(name);
        }
        self.put(name, revision, owner);
    }

    fn put(&mut self, name: &str, revision: u64, owner: Owner) {
        let is_live = self.machines.contains_key(&owner.incarnation);
        let before = self.names.get(name).copied();
        let was_placed = before.is_some_and(|known| known.is_placed);
        let is_same = before.is_some_and(|known| known.revision == revision);
        let is_elsewhere = is_live && owner.incarnation != self.own;
        let is_placed = is_elsewhere && (self.is_synced || (was_placed && is_same));
        let known = Known { revision, owner, is_placed, round: self.round };
        self.names.insert(name.into(), known);
        if is_placed && !(was_placed && is_same) {
            self.changes.push(Change::Place(name.into(), owner.incarnation, revision));
        } else if was_placed && !is_placed {
            self.changes.push(Change::Displace(name.into()));
        }
    }

    /// A name was deleted.
    pub fn name_gone(&mut self, name: &str, revision: u64) {
        self.asks.told(name, (revision, None), true);
        if self.names.get(name).is_some_and(|known| known.revision < revision) {
            self.forget(name);
        }
    }

    fn forget(&mut self, name: &str) {
        self.kept.remove(name);
        if self.names.remove(name).is_some_and(|known| known.is_placed) {
            self.changes.push(Change::Displace(name.into()));
        }
    }

    /// A worker asks where a name is. [`Directory::answers`] has the answer, at once or when the name was read.
    pub fn ask(&mut self, name: &str, worker: usize, now: Moment) {
        if let Some(known) = self.names.get(name) {
            self.asks.answer(worker, name, known.place());
        } else if self.asks.is_nowhere(name, now) {
            self.asks.answer(worker, name, Answer::Nowhere);
        } else {
            self.asks.ask(name, worker);
        }
    }

    /// The names to read at the leader now, which [`Directory::was_read`] is told about. `can_read`: the leader can be asked; if
    /// not, all who wait are told so.
    pub fn reads(&mut self, can_read: bool) -> Vec<Box<str>> {
        self.asks.reads(can_read && self.is_synced)
    }

    /// What the leader says of a name. `None`: it gave no answer. `is_used`: whether a name that was asked for has been looked up
    /// since the last call for it.
    pub fn was_read(
        &mut self,
        name: &str,
        read: Option<News>,
        now: Moment,
        is_used: impl FnMut(&str) -> bool,
    ) {
        let Some(told) = self.asks.done(name) else { return };
        // The watch may have told of a later change while the leader was asked.
        let is_later = |(revision, _): News| read.is_none_or(|(at, _)| revision > at);
        let news = told.filter(|told| is_later(*told) && !mutant("ask-old-answer")).or(read);
        if let (None, Some((revision, Some(owner)))) = (self.names.get(name), news)
            && owner.incarnation != self.own
        {
            self.keep(name, revision, owner, now, is_used);
        }
        let answer = match (self.names.get(name), news) {
            (Some(known), _) => known.place(),
            (None, Some((revision, Some(owner)))) if self.is_elsewhere(owner) => {
                Answer::At(owner.incarnation, revision)
            }
            (None, Some(_)) => {
                self.asks.want(name, now);
                Answer::Nowhere
            }
            (None, None) => Answer::Unanswered,
        };
        self.asks.answered(name, answer);
    }

    fn is_elsewhere(&self, owner: Owner) -> bool {
        owner.incarnation != self.own && self.machines.contains_key(&owner.incarnation)
    }

    /// Keeps a name that was asked for, in the place of another one.
    fn keep(
        &mut self,
        name: &str,
        revision: u64,
        owner: Owner,
        now: Moment,
        mut is_used: impl FnMut(&str) -> bool,
    ) {
        while self.kept.is_full() {
            let Some(out) = self.kept.evict(&mut is_used) else { return };
            self.asks.figures.evicted += 1;
            self.forget(&out);
        }
        if self.is_synced && !self.machines.contains_key(&owner.incarnation) {
            self.dead.entry(owner.incarnation).or_insert(now + SWEEP_AFTER);
        }
        self.kept.insert(name);
        self.put(name, revision, owner);
    }

    /// The answers for workers since the last call, in order.
    pub fn answers(&mut self) -> Vec<(usize, Box<str>, Answer)> {
        self.asks.answers()
    }

    /// How asking goes. With how many names are kept.
    pub fn ask_figures(&self) -> (AskFigures, usize) {
        (self.asks.figures(), self.kept.len())
    }

    /// A machine has members in a room, or none any more. False: there is no place for another room.
    pub fn room(&mut self, room: &str, incarnation: u64, has_members: bool) -> bool {
        if has_members && self.rooms.len() >= self.max_rooms && !self.rooms.contains_key(room) {
            self.misses_rooms = true;
            return false;
        }
        if let (false, Some((_, left))) = (has_members, &mut self.reading) {
            left.insert((room.into(), incarnation));
            if left.len() > self.max_rooms {
                (self.reading, self.misses_rooms) = (None, true); // Too many: it is read again later.
            }
        }
        // A lease is written before any room: the write was late, and nobody deletes its key.
        let is_live = self.machines.contains_key(&incarnation) || incarnation == self.own;
        if has_members && self.is_synced && !self.is_new && !is_live {
            self.dead_rooms.push((room.into(), incarnation));
            return true;
        }
        let has_changed = if has_members {
            self.rooms.entry(room.into()).or_default().insert(incarnation)
        } else {
            self.rooms.get_mut(room).is_some_and(|members| members.remove(&incarnation))
        };
        if has_changed && self.is_synced {
            self.changes.push(Change::Interest(room.into()));
        }
        if self.rooms.get(room).is_some_and(HashSet::is_empty) {
            self.rooms.remove(room);
        }
        true
    }

    /// Begins a reading of all rooms, if some had no place and there is one now. Returns its number. Tell of what it reads by
    /// [`Directory::room_read`] and of its end by [`Directory::rooms_read`].
    pub fn rooms_to_read(&mut self, now: Moment) -> Option<u32> {
        let is_due = self.is_synced && self.reading.is_none() && now >= self.next_reading;
        if !is_due || !self.misses_rooms || self.rooms.len() >= self.max_rooms {
            return None;
        }
        self.misses_rooms = false;
        self.readings = self.readings.wrapping_add(1);
        self.reading = Some((self.readings, HashSet::new()));
        Some(self.readings)
    }

    /// A reading tells that a machine has members in a room. What the watch has told since it began is newer. `is_old`: the watch
    /// is further than this key, so it has told of its machine if that lives.
    pub fn room_read(&mut self, reading: u32, (room, incarnation): (&str, u64), is_old: bool) {
        let Some((number, left)) = &self.reading else { return };
        if *number != reading || left.contains(&(Box::from(room), incarnation)) {
            return;
        }
        if incarnation == self.own || self.machines.contains_key(&incarnation) {
            self.room(room, incarnation, true);
        } else if is_old {
            self.dead_rooms.push((room.into(), incarnation));
        }
    }

    /// A reading has ended. Not done: the rooms are read again later.
    pub fn rooms_read(&mut self, reading: u32, is_done: bool, now: Moment) {
        if self.reading.take_if(|(number, _)| *number == reading).is_some() {
            self.misses_rooms |= !is_done;
            self.next_reading = now + READ_ROOMS_EVERY;
        }
    }

    /// Rooms with members at dead machines, at most `limit`: to be deleted.
    pub fn dead_rooms(&mut self, limit: usize) -> Vec<(Box<str>, u64)> {
        let from = self.dead_rooms.len().saturating_sub(limit);
        self.dead_rooms.split_off(from)
    }

    /// Names of dead machines that are due to be deleted, in their revisions, at most `limit`. Their deletion comes back by
    /// the watch. Only for a machine that may seize them ([`Lease::may_seize`](super::lease::Lease::may_seize)).
    pub fn sweep(&mut self, now: Moment, limit: usize) -> Vec<(Box<str>, Option<u64>)> {
        if limit == 0 || !self.is_synced || !self.dead.values().any(|from| now >= *from) {
            return Vec::new();
        }
        let dead: HashSet<u64> =
            self.dead.iter().filter(|(_, from)| now >= **from).map(|(one, _)| *one).collect();
        let mut swept: Vec<_> = Vec::new();
        for (name, known) in &self.names {
            let owner = known.owner.incarnation;
            if dead.contains(&owner) || (mutant("cluster-sweeps-live") && owner != self.own) {
                let is_any = mutant("cluster-sweeps-any-revision");
                swept.push((name.clone(), (!is_any).then_some(known.revision)));
                if swept.len() >= limit {
                    break;
                }
            }
        }
        if swept.is_empty() {
            // Nothing is left of them. A name that comes late makes its owner dead again.
            if self.left_out > 0 {
                self.ended.extend(&dead);
            }
            self.dead.retain(|one, _| !dead.contains(one));
        } else if swept.len() < limit {
            // All deletions are on their way: look again later.
            self.dead
                .iter_mut()
                .filter(|(one, _)| dead.contains(one))
                .for_each(|(_, from)| *from = now + SWEEP_AFTER);
        }
        swept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Owner = Owner { incarnation: 2, claim: 1, mac: [0; 16] };

    fn info(machine: &str) -> MachineInfo {
        MachineInfo { machine: machine.to_owned(), is_draining: false }
    }

    fn synced() -> Directory {
        let mut directory = Directory::new(1, 100, 100);
        directory.begin(false);
        directory.lease(1, info("a"));
        directory.lease(2, info("b"));
        directory.synced(Moment::ZERO);
        assert_eq!(directory.changes(), [Change::Up(2)]);
        directory
    }

    #[test]
    fn a_room_that_had_no_place_gets_one_when_another_room_ends() {
        let mut directory = Directory::new(1, 100, 2);
        directory.begin(false);
        (1..=2).for_each(|one| directory.lease(one, info("m")));
        directory.synced(Moment::ZERO);
        assert!(directory.room("r", 2, true) && directory.room("s", 2, true));
        assert!(!directory.room("t", 2, true) && !directory.room("u", 2, true));
        assert_eq!(directory.rooms_to_read(Moment::ZERO), None, "no place is free");
        directory.room("r", 2, false);
        directory.changes();
        let reading = directory.rooms_to_read(Moment::ZERO).unwrap();
        assert_eq!(directory.rooms_to_read(Moment::ZERO), None, "one at a time");
        // It was asked for before the watch told that the members have left.
        directory.room("u", 2, false);
        directory.room_read(reading, ("u", 2), true);
        directory.room_read(reading, ("v", 3), false); // A machine that the watch has not told of yet.
        directory.room_read(reading, ("w", 4), true); // A dead one.
        directory.room_read(reading + 1, ("x", 2), true);
        assert!(directory.changes().is_empty());
        assert_eq!(directory.dead_rooms(9), [("w".into(), 4)]);
        directory.room_read(reading, ("t", 2), true);
        assert_eq!(directory.changes(), [Change::Interest("t".into())]);
        assert_eq!(directory.interested("t").collect::<Vec<_>>(), [2]);
        // Another one has no place again. The next reading comes later, when there is one.
        directory.room_read(reading, ("y", 2), true);
        directory.rooms_read(reading, true, Moment::ZERO);
        directory.room("t", 2, false);
        assert_eq!(directory.rooms_to_read(READ_ROOMS_EVERY - Moment::from_nanos(1)), None);
        let reading = directory.rooms_to_read(READ_ROOMS_EVERY).unwrap();
        // One that fails comes again, and one during which too many leave.
        directory.rooms_read(reading, false, Moment::ZERO);
        directory.rooms_to_read(READ_ROOMS_EVERY).unwrap();
        (0..3).for_each(|room: u8| assert!(directory.room(&room.to_string(), 2, false)));
        assert!(directory.rooms_to_read(READ_ROOMS_EVERY).is_some());
        // A watch that begins again tells of all.
        directory.begin(false);
        directory.synced(Moment::ZERO);
        assert_eq!(directory.rooms_to_read(READ_ROOMS_EVERY), None);
    }

    #[test]
    fn names_are_placed_when_all_is_known_whatever_the_order_of_lease_and_name() {
        let mut directory = Directory::new(1, 100, 100);
        directory.begin(false);
        directory.name("ben", 5, OWNER, Moment::ZERO);
        directory.lease(2, info("b"));
        assert!(directory.changes().is_empty());
        directory.synced(Moment::ZERO);
        assert_eq!(directory.changes(), [Change::Up(2), Change::Place("ben".into(), 2, 5)]);
    }

    #[test]
    fn a_dead_machines_names_are_displaced_and_swept_by_revision() {
        let mut directory = synced();
        directory.name("ben", 5, OWNER, Moment::ZERO);
        assert_eq!(directory.changes(), [Change::Place("ben".into(), 2, 5)]);
        directory.lease_gone(2, Duration::from_secs(10));
        assert_eq!(directory.changes(), [Change::Displace("ben".into()), Change::Down(2)]);
        assert_eq!(directory.liveness(2), Liveness::Dead);
        assert_eq!(directory.owner("ben"), Some((OWNER, 5)), "its revision is needed to take it");
        assert!(directory.sweep(Duration::from_secs(11), 10).is_empty());
        assert_eq!(directory.sweep(Duration::from_secs(12), 10), [("ben".into(), Some(5))]);
        directory.name_gone("ben", 6);
        assert!(directory.sweep(Duration::from_secs(14), 10).is_empty());
        assert!(directory.is_empty());
    }

    #[test]
    fn many_names_of_a_dead_machine_are_swept_without_a_pause() {
        let mut directory = Directory::new(1, 1_000, 1);
        directory.begin(false);
        directory.lease(1, info("a"));
        directory.lease(2, info("b"));
        directory.synced(Moment::ZERO);
        directory.name("own", 1, Owner { incarnation: 1, ..OWNER }, Moment::ZERO);
        (0..600_u64).for_each(|number| directory.name(&number.to_string(), 2 + number, OWNER, Moment::ZERO));
        directory.lease_gone(2, Moment::ZERO);
        let gone = |directory: &mut Directory, limit| {
            let swept = directory.sweep(SWEEP_AFTER, limit);
            swept.iter().for_each(|(name, revision)| directory.name_gone(name, revision.unwrap() + 1));
            swept.len()
        };
        // No room, and then as much as there is room for.
        assert_eq!([0, 256, 256, 256].map(|limit| gone(&mut directory, limit)), [0, 256, 256, 88]);
        assert_eq!(gone(&mut directory, 256), 0);
        assert_eq!(directory.len(), 1);
    }

    #[test]
    fn what_was_swept_is_looked_at_again_later() {
        let mut directory = synced();
        directory.name("ben", 5, OWNER, Moment::ZERO);
        directory.lease_gone(2, Moment::ZERO);
        assert_eq!(directory.sweep(SWEEP_AFTER, 10).len(), 1);
        assert_eq!(directory.sweep(SWEEP_AFTER, 10).len(), 0, "the deletion is on its way");
        assert_eq!(directory.sweep(2 * SWEEP_AFTER, 10).len(), 1, "it had no answer");
    }

    #[test]
    fn a_name_without_a_lease_is_not_placed() {
        let mut directory = synced();
        directory.name("ben", 5, Owner { incarnation: 9, ..OWNER }, Moment::ZERO);
        assert!(directory.changes().is_empty());
        assert_eq!(directory.liveness(9), Liveness::Dead);
    }

    #[test]
    fn a_name_that_comes_to_this_machine_is_displaced() {
        let mut directory = synced();
        directory.name("ben", 5, OWNER, Moment::ZERO);
        directory.changes();
        directory.name("ben", 6, Owner { incarnation: 1, ..OWNER }, Moment::ZERO);
        assert_eq!(directory.changes(), [Change::Displace("ben".into())]);
    }

    #[test]
    fn what_a_new_watch_does_not_tell_is_gone() {
        let mut directory = synced();
        directory.name("ben", 5, OWNER, Moment::ZERO);
        directory.name("eve", 6, OWNER, Moment::ZERO);
        directory.changes();
        directory.begin(false);
        directory.lease(1, info("a"));
        directory.lease(2, info("b"));
        directory.name("eve", 6, OWNER, Moment::ZERO);
        assert!(directory.changes().is_empty(), "what is placed stays placed");
        directory.synced(Moment::ZERO);
        assert_eq!(directory.changes(), [Change::Displace("ben".into()), Change::Up(2)]);
    }

    #[test]
    fn a_machine_without_a_link_is_told_of_again_with_names_and_rooms() {
        let mut directory = synced();
        directory.name("ben", 5, OWNER, Moment::ZERO);
        directory.room("lobby", 2, true);
        directory.changes();
        directory.tell_again(2);
        let again = [Change::Up(2), Change::Place("ben".into(), 2, 5), Change::Interest("lobby".into())];
        assert_eq!(directory.changes(), again);
        directory.lease_gone(2, Moment::ZERO);
        directory.changes();
        directory.tell_again(2);
        assert!(directory.changes().is_empty(), "it has ended");
    }

    #[test]
    fn a_new_bucket_is_given_time_to_fill() {
        let mut directory = synced();
        directory.name("ben", 5, OWNER, Moment::ZERO);
        directory.name("eve", 6, OWNER, Moment::ZERO);
        directory.changes();
        directory.begin(true);
        directory.synced(Moment::ZERO);
        directory.tick(REFILL - Duration::from_millis(1));
        assert_eq!(directory.changes(), [Change::Up(2)]);
        assert_eq!(directory.liveness(2), Liveness::Alive);
        // A smaller revision than before: it counts from 1 again.
        directory.lease(2, info("b"));
        directory.name("ben", 2, OWNER, Moment::ZERO);
        assert_eq!(directory.changes(), [Change::Place("ben".into(), 2, 2)]);
        directory.tick(REFILL);
        assert_eq!(directory.changes(), [Change::Displace("eve".into())]);
    }

    #[test]
    fn a_watch_that_starts_again_does_not_shorten_the_time_to_fill() {
        let mut directory = synced();
        directory.name("ben", 5, OWNER, Moment::ZERO);
        directory.changes();
        directory.begin(true);
        directory.begin(false); // Before it has told everything.
        directory.synced(Moment::ZERO);
        directory.begin(false);
        directory.synced(REFILL / 2);
        assert!(!directory.changes().contains(&Change::Displace("ben".into())));
        directory.tick(REFILL - Duration::from_millis(1));
        assert_eq!((directory.liveness(2), directory.len()), (Liveness::Alive, 1));
        directory.tick(REFILL);
        assert_eq!((directory.liveness(2), directory.len()), (Liveness::Dead, 0));
        // The next watch is one of a bucket that is known.
        directory.name("ben", 5, OWNER, REFILL);
        directory.begin(false);
        directory.synced(REFILL);
        assert!(directory.is_empty());
    }

    #[test]
    fn an_old_deletion_deletes_nothing_newer() {
        let mut directory = synced();
        directory.name("ben", 5, OWNER, Moment::ZERO);
        directory.name_gone("ben", 4);
        assert_eq!(directory.len(), 1);
    }

    #[test]
    fn rooms_tell_of_other_machines_with_members() {
        let mut directory = synced();
        directory.room("lobby", 2, true);
        directory.room("lobby", 1, true);
        assert_eq!(directory.changes(), [Change::Interest("lobby".into()), Change::Interest("lobby".into())]);
        assert_eq!(directory.interested("lobby").collect::<Vec<_>>(), [2]);
        directory.lease_gone(2, Moment::ZERO);
        assert_eq!(directory.interested("lobby").count(), 0);
    }

    #[test]
    fn the_number_of_names_is_bounded() {
        let mut directory = Directory::new(1, 1, 1);
        directory.name("a", 1, OWNER, Moment::ZERO);
        directory.name("b", 2, OWNER, Moment::ZERO);
        assert_eq!((directory.len(), directory.left_out()), (1, 1));
    }

    /// A directory with room for one name, which `a` has, and for one more that is asked for.
    fn full() -> Directory {
        let mut directory = Directory::new(1, 1, 1);
        directory.begin(false);
        directory.lease(1, info("a"));
        directory.lease(2, info("b"));
        directory.name("a", 1, OWNER, Moment::ZERO);
        directory.synced(Moment::ZERO);
        directory.name("b", 2, OWNER, Moment::ZERO);
        let told = directory.changes();
        assert_eq!(told, [Change::Up(2), Change::Place("a".into(), 2, 1), Change::Complete(false)]);
        directory
    }

    /// Asks for a name, and the leader says this.
    fn read(directory: &mut Directory, name: &str, says: Option<News>) -> Answer {
        directory.ask(name, 0, Moment::ZERO);
        assert_eq!(directory.reads(true), [name.into()]);
        directory.was_read(name, says, Moment::ZERO, |_| false);
        directory.answers().remove(0).2
    }

    #[test]
    fn a_name_without_room_is_asked_for_and_kept_until_another_one_is() {
        let mut directory = full();
        assert_eq!(read(&mut directory, "b", Some((2, Some(OWNER)))), Answer::At(2, 2));
        assert_eq!(directory.changes(), [Change::Place("b".into(), 2, 2)]);
        // It is known now, for all.
        directory.ask("b", 1, Moment::ZERO);
        assert_eq!(directory.answers(), [(1, "b".into(), Answer::At(2, 2))]);
        assert_eq!(read(&mut directory, "c", Some((3, Some(OWNER)))), Answer::At(2, 3));
        assert_eq!(directory.changes(), [Change::Displace("b".into()), Change::Place("c".into(), 2, 3)]);
        // The watch corrects it, and takes it away.
        directory.name("c", 4, OWNER, Moment::ZERO);
        assert_eq!(directory.changes(), [Change::Place("c".into(), 2, 4)]);
        directory.name_gone("c", 5);
        assert_eq!(directory.changes(), [Change::Displace("c".into())]);
        let (figures, kept) = directory.ask_figures();
        assert_eq!((figures.asked, figures.found, figures.evicted, kept), (2, 2, 1, 0));
    }

    #[test]
    fn a_name_that_was_asked_for_moves_where_there_is_room() {
        let mut directory = full();
        read(&mut directory, "b", Some((2, Some(OWNER))));
        directory.name_gone("a", 5);
        directory.name("b", 6, OWNER, Moment::ZERO);
        assert_eq!((directory.ask_figures().1, directory.len()), (0, 1));
        // The place is taken.
        let before = directory.left_out();
        directory.name("c", 7, OWNER, Moment::ZERO);
        assert_eq!(directory.left_out(), before + 1);
    }

    #[test]
    fn what_the_watch_tells_while_the_leader_is_asked_counts_if_it_is_later() {
        let mut directory = full();
        directory.ask("b", 0, Moment::ZERO);
        directory.reads(true);
        directory.name_gone("b", 9);
        directory.was_read("b", Some((2, Some(OWNER))), Moment::ZERO, |_| false);
        assert_eq!(directory.answers(), [(0, "b".into(), Answer::Nowhere)]);
        assert!(directory.changes().is_empty());
        directory.ask("c", 0, Moment::ZERO);
        directory.reads(true);
        directory.name("c", 3, OWNER, Moment::ZERO);
        directory.was_read("c", Some((4, None)), Moment::ZERO, |_| false);
        assert_eq!(directory.answers(), [(0, "c".into(), Answer::Nowhere)]);
        // Without an answer of the leader, what the watch has told is one.
        directory.ask("d", 0, Moment::ZERO);
        directory.reads(true);
        directory.name("d", 10, OWNER, Moment::ZERO);
        directory.was_read("d", None, Moment::ZERO, |_| false);
        assert_eq!(directory.answers(), [(0, "d".into(), Answer::At(2, 10))]);
    }

    #[test]
    fn a_name_that_was_nowhere_is_read_when_the_watch_tells_of_it_or_after_a_while() {
        let mut directory = full();
        assert_eq!(read(&mut directory, "x", Some((0, None))), Answer::Nowhere);
        directory.ask("x", 0, Moment::ZERO);
        assert!(directory.reads(true).is_empty());
        assert_eq!(directory.answers(), [(0, "x".into(), Answer::Nowhere)]);
        directory.ask("x", 0, super::super::asks::NOWHERE_FOR);
        assert_eq!(directory.reads(true), ["x".into()]);
        directory.was_read("x", Some((0, None)), super::super::asks::NOWHERE_FOR, |_| false);
        directory.answers();
        directory.name("x", 8, OWNER, Moment::ZERO);
        assert_eq!(directory.reads(true), ["x".into()]);
        directory.was_read("x", Some((8, Some(OWNER))), Moment::ZERO, |_| false);
        assert_eq!(directory.changes(), [Change::Place("x".into(), 2, 8)]);
        assert!(directory.answers().is_empty(), "nobody waits");
    }

    #[test]
    fn a_name_of_this_or_of_a_dead_machine_is_at_no_other_one() {
        let mut directory = full();
        let own = Owner { incarnation: 1, ..OWNER };
        let dead = Owner { incarnation: 9, ..OWNER };
        assert_eq!(read(&mut directory, "own", Some((3, Some(own)))), Answer::Nowhere);
        assert_eq!(read(&mut directory, "late", Some((4, Some(dead)))), Answer::Nowhere);
        assert!(directory.changes().is_empty());
        directory.lease(9, info("c"));
        assert_eq!(directory.changes(), [Change::Up(9), Change::Place("late".into(), 9, 4)]);
        assert_eq!(read(&mut directory, "y", None), Answer::Unanswered);
        directory.ask("z", 3, Moment::ZERO);
        assert!(directory.reads(false).is_empty());
        assert_eq!(directory.answers(), [(3, "z".into(), Answer::Unanswered)]);
    }

    #[test]
    fn the_table_is_complete_again_when_a_watch_tells_only_what_has_room() {
        let mut directory = full();
        read(&mut directory, "b", Some((2, Some(OWNER))));
        directory.name_gone("a", 3);
        directory.changes();
        assert!(!directory.is_complete);
        directory.begin(false);
        directory.lease(1, info("a"));
        directory.lease(2, info("b"));
        directory.name("b", 2, OWNER, Moment::ZERO);
        directory.synced(Moment::ZERO);
        assert!(directory.changes().contains(&Change::Complete(true)));
        assert_eq!((directory.len(), directory.ask_figures().1), (1, 0));
        directory.name("c", 4, OWNER, Moment::ZERO);
        assert_eq!(directory.changes(), [Change::Complete(false)]);
    }

    #[test]
    fn the_number_of_rooms_is_bounded() {
        let mut directory = Directory::new(1, 1, 1);
        assert!(directory.room("hall", 2, true) && directory.room("hall", 3, true));
        assert!(!directory.room("lobby", 2, true));
        assert!(directory.room("hall", 2, false) && directory.room("hall", 3, false));
        assert!(directory.room("lobby", 2, true));
    }

    #[test]
    fn the_owner_of_a_name_without_room_is_known_to_be_dead() {
        let mut directory = Directory::new(1, 1, 1);
        directory.begin(false);
        let owned_by = |incarnation| Owner { incarnation, ..OWNER };
        directory.name("a", 1, owned_by(1), Moment::ZERO);
        directory.name("b", 2, owned_by(2), Moment::ZERO); // Its lease is told later.
        directory.name("c", 3, owned_by(3), Moment::ZERO); // It has none.
        directory.lease(1, info("a"));
        directory.lease(2, info("b"));
        directory.synced(Moment::ZERO);
        assert_eq!((directory.liveness(2), directory.liveness(3)), (Liveness::Alive, Liveness::Dead));
        directory.lease_gone(2, Moment::ZERO);
        let later = Moment::ZERO + SWEEP_AFTER;
        assert!(directory.sweep(later, 10).is_empty() && directory.sweep(later + SWEEP_AFTER, 10).is_empty());
        assert_eq!(directory.liveness(2), Liveness::Dead, "its name cannot be swept from here, but claimed");
    }
}
