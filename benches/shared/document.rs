//! Writes the results: target/bench/report.json, docs/performance.md, and the table in the README.

use crate::race::{Report, Row, figure, today};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

const BEGIN: &str = "<!-- bench -->";
const END: &str = "<!-- /bench -->";

/// Writes the rows as JSON, under the root of the repository. Returns the path.
pub fn json(report: &Report, root: &Path) -> std::io::Result<String> {
    std::fs::create_dir_all(root.join("target/bench"))?;
    let text = serde_json::to_string_pretty(&report.rows)?;
    std::fs::write(root.join("target/bench/report.json"), text + "\n")?;
    Ok("target/bench/report.json".to_owned())
}

/// Writes docs/performance.md, and the table between the README's markers if the README has them. Returns the paths.
/// Keeps the existing text of benches that were not measured in this run.
pub fn documents(report: &Report, root: &Path) -> std::io::Result<Vec<String>> {
    let page = root.join("docs/performance.md");
    let earlier = std::fs::read_to_string(&page).unwrap_or_default();
    std::fs::write(page, performance(report, &earlier))?;
    let mut written = vec!["docs/performance.md".to_owned()];
    let readme = std::fs::read_to_string(root.join("README.md"))?;
    if let (Some(begin), Some(end)) = (readme.find(BEGIN), readme.find(END))
        && begin < end
    {
        let table = short(report, &readme[begin..end]);
        let text = format!("{}{BEGIN}\n\n{table}\n{}", &readme[..begin], &readme[end..]);
        std::fs::write(root.join("README.md"), text)?;
        written.push("README.md".to_owned());
    }
    Ok(written)
}

/// The machine, the date and the toolchain in one line.
pub fn conditions(report: &Report) -> String {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map_or("unknown rustc".to_owned(), |output| {
        String::from_utf8_lossy(&output.stdout).split('(').next().unwrap_or_default().trim().to_owned()
    });
    format!("{model}, {cores} cores; {}; {rustc}; {} rounds", today(), report.rounds)
}

const BENCHES: [(&str, &str, &str); 6] = [
    (
        "ring",
        "Ring",
        "One thread sends to another, in batches of 32; the receiver reads batches of up to 256. Each side has space \
         for 512 KiB. Every message is copied in, and its words are added up on the way out.",
    ),
    (
        "router",
        "Router",
        "From port to worker to port: 64 PeerJS clients on one host thread, one worker. Peers do the same work: copy \
         the message, parse it with serde_json and borrowed fields, look up the recipient under a read lock, \
         rewrite the message, record with prometheus and resolved handles, and read the same clock.",
    ),
    (
        "envelope",
        "Envelope",
        "Reads one message and writes it with the sender that the server knows. A set has 256 different messages.",
    ),
    (
        "record",
        "Record",
        "Records one message by type, protocol and application: at least five counters and four histograms. Corelane \
         keeps more figures of a message than any peer, and six more with a client. All threads record at once, \
         each on its own core if there are enough cores; otherwise threads share cores. The figure is processor time \
         per record, averaged over the threads; sleeping on a lock is not charged. `own recorder` is \
         `Monitor::recorder`, with which the peers are compared; `shared cells` is `Monitor::record_labelled`, from \
         any thread.",
    ),
    (
        "scaling",
        "Record: many threads against one",
        "From the same rounds: the cost of a record for each of several concurrent threads, compared with the cost \
         for one thread alone. **Here 1 is perfect, and less is better.** Plain additions to memory that is not \
         shared show the machine's own part.",
    ),
    (
        "server",
        "PeerJS server",
        "16 pairs of WebSocket connections on loopback; candidates of 200 bytes. `one in flight`: each pair waits \
         for the delivery of a message before it sends the next. `pipelined`: each pair sends 32 at once. Processor \
         time is the server's, kernel included.",
    ),
];

fn performance(report: &Report, earlier: &str) -> String {
    let mut text =
        String::from("# Performance\n\nWritten by `make bench` (`scripts/bench.sh --write-docs`). ");
    text.push_str(
        "Both sides of a line run alternately in one process or against one client. The ratio is the median of the \
         rounds' own ratios, with the minimum and the maximum. **Above 1 means that corelane is better.** The \
         figures themselves change from minute to minute with the machine and its other load, so compare the ratios. \
         A floor is the minimum of work that no implementation can avoid.\n",
    );
    for (name, title, about) in BENCHES {
        let heading = format!("\n## {title}\n\n");
        text.push_str(&heading);
        let rows: Vec<_> = report.rows.iter().filter(|row| row.bench == name).collect();
        if rows.is_empty() {
            text.push_str(section(earlier, &heading).unwrap_or("Not measured on this machine.\n"));
            continue;
        }
        let _ = write!(text, "{about}\n\n{}.\n\n", conditions(report));
        text.push_str(if name == "scaling" {
            "| what | threads | together | alone | unit | together ÷ alone |\n"
        } else {
            "| case | against | ours | theirs | unit | ratio |\n"
        });
        text.push_str("|---|---|---:|---:|---|---|\n");
        for row in rows {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                row.case,
                row.peer,
                figure(row.ours),
                figure(row.theirs),
                row.unit,
                ratio(row)
            );
        }
    }
    text.push_str(
        "\n## Instructions\n\nInstructions per operation do not depend on other load. `benches/instructions.txt` has their budgets, and \
         `scripts/callgrind.sh` checks them.\n",
    );
    text
}

/// The text between a heading and the next heading.
fn section<'a>(page: &'a str, heading: &str) -> Option<&'a str> {
    let (_, below) = page.split_once(heading)?;
    below.split("\n## ").next()
}

fn ratio(row: &Row) -> String {
    format!("**{:.2}** [{:.2}–{:.2}]", row.ratio.median, row.ratio.min, row.ratio.max)
}

/// The README's table: for each bench, the first case against every peer, without the floors. A bench that was not
/// measured keeps its existing lines.
fn short(report: &Report, earlier: &str) -> String {
    let mut text = String::from("| | against | ratio, median [min–max] |\n|---|---|---|\n");
    for (name, title, _) in BENCHES.into_iter().filter(|(name, ..)| *name != "scaling") {
        let rows: Vec<_> = report.rows.iter().filter(|row| row.bench == name).collect();
        let first = rows.first().map(|row| row.case.clone());
        let server = name == "server";
        for row in &rows {
            if !row.peer.starts_with("floor") && (server || Some(&row.case) == first.as_ref()) {
                let _ = writeln!(text, "| {title}, {} | {} | {} |", row.case, row.peer, ratio(row));
            }
        }
        if rows.is_empty() {
            let begin = format!("| {title}, ");
            for line in earlier.lines().filter(|line| line.starts_with(&begin)) {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text.push_str("\nAll cases, with machine and day: [docs/performance.md](docs/performance.md).\n");
    text
}
