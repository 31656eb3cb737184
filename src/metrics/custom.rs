//! The host's own metrics: families that it declares, with their labels and how many sets of label values each may have.
//! A set past that is counted under one where every label is `other`. A handle leads straight to its cells: recording
//! through it hashes nothing, waits for nobody and takes no memory, from any thread.

mod name;
mod stats;

pub use stats::{CustomFamilyStats, CustomSeriesStats, CustomStats};

use super::cell::{Cell, SHARED};
use super::histogram::{Histogram, IMPOSSIBLE};
use crate::error::Error;
use crate::sync::{Arc, AtomicU64, Gauge as GaugeCell, Mutex, Relaxed, lock};
use crossbeam_utils::CachePadded;
use std::collections::HashMap;

/// Families at once.
const MAX_FAMILIES: usize = 256;
/// Bytes of a label's value that are kept.
const MAX_VALUE: usize = 64;
/// What stands for every value that has no series of its own.
const OTHER: &str = "other";

/// What a metric is called and what it is for.
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
    /// A metric without unit and labels. The name follows Prometheus' conventions: a counter's ends in `_total`.
    pub fn new(name: &str, help: &str) -> Self {
        let (name, help) = (name.to_owned(), help.to_owned());
        Self { name, help, unit: String::new(), labels: Vec::new(), max_series: 64 }
    }

    /// Its unit: `seconds`, `bytes`, `ratio` or another base unit, which the name then ends in (before `_total`).
    pub fn unit(mut self, unit: &str) -> Self {
        unit.clone_into(&mut self.unit);
        self
    }

    /// The names of its labels, up to 8.
    pub fn labels(mut self, labels: &[&str]) -> Self {
        self.labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self
    }

    /// How many sets of label values may have series of their own, 64 unless said; further ones share one beside these,
    /// in which every label is `other`.
    pub fn max_series(mut self, series: usize) -> Self {
        self.max_series = series;
        self
    }
}

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// One series' cells.
#[derive(Debug)]
enum Cells {
    Counter(Box<[CachePadded<Cell>]>),
    Gauge(Level),
    Histogram(HistogramCells),
}

/// A histogram's.
#[derive(Debug)]
struct HistogramCells {
    histogram: Histogram,
    /// What was given and left out.
    ignored: Cell,
}

/// A gauge's.
#[derive(Debug)]
struct Level {
    value: GaugeCell,
    /// What was given and left out.
    ignored: Cell,
}

