//! The cells of one client. A slot is reused. The generation distinguishes its successive clients. It is in
//! the handle and in three words of the slot, so that a reader gets it with the same load as the value that
//! it protects.
//!
//! | field | written by | read by |
//! |---|---|---|
//! | `credit` | workers that deliver to the client, its port | the same |
//! | `finished`, `alive_at`, `held` | its worker; whoever settles an ended worker | its port, at reuse and for timers |
//! | `batch`, `reached` | its worker; its port while it moves the client, which is quiet then | its port |
//! | `leaving` | connect; by read-modify-write the workers that take a disconnect, its port for a worker that is gone, whoever settles an ended pair | the same |
//! | `place`, `name`, `labels` | connect, before the name and any push | workers, after its record or with credit |
//! | `state` | connect; both halves of its port, by compare-and-swap from the expected phase | its port; its senders |
//! | `submitted` | the submitting half of its port | the same half; connect, at reuse |
//! | `token`, `handed`, `track`, `sampled_at` | the polling half of its port | the same; readers of figures |
//! | `close_link` | the worker whose list the client is on; its port when it takes the client off the list | the same |
//! | `closed_link` | the worker whose list the client is on | the same |
//! | `port_link` | submitting half (waiting disconnects); whoever lists it as closed | the same; connect, at reuse |
//! | `retired_link` | the thread that closes the client; connect, which frees closed slots | connect, at reuse |
//!
//! **Reuse.** A slot is reused only when its client is closed and nothing can reach the slot by the old
//! handle: all messages that the client submitted have finished, including its disconnect; no credit is
//! outstanding; no CLOSE is on its way; the client is on none of its port's lists. Every entry of a list
//! therefore belongs to the current generation of its slot.
//!
//! With `round_robin` a client has no single worker: several workers write its `finished` and `held`, by
//! read-modify-write (`docs/decisions/0006-round-robin-cells.md`).

use super::list::UNLISTED;
use super::{ClientLine, ClientMessage, Credit, CreditPolicy, MAX_NAME_BYTES, NewClient, Outstanding};
use crate::error::Unacknowledged;
use crate::sync::{AcqRel, Acquire, AtomicU32, AtomicU64, Relaxed, Release, mutant, ordering, own_load};
use crossbeam_utils::CachePadded;

/// Phase in the life of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Phase {
    Free = 0,
    Open = 1,
    Closing = 2,
    Closed = 3,
    /// Filled for a client of a lane that nobody can find yet.
    Reserved = 4,
}

/// The port, worker and generation of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotPlace {
    pub(crate) generation: u32,
    pub(crate) port: u16,
    pub(crate) worker: u16,
}

/// Buffer for a name on a reader's stack.
pub(crate) type NameBuffer = [[u8; 8]; MAX_NAME_BYTES / 8];

/// The client has no single worker: see `ClientSlot::leaving`.
const SEVERAL: u32 = 1 << 31;
/// The client belongs to a lane.
const LANE: u32 = 1 << 30;
/// The home worker has taken the disconnect of a lane's client, and takes no message behind it.
const LEFT: u32 = 1 << 29;

/// The same client has connected again, and this connection is to be closed.
const REPLACED: u32 = 1 << 15;

#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct ClientSlot {
    pub(crate) credit: Credit,
    /// Messages of this client that have ended. Cumulative over all generations of the slot.
    pub(crate) finished: AtomicU64,
    /// When the worker last saw a keep-alive of the client, in raw ticks.
    pub(crate) alive_at: AtomicU64,
    /// Held messages of this client.
    pub(crate) held: AtomicU32,
    /// Links to the next client on the list of waiting CLOSE or CLIENT_CLOSED deliveries. See
    /// [`super::SlotList`].
    pub(crate) close_link: AtomicU32,
    pub(crate) closed_link: AtomicU32,
    /// Links to the next client that is closed and not yet free.
    pub(super) retired_link: AtomicU32,
    /// The last batch of the worker that emitted a delivery for a message of this client.
    batch: AtomicU64,
    /// Bit set of the ports to which such deliveries went.
    reached: AtomicU64,
    /// [`SEVERAL`] if the client has no single worker, plus the number of workers that must still take its
    /// disconnect.
    leaving: AtomicU32,
    /// Links to the next client on a list of the port: disconnects that wait for room, or clients that the
    /// port itself closes.
    pub(crate) port_link: AtomicU32,
    port_line: PortLine,
    name: [AtomicU64; MAX_NAME_BYTES / 8],
}

