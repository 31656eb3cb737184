//! The C interface. `include/corelane.h` is generated from these files. Calls take handles and return plain structs.
//! This module makes no routing decisions. `tests/header.rs` writes the conventions at the top of the header.

mod alerts;
mod borrow;
mod builder;
mod client;
mod cluster;
mod cluster_parts;
#[cfg_attr(not(feature = "nats"), path = "ffi/no_clusters.rs")]
mod clusters;
mod codes;
mod connections;
#[cfg(feature = "http")]
mod door;
#[cfg(all(feature = "elasticsearch", feature = "otlp"))]
mod exporter;
mod failure;
mod figures;
mod fork;
mod given;
mod guard;
mod handle;
mod handler;
mod lane;
mod listen;
mod metric;
mod monitor;
mod monitors;
mod poll;
mod port;
#[cfg(test)]
mod port_tests;
mod reason;
mod recording;
mod room;
mod router;
mod status;
mod submit;
#[cfg(feature = "ffi-test")]
mod testing;
mod text;
mod worker;

pub use alerts::*;
pub use borrow::*;
pub use builder::*;
pub use client::*;
pub use cluster::*;
pub use cluster_parts::*;
pub use connections::*;
#[cfg(feature = "http")]
pub use door::*;
#[cfg(all(feature = "elasticsearch", feature = "otlp"))]
pub use exporter::*;
pub use figures::*;
pub use given::*;
pub use guard::*;
pub use handle::*;
pub use handler::*;
pub use lane::*;

pub use listen::*;
pub use metric::*;
pub use monitor::*;
pub use poll::*;
pub use port::*;
pub use reason::*;
pub use recording::*;
pub use room::*;
pub use router::*;
pub use status::*;
pub use submit::*;
#[cfg(feature = "ffi-test")]
pub use testing::*;
pub use text::*;
pub use worker::*;
