//! Recording of messages that the host has handled itself. A thread that records by number has its own recorder, so that
//! it writes cells of its own and does not enter the monitor's handle: the handle is only checked.

use super::borrow::{CStruct, out, read_struct, slice, structs, text};
use super::guard::{CorelaneError, Failure, Outcome, answer, guard};
use super::handle::{CorelaneClient, CorelaneMonitor, CorelaneSeries};
use super::monitors::{MONITORS, with_monitor};
use super::reason::recorded_reason;
use crate::id::ClientId;
use crate::record::{Labels, Measured, RecordedMessage, Recorder};
use std::cell::RefCell;
use std::ffi::c_char;
use std::time::Duration;

/// One message that the host has handled, by numbers. All zeros: a message without names that succeeded.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneSample {
    /// `sizeof(corelane_sample)`, set by the caller: CORELANE_SAMPLE_INIT.
    pub size: u32,
    /// 0 if the message succeeded, otherwise a CORELANE_REASON_ value: CORELANE_REASON_EXPIRED if it waited too long,
    /// CORELANE_REASON_REPORTED if no other reason fits.
    pub reason: u32,
    /// Protocol, type and application, from `corelane_monitor_series` of the same monitor; 0 for `other`.
    pub series: CorelaneSeries,
    /// The sender, from `corelane_monitor_connect` or `corelane_monitor_client`; 0 for none. A client that has disconnected
    /// is counted in the figure `folded_clients`, and the message otherwise as usual.
    pub client: CorelaneClient,
    /// Size in bytes.
    pub bytes: u64,
    /// Nanoseconds from the message's arrival to the start of its handling.
    pub queue_wait_ns: u64,
    /// Nanoseconds that handling took. A message with either time at 2^62 or more is counted as `impossible` and nowhere
    /// else: such a time is a negative difference.
    pub service_ns: u64,
}

// SAFETY: integers only, the size first.
unsafe impl CStruct for CorelaneSample {
    const NAME: &'static str = "corelane_sample";
}

/// One message that the host has handled, by names.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneMessage {
    /// `sizeof(corelane_message)`, set by the caller: CORELANE_MESSAGE_INIT.
    pub size: u32,
    /// As in corelane_sample.
    pub reason: u32,
    /// Name of the sender, which need not be connected. Empty for none.
    pub client: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub client_length: usize,
    /// Type of the message. Empty counts as `other`.
    pub message_type: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub message_type_length: usize,
    /// Protocol. May be empty.
    pub protocol: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub protocol_length: usize,
    /// Application of the client. May be empty.
    pub application: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub application_length: usize,
    /// Size in bytes.
    pub bytes: u64,
    /// As in corelane_sample.
    pub queue_wait_ns: u64,
    /// As in corelane_sample.
    pub service_ns: u64,
}

// SAFETY: integers and pointers, the size first.
unsafe impl CStruct for CorelaneMessage {
    const NAME: &'static str = "corelane_message";
}

/// A thread's recorder for one monitor.
struct Own {
    monitor: u64,
    recorder: Recorder,
}

/// How many monitors a thread may record to without giving up a recorder.
const RECORDERS: usize = 4;

thread_local! {
    /// The calling thread's recorders, the latest first.
    static OWN: RefCell<Vec<Own>> = const { RefCell::new(Vec::new()) };
}

/// The upper bits of the series of a monitor, which make those of another monitor invalid.
fn tag(monitor: u64) -> u64 {
    (monitor >> 32 ^ monitor << 9 | 0x8000) & 0xffff
}

fn labels(monitor: u64, series: CorelaneSeries) -> Result<Labels, Failure> {
    if series.value >> 48 == tag(monitor) || series.value == 0 {
        return Ok(Labels::of_number(series.value));
    }
    Err(Failure::invalid("series is not one of this monitor: use corelane_monitor_series"))
}

#[inline]
fn measured(reason: u32, bytes: u64, queue_wait_ns: u64, service_ns: u64) -> Result<Measured, Failure> {
    let reason = if reason == 0 { None } else { recorded_reason(reason)? };
    let (queue_wait, processing) = (Duration::from_nanos(queue_wait_ns), Duration::from_nanos(service_ns));
    Ok(Measured { failed: reason.is_some(), reason, bytes, queue_wait, processing })
}

#[inline]
fn record_all(
    monitor: u64,
    recorder: &mut Recorder,
    samples: impl ExactSizeIterator<Item = CorelaneSample> + Clone,
) -> Outcome {
    // Nothing is recorded if a sample is wrong.
    for sample in samples.clone() {
        labels(monitor, sample.series)?;
        if sample.reason != 0 {
            recorded_reason(sample.reason)?;
        }
    }
    let count = samples.len();
    let mut batch = recorder.batch();
    for sample in samples {
        let client = (sample.client.value != 0).then_some(ClientId(sample.client.value));
        let measured = measured(sample.reason, sample.bytes, sample.queue_wait_ns, sample.service_ns)?;
        batch.record(labels(monitor, sample.series)?, client, measured);
    }
    Ok(count as i64)
}

