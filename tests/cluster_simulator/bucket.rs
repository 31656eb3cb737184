//! The bucket of the cluster: compare-and-set at a leader, keys that expire, and a log that watches read in order. It may be
//! lost; then it is made again, empty, and its revisions count from 1 again behind another mark, as in `src/cluster/nats.rs`. One
//! thing differs: NATS compares sequences without their mark, and two of them may be equal by chance.

use corelane::cluster::directory::{MachineInfo, Owner, SEQUENCE};
use corelane::cluster::keys::{self, Key};
use corelane::cluster::lease::TTL;
use corelane::cluster::names::{Action, Operation, Outcome};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the watch says.
#[derive(Clone, Debug)]
pub enum Entry {
    Name(Box<str>, u64, Option<Owner>),
    Lease(u64, u64, Option<MachineInfo>),
    Room(String, u64, bool),
}

/// What a machine asks the leader for.
#[derive(Clone, Debug)]
pub enum Ask {
    Operate(Operation),
    /// A name that a worker asks for.
    Find(Box<str>),
    /// The lease of an incarnation, if its last revision is this one; when it was sent.
    Renew(u64, MachineInfo, u64, Duration),
    ReadLease(u64),
    Sweep(Box<str>, Option<u64>),
    EndLease(u64),
    Room(String, u64, bool),
    /// The key of a room at a machine that has ended.
    SweepRoom(String, u64),
}

/// Rule 14: a key is a subject of NATS whatever the names are, and says the same again; so does a value.
fn check_key(key: &Key) {
    let text = key.text();
    let is_plain = |token: &str| keys::is_label(token) || token.len() > 64;
    assert!(text.split('.').all(is_plain) && !text.contains(['*', '>', ' ']), "{text} is no key");
    assert_eq!(Key::read(&text).as_ref(), Some(key));
}

/// A revision with the mark of a bucket.
pub fn with_mark(revision: u64, mark: u64) -> u64 {
    mark << 40 | revision & SEQUENCE
}

/// NATS compares sequences without the bucket's mark.
fn is_same(expected: u64, revision: u64) -> bool {
    expected & SEQUENCE == revision & SEQUENCE
}

#[derive(Default)]
pub struct Bucket {
    names: BTreeMap<Box<str>, (Option<Owner>, u64)>,
    leases: BTreeMap<u64, (MachineInfo, u64, Duration)>,
    /// The revisions of the markers of leases that have ended.
    ended: BTreeMap<u64, u64>,
    rooms: BTreeMap<(String, u64), ()>,
    last: u64,
    pub log: Vec<Entry>,
    /// How often it was lost before.
    pub generation: u64,
    /// It is lost, and not there again.
    pub is_lost: bool,
    /// The upper bits of its revisions.
    mark: u64,
}

impl Bucket {
    fn next(&mut self) -> u64 {
        self.last += 1;
        with_mark(self.last, self.mark)
    }

    /// It is gone with everything in it. The next one has this mark.
    pub fn lose(&mut self, mark: u64) {
        let generation = self.generation + 1;
        *self = Self { generation, is_lost: true, mark, ..Self::default() };
    }

    fn put(&mut self, name: &str, owner: Option<Owner>) -> u64 {
        check_key(&Key::Name(name.to_owned()));
        assert_eq!(owner, owner.and_then(|owner| keys::read_owner(keys::owner_value(&owner).as_bytes())));
        let revision = self.next();
        self.names.insert(name.into(), (owner, revision));
        self.log.push(Entry::Name(name.into(), revision, owner));
        revision
    }

    pub fn expire(&mut self, now: Duration) {
        let gone: Vec<u64> = self.leases.iter().filter(|one| one.1.2 <= now).map(|one| *one.0).collect();
        gone.into_iter().for_each(|one| self.end_lease(one));
    }

    fn end_lease(&mut self, incarnation: u64) {
        if self.leases.remove(&incarnation).is_some() {
            let revision = self.next();
            self.ended.insert(incarnation, revision);
            self.log.push(Entry::Lease(incarnation, revision, None));
        }
    }

    pub fn has_lease(&self, incarnation: u64) -> bool {
        self.leases.contains_key(&incarnation)
    }

