//! Lanes, for a language whose calls into C are expensive (Go): it exchanges messages with the workers through two rings per
//! worker, whose addresses it gets here, and calls for the rest. `go/internal/c/corelane_lane.h` declares these functions;
//! they are not in `include/corelane.h`, because a C call costs no more than a Rust call. docs/layout.md has the records and
//! the protocol.

use super::borrow::{CStruct, OutStruct, out, slice, slice_mut, text};
use super::client::CORELANE_CREDIT_DEFAULT;
use super::guard::{CorelaneError, Failure, Outcome, answer, guard};
use super::handle::{CorelaneClient, CorelaneRoom, CorelaneRouter, Table};
use super::reason::CorelaneReason;
use super::router::ROUTERS;
use super::status::CorelaneStatus;
use super::submit::CorelaneMessageType;
use crate::error::{Loss, SubmitError};
use crate::id::{ClientId, RoomId};
use crate::ring::Memory;
use crate::router::{Lane, LaneClient, LaneView};
use std::ffi::c_char;
use std::os::fd::AsRawFd;

/// A lane. Valid until `corelane_lane_release`. The value 0 is never a valid handle. Copy it freely.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneLane {
    /// The library's own number.
    pub value: u64,
}

/// One ring. Offsets are from `base`; docs/layout.md describes the memory.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneLaneRing {
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
    /// uint32_t, written only by the producer: 1 while the producer waits for space.
    pub need_space: u32,
    /// uint32_t: 1 once the ring is closed.
    pub closed: u32,
    /// uint32_t: 1 once the ring was found corrupt.
    pub corrupt: u32,
    /// Always 0.
    pub reserved: u32,
}

/// The memory that a lane and one worker share, and the limits that the host keeps.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneLaneLayout {
    /// `sizeof(corelane_lane_layout)`, set by the caller.
    pub size: u32,
    /// The version of docs/layout.md that the memory follows.
    pub layout_version: u32,
    /// Feature bits. A reader must refuse a layout with bits that it does not know.
    pub features: u64,
    /// The unit of stamps: 0 nanoseconds of CLOCK_MONOTONIC, 1 the cycle counter (x86-64: the TSC; aarch64:
    /// CNTVCT_EL0).
    pub stamp_source: u64,
    /// Lane to worker: the host is the producer.
    pub ingress: CorelaneLaneRing,
    /// Worker to lane: the host is the consumer.
    pub egress: CorelaneLaneRing,
    /// The worker's wake word: 0 awake, 1 asleep on `worker_fd`, or in FUTEX_WAIT_PRIVATE on this word if that is -1.
    pub worker_wake: *mut u32,
    /// The lane's wake word, the same in the layouts of all workers: 0 awake, 1 asleep on `lane_fd`.
    pub lane_wake: *mut u32,
    /// The lane's eventfd.
    pub lane_fd: i32,
    /// Number of the lane's layouts: of workers with threads of their own, or of local workers if the router has no others.
    pub workers: u32,
    /// Maximum size of a message in bytes; the worker refuses larger messages.
    pub max_message: u32,
    /// Number of client slots: an index is below it.
    pub max_clients: u32,
    /// The most records that may wait in an ingress ring; 0: no limit besides its bytes.
    pub queue_messages: u64,
    /// What a client may have outstanding.
    pub credit_messages: u64,
    /// As `credit_messages`, in bytes.
    pub credit_bytes: u64,
    /// The worker's eventfd; -1 for a worker with a thread of its own.
    pub worker_fd: i32,
    /// 1 if the worker is local: `corelane_lane_cycle` can run its cycles.
    pub local: u32,
}

// SAFETY: integers and pointers, the size first.
unsafe impl CStruct for CorelaneLaneLayout {
    const NAME: &'static str = "corelane_lane_layout";
}

/// The lanes of this process.
static LANES: Table<Lane, 1024> = Table::new("lane");

