//! One round of a case: its router, the innocents, and optionally the culprit.

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

/// A handler sleeps at the gate until the gate is opened, at most for `most`.
pub struct Gate {
    most: Duration,
    open: AtomicBool,
    /// The number of handlers that have entered and left.
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

/// The router for all rounds of a case, with and without the culprit.
pub fn router(case: &Case, gate: &Arc<Gate>) -> Router {
    let mut config = Config::default();
    config.router.workers = Some(2);
    config.router.ring_bytes = 4 << 20;
    config.limits.max_queue_wait = Duration::from_secs(600);
    config.router.processing_timeout = Duration::from_millis(20);
    (case.configure)(&mut config);
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

/// The result of a round.
pub struct Round {
    /// The innocents' latencies, by group. All are in the first group, unless the innocents are on both workers. In
    /// that case the first group has the clients that do not share the culprit's worker.
    pub latencies: [Histogram<u64>; 2],
    /// The number of messages that the innocents submitted.
    pub innocents: u64,
    pub tally: Tally,
}

/// Runs one round of a case, with its culprit or without. The culprit does at least `at_least` submissions, however
/// soon the innocents are done. While a handler sleeps, `beside_sleep` is called between the innocents' sends, with
/// the group on the handler's worker.
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
            // The router counts the stall when it no longer places clients on the worker.
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
    // Wait until no worker is stalled, so that the next round's clients are placed in the same way.
    let moved_on = || router.stats().workers.iter().all(|worker| !worker.stalled);
    wait_until("quiet", || is_quiet(router) && moved_on());
    Round { latencies, innocents, tally }
}

/// The number of times that a worker became stalled.
fn stalls(router: &Router) -> u64 {
    router.stats().workers.iter().map(|worker| worker.stalls).sum()
}

/// The outcomes of the culprit's messages, from the router's own figures: all messages except the innocents', which
/// were all delivered.
pub fn fate(stats: &Stats, innocents: u64) -> String {
    let all = &stats.accounting;
    let list = |counts: &[(&str, u64)]| {
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