/// Runs `body` with the calling thread's recorder for a monitor.
#[inline]
fn with_recorder<R>(
    monitor: CorelaneMonitor,
    body: impl FnOnce(&mut Recorder) -> Result<R, Failure>,
) -> Result<R, Failure> {
    MONITORS.check(monitor.value)?;
    let mut body = Some(body);
    let mut run = |recorder: &mut Recorder| body.take().map(|body| body(recorder));
    let done = OWN.try_with(|own| {
        let mut own = own.try_borrow_mut().ok()?;
        if own.first().is_none_or(|one| one.monitor != monitor.value)
            && let Err(failure) = bring_forward(&mut own, monitor)
        {
            return Some(Err(failure));
        }
        run(&mut own.first_mut()?.recorder)
    });
    match done {
        Ok(Some(result)) => result,
        // The thread ends, and its own recorders are gone.
        _ => with_monitor(monitor, |entry| {
            run(&mut entry.monitor.recorder()).unwrap_or_else(|| Err(Failure::invalid("recorded already")))
        }),
    }
}

/// Makes a monitor's recorder the first one. Creates it if the thread has none, and drops those of released monitors.
#[cold]
fn bring_forward(own: &mut Vec<Own>, monitor: CorelaneMonitor) -> Result<(), Failure> {
    own.retain(|one| MONITORS.check(one.monitor).is_ok());
    let recorder = match own.iter().position(|one| one.monitor == monitor.value) {
        Some(place) => own.remove(place).recorder,
        None => with_monitor(monitor, |entry| Ok(entry.monitor.recorder()))?,
    };
    own.truncate(RECORDERS - 1);
    own.insert(0, Own { monitor: monitor.value, recorder });
    Ok(())
}

/// Looks up a protocol, a type and an application, once, for `corelane_monitor_record`. Unknown names get figures of their
/// own while `max_recorded_types` and `max_applications` allow; then they are `other`, and the lookup is counted as folded.
///
/// Any thread. May wait briefly for another thread that looks up a new name. CORELANE_INVALID (not UTF-8), CORELANE_NULL,
/// CORELANE_STALE.
///
/// # Safety
/// The names are texts; `out_series` points at room for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_series(
    monitor: CorelaneMonitor,
    protocol: *const c_char,
    protocol_length: usize,
    message_type: *const c_char,
    message_type_length: usize,
    application: *const c_char,
    application_length: usize,
    out_series: *mut CorelaneSeries,
) -> i32 {
    answer(|| {
        let out_series = out("out_series", out_series)?;
        // SAFETY: the caller upholds the same contract.
        let protocol = unsafe { text("protocol", protocol, protocol_length) }?;
        // SAFETY: as above.
        let message_type = unsafe { text("message_type", message_type, message_type_length) }?;
        // SAFETY: as above.
        let application = unsafe { text("application", application, application_length) }?;
        with_monitor(monitor, |entry| {
            let labels = entry.monitor.labels(protocol, message_type, application);
            let value = tag(monitor.value) << 48 | labels.number();
            // SAFETY: `out` checked the pointer; the caller has room there.
            unsafe { out_series.write(CorelaneSeries { value }) };
            Ok(0)
        })
    })
}

/// Counts messages that end now, and returns how many: all, or none if one of them is not valid. `samples` is an array; the
/// first one's `size` is the distance between two. Reads the clock once. Each thread records into cells of its own, for up
/// to `max_recorders` threads; further threads share cells, which is slower and just as exact.
///
/// Any thread. Does not block, and allocates only at the first message of a thread, of a series and of a client.
/// CORELANE_INVALID (`size`, `reason`, a series of another monitor), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `samples` points at `count` structs of the size in the first one; it may be NULL if `count` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_record(
    monitor: CorelaneMonitor,
    samples: *const CorelaneSample,
    count: usize,
) -> i32 {
    answer(|| {
        // SAFETY: `structs` checks the pointer again; the caller guarantees that the first size is readable.
        let ours = count > 0
            && samples.is_aligned()
            && !samples.is_null()
            && unsafe { (*samples).size } as usize == size_of::<CorelaneSample>();
        if ours {
            // SAFETY: the caller upholds the same contract; the distance is the size of our struct.
            let samples = unsafe { slice("samples", samples, count) }?;
            return with_recorder(monitor, |recorder| {
                record_all(monitor.value, recorder, samples.iter().copied())
            });
        }
        // SAFETY: as above.
        let samples = unsafe { structs("samples", samples, count) }?;
        with_recorder(monitor, |recorder| record_all(monitor.value, recorder, samples))
    })
}

