//! Paths of figures: the names by which rules, histories and operators refer to a number of the report.
//!
//! A path leads to a number in the JSON report. Its steps are separated by dots: `messages.windows.last_minute.p99`.
//! In a list, a step is an element's name (see [`element`] and [`series`]), or its index if the elements have no
//! names. A `*` stands for every element. Inside a name, `\.` is a dot, `\\` a backslash and `\*` an asterisk.
//!
//! `paths.txt` lists every path of the report, so that a misspelled path is refused. tests/schema.rs generates it
//! from the report's schema. In it, `*` is an element of a list, and `(a|b)` is one of the names listed.

use crate::nearest::nearest;

/// Every path that a report can have.
const PATHS: &str = include_str!("paths.txt");

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PathStep {
    Any,
    Named(String),
}

impl PathStep {
    /// The step as it stands in a path.
    fn written(&self) -> String {
        match self {
            Self::Any => "*".to_owned(),
            Self::Named(name) => as_step(name),
        }
    }
}

/// A path's steps.
pub(super) fn steps(path: &str) -> Vec<PathStep> {
    let mut steps = Vec::new();
    let (mut name, mut escaped) = (String::new(), false);
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            ('\\', Some(next @ ('.' | '\\' | '*'))) => {
                name.push(*next);
                escaped = true;
                characters.next();
            }
            ('.', _) => {
                steps.push(step(std::mem::take(&mut name), std::mem::take(&mut escaped)));
            }
            _ => name.push(character),
        }
    }
    steps.push(step(name, escaped));
    steps
}

fn step(name: String, escaped: bool) -> PathStep {
    if name == "*" && !escaped { PathStep::Any } else { PathStep::Named(name) }
}

/// A name as one step of a path, escaped.
pub(super) fn as_step(name: &str) -> String {
    let step = name.replace('\\', "\\\\").replace('.', "\\.");
    if step == "*" { "\\*".to_owned() } else { step }
}

/// The name of an element that has a protocol: `peerjs/OFFER`. A slash inside either part is written `\/`, so that
/// names are unique.
pub(super) fn element(protocol: &str, name: &str) -> String {
    let inside = |name: &str| name.replace('\\', "\\\\").replace('/', "\\/");
    if protocol.is_empty() { inside(name) } else { format!("{}/{}", inside(protocol), inside(name)) }
}

/// The name of a series of a host metric: its label values, `eu,video`. A comma inside a value is written `\,`. A
/// series without labels is named `unlabelled`.
pub(super) fn series<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let values: Vec<_> = values.map(|value| value.replace('\\', "\\\\").replace(',', "\\,")).collect();
    if values.is_empty() { "unlabelled".to_owned() } else { values.join(",") }
}

/// Why a monitor without a router has no routing figures. Such a monitor lacks them by design.
pub(super) const NO_ROUTER: &str = "there is no router";

/// Whether a report can have a number at this path.
pub(super) fn exists(path: &str) -> bool {
    let steps = steps(path);
    PATHS.lines().any(|known| {
        let mut known = known.split('.');
        steps.iter().all(|step| known.next().is_some_and(|known| fits(step, known))) && known.next().is_none()
    })
}

/// Whether a path may stand for several numbers.
pub(super) fn is_of_several(path: &str) -> bool {
    steps(path).contains(&PathStep::Any)
}

/// The text for a path that no report has: names the nearest one.
pub(super) fn unknown(path: &str) -> String {
    let written: Vec<_> = steps(path).iter().map(PathStep::written).collect();
    let known = PATHS.lines().map(|line| {
        let steps = line.split('.').enumerate().map(|(place, known)| {
            let given = written.get(place).map(String::as_str);
            let choices = known.strip_prefix('(').and_then(|known| known.strip_suffix(')'));
            match choices {
                Some(_) if given == Some("*") => "*",
                Some(choices) => nearest(given.unwrap_or_default(), choices.split('|'))[0],
                None if known == "*" => given.unwrap_or(known),
                None => known,
            }
        });
        steps.collect::<Vec<_>>()
    });
    let given: Vec<_> = written.iter().map(String::as_str).collect();
    let nearest = known.min_by_key(|known| edits(&given, known));
    let nearest = nearest.unwrap_or_default().join(".");
    format!(
        "no report has a number at this path; the nearest is {nearest:?}, and a dot in a name is written \\."
    )
}

/// What one edit of a whole step costs, in characters: `types.*.p99` is nearer to `types.*.latency.p99` than to
/// `types.*.slow`.
const STEP: usize = 2;

/// The least cost of turning one path into another, in edited characters and left out or added steps. Computed with one
/// row of Levenshtein's table.
fn edits(from: &[&str], to: &[&str]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).map(|length| length * STEP).collect();
    for one in from {
        let mut left = row[0] + STEP;
        let mut diagonal = std::mem::replace(&mut row[0], left);
        for (above, other) in row[1..].iter_mut().zip(to) {
            let replaced = diagonal + strsim::damerau_levenshtein(one, other);
            diagonal = *above;
            left = replaced.min(left + STEP).min(diagonal + STEP);
            *above = left;
        }
    }
    row[to.len()]
}

fn fits(step: &PathStep, known: &str) -> bool {
    let choices = known.strip_prefix('(').and_then(|known| known.strip_suffix(')'));
    match (step, choices) {
        (PathStep::Any, Some(_)) => true,
        (PathStep::Any, None) => known == "*",
        (PathStep::Named(name), Some(choices)) => choices.split('|').any(|choice| choice == name),
        (PathStep::Named(name), None) => known == "*" || known == name,
    }
}

