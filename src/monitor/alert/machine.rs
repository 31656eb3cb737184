//! What state an alert is in: a pure function of the last state, an input and the time. Nothing is read, sent or waited
//! for here. One [`AlertMachine`] per rule and label set, stepped by `rules` at each evaluation.
//!
//! | state | beyond trigger | between clear and trigger | beyond clear, or nothing |
//! |---|---|---|---|
//! | inactive | pending, or firing where `pending` is 0 | stays | stays |
//! | pending | firing once it has been so for `pending`, and at a look in between | inactive | inactive |
//! | firing | stays; told again each `repeat` | stays | recovering, or resolved where `keep` is 0 |
//! | recovering | firing, not told again | stays, its time starts anew | resolved after `keep` |
//!
//! *Nothing* is what has no value now, or a value that rests on too few samples or clients: an alert is about what is
//! known, and nothing that is known speaks for it. Two inputs more end things at once:
//!
//! | state | the thresholds have changed | its subject or its rule is gone |
//! |---|---|---|
//! | inactive | as otherwise | stays |
//! | pending | beyond the new one: stays, its time starts anew; otherwise inactive | inactive |
//! | firing, recovering | beyond the new one: firing; otherwise resolved | resolved |
//!
//! Both comparisons are strict, so a value that stands still on a threshold changes nothing even where both are equal.
//! The cooldown runs from the last Resolved that was told. It delays the telling of what is raised, never the
//! state; what is over before it could be told is never told, neither its beginning nor its end, and is counted as
//! withheld.

use super::Basis;

/// Which side of the trigger is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Direction {
    /// Larger values.
    Above,
    /// Smaller values.
    Below,
}

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    Beyond,
    Between,
    Clear,
}

/// What one evaluation gives the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Input {
    Value(f64),
    /// No value, or one that rests on too little.
    Nothing,
    /// The first look by other thresholds than the look before.
    Changed(Option<f64>),
    /// What it is about, or its rule, is there no more.
    Gone,
}

/// When an alert is raised, kept and told. Times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Terms {
    pub(super) direction: Direction,
    pub(super) trigger: f64,
    /// Never on the bad side of the trigger; `Rule::validate` sees to it.
    pub(super) clear: f64,
    pub(super) pending: u64,
    pub(super) keep: u64,
    pub(super) min_samples: u64,
    /// Errors must be by so many clients; 0 or 1 for any.
    pub(super) min_clients: u64,
    /// 0: never told again.
    pub(super) repeat: u64,
    pub(super) cooldown: u64,
}

impl Terms {
    /// What a reading is worth: nothing where it rests on too little, or is no number. Infinity is a value.
    pub(super) fn value(&self, value: f64, basis: Basis) -> Option<f64> {
        let is_enough = basis.samples >= self.min_samples
            && (self.min_clients <= 1 || basis.clients.is_some_and(|clients| clients >= self.min_clients));
        (is_enough && !value.is_nan()).then_some(value)
    }

    pub(super) fn zone(&self, value: f64) -> Zone {
        let (beyond, clear) = match self.direction {
            Direction::Above => (value > self.trigger, value < self.clear),
            Direction::Below => (value < self.trigger, value > self.clear),
        };
        match (beyond, clear) {
            (true, _) => Zone::Beyond,
            (false, true) => Zone::Clear,
            (false, false) => Zone::Between,
        }
    }
}

/// A machine's state; the times are of the monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MachineState {
    #[default]
    Inactive,
    Pending {
        since: u64,
        /// A look after the first has found it beyond the trigger.
        seen: bool,
    },
    Firing,
    Recovering {
        since: u64,
    },
}

/// What became of the state in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Pending,
    /// Firing, from inactive or pending.
    Raised,
    /// From pending to inactive.
    Withdrawn,
    Recovering,
    /// Firing, from recovering.
    Relapsed,
    Resolved,
}

/// What listeners are told of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Notification {
    /// It fires.
    Raised,
    /// It still fires.
    Repeated,
    /// It is over.
    Resolved,
}

/// What a step has led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MachineStep {
    pub(super) change: Option<Change>,
    pub(super) notification: Option<Notification>,
    /// It is over, and nobody was ever told of it.
    pub(super) withheld: bool,
}

/// One alert's state, and what has been told of it.
#[derive(Clone, Debug, Default)]
pub(super) struct AlertMachine {
    state: MachineState,
    /// When the last Raised or Repeated of what now fires was told.
    told: Option<u64>,
    /// When the last Resolved was told.
    resolved: Option<u64>,
}

impl AlertMachine {
    pub(super) fn state(&self) -> MachineState {
        self.state
    }

    /// Whether it knows nothing that a new one would not.
    pub(super) fn is_forgettable(&self, terms: &Terms, now: u64) -> bool {
        self.state == MachineState::Inactive && self.cooled_down(terms, now)
    }

