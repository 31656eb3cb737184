//! Messages into the router: what clients have sent, what the host sends itself, and synchronous routing.

use super::borrow::{CStruct, OutStruct, out, slice, structs, text};
use super::guard::{Failure, Outcome, answer};
use super::handle::{CorelaneClient, CorelanePort, CorelaneRoom};
use super::port::{Submitting, either, submitting};
use super::reason::CorelaneReason;
use super::status::CorelaneStatus;
use crate::clock::{Clock, Stamp};
use crate::id::{ClientId, RoomId};
use crate::router::{Address, MessageType, Routed, SendOptions, SubmitOptions};
use std::ffi::c_char;
use std::time::Duration;

/// As a flag of a message: if it fails or expires, the port gets CORELANE_EVENT_UNDELIVERED. For `corelane_submission`.
pub const CORELANE_TELL_FAILED: u32 = 1;
/// As a flag of a message: the host keeps the message and tries again if there is no room now. Such an attempt counts neither
/// as a message nor as refused. The statuses are the same.
pub const CORELANE_TRY: u32 = 2;

/// A message type of a protocol, from `corelane_port_message_type`. The value 0 is no type.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneMessageType {
    /// The library's own number.
    pub value: u32,
}

/// A message that a client has sent, with all its options.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneSubmission {
    /// `sizeof(corelane_submission)`, set by the caller: CORELANE_SUBMISSION_INIT.
    pub size: u32,
    /// Any of CORELANE_TELL_FAILED and CORELANE_TRY.
    pub flags: u32,
    /// The client that has sent the message.
    pub client: CorelaneClient,
    /// The message. The bytes are copied.
    pub message: *const u8,
    /// Its length in bytes.
    pub length: usize,
    /// The host's value for the message. Every event that the message causes carries it.
    pub correlation: u64,
    /// How long ago the host has read the message from its socket, in nanoseconds. Counts as queue wait.
    pub waited_ns: u64,
    /// For a host that has read the message itself: the recipient. The router then does not read the message: it delivers the
    /// bytes unchanged, without holding them and without a handler. 0 lets the router read the message by the rules of the
    /// client's protocol.
    pub recipient: CorelaneClient,
    /// With `recipient` the type under which the message counts; 0 is the type "send" of the sender's protocol.
    pub message_type: CorelaneMessageType,
    /// Always 0.
    pub reserved: u32,
}

// SAFETY: integers and a pointer, the size first.
unsafe impl CStruct for CorelaneSubmission {
    const NAME: &'static str = "corelane_submission";
}

/// A message that the host sends itself, with all its options.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneSend {
    /// `sizeof(corelane_send)`, set by the caller: CORELANE_SEND_INIT.
    pub size: u32,
    /// CORELANE_TRY or 0.
    pub flags: u32,
    /// The recipient. 0 if the message goes to a room.
    pub client: CorelaneClient,
    /// The room whose members get the message. 0 if it goes to a client.
    pub room: CorelaneRoom,
    /// The message. The bytes are copied, and delivered unchanged.
    pub message: *const u8,
    /// Its length in bytes.
    pub length: usize,
    /// The host's value for the message. Its deliveries, and CORELANE_EVENT_SEND_FAILED, carry it.
    pub correlation: u64,
    /// The type under which the message counts. 0 is the type "send" of the recipient's protocol.
    pub message_type: CorelaneMessageType,
    /// Always 0.
    pub reserved: u32,
}

// SAFETY: integers and a pointer, the size first.
unsafe impl CStruct for CorelaneSend {
    const NAME: &'static str = "corelane_send";
}

/// As `corelane_routed.outcome`: a worker has handled the message.
pub const CORELANE_ROUTED_DELIVERED: u32 = 1;
/// The recipient is not connected. The message is held, and is delivered or expires later.
pub const CORELANE_ROUTED_HELD: u32 = 2;
/// A worker has handled the message, and it failed.
pub const CORELANE_ROUTED_FAILED: u32 = 3;
/// The message has waited too long, and nothing has handled it.
pub const CORELANE_ROUTED_EXPIRED: u32 = 4;
/// The host's base route has handled the message instead.
pub const CORELANE_ROUTED_TAKEN_OVER: u32 = 5;

