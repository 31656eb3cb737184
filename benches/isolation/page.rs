//! Writes the results to docs/isolation.md.

use crate::conditions::{conditions, median};
use crate::culprits::Case;
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
Written by `make isolation` (`scripts/isolation.sh`). The table shows the cost of a culprit for other clients \
(invariant I8). All rounds of a case run in one router with two workers and the same configuration; rounds with and \
without the culprit alternate. The innocents are eight pairs of clients. The senders are on one port and the \
recipients on another, and each port has its own host thread. The innocents send 4,000 messages per second for one \
second at planned times, whatever is delivered. A latency counts from the **planned** time until the recipient's \
host has the message, so a delayed send counts in full. It includes the wake-ups of two host threads and a worker. A \
ratio is the figure with the culprit divided by the figure without it, in one round. The table gives the median of \
the rounds, the minimum and the maximum. **1 means no harm.** The times are the medians of the rounds' own \
percentiles.

How to read it: the culprit and its host need processor time as well. If workers, hosts and culprit share two cores, \
that processor time is part of the result, in addition to any harm that the router should have prevented. The rows \
`nobody` (noise) and `an honest neighbour` (load without harm) show the size of these effects. A p99.9 is the \
fourth-largest of 4,000 latencies (the second-largest of 2,000 in the last two rows) and mostly shows the \
scheduler's worst moments.

";

pub fn write(rows: &[Row], rounds: usize) -> std::io::Result<()> {
    let mut text = format!("# Isolation\n\n{ABOUT}{}.\n\n", conditions(rounds));
    text.push_str("| culprit | p50 | p99 | p99.9 |\n|---|---|---|---|\n");
    for row in rows {
        let ratios: Vec<_> = (0..QUANTILES.len()).map(|place| ratio(row, place)).collect();
        let _ = writeln!(text, "| {} | {} |", row.name, ratios.join(" | "));
    }
    text.push_str(
        "\nThe same as times, without → with:\n\n| culprit | p50 | p99 | p99.9 |\n|---|---|---|---|\n",
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
        "\n## Culprits and outcomes\n\nEvery message of the innocents is checked: it arrives exactly once, in its \
         sender's order, and is not refused; otherwise the run fails. All other messages are the culprit's, counted \
         by the router's own figures over all rounds. `tests/isolation.rs` asserts the same counts without measuring \
         time.\n\n\
         | culprit | what it does | innocents' messages, sent = received | outcome of the culprit's messages |\n|---|---|---:|---|\n",
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
