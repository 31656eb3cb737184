//! Status codes, the error struct, and the guard that every call runs in.

use super::fork::is_child;
use crate::error::Error;
use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Done.
pub const CORELANE_OK: i32 = 0;
/// Nothing to read, or something is there already where the call was about to wait. Not an error.
pub const CORELANE_AGAIN: i32 = -1;
/// The ring is full: poll, then retry, or drop. Not an error.
pub const CORELANE_FULL: i32 = -2;
/// A pointer that is needed is NULL.
pub const CORELANE_NULL: i32 = -10;
/// An argument is impossible: not UTF-8, a size of another struct, a client of another port.
pub const CORELANE_INVALID: i32 = -11;
/// Larger than `max_message`, or than a ring takes.
pub const CORELANE_TOO_LARGE: i32 = -12;
/// Nothing of that name.
pub const CORELANE_NOT_FOUND: i32 = -13;
/// The handle was released, was never valid, or its client is not connected any more.
pub const CORELANE_STALE: i32 = -14;
/// The name is connected.
pub const CORELANE_EXISTS: i32 = -15;
/// A bound of the configuration or of this process is reached.
pub const CORELANE_LIMIT: i32 = -16;
/// Not possible in the router's present state.
pub const CORELANE_STATE: i32 = -17;
/// Another thread is inside a call with this handle.
pub const CORELANE_BUSY: i32 = -18;
/// Not done in the time given.
pub const CORELANE_TIMEOUT: i32 = -19;
/// The router drains or has stopped.
pub const CORELANE_CLOSED: i32 = -20;
/// Reserved: called from a thread that must not.
pub const CORELANE_THREAD: i32 = -21;
/// Called in a child of fork whose parent has started a router: it has none of the threads. Use exec.
pub const CORELANE_FORKED: i32 = -22;
/// Header and library are of different versions.
pub const CORELANE_ABI: i32 = -23;
/// No configuration key has this name.
pub const CORELANE_CONFIG_KEY: i32 = -24;
/// A configuration value is not allowed, or does not fit the others.
pub const CORELANE_CONFIG_VALUE: i32 = -25;
/// Reserved: no memory.
pub const CORELANE_NOMEM: i32 = -26;
/// The operating system refused something; `os_errno` says what.
pub const CORELANE_SYS: i32 = -27;
/// Reserved: not on this platform.
pub const CORELANE_UNSUPPORTED: i32 = -28;
/// A ring holds what nobody may write; it is of no further use.
pub const CORELANE_CORRUPT: i32 = -29;
/// A defect of the library: report it. The handle can be released.
pub const CORELANE_PANIC: i32 = -30;

/// Bytes of an error's text, its closing zero included.
pub const CORELANE_MESSAGE_BYTES: usize = 240;

/// What went wrong, for people. Filled only by calls that fail.
#[repr(C)]
#[derive(Debug)]
pub struct CorelaneError {
    /// `sizeof(corelane_error)`, set by the caller. Smaller: nothing is written.
    pub size: u32,
    /// The status that the call returned.
    pub code: i32,
    /// The system's error number, or 0.
    pub os_errno: i32,
    /// What to change, in UTF-8; ends with a zero.
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

    #[cfg(test)]
    pub(super) fn code(&self) -> i32 {
        self.code
    }

    pub(super) fn null(name: &str) -> Self {
        Self::new(CORELANE_NULL, format!("{name} is NULL"))
    }

    pub(super) fn stale(kind: &str) -> Self {
        Self::new(CORELANE_STALE, format!("the {kind} was released, or never was one"))
    }

    fn forked() -> Self {
        Self::new(
            CORELANE_FORKED,
            "a child of fork has none of the router's threads: exec, or start routers after fork",
        )
    }

