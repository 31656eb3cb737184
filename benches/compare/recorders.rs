//! Peers of recording, each as its documentation recommends: handles looked up once, values recorded into four histograms and
//! five counts per message as far as it has such. What a peer leaves out favours the peer.

use crate::peers::TYPES;
use crate::record::{Recording, cycle};
use hdrhistogram::Histogram;
use hdrhistogram::sync::SyncHistogram;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram as ClientHistogram;
use std::sync::{Arc, Mutex};

/// What a message feeds: three counts and two histograms of its type, one each of its protocol and application.
#[derive(Clone)]
struct Series<C, H> {
    received: C,
    ok: C,
    bytes: C,
    service: H,
    queue_wait: H,
}

/// All of them, for each type, with the protocol and the application.
type All<C, H> = (Vec<Series<C, H>>, [(C, H); 2]);

fn all<C, H>(mut counter: impl FnMut(String) -> C, mut histogram: impl FnMut(String) -> H) -> All<C, H> {
    let series = TYPES.iter().map(|name| Series {
        received: counter(format!("received {name}")),
        ok: counter(format!("ok {name}")),
        bytes: counter(format!("bytes {name}")),
        service: histogram(format!("service {name}")),
        queue_wait: histogram(format!("wait {name}")),
    });
    let series = series.collect();
    let groups =
        ["protocol", "application"].map(|name| (counter(name.to_owned()), histogram(name.to_owned())));
    (series, groups)
}

/// The official client: counters of a family, and histograms behind a mutex with twenty buckets.
pub(crate) struct Client(All<Counter, ClientHistogram>);

impl Client {
    pub(crate) fn new() -> Self {
        let counters = Family::<Vec<(String, String)>, Counter>::default();
        let make = || ClientHistogram::new((0..20).map(|power| 1e-6 * f64::from(1 << power)));
        let histograms = Family::<Vec<(String, String)>, ClientHistogram, _>::new_with_constructor(make);
        let label = |name: String| vec![("name".to_owned(), name)];
        Self(all(
            |name| counters.get_or_create(&label(name)).clone(),
            |name| histograms.get_or_create(&label(name)).clone(),
        ))
    }

    pub(crate) fn recording(self: &Arc<Self>) -> Recording {
        let client = Arc::clone(self);
        Box::new(move |samples, count| {
            let (series, groups) = &client.0;
            cycle(samples, count, |one| {
                let of = &series[one.message_type];
                let seconds = one.service as f64 / 1e9;
                of.received.inc();
                of.ok.inc();
                of.bytes.inc_by(one.bytes as u64);
                of.service.observe(seconds);
                of.queue_wait.observe(one.queue_wait as f64 / 1e9);
                for (count, time) in groups {
                    count.inc();
                    time.observe(seconds);
                }
            });
        })
    }
}

/// Counters and histograms as bare atomics, a histogram as precise as ours.
pub(crate) struct Metriken(All<metriken::Counter, metriken::AtomicCounterHistogram>);

impl Metriken {
    pub(crate) fn new() -> Self {
        Self(all(|_| metriken::Counter::new(), |_| metriken::AtomicCounterHistogram::new(5, 36)))
    }

    pub(crate) fn recording(self: &Arc<Self>) -> Recording {
        let metrics = Arc::clone(self);
        Box::new(move |samples, count| {
            let (series, groups) = &metrics.0;
            cycle(samples, count, |one| {
                let of = &series[one.message_type];
                of.received.increment();
                of.ok.increment();
                of.bytes.add(one.bytes as u64);
                of.service.increment(one.service).expect("in range");
                of.queue_wait.increment(one.queue_wait).expect("in range");
                for (count, time) in groups {
                    count.increment();
                    time.increment(one.service).expect("in range");
                }
            });
        })
    }
}

/// HdrHistogram with a recorder per thread, which share nothing until they are asked. It has no counters.
pub(crate) struct Hdr(Mutex<Vec<SyncHistogram<u64>>>);

impl Hdr {
    pub(crate) fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, 1 << 36, 2).expect("bounds").into_sync();
        Self(Mutex::new((0..2 * TYPES.len() + 2).map(|_| histogram()).collect()))
    }

    pub(crate) fn recording(self: &Arc<Self>) -> Recording {
        let mut recorders: Vec<_> =
            self.0.lock().expect("nobody panics").iter().map(SyncHistogram::recorder).collect();
        Box::new(move |samples, count| {
            let groups = 2 * TYPES.len();
            cycle(samples, count, |one| {
                let places = [2 * one.message_type, groups, groups + 1];
                for place in places {
                    recorders[place].record(one.service).expect("in range");
                }
                recorders[2 * one.message_type + 1].record(one.queue_wait).expect("in range");
            });
        })
    }
}
