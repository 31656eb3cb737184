//! Reports of the host: messages that the host routed itself, its clients and its own metrics. The host may
//! report them with or without a router.
//!
//! [`Monitor::record`](crate::monitor::Monitor::record) takes a [`RecordedMessage`] on any thread. A thread that records much
//! has a [`Recorder`], from [`Monitor::recorder`](crate::monitor::Monitor::recorder), and writes cells of its own; all other
//! threads share a few shards through atomic adds. Both are exact.

// Each monitor has one `Hub`; the router owns the hub if there is a router. The monitor reads the hub through a `Source`:
// a router, or only the reports of the host.

mod hub;
mod recorder;
mod stats;
mod table;

pub use hub::{Labels, Measured, RecordedMessage};
pub use recorder::{RecordBatch, Recorder};

pub(crate) use hub::{Hub, HubSizes};

use crate::clients::Clients;
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::{Sources, Stats};
use crate::sync::Arc;
use std::fmt::Debug;

/// Figures that the monitor's thread reads at any time. A read never blocks a recording thread.
pub(crate) trait Source: Debug + Send + Sync {
    fn config(&self) -> &Config;
    fn clock(&self) -> &Clock;
    fn hub(&self) -> &Arc<Hub>;
    /// The clients of the router, if there is a router.
    fn routed_clients(&self) -> Option<&Clients>;
    /// Passes the shards of the router's workers and ports to `reader`.
    fn read(&self, reader: &mut dyn FnMut(&Sources<'_>));
    /// All figures of the router, if there is a router.
    fn router_stats(&self) -> Option<Stats>;
}

/// Source of a router's figures, for [`Monitor::of`](crate::monitor::Monitor::of).
#[derive(Clone, Debug)]
pub struct MonitorSource(pub(crate) Arc<dyn Source>);
