//! One rule over one label set: its machine, and the alert that describes it. `rules` has up to 16 per rule.

use super::journal::Journal;
use super::machine::{Change, Machine, State, Step};
use super::rule::Rule;
use super::sentence::{farewell, sentence};
use super::{Alert, AlertState, Transitions};

/// When an evaluation takes place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Monotonic nanoseconds: for durations.
    pub(super) now: u64,
    /// Milliseconds since 1970: for people.
    pub(super) wall: u64,
    /// The evaluation's number.
    pub(super) round: u64,
}

/// What one evaluation has found for a label set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) value: f64,
    pub(super) samples: u64,
}

#[derive(Debug)]
pub(super) struct Watched {
    machine: Machine,
    alert: Alert,
    samples: u64,
    /// The last evaluation that stepped it.
    pub(super) round: u64,
}

impl Watched {
    pub(super) fn new(rule: &Rule, label_set: &str, moment: Moment) -> Self {
        let id = match label_set {
            "" => rule.name.clone(),
            _ => format!("{}/{label_set}", rule.name),
        };
        let alert = Alert {
            id,
            name: rule.name.clone(),
            severity: rule.severity,
            state: AlertState::Resolved,
            notification: None,
            message: String::new(),
            details: Vec::new(),
            metric: rule.metric.clone(),
            label_set: label_set.to_owned(),
            threshold: rule.terms.trigger,
            current_value: 0.0,
            since: moment.wall,
            raised: None,
            resolved: None,
        };
        Self { machine: Machine::default(), alert, samples: 0, round: 0 }
    }

    pub(super) fn label_set(&self) -> &str {
        &self.alert.label_set
    }

    /// As it is now; nothing where it is over.
    pub(super) fn alert(&self) -> Option<&Alert> {
        (self.machine.state() != State::Inactive).then_some(&self.alert)
    }

    pub(super) fn is_forgettable(&self, rule: &Rule, moment: Moment) -> bool {
        self.machine.is_forgettable(&rule.terms, moment.now)
    }

    /// Takes this evaluation's reading, or that there is none.
    pub(super) fn step(
        &mut self,
        rule: &Rule,
        reading: Option<Reading>,
        moment: Moment,
        transitions: &mut Transitions,
        journal: &mut Journal,
    ) {
        self.round = moment.round;
        let usable = reading.filter(|reading| rule.terms.input(reading.value, reading.samples).is_some());
        if let Some(reading) = usable {
            (self.alert.current_value, self.samples) = (reading.value, reading.samples);
        }
        let step = self.machine.step(&rule.terms, usable.map(|reading| reading.value), moment.now);
        self.describe(rule, step, moment);
        journal.enter(step, &self.alert, transitions);
    }

    /// Its rule is gone, or what it was about.
    pub(super) fn end(
        &mut self,
        rule: &Rule,
        moment: Moment,
        reason: &str,
        transitions: &mut Transitions,
        journal: &mut Journal,
    ) {
        self.round = moment.round;
        let step = self.machine.end(moment.now);
        self.describe(rule, step, moment);
        self.alert.message = farewell(rule, &self.alert.label_set, self.alert.current_value);
        self.alert.details.push(("ended".to_owned(), reason.to_owned()));
        journal.enter(step, &self.alert, transitions);
    }

    /// Brings the alert up to date with the machine and the rule.
    fn describe(&mut self, rule: &Rule, step: Step, moment: Moment) {
        let alert = &mut self.alert;
        let pended = matches!(step.change, Some(Change::Pending));
        let raised_at_once = step.change == Some(Change::Raised) && alert.state == AlertState::Resolved;
        if pended || raised_at_once {
            (alert.since, alert.raised, alert.resolved, alert.notification) = (moment.wall, None, None, None);
        }
        match step.change {
            Some(Change::Raised) => alert.raised = Some(moment.wall),
            Some(Change::Resolved) => alert.resolved = Some(moment.wall),
            _ => {}
        }
        alert.state = match self.machine.state() {
            State::Inactive => AlertState::Resolved,
            State::Pending { .. } => AlertState::Pending,
            State::Firing => AlertState::Firing,
            State::Recovering { .. } => AlertState::Recovering,
        };
        alert.notification = step.notification.or(alert.notification);
        (alert.severity, alert.threshold) = (rule.severity, rule.terms.trigger);
        alert.message = sentence(rule, &alert.label_set, alert.state, alert.current_value);
        alert.details = details(rule, self.samples);
    }
}

fn details(rule: &Rule, samples: u64) -> Vec<(String, String)> {
    let terms = &rule.terms;
    let milliseconds = |nanoseconds: u64| (nanoseconds / 1_000_000).to_string();
    let mut details = vec![
        ("clear", terms.clear.to_string()),
        ("pending_for_ms", milliseconds(terms.pending)),
        ("keep_firing_for_ms", milliseconds(terms.keep)),
        ("samples", samples.to_string()),
        ("min_samples", terms.min_samples.to_string()),
    ];
    if !rule.unit.is_empty() {
        details.push(("unit", rule.unit.clone()));
    }
    details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
