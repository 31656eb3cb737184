//! Alerts end to end: each shipped rule is raised and resolved by its own cause, with one notification per transition
//! and none inside the hysteresis band; rules of the host; listeners. Rows A1 to A6.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod ending;
mod listeners;
mod machine;
mod own_rules;
mod recorded;
mod routed;
#[path = "../support/mod.rs"]
mod support;
mod watch;
