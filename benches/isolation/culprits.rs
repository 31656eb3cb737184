//! The culprits, and the limits that contain them. Each culprit has a host thread and a port of its own and runs
//! until it is stopped. It counts what it submits and the events that its port delivers.

use corelane::clients::{ClientId, CreditPolicy};
use corelane::config::{Balance, Config};
use corelane::error::JoinError;
use corelane::router::{Event, Port, Router};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// The number of messages per millisecond that most culprits send.
const PER_MILLISECOND: u64 = 20;
/// After this number of messages a culprit is in full swing. The number exceeds a client's credit.
pub const FULL_SWING: u64 = 1_500;
const UNKNOWN: u64 = 10_000;

/// How a culprit and the innocents run together.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A separate thread that is in full swing before the innocents connect.
    Beside(fn(&Router, &mut Host, &Go<'_>)),
    /// A handler sleeps, and its worker is known to be stalled, before the innocents connect.
    SleepsBefore,
    /// The innocents are on both workers and send; then a handler on one of the workers sleeps.
    SleepsUnder,
}

pub struct Case {
    pub name: &'static str,
    pub about: &'static str,
    pub kind: Kind,
    pub configure: fn(&mut Config),
}

pub const CASES: [Case; 9] = [
    Case {
        name: "nobody",
        about: "No culprit on either side: the noise of the measurement.",
        kind: Kind::Beside(|_, _, go| {
            while go.on() {
                go.did(FULL_SWING);
                std::thread::sleep(Duration::from_millis(1));
            }
        }),
        configure: |_| {},
    },
    Case {
        name: "an honest neighbour",
        about: "Sends as many messages as the next culprits. All are well-formed, delivered and acknowledged: load without harm.",
        kind: Kind::Beside(honest),
        configure: |_| {},
    },
    Case {
        name: "a client that stops reading",
        about: "Gets 20 messages per millisecond and acknowledges none, so its credit is used up. `credit_policy` is refuse, and its sender gets a notice of each refusal.",
        kind: Kind::Beside(deaf),
        configure: |config| config.credit.policy = CreditPolicy::Refuse,
    },
    Case {
        name: "a client that floods",
        about: "Submits 1,000 messages at once, then sleeps for a millisecond, repeatedly. For all clients `max_in_flight` is 512, `client_rate` 1,000 with a burst of 5,000, `credit_messages` 2,048.",
        kind: Kind::Beside(flood),
        configure: |config| {
            config.limits.max_in_flight = Some(512);
            (config.limits.client_rate, config.limits.client_burst) = (Some(1_000), Some(5_000));
            // The messages sent to the client between two polls: a thousand, plus those already in flight.
            config.credit.messages = 2_048;
        },
    },
    Case {
        name: "a handler that panics always",
        about: "Sends 20 messages per millisecond whose handler panics (without the panic hook's report).",
        kind: Kind::Beside(panics),
        configure: |_| {},
    },
    Case {
        name: "10,000 unknown types and rooms",
        about: "Per millisecond: 10 messages of a new type to a new room, 10 messages of a new type in a protocol that lists all its types, and 10 attempts to join a new room.",
        kind: Kind::Beside(unknown),
        configure: |config| config.rooms.max_rooms = 64,
    },
    Case {
        name: "a poller that is slow",
        about: "An additional port whose poller sleeps for 50 ms between polls and exports all figures as text each time. The port gets 20 messages of 4 KiB per millisecond: more than twice as much as its egress ring and its backlog hold.",
        kind: Kind::Beside(slow_poller),
        configure: |config| {
            (config.router.ring_bytes, config.router.backlog_bytes) = (512 << 10, 512 << 10);
            config.limits.max_message = 16 << 10;
            config.credit.bytes = 64 << 20;
        },
    },
    Case {
        name: "a handler that sleeps 2 s: new clients",
        about: "Its worker counts as stalled after 20 ms. Then the innocents connect, and none of them is placed on that worker: in rounds with the culprit they share the other worker.",
        kind: Kind::SleepsBefore,
        configure: |config| config.router.balance = Balance::Hash,
    },
    Case {
        name: "a handler that sleeps 2 s: clients that were there",
        about: "The innocents are on both workers and have sent a tenth of their messages when the sleep begins. Clients on the sleeping worker wait, lose nothing and keep their order; the others continue.",
        kind: Kind::SleepsUnder,
        configure: |config| config.router.balance = Balance::Hash,
    },
];

/// Tells a culprit how long to run.
pub struct Go<'a> {
    pub stop: &'a AtomicBool,
    pub at_least: u64,
    pub done: &'a AtomicU64,
}

impl Go<'_> {
    fn on(&self) -> bool {
        self.done.load(SeqCst) < self.at_least || !self.stop.load(SeqCst)
    }

    fn did(&self, count: u64) {
        self.done.fetch_add(count, SeqCst);
    }
}

/// The culprit's own count of what it did and of the events that it got.
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
    pub port: Port,
    pub tally: Tally,
}

impl Host {
    pub fn new(router: &Router) -> Self {
        Self { port: router.port().unwrap(), tally: Tally::default() }
    }

    pub fn connect(&mut self, name: &str, protocol: &str) -> ClientId {
        self.port.connect(name, protocol, "culprits", 0).unwrap()
    }

    pub fn submit(&mut self, client: ClientId, message: &str) {
        self.tally.submitted += 1;
        match self.port.submit(client, message.as_bytes(), 0) {
            Ok(()) => {}
            Err(reason) => *self.tally.refused.entry(reason.label()).or_default() += 1,
        }
    }

    /// Publishes, polls, and acknowledges the deliveries of all clients except `deaf`.
    pub fn turn(&mut self, deaf: Option<ClientId>) {
        self.port.publish();
        let Self { port, tally } = self;
        let mut written = Vec::new();
        port.poll_each(usize::MAX, |event| match event {
            Event::Message(message) => {
                tally.received += 1;
                if Some(message.client) != deaf {
                    written.push((message.client, 1, message.payload.len() as u32));
                }
            }
            Event::Undelivered { .. } => tally.told_refused += 1,
            other => panic!("{other:?}"),
        })
        .unwrap();
        port.acknowledge_batch(written);
    }

    /// Takes turns until the router is quiet.
    pub fn finish(&mut self, router: &Router) {
        wait_until("quiet", || {
            self.turn(None);
            is_quiet(router)
        });
    }
}

pub fn is_quiet(router: &Router) -> bool {
    let now = router.accounting();
    now.in_flight == 0 && now.queued == 0
}

pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
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

/// Sends a steady stream from one client to another client of the same host.
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
                Err(JoinError::TooManyClientRooms(_)) => host.tally.joins_refused += 1,
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
                assert!(!corelane::export::prometheus_of_router(&router.stats()).is_empty());
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
