//! One alert rule: the metric that it evaluates, and when it raises an alert. Hosts build rules, `shipped` makes
//! those that come with the crate, and `rules` evaluates them.

use super::super::paths;
use super::machine::{Direction, Terms};
use crate::config::Key;
use crate::error::RuleError;
use std::time::Duration;

/// Maximum length of a rule's name, in bytes.
pub(super) const MAX_NAME: usize = 64;
/// Maximum length of a metric's path, in bytes.
pub(super) const MAX_METRIC: usize = 768;
/// Maximum length of a unit, in bytes.
pub(super) const MAX_UNIT: usize = 32;
/// Maximum length of a rule's text, in bytes.
pub(super) const MAX_TEXT: usize = 200;

/// Severity of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// For information.
    Info,
    /// Needs attention.
    Warning,
    /// Needs immediate action.
    Critical,
}

impl Severity {
    /// The severity's name in metrics and texts.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// An alert rule: when to raise an alert over a metric. The rule is checked when it is added.
///
/// ```
/// use corelane::monitor::alert::{Rule, Severity};
/// use std::time::Duration;
///
/// let rule = Rule::above("slow_offers", "types.peerjs/OFFER.windows.last_minute.p99", 250e6)
///     .clear(200e6)
///     .severity(Severity::Critical)
///     .pending_for(Duration::from_secs(10))
///     .min_samples(20)
///     .unit("nanoseconds");
/// rule.validate().unwrap();
/// // With `above`, `clear` must not exceed the trigger.
/// assert!(rule.clear(300e6).validate().is_err());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub(super) name: String,
    pub(super) metric: String,
    pub(super) unit: String,
    pub(super) text: String,
    pub(super) severity: Severity,
    pub(super) terms: Terms,
    /// The configuration key that sets the trigger. Only rules that come with the crate have a key.
    pub(super) key: Option<Key>,
}

impl Rule {
    /// Creates a rule that raises an alert if the metric is above `trigger`.
    ///
    /// The metric is the path of a number in the JSON report (docs/guide.md). A `*` in the path stands for every
    /// element of a list; each element has its own alert.
    ///
    /// Defaults: the severity is warning, the clear value is `trigger`, alerts are raised and resolved at once, the
    /// notification repeats every 4 hours, and the cooldown is one minute.
    pub fn above(name: &str, metric: &str, trigger: f64) -> Self {
        Self::new(name, metric, trigger, Direction::Above)
    }

    /// Creates a rule that raises an alert if the metric is below `trigger`; otherwise like [`above`](Self::above).
    pub fn below(name: &str, metric: &str, trigger: f64) -> Self {
        Self::new(name, metric, trigger, Direction::Below)
    }

    fn new(name: &str, metric: &str, trigger: f64, direction: Direction) -> Self {
        let terms = Terms {
            direction,
            trigger,
            clear: trigger,
            pending: 0,
            keep: 0,
            min_samples: 0,
            min_clients: 0,
            repeat: nanoseconds(Duration::from_secs(4 * 3600)),
            cooldown: nanoseconds(Duration::from_secs(60)),
        };
        Self {
            name: name.to_owned(),
            metric: metric.to_owned(),
            unit: String::new(),
            text: String::new(),
            severity: Severity::Warning,
            terms,
            key: None,
        }
    }

    /// Ties the trigger to a configuration key: if the key changes, so does the trigger.
    pub(super) fn of_key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// The configuration key that sets the trigger.
    pub(crate) fn key(&self) -> Option<Key> {
        self.key
    }

    /// Sets the value past which an alert is resolved. Between the clear value and the trigger the state does not
    /// change. Both comparisons are strict. To raise an alert for any count above 0, set both values to 0.5.
    #[must_use]
    pub fn clear(mut self, value: f64) -> Self {
        self.terms.clear = value;
        self
    }

    /// Sets the severity.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Sets how long the metric must be beyond the trigger before an alert is raised. This takes at least three
    /// looks, because two looks do not show what happened between them.
    #[must_use]
    pub fn pending_for(mut self, time: Duration) -> Self {
        self.terms.pending = nanoseconds(time);
        self
    }

    /// Sets how long the metric must be past the clear value before an alert is resolved.
    #[must_use]
    pub fn keep_firing_for(mut self, time: Duration) -> Self {
        self.terms.keep = nanoseconds(time);
        self
    }

    /// Ignores readings that rest on fewer samples than `samples`. Such a reading raises no alert. A raised alert
    /// treats it like a value past the clear value, and is resolved after the usual time.
    #[must_use]
    pub fn min_samples(mut self, samples: u64) -> Self {
        self.terms.min_samples = samples;
        self
    }

    /// Ignores readings whose errors come from fewer clients than `clients`, in the same way as
    /// [`min_samples`](Self::min_samples), so that one faulty client does not look like an outage. Applies to figures
    /// of `messages.windows.last_minute`, where the number of clients is known.
    #[must_use]
    pub fn min_clients(mut self, clients: u64) -> Self {
        self.terms.min_clients = clients;
        self
    }

    /// Sets the interval at which the notification of a firing alert repeats; 0 for never.
    #[must_use]
    pub fn repeat_interval(mut self, time: Duration) -> Self {
        self.terms.repeat = nanoseconds(time);
        self
    }

