//! Short stress runs of the ring, the shards, the credit word and the name table on real threads, for `make tsan`.
//! The thread sanitizer sees every access of this crate and must report the one planted weakening
//! (`ring-tail-relaxed`). It does not model fences, so the wakes are not tested here; the loom models cover them.

use crate::clients::{ClientId, Credit, Limits, NameHash, NameTable};
use crate::metrics::{Distribution, Histogram, Writer};
use crate::ring::{PushError, ring};
use std::sync::Arc;
use std::thread;

#[test]
fn ring_under_two_threads() {
    const RECORDS: u64 = 200_000;
    let (mut producer, mut consumer) = ring(4096).unwrap();
    let writer = thread::spawn(move || {
        let mut number = 0u64;
        while number < RECORDS {
            let length = 16 + (number as usize * 37) % 200;
            match producer.claim(length, 1, 0) {
                Ok(record) => {
                    record[8..16].copy_from_slice(&number.to_ne_bytes());
                    record[16..].fill(number as u8);
                    producer.commit();
                    number += 1;
                    if number.is_multiple_of(3) {
                        producer.publish();
                    }
                }
                Err(PushError::Full) => {
                    producer.publish();
                    thread::yield_now();
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        producer.publish();
    });
    let mut number = 0u64;
    while number < RECORDS {
        consumer.refresh().unwrap();
        while let Some(record) = consumer.next().unwrap() {
            assert_eq!(record.bytes[8..16], number.to_ne_bytes());
            assert!(record.bytes[16..].iter().all(|byte| *byte == number as u8));
            number += 1;
        }
        if !consumer.release() {
            thread::yield_now();
        }
    }
    writer.join().unwrap();
}

#[test]
fn a_histogram_read_while_it_is_written() {
    const RECORDS: u64 = 300_000;
    let histogram = Arc::new(Histogram::new());
    let writer = thread::spawn({
        let histogram = Arc::clone(&histogram);
        move || {
            let mut writer = Writer::new();
            for value in 0..RECORDS {
                histogram.record(&mut writer, value * 1000);
            }
        }
    });
    let mut last = 0;
    while last < RECORDS {
        let mut copy = Distribution::default();
        let generation = histogram.generation();
        histogram.collect(0, &mut copy);
        assert!(copy.count() >= generation && copy.count() >= last);
        last = copy.count();
        thread::yield_now();
    }
    writer.join().unwrap();
    let mut copy = Distribution::default();
    histogram.collect(0, &mut copy);
    assert_eq!((copy.count(), copy.sum()), (RECORDS, 1000 * RECORDS * (RECORDS - 1) / 2));
}

#[test]
fn a_credit_word_under_three_threads() {
    let credit = Arc::new(Credit::new());
    credit.open(1);
    let limits = Limits { messages: 3, bytes: 30 };
    let workers = [(); 2].map(|()| {
        let credit = Arc::clone(&credit);
        thread::spawn(move || {
            let mut given = 0;
            while given < 20_000 {
                if credit.try_add(1, 10, limits).is_ok() {
                    assert!(credit.outstanding().0 <= 3);
                    given += 1;
                } else {
                    thread::yield_now();
                }
            }
        })
    });
    let mut taken = 0;
    while taken < 40_000 {
        let (messages, bytes) = credit.outstanding();
        credit.subtract(1, messages, bytes);
        taken += messages;
        thread::yield_now();
    }
    for worker in workers {
        worker.join().unwrap();
    }
    assert_eq!(credit.outstanding(), (0, 0));
}

#[test]
fn a_name_table_whose_other_names_come_and_go() {
    const LIMIT: u32 = 16;
    let names = Arc::new(NameTable::new(LIMIT, [1, 2]));
    // Two clients per bucket: even clients stay, odd clients leave and return under new names.
    for index in (0..LIMIT).step_by(2) {
        names.insert(NameHash(u64::from(index) + 1), ClientId::new(index, 1)).unwrap();
    }
    let writer = thread::spawn({
        let names = Arc::clone(&names);
        move || {
            for round in 1..50_000u32 {
                let index = (round * 2 + 1) % LIMIT;
                let hash = NameHash(u64::from(round) + 1_000);
                names.insert(hash, ClientId::new(index, round)).unwrap();
                assert_eq!(names.get(hash), Some(ClientId::new(index, round)));
                names.remove(hash, ClientId::new(index, round));
                assert_eq!(names.get(hash), None);
            }
        }
    });
    while !writer.is_finished() {
        for index in (0..LIMIT).step_by(2) {
            assert_eq!(names.get(NameHash(u64::from(index) + 1)), Some(ClientId::new(index, 1)));
        }
        assert_eq!(names.get(NameHash(900)), None);
    }
    writer.join().unwrap();
}
