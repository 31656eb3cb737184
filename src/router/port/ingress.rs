//! The producing ends of a port's rings: claim, write, commit, in the ring or beside it. A part of the submitting half.

use crate::clients::SlotList;
use crate::error::Refused;
use crate::ring::record::{INGRESS_BYTES, IngressHeader, ingress_flag};
use crate::ring::{Producer, PushError};
use crate::router::pair::{PairCounts, closed_reason};
use crate::router::payload::{Owned, Payloads, Way};
use crate::router::port::link::PortLink;
use crate::sync::Arc;

#[derive(Debug)]
pub(in crate::router) struct IngressSenders {
    /// The port.
    pub(in crate::router) index: usize,
    /// By worker.
    pub(in crate::router) ways: Vec<IngressSender>,
    pub(in crate::router) link: Arc<PortLink>,
}

/// The ring to one worker.
#[derive(Debug)]
pub(in crate::router) struct IngressSender {
    pub(in crate::router) ring: Producer,
    counts: Arc<PairCounts>,
    /// Disconnects that found this ring full.
    pub(in crate::router) waiting: SlotList,
    /// Something was committed since the last publication.
    pub(in crate::router) dirty: bool,
    /// The worker has left, and what it did not take has been settled.
    pub(in crate::router) settled: bool,
    /// Records that the worker had taken when this side last looked.
    popped: u64,
}

/// Bytes that a port's submitting half has for each worker.
pub(in crate::router) const PAIR_BYTES: u64 = size_of::<IngressSender>() as u64;

impl IngressSender {
    pub(in crate::router) fn new(ring: Producer, counts: Arc<PairCounts>, settled: bool) -> Self {
        Self { ring, counts, waiting: SlotList::new(), dirty: false, settled, popped: 0 }
    }

    /// Whether one more message may wait here; otherwise where the ring's head was when there was no room.
    #[inline]
    fn has_place(&mut self, most: u64) -> Result<(), u64> {
        if self.ring.pushed().saturating_sub(self.popped) < most {
            return Ok(());
        }
        // The worker's own line, looked at only where the last look does not suffice. The head first: the worker writes it
        // last, so that whoever waits for it to move misses nothing.
        let head = self.ring.consumed();
        self.popped = self.ring.memory().traffic().1;
        if self.ring.pushed().saturating_sub(self.popped) < most { Ok(()) } else { Err(head) }
    }
}

/// What a message is given to a port as.
pub(in crate::router) enum Bytes<'a, 'b> {
    /// To be copied.
    Copied(&'a [u8]),
    /// To be taken, if the message is accepted. Its length was asked for once.
    Given(&'b mut Option<Owned>, usize),
}

impl Bytes<'_, '_> {
    pub(in crate::router) fn len(&self) -> usize {
        match self {
            Self::Copied(bytes) => bytes.len(),
            Self::Given(_, length) => *length,
        }
    }
}

impl IngressSenders {
    /// Claims, writes and commits one record; not yet published. Where there is no room the caller calls
    /// [`stall`](Self::stall), once it has said what waits for it.
    #[inline]
    fn push(&mut self, worker: usize, header: &IngressHeader, payload: &[u8]) -> Result<(), Refused> {
        let Some(way) = self.ways.get_mut(worker) else { return Err(Refused::Stale) };
        let memory = way.ring.memory();
        if memory.is_closed() {
            return Err(closed_reason(memory));
        }
        match way.ring.claim(INGRESS_BYTES + payload.len(), header.kind, header.flags) {
            Ok(record) => {
                header.write(record);
                if let Some(target) = record.get_mut(INGRESS_BYTES..) {
                    target.copy_from_slice(payload);
                }
                way.ring.commit();
                way.dirty = true;
                Ok(())
            }
            Err(PushError::Full) => Err(Refused::Full),
            Err(PushError::TooLarge) => Err(Refused::TooLarge),
            Err(PushError::Closed) => Err(Refused::Corrupt),
        }
    }

    /// Asks for room in a ring that had none when last looked at.
    #[cold]
    pub(in crate::router) fn stall(&mut self, worker: usize) {
        if let Some(way) = self.ways.get_mut(worker) {
            let head = way.ring.seen_head();
            self.link.stall(worker, &mut way.ring, head);
        }
    }

    /// As [`push`](Self::push), a record that is no message.
    pub(in crate::router) fn push_other(
        &mut self,
        worker: usize,
        header: &IngressHeader,
    ) -> Result<(), Refused> {
        self.push(worker, header, b"")?;
        if let Some(way) = self.ways.get(worker) {
            way.counts.push_other();
        }
        Ok(())
    }

    /// Pushes a message: in its record, or beside the ring where it is too large for one or the host gives it away.
    #[inline]
    pub(in crate::router) fn push_message(
        &mut self,
        payloads: &Payloads,
        worker: usize,
        header: IngressHeader,
        message: Bytes<'_, '_>,
    ) -> Result<(), Refused> {
        let Some(way) = self.ways.get_mut(worker) else { return Err(Refused::Stale) };
        if let Err(head) = way.has_place(self.link.queue_messages) {
            self.link.stall(worker, &mut way.ring, head);
            return Err(Refused::Full);
        }
        if !way.waiting.is_empty() {
            // Disconnects wait for room here: whoever submits without pause must not take it from them.
            self.stall(worker);
            return Err(Refused::Full);
        }
        let largest = way.ring.memory().max_record();
        let pushed = match message {
            Bytes::Copied(bytes) if INGRESS_BYTES + bytes.len() <= largest => {
                self.push(worker, &header, bytes)
            }
            other => self.push_beside(payloads, worker, header, other),
        };
        if pushed == Err(Refused::Full) {
            self.stall(worker);
        }
        pushed
    }

    #[cold]
    fn push_beside(
        &mut self,
        payloads: &Payloads,
        worker: usize,
        header: IngressHeader,
        message: Bytes<'_, '_>,
    ) -> Result<(), Refused> {
        let (payload, place) = match message {
            Bytes::Copied(bytes) => {
                let payload = payloads.fill(bytes.len(), |out| out.copy_from_slice(bytes));
                (payload.ok_or(Refused::PayloadsFull)?, None)
            }
            Bytes::Given(place, length) => {
                let Some(owned) = place.take() else { return Err(Refused::Stale) };
                match payloads.own(owned, length) {
                    Ok(payload) => (payload, Some(place)),
                    Err(owned) => {
                        *place = Some(owned);
                        return Err(Refused::PayloadsFull);
                    }
                }
            }
        };
        let pushed = match payloads.put(Way::In, worker, self.index, payload.clone()) {
            Ok(number) => {
                let header = IngressHeader { flags: header.flags | ingress_flag::OWNED, ..header };
                let pushed = self.push(worker, &header, &payload.reference(number));
                if pushed.is_err() {
                    drop(payloads.take(number));
                }
                pushed
            }
            Err(_) => Err(Refused::PayloadsFull),
        };
        // What was not pushed is the host's again.
        if let (Err(_), Some(place)) = (&pushed, place) {
            *place = payload.into_owned();
        }
        pushed
    }
}
