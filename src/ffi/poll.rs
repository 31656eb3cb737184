//! What the router hands out: events, their views, and acknowledgements.

use super::borrow::{CStruct, OutStructs, structs};
use super::guard::{Failure, answer};
use super::handle::{CorelaneClient, CorelanePort, CorelaneRoom};
use super::port::{Polling, either, polling};
use super::reason::CorelaneReason;
use crate::id::ClientId;
use crate::router::{Event, Recipient};

/// Write `bytes` to the client, then acknowledge them. `sender` and `correlation` are those of the submitted message.
pub const CORELANE_EVENT_MESSAGE: u32 = 1;
/// A held message of this client expired: no client connected under the name in `bytes`. Sent once per name, with the
/// `correlation` of the first such message. Acknowledge the event like a message of `length` bytes.
pub const CORELANE_EVENT_EXPIRED: u32 = 2;
/// The client has sent a message that gives up its name. Call `corelane_port_release_name` if others may use the name. The
/// client stays connected.
pub const CORELANE_EVENT_LEFT: u32 = 3;
/// Close this client's connection, then call `corelane_port_disconnect`. `reason` says why.
pub const CORELANE_EVENT_CLOSE: u32 = 4;
/// The last event for this client. Memory that its token refers to may be freed.
pub const CORELANE_EVENT_CLOSED: u32 = 5;
/// A message of this client has not been delivered: the recipient has no credit left (`credit_policy` refuse), or the
/// message was submitted with CORELANE_TELL_FAILED and has failed or expired. `sender` is the recipient at which it failed,
/// or 0, `correlation` is the message's, `reason` says why. Do not acknowledge this event.
pub const CORELANE_EVENT_UNDELIVERED: u32 = 6;
/// A message that the host itself has sent has not been delivered to `client`, or to any member of `room`. `correlation` is
/// the message's, `reason` says why. There is no token. Do not acknowledge this event.
pub const CORELANE_EVENT_SEND_FAILED: u32 = 7;

/// One event that a poll hands out.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneEvent {
    /// `sizeof(corelane_event)`. The caller sets it in the first event of an array; a poll sets it in the others.
    pub size: u32,
    /// A CORELANE_EVENT_ value. Ignore events of a kind that you do not know.
    pub kind: u32,
    /// The client that the event is for.
    pub client: CorelaneClient,
    /// That client's token, as passed to `corelane_port_connect` or `corelane_port_rebind`.
    pub token: u64,
    /// The message's sender, or 0. In CORELANE_EVENT_UNDELIVERED the recipient.
    pub sender: CorelaneClient,
    /// The host's value from the submitted message, or 0.
    pub correlation: u64,
    /// A view, valid until the next `corelane_port_poll` or `corelane_port_release_views` with this port, or until the port is
    /// released, whatever else is called in between. NULL if `length` is 0.
    pub bytes: *const u8,
    /// Length of the view in bytes.
    pub length: usize,
    /// Why, a CORELANE_REASON_ value, in CORELANE_EVENT_CLOSE, CORELANE_EVENT_UNDELIVERED and CORELANE_EVENT_SEND_FAILED,
    /// otherwise 0. Treat an unknown value as an unspecified reason.
    pub reason: u32,
    /// Always 0.
    pub reserved: u32,
    /// In CORELANE_EVENT_SEND_FAILED the room that the message went to, otherwise 0.
    pub room: CorelaneRoom,
}

// SAFETY: integers and a pointer, the size first.
unsafe impl CStruct for CorelaneEvent {
    const NAME: &'static str = "corelane_event";
}

