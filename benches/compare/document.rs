//! Writes the results: report.json beside the program, docs/performance.md with its plots, and the table in the README.

use crate::plot;
use crate::race::{PERCENTILES, Report, Row, format_figure};
use crate::sections::{IDLE, SECTIONS, Section};
use std::fmt::Write as _;
use std::path::Path;

const BEGIN: &str = "<!-- bench -->";
const END: &str = "<!-- /bench -->";

/// Writes docs/performance.md and its plots, and the table between the README's markers if the README has them. Returns
/// the paths. Keeps the existing text and plots of benches that were not measured in this run.
pub fn documents(report: &Report, root: &Path) -> std::io::Result<Vec<String>> {
    let mut written = Vec::new();
    let mut write = |path: &str, text: String| {
        written.push(path.to_owned());
        std::fs::write(root.join(path), text)
    };
    std::fs::create_dir_all(root.join("docs/plots"))?;
    for (name, text) in plots(report) {
        write(&format!("docs/plots/{name}.svg"), text)?;
    }
    let earlier = std::fs::read_to_string(root.join("docs/performance.md")).unwrap_or_default();
    write("docs/performance.md", performance(report, &earlier))?;
    let readme = std::fs::read_to_string(root.join("README.md"))?;
    if let (Some(begin), Some(end)) = (readme.find(BEGIN), readme.find(END))
        && begin < end
    {
        let table = short(report, &readme[begin..end]);
        write("README.md", format!("{}{BEGIN}\n\n{table}\n{}", &readme[..begin], &readme[end..]))?;
    }
    Ok(written)
}

fn performance(report: &Report, earlier: &str) -> String {
    let mut text = String::from(
        "# Performance\n\nWritten by `make bench` (`scripts/bench.sh --write-docs`), which takes 12 to 20 minutes on two \
         cores; `scripts/bench.sh --quick` runs everything with little work, in under a minute after the build. All \
         sides of a case run in turns in one run, each round starting with another side. The ratio is the median of \
         the rounds' own ratios, with the minimum and the maximum. **Above 1 means that corelane is better.** The \
         figures themselves change from minute to minute with the machine and its other load, so compare the ratios. \
         A floor is the minimum of work that no implementation can avoid.\n\nTo measure the scaling on a \
         machine with more cores (same system and instruction set), copy `target/bench` there after a run here, run `./compare router scaling` in it, bring its \
         `report.json` back, and run `scripts/bench.sh --from FILE --write-docs`.\n",
    );
    for section in &SECTIONS {
        let measured = rows_of(report, section.bench) + figures_of(report, section.bench);
        begin(&mut text, report, earlier, (section.title, section.about), measured > 0, |text| {
            for plot in section.plots {
                let _ = writeln!(text, "![{}](plots/{plot}.svg)\n", section.title);
            }
            rows(text, report, section);
            latencies(text, report, section.bench);
        });
    }
    begin(&mut text, report, earlier, IDLE, figures_of(report, "idle") > 0, |text| {
        figures(text, report, "idle")
    });
    text.push_str(
        "\n## Instructions\n\nInstructions per operation do not depend on other load. `benches/instructions.txt` has \
         their budgets, and `scripts/callgrind.sh` checks them.\n",
    );
    // Written by hand, and the last section.
    let tried = "\n## What was tried\n";
    if let Some((_, kept)) = earlier.split_once(tried) {
        text.push_str(tried);
        text.push_str(kept);
    }
    text
}

fn rows_of(report: &Report, bench: &str) -> usize {
    report.rows.iter().filter(|row| row.bench == bench).count()
}

fn figures_of(report: &Report, bench: &str) -> usize {
    report.figures.iter().filter(|figure| figure.bench == bench).count()
}

/// Writes a section if it was measured. Otherwise keeps its text in the `earlier` page.
fn begin(
    text: &mut String,
    report: &Report,
    earlier: &str,
    (title, about): (&str, &str),
    measured: bool,
    write: impl FnOnce(&mut String),
) {
    let heading = format!("\n## {title}\n\n");
    text.push_str(&heading);
    if measured {
        let _ = write!(text, "{about}\n\n{}.\n\n", report.conditions);
        write(text);
    } else {
        let kept = earlier.split_once(&heading).and_then(|(_, below)| below.split("\n## ").next());
        text.push_str(kept.unwrap_or("Not measured on this machine.\n"));
    }
}

fn rows(text: &mut String, report: &Report, section: &Section) {
    let [case, peer, ours, theirs, last] = section.columns;
    let _ = writeln!(
        text,
        "| {case} | {peer} | {ours} | {theirs} | unit | {last} |\n|---|---|---:|---:|---|---|"
    );
    for row in report.rows.iter().filter(|row| row.bench == section.bench) {
        let (ours, theirs) = (format_figure(row.ours), format_figure(row.theirs));
        let _ = writeln!(
            text,
            "| {} | {} | {ours} | {theirs} | {} | {} |",
            row.case,
            row.peer,
            row.unit,
            ratio(row)
        );
    }
}

fn latencies(text: &mut String, report: &Report, bench: &str) {
    let of_bench: Vec<_> = report.latencies.iter().filter(|latency| latency.bench == bench).collect();
    if of_bench.is_empty() {
        return;
    }
    let names = PERCENTILES.map(|(name, _)| name).join(" | ");
    let _ = writeln!(
        text,
        "\n| side | load | messages/s | {names} |\n|---|---:|---:|{}",
        "---:|".repeat(PERCENTILES.len())
    );
    for latency in of_bench {
        let values: Vec<_> = latency.microseconds.iter().map(|value| format_figure(*value)).collect();
        let _ = writeln!(
            text,
            "| {} | {} % | {:.0} | {} |",
            latency.side,
            latency.load,
            latency.rate,
            values.join(" | ")
        );
    }
    text.push_str("\nMicroseconds, over all rounds.\n");
}

