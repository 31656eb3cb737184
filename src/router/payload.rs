//! Payloads that do not lie in a ring: what is too large for a record, and what the host gives away instead of having it
//! copied. They wait in a table (`sync::handoff`), the record carries {number, length}, and a number is good for one
//! take: nothing that is written into a ring can free a payload twice or early. A fan-out puts one in for each record,
//! all of the same bytes. What nobody takes is found by its tag when the pair of worker and port is settled.

use super::panics::discard;
use crate::error::Error;
use crate::sync::handoff::Handoff;
use crate::sync::{AtomicU64, Relaxed, mutant};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Bytes that a host gives away: dropped once, on any thread, when nobody needs them any more.
pub type Owned = Box<dyn AsRef<[u8]> + Send + Sync>;

/// A message that the host gave away and that was not taken: it is the host's again.
pub struct Returned {
    /// Why.
    pub error: Error,
    /// The message.
    pub message: Owned,
}

impl fmt::Debug for Returned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Returned({:?}, {} bytes)", self.error, (*self.message).as_ref().len())
    }
}

impl fmt::Display for Returned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(formatter)
    }
}

impl std::error::Error for Returned {}

/// Bytes in a record that stand for such a payload: its number and its length.
pub(super) const REFERENCE_BYTES: usize = 16;

/// One payload; clones are the same bytes.
#[derive(Clone)]
pub(super) struct Payload(Arc<CountedPayload>);

struct CountedPayload {
    /// Taken out by `into_owned` alone.
    bytes: Option<Owned>,
    length: usize,
    in_use: Arc<AtomicU64>,
}

impl Drop for CountedPayload {
    fn drop(&mut self) {
        // The host's code, on whatever thread comes last: a panic of its ends here.
        if let Some(bytes) = self.bytes.take() {
            catch_unwind(AssertUnwindSafe(|| drop(bytes))).unwrap_or_else(discard);
        }
        self.in_use.fetch_sub(self.length as u64, Relaxed); // Relaxed: an account; nothing is published by it.
    }
}

impl Payload {
    /// Its bytes, which the host's value is asked for. Nothing: it panicked, or has become shorter than it was.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        let bytes = self.0.bytes.as_ref()?;
        let bytes = catch_unwind(AssertUnwindSafe(|| (**bytes).as_ref())).map_err(discard).ok()?;
        bytes.get(..self.0.length)
    }

    pub(super) fn length(&self) -> usize {
        self.0.length
    }

    /// What stands for it in a record.
    pub(super) fn reference(&self, number: u64) -> [u8; REFERENCE_BYTES] {
        let mut bytes = [0; REFERENCE_BYTES];
        let (first, second) = bytes.split_at_mut(REFERENCE_BYTES / 2);
        first.copy_from_slice(&number.to_ne_bytes());
        second.copy_from_slice(&(self.0.length as u64).to_ne_bytes());
        bytes
    }

    /// The host's value again, if nobody else has the payload.
    pub(super) fn into_owned(self) -> Option<Owned> {
        Arc::into_inner(self.0).and_then(|mut counted| counted.bytes.take())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a payload of {} bytes", self.0.length)
    }
}

/// The number and the length that a record states.
pub(super) fn read_reference(record: &[u8]) -> Option<(u64, usize)> {
    let (number, length) = record.split_at_checked(8)?;
    let word = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_ne_bytes);
    Some((word(number)?, usize::try_from(word(length.get(..8)?)?).ok()?))
}

/// Which pair of worker and port a payload waits between, and which way it goes.
#[derive(Clone, Copy)]
pub(super) enum Way {
    In,
    Out,
}

fn tag(way: Way, worker: usize, port: usize) -> u32 {
    (way as u32) << 16 | (worker as u32) << 8 | port as u32
}

/// All payloads of a router.
#[derive(Debug)]
pub(super) struct Payloads {
    waiting: Handoff<Payload>,
    in_use: Arc<AtomicU64>,
    limit: u64,
}

impl Payloads {
    pub(super) fn new(count: usize, bytes: u64) -> Self {
        Self { waiting: Handoff::new(count), in_use: Arc::new(AtomicU64::new(0)), limit: bytes }
    }

    /// Bytes that they may come to.
    pub(super) const fn memory(count: usize, bytes: u64) -> u64 {
        Handoff::<Payload>::bytes(count) as u64 + bytes
    }

    /// Takes a payload of so many bytes into account; gives the value back where there are too many.
    pub(super) fn own(&self, bytes: Owned, length: usize) -> Result<Payload, Owned> {
        match self.reserve(length) {
            Some(in_use) => Ok(Payload(Arc::new(CountedPayload { bytes: Some(bytes), length, in_use }))),
            None => Err(bytes),
        }
    }

    /// A new payload of that length; nothing is allocated where there are too many bytes.
    pub(super) fn fill(&self, length: usize, fill: impl FnOnce(&mut [u8])) -> Option<Payload> {
        let in_use = self.reserve(length)?;
        let mut bytes = vec![0; length];
        fill(&mut bytes);
        Some(Payload(Arc::new(CountedPayload { bytes: Some(Box::new(bytes)), length, in_use })))
    }

    fn reserve(&self, length: usize) -> Option<Arc<AtomicU64>> {
        let limit = self.limit;
        let add = |in_use: u64| Some(in_use + length as u64).filter(|sum| *sum <= limit);
        // Relaxed: as in `drop`.
        self.in_use.fetch_update(Relaxed, Relaxed, add).ok()?;
        Some(Arc::clone(&self.in_use))
    }

    /// Puts a payload between a worker and a port; gives it back where too many wait.
    pub(super) fn put(&self, way: Way, worker: usize, port: usize, payload: Payload) -> Result<u64, Payload> {
        self.waiting.put(tag(way, worker, port), payload)
    }

    pub(super) fn take(&self, number: u64) -> Option<Payload> {
        self.waiting.take(number)
    }

    /// Takes out what nobody will take any more: the side that would have has left. The caller drops it, which runs the
    /// host's code, while it holds no lock.
    #[must_use]
    pub(super) fn sweep(&self, way: Way, worker: usize, port: usize) -> Vec<Payload> {
        if mutant("payload-not-swept") {
            return Vec::new();
        }
        let unwanted = tag(way, worker, port);
        self.waiting.sweep(|tag| tag == unwanted)
    }

    /// Bytes in use, and how many payloads wait.
    pub(super) fn figures(&self) -> (u64, u64) {
        (self.in_use.load(Relaxed), self.waiting.live() as u64) // Relaxed: a reading by itself.
    }
}
