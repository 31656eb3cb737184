//! Lets a monitor read a router's figures: implements `record::Source` for `Shared`. `Router::source` in
//! `router` hands it out.

use super::shared::Shared;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::{Sources, Stats};
use crate::record::{Hub, Source};
use crate::sync::Arc;

impl Source for Shared {
    fn config(&self) -> &Config {
        &self.config
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    fn routed_clients(&self) -> Option<&Clients> {
        Some(&self.clients)
    }

    fn read(&self, reader: &mut dyn FnMut(&Sources<'_>)) {
        self.read_shards(&[], |sources| reader(sources));
    }

    fn router_stats(&self) -> Option<Stats> {
        Some(self.stats())
    }
}
