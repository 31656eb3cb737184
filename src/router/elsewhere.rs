//! What a router knows of other machines: where names are, which rooms have members there, and which links are up.
//! The gateway's thread writes it (`port/gateway`); workers read it for names that are not here (`worker/remote`).
//!
//! | field | written by | read by |
//! |---|---|---|
//! | `names`, `rooms` | the gateway's thread; workers note that a name was looked up | workers |
//! | `is_incomplete` | the gateway's thread | workers |
//! | `links` | the gateway's thread | workers |
//! | `limits`, `port` | the thread that opens or drops the gateway | workers |
//!
//! A gateway that is dropped empties the tables before it leaves its place, so the next one finds nothing of it. A worker that
//! has found an entry before finds its link down. The options are the next gateway's from its opening on.

use crate::clients::NameHash;
use crate::sync::{Acquire, AtomicBool, AtomicU64, Relaxed, Release, mutant};
use std::time::Duration;

/// The most links of a router: a link's place is a byte.
pub(crate) const MAX_LINKS: usize = 255;

/// Some links, by their places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkSet([u64; MAX_LINKS.div_ceil(64)]);

impl LinkSet {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; MAX_LINKS.div_ceil(64)]
    }

    /// Adds the link in a place.
    pub fn insert(&mut self, slot: u8) {
        if let Some(word) = self.0.get_mut(usize::from(slot) / 64) {
            *word |= 1 << (slot % 64);
        }
    }

    /// Removes the link in a place.
    pub fn remove(&mut self, slot: u8) {
        if let Some(word) = self.0.get_mut(usize::from(slot) / 64) {
            *word &= !(1 << (slot % 64));
        }
    }

    /// The places, ascending. The time is that of the links in the set, not of all that there could be.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        self.0.into_iter().zip(0_u8..).flat_map(|(word, place)| {
            let rest = |rest: &u64| Some(rest & (rest - 1)).filter(|rest| *rest != 0);
            let words = std::iter::successors(Some(word).filter(|word| *word != 0), rest);
            words.map(move |word| place * 64 + word.trailing_zeros() as u8)
        })
    }
}

impl FromIterator<u8> for LinkSet {
    fn from_iter<I: IntoIterator<Item = u8>>(slots: I) -> Self {
        let mut set = Self::default();
        slots.into_iter().for_each(|slot| set.insert(slot));
        set
    }
}

/// Sizes of the memory that a gateway needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayOptions {
    /// Names on other machines, at most. A sixteenth more has room for names beyond these that workers have asked for.
    pub names: usize,
    /// Rooms with members on other machines, at most.
    pub rooms: usize,
    /// Messages that a worker may have under way on one link; together on all links four times as many.
    pub link_messages: u32,
    /// Their bytes, of names and payloads; together on all links four times as many.
    pub link_bytes: u32,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self { names: 2_000_000, rooms: 100_000, link_messages: 4096, link_bytes: 4 << 20 }
    }
}

impl GatewayOptions {
    /// How many names are kept that had no room among `names` and were asked for.
    pub const fn asked(names: usize) -> usize {
        names.div_ceil(16)
    }
}

/// Where a name is that a worker has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// On the machine of this link, under this revision.
    At(LinkId, u64),
    /// On no other machine.
    Nowhere,
    /// Nobody could tell.
    Unanswered,
}

/// A link to another machine. Its epoch changes when it is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId {
    /// The link's place, below 255.
    pub slot: u8,
    /// The epoch.
    pub epoch: u32,
}

/// Where a name is: the link's place, and the revision of its entry in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    pub(crate) slot: u8,
    pub(crate) revision: u64,
}

/// An entry of the table of names.
#[derive(Debug)]
struct Placed {
    at: Elsewhere,
    /// A worker has looked the name up since [`Directory::take_used`] asked.
    used: AtomicBool,
}

/// Why another machine has not delivered a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// The recipient is not connected there under this revision.
    Gone,
    /// It has expired there.
    Expired,
    /// It was lost on the way.
    Lost,
    /// For this reason: the number of a [`Failed`](crate::error::Failed).
    Failed(u16),
}

impl Reject {
    const GONE: u16 = 0xfff0;
    const EXPIRED: u16 = 0xfff1;
    const LOST: u16 = 0xfff2;

    /// The number of a reject in records and frames.
    pub fn number(self) -> u16 {
        match self {
            Self::Gone => Self::GONE,
            Self::Expired => Self::EXPIRED,
            Self::Lost => Self::LOST,
            Self::Failed(number) => number,
        }
    }

