//! The collector: reads every series that has changed, adds the differences to the windows, and keeps the state of
//! the last reset. One thread at a time collects. Collection and recording do not wait for each other.

use super::rate::MinuteCount;
use super::series::{CollectedSeries, SeriesKey, SeriesNews, SeriesTrack, delta};
use super::slow::SlowLog;
use super::window::Windows;
use crate::config::Key;
use crate::error::{Failed, Undeliverable};
use crate::metrics::{Distribution, Histogram, Sources, sum};
use crate::record::{Hub, Source};
use crate::sync::Arc;
use std::collections::HashMap;

/// Number of names of each table that the collector has seen.
#[derive(Debug, Default)]
struct Known {
    routed: [usize; 3],
    recorded: [usize; 3],
}

#[derive(Debug)]
pub(super) struct Collector {
    pub(super) series: Vec<CollectedSeries>,
    places: HashMap<Arc<SeriesKey>, usize>,
    known: Known,
    pub(super) total: WindowedTrack,
    pub(super) queue_wait: WindowedTrack,
    pub(super) write: SeriesTrack,
    pub(super) held: SeriesTrack,
    /// Bytes written to clients: at the last collection, and at the last reset.
    pub(super) bytes_out: (u64, u64),
    pub(super) slow: SlowLog,
    pub(super) connects: MinuteCount,
    pub(super) disconnects: MinuteCount,
    pub(super) egress_full: MinuteCount,
    pub(super) credit_exhausted: MinuteCount,
    windows_left: usize,
    retention_hours: u64,
    /// The time of the last collection: everything new has happened since.
    looked: u64,
    /// Whether series get windows.
    pub(super) detailed: bool,
    pub(super) epoch: u64,
}

/// A series that always has windows.
#[derive(Debug)]
pub(super) struct WindowedTrack {
    pub(super) track: SeriesTrack,
    pub(super) windows: Windows,
}

impl WindowedTrack {
    fn new(retention_hours: u64) -> Self {
        Self { track: SeriesTrack::default(), windows: Windows::new(retention_hours, 0) }
    }

    fn reset(&mut self, now: u64) {
        self.track.reset();
        self.windows.reset(now);
    }
}

impl Collector {
    pub(super) fn new(source: &dyn Source) -> Self {
        let config = source.config();
        let retention_hours = config.get(Key::StatsRetention);
        Self {
            series: Vec::new(),
            places: HashMap::new(),
            known: Known::default(),
            total: WindowedTrack::new(retention_hours),
            queue_wait: WindowedTrack::new(retention_hours),
            write: SeriesTrack::default(),
            held: SeriesTrack::default(),
            bytes_out: (0, 0),
            slow: SlowLog::new(config.count(Key::SlowMessages)),
            connects: MinuteCount::default(),
            disconnects: MinuteCount::default(),
            egress_full: MinuteCount::default(),
            credit_exhausted: MinuteCount::default(),
            // `total` and `queue_wait` use two of them.
            windows_left: config.count(Key::MaxWindowedSeries) - 2,
            retention_hours,
            looked: 0,
            detailed: config.has_details(),
            epoch: 0,
        }
    }

    /// The most types, protocols and applications together.
    pub(super) fn series_at_most(source: &dyn Source) -> u64 {
        let config = source.config();
        let mut series = 0;
        source.read(&mut |sources| {
            series = sources.labels.types().len() + sources.labels.protocols().len();
        });
        let applications = config.count(Key::MaxApplications);
        (series + config.count(Key::MaxRecordedTypes) + 2 * applications + 32) as u64
    }

    /// The most bytes that the collector can hold.
    pub(super) fn bytes_at_most(source: &dyn Source) -> u64 {
        let config = source.config();
        let windows = config.get(Key::MaxWindowedSeries);
        let series = Self::series_at_most(source);
        windows * Windows::bytes(config.get(Key::StatsRetention)) as u64
            + series * (size_of::<CollectedSeries>() as u64 + 4 * Distribution::BYTES + 512)
            + SlowLog::bytes(config.count(Key::SlowMessages))
    }

