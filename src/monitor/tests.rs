//! The monitor on real threads: whatever is shown, reset and recorded at once, nothing is lost or counted twice. (The thread
//! sanitizer would report the standard library's `OnceLock`, which it does not see into.)

use super::Monitor;
use crate::config::Config;
use crate::record::{Measured, Message};
use std::thread;

#[test]
fn a_monitor_that_shows_and_resets_while_threads_record() {
    const RECORDS: u64 = 20_000;
    let monitor = Monitor::new(Config::default().with_slow_message_threshold(MILLISECOND).unwrap()).unwrap();
    let threads: Vec<_> = (0..3u64)
        .map(|thread| {
            let monitor = monitor.clone();
            thread::spawn(move || {
                let mut recorder = monitor.recorder();
                let labels = recorder.labels("p", "offer", "app");
                for number in 0..RECORDS {
                    // Every tenth is slow.
                    let processing_nanoseconds = if number % 10 == 9 { 2_000_000 } else { number };
                    let measured = Measured { processing_nanoseconds, ..Measured::default() };
                    if thread == 0 {
                        let message =
                            Message { client: "ann", message_type: "bye", measured, ..Message::default() };
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
        assert!(stats.messages.total >= last && stats.messages.succeeded == stats.messages.total);
        last = stats.messages.total;
        let left = monitor.reset_and_show();
        total += left.messages.total;
        slow += left.messages.slow;
        times += left.messages.latency.count;
        last = if left.messages.total >= last { 0 } else { panic!("a figure went back") };
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let stats = monitor.snapshot();
    let all =
        (total + stats.messages.total, slow + stats.messages.slow, times + stats.messages.latency.count);
    assert_eq!(all, (3 * RECORDS, 3 * RECORDS / 10, 3 * RECORDS));
}

const MILLISECOND: std::time::Duration = std::time::Duration::from_millis(1);
