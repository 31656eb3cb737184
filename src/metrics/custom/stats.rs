//! The host's metrics as they are shown.

use super::{Cells, CustomFamily, Customs, Kind};
use crate::metrics::{Distribution, LatencyStats};
use crate::sync::{Relaxed, lock};
use serde::Serialize;

/// All of the host's metrics. Counted since they were declared, whatever was reset.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CustomStats {
    /// By family, in the order in which they were declared.
    pub families: Vec<CustomFamilyStats>,
}

/// One family.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CustomFamilyStats {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What it is for.
    pub help: String,
    /// Its unit; empty for none.
    pub unit: String,
    /// Its series, in the order in which they were first used.
    pub series: Vec<CustomSeriesStats>,
    /// How often label values were looked up that had no series of their own.
    pub folded: u64,
    /// Values that were left out: of gauges, those that are no number or would have led to none; of histograms, those of 2^62
    /// or more.
    pub ignored: u64,
}

/// One series.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CustomSeriesStats {
    /// Its labels, names and values.
    pub labels: Vec<(String, String)>,
    /// A counter's or gauge's value; null for a histogram. An infinite one is a text.
    #[serde(serialize_with = "crate::metrics::number")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::metrics::Number"))]
    pub value: Option<f64>,
    /// A histogram's figures, in nanoseconds where the unit is seconds; null otherwise.
    pub histogram: Option<LatencyStats>,
}

impl Customs {
    pub(crate) fn stats(&self) -> CustomStats {
        let families = lock(&self.families).clone();
        CustomStats { families: families.iter().map(|family| family_stats(family)).collect() }
    }
}

fn family_stats(family: &CustomFamily) -> CustomFamilyStats {
    let series = lock(&family.sets).series.clone();
    let descriptor = &family.descriptor;
    let mut ignored = 0;
    let series = series.into_iter().map(|(values, cells)| {
        let (value, histogram) = match &*cells {
            // Exact up to 2^53.
            Cells::Counter(shards) => {
                let sum = shards.iter().fold(0u64, |sum, cell| sum.saturating_add(cell.get()));
                (Some(sum as f64), None)
            }
            Cells::Gauge(level) => {
                ignored += level.ignored.get();
                (Some(level.value.load(Relaxed)), None) // Relaxed: a reading by itself.
            }
            Cells::Histogram(values) => {
                ignored += values.ignored.get();
                (None, Some(Distribution::of(0, [&values.histogram]).into()))
            }
        };
        CustomSeriesStats {
            labels: descriptor.labels.iter().cloned().zip(values).collect(),
            value,
            histogram,
        }
    });
    let series = series.collect();
    CustomFamilyStats {
        name: descriptor.name.clone(),
        kind: family.kind,
        help: descriptor.help.clone(),
        unit: descriptor.unit.clone(),
        series,
        folded: family.folded.load(Relaxed), // Relaxed: a count by itself.
        ignored,
    }
}
