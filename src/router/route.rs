//! Routing synchronously: a message goes to its worker and the caller waits for what becomes of it, or the host's own
//! route, the fallback, takes it over. It is handled once, by one of them (`call`). A message that the fallback has taken
//! over has left the order of its client's others.

use super::port::Port;
use super::shared::Shared;
use super::shared_port::SharedPort;
use super::submit::{Bytes, Submit, SubmitOptions};
use crate::call::{CallId, Ended};
use crate::clients::ClientId;
use crate::config::{Config, Key, RouteFallback};
use crate::error::{Error, Failed, Refused, TakenOver};
use crate::metrics::Outcome;
use crate::ring::Memory;
use crate::ring::record::{Ingress, ingress_flag};
use crate::sync::Arc;
use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

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
    /// It waits for room; then as `Refuse`.
    Wait,
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
            RouteFallback::Inline => Err(missing("route_fallback", "inline", "auto, refuse, wait")),
            RouteFallback::Wait => Ok(Self::Wait),
            RouteFallback::Auto | RouteFallback::Refuse => Ok(Self::Refuse),
        }
    }
}

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// This thread is a worker's: it must not wait for one.
pub(super) fn this_is_a_worker() {
    IS_WORKER.set(true);
}

const DELIVERED: u64 = 0;
const HELD: u64 = 1;
const EXPIRED: u64 = 2;
const CLOSED: u64 = 3;
const FAILED: u64 = 4;

/// A worker's result, as a number in the call's slot. Without an outcome the message is held.
pub(super) fn result_of(outcome: Option<Outcome>) -> u64 {
    match outcome {
        Some(Outcome::Ok) => DELIVERED,
        None => HELD,
        Some(Outcome::Expired) => EXPIRED,
        Some(Outcome::Failed(reason)) => FAILED + reason as u64,
    }
}

/// The call that a record belongs to, if its caller waits for it.
#[inline]
pub(super) fn call_of(header: &Ingress) -> Option<CallId> {
    (header.flags & ingress_flag::CALL != 0).then_some(CallId(header.call))
}

/// Settles a call whose record nobody took: says whether the record still counts as refused, or its caller's fallback
/// has it.
pub(super) fn settle_call(shared: &Shared, port: usize, id: CallId) -> bool {
    let Some(calls) = shared.calls.get(port) else { return true };
    let gets_it = calls.start(id) && calls.finish(id, CLOSED);
    let by_fallback = shared.fallback == Fallback::Inline;
    // Given up before: by_fallback then says that its caller has counted it.
    !by_fallback || (!gets_it && !calls.is_over(id))
}

/// A call that waits.
pub(super) struct Waiting {
    id: CallId,
    port: usize,
    ingress: Arc<Memory>,
}

pub(super) enum Begun {
    Ended(Routed),
    Waiting(Waiting),
}

impl Waiting {
    fn wait(&self, shared: &Shared, deadline: Instant) -> Ended {
        match shared.calls.get(self.port) {
            Some(calls) => calls.wait(self.id, Some(deadline), || self.ingress.is_closed()),
            None => Ended::Cancelled, // Never: every port has calls.
        }
    }
}

impl Submit {
    /// Pushes a message that a caller waits for; not yet published.
    pub(super) fn begin(&mut self, client: ClientId, message: &[u8]) -> Result<Begun, Error> {
        if IS_WORKER.get() {
            return Err(Error::OwnThread);
        }
        let shared = Arc::clone(&self.shared);
        if !shared.concurrent {
            return Ok(Begun::Ended(self.disabled(client, message)));
        }
        let Some(calls) = shared.calls.get(self.index) else { return Err(Error::OwnThread) };
        let limit = shared.config.get(Key::MaxCalls) as u32;
        let id = calls.take().ok_or(Error::TooManyCalls(limit))?;
        self.count_submitted();
        match self.try_submit(client, Bytes::Copied(message), SubmitOptions::default(), Some(id)) {
            Ok(worker) => {
                let ingress = self.memory(worker).map(Arc::clone).ok_or(Error::StaleClient)?;
                Ok(Begun::Waiting(Waiting { id, port: self.index, ingress }))
            }
            Err(reason) => {
                calls.untake(id);
                match takes_over(reason).filter(|_| shared.fallback == Fallback::Inline) {
                    Some(reason) => Ok(Begun::Ended(self.take_over(reason, client, message))),
                    None => Err(self.count_refused(reason)),
                }
            }
        }
    }

    /// What its wait has come to.
    pub(super) fn end(
        &mut self,
        waiting: &Waiting,
        ended: Ended,
        client: ClientId,
        message: &[u8],
    ) -> Result<Routed, Error> {
        // Nobody has handled it: why, and the answer where the base route does not.
        let (reason, otherwise) = match ended {
            Ended::Done(DELIVERED) => return Ok(Routed::Delivered),
            Ended::Done(HELD) => return Ok(Routed::Held),
            Ended::Done(EXPIRED) => (TakenOver::Expired, Ok(Routed::Expired)),
            Ended::Done(CLOSED) => (TakenOver::Closed, Err(Error::Refused(Refused::Closed))),
            Ended::Done(failed) => {
                let reason = Failed::ALL.get((failed - FAILED) as usize);
                return Ok(Routed::Failed(reason.copied().unwrap_or(Failed::BadRecord)));
            }
            Ended::Cancelled if waiting.ingress.is_closed() => {
                (TakenOver::Closed, Err(Error::Refused(Refused::Closed)))
            }
            Ended::Cancelled => (TakenOver::TimedOut, Err(Error::Timeout)),
            Ended::Abandoned => return Err(Error::TimeoutStarted),
        };
        match self.shared.fallback {
            Fallback::Inline => Ok(self.take_over(reason, client, message)),
            Fallback::Refuse | Fallback::Wait => otherwise,
        }
    }

