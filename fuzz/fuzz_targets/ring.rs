//! Fuzzes the ring's consumer: any bytes as a ring's memory, including the tail. The consumer must read only inside
//! the ring, come to an end, and never panic, whatever a host in another language has written there.

#![no_main]

use corelane::ring::{Consumer, HEADER_BYTES, ring};
use corelane::ring::record::{DeliveryHeader, IngressHeader};
use libfuzzer_sys::fuzz_target;

const CAPACITY: usize = 1024;
const TAIL: usize = 128;

/// Writes a tail, then reads until the consumer has no more records or reports corruption. The sum keeps the
/// optimizer from removing the reads.
fn read(consumer: &mut Consumer, tail: u64) -> (usize, u64) {
    let start = consumer.memory().start();
    // SAFETY: the offset is that of the tail in the header, and nothing else uses this ring.
    unsafe { start.add(TAIL).cast::<u64>().write(tail) };
    let (mut total, mut sum) = (0, 0u64);
    if consumer.refresh().is_err() {
        return (0, 0);
    }
    while let Ok(Some(record)) = consumer.next() {
        total += record.bytes.len();
        sum = record.bytes.iter().fold(sum, |sum, byte| sum.rotate_left(5) ^ u64::from(*byte));
        if let Some((header, payload)) = IngressHeader::read(record.bytes) {
            sum ^= header.client ^ payload.len() as u64;
        }
        if let Some((header, recipients, payload)) = DeliveryHeader::read(record.bytes) {
            assert!(recipients.iter().count() == header.recipients as usize);
            sum ^= payload.len() as u64;
        }
        assert!(total <= CAPACITY, "more bytes than the ring holds");
    }
    (total, sum)
}

fuzz_target!(|input: &[u8]| {
    let Ok((_producer, mut consumer)) = ring(CAPACITY) else { return };
    let mut rounds = input.chunks(8 + CAPACITY);
    // Up to three rounds on one ring, so that positions wrap.
    for round in rounds.by_ref().take(3) {
        let (tail, data) = round.split_at(round.len().min(8));
        let mut word = [0; 8];
        word[..tail.len()].copy_from_slice(tail);
        let start = consumer.memory().start();
        // SAFETY: `data` is at most `CAPACITY` bytes long, and the consumer holds no record at this point.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), start.add(HEADER_BYTES), data.len()) };
        // Mostly use a tail that passes the first check, so that the consumer reads the records before it.
        let tail = u64::from_ne_bytes(word);
        let tail = if tail % 4 == 0 { tail } else { (tail >> 3) % 64 * 64 };
        std::hint::black_box(read(&mut consumer, tail));
        consumer.release();
    }
});
