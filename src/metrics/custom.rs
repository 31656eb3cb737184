//! TEMP
use super::LatencyStats;
use crate::error::Error;
/// T
#[derive(Clone, Debug, Default, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CustomStats {
    /// T
    pub families: Vec<CustomFamilyStats>,
}
/// T
#[derive(Clone, Debug, Default, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CustomFamilyStats {
    /// T
    pub name: String,
    /// T
    pub series: Vec<CustomSeriesStats>,
}
/// T
#[derive(Clone, Debug, Default, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CustomSeriesStats {
    /// T
    pub labels: Vec<(String, String)>,
    /// T
    pub value: Option<f64>,
    /// T
    pub histogram: Option<LatencyStats>,
}
/// T
#[derive(Debug)]
pub struct Descriptor;
/// T
#[derive(Debug)]
pub struct Counter;
/// T
#[derive(Debug)]
pub struct CounterFamily;
/// T
#[derive(Debug)]
pub struct GaugeFamily;
/// T
#[derive(Debug)]
pub struct HistogramFamily;
#[derive(Debug, Default)]
pub(crate) struct Customs;
impl Customs {
    pub(crate) fn stats(&self) -> CustomStats {
        CustomStats::default()
    }
    pub(crate) fn register_counter(&self, _: &Descriptor) -> Result<CounterFamily, Error> {
        Err(Error::StaleClient)
    }
    pub(crate) fn register_gauge(&self, _: &Descriptor) -> Result<GaugeFamily, Error> {
        Err(Error::StaleClient)
    }
    pub(crate) fn register_histogram(&self, _: &Descriptor) -> Result<HistogramFamily, Error> {
        Err(Error::StaleClient)
    }
}
