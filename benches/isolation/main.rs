//! Measures the cost of a culprit for other clients: alternating rounds with and without the culprit in one router.
//! `make isolation` runs it and writes docs/isolation.md. `--rounds 3` gives a quick result. A part of a case's name
//! selects cases.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark")]

#[path = "../shared/conditions.rs"]
mod conditions;
#[allow(dead_code, reason = "tests/isolation.rs uses more of it")]
mod culprits;
#[allow(dead_code, reason = "as above")]
mod innocents;
mod page;
#[allow(dead_code, reason = "as above")]
mod rounds;

use culprits::{CASES, Case, Kind};
use hdrhistogram::Histogram;
use innocents::Plan;
use page::{Figures, Row, percentiles};
use rounds::{Gate, fate, round, router};
use std::time::Duration;

/// One second of 4,000 messages per second.
const PLAN: Plan = Plan { messages: 4_000, interval: Duration::from_micros(250) };
/// How long the sleeping handler sleeps.
const SLEEP: Duration = Duration::from_secs(2);

fn main() {
    let mut rounds = 7;
    let mut write_docs = false;
    let mut only = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => {
                rounds = arguments.next().and_then(|text| text.parse().ok()).expect("--rounds NUMBER");
            }
            "--write-docs" => write_docs = true,
            "--bench" => {} // Added by `cargo bench`.
            _ => only.push(argument),
        }
    }
    assert!(rounds > 0, "--rounds 1 or more");
    let mut rows = Vec::new();
    for case in &CASES {
        if only.is_empty() || only.iter().any(|part| case.name.contains(part.as_str())) {
            for row in measure(case, rounds) {
                println!("{}", page::line(&row));
                rows.push(row);
            }
        }
    }
    if write_docs {
        page::write(&rows, rounds).expect("docs/isolation.md can be written");
        println!("written: docs/isolation.md");
    }
}

/// Runs all rounds of a case in one router.
fn measure(case: &'static Case, rounds: usize) -> Vec<Row> {
    let gate = Gate::new(SLEEP);
    let mut router = router(case, &gate);
    let mut figures: [Vec<Figures>; 2] = [Vec::new(), Vec::new()];
    let mut innocents = 0;
    let groups = if matches!(case.kind, Kind::SleepsUnder) { 2 } else { 1 };
    // One warm-up round that is not measured.
    innocents += round(&router, (case, &gate), (false, "warm"), PLAN, 0, |_, _| ()).innocents;
    for number in 0..rounds {
        let mut sides: [Option<[Histogram<u64>; 2]>; 2] = [None, None];
        for turn in 0..2 {
            // The order alternates: without, with; then with, without.
            let with = (number + turn) % 2 == 1;
            let name = format!("{number}-{turn}");
            let one = round(&router, (case, &gate), (with, &name), PLAN, 0, |_, _| ());
            innocents += one.innocents;
            sides[usize::from(with)] = Some(one.latencies);
        }
        let [Some(without), Some(with)] = sides else { panic!("a round has two sides") };
        for group in 0..groups {
            let (without, with) = (percentiles(&without[group]), percentiles(&with[group]));
            figures[group].push(Figures { without, with });
        }
    }
    router.stop();
    let stats = router.stats();
    let all = &stats.accounting;
    assert!(all.in_flight == 0 && all.queued == 0 && all.ok >= innocents, "{all:?}");
    let fate = fate(&stats, innocents);
    let suffix = match groups {
        2 => [", other worker", ", its worker"],
        _ => ["", ""],
    };
    let rows = figures.into_iter().zip(suffix).take(groups);
    rows.map(|(figures, suffix)| Row {
        case,
        name: format!("{}{suffix}", case.name),
        figures,
        innocents,
        fate: fate.clone(),
    })
    .collect()
}
