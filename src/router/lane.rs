//! Lanes: what a host in another language shares with the workers instead of calling the router for each message. It
//! pushes and pops records in two rings per worker and does nothing else; the worker checks generations, limits and
//! credits, and counts (`worker/lane`). Names, tokens and objects are the host's own table. `docs/layout.md` has the
//! records and the protocol.
//!
//! `handle` has the calls, which touch no ring. `rings` is what a worker and a lane share besides the two rings. `settle`
//! accounts for what neither side has taken. `host` is such a host in Rust, for tests, simulator and benchmarks.
//!
//! Used by `router`, which opens lanes, by `ffi`, and by `pair` and `worker/`, which keep the lane's side of a pair.

#[cfg(not(corelane_loom))]
pub(super) mod handle;
#[cfg(all(any(test, feature = "bench-internals"), not(corelane_loom)))]
pub(super) mod host;
pub(super) mod rings;
pub(super) mod settle;
