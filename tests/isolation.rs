//! Runs each culprit of benches/isolation together with innocent clients, on real threads and without measuring time.
//! The innocents lose nothing and keep their order, which is checked message by message on delivery. The culprit's
//! messages are refused or fail for the expected reason, as often as the culprit was told. At the end every message
//! and delivery is accounted for. Invariants I4, I5, I8, I9.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "../benches/isolation/culprits.rs"]
#[allow(dead_code, reason = "the bench's page also says what they are about")]
mod culprits;
#[path = "../benches/isolation/innocents.rs"]
mod innocents;
#[path = "../benches/isolation/rounds.rs"]
mod rounds;
mod support;

use corelane::metrics::{Accounting, Stats};
use culprits::{CASES, Case};
use innocents::Plan;
use rounds::{Gate, Round, fate, round, router};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use support::settled;

/// As fast as possible. The 500 messages of each sender stay within the limits of every case.
const PLAN: Plan = Plan { messages: 4_000, interval: Duration::from_micros(20) };

fn case(part: &str) -> &'static Case {
    CASES.iter().find(|case| case.name.contains(part)).unwrap()
}

/// Runs a case once with its culprit and checks the conditions that hold for all cases.
fn run(part: &str, at_least: u64) -> (Round, Stats) {
    let (case, gate) = (case(part), Gate::new(Duration::ZERO));
    let mut router = router(case, &gate);
    let one = round(&router, (case, &gate), (true, "test"), PLAN, at_least, |_, _| ());
    router.stop();
    check(&one, &settled(&router));
    let stats = router.stats();
    assert_eq!(one.latencies[0].len(), PLAN.messages);
    (one, stats)
}

/// Checks that all messages are counted, and that all refused ones are the culprit's.
fn check(one: &Round, all: &Accounting) {
    assert_eq!(all.submitted, one.innocents + one.tally.submitted);
    let told: u64 = one.tally.refused.values().sum();
    assert_eq!(all.refused, told);
    for (reason, count) in &all.refusals.counted() {
        assert_eq!(one.tally.refused.get(reason), Some(count), "{reason}");
    }
    // The innocents' messages were not refused, so all of them are among the delivered ones.
    assert!(all.ok >= one.innocents, "{all:?}");
    assert_eq!(all.expired, 0);
}

#[test]
fn an_honest_neighbour_gets_everything() {
    let (one, stats) = run("honest", 5_000);
    assert_eq!((stats.accounting.refused, stats.accounting.failed), (0, 0));
    assert_eq!((one.tally.received, one.tally.told_refused), (one.tally.submitted, 0));
}

#[test]
fn a_client_that_stops_reading_costs_its_senders_its_credit_and_nobody_else_anything() {
    let (one, stats) = run("stops reading", 5_000);
    // The client's credit is 1,024 messages, and none is ever given back.
    assert_eq!((one.tally.received, one.tally.told_refused), (1_024, one.tally.submitted - 1_024));
    assert_eq!(stats.messages.failures.counted(), [("credit_exhausted", one.tally.told_refused)]);
    let refusals: u64 = stats.workers.iter().map(|worker| worker.credit_refusals).sum();
    assert_eq!(refusals, one.tally.told_refused);
    assert_eq!((stats.accounting.refused, stats.accounting.undeliverable), (0, refusals));
}

#[test]
fn a_client_that_floods_is_refused_at_its_own_door() {
    let (one, stats) = run("floods", 50_000);
    let all = &stats.accounting;
    // Of the first thousand messages, submitted at once, `max_in_flight` are accepted.
    assert!(all.refusals.get("in_flight_limit") >= 488, "{all:?}");
    let named = all.refusals.get("in_flight_limit") + all.refusals.get("rate_limited");
    assert_eq!((all.refused, all.failed), (named, 0), "{all:?}");
    assert_eq!(one.tally.received, one.tally.submitted - named, "every accepted message was delivered");
}

