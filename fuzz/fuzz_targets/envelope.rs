//! Fuzzes the envelope reader: any bytes as a message, under every kind of protocol. The target reads and relays the
//! message, and panics if the reader disagrees with `serde_json` or with the plain reader about the message or about its
//! relayed form.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

#[path = "../../tests/envelope/agreement.rs"]
mod agreement;
#[path = "../../tests/envelope/oracle.rs"]
mod oracle;
#[path = "../../tests/envelope/plain/mod.rs"]
mod plain;

static PROTOCOLS: LazyLock<Vec<agreement::Both>> = LazyLock::new(agreement::Both::all);
const SENDERS: [&str; 3] = ["ann", "mallory\",\"src\":\"ann\\", "tab\t nul\0 žluť 🦄"];

fuzz_target!(|message: &[u8]| {
    for (protocol, sender) in PROTOCOLS.iter().zip(SENDERS.iter().cycle()) {
        oracle::check(&protocol.rules, message, sender);
        let _verdict = protocol.compare(message, sender);
    }
});