/// What has become of a routed message.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneRouted {
    /// `sizeof(corelane_routed)`, set by the caller: CORELANE_ROUTED_INIT.
    pub size: u32,
    /// A CORELANE_ROUTED_ value.
    pub outcome: u32,
    /// With CORELANE_ROUTED_FAILED a CORELANE_REASON_ value, otherwise 0.
    pub reason: u32,
    /// With CORELANE_ROUTED_TAKEN_OVER whether the base route has succeeded: 1 or 0.
    pub success: u32,
}

// SAFETY: integers only, the size first.
unsafe impl CStruct for CorelaneRouted {
    const NAME: &'static str = "corelane_routed";
}

impl CorelaneMessageType {
    pub(super) fn of(message_type: MessageType) -> Self {
        Self { value: message_type.label() + 1 }
    }

    pub(super) fn get(self) -> Result<Option<MessageType>, Failure> {
        let Some(label) = self.value.checked_sub(1) else { return Ok(None) };
        let known = u16::try_from(label).map(MessageType::of_label);
        known.map(Some).map_err(|_| Failure::invalid("message_type is not from corelane_port_message_type"))
    }
}

/// Whether flags are only of these.
pub(super) fn check_flags(flags: u32, known: u32) -> Result<(), Failure> {
    if flags & !known == 0 {
        Ok(())
    } else {
        Err(Failure::invalid(format!("flags is {flags}: no such flags")))
    }
}

/// Submits a message of a client. Its worker sees the message after `corelane_port_publish`; on a shared port it
/// sees the message at once. The bytes are copied. Events that the message causes carry `correlation`.
///
/// The port's owner, on a shared port any thread. Does not block. A message that is refused is counted by its reason.
/// CORELANE_FULL (poll or wait, then retry the message, or drop it), CORELANE_TOO_LARGE, CORELANE_RATE_LIMITED,
/// CORELANE_IN_FLIGHT, CORELANE_CONCURRENCY, CORELANE_PAYLOADS, CORELANE_STALE (port or client), CORELANE_INVALID (another
/// port's client), CORELANE_CLOSED, CORELANE_CORRUPT, CORELANE_NULL, CORELANE_BUSY.
///
/// # Safety
/// `message` points at `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_submit(
    port: CorelanePort,
    client: CorelaneClient,
    message: *const u8,
    length: usize,
    correlation: u64,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let message = unsafe { slice("message", message, length) }?;
        submitting(port, |ends| submit(ends, ClientId(client.value), message, correlation.into(), 0))
    })
}

#[inline]
fn submit(
    ends: Submitting<'_>,
    client: ClientId,
    message: &[u8],
    options: SubmitOptions,
    flags: u32,
) -> Outcome {
    if flags & CORELANE_TRY != 0 {
        either!(ends, Submitting, port => port.try_submit(client, message, options))?;
        return Ok(0);
    }
    either!(ends, Submitting, port => port.submit_with(client, message, options))?;
    Ok(0)
}

/// When a message was read that has waited for so long.
fn read_at(clock: &Clock, waited_ns: u64) -> Option<Stamp> {
    let ticks = || Stamp(clock.now().0.saturating_sub(clock.ticks(Duration::from_nanos(waited_ns))));
    (waited_ns > 0).then(ticks)
}

/// Submits messages of clients, in order, and publishes. Stops at the first message that is refused, so that no client's
/// messages change their order. Returns how many were accepted, and writes to `out_status` the status of the message
/// at that index, or 0 if all were accepted. `out_status` may be NULL. The first element's `size` is the distance between two
/// elements in bytes.
///
/// The port's owner, on a shared port any thread. Does not block. CORELANE_NULL, CORELANE_INVALID (`size`, `count`),
/// CORELANE_STALE (port), CORELANE_BUSY. In `out_status`: as `corelane_port_submit`, and CORELANE_INVALID (flags).
///
/// # Safety
/// `submissions` points at `count` structs with their messages; `out_status` is NULL or points at room for an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_submit_batch(
    port: CorelanePort,
    submissions: *const CorelaneSubmission,
    count: usize,
    out_status: *mut i32,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let submissions = unsafe { structs("submissions", submissions, count) }?;
        // SAFETY: as above.
        unsafe {
            batch(port, submissions, out_status, |ends, one| {
                check_flags(one.flags, CORELANE_TELL_FAILED | CORELANE_TRY)?;
                let message = slice("message", one.message, one.length)?;
                let options = options(either!(&ends, Submitting, port => port.clock()), &one)?;
                submit(ends, ClientId(one.client.value), message, options, one.flags)
            })
        }
    })
}

