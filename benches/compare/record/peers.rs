//! The peers, each in the way that its documentation calls the fastest. Every peer counts a message's arrival,
//! outcome and bytes by type, and its outcome by protocol and by application, and records it in four histograms.
//! Corelane also keeps bytes by protocol and application, the sum, minimum and maximum of every histogram, the time
//! of the last message, the named spans and the slow messages. The comparison therefore favours the peers. The
//! comment of each peer lists further differences in its favour.

use super::{Recording, Sample, Side, cycle};
use crate::peers::{Metrics, TYPES};
use hdrhistogram::{SyncHistogram, sync};
use prometheus_client::metrics::{counter::Counter, family::Family, histogram};
use std::hint::black_box;
use std::sync::{Arc, Mutex};

/// Two histograms for each type, then one for the protocol and one for the application.
const HISTOGRAMS: usize = 2 * TYPES.len() + 2;
const PROTOCOL: usize = 2 * TYPES.len();
const APPLICATION: usize = PROTOCOL + 1;

pub fn sides() -> Vec<Box<dyn Side>> {
    let shards = metriken::ShardedCounterHistogramGroup::new(HISTOGRAMS, 5, 36);
    let atomic = (0..HISTOGRAMS).map(|_| metriken::AtomicCounterHistogram::new(5, 36)).collect();
    vec![
        Box::new(Prometheus(Arc::new(Metrics::new()))),
        Box::new(Client { handles: true, families: Arc::default() }),
        Box::new(Client { handles: false, families: Arc::default() }),
        Box::new(Metriken::new("metriken, all in shards", Histograms::Shards(Box::new(shards)))),
        Box::new(Metriken::new("metriken, AtomicHistogram", Histograms::Atomic(atomic))),
        Box::new(Hdr::new()),
    ]
}

/// The prometheus crate with handles resolved in advance. Its histograms have no minimum and maximum, and 22 cells
/// where corelane's have 1,025.
struct Prometheus(Arc<Metrics>);

impl Side for Prometheus {
    fn name(&self) -> &'static str {
        "prometheus, cached handles"
    }

    fn recording(&self, _: usize) -> Recording {
        let metrics = Arc::clone(&self.0);
        Box::new(move |samples, count| {
            cycle(samples, count, |one| {
                metrics.record(one.message_type, one.bytes, one.queue_wait, one.service);
            });
        })
    }

    fn totals(&self) -> (Option<u64>, u64) {
        let (messages, values) = self.0.totals();
        (Some(messages), values)
    }
}

fn bounded() -> histogram::Histogram {
    // The bounds that corelane exports, as for the prometheus crate.
    histogram::Histogram::new(corelane::metrics::OCTAVE_BOUNDS.iter().map(|(bound, _)| *bound as f64 / 1e9))
}

type Counters = Family<u8, Counter>;
type Latencies = Family<u8, histogram::Histogram>;

/// prometheus-client's families. A label is one byte, the cheapest label set to hash.
#[derive(Clone)]
struct Families {
    received: Counters,
    bytes: Counters,
    /// By type, by protocol and by application, as are the service times.
    ok: [Counters; 3],
    service: [Latencies; 3],
    queue_wait: Latencies,
}

impl Default for Families {
    fn default() -> Self {
        let latencies = || Latencies::new_with_constructor(bounded);
        Self {
            received: Counters::default(),
            bytes: Counters::default(),
            ok: Default::default(),
            service: [latencies(), latencies(), latencies()],
            queue_wait: latencies(),
        }
    }
}

/// The metrics that one message updates.
struct Handles {
    received: Counter,
    bytes: Counter,
    ok: [Counter; 3],
    service: [histogram::Histogram; 3],
    queue_wait: histogram::Histogram,
}

