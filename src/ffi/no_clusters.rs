//! In place of `clusters` without the feature `nats`: no router joins a cluster, so no handle of one is valid.

use super::cluster_parts::Part;
use super::guard::Failure;
use super::handle::{CorelaneClaim, CorelaneCluster};
use super::status::CorelaneStatus;
use crate::router::Router;
use crate::sync::Refused;
use std::convert::Infallible;
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub(super) struct Joined(Infallible);

/// Takes the options that the host sets, and needs none.
#[derive(Default)]
pub(super) struct Options {}

impl Options {
    pub(super) fn set(&mut self, _: Part<'_>) {}
}

pub(super) fn join(_: &Router, _: Options) -> Result<CorelaneCluster, Failure> {
    let text = "this library was built without clusters: build it with `make lib FEATURES=nats`";
    Err(Failure::new(CorelaneStatus::Unsupported, text))
}

pub(super) fn joined(_: CorelaneCluster) -> Result<Joined, Failure> {
    Err(Failure::refused("cluster", Refused::Stale))
}

pub(super) fn release(cluster: CorelaneCluster) -> Result<(), Failure> {
    joined(cluster).map(|_| ())
}

impl Joined {
    pub(super) fn claim(&self, _: &str, _: &str, _: u64, _: Duration) -> Result<CorelaneClaim, Failure> {
        match self.0 {}
    }

    pub(super) fn start(&self, _: &str, _: &str, _: u64) -> CorelaneClaim {
        match self.0 {}
    }

    pub(super) fn give_up(&self, _: CorelaneClaim) -> Result<(), Failure> {
        match self.0 {}
    }

    pub(super) fn next(&self) -> Option<super::cluster_parts::CorelaneClusterEvent> {
        match self.0 {}
    }

    pub(super) fn wait(&self, _: Duration) -> bool {
        match self.0 {}
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }

    pub(super) fn status(&self) -> String {
        match self.0 {}
    }

    pub(super) fn names(&self, _: usize, _: Duration) -> Result<String, Failure> {
        match self.0 {}
    }

    pub(super) fn is_joined(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn drain(&self) {
        match self.0 {}
    }
}
