//! The exporters of a monitor: what each kind has sent and lost, also after its end.

use crate::metrics::ExporterStats;
use crate::sync::{Arc, Mutex, lock};
use std::fmt::Debug;

/// One exporter.
pub(crate) trait ExportSource: Debug + Send + Sync {
    /// What it has sent and lost so far. `running` is 1.
    fn stats(&self) -> ExporterStats;
}

/// The exporters of a monitor, by kind.
#[derive(Debug, Default)]
pub(super) struct Exporters(Mutex<ExporterList>);

#[derive(Debug, Default)]
struct ExporterList {
    running: Vec<Arc<dyn ExportSource>>,
    /// What ended exporters have left, one entry for each kind. Counters must not go back when an exporter ends.
    ended: Vec<ExporterStats>,
}

impl Exporters {
    #[cfg(any(test, feature = "elasticsearch", feature = "otlp"))]
    pub(super) fn add(&self, one: Arc<dyn ExportSource>) {
        let mut list = lock(&self.0);
        list.settle(); // A host that starts and ends exporters for ever does not make the list grow.
        list.running.push(one);
    }

    /// The figures of each kind that was ever started.
    pub(super) fn stats(&self) -> Vec<ExporterStats> {
        let mut list = lock(&self.0);
        list.settle();
        let mut all = list.ended.clone();
        list.running.iter().for_each(|one| add(&mut all, one.stats()));
        all
    }
}

impl ExporterList {
    /// Moves the figures of the exporters that have ended. Nobody but this list has such a one, so it does not change.
    fn settle(&mut self) {
        let mut at = 0;
        while let Some(one) = self.running.get_mut(at) {
            if Arc::get_mut(one).is_none() {
                at += 1;
                continue;
            }
            let last = self.running.remove(at).stats();
            let dropped = last.dropped + last.waiting; // What waits is never sent.
            add(&mut self.ended, ExporterStats { running: 0, dropped, waiting: 0, waiting_bytes: 0, ..last });
        }
    }
}

/// Adds figures to those of the same kind.
fn add(all: &mut Vec<ExporterStats>, more: ExporterStats) {
    let Some(one) = all.iter_mut().find(|one| one.name == more.name) else {
        all.push(more);
        return;
    };
    one.running += more.running;
    one.sent += more.sent;
    one.repeated += more.repeated;
    one.rejected += more.rejected;
    one.dropped += more.dropped;
    one.missed += more.missed;
    one.failed_requests += more.failed_requests;
    one.waiting += more.waiting;
    one.waiting_bytes += more.waiting_bytes;
    if more.running > 0 && one.running == more.running {
        // The error of an exporter that has ended says nothing about the first one that runs.
        one.last_error = None;
    }
    one.last_error = more.last_error.or(one.last_error.take());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{AtomicU64, Relaxed};

    #[derive(Debug)]
    struct Counting(AtomicU64, Option<&'static str>);

    impl ExportSource for Counting {
        fn stats(&self) -> ExporterStats {
            ExporterStats {
                name: "elasticsearch".into(),
                running: 1,
                sent: self.0.load(Relaxed), // Relaxed: one thread.
                waiting: 2,
                last_error: self.1.map(str::to_owned),
                ..ExporterStats::default()
            }
        }
    }

    #[test]
    fn an_ended_exporter_keeps_its_counts_and_loses_its_queue() {
        let exporters = Exporters::default();
        assert_eq!(exporters.stats(), []);
        let first = Arc::new(Counting(AtomicU64::new(5), Some("refused")));
        exporters.add(Arc::clone(&first) as Arc<dyn ExportSource>);
        first.0.store(7, Relaxed); // Relaxed: one thread.
        drop(first);
        let second: Arc<dyn ExportSource> = Arc::new(Counting(AtomicU64::new(1), None));
        for _ in 0..2 {
            let all = exporters.stats();
            let [one] = &all[..] else { panic!("{all:?}") };
            assert_eq!((one.running, one.sent, one.waiting, one.dropped), (0, 7, 0, 2));
            assert_eq!(one.last_error.as_deref(), Some("refused"));
        }
        exporters.add(Arc::clone(&second));
        let all = exporters.stats();
        let [one] = &all[..] else { panic!("{all:?}") };
        assert_eq!((one.running, one.sent, one.waiting, one.last_error.as_ref()), (1, 8, 2, None));
        drop(second);
        assert_eq!(exporters.stats()[0].sent, 8);
    }
}
