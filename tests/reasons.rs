//! `docs/reasons.md` is generated from the lists of reasons in the code. `CORELANE_WRITE_DOCS=1` writes it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::error::{
    CloseReason, Failed, RoomRefused, SubmitError, TakenOver, Unacknowledged, Undeliverable,
};
use std::fmt::Write;

const ABOUT: &str = "# Reasons

Every label of a reason, as metrics and reports show it. In Rust the variant has the same name in CamelCase. Written from \
                     `src/error/reasons.rs` by `CORELANE_WRITE_DOCS=1 cargo test --test reasons`.

| list | what its reasons are for |
|---|---|
| `SubmitError` | why a port refused a message |
| `Failed` | why an accepted message failed |
| `Undeliverable` | why a delivery was not handed out |
| `Unacknowledged` | why a delivery that was handed out stays unacknowledged |
| `TakenOver` | why the base route handled a message |
| `RoomRefused` | why a client could not join a room, or cannot leave it yet |
| `CloseReason` | why the router asks the host to close a client |

| label | list | meaning |
|---|---|---|
";

/// The rows of one list.
fn rows<R: Copy>(page: &mut String, list: &str, all: &[R], text: fn(R) -> (&'static str, &'static str)) {
    for reason in all {
        let (label, meaning) = text(*reason);
        writeln!(page, "| `{label}` | `{list}` | {meaning} |").unwrap();
    }
}

#[test]
fn the_page_is_the_lists() {
    let mut page = ABOUT.to_owned();
    macro_rules! lists {
        ($($list:ident)+) => {
            $(rows(&mut page, stringify!($list), $list::ALL, |reason| (reason.label(), reason.meaning()));)+
        };
    }
    lists!(SubmitError Failed Undeliverable Unacknowledged TakenOver RoomRefused CloseReason);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reasons.md");
    if std::env::var_os("CORELANE_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page);
}
