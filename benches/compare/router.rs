//! Measures the path from port to worker to port: 64 PeerJS clients on one host thread and one worker, with every
//! message parsed, looked up, rewritten and recorded. The peers are pools of one worker behind channels that do the
//! same: copy the message, look up the recipient under a read lock, parse with serde_json and borrowed fields, record
//! with prometheus and resolved handles, and read the same cycle counter as clock. All sides send in batches of 32
//! with at most 1,024 messages in flight. No side sleeps if its interface can avoid it. A third case runs host and
//! worker alternately on one thread: it measures the cost of a message independently of the other load on the
//! machine.

use crate::messages::{self, Kind};
use crate::peers::{Envelope, Metrics, TYPES};
use crate::race::{Better, Pair, Pause, Report, pin};
use corelane::clients::ClientId;
use corelane::config::{Config, Key};
use corelane::router::{Builder, Event, Port, Router, Worker};
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, RwLock};
use std::time::Instant;

const CLIENTS: usize = 64;
const BATCH: usize = 32;
const ON_THEIR_WAY: usize = 1024;
/// The maximum number of bytes in flight, so that no side's queue overflows.
const BYTES_ON_THEIR_WAY: usize = 384 << 10;

fn names() -> Vec<String> {
    let mut random = crate::race::Random::new();
    (0..CLIENTS)
        .map(|_| format!("{}-{}-{}", random.word(8, 8), random.word(4, 4), random.word(12, 12)))
        .collect()
}

/// A host and its router. `send` submits a message of one client, `flush` is called once per batch, and `receive`
/// passes each delivered message with its recipient.
trait Side {
    fn send(&mut self, from: usize, message: &[u8]) -> bool;
    fn flush(&mut self) {}
    fn receive(&mut self, each: &mut dyn FnMut(usize, &[u8])) -> usize;
}

/// Nanoseconds per message.
fn exchange(side: &mut dyn Side, messages: &[Vec<u8>], count: usize) -> f64 {
    let longest = messages.iter().map(Vec::len).max().unwrap_or(1);
    let limit = ON_THEIR_WAY.min(BYTES_ON_THEIR_WAY / longest);
    let began = Instant::now();
    let (mut sent, mut received, mut bytes, mut pause) = (0, 0, 0, Pause::default());
    while received < count {
        let room = limit - (sent - received);
        for _ in 0..BATCH.min(room).min(count - sent) {
            if !side.send(sent % CLIENTS, &messages[sent % messages.len()]) {
                break;
            }
            sent += 1;
        }
        side.flush();
        match side.receive(&mut |_, message| bytes += black_box(message).len()) {
            0 => {
                pause.wait();
                assert!(began.elapsed().as_secs() < 60, "only {received} of {sent} messages arrived");
            }
            some => received += some,
        }
    }
    assert!(bytes > 0);
    began.elapsed().as_nanos() as f64 / count as f64
}

/// Sends each message once and returns the sorted deliveries.
fn outcome(side: &mut dyn Side, messages: &[Vec<u8>]) -> Vec<(usize, String)> {
    let mut received = Vec::new();
    for (place, message) in messages.iter().enumerate() {
        assert!(side.send(place % CLIENTS, message));
        side.flush();
        let began = Instant::now();
        while received.len() <= place {
            side.receive(&mut |to, message| {
                received.push((to, String::from_utf8_lossy(message).into_owned()))
            });
            assert!(began.elapsed().as_secs() < 10, "message {place} was not delivered");
        }
    }
    received.sort();
    received
}

/// Whether the worker has a thread of its own.
#[derive(Clone, Copy)]
enum Threads {
    One,
    Two,
}

struct Corelane {
    port: Port,
    clients: Vec<ClientId>,
    handed_out: Vec<(ClientId, u32)>,
    /// The workers that the host drives if there is only one thread.
    workers: Vec<Worker>,
    _router: Router,
}

