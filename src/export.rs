//! Export of figures in the Prometheus text format. The functions are pure functions of a snapshot; hosts and the
//! bundled server call them wherever they serve HTTP. For the JSON report see
//! [`Monitor::report`](crate::monitor::Monitor::report).

mod family;
mod text;

pub use text::{CONTENT_TYPE, prometheus};
