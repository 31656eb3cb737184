//! One type, protocol or application in the collector: the cumulative figures of the last collection, those of the
//! last reset, and the windows. The shown figures are the difference of the first two.

use super::window::{Delta, Windows};
use crate::error::Failed;
use crate::metrics::{Distribution, GroupSeries, Histogram, NAMED, TypeSeries};
use crate::sync::Arc;

/// What a series counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum SeriesKey {
    /// A protocol and one of its types.
    Type(String, String),
    Protocol(String),
    Application(String),
}

/// The counts of a series, without its latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeriesCounts {
    /// Zero for protocols and applications.
    pub(super) received: u64,
    pub(super) ok: u64,
    pub(super) failed: u64,
    pub(super) expired: u64,
    /// Failed messages by reason. All zero for protocols and applications.
    pub(super) failures: [u64; Failed::COUNT],
    pub(super) bytes: u64,
    pub(super) slow: u64,
    pub(super) named: [u64; NAMED],
    /// When the last message ended, in raw ticks. Not a count, but read together with the counts.
    pub(super) last: u64,
}

impl Default for SeriesCounts {
    fn default() -> Self {
        Self {
            received: 0,
            ok: 0,
            failed: 0,
            expired: 0,
            failures: [0; Failed::COUNT],
            bytes: 0,
            slow: 0,
            named: [0; NAMED],
            last: 0,
        }
    }
}

impl SeriesCounts {
    /// Combines each count with the other's.
    fn with(mut self, other: &Self, combine: fn(u64, u64) -> u64) -> Self {
        let each = |mine: &mut u64, theirs: &u64| *mine = combine(*mine, *theirs);
        each(&mut self.ok, &other.ok);
        each(&mut self.received, &other.received);
        each(&mut self.failed, &other.failed);
        each(&mut self.expired, &other.expired);
        each(&mut self.bytes, &other.bytes);
        each(&mut self.slow, &other.slow);
        self.failures.iter_mut().zip(&other.failures).for_each(|(mine, theirs)| each(mine, theirs));
        self.named.iter_mut().zip(&other.named).for_each(|(mine, theirs)| each(mine, theirs));
        self
    }

    /// The difference to `earlier`. Bytes come from hosts, so their sum may have wrapped.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self { bytes: self.bytes.wrapping_sub(earlier.bytes), ..self.with(earlier, u64::saturating_sub) }
    }

    /// Messages that have ended.
    pub(super) fn total(&self) -> u64 {
        self.ok + self.failed + self.expired
    }

    /// Adds another series' counts.
    pub(super) fn add(&mut self, other: &Self) {
        let last = self.last.max(other.last);
        *self = Self { last, ..self.with(other, u64::wrapping_add) };
    }
}

/// One thread's share of a series.
pub(super) trait SeriesShard {
    fn add_to(&self, counts: &mut SeriesCounts);
    fn service(&self) -> &Histogram;
    fn queue_wait(&self) -> Option<&Histogram>;
}

impl SeriesShard for TypeSeries {
    fn add_to(&self, counts: &mut SeriesCounts) {
        counts.ok += self.ok.get();
        counts.expired += self.expired.get();
        for (count, cell) in counts.failures.iter_mut().zip(&self.failed) {
            let failed = cell.get();
            *count += failed;
            counts.failed += failed;
        }
        // Read after the outcomes, so that it is never below their sum: a message is received before it ends.
        counts.received += self.received.get();
        counts.bytes = counts.bytes.wrapping_add(self.bytes.get());
        counts.slow += self.slow.get();
        counts.named.iter_mut().zip(&self.named).for_each(|(count, cell)| *count += cell.get());
        counts.last = counts.last.max(self.last.get());
    }

    fn service(&self) -> &Histogram {
        &self.service
    }

    fn queue_wait(&self) -> Option<&Histogram> {
        Some(&self.queue_wait)
    }
}

impl SeriesShard for GroupSeries {
    fn add_to(&self, counts: &mut SeriesCounts) {
        counts.ok += self.ok.get();
        counts.failed += self.failed.get();
        counts.expired += self.expired.get();
        counts.bytes = counts.bytes.wrapping_add(self.bytes.get());
        counts.slow += self.slow.get();
        counts.last = counts.last.max(self.last.get());
    }

    fn service(&self) -> &Histogram {
        &self.service
    }

    fn queue_wait(&self) -> Option<&Histogram> {
        None
    }
}

/// One series' latencies: cumulative at the last collection, and at the last reset.
#[derive(Debug, Default)]
pub(super) struct SeriesTrack {
    generation: u64,
    cumulative: Distribution,
    baseline: Option<Distribution>,
}

