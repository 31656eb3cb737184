//! Monitoring without routing: a host that routes messages itself reports each one.

use super::handle::CorelaneRouter;
use super::router::ROUTERS;
use super::status::{Outcome, answer, text};
use crate::record::{Measured, RecordedMessage};
use std::ffi::c_char;
use std::time::Duration;

/// Records one message that the host routed itself: its protocol and type (UTF-8, at most 64 bytes each), its
/// application, whether it succeeded (not 0), its bytes, and its duration in nanoseconds. Each new pair of protocol
/// and type gets its own figures, up to `max_recorded_types`; later ones count as `other`. The figures appear in
/// corelane_prometheus as corelane_recorded_; messages that the router routed are counted separately.
///
/// Any thread, any number at once. Only the first use of a name may wait. CORELANE_NULL, CORELANE_INVALID,
/// CORELANE_STALE, CORELANE_BUSY (being released).
///
/// # Safety
/// Each of the three texts points at as many bytes as its length says.
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
        // SAFETY: the caller upholds the same contract.
        let protocol = unsafe { text("protocol", protocol, protocol_length) }?;
        // SAFETY: the caller upholds the same contract.
        let message_type = unsafe { text("message_type", message_type, message_type_length) }?;
        // SAFETY: the caller upholds the same contract.
        let application = unsafe { text("application", application, application_length) }?;
        ROUTERS.enter_shared(router.value, |router| {
            let measured = Measured {
                failed: success == 0,
                bytes,
                processing: Duration::from_nanos(duration_ns),
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
