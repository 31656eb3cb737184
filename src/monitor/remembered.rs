//! The numbers whose history is kept: their paths (as in alert rules), and their samples at each look.

use super::alert::FigureSource;
use super::history::Gauge;
use super::values::Figures;
use std::collections::BTreeMap;

/// The numbers that are always kept, by path.
pub(super) const REMEMBERED: &[&str] = &[
    "connections.active",
    "connections.unhealthy",
    "messages.windows.last_minute.throughput_per_second",
    "messages.windows.last_minute.error_rate",
    "messages.windows.last_minute.p99",
    "messages.queue_wait_windows.last_minute.p99",
    "routing.totals.queue_messages",
    "routing.totals.concurrency",
    "routing.rates.utilisation",
    "routing.egress_full_last_minute",
    "routing.credit_exhausted_last_minute",
    "system.memory.resident_bytes",
    "system.memory.heap_bytes",
    "system.cpu.process_share",
    "system.cpu.system_share",
    "system.process.threads",
    "system.process.open_descriptors",
    "system.runtime.goroutines",
    "system.runtime.heap_bytes",
];

/// Maximum number of metrics that a host may add.
pub(super) const MAX_WATCHED: usize = 64;

/// All kept numbers, by path.
#[derive(Debug)]
pub(super) struct Remembered {
    gauges: BTreeMap<String, Gauge>,
    retention_hours: u64,
}

impl Remembered {
    pub(super) fn new(retention_hours: u64) -> Self {
        let gauge = |name: &&str| ((*name).to_owned(), Gauge::new(retention_hours, 0));
        Self { gauges: REMEMBERED.iter().map(gauge).collect(), retention_hours }
    }

    /// Keeps another metric from `now` on. Returns whether there was room, or whether the metric was kept already.
    pub(super) fn watch(&mut self, now: u64, name: &str) -> bool {
        let known = self.gauges.contains_key(name);
        if !known && self.gauges.len() < REMEMBERED.len() + MAX_WATCHED {
            self.gauges.insert(name.to_owned(), Gauge::new(self.retention_hours, now));
            return true;
        }
        known
    }

    /// Samples each metric that has exactly one value at present.
    pub(super) fn sample(&mut self, now: u64, figures: &Figures) {
        for (name, gauge) in &mut self.gauges {
            let mut values = Vec::new();
            figures.each(name, &mut |_, value, _| values.push(value));
            if let [value] = values[..] {
                gauge.sample(now, value);
            }
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.gauges.keys().map(String::as_str)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Gauge> {
        self.gauges.get(name)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.gauges.len() as u64 * (Gauge::bytes(self.retention_hours) as u64 + 256)
    }

    pub(super) const fn bytes_at_most(retention_hours: u64) -> u64 {
        (REMEMBERED.len() + MAX_WATCHED) as u64 * (Gauge::bytes(retention_hours) as u64 + 256)
    }
}
