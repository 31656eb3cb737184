//! Fuzzes the envelope reader: any bytes as a message, under every kind of protocol. The target reads and relays the
//! message, and panics if the reader and `serde_json` disagree about the message or about its relayed form.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

#[path = "../../tests/envelope/oracle.rs"]
mod oracle;

static RULES: LazyLock<Vec<oracle::Rules>> = LazyLock::new(oracle::Rules::all);
const SENDERS: [&str; 3] = ["ann", "mallory\",\"src\":\"ann\\", "tab\t nul\0 žluť 🦄"];

fuzz_target!(|message: &[u8]| {
    for (rules, sender) in RULES.iter().zip(SENDERS.iter().cycle()) {
        oracle::check(rules, message, sender);
    }
});
