//! The monitor under load: threads that come and go, names without number, readers beside writers. Totals stay exact and
//! memory bounded, and recording takes no memory. One test at a time: memory is counted for the whole process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::config::Config;
use corelane::monitor::{Monitor, MonitorStats};
use corelane::record::{Measured, Message};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

struct Counting;

thread_local! {
    /// This thread's: the test runner's own threads allocate whenever they like.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}
static BYTES: AtomicU64 = AtomicU64::new(0);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

// SAFETY: all work is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        BYTES.fetch_add(layout.size() as u64, SeqCst);
        // SAFETY: forwarded.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as u64, SeqCst);
        // SAFETY: forwarded.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn took(processing_nanoseconds: u64) -> Measured {
    Measured { bytes: 3, processing_nanoseconds, ..Measured::default() }
}

fn sums(stats: &MonitorStats) -> [u64; 4] {
    let sum = |series: &[corelane::monitor::SeriesFigures]| series.iter().map(|one| one.total).sum::<u64>();
    [stats.messages.total, sum(&stats.types), sum(&stats.protocols), sum(&stats.applications)]
}

#[test]
fn sixty_four_threads_that_start_and_end_lose_nothing() {
    const THREADS: u64 = 64;
    const EACH: u64 = 2_000;
    let _alone = alone();
    let monitor = Monitor::new(Config::default().with_max_recorders(8).unwrap()).unwrap();
    let ann = monitor.connect("ann", "app").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let monitor = &monitor;
            scope.spawn(move || {
                let mut recorder = monitor.recorder();
                let labels = recorder.labels("p", ["offer", "answer"][thread as usize % 2], "app");
                for number in 0..EACH {
                    match number % 3 {
                        0 => recorder.record(labels, Some(ann), took(number)),
                        1 => monitor.record_labelled(labels, Some(ann), took(number)),
                        _ => monitor.record(&Message {
                            protocol: "p",
                            message_type: "bye",
                            application: "app",
                            client: "ann",
                            measured: Measured { failed: true, ..took(number) },
                        }),
                    }
                }
            });
        }
    });
    let stats = monitor.snapshot();
    let all = THREADS * EACH;
    assert_eq!(sums(&stats), [all; 4]);
    let failed = THREADS * (0..EACH).filter(|number| number % 3 == 2).count() as u64;
    assert_eq!((stats.messages.failed, stats.messages.bytes_in), (failed, 3 * all));
    assert_eq!((stats.messages.latency.count, stats.messages.latency.maximum), (all, Some(EACH - 1)));
    assert_eq!(stats.messages.latency.distribution.sum(), THREADS * (EACH * (EACH - 1) / 2));
    assert_eq!(stats.messages.windows.last_hour.count, all);
    let client = &stats.clients.by_messages[0];
    assert_eq!((client.messages, client.errors, client.bytes_in), (all, failed, 3 * all));
    assert_eq!(client.average_nanoseconds, Some((EACH - 1) / 2));
    // All eight sets of cells have been given back.
    let recorders: Vec<_> = (0..9).map(|_| monitor.recorder()).collect();
    assert_eq!(recorders.iter().filter(|recorder| recorder.is_alone()).count(), 8);
}

#[test]
fn a_hundred_thousand_names_stay_within_their_budget() {
    const NAMES: u64 = 100_000;
    let _alone = alone();
    let config =
        Config::default().with_max_recorded_types(10).and_then(|config| config.with_max_applications(20));
    let monitor =
        Monitor::new(config.and_then(|config| config.with_max_recorded_clients(100)).unwrap()).unwrap();
    let before = BYTES.load(SeqCst);
    let mut grown = 0;
    for number in 0..NAMES {
        let name = format!("name-{number}");
        let message = Message {
            protocol: &name,
            message_type: &name,
            application: &name,
            client: &name,
            measured: took(1),
        };
        monitor.record(&message);
        if number == 1_000 {
            grown = BYTES.load(SeqCst) - before;
        }
    }
    // What a thousand names took is what a hundred thousand take, but for a name's text.
    let more = BYTES.load(SeqCst) - before;
    assert!(more < grown + 4_096, "{more} after all, {grown} after a thousand");
    let stats = monitor.snapshot();
    assert_eq!(sums(&stats), [NAMES; 4]);
    let lengths = [&stats.types, &stats.protocols, &stats.applications].map(|series| series.len());
    assert_eq!((lengths, stats.clients.tracked), ([11, 17, 21], 100));
    let folded = &stats.folded;
    assert_eq!((folded.types, folded.protocols), (NAMES - 10, NAMES - 16));
    assert_eq!((folded.applications, folded.clients), (NAMES - 20, NAMES - 100));
    assert_eq!(stats.types[0].total, NAMES - 10);
}

