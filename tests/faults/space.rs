//! A port that was refused because of missing space is woken when there is space, whatever it does in between.
//! Invariant I6.

use super::harness::{Bench, HEARTBEAT, full_queue, within};
use corelane::router::Port;
use std::time::Duration;

/// The port sleeps, then the worker takes what is in the ring. Returns whether the port is woken.
fn is_woken(bench: &mut Bench, mut port: Port) -> bool {
    let (tell, told) = std::sync::mpsc::channel();
    let sleeper = std::thread::spawn(move || {
        within(move || {
            assert!(port.arm(), "the port must be able to sleep while there is no space");
            tell.send(()).unwrap();
            port.wait(Duration::from_secs(3_600));
            port
        })
        .is_some()
    });
    told.recv().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    for _ in 0..5 {
        bench.cycle();
    }
    sleeper.join().unwrap()
}

#[test]
fn a_publication_behind_a_refusal_does_not_take_the_request_back() {
    let (mut bench, mut port, _) = full_queue(false);
    port.publish();
    assert!(is_woken(&mut bench, port));
}

#[test]
fn a_later_record_does_not_take_the_request_back() {
    let (mut bench, mut port, ann) = full_queue(false);
    port.publish();
    assert!(port.submit(ann, HEARTBEAT, 0).is_err());
    // Posts still fit, because they do not count as messages.
    port.connect("bob", "peerjs", "", 2).unwrap();
    assert!(is_woken(&mut bench, port));
}

#[test]
fn a_disconnect_that_waits_is_woken_for() {
    let mut bench = Bench::new(&[("workers", "1"), ("ring_bytes", "4096"), ("batch", "1")]);
    let mut port = bench.port();
    let [ann, ben, eve] = ["ann", "ben", "eve"].map(|name| port.connect(name, "peerjs", "", 1).unwrap());
    for _ in 0..10 {
        bench.turn(&mut port);
    }
    while port.submit(ann, HEARTBEAT, 0).is_ok() {}
    while port.send(ben, b"", 0).is_ok() {}
    // The disconnect waits for space, and publishes the records before it.
    port.disconnect(eve).unwrap();
    assert!(is_woken(&mut bench, port));
}
