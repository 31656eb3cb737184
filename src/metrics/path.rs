//! The path from one worker to one port: what waits on it because the port is slow. The worker writes these
//! cells at most once per cycle, and only if a value has changed.

use super::cell::Cell;

#[derive(Debug, Default)]
pub(crate) struct PathShard {
    pub(crate) backlog_bytes: Cell,
    pub(crate) backlog_bytes_maximum: Cell,
    /// Deliveries that did not fit into the egress ring or the backlog.
    pub(crate) egress_full: Cell,
    /// Closing notices that wait on the separate list.
    pub(crate) closings: Cell,
    pub(crate) closings_maximum: Cell,
}

/// Contents of a ring. Read from the ring's two shared cache lines; exact while neither end works.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Depth {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// Contents of both rings of a pair.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PathDepth {
    pub(crate) ingress: Depth,
    pub(crate) egress: Depth,
}
