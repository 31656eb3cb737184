//! Clients that the host connects to a monitor, what it knows about them, and the figures of its runtime.

use super::borrow::{CStruct, List, out, read_struct, text};
use super::figures::{CORELANE_CLIENT_RECORDED, CORELANE_CLIENT_ROUTED, CorelaneClientStats, client_stats};
use super::guard::{CorelaneError, Failure, Outcome, answer, guard};
use super::handle::{CorelaneClient, CorelaneMonitor};
use super::monitors::with_monitor;
use super::status::CorelaneStatus;
use crate::id::ClientId;
use crate::monitor::{Connection, Health, RuntimeStats};
use std::ffi::c_char;
use std::time::Duration;

/// Figures of a garbage-collected runtime, such as Go's, which only the host knows.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneRuntime {
    /// `sizeof(corelane_runtime)`, set by the caller: CORELANE_RUNTIME_INIT.
    pub size: u32,
    /// Always 0.
    pub reserved: u32,
    /// Number of goroutines.
    pub goroutines: u64,
    /// Number of completed garbage collections.
    pub gc_count: u64,
    /// Duration of the last pause.
    pub gc_last_pause_ns: u64,
    /// Mean duration of a pause.
    pub gc_average_pause_ns: u64,
    /// Sum of all pauses so far.
    pub gc_total_pause_ns: u64,
    /// Share of the processor time since the start that garbage collection has taken, from 0 to 1.
    pub gc_cpu_fraction: f64,
    /// Heap memory in use.
    pub heap_bytes: u64,
    /// Stack memory.
    pub stack_bytes: u64,
}

// SAFETY: numbers only, the size first.
unsafe impl CStruct for CorelaneRuntime {
    const NAME: &'static str = "corelane_runtime";
}

/// Counts a connection that the host has opened. Clients of a router's ports are counted without this call.
///
/// Any thread. May wait briefly for another thread that connects. CORELANE_EXISTS (a client of that name is connected; the
/// call counts as an attempt to reconnect), CORELANE_LIMIT (`max_recorded_clients`), CORELANE_INVALID (length of a name; not
/// UTF-8), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// The names are texts; `out_client` points at room for a handle; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_connect(
    monitor: CorelaneMonitor,
    name: *const c_char,
    name_length: usize,
    application: *const c_char,
    application_length: usize,
    out_client: *mut CorelaneClient,
    error: *mut CorelaneError,
) -> i32 {
    let connect = || -> Outcome {
        let out_client = out("out_client", out_client)?;
        // SAFETY: the caller upholds the same contract.
        let name = unsafe { text("name", name, name_length) }?;
        // SAFETY: as above.
        let application = unsafe { text("application", application, application_length) }?;
        with_monitor(monitor, |entry| {
            let client = entry.monitor.connect(name, application)?;
            // SAFETY: `out` checked the pointer; the caller has room there.
            unsafe { out_client.write(CorelaneClient { value: client.0 }) };
            Ok(0)
        })
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, connect) }
}

/// Counts the end of a connection that `corelane_monitor_connect` has counted.
///
/// Any thread. May wait briefly for another thread that connects. CORELANE_STALE (monitor; or the connection has ended).
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_disconnect(
    monitor: CorelaneMonitor,
    client: CorelaneClient,
) -> i32 {
    answer(|| {
        with_monitor(monitor, |entry| {
            entry.monitor.disconnect(ClientId(client.value))?;
            Ok(0)
        })
    })
}

/// Looks up a client that the host has connected or has recorded a message of, by its name. A client that is not connected
/// may be evicted when room becomes scarce, the longest silent first; its name then has to be looked up again.
///
/// Any thread. Does not block. CORELANE_NOT_FOUND, CORELANE_INVALID (not UTF-8), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `name` is a text; `out_client` points at room for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_client(
    monitor: CorelaneMonitor,
    name: *const c_char,
    name_length: usize,
    out_client: *mut CorelaneClient,
) -> i32 {
    answer(|| {
        let out_client = out("out_client", out_client)?;
        // SAFETY: the caller upholds the same contract.
        let name = unsafe { text("name", name, name_length) }?;
        with_monitor(monitor, |entry| {
            let unknown =
                || Failure::new(CorelaneStatus::NotFound, "the monitor knows no client of this name");
            let client = entry.monitor.client(name).ok_or_else(unknown)?;
            // SAFETY: `out` checked the pointer; the caller has room there.
            unsafe { out_client.write(CorelaneClient { value: client.0 }) };
            Ok(0)
        })
    })
}

