//! Export of figures to Prometheus, in its text format 0.0.4 or in OpenMetrics 1.0. `http::Door` (feature `http`) serves both at
//! `/metrics`; other hosts call these functions wherever they serve HTTP. For the JSON report see
//! [`Monitor::report`](crate::monitor::Monitor::report).
//!
//! Everything that the report has and that is a counter, a gauge or a histogram is there, with two differences: all of it
//! counts from the start, whatever was [`reset`](crate::monitor::Monitor::reset), because a counter must not go back; and
//! clients have no series of their own, because there is no limit to their names. A series of messages is written once
//! it has a message. The help text of each family says what it counts.
//!
//! Messages that the host has recorded have families of their own: `corelane_recorded_messages_total` and
//! `corelane_recorded_duration_seconds` by `message_type` and `protocol`, `corelane_recorded_app_messages_total` by `app`.
//! The counters also have the `outcome`, which is `ok` or `failed`.
//!
//! Histograms are classic ones, also in OpenMetrics: neither text format can carry native histograms. Their bounds are set by
//! `bucket_minimum_us`, `bucket_maximum_ms` and `buckets_per_octave`. Each bound is the bound of a cell, so every count is
//! exact.

mod bounds;
mod family;
mod format;
mod text;

pub use format::TextFormat;
#[cfg(feature = "http")]
pub(crate) use text::DoorFigures;
pub use text::{Exposition, openmetrics, prometheus, prometheus_of_router};

/// The content type of the text that [`prometheus`] returns.
pub const CONTENT_TYPE: &str = TextFormat::Prometheus.content_type();
