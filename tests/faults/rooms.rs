//! Rooms: the effect of a room of slow members on others, changes that a handler must not prevent, membership, and a
//! host that panics in the middle of a room message. Row R11; invariants I4, I7, I8, I9.

use super::harness::{Bench, ROUNDS, Seen, seen};
use corelane::clients::{ClientId, CreditPolicy};
use corelane::router::{ConnectOptions, Port};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};

const TO_LOBBY: &[u8] = br#"{"type":"offer","room":"lobby"}"#;

/// A room of a thousand members that do not acknowledge. A client of another port sends to the room, and a bystander
/// sends to the sender's port. Returns the messages for which the sender got a notice, and how often the bystander's
/// message was delivered.
fn told_of_a_slow_room(policy: CreditPolicy) -> (Vec<u64>, usize) {
    let mut bench = Bench::new(&[("workers", "1"), ("credit_messages", "8"), ("max_ports", "2")]);
    let (mut port, mut slow) = (bench.port(), bench.port());
    let mallory = port.connect("mallory", "generic", "", 1).unwrap();
    port.connect("victim", "generic", "", 2).unwrap();
    port.join(mallory, "lobby").unwrap();
    let ben = slow.connect("ben", "generic", "", 3).unwrap();
    for number in 0..1_000 {
        let options = ConnectOptions::new("generic", "", 10 + number).credit_policy(policy);
        let member = slow.connect_with(&format!("m{number}"), options).unwrap();
        slow.join(member, "lobby").unwrap();
        bench.turn(&mut slow);
    }
    let mut events = 0;
    for _ in 0..8 {
        port.submit(mallory, TO_LOBBY, 0).unwrap();
        assert_eq!(bench.turn(&mut port), []);
        events += bench.turn(&mut slow).len();
    }
    assert_eq!(events, 8_000);
    // One cycle takes these twenty messages and the one after them.
    for number in 100..120 {
        port.submit(mallory, TO_LOBBY, number).unwrap();
    }
    port.publish();
    slow.submit(ben, br#"{"type":"offer","to":"victim"}"#, 7).unwrap();
    slow.publish();
    let seen = bench.drain(&mut [&mut port, &mut slow]);
    bench.assert_quiet(29, events + seen.len());
    let notices = seen.iter().filter_map(|event| match event {
        Seen::Undelivered(1, number) => Some(*number),
        _ => None,
    });
    (notices.collect(), seen.iter().filter(|event| **event == Seen::Message(2, 7)).count())
}

/// `room_notices`. I8, R12: a sender gets at most one notice per room message, however many members could not take
/// it. A bystander's message to the same port is delivered.
#[test]
fn one_notice_at_most_for_each_message_to_a_room() {
    let (mut notices, arrived) = told_of_a_slow_room(CreditPolicy::Refuse);
    let all = notices.len();
    notices.sort_unstable();
    notices.dedup();
    assert_eq!(notices.len(), all, "{all} notices of 20 messages");
    assert!(all <= 20, "{all} notices of 20 messages");
    assert_eq!(arrived, 1);
}

/// `room_notices`. R12: there is no notice if the members are closed instead.
#[test]
fn no_notice_where_a_rooms_members_are_closed() {
    assert_eq!(told_of_a_slow_room(CreditPolicy::Disconnect), (vec![], 1));
}

/// The results for a client of another port that joins and leaves a room eight times while a handler runs.
fn joins_inside_a_handler(relays: bool) -> Vec<Result<(), String>> {
    let other: Arc<Mutex<Option<(Port, ClientId)>>> = Arc::default();
    let results = Arc::new(Mutex::new(Vec::new()));
    let (inside, told) = (Arc::clone(&other), Arc::clone(&results));
    let set = [("workers", "1"), ("max_ports", "2"), ("room_retired_lists", "4")];
    let mut bench = Bench::built(&set, |builder| {
        builder.handler("generic", "offer", move |request| {
            if relays {
                request.relay()?;
            }
            let mut other = inside.lock().unwrap();
            let (port, ben) = other.as_mut().unwrap();
            for _ in 0..8 {
                let done = port.join(*ben, "lobby").map_err(|error| error.to_string());
                let done = done.and_then(|lobby| port.leave(*ben, lobby).map_err(|error| error.to_string()));
                told.lock().unwrap().push(done);
            }
            Ok(())
        })
    });
    let (mut port, mut second) = (bench.port(), bench.port());
    let ann = port.connect("ann", "generic", "", 1).unwrap();
    let ben = second.connect("ben", "generic", "", 2).unwrap();
    let cleo = second.connect("cleo", "generic", "", 3).unwrap();
    port.join(ann, "lobby").unwrap();
    second.join(cleo, "lobby").unwrap();
    *other.lock().unwrap() = Some((second, ben));
    port.submit(ann, TO_LOBBY, 1).unwrap();
    bench.turn(&mut port);
    let (mut second, _) = other.lock().unwrap().take().unwrap();
    let events = bench.drain(&mut [&mut port, &mut second]);
    assert_eq!(events.len(), usize::from(relays));
    bench.assert_quiet(1, events.len());
    let results = results.lock().unwrap();
    results.clone()
}

/// `rooms_pinned`. I8: no member list is pinned while host code runs, not even after that code has relayed to a room.
#[test]
fn a_handler_that_has_relayed_keeps_nobody_from_joining() {
    for relays in [false, true] {
        assert_eq!(joins_inside_a_handler(relays), vec![Ok(()); 8], "relays: {relays}");
    }
}

/// `room_members_stay`. I3: the members of a released port leave their rooms without further action of any port.
#[test]
fn the_members_of_a_released_port_leave_their_rooms() {
    let released: Arc<Mutex<Option<Port>>> = Arc::default();
    let inside = Arc::clone(&released);
    let mut bench = Bench::built(&[("workers", "1"), ("room_retired_lists", "1")], |builder| {
        builder.handler("generic", "offer", move |request| {
            request.relay()?;
            drop(inside.lock().unwrap().take());
            Ok(())
        })
    });
    let mut port = bench.port();
    let clients = [0, 1, 2, 3].map(|token| port.connect(&format!("c{token}"), "generic", "", token).unwrap());
    for client in clients {
        port.join(client, "lobby").unwrap();
    }
    port.submit(clients[0], TO_LOBBY, 0).unwrap();
    port.publish();
    *released.lock().unwrap() = Some(port);
    for _ in 0..10 {
        bench.cycle();
    }
    let rooms = bench.router.stats().rooms;
    assert_eq!((rooms.open, rooms.members), (0, 0));
    bench.assert_quiet(1, 0);
}

/// A room message to five members of one port. The poll callback panics at the third member. Polls take `limit`
/// events at a time. A second message follows.
fn panics_in_the_middle(payload: usize, limit: usize) {
    let set = [("workers", "1"), ("max_ports", "2"), ("ring_bytes", "4096")];
    let mut bench = Bench::new(&set);
    let (mut port, mut room) = (bench.port(), bench.port());
    let ann = port.connect("ann", "generic", "", 1).unwrap();
    port.join(ann, "lobby").unwrap();
    let members = [10, 11, 12, 13, 14].map(|token| {
        let member = room.connect(&format!("m{token}"), "generic", "", token).unwrap();
        room.join(member, "lobby").unwrap();
        member
    });
    let message = format!(r#"{{"type":"offer","room":"lobby","text":"{}"}}"#, "x".repeat(payload));
    for number in [1, 2] {
        port.submit(ann, message.as_bytes(), number).unwrap();
    }
    bench.turn(&mut port);
    let mut handed = Vec::new();
    let mut panics = 0;
    for _ in 0..ROUNDS {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            room.poll_each(limit, |event| {
                handed.push(seen(&event));
                if handed.len() == 3 {
                    resume_unwind(Box::new("the host's own writing"));
                }
            })
        }));
        panics += usize::from(polled.is_err());
        bench.cycle();
        if polled.is_ok_and(|polled| polled.unwrap() == 0) {
            break;
        }
    }
    let wanted = [1, 2].map(|number| [10, 11, 12, 13, 14].map(|token| Seen::Message(token, number)));
    assert_eq!((handed.as_slice(), panics), (wanted.as_flattened(), 1), "{payload} bytes, {limit} at a time");
    bench.assert_quiet(2, 10);
    for member in members {
        assert_eq!(room.outstanding(member).unwrap().handed_messages, 2);
        room.acknowledge(member, u32::MAX, u32::MAX);
        assert_eq!(room.outstanding(member).unwrap().messages, 0);
    }
    let stats = bench.router.stats();
    assert_eq!((stats.payloads_waiting, stats.payload_bytes), (0, 0));
}

/// I7, I4: after a poll callback that panics at one of a room's members, the next poll continues with the next
/// member.
#[test]
fn a_poll_that_panics_goes_on_with_the_next_member() {
    for limit in [usize::MAX, 1, 4] {
        panics_in_the_middle(10, limit);
    }
}

/// I7, I4: the same for an out-of-line payload.
#[test]
fn a_poll_that_panics_loses_no_payload() {
    for limit in [usize::MAX, 1, 4] {
        panics_in_the_middle(3_000, limit);
    }
}
