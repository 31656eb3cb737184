//! Builds the figures that the monitor shows from its state.

use super::alert::AlertFigures;
use super::collector::WindowedTrack;
use super::figures::ReportFigures;
use super::figures::{
    ApplicationConnectionFigures, BucketFigures, ConnectionFigures, FoldedFigures, MessageFigures,
    MonitorStats, RoutingFigures, SeriesFigures, SlowFigures, Windowed,
};
use super::inner::Inner;
use super::reading::{ReadingTime, folded};
use super::series::{CollectedSeries, SeriesCounts, SeriesKey};
use super::slots::Span;
use super::system::SystemStats;
use super::top::{Look, Names, Survey};
use super::window::{WindowStats, Windows};
use crate::clients::{ApplicationConnections, ConnectionReading};
use crate::config::Key;
use crate::error::Failed;
use crate::metrics::{
    ApplicationId, ByReason, ExporterStats, LatencyStats, MessageStats, ProtocolId, SPAN_NAMES, SeriesStats,
    Stats, failing_clients,
};
use crate::record::Source;

impl Inner {
    /// All figures at the last collection.
    pub(super) fn snapshot(
        &self,
        source: &dyn Source,
        reports: ReportFigures,
        alerts: AlertFigures,
        exporters: Vec<ExporterStats>,
    ) -> MonitorStats {
        let moment = ReadingTime::of(self.now(source), source);
        let survey = self.survey(&moment);
        let mut router = source.router_stats();
        let cluster = router.as_mut().and_then(|stats| stats.cluster.take());
        let metrics = source.config().has_metrics();
        let groups = |is: fn(&SeriesKey) -> bool| -> Option<Vec<_>> {
            let series = self.collector.series.iter().filter(|series| is(&series.key));
            metrics
                .then(|| series.map(|series| series_figures(&moment, series, self.is_detailed())).collect())
        };
        MonitorStats {
            time_milliseconds: moment.wall,
            uptime_nanoseconds: moment.now,
            since_milliseconds: self.since_milliseconds,
            started_milliseconds: self.started_milliseconds,
            resets: self.resets,
            messages: metrics.then(|| self.messages(&moment)),
            types: groups(|key| matches!(key, SeriesKey::Type(..))),
            protocols: groups(|key| matches!(key, SeriesKey::Protocol(_))),
            applications: groups(|key| matches!(key, SeriesKey::Application(_))),
            folded: self.folded(source),
            slow_messages: metrics.then(|| self.slow_messages(&moment)),
            connections: self.connections(&moment, &survey),
            clients: self.is_detailed().then_some(survey.clients),
            system: self.system_at(&moment),
            routing: router.map(|stats| self.routing(stats)),
            alerts,
            custom: source.hub().customs.stats(),
            monitor: self.cost,
            reports,
            cluster,
            exporters,
        }
    }

    /// The system's figures at the last look, with the present age of the runtime figures that the host has pushed.
    pub(super) fn system_at(&self, moment: &ReadingTime<'_>) -> Option<SystemStats> {
        let mut system = self.system.clone();
        if let Some(runtime) = system.as_mut().and_then(|system| system.runtime.as_mut()) {
            runtime.age_milliseconds = moment.wall.saturating_sub(runtime.pushed_milliseconds);
        }
        system
    }

    fn messages(&self, moment: &ReadingTime<'_>) -> MessageFigures {
        let mut counts = SeriesCounts::default();
        let types = self.collector.series.iter().filter(|series| matches!(*series.key, SeriesKey::Type(..)));
        types.for_each(|series| counts.add(&series.shown()));
        let total = counts.total();
        let latency = LatencyStats::from(self.collector.total.track.shown());
        let windows = always_windowed(moment, &self.collector.total);
        MessageFigures {
            buckets: buckets(&counts, latency.count),
            totals: MessageStats {
                total,
                succeeded: counts.ok,
                failed: counts.failed,
                expired: counts.expired,
                success_rate: (total > 0).then(|| counts.ok as f64 / total as f64),
                failures: failures(&counts),
                slow: counts.slow,
                bytes_in: counts.bytes,
                bytes_out: self.collector.bytes_out.0.wrapping_sub(self.collector.bytes_out.1),
                latency,
                queue_wait: self.collector.queue_wait.track.shown().into(),
                held: self.collector.held.shown().into(),
                write: self.collector.write.shown().into(),
            },
            error_clients_last_minute: self.error_clients(moment, &windows.last_minute),
            windows,
            queue_wait_windows: always_windowed(moment, &self.collector.queue_wait),
        }
    }