    /// Takes one input at `now`; a `now` before an earlier one counts as no time passed.
    pub(super) fn step(&mut self, terms: &Terms, input: Input, now: u64) -> MachineStep {
        let (zone, change) = match input {
            Input::Value(value) => (Some(terms.zone(value)), self.look(terms, terms.zone(value), now)),
            Input::Nothing => (None, self.look(terms, Zone::Clear, now)),
            Input::Changed(value) => {
                let zone = value.map(|value| terms.zone(value));
                (zone, self.begin_anew(terms, zone, now))
            }
            Input::Gone => (None, self.end()),
        };
        if change == Some(Change::Resolved) {
            return self.resolve(now);
        }
        let notification = self.firing_notification(terms, zone, change, now);
        MachineStep { change, notification, withheld: false }
    }

    /// The first table of this file's head.
    fn look(&mut self, terms: &Terms, zone: Zone, now: u64) -> Option<Change> {
        let (state, change) = match (self.state, zone) {
            (MachineState::Inactive, Zone::Beyond) if terms.pending == 0 => {
                (MachineState::Firing, Change::Raised)
            }
            (MachineState::Inactive, Zone::Beyond) => {
                (MachineState::Pending { since: now, seen: false }, Change::Pending)
            }
            (MachineState::Pending { since, seen: true }, Zone::Beyond)
                if now.saturating_sub(since) >= terms.pending =>
            {
                (MachineState::Firing, Change::Raised)
            }
            (MachineState::Pending { since, .. }, Zone::Beyond) => {
                self.state = MachineState::Pending { since, seen: true };
                return None;
            }
            (MachineState::Pending { .. }, Zone::Between | Zone::Clear) => {
                (MachineState::Inactive, Change::Withdrawn)
            }
            (MachineState::Firing, Zone::Clear) if terms.keep == 0 => {
                (MachineState::Inactive, Change::Resolved)
            }
            (MachineState::Firing, Zone::Clear) => {
                (MachineState::Recovering { since: now }, Change::Recovering)
            }
            (MachineState::Recovering { .. }, Zone::Beyond) => (MachineState::Firing, Change::Relapsed),
            (MachineState::Recovering { .. }, Zone::Between) => {
                self.state = MachineState::Recovering { since: now };
                return None;
            }
            (MachineState::Recovering { since }, Zone::Clear) if now.saturating_sub(since) >= terms.keep => {
                (MachineState::Inactive, Change::Resolved)
            }
            _ => return None,
        };
        self.state = state;
        Some(change)
    }

    /// The second one's column of other thresholds.
    fn begin_anew(&mut self, terms: &Terms, zone: Option<Zone>, now: u64) -> Option<Change> {
        if zone != Some(Zone::Beyond) {
            return self.end();
        }
        match self.state {
            MachineState::Pending { .. } => {
                self.state = MachineState::Pending { since: now, seen: false };
                None
            }
            _ => self.look(terms, Zone::Beyond, now),
        }
    }

    /// Its other column.
    fn end(&mut self) -> Option<Change> {
        let change = match self.state {
            MachineState::Inactive => return None,
            MachineState::Pending { .. } => Change::Withdrawn,
            MachineState::Firing | MachineState::Recovering { .. } => Change::Resolved,
        };
        self.state = MachineState::Inactive;
        Some(change)
    }

    /// Raised goes out whenever the alert fires and it may; Repeated only while the value is beyond the trigger.
    fn firing_notification(
        &mut self,
        terms: &Terms,
        zone: Option<Zone>,
        change: Option<Change>,
        now: u64,
    ) -> Option<Notification> {
        if self.state != MachineState::Firing {
            return None;
        }
        let notification = match self.told {
            None => self.cooled_down(terms, now).then_some(Notification::Raised),
            Some(at) => {
                let due = terms.repeat > 0 && now.saturating_sub(at) >= terms.repeat;
                // A relapse is told by nothing; what is due comes with the next step.
                let may = zone == Some(Zone::Beyond) && change.is_none();
                (due && may).then_some(Notification::Repeated)
            }
        };
        if notification.is_some() {
            self.told = Some(now);
        }
        notification
    }

    fn resolve(&mut self, now: u64) -> MachineStep {
        let change = Some(Change::Resolved);
        if self.told.take().is_none() {
            return MachineStep { change, notification: None, withheld: true };
        }
        self.resolved = Some(now);
        MachineStep { change, notification: Some(Notification::Resolved), withheld: false }
    }

    fn cooled_down(&self, terms: &Terms, now: u64) -> bool {
        self.resolved.is_none_or(|at| now.saturating_sub(at) >= terms.cooldown)
    }
}

#[cfg(test)]
mod tests;