#[repr(C, align(64))]
#[derive(Debug)]
struct PortLine {
    submitted: AtomicU64,
    token: AtomicU64,
    /// Handed out and unacknowledged: messages in the upper half, bytes in the lower.
    handed: AtomicU64,
    place: AtomicU64,
    /// See [`WriteTimer`].
    track: AtomicU64,
    /// When the sampled delivery was handed out, in raw ticks.
    sampled_at: AtomicU64,
    /// See [`SlotState`].
    state: AtomicU64,
    labels: AtomicU32,
    /// Bits 0 to 7: the length of the name. Bits 8 to 14: the credit policy. Bit 15: [`REPLACED`]. Bits 16 to 31: 16 bits of the
    /// name's hash.
    name_and_policy: AtomicU32,
}

/// Generation and phase of the slot, and the worker that gets the client's messages. For a client without a
/// single worker, `worker` is the next worker that must get its disconnect. One word: bits 32 to 63 hold the
/// generation, 16 to 31 the worker, 0 to 15 the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotState {
    pub(crate) generation: u32,
    pub(crate) worker: u16,
    pub(crate) phase: Phase,
}

impl SlotState {
    fn of(word: u64) -> Self {
        let phase = match word & 0xffff {
            1 => Phase::Open,
            2 => Phase::Closing,
            3 => Phase::Closed,
            4 => Phase::Reserved,
            _ => Phase::Free,
        };
        Self { generation: (word >> 32) as u32, worker: (word >> 16) as u16, phase }
    }

    fn word(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.worker) << 16 | self.phase as u64
    }
}

/// What the port keeps for each client about handed-out deliveries. One word: bits 48 to 63 hold the number
/// of messages to acknowledge up to and including the sampled one (0: no sample), bits 32 to 47 the largest
/// number of outstanding messages, bits 0 to 31 the largest number of outstanding bytes.
#[derive(Clone, Copy)]
struct WriteTimer {
    sample_left: u32,
    messages: u32,
    bytes: u32,
}

impl WriteTimer {
    fn of(word: u64) -> Self {
        Self { sample_left: (word >> 48) as u32, messages: (word >> 32) as u32 & 0xffff, bytes: word as u32 }
    }

    fn word(self) -> u64 {
        // Credit limits never allow more messages than fit into 16 bits.
        let sixteen = |value: u32| u64::from(value.min(0xffff));
        sixteen(self.sample_left) << 48 | sixteen(self.messages) << 32 | u64::from(self.bytes)
    }
}

/// The refused messages of a lane's client of which the host has not been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusals {
    pub(crate) untold: u32,
    pub(crate) notice: NoticeAt,
    /// The number of the last one's reason, and its correlation.
    pub(crate) reason: u8,
    pub(crate) correlation: u64,
}

/// Where the last notice of such refusals is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum NoticeAt {
    /// There is none, or the host has read it.
    Nowhere = 0,
    /// In the egress ring or the backlog, unread.
    UnderWay = 1,
    /// It found no room. The client is on a list of its worker.
    Owed = 2,
}

impl NoticeAt {
    fn of(number: u64) -> Self {
        match number {
            1 => Self::UnderWay,
            2 => Self::Owed,
            _ => Self::Nowhere,
        }
    }
}

/// Result of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) messages: u32,
    pub(crate) bytes: u32,
    /// When the sampled delivery that this acknowledgement covers was handed out, in raw ticks.
    pub(crate) sampled_at: Option<u64>,
}

#[cfg(not(corelane_loom))]
const _: () = assert!(size_of::<ClientSlot>() == 192);

