//! The events of a poll that come from no ring: close events and notices that a worker could not put into a ring before it
//! ended, close events after a corrupt ring, notices of messages that no worker took, and closed events of clients that no worker will close. Workers and the
//! submitting half list them in
//! [`EndedClients`](crate::router::shared::EndedClients).
//!
//! Used by `walk`, which finds these events first, and by `poll` and `handle`.

use crate::clients::{ClientId, ClientSlot, END, KeptFigures, Phase, Stack, UNLISTED};
use crate::error::{CloseReason, Undeliverable};
use crate::ring::record::delivery_kind;
use crate::router::notice::Notice;
use crate::router::port::event::Event;
use crate::router::port::poll::{EgressReceiver, PollHalf, forgive};
use crate::router::shared::Shared;
use crate::sync::{Arc, AtomicU32, Relaxed, Release};

/// An event that comes from no ring.
#[derive(Clone, Copy, Debug)]
pub(super) enum Closing {
    Close { client: ClientId, token: u64, reason: CloseReason },
    Closed { client: ClientId, token: u64, figures: KeptFigures },
    Notice { notice: Notice, token: u64 },
}

impl Closing {
    pub(super) fn event(self) -> Event<'static> {
        match self {
            Self::Close { client, token, reason } => Event::Close { client, token, reason },
            Self::Closed { client, token, figures } => Event::Closed { client, token, figures },
            Self::Notice { notice, token } => Event::of_notice(&notice.header, notice.client, token),
        }
    }
}

impl PollHalf {
    /// The next event that comes from no ring: close events and notices that workers have left to the port, and closed
    /// events of clients that no worker will close. A closed event comes after everything that the workers had for the
    /// client. These events come first in each poll, so that a steady load does not delay them.
    #[inline]
    pub(super) fn next_closing(&mut self) -> Option<Closing> {
        if self.has_closings() { self.take_closing() } else { None }
    }

    #[cold]
    fn take_closing(&mut self) -> Option<Closing> {
        let shared = Arc::clone(&self.shared);
        let ended = &shared.ended[self.index];
        while let Some(client) = take_next(&mut self.closes, &ended.closes, &shared, |slot| &slot.close_link)
        {
            let closing = self.close(&shared, client);
            if closing.is_some() {
                return closing;
            }
        }
        while let Some(client) = self.cut_off.pop_front() {
            if let Ok(slot) = shared.clients.open_on(client, self.index) {
                // No worker has sent it, so it does not count as a delivery.
                return Some(Closing::Close { client, token: slot.token(), reason: CloseReason::Corrupt });
            }
        }
        // Take the list before reading the rings: then everything that was published before a client was listed
        // is seen first.
        if self.closings == END {
            self.closings = ended.closings.take();
        }
        // A worker lists its notices before it lists a client that it closes: take the notices after the closings.
        if !ended.is_empty() {
            self.notices.append(&mut ended.take_notices());
        }
        // What an ended worker has emitted comes first: what it has listed is newer.
        let is_drained = |way: &EgressReceiver| !way.ring.memory().is_closed() || !way.has_more();
        if !self.ways.iter().all(is_drained) {
            return None;
        }
        while let Some(notice) = self.notices.pop_front() {
            let closing = self.notice(&shared, notice);
            if closing.is_some() {
                return closing;
            }
        }
        let none = Stack::new();
        while let Some(client) = take_next(&mut self.closings, &none, &shared, |slot| &slot.port_link) {
            let closing = self.closed(&shared, client);
            if closing.is_some() {
                return closing;
            }
        }
        None
    }

    fn close(&mut self, shared: &Shared, client: ClientId) -> Option<Closing> {
        let slot = shared.clients.slot(client.index())?;
        let (token, phase) = (slot.token(), slot.phase_of(client.generation()));
        slot.close_link.store(UNLISTED, Relaxed); // Relaxed: the credit word's Release publishes it.
        slot.credit.end_close_delivery(client.generation());
        if phase != Some(Phase::Open) {
            self.count_closed();
            return None;
        }
        shared.ports[self.index].poll.consumed.add(&mut self.writer, 1);
        Some(Closing::Close { client, token, reason: CloseReason::CreditExhausted })
    }

    /// A notice of a message of the client needs the client; a notice of a send is the port's.
    fn notice(&mut self, shared: &Shared, notice: Notice) -> Option<Closing> {
        let mut token = 0;
        if notice.header.kind == delivery_kind::UNDELIVERED {
            let slot = shared.clients.get(notice.client);
            let present = slot.filter(|slot| {
                let phase = slot.phase_of(notice.client.generation());
                matches!(phase, Some(Phase::Open | Phase::Closing))
            });
            let Some(slot) = present else {
                self.count_closed();
                return None;
            };
            token = slot.token();
        }
        shared.ports[self.index].poll.consumed.add(&mut self.writer, 1);
        Some(Closing::Notice { notice, token })
    }

    fn closed(&mut self, shared: &Shared, client: ClientId) -> Option<Closing> {
        let slot = shared.clients.slot(client.index())?;
        let token = slot.token();
        let figures = shared.clients.keep_figures(client, shared.controls.now());
        let forgiven = shared.clients.end_close(client);
        // Release: pairs with the Acquire in `ClientSlot::is_unused`.
        slot.port_link.store(UNLISTED, Release);
        let Some((forgiven, reason)) = forgiven else {
            self.count_closed();
            return None;
        };
        let shard = &shared.ports[self.index].poll;
        forgive(shard, &mut self.writer, forgiven, reason);
        shard.consumed.add(&mut self.writer, 1);
        Some(Closing::Closed { client, token, figures })
    }

    fn count_closed(&mut self) {
        let shard = &self.shared.ports[self.index].poll;
        shard.undeliverable[Undeliverable::Closed as usize].add(&mut self.writer, 1);
    }

    pub(in crate::router) fn has_closings(&self) -> bool {
        let ended = &self.shared.ended[self.index];
        self.closes != END
            || self.closings != END
            || !self.notices.is_empty()
            || !self.cut_off.is_empty()
            || !ended.is_empty()
    }

    /// The port is released: the clients on its own lists get no close or closed event any more.
    pub(in crate::router) fn give_up_closings(&mut self) {
        let taken = (std::mem::replace(&mut self.closes, END), std::mem::replace(&mut self.closings, END));
        let rest = self.shared.forget_ended(self.index, taken);
        let notices = std::mem::take(&mut self.notices).len() as u64;
        self.give_up(rest + notices);
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
