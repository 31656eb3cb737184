//! Alerts: rules over any metric. The monitor's thread evaluates them; callbacks and polls receive the alerts.
//!
//! | file | contents |
//! |---|---|
//! | `machine` | pure state machine: state, value and time give the next state and the notification |
//! | `rule`, `shipped` | one rule; the rules that come with the crate |
//! | `watched`, `sentence` | one rule over one label set, and the text of its alerts |
//! | `rules`, `journal` | the table of all rules, the resolved alerts, and the totals |
//!
//! At each look the monitor calls `RuleTable::evaluate` and gives the resulting alerts to an `Outbox`. Neither of
//! them waits for a listener.

mod journal;
mod machine;
mod rule;
mod rules;
mod sentence;
mod shipped;
mod watched;

pub use machine::{Direction, Notification};
pub use rule::{Rule, Severity};

pub(crate) use machine::Basis;
pub(crate) use rules::{FigureSource, RuleTable};
pub(crate) use shipped::shipped;

/// State of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertState {
    /// The metric is beyond the trigger, but not yet for long enough to raise the alert.
    Pending,
    /// The alert is raised.
    Firing,
    /// The alert is raised, and the metric is past the clear value, but not yet for long enough to resolve it.
    Recovering,
    /// The alert is over.
    Resolved,
}

impl AlertState {
    /// The state's name in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Recovering => "recovering",
            Self::Resolved => "resolved",
        }
    }
}

/// An alert: the state of one rule over one label set at an evaluation. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Alert {
    /// The rule's name; if there is a label set, followed by `/` and the label set. Every occurrence of an alert has
    /// the same id.
    pub id: String,
    /// The rule's name, which is also the alert's type: `memory`, `connections`, `error_rate` and so on.
    pub name: String,
    /// The alert's severity.
    pub severity: Severity,
    /// The alert's state.
    pub state: AlertState,
    /// The last notification that listeners received about the alert; in an alert passed to a listener, the
    /// notification that it carries. Null while the alert is pending, and while the cooldown delays its notification.
    pub notification: Option<Notification>,
    /// A sentence with the value, the threshold and the label set.
    pub message: String,
    /// Further details as pairs of name and value.
    pub details: Vec<(String, String)>,
    /// The path of the rule's metric.
    pub metric: String,
    /// The name of the list element that the alert is about. Empty if the metric has a single value.
    pub label_set: String,
    /// The trigger that the metric passed. A later change of the rule's trigger does not change it.
    pub threshold: f64,
    /// The last value seen.
    #[serde(serialize_with = "crate::metrics::number", deserialize_with = "crate::metrics::read_number")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::metrics::Number"))]
    pub current_value: f64,
    /// When the metric passed the trigger.
    pub since: u64,
    /// When the alert was raised.
    pub raised: Option<u64>,
    /// When the alert was resolved.
    pub resolved: Option<u64>,
}

/// How often alerts of a rule have entered each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Transitions {
    /// Entries into pending.
    pub pending: u64,
    /// Entries into firing, without returns from recovering. `firing` minus `resolved` is the number of alerts that
    /// are firing or recovering.
    pub firing: u64,
    /// Entries into recovering.
    pub recovering: u64,
    /// Entries into resolved.
    pub resolved: u64,
}

/// One rule and its figures.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RuleFigures {
    /// The rule's name.
    pub name: String,
    /// The severity of the rule's alerts.
    pub severity: Severity,
    /// The path of the metric that the rule evaluates.
    pub metric: String,
    /// Why the metric has no value, so that the rule cannot raise an alert: `enable_metrics is off`, `detailed_stats
    /// is off` or `there is no router`. Null if the metric can have a value.
    pub unavailable: Option<std::borrow::Cow<'static, str>>,
    /// The value beyond which an alert is raised.
    pub trigger: f64,
    /// The value past which an alert is resolved.
    pub clear: f64,
    /// Number of label sets that are pending.
    pub pending: u64,
    /// Number of label sets that are firing or recovering.
    pub firing: u64,
    /// Entries into each state since the rule was added.
    pub transitions: Transitions,
    /// Readings that were beyond the trigger but could not get an alert, because the rule had no place left or
    /// because the label set was too long.
    pub label_sets_folded: u64,
}

/// All figures of alerts.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct AlertFigures {
    /// Alerts that are firing or recovering.
    pub current: Vec<Alert>,
    /// Alerts that are pending.
    pub pending: Vec<Alert>,
    /// Resolved alerts, newest first; at most 256.
    pub history: Vec<Alert>,
    /// The rules and their figures.
    pub rules: Vec<RuleFigures>,
    /// Number of alerts raised.
    pub raised: u64,
    /// Number of alerts resolved.
    pub resolved: u64,
    /// Number of reminders of alerts that were still firing.
    pub repeated: u64,
    /// Number of alerts that were resolved before the cooldown let them be notified. Listeners received no
    /// notification of them.
    pub withheld: u64,
    /// Notifications that a slow listener missed: the oldest of more than 256, or those still queued when the
    /// listener was removed.
    pub notifications_dropped: u64,
    /// Number of panics in callbacks.
    pub callback_panics: u64,
    /// Sum of the rules' `label_sets_folded`.
    pub label_sets_folded: u64,
}
