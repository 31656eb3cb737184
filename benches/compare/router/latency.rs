//! Latency under an open loop: messages arrive on a constant schedule, whether earlier ones are delivered or not, and
//! the latency of a message counts from its scheduled time. A side that falls behind therefore shows it (no coordinated
//! omission). One host thread, one worker, all ways of waiting; and the processor time of each way when nothing arrives.

use super::corelane::Corelane;
use super::pool::{Channels, Tokio};
use super::side::{BATCH, CLIENTS, Idle, ON_THEIR_WAY, Side, Threads, exchange, names};
use super::{CROSSBEAM, TOKIO, on_first_core};
use crate::messages;
use crate::race::{Better, Pair, Report, histogram, processor_nanoseconds};
use hdrhistogram::Histogram;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Shares of a side's own capacity, in percent.
const LOADS: [u32; 3] = [10, 50, 90];
/// The share of the slowest side's capacity at which all sides get the same schedule, in percent.
const SAME: u32 = 50;

/// Sends at `rate` messages per second. Returns the latencies in nanoseconds.
fn open_loop(
    side: &mut dyn Side,
    messages: &[(Vec<u8>, usize)],
    rate: f64,
    span: Duration,
) -> Histogram<u64> {
    let count = (rate * span.as_secs_f64()).max(1.0) as usize;
    let (mut times, mut in_flight) = (histogram(), VecDeque::with_capacity(ON_THEIR_WAY));
    let (mut sent, mut received) = (0, 0);
    let began = Instant::now();
    let scheduled = |place: usize| (place as f64 * 1e9 / rate) as u64;
    while received < count {
        let now = began.elapsed().as_nanos() as u64;
        let mut batch = 0;
        while sent < count && batch < BATCH && in_flight.len() < ON_THEIR_WAY && scheduled(sent) <= now {
            let (message, recipient) = &messages[sent % messages.len()];
            if !side.send(sent % CLIENTS, message) {
                break; // No room. The message waits here, and its latency counts on.
            }
            in_flight.push_back((scheduled(sent), *recipient));
            (sent, batch) = (sent + 1, batch + 1);
        }
        if batch > 0 {
            side.flush();
        }
        received += side.receive(&mut |to, _| {
            // One worker keeps the order of one port.
            let (scheduled, recipient) = in_flight.pop_front().expect("a message in flight");
            assert_eq!(to, recipient, "not the next delivery");
            let now = began.elapsed().as_nanos() as u64;
            times.saturating_record(now.saturating_sub(scheduled).max(1));
        });
        assert!(
            began.elapsed() < Duration::from_secs(60) + span,
            "only {received} of {sent} messages arrived"
        );
    }
    times
}

type Make<'a> = Box<dyn Fn() -> Box<dyn Side> + 'a>;

/// Processor time of this process, in milliseconds per second, while nothing arrives.
fn idle(make: &Make<'_>, span: Duration) -> f64 {
    let side = make();
    std::thread::sleep(Duration::from_millis(20)); // Past the spinning.
    let used = || processor_nanoseconds(libc::CLOCK_PROCESS_CPUTIME_ID) as f64 / 1e6;
    let (before, began) = (used(), Instant::now());
    std::thread::sleep(span);
    let share = (used() - before) / began.elapsed().as_secs_f64();
    drop(side);
    share
}

pub fn run(report: &mut Report) {
    on_first_core(|| run_pinned(report));
}

