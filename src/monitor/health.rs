//! What the host knows about a connection's health, for [`Monitor::mark`](super::Monitor::mark).

use crate::clients::ClientId;

/// A connection that the monitor shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// A client of the router, as its port's `connect` names it.
    Routed(ClientId),
    /// A client of the host, as [`Monitor::connect`](super::Monitor::connect) names it.
    Recorded(ClientId),
}

/// Whether a connection works, as far as the host knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It works.
    Healthy,
    /// It does not: a probe has failed, for example.
    Unhealthy,
}
