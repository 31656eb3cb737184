//! The names that one worker has asked the cluster for: those without an answer yet, and those that were not found lately and
//! are not asked for again so soon. Owned by the worker; all memory is reserved at the first ask.
//!
//! Used by `unknown`, and by `state` for the time of what is due.

use crate::clients::NameHash;
use crate::error::Failed;
use crate::router::worker::pool::{END, Linked, Pool};
use crate::router::worker::under_way::AsIs;
use crate::sync::mutant;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

/// Names that a worker may have asked for without an answer.
const MAX_ASKS: usize = 256;
/// Names that were not found and for which nothing is held, at most. Beyond, the oldest may be asked for again.
const MAX_QUIET: usize = 1024;
/// So many of the oldest names are looked at for one that can be forgotten.
const TRIES: usize = 16;

/// Where a name stands that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::router) enum Asking {
    /// There is no answer yet.
    Waiting,
    /// It was not found, for this reason.
    Over(Failed),
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::router) enum Due {
    /// The answer is late. It still comes.
    Late,
    /// The name may be asked for again.
    Again,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// As `Waiting`, but nothing is due.
    Late,
    /// Not asked for again before it is due, for this reason.
    Quiet(Failed),
}

impl State {
    /// The answer is still to come.
    fn is_asked(self) -> bool {
        matches!(self, Self::Waiting | Self::Late)
    }
}

#[derive(Debug)]
struct Entry {
    hash: NameHash,
    state: State,
    until: u64,
    earlier: u32,
    later: u32,
}

impl Linked for Entry {
    fn link(&mut self) -> &mut u32 {
        &mut self.later
    }
}

#[derive(Debug)]
pub(in crate::router) struct Asks {
    /// The gateway's port.
    pub(in crate::router) port: usize,
    entries: Pool<Entry>,
    places: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
    /// Those that something is due for, in the order of their times: all wait equally long.
    oldest: u32,
    newest: u32,
    waiting: usize,
    limit: usize,
}

impl Asks {
    /// `held`: how many messages the worker may hold, and so for how many names.
    pub(in crate::router) fn new(held: usize) -> Self {
        let limit = held + MAX_QUIET + MAX_ASKS;
        Self {
            port: 0,
            entries: Pool::new(limit),
            places: HashMap::with_capacity_and_hasher(limit, BuildHasherDefault::default()),
            oldest: END,
            newest: END,
            waiting: 0,
            limit,
        }
    }

    fn of(&self, hash: NameHash) -> Option<(u32, &Entry)> {
        let place = *self.places.get(&hash.0)?;
        Some((place, self.entries.get(place)?))
    }

    /// Where a name stands. `None`: it may be asked for.
    pub(in crate::router) fn find(&mut self, hash: NameHash, now: u64) -> Option<Asking> {
        let (place, entry) = self.of(hash)?;
        match entry.state {
            State::Waiting => Some(Asking::Waiting),
            State::Late => Some(Asking::Over(Failed::LinkDown)),
            State::Quiet(reason) if entry.until > now || mutant("ask-never-again") => {
                Some(Asking::Over(reason))
            }
            State::Quiet(_) => {
                self.remove(place);
                None
            }
        }
    }

    /// Whether another name can be asked for.
    pub(in crate::router) fn has_room(&self) -> bool {
        self.waiting < MAX_ASKS
    }

    /// A name is asked for. [`find`](Self::find) has found nothing, and [`has_room`](Self::has_room) has returned true.
    pub(in crate::router) fn wait(&mut self, hash: NameHash, until: u64, is_held: impl Fn(NameHash) -> bool) {
        self.waiting += usize::from(self.put(hash, State::Waiting, until, is_held));
    }

    /// A name is not asked for before `until`.
    pub(in crate::router) fn quiet(
        &mut self,
        hash: NameHash,
        reason: Failed,
        until: u64,
        is_held: impl Fn(NameHash) -> bool,
    ) {
        self.answered(hash);
        self.put(hash, State::Quiet(reason), until, is_held);
    }

    fn put(&mut self, hash: NameHash, state: State, until: u64, is_held: impl Fn(NameHash) -> bool) -> bool {
        if self.places.len() >= self.limit {
            self.make_room(is_held);
        }
        let Some(place) = self.entries.put(Entry { hash, state, until, earlier: self.newest, later: END })
        else {
            return false;
        };
        match self.entries.get_mut(self.newest) {
            Some(newest) => newest.later = place,
            None => self.oldest = place,
        }
        self.newest = place;
        self.places.insert(hash.0, place);
        true
    }

    /// Forgets a name that was not found: one for which nothing is held, if it is among the oldest.
    fn make_room(&mut self, is_held: impl Fn(NameHash) -> bool) {
        let (mut place, mut first, mut tries) = (self.oldest, None, TRIES);
        while let Some(entry) = self.entries.get(place).filter(|_| tries > 0) {
            if matches!(entry.state, State::Quiet(_)) {
                first.get_or_insert(place);
                tries -= 1;
                if !is_held(entry.hash) {
                    return self.remove(place);
                }
            }
            place = entry.later;
        }
        first.into_iter().for_each(|place| self.remove(place));
    }

