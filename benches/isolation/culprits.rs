//! Who does harm, and what stands against it. Each has a host thread and a port of its own and goes on until it is told to
//! stop; it counts what it submits and what its port tells it.

use crate::innocents::{Innocents, Plan, Progress, whereabouts};
use corelane::clients::{ClientId, CreditPolicy};
use corelane::config::{Balance, Config};
use corelane::error::Error;
use corelane::metrics::Stats;
use corelane::router::{Builder, Event, Port, Router};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// Pairs of innocent clients.
const PAIRS: usize = 8;
/// What each of them gets beside a culprit's misbehaviour: so many messages of it per millisecond.
const PER_MILLISECOND: u64 = 20;
/// Once it has done so much it is in full swing: more than a client's credit.
const FULL_SWING: u64 = 1_500;
const UNKNOWN: u64 = 10_000;

/// How a culprit and the innocents come together.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A thread beside them, in full swing before they connect.
    Beside(fn(&Router, &mut Host, &Go<'_>)),
    /// A handler sleeps and its worker is known as stalled before they connect.
    SleepsBefore,
    /// They are at both workers and send; then a handler on one of these sleeps.
    SleepsUnder,
}

pub struct Case {
    pub name: &'static str,
    pub about: &'static str,
    pub kind: Kind,
    configure: fn(Config) -> Result<Config, Error>,
}

pub const CASES: [Case; 9] = [
    Case {
        name: "nobody",
        about: "Both sides without a culprit: what a row says where there is nothing to say.",
        kind: Kind::Beside(|_, _, go| {
            while go.on() {
                go.did(FULL_SWING);
                std::thread::sleep(Duration::from_millis(1));
            }
        }),
        configure: Ok,
    },
    Case {
        name: "an honest neighbour",
        about: "As many messages as the next culprits send, well-formed, read and acknowledged: load, no harm.",
        kind: Kind::Beside(honest),
        configure: Ok,
    },
    Case {
        name: "a client that stops reading",
        about: "It is sent 20 messages per millisecond and never acknowledges one. Its credit ends; `credit_policy` is refuse, and its sender is told of each refusal.",
        kind: Kind::Beside(deaf),
        configure: |config| config.with_credit_policy(CreditPolicy::Refuse),
    },
    Case {
        name: "a client that floods",
        about: "It submits 1,000 messages at once, then sleeps for a millisecond, again and again. `max_in_flight` is 512, `client_rate` 1,000 with a burst of 5,000, for everybody.",
        kind: Kind::Beside(flood),
        configure: |config| {
            config
                .with_max_in_flight(512)
                .and_then(|config| config.with_client_rate(1_000))
                .and_then(|config| config.with_client_burst(5_000))
        },
    },
    Case {
        name: "a handler that panics always",
        about: "20 messages per millisecond whose handler panics (without the panic hook's report).",
        kind: Kind::Beside(panics),
        configure: Ok,
    },
    Case {
        name: "10,000 unknown types and rooms",
        about: "Per millisecond 10 messages of a new type to a new room, 10 of a new type in a protocol that knows all of its, and 10 attempts to join a new room.",
        kind: Kind::Beside(unknown),
        configure: |config| config.with_max_rooms(64),
    },
    Case {
        name: "a poller that is slow",
        about: "An additional port whose poller sleeps for 50 ms between polls, and exports all figures as text each time, while 20 messages of 4 KiB per millisecond go there: twice and more of what its ring and its backlog take.",
        kind: Kind::Beside(slow_poller),
        configure: |config| {
            config
                .with_ring_bytes(512 << 10)
                .and_then(|config| config.with_backlog_bytes(512 << 10))
                .and_then(|config| config.with_max_message(16 << 10))
                .and_then(|config| config.with_credit_bytes(64 << 20))
        },
    },
    Case {
        name: "a handler that sleeps 2 s: new clients",
        about: "Its worker counts as stalled after 20 ms; then the innocents connect, and nobody of them is placed there. With it they share the one worker that is left.",
        kind: Kind::SleepsBefore,
        configure: |config| config.with_balance(Balance::Hash),
    },
    Case {
        name: "a handler that sleeps 2 s: clients that were there",
        about: "The innocents are at both workers and have sent a tenth when it begins. Those at its worker wait, lose nothing and keep their order; the others go on.",
        kind: Kind::SleepsUnder,
        configure: |config| config.with_balance(Balance::Hash),
    },
];

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

/// Tells a culprit how long to go on.
pub struct Go<'a> {
    stop: &'a AtomicBool,
    at_least: u64,
    done: &'a AtomicU64,
}

impl Go<'_> {
    fn on(&self) -> bool {
        self.done.load(SeqCst) < self.at_least || !self.stop.load(SeqCst)
    }

    fn did(&self, count: u64) {
        self.done.fetch_add(count, SeqCst);
    }
}

/// What a culprit has done and been told, counted by itself.
#[derive(Debug, Default)]
pub struct Tally {
    pub submitted: u64,
    pub refused: BTreeMap<&'static str, u64>,
    pub received: u64,
    pub told_refused: u64,
    pub joined: u64,
    pub joins_refused: u64,
}

pub struct Host {
    port: Port,
    pub tally: Tally,
}

