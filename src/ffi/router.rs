//! Routers: start, export figures, stop, release.

use super::handle::{CorelaneRouter, HandleTable};
use super::status::{CorelaneError, Failure, Outcome, answer, guard, guard_status, out, slice, text};
use crate::config::Config;
use crate::export::prometheus_of_router;
use crate::router::{Builder, Router};
use std::ffi::c_char;
use std::time::Duration;

/// The routers of this process. Calls enter shared, so any thread may call; a release needs exclusive access.
pub(super) static ROUTERS: HandleTable<Router, 64> = HandleTable::new("router");

/// Starts a router with its worker threads. `config` is a text of `config_length` bytes with one `key=value` per
/// line. A `#` begins a comment. A key that is not set has its default (docs/configuration.md); no key may be set
/// twice. NULL with length 0 is an empty text. The workers block all signals.
///
/// Any thread. CORELANE_CONFIG_KEY (the error names the line and the nearest keys), CORELANE_CONFIG_VALUE (line, key,
/// value and range), CORELANE_INVALID, CORELANE_LIMIT (64 routers), CORELANE_SYS.
///
/// # Safety
/// `config` points at `config_length` bytes; `out_router` points at room for a handle; `error` is NULL or a
/// corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_start(
    config: *const c_char,
    config_length: usize,
    out_router: *mut CorelaneRouter,
    error: *mut CorelaneError,
) -> i32 {
    let start = || -> Outcome {
        let out_router = out("out_router", out_router)?;
        super::fork::watch();
        // SAFETY: the caller upholds the same contract.
        let text = unsafe { text("config", config, config_length) }?;
        let config: Config = text.parse()?;
        let router = with_signals_blocked(|| Builder::new(config).start())?;
        let value = ROUTERS.insert(router)?;
        // SAFETY: `out` checked the pointer; the caller has room for a handle there.
        unsafe { out_router.write(CorelaneRouter { value }) };
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard_status(error, start) }
}

/// Runs `body` with all signals blocked. New threads inherit the mask, so the host's signals go to the host's threads.
fn with_signals_blocked<R>(body: impl FnOnce() -> R) -> R {
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

/// Writes the router's figures in the Prometheus text format 0.0.4. Returns their length in bytes without the closing
/// NUL. The text and the NUL are written only if `capacity` is larger than that length; otherwise nothing is written:
/// call again with more room. `buffer` may be NULL if `capacity` is 0.
///
/// Any thread. CORELANE_NULL, CORELANE_STALE, CORELANE_BUSY (being released).
///
/// # Safety
/// `buffer` points at `capacity` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_prometheus(
    router: CorelaneRouter,
    buffer: *mut c_char,
    capacity: usize,
) -> i64 {
    let write = || -> Outcome {
        let text = ROUTERS.enter_shared(router.value, |router| Ok(prometheus_of_router(&router.stats())))?;
        // SAFETY: the caller upholds the contract; only NULL and the length are checked here.
        unsafe { slice::<u8>("buffer", buffer.cast_const().cast(), capacity) }?;
        if text.len() < capacity {
            // SAFETY: the caller's buffer has `capacity` bytes, and text and NUL need no more.
            unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), text.len()) };
            // SAFETY: as above.
            unsafe { buffer.add(text.len()).write(0) };
        }
        Ok(text.len() as i64)
    };
    // SAFETY: there is no error struct.
    unsafe { guard(std::ptr::null_mut(), write) }
}

/// Stops the workers and waits for them for at most `timeout_ns`. Messages published before the call are handled.
/// Messages published later are refused. Held messages fail. Ports can still be polled; when everything was handed
/// out, polls return CORELANE_CLOSED. A second call waits again.
///
/// Any thread; waits. CORELANE_TIMEOUT (the workers go on stopping), CORELANE_THREAD (this thread drives a local worker, for
/// which the call would wait), CORELANE_STALE, CORELANE_BUSY (being released).
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_stop(router: CorelaneRouter, timeout_ns: u64) -> i32 {
    let stop = || -> Outcome {
        ROUTERS.enter_shared(router.value, |router| {
            router.stop_within(Duration::from_nanos(timeout_ns)).map_err(Failure::from)
        })?;
        Ok(0)
    };
    answer(stop)
}

/// Asks the workers to stop and returns at once. For hosts whose event loops drive local workers: each loop continues
/// until its poll returns CORELANE_CLOSED. `corelane_stop` also waits, on another thread.
///
/// Any thread. CORELANE_STALE, CORELANE_BUSY (being released).
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_request_stop(router: CorelaneRouter) -> i32 {
    let request = || -> Outcome {
        ROUTERS.enter_shared(router.value, |router| {
            router.request_stop();
            Ok(())
        })?;
        Ok(0)
    };
    answer(request)
}

/// Releases a router. A running router is stopped first, and the call waits for its workers. The router's ports stay
/// valid and return CORELANE_CLOSED; release them as well.
///
/// Any thread; waits. CORELANE_BUSY while another thread is inside a call with the router, CORELANE_STALE the second
/// time.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_router_release(router: CorelaneRouter) -> i32 {
    let release = || -> Outcome {
        drop(ROUTERS.remove(router.value)?);
        Ok(0)
    };
    answer(release)
}
