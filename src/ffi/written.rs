//! What a host says of clients beside its messages: what was written to them, and to what they were bound anew.

use super::handle::{CorelaneClient, CorelanePort};
use super::port::on;
use super::status::{CORELANE_INVALID, Failure};
use crate::id::ClientId;

/// What of a client's deliveries was written.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneWritten {
    /// Whose.
    pub client: CorelaneClient,
    /// How many messages.
    pub messages: u32,
    /// How many bytes.
    pub bytes: u32,
}

/// As `corelane_acknowledge` for each of `count` entries, with one look at the clock for all.
///
/// The port's thread. CORELANE_NULL, CORELANE_STALE (port), CORELANE_BUSY.
///
/// # Safety
/// `written` points at `count` structs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_acknowledge_batch(
    port: CorelanePort,
    written: *const CorelaneWritten,
    count: usize,
) -> i32 {
    on(port, |port| {
        if count == 0 {
            return Ok(0);
        }
        if written.is_null() || !written.is_aligned() {
            return Err(Failure::null("written"));
        }
        if count > isize::MAX as usize / size_of::<CorelaneWritten>() {
            return Err(Failure::new(CORELANE_INVALID, "more entries than memory holds"));
        }
        // SAFETY: checked; the caller says that so many structs are there.
        let written = unsafe { std::slice::from_raw_parts(written, count) };
        let entry = |one: &CorelaneWritten| (ClientId(one.client.value), one.messages, one.bytes);
        port.acknowledge_batch(written.iter().map(entry));
        Ok(0)
    })
}

/// Gives a connected client another token: what is handed out after this call carries it. What was handed out before and
/// is not acknowledged still is outstanding.
///
/// The port's thread. CORELANE_STALE (port, or not connected, or leaving), CORELANE_INVALID (another port's client: disconnect
/// it there, then connect it here), CORELANE_BUSY.
///
/// # Safety
/// Nothing to observe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_rebind(port: CorelanePort, client: CorelaneClient, token: u64) -> i32 {
    on(port, |port| {
        port.rebind(ClientId(client.value), token)?;
        Ok(0)
    })
}
