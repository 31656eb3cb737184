//! The pools that a host would otherwise write: workers behind the channels of crossbeam or of tokio. A worker does
//! what corelane's does: it parses with serde_json and borrowed fields, looks up the recipient or the room under a
//! read lock, rewrites the message, records with prometheus and resolved handles, and reads the same cycle counter.

use super::side::{DELIVERIES, Idle, ON_THEIR_WAY, Side, Threads};
use crate::peers::{Envelope, Metrics, RoomEnvelope, TYPES};
use crate::race::{Pause, pin};
use crossbeam_channel as crossbeam;
use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;

pub struct Job {
    from: usize,
    stamp: u64,
    message: Vec<u8>,
}

/// A payload for one recipient, or one that the members of a room share.
pub enum Payload {
    Own(Vec<u8>),
    Shared(Arc<Vec<u8>>),
}

pub struct Delivery {
    to: usize,
    payload: Payload,
}

impl Delivery {
    pub fn to(&self) -> usize {
        self.to
    }

    fn bytes(&self) -> &[u8] {
        match &self.payload {
            Payload::Own(bytes) => bytes,
            Payload::Shared(bytes) => bytes,
        }
    }
}

/// The data that a pool's threads share.
pub struct Pool {
    by_name: RwLock<HashMap<String, usize>>,
    /// The members of each room.
    rooms: RwLock<HashMap<String, Vec<usize>>>,
    to_rooms: bool,
    names: Vec<String>,
    pub metrics: Metrics,
    pub clock: quanta::Clock,
}

impl Pool {
    /// With `to_rooms` all messages go to a room, of which all clients are members.
    pub fn new(names: &[String], to_rooms: bool) -> Arc<Self> {
        let by_name = names.iter().cloned().enumerate().map(|(place, name)| (name, place)).collect();
        Arc::new(Self {
            by_name: RwLock::new(by_name),
            rooms: RwLock::new([("room".to_owned(), (0..names.len()).collect())].into()),
            to_rooms,
            names: names.to_vec(),
            metrics: Metrics::new(),
            clock: quanta::Clock::new(),
        })
    }

    pub fn job(&self, from: usize, message: &[u8]) -> Job {
        self.metrics.submitted.inc();
        Job { from: from % self.names.len(), stamp: self.clock.raw(), message: message.to_vec() }
    }

    /// Handles one message on the worker. `started` is the time when the previous message ended. Returns the time
    /// when this message ended.
    pub fn handle(&self, job: &Job, started: u64, mut deliver: impl FnMut(Delivery)) -> u64 {
        let sender = &self.names[job.from];
        let mut relayed = Vec::with_capacity(job.message.len() + sender.len() + 16);
        if self.to_rooms {
            let envelope = RoomEnvelope::read(&job.message).expect("a message to a room");
            envelope.relay(sender, &mut relayed);
            let relayed = Arc::new(relayed);
            let rooms = self.rooms.read().unwrap();
            let members = rooms.get(envelope.room).expect("a room");
            for to in members.iter().copied().filter(|member| *member != job.from) {
                deliver(Delivery { to, payload: Payload::Shared(Arc::clone(&relayed)) });
            }
            self.metrics.emitted.inc_by(members.len() as u64 - 1);
            return self.end(job.stamp, job.message.len(), envelope.message_type, started);
        }
        let envelope = Envelope::read(&job.message).expect("a message");
        if let Some(dst) = envelope.dst {
            let to = self.by_name.read().unwrap().get(dst).copied().expect("a recipient");
            envelope.relay(sender, &mut relayed);
            deliver(Delivery { to, payload: Payload::Own(relayed) });
            self.metrics.emitted.inc();
        }
        self.end(job.stamp, job.message.len(), envelope.message_type, started)
    }

    /// Passes the bytes on, unread, to the client that the host has named in the job.
    pub fn forward(&self, job: Job, started: u64, deliver: impl FnOnce(Delivery)) -> u64 {
        let (to, stamp, bytes) = (job.from, job.stamp, job.message.len());
        deliver(Delivery { to, payload: Payload::Own(job.message) });
        self.metrics.emitted.inc();
        self.end(stamp, bytes, "CANDIDATE", started)
    }

    /// Reads the message and answers its sender.
    pub fn answer(&self, job: &Job, answer: &[u8], started: u64, deliver: impl FnOnce(Delivery)) -> u64 {
        let envelope = Envelope::read(&job.message).expect("a message");
        deliver(Delivery { to: job.from, payload: Payload::Own(answer.to_vec()) });
        self.metrics.emitted.inc();
        self.end(job.stamp, job.message.len(), envelope.message_type, started)
    }

    fn end(&self, stamp: u64, bytes: usize, message_type: &str, started: u64) -> u64 {
        let message_type = TYPES.iter().position(|name| *name == message_type).expect("a type");
        let ended = self.clock.raw();
        let wait = self.clock.delta_as_nanos(stamp, started);
        let service = self.clock.delta_as_nanos(started, ended);
        self.metrics.record(message_type, bytes, wait, service);
        ended
    }

    pub fn consume(&self, delivery: &Delivery, each: &mut dyn FnMut(usize, &[u8])) {
        each(delivery.to, delivery.bytes());
        self.metrics.consumed.inc();
        self.metrics.bytes_out.inc_by(delivery.bytes().len() as u64);
    }
}

pub struct Channels {
    pool: Arc<Pool>,
    jobs: Option<crossbeam::Sender<Job>>,
    deliveries: crossbeam::Receiver<Delivery>,
    workers: Vec<JoinHandle<()>>,
    /// The worker's ends of the channels if there is only one thread.
    inline: Option<(crossbeam::Receiver<Job>, crossbeam::Sender<Delivery>)>,
}

