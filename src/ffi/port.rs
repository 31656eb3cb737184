//! Ports: connect, submit, poll, wait. One thread at a time is inside a call with a port; a second one is told BUSY and
//! has changed nothing. Threads may take turns.

use super::handle::{CorelaneClient, CorelanePort, CorelaneRouter, HandleTable};
use super::router::ROUTERS;
use super::status::{
    CORELANE_AGAIN, CORELANE_CLOSED, CORELANE_INVALID, CORELANE_STATE, CORELANE_TIMEOUT, CorelaneError,
    Failure, Outcome, answer, guard_status, out, slice, text,
};
use crate::error::{CloseReason, Failed};
use crate::id::ClientId;
use crate::router::{Event, Port};
use std::ffi::c_char;
use std::time::{Duration, Instant};

/// Entered by one thread at a time.
pub(super) static PORTS: HandleTable<Port, 4096> = HandleTable::new("port");

/// Write `bytes` to the client, then acknowledge them. `sender` and `correlation` are the submitter's.
pub const CORELANE_EVENT_MESSAGE: u32 = 1;
/// What the client sent to the name in `bytes` has expired: nobody of that name connected. `correlation` is that of the
/// first such message. Acknowledge it like a message.
pub const CORELANE_EVENT_EXPIRED: u32 = 2;
/// The client has left its name: `corelane_release_name` if others may have it. It stays connected.
pub const CORELANE_EVENT_LEFT: u32 = 3;
/// Close this client's connection, then disconnect it; `reason` is one of CORELANE_CLOSE_.
pub const CORELANE_EVENT_CLOSE: u32 = 4;
/// The last event for this client: what its token points at may be freed.
pub const CORELANE_EVENT_CLOSED: u32 = 5;
/// What the client sent was refused: the recipient's credit is used up (`credit_policy` refuse). `sender` is that recipient,
/// `correlation` the message's, `reason` one of CORELANE_FAILED_. Nothing to acknowledge.
pub const CORELANE_EVENT_REFUSED: u32 = 6;

/// It has not acknowledged what it was given.
pub const CORELANE_CLOSE_CREDIT: u32 = 1;
/// Its port's ring was corrupt.
pub const CORELANE_CLOSE_CORRUPT: u32 = 2;

/// The recipient has not acknowledged what it was given.
pub const CORELANE_FAILED_CREDIT: u32 = 1;

/// What a poll hands out.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneEvent {
    /// `sizeof(corelane_event)`. The caller sets that of the first event; a poll sets the others'.
    pub size: u32,
    /// One of CORELANE_EVENT_. Pass over what you do not know.
    pub kind: u32,
    /// Whom it is for.
    pub client: CorelaneClient,
    /// That client's token, as given to `corelane_connect`.
    pub token: u64,
    /// Who sent it, or 0; in CORELANE_EVENT_REFUSED who could not take it.
    pub sender: CorelaneClient,
    /// The submitter's value, or 0.
    pub correlation: u64,
    /// A view, valid until the next `corelane_poll`, `corelane_release` or `corelane_port_release`; NULL where `length` is 0.
    pub bytes: *const u8,
    /// Bytes of the view.
    pub length: usize,
    /// Why, in CORELANE_EVENT_CLOSE and CORELANE_EVENT_REFUSED; otherwise 0. Take a value that you do not know for some other reason.
    pub reason: u32,
    /// 0.
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
                sender: CorelaneClient { value: message.sender.0 },
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
            Event::Refused { client, token, recipient, correlation, reason } => Self {
                sender: CorelaneClient { value: recipient.0 },
                correlation: *correlation,
                // The one reason for which a sender is told.
                reason: if *reason == Failed::Credit { CORELANE_FAILED_CREDIT } else { 0 },
                ..plain(CORELANE_EVENT_REFUSED, client, token)
            },
            Event::Left { client, token } => plain(CORELANE_EVENT_LEFT, client, token),
            Event::Close { client, token, reason } => Self {
                reason: match reason {
                    CloseReason::Credit => CORELANE_CLOSE_CREDIT,
                    CloseReason::Corrupt => CORELANE_CLOSE_CORRUPT,
                },
                ..plain(CORELANE_EVENT_CLOSE, client, token)
            },
            Event::Closed { client, token, .. } => plain(CORELANE_EVENT_CLOSED, client, token),
        }
    }
}

/// A caller's array of events.
pub(super) struct EventPlaces {
    first: *mut CorelaneEvent,
    size: u32,
    capacity: usize,
}

impl EventPlaces {
    /// # Safety
    /// `first` is NULL, or points at `capacity` structs of the size that the first one says, which nobody uses while this is.
    pub(super) unsafe fn new(first: *mut CorelaneEvent, capacity: usize) -> Result<Self, Failure> {
        let first = out("events", first)?;
        // SAFETY: the caller has set the first event's size.
        let size = unsafe { (*first).size };
        let stride = size as usize;
        if stride < size_of::<CorelaneEvent>() || !stride.is_multiple_of(align_of::<CorelaneEvent>()) {
            let text = format!("an event of {size} bytes; set size to sizeof(corelane_event)");
            return Err(Failure::new(CORELANE_INVALID, text));
        }
        Ok(Self { first, size, capacity })
    }

