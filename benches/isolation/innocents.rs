//! Well-behaved clients. They send at planned times, whatever is delivered (open loop). Every message is checked at
//! its recipient: exactly once, in the sender's order. A message's latency counts from its planned time, so a message
//! that could not be sent in time counts in full.

use corelane::clients::ClientId;
use corelane::router::{Event, Port, Router};
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Time-out for a hang. Nothing in this bench takes as long.
const HANG: Duration = Duration::from_secs(120);

/// The number of messages, sent by all senders in turn, and the interval between them.
#[derive(Clone, Copy)]
pub struct Plan {
    pub messages: u64,
    pub interval: Duration,
}

/// A sender on one port, its recipient on another port, and the worker that served the sender when `whereabouts`
/// determined it.
struct Pair {
    sender: ClientId,
    recipient: ClientId,
    message: String,
    group: usize,
}

pub struct Innocents {
    sending: Port,
    receiving: Port,
    pairs: Vec<Pair>,
    /// Messages that these clients submitted, including those of `whereabouts`.
    pub submitted: u64,
}

/// The number of delivered messages by group, for the code that runs concurrently.
pub struct Progress<'a> {
    pub sent: u64,
    pub planned: u64,
    received: &'a [AtomicU64; 2],
    expected: [u64; 2],
}

impl Progress<'_> {
    pub fn received(&self, group: usize) -> u64 {
        self.received[group].load(SeqCst)
    }

    /// Whether every planned message of the group has arrived.
    pub fn is_complete(&self, group: usize) -> bool {
        self.received(group) == self.expected[group]
    }
}

impl Innocents {
    /// Connects `pairs` pairs. `name` distinguishes the pairs of different rounds.
    pub fn connect(router: &Router, pairs: usize, name: &str) -> Self {
        let mut innocents = Self::none(router);
        for place in 0..pairs {
            innocents.connect_pair(&format!("{name}-{place}"), 0);
        }
        innocents
    }

    /// Connects pairs until there are `each` senders on each of two workers. The group is the worker.
    pub fn connect_at_both(router: &Router, each: usize, name: &str) -> Self {
        let mut innocents = Self::none(router);
        let mut counts = [0; 2];
        for place in 0.. {
            assert!(place < 1_000, "all clients are at one worker");
            innocents.connect_pair(&format!("{name}-{place}"), 0);
            let sender = innocents.pairs[innocents.pairs.len() - 1].sender;
            innocents.submitted += 1;
            let worker = whereabouts(&mut innocents.sending, sender);
            if counts[worker] == each {
                innocents.pairs.pop(); // The pair stays connected and sends nothing.
                continue;
            }
            counts[worker] += 1;
            if let Some(pair) = innocents.pairs.last_mut() {
                pair.group = worker;
            }
            if counts == [each; 2] {
                break;
            }
        }
        innocents
    }

    fn none(router: &Router) -> Self {
        let (sending, receiving) = (router.port().unwrap(), router.port().unwrap());
        Self { sending, receiving, pairs: Vec::new(), submitted: 0 }
    }

