//! Ports: connect, submit, poll, wait. Only one thread at a time may be inside a call with a port. A second thread
//! gets BUSY and its call changes nothing. Threads may take turns.

use super::handle::{CorelaneClient, CorelanePort, CorelaneRouter, HandleTable};
use super::router::ROUTERS;
use super::status::{
    CORELANE_AGAIN, CORELANE_CLOSED, CORELANE_INVALID, CORELANE_STATE, CORELANE_TIMEOUT, CorelaneError,
    Failure, Outcome, answer, guard_status, out, slice, text,
};
use crate::error::{CloseReason, Failed, Loss, PortError};
use crate::id::ClientId;
use crate::router::{Event, Port, Recipient, Router};
use std::ffi::c_char;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// The ports of this process. Every call enters exclusively.
pub(super) static PORTS: HandleTable<Port, 4096> = HandleTable::new("port");

/// Write `bytes` to the client, then acknowledge them. `sender` and `correlation` are those of the submitted message.
pub const CORELANE_EVENT_MESSAGE: u32 = 1;
/// A held message of this client expired: no client connected under the name in `bytes`. Sent once per name, with the
/// `correlation` of the first such message. Acknowledge the event like a message of `length` bytes.
pub const CORELANE_EVENT_EXPIRED: u32 = 2;
/// The client has sent a message that gives up its name. Call `corelane_release_name` if others may use the name. The
/// client stays connected.
pub const CORELANE_EVENT_LEFT: u32 = 3;
/// Close this client's connection, then call `corelane_disconnect`. `reason` is a CORELANE_CLOSE_ value.
pub const CORELANE_EVENT_CLOSE: u32 = 4;
/// The last event for this client. Memory that its token refers to may be freed.
pub const CORELANE_EVENT_CLOSED: u32 = 5;
/// A message of this client has not been delivered: the recipient has no credit left (`credit_policy` refuse), or the
/// message had ingress flag 2 set and failed or expired. `sender` is the recipient at which it failed, or 0,
/// `correlation` is the message's, `reason` is a CORELANE_FAILED_ value, or 0 for a reason without one. Do not
/// acknowledge this event.
pub const CORELANE_EVENT_UNDELIVERED: u32 = 6;
/// A message that the host itself has sent to `client` has not been delivered. `correlation` is the message's, `reason`
/// is a CORELANE_FAILED_ value, or 0 for a reason without one. There is no token. Do not acknowledge this event.
pub const CORELANE_EVENT_SEND_FAILED: u32 = 7;

/// The client has used up its credit: it has not acknowledged its deliveries.
pub const CORELANE_CLOSE_CREDIT: u32 = 1;
/// A ring of the client's port is corrupt.
pub const CORELANE_CLOSE_CORRUPT: u32 = 2;

/// The recipient has used up its credit: it has not acknowledged its deliveries.
pub const CORELANE_FAILED_CREDIT: u32 = 1;

/// One event that a poll hands out.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneEvent {
    /// `sizeof(corelane_event)`. The caller sets it in the first event; a poll sets it in the others.
    pub size: u32,
    /// A CORELANE_EVENT_ value. Ignore events of a kind that you do not know.
    pub kind: u32,
    /// The client that the event is for.
    pub client: CorelaneClient,
    /// That client's token, as passed to `corelane_connect` or `corelane_rebind`.
    pub token: u64,
    /// The message's sender, or 0. In CORELANE_EVENT_UNDELIVERED the recipient.
    pub sender: CorelaneClient,
    /// The host's value from the submitted message, or 0.
    pub correlation: u64,
    /// A view, valid until the next `corelane_poll`, `corelane_release` or `corelane_port_release`. NULL if `length`
    /// is 0.
    pub bytes: *const u8,
    /// Length of the view in bytes.
    pub length: usize,
    /// The reason in CORELANE_EVENT_CLOSE, CORELANE_EVENT_UNDELIVERED and CORELANE_EVENT_SEND_FAILED, otherwise 0. Treat an unknown value as an
    /// unspecified reason.
    pub reason: u32,
    /// Always 0.
    pub reserved: u32,
}

