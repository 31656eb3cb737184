//! Where a port's rings and wake words lie, for hosts that work on them without a call (`include/corelane_ring.h`,
//! `include/corelane_inline.h`).

use super::handle::{CorelaneClient, CorelanePort};
use super::port::{CorelaneEvent, EventPlaces, PORTS, on};
use super::status::{
    CORELANE_ABI, CORELANE_AGAIN, CORELANE_CLOSED, CORELANE_INVALID, CORELANE_NOT_FOUND, CORELANE_STATE,
    Failure, Outcome, answer, out,
};
use crate::clients::{ClientId, ClientSlot};
use crate::error::{Refused, Undeliverable};
use crate::metrics::{PollShard, SubmitShard};
use crate::ring::Memory;
use crate::router::{InlineView, Port};

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
    /// uint64_t, written by the host of an inline port's egress ring: behind the last record that was handed out to all of its
    /// recipients.
    pub taken: u32,
    /// uint64_t, written by the same: recipients that the record there was handed out to already.
    pub handed: u32,
    /// uint32_t, written by the producer alone: 1 while it waits for space.
    pub need_space: u32,
    /// uint32_t: 1 once closed.
    pub closed: u32,
    /// uint32_t: 1 once found corrupt.
    pub corrupt: u32,
    /// 0.
    pub reserved: u32,
}

/// The client table. A slot is at `base` + index × `stride`; offsets are from there. What a port's host may write is said by
/// each; of slots of other ports it reads nothing but `place`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneSlots {
    /// The first slot.
    pub base: *mut u8,
    /// Slots.
    pub count: u32,
    /// Bytes from one to the next.
    pub stride: u32,
    /// uint64_t, read with acquire: generation << 32 | port << 16 | the worker at its connect.
    pub place: u32,
    /// uint64_t, read with acquire: generation << 32 | worker << 16 | phase. Phases: 0 free, 1 open, 2 closing (disconnect was
    /// called), 3 closed. One load tells whose the slot is, in which phase, and where the client's messages go.
    pub state: u32,
    /// uint64_t: the token of `corelane_connect`.
    pub token: u32,
    /// uint64_t, written by the host: one more for each message, before it is published.
    pub submitted: u32,
    /// uint64_t, written by the host: handed out and not acknowledged, messages << 32 | bytes.
    pub handed: u32,
    /// uint64_t, written by the host: sample left << 48 | most messages << 32 | most bytes handed out and not acknowledged.
    pub track: u32,
    /// uint64_t, written by the host: the stamp of the sampled delivery.
    pub sampled_at: u32,
    /// uint64_t, changed by compare-exchange with acquire and release: closing << 63 | a CLOSE is on its way << 62 | the low 15
    /// bits of the generation << 47 | messages << 31 | bytes. Of a delivery that nobody gets the host subtracts its message and
    /// its bytes, each no further than to 0; of a CLOSE it clears bit 62; where the generation is another nothing.
    pub credit: u32,
}

/// What a port counts: uint64_t cells that the host of an inline port writes, each with release, nobody else.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneCounts {
    /// Messages given to the port, refused ones included; before they are published.
    pub submitted: *mut u64,
    /// Of these refused, one cell for each of CORELANE_REFUSED_.
    pub refused: *mut u64,
    /// Cells of `refused`.
    pub refused_count: u32,
    /// 0.
    pub reserved: u32,
    /// Deliveries handed out, in recipients.
    pub consumed: *mut u64,
    /// Deliveries taken whose client was closed, in recipients.
    pub undeliverable_closed: *mut u64,
    /// Deliveries taken whose payload beside the ring was gone, in recipients.
    pub undeliverable_payload_lost: *mut u64,
    /// Polls.
    pub polls: *mut u64,
    /// The most messages that one client had been handed and had not acknowledged.
    pub outstanding_messages_maximum: *mut u64,
    /// As messages, in bytes.
    pub outstanding_bytes_maximum: *mut u64,
}

