//! Sends the monitor's figures to an OpenTelemetry collector: OTLP over HTTP with protobuf. Start at [`Exporter::start`].
//!
//! The figures are those of the Prometheus text, under names and units of OpenTelemetry: `corelane_messages_total` is
//! the sum `corelane.messages`, and times are in seconds (`s`). Figures of the process have the names of the semantic
//! conventions, such as `process.memory.usage`. All sums and histograms are cumulative and count since the start of the
//! monitor, whatever was reset. A request that is lost therefore loses nothing but one point of each curve, and nothing
//! is sent twice.
//!
//! One thread of the exporter does all work; no thread that handles messages ever waits for it.

// | file | contents |
// |---|---|
// | `read` | reads the families of our own text; the one walk over the figures is that of `export` |
// | `convert` | families become OTLP metrics |

mod convert;
mod read;

use crate::error::{ExportError, ListenError};
use crate::export::{Exposition, TextFormat};
use crate::metrics::ExporterStats;
use crate::monitor::{ExportSource, Monitor};
use crate::outgoing::{self, said};
use crate::sync::{Arc, Mutex, lock};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Condvar, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use ureq::Agent;

/// Options of an [`Exporter`].
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// The collector, such as `http://127.0.0.1:4318`. Requests go to `/v1/metrics` below it.
    pub url: String,
    /// Headers of each request, such as `("authorization", "Bearer …")`.
    pub headers: Vec<(String, String)>,
    /// A file of PEM certificates: only servers that these certificates vouch for are trusted. None: the certificates
    /// of Mozilla's list, which the library contains.
    pub certificates: Option<PathBuf>,
    /// The value of `service.name`. Empty: the name of the program.
    pub service: String,
    /// Further attributes of the resource, such as `("deployment.environment.name", "production")`.
    pub attributes: Vec<(String, String)>,
    /// Time between two requests: from 1 second to 1 hour.
    pub interval: Duration,
    /// Limit of one request, from the connection to the end of the answer: from 1 second to 5 minutes.
    pub request_timeout: Duration,
}

impl Options {
    /// The defaults for a collector: no headers, every 15 seconds, 10 seconds for a request.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: Vec::new(),
            certificates: None,
            service: String::new(),
            attributes: Vec::new(),
            interval: Duration::from_secs(15),
            request_timeout: Duration::from_secs(10),
        }
    }

    /// Checks the options, and reads the file of certificates. [`Exporter::start`] does so too.
    ///
    /// # Errors
    /// [`ExportError::Invalid`] with the option and what it must be.
    pub fn check(&self) -> Result<(), ExportError> {
        self.agent().map(drop)
    }

    /// A client for these options, if they are valid.
    fn agent(&self) -> Result<Agent, ExportError> {
        self.check_values()?;
        outgoing::agent(self.certificates.as_deref(), self.request_timeout)
    }

    fn check_values(&self) -> Result<(), ExportError> {
        outgoing::check(&self.url, self.interval, self.request_timeout)?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_header = |(name, value): &(String, String)| {
            !name.is_empty()
                && name.bytes().all(is_name)
                && value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        };
        if !self.headers.iter().all(is_header) {
            return Err(ExportError::Invalid {
                option: "headers",
                must: "have names of letters, digits and hyphens, and values of printable ASCII",
            });
        }
        Ok(())
    }
}

/// Never prints the values of headers: they may be secrets.
impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        formatter
            .debug_struct("Options")
            .field("url", &self.url)
            .field("headers", &headers)
            .field("certificates", &self.certificates)
            .field("service", &self.service)
            .field("attributes", &self.attributes)
            .field("interval", &self.interval)
            .field("request_timeout", &self.request_timeout)
            .finish()
    }
}

/// What has become of the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportFigures {
    /// Requests that the collector has taken.
    pub sent: u64,
    /// Requests that failed. The next one has the same figures, and newer.
    pub failed: u64,
    /// Points of the requests that the collector has taken, without those that it has refused.
    pub sent_points: u64,
    /// Points of the requests that failed.
    pub lost_points: u64,
    /// Points that the collector has refused in requests that it took. The log has the reason.
    pub rejected_points: u64,
    /// Why the last request failed. None if it succeeded.
    pub last_error: Option<String>,
}

/// A running export. Dropping it ends it without waiting; [`stop`](Self::stop) sends the last figures first.
#[derive(Debug)]
pub struct Exporter {
    shared: Arc<ExportShared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct ExportState {
    figures: ExportFigures,
    stopping: bool,
}

#[derive(Debug, Default)]
struct ExportShared {
    state: Mutex<ExportState>,
    changed: Condvar,
}

impl Exporter {
    /// Checks the options, starts the thread and returns. The collector need not be there yet.
    ///
    /// ```no_run
    /// use corelane::otlp::{Exporter, Options};
    /// use corelane::{config::Config, monitor::Monitor};
    /// use std::time::Duration;
    ///
    /// let monitor = Monitor::new(Config::default())?;
    /// monitor.start()?;
    /// let exporter = Exporter::start(&monitor, Options::new("http://127.0.0.1:4318"))?;
    /// // … the server runs …
    /// assert_eq!(exporter.stop(Duration::from_secs(5)).last_error, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - [`ExportError::Invalid`] if an option is invalid. The text says which, and what it must be.
    /// - [`ExportError::Listen`] if the thread cannot be created.
    pub fn start(monitor: &Monitor, options: Options) -> Result<Self, ExportError> {
        let agent = options.agent()?;
        let shared = Arc::new(ExportShared::default());
        monitor.show_exporter(Arc::clone(&shared) as Arc<dyn ExportSource>);
        let sender = Sender {
            monitor: monitor.clone(),
            shared: Arc::clone(&shared),
            agent,
            url: format!("{}/v1/metrics", options.url.trim_end_matches('/')),
            resource: convert::resource(&options),
            options,
        };
        let thread = std::thread::Builder::new().name("corelane-otlp".to_owned()).spawn(move || sender.run());
        let thread = Some(thread.map_err(|error| ListenError::System(error.into()))?);
        Ok(Self { shared, thread })
    }

