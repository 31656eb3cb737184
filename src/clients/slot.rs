//! One client's cells. A slot is reused; its generation, in the handle and in two of its words, tells its
//! clients apart.
//!
//! | field | written by | read by |
//! |---|---|---|
//! | `credit` | workers that deliver to it, its port | the same |
//! | `finished`, `alive_at`, `held` | its worker | its port, at reuse and for its timers |
//! | `place`, `name`, `labels` | connect, before the name is inserted or anything is pushed | workers, behind a record of it or behind credit for it |
//! | `submitted`, `token`, `handed`, `phase` | its port | its port; workers read `phase` never |
//! | `close_link`, `closed_link` | the worker that closes it | the same |

use super::{Credit, MAX_NAME_BYTES, NewClient};
use crate::sync::{Acquire, AtomicU32, AtomicU64, Relaxed, Release, own_load};

/// Where a slot is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Phase {
    Free = 0,
    Open = 1,
    Closing = 2,
    Closed = 3,
}

/// Whose a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) generation: u32,
    pub(crate) port: u16,
    pub(crate) worker: u16,
}

/// Room for a name on a reader's stack.
pub(crate) type NameBuffer = [[u8; 8]; MAX_NAME_BYTES / 8];

/// No next slot in a list of closings.
pub(crate) const NO_LINK: u32 = u32::MAX;

#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) credit: Credit,
    /// Messages of this client that have ended. Cumulative over all its generations.
    pub(crate) finished: AtomicU64,
    /// When its worker last saw a keep-alive, in raw ticks.
    pub(crate) alive_at: AtomicU64,
    /// Messages of this client that are held.
    pub(crate) held: AtomicU32,
    pub(crate) close_link: AtomicU32,
    pub(crate) closed_link: AtomicU32,
    close_reason: AtomicU32,
    port_line: PortLine,
    name: [AtomicU64; MAX_NAME_BYTES / 8],
}

#[repr(C, align(64))]
#[derive(Debug)]
struct PortLine {
    submitted: AtomicU64,
    token: AtomicU64,
    /// Handed out and not acknowledged: messages in the upper half, bytes in the lower.
    handed: AtomicU64,
    place: AtomicU64,
    labels: AtomicU32,
    phase: AtomicU32,
    name_length: AtomicU32,
}

#[cfg(not(corelane_loom))]
const _: () = assert!(size_of::<Slot>() == 192);

