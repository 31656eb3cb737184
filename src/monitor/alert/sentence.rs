//! The message of an alert: one sentence with value, threshold, unit and label set. `watched` writes it.

use super::machine::{Basis, Direction, Zone};
use super::rule::Rule;
use super::{Alert, AlertState};

/// The kind of reading of the last evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A value: the alert's `current_value`.
    Value,
    /// No value. The alert's `current_value` is from an earlier evaluation.
    Nothing,
    /// A value that rests on too few samples or clients. The alert's `current_value` is from an earlier evaluation.
    TooFew(Basis),
}

/// The sentence for an alert. `said` is the kind of its last reading, `basis` the samples and clients of its value.
pub(super) fn sentence(rule: &Rule, alert: &Alert, said: Said, basis: Basis) -> String {
    let subject = subject(rule, &alert.label_set);
    let [value, passed, clear] =
        [alert.current_value, alert.threshold, rule.terms.clear].map(|number| amount(number, &rule.unit));
    let (bad, good) = match rule.terms.direction {
        Direction::Above => ("above", "below"),
        Direction::Below => ("below", "above"),
    };
    let now = match said {
        Said::Value => format!("{subject} is {value}{}", of(rule, basis)),
        Said::Nothing => {
            format!("{subject} has no value at present; the last value was {value}{}", of(rule, basis))
        }
        Said::TooFew(few) => {
            format!("{subject} has too little data{}; the last value was {value}", of(rule, few))
        }
    };
    let beyond = said == Said::Value && rule.terms.zone(alert.current_value) == Zone::Beyond;
    match alert.state {
        AlertState::Pending => {
            format!("{now}, {bad} the threshold of {passed}, but not yet for long enough")
        }
        AlertState::Firing if beyond => format!("{now}, {bad} the threshold of {passed}"),
        AlertState::Firing | AlertState::Recovering => {
            let past = format!("it was {bad} the threshold of {passed}");
            match said {
                Said::Value => format!("{now}; {past} and must stay {good} {clear} to resolve"),
                _ => format!("{now}; {past}, and the alert resolves if no valid value follows"),
            }
        }
        AlertState::Resolved if rule.terms.trigger != alert.threshold => {
            let trigger = amount(rule.terms.trigger, &rule.unit);
            format!("{now}; it was {bad} the threshold of {passed}, which has since changed to {trigger}")
        }
        AlertState::Resolved if said == Said::Value => {
            format!("{now}, no longer {bad} the threshold of {passed}")
        }
        AlertState::Resolved => format!("{now}, {bad} the threshold of {passed}"),
    }
}

/// The number of messages, and of clients with errors, that a rate or a percentile rests on.
fn of(rule: &Rule, basis: Basis) -> String {
    if basis.samples == u64::MAX || rule.terms.min_samples == 0 {
        return String::new();
    }
    let plural = |count: u64, name: &str| format!("{count} {name}{}", if count == 1 { "" } else { "s" });
    let clients = match basis.clients {
        Some(clients) => format!(", errors from {}", plural(clients, "client")),
        None => String::new(),
    };
    format!(" (of {}{clients})", plural(basis.samples, "message"))
}

/// The sentence for an alert whose rule was removed or whose label set is gone.
pub(super) fn farewell(rule: &Rule, label_set: &str, value: f64) -> String {
    let (subject, value) = (subject(rule, label_set), amount(value, &rule.unit));
    format!("{subject} is no longer watched; the last value was {value}")
}

fn subject(rule: &Rule, label_set: &str) -> String {
    let text = if rule.text.is_empty() { &rule.metric } else { &rule.text };
    // Peers choose names: escape line breaks and terminal control characters.
    if label_set.is_empty() { text.clone() } else { format!("{text} ({})", label_set.escape_debug()) }
}