impl Families {
    /// Looks up each metric for every message, through the guards that `get_or_create` returns.
    #[inline]
    fn record(&self, one: &Sample) {
        let (label, service) = (one.message_type as u8, one.service as f64 * 1e-9);
        self.received.get_or_create(&label).inc();
        self.bytes.get_or_create(&label).inc_by(one.bytes as u64);
        self.queue_wait.get_or_create(&label).observe(one.queue_wait as f64 * 1e-9);
        for (place, label) in [label, 0, 0].iter().enumerate() {
            self.ok[place].get_or_create(label).inc();
            self.service[place].get_or_create(label).observe(service);
        }
    }

    fn handles(&self, label: u8) -> Handles {
        let labels = [label, 0, 0];
        Handles {
            received: self.received.get_or_create_owned(&label),
            bytes: self.bytes.get_or_create_owned(&label),
            ok: std::array::from_fn(|place| self.ok[place].get_or_create_owned(&labels[place])),
            service: std::array::from_fn(|place| self.service[place].get_or_create_owned(&labels[place])),
            queue_wait: self.queue_wait.get_or_create_owned(&label),
        }
    }
}

impl Handles {
    #[inline]
    fn record(&self, one: &Sample) {
        let service = one.service as f64 * 1e-9;
        self.received.inc();
        self.bytes.inc_by(one.bytes as u64);
        self.queue_wait.observe(one.queue_wait as f64 * 1e-9);
        for (ok, latency) in self.ok.iter().zip(&self.service) {
            ok.inc();
            latency.observe(service);
        }
    }
}

/// The prometheus-client crate. Its histograms have no minimum and maximum, and 22 cells. Threads that sleep on its
/// locks are not charged for the sleep.
struct Client {
    /// Whether a thread keeps its handles. If not, it looks them up by label for every message.
    handles: bool,
    families: Arc<Families>,
}

impl Side for Client {
    fn name(&self) -> &'static str {
        if self.handles { "prometheus-client, cached handles" } else { "prometheus-client, get_or_create" }
    }

    fn recording(&self, _: usize) -> Recording {
        let families = Arc::clone(&self.families);
        if !self.handles {
            return Box::new(move |samples, count| cycle(samples, count, |one| families.record(one)));
        }
        let handles: Vec<_> = (0..TYPES.len()).map(|label| families.handles(label as u8)).collect();
        Box::new(move |samples, count| cycle(samples, count, |one| handles[one.message_type].record(one)))
    }

    fn totals(&self) -> (Option<u64>, u64) {
        let all: Vec<_> = (0..TYPES.len()).map(|label| self.families.handles(label as u8)).collect();
        let of_types = all.iter().map(|one| one.service[0].count() + one.queue_wait.count()).sum::<u64>();
        let groups = all[0].service[1].count() + all[0].service[2].count();
        (Some(all.iter().map(|one| one.ok[0].get()).sum()), of_types + groups)
    }
}

enum Histograms {
    /// Each thread has its own cells.
    Shards(Box<metriken::ShardedCounterHistogramGroup>),
    /// All threads share the same cells.
    Atomic(Vec<metriken::AtomicCounterHistogram>),
}

