//! The host's own metrics. The host declares families with their labels and the number of label sets that may
//! have their own series. Further label sets share one series, in which every label is `other`. A handle
//! points to its cells: recording through a handle does not hash, block or allocate. Any thread may record.

mod name;
mod stats;

pub use stats::{CustomFamilyStats, CustomSeriesStats, CustomStats};

use super::cell::{Cell, SHARED};
use super::histogram::{Histogram, IMPOSSIBLE};
use crate::error::MetricError;
use crate::sync::{Arc, AtomicU64, Gauge as GaugeCell, Mutex, Relaxed, lock};
use crossbeam_utils::CachePadded;
use std::collections::HashMap;

/// Largest number of families.
const MAX_FAMILIES: usize = 256;
/// Bytes of a label value that are kept.
const MAX_VALUE: usize = 64;
/// Label value of the series that all label sets without their own series share.
const OTHER: &str = "other";

/// Name and description of a metric.
///
/// ```
/// use corelane::config::Config;
/// use corelane::metrics::Descriptor;
/// use corelane::monitor::Monitor;
///
/// let monitor = Monitor::new(Config::default())?;
/// let joins = Descriptor::new("conference_joins_total", "Joins of conferences").labels(&["region"]);
/// let europe = monitor.counter(&joins)?.with(&["eu"])?; // once
/// europe.add(1); // as often as it happens
/// assert_eq!(monitor.snapshot().custom.families[0].series[0].value, Some(1.0));
/// # Ok::<(), corelane::error::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub(super) name: String,
    pub(super) help: String,
    pub(super) unit: String,
    pub(super) labels: Vec<String>,
    pub(super) max_series: usize,
}

impl Descriptor {
    /// A metric without unit and labels. The name must follow the conventions of Prometheus: the name of a
    /// counter, and no other name, ends in `_total`.
    pub fn new(name: &str, help: &str) -> Self {
        let (name, help) = (name.to_owned(), help.to_owned());
        Self { name, help, unit: String::new(), labels: Vec::new(), max_series: 64 }
    }

    /// Sets the unit: `seconds`, `bytes`, `ratio` or another base unit. The name must end in the unit (before
    /// `_total`).
    pub fn unit(mut self, unit: &str) -> Self {
        unit.clone_into(&mut self.unit);
        self
    }

    /// Sets the names of the labels, at most 8.
    pub fn labels(mut self, labels: &[&str]) -> Self {
        self.labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self
    }

    /// Sets how many label sets may have their own series. The default is 64. Further label sets share one
    /// additional series, in which every label is `other`.
    pub fn max_series(mut self, series: usize) -> Self {
        self.max_series = series;
        self
    }
}

/// Kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// A value that only grows.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// A distribution of values.
    Histogram,
}

/// Cells of one series.
#[derive(Debug)]
enum Cells {
    Counter(Box<[CachePadded<Cell>]>),
    Gauge(Level),
    Histogram(HistogramCells),
}

/// Cells of a histogram.
#[derive(Debug)]
struct HistogramCells {
    histogram: Histogram,
    /// Number of ignored values.
    ignored: Cell,
}

/// Cells of a gauge.
#[derive(Debug)]
struct Level {
    value: GaugeCell,
    /// Number of ignored values.
    ignored: Cell,
}

impl Level {
    /// Replaces the value with `change(value)`. A result of NaN is ignored and counted.
    #[inline]
    fn update(&self, change: impl Fn(f64) -> f64) {
        let changed = |present| Some(change(present)).filter(|value| !value.is_nan());
        // Relaxed: the value is independent of other cells.
        if self.value.fetch_update(Relaxed, Relaxed, changed).is_err() {
            self.ignored.add_shared(1);
        }
    }
}

impl Cells {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter((0..SHARED).map(|_| CachePadded::new(Cell::default())).collect()),
            Kind::Gauge => Self::Gauge(Level { value: GaugeCell::new(0.0), ignored: Cell::default() }),
            Kind::Histogram => {
                Self::Histogram(HistogramCells { histogram: Histogram::new(), ignored: Cell::default() })
            }
        }
    }
}

/// One declared family.
#[derive(Debug)]
struct CustomFamily {
    kind: Kind,
    descriptor: Descriptor,
    budget: Arc<SeriesBudget>,
    sets: Mutex<Sets>,
    folded: AtomicU64,
}

