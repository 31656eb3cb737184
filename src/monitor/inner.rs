//! The monitor's state, behind one lock that only the monitor's own thread and readers of figures take.

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

/// A look at the allocator that took longer is not repeated for some looks: others may have waited for it.
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
    /// Connections as last collected, and at the last reset.
    pub(super) connections_now: ConnectionReading,
    pub(super) connections_then: ConnectionReading,
    /// Connects by then of each application, in the order of its series.
    pub(super) applications_then: Vec<u64>,
    /// What had been folded by then.
    pub(super) folded_then: FoldedFigures,
    pub(super) rates: Rates,
    heap_pause: u32,
    /// When the monitor began, in raw ticks.
    started: u64,
    pub(super) since_milliseconds: u64,
    pub(super) started_milliseconds: u64,
    pub(super) resets: u64,
    /// From when on a client's silence is known, in raw ticks; never while `detailed_stats` is off.
    pub(super) quiet_from: u64,
    /// When the next look and the next report are due, in nanoseconds since the start.
    next_look: u64,
    next_report: u64,
}

/// What is due at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// When the look should have been, if it is due: looks are an interval apart by it, however late each tick is.
    pub(super) look: Option<u64>,
    pub(super) report: bool,
}

/// Whether what is due at `next` is due now, and if so when it should have been; `next` is moved on then, over what was
/// missed.
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
        // What a router has counted before is no news.
        collector.collect(source, 0);
        let connections = super::snapshot::read_connections(source);
        collector.sample_connections(0, connections.total, connections.disconnected);
        collector.forget_windows();
        collector.slow.take_unlogged(|raw| raw);
        let mut uptime = 0;
        source.read(&mut |sources| uptime = sources.uptime_nanoseconds);
        // A router's figures are its own, from its start on, whenever its monitor came.
        let begin = clock.wall_milliseconds().saturating_sub(uptime / 1_000_000);
        Self {
            collector,
            history: Remembered::new(config.get(Key::StatsRetention)),
            rules: super::rules(&config),
            // Without it there are no figures of the system, and everything else goes on.
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

    /// Nanoseconds since the start.
    pub(super) fn now(&self, source: &dyn Source) -> u64 {
        source.clock().nanoseconds(self.started, source.clock().raw())
    }

    /// Reads what is new.
    pub(super) fn collect(&mut self, source: &dyn Source) {
        let tick = Tick::begin();
        let now = self.now(source);
        self.connections_now = super::snapshot::read_connections(source);
        let connections = &self.connections_now;
        self.collector.collect(source, now);
        self.collector.sample_connections(now, connections.total, connections.disconnected);
        let bytes = self.collector.bytes() + self.history.bytes();
        self.cost.end(&tick, bytes);
    }

    /// What is due now; it then counts as done.
    pub(super) fn take_due(&mut self, now: u64) -> Due {
        let interval = |key| self.config.milliseconds(key).as_nanos() as u64;
        let (look_interval, report_interval) =
            (interval(Key::MonitorInterval), interval(Key::ReportInterval));
        Due {
            look: take(&mut self.next_look, now, look_interval),
            report: take(&mut self.next_report, now, report_interval).is_some(),
        }
    }

    /// An interval was changed: what is due is due by the new one, and never later than it was. However often either is
    /// changed, both go on.
    pub(super) fn reschedule(&mut self, now: u64, changed: Key) {
        let interval = self.config.milliseconds(changed).as_nanos() as u64;
        let next = if changed == Key::MonitorInterval { &mut self.next_look } else { &mut self.next_report };
        // One that is overdue was switched off: it begins now.
        let before = if *next > now { *next } else { u64::MAX };
        *next = before.min(now + interval);
    }

    /// Looks at the system, and at how fast the router is.
    pub(super) fn look(&mut self, source: &dyn Source) {
        let stats = source.router_stats();
        if let (Some(now), Some(then)) = (&stats, &self.last) {
            self.rates = now.since(then);
        }
        let pools = super::snapshot::connection_pools(source);
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

    /// Everything that is shown starts anew, from what was collected last. What is recorded between that and the next
    /// epoch counts as after it, with extremes that its cells tell; clients, whose figures their own threads restart, miss
    /// that millisecond.
    pub(super) fn reset(&mut self, source: &dyn Source) {
        let now = self.now(source);
        self.collector.reset(now);
        self.connections_then = self.connections_now.clone();
        self.applications_then.clear();
        let applications = self.application_connections(&super::snapshot::ReadingTime::of(self, source));
        self.applications_then = applications.iter().map(|one| one.total).collect();
        self.folded_then = super::snapshot::folded(source);
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

    /// A key was changed.
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
                let detailed = self.config.get(changed) == 1;
                controls.set_detailed(detailed);
                self.collector.detailed = detailed;
                self.quiet_from = if detailed { source.clock().raw() } else { u64::MAX };
            }
            _ => {}
        }
        for rule in shipped(&self.config) {
            // One that the host has taken away stays away, and its own of that name is its own.
            if changed == Key::MonitorInterval {
                self.rules.update_times(&rule);
            } else if rule.key() == Some(changed) {
                self.rules.update(rule);
            }
        }
    }

    /// What there are figures of now.
    pub(super) fn kept(&self, source: &dyn Source) -> Kept {
        Kept {
            metrics: source.config().has_metrics(),
            details: self.is_detailed(),
            routing: source.routed_clients().is_some(),
        }
    }

    /// Clients and series are followed one by one now.
    pub(super) fn is_detailed(&self) -> bool {
        self.collector.detailed
    }

    /// How far apart ticks should be.
    pub(super) fn period(&self) -> Duration {
        super::thread::PERIOD.min(self.config.milliseconds(Key::MonitorInterval))
    }

    pub(super) fn logs(&self) -> bool {
        self.config.get(Key::EnableLogging) == 1
    }

    /// Gives up names that were only recorded and have been silent for long, where room gets scarce.
    pub(super) fn make_room(&self, source: &dyn Source) {
        let clients = &source.hub().clients;
        let all = self.config.count(Key::MaxRecordedClients);
        let clock = source.clock();
        let before = clock.raw().saturating_sub(clock.ticks(self.config.milliseconds(Key::UnhealthyAfter)));
        if all > 0 && clients.vacancies() * 8 < all && self.quiet_from < before {
            source.hub().forget_recorded(before);
        }
    }

    /// Bytes that it may come to, beside what is recorded into.
    pub(super) fn bytes_at_most(source: &dyn Source) -> u64 {
        let retention = source.config().get(Key::StatsRetention);
        // Rules, alerts past and present, and what waits for listeners.
        let alerts = 4 << 20;
        // Those that wait are the same for all; each listener may have an older one in hand.
        let reports = (super::REPORTS_WAITING + super::outbox::MAX_LISTENERS) as u64;
        let report = Collector::series_at_most(source) * SeriesFigures::BYTES;
        Collector::bytes_at_most(source) + Remembered::bytes_at_most(retention) + alerts + reports * report
    }

    /// Puts what the last look saw into the history.
    pub(super) fn remember(&mut self, now: u64, figures: &Figures) {
        self.history.sample(now, figures);
    }
}