    /// The reject with a number.
    pub fn of_number(number: u16) -> Self {
        match number {
            Self::GONE => Self::Gone,
            Self::EXPIRED => Self::Expired,
            Self::LOST => Self::Lost,
            number => Self::Failed(number),
        }
    }
}

/// A message from another machine, for [`Gateway::deliver`](super::Gateway::deliver).
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The recipient's name, or the room's.
    pub name: &'a str,
    /// Whether it is for a room.
    pub is_room: bool,
    /// The name of the message's type, in the recipient's protocol.
    pub message_type: &'a str,
    /// The submitter's correlation.
    pub correlation: u64,
    /// How long ago the first machine stamped it.
    pub age: Duration,
    /// The bytes to deliver.
    pub payload: &'a [u8],
}

/// Bit of a link's word: messages flow. The lower bits are the epoch.
const UP: u64 = 1 << 32;

/// No gateway.
const NO_PORT: u64 = u64::MAX;
/// A thread opens the gateway: the place is taken, and there is no port yet.
const OPENING: u64 = u64::MAX - 1;

/// The options of the gateway that is open, or was open last. A worker may read them before it has seen that gateway's port. It
/// keeps those that it has read, and reads them again when nothing is under way.
#[derive(Debug)]
struct Limits {
    names: AtomicU64,
    rooms: AtomicU64,
    /// Messages above, bytes below: both are of the same options.
    link: AtomicU64,
}

impl Limits {
    fn new(options: GatewayOptions) -> Self {
        let limits = Self { names: AtomicU64::new(0), rooms: AtomicU64::new(0), link: AtomicU64::new(0) };
        limits.set(options);
        limits
    }

    fn set(&self, options: GatewayOptions) {
        // Relaxed, all: the port's Release publishes them (`Place::drop`), and whoever reads them too early keeps a whole set.
        self.names.store(options.names as u64, Relaxed);
        self.rooms.store(options.rooms as u64, Relaxed);
        let link = u64::from(options.link_messages) << 32 | u64::from(options.link_bytes);
        self.link.store(link, Relaxed);
    }

