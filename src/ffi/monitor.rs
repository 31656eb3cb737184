//! Monitors: start, drive, report, reset, release.

use super::borrow::{OutStruct, out, text};
use super::figures::{CorelaneStats, stats_of};
use super::guard::{CorelaneError, Failure, Outcome, answer, guard};
use super::handle::{CorelaneMonitor, CorelaneRouter};
use super::monitors::{Entry, MONITORS, with_monitor};
use super::router::{ROUTERS, with_signals_blocked};
use super::status::CorelaneStatus;
use super::text::CorelaneText;
use crate::config::{Changes, Config, Scope, TABLE};
use crate::export::{Exposition, TextFormat};
use crate::monitor::{Format, Monitor, Span};
use crate::sync::{Mutex, lock};
use std::ffi::c_char;
use std::time::Duration;

/// As the format of a report: text for a terminal or a log.
pub const CORELANE_REPORT_TEXT: u32 = 1;
/// JSON with every figure, under a `schema_version`; see docs/schema.json.
pub const CORELANE_REPORT_JSON: u32 = 2;
/// The dashboard with the figures inside: a self-contained HTML page.
pub const CORELANE_REPORT_HTML: u32 = 3;
/// The Prometheus text format 0.0.4, for GET /metrics with the content type `text/plain; version=0.0.4; charset=utf-8`. Its
/// figures count from the start, whatever was reset. Not for periodic reports.
pub const CORELANE_REPORT_PROMETHEUS: u32 = 4;
/// OpenMetrics 1.0, for GET /metrics with the content type
/// `application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores`. Otherwise as CORELANE_REPORT_PROMETHEUS.
pub const CORELANE_REPORT_OPENMETRICS: u32 = 5;
/// To be added to one of the last two: with the process_ families, which are left out otherwise, because the host's own metrics
/// library may have them, and they must not be there twice.
pub const CORELANE_REPORT_PROCESS: u32 = 0x100;

const PROMETHEUS_PROCESS: u32 = CORELANE_REPORT_PROMETHEUS | CORELANE_REPORT_PROCESS;
const OPENMETRICS_PROCESS: u32 = CORELANE_REPORT_OPENMETRICS | CORELANE_REPORT_PROCESS;

/// The monitors of routers, as handles: router, monitor. Serializes their creation.
static OF_ROUTERS: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

fn insert(monitor: Monitor, router: u64) -> Result<u64, Failure> {
    super::fork::watch();
    let (latest, callbacks) = (Mutex::default(), Mutex::default());
    MONITORS.insert(Box::new(Entry { monitor, router, latest, callbacks }))
}

/// # Safety
/// As [`corelane_monitor_start`].
unsafe fn create(
    config: *const c_char,
    config_length: usize,
    out_monitor: *mut CorelaneMonitor,
    with_thread: bool,
) -> Outcome {
    let out_monitor = out("out_monitor", out_monitor)?;
    // SAFETY: the caller upholds the same contract.
    let config = Config::of_monitor(unsafe { text("config", config, config_length) }?)?;
    let monitor = Monitor::new(config)?;
    if with_thread {
        with_signals_blocked(|| monitor.start())?;
    }
    let value = insert(monitor, 0)?;
    // SAFETY: `out` checked the pointer; the caller has room for a handle there.
    unsafe { out_monitor.write(CorelaneMonitor { value }) };
    Ok(0)
}

/// Starts a monitor without a router, for a server that does its own routing: it shows what the server records. `config` is
/// a text as for `corelane_router_start`. A key that has an effect only in a router is refused (docs/configuration.md, column
/// *effect in*); a preset may be used. The monitor's thread collects once a second, looks at the system and at the alert rules
/// every `monitor_interval_ms`, and blocks all signals.
///
/// Any thread. Does not block. CORELANE_CONFIG_KEY (the error names the line and the nearest keys), CORELANE_CONFIG_VALUE
/// (line, key, value and range; or the key has no effect without a router), CORELANE_INVALID (not UTF-8), CORELANE_LIMIT (64
/// monitors), CORELANE_SYSTEM, CORELANE_NULL.
///
/// # Safety
/// `config` is a text; `out_monitor` points at room for a handle; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_start(
    config: *const c_char,
    config_length: usize,
    out_monitor: *mut CorelaneMonitor,
    error: *mut CorelaneError,
) -> i32 {
    // SAFETY: the caller upholds the same contract.
    let start = || unsafe { create(config, config_length, out_monitor, true) };
    // SAFETY: as above.
    unsafe { guard(error, start) }
}

