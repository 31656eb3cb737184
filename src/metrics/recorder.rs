//! What hosts route themselves and only report: counted from any thread, in series of its own, so that the accounting of
//! routed messages knows nothing of it. A few shards, one picked per thread, written with atomic adds; names are interned
//! on first use as long as the budget lasts, and a series takes memory when its name is first used.

use super::cell::Cell;
use super::figures::{GroupStats, LatencyStats, RecordedStats, RecordedTypeStats};
use super::histogram::{Distribution, Histogram};
use crate::id::MAX_NAME_BYTES;
use crate::sync::{AtomicU64, Mutex, Relaxed, lock};
use std::sync::OnceLock;

/// More threads than this share cells.
const SHARDS: usize = 4;

/// One name's figures in one shard. Every write is atomic by itself.
#[derive(Debug)]
struct Series {
    ok: Cell,
    failed: Cell,
    bytes: Cell,
    duration: Histogram,
}

impl Series {
    fn new() -> Self {
        let cell = Cell::default;
        Self { ok: cell(), failed: cell(), bytes: cell(), duration: Histogram::new() }
    }
}

fn all_shards() -> Box<[Series]> {
    (0..SHARDS).map(|_| Series::new()).collect()
}

type Name = (String, String);

/// A name as callers give it, looked up without making it one's own.
#[derive(Hash)]
struct Borrowed<'a>(&'a str, &'a str);

impl papaya::Equivalent<Name> for Borrowed<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        self.0 == name.0 && self.1 == name.1
    }
}

/// Series by name; the first is `other`.
#[derive(Debug)]
struct Table {
    places: papaya::HashMap<Name, usize>,
    /// In the order of their places; whoever adds one holds the lock, whoever records does not.
    names: Mutex<Vec<Name>>,
    series: Box<[OnceLock<Box<[Series]>>]>,
    folded: AtomicU64,
}

impl Table {
    fn new(limit: usize) -> Self {
        Self {
            places: papaya::HashMap::new(),
            names: Mutex::new(vec![(String::new(), "other".to_owned())]),
            series: (0..=limit).map(|_| OnceLock::new()).collect(),
            folded: AtomicU64::new(0),
        }
    }

    fn place(&self, first: &str, second: &str) -> usize {
        if let Some(place) = self.places.pin().get(&Borrowed(first, second)) {
            return *place;
        }
        if second.is_empty() {
            return 0;
        }
        let mut names = lock(&self.names);
        let places = self.places.pin();
        if let Some(place) = places.get(&Borrowed(first, second)) {
            return *place;
        }
        if names.len() >= self.series.len() || first.len().max(second.len()) > MAX_NAME_BYTES {
            self.folded.fetch_add(1, Relaxed); // Relaxed: a count by itself.
            return 0;
        }
        let place = names.len();
        names.push((first.to_owned(), second.to_owned()));
        places.insert((first.to_owned(), second.to_owned()), place);
        place
    }

    fn record(&self, place: usize, success: bool, bytes: u64, nanoseconds: u64) {
        let Some(place) = self.series.get(place) else { return };
        let shards = place.get_or_init(all_shards);
        let Some(series) = shards.get(shard_of_thread()) else { return };
        series.bytes.add_shared(bytes);
        series.duration.record_shared(nanoseconds);
        if success { &series.ok } else { &series.failed }.add_shared(1);
    }

    fn read<R>(&self, mut each: impl FnMut(&Name, [u64; 3], LatencyStats) -> R) -> Vec<R> {
        let names = lock(&self.names).clone();
        let read = |(place, name): (usize, &Name)| {
            let shards = || self.series.get(place).and_then(OnceLock::get).into_iter().flatten();
            let mut sums = [0u64; 3];
            for series in shards() {
                for (sum, cell) in sums.iter_mut().zip([&series.ok, &series.failed, &series.bytes]) {
                    *sum = sum.wrapping_add(cell.get());
                }
            }
            each(name, sums, Distribution::of(shards().map(|series| &series.duration)).into())
        };
        names.iter().enumerate().map(read).collect()
    }
}

