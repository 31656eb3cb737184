//! Out-of-line payloads: those too large for a record, and those whose ownership the host has given to the
//! router. They wait in a table (`sync::handoff`), and the record carries {number, length}. A number allows one
//! take, so nothing written into a ring can free a payload twice or too early. For several records of one
//! message, the table gets one entry per record, all with the same bytes. Payloads that are never taken are
//! found by their tag when the pair is settled.
//!
//! On the way in `port/ingress` puts and `worker/dispatch` takes; on the way out `worker/egress` puts and
//! `port/poll` takes. Also used by `worker/rooms`, `worker/tasks`, `worker/driven`, `worker/adoption`,
//! `worker/cycle`, `settle` and `pair`.

use super::thread::discard;
use crate::error::{Error, SubmitError};
use crate::sync::handoff::Handoff;
use crate::sync::{AtomicU64, Relaxed, mutant, wake_fence};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Bytes whose ownership a host gives to the router. They are dropped once, on any thread, when nothing needs
/// them any more.
pub type Owned = Box<dyn AsRef<[u8]> + Send + Sync>;

/// A message that was refused: the host owns it again.
pub struct Returned {
    /// The reason.
    pub error: SubmitError,
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

impl std::error::Error for Returned {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Drops the message.
impl From<Returned> for Error {
    fn from(returned: Returned) -> Self {
        Self::Submit(returned.error)
    }
}

/// Bytes in a record that refer to a payload: its number and its length.
pub(super) const REFERENCE_BYTES: usize = 16;

/// One payload. Clones share the bytes.
#[derive(Clone)]
pub(crate) struct Payload(Arc<CountedPayload>);

struct CountedPayload {
    /// Taken only by `into_owned`.
    bytes: Option<Owned>,
    length: usize,
    in_use: Arc<AtomicU64>,
}

impl Drop for CountedPayload {
    fn drop(&mut self) {
        // The drop is host code and runs on the thread of the last reference; catch its panic here.
        if let Some(bytes) = self.bytes.take() {
            catch_unwind(AssertUnwindSafe(|| drop(bytes))).unwrap_or_else(discard);
        }
        self.in_use.fetch_sub(self.length as u64, Relaxed); // Relaxed: a sum only; it publishes nothing.
    }
}

impl Payload {
    /// The bytes, which the host's value returns. `None` if that call panicked, or if the bytes are now shorter
    /// than before.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        let bytes = self.0.bytes.as_ref()?;
        let bytes = catch_unwind(AssertUnwindSafe(|| (**bytes).as_ref())).map_err(discard).ok()?;
        bytes.get(..self.0.length)
    }

    pub(super) fn length(&self) -> usize {
        self.0.length
    }

    /// The reference for a record.
    pub(super) fn reference(&self, number: u64) -> [u8; REFERENCE_BYTES] {
        let mut bytes = [0; REFERENCE_BYTES];
        let (first, second) = bytes.split_at_mut(REFERENCE_BYTES / 2);
        first.copy_from_slice(&number.to_ne_bytes());
        second.copy_from_slice(&(self.0.length as u64).to_ne_bytes());
        bytes
    }

    /// The host's value, if this is the last reference.
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

/// The direction between worker and port in which a payload travels.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    In,
    Out,
}

fn tag(way: Way, worker: usize, port: usize) -> u32 {
    (way as u32) << 16 | (worker as u32) << 8 | port as u32
}

/// All out-of-line payloads of a router.
#[derive(Debug)]
pub(crate) struct Payloads {
    waiting: Handoff<Payload>,
    in_use: Arc<AtomicU64>,
    limit: u64,
}

impl Payloads {
    pub(crate) fn new(count: usize, bytes: u64) -> Self {
        Self { waiting: Handoff::new(count), in_use: Arc::new(AtomicU64::new(0)), limit: bytes }
    }

    /// The most bytes that the table and the payloads can take.
    pub(super) const fn memory(count: usize, bytes: u64) -> u64 {
        Handoff::<Payload>::bytes(count) as u64 + bytes
    }

    /// Accounts for a payload of this length. Returns the value if the payload bytes would exceed their limit.
    pub(super) fn own(&self, bytes: Owned, length: usize) -> Result<Payload, Owned> {
        match self.reserve(length) {
            Some(in_use) => Ok(Payload(Arc::new(CountedPayload { bytes: Some(bytes), length, in_use }))),
            None => Err(bytes),
        }
    }

    /// Makes a new payload of this length. Allocates nothing and returns `None` if the payload bytes would
    /// exceed their limit.
    pub(crate) fn fill(&self, length: usize, fill: impl FnOnce(&mut [u8])) -> Option<Payload> {
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

    /// Puts a payload into the table, between a worker and a port. Returns it if the table is full.
    pub(super) fn put(&self, way: Way, worker: usize, port: usize, payload: Payload) -> Result<u64, Payload> {
        self.waiting.put(tag(way, worker, port), payload)
    }

    /// As [`put`](Self::put), for a side that may be putting while the other one leaves: takes the payload back if that one has
    /// `left`. Dekker-style, against [`sweep`](Self::sweep): put, fence, look.
    pub(crate) fn put_unless(
        &self,
        (way, worker, port): (Way, usize, usize),
        payload: Payload,
        left: impl FnOnce() -> bool,
    ) -> Result<u64, SubmitError> {
        let number = self.put(way, worker, port, payload).map_err(|_| SubmitError::PayloadsFull)?;
        wake_fence("put-without-fence");
        if !mutant("put-without-look")
            && left()
            && let Some(payload) = self.take(way, worker, port, number)
        {
            drop(payload);
            return Err(SubmitError::Closed);
        }
        Ok(number)
    }

    /// Takes the payload of a record between a worker and a port. A number of another way, worker or port takes nothing:
    /// another language may have written it.
    pub(super) fn take(&self, way: Way, worker: usize, port: usize, number: u64) -> Option<Payload> {
        self.waiting.take(number, tag(way, worker, port))
    }

    /// Takes out the payloads that no side will take, because the side that would take them has left. The
    /// caller drops them, which runs host code, while it holds no lock.
    #[must_use]
    pub(crate) fn sweep(&self, way: Way, worker: usize, port: usize) -> Vec<Payload> {
        if mutant("payload-not-swept") {
            return Vec::new();
        }
        let unwanted = tag(way, worker, port);
        // Dekker-style, against `put_unless`: the caller has left the pair, fence, then this looks at the table.
        wake_fence("sweep-without-fence");
        self.waiting.sweep(|tag| tag == unwanted)
    }

    /// The payload bytes in use, and how many payloads wait in the table.
    pub(crate) fn figures(&self) -> (u64, u64) {
        (self.in_use.load(Relaxed), self.waiting.live() as u64) // Relaxed: an independent reading.
    }
}
