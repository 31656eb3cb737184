//! Reported series by name. A name is interned on first use while the budget lasts. A series allocates its
//! cells when it is first written. Names beyond the budget are `other`, and their lookups are counted.

use crate::id::MAX_NAME_BYTES;
use crate::metrics::{GroupSeries, TypeSeries};
use crate::sync::{Acquire, Arc, AtomicBool, AtomicU64, Mutex, Relaxed, Release, lock};
use std::sync::OnceLock;

/// Name of a series: a protocol and a type, or an empty text and an application or protocol.
pub(crate) type Name = (String, String);

/// A borrowed name, for lookups without an allocation.
#[derive(Hash)]
struct Borrowed<'a>(&'a str, &'a str);

impl papaya::Equivalent<Name> for Borrowed<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        self.0 == name.0 && self.1 == name.1
    }
}

/// One series of a table.
pub(crate) trait SeriesCells: std::fmt::Debug {
    /// Bytes of one series, for the budget.
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

/// The series of one shard by place, as its owner has found them in the table.
#[derive(Debug)]
pub(super) struct Resolved<S>(Box<[Option<Arc<S>>]>);

impl<S: SeriesCells> Resolved<S> {
    /// Bytes for a table of `limit` names, for the budget.
    pub(super) const fn bytes(limit: usize) -> u64 {
        ((limit + 1) * size_of::<Option<Arc<S>>>() + 24) as u64
    }

    /// The series at a place. Looks it up in the table at its first use.
    #[inline(always)]
    pub(super) fn series(&mut self, table: &SeriesTable<S>, place: usize, shard: usize) -> Option<&S> {
        let found = self.0.get_mut(place)?;
        if found.is_none() {
            *found = table.share(place, shard);
        }
        found.as_deref()
    }
}

/// Series by name, one per shard. The first name is `other`.
#[derive(Debug)]
pub(crate) struct SeriesTable<S> {
    places: papaya::HashMap<Name, usize>,
    /// Names in the order of their places. A thread locks this to add a name, never to record.
    names: Mutex<Vec<Name>>,
    /// Indexed by name, then by shard.
    series: Box<[OnceLock<Arc<S>>]>,
    shards: usize,
    folded: AtomicU64,
    /// The table is full: no further name gets a place.
    is_full: AtomicBool,
}

impl<S: SeriesCells> SeriesTable<S> {
    /// A table for `limit` names in addition to `other`.
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

    /// Upper bound in bytes, for the budget.
    pub(crate) const fn bytes(limit: usize, shards: usize) -> u64 {
        // A name consists of two strings and is stored in the list and in the map. Both hold twice the
        // entries while they grow.
        let name = 4 * (MAX_NAME_BYTES + 24) + 3 * size_of::<Name>() + 24 + 6 * (size_of::<usize>() + 1);
        let series = shards * (size_of::<OnceLock<Arc<S>>>() + S::BYTES + 40);
        ((limit + 1) * (series + name)) as u64
    }

    /// Creates every series and makes its pages resident.
    pub(crate) fn touch(&mut self) -> std::io::Result<()> {
        for place in &mut self.series {
            place.get_or_init(|| Arc::new(S::new()));
            place.get_mut().and_then(Arc::get_mut).map_or(Ok(()), SeriesCells::touch)?;
        }
        Ok(())
    }

    /// The place of a name. 0, which is `other`, for an empty name, for `other` itself and for names beyond
    /// the budget.
    pub(crate) fn place(&self, first: &str, second: &str) -> usize {
        // Acquire pairs with the Release below: if the table is full, this thread finds every name that has a
        // place.
        let is_full = self.is_full.load(Acquire);
        if let Some(place) = self.places.pin().get(&Borrowed(first, second)) {
            return *place;
        }
        if second.is_empty() || first.is_empty() && second == "other" {
            return 0;
        }
        let fold = || {
            self.folded.fetch_add(1, Relaxed); // Relaxed: an independent counter.
            0
        };
        // Fold before taking the lock: every message may carry such a name.
        if is_full || first.len().max(second.len()) > MAX_NAME_BYTES {
            return fold();
        }
        let mut names = lock(&self.names);
        let places = self.places.pin();
        if let Some(place) = places.get(&Borrowed(first, second)) {
            return *place;
        }
        if names.len() * self.shards >= self.series.len() {
            self.is_full.store(true, Release); // Release: after the last name; pairs with the Acquire above.
            return fold();
        }
        let place = names.len();
        names.push((first.to_owned(), second.to_owned()));
        places.insert((first.to_owned(), second.to_owned()), place);
        place
    }

    /// The series of a name in one shard. Created on first use.
    #[inline]
    pub(crate) fn series(&self, place: usize, shard: usize) -> Option<&S> {
        let series = self.series.get(place * self.shards + shard)?;
        Some(series.get_or_init(|| Arc::new(S::new())))
    }

    /// As [`series`](Self::series), to keep.
    #[cold]
    fn share(&self, place: usize, shard: usize) -> Option<Arc<S>> {
        let series = self.series.get(place * self.shards + shard)?;
        Some(Arc::clone(series.get_or_init(|| Arc::new(S::new()))))
    }

    /// Room for the series of all names in one shard, for the owner of that shard.
    pub(super) fn resolved(&self) -> Resolved<S> {
        Resolved((0..self.series.len() / self.shards).map(|_| None).collect())
    }

    /// The series of a name in all shards that have one.
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

    /// Lookups of names beyond the budget.
    pub(crate) fn folded(&self) -> u64 {
        self.folded.load(Relaxed) // Relaxed: an independent counter.
    }
}
