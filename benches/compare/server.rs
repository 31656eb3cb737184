//! Compares the PeerJS server with the ones in C and in Go, with npm's `peer`, with `matchbox_server`, and with a bare relay on tokio that measures
//! nothing. Each server is a separate process, driven by one client program with 16 pairs of WebSockets. With equal
//! threads every server has the same number of threads, and may only use as many cores; and every server runs once
//! more as its users start it.

mod client;
pub mod idle;
mod process;
pub mod relay;

use crate::conditions::median;
use crate::race::{Better, Pair, Report, histogram};
use client::{Driver, Protocol};
use process::{Kind, Server, Threads};
use std::time::Duration;

/// The open loop: shares of the slowest server's capacity, in percent. All servers get the same schedule.
const LOADS: [u32; 3] = [10, 50, 90];

/// The servers of a bench; the first is compared with each other one.
struct Field {
    bench: &'static str,
    kinds: &'static [Kind],
}

const SERVERS: Field = Field {
    bench: "server",
    kinds: &[Kind::Ours, Kind::InC, Kind::InGo, Kind::Npm, Kind::Matchbox, Kind::Bare],
};

const IN_GO: Field =
    Field { bench: "server-go", kinds: &[Kind::InGo, Kind::PeerJsGo, Kind::Npm, Kind::Ours, Kind::Bare] };

const WINDOWS: [(&str, usize, usize); 2] = [("one in flight", 1, 8_000), ("pipelined", 32, 16_384)];

fn start(report: &mut Report, field: &Field, threads: Threads, name: &str) -> Vec<(Kind, Driver)> {
    let mut drivers = Vec::new();
    for &kind in field.kinds {
        if kind.may_be_missing() {
            println!("not compared: {}, {name}, {}: not beside the benchmark", field.bench, kind.name());
        } else if kind.can_have(threads) {
            let started = Server::start(kind, threads, 100);
            match started.and_then(|server| Driver::new(server, Protocol::of(kind))) {
                Ok(driver) => drivers.push((kind, driver)),
                Err(reason) => {
                    report.skip(format_args!("{}, {name}, {}: {reason}", field.bench, kind.name()))
                }
            }
        }
    }
    drivers
}

pub fn run(report: &mut Report) {
    compare(report, &SERVERS);
}

/// The server in Go against the other server in Go, and npm's.
pub fn run_go(report: &mut Report) {
    compare(report, &IN_GO);
}

fn compare(report: &mut Report, field: &Field) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut cases =
        vec![("1 thread".to_owned(), Threads::Count(1)), ("2 threads".to_owned(), Threads::Count(2))];
    if cores > 2 {
        cases.push((format!("{cores} threads"), Threads::Count(cores)));
    }
    cases.push(("defaults".to_owned(), Threads::Default));
    for (name, threads) in cases {
        let mut drivers = start(report, field, threads, &name);
        if drivers.first().is_none_or(|(kind, _)| *kind != field.kinds[0]) {
            return; // Skipped, with the reason.
        }
        for (case, window, messages) in WINDOWS {
            let messages = report.work(messages);
            let results = report.rounds(&mut drivers, |(_, driver)| driver.measure(messages, window));
            for (place, (peer, _)) in drivers.iter().enumerate().skip(1) {
                let mut add = |what: &str, unit, better, figure: fn(&client::Exchanged) -> f64| {
                    let both: Vec<_> =
                        results.iter().map(|round| (figure(&round[0]), figure(&round[place]))).collect();
                    let case = format!("{name}, {case}: {what}");
                    report.add(
                        &Pair { bench: field.bench, case, unit, peer: peer.name().to_owned(), better },
                        &both,
                    );
                };
                add("messages", "1000/CPU-second", Better::Higher, |all| all.per_cpu_second / 1e3);
                add("messages", "1000/s", Better::Higher, |all| all.per_second / 1e3);
                add("p99", "us", Better::Lower, |all| all.p99);
            }
        }
        if threads == Threads::Default {
            open_loop(report, field.bench, &mut drivers);
        }
    }
}

fn open_loop(report: &mut Report, bench: &'static str, drivers: &mut [(Kind, Driver)]) {
    // Without batches, as the messages of the open loop arrive.
    let messages = report.work(8_000);
    let capacities = report.rounds(drivers, |(_, driver)| driver.measure(messages, 1).per_second);
    let capacity = |place: usize| median(capacities.iter().map(|round| round[place]));
    let slowest = (0..drivers.len()).map(capacity).fold(f64::INFINITY, f64::min);
    let span = Duration::from_millis(report.work(400) as u64);
    for load in LOADS {
        let rate = slowest * f64::from(load) / 100.0;
        let results = report.rounds(drivers, |(_, driver)| driver.open_loop(rate, span));
        for (place, (kind, _)) in drivers.iter().enumerate() {
            let mut all = histogram();
            results.iter().for_each(|round| all.add(&round[place]).unwrap());
            report.latency(bench, kind.name(), load, rate, &all);
        }
        for (place, (peer, _)) in drivers.iter().enumerate().skip(1) {
            for (what, percentile) in [("p50", 50.0), ("p99", 99.0)] {
                let at =
                    |times: &hdrhistogram::Histogram<u64>| times.value_at_percentile(percentile) as f64 / 1e3;
                let both: Vec<_> = results.iter().map(|round| (at(&round[0]), at(&round[place]))).collect();
                let case = format!("open loop, {load} % of the slowest: {what}");
                let peer = peer.name().to_owned();
                report.add(&Pair { bench, case, unit: "us", peer, better: Better::Lower }, &both);
            }
        }
    }
}
