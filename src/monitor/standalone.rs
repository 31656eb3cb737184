//! The source of a monitor without a router: only what the host records.

use crate::clients::Clients;
use crate::clock::Clock;
use crate::config::{Config, Key};
use crate::metrics::{Controls, LabelTable, Sources, Stats};
use crate::record::{Hub, HubSizes, Source};
use crate::sync::Arc;

#[derive(Debug)]
pub(super) struct Standalone {
    config: Config,
    clock: Clock,
    hub: Arc<Hub>,
    labels: LabelTable,
    started: u64,
}

impl Standalone {
    pub(super) fn new(config: Config, clock: Clock, name_keys: [u64; 2]) -> Self {
        let slow = config.milliseconds(Key::SlowMessageThreshold).as_nanos() as u64;
        let controls = Arc::new(Controls::new(slow, config.has_details()));
        let hub = Hub::new(HubSizes::of(&config), controls, name_keys, clock.clone());
        Self { hub: Arc::new(hub), labels: LabelTable::new(0), started: clock.raw(), config, clock }
    }
}

impl Source for Standalone {
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
        None
    }

    fn read(&self, reader: &mut dyn FnMut(&Sources<'_>)) {
        reader(&Sources {
            workers: &[],
            ports: &[],
            labels: &self.labels,
            connections: (0, 0, 0),
            paths: &[],
            depths: &[],
            epoch: self.hub.controls.now().epoch,
            uptime_nanoseconds: self.clock.nanoseconds(self.started, self.clock.raw()),
            active_workers: 0,
            permits: (0, 0),
            late_takeovers: &[],
        });
    }

    fn router_stats(&self) -> Option<Stats> {
        None
    }
}
