//! Shipped rules over the process itself: it takes and frees memory, and it is busy and idle.

use crate::watch::{Watch, alone, brief};
use corelane::clock::Clock;
use corelane::config::Config;
use corelane::monitor::Monitor;
use corelane::monitor::alert::{AlertState, Notification};
use std::hint::black_box;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const MEBIBYTE: u64 = 1 << 20;

/// A watch with only one of the two rules over the process.
fn watch(without: &str) -> Watch {
    let (clock, hands) = Clock::manual();
    let monitor = Monitor::with_clock(Config::default(), clock).unwrap();
    monitor.remove_rule(without).unwrap();
    Watch::with_all_rules(monitor, hands)
}

/// Memory that is written, so that it is resident, and that is larger than what the allocator keeps when it is freed.
fn memory(mebibytes: u64) -> Vec<u8> {
    black_box(vec![1; (mebibytes * MEBIBYTE) as usize])
}

#[test]
fn memory_taken_and_given_back() {
    let _turn = alone();
    let mut watch = watch("cpu");
    watch.quiet(1);
    let resident = watch.monitor.snapshot().system.unwrap().memory.resident_bytes.unwrap();
    let threshold = resident + 240 * MEBIBYTE;
    watch.monitor.set("high_memory_threshold_bytes", &threshold.to_string()).unwrap();
    watch.quiet(1);
    // Most of the memory reaches the hysteresis band, which begins at nine tenths of the threshold; all of it exceeds
    // the threshold.
    let (most, rest) = (memory(228), memory(72));
    let raised = watch.tells("memory", Notification::Raised);
    assert_eq!((raised.threshold, &*raised.metric), (threshold as f64, "system.memory.resident_bytes"));
    assert!(raised.current_value >= (resident + 290 * MEBIBYTE) as f64, "{raised:?}");
    assert!(raised.message.starts_with("Resident memory of the process is "), "{raised:?}");
    assert!(raised.details.contains(&("unit".to_owned(), "bytes".to_owned())));
    watch.quiet(2);
    drop(rest);
    watch.quiet(5);
    assert_eq!(watch.state("memory"), AlertState::Firing);
    let current = watch.figures().current.remove(0);
    assert!((threshold as f64 * 0.9..threshold as f64).contains(&current.current_value), "{current:?}");
    drop(most);
    watch.resolves_at_the_third("memory");
    let share = watch.monitor.snapshot().system.unwrap().memory.share_of_threshold.unwrap();
    assert!(share < 0.9, "{share}");
    watch.end();
}

#[test]
fn processor_time_taken_and_not() {
    let _turn = alone();
    let mut watch = watch("memory");
    // The threshold is far below the load of one busy thread, also if that has a core for a tenth of the time, and far
    // above that of an occasional look.
    watch.monitor.set("high_cpu_threshold", "0.02").unwrap();
    watch.tick();
    let (quiet, told) = watch.until_told(|_| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(50) {
            black_box((0..1_000_u64).fold(0, |sum, number| sum ^ black_box(number)));
        }
    });
    assert_eq!(brief(&told), [("cpu", Notification::Raised)]);
    assert!(quiet >= 2, "the process must stay busy for two more looks");
    assert!(told[0].current_value > 0.02 && told[0].current_value <= 1.0, "{told:?}");
    // Nothing is sent through this channel. The wait is the idle time between two looks.
    let (_nobody, pause) = channel::<()>();
    let (quiet, told) = watch.until_told(|_| {
        assert!(pause.recv_timeout(Duration::from_millis(500)).is_err());
    });
    assert_eq!(brief(&told), [("cpu", Notification::Resolved)]);
    assert!(quiet >= 2);
    assert!(told[0].current_value < 0.018, "{told:?}");
    watch.end();
}
