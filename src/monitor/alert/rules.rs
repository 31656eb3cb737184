//! The table of rules with their alerts. The monitor keeps it behind a lock: the monitor's thread evaluates the
//! rules, and other threads add and remove rules and read figures. No host code runs under the lock.

use super::super::outbox::ListenerLosses;
use super::super::paths::{Kept, missing};
use super::journal::Journal;
use super::machine::Basis;
use super::rule::{Rule, shown};
use super::watched::{EndReason, EvaluationTime, Reading, Watched};
use super::{Alert, AlertFigures, AlertState, RuleFigures, Transitions};
use crate::config::Key;
use crate::error::RuleError;
use std::borrow::Cow;

/// Maximum number of rules.
const MAX_RULES: usize = 64;
/// Maximum number of label sets of one rule that are not inactive, or that are in their cooldown.
const MAX_LABEL_SETS: usize = 16;
/// Maximum length of a label set, in bytes.
const MAX_LABEL_SET: usize = 256;

/// A source of the present values of metrics.
pub(crate) trait FigureSource {
    /// Calls `found` for each label set of a metric, with its value and the value's basis. A metric without labels
    /// has the single label set "". A `*` in the metric's path stands for the part that the label set names. A value
    /// that is missing at present is NaN. `found` is not called for an element that does not exist.
    fn each(&self, metric: &str, found: &mut dyn FnMut(&str, f64, Basis));
}

#[derive(Debug)]
struct RuleEntry {
    rule: Rule,
    watched: Vec<Watched>,
    transitions: Transitions,
    folded: u64,
    /// Whether the thresholds have changed since the last evaluation.
    changed: bool,
}

/// The table of rules; see the module documentation.
#[derive(Debug, Default)]
pub(crate) struct RuleTable {
    entries: Vec<RuleEntry>,
    /// Entries of removed rules. The next evaluation ends the alerts that they have raised. Bounded by the number of
    /// alerts, because only evaluations create alerts.
    departing: Vec<RuleEntry>,
    journal: Journal,
    round: u64,
}

impl RuleTable {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// - [`RuleError::Invalid`] if the rule is invalid.
    /// - [`RuleError::Exists`] if there is a rule of that name.
    /// - [`RuleError::TooMany`] if there are 64 rules.
    pub(crate) fn add(&mut self, rule: Rule) -> Result<(), RuleError> {
        rule.validate()?;
        if self.entries.iter().any(|entry| entry.rule.name == rule.name) {
            return Err(RuleError::Exists(rule.name));
        }
        if self.entries.len() >= MAX_RULES {
            return Err(RuleError::TooMany(MAX_RULES as u32));
        }
        self.entries.push(RuleEntry {
            rule,
            watched: Vec::new(),
            transitions: Transitions::default(),
            folded: 0,
            changed: false,
        });
        Ok(())
    }

    /// Removes a rule. The next evaluation resolves and notifies the alerts that it has raised.
    ///
    /// # Errors
    /// [`RuleError::Unknown`] if there is no rule of that name.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), RuleError> {
        let place = self.entries.iter().position(|entry| entry.rule.name == name);
        let place = place.ok_or_else(|| RuleError::Unknown(shown(name)))?;
        let entry = self.entries.remove(place);
        if !entry.watched.is_empty() {
            self.departing.push(entry);
        }
        Ok(())
    }

    /// Changes the thresholds from the next evaluation on. A pending or raised alert keeps its state until then, and
    /// then ends unless its value is beyond the new trigger too.
    ///
    /// # Errors
    /// [`RuleError::Unknown`] if there is no rule of that name; [`RuleError::Invalid`] if the two thresholds contradict each
    /// other. Nothing has changed then.
    pub(crate) fn set_threshold(&mut self, name: &str, trigger: f64, clear: f64) -> Result<(), RuleError> {
        let entry = self.entry(name)?;
        let mut rule = entry.rule.clone();
        (rule.terms.trigger, rule.terms.clear) = (trigger, clear);
        rule.validate()?;
        entry.replace(rule);
        Ok(())
    }

    /// Replaces the rule that has the same key, if there is one; its state stays.
    pub(crate) fn update(&mut self, rule: Rule) {
        if let Some(entry) = self.of_key(rule.key) {
            entry.replace(rule);
        }
    }

    /// Like [`update`](Self::update), but changes only the pending and keep times.
    pub(crate) fn update_times(&mut self, rule: &Rule) {
        if let Some(entry) = self.of_key(rule.key) {
            (entry.rule.terms.pending, entry.rule.terms.keep) = (rule.terms.pending, rule.terms.keep);
        }
    }

    fn of_key(&mut self, key: Option<Key>) -> Option<&mut RuleEntry> {
        self.entries.iter_mut().find(|entry| entry.rule.key.is_some() && entry.rule.key == key)
    }

    fn entry(&mut self, name: &str) -> Result<&mut RuleEntry, RuleError> {
        let found = self.entries.iter_mut().find(|entry| entry.rule.name == name);
        found.ok_or_else(|| RuleError::Unknown(shown(name)))
    }

    /// Reads every rule's metric once, and returns the notifications in order. `now` is monotonic nanoseconds, `wall`
    /// is milliseconds since 1970.
    pub(crate) fn evaluate(&mut self, now: u64, wall: u64, values: &dyn FigureSource) -> Vec<Alert> {
        self.round += 1;
        let moment = EvaluationTime { now, wall, round: self.round };
        for mut entry in self.departing.drain(..) {
            for watched in &mut entry.watched {
                let mut transitions = Transitions::default();
                watched.end(&entry.rule, moment, EndReason::Rule, &mut transitions, &mut self.journal);
            }
        }
        for entry in &mut self.entries {
            entry.evaluate(moment, values, &mut self.journal);
        }
        std::mem::take(&mut self.journal.notices)
    }

    /// The rules whose metric has no value in a monitor that keeps `kept`, with the reason.
    pub(crate) fn unavailable(&self, kept: Kept) -> Vec<(String, String, &'static str)> {
        self.entries.iter().filter_map(|entry| entry.rule.missing(kept)).collect()
    }

    /// All figures. `delivery` is the outbox's part of them; `kept` tells which metrics have values.
    pub(crate) fn figures(&self, delivery: ListenerLosses, kept: Kept) -> AlertFigures {
        let alerts = || self.entries.iter().flat_map(|entry| &entry.watched).filter_map(Watched::alert);
        let (pending, current) = alerts().cloned().partition(|alert| alert.state == AlertState::Pending);
        AlertFigures {
            current,
            pending,
            history: self.journal.past.iter().rev().cloned().collect(),
            rules: self.entries.iter().map(|entry| entry.figures(kept)).collect(),
            raised: self.journal.raised,
            resolved: self.journal.resolved,
            repeated: self.journal.repeated,
            withheld: self.journal.withheld,
            notifications_dropped: delivery.dropped,
            callback_panics: delivery.panics,
            label_sets_folded: self.journal.folded,
        }
    }
}

