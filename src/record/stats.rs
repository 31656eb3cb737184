//! Reported figures as a router's snapshot shows them: separate from what the router routed itself.

use super::Hub;
use super::table::{SeriesCells, SeriesTable};
use crate::metrics::{
    Distribution, GroupStats, Histogram, LatencyStats, RecordedStats, RecordedTypeStats, sum,
};

impl Hub {
    pub(crate) fn recorded(&self) -> RecordedStats {
        let epoch = self.controls.now().epoch;
        let types = self.types.names_from(0).into_iter().enumerate();
        let types = types.map(|(place, (protocol, message_type))| RecordedTypeStats {
            protocol,
            message_type,
            succeeded: sum(self.types.shards(place).map(|one| one.ok.get())),
            failed: sum(self.types.shards(place).map(|one| one.not_ok())),
            bytes: sum(self.types.shards(place).map(|one| one.bytes.get())),
            duration: latency(epoch, &self.types, place, |one| &one.service),
        });
        let applications = self.applications.names_from(0).into_iter().enumerate();
        let applications = applications.map(|(place, (_, name))| GroupStats {
            name,
            succeeded: sum(self.applications.shards(place).map(|one| one.ok.get())),
            failed: sum(self.applications.shards(place).map(|one| one.not_ok.get())),
            service: latency(epoch, &self.applications, place, |one| &one.service),
        });
        RecordedStats {
            types: types.collect(),
            applications: applications.collect(),
            types_folded: self.types.folded(),
            applications_folded: self.applications.folded(),
        }
    }
}

fn latency<'a, S: SeriesCells>(
    epoch: u64,
    table: &'a SeriesTable<S>,
    place: usize,
    histogram: impl Fn(&'a S) -> &'a Histogram,
) -> LatencyStats {
    Distribution::of(epoch, table.shards(place).map(histogram)).into()
}