    fn get(&self) -> GatewayOptions {
        let link = self.link.load(Relaxed); // Relaxed, all: as in `set`.
        GatewayOptions {
            names: self.names.load(Relaxed) as usize,
            rooms: self.rooms.load(Relaxed) as usize,
            link_messages: (link >> 32) as u32,
            link_bytes: link as u32,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Directory {
    limits: Limits,
    /// The gateway's port, [`NO_PORT`] or [`OPENING`].
    port: AtomicU64,
    links: Box<[AtomicU64]>,
    /// Some names on other machines are not in `names`.
    is_incomplete: AtomicBool,
    names: Table<Placed>,
    rooms: Table<LinkSet>,
}

impl Directory {
    pub(crate) fn new(options: GatewayOptions) -> Self {
        Self {
            limits: Limits::new(options),
            port: AtomicU64::new(NO_PORT),
            links: (0..MAX_LINKS).map(|_| AtomicU64::new(0)).collect(),
            is_incomplete: AtomicBool::new(false),
            names: Table::new(),
            rooms: Table::new(),
        }
    }

    /// The options.
    pub(crate) fn options(&self) -> GatewayOptions {
        self.limits.get()
    }

    /// Only the thread that opens the gateway, while it has the place.
    pub(crate) fn set_options(&self, options: GatewayOptions) {
        self.limits.set(options);
    }

    /// No name and no room is elsewhere any more. Only the gateway's thread, before it leaves the place.
    pub(super) fn clear(&self) {
        self.set_incomplete(false);
        self.names.clear();
        self.rooms.clear();
    }

    /// Whether a name may be on another machine although it is not in the table.
    #[cold]
    pub(super) fn is_incomplete(&self) -> bool {
        // Relaxed: it publishes nothing. Who reads it too early looks again after the post that follows a change.
        self.is_incomplete.load(Relaxed)
    }

    /// Only the gateway's thread.
    pub(super) fn set_incomplete(&self, is_incomplete: bool) {
        self.is_incomplete.store(is_incomplete, Relaxed); // Relaxed: as in `is_incomplete`.
    }

    /// The port of the gateway, if one is open.
    pub(crate) fn port(&self) -> Option<usize> {
        // Acquire: pairs with the Release in `Place::drop`: the port's pairs are attached.
        Some(self.port.load(Acquire)).filter(|port| *port < OPENING).map(|port| port as usize)
    }

    /// Takes the place of the gateway, of which there is one. `None` if it is taken.
    pub(crate) fn take_place(&self) -> Option<Place<'_>> {
        if mutant("gateway-place-checked") {
            // A check before the store, in place of both at once.
            if self.port.load(Acquire) != NO_PORT {
                return None;
            }
            self.port.store(OPENING, Release);
            return Some(self.place_of_opening());
        }
        // Acquire: pairs with the Release in `leave_place` and `Place::drop`, so what the gateway before has written is seen. A failure
        // reads nothing else: Relaxed.
        self.port.compare_exchange(NO_PORT, OPENING, Acquire, Relaxed).ok().map(|_| self.place_of_opening())
    }

    fn place_of_opening(&self) -> Place<'_> {
        Place { directory: self, port: NO_PORT }
    }

    /// The gateway is gone. Another one may follow.
    pub(crate) fn leave_place(&self) {
        self.port.store(NO_PORT, Release); // Release: pairs with `port` and `take_place`.
    }

    /// A link's epoch, and whether it is up.
    pub(crate) fn link(&self, slot: u8) -> (u32, bool) {
        // Acquire: pairs with the Release in `set_link`.
        let word = self.links.get(usize::from(slot)).map_or(0, |link| link.load(Acquire));
        (word as u32, word & UP != 0)
    }

    /// Only the gateway's thread.
    pub(crate) fn set_link(&self, link: LinkId, up: bool) {
        if let Some(word) = self.links.get(usize::from(link.slot)) {
            // Release: pairs with the Acquire in `link`.
            word.store(u64::from(link.epoch) | if up { UP } else { 0 }, Release);
        }
    }

    /// Takes a link down, with its next epoch, and has `tell` push the record LINK_LOST to the workers. First the word, then
    /// the record: a worker that has taken the record hands nothing over in the old epoch. Only the gateway's thread.
    pub(crate) fn lose_link(&self, link: LinkId, tell: impl FnOnce()) -> LinkId {
        let next = LinkId { epoch: link.epoch.wrapping_add(1), ..link };
        if mutant("link-word-late") {
            tell();
            self.set_link(next, false);
        } else {
            self.set_link(next, false);
            tell();
        }
        next
    }

    /// Where a name is.
    #[cold]
    pub(super) fn find(&self, hash: NameHash) -> Option<Elsewhere> {
        self.names.with(hash.0, |placed| {
            // Relaxed, both: only a hint which names are in use. Only one that `take_used` has asked about is written.
            if !placed.used.load(Relaxed) {
                placed.used.store(true, Relaxed);
            }
            placed.at
        })
    }

    /// Whether a name was looked up since the last call for it, or since it was placed.
    pub(super) fn take_used(&self, hash: NameHash) -> bool {
        // Relaxed: as in `find`.
        self.names.with(hash.0, |placed| placed.used.swap(false, Relaxed)).unwrap_or(false)
    }

    /// Returns false if the table is full.
    pub(super) fn place(&self, hash: NameHash, at: Elsewhere) -> bool {
        let names = self.options().names;
        let limit = names.saturating_add(GatewayOptions::asked(names));
        self.names.put(hash.0, Placed { at, used: AtomicBool::new(true) }, limit)
    }

    pub(super) fn displace(&self, hash: NameHash) {
        self.names.remove(hash.0);
    }

    /// The links to machines with members of a room.
    #[cold]
    pub(super) fn interest(&self, hash: NameHash) -> LinkSet {
        self.rooms.with(hash.0, |links| *links).unwrap_or_default()
    }

    /// Returns false if the table is full.
    pub(super) fn set_interest(&self, hash: NameHash, links: LinkSet) -> bool {
        if links.is_empty() {
            self.rooms.remove(hash.0);
            return true;
        }
        self.rooms.put(hash.0, links, self.options().rooms)
    }
}

/// The place of the gateway while it is opened. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    directory: &'a Directory,
    port: u64,
}

impl Place<'_> {
    /// The gateway is open, on this port.
    pub(crate) fn keep(mut self, port: usize) {
        self.port = port as u64;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Release: pairs with `Directory::port` and `Directory::take_place`.
        self.directory.port.store(self.port, Release);
    }
}

/// A concurrent map from hashes of names, with one writer.
#[cfg(not(corelane_loom))]
#[derive(Debug)]
struct Table<V>(papaya::HashMap<u64, V>);

#[cfg(not(corelane_loom))]
impl<V> Table<V> {
    fn new() -> Self {
        Self(papaya::HashMap::new())
    }

