//! Synchronous routing: the caller waits until its message has been handled, or the base route takes the
//! message over. Exactly one of the two handles it: the call's state word decides (`call`). A message that the
//! base route has taken over is outside the order of its client's other messages.
//!
//! `begin` submits the message through `submit`, `WaitingCall::wait` waits for the worker's result, and the
//! caller runs the base route if needed. The worker answers in `worker/message_end`.
//!
//! Adds `route` to `Port` and `SharedPort`, which hosts and `ffi` call.

use crate::call::{CallEnd, CallId};
use crate::clients::ClientId;
use crate::config::Key;
use crate::error::{Failed, RouteError, SubmitError, TakenOver};
use crate::ring::{AttachState, Memory};
use crate::router::base::{BaseRequest, CLOSED, DELIVERED, EXPIRED, FAILED, Fallback, HELD, Routed};
use crate::router::port::handle::Port;
use crate::router::port::ingress::Bytes;
use crate::router::port::shared::SharedPort;
use crate::router::port::submit::{SubmitHalf, SubmitOptions};
use crate::router::shared::Shared;
use crate::router::thread::is_on_worker;
use crate::sync::{Arc, Release};
use std::time::{Duration, Instant};

/// A call whose result is not known yet.
pub(in crate::router) struct WaitingCall {
    id: CallId,
    worker: usize,
    port: usize,
    ingress: Arc<Memory>,
}

/// The result of a call: for the caller, or for the base route, which the caller runs outside every lock.
pub(in crate::router) enum Called {
    Routed(Routed),
    Base(TakenOver),
}

pub(in crate::router) enum Begun {
    Base(TakenOver),
    Waiting(WaitingCall),
}

/// The result of waiting.
enum Waited {
    Ended(Result<Routed, RouteError>),
    /// No worker has handled the message: the reason, and the caller's result if no base route takes it over.
    Unhandled(TakenOver, Result<Routed, RouteError>),
}

impl WaitingCall {
    fn wait(&self, shared: &Shared, deadline: Option<Instant>) -> Waited {
        let refused = || Waited::Unhandled(TakenOver::Closed, Err(SubmitError::Closed.into()));
        match self.sleep(shared, deadline) {
            CallEnd::Done(DELIVERED) => Waited::Ended(Ok(Routed::Delivered)),
            CallEnd::Done(HELD) => Waited::Ended(Ok(Routed::Held)),
            CallEnd::Done(EXPIRED) => Waited::Unhandled(TakenOver::Expired, Ok(Routed::Expired)),
            CallEnd::Done(CLOSED) => refused(),
            CallEnd::Done(failed) => {
                let reason = Failed::ALL.get((failed - FAILED) as usize);
                Waited::Ended(Ok(Routed::Failed(reason.copied().unwrap_or(Failed::BadRecord))))
            }
            CallEnd::Cancelled if self.ingress.is_closed() => refused(),
            CallEnd::Cancelled => Waited::Unhandled(TakenOver::TimedOut, Err(RouteError::TimedOut)),
            CallEnd::Abandoned => Waited::Ended(Err(RouteError::TimedOutStarted)),
        }
    }

    fn sleep(&self, shared: &Shared, deadline: Option<Instant>) -> CallEnd {
        let Some(calls) = shared.calls.get(self.port) else { return CallEnd::Cancelled };
        // A stopping worker still takes what was published before, so the wait ends only once the worker has
        // left. A port that leaves does not end the wait: its worker handles everything that it published.
        let left = || {
            let has_left = || shared.pair(self.worker, self.port).state() == AttachState::Detaching;
            self.ingress.is_corrupt() || (self.ingress.is_closed() && has_left())
        };
        calls.wait(self.id, deadline, left)
    }
}

/// When a time-out is over; `None` (never) if that is beyond what `Instant` can represent.
fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

impl SubmitHalf {
    /// Pushes a message for which the caller waits; does not publish it.
    pub(in crate::router) fn begin(&mut self, client: ClientId, message: &[u8]) -> Result<Begun, RouteError> {
        // The thread of a local worker cannot wait for any worker: the message may need its own.
        if is_on_worker() || self.shared.is_loop_here() {
            return Err(RouteError::OwnThread);
        }
        let shared = Arc::clone(&self.shared);
        self.count_submitted();
        let reason = match self.try_begin(&shared, client, message) {
            Ok(begun) => return Ok(begun),
            Err(reason) => reason,
        };
        if let Some(reason) = takes_over(reason).filter(|_| shared.fallback == Fallback::Inline) {
            self.count_taken_over(reason);
            return Ok(Begun::Base(reason));
        }
        Err(self.count_refused(reason).into())
    }

    fn try_begin(&mut self, shared: &Shared, client: ClientId, message: &[u8]) -> Result<Begun, SubmitError> {
        let stamp = self.admit(client, message.len(), None)?;
        if !shared.concurrent {
            return self.leave_to_base(client).map(Begun::Base);
        }
        let calls = shared.calls.get(self.index).ok_or(SubmitError::Closed)?;
        let id = calls.take().ok_or(SubmitError::TooManyCalls)?;
        let entered = self.enter(client, Bytes::Copied(message), SubmitOptions::default(), stamp, Some(id));
        let ring = entered.and_then(|worker| Ok((worker, self.memory(worker).ok_or(SubmitError::Closed)?)));
        match ring {
            Ok((worker, ingress)) => {
                let ingress = Arc::clone(ingress);
                Ok(Begun::Waiting(WaitingCall { id, worker, port: self.index, ingress }))
            }
            Err(reason) => {
                calls.untake(id);
                Err(reason)
            }
        }
    }

