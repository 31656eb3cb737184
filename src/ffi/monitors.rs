//! The monitors of this process: the table behind their handles.

use super::guard::Failure;
use super::handle::{CorelaneMonitor, Table};
use crate::monitor::{CallbackId, Monitor, MonitorStats};
use crate::sync::Mutex;
use std::time::Duration;

/// How long a release waits for the monitor's thread, which may be in a tick.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What a monitor's handle stands for.
pub(super) struct Entry {
    pub(super) monitor: Monitor,
    /// The router's handle, or 0 for a monitor without a router.
    pub(super) router: u64,
    /// The latest snapshot, of which the lists are read.
    pub(super) latest: Mutex<Figures>,
    /// The callbacks that have not ended.
    pub(super) callbacks: Mutex<Vec<Listener>>,
}

/// One callback of a monitor.
#[derive(Clone, Copy)]
pub(super) struct Listener {
    /// The number in the C handle.
    pub(super) number: u64,
    pub(super) id: CallbackId,
    /// Of reports, not of alerts.
    pub(super) of_reports: bool,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.monitor.stop(STOP_PATIENCE);
    }
}

/// The monitors of this process.
pub(super) static MONITORS: Table<Box<Entry>, 64> = Table::new("monitor");

/// Runs a call on a monitor. Any number of threads may do so at once.
pub(super) fn with_monitor<R>(
    monitor: CorelaneMonitor,
    body: impl FnOnce(&Entry) -> Result<R, Failure>,
) -> Result<R, Failure> {
    MONITORS.enter_shared(monitor.value, |entry| body(entry))
}

/// The latest snapshot of a monitor.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) number: u64,
    pub(super) stats: Option<Box<MonitorStats>>,
}

impl Figures {
    pub(super) fn put(&mut self, mut stats: MonitorStats) {
        stats.drop_distributions();
        self.number += 1;
        self.stats = Some(Box::new(stats));
    }
}