impl CorelaneLaneRing {
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

impl CorelaneLaneLayout {
    fn of(view: &LaneView<'_>) -> Self {
        let (layout_version, features, stamp_source) = view.ingress.describes();
        Self {
            size: size_of::<Self>() as u32,
            layout_version,
            features,
            stamp_source,
            ingress: CorelaneLaneRing::of(view.ingress),
            egress: CorelaneLaneRing::of(view.egress),
            worker_wake: view.worker_wake.address(),
            lane_wake: view.lane_wake.address(),
            lane_fd: view.lane_wake.as_fd().map_or(-1, |descriptor| descriptor.as_raw_fd()),
            workers: view.workers as u32,
            max_message: view.max_message as u32,
            max_clients: view.max_clients as u32,
            queue_messages: view.queue_messages,
            credit_messages: view.credit.0.into(),
            credit_bytes: view.credit.1.into(),
            worker_fd: view.worker_wake.as_fd().map_or(-1, |descriptor| descriptor.as_raw_fd()),
            local: view.local.into(),
        }
    }
}

/// Runs a call on a lane.
#[inline]
fn with<R>(lane: CorelaneLane, body: impl FnOnce(&Lane) -> Result<R, Failure>) -> Result<R, Failure> {
    LANES.enter_shared(lane.value, body)
}

fn stale_client() -> Failure {
    Failure::new(CorelaneStatus::Stale, "the client is not in this state, or is not connected")
}

/// Opens a lane: two rings to each worker with a thread of its own; or, if the router has only local workers, to each of them.
///
/// Any thread. The call may block for up to 100 ms if a port or lane was released just before. CORELANE_LIMIT (`max_ports`;
/// 1024 lanes in a process), CORELANE_STATE (the router has stopped; `enable_concurrent_routing` is
/// off), CORELANE_SYSTEM, CORELANE_STALE, CORELANE_NULL.
///
/// # Safety
/// `out_lane` points at room for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_lane_open(router: CorelaneRouter, out_lane: *mut CorelaneLane) -> i32 {
    answer(|| {
        let out_lane = out("out_lane", out_lane)?;
        let lane = ROUTERS.enter_shared(router.value, |router| Ok(router.lane()?))?;
        let value = LANES.insert(lane)?;
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_lane.write(CorelaneLane { value }) };
        Ok(0)
    })
}

/// Describes the memory that a lane shares with worker number `worker` (from 0). Valid until `corelane_lane_release`.
///
/// Any thread. CORELANE_INVALID (no such worker; `size`), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `out_layout` is NULL or points at a corelane_lane_layout with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_lane_describe(
    lane: CorelaneLane,
    worker: u32,
    out_layout: *mut CorelaneLaneLayout,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let place = unsafe { OutStruct::new("out_layout", out_layout) }?;
        with(lane, |lane| {
            let unknown = || Failure::invalid("the lane has no worker of this number");
            place.write(&CorelaneLaneLayout::of(&lane.describe(worker as usize).ok_or_else(unknown)?));
            Ok(0)
        })
    })
}

/// Runs one cycle of a local worker on this thread: it takes what the lane has published, and what comes of it is in the lane's
/// ring when the call returns. Publish before without a wake, and poll afterwards: the cycle does not wake the lane for what it
/// emits. Returns how much work was done.
///
/// Any thread. Does not block. CORELANE_BUSY: another thread runs a cycle, or a port has the worker, or it has ended, or it has
/// a thread of its own; wake it as after every publication. CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_lane_cycle(lane: CorelaneLane, worker: u32) -> i32 {
    answer(|| {
        let busy = || Failure::new(CorelaneStatus::Busy, "the worker is not to be had: wake it");
        with(lane, |lane| lane.cycle(worker as usize).map(|work| work as i64).ok_or_else(busy))
    })
}

/// The first step of a connect: takes a slot on a worker. Nobody can find the client yet. Fill your own table, then call
/// `corelane_lane_enter` or `corelane_lane_cancel`. `policy` is -1 for the configured one, or a CORELANE_CREDIT_ value.
///
/// Any thread. Does not block. CORELANE_EXISTS (the name is taken), CORELANE_INVALID (length of the name; not UTF-8; policy),
/// CORELANE_NOT_FOUND (no such protocol), CORELANE_LIMIT (`max_clients`), CORELANE_CLOSED, CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// The texts are as their lengths say; `out_client` and `out_worker` point at room; `error` is NULL or a corelane_error with
/// its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_lane_reserve(
    lane: CorelaneLane,
    name: *const c_char,
    name_length: usize,
    protocol: *const c_char,
    protocol_length: usize,
    application: *const c_char,
    application_length: usize,
    policy: i32,
    out_client: *mut CorelaneClient,
    out_worker: *mut u32,
    error: *mut CorelaneError,
) -> i32 {
    let reserve = || -> Outcome {
        let (out_client, out_worker) = (out("out_client", out_client)?, out("out_worker", out_worker)?);
        // SAFETY: the caller upholds the same contract.
        let name = unsafe { text("name", name, name_length) }?;
        // SAFETY: as above.
        let protocol = unsafe { text("protocol", protocol, protocol_length) }?;
        // SAFETY: as above.
        let application = unsafe { text("application", application, application_length) }?;
        let policy = if policy == -1 { CORELANE_CREDIT_DEFAULT } else { policy as u32 };
        let policy = super::client::credit_policy(policy)?;
        let new = LaneClient { name, protocol, application, policy };
        let (client, worker) = with(lane, |lane| Ok(lane.reserve(new)?))?;
        // SAFETY: `out` checked both pointers; the caller has room there.
        unsafe { out_client.write(CorelaneClient { value: client.0 }) };
        // SAFETY: as above.
        unsafe { out_worker.write(worker as u32) };
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, reserve) }
}

