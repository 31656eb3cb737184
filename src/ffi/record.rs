//! Monitoring alone: a host that routes by itself reports what it did.

use super::handle::CorelaneRouter;
use super::router::ROUTERS;
use super::status::{Outcome, answer, text};
use crate::record::{Measured, RecordedMessage};
use std::ffi::c_char;

/// Records one message that the host routed itself: its protocol and type (UTF-8, up to 64 bytes each, with figures of their
/// own on first use up to `max_recorded_types`, afterwards `other`), its application, whether it went well (not 0), its
/// bytes, and how long it took. It appears in corelane_prometheus as corelane_recorded_; what is routed is counted apart.
///
/// Any thread, at once; nothing waits once a name was used. CORELANE_NULL, CORELANE_INVALID, CORELANE_STALE, CORELANE_BUSY (being
/// released).
///
/// # Safety
/// The three texts point at as many bytes as said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_record(
    router: CorelaneRouter,
    protocol: *const c_char,
    protocol_length: usize,
    message_type: *const c_char,
    message_type_length: usize,
    application: *const c_char,
    application_length: usize,
    success: u32,
    bytes: u64,
    duration_ns: u64,
) -> i32 {
    let record = || -> Outcome {
        // SAFETY: forwarded.
        let protocol = unsafe { text("protocol", protocol, protocol_length) }?;
        // SAFETY: forwarded.
        let message_type = unsafe { text("message_type", message_type, message_type_length) }?;
        // SAFETY: forwarded.
        let application = unsafe { text("application", application, application_length) }?;
        ROUTERS.enter_shared(router.value, |router| {
            let measured = Measured {
                failed: success == 0,
                bytes,
                processing_nanoseconds: duration_ns,
                ..Measured::default()
            };
            router.record(&RecordedMessage {
                protocol,
                message_type,
                application,
                measured,
                ..RecordedMessage::default()
            });
            Ok(0)
        })
    };
    answer(record)
}
