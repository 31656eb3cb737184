//! What a monitor reads from: a router, or nothing but what its host reports.

use super::hub::Hub;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::{Sources, Stats};
use crate::sync::Arc;
use std::fmt::Debug;

/// Read by the monitor's thread, at any time; makes nobody wait who records.
pub(crate) trait Source: Debug + Send + Sync {
    fn config(&self) -> &Config;
    fn clock(&self) -> &Clock;
    fn hub(&self) -> &Arc<Hub>;
    /// The clients of a router.
    fn routed_clients(&self) -> Option<&Clients>;
    /// The shards of a router's workers and ports.
    fn read(&self, reader: &mut dyn FnMut(&Sources<'_>));
    /// A router's figures, all of them.
    fn router_stats(&self) -> Option<Stats>;
}

/// Where a router's figures come from, for [`Monitor::of`](crate::monitor::Monitor::of).
#[derive(Clone, Debug)]
pub struct MonitorSource(pub(crate) Arc<dyn Source>);
