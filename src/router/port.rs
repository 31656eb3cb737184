//! Ports: the host's side of the router. `handle` is the public handle, `shared` the handle with a lock around
//! its submitting half. `connect` has the options of a client.
//!
//! A message goes from `submit` (checks and placement) through `ingress` (writes the record) to the worker's
//! ingress ring. Deliveries come back through the egress rings to `poll`. `send` has the messages of the host itself.
//! `disconnect` ends clients and settles with workers that have left; `closings` has the events that come from no
//! ring. `route` submits one message and waits
//! for its result. `gateway` is the port to other machines. `link` connects the submitting and the polling half.
//!
//! Used by `router`, which opens ports, and by `ffi`. No file in `worker/` imports this folder.

pub(super) mod batch;
mod closings;
pub(super) mod connect;
mod disconnect;
pub(super) mod event;
#[cfg(not(corelane_loom))]
pub(super) mod gateway;
pub(super) mod handle;
pub(super) mod ingress;
pub(super) mod link;
pub(super) mod poll;
pub(super) mod route;
pub(super) mod send;
pub(super) mod shared;
pub(super) mod submit;
mod walk;