/// The second step: inserts the name and tells the workers, which then deliver what they hold for it. If the call fails, the
/// reservation is given back.
///
/// Any thread. Does not block. CORELANE_EXISTS (the name is taken meanwhile), CORELANE_CLOSED (the client's worker has left),
/// CORELANE_STALE (lane; or the client is not reserved).
///
/// # Safety
/// `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_lane_enter(
    lane: CorelaneLane,
    client: CorelaneClient,
    error: *mut CorelaneError,
) -> i32 {
    let enter = || -> Outcome {
        with(lane, |lane| {
            lane.enter(ClientId(client.value)).ok_or_else(stale_client)??;
            Ok(0)
        })
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, enter) }
}

/// Instead of `corelane_lane_enter`: gives the reservation back.
///
/// Any thread. Does not block. CORELANE_STALE (lane; or the client is not reserved).
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_lane_cancel(lane: CorelaneLane, client: CorelaneClient) -> i32 {
    answer(|| {
        with(lane, |lane| if lane.cancel(ClientId(client.value)) { Ok(0) } else { Err(stale_client()) })
    })
}

/// Starts a disconnect: the client loses its name and its rooms, and gets no more deliveries. After this call push the record
/// DISCONNECT behind the client's messages; CLIENT_CLOSED answers it.
///
/// Any thread. Does not block. CORELANE_STALE (lane; or the client is not connected, or closing already), CORELANE_INVALID
/// (another port's or lane's client).
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_lane_disconnect(lane: CorelaneLane, client: CorelaneClient) -> i32 {
    answer(|| {
        with(lane, |lane| {
            lane.disconnect(ClientId(client.value))?;
            Ok(0)
        })
    })
}

/// Ends a client whose worker has left: its egress ring is closed, and all its records are taken. No CLIENT_CLOSED comes.
///
/// Any thread. Does not block. CORELANE_STATE (the client's worker has not left, or the client is only reserved),
/// CORELANE_STALE (lane; or the client is closed).
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_lane_closed(lane: CorelaneLane, client: CorelaneClient) -> i32 {
    answer(|| {
        with(lane, |lane| {
            let early =
                || Failure::new(CorelaneStatus::State, "the client's worker answers disconnects itself");
            let ended = lane.closed(ClientId(client.value)).ok_or_else(early)?;
            ended.map_err(|_| stale_client())?;
            Ok(0)
        })
    })
}

/// Frees a client's name for other clients. The client stays connected.
///
/// Any thread. Does not block. Errors as for `corelane_lane_disconnect`.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_lane_release_name(lane: CorelaneLane, client: CorelaneClient) -> i32 {
    answer(|| {
        with(lane, |lane| {
            lane.release_name(ClientId(client.value))?;
            Ok(0)
        })
    })
}

/// As `corelane_port_join`.
///
/// Any thread. Waits at most for another thread's join or leave. CORELANE_LIMIT (`max_rooms`, `max_room_members`,
/// `max_client_rooms`; or member lists are in use: retry), CORELANE_INVALID (length of the name; not UTF-8; another port's
/// client), CORELANE_STALE (lane, client), CORELANE_NULL.
///
/// # Safety
/// `room` is a text; `out_room` points at room for a handle; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_lane_join(
    lane: CorelaneLane,
    client: CorelaneClient,
    room: *const c_char,
    length: usize,
    out_room: *mut CorelaneRoom,
    error: *mut CorelaneError,
) -> i32 {
    let join = || -> Outcome {
        let out_room = out("out_room", out_room)?;
        // SAFETY: the caller upholds the same contract.
        let name = unsafe { text("room", room, length) }?;
        let room = with(lane, |lane| Ok(lane.join(ClientId(client.value), name)?))?;
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_room.write(CorelaneRoom { value: room.0 }) };
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, join) }
}

