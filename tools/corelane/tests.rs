//! The screen, drawn from the figures of a real server (tests/recorded), and from those of monitors made here.

use crate::addresses::Addresses;
use crate::app::{App, Report};
use crate::draw::draw;
use crate::figures::Figures;
use crate::text;
use crate::views::View;
use corelane::config::Config;
use corelane::monitor::{Format, Monitor, Span};
use corelane::record::{Measured, RecordedMessage};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use ratatui::style::Color;
use std::time::Duration;

const SIZES: [(u16, u16); 5] = [(80, 24), (120, 40), (40, 12), (200, 60), (20, 5)];

fn recorded() -> Figures {
    let stats = serde_json::from_str(include_str!("tests/recorded/stats.json")).unwrap();
    let timeline = serde_json::from_str(include_str!("tests/recorded/timeline.json")).unwrap();
    Figures { stats, timeline, idle: None, addresses: Addresses::default(), version: "0.1.0".to_owned() }
}

fn of(monitor: &Monitor) -> Figures {
    let stats = serde_json::from_slice(&monitor.report(Format::Json).into_bytes()).unwrap();
    let idle = Some(monitor.idle_clients(Duration::ZERO));
    let timeline = monitor.timeline(Span::Minute, 0);
    Figures { stats, timeline, idle, addresses: Addresses::default(), version: String::new() }
}

fn app(figures: Figures) -> App {
    let mut app = App::new("http://127.0.0.1:9090", true);
    app.take(Report::Figures(Box::new(figures)), 0);
    app
}

fn screen(app: &mut App, (width, height): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app, 1_795_912_050_000)).unwrap();
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width);
    let line = |cells: &[ratatui::buffer::Cell]| cells.iter().map(|cell| cell.symbol()).collect::<String>();
    buffer.content.chunks(width).map(line).collect()
}

fn text_of(app: &mut App, size: (u16, u16)) -> String {
    lines(&screen(app, size)).join("\n")
}

/// Draws every table in every size.
fn each(app: &mut App, check: impl Fn(&Buffer)) {
    for size in SIZES {
        for view in View::ALL {
            app.view = view;
            check(&screen(app, size));
        }
    }
}

#[test]
fn the_figures_of_a_real_server_are_on_the_screen() {
    let figures = recorded();
    let messages = figures.stats.messages.clone().unwrap();
    let mut app = app(figures);
    let shown = text_of(&mut app, (80, 24));
    let minute = &messages.windows.last_minute;
    for expected in [
        format!("P50 {}", text::duration(minute.latency.p50.unwrap())),
        format!("P99 {}", text::duration(minute.latency.p99.unwrap())),
        format!("P95 {}", text::duration(messages.queue_wait_windows.last_minute.latency.p95.unwrap())),
        format!("errors {}", text::percent(minute.error_rate.unwrap())),
        "ALERT warning: error_rate since".to_owned(),
        "connections 55".to_owned(),
        "CANDIDATE".to_owned(),
        "9Alerts!".to_owned(),
    ] {
        assert!(shown.contains(&expected), "{expected}\n{shown}");
    }
    let wide = text_of(&mut app, (120, 40));
    assert!(wide.contains("slow_messages since") && wide.contains("P95"), "{wide}");
    // The seconds of a server under load have no gaps.
    assert!(!wide.contains('·'), "{wide}");
}

#[test]
fn the_message_of_an_alert_is_shown_whole() {
    let mut app = app(recorded());
    app.view = View::Alerts;
    let shown = text_of(&mut app, (80, 24)).replace('\n', "");
    let words: Vec<_> = shown.split_whitespace().collect();
    let message = app.figures.as_ref().unwrap().stats.alerts.current[0].message.clone();
    assert!(words.join(" ").contains(&format!("error_rate: {message}")), "{shown}");
}

#[test]
fn every_table_sorts_by_every_column() {
    let mut app = app(recorded());
    for view in View::ALL {
        app.view = view;
        for _ in 0..2 * view.columns().len() {
            for key in ['s', 'r'] {
                app.press(KeyEvent::from(KeyCode::Char(key)));
                let order = app.order().unwrap();
                let title = view.columns()[order.column].title;
                let mark = if order.descending { '↓' } else { '↑' };
                let shown = text_of(&mut app, (80, 24));
                assert!(shown.contains(&format!("{title}{mark}")), "{title}\n{shown}");
            }
            app.press(KeyEvent::from(KeyCode::Char('r')));
        }
    }
    app.view = View::Clients;
    app.press(KeyEvent::from(KeyCode::Char('S')));
}

