//! The addresses and offsets of a port's rings and wake words, for a language whose calls into C are expensive (Go). Not in
//! `include/corelane.h`: a C call costs no more than a Rust call. `ffi-tests/go/host/corelane_memory.h` declares these
//! functions.

use super::borrow::{CStruct, OutStruct, OutStructs, out};
use super::guard::{Failure, Outcome, answer};
use super::handle::{CorelaneClient, CorelanePort};
use super::poll::CorelaneEvent;
use super::port::owned;
use super::status::CorelaneStatus;
use crate::clients::{ClientId, ClientSlot};
use crate::error::{SubmitError, Undeliverable};
use crate::metrics::{PollShard, SubmitShard};
use crate::ring::Memory;
use crate::router::{InlineView, Port};
use std::os::fd::AsRawFd;

/// One ring. Offsets are from `base`; docs/layout.md describes the memory.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneRing {
    /// The first byte of the header.
    pub base: *mut u8,
    /// Size of the data in bytes, a power of two.
    pub capacity: u64,
    /// Offset of the first record; a multiple of 64.
    pub data: u32,
    /// uint64_t, written by the producer: the position after the last published record.
    pub tail: u32,
    /// uint64_t, written by the producer: records pushed.
    pub pushed: u32,
    /// uint64_t, written by the producer: claims refused because the ring was full.
    pub refused_full: u32,
    /// uint64_t, written by the consumer: the position after the last released record.
    pub head: u32,
    /// uint64_t, written by the consumer: records taken.
    pub popped: u32,
    /// uint64_t, egress ring of an inline port, written by the host: the position after the last record that was
    /// handed out to all of its recipients.
    pub taken: u32,
    /// uint64_t, written by the same host: how many recipients of the record at `taken` have it already.
    pub handed: u32,
    /// uint32_t, written only by the producer: 1 while the producer waits for space.
    pub need_space: u32,
    /// uint32_t: 1 once the ring is closed.
    pub closed: u32,
    /// uint32_t: 1 once the ring was found corrupt.
    pub corrupt: u32,
    /// Always 0.
    pub reserved: u32,
}

/// The client table. A slot is at `base` + index × `stride`; offsets are from there. Each field says what the host of
/// an inline port may write. Of another port's slot the host reads only `place`, `state` and `credit`, and writes
/// nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneSlots {
    /// The first slot.
    pub base: *mut u8,
    /// Number of slots.
    pub count: u32,
    /// Distance between two slots in bytes.
    pub stride: u32,
    /// uint64_t, read with acquire: generation << 32 | port << 16 | the worker that the client connected to.
    pub place: u32,
    /// uint64_t, read with acquire: generation << 32 | worker << 16 | phase. Phases: 0 free, 1 open, 2 closing
    /// (disconnect was called), 3 closed. One load yields the generation, the phase, and the worker that handles the
    /// client's messages.
    pub state: u32,
    /// uint64_t: the token of `corelane_port_connect`.
    pub token: u32,
    /// uint64_t, written by the host: incremented for each message, before the message is published.
    pub submitted: u32,
    /// uint64_t, written by the host: handed out and not acknowledged, messages << 32 | bytes.
    pub handed: u32,
    /// uint64_t, written by the host: messages to acknowledge up to the sampled one << 48 | maximum of messages << 32
    /// | maximum of bytes handed out and not acknowledged.
    pub track: u32,
    /// uint64_t, written by the host: the stamp of the sampled delivery.
    pub sampled_at: u32,
    /// uint64_t, changed by compare-exchange with acquire and release: closing << 63 | a CLOSE is on its way << 62 |
    /// the low 15 bits of the generation << 47 | messages << 31 | bytes. If a delivery reaches no client, the host
    /// subtracts its message and its bytes, but no field goes below 0. For a CLOSE the host clears bit 62. If the
    /// generation differs, it changes nothing.
    pub credit: u32,
}