impl ClientSlot {
    pub(crate) fn new() -> Self {
        Self {
            credit: Credit::new(),
            finished: AtomicU64::new(0),
            alive_at: AtomicU64::new(0),
            held: AtomicU32::new(0),
            close_link: AtomicU32::new(UNLISTED),
            closed_link: AtomicU32::new(UNLISTED),
            retired_link: AtomicU32::new(UNLISTED),
            batch: AtomicU64::new(0),
            reached: AtomicU64::new(0),
            leaving: AtomicU32::new(0),
            port_link: AtomicU32::new(UNLISTED),
            port_line: PortLine {
                submitted: AtomicU64::new(0),
                token: AtomicU64::new(0),
                handed: AtomicU64::new(0),
                place: AtomicU64::new(0),
                track: AtomicU64::new(0),
                sampled_at: AtomicU64::new(0),
                labels: AtomicU32::new(0),
                state: AtomicU64::new(0),
                name_and_policy: AtomicU32::new(0),
            },
            name: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Fills a free slot and opens it. Returns its new generation. Called under the control lock.
    pub(super) fn open(&self, new: &NewClient<'_>) -> u32 {
        self.leaving.store(0, Relaxed); // Relaxed: as in `fill`.
        let generation = self.fill(new, Phase::Open);
        self.credit.open(generation);
        generation
    }

    /// Fills a free slot for a client of a lane, which nobody can find and which has no credit before
    /// [`enter`](Self::enter). Returns its new generation. Called under the control lock.
    pub(super) fn reserve(&self, new: &NewClient<'_>) -> u32 {
        self.leaving.store(LANE, Relaxed); // Relaxed: as in `fill`.
        self.fill(new, Phase::Reserved)
    }

    /// Opens a reserved slot. Returns whether it was reserved for this generation.
    pub(super) fn enter(&self, generation: u32) -> bool {
        let entered = self.leave_phase(generation, Phase::Reserved, Phase::Open);
        if entered {
            self.credit.open(generation);
        }
        entered
    }

    fn fill(&self, new: &NewClient<'_>, phase: Phase) -> u32 {
        let line = &self.port_line;
        // 0 is never a valid generation.
        let generation = ((own_load(&line.place) >> 32) as u32).wrapping_add(1).max(1);
        // Relaxed throughout: the credit word's Release, the name table and the ring publish the slot.
        self.alive_at.store(0, Relaxed);
        line.token.store(new.token, Relaxed);
        line.handed.store(0, Relaxed);
        line.track.store(0, Relaxed);
        self.batch.store(0, Relaxed);
        self.reached.store(0, Relaxed);
        line.labels.store(u32::from(new.protocol) | u32::from(new.application) << 16, Relaxed);
        line.name_and_policy.store(new.name.len() as u32 | (new.policy as u32) << 8, Relaxed);
        for (place, word) in self.name.iter().enumerate() {
            let mut bytes = [0; 8];
            for (to, from) in bytes.iter_mut().zip(new.name.as_bytes().iter().skip(8 * place)) {
                *to = *from;
            }
            word.store(u64::from_ne_bytes(bytes), Relaxed);
        }
        let links = [&self.close_link, &self.closed_link, &self.port_link];
        debug_assert!(links.iter().all(|link| link.load(Relaxed) == UNLISTED), "a listed slot is not reused");
        let place = u64::from(generation) << 32 | u64::from(new.port) << 16 | u64::from(new.worker);
        line.place.store(place, Release); // Release: for a worker that compares the name without credit; see `place`.
        let state = SlotState { generation, worker: new.worker, phase };
        // Release: a thread that sees this generation open sees the slot filled; pairs with the Acquire in
        // `state`.
        line.state.store(state.word(), Release);
        generation
    }

    #[inline(always)]
    pub(crate) fn place(&self) -> SlotPlace {
        let place = self.port_line.place.load(Acquire); // Acquire: pairs with the Release in `open`.
        SlotPlace { generation: (place >> 32) as u32, port: (place >> 16) as u16, worker: place as u16 }
    }

    /// Numbers of the protocol and application.
    #[inline(always)]
    pub(crate) fn labels(&self) -> (u16, u16) {
        let labels = self.port_line.labels.load(Relaxed); // Relaxed: see `open`.
        (labels as u16, (labels >> 16) as u16)
    }

    /// Replaces the application: the host connects a client that was only recorded until then.
    #[cfg(not(corelane_loom))]
    pub(super) fn set_application(&self, application: u16) {
        let (protocol, _) = self.labels();
        // Relaxed: as in `open`.
        self.port_line.labels.store(u32::from(protocol) | u32::from(application) << 16, Relaxed);
    }

    /// A copy of the client's name. A reader that races with a reuse may get a mixture of two names. Such a
    /// reader has no credit, and compares the name.
    #[inline]
    pub(crate) fn name<'a>(&self, buffer: &'a mut NameBuffer) -> &'a str {
        std::str::from_utf8(self.name_bytes(buffer)).unwrap_or_default()
    }

