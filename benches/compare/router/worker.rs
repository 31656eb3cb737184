//! A worker's own time for each kind of message, without the host's part: one thread, a batch of 32 messages, and the
//! clock around the worker's step only. The peer is the worker of the crossbeam pool, which does the same for the
//! message. A `route` is the whole time of a synchronous call between two threads.

use super::bare::copy;
use super::corelane::start;
use super::pool::{Job, Pool, work_off};
use super::side::{BATCH, CLIENTS, Idle, Threads, names};
use super::{CROSSBEAM, FLOOR, on_first_core};
use crate::messages::{self, Kind};
use crate::race::{Better, Pair, Report, pin};
use corelane::clients::ClientId;
use corelane::ring::{Consumer, Producer, ring};
use corelane::router::{Action, Builder, Event, Port, ProtocolRules, Routed, Router, TaskId, Worker};
use crossbeam_channel as crossbeam;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the worker does with a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Pass the bytes on, unread, to a recipient that the host names.
    Opaque,
    /// Read it, and relay it to the recipient that it names.
    Relay,
    /// Read it, hand it to the host as a task, and send the host's answer to the sender.
    Task,
}

const ANSWER: &[u8] = br#"{"type":"done"}"#;

/// One side, on one thread. `submit` sends a message, `work` runs the worker, `drain` takes all deliveries.
trait Step {
    fn submit(&mut self, from: usize, message: &[u8]);
    /// Makes the batch visible to the worker.
    fn publish(&mut self) {}
    fn work(&mut self);
    fn drain(&mut self);
}

/// Nanoseconds of the worker per message.
fn measure(side: &mut dyn Step, messages: &[Vec<u8>], count: usize) -> f64 {
    let mut nanoseconds = 0;
    let batches = count.div_ceil(BATCH);
    for batch in 0..batches {
        for place in batch * BATCH..(batch + 1) * BATCH {
            side.submit(place % CLIENTS, &messages[place % messages.len()]);
        }
        side.publish();
        let began = Instant::now();
        side.work();
        nanoseconds += began.elapsed().as_nanos();
        side.drain();
    }
    nanoseconds as f64 / (batches * BATCH) as f64
}

struct Ours {
    port: Port,
    worker: Worker,
    clients: Vec<ClientId>,
    work: Work,
    tasks: Vec<TaskId>,
    written: Vec<(ClientId, u32, u32)>,
    router: Router,
}

impl Ours {
    fn new(names: &[String], work: Work) -> Self {
        let mut builder = Builder::new("workers=1".parse().unwrap());
        if work == Work::Task {
            let rules = ProtocolRules::new(ProtocolRules::peerjs().protocol().clone());
            builder = builder.protocol(rules.message_type("CANDIDATE", Action::Host { hold: false }));
        }
        let (router, mut workers) = builder.build().unwrap();
        let mut port = router.port().unwrap();
        let connect =
            |(token, name): (usize, &String)| port.connect(name, "peerjs", "app", token as u64).unwrap();
        let clients = names.iter().enumerate().map(connect).collect();
        let worker = workers.pop().unwrap();
        Self { port, worker, clients, work, tasks: Vec::new(), written: Vec::new(), router }
    }
}

impl Step for Ours {
    fn submit(&mut self, from: usize, message: &[u8]) {
        match self.work {
            Work::Opaque => self.port.send(self.clients[from], message, 0).unwrap(),
            Work::Relay | Work::Task => self.port.submit(self.clients[from], message, 0).unwrap(),
        }
    }

    fn publish(&mut self) {
        self.port.publish();
    }

    fn work(&mut self) {
        let now = self.port.clock().now();
        if self.work != Work::Task {
            self.worker.cycle(now);
            return;
        }
        self.worker.take(now, BATCH, |task| self.tasks.push(task.id()));
        for task in self.tasks.drain(..) {
            self.worker
                .done_with(task, Duration::from_nanos(100), |request| request.reply(black_box(ANSWER)))
                .unwrap();
        }
        self.worker.flush();
    }

    fn drain(&mut self) {
        let written = &mut self.written;
        self.port
            .poll_each(usize::MAX, |event| {
                if let Event::Message(message) = event {
                    written.push((message.client, 1, black_box(message.payload).len() as u32));
                }
            })
            .unwrap();
        self.port.acknowledge_batch(written.drain(..));
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let accounting = self.router.accounting();
        assert_eq!((accounting.failed, accounting.refused, accounting.expired), (0, 0, 0), "{accounting:?}");
    }
}

struct Theirs {
    pool: Arc<Pool>,
    jobs: (crossbeam::Sender<Job>, crossbeam::Receiver<Job>),
    deliveries: (crossbeam::Sender<super::pool::Delivery>, crossbeam::Receiver<super::pool::Delivery>),
    work: Work,
}

impl Theirs {
    fn new(names: &[String], work: Work) -> Self {
        Self {
            pool: Pool::new(names, false),
            jobs: crossbeam::bounded(1024),
            deliveries: crossbeam::bounded(1024),
            work,
        }
    }
}

impl Step for Theirs {
    fn submit(&mut self, from: usize, message: &[u8]) {
        self.jobs.0.try_send(self.pool.job(from, message)).unwrap();
    }

    fn work(&mut self) {
        let (pool, to_do, done) = (&self.pool, &self.jobs.1, &self.deliveries.0);
        let deliver = |delivery| done.send(delivery).expect("a host");
        let mut now = pool.clock.raw();
        match self.work {
            Work::Relay => work_off(pool, to_do, deliver),
            Work::Opaque => {
                for job in to_do.try_iter() {
                    now = pool.forward(job, now, deliver);
                }
            }
            Work::Task => {
                for job in to_do.try_iter() {
                    now = pool.answer(&job, black_box(ANSWER), now, deliver);
                }
            }
        }
    }