    /// The answer for a name is here. Returns whether it was waited for.
    pub(in crate::router) fn answered(&mut self, hash: NameHash) -> bool {
        let Some((place, entry)) = self.of(hash) else { return false };
        let was_asked = entry.state.is_asked();
        self.remove(place);
        was_asked
    }

    fn remove(&mut self, place: u32) {
        let Some(entry) = self.entries.get(place) else { return };
        let (hash, state) = (entry.hash, entry.state);
        if state != State::Late {
            self.unlink(place);
        }
        self.waiting -= usize::from(state.is_asked());
        self.places.remove(&hash.0);
        self.entries.give_back(place);
    }

    fn unlink(&mut self, place: u32) {
        let Some(entry) = self.entries.get(place) else { return };
        let (earlier, later) = (entry.earlier, entry.later);
        match self.entries.get_mut(earlier) {
            Some(earlier) => earlier.later = later,
            None => self.oldest = later,
        }
        match self.entries.get_mut(later) {
            Some(later) => later.earlier = earlier,
            None => self.newest = earlier,
        }
    }

    /// When something is due next.
    pub(in crate::router) fn next_due(&self) -> Option<u64> {
        self.entries.get(self.oldest).map(|entry| entry.until)
    }

    /// Takes a name for which something is due.
    pub(in crate::router) fn due(&mut self, now: u64) -> Option<(NameHash, Due)> {
        let place = self.oldest;
        let entry = self.entries.get_mut(place).filter(|entry| entry.until <= now)?;
        let hash = entry.hash;
        if matches!(entry.state, State::Quiet(_)) {
            if mutant("ask-never-again") {
                entry.until = u64::MAX;
                return None;
            }
            self.remove(place);
            return Some((hash, Due::Again));
        }
        entry.state = State::Late;
        self.unlink(place);
        Some((hash, Due::Late))
    }

    /// Takes a name whose answer never comes, because the gateway has left.
    pub(in crate::router) fn pop_waiting(&mut self) -> Option<NameHash> {
        if self.waiting == 0 {
            return None;
        }
        let is_asked = |place: &u32| self.entries.get(*place).is_some_and(|one| one.state.is_asked());
        let place = self.places.values().copied().find(is_asked)?;
        let hash = self.entries.get(place)?.hash;
        self.remove(place);
        Some(hash)
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    const GONE: Failed = Failed::UnknownRecipient;

    fn hash(number: u64) -> NameHash {
        NameHash(number)
    }

    #[test]
    fn a_name_is_asked_for_once_until_its_answer_and_again_only_after_a_while() {
        let mut asks = Asks::new(4);
        assert_eq!(asks.find(hash(1), 0), None);
        asks.wait(hash(1), 10, |_| false);
        assert_eq!(asks.find(hash(1), 5), Some(Asking::Waiting));
        assert!(asks.answered(hash(1)) && !asks.answered(hash(1)));
        asks.quiet(hash(1), GONE, 20, |_| false);
        assert_eq!(asks.find(hash(1), 19), Some(Asking::Over(GONE)));
        assert_eq!(asks.find(hash(1), 20), None);
        assert_eq!((asks.next_due(), asks.places.len()), (None, 0));
    }

    #[test]
    fn what_is_due_comes_in_order_and_a_late_answer_still_counts() {
        let mut asks = Asks::new(4);
        asks.wait(hash(1), 10, |_| true);
        asks.quiet(hash(2), GONE, 11, |_| true);
        asks.wait(hash(3), 12, |_| true);
        asks.answered(hash(3));
        assert_eq!((asks.due(9), asks.next_due()), (None, Some(10)));
        assert_eq!(asks.due(15), Some((hash(1), Due::Late)));
        assert_eq!(asks.due(15), Some((hash(2), Due::Again)));
        assert_eq!((asks.due(15), asks.next_due()), (None, None));
        assert_eq!(asks.find(hash(1), 15), Some(Asking::Over(Failed::LinkDown)));
        assert!(asks.answered(hash(1)));
        assert_eq!(asks.waiting, 0);
    }

    #[test]
    fn the_names_are_bounded_and_those_with_messages_stay() {
        let mut asks = Asks::new(4);
        for number in 0..MAX_ASKS as u64 {
            assert!(asks.has_room());
            asks.wait(hash(number), 10, |_| true);
        }
        assert!(!asks.has_room());
        let held = |hash: NameHash| hash.0 < 1004;
        for number in 1000..10_000 {
            asks.quiet(hash(number), GONE, number, held);
        }
        assert_eq!(asks.places.len(), asks.limit);
        assert!((0..MAX_ASKS as u64).all(|number| asks.find(hash(number), 0) == Some(Asking::Waiting)));
        assert!((1000..1004).all(|number| asks.find(hash(number), 0).is_some()));
        assert_eq!(asks.find(hash(1004), 0), None);
        let mut forgotten = 0;
        while asks.pop_waiting().is_some() {
            forgotten += 1;
        }
        assert_eq!((forgotten, asks.waiting), (MAX_ASKS, 0));
    }
}
