//! Tables: cells that are sorted by value and shown as text, and columns that fit a width.

use crate::text;
use std::cmp::Ordering;

/// Columns are this far apart.
const GAP: usize = 1;
/// A column of texts is never narrower.
const NARROWEST: usize = 6;

#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub title: &'static str,
    pub right: bool,
    /// Columns with the largest number are left out first where there is no room; 0: never.
    pub rank: u8,
}

/// A column of texts.
pub const fn words(title: &'static str, rank: u8) -> Column {
    Column { title, right: false, rank }
}

/// A column of numbers.
pub const fn numbers(title: &'static str, rank: u8) -> Column {
    Column { title, right: true, rank }
}

/// What a cell shows, and what it is sorted by.
#[derive(Clone, Debug)]
pub struct Cell {
    pub text: String,
    key: Key,
}

#[derive(Clone, Debug)]
enum Key {
    Number(f64),
    Text,
}

impl Cell {
    /// A name, which anybody may have chosen.
    pub fn name(name: &str) -> Self {
        Self { text: text::clean(name), key: Key::Text }
    }

    pub fn number(value: f64, text: String) -> Self {
        Self { text, key: Key::Number(value) }
    }

    pub fn count(value: u64) -> Self {
        Self::number(value as f64, text::count(value))
    }

    pub fn bytes(value: u64) -> Self {
        Self::number(value as f64, text::bytes(value))
    }

    /// Nanoseconds; `-` if there are none.
    pub fn duration(value: impl Into<Option<u64>>) -> Self {
        Self::optional(value.into().map(|value| value as f64), |value| text::duration(value as u64))
    }

    /// Milliseconds.
    pub fn age(value: impl Into<Option<u64>>) -> Self {
        Self::optional(value.into().map(|value| value as f64), |value| text::age(value as u64))
    }

    /// `-` without a value.
    pub fn optional(value: Option<f64>, show: impl Fn(f64) -> String) -> Self {
        let text = value.map_or_else(|| "-".to_owned(), show);
        Self::number(value.unwrap_or(-1.0), text)
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (&self.key, &other.key) {
            (Key::Number(one), Key::Number(two)) => one.total_cmp(two),
            _ => self.text.cmp(&other.text),
        }
    }
}

/// Which column a table is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub column: usize,
    pub descending: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Table {
    pub columns: &'static [Column],
    pub rows: Vec<Vec<Cell>>,
    /// The column that names a row in [`notes`](Self::notes); without one there are no notes.
    pub named: Option<usize>,
    /// What is shown in place of rows if there are none.
    pub empty: String,
}

impl Table {
    pub fn sort(&mut self, order: Order) {
        let compare = |one: &Vec<Cell>, two: &Vec<Cell>| match (one.get(order.column), two.get(order.column))
        {
            (Some(one), Some(two)) if order.descending => two.compare(one),
            (Some(one), Some(two)) => one.compare(two),
            _ => Ordering::Equal,
        };
        self.rows.sort_by(compare);
    }

    /// The columns that are shown, with their widths.
    fn shown(&self, room: usize, order: Option<Order>) -> Vec<(usize, usize)> {
        let widest = |place: usize, column: &Column| {
            let cells = self.rows.iter().filter_map(|row| row.get(place));
            let mark = usize::from(order.is_some_and(|order| order.column == place));
            cells.map(|cell| text::width(&cell.text)).max().unwrap_or(0).max(text::width(column.title) + mark)
        };
        let mut shown: Vec<_> =
            self.columns.iter().enumerate().map(|(place, column)| (place, widest(place, column))).collect();
        let excess = |shown: &[(usize, usize)], cap: usize| {
            let widths = shown
                .iter()
                .map(|(place, width)| if self.columns[*place].right { *width } else { (*width).min(cap) });
            (widths.sum::<usize>() + GAP * shown.len().saturating_sub(1)).saturating_sub(room)
        };
        // Leave out columns while the table does not fit with texts of a third of the room.
        while excess(&shown, (room / 3).min(24)) > 0 {
            let sorted = |place: usize| order.is_some_and(|order| order.column == place);
            let last = shown
                .iter()
                .enumerate()
                .filter(|(_, (place, _))| self.columns[*place].rank > 0 && !sorted(*place));
            let Some((last, _)) = last.max_by_key(|(_, (place, _))| self.columns[*place].rank) else { break };
            shown.remove(last);
        }
        // Then shorten the longest texts.
        while excess(&shown, usize::MAX) > 0 {
            let texts =
                shown.iter_mut().filter(|(place, width)| !self.columns[*place].right && *width > NARROWEST);
            let Some((_, width)) = texts.max_by_key(|(_, width)| *width) else { break };
            *width -= 1;
        }
        shown
    }

