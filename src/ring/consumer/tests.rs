//! Header words that no correct side writes. The arithmetic on them must not overflow, which a debug build would turn into
//! a panic. Invariant I7.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use super::{Consumer, Corrupt};
use crate::ring::{Memory, Producer, ring};
use crate::sync::{Arc, Relaxed};

/// A ring with two published records.
fn two_records() -> (Producer, Arc<Memory>) {
    let (mut producer, consumer) = ring(1024).unwrap();
    for _ in 0..2 {
        producer.claim(60, 1, 0).unwrap();
        producer.commit();
    }
    producer.publish();
    (producer, Arc::clone(consumer.memory()))
}

#[test]
fn a_head_behind_the_tail_and_off_a_row_is_corrupt() {
    let (_producer, memory) = two_records();
    memory.header().consumer.head.store(130, Relaxed);
    memory.header().producer.tail.store(129, Relaxed);
    let mut consumer = Consumer::resume(Arc::clone(&memory));
    assert_eq!(consumer.refresh(), Err(Corrupt));
    assert!(consumer.next().is_ok_and(|record| record.is_none()));
    assert!(memory.is_corrupt());
}

#[test]
fn positions_at_the_end_of_their_range_are_corrupt() {
    for (head, tail) in [(u64::MAX, 0), (u64::MAX, u64::MAX), (0, u64::MAX), (0, !63)] {
        let (_producer, memory) = two_records();
        memory.header().consumer.head.store(head, Relaxed);
        memory.header().producer.tail.store(tail, Relaxed);
        let mut consumer = Consumer::resume(Arc::clone(&memory));
        assert_eq!(consumer.refresh(), Err(Corrupt), "{head:x} {tail:x}");
    }
}

#[test]
fn a_forged_count_of_records_does_not_stop_the_reader() {
    let (_producer, memory) = two_records();
    memory.header().consumer.popped.store(u64::MAX, Relaxed);
    let mut consumer = Consumer::resume(memory);
    assert_eq!(consumer.refresh(), Ok(true));
    assert!(consumer.next().unwrap().is_some());
    assert!(consumer.records().next().unwrap().is_some());
    assert!(consumer.release());
    assert_eq!(consumer.popped(), 1);
}
