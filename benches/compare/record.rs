//! One message recorded into everything that it feeds (three counts of its type, one each of protocol and
//! application, four histograms), by one thread, by two and by four at once. The clock is read only where it is said.

use crate::peers::{Metrics, TYPES};
use crate::race::{Better, Pair, Random, Report, pin};
use crate::recorders::{Client, Hdr, Metriken};
use corelane::config::Config;
use corelane::metrics::bench::Recorder;
use corelane::monitor::Monitor;
use corelane::record::Measured;
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::Instant;

const COUNT: usize = 400_000;

/// Records so many of the samples, over and over.
pub(crate) type Recording = Box<dyn FnMut(&[Sample], usize) + Send>;

#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) message_type: usize,
    pub(crate) bytes: usize,
    pub(crate) queue_wait: u64,
    pub(crate) service: u64,
}

fn samples() -> Vec<Sample> {
    let mut random = Random::new();
    (0..1024)
        .map(|_| {
            // Half a microsecond to half a millisecond, and 64 ns to 2 us; more of the small.
            let (wait, work) = (512 << random.below(11), 64 << random.below(6));
            Sample {
                message_type: random.below(TYPES.len() as u64) as usize,
                bytes: random.below(3000) as usize,
                queue_wait: random.below(wait) + 512,
                service: random.below(work) + 64,
            }
        })
        .collect()
}

/// Nanoseconds per record and thread.
fn time(threads: usize, samples: &[Sample], make: impl Fn() -> Recording + Sync) -> f64 {
    let start = Barrier::new(threads);
    let took = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|place| {
                let (start, make) = (&start, &make);
                scope.spawn(move || {
                    pin(place);
                    let mut record = make();
                    record(samples, samples.len()); // Touches what it will write.
                    start.wait();
                    let began = Instant::now();
                    record(samples, COUNT);
                    began.elapsed()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a recorder")).max()
    });
    took.map_or(f64::NAN, |took| took.as_nanos() as f64 / COUNT as f64)
}

pub(crate) fn cycle(samples: &[Sample], count: usize, mut each: impl FnMut(&Sample)) {
    for place in 0..count {
        each(black_box(&samples[place % samples.len()]));
    }
}

fn ours() -> Recording {
    let mut recorder = Recorder::new(TYPES.len() + 1, 3, 9);
    Box::new(move |samples, count| {
        cycle(samples, count, |one| {
            recorder.record((one.message_type as u16 + 1, 2, 1), one.bytes, one.queue_wait, one.service);
        });
    })
}

/// A host's own recorder, as the monitor hands it out; it reads the clock once for each message.
fn own_recorder(monitor: &Monitor) -> Recording {
    let mut recorder = monitor.recorder();
    let labels: Vec<_> = TYPES.iter().map(|name| recorder.labels("peerjs", name, "app")).collect();
    Box::new(move |samples, count| {
        cycle(samples, count, |one| {
            let measured = Measured {
                failed: false,
                bytes: one.bytes as u64,
                queue_wait_nanoseconds: one.queue_wait,
                processing_nanoseconds: one.service,
            };
            recorder.record(labels[one.message_type], None, measured);
        });
    })
}

fn theirs(metrics: &Arc<Metrics>) -> Recording {
    let metrics = Arc::clone(metrics);
    Box::new(move |samples, count| {
        cycle(samples, count, |one| metrics.record(one.message_type, one.bytes, one.queue_wait, one.service));
    })
}

/// Plain additions to as many words as a record writes, chosen as freely: nothing that counts can cost less.
fn floor() -> Recording {
    let mut cells = vec![0u64; 16 << 10];
    Box::new(move |samples, count| {
        cycle(samples, count, |one| {
            let (first, second) = (one.message_type << 11, one.message_type + 1);
            // A histogram's cell, its sum and its generation; four times.
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

fn check(samples: &[Sample]) {
    let mut recorder = Recorder::new(TYPES.len() + 1, 3, 9);
    let metrics = Metrics::new();
    for one in samples {
        recorder.record((one.message_type as u16 + 1, 2, 1), one.bytes, one.queue_wait, one.service);
        metrics.record(one.message_type, one.bytes, one.queue_wait, one.service);
    }
    let count = samples.len() as u64;
    let bytes: usize = samples.iter().map(|one| one.bytes).sum();
    assert_eq!(recorder.totals(), (count, 4 * count, bytes as u64));
    assert_eq!(metrics.totals(), (count, 4 * count));
}

pub fn run(report: &mut Report) {
    let samples = samples();
    check(&samples);
    let metrics = Arc::new(Metrics::new());
    let pair = |case: &str, peer: &str| Pair {
        bench: "record",
        case: case.to_owned(),
        unit: "ns/record",
        peer: peer.to_owned(),
        better: Better::Lower,
    };
    let monitor = Monitor::new(Config::default()).expect("a monitor");
    let (client, metriken, hdr) = (Arc::new(Client::new()), Arc::new(Metriken::new()), Arc::new(Hdr::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for threads in [1, 2, 4] {
        let crowded = if threads > cores { format!(" on {cores} cores") } else { String::new() };
        let case = &format!("{threads} thread{}{crowded}", if threads == 1 { "" } else { "s" });
        type Peer<'a> = (&'a str, &'a (dyn Fn() -> Recording + Sync));
        let peers: [Peer<'_>; 4] = [
            ("prometheus-client, cached handles", &|| client.recording()),
            ("metriken", &|| metriken.recording()),
            ("hdrhistogram's recorder (no counts)", &|| hdr.recording()),
            ("corelane, a host's recorder (with the clock)", &|| own_recorder(&monitor)),
        ];
        for (name, peer) in peers {
            report.race(
                &pair(case, name),
                || time(threads, &samples, ours),
                || time(threads, &samples, peer),
            );
        }
        report.race(
            &pair(case, "prometheus, cached handles"),
            || time(threads, &samples, ours),
            || time(threads, &samples, || theirs(&metrics)),
        );
        report.race(
            &pair(case, "floor: plain additions"),
            || time(threads, &samples, ours),
            || time(threads, &samples, floor),
        );
    }
    report.race(
        &pair("2 threads, against 1 thread", "corelane, 1 thread"),
        || time(2, &samples, ours),
        || time(1, &samples, ours),
    );
    report.race(
        &pair("4 threads, against 1 thread", "corelane, 1 thread"),
        || time(4, &samples, ours),
        || time(1, &samples, ours),
    );
    report.race(
        &pair("(prometheus: 2 against 1 thread)", "prometheus, 1 thread"),
        || time(2, &samples, || theirs(&metrics)),
        || time(1, &samples, || theirs(&metrics)),
    );
}
