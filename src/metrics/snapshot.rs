//! All figures at one moment, merged from every shard. Plain values: what is shown, exported and tested.
//! Outcomes are loaded first, then what was refused, then what was submitted, so that no difference is negative
//! while workers go on; once the router is quiet every figure is exact.

use super::figures::{
    Accounting, Connections, GroupStats, LatencyStats, MessageStats, PlacementStats, RecordedStats, Stats,
    TypeStats, WorkerStats,
};
use super::histogram::{Distribution, Histogram};
use super::label::Labels;
use super::shard::{GroupSeries, PortShard, WorkerShard};
use crate::error::{Failed, Refused, Undeliverable};
use crate::sync::mutant;

/// Where the figures come from.
pub(crate) struct Sources<'a> {
    pub(crate) workers: &'a [&'a WorkerShard],
    pub(crate) ports: &'a [&'a PortShard],
    pub(crate) labels: &'a Labels,
    pub(crate) connections: (u64, u64, u64),
    pub(crate) active_workers: usize,
    /// The cap on messages in flight, and permits that nobody has.
    pub(crate) permits: (u64, u64),
}

fn sum(cells: impl Iterator<Item = u64>) -> u64 {
    cells.fold(0, u64::wrapping_add)
}

/// Sums one array of reason cells over shards; those with a count, by name.
fn by_reason(labels: impl Iterator<Item = &'static str>, counts: &[u64]) -> Vec<(&'static str, u64)> {
    labels.zip(counts.iter().copied()).filter(|(_, count)| *count > 0).collect()
}

fn merged<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> LatencyStats {
    let mut distribution = Distribution::default();
    for histogram in histograms {
        // 0 is the generation of a histogram that nothing was recorded in.
        histogram.collect(0, &mut distribution);
    }
    distribution.into()
}

