//! The thread that makes documents.

use super::documents::{Instance, Told, of_alert, of_connection, of_figures};
use super::{ExportShared, Options};
use crate::error::ExportError;
use crate::monitor::{AlertPoll, ConnectionEvents, Monitor};
use crate::sync::{Arc, Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often alerts and connections are taken.
const LOOK: Duration = Duration::from_millis(500);
/// The most connection events that wait between two looks.
const EVENTS: usize = 16_384;

pub(super) struct Fill {
    monitor: Monitor,
    shared: Arc<ExportShared>,
    instance: Instance,
    alerts: AlertPoll,
    connections: Option<ConnectionEvents>,
    told: Told,
    interval: Duration,
}

impl Fill {
    pub(super) fn new(
        monitor: &Monitor,
        shared: &Arc<ExportShared>,
        instance: Instance,
        options: &Options,
    ) -> Result<Self, ExportError> {
        let connections = options.connections.then(|| monitor.connection_events(EVENTS)).transpose()?;
        Ok(Self {
            alerts: monitor.alerts()?,
            monitor: monitor.clone(),
            shared: Arc::clone(shared),
            instance,
            connections,
            told: Told::default(),
            interval: options.interval,
        })
    }

    pub(super) fn run(mut self) {
        let mut due = Instant::now() + self.interval;
        while !self.shared.is_stopping() {
            let most = LOOK.min(due.saturating_duration_since(Instant::now()));
            self.shared.queue.wait(most, |_| self.shared.is_stopping());
            self.take_events();
            if Instant::now() >= due {
                // After a late look the next one is a whole interval away, so that looks never pile up.
                due = (due + self.interval).max(Instant::now());
                self.take_figures();
            }
        }
        self.take_events();
        self.take_figures();
        self.shared.end(&self.shared.filled);
    }

    fn take_figures(&mut self) {
        let stats = self.monitor.snapshot();
        self.shared.queue.push(of_figures(&mut self.instance, &stats, &mut self.told));
    }

    fn take_events(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        while let Some(alert) = self.alerts.next() {
            self.shared.queue.push([of_alert(&mut self.instance, &alert, now)]);
        }
        let Some(connections) = &mut self.connections else { return };
        loop {
            let (events, missed) = connections.take();
            self.shared.counts.missed.fetch_add(missed, Relaxed); // Relaxed: see `ExportCounts`.
            if events.is_empty() {
                return;
            }
            let instance = &mut self.instance;
            self.shared.queue.push(events.iter().map(|event| of_connection(instance, event)));
        }
    }
}
