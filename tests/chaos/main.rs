//! Runs a whole router on one thread. Actors do everything that a host may do, from every place where host code runs:
//! handlers, poll callbacks, answers to tasks, and the base route. Limits are small, so that queues are full and
//! client slots are reused all the time. A ledger records everything that was given to the router. The ledger does
//! not predict events. It checks that no forbidden event is delivered (`events`) and that all accounts balance at the
//! end (`ending`).
//!
//! `CORELANE_CHAOS_SEEDS=100000 cargo test --release --test chaos` runs more seeds. `CORELANE_CHAOS_SEED=17` runs
//! that seed only, and `CORELANE_CHAOS_TRACE=1` prints its acts. `CORELANE_CHAOS_FIRST` is the first seed of a range.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod acts;
mod batches;
mod clients;
mod ending;
mod events;
mod handlers;
mod ledger;
mod locals;
mod polling;
mod ports;
#[path = "../support/random.rs"]
mod random;
mod reach;
#[path = "../simulator/reached.rs"]
mod reached;
mod scenes;
mod setup;
mod submitting;
mod values;
mod watching;
mod workers;
mod world;

use reach::Reached;

const DEFAULT_SEEDS: u64 = 4_000;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
fn nothing_that_a_host_does_breaks_the_accounts() {
    let one = variable("CORELANE_CHAOS_SEED");
    let first = variable("CORELANE_CHAOS_FIRST").unwrap_or(0);
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => first..first + variable("CORELANE_CHAOS_SEEDS").unwrap_or(DEFAULT_SEEDS),
    };
    let watch = watching::Watch::start();
    let mut reached = Reached::default();
    for seed in seeds {
        watch.begin(seed);
        let outcome = std::panic::catch_unwind(|| world::run(seed));
        match outcome {
            Ok(one) => reached.add(&one),
            Err(_) => {
                world::forget();
                panic!("failing seed {seed}: CORELANE_CHAOS_SEED={seed} repeats it");
            }
        }
    }
    watch.end();
    println!("{reached:#?}");
    if one.is_none() {
        reached.assert_everything_happened();
    }
}
