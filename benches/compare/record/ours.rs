//! Corelane's ways to record. The first, a thread's own recorder, is the one that peers are compared with.

use super::{Recording, Side, cycle};
use crate::peers::TYPES;
use corelane::clients::ClientId;
use corelane::config::Config;
use corelane::monitor::Monitor;
use corelane::record::{Labels, Measured};
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub fn sides() -> Vec<Box<dyn Side>> {
    vec![
        Box::new(Host::new("own recorder", Way::Alone { client: false })),
        Box::new(Host::new("own recorder, with client", Way::Alone { client: true })),
        Box::new(Host::new("own recorder, batches", Way::Batches { client: false })),
        Box::new(Host::new("own recorder, batches, with client", Way::Batches { client: true })),
        Box::new(Host::new("shared cells", Way::Shared { client: false })),
        Box::new(Host::new("shared cells, with client", Way::Shared { client: true })),
        Box::new(Worker { totals: Arc::default() }),
    ]
}

const BATCH: usize = 32;

#[derive(Clone, Copy)]
enum Way {
    /// Uses `Recorder::record`.
    Alone { client: bool },
    /// Uses `Recorder::batch`: one clock reading for [`BATCH`] messages.
    Batches { client: bool },
    /// Uses `Monitor::record_labelled`: threads share four sets of cells.
    Shared { client: bool },
}

/// A host that reports to a monitor. Labels and clients are looked up once. With a client, each thread reports one
/// client of its own, because a connection belongs to one network thread. A client's six figures are more than any
/// peer counts.
struct Host {
    name: &'static str,
    way: Way,
    monitor: Monitor,
    labels: Vec<Labels>,
    clients: Vec<ClientId>,
}

impl Host {
    fn new(name: &'static str, way: Way) -> Self {
        let monitor = Monitor::new(Config::default()).unwrap();
        let labels = TYPES.iter().map(|name| monitor.labels("peerjs", name, "app")).collect();
        let connect = |place| monitor.connect(&format!("client-{place}"), "app").unwrap();
        let clients = (0..4).map(connect).collect();
        Self { name, way, labels, clients, monitor }
    }
}

fn measured(one: &super::Sample) -> Measured {
    Measured {
        failed: false,
        reason: None,
        bytes: one.bytes as u64,
        queue_wait: Duration::from_nanos(one.queue_wait),
        processing: Duration::from_nanos(one.service),
    }
}

impl Side for Host {
    fn name(&self) -> &'static str {
        self.name
    }

    fn recording(&self, place: usize) -> Recording {
        let labels = self.labels.clone();
        let of_thread = Some(self.clients[place]);
        match self.way {
            Way::Alone { client } => {
                let client = of_thread.filter(|_| client);
                let mut recorder = self.monitor.recorder();
                assert!(recorder.is_alone());
                Box::new(move |samples, count| {
                    cycle(samples, count, |one| {
                        recorder.record(labels[one.message_type], client, measured(one));
                    });
                })
            }
            Way::Batches { client } => {
                let client = of_thread.filter(|_| client);
                let mut recorder = self.monitor.recorder();
                assert!(recorder.is_alone());
                Box::new(move |samples, count| {
                    for begin in (0..count).step_by(BATCH) {
                        let mut batch = recorder.batch();
                        for place in begin..count.min(begin + BATCH) {
                            let one = black_box(&samples[place % samples.len()]);
                            batch.record(labels[one.message_type], client, measured(one));
                        }
                    }
                })
            }
            Way::Shared { client } => {
                let client = of_thread.filter(|_| client);
                let monitor = self.monitor.clone();
                Box::new(move |samples, count| {
                    cycle(samples, count, |one| {
                        monitor.record_labelled(labels[one.message_type], client, measured(one));
                    });
                })
            }
        }
    }

    fn totals(&self) -> (Option<u64>, u64) {
        let stats = self.monitor.snapshot();
        let messages = stats.messages.expect("enable_metrics is on");
        let groups =
            stats.protocols.iter().chain(&stats.applications).flatten().map(|one| one.totals.latency.count);
        let values = messages.totals.latency.count + messages.totals.queue_wait.count + groups.sum::<u64>();
        (Some(messages.totals.succeeded), values)
    }
}

/// A worker's shard, which counts the messages that the worker routes. One thread writes it.
struct Worker {
    totals: Arc<Mutex<(u64, u64)>>,
}

impl Side for Worker {
    fn name(&self) -> &'static str {
        "a worker's shard"
    }

    fn recording(&self, _: usize) -> Recording {
        let mut shard =
            Shard(corelane::metrics::bench::BenchRecorder::new(TYPES.len() + 1, 3, 9), self.totals.clone());
        Box::new(move |samples, count| {
            let shard = &mut shard;
            cycle(samples, count, |one| {
                shard.0.record((one.message_type as u16 + 1, 2, 1), one.bytes, one.queue_wait, one.service);
            });
        })
    }

    fn totals(&self) -> (Option<u64>, u64) {
        let (messages, values) = *self.totals.lock().unwrap();
        (Some(messages), values)
    }
}

/// Adds its totals to the shared totals when it is dropped.
struct Shard(corelane::metrics::bench::BenchRecorder, Arc<Mutex<(u64, u64)>>);

impl Drop for Shard {
    fn drop(&mut self) {
        let (messages, values, _) = self.0.totals();
        *self.1.lock().unwrap() = (messages, values);
    }
}
