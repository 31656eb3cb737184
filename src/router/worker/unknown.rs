//! Messages for names that this machine does not know, while its table of names on other machines has not all of them. The
//! worker asks the gateway, once for a name. A message that may be held is held as for a name that is not connected. Another
//! one waits in the same queue, behind the messages before it, for the answer, or for [`PATIENCE`].
//!
//! Nothing here keeps the order of a sender's messages: the hold queue and `remote` do, by what is unanswered, whether the
//! table still has the name or not.
//!
//! Used by `remote` and `held` (ask), `unusual` (answers), `held` (what is due) and `pairs` (the gateway's end). The records
//! go to `port/gateway` and come from there. What was asked for is in `asks`.

use crate::clients::NameHash;
use crate::config::Key;
use crate::envelope::Relayed;
use crate::error::Failed;
use crate::metrics::Outcome;
use crate::ring::Corrupt;
use crate::ring::record::{DeliveryHeader, delivery_kind};
use crate::router::crossing::{Asked, Found};
use crate::router::worker::asks::{Asking, Asks, Due};
use crate::router::worker::egress::Rejected;
use crate::router::worker::handled::Handled;
use crate::router::worker::handler::HandlerCall;
use crate::router::worker::pool::END;
use crate::router::worker::state::WorkerContext;
use crate::sync::Relaxed;
use std::time::Duration;

/// A message that may not be held waits so long for an answer, and a name is not asked for again so soon.
const PATIENCE: Duration = Duration::from_secs(1);

