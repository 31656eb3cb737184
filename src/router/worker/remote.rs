//! Messages for clients of other machines. The worker writes each into the egress ring of the gateway's port, keeps it
//! until the other machine has answered, and ends it then. A message that comes back because its recipient is gone there
//! is held, if its type may be, before everything of that name that was submitted later.
//!
//! The order of a sender's messages to one name holds: while messages to a name are unanswered, later ones go to the same
//! place, or wait in the hold queue until all are answered. On one link the other machine keeps the order, and once it has
//! answered "gone" for an entry of the directory, it answers so for this entry for ever.
//!
//! Used by `dispatch` (hands over), `held` (hands held messages over), `rooms`, `unusual` (answers), `pairs` and `cycle`
//! (the end). The records go on to `port/gateway`.

use crate::clients::{ClientId, NameHash};
use crate::config::Key;
use crate::envelope::Relayed;
use crate::error::{Failed, Undeliverable};
use crate::metrics::{Outcome, SeriesIds};
use crate::ring::Corrupt;
use crate::ring::record::{DeliveryHeader, delivery_flag, delivery_kind};
use crate::router::crossing::{Answer, HEAD_BYTES, Head};
use crate::router::elsewhere::{Elsewhere, LinkSet, Reject};
use crate::router::notice::Tell;
use crate::router::worker::egress::Rejected;
use crate::router::worker::handled::{Handled, NOBODY};
use crate::router::worker::handler::HandlerCall;
use crate::router::worker::hold::Held;
use crate::router::worker::pool::END;
use crate::router::worker::state::WorkerContext;
use crate::router::worker::under_way::{Remotes, Sent};
use crate::sync::{Relaxed, mutant};
use std::time::Duration;

/// So many names that wait for room are tried in vain after an answer.
const TRIES: u32 = 16;

/// A message that is to be handed over.
pub(in crate::router) struct Leaving<'a> {
    pub(in crate::router) hash: NameHash,
    pub(in crate::router) name: &'a [u8],
    pub(in crate::router) may_hold: bool,
    /// The name is a room's.
    pub(in crate::router) is_room: bool,
    /// Its sender's client, or [`NOBODY`]. It does not move to another worker before the gateway has taken the message, which
    /// uses its part of the link.
    pub(in crate::router) sender: ClientId,
}

/// Messages to a name that has moved wait so long for the answers from its old place.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why a message was not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::router) enum Stays {
    /// The link is down.
    Down,
    /// There is no room on the link.
    Full,
    /// The message can never be handed over.
    Never(Failed),
}

impl Stays {
    fn failed(self) -> Failed {
        match self {
            Self::Down => Failed::LinkDown,
            Self::Full => Failed::LinkFull,
            Self::Never(reason) => reason,
        }
    }
}

/// What is kept of a copy that has ended here.
fn copy_of(header: &DeliveryHeader, labels: SeriesIds, length: usize) -> Held {
    Held {
        sender: NOBODY,
        stamp: header.stamp,
        correlation: header.correlation,
        labels,
        started: header.stamp,
        since: header.stamp,
        bytes: length as u32,
        port: 0,
        is_brief: false,
        tell: Tell::No,
    }
}

