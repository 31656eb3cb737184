//! Shards and their readers: no record is lost or counted twice, and no difference is negative.

use super::explore;
use crate::metrics::{Cell, Distribution, Histogram, SlowRing, Writer};
use crate::ring::ring;
use crate::sync::{Arc, mutant};
use loom::thread;

/// A writer records while a collector takes differences and skips unchanged histograms. The collection after the
/// writer's last record is complete. Catches: `histogram-generation-first`, `cell-add-relaxed`.
#[test]
fn shard_and_collector() {
    explore(|| {
        let histogram = Arc::new(Histogram::new());
        let writer = thread::spawn({
            let histogram = histogram.clone();
            move || {
                let mut writer = Writer::new();
                histogram.record(&mut writer, 0);
                histogram.record(&mut writer, 1);
            }
        });
        let mut seen = 0;
        let mut last = 0;
        for _ in 0..2 {
            let mut copy = Distribution::default();
            let generation = histogram.generation();
            if generation != seen {
                histogram.collect(0, &mut copy);
                assert!(copy.count() >= generation, "a generation whose record is not there");
                assert!(copy.count() >= last, "a cell went back");
                assert!(copy.sum() + 1 >= copy.count(), "a count whose value is not in the sum");
                last = copy.count();
            }
            seen = generation;
        }
        writer.join().unwrap();
        let mut copy = Distribution::default();
        if histogram.generation() != seen {
            histogram.collect(0, &mut copy);
            last = copy.count();
        }
        assert_eq!(last, 2);
    });
}

/// A writer enters a new epoch while a reader of that epoch reads. No extreme of the old epoch appears in the new
/// one. Catches: `epoch-before-extremes`.
#[test]
fn extremes_of_an_epoch() {
    explore(|| {
        let histogram = Arc::new(Histogram::new());
        let mut writer = Writer::new();
        histogram.record(&mut writer, 9);
        let thread = thread::spawn({
            let histogram = histogram.clone();
            move || {
                writer.controlled.epoch = 1;
                histogram.record(&mut writer, 5);
            }
        });
        let mut copy = Distribution::default();
        histogram.collect(1, &mut copy);
        assert!(copy.extremes().1 <= 5, "an extreme of the old epoch");
        thread.join().unwrap();
        let mut copy = Distribution::default();
        histogram.collect(1, &mut copy);
        assert_eq!((copy.count(), copy.extremes()), (2, (5, 5)));
    });
}

/// A recording thread overwrites slow messages while the collector copies them. Each copy is one whole message.
/// Catches: `slow-no-release-fence`, `slow-no-acquire-fence`.
#[test]
fn slow_messages() {
    explore(|| {
        let ring = Arc::new(SlowRing::new());
        let mut writer = Writer::new();
        ring.write(&mut writer, [1, 1]);
        let thread = thread::spawn({
            let ring = ring.clone();
            move || {
                ring.write(&mut writer, [2, 2]);
                ring.write(&mut writer, [3, 3]);
            }
        });
        let mut seen = 0;
        for _ in 0..2 {
            seen = ring.read(seen, |words| assert_eq!(words[0], words[1], "half of each of two"));
        }
        thread.join().unwrap();
        assert_eq!(ring.read(seen, |words| assert_eq!(words, [3, 3])), 3);
    });
}

/// A port counts and publishes, a worker takes the message and counts its outcome, a reader takes the difference. The
/// difference is never negative. Catches: `count-after-publish`, `accept-loaded-first`, `cell-add-relaxed`.
#[test]
fn accounting() {
    explore(|| {
        let submitted = Arc::new(Cell::new(0));
        let ok = Arc::new(Cell::new(0));
        let (mut producer, mut consumer) = ring(128).unwrap();
        let port = thread::spawn({
            let submitted = submitted.clone();
            move || {
                let mut writer = Writer::new();
                for _ in 0..2 {
                    if !mutant("count-after-publish") {
                        submitted.add(&mut writer, 1);
                    }
                    producer.claim(8, 1, 0).unwrap();
                    producer.commit();
                    producer.publish();
                    if mutant("count-after-publish") {
                        submitted.add(&mut writer, 1);
                    }
                }
            }
        });
        let worker = thread::spawn({
            let ok = ok.clone();
            move || {
                let mut writer = Writer::new();
                for _ in 0..2 {
                    consumer.refresh().unwrap();
                    while consumer.next().unwrap().is_some() {
                        ok.add(&mut writer, 1);
                    }
                }
            }
        });
        let (ended, begun) = if mutant("accept-loaded-first") {
            let begun = submitted.get();
            (ok.get(), begun)
        } else {
            let ended = ok.get();
            (ended, submitted.get())
        };
        assert!(ended <= begun, "{ended} ended of {begun}");
        port.join().unwrap();
        worker.join().unwrap();
    });
}
