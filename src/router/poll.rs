//! A port's polling half: takes deliveries from every worker's ring and hands them out as events. One owner at a
//! time; it never waits.

use super::pair::{give_back_from, give_back_one, holds_credit, payload_bytes};
use super::payload::{Payload, read_reference};
use super::shared::Shared;
use crate::clients::{ClientId, Outstanding, Phase, Slot};
use crate::error::{CloseReason, Error, Failed, Refused, Undeliverable};
use crate::metrics::{PollShard, Writer};
use crate::park::WakeWord;
use crate::ring::record::{Delivery, delivery_flag, delivery_kind};
use crate::ring::{Consumer, Corrupt, Record, State};
use crate::sync::{Arc, mutant, wake_fence};
use std::time::Duration;

/// What a poll hands out. `token` is the value that the host gave the client at connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Write these bytes to the client, then acknowledge them.
    Message(Message<'a>),
    /// What the client sent to a name has expired, since nobody of that name connected. Told once per name;
    /// acknowledge it like a message of `name`'s length. With an empty name: the message has waited too long to be
    /// handled, and was submitted with [`SubmitOptions::tell_expired`](super::SubmitOptions::tell_expired).
    Expired {
        /// Who sent it.
        client: ClientId,
        /// The sender's token.
        token: u64,
        /// The name that did not connect; empty where the message itself came too late.
        name: &'a [u8],
        /// The submitter's value of the first message.
        correlation: u64,
    },
    /// What the client sent was refused: the recipient's credit is used up and its policy is
    /// [`CreditPolicy::Refuse`](crate::clients::CreditPolicy::Refuse). Takes no credit: nothing to acknowledge.
    Refused {
        /// Who sent it.
        client: ClientId,
        /// The sender's token.
        token: u64,
        /// Who could not take it.
        recipient: ClientId,
        /// The submitter's value.
        correlation: u64,
        /// Why.
        reason: Failed,
    },
    /// The client has left its name: [`Port::release_name`](super::Port::release_name) if others may have it. It stays connected.
    Left {
        /// Which.
        client: ClientId,
        /// Its token.
        token: u64,
    },
    /// Close this client's connection, then call [`Port::disconnect`](super::Port::disconnect).
    Close {
        /// Which.
        client: ClientId,
        /// Its token.
        token: u64,
        /// Why.
        reason: CloseReason,
    },
    /// The last event for this client: what its token points at may be freed.
    Closed {
        /// Which.
        client: ClientId,
        /// Its token.
        token: u64,
    },
}

/// A message for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The recipient.
    pub client: ClientId,
    /// The recipient's token.
    pub token: u64,
    /// Who sent it; `ClientId(0)` for what a host sent itself.
    pub sender: ClientId,
    /// The submitter's value.
    pub correlation: u64,
    /// The bytes to write.
    pub payload: &'a [u8],
}

#[derive(Debug)]
pub(super) struct Poll {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    ways: Vec<WayOut>,
    wake: Arc<WakeWord>,
    armed: bool,
    /// Where the next look starts, so that no worker is always first.
    first: usize,
    writer: Writer,
    /// Payloads beside the rings that were handed out: views of them last as long as those of the rings.
    views: Vec<Payload>,
}

/// The ring from one worker.
#[derive(Debug)]
struct WayOut {
    ring: Consumer,
    /// The worker has left, and the submitting half has been told.
    left: bool,
    /// Recipients of the next record that it was handed out to already: a limit came in its middle.
    handed: usize,
    /// Nothing in the ring can be trusted any more.
    corrupt: bool,
    /// The payload of that record, if it lies beside the ring.
    beside: Option<Payload>,
}

impl WayOut {
    fn has_more(&self) -> bool {
        !self.corrupt && self.ring.has_more()
    }
}

/// Bytes that a port's polling half has for each worker.
pub(super) const PAIR_BYTES: u64 = size_of::<WayOut>() as u64;

/// What a look at the rings came to.
pub(super) struct Taken {
    pub(super) count: usize,
    /// More may come.
    pub(super) open: bool,
    /// A bit for each worker that has left since the last look: its ring is to be settled.
    pub(super) left: u64,
}

impl Taken {
    /// What the host is told: how many, or that nothing will come any more.
    pub(super) fn result(&self) -> Result<usize, Error> {
        if self.count == 0 && !self.open {
            return Err(Error::Refused(Refused::Closed));
        }
        Ok(self.count)
    }
}

