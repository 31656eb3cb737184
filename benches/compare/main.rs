//! Compares corelane with the parts that a host would otherwise combine. `make bench` runs it. `--rounds 3` gives a
//! quick result. Names of benches (ring, router, envelope, record, server) select some of them. `--write-docs` writes
//! their sections of docs/performance.md.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark")]

#[path = "../shared/document.rs"]
mod document;
mod envelope;
mod messages;
mod peers;
#[path = "../shared/race.rs"]
mod race;
mod record;
mod ring;
mod router;
mod server;

use race::Report;
use std::path::Path;

/// The root of the repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

type Bench = (&'static str, fn(&mut Report));

fn main() {
    let mut report = Report { rounds: 31, rows: Vec::new() };
    let mut write_docs = false;
    let mut only = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => {
                report.rounds = arguments.next().and_then(|text| text.parse().ok()).expect("--rounds NUMBER");
            }
            "--bare-relay" => return server::bare_relay(&arguments.next().expect("an address")),
            "--write-docs" => write_docs = true,
            "--bench" => {} // Added by `cargo bench`.
            _ => only.push(argument),
        }
    }
    println!("{}", document::conditions(&report));
    println!("{}", race::heading());
    let benches: &[Bench] = &[
        ("ring", ring::run),
        ("router", router::run),
        ("envelope", envelope::run),
        ("record", record::run),
        ("server", server::run),
    ];
    for (name, bench) in benches.iter().copied() {
        if only.is_empty() || only.iter().any(|one| one == name) {
            bench(&mut report);
        }
    }
    let root = Path::new(ROOT);
    let mut written = vec![document::json(&report, root).expect("target/bench can be written")];
    if write_docs {
        written.extend(document::documents(&report, root).expect("docs can be written"));
    }
    println!("written: {}", written.join(", "));
}
