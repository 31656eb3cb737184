//! One reading of the source: its time, and the figures that are read directly from it.

use super::figures::FoldedFigures;
use super::slots::WindowTime;
use crate::clients::ConnectionReading;
use crate::config::Key;
use crate::record::Source;

/// The moment of one reading. All figures of a reading refer to the same moment.
pub(super) struct ReadingTime<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) raw: u64,
    /// Nanoseconds since the monitor was created.
    pub(super) now: u64,
    pub(super) wall: u64,
}

impl<'a> ReadingTime<'a> {
    pub(super) fn of(now: u64, source: &'a dyn Source) -> Self {
        let clock = source.clock();
        Self { source, raw: clock.raw(), now, wall: clock.wall_milliseconds() }
    }

    /// Nanoseconds since an earlier raw reading; 0 for a later one.
    pub(super) fn age(&self, raw: u64) -> u64 {
        self.source.clock().nanoseconds(raw.min(self.raw), self.raw)
    }

    /// The time of day of an earlier raw reading, in milliseconds since 1970.
    pub(super) fn wall_of(&self, raw: u64) -> u64 {
        self.wall.saturating_sub(self.age(raw) / 1_000_000)
    }

    /// The moment in the form that windows need.
    pub(super) fn times(&self) -> WindowTime {
        WindowTime { now: self.now, origin_milliseconds: self.wall.saturating_sub(self.now / 1_000_000) }
    }
}

/// Connections with their limits: a router's clients, the clients that the host recorded, and both together against
/// the host's own limit. The pool with the highest use refuses first.
pub(super) fn connection_pools(source: &dyn Source) -> Vec<(u64, u64)> {
    named_pools(source).into_iter().map(|(_, connections, limit)| (connections, limit)).collect()
}

/// As [`connection_pools`], with a name for each.
pub(super) fn named_pools(source: &dyn Source) -> Vec<(&'static str, u64, u64)> {
    let reported = source.hub().clients.connections().active;
    let routed = source.routed_clients().map(|routed| routed.connections().active);
    let mut pools = vec![("recorded", reported, source.config().get(Key::MaxRecordedClients))];
    pools.extend(routed.map(|routed| ("router", routed, source.config().get(Key::MaxClients))));
    let own = Some(source.config().get(Key::ConnectionLimit)).filter(|limit| *limit > 0);
    pools.extend(own.map(|limit| ("all", reported + routed.unwrap_or(0), limit)));
    pools
}

/// Connections of a router and of the host together. The peak is the sum of both peaks. It is exact if only one of
/// them has connections, and otherwise an upper bound.
pub(super) fn read_connections(source: &dyn Source) -> ConnectionReading {
    let mut all = source.hub().clients.connections();
    if let Some(clients) = source.routed_clients() {
        let routed = clients.connections();
        all.total += routed.total;
        all.active += routed.active;
        all.peak += routed.peak;
        all.disconnected += routed.disconnected;
        all.reconnects += routed.reconnects;
        all.lived.merge(&routed.lived);
    }
    all
}

/// Names folded since the start. The collector counts the windows.
pub(super) fn folded(source: &dyn Source) -> FoldedFigures {
    let hub = source.hub();
    let mut routed = 0;
    source.read(&mut |sources| routed = sources.labels.applications_folded());
    let metrics = source.config().has_metrics();
    let of_messages = |count: u64| metrics.then_some(count);
    FoldedFigures {
        types: of_messages(hub.types.folded()),
        protocols: of_messages(hub.protocols.folded()),
        applications: hub.applications.folded() + routed,
        clients: of_messages(hub.clients_folded()),
        windows: None,
        impossible: of_messages(hub.impossible()),
    }
}
