//! The state machine of an alert: a pure function of the last state, an input and the time. It reads nothing, sends
//! nothing and waits for nothing. There is one [`AlertMachine`] per rule and label set; `rules` steps it at each
//! evaluation.
//!
//! | state | beyond trigger | between clear and trigger | past clear, or no value |
//! |---|---|---|---|
//! | inactive | pending, or firing if `pending` is 0 | stays | stays |
//! | pending | firing after `pending`, if a look in between was beyond as well | inactive | inactive |
//! | firing | stays; notified again every `repeat` | stays | recovering, or resolved if `keep` is 0 |
//! | recovering | firing, not notified again | stays, and its time restarts | resolved after `keep` |
//!
//! *No value* means that the metric has no value at present, or that its value rests on too few samples or clients.
//! An alert needs evidence, and in that case there is none. Two further inputs take effect at once:
//!
//! | state | the thresholds have changed | the subject or the rule is gone |
//! |---|---|---|
//! | inactive | as with the value | stays |
//! | pending | beyond the new trigger: stays, and its time restarts; otherwise inactive | inactive |
//! | firing, recovering | beyond the new trigger: firing; otherwise resolved | resolved |
//!
//! Both comparisons are strict, so a value that stays exactly on a threshold changes nothing, even if both thresholds
//! are equal.
//!
//! The cooldown starts at the last Resolved notification. It delays the notification of a raised alert, but never its
//! state. If an alert is resolved before its notification was allowed, neither its beginning nor its end is notified,
//! and it counts as withheld.

/// The side of the trigger on which values are bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Direction {
    /// Larger values are bad.
    Above,
    /// Smaller values are bad.
    Below,
}

/// The samples and clients that a value rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Basis {
    /// Number of samples; `u64::MAX` for a value that is neither a rate nor a percentile.
    pub(crate) samples: u64,
    /// Number of clients that caused the errors, if known.
    pub(crate) clients: Option<u64>,
}

impl Basis {
    /// The basis of a value that does not rest on samples.
    pub(crate) const WHOLE: Self = Self { samples: u64::MAX, clients: None };
}

/// The position of a value relative to the two thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    Beyond,
    Between,
    Clear,
}

/// The input of one evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Input {
    Value(f64),
    /// No value, or a value that rests on too few samples or clients.
    Nothing,
    /// The value of the first look after a change of the thresholds.
    Changed(Option<f64>),
    /// The metric's subject, or the rule, does not exist any more.
    Gone,
}

/// A rule's conditions. Times are in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Terms {
    pub(super) direction: Direction,
    pub(super) trigger: f64,
    /// Never on the bad side of the trigger (checked by `Rule::validate`).
    pub(super) clear: f64,
    pub(super) pending: u64,
    pub(super) keep: u64,
    pub(super) min_samples: u64,
    /// The number of clients that must have caused the errors; 0 or 1 for any.
    pub(super) min_clients: u64,
    /// 0: the notification does not repeat.
    pub(super) repeat: u64,
    pub(super) cooldown: u64,
}

impl Terms {
    /// The value of a reading. Nothing if it rests on too few samples or clients, or is NaN. Infinity is a value.
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

/// A machine's state. Times are monotonic nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MachineState {
    #[default]
    Inactive,
    Pending {
        since: u64,
        /// Whether a look after the first has found the value beyond the trigger.
        seen: bool,
    },
    Firing,
    Recovering {
        since: u64,
    },
}

/// The state change of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Pending,
    /// From inactive or pending to firing.
    Raised,
    /// From pending to inactive.
    Withdrawn,
    Recovering,
    /// From recovering to firing.
    Relapsed,
    Resolved,
}

/// The kind of notification that listeners receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Notification {
    /// The alert fires.
    Raised,
    /// The alert still fires.
    Repeated,
    /// The alert is over.
    Resolved,
}

/// The result of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MachineStep {
    pub(super) change: Option<Change>,
    pub(super) notification: Option<Notification>,
    /// Whether the alert was resolved before any notification of it.
    pub(super) withheld: bool,
}

/// One alert's state, and the times of its notifications.
#[derive(Clone, Debug, Default)]
pub(super) struct AlertMachine {
    state: MachineState,
    /// When the last Raised or Repeated of the firing alert was sent.
    told: Option<u64>,
    /// When the last Resolved was sent.
    resolved: Option<u64>,
}

impl AlertMachine {
    pub(super) fn state(&self) -> MachineState {
        self.state
    }

    /// Whether the machine is in the same state as a new one, so that it can be dropped.
    pub(super) fn is_forgettable(&self, terms: &Terms, now: u64) -> bool {
        self.state == MachineState::Inactive && self.cooled_down(terms, now)
    }

    /// Takes one input at `now`. If `now` is before an earlier time, no time has passed.
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

    /// Applies the first table of the module documentation.
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

    /// Applies the column "the thresholds have changed" of the second table.
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

    /// Applies the column "the subject or the rule is gone" of the second table.
    fn end(&mut self) -> Option<Change> {
        let change = match self.state {
            MachineState::Inactive => return None,
            MachineState::Pending { .. } => Change::Withdrawn,
            MachineState::Firing | MachineState::Recovering { .. } => Change::Resolved,
        };
        self.state = MachineState::Inactive;
        Some(change)
    }

    /// Returns Raised when the alert fires and the cooldown allows it, and Repeated only while the value is beyond
    /// the trigger.
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
                // A relapse sends nothing itself; a due repetition follows with the next step.
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