fn groups<'a>(
    names: &[String],
    workers: &[&'a WorkerShard],
    series: impl Fn(&'a WorkerShard) -> &'a [GroupSeries],
) -> Vec<GroupStats> {
    let of = |place: usize| workers.iter().filter_map(|worker| series(worker).get(place)).collect::<Vec<_>>();
    names
        .iter()
        .enumerate()
        .map(|(place, name)| {
            let shards = of(place);
            GroupStats {
                name: name.clone(),
                succeeded: sum(shards.iter().map(|shard| shard.ok.get())),
                failed: sum(shards.iter().map(|shard| shard.not_ok.get())),
                service: merged(shards.iter().map(|shard| &shard.service)),
            }
        })
        .collect()
}

fn type_stats(workers: &[&WorkerShard], place: usize, (protocol, name): &(String, String)) -> TypeStats {
    let shards: Vec<_> = workers.iter().filter_map(|worker| worker.types.get(place)).collect();
    let reasons: Vec<u64> = (0..Failed::COUNT)
        .map(|reason| sum(shards.iter().filter_map(|shard| shard.failed.get(reason)).map(|cell| cell.get())))
        .collect();
    TypeStats {
        protocol: protocol.clone(),
        message_type: name.clone(),
        succeeded: sum(shards.iter().map(|shard| shard.ok.get())),
        failed: sum(reasons.iter().copied()),
        failures: by_reason(Failed::ALL.iter().map(|reason| reason.label()), &reasons),
        expired: sum(shards.iter().map(|shard| shard.expired.get())),
        received: sum(shards.iter().map(|shard| shard.received.get())),
        bytes: sum(shards.iter().map(|shard| shard.bytes.get())),
        service: merged(shards.iter().map(|shard| &shard.service)),
        queue_wait: merged(shards.iter().map(|shard| &shard.queue_wait)),
    }
}

fn worker_stats(shard: &WorkerShard) -> WorkerStats {
    WorkerStats {
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
        load: shard.load.get(),
    }
}

/// Where everything is. The order of the loads is the point; see the file's header.
pub(crate) fn account(sources: &Sources<'_>) -> Accounting {
    let Sources { workers, ports, .. } = sources;
    let early = || sum(ports.iter().map(|port| port.submit.submitted.get()));
    let too_early = if mutant("accept-loaded-first") { Some(early()) } else { None };
    let types = || workers.iter().flat_map(|worker| &worker.types);
    let ok = sum(types().map(|one| one.ok.get()));
    let failed = sum(types().flat_map(|one| &one.failed).map(|cell| cell.get()));
    let expired = sum(types().map(|one| one.expired.get()));
    let total = ok + failed + expired;
    let held = sum(workers.iter().map(|worker| worker.held.get()));
    let refusals: Vec<u64> = (0..Refused::COUNT)
        .map(|reason| {
            let by_worker = workers.iter().filter_map(|worker| worker.refused.get(reason));
            let by_port = ports.iter().filter_map(|port| port.submit.refused.get(reason));
            sum(by_worker.chain(by_port).map(|cell| cell.get()))
        })
        .collect();
    let submitted = too_early.unwrap_or_else(early);
    let consumed = sum(ports.iter().map(|port| port.poll.consumed.get()));
    let given_up: Vec<u64> = (0..Undeliverable::COUNT)
        .map(|reason| {
            let by_worker = workers.iter().filter_map(|worker| worker.undeliverable.get(reason));
            let by_port = ports.iter().filter_map(|port| port.poll.undeliverable.get(reason));
            sum(by_worker.chain(by_port).map(|cell| cell.get()))
        })
        .collect();
    let deliveries = sum(workers.iter().map(|worker| worker.emitted.get()));
    let refused = sum(refusals.iter().copied());
    let undeliverable = sum(given_up.iter().copied());
    Accounting {
        submitted,
        refused,
        refusals: by_reason(Refused::ALL.iter().map(|reason| reason.label()), &refusals),
        accepted: submitted.wrapping_sub(refused),
        ok,
        failed,
        expired,
        in_flight: submitted.wrapping_sub(refused).wrapping_sub(total),
        held,
        deliveries,
        consumed,
        undeliverable,
        undelivered: by_reason(Undeliverable::ALL.iter().map(|reason| reason.label()), &given_up),
        queued: deliveries.wrapping_sub(consumed).wrapping_sub(undeliverable),
    }
}

/// Reads every shard.
pub(crate) fn collect(sources: &Sources<'_>) -> Stats {
    let Sources { workers, ports, labels, connections, .. } = sources;
    let accounting = account(sources);
    let types: Vec<_> =
        labels.types().iter().enumerate().map(|(place, names)| type_stats(workers, place, names)).collect();
    let all_failures: Vec<u64> = Failed::ALL
        .iter()
        .map(|reason| {
            let named = types.iter().flat_map(|one| &one.failures);
            sum(named.filter(|(label, _)| *label == reason.label()).map(|(_, count)| *count))
        })
        .collect();
    let Accounting { ok, failed, expired, .. } = accounting;
    let total = ok + failed + expired;
    let all = |pick: fn(&TypeStats) -> &LatencyStats| {
        let mut distribution = Distribution::default();
        for one in &types {
            distribution.merge(&pick(one).distribution);
        }
        LatencyStats::from(distribution)
    };
    Stats {
        messages: MessageStats {
            total,
            succeeded: ok,
            failed,
            expired,
            failures: by_reason(Failed::ALL.iter().map(|reason| reason.label()), &all_failures),
            success_rate: (total > 0).then(|| ok as f64 / total as f64),
            bytes_in: sum(types.iter().map(|one| one.bytes)),
            bytes_out: sum(ports.iter().map(|port| port.poll.bytes_out.get())),
            service: all(|one| &one.service),
            queue_wait: all(|one| &one.queue_wait),
        },
        protocols: groups(labels.protocols(), workers, |worker| &worker.protocols),
        applications: groups(&labels.applications(), workers, |worker| &worker.applications),
        connections: Connections { total: connections.0, active: connections.1, peak: connections.2 },
        accounting,
        types,
        workers: workers.iter().map(|worker| worker_stats(worker)).collect(),
        placement: PlacementStats {
            active_workers: sources.active_workers as u64,
            // Made first, so that it is never above wanted.
            moves_made: sum(ports.iter().map(|port| port.submit.moves_made.get())),
            moves_wanted: sum(ports.iter().map(|port| port.submit.moves_wanted.get())),
            permits: sources.permits.0,
            permits_available: sources.permits.1,
        },
        applications_folded: labels.applications_folded(),
        recorded: RecordedStats::default(), // The router adds them: no shard of its holds them.
    }
}
