//! A worker's way to one port: the ring, behind it a bounded backlog, and two lists of closings that are never
//! dropped. Owned by the worker.

use super::pair::{Pair, give_back};
use super::payload::{Payload, Payloads, REFERENCE_BYTES, Way};
use super::placement::Frontier;
use crate::clients::Clients;
use crate::metrics::{PathShard, Writer};
use crate::park::WakeWord;
use crate::ring::record::{DELIVERY_BYTES, Delivery, delivery_flag, delivery_kind};
use crate::ring::{Consumer, Producer, PushError};
use crate::sync::{Arc, AtomicU64, Relaxed, mutant};

/// No next client on a list.
const END: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Egress {
    ring: Producer,
    wake: Arc<WakeWord>,
    /// Deliveries for which the ring had no room, in order: a ring of this worker's own.
    backlog: (Producer, Consumer),
    backlogged: u64,
    pub(super) frontier: Frontier,
    /// Clients whose CLOSE or CLIENT_CLOSED found backlog and ring full, linked through their slots.
    closes: List,
    closed: List,
    /// Closings on both lists.
    listed: u64,
    backlog_maximum: u64,
    listed_maximum: u64,
    /// Something waits, or waited when last reported.
    reported: bool,
}

#[derive(Debug)]
struct List {
    first: u32,
    last: u32,
}

impl List {
    const fn new() -> Self {
        Self { first: END, last: END }
    }
}

/// Neither ring nor backlog had room, or the record is too large for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    Full,
    TooLarge,
    /// No more payloads can wait outside rings.
    PayloadsFull,
}

impl Egress {
    pub(super) fn new(pair: &Pair) -> Self {
        Self {
            ring: Producer::new(Arc::clone(&pair.egress)),
            wake: Arc::clone(&pair.port_wake),
            backlog: (Producer::new(Arc::clone(&pair.backlog)), Consumer::new(Arc::clone(&pair.backlog))),
            backlogged: 0,
            frontier: Frontier::new(),
            closes: List::new(),
            closed: List::new(),
            listed: 0,
            backlog_maximum: 0,
            listed_maximum: 0,
            reported: false,
        }
    }

