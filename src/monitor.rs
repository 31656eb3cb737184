//! The monitor: collects the counters of all threads once a second, keeps them in sliding windows, evaluates alert
//! rules, and produces reports. Start at [`Monitor`]. [`Monitor::snapshot`] returns all figures as [`MonitorStats`],
//! [`Monitor::report`] the same as text, JSON or HTML, and [`alert`] has the rules.
//!
//! Routing never waits for the monitor. Recording waits for it only when a new name arrives while the monitor evicts other
//! names to make room.

// It reads `metrics`, `clients` and `record`.
//
// | file | contents |
// |---|---|
// | `collector`, `series` | read what has been recorded since the last collection, series by series |
// | `window`, `history`, `remembered`, `rate` | the last minute, hour and day |
// | `slow`, `top` | slow messages; the clients with the largest figures |
// | `system` | figures of the process and of the machine |
// | `alert`, `values`, `outbox` | rules over any figure, and the delivery of alerts to listeners |
// | `log` | log lines |
// | `inner`, `thread` | the state behind one lock, and the thread that drives it |
// | `connections` | the feed of connection events |
// | `exporters` | what exporters have sent and lost |
// | `intervals` | distributions in the format of HdrHistogram |
// | `figures`, `snapshot`, `report` | the figures and the formats in which they are shown |
// | `exposed` | the figures since the start, for Prometheus |

pub mod alert;
mod collector;
mod connections;
mod exporters;
mod exposed;
mod figures;
mod health;
mod history;
mod inner;
#[cfg(feature = "interval-log")]
mod intervals;
mod listen;
mod log;
mod outbox;
mod page;
mod paths;
mod rate;
mod reading;
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
mod timeline;
mod top;
mod values;
mod window;

pub use connections::{ConnectionEvent, ConnectionEvents};
#[cfg(any(feature = "elasticsearch", feature = "otlp"))]
pub(crate) use exporters::ExportSource;
pub(crate) use exposed::{ExposedBuckets, ExposedFigures};
pub use figures::{
    ApplicationConnectionFigures, BucketFigures, ClientFigures, ClientsFigures, ConnectionFigures,
    FoldedFigures, MessageFigures, MonitorStats, ReportFigures, RoutingFigures, SeriesFigures, SlowEntry,
    SlowFigures, Windowed,
};
pub use health::{Connection, Health};
pub use history::Point;
pub use listen::{AlertPoll, History};
pub use outbox::{CallbackId, ListenerPoll};
pub use page::page;
use paths::Kept;
#[cfg(feature = "schema")]
pub use report::schema;
pub use report::{Format, Target};
pub use slots::Span;
pub use system::{
    CostStats, CpuStats, LoadAverage, LoadStats, MemoryStats, ProcessStats, RuntimeStats, SystemInputs,
    SystemProbe, SystemStats,
};
pub use timeline::{CountColumns, PointColumns, SlotColumns, Timeline};
pub use window::{SlotStats, WindowStats};

use crate::clients::{ClientId, ClientView};
use crate::clock::Clock;
use crate::config::{Changes, Config, Key, Row, TABLE};
use crate::error::{ConfigError, ConfigProblem, MetricError, RecordConnectError, StaleClient, SystemError};
use crate::metrics::{CounterFamily, Descriptor, GaugeFamily, HistogramFamily};
use crate::nearest::nearest;
use crate::record::{Labels, Measured, MonitorSource, RecordedMessage, Recorder, Source};
use crate::sync::{Arc, Mutex, lock};
use alert::{Alert, RuleTable, shipped};
use exporters::Exporters;
use inner::Inner;
use outbox::Outbox;
use reading::ReadingTime;
use standalone::Standalone;
use std::time::Duration;
use system::cost::Tick;
use thread::Thread;
use values::Figures;

/// Maximum number of alerts, and of reports, in one listener's queue.
const ALERTS_WAITING: usize = 256;
const REPORTS_WAITING: usize = 4;

