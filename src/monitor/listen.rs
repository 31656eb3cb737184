//! What the host uses to follow the monitor: alerts, rules, reports and histories.

use super::alert::{Alert, AlertFigures, Rule};
use super::figures::{MonitorStats, ReportFigures};
use super::history::Point;
use super::outbox::{CallbackId, ListenerLosses, ListenerPoll};
use super::paths;
use super::reading::ReadingTime;
use super::remembered::MAX_WATCHED;
use super::report::{Format, Target, try_file, write, write_file};
use super::slots::Span;
use super::timeline::{Timeline, name_of};
use super::window::SlotStats;
use super::{Core, Monitor, log};
use crate::error::{ListenError, RuleError, WatchError};
use crate::sync::{Arc, AtomicBool, AtomicU64, Relaxed, lock};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// The most bytes of a watched path.
const MAX_PATH: usize = 256;

/// A queue of alerts for a host that polls; see [`Monitor::alerts`].
pub type AlertPoll = ListenerPoll<Alert>;

/// A series over time.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct History {
    /// The series' name, as in [`Monitor::history_names`].
    pub name: String,
    /// For a series of messages: the slots, oldest first. The last slot is still open. Empty for a number.
    pub slots: Vec<SlotStats>,
    /// For a number: the points, oldest first. A missing point means that no value was seen. Empty for a series of
    /// messages.
    pub points: Vec<Point>,
}

/// Counts of reports, in addition to the counts of the outbox.
#[derive(Debug)]
pub(super) struct ReportCounts {
    made: AtomicU64,
    files: Arc<FileCounts>,
}

#[derive(Debug)]
struct FileCounts {
    failed: AtomicU64,
    failing: AtomicU64,
}

impl Default for ReportCounts {
    fn default() -> Self {
        let files = FileCounts { failed: AtomicU64::new(0), failing: AtomicU64::new(0) };
        Self { made: AtomicU64::new(0), files: Arc::new(files) }
    }
}

/// A file that reports are written to. Only one thread writes it.
struct ReportFile {
    path: PathBuf,
    /// Whether the last report could not be written.
    failing: AtomicBool,
    counts: Arc<FileCounts>,
}

// Relaxed throughout: the counts are independent, and nothing is published through them.
impl ReportFile {
    fn write(&self, report: &str) {
        let result = write_file(&self.path, report);
        self.note(result.is_err());
        if let Err(error) = result {
            self.counts.failed.fetch_add(1, Relaxed);
            tracing::warn!(target: "corelane::report", path = %self.path.display(), %error, "cannot write a report");
        }
    }

    fn note(&self, failing: bool) {
        match (self.failing.swap(failing, Relaxed), failing) {
            (false, true) => _ = self.counts.failing.fetch_add(1, Relaxed),
            (true, false) => _ = self.counts.failing.fetch_sub(1, Relaxed),
            _ => {}
        }
    }
}

impl Drop for ReportFile {
    fn drop(&mut self) {
        self.note(false);
    }
}

// Relaxed throughout: the counts are independent, and nothing is published through them.
impl ReportCounts {
    pub(super) fn made(&self) {
        self.made.fetch_add(1, Relaxed);
    }

    pub(super) fn figures(&self, delivery: ListenerLosses) -> ReportFigures {
        ReportFigures {
            made: self.made.load(Relaxed),
            dropped: delivery.dropped,
            failed: self.files.failed.load(Relaxed),
            failing: self.files.failing.load(Relaxed),
            panics: delivery.panics,
        }
    }
}

impl Monitor {
    /// Adds a rule over any figure; see [`Rule`]. The rule's metric is the path of a number in the JSON report, such
    /// as `types.*.windows.last_minute.p99` (docs/guide.md). A metric that this monitor does not keep is accepted,
    /// because `detailed_stats` may be switched on later. In that case a warning is logged, and `alerts.rules` shows
    /// why the metric has no value.
    ///
    /// # Errors
    /// - [`RuleError::Invalid`] if the rule is invalid.
    /// - [`RuleError::Exists`] if there is a rule of that name.
    /// - [`RuleError::TooMany`] if there are 64 rules.
    ///
    /// ```
    /// use corelane::config::Config;
    /// use corelane::monitor::{Monitor, alert::Rule};
    ///
    /// let monitor = Monitor::new(Config::default())?;
    /// monitor.add_rule(Rule::above("slow_offers", "types.peerjs/OFFER.windows.last_minute.p99", 5e7).clear(4e7))?;
    /// monitor.on_alert(|alert| println!("{}: {}", alert.name, alert.message))?;
    /// # Ok::<(), corelane::error::Error>(())
    /// ```
    pub fn add_rule(&self, rule: Rule) -> Result<(), RuleError> {
        let mut inner = lock(&self.core.inner);
        let missing = rule.missing(inner.kept(&*self.core.source)).filter(|_| inner.logs());
        inner.rules.add(rule)?;
        drop(inner);
        log::unavailable(missing.as_slice());
        Ok(())
    }

