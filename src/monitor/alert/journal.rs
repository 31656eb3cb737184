//! The record of what has happened to alerts: the notifications of an evaluation, the resolved alerts, and the
//! totals. `watched` writes it, `rules` returns it.

use super::machine::{Change, MachineStep, Notification};
use super::{Alert, Transitions};
use std::collections::VecDeque;

/// Maximum number of resolved alerts that are kept.
pub(super) const HISTORY: usize = 256;

/// Everything that outlives the alerts themselves.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Notifications of the present evaluation, in their order.
    pub(super) notices: Vec<Alert>,
    /// Resolved alerts, oldest first.
    pub(super) past: VecDeque<Alert>,
    pub(super) raised: u64,
    pub(super) resolved: u64,
    pub(super) repeated: u64,
    pub(super) withheld: u64,
    pub(super) folded: u64,
}

impl Journal {
    /// Counts a step. `alert` describes the alert after that step.
    pub(super) fn enter(&mut self, step: MachineStep, alert: &Alert, transitions: &mut Transitions) {
        match step.change {
            Some(Change::Pending) => transitions.pending += 1,
            Some(Change::Raised) => {
                transitions.firing += 1;
                self.raised += 1;
            }
            Some(Change::Recovering) => transitions.recovering += 1,
            Some(Change::Resolved) => {
                transitions.resolved += 1;
                self.resolved += 1;
                if self.past.len() >= HISTORY {
                    self.past.pop_front();
                }
                self.past.push_back(alert.clone());
            }
            Some(Change::Withdrawn | Change::Relapsed) | None => {}
        }
        self.repeated += u64::from(step.notification == Some(Notification::Repeated));
        self.withheld += u64::from(step.withheld);
        if step.notification.is_some() {
            self.notices.push(alert.clone());
        }
    }
}
