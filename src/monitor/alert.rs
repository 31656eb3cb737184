//! Alerts: rules over any metric, evaluated by the monitor's thread, told to callbacks and polls.
//!
//! | file | what it is |
//! |---|---|
//! | `machine` | pure: state, value and time give the next state and what to tell |
//! | `rule`, `shipped` | what a rule is; those that come with the crate |
//! | `watched`, `sentence` | one rule over one label set, and what it says |
//! | `rules`, `journal` | the table of all rules, what is over, and the totals |
//!
//! At each interval the monitor calls `RuleTable::evaluate` and gives what that returns to an `Outbox`. Neither waits for a
//! listener.

mod journal;
mod machine;
mod rule;
mod rules;
mod sentence;
mod shipped;
mod watched;

pub use machine::{Direction, Notification};
pub use rule::{Rule, Severity};

pub(crate) use rules::{Basis, FigureSource, RuleTable};
pub(crate) use shipped::shipped;

/// Where an alert is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertState {
    /// The metric is beyond the trigger, but not for long enough.
    Pending,
    /// Raised.
    Firing,
    /// Raised, and the metric is past the clear value, but not for long enough.
    Recovering,
    /// Over.
    Resolved,
}

impl AlertState {
    /// The name that metrics carry.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Recovering => "recovering",
            Self::Resolved => "resolved",
        }
    }
}

/// One rule over one label set, as it was at an evaluation. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Alert {
    /// The same for each occurrence: the rule's name, and with a label set `/` and that.
    pub id: String,
    /// The rule's name, which is the alert's type: `memory`, `connections`, `error_rate` and so on.
    pub name: String,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is on its way.
    pub state: AlertState,
    /// What listeners were told of it last: in what they are given, what it tells them. Nothing while it is pending, or
    /// while the cooldown delays it.
    pub notification: Option<Notification>,
    /// A sentence with the value, the threshold, and the label set.
    pub message: String,
    /// What else there is to know, as names and values.
    pub details: Vec<(String, String)>,
    /// The metric's name.
    pub metric: String,
    /// Which of the metric's values it is about; empty where it has one.
    pub label_set: String,
    /// The trigger that the metric went beyond: a change of it since does not change this.
    pub threshold: f64,
    /// The last value seen.
    #[serde(serialize_with = "crate::metrics::number")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::metrics::Number"))]
    pub current_value: f64,
    /// When the metric went beyond the trigger.
    pub since: u64,
    /// When it was raised.
    pub raised: Option<u64>,
    /// When it was over.
    pub resolved: Option<u64>,
}

/// How often a rule's alerts have come into each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Transitions {
    /// Into pending.
    pub pending: u64,
    /// Into firing, not counting returns from recovering: less `resolved`, those that fire or recover now.
    pub firing: u64,
    /// Into recovering.
    pub recovering: u64,
    /// Into resolved.
    pub resolved: u64,
}

/// One rule and what became of it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RuleFigures {
    /// Its name.
    pub name: String,
    /// How bad its alerts are.
    pub severity: Severity,
    /// What it looks at.
    pub metric: String,
    /// Why the metric has no value, so that the rule cannot raise anything: `enable_metrics is off`, `detailed_stats is off` or
    /// `there is no router`. Null where it can have one.
    pub unavailable: Option<&'static str>,
    /// The value beyond which it is raised.
    pub trigger: f64,
    /// The value past which it is over.
    pub clear: f64,
    /// Label sets that are pending.
    pub pending: u64,
    /// Label sets that fire or recover.
    pub firing: u64,
    /// Since it was added.
    pub transitions: Transitions,
    /// Readings beyond the trigger, or with too long a label set, that found no place among the rule's alerts.
    pub label_sets_folded: u64,
}

/// All that there is to know of alerts.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct AlertFigures {
    /// What fires or recovers.
    pub current: Vec<Alert>,
    /// What may come to fire.
    pub pending: Vec<Alert>,
    /// What is over, the latest first; at most 256.
    pub history: Vec<Alert>,
    /// The rules.
    pub rules: Vec<RuleFigures>,
    /// Alerts raised.
    pub raised: u64,
    /// Alerts that are over.
    pub resolved: u64,
    /// Reminders of what still fires.
    pub repeated: u64,
    /// Alerts that were over before the cooldown let them be told; nobody was told of them.
    pub withheld: u64,
    /// Notifications that a slow listener did not get: the oldest of more than 256, or what waited when it was removed.
    pub notifications_dropped: u64,
    /// Callbacks' panics.
    pub callback_panics: u64,
    /// Readings beyond a trigger, or with too long a label set, that found no place among their rule's alerts.
    pub label_sets_folded: u64,
}
