//! In place of `membership` in a server without the feature `cluster`: it is always alone.

use crate::Failure;
use crate::connection::Lost;
use crate::counts::Refusal;
use crate::network::{Network, Service};
use crate::registry::Registry;
use clap::Args;
use corelane::router::Router;
use std::rc::Rc;
use std::sync::Arc;

/// No options.
#[derive(Debug, Args)]
pub(crate) struct MembershipOptions {}

impl MembershipOptions {
    pub(crate) fn is_on(&self) -> bool {
        false
    }

    pub(crate) fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    pub(crate) fn join(&self, _router: &Router) -> Result<Option<Membership>, Failure> {
        Ok(None)
    }
}

/// Never exists.
#[derive(Debug)]
pub(crate) enum Claim {}

impl Claim {
    pub(crate) fn lost(&self) -> Option<Lost> {
        match *self {}
    }
}

/// Never exists.
pub(crate) enum Membership {}

#[allow(dead_code, reason = "nothing makes these values")]
pub(crate) enum Claimed {
    Owned(Claim),
    Local,
    Taken,
    Refused(Refusal, &'static str),
}

impl Membership {
    pub(crate) async fn claim(&self, _id: &str, _token: &str) -> Claimed {
        match *self {}
    }

    pub(crate) fn is_unready(&self) -> Option<&'static str> {
        match *self {}
    }

    pub(crate) fn watch(&self, _service: &Arc<Service>) {
        match *self {}
    }

    pub(crate) async fn ids(&self, _registry: &Registry) -> Arc<str> {
        match *self {}
    }

    pub(crate) fn drain(&self) {
        match *self {}
    }

    pub(crate) fn stop(&self) {
        match *self {}
    }
}

pub(crate) async fn catch_up(_network: Rc<Network>) {}