    /// Puts a delivery to one client on its way. `fill` writes the payload. Order is kept: while anything waits
    /// in the backlog, everything goes there. Says whether it went to the backlog.
    #[inline]
    pub(super) fn emit(
        &mut self,
        header: &Delivery,
        recipient: u64,
        payload: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<bool, Rejected> {
        self.emit_to(header, &[recipient], payload, fill)
    }

    /// How many recipients one record with a payload of so many bytes can have: what is left of the largest record that
    /// ring and backlog take, at eight bytes each.
    pub(super) fn most_recipients(&self, payload: usize) -> usize {
        let largest = self.ring.memory().max_record().min(self.backlog.0.memory().max_record());
        largest.saturating_sub(Delivery::record_bytes(0, payload)) / 8
    }

    /// As [`emit`](Self::emit), to several clients of this port in one record, which all or none get.
    #[inline]
    pub(super) fn emit_to(
        &mut self,
        header: &Delivery,
        recipients: &[u64],
        payload: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<bool, Rejected> {
        let length = Delivery::record_bytes(recipients.len(), payload);
        if self.backlogged == 0 || mutant("egress-past-backlog") {
            match self.ring.claim(length, header.kind, header.flags) {
                Ok(record) => {
                    fill(header.write(recipients, record));
                    self.ring.commit();
                    return Ok(false);
                }
                Err(PushError::TooLarge) => return Err(Rejected::TooLarge),
                Err(PushError::Full | PushError::Closed) => {}
            }
        }
        match self.backlog.0.claim(length, header.kind, header.flags) {
            Ok(record) => {
                fill(header.write(recipients, record));
                self.backlog.0.commit();
                self.backlog.0.publish();
                self.backlogged += 1;
                self.backlog_maximum = self.backlog_maximum.max(self.backlog_bytes());
                Ok(true)
            }
            Err(PushError::TooLarge) => Err(Rejected::TooLarge),
            Err(PushError::Full | PushError::Closed) => Err(Rejected::Full),
        }
    }

    /// As [`emit_to`](Self::emit_to), of a payload that lies elsewhere.
    #[cold]
    pub(super) fn emit_beside(
        &mut self,
        payloads: &Payloads,
        (worker, port): (usize, usize),
        header: &Delivery,
        recipients: &[u64],
        payload: Payload,
    ) -> Result<bool, Rejected> {
        let copy = payload.clone();
        let number = payloads.put(Way::Out, worker, port, payload).map_err(|_| Rejected::PayloadsFull)?;
        let header = Delivery { flags: header.flags | delivery_flag::OWNED, ..*header };
        let reference = copy.reference(number);
        let emitted =
            self.emit_to(&header, recipients, REFERENCE_BYTES, |out| out.copy_from_slice(&reference));
        if emitted.is_err() {
            drop(payloads.take(number));
        }
        emitted
    }

    /// Puts a closing on its way, or on its list: it is never dropped.
    pub(super) fn emit_closing(&mut self, header: &Delivery, client: u64, clients: &Clients) {
        if self.emit(header, client, 0, |_| ()).is_ok() {
            return;
        }
        let index = client as u32;
        let Some(slot) = clients.slot(index) else { return };
        let is_close = header.kind == delivery_kind::CLOSE;
        let link = |slot: &crate::clients::Slot, next: u32| {
            // Relaxed: the links and the reason are this worker's own while the client is on its list.
            if is_close { &slot.close_link } else { &slot.closed_link }.store(next, Relaxed);
        };
        if is_close {
            slot.set_close_reason(header.flags);
        }
        link(slot, END);
        let list = if is_close { &mut self.closes } else { &mut self.closed };
        match clients.slot(list.last) {
            Some(last) => link(last, index),
            None => list.first = index,
        }
        list.last = index;
        self.listed += 1;
        self.listed_maximum = self.listed_maximum.max(self.listed);
    }

    /// Moves what waits into the ring, as far as there is room: the backlog first, then the closings. Says how
    /// many records moved.
    pub(super) fn flush(&mut self, clients: &Clients) -> usize {
        let mut moved = 0;
        while self.backlogged > 0 {
            let (ring, backlog) = (&mut self.ring, &mut self.backlog.1);
            if backlog.refresh().is_err() {
                break;
            }
            let Ok(Some(record)) = backlog.peek() else { break };
            let (kind, flags) = (record.kind, record.flags);
            match ring.claim(record.bytes.len(), kind, flags) {
                Ok(target) => target.copy_from_slice(record.bytes),
                Err(_) => return moved,
            }
            ring.commit();
            backlog.skip();
            backlog.release();
            self.backlogged -= 1;
            moved += 1;
        }
        moved
            + self.flush_list(clients, delivery_kind::CLOSE)
            + self.flush_list(clients, delivery_kind::CLIENT_CLOSED)
    }

    fn flush_list(&mut self, clients: &Clients, kind: u16) -> usize {
        let is_close = kind == delivery_kind::CLOSE;
        let mut moved = 0;
        loop {
            let first = if is_close { self.closes.first } else { self.closed.first };
            let Some(slot) = clients.slot(first) else { return moved };
            let flags = if is_close { slot.close_reason() } else { 0 };
            let header = Delivery { kind, flags, ..Delivery::default() };
            let client = (u64::from(slot.place().generation) << 32) | u64::from(first);
            if self.emit(&header, client, 0, |_| ()).is_err() {
                return moved;
            }
            // Relaxed: this worker's own, as in `emit_closing`.
            let next = if is_close { &slot.close_link } else { &slot.closed_link }.load(Relaxed);
            let list = if is_close { &mut self.closes } else { &mut self.closed };
            list.first = next;
            self.listed -= 1;
            if next == END {
                list.last = END;
            }
            moved += 1;
        }
    }

    /// Gives up what waits, for good: the port is gone or the router stops. Says how many recipients that were;
    /// their credit is given back.
    pub(super) fn give_up(&mut self, clients: &Clients) -> u64 {
        let mut count = 0;
        if self.backlog.1.refresh().is_ok() {
            while let Ok(Some(record)) = self.backlog.1.next() {
                count += give_back(record.bytes, clients);
            }
        }
        self.backlog.1.release();
        self.backlogged = 0;
        self.listed = 0;
        for is_close in [true, false] {
            let list = if is_close { &mut self.closes } else { &mut self.closed };
            let mut next = std::mem::replace(list, List::new()).first;
            while let Some(slot) = clients.slot(next) {
                next = if is_close { &slot.close_link } else { &slot.closed_link }.load(Relaxed);
                count += 1;
            }
        }
        count
    }

    /// At the end of a cycle: publishes how far the port has come.
    #[inline]
    pub(super) fn advance(&mut self, batch: u64, published: &AtomicU64) {
        self.frontier.advance(batch, &self.ring, self.backlogged, published);
    }

    /// Whether anything waits for room.
    pub(super) fn is_stalled(&self) -> bool {
        self.backlogged > 0 || self.closes.first != END || self.closed.first != END
    }

    /// Writes what waits here into its cells, where that may have changed since the last time.
    pub(super) fn report(&mut self, path: &PathShard, writer: &mut Writer) {
        let stalled = self.is_stalled();
        if stalled || self.reported {
            path.backlog_bytes.set(writer, if self.backlogged > 0 { self.backlog_bytes() } else { 0 });
            path.backlog_bytes_maximum.raise(writer, self.backlog_maximum);
            path.closings.set(writer, self.listed);
            path.closings_maximum.raise(writer, self.listed_maximum);
        }
        self.reported = stalled;
    }

    pub(super) fn backlog_bytes(&self) -> u64 {
        self.backlog.1.pending_bytes()
    }

    /// Makes what was emitted visible; the caller fences once for all ports, then wakes.
    #[inline]
    pub(super) fn publish(&mut self) -> bool {
        self.ring.publish()
    }

    pub(super) fn wake(&self) -> bool {
        self.wake.wake_if_asleep()
    }

    /// Announces that this side waits for room, before the worker sleeps.
    pub(super) fn request_space(&mut self) {
        self.ring.request_space();
    }

    pub(super) fn space_moved(&self) -> bool {
        self.ring.space_moved()
    }

    /// Nothing will come any more.
    pub(super) fn close(&self) {
        self.ring.memory().close();
    }
}

const _: () = assert!(DELIVERY_BYTES.is_multiple_of(8));
