//! Status codes, the error struct, and the guard around every call.

use super::fork::is_child;
use std::borrow::Cow;
use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Success.
pub const CORELANE_OK: i32 = 0;
/// Nothing to read, or, in a call that precedes a wait, something to read already. Not an error.
pub const CORELANE_AGAIN: i32 = -1;
/// The ring is full. Poll, then retry the message or drop it. Not an error.
pub const CORELANE_FULL: i32 = -2;
/// A required pointer is NULL or not aligned.
pub const CORELANE_NULL: i32 = -10;
/// An argument is not valid: not UTF-8, a wrong struct size, a client of another port.
pub const CORELANE_INVALID: i32 = -11;
/// The message is larger than `max_message`, or does not fit a ring.
pub const CORELANE_TOO_LARGE: i32 = -12;
/// Nothing has this name or number.
pub const CORELANE_NOT_FOUND: i32 = -13;
/// The handle was released or was never valid, or the client is not connected.
pub const CORELANE_STALE: i32 = -14;
/// Another client is connected under this name.
pub const CORELANE_EXISTS: i32 = -15;
/// A limit of the configuration or of this process is reached.
pub const CORELANE_LIMIT: i32 = -16;
/// Not possible in the present state of the router or port.
pub const CORELANE_STATE: i32 = -17;
/// Another thread is inside a call with this handle.
pub const CORELANE_BUSY: i32 = -18;
/// The time-out expired first.
pub const CORELANE_TIMEOUT: i32 = -19;
/// The router is draining or has stopped.
pub const CORELANE_CLOSED: i32 = -20;
/// Reserved: called from a thread that must not make this call.
pub const CORELANE_THREAD: i32 = -21;
/// Called in a child of fork whose parent has started a router. The child has none of the router's threads. Use exec.
pub const CORELANE_FORKED: i32 = -22;
/// The header and the library have different versions.
pub const CORELANE_ABI: i32 = -23;
/// No configuration key has this name.
pub const CORELANE_CONFIG_KEY: i32 = -24;
/// A configuration value is not allowed, or conflicts with other values.
pub const CORELANE_CONFIG_VALUE: i32 = -25;
/// Reserved: out of memory.
pub const CORELANE_NOMEM: i32 = -26;
/// The operating system refused a call; `os_errno` has its error number.
pub const CORELANE_SYS: i32 = -27;
/// Reserved: not available on this platform.
pub const CORELANE_UNSUPPORTED: i32 = -28;
/// A ring contains values that neither end can have written. It cannot be used any more.
pub const CORELANE_CORRUPT: i32 = -29;
/// A defect in the library: please report it. The handle can be released.
pub const CORELANE_PANIC: i32 = -30;

/// Size of an error's text in bytes, including the closing NUL.
pub const CORELANE_MESSAGE_BYTES: usize = 240;

/// The description of a failure, for people. Written only by calls that fail.
#[repr(C)]
#[derive(Debug)]
pub struct CorelaneError {
    /// `sizeof(corelane_error)`, set by the caller. If it is smaller, nothing is written.
    pub size: u32,
    /// The status that the call returned.
    pub code: i32,
    /// The operating system's error number, or 0.
    pub os_errno: i32,
    /// What is wrong and what to change, in UTF-8 with a closing NUL.
    pub message: [c_char; CORELANE_MESSAGE_BYTES],
}

/// Why a call fails.
#[derive(Debug)]
pub(super) struct Failure {
    code: i32,
    os_errno: i32,
    text: String,
}

impl Failure {
    pub(super) fn new(code: i32, text: impl Into<String>) -> Self {
        Self { code, os_errno: 0, text: text.into() }
    }

    /// Adds the operating system's error number.
    pub(super) fn of_system(self, os_errno: i32) -> Self {
        Self { os_errno, ..self }
    }

    #[cfg(test)]
    pub(super) fn code(&self) -> i32 {
        self.code
    }

    pub(super) fn null(name: &str) -> Self {
        Self::new(CORELANE_NULL, format!("{name} is NULL or not aligned"))
    }

    pub(super) fn stale(kind: &str) -> Self {
        Self::new(CORELANE_STALE, format!("the {kind} was released or was never valid"))
    }

    fn forked() -> Self {
        Self::new(
            CORELANE_FORKED,
            "a child of fork has none of the router's threads: use exec, or start routers after fork",
        )
    }

    pub(super) fn busy(kind: &str) -> Self {
        Self::new(
            CORELANE_BUSY,
            format!("another thread is inside a call with this {kind}: retry when it has returned"),
        )
    }
}

/// The result of every call's body: a count, or 0.
pub(super) type Outcome = Result<i64, Failure>;

/// Runs a call's body, catches a panic, and writes the failure to `error`.
///
/// # Safety
/// `error` is NULL or points at a struct whose first field is the struct's size in bytes, all of them writable.
pub(super) unsafe fn guard(error: *mut CorelaneError, body: impl FnOnce() -> Outcome) -> i64 {
    // Unwind safety: if the body panics, `Leave` leaves the handle's slot, and the handle can still be released.
    let failure =
        match catch_unwind(AssertUnwindSafe(|| if is_child() { Err(Failure::forked()) } else { body() })) {
            Ok(Ok(count)) => return count,
            Ok(Err(failure)) => failure,
            Err(_) => Failure::new(
                CORELANE_PANIC,
                "a defect in the library: report it with the panic's text from stderr",
            ),
        };
    // SAFETY: the caller upholds the same contract.
    unsafe { tell(error, &failure) };
    i64::from(failure.code)
}

