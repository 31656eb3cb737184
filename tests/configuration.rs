//! The configuration as users write it: `docs/configuration.md` is generated from the table of keys in the code
//! (`CORELANE_WRITE_DOCS=1` writes it), and texts and files keep every value.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::config::{AllowedValues, Changes, Config, PRESETS, Row, SECTIONS, Scope, TABLE};
use corelane::monitor::Monitor;
use proptest::prelude::{Strategy, any, proptest};
use serde::de::DeserializeSeed;
use std::fmt::Write;

fn changes(row: &Row) -> &'static str {
    match row.changes {
        Changes::Monitor => "`Monitor::set`",
        Changes::Router => "`Router::set_active_workers`",
        _ => "no",
    }
}

fn scope(row: &Row) -> &'static str {
    if row.scope == Scope::Router { "routers" } else { "both" }
}

#[test]
fn the_page_is_the_table() {
    let mut page = "# Configuration\n\nEvery key, by section. Written from the table in `src/config/sections.rs` by \
                    `CORELANE_WRITE_DOCS=1 cargo test --test configuration`.\n\n\
                    - A Rust program sets fields of `Config`; the column *in Rust* has section, field and type. A \
                    field that is `None` is 0 in a text.\n\
                    - A text has one `key=value` on each line, and `#` begins a comment (`Config::from_str`, \
                    `corelane_router_start`).\n\
                    - A TOML file has the same keys under `[section]`, with switches as `true` and `false` \
                    (`peerjs_server --config`).\n\n\
                    The column *at run time* says what can change the value after the start. The column *effect in* says whether the \
                    key has an effect in a monitor without a router: `Config::of_monitor` and `corelane_monitor_start` refuse a text with a \
                    key that has none; `Monitor::new` ignores such a field.\n"
        .to_owned();
    for section in SECTIONS {
        write!(
            page,
            "\n## {section}\n\n| key | default | allowed | at run time | effect in | what it does | in Rust |\n"
        )
        .unwrap();
        page.push_str("|---|---|---|---|---|---|---|\n");
        for row in TABLE.iter().filter(|row| row.section == *section) {
            let (key, default, allowed, text) = (row.key, row.default_value(), row.allowed(), row.text);
            let (field, kind) = (row.field, row.field_type);
            let line =
                format!("| `{key}` | {default} | {allowed} | {} | {} | {text} |", changes(row), scope(row));
            writeln!(page, "{line} `{section}.{field}: {kind}` |").unwrap();
        }
    }
    page.push_str("\n## Presets\n\nThe key `preset` sets several keys at once. In a text or file every other key comes before it. In a TOML file it \
                   stands above the sections.\n\n| preset | for | values |\n|---|---|---|\n");
    for preset in PRESETS {
        let rows: Vec<_> = preset.values().map(|(row, value)| format!("`{}` = {value}", row.key)).collect();
        writeln!(page, "| `{}` | {} | {} |", preset.name, preset.text, rows.join(", ")).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    if std::env::var_os("CORELANE_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page);
}

/// The page states for each key whether [`Monitor::set`](corelane::monitor::Monitor::set) can change it.
#[test]
fn the_monitor_changes_what_the_page_says() {
    let monitor = Monitor::new(Config::default()).unwrap();
    for row in TABLE {
        let changed = monitor.set(row.key, &row.default_value());
        assert_eq!(changed.is_ok(), row.changes == Changes::Monitor, "{}: {changed:?}", row.key);
    }
    for (key, error) in [
        ("workers", "workers cannot be changed at run time; these can: "),
        ("preset", "preset cannot be changed at run time; these can: "),
        ("active_workers", "active_workers cannot be changed at run time; use Router::set_active_workers"),
        (
            "hihg_cpu_threshold",
            "\"hihg_cpu_threshold\" is not a configuration key; nearest that can be changed: high_cpu_threshold,",
        ),
    ] {
        let text = monitor.set(key, "1").unwrap_err().to_string();
        assert!(text.starts_with(error), "{text}");
    }
}

/// A monitor without a router refuses exactly the keys of which the page says that they have an effect only in routers.
#[test]
fn a_monitor_alone_refuses_the_keys_of_routers() {
    for row in TABLE {
        let text = format!("# one key\n{} = {}", row.key, row.default_value());
        let read = Config::of_monitor(&text);
        assert_eq!(read.is_ok(), row.scope == Scope::Any, "{}: {read:?}", row.key);
        if let Err(error) = read {
            let told =
                format!("line 2: {} has no effect in a monitor without a router; remove this line", row.key);
            assert_eq!(error.to_string(), told);
        }
        text.parse::<Config>().unwrap();
    }
    assert_eq!(Config::of_monitor("preset=small").unwrap(), Config::preset("small").unwrap());
    let sections = TABLE.iter().filter(|row| row.scope == Scope::Any).map(|row| row.section);
    assert!(
        sections.clone().count() > 15 && sections.clone().all(|one| ["monitor", "thresholds"].contains(&one))
    );
}

/// Texts of an allowed value of a key.
fn value_of(row: &'static Row) -> impl Strategy<Value = (&'static Row, String)> {
    any::<u64>().prop_map(move |random| {
        let text = match row.values {
            // Small values and the limits more often than others.
            AllowedValues::Number { minimum, maximum } => {
                let range = (maximum - minimum).saturating_add(1);
                let offset =
                    if random.is_multiple_of(3) { random / 3 % range.min(4) } else { random % range };
                (if random.is_multiple_of(7) { maximum - offset } else { minimum + offset }).to_string()
            }
            AllowedValues::PowerOfTwo { minimum, maximum } => {
                let powers = u64::from((maximum / minimum).trailing_zeros()) + 1;
                (minimum << (random % powers)).to_string()
            }
            AllowedValues::Choice(words) => words[random as usize % words.len()].to_owned(),
            _ => (random as f64 / u64::MAX as f64).to_string(),
        };
        (row, text)
    })
}

proptest! {
    #[test]
    fn texts_and_files_keep_every_value(
        values in TABLE.iter().map(value_of).collect::<Vec<_>>(),
        preset in proptest::option::of(0..PRESETS.len()),
    ) {
        let mut config = preset.map_or_else(Config::default, |place| Config::preset(PRESETS[place].name).unwrap());
        let mut lines = String::new();
        for (row, value) in &values {
            config.set(row.key, value).unwrap();
            writeln!(lines, " {} = {value} # a comment", row.key).unwrap();
        }
        assert_eq!(lines.parse::<Config>().unwrap(), config);
        assert_eq!(config.to_string().parse::<Config>().unwrap(), config);
        let file = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&file).unwrap(), config);
        let json = serde_json::to_string(&config).unwrap();
        let read: Config = serde_json::from_str(&json).unwrap();
        // serde_json reads fractions to within a bit only.
        assert_eq!(Config { thresholds: config.thresholds.clone(), ..read }, config);
        // A part of a file leaves the rest as it was.
        let part = toml::to_string(&config.router).unwrap();
        let mut other = Config::default();
        other.deserialize(toml::Deserializer::parse(&format!("[router]\n{part}")).unwrap()).unwrap();
        assert_eq!(other, Config { router: config.router.clone(), ..Config::default() });
    }

    /// Any text is read or refused with its line, and what is read is written back.
    #[test]
    fn any_text_is_read_or_refused(text in "((workers|pin|hold_ms|preset|x)? ?[=:;#]? ?(on|2|small|-1|)\n?){0,6}") {
        match text.parse::<Config>() {
            Ok(config) => assert_eq!(config.to_string().parse::<Config>().unwrap(), config),
            Err(error) => assert!(error.line.is_some_and(|line| line <= text.lines().count()), "{error}"),
        }
    }
}

#[test]
fn a_value_that_no_text_can_hold_is_not_written() {
    let mut config = Config::default();
    config.holds.time = std::time::Duration::from_micros(1_500);
    let error = toml::to_string(&config).unwrap_err().to_string();
    assert!(error.contains("hold_ms = 1.5ms is not valid; allowed: 1 to 3600000 milliseconds"), "{error}");
}

#[test]
fn json_refuses_a_repeated_key_and_section() {
    for (text, error) in [
        (r#"{"router":{"pin":true,"pin":false}}"#, "pin is set twice; remove one of them"),
        (r#"{"router":{},"router":{}}"#, "router is set twice; remove one of them"),
    ] {
        let refused = serde_json::from_str::<Config>(text).unwrap_err().to_string();
        assert!(refused.starts_with(error), "{refused}");
    }
}
