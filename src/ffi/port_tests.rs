//! Tests of the C interface: deliveries with several recipients, corrupt rings.

use super::client::{CorelaneConnectOptions, corelane_port_connect, corelane_port_rebind};
use super::handle::{CorelaneClient, CorelanePort};
use super::poll::{
    CORELANE_EVENT_MESSAGE, CORELANE_EVENT_UNDELIVERED, CorelaneEvent, CorelaneWritten,
    corelane_port_acknowledge, corelane_port_acknowledge_batch, corelane_port_poll,
};
use super::port::{corelane_port_release, corelane_port_wait, insert};
use super::reason::CorelaneReason;
use super::status::CorelaneStatus;
use super::submit::{corelane_port_publish, corelane_port_submit};
use crate::clock::Stamp;
use crate::config::Config;
use crate::error::CloseReason;
use crate::router::{Builder, Event};

#[test]
fn a_poll_of_fewer_events_than_recipients_loses_none() {
    let config: Config = "workers=1".parse().unwrap();
    let (router, mut workers) = Builder::new(config).build().unwrap();
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "generic", "", 0).unwrap();
    port.join(ann, "lobby").unwrap();
    for token in 1..=10 {
        let client = port.connect(&format!("m{token}"), "generic", "", token).unwrap();
        port.join(client, "lobby").unwrap();
    }
    for number in [1, 2] {
        port.submit(ann, br#"{"type":"hello","room":"lobby"}"#, number).unwrap();
    }
    port.publish();
    workers.iter_mut().for_each(|worker| {
        worker.cycle(port.clock().now());
    });
    let port = insert(port, false).unwrap();
    let mut got = Vec::new();
    loop {
        // SAFETY: all fields are integers and pointers, for which zero is valid.
        let mut events: [CorelaneEvent; 4] = unsafe { std::mem::zeroed() };
        events[0].size = size_of::<CorelaneEvent>() as u32;
        // SAFETY: the array has four events of the size that the first one has in `size`.
        let count = unsafe { corelane_port_poll(port, events.as_mut_ptr(), 4) };
        for event in &events[..usize::try_from(count).unwrap()] {
            assert_eq!(event.kind, CORELANE_EVENT_MESSAGE);
            // SAFETY: the view is valid until the next poll.
            let text = unsafe { std::slice::from_raw_parts(event.bytes, event.length) };
            assert_eq!(text, br#"{"from":"ann","type":"hello","room":"lobby"}"#);
            got.push((event.correlation, event.token));
            // SAFETY: the call has no requirements.
            unsafe { corelane_port_acknowledge(port, event.client, 1, event.length as u32) };
        }
        if count == 0 {
            break;
        }
        assert!(count == 4, "room for more, and more was there");
    }
    let expected: Vec<_> = [1, 2].iter().flat_map(|number| (1..=10).map(|token| (*number, token))).collect();
    assert_eq!(got, expected);
    let figures = router.accounting();
    assert_eq!((figures.deliveries, figures.consumed, figures.queued), (20, 20, 0));
    // SAFETY: no view of the port is used afterwards.
    assert_eq!(unsafe { corelane_port_release(port) }, 0);
}

/// Deliveries that only corruption can produce are skipped and counted. An unreadable ring is given up, and counted
/// once; its clients are to be closed.
#[test]
fn deliveries_that_cannot_be_read_are_counted() {
    let config: Config = "workers=1".parse().unwrap();
    let (router, mut workers) = Builder::new(config).build().unwrap();
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "generic", "", 0).unwrap();
    // `at` is the offset of a record in the data. Each record takes two lines of 64 bytes.
    let mut send_with = |at: usize, value: u32| {
        port.submit(ann, br#"{"type":"hello","to":"ann"}"#, 0).unwrap();
        port.publish();
        workers[0].cycle(port.clock().now());
        let start = port.memories(0).unwrap().1.start();
        // SAFETY: the address is inside the ring's data, and no other thread uses the ring.
        unsafe { start.byte_add(crate::ring::HEADER_BYTES + at).cast::<u32>().write(value) };
        let mut events = 0;
        port.poll_each(10, |_| events += 1).unwrap();
        if !port.arm() {
            port.poll_each(10, |event| {
                assert!(matches!(event, Event::Close { reason: CloseReason::Corrupt, .. }))
            })
            .unwrap();
            events += 100;
        }
        let stats = router.stats();
        (events, stats.bad_deliveries, stats.corrupt_deliveries)
    };
    let (recipients, length) = (44, 0);
    assert_eq!(send_with(recipients, 0), (0, 1, 0));
    assert_eq!(send_with(128 + recipients, u32::MAX), (0, 2, 0));
    assert_eq!(send_with(256 + length, 3), (100, 2, 1));
    assert_eq!(send_with(256 + length, 3), (0, 2, 1), "only once");
}

/// Out-of-line payloads with corrupt rings: each payload is dropped exactly once, by the end that finds the
/// corruption or by the release of the port. A delivery whose payload number is unknown becomes undeliverable and
/// returns its credit.
#[test]
fn payloads_outlive_no_corruption() {
    use crate::sync::{Arc, AtomicU64, SeqCst};

    struct Counted(Vec<u8>, Arc<AtomicU64>);
    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            self.1.fetch_add(1, SeqCst);
        }
    }

    let config: Config = "workers=1".parse().unwrap();
    let (router, mut workers) = Builder::new(config).build().unwrap();
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "generic", "", 0).unwrap();
    let dropped = Arc::new(AtomicU64::new(0));
    let text = format!(r#"{{"type":"hello","to":"ann","data":"{}"}}"#, "x".repeat(60_000));
    let give = |port: &mut crate::router::Port| {
        let message = Counted(text.as_bytes().to_vec(), Arc::clone(&dropped));
        port.submit_owned(ann, Box::new(message), crate::router::SubmitOptions::default()).unwrap();
        port.publish();
    };
    let write = |start: *mut u8, at: usize, value: u64| {
        // SAFETY: the address is inside the ring's memory, and no other thread uses the ring.
        unsafe { start.byte_add(at).cast::<u64>().write(value) };
    };
    // Overwrite the payload number of the relayed delivery: it becomes undeliverable and returns its credit.
    give(&mut port);
    workers[0].cycle(port.clock().now());
    assert_eq!(dropped.load(SeqCst), 1);
    // The payload number is after the delivery header and the single recipient.
    let number = crate::ring::HEADER_BYTES + crate::ring::record::DELIVERY_BYTES + 8;
    write(port.memories(0).unwrap().1.start(), number, 7 << 32);
    let mut events = 0;
    port.poll_each(10, |_| events += 1).unwrap();
    let stats = router.stats();
    assert_eq!((events, stats.accounting.undelivered.counted()), (0, vec![("payload_lost", 1)]));
    assert_eq!(port.outstanding(ann).unwrap().messages, 0);
    // The payload still exists and is dropped with the port; so is a payload before a corrupt position.
    give(&mut port);
    let ingress = port.memories(0).unwrap().0;
    write(ingress.start(), crate::ring::Memory::offsets().tail as usize, 3);
    workers[0].cycle(port.clock().now());
    assert_eq!((dropped.load(SeqCst), router.stats().payloads_waiting), (1, 2));
    drop(port);
    workers[0].cycle(Stamp(0));
    workers[0].cycle(Stamp(0));
    let stats = router.stats();
    assert_eq!((dropped.load(SeqCst), stats.payloads_waiting, stats.payload_bytes), (2, 0, 0));
    let figures = stats.accounting;
    assert_eq!((figures.in_flight, figures.queued), (0, 0), "{figures:?}");
}

