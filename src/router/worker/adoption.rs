//! Settles workers that end without a normal stop: one that a stop gave up inside a handler, one whose thread
//! panicked, one that its host dropped. A second `Worker` adopts the state and settles everything, as the
//! worker itself would at a stop, except that the records in its rings fail instead of being handled. A handler
//! that was given up keeps its thread, its stack and the ring that it still reads from. If it returns, it finds
//! its state claimed and ends.
//!
//! Used by `router` (`give_up`) and `cycle` and `driven` (`lose`). Failed messages go on to `message_end`.

#[cfg(all(test, not(corelane_loom)))]
mod tests;

use crate::clients::ClientId;
use crate::error::Failed;
use crate::metrics::{OTHER, Outcome, TypeId};
use crate::ring::Consumer;
use crate::ring::record::{IngressHeader, ingress_flag, ingress_kind};
use crate::router::base::{Fallback, call_of};
use crate::router::lane::rings::LaneIngress;
use crate::router::notice::Tell;
use crate::router::payload::read_reference;
use crate::router::shared::Shared;
use crate::router::thread::{InWorker, discard};
use crate::router::worker::cycle::{IngressReceiver, Worker};
use crate::router::worker::handled::no_series;
use crate::router::worker::handler::{NOT_TAKEN_UP, WorkerCode};
use crate::router::worker::message_end::MessageEnd;
use crate::router::worker::send::send_series;
use crate::router::worker::state::{WorkerContext, WorkerState};
use crate::sync::{Arc, Relaxed, lock, mutant};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Gives a worker up if it is inside a handler. Afterwards it has left every pair, and everything it had is
/// accounted for.
pub(in crate::router) fn give_up(shared: &Arc<Shared>, code: &Arc<WorkerCode>, index: usize) {
    if let Some(state) = code.handover(index).claim() {
        shared.workers[index].given_up.store(true, Relaxed); // Relaxed: only a report.
        Worker::adopt(shared, code, index, state, Failed::Stuck).settle();
    }
}

impl Worker {
    /// Settles everything of this worker, which ends without having stopped. The router continues with the
    /// other workers. `panic` is the payload of its thread's panic.
    pub(in crate::router) fn lose(&mut self, panic: Option<&(dyn Any + Send)>) {
        let _inside = InWorker::enter();
        self.stopped = true;
        if self.state.inside.abandoned {
            return; // It was given up, and is settled already.
        }
        let shared = Arc::clone(&self.shared);
        let state = std::mem::replace(&mut self.state, Box::new(WorkerState::hollow(self.index)));
        // The host has stopped the router and drops the worker instead of driving it to its end: this is no
        // loss.
        let is_expected = panic.is_none() && shared.is_stopping();
        if !is_expected {
            // Under the lock: a port that opens later attaches nothing to this worker, and a port that has
            // opened is settled below.
            let _control = lock(&shared.control);
            shared.placement.set_lost(self.index);
        }
        Self::adopt(&shared, &self.code, self.index, state, Failed::WorkerLost).settle();
        if is_expected {
            return;
        }
        let worker = self.index;
        let text = panic.map_or("its host dropped it", |panic| {
            let text = panic.downcast_ref::<&str>().copied();
            text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("its thread panicked")
        });
        // Logging runs host code (the subscriber), so catch its panic.
        let log = || {
            tracing::error!(
                target: "corelane",
                worker,
                reason = text,
                "a worker is lost: its messages have failed, the other workers continue"
            );
        };
        catch_unwind(AssertUnwindSafe(log)).unwrap_or_else(discard);
    }

    /// A worker that settles for one that has ended, with the state of the ended worker.
    fn adopt(
        shared: &Arc<Shared>,
        code: &Arc<WorkerCode>,
        index: usize,
        state: Box<WorkerState>,
        reason: Failed,
    ) -> Self {
        let mut worker = Self::with(Arc::clone(shared), Arc::clone(code), index, state);
        worker.failing = Some(reason);
        // A new batch: the notices that are emitted now belong to no batch that has ended.
        worker.state.batch += 1;
        let tell = worker.state.tell;
        if let Some(current) = &mut worker.state.inside.current {
            current.tell = tell; // Other messages may be settled before it.
        }
        for port in 0..worker.ingress.len() {
            if worker.state.inside.taken.get(port).is_none_or(|taken| *taken == NOT_TAKEN_UP) {
                worker.take_up(port);
            } else if let Some(pair) = shared.pair(index, port).view() {
                // The host of a lane can write the ring's header.
                let (corrupt, ring) = match &pair.lane {
                    Some(lane) => {
                        let taken = worker.state.inside.taken[port];
                        (lane.is_given_up(), Consumer::starting_at(pair.ingress, taken))
                    }
                    None => (pair.ingress.is_corrupt(), Consumer::resume(pair.ingress)),
                };
                let (counts, port_wake) = (pair.counts, pair.port_wake);
                let lane = pair.lane.map(LaneIngress::new);
                let sealed = false;
                worker.ingress[port] =
                    Some(IngressReceiver { ring, counts, port_wake, sealed, corrupt, blocked: None, lane });
            }
        }
        worker
    }

