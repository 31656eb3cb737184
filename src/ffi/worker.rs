//! Workers that the host drives: their cycles, and tasks, which are messages that the host handles itself in batches.

use super::borrow::{CStruct, OutStructs, chars, read_struct};
use super::guard::{Failure, Outcome, answer};
use super::handle::{CorelaneClient, Table};
use super::handler::{CorelaneHandlerFn, failed, run};
use super::status::CorelaneStatus;
use crate::id::MAX_NAME_BYTES;
use crate::router::{Task, TaskId, Worker};
use std::ffi::{c_char, c_void};
use std::time::Duration;

/// A worker that the host drives, from `corelane_builder_build`. Valid until `corelane_worker_release`. The value 0 is never
/// a valid handle. Copy it freely.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneWorker {
    /// The library's own number.
    pub value: u64,
}

/// Room for a client's name with a closing NUL.
pub const CORELANE_NAME_BYTES: usize = 72;

const _: () = assert!(CORELANE_NAME_BYTES > MAX_NAME_BYTES);

/// A message that the host handles: its type has the action `host`. The views are valid until the task is done, or the worker
/// is released; they have no closing NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneTask {
    /// `sizeof(corelane_task)`. The caller sets it in the first task of an array; a take sets it in the others.
    pub size: u32,
    /// Always 0.
    pub reserved: u32,
    /// The task's number, for `corelane_worker_done`.
    pub id: u64,
    /// The sender.
    pub client: CorelaneClient,
    /// The correlation of the submitted message.
    pub correlation: u64,
    /// How long the message has waited for its worker, in nanoseconds.
    pub queue_wait_ns: u64,
    /// The message as it was submitted.
    pub message: *const u8,
    /// Its length in bytes.
    pub length: usize,
    /// The sender's protocol.
    pub protocol: *const c_char,
    /// Its length in bytes.
    pub protocol_length: usize,
    /// The message's type.
    pub message_type: *const c_char,
    /// Its length in bytes.
    pub message_type_length: usize,
    /// The sender's application.
    pub application: *const c_char,
    /// Its length in bytes.
    pub application_length: usize,
    /// The sender's name with a closing NUL. Empty if the sender is gone.
    pub name: [c_char; CORELANE_NAME_BYTES],
}

// SAFETY: integers and pointers, the size first.
unsafe impl CStruct for CorelaneTask {
    const NAME: &'static str = "corelane_task";
}

impl CorelaneTask {
    fn of(task: &Task<'_>) -> Self {
        Self {
            size: 0,
            reserved: 0,
            id: task.id().0,
            client: CorelaneClient { value: task.client().0 },
            correlation: task.correlation(),
            queue_wait_ns: task.queue_wait().as_nanos() as u64,
            message: task.payload().as_ptr(),
            length: task.payload().len(),
            protocol: task.protocol().as_ptr().cast(),
            protocol_length: task.protocol().len(),
            message_type: task.message_type().as_ptr().cast(),
            message_type_length: task.message_type().len(),
            application: task.application().as_ptr().cast(),
            application_length: task.application().len(),
            name: chars(task.name()),
        }
    }
}

/// The outcome of a task.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneDone {
    /// `sizeof(corelane_done)`, set by the caller: CORELANE_DONE_INIT.
    pub size: u32,
    /// 0 if the message is handled, or the CORELANE_REASON_ number with which it failed.
    pub reason: i32,
    /// The task's number.
    pub id: u64,
    /// How long the host has worked on it, in nanoseconds.
    pub service_ns: u64,
    /// If not NULL: answers the message, called once during this call. It may send and relay as a handler does, and its result
    /// replaces `reason`.
    pub answer: CorelaneHandlerFn,
    /// Passed to `answer`.
    pub context: *mut c_void,
}

// SAFETY: integers and pointers, the size first.
unsafe impl CStruct for CorelaneDone {
    const NAME: &'static str = "corelane_done";
}

/// The driven workers of this process.
pub(super) static WORKERS: Table<Worker, 1024> = Table::new("worker");

fn on(worker: CorelaneWorker, body: impl FnOnce(&mut Worker) -> Outcome) -> i32 {
    answer(|| WORKERS.enter(worker.value, body))
}

