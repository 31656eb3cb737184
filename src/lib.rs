//! # corelane
//!
//! An embeddable, lock-free, thread-per-core message router with a performance monitor built in, for WebRTC
//! signaling servers.

mod sync;

pub mod clock;
pub mod error;

pub mod clients;
pub mod ring;
mod park;

#[cfg(all(test, corelane_loom))]
mod models;