impl Corelane {
    fn new(names: &[String], threads: Threads) -> Self {
        // The worker spins and is not pinned to the host's core, like the peers.
        let config = Config::default()
            .with(Key::Workers, 1)
            .and_then(|config| config.with(Key::IdleStrategy, 0))
            .and_then(|config| config.with(Key::Pin, 0))
            .unwrap();
        let builder = Builder::new(config);
        let (router, workers) = match threads {
            Threads::One => builder.build().unwrap(),
            Threads::Two => {
                pin(1); // The worker inherits the affinity.
                let router = builder.start().unwrap();
                pin(0);
                (router, Vec::new())
            }
        };
        let mut port = router.port().unwrap();
        let clients = names
            .iter()
            .enumerate()
            .map(|(token, name)| port.connect(name, "peerjs", "app", token as u64).unwrap())
            .collect();
        Self { port, clients, handed_out: Vec::with_capacity(ON_THEIR_WAY), workers, _router: router }
    }
}

impl Side for Corelane {
    fn send(&mut self, from: usize, message: &[u8]) -> bool {
        self.port.submit(self.clients[from], message, 0).is_ok()
    }

    fn flush(&mut self) {
        self.port.publish();
        for worker in &mut self.workers {
            worker.cycle(self.port.clock().raw());
        }
    }

    fn receive(&mut self, each: &mut dyn FnMut(usize, &[u8])) -> usize {
        let handed_out = &mut self.handed_out;
        self.port
            .poll(ON_THEIR_WAY, |event| {
                if let Event::Message(message) = event {
                    each(message.token as usize, message.payload);
                    handed_out.push((message.client, message.payload.len() as u32));
                }
            })
            .unwrap();
        let count = handed_out.len();
        for (client, bytes) in handed_out.drain(..) {
            self.port.acknowledge(client, 1, bytes);
        }
        count
    }
}

struct Job {
    from: usize,
    stamp: u64,
    message: Vec<u8>,
}

struct Delivery {
    to: usize,
    message: Vec<u8>,
}

/// The data that a pool's threads share.
struct Pool {
    by_name: RwLock<HashMap<String, usize>>,
    names: Vec<String>,
    metrics: Metrics,
    clock: quanta::Clock,
    stop: AtomicBool,
}

impl Pool {
    fn new(names: &[String]) -> Arc<Self> {
        let by_name = names.iter().cloned().enumerate().map(|(place, name)| (name, place)).collect();
        Arc::new(Self {
            by_name: RwLock::new(by_name),
            names: names.to_vec(),
            metrics: Metrics::new(),
            clock: quanta::Clock::new(),
            stop: AtomicBool::new(false),
        })
    }

    fn job(&self, from: usize, message: &[u8]) -> Job {
        self.metrics.submitted.inc();
        Job { from, stamp: self.clock.raw(), message: message.to_vec() }
    }

    /// Handles one message on the worker. `started` is the time when the previous message ended. Returns the time
    /// when this message ended.
    fn handle(&self, job: &Job, started: u64, deliver: impl FnOnce(Delivery)) -> u64 {
        let envelope = Envelope::read(&job.message).expect("a message");
        let message_type = TYPES.iter().position(|name| *name == envelope.message_type).expect("a type");
        let to = envelope.dst.and_then(|name| self.by_name.read().unwrap().get(name).copied());
        let sender = &self.names[job.from];
        let mut message = Vec::with_capacity(job.message.len() + sender.len() + 16);
        envelope.relay(sender, &mut message);
        deliver(Delivery { to: to.expect("a recipient"), message });
        self.metrics.emitted.inc();
        let ended = self.clock.raw();
        let wait = self.clock.delta_as_nanos(job.stamp, started);
        let service = self.clock.delta_as_nanos(started, ended);
        self.metrics.record(message_type, job.message.len(), wait, service);
        ended
    }

    fn consume(&self, delivery: &Delivery, each: &mut dyn FnMut(usize, &[u8])) {
        each(delivery.to, &delivery.message);
        self.metrics.consumed.inc();
        self.metrics.bytes_out.inc_by(delivery.message.len() as u64);
    }
}

struct Channels {
    pool: Arc<Pool>,
    jobs: crossbeam_channel::Sender<Job>,
    deliveries: crossbeam_channel::Receiver<Delivery>,
    worker: Option<std::thread::JoinHandle<()>>,
    /// The worker's ends of the channels if there is only one thread.
    inline: Option<(crossbeam_channel::Receiver<Job>, crossbeam_channel::Sender<Delivery>)>,
}

