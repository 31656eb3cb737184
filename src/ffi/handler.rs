//! Handlers: C functions that run on the workers' threads, and what they may do with the message that they handle.

use super::borrow::{CStruct, OutStruct, out, slice, slice_mut, text, write_handles};
use super::guard::{Failure, Outcome, answer};
use super::handle::{CorelaneClient, CorelaneRoom};
use super::reason::CorelaneReason;
use super::status::CorelaneStatus;
use crate::error::Failed;
use crate::id::{ClientId, RoomId};
use crate::router::{Relayed, Request};
use std::cell::Cell;
use std::ffi::{c_char, c_void};

/// A message that a handler is handling. Valid only inside the handler, on its thread; elsewhere it gives CORELANE_STALE.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneRequest {
    /// The library's own number.
    pub value: u64,
}

/// Frees what a callback's `context` refers to. Called exactly once, on any thread, when the library needs the context no
/// more. It must not call the library.
pub type CorelaneFreeFn = Option<unsafe extern "C" fn(context: *mut c_void)>;

/// Handles a message. Runs on a worker's thread, on several at the same time. It must not block, because the other clients of
/// its worker wait until it returns, and it must not stop or release its router. Returns 0 if the message is handled, or
/// the CORELANE_REASON_ number with which it failed; any other value counts as handler_failed.
pub type CorelaneHandlerFn =
    Option<unsafe extern "C" fn(context: *mut c_void, request: CorelaneRequest) -> i32>;

/// What a message says. The views are valid until the handler returns; they have no closing NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneRequestView {
    /// `sizeof(corelane_request_view)`, set by the caller: CORELANE_REQUEST_VIEW_INIT.
    pub size: u32,
    /// Always 0.
    pub reserved: u32,
    /// The sender.
    pub client: CorelaneClient,
    /// The sender's token.
    pub token: u64,
    /// The correlation of the submitted message.
    pub correlation: u64,
    /// How long the message has waited for its worker, in nanoseconds.
    pub queue_wait_ns: u64,
    /// The message as it was submitted.
    pub message: *const u8,
    /// Its length in bytes.
    pub length: usize,
    /// The sender's name.
    pub name: *const c_char,
    /// Its length in bytes.
    pub name_length: usize,
    /// The recipient that the message names; NULL if it names none.
    pub recipient: *const c_char,
    /// Its length in bytes.
    pub recipient_length: usize,
    /// The sender's protocol.
    pub protocol: *const c_char,
    /// Its length in bytes.
    pub protocol_length: usize,
    /// The message's type.
    pub message_type: *const c_char,
    /// Its length in bytes.
    pub message_type_length: usize,
    /// The sender's application.
    pub application: *const c_char,
    /// Its length in bytes.
    pub application_length: usize,
}

// SAFETY: integers and pointers, the size first.
unsafe impl CStruct for CorelaneRequestView {
    const NAME: &'static str = "corelane_request_view";
}

