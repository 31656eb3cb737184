//! The log: one line per event on stderr, with its time. Also the lines printed at the start. A separate thread
//! writes them; all other threads pass their lines to it and never wait. If stdout or stderr is closed, or nobody
//! reads it, lines are dropped and no thread blocks.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing::metadata::Metadata;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Maximum number of lines that wait for the writer.
const WAITING: usize = 4096;
/// Maximum number of lines per second: once for warnings and errors, once for all other lines.
const PER_SECOND: u32 = 500;
/// How long the process waits at its end for the last lines.
const PATIENCE: Duration = Duration::from_millis(300);
const SECOND: Duration = Duration::from_secs(1);

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

/// The formats by name.
pub(crate) const FORMATS: [(&str, Format); 2] = [("text", Format::Text), ("json", Format::Json)];
/// The levels by name.
pub(crate) const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

#[derive(Debug)]
struct Line {
    is_stdout: bool,
    bytes: Vec<u8>,
}

/// The queue to the writer's thread, with its counts.
#[derive(Debug)]
struct Lines {
    sender: SyncSender<Line>,
    accepted: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
}

static LINES: OnceLock<Arc<Lines>> = OnceLock::new();

fn lines() -> Option<&'static Arc<Lines>> {
    if LINES.get().is_none() {
        let (sender, receiver) = mpsc::sync_channel(WAITING);
        let zero = AtomicU64::default;
        let lines = Arc::new(Lines { sender, accepted: zero(), written: zero(), dropped: zero() });
        // If another thread was first, its queue is used and this one is dropped.
        if LINES.set(Arc::clone(&lines)).is_ok() {
            // If the thread cannot start, lines are dropped and counted.
            let _ =
                std::thread::Builder::new().name("log".to_owned()).spawn(move || write(&receiver, &lines));
        }
    }
    LINES.get()
}

/// Runs on the writer's thread.
fn write(receiver: &mpsc::Receiver<Line>, lines: &Lines) {
    let (mut told, mut told_at) = (0, Instant::now());
    loop {
        match receiver.recv_timeout(SECOND) {
            Ok(Line { is_stdout, bytes }) => {
                let done = if is_stdout { whole(io::stdout(), &bytes) } else { whole(io::stderr(), &bytes) };
                if done.is_err() {
                    lines.dropped.fetch_add(1, Relaxed);
                }
                lines.written.fetch_add(1, Relaxed);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let dropped = lines.dropped.load(Relaxed);
        if dropped > told && told_at.elapsed() >= SECOND {
            tracing::warn!(lines = dropped - told, "log lines were dropped");
            (told, told_at) = (dropped, Instant::now());
        }
    }
}

fn whole(mut stream: impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

impl Lines {
    /// Queues a line, or drops and counts it if the queue is full. Never blocks.
    fn send(&self, line: Line) {
        self.accepted.fetch_add(1, Relaxed);
        if self.sender.try_send(line).is_err() {
            self.accepted.fetch_sub(1, Relaxed);
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

fn send(is_stdout: bool, text: impl fmt::Display) {
    if let Some(lines) = lines() {
        lines.send(Line { is_stdout, bytes: format!("{text}\n").into_bytes() });
    }
}

/// Prints a line to stdout.
pub(crate) fn print(text: impl fmt::Display) {
    send(true, text);
}

/// Prints to stderr why the server cannot run.
pub(crate) fn complain(text: impl fmt::Display) {
    send(false, text);
}

/// Number of lines that were dropped.
pub(crate) fn dropped() -> u64 {
    LINES.get().map_or(0, |lines| lines.dropped.load(Relaxed))
}

/// Waits until all lines are written, for at most `PATIENCE`. Called at the end of the process.
pub(crate) fn finish() {
    let Some(lines) = LINES.get() else { return };
    let until = Instant::now() + PATIENCE;
    while lines.written.load(Relaxed) < lines.accepted.load(Relaxed) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Counts the lines of the current second: the second in the upper half of the word, the count in the lower half.
#[derive(Debug, Default)]
struct Window(AtomicU64);

impl Window {
    /// Whether one more line may be written in this second. Relaxed suffices: the word alone carries the state, and
    /// it publishes nothing else.
    fn admit(&self, second: u32) -> bool {
        let next = |word: u64| {
            let count = if (word >> 32) as u32 == second { word as u32 } else { 0 };
            (count < PER_SECOND).then(|| u64::from(second) << 32 | u64::from(count + 1))
        };
        self.0.fetch_update(Relaxed, Relaxed, next).is_ok()
    }
}

/// Makes one writer per event for the subscriber.
#[derive(Debug)]
struct Maker {
    start: Instant,
    trouble: Window,
    others: Window,
}

/// One event's line; `None` discards it.
struct Event(Option<Vec<u8>>);

impl Write for Event {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(line) = &mut self.0 {
            line.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if let (Some(lines), Some(bytes)) = (lines(), self.0.take()) {
            lines.send(Line { is_stdout: false, bytes });
        }
    }
}

impl<'a> MakeWriter<'a> for Maker {
    type Writer = Event;

    fn make_writer(&'a self) -> Event {
        Event(Some(Vec::new()))
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Event {
        let window = if *metadata.level() <= Level::WARN { &self.trouble } else { &self.others };
        if window.admit(self.start.elapsed().as_secs() as u32) {
            return Event(Some(Vec::new()));
        }
        if let Some(lines) = lines() {
            lines.dropped.fetch_add(1, Relaxed);
        }
        Event(None)
    }
}

/// Starts logging, panics included.
pub(crate) fn start(level: LevelFilter, format: Format) {
    let maker = Maker { start: Instant::now(), trouble: Window::default(), others: Window::default() };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        .with_writer(maker);
    // The client of NATS has a line for each message below this level. They would take the place of the server's own lines.
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::INFO))
        .with_target("corelane", level)
        .with_target("peerjs_server", level);
    // This cannot fail: no other subscriber is set before.
    let _ = match format {
        Format::Text => builder.finish().with(targets).try_init(),
        Format::Json => builder.json().flatten_event(true).finish().with(targets).try_init(),
    };
    std::panic::set_hook(Box::new(|panic| tracing::error!("a thread panicked: {panic}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_lines_and_the_next_has_them_again() {
        let window = Window::default();
        assert_eq!((0..2 * PER_SECOND).filter(|_| window.admit(0)).count() as u32, PER_SECOND);
        assert!(window.admit(1) && window.admit(1));
    }
}
