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
    while let Some(record) = consumer.next().unwrap() {
        assert!(record.bytes[8..].iter().all(|byte| byte == next), "torn or out of order");
        *next += 1;
    }
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
