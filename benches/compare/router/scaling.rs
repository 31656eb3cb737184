//! Thread per core: each of N threads has its own clients and a worker, and sends to the clients of all threads in
//! turn. N goes from 1 to the number of cores. The floor is N threads that do not share anything.

use super::bare::copy;
use super::on_first_core;
use super::pool::{Delivery, Job, Pool, work_off};
use super::side::{BATCH, CLIENTS, names};
use super::{CROSSBEAM, FLOOR};
use crate::messages;
use crate::race::{Better, Pair, Report, pin};
use corelane::clients::ClientId;
use corelane::config::Config;
use corelane::ring::{Consumer, Producer, ring};
use corelane::router::{Builder, Event, Port, Router, Worker};
use crossbeam_channel as crossbeam;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// The maximum number of messages that one thread has in flight.
const ON_THEIR_WAY: usize = 256;

/// One of the threads.
trait Lane: Send {
    fn send(&mut self, from: usize, message: &[u8]) -> bool;
    /// Makes the batch visible, and runs the worker.
    fn work(&mut self);
    /// Takes the deliveries to this thread's clients.
    fn receive(&mut self) -> usize;
}

/// Each thread sends `count` messages and continues until all messages of all threads have arrived. Returns millions of
/// messages per second.
fn exchange(lanes: Vec<Box<dyn Lane>>, messages: &[Vec<Vec<u8>>], count: usize) -> f64 {
    let threads = lanes.len();
    let (start, arrived) = (Barrier::new(threads), AtomicUsize::new(0));
    let seconds = std::thread::scope(|scope| {
        let run = |(place, mut lane): (usize, Box<dyn Lane>)| {
            let (start, arrived, messages) = (&start, &arrived, &messages[place]);
            scope.spawn(move || {
                pin(place);
                start.wait();
                let began = Instant::now();
                let (mut sent, mut received) = (0, 0);
                while arrived.load(Relaxed) < count * threads {
                    // A thread that receives more than it sends must not send without a limit.
                    let limit = (received + ON_THEIR_WAY).min(count);
                    for _ in 0..BATCH.min(limit.saturating_sub(sent)) {
                        if !lane.send(sent % CLIENTS, &messages[sent % messages.len()]) {
                            break;
                        }
                        sent += 1;
                    }
                    lane.work();
                    let some = lane.receive();
                    if some == 0 {
                        std::thread::yield_now(); // More threads than cores, or a thread that is done.
                    } else {
                        received += some;
                        arrived.fetch_add(some, Relaxed);
                    }
                    assert!(began.elapsed().as_secs() < 60, "{sent} sent, {received} received");
                }
                (began.elapsed(), lane)
            })
        };
        let threads: Vec<_> = lanes.into_iter().enumerate().map(run).collect();
        // The lanes are dropped when all threads are done.
        let ended: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("a lane")).collect();
        ended.iter().map(|(took, _)| took.as_secs_f64()).fold(0.0, f64::max)
    });
    (count * threads) as f64 / seconds / 1e6
}

struct Ours {
    port: Port,
    worker: Worker,
    clients: Vec<ClientId>,
    written: Vec<(ClientId, u32, u32)>,
    _router: Arc<Router>,
}

fn ours(names: &[Vec<String>]) -> Vec<Box<dyn Lane>> {
    let count = names.len() as u32;
    let mut config = Config::default();
    config.router.workers = Some(count);
    config.router.max_ports = count.max(8);
    let (router, workers) = Builder::new(config).build().unwrap();
    let router = Arc::new(router);
    let lane = |(worker, names): (Worker, &Vec<String>)| {
        let mut port = router.port().unwrap();
        let clients = names.iter().map(|name| port.connect(name, "peerjs", "app", 0).unwrap()).collect();
        let lane = Ours { port, worker, clients, written: Vec::new(), _router: Arc::clone(&router) };
        Box::new(lane) as Box<dyn Lane>
    };
    workers.into_iter().zip(names).map(lane).collect()
}

impl Lane for Ours {
    fn send(&mut self, from: usize, message: &[u8]) -> bool {
        self.port.submit(self.clients[from], message, 0).is_ok()
    }

    fn work(&mut self) {
        self.port.publish();
        self.worker.cycle(self.port.clock().now());
    }

    fn receive(&mut self) -> usize {
        let written = &mut self.written;
        let take = |event: Event<'_>| {
            if let Event::Message(message) = event {
                written.push((message.client, 1, black_box(message.payload).len() as u32));
            }
        };
        self.port.poll_each(1024, take).unwrap();
        let count = written.len();
        self.port.acknowledge_batch(written.drain(..));
        count
    }
}

/// The threads take jobs from one queue. Each has a queue of deliveries to its own clients.
struct Theirs {
    pool: Arc<Pool>,
    place: usize,
    jobs: (crossbeam::Sender<Job>, crossbeam::Receiver<Job>),
    to: Vec<crossbeam::Sender<Delivery>>,
    deliveries: crossbeam::Receiver<Delivery>,
}