fn figures(text: &mut String, report: &Report, bench: &str) {
    text.push_str("| case | side | median | minimum | maximum | unit |\n|---|---|---:|---:|---:|---|\n");
    for figure in report.figures.iter().filter(|figure| figure.bench == bench) {
        let [median, min, max] = [figure.median, figure.min, figure.max].map(format_figure);
        let _ = writeln!(
            text,
            "| {} | {} | {median} | {min} | {max} | {} |",
            figure.case, figure.side, figure.unit
        );
    }
}

fn ratio(row: &Row) -> String {
    format!("**{:.2}** [{:.2}–{:.2}]", row.ratio.median, row.ratio.min, row.ratio.max)
}

/// The cases that the README shows, against all peers but the floors.
const HEADLINES: [(&str, &str); 12] = [
    ("ring", "56 bytes"),
    ("ring", "248 bytes"),
    ("router", "200 bytes, 1 thread"),
    ("router", "200 bytes, 2 threads"),
    ("worker", "candidate, 200 bytes"),
    ("fan-out", "to 1000, 2 threads"),
    ("envelope", "ICE candidate: read, relay"),
    ("record", "1 thread"),
    ("server", "1 thread, one in flight: messages"),
    ("server", "1 thread, pipelined: messages"),
    ("server", "defaults, pipelined: messages"),
    ("server", "open loop, 50 % of the slowest: p99"),
];

/// The rows of a headline.
fn headline<'a>(report: &'a Report, (bench, case): (&'a str, &'a str)) -> impl Iterator<Item = &'a Row> {
    report.rows.iter().filter(move |row| {
        row.bench == bench && row.case == case && !row.peer.starts_with("floor") && row.unit != "1000/s"
    })
}

fn title(bench: &str) -> &'static str {
    SECTIONS.iter().find(|section| section.bench == bench).map_or("", |section| section.title)
}

/// The README's table. A bench that was not measured keeps its existing lines.
fn short(report: &Report, earlier: &str) -> String {
    let mut text = String::from(
        "![Ratios](docs/plots/ratios.svg)\n\n| | against | ratio, median [min–max] |\n|---|---|---|\n",
    );
    let mut kept = "";
    for (bench, case) in HEADLINES {
        let begin = format!("| {}, ", title(bench));
        if rows_of(report, bench) > 0 {
            for row in headline(report, (bench, case)) {
                let _ = writeln!(text, "{begin}{case} | {} | {} |", row.peer, ratio(row));
            }
        } else if kept != bench {
            kept = bench;
            for line in earlier.lines().filter(|line| line.starts_with(&begin)) {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text.push_str("\nAll cases, with machine and day: [docs/performance.md](docs/performance.md).\n");
    text
}

/// The plots whose benches were measured: name and text.
fn plots(report: &Report) -> Vec<(String, String)> {
    let mut plots = Vec::new();
    if HEADLINES.iter().all(|(bench, _)| rows_of(report, bench) > 0) {
        let rows: Vec<_> = HEADLINES
            .into_iter()
            .flat_map(|(bench, case)| headline(report, (bench, case)))
            .map(|row| (format!("{}, {} / {}", title(&row.bench), row.case, row.peer), row.ratio))
            .collect();
        plots.push(("ratios".to_owned(), plot::ratios("Above 1: corelane is better", &rows)));
    }
    for (bench, load, what) in [
        ("latency", 10, "its own capacity"),
        ("latency", 50, "its own capacity"),
        ("latency", 90, "its own capacity"),
        ("server", 50, "the slowest server's capacity"),
    ] {
        let of_load =
            report.latencies.iter().filter(|latency| latency.bench == bench && latency.load == load);
        let series: Vec<_> = of_load.map(|one| (one.side.clone(), one.microseconds.clone())).collect();
        if !series.is_empty() {
            let title = format!("Latency in microseconds, each side at {load} % of {what}");
            let places = PERCENTILES.map(|(name, _)| name.to_owned());
            plots.push((format!("{bench}-{load}"), plot::lines(&title, &places, &series)));
        }
    }
    let scaling: Vec<_> = report.rows.iter().filter(|row| row.bench == "scaling").collect();
    if let Some(first) = scaling.first() {
        let of_peer = |peer: &str| scaling.iter().filter(move |row| row.peer == peer).collect::<Vec<_>>();
        let places: Vec<_> = of_peer(&first.peer).iter().map(|row| row.case.clone()).collect();
        let ours = of_peer(&first.peer).iter().map(|row| row.ours).collect();
        let mut series = vec![("corelane".to_owned(), ours)];
        let mut peers: Vec<&str> = Vec::new();
        for row in &scaling {
            if !peers.contains(&row.peer.as_str()) {
                peers.push(&row.peer);
            }
        }
        series.extend(peers.iter().map(|peer| {
            let theirs = of_peer(peer).iter().map(|row| row.theirs).collect();
            ((*peer).to_owned(), theirs)
        }));
        plots.push(("scaling".to_owned(), plot::lines("Million messages per second", &places, &series)));
    }
    plots
}
