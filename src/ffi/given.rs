//! Messages whose bytes the host gives away instead of having them copied.

use super::borrow::{read_struct, slice};
use super::guard::{Failure, answer};
use super::handle::CorelanePort;
use super::handler::CorelaneFreeFn;
use super::port::{Submitting, submitting};
use super::status::CorelaneStatus;
use super::submit::{CORELANE_TELL_FAILED, CorelaneSubmission, check_flags, options};
use crate::id::ClientId;
use crate::sync::{Arc, AtomicBool, Relaxed};
use std::ffi::c_void;

/// The bytes of a message of the host, and how to free them.
struct Given {
    start: *const u8,
    length: usize,
    free: CorelaneFreeFn,
    context: *mut c_void,
    /// The message was refused, and its bytes are the host's again.
    returned: Arc<AtomicBool>,
}

// SAFETY: the host guarantees that nobody writes the bytes until they are freed, and that they may be freed on any thread.
unsafe impl Send for Given {}
// SAFETY: as above.
unsafe impl Sync for Given {}

impl AsRef<[u8]> for Given {
    fn as_ref(&self) -> &[u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: the host guarantees so many bytes until they are freed; `slice` has checked pointer and length.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        // Relaxed: only the thread that submits sets it, before this drop on the same thread.
        if let Some(free) = self.free
            && !self.returned.load(Relaxed)
        {
            // SAFETY: the host guarantees that its function may be called once with this context.
            unsafe { free(self.context) };
        }
    }
}

/// As `corelane_port_submit_batch` for one message, but the router takes its bytes over instead of copying them: for large
/// messages. `free_message` is called exactly once, on any thread, with `context`, when nothing needs the bytes any more. If
/// the call fails, the bytes are still the caller's, and `free_message` is not called. Publish afterwards.
///
/// The port's owner. Does not block. As `corelane_port_submit`; CORELANE_STATE (a shared port), CORELANE_INVALID
/// (`size`, flags; CORELANE_TRY is not possible), CORELANE_NULL (also: no function).
///
/// # Safety
/// `submission` points at a corelane_submission with its size set and its message as its length says. Nobody writes the bytes
/// until the function is called; the function may be called with the context on any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_submit_owned(
    port: CorelanePort,
    submission: *const CorelaneSubmission,
    free_message: CorelaneFreeFn,
    context: *mut c_void,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let one = unsafe { read_struct("submission", submission) }?;
        check_flags(one.flags, CORELANE_TELL_FAILED)?;
        // SAFETY: as above.
        let bytes = unsafe { slice("message", one.message, one.length) }?;
        if free_message.is_none() {
            return Err(Failure::null("free_message"));
        }
        submitting(port, |ends| {
            let Submitting::Owned(port) = ends else { return Err(copies()) };
            let options = options(port.clock(), &one)?;
            let returned = Arc::new(AtomicBool::new(false));
            let given = Given {
                start: bytes.as_ptr(),
                length: bytes.len(),
                free: free_message,
                context,
                returned: Arc::clone(&returned),
            };
            port.submit_owned(ClientId(one.client.value), Box::new(given), options).map_err(|refused| {
                returned.store(true, Relaxed); // Relaxed: `refused` is dropped on this thread.
                Failure::from(refused.error)
            })?;
            Ok(0)
        })
    })
}

fn copies() -> Failure {
    Failure::new(CorelaneStatus::State, "a shared port copies messages: use corelane_port_submit_batch")
}
