//! The monitor's state, behind one lock. Only the monitor's own thread and readers of figures take the lock.

use super::alert::{RuleTable, shipped};
use super::collector::Collector;
use super::figures::{FoldedFigures, SeriesFigures};
use super::paths::Kept;
use super::remembered::Remembered;
use super::system::cost::Tick;
use super::system::{CostStats, LoadStats, RuntimeStats, SystemInputs, SystemProbe, SystemStats};
use super::values::Figures;
use crate::clients::ConnectionReading;
use crate::config::{Config, Key};
use crate::metrics::{Rates, Stats};
use crate::record::Source;
use std::time::Duration;

/// If reading the allocator's figures takes longer than this (nanoseconds), the next `HEAP_PAUSE` looks skip it,
/// because other threads may have waited for the allocator meanwhile.
const LONG_HEAP_LOOK: u64 = 1_000_000;
const HEAP_PAUSE: u32 = 12;

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) config: Config,
    pub(super) collector: Collector,
    pub(super) history: Remembered,
    pub(super) rules: RuleTable,
    probe: Option<SystemProbe>,
    pub(super) system: Option<SystemStats>,
    pub(super) runtime: Option<RuntimeStats>,
    pub(super) cost: CostStats,
    /// The router's figures at the last look.
    last: Option<Stats>,
    /// Connections at the last collection, and at the last reset.
    pub(super) connections_now: ConnectionReading,
    pub(super) connections_then: ConnectionReading,
    /// Connects of each application at the last reset, in the order of the applications' series.
    pub(super) applications_then: Vec<u64>,
    /// Folded names at the last reset.
    pub(super) folded_then: FoldedFigures,
    pub(super) rates: Rates,
    heap_pause: u32,
    /// When the monitor was created, in raw ticks.
    started: u64,
    pub(super) since_milliseconds: u64,
    pub(super) started_milliseconds: u64,
    pub(super) resets: u64,
    /// Since when a client's silence is measured, in raw ticks; `u64::MAX` while `detailed_stats` is off.
    pub(super) quiet_from: u64,
    /// When the next look and the next report are due, in nanoseconds since the monitor was created.
    next_look: u64,
    next_report: u64,
}

/// What is due at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The scheduled time of the look, if it is due. Scheduled times are an interval apart, however late each tick is.
    pub(super) look: Option<u64>,
    pub(super) report: bool,
}

/// Returns the scheduled time of what is due at `next`, if it is due, and moves `next` past all missed intervals.
fn take(next: &mut u64, now: u64, interval: u64) -> Option<u64> {
    if interval == 0 || now < *next {
        return None;
    }
    let missed = now.saturating_sub(*next) / interval;
    let at = *next + missed * interval;
    *next = at + interval;
    Some(at)
}

impl Inner {
    pub(super) fn new(source: &dyn Source) -> Self {
        let (config, clock) = (source.config().clone(), source.clock());
        let mut collector = Collector::new(source);
        collector.epoch = source.hub().controls.now().epoch;
        // Discard what the router has counted before.
        collector.collect(source, 0);
        let connections = super::reading::read_connections(source);
        collector.sample_connections(0, connections.total, connections.disconnected);
        collector.forget_windows();
        collector.slow.take_unlogged(|raw| raw);
        let mut uptime = 0;
        source.read(&mut |sources| uptime = sources.uptime_nanoseconds);
        // A router's figures begin at the router's start, even if its monitor is created later.
        let begin = clock.wall_milliseconds().saturating_sub(uptime / 1_000_000);
        Self {
            collector,
            history: Remembered::new(config.get(Key::StatsRetention)),
            rules: super::rules(&config),
            // Without a probe there are no system figures; everything else works.
            probe: SystemProbe::new().ok(),
            system: None,
            runtime: None,
            cost: CostStats::default(),
            last: None,
            connections_now: connections,
            connections_then: ConnectionReading::default(),
            applications_then: Vec::new(),
            folded_then: FoldedFigures::default(),
            rates: Rates::default(),
            heap_pause: 0,
            started: clock.raw(),
            since_milliseconds: begin,
            started_milliseconds: begin,
            resets: 0,
            quiet_from: if config.has_details() { 0 } else { u64::MAX },
            next_look: 0,
            next_report: config.milliseconds(Key::ReportInterval).as_nanos() as u64,
            config,
        }
    }

    /// Nanoseconds since the monitor was created.
    pub(super) fn now(&self, source: &dyn Source) -> u64 {
        source.clock().nanoseconds(self.started, source.clock().raw())
    }

    /// Reads what has been recorded since the last collection.
    pub(super) fn collect(&mut self, source: &dyn Source) {
        let tick = Tick::begin();
        let now = self.now(source);
        self.connections_now = super::reading::read_connections(source);
        let connections = &self.connections_now;
        self.collector.collect(source, now);
        self.collector.sample_connections(now, connections.total, connections.disconnected);
        let bytes = self.collector.bytes() + self.history.bytes();
        self.cost.end(&tick, bytes);
    }

    /// Returns what is due, and schedules the next look and report.
    pub(super) fn take_due(&mut self, now: u64) -> Due {
        let interval = |key| self.config.milliseconds(key).as_nanos() as u64;
        let (look_interval, report_interval) =
            (interval(Key::MonitorInterval), interval(Key::ReportInterval));
        Due {
            look: take(&mut self.next_look, now, look_interval),
            report: take(&mut self.next_report, now, report_interval).is_some(),
        }
    }

