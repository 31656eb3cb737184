//! Runs two sides in alternating order in one process: ours, theirs; then theirs, ours. The result is the ratio of
//! the two figures of each round. A machine's speed changes from minute to minute, so a figure alone says little.

use serde::Serialize;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether a lower or a higher figure is better.
#[derive(Clone, Copy)]
pub enum Better {
    Lower,
    Higher,
}

/// One line of the report. A ratio above 1 means that corelane is better.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub bench: &'static str,
    pub case: String,
    pub unit: &'static str,
    /// The median of corelane's figures.
    pub ours: f64,
    pub peer: String,
    /// The median of the peer's figures.
    pub theirs: f64,
    pub rounds: usize,
    pub ratio: Ratio,
}

#[derive(Clone, Copy, Debug, Serialize)]
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

pub struct Report {
    pub rounds: usize,
    pub rows: Vec<Row>,
}

impl Report {
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
            bench: pair.bench,
            case: pair.case.clone(),
            unit: pair.unit,
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

fn middle(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    middle(&figures)
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
        figure(row.ours),
        figure(row.theirs),
        row.unit,
        row.ratio.median,
        row.ratio.min,
        row.ratio.max
    )
}

/// Formats a figure: no decimals from 100 on, one decimal below.
pub fn figure(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
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

/// The current date, from the days since 1970.
pub fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // Howard Hinnant's civil_from_days.
    let days = (seconds / 86_400) as i64 + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
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
