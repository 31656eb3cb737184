//! A monitor under load: many short-lived threads, an unlimited number of names, extreme values, snapshots meanwhile,
//! and ends at awkward moments. Exact totals, bounded memory. Rows M1, M4 to M7, A3; invariants I2, I3.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod counting;
mod lifetimes;
mod names;
mod snapshots;
#[path = "../support/mod.rs"]
mod support;
mod threads;
mod values;
