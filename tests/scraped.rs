//! Scrapes and pages do not disturb routing. One thread submits, routes (a local worker), polls and acknowledges, while
//! another one scrapes `/metrics`, loads the page and the report, and reads events, 50 times a second. The routing thread then
//! allocates nothing and waits for nobody, and every message arrives once and in order. Counts only: no time is compared.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::config::Config;
use corelane::http::{Door, Options};
use corelane::monitor::Monitor;
use corelane::router::{Builder, Event, Port};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

const SCRAPES: usize = 100;
const MESSAGE: &[u8] = br#"{"type":"OFFER","dst":"ben","payload":{"sdp":"v=0"}}"#;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// How often this thread has allocated.
fn allocations() -> u64 {
    ALLOCATIONS.get()
}

// SAFETY: forwards every call unchanged to the system allocator. The counter is a number without a destructor, so it can be
// used at any time in the life of a thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller upholds the contract of `alloc`, which is forwarded unchanged.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of `dealloc`, which is forwarded unchanged.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller upholds the contract of `realloc`, which is forwarded unchanged.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often this thread has waited for something: a lock, a descriptor, a sleep. Being preempted does not count.
struct Waits(std::fs::File);

impl Waits {
    fn of_this_thread() -> Self {
        // SAFETY: the call has no precondition.
        let thread = unsafe { libc::gettid() };
        Self(std::fs::File::open(format!("/proc/self/task/{thread}/status")).unwrap())
    }

    fn count(&self) -> u64 {
        use std::os::unix::fs::FileExt;
        let mut bytes = [0; 8192];
        let length = self.0.read_at(&mut bytes, 0).unwrap();
        let text = std::str::from_utf8(&bytes[..length]).unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        count.trim().parse().unwrap()
    }
}

/// Asks for a path, and returns the whole answer.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

/// The value of a sample without labels, or the sum of those with labels.
fn sum(text: &str, name: &str) -> u64 {
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
    let values = text.lines().filter(of_name).map(|line| line.rsplit(' ').next().unwrap());
    values.map(|value| value.parse::<u64>().unwrap()).sum()
}

/// Says at its end that the scraper has ended.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// What the routing thread has sent and received.
#[derive(Debug, Default)]
struct Traffic {
    sent: u64,
    received: u64,
}

impl Traffic {
    /// One turn of an event loop.
    fn turn(&mut self, port: &mut Port, from: corelane::clients::ClientId, to: corelane::clients::ClientId) {
        for _ in 0..64 {
            if port.submit(from, MESSAGE, self.sent).is_err() {
                break;
            }
            self.sent += 1;
        }
        port.publish();
        port.cycle().unwrap();
        let (mut messages, mut bytes) = (0, 0);
        let next = &mut self.received;
        port.poll_each(usize::MAX, |event| {
            if let Event::Message(message) = event {
                assert_eq!(message.correlation, *next, "each message once, and in order");
                *next += 1;
                messages += 1;
                bytes += message.payload.len() as u32;
            }
        })
        .unwrap();
        port.acknowledge_batch([(to, messages, bytes)]);
    }
}

#[test]
fn fifty_scrapes_a_second_cost_the_routing_thread_nothing() {
    let mut config = Config::default();
    config.router.workers = Some(1);
    config.router.local_workers = 1;
    config.credit.bytes = 1 << 30;
    config.limits.max_queue_wait = Duration::from_secs(600); // However slow the machine is.
    let router = Builder::new(config).start().unwrap();
    let monitor = Monitor::of(&router.source());
    monitor.start().unwrap();
    let door = Door::serve(&monitor, Options::new("127.0.0.1:0")).unwrap();
    let address = door.address();
    let mut port = router.local_port().unwrap();
    let ann = port.connect("ann", "peerjs", "shop", 1).unwrap();
    let ben = port.connect("ben", "peerjs", "shop", 2).unwrap();
    let mut traffic = Traffic::default();
    // Memory is touched, and tables are filled, before anything is counted.
    for _ in 0..10_000 {
        traffic.turn(&mut port, ann, ben);
    }
    let waits = Waits::of_this_thread();
    let before = waits.count();
    std::thread::sleep(Duration::from_millis(1));
    assert!(waits.count() > before, "a wait is counted");
    let before = allocations();
    drop(std::hint::black_box(Box::new(7)));
    assert!(allocations() > before, "an allocation is counted");

    let done = AtomicBool::new(false);
    let (waited, allocated, submitted, shown) = std::thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            let _done = Done(&done); // Also if this thread panics.
            let mut events = TcpStream::connect(address).unwrap();
            events.write_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            let mut last = 0;
            for scrape in 0..SCRAPES {
                let text = get(address, "/metrics");
                assert!(text.starts_with("HTTP/1.1 200"), "{text}");
                let delivered = sum(&text, "corelane_messages_delivered_total");
                assert!(delivered >= last, "{delivered} after {last}");
                last = delivered;
                let path = ["/", "/api/stats", "/api/timeline?span=minute"][scrape % 3];
                assert!(get(address, path).starts_with("HTTP/1.1 200"), "{path}");
                std::thread::sleep(Duration::from_millis(20));
            }
            let mut bytes = [0; 4096];
            assert!(events.read(&mut bytes).unwrap() > 0);
            last
        });
        let (begin, waits_before, allocations_before) = (traffic.sent, waits.count(), allocations());
        // Also if this thread had no processor during the scrapes.
        while !done.load(SeqCst) || traffic.sent - begin <= 10_000 {
            traffic.turn(&mut port, ann, ben);
        }
        let after = (waits.count() - waits_before, allocations() - allocations_before, traffic.sent - begin);
        (after.0, after.1, after.2, scraper.join().unwrap())
    });
    assert_eq!(allocated, 0);
    // A lock that a scrape holds would make the thread wait in most scrapes. A page fault may wait for the kernel's own lock.
    assert!(waited <= 2, "waited {waited} times during {SCRAPES} scrapes and {submitted} messages");
    assert!(shown > 0, "{submitted} messages");

    // Until everything has arrived, without anything new.
    for _ in 0..1_000 {
        port.cycle().unwrap();
        let next = &mut traffic.received;
        port.poll_each(usize::MAX, |event| {
            if let Event::Message(message) = event {
                assert_eq!(message.correlation, *next);
                *next += 1;
            }
        })
        .unwrap();
    }
    let accounting = router.accounting();
    assert_eq!(traffic.received, traffic.sent);
    assert_eq!((accounting.accepted, accounting.ok), (traffic.sent, traffic.sent));
    assert_eq!((accounting.in_flight, accounting.queued), (0, 0), "{accounting:?}");
    assert!(door.stop(Duration::from_secs(60)));
}