/// What a port and one worker share.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneLayout {
    /// `sizeof(corelane_layout)`, set by the caller.
    pub size: u32,
    /// Version of docs/layout.md that the memory follows.
    pub layout_version: u32,
    /// Feature bits; a reader refuses those it does not know.
    pub features: u64,
    /// What stamps count: 0 nanoseconds of CLOCK_MONOTONIC, 1 the cycle counter (the TSC on x86-64, CNTVCT_EL0 on aarch64).
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
    /// Workers of the router; the port has a layout for each.
    pub workers: u32,
    /// The port's number, as in `place`.
    pub port: u32,
    /// Largest message; larger ones are refused.
    pub max_message: u32,
    /// uint8_t: 1 once the router drains; then messages are refused.
    pub draining: *const u8,
    /// The same in the layout of every worker.
    pub counts: CorelaneCounts,
    /// The same in every layout of the router.
    pub slots: CorelaneSlots,
}

/// Why a message was refused: cells of `corelane_counts.refused`.
pub const CORELANE_REFUSED_FULL: u32 = 0;
/// The router stops, or has stopped.
pub const CORELANE_REFUSED_CLOSED: u32 = 1;
/// The router drains.
pub const CORELANE_REFUSED_DRAINING: u32 = 2;
/// The client is not connected, or no longer.
pub const CORELANE_REFUSED_STALE: u32 = 3;
/// The client is another port's.
pub const CORELANE_REFUSED_WRONG_PORT: u32 = 4;
/// Larger than `max_message`, or than a ring takes.
pub const CORELANE_REFUSED_TOO_LARGE: u32 = 5;
/// The ring holds what nobody may write.
pub const CORELANE_REFUSED_CORRUPT: u32 = 6;

const _: () = {
    assert!(CORELANE_REFUSED_FULL == Refused::Full as u32);
    assert!(CORELANE_REFUSED_CLOSED == Refused::Closed as u32);
    assert!(CORELANE_REFUSED_DRAINING == Refused::Draining as u32);
    assert!(CORELANE_REFUSED_STALE == Refused::Stale as u32);
    assert!(CORELANE_REFUSED_WRONG_PORT == Refused::WrongPort as u32);
    assert!(CORELANE_REFUSED_TOO_LARGE == Refused::TooLarge as u32);
    assert!(CORELANE_REFUSED_CORRUPT == Refused::Corrupt as u32);
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
            // The words are atomics: what is written through the address is what is read here.
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
            port_fd: view.port_wake.raw_descriptor().unwrap_or(-1),
            workers: view.workers as u32,
            port: view.index as u32,
            max_message: view.max_message as u32,
            draining: view.draining.as_ptr().cast::<u8>().cast_const(),
            counts: CorelaneCounts::of(view.submit, view.poll),
            slots: CorelaneSlots::of(view.slots),
        }
    }

    /// A place to write it to: a caller's, with the size set.
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

/// What a port that the library drives does by itself.
fn inline_only(port: &Port) -> Result<(), Failure> {
    if port.is_inline() {
        return Ok(());
    }
    Err(Failure::new(CORELANE_STATE, "corelane_poll does this: the port is not inline"))
}

/// Where what a port shares with its worker number `worker` (from 0) lies. Valid until `corelane_port_release`. Anyone may
/// look; the host that calls `corelane_port_inline` may write, by docs/layout.md, as include/corelane_inline.h does.
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
            let Some(view) = port.inline_view(worker as usize) else {
                return Err(Failure::new(CORELANE_INVALID, "no such worker"));
            };
            // SAFETY: checked; as large as its size says.
            unsafe { place.write(CorelaneLayout::of(&view)) };
            Ok(0)
        })
    };
    answer(describe)
}

/// Hands a port's rings to its host, for good: from now on it pushes and polls without a call, by the layouts of
/// `corelane_port_layout`. Connect, disconnect, release a name, acknowledge and `corelane_publish` (which pushes disconnects
/// that waited for room) work as before; before each of them, and before `corelane_port_release`, the host publishes what it
/// has committed, and afterwards it takes the tails over from the headers. Poll, release, arm and wait say
/// CORELANE_STATE; submit works, for messages that are too large for a ring.
///
/// The port's thread. CORELANE_STATE (`max_in_flight`, `client_rate` or `max_concurrent_messages` is set: an inline port keeps
/// no limits; `balance` is round_robin; `enable_concurrent_routing` is off; a delivery was handed out in part), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// Nothing to observe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_inline(port: CorelanePort) -> i32 {
    on(port, |port| {
        port.drive_inline()?;
        Ok(0)
    })
}

