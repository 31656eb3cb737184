//! What a host's metric may be called: the rules of Prometheus' `promlint` (client_golang,
//! `testutil/promlint/validation.go`), checked when it is registered, so that every exposition is clean.

use super::{Descriptor, Kind};
use crate::error::Error;

/// Units that are base units, as a name's suffix says them.
const UNITS: &[&str] = &[
    "seconds", "bytes", "ratio", "celsius", "kelvin", "meters", "metres", "grams", "joules", "volts",
    "amperes",
];
/// What is measured in one of these instead.
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
/// What makes another unit of any of them. promlint's `mibi` is `mebi`; who writes it so means the same.
const PREFIXES: &[&str] = &[
    "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi", "mega", "mibi",
    "mebi", "giga", "gibi", "tera", "tebi", "peta", "pebi",
];
/// Units that are not written out.
const ABBREVIATIONS: &[&str] =
    &["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"];
/// What a name may not say of its type.
const TYPES: &[&str] = &["counter", "gauge", "histogram", "summary"];
/// Suffixes of samples that a histogram or a counter makes.
const RESERVED: &[&str] = &["_bucket", "_count", "_sum", "_created", "_info"];
/// Families that are somebody else's.
const TAKEN: &[&str] = &["corelane_", "process_", "go_", "system_", "scrape_"];

const MAX_NAME: usize = 128;
const MAX_HELP: usize = 1_024;
pub(super) const MAX_LABELS: usize = 8;
/// Bytes of a family's texts: its name, twice for its unit, its help, and its labels' names.
pub(super) const TEXT_BYTES: usize = 2 * MAX_NAME + MAX_HELP + MAX_LABELS * (MAX_NAME + 24 + 16);

/// Whether a metric can be called and described so.
pub(super) fn check(kind: Kind, descriptor: &Descriptor) -> Result<(), Error> {
    let refuse = |problem| Err(Error::Metric { name: shown(&descriptor.name), problem });
    let name = descriptor.name.as_str();
    if name.len() > MAX_NAME || !is_snake(name) {
        return refuse(
            "a name is snake_case, from a letter on, up to 128 bytes: [a-z][a-z0-9]*(_[a-z0-9]+)*",
        );
    }
    // What Prometheus itself makes of each target is called `up`.
    if name == "up" || TAKEN.iter().any(|taken| name.starts_with(taken)) {
        return refuse("names that begin so are not the host's: choose another");
    }
    if (kind == Kind::Counter) != name.ends_with("_total") {
        return refuse("a counter's name ends in _total, and no other's does");
    }
    let stem = name.strip_suffix("_total").unwrap_or(name);
    if RESERVED.iter().any(|suffix| stem.ends_with(suffix)) {
        return refuse("that suffix stands for a sample of a histogram or counter: leave it out");
    }
    if stem.split('_').any(is_no_base_unit) {
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
    let help = descriptor.help.as_str();
    if help.trim().is_empty() || help.len() > MAX_HELP || help.chars().any(char::is_control) {
        return refuse("help is one line of text, of up to 1,024 bytes");
    }
    check_labels(descriptor)
}

fn check_labels(descriptor: &Descriptor) -> Result<(), Error> {
    let refuse = |problem| Err(Error::Metric { name: shown(&descriptor.name), problem });
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
    let is_spelled = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase()) && bytes.all(allowed);
    is_spelled && !name.ends_with('_') && !name.contains("__")
}

/// Whether a word stands for a unit other than a base unit, or for any unit by its abbreviation.
fn is_no_base_unit(word: &str) -> bool {
    let of = |word: &str, prefix: &str| {
        word.strip_prefix(prefix).is_some_and(|unit| UNITS.contains(&unit) || OTHER_UNITS.contains(&unit))
    };
    ABBREVIATIONS.contains(&word)
        || OTHER_UNITS.contains(&word)
        || PREFIXES.iter().any(|prefix| of(word, prefix))
}

/// A name for an error's text: no more of it than anyone reads.
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

    /// One metric of each name that passes, as Prometheus reads it.
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
