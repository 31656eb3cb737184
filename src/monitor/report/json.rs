//! The report that holds every figure. `docs/schema.json` says what each is; it changes with `SCHEMA_VERSION`.

use crate::monitor::figures::MonitorStats;
use serde::Serialize;

/// Raised when a field goes, or changes its meaning; new fields leave it as it is.
const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
struct Report<'a> {
    schema_version: u32,
    version: &'static str,
    #[serde(flatten)]
    stats: &'a MonitorStats,
}

pub(super) fn write(stats: &MonitorStats) -> String {
    let report = Report { schema_version: SCHEMA_VERSION, version: env!("CARGO_PKG_VERSION"), stats };
    // Numbers, texts and lists always serialise; an empty object would be seen at once.
    serde_json::to_string(&report).unwrap_or_else(|_| "{}".to_owned())
}