/// As `corelane_monitor_start`, without a thread: figures are collected when the host asks for them, and rules and reports
/// are looked at in `corelane_monitor_tick`.
///
/// Any thread. Does not block. CORELANE_CONFIG_KEY (the error names the line and the nearest keys), CORELANE_CONFIG_VALUE
/// (line, key, value and range; or the key has no effect without a router), CORELANE_INVALID (not UTF-8), CORELANE_LIMIT (64
/// monitors), CORELANE_NULL.
///
/// # Safety
/// As `corelane_monitor_start`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_new(
    config: *const c_char,
    config_length: usize,
    out_monitor: *mut CorelaneMonitor,
    error: *mut CorelaneError,
) -> i32 {
    // SAFETY: the caller upholds the same contract.
    let create = || unsafe { create(config, config_length, out_monitor, false) };
    // SAFETY: as above.
    unsafe { guard(error, create) }
}

/// Starts the monitor of a router, with the router's configuration and a thread of its own. The host may record to it as
/// well. The monitor may outlive the router. A router has one monitor at a time.
///
/// Any thread. Does not block. CORELANE_EXISTS (the router has a monitor), CORELANE_LIMIT (64 monitors), CORELANE_SYSTEM,
/// CORELANE_STALE, CORELANE_NULL.
///
/// # Safety
/// `out_monitor` points at room for a handle; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_router_monitor(
    router: CorelaneRouter,
    out_monitor: *mut CorelaneMonitor,
    error: *mut CorelaneError,
) -> i32 {
    let start = || -> Outcome {
        let out_monitor = out("out_monitor", out_monitor)?;
        let mut monitors = lock(&OF_ROUTERS);
        monitors.retain(|(_, monitor)| MONITORS.check(*monitor).is_ok());
        let monitor = ROUTERS.enter_shared(router.value, |one| {
            if monitors.iter().any(|(of, _)| *of == router.value) {
                let text = "the router has a monitor: use that one, or release it first";
                return Err(Failure::new(CorelaneStatus::Exists, text));
            }
            Ok(with_signals_blocked(|| one.monitor())?)
        })?;
        let value = insert(monitor, router.value)?;
        monitors.push((router.value, value));
        // SAFETY: `out` checked the pointer; the caller has room for a handle there.
        unsafe { out_monitor.write(CorelaneMonitor { value }) };
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, start) }
}

/// Does one tick: collects, and looks at the system, the rules and the report if they are due. For a monitor of
/// `corelane_monitor_new`: call it about once a second.
///
/// Any thread. Takes microseconds to milliseconds; waits for other readers of this monitor. CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_tick(monitor: CorelaneMonitor) -> i32 {
    answer(|| {
        with_monitor(monitor, |entry| {
            entry.monitor.tick();
            Ok(0)
        })
    })
}

/// Ends the monitor's thread and waits for its end, for at most `timeout_ns`. The figures are kept and can be read, and
/// threads may go on recording. Does nothing to a monitor without a thread.
///
/// Any thread; waits. CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_stop(monitor: CorelaneMonitor, timeout_ns: u64) -> i32 {
    answer(|| {
        with_monitor(monitor, |entry| {
            entry.monitor.stop(Duration::from_nanos(timeout_ns));
            Ok(0)
        })
    })
}

pub(super) fn format(number: u32) -> Result<Format, Failure> {
    match number {
        CORELANE_REPORT_TEXT => Ok(Format::Text),
        CORELANE_REPORT_JSON => Ok(Format::Json),
        CORELANE_REPORT_HTML => Ok(Format::Html),
        _ => Err(Failure::invalid(format!("format is {number}: use a CORELANE_REPORT_ value"))),
    }
}

/// Collects, and writes all figures in a CORELANE_REPORT_ format. Free the text with `corelane_text_free`.
///
/// Any thread. Takes milliseconds if there are very many clients; waits for other readers of this monitor. CORELANE_INVALID
/// (`format`, `size`), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `out_text` points at a corelane_text with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_report(
    monitor: CorelaneMonitor,
    format: u32,
    out_text: *mut CorelaneText,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let out_text = unsafe { OutStruct::new("out_text", out_text) }?;
        with_monitor(monitor, |entry| {
            let with_process = format & CORELANE_REPORT_PROCESS != 0;
            let exposed = |format| Exposition::new(format).process(with_process).write(&entry.monitor);
            let report = match format {
                CORELANE_REPORT_PROMETHEUS | PROMETHEUS_PROCESS => exposed(TextFormat::Prometheus),
                CORELANE_REPORT_OPENMETRICS | OPENMETRICS_PROCESS => exposed(TextFormat::OpenMetrics),
                other => entry.monitor.report(self::format(other)?),
            };
            CorelaneText::hand_out(out_text, report)
        })
    })
}

