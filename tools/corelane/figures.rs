//! The answers of a monitor at one moment.

use crate::addresses::Addresses;
use corelane::monitor::{ClientFigures, MonitorStats, Timeline};

/// The figures of one moment.
pub struct Figures {
    pub stats: MonitorStats,
    pub timeline: Timeline,
    /// Clients that are silent, if they were asked for.
    pub idle: Option<Vec<ClientFigures>>,
    /// Addresses of clients, as far as they are known.
    pub addresses: Addresses,
    /// The version of the server's monitor.
    pub version: String,
}
