//! Where a monitor reads figures from: a router, or only the reports of the host.

use super::hub::Hub;
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
