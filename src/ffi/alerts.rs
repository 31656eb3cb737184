//! Alert rules, and the alerts that they raise.

use super::borrow::{CStruct, List, chars, read_struct, text};
use super::figures::known;
use super::guard::{CorelaneError, Failure, Outcome, answer, guard};
use super::handle::CorelaneMonitor;
use super::monitors::with_monitor;
use super::worker::CORELANE_NAME_BYTES;
use crate::monitor::alert::{Alert, AlertState, Notification, Rule, RuleFigures, Severity};
use std::ffi::c_char;
use std::time::Duration;

/// As a rule's severity: as if it were not set, a warning.
pub const CORELANE_SEVERITY_DEFAULT: u32 = 0;
/// For information.
pub const CORELANE_SEVERITY_INFO: u32 = 1;
/// Needs attention.
pub const CORELANE_SEVERITY_WARNING: u32 = 2;
/// Needs immediate action.
pub const CORELANE_SEVERITY_CRITICAL: u32 = 3;

/// As a rule's flag: an alert is raised if the metric is below the trigger, not above it.
pub const CORELANE_RULE_BELOW: u32 = 1;
/// As a rule's flag: `clear` is set. Otherwise it is the trigger.
pub const CORELANE_RULE_CLEAR: u32 = 2;
/// As a rule's flag: `repeat_ns` is set. Otherwise it is 4 hours.
pub const CORELANE_RULE_REPEAT: u32 = 4;
/// As a rule's flag: `cooldown_ns` is set. Otherwise it is a minute.
pub const CORELANE_RULE_COOLDOWN: u32 = 8;

/// As an alert's state: the metric is beyond the trigger, but not yet for long enough to raise the alert.
pub const CORELANE_ALERT_PENDING: u32 = 1;
/// The alert is raised.
pub const CORELANE_ALERT_FIRING: u32 = 2;
/// The alert is raised, and the metric is past the clear value, but not yet for long enough to resolve it.
pub const CORELANE_ALERT_RECOVERING: u32 = 3;
/// The alert is over.
pub const CORELANE_ALERT_RESOLVED: u32 = 4;

/// As an alert's notification: none yet.
pub const CORELANE_NOTIFICATION_NONE: u32 = 0;
/// The alert fires.
pub const CORELANE_NOTIFICATION_RAISED: u32 = 1;
/// The alert still fires.
pub const CORELANE_NOTIFICATION_REPEATED: u32 = 2;
/// The alert is over.
pub const CORELANE_NOTIFICATION_RESOLVED: u32 = 3;

/// As the kind of a list of alerts: those that are raised.
pub const CORELANE_ALERTS_CURRENT: u32 = 1;
/// Those that are pending.
pub const CORELANE_ALERTS_PENDING: u32 = 2;
/// Those that are resolved, newest first; at most 256.
pub const CORELANE_ALERTS_PAST: u32 = 3;

/// Size of the path of a metric in bytes, with the closing NUL.
pub const CORELANE_METRIC_BYTES: usize = 776;
/// Size of a label set in bytes, with the closing NUL.
pub const CORELANE_LABEL_SET_BYTES: usize = 264;
/// Size of an alert's sentence in bytes, with the closing NUL.
pub const CORELANE_SENTENCE_BYTES: usize = 1024;