    /// Writes the event of that place; the limit of a poll counts events, so there is room for all.
    pub(super) fn write(&self, place: usize, event: &Event<'_>) {
        if place < self.capacity {
            // SAFETY: fewer than `capacity` events of this size lie before it.
            let to = unsafe { self.first.byte_add(place * self.size as usize) };
            // SAFETY: as above.
            unsafe { to.write(CorelaneEvent::new(self.size, event)) };
        }
    }
}

/// Runs a call on a port, alone.
pub(super) fn on(port: CorelanePort, body: impl FnOnce(&mut Port) -> Outcome) -> i32 {
    answer(|| PORTS.enter(port.value, body))
}

/// As `on`, for what the host of an inline port does itself.
fn on_rings(port: CorelanePort, body: impl FnOnce(&mut Port) -> Outcome) -> i32 {
    on(port, |port| {
        if port.is_inline() {
            return Err(Failure::new(CORELANE_STATE, "the host drives this port's rings itself"));
        }
        body(port)
    })
}

/// As `on`, for calls that push: of an inline port they first take over what the host has pushed.
fn on_pushing(port: CorelanePort, body: impl FnOnce(&mut Port) -> Outcome) -> i32 {
    on(port, |port| {
        port.resume()?;
        body(port)
    })
}

/// Opens a port: each host thread has its own, and what it submits and polls never waits for another's.
///
/// Any thread. CORELANE_LIMIT (`max_ports`, 4096 in a process), CORELANE_STATE (stopped), CORELANE_SYS, CORELANE_STALE.
/// May take a moment where a port was just released.
///
/// # Safety
/// `out_port` points at room for a handle; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_open(
    router: CorelaneRouter,
    out_port: *mut CorelanePort,
    error: *mut CorelaneError,
) -> i32 {
    let open = || -> Outcome {
        let out_port = out("out_port", out_port)?;
        let port = ROUTERS.enter_shared(router.value, |router| router.port().map_err(Failure::from))?;
        let value = PORTS.insert(port)?;
        // SAFETY: checked; the caller has room there.
        unsafe { out_port.write(CorelanePort { value }) };
        Ok(0)
    };
    // SAFETY: forwarded.
    unsafe { guard_status(error, open) }
}

/// Releases a port: its clients are disconnected, what it has not polled is given up, views of it end. A layout of it
/// must not be used any more.
///
/// Any thread. CORELANE_BUSY while another thread is inside a call with it, waits included; CORELANE_STALE the second time.
///
/// # Safety
/// No thread uses a view or a layout of this port any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_release(port: CorelanePort) -> i32 {
    let release = || -> Outcome {
        drop(PORTS.remove(port.value)?);
        Ok(0)
    };
    answer(release)
}

/// Connects a client under a name, on this port: `name`, `protocol` (`peerjs`, `generic`) and `application` (may be empty)
/// are UTF-8. `token` comes back with every event for the client. Messages held for the name are delivered to it.
///
/// The port's thread. CORELANE_EXISTS (name), CORELANE_INVALID (name's length, not UTF-8), CORELANE_NOT_FOUND (protocol),
/// CORELANE_LIMIT (`max_clients`), CORELANE_CLOSED, CORELANE_NULL, CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// The three texts point at as many bytes as said; `out_client` at room for a handle; `error` is NULL or a corelane_error
/// with its size set.
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
        // SAFETY: forwarded.
        let name = unsafe { text("name", name, name_length) }?;
        // SAFETY: forwarded.
        let protocol = unsafe { text("protocol", protocol, protocol_length) }?;
        // SAFETY: forwarded.
        let application = unsafe { text("application", application, application_length) }?;
        let client = PORTS.enter(port.value, |port| {
            port.resume()?;
            Ok(port.connect(name, protocol, application, token)?)
        })?;
        // SAFETY: checked; the caller has room there.
        unsafe { out_client.write(CorelaneClient { value: client.0 }) };
        Ok(0)
    };
    // SAFETY: forwarded.
    unsafe { guard_status(error, connect) }
}

/// Submits one of a client's messages; its worker sees it after `corelane_publish`, of an inline port at once. The bytes are copied. `correlation`
/// comes back with what the message causes.
///
/// The port's thread. CORELANE_FULL (poll, then retry, or drop), CORELANE_TOO_LARGE, CORELANE_STALE (port or client),
/// CORELANE_INVALID (another port's client), CORELANE_CLOSED, CORELANE_CORRUPT, CORELANE_NULL, CORELANE_BUSY. A refused message
/// is counted under its reason.
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
        // SAFETY: forwarded.
        let message = unsafe { slice("message", message, length) }?;
        port.submit(ClientId(client.value), message, correlation)?;
        if port.is_inline() {
            port.publish();
        }
        Ok(0)
    })
}

