//! Ports: open, wait, release. A port has one owner at a time: a second thread's call returns CORELANE_BUSY and changes
//! nothing. Threads may take turns under a lock of the host. A port that is opened as shared takes messages from any number
//! of threads at once, and only its polling half has one owner.

use super::borrow::{CStruct, out, read_struct};
use super::guard::{CorelaneError, Failure, Outcome, answer, guard};
use super::handle::{CorelanePort, CorelaneRouter, Table};
use super::router::ROUTERS;
use super::status::CorelaneStatus;
use crate::park::WakeWord;
use crate::router::{Poller, Port, SharedPort};
use crate::sync::{Arc, Mutex, try_lock};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// As `corelane_port_options.flags`: the port has a local worker, for a thread that is an event loop. The loop calls
/// `corelane_port_cycle` and `corelane_port_poll` between reading and writing its sockets. The messages of the port's clients
/// to each other never leave the thread. The configuration key `local_workers` says how many such ports there can be. After
/// the release of the port a thread of the router drives the worker until the next port is opened with it.
pub const CORELANE_PORT_LOCAL: u32 = 1;
/// As `corelane_port_options.flags`: any number of threads may connect, submit, send and disconnect at once. These calls wait
/// for each other briefly, and publish by themselves. Poll, acknowledge, rebind, arm, wait and cycle keep one owner.
pub const CORELANE_PORT_SHARED: u32 = 2;

/// Options of a port. NULL in place of the options means none of them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelanePortOptions {
    /// `sizeof(corelane_port_options)`, set by the caller: CORELANE_PORT_OPTIONS_INIT.
    pub size: u32,
    /// Any of CORELANE_PORT_LOCAL and CORELANE_PORT_SHARED.
    pub flags: u32,
}

// SAFETY: integers only, the size first.
unsafe impl CStruct for CorelanePortOptions {
    const NAME: &'static str = "corelane_port_options";
}

/// Whether the port's owner waits, outside of the table. Other calls that need the owner are refused as busy meanwhile.
/// Dropped behind the port, which reads the descriptor: a port that is released ends the wait.
struct Waiting {
    on: bool,
    waker: Arc<WakeWord>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.on {
            self.waker.wake();
        }
    }
}

/// A port with one owner. The fields are dropped in this order.
pub(super) struct Owned {
    port: Port,
    waiting: Waiting,
}

/// A shared port.
pub(super) struct Shared {
    submit: SharedPort,
    /// Only ever tried: a second thread is refused as busy.
    poll: Mutex<(Poller, Waiting)>,
}

/// The ports of this process that have one owner.
pub(super) static PORTS: Table<Owned, 4096> = Table::new("port");

/// The shared ports of this process.
static SHARED: Table<Shared, 1024> = Table::new("shared port");

/// In a port's handle: the port is shared.
const SHARED_BIT: u64 = 1 << 29;

