//! Reports: the figures as text, JSON or HTML, on demand or periodically, for a callback, a file or the log. Each
//! receiver has its own thread and a short queue. The monitor's thread only puts the figures into the queues.

mod document;
mod json;
mod text;

#[cfg(feature = "schema")]
pub use json::schema;

use super::figures::MonitorStats;
use super::page;
use super::timeline::Timeline;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Text for a terminal or a log.
    Text,
    /// JSON with every figure, under a `schema_version`; see `docs/schema.json`.
    Json,
    /// The dashboard with these figures inside: a self-contained HTML page without external resources.
    Html,
}

impl Format {
    /// The media type of the format.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
        }
    }
}

/// Destination of reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// A file that always holds the latest whole report. The report is written to `PATH.new` in the same directory,
    /// which then replaces the file.
    File(PathBuf),
    /// The log: one `tracing` event per report, at level info.
    Log,
}

/// Writes a report of these figures. `timelines` is called for the formats that show them.
pub(super) fn write(
    stats: &MonitorStats,
    format: Format,
    timelines: impl FnOnce() -> Vec<Timeline>,
) -> String {
    match format {
        Format::Text => text::write(stats),
        Format::Json => json::write(stats),
        Format::Html => page::frozen(&json::write(stats), &timelines()),
    }
}

/// Replaces a file with a report. Follows no symbolic link: in a directory that others may write to, a link would let
/// them choose the file that is overwritten.
pub(super) fn write_file(path: &Path, report: &str) -> std::io::Result<()> {
    let (mut file, beside) = create_beside(path)?;
    let written = file.write_all(report.as_bytes()).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside); // Useless; `written` already holds the error.
    }
    written
}

/// Checks that a report can be written to `path`.
pub(super) fn try_file(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Err(std::io::Error::from_raw_os_error(libc::EISDIR));
    }
    let (_, beside) = create_beside(path)?;
    std::fs::remove_file(beside)
}

/// Creates the new file beside `path`. Removes whatever has its name, even a link, and does not open what appears
/// there meanwhile.
fn create_beside(path: &Path) -> std::io::Result<(File, PathBuf)> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let _ = std::fs::remove_file(&beside); // Usually absent. If removal fails, creation fails below.
    let mut options = File::options();
    let file = options.write(true).create_new(true).custom_flags(libc::O_NOFOLLOW).open(&beside)?;
    Ok((file, beside.into()))
}

/// A list's title. If the list is incomplete, the title says how much of it is shown.
fn cut(title: &str, shown: u64, all: u64) -> String {
    if shown < all { format!("{title} ({shown} of {all})") } else { title.to_owned() }
}

/// Whether a character changes the direction of the text after it. Such a character can disguise a name.
fn changes_direction(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A duration in readable form: three digits and a unit.
fn duration(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{:.1$} µs", value / 1e3, digits(value / 1e3)),
        1_000_000..1_000_000_000 => format!("{:.1$} ms", value / 1e6, digits(value / 1e6)),
        _ => format!("{:.1$} s", value / 1e9, digits(value / 1e9)),
    }
}

/// Number of decimals for three digits in total.
fn digits(value: f64) -> usize {
    match value {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    }
}

/// A number of bytes in readable form.
fn bytes(count: u64) -> String {
    let value = count as f64;
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => format!("{:.1} KiB", value / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", value / 1_048_576.0),
        _ => format!("{:.2} GiB", value / 1_073_741_824.0),
    }
}

/// A share as a percentage.
fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", share * 100.0))
}

/// A time of day, in UTC.
fn time(milliseconds: u64) -> String {
    let (days, rest) = (milliseconds / 86_400_000, milliseconds / 1000 % 86_400);
    // Howard Hinnant's `civil_from_days`, for days since 1970.
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_for_people() {
        let durations = [0, 999, 1_234, 56_789, 999_999, 12_345_678, 1_500_000_000, 68_719_476_736];
        let texts = ["0 ns", "999 ns", "1.23 µs", "56.8 µs", "1000 µs", "12.3 ms", "1.50 s", "68.7 s"];
        assert_eq!(durations.map(duration), texts);
        assert_eq!([7, 2_048, 5 << 20, 3 << 30].map(bytes), ["7 B", "2.0 KiB", "5.0 MiB", "3.00 GiB"]);
        assert_eq!((percent(Some(0.125)), percent(None)), ("12.50 %".to_owned(), "-".to_owned()));
        let times = [0, 951_782_400_000, 1_709_208_000_123, 1_795_417_560_000];
        let dates =
            ["1970-01-01 00:00:00", "2000-02-29 00:00:00", "2024-02-29 12:00:00", "2026-11-23 07:06:00"];
        assert_eq!(times.map(time), dates.map(|date| format!("{date} UTC")));
    }

    #[test]
    fn a_file_always_holds_a_whole_report() {
        let folder = std::env::temp_dir().join(format!("corelane-report-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("report.txt");
        write_file(&path, "first, and longer").unwrap();
        write_file(&path, "second").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");
        assert!(write_file(&folder.join("no/such/folder"), "x").is_err());
        assert!(try_file(&folder.join("no/such/folder")).is_err() && try_file(&folder).is_err());
        try_file(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn no_link_is_followed() {
        let folder = std::env::temp_dir().join(format!("corelane-links-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (victim, path) = (folder.join("victim"), folder.join("report"));
        std::fs::write(&victim, "as it was").unwrap();
        for link in [path.clone(), folder.join("report.new")] {
            std::os::unix::fs::symlink(&victim, &link).unwrap();
            write_file(&path, "report").unwrap();
            assert_eq!(std::fs::read_to_string(&victim).unwrap(), "as it was");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "report");
        }
        assert!(path.symlink_metadata().unwrap().is_file());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