impl RuleEntry {
    fn replace(&mut self, rule: Rule) {
        let (old, new) = (&self.rule.terms, &rule.terms);
        self.changed |= (old.trigger, old.clear) != (new.trigger, new.clear);
        self.rule = rule;
    }

    /// Steps the known label sets first and adds new ones afterwards, so that an alert that has just ended makes room
    /// for a label set that is beyond the trigger.
    fn evaluate(&mut self, moment: EvaluationTime, values: &dyn FigureSource, journal: &mut Journal) {
        let Self { rule, watched, transitions, folded, changed } = self;
        let changed = std::mem::take(changed);
        let mut new: Vec<(String, Reading)> = Vec::new();
        let mut without_room = 0;
        values.each(&rule.metric, &mut |label_set, value, basis| {
            let reading = Reading { value, basis };
            match watched.iter_mut().find(|watched| watched.label_set() == label_set) {
                // A label set that occurs twice counts once.
                Some(known) if known.round == moment.round => {}
                Some(known) => known.step(rule, Some(reading), changed, moment, transitions, journal),
                None if !reading.is_beyond(rule) => {}
                None if label_set.len() > MAX_LABEL_SET || new.len() >= MAX_LABEL_SETS => without_room += 1,
                None if new.iter().any(|(known, _)| known == label_set) => {}
                None => new.push((label_set.to_owned(), reading)),
            }
        });
        let is_one_of_many = rule.metric.split('.').any(|step| step == "*");
        for silent in watched.iter_mut().filter(|watched| watched.round != moment.round) {
            if is_one_of_many && silent.alert().is_some() {
                // The element is gone (a client that has left, for example). Free its place for others.
                silent.end(rule, moment, EndReason::Subject, transitions, journal);
            } else {
                silent.step(rule, None, changed, moment, transitions, journal);
            }
        }
        watched.retain(|watched| !watched.is_forgettable(rule, moment));
        for (label_set, reading) in new {
            // A label set that only waits for the end of its cooldown gives its place to one that is beyond the
            // trigger.
            let resting = || watched.iter().position(|watched| watched.alert().is_none());
            if watched.len() >= MAX_LABEL_SETS {
                let Some(resting) = resting() else {
                    without_room += 1;
                    continue;
                };
                watched.remove(resting);
            }
            let mut one = Watched::new(rule, &label_set, moment);
            one.step(rule, Some(reading), false, moment, transitions, journal);
            watched.push(one);
        }
        *folded += without_room;
        journal.folded += without_room;
    }

    fn figures(&self, kept: Kept) -> RuleFigures {
        let states = self.watched.iter().filter_map(Watched::alert).map(|alert| alert.state);
        let (pending, firing): (Vec<_>, Vec<_>) = states.partition(|state| *state == AlertState::Pending);
        RuleFigures {
            name: self.rule.name.clone(),
            severity: self.rule.severity,
            metric: self.rule.metric.clone(),
            unavailable: missing(&self.rule.metric, kept).map(Cow::Borrowed),
            trigger: self.rule.terms.trigger,
            clear: self.rule.terms.clear,
            pending: pending.len() as u64,
            firing: firing.len() as u64,
            transitions: self.transitions,
            label_sets_folded: self.folded,
        }
    }
}

#[cfg(test)]
mod tests;