/// A performance monitor. It either stands alone, for a server that does its own routing and records its messages, or
/// belongs to a [`Router`](crate::router::Router). Clones share one monitor. Every method may be called from any
/// thread at any time.
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
///     measured: Measured { processing: Duration::from_millis(10), ..Measured::default() },
///     ..RecordedMessage::default()
/// });
/// let stats = monitor.snapshot();
/// let messages = stats.messages.expect("enable_metrics is on");
/// assert_eq!((messages.totals.total, messages.totals.latency.maximum), (1, Some(10_000_000)));
/// assert_eq!(stats.connections.active, 1);
/// monitor.disconnect(ann)?;
/// monitor.stop(Duration::from_secs(1));
/// # Ok::<(), corelane::error::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Monitor {
    core: Arc<Core>,
}

/// The state that all clones share.
#[derive(Debug)]
struct Core {
    source: Arc<dyn Source>,
    inner: Mutex<Inner>,
    alerts: Outbox<Alert>,
    reports: Outbox<MonitorStats>,
    /// Counts of reports made, and of reports that could not be written to a file.
    report_counts: listen::ReportCounts,
    exporters: Exporters,
    thread: Mutex<Option<Thread>>,
}

impl Monitor {
    /// Creates a monitor without a router. It shows what the host records.
    ///
    /// # Errors
    /// [`ConfigError`] if values of the configuration contradict each other.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Self::with_clock(config, Clock::new())
    }

    /// Like [`new`](Self::new), but takes its time from `clock`. For tests.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_clock(config: Config, clock: Clock) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self::over(Arc::new(Standalone::new(config, clock, crate::clients::random_keys()))))
    }

    /// Creates the monitor of a router, with the router's configuration. The host may record to it as well. The
    /// monitor may outlive the router.
    ///
    /// A router should have one monitor at a time. A reset is local to one monitor, with three exceptions: client
    /// figures, extremes (smallest and largest values), and the peak number of connections begin at the latest reset
    /// of any monitor.
    /// ```
    /// use corelane::{config::Config, monitor::Monitor, router::Builder};
    ///
    /// let mut config = Config::default();
    /// config.router.workers = Some(1);
    /// let router = Builder::new(config).start()?;
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
                exporters: Exporters::default(),
                thread: Mutex::new(None),
            }),
        }
    }

    /// Starts the monitor's thread. The thread collects once a second, looks at the system and evaluates the rules
    /// every `monitor_interval_ms`, and reports every `report_interval_ms`. Before the start and after
    /// [`stop`](Self::stop), figures are collected only when the host requests them, and no rule is evaluated. Does
    /// nothing if the thread already runs. Logs a warning for each rule whose metric is not kept because
    /// `enable_metrics` or `detailed_stats` is off.
    ///
    /// # Errors
    /// [`SystemError`] if the thread cannot be created.
    pub fn start(&self) -> Result<(), SystemError> {
        let mut thread = lock(&self.core.thread);
        if thread.is_some() {
            return Ok(());
        }
        *thread = Some(Thread::start(&self.core)?);
        drop(thread);
        let inner = lock(&self.core.inner);
        // A monitor without a router lacks routing figures by design, so do not warn about those. A switched-off key
        // may be a mistake.
        let kept = Kept { routing: true, ..inner.kept(&*self.core.source) };
        let unavailable = if inner.logs() { inner.rules.unavailable(kept) } else { Vec::new() };
        drop(inner);
        log::unavailable(&unavailable);
        Ok(())
    }

    /// Ends the thread and waits for its end, for at most `patience`. The counts are kept and can still be read.
    pub fn stop(&self, patience: Duration) {
        let thread = lock(&self.core.thread).take();
        if let Some(thread) = thread {
            thread.stop(patience);
        }
    }

    /// Does one tick at the clock's present time: collects, and does the look and the report that are due. For hosts
    /// and tests that drive the monitor themselves instead of calling [`start`](Self::start).
    pub fn tick(&self) {
        self.core.tick();
    }

    /// Counts a message that the host has processed. A [`Recorder`] does the same at a lower cost.
    pub fn record(&self, message: &RecordedMessage<'_>) {
        self.core.source.hub().record(message);
    }

    /// Like [`record`](Self::record), for names that [`labels`](Self::labels) and [`client`](Self::client) have
    /// looked up before. Hashes nothing.
    pub fn record_labelled(&self, labels: Labels, client: Option<ClientId>, measured: Measured) {
        let hub = self.core.source.hub();
        hub.record_shared(labels, client, measured, hub.now());
    }

    /// Looks names up and interns new ones. Once the budget for names is used up, new names become `other`.
    pub fn labels(&self, protocol: &str, message_type: &str, application: &str) -> Labels {
        self.core.source.hub().labels(protocol, message_type, application)
    }

    /// Creates a recorder: one thread's handle for recording.
    pub fn recorder(&self) -> Recorder {
        Recorder::new(self.core.source.hub())
    }

    /// Counts a connection that the host has opened. (Connections of a router's ports are counted automatically.)
    ///
    /// # Errors
    /// - [`RecordConnectError::NameTaken`] if a client of that name is connected. The call then counts as an attempt to reconnect.
    /// - [`RecordConnectError::TooManyClients`] if `max_recorded_clients` clients are connected. Names that have only messages
    ///   recorded make room for a new connection.
    /// - [`RecordConnectError::NameLength`] if a name is too short or too long.
    pub fn connect(&self, client: &str, application: &str) -> Result<ClientId, RecordConnectError> {
        self.core.source.hub().connect(client, application)
    }

    /// Counts the end of a connection that [`connect`](Self::connect) has counted.
    ///
    /// # Errors
    /// [`StaleClient`] if the connection has ended before.
    pub fn disconnect(&self, client: ClientId) -> Result<(), StaleClient> {
        self.core.source.hub().disconnect(client)
    }

    /// Looks up a client that the host has connected, or has recorded a message of, by its name. A client that is not
    /// connected may be evicted when room for clients becomes scarce; the client that has been silent longest goes
    /// first. Messages that are then recorded with the evicted client's number count in `folded.clients`, and its
    /// name has to be looked up again.
    ///
    /// [`client_figures`](Self::client_figures) returns a client's figures.
    pub fn client(&self, name: &str) -> Option<ClientId> {
        self.core.source.hub().client(name)
    }

    /// Counts bytes that the host has written to a client that it recorded.
    ///
    /// # Errors
    /// [`StaleClient`] if there is no such client.
    pub fn record_sent(&self, client: ClientId, bytes: u64) -> Result<(), StaleClient> {
        self.core.source.hub().sent(client, bytes)
    }

    /// Counts an attempt to reconnect that the host has observed.
    pub fn record_reconnect(&self) {
        self.core.source.hub().clients.count_reconnect();
    }

    /// Marks a connection as unhealthy, or removes the mark, according to what the host knows (a failed probe, for
    /// example). Has no effect if `detailed_stats` was off at the start.
    ///
    /// # Errors
    /// [`StaleClient`] if there is no such client.
    pub fn mark(&self, connection: Connection, health: Health) -> Result<(), StaleClient> {
        let source = &self.core.source;
        let (clients, client) = match connection {
            Connection::Routed(client) => (source.routed_clients(), client),
            Connection::Recorded(client) => (Some(&source.hub().clients), client),
        };
        if let Some(line) = clients.ok_or(StaleClient)?.open_line(client)? {
            line.mark(health == Health::Unhealthy);
        }
        Ok(())
    }

    /// Returns the connected clients that have been silent for longer than `longer_than`, so that the host can close
    /// them. Returns none while `detailed_stats` is off, because silence is not measured then. After it is switched
    /// on, silence counts from that moment.
    pub fn idle_clients(&self, longer_than: Duration) -> Vec<ClientFigures> {
        self.clients_that(|look, view| {
            let is_silent = u128::from(look.silence(&view.counts)) > longer_than.as_nanos();
            view.counts.is_connected && is_silent
        })
    }

    /// Returns the figures of the clients with this name: at most one of the router's clients and one that the host has
    /// recorded. Reads the table of all clients, which takes about a millisecond for 10,000 of them. Returns none if
    /// `detailed_stats` was off at the start.
    ///
    /// ```
    /// use corelane::{config::Config, monitor::Monitor, record::{Measured, RecordedMessage}};
    ///
    /// let monitor = Monitor::new(Config::default())?;
    /// monitor.record(&RecordedMessage { client: "ann", message_type: "OFFER", ..RecordedMessage::default() });
    /// assert_eq!(monitor.client_figures("ann").first().map(|ann| ann.messages), Some(1));
    /// assert_eq!(monitor.client_figures("ben"), []);
    /// # Ok::<(), corelane::error::Error>(())
    /// ```
    pub fn client_figures(&self, name: &str) -> Vec<ClientFigures> {
        self.clients_that(|_, view| view.name == name)
    }

    /// The figures of the clients that a predicate chooses.
    fn clients_that(&self, chosen: impl Fn(&top::Look<'_>, &ClientView<'_>) -> bool) -> Vec<ClientFigures> {
        let mut inner = lock(&self.core.inner);
        let tick = Tick::begin();
        let moment = ReadingTime::of(inner.now(&*self.core.source), &*self.core.source);
        let mut found = Vec::new();
        inner.each_client(&moment, |look, names, view| {
            if chosen(look, view) {
                found.push(top::figures(look, names, view));
            }
        });
        inner.cost.spend(&tick);
        found
    }

    /// Stores the host runtime's own figures. They appear with the system's figures from the next look on, together
    /// with their age.
    ///
    /// # Errors
    /// [`ConfigError`] if `gc_cpu_fraction` is not between 0 and 1. The figures pushed before then stay in place.
    pub fn push_runtime(&self, mut runtime: RuntimeStats) -> Result<(), ConfigError> {
        if !(0.0..=1.0).contains(&runtime.gc_cpu_fraction) {
            let (value, allowed) = (runtime.gc_cpu_fraction.to_string(), "a number from 0 to 1".to_owned());
            return Err(ConfigError::value("gc_cpu_fraction", value, allowed));
        }
        runtime.pushed_milliseconds = self.core.source.clock().wall_milliseconds();
        lock(&self.core.inner).runtime = Some(runtime);
        Ok(())
    }

    /// Collects, and returns all figures. Takes milliseconds if there are very many clients. Other readers wait for
    /// it. If room for recorded clients is nearly used up, threads that connect or record under a new name may wait
    /// as well.
    pub fn snapshot(&self) -> MonitorStats {
        self.core.snapshot(&mut lock(&self.core.inner))
    }

    /// Figures since the start, for the Prometheus text: no reset changes them.
    pub(crate) fn exposed(&self) -> ExposedFigures {
        let core = &self.core;
        let (delivery, reports) =
            (core.alerts.delivery(), core.report_counts.figures(core.reports.delivery()));
        let mut inner = lock(&core.inner);
        inner.collect(&*core.source);
        let tick = Tick::begin();
        let exposed = inner.exposed(&*core.source, delivery, reports, core.exporters.stats());
        inner.cost.spend(&tick);
        exposed
    }

    /// Shows the figures of an exporter, until nobody else has it. Its counts stay.
    #[cfg(any(feature = "elasticsearch", feature = "otlp"))]
    pub(crate) fn show_exporter(&self, exporter: Arc<dyn ExportSource>) {
        self.core.exporters.add(exporter);
    }

    /// Returns the figures as a report. A program reads a JSON report back into [`MonitorStats`], for example one that
    /// it has received from a server. The distributions of router latencies are not in a report and are then empty.
    ///
    /// ```
    /// use corelane::config::Config;
    /// use corelane::monitor::{Format, Monitor, MonitorStats};
    ///
    /// let monitor = Monitor::new(Config::default())?;
    /// monitor.connect("ann", "app")?;
    /// let stats: MonitorStats = serde_json::from_str(&monitor.report(Format::Json))?;
    /// assert_eq!(stats.connections.total, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn report(&self, format: Format) -> String {
        let stats = self.snapshot();
        let tick = Tick::begin();
        let report = report::write(&stats, format, || self.core.timelines());
        lock(&self.core.inner).cost.spend(&tick);
        report
    }

    /// Starts all figures anew while recording goes on. Each message counts either before or after the reset. Present
    /// values (connections, queues), the router's accounting and the alerts are not reset.
    pub fn reset(&self) {
        self.reset_and_show();
    }

    /// Like [`reset`](Self::reset), and returns the figures up to the reset. Both happen at one moment, so that
    /// nothing is lost between them.
    pub fn reset_and_show(&self) -> MonitorStats {
        let source = &*self.core.source;
        let mut inner = lock(&self.core.inner);
        let stats = self.core.snapshot(&mut inner);
        inner.reset(source);
        stats
    }

    /// Changes a value while the monitor runs: an interval, a threshold, the level of detail, or logging.
    /// docs/configuration.md says which keys these are.
    ///
    /// # Errors
    /// [`ConfigError`] if the key does not exist, cannot be changed, or does not accept the value. Nothing has changed
    /// then.
    pub fn set(&self, key: &str, value: &str) -> Result<(), ConfigError> {
        let mut inner = lock(&self.core.inner);
        let mut config = inner.config.clone();
        let changed = changeable(key)?;
        config.set(key, value)?;
        if changed == Key::DetailedStats
            && config.monitor.detailed_stats
            && !self.core.source.config().has_details()
        {
            let allowed = "off, because it or enable_metrics was off at the start and no memory is reserved";
            return Err(ConfigError::value(key, value, allowed));
        }
        inner.config = config;
        inner.apply(&*self.core.source, changed);
        drop(inner);
        self.core.wake();
        Ok(())
    }

    /// Returns what [`set`](Self::set) can change, with the present values.
    ///
    /// ```
    /// use corelane::{config::Config, monitor::Monitor};
    ///
    /// let monitor = Monitor::new(Config::default())?;
    /// monitor.set("top_clients", "3")?;
    /// let found = monitor.settings().into_iter().find(|(row, _)| row.key == "top_clients");
    /// assert_eq!(found.map(|(_, value)| value).as_deref(), Some("3"));
    /// # Ok::<(), corelane::error::Error>(())
    /// ```
    pub fn settings(&self) -> Vec<(&'static Row, String)> {
        let inner = lock(&self.core.inner);
        let keys = Key::ALL.iter().map(|key| (*key, key.row()));
        let changeable = keys.filter(|(_, row)| row.changes == Changes::Monitor);
        changeable.map(|(key, row)| (row, row.written(inner.config.get(key)))).collect()
    }

    /// Returns the most bytes that the monitor can hold, if everything that the configuration allows is in use. Does
    /// not include the memory that threads record into; [`Builder::budget`](crate::router::Builder::budget) covers
    /// that.
    pub fn bytes_at_most(&self) -> u64 {
        Inner::bytes_at_most(&*self.core.source)
    }

    /// Returns a counter of the host's own, and creates it if it does not exist. The same descriptor always gives the
    /// same counter.
    ///
    /// # Errors
    /// - [`MetricError::Invalid`] if the name, the unit or a label is invalid, or if another metric has that name.
    /// - [`MetricError::TooMany`] if there is no room for another metric.
    pub fn counter(&self, descriptor: &Descriptor) -> Result<CounterFamily, MetricError> {
        self.core.source.hub().customs.counter(descriptor)
    }

    /// Returns a gauge of the host's own; like [`counter`](Self::counter).
    ///
    /// # Errors
    /// As [`counter`](Self::counter).
    pub fn gauge(&self, descriptor: &Descriptor) -> Result<GaugeFamily, MetricError> {
        self.core.source.hub().customs.gauge(descriptor)
    }

    /// Returns a histogram of the host's own; like [`counter`](Self::counter).
    ///
    /// # Errors
    /// As [`counter`](Self::counter).
    pub fn histogram(&self, descriptor: &Descriptor) -> Result<HistogramFamily, MetricError> {
        self.core.source.hub().customs.histogram(descriptor)
    }
}

