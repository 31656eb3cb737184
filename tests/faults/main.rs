//! Regression tests: inputs that once failed, each with the correct result. They cover closings, stale client
//! handles, stops, lost workers, host code that panics, calls, notices, rooms and time. Almost everything runs on one
//! thread with a manual clock. Rows R3, R4, R8, R9, R10, R11, R12, R14, R16, G2; invariants I2, I4, I5, I6, I7, I8,
//! I9.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod admission;
mod calls;
mod closing;
mod ended;
mod given_away;
mod handles;
mod harness;
mod loops;
mod lost;
mod lost_one_of_two;
mod notices;
mod order;
mod protocol;
mod rooms;
mod shared;
mod space;
mod stops;
#[path = "../support/mod.rs"]
mod support;
mod tasks;
mod time;
