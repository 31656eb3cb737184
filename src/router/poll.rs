//! A port's polling half: takes deliveries from every worker's ring and hands them out as events. One owner at a
//! time; it never waits.

use super::pair::{give_back, holds_credit};
use super::shared::Shared;
use crate::clients::{ClientId, Phase};
use crate::error::{CloseReason, Error, Refused, Undeliverable};
use crate::metrics::{PollShard, Writer};
use crate::park::WakeWord;
use crate::ring::record::{Delivery, delivery_kind};
use crate::ring::{Consumer, State};
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
}

/// The ring from one worker.
#[derive(Debug)]
struct WayOut {
    ring: Consumer,
    /// The worker has left, and the submitting half has been told.
    left: bool,
}

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
            ways: rings.into_iter().map(|ring| WayOut { ring, left: false }).collect(),
            wake,
            armed: false,
            first: 0,
            writer: Writer::new(),
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
        let workers = self.ways.len();
        self.first = (self.first + 1) % workers.max(1);
        for offset in 0..workers {
            let worker = (self.first + offset) % workers;
            let way = &mut self.ways[worker];
            // Closed is looked at before the tail: what was published before closing is then seen.
            let closed = way.ring.memory().is_closed();
            if way.ring.refresh().is_err() {
                continue; // Never: a worker wrote it.
            }
            while taken.count < limit {
                let Ok(Some(record)) = way.ring.next() else { break };
                taken.count += 1;
                hand_out(shared, shard, &mut self.writer, record.bytes, &mut each);
            }
            taken.open |= !closed || way.ring.has_more();
            if closed && !way.left && shared.pair(worker, self.index).state() == State::Detaching {
                way.left = true;
                taken.left |= 1 << worker;
            }
        }
        taken
    }

    /// Gives back the ring space of what was handed out, and wakes workers that wait for it.
    pub(super) fn release(&mut self) {
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

    /// See [`Port::acknowledge`](super::Port::acknowledge).
    pub(super) fn acknowledge(&mut self, client: ClientId, messages: u32, bytes: u32) {
        let Some(slot) = self.shared.clients.get(client) else { return };
        if usize::from(slot.place().port) != self.index || slot.phase() == Phase::Closed {
            return;
        }
        let (messages, bytes) = slot.acknowledge(messages, bytes);
        let shard = &self.shared.ports[self.index].poll;
        shard.acknowledged.add(&mut self.writer, u64::from(messages));
        shard.bytes_out.add(&mut self.writer, u64::from(bytes));
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
        self.ways.iter().any(|way| way.ring.has_more() || (!way.left && way.ring.memory().is_closed()))
    }

    /// Whether every worker has left and nothing is there any more.
    pub(super) fn is_over(&self) -> bool {
        self.ways.iter().all(|way| way.left && !way.ring.has_more())
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

    /// Counts deliveries that nobody will take.
    pub(super) fn give_up(&mut self, recipients: u64) {
        let shard = &self.shared.ports[self.index].poll;
        shard.undeliverable[Undeliverable::PortGone as usize].add(&mut self.writer, recipients);
    }
}

/// Hands one record's events out, or counts why not.
fn hand_out(
    shared: &Shared,
    shard: &PollShard,
    writer: &mut Writer,
    record: &[u8],
    each: &mut impl FnMut(Event<'_>),
) {
    let Some((header, recipients, payload)) = Delivery::read(record) else { return };
    for recipient in recipients.iter() {
        let client = ClientId(recipient);
        let slot = shared.clients.get(client);
        let open = |phase| matches!(phase, Phase::Open | Phase::Closing);
        let Some(slot) = slot.filter(|slot| open(slot.phase()) || mutant("deliver-after-closed")) else {
            give_back(record, &shared.clients);
            shard.undeliverable[Undeliverable::Closed as usize].add(writer, 1);
            continue;
        };
        if holds_credit(header.kind) {
            slot.hand_out(payload.len() as u32);
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
}
