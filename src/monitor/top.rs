//! One pass over all clients: the clients with the largest figures, the number of healthy ones, and the durations of
//! open connections. Only readers of figures do this work, not threads that count messages.

use super::figures::{ClientFigures, ClientsFigures};
use crate::clients::{ClientCounts, ClientView};
use crate::metrics::Distribution;

/// Inputs of a pass, besides the clients.
pub(super) struct Look<'a> {
    pub(super) limit: usize,
    /// A client that is silent for longer is unhealthy. In nanoseconds.
    pub(super) unhealthy_after: u64,
    /// When silence starts to count, in raw ticks: before that, no thread recorded a client's last activity.
    pub(super) quiet_from: u64,
    /// Nanoseconds from a raw reading until the present; 0 for a later reading.
    pub(super) age: &'a dyn Fn(u64) -> u64,
    /// The present time, in milliseconds since 1970.
    pub(super) time_milliseconds: u64,
}

impl Look<'_> {
    /// How long a client has been silent, in nanoseconds.
    pub(super) fn silence(&self, counts: &ClientCounts) -> u64 {
        (self.age)(counts.last.max(self.quiet_from))
    }
}

/// The names of a client's labels, and whether the host recorded the client.
pub(super) struct Names<'a> {
    pub(super) application: &'a dyn Fn(u16) -> String,
    pub(super) protocol: &'a dyn Fn(u16) -> Option<String>,
    pub(super) recorded: bool,
}

#[derive(Default)]
pub(super) struct Survey {
    pub(super) clients: ClientsFigures,
    pub(super) open_milliseconds: Distribution,
    pub(super) healthy: u64,
    pub(super) unhealthy: u64,
}

/// A list, and the figure that it is ordered by.
type Ordered<'a> = (&'a mut Vec<ClientFigures>, fn(&ClientFigures) -> u64);

impl Survey {
    pub(super) fn add(&mut self, look: &Look<'_>, names: &Names<'_>, view: &ClientView<'_>) {
        self.clients.tracked += 1;
        let row = figures(look, names, view);
        if row.connected {
            self.open_milliseconds.add(row.connected_for_milliseconds);
            *if row.healthy { &mut self.healthy } else { &mut self.unhealthy } += 1;
        }
        for (list, figure) in lists(&mut self.clients) {
            insert(list, figure, look.limit, &row);
        }
    }
}

fn lists(clients: &mut ClientsFigures) -> [Ordered<'_>; 9] {
    [
        (&mut clients.by_messages, |row| row.messages),
        (&mut clients.by_errors, |row| row.errors),
        (&mut clients.by_bytes_in, |row| row.bytes_in),
        (&mut clients.by_bytes_out, |row| row.bytes_out),
        (&mut clients.by_average, |row| row.average_nanoseconds.unwrap_or(0)),
        (&mut clients.by_maximum, |row| row.maximum_nanoseconds),
        (&mut clients.by_outstanding, |row| row.outstanding_bytes),
        (&mut clients.by_outstanding_peak, |row| row.outstanding_peak),
        (&mut clients.by_undelivered, |row| row.undelivered),
    ]
}

/// Inserts a client at its place if it belongs to the first `limit` clients. Among equal clients the earlier one
/// stays first.
fn insert(
    list: &mut Vec<ClientFigures>,
    figure: fn(&ClientFigures) -> u64,
    limit: usize,
    row: &ClientFigures,
) {
    let value = figure(row);
    let place = list.partition_point(|other| figure(other) >= value);
    if value == 0 || place >= limit {
        return;
    }
    list.truncate(limit - 1);
    list.insert(place, row.clone());
}

/// One client's figures.
pub(super) fn figures(look: &Look<'_>, names: &Names<'_>, view: &ClientView<'_>) -> ClientFigures {
    let counts = &view.counts;
    let idle = look.silence(counts);
    ClientFigures {
        id: view.id.0,
        name: view.name.to_owned(),
        application: (names.application)(view.application),
        protocol: (names.protocol)(view.protocol),
        recorded: names.recorded,
        connected: counts.is_connected,
        messages: counts.messages,
        errors: counts.errors,
        bytes_in: counts.bytes_in,
        bytes_out: counts.bytes_out,
        average_nanoseconds: counts.nanoseconds.checked_div(counts.messages),
        maximum_nanoseconds: counts.maximum,
        last_activity_milliseconds: look
            .time_milliseconds
            .saturating_sub((look.age)(counts.last) / 1_000_000),
        connected_for_milliseconds: (look.age)(counts.connected_at) / 1_000_000,
        idle_milliseconds: idle / 1_000_000,
        outstanding_messages: view.outstanding.messages.into(),
        outstanding_bytes: view.outstanding.bytes.into(),
        outstanding_peak: view.outstanding.handed_messages_maximum.into(),
        undelivered: counts.undelivered,
        healthy: idle <= look.unhealthy_after && !counts.marked,
    }
}
