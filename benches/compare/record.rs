//! Records a message by type, protocol and application, on one thread, on two and on four at once. Every round runs
//! every side with every number of threads, so all figures of a round are from the same minute. Durations are given.
//! A side that reads the clock does so only for the time of the last message.

#[path = "record/ours.rs"]
mod ours;
#[path = "record/peers.rs"]
mod peers;

use crate::peers::TYPES;
use crate::race::{Better, Pair, Random, Report, pin, processor_nanoseconds};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const COUNT: usize = 400_000;
const THREADS: [usize; 3] = [1, 2, 4];

/// Records the given number of samples, repeating them as needed.
type Recording = Box<dyn FnMut(&[Sample], usize)>;

/// One way to record. A side is created once; each round starts new threads.
trait Side: Sync {
    fn name(&self) -> &'static str;

    /// Creates the recording function of one thread of a round. Called on that thread.
    fn recording(&self, place: usize) -> Recording;

    /// Called after a round's threads have ended: does the work of a collector.
    fn refresh(&self) {}

    /// The number of recorded messages, and the number of values in all histograms, as far as the side can tell.
    fn totals(&self) -> (Option<u64>, u64);
}

#[derive(Clone, Copy)]
struct Sample {
    message_type: usize,
    bytes: usize,
    queue_wait: u64,
    service: u64,
}

fn samples() -> Vec<Sample> {
    let mut random = Random::new();
    (0..1024)
        .map(|_| {
            // Half a microsecond to half a millisecond, and 64 ns to 2 µs; small values are more frequent.
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

fn cycle(samples: &[Sample], count: usize, mut each: impl FnMut(&Sample)) {
    for place in 0..count {
        each(black_box(&samples[place % samples.len()]));
    }
}

/// Nanoseconds per record and thread, averaged over all threads.
fn time(side: &dyn Side, threads: usize, samples: &[Sample], count: usize) -> f64 {
    let (start, measuring) = (Barrier::new(threads), AtomicUsize::new(threads));
    let took: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|place| {
                let (start, measuring) = (&start, &measuring);
                scope.spawn(move || {
                    pin(place);
                    let mut record = side.recording(place);
                    record(samples, samples.len()); // Touches the memory that the side writes to.
                    start.wait();
                    // Excludes periods in which others hold the core: a side that sleeps on a lock is not charged for it.
                    let began = processor_nanoseconds(libc::CLOCK_THREAD_CPUTIME_ID);
                    record(samples, count);
                    let took = processor_nanoseconds(libc::CLOCK_THREAD_CPUTIME_ID) - began;
                    measuring.fetch_sub(1, SeqCst);
                    // A thread that is done continues to record until every thread is done, so that no thread has the
                    // cells to itself.
                    while measuring.load(SeqCst) > 0 {
                        record(samples, samples.len());
                    }
                    took
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a recorder")).sum()
    });
    side.refresh();
    took as f64 / (count * threads) as f64
}

/// Checks that every side counts all samples.
fn check(side: &dyn Side, samples: &[Sample]) {
    let mut record = side.recording(0);
    record(samples, samples.len());
    drop(record);
    side.refresh();
    let count = samples.len() as u64;
    let (messages, values) = side.totals();
    assert_eq!((messages.unwrap_or(count), values), (count, 4 * count), "{}", side.name());
}

/// Nanoseconds per record, by round, by number of threads, by side.
type Figures = Vec<[Vec<f64>; THREADS.len()]>;

fn measure(report: &Report, sides: &[&dyn Side], samples: &[Sample]) -> Figures {
    let count = report.work(COUNT);
    let all = |threads: usize, backwards: bool| {
        let mut figures = vec![0.0; sides.len()];
        for step in 0..sides.len() {
            let place = if backwards { sides.len() - 1 - step } else { step };
            figures[place] = time(sides[place], threads, samples, count);
        }
        figures
    };
    all(1, false); // A warm-up that is not measured.
    (0..report.rounds).map(|round| THREADS.map(|threads| all(threads, round % 2 == 1))).collect()
}

pub fn run(report: &mut Report) {
    let samples = samples();
    let ours: Vec<Box<dyn Side>> = ours::sides();
    let peers: Vec<Box<dyn Side>> = peers::sides();
    let sides: Vec<&dyn Side> = ours.iter().chain(&peers).map(|side| &**side).collect();
    sides.iter().for_each(|side| check(*side, &samples));
    let floor = peers::Floor;
    let sides: Vec<&dyn Side> = sides.into_iter().chain([&floor as &dyn Side]).collect();
    let figures = measure(report, &sides, &samples);
    let (first, others) = (0, 1..ours.len());
    for (group, threads) in THREADS.into_iter().enumerate() {
        let plural = if threads == 1 { "" } else { "s" };
        let mut pair = |our: usize, their: usize, case: String| {
            let pair = Pair {
                bench: "record",
                case,
                unit: "ns/record",
                peer: sides[their].name().to_owned(),
                better: Better::Lower,
            };
            let both: Vec<_> = figures.iter().map(|round| (round[group][our], round[group][their])).collect();
            report.add(&pair, &both);
        };
        for peer in ours.len()..sides.len() {
            pair(first, peer, format!("{threads} thread{plural}"));
        }
        // Compare our other ways with the peer that is closest to common use.
        for other in others.clone() {
            pair(other, ours.len(), format!("{threads} thread{plural}, {}", sides[other].name()));
        }
    }
    for (group, threads) in THREADS.into_iter().enumerate().skip(1) {
        for (place, side) in sides.iter().enumerate() {
            let pair = Pair {
                bench: "record-threads",
                case: side.name().to_owned(),
                unit: "ns/record",
                peer: format!("{threads} threads against 1"),
                better: Better::Higher, // The ratio is ours / theirs: many threads against one.
            };
            let both: Vec<_> = figures.iter().map(|round| (round[group][place], round[0][place])).collect();
            report.add(&pair, &both);
        }
    }
}