/// Handles the waiting jobs. Returns whether there were any.
fn work_off(
    pool: &Pool,
    to_do: &crossbeam_channel::Receiver<Job>,
    done: &crossbeam_channel::Sender<Delivery>,
) -> bool {
    let mut now = pool.clock.raw();
    let mut any = false;
    for job in to_do.try_iter() {
        now = pool.handle(&job, now, |delivery| done.send(delivery).expect("a host"));
        any = true;
    }
    any
}

impl Channels {
    fn new(names: &[String], threads: Threads) -> Self {
        let pool = Pool::new(names);
        let (jobs, to_do) = crossbeam_channel::bounded::<Job>(4096);
        let (done, deliveries) = crossbeam_channel::bounded(4096);
        if matches!(threads, Threads::One) {
            return Self { pool, jobs, deliveries, worker: None, inline: Some((to_do, done)) };
        }
        let shared = Arc::clone(&pool);
        let worker = std::thread::spawn(move || {
            pin(1);
            let mut pause = Pause::default();
            while !shared.stop.load(Relaxed) {
                if !work_off(&shared, &to_do, &done) {
                    pause.wait();
                }
            }
        });
        Self { pool, jobs, deliveries, worker: Some(worker), inline: None }
    }
}

impl Side for Channels {
    fn flush(&mut self) {
        if let Some((to_do, done)) = &self.inline {
            work_off(&self.pool, to_do, done);
        }
    }

    fn send(&mut self, from: usize, message: &[u8]) -> bool {
        self.jobs.try_send(self.pool.job(from, message)).is_ok()
    }

    fn receive(&mut self, each: &mut dyn FnMut(usize, &[u8])) -> usize {
        self.deliveries.try_iter().map(|delivery| self.pool.consume(&delivery, each)).count()
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        self.pool.stop.store(true, Relaxed);
        let _ = self.worker.take().map(std::thread::JoinHandle::join);
    }
}

struct Tokio {
    pool: Arc<Pool>,
    jobs: Option<tokio::sync::mpsc::Sender<Job>>,
    deliveries: tokio::sync::mpsc::Receiver<Delivery>,
    worker: Option<std::thread::JoinHandle<()>>,
}

impl Tokio {
    fn new(names: &[String]) -> Self {
        let pool = Pool::new(names);
        let (jobs, mut to_do) = tokio::sync::mpsc::channel::<Job>(4096);
        let (done, deliveries) = tokio::sync::mpsc::channel(4096);
        let shared = Arc::clone(&pool);
        let worker = std::thread::spawn(move || {
            pin(1);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut batch = Vec::with_capacity(ON_THEIR_WAY);
                while to_do.recv_many(&mut batch, ON_THEIR_WAY).await > 0 {
                    let mut now = shared.clock.raw();
                    for job in batch.drain(..) {
                        now = shared.handle(&job, now, |delivery| done.try_send(delivery).expect("room"));
                    }
                }
            });
        });
        Self { pool, jobs: Some(jobs), deliveries, worker: Some(worker) }
    }
}

impl Side for Tokio {
    fn send(&mut self, from: usize, message: &[u8]) -> bool {
        self.jobs.as_ref().is_some_and(|jobs| jobs.try_send(self.pool.job(from, message)).is_ok())
    }

    fn receive(&mut self, each: &mut dyn FnMut(usize, &[u8])) -> usize {
        let mut count = 0;
        while let Ok(delivery) = self.deliveries.try_recv() {
            self.pool.consume(&delivery, each);
            count += 1;
        }
        count
    }
}

impl Drop for Tokio {
    fn drop(&mut self) {
        self.jobs = None;
        let _ = self.worker.take().map(std::thread::JoinHandle::join);
    }
}

/// The floor: sends messages there and back through two of corelane's rings. The worker thread copies them, and
/// neither parses nor records.
struct Bare {
    jobs: corelane::ring::Producer,
    deliveries: corelane::ring::Consumer,
    stop: Arc<AtomicBool>,
    worker: Option<std::thread::JoinHandle<()>>,
}

