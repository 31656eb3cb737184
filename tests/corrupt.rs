//! The receiver of a ring trusts no data: whatever bytes the sender leaves in a ring, the receiver reads only inside
//! the ring, terminates, and reports the corruption. Invariant I7.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::ring::{Corrupt, ring};
use proptest::prelude::*;

/// Publishes one record, overwrites its prefix, and reads it.
fn read_with_prefix(length: u32, kind: u16) -> Result<Option<usize>, Corrupt> {
    let (mut producer, mut consumer) = ring(1024).unwrap();
    let record = producer.claim(64, 1, 0).unwrap();
    record[..4].copy_from_slice(&length.to_ne_bytes());
    record[4..6].copy_from_slice(&kind.to_ne_bytes());
    producer.commit();
    producer.publish();
    consumer.refresh()?;
    Ok(consumer.next()?.map(|record| record.bytes.len()))
}

#[test]
fn impossible_lengths_are_corrupt() {
    for (length, kind) in
        [(0, 0), (0, 1), (7, 1), (65, 1), (257, 1), (1024, 1), (u32::MAX, 1), (64, 0xffff), (0, 0xffff)]
    {
        assert_eq!(read_with_prefix(length, kind), Err(Corrupt), "{length} {kind}");
    }
    assert_eq!(read_with_prefix(8, 1), Ok(Some(8)));
    assert_eq!(read_with_prefix(64, 9), Ok(Some(64)));
}

/// A record that looks like the one before it is checked all the same: here it says more bytes than are published.
#[test]
fn a_repeated_prefix_is_checked_against_the_published_bytes() {
    for one_by_one in [true, false] {
        let (mut producer, mut consumer) = ring(1024).unwrap();
        producer.claim(100, 1, 0).unwrap();
        producer.commit();
        producer.claim(64, 1, 0).unwrap()[..4].copy_from_slice(&100u32.to_ne_bytes());
        producer.commit();
        producer.publish();
        assert_eq!(consumer.refresh(), Ok(true));
        if one_by_one {
            assert!(consumer.next().unwrap().is_some());
            assert_eq!(consumer.next().err(), Some(Corrupt));
        } else {
            let mut records = consumer.records();
            assert!(records.next().unwrap().is_some());
            assert_eq!(records.next().err(), Some(Corrupt));
        }
        assert!(consumer.memory().is_corrupt());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_inside_the_ring(bytes in proptest::collection::vec(any::<u8>(), 256)) {
        let (mut producer, mut consumer) = ring(1024).unwrap();
        for _ in 0..4 {
            // Advance the positions, so that records and pads reach the end of the ring.
            let record = producer.claim(250, 1, 0).unwrap();
            record[..250].copy_from_slice(&bytes[..250]);
            producer.commit();
            if producer.claim(100, 1, 0).is_err() {
                break;
            }
        }
        producer.publish();
        prop_assume!(consumer.refresh().is_ok());
        let mut total = 0;
        while let Ok(Some(record)) = consumer.next() {
            total += record.bytes.len();
            prop_assert!(record.bytes.len() <= 256);
        }
        prop_assert!(total <= 1024);
    }
}
