//! The ring: wrap, pad, full and batches, with a racing producer and consumer.

use super::explore;
use crate::ring::{PushError, ring};
use loom::thread;

fn push(producer: &mut crate::ring::Producer, length: usize, value: u8) -> Result<(), PushError> {
    let record = producer.claim(length, 1, 0)?;
    record[8..].fill(value);
    producer.commit();
    Ok(())
}

/// Reads the published records. Every byte of a record must have the next value.
fn take(consumer: &mut crate::ring::Consumer, next: &mut u8) {
    consumer.refresh().unwrap();
    let mut records = consumer.records();
    while let Some(record) = records.next().unwrap() {
        assert!(record.bytes[8..].iter().all(|byte| byte == next), "torn or out of order");
        *next += 1;
    }
    drop(records);
    consumer.release();
}

/// Four records in batches of one and two through a ring of two records, so that the ring fills and wraps. Catches:
/// `ring-tail-relaxed`, `ring-head-relaxed`, `ring-head-relaxed-load`.
#[test]
fn ring_wrap_and_full() {
    explore(|| {
        let (mut producer, mut consumer) = ring(128).unwrap();
        let writer = thread::spawn(move || {
            let mut value = 1;
            while value <= 4 {
                match push(&mut producer, 20, value) {
                    Ok(()) => value += 1,
                    Err(PushError::Full) => {
                        producer.publish();
                        thread::yield_now();
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
            producer.publish();
        });
        let mut next = 1;
        while next <= 4 {
            take(&mut consumer, &mut next);
            thread::yield_now();
        }
        writer.join().unwrap();
    });
}

/// Catches the same weakenings if a pad fills the end: records of two strides in a ring of eight strides.
#[test]
fn ring_pad() {
    explore(|| {
        let (mut producer, mut consumer) = ring(512).unwrap();
        let writer = thread::spawn(move || {
            for (value, length) in [(1, 100), (2, 60), (3, 128), (4, 100), (5, 100)] {
                while push(&mut producer, length, value).is_err() {
                    thread::yield_now();
                }
                producer.publish();
            }
        });
        let mut next = 1;
        while next <= 5 {
            take(&mut consumer, &mut next);
            thread::yield_now();
        }
        writer.join().unwrap();
    });
}

/// Batches of records in a row, without a look at the other end in between. All eight places are taken at the
/// start, and not up to the end of the data: what is free in a row then ends at the head. Catches the same weakenings, and
/// `ring-limit-past-head` and `ring-limit-past-tail`: an end that goes on beyond what the other end has left to it.
#[test]
fn ring_batches() {
    explore(|| {
        let (mut producer, mut consumer) = ring(512).unwrap();
        let mut next = 1;
        for value in 1..=11 {
            if value == 4 {
                producer.publish();
                take(&mut consumer, &mut next);
            }
            push(&mut producer, 64, value).unwrap();
        }
        producer.publish();
        let writer = thread::spawn(move || {
            let mut value = 12;
            while value <= 14 {
                let mut batch = producer.batch();
                while value <= 14
                    && let Ok(record) = batch.claim(64, 1, 0)
                {
                    record[8..].fill(value);
                    batch.commit();
                    value += 1;
                }
                drop(batch);
                if !producer.publish() {
                    thread::yield_now();
                }
            }
        });
        while next <= 14 {
            take(&mut consumer, &mut next);
            thread::yield_now();
        }
        writer.join().unwrap();
    });
}