/// An alert rule. Set name, metric and trigger; all zeros elsewhere are the defaults.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneRule {
    /// `sizeof(corelane_rule)`, set by the caller: CORELANE_RULE_INIT.
    pub size: u32,
    /// Any of CORELANE_RULE_.
    pub flags: u32,
    /// A CORELANE_SEVERITY_ value.
    pub severity: u32,
    /// Always 0.
    pub reserved: u32,
    /// The rule's name, which is the type of its alerts: 1 to 64 of a to z, 0 to 9 and _.
    pub name: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub name_length: usize,
    /// The path of a number in the JSON report, such as "messages.windows.last_minute.p99" (docs/guide.md). A * stands for
    /// every element of a list; each element has its own alert.
    pub metric: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub metric_length: usize,
    /// The metric's unit. Values in "bytes", "nanoseconds" and "share" are written in a readable form.
    pub unit: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub unit_length: usize,
    /// The subject of the alerts' sentence, such as "Resident memory of the process". Empty: the metric.
    pub text: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub text_length: usize,
    /// The value beyond which an alert is raised.
    pub trigger: f64,
    /// The value past which an alert is resolved, if CORELANE_RULE_CLEAR is set.
    pub clear: f64,
    /// How long the metric must be beyond the trigger before an alert is raised: at least three looks.
    pub pending_ns: u64,
    /// How long the metric must be past the clear value before an alert is resolved.
    pub keep_ns: u64,
    /// Readings that rest on fewer samples raise no alert.
    pub min_samples: u64,
    /// Readings whose errors come from fewer clients raise no alert.
    pub min_clients: u64,
    /// The interval at which the notification of a firing alert repeats, 0 for never, if CORELANE_RULE_REPEAT is set.
    pub repeat_ns: u64,
    /// How long after a resolution no new alert is notified, if CORELANE_RULE_COOLDOWN is set.
    pub cooldown_ns: u64,
}

// SAFETY: numbers and pointers, the size first.
unsafe impl CStruct for CorelaneRule {
    const NAME: &'static str = "corelane_rule";
}

/// An alert: the state of one rule over one label set. Times are milliseconds since 1970.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneAlert {
    /// `sizeof(corelane_alert)`, set by the caller in the first one of an array: CORELANE_ALERT_INIT.
    pub size: u32,
    /// A CORELANE_SEVERITY_ value.
    pub severity: u32,
    /// A CORELANE_ALERT_ value.
    pub state: u32,
    /// The last notification that listeners received; in an alert given to a listener, the one that it carries. A
    /// CORELANE_NOTIFICATION_ value.
    pub notification: u32,
    /// The rule's name.
    pub name: [c_char; CORELANE_NAME_BYTES],
    /// The name of the list element that the alert is about. Empty if the metric has a single value. Rule and label set
    /// together identify an alert.
    pub label_set: [c_char; CORELANE_LABEL_SET_BYTES],
    /// The path of the rule's metric.
    pub metric: [c_char; CORELANE_METRIC_BYTES],
    /// A sentence with the value, the threshold and the label set.
    pub sentence: [c_char; CORELANE_SENTENCE_BYTES],
    /// The trigger that the metric passed.
    pub threshold: f64,
    /// The last value seen.
    pub value: f64,
    /// When the metric passed the trigger.
    pub since_ms: u64,
    /// When the alert was raised, or CORELANE_UNKNOWN.
    pub raised_ms: u64,
    /// When the alert was resolved, or CORELANE_UNKNOWN.
    pub resolved_ms: u64,
}

// SAFETY: numbers only, the size first.
unsafe impl CStruct for CorelaneAlert {
    const NAME: &'static str = "corelane_alert";
}

/// One rule and its figures.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneRuleStats {
    /// `sizeof(corelane_rule_stats)`, set by the caller in the first one of an array: CORELANE_RULE_STATS_INIT.
    pub size: u32,
    /// A CORELANE_SEVERITY_ value.
    pub severity: u32,
    /// The rule's name.
    pub name: [c_char; CORELANE_NAME_BYTES],
    /// The path of its metric.
    pub metric: [c_char; CORELANE_METRIC_BYTES],
    /// Why the metric has no value, such as "there is no router". Empty if it can have one.
    pub unavailable: [c_char; CORELANE_NAME_BYTES],
    /// The value beyond which an alert is raised.
    pub trigger: f64,
    /// The value past which an alert is resolved.
    pub clear: f64,
    /// Label sets that are pending.
    pub pending: u64,
    /// Label sets whose alert is raised.
    pub firing: u64,
    /// Alerts raised since the rule was added.
    pub raised: u64,
    /// Alerts resolved since the rule was added.
    pub resolved: u64,
    /// Readings beyond the trigger that could not get an alert, because the rule had no place left.
    pub folded: u64,
}

// SAFETY: numbers only, the size first.
unsafe impl CStruct for CorelaneRuleStats {
    const NAME: &'static str = "corelane_rule_stats";
}

