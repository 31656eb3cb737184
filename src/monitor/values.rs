//! A metric by its name, for alert rules: the path of a number in the JSON of the figures, such as
//! `messages.windows.last_minute.error_rate`. In a list, `*` stands for every element and gives each an alert of its own;
//! a name picks one. So whatever a report shows can be watched, and its schema lists what there is.

use super::alert::{Basis, Values};
use serde_json::Value;

/// The figures as JSON.
#[derive(Debug)]
pub(super) struct Figures(Value);

impl Figures {
    pub(super) fn of(stats: &impl serde::Serialize) -> Self {
        // Numbers, texts and lists always serialise; a path into nothing finds nothing.
        Self(serde_json::to_value(stats).unwrap_or(Value::Null))
    }
}

impl Values for Figures {
    fn each(&self, path: &str, each: &mut dyn FnMut(&str, f64, Basis)) {
        let steps: Vec<_> = path.split('.').collect();
        walk(&self.0, &steps, Basis::WHOLE, String::new(), each);
    }
}

/// The text that stands for a number that JSON has not.
fn infinity(text: &str) -> Option<f64> {
    match text {
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn walk(value: &Value, steps: &[&str], basis: Basis, labels: String, each: &mut dyn FnMut(&str, f64, Basis)) {
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
            // A window says of how many messages its figures are, and all messages together of how many clients the last
            // minute's errors are.
            let basis = Basis {
                samples: count("count").unwrap_or(basis.samples),
                clients: match *step {
                    "last_minute" => basis.clients,
                    "windows" => count("error_clients_last_minute"),
                    _ if rest.is_empty() && step.starts_with("error") => basis.clients,
                    _ => None,
                },
            };
            if let Some(member) = members.get(*step) {
                walk(member, rest, basis, labels, each);
            }
        }
        Value::Array(elements) => {
            for (place, element) in elements.iter().enumerate() {
                let name = name_of(element).unwrap_or_else(|| place.to_string());
                // A name may have dots of its own.
                let length = name.matches('.').count() + 1;
                let (labels, rest) = match *step {
                    "*" if labels.is_empty() => (name, rest),
                    "*" => (format!("{labels} {name}"), rest),
                    _ if steps.get(..length).is_some_and(|steps| steps.join(".") == name) => {
                        (labels.clone(), steps.get(length..).unwrap_or_default())
                    }
                    _ => continue,
                };
                walk(element, rest, basis, labels, each);
            }
        }
        // It is there, and has no value.
        Value::Null => each(&labels, f64::NAN, basis),
        _ => {}
    }
}

/// What an element of a list is called: by its name, with its protocol; by its label values; or `None`, by its place.
fn name_of(element: &Value) -> Option<String> {
    let text = |key: &str| element.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(name) = text("name") {
        return Some(match text("protocol") {
            Some(protocol) => format!("{protocol}/{name}"),
            None => name.to_owned(),
        });
    }
    let labels = element.get("labels")?.as_array()?;
    let labels = labels.iter().filter_map(|label| label.get(1)?.as_str());
    // So that two sets of values are never one alert: a comma inside a value is told from one between two.
    let values: Vec<_> = labels.map(|value| value.replace('\\', "\\\\").replace(',', "\\,")).collect();
    Some(values.join(","))
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
            ],
            "routing": {"workers": [{"stalled": false}, {"stalled": true}]},
            "custom": {"families": [{"name": "jobs_total", "series": [
                {"labels": [["region", "eu"]], "value": 4.0}, {"labels": [["region", "us"]], "value": 5.0}]}]},
        }));
        let mut all = Vec::new();
        figures.each(path, &mut |labels, value, basis| {
            // Told apart from nothing by a number that no figure has.
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
        assert_eq!(found("types.a.b.total"), [one("", 6.0, u64::MAX)]);
        let stalled = [one("0", 0.0, u64::MAX), one("1", 1.0, u64::MAX)];
        assert_eq!(found("routing.workers.*.stalled"), stalled);
        assert_eq!(found("custom.families.jobs_total.series.us.value"), [one("", 5.0, u64::MAX)]);
        let both = [one("eu", 4.0, u64::MAX), one("us", 5.0, u64::MAX)];
        assert_eq!(found("custom.families.jobs_total.series.*.value"), both);
        for nothing in
            ["", "messages", "messages.windows.last_minute.p98", "types.peerjs/ANSWER.total", "a.b"]
        {
            assert_eq!(found(nothing), [], "{nothing}");
        }
    }
}
