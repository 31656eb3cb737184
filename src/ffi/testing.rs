//! For `ffi-tests` alone, behind the feature `ffi-test`.

use super::status::answer;

/// Panics inside the guard.
///
/// # Safety
/// Nothing to observe.
#[unsafe(no_mangle)]
#[expect(clippy::panic, reason = "what the guard is there for")]
pub unsafe extern "C" fn corelane_test_panic() -> i32 {
    answer(|| panic!("asked for by a test of the panic boundary"))
}