    /// Number of clients that caused a window's errors.
    fn error_clients(&self, moment: &ReadingTime<'_>, window: &WindowStats) -> u64 {
        let mut clients = 0;
        let hub = moment.source.hub();
        moment.source.read(&mut |sources| {
            let all = sources.workers.iter().map(|worker| &worker.failing).chain(hub.failing());
            clients = failing_clients(all, |raw| moment.wall_of(raw) >= window.start_milliseconds);
        });
        // A client that fails during this read may be missing in the window's errors.
        clients.min(window.errors)
    }

    fn folded(&self, source: &dyn Source) -> FoldedFigures {
        let (now, then) = (folded(source), &self.folded_then);
        let since = |now: Option<u64>, then: Option<u64>| now.map(|now| now - then.unwrap_or(0));
        let without_windows = self.collector.series.iter().filter(|series| series.without_windows);
        FoldedFigures {
            types: since(now.types, then.types),
            protocols: since(now.protocols, then.protocols),
            applications: now.applications - then.applications,
            clients: since(now.clients, then.clients),
            impossible: since(now.impossible, then.impossible),
            // The present number, because each series gets windows at most once and never loses them.
            windows: self.is_detailed().then(|| without_windows.count() as u64),
        }
    }

    fn slow_messages(&self, moment: &ReadingTime<'_>) -> SlowFigures {
        let slow = &self.collector.slow;
        let types = self.collector.series.iter().filter(|series| matches!(*series.key, SeriesKey::Type(..)));
        let total: u64 = types.map(|series| series.shown().slow).sum();
        let entries = slow.entries(|raw| moment.wall_of(raw));
        let listed: u64 = entries.iter().map(|entry| entry.count).sum();
        SlowFigures {
            threshold_nanoseconds: moment.source.hub().controls.now().slow,
            total,
            unlisted: total.saturating_sub(listed),
            entries,
        }
    }

    /// Reads the figures of all clients.
    pub(super) fn survey(&self, moment: &ReadingTime<'_>) -> Survey {
        let mut survey = Survey::default();
        self.each_client(moment, |look, names, view| survey.add(look, names, view));
        survey
    }

