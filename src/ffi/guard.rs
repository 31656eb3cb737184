//! The guard around every call: it stops panics, refuses calls in a child of `fork`, and describes failures to the caller.

use super::borrow::{CStruct, chars, write_prefix};
pub(super) use super::failure::{Failure, Outcome};
use super::fork::is_child;
use super::status::CorelaneStatus;
use std::borrow::Cow;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Size of an error's text in bytes, including the closing NUL.
pub const CORELANE_MESSAGE_BYTES: usize = 1008;

/// The description of a failure, for people. Written only by calls that fail.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneError {
    /// `sizeof(corelane_error)`, set by the caller: CORELANE_ERROR_INIT.
    pub size: u32,
    /// The status that the call returned.
    pub code: i32,
    /// The operating system's error number, or 0.
    pub os_errno: i32,
    /// Always 0.
    pub reserved: u32,
    /// What is wrong and what to change, in UTF-8 with a closing NUL.
    pub message: [c_char; CORELANE_MESSAGE_BYTES],
}

// SAFETY: integers only, the size first.
unsafe impl CStruct for CorelaneError {
    const NAME: &'static str = "corelane_error";
}

/// Runs a call's body, catches a panic, and writes the failure to `error`.
///
/// # Safety
/// `error` is NULL or points at a struct whose first field is the struct's size in bytes, all of them writable.
#[inline]
pub(super) unsafe fn guard(error: *mut CorelaneError, body: impl FnOnce() -> Outcome) -> i32 {
    // Unwind safety: if the body panics, the handle's place is left, and the handle can still be released.
    let failure = match catch_unwind(AssertUnwindSafe(|| if is_child() { Err(forked()) } else { body() })) {
        Ok(Ok(count)) => return count.clamp(0, i64::from(i32::MAX)) as i32,
        Ok(Err(failure)) => failure,
        Err(_) => panicked(),
    };
    let status = failure.status as i32;
    // SAFETY: the caller upholds the same contract.
    unsafe { tell(error, &failure) };
    status
}

/// As [`guard`], for calls without an error struct.
#[inline]
pub(super) fn answer(body: impl FnOnce() -> Outcome) -> i32 {
    // SAFETY: a NULL pointer is always allowed.
    unsafe { guard(std::ptr::null_mut(), body) }
}

#[cold]
fn forked() -> Failure {
    let text = "a child of fork has none of the library's threads: use exec, or start the library after fork";
    Failure::new(CorelaneStatus::Forked, text)
}

#[cold]
fn panicked() -> Failure {
    let text = "a defect in the library: report it with the panic's text from stderr";
    Failure::new(CorelaneStatus::Panic, text)
}

/// # Safety
/// As [`guard`].
#[cold]
unsafe fn tell(error: *mut CorelaneError, failure: &Failure) {
    if error.is_null() || !error.is_aligned() {
        return;
    }
    // SAFETY: not NULL and aligned; the caller guarantees that the size is readable.
    let size = unsafe { (*error).size } as usize;
    let room = size.saturating_sub(std::mem::offset_of!(CorelaneError, message)).min(CORELANE_MESSAGE_BYTES);
    let told = CorelaneError {
        size: size as u32,
        code: failure.status as i32,
        os_errno: failure.os_errno,
        reserved: 0,
        message: chars(&shortened(&failure.text, room)),
    };
    // SAFETY: the caller guarantees `size` writable bytes.
    unsafe { write_prefix(error, size, &told) };
}

/// A text that fits `room` bytes with its closing NUL. A longer one ends after a whole word, with an ellipsis.
fn shortened(text: &str, room: usize) -> Cow<'_, str> {
    const END: &str = " …";
    if text.len() < room {
        return text.into();
    }
    let Some(most) = room.checked_sub(1 + END.len()) else { return "".into() };
    let start = text.get(..text.floor_char_boundary(most)).unwrap_or_default();
    let whole = start.rfind(' ').and_then(|end| start.get(..end)).unwrap_or(start);
    format!("{whole}{END}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_text_ends_after_a_whole_word() {
        assert_eq!(shortened("a few words", 12), "a few words");
        assert_eq!(shortened("a few words", 11), "a few …");
        assert_eq!(shortened("äöü äöü", 12), "äöü …");
        assert_eq!(shortened("words", 3), "");
    }

    #[test]
    fn an_error_of_any_size_gets_its_prefix() {
        // SAFETY: integers only.
        let mut error: CorelaneError = unsafe { std::mem::zeroed() };
        for size in [0, 1, 7, 8, 16, 24, 40, size_of::<CorelaneError>() as u32] {
            error.size = size;
            error.message.fill(b'x' as c_char);
            // SAFETY: the struct has at least the size that it says.
            let status =
                unsafe { guard(&raw mut error, || Err(Failure::invalid("this is not a valid text"))) };
            assert_eq!((status, error.size), (CorelaneStatus::Invalid as i32, size));
            let inside = (size as usize).saturating_sub(16);
            let (written, rest) = error.message.split_at(inside.min(CORELANE_MESSAGE_BYTES));
            assert!(written.is_empty() || written.contains(&0), "{size}: a closing NUL");
            assert!(rest.iter().all(|byte| *byte == b'x' as c_char), "{size}");
        }
    }
}
