//! Figures for others: the Prometheus text format and JSON. Pure functions of a snapshot; hosts and the bundled
//! server call them wherever they serve HTTP.

mod ports;
mod text;

pub use text::{CONTENT_TYPE, prometheus};

use crate::metrics::Stats;

/// The snapshot as JSON, with a `schema_version` that changes when a field changes its meaning.
pub fn json(stats: &Stats) -> String {
    #[derive(serde::Serialize)]
    struct Document<'a> {
        schema_version: u32,
        version: &'static str,
        #[serde(flatten)]
        stats: &'a Stats,
    }
    let document = Document { schema_version: 1, version: env!("CARGO_PKG_VERSION"), stats };
    // Numbers, strings and lists always serialise; an empty object would be seen at once.
    serde_json::to_string(&document).unwrap_or_else(|_| "{}".to_owned())
}