    fn connect_pair(&mut self, name: &str, group: usize) {
        let token = self.pairs.len() as u64;
        let sender = self.sending.connect(&format!("{name}-s"), "generic", "innocents", token).unwrap();
        let recipient = self.receiving.connect(&format!("{name}-r"), "generic", "innocents", token).unwrap();
        let message =
            format!(r#"{{"type":"candidate","to":"{name}-r","candidate":"{}"}}"#, "candidate:1 ".repeat(8));
        self.pairs.push(Pair { sender, recipient, message, group });
    }

    /// Sends what is planned and waits until all of it has arrived. `beside` is called between sends. Returns the
    /// latencies in nanoseconds, by group.
    pub fn run(&mut self, plan: Plan, mut beside: impl FnMut(&Progress<'_>)) -> [Histogram<u64>; 2] {
        let Self { sending, receiving, pairs, submitted } = self;
        let count = pairs.len() as u64;
        let mut expected = [0; 2];
        for (place, pair) in pairs.iter().enumerate() {
            expected[pair.group] += (plan.messages + count - 1 - place as u64) / count;
        }
        let received = [AtomicU64::new(0), AtomicU64::new(0)];
        let start = Instant::now();
        std::thread::scope(|scope| {
            let (all, arrived) = (&*pairs, &received);
            let receiver = scope.spawn(move || receive(receiving, all, plan, start, arrived));
            let mut sent = 0;
            loop {
                let due = start.elapsed().as_nanos() / plan.interval.as_nanos().max(1) + 1;
                let due = plan.messages.min(due.min(u128::from(u64::MAX)) as u64);
                // If this thread was late, `beside` still runs several times before all is sent.
                let due = due.min(sent + plan.messages / 20 + 1);
                while sent < due {
                    let pair = &pairs[(sent % count) as usize];
                    // A submission is never refused, because the innocents stay within every limit.
                    sending.submit(pair.sender, pair.message.as_bytes(), sent).unwrap();
                    sent += 1;
                }
                sending.publish();
                sending.poll_each(64, |_| ()).unwrap();
                beside(&Progress { sent, planned: plan.messages, received: &received, expected });
                if sent == plan.messages && receiver.is_finished() {
                    break;
                }
                assert!(start.elapsed() < HANG, "{sent} sent, only {received:?} arrived");
                let next = plan.interval * sent as u32;
                let pause =
                    if sent < plan.messages { next } else { start.elapsed() + Duration::from_millis(1) };
                std::thread::sleep(pause.saturating_sub(start.elapsed()));
            }
            *submitted += plan.messages;
            receiver.join().unwrap()
        })
    }
}

/// Polls until every message has arrived. Checks that each message arrives exactly once and that each sender's
/// messages arrive in order.
fn receive(
    port: &mut Port,
    pairs: &[Pair],
    plan: Plan,
    start: Instant,
    received: &[AtomicU64; 2],
) -> [Histogram<u64>; 2] {
    let mut latencies = [(); 2].map(|()| Histogram::new_with_bounds(1, 600_000_000_000, 3).unwrap());
    let mut next: Vec<u64> = (0..pairs.len() as u64).collect();
    let mut written = Vec::new();
    let mut total = 0;
    while total < plan.messages && start.elapsed() < HANG {
        port.poll_each(256, |event| {
            let Event::Message(message) = event else { panic!("{event:?}") };
            let arrived = start.elapsed();
            let place = (message.correlation % pairs.len() as u64) as usize;
            let pair = &pairs[place];
            assert_eq!((message.client, message.sender), (pair.recipient, Some(pair.sender)));
            assert_eq!(message.correlation, next[place], "lost, duplicated or out of order");
            next[place] += pairs.len() as u64;
            total += 1;
            received[pair.group].fetch_add(1, SeqCst);
            let planned = plan.interval * message.correlation as u32;
            let latency = arrived.saturating_sub(planned).as_nanos() as u64;
            latencies[pair.group].record(latency.max(1)).unwrap();
            written.push((message.client, 1, message.payload.len() as u32));
        })
        .unwrap();
        if written.is_empty() {
            port.wait(Duration::from_millis(5));
        }
        port.acknowledge_batch(written.drain(..));
    }
    assert_eq!(total, plan.messages, "sent and received differ");
    latencies
}

/// The worker that a client's messages currently go to. The handler of `offer` replies with its thread's name, which
/// ends with the worker's number.
pub fn whereabouts(port: &mut Port, client: ClientId) -> usize {
    port.submit(client, br#"{"type":"offer"}"#, 0).unwrap();
    port.publish();
    for _ in 0..6_000 {
        let mut answer = None;
        port.poll_each(64, |event| {
            if let Event::Message(message) = event {
                let name = String::from_utf8_lossy(message.payload);
                let worker = name.strip_prefix("corelane-").unwrap().parse().unwrap();
                answer = Some((worker, message.payload.len() as u32));
            }
        })
        .unwrap();
        if let Some((worker, bytes)) = answer {
            port.acknowledge(client, 1, bytes);
            return worker;
        }
        port.wait(Duration::from_millis(10));
    }
    panic!("the handler did not answer");
}
