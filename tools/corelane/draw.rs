//! Draws the screen of `corelane top`. Every name passes [`text::clean`] before. The background stays that of the
//! terminal, and every colour only repeats what a word says.

use crate::app::{App, Second};
use crate::text;
use crate::views::View;
use corelane::monitor::alert::{Alert, Severity};
use corelane::monitor::{MonitorStats, WindowStats};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Sparkline, SparklineBar, Wrap};

const NONE: Style = Style::new();
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const REVERSED: Style = Style::new().add_modifier(Modifier::REVERSED);
const STRONG: Style = Style::new().add_modifier(Modifier::REVERSED).add_modifier(Modifier::BOLD);

/// The smallest screen that has room for anything.
const SMALLEST: (u16, u16) = (40, 12);

/// The seconds of the chart: the monitor keeps 60, of which the last is not over and the first may be about to leave.
const SECONDS: usize = 58;

/// Draws everything. `now`: milliseconds since 1970.
pub fn draw(frame: &mut Frame<'_>, app: &mut App, now: u64) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        frame.render_widget(Paragraph::new("The terminal is too small."), area);
        return;
    }
    let mut screen = Screen { frame, line: 0 };
    screen.title(app, now);
    let Some(figures) = &app.figures else {
        screen.waiting(app);
        if app.help {
            help(frame);
        }
        return;
    };
    let stats = &figures.stats;
    let tall = area.height >= 32;
    screen.figures(app, stats);
    let chart = match area.height {
        ..18 => 0,
        18..32 => 3,
        _ => 5,
    };
    screen.chart(app, chart, figures.timeline.time_milliseconds);
    screen.firing(app, stats, if tall { 4 } else { 1 });
    screen.tabs(app, stats);
    screen.table(app);
    screen.foot(app);
    if app.help {
        help(frame);
    }
}

struct Screen<'a, 'b> {
    frame: &'a mut Frame<'b>,
    line: u16,
}

/// The rate of one second, which may have been a little longer or shorter.
fn per_second(start: u64, second: Second) -> f64 {
    second.count as f64 * 1e3 / second.end.saturating_sub(start).max(1) as f64
}

/// A number with its unit, or `-`.
fn duration(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), text::duration)
}

impl App {
    fn tint(&self, colour: Color) -> Style {
        if self.colour { BOLD.fg(colour) } else { BOLD }
    }

    /// Red and magenta can be read on light and on dark backgrounds.
    fn severity(&self, severity: Severity) -> Style {
        match severity {
            Severity::Critical => self.tint(Color::Red),
            Severity::Warning => self.tint(Color::Magenta),
            _ => BOLD,
        }
    }
}

impl Screen<'_, '_> {
    fn width(&self) -> usize {
        self.frame.area().width.into()
    }

    /// Draws the next line.
    fn put(&mut self, line: Line<'_>) {
        let area = self.frame.area();
        if self.line < area.height {
            self.frame.render_widget(line, Rect::new(0, self.line, area.width, 1));
        }
        self.line += 1;
    }

    fn title(&mut self, app: &App, now: u64) {
        let mut right = format!(" {} UTC ", text::clock(now));
        if let Some(figures) = &app.figures {
            let up = figures.stats.time_milliseconds.saturating_sub(figures.stats.started_milliseconds);
            right = format!("  {}  up {}  {right}", text::clean(&figures.version), text::age(up));
        }
        if app.paused {
            right = format!("  PAUSED{right}");
        }
        let room = self.width().saturating_sub(text::width(&right));
        let left = format!(" corelane top  {}", text::clean(&app.address));
        self.put(Line::styled(text::fit(&left, room, false) + &right, REVERSED));
        match &app.gone {
            Some(gone) => {
                let since = format!(
                    " NO ANSWER since {} UTC ({}): {}; asking again each second ",
                    text::clock(gone.since),
                    text::age(now.saturating_sub(gone.since)),
                    gone.why
                );
                let style = if app.colour { STRONG.fg(Color::Red) } else { STRONG };
                self.put(Line::styled(text::fit(&since, self.width(), false), style));
            }
            None => self.put(Line::default()),
        }
    }

