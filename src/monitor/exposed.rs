//! The figures since the start, for exports that must not go back: no reset changes them.

use super::alert::AlertFigures;
use super::figures::{ApplicationConnectionFigures, FoldedFigures, ReportFigures};
use super::inner::Inner;
use super::outbox::ListenerLosses;
use super::reading::{ReadingTime, folded, read_connections};
use super::system::{CostStats, SystemStats};
use crate::config::{Config, Key};
use crate::metrics::{Connections, CustomStats, Distribution, ExporterStats, RecordedStats, Stats};
use crate::record::Source;

/// What [`Exposition`](crate::export::Exposition) writes.
pub(crate) struct ExposedFigures {
    /// The router's own figures, if there is a router.
    pub(crate) router: Option<Stats>,
    /// Connections of the router and of the host.
    pub(crate) connections: Connections,
    pub(crate) applications: Vec<ApplicationConnectionFigures>,
    /// Durations of ended connections, in milliseconds.
    pub(crate) lived: Distribution,
    pub(crate) reconnects: u64,
    /// Healthy and unhealthy clients. `None` while `detailed_stats` is off.
    pub(crate) health: Option<(u64, u64)>,
    /// Limits on connections: name, use, limit.
    pub(crate) pools: Vec<(&'static str, u64, u64)>,
    /// A router's limits.
    pub(crate) limits: Option<RouterLimits>,
    /// Bytes written to clients of the router and of the host.
    pub(crate) bytes_out: u64,
    pub(crate) recorded: RecordedStats,
    pub(crate) custom: CustomStats,
    pub(crate) metrics_enabled: bool,
    /// In nanoseconds.
    pub(crate) slow_threshold: u64,
    pub(crate) folded: FoldedFigures,
    pub(crate) system: Option<SystemStats>,
    pub(crate) alerts: AlertFigures,
    pub(crate) reports: ReportFigures,
    pub(crate) exporters: Vec<ExporterStats>,
    pub(crate) cost: CostStats,
    pub(crate) started_milliseconds: u64,
    pub(crate) resets: u64,
    pub(crate) buckets: ExposedBuckets,
}

/// The bounds of histograms, as the configuration says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExposedBuckets {
    /// In nanoseconds.
    pub(crate) minimum: u64,
    /// In nanoseconds.
    pub(crate) maximum: u64,
    pub(crate) per_octave: u64,
}

/// Limits that a router was started with.
pub(crate) struct RouterLimits {
    pub(crate) payload_bytes: u64,
    pub(crate) payloads: u64,
    pub(crate) ring_bytes: u64,
    pub(crate) backlog_bytes: u64,
    /// Held messages of one worker.
    pub(crate) held: u64,
    pub(crate) rooms: u64,
}

impl RouterLimits {
    fn of(config: &Config) -> Self {
        Self {
            payload_bytes: config.get(Key::PayloadBytes),
            payloads: config.get(Key::Payloads),
            ring_bytes: config.get(Key::RingBytes),
            backlog_bytes: config.get(Key::BacklogBytes),
            held: config.get(Key::HoldMessages),
            rooms: config.get(Key::MaxRooms),
        }
    }
}

impl Inner {
    /// The figures since the start.
    pub(super) fn exposed(
        &self,
        source: &dyn Source,
        delivery: ListenerLosses,
        reports: ReportFigures,
        exporters: Vec<ExporterStats>,
    ) -> ExposedFigures {
        let (hub, config) = (source.hub(), source.config());
        let moment = ReadingTime::of(self.now(source), source);
        let router = source.router_stats();
        let connections = read_connections(source);
        let survey = self.is_detailed().then(|| self.survey(&moment));
        ExposedFigures {
            connections: Connections {
                total: connections.total,
                active: connections.active,
                peak: connections.peak,
            },
            lived: connections.lived,
            reconnects: connections.reconnects,
            applications: self.application_totals(&moment),
            health: survey.map(|survey| (survey.healthy, survey.unhealthy)),
            pools: super::reading::named_pools(source),
            limits: router.is_some().then(|| RouterLimits::of(config)),
            bytes_out: router.as_ref().map_or(0, |stats| stats.messages.bytes_out) + hub.bytes_sent(),
            recorded: hub.recorded(),
            custom: hub.customs.stats(),
            metrics_enabled: config.has_metrics(),
            slow_threshold: hub.controls.now().slow,
            folded: folded(source),
            system: self.system_at(&moment),
            alerts: self.rules.figures(delivery, self.kept(source)),
            reports,
            exporters,
            cost: self.cost,
            started_milliseconds: self.started_milliseconds,
            resets: self.resets,
            buckets: ExposedBuckets {
                minimum: config.get(Key::BucketMinimum) * 1_000,
                maximum: config.get(Key::BucketMaximum) * 1_000_000,
                per_octave: config.get(Key::BucketsPerOctave),
            },
            router,
        }
    }
}
