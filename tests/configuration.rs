//! `docs/configuration.md` is generated from the table of keys in the code. `CORELANE_WRITE_DOCS=1` writes it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::config::{PRESETS, TABLE};
use std::fmt::Write;

#[test]
fn the_page_is_the_table() {
    let mut page = "# Configuration\n\nEvery key, as `Config::set` takes it. Written from the table in \
                    `src/config/keys.rs` by `CORELANE_WRITE_DOCS=1 cargo test --test configuration`.\n\n\
                    | key | default | allowed | what it does | in Rust |\n|---|---|---|---|---|\n"
        .to_owned();
    for row in TABLE {
        let default = row.written(row.default);
        let (allowed, (setter, takes)) = (row.allowed(), row.setter);
        writeln!(page, "| `{}` | {default} | {allowed} | {} | `{setter}({takes})` |", row.key, row.text)
            .unwrap();
    }
    page.push_str("\nThe key `preset` sets several of them at once:\n\n| preset | values |\n|---|---|\n");
    for (name, rows) in PRESETS {
        let rows: Vec<_> = rows.iter().map(|(key, value)| format!("`{key}` = {value}")).collect();
        writeln!(page, "| `{name}` | {} |", rows.join(", ")).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    if std::env::var_os("CORELANE_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page);
}

/// The page states for each key whether [`Monitor::set`](corelane::monitor::Monitor::set) can change it.
#[test]
fn the_page_says_what_can_be_changed_while_it_runs() {
    use corelane::config::Config;
    use corelane::monitor::Monitor;

    let monitor = Monitor::new(Config::default()).unwrap();
    for row in TABLE {
        let changes = monitor.set(row.key, row.written(row.default).as_str()).is_ok();
        assert_eq!(changes, row.text.contains("while the monitor runs"), "{}", row.key);
    }
}