    /// As [`name`](Self::name), without the check that the bytes are UTF-8. They are while the client is pinned.
    #[inline]
    pub(crate) fn name_bytes<'a>(&self, buffer: &'a mut NameBuffer) -> &'a [u8] {
        let length = (self.port_line.name_and_policy.load(Relaxed) & 0xff) as usize;
        let length = length.min(MAX_NAME_BYTES);
        for (to, from) in buffer.iter_mut().zip(&self.name).take(length.div_ceil(8)) {
            *to = from.load(Relaxed).to_ne_bytes(); // Relaxed: see `open`.
        }
        buffer.as_flattened().get(..length).unwrap_or_default()
    }

    /// Whether this is the client's name. A reader that races with a reuse compares with a mixture of two names, as in
    /// [`name`](Self::name).
    #[inline]
    pub(crate) fn is_named(&self, name: &[u8]) -> bool {
        let length = (self.port_line.name_and_policy.load(Relaxed) & 0xff) as usize; // Relaxed: see `open`.
        if length != name.len() {
            return false;
        }
        let (words, rest) = name.as_chunks::<8>();
        let mut own = self.name.iter().map(|word| word.load(Relaxed)); // Relaxed: see `open`.
        if !words.iter().zip(&mut own).all(|(word, own)| u64::from_ne_bytes(*word) == own) {
            return false;
        }
        let Some(last) = own.next().filter(|_| !rest.is_empty()) else { return rest.is_empty() };
        // The bytes behind the name are 0.
        let rest = match name.last_chunk::<8>() {
            Some(end) => u64::from_le_bytes(*end) >> (8 * (8 - rest.len())),
            None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        rest == u64::from_le_bytes(last.to_ne_bytes())
    }

    /// The client's credit policy. A reader without credit may get the policy of a successor. This does no
    /// harm, because closing a client compares the generation.
    pub(crate) fn policy(&self) -> CreditPolicy {
        // Relaxed: see `open`.
        CreditPolicy::from_number(u64::from(self.port_line.name_and_policy.load(Relaxed) >> 8 & 0x7f))
    }

    /// Notes that the same client has connected again.
    pub(crate) fn set_replaced(&self, generation: u32) {
        if self.state().generation == generation {
            // Relaxed: the reason of a count. If the slot has a new client meanwhile, its count has a wrong reason.
            self.port_line.name_and_policy.fetch_or(REPLACED, Relaxed);
        }
    }

    /// Why what the client has not acknowledged stays so once it is closed.
    pub(crate) fn unacknowledged(&self) -> Unacknowledged {
        let word = self.port_line.name_and_policy.load(Relaxed); // Relaxed: see `set_replaced`.
        if word & REPLACED == 0 { Unacknowledged::Closed } else { Unacknowledged::Replaced }
    }

    /// The token: the host's value for this client.
    #[inline(always)]
    pub(crate) fn token(&self) -> u64 {
        self.port_line.token.load(Relaxed) // Relaxed: a single value, which only the port writes.
    }

    /// Replaces the token. Called by the port.
    pub(crate) fn rebind(&self, token: u64) {
        self.port_line.token.store(token, Relaxed); // Relaxed: as in `token`.
    }

    /// The current generation, worker and phase of the slot.
    #[inline(always)]
    pub(crate) fn state(&self) -> SlotState {
        // Acquire pairs with the Release in `open`: a thread that sees the generation sees the filled slot.
        SlotState::of(self.port_line.state.load(Acquire))
    }

    /// The phase of this generation, or `None` if the slot has another generation. One load returns both, so
    /// no reuse can come between them.
    #[inline(always)]
    pub(crate) fn phase_of(&self, generation: u32) -> Option<Phase> {
        let state = self.state();
        let same = state.generation == generation || mutant("phase-without-generation");
        same.then_some(state.phase)
    }

    /// Moves this generation from one phase to another. True for the one caller that did it.
    pub(crate) fn leave_phase(&self, generation: u32, from: Phase, to: Phase) -> bool {
        self.change_state(|state| {
            let is_meant = state.generation == generation && state.phase == from;
            is_meant.then_some(SlotState { phase: to, ..state })
        })
    }

    /// Sets the worker that gets the client's messages; for a client without a single worker, the worker that
    /// gets its disconnect next. Called by the submitting half, while the client is on its port.
    pub(crate) fn set_current(&self, worker: usize) {
        self.change_state(|state| Some(SlotState { worker: worker as u16, ..state }));
    }

    fn change_state(&self, change: impl Fn(SlotState) -> Option<SlotState>) -> bool {
        let word = &self.port_line.state;
        // Acquire and Release: as in `open` and `state`. Compare-and-swap, because both halves of a port may
        // change the word at the same time.
        word.fetch_update(AcqRel, Acquire, |word| change(SlotState::of(word)).map(SlotState::word)).is_ok()
    }

    /// Counts a submission. Called by the port before it publishes the message.
    #[inline(always)]
    pub(crate) fn submit(&self) {
        let submitted = &self.port_line.submitted;
        submitted.store(own_load(submitted) + 1, Relaxed); // Relaxed: only the port writes it; the ring publishes it.
    }

    pub(crate) fn submitted(&self) -> u64 {
        self.port_line.submitted.load(Relaxed) // Relaxed: read by the port, or later under the control lock.
    }

    /// Counts ended messages. Called by the worker after everything that it did for them.
    #[inline(always)]
    pub(crate) fn finish(&self, messages: u64) {
        // Release pairs with the Acquire of the thread that frees the slot (`is_unused`) and with the one in
        // `is_quiet`.
        let order = ordering("finished-relaxed", Release, Relaxed);
        if self.has_several() {
            self.finished.fetch_add(messages, order);
            return;
        }
        self.finished.store(own_load(&self.finished) + messages, order);
    }

    /// Counts one of the client's messages. Called by its worker, before [`finish`](Self::finish).
    #[inline]
    pub(crate) fn count(&self, line: &ClientLine, message: ClientMessage) {
        if self.has_several() { line.count_shared(message) } else { line.count(message) }
    }

    /// Whether the client belongs to a lane. Its home worker then writes what a port writes otherwise.
    #[inline]
    pub(crate) fn is_of_lane(&self) -> bool {
        self.leaving.load(Relaxed) & LANE != 0 // Relaxed: as in `has_several`.
    }

    /// Notes that the home worker has taken the disconnect of a lane's client. Called by that worker.
    pub(crate) fn leave_lane(&self) {
        self.leaving.fetch_or(LEFT, Relaxed); // Relaxed: only the home worker uses the bit.
    }

    /// Whether the home worker has taken the client's disconnect.
    #[inline]
    pub(crate) fn has_left(&self) -> bool {
        self.leaving.load(Relaxed) & LEFT != 0 // Relaxed: as in `leave_lane`.
    }

    /// What the host of a lane's client knows of the messages that were refused. The words are those that a port uses for
    /// the token and the write time. Only for the home worker.
    pub(crate) fn refusals(&self) -> Refusals {
        let line = &self.port_line;
        let (word, correlation) = (own_load(&line.token), own_load(&line.sampled_at));
        Refusals {
            untold: (word >> 32) as u32,
            notice: NoticeAt::of(word & 3),
            reason: (word >> 8) as u8,
            correlation,
        }
    }

    pub(crate) fn set_refusals(&self, refusals: Refusals) {
        let Refusals { untold, notice, reason, correlation } = refusals;
        let word = u64::from(untold) << 32 | u64::from(reason) << 8 | notice as u64;
        self.port_line.token.store(word, Relaxed); // Relaxed, here and below: only the home worker uses the words.
        self.port_line.sampled_at.store(correlation, Relaxed);
    }

    /// Whether every worker may handle this client's messages. If so, its cells have several writers.
    #[inline(always)]
    pub(crate) fn has_several(&self) -> bool {
        // Relaxed: the bit is set before anything is pushed for this client and never changes for this
        // generation. Its port has set it itself.
        self.leaving.load(Relaxed) & SEVERAL != 0
    }

    /// Counts one more held message of the client.
    pub(crate) fn hold_one(&self) {
        // Relaxed: the count limits holds and publishes nothing.
        if self.has_several() {
            self.held.fetch_add(1, Relaxed);
        } else {
            self.held.store(self.held.load(Relaxed) + 1, Relaxed);
        }
    }

    /// Counts the end of one held message of the client.
    pub(crate) fn unhold_one(&self) {
        // Relaxed: as in `hold_one`.
        if self.has_several() {
            self.held.fetch_sub(1, Relaxed);
        } else {
            self.held.store(self.held.load(Relaxed).saturating_sub(1), Relaxed);
        }
    }

    /// Messages of the client that have ended, for its port. Acquire pairs with the Release in `finish`.
    #[inline(always)]
    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(ordering("quiet-finished-relaxed", Acquire, Relaxed))
    }

    /// Notes that a message of this client has caused a delivery to `port` in `batch`. Called by the worker
    /// before `finish`.
    #[inline]
    pub(crate) fn reach(&self, port: usize, batch: u64) {
        if self.has_several() {
            return; // A client without a single worker never moves.
        }
        // Relaxed: `finish` publishes both.
        self.batch.store(batch, Relaxed);
        self.reached.store(own_load(&self.reached) | 1 << port, Relaxed);
    }

    /// The worker that gets the client's messages, and 16 bits of the hash of its name. Called by the port.
    #[inline(always)]
    pub(crate) fn current(&self) -> (usize, u16) {
        let hash = self.port_line.name_and_policy.load(Relaxed); // Relaxed: only the port uses the hash.
        (usize::from(self.state().worker), (hash >> 16) as u16)
    }

    /// Sets where a client's messages go: to `worker`, or to `several` workers in turn. Called before
    /// anything is pushed for it.
    pub(crate) fn start_at(&self, worker: usize, hash: u16, several: Option<usize>) {
        // Relaxed: the ring that carries the client's messages publishes these stores. A thread that reads
        // the length of the name meanwhile finds the same length.
        let word = &self.port_line.name_and_policy;
        word.store(word.load(Relaxed) & 0xffff | u32::from(hash) << 16, Relaxed);
        self.set_current(worker);
        self.leaving.store(several.map_or(0, |workers| SEVERAL | workers as u32), Relaxed);
    }

    /// Whether nothing that this client sent is in flight: all its messages have finished, and the ports have
    /// consumed every delivery that they caused, according to its worker's `frontiers` (one per port). Called
    /// by the port.
    pub(crate) fn is_quiet(&self, frontiers: &[CachePadded<AtomicU64>]) -> bool {
        if mutant("placement-without-quiet") {
            return true;
        }
        // Relaxed: used by the weakening only.
        let held = if mutant("moves-while-held") { u64::from(self.held.load(Relaxed)) } else { 0 };
        if self.finished() + held != self.submitted() {
            return false;
        }
        // Relaxed: the Acquire in `finished` covers both, and no thread writes them while the client is
        // quiet.
        let (batch, mut ports) = (self.batch.load(Relaxed), self.reached.load(Relaxed));
        while ports != 0 {
            let port = ports.trailing_zeros() as usize;
            ports &= ports - 1;
            // Acquire pairs with the Release in `Frontier::advance`: this thread sees what the port consumed.
            let order = ordering("quiet-frontier-relaxed", Acquire, Relaxed);
            let frontier = frontiers.get(port).map_or(0, |cell| cell.load(order));
            if frontier < batch && !mutant("placement-without-frontier") {
                return false;
            }
        }
        true
    }

    /// Moves a quiet client to another worker. Called by the port; the next record in that worker's ring
    /// publishes the move.
    pub(crate) fn move_to(&self, worker: usize) {
        self.set_current(worker);
        // Relaxed: see above. The old worker is done with the client, and the new one has not begun.
        self.batch.store(0, Relaxed);
        self.reached.store(0, Relaxed);
    }

    /// Notes that a worker has taken the client's disconnect. Returns whether it is the last worker that must
    /// take it.
    pub(crate) fn pass_disconnect(&self) -> bool {
        if !self.has_several() || mutant("closed-by-first-worker") {
            return true;
        }
        // AcqRel: the last worker sees everything that the others did for the client.
        let one_less = |left: u32| (left & !SEVERAL > 0).then(|| left - 1);
        self.leaving.fetch_update(AcqRel, Acquire, one_less) == Ok(SEVERAL | 1)
    }

    /// Hands out a delivery that uses credit. Calls `now` if this delivery is sampled for the write time,
    /// which is the case if no earlier delivery of the client is sampled. Returns the messages and bytes that
    /// are handed out and unacknowledged.
    #[inline(always)]
    pub(crate) fn hand_out(&self, bytes: u32, now: impl FnOnce() -> u64) -> (u32, u32) {
        let line = &self.port_line;
        let handed = own_load(&line.handed) + (1 << 32) + u64::from(bytes);
        line.handed.store(handed, Relaxed); // Relaxed, here and below: only the port uses these words.
        let (messages, bytes) = ((handed >> 32) as u32, handed as u32);
        let before = own_load(&line.track);
        let mut track = WriteTimer::of(before);
        if track.sample_left == 0 {
            track.sample_left = messages;
            line.sampled_at.store(now(), Relaxed);
        }
        track.messages = track.messages.max(messages);
        track.bytes = track.bytes.max(bytes);
        if track.word() != before {
            line.track.store(track.word(), Relaxed);
        }
        (messages, bytes)
    }

    /// Gives back the credit of this generation for messages and bytes that the host has written, at most as
    /// much as was handed out. Returns how much was given back, and whether this covers the sampled delivery.
    #[inline]
    pub(crate) fn acknowledge(&self, generation: u32, messages: u32, bytes: u32) -> Acknowledged {
        let line = &self.port_line;
        let handed = own_load(&line.handed);
        let messages = messages.min((handed >> 32) as u32);
        let bytes = bytes.min(handed as u32);
        let given = (u64::from(messages) << 32) + u64::from(bytes);
        line.handed.store(handed - given, Relaxed); // Relaxed, here and below: only the port uses these words.
        let mut track = WriteTimer::of(own_load(&line.track));
        let mut sampled_at = None;
        if track.sample_left > 0 && messages > 0 {
            if messages >= track.sample_left || mutant("write-sample-early") {
                sampled_at = Some(own_load(&line.sampled_at));
            }
            track.sample_left = if sampled_at.is_some() { 0 } else { track.sample_left - messages };
            line.track.store(track.word(), Relaxed);
        }
        self.credit.subtract(generation, messages, bytes);
        Acknowledged { messages, bytes, sampled_at }
    }

    /// Outstanding messages and bytes of the client, current and largest. For its port, and for readers of figures.
    pub(crate) fn outstanding(&self) -> Outstanding {
        let (messages, bytes) = self.credit.outstanding();
        // Relaxed: only the port writes these words, and they publish nothing.
        let handed = self.port_line.handed.load(Relaxed);
        let track = WriteTimer::of(self.port_line.track.load(Relaxed));
        Outstanding {
            messages,
            bytes,
            handed_messages: (handed >> 32) as u32,
            handed_bytes: handed as u32,
            handed_messages_maximum: track.messages,
            handed_bytes_maximum: track.bytes,
        }
    }

    /// Gives back everything that was handed out and is unacknowledged; for a client of a lane, everything that is
    /// outstanding: what other workers still have for it in their rings reaches nobody. Returns the number of messages.
    pub(super) fn forgive(&self, generation: u32) -> u32 {
        if self.is_of_lane() {
            return self.credit.subtract(generation, u32::MAX, u32::MAX).0;
        }
        self.acknowledge(generation, u32::MAX, u32::MAX).messages
    }

    /// Whether a worker lists the client's CLIENT_CLOSED, which found no room.
    pub(crate) fn is_listed_as_closed(&self) -> bool {
        self.closed_link.load(Acquire) != UNLISTED // Acquire: pairs with the Release in `SlotList::pop`.
    }

    /// Whether nothing refers to a closed client.
    pub(super) fn is_unused(&self) -> bool {
        // Acquire of `finished` pairs with the Release in `finish`: the worker is done with the client's messages.
        // Acquire of `port_link` pairs with the Release in `SlotList::pop` and in the port's `hand_out_closed`: the
        // thread that took the client off its list is done with the slot.
        self.finished.load(Acquire) == self.submitted()
            && self.credit.is_unused()
            && (self.port_link.load(Acquire) == UNLISTED || mutant("listed-slot-reused"))
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::super::KeptFigures;
    use super::*;

    fn open(policy: CreditPolicy) -> ClientSlot {
        let slot = ClientSlot::new();
        slot.open(&NewClient {
            name: "ann",
            token: 7,
            port: 1,
            worker: 2,
            protocol: 3,
            application: 4,
            policy,
            figures: KeptFigures::NONE,
        });
        slot
    }

    #[test]
    fn name_and_policy_share_a_word_and_a_successor_starts_anew() {
        let slot = open(CreditPolicy::Drop);
        let mut buffer = NameBuffer::default();
        assert_eq!((slot.name(&mut buffer), slot.policy()), ("ann", CreditPolicy::Drop));
        slot.hand_out(100, || 5);
        slot.rebind(8);
        assert_eq!((slot.token(), slot.outstanding().handed_bytes_maximum), (8, 100));
        slot.open(&NewClient {
            name: "benjamin",
            token: 9,
            port: 1,
            worker: 2,
            protocol: 3,
            application: 4,
            policy: CreditPolicy::Refuse,
            figures: KeptFigures::NONE,
        });
        assert_eq!(
            (slot.name(&mut buffer), slot.policy(), slot.token()),
            ("benjamin", CreditPolicy::Refuse, 9)
        );
        assert_eq!(slot.outstanding(), Outstanding::default());
    }

    #[test]
    fn as_many_as_credit_allows_are_tracked_and_one_of_them_is_timed() {
        let slot = open(CreditPolicy::Disconnect);
        let most = super::super::MAX_MESSAGES;
        let mut readings = 0;
        for message in 1..=most {
            let outstanding = slot.hand_out(32_000, || {
                readings += 1;
                u64::from(message)
            });
            assert_eq!(outstanding, (message, 32_000 * message));
            slot.credit
                .try_add(1, 32_000, super::super::Limits { messages: most, bytes: i32::MAX as u32 })
                .unwrap();
        }
        let most_bytes = 32_000 * most;
        assert_eq!(readings, 1);
        assert_eq!(slot.acknowledge(1, 0, 0).sampled_at, None);
        assert_eq!(slot.acknowledge(1, 1, 32_000).sampled_at, Some(1));
        // The next one is the last in line: all others are acknowledged first.
        slot.credit.try_add(1, 0, super::super::Limits { messages: most, bytes: i32::MAX as u32 }).unwrap();
        slot.hand_out(0, || 99);
        assert_eq!(
            slot.acknowledge(1, most - 1, 0),
            Acknowledged { messages: most - 1, bytes: 0, sampled_at: None }
        );
        let last = slot.acknowledge(1, u32::MAX, u32::MAX);
        assert_eq!((last.messages, last.bytes, last.sampled_at), (1, most_bytes - 32_000, Some(99)));
        let left = slot.outstanding();
        assert_eq!((left.messages, left.bytes, left.handed_messages, left.handed_bytes), (0, 0, 0, 0));
        assert_eq!((left.handed_messages_maximum, left.handed_bytes_maximum), (most, most_bytes));
    }
}
