//! All figures at one moment, merged from every shard into plain values, which are shown, exported and
//! tested. Outcomes are loaded first, then refusals, then submissions, so that no difference is negative
//! while workers go on. While the router is quiet every figure is exact.

use super::cell::Cell;
use super::figures::RoutingStats;
use super::figures::{
    Accounting, Connections, LatencyStats, MessageStats, PlacementStats, RecordedStats, RoomStats,
    SeriesStats, Stats, WorkerStats,
};
use super::histogram::{Distribution, Histogram};
use super::label::LabelTable;
use super::ports::{LaneCells, PathDepth, PathShard, port_stats};
use super::reasons::ByReason;
use super::routing::routing_stats;
use super::shard::{GroupSeries, PortShard, TypeSeries, WorkerShard};
use crate::error::{Failed, SubmitError, TakenOver, Unacknowledged, Undeliverable};
use crate::sync::{Acquire, AtomicU64, mutant};

/// The shards and values from which a snapshot is made.
pub(crate) struct Sources<'a> {
    pub(crate) workers: &'a [&'a WorkerShard],
    pub(crate) ports: &'a [&'a PortShard],
    pub(crate) labels: &'a LabelTable,
    pub(crate) connections: (u64, u64, u64),
    /// One slice per worker, with one path per port.
    pub(crate) paths: &'a [&'a [PathShard]],
    /// Contents of the rings, worker by worker and port by port. Empty if only the accounting is needed.
    pub(crate) depths: &'a [PathDepth],
    /// Epoch whose maxima and minima are shown.
    pub(crate) epoch: u64,
    pub(crate) uptime_nanoseconds: u64,
    pub(crate) active_workers: usize,
    /// The limit on messages in flight, and the permits that are free.
    pub(crate) permits: (u64, u64),
    /// Messages, by reason, that the base route has taken over for callers whose port was released meanwhile.
    pub(crate) late_takeovers: &'a [AtomicU64],
}

impl Sources<'_> {
    /// The counts of lanes.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = &LaneCells> + Clone {
        self.paths.iter().flat_map(|paths| paths.iter()).map(|path| &path.lane)
    }

    fn path(&self, worker: usize, port: usize) -> Option<(&PathShard, PathDepth)> {
        let depth = self.depths.get(worker * self.ports.len() + port).copied().unwrap_or_default();
        Some((self.paths.get(worker)?.get(port)?, depth))
    }
}

/// The sum of all cells. Sums of reported values may wrap around; a difference of two sums is correct all the
/// same.
pub(crate) fn sum(cells: impl Iterator<Item = u64>) -> u64 {
    cells.fold(0, u64::wrapping_add)
}

/// Sums an array of reason cells over all shards: the total, and the count of each reason.
fn reasons<'a, R: Copy>(
    all: &[R],
    label: fn(R) -> &'static str,
    shards: impl Iterator<Item = &'a [Cell]> + Clone,
) -> (u64, ByReason) {
    let of = |place| sum(shards.clone().filter_map(|cells: &[Cell]| cells.get(place)).map(Cell::get));
    let counts = ByReason::new(all.iter().enumerate().map(|(place, one)| (label(*one), of(place))));
    (sum(counts.iter().map(|one| one.1)), counts)
}

/// Messages that the base route has taken over, by reason.
fn takeovers(sources: &Sources<'_>) -> (u64, ByReason) {
    let of = |reason: &TakenOver| {
        let place = *reason as usize;
        let cells = sources.ports.iter().filter_map(|port| port.submit.taken_over.get(place));
        // Acquire pairs with the Release of the thread that counts.
        let late = sources.late_takeovers.get(place).map_or(0, |late| late.load(Acquire));
        late + sum(cells.map(Cell::get))
    };
    let counts = ByReason::new(TakenOver::ALL.iter().map(|reason| (reason.label(), of(reason))));
    (sum(counts.iter().map(|one| one.1)), counts)
}

fn merged<'a>(epoch: u64, histograms: impl Iterator<Item = &'a Histogram>) -> LatencyStats {
    Distribution::of(epoch, histograms).into()
}

