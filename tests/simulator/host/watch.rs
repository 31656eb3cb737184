//! Reads and resets the router's monitor at any moment: the figures before and after the resets add up to the
//! messages that the router has handled, in every breakdown.

use super::Host;
use crate::reached::reached;
use corelane::monitor::{Monitor, MonitorStats, SeriesFigures};

reached! {
    resets: "resets of the monitor",
    looks: "looks at the monitor",
}

pub struct Watch {
    monitor: Monitor,
    /// Messages that ended, messages that did not succeed, bytes, and measured times, as shown before resets.
    before: [u64; 4],
    /// The latest figures since the last reset.
    last: [u64; 4],
}

impl Watch {
    pub fn new(router: &corelane::router::Router) -> Self {
        Self { monitor: Monitor::of(&router.source()), before: [0; 4], last: [0; 4] }
    }
}

/// The figures that add up.
fn sums(series: &[SeriesFigures]) -> [u64; 4] {
    let sum = |figure: fn(&SeriesFigures) -> u64| series.iter().map(figure).sum();
    [
        sum(|one| one.totals.total),
        sum(|one| one.totals.failed + one.totals.expired),
        sum(|one| one.totals.bytes),
        sum(|one| one.totals.latency.count),
    ]
}

fn totals(stats: &MonitorStats) -> [u64; 4] {
    let messages = stats.messages.as_ref().unwrap();
    let totals = [
        messages.totals.total,
        messages.totals.failed + messages.totals.expired,
        messages.totals.bytes_in,
        messages.totals.latency.count,
    ];
    for series in [&stats.types, &stats.protocols, &stats.applications] {
        let series = series.as_ref().unwrap();
        assert_eq!(sums(series), totals);
        let expired: u64 = series.iter().map(|one| one.totals.expired).sum();
        assert_eq!(expired, messages.totals.expired);
    }
    assert_eq!(messages.totals.succeeded + totals[1], totals[0]);
    assert_eq!(messages.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), totals[3]);
    assert_eq!(messages.totals.queue_wait.count, totals[3]);
    let windows = &messages.windows;
    for window in [&windows.last_minute, &windows.last_hour, &windows.last_day] {
        assert!(window.latency.count <= totals[3] && window.errors <= totals[1], "{window:?} {totals:?}");
    }
    // The longest window is longer than a run.
    assert_eq!((windows.last_day.latency.count, windows.last_day.errors), (totals[3], totals[1]));
    totals
}

impl Host {
    /// Occasionally reads, ticks or resets the monitor.
    pub(super) fn watch_now_and_then(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        match self.random.below(500) {
            0 => {
                watch.look(self.max_clients);
                watch.reset();
                self.reached.watch.resets += 1;
            }
            1 | 2 => {
                watch.look(self.max_clients);
                self.reached.watch.looks += 1;
            }
            3 => watch.monitor.tick(),
            _ => {}
        }
    }

    /// Checks the totals at the end.
    pub(super) fn check_monitor(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        watch.look(self.max_clients);
        let figures = self.router.accounting();
        let all: Vec<_> = watch.before.iter().zip(watch.last).map(|(before, last)| before + last).collect();
        assert_eq!(all[0], figures.ok + figures.failed + figures.expired);
        assert_eq!(all[1], figures.failed + figures.expired);
        let stats = self.router.stats();
        assert_eq!((all[2], all[3]), (stats.messages.bytes_in, stats.messages.latency.count));
    }
}

impl Watch {
    fn reset(&mut self) {
        self.monitor.reset();
        for (before, last) in self.before.iter_mut().zip(&mut self.last) {
            *before += std::mem::take(last);
        }
        assert_eq!(totals(&self.monitor.snapshot()), [0; 4], "a reset leaves something behind");
    }

    fn look(&mut self, max_clients: u64) {
        let stats = self.monitor.snapshot();
        let now = totals(&stats);
        for (now, last) in now.iter().zip(self.last) {
            assert!(*now >= last, "a figure decreased");
        }
        self.last = now;
        assert!(stats.connections.active <= max_clients, "{}", stats.connections.active);
        assert!(stats.connections.active <= stats.connections.peak);
    }
}
