//! The base route (the host's own handler, used as fallback) and the result of a synchronous call. Used by
//! `router` (the builder takes the base route), `port/route` (runs it and returns [`Routed`]), and
//! `worker/dispatch`, `worker/adoption` and `settle`, which only need to know whether there is a base route. A
//! message that the base route has taken over goes nowhere else.
//!
//! In a call's slot its result is a number: `worker/message_end` and `settle` write it, `port/route` reads it;
//! `worker/dispatch`, `worker/driven` and `worker/adoption` find the call of a record.

use crate::call::CallId;
use crate::clients::ClientId;
use crate::config::{Config, RouteFallback};
use crate::error::{ConfigError, Failed, TakenOver};
use crate::metrics::Outcome;
use crate::ring::record::{IngressHeader, ingress_flag};
use std::fmt;

/// The result of a synchronous call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Routed {
    /// A worker has handled the message.
    Delivered,
    /// The recipient is not connected. The message is held, and is delivered or expires later.
    Held,
    /// A worker has handled the message, and it failed.
    Failed(Failed),
    /// The message has waited too long, and nothing has handled it.
    Expired,
    /// The base route has handled the message instead.
    TakenOver {
        /// The reason.
        reason: TakenOver,
        /// The return value of the base route.
        success: bool,
    },
}

/// A message that the base route takes over.
#[derive(Clone, Copy, Debug)]
pub struct BaseRequest<'a> {
    /// The sender.
    pub client: ClientId,
    /// The message as it was submitted.
    pub message: &'a [u8],
}

/// The base route: the host's handler for messages that the router cannot handle. Runs on the caller's thread.
#[derive(Default)]
pub(super) struct BaseRoute(Option<Box<Function>>);

type Function = dyn Fn(&BaseRequest<'_>) -> bool + Send + Sync;

impl BaseRoute {
    pub(super) fn new(route: impl Fn(&BaseRequest<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(route)))
    }

    /// Runs the base route on a message. Returns whether it succeeded; false if there is no base route.
    pub(super) fn run(&self, request: &BaseRequest<'_>) -> bool {
        self.0.as_ref().is_some_and(|route| route(request))
    }
}

impl fmt::Debug for BaseRoute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "BaseRoute" } else { "none" })
    }
}

/// What happens to a call's message that no worker handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fallback {
    Refuse,
    /// The base route takes it over.
    Inline,
}

impl Fallback {
    /// The fallback that the configuration asks for. Fails if it needs a base route and there is none.
    pub(super) fn new(config: &Config, base: &BaseRoute) -> Result<Self, ConfigError> {
        let there = base.0.is_some();
        let missing = |key: &str, value: &str, allowed: &str| {
            ConfigError::value(key, value, format!("{allowed}, or give the builder a base_route"))
        };
        if !config.router.concurrent_routing && !there {
            return Err(missing("enable_concurrent_routing", "off", "on"));
        }
        match config.router.route_fallback {
            RouteFallback::Auto | RouteFallback::Inline if there => Ok(Self::Inline),
            RouteFallback::Inline => Err(missing("route_fallback", "inline", "auto, refuse")),
            RouteFallback::Auto | RouteFallback::Refuse => Ok(Self::Refuse),
        }
    }
}

pub(super) const DELIVERED: u64 = 0;
pub(super) const HELD: u64 = 1;
pub(super) const EXPIRED: u64 = 2;
pub(super) const CLOSED: u64 = 3;
pub(super) const FAILED: u64 = 4;

/// A worker's result as a number. No outcome means that the message is held.
pub(super) fn result_of(outcome: Option<Outcome>) -> u64 {
    match outcome {
        Some(Outcome::Ok) => DELIVERED,
        None => HELD,
        Some(Outcome::Expired) => EXPIRED,
        Some(Outcome::Failed(reason)) => FAILED + reason as u64,
    }
}

/// The call of a record, if a caller waits for it.
#[inline]
pub(super) fn call_of(header: &IngressHeader) -> Option<CallId> {
    (header.flags & ingress_flag::CALL != 0).then_some(CallId(header.call))
}
