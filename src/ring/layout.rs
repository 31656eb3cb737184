//! The layout of a ring's memory. Only `memory` uses it. `docs/layout.md` states the same in words, and a test
//! compares the two. C and Go hosts get these offsets at run time.

use crate::sync::{AtomicU32, AtomicU64};

/// Every record starts on such a boundary. With smaller strides the two ends would share cache lines (false sharing).
pub const ALIGNMENT: usize = 64;
/// The smallest ring, in bytes.
#[cfg(not(corelane_loom))]
pub const MIN_CAPACITY: usize = 1024;
#[cfg(corelane_loom)]
pub const MIN_CAPACITY: usize = 128;
/// The largest ring, in bytes.
pub const MAX_CAPACITY: usize = 1 << 30;
/// Bytes from the start of a ring's memory to its first record.
pub const HEADER_BYTES: usize = 512;

pub(crate) const MAGIC: u32 = 0x3152_4c43; // "CLR1" in memory on a little-endian machine
pub(crate) const LAYOUT_VERSION: u32 = 1;

/// The header at the start of a ring's memory. Words of different writers lie 128 bytes apart, which is a pair of
/// cache lines: processors prefetch lines in pairs, so 64 bytes would not prevent false sharing.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Header {
    // Written once, before the ring is shared.
    pub(crate) magic: AtomicU32,
    pub(crate) layout_version: AtomicU32,
    pub(crate) capacity: AtomicU64,
    pub(crate) data_offset: AtomicU64,
    pub(crate) features: AtomicU64,
    pub(crate) stamp_source: AtomicU64,
    // Written by the producer.
    pub(crate) producer: ProducerLine,
    // Written by the consumer.
    pub(crate) consumer: ConsumerLine,
    // Rarely written, by the side that each word's comment names.
    pub(crate) flags: FlagsLine,
}

#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct ProducerLine {
    pub(crate) tail: AtomicU64,
    /// Records pushed, without pads.
    pub(crate) pushed: AtomicU64,
    /// Claims that found no room.
    pub(crate) refused_full: AtomicU64,
}

#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct ConsumerLine {
    pub(crate) head: AtomicU64,
    /// Records taken, without pads.
    pub(crate) popped: AtomicU64,
}

#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct FlagsLine {
    /// 1 while the producer waits for space. Only the producer writes it.
    pub(crate) need_space: AtomicU32,
    /// 1 once no more records will be taken (set by an ingress ring's consumer) or pushed (set by an egress ring's
    /// producer).
    pub(crate) closed: AtomicU32,
    /// 1 once either side has found a value that no correct peer writes.
    pub(crate) corrupt: AtomicU32,
    _unused: AtomicU32,
    /// The position at which the consumer stopped for good; `u64::MAX` until then.
    pub(crate) seal: AtomicU64,
}

#[cfg(not(corelane_loom))]
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<Header>() == HEADER_BYTES);
    assert!(offset_of!(Header, capacity) == 8);
    assert!(offset_of!(Header, data_offset) == 16);
    assert!(offset_of!(Header, features) == 24);
    assert!(offset_of!(Header, stamp_source) == 32);
    assert!(offset_of!(Header, producer) == 128);
    assert!(offset_of!(Header, consumer) == 256);
    assert!(offset_of!(Header, flags) == 384);
    assert!(offset_of!(FlagsLine, seal) == 16);
};

/// The offsets of the words that other languages use, in bytes from the start.
#[cfg(not(corelane_loom))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offsets {
    pub(crate) data: u32,
    pub(crate) tail: u32,
    pub(crate) pushed: u32,
    pub(crate) refused_full: u32,
    pub(crate) head: u32,
    pub(crate) popped: u32,
    pub(crate) need_space: u32,
    pub(crate) closed: u32,
    pub(crate) corrupt: u32,
}

#[cfg(not(corelane_loom))]
impl Header {
    pub(crate) const OFFSETS: Offsets = {
        use std::mem::offset_of;
        Offsets {
            data: HEADER_BYTES as u32,
            tail: offset_of!(Self, producer.tail) as u32,
            pushed: offset_of!(Self, producer.pushed) as u32,
            refused_full: offset_of!(Self, producer.refused_full) as u32,
            head: offset_of!(Self, consumer.head) as u32,
            popped: offset_of!(Self, consumer.popped) as u32,
            need_space: offset_of!(Self, flags.need_space) as u32,
            closed: offset_of!(Self, flags.closed) as u32,
            corrupt: offset_of!(Self, flags.corrupt) as u32,
        }
    };
}

#[cfg(corelane_loom)]
impl Header {
    /// loom's atomics must be constructed. In mapped memory, all zeroes are a valid header.
    pub(crate) fn zeroed() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            magic: AtomicU32::new(0),
            layout_version: AtomicU32::new(0),
            capacity: zero(),
            data_offset: zero(),
            features: zero(),
            stamp_source: zero(),
            producer: ProducerLine { tail: zero(), pushed: zero(), refused_full: zero() },
            consumer: ConsumerLine { head: zero(), popped: zero() },
            flags: FlagsLine {
                need_space: AtomicU32::new(0),
                closed: AtomicU32::new(0),
                corrupt: AtomicU32::new(0),
                _unused: AtomicU32::new(0),
                seal: zero(),
            },
        }
    }
}
