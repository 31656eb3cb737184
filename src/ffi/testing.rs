//! Only for `ffi-tests`, behind the feature `ffi-test`.

use super::guard::answer;

/// Panics, to test that the guard catches it.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
#[expect(clippy::panic, reason = "what the guard is there for")]
pub unsafe extern "C" fn corelane_test_panic() -> i32 {
    answer(|| panic!("asked for by a test of the panic boundary"))
}
