//! The monitor: what threads count is collected once a second, kept in sliding windows, compared with alert rules, and
//! shown. Reads `metrics`, `clients` and `record`; nothing that routes waits for it, and nothing that records, but for names that
//! come up while it gives up others for want of room.
//!
//! | file | what it is |
//! |---|---|
//! | `collector`, `series` | reads what is new since the last look, series by series |
//! | `window`, `history`, `remembered`, `rate` | the last minute, hour and day |
//! | `slow`, `top` | slow messages; clients with the most |
//! | `system` | the process and the machine |
//! | `alert`, `values`, `outbox` | rules over any figure, and how alerts reach who listens |
//! | `log` | what is logged |
//! | `inner`, `thread` | all that behind one lock, and who drives it |
//! | `figures`, `snapshot`, `report` | what is shown, and how |

pub mod alert;
mod collector;
mod figures;
mod history;
mod inner;
mod listen;
mod log;
mod outbox;
mod paths;
mod rate;
mod remembered;
mod report;
mod series;
mod slots;
mod slow;
mod snapshot;
mod standalone;
mod system;
#[cfg(test)]
mod tests;
mod thread;
mod top;
mod values;
mod window;

pub use figures::{
    ApplicationConnectionFigures, BucketFigures, ClientFigures, ClientsFigures, ConnectionFigures,
    FoldedFigures, MessageFigures, MonitorStats, RoutingFigures, SeriesFigures, SlowEntry, SlowFigures,
    Windowed,
};
pub use history::Point;
pub use listen::{AlertPoll, History};
pub use outbox::CallbackId;
use paths::Kept;
#[cfg(feature = "schema")]
pub use report::schema;
pub use report::{Format, ReportFigures, Target};
pub use slots::Span;
pub use system::{
    CostStats, CpuStats, LoadAverage, LoadStats, MemoryStats, ProcessStats, RuntimeStats, SystemInputs,
    SystemProbe, SystemStats,
};
pub use window::{SlotStats, WindowStats};

use crate::clients::ClientId;
use crate::clock::Clock;
use crate::config::{Config, Key, TABLE};
use crate::error::Error;
use crate::metrics::{CounterFamily, Descriptor, GaugeFamily, HistogramFamily};
use crate::record::{Labels, Measured, MonitorSource, RecordedMessage, Recorder, Source};
use crate::sync::{Arc, Mutex, lock};
use alert::{Alert, RuleTable, shipped};
use inner::Inner;
use outbox::Outbox;
use snapshot::ReadingTime;
use standalone::Standalone;
use std::time::Duration;
use system::cost::Tick;
use thread::Thread;
use values::Figures;

/// Alerts that wait for one listener, and reports that do.
const ALERTS_WAITING: usize = 256;
const REPORTS_WAITING: usize = 4;

/// Keys that [`Monitor::set`] changes while it runs.
const CHANGEABLE: &[Key] = &[
    Key::MonitorInterval,
    Key::ReportInterval,
    Key::SlowMessageThreshold,
    Key::HighMemory,
    Key::HighConnections,
    Key::HighErrorRate,
    Key::HighSlowRate,
    Key::HighP99,
    Key::HighQueueDepth,
    Key::HighQueueWait,
    Key::HighCpu,
    Key::DetailedStats,
    Key::TopClients,
    Key::UnhealthyAfter,
    Key::EnableLogging,
];

