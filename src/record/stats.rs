//! Reported figures as a router's snapshot shows them: separate from what the router routed itself.

use super::Hub;
use crate::metrics::{RecordedStats, group_stats, type_stats};

impl Hub {
    pub(crate) fn recorded(&self) -> RecordedStats {
        let epoch = self.controls.now().epoch;
        let types = self.types.names_from(0).into_iter().enumerate();
        let types = types
            .map(|(place, names)| type_stats(epoch, names, &self.types.shards(place).collect::<Vec<_>>()));
        let applications = self.applications.names_from(0).into_iter().enumerate();
        let applications = applications.map(|(place, (_, name))| {
            group_stats(epoch, name, &self.applications.shards(place).collect::<Vec<_>>())
        });
        RecordedStats {
            types: types.collect(),
            applications: applications.collect(),
            types_folded: self.types.folded(),
            applications_folded: self.applications.folded(),
        }
    }
}
