//! Texts that the library allocates for its caller.

use super::borrow::{CStruct, OutStruct, read_struct};
use super::guard::{Outcome, answer};
use std::ffi::c_char;

/// A text of the library, in UTF-8. Free it with `corelane_text_free`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneText {
    /// `sizeof(corelane_text)`, set by the caller: CORELANE_TEXT_INIT.
    pub size: u32,
    /// Always 0.
    pub reserved: u32,
    /// The text with a closing NUL. NULL if there is none.
    pub data: *mut c_char,
    /// Its length in bytes without the NUL.
    pub length: usize,
}

// SAFETY: integers and a pointer, the size first.
unsafe impl CStruct for CorelaneText {
    const NAME: &'static str = "corelane_text";
}

impl CorelaneText {
    /// Gives a text away to the caller.
    pub(super) fn hand_out(place: OutStruct<Self>, text: String) -> Outcome {
        // A struct without these fields could not free the text.
        let place = place.at_least(std::mem::offset_of!(Self, length) + size_of::<usize>())?;
        let length = text.len();
        let mut bytes = text.into_bytes();
        bytes.push(0);
        let data = Box::into_raw(bytes.into_boxed_slice()).cast::<c_char>();
        place.write(&Self { size: 0, reserved: 0, data, length });
        Ok(0)
    }
}

/// Frees a text of the library, and sets its `data` to NULL and its `length` to 0, so that a second call does nothing.
/// NULL is allowed.
///
/// Any thread. Does not block. CORELANE_INVALID (`size`), CORELANE_NULL (not aligned).
///
/// # Safety
/// `text` is NULL, or points at a corelane_text with its size set that a call has filled or that is still as its INIT macro
/// made it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_text_free(text: *mut CorelaneText) -> i32 {
    answer(|| {
        if text.is_null() {
            return Ok(0);
        }
        // SAFETY: the caller upholds the same contract.
        let given = unsafe { read_struct("text", text) }?;
        if !given.data.is_null() {
            let bytes = std::ptr::slice_from_raw_parts_mut(given.data.cast::<u8>(), given.length + 1);
            // SAFETY: `hand_out` made this pointer from a boxed slice with the closing NUL.
            drop(unsafe { Box::from_raw(bytes) });
        }
        // SAFETY: the caller upholds the same contract.
        let place = unsafe { OutStruct::new("text", text) }?;
        place.write(&CorelaneText { size: 0, reserved: 0, data: std::ptr::null_mut(), length: 0 });
        Ok(0)
    })
}
