//! Runs two sides in alternating order in one process: ours, theirs; then theirs, ours. The result is the ratio of
//! the two figures of each round. A machine's speed changes from minute to minute, so a figure alone says little.

use crate::conditions::{median, middle};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Whether a lower or a higher figure is better.
#[derive(Clone, Copy)]
pub enum Better {
    Lower,
    Higher,
}

/// One line of the report. A ratio above 1 means that corelane is better.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub bench: Cow<'static, str>,
    pub case: String,
    pub unit: Cow<'static, str>,
    /// The median of corelane's figures.
    pub ours: f64,
    pub peer: String,
    /// The median of the peer's figures.
    pub theirs: f64,
    pub rounds: usize,
    pub ratio: Ratio,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ratio {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

/// Identifies a pair of sides and the meaning of its figures.
#[derive(Clone)]
pub struct Pair {
    pub bench: &'static str,
    pub case: String,
    pub unit: &'static str,
    pub peer: String,
    pub better: Better,
}

/// A figure of one side, measured in the same rounds as the other sides of its case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    pub bench: Cow<'static, str>,
    pub case: String,
    pub side: String,
    pub unit: Cow<'static, str>,
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

/// The latencies of one side under an open loop, over all rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latency {
    pub bench: Cow<'static, str>,
    pub side: String,
    /// The rate as a share of a capacity, in percent.
    pub load: u32,
    /// Messages per second.
    pub rate: f64,
    pub samples: u64,
    /// Microseconds at each of [`PERCENTILES`].
    pub microseconds: Vec<f64>,
}

/// The percentiles of a [`Latency`].
pub const PERCENTILES: [(&str, f64); 6] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("p99.99", 99.99), ("max", 100.0)];

/// What one run measured. Serialised, it is target/bench/report.json.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The machine, the date and the toolchain.
    pub conditions: String,
    pub rounds: usize,
    /// The largest share of the cores that other programs took between two benches, in percent.
    pub taken_by_others: f64,
    /// Less work per round. The figures only show that the harness works.
    pub quick: bool,
    pub rows: Vec<Row>,
    pub figures: Vec<Figure>,
    pub latencies: Vec<Latency>,
    /// What was not measured, with the reason.
    pub skipped: Vec<String>,
    /// The figures of go/bench, as it writes them.
    #[serde(default)]
    pub go: serde_json::Value,
}

impl Report {
    /// The amount of work of a round: `full`, or a twentieth in quick mode.
    pub fn work(&self, full: usize) -> usize {
        if self.quick { (full / 20).max(1) } else { full }
    }

    /// Says that something is not measured, and why.
    pub fn skip(&mut self, what: impl std::fmt::Display) {
        println!("skipped: {what}");
        self.skipped.push(what.to_string());
    }

    /// Measures all sides once without keeping the result, then in every round, each round starting with another
    /// side. Returns the results by round, then by side.
    pub fn rounds<S, R>(&self, sides: &mut [S], mut measure: impl FnMut(&mut S) -> R) -> Vec<Vec<R>> {
        for side in &mut *sides {
            measure(side);
        }
        let count = sides.len();
        let mut one_round = |round: usize| {
            let mut results: Vec<_> = (0..count)
                .map(|step| (round + step) % count)
                .map(|place| (place, measure(&mut sides[place])))
                .collect();
            results.sort_by_key(|(place, _)| *place);
            results.into_iter().map(|(_, result)| result).collect()
        };
        (0..self.rounds).map(&mut one_round).collect()
    }

    /// Adds a figure of one side, from its value in each round.
    pub fn figure(
        &mut self,
        bench: &'static str,
        case: &str,
        side: &str,
        unit: &'static str,
        values: &[f64],
    ) {
        let figure = Figure {
            bench: bench.into(),
            case: case.to_owned(),
            side: side.to_owned(),
            unit: unit.into(),
            median: median(values.iter().copied()),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        };
        let (middle, low, high) = (format_figure(figure.median), figure.min, figure.max);
        println!("{bench:8} {case:32} {side:38} {middle:>10}  {unit:16} [{low:.2} - {high:.2}]");
        self.figures.push(figure);
    }

    /// Adds the latencies of one side, recorded in nanoseconds.
    pub fn latency(
        &mut self,
        bench: &'static str,
        side: &str,
        load: u32,
        rate: f64,
        times: &hdrhistogram::Histogram<u64>,
    ) {
        let at = |(_, percentile): &(&str, f64)| times.value_at_percentile(*percentile) as f64 / 1000.0;
        let microseconds: Vec<f64> = PERCENTILES.iter().map(at).collect();
        let shown: Vec<_> = microseconds.iter().map(|value| format_figure(*value)).collect();
        println!("{bench:8} {side:32} {load:>3} %, {rate:.0}/s: {} us", shown.join(" "));
        self.latencies.push(Latency {
            bench: bench.into(),
            side: side.to_owned(),
            load,
            rate,
            samples: times.len(),
            microseconds,
        });
    }

