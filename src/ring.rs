//! The single-producer single-consumer byte ring, and the attach state of a pair of rings. The queue is the SPSC
//! queue with cached indices (FastForward, Rigtorp's SPSCQueue, folly's ProducerConsumerQueue): each end keeps a copy
//! of the other end's position and reads the shared word only when the copy shows no room or no data.
//!
//! `router::port` and `router::worker` build the senders and receivers on top of the two ends. A C or Go host works
//! on the same memory by the tables in `docs/layout.md`.
//!
//! | word in the header | written by | read by | ordering |
//! |---|---|---|---|
//! | `tail` | producer | consumer | Release / Acquire: publishes every record below it |
//! | `head` | consumer | producer | Release / Acquire: releases every byte below it |
//! | `need_space` | producer | consumer | Relaxed; both sides order it with `wake_fence` |
//! | `closed` | consumer (ingress), producer (egress) | the other end | Release / Acquire |
//! | `seal` | consumer | the thread that settles the pair | Release / Acquire, through the attach state |
//!
//! Each end goes through the memory in rows: bytes in one piece that it may write or read without a look at the other
//! end. Within a row, a record costs a comparison with the row's limit. Loops use [`Batch`] and [`Records`], which keep
//! the positions in registers; `claim`, `commit` and `next` do the same for one record, over the same code.
//!
//! Positions are u64, count bytes, and never wrap; index = position & (capacity − 1).

mod attach;
mod consumer;
mod layout;
mod memory;
mod producer;
pub mod record;

pub(crate) use attach::{AttachState, Attachment};
pub use consumer::{Consumer, Corrupt, Record, Records};
pub use layout::{ALIGNMENT, HEADER_BYTES, MAX_CAPACITY, MIN_CAPACITY};
pub use memory::Memory;
pub use producer::{Batch, Producer, PushError};

use crate::sync::Arc;

/// Creates a ring of `capacity` bytes and returns its two ends. `capacity` is a power of two from [`MIN_CAPACITY`] to
/// [`MAX_CAPACITY`].
///
/// # Errors
/// `InvalidInput` if `capacity` is not allowed; otherwise the system's error if it cannot map the memory.
pub fn ring(capacity: usize) -> std::io::Result<(Producer, Consumer)> {
    let memory = Arc::new(Memory::new(capacity)?);
    Ok((Producer::new(Arc::clone(&memory)), Consumer::new(memory)))
}