/// The shard that the calling thread writes: threads take turns.
fn shard_of_thread() -> usize {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        // Relaxed: any spread will do.
        static SHARD: usize = NEXT.fetch_add(1, Relaxed) as usize % SHARDS;
    }
    SHARD.try_with(|shard| *shard).unwrap_or(0)
}

/// Counts what hosts report.
#[derive(Debug)]
pub(crate) struct Recorder {
    types: Table,
    applications: Table,
}

impl Recorder {
    /// For so many types and applications; further ones are `other`.
    pub(crate) fn new(types: usize, applications: usize) -> Self {
        Self { types: Table::new(types), applications: Table::new(applications) }
    }

    /// Bytes that it may come to, for the budget.
    pub(crate) const fn bytes(types: usize, applications: usize) -> u64 {
        let series = SHARDS * (size_of::<Series>() + Histogram::CELL_BYTES) + 24;
        // A name is two texts, stands in the list and in the map, and takes places in both, twice while they grow.
        let name = 4 * (MAX_NAME_BYTES + 24) + 3 * size_of::<Name>() + 24 + 6 * (size_of::<usize>() + 1);
        let each = size_of::<OnceLock<Box<[Series]>>>() + series + name;
        ((types + applications + 2) * each) as u64
    }

    /// Makes every series now and takes its pages from the system.
    pub(crate) fn touch(&mut self) -> std::io::Result<()> {
        for place in self.types.series.iter_mut().chain(&mut self.applications.series) {
            place.get_or_init(all_shards);
            for series in place.get_mut().into_iter().flatten() {
                series.duration.touch()?;
            }
        }
        Ok(())
    }

    /// Counts one message; see `Router::record`.
    pub(crate) fn record(
        &self,
        (protocol, message_type, application): (&str, &str, &str),
        success: bool,
        bytes: u64,
        nanoseconds: u64,
    ) {
        self.types.record(self.types.place(protocol, message_type), success, bytes, nanoseconds);
        self.applications.record(self.applications.place("", application), success, bytes, nanoseconds);
    }

    pub(crate) fn stats(&self) -> RecordedStats {
        RecordedStats {
            types: self.types.read(|(protocol, message_type), [succeeded, failed, bytes], duration| {
                let (protocol, message_type) = (protocol.clone(), message_type.clone());
                RecordedTypeStats { protocol, message_type, succeeded, failed, bytes, duration }
            }),
            applications: self.applications.read(|(_, name), [succeeded, failed, _], service| GroupStats {
                name: name.clone(),
                succeeded,
                failed,
                service,
            }),
            types_folded: self.types.folded.load(Relaxed), // Relaxed: a count by itself.
            applications_folded: self.applications.folded.load(Relaxed), // Relaxed: as above.
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_lose_nothing_and_names_past_the_budget_are_other() {
        let recorder = Recorder::new(2, 1);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for number in 0..10_000u64 {
                        let message_type = ["offer", "answer", "bye"][number as usize % 3];
                        recorder.record(("p", message_type, "app"), number % 10 != 0, 7, number);
                    }
                });
            }
        });
        let stats = recorder.stats();
        let counts: Vec<_> = stats.types.iter().map(|one| one.succeeded + one.failed).collect();
        assert_eq!((counts.len(), counts.iter().sum::<u64>()), (3, 60_000));
        // Whichever two came first have series; the third's third is folded, one by one.
        assert_eq!((counts[0], stats.types_folded), (19_998, 19_998));
        assert_eq!(stats.types.iter().map(|one| one.failed).sum::<u64>(), 6_000);
        assert_eq!(stats.types.iter().map(|one| one.bytes).sum::<u64>(), 420_000);
        assert_eq!(stats.types.iter().map(|one| one.duration.count).sum::<u64>(), 60_000);
        let app = &stats.applications[1];
        assert_eq!((app.name.as_str(), app.succeeded, app.failed), ("app", 54_000, 6_000));
        assert_eq!((app.service.minimum, app.service.maximum), (Some(0), Some(9_999)));
        assert_eq!(app.service.distribution.sum(), 6 * (9_999 * 10_000 / 2));
    }
}
