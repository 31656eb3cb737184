//! Checks the published schema of the JSON report: it matches the types, it describes every field, and every field is
//! computed, because a full workload changes each of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::monitor::MonitorStats;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

mod workload;

/// Prefixes of the paths that this workload does not change, with the reason.
const CONSTANT: &[(&str, &str)] = &[
    ("schema_version", "of the schema"),
    ("version", "of the crate"),
    ("started_milliseconds", "of the start: tests/reports.rs"),
    ("alerts.rules[].unavailable", "only for figures that are switched off: tests/kept.rs"),
    ("messages.failures.", "each reason: tests/inputs.rs, tests/refusals.rs"),
    ("types[].failures.", "as messages.failures"),
    ("routing.accounting.failures.", "as messages.failures"),
    ("routing.accounting.refusals.", "each reason: tests/admission.rs, tests/inputs.rs"),
    ("routing.accounting.takeovers.", "each reason: tests/route.rs, tests/faults/admission.rs"),
    ("routing.accounting.undelivered.", "each reason: tests/rooms.rs, tests/payloads.rs, tests/faults"),
    ("routing.accounting.unacknowledged_reasons.", "each reason: tests/figures/routed.rs"),
    ("cluster.", "a cluster needs NATS: tests/cluster"),
    ("exporters[]", "an exporter needs a server: tests/elasticsearch, tests/otlp"),
    ("routing.rooms.refusals.", "each reason: tests/rooms.rs"),
    ("alerts.current[].resolved", "resolved alerts are in the history"),
    ("alerts.history[].state", "alerts in the history are resolved"),
    ("alerts.pending[]", "a pending alert has no notification: no times, one state, one severity here"),
    ("applications[].protocol", "types only"),
    ("applications[].queue_wait", "types only"),
    ("applications[].failures", "types only"),
    ("applications[].received", "types only"),
    ("protocols[].protocol", "types only"),
    ("protocols[].queue_wait", "types only"),
    ("protocols[].failures", "types only"),
    ("protocols[].received", "types only"),
    ("monitor.collect_nanoseconds_maximum", "the first may be the longest: src/monitor/system/cost.rs"),
    ("clients.by_outstanding[].connected", "a client that is not connected has nothing outstanding"),
    ("clients.by_outstanding[].recorded", "only a router counts unacknowledged messages"),
    ("clients.by_outstanding_peak[].connected", "as in `by_outstanding`"),
    ("clients.by_outstanding_peak[].recorded", "as in `by_outstanding`"),
    ("clients.by_undelivered[].connected", "a client that is not connected gets no deliveries"),
    ("clients.by_undelivered[].recorded", "only a router delivers"),
    ("routing.ports[].workers[].closings", "a close behind a full backlog: tests/routing_figures.rs"),
    ("routing.placement.permits", "of the configuration"),
    ("routing.rooms.retired", "present only while a worker reads: tests/rooms.rs"),
    ("routing.workers[].corrupt_rings", "tests/corrupt.rs"),
    ("routing.workers[].given_up", "tests/handlers.rs"),
    ("routing.workers[].lost", "tests/faults/lost.rs"),
    ("routing.workers_lost", "tests/monitor_alerts/routed.rs"),
    ("routing.workers[].parks", "these workers have no threads: tests/threads.rs"),
    ("routing.workers[].wakes", "no worker sleeps here: tests/threads.rs"),
    ("routing.workers[].stamps_clamped", "hosts in other languages: tests/corrupt.rs"),
    ("system.cpu.core", "of the machine: tests/system.rs"),
    ("system.cpu.system_share", "of the machine: tests/system.rs"),
    ("system.cpu.load_average", "of the machine: tests/system.rs"),
    ("system.memory.limit", "of the machine: tests/system.rs"),
    ("system.memory.system", "of the machine: tests/system.rs"),
    ("system.process.descriptor_limit", "of the machine: tests/system.rs"),
    ("system.process.started_seconds", "of the process: tests/system.rs"),
    ("system.process.threads", "of the process: tests/system.rs"),
];

fn schema() -> Value {
    serde_json::from_str(&corelane::monitor::schema()).unwrap()
}

#[test]
fn the_file_is_what_the_types_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema.json");
    if std::env::var_os("CORELANE_WRITE_DOCS").is_some() {
        std::fs::write(path, corelane::monitor::schema()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), corelane::monitor::schema());
}

/// Follows a reference, or returns the part itself.
fn resolve<'a>(root: &'a Value, part: &'a Value) -> &'a Value {
    match part.get("$ref").and_then(Value::as_str) {
        Some(reference) => resolve(root, root.pointer(reference.trim_start_matches('#')).unwrap()),
        None => part,
    }
}