/// metriken: sharded counters with one set per thread, as the crate recommends, and histograms with as many cells as
/// corelane's. The histograms have no sum, minimum and maximum, and do not publish their count separately.
struct Metriken(&'static str, Arc<(metriken::ShardedCounterGroup, Histograms)>);

impl Metriken {
    fn new(name: &'static str, histograms: Histograms) -> Self {
        // Three counters for each type, one for the protocol and one for the application.
        let counters = metriken::ShardedCounterGroup::new(3 * TYPES.len() + 2);
        Self(name, Arc::new((counters, histograms)))
    }
}

impl Histograms {
    #[inline]
    fn add(&self, place: usize, value: u64) {
        let added = match self {
            Self::Shards(group) => group.increment(place, value).is_ok(),
            Self::Atomic(all) => all[place].increment(value).is_ok(),
        };
        debug_assert!(added);
    }

    fn count(&self) -> u64 {
        let load = |place: usize| match self {
            Self::Shards(group) => group.load(place),
            Self::Atomic(all) => all[place].load(),
        };
        let all = (0..HISTOGRAMS).filter_map(load);
        all.map(|one| one.as_slice().iter().sum::<u64>()).sum()
    }
}

impl Side for Metriken {
    fn name(&self) -> &'static str {
        self.0
    }

    fn recording(&self, place: usize) -> Recording {
        metriken::set_thread_shard(place);
        let both = Arc::clone(&self.1);
        Box::new(move |samples, count| {
            let (counters, histograms) = &*both;
            cycle(samples, count, |one| {
                let first = 3 * one.message_type;
                counters.increment(first);
                counters.increment(first + 1);
                counters.add(first + 2, one.bytes as u64);
                histograms.add(2 * one.message_type, one.service);
                histograms.add(2 * one.message_type + 1, one.queue_wait);
                for group in 0..2 {
                    counters.increment(3 * TYPES.len() + group);
                    histograms.add(PROTOCOL + group, one.service);
                }
            });
        })
    }

    fn totals(&self) -> (Option<u64>, u64) {
        let (counters, histograms) = &*self.1;
        let ok = (0..TYPES.len()).filter_map(|label| counters.value(3 * label + 1)).sum();
        (Some(ok), histograms.count())
    }
}

/// hdrhistogram's recorder: histograms only, no counters. Its cells are at most 0.8 % wide; with one digit less they
/// would be wider than corelane's. The collector's phase makes each thread hand over its histograms and start new
/// ones. It runs after a round and is not part of the round's time.
struct Hdr(Mutex<Vec<SyncHistogram<u64>>>);

impl Hdr {
    fn new() -> Self {
        let made = || hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1 << 36, 2).unwrap();
        Self(Mutex::new((0..HISTOGRAMS).map(|_| made().into_sync()).collect()))
    }
}

impl Side for Hdr {
    fn name(&self) -> &'static str {
        "hdrhistogram recorder, no counters"
    }

    fn recording(&self, _: usize) -> Recording {
        let mut all: Vec<sync::Recorder<u64>> =
            self.0.lock().unwrap().iter().map(SyncHistogram::recorder).collect();
        Box::new(move |samples, count| {
            cycle(samples, count, |one| {
                all[2 * one.message_type].saturating_record(one.service);
                all[2 * one.message_type + 1].saturating_record(one.queue_wait);
                all[PROTOCOL].saturating_record(one.service);
                all[APPLICATION].saturating_record(one.service);
            });
        })
    }

    fn refresh(&self) {
        self.0.lock().unwrap().iter_mut().for_each(SyncHistogram::refresh);
    }

    fn totals(&self) -> (Option<u64>, u64) {
        (None, self.0.lock().unwrap().iter().map(|one| one.len()).sum())
    }
}

/// Plain additions to as many words as a record writes, at equally varied addresses. No counting method can cost
/// less.
pub struct Floor;

impl Side for Floor {
    fn name(&self) -> &'static str {
        "floor: plain additions"
    }

    fn recording(&self, _: usize) -> Recording {
        let mut cells = vec![0u64; 16 << 10];
        Box::new(move |samples, count| {
            cycle(samples, count, |one| {
                let (first, second) = (one.message_type << 11, one.message_type + 1);
                // The cell, the sum and the generation of a histogram, for four histograms.
                for (base, value) in
                    [(first, one.service), (first, one.queue_wait), (2, one.service), (4 << 10, one.service)]
                {
                    cells[base + 8] += value;
                    cells[base + 9] += 1;
                    cells[base + 16 + (value as usize & 1023)] += 1;
                }
                for place in [second, second + 64, second + 128, 7, 8] {
                    cells[place] += one.bytes as u64;
                }
            });
            black_box(&cells);
        })
    }

    fn totals(&self) -> (Option<u64>, u64) {
        (None, 0)
    }
}
