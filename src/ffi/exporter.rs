//! Exporters: a monitor's figures to Elasticsearch, OpenSearch and OpenTelemetry collectors.

use super::borrow::{CStruct, OutStruct, out, read_struct, text};
use super::guard::{CorelaneError, Failure, Outcome, answer, guard};
use super::handle::{CorelaneExporter, CorelaneMonitor, Table};
use super::monitors::with_monitor;
use super::router::with_signals_blocked;
use super::text::CorelaneText;
use crate::elasticsearch::{self, Credentials};
use crate::monitor::{ExportSource, Monitor};
use crate::otlp;
use crate::sync::{Arc, Mutex, lock};
use std::ffi::c_char;
use std::path::PathBuf;
use std::time::Duration;

/// As a flag of an export to Elasticsearch: connects and disconnects become no documents.
pub const CORELANE_ELASTICSEARCH_NO_CONNECTIONS: u32 = 1;
/// The exporter installs no index templates. Install the files of src/elasticsearch/templates yourself: the credentials
/// then need no rights but to create documents.
pub const CORELANE_ELASTICSEARCH_NO_TEMPLATES: u32 = 2;

/// Where documents are sent. Everything but the size and `url` may be 0 or NULL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneElasticsearchOptions {
    /// `sizeof(corelane_elasticsearch_options)`, set by the caller: CORELANE_ELASTICSEARCH_OPTIONS_INIT.
    pub size: u32,
    /// CORELANE_ELASTICSEARCH_ flags.
    pub flags: u32,
    /// The server, such as `https://search.example.org:9200`. A path in it is kept.
    pub url: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub url_length: usize,
    /// The user of HTTP basic authentication. NULL: none.
    pub user: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub user_length: usize,
    /// The user's password.
    pub password: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub password_length: usize,
    /// An API key, in the encoded form that Elasticsearch returns. NULL: none. Not together with a user.
    pub api_key: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub api_key_length: usize,
    /// A file of PEM certificates: only servers that these certificates vouch for are trusted. NULL: the certificates of
    /// Mozilla's list, which the library contains.
    pub certificates: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub certificates_length: usize,
    /// The last part of the data streams' names, 1 to 64 characters of a-z, 0-9, _ and a period. NULL: "default".
    pub stream_namespace: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub stream_namespace_length: usize,
    /// The value of service.name in each document. NULL: the name of the program.
    pub service: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub service_length: usize,
    /// Time between two documents of figures, from 1 second to 1 hour; 0: 10 seconds.
    pub interval_ns: u64,
    /// The time limit of one request, from 1 second to 5 minutes; 0: 10 seconds.
    pub request_timeout_ns: u64,
    /// Bytes of documents that may wait, from 64 KiB to 1 GiB; 0: 8 MiB.
    pub queue_bytes: u64,
}

// SAFETY: integers and pointers, the size first.
unsafe impl CStruct for CorelaneElasticsearchOptions {
    const NAME: &'static str = "corelane_elasticsearch_options";
}

/// The collector that figures are sent to. Everything but the size and `url` may be 0 or NULL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneOtlpOptions {
    /// `sizeof(corelane_otlp_options)`, set by the caller: CORELANE_OTLP_OPTIONS_INIT.
    pub size: u32,
    /// Set it to 0.
    pub flags: u32,
    /// The collector, such as "http://127.0.0.1:4318". Requests go to /v1/metrics below it.
    pub url: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub url_length: usize,
    /// Headers of each request, one on each line, such as "authorization: Bearer TOKEN".
    pub headers: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub headers_length: usize,
    /// A file of PEM certificates: only servers that these certificates vouch for are trusted. NULL: the certificates of
    /// Mozilla's list, which the library contains.
    pub certificates: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub certificates_length: usize,
    /// The value of service.name. NULL: the name of the program.
    pub service: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub service_length: usize,
    /// Further attributes of the resource, one on each line, such as "deployment.environment.name=production".
    pub attributes: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub attributes_length: usize,
    /// Time between two requests, from 1 second to 1 hour; 0: 15 seconds.
    pub interval_ns: u64,
    /// The time limit of one request, from 1 second to 5 minutes; 0: 10 seconds.
    pub request_timeout_ns: u64,
}