impl Bare {
    fn new() -> Self {
        let (jobs, mut to_do) = corelane::ring::ring(8 << 20).unwrap();
        let (mut done, deliveries) = corelane::ring::ring(8 << 20).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let worker = std::thread::spawn(move || {
            pin(1);
            let mut pause = Pause::default();
            while !stopped.load(Relaxed) {
                if !to_do.refresh().unwrap() {
                    pause.wait();
                    continue;
                }
                while let Some(record) = to_do.next().unwrap() {
                    done.claim(record.bytes.len(), 1, 0).unwrap()[8..].copy_from_slice(&record.bytes[8..]);
                    done.commit();
                }
                to_do.release();
                done.publish();
            }
        });
        Self { jobs, deliveries, stop, worker: Some(worker) }
    }
}

impl Side for Bare {
    fn send(&mut self, _: usize, message: &[u8]) -> bool {
        let Ok(record) = self.jobs.claim(8 + message.len(), 1, 0) else { return false };
        record[8..].copy_from_slice(message);
        self.jobs.commit();
        true
    }

    fn flush(&mut self) {
        self.jobs.publish();
    }

    fn receive(&mut self, each: &mut dyn FnMut(usize, &[u8])) -> usize {
        let mut count = 0;
        if self.deliveries.refresh().unwrap() {
            while let Some(record) = self.deliveries.next().unwrap() {
                each(0, &record.bytes[8..]);
                count += 1;
            }
            self.deliveries.release();
        }
        count
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let _ = self.worker.take().map(std::thread::JoinHandle::join);
    }
}

/// Creates a new side for every round, because a spinning side would take the core from the other.
fn measure(make: &dyn Fn() -> Box<dyn Side>, messages: &[Vec<u8>], count: usize) -> f64 {
    let mut side = make();
    exchange(side.as_mut(), messages, count / 10);
    exchange(side.as_mut(), messages, count)
}

/// Runs on a thread of its own, because the thread is pinned.
pub fn run(report: &mut Report) {
    std::thread::scope(|scope| scope.spawn(|| run_pinned(report)).join().expect("the host's thread"));
}

fn run_pinned(report: &mut Report) {
    pin(0);
    let names = names();
    let small = messages::candidates_of(200, &names);
    let large = messages::set(Kind::Offer, true, &names);
    let one = || Box::new(Corelane::new(&names, Threads::One)) as Box<dyn Side>;
    let two = || Box::new(Corelane::new(&names, Threads::Two)) as Box<dyn Side>;
    let inline = || Box::new(Channels::new(&names, Threads::One)) as Box<dyn Side>;
    let pool = || Box::new(Channels::new(&names, Threads::Two)) as Box<dyn Side>;
    let tokio = || Box::new(Tokio::new(&names)) as Box<dyn Side>;
    let bare = || Box::new(Bare::new()) as Box<dyn Side>;
    type Make<'a> = &'a dyn Fn() -> Box<dyn Side>;
    let channels = "crossbeam-channel pool + prometheus";
    /// Case, messages, count, our side, name of the peer, the peer's side.
    type Race<'a> = (&'a str, &'a [Vec<u8>], usize, Make<'a>, &'a str, Make<'a>);
    let races: [Race<'_>; 7] = [
        ("200 bytes", &small, 100_000, &two, channels, &pool),
        ("200 bytes", &small, 100_000, &two, "tokio mpsc pool + prometheus", &tokio),
        ("200 bytes", &small, 100_000, &two, "floor: two bare rings, memcpy", &bare),
        ("200 bytes, one thread", &small, 50_000, &one, channels, &inline),
        ("SDP offer 3 KiB", &large, 15_000, &two, channels, &pool),
        ("SDP offer 3 KiB", &large, 15_000, &two, "tokio mpsc pool + prometheus", &tokio),
        ("SDP offer 3 KiB", &large, 15_000, &two, "floor: two bare rings, memcpy", &bare),
    ];
    for (case, messages, count, ours, peer, theirs) in races {
        if !peer.starts_with("floor") {
            assert_eq!(outcome(ours().as_mut(), messages), outcome(theirs().as_mut(), messages), "{peer}");
        }
        let pair = Pair {
            bench: "router",
            case: case.to_owned(),
            unit: "ns/message",
            peer: peer.to_owned(),
            better: Better::Lower,
        };
        report.race(&pair, || measure(ours, messages, count), || measure(theirs, messages, count));
    }
}
