//! Calls of the C interface, against the model of `tests/c_calls.rs`.

#![no_main]

#[path = "../../tests/c_calls.rs"]
#[expect(dead_code, reason = "its tests and what only they use")]
mod c_calls;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| c_calls::calls_of(bytes));