/// A port's counters: uint64_t cells. On an inline port only the host writes them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneCounts {
    /// Messages given to the port, including refused ones; counted before they are published.
    pub submitted: *mut u64,
    /// Refused messages, one cell for each CORELANE_REFUSED_ value.
    pub refused: *mut u64,
    /// Number of cells in `refused`.
    pub refused_count: u32,
    /// Always 0.
    pub reserved: u32,
    /// Deliveries handed out, one per recipient.
    pub consumed: *mut u64,
    /// Undeliverable: deliveries taken for a client that was closed, one per recipient.
    pub undeliverable_closed: *mut u64,
    /// Undeliverable: deliveries taken whose out-of-line payload was missing, one per recipient.
    pub undeliverable_payload_lost: *mut u64,
    /// Polls.
    pub polls: *mut u64,
    /// The maximum number of messages that one client had outstanding: handed out and not acknowledged.
    pub outstanding_messages_maximum: *mut u64,
    /// The maximum number of bytes that one client had outstanding.
    pub outstanding_bytes_maximum: *mut u64,
}

/// The memory that a port and one worker share.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneLayout {
    /// `sizeof(corelane_layout)`, set by the caller.
    pub size: u32,
    /// The version of docs/layout.md that the memory follows.
    pub layout_version: u32,
    /// Feature bits. A reader must refuse a layout with bits that it does not know.
    pub features: u64,
    /// The unit of stamps: 0 nanoseconds of CLOCK_MONOTONIC, 1 the cycle counter (x86-64: the TSC; aarch64:
    /// CNTVCT_EL0).
    pub stamp_source: u64,
    /// The ingress ring: the port is the producer.
    pub ingress: CorelaneRing,
    /// The egress ring: the port is the consumer.
    pub egress: CorelaneRing,
    /// The worker's wake word: 0 awake, 1 asleep in FUTEX_WAIT (private) on this word.
    pub worker_wake: *mut u32,
    /// The port's wake word: 0 awake, 1 asleep on `port_fd`.
    pub port_wake: *mut u32,
    /// The port's eventfd.
    pub port_fd: i32,
    /// Number of workers of the router. The port has one layout per worker.
    pub workers: u32,
    /// The port's number, as in `place`.
    pub port: u32,
    /// Maximum size of a message in bytes; larger messages are refused.
    pub max_message: u32,
    /// uint8_t: 1 once the router drains; messages are refused from then on.
    pub draining: *const u8,
    /// The port's counters; the same in its layout of every worker.
    pub counts: CorelaneCounts,
    /// The client table; the same in every layout of the router.
    pub slots: CorelaneSlots,
}

/// Index of `corelane_counts.refused`: the ring is full.
pub const CORELANE_REFUSED_FULL: u32 = 0;
/// The router is stopping or has stopped.
pub const CORELANE_REFUSED_CLOSED: u32 = 1;
/// The router is draining.
pub const CORELANE_REFUSED_DRAINING: u32 = 2;
/// The client is not connected.
pub const CORELANE_REFUSED_STALE: u32 = 3;
/// The client belongs to another port.
pub const CORELANE_REFUSED_WRONG_PORT: u32 = 4;
/// The message is larger than `max_message`, or does not fit a ring.
pub const CORELANE_REFUSED_TOO_LARGE: u32 = 5;
/// The ring contains values that neither end can have written.
pub const CORELANE_REFUSED_CORRUPT: u32 = 6;

const _: () = {
    assert!(CORELANE_REFUSED_FULL == SubmitError::RingFull as u32);
    assert!(CORELANE_REFUSED_CLOSED == SubmitError::Closed as u32);
    assert!(CORELANE_REFUSED_DRAINING == SubmitError::Draining as u32);
    assert!(CORELANE_REFUSED_STALE == SubmitError::StaleClient as u32);
    assert!(CORELANE_REFUSED_WRONG_PORT == SubmitError::WrongPort as u32);
    assert!(CORELANE_REFUSED_TOO_LARGE == SubmitError::TooLarge as u32);
    assert!(CORELANE_REFUSED_CORRUPT == SubmitError::Corrupt as u32);
};

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
            taken: at.taken,
            handed: at.handed,
            need_space: at.need_space,
            closed: at.closed,
            corrupt: at.corrupt,
            reserved: 0,
        }
    }
}