const MESSAGE: &[u8] = br#"{"type":"offer","to":"ben"}"#;

fn connect(port: CorelanePort, name: &str, token: u64) -> CorelaneClient {
    let mut client = CorelaneClient::default();
    // SAFETY: all fields are integers and pointers, for which zero is valid.
    let mut options: CorelaneConnectOptions = unsafe { std::mem::zeroed() };
    options.size = size_of::<CorelaneConnectOptions>() as u32;
    (options.name, options.name_length) = (name.as_ptr().cast(), name.len());
    (options.protocol, options.protocol_length) = (c"generic".as_ptr(), usize::MAX);
    options.token = token;
    // SAFETY: each text is as long as its length says; `client` is a local variable.
    let status =
        unsafe { corelane_port_connect(port, &raw const options, &raw mut client, std::ptr::null_mut()) };
    assert_eq!(status, 0);
    client
}

fn poll(port: CorelanePort) -> Vec<CorelaneEvent> {
    // SAFETY: all fields are integers and pointers, for which zero is valid.
    let mut events: [CorelaneEvent; 8] = unsafe { std::mem::zeroed() };
    events[0].size = size_of::<CorelaneEvent>() as u32;
    // SAFETY: the array has as many events as the call is told.
    let count = unsafe { corelane_port_poll(port, events.as_mut_ptr(), events.len()) };
    events[..count as usize].to_vec()
}

