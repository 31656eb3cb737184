//! What several test files share: a router and a monitor that a test drives by hand, what polls and checks them, random
//! numbers, a subscriber to log events, and the list of source files.

#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(dead_code, reason = "each test file uses a part")]

pub mod random;

use corelane::clients::ClientId;
use corelane::clock::{Clock, ManualClock};
use corelane::config::Config;
use corelane::error::StopError;
use corelane::metrics::{Accounting, SeriesStats, Stats};
use corelane::monitor::Monitor;
use corelane::router::{Builder, DeliveredMessage, Event, Port, Router, Worker};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};

/// A configuration with these numbers.
pub fn config(set: &[(&str, u64)]) -> Config {
    let mut config = Config::default();
    set.iter().for_each(|(key, value)| config.set(key, &value.to_string()).unwrap());
    config
}

/// The configuration after a change.
pub fn changed(mut config: Config, change: impl FnOnce(&mut Config)) -> Config {
    change(&mut config);
    config
}

/// A configuration with these values, written as a user writes them.
pub fn config_of(set: &[(&str, &str)]) -> Config {
    let mut config = Config::default();
    set.iter().for_each(|(key, value)| config.set(key, value).unwrap());
    config
}

/// A clock that is moved by hand and starts at 1,000 s.
fn clock() -> (Clock, ManualClock) {
    let (clock, hands) = Clock::manual();
    // A manual clock starts at one nanosecond.
    hands.advance(Duration::from_nanos(1_000_000_000_000 - 1));
    (clock, hands)
}

/// A router whose workers and clock a test drives by hand. The clock starts at 1,000 s. Test files add methods of their
/// own.
pub struct Bench {
    pub router: Router,
    pub workers: Vec<Worker>,
    pub clock: Clock,
    pub hands: ManualClock,
}

impl Bench {
    /// Builds the router. `build` adds to the builder.
    pub fn of(config: Config, build: impl FnOnce(Builder) -> Builder) -> Self {
        let (clock, hands) = clock();
        let (router, workers) = build(Builder::new(config).clock(clock.clone())).build().unwrap();
        Self { router, workers, clock, hands }
    }

    /// The number of messages that failed for a reason.
    pub fn failed(&self, reason: &str) -> u64 {
        self.router.stats().messages.failures.get(reason)
    }

    /// Runs one cycle of each worker. Returns the amount of work done.
    pub fn cycle(&mut self) -> usize {
        self.workers.iter_mut().map(|worker| worker.cycle(self.clock.now())).sum()
    }
}

/// A bench with one port that has the clients ann (token 1) and ben (token 2). Test files add methods of their own.
pub struct Hand {
    pub bench: Bench,
    pub port: Port,
    pub ann: ClientId,
    pub ben: ClientId,
}

impl Hand {
    /// Builds the router, and connects both clients. `build` adds to the builder.
    pub fn of(config: Config, protocol: &str, build: impl FnOnce(Builder) -> Builder) -> Self {
        let bench = Bench::of(config, build);
        let mut port = bench.router.port().unwrap();
        let ann = port.connect("ann", protocol, "tests", 1).unwrap();
        let ben = port.connect("ben", protocol, "tests", 2).unwrap();
        Self { bench, port, ann, ben }
    }
}

impl Deref for Hand {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.bench
    }
}

impl DerefMut for Hand {
    fn deref_mut(&mut self) -> &mut Bench {
        &mut self.bench
    }
}

/// A monitor without a router. Its clock is moved by hand and starts at 1,000 s.
pub fn monitor(config: Config) -> (Monitor, ManualClock) {
    let (clock, hand) = clock();
    (Monitor::with_clock(config, clock).unwrap(), hand)
}

/// Polls, and acknowledges what it gets if `acknowledges`. Returns the token and the text of each delivery; other events
/// as "expired NAME", "close REASON" and "closed", and "send failed: REASON" with token 0.
pub fn texts(port: &mut Port, limit: usize, acknowledges: bool) -> Vec<(u64, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (mut got, mut to) = (Vec::new(), Vec::new());
    let each = |event: Event<'_>| {
        got.push(match event {
            Event::Message(message) => {
                to.push((message.client, message.payload.len() as u32));
                (message.token, text(message.payload))
            }
            Event::Expired { token, name, .. } => (token, format!("expired {}", text(name))),
            Event::Close { token, reason, .. } => (token, format!("close {reason}")),
            Event::Closed { token, .. } => (token, "closed".to_owned()),
            Event::SendFailed { reason, .. } => (0, format!("send failed: {reason}")),
            other => panic!("{other:?}"),
        });
    };
    port.poll_each(limit, each).unwrap();
    for (client, bytes) in to.into_iter().filter(|_| acknowledges) {
        port.acknowledge(client, 1, bytes);
    }
    got
}

