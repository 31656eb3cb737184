//! Alert listeners: several at once, one that blocks, one that panics, one that polls, and one beyond the limit.

use crate::watch::{PATIENCE, Watch, until};
use corelane::config::Config;
use corelane::error::ListenError;
use corelane::monitor::Monitor;
use corelane::monitor::alert::{Alert, Notification, Rule};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// A watch with one rule that the test raises and resolves at will.
fn bell() -> Watch {
    let watch = Watch::standalone(Config::default());
    let rule = Rule::above("bell", "connections.active", 0.5).cooldown(Duration::ZERO);
    watch.monitor.add_rule(rule).unwrap();
    watch
}

/// Causes two notifications: raised and resolved.
fn ring(watch: &mut Watch) {
    let client = watch.monitor.connect("ann", "").unwrap();
    watch.tells("bell", Notification::Raised);
    watch.monitor.disconnect(client).unwrap();
    watch.tells("bell", Notification::Resolved);
}

/// A sender for a callback. It is behind a mutex because callbacks are shared between threads.
fn shared<T>() -> (Mutex<Sender<T>>, Receiver<T>) {
    let (sender, receiver) = channel();
    (Mutex::new(sender), receiver)
}

#[test]
fn one_that_blocks_and_one_that_panics_harm_nobody() {
    let mut watch = bell();
    let ((enter, entered), (open, gate)) = (shared::<Alert>(), channel::<()>());
    let gate = Mutex::new(gate);
    let blocking = watch
        .monitor
        .on_alert(move |alert| {
            enter.lock().unwrap().send(alert.clone()).unwrap();
            // Blocks until the test sends or ends.
            let _ = gate.lock().unwrap().recv();
        })
        .unwrap();
    let (sender, panicking) = shared();
    let panics = move |_: &Alert| {
        sender.lock().unwrap().send(()).unwrap();
        // Panics without the report that `panic!` would write each time.
        std::panic::resume_unwind(Box::new("as this test wants it"));
    };
    watch.monitor.on_alert(panics).unwrap();
    let (sender, heard) = shared();
    watch.monitor.on_alert(move |alert| sender.lock().unwrap().send(alert.state).unwrap()).unwrap();
    // Rings, and checks that the two listeners that do not block have been called.
    let rings = |watch: &mut Watch| {
        ring(watch);
        for _ in 0..2 {
            heard.recv_timeout(PATIENCE).unwrap();
            panicking.recv_timeout(PATIENCE).unwrap();
        }
    };
    rings(&mut watch);
    let first = entered.recv_timeout(PATIENCE).unwrap();
    assert_eq!(first.notification, Some(Notification::Raised));
    // The blocking callback is in its first call. 256 notifications wait for it; when more arrive, the oldest are
    // dropped.
    for _ in 0..150 {
        rings(&mut watch);
    }
    until(|| watch.figures().callback_panics == 302);
    assert_eq!(watch.figures().notifications_dropped, 301 - 256);
    assert!(!watch.monitor.remove_alert_callback(blocking, Duration::ZERO), "the callback is running");
    // The notifications that waited for the removed callback are dropped as well.
    assert_eq!(watch.figures().notifications_dropped, 301);
    open.send(()).unwrap();
    assert!(watch.monitor.remove_alert_callback(blocking, PATIENCE));
    assert!(entered.recv_timeout(PATIENCE).is_err(), "the callback was called again");
    // The other listeners continue.
    rings(&mut watch);
    until(|| watch.figures().callback_panics == 304);
    assert_eq!(watch.figures().notifications_dropped, 301);
}

#[test]
fn one_that_was_slow_gets_what_waited_in_its_order() {
    let mut watch = bell();
    let ((sender, heard), (open, gate)) = (shared(), channel::<()>());
    let gate = Mutex::new(gate);
    watch
        .monitor
        .on_alert(move |alert| {
            let _ = gate.lock().unwrap().recv();
            sender.lock().unwrap().send((alert.notification, alert.raised)).unwrap();
        })
        .unwrap();
    for _ in 0..10 {
        ring(&mut watch);
    }
    assert!(heard.try_recv().is_err());
    drop(open);
    for number in 0..10 {
        for notification in [Notification::Raised, Notification::Resolved] {
            let raised = Some(5_000 + 10_000 * number);
            assert_eq!(heard.recv_timeout(PATIENCE), Ok((Some(notification), raised)));
        }
    }
    watch.end();
}

