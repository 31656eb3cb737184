//! Delivery with real threads. Tests wait on channels, so nothing depends on how fast a thread is.

use super::super::alert::{Alert, AlertState, Severity};
use super::{ListenerLosses, MAX_LISTENERS, Outbox};
use crate::error::ListenError;
use crate::sync::os::is_readable;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const CAPACITY: usize = 256;

/// Far more time than any step here takes: only a hang reaches it.
const LONG: Duration = Duration::from_secs(60);

fn alert(number: usize) -> Alert {
    Alert {
        id: format!("test/{number}"),
        name: "test".to_owned(),
        severity: Severity::Warning,
        state: AlertState::Firing,
        notification: None,
        message: String::new(),
        details: Vec::new(),
        metric: "metric".to_owned(),
        label_set: number.to_string(),
        threshold: 1.0,
        current_value: number as f64,
        since: 0,
        raised: None,
        resolved: None,
    }
}

fn alerts(numbers: std::ops::Range<usize>) -> Vec<Alert> {
    numbers.map(alert).collect()
}

fn number(alert: &Alert) -> usize {
    alert.current_value as usize
}

/// A callback that reports what it gets.
fn telling(outbox: &Outbox<Alert>) -> (super::CallbackId, Receiver<usize>) {
    let (tell, told) = channel();
    let id = outbox.add_callback(move |alert| tell.send(number(alert)).unwrap()).unwrap();
    (id, told)
}

/// A callback that reports what it gets, and returns once its gate is opened.
fn blocking(outbox: &Outbox<Alert>) -> (super::CallbackId, Receiver<usize>, Sender<()>) {
    let (tell, told) = channel();
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let callback = move |alert: &Alert| {
        tell.send(number(alert)).unwrap();
        // Fails once the sender is gone, which opens the gate as well.
        let _ = gate.lock().unwrap().recv();
    };
    (outbox.add_callback(callback).unwrap(), told, go)
}

fn expect(told: &Receiver<usize>, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_eq!(told.recv_timeout(LONG), Ok(number));
    }
}

/// Whether the callback was dropped without a further report.
fn is_gone(told: &Receiver<usize>) -> bool {
    told.recv_timeout(LONG) == Err(RecvTimeoutError::Disconnected)
}

#[test]
fn every_callback_gets_everything_in_order() {
    let outbox = Outbox::new("test", CAPACITY);
    let (first, second) = (telling(&outbox).1, telling(&outbox).1);
    for start in (0..200).step_by(10) {
        outbox.send(alerts(start..start + 10));
    }
    expect(&first, 0..200);
    expect(&second, 0..200);
    assert_eq!(outbox.delivery(), ListenerLosses::default());
}

#[test]
fn one_that_blocks_loses_its_oldest_and_harms_nobody() {
    let outbox = Outbox::new("test", CAPACITY);
    let (_, slow, go) = blocking(&outbox);
    let (_, quick) = telling(&outbox);
    outbox.send(alerts(0..1));
    expect(&slow, 0..1);
    expect(&quick, 0..1);
    for number in 1..1 + CAPACITY + 5 {
        outbox.send(vec![alert(number)]);
        expect(&quick, number..number + 1);
    }
    assert_eq!(outbox.delivery(), ListenerLosses { dropped: 5, panics: 0 });
    drop(go);
    expect(&slow, 6..6 + CAPACITY);
}

#[test]
fn one_that_panics_is_counted_and_called_again() {
    let outbox = Outbox::new("test", CAPACITY);
    let (tell, told) = channel();
    let callback = move |alert: &Alert| {
        tell.send(number(alert)).unwrap();
        if number(alert).is_multiple_of(2) {
            std::panic::panic_any(Vicious);
        }
    };
    outbox.add_callback(callback).unwrap();
    let (_, other) = telling(&outbox);
    outbox.send(alerts(0..5));
    expect(&told, 0..5);
    expect(&other, 0..5);
    // The last panic is counted after the report, but before the thread's end.
    assert_eq!(outbox.close(LONG), 0);
    assert_eq!(outbox.delivery(), ListenerLosses { dropped: 0, panics: 3 });
}

/// A panic payload that panics when it is dropped.
struct Vicious;

impl Drop for Vicious {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("again");
        }
    }
}

#[test]
fn the_end_ends_threads_that_are_not_inside_a_callback() {
    let outbox = Outbox::new("test", CAPACITY);
    let told = [telling(&outbox).1, telling(&outbox).1];
    outbox.send(alerts(0..3));
    told.iter().for_each(|told| expect(told, 0..3));
    assert_eq!(outbox.close(LONG), 0);
    // The captured values are dropped.
    assert!(told.iter().all(is_gone));
}

