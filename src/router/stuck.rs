//! A stop that no longer waits for a handler: whoever claims the worker settles everything in its place, as the worker
//! itself would at a stop, except that what lies in its rings fails as stuck instead of being handled. The handler's
//! thread, its stack and the ring that it still reads from stay; should it return, it finds the worker claimed.

use super::handler::NOT_TAKEN_UP;
use super::payload::read_reference;
use super::relay::{NOBODY, Relay, no_series};
use super::route::{Fallback, call_of};
use super::send::send_series;
use super::shared::Shared;
use super::worker::{Ingoing, Worker};
use crate::clients::ClientId;
use crate::error::Failed;
use crate::metrics::{OTHER, Outcome, Timing, TypeId};
use crate::ring::Consumer;
use crate::ring::record::{Ingress, ingress_flag, ingress_kind};
use crate::sync::{Arc, mutant};

/// Gives up a worker if it is inside a handler. It then has left every pair, and all it had is accounted for.
pub(super) fn give_up(shared: &Arc<Shared>, index: usize) {
    if let Some(relay) = shared.workers.get(index).and_then(|worker| worker.handover.claim()) {
        let now = shared.clock.raw();
        Worker::adopt(shared, index, relay).stop(now);
    }
}

impl Worker {
    /// One that settles in the place of a worker which was given up inside a handler, and whose relay this is.
    fn adopt(shared: &Arc<Shared>, index: usize, relay: Box<Relay>) -> Self {
        let mut worker = Self::new(Arc::clone(shared), index);
        worker.relay = relay;
        worker.adopted = true;
        for port in 0..worker.ingress.len() {
            if worker.relay.inside.taken.get(port).is_none_or(|taken| *taken == NOT_TAKEN_UP) {
                worker.take_up(port);
            } else if let Some(pair) = shared.pair(index, port).view() {
                let corrupt = pair.ingress.is_corrupt();
                let ring = Consumer::resume(pair.ingress);
                let port_wake = pair.port_wake;
                worker.ingress[port] =
                    Some(Ingoing { ring, port_wake, sealed: false, corrupt, blocked: None });
            }
        }
        worker
    }

    /// Ends what the worker that was given up had not taken from one port's ring, up to what is published now.
    /// Gives no byte back: the handler may still be reading its message.
    pub(super) fn fail_rest(&mut self, port: usize, now: u64) {
        let handled = self.relay.inside.taken.get(port).copied().unwrap_or(NOT_TAKEN_UP);
        let Some(Some(ingoing)) = self.ingress.get_mut(port) else { return };
        if ingoing.corrupt {
            return;
        }
        loop {
            let position = ingoing.ring.position();
            let Ok(Some(record)) = ingoing.ring.next() else { return };
            let Some((header, payload)) = Ingress::read(record.bytes) else { continue };
            if position < handled && !mutant("stuck-from-head") {
                continue; // Handled before, and not given back yet.
            }
            match record.kind {
                ingress_kind::MESSAGE | ingress_kind::SEND => {
                    let beside = read_reference(payload).filter(|_| header.flags & ingress_flag::OWNED != 0);
                    let bytes = beside.map_or(payload.len(), |(_, bytes)| bytes);
                    self.relay.fail_stuck(&self.shared, port, &header, bytes, now);
                }
                ingress_kind::DISCONNECT => self.relay.disconnect(&self.shared, port, &header),
                _ => {}
            }
        }
    }
}

impl Relay {
    /// Counts one message of a worker that was given up: first the one that its handler is at, then those behind it.
    fn fail_stuck(&mut self, shared: &Shared, port: usize, header: &Ingress, bytes: usize, now: u64) {
        let current = self.inside.current.take_if(|current| current.port == port);
        // What a host sends itself has no client behind it.
        let client = (header.kind == ingress_kind::MESSAGE).then_some(ClientId(header.client));
        let slot = client.and_then(|client| shared.clients.on(client, port));
        let labels = slot.and_then(|slot| shared.rules_of(slot));
        let labels = labels.map(|(rules, application)| (TypeId(OTHER), rules.id, application));
        let sent = || send_series(shared, ClientId(header.recipient));
        let unread = labels.unwrap_or_else(|| if client.is_none() { sent() } else { no_series() });
        let ids = current.map_or(unread, |current| current.ids);
        let started = current.map_or(now, |current| current.started);
        let timing = Timing {
            queue_wait: shared.clock.nanoseconds(header.stamp, started),
            service: shared.clock.nanoseconds(started, now),
            ended: now,
        };
        // A message that was held ends with the holds, at the same stop.
        let held = current.is_some_and(|current| current.held) && !mutant("stuck-held-twice");
        let call = call_of(header);
        let calls = shared.calls.get(port);
        // The one that the handler is at was started by its worker; another may have been given up by its caller.
        let starts = |call| calls.is_some_and(|calls| calls.start(call));
        let given_up = current.is_none() && call.is_some_and(|call| !starts(call));
        let stuck = Outcome::Failed(Failed::Stuck);
        let outcome = match held {
            true => None,
            false if given_up => (shared.fallback != Fallback::Inline).then_some(Outcome::Expired),
            false => Some(stuck),
        };
        let sender = slot.and(client).unwrap_or(NOBODY);
        self.count(shared, sender, ids, bytes, timing, outcome);
        self.ended += u64::from(!held);
        if let (Some(slot), false) = (slot, held) {
            slot.finish(1);
        }
        if !given_up {
            self.tell_caller(shared, port, call, Some(stuck).filter(|_| !held));
        }
    }
}
