//! What the watch of the bucket says: who owns which name, and which machines live. Without I/O and without a clock, except
//! for the times that it is told.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::asks::{Answer, AskFigures, Asks, Kept};
use super::link::Moment;
use super::name_map::NameMap;
pub use super::owner::{Mac, News, Owner, SEQUENCE};
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

    /// Whether an incarnation of another machine has no lease. A lease is written before any name or room.
    fn has_ended(&self, incarnation: u64) -> bool {
        incarnation != self.own && !self.machines.contains_key(&incarnation)
    }

    /// The names of this incarnation are to be swept, if it has ended.
    fn sweep_later(&mut self, incarnation: u64, now: Moment) {
        if self.is_synced && self.has_ended(incarnation) {
            self.dead.entry(incarnation).or_insert(now + SWEEP_AFTER);
        }
    }

    /// The owner of a name, and the revision.
    pub fn owner(&self, name: &str) -> Option<(Owner, u64)> {
        self.names.get(name).map(|known| (known.owner, known.revision))
    }

    /// Whether the name's entry is from the time since the watch began: told by it, or written by this machine. In the first
    /// seconds of a new bucket, entries from before stay, and may be gone from the bucket.
    pub fn is_told(&self, name: &str) -> bool {
        self.names.get(name).is_some_and(|known| known.round == self.round)
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

    /// The bucket is new. Its watch begins soon.
    pub fn bucket_is_new(&mut self) {
        self.asks.watch_begins();
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
        self.asks.watch_begins();
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
        owners.into_iter().for_each(|owner| self.sweep_later(owner, now));
        let live: Vec<u64> = self.machines.keys().copied().filter(|one| *one != self.own).collect();
        live.into_iter().for_each(|one| self.up(one));
        // In a new bucket a lease may be written a while after the rooms. What belongs to dead machines is purged later.
        if !self.is_new {
            self.leave_rooms_of_the_dead();
        }
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
        self.up_with_rooms(incarnation);
    }

    /// Tells of an incarnation, of its names and of its rooms.
    fn up_with_rooms(&mut self, incarnation: u64) {
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
            self.up_with_rooms(incarnation); // In a new bucket its rooms may be written before its lease.
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
        self.sweep_later(owner.incarnation, now);
        let before = self.names.get(name);
        // A watch that starts again tells old news.
        if before.is_some_and(|known| known.revision > revision && known.round == self.round) {
            return;
        }
        let is_new = before.is_none();
        let has_room = self.names.len() - self.kept.len() < self.max_names;
        self.asks.told(name, (revision, Some(owner)), has_room);
        if is_new && !has_room {
            self.leave_out();
            if self.has_ended(owner.incarnation) {
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
        let before = self.names.get(name);
        let was_placed = before.is_some_and(|known| known.is_placed);
        let is_same = before.is_some_and(|known| known.revision == revision);
        let is_placed = self.is_elsewhere(owner) && (self.is_synced || (was_placed && is_same));
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
    /// since the last call for it. False: the watch has begun again meanwhile. The answer may be that of another bucket and does
    /// not count, and the name is read once more.
    pub fn was_read(
        &mut self,
        name: &str,
        read: Option<News>,
        now: Moment,
        is_used: impl FnMut(&str) -> bool,
    ) -> bool {
        let Some(told) = self.asks.done(name) else { return false };
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
        true
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
        self.sweep_later(owner.incarnation, now);
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
        if has_members && self.is_synced && !self.is_new && self.has_ended(incarnation) {
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
        if !self.has_ended(incarnation) {
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
mod tests;