    /// Waits for what was begun and published.
    fn finish(
        &mut self,
        begun: Begun,
        deadline: Instant,
        client: ClientId,
        message: &[u8],
    ) -> Result<Routed, Error> {
        match begun {
            Begun::Ended(routed) => Ok(routed),
            Begun::Waiting(waiting) => {
                let ended = waiting.wait(&self.shared, deadline);
                self.end(&waiting, ended, client, message)
            }
        }
    }

    /// With `enable_concurrent_routing` off the base route handles every message.
    pub(super) fn disabled(&mut self, client: ClientId, message: &[u8]) -> Routed {
        self.count_submitted();
        self.take_over(TakenOver::Disabled, client, message)
    }

    /// The base route handles a message that was counted as submitted.
    pub(super) fn take_over(&mut self, reason: TakenOver, client: ClientId, message: &[u8]) -> Routed {
        self.count_taken_over(reason);
        let request = BaseRequest { client, message };
        let success = self.shared.base.0.as_ref().is_some_and(|route| route(&request));
        Routed::TakenOver { reason, success }
    }
}

/// Which refusals the fallback takes over. Not those that protect others from this client, or tell of a host's mistake.
fn takes_over(reason: Refused) -> Option<TakenOver> {
    match reason {
        Refused::Full => Some(TakenOver::Full),
        Refused::Closed | Refused::Draining | Refused::Corrupt => Some(TakenOver::Closed),
        _ => None,
    }
}

/// Waits a little longer each time, until `deadline`; says whether it is over.
fn pause(turn: &mut u32, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return false;
    }
    std::thread::sleep(left.min(Duration::from_micros(20 << (*turn).min(6))));
    *turn += 1;
    true
}

/// Tries again while the ring is full, until `deadline`.
pub(super) fn with_room<R>(
    deadline: Instant,
    mut attempt: impl FnMut() -> Result<R, Error>,
) -> Result<R, Error> {
    let mut turn = 0;
    loop {
        match attempt() {
            Err(Error::Refused(Refused::Full)) if pause(&mut turn, deadline) => {}
            other => return other,
        }
    }
}

impl Port {
    /// Routes one message and waits until it has been handled, at most `timeout`; what was submitted before is
    /// published first. Meanwhile this port neither polls nor acknowledges. Where the message cannot be handled the
    /// configured fallback applies (`route_fallback`): its base route has then handled it, once.
    ///
    /// # Errors
    /// [`Error::Refused`] as for [`submit`](Self::submit); [`Error::Timeout`]: no worker has started it, and none will;
    /// [`Error::TimeoutStarted`]: a worker is handling it; [`Error::TooManyCalls`]; [`Error::OwnThread`].
    pub fn route(&mut self, client: ClientId, message: &[u8], timeout: Duration) -> Result<Routed, Error> {
        let deadline = Instant::now() + timeout;
        let submit = &mut self.submit;
        let begun = submit.begin_within(deadline, client, message)?;
        submit.publish();
        submit.finish(begun, deadline, client, message)
    }

    /// As [`route`](Self::route) for several messages at once: all are published before the first is waited for, as
    /// many at a time as `max_calls` allows. One result for each, in their order.
    pub fn route_batch(
        &mut self,
        messages: &[(ClientId, &[u8])],
        timeout: Duration,
    ) -> Vec<Result<Routed, Error>> {
        let deadline = Instant::now() + timeout;
        let submit = &mut self.submit;
        let at_once = submit.shared.config.count(Key::MaxCalls);
        let mut results = Vec::with_capacity(messages.len());
        for chunk in messages.chunks(at_once) {
            let begun: Vec<_> =
                chunk.iter().map(|(client, message)| submit.begin(*client, message)).collect();
            submit.publish();
            for ((client, message), begun) in chunk.iter().zip(begun) {
                results.push(begun.and_then(|begun| submit.finish(begun, deadline, *client, message)));
            }
        }
        results
    }
}

impl Submit {
    /// As `begin`; with the fallback `wait`, once there is room.
    fn begin_within(&mut self, deadline: Instant, client: ClientId, message: &[u8]) -> Result<Begun, Error> {
        if self.shared.fallback != Fallback::Wait {
            return self.begin(client, message);
        }
        with_room(deadline, || {
            let begun = self.begin(client, message);
            self.publish();
            begun
        })
    }
}

impl SharedPort {
    /// As [`Port::route`]; the lock is held to submit, not to wait, so others' calls go on.
    ///
    /// # Errors
    /// As there.
    pub fn route(&self, client: ClientId, message: &[u8], timeout: Duration) -> Result<Routed, Error> {
        let deadline = Instant::now() + timeout;
        let mut turn = 0;
        let (shared, begun) = loop {
            let begun = self.with(|submit| {
                let begun = submit.begin(client, message);
                submit.publish();
                Ok((Arc::clone(&submit.shared), begun))
            })?;
            match begun {
                (shared, Err(Error::Refused(Refused::Full)))
                    if shared.fallback == Fallback::Wait && pause(&mut turn, deadline) => {}
                (shared, begun) => break (shared, begun?),
            }
        };
        match begun {
            Begun::Ended(routed) => Ok(routed),
            Begun::Waiting(waiting) => {
                let ended = waiting.wait(&shared, deadline);
                self.with(|submit| submit.end(&waiting, ended, client, message))
            }
        }
    }
}