    /// Waits for a message that was begun and published.
    fn finish(&mut self, begun: Begun, deadline: Option<Instant>) -> Result<Called, RouteError> {
        let waiting = match begun {
            Begun::Base(reason) => return Ok(Called::Base(reason)),
            Begun::Waiting(waiting) => waiting,
        };
        match waiting.wait(&self.shared, deadline) {
            Waited::Ended(ended) => ended.map(Called::Routed),
            Waited::Unhandled(reason, otherwise) => {
                let shared = Arc::clone(&self.shared);
                fall_back(&shared, Some(self), reason, otherwise)
            }
        }
    }
}

/// Takes over a message that no worker has handled, or returns `otherwise` if there is no base route. The count
/// goes to the port's submitting half or, if that half is already released, to the router.
fn fall_back(
    shared: &Shared,
    submit: Option<&mut SubmitHalf>,
    reason: TakenOver,
    otherwise: Result<Routed, RouteError>,
) -> Result<Called, RouteError> {
    if shared.fallback != Fallback::Inline {
        return otherwise.map(Called::Routed);
    }
    match submit {
        Some(submit) => submit.count_taken_over(reason),
        None => {
            if let Some(count) = shared.late_takeovers.get(reason as usize) {
                count.fetch_add(1, Release); // Release: as every count of an outcome.
            }
        }
    }
    Ok(Called::Base(reason))
}

impl Shared {
    /// Runs the base route on a message that is counted as taken over. This is host code: hold no lock.
    pub(in crate::router) fn run_base(&self, reason: TakenOver, client: ClientId, message: &[u8]) -> Routed {
        let request = BaseRequest { client, message };
        let success = self.base.run(&request);
        Routed::TakenOver { reason, success }
    }

    fn routed(&self, called: Called, client: ClientId, message: &[u8]) -> Routed {
        match called {
            Called::Routed(routed) => routed,
            Called::Base(reason) => self.run_base(reason, client, message),
        }
    }
}

/// The refusals that the base route takes over. Refusals that protect other clients from this one, or that
/// report a mistake of the host, stay refusals.
fn takes_over(reason: SubmitError) -> Option<TakenOver> {
    match reason {
        SubmitError::RingFull => Some(TakenOver::RingFull),
        SubmitError::Closed | SubmitError::Draining | SubmitError::Corrupt => Some(TakenOver::Closed),
        SubmitError::TooManyCalls => Some(TakenOver::TooManyCalls),
        _ => None,
    }
}

impl Port {
    /// Routes one message and waits until it has been handled, at most `timeout`. Messages submitted before are
    /// published first. Meanwhile this port neither polls nor acknowledges. If the message cannot be handled,
    /// the configured fallback applies (`route_fallback`): the base route then handles it, exactly once.
    ///
    /// # Errors
    /// [`RouteError::Refused`] as for [`submit`](Self::submit). [`RouteError::TimedOut`]: no worker has started the
    /// message, and none will. [`RouteError::TimedOutStarted`]: a worker is handling it.
    /// [`RouteError::OwnThread`] on a worker's thread and on a thread that
    /// drives a local worker, where the call would dead-lock, and for a local port.
    pub fn route(
        &mut self,
        client: ClientId,
        message: &[u8],
        timeout: Duration,
    ) -> Result<Routed, RouteError> {
        let deadline = deadline(timeout);
        let submit = &mut self.submit;
        if submit.home.is_some() {
            return Err(RouteError::OwnThread);
        }
        let begun = submit.begin(client, message);
        submit.publish();
        let called = submit.finish(begun?, deadline)?;
        Ok(submit.shared.routed(called, client, message))
    }

    /// As [`route`](Self::route), for several messages. All of them, or `max_calls` at a time, are published
    /// before the call waits for the first. Returns one result per message, in order.
    pub fn route_batch(
        &mut self,
        messages: &[(ClientId, &[u8])],
        timeout: Duration,
    ) -> Vec<Result<Routed, RouteError>> {
        let deadline = deadline(timeout);
        let submit = &mut self.submit;
        if submit.home.is_some() {
            return messages.iter().map(|_| Err(RouteError::OwnThread)).collect();
        }
        let at_once = submit.shared.config.count(Key::MaxCalls);
        let mut results = Vec::with_capacity(messages.len());
        for chunk in messages.chunks(at_once) {
            let begun: Vec<_> =
                chunk.iter().map(|(client, message)| submit.begin(*client, message)).collect();
            submit.publish();
            let ended = begun.into_iter().map(|begun| begun.and_then(|begun| submit.finish(begun, deadline)));
            let called: Vec<_> = ended.collect();
            // Run host code only when no call of this batch is open any more.
            for ((client, message), called) in chunk.iter().zip(called) {
                results.push(called.map(|called| submit.shared.routed(called, *client, message)));
            }
        }
        results
    }
}

impl SharedPort {
    /// As [`Port::route`]. The lock is held to submit, not to wait, so calls of other threads proceed.
    ///
    /// # Errors
    /// As [`Port::route`](crate::router::Port::route).
    pub fn route(&self, client: ClientId, message: &[u8], timeout: Duration) -> Result<Routed, RouteError> {
        let deadline = deadline(timeout);
        let begun = self.with(SubmitError::Closed.into(), |submit| {
            let begun = submit.begin(client, message);
            submit.publish();
            begun
        })?;
        let called = match begun {
            Begun::Base(reason) => Called::Base(reason),
            Begun::Waiting(waiting) => match waiting.wait(&self.shared, deadline) {
                Waited::Ended(ended) => return ended,
                Waited::Unhandled(reason, otherwise) => self.submit.with(
                    |submit| fall_back(&self.shared, submit, reason, otherwise),
                    SubmitHalf::follow_up,
                )?,
            },
        };
        Ok(self.shared.routed(called, client, message))
    }
}
