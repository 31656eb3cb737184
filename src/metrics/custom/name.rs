//! What a host's metric may be called: the rules of Prometheus' `promlint` (client_golang,
//! `testutil/promlint/validation.go`), checked when it is registered, so that every exposition is clean.

use super::{Descriptor, Kind};
use crate::error::Error;

/// Units that are base units, as a name's suffix says them.
const UNITS: &[&str] =
    &["seconds", "bytes", "ratio", "celsius", "meters", "grams", "joules", "volts", "amperes"];
/// Units that are no base units, and abbreviations: no token of a name may be one.
const NO_UNITS: &[&str] = &[
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "minutes",
    "hours",
    "days",
    "weeks",
    "bits",
    "kilobytes",
    "megabytes",
    "gigabytes",
    "kibibytes",
    "mebibytes",
    "gibibytes",
    "percent",
    "fahrenheit",
    "kelvin",
    "s",
    "ms",
    "us",
    "ns",
    "sec",
    "b",
    "kb",
    "mb",
    "gb",
    "tb",
    "pb",
    "m",
    "h",
    "d",
];
/// What a name may not say of its type.
const TYPES: &[&str] = &["counter", "gauge", "histogram", "summary"];
/// Suffixes of samples that a histogram or a counter makes.
const RESERVED: &[&str] = &["_bucket", "_count", "_sum", "_created", "_info"];
/// Families that are somebody else's.
const TAKEN: &[&str] = &["corelane_", "process_", "go_", "system_", "scrape_", "up"];

const MAX_NAME: usize = 128;
const MAX_HELP: usize = 1_024;
pub(super) const MAX_LABELS: usize = 8;

/// Whether a metric can be called and described so.
pub(super) fn check(kind: Kind, descriptor: &Descriptor) -> Result<(), Error> {
    let refuse = |problem| Err(Error::Metric { name: shown(&descriptor.name), problem });
    let name = descriptor.name.as_str();
    if name.len() > MAX_NAME || !is_snake(name) {
        return refuse("a name is snake_case, from a letter on, up to 128 bytes: [a-z][a-z0-9_]*");
    }
    if TAKEN.iter().any(|taken| name.starts_with(taken)) {
        return refuse("names that begin so are not the host's: choose another");
    }
    if (kind == Kind::Counter) != name.ends_with("_total") {
        return refuse("a counter's name ends in _total, and no other's does");
    }
    let stem = name.strip_suffix("_total").unwrap_or(name);
    if RESERVED.iter().any(|suffix| stem.ends_with(suffix)) {
        return refuse("that suffix stands for a sample of a histogram or counter: leave it out");
    }
    if stem.split('_').any(|token| NO_UNITS.contains(&token)) {
        return refuse("use base units, written out: seconds, bytes, ratio");
    }
    if stem.split('_').any(|token| TYPES.contains(&token)) {
        return refuse("a name does not say its type: leave counter, gauge, histogram and summary out");
    }
    let unit = descriptor.unit.as_str();
    let is_named = UNITS.contains(&unit) && stem.ends_with(&format!("_{unit}"));
    if !unit.is_empty() && !is_named {
        return refuse("a unit is a base unit, and the name's last word (before _total)");
    }
    if unit.is_empty() && stem.rsplit('_').next().is_some_and(|token| UNITS.contains(&token)) {
        return refuse("the name ends in a unit: give that as the unit");
    }
    if kind == Kind::Histogram && !["seconds", "bytes"].contains(&unit) {
        return refuse("a histogram is of seconds (recorded in nanoseconds) or of bytes");
    }
    if descriptor.help.trim().is_empty() || descriptor.help.len() > MAX_HELP {
        return refuse("help is a text of up to 1,024 bytes");
    }
    let labels = &descriptor.labels;
    if labels.len() > MAX_LABELS || descriptor.max_series == 0 {
        return refuse("up to 8 labels, and from 1 series on");
    }
    for (place, label) in labels.iter().enumerate() {
        if label.len() > MAX_NAME || !is_snake(label) || ["le", "quantile"].contains(&label.as_str()) {
            return refuse("a label's name is snake_case, from a letter on, and neither le nor quantile");
        }
        if labels.iter().take(place).any(|other| other == label) {
            return refuse("a label is named twice");
        }
    }
    Ok(())
}

/// Whether two families would make samples of one name.
pub(super) fn clash(one: &str, other: &str) -> bool {
    let stem = |name: &str| name.strip_suffix("_total").unwrap_or(name).to_owned();
    let (one, other) = (stem(one), stem(other));
    let makes = |one: &str, other: &str| RESERVED.iter().any(|suffix| format!("{one}{suffix}") == other);
    one == other || makes(&one, &other) || makes(&other, &one)
}

fn is_snake(name: &str) -> bool {
    let mut bytes = name.bytes();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    bytes.next().is_some_and(|byte| byte.is_ascii_lowercase()) && bytes.all(allowed)
}

/// A name for an error's text: no more of it than anyone reads.
fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}