// SAFETY: integers and pointers, the size first.
unsafe impl CStruct for CorelaneOtlpOptions {
    const NAME: &'static str = "corelane_otlp_options";
}

/// What an exporter has sent and lost. An item is a document of Elasticsearch, or a data point of OpenTelemetry.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneExporterStats {
    /// `sizeof(corelane_exporter_stats)`, set by the caller: CORELANE_EXPORTER_STATS_INIT.
    pub size: u32,
    /// Whether the last request failed: 1 or 0. `corelane_exporter_error` says why.
    pub failing: u32,
    /// Items that the server has stored.
    pub sent: u64,
    /// Items that the server had stored already: the answer to an earlier request was lost.
    pub repeated: u64,
    /// Items that the server has refused for good. The log has the reason.
    pub rejected: u64,
    /// Items that were given up. Documents: the queue was full, or the exporter ended. Data points: their request failed; the
    /// next one has the same series, and newer values.
    pub dropped: u64,
    /// Connection events that came too fast to become documents.
    pub missed: u64,
    /// Requests that failed.
    pub failed_requests: u64,
    /// Documents that wait.
    pub waiting: u64,
    /// Bytes of these documents.
    pub waiting_bytes: u64,
}

// SAFETY: integers only, the size first.
unsafe impl CStruct for CorelaneExporterStats {
    const NAME: &'static str = "corelane_exporter_stats";
}

enum Exporter {
    Elasticsearch(elasticsearch::Exporter),
    Otlp(otlp::Exporter),
}

struct Entry {
    figures: Arc<dyn ExportSource>,
    /// `None` after a stop.
    running: Mutex<Option<Exporter>>,
}

/// The exporters of this process.
static EXPORTERS: Table<Box<Entry>, 16> = Table::new("exporter");

/// # Safety
/// The text is NULL or valid for this length during the call.
unsafe fn owned(name: &str, start: *const c_char, length: usize) -> Result<Option<String>, Failure> {
    // SAFETY: the caller upholds the same contract.
    let text = unsafe { text(name, start, length) }?;
    Ok((!start.is_null()).then(|| text.to_owned()))
}

/// The lines of a text as names and values. The error does not repeat a line: it may be a secret.
fn pairs(name: &str, text: Option<String>, between: char) -> Result<Vec<(String, String)>, Failure> {
    let text = text.unwrap_or_default();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let pair = |(at, line): (usize, &str)| {
        let (key, value) = line.split_once(between).ok_or_else(|| {
            Failure::invalid(format!("line {} of {name} has no {between:?} between name and value", at + 1))
        })?;
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    };
    lines.map(pair).collect()
}

/// A duration, or the default for 0.
fn time(nanoseconds: u64, default: Duration) -> Duration {
    if nanoseconds == 0 { default } else { Duration::from_nanos(nanoseconds) }
}

/// # Safety
/// As [`corelane_monitor_export_elasticsearch`].
unsafe fn documents(given: *const CorelaneElasticsearchOptions) -> Result<elasticsearch::Options, Failure> {
    // SAFETY: the caller upholds the same contract.
    let given = unsafe { read_struct("options", given) }?;
    let part = |name, start, length| {
        // SAFETY: as above.
        unsafe { owned(name, start, length) }
    };
    let flags = CORELANE_ELASTICSEARCH_NO_CONNECTIONS | CORELANE_ELASTICSEARCH_NO_TEMPLATES;
    if given.flags & !flags != 0 {
        return Err(Failure::invalid(format!("flags is {}: use CORELANE_ELASTICSEARCH_ flags", given.flags)));
    }
    let url = part("url", given.url, given.url_length)?;
    let mut options = elasticsearch::Options::new(url.unwrap_or_default());
    let user = part("user", given.user, given.user_length)?;
    let password = part("password", given.password, given.password_length)?;
    options.credentials = match (user, password, part("api_key", given.api_key, given.api_key_length)?) {
        (None, None, None) => Credentials::None,
        (Some(user), Some(password), None) => Credentials::Basic { user, password },
        (None, None, Some(key)) => Credentials::ApiKey(key),
        _ => return Err(Failure::invalid("set user and password, or api_key, or none of them")),
    };
    options.certificates =
        part("certificates", given.certificates, given.certificates_length)?.map(PathBuf::from);
    let namespace = part("stream_namespace", given.stream_namespace, given.stream_namespace_length)?;
    options.namespace = namespace.unwrap_or(options.namespace);
    options.service = part("service", given.service, given.service_length)?.unwrap_or_default();
    options.interval = time(given.interval_ns, options.interval);
    options.request_timeout = time(given.request_timeout_ns, options.request_timeout);
    if given.queue_bytes > 0 {
        options.queue_bytes = usize::try_from(given.queue_bytes).unwrap_or(usize::MAX);
    }
    options.connections = given.flags & CORELANE_ELASTICSEARCH_NO_CONNECTIONS == 0;
    options.install_templates = given.flags & CORELANE_ELASTICSEARCH_NO_TEMPLATES == 0;
    Ok(options)
}

