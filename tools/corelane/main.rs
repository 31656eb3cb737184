//! A monitor in a terminal, and its figures for scripts. docs/monitor.md describes it.

// | file | contents |
// |---|---|
// | `text` | names made harmless for a terminal; numbers, times and sizes |
// | `table` | tables that are sorted and fit a width; lines of fields for scripts |
// | `views` | the tables of `top`, from the figures |
// | `fetch`, `addresses` | questions to the monitor; the addresses of clients, from a page of the bundled server |
// | `app`, `draw`, `top` | state and keys of `top`; its screen; the terminal and the thread that asks |
// | `commands` | the commands for scripts |

mod addresses;
mod app;
mod commands;
mod draw;
mod fetch;
mod figures;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod top;
mod views;

use clap::{Args, Parser, Subcommand};
use commands::{By, End, Format};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The monitor of a corelane server, in a terminal and for scripts.
///
/// Exit status: 0 if all is well, 1 if an alert fires (only `alerts`), 2 on an error.
#[derive(Debug, Parser)]
#[command(name = "corelane", version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Where {
    /// Address of the monitor: HOST:PORT, or a URL with http:// or https://.
    #[arg(default_value = "127.0.0.1:9090", env = "CORELANE_ADDRESS")]
    address: String,
    /// File that has the monitor's token. Without it, the token is that of the environment variable CORELANE_TOKEN, if
    /// it is set.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificates (PEM) that the server's must come from. Default: those that browsers trust.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Time limit for one answer.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    timeout: Duration,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The figures in this terminal, each second anew.
    Top {
        #[command(flatten)]
        place: Where,
        /// Clients that are silent for this long are in the table of idle clients.
        #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
        idle: Duration,
    },
    /// The whole report.
    Report {
        #[command(flatten)]
        place: Where,
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Alerts: firing ones first, then pending ones, then past ones. Exit status 1 if one fires.
    Alerts {
        #[command(flatten)]
        place: Where,
        /// Only alerts that fire now.
        #[arg(long)]
        firing: bool,
        /// A JSON list in place of lines.
        #[arg(long)]
        json: bool,
    },
    /// The latest slow messages, newest first.
    Slow {
        #[command(flatten)]
        place: Where,
        /// A JSON list in place of lines.
        #[arg(long)]
        json: bool,
    },
    /// The clients with the largest figures, or silent clients.
    Clients {
        #[command(flatten)]
        place: Where,
        /// The figure.
        #[arg(long, value_enum, default_value_t = By::Messages, conflicts_with = "idle")]
        by: By,
        /// Clients that are silent for this long, the longest first.
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        idle: Option<Duration>,
        /// A JSON list in place of lines.
        #[arg(long)]
        json: bool,
    },
}

/// `500ms`, `60s`, `5m` or `1h`; a number alone means seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|char: char| !char.is_ascii_digit());
    let unit = match text.get(digits.len()..).unwrap_or_default() {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let number: Option<u64> = digits.parse().ok();
    let milliseconds =
        number.and_then(|number| number.checked_mul(unit)).filter(|milliseconds| *milliseconds > 0);
    milliseconds.map(Duration::from_millis).ok_or_else(|| "allowed: 500ms, 60s, 5m or 1h".to_owned())
}

fn run(options: Options) -> Result<End, String> {
    let ask = |place: &Where| {
        let token = fetch::token(place.token_file.as_deref())?;
        fetch::Monitor::new(&place.address, token, place.ca_file.as_deref(), place.timeout)
    };
    match options.command {
        Command::Top { place, idle } => top::run(ask(&place)?, idle).map(|()| End::Fine),
        Command::Report { place, format } => commands::report(&ask(&place)?, format),
        Command::Alerts { place, firing, json } => commands::alerts(&ask(&place)?, firing, json),
        Command::Slow { place, json } => commands::slow(&ask(&place)?, json),
        Command::Clients { place, by, idle, json } => commands::clients(&ask(&place)?, by, idle, json),
    }
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(End::Fine) => ExitCode::SUCCESS,
        Ok(End::Firing) => ExitCode::from(1),
        Err(problem) => {
            eprintln!("corelane: {problem}");
            ExitCode::from(2)
        }
    }
}