/// Says that the host of an inline port has taken a client's last record (kind 5) from a ring: nothing of it is handed out
/// any more, and its slot may be used again.
///
/// The port's thread. CORELANE_STALE (port; or the client is not closing), CORELANE_INVALID (another port's client),
/// CORELANE_STATE (the port is not inline), CORELANE_BUSY.
///
/// # Safety
/// Nothing to observe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_client_closed(port: CorelanePort, client: CorelaneClient) -> i32 {
    on(port, |port| {
        inline_only(port)?;
        port.closed_inline(ClientId(client.value))?;
        Ok(0)
    })
}

/// The events of an inline port that come through no ring: clients that were disconnected and whose worker has ended get their
/// CORELANE_EVENT_CLOSED from the port itself, and what a worker could not put into its ring comes from there: CORELANE_EVENT_CLOSE.
/// For a host that has found a ring closed, once it has taken what was there, has
/// published, and has written `taken` and `handed`. Fills up to `capacity` events and returns how many; the first event's `size`
/// says how far one is from the next. Pushes nothing.
///
/// The port's thread. CORELANE_AGAIN (there are such events, and no capacity, or records before them), CORELANE_CLOSED (the
/// router has stopped and everything was handed out), CORELANE_STATE (the port is not inline), CORELANE_NULL, CORELANE_INVALID
/// (`size`), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// `events` points at `capacity` structs of the size that the first one says; NULL where there is no capacity.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_closings(
    port: CorelanePort,
    events: *mut CorelaneEvent,
    capacity: usize,
) -> i32 {
    on(port, |port| {
        inline_only(port)?;
        // SAFETY: forwarded.
        let places = if capacity == 0 { None } else { Some(unsafe { EventPlaces::new(events, capacity) }?) };
        let mut count = 0;
        let handed_out = port.closings_inline(capacity.min(i32::MAX as usize), |event| {
            if let Some(places) = &places {
                places.write(count, &event);
                count += 1;
            }
        });
        if handed_out > 0 {
            return Ok(handed_out as i64);
        }
        if port.is_over() {
            return Err(Failure::new(CORELANE_CLOSED, "the router has stopped"));
        }
        if port.has_closings() { Err(Failure::new(CORELANE_AGAIN, "poll first")) } else { Ok(0) }
    })
}

/// Takes the payload of a delivery of an inline port that lies beside its ring (kind 1, flag 1: the record has number and
/// length). The view stays valid until `corelane_payload_release`.
///
/// The port's thread. CORELANE_NOT_FOUND (it was taken, or the number was never given), CORELANE_STATE (the port is not
/// inline), CORELANE_NULL, CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// `out_bytes` and `out_length` point at room for a pointer and a length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_payload_take(
    port: CorelanePort,
    number: u64,
    out_bytes: *mut *const u8,
    out_length: *mut usize,
) -> i32 {
    let take = || -> Outcome {
        let (bytes, length) = (out("out_bytes", out_bytes)?, out("out_length", out_length)?);
        PORTS.enter(port.value, |port| {
            inline_only(port)?;
            let lost = || Failure::new(CORELANE_NOT_FOUND, "no payload has this number");
            let payload = port.take_payload(number).ok_or_else(lost)?;
            // SAFETY: checked; the caller has room there.
            unsafe { bytes.write(payload.as_ptr()) };
            // SAFETY: as above.
            unsafe { length.write(payload.len()) };
            Ok(0)
        })
    };
    answer(take)
}

/// Lets go of every payload that `corelane_payload_take` has taken for this port.
///
/// The port's thread. CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No thread uses a view of them any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_payload_release(port: CorelanePort) -> i32 {
    on(port, |port| {
        if port.is_inline() {
            port.release_payloads();
        }
        Ok(0)
    })
}
