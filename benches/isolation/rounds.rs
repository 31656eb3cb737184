//! A round of a case: its router, the innocents, and the culprit beside them or not.

use crate::culprits::{Case, FULL_SWING, Go, Host, Kind, Tally, is_quiet, wait_until};
use crate::innocents::{Innocents, Plan, Progress, whereabouts};
use corelane::config::Config;
use corelane::metrics::Stats;
use corelane::router::{Builder, Router};
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// Pairs of innocent clients.
const PAIRS: usize = 8;

/// Where a handler sleeps until it is opened, but not longer than `most`.
pub struct Gate {
    most: Duration,
    open: AtomicBool,
    /// Handlers that have come here, and that have left.
    entered: AtomicU64,
    pub left: AtomicU64,
}

impl Gate {
    pub fn new(most: Duration) -> Arc<Self> {
        Arc::new(Self { most, open: false.into(), entered: 0.into(), left: 0.into() })
    }

    pub fn open(&self) {
        self.open.store(true, SeqCst);
    }

    fn sleep(&self) {
        self.entered.fetch_add(1, SeqCst);
        let step = Duration::from_millis(1);
        let start = std::time::Instant::now();
        while start.elapsed() < self.most && !self.open.load(SeqCst) {
            std::thread::sleep(step);
        }
        self.left.fetch_add(1, SeqCst);
    }
}

/// The router that a case's rounds run in, with and without the culprit alike.
pub fn router(case: &Case, gate: &Arc<Gate>) -> Router {
    let config = Config::default()
        .with_workers(2)
        .and_then(|config| config.with_ring_bytes(4 << 20))
        .and_then(|config| config.with_max_queue_wait(Duration::from_secs(600)))
        .and_then(|config| config.with_processing_timeout(Duration::from_millis(20)))
        .and_then(case.configure)
        .unwrap();
    let gate = Arc::clone(gate);
    Builder::new(config)
        .handler("generic", "offer", |request| {
            request.reply(std::thread::current().name().unwrap_or_default().as_bytes())
        })
        .handler("generic", "answer", |_| std::panic::resume_unwind(Box::new("always")))
        .handler("generic", "bye", move |_| {
            gate.sleep();
            Ok(())
        })
        .start()
        .unwrap()
}

/// What a round has shown.
pub struct Round {
    /// The innocents' latencies, by group. All are in the first, but where they are at both workers: there the first has
    /// those that the culprit has nothing to do with.
    pub latencies: [Histogram<u64>; 2],
    /// What the innocents submitted.
    pub innocents: u64,
    pub tally: Tally,
}

/// One round of a case, with its culprit or without. `at_least` is how much the culprit does, however soon the innocents are
/// done; `beside_sleep` is called between their sends while a handler sleeps, with the group that is at its worker.
pub fn round(
    router: &Router,
    (case, gate): (&Case, &Gate),
    (with, name): (bool, &str),
    plan: Plan,
    at_least: u64,
    mut beside_sleep: impl FnMut(&Progress<'_>, usize),
) -> Round {
    let (latencies, innocents, tally) = match case.kind {
        Kind::Beside(culprit) if with => {
            let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
            std::thread::scope(|scope| {
                let go = Go { stop: &stop, at_least: at_least.max(FULL_SWING), done: &done };
                let thread = scope.spawn(move || {
                    let mut host = Host::new(router);
                    culprit(router, &mut host, &go);
                    host.finish(router);
                    host
                });
                wait_until("in full swing", || done.load(SeqCst) >= FULL_SWING);
                let mut innocents = Innocents::connect(router, PAIRS, name);
                let latencies = innocents.run(plan, |_| ());
                stop.store(true, SeqCst);
                (latencies, innocents.submitted, thread.join().unwrap().tally)
            })
        }
        Kind::SleepsBefore if with => {
            let mut host = Host::new(router);
            let client = host.connect("sleeper", "generic");
            let before = stalls(router);
            host.submit(client, r#"{"type":"bye"}"#);
            host.turn(None);
            // Counted once nobody is placed there any more.
            wait_until("stalled", || stalls(router) > before);
            let mut innocents = Innocents::connect(router, PAIRS, name);
            let latencies = innocents.run(plan, |progress| beside_sleep(progress, 1));
            host.finish(router);
            (latencies, innocents.submitted, host.tally)
        }
        Kind::SleepsUnder => {
            let mut innocents = Innocents::connect_at_both(router, PAIRS / 2, name);
            let mut host = Host::new(router);
            let client = host.connect("sleeper", "generic");
            host.tally.submitted += 1;
            let worker = whereabouts(&mut host.port, client);
            host.tally.received += 1;
            let before = gate.entered.load(SeqCst);
            let mut asked = !with;
            let mut latencies = innocents.run(plan, |progress| {
                if !asked && progress.sent >= progress.planned / 10 {
                    asked = true;
                    host.submit(client, r#"{"type":"bye"}"#);
                    host.port.publish();
                } else if gate.entered.load(SeqCst) > before {
                    beside_sleep(progress, worker);
                }
            });
            host.finish(router);
            if worker == 0 {
                latencies.reverse();
            }
            (latencies, innocents.submitted, host.tally)
        }
        _ => {
            let mut innocents = Innocents::connect(router, PAIRS, name);
            let latencies = innocents.run(plan, |_| ());
            (latencies, innocents.submitted, Tally::default())
        }
    };
    // The next round's clients are placed as these were.
    let moved_on = || router.stats().workers.iter().all(|worker| !worker.stalled);
    wait_until("quiet", || is_quiet(router) && moved_on());
    Round { latencies, innocents, tally }
}

/// How often a worker has become stalled.
fn stalls(router: &Router) -> u64 {
    router.stats().workers.iter().map(|worker| worker.stalls).sum()
}

/// What became of the culprit's, by the router's own figures: everything that is not the innocents', who lost nothing.
pub fn fate(stats: &Stats, innocents: u64) -> String {
    let all = &stats.accounting;
    let list = |counts: &[(&'static str, u64)]| {
        counts.iter().map(|(reason, count)| format!(" {reason} {count}")).collect::<Vec<_>>().join(",")
    };
    let mut parts = vec![format!("{} submitted, {} ok", all.submitted - innocents, all.ok - innocents)];
    for (what, counts) in [
        ("refused", &all.refusals),
        ("failed", &stats.messages.failures),
        ("undeliverable", &all.undelivered),
        ("joins refused", &stats.rooms.refusals),
    ] {
        let counts = counts.counted();
        if !counts.is_empty() {
            parts.push(format!("{what}:{}", list(&counts)));
        }
    }
    let (panics, stalls) = stats
        .workers
        .iter()
        .fold((0, 0), |(panics, stalls), worker| (panics + worker.handler_panics, stalls + worker.stalls));
    for (what, count) in [("panics", panics), ("stalls", stalls)] {
        if count > 0 {
            parts.push(format!("{what} {count}"));
        }
    }
    parts.join("; ")
}
