//! The driver without a NATS server: the test is what NATS tells.

#![allow(clippy::unwrap_used, reason = "a test")]

use super::*;
use crate::cluster::Cluster;
use crate::cluster::directory::{Owner, REFILL};
use crate::cluster::names::{Outcome, Seen};
use crate::config::Config;
use crate::router::{Builder, GatewayOptions, Router};
use crate::sync::{Arc, AtomicU64, Relaxed};

struct Deaf;

impl Host for Deaf {
    fn lost(&self, _: &str, _: u64, _: LostReason) {}
    fn status(&self, _: ClusterStatus) {}
}

fn router() -> Router {
    let mut config = Config::default();
    config.set("workers", "1").unwrap();
    Builder::new(config).start().unwrap()
}

fn options() -> ClusterOptions {
    ClusterOptions {
        servers: "nats://127.0.0.1:1".to_owned(), // Nobody listens there.
        machine: "a".to_owned(),
        ..ClusterOptions::default()
    }
}

fn with_driver(test: impl FnOnce(&mut Driver<Deaf>)) {
    let router = router();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let gateway = router.gateway(GatewayOptions::default()).unwrap();
        let (nats, _news) = Nats::connect(&options()).await.unwrap();
        test(&mut Driver::new(options(), gateway, nats, Deaf));
    });
}

#[test]
fn a_renewal_of_the_incarnation_before_makes_nothing_of_the_next_one_valid() {
    with_driver(|driver| {
        let (start, before) = (since_boot(), driver.incarnation);
        driver.has_bucket = true;
        driver.due(start);
        driver.news(News::Renewed(before, start, Outcome::Done(1)), start);
        assert!(driver.lease.is_valid(start));
        let sent = start + lease::FENCE_AFTER - Duration::from_secs(1);
        let late = start + lease::FENCE_AFTER;
        driver.due(late);
        assert_ne!(driver.incarnation, before, "fenced");
        driver.news(News::Renewed(before, sent, Outcome::Done(2)), late);
        assert!(!driver.lease.is_valid(late));
        driver.news(News::LeaseRead(before, Outcome::Done(2)), late);
        assert_eq!(driver.lease.revision(), 0);
    });
}

#[test]
fn a_bucket_may_be_lost_again_before_the_lease_is_written_again() {
    with_driver(|driver| {
        let start = since_boot();
        joins(driver, start);
        let others = Seen { directory: &driver.directory, may_seize: false };
        driver.names.claim("x", 1, [0; 16], start, &others);
        let claim = driver.names.operations().remove(0);
        driver.news(News::Done(claim, Outcome::Done(2)), start);
        // The marks of buckets are in no order: a revision of the bucket before would hide all news of this one.
        for revision in [9 << 40 | 5, 3 << 40 | 4] {
            driver.news(News::BucketIsNew, start);
            driver.names.tick(start, 10);
            let again = driver.names.operations().remove(0);
            driver.news(News::Done(again, Outcome::Done(revision)), start);
            assert_eq!(driver.names.owned("x").map(|(revision, _)| revision), Some(revision));
        }
    });
}

/// The driver is connected and has its lease.
fn joins(driver: &mut Driver<Deaf>, start: Moment) {
    (driver.is_connected, driver.has_bucket) = (true, true);
    driver.due(start);
    driver.news(News::Renewed(driver.incarnation, start, Outcome::Done(1)), start);
}

/// A driver that is connected and has its lease, and knows a machine that has died and its name.
fn with_a_dead_machine(driver: &mut Driver<Deaf>, start: Moment) {
    joins(driver, start);
    driver.news(News::WatchBegins, start);
    let (dead, owner) = (7, keys::owner_value(&Owner { incarnation: 7, claim: 1, mac: [0; 16] }));
    let info = MachineInfo { machine: "b".to_owned(), is_draining: false };
    let lease = Some(keys::lease_value(&info).into_bytes());
    driver.news(News::Entry(Key::Lease(dead), 2, lease), start);
    driver.news(News::Entry(Key::Name("ben".to_owned()), 3, Some(owner.into_bytes())), start);
    driver.news(News::Synced(3), start);
    driver.news(News::Entry(Key::Lease(dead), 4, None), start);
}

#[test]
fn a_machine_that_may_not_seize_sweeps_no_name_either() {
    with_driver(|driver| {
        let start = since_boot();
        with_a_dead_machine(driver, start);
        let mut now = start;
        while !driver.lease.may_seize(now) {
            driver.slow(now);
            assert_eq!(driver.sweeps, 0, "{:?}", now - start);
            now += Duration::from_secs(1);
            if driver.lease.due(now) != lease::Due::Nothing {
                driver.news(News::Renewed(driver.incarnation, now, Outcome::Done(1)), now);
            }
        }
        driver.slow(now);
        assert_eq!(driver.sweeps, 1);
    });
}

#[test]
fn what_nats_says_of_a_refused_write_is_shown_until_it_writes() {
    with_driver(|driver| {
        let start = since_boot();
        with_a_dead_machine(driver, start);
        driver.news(News::NotWritten("full".to_owned()), start);
        assert_eq!(driver.status.problem.as_deref(), Some("full"));
        driver.news(News::Renewed(driver.incarnation, start, Outcome::Done(5)), start);
        assert_eq!(driver.status.problem, None);
        // What something else is about stays.
        driver.news(News::Problem("another".to_owned()), start);
        driver.news(News::Renewed(driver.incarnation, start, Outcome::Done(6)), start);
        assert_eq!(driver.status.problem.as_deref(), Some("another"));
    });
}