/// What a call that submits works on.
pub(super) enum Submitting<'a> {
    Owned(&'a mut Port),
    Shared(&'a SharedPort),
}

/// What a call that polls works on.
pub(super) enum Polling<'a> {
    Owned(&'a mut Port),
    Shared(&'a mut Poller),
}

/// Runs an expression on either kind of port.
macro_rules! either {
    ($ends:expr, $kind:ident, $port:ident => $call:expr) => {
        match $ends {
            $kind::Owned($port) => $call,
            $kind::Shared($port) => $call,
        }
    };
}

pub(super) use either;

fn waits() -> Failure {
    Failure::new(CorelaneStatus::Busy, "another thread waits with this port: retry when its wait has ended")
}

/// Puts a port into the table of its kind.
pub(super) fn insert(port: Port, shared: bool) -> Result<CorelanePort, Failure> {
    let value = if shared {
        let (submit, poll) = port.share();
        let waiting = Waiting { on: false, waker: poll.waker() };
        SHARED.insert(Shared { submit, poll: Mutex::new((poll, waiting)) })? | SHARED_BIT
    } else {
        let waiting = Waiting { on: false, waker: port.waker() };
        PORTS.insert(Owned { port, waiting })?
    };
    Ok(CorelanePort { value })
}

/// Runs a call that submits.
#[inline]
pub(super) fn submitting<R>(
    port: CorelanePort,
    body: impl FnOnce(Submitting<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    if port.value & SHARED_BIT == 0 {
        return PORTS.enter(port.value, |one| {
            if one.waiting.on {
                return Err(waits());
            }
            body(Submitting::Owned(&mut one.port))
        });
    }
    SHARED.enter_shared(port.value & !SHARED_BIT, |one| body(Submitting::Shared(&one.submit)))
}

/// Runs a call of the port's owner. It may say that the owner waits from now on, or does not any more.
#[inline]
fn owner<R>(
    port: CorelanePort,
    body: impl FnOnce(Polling<'_>, &mut bool) -> Result<R, Failure>,
) -> Result<R, Failure> {
    if port.value & SHARED_BIT == 0 {
        return PORTS.enter(port.value, |one| body(Polling::Owned(&mut one.port), &mut one.waiting.on));
    }
    SHARED.enter_shared(port.value & !SHARED_BIT, |one| match try_lock(&one.poll).as_deref_mut() {
        Some((poller, waiting)) => body(Polling::Shared(poller), &mut waiting.on),
        None => {
            let text = "another thread polls this shared port: only one may at a time";
            Err(Failure::new(CorelaneStatus::Busy, text))
        }
    })
}

/// Runs a call that polls.
#[inline]
pub(super) fn polling<R>(
    port: CorelanePort,
    body: impl FnOnce(Polling<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    owner(port, |ends, waiting| if *waiting { Err(waits()) } else { body(ends) })
}

/// Opens a port. Each host thread has its own port, and its submits and polls never wait for other threads. `options` may be
/// NULL.
///
/// Any thread. The call may block for up to 100 ms if a port was released just before. CORELANE_LIMIT (`max_ports`; 4096
/// ports and 1024 shared ones in a process; CORELANE_PORT_LOCAL: every local worker has a port), CORELANE_STATE (the router
/// has stopped; or each worker is local, and the port is not), CORELANE_THREAD (CORELANE_PORT_LOCAL on a worker's thread),
/// CORELANE_INVALID (`size`, unknown flags), CORELANE_SYSTEM, CORELANE_STALE, CORELANE_NULL.
///
/// # Safety
/// `options` is NULL or points at a corelane_port_options with its size set; `out_port` points at room for a handle;
/// `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_open(
    router: CorelaneRouter,
    options: *const CorelanePortOptions,
    out_port: *mut CorelanePort,
    error: *mut CorelaneError,
) -> i32 {
    let open = || -> Outcome {
        let out_port = out("out_port", out_port)?;
        let flags = match options.is_null() {
            true => 0,
            // SAFETY: the caller upholds the same contract.
            false => unsafe { read_struct("options", options) }?.flags,
        };
        if flags & !(CORELANE_PORT_LOCAL | CORELANE_PORT_SHARED) != 0 {
            return Err(Failure::invalid(format!("options.flags is {flags}: no such flags")));
        }
        let port = ROUTERS.enter_shared(router.value, |router| {
            let local = flags & CORELANE_PORT_LOCAL != 0;
            Ok(if local { router.local_port() } else { router.port() }?)
        })?;
        let port = insert(port, flags & CORELANE_PORT_SHARED != 0)?;
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_port.write(port) };
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, open) }
}

/// Releases a port. Its clients are disconnected, deliveries that were not polled become undeliverable, and its views become
/// invalid. A thread that waits with the port returns CORELANE_STALE. If another thread is inside a call with the port, its
/// handle becomes stale at once, and that thread does the rest when its call ends.
///
/// Any thread. Does not block. CORELANE_STALE the second time.
///
/// # Safety
/// No thread uses a view of this port afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_release(port: CorelanePort) -> i32 {
    answer(|| {
        if port.value & SHARED_BIT == 0 {
            drop(PORTS.release(port.value)?);
        } else {
            drop(SHARED.release(port.value & !SHARED_BIT)?);
        }
        Ok(0)
    })
}

/// Waits at most `timeout_ns`, with a resolution of a millisecond. Returns earlier if there may be something to poll, or for
/// the local worker to do, or room after CORELANE_FULL, or if the port is released. Publishes first. For hosts without an
/// event loop.
///
/// The port's owner; waits. Meanwhile other calls that need the port's owner return CORELANE_BUSY. CORELANE_TIMEOUT,
/// CORELANE_CLOSED (everything was handed out), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_wait(port: CorelanePort, timeout_ns: u64) -> i32 {
    answer(|| {
        let (start, timeout) = (Instant::now(), Duration::from_nanos(timeout_ns));
        // The thread sleeps outside of the table, so that a release neither waits for it nor takes the port from under it.
        let armed = owner(port, |ends, waiting| {
            if *waiting {
                return Err(waits());
            }
            closed(&ends)?;
            either!(ends, Polling, port => {
                *waiting = port.arm();
                let due = port.next_due().ok().flatten();
                Ok(waiting.then(|| (port.waker(), due.map_or(timeout, |due| due.min(timeout)))))
            })
        })?;
        let Some((waker, shortest)) = armed else { return Ok(0) };
        let reported = waker.sleep(Some(shortest));
        owner(port, |ends, waiting| {
            *waiting = false;
            either!(ends, Polling, port => {
                port.awake(reported);
                if start.elapsed() < timeout || port.has_news() {
                    return Ok(0);
                }
            });
            Err(Failure::new(CorelaneStatus::Timeout, "nothing to poll before the time-out"))
        })
    })
}

