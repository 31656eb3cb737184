//! The monitor: what the figures are collected into. Reads `metrics` and `clients`, writes nothing that a router reads.

mod history;
mod slots;
mod window;

pub use history::Point;
pub use slots::Span;
pub use window::{SlotStats, WindowStats};
