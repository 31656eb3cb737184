//! The table of rules, fed with hand-written readings.

use super::super::super::paths::Kept;
use super::super::journal::HISTORY;
use super::super::machine::Basis;
use super::super::{Alert, AlertState, Notification, Rule, Severity};
use super::{FigureSource, ListenerLosses, MAX_LABEL_SET, MAX_LABEL_SETS, MAX_RULES, RuleTable};
use crate::config::Key;
use crate::error::RuleError;
use std::collections::BTreeMap;
use std::time::Duration;

/// A monitor that keeps all figures.
const ALL: Kept = Kept { metrics: true, details: true, routing: true };

/// (metric, label set) → (value, samples).
#[derive(Default)]
struct Readings(BTreeMap<(String, String), (f64, u64)>);

impl Readings {
    fn of(values: &[(&str, &str, f64)]) -> Self {
        let entry = |(metric, label_set, value): &(&str, &str, f64)| {
            (((*metric).to_owned(), (*label_set).to_owned()), (*value, 100))
        };
        Self(values.iter().map(entry).collect())
    }
}

impl FigureSource for Readings {
    fn each(&self, metric: &str, found: &mut dyn FnMut(&str, f64, Basis)) {
        for ((name, label_set), (value, samples)) in &self.0 {
            if name == metric {
                found(label_set, *value, Basis { samples: *samples, clients: None });
            }
        }
    }
}

/// Rules, and a clock that advances by one second with each evaluation.
#[derive(Default)]
struct Bench {
    rules: RuleTable,
    seconds: u64,
}

impl Bench {
    fn with(rules: impl IntoIterator<Item = Rule>) -> Self {
        let mut bench = Self::default();
        for rule in rules {
            bench.rules.add(rule).unwrap();
        }
        bench
    }

    fn evaluate(&mut self, values: &[(&str, &str, f64)]) -> Vec<Alert> {
        self.seconds += 1;
        let (now, wall) = (self.seconds * 1_000_000_000, 1_000_000 + self.seconds);
        self.rules.evaluate(now, wall, &Readings::of(values))
    }

    /// The id and kind of each notification.
    fn told(&mut self, values: &[(&str, &str, f64)]) -> Vec<(String, Notification)> {
        let told = self.evaluate(values);
        told.into_iter().map(|alert| (alert.id, alert.notification.unwrap())).collect()
    }
}

fn told(id: &str, notification: Notification) -> Vec<(String, Notification)> {
    vec![(id.to_owned(), notification)]
}

fn memory() -> Rule {
    Rule::above("memory", "system.memory.resident_bytes", 1024.0)
        .clear(512.0)
        .severity(Severity::Critical)
        .unit("bytes")
        .text("Resident memory")
        .cooldown(Duration::ZERO)
}

#[test]
fn an_alert_says_all_about_itself() {
    let mut bench = Bench::with([memory().pending_for(Duration::from_secs(1))]);
    assert_eq!(bench.evaluate(&[("system.memory.resident_bytes", "", 2000.0)]), []);
    assert_eq!(bench.evaluate(&[("system.memory.resident_bytes", "", 2000.0)]), []);
    let raised = bench.evaluate(&[("system.memory.resident_bytes", "", 2048.0)]).pop().unwrap();
    assert_eq!(
        (raised.id.as_str(), raised.name.as_str(), raised.label_set.as_str()),
        ("memory", "memory", "")
    );
    assert_eq!((raised.severity, raised.state), (Severity::Critical, AlertState::Firing));
    assert_eq!(
        (raised.threshold, raised.current_value, raised.metric.as_str()),
        (1024.0, 2048.0, "system.memory.resident_bytes")
    );
    assert_eq!((raised.since, raised.raised, raised.resolved), (1_000_001, Some(1_000_003), None));
    assert_eq!(raised.message, "Resident memory is 2 KiB, above the threshold of 1 KiB");
    let details =
        ["trigger", "clear", "pending_for_ms", "keep_firing_for_ms", "min_samples", "samples", "unit"];
    assert_eq!(raised.details.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), details);
    assert!(raised.details.contains(&("pending_for_ms".to_owned(), "1000".to_owned())));
    let over = bench.evaluate(&[("system.memory.resident_bytes", "", 100.0)]).pop().unwrap();
    assert_eq!((over.state, over.notification), (AlertState::Resolved, Some(Notification::Resolved)));
    assert_eq!((over.since, over.raised, over.resolved), (1_000_001, Some(1_000_003), Some(1_000_004)));
    assert_eq!(bench.rules.figures(ListenerLosses::default(), ALL).history, [over]);
}

