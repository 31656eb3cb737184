//! Names that had no room in the directory: which ones workers ask for, and which ones that were asked for are kept. Part of
//! `directory`; without I/O and without a clock.
//!
//! A name is read once for all who ask. Its answer says where it is; the directory keeps it with the names that the watch
//! tells, in the place of another one that was asked for and that nobody has looked up lately. A name that is nowhere is
//! remembered for a while: it is not read again for each message, and read at once when the watch tells of it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::link::Moment;
use super::owner::News;
use crate::sync::mutant;

/// Names that are read at the leader at once. Others wait.
pub const MAX_READS: usize = 64;
/// Names that were nowhere and are remembered. Beyond, the oldest is forgotten.
const MAX_WANTED: usize = 4096;
/// A name that was nowhere is not read again for so long, unless the watch tells of it.
pub const NOWHERE_FOR: Duration = Duration::from_secs(1);
/// A name that was nowhere is read at once when the watch tells of it, for so long. Workers ask again within this time for a
/// name for which they hold messages.
pub const WANTED_FOR: Duration = Duration::from_secs(3);

/// Where a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// At this incarnation, in this revision.
    At(u64, u64),
    /// At no other machine that lives.
    Nowhere,
    /// The leader does not answer.
    Unanswered,
}

/// How asking goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AskFigures {
    /// Names that were asked for, each once for all who ask at the same time.
    pub asked: u64,
    /// Of these, those without an answer yet.
    pub in_flight: usize,
    /// Those that were on another machine.
    pub found: u64,
    /// Those that were nowhere.
    pub nowhere: u64,
    /// Those for which the leader gave no answer.
    pub failed: u64,
    /// Names that were kept and made room for others.
    pub evicted: u64,
}

/// A name without an answer.
#[derive(Debug, Default)]
struct Asked {
    workers: Vec<usize>,
    is_read: bool,
    /// The watch has begun again since it was read: the answer may be that of a bucket that is lost.
    is_old: bool,
    /// What the watch has told meanwhile.
    told: Option<News>,
}

/// The names that are asked for. Bounded by what the workers ask for at once, and by the names that are wanted.
#[derive(Debug, Default)]
pub(super) struct Asks {
    asked: HashMap<Box<str>, Asked>,
    /// Those that are to be read.
    queue: VecDeque<Box<str>>,
    reading: usize,
    answers: Vec<(usize, Box<str>, Answer)>,
    /// Names that were nowhere, and when that was.
    wanted: HashMap<Box<str>, Moment>,
    /// The same in order. An entry whose time is not that in `wanted` is old.
    order: VecDeque<(Moment, Box<str>)>,
    pub(super) figures: AskFigures,
}

impl Asks {
    /// A worker asks for a name that is not known.
    pub(super) fn ask(&mut self, name: &str, worker: usize) {
        let asked = self.begin(name);
        if !asked.workers.contains(&worker) {
            asked.workers.push(worker);
        }
    }

    fn begin(&mut self, name: &str) -> &mut Asked {
        if !self.asked.contains_key(name) {
            self.queue.push_back(name.into());
            self.figures.asked += 1;
        }
        self.asked.entry(name.into()).or_default()
    }

    /// Answers one worker at once.
    pub(super) fn answer(&mut self, worker: usize, name: &str, answer: Answer) {
        self.answers.push((worker, name.into(), answer));
    }

    /// Whether a name was nowhere a short time ago.
    pub(super) fn is_nowhere(&self, name: &str, now: Moment) -> bool {
        self.wanted.get(name).is_some_and(|at| now < *at + NOWHERE_FOR)
    }

    /// A name was nowhere: it is read again when the watch tells of it.
    pub(super) fn want(&mut self, name: &str, now: Moment) {
        while let Some((at, oldest)) = self.order.front()
            && (self.order.len() >= MAX_WANTED || now >= *at + WANTED_FOR)
        {
            if self.wanted.get(oldest) == Some(at) {
                self.wanted.remove(oldest);
            }
            self.order.pop_front();
        }
        self.wanted.insert(name.into(), now);
        self.order.push_back((now, name.into()));
    }

    /// The watch tells of a name. `has_room`: the directory has room for it.
    pub(super) fn told(&mut self, name: &str, news: News, has_room: bool) {
        if let Some(asked) = self.asked.get_mut(name) {
            if asked.told.is_none_or(|(revision, _)| news.0 > revision) {
                asked.told = Some(news);
            }
        } else if !self.wanted.is_empty()
            && news.1.is_some()
            && self.wanted.remove(name).is_some()
            && !has_room
        {
            self.begin(name);
        }
    }

    /// The names to read now. If none can be read, all who wait are told so.
    pub(super) fn reads(&mut self, can_read: bool) -> Vec<Box<str>> {
        if !can_read {
            for name in std::mem::take(&mut self.queue) {
                self.done(&name);
                self.answered(&name, Answer::Unanswered);
            }
            return Vec::new();
        }
        let count = MAX_READS.saturating_sub(self.reading).min(self.queue.len());
        let names: Vec<Box<str>> = self.queue.drain(..count).collect();
        self.reading += count;
        for name in &names {
            if let Some(asked) = self.asked.get_mut(name) {
                asked.is_read = true;
            }
        }
        names
    }

    /// The bucket is new, or the watch begins again: what is being read is read once more.
    pub(super) fn watch_begins(&mut self) {
        for asked in self.asked.values_mut() {
            asked.is_old = asked.is_read && !mutant("ask-before-watch");
            asked.told = None;
        }
    }

