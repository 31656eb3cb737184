//! The end of a client and of a worker, at a port's submitting half. A disconnect goes behind the client's messages into
//! its worker's ring, or waits on a list until the ring has room. If a worker has left, this half settles the records that
//! the worker did not take, and answers the disconnects itself.
//!
//! Used by `handle` and `shared`. Next, `worker/deliver` takes the disconnect from the ring.

use crate::clients::{ClientId, ClientSlot};
use crate::error::{ClientError, SubmitError};
use crate::park::after_publishing;
use crate::ring::AttachState;
use crate::ring::record::{IngressHeader, ingress_kind};
use crate::router::notice::Notice;
use crate::router::pair::Pair;
use crate::router::payload::Payload;
use crate::router::port::submit::SubmitHalf;
use crate::router::settle::settle_ingress;
use crate::router::shared::Shared;
use crate::sync::{Arc, AtomicU32, mutant};
use std::collections::VecDeque;

impl SubmitHalf {
    /// See [`Port::disconnect`](crate::router::Port::disconnect).
    pub(in crate::router) fn disconnect(&mut self, client: ClientId) -> Result<(), ClientError> {
        let shared = Arc::clone(&self.shared);
        let slot = shared.clients.open_on(client, self.index)?;
        if !shared.clients.begin_close(client) {
            return Err(ClientError::StaleClient);
        }
        shared.rooms.leave_all(client);
        if slot.has_several() {
            slot.set_current(0);
        }
        self.push_disconnect(client, slot);
        self.publish();
        Ok(())
    }

    /// Pushes a client's disconnect record behind its messages: to its own worker, or with `round_robin` to
    /// every worker from `current` on. The last worker that takes it answers with the closed event. If a ring
    /// is full, the client waits on that ring's list.
    fn push_disconnect(&mut self, client: ClientId, slot: &ClientSlot) {
        let current = slot.current().0;
        let end = if slot.has_several() { self.shared.placement.threaded() } else { current + 1 };
        for worker in current..end {
            match self.push_disconnect_to(worker, client, slot) {
                Ok(is_gone) => self.pass_by(is_gone, client, slot),
                Err(NoRoom) => {
                    slot.set_current(worker);
                    let shared = &self.shared;
                    if let Some(way) = self.out.ways.get_mut(worker) {
                        way.waiting.push(client.index(), |index| port_link(shared, index));
                        self.out.link.set_waiting(true);
                    }
                    self.out.stall(worker);
                    return;
                }
            }
        }
    }

    /// Pushes the disconnect record to one worker. Returns whether the worker is gone and will not take it.
    fn push_disconnect_to(
        &mut self,
        worker: usize,
        client: ClientId,
        slot: &ClientSlot,
    ) -> Result<bool, NoRoom> {
        let header =
            IngressHeader { kind: ingress_kind::DISCONNECT, client: client.0, ..IngressHeader::default() };
        match self.out.push_other(worker, &header) {
            Ok(()) => {
                // Counted as one of the client's messages, so that the slot is not reused before the worker has
                // handled the record.
                slot.submit();
                Ok(false)
            }
            Err(SubmitError::RingFull) => Err(NoRoom),
            Err(_) if self.is_gone(worker) => Ok(true),
            // The worker is stopping and still handles what was published before, possibly messages of this
            // client. The disconnect waits until the worker has left, which the port's poll notices.
            Err(_) => Err(NoRoom),
        }
    }

    /// Whether a worker that has closed its ring takes nothing more from it.
    fn is_gone(&self, worker: usize) -> bool {
        let Some(way) = self.out.ways.get(worker) else { return true };
        let has_left = || self.shared.pair(worker, self.index).state() == AttachState::Detaching;
        way.settled || way.ring.memory().is_corrupt() || has_left() || mutant("closed-before-handled")
    }

    /// A worker that is gone takes no disconnect and counts as passed. The client must not be on a list of the
    /// port.
    fn pass_by(&mut self, is_gone: bool, client: ClientId, slot: &ClientSlot) {
        if is_gone && slot.pass_disconnect() {
            self.close_here(client);
        }
    }

    /// Queues the closed event at the port itself, because no worker will send it.
    fn close_here(&mut self, client: ClientId) {
        self.shared.ports[self.index].submit.closings.add(&mut self.writer, 1);
        self.shared.close_by_port(client, self.index);
        let wake = self.out.link.wake();
        after_publishing(|| wake.wake_if_asleep());
    }

    /// Pushes the waiting disconnects that fit.
    fn push_waiting(&mut self) {
        for worker in 0..self.out.ways.len() {
            self.push_waiting_to(worker);
        }
        self.note_waiting();
    }

