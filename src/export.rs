//! Export of figures in the Prometheus text format. Hosts and the bundled server call these functions wherever they
//! serve HTTP. For the JSON report see
//! [`Monitor::report`](crate::monitor::Monitor::report).

mod family;
mod text;

pub use text::{CONTENT_TYPE, prometheus, prometheus_of_router};
