//! Compares corelane with the parts that a host would otherwise combine, and with other servers. `make bench` runs it;
//! scripts/bench.sh builds what it needs beside it.
//!
//! | argument | meaning |
//! |---|---|
//! | NAME… | only these benches: ring, router, worker, fan-out, latency, scaling, envelope, record, server, server-go, idle, go |
//! | `--rounds N` | rounds of each case |
//! | `--quick` | one round with little work: shows that everything runs |
//! | `--write-docs` | writes the sections of docs/performance.md, its plots, and the README's table |
//! | `--from FILE` | takes the results of another run, in its report.json |
//! | `--bare-relay ADDRESS [THREADS]` | is the bare relay |
//!
//! The results are also written to report.json beside the program. With `CORELANE_REQUIRE_ALL=1` a case that cannot be
//! measured is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark")]

#[path = "../shared/conditions.rs"]
mod conditions;
mod document;
mod envelope;
mod in_go;
mod messages;
mod peers;
mod plot;
mod race;
mod record;
mod ring;
mod router;
mod sections;
mod server;

use race::Report;
use std::path::{Path, PathBuf};

/// The root of the repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A file that scripts/bench.sh puts beside this program.
fn built(name: &str) -> PathBuf {
    std::env::current_exe().expect("this program's path").with_file_name(name)
}

type Bench = (&'static str, fn(&mut Report));

const BENCHES: [Bench; 12] = [
    ("ring", ring::run),
    ("router", router::run),
    ("worker", router::worker::run),
    ("fan-out", router::run_fan_out),
    ("latency", router::latency::run),
    ("scaling", router::scaling::run),
    ("envelope", envelope::run),
    ("record", record::run),
    ("server", server::run),
    ("server-go", server::run_go),
    ("idle", server::idle::run),
    ("go", in_go::run),
];

fn main() {
    let mut report = Report { rounds: 15, ..Report::default() };
    let (mut write_docs, mut from) = (false, None);
    let mut only: Vec<String> = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => {
                report.rounds = arguments.next().and_then(|text| text.parse().ok()).expect("--rounds NUMBER");
            }
            "--quick" => (report.quick, report.rounds) = (true, 1),
            "--bare-relay" => {
                let address = arguments.next().expect("an address");
                return server::relay::run(&address, arguments.next().and_then(|text| text.parse().ok()));
            }
            "--write-docs" => write_docs = true,
            "--from" => from = Some(arguments.next().expect("--from FILE")),
            name => {
                assert!(BENCHES.iter().any(|(known, _)| *known == name), "no bench is named {name}");
                only.push(argument);
            }
        }
    }
    if let Some(file) = from {
        let text = std::fs::read_to_string(&file).expect("a readable report");
        report = serde_json::from_str(&text).expect("a report");
    } else {
        measure(&mut report, &only);
    }
    if write_docs {
        assert!(!report.quick, "the figures of a quick run mean nothing");
        let written = document::documents(&report, Path::new(ROOT)).expect("docs can be written");
        println!("written: {}", written.join(", "));
    }
    if !report.skipped.is_empty() && std::env::var("CORELANE_REQUIRE_ALL").is_ok_and(|value| value == "1") {
        eprintln!("{} cases were skipped", report.skipped.len());
        std::process::exit(1);
    }
}

fn measure(report: &mut Report, only: &[String]) {
    let began = std::time::Instant::now();
    report.conditions = conditions::conditions(report.rounds);
    println!("{}", report.conditions);
    println!("{}", race::heading());
    for (name, bench) in BENCHES {
        if only.is_empty() || only.iter().any(|one| one == name) {
            let (began, taken) = (std::time::Instant::now(), race::taken_by_others());
            report.taken_by_others = report.taken_by_others.max(taken);
            bench(report);
            let took = began.elapsed().as_secs_f64();
            println!("{name}: {took:.1} s; other programs took {taken:.0} % of the cores before it");
        }
    }
    if report.taken_by_others > 5.0 {
        let taken = format!("; **other programs took up to {:.0} % of the cores**", report.taken_by_others);
        report.conditions.push_str(&taken);
        println!("The machine was busy: repeat the run on a quiet one.");
    }
    let file = built("report.json");
    let text = serde_json::to_string_pretty(report).expect("JSON");
    std::fs::write(&file, text + "\n").expect("a writable report");
    println!("written: {}; {:.1} s in total", file.display(), began.elapsed().as_secs_f64());
}