    /// Bytes that the collector holds at present.
    pub(super) fn bytes(&self) -> u64 {
        let windowed = 2 + self.series.iter().filter(|series| series.windows.is_some()).count();
        let windows = (windowed * Windows::bytes(self.retention_hours)) as u64;
        let tracks =
            [&self.total.track, &self.queue_wait.track, &self.write, &self.held].map(SeriesTrack::bytes);
        windows + tracks.iter().sum::<u64>() + self.series.iter().map(CollectedSeries::bytes).sum::<u64>()
    }

    /// Reads what has been recorded since the last collection. `now` is nanoseconds since the monitor was created.
    pub(super) fn collect(&mut self, source: &dyn Source, now: u64) {
        let hub = source.hub();
        source.read(&mut |sources| {
            // Read slow messages before the counts: a thread counts a slow message before it stores it, so every
            // stored message is counted.
            self.slow.collect(sources, hub);
            self.learn(sources, hub);
            self.follow(sources, hub, now);
            self.follow_ports(sources, hub, now);
        });
        self.looked = now;
    }

    /// Records the total number of connects and disconnects at `now`.
    pub(super) fn sample_connections(&mut self, now: u64, connected: u64, disconnected: u64) {
        self.connects.sample(now, connected);
        self.disconnects.sample(now, disconnected);
    }

    /// Adds names that are new since the last collection.
    fn learn(&mut self, sources: &Sources<'_>, hub: &Hub) {
        let group = |names: Vec<String>, key: fn(String) -> SeriesKey| names.into_iter().map(key).collect();
        let types = |names: Vec<(String, String)>| -> Vec<SeriesKey> {
            names.into_iter().map(|(protocol, name)| SeriesKey::Type(protocol, name)).collect()
        };
        let labels = sources.labels;
        let skip = self.known.routed;
        let routed: [Vec<SeriesKey>; 3] = [
            types(labels.types().get(skip[0]..).unwrap_or_default().to_vec()),
            group(labels.protocols().get(skip[1]..).unwrap_or_default().to_vec(), SeriesKey::Protocol),
            group(labels.applications().split_off(skip[2]), SeriesKey::Application),
        ];
        let skip = self.known.recorded;
        let second = |names: Vec<(String, String)>| names.into_iter().map(|(_, name)| name).collect();
        let recorded: [Vec<SeriesKey>; 3] = [
            types(hub.types.names_from(skip[0])),
            group(second(hub.protocols.names_from(skip[1])), SeriesKey::Protocol),
            group(second(hub.applications.names_from(skip[2])), SeriesKey::Application),
        ];
        for (kind, keys) in routed.into_iter().enumerate() {
            for key in keys {
                let place = self.known.routed[kind];
                self.known.routed[kind] += 1;
                self.entry(key).routed = Some(place);
            }
        }
        for (kind, keys) in recorded.into_iter().enumerate() {
            for key in keys {
                let place = self.known.recorded[kind];
                self.known.recorded[kind] += 1;
                self.entry(key).recorded = Some(place);
            }
        }
    }