    fn waiting(&mut self, app: &App) {
        self.line += 1;
        let text = if app.gone.is_some() { "No figures yet." } else { "Asking the monitor …" };
        self.put(Line::raw(format!(" {text}")));
        self.line = self.frame.area().height - 1;
        self.put(Line::raw(" q quit   ? help"));
    }

    fn figures(&mut self, app: &App, stats: &MonitorStats) {
        let label = |text: &'static str| Span::styled(text, NONE);
        let rate = app.last_second().map(|(start, second)| per_second(start, second));
        match &stats.messages {
            Some(messages) => {
                let minute = &messages.windows.last_minute;
                let rate = rate.map_or_else(|| "-".to_owned(), text::rate);
                let error_rate = minute.error_rate.map_or_else(|| "-".to_owned(), text::percent);
                let style = if minute.errors > 0 { app.tint(Color::Red) } else { BOLD };
                let average = minute.throughput_per_second.map_or_else(|| "-".to_owned(), text::rate);
                let mut line = vec![
                    label(" messages "),
                    Span::styled(format!("{rate}/s"), BOLD),
                    Span::raw(format!(" (minute {average}/s)   ")),
                    label("errors "),
                    Span::styled(error_rate, style),
                ];
                if minute.errors > 0 {
                    let clients = messages.error_clients_last_minute;
                    line.push(Span::raw(format!(
                        " ({} of {} clients)",
                        text::count(minute.errors),
                        text::count(clients)
                    )));
                }
                line.push(Span::raw(format!("   slow {}", text::count(minute.slow))));
                self.put(Line::from(line));
                self.put(percentiles(" handling   ", minute));
                self.put(percentiles(" queue wait ", &messages.queue_wait_windows.last_minute));
            }
            None => {
                let rate =
                    stats.routing.as_ref().map(|routing| text::rate(routing.rates.messages_per_second));
                let rate = rate.unwrap_or_else(|| "-".to_owned());
                self.put(Line::from(vec![label(" messages "), Span::styled(format!("{rate}/s"), BOLD)]));
                self.put(Line::raw(" handling   not measured: enable_metrics is off on the server"));
                self.put(Line::raw(" queue wait not measured"));
            }
        }
        let connections = &stats.connections;
        let mut line = vec![
            label(" connections "),
            Span::styled(text::count(connections.active), BOLD),
            Span::raw(format!(
                " (peak {}, +{} -{} in a minute)",
                text::count(connections.peak),
                text::count(connections.connects_last_minute),
                text::count(connections.disconnects_last_minute)
            )),
        ];
        if let Some(routing) = &stats.routing {
            let totals = &routing.totals;
            line.extend([
                label("   queued "),
                Span::styled(text::count(totals.queue_messages), BOLD),
                Span::raw(format!(" ({})", text::bytes(totals.queue_bytes))),
                label("   in flight "),
                Span::styled(text::count(totals.concurrency), BOLD),
            ]);
        }
        self.put(Line::from(line));
        let mut parts = Vec::new();
        if let Some(system) = &stats.system {
            if let Some(share) = system.cpu.process_share {
                parts.push(format!("cpu {}", text::percent(share)));
            }
            if let Some(resident) = system.memory.resident_bytes {
                parts.push(format!("memory {}", text::bytes(resident)));
            }
        }
        if let Some(routing) = &stats.routing {
            let mut workers = format!("workers {}", routing.workers.len());
            for (count, what) in [(routing.workers_stalled, "STALLED"), (routing.workers_lost, "LOST")] {
                if count > 0 {
                    workers.push_str(&format!(", {count} {what}"));
                }
            }
            parts.push(workers);
            let full = routing.credit_exhausted_last_minute + routing.egress_full_last_minute;
            parts.push(format!("full queues {} in a minute", text::count(full)));
        }
        self.put(Line::raw(format!(" {}", parts.join("   "))));
    }

