//! The monitor's state, behind one lock that only the monitor's own thread and readers of figures take.

use super::alert::Rules;
use super::collector::Collector;
use super::history::History;
use super::values::Figures;
use super::system::cost::Tick;
use super::system::{CostStats, LoadStats, RuntimeStats, SystemInputs, SystemProbe, SystemStats};
use crate::config::{Config, Key};
use crate::metrics::{Rates, Stats};
use crate::record::Source;

/// A look at the allocator that took longer is not repeated for some looks: others may have waited for it.
const LONG_HEAP_LOOK: u64 = 1_000_000;
const HEAP_PAUSE: u32 = 12;

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) config: Config,
    pub(super) collector: Collector,
    pub(super) history: History,
    pub(super) rules: Rules,
    probe: Option<SystemProbe>,
    pub(super) system: Option<SystemStats>,
    pub(super) runtime: Option<RuntimeStats>,
    pub(super) cost: CostStats,
    /// The router's figures at the last look.
    last: Option<Stats>,
    pub(super) rates: Rates,
    heap_pause: u32,
    /// When the monitor began, in raw ticks.
    started: u64,
    pub(super) since_milliseconds: u64,
    pub(super) resets: u64,
    /// When the next look and the next report are due, in nanoseconds since the start.
    next_look: u64,
    next_report: u64,
}

/// What is due at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) look: bool,
    pub(super) report: bool,
}

impl Inner {
    pub(super) fn new(source: &dyn Source) -> Self {
        let (config, clock) = (source.config().clone(), source.clock());
        let mut collector = Collector::new(source);
        // What a router has counted before is no news.
        collector.collect(source, 0);
        collector.forget_windows();
        Self {
            collector,
            history: History::new(config.get(Key::StatsRetention)),
            rules: Rules::shipped(&config),
            // Without it there are no figures of the system, and everything else goes on.
            probe: SystemProbe::new().ok(),
            system: None,
            runtime: None,
            cost: CostStats::default(),
            last: None,
            rates: Rates::default(),
            heap_pause: 0,
            started: clock.raw(),
            since_milliseconds: clock.wall_milliseconds(),
            resets: 0,
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
        self.collector.collect(source, now);
        let bytes = self.collector.bytes() + self.history.bytes();
        self.cost.end(&tick, bytes);
    }

    /// What is due now; it then counts as done.
    pub(super) fn take_due(&mut self, now: u64) -> Due {
        let interval = |key| self.config.milliseconds(key).as_nanos() as u64;
        let (look_interval, report_interval) = (interval(Key::MonitorInterval), interval(Key::ReportInterval));
        let due = Due { look: now >= self.next_look, report: report_interval > 0 && now >= self.next_report };
        if due.look {
            self.next_look = now + look_interval;
        }
        if due.report {
            self.next_report = now + report_interval;
        }
        due
    }

    /// An interval was changed: what is due is due by the new one.
    pub(super) fn reschedule(&mut self, now: u64) {
        let interval = |key| self.config.milliseconds(key).as_nanos() as u64;
        self.next_look = self.next_look.min(now + interval(Key::MonitorInterval));
        self.next_report = now + interval(Key::ReportInterval);
    }

    /// Looks at the system, and at how fast the router is.
    pub(super) fn look(&mut self, source: &dyn Source) {
        let stats = source.router_stats();
        if let (Some(now), Some(then)) = (&stats, &self.last) {
            self.rates = now.since(then);
        }
        let (active, limit) = super::snapshot::connections(source);
        let queue = stats.as_ref().map_or(0, |stats| stats.routing.queue_messages);
        let used = stats.as_ref().and(self.last.as_ref()).map(|_| self.rates.utilisation);
        self.last = stats;
        let mut inputs = SystemInputs::default();
        inputs.high_memory_threshold_bytes = self.config.get(Key::HighMemory);
        inputs.skip_heap = self.heap_pause > 0;
        inputs.runtime = self.runtime;
        inputs.load = Some(LoadStats::new(queue, active, limit, used));
        self.heap_pause = self.heap_pause.saturating_sub(1);
        let Some(probe) = &mut self.probe else { return };
        let system = probe.look(&inputs);
        if system.memory.heap_look_nanoseconds.is_some_and(|took| took > LONG_HEAP_LOOK) {
            self.heap_pause = HEAP_PAUSE;
        }
        self.system = Some(system);
    }

    /// Puts what the last look saw into the history.
    pub(super) fn remember(&mut self, now: u64, figures: &Figures) {
        self.history.sample(now, figures);
    }
}
