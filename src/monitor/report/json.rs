//! The JSON report, which holds every figure. `docs/schema.json` describes the figures and changes with
//! `SCHEMA_VERSION`.

use crate::monitor::figures::MonitorStats;
use serde::Serialize;

/// Incremented when a field is removed or changes its meaning. New fields do not change it.
const SCHEMA_VERSION: u32 = 3;

/// A corelane report: every figure at one moment.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Report<'a> {
    /// Incremented when a field is removed or changes its meaning. New fields do not change it.
    schema_version: u32,
    /// The version of corelane that wrote the report.
    version: &'static str,
    #[serde(flatten)]
    stats: &'a MonitorStats,
}

/// The JSON schema of [`Format::Json`](super::Format::Json) reports as text: the contents of `docs/schema.json`.
#[cfg(feature = "schema")]
pub fn schema() -> String {
    // Serialising a schema cannot fail.
    serde_json::to_string_pretty(&schemars::schema_for!(Report<'static>)).unwrap_or_default() + "\n"
}

pub(super) fn write(stats: &MonitorStats) -> String {
    let report = Report { schema_version: SCHEMA_VERSION, version: env!("CARGO_PKG_VERSION"), stats };
    let text = serde_json::to_string(&report);
    debug_assert!(text.is_ok(), "there are only numbers, strings and lists");
    text.unwrap_or_else(|_| "{}".to_owned())
}
