//! The sending ends of a port's ingress rings: claim, write and commit a record, with the payload in the ring
//! or out of line. Part of the submitting half: used by `submit` and, for opening, by `handle`. After publication
//! `worker/cycle` takes the records.

use crate::clients::SlotList;
use crate::error::SubmitError;
use crate::ring::record::{INGRESS_BYTES, IngressHeader, ingress_flag};
use crate::ring::{Producer, PushError};
use crate::router::pair::{PairCounts, closed_reason};
use crate::router::payload::{Owned, Payloads, Way};
use crate::router::port::link::PortLink;
use crate::sync::Arc;

#[derive(Debug)]
pub(in crate::router) struct IngressSenders {
    /// The port's index.
    pub(in crate::router) index: usize,
    /// By worker.
    pub(in crate::router) ways: Vec<IngressSender>,
    pub(in crate::router) link: Arc<PortLink>,
}

/// The ingress ring to one worker.
#[derive(Debug)]
pub(in crate::router) struct IngressSender {
    pub(in crate::router) ring: Producer,
    counts: Arc<PairCounts>,
    /// Clients whose disconnect found this ring full.
    pub(in crate::router) waiting: SlotList,
    /// Something has been committed since the last publication.
    pub(in crate::router) dirty: bool,
    /// The worker has left, and the records that it did not take are settled.
    pub(in crate::router) settled: bool,
    /// How many records the worker had taken when this side last read the count.
    popped: u64,
}

/// Bytes per worker in a port's submitting half.
pub(in crate::router) const PAIR_BYTES: u64 = size_of::<IngressSender>() as u64;

impl IngressSender {
    pub(in crate::router) fn new(ring: Producer, counts: Arc<PairCounts>, settled: bool) -> Self {
        Self { ring, counts, waiting: SlotList::new(), dirty: false, settled, popped: 0 }
    }

    /// Whether one more message fits below the limit of `most` records. Otherwise the ring's head at that time.
    #[inline]
    fn has_place(&mut self, most: u64) -> Result<(), u64> {
        if self.ring.pushed().saturating_sub(self.popped) < most {
            return Ok(());
        }
        // Read the worker's cache line only if the cached count does not suffice. Read the head first: the
        // worker writes the head after the count, so a caller that waits for the head to move misses nothing.
        let head = self.ring.consumed();
        self.popped = self.ring.memory().traffic().1;
        if self.ring.pushed().saturating_sub(self.popped) < most { Ok(()) } else { Err(head) }
    }
}

/// The bytes of a submitted message.
pub(in crate::router) enum Bytes<'a, 'b> {
    /// Copied.
    Copied(&'a [u8]),
    /// Taken if the message is accepted. The length is read once, because host code computes it.
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
    /// Claims, writes and commits one record; does not publish it. If there is no room, the caller must call
    /// [`stall`](Self::stall), after it has noted what waits for the room.
    #[inline(always)]
    fn push(&mut self, worker: usize, header: &IngressHeader, payload: &[u8]) -> Result<(), SubmitError> {
        let Some(way) = self.ways.get_mut(worker) else { return Err(SubmitError::StaleClient) };
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
            Err(PushError::Full) => Err(SubmitError::RingFull),
            Err(PushError::TooLarge) => Err(SubmitError::TooLarge),
            Err(PushError::Closed) => Err(SubmitError::Corrupt),
        }
    }

    /// Requests space in a ring that had no room.
    #[cold]
    pub(in crate::router) fn stall(&mut self, worker: usize) {
        if let Some(way) = self.ways.get_mut(worker) {
            let head = way.ring.seen_head();
            self.link.stall(worker, &mut way.ring, head);
        }
    }

    /// Asks all workers to announce when they have ended messages of this port. The caller then looks again at the limit
    /// that it has found reached.
    #[cold]
    pub(in crate::router) fn stall_behind_records(&mut self) {
        for (worker, way) in self.ways.iter_mut().enumerate() {
            self.link.stall_behind_records(worker, &mut way.ring);
        }
    }

    /// As [`push`](Self::push), for a record that is not a message.
    pub(in crate::router) fn push_other(
        &mut self,
        worker: usize,
        header: &IngressHeader,
    ) -> Result<(), SubmitError> {
        self.push_control(worker, header, b"")
    }

    /// As [`push_other`](Self::push_other), with a payload.
    pub(super) fn push_control(
        &mut self,
        worker: usize,
        header: &IngressHeader,
        payload: &[u8],
    ) -> Result<(), SubmitError> {
        self.push(worker, header, payload)?;
        if let Some(way) = self.ways.get(worker) {
            way.counts.push_other();
        }
        Ok(())
    }

    /// Pushes a message. The payload goes out of line if it is too large for a record, or if the host gives the
    /// message away.
    #[inline(always)]
    pub(in crate::router) fn push_message(
        &mut self,
        payloads: &Payloads,
        worker: usize,
        header: IngressHeader,
        message: Bytes<'_, '_>,
    ) -> Result<(), SubmitError> {
        let Some(way) = self.ways.get_mut(worker) else { return Err(SubmitError::StaleClient) };
        if let Err(head) = way.has_place(self.link.queue_messages) {
            if way.ring.memory().is_closed() {
                return Err(closed_reason(way.ring.memory())); // There will be no place.
            }
            self.link.stall(worker, &mut way.ring, head);
            return Err(SubmitError::RingFull);
        }
        if !way.waiting.is_empty() && !way.ring.memory().is_closed() {
            // Disconnects wait for room here. A client that submits without pause must not take the room from
            // them.
            self.stall(worker);
            return Err(SubmitError::RingFull);
        }
        let largest = way.ring.memory().max_record();
        let pushed = match message {
            Bytes::Copied(bytes) if INGRESS_BYTES + bytes.len() <= largest => {
                self.push(worker, &header, bytes)
            }
            other => self.push_beside(payloads, worker, header, other),
        };
        if pushed == Err(SubmitError::RingFull) {
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
    ) -> Result<(), SubmitError> {
        let (payload, place) = match message {
            Bytes::Copied(bytes) => {
                let payload = payloads.fill(bytes.len(), |out| out.copy_from_slice(bytes));
                (payload.ok_or(SubmitError::PayloadsFull)?, None)
            }
            Bytes::Given(place, length) => {
                let Some(owned) = place.take() else { return Err(SubmitError::StaleClient) };
                match payloads.own(owned, length) {
                    Ok(payload) => (payload, Some(place)),
                    Err(owned) => {
                        *place = Some(owned);
                        return Err(SubmitError::PayloadsFull);
                    }
                }
            }
        };
        let pushed = match payloads.put(Way::In, worker, self.index, payload.clone()) {
            Ok(number) => {
                let header = IngressHeader { flags: header.flags | ingress_flag::OWNED, ..header };
                let pushed = self.push(worker, &header, &payload.reference(number));
                if pushed.is_err() {
                    drop(payloads.take(Way::In, worker, self.index, number));
                }
                pushed
            }
            Err(_) => Err(SubmitError::PayloadsFull),
        };
        // A message that was not pushed goes back to the host.
        if let (Err(_), Some(place)) = (&pushed, place) {
            *place = payload.into_owned();
        }
        pushed
    }
}
