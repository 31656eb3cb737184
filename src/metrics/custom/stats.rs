//! Figures of the host's metrics.

use super::{Cells, CustomFamily, Customs, Kind};
use crate::metrics::{Distribution, LatencyStats};
use crate::sync::{Relaxed, lock};
use serde::{Deserialize, Serialize};

/// All metrics of the host. Counted since their declaration; a reset does not affect them.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CustomStats {
    /// All families, in the order of their declaration.
    pub families: Vec<CustomFamilyStats>,
}

/// One family of metrics.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CustomFamilyStats {
    /// Name of the family.
    pub name: String,
    /// Kind of the family.
    pub kind: Kind,
    /// Purpose of the family.
    pub help: String,
    /// Unit. Empty if the family has none.
    pub unit: String,
    /// Series, in the order of their first use.
    pub series: Vec<CustomSeriesStats>,
    /// Lookups of label sets without their own series.
    pub folded: u64,
    /// Values that were ignored. For gauges: values that are NaN, or whose sum would be NaN. For histograms:
    /// values of 2^62 or more.
    pub ignored: u64,
}

/// One series of a family.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CustomSeriesStats {
    /// Labels as pairs of name and value.
    pub labels: Vec<(String, String)>,
    /// Value of a counter or gauge; null for a histogram. An infinite value is a text.
    #[serde(serialize_with = "crate::metrics::number", deserialize_with = "crate::metrics::read_number")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::metrics::Number"))]
    pub value: Option<f64>,
    /// Figures of a histogram, in nanoseconds if its unit is seconds. Null for a counter or gauge.
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
            // The conversion to `f64` is exact up to 2^53.
            Cells::Counter(shards) => {
                let sum = shards.iter().fold(0u64, |sum, cell| sum.saturating_add(cell.get()));
                (Some(sum as f64), None)
            }
            Cells::Gauge(level) => {
                ignored += level.ignored.get();
                (Some(level.value.load(Relaxed)), None) // Relaxed: the value is independent of other cells.
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
        folded: family.folded.load(Relaxed), // Relaxed: an independent counter.
        ignored,
    }
}