impl WorkerContext<'_> {
    /// Whether a name that is neither here nor in the table may be on another machine.
    #[cold]
    pub(in crate::router) fn may_be_elsewhere(&self) -> bool {
        self.shared.directory().is_some_and(|directory| directory.is_incomplete())
    }

    /// Relays a message whose recipient may be on another machine.
    #[cold]
    pub(in crate::router) fn relay_unknown(
        &mut self,
        call: &HandlerCall<'_>,
        (hash, name): (NameHash, &[u8]),
        may_hold: bool,
        relayed: &Relayed<'_>,
    ) -> Handled {
        let now = self.shared.clock.raw();
        let known = self.state.asks.as_mut().and_then(|asks| asks.find(hash, now));
        // Relaxed: the worker's own last store, or a count that need not be exact.
        let of_sender = call.slot.held.load(Relaxed);
        if known.is_none() && !self.state.holds.has_room(hash, of_sender, relayed.len()) {
            // So a sender's limit of held messages is also one of the names that are asked for at once.
            return Handled::Ended(Outcome::Failed(Failed::HoldFull));
        }
        match known.unwrap_or_else(|| self.ask(hash, name)) {
            Asking::Over(reason) if !may_hold => Handled::Ended(Outcome::Failed(reason)),
            Asking::Over(_) | Asking::Waiting => self.hold_as(call, (hash, name), !may_hold, relayed),
        }
    }

    /// Asks where a name is, unless it was asked for a short time ago.
    #[cold]
    pub(in crate::router) fn ask(&mut self, hash: NameHash, name: &[u8]) -> Asking {
        let shared = self.shared;
        let now = shared.clock.raw();
        let Some(port) = shared.directory().and_then(|directory| directory.port()) else {
            return Asking::Over(Failed::LinkDown);
        };
        let asks = self
            .state
            .asks
            .get_or_insert_with(|| Box::new(Asks::new(shared.config.count(Key::HoldMessages))));
        if asks.port != port {
            asks.port = port; // First: the messages that end below may cause another ask.
            self.forget_asks();
        }
        let Some(asks) = self.state.asks.as_mut() else { return Asking::Over(Failed::LinkDown) };
        if let Some(known) = asks.find(hash, now) {
            return known;
        }
        let asked = if asks.has_room() { self.send_ask(port, name) } else { Err(Failed::LinkFull) };
        let until = now.saturating_add(shared.clock.ticks(PATIENCE));
        let (holds, asks) = (&self.state.holds, self.state.asks.as_mut());
        let is_held = |hash| holds.holds_for(hash);
        match (asked, asks) {
            (Ok(()), Some(asks)) => {
                asks.wait(hash, until, is_held);
                Asking::Waiting
            }
            (Err(reason), Some(asks)) => {
                asks.quiet(hash, reason, until, is_held);
                Asking::Over(reason)
            }
            (_, None) => Asking::Over(Failed::LinkDown),
        }
    }

    fn send_ask(&mut self, port: usize, name: &[u8]) -> Result<(), Failed> {
        self.see_to(port);
        let Some(Some(egress)) = self.state.egress.get_mut(port) else { return Err(Failed::LinkDown) };
        let header = DeliveryHeader { kind: delivery_kind::ASK, recipients: 1, ..DeliveryHeader::default() };
        let emitted = egress.emit(&header, 0, name.len(), |out| out.copy_from_slice(name));
        let waits = emitted.map_err(|rejected| match rejected {
            Rejected::Full | Rejected::TooLarge | Rejected::PayloadsFull => Failed::LinkFull,
        })?;
        self.shard().emitted.add(&mut self.state.writer, 1);
        self.sent(0, port, 1, waits);
        Ok(())
    }

    /// Where a name is: a record ASKED of the gateway.
    pub(in crate::router) fn asked(&mut self, record: &[u8]) -> Result<(), Corrupt> {
        let Asked { hash, answer } = Asked::read(record).ok_or(Corrupt)?;
        if !self.state.asks.as_mut().is_some_and(|asks| asks.answered(hash)) {
            return Ok(()); // Of a gateway that has left.
        }
        let reason = match answer {
            Found::At(at) => {
                // The table may have newer news, or no room for the name any more.
                let at = self.shared.elsewhere(hash).unwrap_or(at);
                let is_here = self.shared.clients.names().get(hash).is_some();
                match self.state.holds.holds_for(hash) {
                    true if is_here => self.name_connected(hash),
                    true => self.flush_elsewhere(hash, at),
                    false => {}
                }
                // What still waits does so for room, for the link, or for answers. It may have asked anew.
                let moved = self.unanswered(hash).filter(|earlier| *earlier != at).map(|_| Failed::Moved);
                self.held_because(hash, at).map(|reason| moved.unwrap_or(reason))
            }
            Found::Nowhere => Some(Failed::UnknownRecipient),
            Found::Unanswered => Some(Failed::LinkDown),
        };
        if let Some(reason) = reason {
            self.end_briefs(hash, reason);
            let until = self.shared.clock.raw().saturating_add(self.shared.clock.ticks(PATIENCE));
            let holds = &self.state.holds;
            if let Some(asks) = self.state.asks.as_mut()
                && asks.find(hash, 0).is_none()
            {
                asks.quiet(hash, reason, until, |hash| holds.holds_for(hash));
            }
        }
        Ok(())
    }

    /// Fails the messages that have waited for an answer for too long, and asks again for names whose messages are held.
    pub(in crate::router) fn end_asks(&mut self, now: u64) {
        while let Some((hash, due)) = self.state.asks.as_mut().and_then(|asks| asks.due(now)) {
            match due {
                Due::Late => self.end_briefs(hash, Failed::LinkDown),
                Due::Again => self.name_connected(hash),
            }
        }
    }

    /// The gateway has left: nobody answers what was asked.
    pub(in crate::router) fn forget_asks(&mut self) {
        while let Some(hash) = self.state.asks.as_mut().and_then(|asks| asks.pop_waiting()) {
            self.end_briefs(hash, Failed::LinkDown);
        }
    }

    /// Ends the messages held for a name that wait only for an answer.
    pub(in crate::router) fn end_briefs(&mut self, hash: NameHash, reason: Failed) {
        let (tell, mut before) = (self.state.tell, END);
        while let Some((next, held)) = self.state.holds.pop_brief(hash, before) {
            before = next;
            if let Some(slot) = self.shared.clients.slot(held.sender.index()) {
                slot.unhold_one();
            }
            self.state.tell = held.tell;
            self.end_kept(&held, Outcome::Failed(reason));
        }
        self.state.tell = tell;
        self.count_held();
    }
}
