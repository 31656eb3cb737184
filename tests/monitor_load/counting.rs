//! An allocator that counts per thread, so that concurrent tests do not count each other's allocations, and the tests
//! that recording allocates nothing.

use corelane::config::Config;
use corelane::monitor::Monitor;
use corelane::record::{Measured, RecordedMessage};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

struct Counting;

thread_local! {
    /// The number of allocations, and the bytes allocated minus the bytes freed.
    static COUNTED: Cell<(u64, i64)> = const { Cell::new((0, 0)) };
}

fn count(allocations: u64, bytes: i64) {
    // A thread that ends may allocate after this variable is destroyed.
    let _ = COUNTED.try_with(|counted| {
        let (all, live) = counted.get();
        counted.set((all + allocations, live + bytes));
    });
}

// SAFETY: forwards every call unchanged to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller upholds the contract of `alloc`, which is forwarded unchanged.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller upholds the contract of `alloc_zeroed`, which is forwarded unchanged.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: the caller upholds the contract of `dealloc`, which is forwarded unchanged.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as i64 - layout.size() as i64);
        // SAFETY: the caller upholds the contract of `realloc`, which is forwarded unchanged.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The number of allocations of this thread so far.
pub fn allocations() -> u64 {
    COUNTED.get().0
}

/// The bytes that this thread has allocated and not freed.
pub fn live_bytes() -> i64 {
    COUNTED.get().1
}

const TYPES: [&str; 4] = ["offer", "answer", "candidate", "leave"];
const CLIENTS: [&str; 3] = ["ann", "ben", "eve"];

/// A mix of fast and slow, successful and failed messages.
fn measured(number: usize) -> Measured {
    Measured {
        failed: number.is_multiple_of(7),
        reason: None,
        bytes: 200,
        queue_wait: Duration::from_nanos(1_000),
        processing: Duration::from_nanos(if number.is_multiple_of(100) { 2_000_000_000 } else { 50_000 }),
    }
}

fn message(number: usize) -> RecordedMessage<'static> {
    RecordedMessage {
        client: CLIENTS[number % 3],
        message_type: TYPES[number % 4],
        protocol: "test",
        application: "app",
        measured: measured(number),
    }
}

#[test]
fn the_allocator_counts() {
    let (before, live) = (allocations(), live_bytes());
    let taken = std::hint::black_box(vec![1_u8; 1_000]);
    assert_eq!((allocations() - before, live_bytes() - live), (1, 1_000));
    drop(taken);
    assert_eq!((allocations() - before, live_bytes() - live), (1, 0));
}

#[test]
fn recording_allocates_nothing_after_a_series_first_message() {
    let monitor = Monitor::new(Config::default()).unwrap();
    let mut recorder = monitor.recorder();
    assert!(recorder.is_alone());
    let labels = TYPES.map(|name| recorder.labels("test", name, "app"));
    let clients = CLIENTS.map(|name| monitor.connect(name, "app").unwrap());
    // The ways to record, in order: by name, by labels, by a recorder of the thread.
    let mut record = |way: usize, number: usize| {
        let (labels, client) = (labels[number % 4], Some(clients[number % 3]));
        match way {
            0 => monitor.record(&message(number)),
            1 => monitor.record_labelled(labels, client, measured(number)),
            _ => recorder.record(labels, client, measured(number)),
        }
    };
    for way in 0..3 {
        for number in 0..12 {
            record(way, number);
        }
        let before = allocations();
        for number in 0..100_000 {
            record(way, number);
        }
        assert_eq!(allocations() - before, 0, "way {way}");
    }
    assert_eq!(monitor.snapshot().messages.as_ref().unwrap().totals.total, 3 * 100_012);
}

#[test]
fn a_recorder_that_shares_its_cells_allocates_nothing_either() {
    let monitor = Monitor::new("max_recorders=0".parse().unwrap()).unwrap();
    let mut recorder = monitor.recorder();
    assert!(!recorder.is_alone());
    let labels = recorder.labels("test", "offer", "app");
    recorder.record(labels, None, measured(0));
    let before = allocations();
    for number in 0..100_000 {
        recorder.record(labels, None, measured(number));
    }
    assert_eq!(allocations() - before, 0);
    assert_eq!(monitor.snapshot().messages.as_ref().unwrap().totals.total, 100_001);
}
