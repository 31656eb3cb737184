//! The monitor on real threads: figures are shown, reset and recorded at once, and nothing is lost or counted twice;
//! and the monitor's own cost. (The thread sanitizer would report the standard library's `OnceLock`, which it cannot
//! see into.)

use super::Monitor;
use crate::config::Config;
use crate::record::{Measured, RecordedMessage};
use crate::sync::os::thread_cpu_nanoseconds;
use std::thread;
use std::time::Duration;

#[test]
fn a_monitor_that_shows_and_resets_while_threads_record() {
    const RECORDS: u64 = 20_000;
    let mut config = Config::default();
    config.monitor.slow_message_threshold = MILLISECOND;
    let monitor = Monitor::new(config).unwrap();
    let threads: Vec<_> = (0..3u64)
        .map(|thread| {
            let monitor = monitor.clone();
            thread::spawn(move || {
                let mut recorder = monitor.recorder();
                let labels = recorder.labels("p", "offer", "app");
                for number in 0..RECORDS {
                    // Every tenth message is slow.
                    let processing = Duration::from_nanos(if number % 10 == 9 { 2_000_000 } else { number });
                    let measured = Measured { processing, ..Measured::default() };
                    if thread == 0 {
                        let message = RecordedMessage {
                            client: "ann",
                            message_type: "bye",
                            measured,
                            ..RecordedMessage::default()
                        };
                        monitor.record(&message);
                    } else {
                        recorder.record(labels, None, measured);
                    }
                }
            })
        })
        .collect();
    let mut total = 0;
    let mut slow = 0;
    let mut times = 0;
    let mut last = 0;
    while threads.iter().any(|thread| !thread.is_finished()) {
        let stats = monitor.snapshot();
        assert!(
            stats.messages.as_ref().unwrap().totals.total >= last
                && stats.messages.as_ref().unwrap().totals.succeeded
                    == stats.messages.as_ref().unwrap().totals.total
        );
        last = stats.messages.as_ref().unwrap().totals.total;
        let left = monitor.reset_and_show();
        total += left.messages.as_ref().unwrap().totals.total;
        slow += left.messages.as_ref().unwrap().totals.slow;
        times += left.messages.as_ref().unwrap().totals.latency.count;
        last = if left.messages.as_ref().unwrap().totals.total >= last {
            0
        } else {
            panic!("a figure went back")
        };
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let stats = monitor.snapshot();
    let all = (
        total + stats.messages.as_ref().unwrap().totals.total,
        slow + stats.messages.as_ref().unwrap().totals.slow,
        times + stats.messages.as_ref().unwrap().totals.latency.count,
    );
    assert_eq!(all, (3 * RECORDS, 3 * RECORDS / 10, 3 * RECORDS));
}

/// The pass over many clients is nearly all of the work here; collecting is almost none.
#[test]
fn its_cost_is_of_all_that_it_does() {
    const CLIENTS: u32 = 20_000;
    let mut config = Config::default();
    config.monitor.max_recorded_clients = CLIENTS;
    let monitor = Monitor::new(config).unwrap();
    for number in 0..CLIENTS {
        let _ = monitor.connect(&format!("client {number}"), "app"); // At the limit the rest are refused.
    }
    let own = || monitor.core.inner.lock().unwrap().cost.cpu_nanoseconds;
    let calls: [fn(&Monitor); 5] = [
        Monitor::tick,
        |monitor| drop(monitor.snapshot()),
        |monitor| drop(monitor.report(super::Format::Json)),
        Monitor::reset,
        |monitor| drop(monitor.idle_clients(std::time::Duration::ZERO)),
    ];
    for call in calls {
        let (before, spent) = (own(), thread_cpu_nanoseconds());
        call(&monitor);
        let (spent, said) = (thread_cpu_nanoseconds() - spent, own() - before);
        assert!(said <= spent && said >= spent / 2, "{said} of {spent} ns");
    }
}

const MILLISECOND: std::time::Duration = std::time::Duration::from_millis(1);
