//! Routers: start, drain, stop, release.

use super::borrow::{OutStruct, out, text};
use super::guard::{CorelaneError, Failure, Outcome, answer, guard};
use super::handle::{CorelaneRouter, Table};
use super::text::CorelaneText;
use crate::config::Config;
use crate::export::prometheus_of_router;
use crate::router::{Builder, Router};
use std::ffi::c_char;
use std::time::Duration;

/// The routers of this process.
pub(super) static ROUTERS: Table<Router, 64> = Table::new("router");

/// Starts a router with its worker threads. `config` has one `key=value` per line; a `#` begins a
/// comment. A key that is not set has its default (docs/configuration.md); no key may be set twice. NULL is an empty text.
/// The router has the protocols `generic` and `peerjs`; for others, and for handlers, use `corelane_builder_new`. The
/// workers block all signals.
///
/// Any thread. Does not block. CORELANE_CONFIG_KEY (the error names the line and the nearest keys), CORELANE_CONFIG_VALUE
/// (line, key, value and range), CORELANE_INVALID, CORELANE_LIMIT (64 routers), CORELANE_SYSTEM, CORELANE_NULL.
///
/// # Safety
/// `config` is a text; `out_router` points at room for a handle; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_router_start(
    config: *const c_char,
    config_length: usize,
    out_router: *mut CorelaneRouter,
    error: *mut CorelaneError,
) -> i32 {
    let start = || -> Outcome {
        let out_router = out("out_router", out_router)?;
        // SAFETY: the caller upholds the same contract.
        let config: Config = unsafe { text("config", config, config_length) }?.parse()?;
        let value = insert(Builder::new(config))?;
        // SAFETY: `out` checked the pointer; the caller has room for a handle there.
        unsafe { out_router.write(CorelaneRouter { value }) };
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, start) }
}

/// Starts what is built. Returns the router's handle.
pub(super) fn insert(builder: Builder) -> Result<u64, Failure> {
    super::fork::watch();
    ROUTERS.insert(with_signals_blocked(|| builder.start())?)
}

/// Runs `body` with all signals blocked. New threads inherit the mask, so the host's signals go to the host's threads.
pub(super) fn with_signals_blocked<R>(body: impl FnOnce() -> R) -> R {
    let (mut all, mut before) =
        (std::mem::MaybeUninit::<libc::sigset_t>::uninit(), std::mem::MaybeUninit::uninit());
    // SAFETY: `sigfillset` initializes the set that it is given.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: `all` is initialized; the call writes this thread's mask to `before`.
    let status = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    let result = body();
    if status == 0 {
        // SAFETY: the call above initialized `before`, since it succeeded.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    }
    result
}

/// Runs a call on a router. Any number of threads may do so at once.
pub(super) fn on_router(router: CorelaneRouter, body: impl FnOnce(&Router) -> Outcome) -> i32 {
    answer(|| ROUTERS.enter_shared(router.value, body))
}

/// Writes the router's figures in the Prometheus text format 0.0.4, from the router alone. `corelane_monitor_report` has
/// more. Free the text with `corelane_text_free`.
///
/// Any thread. Does not block. CORELANE_NULL, CORELANE_INVALID (`size`), CORELANE_STALE.
///
/// # Safety
/// `out_text` points at a corelane_text with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_router_prometheus(
    router: CorelaneRouter,
    out_text: *mut CorelaneText,
) -> i32 {
    on_router(router, |router| {
        // SAFETY: the caller upholds the same contract.
        let out_text = unsafe { OutStruct::new("out_text", out_text) }?;
        CorelaneText::hand_out(out_text, prometheus_of_router(&router.stats()))
    })
}

/// Refuses new messages and waits at most `timeout_ns` until every accepted message has its outcome. Ports must be polled
/// meanwhile. The router goes on draining after CORELANE_TIMEOUT: stop it.
///
/// Any thread; waits. CORELANE_TIMEOUT, CORELANE_THREAD (this thread drives a local worker, for which the call would wait),
/// CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_router_drain(router: CorelaneRouter, timeout_ns: u64) -> i32 {
    on_router(router, |router| {
        router.drain(Duration::from_nanos(timeout_ns))?;
        Ok(0)
    })
}

/// Stops the workers and waits for them for at most `timeout_ns`. Messages published before the call are handled.
/// Messages published later are refused. Held messages fail. Ports can still be polled; when everything was handed
/// out, polls return CORELANE_CLOSED. A second call waits again.
///
/// Any thread; waits. CORELANE_TIMEOUT (the workers go on stopping), CORELANE_THREAD (this thread drives a local worker, for
/// which the call would wait), CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_router_stop(router: CorelaneRouter, timeout_ns: u64) -> i32 {
    on_router(router, |router| {
        router.stop_within(Duration::from_nanos(timeout_ns))?;
        Ok(0)
    })
}

/// Asks the workers to stop and returns at once. For hosts whose event loops drive local workers: each loop continues
/// until its poll returns CORELANE_CLOSED. `corelane_router_stop` also waits, on another thread.
///
/// Any thread. Does not block. CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_router_request_stop(router: CorelaneRouter) -> i32 {
    on_router(router, |router| {
        router.request_stop();
        Ok(0)
    })
}

/// Sets how many workers get new clients, from 1 to the number of workers. Clients that are connected stay where they are
/// until their worker has nothing of theirs.
///
/// Any thread. Does not block. CORELANE_CONFIG_VALUE (the range), CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_router_set_active_workers(router: CorelaneRouter, workers: usize) -> i32 {
    on_router(router, |router| {
        router.set_active_workers(workers)?;
        Ok(0)
    })
}

/// Releases a router. A running router is stopped first, and the call waits for its workers. The router's ports stay
/// valid, and return CORELANE_CLOSED when everything was handed out; release them as well. If other threads are inside calls
/// with the router, its handle becomes stale at once, and the last of these threads does the rest when its call ends.
///
/// Any thread; waits for the workers. CORELANE_STALE the second time.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_router_release(router: CorelaneRouter) -> i32 {
    answer(|| {
        drop(ROUTERS.release(router.value)?);
        Ok(0)
    })
}
