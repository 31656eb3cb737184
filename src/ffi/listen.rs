//! Listeners of a monitor: callbacks for alerts and reports, report files, and queues of alerts for an event loop.

use super::alerts::{CorelaneAlert, alert};
use super::borrow::{OutStruct, out, text};
use super::guard::{CorelaneError, Failure, Outcome, answer, guard};
use super::handle::{CorelaneAlertPoll, CorelaneCallback, CorelaneMonitor, Table};
use super::handler::{Callback, CorelaneFreeFn};
use super::monitor::format;
use super::monitors::{Entry, Listener, with_monitor};
use super::router::with_signals_blocked;
use super::status::CorelaneStatus;
use crate::error::ListenError;
use crate::monitor::{AlertPoll, CallbackId, Target};
use crate::sync::{Arc, AtomicU64, Relaxed, lock};
use std::ffi::{c_char, c_void};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Gets an alert, which is valid during the call. Runs on a thread of its own.
pub type CorelaneAlertFn = Option<unsafe extern "C" fn(context: *mut c_void, alert: *const CorelaneAlert)>;
/// Gets a report, valid during the call, with a closing NUL after `length` bytes. Runs on a thread of its own.
pub type CorelaneReportFn =
    Option<unsafe extern "C" fn(context: *mut c_void, report: *const c_char, length: usize)>;

/// The queues of alerts of this process.
static POLLS: Table<Box<AlertPoll>, 256> = Table::new("alert poll");

/// Starts a listener, and adds it to the monitor's list.
fn add(
    entry: &Entry,
    of_reports: bool,
    start: impl FnOnce() -> Result<CallbackId, ListenError>,
) -> Result<CorelaneCallback, Failure> {
    // 0 is never a valid handle. A number is not used again, so that no handle is valid in another monitor.
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = with_signals_blocked(start)?;
    let number = NEXT.fetch_add(1, Relaxed); // Relaxed: only the number counts.
    lock(&entry.callbacks).push(Listener { number, id, of_reports });
    Ok(CorelaneCallback { value: number })
}

/// As [`add`], for a function of the host. If the listener does not start, the context stays the caller's.
fn add_function<F>(
    entry: &Entry,
    of_reports: bool,
    callback: Callback<F>,
    start: impl FnOnce(Arc<Callback<F>>) -> Result<CallbackId, ListenError>,
) -> Result<CorelaneCallback, Failure> {
    let callback = Arc::new(callback);
    let added = add(entry, of_reports, || start(Arc::clone(&callback)));
    if added.is_err()
        && let Some(callback) = Arc::into_inner(callback)
    {
        callback.forget();
    }
    added
}

/// Calls `callback` with each alert when it is raised, repeated and resolved. Each callback has a thread of its own, with all
/// signals blocked; calls of one callback never overlap. It may take long and may call any function of this library, also
/// `corelane_monitor_remove_callback` for itself and `corelane_monitor_release`. Its queue holds 256 alerts; a full queue drops
/// its oldest alert and counts it.
///
/// The context is the library's from now on, unless the call fails: it calls `free_context`, which may be NULL, once, after
/// the callback's last call.
///
/// Any thread. Does not block. CORELANE_LIMIT (16 callbacks), CORELANE_SYSTEM, CORELANE_NULL (`callback` or `out_callback`),
/// CORELANE_STALE.
///
/// # Safety
/// `callback` and `free_context` may be called from another thread with `context`; `out_callback` points at room for a handle;
/// `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_on_alert(
    monitor: CorelaneMonitor,
    callback: CorelaneAlertFn,
    context: *mut c_void,
    free_context: CorelaneFreeFn,
    out_callback: *mut CorelaneCallback,
    error: *mut CorelaneError,
) -> i32 {
    let register = || -> Outcome {
        let out_callback = out("out_callback", out_callback)?;
        let callback = callback.ok_or_else(|| Failure::null("callback"))?;
        with_monitor(monitor, |entry| {
            let handle =
                add_function(entry, false, Callback::new(callback, context, free_context), |kept| {
                    entry.monitor.on_alert(move |one| {
                        let one = alert(one);
                        // SAFETY: the host allows calls from this thread with this context; the alert lives until the end.
                        unsafe { (kept.function)(kept.context(), &raw const one) };
                    })
                })?;
            // SAFETY: `out` checked the pointer; the caller has room there.
            unsafe { out_callback.write(handle) };
            Ok(0)
        })
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, register) }
}

