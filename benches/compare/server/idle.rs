//! What connections cost that do nothing: memory per connection, and the server's processor time. Each server is new,
//! with its own default of threads.

use super::client::Protocol;
use super::process::{Kind, LIMIT, Server, Threads};
use crate::race::Report;
use std::time::{Duration, Instant};

const COUNTS: [usize; 2] = [1_000, 10_000];

/// KiB per connection: added by the connections, and of the whole process; and milliseconds of processor time per
/// second.
fn measure(kind: Kind, count: usize, span: Duration) -> Result<[f64; 3], String> {
    let server = Server::start(kind, Threads::Default, COUNTS[1] + 1)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::sleep(Duration::from_millis(300)); // The start is over.
    let before = server.resident();
    let connect = async {
        let mut sockets = Vec::with_capacity(count);
        for place in 0..count {
            let (id, room) = (format!("idle-{place:06}"), format!("room-{place}"));
            sockets.push(Protocol::of(kind).connect(server.address, &id, &room).await.0);
        }
        sockets
    };
    let sockets = runtime.block_on(async { tokio::time::timeout(LIMIT, connect).await });
    let sockets = sockets.map_err(|_| format!("{count} connections take longer than {LIMIT:?}"))?;
    std::thread::sleep(Duration::from_millis(300));
    let (used, began) = (server.processor_time(), Instant::now());
    std::thread::sleep(span);
    let share = (server.processor_time() - used) / began.elapsed().as_secs_f64();
    let after = server.resident();
    drop(server);
    drop(sockets);
    Ok([(after - before) / count as f64, after / count as f64, share * 1000.0])
}

pub fn run(report: &mut Report) {
    if let Err(reason) = raise_descriptor_limit(COUNTS[1] as u64 + 500) {
        report.skip(format_args!("idle, {} connections: {reason}", COUNTS[1]));
        return;
    }
    // Memory is steady from run to run.
    let (rounds, span) = (report.rounds.min(3), Duration::from_millis(report.work(4000) as u64));
    for count in COUNTS {
        let count = report.work(count);
        let kinds =
            [Kind::Ours, Kind::InC, Kind::InGo, Kind::PeerJsGo, Kind::Npm, Kind::Matchbox, Kind::Bare];
        let mut kinds: Vec<_> = kinds
            .into_iter()
            .filter(|kind| !kind.may_be_missing())
            .map(|kind| (kind, Vec::new(), None))
            .collect();
        let sides = kinds.len();
        for round in 0..rounds {
            for step in 0..sides {
                let (kind, values, failed) = &mut kinds[(round + step) % sides];
                if failed.is_some() {
                    continue;
                }
                match measure(*kind, count, span) {
                    Ok(figures) => values.push(figures),
                    Err(reason) => *failed = Some(reason),
                }
            }
        }
        let case = format!("{count} idle connections");
        for (kind, values, failed) in kinds {
            if let Some(reason) = failed {
                report.skip(format_args!("idle, {case}, {}: {reason}", kind.name()));
                continue;
            }
            for (place, unit) in
                ["KiB/connection, added", "KiB/connection, all", "ms CPU/s"].into_iter().enumerate()
            {
                let values: Vec<f64> = values.iter().map(|figures| figures[place]).collect();
                report.figure("idle", &case, kind.name(), unit, &values);
            }
        }
    }
}

/// Servers inherit the limit.
fn raise_descriptor_limit(wanted: u64) -> Result<(), String> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes the limits that `limit` points to, and nothing else.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    if limit.rlim_max < wanted {
        return Err(format!("the limit of descriptors is {}", limit.rlim_max));
    }
    limit.rlim_cur = limit.rlim_cur.max(wanted);
    // SAFETY: the call reads the limits that `limit` points to, and nothing else.
    let status = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    if status == 0 { Ok(()) } else { Err("the limit of descriptors cannot be raised".to_owned()) }
}
