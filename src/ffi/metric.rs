//! The host's own counters, gauges and histograms. A handle is one series, looked up once. A thread that records keeps the
//! series that it has used, so that recording only checks the handle and touches no word that other threads write.

use super::borrow::{CStruct, out, read_struct, slice, text};
use super::guard::{CorelaneError, Failure, Outcome, answer, guard};
use super::handle::{CorelaneCounter, CorelaneGauge, CorelaneHistogram, CorelaneMonitor, Table};
use super::monitors::with_monitor;
use crate::metrics::{Counter, CustomHistogram, Descriptor, Gauge};
use std::cell::RefCell;
use std::ffi::{CStr, c_char};

/// Name and description of a metric. Its name follows the conventions of Prometheus: the name of a counter, and no other,
/// ends in _total, and a unit is part of the name.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneMetric {
    /// `sizeof(corelane_metric)`, set by the caller: CORELANE_METRIC_INIT.
    pub size: u32,
    /// How many label sets may have a series of their own; 0 for 64. Further label sets share one series, in which every
    /// label is `other`.
    pub max_series: u32,
    /// The name, such as "conference_joins_total".
    pub name: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub name_length: usize,
    /// What it counts.
    pub help: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub help_length: usize,
    /// The unit: seconds, bytes, ratio or another base unit. May be empty.
    pub unit: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub unit_length: usize,
    /// The names of the labels, each with a closing NUL. NULL if there are none.
    pub labels: *const *const c_char,
    /// Number of labels, at most 8.
    pub label_count: usize,
}

// SAFETY: integers and pointers, the size first.
unsafe impl CStruct for CorelaneMetric {
    const NAME: &'static str = "corelane_metric";
}

/// Series that a thread keeps for each kind of metric.
const KEPT: usize = 64;

/// The series of one kind that a thread has used, each at a place that its handle names. A series is kept until another one
/// needs its place or the thread ends, also if its handle was released.
type Kept<T> = RefCell<[(u64, Option<T>); KEPT]>;

thread_local! {
    static OWN_COUNTERS: Kept<Counter> = const { RefCell::new([const { (0, None) }; KEPT]) };
    static OWN_GAUGES: Kept<Gauge> = const { RefCell::new([const { (0, None) }; KEPT]) };
    static OWN_HISTOGRAMS: Kept<CustomHistogram> = const { RefCell::new([const { (0, None) }; KEPT]) };
}

static COUNTERS: Table<Counter, 4096> = Table::new("counter");
static GAUGES: Table<Gauge, 4096> = Table::new("gauge");
static HISTOGRAMS: Table<CustomHistogram, 4096> = Table::new("histogram");

/// Runs `body` on the series of a handle.
#[inline]
fn with_series<T: Clone + Send + Sync, const N: usize>(
    table: &Table<T, N>,
    kept: &'static std::thread::LocalKey<Kept<T>>,
    handle: u64,
    body: impl Fn(&T),
) -> Outcome {
    table.check(handle)?;
    let done = kept.try_with(|kept| {
        let mut kept = kept.try_borrow_mut().ok()?;
        let place = kept.get_mut(handle as usize % KEPT)?;
        if place.0 != handle || place.1.is_none() {
            match table.enter_shared(handle, |series| Ok(series.clone())) {
                Ok(series) => *place = (handle, Some(series)),
                Err(failure) => return Some(Err(failure)),
            }
        }
        place.1.as_ref().map(|series| {
            body(series);
            Ok(0)
        })
    });
    match done {
        Ok(Some(result)) => result,
        // The thread ends.
        _ => table.enter_shared(handle, |series| {
            body(series);
            Ok(0)
        }),
    }
}