/// Calls `callback` with each periodic report (`report_interval_ms`), as text, JSON or HTML. Otherwise as
/// `corelane_monitor_on_alert`; the queue holds 4 reports.
///
/// Any thread. Does not block. CORELANE_INVALID (`format`); otherwise as `corelane_monitor_on_alert`.
///
/// # Safety
/// As `corelane_monitor_on_alert`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_on_report(
    monitor: CorelaneMonitor,
    format: u32,
    callback: CorelaneReportFn,
    context: *mut c_void,
    free_context: CorelaneFreeFn,
    out_callback: *mut CorelaneCallback,
    error: *mut CorelaneError,
) -> i32 {
    let register = || -> Outcome {
        let out_callback = out("out_callback", out_callback)?;
        let callback = callback.ok_or_else(|| Failure::null("callback"))?;
        let format = self::format(format)?;
        with_monitor(monitor, |entry| {
            let handle = add_function(entry, true, Callback::new(callback, context, free_context), |kept| {
                entry.monitor.on_report(format, move |report| {
                    let mut bytes = Vec::with_capacity(report.len() + 1);
                    bytes.extend_from_slice(report.as_bytes());
                    bytes.push(0);
                    // SAFETY: the host allows calls from this thread with this context; the text lives until the end.
                    unsafe { (kept.function)(kept.context(), bytes.as_ptr().cast(), report.len()) };
                })
            })?;
            // SAFETY: `out` checked the pointer; the caller has room there.
            unsafe { out_callback.write(handle) };
            Ok(0)
        })
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, register) }
}

/// Writes each periodic report to a file, on a thread of its own: the file always holds a whole report. No symbolic link is
/// followed. If the file cannot be written later, the alert `report_file` is raised. Ends with
/// `corelane_monitor_remove_callback`.
///
/// Any thread. Tries the file. CORELANE_SYSTEM (the file cannot be written), CORELANE_LIMIT (16 listeners of reports),
/// CORELANE_INVALID (`format`; not UTF-8), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `path` is a text; `out_callback` points at room for a handle; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_report_to(
    monitor: CorelaneMonitor,
    format: u32,
    path: *const c_char,
    path_length: usize,
    out_callback: *mut CorelaneCallback,
    error: *mut CorelaneError,
) -> i32 {
    let register = || -> Outcome {
        let out_callback = out("out_callback", out_callback)?;
        let format = self::format(format)?;
        // SAFETY: the caller upholds the same contract.
        let path = unsafe { text("path", path, path_length) }?;
        with_monitor(monitor, |entry| {
            let target = Target::File(path.into());
            let handle = add(entry, true, || entry.monitor.report_to(format, target))?;
            // SAFETY: `out` checked the pointer; the caller has room there.
            unsafe { out_callback.write(handle) };
            Ok(0)
        })
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, register) }
}

