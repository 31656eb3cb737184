//! Who listens to the monitor: alerts, rules, reports, histories.

use super::alert::{Alert, Rule};
use super::figures::MonitorStats;
use super::history::Point;
use super::outbox::{CallbackId, ListenerLosses, ListenerPoll};
use super::paths::{self, as_step, element};
use super::report::{Format, ReportFigures, Target, try_file, write, write_file};
use super::series::SeriesKey;
use super::slots::Span;
use super::snapshot::ReadingTime;
use super::window::SlotStats;
use super::{Core, Monitor, log};
use crate::error::Error;
use crate::sync::{Arc, AtomicBool, AtomicU64, Relaxed, lock};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// Alerts for a host's event loop; see [`Monitor::alerts`].
pub type AlertPoll = ListenerPoll<Alert>;

/// A series over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct History {
    /// Its name, as [`Monitor::history_names`] gives it.
    pub name: String,
    /// For messages: slots, oldest first, the open one last; empty for numbers.
    pub slots: Vec<SlotStats>,
    /// For numbers: points, oldest first; empty for messages. Where there is none, nothing was seen.
    pub points: Vec<Point>,
}

/// What became of reports, beside what the outbox counts.
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

/// A file that reports are written to. Written by one thread.
struct ReportFile {
    path: PathBuf,
    /// The last report could not be written.
    failing: AtomicBool,
    counts: Arc<FileCounts>,
}

// Relaxed throughout: counts by themselves.
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

