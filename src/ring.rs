//! The single-producer single-consumer byte ring, and the attach state of a pair of rings.
//! Producers and consumers are built by `router::port` and `router::worker`; a C or Go host works on the same
//! memory by the tables in `docs/layout.md`.
//!
//! | word in the header | written by | read by | ordering |
//! |---|---|---|---|
//! | `tail` | producer | consumer | Release / Acquire: publishes every record below it |
//! | `head` | consumer | producer | Release / Acquire: gives back every byte below it |
//! | `need_space` | producer | consumer | Relaxed, behind `wake_fence` on both sides |
//! | `closed` | consumer (ingress), producer (egress) | the other | Release / Acquire |
//! | `seal` | consumer | whoever settles | Release / Acquire, through the attach state |
//!
//! Positions are u64, count bytes, and never wrap; index = position & (capacity − 1).

mod attach;
mod consumer;
mod layout;
mod memory;
mod producer;
pub mod record;

pub(crate) use attach::{AttachState, Attachment};
pub use consumer::{Consumer, Corrupt, Record};
pub use layout::{ALIGNMENT, HEADER_BYTES, MAX_CAPACITY, MIN_CAPACITY};
pub use memory::Memory;
pub use producer::{Producer, PushError};

use crate::sync::Arc;

/// Makes a ring of `capacity` bytes (a power of two from [`MIN_CAPACITY`] to [`MAX_CAPACITY`]) and hands out
/// its two ends.
///
/// # Errors
/// What the system says when it has no memory to map, or `InvalidInput` for a capacity outside the range.
pub fn ring(capacity: usize) -> std::io::Result<(Producer, Consumer)> {
    let memory = Arc::new(Memory::new(capacity)?);
    Ok((Producer::new(Arc::clone(&memory)), Consumer::new(memory)))
}
