//! Handles of the library's objects, and the tables behind them (`sync::handles`).

use super::guard::Failure;
use super::status::CorelaneStatus;
use crate::sync::{Handles, Refused};

/// A router. Valid until `corelane_router_release`. The value 0 is never a valid handle. Copy it freely.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneRouter {
    /// The library's own number.
    pub value: u64,
}

/// A port. Valid until `corelane_port_release`. The value 0 is never a valid handle. Copy it freely.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelanePort {
    /// The library's own number.
    pub value: u64,
}

/// A client. Valid from `corelane_port_connect` until its CORELANE_EVENT_CLOSED, or from
/// `corelane_monitor_connect` until `corelane_monitor_disconnect`. The value 0 is never a valid handle. Copy it freely.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneClient {
    /// The library's own number.
    pub value: u64,
}

/// A room. Valid as long as it has members. The value 0 is never a valid handle. Copy it freely.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneRoom {
    /// The library's own number.
    pub value: u64,
}

/// A monitor. Valid until `corelane_monitor_release`. The value 0 is never a valid handle. Copy it freely.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneMonitor {
    /// The library's own number.
    pub value: u64,
}

/// A protocol, a type and an application, looked up by `corelane_monitor_series`. Valid as long as its monitor. The value 0
/// is the series of everything without names: `other`. Copy it freely.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneSeries {
    /// The library's own number.
    pub value: u64,
}

/// A callback of a monitor. Valid until it is removed or the monitor is released. The value 0 is never a valid handle. Copy
/// it freely.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneCallback {
    /// The library's own number.
    pub value: u64,
}

/// A queue of alerts. Valid until `corelane_alert_poll_release`. The value 0 is never a valid handle. Copy it freely.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneAlertPoll {
    /// The library's own number.
    pub value: u64,
}

/// The HTTP door of a monitor. Valid until `corelane_door_release`. The value 0 is never a valid handle. Copy it freely.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneDoor {
    /// The library's own number.
    pub value: u64,
}

/// An exporter of a monitor's figures. Valid until `corelane_exporter_release`. The value 0 is never a valid handle. Copy it
/// freely.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneExporter {
    /// The library's own number.
    pub value: u64,
}

/// A router's part in a cluster. Valid until `corelane_cluster_release`. The value 0 is never a valid handle. Copy it freely.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneCluster {
    /// The library's own number.
    pub value: u64,
}

/// A claimed name. Valid until `corelane_claim_release`, or until its cluster is released. The value 0 is never a valid handle.
/// Copy it freely.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneClaim {
    /// The library's own number.
    pub value: u64,
}

/// One series of a counter. Valid until `corelane_counter_release`. The value 0 is never a valid handle. Copy it freely.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneCounter {
    /// The library's own number.
    pub value: u64,
}

/// One series of a gauge. Valid until `corelane_gauge_release`. The value 0 is never a valid handle. Copy it freely.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneGauge {
    /// The library's own number.
    pub value: u64,
}

/// One series of a histogram. Valid until `corelane_histogram_release`. The value 0 is never a valid handle. Copy it freely.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneHistogram {
    /// The library's own number.
    pub value: u64,
}

/// A table of up to `N` objects of one kind.
pub(super) struct Table<T, const N: usize> {
    kind: &'static str,
    handles: Handles<T, N>,
}

impl<T: Send, const N: usize> Table<T, N> {
    pub(super) const fn new(kind: &'static str) -> Self {
        Self { kind, handles: Handles::new() }
    }

    /// Inserts a value and returns its handle.
    pub(super) fn insert(&self, value: T) -> Result<u64, Failure> {
        self.handles.insert(value).map_err(|value| {
            drop(value);
            let text = format!("this process has {N} {}s open, the maximum: release some", self.kind);
            Failure::new(CorelaneStatus::Limit, text)
        })
    }

    /// Runs `body` on the value with exclusive access.
    #[inline]
    pub(super) fn enter<R>(
        &self,
        handle: u64,
        body: impl FnOnce(&mut T) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        match self.handles.enter(handle, body) {
            Ok(result) => result,
            Err(refused) => Err(Failure::refused(self.kind, refused)),
        }
    }

    /// Checks a handle without entering. For a thread that has its own copy of what it needs of the value.
    #[inline]
    pub(super) fn check(&self, handle: u64) -> Result<(), Failure> {
        if self.handles.is_valid(handle) { Ok(()) } else { Err(Failure::refused(self.kind, Refused::Stale)) }
    }

    /// Makes the handle stale. The value is returned, or dropped by the last thread that is inside a call.
    pub(super) fn release(&self, handle: u64) -> Result<Option<T>, Failure> {
        self.handles.release(handle).map_err(|refused| Failure::refused(self.kind, refused))
    }
}

impl<T: Send + Sync, const N: usize> Table<T, N> {
    /// Runs `body` on the value with shared access.
    #[inline]
    pub(super) fn enter_shared<R>(
        &self,
        handle: u64,
        body: impl FnOnce(&T) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        match self.handles.enter_shared(handle, body) {
            Ok(result) => result,
            Err(refused) => Err(Failure::refused(self.kind, refused)),
        }
    }
}