thread_local! {
    /// The request of the handler that runs on this thread: its number, and where it is. NULL while a call uses it.
    static CURRENT: Cell<(u64, *mut Request<'static>)> = const { Cell::new((0, std::ptr::null_mut())) };
    /// The number of the last request on this thread.
    static LAST: Cell<u64> = const { Cell::new(0) };
}

/// A function of the host with its context.
pub(super) struct Callback<F> {
    pub(super) function: F,
    context: *mut c_void,
    free: CorelaneFreeFn,
}

// SAFETY: the host guarantees that its functions may run on any thread, on several at once, with this context.
unsafe impl<F: Send> Send for Callback<F> {}
// SAFETY: as above.
unsafe impl<F: Sync> Sync for Callback<F> {}

impl<F> Callback<F> {
    /// Takes the context over.
    pub(super) fn new(function: F, context: *mut c_void, free: CorelaneFreeFn) -> Self {
        Self { function, context, free }
    }

    pub(super) fn context(&self) -> *mut c_void {
        self.context
    }

    /// Gives the context back to the caller, whose call has failed.
    pub(super) fn forget(mut self) {
        self.free = None;
    }
}

impl<F> Drop for Callback<F> {
    fn drop(&mut self) {
        if let Some(free) = self.free {
            // SAFETY: the host guarantees that its function may be called once with this context.
            unsafe { free(self.context) };
        }
    }
}

/// The request of the running handler, set back when the handler ends or panics.
struct Running((u64, *mut Request<'static>));

impl Drop for Running {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// Runs a handler of the host.
pub(super) fn run(
    function: unsafe extern "C" fn(*mut c_void, CorelaneRequest) -> i32,
    context: *mut c_void,
    request: &mut Request<'_>,
) -> Result<(), Failed> {
    let number = LAST.get() + 1;
    LAST.set(number);
    let place = std::ptr::from_mut(request).cast::<Request<'static>>();
    let _running = Running(CURRENT.replace((number, place)));
    // SAFETY: the host guarantees that its function may be called with this context on this thread.
    let result = unsafe { function(context, CorelaneRequest { value: number }) };
    if result == 0 { Ok(()) } else { Err(failed(result)) }
}

/// The reason that a handler has returned.
pub(super) fn failed(number: i32) -> Failed {
    let label = u32::try_from(number).ok().and_then(CorelaneReason::label_of).unwrap_or_default();
    Failed::ALL.iter().copied().find(|one| one.label() == label).unwrap_or(Failed::HandlerFailed)
}

/// Runs a call on the request of the handler that runs on this thread.
fn on(request: CorelaneRequest, body: impl FnOnce(&mut Request<'_>) -> Outcome) -> Outcome {
    let (number, place) = CURRENT.get();
    if number != request.value || number == 0 {
        return Err(Failure::new(
            CorelaneStatus::Stale,
            "the handler of this request does not run on this thread",
        ));
    }
    // Only for a function of the host that calls the library although it must not, such as one that frees a message.
    if place.is_null() {
        return Err(Failure::new(
            CorelaneStatus::Busy,
            "a call with this request is in progress on this thread",
        ));
    }
    let _running = Running(CURRENT.replace((number, std::ptr::null_mut())));
    // SAFETY: `run` is on this thread's stack below, with the request borrowed, since the number is the current one. The
    // place is NULL meanwhile, so that no second call uses the request. The lifetime is that of this call.
    body(unsafe { &mut *place })
}

/// The status of a send that failed, and its reason for the caller.
fn told(result: Result<(), Failed>, out_reason: *mut u32) -> Outcome {
    let Err(reason) = result else { return Ok(0) };
    if !out_reason.is_null() && out_reason.is_aligned() {
        // SAFETY: the caller of each call guarantees room for a number if the pointer is not NULL.
        unsafe { out_reason.write(CorelaneReason::from(reason) as u32) };
    }
    Err(Failure::new(CorelaneStatus::Failed, format!("not sent: {reason}")))
}

/// Writes what the message says, and who has sent it.
///
/// Inside a handler. Does not block. CORELANE_STALE, CORELANE_NULL, CORELANE_INVALID (`size`).
///
/// # Safety
/// `out_view` points at a corelane_request_view with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_request_read(
    request: CorelaneRequest,
    out_view: *mut CorelaneRequestView,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let out_view = unsafe { OutStruct::new("out_view", out_view) }?;
        on(request, |request| {
            let recipient = request.recipient();
            out_view.write(&CorelaneRequestView {
                size: 0,
                reserved: 0,
                client: CorelaneClient { value: request.client().0 },
                token: request.token(),
                correlation: request.correlation(),
                queue_wait_ns: request.queue_wait().as_nanos() as u64,
                message: request.payload().as_ptr(),
                length: request.payload().len(),
                name: request.name().as_ptr().cast(),
                name_length: request.name().len(),
                recipient: recipient.map_or(std::ptr::null(), |name| name.as_ptr().cast()),
                recipient_length: recipient.map_or(0, str::len),
                protocol: request.protocol().as_ptr().cast(),
                protocol_length: request.protocol().len(),
                message_type: request.message_type().as_ptr().cast(),
                message_type_length: request.message_type().len(),
                application: request.application().as_ptr().cast(),
                application_length: request.application().len(),
            });
            Ok(0)
        })
    })
}

/// Sends bytes to a client, or to the sender if `client` is 0. The delivery's sender is the sender of this message.
///
/// Inside a handler. Does not block. CORELANE_FAILED (nothing was sent: the client is gone, has no credit left, or its port is
/// full or gone; `out_reason`, which may be NULL, gets the CORELANE_REASON_ number), CORELANE_STALE, CORELANE_NULL.
///
/// # Safety
/// `bytes` points at `length` bytes; `out_reason` is NULL or points at room for a uint32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_request_send(
    request: CorelaneRequest,
    client: CorelaneClient,
    bytes: *const u8,
    length: usize,
    out_reason: *mut u32,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let bytes = unsafe { slice("bytes", bytes, length) }?;
        on(request, |request| {
            let client = if client.value == 0 { request.client() } else { ClientId(client.value) };
            told(request.send_to(client, bytes), out_reason)
        })
    })
}