    /// Calls `each` for every client that has figures: first a router's clients, then those that the host recorded.
    pub(super) fn each_client(
        &self,
        moment: &ReadingTime<'_>,
        mut each: impl FnMut(&Look<'_>, &Names<'_>, &crate::clients::ClientView<'_>),
    ) {
        let source = moment.source;
        let look = Look {
            limit: self.config.count(Key::TopClients),
            unhealthy_after: self.config.milliseconds(Key::UnhealthyAfter).as_nanos() as u64,
            quiet_from: self.quiet_from,
            age: &|raw| moment.age(raw),
            time_milliseconds: moment.wall,
        };
        if let Some(clients) = source.routed_clients() {
            source.read(&mut |sources| {
                let labels = sources.labels;
                let names = Names {
                    application: &|id| labels.application_name(ApplicationId(id)).to_owned(),
                    // A client stores its protocol's index among the configured protocols. In the label table,
                    // `other` comes before them.
                    protocol: &|id| Some(labels.protocol_name(ProtocolId(id + 1)).to_owned()),
                    recorded: false,
                };
                clients.each(|view| each(&look, &names, &view));
            });
        }
        let hub = source.hub();
        let applications = hub.applications.names_from(0);
        let names = Names {
            application: &|id| {
                applications.get(usize::from(id)).map_or_else(String::new, |(_, name)| name.clone())
            },
            protocol: &|_| None,
            recorded: true,
        };
        hub.clients.each(|view| each(&look, &names, &view));
    }

    fn connections(&self, moment: &ReadingTime<'_>, survey: &Survey) -> ConnectionFigures {
        let (now, then) = (&self.connections_now, &self.connections_then);
        let detailed = Some(survey).filter(|_| self.is_detailed());
        let closed = detailed.map(|_| LatencyStats::from(now.lived.since(&then.lived)));
        ConnectionFigures {
            total: now.total - then.total,
            active: now.active,
            peak: now.peak,
            average_duration_milliseconds: closed.as_ref().and_then(|closed| closed.average),
            closed_milliseconds: closed,
            open_milliseconds: detailed.map(|survey| survey.open_milliseconds.clone().into()),
            last_minute_milliseconds: self.collector.connects.span() / 1_000_000,
            connects_last_minute: self.collector.connects.in_the_last_minute(),
            disconnects_last_minute: self.collector.disconnects.in_the_last_minute(),
            healthy: detailed.map(|survey| survey.healthy),
            unhealthy: detailed.map(|survey| survey.unhealthy),
            reconnect_attempts: now.reconnects - then.reconnects,
            applications: self.application_connections(moment),
        }
    }

    /// Each application's connections since the last reset.
    pub(super) fn application_connections(
        &self,
        moment: &ReadingTime<'_>,
    ) -> Vec<ApplicationConnectionFigures> {
        let mut all = self.application_totals(moment);
        for (one, then) in all.iter_mut().zip(&self.applications_then) {
            one.total -= then;
        }
        all
    }

    /// Each application's connections since the start. Applications appear in the order of their series and are never removed.
    pub(super) fn application_totals(&self, moment: &ReadingTime<'_>) -> Vec<ApplicationConnectionFigures> {
        let hub = moment.source.hub();
        let (routed, recorded) =
            (moment.source.routed_clients().map(|clients| clients.connections()), hub.clients.connections());
        let series = self.collector.series.iter();
        series
            .filter_map(|series| {
                let SeriesKey::Application(name) = &*series.key else { return None };
                let of =
                    |reading: Option<&ConnectionReading>, place: Option<usize>| -> ApplicationConnections {
                        reading.and_then(|all| all.applications.get(place?).copied()).unwrap_or_default()
                    };
                let (routed, recorded) =
                    (of(routed.as_ref(), series.routed), of(Some(&recorded), series.recorded));
                let last = routed.last.max(recorded.last).max(series.counts.last);
                Some(ApplicationConnectionFigures {
                    name: name.clone(),
                    total: routed.total + recorded.total,
                    active: routed.active + recorded.active,
                    last_activity_milliseconds: (last > 0).then(|| moment.wall_of(last)),
                })
            })
            .collect()
    }

    fn routing(&self, stats: Stats) -> RoutingFigures {
        RoutingFigures {
            totals: stats.routing,
            rates: self.rates.clone(),
            accounting: stats.accounting,
            last_minute_milliseconds: self.collector.egress_full.span() / 1_000_000,
            egress_full_last_minute: self.collector.egress_full.in_the_last_minute(),
            credit_exhausted_last_minute: self.collector.credit_exhausted.in_the_last_minute(),
            workers_lost: stats.workers.iter().filter(|worker| worker.lost).count() as u64,
            workers_stalled: stats.workers.iter().filter(|worker| worker.stalled).count() as u64,
            workers: stats.workers,
            ports: stats.ports,
            placement: stats.placement,
            rooms: stats.rooms,
            payload_bytes: stats.payload_bytes,
            payloads_waiting: stats.payloads_waiting,
        }
    }
}

fn series_figures(moment: &ReadingTime<'_>, series: &CollectedSeries, detailed: bool) -> SeriesFigures {
    let counts = series.shown();
    let (protocol, name) = match &*series.key {
        SeriesKey::Type(protocol, name) => (Some(protocol.clone()), name.clone()),
        SeriesKey::Protocol(name) | SeriesKey::Application(name) => (None, name.clone()),
    };
    let is_type = protocol.is_some();
    let latency = series.service.shown();
    SeriesFigures {
        total_nanoseconds: latency.sum(),
        totals: SeriesStats {
            protocol,
            name,
            received: is_type.then_some(counts.received),
            total: counts.total(),
            succeeded: counts.ok,
            failed: counts.failed,
            expired: counts.expired,
            failures: is_type.then(|| failures(&counts)),
            slow: counts.slow,
            bytes: counts.bytes,
            latency: latency.into(),
            queue_wait: series.queue_wait.as_ref().map(|track| track.shown().into()),
        },
        last_processed_milliseconds: (counts.last > 0).then(|| moment.wall_of(counts.last)),
        // While the detail is off, windows go on, so that they are right when it is switched on again.
        windows: series
            .windows
            .as_ref()
            .filter(|_| detailed)
            .map(|windows| windowed(moment, windows, series.service.maximum())),
    }
}

fn windowed(moment: &ReadingTime<'_>, windows: &Windows, maximum: u64) -> Windowed {
    let of = |span| windows.window(span, moment.times(), maximum);
    Windowed { last_minute: of(Span::Minute), last_hour: of(Span::Hour), last_day: of(Span::Day) }
}

fn always_windowed(moment: &ReadingTime<'_>, series: &WindowedTrack) -> Windowed {
    windowed(moment, &series.windows, series.track.maximum())
}

/// Failures by reason.
fn failures(counts: &SeriesCounts) -> ByReason {
    ByReason::new(Failed::ALL.iter().map(|reason| reason.label()).zip(counts.failures))
}

/// Messages by named range. The count of the first range is the rest of `all`.
fn buckets(counts: &SeriesCounts, all: u64) -> Vec<BucketFigures> {
    let above: u64 = counts.named.iter().sum();
    let counts = std::iter::once(all.saturating_sub(above)).chain(counts.named);
    SPAN_NAMES
        .into_iter()
        .zip(counts)
        .map(|(name, count)| BucketFigures { name: name.into(), count })
        .collect()
}