    /// The texts of the last column that a line of `room` columns has no room for, each with the texts of the row's
    /// words before it.
    pub fn notes(&self, room: usize) -> Vec<String> {
        let Some(named) = self.named else { return Vec::new() };
        let Some(last) = self.columns.len().checked_sub(1).filter(|last| !self.columns[*last].right) else {
            return Vec::new();
        };
        let shown = self.shown(room, None);
        let width = shown.iter().find(|(place, _)| *place == last).map_or(0, |(_, width)| *width);
        let cut =
            self.rows.iter().filter(|row| row.get(last).is_some_and(|cell| text::width(&cell.text) > width));
        let title = |row: &[Cell]| row.get(named).map(|cell| cell.text.clone()).unwrap_or_default();
        cut.map(|row| format!("{}: {}", title(row), row[last].text)).collect()
    }

    /// The line of titles, with a mark at the column that the table is sorted by.
    pub fn lines(&self, room: usize, order: Option<Order>) -> (String, Vec<String>) {
        let shown = self.shown(room, order);
        let line = |text: &dyn Fn(usize) -> String| {
            let cells = shown
                .iter()
                .map(|(place, width)| text::fit(&text(*place), *width, self.columns[*place].right));
            let line = cells.collect::<Vec<_>>().join(&" ".repeat(GAP));
            text::fit(&line, room, false)
        };
        let title = |place: usize| {
            let title = self.columns[place].title;
            match order {
                Some(order) if order.column == place && order.descending => format!("{title}↓"),
                Some(order) if order.column == place => format!("{title}↑"),
                _ => title.to_owned(),
            }
        };
        let rows = self
            .rows
            .iter()
            .map(|row| line(&|place| row.get(place).map_or_else(String::new, |cell| cell.text.clone())));
        (line(&title), rows.collect())
    }
}

/// Lines of fields for scripts: aligned, with one line of titles. Only the last field may have spaces.
pub fn plain(titles: &[&str], rows: &[Vec<String>]) -> String {
    let width = |place: usize| {
        let cells = rows.iter().filter_map(|row| row.get(place)).map(|cell| text::width(cell));
        cells.max().unwrap_or(0).max(text::width(titles[place]))
    };
    let widths: Vec<_> = (0..titles.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| text::fit(cell, *width, false));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let rows = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(titles.to_vec())).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[words("NAME", 0), numbers("COUNT", 0), words("TEXT", 2), numbers("LESS", 1)];

    fn table() -> Table {
        let row = |name: &str, count| {
            vec![Cell::name(name), Cell::count(count), Cell::name("a text"), Cell::count(1)]
        };
        Table {
            columns: COLUMNS,
            rows: vec![row("b", 7), row("漢字", 70), row("a", 7)],
            named: None,
            empty: String::new(),
        }
    }

    #[test]
    fn a_table_is_as_wide_as_its_room() {
        for room in 1..60 {
            let (title, rows) = table().lines(room, Some(Order { column: 1, descending: true }));
            assert!(std::iter::once(&title).chain(&rows).all(|line| text::width(line) == room), "{room}");
        }
        assert!(table().lines(40, None).0.starts_with("NAME COUNT TEXT   LESS"));
        assert!(!table().lines(18, None).0.contains("TEXT"));
    }

    #[test]
    fn equal_rows_keep_their_order() {
        let mut sorted = table();
        sorted.sort(Order { column: 1, descending: true });
        assert_eq!(sorted.rows.iter().map(|row| &*row[0].text).collect::<Vec<_>>(), ["漢字", "b", "a"]);
        sorted.sort(Order { column: 0, descending: false });
        assert_eq!(sorted.rows[0][0].text, "a");
    }

    #[test]
    fn plain_columns_are_aligned() {
        let rows = [vec!["漢字".to_owned(), "1".to_owned()], vec!["x".to_owned(), "2".to_owned()]];
        assert_eq!(plain(&["NAME", "N"], &rows), "NAME  N\n漢字  1\nx     2\n");
    }
}
