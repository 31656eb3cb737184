//! Figures of routing as a whole, and rates between two snapshots. Pure functions of figures.

use super::figures::{Accounting, MessageStats, RoutingStats, Stats, WorkerStats};
use serde::{Deserialize, Serialize};

pub(super) fn routing_stats(
    accounting: &Accounting,
    messages: &MessageStats,
    workers: &[WorkerStats],
) -> RoutingStats {
    let time = messages.queue_wait.distribution.sum() + messages.latency.distribution.sum();
    let active = workers.iter().filter(|worker| worker.is_active).count() as u64;
    RoutingStats {
        routed: accounting.ok,
        failed: accounting.failed,
        expired: accounting.expired,
        average_nanoseconds: time.checked_div(messages.latency.count),
        concurrency: accounting.in_flight,
        concurrency_maximum_of_a_worker: workers.iter().map(|one| one.in_flight_maximum).max().unwrap_or(0),
        queue_messages: workers.iter().map(|worker| worker.queue_messages).sum(),
        queue_bytes: workers.iter().map(|worker| worker.queue_bytes).sum(),
        workers_active: active,
        workers_idle: workers.len() as u64 - active,
    }
}

/// Rates between two snapshots of one router.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Rates {
    /// Nanoseconds between the two snapshots.
    pub nanoseconds: u64,
    /// Messages with an outcome, per second.
    pub messages_per_second: f64,
    /// Messages that failed or expired, per second.
    pub failures_per_second: f64,
    /// Share of its time that each worker spent in cycles with work, from 0 to 1. A cycle counts when it
    /// ends.
    pub worker_utilisation: Vec<f64>,
    /// Mean of the workers' utilisations.
    pub utilisation: f64,
}

impl Stats {
    /// The rates since an earlier snapshot of the same router. All rates are 0 if no time has passed.
    pub fn since(&self, earlier: &Self) -> Rates {
        let nanoseconds = self.uptime_nanoseconds.saturating_sub(earlier.uptime_nanoseconds);
        let share = |later: u64, earlier: u64, whole: f64| {
            if nanoseconds == 0 {
                0.0
            } else {
                later.saturating_sub(earlier) as f64 * whole / nanoseconds as f64
            }
        };
        let not_ok = |stats: &Self| stats.messages.failed + stats.messages.expired;
        let worker_utilisation: Vec<_> = self
            .workers
            .iter()
            .zip(&earlier.workers)
            .map(|(now, then)| share(now.busy_nanoseconds, then.busy_nanoseconds, 1.0).min(1.0))
            .collect();
        let mean = worker_utilisation.iter().sum::<f64>() / worker_utilisation.len().max(1) as f64;
        Rates {
            nanoseconds,
            messages_per_second: share(self.messages.total, earlier.messages.total, 1e9),
            failures_per_second: share(not_ok(self), not_ok(earlier), 1e9),
            utilisation: mean,
            worker_utilisation,
        }
    }
}
