//! Runs several routers, joined by their gateways, on one thread from a seed: a network that delays, drops and reorders, partitions,
//! lost links, machines that die and return, a directory whose watches lag, clients that connect, move, take over their
//! name and leave. After every step it checks conservation (I4) on each machine and the bounds of the links; with each
//! event, that a message arrives once, at its recipient, in its sender's order (I5), and has one outcome.
//!
//! `CORELANE_SIMULATOR_SEEDS`, `CORELANE_SIMULATOR_SEED` and `CORELANE_SIMULATOR_FIRST` are those of tests/simulator.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test")]

mod core;
mod ledger;
mod link;
mod net;
#[path = "../support/random.rs"]
mod random;
mod world;

use std::collections::BTreeMap;
use world::World;

const DEFAULT_SEEDS: u64 = 1_000;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
fn machines_joined_by_their_gateways_from_a_seed() {
    let first = variable("CORELANE_SIMULATOR_FIRST").unwrap_or(0);
    let seeds = match variable("CORELANE_SIMULATOR_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + variable("CORELANE_SIMULATOR_SEEDS").unwrap_or(DEFAULT_SEEDS),
    };
    let mut reached = Reached::default();
    let all = seeds.end - seeds.start;
    for seed in seeds {
        match std::panic::catch_unwind(|| World::new(seed).run()) {
            Ok(one) => reached.add(&one),
            Err(_) => panic!("failing seed {seed}: CORELANE_SIMULATOR_SEED={seed} repeats it"),
        }
    }
    println!("{reached:?}");
    if all >= DEFAULT_SEEDS {
        reached.assert_everything_happened();
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

    fn assert_everything_happened(&self) {
        for what in world::SITUATIONS {
            assert!(self.0.get(what).is_some_and(|count| *count > 0), "never: {what}");
        }
    }
}
