//! Notices to senders: in order, before the sender's last event, once, and only if they are true. Row R11; invariants
//! I4, I5, I8.

use super::harness::{Bench, HEARTBEAT, Seen, connect_on, got, offer, poll};
use corelane::clients::ClientId;
use corelane::router::{Port, SubmitOptions};

/// Two workers, and a client of the second worker, which then becomes inactive.
fn on_the_second(polls: u32) -> (Bench, Port, ClientId, u64) {
    let mut bench = Bench::new(&[("workers", "2"), ("balance", "hash"), ("max_queue_wait_ms", "10")]);
    let mut port = bench.port();
    let (client, token) = connect_on(&mut bench, &mut port, 1);
    for _ in 0..polls {
        assert_eq!(poll(&mut port), []);
    }
    (bench, port, client, token)
}

/// Submits a message that expires in the queue and whose sender requests an expiry notice.
fn submit_late(bench: &mut Bench, port: &mut Port, client: ClientId, number: u64) {
    let options = SubmitOptions { correlation: number, tell_failed: true, ..SubmitOptions::default() };
    port.submit_with(client, &offer("nobody"), options).unwrap();
    port.publish();
    bench.advance(20);
    bench.cycle();
}

/// `tell_late_moves`. I5: expiry notices are delivered in the order of the messages, even if their sender moves to
/// another worker.
#[test]
fn notices_of_late_messages_keep_their_order() {
    for polls in 0..2 {
        let (mut bench, mut port, client, token) = on_the_second(polls);
        let before = bench.router.accounting().submitted;
        submit_late(&mut bench, &mut port, client, 1);
        bench.router.set_active_workers(1).unwrap();
        submit_late(&mut bench, &mut port, client, 2);
        let mut events = poll(&mut port);
        submit_late(&mut bench, &mut port, client, 3);
        bench.router.set_active_workers(2).unwrap();
        port.disconnect(client).unwrap();
        events.extend(bench.drain(&mut [&mut port]));
        let wanted = [1, 2, 3].map(|number| Seen::Undelivered(token, number));
        assert_eq!(events, [&wanted[..], &[Seen::Closed(token)]].concat(), "after {polls} polls");
        bench.assert_quiet(before + 3, events.len());
    }
}

/// `tell_late_closed`. R16: expiry notices are delivered before their sender's last event.
#[test]
fn a_notice_of_a_late_message_comes_before_the_last_event() {
    for polls in 0..2 {
        let (mut bench, mut port, client, token) = on_the_second(polls);
        let before = bench.router.accounting().submitted;
        submit_late(&mut bench, &mut port, client, 1);
        bench.router.set_active_workers(1).unwrap();
        port.submit(client, HEARTBEAT, 2).unwrap();
        port.publish();
        bench.cycle();
        port.disconnect(client).unwrap();
        let events = bench.drain(&mut [&mut port]);
        assert_eq!(events, [Seen::Undelivered(token, 1), Seen::Closed(token)], "after {polls} polls");
        bench.assert_quiet(before + 2, events.len());
    }
}

/// `expire_connected`. R11: a message held for a client that connected in time does not expire, although the worker
/// has not yet handled the post of that connect.
#[test]
fn nothing_expires_whose_recipient_is_connected() {
    let set = [("workers", "1"), ("batch", "4"), ("hold_ms", "1000"), ("max_queue_wait_ms", "60000")];
    let mut bench = Bench::new(&set);
    let mut port = bench.port();
    let ann = port.connect("ann", "peerjs", "", 1).unwrap();
    port.submit(ann, &offer("bob"), 7).unwrap();
    assert_eq!(bench.turn(&mut port), []);
    bench.advance(900);
    // Two batches of messages before the post that tells the worker about bob.
    for _ in 0..8 {
        port.submit(ann, HEARTBEAT, 0).unwrap();
    }
    port.connect("bob", "peerjs", "", 2).unwrap();
    bench.advance(100);
    let events = bench.drain(&mut [&mut port]);
    assert_eq!((got(&events, 2), events.len()), (vec![7], 1), "{events:?}");
    let figures = bench.router.accounting();
    assert_eq!((figures.ok, figures.expired), (9, 0), "{figures:?}");
    bench.assert_quiet(9, 1);
}

/// `expire_quadratic`. I9: each of many senders to one absent name gets one notice, for its first message to that
/// name.
#[test]
fn each_sender_to_an_absent_name_is_told_once() {
    const SENDERS: u64 = 2_000;
    let all = (2 * SENDERS).to_string();
    let mut bench = Bench::new(&[
        ("workers", "1"),
        ("max_clients", "2000"),
        ("hold_per_name", &all),
        ("hold_messages", &all),
        ("hold_ms", "1000"),
    ]);
    let mut port = bench.port();
    let senders: Vec<_> = (0..SENDERS)
        .map(|token| {
            let client = port.connect(&format!("c{token}"), "peerjs", "", token).unwrap();
            bench.turn(&mut port);
            client
        })
        .collect();
    for round in 0..2 {
        for (client, number) in senders.iter().zip(0..) {
            port.submit(*client, &offer("bob"), round * SENDERS + number).unwrap();
            assert_eq!(bench.turn(&mut port), []);
        }
    }
    assert_eq!(bench.router.accounting().held, 2 * SENDERS);
    bench.advance(1_000);
    let events = bench.drain(&mut [&mut port]);
    let wanted: Vec<_> = (0..SENDERS).map(|token| Seen::Expired(token, token)).collect();
    assert_eq!(events, wanted);
    assert_eq!(bench.router.accounting().expired, 2 * SENDERS);
    bench.assert_quiet(2 * SENDERS, events.len());
}
