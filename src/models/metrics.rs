//! Shards and who reads them: nothing lost, nothing twice, no difference negative.

use super::explore;
use crate::metrics::{Cell, Distribution, Histogram, Writer};
use crate::ring::ring;
use crate::sync::{Arc, mutant};
use loom::thread;

/// A writer records while a collector takes differences and skips what is unchanged: after the writer's last
/// record the next look has everything. Catches: `histogram-generation-first`, `cell-add-relaxed`.
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
            let generation = histogram.collect(seen, &mut copy);
            if generation != seen {
                assert!(copy.count() >= generation, "a generation whose record is not there");
                assert!(copy.count() >= last, "a cell went back");
                assert!(copy.sum() + 1 >= copy.count(), "a count whose value is not in the sum");
                last = copy.count();
            }
            seen = generation;
        }
        writer.join().unwrap();
        let mut copy = Distribution::default();
        if histogram.collect(seen, &mut copy) != seen {
            last = copy.count();
        }
        assert_eq!(last, 2);
    });
}

/// A port counts and publishes, a worker takes and counts the outcome, a reader takes the difference: never
/// negative. Catches: `count-after-publish`, `accept-loaded-first`, `cell-add-relaxed`.
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