/// Handles the waiting jobs, but no more than a batch of corelane's workers.
pub fn work_off(pool: &Pool, to_do: &crossbeam::Receiver<Job>, mut deliver: impl FnMut(Delivery)) {
    let mut now = pool.clock.raw();
    for job in to_do.try_iter().take(256) {
        now = pool.handle(&job, now, &mut deliver);
    }
}

/// A worker's thread, until the host has dropped its end.
fn work(pool: &Pool, to_do: &crossbeam::Receiver<Job>, done: &crossbeam::Sender<Delivery>, idle: Idle) {
    let mut pause = Pause::default();
    loop {
        let first = match idle {
            Idle::Spin => match to_do.try_recv() {
                Err(crossbeam::TryRecvError::Empty) => {
                    pause.wait();
                    continue;
                }
                first => first.ok(),
            },
            Idle::Backoff | Idle::Park => to_do.recv().ok(),
        };
        let Some(first) = first else { return };
        let mut deliver = |delivery| done.send(delivery).expect("a host");
        pool.handle(&first, pool.clock.raw(), &mut deliver);
        work_off(pool, to_do, deliver);
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Channels {
    pub fn new(names: &[String], threads: Threads, to_rooms: bool) -> Self {
        let pool = Pool::new(names, to_rooms);
        let (jobs, to_do) = crossbeam::bounded::<Job>(DELIVERIES);
        let (done, deliveries) = crossbeam::bounded(DELIVERIES);
        let (count, idle) = match threads {
            Threads::One => {
                let inline = Some((to_do, done));
                return Self { pool, jobs: Some(jobs), deliveries, workers: Vec::new(), inline };
            }
            Threads::Workers(count, idle) => (count, idle),
            Threads::Default => (cores(), Idle::Backoff),
        };
        let worker = |_| {
            let (pool, to_do, done) = (Arc::clone(&pool), to_do.clone(), done.clone());
            std::thread::spawn(move || {
                if count == 1 {
                    pin(1);
                }
                work(&pool, &to_do, &done, idle);
            })
        };
        let workers = (0..count).map(worker).collect();
        Self { pool, jobs: Some(jobs), deliveries, workers, inline: None }
    }
}

impl Side for Channels {
    fn flush(&mut self) {
        if let Some((to_do, done)) = &self.inline {
            work_off(&self.pool, to_do, |delivery| done.send(delivery).expect("a host"));
        }
    }

    fn send(&mut self, from: usize, message: &[u8]) -> bool {
        self.jobs.as_ref().is_some_and(|jobs| jobs.try_send(self.pool.job(from, message)).is_ok())
    }

    fn receive(&mut self, each: &mut dyn FnMut(usize, &[u8])) -> usize {
        self.deliveries.try_iter().map(|delivery| self.pool.consume(&delivery, each)).count()
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        self.jobs = None;
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

pub struct Tokio {
    pool: Arc<Pool>,
    /// A channel for each worker, because a receiver has one owner. A client always has the same worker.
    jobs: Vec<tokio::sync::mpsc::Sender<Job>>,
    deliveries: tokio::sync::mpsc::Receiver<Delivery>,
    runtime: Option<JoinHandle<()>>,
}

impl Tokio {
    pub fn new(names: &[String], threads: Threads, to_rooms: bool) -> Self {
        let pool = Pool::new(names, to_rooms);
        let count = match threads {
            Threads::One => panic!("the host is no task"),
            Threads::Workers(count, _) => count,
            Threads::Default => cores(),
        };
        let (done, deliveries) = tokio::sync::mpsc::channel(DELIVERIES);
        let (jobs, to_do): (Vec<_>, Vec<_>) =
            (0..count).map(|_| tokio::sync::mpsc::channel::<Job>(DELIVERIES)).unzip();
        let shared = Arc::clone(&pool);
        let runtime = std::thread::spawn(move || {
            let runtime = if count == 1 {
                pin(1);
                tokio::runtime::Builder::new_current_thread().build()
            } else {
                tokio::runtime::Builder::new_multi_thread().worker_threads(count).build()
            };
            let runtime = runtime.unwrap();
            let workers: Vec<_> = to_do
                .into_iter()
                .map(|to_do| runtime.spawn(Self::work(Arc::clone(&shared), to_do, done.clone())))
                .collect();
            runtime.block_on(async {
                for worker in workers {
                    worker.await.expect("a worker");
                }
            });
        });
        Self { pool, jobs, deliveries, runtime: Some(runtime) }
    }

    async fn work(
        pool: Arc<Pool>,
        mut to_do: tokio::sync::mpsc::Receiver<Job>,
        done: tokio::sync::mpsc::Sender<Delivery>,
    ) {
        let mut batch = Vec::with_capacity(ON_THEIR_WAY);
        while to_do.recv_many(&mut batch, ON_THEIR_WAY).await > 0 {
            let mut now = pool.clock.raw();
            for job in batch.drain(..) {
                now = pool.handle(&job, now, |delivery| done.try_send(delivery).expect("room"));
            }
        }
    }
}

impl Side for Tokio {
    fn send(&mut self, from: usize, message: &[u8]) -> bool {
        let job = self.pool.job(from, message);
        let count = self.jobs.len();
        self.jobs.get(from % count.max(1)).is_some_and(|jobs| jobs.try_send(job).is_ok())
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
        self.jobs.clear();
        let _ = self.runtime.take().map(JoinHandle::join);
    }
}
