//! Series by name, for what hosts report: names are interned on first use as long as the budget lasts, a series takes
//! memory when it is first written, and what does not fit is `other`, counted.

use crate::id::MAX_NAME_BYTES;
use crate::metrics::{GroupSeries, TypeSeries};
use crate::sync::{Acquire, AtomicBool, AtomicU64, Mutex, Relaxed, Release, lock};
use std::sync::OnceLock;

/// A series' name: a protocol and a type, or nothing and an application or protocol.
pub(crate) type Name = (String, String);

/// A name as callers give it, looked up without making it one's own.
#[derive(Hash)]
struct Borrowed<'a>(&'a str, &'a str);

impl papaya::Equivalent<Name> for Borrowed<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        self.0 == name.0 && self.1 == name.1
    }
}

/// What a table is made of.
pub(crate) trait SeriesCells: std::fmt::Debug {
    /// Bytes of one, for the budget.
    const BYTES: usize;
    fn new() -> Self;
    fn touch(&mut self) -> std::io::Result<()>;
}

impl SeriesCells for TypeSeries {
    const BYTES: usize = TypeSeries::BYTES;

    fn new() -> Self {
        TypeSeries::new()
    }

    fn touch(&mut self) -> std::io::Result<()> {
        TypeSeries::touch(self)
    }
}

impl SeriesCells for GroupSeries {
    const BYTES: usize = GroupSeries::BYTES;

    fn new() -> Self {
        GroupSeries::new()
    }

    fn touch(&mut self) -> std::io::Result<()> {
        self.service.touch()
    }
}

/// Series by name, each once per shard; the first name is `other`.
#[derive(Debug)]
pub(crate) struct SeriesTable<S> {
    places: papaya::HashMap<Name, usize>,
    /// In the order of their places; whoever adds one holds the lock, whoever records does not.
    names: Mutex<Vec<Name>>,
    /// Name by name, shard by shard.
    series: Box<[OnceLock<Box<S>>]>,
    shards: usize,
    folded: AtomicU64,
    /// A name has found no place, and so will no other.
    is_full: AtomicBool,
}

impl<S: SeriesCells> SeriesTable<S> {
    /// For so many names beside `other`.
    pub(crate) fn new(limit: usize, shards: usize) -> Self {
        Self {
            places: papaya::HashMap::new(),
            names: Mutex::new(vec![(String::new(), "other".to_owned())]),
            series: (0..(limit + 1) * shards).map(|_| OnceLock::new()).collect(),
            shards,
            folded: AtomicU64::new(0),
            is_full: AtomicBool::new(false),
        }
    }

    /// Bytes that it may come to, for the budget.
    pub(crate) const fn bytes(limit: usize, shards: usize) -> u64 {
        // A name is two texts, stands in the list and in the map, and takes places in both, twice while they grow.
        let name = 4 * (MAX_NAME_BYTES + 24) + 3 * size_of::<Name>() + 24 + 6 * (size_of::<usize>() + 1);
        let series = shards * (size_of::<OnceLock<Box<S>>>() + S::BYTES + 24);
        ((limit + 1) * (series + name)) as u64
    }

    /// Makes every series now and takes its pages from the system.
    pub(crate) fn touch(&mut self) -> std::io::Result<()> {
        for place in &mut self.series {
            place.get_or_init(|| Box::new(S::new()));
            place.get_mut().map_or(Ok(()), |series| series.touch())?;
        }
        Ok(())
    }

    /// The place of a name; 0, which is `other`, for an empty one, for `other` itself and for those past the budget.
    pub(crate) fn place(&self, first: &str, second: &str) -> usize {
        // Acquire: every name that has a place is found then; pairs with the Release below.
        let is_full = self.is_full.load(Acquire);
        if let Some(place) = self.places.pin().get(&Borrowed(first, second)) {
            return *place;
        }
        if second.is_empty() || first.is_empty() && second == "other" {
            return 0;
        }
        let fold = || {
            self.folded.fetch_add(1, Relaxed); // Relaxed: a count by itself.
            0
        };
        // Without the lock: there may be such a name in every message.
        if is_full || first.len().max(second.len()) > MAX_NAME_BYTES {
            return fold();
        }
        let mut names = lock(&self.names);
        let places = self.places.pin();
        if let Some(place) = places.get(&Borrowed(first, second)) {
            return *place;
        }
        if names.len() * self.shards >= self.series.len() {
            self.is_full.store(true, Release); // Release: behind the last name; pairs with the Acquire above.
            return fold();
        }
        let place = names.len();
        names.push((first.to_owned(), second.to_owned()));
        places.insert((first.to_owned(), second.to_owned()), place);
        place
    }

    /// A name's series in one shard, made on first use.
    #[inline]
    pub(crate) fn series(&self, place: usize, shard: usize) -> Option<&S> {
        let series = self.series.get(place * self.shards + shard)?;
        Some(series.get_or_init(|| Box::new(S::new())))
    }

    /// A name's series, as far as there are any.
    pub(crate) fn shards(&self, place: usize) -> impl Iterator<Item = &S> + Clone {
        let all = self.series.get(place * self.shards..(place + 1) * self.shards).unwrap_or_default();
        all.iter().filter_map(OnceLock::get).map(|series| &**series)
    }

    /// The name at a place.
    pub(crate) fn name(&self, place: usize) -> Name {
        lock(&self.names).get(place).cloned().unwrap_or_default()
    }

    /// The names from a place on.
    pub(crate) fn names_from(&self, place: usize) -> Vec<Name> {
        lock(&self.names).get(place..).unwrap_or_default().to_vec()
    }

    /// Lookups of names past the budget.
    pub(crate) fn folded(&self) -> u64 {
        self.folded.load(Relaxed) // Relaxed: a count by itself.
    }
}