/// # Safety
/// `names` is NULL or points at `count` pointers to texts with a closing NUL.
unsafe fn texts<'a>(name: &str, names: *const *const c_char, count: usize) -> Result<Vec<&'a str>, Failure> {
    // SAFETY: the caller upholds the same contract.
    let all = unsafe { slice(name, names, count) }?;
    let one = |(at, start): (usize, &*const c_char)| {
        if start.is_null() {
            return Err(Failure::null(&format!("{name}[{at}]")));
        }
        // SAFETY: not NULL, and the caller guarantees the NUL.
        let bytes = unsafe { CStr::from_ptr(*start) };
        bytes.to_str().map_err(|_| Failure::invalid(format!("{name}[{at}] is not UTF-8")))
    };
    all.iter().enumerate().map(one).collect()
}

/// # Safety
/// `metric` is NULL or points at a corelane_metric with its size set and its texts as their lengths say.
unsafe fn descriptor(metric: *const CorelaneMetric) -> Result<Descriptor, Failure> {
    // SAFETY: the caller upholds the same contract.
    let given = unsafe { read_struct("metric", metric) }?;
    // SAFETY: as above.
    let name = unsafe { text("name", given.name, given.name_length) }?;
    // SAFETY: as above.
    let help = unsafe { text("help", given.help, given.help_length) }?;
    // SAFETY: as above.
    let unit = unsafe { text("unit", given.unit, given.unit_length) }?;
    if given.label_count > 64 {
        return Err(Failure::invalid("a metric has at most 8 labels"));
    }
    // SAFETY: as above.
    let labels = unsafe { texts("labels", given.labels, given.label_count) }?;
    let descriptor = Descriptor::new(name, help).unit(unit).labels(&labels);
    Ok(if given.max_series == 0 { descriptor } else { descriptor.max_series(given.max_series as usize) })
}

/// Looks up one series of a counter, and declares the counter if it is new. `values` are the values of the labels, in their
/// order, each with a closing NUL; a value is cut off after 64 bytes. A label set beyond `max_series` or `max_custom_series`
/// gets the series in which every label is `other`, and is counted as folded. Several handles may stand for one series.
///
/// Any thread. May wait briefly for another thread that looks up a series. CORELANE_INVALID (name, unit, label, number of
/// values; another metric has that name; not UTF-8; `size`), CORELANE_LIMIT (`max_custom_series`; 4,096 counters of the process
/// are open), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `metric` points at a corelane_metric with its size set and its texts as their lengths say; `values` points at
/// `value_count` texts with a closing NUL; `out_counter` points at room for a handle; `error` is NULL or a corelane_error with
/// its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_counter(
    monitor: CorelaneMonitor,
    metric: *const CorelaneMetric,
    values: *const *const c_char,
    value_count: usize,
    out_counter: *mut CorelaneCounter,
    error: *mut CorelaneError,
) -> i32 {
    let look_up = || -> Outcome {
        let out_counter = out("out_counter", out_counter)?;
        // SAFETY: the caller upholds the same contract.
        let descriptor = unsafe { descriptor(metric) }?;
        // SAFETY: as above.
        let values = unsafe { texts("values", values, value_count) }?;
        let series = with_monitor(monitor, |entry| Ok(entry.monitor.counter(&descriptor)?.with(&values)?))?;
        let value = COUNTERS.insert(series)?;
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_counter.write(CorelaneCounter { value }) };
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, look_up) }
}

/// As `corelane_monitor_counter`, for a gauge.
///
/// Any thread. Errors as for `corelane_monitor_counter`.
///
/// # Safety
/// As `corelane_monitor_counter`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_gauge(
    monitor: CorelaneMonitor,
    metric: *const CorelaneMetric,
    values: *const *const c_char,
    value_count: usize,
    out_gauge: *mut CorelaneGauge,
    error: *mut CorelaneError,
) -> i32 {
    let look_up = || -> Outcome {
        let out_gauge = out("out_gauge", out_gauge)?;
        // SAFETY: the caller upholds the same contract.
        let descriptor = unsafe { descriptor(metric) }?;
        // SAFETY: as above.
        let values = unsafe { texts("values", values, value_count) }?;
        let series = with_monitor(monitor, |entry| Ok(entry.monitor.gauge(&descriptor)?.with(&values)?))?;
        let value = GAUGES.insert(series)?;
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_gauge.write(CorelaneGauge { value }) };
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, look_up) }
}