    /// Schedules the next look or report after a change of its interval: by the new interval, but never later than
    /// before. Frequent changes therefore cannot postpone it for ever.
    pub(super) fn reschedule(&mut self, now: u64, changed: Key) {
        let interval = self.config.milliseconds(changed).as_nanos() as u64;
        let next = if changed == Key::MonitorInterval { &mut self.next_look } else { &mut self.next_report };
        // An overdue time means that the interval was 0 (off): start from the present.
        let before = if *next > now { *next } else { u64::MAX };
        *next = before.min(now + interval);
    }

    /// Reads the system's figures, and the router's rates since the last look.
    pub(super) fn look(&mut self, source: &dyn Source) {
        let stats = source.router_stats();
        if let (Some(now), Some(then)) = (&stats, &self.last) {
            self.rates = now.since(then);
        }
        let pools = super::reading::connection_pools(source);
        let queue = stats.as_ref().map_or(0, |stats| stats.routing.queue_messages);
        let used = stats.as_ref().and(self.last.as_ref()).map(|_| self.rates.utilisation);
        self.last = stats;
        let inputs = SystemInputs {
            high_memory_threshold_bytes: self.config.get(Key::HighMemory),
            skip_heap: self.heap_pause > 0,
            runtime: self.runtime,
            load: Some(LoadStats::of_pools(queue, &pools, used)),
        };
        self.heap_pause = self.heap_pause.saturating_sub(1);
        let Some(probe) = &mut self.probe else { return };
        let system = probe.look(&inputs);
        if system.memory.heap_look_nanoseconds.is_some_and(|took| took > LONG_HEAP_LOOK) {
            self.heap_pause = HEAP_PAUSE;
        }
        self.system = Some(system);
    }

    /// Starts all figures anew from the last collection. What is recorded between the collection and the next epoch
    /// counts as after the reset, with extremes from the cells. Client figures are restarted by their own threads, so
    /// they lose that millisecond.
    pub(super) fn reset(&mut self, source: &dyn Source) {
        let now = self.now(source);
        self.collector.reset(now, source.clock().raw());
        self.connections_then = self.connections_now.clone();
        self.applications_then.clear();
        let applications =
            self.application_connections(&super::reading::ReadingTime::of(self.now(source), source));
        self.applications_then = applications.iter().map(|one| one.total).collect();
        self.folded_then = super::reading::folded(source);
        self.since_milliseconds = source.clock().wall_milliseconds();
        self.resets += 1;
        let hub = source.hub();
        let epoch = hub.controls.next_epoch();
        self.collector.epoch = epoch;
        hub.clients.begin_epoch(epoch);
        if let Some(clients) = source.routed_clients() {
            clients.begin_epoch(epoch);
        }
    }

    /// Applies the new value of a key.
    pub(super) fn apply(&mut self, source: &dyn Source, changed: Key) {
        let controls = &source.hub().controls;
        match changed {
            Key::MonitorInterval | Key::ReportInterval => {
                let now = self.now(source);
                self.reschedule(now, changed);
            }
            Key::SlowMessageThreshold => {
                controls.set_slow(self.config.milliseconds(changed).as_nanos() as u64);
            }
            Key::DetailedStats => {
                let detailed = self.config.monitor.detailed_stats;
                controls.set_detailed(detailed);
                self.collector.detailed = detailed;
                self.quiet_from = if detailed { source.clock().raw() } else { u64::MAX };
            }
            _ => {}
        }
        for rule in shipped(&self.config) {
            // A rule that the host removed is not restored, and a host rule of the same name is not overwritten: both
            // calls find rules by key.
            if changed == Key::MonitorInterval {
                self.rules.update_times(&rule);
            } else if rule.key() == Some(changed) {
                self.rules.update(rule);
            }
        }
    }

    /// The figures that are kept at present.
    pub(super) fn kept(&self, source: &dyn Source) -> Kept {
        Kept {
            metrics: source.config().has_metrics(),
            details: self.is_detailed(),
            routing: source.routed_clients().is_some(),
        }
    }

    /// Whether figures are kept for each client and windows for each series.
    pub(super) fn is_detailed(&self) -> bool {
        self.collector.detailed
    }

    /// Time between two ticks.
    pub(super) fn period(&self) -> Duration {
        super::thread::PERIOD.min(self.config.milliseconds(Key::MonitorInterval))
    }

    pub(super) fn logs(&self) -> bool {
        self.config.monitor.logging
    }

    /// Evicts clients that only had messages recorded and have been silent for long, if room becomes scarce.
    pub(super) fn make_room(&self, source: &dyn Source) {
        let clients = &source.hub().clients;
        let all = self.config.count(Key::MaxRecordedClients);
        let clock = source.clock();
        let before = clock.raw().saturating_sub(clock.ticks(self.config.milliseconds(Key::UnhealthyAfter)));
        if all > 0 && clients.vacancies() * 8 < all && self.quiet_from < before {
            source.hub().forget_recorded(before);
        }
    }

    /// The most bytes that the monitor can hold, without the memory that threads record into.
    pub(super) fn bytes_at_most(source: &dyn Source) -> u64 {
        let retention = source.config().get(Key::StatsRetention);
        // Rules, present and resolved alerts, and listeners' queues.
        let alerts = 4 << 20;
        // Queued reports are shared by all listeners; in addition, each listener may hold an older report.
        let reports = (super::REPORTS_WAITING + super::outbox::MAX_LISTENERS) as u64;
        let report = Collector::series_at_most(source) * SeriesFigures::BYTES;
        Collector::bytes_at_most(source) + Remembered::bytes_at_most(retention) + alerts + reports * report
    }

    /// Puts the figures of the last look into the history.
    pub(super) fn remember(&mut self, now: u64, figures: &Figures) {
        self.history.sample(now, figures);
    }
}
