//! Where a port's rings and wake words lie, for hosts that work on them without a call (`include/corelane_ring.h`).

use super::handle::CorelanePort;
use super::port::PORTS;
use super::status::{CORELANE_ABI, CORELANE_INVALID, Failure, Outcome, guard_status, out};
use crate::park::WakeWord;
use crate::ring::Memory;

/// One ring. Offsets are from `base`; docs/layout.md says what lies there.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneRing {
    /// The header's first byte.
    pub base: *mut u8,
    /// Bytes of data, a power of two.
    pub capacity: u64,
    /// The first record; a multiple of 64.
    pub data: u32,
    /// uint64_t, written by the producer: behind the last published record.
    pub tail: u32,
    /// uint64_t, written by the producer: records pushed.
    pub pushed: u32,
    /// uint64_t, written by the producer: claims that found no room.
    pub refused_full: u32,
    /// uint64_t, written by the consumer: behind the last record given back.
    pub head: u32,
    /// uint64_t, written by the consumer: records taken.
    pub popped: u32,
    /// uint32_t, written by the producer alone: 1 while it waits for space.
    pub need_space: u32,
    /// uint32_t: 1 once closed.
    pub closed: u32,
    /// uint32_t: 1 once found corrupt.
    pub corrupt: u32,
    /// 0.
    pub reserved: u32,
}

/// A port's rings to and from one worker, and both wake words.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneLayout {
    /// `sizeof(corelane_layout)`, set by the caller.
    pub size: u32,
    /// Version of docs/layout.md that the memory follows.
    pub layout_version: u32,
    /// Feature bits; a reader refuses those it does not know.
    pub features: u64,
    /// What stamps count: 0 nanoseconds of CLOCK_MONOTONIC, 1 the cycle counter.
    pub stamp_source: u64,
    /// To the worker: the port produces.
    pub ingress: CorelaneRing,
    /// From the worker: the port consumes.
    pub egress: CorelaneRing,
    /// The worker's wake word: 0 awake, 1 asleep in FUTEX_WAIT (private) on the word.
    pub worker_wake: *mut u32,
    /// The port's wake word: 0 awake, 1 asleep on `port_fd`.
    pub port_wake: *mut u32,
    /// The port's eventfd.
    pub port_fd: i32,
    /// 0.
    pub reserved: u32,
}

impl CorelaneRing {
    fn of(memory: &Memory) -> Self {
        let at = Memory::offsets();
        Self {
            base: memory.start(),
            capacity: memory.capacity(),
            data: at.data,
            tail: at.tail,
            pushed: at.pushed,
            refused_full: at.refused_full,
            head: at.head,
            popped: at.popped,
            need_space: at.need_space,
            closed: at.closed,
            corrupt: at.corrupt,
            reserved: 0,
        }
    }
}

impl CorelaneLayout {
    pub(super) fn of(ingress: &Memory, egress: &Memory, worker: &WakeWord, port: &WakeWord) -> Self {
        let (layout_version, features, stamp_source) = ingress.describes();
        Self {
            size: size_of::<Self>() as u32,
            layout_version,
            features,
            stamp_source,
            ingress: CorelaneRing::of(ingress),
            egress: CorelaneRing::of(egress),
            worker_wake: worker.address(),
            port_wake: port.address(),
            port_fd: port.raw_descriptor().unwrap_or(-1),
            reserved: 0,
        }
    }

    /// Writes it where a caller has set the size.
    ///
    /// # Safety
    /// `place` is NULL or points at a struct whose first field is its size.
    pub(super) unsafe fn check(place: *mut Self) -> Result<*mut Self, Failure> {
        let place = out("out_layout", place)?;
        // SAFETY: forwarded.
        let size = unsafe { (*place).size };
        if size as usize == size_of::<Self>() {
            return Ok(place);
        }
        let text = format!("a layout of {size} bytes, here {}: header and library differ", size_of::<Self>());
        Err(Failure::new(CORELANE_ABI, text))
    }
}

/// Where the rings between a port and its worker number `worker` (from 0) lie. Valid until `corelane_port_release`. For
/// looking: a router counts what goes through `corelane_submit` and `corelane_poll`, and a host that moved the positions
/// of these rings itself would find the port corrupt.
///
/// The port's thread. CORELANE_INVALID (no such worker), CORELANE_ABI (`size`), CORELANE_NULL, CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// `out_layout` is NULL or points at a corelane_layout with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_layout(
    port: CorelanePort,
    worker: u32,
    out_layout: *mut CorelaneLayout,
) -> i32 {
    let describe = || -> Outcome {
        // SAFETY: forwarded.
        let place = unsafe { CorelaneLayout::check(out_layout) }?;
        PORTS.enter(port.value, |port| {
            let Some((ingress, egress, worker_wake, port_wake)) = port.rings(worker as usize) else {
                return Err(Failure::new(CORELANE_INVALID, "no such worker"));
            };
            let layout = CorelaneLayout::of(ingress, egress, worker_wake, port_wake);
            // SAFETY: checked; as large as its size says.
            unsafe { place.write(layout) };
            Ok(0)
        })
    };
    // SAFETY: no error struct.
    unsafe { guard_status(std::ptr::null_mut(), describe) }
}
