//! Payloads that a worker keeps, cut into blocks of a bounded pool. Owned by the worker.
//!
//! Used by `hold` (messages for names that are not connected) and `remote` (messages on their way to other machines).

use crate::router::worker::pool::{END, Linked, Pool};

#[derive(Debug)]
struct Block {
    bytes: [u8; BLOCK_BYTES],
    next: u32,
}

pub(in crate::router) const BLOCK_BYTES: usize = 252;

impl Linked for Block {
    fn link(&mut self) -> &mut u32 {
        &mut self.next
    }
}

#[derive(Debug)]
pub(in crate::router) struct Blocks(Pool<Block>);

/// The number of blocks that suffices: each message leaves at most one block partly used.
const fn block_limit(bytes: u64, messages: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES as u64) + messages
}

impl Blocks {
    /// Blocks for this many messages with this many bytes together.
    pub(in crate::router) fn new(bytes: u64, messages: u64) -> Self {
        Self(Pool::new(block_limit(bytes, messages) as usize))
    }

    /// The most bytes that they can take.
    pub(in crate::router) const fn bytes(bytes: u64, messages: u64) -> u64 {
        Pool::<Block>::bytes(block_limit(bytes, messages))
    }

    /// Makes its pages resident.
    pub(in crate::router) fn touch(&mut self) -> std::io::Result<()> {
        self.0.touch()
    }

    /// Copies bytes into blocks, the last block first. Returns the first block. The caller has checked the limits.
    pub(in crate::router) fn write(&mut self, bytes: &[u8]) -> u32 {
        let mut next = END;
        for part in bytes.rchunks(BLOCK_BYTES) {
            let mut bytes = [0; BLOCK_BYTES];
            if let Some(end) = bytes.get_mut(BLOCK_BYTES - part.len()..) {
                end.copy_from_slice(part);
            }
            let Some(block) = self.0.put(Block { bytes, next }) else {
                debug_assert!(false, "the caller has checked the limits");
                return next;
            };
            next = block;
        }
        next
    }

    /// Reads `length` bytes that were written as `first`, into `out`.
    pub(in crate::router) fn read(&self, first: u32, length: usize, out: &mut Vec<u8>) {
        out.clear();
        let (mut rest, mut next) = (length, first);
        while let Some(block) = self.0.get(next) {
            // Only the first block may be partly used, at its end.
            let used = rest - rest.saturating_sub(1) / BLOCK_BYTES * BLOCK_BYTES;
            out.extend_from_slice(block.bytes.get(BLOCK_BYTES - used..).unwrap_or_default());
            rest -= used;
            next = block.next;
        }
    }

    /// Frees the blocks that were written as `first`.
    pub(in crate::router) fn give_back(&mut self, first: u32) {
        let mut next = first;
        while let Some(used) = self.0.get(next) {
            let block = next;
            next = used.next;
            self.0.give_back(block);
        }
    }
}
