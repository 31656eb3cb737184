//! Sends the monitor's figures and events to Elasticsearch or OpenSearch, as documents of data streams. Start at
//! [`Exporter::start`].
//!
//! | data stream | a document is | when |
//! |---|---|---|
//! | `metrics-corelane.summary-NAMESPACE` | the totals and the last minute of messages, connections, system and routing | each interval |
//! | `metrics-corelane.series-NAMESPACE` | one type, protocol or application: its totals and its last minute | each interval, if it had messages since the last document |
//! | `metrics-corelane.workers-NAMESPACE` | one worker of a router | each interval |
//! | `metrics-corelane.custom-NAMESPACE` | one series of a metric of the host, with its labels as `name=value` | each interval, a counter or histogram if it has changed |
//! | `logs-corelane.slow-NAMESPACE` | slow messages of one client and type: how many, and the last one's times | when there are more of them |
//! | `logs-corelane.alerts-NAMESPACE` | an alert that was raised, repeated or resolved | at once |
//! | `logs-corelane.connections-NAMESPACE` | a connect or a disconnect | at once |
//!
//! Members of documents have the names of the JSON report (`docs/schema.json`). Each document has an id. A batch that is
//! sent again, because the answer to it was lost, therefore doubles nothing (unless its data stream has rolled over to a
//! new index in between).
//!
//! Two threads of the exporter do all work; no thread that handles messages ever waits for it. Documents wait in a queue
//! of bounded size. If the server is away or too slow, the queue drops its oldest documents and counts them.

// | file | contents |
// |---|---|
// | `options` | what the host sets |
// | `documents` | figures and events become documents |
// | `queue` | the documents that wait |
// | `server` | the HTTP requests, and what the answers mean |
// | `fill`, `send` | the two threads |

mod documents;
mod fill;
mod options;
mod queue;
mod send;
mod server;

pub use options::{Credentials, Options};

use crate::error::{ExportError, ListenError};
use crate::metrics::ExporterStats;
use crate::monitor::{ExportSource, Monitor};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Relaxed, lock};
use documents::Instance;
use fill::Fill;
use queue::Queue;
use send::Sender;
use server::Server;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A running export. Dropping it ends it without waiting; [`stop`](Self::stop) sends what waits first.
#[derive(Debug)]
pub struct Exporter {
    shared: Arc<ExportShared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the two threads and the handle share.
#[derive(Debug)]
struct ExportShared {
    queue: Queue,
    counts: ExportCounts,
    /// No more documents are made; what waits is sent until `give_up`.
    stopping: AtomicBool,
    /// The last documents are made.
    filled: AtomicBool,
    /// What waits is dropped.
    give_up: AtomicBool,
    last_error: Mutex<Option<String>>,
}

/// Relaxed throughout: the counts are independent, and nothing is published through them.
#[derive(Debug, Default)]
struct ExportCounts {
    sent: AtomicU64,
    repeated: AtomicU64,
    rejected: AtomicU64,
    failed_requests: AtomicU64,
    missed: AtomicU64,
}

/// What has become of the documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportFigures {
    /// Documents that the server has stored.
    pub sent: u64,
    /// Documents that the server had stored already: the answer to an earlier request was lost.
    pub repeated: u64,
    /// Documents that the server has refused for good, such as for a mapping that does not fit. The log has the reason.
    pub rejected: u64,
    /// Documents that were dropped because the queue was full, or at the end.
    pub dropped: u64,
    /// Connection events that were lost before they became documents, because they came too fast.
    pub missed: u64,
    /// Requests that failed and were, or will be, repeated.
    pub failed_requests: u64,
    /// Documents that wait.
    pub waiting: u64,
    /// Bytes of the documents that wait.
    pub waiting_bytes: u64,
    /// Why the last request failed. None if it succeeded.
    pub last_error: Option<String>,
}