/// Counts a message that ends now, by names. `corelane_monitor_record` does the same at a lower cost.
///
/// Any thread. May wait briefly for another thread that records a new name. CORELANE_INVALID (`size`, `reason`, not UTF-8),
/// CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `message` points at a corelane_message with its size set and its texts as their lengths say; `error` is NULL or a
/// corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_record_message(
    monitor: CorelaneMonitor,
    message: *const CorelaneMessage,
    error: *mut CorelaneError,
) -> i32 {
    let record = || -> Outcome {
        // SAFETY: the caller upholds the same contract.
        let given = unsafe { read_struct("message", message) }?;
        let recorded = RecordedMessage {
            // SAFETY: as above.
            client: unsafe { text("client", given.client, given.client_length) }?,
            // SAFETY: as above.
            message_type: unsafe { text("message_type", given.message_type, given.message_type_length) }?,
            // SAFETY: as above.
            protocol: unsafe { text("protocol", given.protocol, given.protocol_length) }?,
            // SAFETY: as above.
            application: unsafe { text("application", given.application, given.application_length) }?,
            measured: measured(given.reason, given.bytes, given.queue_wait_ns, given.service_ns)?,
        };
        with_monitor(monitor, |entry| {
            entry.monitor.record(&recorded);
            Ok(0)
        })
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, record) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::{CorelaneStatus, corelane_monitor_new, corelane_monitor_release};
    use crate::monitor::Monitor;

    fn started(config: &str) -> CorelaneMonitor {
        let mut monitor = CorelaneMonitor::default();
        // SAFETY: the text has this length, and the handle has room.
        let status = unsafe {
            corelane_monitor_new(config.as_ptr().cast(), config.len(), &raw mut monitor, std::ptr::null_mut())
        };
        assert_eq!(status, 0);
        monitor
    }

    fn record(monitor: CorelaneMonitor, series: u64) -> i32 {
        let sample = CorelaneSample {
            size: size_of::<CorelaneSample>() as u32,
            reason: 0,
            series: CorelaneSeries { value: series },
            client: CorelaneClient::default(),
            bytes: 1,
            queue_wait_ns: 0,
            service_ns: 1,
        };
        // SAFETY: one struct with its size set.
        unsafe { corelane_monitor_record(monitor, &raw const sample, 1) }
    }

    fn release(monitor: CorelaneMonitor) {
        // SAFETY: no requirements.
        assert_eq!(unsafe { corelane_monitor_release(monitor) }, 0);
    }

    fn total(monitor: CorelaneMonitor) -> u64 {
        let messages = with_monitor(monitor, |entry| Ok(entry.monitor.snapshot().messages)).unwrap();
        messages.map_or(0, |messages| messages.totals.total)
    }

    #[test]
    fn a_series_is_of_one_monitor() {
        let places = 0..64u64;
        let handles = places.flat_map(|place| [1, 2, 70].map(|generation| generation << 32 | place));
        let mut tags: Vec<_> = handles.map(tag).collect();
        assert!(tags.iter().all(|tag| *tag != 0 && *tag < 1 << 16));
        tags.sort_unstable();
        tags.dedup();
        assert!(tags.len() > 150, "nearly all handles have tags of their own: {}", tags.len());
        let labels = Monitor::new(crate::config::Config::default()).unwrap().labels("p", "t", "a");
        assert_eq!(Labels::of_number(labels.number()), labels);
    }

    #[test]
    fn a_thread_gives_its_cells_back_and_its_figures_stay() {
        let monitor = started("max_recorders = 1");
        for _ in 0..8 {
            std::thread::scope(|scope| scope.spawn(|| assert_eq!(record(monitor, 0), 1)).join().unwrap());
        }
        let alone = with_monitor(monitor, |entry| Ok(entry.monitor.recorder().is_alone())).unwrap();
        assert!(alone, "every thread that has ended has given its cells back");
        assert_eq!(total(monitor), 8);
        release(monitor);
    }

    #[test]
    fn a_thread_may_record_to_more_monitors_than_it_keeps_recorders() {
        let monitors: Vec<_> = (0..RECORDERS + 2).map(|_| started("max_recorders = 1")).collect();
        for _ in 0..3 {
            for monitor in &monitors {
                assert_eq!(record(*monitor, 0), 1);
            }
        }
        OWN.with_borrow(|own| assert_eq!(own.len(), RECORDERS));
        for monitor in &monitors {
            assert_eq!(total(*monitor), 3);
            release(*monitor);
            assert_eq!(record(*monitor, 0), CorelaneStatus::Stale as i32);
        }
        let last = started("");
        assert_eq!(record(last, 0), 1);
        OWN.with_borrow(|own| assert_eq!(own.len(), 1, "recorders of released monitors are dropped"));
        release(last);
    }

    #[test]
    fn a_thread_that_ends_still_records() {
        struct AtTheEnd(CorelaneMonitor);
        impl Drop for AtTheEnd {
            fn drop(&mut self) {
                record(self.0, 0);
            }
        }
        thread_local! {
            static LAST: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
        }
        let monitor = started("");
        std::thread::spawn(move || {
            // Registered before and after the recorder, so that one of the two drops finds it gone.
            LAST.set(Some(AtTheEnd(monitor)));
            record(monitor, 0);
        })
        .join()
        .unwrap();
        std::thread::spawn(move || {
            record(monitor, 0);
            LAST.set(Some(AtTheEnd(monitor)));
        })
        .join()
        .unwrap();
        assert_eq!(total(monitor), 4);
        release(monitor);
    }
}