impl CorelaneSlots {
    fn of(slots: &[ClientSlot]) -> Self {
        let at = ClientSlot::OFFSETS;
        Self {
            // The slots' words are atomics, so the host may write them through this address although `slots` is shared.
            base: slots.as_ptr().cast::<u8>().cast_mut(),
            count: slots.len() as u32,
            stride: size_of::<ClientSlot>() as u32,
            place: at.place,
            state: at.state,
            token: at.token,
            submitted: at.submitted,
            handed: at.handed,
            track: at.track,
            sampled_at: at.sampled_at,
            credit: at.credit,
        }
    }
}

impl CorelaneCounts {
    fn of(submit: &SubmitShard, poll: &PollShard) -> Self {
        Self {
            submitted: submit.submitted.address(),
            refused: submit.refused.as_ptr().cast::<u64>().cast_mut(),
            refused_count: submit.refused.len() as u32,
            reserved: 0,
            consumed: poll.consumed.address(),
            undeliverable_closed: poll.undeliverable[Undeliverable::Closed as usize].address(),
            undeliverable_payload_lost: poll.undeliverable[Undeliverable::PayloadLost as usize].address(),
            polls: poll.polls.address(),
            outstanding_messages_maximum: poll.outstanding_messages_maximum.address(),
            outstanding_bytes_maximum: poll.outstanding_bytes_maximum.address(),
        }
    }
}

impl CorelaneLayout {
    fn of(view: &InlineView<'_>) -> Self {
        let (layout_version, features, stamp_source) = view.ingress.describes();
        Self {
            size: size_of::<Self>() as u32,
            layout_version,
            features,
            stamp_source,
            ingress: CorelaneRing::of(view.ingress),
            egress: CorelaneRing::of(view.egress),
            worker_wake: view.worker_wake.address(),
            port_wake: view.port_wake.address(),
            port_fd: view.port_wake.as_fd().map_or(-1, |descriptor| descriptor.as_raw_fd()),
            workers: view.workers as u32,
            port: view.index as u32,
            max_message: view.max_message as u32,
            draining: view.draining.as_ptr().cast::<u8>().cast_const(),
            counts: CorelaneCounts::of(view.submit, view.poll),
            slots: CorelaneSlots::of(view.slots),
        }
    }
}

// SAFETY: integers and pointers, the size first.
unsafe impl CStruct for CorelaneLayout {
    const NAME: &'static str = "corelane_layout";
}

/// Refuses a port that is not inline: `corelane_port_poll` does this work for it.
fn inline_only(port: &Port) -> Result<(), Failure> {
    if port.is_inline() {
        return Ok(());
    }
    Err(Failure::new(CorelaneStatus::State, "the port is not inline: corelane_port_poll does this for it"))
}

/// Describes the memory that a port shares with worker number `worker` (from 0). The layout is valid until
/// `corelane_port_release`. Any host may read the memory. A host that has called `corelane_port_inline` may write it
/// by the rules of docs/layout.md.
///
/// The port's thread. CORELANE_INVALID (no such worker), CORELANE_INVALID (`size`), CORELANE_NULL, CORELANE_STALE,
/// CORELANE_BUSY.
///
/// # Safety
/// `out_layout` is NULL or points at a corelane_layout with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_layout(
    port: CorelanePort,
    worker: u32,
    out_layout: *mut CorelaneLayout,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let place = unsafe { OutStruct::new("out_layout", out_layout) }?;
        owned(port, |port| {
            let unknown = || Failure::invalid("the router has no worker of this number");
            place.write(&CorelaneLayout::of(&port.inline_view(worker as usize).ok_or_else(unknown)?));
            Ok(0)
        })
    })
}

/// Makes a port inline, for good: from now on its host pushes and polls without a call, by the layouts of
/// `corelane_port_layout`. Connect, disconnect, release a name, acknowledge and `corelane_port_publish` still work;
/// `corelane_port_publish` pushes disconnects that wait for space. Before each of these calls and before
/// `corelane_port_release`, the host publishes what it has committed. After each of them it reloads the tails from
/// the headers. Poll, release, arm and wait return CORELANE_STATE. Submit still works, for messages that do not fit a
/// ring.
///
/// The port's thread. CORELANE_STATE (`max_in_flight`, `client_rate` or `max_concurrent_messages` is set, since an
/// inline port enforces no limits; `balance` is round_robin; `enable_concurrent_routing` is off; a delivery was
/// handed out to only some of its recipients), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_inline(port: CorelanePort) -> i32 {
    answer(|| {
        owned(port, |port| {
            port.drive_inline().map_err(|problem| Failure::new(CorelaneStatus::State, problem))?;
            Ok(0)
        })
    })
}

