//! Rules for the names of the host's metrics: those of Prometheus' `promlint` (client_golang,
//! `testutil/promlint/validation.go`). They are checked at registration, so that promlint accepts every
//! exposition.

use super::{Descriptor, Kind};
use crate::error::MetricError;

/// Base units, as the suffix of a name spells them.
const UNITS: &[&str] = &[
    "seconds", "bytes", "ratio", "celsius", "kelvin", "meters", "metres", "grams", "joules", "volts",
    "amperes",
];
/// Other units, which a base unit must replace.
const OTHER_UNITS: &[&str] = &[
    "minutes",
    "hours",
    "days",
    "weeks",
    "bits",
    "percent",
    "fahrenheit",
    "rankine",
    "kelvins",
    "inches",
    "yards",
    "miles",
    "calories",
    "pounds",
    "ounces",
];
/// Prefixes that turn a base unit into another unit. promlint has `mibi`, a misspelling of `mebi`; both are
/// refused.
const PREFIXES: &[&str] = &[
    "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi", "mega", "mibi",
    "mebi", "giga", "gibi", "tera", "tebi", "peta", "pebi",
];
/// Abbreviations of units.
const ABBREVIATIONS: &[&str] =
    &["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"];
/// Words for metric types, which a name must not contain.
const TYPES: &[&str] = &["counter", "gauge", "histogram", "summary"];
/// Suffixes of the samples of histograms and counters.
const RESERVED: &[&str] = &["_bucket", "_count", "_sum", "_created", "_info"];
/// Prefixes reserved for corelane, Prometheus and its exporters.
const TAKEN: &[&str] = &["corelane_", "process_", "go_", "system_", "scrape_"];

const MAX_NAME: usize = 128;
const MAX_HELP: usize = 1_024;
pub(super) const MAX_LABELS: usize = 8;
/// Bytes of a family's texts: the name, the same again for the unit, the help, and the label names.
pub(super) const TEXT_BYTES: usize = 2 * MAX_NAME + MAX_HELP + MAX_LABELS * (MAX_NAME + 24 + 16);

/// Checks the name, unit, help and labels of a metric.
pub(super) fn check(kind: Kind, descriptor: &Descriptor) -> Result<(), MetricError> {
    let refuse = |problem| Err(MetricError::Invalid { name: shown(&descriptor.name), problem });
    let name = descriptor.name.as_str();
    if name.len() > MAX_NAME || !is_snake(name) {
        return refuse(
            "a name must be snake_case, start with a letter and have at most 128 bytes: [a-z][a-z0-9]*(_[a-z0-9]+)*",
        );
    }
    // Prometheus itself creates the metric `up` for each target.
    if name == "up" || TAKEN.iter().any(|taken| name.starts_with(taken)) {
        return refuse("this name, or its prefix, is reserved: choose another name");
    }
    if (kind == Kind::Counter) != name.ends_with("_total") {
        return refuse("the name of a counter must end in _total, and no other name may");
    }
    let stem = name.strip_suffix("_total").unwrap_or(name);
    if RESERVED.iter().any(|suffix| stem.ends_with(suffix)) {
        return refuse("this suffix is reserved for samples of histograms and counters: remove it");
    }
    if stem.split('_').any(is_no_base_unit) {
        return refuse("use base units, written out: seconds, bytes, ratio");
    }
    if stem.split('_').any(|token| TYPES.contains(&token)) {
        return refuse("a name must not contain its type: remove counter, gauge, histogram or summary");
    }
    let unit = descriptor.unit.as_str();
    let is_named = UNITS.contains(&unit) && stem.ends_with(&format!("_{unit}"));
    if !unit.is_empty() && !is_named {
        return refuse("the unit must be a base unit and the last word of the name (before _total)");
    }
    if unit.is_empty() && stem.rsplit('_').next().is_some_and(|token| UNITS.contains(&token)) {
        return refuse("the name ends in a unit: set this unit in the descriptor");
    }
    if kind == Kind::Histogram && !["seconds", "bytes"].contains(&unit) {
        return refuse("the unit of a histogram must be seconds (recorded in nanoseconds) or bytes");
    }
    let help = descriptor.help.as_str();
    if help.trim().is_empty() || help.len() > MAX_HELP || help.chars().any(char::is_control) {
        return refuse("help must be one non-empty line of at most 1,024 bytes");
    }
    check_labels(descriptor)
}

