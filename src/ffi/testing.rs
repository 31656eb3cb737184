//! Only for `ffi-tests`, behind the feature `ffi-test`.

use super::borrow::out;
use super::guard::{Failure, answer};
use super::handle::CorelanePort;
use super::port::{Submitting, submitting};

/// Panics, to test that the guard catches it.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
#[expect(clippy::panic, reason = "what the guard is there for")]
pub unsafe extern "C" fn corelane_test_panic() -> i32 {
    answer(|| panic!("asked for by a test of the panic boundary"))
}

/// The memory of the ring between a port and a worker, so that a test can overwrite it: the ingress ring, or with `egress` the
/// other one.
///
/// # Safety
/// `out_base` points at room for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_test_ring(
    port: CorelanePort,
    worker: u32,
    egress: u32,
    out_base: *mut *mut u8,
) -> i32 {
    answer(|| {
        let out_base = out("out_base", out_base)?;
        let base = submitting(port, |ends| {
            let none = || Failure::invalid("no such ring");
            let Submitting::Owned(port) = ends else { return Err(none()) };
            let (ingress, other) = port.memories(worker as usize).ok_or_else(none)?;
            Ok(if egress == 0 { ingress } else { other }.start())
        })?;
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_base.write(base) };
        Ok(0)
    })
}