fn closed(ends: &Polling<'_>) -> Result<(), Failure> {
    let over = either!(ends, Polling, port => port.is_over());
    if over { Err(Failure::new(CorelaneStatus::Closed, "the router has stopped")) } else { Ok(()) }
}

/// Returns the descriptor that becomes readable when there is something to poll, or for the local worker to do, or room
/// after CORELANE_FULL. It belongs to the port: watch it, but do not read, write or close it. Call `corelane_port_arm` before
/// each wait.
///
/// The port's owner. Does not block. Returns a descriptor, or CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_fd(port: CorelanePort) -> i32 {
    answer(|| polling(port, |ends| Ok(i64::from(either!(ends, Polling, port => port.as_fd().as_raw_fd())))))
}

/// Publishes, and prepares a wait for the descriptor. 0: wait. CORELANE_AGAIN: there is something to poll, or for the
/// local worker to do, or room after CORELANE_FULL, so do that first.
///
/// The port's owner. Does not block. CORELANE_AGAIN, CORELANE_CLOSED (everything was handed out),
/// CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_arm(port: CorelanePort) -> i32 {
    answer(|| {
        polling(port, |ends| {
            closed(&ends)?;
            let armed = either!(ends, Polling, port => port.arm());
            if armed { Ok(0) } else { Err(Failure::new(CorelaneStatus::Again, "poll first")) }
        })
    })
}

/// Ends a wait that `corelane_port_arm` has prepared. Call it first, whatever has ended the wait. `reported` is not 0 if
/// the poller has reported the port's descriptor: it is read then, and only then. Without this call the next
/// `corelane_port_poll` or `corelane_port_cycle` reads the descriptor in any case.
///
/// The port's owner. Does not block. CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_awake(port: CorelanePort, reported: i32) -> i32 {
    answer(|| {
        polling(port, |ends| {
            either!(ends, Polling, port => port.awake(reported != 0));
            Ok(0)
        })
    })
}

/// Publishes what was submitted, and runs one cycle of the port's local worker. Returns how much work was done. If that
/// and the following poll return 0, the loop may call `corelane_port_arm` and wait.
///
/// The port's owner. Does not block. CORELANE_STATE (the port has no local worker), CORELANE_CLOSED (the worker has stopped:
/// poll until the poll returns that too), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_cycle(port: CorelanePort) -> i32 {
    answer(|| polling(port, |ends| Ok(either!(ends, Polling, port => port.cycle())? as i64)))
}

/// Writes how long the loop may wait at most until it must call `corelane_port_cycle` again, in milliseconds, rounded up: the
/// timeout of `poll` or `epoll_wait`. -1 if nothing is due. Ask after the poll; the answer does not undo an arm.
///
/// The port's owner. Does not block. CORELANE_STATE (the port has no local worker), CORELANE_NULL, CORELANE_STALE,
/// CORELANE_BUSY.
///
/// # Safety
/// `out_milliseconds` points at room for an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_next_due(port: CorelanePort, out_milliseconds: *mut i32) -> i32 {
    answer(|| {
        let out_milliseconds = out("out_milliseconds", out_milliseconds)?;
        polling(port, |ends| {
            let due = either!(ends, Polling, port => port.next_due())?;
            let due = due.map_or(-1, |due| i32::try_from(due.as_millis()).unwrap_or(i32::MAX));
            // SAFETY: `out` checked the pointer; the caller has room there.
            unsafe { out_milliseconds.write(due) };
            Ok(0)
        })
    })
}