impl Level {
    /// Replaces the value by what `change` makes of it, unless that is no number.
    #[inline]
    fn update(&self, change: impl Fn(f64) -> f64) {
        let changed = |present| Some(change(present)).filter(|value| !value.is_nan());
        // Relaxed: a reading by itself.
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
    /// By label values; in the order in which they came.
    places: HashMap<Vec<String>, usize>,
    series: Vec<(Vec<String>, Arc<Cells>)>,
    /// Of these, those that the family did not pay for when it was registered.
    own: usize,
}

/// How many series all families together may still make.
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
    /// The cells of a set of label values, made on first use as long as the budget lasts.
    fn with(&self, values: &[&str]) -> Result<Arc<Cells>, Error> {
        let wanted = self.descriptor.labels.len();
        if values.len() != wanted {
            let name = self.descriptor.name.clone();
            return Err(Error::MetricLabels { name, wanted: wanted as u32, given: values.len() as u32 });
        }
        let values: Vec<String> = values.iter().map(|value| shortened(value).to_owned()).collect();
        let mut sets = lock(&self.sets);
        if let Some(cells) = sets.get(&values) {
            return Ok(cells);
        }
        // The family paid for one when it was registered: that without labels, or that of all others.
        if values.iter().all(|value| value == OTHER) {
            return Ok(sets.insert(values, self.kind));
        }
        if sets.own < self.descriptor.max_series && self.budget.take() {
            sets.own += 1;
            return Ok(sets.insert(values, self.kind));
        }
        self.folded.fetch_add(1, Relaxed); // Relaxed: a count by itself.
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

/// As much of a value as is kept.
fn shortened(value: &str) -> &str {
    let mut end = value.len().min(MAX_VALUE);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.get(..end).unwrap_or_default()
}

/// All that a host has declared.
#[derive(Debug)]
pub(crate) struct Customs {
    families: Mutex<Vec<Arc<CustomFamily>>>,
    budget: Arc<SeriesBudget>,
    limit: usize,
}

impl Customs {
    /// For so many series in all.
    pub(crate) fn new(limit: usize) -> Self {
        Self { families: Mutex::default(), budget: Arc::new(SeriesBudget(Mutex::new(limit))), limit }
    }

    /// Bytes that so many series may come to, for the budget: a histogram each, with its label values, twice; and each
    /// family's texts. A series takes its memory when its label values are first looked up.
    pub(crate) const fn bytes(limit: usize) -> u64 {
        let cells = size_of::<Cells>() + Histogram::CELL_BYTES + 32;
        let values = 2 * name::MAX_LABELS * (MAX_VALUE + 24 + 16) + 64;
        let families = if limit < MAX_FAMILIES { limit } else { MAX_FAMILIES };
        (limit * (cells + values) + families * (size_of::<CustomFamily>() + name::TEXT_BYTES + 64)) as u64
    }

    fn register(&self, kind: Kind, descriptor: &Descriptor) -> Result<Arc<CustomFamily>, Error> {
        name::check(kind, descriptor)?;
        let mut families = lock(&self.families);
        if let Some(known) = families.iter().find(|one| one.descriptor.name == descriptor.name) {
            let same = known.kind == kind && known.descriptor == *descriptor;
            let problem = "a metric of that name has another kind, help, unit, labels or number of series";
            return if same { Ok(Arc::clone(known)) } else { refuse(descriptor, problem) };
        }
        if families.iter().any(|one| name::clash(&one.descriptor.name, &descriptor.name)) {
            return refuse(descriptor, "another metric makes samples of that name");
        }
        // One series for each family at least: its own, or that of all others.
        if families.len() >= MAX_FAMILIES || !self.budget.take() {
            return Err(Error::TooManyMetrics(self.limit as u32));
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

    pub(crate) fn counter(&self, descriptor: &Descriptor) -> Result<CounterFamily, Error> {
        self.register(Kind::Counter, descriptor).map(CounterFamily)
    }

    pub(crate) fn gauge(&self, descriptor: &Descriptor) -> Result<GaugeFamily, Error> {
        self.register(Kind::Gauge, descriptor).map(GaugeFamily)
    }

    pub(crate) fn histogram(&self, descriptor: &Descriptor) -> Result<HistogramFamily, Error> {
        self.register(Kind::Histogram, descriptor).map(HistogramFamily)
    }
}

fn refuse<T>(descriptor: &Descriptor, problem: &'static str) -> Result<T, Error> {
    Err(Error::Metric { name: descriptor.name.clone(), problem })
}

macro_rules! families {
    ($($family:ident $handle:ident $what:literal;)+) => { $(
        #[doc = concat!("A declared ", $what, ". Clones are one family.")]
        #[derive(Clone, Debug)]
        pub struct $family(Arc<CustomFamily>);

        impl $family {
            /// The series of these label values, in the order of the labels; values are kept up to 64 bytes, and an empty
            /// one means that the label is absent. Past the number of series declared, and past `max_custom_series`,
            /// that of all others, counted. May wait for another thread that does the same: look series up once.
            ///
            /// # Errors
            /// [`Error::MetricLabels`] for another number of values than there are labels.
            pub fn with(&self, values: &[&str]) -> Result<$handle, Error> {
                self.0.with(values).map($handle)
            }
        }

        #[doc = concat!("One series of a ", $what, ". Any thread; clones are one series.")]
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
    /// Counts so many. A count that reaches the largest number stays there: it never goes back.
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
    /// Sets it. What is no number leaves it as it is, and is counted in
    /// [`ignored`](CustomFamilyStats::ignored).
    #[inline]
    pub fn set(&self, value: f64) {
        if let Cells::Gauge(level) = &*self.0 {
            level.update(|_| value);
        }
    }

    /// Adds to it, or takes off; likewise where the sum would be no number.
    #[inline]
    pub fn add(&self, value: f64) {
        if let Cells::Gauge(level) = &*self.0 {
            level.update(|present| present + value);
        }
    }
}

impl CustomHistogram {
    /// Counts a value: nanoseconds where the unit is seconds, otherwise bytes. A sum that reaches the largest number stays
    /// there. A value of 2^62 or more, which a negative difference becomes, is left out and counted in
    /// [`ignored`](CustomFamilyStats::ignored).
    #[inline]
    pub fn record(&self, value: u64) {
        let Cells::Histogram(values) = &*self.0 else { return };
        if value >= IMPOSSIBLE {
            values.ignored.add_shared(1);
            return;
        }
        // A reset does not touch the host's own metrics: there is one epoch.
        values.histogram.record_shared_to_end(value);
    }
}

#[cfg(test)]
mod tests;