// Relaxed throughout: counts by themselves.
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
    /// Adds a rule over any figure; see [`Rule`]. Its metric is the path of a number in the JSON report, such as
    /// `types.*.windows.last_minute.p99` (docs/guide.md). A path of what this monitor does not keep is taken, since
    /// `detailed_stats` may be switched on later: a warning is logged, and `alerts.rules` says why there is no value.
    ///
    /// # Errors
    /// [`Error::Rule`] for one that cannot be, [`Error::RuleExists`], [`Error::TooManyRules`] past 64.
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
    pub fn add_rule(&self, rule: Rule) -> Result<(), Error> {
        let mut inner = lock(&self.core.inner);
        let missing = rule.missing(inner.kept(&*self.core.source));
        inner.rules.add(rule)?;
        drop(inner);
        log::unavailable(missing.as_slice());
        Ok(())
    }

    /// Takes a rule away, a shipped one perhaps. What it has raised is over with the next look.
    ///
    /// # Errors
    /// [`Error::UnknownRule`].
    pub fn remove_rule(&self, name: &str) -> Result<(), Error> {
        lock(&self.core.inner).rules.remove(name)
    }

    /// Changes a rule's thresholds; its state stays, and the next look takes the new ones. A shipped rule's follow its key
    /// again when that is [`set`](Monitor::set).
    ///
    /// # Errors
    /// [`Error::UnknownRule`], or [`Error::Rule`] where the two do not fit.
    pub fn set_threshold(&self, name: &str, trigger: f64, clear: f64) -> Result<(), Error> {
        lock(&self.core.inner).rules.set_threshold(name, trigger, clear)
    }

    /// Has `callback` called with each alert as it is raised, repeated and resolved, on a thread of its own: one that
    /// blocks or panics harms nobody else. At most 256 alerts wait for it; then the oldest is dropped, and counted.
    ///
    /// # Errors
    /// [`Error::TooManyListeners`] past 16, [`Error::System`] where there is no thread to be had.
    pub fn on_alert(&self, callback: impl Fn(&Alert) + Send + Sync + 'static) -> Result<CallbackId, Error> {
        self.core.alerts.add_callback(callback)
    }

    /// Ends a callback of [`on_alert`](Self::on_alert). True: it is not called any more. False: it is being called and has
    /// not returned within `patience`; after that call it is not called again.
    pub fn remove_alert_callback(&self, id: CallbackId, patience: Duration) -> bool {
        self.core.alerts.remove_callback(id, patience)
    }

    /// Alerts from now on, for a host that polls: with a descriptor that is readable while one waits.
    ///
    /// # Errors
    /// [`Error::TooManyListeners`] past 16, [`Error::System`] where there is no descriptor to be had.
    pub fn alerts(&self) -> Result<AlertPoll, Error> {
        self.core.alerts.poll()
    }

    /// Has each report of the timer given to `callback`, on a thread of its own. At most 4 wait for it; then the oldest
    /// is dropped, and counted.
    ///
    /// # Errors
    /// As [`on_alert`](Self::on_alert).
    pub fn on_report(
        &self,
        format: Format,
        callback: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<CallbackId, Error> {
        self.core.reports.add_callback(move |stats: &MonitorStats| callback(&write(stats, format)))
    }

    /// Has each report of the timer written to a file or to the log, on a thread of its own. A file that cannot be written later
    /// on raises the alert `report_file`.
    ///
    /// # Errors
    /// [`Error::System`] where the file cannot be written; otherwise as [`on_alert`](Self::on_alert).
    pub fn report_to(&self, format: Format, target: Target) -> Result<CallbackId, Error> {
        let path = match target {
            Target::Log => {
                let log = |report: String| tracing::info!(target: "corelane::report", "{report}");
                return self.core.reports.add_callback(move |stats: &MonitorStats| log(write(stats, format)));
            }
            Target::File(path) => path,
        };
        try_file(&path)?;
        let counts = Arc::clone(&self.core.report_counts.files);
        let file = ReportFile { path, failing: AtomicBool::new(false), counts };
        self.core.reports.add_callback(move |stats: &MonitorStats| file.write(&write(stats, format)))
    }

    /// Ends what [`on_report`](Self::on_report) or [`report_to`](Self::report_to) began; as
    /// [`remove_alert_callback`](Self::remove_alert_callback).
    pub fn remove_report(&self, id: CallbackId, patience: Duration) -> bool {
        self.core.reports.remove_callback(id, patience)
    }

    /// A series over the last minute, hour or day; nothing for a name that there is none of.
    pub fn history(&self, name: &str, span: Span) -> Option<History> {
        let core = &self.core;
        let mut inner = lock(&core.inner);
        inner.collect(&*core.source);
        let moment = ReadingTime::of(&inner, &*core.source);
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

    /// The series that [`history`](Self::history) knows: `messages`, `queue_wait`, `types.PROTOCOL/TYPE`,
    /// `protocols.NAME` and `applications.NAME` are of messages, all others of numbers. Names are written as in the path of a
    /// figure (docs/guide.md).
    pub fn history_names(&self) -> Vec<String> {
        let inner = lock(&self.core.inner);
        let always = ["messages", "queue_wait"].map(str::to_owned);
        let windowed = inner.collector.series.iter().filter(|series| series.windows.is_some());
        let series = windowed.map(|series| name_of(&series.key));
        always.into_iter().chain(series).chain(inner.history.names().map(str::to_owned)).collect()
    }

    /// Remembers one more number from now on, by its path in the JSON report, up to 64. False where there was no room, where
    /// the path has more than 256 bytes, or where no report can have a number at it.
    pub fn watch(&self, metric: &str) -> bool {
        let mut inner = lock(&self.core.inner);
        let now = inner.now(&*self.core.source);
        metric.len() <= 256 && paths::exists(metric) && inner.history.watch(now, metric)
    }
}

fn name_of(key: &SeriesKey) -> String {
    match key {
        SeriesKey::Type(protocol, name) => format!("types.{}", as_step(&element(protocol, name))),
        SeriesKey::Protocol(name) => format!("protocols.{}", as_step(name)),
        SeriesKey::Application(name) => format!("applications.{}", as_step(name)),
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if let Some(thread) = lock(&self.thread).take() {
            thread.stop(Duration::ZERO);
        }
    }
}