/// # Safety
/// As [`corelane_monitor_export_otlp`].
unsafe fn points(given: *const CorelaneOtlpOptions) -> Result<otlp::Options, Failure> {
    // SAFETY: the caller upholds the same contract.
    let given = unsafe { read_struct("options", given) }?;
    let part = |name, start, length| {
        // SAFETY: as above.
        unsafe { owned(name, start, length) }
    };
    if given.flags != 0 {
        return Err(Failure::invalid(format!("flags is {}: set it to 0", given.flags)));
    }
    let mut options = otlp::Options::new(part("url", given.url, given.url_length)?.unwrap_or_default());
    options.headers = pairs("headers", part("headers", given.headers, given.headers_length)?, ':')?;
    options.certificates =
        part("certificates", given.certificates, given.certificates_length)?.map(PathBuf::from);
    options.service = part("service", given.service, given.service_length)?.unwrap_or_default();
    let attributes = part("attributes", given.attributes, given.attributes_length)?;
    options.attributes = pairs("attributes", attributes, '=')?;
    options.interval = time(given.interval_ns, options.interval);
    options.request_timeout = time(given.request_timeout_ns, options.request_timeout);
    Ok(options)
}

/// # Safety
/// `out_exporter` is NULL or points at room for a handle.
unsafe fn export(
    monitor: CorelaneMonitor,
    out_exporter: *mut CorelaneExporter,
    start: impl FnOnce(&Monitor) -> Result<Entry, Failure>,
) -> Outcome {
    let out_exporter = out("out_exporter", out_exporter)?;
    let value = with_monitor(monitor, |entry| {
        let started = with_signals_blocked(|| start(&entry.monitor))?;
        EXPORTERS.insert(Box::new(started))
    })?;
    // SAFETY: `out` checked the pointer; the caller has room for a handle there.
    unsafe { out_exporter.write(CorelaneExporter { value }) };
    Ok(0)
}

/// Sends a monitor's figures and events to Elasticsearch or OpenSearch, as documents of data streams: docs/monitor.md lists
/// them. Two threads of the library do all work, and block all signals; no thread that handles messages waits for them.
/// Documents wait in a queue of `queue_bytes`. If the server is away or too slow, the queue drops its oldest documents and
/// counts them. The server need not be there yet. The export goes on if the monitor is released.
///
/// Any thread. Reads the file of certificates; does not wait for the server. CORELANE_INVALID (an option: the error says what
/// is allowed), CORELANE_LIMIT (16 exporters in the process, or too many listeners of the monitor), CORELANE_SYSTEM (no thread),
/// CORELANE_STALE, CORELANE_NULL (`options`, `out_exporter`).
///
/// # Safety
/// `options` points at a corelane_elasticsearch_options with its size set; `out_exporter` points at room for a handle; `error`
/// is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_export_elasticsearch(
    monitor: CorelaneMonitor,
    options: *const CorelaneElasticsearchOptions,
    out_exporter: *mut CorelaneExporter,
    error: *mut CorelaneError,
) -> i32 {
    let start = || -> Outcome {
        // SAFETY: the caller upholds the same contract.
        let options = unsafe { documents(options) }?;
        let start = |monitor: &Monitor| {
            let exporter = elasticsearch::Exporter::start(monitor, options)?;
            let figures = exporter.source();
            Ok(Entry { figures, running: Mutex::new(Some(Exporter::Elasticsearch(exporter))) })
        };
        // SAFETY: as above.
        unsafe { export(monitor, out_exporter, start) }
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, start) }
}

