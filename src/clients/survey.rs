//! Reads of all clients by the monitor. They are rare, run on threads that own no client, and wait only for a
//! connect or disconnect that is in progress.

use super::figures::{ClientCounts, ClientLine, ClientView, ConnectionReading, MARK_EACH, short};
use super::{ClientId, Clients, NameBuffer, Phase};
use crate::error::StaleClient;
use crate::sync::lock;

impl Clients {
    /// Connections: current ones, and totals since the start.
    pub(crate) fn connections(&self) -> ConnectionReading {
        lock(&self.control).connections.read()
    }

    /// Starts an epoch: the peak of connections restarts at the current number, and the extremes of durations
    /// start anew.
    pub(crate) fn begin_epoch(&self, epoch: u64) {
        let connections = &mut lock(&self.control).connections;
        connections.peak = connections.active();
        connections.writer.controlled.epoch = epoch;
        if epoch.is_multiple_of(MARK_EACH) {
            self.lines.iter().for_each(|line| line.mark_earlier(epoch));
            self.losses.iter().for_each(|losses| losses.clear_earlier(short(epoch)));
        }
    }

    /// The figures of a connected client. `None` if details were off at the start. The slot may outlive the
    /// client.
    ///
    /// # Errors
    /// [`StaleClient`] if the client is not connected.
    pub(crate) fn open_line(&self, client: ClientId) -> Result<Option<&ClientLine>, StaleClient> {
        let slot = self.slot(client.index());
        let open = slot.filter(|slot| slot.phase_of(client.generation()) == Some(Phase::Open));
        open.map(|_| self.line(client)).ok_or(StaleClient)
    }

    /// Counts a reconnect that the host has noticed.
    pub(crate) fn count_reconnect(&self) {
        lock(&self.control).connections.reconnects += 1;
    }

    /// Counts a name that was only recorded as connected, with this application. Returns whether the name was
    /// only recorded.
    pub(crate) fn connect_recorded(&self, client: ClientId, application: u16) -> bool {
        let mut control = lock(&self.control);
        let (Some(slot), Some(line)) = (self.get(client), self.line(client)) else { return false };
        if slot.phase_of(client.generation()) != Some(Phase::Open) || !line.is_only_recorded() {
            return false;
        }
        let now = self.clock.raw();
        line.connect(now);
        control.only_recorded -= 1;
        slot.set_application(application);
        control.connections.connect(application, now);
        control.tell(slot, None);
        true
    }

    /// Passes every client that has figures to `each`, in the state in which it was read. A client that
    /// connects or disconnects meanwhile may be included or not.
    pub(crate) fn each(&self, mut each: impl FnMut(ClientView<'_>)) {
        let (used, epoch) = {
            let control = lock(&self.control);
            (control.unused as usize, control.connections.writer.controlled.epoch)
        };
        let used = if self.has_figures() { used } else { 0 };
        for (index, slot) in self.slots.iter().enumerate().take(used) {
            let id = ClientId::new(index as u32, slot.place().generation);
            if !self.is_present(id) {
                continue;
            }
            let mut buffer = NameBuffer::default();
            let (name, (protocol, application)) = (slot.name(&mut buffer), slot.labels());
            let outstanding = slot.outstanding();
            // Read the counts last: they are there only if the client is still present, so the entry is not a
            // mixture of two clients.
            if let Some(counts) = self.counts(id, epoch) {
                each(ClientView { id, name, application, protocol, counts, outstanding });
            }
        }
    }

    /// Evicts names that were only recorded: those without a message since `before`, in raw ticks, and at
    /// least `at_least` names if there are as many. The names that have been silent longest are evicted
    /// first.
    pub(crate) fn forget_recorded(&self, before: u64, at_least: usize) {
        let mut names = Vec::with_capacity(lock(&self.control).only_recorded);
        if names.capacity() == 0 {
            return;
        }
        self.each(|ClientView { id, counts: ClientCounts { is_connected, last, .. }, .. }| {
            if !is_connected {
                names.push((last, id));
            }
        });
        names.sort_unstable_by_key(|(last, _)| *last);
        let silent = names.partition_point(|(last, _)| *last < before);
        for (_, client) in names.iter().take(silent.max(at_least)) {
            if self.begin_close(*client) {
                self.end_close(*client);
            }
        }
    }

    /// Number of slots without a client, including those whose client is leaving.
    pub(crate) fn vacancies(&self) -> usize {
        let mut control = lock(&self.control);
        self.sweep(&mut control, 0);
        self.slots.len() - control.unused as usize + control.free.len() + control.retired.len()
    }
}
