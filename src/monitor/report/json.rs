//! The report that holds every figure. `docs/schema.json` says what each is; it changes with `SCHEMA_VERSION`.

use crate::monitor::figures::MonitorStats;
use serde::Serialize;

/// Raised when a field goes, or changes its meaning; new fields leave it as it is.
const SCHEMA_VERSION: u32 = 2;

/// A corelane report: every figure of one moment.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Report<'a> {
    /// Raised when a field goes, or changes its meaning; new fields leave it as it is.
    schema_version: u32,
    /// The version of corelane that wrote it.
    version: &'static str,
    #[serde(flatten)]
    stats: &'a MonitorStats,
}

/// The JSON schema of [`Format::Json`](super::Format::Json) reports, as text: what `docs/schema.json` holds.
#[cfg(feature = "schema")]
pub fn schema() -> String {
    // A schema always serialises; an empty one would be seen at once.
    serde_json::to_string_pretty(&schemars::schema_for!(Report<'static>)).unwrap_or_default() + "\n"
}

pub(super) fn write(stats: &MonitorStats) -> String {
    let report = Report { schema_version: SCHEMA_VERSION, version: env!("CARGO_PKG_VERSION"), stats };
    // Numbers, texts and lists always serialise; an empty object would be seen at once.
    serde_json::to_string(&report).unwrap_or_else(|_| "{}".to_owned())
}