    /// What the lease of an incarnation says.
    pub fn lease(&self, incarnation: u64) -> Option<&MachineInfo> {
        self.leases.get(&incarnation).map(|lease| &lease.0)
    }

    /// The names with their owners.
    pub fn owners(&self) -> impl Iterator<Item = (&str, Owner)> {
        self.names.iter().filter_map(|(name, known)| Some((&**name, known.0?)))
    }

    /// The rooms with the incarnations that have members.
    pub fn rooms(&self) -> impl Iterator<Item = &(String, u64)> {
        self.rooms.keys()
    }

    pub fn owner(&self, name: &str) -> Option<Owner> {
        self.names.get(name).and_then(|known| known.0)
    }

    pub fn apply(&mut self, ask: &Ask, now: Duration) -> Outcome {
        if self.is_lost {
            return Outcome::Unavailable;
        }
        match ask {
            Ask::Operate(Operation { name, action, .. }) => {
                let (owner, revision) = self.names.get(name).copied().unwrap_or_default();
                match *action {
                    Action::Put(expected, owner) if is_same(expected, revision) => {
                        Outcome::Done(self.put(name, Some(owner)))
                    }
                    Action::Delete(expected) if is_same(expected, revision) => {
                        Outcome::Done(self.put(name, None))
                    }
                    Action::Put(..) | Action::Delete(_) => Outcome::Conflict,
                    Action::Read => {
                        owner.map_or(Outcome::Nothing(revision), |owner| Outcome::Owned(owner, revision))
                    }
                }
            }
            Ask::Find(name) => {
                let (owner, revision) = self.names.get(name).copied().unwrap_or_default();
                owner.map_or(Outcome::Nothing(revision), |owner| Outcome::Owned(owner, revision))
            }
            Ask::Renew(incarnation, info, expected, _) => {
                let ended = self.ended.get(incarnation).copied().unwrap_or(0);
                let present = self.leases.get(incarnation).map_or(ended, |lease| lease.1);
                if !is_same(present, *expected) {
                    return Outcome::Conflict;
                }
                let revision = self.next();
                assert_eq!(keys::read_lease(keys::lease_value(info).as_bytes()).as_ref(), Some(info));
                self.leases.insert(*incarnation, (info.clone(), revision, now + TTL));
                self.log.push(Entry::Lease(*incarnation, revision, Some(info.clone())));
                Outcome::Done(revision)
            }
            Ask::ReadLease(incarnation) => {
                let ended = self.ended.get(incarnation).copied().unwrap_or(0);
                self.leases.get(incarnation).map_or(Outcome::Nothing(ended), |lease| Outcome::Done(lease.1))
            }
            Ask::Sweep(name, expected) => {
                if self.names.get(name).is_some_and(|(owner, revision)| {
                    owner.is_some() && expected.is_none_or(|one| is_same(one, *revision))
                }) {
                    self.put(name, None);
                }
                Outcome::Done(0)
            }
            Ask::EndLease(incarnation) => {
                self.end_lease(*incarnation);
                Outcome::Done(0)
            }
            Ask::Room(room, incarnation, has) => self.room(room, *incarnation, *has),
            Ask::SweepRoom(room, incarnation) => self.room(room, *incarnation, false),
        }
    }

    fn room(&mut self, room: &str, incarnation: u64, has: bool) -> Outcome {
        check_key(&Key::Room(room.to_owned(), incarnation));
        let key = (room.to_owned(), incarnation);
        let has_changed =
            if has { self.rooms.insert(key, ()).is_none() } else { self.rooms.remove(&key).is_some() };
        if has_changed {
            self.log.push(Entry::Room(room.to_owned(), incarnation, has));
        }
        Outcome::Done(0)
    }

    /// Everything that a new watch is told.
    pub fn all(&self) -> Vec<Entry> {
        let names = self.names.iter().filter(|one| one.1.0.is_some());
        let names = names.map(|(name, (owner, revision))| Entry::Name(name.clone(), *revision, *owner));
        let leases =
            self.leases.iter().map(|(one, lease)| Entry::Lease(*one, lease.1, Some(lease.0.clone())));
        let rooms = self.rooms.keys().map(|(room, one)| Entry::Room(room.clone(), *one, true));
        names.chain(leases).chain(rooms).collect()
    }
}