fn theirs(names: &[Vec<String>]) -> Vec<Box<dyn Lane>> {
    let pool = Pool::new(&names.concat(), false);
    let jobs = crossbeam::bounded(ON_THEIR_WAY * names.len());
    let capacity = ON_THEIR_WAY * names.len();
    let (to, deliveries): (Vec<_>, Vec<_>) = names.iter().map(|_| crossbeam::bounded(capacity)).unzip();
    let lane = |(place, deliveries)| {
        let lane = Theirs { pool: Arc::clone(&pool), place, jobs: jobs.clone(), to: to.clone(), deliveries };
        Box::new(lane) as Box<dyn Lane>
    };
    deliveries.into_iter().enumerate().map(lane).collect()
}

impl Lane for Theirs {
    fn send(&mut self, from: usize, message: &[u8]) -> bool {
        self.jobs.0.try_send(self.pool.job(self.place * CLIENTS + from, message)).is_ok()
    }

    fn work(&mut self) {
        work_off(&self.pool, &self.jobs.1, |delivery| {
            self.to[delivery.to() / CLIENTS].send(delivery).expect("a lane");
        });
    }

    fn receive(&mut self) -> usize {
        let consume = |delivery| {
            self.pool.consume(&delivery, &mut |_, message| {
                black_box(message);
            });
        };
        self.deliveries.try_iter().take(1024).map(consume).count()
    }
}

struct Alone {
    jobs: (Producer, Consumer),
    deliveries: (Producer, Consumer),
}

fn alone(names: &[Vec<String>]) -> Vec<Box<dyn Lane>> {
    let lane = |_| {
        let lane = Alone { jobs: ring(1 << 20).unwrap(), deliveries: ring(1 << 20).unwrap() };
        Box::new(lane) as Box<dyn Lane>
    };
    names.iter().map(lane).collect()
}

impl Lane for Alone {
    fn send(&mut self, _: usize, message: &[u8]) -> bool {
        let Ok(record) = self.jobs.0.claim(8 + message.len(), 1, 0) else { return false };
        record[8..].copy_from_slice(message);
        self.jobs.0.commit();
        true
    }

    fn work(&mut self) {
        self.jobs.0.publish();
        copy(&mut self.jobs.1, &mut self.deliveries.0);
    }

    fn receive(&mut self) -> usize {
        let mut count = 0;
        if self.deliveries.1.refresh().unwrap() {
            while let Some(record) = self.deliveries.1.next().unwrap() {
                black_box(record.bytes);
                count += 1;
            }
            self.deliveries.1.release();
        }
        count
    }
}

type Make = fn(&[Vec<String>]) -> Vec<Box<dyn Lane>>;

pub fn run(report: &mut Report) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let numbers: Vec<usize> = match cores {
        0..=4 => (1..=cores).collect(),
        // The powers of two, and all cores.
        _ => {
            (0..usize::BITS).map(|bit| 1 << bit).take_while(|number| *number < cores).chain([cores]).collect()
        }
    };
    let sides: [(&str, Make); 3] = [("corelane", ours), (CROSSBEAM, theirs), (FLOOR, alone)];
    let count = report.work(60_000);
    on_first_core(|| {
        let all_names: Vec<Vec<String>> =
            names(CLIENTS * cores).chunks(CLIENTS).map(<[String]>::to_vec).collect();
        // A side with a number of threads.
        let mut lanes: Vec<(usize, Make)> =
            numbers.iter().flat_map(|number| sides.map(|(_, make)| (*number, make))).collect();
        let results = report.rounds(&mut lanes, |(threads, make)| {
            let names = &all_names[..*threads];
            // A thread sends to all threads in turn, so that each receives as many messages as it sends.
            let in_turn: Vec<String> = (0..CLIENTS)
                .flat_map(|client| names.iter().map(move |names| names[client].clone()))
                .collect();
            let messages: Vec<_> = (0..*threads)
                .map(|thread| {
                    let mut in_turn = in_turn.clone();
                    in_turn.rotate_left(thread);
                    messages::candidates_in_turn(200, &in_turn)
                })
                .collect();
            exchange(make(names), &messages, count)
        });
        let column = |number: usize, side: usize| -> Vec<f64> {
            results.iter().map(|round| round[number * sides.len() + side]).collect()
        };
        let zip =
            |ours: Vec<f64>, theirs: Vec<f64>| -> Vec<(f64, f64)> { ours.into_iter().zip(theirs).collect() };
        for (number, threads) in numbers.iter().enumerate() {
            for (side, (peer, _)) in sides.iter().enumerate().skip(1) {
                let pair = Pair {
                    bench: "scaling",
                    case: format!("{threads} thread{}", if *threads == 1 { "" } else { "s" }),
                    unit: "million/s",
                    peer: (*peer).to_owned(),
                    better: Better::Higher,
                };
                report.add(&pair, &zip(column(number, 0), column(number, side)));
            }
        }
        for (number, threads) in numbers.iter().enumerate().skip(1) {
            for (side, (name, _)) in sides.iter().enumerate() {
                let pair = Pair {
                    bench: "efficiency",
                    case: (*name).to_owned(),
                    unit: "million/s",
                    peer: format!("{threads} threads against {threads} times 1"),
                    better: Better::Higher,
                };
                let perfect = column(0, side).into_iter().map(|alone| alone * *threads as f64).collect();
                report.add(&pair, &zip(column(number, side), perfect));
            }
        }
    });
}