fn severity_of(number: u32) -> Result<Severity, Failure> {
    match number {
        CORELANE_SEVERITY_DEFAULT | CORELANE_SEVERITY_WARNING => Ok(Severity::Warning),
        CORELANE_SEVERITY_INFO => Ok(Severity::Info),
        CORELANE_SEVERITY_CRITICAL => Ok(Severity::Critical),
        _ => Err(Failure::invalid(format!("severity is {number}: use a CORELANE_SEVERITY_ value"))),
    }
}

fn severity(severity: Severity) -> u32 {
    match severity {
        Severity::Info => CORELANE_SEVERITY_INFO,
        Severity::Warning => CORELANE_SEVERITY_WARNING,
        Severity::Critical => CORELANE_SEVERITY_CRITICAL,
    }
}

/// An alert as C sees it.
pub(super) fn alert(one: &Alert) -> CorelaneAlert {
    CorelaneAlert {
        size: size_of::<CorelaneAlert>() as u32,
        severity: severity(one.severity),
        state: match one.state {
            AlertState::Pending => CORELANE_ALERT_PENDING,
            AlertState::Firing => CORELANE_ALERT_FIRING,
            AlertState::Recovering => CORELANE_ALERT_RECOVERING,
            AlertState::Resolved => CORELANE_ALERT_RESOLVED,
        },
        notification: match one.notification {
            None => CORELANE_NOTIFICATION_NONE,
            Some(Notification::Raised) => CORELANE_NOTIFICATION_RAISED,
            Some(Notification::Repeated) => CORELANE_NOTIFICATION_REPEATED,
            Some(Notification::Resolved) => CORELANE_NOTIFICATION_RESOLVED,
        },
        name: chars(&one.name),
        label_set: chars(&one.label_set),
        metric: chars(&one.metric),
        sentence: chars(&one.message),
        threshold: one.threshold,
        value: one.current_value,
        since_ms: one.since,
        raised_ms: known(one.raised),
        resolved_ms: known(one.resolved),
    }
}

fn rule_stats(one: &RuleFigures) -> CorelaneRuleStats {
    CorelaneRuleStats {
        size: 0,
        severity: severity(one.severity),
        name: chars(&one.name),
        metric: chars(&one.metric),
        unavailable: chars(one.unavailable.as_deref().unwrap_or_default()),
        trigger: one.trigger,
        clear: one.clear,
        pending: one.pending,
        firing: one.firing,
        raised: one.transitions.firing,
        resolved: one.transitions.resolved,
        folded: one.label_sets_folded,
    }
}

/// Adds a rule over any figure. The monitor looks at it every `monitor_interval_ms`. A metric that this monitor does not keep
/// is accepted, because `detailed_stats` may be switched on later; `corelane_monitor_rules` says why it has no value.
///
/// Any thread. Waits for other readers of this monitor. CORELANE_INVALID (the error says what is wrong; an unknown path: the
/// nearest), CORELANE_EXISTS (a rule of that name), CORELANE_LIMIT (64 rules), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `rule` points at a corelane_rule with its size set and its texts as their lengths say; `error` is NULL or a corelane_error
/// with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_add_rule(
    monitor: CorelaneMonitor,
    rule: *const CorelaneRule,
    error: *mut CorelaneError,
) -> i32 {
    let add = || -> Outcome {
        // SAFETY: the caller upholds the same contract.
        let given = unsafe { read_struct("rule", rule) }?;
        // SAFETY: as above.
        let name = unsafe { text("name", given.name, given.name_length) }?;
        // SAFETY: as above.
        let metric = unsafe { text("metric", given.metric, given.metric_length) }?;
        // SAFETY: as above.
        let unit = unsafe { text("unit", given.unit, given.unit_length) }?;
        // SAFETY: as above.
        let subject = unsafe { text("text", given.text, given.text_length) }?;
        let flags = CORELANE_RULE_BELOW | CORELANE_RULE_CLEAR | CORELANE_RULE_REPEAT | CORELANE_RULE_COOLDOWN;
        if given.flags & !flags != 0 {
            return Err(Failure::invalid(format!("flags is {}: use CORELANE_RULE_ values", given.flags)));
        }
        let has = |flag| given.flags & flag != 0;
        let rule = match has(CORELANE_RULE_BELOW) {
            true => Rule::below(name, metric, given.trigger),
            false => Rule::above(name, metric, given.trigger),
        };
        let mut rule = rule
            .severity(severity_of(given.severity)?)
            .unit(unit)
            .text(subject)
            .pending_for(Duration::from_nanos(given.pending_ns))
            .keep_firing_for(Duration::from_nanos(given.keep_ns))
            .min_samples(given.min_samples)
            .min_clients(given.min_clients);
        if has(CORELANE_RULE_CLEAR) {
            rule = rule.clear(given.clear);
        }
        if has(CORELANE_RULE_REPEAT) {
            rule = rule.repeat_interval(Duration::from_nanos(given.repeat_ns));
        }
        if has(CORELANE_RULE_COOLDOWN) {
            rule = rule.cooldown(Duration::from_nanos(given.cooldown_ns));
        }
        with_monitor(monitor, |entry| {
            entry.monitor.add_rule(rule)?;
            Ok(0)
        })
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, add) }
}