/// Ends a callback. No new call starts, its queue is dropped, and the call waits at most `timeout_ns` for a call in progress.
/// After CORELANE_OK the callback is not called any more and its context is freed. After CORELANE_TIMEOUT a call is still in
/// progress: it is the last one, its context is freed after it, and a second removal waits again.
///
/// From inside the callback itself this returns CORELANE_TIMEOUT at once, and the callback ends when it returns.
///
/// Any thread; waits. CORELANE_TIMEOUT, CORELANE_STALE (monitor; or the callback has ended).
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_remove_callback(
    monitor: CorelaneMonitor,
    callback: CorelaneCallback,
    timeout_ns: u64,
) -> i32 {
    answer(|| {
        with_monitor(monitor, |entry| {
            let found = lock(&entry.callbacks).iter().find(|one| one.number == callback.value).copied();
            let gone = || Failure::new(CorelaneStatus::Stale, "the callback has ended or was never valid");
            let Listener { number, id, of_reports } = found.ok_or_else(gone)?;
            let patience = Duration::from_nanos(timeout_ns);
            let has_ended = match of_reports {
                true => entry.monitor.remove_report(id, patience),
                false => entry.monitor.remove_alert_callback(id, patience),
            };
            if !has_ended {
                return Err(Failure::new(
                    CorelaneStatus::Timeout,
                    "a call of the callback is in progress, the last one",
                ));
            }
            lock(&entry.callbacks).retain(|one| one.number != number);
            Ok(0)
        })
    })
}

/// Opens a queue of alerts from this moment on, for an event loop. It holds 256 alerts; a full queue drops its oldest alert
/// and counts it.
///
/// Any thread. Does not block. CORELANE_LIMIT (16 queues of a monitor, 256 of the process), CORELANE_SYSTEM, CORELANE_NULL,
/// CORELANE_STALE.
///
/// # Safety
/// `out_poll` points at room for a handle; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_alert_poll(
    monitor: CorelaneMonitor,
    out_poll: *mut CorelaneAlertPoll,
    error: *mut CorelaneError,
) -> i32 {
    let open = || -> Outcome {
        let out_poll = out("out_poll", out_poll)?;
        with_monitor(monitor, |entry| {
            let value = POLLS.insert(Box::new(entry.monitor.alerts()?))?;
            // SAFETY: `out` checked the pointer; the caller has room there.
            unsafe { out_poll.write(CorelaneAlertPoll { value }) };
            Ok(0)
        })
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, open) }
}

/// Returns a descriptor that is readable (poll, epoll) while an alert waits, and for good when the monitor has ended. Do not
/// read or close it. Valid until `corelane_alert_poll_release`.
///
/// Any thread. Does not block. CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_alert_poll_fd(poll: CorelaneAlertPoll) -> i32 {
    answer(|| POLLS.enter_shared(poll.value, |poll| Ok(poll.as_fd().as_raw_fd().into())))
}

/// Takes the next alert.
///
/// Any thread. Does not block. CORELANE_AGAIN (none waits), CORELANE_CLOSED (none waits, and the monitor has ended),
/// CORELANE_INVALID (`size`), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `out_alert` points at a corelane_alert with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_alert_poll_next(
    poll: CorelaneAlertPoll,
    out_alert: *mut CorelaneAlert,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let out_alert = unsafe { OutStruct::new("out_alert", out_alert) }?;
        POLLS.enter_shared(poll.value, |poll| {
            // Look first: an alert that comes between the two is taken.
            let closed = poll.is_closed();
            let Some(next) = poll.next() else {
                return Err(match closed {
                    true => Failure::new(CorelaneStatus::Closed, "the monitor has ended"),
                    false => Failure::new(CorelaneStatus::Again, "no alert waits"),
                });
            };
            out_alert.write(&alert(&next));
            Ok(0)
        })
    })
}

/// Sleeps until an alert waits, the monitor has ended, or `timeout_ns` is over. Returns 1 if an alert waits, otherwise 0. If
/// another thread releases the queue meanwhile, its descriptor stays open until this call returns.
///
/// Any thread; waits. CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_alert_poll_wait(poll: CorelaneAlertPoll, timeout_ns: u64) -> i32 {
    answer(|| {
        POLLS.enter_shared(poll.value, |poll| Ok(poll.wait(Some(Duration::from_nanos(timeout_ns))).into()))
    })
}

/// Releases a queue of alerts, and closes its descriptor: remove the descriptor from the event loop first.
///
/// Any thread. Does not block. CORELANE_STALE the second time.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_alert_poll_release(poll: CorelaneAlertPoll) -> i32 {
    answer(|| {
        drop(POLLS.release(poll.value)?);
        Ok(0)
    })
}
