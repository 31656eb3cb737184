//! The monitor: what the figures are collected into. Reads `metrics` and `clients`, writes nothing that a router reads.

pub mod alert;
mod system;

pub use system::{
    CostStats, CpuStats, LoadAverage, LoadStats, MemoryStats, ProcessStats, RuntimeStats, SystemInputs,
    SystemProbe, SystemStats,
};