/// Polls, calls `each` with each message, and acknowledges the messages. Returns their number.
pub fn read(port: &mut Port, limit: usize, mut each: impl FnMut(&DeliveredMessage<'_>)) -> usize {
    let mut to = Vec::new();
    let each = |event: Event<'_>| {
        if let Event::Message(message) = event {
            each(&message);
            to.push((message.client, message.payload.len() as u32));
        }
    };
    port.poll_each(limit, each).unwrap();
    to.iter().for_each(|(client, bytes)| port.acknowledge(*client, 1, *bytes));
    to.len()
}

/// Time limit for something that must happen, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the condition holds.
pub fn until(mut what: impl FnMut() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < PATIENCE, "the condition never held");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Stops a router within this time, and again as long as its threads are late to end.
pub fn stopped(router: &Router, time: Duration) -> Result<(), StopError> {
    let mut stopped = Err(StopError::TimedOut);
    until(|| {
        stopped = router.stop_within(time);
        stopped != Err(StopError::TimedOut)
    });
    stopped
}

/// Checks that every message has ended and every delivery has been polled or given up, and that all are accounted for
/// (I4).
pub fn settled(router: &Router) -> Accounting {
    let all = router.accounting();
    assert_eq!((all.in_flight, all.queued, all.held), (0, 0, 0), "{all:?}");
    let ended = all.refused + all.ok + all.failed + all.expired + all.taken_over;
    assert_eq!((all.submitted, all.deliveries), (ended, all.consumed + all.undeliverable), "{all:?}");
    all
}

/// The figures of a message type.
pub fn of_type<'a>(stats: &'a Stats, protocol: &str, name: &str) -> &'a SeriesStats {
    let of = |one: &&SeriesStats| (one.protocol.as_deref(), &*one.name) == (Some(protocol), name);
    stats.types.iter().find(of).unwrap()
}

/// Checks that a text has these lines.
pub fn assert_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|present| present == *line), "{line:?} is not in\n{text}");
    }
}

/// The fields of a log event as text: `name=value name=value `.
fn fields(event: &tracing::Event<'_>) -> String {
    struct Text(String);

    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0.push_str(&format!("{}={value:?} ", field.name()));
        }
    }

    let mut text = Text(String::new());
    event.record(&mut text);
    text.0
}

/// The log events of a test, as target and fields.
pub type Log = Arc<Mutex<Vec<(String, String)>>>;

/// A subscriber that keeps all log events.
pub fn log() -> (impl tracing::Subscriber + Send + Sync, Log) {
    let log = Log::default();
    let keeps = Arc::clone(&log);
    let listener = Listener(move |event: &tracing::Event<'_>| {
        keeps.lock().unwrap().push((event.metadata().target().to_owned(), fields(event)));
    });
    (listener, log)
}

/// A subscriber that calls a function for each log event.
pub struct Listener<F>(pub F);

impl<F: Fn(&tracing::Event<'_>) + Send + Sync + 'static> tracing::Subscriber for Listener<F> {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        (self.0)(event);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Whether a tool is missing, so that its test is skipped. Fails if `CORELANE_REQUIRE_ALL` is set. `argument` makes the
/// tool do nothing.
pub fn lacks(tool: &str, argument: &str) -> bool {
    let missing = Command::new(tool).arg(argument).output().is_err();
    if missing {
        assert!(std::env::var_os("CORELANE_REQUIRE_ALL").is_none(), "{tool} is missing: make deps");
        println!("skipped: {tool} is missing");
    }
    missing
}

/// The Python of `make deps`, which has the client library of Prometheus. `None` if it is missing, so that its test is skipped.
/// Fails if `CORELANE_REQUIRE_ALL` is set.
pub fn python() -> Option<PathBuf> {
    let place = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/bin/python");
    let has_it = Command::new(place).args(["-c", "import prometheus_client"]).output();
    if has_it.is_ok_and(|output| output.status.success()) {
        return Some(place.into());
    }
    assert!(std::env::var_os("CORELANE_REQUIRE_ALL").is_none(), "prometheus_client is missing: make deps");
    println!("skipped: prometheus_client is missing");
    None
}

/// Adds the Rust files below a folder.
pub fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
