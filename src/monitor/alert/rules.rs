//! The table of rules with their alerts. The monitor keeps it behind a lock: its thread evaluates, other threads add and
//! remove rules and ask for figures. Nothing of a host's runs inside.

use super::super::outbox::ListenerLosses;
use super::super::paths::{Kept, missing};
use super::journal::Journal;
use super::rule::{Rule, shown};
use super::watched::{EndReason, EvaluationTime, Reading, Watched};
use super::{Alert, AlertFigures, AlertState, RuleFigures, Transitions};
use crate::config::Key;
use crate::error::Error;

/// Rules at once.
const MAX_RULES: usize = 64;
/// Label sets of one rule that are in any state but inactive, or cool down, at once.
const MAX_LABEL_SETS: usize = 16;
/// Bytes of a label set.
const MAX_LABEL_SET: usize = 256;

/// The present values of metrics.
pub(crate) trait FigureSource {
    /// Calls `found` for each label set of a metric with its value and what that rests on; a metric without
    /// labels has the one label set "". In the metric's name a `*` stands for whatever the label set says. What has no
    /// value now is no number; what is not there is not called for.
    fn each(&self, metric: &str, found: &mut dyn FnMut(&str, f64, Basis));
}

/// What a value rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Basis {
    /// How many samples; `u64::MAX` for what is no rate and no percentile.
    pub(crate) samples: u64,
    /// Of how many clients the errors among them are, where that is known.
    pub(crate) clients: Option<u64>,
}

impl Basis {
    /// Of what was not sampled: it is as it is.
    pub(crate) const WHOLE: Self = Self { samples: u64::MAX, clients: None };
}

#[derive(Debug)]
struct RuleEntry {
    rule: Rule,
    watched: Vec<Watched>,
    transitions: Transitions,
    folded: u64,
    /// Its thresholds have changed since the last evaluation.
    changed: bool,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(crate) struct RuleTable {
    entries: Vec<RuleEntry>,
    /// Of rules that were removed: the next evaluation ends what they have raised. No more than there were alerts, since
    /// only evaluations make those.
    departing: Vec<RuleEntry>,
    journal: Journal,
    round: u64,
}

impl RuleTable {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// # Errors
    /// [`Error::Rule`] for one that cannot be, [`Error::RuleExists`], [`Error::TooManyRules`] past 64.
    pub(crate) fn add(&mut self, rule: Rule) -> Result<(), Error> {
        rule.validate()?;
        if self.entries.iter().any(|entry| entry.rule.name == rule.name) {
            return Err(Error::RuleExists(rule.name));
        }
        if self.entries.len() >= MAX_RULES {
            return Err(Error::TooManyRules(MAX_RULES as u32));
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

    /// What it has raised is over with the next evaluation, and told so.
    ///
    /// # Errors
    /// [`Error::UnknownRule`].
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), Error> {
        let place = self.entries.iter().position(|entry| entry.rule.name == name);
        let place = place.ok_or_else(|| Error::UnknownRule(shown(name)))?;
        let entry = self.entries.remove(place);
        if !entry.watched.is_empty() {
            self.departing.push(entry);
        }
        Ok(())
    }

    /// From the next evaluation on; what is pending or raised stays so until then, and is over then unless it is beyond
    /// the new threshold too.
    ///
    /// # Errors
    /// [`Error::UnknownRule`], or [`Error::Rule`] where the two do not fit; nothing has changed then.
    pub(crate) fn set_threshold(&mut self, name: &str, trigger: f64, clear: f64) -> Result<(), Error> {
        let entry = self.entry(name)?;
        let mut rule = entry.rule.clone();
        (rule.terms.trigger, rule.terms.clear) = (trigger, clear);
        rule.validate()?;
        entry.replace(rule);
        Ok(())
    }

    /// Puts a rule in the place of the one of its key, if that is still there; its state stays.
    pub(crate) fn update(&mut self, rule: Rule) {
        if let Some(entry) = self.of_key(rule.key) {
            entry.replace(rule);
        }
    }

    /// As [`update`](Self::update), but for how long it pends and is kept alone.
    pub(crate) fn update_times(&mut self, rule: &Rule) {
        if let Some(entry) = self.of_key(rule.key) {
            (entry.rule.terms.pending, entry.rule.terms.keep) = (rule.terms.pending, rule.terms.keep);
        }
    }

    fn of_key(&mut self, key: Option<Key>) -> Option<&mut RuleEntry> {
        self.entries.iter_mut().find(|entry| entry.rule.key.is_some() && entry.rule.key == key)
    }

    fn entry(&mut self, name: &str) -> Result<&mut RuleEntry, Error> {
        let found = self.entries.iter_mut().find(|entry| entry.rule.name == name);
        found.ok_or_else(|| Error::UnknownRule(shown(name)))
    }

    /// Looks at every rule's metric once; gives what is to be told, in order. `now` is monotonic nanoseconds, `wall`
    /// milliseconds since 1970.
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

    /// The rules whose metric has no value in such a monitor, with the reason.
    pub(crate) fn unavailable(&self, kept: Kept) -> Vec<(String, String, &'static str)> {
        self.entries.iter().filter_map(|entry| entry.rule.missing(kept)).collect()
    }

    /// All figures; `delivery` is the outbox's part of them, `kept` says which metrics have values.
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

    /// Those that are watched first, and those that are new afterwards: what has just ended makes room for what still is
    /// beyond the trigger.
    fn evaluate(&mut self, moment: EvaluationTime, values: &dyn FigureSource, journal: &mut Journal) {
        let Self { rule, watched, transitions, folded, changed } = self;
        let changed = std::mem::take(changed);
        let mut new: Vec<(String, Reading)> = Vec::new();
        let mut without_room = 0;
        values.each(&rule.metric, &mut |label_set, value, basis| {
            let reading = Reading { value, basis };
            match watched.iter_mut().find(|watched| watched.label_set() == label_set) {
                // A label set that is given twice counts once.
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
                // A client that has left, say. Its place is wanted for others.
                silent.end(rule, moment, EndReason::Subject, transitions, journal);
            } else {
                silent.step(rule, None, changed, moment, transitions, journal);
            }
        }
        watched.retain(|watched| !watched.is_forgettable(rule, moment));
        for (label_set, reading) in new {
            // One that only waits for its cooldown to pass gives its place to one that is beyond the trigger now.
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
            unavailable: missing(&self.rule.metric, kept),
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
