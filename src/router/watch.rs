//! Who watches the workers: each says what message a handler is at and since when; one look in a while at all of them
//! finds those that are over their time.

use super::shared::Shared;
use crate::config::Key;
use crate::error::Error;
use crate::sync::{AcqRel, Acquire, Arc, AtomicBool, Relaxed, Release};
use std::time::Duration;

/// Looks at a router's workers. [`Builder::start`](super::Builder::start) runs one on a thread of its own where there are
/// handlers; who drives the workers by hand calls [`look`](Self::look).
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

    /// Marks each worker as stalled whose present message has been with its handler for longer than
    /// `processing_timeout_ms` at `now` (the router's clock), and unmarks those that have moved on. Says how many are.
    /// Any thread, at any time.
    pub fn look(&self, now: u64) -> usize {
        let mut count = 0;
        for (index, worker) in self.shared.workers.iter().enumerate() {
            // One that a stop has given up is no worker any more; `WorkerStats::given_up` says so.
            let present = worker.activity.present().filter(|_| !worker.given_up.load(Relaxed));
            let over = present.filter(|(_, since)| now.saturating_sub(*since) > self.timeout_ticks);
            // Relaxed: a report. Who places clients reads the bit, which comes first: who sees the report finds it set.
            if worker.stalled.load(Relaxed) != over.is_some() {
                self.shared.placement.set_stalled(index, over.is_some());
                worker.stalled.store(over.is_some(), Relaxed);
            }
            let Some((number, _)) = over else { continue };
            count += 1;
            // AcqRel: of two that look at once, one counts the stall.
            if worker.stall_counted.swap(number, AcqRel) != number {
                worker.stalls.fetch_add(1, Relaxed); // Relaxed: a count by itself.
            }
        }
        count
    }
}

/// The thread that looks. Ends when dropped.
#[derive(Debug)]
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watch {
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Self, Error> {
        let (watchdog, stop) = (Watchdog::new(shared), Arc::new(AtomicBool::new(false)));
        let timeout = shared.config.milliseconds(Key::ProcessingTimeout);
        let pause = (timeout / 8).clamp(Duration::from_millis(1), Duration::from_secs(1));
        let seen = Arc::clone(&stop);
        let run = move || {
            // Acquire: pairs with the Release in `drop`.
            while !seen.load(Acquire) {
                watchdog.look(watchdog.shared.clock.raw());
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
            // Its panic would be a defect that its thread has reported; the router goes down all the same.
            let _ = thread.join();
        }
    }
}
