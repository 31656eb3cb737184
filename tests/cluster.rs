//! Clusters over real NATS servers. Without the program `nats-server` (on the path, or named by `NATS_SERVER`) the tests do
//! nothing and say so.

#![cfg(feature = "nats")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "cluster/machine.rs"]
mod machine;
#[path = "cluster/server.rs"]
mod server;

#[path = "cluster/alerts.rs"]
mod alerts;
#[path = "cluster/asks.rs"]
mod asks;
#[path = "cluster/faults.rs"]
mod faults;
#[path = "cluster/messages.rs"]
mod messages;
#[path = "cluster/names.rs"]
mod names;
#[path = "cluster/partition.rs"]
mod partition;
#[path = "cluster/scale.rs"]
mod scale;
#[path = "cluster/security.rs"]
mod security;
