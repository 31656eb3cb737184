//! Finds the numbers at a path of the report, for alert rules and histories. `paths` defines paths. A `*` finds the
//! numbers of every element of a list. Each has the element's name as its label set, so that each gets its own alert.

use super::alert::{Basis, FigureSource};
use super::paths::{self, PathStep};
use serde_json::Value;

/// The figures as JSON.
#[derive(Debug)]
pub(super) struct Figures(Value);

impl Figures {
    pub(super) fn of(stats: &impl serde::Serialize) -> Self {
        let value = serde_json::to_value(stats);
        debug_assert!(value.is_ok(), "there are only numbers, strings and lists");
        // In a null value, a path finds nothing.
        Self(value.unwrap_or(Value::Null))
    }
}

impl FigureSource for Figures {
    fn each(&self, path: &str, each: &mut dyn FnMut(&str, f64, Basis)) {
        let steps = paths::steps(path);
        walk(&self.0, &steps, Basis::WHOLE, String::new(), each);
    }
}

/// The number that a string stands for, because JSON has no infinite numbers.
fn infinity(text: &str) -> Option<f64> {
    match text {
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn walk(
    value: &Value,
    steps: &[PathStep],
    basis: Basis,
    labels: String,
    each: &mut dyn FnMut(&str, f64, Basis),
) {
    let Some((step, rest)) = steps.split_first() else {
        let number = match value {
            Value::Null => Some(f64::NAN),
            Value::Bool(value) => Some(f64::from(*value)),
            Value::String(text) => infinity(text),
            value => value.as_f64(),
        };
        if let Some(number) = number {
            each(&labels, number, basis);
        }
        return;
    };
    match value {
        Value::Object(members) => {
            let count = |key: &str| members.get(key).and_then(Value::as_u64);
            // A window has the number of messages that its figures rest on. The figures of all messages have the
            // number of clients that caused the last minute's errors.
            let basis = Basis {
                samples: count("count").unwrap_or(basis.samples),
                clients: match step {
                    PathStep::Named(name) if name == "last_minute" => basis.clients,
                    PathStep::Named(name) if name == "windows" => count("error_clients_last_minute"),
                    PathStep::Named(name) if rest.is_empty() && name.starts_with("error") => basis.clients,
                    _ => None,
                },
            };
            match step {
                PathStep::Any => {
                    for (name, member) in members {
                        walk(member, rest, basis, joined(&labels, name), each);
                    }
                }
                PathStep::Named(name) => {
                    if let Some(member) = members.get(name) {
                        walk(member, rest, basis, labels, each);
                    }
                }
            }
        }
        Value::Array(elements) => {
            for (place, element) in elements.iter().enumerate() {
                let name = name_of(element).unwrap_or_else(|| place.to_string());
                match step {
                    PathStep::Any => walk(element, rest, basis, joined(&labels, &name), each),
                    PathStep::Named(wanted) if *wanted == name => {
                        walk(element, rest, basis, labels.clone(), each);
                    }
                    PathStep::Named(_) => {}
                }
            }
        }
        // The metric exists and has no value.
        Value::Null => each(&labels, f64::NAN, basis),
        _ => {}
    }
}

/// The label set of an element inside another. If there are two elements, only the inner one's name can contain an
/// unescaped slash.
fn joined(labels: &str, name: &str) -> String {
    if labels.is_empty() { name.to_owned() } else { format!("{labels}/{name}") }
}

/// The name of a list element; `None` if it is identified by its index.
fn name_of(element: &Value) -> Option<String> {
    let text = |key: &str| element.get(key).and_then(Value::as_str);
    // Machines and links of a cluster are known by the machine.
    if let Some(name) = text("name").or_else(|| text("machine")).filter(|name| !name.is_empty()) {
        return Some(
            text("protocol").map_or_else(|| name.to_owned(), |protocol| paths::element(protocol, name)),
        );
    }
    let labels = element.get("labels")?.as_array()?;
    Some(paths::series(labels.iter().filter_map(|label| label.get(1)?.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f64 = -1.0;

    fn found(path: &str) -> Vec<(String, f64, u64)> {
        let figures = Figures(serde_json::json!({
            "system": {"memory": {"resident_bytes": 7}},
            "messages": {"windows": {"last_minute": {"count": 20, "error_rate": 0.5, "p99": null}}},
            "types": [
                {"name": "OFFER", "protocol": "peerjs", "windows": {"last_minute": {"count": 3, "p99": 9}}},
                {"name": "other", "protocol": "", "windows": null},
                {"name": "a.b", "protocol": "", "total": 6},
                {"name": "b/c", "protocol": "a", "total": 7},
                {"name": "c", "protocol": "a/b", "total": 8},
            ],
            "failures": {"empty": 1, "not_json": 2},
            "routing": {"workers": [{"stalled": false}, {"stalled": true}]},
            "custom": {"families": [{"name": "jobs_total", "series": [
                {"labels": [["region", "eu"]], "value": 4.0}, {"labels": [["region", "us"]], "value": 5.0}]},
                {"name": "rooms", "series": [{"labels": [], "value": 9.0}]}]},
        }));
        let mut all = Vec::new();
        figures.each(path, &mut |labels, value, basis| {
            // NaN is replaced by a number that no figure has, so that it can be compared.
            all.push((labels.to_owned(), if value.is_nan() { NONE } else { value }, basis.samples));
        });
        all
    }

    #[test]
    fn label_values_with_commas_are_told_apart() {
        let series = |first: &str, second: &str| serde_json::json!({"labels": [["a", first], ["b", second]], "value": 1});
        let both = [series("x,y", "z"), series("x", "y,z"), series("x\\", "y\\,z")];
        let figures = Figures(serde_json::json!({ "series": both }));
        let mut labels = Vec::new();
        figures.each("series.*.value", &mut |name, _, _| labels.push(name.to_owned()));
        assert_eq!(labels, ["x\\,y,z", "x,y\\,z", "x\\\\,y\\\\\\,z"]);
        figures.each("series.x\\,y,z.value", &mut |name, value, _| assert_eq!((name, value), ("", 1.0)));
    }

    #[test]
    fn a_path_leads_to_its_numbers() {
        let one = |labels: &str, value, samples| (labels.to_owned(), value, samples);
        assert_eq!(found("system.memory.resident_bytes"), [one("", 7.0, u64::MAX)]);
        assert_eq!(found("messages.windows.last_minute.error_rate"), [one("", 0.5, 20)]);
        let offer = one("peerjs/OFFER", 9.0, 3);
        assert_eq!(found("types.*.windows.last_minute.p99"), [offer, one("other", NONE, u64::MAX)]);
        assert_eq!(found("messages.windows.last_minute.p99"), [one("", NONE, 20)]);
        assert_eq!(found("types.peerjs/OFFER.windows.last_minute.p99"), [one("", 9.0, 3)]);
        assert_eq!(found(r"types.a\.b.total"), [one("", 6.0, u64::MAX)]);
        assert_eq!(found(r"types.a/b\/c.total"), [one("", 7.0, u64::MAX)]);
        assert_eq!(found(r"types.a\/b/c.total"), [one("", 8.0, u64::MAX)]);
        assert_eq!(found("failures.not_json"), [one("", 2.0, u64::MAX)]);
        let by_reason = [one("empty", 1.0, u64::MAX), one("not_json", 2.0, u64::MAX)];
        assert_eq!(found("failures.*"), by_reason);
        assert_eq!(found("custom.families.rooms.series.unlabelled.value"), [one("", 9.0, u64::MAX)]);
        let all = [("jobs_total/eu", 4.0), ("jobs_total/us", 5.0), ("rooms/unlabelled", 9.0)];
        let all = all.map(|(labels, value)| one(labels, value, u64::MAX));
        assert_eq!(found("custom.families.*.series.*.value"), all);
        let stalled = [one("0", 0.0, u64::MAX), one("1", 1.0, u64::MAX)];
        assert_eq!(found("routing.workers.*.stalled"), stalled);
        assert_eq!(found("custom.families.jobs_total.series.us.value"), [one("", 5.0, u64::MAX)]);
        let both = [one("eu", 4.0, u64::MAX), one("us", 5.0, u64::MAX)];
        assert_eq!(found("custom.families.jobs_total.series.*.value"), both);
        for nothing in [
            "",
            "messages",
            "messages.windows.last_minute.p98",
            "types.peerjs/ANSWER.total",
            "types.a.b.total",
            "a.b",
        ] {
            assert_eq!(found(nothing), [], "{nothing}");
        }
    }
}