impl CorelaneEvent {
    fn new(size: u32, event: &Event<'_>) -> Self {
        let plain = |kind, client: &ClientId, token: &u64| Self {
            size,
            kind,
            client: CorelaneClient { value: client.0 },
            token: *token,
            sender: CorelaneClient::default(),
            correlation: 0,
            bytes: std::ptr::null(),
            length: 0,
            reason: 0,
            reserved: 0,
        };
        let view = |bytes: &[u8]| if bytes.is_empty() { std::ptr::null() } else { bytes.as_ptr() };
        match event {
            Event::Message(message) => Self {
                sender: CorelaneClient { value: message.sender.map_or(0, |sender| sender.0) },
                correlation: message.correlation,
                bytes: view(message.payload),
                length: message.payload.len(),
                ..plain(CORELANE_EVENT_MESSAGE, &message.client, &message.token)
            },
            Event::Expired { client, token, name, correlation } => Self {
                correlation: *correlation,
                bytes: view(name),
                length: name.len(),
                ..plain(CORELANE_EVENT_EXPIRED, client, token)
            },
            Event::Undelivered { client, token, recipient, correlation, reason } => Self {
                sender: CorelaneClient { value: recipient.map_or(0, |recipient| recipient.0) },
                correlation: *correlation,
                reason: reason_of(*reason),
                ..plain(CORELANE_EVENT_UNDELIVERED, client, token)
            },
            Event::SendFailed { to, correlation, reason } => Self {
                correlation: *correlation,
                reason: reason_of(*reason),
                // C has no sends to rooms yet.
                ..plain(
                    CORELANE_EVENT_SEND_FAILED,
                    &match to {
                        Recipient::Client(client) => *client,
                        Recipient::Room(_) => ClientId(0),
                    },
                    &0,
                )
            },
            Event::Left { client, token } => plain(CORELANE_EVENT_LEFT, client, token),
            Event::Close { client, token, reason } => Self {
                reason: match reason {
                    CloseReason::CreditExhausted => CORELANE_CLOSE_CREDIT,
                    CloseReason::Corrupt => CORELANE_CLOSE_CORRUPT,
                },
                ..plain(CORELANE_EVENT_CLOSE, client, token)
            },
            Event::Closed { client, token, .. } => plain(CORELANE_EVENT_CLOSED, client, token),
        }
    }
}

/// The number of a reason. Credit is the only one that C hosts are told so far.
fn reason_of(reason: Loss) -> u32 {
    if reason == Loss::Failed(Failed::CreditExhausted) { CORELANE_FAILED_CREDIT } else { 0 }
}

/// A caller's array of events.
pub(super) struct EventPlaces {
    first: *mut CorelaneEvent,
    size: u32,
    capacity: usize,
}

impl EventPlaces {
    /// # Safety
    /// `first` is NULL, or points at `capacity` structs whose size is in the first one's `size`, and nothing else
    /// accesses them while the value exists.
    pub(super) unsafe fn new(first: *mut CorelaneEvent, capacity: usize) -> Result<Self, Failure> {
        let first = out("events", first)?;
        // SAFETY: `first` is not NULL, and the caller has set the first event's size.
        let size = unsafe { (*first).size };
        let stride = size as usize;
        if stride < size_of::<CorelaneEvent>() || !stride.is_multiple_of(align_of::<CorelaneEvent>()) {
            let text = format!("an event has {size} bytes: set size to sizeof(corelane_event)");
            return Err(Failure::new(CORELANE_INVALID, text));
        }
        Ok(Self { first, size, capacity })
    }

    /// Writes the event at index `place`. A poll's limit counts events, so the array has room for all of them.
    pub(super) fn write(&self, place: usize, event: &Event<'_>) {
        if place < self.capacity {
            // SAFETY: `place` is less than `capacity`, so the event is inside the array.
            let to = unsafe { self.first.byte_add(place * self.size as usize) };
            // SAFETY: as above.
            unsafe { to.write(CorelaneEvent::new(self.size, event)) };
        }
    }
}

/// Runs a call on a port with exclusive access.
pub(super) fn on(port: CorelanePort, body: impl FnOnce(&mut Port) -> Outcome) -> i32 {
    answer(|| PORTS.enter(port.value, body))
}

/// As `on`, for calls that are not allowed on an inline port, because its host does this work itself.
fn on_rings(port: CorelanePort, body: impl FnOnce(&mut Port) -> Outcome) -> i32 {
    on(port, |port| {
        if port.is_inline() {
            return Err(Failure::new(CORELANE_STATE, "the port is inline: its host drives the rings itself"));
        }
        body(port)
    })
}

/// As `on`, for calls that push: on an inline port they first reload the positions that the host has published.
fn on_pushing(port: CorelanePort, body: impl FnOnce(&mut Port) -> Outcome) -> i32 {
    on(port, |port| {
        port.resume()?;
        body(port)
    })
}

/// Opens a port. Each host thread has its own port, and its submits and polls never wait for other threads.
///
/// Any thread. CORELANE_LIMIT (`max_ports`; 4096 in a process), CORELANE_STATE (the router has stopped), CORELANE_SYS,
/// CORELANE_STALE. The call may wait briefly if a port was released just before.
///
/// # Safety
/// `out_port` points at room for a handle; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_open(
    router: CorelaneRouter,
    out_port: *mut CorelanePort,
    error: *mut CorelaneError,
) -> i32 {
    // SAFETY: the caller upholds the same contract.
    unsafe { open_with(router, out_port, error, Router::port) }
}

