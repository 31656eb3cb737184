//! Alerts end to end: each rule that ships is raised and resolved by what it is about, one notification per transition and
//! none inside the hysteresis band; rules of the host's own; whoever listens. Rows A1 to A6.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod ending;
mod listeners;
mod machine;
mod own_rules;
mod recorded;
mod routed;
mod watch;
