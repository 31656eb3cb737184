//! The figures, as the host and the monitor get them.

use super::{Driver, Host};
use crate::cluster::link::Moment;
use crate::cluster::peer::Peer;
use crate::metrics::{ClusterStatus, MachineStatus};

impl<H: Host> Driver<H> {
    pub(super) fn tell(&mut self, now: Moment) {
        let status = self.figures(now);
        self.host.status(status);
    }

    pub(super) fn figures(&self, now: Moment) -> ClusterStatus {
        let is_valid = self.lease.is_valid(now);
        let mut status = self.status.clone();
        let is_fenced = self.fenced_from.is_some();
        status.fenced_ms += self.fenced_from.map_or(0, |from| now.saturating_sub(from).as_millis() as u64);
        status.state = match () {
            () if is_fenced => "fenced",
            () if !is_valid || !self.directory.is_synced() => "starting",
            () if self.info.is_draining => "draining",
            () => "joined",
        }
        .into();
        status.incarnation = format!("{:016x}", self.incarnation);
        status.connected = self.is_connected;
        status.synced = self.directory.is_synced();
        status.unavailable =
            !self.is_connected || !is_valid || !status.synced || self.is_refused || self.is_not_written;
        status.fenced = is_fenced;
        status.names_owned = self.names.len();
        status.names_known = self.directory.len();
        status.names_left_out = self.directory.left_out();
        let (asks, kept) = self.directory.ask_figures();
        status.names_asked = kept;
        status.names_evicted = asks.evicted;
        status.asks = asks.asked;
        status.asks_in_flight = asks.in_flight;
        status.asks_found = asks.found;
        status.asks_nowhere = asks.nowhere;
        status.asks_failed = asks.failed;
        status.machines_left_out = self.links.left_out();
        status.directory_lag = self.nats.behind();
        status.claims_in_flight = self.names.claims();
        status.machines = self
            .directory
            .machines()
            .map(|(incarnation, info)| MachineStatus {
                machine: info.machine.clone(),
                incarnation: format!("{incarnation:016x}"),
                draining: info.is_draining,
            })
            .collect();
        status.machines.sort_by(|one, other| one.machine.cmp(&other.machine));
        status.links = self.links.values().map(Peer::status).collect();
        status.links.sort_by(|one, other| one.machine.cmp(&other.machine));
        status
    }
}