/// As `corelane_monitor_counter`, for a histogram. Its unit must be seconds or bytes.
///
/// Any thread. Errors as for `corelane_monitor_counter`.
///
/// # Safety
/// As `corelane_monitor_counter`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_histogram(
    monitor: CorelaneMonitor,
    metric: *const CorelaneMetric,
    values: *const *const c_char,
    value_count: usize,
    out_histogram: *mut CorelaneHistogram,
    error: *mut CorelaneError,
) -> i32 {
    let look_up = || -> Outcome {
        let out_histogram = out("out_histogram", out_histogram)?;
        // SAFETY: the caller upholds the same contract.
        let descriptor = unsafe { descriptor(metric) }?;
        // SAFETY: as above.
        let values = unsafe { texts("values", values, value_count) }?;
        let series =
            with_monitor(monitor, |entry| Ok(entry.monitor.histogram(&descriptor)?.with(&values)?))?;
        let value = HISTOGRAMS.insert(series)?;
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_histogram.write(CorelaneHistogram { value }) };
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, look_up) }
}

/// Adds `count` to a counter. The value stops at the largest number. Works also after the monitor's release.
///
/// Any thread. Does not block. CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_counter_add(counter: CorelaneCounter, count: u64) -> i32 {
    answer(|| with_series(&COUNTERS, &OWN_COUNTERS, counter.value, |one| one.add(count)))
}

/// Sets a gauge. NAN leaves it unchanged and is counted as ignored.
///
/// Any thread. Does not block. CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_gauge_set(gauge: CorelaneGauge, value: f64) -> i32 {
    answer(|| with_series(&GAUGES, &OWN_GAUGES, gauge.value, |one| one.set(value)))
}

/// Adds to a gauge; a negative value subtracts. A sum of NAN leaves it unchanged and is counted as ignored.
///
/// Any thread. Does not block. CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_gauge_add(gauge: CorelaneGauge, value: f64) -> i32 {
    answer(|| with_series(&GAUGES, &OWN_GAUGES, gauge.value, |one| one.add(value)))
}

/// Counts a value in a histogram: nanoseconds if its unit is seconds, otherwise bytes. A value of 2^62 or more is a negative
/// difference; it is counted as ignored.
///
/// Any thread. Does not block. CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_histogram_record(histogram: CorelaneHistogram, value: u64) -> i32 {
    answer(|| with_series(&HISTOGRAMS, &OWN_HISTOGRAMS, histogram.value, |one| one.record(value)))
}

/// `corelane_histogram_record` of `count` values, at a lower cost for each.
///
/// Any thread. Does not block. CORELANE_STALE, CORELANE_NULL (`values`).
///
/// # Safety
/// `values` points at `count` values, and may be NULL if that is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_histogram_record_all(
    histogram: CorelaneHistogram,
    values: *const u64,
    count: usize,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let values = unsafe { slice("values", values, count) }?;
        with_series(&HISTOGRAMS, &OWN_HISTOGRAMS, histogram.value, |one| one.record_all(values))
    })
}

/// Releases a handle of a counter. The counter stays in the monitor's figures.
///
/// Any thread. Does not block. CORELANE_STALE the second time.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_counter_release(counter: CorelaneCounter) -> i32 {
    answer(|| {
        drop(COUNTERS.release(counter.value)?);
        Ok(0)
    })
}

/// Releases a handle of a gauge. The gauge stays in the monitor's figures.
///
/// Any thread. Does not block. CORELANE_STALE the second time.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_gauge_release(gauge: CorelaneGauge) -> i32 {
    answer(|| {
        drop(GAUGES.release(gauge.value)?);
        Ok(0)
    })
}

/// Releases a handle of a histogram. The histogram stays in the monitor's figures.
///
/// Any thread. Does not block. CORELANE_STALE the second time.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_histogram_release(histogram: CorelaneHistogram) -> i32 {
    answer(|| {
        drop(HISTOGRAMS.release(histogram.value)?);
        Ok(0)
    })
}
