//! A worker's figures about itself: what waits for it, and how it spends its time. A part of `cycle`.

use super::Worker;

impl Worker {
    /// Called at the start of a cycle: records what waits in all rings, and the idle time since the last cycle.
    /// Only this worker takes records, so when it has read the last ring, at least this many waited at the same
    /// time.
    pub(super) fn look_at_queues(&mut self, now: u64) {
        let (mut records, mut bytes) = (0, 0);
        for ingoing in self.ingress.iter().flatten().filter(|ingoing| !ingoing.corrupt) {
            let waiting = ingoing.ring.waiting();
            records += waiting.0;
            bytes += waiting.1;
        }
        let own = &self.shared.workers[self.index].shard;
        let writer = &mut self.state.writer;
        own.queue_messages_maximum.raise(writer, records);
        own.queue_bytes_maximum.raise(writer, bytes);
        own.in_flight_maximum.raise(writer, records + self.state.holds.messages() as u64);
        let idle = self.idle_since.map_or(0, |since| self.shared.clock.nanoseconds(since, now));
        own.idle_nanoseconds.add(writer, idle);
    }

    /// Called at the end of a cycle: records what waits on the path to each port.
    pub(super) fn report_paths(&mut self) {
        let paths = self.shared.workers[self.index].paths.iter();
        for (egress, path) in self.state.egress.iter_mut().zip(paths) {
            if let Some(egress) = egress {
                egress.report(path, &mut self.state.writer);
            }
        }
    }
}