impl Exporter {
    /// Checks the options, starts the two threads and returns. The server need not be there yet: the threads try until
    /// it answers, install the index templates, and then send. Alerts and connections count from this call on.
    ///
    /// ```no_run
    /// use corelane::elasticsearch::{Credentials, Exporter, Options};
    /// use corelane::{config::Config, monitor::Monitor};
    /// use std::time::Duration;
    ///
    /// let monitor = Monitor::new(Config::default())?;
    /// monitor.start()?;
    /// let mut options = Options::new("https://search.example.org:9200");
    /// options.credentials = Credentials::ApiKey("VnVhQ2ZHY0JDZGJrU…".to_owned());
    /// let exporter = Exporter::start(&monitor, options)?;
    /// // … the server runs …
    /// let figures = exporter.stop(Duration::from_secs(5));
    /// assert_eq!(figures.dropped, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - [`ExportError::Invalid`] if an option is invalid. The text says which, and what it must be.
    /// - [`ExportError::Listen`] if the monitor has too many listeners, or a thread cannot be created.
    pub fn start(monitor: &Monitor, options: Options) -> Result<Self, ExportError> {
        let server = Server::new(&options)?;
        let shared = Arc::new(ExportShared {
            queue: Queue::new(options.queue_bytes),
            counts: ExportCounts::default(),
            stopping: AtomicBool::new(false),
            filled: AtomicBool::new(false),
            give_up: AtomicBool::new(false),
            last_error: Mutex::new(None),
        });
        monitor.show_exporter(Arc::clone(&shared) as Arc<dyn ExportSource>);
        let instance = Instance::new(&options);
        let fill = Fill::new(monitor, &shared, instance, &options)?;
        let sender = Sender::new(&shared, server, &options);
        let mut exporter = Self { shared, threads: Vec::new() };
        exporter.spawn("corelane-es-fill", move || fill.run())?;
        exporter.spawn("corelane-es-send", move || sender.run())?;
        Ok(exporter)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), ExportError> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        self.threads.push(thread.map_err(|error| ListenError::System(error.into()))?);
        Ok(())
    }

    /// What has become of the documents so far.
    pub fn figures(&self) -> ExportFigures {
        self.shared.figures()
    }

    /// The figures alone, which may outlive the exporter.
    pub(crate) fn source(&self) -> Arc<dyn ExportSource> {
        Arc::clone(&self.shared) as Arc<dyn ExportSource>
    }

    /// Makes a last document of everything, sends what waits, and ends, within `patience`. What could not be sent by
    /// then is dropped and counted. Returns the final figures. May wait longer by one request, which has a limit of
    /// its own ([`Options::request_timeout`]), if the server does not answer.
    pub fn stop(mut self, patience: Duration) -> ExportFigures {
        let end = Instant::now() + patience;
        self.shared.end(&self.shared.stopping);
        while self.threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.shared.end(&self.shared.give_up);
        for thread in self.threads.drain(..) {
            // A panic inside has been printed by the panic hook.
            drop(thread.join());
        }
        self.shared.queue.discard();
        self.shared.figures()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.shared.end(&self.shared.stopping);
        self.shared.end(&self.shared.give_up);
    }
}

impl ExportShared {
    fn end(&self, how: &AtomicBool) {
        how.store(true, Relaxed); // Relaxed: `wake` takes the queue's lock, and the threads look again under it.
        self.queue.wake();
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed) // Relaxed: see `end`.
    }

    fn is_filled(&self) -> bool {
        self.filled.load(Relaxed) // Relaxed: see `end`.
    }

    fn gives_up(&self) -> bool {
        self.give_up.load(Relaxed) // Relaxed: see `end`.
    }

    fn figures(&self) -> ExportFigures {
        let load = |count: &AtomicU64| count.load(Relaxed); // Relaxed: see `ExportCounts`.
        let waiting = self.queue.figures();
        ExportFigures {
            sent: load(&self.counts.sent),
            repeated: load(&self.counts.repeated),
            rejected: load(&self.counts.rejected),
            failed_requests: load(&self.counts.failed_requests),
            missed: load(&self.counts.missed),
            dropped: waiting.dropped,
            waiting: waiting.documents,
            waiting_bytes: waiting.bytes,
            last_error: lock(&self.last_error).clone(),
        }
    }
}

impl ExportSource for ExportShared {
    fn stats(&self) -> ExporterStats {
        let figures = self.figures();
        ExporterStats {
            name: "elasticsearch".into(),
            running: 1,
            sent: figures.sent,
            repeated: figures.repeated,
            rejected: figures.rejected,
            dropped: figures.dropped,
            missed: figures.missed,
            failed_requests: figures.failed_requests,
            waiting: figures.waiting,
            waiting_bytes: figures.waiting_bytes,
            last_error: figures.last_error,
        }
    }
}
