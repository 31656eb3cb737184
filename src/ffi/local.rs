//! Local ports: the worker lives on the port's thread, and the host's event loop drives it.

use super::handle::{CorelanePort, CorelaneRouter};
use super::port::{on, open_with};
use super::status::{CorelaneError, out};
use crate::router::Router;

/// Opens a port with a local worker, for a thread that is an event loop. The loop calls `corelane_cycle` and
/// `corelane_poll` between reading and writing its sockets. The messages of the port's clients to each other never leave
/// the thread. The configuration key `local_workers` says how many such ports there can be. After the release of the port
/// a thread of the router drives the worker until the next port is opened with it.
///
/// Any thread. As `corelane_port_open`; CORELANE_LIMIT also if every local worker has a port.
///
/// # Safety
/// `out_port` points at room for a handle; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_open_local(
    router: CorelaneRouter,
    out_port: *mut CorelanePort,
    error: *mut CorelaneError,
) -> i32 {
    // SAFETY: the caller upholds the same contract.
    unsafe { open_with(router, out_port, error, Router::local_port) }
}

/// Publishes what was submitted, and runs one cycle of the port's local worker. Returns how much work was done. If that
/// and the following poll return 0, the loop may call `corelane_port_arm` and wait.
///
/// The port's thread. CORELANE_STATE (the port has no local worker), CORELANE_CLOSED (the worker has stopped: poll until
/// the poll returns that too), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_cycle(port: CorelanePort) -> i32 {
    on(port, |port| Ok(i64::from(i32::try_from(port.cycle()?).unwrap_or(i32::MAX))))
}

/// Writes how long the loop may wait at most until it must call `corelane_cycle` again, in milliseconds, rounded up: the
/// timeout of `poll` or `epoll_wait`. -1 if nothing is due. Ask after the poll; the answer does not undo an arm.
///
/// The port's thread. CORELANE_STATE (the port has no local worker), CORELANE_NULL, CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// `out_milliseconds` points at room for an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_next_due(port: CorelanePort, out_milliseconds: *mut i32) -> i32 {
    on(port, |port| {
        let out_milliseconds = out("out_milliseconds", out_milliseconds)?;
        let due = port.next_due()?.map_or(-1, |due| i32::try_from(due.as_millis()).unwrap_or(i32::MAX));
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_milliseconds.write(due) };
        Ok(0)
    })
}

/// Ends a wait that `corelane_port_arm` has prepared. Call it first, whatever has ended the wait. `reported` is not 0 if
/// the poller has reported the port's descriptor: it is read then, and only then. Without this call the next
/// `corelane_poll` or `corelane_cycle` reads the descriptor in any case.
///
/// The port's thread. CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_awake(port: CorelanePort, reported: i32) -> i32 {
    on(port, |port| {
        port.awake(reported != 0);
        Ok(0)
    })
}