/// As `corelane_port_leave`.
///
/// Any thread. Waits at most for another thread's join or leave. CORELANE_NOT_FOUND (not a member), CORELANE_STALE (lane,
/// client, room), CORELANE_INVALID (another port's client), CORELANE_LIMIT (member lists are in use: retry).
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_lane_leave(
    lane: CorelaneLane,
    client: CorelaneClient,
    room: CorelaneRoom,
) -> i32 {
    answer(|| {
        with(lane, |lane| {
            lane.leave(ClientId(client.value), RoomId(room.value))?;
            Ok(0)
        })
    })
}

/// The worker to whose ring a SEND to a client of any port or lane goes. It stays the same while the client is connected.
///
/// Any thread. Does not block. CORELANE_STALE (lane; or the client is not connected), CORELANE_NULL.
///
/// # Safety
/// `out_worker` points at room for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_lane_worker_of(
    lane: CorelaneLane,
    client: CorelaneClient,
    out_worker: *mut u32,
) -> i32 {
    answer(|| {
        let out_worker = out("out_worker", out_worker)?;
        let worker = with(lane, |lane| lane.worker_of(ClientId(client.value)).map_err(|_| stale_client()))?;
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_worker.write(worker as u32) };
        Ok(0)
    })
}

/// The worker to whose ring a SEND_TO_ROOM goes. It stays the same.
///
/// Any thread. Does not block. CORELANE_STALE (lane), CORELANE_NULL.
///
/// # Safety
/// `out_worker` points at room for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_lane_worker_of_room(
    lane: CorelaneLane,
    room: CorelaneRoom,
    out_worker: *mut u32,
) -> i32 {
    answer(|| {
        let out_worker = out("out_worker", out_worker)?;
        let worker = with(lane, |lane| Ok(lane.worker_of_room(RoomId(room.value))))?;
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_worker.write(worker as u32) };
        Ok(0)
    })
}

/// Looks a message type up, for SEND, SEND_TO_ROOM and ADDRESSED: a record has its value minus 1 as its type label. A type
/// that the protocol does not list is the protocol's type `send`.
///
/// Any thread. Does not block. CORELANE_NOT_FOUND (no such protocol), CORELANE_INVALID (not UTF-8), CORELANE_STALE,
/// CORELANE_NULL.
///
/// # Safety
/// `protocol` and `name` are texts; `out_type` points at room for a type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_lane_message_type(
    lane: CorelaneLane,
    protocol: *const c_char,
    protocol_length: usize,
    name: *const c_char,
    name_length: usize,
    out_type: *mut CorelaneMessageType,
) -> i32 {
    answer(|| {
        let out_type = out("out_type", out_type)?;
        // SAFETY: the caller upholds the same contract.
        let protocol = unsafe { text("protocol", protocol, protocol_length) }?;
        // SAFETY: as above.
        let name = unsafe { text("name", name, name_length) }?;
        let found = with(lane, |lane| {
            let unknown = || Failure::new(CorelaneStatus::NotFound, "no protocol has this name");
            lane.message_type(protocol, name).ok_or_else(unknown)
        })?;
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_type.write(CorelaneMessageType::of(found)) };
        Ok(0)
    })
}

/// Says whether messages of a type become tasks of the host: 1 if the type's action is `host`, in the named protocol, or with an
/// empty `protocol` in any; 0 if the type is listed with other actions only.
///
/// Any thread. Does not block. CORELANE_NOT_FOUND (no such protocol, or none that lists the type; the error names the nearest),
/// CORELANE_INVALID (not UTF-8), CORELANE_STALE.
///
/// # Safety
/// `protocol` and `name` are texts; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_router_is_task(
    router: CorelaneRouter,
    protocol: *const c_char,
    protocol_length: usize,
    name: *const c_char,
    name_length: usize,
    error: *mut CorelaneError,
) -> i32 {
    let look = || -> Outcome {
        // SAFETY: the caller upholds the same contract.
        let protocol = unsafe { text("protocol", protocol, protocol_length) }?;
        // SAFETY: as above.
        let name = unsafe { text("name", name, name_length) }?;
        ROUTERS.enter_shared(router.value, |router| {
            let found = router.is_task(protocol, name);
            found.map(i64::from).map_err(|why| Failure::new(CorelaneStatus::NotFound, why))
        })
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, look) }
}