#[test]
fn a_second_occurrence_knows_nothing_of_the_first() {
    let mut bench = Bench::with([memory().cooldown(Duration::from_secs(60))]);
    assert_eq!(
        bench.told(&[("system.memory.resident_bytes", "", 2000.0)]),
        told("memory", Notification::Raised)
    );
    assert_eq!(
        bench.told(&[("system.memory.resident_bytes", "", 1.0)]),
        told("memory", Notification::Resolved)
    );
    assert_eq!(bench.told(&[("system.memory.resident_bytes", "", 3000.0)]), []);
    let figures = bench.rules.figures(ListenerLosses::default(), ALL);
    let current = figures.current.first().unwrap();
    assert_eq!((current.notification, current.since, current.resolved), (None, 1_000_003, None));
    assert_eq!(bench.told(&[("system.memory.resident_bytes", "", 1.0)]), []);
    let figures = bench.rules.figures(ListenerLosses::default(), ALL);
    assert_eq!((figures.raised, figures.resolved, figures.withheld), (2, 2, 1));
    assert_eq!(figures.history.len(), 2);
}

#[test]
fn figures_are_what_has_happened() {
    let pending = Rule::above("late", "connections.active", 0.5).pending_for(Duration::from_secs(60));
    let repeated = memory().repeat_interval(Duration::from_secs(1)).keep_firing_for(Duration::from_secs(1));
    let mut bench = Bench::with([repeated, pending]);
    for bytes in [2000.0, 2000.0, 100.0, 2000.0, 100.0] {
        bench.evaluate(&[("system.memory.resident_bytes", "", bytes), ("connections.active", "", 1.0)]);
    }
    let figures = bench.rules.figures(ListenerLosses { dropped: 3, panics: 4 }, ALL);
    let ids = |alerts: &[Alert]| alerts.iter().map(|alert| alert.id.clone()).collect::<Vec<_>>();
    assert_eq!(
        (ids(&figures.current), ids(&figures.pending)),
        (vec!["memory".to_owned()], vec!["late".to_owned()])
    );
    assert_eq!(figures.current.first().unwrap().state, AlertState::Recovering);
    assert_eq!((figures.raised, figures.resolved, figures.repeated), (1, 0, 1));
    assert_eq!((figures.notifications_dropped, figures.callback_panics), (3, 4));
    let [memory, late] = figures.rules.as_slice() else { panic!() };
    let counts = |rule: &super::RuleFigures| {
        let transitions = rule.transitions;
        [transitions.pending, transitions.firing, transitions.recovering, transitions.resolved]
    };
    assert_eq!((counts(memory), memory.firing, memory.pending), ([0, 1, 2, 0], 1, 0));
    assert_eq!((counts(late), late.firing, late.pending), ([1, 0, 0, 0], 0, 1));
    let json = serde_json::to_value(&figures).unwrap();
    assert_eq!(json["current"][0]["severity"], "critical");
    assert_eq!(json["current"][0]["state"], "recovering");
}

#[test]
fn each_label_set_has_an_alert_up_to_the_bound() {
    let mut bench = Bench::with([Rule::above("p99", "types.*.latency.p99", 10.0).cooldown(Duration::ZERO)]);
    let labels: Vec<_> = (0..MAX_LABEL_SETS + 3).map(|number| format!("type{number:02}")).collect();
    let all = |value: f64| labels.iter().map(move |label| ("types.*.latency.p99", label.as_str(), value));
    // Label sets below the trigger take no place.
    assert_eq!(bench.told(&all(9.0).collect::<Vec<_>>()), []);
    let raised = bench.told(&all(11.0).collect::<Vec<_>>());
    let expected: Vec<_> = labels.iter().take(MAX_LABEL_SETS).map(|label| format!("p99/{label}")).collect();
    assert_eq!(raised.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), expected);
    let figures = bench.rules.figures(ListenerLosses::default(), ALL);
    assert_eq!((figures.current.len(), figures.label_sets_folded), (MAX_LABEL_SETS, 3));
    assert_eq!(figures.rules.first().unwrap().label_sets_folded, 3);
    // A resolved alert makes room.
    let mut values: Vec<_> = all(11.0).collect();
    values[0].2 = 1.0;
    let both = [told("p99/type00", Notification::Resolved), told("p99/type16", Notification::Raised)];
    assert_eq!(bench.told(&values), both.concat());
}

