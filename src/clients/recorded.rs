//! Figures of clients that one recorder writes. A recorder with cells of its own has lines of its own for the
//! clients that it names, so counting a message needs no read-modify-write. The figures of a client are the sum of
//! its [`ClientLine`](super::ClientLine), which all other threads write, and of its lines in all recorders.
//!
//! Several clients have the same place in a recorder's lines if there are more clients than lines. The line belongs
//! to the first of them that the recorder names, until that client is closed; the recorder counts the others'
//! messages in their `ClientLine`.
//!
//! | word of a line | stored when the line starts anew | loaded |
//! |---|---|---|
//! | `client` | last, Release | first, Acquire |
//! | `epoch` | second, Release | second, Acquire |
//! | the counts | first, Release | third, Acquire |
//!
//! A reader that finds its client and its epoch therefore never finds counts of an earlier client or epoch. A reader
//! whose client loses the line meanwhile finds that the client is closed, because the recorder saw that first.

use super::{ClientCounts, ClientId, ClientMessage, Clients, Phase};
use crate::metrics::{Cell, Writer};
use crate::sync::mutant;
use std::sync::Arc; // Not a model's: the lines are shared before anything concurrent happens.

/// Largest number of lines of one recorder. A power of two, like every smaller number of lines: 256 KiB.
#[cfg(not(corelane_loom))]
const MOST_LINES: usize = 4096;
#[cfg(corelane_loom)]
const MOST_LINES: usize = 1;

/// Number of lines of each recorder for this number of clients.
pub(super) const fn lines_for(clients: u32) -> usize {
    let all = (clients as usize).next_power_of_two();
    if all < MOST_LINES { all } else { MOST_LINES }
}

/// The figures of one client in one recorder. One cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct RecorderLine {
    /// Id of the client. 0 is no client's id.
    client: Cell,
    /// Epoch to which the counts belong, except `last`.
    epoch: Cell,
    messages: Cell,
    errors: Cell,
    bytes_in: Cell,
    nanoseconds: Cell,
    maximum: Cell,
    last: Cell,
}

#[cfg(not(corelane_loom))]
const _: () = assert!(size_of::<RecorderLine>() == 64);

impl RecorderLine {
    /// Counts a message of the client and the epoch that have this line.
    #[inline(always)]
    pub(crate) fn count(&self, writer: &mut Writer, message: ClientMessage) {
        // All stores are Release, like those of `restart`: each may be the first of a new client that a reader finds.
        self.bytes_in.add(writer, message.bytes);
        self.nanoseconds.add(writer, message.nanoseconds);
        if message.nanoseconds > self.maximum.own() {
            if mutant("recorder-line-maximum-relaxed") {
                self.maximum.set(writer, message.nanoseconds);
            } else {
                self.maximum.publish(writer, message.nanoseconds);
            }
        }
        self.last.publish(writer, message.ended);
        // A reader loads the errors after the messages: see `read`.
        if message.failed {
            self.errors.add(writer, 1);
        }
        self.messages.add(writer, 1);
    }

    /// Starts the line of another client or of another epoch. The table above has the order.
    fn restart(&self, writer: &mut Writer, client: ClientId, epoch: u64) {
        if mutant("recorder-line-client-first") {
            self.client.publish(writer, client.0);
        }
        if mutant("recorder-line-epoch-first") {
            self.epoch.publish(writer, epoch);
        }
        if self.client.own() != client.0 {
            self.last.publish(writer, 0);
        }
        for count in [&self.messages, &self.errors, &self.bytes_in, &self.nanoseconds, &self.maximum] {
            // Release: see the table above.
            if mutant("recorder-line-relaxed") { count.set(writer, 0) } else { count.publish(writer, 0) }
        }
        self.epoch.publish(writer, epoch);
        self.client.publish(writer, client.0);
    }