/// A performance monitor: alone, for a server that routes itself and records what it does, or of a
/// [`Router`](crate::router::Router). Clones are one monitor; all calls may come from any thread, at any time.
///
/// ```
/// use corelane::config::Config;
/// use corelane::monitor::Monitor;
/// use corelane::record::{Measured, RecordedMessage};
/// use std::time::Duration;
///
/// let monitor = Monitor::new(Config::default())?;
/// monitor.start()?;
/// let ann = monitor.connect("ann", "my-app")?;
/// monitor.record(&RecordedMessage {
///     client: "ann",
///     message_type: "ping",
///     measured: Measured { processing_nanoseconds: 10_000_000, ..Measured::default() },
///     ..RecordedMessage::default()
/// });
/// let stats = monitor.snapshot();
/// let messages = stats.messages.expect("enable_metrics is on");
/// assert_eq!((messages.total, messages.latency.maximum), (1, Some(10_000_000)));
/// assert_eq!(stats.connections.active, 1);
/// monitor.disconnect(ann)?;
/// monitor.stop(Duration::from_secs(1));
/// # Ok::<(), corelane::error::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Monitor {
    core: Arc<Core>,
}

/// What clones share.
#[derive(Debug)]
struct Core {
    source: Arc<dyn Source>,
    inner: Mutex<Inner>,
    alerts: Outbox<Alert>,
    reports: Outbox<MonitorStats>,
    /// Reports made, and those that a file could not take.
    report_counts: listen::ReportCounts,
    thread: Mutex<Option<Thread>>,
}

impl Monitor {
    /// A monitor without a router, for what the host records.
    ///
    /// # Errors
    /// [`Error::Config`] for values that do not fit together.
    pub fn new(config: Config) -> Result<Self, Error> {
        Self::with_clock(config, Clock::new())
    }