fn groups<'a>(
    names: &[String],
    epoch: u64,
    workers: &[&'a WorkerShard],
    series: impl Fn(&'a WorkerShard) -> &'a [GroupSeries],
) -> Vec<SeriesStats> {
    let of = |place: usize| workers.iter().filter_map(|worker| series(worker).get(place)).collect::<Vec<_>>();
    names.iter().enumerate().map(|(place, name)| group_stats(epoch, name.clone(), &of(place))).collect()
}

/// The figures of a protocol or application, from its shards.
pub(crate) fn group_stats(epoch: u64, name: String, shards: &[&GroupSeries]) -> SeriesStats {
    let total = |cell: fn(&GroupSeries) -> &Cell| sum(shards.iter().map(|shard| cell(shard).get()));
    let [succeeded, failed, expired] =
        [total(|one| &one.ok), total(|one| &one.failed), total(|one| &one.expired)];
    SeriesStats {
        protocol: None,
        name,
        received: None,
        total: succeeded + failed + expired,
        succeeded,
        failed,
        expired,
        failures: None,
        slow: total(|one| &one.slow),
        bytes: total(|one| &one.bytes),
        latency: merged(epoch, shards.iter().map(|shard| &shard.service)),
        queue_wait: None,
    }
}

/// The figures of a type, from its shards.
pub(crate) fn type_stats(
    epoch: u64,
    (protocol, name): (String, String),
    shards: &[&TypeSeries],
) -> SeriesStats {
    let total = |cell: fn(&TypeSeries) -> &Cell| sum(shards.iter().map(|shard| cell(shard).get()));
    let (failed, failures) =
        reasons(Failed::ALL, Failed::label, shards.iter().map(|shard| &shard.failed[..]));
    let [succeeded, expired] = [total(|one| &one.ok), total(|one| &one.expired)];
    SeriesStats {
        protocol: Some(protocol),
        name,
        received: Some(total(|one| &one.received)),
        total: succeeded + failed + expired,
        succeeded,
        failed,
        expired,
        failures: Some(failures),
        slow: total(|one| &one.slow),
        bytes: total(|one| &one.bytes),
        latency: merged(epoch, shards.iter().map(|shard| &shard.service)),
        queue_wait: Some(merged(epoch, shards.iter().map(|shard| &shard.queue_wait))),
    }
}

fn worker_stats(sources: &Sources<'_>, worker: usize, shard: &WorkerShard) -> WorkerStats {
    let paths: Vec<_> = (0..sources.ports.len()).filter_map(|port| sources.path(worker, port)).collect();
    let queue_messages = sum(paths.iter().map(|(_, depth)| depth.ingress.records));
    let waits = |path: &PathShard| path.backlog_bytes.get() > 0 || path.closings.get() > 0;
    let types = || shard.types.iter();
    let service = Distribution::of(sources.epoch, types().map(|series| &series.service));
    let queue_wait = Distribution::of(sources.epoch, types().map(|series| &series.queue_wait));
    let ok = sum(types().map(|series| series.ok.get()));
    let failed = sum(types().flat_map(|series| &series.failed).map(|cell| cell.get()));
    let expired = sum(types().map(|series| series.expired.get()));
    WorkerStats {
        ended: ok + failed + expired,
        failed,
        expired,
        average_nanoseconds: (service.sum() + queue_wait.sum()).checked_div(service.count()),
        idle_nanoseconds: shard.idle_nanoseconds.get(),
        queue_messages,
        queue_bytes: sum(paths.iter().map(|(_, depth)| depth.ingress.bytes)),
        queue_messages_maximum: shard.queue_messages_maximum.get(),
        in_flight_maximum: shard.in_flight_maximum.get(),
        is_active: queue_messages > 0 || paths.iter().any(|(path, _)| waits(path)),
        credit_refusals: shard.credit_refusals.get(),
        credit_drops: shard.credit_drops.get(),
        received: sum(shard.types.iter().map(|series| series.received.get())),
        cycles: shard.cycles.get(),
        full_batches: shard.full_batches.get(),
        parks: shard.parks.get(),
        wakes: shard.wakes.get(),
        busy_nanoseconds: shard.busy_nanoseconds.get(),
        queue_bytes_maximum: shard.queue_bytes_maximum.get(),
        held: shard.held.get(),
        held_maximum: shard.held_maximum.get(),
        backlogged: shard.backlogged.get(),
        backlog_bytes_maximum: shard.backlog_bytes_maximum.get(),
        stamps_clamped: shard.stamps_clamped.get(),
        credit_closes: shard.credit_closes.get(),
        corrupt_rings: shard.corrupt_rings.get(),
        room_messages: shard.rooms.messages.get(),
        room_records: shard.rooms.records.get(),
        room_recipients: shard.rooms.recipients.get(),
        room_bytes_copied: shard.rooms.bytes_copied.get(),
        handler_panics: shard.handler_panics.get(),
        // The router fills the fields below: the shard does not hold them.
        stalled: false,
        stalls: 0,
        message_age_nanoseconds: 0,
        given_up: false,
        lost: false,
        load: shard.load.get(),
    }
}

/// The accounting of every message and delivery. The order of the loads matters: see the module
/// documentation.
pub(crate) fn account(sources: &Sources<'_>) -> Accounting {
    let Sources { workers, ports, .. } = sources;
    let lanes = || sources.lanes();
    let early = || {
        let by_lane = lanes().map(|lane| lane.submitted.get());
        sum(ports.iter().map(|port| port.submit.submitted.get()).chain(by_lane))
    };
    let too_early = if mutant("accept-loaded-first") { Some(early()) } else { None };
    let types = || workers.iter().flat_map(|worker| &worker.types);
    let ok = sum(types().map(|one| one.ok.get()));
    let (failed, failures) = reasons(
        Failed::ALL,
        Failed::label,
        workers.iter().flat_map(|worker| &worker.types).map(|one| &one.failed[..]),
    );
    let expired = sum(types().map(|one| one.expired.get()));
    let (taken_over, takeovers) = takeovers(sources);
    let total = ok + failed + expired + taken_over;
    let held = sum(workers.iter().map(|worker| worker.held.get()));
    let by_worker = workers.iter().map(|worker| &worker.refused[..]);
    let by_port = ports.iter().map(|port| &port.submit.refused[..]);
    let by_lane = lanes().map(|lane| &lane.refused[..]);
    let (refused, refusals) =
        reasons(SubmitError::ALL, SubmitError::label, by_worker.chain(by_port).chain(by_lane));
    let submitted = too_early.unwrap_or_else(early);
    let by_lane = lanes().map(LaneCells::consumed);
    let consumed = sum(ports.iter().map(|port| port.poll.consumed.get()).chain(by_lane));
    let by_worker = workers.iter().map(|worker| &worker.undeliverable[..]);
    let by_port = ports.iter().map(|port| &port.poll.undeliverable[..]);
    let by_lane = lanes().map(|lane| &lane.undeliverable[..]);
    let (undeliverable, undelivered) =
        reasons(Undeliverable::ALL, Undeliverable::label, by_worker.chain(by_port).chain(by_lane));
    let by_lane = lanes().map(|lane| lane.acknowledged.get());
    let acknowledged = sum(ports.iter().map(|port| port.poll.acknowledged.get()).chain(by_lane));
    let by_lane = lanes().map(|lane| &lane.unacknowledged[..]);
    let (unacknowledged, unacknowledged_reasons) = reasons(
        Unacknowledged::ALL,
        Unacknowledged::label,
        ports.iter().map(|port| &port.poll.unacknowledged[..]).chain(by_lane),
    );
    let by_worker = workers.iter().map(|worker| worker.emitted.get());
    let deliveries = sum(by_worker.chain(ports.iter().map(|port| port.submit.closings.get())));
    Accounting {
        submitted,
        refused,
        refusals,
        accepted: submitted.saturating_sub(refused),
        ok,
        failed,
        failures,
        expired,
        taken_over,
        takeovers,
        in_flight: submitted.saturating_sub(refused).saturating_sub(total),
        held,
        deliveries,
        consumed,
        acknowledged,
        unacknowledged,
        unacknowledged_reasons,
        undeliverable,
        undelivered,
        queued: deliveries.saturating_sub(consumed).saturating_sub(undeliverable),
    }
}

/// Reads every shard and merges the figures.
pub(crate) fn collect(sources: &Sources<'_>) -> Stats {
    let Sources { workers, ports, labels, connections, .. } = sources;
    let epoch = sources.epoch;
    let accounting = account(sources);
    let types: Vec<_> = labels
        .types()
        .iter()
        .enumerate()
        .map(|(place, names)| {
            let shards: Vec<_> = workers.iter().filter_map(|worker| worker.types.get(place)).collect();
            type_stats(epoch, names.clone(), &shards)
        })
        .collect();
    let Accounting { ok, failed, expired, .. } = accounting;
    let total = ok + failed + expired;
    let all = |pick: fn(&SeriesStats) -> Option<&LatencyStats>| {
        let mut distribution = Distribution::default();
        for one in types.iter().filter_map(pick) {
            distribution.merge(&one.distribution);
        }
        LatencyStats::from(distribution)
    };
    let all_ports: Vec<_> = ports
        .iter()
        .enumerate()
        .map(|(port, shard)| {
            port_stats(epoch, shard, (0..workers.len()).filter_map(|worker| sources.path(worker, port)))
        })
        .collect();
    let stats = Stats {
        messages: MessageStats {
            total,
            succeeded: ok,
            failed,
            expired,
            failures: accounting.failures.clone(),
            success_rate: (total > 0).then(|| ok as f64 / total as f64),
            slow: sum(types.iter().map(|one| one.slow)),
            bytes_in: sum(types.iter().map(|one| one.bytes)),
            bytes_out: sum(ports
                .iter()
                .map(|port| port.poll.bytes_out.get())
                .chain(sources.lanes().map(|lane| lane.bytes_out.get()))),
            latency: all(|one| Some(&one.latency)),
            queue_wait: all(|one| one.queue_wait.as_ref()),
            held: merged(epoch, workers.iter().map(|worker| &worker.held_time)),
            write: merged(
                epoch,
                ports
                    .iter()
                    .map(|port| &port.poll.write_time)
                    .chain(workers.iter().map(|worker| &worker.write_time)),
            ),
        },
        protocols: groups(labels.protocols(), epoch, workers, |worker| &worker.protocols),
        applications: groups(&labels.applications(), epoch, workers, |worker| &worker.applications),
        connections: Connections { total: connections.0, active: connections.1, peak: connections.2 },
        accounting,
        types,
        workers: workers
            .iter()
            .enumerate()
            .map(|(place, worker)| worker_stats(sources, place, worker))
            .collect(),
        ports: all_ports,
        routing: RoutingStats::default(),
        uptime_nanoseconds: sources.uptime_nanoseconds,
        payload_bytes: 0, // Filled by the router, like the other empty fields: no shard holds them.
        payloads_waiting: 0,
        placement: PlacementStats {
            active_workers: sources.active_workers as u64,
            // Load `moves_made` first, so that it is never above `moves_wanted`.
            moves_made: sum(ports.iter().map(|port| port.submit.moves_made.get())),
            moves_wanted: sum(ports.iter().map(|port| port.submit.moves_wanted.get())),
            permits: sources.permits.0,
            permits_available: sources.permits.1,
        },
        applications_folded: labels.applications_folded(),
        rooms: RoomStats::default(),
        bad_deliveries: sum(ports.iter().map(|port| port.poll.bad_records.get())),
        corrupt_deliveries: sum(ports.iter().map(|port| port.poll.corrupt_rings.get())),
        recorded: RecordedStats::default(),
        cluster: None,
        metrics_enabled: true,
    };
    Stats { routing: routing_stats(&stats.accounting, &stats.messages, &stats.workers), ..stats }
}