/// Sends bytes to the client with this name, if it is connected here or on another machine of the cluster. The bytes are not
/// held. CORELANE_OK for a client on another machine means that they are on their way there.
///
/// Inside a handler. Does not block. As `corelane_request_send`, and CORELANE_INVALID (not UTF-8). For another machine the
/// reason may also be link_full, link_down or moved.
///
/// # Safety
/// `name` is a text; `bytes` points at `length` bytes; `out_reason` is NULL or points at room for a uint32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_request_send_to_name(
    request: CorelaneRequest,
    name: *const c_char,
    name_length: usize,
    bytes: *const u8,
    length: usize,
    out_reason: *mut u32,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let name = unsafe { text("name", name, name_length) }?;
        // SAFETY: as above.
        let bytes = unsafe { slice("bytes", bytes, length) }?;
        on(request, |request| told(request.send_to_name(name, bytes), out_reason))
    })
}

/// Runs the action of the message's type, as if the type had no handler. Returns 0 if the message was delivered, 1 if it is
/// held: it then ends with the hold, whatever the handler returns. Only the first call has an effect; later calls return the
/// same.
///
/// Inside a handler. Does not block. CORELANE_FAILED (the message would have failed without a handler; `out_reason`, which may
/// be NULL, gets the CORELANE_REASON_ number), CORELANE_STALE.
///
/// # Safety
/// `out_reason` is NULL or points at room for a uint32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_request_relay(request: CorelaneRequest, out_reason: *mut u32) -> i32 {
    answer(|| {
        on(request, |request| match request.relay() {
            Ok(Relayed::Delivered) => Ok(0),
            Ok(Relayed::Held) => Ok(1),
            Err(reason) => told(Err(reason), out_reason),
        })
    })
}

/// Puts the sender into a room, as `corelane_port_join`.
///
/// Inside a handler. Does not block. CORELANE_LIMIT (a limit of rooms; or another thread changes rooms at this moment: retry),
/// CORELANE_INVALID (length of the name; not UTF-8), CORELANE_STALE (also: the sender has disconnected), CORELANE_NULL.
///
/// # Safety
/// `name` is a text; `out_room` points at room for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_request_join(
    request: CorelaneRequest,
    name: *const c_char,
    name_length: usize,
    out_room: *mut CorelaneRoom,
) -> i32 {
    answer(|| {
        let out_room = out("out_room", out_room)?;
        // SAFETY: the caller upholds the same contract.
        let name = unsafe { text("name", name, name_length) }?;
        on(request, |request| {
            let room = request.join(name)?;
            // SAFETY: `out` checked the pointer; the caller has room there.
            unsafe { out_room.write(CorelaneRoom { value: room.0 }) };
            Ok(0)
        })
    })
}

/// Takes the sender out of a room, as `corelane_port_leave`.
///
/// Inside a handler. Does not block. CORELANE_NOT_FOUND (not a member), CORELANE_LIMIT (another thread changes rooms at this
/// moment: retry), CORELANE_STALE (also: the room).
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_request_leave(request: CorelaneRequest, room: CorelaneRoom) -> i32 {
    answer(|| {
        on(request, |request| {
            request.leave(RoomId(room.value))?;
            Ok(0)
        })
    })
}

/// Writes up to `capacity` rooms of the sender, in the order of its joins, and returns how many rooms there are.
///
/// Inside a handler. Does not block. CORELANE_LIMIT (another thread changes rooms at this moment: retry), CORELANE_STALE,
/// CORELANE_NULL.
///
/// # Safety
/// `out_rooms` points at `capacity` handles; it may be NULL if `capacity` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_request_rooms(
    request: CorelaneRequest,
    out_rooms: *mut CorelaneRoom,
    capacity: usize,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let places = unsafe { slice_mut("out_rooms", out_rooms, capacity) }?;
        on(request, |request| {
            let changing = || Failure::new(CorelaneStatus::Limit, "another thread changes rooms: retry");
            let rooms = request.rooms().ok_or_else(changing)?;
            write_handles(places, &rooms, |room| CorelaneRoom { value: room.0 })
        })
    })
}