/// What one tick has produced.
#[derive(Default)]
struct TickNews {
    slow: Vec<SlowEntry>,
    alerts: Vec<Alert>,
    report: Option<MonitorStats>,
    /// How long until the next tick.
    period: Duration,
}

impl Core {
    /// Does one tick. Returns the longest time until the next.
    fn tick(&self) -> Duration {
        let news = self.collect();
        // Log without the lock: a host's `tracing` subscriber may take long, and may call the monitor.
        log::slow(&news.slow);
        log::alerts(&news.alerts);
        if let Some(report) = news.report {
            self.report_counts.made();
            self.reports.send(vec![report]);
        }
        news.period
    }

    /// Collects, and does the look and the report that are due.
    fn collect(&self) -> TickNews {
        let mut inner = lock(&self.inner);
        let source = &*self.source;
        inner.collect(source);
        let tick = Tick::begin();
        inner.make_room(source);
        let moment = ReadingTime::of(inner.now(source), source);
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
                // Send under the lock, so that alerts arrive in the order in which they arose. `send` does not wait
                // for any listener.
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

    /// Collects, and returns all figures.
    fn snapshot(&self, inner: &mut Inner) -> MonitorStats {
        inner.collect(&*self.source);
        let tick = Tick::begin();
        // Here as well as in the tick, because a host need not drive any ticks.
        inner.make_room(&*self.source);
        let stats = self.show(inner);
        inner.cost.spend(&tick);
        stats
    }

    fn show(&self, inner: &Inner) -> MonitorStats {
        let alerts = inner.rules.figures(self.alerts.delivery(), inner.kept(&*self.source));
        let reports = self.report_counts.figures(self.reports.delivery());
        inner.snapshot(&*self.source, reports, alerts, self.exporters.stats())
    }

    fn wake(&self) {
        if let Some(thread) = &*lock(&self.thread) {
            thread.wake();
        }
    }
}

/// The key of this name, if [`Monitor::set`] can change it.
fn changeable(name: &str) -> Result<Key, ConfigError> {
    let (allowed, key) = match Key::named(name) {
        Ok(key) if key.row().changes == Changes::Monitor => return Ok(key),
        Ok(key) if key.row().changes == Changes::Router => {
            ("use Router::set_active_workers".to_owned(), key.row().key)
        }
        known => {
            let keys = TABLE.iter().filter(|row| row.changes == Changes::Monitor).map(|row| row.key);
            // A preset sets keys that cannot be changed.
            if let Err(error) = known
                && error.key != "preset"
            {
                let allowed = format!("nearest that can be changed: {}", nearest(name, keys).join(", "));
                return Err(ConfigError { allowed, ..error });
            }
            (format!("these can: {}", keys.collect::<Vec<_>>().join(", ")), name)
        }
    };
    Err(ConfigError::new(ConfigProblem::Fixed, key, "", allowed))
}

/// The shipped rules with the thresholds of a configuration.
fn rules(config: &Config) -> RuleTable {
    let mut rules = RuleTable::new();
    for rule in shipped(config) {
        let added = rules.add(rule);
        debug_assert!(
            added.is_ok(),
            "a shipped rule has a name of its own and is valid for every configuration"
        );
    }
    rules
}
