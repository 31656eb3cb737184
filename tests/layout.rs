//! Checks `docs/layout.md` against the library: records written through the library are read back at the page's
//! offsets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::ring::record::{
    ACKNOWLEDGE_BYTES, ACKNOWLEDGEMENT_BYTES, Acknowledgement, DeliveryHeader, INGRESS_BYTES, IngressHeader,
    word_of,
};
use corelane::ring::{ALIGNMENT, HEADER_BYTES, ring};

/// The offset that the page states for a field, in the section with that title.
fn offset(section: &str, field: &str) -> usize {
    let page = include_str!("../docs/layout.md");
    let section = page.split("\n## ").find(|part| part.starts_with(section)).unwrap();
    let row = section
        .lines()
        .find(|line| line.split('|').nth(3).is_some_and(|cell| cell.trim().starts_with(field)));
    let row = row.unwrap_or_else(|| panic!("{field} is not in {section}"));
    row.split('|').nth(1).unwrap().trim().parse().unwrap()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

#[test]
fn ingress_records_are_as_documented() {
    let header = IngressHeader {
        kind: 1,
        flags: 1,
        client: 3,
        stamp: 4,
        correlation: 5,
        recipient: 6,
        message_type: 7,
        call: 8,
    };
    let (mut producer, mut consumer) = ring(4096).unwrap();
    let record = producer.claim(INGRESS_BYTES + 2, header.kind, header.flags).unwrap();
    header.write(record);
    record[INGRESS_BYTES..].copy_from_slice(b"ab");
    producer.commit();
    producer.publish();
    consumer.refresh().unwrap();
    let bytes = consumer.next().unwrap().unwrap().bytes;
    let at = |field| offset("Ingress record", field);
    assert_eq!(u32_at(bytes, offset("Every record", "length")), INGRESS_BYTES as u32 + 2);
    assert_eq!(u32_at(bytes, offset("Every record", "kind")), 1 | 1 << 16);
    assert_eq!(u64_at(bytes, at("client")), 3);
    assert_eq!(u64_at(bytes, at("stamp")), 4);
    assert_eq!(u64_at(bytes, at("correlation")), 5);
    assert_eq!(u64_at(bytes, at("recipient")), 6);
    assert_eq!(u32_at(bytes, at("type label")), 7);
    assert_eq!(u64_at(bytes, at("the call")), 8);
    assert_eq!(&bytes[at("payload")..], b"ab");
}

#[test]
fn delivery_records_are_as_documented() {
    let header = DeliveryHeader {
        kind: 1,
        flags: 0,
        sender: 3,
        stamp: 4,
        correlation: 5,
        message_type: 6,
        recipients: 2,
    };
    let mut bytes = vec![0; DeliveryHeader::record_bytes(2, 3)];
    header.write(&[8, 9], &mut bytes).copy_from_slice(b"abc");
    let at = |field| offset("Delivery record", field);
    assert_eq!(u64_at(&bytes, at("sender")), 3);
    assert_eq!(u64_at(&bytes, at("the message's stamp")), 4);
    assert_eq!(u64_at(&bytes, at("correlation")), 5);
    assert_eq!(u32_at(&bytes, at("type label")), 6);
    assert_eq!(u32_at(&bytes, at("number of recipients")), 2);
    assert_eq!(u64_at(&bytes, at("recipients")), 8);
    assert_eq!(u64_at(&bytes, at("recipients") + 8), 9);
    assert_eq!(&bytes[at("recipients") + 16..], b"abc");
}

#[test]
fn the_records_of_a_lane_are_as_documented() {
    let entries = [1u64, 2].map(|one| Acknowledgement {
        client: one,
        messages: 10 + one as u32,
        bytes: 20 + one as u32,
        handed_out: 30 + one,
    });
    let mut bytes = vec![0; ACKNOWLEDGE_BYTES + 2 * ACKNOWLEDGEMENT_BYTES];
    Acknowledgement::write_all(&entries, &mut bytes);
    let at = |field| offset("Acknowledge record", field);
    assert_eq!((u32_at(&bytes, at("count")), at("entry")), (2, ACKNOWLEDGE_BYTES));
    for (place, entry) in entries.iter().enumerate() {
        let entry_bytes = &bytes[place * ACKNOWLEDGEMENT_BYTES..];
        assert_eq!(u64_at(entry_bytes, at("entry")), entry.client);
        assert_eq!(u32_at(entry_bytes, at("messages written")), entry.messages);
        assert_eq!(u32_at(entry_bytes, at("bytes of these")), entry.bytes);
        assert_eq!(u64_at(entry_bytes, at("handed out")), entry.handed_out);
    }
    assert_eq!(Acknowledgement::read_all(&bytes).unwrap().collect::<Vec<_>>(), entries);
    assert!(Acknowledgement::read_all(&bytes[..bytes.len() - 1]).is_none());
    let mut short = [0u8; 16];
    let value = offset("Short ingress record", "value");
    short[value..value + 8].copy_from_slice(&5u64.to_ne_bytes());
    assert_eq!((word_of(&short), word_of(&short[..15])), (Some(5), None));
}

#[test]
fn the_header_is_as_documented() {
    // The offsets of the words themselves are asserted where they are defined.
    assert_eq!(offset("Ring header", "tail"), 128);
    assert_eq!(offset("Ring header", "head"), 256);
    assert_eq!(offset("Ring header", "1 while the producer"), 384);
    assert_eq!(offset("Ring header", "seal"), 400);
    assert_eq!((HEADER_BYTES, ALIGNMENT), (512, 64));
}