/// Connection figures that need the figures of each client.
const OF_EACH_CONNECTION: &[&str] =
    &["average_duration_milliseconds", "closed_milliseconds", "healthy", "open_milliseconds", "unhealthy"];

/// The kinds of figures that a monitor keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// `enable_metrics` is on.
    pub(crate) metrics: bool,
    /// `detailed_stats` is on.
    pub(crate) details: bool,
    /// There is a router.
    pub(crate) routing: bool,
}

/// Why a figure can never have a value in a monitor that keeps `kept`. Nothing if it can have one.
pub(crate) fn missing(path: &str, kept: Kept) -> Option<&'static str> {
    let steps = steps(path);
    let name = |place: usize| match steps.get(place) {
        Some(PathStep::Named(name)) => name.as_str(),
        Some(PathStep::Any) => "*",
        None => "",
    };
    let (part, figure) = (name(0), name(1));
    let of_messages =
        matches!(part, "messages" | "types" | "protocols" | "applications" | "slow_messages" | "clients")
            || (part == "folded" && figure != "applications");
    let of_times = part == "routing" && name(steps.len() - 1) == "average_nanoseconds";
    let of_clients = part == "clients" || (part == "connections" && OF_EACH_CONNECTION.contains(&figure));
    let of_windows = matches!(part, "types" | "protocols" | "applications") && name(2) == "windows"
        || (part == "folded" && figure == "windows");
    if part == "routing" && !kept.routing {
        Some(NO_ROUTER)
    } else if (of_messages || of_times || of_clients) && !kept.metrics {
        Some("enable_metrics is off")
    } else if (of_clients || of_windows) && !kept.details {
        Some("detailed_stats is off")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_at_its_dots() {
        let named =
            |names: &[&str]| names.iter().map(|name| PathStep::Named((*name).to_owned())).collect::<Vec<_>>();
        for (path, expected) in [
            ("a.b", named(&["a", "b"])),
            (r"a\.b.c", named(&["a.b", "c"])),
            (r"a\\.b", named(&["a\\", "b"])),
            (r"a\\\.b", named(&["a\\.b"])),
            (r"x\,y.\*", named(&["x\\,y", "*"])),
            ("", named(&[""])),
            ("a.", named(&["a", ""])),
            (r"a\", named(&["a\\"])),
        ] {
            assert_eq!(steps(path), expected, "{path}");
        }
        assert_eq!(steps("a.*"), [PathStep::Named("a".to_owned()), PathStep::Any]);
        for name in ["a", "a.b", r"a\", r"a\.b", "*", r"\*", "a*", "..", ""] {
            assert_eq!(steps(&as_step(name)), [PathStep::Named(name.to_owned())], "{name}");
        }
    }

    #[test]
    fn no_two_elements_are_called_alike() {
        let names = ["a", "b", "a/b", "/", "\\", "a\\/b", "\\/", ""];
        let mut seen = std::collections::HashMap::new();
        for protocol in names {
            for name in names.into_iter().filter(|name| !name.is_empty()) {
                let before = seen.insert(element(protocol, name), (protocol, name));
                assert_eq!(before, None, "{protocol} {name}");
            }
        }
        assert_eq!(element("peerjs", "OFFER"), "peerjs/OFFER");
        assert_ne!(series(["x,y", "z"].into_iter()), series(["x", "y,z"].into_iter()));
        assert_ne!(series(["x\\", "y"].into_iter()), series(["x\\,y"].into_iter()));
    }

    #[test]
    fn the_nearest_path_keeps_the_names_that_were_given() {
        for (path, nearest) in [
            ("messages.totall", "messages.total"),
            ("message.windows.last_minute.p99", "messages.windows.last_minute.p99"),
            (r"types.peerjs/a\.b.failures.unknown_rom", r"types.peerjs/a\.b.failures.unknown_room"),
            ("messages.p99", "messages.held.p99"),
            ("types.*.p999", "types.*.latency.p999"),
            ("messages.failure.*", "messages.failures.*"),
            (
                "custom.families.jobs_total.series.unlabelled.valeu",
                "custom.families.jobs_total.series.unlabelled.value",
            ),
        ] {
            assert!(!exists(path), "{path}");
            assert!(exists(nearest), "{nearest}");
            assert!(unknown(path).contains(&format!("{nearest:?}")), "{}", unknown(path));
        }
    }

    #[test]
    fn only_paths_of_the_report_exist() {
        for path in [
            "messages.total",
            "messages.windows.last_minute.error_rate",
            "messages.failures.*",
            "messages.failures.not_json",
            "messages.failures.unknown_room",
            "types.*.windows.last_minute.p99",
            r"types.peerjs/a\.b.failures.unknown_room",
            "routing.workers.0.stalled",
            "routing.accounting.refusals.ring_full",
            "custom.families.jobs_total.series.unlabelled.value",
            "system.cpu.process_share",
        ] {
            assert!(exists(path), "{path}");
        }
        for path in [
            "",
            "messages",
            "messages.totall",
            "messages.total.",
            ".messages.total",
            "messages.*",
            "messages.failures.not_a_reason",
            "types.a.b.total",
            "types.total",
            "routing.workers.stalled",
            "custom.families.jobs_total.value",
            "clients.by_errors.ann.name",
        ] {
            assert!(!exists(path), "{path}");
        }
    }
}
