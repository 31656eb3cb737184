//! Export of figures in the Prometheus text format. Hosts and the bundled server call these functions wherever they
//! serve HTTP. For the JSON report see [`Monitor::report`](crate::monitor::Monitor::report).
//!
//! Messages that the host has recorded have families of their own: `corelane_recorded_messages_total` and
//! `corelane_recorded_duration_seconds` by `message_type` and `protocol`, `corelane_recorded_app_messages_total` by `app`.
//! The counters also have the `outcome`, which is `ok` or `failed`. The help text of each family says what it counts.

mod family;
mod text;

pub use text::{CONTENT_TYPE, prometheus, prometheus_of_router};
