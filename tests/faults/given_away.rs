//! An owned payload whose own code panics on a worker. Rows R8, R9; invariants I4, I7, I9.

use super::harness::{PATIENCE, config, poll_to_the_end, settled, within};
use corelane::router::{Builder, Event, Owned, Port, SubmitOptions};
use std::panic::resume_unwind;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

const OFFER: &[u8] = br#"{"type":"offer","to":"ben"}"#;

/// Whether the current thread is not `home`, and therefore a worker's thread.
fn is_away(home: ThreadId) -> bool {
    std::thread::current().id() != home
}

/// Panics when it is read on another thread.
struct Unreadable(ThreadId);

impl AsRef<[u8]> for Unreadable {
    fn as_ref(&self) -> &[u8] {
        if is_away(self.0) {
            resume_unwind(Box::new("the host's own reading"));
        }
        OFFER
    }
}

/// Panics when it is dropped on another thread.
struct Undroppable(ThreadId);

impl AsRef<[u8]> for Undroppable {
    fn as_ref(&self) -> &[u8] {
        OFFER
    }
}

impl Drop for Undroppable {
    fn drop(&mut self) {
        if is_away(self.0) && !std::thread::panicking() {
            resume_unwind(Box::new("the host's own dropping"));
        }
    }
}

/// Polls until a message with the value `wanted` is delivered. Returns whether it was.
fn arrives(port: &mut Port, wanted: u64) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let mut found = false;
        let polled = port.poll_each(9, |event| {
            found |= matches!(event, Event::Message(message) if message.correlation == wanted);
        });
        if found || polled.is_err() {
            return found;
        }
        port.wait(Duration::from_millis(20));
    }
    false
}

/// Submits two owned payloads, then a plain message, and stops. Returns the numbers of messages that were delivered
/// and that failed.
fn survives(given: fn(ThreadId) -> Owned) -> (u64, u64) {
    let set = [("workers", "1"), ("pin", "off"), ("max_queue_wait_ms", "600000")];
    let mut router = Builder::new(config(&set)).start().unwrap();
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "generic", "", 1).unwrap();
    port.connect("ben", "generic", "", 2).unwrap();
    for _ in 0..2 {
        let one = given(std::thread::current().id());
        port.submit_owned(ann, one, SubmitOptions::default()).unwrap();
        port.publish();
    }
    port.submit(ann, OFFER, 7).unwrap();
    port.publish();
    assert!(arrives(&mut port, 7), "the worker has ended");
    let router = within(move || {
        router.stop();
        router
    });
    let router = router.expect("the stop does not end");
    poll_to_the_end(&mut port);
    let figures = settled(&router);
    assert_eq!(figures.submitted, 3);
    assert_eq!(router.stats().payloads_waiting, 0);
    (figures.ok, figures.failed)
}

/// `ownpanic`. I7, I9: a message that cannot be read fails alone, and its worker continues.
#[test]
fn a_payload_that_panics_when_read_fails_alone() {
    assert_eq!(survives(|home| Box::new(Unreadable(home))), (1, 2));
}

/// `ownpanic`. I7: a payload that panics when it is dropped, after its message was handled, ends nothing.
#[test]
fn a_payload_that_panics_when_dropped_ends_nothing() {
    let (ok, failed) = survives(|home| Box::new(Undroppable(home)));
    assert_eq!(ok + failed, 3);
    assert!(ok >= 1);
}