    /// Sets how long after a resolution no new alert is notified. An alert that is still firing at the end of this
    /// time is notified then.
    #[must_use]
    pub fn cooldown(mut self, time: Duration) -> Self {
        self.terms.cooldown = nanoseconds(time);
        self
    }

    /// Sets the metric's unit. Values in `bytes`, `nanoseconds` and `share` are written in a readable form.
    #[must_use]
    pub fn unit(mut self, unit: &str) -> Self {
        unit.clone_into(&mut self.unit);
        self
    }

    /// Sets the subject of the alert's message ("Resident memory of the process"). Without it, the message names the
    /// metric.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        text.clone_into(&mut self.text);
        self
    }

    /// The rule's name, which is the type of its alerts.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value beyond which an alert is raised.
    pub fn trigger(&self) -> f64 {
        self.terms.trigger
    }

    /// The value past which an alert is resolved.
    pub fn clear_value(&self) -> f64 {
        self.terms.clear
    }

    /// Makes the checks that adding the rule makes.
    ///
    /// # Errors
    /// [`RuleError::Invalid`] with the problem and what to change.
    pub fn validate(&self) -> Result<(), RuleError> {
        let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !(1..=MAX_NAME).contains(&self.name.len()) || !self.name.chars().all(named) {
            return Err(self.refuse("its name must have 1 to 64 characters, each of a to z, 0 to 9 or _"));
        }
        if !(1..=MAX_METRIC).contains(&self.metric.len()) || self.metric.chars().any(char::is_control) {
            return Err(self.refuse("its metric must have 1 to 768 bytes and no control characters"));
        }
        if !paths::exists(&self.metric) {
            return Err(self.refuse(paths::unknown(&self.metric)));
        }
        if self.unit.len() > MAX_UNIT || self.text.len() > MAX_TEXT {
            return Err(
                self.refuse("its unit may have at most 32 bytes and its text at most 200: shorten them")
            );
        }
        if !self.terms.trigger.is_finite() || !self.terms.clear.is_finite() {
            return Err(self.refuse("trigger and clear must be finite numbers"));
        }
        match self.terms.direction {
            Direction::Above if self.terms.clear > self.terms.trigger => {
                Err(self.refuse("clear must be at most trigger, because larger values are worse"))
            }
            Direction::Below if self.terms.clear < self.terms.trigger => {
                Err(self.refuse("clear must be at least trigger, because smaller values are worse"))
            }
            Direction::Above | Direction::Below => Ok(()),
        }
    }

    /// The rule's name, its metric, and why the metric has no value in a monitor that keeps `kept`; nothing if the
    /// metric can have a value.
    pub(crate) fn missing(&self, kept: paths::Kept) -> Option<(String, String, &'static str)> {
        Some((self.name.clone(), self.metric.clone(), paths::missing(&self.metric, kept)?))
    }

    fn refuse(&self, problem: impl Into<String>) -> RuleError {
        RuleError::Invalid { rule: shown(&self.name), problem: problem.into() }
    }
}

/// Shortens a name for an error's text; a host's name may have any length.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        let good = || Rule::above("name_1", "messages.total", 10.0);
        good().validate().unwrap();
        good().clear(9.0).validate().unwrap();
        Rule::below("x", "messages.total", 10.0).clear(11.0).validate().unwrap();
        let long = format!("types.{}.total", "m".repeat(756));
        Rule::above(&"x".repeat(64), &long, 0.0).validate().unwrap();
        for (rule, problem) in [
            (Rule::above("", "messages.total", 1.0), "name"),
            (Rule::above(&"x".repeat(65), "messages.total", 1.0), "name"),
            (Rule::above("Name", "messages.total", 1.0), "name"),
            (Rule::above("a-b", "messages.total", 1.0), "name"),
            (Rule::above("x", "", 1.0), "metric"),
            (Rule::above("x", &long.replace(".m", ".mm"), 1.0), "1 to 768 bytes"),
            (Rule::above("x", "a\nb", 1.0), "control"),
            (Rule::above("x", "messages.totall", 1.0), "the nearest is \"messages.total\""),
            (Rule::above("x", "types.a.b.total", 1.0), r"written \."),
            (good().unit(&"u".repeat(33)), "unit"),
            (good().text(&"t".repeat(201)), "text"),
            (Rule::above("x", "messages.total", f64::NAN), "finite"),
            (Rule::below("x", "messages.total", f64::INFINITY), "finite"),
            (good().clear(f64::NEG_INFINITY), "finite"),
            (good().clear(10.1), "at most trigger"),
            (Rule::below("x", "messages.total", 10.0).clear(9.9), "at least trigger"),
        ] {
            let error = rule.validate().unwrap_err();
            assert!(matches!(error, RuleError::Invalid { .. }));
            assert!(error.to_string().contains(problem), "{error}");
            assert!(error.to_string().len() < 240, "{error}");
        }
    }

    #[test]
    fn a_time_beyond_all_bounds_is_for_ever() {
        let rule = Rule::above("x", "messages.total", 1.0).pending_for(Duration::MAX);
        assert_eq!(rule.terms.pending, u64::MAX);
    }
}