/// Opens a port with a call of the router.
///
/// # Safety
/// `out_port` points at room for a handle; `error` is NULL or a corelane_error with its size set.
pub(super) unsafe fn open_with(
    router: CorelaneRouter,
    out_port: *mut CorelanePort,
    error: *mut CorelaneError,
    call: fn(&Router) -> Result<Port, PortError>,
) -> i32 {
    let open = || -> Outcome {
        let out_port = out("out_port", out_port)?;
        let port = ROUTERS.enter_shared(router.value, |router| call(router).map_err(Failure::from))?;
        let value = PORTS.insert(port)?;
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_port.write(CorelanePort { value }) };
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard_status(error, open) }
}

/// Releases a port. Its clients are disconnected, deliveries that were not polled become undeliverable, and its views
/// and layouts become invalid.
///
/// Any thread. CORELANE_BUSY while another thread is inside a call with the port, including waits; CORELANE_STALE the
/// second time.
///
/// # Safety
/// No thread uses a view or a layout of this port afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_release(port: CorelanePort) -> i32 {
    let release = || -> Outcome {
        drop(PORTS.remove(port.value)?);
        Ok(0)
    };
    answer(release)
}

/// Connects a client under a name on this port. `name`, `protocol` (such as `peerjs` or `generic`) and `application`
/// (may be empty) are UTF-8. Every event for the client carries `token`. Messages held for the name are delivered to
/// the client.
///
/// The port's thread. CORELANE_EXISTS (the name is taken), CORELANE_INVALID (length of the name; not UTF-8),
/// CORELANE_NOT_FOUND (no such protocol), CORELANE_LIMIT (`max_clients`), CORELANE_CLOSED, CORELANE_NULL,
/// CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// Each of the three texts points at as many bytes as its length says; `out_client` points at room for a handle;
/// `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_connect(
    port: CorelanePort,
    name: *const c_char,
    name_length: usize,
    protocol: *const c_char,
    protocol_length: usize,
    application: *const c_char,
    application_length: usize,
    token: u64,
    out_client: *mut CorelaneClient,
    error: *mut CorelaneError,
) -> i32 {
    let connect = || -> Outcome {
        let out_client = out("out_client", out_client)?;
        // SAFETY: the caller upholds the same contract.
        let name = unsafe { text("name", name, name_length) }?;
        // SAFETY: the caller upholds the same contract.
        let protocol = unsafe { text("protocol", protocol, protocol_length) }?;
        // SAFETY: the caller upholds the same contract.
        let application = unsafe { text("application", application, application_length) }?;
        let client = PORTS.enter(port.value, |port| {
            port.resume()?;
            Ok(port.connect(name, protocol, application, token)?)
        })?;
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_client.write(CorelaneClient { value: client.0 }) };
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard_status(error, connect) }
}

/// Submits a message of a client. Its worker sees the message after `corelane_publish`; on an inline port it sees the
/// message at once. The bytes are copied. Events that the message causes carry `correlation`.
///
/// The port's thread. CORELANE_FULL (poll, then retry the message or drop it), CORELANE_TOO_LARGE, CORELANE_STALE
/// (port or client), CORELANE_INVALID (another port's client), CORELANE_CLOSED, CORELANE_CORRUPT, CORELANE_NULL,
/// CORELANE_BUSY. A refused message is counted by its reason.
///
/// # Safety
/// `message` points at `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_submit(
    port: CorelanePort,
    client: CorelaneClient,
    message: *const u8,
    length: usize,
    correlation: u64,
) -> i32 {
    on_pushing(port, |port| {
        // SAFETY: the caller upholds the same contract.
        let message = unsafe { slice("message", message, length) }?;
        port.submit(ClientId(client.value), message, correlation)?;
        if port.is_inline() {
            port.publish();
        }
        Ok(0)
    })
}

/// Publishes submitted messages to the workers and wakes workers that sleep. Call it once per batch. On an inline
/// port it pushes disconnects that wait for space, and returns how many still wait.
///
/// The port's thread. CORELANE_STALE, CORELANE_BUSY, CORELANE_CORRUPT (inline).
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_publish(port: CorelanePort) -> i32 {
    on_pushing(port, |port| {
        if port.is_inline() {
            return Ok(port.push_waiting() as i64);
        }
        port.publish();
        Ok(0)
    })
}