    pub(super) fn busy(kind: &str) -> Self {
        Self::new(CORELANE_BUSY, format!("another thread is inside a call with this {kind}"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            // The configuration table itself says that a key is unknown in these words.
            Error::Config { key: "key", .. } => CORELANE_CONFIG_KEY,
            other => other.code(),
        };
        let os_errno = if let Error::System { errno, .. } = &error { *errno } else { 0 };
        Self { code, os_errno, text: error.to_string() }
    }
}

/// What every call's body returns: a count or 0.
pub(super) type Outcome = Result<i64, Failure>;

/// Runs a call's body, keeps a panic inside, and tells the caller what went wrong.
///
/// # Safety
/// `error` is NULL or points at a struct whose first field is its size in bytes, all of them writable.
pub(super) unsafe fn guard(error: *mut CorelaneError, body: impl FnOnce() -> Outcome) -> i64 {
    // A body that panics leaves its handle as the handle's own guard leaves it: entered no longer.
    let failure =
        match catch_unwind(AssertUnwindSafe(|| if is_child() { Err(Failure::forked()) } else { body() })) {
            Ok(Ok(count)) => return count,
            Ok(Err(failure)) => failure,
            Err(_) => Failure::new(CORELANE_PANIC, "a defect of the library; the panic's text is on stderr"),
        };
    // SAFETY: forwarded.
    unsafe { tell(error, &failure) };
    i64::from(failure.code)
}

/// As [`guard`], for calls that return a status.
///
/// # Safety
/// As [`guard`].
pub(super) unsafe fn guard_status(error: *mut CorelaneError, body: impl FnOnce() -> Outcome) -> i32 {
    // SAFETY: forwarded.
    let count = unsafe { guard(error, body) };
    count.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

/// As [`guard_status`], for calls without an error struct.
pub(super) fn answer(body: impl FnOnce() -> Outcome) -> i32 {
    // SAFETY: NULL: nobody is told.
    unsafe { guard_status(std::ptr::null_mut(), body) }
}

/// # Safety
/// As [`guard`].
unsafe fn tell(error: *mut CorelaneError, failure: &Failure) {
    // SAFETY: only the size is read before it is known; the caller vouches for it.
    let fits = !error.is_null() && unsafe { (*error).size } as usize >= size_of::<CorelaneError>();
    if !fits {
        return;
    }
    // SAFETY: not NULL, and as large as ours, says its size.
    let error = unsafe { &mut *error };
    error.code = failure.code;
    error.os_errno = failure.os_errno;
    error.message = [0; CORELANE_MESSAGE_BYTES];
    let mut end = failure.text.len().min(CORELANE_MESSAGE_BYTES - 1);
    while !failure.text.is_char_boundary(end) {
        end -= 1;
    }
    for (to, from) in error.message.iter_mut().zip(failure.text.as_bytes().iter().take(end)) {
        *to = *from as c_char;
    }
}

/// The caller's text.
///
/// # Safety
/// `start` is NULL or points at `length` bytes that nobody writes while the text is used.
pub(super) unsafe fn text<'a>(name: &str, start: *const c_char, length: usize) -> Result<&'a str, Failure> {
    // SAFETY: forwarded.
    let bytes: &[u8] = unsafe { slice(name, start.cast(), length) }?;
    std::str::from_utf8(bytes).map_err(|error| {
        Failure::new(CORELANE_INVALID, format!("{name} is not UTF-8 from byte {} on", error.valid_up_to()))
    })
}

/// The caller's values, `length` of them. NULL is allowed for none.
///
/// # Safety
/// `start` is NULL or points at so many values that nobody writes while they are used.
pub(super) unsafe fn slice<'a, T>(name: &str, start: *const T, length: usize) -> Result<&'a [T], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    if start.is_null() || !start.is_aligned() {
        return Err(Failure::null(name));
    }
    if length > isize::MAX as usize / size_of::<T>() {
        return Err(Failure::new(CORELANE_INVALID, format!("{name} is longer than memory")));
    }
    // SAFETY: not NULL, aligned, and the caller says that so many values are there.
    Ok(unsafe { std::slice::from_raw_parts(start, length) })
}

/// A place for an output.
pub(super) fn out<T>(name: &str, place: *mut T) -> Result<*mut T, Failure> {
    if place.is_null() || !place.is_aligned() { Err(Failure::null(name)) } else { Ok(place) }
}

/// The library's version: major << 24 | minor << 16 | patch << 8. Any thread.
///
/// # Safety
/// Nothing to observe.
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

/// A status in words: static text, never NULL. Any thread.
///
/// # Safety
/// Nothing to observe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_status_text(status: i32) -> *const c_char {
    let text: &CStr = match status {
        CORELANE_OK.. => c"ok",
        CORELANE_AGAIN => c"nothing to read, or something is there already",
        CORELANE_FULL => c"the ring is full",
        CORELANE_NULL => c"a pointer is NULL",
        CORELANE_INVALID => c"an argument is impossible",
        CORELANE_TOO_LARGE => c"too large",
        CORELANE_NOT_FOUND => c"nothing of that name",
        CORELANE_STALE => c"the handle is not valid any more",
        CORELANE_EXISTS => c"the name is taken",
        CORELANE_LIMIT => c"a limit is reached",
        CORELANE_STATE => c"not possible in this state",
        CORELANE_BUSY => c"another thread is inside a call with this handle",
        CORELANE_TIMEOUT => c"not done in the time given",
        CORELANE_CLOSED => c"the router drains or has stopped",
        CORELANE_THREAD => c"called from a thread that must not",
        CORELANE_FORKED => c"called in a child of fork",
        CORELANE_ABI => c"header and library are of different versions",
        CORELANE_CONFIG_KEY => c"no such configuration key",
        CORELANE_CONFIG_VALUE => c"a configuration value is not allowed",
        CORELANE_NOMEM => c"no memory",
        CORELANE_SYS => c"the operating system refused",
        CORELANE_UNSUPPORTED => c"not on this platform",
        CORELANE_CORRUPT => c"a ring is corrupt",
        CORELANE_PANIC => c"a defect of the library",
        _ => c"unknown status",
    };
    text.as_ptr()
}
