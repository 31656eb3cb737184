//! A worker's way to one port: the ring, behind it a bounded backlog, and two lists of closings that are never
//! dropped. Owned by the worker.

use super::pair::{Pair, give_back};
use super::placement::Frontier;
use crate::clients::Clients;
use crate::park::WakeWord;
use crate::ring::record::{DELIVERY_BYTES, Delivery, delivery_kind};
use crate::ring::{Consumer, Producer, PushError, ring};
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
}

impl Egress {
    pub(super) fn new(pair: &Pair, backlog_bytes: usize) -> std::io::Result<Self> {
        Ok(Self {
            ring: Producer::new(Arc::clone(&pair.egress)),
            wake: Arc::clone(&pair.port_wake),
            backlog: ring(backlog_bytes)?,
            backlogged: 0,
            frontier: Frontier::new(),
            closes: List::new(),
            closed: List::new(),
        })
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
        let length = Delivery::record_bytes(1, payload);
        if self.backlogged == 0 || mutant("egress-past-backlog") {
            match self.ring.claim(length, header.kind, header.flags) {
                Ok(record) => {
                    fill(header.write(&[recipient], record));
                    self.ring.commit();
                    return Ok(false);
                }
                Err(PushError::TooLarge) => return Err(Rejected::TooLarge),
                Err(PushError::Full | PushError::Closed) => {}
            }
        }
        match self.backlog.0.claim(length, header.kind, header.flags) {
            Ok(record) => {
                fill(header.write(&[recipient], record));
                self.backlog.0.commit();
                self.backlog.0.publish();
                self.backlogged += 1;
                Ok(true)
            }
            Err(PushError::TooLarge) => Err(Rejected::TooLarge),
            Err(PushError::Full | PushError::Closed) => Err(Rejected::Full),
        }
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
