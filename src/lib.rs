//! # corelane
//!
//! An embeddable, lock-free, thread-per-core message router with a performance monitor built in, for WebRTC
//! signaling servers.

mod sync;

mod id;
#[cfg(not(corelane_loom))]
mod nearest;

pub mod clock;
pub mod config;
pub mod error;

mod call;
mod park;
pub mod ring;

pub mod clients;
pub mod envelope;
#[cfg(not(corelane_loom))]
pub mod export;
#[cfg(not(corelane_loom))]
pub mod ffi;
pub mod metrics;
#[cfg(not(corelane_loom))]
pub mod monitor;
#[cfg(not(corelane_loom))]
mod monitored;
#[cfg(not(corelane_loom))]
pub mod record;
pub mod router;

#[cfg(all(test, corelane_loom))]
mod models;
#[cfg(all(test, not(corelane_loom)))]
mod races;

/// Compiles and runs the README's example with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles and runs the guide's examples with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide.md")]
struct Guide;