fn run_pinned(report: &mut Report) {
    let names = names(CLIENTS);
    let places: HashMap<&str, usize> =
        names.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    let messages = messages::candidates_of(200, &names);
    let recipient = |message: &[u8]| places[crate::peers::Envelope::read(message).unwrap().dst.unwrap()];
    let addressed: Vec<_> = messages.iter().map(|message| (message.clone(), recipient(message))).collect();

    let ours = |idle| -> Make<'_> {
        let names = &names;
        Box::new(move || Box::new(Corelane::new(names, Threads::Workers(1, idle))))
    };
    let channels = |idle| -> Make<'_> {
        let names = &names;
        Box::new(move || Box::new(Channels::new(names, Threads::Workers(1, idle), false)))
    };
    let tokio = || Box::new(Tokio::new(&names, Threads::Workers(1, Idle::Backoff), false)) as Box<dyn Side>;
    let (ours_default, blocking) = (1, 4);
    let mut sides: [(String, Make<'_>); 6] = [
        ("corelane, spin".to_owned(), ours(Idle::Spin)),
        ("corelane, backoff".to_owned(), ours(Idle::Backoff)),
        ("corelane, park".to_owned(), ours(Idle::Park)),
        (format!("{CROSSBEAM}, spin"), channels(Idle::Spin)),
        (format!("{CROSSBEAM}, blocking"), channels(Idle::Backoff)),
        (TOKIO.to_owned(), Box::new(tokio)),
    ];

    let count = report.work(100_000);
    let capacities = report.rounds(&mut sides, |(_, make)| {
        let mut side = make();
        exchange(side.as_mut(), &messages, count / 10, 1);
        1e9 / exchange(side.as_mut(), &messages, count, 1)
    });
    let capacity = |side: usize| crate::conditions::median(capacities.iter().map(|round| round[side]));
    let capacities: Vec<f64> = (0..sides.len()).map(capacity).collect();
    let slowest = capacities.iter().copied().fold(f64::INFINITY, f64::min);

    let span = Duration::from_millis(report.work(400) as u64);
    for load in LOADS {
        let rate = |side: usize| capacities[side] * f64::from(load) / 100.0;
        let by_side = measure(report, &mut sides, &addressed, span, rate);
        for (side, rounds) in by_side.iter().enumerate() {
            let mut all = histogram();
            rounds.iter().for_each(|times| all.add(times).unwrap());
            report.latency("latency", &sides[side].0, load, rate(side), &all);
        }
    }

    // Rows: corelane's default, at the same schedule as each peer that sleeps too.
    let rate = slowest * f64::from(SAME) / 100.0;
    let rounds = measure(report, &mut sides, &addressed, span, |_| rate);
    for (what, percentile) in [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)] {
        for peer in [blocking, blocking + 1] {
            let pair = Pair {
                bench: "latency",
                case: format!("{what}, {:.0} 000/s", rate / 1e3),
                unit: "us",
                peer: sides[peer].0.clone(),
                better: Better::Lower,
            };
            let at = |times: &Histogram<u64>| times.value_at_percentile(percentile) as f64 / 1e3;
            let both: Vec<_> = rounds[ours_default]
                .iter()
                .zip(&rounds[peer])
                .map(|(our, their)| (at(our), at(their)))
                .collect();
            report.add(&pair, &both);
        }
    }

    let results = report.rounds(&mut sides, |(_, make)| idle(make, span.max(Duration::from_millis(100))));
    for (side, (name, _)) in sides.iter().enumerate() {
        let values: Vec<f64> = results.iter().map(|round| round[side]).collect();
        report.figure("idle", "a worker without messages", name, "ms CPU/s", &values);
    }
}

/// The latencies of each side in each round, at the rate that `rate` gives for it.
fn measure(
    report: &Report,
    sides: &mut [(String, Make<'_>)],
    messages: &[(Vec<u8>, usize)],
    span: Duration,
    rate: impl Fn(usize) -> f64,
) -> Vec<Vec<Histogram<u64>>> {
    let mut numbered: Vec<_> = sides.iter_mut().enumerate().collect();
    let rounds = report.rounds(&mut numbered, |(place, (_, make))| {
        let (mut side, rate) = (make(), rate(*place));
        open_loop(side.as_mut(), messages, rate, span / 10); // A warm-up.
        open_loop(side.as_mut(), messages, rate, span)
    });
    let mut by_side: Vec<Vec<_>> = sides.iter().map(|_| Vec::new()).collect();
    for round in rounds {
        by_side.iter_mut().zip(round).for_each(|(side, times)| side.push(times));
    }
    by_side
}