    fn entry(&mut self, key: SeriesKey) -> &mut CollectedSeries {
        let key = Arc::new(key);
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None => {
                self.series.push(CollectedSeries::new(Arc::clone(&key)));
                self.places.insert(key, self.series.len() - 1);
                self.series.len() - 1
            }
        };
        &mut self.series[place]
    }

    fn follow(&mut self, sources: &Sources<'_>, hub: &Hub, now: u64) {
        let (mut times, mut waits) = (Distribution::default(), Distribution::default());
        let mut counts = super::series::SeriesCounts::default();
        for place in 0..self.series.len() {
            let series = &mut self.series[place];
            let news = series.news(self.epoch, sources, hub);
            if matches!(*series.key, SeriesKey::Type(..)) {
                counts.add(&news.counts);
                if let Some(service) = &news.service {
                    times.merge(service);
                }
                if let Some(queue_wait) = &news.queue_wait {
                    waits.merge(queue_wait);
                }
            }
            if news.service.is_some() && self.detailed {
                self.give_windows(place);
            }
            if let Some(windows) = &mut self.series[place].windows {
                windows.tick(now, &delta(news.service.as_ref(), &news.counts));
            }
        }
        self.total.track.add(&times);
        self.total.windows.tick(now, &delta(Some(&times), &counts));
        self.queue_wait.track.add(&waits);
        // The errors of the messages whose wait is recorded.
        self.queue_wait.windows.tick(now, &delta(Some(&waits), &counts));
    }

    /// Gives a series its windows at its first message, while windows are left. The windows begin at the last
    /// collection, because the message may be that old; a shorter time would give too high a rate.
    fn give_windows(&mut self, place: usize) {
        let series = &mut self.series[place];
        if series.windows.is_some() {
            return;
        }
        series.without_windows = self.windows_left == 0;
        if self.windows_left > 0 {
            self.windows_left -= 1;
            series.windows = Some(Windows::new(self.retention_hours, self.looked));
        }
    }

    fn follow_ports(&mut self, sources: &Sources<'_>, hub: &Hub, now: u64) {
        self.write.follow(
            self.epoch,
            sources
                .ports
                .iter()
                .map(|port| -> &Histogram { &port.poll.write_time })
                .chain(sources.workers.iter().map(|worker| &worker.write_time)),
        );
        self.held
            .follow(self.epoch, sources.workers.iter().map(|worker| -> &Histogram { &worker.held_time }));
        let written = sources
            .ports
            .iter()
            .map(|port| port.poll.bytes_out.get())
            .chain(sources.lanes().map(|lane| lane.bytes_out.get()));
        self.bytes_out.0 = sum(written.chain([hub.bytes_sent()]));
        let undeliverable = |reason: Undeliverable| -> u64 {
            let by_worker = sources.workers.iter().map(|worker| &worker.undeliverable);
            let by_port = sources.ports.iter().map(|port| &port.poll.undeliverable);
            by_worker
                .chain(by_port)
                .filter_map(|cells| cells.get(reason as usize))
                .map(|cell| cell.get())
                .sum()
        };
        let types = || sources.workers.iter().flat_map(|worker| &worker.types);
        let failed = |reason: Failed| -> u64 {
            types().filter_map(|one| one.failed.get(reason as usize)).map(|cell| cell.get()).sum()
        };
        // A message that finds no room is counted in both; take the larger count.
        let egress_full = undeliverable(Undeliverable::EgressFull).max(failed(Failed::EgressFull));
        self.egress_full.sample(now, egress_full);
        self.credit_exhausted.sample(now, undeliverable(Undeliverable::CreditExhausted));
    }

    /// Forgets the windows' contents, so that earlier counts do not appear in them.
    pub(super) fn forget_windows(&mut self) {
        self.total.windows.reset(0);
        self.queue_wait.windows.reset(0);
        for windows in self.series.iter_mut().filter_map(|series| series.windows.as_mut()) {
            windows.reset(0);
        }
    }

    /// Starts all figures anew from the last collection.
    pub(super) fn reset(&mut self, now: u64, raw: u64) {
        self.series.iter_mut().for_each(|series| series.reset(now));
        self.total.reset(now);
        self.queue_wait.reset(now);
        self.write.reset();
        self.held.reset();
        self.connects.reset();
        self.disconnects.reset();
        self.bytes_out.1 = self.bytes_out.0;
        self.slow.reset(raw);
    }
}

impl CollectedSeries {
    fn news(&mut self, epoch: u64, sources: &Sources<'_>, hub: &Hub) -> SeriesNews {
        let (routed, recorded) = (self.routed, self.recorded);
        let workers = move || sources.workers.iter().filter_map(move |worker| Some((worker, routed?)));
        match &*Arc::clone(&self.key) {
            SeriesKey::Type(..) => {
                let routed = workers().filter_map(|(worker, place)| worker.types.get(place));
                self.follow(
                    epoch,
                    routed.chain(recorded.into_iter().flat_map(|place| hub.types.shards(place))),
                )
            }
            SeriesKey::Protocol(_) => {
                let routed = workers().filter_map(|(worker, place)| worker.protocols.get(place));
                let recorded = recorded.into_iter().flat_map(|place| hub.protocols.shards(place));
                self.follow(epoch, routed.chain(recorded))
            }
            SeriesKey::Application(_) => {
                let routed = workers().filter_map(|(worker, place)| worker.applications.get(place));
                let recorded = recorded.into_iter().flat_map(|place| hub.applications.shards(place));
                self.follow(epoch, routed.chain(recorded))
            }
        }
    }
}