impl Host {
    pub fn new(router: &Router) -> Self {
        Self { port: router.port().unwrap(), tally: Tally::default() }
    }

    fn connect(&mut self, name: &str, protocol: &str) -> ClientId {
        self.port.connect(name, protocol, "culprits", 0).unwrap()
    }

    fn submit(&mut self, client: ClientId, message: &str) {
        self.tally.submitted += 1;
        match self.port.submit(client, message.as_bytes(), 0) {
            Ok(()) => {}
            Err(Error::Refused(reason)) => *self.tally.refused.entry(reason.label()).or_default() += 1,
            Err(other) => panic!("{other}"),
        }
    }

    /// Publishes, takes what has come, and acknowledges it for all but one client.
    fn turn(&mut self, deaf: Option<ClientId>) {
        self.port.publish();
        let Self { port, tally } = self;
        let mut written = Vec::new();
        port.poll(usize::MAX, |event| match event {
            Event::Message(message) => {
                tally.received += 1;
                if Some(message.client) != deaf {
                    written.push((message.client, 1, message.payload.len() as u32));
                }
            }
            Event::Refused { .. } => tally.told_refused += 1,
            other => panic!("{other:?}"),
        })
        .unwrap();
        port.acknowledge_batch(written);
    }

    /// Turns until nothing of the router's is under way any more.
    pub fn finish(&mut self, router: &Router) {
        wait_until("quiet", || {
            self.turn(None);
            is_quiet(router)
        });
    }
}

fn is_quiet(router: &Router) -> bool {
    let now = router.accounting();
    now.in_flight == 0 && now.queued == 0
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..60_000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("never {what}");
}

fn candidate(to: &str, length: usize) -> String {
    format!(r#"{{"type":"candidate","to":"{to}","candidate":"{}"}}"#, "c".repeat(length))
}

/// A steady stream from one client to another of the same host.
fn stream(host: &mut Host, go: &Go<'_>, deaf: bool) {
    let from = host.connect("neighbour", "generic");
    let to = host.connect("deaf", "generic");
    let message = candidate("deaf", 100);
    while go.on() {
        for _ in 0..PER_MILLISECOND {
            host.submit(from, &message);
        }
        host.turn(deaf.then_some(to));
        go.did(PER_MILLISECOND);
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn honest(_: &Router, host: &mut Host, go: &Go<'_>) {
    stream(host, go, false);
}

fn deaf(_: &Router, host: &mut Host, go: &Go<'_>) {
    stream(host, go, true);
}

fn flood(_: &Router, host: &mut Host, go: &Go<'_>) {
    let flooder = host.connect("flooder", "generic");
    let message = candidate("flooder", 100);
    while go.on() {
        for _ in 0..1_000 {
            host.submit(flooder, &message);
        }
        host.turn(None);
        go.did(1_000);
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn panics(_: &Router, host: &mut Host, go: &Go<'_>) {
    let client = host.connect("trigger", "generic");
    while go.on() {
        for _ in 0..PER_MILLISECOND {
            host.submit(client, r#"{"type":"answer","to":"trigger"}"#);
        }
        host.turn(None);
        go.did(PER_MILLISECOND);
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn unknown(_: &Router, host: &mut Host, go: &Go<'_>) {
    let open = host.connect("inventive", "generic");
    let closed = host.connect("inventive-too", "peerjs");
    let mut number = 0;
    while go.on() {
        for _ in 0..10 {
            host.submit(open, &format!(r#"{{"type":"t{number}","room":"r{number}"}}"#));
            host.submit(closed, &format!(r#"{{"type":"T{number}","dst":"inventive"}}"#));
            match host.port.join(open, &format!("j{number}")) {
                Ok(_) => host.tally.joined += 1,
                Err(Error::TooManyClientRooms(_)) => host.tally.joins_refused += 1,
                Err(other) => panic!("{other}"),
            }
            number = (number + 1) % UNKNOWN;
        }
        host.turn(None);
        go.did(10);
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn slow_poller(router: &Router, host: &mut Host, go: &Go<'_>) {
    let mut slow = Host::new(router);
    slow.connect("slow", "generic");
    let feeder = host.connect("feeder", "generic");
    let message = candidate("slow", 4 << 10);
    let fed = AtomicBool::new(false);
    let slow = std::thread::scope(|scope| {
        let poller = scope.spawn(|| {
            while !fed.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(50));
                slow.turn(None);
                assert!(!corelane::export::prometheus(&router.stats()).is_empty());
            }
            slow.finish(router);
            slow
        });
        while go.on() {
            for _ in 0..PER_MILLISECOND {
                host.submit(feeder, &message);
            }
            host.turn(None);
            go.did(PER_MILLISECOND);
            std::thread::sleep(Duration::from_millis(1));
        }
        fed.store(true, SeqCst);
        poller.join().unwrap()
    });
    host.tally.received += slow.tally.received;
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
            host.submit(client, r#"{"type":"bye"}"#);
            host.turn(None);
            wait_until("stalled", || router.stats().workers.iter().any(|worker| worker.stalled));
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
    wait_until("quiet", || is_quiet(router));
    Round { latencies, innocents, tally }
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
        if !counts.is_empty() {
            parts.push(format!("{what}:{}", list(counts)));
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