#[test]
fn a_label_set_that_is_too_long_is_counted() {
    let mut bench = Bench::with([memory()]);
    let (fitting, long) = ("x".repeat(MAX_LABEL_SET), "x".repeat(MAX_LABEL_SET + 1));
    assert_eq!(
        bench
            .evaluate(&[
                ("system.memory.resident_bytes", &fitting, 2000.0),
                ("system.memory.resident_bytes", &long, 2000.0)
            ])
            .len(),
        1
    );
    assert_eq!(bench.rules.figures(ListenerLosses::default(), ALL).label_sets_folded, 1);
}

#[test]
fn a_label_set_that_vanishes_is_over() {
    let mut bench = Bench::with([memory().keep_firing_for(Duration::from_secs(1))]);
    assert_eq!(
        bench.told(&[("system.memory.resident_bytes", "a", 2000.0)]),
        told("memory/a", Notification::Raised)
    );
    // As with a value past the clear value: resolved only after the keep time.
    assert_eq!(bench.told(&[("system.memory.resident_bytes", "b", 1.0)]), []);
    assert_eq!(
        bench.told(&[("system.memory.resident_bytes", "b", 1.0)]),
        told("memory/a", Notification::Resolved)
    );
    assert_eq!(bench.rules.figures(ListenerLosses::default(), ALL).current.len(), 0);
}

#[test]
fn too_few_samples_change_nothing() {
    let mut rules = RuleTable::new();
    rules.add(memory().min_samples(20)).unwrap();
    for (second, samples, count) in [(1, 19, 0), (2, 20, 1)] {
        let readings =
            Readings([(("system.memory.resident_bytes".into(), String::new()), (2000.0, samples))].into());
        assert_eq!(rules.evaluate(second * 1_000_000_000, second, &readings).len(), count);
    }
}

/// A source that reports each label set twice.
struct Twice(f64, f64);

impl FigureSource for Twice {
    fn each(&self, _metric: &str, found: &mut dyn FnMut(&str, f64, Basis)) {
        found("", self.0, Basis::WHOLE);
        found("", self.1, Basis::WHOLE);
    }
}

#[test]
fn the_first_of_two_readings_counts() {
    let mut rules = RuleTable::new();
    rules.add(memory()).unwrap();
    assert_eq!(rules.evaluate(1, 1, &Twice(2000.0, 1.0)).len(), 1);
    assert_eq!(rules.evaluate(2, 2, &Twice(2000.0, 1.0)).len(), 0);
}

#[test]
fn what_is_not_beyond_a_new_threshold_is_over_and_says_which_it_had_passed() {
    let mut bench = Bench::with([memory().keep_firing_for(Duration::from_secs(60))]);
    let values = [("system.memory.resident_bytes", "", 2048.0)];
    assert_eq!(bench.told(&values), told("memory", Notification::Raised));
    bench.rules.set_threshold("memory", 2000.0, 1500.0).unwrap();
    assert_eq!(bench.told(&values), []);
    assert_eq!(
        bench.rules.figures(ListenerLosses::default(), ALL).current.first().unwrap().threshold,
        2000.0
    );
    // Between the new thresholds: without the change rule, nothing would ever resolve the alert.
    bench.rules.set_threshold("memory", 4096.0, 1500.0).unwrap();
    let over = bench.evaluate(&values).pop().unwrap();
    assert_eq!((over.notification, over.threshold), (Some(Notification::Resolved), 2000.0));
    let message =
        "Resident memory is 2 KiB; it was above the threshold of 1.95 KiB, which has since changed to 4 KiB";
    assert_eq!(over.message, message);
    bench.rules.set_threshold("memory", 1.0, 1.0).unwrap();
    assert_eq!(bench.told(&values), told("memory", Notification::Raised));
    // Setting the same thresholds again changes nothing.
    bench.rules.set_threshold("memory", 1.0, 1.0).unwrap();
    assert_eq!(bench.told(&[("system.memory.resident_bytes", "", 1.0)]), []);
}

