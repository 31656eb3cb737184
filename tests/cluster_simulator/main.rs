//! Runs several routers, joined by their gateways, on one thread from a seed: a network that delays, drops and reorders, partitions,
//! lost links, machines that die and return, a directory whose watches lag, clients that connect, move, take over their
//! name and leave. After every step it checks conservation (I4) on each machine and the bounds of the links; with each
//! event, that a message arrives once, at its recipient, in its sender's order (I5), and has one outcome.
//!
//! `CORELANE_SIMULATOR_SEEDS`, `CORELANE_SIMULATOR_SEED` and `CORELANE_SIMULATOR_FIRST` are those of tests/simulator.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test")]

#[cfg(feature = "nats")]
mod bucket;
mod core;
mod ledger;
mod link;
mod net;
#[path = "../support/random.rs"]
mod random;
#[cfg(feature = "nats")]
mod shipped;
mod world;

use std::collections::BTreeMap;
use world::World;

const DEFAULT_SEEDS: u64 = 1_000;

/// Prints what happens to the name in `CORELANE_SIMULATOR_LOG`.
pub fn log(name: &str, text: impl FnOnce() -> String) {
    if std::env::var("CORELANE_SIMULATOR_LOG").is_ok_and(|logged| logged == name) {
        println!("{}", text());
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
fn machines_joined_by_their_gateways_from_a_seed() {
    run(|seed| World::new(seed).run(), DEFAULT_SEEDS, &world::SITUATIONS);
}

#[cfg(feature = "nats")]
#[test]
fn machines_joined_by_the_shipped_links_and_names_from_a_seed() {
    run(|seed| shipped::Shipped::new(seed).run(), DEFAULT_SEEDS / 4, &shipped::SITUATIONS);
}

fn run(one_seed: impl Fn(u64) -> Reached + std::panic::RefUnwindSafe, usual: u64, situations: &[&str]) {
    let first = variable("CORELANE_SIMULATOR_FIRST").unwrap_or(0);
    let seeds = match variable("CORELANE_SIMULATOR_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + variable("CORELANE_SIMULATOR_SEEDS").unwrap_or(usual),
    };
    let mut reached = Reached::default();
    let all = seeds.end - seeds.start;
    for seed in seeds {
        match std::panic::catch_unwind(|| one_seed(seed)) {
            Ok(one) => reached.add(&one),
            Err(_) => panic!("failing seed {seed}: CORELANE_SIMULATOR_SEED={seed} repeats it"),
        }
    }
    println!("{reached:?}");
    if all >= usual {
        reached.assert_everything_happened(situations);
    }
}

/// How often what must happen has happened.
#[derive(Debug, Default)]
pub struct Reached(BTreeMap<&'static str, u64>);

impl Reached {
    pub fn note(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    fn assert_everything_happened(&self, situations: &[&str]) {
        for what in situations {
            assert!(self.0.get(what).is_some_and(|count| *count > 0), "never: {what}");
        }
    }
}
