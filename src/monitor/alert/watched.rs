//! One rule over one label set: its state machine, and the alert that describes it. `rules` keeps up to 16 per rule.

use super::journal::Journal;
use super::machine::{AlertMachine, Basis, Change, Input, MachineState, MachineStep, Zone};
use super::rule::Rule;
use super::sentence::{Said, farewell, sentence};
use super::{Alert, AlertState, Transitions};

/// The time of an evaluation.
#[derive(Clone, Copy, Debug)]
pub(super) struct EvaluationTime {
    /// Monotonic nanoseconds, for durations.
    pub(super) now: u64,
    /// Milliseconds since 1970, for display.
    pub(super) wall: u64,
    /// The evaluation's number.
    pub(super) round: u64,
}

/// The reading of one label set in one evaluation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) value: f64,
    pub(super) basis: Basis,
}

impl Reading {
    /// The value, if it rests on enough samples and clients and is not NaN.
    fn value(&self, rule: &Rule) -> Option<f64> {
        rule.terms.value(self.value, self.basis)
    }

    pub(super) fn is_beyond(&self, rule: &Rule) -> bool {
        self.value(rule).is_some_and(|value| rule.terms.zone(value) == Zone::Beyond)
    }
}

/// Why an alert is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndReason {
    Rule,
    Subject,
}

impl EndReason {
    const fn reason(self) -> &'static str {
        match self {
            Self::Rule => "the rule was removed",
            Self::Subject => "its label set no longer exists",
        }
    }
}

#[derive(Debug)]
pub(super) struct Watched {
    machine: AlertMachine,
    alert: Alert,
    /// The samples and clients of the last value.
    basis: Basis,
    /// The kind of reading of this evaluation.
    said: Said,
    /// The last evaluation that stepped it.
    pub(super) round: u64,
}

impl Watched {
    pub(super) fn new(rule: &Rule, label_set: &str, moment: EvaluationTime) -> Self {
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
        Self { machine: AlertMachine::default(), alert, basis: Basis::WHOLE, said: Said::Value, round: 0 }
    }

    #[cfg(test)]
    pub(super) fn into_alert(self) -> Alert {
        self.alert
    }

    pub(super) fn label_set(&self) -> &str {
        &self.alert.label_set
    }

    /// The alert in its present state; nothing if it is inactive.
    pub(super) fn alert(&self) -> Option<&Alert> {
        (self.machine.state() != MachineState::Inactive).then_some(&self.alert)
    }

    pub(super) fn is_forgettable(&self, rule: &Rule, moment: EvaluationTime) -> bool {
        self.machine.is_forgettable(&rule.terms, moment.now)
    }

    /// Takes this evaluation's reading, or `None` if there is none. `changed` is true if the thresholds have changed
    /// since the last evaluation.
    pub(super) fn step(
        &mut self,
        rule: &Rule,
        reading: Option<Reading>,
        changed: bool,
        moment: EvaluationTime,
        transitions: &mut Transitions,
        journal: &mut Journal,
    ) {
        self.round = moment.round;
        let value = reading.and_then(|reading| reading.value(rule));
        if let (Some(reading), Some(value)) = (reading, value) {
            (self.alert.current_value, self.basis, self.said) = (value, reading.basis, Said::Value);
        } else {
            let few = reading.filter(|reading| !reading.value.is_nan());
            self.said = few.map_or(Said::Nothing, |reading| Said::TooFew(reading.basis));
        }
        let input = match value {
            value if changed => Input::Changed(value),
            Some(value) => Input::Value(value),
            None => Input::Nothing,
        };
        let step = self.machine.step(&rule.terms, input, moment.now);
        if value.is_some_and(|value| rule.terms.zone(value) == Zone::Beyond) {
            // The alert keeps the trigger that it passed last.
            self.alert.threshold = rule.terms.trigger;
        }
        self.describe(rule, step, moment);
        journal.enter(step, &self.alert, transitions);
    }

    /// Ends the alert, because its rule or its subject is gone.
    pub(super) fn end(
        &mut self,
        rule: &Rule,
        moment: EvaluationTime,
        ended: EndReason,
        transitions: &mut Transitions,
        journal: &mut Journal,
    ) {
        self.round = moment.round;
        let step = self.machine.step(&rule.terms, Input::Gone, moment.now);
        self.describe(rule, step, moment);
        self.alert.message = farewell(rule, &self.alert.label_set, self.alert.current_value);
        self.alert.details.push(("ended".to_owned(), ended.reason().to_owned()));
        journal.enter(step, &self.alert, transitions);
    }

    /// Updates the alert from the machine and the rule.
    fn describe(&mut self, rule: &Rule, step: MachineStep, moment: EvaluationTime) {
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
            MachineState::Inactive => AlertState::Resolved,
            MachineState::Pending { .. } => AlertState::Pending,
            MachineState::Firing => AlertState::Firing,
            MachineState::Recovering { .. } => AlertState::Recovering,
        };
        alert.notification = step.notification.or(alert.notification);
        alert.severity = rule.severity;
        alert.message = sentence(rule, alert, self.said, self.basis);
        alert.details = details(rule, self.basis);
    }
}

fn details(rule: &Rule, basis: Basis) -> Vec<(String, String)> {
    let terms = &rule.terms;
    let milliseconds = |nanoseconds: u64| (nanoseconds / 1_000_000).to_string();
    let mut details = vec![
        ("trigger", terms.trigger.to_string()),
        ("clear", terms.clear.to_string()),
        ("pending_for_ms", milliseconds(terms.pending)),
        ("keep_firing_for_ms", milliseconds(terms.keep)),
        ("min_samples", terms.min_samples.to_string()),
    ];
    if basis.samples != u64::MAX {
        details.push(("samples", basis.samples.to_string()));
    }
    if let Some(clients) = basis.clients {
        details.extend([("clients", clients.to_string()), ("min_clients", terms.min_clients.to_string())]);
    }
    if !rule.unit.is_empty() {
        details.push(("unit", rule.unit.clone()));
    }
    details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
