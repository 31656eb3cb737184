//! The state of `corelane top`: what is shown, and what keys change.

use crate::figures::Figures;
use crate::table::Order;
use crate::views::{LISTS, View};
use corelane::monitor::Timeline;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::collections::BTreeMap;

/// What the thread that asks the server reports.
pub enum Report {
    Figures(Box<Figures>),
    /// The server did not answer, and why.
    Gone(String),
}

/// One second of all messages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Second {
    pub end: u64,
    pub count: u64,
    pub errors: u64,
}

/// A server that does not answer.
pub struct Gone {
    /// When it answered for the last time, or, if it never has, when it was found gone. In milliseconds since 1970, of
    /// this machine.
    pub since: u64,
    pub why: String,
}

pub struct App {
    pub address: String,
    pub colour: bool,
    pub view: View,
    orders: [Option<Order>; View::ALL.len()],
    pub figures: Option<Figures>,
    /// The seconds of the last minute by start.
    pub seconds: BTreeMap<u64, Second>,
    pub gone: Option<Gone>,
    /// When the server answered for the last time.
    answered: Option<u64>,
    pub paused: bool,
    pub help: bool,
    pub quit: bool,
    /// The first row that is shown.
    pub first: usize,
    /// How many rows there is room for, at the last drawing; and how many there are.
    pub room: usize,
    pub rows: usize,
}

impl App {
    pub fn new(address: &str, colour: bool) -> Self {
        Self {
            address: address.to_owned(),
            colour,
            view: View::Types,
            orders: View::ALL.map(View::first_order),
            figures: None,
            seconds: BTreeMap::new(),
            gone: None,
            answered: None,
            paused: false,
            help: false,
            quit: false,
            first: 0,
            room: 0,
            rows: 0,
        }
    }

    /// Takes what the thread reports. `now`: milliseconds since 1970.
    pub fn take(&mut self, report: Report, now: u64) {
        match report {
            Report::Gone(why) => {
                let since = self.answered.unwrap_or(now);
                self.answered = Some(since);
                self.gone = Some(Gone { since, why });
            }
            Report::Figures(figures) => {
                self.gone = None;
                self.answered = Some(now);
                if !self.paused {
                    self.remember(&figures.timeline);
                    self.figures = Some(*figures);
                }
            }
        }
    }

    /// Adds the seconds of a timeline. They replace those that are known from the first of them on.
    fn remember(&mut self, timeline: &Timeline) {
        let columns = &timeline.messages;
        let columns = columns.start.iter().zip(&columns.end).zip(columns.count.iter().zip(&columns.errors));
        if let Some(first) = timeline.messages.start.first() {
            self.seconds.split_off(first);
        }
        self.seconds.extend(columns.map(|((start, end), (count, errors))| {
            (*start, Second { end: *end, count: *count, errors: *errors })
        }));
        let oldest = timeline.time_milliseconds.saturating_sub(61_000);
        self.seconds = self.seconds.split_off(&oldest);
    }

    /// The last second that is over.
    pub fn last_second(&self) -> Option<(u64, Second)> {
        let (start, second) =
            self.seconds.iter().rev().find(|(start, second)| second.end - **start >= 900)?;
        Some((*start, *second))
    }

    pub fn order(&self) -> Option<Order> {
        self.orders[self.place()]
    }

    fn place(&self) -> usize {
        View::ALL.iter().position(|view| *view == self.view).unwrap_or(0)
    }

    fn show(&mut self, place: usize) {
        self.view = View::ALL[place % View::ALL.len()];
        self.first = 0;
    }

    /// Sorts by the column that is `step` further, largest first; names first in their order.
    fn sort(&mut self, step: usize, back: bool) {
        let columns = self.view.columns();
        let sortable = if self.view == View::Clients { LISTS } else { 0..columns.len() };
        let (lowest, count) = (sortable.start, sortable.end);
        let place = match self.order() {
            Some(order) if back => {
                order.column.checked_sub(step).filter(|place| *place >= lowest).unwrap_or(count - 1)
            }
            Some(order) if order.column + step < count => order.column + step,
            Some(_) => lowest,
            None if back => count - 1,
            None => lowest,
        };
        let descending = columns[place].right && columns[place].title != "#";
        self.orders[self.place()] = Some(Order { column: place, descending });
        self.first = 0;
    }

    fn scroll(&mut self, to: usize) {
        self.first = to.min(self.rows.saturating_sub(self.room));
    }

    pub fn press(&mut self, key: KeyEvent) {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let place = self.place();
        if self.help && key.code != KeyCode::Char('q') && !control {
            self.help = false;
            return;
        }
        match key.code {
            KeyCode::Char('c' | 'd') if control => self.quit = true,
            KeyCode::Char('q') => self.quit = true,
            KeyCode::Esc => self.first = 0,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = true,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('0') => self.show(9),
            KeyCode::Char(digit @ '1'..='9') => self.show(digit as usize - '1' as usize),
            KeyCode::Tab | KeyCode::Right => self.show(place + 1),
            KeyCode::BackTab | KeyCode::Left => self.show(place + View::ALL.len() - 1),
            KeyCode::Char('s' | '>') => self.sort(1, false),
            KeyCode::Char('S' | '<') => self.sort(1, true),
            KeyCode::Char('r') => {
                if let Some(order) = &mut self.orders[place] {
                    order.descending = !order.descending;
                }
            }
            KeyCode::Down | KeyCode::Char('j') => self.scroll(self.first + 1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll(self.first.saturating_sub(1)),
            KeyCode::PageDown => self.scroll(self.first + self.room),
            KeyCode::PageUp => self.scroll(self.first.saturating_sub(self.room)),
            KeyCode::Home | KeyCode::Char('g') => self.scroll(0),
            KeyCode::End | KeyCode::Char('G') => self.scroll(usize::MAX),
            _ => {}
        }
    }
}
