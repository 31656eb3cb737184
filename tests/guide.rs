//! docs/guide.md names only what exists: its figures are in a report, its keys in the configuration, its Prometheus
//! names in the exposition, its rules among the shipped ones, and its addresses at the server. The titles of a
//! table's columns determine what the cells contain.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::config::{Config, PRESETS, TABLE};
use corelane::export;
use corelane::metrics::Descriptor;
use corelane::monitor::{Format, Monitor, RuntimeStats};
use corelane::record::{Measured, RecordedMessage};
use corelane::router::{Builder, Event};
use serde_json::Value;
use std::time::{Duration, Instant};

const GUIDE: &str = include_str!("../docs/guide.md");

/// A report in which every list has an entry, and the exposition of the same router.
fn shown() -> (Value, String) {
    let mut config = Config::default();
    config.router.workers = Some(1);
    config.limits.max_queue_wait = Duration::from_secs(600); // However slow the machine is.
    for (key, value) in
        [("high_connection_threshold", "1"), ("credit_messages", "1"), ("credit_policy", "refuse")]
    {
        config.set(key, value).unwrap();
    }
    let router = Builder::new(config).start().unwrap();
    let monitor = Monitor::of(&router.source());
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "peerjs", "my-app", 1).unwrap();
    port.connect("ben", "peerjs", "my-app", 2).unwrap();
    for _ in 0..2 {
        port.submit(ann, br#"{"type":"OFFER","dst":"ben"}"#, 0).unwrap();
    }
    port.publish();
    // The first is delivered and not acknowledged, so that it stays outstanding. The second finds no credit.
    let (mut refused, limit) = (false, Instant::now() + Duration::from_secs(60));
    while !refused {
        assert!(Instant::now() < limit, "no message was refused");
        port.wait(Duration::from_millis(100));
        port.poll_each(64, |event| refused |= matches!(event, Event::Undelivered { .. })).unwrap();
    }
    // A slow message that failed.
    let measured = Measured {
        failed: true,
        bytes: 7,
        processing: Duration::from_nanos(10_000_000_000),
        ..Measured::default()
    };
    monitor.record(&RecordedMessage {
        client: "cleo",
        message_type: "job",
        measured,
        ..RecordedMessage::default()
    });
    let jobs = Descriptor::new("jobs_total", "Jobs").labels(&["region"]);
    monitor.counter(&jobs).unwrap().with(&["eu"]).unwrap().add(1);
    monitor.push_runtime(RuntimeStats::default()).unwrap();
    monitor.tick();
    let report = serde_json::from_str(&monitor.report(Format::Json)).unwrap();
    (report, export::prometheus(&monitor))
}

/// The guide without its code blocks.
fn prose() -> impl Iterator<Item = &'static str> {
    let mut inside = false;
    GUIDE.lines().filter(move |line| {
        let fence = line.starts_with("```");
        inside ^= fence;
        !inside && !fence
    })
}

/// The text between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The rows of all tables, each cell with its column's title.
fn rows() -> Vec<Vec<(&'static str, &'static str)>> {
    let cells = |line: &'static str| -> Vec<&'static str> {
        line.trim_matches('|').split('|').map(str::trim).collect()
    };
    let (mut all, mut titles) = (Vec::new(), None);
    for line in prose() {
        if !line.starts_with('|') {
            titles = None;
        } else if let Some(titles) = &titles {
            if !line.starts_with("|---") {
                let row = cells(line);
                let titles: &Vec<&str> = titles;
                assert_eq!(row.len(), titles.len(), "{line}");
                all.push(titles.iter().copied().zip(row).collect());
            }
        } else {
            titles = Some(cells(line));
        }
    }
    all
}

/// The quoted texts in the columns with these titles.
fn in_columns(titles: &[&str]) -> Vec<&'static str> {
    let rows = rows();
    let cells = rows.iter().flatten().filter(|(title, _)| titles.contains(title));
    cells.flat_map(|(_, cell)| quoted(cell)).collect()
}

/// Whether a path leads to a value in a report. A null counts as a value.
fn is_there(value: &Value, path: &str) -> bool {
    let Some((step, rest)) = path.split_once('.').or((!path.is_empty()).then_some((path, ""))) else {
        return true;
    };
    match value {
        Value::Object(members) => members.get(step).is_some_and(|member| is_there(member, rest)),
        Value::Array(elements) => elements.iter().enumerate().any(|(place, element)| {
            let text = |key: &str| element.get(key).and_then(Value::as_str).unwrap_or_default();
            let label = element["labels"][0][1].as_str().unwrap_or_default();
            let name = [text("protocol"), text("name"), label].into_iter().filter(|part| !part.is_empty());
            let name = name.collect::<Vec<_>>().join("/");
            (step == "*" || step == name || step == place.to_string()) && is_there(element, rest)
        }),
        // A part that this router has not: a cluster. tests/schema.rs knows its paths.
        Value::Null => true,
        _ => false,
    }
}