/// Counts bytes that the host has written to a client that it recorded.
///
/// Any thread. Does not block. CORELANE_STALE (monitor; or there is no such client).
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_record_sent(
    monitor: CorelaneMonitor,
    client: CorelaneClient,
    bytes: u64,
) -> i32 {
    answer(|| {
        with_monitor(monitor, |entry| {
            entry.monitor.record_sent(ClientId(client.value), bytes)?;
            Ok(0)
        })
    })
}

/// Counts an attempt to reconnect that the host has observed.
///
/// Any thread. Does not block. CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_record_reconnect(monitor: CorelaneMonitor) -> i32 {
    answer(|| {
        with_monitor(monitor, |entry| {
            entry.monitor.record_reconnect();
            Ok(0)
        })
    })
}

/// Marks a client's connection as unhealthy (a failed probe, for example), or removes the mark if `healthy` is not 0. `kind`
/// is a CORELANE_CLIENT_ value: where the client is connected. Has no effect if `detailed_stats` was off at the start.
///
/// Any thread. Does not block. CORELANE_INVALID (`kind`), CORELANE_STALE (monitor; or there is no such client).
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_mark(
    monitor: CorelaneMonitor,
    client: CorelaneClient,
    kind: u32,
    healthy: i32,
) -> i32 {
    answer(|| {
        let connection = match kind {
            CORELANE_CLIENT_RECORDED => Connection::Recorded(ClientId(client.value)),
            CORELANE_CLIENT_ROUTED => Connection::Routed(ClientId(client.value)),
            _ => return Err(Failure::invalid(format!("kind is {kind}: use a CORELANE_CLIENT_ value"))),
        };
        let health = if healthy == 0 { Health::Unhealthy } else { Health::Healthy };
        with_monitor(monitor, |entry| {
            entry.monitor.mark(connection, health)?;
            Ok(0)
        })
    })
}

/// Writes the connected clients that have been silent for longer than `longer_than_ns`, so that the host can close them, and
/// returns how many there are; `capacity` of them are written. None while `detailed_stats` is off.
///
/// Any thread. Takes milliseconds if there are very many clients; waits for other readers of this monitor. CORELANE_INVALID
/// (`size`), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `clients` points at `capacity` structs of the size in the first one; it may be NULL if `capacity` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_idle_clients(
    monitor: CorelaneMonitor,
    longer_than_ns: u64,
    clients: *mut CorelaneClientStats,
    capacity: usize,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let places = unsafe { List::new("clients", clients, capacity) }?;
        with_monitor(monitor, |entry| {
            let idle = entry.monitor.idle_clients(Duration::from_nanos(longer_than_ns));
            places.write(&idle, client_stats)
        })
    })
}

/// Writes the figures of the clients with this name, and returns how many there are: at most one of the router's clients and
/// one that the host has recorded; `capacity` of them are written. None if `detailed_stats` was off at the start.
///
/// Any thread. Takes milliseconds if there are very many clients; waits for other readers of this monitor. CORELANE_INVALID
/// (`size`; not UTF-8), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `name` is a text; `clients` points at `capacity` structs of the size in the first one; it may be NULL if `capacity` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_client_figures(
    monitor: CorelaneMonitor,
    name: *const c_char,
    name_length: usize,
    clients: *mut CorelaneClientStats,
    capacity: usize,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let name = unsafe { text("name", name, name_length) }?;
        // SAFETY: as above.
        let places = unsafe { List::new("clients", clients, capacity) }?;
        with_monitor(monitor, |entry| places.write(&entry.monitor.client_figures(name), client_stats))
    })
}

/// Stores the figures of the host's runtime. They are shown with the system's figures from the next look on, together with
/// their age.
///
/// Any thread. Waits for other readers of this monitor. CORELANE_INVALID (`size`; `gc_cpu_fraction`
/// is not between 0 and 1), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `runtime` points at a corelane_runtime with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_push_runtime(
    monitor: CorelaneMonitor,
    runtime: *const CorelaneRuntime,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let given = unsafe { read_struct("runtime", runtime) }?;
        let runtime = RuntimeStats {
            goroutines: given.goroutines,
            gc_count: given.gc_count,
            gc_last_pause_nanoseconds: given.gc_last_pause_ns,
            gc_average_pause_nanoseconds: given.gc_average_pause_ns,
            gc_total_pause_nanoseconds: given.gc_total_pause_ns,
            gc_cpu_fraction: given.gc_cpu_fraction,
            heap_bytes: given.heap_bytes,
            stack_bytes: given.stack_bytes,
            ..RuntimeStats::default()
        };
        with_monitor(monitor, |entry| {
            entry.monitor.push_runtime(runtime).map_err(|error| Failure::invalid(error.to_string()))?;
            Ok(0)
        })
    })
}