/// As the span of a history: the last 60 seconds, in slots of a second.
pub const CORELANE_SPAN_MINUTE: u32 = 1;
/// The last 60 minutes, in slots of a minute.
pub const CORELANE_SPAN_HOUR: u32 = 2;
/// The last `stats_retention_hours`, in slots of a quarter of an hour.
pub const CORELANE_SPAN_DAY: u32 = 3;

/// Collects, and writes one series over the last minute, hour or day as JSON: the slots of a series of messages, or the
/// points of a number, oldest first. `corelane_monitor_history_names` lists the series; docs/schema.json describes the fields.
/// Free the text with `corelane_text_free`.
///
/// Any thread. Waits for other readers of this monitor. CORELANE_NOT_FOUND (no such series), CORELANE_INVALID (`span`,
/// `size`, not UTF-8), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `name` is a text; `out_text` points at a corelane_text with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_history(
    monitor: CorelaneMonitor,
    name: *const c_char,
    name_length: usize,
    span: u32,
    out_text: *mut CorelaneText,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let out_text = unsafe { OutStruct::new("out_text", out_text) }?;
        // SAFETY: as above.
        let name = unsafe { text("name", name, name_length) }?;
        let span = match span {
            CORELANE_SPAN_MINUTE => Span::Minute,
            CORELANE_SPAN_HOUR => Span::Hour,
            CORELANE_SPAN_DAY => Span::Day,
            _ => return Err(Failure::invalid(format!("span is {span}: use a CORELANE_SPAN_ value"))),
        };
        with_monitor(monitor, |entry| {
            let unknown = || Failure::new(CorelaneStatus::NotFound, format!("no series is named {name}"));
            let history = entry.monitor.history(name, span).ok_or_else(unknown)?;
            CorelaneText::hand_out(out_text, serde_json::to_string(&history).unwrap_or_default())
        })
    })
}

/// Writes the names of the series that `corelane_monitor_history` knows, as a JSON array of strings. Free the text with
/// `corelane_text_free`.
///
/// Any thread. Waits for other readers of this monitor. CORELANE_INVALID (`size`), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `out_text` points at a corelane_text with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_history_names(
    monitor: CorelaneMonitor,
    out_text: *mut CorelaneText,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let out_text = unsafe { OutStruct::new("out_text", out_text) }?;
        with_monitor(monitor, |entry| {
            let names = entry.monitor.history_names();
            CorelaneText::hand_out(out_text, serde_json::to_string(&names).unwrap_or_default())
        })
    })
}

/// Writes the most bytes that the monitor can hold, if everything that the configuration allows is in use. The memory that
/// threads record into is not in it; `corelane_builder_bytes` covers that of a router.
///
/// Any thread. Does not block. CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `out_bytes` points at room for a uint64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_bytes(monitor: CorelaneMonitor, out_bytes: *mut u64) -> i32 {
    answer(|| {
        let out_bytes = out("out_bytes", out_bytes)?;
        with_monitor(monitor, |entry| {
            // SAFETY: `out` checked the pointer; the caller has room there.
            unsafe { out_bytes.write(entry.monitor.bytes_at_most()) };
            Ok(0)
        })
    })
}

/// Collects, writes the figures up to this moment to `out_stats` (unless it is NULL), and starts all figures anew, at one
/// moment: nothing is lost between them. Lists show the figures up to the reset until the next snapshot. Present values
/// (connections, queues), the router's accounting, alerts and the host's own metrics are not reset.
///
/// Any thread. Takes as long as a snapshot. CORELANE_INVALID (`size`), CORELANE_NULL (not aligned), CORELANE_STALE.
///
/// # Safety
/// `out_stats` is NULL or points at a corelane_stats with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_reset(
    monitor: CorelaneMonitor,
    out_stats: *mut CorelaneStats,
) -> i32 {
    answer(|| {
        let place = match out_stats.is_null() {
            true => None,
            // SAFETY: the caller upholds the same contract.
            false => Some(unsafe { OutStruct::new("out_stats", out_stats) }?),
        };
        with_monitor(monitor, |entry| {
            let mut latest = lock(&entry.latest);
            latest.put(entry.monitor.reset_and_show());
            if let Some(place) = place {
                place.write(&stats_of(&latest));
            }
            Ok(0)
        })
    })
}

