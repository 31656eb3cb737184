//! The monitor: what the figures are collected into. Reads `metrics` and `clients`, writes nothing that a router reads.

pub mod alert;