    fn chart(&mut self, app: &App, height: u16, now: u64) {
        if height == 0 {
            return;
        }
        let area = self.frame.area();
        // A second is as many columns wide as there is room for.
        let wide = usize::from((area.width.saturating_sub(14) / 60).max(1));
        let seconds = (usize::from(area.width).saturating_sub(14) / wide).min(SECONDS);
        // A bar shows the second that was on half-way through it. The last bar ends with the last second that is over.
        let last = app.last_second().map_or(now, |(_, second)| second.end);
        let bar = |place: usize| {
            let moment = last.saturating_sub(1_000 * (seconds - place) as u64 + 500);
            let (start, second) =
                app.seconds.range(..=moment).next_back().filter(|(_, second)| second.end > moment)?;
            Some(per_second(*start, *second).round() as u64)
        };
        let bars: Vec<_> = (1..=seconds).map(bar).collect();
        let most = bars.iter().flatten().max().copied().unwrap_or(0);
        let bars = bars.into_iter().flat_map(|bar| std::iter::repeat_n(SparklineBar::from(bar), wide));
        let labels =
            [format!("{:>11}/s", text::count(most)), " last minute".to_owned(), format!("{:>11} ", 0)];
        let left = Rect::new(0, self.line, 13, height);
        for (place, text) in [(0, &labels[0]), (height / 2, &labels[1]), (height - 1, &labels[2])] {
            self.frame.render_widget(Line::raw(text.as_str()), Rect { y: left.y + place, height: 1, ..left });
        }
        let chart = Sparkline::default().data(bars).max(most.max(1)).absent_value_symbol("·");
        let width = (seconds * wide) as u16;
        self.frame.render_widget(chart, Rect::new(14, self.line, width.min(area.width - 14), height));
        self.line += height;
    }

    fn firing(&mut self, app: &App, stats: &MonitorStats, lines: usize) {
        let firing = &stats.alerts.current;
        if firing.is_empty() {
            let pending = stats.alerts.pending.len();
            let pending = if pending > 0 { format!(" ({pending} pending)") } else { String::new() };
            self.put(Line::raw(format!(" no alert fires{pending}")));
            return;
        }
        let mut sorted: Vec<&Alert> = firing.iter().collect();
        let rank = |severity| match severity {
            Severity::Critical => 0,
            Severity::Warning => 1,
            _ => 2,
        };
        sorted.sort_by_key(|alert| rank(alert.severity));
        for (place, alert) in sorted.iter().take(lines).enumerate() {
            let since = alert.raised.unwrap_or(alert.since);
            let mut start = format!(" ALERT {}: {}", alert.severity.label(), text::clean(&alert.name));
            if !alert.label_set.is_empty() {
                start.push_str(&format!(" {{{}}}", text::clean(&alert.label_set)));
            }
            let age = text::age(stats.time_milliseconds.saturating_sub(since));
            start.push_str(&format!(" since {} ({age})", text::clock(since)));
            let rest = firing.len() - place - 1;
            let more = if rest > 0 && place + 1 == lines { format!(" +{rest} more ") } else { String::new() };
            let room = self.width().saturating_sub(text::width(&more));
            let message = format!("  {}", text::clean(&alert.message));
            let whole = text::fit(&(start.clone() + &message), room, false);
            // The start stands out; the message follows as it is.
            let split = if whole.starts_with(&start) { start.len() } else { whole.len() };
            let (start, message) = whole.split_at(split);
            self.put(Line::from(vec![
                Span::styled(start, app.severity(alert.severity)),
                Span::raw(message),
                Span::styled(more, BOLD),
            ]));
        }
    }

    fn tabs(&mut self, app: &App, stats: &MonitorStats) {
        let gap = if self.width() >= 110 { " " } else { "" };
        let mut line = Vec::new();
        for (place, view) in View::ALL.into_iter().enumerate() {
            let key = (place + 1) % 10;
            let mark = if view == View::Alerts && !stats.alerts.current.is_empty() { "!" } else { "" };
            let title = format!("{gap}{key}{gap}{}{mark}{gap}", view.title());
            line.push(Span::styled(title, if view == app.view { STRONG } else { NONE }));
            line.push(Span::raw(if gap.is_empty() { " " } else { "  " }));
        }
        self.put(Line::from(line));
    }