/// Puts a payload that is too large for a record into the table, on its way to a worker. Then push its number and its length,
/// with the flag OWNED. The bytes are copied. If the record is not pushed, take the payload back with `corelane_lane_take`.
///
/// Any thread. Does not block. CORELANE_TOO_LARGE, CORELANE_PAYLOADS, CORELANE_CLOSED (the worker takes nothing more),
/// CORELANE_STALE, CORELANE_NULL.
///
/// # Safety
/// `data` points at `length` bytes; `out_number` points at room for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_lane_put(
    lane: CorelaneLane,
    worker: u32,
    data: *const u8,
    length: usize,
    out_number: *mut u64,
) -> i32 {
    answer(|| {
        let out_number = out("out_number", out_number)?;
        // SAFETY: the caller upholds the same contract.
        let bytes = unsafe { slice("data", data, length) }?;
        let number = with(lane, |lane| Ok(lane.put(worker as usize, bytes)?))?;
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_number.write(number) };
        Ok(0)
    })
}

/// Takes the out-of-line payload of a delivery (kind 1, flag 1) from a worker, once, and copies it to `buffer`; the record has
/// its number and its length. Also takes back what `corelane_lane_put` has put there. With a `capacity` of 0 the payload is
/// thrown away, and `out_length` gets its length.
///
/// Any thread. Does not block. CORELANE_NOT_FOUND (taken already; or the number is not of this lane and worker),
/// CORELANE_INVALID (`capacity` is too small: the payload is gone), CORELANE_STALE, CORELANE_NULL.
///
/// # Safety
/// `buffer` points at `capacity` bytes, and may be NULL if that is 0; `out_length` points at room for a length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_lane_take(
    lane: CorelaneLane,
    worker: u32,
    number: u64,
    buffer: *mut u8,
    capacity: usize,
    out_length: *mut usize,
) -> i32 {
    answer(|| {
        let out_length = out("out_length", out_length)?;
        // SAFETY: the caller upholds the same contract.
        let buffer = unsafe { slice_mut("buffer", buffer, capacity) }?;
        let length = with(lane, |lane| {
            let lost = || Failure::new(CorelaneStatus::NotFound, "no payload has this number");
            let copied = lane.take_with(worker as usize, number, |bytes| {
                if let Some(target) = buffer.get_mut(..bytes.len()) {
                    target.copy_from_slice(bytes);
                } else if !buffer.is_empty() {
                    return Err(Failure::invalid(format!("the payload has {} bytes", bytes.len())));
                }
                Ok(bytes.len())
            });
            copied.ok_or_else(lost)?
        })?;
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_length.write(length) };
        Ok(0)
    })
}

/// Counts messages that the host has refused itself, before they were in a ring: each counts as submitted and as refused for
/// this reason. `reason` is CORELANE_REASON_RING_FULL, CORELANE_REASON_CLOSED, CORELANE_REASON_CORRUPT,
/// CORELANE_REASON_STALE_CLIENT, CORELANE_REASON_TOO_LARGE or CORELANE_REASON_PAYLOADS_FULL.
///
/// Any thread. Does not block. CORELANE_INVALID (another reason), CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_lane_refused(lane: CorelaneLane, reason: u32, count: u64) -> i32 {
    const OF_A_HOST: [SubmitError; 6] = [
        SubmitError::RingFull,
        SubmitError::Closed,
        SubmitError::Corrupt,
        SubmitError::StaleClient,
        SubmitError::TooLarge,
        SubmitError::PayloadsFull,
    ];
    answer(|| {
        let is_meant = |one: &&SubmitError| CorelaneReason::from(Loss::Refused(**one)) as u32 == reason;
        let found = OF_A_HOST.iter().find(is_meant);
        let found =
            found.ok_or_else(|| Failure::invalid("a host does not refuse messages for this reason"))?;
        with(lane, |lane| {
            lane.count_refused(*found, count);
            Ok(0)
        })
    })
}

/// Releases a lane. The host has published, and neither pushes nor polls any more. What it has published is still handled;
/// its clients are disconnected, and deliveries that it has not read become undeliverable. If another thread is inside a call
/// with the lane, that thread does the rest when its call ends. The memory of `corelane_lane_describe` is gone afterwards.
///
/// Any thread. Does not block. CORELANE_STALE the second time.
///
/// # Safety
/// No thread uses the lane's memory afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_lane_release(lane: CorelaneLane) -> i32 {
    answer(|| {
        drop(LANES.release(lane.value)?);
        Ok(0)
    })
}