#[test]
fn every_figure_is_in_a_report() {
    let (report, _) = shown();
    let figures = in_columns(&["figure"]);
    // Other quoted names of that form are checked as well, except for methods of the monitor, which are not figures.
    let top = |path: &str| path.split_once('.').is_some_and(|(top, _)| report.get(top).is_some());
    let others = prose().flat_map(quoted);
    let others = others.filter(|path| top(path) && !path.starts_with("monitor.") && !path.contains('('));
    let mut number = 0;
    for path in figures.iter().copied().chain(others) {
        assert!(is_there(&report, path), "{path}");
        number += 1;
    }
    assert!(figures.len() > 100 && number > figures.len(), "{} figures, {number} in all", figures.len());
    for path in ["messages.windows.last_minute.p98", "types.peerjs/JUMP.total", "types.*.totals", "nothing"] {
        assert!(!is_there(&report, path), "{path}");
    }
}

#[test]
fn every_key_is_in_the_configuration() {
    let keys = in_columns(&["key", "change with the key"]);
    for key in &keys {
        assert!(TABLE.iter().any(|row| row.key == *key), "{key}");
    }
    assert!(keys.len() > 60, "{}", keys.len());
    // The settings that the examples post can be set.
    let monitor = Monitor::new(Config::default()).unwrap();
    let posted: Vec<_> = GUIDE.lines().filter_map(|line| line.strip_prefix("curl -d ")).collect();
    for line in &posted {
        let (key, value) = line.split_once(' ').unwrap().0.split_once('=').unwrap();
        monitor.set(key, value).unwrap();
    }
    assert!(!posted.is_empty());
    assert!(PRESETS.iter().any(|preset| GUIDE.contains(&format!("--set preset={}", preset.name))));
}

#[test]
fn the_production_values_are_the_presets() {
    let preset = PRESETS.iter().find(|preset| preset.name == "production").unwrap();
    let keys: Vec<_> = rows()
        .into_iter()
        .filter(|row| row.iter().any(|(title, _)| *title == "production value"))
        .flat_map(|row| row.into_iter().filter(|(title, _)| *title == "key"))
        .map(|(_, cell)| cell.trim_matches('`'))
        .collect();
    for key in &keys {
        assert!(preset.values().any(|(row, _)| row.key == *key), "{key}");
    }
    assert_eq!(keys.len(), 9);
}

#[test]
fn every_prometheus_name_is_in_the_exposition() {
    let (_, exposition) = shown();
    let names = in_columns(&["Prometheus"]);
    for name in &names {
        assert!(exposition.contains(&format!("# TYPE {name} ")), "{name}");
    }
    assert!(names.len() > 40, "{}", names.len());
}

#[test]
fn the_rules_are_those_that_come_with_the_monitor() {
    let (report, _) = shown();
    let rules = report["alerts"]["rules"].as_array().unwrap();
    let listed: Vec<_> =
        rows().into_iter().filter(|row| row.first().is_some_and(|one| one.0 == "rule")).collect();
    assert_eq!(listed.len(), rules.len());
    for row in listed {
        let cell = |title: &str| row.iter().find(|one| one.0 == title).unwrap().1.trim_matches('`');
        let rule = rules.iter().find(|rule| rule["name"] == cell("rule")).unwrap();
        assert_eq!(rule["metric"], cell("figure"));
    }
    for alert in in_columns(&["alert"]) {
        assert!(rules.iter().any(|rule| rule["name"] == alert), "{alert}");
    }
}

#[test]
fn every_address_is_one_of_the_server() {
    // The door's addresses, and the server's own.
    let server = concat!(
        include_str!("../src/http/pages.rs"),
        include_str!("../src/http/parts.rs"),
        include_str!("../src/http/request.rs"),
        include_str!("../examples/peerjs_server/door.rs")
    );
    let pages = [GUIDE, include_str!("../docs/monitor.md")];
    let mut addresses = 0;
    for (page, place) in
        pages.iter().flat_map(|page| page.match_indices("/api/").map(move |(place, _)| (page, place)))
    {
        let rest = &page[place..];
        let address = &rest[..rest.find(|c: char| !matches!(c, 'a'..='z' | '/')).unwrap()];
        // `/api/…` stands for all of them.
        assert!(address == "/api/" || server.contains(&format!("\"{address}\"")), "{address}");
        addresses += 1;
    }
    assert!(addresses > 30);
}

/// A web page shows the lines that documentation tests hide, so the README's examples have none.
#[test]
fn the_examples_of_the_readme_are_whole() {
    let mut examples = 0;
    for block in include_str!("../README.md").split("```rust\n").skip(1) {
        let code = block.split("```").next().unwrap();
        assert!(!code.lines().any(|line| line.starts_with("# ")), "{code}");
        examples += 1;
    }
    assert!(examples >= 2, "{examples} examples");
}
