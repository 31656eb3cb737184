//! What state an alert is in: a pure function of the last state, a value and the time. Nothing is read, sent or waited
//! for here. One [`Machine`] per rule and label set, stepped by `rules` at each evaluation.
//!
//! | state | beyond trigger | between clear and trigger | beyond clear | no value |
//! |---|---|---|---|---|
//! | inactive | pending, or firing where `pending` is 0 | stays | stays | stays |
//! | pending | firing once it has been so for `pending` | inactive | inactive | stays, its time runs on |
//! | firing | stays; told again each `repeat` | stays | recovering, or resolved where `keep` is 0 | stays |
//! | recovering | firing, not told again | stays, its time starts anew | resolved after `keep` | stays |
//!
//! Both comparisons are strict, so a value that stands still on a threshold changes nothing even where both are equal.
//! The cooldown runs from the last Resolved that was told. It delays the telling of what is raised, never the
//! state; what is over before it could be told is never told, neither its beginning nor its end, and is counted as
//! withheld.

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
    /// 0: never told again.
    pub(super) repeat: u64,
    pub(super) cooldown: u64,
}

impl Terms {
    /// What the machine is given of a reading: nothing where it rests on too little, or is no number.
    pub(super) fn input(&self, value: f64, samples: u64) -> Option<f64> {
        (samples >= self.min_samples && value.is_finite()).then_some(value)
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
pub(super) enum State {
    #[default]
    Inactive,
    Pending {
        since: u64,
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
pub(super) struct Step {
    pub(super) change: Option<Change>,
    pub(super) notification: Option<Notification>,
    /// It is over, and nobody was ever told of it.
    pub(super) withheld: bool,
}

/// One alert's state, and what has been told of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    state: State,
    /// When the last Raised or Repeated of what now fires was told.
    told: Option<u64>,
    /// When the last Resolved was told.
    resolved: Option<u64>,
}

impl Machine {
    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Whether it knows nothing that a new one would not.
    pub(super) fn is_forgettable(&self, terms: &Terms, now: u64) -> bool {
        self.state == State::Inactive && self.cooled_down(terms, now)
    }

    /// Takes one reading at `now`; a `now` before an earlier one counts as no time passed.
    pub(super) fn step(&mut self, terms: &Terms, input: Option<f64>, now: u64) -> Step {
        let zone = input.map(|value| terms.zone(value));
        let change = zone.and_then(|zone| self.change(terms, zone, now));
        if change == Some(Change::Resolved) {
            return self.resolve(now);
        }
        let notification = self.firing_notification(terms, zone, change, now);
        Step { change, notification, withheld: false }
    }

    /// Its rule is gone: whatever it was in is over.
    pub(super) fn end(&mut self, now: u64) -> Step {
        match self.state {
            State::Inactive => Step::default(),
            State::Pending { .. } => {
                self.state = State::Inactive;
                Step { change: Some(Change::Withdrawn), ..Step::default() }
            }
            State::Firing | State::Recovering { .. } => {
                self.state = State::Inactive;
                self.resolve(now)
            }
        }
    }

    /// The table of this file's head, without its last column: there nothing changes.
    fn change(&mut self, terms: &Terms, zone: Zone, now: u64) -> Option<Change> {
        let (state, change) = match (self.state, zone) {
            (State::Inactive, Zone::Beyond) if terms.pending == 0 => (State::Firing, Change::Raised),
            (State::Inactive, Zone::Beyond) => (State::Pending { since: now }, Change::Pending),
            (State::Pending { since }, Zone::Beyond) if now.saturating_sub(since) >= terms.pending => {
                (State::Firing, Change::Raised)
            }
            (State::Pending { .. }, Zone::Between | Zone::Clear) => (State::Inactive, Change::Withdrawn),
            (State::Firing, Zone::Clear) if terms.keep == 0 => (State::Inactive, Change::Resolved),
            (State::Firing, Zone::Clear) => (State::Recovering { since: now }, Change::Recovering),
            (State::Recovering { .. }, Zone::Beyond) => (State::Firing, Change::Relapsed),
            (State::Recovering { .. }, Zone::Between) => {
                self.state = State::Recovering { since: now };
                return None;
            }
            (State::Recovering { since }, Zone::Clear) if now.saturating_sub(since) >= terms.keep => {
                (State::Inactive, Change::Resolved)
            }
            _ => return None,
        };
        self.state = state;
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
        if self.state != State::Firing {
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

    fn resolve(&mut self, now: u64) -> Step {
        let change = Some(Change::Resolved);
        if self.told.take().is_none() {
            return Step { change, notification: None, withheld: true };
        }
        self.resolved = Some(now);
        Step { change, notification: Some(Notification::Resolved), withheld: false }
    }

    fn cooled_down(&self, terms: &Terms, now: u64) -> bool {
        self.resolved.is_none_or(|at| now.saturating_sub(at) >= terms.cooldown)
    }
}

#[cfg(test)]
mod tests;