impl SeriesTrack {
    /// Reads the series again if anything has been recorded since the last call. Returns what has been recorded, or
    /// `None`.
    pub(super) fn follow<'a>(
        &mut self,
        epoch: u64,
        histograms: impl Iterator<Item = &'a Histogram> + Clone,
    ) -> Option<Distribution> {
        // Read all generations before any cell (see `Histogram`). Each generation only grows, so their sum changes
        // whenever one does.
        let generation = histograms.clone().fold(0u64, |sum, one| sum.wrapping_add(one.generation()));
        if generation == self.generation {
            return None;
        }
        self.generation = generation;
        let now = Distribution::unsettled(epoch, histograms);
        let delta = now.since(&self.cumulative);
        self.cumulative = now;
        Some(delta)
    }

    /// Adds the values that a part of the series has recorded. For a total over several series.
    pub(super) fn add(&mut self, delta: &Distribution) {
        self.cumulative.merge(delta);
    }

    /// The values since the last reset.
    pub(super) fn shown(&self) -> Distribution {
        match &self.baseline {
            Some(baseline) => self.cumulative.since(baseline),
            None => self.cumulative.since(&Distribution::default()),
        }
    }

    pub(super) fn reset(&mut self) {
        self.baseline = Some(self.cumulative.clone());
        self.cumulative.forget_extremes();
    }

    /// The largest value since the last reset.
    pub(super) fn maximum(&self) -> u64 {
        self.cumulative.maximum().unwrap_or(0)
    }

    pub(super) fn bytes(&self) -> u64 {
        Distribution::BYTES * if self.baseline.is_some() { 2 } else { 1 }
    }
}

#[derive(Debug)]
pub(super) struct CollectedSeries {
    pub(super) key: Arc<SeriesKey>,
    /// Its index among the router's series, and among the recorded series.
    pub(super) routed: Option<usize>,
    pub(super) recorded: Option<usize>,
    pub(super) counts: SeriesCounts,
    baseline: SeriesCounts,
    pub(super) service: SeriesTrack,
    /// Types only.
    pub(super) queue_wait: Option<SeriesTrack>,
    pub(super) windows: Option<Windows>,
    /// Whether it got no windows because none were left.
    pub(super) without_windows: bool,
}

/// What a series has recorded since the last collection.
pub(super) struct SeriesNews {
    pub(super) service: Option<Distribution>,
    pub(super) queue_wait: Option<Distribution>,
    pub(super) counts: SeriesCounts,
}

impl CollectedSeries {
    pub(super) fn new(key: Arc<SeriesKey>) -> Self {
        let queue_wait = matches!(*key, SeriesKey::Type(..)).then(SeriesTrack::default);
        Self {
            key,
            routed: None,
            recorded: None,
            counts: SeriesCounts::default(),
            baseline: SeriesCounts::default(),
            service: SeriesTrack::default(),
            queue_wait,
            windows: None,
            without_windows: false,
        }
    }

    /// Reads the series' shards again.
    pub(super) fn follow<'a, S: SeriesShard + 'a>(
        &mut self,
        epoch: u64,
        shards: impl Iterator<Item = &'a S> + Clone,
    ) -> SeriesNews {
        let mut counts = SeriesCounts::default();
        shards.clone().for_each(|shard| shard.add_to(&mut counts));
        let news = SeriesNews {
            service: self.service.follow(epoch, shards.clone().map(S::service)),
            queue_wait: self
                .queue_wait
                .as_mut()
                .and_then(|track| track.follow(epoch, shards.filter_map(S::queue_wait))),
            counts: counts.since(&self.counts),
        };
        self.counts = counts;
        news
    }

    /// The counts since the last reset.
    pub(super) fn shown(&self) -> SeriesCounts {
        SeriesCounts { last: self.counts.last, ..self.counts.since(&self.baseline) }
    }

    pub(super) fn reset(&mut self, now: u64) {
        self.baseline = self.counts;
        self.service.reset();
        if let Some(track) = &mut self.queue_wait {
            track.reset();
        }
        if let Some(windows) = &mut self.windows {
            windows.reset(now);
        }
    }

    /// Bytes of the series without its windows.
    pub(super) fn bytes(&self) -> u64 {
        let tracks = [Some(&self.service), self.queue_wait.as_ref()];
        size_of::<Self>() as u64 + tracks.into_iter().flatten().map(SeriesTrack::bytes).sum::<u64>()
    }
}

/// Converts a difference of figures to the form that windows take.
pub(super) fn delta<'a>(times: Option<&'a Distribution>, counts: &SeriesCounts) -> Delta<'a> {
    Delta {
        cells: times.map(Distribution::cells).unwrap_or_default(),
        sum: times.map_or(0, Distribution::sum),
        errors: counts.failed + counts.expired,
        slow: counts.slow,
        bytes: counts.bytes,
    }
}