impl WorkerContext<'_> {
    /// Where unanswered messages to a name were sent, if there are some.
    #[inline]
    pub(in crate::router) fn unanswered(&self, hash: NameHash) -> Option<Elsewhere> {
        self.state.remotes.as_ref().and_then(|remotes| remotes.unanswered(hash))
    }

    /// Relays a message whose recipient is not connected here, or to which earlier messages are unanswered elsewhere.
    /// `is_here`: the recipient is connected here.
    #[cold]
    pub(in crate::router) fn relay_elsewhere(
        &mut self,
        call: &HandlerCall<'_>,
        (hash, name): (NameHash, &[u8]),
        is_here: bool,
        may_hold: bool,
        relayed: &Relayed<'_>,
    ) -> Handled {
        let shared = self.shared;
        let at = if is_here { None } else { shared.elsewhere(hash) };
        let has_place = is_here || at.is_some();
        if let Some(at) = at {
            self.end_old(at.slot);
        }
        let unanswered = self.unanswered(hash);
        let failed = |reason| Handled::Ended(Outcome::Failed(reason));
        let Some(at) =
            at.filter(|at| unanswered.is_none_or(|earlier| earlier == *at || mutant("link-overtaken")))
        else {
            // Not known elsewhere, or to wait for the answers from its earlier place.
            if !has_place && self.may_be_elsewhere() {
                return self.relay_unknown(call, (hash, name), may_hold, relayed);
            }
            return match (may_hold, unanswered) {
                (true, earlier) => {
                    let handled = self.hold(call, (hash, name), relayed);
                    if earlier.is_some() && has_place {
                        self.wait_for_answers(hash);
                    }
                    handled
                }
                (false, Some(_)) => failed(Failed::Moved),
                (false, None) => failed(Failed::UnknownRecipient),
            };
        };
        if let Some(reason) = self.held_before(hash, at) {
            return if may_hold { self.hold(call, (hash, name), relayed) } else { failed(reason) };
        }
        let held = self.held_of(call);
        let leaving = Leaving { hash, name, may_hold, is_room: false, sender: held.sender };
        let handed = self.hand_over(&held, at, &leaving, relayed.len(), &|out: &mut [u8]| relayed.write(out));
        match handed {
            Ok(()) => {
                if let Some(held) = self.state.remotes.as_mut().and_then(|remotes| remotes.newest(at.slot)) {
                    held.tell = self.state.tell.pass_on();
                }
                Handled::Held
            }
            Err(Stays::Down) if may_hold => self.hold(call, (hash, name), relayed),
            Err(stays) => failed(stays.failed()),
        }
    }

    /// Hands held messages of a name over. Why a later one cannot follow, if some must stay.
    fn held_before(&mut self, hash: NameHash, at: Elsewhere) -> Option<Failed> {
        if self.state.holds.holds_for(hash) {
            self.flush_elsewhere(hash, at);
        }
        self.held_because(hash, at)
    }

    /// Why messages are still held for a name that is there, if there are some.
    pub(in crate::router) fn held_because(&self, hash: NameHash, at: Elsewhere) -> Option<Failed> {
        if !self.state.holds.holds_for(hash) {
            return None;
        }
        let gone = self.state.holds.gone_from(hash) == Some(at);
        Some(if gone { Failed::UnknownRecipient } else { self.stays(at).failed() })
    }

    /// Messages for a name are held because its old place has not answered earlier ones. They wait for [`PATIENCE`] at most.
    pub(in crate::router) fn wait_for_answers(&mut self, hash: NameHash) {
        let until = self.shared.clock.raw().saturating_add(self.shared.clock.ticks(PATIENCE));
        if let Some(remotes) = self.state.remotes.as_mut() {
            remotes.wait_for_answers(hash, until);
        }
    }

    /// Fails the messages for names whose old places have not answered in time.
    pub(in crate::router) fn end_impatient(&mut self, now: u64) {
        while let Some(hash) = self.state.remotes.as_mut().and_then(|remotes| remotes.impatient(now)) {
            self.end_all(hash, Outcome::Failed(Failed::Moved));
        }
    }

    /// The ring to the gateway has room again.
    #[cold]
    pub(in crate::router) fn ring_has_room(&mut self) {
        if self.state.remotes.as_mut().is_some_and(|remotes| std::mem::take(&mut remotes.ring_full)) {
            self.go_on();
        }
    }

    /// Why nothing could be handed over for this place.
    fn stays(&self, at: Elsewhere) -> Stays {
        let up = self.shared.directory().is_some_and(|directory| directory.link(at.slot).1);
        if up { Stays::Full } else { Stays::Down }
    }

    /// What is kept of a message that is held or under way.
    pub(in crate::router) fn held_of(&self, call: &HandlerCall<'_>) -> Held {
        Held {
            sender: call.client,
            stamp: call.stamp,
            correlation: call.header.correlation,
            labels: call.ids,
            started: call.started,
            // The hold time counts from now, whatever time the host passed to this cycle.
            since: self.shared.clock.raw(),
            bytes: call.payload.len() as u32,
            port: call.port as u16,
            is_brief: false,
            tell: Tell::No,
        }
    }

    /// Hands held messages of a name over, in order, as far as there is room. Nothing is handed over while messages to
    /// another place are unanswered, or to a place from which messages have come back.
    pub(in crate::router) fn flush_elsewhere(&mut self, hash: NameHash, at: Elsewhere) {
        // First of all: it may hand over what is held for this name.
        self.end_old(at.slot);
        let earlier = self.unanswered(hash);
        let gone = self.state.holds.gone_from(hash);
        let waits =
            earlier.is_some_and(|earlier| (earlier != at && !mutant("link-flush-moved")) || gone.is_some());
        if waits && earlier != Some(at) {
            self.wait_for_answers(hash);
        }
        if waits || (gone == Some(at) && !mutant("link-gone-again")) {
            return;
        }
        let mut payload = std::mem::take(&mut self.state.scratch);
        let (name, length) = self.state.holds.name(hash);
        let name = name.get(..length).unwrap_or_default();
        while let Some(held) = self.state.holds.front(hash, &mut payload) {
            let leaving =
                Leaving { hash, name, may_hold: !held.is_brief, is_room: false, sender: held.sender };
            let fill = |out: &mut [u8]| out.copy_from_slice(&payload);
            match self.hand_over(&held, at, &leaving, payload.len(), &fill) {
                Ok(()) => {
                    self.state.holds.pop_elsewhere(hash);
                    if let Some(slot) = self.shared.clients.slot(held.sender.index()) {
                        slot.unhold_one();
                    }
                }
                Err(Stays::Never(reason)) => {
                    let tell = std::mem::replace(&mut self.state.tell, held.tell);
                    self.end_first(hash, Outcome::Failed(reason));
                    self.state.tell = tell;
                }
                Err(Stays::Full) => {
                    self.state.holds.stall(hash);
                    break;
                }
                Err(Stays::Down) => break,
            }
        }
        self.state.scratch = payload;
        self.count_held();
    }

    /// Writes a message into the gateway's ring and keeps it. [`end_old`](Self::end_old) comes first.
    fn hand_over(
        &mut self,
        held: &Held,
        at: Elsewhere,
        leaving: &Leaving<'_>,
        length: usize,
        fill: &dyn Fn(&mut [u8]),
    ) -> Result<(), Stays> {
        let shared = self.shared;
        let Some(directory) = shared.directory() else { return Err(Stays::Down) };
        let ((epoch, up), Some(port)) = (directory.link(at.slot), directory.port()) else {
            return Err(Stays::Down);
        };
        if !up && !mutant("link-down-used") {
            return Err(Stays::Down);
        }
        let options = directory.options();
        let clients = shared.config.count(Key::MaxClients);
        let remotes = self.state.remotes.get_or_insert_with(|| Box::new(Remotes::new(options, clients)));
        if remotes.is_empty() && remotes.options() != options {
            remotes.renew(options); // Another gateway has followed.
        }
        if remotes.is_old(port, at.slot, epoch) {
            return Err(Stays::Down); // Lost since `end_old`: the record of the loss is on its way.
        }
        let name = leaving.name.len();
        let bytes_under_way = name + length;
        let kept = if leaving.may_hold { bytes_under_way } else { name };
        remotes.port = port;
        if let Some(link) = remotes.links.get_mut(usize::from(at.slot)) {
            link.epoch = epoch;
        }
        if bytes_under_way as u64 > u64::from(remotes.options().link_bytes) {
            return Err(Stays::Never(Failed::TooLarge));
        }
        if !remotes.has_room(at.slot, leaving.sender, bytes_under_way) {
            return Err(Stays::Full);
        }
        let header = DeliveryHeader {
            kind: delivery_kind::ELSEWHERE,
            flags: if leaving.is_room { delivery_flag::ROOM } else { 0 },
            sender: held.sender.0,
            stamp: held.stamp,
            correlation: held.correlation,
            message_type: u32::from(held.labels.0.0),
            recipients: 1,
        };
        let write = |out: &mut [u8]| {
            Head { at, epoch, name }.write(out);
            if let Some((text, payload)) =
                out.get_mut(HEAD_BYTES..).and_then(|rest| rest.split_at_mut_checked(name))
            {
                text.copy_from_slice(leaving.name);
                fill(payload);
            }
        };
        self.see_to(port);
        let whole = HEAD_BYTES + name + length;
        let way = (self.state.worker, port);
        let Some(Some(egress)) = self.state.egress.get_mut(port) else { return Err(Stays::Down) };
        let emitted = match egress.emit(&header, 0, whole, write) {
            Err(Rejected::TooLarge) => match shared.payloads.fill(whole, write) {
                Some(payload) => egress.emit_beside(&shared.payloads, way, &header, &[0], payload),
                None => Err(Rejected::PayloadsFull),
            },
            emitted => emitted,
        };
        let waits = emitted.map_err(|rejected| match rejected {
            Rejected::PayloadsFull => Stays::Never(Failed::PayloadsFull),
            Rejected::TooLarge => Stays::Never(Failed::TooLarge),
            Rejected::Full => Stays::Full,
        });
        if waits == Err(Stays::Full)
            && let Some(remotes) = self.state.remotes.as_mut()
        {
            remotes.ring_full = true;
        }
        let waits = waits?;
        self.shard().emitted.add(&mut self.state.writer, 1);
        self.sent(leaving.sender.0, port, 1, waits);
        let mut bytes = std::mem::take(&mut self.state.kept);
        bytes.clear();
        bytes.extend_from_slice(leaving.name);
        if leaving.may_hold {
            bytes.resize(kept, 0);
            fill(bytes.get_mut(name..).unwrap_or_default());
        }
        let sent = Sent {
            held: *held,
            hash: leaving.hash,
            at,
            epoch,
            part_of: leaving.sender,
            is_room: leaving.is_room,
            may_hold: leaving.may_hold,
            name_length: name as u16,
            bytes: bytes_under_way as u32,
            length: 0,
            first_block: END,
            next: END,
        };
        if let Some(remotes) = self.state.remotes.as_mut() {
            remotes.push(sent, &bytes);
        }
        self.state.kept = bytes;
        self.count_held();
        Ok(())
    }

    /// Ends what was handed over in an earlier epoch of a link, or to an earlier gateway: nobody answers it any more. Its end
    /// may hand held messages over, of any name.
    fn end_old(&mut self, slot: u8) {
        let Some(directory) = self.shared.directory() else { return };
        if let (Some(remotes), Some(port)) = (self.state.remotes.as_mut(), directory.port())
            && remotes.port != port
        {
            remotes.port = port; // First: what is handed over meanwhile goes there.
            return self.end_all_old();
        }
        self.end_epochs_before(slot, directory.link(slot).0);
    }

    /// As [`end_old`](Self::end_old), of all links.
    fn end_all_old(&mut self) {
        let Some(directory) = self.shared.directory() else { return };
        for slot in self.links_in_use().iter() {
            self.end_epochs_before(slot, directory.link(slot).0);
        }
    }

    fn end_epochs_before(&mut self, slot: u8, epoch: u32) {
        let oldest = |worker: &Self| worker.state.remotes.as_ref()?.oldest_epoch(slot);
        if oldest(self).is_none_or(|oldest| oldest == epoch) {
            return;
        }
        let reject = Some(Reject::Failed(Failed::LinkLost as u16));
        while oldest(self).is_some_and(|oldest| oldest != epoch) && self.end_oldest(slot, reject) {}
        // An answer that is still on its way is about what has ended now.
        let link = self.state.remotes.as_mut().and_then(|remotes| remotes.links.get_mut(usize::from(slot)));
        link.into_iter().for_each(|link| link.epoch = epoch);
        self.go_on();
    }

    fn links_in_use(&self) -> LinkSet {
        self.state.remotes.as_ref().map_or_else(LinkSet::default, |remotes| remotes.in_use())
    }

    fn link_epoch(&self, slot: u8) -> u32 {
        let link = self.state.remotes.as_ref().and_then(|remotes| remotes.links.get(usize::from(slot)));
        link.map_or(0, |link| link.epoch)
    }

    /// Sends what a handler has for a name to the machine where the name is. It ends here, whatever becomes of it there.
    #[cold]
    pub(in crate::router) fn send_elsewhere(
        &mut self,
        call: &HandlerCall<'_>,
        (hash, name): (NameHash, &[u8]),
        bytes: &[u8],
    ) -> Result<(), Failed> {
        let Some(at) = self.shared.elsewhere(hash) else {
            if self.may_be_elsewhere() {
                self.ask(hash, name); // For the next time: these bytes are not held.
            }
            return Err(Failed::UnknownRecipient);
        };
        self.end_old(at.slot);
        if self.unanswered(hash).is_some_and(|earlier| earlier != at) {
            return Err(Failed::Moved);
        }
        if let Some(reason) = self.held_before(hash, at) {
            return Err(reason);
        }
        let held = copy_of(&call.delivery(), call.ids, bytes.len());
        let leaving = Leaving { hash, name, may_hold: false, is_room: false, sender: call.client };
        let fill = |out: &mut [u8]| out.copy_from_slice(bytes);
        self.hand_over(&held, at, &leaving, bytes.len(), &fill).map_err(Stays::failed)
    }

    /// Sends a room's message to the machines that have members of the room. It ends here, whatever becomes of it there.
    #[cold]
    pub(in crate::router) fn send_to_room_elsewhere(
        &mut self,
        header: &DeliveryHeader,
        ids: SeriesIds,
        name: &[u8],
        length: usize,
        fill: &dyn Fn(&mut [u8]),
    ) {
        let shared = self.shared;
        let Some(directory) = shared.directory() else { return };
        let hash = shared.clients.names().hash(name);
        for slot in directory.interest(hash).iter() {
            self.end_old(slot);
            let held = copy_of(header, ids, length);
            let leaving =
                Leaving { hash, name, may_hold: false, is_room: true, sender: ClientId(header.sender) };
            let at = Elsewhere { slot, revision: 0 };
            if self.hand_over(&held, at, &leaving, length, fill).is_err() {
                self.shard().emitted.add(&mut self.state.writer, 1);
                self.undeliverable(Undeliverable::Link, 1);
            }
        }
    }

    /// Another machine has answered: a record ANSWERED of the gateway.
    pub(in crate::router) fn answered(&mut self, record: &[u8]) -> Result<(), Corrupt> {
        let answer = Answer::read(record).ok_or(Corrupt)?;
        let is_present = self.link_epoch(answer.link.slot) == answer.link.epoch || mutant("link-old-answer");
        if !is_present || self.state.remotes.is_none() {
            return Ok(()); // Its messages have ended as lost.
        }
        let mut rejects = answer.rejects().peekable();
        for place in 0..answer.count {
            let reject = rejects.next_if(|(at, _)| *at == place).map(|(_, reject)| reject);
            if !self.end_oldest(answer.link.slot, reject) {
                return Err(Corrupt);
            }
        }
        self.go_on();
        Ok(())
    }

    /// A link is lost: a record LINK_LOST of the gateway.
    pub(in crate::router) fn link_lost(&mut self, record: &[u8]) -> Result<(), Corrupt> {
        let link = Answer::read(record).ok_or(Corrupt)?.link;
        self.end_link(link.slot, link.epoch, Failed::LinkLost);
        Ok(())
    }

    /// Ends the messages that were handed over to a gateway that has left. Another one may be there already.
    pub(in crate::router) fn leave_gateway(&mut self) {
        self.end_all_old();
    }

    /// Ends all messages under way, because the worker ends.
    pub(in crate::router) fn end_links(&mut self, reason: Failed) {
        for slot in self.links_in_use().iter() {
            while let Some(epoch) = self.state.remotes.as_ref().and_then(|remotes| remotes.oldest_epoch(slot))
            {
                self.end_link(slot, epoch, reason);
            }
        }
    }

    /// Ends the messages of one epoch of a link. Those behind them may be of a later one.
    fn end_link(&mut self, slot: u8, epoch: u32, reason: Failed) {
        let held = reason == Failed::LinkLost && mutant("link-lost-held");
        let reject = Some(if held { Reject::Gone } else { Reject::Failed(reason as u16) });
        while self
            .state
            .remotes
            .as_ref()
            .and_then(|remotes| remotes.oldest_epoch(slot))
            .is_some_and(|oldest| oldest == epoch || mutant("link-lost-later"))
            && self.end_oldest(slot, reject)
        {}
        self.go_on();
    }

    /// Hands over what has waited for answers, or for room on a link or in a sender's part of all. Of the names that wait for
    /// room only a few are tried in vain, so that an answer costs what it makes possible. The others have their turn with the
    /// next answers: as long as something is under way, one comes; with nothing under way all are tried that find room.
    fn go_on(&mut self) {
        while let Some(hash) = self.state.remotes.as_mut().and_then(|remotes| remotes.answered.pop()) {
            self.name_connected(hash);
        }
        let mut tries = TRIES;
        while tries > 0
            && let Some(hash) = self.state.holds.pop_stalled()
        {
            let before = self.state.holds.messages();
            self.name_connected(hash);
            if self.state.holds.messages() == before {
                let is_empty = self.state.remotes.as_ref().is_none_or(|remotes| remotes.is_empty());
                tries = if is_empty { 0 } else { tries - 1 };
            }
        }
        self.count_held();
    }

    /// Ends the oldest message of a link, or puts it back into its hold queue. False if there is none.
    fn end_oldest(&mut self, slot: u8, reject: Option<Reject>) -> bool {
        let shared = self.shared;
        let mut kept = std::mem::take(&mut self.state.kept);
        let popped = self.state.remotes.as_mut().and_then(|remotes| remotes.pop(slot, &mut kept));
        let Some(sent) = popped else {
            self.state.kept = kept;
            return false;
        };
        let (name, payload) = kept.split_at_checked(usize::from(sent.name_length)).unwrap_or_default();
        let sender = shared.clients.slot(sent.held.sender.index()).filter(|_| sent.held.sender != NOBODY);
        let outcome = match reject {
            None => Some(Outcome::Ok),
            Some(Reject::Expired) => Some(Outcome::Expired),
            Some(Reject::Lost) => Some(Outcome::Failed(Failed::LinkLost)),
            Some(Reject::Failed(number)) => {
                let reason = Failed::ALL.get(usize::from(number)).copied();
                Some(Outcome::Failed(reason.unwrap_or(Failed::BadRecord)))
            }
            Some(Reject::Gone) if !sent.may_hold || mutant("link-gone-lost") => {
                Some(Outcome::Failed(Failed::UnknownRecipient))
            }
            Some(Reject::Gone) => {
                // Relaxed: the worker's own last store, or a count that need not be exact.
                let of_sender = sender.map_or(0, |slot| slot.held.load(Relaxed));
                if self.state.holds.has_room(sent.hash, of_sender, payload.len()) {
                    sender.inspect(|slot| slot.hold_one());
                    let mut held = sent.held;
                    if mutant("link-time-anew") {
                        held.since = shared.clock.raw();
                    }
                    self.state.holds.put_back(sent.hash, name, (held, payload), sent.at);
                    None
                } else {
                    Some(Outcome::Failed(Failed::HoldFull))
                }
            }
        };
        self.state.kept = kept;
        if let Some(outcome) = outcome.filter(|_| sender.is_some()) {
            let tell = std::mem::replace(&mut self.state.tell, sent.held.tell);
            self.end_kept(&sent.held, outcome);
            self.state.tell = tell;
        }
        // All answers are here, and messages wait for them. They go on when the caller has ended what it has to end.
        if self.unanswered(sent.hash).is_none()
            && self.state.holds.holds_for(sent.hash)
            && let Some(remotes) = self.state.remotes.as_mut()
        {
            remotes.answered.push(sent.hash);
        }
        true
    }

    /// Writes how many messages are held or under way.
    pub(in crate::router) fn count_held(&mut self) {
        let under_way = self.state.remotes.as_ref().map_or(0, |remotes| remotes.messages());
        let count = (self.state.holds.messages() + under_way) as u64;
        let shard = self.shard();
        shard.held.set(&mut self.state.writer, count);
        shard.held_maximum.raise(&mut self.state.writer, count);
    }
}