    /// Adds the figures of `client` in this epoch to `counts`, if the line is this client's.
    fn read(&self, client: ClientId, epoch: u64, counts: &mut ClientCounts) {
        if self.client.get() != client.0 {
            return;
        }
        // A message of an earlier epoch is still the client's last one.
        let is_current = self.epoch.get() == epoch;
        counts.last = counts.last.max(self.last.get());
        if !is_current {
            return;
        }
        let messages = self.messages.get();
        counts.messages = counts.messages.wrapping_add(messages);
        counts.bytes_in = counts.bytes_in.wrapping_add(self.bytes_in.get());
        counts.nanoseconds = counts.nanoseconds.wrapping_add(self.nanoseconds.get());
        counts.maximum = counts.maximum.max(self.maximum.get());
        // Limit the errors: a message that fails meanwhile is in the errors but not in the messages.
        counts.errors += self.errors.get().min(messages);
    }
}

/// The lines of one recorder. The recorder keeps a share of them.
#[derive(Clone, Debug)]
pub(crate) struct RecorderLines(Arc<[RecorderLine]>);

impl RecorderLines {
    pub(super) fn new(clients: usize) -> Self {
        Self((0..lines_for(clients as u32)).map(|_| RecorderLine::default()).collect())
    }

    /// Bytes of the lines of one recorder, for the budget.
    pub(super) const fn bytes(clients: u32) -> u64 {
        (lines_for(clients) * size_of::<RecorderLine>()) as u64
    }

    /// Makes the pages of the lines resident.
    pub(super) fn touch(&mut self) -> std::io::Result<()> {
        Arc::get_mut(&mut self.0).map_or(Ok(()), crate::sync::os::touch)
    }

    /// The line at the place of a client, whichever client has it.
    #[inline]
    fn at(&self, client: ClientId) -> Option<&RecorderLine> {
        self.0.get(client.index() as usize & self.0.len().wrapping_sub(1))
    }
}

impl Clients {
    /// The lines of a recorder, created at the first call. `None` if clients have no figures.
    #[cold]
    pub(crate) fn recorder_lines(&self, recorder: usize) -> Option<RecorderLines> {
        Some(self.recorders.get(recorder)?.get_or_init(|| RecorderLines::new(self.slots.len())).clone())
    }

    /// The line in which a recorder counts a message of a connected client, begun for this client and epoch. `None` if
    /// the client is not connected or has no line. Called by the recorder's thread.
    #[inline(always)]
    pub(crate) fn recorder_line<'a>(
        &self,
        lines: &'a RecorderLines,
        writer: &mut Writer,
        client: ClientId,
        epoch: u64,
    ) -> Option<&'a RecorderLine> {
        let slot = self.slot(client.index())?;
        if slot.phase_of(client.generation()) != Some(Phase::Open) {
            return None;
        }
        let line = lines.at(client)?;
        if line.client.own() == client.0 && line.epoch.own() == epoch {
            return Some(line);
        }
        self.begin_line(line, writer, client, epoch).then_some(line)
    }

    /// Gives the line to the client, in this epoch, if it is free or the client's.
    #[cold]
    fn begin_line(&self, line: &RecorderLine, writer: &mut Writer, client: ClientId, epoch: u64) -> bool {
        let present = line.client.own();
        let is_free = present == client.0 || !self.is_present(ClientId(present));
        if is_free {
            line.restart(writer, client, epoch);
        }
        is_free
    }

    /// The figures of a client, as one read found them. `None` if the client is closed or has no figures.
    pub(crate) fn counts(&self, client: ClientId, epoch: u64) -> Option<ClientCounts> {
        let mut counts = self.own_counts(client, epoch)?;
        for lines in self.recorders.iter().filter_map(std::sync::OnceLock::get) {
            if let Some(line) = lines.at(client) {
                line.read(client, epoch, &mut counts);
            }
        }
        // Look only now: a client that was closed meanwhile may have lost its lines, and its slot may have a successor.
        // A client that is present now was present all along.
        (mutant("recorder-line-no-look") || self.is_present(client)).then_some(counts)
    }
}