#[test]
fn a_handler_that_panics_always_ends_its_own_messages_alone() {
    let (one, stats) = run("panics", 2_000);
    let panics: u64 = stats.workers.iter().map(|worker| worker.handler_panics).sum();
    assert_eq!(stats.messages.failures.counted(), [("handler_panicked", one.tally.submitted)]);
    assert_eq!((panics, stats.accounting.ok), (one.tally.submitted, one.innocents));
    // The line of the bench's page about the culprit.
    let submitted = one.tally.submitted;
    assert_eq!(
        fate(&stats, one.innocents),
        format!("{submitted} submitted, 0 ok; failed: handler_panicked {submitted}; panics {submitted}")
    );
}

#[test]
fn unknown_types_and_rooms_fold_and_make_nothing_grow() {
    let names = router(case("nobody"), &Gate::new(Duration::ZERO)).stats().types.len();
    // Each of the ten thousand names is used once.
    let (one, stats) = run("unknown", 10_000);
    let half = one.tally.submitted / 2;
    assert!(half >= 10_000);
    let failures = &stats.messages.failures;
    assert_eq!((failures.get("unknown_room"), failures.get("unknown_type")), (half, half));
    assert_eq!(stats.types.len(), names, "a type that is not listed has a series");
    // 16 rooms for a client, out of 10,000 names.
    assert_eq!(one.tally.joined, 16);
    assert_eq!(stats.rooms.refusals.counted(), [("too_many_client_rooms", one.tally.joins_refused)]);
    assert_eq!((one.tally.joins_refused, stats.rooms.members_maximum), (half - 16, 16));
    // The client has left its rooms. A message opens none.
    assert_eq!((stats.rooms.joined, stats.rooms.open), (16, 0));
}

#[test]
fn a_poller_that_is_slow_loses_its_own_deliveries_alone() {
    let (one, stats) = run("poller", 5_000);
    let lost = stats.messages.failures.get("egress_full");
    assert_eq!(stats.messages.failed, lost);
    assert_eq!(stats.accounting.undelivered.get("egress_full"), lost);
    assert_eq!(stats.accounting.undeliverable, lost);
    assert_eq!(one.tally.received, one.tally.submitted - one.tally.refused.values().sum::<u64>() - lost);
    assert!(one.tally.received > 0);
}

/// The handler sleeps until the innocents in the group `complete` are done, and no longer.
fn run_asleep(part: &str, complete: usize) -> (Round, Stats, u64) {
    let (case, gate) = (case(part), Gate::new(Duration::from_secs(60)));
    let mut router = router(case, &gate);
    let mut waiting = 0;
    let one = round(&router, (case, &gate), (true, "test"), PLAN, 0, |progress, asleep| {
        let group = if complete == 0 { 0 } else { 1 - asleep };
        let through = progress.sent == progress.planned && progress.is_complete(group);
        let stalled = || router.stats().workers.iter().any(|worker| worker.stalled);
        if gate.left.load(SeqCst) == 0 && through && stalled() {
            waiting = PLAN.messages - progress.received(0) - progress.received(1);
            gate.open();
        }
    });
    assert_eq!(gate.left.load(SeqCst), 1, "the handler did not run all the time");
    router.stop();
    check(&one, &settled(&router));
    let stats = router.stats();
    (one, stats, waiting)
}

#[test]
fn nobody_new_is_placed_at_a_worker_whose_handler_sleeps() {
    let (one, stats, waiting) = run_asleep("new clients", 0);
    assert_eq!(waiting, 0, "all were served while it slept");
    assert_eq!((stats.accounting.refused, stats.accounting.failed), (0, 0));
    assert_eq!(stats.accounting.ok, one.innocents + 1);
    // The stalled worker has taken only the one message on which its handler slept.
    let taken: Vec<_> = stats.workers.iter().map(|worker| (worker.received, worker.stalls > 0)).collect();
    assert!(taken.contains(&(1, true)), "{taken:?}");
}

#[test]
fn a_handler_that_sleeps_keeps_waiting_only_who_is_at_its_worker() {
    let (one, stats, waiting) = run_asleep("were there", 1);
    // The other worker's clients were all served while the handler slept, and some clients of its own worker were
    // not.
    assert!(waiting > 0, "no message waited");
    assert_eq!(one.latencies[0].len() + one.latencies[1].len(), PLAN.messages);
    assert_eq!((stats.accounting.refused, stats.accounting.failed), (0, 0));
    assert!(stats.workers.iter().any(|worker| worker.stalls > 0));
}