/// Hands out up to `capacity` events and returns how many; 0 if there are none. The first event's `size` is the
/// distance between two events in bytes. The events' views are valid until the next poll or `corelane_release`.
///
/// The port's thread. CORELANE_CLOSED once the router has stopped and everything was handed out; CORELANE_NULL,
/// CORELANE_INVALID (`size`, or `capacity` is 0), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// `events` points at `capacity` structs of the size that the first one has in `size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_poll(
    port: CorelanePort,
    events: *mut CorelaneEvent,
    capacity: usize,
) -> i32 {
    on_rings(port, |port| {
        // SAFETY: the caller upholds the same contract.
        let places = unsafe { EventPlaces::new(events, capacity) }?;
        if capacity == 0 {
            return Err(Failure::new(CORELANE_INVALID, "capacity is 0: pass room for at least one event"));
        }
        let mut count = 0;
        let mut batch = port.poll(capacity.min(i32::MAX as usize))?;
        while let Some(event) = batch.next() {
            places.write(count, &event);
            count += 1;
        }
        batch.keep(); // The views stay valid until the next poll.
        Ok(count as i64)
    })
}

/// Releases the ring space of the events that the last poll handed out, so that workers that wait for space continue.
/// The views of these events become invalid. The next poll does the same.
///
/// The port's thread. CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No thread uses a view of the last poll afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_release(port: CorelanePort) -> i32 {
    on_rings(port, |port| {
        port.release();
        Ok(0)
    })
}

/// Acknowledges that the host has written or dropped this many messages and bytes of the client's deliveries. The
/// client gets that credit back, but never more than was handed out. A client that is gone is ignored.
///
/// The port's thread. CORELANE_STALE (port), CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_acknowledge(
    port: CorelanePort,
    client: CorelaneClient,
    messages: u32,
    byte_count: u32,
) -> i32 {
    on(port, |port| {
        port.acknowledge(ClientId(client.value), messages, byte_count);
        Ok(0)
    })
}

/// Starts to disconnect a client. Its name is free at once. Messages that it has submitted are still handled;
/// CORELANE_EVENT_CLOSED follows them. On an inline port the call returns how many disconnects wait for space in a
/// ring; `corelane_publish` pushes them when there is space.
///
/// The port's thread. CORELANE_STALE (port; or the client is not connected), CORELANE_INVALID (another port's client),
/// CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_disconnect(port: CorelanePort, client: CorelaneClient) -> i32 {
    on_pushing(port, |port| {
        port.disconnect(ClientId(client.value))?;
        Ok(if port.is_inline() { port.push_waiting() as i64 } else { 0 })
    })
}

/// Frees a client's name for other clients. The client stays connected. See CORELANE_EVENT_LEFT.
///
/// The port's thread. Errors as for `corelane_disconnect`.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_release_name(port: CorelanePort, client: CorelaneClient) -> i32 {
    on(port, |port| {
        port.release_name(ClientId(client.value))?;
        Ok(0)
    })
}

/// Waits at most `timeout_ns`, with a resolution of a millisecond. Returns earlier if there may be something to poll, or
/// space after CORELANE_FULL. For hosts without an event loop.
///
/// The port's thread; waits. Meanwhile other threads' calls with the port return CORELANE_BUSY. CORELANE_TIMEOUT,
/// CORELANE_CLOSED (everything was handed out), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_wait(port: CorelanePort, timeout_ns: u64) -> i32 {
    on_rings(port, |port| {
        closed(port)?;
        let (start, timeout) = (Instant::now(), Duration::from_nanos(timeout_ns));
        port.wait(timeout);
        if start.elapsed() < timeout || port.has_news() {
            return Ok(0);
        }
        Err(Failure::new(CORELANE_TIMEOUT, "nothing to poll before the time-out"))
    })
}

fn closed(port: &Port) -> Result<(), Failure> {
    if port.is_over() { Err(Failure::new(CORELANE_CLOSED, "the router has stopped")) } else { Ok(()) }
}

/// Returns the descriptor that becomes readable when there is something to poll, or for the local worker to do, or space
/// after CORELANE_FULL. It belongs to the port: watch it, but do not read, write or close it. Call `corelane_port_arm` before each wait.
///
/// The port's thread. Returns a descriptor, or CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_fd(port: CorelanePort) -> i32 {
    on(port, |port| Ok(i64::from(port.as_fd().as_raw_fd())))
}

/// Publishes, and prepares a wait for the descriptor. 0: wait. CORELANE_AGAIN: there is something to poll, or for the
/// local worker to do, so do that first.
///
/// The port's thread. CORELANE_CLOSED (everything was handed out), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_arm(port: CorelanePort) -> i32 {
    on_rings(port, |port| {
        closed(port)?;
        if port.arm() { Ok(0) } else { Err(Failure::new(CORELANE_AGAIN, "poll first")) }
    })
}