/// Makes what was submitted visible to the workers and wakes those that sleep: once per batch. Of an inline port: pushes
/// disconnects that waited for room, and returns how many still do.
///
/// The port's thread. CORELANE_STALE, CORELANE_BUSY, CORELANE_CORRUPT (inline).
///
/// # Safety
/// Nothing to observe.
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

/// Hands out up to `capacity` events and returns how many, 0 where nothing is there. The first event's `size` says how
/// far one is from the next. Their views stay valid until the next poll or `corelane_release`.
///
/// The port's thread. CORELANE_CLOSED once the router has stopped and everything was handed out; CORELANE_NULL,
/// CORELANE_INVALID (`size`, or no capacity), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// `events` points at `capacity` structs of the size that the first one says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_poll(
    port: CorelanePort,
    events: *mut CorelaneEvent,
    capacity: usize,
) -> i32 {
    on_rings(port, |port| {
        // SAFETY: forwarded.
        let places = unsafe { EventPlaces::new(events, capacity) }?;
        if capacity == 0 {
            return Err(Failure::new(CORELANE_INVALID, "no room for an event"));
        }
        let mut count = 0;
        let taken = port.take(capacity.min(i32::MAX as usize), |event| {
            places.write(count, &event);
            count += 1;
        });
        taken?;
        Ok(count as i64)
    })
}

/// Gives back the space of what the last poll handed out, so that a waiting worker goes on; its views end. The next poll
/// does so as well.
///
/// The port's thread. CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No thread uses a view of the last poll any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_release(port: CorelanePort) -> i32 {
    on_rings(port, |port| {
        port.release();
        Ok(0)
    })
}

/// Says that so many messages and bytes of what was handed out for a client were written, or thrown away: gives its credit
/// back. Never more than was handed out; a client that is gone is passed over.
///
/// The port's thread. CORELANE_STALE (port), CORELANE_BUSY.
///
/// # Safety
/// Nothing to observe.
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

/// Starts a client's disconnect: its name is free at once, what it submitted is still handled, and CORELANE_EVENT_CLOSED
/// comes behind it. Of an inline port it returns how many disconnects wait for room in a ring: `corelane_publish` pushes
/// them once there is.
///
/// The port's thread. CORELANE_STALE (port, or not connected), CORELANE_INVALID (another port's), CORELANE_BUSY.
///
/// # Safety
/// Nothing to observe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_disconnect(port: CorelanePort, client: CorelaneClient) -> i32 {
    on_pushing(port, |port| {
        port.disconnect(ClientId(client.value))?;
        Ok(if port.is_inline() { port.push_waiting() as i64 } else { 0 })
    })
}

/// Frees a client's name for others while it stays connected; see CORELANE_EVENT_LEFT.
///
/// The port's thread. As `corelane_disconnect`.
///
/// # Safety
/// Nothing to observe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_release_name(port: CorelanePort, client: CorelaneClient) -> i32 {
    on(port, |port| {
        port.release_name(ClientId(client.value))?;
        Ok(0)
    })
}

/// Waits until there may be something to poll, or space after CORELANE_FULL, or `timeout_ns` are over; to the millisecond.
/// For hosts without an event loop.
///
/// The port's thread; waits, and other threads' calls with the port say CORELANE_BUSY meanwhile. CORELANE_TIMEOUT,
/// CORELANE_CLOSED (everything was handed out), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// Nothing to observe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_wait(port: CorelanePort, timeout_ns: u64) -> i32 {
    on_rings(port, |port| {
        closed(port)?;
        let (start, timeout) = (Instant::now(), Duration::from_nanos(timeout_ns));
        port.wait(timeout);
        if start.elapsed() < timeout || port.has_news() {
            return Ok(0);
        }
        Err(Failure::new(CORELANE_TIMEOUT, "nothing came in the time given"))
    })
}

fn closed(port: &Port) -> Result<(), Failure> {
    if port.is_over() { Err(Failure::new(CORELANE_CLOSED, "the router has stopped")) } else { Ok(()) }
}

/// The descriptor that becomes readable when there is something to poll, or space after CORELANE_FULL. It belongs to the
/// port: watch it, and neither read, write nor close it. Call `corelane_port_arm` before each wait.
///
/// The port's thread. Returns a descriptor, or CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// Nothing to observe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_fd(port: CorelanePort) -> i32 {
    on(port, |port| Ok(i64::from(port.descriptor())))
}

/// Says that the host is about to wait for the descriptor. 0: wait. CORELANE_AGAIN: something is there already, poll first.
///
/// The port's thread. CORELANE_CLOSED (everything was handed out), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// Nothing to observe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_arm(port: CorelanePort) -> i32 {
    on_rings(port, |port| {
        closed(port)?;
        if port.arm() { Ok(0) } else { Err(Failure::new(CORELANE_AGAIN, "poll first")) }
    })
}
