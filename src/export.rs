//! Figures for others: the Prometheus text format. Pure functions of a snapshot; hosts and the bundled server call them
//! wherever they serve HTTP. The JSON report is [`Monitor::report`](crate::monitor::Monitor::report).

mod ports;
mod text;

pub use text::{CONTENT_TYPE, prometheus};