#[derive(Debug, Default)]
struct Sets {
    /// Index of each label set in `series`, which is in the order of first use.
    places: HashMap<Vec<String>, usize>,
    series: Vec<(Vec<String>, Arc<Cells>)>,
    /// Number of series that were taken from the budget after the family was registered.
    own: usize,
}

/// Number of series that all families together may still create.
#[derive(Debug)]
struct SeriesBudget(Mutex<usize>);

impl SeriesBudget {
    fn take(&self) -> bool {
        let mut left = lock(&self.0);
        let any = *left > 0;
        *left -= usize::from(any);
        any
    }
}

impl CustomFamily {
    /// The cells of a label set. Created on first use while the budget lasts.
    fn with(&self, values: &[&str]) -> Result<Arc<Cells>, MetricError> {
        let wanted = self.descriptor.labels.len();
        if values.len() != wanted {
            let name = self.descriptor.name.clone();
            return Err(MetricError::Labels { name, wanted: wanted as u32, given: values.len() as u32 });
        }
        let values: Vec<String> = values.iter().map(|value| shortened(value).to_owned()).collect();
        let mut sets = lock(&self.sets);
        if let Some(cells) = sets.get(&values) {
            return Ok(cells);
        }
        // Needs no budget: registration paid for one series, the one without labels or the one in which every
        // label is `other`.
        if values.iter().all(|value| value == OTHER) {
            return Ok(sets.insert(values, self.kind));
        }
        if sets.own < self.descriptor.max_series && self.budget.take() {
            sets.own += 1;
            return Ok(sets.insert(values, self.kind));
        }
        self.folded.fetch_add(1, Relaxed); // Relaxed: an independent counter.
        let other = vec![OTHER.to_owned(); wanted];
        Ok(sets.get(&other).unwrap_or_else(|| sets.insert(other, self.kind)))
    }
}

impl Sets {
    fn get(&self, values: &[String]) -> Option<Arc<Cells>> {
        let place = self.places.get(values)?;
        self.series.get(*place).map(|(_, cells)| Arc::clone(cells))
    }

    fn insert(&mut self, values: Vec<String>, kind: Kind) -> Arc<Cells> {
        let cells = Arc::new(Cells::new(kind));
        self.places.insert(values.clone(), self.series.len());
        self.series.push((values, Arc::clone(&cells)));
        cells
    }
}

/// The first `MAX_VALUE` bytes of a value, cut at a character boundary.
fn shortened(value: &str) -> &str {
    let mut end = value.len().min(MAX_VALUE);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.get(..end).unwrap_or_default()
}

/// All metrics that a host has declared.
#[derive(Debug)]
pub(crate) struct Customs {
    families: Mutex<Vec<Arc<CustomFamily>>>,
    budget: Arc<SeriesBudget>,
    limit: usize,
}

impl Customs {
    /// Capacity for `limit` series in total.
    pub(crate) fn new(limit: usize) -> Self {
        Self { families: Mutex::default(), budget: Arc::new(SeriesBudget(Mutex::new(limit))), limit }
    }

    /// Upper bound in bytes of `limit` series, for the budget: a histogram each, the label values twice, and
    /// the texts of each family. A series allocates its memory when its label set is first looked up.
    pub(crate) const fn bytes(limit: usize) -> u64 {
        let cells = size_of::<Cells>() + Histogram::CELL_BYTES + 32;
        let values = 2 * name::MAX_LABELS * (MAX_VALUE + 24 + 16) + 64;
        let families = if limit < MAX_FAMILIES { limit } else { MAX_FAMILIES };
        (limit * (cells + values) + families * (size_of::<CustomFamily>() + name::TEXT_BYTES + 64)) as u64
    }

    fn register(&self, kind: Kind, descriptor: &Descriptor) -> Result<Arc<CustomFamily>, MetricError> {
        name::check(kind, descriptor)?;
        let mut families = lock(&self.families);
        if let Some(known) = families.iter().find(|one| one.descriptor.name == descriptor.name) {
            let same = known.kind == kind && known.descriptor == *descriptor;
            let problem =
                "a metric with this name exists with another kind, help, unit, labels or number of series";
            return if same { Ok(Arc::clone(known)) } else { refuse(descriptor, problem) };
        }
        if families.iter().any(|one| name::clash(&one.descriptor.name, &descriptor.name)) {
            return refuse(descriptor, "another metric already has samples of that name");
        }
        // Pay for one series of the family: the one without labels, or the one in which every label is
        // `other`.
        if families.len() >= MAX_FAMILIES || !self.budget.take() {
            return Err(MetricError::TooMany(self.limit as u32));
        }
        let family = Arc::new(CustomFamily {
            kind,
            descriptor: descriptor.clone(),
            budget: Arc::clone(&self.budget),
            sets: Mutex::default(),
            folded: AtomicU64::new(0),
        });
        families.push(Arc::clone(&family));
        Ok(family)
    }