#[test]
fn the_end_leaves_behind_the_one_that_blocks_and_it_is_called_no_more() {
    let outbox = Outbox::new("test", CAPACITY);
    let (_, slow, go) = blocking(&outbox);
    outbox.send(alerts(0..3));
    expect(&slow, 0..1);
    assert_eq!(outbox.close(Duration::ZERO), 1);
    assert_eq!(outbox.delivery().dropped, 2);
    drop(go);
    assert!(is_gone(&slow));
}

#[test]
fn a_removed_callback_is_called_no_more() {
    let outbox = Outbox::new("test", CAPACITY);
    let (id, told) = telling(&outbox);
    outbox.send(alerts(0..1));
    expect(&told, 0..1);
    assert!(outbox.remove_callback(id, LONG));
    outbox.send(alerts(1..2));
    assert!(is_gone(&told));
    assert!(outbox.remove_callback(id, LONG));
}

#[test]
fn one_that_removes_itself_does_not_wait_for_itself() {
    let outbox = Arc::new(Outbox::new("test", CAPACITY));
    let (its, (tell, told)) = (Arc::downgrade(&outbox), channel());
    let (give, own) = channel();
    let own = Mutex::new(own);
    let callback = move |_: &Alert| {
        let id = own.lock().unwrap().recv().unwrap();
        tell.send(its.upgrade().unwrap().remove_callback(id, LONG)).unwrap();
    };
    give.send(outbox.add_callback(callback).unwrap()).unwrap();
    outbox.send(alerts(0..2));
    assert_eq!(told.recv_timeout(LONG), Ok(false));
    assert_eq!(told.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
    assert_eq!(outbox.delivery().dropped, 1);
}

#[test]
fn callbacks_are_bounded_those_that_do_not_return_included() {
    let outbox = Outbox::new("test", CAPACITY);
    let (id, slow, go) = blocking(&outbox);
    outbox.send(alerts(0..1));
    expect(&slow, 0..1);
    let ids: Vec<_> = (1..MAX_LISTENERS).map(|_| outbox.add_callback(|_| ()).unwrap()).collect();
    assert_eq!(outbox.add_callback(|_| ()), Err(ListenError::TooMany(16)));
    assert!(!outbox.remove_callback(id, Duration::ZERO));
    assert_eq!(outbox.add_callback(|_| ()), Err(ListenError::TooMany(16)));
    assert!(outbox.remove_callback(ids[0], LONG));
    outbox.add_callback(|_| ()).unwrap();
    drop(go);
    assert!(outbox.remove_callback(id, LONG));
    outbox.add_callback(|_| ()).unwrap();
}

#[test]
fn a_descriptor_is_readable_while_something_waits() {
    let outbox = Outbox::new("test", CAPACITY);
    let poll = outbox.poll().unwrap();
    assert!(!is_readable(&poll));
    outbox.send(alerts(0..2));
    for left in [true, false] {
        assert!(is_readable(&poll));
        assert!(poll.wait(Some(Duration::ZERO)));
        assert!(poll.next().is_some());
        assert_eq!(is_readable(&poll), left);
    }
    assert_eq!(poll.next(), None);
    assert!(!poll.wait(Some(Duration::ZERO)));
    outbox.send(alerts(2..3));
    assert!(is_readable(&poll) && !poll.is_closed());
    drop(outbox);
    assert_eq!(poll.next().map(|alert| number(&alert)), Some(2));
    assert!(is_readable(&poll) && poll.is_closed());
    assert!(!poll.wait(None));
}

#[test]
fn a_poll_wakes_who_waits_for_it() {
    let outbox = Outbox::new("test", CAPACITY);
    let poll = outbox.poll().unwrap();
    let (tell, told) = channel();
    let reader = std::thread::spawn(move || {
        while poll.wait(None) {
            tell.send(number(&poll.next().unwrap())).unwrap();
        }
    });
    for start in 0..50 {
        outbox.send(alerts(start..start + 1));
        expect(&told, start..start + 1);
    }
    drop(outbox);
    reader.join().unwrap();
}

#[test]
fn a_poll_keeps_the_latest_and_polls_are_bounded() {
    let outbox = Outbox::new("test", CAPACITY);
    let poll = outbox.poll().unwrap();
    outbox.send(alerts(0..CAPACITY + 7));
    assert_eq!(outbox.delivery().dropped, 7);
    let got: Vec<_> = std::iter::from_fn(|| poll.next()).map(|alert| number(&alert)).collect();
    assert_eq!(got, (7..CAPACITY + 7).collect::<Vec<_>>());
    let polls: Vec<_> = (1..MAX_LISTENERS).map(|_| outbox.poll().unwrap()).collect();
    assert!(matches!(outbox.poll(), Err(ListenError::TooMany(16))));
    drop(polls);
    outbox.poll().unwrap();
}