    /// As [`new`](Self::new), with time from another clock, for tests.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_clock(config: Config, clock: Clock) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self::over(Arc::new(Standalone::new(config, clock, crate::clients::random_keys()))))
    }

    /// A router's monitor, with the router's configuration; the host may record to it as well. It outlives the router.
    /// A router has one monitor at a time: what one of them resets, another does not see as reset, but for clients' own
    /// figures, smallest and largest values, and the most connections at once, which begin at the last reset of any.
    ///
    /// ```
    /// use corelane::{config::Config, monitor::Monitor, router::Builder};
    ///
    /// let router = Builder::new(Config::default().with_workers(1)?).start()?;
    /// let monitor = Monitor::of(&router.source());
    /// assert_eq!(monitor.snapshot().routing.map(|routing| routing.workers.len()), Some(1));
    /// # Ok::<(), corelane::error::Error>(())
    /// ```
    pub fn of(router: &MonitorSource) -> Self {
        Self::over(Arc::clone(&router.0))
    }

    fn over(source: Arc<dyn Source>) -> Self {
        Self {
            core: Arc::new(Core {
                inner: Mutex::new(Inner::new(&*source)),
                source,
                alerts: Outbox::new("corelane-alert", ALERTS_WAITING),
                reports: Outbox::new("corelane-report", REPORTS_WAITING),
                report_counts: listen::ReportCounts::default(),
                thread: Mutex::new(None),
            }),
        }
    }

    /// Starts the monitor's thread: it collects once a second, looks at the system and at its rules each
    /// `monitor_interval_ms`, and reports each `report_interval_ms`. Until then, and after [`stop`](Self::stop), figures
    /// are collected whenever they are asked for, and nothing else happens. Does nothing where it runs. Logs a warning for
    /// each rule whose metric is not kept because `enable_metrics` or `detailed_stats` is off.
    ///
    /// # Errors
    /// [`Error::System`] where there is no thread to be had.
    pub fn start(&self) -> Result<(), Error> {
        let mut thread = lock(&self.core.thread);
        if thread.is_some() {
            return Ok(());
        }
        *thread = Some(Thread::start(&self.core)?);
        drop(thread);
        let inner = lock(&self.core.inner);
        // A monitor without a router is meant to have none; what is switched off may be a mistake.
        let kept = Kept { routing: true, ..inner.kept(&*self.core.source) };
        let unavailable = inner.rules.unavailable(kept);
        drop(inner);
        log::unavailable(&unavailable);
        Ok(())
    }

    /// Ends the thread and waits for it, up to `patience`. What is counted stays, and can be asked for.
    pub fn stop(&self, patience: Duration) {
        let thread = lock(&self.core.thread).take();
        if let Some(thread) = thread {
            thread.stop(patience);
        }
    }

    /// Does what the thread does each second, if it is due at the clock's present time: for hosts and tests that drive
    /// the monitor themselves.
    pub fn tick(&self) {
        self.core.tick();
    }

    /// Counts a message that the host has processed. See [`Recorder`] for the way that costs less.
    pub fn record(&self, message: &RecordedMessage<'_>) {
        self.core.source.hub().record(message);
    }

    /// As [`record`](Self::record), with names looked up before, by [`labels`](Self::labels) and
    /// [`client`](Self::client): nothing is hashed.
    pub fn record_labelled(&self, labels: Labels, client: Option<ClientId>, measured: Measured) {
        self.core.source.hub().record_shared(labels, client, measured);
    }

    /// Looks names up, and interns them as long as the budget lasts; then they are `other`.
    pub fn labels(&self, protocol: &str, message_type: &str, application: &str) -> Labels {
        self.core.source.hub().labels(protocol, message_type, application)
    }

    /// A thread's own way to record.
    pub fn recorder(&self) -> Recorder {
        Recorder::new(self.core.source.hub())
    }

    /// Counts a connection that the host has. (Those of a router's ports count by themselves.)
    ///
    /// # Errors
    /// [`Error::NameTaken`] where one of that name is connected, which counts as an attempt to reconnect;
    /// [`Error::TooManyClients`] past `max_recorded_clients` connected ones: names that messages were only recorded of
    /// make room; [`Error::NameLength`].
    pub fn connect(&self, client: &str, application: &str) -> Result<ClientId, Error> {
        self.core.source.hub().connect(client, application)
    }

    /// Counts the end of a connection.
    ///
    /// # Errors
    /// [`Error::StaleClient`] where it has ended.
    pub fn disconnect(&self, client: ClientId) -> Result<(), Error> {
        self.core.source.hub().disconnect(client)
    }

    /// A client that the host connected, or recorded a message of, by its name. One that is not connected may be given up
    /// when room for clients gets scarce, the longest silent first: messages recorded with its number then count in
    /// `folded.clients`, and its name has to be looked up again.
    pub fn client(&self, name: &str) -> Option<ClientId> {
        self.core.source.hub().client(name)
    }

    /// Counts bytes that the host has written to such a client.
    ///
    /// # Errors
    /// [`Error::StaleClient`] where there is none.
    pub fn record_sent(&self, client: ClientId, bytes: u64) -> Result<(), Error> {
        self.core.source.hub().sent(client, bytes)
    }

    /// Counts an attempt to reconnect that the host has seen.
    pub fn record_reconnect(&self) {
        self.core.source.hub().clients.count_reconnect();
    }

    /// Marks a connection as unhealthy, or takes the mark away: what the host knows of it (a failed probe, say). A
    /// router's client is named by its port's [`ClientId`], one of the host's by [`connect`](Self::connect)'s. Where
    /// `detailed_stats` was off at the start there is nothing to mark, and nothing happens.
    ///
    /// # Errors
    /// [`Error::StaleClient`] where there is none.
    pub fn mark(&self, client: ClientId, recorded: bool, unhealthy: bool) -> Result<(), Error> {
        let source = &self.core.source;
        let clients = if recorded { Some(&source.hub().clients) } else { source.routed_clients() };
        if let Some(line) = clients.ok_or(Error::StaleClient)?.open_line(client)? {
            line.mark(unhealthy);
        }
        Ok(())
    }

    /// Connections that have been silent for longer than this, so that the host can close them. While `detailed_stats` is
    /// off nobody knows, so there are none; where it is switched on, silence counts from then on.
    pub fn idle_clients(&self, longer_than: Duration) -> Vec<ClientFigures> {
        let mut inner = lock(&self.core.inner);
        let tick = Tick::begin();
        let moment = ReadingTime::of(&inner, &*self.core.source);
        let mut idle = Vec::new();
        inner.each_client(&moment, |look, names, view| {
            let is_silent = u128::from(look.silence(&view.counts)) > longer_than.as_nanos();
            if view.counts.is_connected && is_silent {
                idle.push(top::figures(look, names, view));
            }
        });
        inner.cost.spend(&tick);
        idle
    }

    /// What the host's runtime says of itself, shown with the system's figures from the next look on, and how old it is.
    ///
    /// # Errors
    /// [`Error::Config`] for a share of the processor time that is none; what was pushed before stays.
    pub fn push_runtime(&self, mut runtime: RuntimeStats) -> Result<(), Error> {
        if !(0.0..=1.0).contains(&runtime.gc_cpu_fraction) {
            let (value, allowed) = (runtime.gc_cpu_fraction.to_string(), "a number from 0 to 1".to_owned());
            return Err(Error::Config { key: "gc_cpu_fraction", value, allowed });
        }
        runtime.pushed_milliseconds = self.core.source.clock().wall_milliseconds();
        lock(&self.core.inner).runtime = Some(runtime);
        Ok(())
    }

    /// Collects, and shows everything. Costs milliseconds where there are very many clients. Other readers wait for it, and
    /// where hardly any room for recorded clients is left, those who connect or record under a new name may.
    pub fn snapshot(&self) -> MonitorStats {
        self.core.snapshot(&mut lock(&self.core.inner))
    }

    /// The figures as a report.
    pub fn report(&self, format: Format) -> String {
        let stats = self.snapshot();
        let tick = Tick::begin();
        let report = report::write(&stats, format);
        lock(&self.core.inner).cost.spend(&tick);
        report
    }

    /// Everything that is shown starts anew, while recording goes on: each message counts either before or after. What is
    /// now (connections, queues), the router's accounting and the alerts stay.
    pub fn reset(&self) {
        self.reset_and_show();
    }

    /// As [`reset`](Self::reset), and shows what was counted until then: of one moment, so that nothing falls between the
    /// two.
    pub fn reset_and_show(&self) -> MonitorStats {
        let source = &*self.core.source;
        let mut inner = lock(&self.core.inner);
        let stats = self.core.snapshot(&mut inner);
        inner.reset(source);
        stats
    }

    /// Changes a value while the monitor runs: an interval, a threshold, the detail, logging. Keys are those of
    /// docs/configuration.md that say so.
    ///
    /// # Errors
    /// [`Error::Config`] for a key that cannot be changed, or a value that it does not take; nothing has changed.
    pub fn set(&self, key: &str, value: &str) -> Result<(), Error> {
        let mut inner = lock(&self.core.inner);
        let mut config = inner.config.clone();
        config.set(key, value)?;
        let row = TABLE.iter().position(|row| row.key == key);
        let changeable = CHANGEABLE.iter().find(|one| Some(**one as usize) == row);
        let Some(changed) = changeable.copied() else {
            let keys: Vec<_> =
                CHANGEABLE.iter().filter_map(|key| TABLE.get(*key as usize)).map(|row| row.key).collect();
            let allowed = format!("while it runs, one of {}", keys.join(", "));
            return Err(Error::Config { key: "key", value: key.to_owned(), allowed });
        };
        if changed == Key::DetailedStats && !self.core.source.config().has_details() {
            let allowed =
                "off, since it (or enable_metrics) was off at the start and no memory is reserved".to_owned();
            return Err(Error::Config { key: "detailed_stats", value: value.to_owned(), allowed });
        }
        inner.config = config;
        inner.apply(&*self.core.source, changed);
        drop(inner);
        self.core.wake();
        Ok(())
    }

    /// Bytes that it may come to hold, once everything that the configuration allows is in use, beside what is recorded
    /// into: that is in [`Builder::budget`](crate::router::Builder::budget).
    pub fn bytes_at_most(&self) -> u64 {
        Inner::bytes_at_most(&*self.core.source)
    }

    /// A counter of the host's own; asking again for the same one gives the same.
    ///
    /// # Errors
    /// [`Error::Metric`] for a name, unit or label that cannot be, or another metric of that name;
    /// [`Error::TooManyMetrics`].
    pub fn counter(&self, descriptor: &Descriptor) -> Result<CounterFamily, Error> {
        self.core.source.hub().customs.counter(descriptor)
    }

    /// A gauge of the host's own, likewise.
    ///
    /// # Errors
    /// As [`counter`](Self::counter).
    pub fn gauge(&self, descriptor: &Descriptor) -> Result<GaugeFamily, Error> {
        self.core.source.hub().customs.gauge(descriptor)
    }

    /// A histogram of the host's own, likewise.
    ///
    /// # Errors
    /// As [`counter`](Self::counter).
    pub fn histogram(&self, descriptor: &Descriptor) -> Result<HistogramFamily, Error> {
        self.core.source.hub().customs.histogram(descriptor)
    }
}