    fn with<R>(&self, key: u64, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.0.pin().get(&key).map(read)
    }

    fn put(&self, key: u64, value: V, limit: usize) -> bool {
        let map = self.0.pin();
        if map.len() >= limit && !map.contains_key(&key) {
            return false;
        }
        map.insert(key, value);
        true
    }

    fn remove(&self, key: u64) {
        self.0.pin().remove(&key);
    }

    fn clear(&self) {
        self.0.pin().clear();
    }
}

/// In models: the map is not what they are about.
#[cfg(corelane_loom)]
#[derive(Debug)]
struct Table<V>(crate::sync::Mutex<std::collections::BTreeMap<u64, V>>);

#[cfg(corelane_loom)]
impl<V> Table<V> {
    fn new() -> Self {
        Self(crate::sync::Mutex::new(std::collections::BTreeMap::new()))
    }

    fn with<R>(&self, key: u64, read: impl FnOnce(&V) -> R) -> Option<R> {
        crate::sync::lock(&self.0).get(&key).map(read)
    }

    fn put(&self, key: u64, value: V, limit: usize) -> bool {
        let mut map = crate::sync::lock(&self.0);
        let fits = map.len() < limit || map.contains_key(&key);
        if fits {
            map.insert(key, value);
        }
        fits
    }

    fn remove(&self, key: u64) {
        crate::sync::lock(&self.0).remove(&key);
    }

    fn clear(&self) {
        crate::sync::lock(&self.0).clear();
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_bounded_and_links_have_epochs() {
        let directory = Directory::new(GatewayOptions { names: 1, rooms: 1, ..GatewayOptions::default() });
        let at = |revision| Elsewhere { slot: 3, revision };
        assert!(directory.place(NameHash(7), at(1)));
        assert!(directory.place(NameHash(7), at(2)), "the same name again");
        assert!(directory.place(NameHash(8), at(1)), "one more, for names that were asked for");
        assert!(!directory.place(NameHash(9), at(1)));
        assert_eq!(directory.find(NameHash(7)), Some(at(2)));
        directory.displace(NameHash(7));
        assert_eq!(directory.find(NameHash(7)), None);
        let links: LinkSet = [0, 2].into_iter().collect();
        assert!(directory.set_interest(NameHash(1), links) && !directory.set_interest(NameHash(2), links));
        assert!(directory.set_interest(NameHash(1), LinkSet::default()));
        assert!(directory.set_interest(NameHash(2), links));
        assert_eq!(directory.interest(NameHash(2)), links);
        directory.set_link(LinkId { slot: 2, epoch: u32::MAX }, true);
        assert_eq!(directory.link(2), (u32::MAX, true));
        directory.set_link(LinkId { slot: 2, epoch: 0 }, false);
        assert_eq!(directory.link(2), (0, false));
        assert_eq!(directory.port(), None);
    }

    #[test]
    fn the_gateways_place_is_taken_while_it_opens_and_free_if_that_fails() {
        let directory = Directory::new(GatewayOptions::default());
        let place = directory.take_place().unwrap();
        assert!(directory.take_place().is_none() && directory.port().is_none());
        drop(place);
        directory.take_place().unwrap().keep(3);
        assert!(directory.take_place().is_none() && directory.port() == Some(3));
        directory.leave_place();
        assert!(directory.take_place().is_some());
    }

    #[test]
    fn a_name_counts_as_used_once_it_is_placed_and_after_each_look() {
        let directory = Directory::new(GatewayOptions::default());
        let hash = NameHash(7);
        assert!(!directory.take_used(hash));
        directory.place(hash, Elsewhere { slot: 3, revision: 1 });
        assert!(directory.take_used(hash) && !directory.take_used(hash));
        directory.find(hash);
        assert!(directory.take_used(hash) && !directory.take_used(hash));
    }

    #[test]
    fn a_set_has_all_links_that_there_can_be() {
        let last = MAX_LINKS as u8 - 1;
        let mut set: LinkSet = [last, 0, 63, 64, 64].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, last]);
        for slot in [0, 63, 64] {
            set.remove(slot);
        }
        assert!(!set.is_empty());
        set.remove(last);
        assert!(set.is_empty() && set.iter().next().is_none());
        assert!((0..=last).collect::<LinkSet>().iter().eq(0..=last));
    }

    #[test]
    fn rejects_have_numbers() {
        for reject in [Reject::Gone, Reject::Expired, Reject::Lost, Reject::Failed(3)] {
            assert_eq!(Reject::of_number(reject.number()), reject);
        }
    }
}