    /// Runs each side once without measuring it, then `rounds` times in alternating order.
    pub fn race(&mut self, pair: &Pair, mut ours: impl FnMut() -> f64, mut theirs: impl FnMut() -> f64) {
        ours();
        theirs();
        let mut figures = Vec::with_capacity(self.rounds);
        for round in 0..self.rounds {
            figures.push(if round % 2 == 0 {
                let our = ours();
                (our, theirs())
            } else {
                let their = theirs();
                (ours(), their)
            });
        }
        self.add(pair, &figures);
    }

    /// Adds a pair whose rounds have already been run, as (ours, theirs).
    pub fn add(&mut self, pair: &Pair, figures: &[(f64, f64)]) {
        let mut ratios: Vec<f64> = figures
            .iter()
            .map(|(ours, theirs)| match pair.better {
                Better::Lower => theirs / ours,
                Better::Higher => ours / theirs,
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        let row = Row {
            bench: pair.bench.into(),
            case: pair.case.clone(),
            unit: pair.unit.into(),
            ours: median(figures.iter().map(|figure| figure.0)),
            peer: pair.peer.clone(),
            theirs: median(figures.iter().map(|figure| figure.1)),
            rounds: figures.len(),
            ratio: Ratio {
                median: middle(&ratios),
                min: ratios.first().copied().unwrap_or(f64::NAN),
                max: ratios.last().copied().unwrap_or(f64::NAN),
            },
        };
        println!("{}", line(&row));
        self.rows.push(row);
    }
}

/// The heading above the lines.
pub fn heading() -> String {
    format!(
        "{:8} {:32} {:38} {:>10} {:>10}  {:16} ratio median [min - max]",
        "bench", "case", "peer", "ours", "theirs", "unit"
    )
}

fn line(row: &Row) -> String {
    format!(
        "{:8} {:32} {:38} {:>10} {:>10}  {:16} {:.2} [{:.2} - {:.2}]",
        row.bench,
        row.case,
        row.peer,
        format_figure(row.ours),
        format_figure(row.theirs),
        row.unit,
        row.ratio.median,
        row.ratio.min,
        row.ratio.max
    )
}

/// Formats a figure: no decimals from 100 on, one decimal below, two below 1.
pub fn format_figure(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        1.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A histogram of nanoseconds, up to a minute, with three digits.
pub fn histogram() -> hdrhistogram::Histogram<u64> {
    hdrhistogram::Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap()
}

/// A pseudo-random sequence, the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn word(&mut self, shortest: u64, longest: u64) -> String {
        let length = shortest + self.below(longest - shortest + 1);
        (0..length)
            .map(|_| char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[self.below(36) as usize]))
            .collect()
    }
}

/// Pins this thread to the core with index `place` among the cores that the process was started on, modulo their
/// number. Does nothing on a single core.
pub fn pin(place: usize) {
    // Read the cores once. A pinned thread would later see only its own core.
    static CORES: OnceLock<Vec<core_affinity::CoreId>> = OnceLock::new();
    let cores = CORES.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default());
    if cores.len() >= 2
        && let Some(core) = cores.get(place % cores.len())
    {
        core_affinity::set_for_current(*core);
    }
}

/// Nanoseconds of processor time of this thread or process.
pub fn processor_nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one `timespec`, and the pointer refers to one.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(failed, 0, "processor time");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The share of the cores that other programs take, in percent: the gaps that a busy thread on each core sees.
pub fn taken_by_others() -> f64 {
    const SPAN: Duration = Duration::from_millis(300);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let lost = |core: usize| {
        pin(core);
        let (began, mut last, mut lost) = (Instant::now(), Instant::now(), Duration::ZERO);
        while began.elapsed() < SPAN {
            let gap = last.elapsed();
            last += gap;
            if gap > Duration::from_micros(100) {
                lost += gap;
            }
        }
        lost.as_secs_f64() / began.elapsed().as_secs_f64()
    };
    let all: f64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|core| scope.spawn(move || lost(core))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a busy thread")).sum()
    });
    100.0 * all / cores as f64
}

/// Waits briefly for another thread. Every side waits in the same way.
#[derive(Default)]
pub struct Pause(u32);

impl Pause {
    #[inline]
    pub fn wait(&mut self) {
        self.0 += 1;
        if self.0.is_multiple_of(4096) {
            std::thread::yield_now(); // Another thread may need this core.
        } else {
            std::hint::spin_loop();
        }
    }
}