#[test]
fn a_poll_waits_and_hears_of_the_end() {
    let mut watch = bell();
    let (poll, other) = (watch.monitor.alerts().unwrap(), watch.monitor.alerts().unwrap());
    assert!(poll.as_fd().as_raw_fd() != other.as_fd().as_raw_fd());
    assert!(!poll.wait(Some(Duration::ZERO)));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| poll.wait(Some(PATIENCE)));
        ring(&mut watch);
        assert!(waiting.join().unwrap());
    });
    let seen: Vec<_> = std::iter::from_fn(|| poll.next()).map(|alert| alert.notification.unwrap()).collect();
    assert_eq!(seen, [Notification::Raised, Notification::Resolved]);
    assert!(!poll.wait(Some(Duration::ZERO)) && !poll.is_closed());
    // Notifications that were not polled are available after the monitor's end; then there are no more.
    watch.end();
    assert!(other.is_closed() && other.wait(None));
    assert_eq!((other.next().is_some(), other.next().is_some(), other.next()), (true, true, None));
    assert!(!other.wait(None), "a poll of a monitor that has ended does not wait");
}

#[test]
fn a_poll_that_nobody_takes_from_loses_the_oldest() {
    let mut watch = bell();
    let poll = watch.monitor.alerts().unwrap();
    for _ in 0..130 {
        ring(&mut watch);
    }
    assert_eq!(watch.figures().notifications_dropped, 4);
    let first = poll.next().unwrap();
    assert_eq!((first.notification, first.raised), (Some(Notification::Raised), Some(25_000)));
    assert_eq!(std::iter::from_fn(|| poll.next()).count(), 255);
}

#[test]
fn listeners_are_bounded_and_leave_room_behind_them() {
    let (monitor, _hands) = crate::support::monitor(Config::default());
    let mut polls: Vec<_> = (0..16).map(|_| monitor.alerts().unwrap()).collect();
    assert!(matches!(monitor.alerts(), Err(ListenError::TooMany(16))));
    polls.pop();
    polls.push(monitor.alerts().unwrap());
    let callbacks: Vec<_> = (0..16).map(|_| monitor.on_alert(|_| ()).unwrap()).collect();
    assert!(matches!(monitor.on_alert(|_| ()), Err(ListenError::TooMany(16))));
    assert!(monitor.remove_alert_callback(callbacks[3], PATIENCE));
    assert!(monitor.remove_alert_callback(callbacks[3], Duration::ZERO), "the callback was already removed");
    monitor.on_alert(|_| ()).unwrap();
}

#[test]
fn the_thread_tells_of_what_it_finds() {
    // The monitor runs its own thread with the real clock, so notifications need no tick by the test.
    let monitor = Monitor::new(Config::default()).unwrap();
    let poll = monitor.alerts().unwrap();
    monitor.set("high_connection_threshold", "1").unwrap();
    monitor.set("monitor_interval_ms", "100").unwrap();
    monitor.start().unwrap();
    let clients = ["ann", "ben"].map(|name| monitor.connect(name, "").unwrap());
    // Any change makes the thread look at once.
    let next = || loop {
        assert!(poll.wait(Some(PATIENCE)), "no notification arrived");
        let alert = poll.next().unwrap();
        // A busy machine may cause other alerts.
        if alert.name == "connections" {
            return alert.notification.unwrap();
        }
    };
    assert_eq!(next(), Notification::Raised);
    for client in clients {
        monitor.disconnect(client).unwrap();
    }
    assert_eq!(next(), Notification::Resolved);
    monitor.stop(PATIENCE);
}