    fn table(&mut self, app: &mut App) {
        let area = self.frame.area();
        let Some(figures) = &app.figures else { return };
        let order = app.order();
        let table = app.view.table(figures, order);
        let (title, rows) = table.lines(self.width(), order);
        self.put(Line::styled(title, BOLD));
        app.room = area.height.saturating_sub(self.line + 1).into();
        app.rows = rows.len();
        app.first = app.first.min(app.rows.saturating_sub(app.room));
        if rows.is_empty() {
            self.put(Line::raw(table.empty.as_str()));
        }
        let notes = table.notes(self.width());
        for (row, cells) in rows.iter().zip(&table.rows).skip(app.first).take(app.room) {
            // Words in capital letters say that something is wrong, or that an alert fires.
            let bad = match app.view {
                View::Workers => cells[1].text.starts_with(char::is_uppercase),
                View::Alerts => cells[0].text == "firing",
                _ => false,
            };
            self.put(Line::styled(row.as_str(), if bad { app.tint(Color::Red) } else { NONE }));
        }
        // Below the rows, what was cut in them.
        let free = area.height.saturating_sub(self.line + 2);
        if !notes.is_empty() && free > 0 {
            let notes = Paragraph::new(notes.into_iter().map(Line::raw).collect::<Vec<_>>());
            let place = Rect::new(1, self.line + 1, area.width - 2, free);
            self.frame.render_widget(notes.wrap(Wrap { trim: true }), place);
        }
    }

    fn foot(&mut self, app: &App) {
        self.line = self.frame.area().height - 1;
        let place = match app.rows {
            0 => String::new(),
            rows => format!(" {}-{} of {rows} ", app.first + 1, (app.first + app.room).min(rows)),
        };
        let keys = " q quit  ? help  p pause  s/S sort  r reverse  1-0 table  ↑↓ scroll";
        let room = self.width().saturating_sub(text::width(&place));
        self.put(Line::styled(text::fit(keys, room, false) + &place, REVERSED));
    }
}

fn percentiles(label: &'static str, window: &WindowStats) -> Line<'static> {
    let mut line = vec![Span::raw(label)];
    let latency = &window.latency;
    for (name, value) in [("P50 ", latency.p50), ("P95 ", latency.p95), ("P99 ", latency.p99)] {
        line.push(Span::raw(name));
        line.push(Span::styled(format!("{:<10}", duration(value)), BOLD));
    }
    line.push(Span::raw(format!("max {}", duration(latency.maximum))));
    Line::from(line)
}

const HELP: [&str; 17] = [
    "1-9, 0          the table of that number",
    "Tab, Shift-Tab  the next table, the previous one",
    "s, S            sort by the next column, the previous one",
    "r               reverse the order",
    "arrows, PgUp, PgDn, Home, End   scroll",
    "p, space        pause and go on",
    "q, Ctrl-C       quit",
    "",
    "Rates: the last second. Percentiles, errors: the last minute.",
    "Totals count since the last reset, or the start.",
    "handling: time that a message takes once it is its turn",
    "queue wait: time that it waits before",
    "queued: messages in the workers' queues",
    "in flight: messages that have no outcome yet",
    "Clients: sorting chooses the monitor's list of the largest.",
    "A · in the chart is a second without figures.",
    "Any key closes this.",
];

fn help(frame: &mut Frame<'_>) {
    let area = frame.area();
    let (width, height) = (area.width.min(66), area.height.min(HELP.len() as u16 + 2));
    let place = Rect::new((area.width - width) / 2, (area.height - height) / 2, width, height);
    frame.render_widget(Clear, place);
    let block = Block::bordered().title(" help ");
    frame.render_widget(Paragraph::new(HELP.map(Line::raw).to_vec()).block(block), place);
}
