//! What the C door does with a delivery that has several recipients.

use super::handle::CorelanePort;
use super::port::{CORELANE_EVENT_MESSAGE, CorelaneEvent, PORTS, corelane_acknowledge, corelane_poll};
use crate::config::{Config, Key};
use crate::router::Builder;

#[test]
fn a_poll_of_fewer_events_than_recipients_loses_none() {
    let config = Config::default().with(Key::Workers, 1).unwrap();
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
        worker.cycle(port.clock().raw());
    });
    let port = CorelanePort { value: PORTS.insert(port).unwrap() };
    let mut got = Vec::new();
    loop {
        // SAFETY: all zero is a valid event.
        let mut events: [CorelaneEvent; 4] = unsafe { std::mem::zeroed() };
        events[0].size = size_of::<CorelaneEvent>() as u32;
        // SAFETY: four events of the size that the first one says.
        let count = unsafe { corelane_poll(port, events.as_mut_ptr(), 4) };
        for event in &events[..usize::try_from(count).unwrap()] {
            assert_eq!(event.kind, CORELANE_EVENT_MESSAGE);
            // SAFETY: the view stays until the next poll.
            let text = unsafe { std::slice::from_raw_parts(event.bytes, event.length) };
            assert_eq!(text, br#"{"from":"ann","type":"hello","room":"lobby"}"#);
            got.push((event.correlation, event.token));
            // SAFETY: nothing to observe.
            unsafe { corelane_acknowledge(port, event.client, 1, event.length as u32) };
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
    drop(PORTS.remove(port.value).unwrap());
}

/// What only corruption writes is passed over, and counted; a ring that cannot be read any more is given up, once.
#[test]
fn deliveries_that_cannot_be_read_are_counted() {
    let config = Config::default().with(Key::Workers, 1).unwrap();
    let (router, mut workers) = Builder::new(config).build().unwrap();
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "generic", "", 0).unwrap();
    // Where the first record lies, and the second: each takes two lines of 64 bytes.
    let mut send_with = |at: usize, value: u32| {
        port.submit(ann, br#"{"type":"hello","to":"ann"}"#, 0).unwrap();
        port.publish();
        workers[0].cycle(port.clock().raw());
        let start = port.inline_view(0).unwrap().egress.start();
        // SAFETY: inside the ring's data, and nobody else is at it.
        unsafe { start.byte_add(crate::ring::HEADER_BYTES + at).cast::<u32>().write(value) };
        let mut events = 0;
        port.poll(10, |_| events += 1).unwrap();
        assert!(port.arm(), "nothing is to be polled");
        let stats = router.stats();
        (events, stats.bad_deliveries, stats.corrupt_deliveries)
    };
    let (recipients, length) = (44, 0);
    assert_eq!(send_with(recipients, 0), (0, 1, 0));
    assert_eq!(send_with(128 + recipients, u32::MAX), (0, 2, 0));
    assert_eq!(send_with(256 + length, 3), (0, 2, 1));
    assert_eq!(send_with(256 + length, 3), (0, 2, 1));
}

/// Payloads beside rings whose contents cannot be trusted: each is dropped once, by who finds it or when the port goes, and
/// a number that leads nowhere is a delivery that is given up, with its credit.
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

    let config = Config::default().with(Key::Workers, 1).unwrap();
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
        // SAFETY: inside the ring's memory, and nobody else is at it.
        unsafe { start.byte_add(at).cast::<u64>().write(value) };
    };
    // The relayed one's number is written over on its way out: given up, with its credit.
    give(&mut port);
    workers[0].cycle(port.clock().raw());
    assert_eq!(dropped.load(SeqCst), 1);
    // Behind the header of the first record and its one recipient.
    let number = crate::ring::HEADER_BYTES + crate::ring::record::DELIVERY_BYTES + 8;
    write(port.inline_view(0).unwrap().egress.start(), number, 7 << 32);
    let mut events = 0;
    port.poll(10, |_| events += 1).unwrap();
    let stats = router.stats();
    assert_eq!((events, stats.accounting.undelivered.as_slice()), (0, &[("payload_lost", 1)][..]));
    assert_eq!(port.outstanding(ann).unwrap().messages, 0);
    // Its payload is still there, and goes with the port; so does what lies before a corrupt position.
    give(&mut port);
    let ingress = port.inline_view(0).unwrap().ingress;
    write(ingress.start(), crate::ring::Memory::offsets().tail as usize, 3);
    workers[0].cycle(port.clock().raw());
    assert_eq!((dropped.load(SeqCst), router.stats().payloads_waiting), (1, 2));
    drop(port);
    workers[0].cycle(0);
    workers[0].cycle(0);
    let stats = router.stats();
    assert_eq!((dropped.load(SeqCst), stats.payloads_waiting, stats.payload_bytes), (2, 0, 0));
    let figures = stats.accounting;
    assert_eq!((figures.in_flight, figures.queued), (0, 0), "{figures:?}");
}
