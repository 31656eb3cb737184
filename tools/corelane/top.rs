//! `corelane top`: the terminal, its keys, and the thread that asks the monitor.

use crate::addresses::{Addresses, Info};
use crate::app::{App, Report};
use crate::draw::draw;
use crate::fetch::Monitor;
use crate::figures::Figures;
use crate::views::{LISTS, View, list};
use corelane::monitor::{ClientFigures, MonitorStats, Timeline};
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::time::{Duration, Instant, SystemTime};

/// Time between two questions to the monitor.
const PERIOD: Duration = Duration::from_secs(1);
/// Time between two looks at signals and reports.
const LOOK: Duration = Duration::from_millis(100);
/// Seconds that ended this long before the last answer are asked for again: one was open then.
const AGAIN: u64 = 3_000;

/// What only some tables show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Want {
    idle: bool,
    addresses: bool,
}

impl Want {
    fn of(view: View) -> Self {
        Self { idle: view == View::Idle, addresses: matches!(view, View::Idle | View::Clients) }
    }
}

/// Shows the screen until the user quits.
///
/// # Errors
/// A text that says why there is no screen.
pub fn run(monitor: Monitor, idle_from: Duration) -> Result<(), String> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err("top needs a terminal; for scripts there are report, alerts, slow and clients".to_owned());
    }
    let stopped = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_usize(signal, Arc::clone(&stopped), signal as usize)
            .map_err(|error| format!("signals cannot be caught: {error}"))?;
    }
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut app = App::new(monitor.address(), colour);
    let (want, wanted) = channel();
    // A screen that does not draw must not collect figures.
    let (sender, reports) = sync_channel(1);
    let asking = std::thread::Builder::new().name("corelane-ask".to_owned());
    asking
        .spawn(move || ask(&monitor, idle_from, &wanted, &sender))
        .map_err(|error| format!("no thread: {error}"))?;
    let watched = Arc::clone(&stopped);
    let watching = std::thread::Builder::new().name("corelane-watch".to_owned());
    watching.spawn(move || watch(&watched)).map_err(|error| format!("no thread: {error}"))?;
    // From here on a panic puts the terminal back before it is shown.
    let mut terminal =
        ratatui::try_init().map_err(|error| format!("the terminal cannot be set up: {error}"))?;
    let shown = show(&mut terminal, &mut app, &reports, &want, &stopped);
    // These fail only if the terminal is gone.
    let _ = ratatui::try_restore();
    // Not left to the terminal's drop, which a signal below would skip.
    let _ = terminal.show_cursor();
    let signal = stopped.load(Ordering::Relaxed);
    if signal != 0 {
        end_by(signal);
    }
    shown
}

/// Ends as the signal would have ended us, so that the caller sees why.
fn end_by(signal: usize) {
    let _ = signal_hook::low_level::emulate_default_handler(signal as i32);
}

/// Ends the process if the screen does not do so: crossterm never returns from the read of a terminal that has been
/// closed, and a write waits as long as the terminal holds it back.
fn watch(stopped: &AtomicUsize) {
    loop {
        std::thread::sleep(LOOK);
        let signal = match stopped.load(Ordering::Relaxed) {
            0 if std::io::stdin().is_terminal() => continue,
            0 => SIGHUP as usize,
            signal => signal,
        };
        std::thread::sleep(PERIOD);
        let _ = ratatui::try_restore();
        end_by(signal);
    }
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    app: &mut App,
    reports: &Receiver<Report>,
    want: &Sender<Want>,
    stopped: &AtomicUsize,
) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("the terminal does not answer: {error}");
    let mut told = Want::default();
    let mut drawn: Option<Instant> = None;
    while !app.quit && stopped.load(Ordering::Relaxed) == 0 {
        let mut changed = drawn.is_none_or(|drawn| drawn.elapsed() >= PERIOD);
        loop {
            match reports.try_recv() {
                Ok(report) => app.take(report, now()),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err("the thread that asks has ended".to_owned()),
            }
            changed = true;
        }
        if changed {
            terminal.draw(|frame| draw(frame, app, now())).map_err(failed)?;
            drawn = Some(Instant::now());
        }
        let mut wait = LOOK;
        while event::poll(wait).map_err(failed)? {
            match event::read().map_err(failed)? {
                Event::Key(key) if key.kind != KeyEventKind::Release => app.press(key),
                _ => {}
            }
            (drawn, wait) = (None, Duration::ZERO);
            if app.quit {
                break;
            }
        }
        let wanted = Want::of(app.view);
        if wanted != told {
            told = wanted;
            // Fails only after the thread has ended, which the loop sees next.
            let _ = want.send(wanted);
        }
    }
    Ok(())
}

/// Milliseconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

/// Asks the monitor each second, and at once when something else is wanted, until the screen is gone.
fn ask(monitor: &Monitor, idle_from: Duration, wanted: &Receiver<Want>, reports: &SyncSender<Report>) {
    let mut asker = Asker { monitor, idle_from, after: 0, info: None, addresses: Addresses::default() };
    let mut want = Want::default();
    loop {
        let started = Instant::now();
        let report = match asker.look(want) {
            Ok(figures) => Report::Figures(Box::new(figures)),
            Err(why) => {
                // Another server may answer next, with another clock and other clients.
                (asker.after, asker.info, asker.addresses) = (0, None, Addresses::default());
                Report::Gone(why)
            }
        };
        if reports.send(report).is_err() {
            return;
        }
        match wanted.recv_timeout(PERIOD.saturating_sub(started.elapsed())) {
            Ok(wanted) => want = wanted,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

struct Asker<'a> {
    monitor: &'a Monitor,
    idle_from: Duration,
    /// Only seconds that end later are asked for.
    after: u64,
    info: Option<Info>,
    addresses: Addresses,
}

impl Asker<'_> {
    /// All figures of now.
    fn look(&mut self, want: Want) -> Result<Figures, String> {
        let monitor = self.monitor;
        let stats: MonitorStats = monitor.json("/api/stats")?;
        let timeline: Timeline = monitor.json(&format!("/api/timeline?span=minute&after={}", self.after))?;
        let path = format!("/api/clients/idle?longer_than_ms={}&limit=1000", self.idle_from.as_millis());
        let idle: Option<Vec<ClientFigures>> = want.idle.then(|| monitor.json(&path)).transpose()?;
        // A host that serves the monitor by itself may not have this page.
        let info = self.info.get_or_insert_with(|| monitor.json("/api/info").unwrap_or_default());
        if want.addresses {
            let top = stats.clients.iter().flat_map(|clients| LISTS.flat_map(|column| list(clients, column)));
            self.addresses.ask(monitor, info, idle.iter().flatten().chain(top))?;
        }
        self.after = timeline.time_milliseconds.saturating_sub(AGAIN);
        let version = info.version.clone();
        Ok(Figures { stats, timeline, idle, addresses: self.addresses.clone(), version })
    }
}