    /// Removes a rule; a shipped rule can be removed as well. An alert that the rule has raised is resolved at the
    /// next look.
    ///
    /// # Errors
    /// [`RuleError::Unknown`] if there is no rule of that name.
    pub fn remove_rule(&self, name: &str) -> Result<(), RuleError> {
        lock(&self.core.inner).rules.remove(name)
    }

    /// Changes a rule's thresholds. The rule's state stays, and the next look uses the new thresholds. If the key of
    /// a shipped rule is [`set`](Monitor::set) later, the rule's thresholds follow the key again.
    ///
    /// # Errors
    /// - [`RuleError::Unknown`] if there is no rule of that name.
    /// - [`RuleError::Invalid`] if the two thresholds contradict each other.
    pub fn set_threshold(&self, name: &str, trigger: f64, clear: f64) -> Result<(), RuleError> {
        lock(&self.core.inner).rules.set_threshold(name, trigger, clear)
    }

    /// The rules and alerts, as in a snapshot, without a collection.
    pub(crate) fn alert_figures(&self) -> AlertFigures {
        let inner = lock(&self.core.inner);
        inner.rules.figures(self.core.alerts.delivery(), inner.kept(&*self.core.source))
    }

    /// Calls `callback` with each alert when it is raised, repeated and resolved. Each callback has its own thread,
    /// so that a callback that blocks or panics does not affect any other. Its queue holds at most 256 alerts. A full
    /// queue drops its oldest alert and counts it.
    ///
    /// # Errors
    /// - [`ListenError::TooMany`] if there are 16 callbacks.
    /// - [`ListenError::System`] if the thread cannot be created.
    pub fn on_alert(
        &self,
        callback: impl Fn(&Alert) + Send + Sync + 'static,
    ) -> Result<CallbackId, ListenError> {
        self.core.alerts.add_callback(callback)
    }

    /// Ends a callback of [`on_alert`](Self::on_alert). Returns true if the callback has ended and is not called
    /// again. Returns false if a call is in progress and has not returned within `patience`; no new call starts after
    /// it.
    pub fn remove_alert_callback(&self, id: CallbackId, patience: Duration) -> bool {
        self.core.alerts.remove_callback(id, patience)
    }

    /// Returns a queue of alerts from this moment on, for a host that polls: alerts of the shipped rules (docs/guide.md)
    /// and of the host's own. An [`Alert`] waits in it when it is raised, repeated and resolved; its `name` is that of its
    /// rule, its `state` says which of the three it is. The queue has a descriptor that is readable while an alert waits.
    ///
    /// ```
    /// use corelane::{config::Config, monitor::{Monitor, alert::Rule}};
    /// use std::time::Duration;
    ///
    /// let monitor = Monitor::new(Config::default())?;
    /// let alerts = monitor.alerts()?;
    /// monitor.add_rule(Rule::above("crowd", "connections.active", 0.5))?;
    /// monitor.connect("ann", "my-app")?;
    /// monitor.tick(); // A started monitor does this by itself.
    /// alerts.wait(Some(Duration::from_secs(5))); // An event loop waits for `alerts.as_fd()`; on tokio, `spawn_blocking`.
    /// while let Some(alert) = alerts.next() {
    ///     println!("{}: {}", alert.name, alert.message);
    /// }
    /// # Ok::<(), corelane::error::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ListenError::TooMany`] if there are 16 such queues.
    /// - [`ListenError::System`] if the descriptor cannot be created.
    pub fn alerts(&self) -> Result<AlertPoll, ListenError> {
        self.core.alerts.poll()
    }