fn check_labels(descriptor: &Descriptor) -> Result<(), MetricError> {
    let refuse = |problem| Err(MetricError::Invalid { name: shown(&descriptor.name), problem });
    let labels = &descriptor.labels;
    if labels.len() > MAX_LABELS || descriptor.max_series == 0 {
        return refuse("a metric must have at most 8 labels and at least 1 series");
    }
    for (place, label) in labels.iter().enumerate() {
        if label.len() > MAX_NAME || !is_snake(label) || ["le", "quantile"].contains(&label.as_str()) {
            return refuse(
                "a label name must be snake_case, start with a letter, and be neither le nor quantile",
            );
        }
        if labels.iter().take(place).any(|other| other == label) {
            return refuse("a label name occurs twice");
        }
    }
    Ok(())
}

/// Whether two families would have samples of the same name.
pub(super) fn clash(one: &str, other: &str) -> bool {
    let stem = |name: &str| name.strip_suffix("_total").unwrap_or(name).to_owned();
    let (one, other) = (stem(one), stem(other));
    let makes = |one: &str, other: &str| RESERVED.iter().any(|suffix| format!("{one}{suffix}") == other);
    one == other || makes(&one, &other) || makes(&other, &one)
}

fn is_snake(name: &str) -> bool {
    let mut bytes = name.bytes();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let is_spelled = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase()) && bytes.all(allowed);
    is_spelled && !name.ends_with('_') && !name.contains("__")
}

/// Whether a word is a unit other than a base unit, or the abbreviation of a unit.
fn is_no_base_unit(word: &str) -> bool {
    let of = |word: &str, prefix: &str| {
        word.strip_prefix(prefix).is_some_and(|unit| UNITS.contains(&unit) || OTHER_UNITS.contains(&unit))
    };
    ABBREVIATIONS.contains(&word)
        || OTHER_UNITS.contains(&word)
        || PREFIXES.iter().any(|prefix| of(word, prefix))
}

/// The first 64 characters of a name, for an error text.
fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::io::Write;
    use std::process::{Command, Stdio};

    const PREFIXES: &str = "- pico nano micro milli centi deci deca hecto kilo kibi mega mibi mebi giga gibi tera tebi peta pebi";
    const WORDS: &str = "amperes bytes celsius grams joules kelvin kelvins meters metres seconds volts minutes hours days \
        weeks fahrenheit rankine inches yards miles bits calories pounds ounces s ms us ns sec b kb mb gb tb pb m h d \
        counter gauge histogram summary gauge_histogram bucket count sum created info total ratio percent done peak";

    /// The exposition of one metric for each name that passes, and the number of these names.
    fn exposition() -> (String, usize) {
        let mut names = BTreeSet::new();
        for prefix in PREFIXES.split(' ').map(|prefix| prefix.trim_matches('-')) {
            for word in WORDS.split_whitespace().map(|word| format!("{prefix}{word}")) {
                for name in [format!("job_{word}"), format!("job_{word}_done"), format!("{word}_job"), word] {
                    names.extend([format!("{name}_total"), name]);
                }
            }
        }
        let kind = |name: &str| if name.ends_with("_total") { Kind::Counter } else { Kind::Gauge };
        let passes = |name: &String| {
            let units = UNITS.iter().chain(&[""]);
            units.into_iter().any(|unit| check(kind(name), &Descriptor::new(name, "Help").unit(unit)).is_ok())
        };
        names.retain(passes);
        let lines = names.iter().map(|name| {
            let kind = if kind(name) == Kind::Counter { "counter" } else { "gauge" };
            format!("# HELP {name} Help\n# TYPE {name} {kind}\n{name} 1\n")
        });
        (lines.collect(), names.len())
    }

    #[test]
    fn promtool_finds_nothing_in_what_passes() {
        let (text, accepted) = exposition();
        assert!(accepted > 1_000, "{accepted}");
        let Ok(mut child) = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
        else {
            assert!(std::env::var_os("CORELANE_REQUIRE_ALL").is_none(), "promtool is missing: make deps");
            println!("skipped: promtool is missing");
            return;
        };
        let mut input = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}
