//! Ends at awkward moments: a router before its monitor, a monitor inside its own callback, repeated starts and stops
//! of threads.

use crate::support::{PATIENCE, until};
use corelane::config::Config;
use corelane::monitor::Monitor;
use corelane::record::{Measured, RecordedMessage};
use corelane::router::{Builder, Event};
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Runs the tests that look at the process's threads one at a time.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The number of threads whose names begin with `name`.
fn threads(name: &str) -> usize {
    let names = std::fs::read_dir("/proc/self/task").unwrap().filter_map(|task| {
        // A thread that has just ended has no name.
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    });
    names.filter(|one| one.starts_with(name)).count()
}

/// The kernel keeps fifteen bytes of a thread's name.
const MONITOR: &str = "corelane-monito";

#[test]
fn a_monitor_goes_on_when_its_router_is_gone() {
    // Each message arrives, however slow the machine is.
    let config = "workers=1\nmax_queue_wait_ms=600000".parse().unwrap();
    let mut router = Builder::new(config).start().unwrap();
    let monitor = Monitor::of(&router.source());
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "generic", "app", 1).unwrap();
    for _ in 0..100 {
        port.submit(ann, br#"{"type":"offer","to":"ann"}"#, 0).unwrap();
    }
    port.publish();
    let mut got = 0;
    while got < 100 {
        port.wait(Duration::from_millis(10));
        port.poll_each(usize::MAX, |event| got += u32::from(matches!(event, Event::Message(_)))).unwrap();
    }
    router.stop();
    let stopped = monitor.snapshot();
    assert_eq!(
        (
            stopped.messages.as_ref().unwrap().totals.total,
            stopped.messages.as_ref().unwrap().totals.succeeded
        ),
        (100, 100)
    );
    drop(port);
    drop(router);
    monitor.tick();
    let after = monitor.snapshot();
    assert_eq!(
        (
            after.messages.as_ref().unwrap().totals.total,
            after.messages.as_ref().unwrap().totals.latency.count
        ),
        (100, 100)
    );
    assert_eq!(after.routing.as_ref().unwrap().accounting.ok, 100);
    let offers = |stats: &corelane::monitor::MonitorStats| -> u64 {
        stats
            .types
            .iter()
            .flatten()
            .filter(|one| one.totals.name == "offer")
            .map(|one| one.totals.total)
            .sum()
    };
    assert_eq!(offers(&after), 100);
    // The host continues to record.
    let message =
        RecordedMessage { message_type: "offer", protocol: "generic", ..RecordedMessage::default() };
    monitor.record(&message);
    let mut recorder = monitor.recorder();
    let labels = recorder.labels("generic", "offer", "app");
    recorder.record(labels, None, Measured::default());
    assert_eq!(
        (monitor.snapshot().messages.as_ref().unwrap().totals.total, offers(&monitor.snapshot())),
        (102, 102)
    );
    monitor.reset();
    assert_eq!(monitor.snapshot().messages.as_ref().unwrap().totals.total, 0);
    // A recorder outlives the last handle of the monitor.
    drop(monitor);
    recorder.record(labels, None, Measured::default());
}

#[test]
fn a_monitor_is_dropped_inside_its_callback() {
    let _turn = turn();
    let monitor = Monitor::new(Config::default()).unwrap();
    monitor.set("high_connection_threshold", "1").unwrap();
    let poll = monitor.alerts().unwrap();
    let last = std::sync::Arc::new(Mutex::new(Some(monitor.clone())));
    let (sender, dropped) = channel();
    let sender = Mutex::new(sender);
    let its = std::sync::Arc::clone(&last);
    // The test drops its own handle before the alert can be raised.
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    monitor
        .on_alert(move |alert| {
            if alert.name != "connections" {
                return; // A busy machine may cause other alerts.
            }
            wait.lock().unwrap().recv().unwrap();
            let last = its.lock().unwrap().take();
            drop(last);
            sender.lock().unwrap().send(()).unwrap();
        })
        .unwrap();
    for name in ["ann", "ben"] {
        monitor.connect(name, "app").unwrap();
    }
    monitor.start().unwrap();
    drop(monitor);
    go.send(()).unwrap();
    dropped.recv_timeout(PATIENCE).unwrap();
    until(|| poll.is_closed());
    assert!(last.lock().unwrap().is_none());
    // Both threads have ended.
    until(|| threads(MONITOR) + threads("corelane-alert") == 0);
}

#[test]
fn a_monitor_is_asked_inside_its_callback() {
    let _turn = turn();
    let monitor = Monitor::new(Config::default()).unwrap();
    monitor.set("high_connection_threshold", "1").unwrap();
    let (inside, (sender, seen)) = (monitor.clone(), channel());
    let sender = Mutex::new(sender);
    let id = monitor
        .on_alert(move |alert| {
            let stats = inside.snapshot();
            inside.tick();
            inside.set("high_connection_threshold", "100").unwrap();
            sender.lock().unwrap().send((alert.name.clone(), stats.connections.active)).unwrap();
        })
        .unwrap();
    for name in ["ann", "ben"] {
        monitor.connect(name, "app").unwrap();
    }
    monitor.start().unwrap();
    let connections = || seen.recv_timeout(PATIENCE).unwrap();
    while connections() != ("connections".to_owned(), 2) {}
    // The callback has a handle of its monitor, so the host must remove the callback.
    assert!(monitor.remove_alert_callback(id, PATIENCE));
    drop(monitor);
    until(|| threads(MONITOR) + threads("corelane-alert") == 0);
}

#[test]
fn it_starts_and_stops_as_often_as_one_likes() {
    let _turn = turn();
    let monitor = Monitor::new(Config::default()).unwrap();
    let ticks = || monitor.snapshot().monitor.ticks;
    for round in 0..200_u64 {
        monitor.start().unwrap();
        monitor.start().unwrap();
        monitor.record(&RecordedMessage { message_type: "ping", ..RecordedMessage::default() });
        monitor.stop(PATIENCE);
        monitor.stop(Duration::ZERO);
        assert_eq!(monitor.snapshot().messages.as_ref().unwrap().totals.total, round + 1);
    }
    until(|| threads(MONITOR) == 0);
    // After the stop the monitor looks only when a snapshot is requested.
    let before = ticks();
    assert_eq!(ticks(), before + 1);
    // Starts from several threads at once create at most one thread.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    monitor.start().unwrap();
                    monitor.stop(PATIENCE);
                }
            });
        }
    });
    until(|| threads(MONITOR) == 0);
    monitor.start().unwrap();
    until(|| ticks() > before + 1);
    drop(monitor);
    until(|| threads(MONITOR) == 0);
}

#[test]
fn monitors_come_and_go_and_leave_nothing() {
    let _turn = turn();
    for _ in 0..50 {
        let monitor = Monitor::new(Config::default()).unwrap();
        monitor.on_alert(|_| ()).unwrap();
        let poll = monitor.alerts().unwrap();
        monitor.start().unwrap();
        monitor.connect("ann", "").unwrap();
        drop(monitor);
        // The monitor's thread may be in the middle of a tick.
        until(|| poll.is_closed());
    }
    until(|| threads(MONITOR) + threads("corelane-alert") == 0);
}
