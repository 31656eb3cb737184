//! Compares holds with a plain list of queues, and fills them to the last block.

#![allow(clippy::unwrap_used, reason = "a test")]

use super::{END, Held, Holds};
use crate::clients::{ClientId, NameHash};
use crate::config::Config;
use crate::metrics::{ApplicationId, ProtocolId, TypeId};
use crate::router::worker::blocks::BLOCK_BYTES;
use proptest::prelude::*;
use std::collections::VecDeque;

fn held(sender: u64, stamp: u64) -> Held {
    let labels = (TypeId(0), ProtocolId(0), ApplicationId(0));
    Held {
        sender: ClientId(sender),
        stamp,
        correlation: 0,
        labels,
        started: 0,
        since: 0,
        bytes: 0,
        port: 0,
        is_brief: false,
        tell: crate::router::notice::Tell::No,
    }
}

fn config(messages: u32, bytes: u64) -> Config {
    let mut config = Config::default();
    (config.holds.messages, config.holds.bytes) = (messages, bytes);
    config
}

fn names(holds: &Holds) -> Vec<NameHash> {
    let mut names = Vec::new();
    let mut next = holds.name_after(END);
    while let Some((place, hash)) = next {
        names.push(hash);
        next = holds.name_after(place);
    }
    names
}

/// The expected queue of one name: its time of creation, and each message's stamp, sender and payload.
type Expected = (NameHash, u64, VecDeque<(u64, u64, Vec<u8>)>);

proptest! {
    #[test]
    fn agrees_with_queues_in_a_list(
        steps in proptest::collection::vec((0u8..8, 1u64..6, 0u64..3, 0usize..3 * BLOCK_BYTES), 1..200),
    ) {
        // Few buckets, so that names share them.
        let mut holds = Holds::new(&config(12, 4_000), 50);
        let mut expected: Vec<Expected> = Vec::new();
        let mut payload = Vec::new();
        for (now, (step, name, sender, length)) in steps.into_iter().enumerate() {
            let (now, hash) = (now as u64, NameHash(name));
            let count: usize = expected.iter().map(|queue| queue.2.len()).sum();
            let bytes: usize = expected.iter().flat_map(|queue| &queue.2).map(|message| message.2.len()).sum();
            prop_assert_eq!((holds.messages(), holds.is_empty()), (count, count == 0));
            let order: Vec<_> = expected.iter().map(|queue| queue.0).collect();
            prop_assert_eq!(names(&holds), order);
            let place = expected.iter().position(|queue| queue.0 == hash);
            prop_assert_eq!(holds.holds_for(hash), place.is_some());
            match step {
                0..=3 => {
                    let room = count < 12 && bytes + length <= 4_000;
                    prop_assert_eq!(holds.has_room(hash, 0, length), room);
                    if room {
                        let bytes: Vec<_> = (0..length).map(|byte| (byte as u64 * 7 + now) as u8).collect();
                        holds.hold(hash, &[name as u8], now, held(sender, now), &bytes);
                        let place = place.unwrap_or_else(|| {
                            expected.push((hash, now, VecDeque::new()));
                            expected.len() - 1
                        });
                        expected[place].2.push_back((now, sender, bytes));
                    }
                }
                4 | 5 => {
                    let front = holds.front(hash, &mut payload).map(|held| held.stamp);
                    let first = place.map(|place| expected[place].2[0].clone());
                    prop_assert_eq!(front, first.as_ref().map(|message| message.0));
                    prop_assert_eq!(holds.pop(hash).map(|held| held.stamp), front);
                    if let (Some(place), Some(first)) = (place, first) {
                        prop_assert_eq!(&payload, &first.2);
                        expected[place].2.pop_front();
                        expected.retain(|queue| !queue.2.is_empty());
                    }
                }
                6 => {
                    let due = expected.first().filter(|queue| now - queue.1 >= 50).map(|queue| queue.0);
                    prop_assert_eq!(holds.expired(now), due);
                    prop_assert_eq!(holds.next_expiry(), expected.first().map(|queue| queue.1 + 50));
                }
                _ => {
                    let mut senders = Vec::new();
                    let mut next = holds.message_after(hash, END);
                    while let Some((place, held)) = next {
                        if holds.mark(held.sender) {
                            senders.push((held.sender.0, held.stamp));
                        }
                        next = holds.message_after(hash, place);
                    }
                    let mut first: Vec<(u64, u64)> = Vec::new();
                    for (stamp, sender, _) in place.into_iter().flat_map(|place| &expected[place].2) {
                        if first.iter().all(|seen| seen.0 != *sender) {
                            first.push((*sender, *stamp));
                        }
                        holds.unmark(ClientId(*sender));
                    }
                    prop_assert_eq!(senders, first);
                    if place.is_some() {
                        prop_assert_eq!(holds.name(hash).0[..holds.name(hash).1].to_vec(), [name as u8]);
                    }
                }
            }
        }
    }
}

/// The worst case that fits: every message uses one byte of its last block.
#[test]
fn what_has_room_always_fits() {
    let length = BLOCK_BYTES + 1;
    let mut holds = Holds::new(&config(10, 10 * length as u64), 50);
    let mut payload = Vec::new();
    for _ in 0..3 {
        for number in 0..10u64 {
            assert!(holds.has_room(NameHash(number), 0, length));
            holds.hold(NameHash(number), b"n", 0, held(1, 0), &vec![number as u8; length]);
        }
        assert!(!holds.has_room(NameHash(0), 0, 0));
        for number in 0..10u64 {
            assert!(holds.front(NameHash(number), &mut payload).is_some());
            assert_eq!(payload, vec![number as u8; length]);
            assert!(holds.pop(NameHash(number)).is_some());
        }
    }
}

#[test]
fn names_that_wait_for_room_are_tried_in_turn_and_leave_with_their_queues() {
    let mut holds = Holds::new(&config(12, 4_000), 50);
    for name in 1..=4 {
        holds.hold(NameHash(name), b"x", 0, held(0, 0), b"");
        holds.stall(NameHash(name));
    }
    holds.stall(NameHash(1)); // It keeps its place.
    holds.pop(NameHash(2));
    assert_eq!(holds.pop_stalled(), Some(NameHash(1)));
    holds.stall(NameHash(1));
    holds.pop(NameHash(4));
    // Another queue in the place of one that has ended does not wait.
    holds.hold(NameHash(5), b"x", 0, held(0, 0), b"");
    let order: Vec<_> = std::iter::from_fn(|| holds.pop_stalled()).collect();
    assert_eq!(order, [NameHash(3), NameHash(1)]);
}
