//! The host's own route, which handles what the router cannot, and what a synchronous call returns.

use crate::clients::ClientId;
use crate::config::{Config, Key, RouteFallback};
use crate::error::{Error, Failed, TakenOver};
use std::fmt;

/// What has become of a message that was routed synchronously.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Routed {
    /// A worker has handled it.
    Delivered,
    /// Its recipient is not connected: it is held, and delivered or expired later.
    Held,
    /// A worker has handled it, and it failed.
    Failed(Failed),
    /// It had waited too long, and nobody has handled it.
    Expired,
    /// The base route has handled it instead.
    TakenOver {
        /// Why.
        reason: TakenOver,
        /// What the base route returned.
        success: bool,
    },
}

/// A message for the host's own route.
#[derive(Clone, Copy, Debug)]
pub struct BaseRequest<'a> {
    /// Who sent it.
    pub client: ClientId,
    /// The message as it was submitted.
    pub message: &'a [u8],
}

/// The host's own route: what takes over where the router cannot handle a message. Runs on the caller's thread.
#[derive(Default)]
pub(super) struct BaseRoute(Option<Box<Function>>);

type Function = dyn Fn(&BaseRequest<'_>) -> bool + Send + Sync;

impl BaseRoute {
    pub(super) fn new(route: impl Fn(&BaseRequest<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(route)))
    }

    /// Runs the host's route on a message. Returns whether it succeeded; false without a route.
    pub(super) fn run(&self, request: &BaseRequest<'_>) -> bool {
        self.0.as_ref().is_some_and(|route| route(request))
    }
}

impl fmt::Debug for BaseRoute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "BaseRoute" } else { "none" })
    }
}

/// What happens to a message that cannot be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fallback {
    Refuse,
    /// The base route takes it over.
    Inline,
}

impl Fallback {
    /// What the configuration says, with a base route or without.
    pub(super) fn new(config: &Config, base: &BaseRoute) -> Result<Self, Error> {
        let there = base.0.is_some();
        let missing = |key: &'static str, value: &str, allowed: &str| Error::Config {
            key,
            value: value.to_owned(),
            allowed: format!("{allowed}, or give the builder a base_route"),
        };
        if config.get(Key::ConcurrentRouting) == 0 && !there {
            return Err(missing("enable_concurrent_routing", "off", "on"));
        }
        match config.route_fallback() {
            RouteFallback::Auto | RouteFallback::Inline if there => Ok(Self::Inline),
            RouteFallback::Inline => Err(missing("route_fallback", "inline", "auto, refuse")),
            RouteFallback::Auto | RouteFallback::Refuse => Ok(Self::Refuse),
        }
    }
}