/// Removes a rule, also one that comes with the library. An alert that it has raised is resolved at the next look.
///
/// Any thread. Waits for other readers of this monitor. CORELANE_NOT_FOUND, CORELANE_INVALID (not UTF-8), CORELANE_NULL,
/// CORELANE_STALE.
///
/// # Safety
/// `name` is a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_remove_rule(
    monitor: CorelaneMonitor,
    name: *const c_char,
    name_length: usize,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let name = unsafe { text("name", name, name_length) }?;
        with_monitor(monitor, |entry| {
            entry.monitor.remove_rule(name)?;
            Ok(0)
        })
    })
}

/// Changes a rule's trigger and clear value from the next look on. If the configuration key of a rule that comes with the
/// library is set later, its thresholds follow the key again.
///
/// Any thread. Waits for other readers of this monitor. CORELANE_NOT_FOUND, CORELANE_INVALID (the two contradict each other;
/// not finite; not UTF-8), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `name` is a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_set_threshold(
    monitor: CorelaneMonitor,
    name: *const c_char,
    name_length: usize,
    trigger: f64,
    clear: f64,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let name = unsafe { text("name", name, name_length) }?;
        with_monitor(monitor, |entry| {
            entry.monitor.set_threshold(name, trigger, clear)?;
            Ok(0)
        })
    })
}

/// Writes the alerts of a kind, a CORELANE_ALERTS_ value, and returns how many there are; `capacity` of them are written.
///
/// Any thread. Waits for other readers of this monitor. CORELANE_INVALID (`kind`, `size`), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `alerts` points at `capacity` structs of the size in the first one; it may be NULL if `capacity` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_alerts(
    monitor: CorelaneMonitor,
    kind: u32,
    alerts: *mut CorelaneAlert,
    capacity: usize,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let places = unsafe { List::new("alerts", alerts, capacity) }?;
        with_monitor(monitor, |entry| {
            let figures = entry.monitor.alert_figures();
            let all = match kind {
                CORELANE_ALERTS_CURRENT => figures.current,
                CORELANE_ALERTS_PENDING => figures.pending,
                CORELANE_ALERTS_PAST => figures.history,
                _ => return Err(Failure::invalid(format!("kind is {kind}: use a CORELANE_ALERTS_ value"))),
            };
            places.write(&all, alert)
        })
    })
}

/// Writes the rules, and returns how many there are; `capacity` of them are written.
///
/// Any thread. Waits for other readers of this monitor. CORELANE_INVALID (`size`), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `rules` points at `capacity` structs of the size in the first one; it may be NULL if `capacity` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_rules(
    monitor: CorelaneMonitor,
    rules: *mut CorelaneRuleStats,
    capacity: usize,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let places = unsafe { List::new("rules", rules, capacity) }?;
        with_monitor(monitor, |entry| places.write(&entry.monitor.alert_figures().rules, rule_stats))
    })
}
