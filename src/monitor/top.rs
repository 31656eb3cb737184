//! One look at all clients: those with the most of each figure, how many are healthy, how long the open ones have lasted.
//! Nothing of this happens where messages are counted.

use super::figures::{ClientFigures, ClientsFigures};
use crate::clients::{ClientCounts, ClientView};
use crate::metrics::Distribution;

/// What a look needs to know beside the clients.
pub(super) struct Look<'a> {
    pub(super) limit: usize,
    /// Silent for longer is unhealthy, in nanoseconds.
    pub(super) unhealthy_after: u64,
    /// From when on silence counts, in raw ticks: before that nobody wrote down when a client was last heard.
    pub(super) quiet_from: u64,
    /// Nanoseconds from a raw reading until now; 0 for one to come.
    pub(super) age: &'a dyn Fn(u64) -> u64,
    /// Now, in milliseconds since 1970.
    pub(super) time_milliseconds: u64,
}

impl Look<'_> {
    /// Nanoseconds of a client's silence.
    pub(super) fn silence(&self, counts: &ClientCounts) -> u64 {
        (self.age)(counts.last.max(self.quiet_from))
    }
}

/// Names of a client's labels, and whether the host reported it.
pub(super) struct Names<'a> {
    pub(super) application: &'a dyn Fn(u16) -> String,
    pub(super) protocol: &'a dyn Fn(u16) -> String,
    pub(super) recorded: bool,
}

#[derive(Default)]
pub(super) struct Survey {
    pub(super) clients: ClientsFigures,
    pub(super) open_milliseconds: Distribution,
    pub(super) healthy: u64,
    pub(super) unhealthy: u64,
}

/// The lists, with what each is ordered by.
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

fn lists(clients: &mut ClientsFigures) -> [Ordered<'_>; 7] {
    [
        (&mut clients.by_messages, |row| row.messages),
        (&mut clients.by_errors, |row| row.errors),
        (&mut clients.by_bytes_in, |row| row.bytes_in),
        (&mut clients.by_bytes_out, |row| row.bytes_out),
        (&mut clients.by_average, |row| row.average_nanoseconds.unwrap_or(0)),
        (&mut clients.by_maximum, |row| row.maximum_nanoseconds),
        (&mut clients.by_outstanding, |row| row.outstanding_bytes),
    ]
}

/// Puts a client where it belongs among the first ones, if it does; of equal ones the first stays first.
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
        outstanding_messages: view.outstanding.0.into(),
        outstanding_bytes: view.outstanding.1.into(),
        healthy: idle <= look.unhealthy_after && !counts.marked,
    }
}