/// Sends a monitor's figures to an OpenTelemetry collector, as OTLP metrics over HTTP with protobuf, from a thread of the
/// library, which blocks all signals. The figures are those of CORELANE_REPORT_PROMETHEUS and CORELANE_REPORT_PROCESS. The
/// collector need not be there yet. The export goes on if the monitor is released.
///
/// Any thread. Reads the file of certificates; does not wait for the collector. CORELANE_INVALID (an option: the error says what
/// is allowed), CORELANE_LIMIT (16 exporters in the process), CORELANE_SYSTEM (no thread), CORELANE_STALE, CORELANE_NULL
/// (`options`, `out_exporter`).
///
/// # Safety
/// `options` points at a corelane_otlp_options with its size set; `out_exporter` points at room for a handle; `error` is NULL
/// or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_export_otlp(
    monitor: CorelaneMonitor,
    options: *const CorelaneOtlpOptions,
    out_exporter: *mut CorelaneExporter,
    error: *mut CorelaneError,
) -> i32 {
    let start = || -> Outcome {
        // SAFETY: the caller upholds the same contract.
        let options = unsafe { points(options) }?;
        let start = |monitor: &Monitor| {
            let exporter = otlp::Exporter::start(monitor, options)?;
            let figures = exporter.source();
            Ok(Entry { figures, running: Mutex::new(Some(Exporter::Otlp(exporter))) })
        };
        // SAFETY: as above.
        unsafe { export(monitor, out_exporter, start) }
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, start) }
}

/// Writes what an exporter has sent and lost so far. The monitor's report and /metrics have the sums of all exporters of a kind,
/// also of those that were released.
///
/// Any thread. Does not block. CORELANE_INVALID (`size`), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `out_stats` points at a corelane_exporter_stats with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_exporter_figures(
    exporter: CorelaneExporter,
    out_stats: *mut CorelaneExporterStats,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let place = unsafe { OutStruct::new("out_stats", out_stats) }?;
        let stats = EXPORTERS.enter_shared(exporter.value, |entry| Ok(entry.figures.stats()))?;
        place.write(&CorelaneExporterStats {
            size: 0,
            failing: stats.last_error.is_some().into(),
            sent: stats.sent,
            repeated: stats.repeated,
            rejected: stats.rejected,
            dropped: stats.dropped,
            missed: stats.missed,
            failed_requests: stats.failed_requests,
            waiting: stats.waiting,
            waiting_bytes: stats.waiting_bytes,
        });
        Ok(0)
    })
}

/// Writes why the last request of an exporter failed; an empty text if it succeeded, or if there was none. Free the text with
/// `corelane_text_free`.
///
/// Any thread. Does not block. CORELANE_INVALID (`size`), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `out_text` points at a corelane_text with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_exporter_error(
    exporter: CorelaneExporter,
    out_text: *mut CorelaneText,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let out_text = unsafe { OutStruct::new("out_text", out_text) }?;
        let error = EXPORTERS.enter_shared(exporter.value, |entry| Ok(entry.figures.stats().last_error))?;
        CorelaneText::hand_out(out_text, error.unwrap_or_default())
    })
}

/// Makes the last documents or data points, sends what waits, and ends the exporter, within `timeout_ns`. What could not be sent
/// by then is dropped and counted. Does nothing the second time. The figures can be read until the release.
///
/// Any thread; waits, for one request longer than `timeout_ns` if the server does not answer. CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_exporter_stop(exporter: CorelaneExporter, timeout_ns: u64) -> i32 {
    answer(|| {
        EXPORTERS.enter_shared(exporter.value, |entry| {
            let running = lock(&entry.running).take();
            let patience = Duration::from_nanos(timeout_ns);
            match running {
                Some(Exporter::Elasticsearch(exporter)) => drop(exporter.stop(patience)),
                Some(Exporter::Otlp(exporter)) => drop(exporter.stop(patience)),
                None => {}
            }
            Ok(0)
        })
    })
}

/// Releases an exporter. It ends if it has not been stopped: what waits is dropped.
///
/// Any thread. Does not block. CORELANE_STALE the second time.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_exporter_release(exporter: CorelaneExporter) -> i32 {
    answer(|| {
        drop(EXPORTERS.release(exporter.value)?);
        Ok(0)
    })
}
