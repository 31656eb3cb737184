//! Invariant I2: a busy worker, and the host thread that feeds it, allocate nothing per message (counted by the
//! global allocator) and make no system call per message (counted by strace through ptrace).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clients::{ClientId, CreditPolicy};
use corelane::config::{Config, Idle};
use corelane::router::{Builder, Event, Port};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::ControlFlow;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

mod support;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// Counts an allocation, unless the main thread made it: there the test harness reports a test that has ended, while the
/// next one runs.
fn count() {
    // SAFETY: neither call has a precondition.
    let is_main = unsafe { libc::gettid() == libc::getpid() };
    ALLOCATIONS.fetch_add(u64::from(!is_main), Relaxed);
}

// SAFETY: forwards every call unchanged to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract of `alloc`, which is forwarded unchanged.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of `dealloc`, which is forwarded unchanged.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract of `realloc`, which is forwarded unchanged.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs one test at a time, because the allocator counts the allocations of every thread.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Typical messages: an ICE candidate, a heartbeat, an offer of 2 KiB, and malformed ones.
fn messages() -> Vec<Vec<u8>> {
    let offer =
        format!(r#"{{"type":"OFFER","dst":"ben","payload":{{"sdp":"{}"}}}}"#, "v=0\\r\\n".repeat(300));
    vec![
        br#"{"type":"CANDIDATE","payload":{"candidate":{"candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host"}},"dst":"ben"}"#.to_vec(),
        br#"{"type":"HEARTBEAT"}"#.to_vec(),
        offer.into_bytes(),
        br#"{"type":"ANSWER","dst":"b\u0065n","src":"x"}"#.to_vec(),
        br#"{"type":"OFFER","dst":"ben","dst":"ben"}"#.to_vec(),
        b"{".to_vec(),
    ]
}

fn exchange(port: &mut Port, from: ClientId, to: ClientId, count: u64, messages: &[Vec<u8>]) -> u64 {
    let (mut sent, mut got) = (0, 0);
    while sent < count {
        for message in messages.iter().cycle().take(32) {
            if port.submit(from, message, 0).is_err() {
                break;
            }
            sent += 1;
        }
        // Messages that the host itself sends, single and in a batch.
        let _ = port.send(to, b"from the host", 0);
        port.send_batch([(to, &b"one"[..], 1), (to, b"two", 2)], |_, _| ControlFlow::Continue(()));
        port.publish();
        let (mut count, mut bytes) = (0, 0);
        port.poll_each(usize::MAX, |event| {
            if let Event::Message(message) = event {
                count += 1;
                bytes += message.payload.len() as u32;
            }
        })
        .unwrap();
        port.acknowledge_batch([(to, count, bytes)]);
        got += u64::from(count);
    }
    got
}

/// Whether the watchdog's thread has begun: it has its name, and has waited.
fn watchdog_has_begun() -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let mut all = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    all.any(|status| {
        let waits = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        status.starts_with("Name:\tcorelane-watch\n") && waits.is_some_and(|waits| waits.trim() != "0")
    })
}

/// The worker never sleeps, so every counted system call belongs to the data path. A client may have `credit`
/// messages unacknowledged; further messages are refused and their sender gets a notice.
fn run(count: u64, credit: u32) -> u64 {
    run_with("peerjs", &messages(), count, credit)
}

fn run_with(protocol: &str, messages: &[Vec<u8>], count: u64, credit: u32) -> u64 {
    let mut config = Config::default();
    config.router.workers = Some(1);
    config.router.idle = Idle::Spin;
    config.credit.bytes = 1 << 30;
    config.credit.messages = credit;
    config.credit.policy = CreditPolicy::Refuse;
    // One type has a handler, which relays its message and sends another.
    let router = Builder::new(config)
        .handler("peerjs", "CANDIDATE", |request| {
            request.send_to_name("ben", b"seen")?;
            request.relay().map(|_| ())
        })
        .start()
        .unwrap();
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", protocol, "", 1).unwrap();
    let ben = port.connect("ben", protocol, "", 2).unwrap();
    for client in [ann, ben] {
        port.join(client, "lobby").unwrap();
    }
    let mut got = 0;
    // The watchdog's thread allocates when it begins, which may be late. Looking for it takes system calls.
    if std::env::var_os("CORELANE_COUNT_SYSTEM_CALLS").is_none() {
        support::until(watchdog_has_begun);
    }
    // What grows with the first messages has grown after these.
    for _ in 0..100 {
        got += exchange(&mut port, ann, ben, 10_000, messages);
    }
    let before = ALLOCATIONS.load(Relaxed);
    got += exchange(&mut port, ann, ben, count, messages);
    let allocations = ALLOCATIONS.load(Relaxed) - before;
    assert!(got > 0);
    let refused = router.stats().workers[0].credit_refusals;
    assert_eq!(refused > 0, credit < 100, "{refused} refused");
    allocations
}

#[test]
fn nothing_is_allocated_per_message() {
    if std::env::var_os("CORELANE_COUNT_SYSTEM_CALLS").is_some() {
        return; // This process is the child of the system-call test.
    }
    let _turn = TURN.lock();
    assert_eq!(run(1_000_000, 65_535), 0);
    assert_eq!(run(300_000, 8), 0);
}

#[test]
fn nothing_is_allocated_per_room_message() {
    if std::env::var_os("CORELANE_COUNT_SYSTEM_CALLS").is_some() {
        return; // This process is the child of the system-call test.
    }
    let _turn = TURN.lock();
    let rooms = [br#"{"type":"hello","room":"lobby"}"#.as_slice(), br#"{"type":"hello","room":"nowhere"}"#];
    assert_eq!(run_with("generic", &rooms.map(<[u8]>::to_vec), 200_000, 65_535), 0);
}

fn system_calls(count: u64) -> u64 {
    let report = std::env::temp_dir().join(format!("corelane-strace-{}-{count}", std::process::id()));
    let status = Command::new("strace")
        .args(["-f", "-c", "-o"])
        .arg(&report)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "no_system_call_per_message"])
        .env("CORELANE_COUNT_SYSTEM_CALLS", count.to_string())
        .output()
        .unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    let text = std::fs::read_to_string(&report).unwrap();
    let _ = std::fs::remove_file(report);
    let total = text.lines().find(|line| line.ends_with("total")).expect("strace prints a total");
    total.split_whitespace().nth(3).unwrap().parse().unwrap()
}

#[test]
fn no_system_call_per_message() {
    if let Ok(count) = std::env::var("CORELANE_COUNT_SYSTEM_CALLS") {
        run(count.parse().unwrap(), 65_535);
        return;
    }
    let _turn = TURN.lock();
    if support::lacks("strace", "-V") {
        return;
    }
    let (few, many) = (system_calls(10_000), system_calls(1_010_000));
    let more = many.saturating_sub(few);
    assert!(more < 1_000, "{more} system calls for a million more messages ({few} and {many} in all)");
}
