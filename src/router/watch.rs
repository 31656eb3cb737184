//! The watchdog: it finds workers whose handler exceeds its time limit, from what each worker publishes in its
//! `activity`, and local workers whose loop does not come back. It then marks the worker as stalled in `placement`, so that new messages go elsewhere. Used by
//! `router`, which starts it if there are handlers or local workers.

use super::pair::Pair;
use super::shared::{Shared, WorkerShared};
use crate::clock::Stamp;
use crate::config::Key;
use crate::sync::{AcqRel, Acquire, Arc, AtomicBool, Relaxed, Release, lock};
use std::time::Duration;

/// Finds stalled workers. [`Builder::start`](super::Builder::start) runs a watchdog on its own thread if there
/// are handlers; a host that drives the workers itself calls [`look`](Self::look).
#[derive(Clone, Debug)]
pub struct Watchdog {
    shared: Arc<Shared>,
    timeout_ticks: u64,
}

impl Watchdog {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let timeout = shared.config.milliseconds(Key::ProcessingTimeout);
        Self { shared: Arc::clone(shared), timeout_ticks: shared.clock.ticks(timeout) }
    }

    /// Marks each worker as stalled whose handler has been running for longer than `processing_timeout_ms` at
    /// `now` (a reading of the router's clock), and each local worker that has left records waiting for that long
    /// without a cycle. Unmarks the workers that have moved on. Returns how many are stalled. Can be called on any
    /// thread at any time.
    pub fn look(&self, now: Stamp) -> usize {
        let now = now.0;
        let mut count = 0;
        for (index, worker) in self.shared.workers.iter().enumerate() {
            // Skip workers that a stop has given up; `WorkerStats::given_up` reports those.
            let present = worker.activity.present();
            let late = self.late_since(index, worker, now);
            let over = present.or(late).filter(|(_, since)| {
                now.saturating_sub(*since) > self.timeout_ticks && !worker.given_up.load(Relaxed)
            });
            // Relaxed: this is only a report. Placement reads the bit, which is set first, so a thread that
            // sees the report finds the bit set.
            if worker.stalled.load(Relaxed) != over.is_some() {
                self.shared.placement.set_stalled(index, over.is_some());
                worker.stalled.store(over.is_some(), Relaxed);
            }
            let Some((number, _)) = over else { continue };
            count += 1;
            // AcqRel: if two threads call this at the same time, only one counts the stall.
            if worker.stall_counted.swap(number, AcqRel) != number {
                worker.stalls.fetch_add(1, Relaxed); // Relaxed: an independent count.
            }
        }
        count
    }
}

/// Distinguishes the number of a late loop from that of a handler's run.
const LATE: u64 = 1 << 63;

impl Watchdog {
    /// For a local worker whose loop has not come back although records wait: a number of this delay, and since when
    /// the watchdog knows.
    fn late_since(&self, index: usize, worker: &WorkerShared, now: u64) -> Option<(u64, u64)> {
        let local = worker.local.as_ref()?;
        let control = lock(&self.shared.control);
        let pairs = (0..self.shared.ports.len())
            .filter_map(|port| control.pairs.get(self.shared.path(index, port)).and_then(Option::as_ref));
        let waits = |pair: &Pair| pair.ingress.waiting().0 > 0 && !pair.ingress.is_closed();
        let waiting = pairs.into_iter().any(waits);
        drop(control);
        local.late_since(waiting, now).map(|(cycles, since)| (cycles | LATE, since))
    }
}

/// The watchdog's thread. Ends when dropped.
#[derive(Debug)]
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watch {
    pub(super) fn start(shared: &Arc<Shared>) -> std::io::Result<Self> {
        let (watchdog, stop) = (Watchdog::new(shared), Arc::new(AtomicBool::new(false)));
        let timeout = shared.config.milliseconds(Key::ProcessingTimeout);
        let pause = (timeout / 8).clamp(Duration::from_millis(1), Duration::from_secs(1));
        let seen = Arc::clone(&stop);
        let run = move || {
            // Acquire: pairs with the Release in `drop`.
            while !seen.load(Acquire) {
                watchdog.look(watchdog.shared.clock.now());
                std::thread::park_timeout(pause);
            }
        };
        let thread = std::thread::Builder::new().name("corelane-watch".to_owned()).spawn(run)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic would be a defect, which the thread itself has reported; the router still stops.
            let _ = thread.join();
        }
    }
}