impl Poll {
    pub(super) fn new(shared: &Arc<Shared>, index: usize, rings: Vec<Consumer>, wake: Arc<WakeWord>) -> Self {
        Self {
            shared: Arc::clone(shared),
            index,
            ways: rings
                .into_iter()
                .map(|ring| WayOut { ring, left: false, handed: 0, corrupt: false, beside: None })
                .collect(),
            wake,
            armed: false,
            first: 0,
            writer: Writer::new(),
            views: Vec::new(),
        }
    }

    /// Hands out up to `limit` deliveries; their bytes stay until [`release`](Self::release).
    pub(super) fn take(&mut self, limit: usize, mut each: impl FnMut(Event<'_>)) -> Taken {
        if std::mem::take(&mut self.armed) {
            self.wake.disarm();
            self.wake.drain();
        }
        self.release();
        let shared = &self.shared;
        let shard = &shared.ports[self.index].poll;
        shard.polls.add(&mut self.writer, 1);
        let mut taken = Taken { count: 0, open: false, left: 0 };
        // One reading for all that is handed out, and none where nothing is sampled.
        let mut now = None;
        let workers = self.ways.len();
        self.first = (self.first + 1) % workers.max(1);
        for offset in 0..workers {
            let worker = (self.first + offset) % workers;
            let way = &mut self.ways[worker];
            // Closed is looked at before the tail: what was published before closing is then seen.
            let closed = way.ring.memory().is_closed();
            let mut readable = way.ring.refresh().is_ok();
            while readable && taken.count < limit && !way.corrupt {
                let before = way.ring.position();
                let record = match way.ring.next() {
                    Ok(Some(record)) => record,
                    Ok(None) => break,
                    Err(Corrupt) => {
                        readable = false;
                        break;
                    }
                };
                let beside = match (way.beside.take(), reference(&record)) {
                    (Some(payload), _) => Beside::There(payload),
                    (None, Some(number)) => shared.payloads.take(number).map_or(Beside::Lost, Beside::There),
                    (None, None) => Beside::No,
                };
                let range = way.handed..way.handed.saturating_add(limit - taken.count);
                let handed = hand_out(
                    shared,
                    shard,
                    &mut self.writer,
                    (record.bytes, &beside),
                    range,
                    &mut now,
                    &mut each,
                );
                taken.count += handed.events;
                way.handed = 0;
                if let Beside::There(payload) = beside {
                    way.beside = handed.more.then(|| payload.clone());
                    self.views.push(payload);
                }
                if handed.more {
                    way.handed = handed.end;
                    way.ring.rewind(before);
                    break;
                }
            }
            if !readable && !std::mem::replace(&mut way.corrupt, true) {
                // A worker wrote it; somebody else has written over it since.
                shard.corrupt_rings.add(&mut self.writer, 1);
            }
            taken.open |= !closed || way.has_more();
            if closed && !way.left && shared.pair(worker, self.index).state() == State::Detaching {
                way.left = true;
                taken.left |= 1 << worker;
            }
        }
        taken
    }

    /// Gives back the ring space of what was handed out, and wakes workers that wait for it.
    pub(super) fn release(&mut self) {
        self.views.clear();
        let mut released = 0u64;
        for (worker, way) in self.ways.iter_mut().enumerate() {
            released |= u64::from(way.ring.release()) << worker;
        }
        if released == 0 {
            return;
        }
        wake_fence("port-release-fence");
        for (worker, way) in self.ways.iter().enumerate() {
            if released & (1 << worker) != 0 && way.ring.memory().needs_space() {
                self.shared.workers[worker].wake.wake_if_asleep();
            }
        }
    }

    /// Takes the payload of a delivery that another language has taken from its ring.
    #[cfg(not(corelane_loom))]
    pub(super) fn take_payload(&mut self, number: u64) -> Option<&[u8]> {
        self.views.push(self.shared.payloads.take(number)?);
        self.views.last().map(Payload::as_slice)
    }

    #[cfg(not(corelane_loom))]
    pub(super) fn release_payloads(&mut self) {
        self.views.clear();
    }

    /// See [`Port::acknowledge_batch`](super::Port::acknowledge_batch).
    pub(super) fn acknowledge_batch(&mut self, written: impl IntoIterator<Item = (ClientId, u32, u32)>) {
        let shared = &self.shared;
        let shard = &shared.ports[self.index].poll;
        let (mut all_messages, mut all_bytes) = (0, 0);
        self.writer.controlled = shared.controls.now();
        let mut now = None;
        for (client, messages, bytes) in written {
            let Some(slot) = shared.clients.on(client, self.index) else { continue };
            if slot.phase() == Phase::Closed {
                continue;
            }
            let given = slot.acknowledge(messages, bytes);
            all_messages += u64::from(given.messages);
            all_bytes += u64::from(given.bytes);
            if let Some(line) = shared.clients.line(client).filter(|_| self.writer.controlled.detailed) {
                line.sent(self.writer.controlled.epoch, given.bytes.into());
            }
            if let Some(since) = given.sampled_at {
                let now = *now.get_or_insert_with(|| shared.clock.raw());
                shard.write_time.record(&mut self.writer, shared.clock.nanoseconds(since, now));
            }
        }
        shard.acknowledged.add(&mut self.writer, all_messages);
        shard.bytes_out.add(&mut self.writer, all_bytes);
    }

    /// See [`Port::rebind`](super::Port::rebind).
    pub(super) fn rebind(&mut self, client: ClientId, token: u64) -> Result<(), Error> {
        let slot = self.shared.clients.own(client, self.index, Error::RebindElsewhere)?;
        if slot.phase() != Phase::Open {
            return Err(Error::StaleClient);
        }
        if !mutant("rebind-old-token") {
            slot.rebind(token);
        }
        Ok(())
    }

    /// See [`Port::outstanding`](super::Port::outstanding).
    pub(super) fn outstanding(&self, client: ClientId) -> Result<Outstanding, Error> {
        let slot = self.shared.clients.own(client, self.index, Error::WrongPort)?;
        match slot.phase() {
            Phase::Open | Phase::Closing => Ok(slot.outstanding()),
            Phase::Closed | Phase::Free => Err(Error::StaleClient),
        }
    }

    pub(super) fn wake(&self) -> &Arc<WakeWord> {
        &self.wake
    }

    pub(super) fn descriptor(&self) -> i32 {
        self.wake.raw_descriptor().unwrap_or(-1)
    }

    /// Announces sleep; the caller re-checks with [`has_news`](Self::has_news) behind it.
    pub(super) fn arm(&mut self) {
        self.armed = true;
        self.wake.arm();
    }

    /// Whether anything has come since the last look.
    pub(super) fn has_news(&self) -> bool {
        self.ways.iter().any(|way| way.has_more() || (!way.left && way.ring.memory().is_closed()))
    }

    /// Whether every worker has left and nothing is there any more.
    pub(super) fn is_over(&self) -> bool {
        self.ways.iter().all(|way| way.left && !way.has_more())
    }

    /// The ring from a worker.
    #[cfg(not(corelane_loom))]
    pub(super) fn memory(&self, worker: usize) -> Option<&crate::ring::Memory> {
        self.ways.get(worker).map(|way| &**way.ring.memory())
    }

    /// Sleeps if `sleep`, and is awake afterwards.
    pub(super) fn wait(&mut self, sleep: bool, timeout: Duration) {
        if sleep {
            self.wake.sleep(Some(timeout));
        }
        self.armed = false;
        self.wake.disarm();
        self.wake.drain();
    }

    /// Gives up what is left of the records that were handed out in part, so that who settles the rings finds only whole
    /// ones: what was handed out is neither given back again nor counted twice.
    pub(super) fn give_up_parts(&mut self) {
        let mut rest = 0;
        for way in &mut self.ways {
            let handed = std::mem::take(&mut way.handed);
            if handed > 0
                && !mutant("room-partial-release")
                && let Ok(Some(record)) = way.ring.next()
            {
                rest += give_back_from(record.bytes, handed, &self.shared.clients);
            }
        }
        self.give_up(rest);
    }

    /// Counts deliveries that nobody will take.
    pub(super) fn give_up(&mut self, recipients: u64) {
        let shard = &self.shared.ports[self.index].poll;
        shard.undeliverable[Undeliverable::PortGone as usize].add(&mut self.writer, recipients);
    }
}

/// A delivery's payload outside the rings.
enum Beside {
    No,
    There(Payload),
    /// The record's number leads nowhere.
    Lost,
}

/// The number of a delivery's payload, if it lies outside the ring.
#[inline]
fn reference(record: &Record<'_>) -> Option<u64> {
    if record.kind != delivery_kind::MESSAGE || record.flags & delivery_flag::OWNED == 0 {
        return None;
    }
    let number = Delivery::read(record.bytes).and_then(|(_, _, payload)| read_reference(payload));
    Some(number.map_or(0, |(number, _)| number))
}

/// How far a record was handed out.
struct Handed {
    /// How much of the limit it took.
    events: usize,
    /// The first recipient that it was not handed out to.
    end: usize,
    /// There is one.
    more: bool,
}

/// Hands the events of one record's recipients in `range` out, or counts why not. `now` is the poll's time, once anything
/// has asked for it.
#[inline]
fn hand_out(
    shared: &Shared,
    shard: &PollShard,
    writer: &mut Writer,
    (record, beside): (&[u8], &Beside),
    range: std::ops::Range<usize>,
    now: &mut Option<u64>,
    each: &mut impl FnMut(Event<'_>),
) -> Handed {
    let read = Delivery::read(record).filter(|(header, ..)| header.recipients > 0);
    let Some((header, recipients, payload)) = read else {
        shard.bad_records.add(writer, 1);
        return Handed { events: 1, end: 0, more: false };
    };
    let all = header.recipients as usize;
    let end = range.end.min(all);
    let start = if mutant("room-cursor-lost") { 0 } else { range.start };
    let (payload, lost) = match beside {
        Beside::No => (payload, None),
        Beside::There(payload) => (payload.as_slice(), None),
        Beside::Lost => (&[][..], Some(payload_bytes(&header, payload))),
    };
    for recipient in recipients.iter().take(end).skip(start) {
        let client = ClientId(recipient);
        if let Some(bytes) = lost {
            give_back_one(header.kind, client, bytes, &shared.clients);
            shard.undeliverable[Undeliverable::PayloadLost as usize].add(writer, 1);
            continue;
        }
        let slot = shared.clients.get(client);
        let open = |phase| matches!(phase, Phase::Open | Phase::Closing);
        let Some(slot) = slot.filter(|slot| open(slot.phase()) || mutant("deliver-after-closed")) else {
            give_back_one(header.kind, client, payload.len(), &shared.clients);
            shard.undeliverable[Undeliverable::Closed as usize].add(writer, 1);
            continue;
        };
        hand_out_to(shared, shard, writer, (client, slot), &header, payload, now, each);
    }
    Handed { events: end.saturating_sub(range.start), end, more: end < all }
}

/// Hands one event out.
#[inline]
#[expect(clippy::too_many_arguments, reason = "one event's parts, passed once")]
fn hand_out_to(
    shared: &Shared,
    shard: &PollShard,
    writer: &mut Writer,
    (client, slot): (ClientId, &Slot),
    header: &Delivery,
    payload: &[u8],
    now: &mut Option<u64>,
    each: &mut impl FnMut(Event<'_>),
) {
    if holds_credit(header.kind) {
        let outstanding =
            slot.hand_out(payload.len() as u32, || *now.get_or_insert_with(|| shared.clock.raw()));
        shard.outstanding_messages_maximum.raise(writer, u64::from(outstanding.0));
        shard.outstanding_bytes_maximum.raise(writer, u64::from(outstanding.1));
    }
    let token = slot.token();
    let event = match header.kind {
        delivery_kind::MESSAGE => Event::Message(Message {
            client,
            token,
            sender: ClientId(header.sender),
            correlation: header.correlation,
            payload,
        }),
        delivery_kind::EXPIRED => {
            Event::Expired { client, token, name: payload, correlation: header.correlation }
        }
        delivery_kind::LEFT => Event::Left { client, token },
        delivery_kind::REFUSED => Event::Refused {
            client,
            token,
            recipient: ClientId(header.sender),
            correlation: header.correlation,
            reason: Failed::ALL.get(usize::from(header.flags)).copied().unwrap_or(Failed::Credit),
        },
        delivery_kind::CLOSE => {
            let reason = CloseReason::ALL.get(usize::from(header.flags));
            Event::Close { client, token, reason: reason.copied().unwrap_or(CloseReason::Credit) }
        }
        _ => Event::Closed { client, token },
    };
    shard.consumed.add(writer, 1);
    if matches!(event, Event::Closed { .. }) {
        shared.clients.end_close(client);
    }
    each(event);
}