/// Changes a value while the monitor runs: an interval, a threshold, the level of detail, or logging. docs/configuration.md
/// says which keys these are.
///
/// Any thread. Waits for other readers of this monitor. CORELANE_CONFIG_KEY (no such key; the error names the nearest),
/// CORELANE_CONFIG_VALUE (the range; or the key cannot be changed; or it has no effect without a router), CORELANE_INVALID
/// (not UTF-8), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `key` and `value` are texts; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_set(
    monitor: CorelaneMonitor,
    key: *const c_char,
    key_length: usize,
    value: *const c_char,
    value_length: usize,
    error: *mut CorelaneError,
) -> i32 {
    let set = || -> Outcome {
        // SAFETY: the caller upholds the same contract.
        let key = unsafe { text("key", key, key_length) }?;
        // SAFETY: as above.
        let value = unsafe { text("value", value, value_length) }?;
        with_monitor(monitor, |entry| {
            let of_routers =
                |row: &&crate::config::Row| row.scope == Scope::Router && row.changes == Changes::Monitor;
            if entry.router == 0 && TABLE.iter().filter(of_routers).any(|row| row.key == key) {
                let text = format!("{key} has no effect in a monitor without a router");
                return Err(Failure::new(CorelaneStatus::ConfigValue, text));
            }
            entry.monitor.set(key, value)?;
            Ok(0)
        })
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, set) }
}

/// Releases a monitor and ends its thread and its callbacks. It waits up to 1 s for callbacks in progress, except for one
/// that calls this function; their contexts are freed when they return. If other threads are inside calls with the monitor,
/// its handle becomes stale at once, and the last of these threads does the rest when its call ends. Alert polls of the monitor
/// stay valid and return CORELANE_CLOSED when they are empty: release them as well. The memory into which a thread has
/// recorded is freed when the thread ends, or records to another monitor.
///
/// Any thread, also from inside a callback; waits for the monitor's thread. CORELANE_STALE the second time.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_release(monitor: CorelaneMonitor) -> i32 {
    answer(|| {
        drop(MONITORS.release(monitor.value)?);
        Ok(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::corelane_router_start;

    #[test]
    fn a_router_has_one_monitor_at_a_time() {
        let (mut router, mut first, mut second) =
            (CorelaneRouter::default(), CorelaneMonitor::default(), CorelaneMonitor::default());
        let none = std::ptr::null_mut();
        let text = c"workers=1".as_ptr();
        // SAFETY: the text has a NUL, the handle has room, and the error may be NULL.
        let status = unsafe { corelane_router_start(text, usize::MAX, &raw mut router, none) };
        assert_eq!(status, 0);
        // SAFETY: as above.
        let open =
            |place: &mut CorelaneMonitor| unsafe { corelane_router_monitor(router, &raw mut *place, none) };
        assert_eq!(open(&mut first), 0);
        assert_eq!((open(&mut second), second.value), (CorelaneStatus::Exists as i32, 0));
        // SAFETY: no requirements.
        assert_eq!(unsafe { corelane_monitor_release(first) }, 0);
        assert_eq!(open(&mut second), 0);
        // SAFETY: no requirements.
        let released =
            unsafe { (super::super::corelane_router_release(router), corelane_monitor_release(second)) };
        assert_eq!(released, (0, 0));
        assert_eq!(open(&mut first), CorelaneStatus::Stale as i32);
    }

    #[test]
    fn the_thread_ends_with_the_handle() {
        let mut monitor = CorelaneMonitor::default();
        // SAFETY: the handle has room; the other pointers may be NULL.
        let status =
            unsafe { corelane_monitor_start(std::ptr::null(), 0, &raw mut monitor, std::ptr::null_mut()) };
        assert_eq!(status, 0);
        let kept = with_monitor(monitor, |entry| Ok(entry.monitor.clone())).unwrap();
        // SAFETY: no requirements.
        assert_eq!(unsafe { corelane_monitor_release(monitor) }, 0);
        let ticks = kept.snapshot().monitor.ticks;
        std::thread::sleep(Duration::from_millis(1_200));
        assert_eq!(kept.snapshot().monitor.ticks, ticks + 1, "only the snapshot has collected");
    }
}