#[test]
fn rebind_acknowledge_in_a_batch_and_be_told_of_a_refusal() {
    let config: Config = "workers=1\ncredit_policy=refuse\ncredit_messages=1".parse().unwrap();
    let (router, mut workers) = Builder::new(config).build().unwrap();
    let open = || insert(router.port().unwrap(), false).unwrap();
    let (port, other) = (open(), open());
    let (ann, ben) = (connect(port, "ann", 1), connect(port, "ben", 2));
    let mut submit = |correlation| {
        // SAFETY: pointer and length are those of `MESSAGE`.
        let status = unsafe { corelane_port_submit(port, ann, MESSAGE.as_ptr(), MESSAGE.len(), correlation) };
        assert_eq!(status, 0);
        // SAFETY: the call has no requirements.
        assert_eq!(unsafe { corelane_port_publish(port) }, 0);
        workers[0].cycle(crate::clock::Stamp(0));
    };
    submit(7);
    submit(8);
    // SAFETY: the call has no requirements.
    let rebind = |port, client| unsafe { corelane_port_rebind(port, client, 20) };
    assert_eq!(rebind(port, ben), 0);
    assert_eq!(rebind(other, ben), CorelaneStatus::Invalid as i32);
    assert_eq!(rebind(port, CorelaneClient { value: 1 << 40 }), CorelaneStatus::Stale as i32);
    let events = poll(port);
    assert_eq!((events[0].kind, events[0].token, events[0].correlation), (CORELANE_EVENT_MESSAGE, 20, 7));
    let told = (events[1].kind, events[1].token, events[1].correlation, events[1].reason);
    assert_eq!(told, (CORELANE_EVENT_UNDELIVERED, 1, 8, CorelaneReason::CreditExhausted as u32));
    assert_eq!((events.len(), events[1].client, events[1].sender), (2, ann, ben));
    let written = |client, bytes| CorelaneWritten {
        size: size_of::<CorelaneWritten>() as u32,
        messages: 1,
        client,
        bytes,
        reserved: 0,
    };
    let written = [written(CorelaneClient { value: 1 << 40 }, 1), written(ben, events[0].length as u32)];
    // SAFETY: the array has `count` entries, or the call refuses pointer or count before it reads.
    let acknowledge = |written, count| unsafe { corelane_port_acknowledge_batch(port, written, count) };
    assert_eq!(acknowledge(std::ptr::null(), 2), CorelaneStatus::Null as i32);
    assert_eq!(acknowledge(written.as_ptr(), usize::MAX), CorelaneStatus::Invalid as i32);
    assert_eq!(acknowledge(std::ptr::null(), 0), 0);
    assert_eq!(acknowledge(written.as_ptr(), written.len()), 0);
    submit(9);
    assert_eq!(
        poll(port).first().map(|event| (event.kind, event.correlation)),
        Some((CORELANE_EVENT_MESSAGE, 9))
    );
    for port in [port, other] {
        // SAFETY: no view of the port is used afterwards.
        assert_eq!(unsafe { corelane_port_release(port) }, 0);
    }
    assert_eq!(rebind(port, ben), CorelaneStatus::Stale as i32);
}

/// A release ends the wait of another thread, whose call then returns STALE. Other calls meanwhile are refused as busy.
#[test]
fn a_release_ends_a_wait() {
    for shared in [false, true] {
        let router = Builder::new("workers=1".parse().unwrap()).start().unwrap();
        let port = insert(router.port().unwrap(), shared).unwrap();
        // A wait may end early, for a wake that was meant for something else: it waits again.
        let waiter = std::thread::spawn(move || {
            loop {
                // SAFETY: the call has no requirements.
                let status = unsafe { corelane_port_wait(port, 60_000_000_000) };
                if status != 0 {
                    return status;
                }
            }
        });
        // SAFETY: as above.
        while unsafe { corelane_port_acknowledge(port, CorelaneClient::default(), 1, 1) } == 0 {
            std::thread::yield_now();
        }
        // SAFETY: no view of the port is used afterwards.
        assert_eq!(unsafe { corelane_port_release(port) }, 0);
        assert_eq!(waiter.join().unwrap(), CorelaneStatus::Stale as i32);
        // SAFETY: as above.
        assert_eq!(unsafe { corelane_port_release(port) }, CorelaneStatus::Stale as i32);
    }
}