#[test]
fn extreme_values_are_counted_and_never_wrap() {
    let _alone = alone();
    let monitor = Monitor::new(Config::default()).unwrap();
    for value in [0, 1, 1 << 36, u64::MAX] {
        monitor.record(&Message { message_type: "offer", measured: took(value), ..Message::default() });
        let measured = Measured { queue_wait_nanoseconds: value, ..Measured::default() };
        monitor.record(&Message { message_type: "wait", client: "ann", measured, ..Message::default() });
    }
    let stats = monitor.snapshot();
    let latency = &stats.messages.latency;
    assert_eq!((latency.count, latency.minimum, latency.maximum), (8, Some(0), Some(u64::MAX)));
    assert_eq!((latency.distribution.overflows(), latency.p99), (2, Some(u64::MAX)));
    assert_eq!(stats.messages.queue_wait.maximum, Some(u64::MAX));
    assert_eq!((stats.messages.windows.last_minute.overflows, stats.messages.slow), (2, 4));
    assert_eq!(stats.clients.by_maximum[0].maximum_nanoseconds, u64::MAX);
}

#[test]
fn recording_takes_no_memory_after_the_first_message() {
    let _alone = alone();
    let monitor = Monitor::new(Config::default()).unwrap();
    let mut recorder = monitor.recorder();
    let labels = monitor.labels("p", "offer", "app");
    let ann = monitor.connect("ann", "app").unwrap();
    let message = Message {
        protocol: "p",
        message_type: "offer",
        application: "app",
        client: "ann",
        measured: took(5),
    };
    let mut record = || {
        recorder.record(labels, Some(ann), took(7));
        monitor.record_labelled(labels, Some(ann), took(7));
        monitor.record(&message);
        // A slow one is written down.
        recorder.record(labels, Some(ann), took(2_000_000_000));
    };
    record();
    let before = ALLOCATIONS.get();
    (0..10_000).for_each(|_| record());
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[test]
fn figures_never_go_back_while_threads_record_at_full_speed() {
    const EACH: u64 = 200_000;
    let _alone = alone();
    let monitor = Monitor::new(Config::default()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4u64)
            .map(|thread| {
                let monitor = &monitor;
                scope.spawn(move || {
                    let mut recorder = monitor.recorder();
                    let labels = recorder.labels("p", "offer", "app");
                    for number in 0..EACH {
                        let measured = Measured { failed: number % 5 == 0, ..took(number) };
                        if thread < 2 {
                            recorder.record(labels, None, measured);
                        } else {
                            monitor.record_labelled(labels, None, measured);
                        }
                    }
                })
            })
            .collect();
        let (done, monitor) = (&done, &monitor);
        scope.spawn(move || {
            let mut last = [0; 4];
            while !done.load(SeqCst) {
                let stats = monitor.snapshot();
                let messages = &stats.messages;
                let latency = &messages.latency;
                assert_eq!(latency.count, latency.distribution.count());
                assert_eq!(messages.succeeded + messages.failed, messages.total);
                // Times are counted before outcomes, and read after them.
                assert!(messages.total <= latency.count && messages.bytes_in / 3 <= 4 * EACH);
                assert!(messages.windows.last_minute.count <= latency.count);
                let now = [messages.total, messages.failed, latency.count, messages.bytes_in];
                assert!(
                    now.iter().zip(last).all(|(now, last)| *now >= last && *now < 1 << 40),
                    "{now:?} {last:?}"
                );
                last = now;
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, SeqCst);
    });
    let stats = monitor.snapshot();
    assert_eq!((sums(&stats), stats.messages.failed), ([4 * EACH; 4], 4 * EACH / 5));
}