/// The options of a submission.
pub(super) fn options(clock: &Clock, submission: &CorelaneSubmission) -> Result<SubmitOptions, Failure> {
    let message_type = submission.message_type.get()?;
    let to = ClientId(submission.recipient.value);
    Ok(SubmitOptions {
        correlation: submission.correlation,
        stamp: read_at(clock, submission.waited_ns),
        tell_failed: submission.flags & CORELANE_TELL_FAILED != 0,
        address: (to.0 != 0).then_some(Address { to, message_type }),
    })
}

/// Submits or sends a batch with `one`.
///
/// # Safety
/// `out_status` is NULL or points at room for an int32_t.
unsafe fn batch<T>(
    port: CorelanePort,
    items: impl Iterator<Item = T>,
    out_status: *mut i32,
    one: impl Fn(Submitting<'_>, T) -> Outcome,
) -> Outcome {
    let out_status = if out_status.is_null() { None } else { Some(out("out_status", out_status)?) };
    submitting(port, |mut ends| {
        let (mut accepted, mut status) = (0, 0);
        for item in items {
            let again = match &mut ends {
                Submitting::Owned(port) => Submitting::Owned(port),
                Submitting::Shared(port) => Submitting::Shared(port),
            };
            match one(again, item) {
                Ok(_) => accepted += 1,
                Err(failure) => {
                    status = failure.code();
                    break;
                }
            }
        }
        either!(ends, Submitting, port => port.publish());
        if let Some(place) = out_status {
            // SAFETY: `out` checked the pointer; the caller has room there.
            unsafe { place.write(status) };
        }
        Ok(accepted)
    })
}

/// Sends a message of the host to a client of this or another port. Its worker sees it after `corelane_port_publish`; on a
/// shared port at once. The bytes are copied, and delivered unchanged; the router does not read them. The message
/// uses the client's credit, has no sender, and counts under `message_type`. If it fails after this call has accepted it, this
/// port gets CORELANE_EVENT_SEND_FAILED. Sends to one client through one port arrive in order.
///
/// The port's owner, on a shared port any thread. Does not block. CORELANE_FULL, CORELANE_TOO_LARGE, CORELANE_PAYLOADS,
/// CORELANE_CONCURRENCY, CORELANE_STALE (port or client), CORELANE_INVALID (`message_type`), CORELANE_CLOSED,
/// CORELANE_CORRUPT, CORELANE_NULL, CORELANE_BUSY.
///
/// # Safety
/// `message` points at `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_send(
    port: CorelanePort,
    client: CorelaneClient,
    message: *const u8,
    length: usize,
    message_type: CorelaneMessageType,
    correlation: u64,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let message = unsafe { slice("message", message, length) }?;
        let options = SendOptions { correlation, message_type: message_type.get()? };
        submitting(port, |ends| send(ends, client, CorelaneRoom::default(), message, options, 0))
    })
}

/// Sends a message of the host to all members of a room, as `corelane_port_send`. Each member gets it on its own credit. A
/// member that cannot get it costs only its own delivery: this port gets a CORELANE_EVENT_SEND_FAILED for it. In a cluster the
/// members on other machines get it too. Does not block.
///
/// The port's owner, on a shared port any thread. As `corelane_port_send`; a room that is gone fails as unknown_room.
///
/// # Safety
/// `message` points at `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_send_to_room(
    port: CorelanePort,
    room: CorelaneRoom,
    message: *const u8,
    length: usize,
    message_type: CorelaneMessageType,
    correlation: u64,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let message = unsafe { slice("message", message, length) }?;
        let options = SendOptions { correlation, message_type: message_type.get()? };
        submitting(port, |ends| send(ends, CorelaneClient::default(), room, message, options, 0))
    })
}

fn send(
    ends: Submitting<'_>,
    client: CorelaneClient,
    room: CorelaneRoom,
    message: &[u8],
    options: SendOptions,
    flags: u32,
) -> Outcome {
    let (client, room) = (ClientId(client.value), RoomId(room.value));
    if (client.0 == 0) == (room.0 == 0) {
        return Err(Failure::invalid("a message goes to a client or to a room: set one of them"));
    }
    let to_room = room.0 != 0;
    either!(ends, Submitting, port => {
        match (to_room, flags & CORELANE_TRY != 0) {
            (false, false) => port.send(client, message, options)?,
            (true, false) => port.send_to_room(room, message, options)?,
            (false, true) => port.try_send(client, message, options)?,
            (true, true) => port.try_send_to_room(room, message, options)?,
        }
    });
    Ok(0)
}

