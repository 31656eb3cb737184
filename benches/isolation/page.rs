//! Writes the results to docs/isolation.md.

use crate::culprits::Case;
use crate::race::{Report, median};
use hdrhistogram::Histogram;
use std::fmt::Write as _;
use std::path::Path;

const QUANTILES: [(f64, &str); 3] = [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")];

/// p50, p99 and p99.9 in nanoseconds.
pub type Percentiles = [f64; 3];

/// The two sides of one round.
pub struct Figures {
    pub without: Percentiles,
    pub with: Percentiles,
}

pub struct Row {
    pub case: &'static Case,
    pub name: String,
    pub figures: Vec<Figures>,
    /// The number of messages that the innocents sent, all of which arrived.
    pub innocents: u64,
    /// The outcomes of the culprit's messages.
    pub fate: String,
}

pub fn percentiles(latencies: &Histogram<u64>) -> Percentiles {
    QUANTILES.map(|(quantile, _)| latencies.value_at_quantile(quantile) as f64)
}

/// The median of the rounds' own ratios, with the smallest and the largest.
fn ratio(row: &Row, place: usize) -> String {
    let ratios = || row.figures.iter().map(|round| round.with[place] / round.without[place]);
    let (min, max) = (ratios().fold(f64::INFINITY, f64::min), ratios().fold(0.0, f64::max));
    let short = |ratio: f64| if ratio < 100.0 { format!("{ratio:.2}") } else { format!("{ratio:.0}") };
    format!("{} [{}–{}]", short(median(ratios())), short(min), short(max))
}

/// Formats a time with three digits.
fn time(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds {
        less if less < 1e6 => (less / 1e3, "µs"),
        less if less < 1e9 => (less / 1e6, "ms"),
        more => (more / 1e9, "s"),
    };
    let digits = if value >= 100.0 { 0 } else { usize::from(value < 10.0) + 1 };
    format!("{value:.digits$} {unit}")
}

/// The medians of both sides.
fn times(row: &Row, place: usize) -> (String, String) {
    let side =
        |pick: fn(&Figures) -> &Percentiles| time(median(row.figures.iter().map(|round| pick(round)[place])));
    (side(|round| &round.without), side(|round| &round.with))
}

pub fn line(row: &Row) -> String {
    let figures = (0..QUANTILES.len()).map(|place| {
        let (without, with) = times(row, place);
        format!("{} {without} -> {with}: {}", QUANTILES[place].1, ratio(row, place))
    });
    format!("{}\n    {}\n    {}", row.name, figures.collect::<Vec<_>>().join("; "), row.fate)
}

const ABOUT: &str = "\
Written by `make isolation` (`scripts/isolation.sh`). What a culprit costs everybody else (invariant I8), in one router of \
two workers: rounds with it and without it take turns in the same router, the same configuration on both sides. The \
innocents are eight pairs of clients, senders on one port and recipients on another, each port with a host thread of its \
own. They send 4,000 messages per second at planned times, whatever comes back, for one second; a latency counts from the \
**planned** time to the moment at which the recipient's host has the message, so nothing hides in a sender that could not \
send. It contains the wake-ups of two host threads and a worker. A ratio is with ÷ without of one round: given are the median \
over the rounds, the smallest and the largest. **1 is no harm.** The times are the medians of the rounds' own percentiles.

How to read it: a culprit works too, and so does its host. Where workers, hosts and culprit share two cores, the processor \
time that it takes is part of what is seen, besides any harm that the router should have kept away; the rows `nobody` (noise) \
and `an honest neighbour` (load without harm) say how much that alone makes. A p99.9 is the fourth-largest of 4,000 \
latencies (second-largest of 2,000 in the last two rows): the scheduler's worst moments more than anything else.

";

pub fn write(rows: &[Row], rounds: usize) -> std::io::Result<()> {
    let report = Report { rounds, rows: Vec::new() };
    let mut text = format!("# Isolation\n\n{ABOUT}{}.\n\n", crate::document::conditions(&report));
    text.push_str("| culprit | p50 | p99 | p99.9 |\n|---|---|---|---|\n");
    for row in rows {
        let ratios: Vec<_> = (0..QUANTILES.len()).map(|place| ratio(row, place)).collect();
        let _ = writeln!(text, "| {} | {} |", row.name, ratios.join(" | "));
    }
    text.push_str(
        "\nThe same in time, without → with:\n\n| culprit | p50 | p99 | p99.9 |\n|---|---|---|---|\n",
    );
    for row in rows {
        let cells: Vec<_> = (0..QUANTILES.len())
            .map(|place| {
                let (without, with) = times(row, place);
                format!("{without} → {with}")
            })
            .collect();
        let _ = writeln!(text, "| {} | {} |", row.name, cells.join(" | "));
    }
    text.push_str(
        "\n## What each does, and what became of it\n\nThe innocents' messages are checked one by one: each arrives exactly once, \
         in its sender's order, and none is refused; the run fails otherwise. What is counted beside them is the culprit's, by \
         the router's own figures over all rounds. `tests/isolation.rs` asserts the same counts without a clock.\n\n\
         | culprit | what it does | innocents' messages, sent = received | what became of the culprit's |\n|---|---|---:|---|\n",
    );
    let mut last = "";
    for row in rows {
        if row.case.name == last {
            continue; // This row is another group of the same rounds.
        }
        last = row.case.name;
        let _ = writeln!(text, "| {last} | {} | {} | {} |", row.case.about, row.innocents, row.fate);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/isolation.md");
    std::fs::write(path, text)
}