/// Tells the router that the host of an inline port has taken a client's last record (kind 5) from a ring. Nothing is
/// handed out for this client any more, and its slot may be reused.
///
/// The port's thread. CORELANE_STALE (port; or the client is not closing), CORELANE_INVALID (another port's client),
/// CORELANE_STATE (the port is not inline), CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_client_closed(port: CorelanePort, client: CorelaneClient) -> i32 {
    answer(|| {
        owned(port, |port| {
            inline_only(port)?;
            port.closed_inline(ClientId(client.value))?;
            Ok(0)
        })
    })
}

/// Hands out the events of an inline port that come through no ring: CORELANE_EVENT_CLOSED for disconnected clients
/// whose worker has ended, and CORELANE_EVENT_CLOSE that a worker could not put into its ring. A host calls it when
/// it finds a ring closed, after it has taken all records of that ring, has published, and has written `taken` and
/// `handed`. Fills up to `capacity` events and returns how many; the first event's `size` is the distance between two
/// events in bytes. Pushes nothing.
///
/// The port's thread. CORELANE_AGAIN (there are such events, but `capacity` is 0 or records precede them),
/// CORELANE_CLOSED (the router has stopped and everything was handed out), CORELANE_STATE (the port is not inline),
/// CORELANE_NULL, CORELANE_INVALID (`size`), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// `events` points at `capacity` structs of the size that the first one has in `size`; it may be NULL if `capacity`
/// is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_closings(
    port: CorelanePort,
    events: *mut CorelaneEvent,
    capacity: usize,
) -> i32 {
    answer(|| {
        owned(port, |port| {
            inline_only(port)?;
            let places = match capacity {
                0 => None,
                // SAFETY: the caller upholds the same contract.
                _ => Some(unsafe { OutStructs::new("events", events, capacity) }?),
            };
            let mut count = 0;
            let handed_out = port.closings_inline(capacity.min(i32::MAX as usize), |event| {
                if let Some(places) = &places {
                    places.write(count, &CorelaneEvent::new(&event));
                    count += 1;
                }
            });
            if handed_out > 0 {
                return Ok(handed_out as i64);
            }
            if port.is_over() {
                return Err(Failure::new(CorelaneStatus::Closed, "the router has stopped"));
            }
            if port.has_closings() { Err(Failure::new(CorelaneStatus::Again, "poll first")) } else { Ok(0) }
        })
    })
}

/// Takes the out-of-line payload of an inline port's delivery (kind 1, flag 1). The record has the payload's number and
/// length. The view is valid until `corelane_payload_release`.
///
/// The port's thread. CORELANE_NOT_FOUND (the payload was taken already, or no payload had this number),
/// CORELANE_STATE (the port is not inline), CORELANE_NULL, CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// `out_bytes` points at room for a pointer, `out_length` at room for a length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_payload_take(
    port: CorelanePort,
    number: u64,
    out_bytes: *mut *const u8,
    out_length: *mut usize,
) -> i32 {
    let take = || -> Outcome {
        let (bytes, length) = (out("out_bytes", out_bytes)?, out("out_length", out_length)?);
        owned(port, |port| {
            inline_only(port)?;
            let lost = || Failure::new(CorelaneStatus::NotFound, "no payload has this number");
            let payload = port.take_payload(number).ok_or_else(lost)?;
            // SAFETY: `out` checked both pointers; the caller has room there.
            unsafe { bytes.write(payload.as_ptr()) };
            // SAFETY: as above.
            unsafe { length.write(payload.len()) };
            Ok(0)
        })
    };
    answer(take)
}

/// Releases every payload that `corelane_payload_take` has taken for this port.
///
/// The port's thread. CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No thread uses a view of these payloads afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_payload_release(port: CorelanePort) -> i32 {
    answer(|| {
        owned(port, |port| {
            if port.is_inline() {
                port.release_payloads();
            }
            Ok(0)
        })
    })
}