/// Sends messages of the host, in order, and publishes. As `corelane_port_submit_batch`, for sends; `out_status` may be NULL.
///
/// The port's owner, on a shared port any thread. Does not block. CORELANE_NULL, CORELANE_INVALID (`size`, `count`),
/// CORELANE_STALE (port), CORELANE_BUSY. In `out_status`: as `corelane_port_send`, and CORELANE_INVALID (flags; neither or
/// both of client and room).
///
/// # Safety
/// `sends` points at `count` structs with their messages; `out_status` is NULL or points at room for an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_send_batch(
    port: CorelanePort,
    sends: *const CorelaneSend,
    count: usize,
    out_status: *mut i32,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let sends = unsafe { structs("sends", sends, count) }?;
        // SAFETY: as above.
        unsafe {
            batch(port, sends, out_status, |ends, one| {
                check_flags(one.flags, CORELANE_TRY)?;
                let message = slice("message", one.message, one.length)?;
                let options =
                    SendOptions { correlation: one.correlation, message_type: one.message_type.get()? };
                send(ends, one.client, one.room, message, options, one.flags)
            })
        }
    })
}

/// Publishes submitted messages to the workers and wakes workers that sleep. Call it once per batch. A shared port publishes
/// by itself.
///
/// The port's owner, on a shared port any thread. Does not block. CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_publish(port: CorelanePort) -> i32 {
    answer(|| {
        submitting(port, |ends| {
            either!(ends, Submitting, port => port.publish());
            Ok(0)
        })
    })
}

/// Looks a message type up, for sends. Do this once, at the start. A type that the protocol does not list counts as the
/// protocol's type `send`.
///
/// The port's owner, on a shared port any thread. Does not block. CORELANE_NOT_FOUND (the router has no such protocol),
/// CORELANE_NULL, CORELANE_INVALID (not UTF-8), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// `protocol` and `name` are texts; `out_type` points at room for a corelane_message_type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_message_type(
    port: CorelanePort,
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
        submitting(port, |ends| {
            let found = either!(ends, Submitting, port => port.message_type(protocol, name));
            let unknown =
                || Failure::new(CorelaneStatus::NotFound, "the router has no protocol of this name");
            // SAFETY: `out` checked the pointer; the caller has room there.
            unsafe { out_type.write(CorelaneMessageType::of(found.ok_or_else(unknown)?)) };
            Ok(0)
        })
    })
}

/// Routes a message of a client and waits at most `timeout_ns` for its outcome. If the router cannot handle it and the
/// configuration's `route_fallback` says so, the base route handles it on this thread, exactly once.
///
/// The port's owner, on a shared port any thread; waits. The port is held meanwhile: another call with a port that is not
/// shared returns CORELANE_BUSY. CORELANE_TIMEOUT (no worker has started the message, and none will),
/// CORELANE_TIMEOUT_STARTED (a worker is handling it), CORELANE_THREAD (a local port, or a handler's thread), CORELANE_LIMIT
/// (`max_calls`); otherwise as `corelane_port_submit`, and CORELANE_INVALID (`size`).
///
/// # Safety
/// `message` points at `length` bytes; `out_routed` points at a corelane_routed with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_route(
    port: CorelanePort,
    client: CorelaneClient,
    message: *const u8,
    length: usize,
    timeout_ns: u64,
    out_routed: *mut CorelaneRouted,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let place = unsafe { OutStruct::new("out_routed", out_routed) }?;
        // SAFETY: as above.
        let message = unsafe { slice("message", message, length) }?;
        let (client, timeout) = (ClientId(client.value), Duration::from_nanos(timeout_ns));
        let routed = submitting(port, |ends| {
            Ok(either!(ends, Submitting, port => port.route(client, message, timeout))?)
        })?;
        let (outcome, reason, success) = match routed {
            Routed::Delivered => (CORELANE_ROUTED_DELIVERED, 0, 0),
            Routed::Held => (CORELANE_ROUTED_HELD, 0, 0),
            Routed::Failed(reason) => (CORELANE_ROUTED_FAILED, CorelaneReason::from(reason) as u32, 0),
            Routed::Expired => (CORELANE_ROUTED_EXPIRED, CorelaneReason::Expired as u32, 0),
            Routed::TakenOver { success, .. } => (CORELANE_ROUTED_TAKEN_OVER, 0, u32::from(success)),
        };
        place.write(&CorelaneRouted { size: 0, outcome, reason, success });
        Ok(0)
    })
}