fn stopped(worker: &Worker) -> Result<(), Failure> {
    if worker.is_stopped() {
        Err(Failure::new(CorelaneStatus::Closed, "the worker has stopped"))
    } else {
        Ok(())
    }
}

/// Runs one cycle of the worker: takes up to a batch of messages from each port, delivers, expires, publishes, wakes. Returns
/// how much work was done; 0 means that the host may call `corelane_worker_wait`.
///
/// The worker's thread: one at a time, threads may take turns. Does not block. CORELANE_CLOSED (the router has stopped, and
/// the worker with it), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_worker_cycle(worker: CorelaneWorker) -> i32 {
    on(worker, |worker| {
        stopped(worker)?;
        Ok(worker.cycle(worker.now()) as i64)
    })
}

/// Runs one cycle of the worker, and hands out up to `capacity` messages whose type has the action `host`. Returns how many.
/// The first task's `size` is the distance between two tasks in bytes.
///
/// The worker's thread: one at a time, threads may take turns. Does not block. CORELANE_CLOSED (the worker has stopped),
/// CORELANE_NULL, CORELANE_INVALID (`size`, or `capacity` is 0), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// `tasks` points at `capacity` structs of the size that the first one has in `size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_worker_take(
    worker: CorelaneWorker,
    tasks: *mut CorelaneTask,
    capacity: usize,
) -> i32 {
    on(worker, |worker| {
        // SAFETY: the caller upholds the same contract.
        let places = unsafe { OutStructs::new("tasks", tasks, capacity) }?;
        if capacity == 0 {
            return Err(Failure::invalid("capacity is 0: pass room for at least one task"));
        }
        stopped(worker)?;
        let mut count = 0;
        worker.take(worker.now(), capacity, |task| {
            places.write(count, &CorelaneTask::of(task));
            count += 1;
        });
        Ok(count as i64)
    })
}

/// Ends a task: counts its outcome and its time, and answers it if `answer` is set. Ports see the effect after
/// `corelane_worker_flush`, or after the next take, cycle or wait. Call it for each task, then flush once.
///
/// The worker's thread: one at a time, threads may take turns. Does not block. CORELANE_NOT_FOUND (the task is not out),
/// CORELANE_NULL, CORELANE_INVALID (`size`), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// `done` points at a corelane_done with its size set; its function may be called with its context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_worker_done(worker: CorelaneWorker, done: *const CorelaneDone) -> i32 {
    on(worker, |worker| {
        // SAFETY: the caller upholds the same contract.
        let done = unsafe { read_struct("done", done) }?;
        let (id, service) = (TaskId(done.id), Duration::from_nanos(done.service_ns));
        let ended = match done.answer {
            Some(function) => worker.done_with(id, service, |request| run(function, done.context, request)),
            None => {
                worker.done(id, service, if done.reason == 0 { Ok(()) } else { Err(failed(done.reason)) })
            }
        };
        ended
            .map_err(|_| Failure::new(CorelaneStatus::NotFound, "no task of this worker has this number"))?;
        Ok(0)
    })
}

/// Makes what was done since the last take visible to the ports, and gives the ring space back.
///
/// The worker's thread: one at a time, threads may take turns. Does not block. CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_worker_flush(worker: CorelaneWorker) -> i32 {
    on(worker, |worker| {
        worker.flush();
        Ok(0)
    })
}

/// Flushes, and waits until there is something to take, or something is due, or `timeout_ns` is over. Messages that only wait
/// for tasks which are out do not end the wait.
///
/// The worker's thread: one at a time, threads may take turns; waits. A release meanwhile takes effect when the wait ends.
/// CORELANE_CLOSED (the worker has stopped), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_worker_wait(worker: CorelaneWorker, timeout_ns: u64) -> i32 {
    on(worker, |worker| {
        stopped(worker)?;
        worker.wait(Duration::from_nanos(timeout_ns));
        Ok(0)
    })
}

/// Releases a worker. If it has not stopped, it is lost: its messages fail as worker_lost, and the router continues with the
/// other workers. Stop the router first, and run cycles until they return CORELANE_CLOSED.
///
/// Any thread. Does not block. CORELANE_STALE the second time.
///
/// # Safety
/// No thread uses a view of this worker's tasks afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_worker_release(worker: CorelaneWorker) -> i32 {
    answer(|| {
        drop(WORKERS.release(worker.value)?);
        Ok(0)
    })
}