impl CorelaneEvent {
    pub(super) fn new(event: &Event<'_>) -> Self {
        let plain = |kind, client: &ClientId, token: &u64| Self {
            size: 0,
            kind,
            client: CorelaneClient { value: client.0 },
            token: *token,
            sender: CorelaneClient::default(),
            correlation: 0,
            bytes: std::ptr::null(),
            length: 0,
            reason: 0,
            reserved: 0,
            room: CorelaneRoom::default(),
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
                reason: CorelaneReason::from(*reason) as u32,
                ..plain(CORELANE_EVENT_UNDELIVERED, client, token)
            },
            Event::SendFailed { to, correlation, reason } => {
                let (client, room) = match to {
                    Recipient::Client(client) => (*client, 0),
                    Recipient::Room(room) => (ClientId(0), room.0),
                };
                Self {
                    correlation: *correlation,
                    reason: CorelaneReason::from(*reason) as u32,
                    room: CorelaneRoom { value: room },
                    ..plain(CORELANE_EVENT_SEND_FAILED, &client, &0)
                }
            }
            Event::Left { client, token } => plain(CORELANE_EVENT_LEFT, client, token),
            Event::Close { client, token, reason } => Self {
                reason: CorelaneReason::from(*reason) as u32,
                ..plain(CORELANE_EVENT_CLOSE, client, token)
            },
            Event::Closed { client, token, .. } => plain(CORELANE_EVENT_CLOSED, client, token),
        }
    }
}

/// The part of a client's deliveries that the host has written.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneWritten {
    /// `sizeof(corelane_written)`, set by the caller in the first one of an array: CORELANE_WRITTEN_INIT.
    pub size: u32,
    /// Number of messages.
    pub messages: u32,
    /// The client.
    pub client: CorelaneClient,
    /// Number of bytes.
    pub bytes: u32,
    /// Always 0.
    pub reserved: u32,
}

// SAFETY: integers only, the size first.
unsafe impl CStruct for CorelaneWritten {
    const NAME: &'static str = "corelane_written";
}

/// Hands out up to `capacity` events and returns how many; 0 if there are none. The first event's `size` is the
/// distance between two events in bytes. The events' views are valid until the next poll or `corelane_port_release_views`.
///
/// The port's owner. Does not block. CORELANE_CLOSED once the router has stopped and everything was handed out;
/// CORELANE_NULL, CORELANE_INVALID (`size`, or `capacity` is 0), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// `events` points at `capacity` structs of the size that the first one has in `size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_poll(
    port: CorelanePort,
    events: *mut CorelaneEvent,
    capacity: usize,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let places = unsafe { OutStructs::new("events", events, capacity) }?;
        if capacity == 0 {
            return Err(Failure::invalid("capacity is 0: pass room for at least one event"));
        }
        polling(port, |ends| {
            let mut count = 0;
            either!(ends, Polling, port => {
                let mut batch = port.poll(capacity.min(i32::MAX as usize))?;
                while let Some(event) = batch.next() {
                    places.write(count, &CorelaneEvent::new(&event));
                    count += 1;
                }
                batch.keep(); // The views stay valid until the next poll.
            });
            Ok(count as i64)
        })
    })
}

/// Releases the ring space of the events that the last poll handed out, so that workers that wait for space continue.
/// The views of these events become invalid. The next poll does the same.
///
/// The port's owner. Does not block. CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No thread uses a view of the last poll afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_release_views(port: CorelanePort) -> i32 {
    answer(|| {
        polling(port, |ends| {
            either!(ends, Polling, port => port.release());
            Ok(0)
        })
    })
}

/// Acknowledges that the host has written or dropped this many messages and bytes of the client's deliveries. The
/// client gets that credit back, but never more than was handed out. A client that is gone is ignored.
///
/// The port's owner. Does not block. CORELANE_STALE (port), CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_acknowledge(
    port: CorelanePort,
    client: CorelaneClient,
    messages: u32,
    byte_count: u32,
) -> i32 {
    answer(|| {
        polling(port, |ends| {
            either!(ends, Polling, port => port.acknowledge(ClientId(client.value), messages, byte_count));
            Ok(0)
        })
    })
}

/// As `corelane_port_acknowledge` for each of `count` entries. Reads the clock once for all of them. The first entry's `size`
/// is the distance between two entries in bytes.
///
/// The port's owner. Does not block. CORELANE_NULL, CORELANE_INVALID (`size`, `count`), CORELANE_STALE (port), CORELANE_BUSY.
///
/// # Safety
/// `written` points at `count` structs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_acknowledge_batch(
    port: CorelanePort,
    written: *const CorelaneWritten,
    count: usize,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let written = unsafe { structs("written", written, count) }?;
        polling(port, |ends| {
            let entry = |one: CorelaneWritten| (ClientId(one.client.value), one.messages, one.bytes);
            either!(ends, Polling, port => port.acknowledge_batch(written.map(entry)));
            Ok(0)
        })
    })
}