/// What a tick has to tell.
#[derive(Default)]
struct TickNews {
    slow: Vec<SlowEntry>,
    alerts: Vec<Alert>,
    report: Option<MonitorStats>,
    /// How long until the next tick.
    period: Duration,
}

impl Core {
    /// Says when the next one should be, at the latest.
    fn tick(&self) -> Duration {
        let news = self.collect();
        // A host's subscriber takes as long as it likes, and may ask the monitor.
        log::slow(&news.slow);
        log::alerts(&news.alerts);
        if let Some(report) = news.report {
            self.report_counts.made();
            self.reports.send(vec![report]);
        }
        news.period
    }

    /// Reads what is new, and looks at it if that is due.
    fn collect(&self) -> TickNews {
        let mut inner = lock(&self.inner);
        let source = &*self.source;
        inner.collect(source);
        let tick = Tick::begin();
        inner.make_room(source);
        let moment = ReadingTime::of(&inner, source);
        let slow = inner.collector.slow.take_unlogged(|raw| moment.wall_of(raw));
        let mut news = TickNews { slow, period: inner.period(), ..TickNews::default() };
        let now = inner.now(source);
        let due = inner.take_due(now);
        if due.look.is_some() {
            inner.look(source);
        }
        if due.look.is_some() || due.report {
            let mut stats = self.show(&inner);
            if let Some(now) = due.look {
                let figures = Figures::of(&stats);
                inner.remember(now, &figures);
                news.alerts = inner.rules.evaluate(now, source.clock().wall_milliseconds(), &figures);
                // Under the lock, so that alerts go out in the order in which they came about. It waits for nobody.
                self.alerts.send(news.alerts.clone());
            }
            if due.report {
                stats.drop_distributions();
                news.report = Some(stats);
            }
        }
        if !inner.logs() {
            (news.slow, news.alerts) = Default::default();
        }
        inner.cost.spend(&tick);
        news
    }

    /// Collects, and shows everything.
    fn snapshot(&self, inner: &mut Inner) -> MonitorStats {
        inner.collect(&*self.source);
        let tick = Tick::begin();
        // For hosts that drive no ticks as well.
        inner.make_room(&*self.source);
        let stats = self.show(inner);
        inner.cost.spend(&tick);
        stats
    }

    fn show(&self, inner: &Inner) -> MonitorStats {
        let alerts = inner.rules.figures(self.alerts.delivery(), inner.kept(&*self.source));
        let reports = self.report_counts.figures(self.reports.delivery());
        inner.snapshot(&*self.source, reports, alerts)
    }

    fn wake(&self) {
        if let Some(thread) = &*lock(&self.thread) {
            thread.wake();
        }
    }
}

/// The shipped rules with a configuration's thresholds.
fn rules(config: &Config) -> RuleTable {
    let mut rules = RuleTable::new();
    for rule in shipped(config) {
        // Each has a name of its own and is valid for every configuration: `alert::shipped` tests it.
        let _ = rules.add(rule);
    }
    rules
}
