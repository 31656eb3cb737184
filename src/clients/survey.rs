//! What the monitor asks of all clients at once: reads by threads that own none of them, seldom, and waiting for nobody
//! but who connects or disconnects at that moment.

use super::figures::{ClientCounts, ClientLine, ClientView, ConnectionReading, MARK_EACH};
use super::{ClientId, Clients, NameBuffer, Phase};
use crate::error::Error;
use crate::sync::lock;

impl Clients {
    /// Connections now and since the last reset.
    pub(crate) fn connections(&self) -> ConnectionReading {
        lock(&self.control).connections.read()
    }

    /// The largest number of connections starts anew, at those there are, and so do the extremes of durations.
    pub(crate) fn begin_epoch(&self, epoch: u64) {
        let connections = &mut lock(&self.control).connections;
        connections.peak = connections.active();
        connections.writer.controlled.epoch = epoch;
        if epoch.is_multiple_of(MARK_EACH) {
            self.lines.iter().for_each(|line| line.mark_earlier(epoch));
        }
    }

    /// The figures of a client that is there, and nothing in their place where details were off at the start; its slot may
    /// outlast it.
    ///
    /// # Errors
    /// [`Error::StaleClient`] where it is not there.
    pub(crate) fn open_line(&self, client: ClientId) -> Result<Option<&ClientLine>, Error> {
        let open = self.get(client).filter(|slot| slot.phase_of(client.generation()) == Some(Phase::Open));
        open.map(|_| self.line(client)).ok_or(Error::StaleClient)
    }

    /// The host has seen a client come again.
    pub(crate) fn count_reconnect(&self) {
        lock(&self.control).connections.reconnects += 1;
    }

    /// Counts a name that was only recorded so far as connected, of that application. Says whether it was so.
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
        true
    }

    /// Every client that has figures, each as it was when it was looked at. One that comes or goes meanwhile may be among
    /// them or not.
    pub(crate) fn each(&self, mut each: impl FnMut(ClientView<'_>)) {
        let (used, epoch) = {
            let control = lock(&self.control);
            (control.unused as usize, control.connections.writer.controlled.epoch)
        };
        for (index, (slot, line)) in self.slots.iter().zip(&self.lines).enumerate().take(used) {
            let generation = slot.place().generation;
            if !matches!(slot.phase_of(generation), Some(Phase::Open | Phase::Closing)) {
                continue;
            }
            let mut buffer = NameBuffer::default();
            let (name, (protocol, application)) = (slot.name(&mut buffer), slot.labels());
            let (counts, outstanding) = (line.read(epoch), slot.credit.outstanding());
            // Otherwise a mixture of two clients.
            if slot.place().generation == generation {
                let id = ClientId::new(index as u32, generation);
                each(ClientView { id, name, application, protocol, counts, outstanding });
            }
        }
    }

    /// Gives up names that were only recorded, so that others have room: those of which nothing has been since `before`, in
    /// raw ticks, and `at_least` so many, those first that have been silent for longest.
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

    /// Slots that nobody has, those whose client is leaving included.
    pub(crate) fn vacancies(&self) -> usize {
        let mut control = lock(&self.control);
        self.sweep(&mut control, 0);
        self.slots.len() - control.unused as usize + control.free.len() + control.retired.len()
    }
}