#[test]
fn what_has_no_value_or_rests_on_too_little_is_over_and_says_so() {
    let rule = || memory().keep_firing_for(Duration::from_secs(1)).min_samples(20);
    for (samples, value, message) in [
        (
            100,
            f64::NAN,
            "Resident memory has no value at present; the last value was 2 KiB (of 100 messages), above the \
             threshold of 1 KiB",
        ),
        (
            19,
            4096.0,
            "Resident memory has too little data (of 19 messages); the last value was 2 KiB, above the threshold \
             of 1 KiB",
        ),
    ] {
        let mut bench = Bench::with([rule()]);
        assert_eq!(
            bench.told(&[("system.memory.resident_bytes", "", 2048.0)]),
            told("memory", Notification::Raised)
        );
        let few = |bench: &mut Bench| {
            bench.seconds += 1;
            let key = ("system.memory.resident_bytes".to_owned(), String::new());
            let readings = Readings(BTreeMap::from([(key, (value, samples))]));
            bench.rules.evaluate(bench.seconds * 1_000_000_000, 1_000_000 + bench.seconds, &readings)
        };
        assert_eq!(few(&mut bench), []);
        let over = few(&mut bench).pop().unwrap();
        assert_eq!((over.notification, over.message.as_str()), (Some(Notification::Resolved), message));
    }
    // A metric that does not exist behaves in the same way.
    let mut bench = Bench::with([rule()]);
    assert_eq!(
        bench.told(&[("system.memory.resident_bytes", "", 2048.0)]),
        told("memory", Notification::Raised)
    );
    assert_eq!(bench.told(&[]), []);
    assert_eq!(bench.told(&[]), told("memory", Notification::Resolved));
}

#[test]
fn places_of_what_is_over_go_to_what_still_breaches() {
    let rule = Rule::above("p99", "types.*.latency.p99", 10.0).cooldown(Duration::from_secs(3600));
    let mut bench = Bench::with([rule]);
    let labels: Vec<_> = (0..MAX_LABEL_SETS + 1).map(|number| format!("type{number:02}")).collect();
    let all = |last: f64, rest: f64| -> Vec<_> {
        let value = |number| if number == MAX_LABEL_SETS { last } else { rest };
        let each = labels.iter().enumerate();
        each.map(|(number, label)| ("types.*.latency.p99", label.as_str(), value(number))).collect()
    };
    assert_eq!(bench.told(&all(11.0, 11.0)).len(), MAX_LABEL_SETS);
    assert_eq!(bench.rules.figures(ListenerLosses::default(), ALL).label_sets_folded, 1);
    // In the same look that resolves the others, although their cooldown is an hour.
    let told = bench.told(&all(11.0, 9.0));
    assert_eq!(told.len(), MAX_LABEL_SETS + 1);
    assert_eq!(told.last(), Some(&("p99/type16".to_owned(), Notification::Raised)));
}

#[test]
fn infinity_is_a_value() {
    let mut bench = Bench::with([memory()]);
    let raised = bench.evaluate(&[("system.memory.resident_bytes", "", f64::INFINITY)]).pop().unwrap();
    assert_eq!(raised.message, "Resident memory is infinite, above the threshold of 1 KiB");
    assert_eq!(serde_json::to_value(&raised).unwrap()["current_value"], "Infinity");
    assert_eq!(
        bench.told(&[("system.memory.resident_bytes", "", f64::NEG_INFINITY)]),
        told("memory", Notification::Resolved)
    );
}

#[test]
fn a_wrong_threshold_changes_nothing() {
    let mut bench = Bench::with([memory()]);
    for (trigger, clear) in [(1.0, 2.0), (f64::NAN, 0.0)] {
        assert!(matches!(
            bench.rules.set_threshold("memory", trigger, clear),
            Err(RuleError::Invalid { .. })
        ));
    }
    assert!(matches!(bench.rules.set_threshold("none", 1.0, 1.0), Err(RuleError::Unknown(_))));
    assert_eq!(bench.told(&[("system.memory.resident_bytes", "", 1000.0)]), []);
    assert_eq!(
        bench.told(&[("system.memory.resident_bytes", "", 1025.0)]),
        told("memory", Notification::Raised)
    );
}