const BYTES: &[(f64, &str)] = &[
    (1.0, "bytes"),
    (1024.0, "KiB"),
    (1_048_576.0, "MiB"),
    (1_073_741_824.0, "GiB"),
    (1_099_511_627_776.0, "TiB"),
];
const TIMES: &[(f64, &str)] = &[(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")];

/// A number with its unit, in readable form.
pub(super) fn amount(value: f64, unit: &str) -> String {
    match unit {
        _ if value.is_infinite() => if value > 0.0 { "infinite" } else { "infinitely negative" }.to_owned(),
        "bytes" => scaled(value, BYTES),
        "nanoseconds" => scaled(value, TIMES),
        "share" => format!("{} %", number(value * 100.0)),
        "" => number(value),
        unit => format!("{} {unit}", number(value)),
    }
}

/// Uses the largest unit in which the value is at least 1.
fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    let fitting = units.iter().rev().find(|(size, _)| value.abs() >= *size);
    let (size, name) = fitting.or(units.first()).copied().unwrap_or((1.0, ""));
    format!("{} {name}", number(value / size))
}

/// At most two decimals. A number that would be too long, or 0 at two decimals, gets an exponent.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(0.01..1e15).contains(&magnitude) {
        return format!("{value:.2e}");
    }
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::watched::{EvaluationTime, Watched};
    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        for (value, unit, text) in [
            (0.0, "bytes", "0 bytes"),
            (1023.0, "bytes", "1023 bytes"),
            (1.5 * 1024.0 * 1024.0 * 1024.0, "bytes", "1.5 GiB"),
            (999.0, "nanoseconds", "999 ns"),
            (1_250_000.0, "nanoseconds", "1.25 ms"),
            (2e9, "nanoseconds", "2 s"),
            (0.0525, "share", "5.25 %"),
            (1e-9, "share", "1.00e-7 %"),
            (100.0, "connections", "100 connections"),
            (-1.0, "", "-1"),
            (1e300, "", "1.00e300"),
        ] {
            assert_eq!(amount(value, unit), text);
        }
    }

    /// The sentence for an alert that has passed the rule's trigger.
    fn said(rule: &Rule, label_set: &str, state: AlertState, value: f64, basis: Basis) -> String {
        let moment = EvaluationTime { now: 0, wall: 0, round: 0 };
        let mut alert = Watched::new(rule, label_set, moment).into_alert();
        (alert.state, alert.current_value) = (state, value);
        sentence(rule, &alert, Said::Value, basis)
    }

    #[test]
    fn each_state_has_its_sentence() {
        let rule =
            Rule::above("p99", "types.*.p99", 2e9).clear(1e9).unit("nanoseconds").text("Handling time");
        for (state, value, text) in [
            (
                AlertState::Pending,
                3e9,
                "Handling time (offer) is 3 s, above the threshold of 2 s, but not yet for long enough",
            ),
            (AlertState::Firing, 3e9, "Handling time (offer) is 3 s, above the threshold of 2 s"),
            (
                AlertState::Firing,
                1.5e9,
                "Handling time (offer) is 1.5 s; it was above the threshold of 2 s and must stay below 1 s to resolve",
            ),
            (
                AlertState::Resolved,
                5e8,
                "Handling time (offer) is 500 ms, no longer above the threshold of 2 s",
            ),
        ] {
            assert_eq!(said(&rule, "offer", state, value, Basis::WHOLE), text);
        }
        let rule = Rule::below("idle", "workers.idle", 1.0);
        assert_eq!(
            said(&rule, "", AlertState::Firing, 0.0, Basis::WHOLE),
            "workers.idle is 0, below the threshold of 1"
        );
        assert_eq!(farewell(&rule, "", 0.0), "workers.idle is no longer watched; the last value was 0");
    }

    #[test]
    fn a_rate_says_of_what() {
        let rule = Rule::above("rate", "rate", 0.05).unit("share").min_samples(1);
        for (samples, clients, text) in [
            (
                100,
                Some(1),
                "rate is 10 % (of 100 messages, errors from 1 client), above the threshold of 5 %",
            ),
            (1, Some(2), "rate is 10 % (of 1 message, errors from 2 clients), above the threshold of 5 %"),
            (100, None, "rate is 10 % (of 100 messages), above the threshold of 5 %"),
        ] {
            assert_eq!(said(&rule, "", AlertState::Firing, 0.1, Basis { samples, clients }), text);
        }
    }
}