    pub(crate) fn counter(&self, descriptor: &Descriptor) -> Result<CounterFamily, MetricError> {
        self.register(Kind::Counter, descriptor).map(CounterFamily)
    }

    pub(crate) fn gauge(&self, descriptor: &Descriptor) -> Result<GaugeFamily, MetricError> {
        self.register(Kind::Gauge, descriptor).map(GaugeFamily)
    }

    pub(crate) fn histogram(&self, descriptor: &Descriptor) -> Result<HistogramFamily, MetricError> {
        self.register(Kind::Histogram, descriptor).map(HistogramFamily)
    }
}

fn refuse<T>(descriptor: &Descriptor, problem: &'static str) -> Result<T, MetricError> {
    Err(MetricError::Invalid { name: descriptor.name.clone(), problem })
}

macro_rules! families {
    ($($family:ident $handle:ident $what:literal;)+) => { $(
        #[doc = concat!("A declared ", $what, ". Clones refer to the same family.")]
        #[derive(Clone, Debug)]
        pub struct $family(Arc<CustomFamily>);

        impl $family {
            /// Returns the series of a label set. `values` are in the order of the labels. A value is cut off
            /// after 64 bytes; an empty value means that the label is absent.
            ///
            /// A label set beyond the declared number of series, or beyond `max_custom_series`, gets the
            /// series in which every label is `other`, and is counted as folded. May wait for another thread
            /// that looks up a series of this family, so look each series up once.
            ///
            /// # Errors
            /// [`MetricError::Labels`] if the number of values differs from the number of labels.
            pub fn with(&self, values: &[&str]) -> Result<$handle, MetricError> {
                self.0.with(values).map($handle)
            }
        }

        #[doc = concat!("One series of a ", $what, ". Any thread may record. Clones refer to the same series.")]
        #[derive(Clone, Debug)]
        pub struct $handle(Arc<Cells>);
    )+ };
}

families! {
    CounterFamily Counter "counter";
    GaugeFamily Gauge "gauge";
    HistogramFamily CustomHistogram "histogram";
}

impl Counter {
    /// Adds `count`. The value saturates at the largest number and never decreases.
    #[inline]
    pub fn add(&self, count: u64) {
        if let Cells::Counter(shards) = &*self.0
            && let Some(cell) = shards.get(super::shard_of_thread())
        {
            cell.add_shared_to_end(count);
        }
    }
}

impl Gauge {
    /// Sets the value. NaN leaves the gauge unchanged and is counted in
    /// [`ignored`](CustomFamilyStats::ignored).
    #[inline]
    pub fn set(&self, value: f64) {
        if let Cells::Gauge(level) = &*self.0 {
            level.update(|_| value);
        }
    }

    /// Adds to the value; a negative argument subtracts. If the sum is NaN, the gauge is unchanged and the
    /// call is counted in [`ignored`](CustomFamilyStats::ignored).
    #[inline]
    pub fn add(&self, value: f64) {
        if let Cells::Gauge(level) = &*self.0 {
            level.update(|present| present + value);
        }
    }
}

impl CustomHistogram {
    /// Counts a value, in nanoseconds if the unit is seconds, otherwise in bytes. The sum saturates at the
    /// largest number. A value of 2^62 or more is a negative difference; it is ignored and counted in
    /// [`ignored`](CustomFamilyStats::ignored).
    #[inline]
    pub fn record(&self, value: u64) {
        let Cells::Histogram(values) = &*self.0 else { return };
        if value >= IMPOSSIBLE {
            values.ignored.add_shared(1);
            return;
        }
        // A reset does not affect the host's own metrics, so their only epoch is 0.
        values.histogram.record_shared_to_end(value);
    }

    /// [`record`](Self::record) of many values, at a lower cost for each.
    pub fn record_all(&self, all: &[u64]) {
        let Cells::Histogram(values) = &*self.0 else { return };
        let possible = all.iter().copied().filter(|value| *value < IMPOSSIBLE);
        values.histogram.record_all_shared_to_end(possible);
        let ignored = all.iter().filter(|value| **value >= IMPOSSIBLE).count();
        if ignored > 0 {
            values.ignored.add_shared(ignored as u64);
        }
    }
}

#[cfg(test)]
mod tests;