#[test]
fn an_update_keeps_the_state_and_leaves_rules_of_the_hosts_own_alone() {
    let mut bench = Bench::with([]);
    let shipped = || memory().of_key(Key::HighMemory);
    bench.rules.add(shipped()).unwrap();
    bench.evaluate(&[("system.memory.resident_bytes", "", 2000.0)]);
    bench.rules.update(shipped().severity(Severity::Info));
    let over = bench.evaluate(&[("system.memory.resident_bytes", "", 1.0)]).pop().unwrap();
    assert_eq!((over.severity, over.notification), (Severity::Info, Some(Notification::Resolved)));
    bench.rules.remove("memory").unwrap();
    bench.rules.add(memory().severity(Severity::Critical)).unwrap();
    bench.rules.update(shipped().severity(Severity::Info));
    bench.rules.update_times(&shipped().pending_for(std::time::Duration::from_secs(9)));
    bench.rules.update(Rule::above("none", "messages.total", 1.0).of_key(Key::HighCpu));
    let figures = bench.rules.figures(ListenerLosses::default(), ALL).rules;
    assert_eq!((figures.len(), figures[0].severity), (1, Severity::Critical));
}

#[test]
fn what_is_not_there_any_more_is_over_and_makes_room() {
    let mut bench =
        Bench::with([Rule::above("hogs", "clients.by_messages.*.bytes_in", 10.0)
            .keep_firing_for(Duration::from_secs(60))]);
    let (full, none) = (|value| [("clients.by_messages.*.bytes_in", "ann", value)], []);
    assert_eq!(bench.told(&full(11.0)), told("hogs/ann", Notification::Raised));
    assert_eq!(bench.told(&full(12.0)), []);
    // An alert whose label set is gone is resolved at once, whatever its keep time.
    let over = bench.evaluate(&none).pop().unwrap();
    assert_eq!(over.notification, Some(Notification::Resolved));
    assert!(over.details.contains(&("ended".to_owned(), "its label set no longer exists".to_owned())));
    assert_eq!(bench.told(&none), []);
    let figures = bench.rules.figures(ListenerLosses::default(), ALL);
    assert_eq!((figures.current.len(), figures.raised, figures.resolved), (0, 1, 1));
}

#[test]
fn a_removed_rule_resolves_what_it_has_raised() {
    let mut bench = Bench::with([memory()]);
    bench.evaluate(&[("system.memory.resident_bytes", "", 2000.0)]);
    bench.rules.remove("memory").unwrap();
    // A new rule of the same name is a different rule. The old rule's end is notified first.
    bench.rules.add(memory()).unwrap();
    let both = bench.evaluate(&[("system.memory.resident_bytes", "", 2000.0)]);
    let told: Vec<_> = both.iter().map(|alert| alert.notification.unwrap()).collect();
    assert_eq!(told, [Notification::Resolved, Notification::Raised]);
    assert_eq!(
        both.first().unwrap().message,
        "Resident memory is no longer watched; the last value was 1.95 KiB"
    );
    assert!(matches!(bench.rules.remove("none"), Err(RuleError::Unknown(_))));
    let figures = bench.rules.figures(ListenerLosses::default(), ALL);
    assert_eq!((figures.raised, figures.resolved, figures.history.len()), (2, 1, 1));
}

#[test]
fn rules_are_bounded_and_named_once() {
    let mut rules = RuleTable::new();
    for number in 0..MAX_RULES {
        rules.add(Rule::above(&format!("rule{number}"), "messages.total", 1.0)).unwrap();
    }
    let one_more = Rule::above("one_more", "messages.total", 1.0);
    assert_eq!(rules.add(one_more.clone()), Err(RuleError::TooMany(64)));
    assert_eq!(
        rules.add(Rule::above("rule0", "messages.total", 1.0)),
        Err(RuleError::Exists("rule0".to_owned()))
    );
    assert!(matches!(rules.add(Rule::above("BAD", "messages.total", 1.0)), Err(RuleError::Invalid { .. })));
    rules.remove("rule0").unwrap();
    rules.add(one_more).unwrap();
}

#[test]
fn the_history_keeps_the_latest() {
    let mut bench = Bench::with([memory()]);
    for number in 0..HISTORY + 10 {
        bench.evaluate(&[("system.memory.resident_bytes", "", 2000.0 + number as f64)]);
        bench.evaluate(&[("system.memory.resident_bytes", "", 1.0)]);
    }
    let figures = bench.rules.figures(ListenerLosses::default(), ALL);
    assert_eq!((figures.history.len(), figures.resolved), (HISTORY, HISTORY as u64 + 10));
    let times: Vec<_> = figures.history.iter().map(|alert| alert.resolved.unwrap()).collect();
    assert!(times.is_sorted_by(|later, earlier| later > earlier));
    assert_eq!(times.first(), Some(&(1_000_000 + bench.seconds)));
}
