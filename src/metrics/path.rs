//! One worker's way to one port: what waits on it because the port is slow. Written by the worker, once per cycle and
//! only where something changed.

use super::cell::Cell;

#[derive(Debug, Default)]
pub(crate) struct PathShard {
    pub(crate) backlog_bytes: Cell,
    pub(crate) backlog_bytes_maximum: Cell,
    /// Deliveries for which neither ring nor backlog had room.
    pub(crate) egress_full: Cell,
    /// Closings that wait on the lists.
    pub(crate) closings: Cell,
    pub(crate) closings_maximum: Cell,
}

/// What waits in a ring: read from its two shared lines, so exact while nobody works.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Depth {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// Both rings of a pair.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PathDepth {
    pub(crate) ingress: Depth,
    pub(crate) egress: Depth,
}