#[test]
fn keys_choose_scroll_pause_and_quit() {
    let mut app = app(recorded());
    let press = |app: &mut App, code| app.press(KeyEvent::from(code));
    press(&mut app, KeyCode::Char('8'));
    assert_eq!(app.view, View::Slow);
    screen(&mut app, (80, 24));
    press(&mut app, KeyCode::PageDown);
    assert_eq!(app.first, app.room);
    press(&mut app, KeyCode::End);
    let shown = text_of(&mut app, (80, 24));
    assert!(shown.contains(&format!("-{} of {}", app.rows, app.rows)), "{shown}");
    press(&mut app, KeyCode::Char('0'));
    press(&mut app, KeyCode::Tab);
    assert_eq!((app.view, app.first), (View::Types, 0));
    press(&mut app, KeyCode::BackTab);
    assert_eq!(app.view, View::Refusals);
    press(&mut app, KeyCode::Char('?'));
    assert!(text_of(&mut app, (80, 24)).contains("Any key closes this."));
    press(&mut app, KeyCode::Char('x'));
    assert!(!app.help);
    press(&mut app, KeyCode::Char('p'));
    let before = app.figures.as_ref().unwrap().stats.time_milliseconds;
    let mut later = recorded();
    later.stats.time_milliseconds += 5_000;
    app.take(Report::Figures(Box::new(later)), 0);
    assert_eq!(app.figures.as_ref().unwrap().stats.time_milliseconds, before);
    assert!(text_of(&mut app, (80, 24)).contains("PAUSED"));
    press(&mut app, KeyCode::Char('q'));
    assert!(app.quit);
}

#[test]
fn a_server_that_has_gone_is_named_with_its_time_and_comes_back() {
    let mut app = App::new("http://127.0.0.1:9090", false);
    app.take(Report::Gone("Connection refused".to_owned()), 1_795_912_000_000);
    let shown = text_of(&mut app, (80, 24));
    assert!(shown.contains("NO ANSWER since 00:26:40 UTC (50 s): Connection refused"), "{shown}");
    assert!(shown.contains("No figures yet."));
    app.take(Report::Gone("timeout".to_owned()), 1_795_912_040_000);
    assert!(text_of(&mut app, (80, 24)).contains("since 00:26:40 UTC (50 s): timeout"));
    app.take(Report::Figures(Box::new(recorded())), 1_795_912_041_000);
    assert!(!text_of(&mut app, (80, 24)).contains("NO ANSWER"));
    app.take(Report::Gone("timeout".to_owned()), 1_795_912_045_000);
    let shown = text_of(&mut app, (80, 24));
    assert!(shown.contains("since 00:27:21 UTC (9 s)") && shown.contains("CANDIDATE"), "{shown}");
}

#[test]
fn a_monitor_without_messages_has_a_screen() {
    let mut app = app(of(&Monitor::new(Config::default()).unwrap()));
    let shown = text_of(&mut app, (80, 24));
    assert!(shown.contains("No message yet.") && shown.contains("no alert fires"), "{shown}");
    app.view = View::Workers;
    assert!(text_of(&mut app, (80, 24)).contains("no router"));
    each(&mut app, |_| {});
}

#[test]
fn a_monitor_that_does_not_measure_says_so() {
    let mut config = Config::default();
    config.monitor.metrics = false;
    let mut app = app(of(&Monitor::new(config).unwrap()));
    let shown = text_of(&mut app, (80, 24));
    assert!(shown.contains("enable_metrics is off"), "{shown}");
    each(&mut app, |_| {});
}

#[test]
fn hostile_names_are_shown_and_not_sent() {
    let names = [
        "\u{1b}[2J\u{1b}]0;x\u{7}",
        "漢字漢字漢字漢字漢字",
        "a\u{9b}31mb\u{202e}c",
        "e\u{301}\u{200d}\r\nx",
        "\\u{1b}",
    ];
    let mut config = Config::default();
    config.monitor.slow_message_threshold = Duration::from_millis(1);
    let monitor = Monitor::new(config).unwrap();
    for name in names {
        monitor.connect(name, name).unwrap();
        monitor.record(&RecordedMessage {
            client: name,
            message_type: name,
            protocol: name,
            application: name,
            measured: Measured { processing: Duration::from_millis(5), ..Measured::default() },
        });
    }
    let mut app = app(of(&monitor));
    app.take(Report::Gone(text::clean("\u{1b}[31m")), 0);
    each(&mut app, |buffer| {
        for cell in &buffer.content {
            assert!(!cell.symbol().chars().any(char::is_control), "{:?}", cell.symbol());
            assert!(!cell.symbol().contains(['\u{202e}', '\u{200d}', '\u{301}']), "{:?}", cell.symbol());
        }
    });
    app.view = View::Clients;
    let shown = text_of(&mut app, (200, 60));
    assert!(shown.contains(r"\u{1b}[2J") && shown.contains(r"\\u{1b}"), "{shown}");
    // A wide character takes two cells, the second of which is blank here.
    assert!(shown.replace("字 ", "字").contains("漢"), "{shown}");
}

#[test]
fn the_background_is_that_of_the_terminal_and_colours_can_be_off() {
    let mut app = app(recorded());
    each(&mut app, |buffer| assert!(buffer.content.iter().all(|cell| cell.bg == Color::Reset)));
    app.colour = false;
    app.take(Report::Gone("timeout".to_owned()), 0);
    each(&mut app, |buffer| assert!(buffer.content.iter().all(|cell| cell.fg == Color::Reset)));
}
