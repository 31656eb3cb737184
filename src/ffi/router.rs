//! Routers: start, read, stop.

use super::handle::{CorelaneRouter, HandleTable};
use super::status::{
    CORELANE_CONFIG_VALUE, CorelaneError, Failure, Outcome, answer, guard, guard_status, out, slice, text,
};
use crate::config::Config;
use crate::export::prometheus;
use crate::router::{Builder, Router};
use std::ffi::c_char;
use std::time::Duration;

/// Shared by count: any thread may call, and releasing finds out who is inside.
pub(super) static ROUTERS: HandleTable<Router, 64> = HandleTable::new("router");

/// Starts a router with its worker threads. `config` is text of `config_length` bytes, a `key=value` in each line; empty
/// lines and lines that start with `#` are passed over, and what is not set has its default (docs/configuration.md).
/// NULL with length 0 is an empty text. Workers have all signals blocked.
///
/// Any thread. CORELANE_CONFIG_KEY and CORELANE_CONFIG_VALUE name key, value and range; CORELANE_INVALID, CORELANE_LIMIT (64
/// routers), CORELANE_SYS.
///
/// # Safety
/// `config` points at `config_length` bytes; `out_router` at room for a handle; `error` is NULL or a corelane_error with its
/// size set.
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
        // SAFETY: forwarded.
        let config = parse(unsafe { text("config", config, config_length) }?)?;
        let router = with_signals_blocked(|| Builder::new(config).start())?;
        let value = ROUTERS.insert(router)?;
        // SAFETY: checked; the caller has room there.
        unsafe { out_router.write(CorelaneRouter { value }) };
        Ok(0)
    };
    // SAFETY: forwarded.
    unsafe { guard_status(error, start) }
}

fn parse(text: &str) -> Result<Config, Failure> {
    let mut config = Config::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((key, value)) = line.split_once('=') else {
            let text = format!("the line {line:?} of the configuration is not key=value");
            return Err(Failure::new(CORELANE_CONFIG_VALUE, text));
        };
        config.set(key.trim(), value.trim())?;
    }
    Ok(config)
}

/// New threads inherit the mask: a host's signals go to the host's threads.
fn with_signals_blocked<R>(body: impl FnOnce() -> R) -> R {
    let (mut all, mut before) =
        (std::mem::MaybeUninit::<libc::sigset_t>::uninit(), std::mem::MaybeUninit::uninit());
    // SAFETY: fills the set it is given.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: `all` is filled; `before` gets this thread's mask.
    let status = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    let result = body();
    if status == 0 {
        // SAFETY: `before` was filled by the call above.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    }
    result
}

/// The router's figures in the Prometheus text format 0.0.4. Returns how many bytes they take without the closing zero.
/// With more than that in `capacity` they are written, with the zero; otherwise nothing is: call again with more.
/// `buffer` may be NULL where `capacity` is 0.
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
        let text = ROUTERS.enter_shared(router.value, |router| Ok(prometheus(&router.stats())))?;
        // SAFETY: forwarded; only NULL and length are looked at.
        unsafe { slice::<u8>("buffer", buffer.cast_const().cast(), capacity) }?;
        if text.len() < capacity {
            // SAFETY: `capacity` bytes are the caller's, and the text with its zero takes no more.
            unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), text.len()) };
            // SAFETY: as above.
            unsafe { buffer.add(text.len()).write(0) };
        }
        Ok(text.len() as i64)
    };
    // SAFETY: no error struct.
    unsafe { guard(std::ptr::null_mut(), write) }
}

/// Stops the workers and waits for them up to `timeout_ns`. What was published before is handled, what is published later
/// is refused, messages held for absent names fail. Ports can still be polled: they say CORELANE_CLOSED at the end.
/// Calling it again waits again.
///
/// Any thread; waits. CORELANE_TIMEOUT (the workers still stop), CORELANE_STALE, CORELANE_BUSY (being released).
///
/// # Safety
/// Nothing to observe.
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

/// Releases a router; a running one is stopped first, and its workers are waited for. Its ports stay valid and say
/// CORELANE_CLOSED; release them as well.
///
/// Any thread; waits. CORELANE_BUSY while another thread is inside a call with it, CORELANE_STALE the second time.
///
/// # Safety
/// Nothing to observe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_router_release(router: CorelaneRouter) -> i32 {
    let release = || -> Outcome {
        drop(ROUTERS.remove(router.value)?);
        Ok(0)
    };
    answer(release)
}