    /// Calls `callback` with each periodic report, on a thread of its own. Its queue holds at most 4 reports. A full
    /// queue drops its oldest report and counts it.
    ///
    /// # Errors
    /// As [`on_alert`](Self::on_alert).
    pub fn on_report(
        &self,
        format: Format,
        callback: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<CallbackId, ListenError> {
        let write = self.writer(format);
        self.core.reports.add_callback(move |stats: &MonitorStats| callback(&write(stats)))
    }

    /// Writes each periodic report to a file or to the log, on a thread of its own. If the file cannot be written
    /// later, the alert `report_file` is raised.
    ///
    /// # Errors
    /// [`ListenError::System`] if the file cannot be written now; otherwise as [`on_alert`](Self::on_alert).
    pub fn report_to(&self, format: Format, target: Target) -> Result<CallbackId, ListenError> {
        let path = match target {
            Target::Log => {
                let write = self.writer(format);
                let log = |report: String| tracing::info!(target: "corelane::report", "{report}");
                return self.core.reports.add_callback(move |stats: &MonitorStats| log(write(stats)));
            }
            Target::File(path) => path,
        };
        try_file(&path)?;
        let write = self.writer(format);
        let counts = Arc::clone(&self.core.report_counts.files);
        let file = ReportFile { path, failing: AtomicBool::new(false), counts };
        self.core.reports.add_callback(move |stats: &MonitorStats| file.write(&write(stats)))
    }

    /// Writes the reports of a listener in this format.
    fn writer(&self, format: Format) -> impl Fn(&MonitorStats) -> String + Send + 'static {
        // Weak: the core owns the listeners.
        let core = Arc::downgrade(&self.core);
        move |stats| write(stats, format, || core.upgrade().map(|core| core.timelines()).unwrap_or_default())
    }

    /// Ends a listener of [`on_report`](Self::on_report) or [`report_to`](Self::report_to), in the same way as
    /// [`remove_alert_callback`](Self::remove_alert_callback).
    pub fn remove_report(&self, id: CallbackId, patience: Duration) -> bool {
        self.core.reports.remove_callback(id, patience)
    }

    /// Returns a series over the last minute, hour or day, or `None` if there is no series of that name.
    pub fn history(&self, name: &str, span: Span) -> Option<History> {
        let core = &self.core;
        let mut inner = lock(&core.inner);
        inner.collect(&*core.source);
        let moment = ReadingTime::of(inner.now(&*core.source), &*core.source);
        let times = moment.times();
        let collector = &inner.collector;
        let slots = |slots| Some(History { name: name.to_owned(), slots, points: Vec::new() });
        let always = match name {
            "messages" => Some(&collector.total),
            "queue_wait" => Some(&collector.queue_wait),
            _ => None,
        };
        if let Some(series) = always {
            return slots(series.windows.slots(span, times, series.track.maximum()).collect());
        }
        if let Some(series) = collector.series.iter().find(|series| name_of(&series.key) == name) {
            let windows = series.windows.as_ref()?;
            return slots(windows.slots(span, times, series.service.maximum()).collect());
        }
        let points = inner.history.get(name)?.points(span, times).collect();
        Some(History { name: name.to_owned(), slots: Vec::new(), points })
    }

    /// Returns all histories of one span in columns, for a dashboard: the slots that end later than
    /// `after_milliseconds`, a wall time in milliseconds since 1970; 0 for all.
    pub fn timeline(&self, span: Span, after_milliseconds: u64) -> Timeline {
        self.core.timeline(span, after_milliseconds)
    }

    /// Returns the names of the series that [`history`](Self::history) knows. `messages`, `queue_wait`,
    /// `types.PROTOCOL/TYPE`, `protocols.NAME` and `applications.NAME` are series of messages, all others are
    /// numbers. Names are written as in the path of a figure (docs/guide.md).
    pub fn history_names(&self) -> Vec<String> {
        let inner = lock(&self.core.inner);
        let always = ["messages", "queue_wait"].map(str::to_owned);
        let windowed = inner.collector.series.iter().filter(|series| series.windows.is_some());
        let series = windowed.map(|series| name_of(&series.key));
        always.into_iter().chain(series).chain(inner.history.names().map(str::to_owned)).collect()
    }

    /// Keeps the history of one more number from this moment on. `metric` is the number's path in the JSON report. At
    /// most 64 numbers can be watched.
    ///
    /// # Errors
    /// [`WatchError`] if no report can have a number at that path (the text names the nearest path), if the path has a
    /// `*`, because a history is of one number, if it has more than 256 bytes, or if 64 numbers are watched.
    pub fn watch(&self, metric: &str) -> Result<(), WatchError> {
        let shown: String = metric.chars().take(MAX_PATH).collect();
        let refuse = |problem| Err(WatchError { metric: shown, problem });
        if metric.len() > MAX_PATH {
            return refuse(format!("a path has at most {MAX_PATH} bytes"));
        }
        if !paths::exists(metric) {
            return refuse(paths::unknown(metric));
        }
        if paths::is_of_several(metric) {
            return refuse("a history is of one number: name the element instead of *".to_owned());
        }
        let mut inner = lock(&self.core.inner);
        let now = inner.now(&*self.core.source);
        if inner.history.watch(now, metric) {
            return Ok(());
        }
        refuse(format!("{MAX_WATCHED} numbers are watched, and no more can be"))
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if let Some(thread) = lock(&self.thread).take() {
            thread.stop(Duration::ZERO);
        }
    }
}