    /// Leaves every pair, and gives back what is shared with others.
    fn settle(mut self) {
        self.stop(self.shared.clock.raw());
        self.end_batch();
    }

    /// Ends the records in one port's ring that the ended worker had not taken, up to what is published now.
    /// Gives no ring space back, because a handler may still be reading its message.
    pub(in crate::router) fn fail_rest(&mut self, port: usize, reason: Failed, now: u64) {
        let handled = self.state.inside.taken.get(port).copied().unwrap_or(NOT_TAKEN_UP);
        let Some(Some(ingoing)) = self.ingress.get_mut(port) else { return };
        if ingoing.corrupt {
            return;
        }
        loop {
            // A lane's records that the worker has not begun count as refused, above the seal.
            let is_lane = ingoing.lane.is_some() && ingoing.ring.position() >= handled;
            if is_lane && self.state.inside.lane_message.take_if(|of| *of == port).is_none() {
                return;
            }
            // Where the record itself starts: a pad before it may count as handled when the record does not.
            let Ok(Some((position, record))) = ingoing.ring.next_at() else { return };
            let Some((header, payload)) = IngressHeader::read(record.bytes) else { continue };
            if position < handled && !mutant("stuck-from-head") {
                continue; // Handled before, and not released yet.
            }
            match record.kind {
                ingress_kind::MESSAGE | ingress_kind::SEND | ingress_kind::SEND_TO_ROOM => {
                    let beside = read_reference(payload).filter(|_| header.flags & ingress_flag::OWNED != 0);
                    let bytes = beside.map_or(payload.len(), |(_, bytes)| bytes);
                    WorkerContext::new(&self.shared, &self.code, &mut self.state)
                        .fail_untaken(port, &header, bytes, reason, now);
                }
                ingress_kind::DISCONNECT => {
                    ingoing.counts.take_other();
                    WorkerContext::new(&self.shared, &self.code, &mut self.state).disconnect(port, &header);
                }
                _ => ingoing.counts.take_other(),
            }
        }
    }
}

impl WorkerContext<'_> {
    /// Counts one message of a worker that ended: first its current message, then those behind it.
    fn fail_untaken(&mut self, port: usize, header: &IngressHeader, bytes: usize, reason: Failed, now: u64) {
        let shared = self.shared;
        let current = self.state.inside.current.take_if(|current| current.port == port);
        // A host send has no sending client.
        let client = (header.kind == ingress_kind::MESSAGE).then_some(ClientId(header.client));
        let slot = client.and_then(|client| shared.clients.on(client, port));
        let labels = slot.and_then(|slot| shared.rules_of(slot));
        let labels = labels.map(|(rules, application)| (TypeId(OTHER), rules.id, application));
        let unread = match client {
            Some(_) => labels.unwrap_or_else(no_series),
            None => {
                let listed = self.one_recipient(header);
                send_series(shared, listed, header.message_type)
            }
        };
        let ids = current.map_or(unread, |current| current.ids);
        let began = current.map_or(now, |current| current.started);
        let timing = self.timing(header.stamp, began, now);
        // A held message ends with the holds, at the same stop.
        let held = current.is_some_and(|current| current.held) && !mutant("stuck-held-twice");
        let call = call_of(header);
        let failed = Outcome::Failed(reason);
        // The current message is started already. The caller of another message may have cancelled it before.
        let started = current.is_some() || call.is_some_and(|call| self.state.inside.answering == Some(call));
        let calls = shared.calls.get(port);
        let starts = |call| started || calls.is_some_and(|calls| calls.start(call));
        let given_up = call.is_some_and(|call| !starts(call));
        let outcome = match held {
            true => None,
            false if given_up => (shared.fallback != Fallback::Inline).then_some(Outcome::Expired),
            false => Some(failed),
        };
        // Of the records in the ring, none has been told.
        self.state.tell = current.map_or(Tell::Wanted, |current| current.tell);
        if let Some(outcome) = outcome.filter(|_| call.is_none()) {
            self.tell_failed(port, header, outcome);
        }
        self.end(MessageEnd {
            sender: client.zip(slot),
            ids,
            bytes,
            timing,
            outcome,
            is_held: held,
            call: call.filter(|_| !given_up).map(|call| (port, call)),
        });
    }
}