impl Slot {
    pub(crate) fn new() -> Self {
        Self {
            credit: Credit::new(),
            finished: AtomicU64::new(0),
            alive_at: AtomicU64::new(0),
            held: AtomicU32::new(0),
            close_link: AtomicU32::new(NO_LINK),
            closed_link: AtomicU32::new(NO_LINK),
            close_reason: AtomicU32::new(0),
            port_line: PortLine {
                submitted: AtomicU64::new(0),
                token: AtomicU64::new(0),
                handed: AtomicU64::new(0),
                place: AtomicU64::new(0),
                labels: AtomicU32::new(0),
                phase: AtomicU32::new(0),
                name_length: AtomicU32::new(0),
            },
            name: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Fills a free slot for its next generation, which it returns. Under the control lock.
    pub(super) fn open(&self, new: &NewClient<'_>) -> u32 {
        let line = &self.port_line;
        // 0 is nobody's generation.
        let generation = self.place().generation.wrapping_add(1).max(1);
        // Relaxed throughout: the credit word's Release, the name table and the ring publish the slot.
        self.alive_at.store(0, Relaxed);
        line.token.store(new.token, Relaxed);
        line.handed.store(0, Relaxed);
        line.labels.store(u32::from(new.protocol) | u32::from(new.application) << 16, Relaxed);
        line.name_length.store(new.name.len() as u32, Relaxed);
        for (place, word) in self.name.iter().enumerate() {
            let mut bytes = [0; 8];
            for (to, from) in bytes.iter_mut().zip(new.name.as_bytes().iter().skip(8 * place)) {
                *to = *from;
            }
            word.store(u64::from_ne_bytes(bytes), Relaxed);
        }
        let place = u64::from(generation) << 32 | u64::from(new.port) << 16 | u64::from(new.worker);
        line.place.store(place, Release); // Release: for a worker that compares the name without credit.
        self.set_phase(Phase::Open);
        self.credit.open(generation);
        generation
    }

    #[inline(always)]
    pub(crate) fn place(&self) -> Place {
        let place = self.port_line.place.load(Acquire); // Acquire: pairs with the Release in `open`.
        Place { generation: (place >> 32) as u32, port: (place >> 16) as u16, worker: place as u16 }
    }

    /// The worker that takes what hosts send to the client: fixed at its connect.
    #[inline(always)]
    pub(crate) fn send_worker(&self) -> u16 {
        self.place().worker
    }

    /// Protocol and application, by number.
    #[inline(always)]
    pub(crate) fn labels(&self) -> (u16, u16) {
        let labels = self.port_line.labels.load(Relaxed); // Relaxed: see `open`.
        (labels as u16, (labels >> 16) as u16)
    }

    /// The client's name, copied. A reader that raced with a reuse may get a mixture; such a reader has no
    /// credit, and compares.
    #[inline]
    pub(crate) fn name<'a>(&self, buffer: &'a mut NameBuffer) -> &'a str {
        let length = (self.port_line.name_length.load(Relaxed) as usize).min(MAX_NAME_BYTES);
        for (to, from) in buffer.iter_mut().zip(&self.name).take(length.div_ceil(8)) {
            *to = from.load(Relaxed).to_ne_bytes(); // Relaxed: see `open`.
        }
        let bytes = buffer.as_flattened().get(..length).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The host's value for this client.
    #[inline(always)]
    pub(crate) fn token(&self) -> u64 {
        self.port_line.token.load(Relaxed) // Relaxed: the port's own.
    }

    #[inline(always)]
    pub(crate) fn phase(&self) -> Phase {
        // Relaxed: the port's own, or read under the control lock.
        match self.port_line.phase.load(Relaxed) {
            1 => Phase::Open,
            2 => Phase::Closing,
            3 => Phase::Closed,
            _ => Phase::Free,
        }
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.port_line.phase.store(phase as u32, Relaxed); // Relaxed: as in `phase`.
    }

    /// Counts a submission; by the port, before it publishes.
    #[inline(always)]
    pub(crate) fn submit(&self) {
        let submitted = &self.port_line.submitted;
        submitted.store(own_load(submitted) + 1, Relaxed); // Relaxed: the port's own; the ring publishes.
    }

    pub(crate) fn submitted(&self) -> u64 {
        self.port_line.submitted.load(Relaxed) // Relaxed: read by its port, or under the control lock after it.
    }

    /// Counts an end; by the worker, after everything it did for the message.
    #[inline(always)]
    pub(crate) fn finish(&self, messages: u64) {
        // Release: pairs with the Acquire of who frees the slot.
        self.finished.store(own_load(&self.finished) + messages, Release);
    }

    /// The port has handed out a delivery that holds credit.
    #[inline(always)]
    pub(crate) fn hand_out(&self, bytes: u32) {
        let handed = &self.port_line.handed;
        handed.store(own_load(handed) + (1 << 32) + u64::from(bytes), Relaxed); // Relaxed: the port's own.
    }

    /// The host has written so much. Gives the credit back, never more than was handed out; says how much.
    #[inline]
    pub(crate) fn acknowledge(&self, messages: u32, bytes: u32) -> (u32, u32) {
        let handed = own_load(&self.port_line.handed);
        let messages = messages.min((handed >> 32) as u32);
        let bytes = bytes.min(handed as u32);
        let given = (u64::from(messages) << 32) + u64::from(bytes);
        self.port_line.handed.store(handed - given, Relaxed);
        self.credit.subtract(messages, bytes);
        (messages, bytes)
    }

    /// Gives back everything handed out and not acknowledged.
    pub(super) fn forgive(&self) {
        self.acknowledge(u32::MAX, u32::MAX);
    }

    /// Why the worker that closes it does so; kept while the delivery waits on a list.
    pub(crate) fn set_close_reason(&self, reason: u16) {
        self.close_reason.store(u32::from(reason), Relaxed); // Relaxed: that worker's own.
    }

    pub(crate) fn close_reason(&self) -> u16 {
        self.close_reason.load(Relaxed) as u16 // Relaxed: that worker's own.
    }
}
