//! Rooms: join, leave, and who is where.

use super::borrow::{out, slice_mut, text, write_handles};
use super::guard::{CorelaneError, Outcome, answer, guard};
use super::handle::{CorelaneClient, CorelanePort, CorelaneRoom};
use super::port::{Submitting, either, submitting};
use crate::id::{ClientId, RoomId};
use std::ffi::c_char;

/// Puts a client into a room, and creates the room if it does not exist. From now on the client gets the messages that other
/// members send there. Joining twice has no further effect.
///
/// The port's owner, on a shared port any thread. Waits at most for another thread's join or leave. CORELANE_LIMIT
/// (`max_rooms`, `max_room_members`, `max_client_rooms`; or member lists are in use: retry), CORELANE_INVALID (length of the
/// name; not UTF-8; another port's client), CORELANE_STALE (port, client), CORELANE_NULL, CORELANE_BUSY.
///
/// # Safety
/// `name` is a text; `out_room` points at room for a handle; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_join(
    port: CorelanePort,
    client: CorelaneClient,
    name: *const c_char,
    name_length: usize,
    out_room: *mut CorelaneRoom,
    error: *mut CorelaneError,
) -> i32 {
    let join = || -> Outcome {
        let out_room = out("out_room", out_room)?;
        // SAFETY: the caller upholds the same contract.
        let name = unsafe { text("name", name, name_length) }?;
        let room = submitting(port, |ends| {
            Ok(either!(ends, Submitting, port => port.join(ClientId(client.value), name))?)
        })?;
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_room.write(CorelaneRoom { value: room.0 }) };
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, join) }
}

/// Takes a client out of a room. Messages that were relayed before may still arrive. A disconnect leaves all rooms.
///
/// The port's owner, on a shared port any thread. Waits at most for another thread's join or leave. CORELANE_NOT_FOUND (not a
/// member), CORELANE_STALE (port, client, room), CORELANE_INVALID (another port's client), CORELANE_LIMIT (member lists are in
/// use: retry), CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_leave(
    port: CorelanePort,
    client: CorelaneClient,
    room: CorelaneRoom,
) -> i32 {
    answer(|| {
        submitting(port, |ends| {
            either!(ends, Submitting, port => port.leave(ClientId(client.value), RoomId(room.value)))?;
            Ok(0)
        })
    })
}

/// Writes up to `capacity` members of a room, of all ports, and returns how many members there are. If that is more than
/// `capacity`, call again with more room. Other threads may change the room as soon as the list is made.
///
/// The port's owner, on a shared port any thread. Waits at most for another thread's join or leave. CORELANE_STALE (port; or
/// the room's last member has left), CORELANE_NULL, CORELANE_BUSY.
///
/// # Safety
/// `out_clients` points at `capacity` handles; it may be NULL if `capacity` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_members(
    port: CorelanePort,
    room: CorelaneRoom,
    out_clients: *mut CorelaneClient,
    capacity: usize,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let places = unsafe { slice_mut("out_clients", out_clients, capacity) }?;
        let members = submitting(port, |ends| {
            Ok(either!(ends, Submitting, port => port.members(RoomId(room.value)))?)
        })?;
        write_handles(places, &members, |member| CorelaneClient { value: member.0 })
    })
}

/// Writes up to `capacity` rooms of a client of this or another port, in the order of its joins, and returns how many rooms
/// there are. If that is more than `capacity`, call again with more room.
///
/// The port's owner, on a shared port any thread. Waits at most for another thread's join or leave. CORELANE_STALE (port; or
/// the client is not connected), CORELANE_NULL, CORELANE_BUSY.
///
/// # Safety
/// `out_rooms` points at `capacity` handles; it may be NULL if `capacity` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_rooms_of(
    port: CorelanePort,
    client: CorelaneClient,
    out_rooms: *mut CorelaneRoom,
    capacity: usize,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let places = unsafe { slice_mut("out_rooms", out_rooms, capacity) }?;
        let rooms = submitting(port, |ends| {
            Ok(either!(ends, Submitting, port => port.rooms_of(ClientId(client.value)))?)
        })?;
        write_handles(places, &rooms, |room| CorelaneRoom { value: room.0 })
    })
}