/// As [`guard`], for calls that return a status.
///
/// # Safety
/// As [`guard`].
pub(super) unsafe fn guard_status(error: *mut CorelaneError, body: impl FnOnce() -> Outcome) -> i32 {
    // SAFETY: the caller upholds the same contract.
    let count = unsafe { guard(error, body) };
    count.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

/// As [`guard_status`], for calls without an error struct.
pub(super) fn answer(body: impl FnOnce() -> Outcome) -> i32 {
    // SAFETY: a NULL pointer is always allowed.
    unsafe { guard_status(std::ptr::null_mut(), body) }
}

/// # Safety
/// As [`guard`].
unsafe fn tell(error: *mut CorelaneError, failure: &Failure) {
    // SAFETY: only the size is read until it is known to be large enough; the caller guarantees that the size is
    // readable.
    let fits = !error.is_null() && unsafe { (*error).size } as usize >= size_of::<CorelaneError>();
    if !fits {
        return;
    }
    // SAFETY: not NULL, and its size says that it is at least as large as our struct.
    let error = unsafe { &mut *error };
    error.code = failure.code;
    error.os_errno = failure.os_errno;
    error.message = [0; CORELANE_MESSAGE_BYTES];
    let text = shortened(&failure.text);
    for (to, from) in error.message.iter_mut().zip(text.as_bytes()) {
        *to = *from as c_char;
    }
}

/// A text that fits the struct with its closing NUL. A longer one ends after a whole word, with an ellipsis.
fn shortened(text: &str) -> Cow<'_, str> {
    const END: &str = " …";
    if text.len() < CORELANE_MESSAGE_BYTES {
        return text.into();
    }
    let most = CORELANE_MESSAGE_BYTES - 1 - END.len();
    let room = text.floor_char_boundary(most);
    let start = text.get(..room).unwrap_or_default();
    let whole = start.rfind(' ').and_then(|end| start.get(..end)).unwrap_or(start);
    format!("{whole}{END}").into()
}

/// Borrows the caller's text.
///
/// # Safety
/// `start` is NULL or points at `length` bytes that no thread writes while the text is used.
pub(super) unsafe fn text<'a>(name: &str, start: *const c_char, length: usize) -> Result<&'a str, Failure> {
    // SAFETY: the caller upholds the same contract.
    let bytes: &[u8] = unsafe { slice(name, start.cast(), length) }?;
    std::str::from_utf8(bytes).map_err(|error| {
        Failure::new(
            CORELANE_INVALID,
            format!("{name} is not UTF-8: byte {} is not valid", error.valid_up_to()),
        )
    })
}

/// Borrows the caller's array of `length` values. NULL is allowed if `length` is 0.
///
/// # Safety
/// `start` is NULL or points at `length` values that no thread writes while they are used.
pub(super) unsafe fn slice<'a, T>(name: &str, start: *const T, length: usize) -> Result<&'a [T], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    if start.is_null() || !start.is_aligned() {
        return Err(Failure::null(name));
    }
    if length > isize::MAX as usize / size_of::<T>() {
        return Err(Failure::new(
            CORELANE_INVALID,
            format!("{name} is longer than memory: check the length"),
        ));
    }
    // SAFETY: the pointer is aligned and not NULL, and the caller guarantees `length` values.
    Ok(unsafe { std::slice::from_raw_parts(start, length) })
}

/// Checks an output pointer.
pub(super) fn out<T>(name: &str, place: *mut T) -> Result<*mut T, Failure> {
    if place.is_null() || !place.is_aligned() { Err(Failure::null(name)) } else { Ok(place) }
}

/// The library's version: major << 24 | minor << 16 | patch << 8. Any thread.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_version() -> u32 {
    const fn number(text: &str) -> u32 {
        let (bytes, mut value, mut at) = (text.as_bytes(), 0, 0);
        while at < bytes.len() {
            value = 10 * value + (bytes[at] - b'0') as u32;
            at += 1;
        }
        value
    }
    number(env!("CARGO_PKG_VERSION_MAJOR")) << 24
        | number(env!("CARGO_PKG_VERSION_MINOR")) << 16
        | number(env!("CARGO_PKG_VERSION_PATCH")) << 8
}

/// The text of a status: static, never NULL. Any thread.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_status_text(status: i32) -> *const c_char {
    let text: &CStr = match status {
        CORELANE_OK.. => c"ok",
        CORELANE_AGAIN => c"nothing to read, or something to read already",
        CORELANE_FULL => c"the ring is full",
        CORELANE_NULL => c"a pointer is NULL or not aligned",
        CORELANE_INVALID => c"an argument is not valid",
        CORELANE_TOO_LARGE => c"the message is too large",
        CORELANE_NOT_FOUND => c"nothing has this name or number",
        CORELANE_STALE => c"the handle is not valid",
        CORELANE_EXISTS => c"the name is taken",
        CORELANE_LIMIT => c"a limit is reached",
        CORELANE_STATE => c"not possible in the present state",
        CORELANE_BUSY => c"another thread is inside a call with this handle",
        CORELANE_TIMEOUT => c"the time-out expired",
        CORELANE_CLOSED => c"the router is draining or has stopped",
        CORELANE_THREAD => c"called from a thread that must not make this call",
        CORELANE_FORKED => c"called in a child of fork",
        CORELANE_ABI => c"header and library have different versions",
        CORELANE_CONFIG_KEY => c"no such configuration key",
        CORELANE_CONFIG_VALUE => c"a configuration value is not allowed",
        CORELANE_NOMEM => c"out of memory",
        CORELANE_SYS => c"the operating system refused a call",
        CORELANE_UNSUPPORTED => c"not available on this platform",
        CORELANE_CORRUPT => c"a ring is corrupt",
        CORELANE_PANIC => c"a defect in the library",
        _ => c"unknown status",
    };
    text.as_ptr()
}
