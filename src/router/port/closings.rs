//! The events of a poll that come from no ring: close events that a worker could not put into a ring, and closed events of
//! clients that no worker will close. Workers and the submitting half list such clients in
//! [`EndedClients`](crate::router::shared::EndedClients).
//!
//! Used by `poll`, which hands these events out first, and by `handle` and `inline`.

use crate::clients::{ClientId, ClientSlot, END, Phase, Stack, UNLISTED};
use crate::error::{CloseReason, Unacknowledged, Undeliverable};
use crate::router::port::poll::{EgressReceiver, Event, PollHalf, forgive};
use crate::router::shared::Shared;
use crate::sync::{Arc, AtomicU32, Relaxed, Release};

impl PollHalf {
    /// Hands out the events that come from no ring: close events that workers have queued at the port, and
    /// closed events of clients that no worker will close. A closed event comes after everything that the
    /// workers had for the client. These events come first in each poll, so that a steady load does not delay
    /// them.
    pub(in crate::router) fn hand_out_closings(
        &mut self,
        limit: usize,
        each: &mut impl FnMut(Event<'_>),
    ) -> usize {
        if !self.has_closings() {
            return 0;
        }
        let shared = Arc::clone(&self.shared);
        let ended = &shared.ended[self.index];
        let mut count = 0;
        while count < limit
            && let Some(client) = take_next(&mut self.closes, &ended.closes, &shared, |slot| &slot.close_link)
        {
            count += self.hand_out_close(&shared, client, each);
        }
        // Take the list before reading the rings: then everything that was published before a client was listed
        // is seen first.
        if self.closings == END {
            self.closings = ended.closings.take();
        }
        let is_drained = |way: &EgressReceiver| !way.ring.memory().is_closed() || !way.has_more();
        if !self.ways.iter().all(is_drained) {
            return count;
        }
        let none = Stack::new();
        while count < limit
            && let Some(client) = take_next(&mut self.closings, &none, &shared, |slot| &slot.port_link)
        {
            count += self.hand_out_closed(&shared, client, each);
        }
        count
    }

    fn hand_out_close(
        &mut self,
        shared: &Shared,
        client: ClientId,
        each: &mut impl FnMut(Event<'_>),
    ) -> usize {
        let Some(slot) = shared.clients.slot(client.index()) else { return 0 };
        let (token, phase) = (slot.token(), slot.phase_of(client.generation()));
        slot.close_link.store(UNLISTED, Relaxed); // Relaxed: the credit word's Release publishes it.
        slot.credit.end_close_delivery(client.generation());
        if phase != Some(Phase::Open) {
            self.count_closed();
            return 0;
        }
        shared.ports[self.index].poll.consumed.add(&mut self.writer, 1);
        each(Event::Close { client, token, reason: CloseReason::Credit });
        1
    }

    fn hand_out_closed(
        &mut self,
        shared: &Shared,
        client: ClientId,
        each: &mut impl FnMut(Event<'_>),
    ) -> usize {
        let Some(slot) = shared.clients.slot(client.index()) else { return 0 };
        let token = slot.token();
        let figures = shared.clients.keep_figures(client, shared.controls.now());
        let forgiven = shared.clients.end_close(client);
        // Release: pairs with the Acquire in `ClientSlot::is_unused`.
        slot.port_link.store(UNLISTED, Release);
        let Some(forgiven) = forgiven else {
            self.count_closed();
            return 0;
        };
        let shard = &shared.ports[self.index].poll;
        forgive(shard, &mut self.writer, forgiven, Unacknowledged::Closed);
        shard.consumed.add(&mut self.writer, 1);
        each(Event::Closed { client, token, figures: &figures });
        1
    }

    fn count_closed(&mut self) {
        let shard = &self.shared.ports[self.index].poll;
        shard.undeliverable[Undeliverable::Closed as usize].add(&mut self.writer, 1);
    }

    pub(in crate::router) fn has_closings(&self) -> bool {
        let ended = &self.shared.ended[self.index];
        self.closes != END || self.closings != END || !ended.is_empty()
    }

    /// The port is released: the clients on its own lists get no close or closed event any more.
    pub(in crate::router) fn give_up_closings(&mut self) {
        let taken = (std::mem::replace(&mut self.closes, END), std::mem::replace(&mut self.closings, END));
        let rest = self.shared.forget_ended(self.index, taken);
        self.give_up(rest);
    }
}

/// Takes the next client of a chain. An empty chain is first refilled from its stack.
fn take_next<'a>(
    next: &mut u32,
    stack: &Stack,
    shared: &'a Shared,
    link: impl Fn(&'a ClientSlot) -> &'a AtomicU32,
) -> Option<ClientId> {
    if *next == END && !stack.is_empty() {
        *next = stack.take();
    }
    let index = *next;
    let slot = shared.clients.slot(index)?;
    *next = link(slot).load(Relaxed); // Relaxed: `Stack::take` has acquired it.
    Some(ClientId::new(index, slot.place().generation))
}