#[test]
fn the_names_of_dead_machines_are_not_listed() {
    fn names(driver: &mut Driver<Deaf>, now: Moment) -> Vec<String> {
        let (sender, receiver) = std::sync::mpsc::channel();
        driver.command(Command::Names(10, Box::new(move |names| sender.send(names).unwrap())), now);
        while driver.copy_names() {}
        let mut names = receiver.recv().unwrap();
        names.sort();
        names
    }
    with_driver(|driver| {
        let start = since_boot();
        with_a_dead_machine(driver, start);
        assert!(driver.directory.owner("ben").is_some() && names(driver, start).is_empty());
        let owner = Owner { incarnation: 8, claim: 1, mac: [0; 16] };
        let value = Some(keys::owner_value(&owner).into_bytes());
        driver.news(News::Entry(Key::Name("eve".to_owned()), 5, value), start);
        assert!(names(driver, start).is_empty());
        let info = MachineInfo { machine: "c".to_owned(), is_draining: false };
        driver.news(News::Entry(Key::Lease(8), 6, Some(keys::lease_value(&info).into_bytes())), start);
        assert_eq!(names(driver, start), ["eve"]);
        // An own name, which is this machine's also while it is fenced.
        driver.names.claim(
            "ann",
            1,
            [1; 16],
            start,
            &Seen { directory: &driver.directory, may_seize: false },
        );
        let operation = driver.names.operations().remove(0);
        driver.news(News::Done(operation, Outcome::Done(7)), start);
        driver.fence(start);
        assert_eq!(names(driver, start), ["ann", "eve"]);
    });
}

/// What a claim is answered at once.
fn answer(driver: &mut Driver<Deaf>, name: &str, now: Moment) -> Option<Result<(), ClaimError>> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let reply = Box::new(move |result| sender.send(result).unwrap());
    driver.command(Command::Claim(name.to_owned(), "token".to_owned(), 1, reply), now);
    driver.carry_out(now);
    receiver.try_recv().ok()
}

#[test]
fn whoever_is_refused_although_nats_is_there_is_told_to_come_again() {
    with_driver(|driver| {
        let start = since_boot();
        assert_eq!(answer(driver, "ben", start), Some(Err(ClaimError::Unavailable)));
        with_a_dead_machine(driver, start);
        assert_eq!(answer(driver, "ben", start), Some(Err(ClaimError::Busy)), "it may not seize yet");
        driver.news(News::BucketIsNew, start);
        driver.news(News::WatchBegins, start);
        driver.news(News::Synced(3), start);
        assert_eq!(answer(driver, "eve", start), Some(Err(ClaimError::Busy)), "eve may be another machine's");
        assert_eq!(answer(driver, "eve", start + REFILL), None, "it is being written");
    });
}

#[test]
fn the_lag_counts_what_is_told_and_not_handled() {
    let router = router();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let gateway = router.gateway(GatewayOptions::default()).unwrap();
        let (nats, _news) = Nats::connect(&options()).await.unwrap();
        let mut driver = Driver::new(options(), gateway, nats, Deaf);
        let lag = |driver: &mut Driver<Deaf>| {
            driver.nats.measure(100);
            driver.figures(since_boot()).directory_lag
        };
        assert_eq!(lag(&mut driver), 100);
        driver.news(News::Entry(Key::Lease(7), 40, None), since_boot());
        assert_eq!(lag(&mut driver), 60);
        // What has expired at the end is not told.
        driver.news(News::Synced(98), since_boot());
        assert_eq!(lag(&mut driver), 2);
        driver.news(News::Entry(Key::Lease(7), 101, None), since_boot());
        assert_eq!(lag(&mut driver), 0);
        // Of another bucket.
        driver.news(News::Entry(Key::Lease(7), (1 << 40) | 99, None), since_boot());
        assert_eq!(lag(&mut driver), 100);
    });
}

#[test]
fn every_claim_that_was_sent_is_answered_also_at_the_end() {
    let router = router();
    let cluster = Cluster::start(&router, options()).unwrap();
    let answers = Arc::new(AtomicU64::new(0));
    let other = cluster.clone();
    let stop = std::thread::spawn(move || other.stop());
    let mut claims = Vec::new();
    loop {
        let answers = Arc::clone(&answers);
        // Relaxed: the count is read when the thread has ended.
        let count = move |_| {
            answers.fetch_add(1, Relaxed);
        };
        match cluster.claim_then("ann", "token", count) {
            Ok(claim) => claims.push(claim),
            Err(ClaimError::Stopped) => break,
            Err(_) => std::thread::yield_now(),
        }
    }
    stop.join().unwrap();
    assert_eq!(answers.load(Relaxed), claims.len() as u64);
}

#[test]
fn a_thread_that_has_panicked_does_not_count_as_joined() {
    let router = router();
    let cluster = Cluster::start(&router, options()).unwrap();
    let claim = cluster.claim_then("ann", "token", |_| panic!("planted"));
    drop(claim);
    while cluster.status().state != "stopped" {
        std::thread::yield_now();
    }
    assert!(cluster.status().unavailable);
    cluster.stop();
}