    /// What has become of the requests so far.
    pub fn figures(&self) -> ExportFigures {
        lock(&self.shared.state).figures.clone()
    }

    /// The figures alone, which may outlive the exporter.
    pub(crate) fn source(&self) -> Arc<dyn ExportSource> {
        Arc::clone(&self.shared) as Arc<dyn ExportSource>
    }

    /// Sends the last figures and ends, within `patience`. Returns the final figures. A request that is under way then
    /// ends by itself, after [`Options::request_timeout`] at the latest.
    pub fn stop(mut self, patience: Duration) -> ExportFigures {
        self.shared.stop();
        let end = Instant::now() + patience;
        if let Some(thread) = self.thread.take() {
            while !thread.is_finished() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
            if thread.is_finished() {
                // A panic inside has been printed by the panic hook.
                drop(thread.join());
            }
        }
        self.figures()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl ExportShared {
    fn stop(&self) {
        lock(&self.state).stopping = true;
        self.changed.notify_all();
    }
}

impl ExportSource for ExportShared {
    fn stats(&self) -> ExporterStats {
        let figures = lock(&self.state).figures.clone();
        ExporterStats {
            name: "otlp".into(),
            running: 1,
            sent: figures.sent_points,
            rejected: figures.rejected_points,
            dropped: figures.lost_points,
            failed_requests: figures.failed,
            last_error: figures.last_error,
            ..ExporterStats::default()
        }
    }
}

struct Sender {
    monitor: Monitor,
    shared: Arc<ExportShared>,
    agent: Agent,
    url: String,
    resource: convert::Resource,
    options: Options,
}

impl Sender {
    fn run(self) {
        let mut due = Instant::now() + self.options.interval;
        loop {
            let left = due.saturating_duration_since(Instant::now());
            let waits = |state: &mut ExportState| !state.stopping;
            let state = lock(&self.shared.state);
            let waited = self.shared.changed.wait_timeout_while(state, left, waits);
            let stopping = waited.unwrap_or_else(PoisonError::into_inner).0.stopping;
            self.send();
            if stopping {
                return;
            }
            // After a late request the next one is a whole interval away, so that requests never pile up.
            due = (due + self.options.interval).max(Instant::now());
        }
    }

    fn send(&self) {
        let text = Exposition::new(TextFormat::OpenMetrics).write(&self.monitor);
        let snapshot = self.monitor.snapshot();
        let times = (snapshot.started_milliseconds, snapshot.time_milliseconds);
        let message = convert::request(&read::families(&text), &self.resource, times);
        let (points, body) = (convert::points(&message), message.encode_to_vec());
        let request = self.agent.post(&self.url).header("content-type", "application/x-protobuf");
        let headers = self.options.headers.iter();
        let request = headers.fold(request, |request, (name, value)| request.header(name, value));
        let result = match outgoing::send(request, &body) {
            // A collector may answer without a body.
            Ok((200, answer)) => ExportMetricsServiceResponse::decode(&*answer)
                .map_err(|error| format!("no OTLP answer: {error}")),
            Ok((status, answer)) => Err(said(status, &answer)),
            Err(problem) => Err(problem),
        };
        self.note(points, result);
    }

    fn note(&self, points: u64, result: Result<ExportMetricsServiceResponse, String>) {
        let mut state = lock(&self.shared.state);
        let figures = &mut state.figures;
        match result {
            Ok(answer) => {
                figures.sent += 1;
                figures.last_error = None;
                let partial = answer.partial_success.unwrap_or_default();
                let rejected = u64::try_from(partial.rejected_data_points).unwrap_or(0);
                figures.rejected_points += rejected;
                figures.sent_points += points.saturating_sub(rejected);
                drop(state);
                if rejected > 0 {
                    let reason: String = partial.error_message.chars().take(outgoing::SHOWN).collect();
                    tracing::warn!(target: "corelane::otlp", rejected, reason, "the collector has refused points");
                }
            }
            Err(problem) => {
                figures.failed += 1;
                figures.lost_points += points;
                let is_new = figures.last_error.replace(problem.clone()).as_deref() != Some(&*problem);
                drop(state);
                if is_new {
                    tracing::warn!(target: "corelane::otlp", problem, "cannot send figures; trying again");
                }
            }
        }
    }
}