    /// Tells the polling half whether disconnects still wait.
    fn note_waiting(&self) {
        self.out.link.set_waiting(self.out.ways.iter().any(|way| !way.waiting.is_empty()));
    }

    fn push_waiting_to(&mut self, worker: usize) {
        let shared = Arc::clone(&self.shared);
        while let Some(index) = self.out.ways[worker].waiting.first() {
            let Some(slot) = shared.clients.slot(index) else { break };
            let client = ClientId::new(index, slot.place().generation);
            let Ok(is_gone) = self.push_disconnect_to(worker, client, slot) else {
                self.out.stall(worker);
                break;
            };
            self.out.ways[worker].waiting.pop(|index| port_link(&shared, index));
            self.pass_by(is_gone, client, slot);
            if slot.has_several() && worker + 1 < shared.placement.threaded() {
                slot.set_current(worker + 1);
                self.push_disconnect(client, slot);
            }
        }
    }

    /// The part of a poll that this half does: settles with the workers that have left, and pushes the waiting
    /// disconnects. Returns payloads that no worker takes any more. Drop them outside every lock, because their
    /// drop runs host code.
    #[must_use]
    pub(in crate::router) fn follow_up(&mut self) -> Vec<Payload> {
        let left = self.out.link.left();
        let unread = self.settle_all(left);
        self.return_spare();
        if self.out.ways.iter().any(|way| !way.waiting.is_empty()) {
            self.push_waiting();
            self.publish();
        }
        if left != 0 {
            self.out.link.settled(left);
            // The poller may already have seen the worker leave and be waiting until everything is over.
            // Settling can be the last step of that, so wake the poller.
            let wake = self.out.link.wake();
            after_publishing(|| wake.wake_if_asleep());
        }
        unread
    }

    /// Settles with each worker in the bit set; those workers have left.
    #[inline]
    fn settle_all(&mut self, left: u64) -> Vec<Payload> {
        bits(left).flat_map(|worker| self.settle(worker)).collect()
    }

    /// Counts the records that a worker left in its ring as refused. The worker has left already, so this side
    /// leaves second and settles the pair.
    fn settle(&mut self, worker: usize) -> Vec<Payload> {
        let shared = Arc::clone(&self.shared);
        let Some(pair) = shared.pair(worker, self.index).view() else { return Vec::new() };
        let mut closed = Vec::new();
        let mut told = VecDeque::new();
        let unread =
            self.settle_with(worker, &pair, |client| closed.push(client), |notice| told.push_back(notice));
        let shard = &shared.ports[self.index].submit;
        shard.closings.add(&mut self.writer, told.len() as u64);
        shared.ended[self.index].leave_notices(told);
        for client in closed {
            self.close_here(client);
        }
        unread
    }

    /// As [`settle`](Self::settle), at most once per worker. Calls `closed` for each client whose disconnect
    /// the worker has not taken, and `told` with each notice that the port owes its host.
    #[must_use]
    pub(in crate::router) fn settle_with(
        &mut self,
        worker: usize,
        pair: &Pair,
        closed: impl FnMut(ClientId),
        told: impl FnMut(Notice),
    ) -> Vec<Payload> {
        let Some(way) = self.out.ways.get_mut(worker) else { return Vec::new() };
        if std::mem::replace(&mut way.settled, true) {
            return Vec::new();
        }
        // Publish what is committed, so that the settlement counts it. Nothing more can be claimed, because the
        // ring is closed.
        if !mutant("settle-unpublished") {
            way.ring.publish();
        }
        let (shared, writer) = (&self.shared, &mut self.writer);
        let refused = &shared.ports[self.index].submit.refused;
        let count = |reason: SubmitError, untaken| refused[reason as usize].add(writer, untaken);
        settle_ingress(shared, (worker, self.index), pair, count, closed, told)
    }

    /// The port is being released: the waiting disconnects are not pushed any more.
    pub(in crate::router) fn forget_waiting(&mut self) {
        let shared = &self.shared;
        for way in &mut self.out.ways {
            while !way.waiting.is_empty() {
                way.waiting.pop(|index| port_link(shared, index));
            }
        }
    }
}

/// The workers whose bit is set.
#[inline]
fn bits(mut of: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let worker = of.trailing_zeros();
        of &= of.wrapping_sub(1);
        (worker < u64::BITS).then_some(worker as usize)
    })
}

/// The worker cannot take a disconnect now: its ring is full, or it is stopping and has not left yet.
struct NoRoom;

fn port_link(shared: &Shared, index: u32) -> Option<&AtomicU32> {
    shared.clients.slot(index).map(|slot| &slot.port_link)
}
