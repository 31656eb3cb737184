//! Measures the path from port to worker to port: PeerJS clients on one host thread, with every message parsed, looked
//! up, rewritten and recorded; and the path to all members of a room. The peers are pools that do the same
//! ([`pool`], [`go`]). All sides send in batches of 32 with the same number of messages in flight, and have the same
//! number of threads, or each side its own default. With equal threads no side sleeps if its interface can avoid it.

mod bare;
pub mod corelane;
mod go;
pub mod latency;
mod pool;
pub mod scaling;
pub mod side;
pub mod worker;

use crate::messages::{self, Kind};
use crate::race::{Better, Pair, Report, pin};
use bare::Bare;
use corelane::Corelane;
use go::GoPool;
use pool::{Channels, Tokio};
use side::{CLIENTS, Idle, Side, Threads, exchange, names, outcome};

pub const CROSSBEAM: &str = "crossbeam-channel pool + prometheus";
pub const TOKIO: &str = "tokio mpsc pool + prometheus";
const GO: &str = "Go pool, encoding/json";
const FLOOR: &str = "floor: bare rings, memcpy";

/// A side of a case. A side in this process is new in every round, because a spinning side would take the core from
/// the other sides.
enum Contender<'a> {
    Here(&'static str, Box<dyn Fn() -> Box<dyn Side> + 'a>),
    Go(GoPool),
}

impl Contender<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Here(name, _) => name,
            Self::Go(_) => GO,
        }
    }

    fn measure(&mut self, case: &Case<'_>, count: usize) -> f64 {
        let warm_up = (count / 10).max(1);
        match self {
            Self::Here(_, make) => {
                let mut side = make();
                exchange(side.as_mut(), case.messages, warm_up, case.fan);
                exchange(side.as_mut(), case.messages, count, case.fan)
            }
            Self::Go(pool) => {
                pool.exchange(warm_up);
                pool.exchange(count)
            }
        }
    }

    fn outcome(&mut self, case: &Case<'_>) -> Vec<(usize, String)> {
        match self {
            Self::Here(_, make) => outcome(make().as_mut(), case.messages, case.fan),
            Self::Go(pool) => pool.outcome(),
        }
    }
}

struct Case<'a> {
    bench: &'static str,
    name: String,
    messages: &'a [Vec<u8>],
    /// Messages per round.
    count: usize,
    clients: usize,
    /// The number of recipients of each message. More than 1: the messages go to a room.
    fan: usize,
    threads: Threads,
}

/// Runs a case against every peer that can have its number of threads.
fn race(report: &mut Report, case: &Case<'_>) {
    let (names, threads, to_room) = (names(case.clients), case.threads, case.fan > 1);
    let ours = || -> Box<dyn Side> {
        Box::new(if to_room { Corelane::room(&names, threads) } else { Corelane::new(&names, threads) })
    };
    let channels = || Box::new(Channels::new(&names, threads, to_room)) as Box<dyn Side>;
    let mut sides =
        vec![Contender::Here("corelane", Box::new(ours)), Contender::Here(CROSSBEAM, Box::new(channels))];
    if !matches!(threads, Threads::One) {
        let tokio = || Box::new(Tokio::new(&names, threads, to_room)) as Box<dyn Side>;
        sides.push(Contender::Here(TOKIO, Box::new(tokio)));
    }
    match GoPool::start(&names, case.messages, threads, case.fan) {
        Ok(pool) => sides.push(Contender::Go(pool)),
        Err(reason) => report.skip(format_args!("{}, {}: {reason}", case.bench, case.name)),
    }
    // The messages are delivered equally on all sides.
    let expected = sides[0].outcome(case);
    for side in &mut sides[1..] {
        assert!(side.outcome(case) == expected, "{} delivers something else", side.name());
    }
    if matches!(threads, Threads::One | Threads::Workers(1, _)) {
        let bare = || Box::new(Bare::new(threads, case.fan)) as Box<dyn Side>;
        sides.push(Contender::Here(FLOOR, Box::new(bare)));
    }
    let count = report.work(case.count);
    let results = report.rounds(&mut sides, |side| side.measure(case, count));
    for (place, side) in sides.iter().enumerate().skip(1) {
        let pair = Pair {
            bench: case.bench,
            case: case.name.clone(),
            unit: if to_room { "ns/delivery" } else { "ns/message" },
            peer: side.name().to_owned(),
            better: Better::Lower,
        };
        let both: Vec<_> = results.iter().map(|round| (round[0], round[place])).collect();
        report.add(&pair, &both);
    }
}

/// One thread, two threads, and a thread on each core, with the host as one of them.
fn equal_threads() -> Vec<(String, Threads)> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut cases = vec![
        ("1 thread".to_owned(), Threads::One),
        ("2 threads".to_owned(), Threads::Workers(1, Idle::Spin)),
    ];
    if cores > 2 {
        cases.push((format!("{cores} threads"), Threads::Workers(cores - 1, Idle::Spin)));
    }
    cases
}

/// Runs on a thread of its own, pinned to the first core.
pub fn on_first_core(run: impl FnOnce() + Send) {
    let pinned = || {
        pin(0);
        run();
    };
    std::thread::scope(|scope| scope.spawn(pinned).join().expect("the host's thread"));
}

pub fn run(report: &mut Report) {
    let names = names(CLIENTS);
    let small = messages::candidates_of(200, &names);
    let large = messages::set(Kind::Offer, true, &names);
    for (size, messages, count) in [("200 bytes", &small, 100_000), ("SDP offer 3 KiB", &large, 15_000)] {
        let case = |threads: &str, kind| Case {
            bench: "router",
            name: format!("{size}, {threads}"),
            messages,
            count,
            clients: CLIENTS,
            fan: 1,
            threads: kind,
        };
        on_first_core(|| {
            for (threads, kind) in equal_threads() {
                race(report, &case(&threads, kind));
            }
        });
        race(report, &case("defaults", Threads::Default)); // Nothing is pinned but by the sides themselves.
    }
}

pub fn run_fan_out(report: &mut Report) {
    let messages = messages::to_room(200);
    on_first_core(|| {
        for (fan, count) in [(10, 30_000), (1000, 400)] {
            for (threads, kind) in equal_threads().into_iter().take(2) {
                let name = format!("to {fan}, {threads}");
                let case = Case {
                    bench: "fan-out",
                    name,
                    messages: &messages,
                    count,
                    clients: fan + 1,
                    fan,
                    threads: kind,
                };
                race(report, &case);
            }
        }
    });
}
