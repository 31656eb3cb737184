//! The Rust side of the torture in `ffi-tests`: a thread that sends every record of one ring back on another, asleep on a
//! futex whenever it has nothing to read or no room to write. Only with the feature `ffi-test`.

use super::layout::CorelaneLayout;
use super::status::{
    CORELANE_INVALID, CORELANE_NOT_FOUND, CORELANE_STATE, CORELANE_TIMEOUT, Failure, Outcome, guard,
    guard_status,
};
use crate::park::WakeWord;
use crate::ring::{Consumer, Memory, Producer, PushError};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Relaxed, lock, wake_fence};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

struct Shared {
    ingress: Arc<Memory>,
    egress: Arc<Memory>,
    worker_wake: WakeWord,
    port_wake: WakeWord,
    stop: AtomicBool,
    sleeps: AtomicU64,
}

struct Echo {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<u64, &'static str>>,
}

static RUNNING: Mutex<Option<Echo>> = Mutex::new(None);
/// Nothing sleeps longer: a lost wake is then reported, not waited for.
const LONGEST_SLEEP: Duration = Duration::from_secs(20);

/// Starts the echo between two rings of `capacity` bytes; one at a time.
///
/// # Safety
/// As `corelane_port_layout`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_test_echo_start(capacity: u64, out_layout: *mut CorelaneLayout) -> i32 {
    let start = || -> Outcome {
        // SAFETY: forwarded.
        let place = unsafe { CorelaneLayout::check(out_layout) }?;
        let mut running = lock(&RUNNING);
        if running.is_some() {
            return Err(Failure::new(CORELANE_STATE, "an echo runs"));
        }
        let memory = || Memory::new(capacity as usize).map(Arc::new);
        let failed = |_| Failure::new(CORELANE_INVALID, "no ring of this capacity");
        let shared = Arc::new(Shared {
            ingress: memory().map_err(failed)?,
            egress: memory().map_err(failed)?,
            worker_wake: WakeWord::futex(),
            port_wake: WakeWord::descriptor().map_err(failed)?,
            stop: AtomicBool::new(false),
            sleeps: AtomicU64::new(0),
        });
        let layout =
            CorelaneLayout::of(&shared.ingress, &shared.egress, &shared.worker_wake, &shared.port_wake);
        let thread = std::thread::Builder::new().name("corelane-echo".to_owned());
        let thread = thread.spawn({
            let shared = Arc::clone(&shared);
            move || echo(&shared)
        });
        let thread = thread.map_err(|error| Failure::from(crate::error::Error::from(error)))?;
        *running = Some(Echo { shared, thread });
        // SAFETY: checked; as large as its size says.
        unsafe { place.write(layout) };
        Ok(0)
    };
    // SAFETY: no error struct.
    unsafe { guard_status(std::ptr::null_mut(), start) }
}

/// Stops the echo, closes its rings and waits for its thread; the layout is not valid any more. Returns how many records
/// it sent back, and in `sleeps` how often it slept.
///
/// # Safety
/// `sleeps` is NULL or points at a uint64_t. No thread uses the layout any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_test_echo_join(sleeps: *mut u64) -> i64 {
    let join = || -> Outcome {
        let Some(echo) = lock(&RUNNING).take() else {
            return Err(Failure::new(CORELANE_NOT_FOUND, "no echo runs"));
        };
        echo.shared.stop.store(true, Relaxed); // Relaxed: behind it lies the fence.
        wake_fence("stop-fence");
        echo.shared.worker_wake.wake_if_asleep();
        let defect = |text| Failure::new(CORELANE_TIMEOUT, text);
        let count = echo.thread.join().map_err(|_| defect("the echo panicked"))?.map_err(|text| {
            eprintln!("echo: {text}");
            defect(text)
        })?;
        if !sleeps.is_null() {
            // SAFETY: not NULL, and the caller's.
            unsafe { sleeps.write(echo.shared.sleeps.load(Relaxed)) };
        }
        Ok(count as i64)
    };
    // SAFETY: no error struct.
    unsafe { guard(std::ptr::null_mut(), join) }
}

/// Panics inside the guard.
///
/// # Safety
/// Nothing to observe.
#[unsafe(no_mangle)]
#[expect(clippy::panic, reason = "what the guard is there for")]
pub unsafe extern "C" fn corelane_test_panic() -> i32 {
    // SAFETY: no error struct.
    unsafe { guard_status(std::ptr::null_mut(), || panic!("asked for by a test of the panic boundary")) }
}

fn echo(shared: &Shared) -> Result<u64, &'static str> {
    let mut from = Consumer::new(Arc::clone(&shared.ingress));
    let mut to = Producer::new(Arc::clone(&shared.egress));
    let (mut count, mut random) = (0, 1u64);
    loop {
        let (moved, stalled) = batch(&mut from, &mut to)?;
        count += moved;
        publish(shared, &mut from, &mut to);
        if moved > 0 {
            continue;
        }
        jitter(&mut random);
        if stalled {
            to.request_space();
        }
        shared.worker_wake.arm();
        // While it is stalled new records would not help, space would.
        let news = if stalled { to.space_moved() } else { from.has_more() };
        let stop = shared.stop.load(Relaxed);
        let before = Instant::now();
        if !news && !stop {
            shared.sleeps.fetch_add(1, Relaxed);
            shared.worker_wake.sleep(Some(LONGEST_SLEEP));
        }
        shared.worker_wake.disarm();
        if stop && !news {
            shared.ingress.close();
            shared.egress.close();
            wake_fence("worker-publish-fence");
            shared.port_wake.wake_if_asleep();
            return Ok(count);
        }
        if before.elapsed() >= LONGEST_SLEEP {
            return Err(if stalled { "no wake for space came" } else { "no wake for data came" });
        }
    }
}

/// Lets the host's publications fall between this side's last look and its arming: without it both take turns.
fn jitter(state: &mut u64) {
    *state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
    if *state >> 62 == 0 {
        for _ in 0..(*state >> 40) & 0x3ff {
            std::hint::spin_loop();
        }
    }
}

/// Copies what is there, as far as there is room. Says how many records, and whether room was lacking.
fn batch(from: &mut Consumer, to: &mut Producer) -> Result<(u64, bool), &'static str> {
    let mut count = 0;
    from.refresh().map_err(|_| "the host's tail is impossible")?;
    loop {
        let Some(record) = from.peek().map_err(|_| "the host's record is impossible")? else {
            return Ok((count, false));
        };
        match to.claim(record.bytes.len(), record.kind, record.flags) {
            Ok(place) => place.copy_from_slice(record.bytes),
            Err(PushError::Full) => return Ok((count, true)),
            Err(PushError::TooLarge) => return Err("a record fits one ring and not the other"),
            Err(PushError::Closed) => return Err("the host's head is impossible"),
        }
        to.commit();
        from.skip();
        count += 1;
    }
}

/// As `Worker::publish`: one fence for both directions, then the wakes.
fn publish(shared: &Shared, from: &mut Consumer, to: &mut Producer) {
    let (released, published) = (from.release(), to.publish());
    if !released && !published {
        return;
    }
    wake_fence("worker-publish-fence");
    if published || (released && shared.ingress.needs_space()) {
        shared.port_wake.wake_if_asleep();
    }
}
