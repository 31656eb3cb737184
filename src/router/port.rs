//! Ports: the hosts' side of the router. `submit` fills the ingress rings, `poll` empties the egress rings, `route` waits for
//! a message's result.

pub(super) mod connect;
pub(super) mod handle;
pub(super) mod ingress;
#[cfg(not(corelane_loom))]
pub(super) mod inline;
pub(super) mod link;
pub(super) mod poll;
pub(super) mod route;
pub(super) mod shared;
pub(super) mod submit;
