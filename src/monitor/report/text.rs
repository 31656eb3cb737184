//! The text report: tables in columns. A table with one row is written as a list of its columns.

use super::document::{Importance, Part, Table, document};
use crate::monitor::figures::MonitorStats;
use std::fmt::Write;

/// Most rows of a table. The JSON report has all entries.
const MOST_ROWS: usize = 20;

pub(super) fn write(stats: &MonitorStats) -> String {
    let mut text = String::new();
    for part in document(stats) {
        // Writing to a String cannot fail.
        let _ = match part {
            Part::Heading(heading) if text.is_empty() => writeln!(text, "{}", shown(&heading)),
            Part::Heading(heading) => writeln!(text, "\n{}", shown(&heading)),
            Part::Notice(Importance::Urgent, notice) => writeln!(text, "! {}", shown(&notice)),
            Part::Notice(_, notice) => writeln!(text, "{}", shown(&notice)),
            Part::Table(table) => write_table(&mut text, &table),
        };
    }
    text
}

fn write_table(text: &mut String, table: &Table) -> std::fmt::Result {
    if let [row] = &table.rows[..] {
        let columns = table.heads.iter().zip(row).map(|(head, cell)| format!("{head} {}", shown(cell)));
        let columns: Vec<_> = columns.collect();
        return writeln!(text, "\n{}: {}", table.title, columns.join(", "));
    }
    writeln!(text, "\n{}", table.title)?;
    let rows: Vec<Vec<_>> =
        table.rows.iter().take(MOST_ROWS).map(|row| row.iter().map(|cell| shown(cell)).collect()).collect();
    let columns: Vec<_> =
        table.heads.iter().enumerate().map(|(place, head)| column(head, place, &rows)).collect();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut written = String::new();
        for (cell, (width, is_numeric)) in cells.zip(&columns) {
            match is_numeric {
                true => write!(written, "  {cell:>width$}")?,
                false => write!(written, "  {cell:<width$}")?,
            }
        }
        writeln!(text, "{}", written.trim_end())
    };
    line(&mut table.heads.iter().copied())?;
    rows.iter().try_for_each(|row| line(&mut row.iter().map(String::as_str)))?;
    match table.rows.len().saturating_sub(MOST_ROWS) {
        0 => Ok(()),
        more => writeln!(text, "  and {more} more in the JSON report"),
    }
}

/// The width of a column, and whether its cells are numbers.
fn column(head: &str, place: usize, rows: &[Vec<String>]) -> (usize, bool) {
    let cells = || rows.iter().filter_map(|row| row.get(place));
    let width = cells().map(|cell| cell.chars().count()).chain([head.chars().count()]).max().unwrap_or(0);
    (width, cells().all(|cell| cell == "-" || cell.starts_with(|first: char| first.is_ascii_digit())))
}

/// A text that may contain names from peers: characters that would break the line or control the terminal are escaped.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || super::changes_direction(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}