    /// A read has ended. What the watch has told of the name meanwhile. `None`: the answer does not count.
    pub(super) fn done(&mut self, name: &str) -> Option<Option<News>> {
        let asked = self.asked.get_mut(name)?;
        self.reading -= usize::from(std::mem::take(&mut asked.is_read));
        if std::mem::take(&mut asked.is_old) {
            self.queue.push_back(name.into());
            return None;
        }
        Some(asked.told)
    }

    /// Answers all who have asked for a name.
    pub(super) fn answered(&mut self, name: &str, answer: Answer) {
        let Some((name, asked)) = self.asked.remove_entry(name) else { return };
        match answer {
            Answer::At(..) => self.figures.found += 1,
            Answer::Nowhere => self.figures.nowhere += 1,
            Answer::Unanswered => self.figures.failed += 1,
        }
        let all = if mutant("ask-one-answered") { 1 } else { asked.workers.len() };
        let workers = asked.workers.into_iter().take(all);
        self.answers.extend(workers.map(|worker| (worker, name.clone(), answer)));
    }

    pub(super) fn answers(&mut self) -> Vec<(usize, Box<str>, Answer)> {
        std::mem::take(&mut self.answers)
    }

    pub(super) fn figures(&self) -> AskFigures {
        AskFigures { in_flight: self.asked.len(), ..self.figures }
    }
}

/// The names that are kept because they were asked for. A full one gives a name up that nobody has looked up since the hand
/// was there last.
#[derive(Debug)]
pub(super) struct Kept {
    names: Vec<Box<str>>,
    places: HashMap<Box<str>, usize>,
    hand: usize,
    limit: usize,
}

impl Kept {
    pub(super) fn new(limit: usize) -> Self {
        Self { names: Vec::new(), places: HashMap::new(), hand: 0, limit }
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.names.len() >= self.limit
    }

    pub(super) fn insert(&mut self, name: &str) {
        if self.places.insert(name.into(), self.names.len()).is_none() {
            self.names.push(name.into());
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        if self.places.is_empty() {
            return; // The usual case.
        }
        let Some(place) = self.places.remove(name) else { return };
        self.names.swap_remove(place);
        if let Some(moved) = self.names.get(place)
            && let Some(at) = self.places.get_mut(moved)
        {
            *at = place;
        }
    }

    /// The name to give up. The caller removes it.
    pub(super) fn evict(&mut self, mut is_used: impl FnMut(&str) -> bool) -> Option<Box<str>> {
        // All may be in use: then the first one goes.
        for _ in 0..=self.names.len() {
            if self.hand >= self.names.len() {
                self.hand = 0;
            }
            let name = self.names.get(self.hand)?;
            self.hand += 1;
            if !is_used(name) {
                return Some(name.clone());
            }
        }
        self.names.get(self.hand).or_else(|| self.names.first()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_hand_spares_what_was_looked_up_and_finds_a_name_in_any_case() {
        let mut kept = Kept::new(3);
        ["a", "b", "c"].iter().for_each(|name| kept.insert(name));
        assert!(kept.is_full());
        let mut used: HashSet<String> = ["a".to_owned(), "c".to_owned()].into();
        let mut evict = |kept: &mut Kept| {
            let out = kept.evict(|name| used.remove(name)).unwrap();
            kept.remove(&out);
            kept.insert(&format!("{out}'"));
            used.insert(format!("{out}'"));
            out
        };
        assert_eq!(&*evict(&mut kept), "b");
        let next: Vec<_> = (0..3).map(|_| evict(&mut kept)).collect();
        assert_eq!(kept.len(), 3);
        assert!(next.contains(&"c".into()) || next.contains(&"a".into()), "{next:?}");
        assert!(kept.evict(|_| true).is_some());
        assert_eq!(Kept::new(0).evict(|_| true), None);
    }

    #[test]
    fn few_names_are_read_at_once_and_each_once() {
        let mut asks = Asks::default();
        for number in 0..MAX_READS + 5 {
            asks.ask(&format!("n{number}"), 0);
            asks.ask(&format!("n{number}"), 1);
        }
        let names = asks.reads(true);
        assert_eq!((names.len(), asks.reads(true).len()), (MAX_READS, 0));
        asks.done(&names[0]);
        asks.answered(&names[0], Answer::At(2, 5));
        let answer = |worker| (worker, names[0].clone(), Answer::At(2, 5));
        assert_eq!(asks.answers(), [answer(0), answer(1)]);
        assert_eq!(asks.reads(true).len(), 1);
        assert_eq!(asks.reads(false).len(), 0);
        assert_eq!(asks.answers().len(), 8, "four names, two workers: nobody can be asked");
        let figures = asks.figures();
        assert_eq!((figures.asked, figures.found, figures.failed), (MAX_READS as u64 + 5, 1, 4));
        assert_eq!(figures.in_flight, MAX_READS);
    }

    #[test]
    fn names_that_are_nowhere_are_bounded_and_forgotten() {
        let mut asks = Asks::default();
        for number in 0..2 * MAX_WANTED {
            asks.want(&format!("n{number}"), Moment::ZERO);
            asks.want("again", Moment::ZERO);
        }
        assert!(asks.wanted.len() <= MAX_WANTED && asks.order.len() <= MAX_WANTED);
        assert!(asks.is_nowhere("again", Moment::ZERO) && !asks.is_nowhere("again", NOWHERE_FOR));
        asks.want("last", WANTED_FOR);
        assert_eq!(asks.wanted.len(), 1);
    }
}