/// Calls `each` with the path and the schema of every leaf. A leaf is neither an object nor a list of objects.
fn leaves(root: &Value, part: &Value, path: &str, each: &mut impl FnMut(&str, &Value)) {
    let part = resolve(root, part);
    if let Some(choices) = part.get("anyOf").and_then(Value::as_array) {
        let is_null = |choice: &&Value| choice.get("type").and_then(Value::as_str) == Some("null");
        choices.iter().filter(|choice| !is_null(choice)).for_each(|choice| leaves(root, choice, path, each));
    } else if let Some(properties) = part.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            leaves(root, property, &path, each);
        }
    } else if let Some(items) = part.get("items") {
        leaves(root, items, &format!("{path}[]"), each);
    } else {
        each(path, part);
    }
}

/// The paths of all numbers, one per line: `*` is an element of a list, `(a|b)` one of these members.
fn paths() -> String {
    let root = schema();
    let mut paths = BTreeSet::new();
    numbers(&root, &root, "", &mut paths);
    paths.into_iter().map(|path| path + "\n").collect()
}

fn numbers(root: &Value, part: &Value, path: &str, paths: &mut BTreeSet<String>) {
    // Alerts are what rules make of figures, so no rule is over them.
    let is_of_alerts = ["alerts.current", "alerts.pending", "alerts.history", "alerts.rules"].contains(&path);
    if is_of_alerts || CONSTANT.contains(&(&path.replace(".*", "[]"), "types only")) {
        return;
    }
    let part = resolve(root, part);
    let below = |step: &str| if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") };
    for choices in ["anyOf", "oneOf"] {
        let choices = part.get(choices).and_then(Value::as_array).into_iter().flatten();
        choices.for_each(|choice| numbers(root, choice, path, paths));
    }
    if let Some(members) = part.get("properties").and_then(Value::as_object) {
        // Every field has a description, except for counts by reason.
        if members.values().all(|member| member["description"].is_null()) {
            let names: Vec<_> = members.keys().map(String::as_str).collect();
            paths.insert(below(&format!("({})", names.join("|"))));
            return;
        }
        members.iter().for_each(|(name, member)| numbers(root, member, &below(name), paths));
    }
    if let Some(items) = part.get("items") {
        numbers(root, items, &below("*"), paths);
    }
    let types = match part.get("type") {
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one.as_str()],
        _ => Vec::new(),
    };
    if types.iter().any(|one| ["integer", "number", "boolean"].contains(one)) {
        paths.insert(path.to_owned());
    }
}

#[test]
fn the_list_of_paths_is_what_the_schema_says() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/monitor/paths.txt");
    if std::env::var_os("CORELANE_WRITE_DOCS").is_some() {
        std::fs::write(file, paths()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), paths());
}

#[test]
fn every_field_is_described() {
    let root = schema();
    let mut objects = vec![&root];
    objects.extend(root["$defs"].as_object().unwrap().values());
    let mut fields = 0;
    for object in objects {
        for (name, field) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
            assert!(field["description"].as_str().is_some_and(|text| text.len() > 3), "{name} in {object}");
            fields += 1;
        }
    }
    assert!(fields > 250, "{fields} fields");
}

/// Collects every value at each path, over all snapshots.
fn values(value: &Value, path: &str, found: &mut BTreeMap<String, BTreeSet<String>>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                values(member, &path, found);
            }
        }
        // A pair or a list of numbers is a leaf in the schema.
        Value::Array(elements) => {
            elements.iter().for_each(|element| values(element, &format!("{path}[]"), found))
        }
        leaf => {
            found.entry(path.to_owned()).or_default().insert(leaf.to_string());
        }
    }
}

#[test]
fn a_full_workload_changes_every_field() {
    let root = schema();
    let mut found = BTreeMap::new();
    for report in workload::reports() {
        values(&report, "", &mut found);
    }
    let mut same = Vec::new();
    let mut count = 0;
    leaves(&root, &root, "", &mut |path, _| {
        count += 1;
        // A null means that the value is absent. The elements of a list differ from one another. A pair in a list is
        // one leaf of the schema.
        let seen = found.get(path).or_else(|| found.get(&format!("{path}[]")));
        let all = seen.into_iter().flatten().filter(|value| *value != "null").count();
        let was_null = seen.is_some_and(|all| all.contains("null"));
        if all == 0 || (all == 1 && !was_null) {
            same.push(path.to_owned());
        }
    });
    same.retain(|path| !CONSTANT.iter().any(|(constant, _)| path.starts_with(constant)));
    assert!(count > 700, "{count} leaves");
    assert!(same.is_empty(), "{} of {count} never change:\n{}", same.len(), same.join("\n"));
}

#[test]
fn a_program_reads_a_report_into_the_same_types() {
    for report in workload::reports() {
        let stats: MonitorStats = serde_json::from_value(report.clone()).unwrap();
        let mut written = serde_json::to_value(&stats).unwrap();
        for name in ["schema_version", "version"] {
            written[name] = report[name].clone();
        }
        assert!(written == report, "reading changes the report:\n{report}\n{written}");
    }
}