    fn drain(&mut self) {
        for delivery in self.deliveries.1.try_iter() {
            self.pool.consume(&delivery, &mut |_, message| {
                black_box(message);
            });
        }
    }
}

struct Floor {
    to_worker: (Producer, Consumer),
    to_host: (Producer, Consumer),
}

impl Step for Floor {
    fn submit(&mut self, _: usize, message: &[u8]) {
        self.to_worker.0.claim(8 + message.len(), 1, 0).unwrap()[8..].copy_from_slice(message);
        self.to_worker.0.commit();
    }

    fn publish(&mut self) {
        self.to_worker.0.publish();
    }

    fn work(&mut self) {
        copy(&mut self.to_worker.1, &mut self.to_host.0);
    }

    fn drain(&mut self) {
        assert!(self.to_host.1.refresh().unwrap());
        while let Some(record) = self.to_host.1.next().unwrap() {
            black_box(record.bytes);
        }
        self.to_host.1.release();
    }
}

fn pair(case: &str, peer: &str) -> Pair {
    Pair {
        bench: "worker",
        case: case.to_owned(),
        unit: "ns/message",
        peer: peer.to_owned(),
        better: Better::Lower,
    }
}

fn race(report: &mut Report, case: &str, work: Work, messages: &[Vec<u8>], count: usize) {
    let names = names(CLIENTS);
    let floor = Floor { to_worker: ring(1 << 20).unwrap(), to_host: ring(1 << 20).unwrap() };
    let mut sides: [(&str, Box<dyn Step>); 3] = [
        ("corelane", Box::new(Ours::new(&names, work))),
        (CROSSBEAM, Box::new(Theirs::new(&names, work))),
        (FLOOR, Box::new(floor)),
    ];
    let count = report.work(count);
    let results = report.rounds(&mut sides, |(_, side)| measure(side.as_mut(), messages, count));
    for (place, (peer, _)) in sides.iter().enumerate().skip(1) {
        let both: Vec<_> = results.iter().map(|round| (round[0], round[place])).collect();
        report.add(&pair(case, peer), &both);
    }
}

/// A synchronous call at a time: it returns when the worker has handled the message.
fn route(report: &mut Report, messages: &[Vec<u8>], count: usize) {
    let names = names(CLIENTS);
    let count = report.work(count);
    let ours = || {
        let (router, _) = start(Threads::Workers(1, Idle::Spin));
        let mut port = router.port().unwrap();
        let clients: Vec<_> =
            names.iter().map(|name| port.connect(name, "peerjs", "app", 1).unwrap()).collect();
        let mut nanoseconds = 0;
        for place in 0..count {
            let (client, message) = (clients[place % CLIENTS], &messages[place % messages.len()]);
            let began = Instant::now();
            let routed = port.route(client, message, Duration::from_secs(10));
            nanoseconds += began.elapsed().as_nanos();
            assert_eq!(routed, Ok(Routed::Delivered));
            let mut written = None;
            while written.is_none() {
                let take = |event: Event<'_>| {
                    if let Event::Message(message) = event {
                        written = Some((message.client, 1, message.payload.len() as u32));
                    }
                };
                port.poll_each(1, take).unwrap();
            }
            port.acknowledge_batch(written);
        }
        nanoseconds as f64 / count as f64
    };
    let theirs = || {
        let pool = Pool::new(&names, false);
        let (jobs, to_do) = crossbeam::bounded::<(Job, crossbeam::Sender<()>)>(1024);
        let (done, deliveries) = crossbeam::bounded(1024);
        let mut nanoseconds = 0;
        std::thread::scope(|scope| {
            let shared = &pool;
            scope.spawn(move || {
                pin(1);
                loop {
                    match to_do.try_recv() {
                        Ok((job, answer)) => {
                            let started = shared.clock.raw();
                            shared.handle(&job, started, |delivery| done.send(delivery).expect("a host"));
                            answer.send(()).expect("a caller");
                        }
                        Err(crossbeam::TryRecvError::Empty) => std::hint::spin_loop(),
                        Err(crossbeam::TryRecvError::Disconnected) => return,
                    }
                }
            });
            let (answer, answered) = crossbeam::bounded(1);
            for place in 0..count {
                let began = Instant::now();
                let job = pool.job(place % CLIENTS, &messages[place % messages.len()]);
                jobs.send((job, answer.clone())).expect("a worker");
                answered.recv().expect("a worker");
                nanoseconds += began.elapsed().as_nanos();
                pool.consume(&deliveries.recv().expect("a worker"), &mut |_, _| {});
            }
            drop(jobs);
        });
        nanoseconds as f64 / count as f64
    };
    report.race(&pair("route, one call at a time", "crossbeam-channel, reply channel"), ours, theirs);
}

pub fn run(report: &mut Report) {
    on_first_core(|| {
        let names = names(CLIENTS);
        let small = messages::candidates_of(200, &names);
        race(report, "opaque, 200 bytes", Work::Opaque, &small, 60_000);
        race(report, "ping", Work::Relay, &messages::set(Kind::Heartbeat, true, &names), 60_000);
        race(report, "candidate, 200 bytes", Work::Relay, &small, 60_000);
        race(report, "offer, 3 KiB", Work::Relay, &messages::set(Kind::Offer, true, &names), 15_000);
        race(report, "host task, 200 bytes", Work::Task, &small, 30_000);
        route(report, &small, 20_000);
    });
}
