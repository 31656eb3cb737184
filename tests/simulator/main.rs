//! Runs a whole router on one thread from a seed: random clients, names, sizes, disconnects, reconnects, full rings,
//! a clock that jumps, ports that are opened and released, stops. After every step it checks conservation (I4), order
//! (I5) and the model of each client.
//!
//! `CORELANE_SIMULATOR_SEEDS=100000 cargo test --release --test simulator` runs more seeds.
//! `CORELANE_SIMULATOR_SEED=17` runs that seed only.
//! `CORELANE_SIMULATOR_FIRST` is the first seed of a range.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod admission;
mod handlers;
mod host;
#[path = "../support/random.rs"]
mod random;
mod reached;

use host::Host;

const DEFAULT_SEEDS: u64 = 2_000;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
fn conservation_and_order_from_a_seed() {
    let one = variable("CORELANE_SIMULATOR_SEED");
    let first = variable("CORELANE_SIMULATOR_FIRST").unwrap_or(0);
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => first..first + variable("CORELANE_SIMULATOR_SEEDS").unwrap_or(DEFAULT_SEEDS),
    };
    let mut reached = host::Reached::default();
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| Host::new(seed).run());
        match outcome {
            Ok(one) => reached.add(&one),
            Err(_) => panic!("failing seed {seed}: CORELANE_SIMULATOR_SEED={seed} repeats it"),
        }
    }
    println!("{reached:?}");
    if one.is_none() {
        reached.assert_everything_happened();
    }
}
