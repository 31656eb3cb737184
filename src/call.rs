//! Synchronous calls. Each pooled slot has one word, {generation, state}, so that a message is handled exactly once,
//! by the worker or by the base route, whatever comes first: the result, the caller's time-out, or a stop. The port's
//! owner takes slots and waits for them; workers start and finish the calls that the ring's records name. Model:
//! `models/call.rs`.
//!
//! | step | by | how |
//! |---|---|---|
//! | FREE → WAITING | the port's submitting half | store; Acquire of FREE before it |
//! | WAITING → RUNNING | the worker, before the handler | compare-exchange |
//! | WAITING → FREE, next generation | the caller: cancelled, the base route may run | compare-exchange |
//! | RUNNING → DONE, with the result | the worker | compare-exchange, Release; then wake |
//! | WAITING → DONE, refused | the thread that settles the ring after its worker | compare-exchange; then wake |
//! | RUNNING → FREE, next generation | the caller after its time-out: abandoned, no base route | compare-exchange |
//! | DONE → FREE, next generation | the caller, with the result | store, Release |
//!
//! The word contains the result. A caller that gives up can therefore free its slot at once, however long the worker
//! takes: a worker that ends late finds another generation and changes nothing (`docs/decisions/0008-call-word.md`).
//!
//! Slots are never deallocated, and a waiter checks its own generation after each wake, because a late wake may reach
//! the slot's next user.

use crate::park::{WakeWord, after_publishing};
use crate::sync::{AcqRel, Acquire, AtomicU64, Relaxed, Release, mutant, ordering};
use crossbeam_utils::Backoff;
use std::time::{Duration, Instant};

const FREE: u64 = 0;
const WAITING: u64 = 1;
const RUNNING: u64 = 2;
const DONE: u64 = 3;
const STATE: u64 = 0xff;
const RESULT_SHIFT: u32 = 8;
const RESULT: u64 = 0xff_ffff;

/// A call: generation in the upper half, slot index in the lower half. 0 in a record means no call; generations start
/// at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallId(pub(crate) u64);

impl CallId {
    fn word(self, state: u64) -> u64 {
        self.0 & !0xffff_ffff | state
    }

    fn done(self, result: u64) -> u64 {
        self.word(DONE) | (result & RESULT) << RESULT_SHIFT
    }

    /// The word of the freed slot. Generation 0 is never used.
    fn next_free(self) -> u64 {
        let generation = ((self.0 >> 32) as u32).wrapping_add(1).max(1);
        u64::from(generation) << 32 | FREE
    }
}

/// How a call ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallEnd {
    /// The worker's result.
    Done(u64),
    /// The worker will not handle the message; the caller has it back.
    Cancelled,
    /// The worker is handling the message; its result is discarded.
    Abandoned,
}

#[repr(align(128))]
#[derive(Debug)]
struct CallSlot {
    word: AtomicU64,
    wake: WakeWord,
}

/// One port's calls.
#[derive(Debug)]
pub(crate) struct Calls {
    slots: Box<[CallSlot]>,
    /// Whether a caller polls for a few microseconds before it sleeps. An idle worker answers in that time, and the call
    /// then costs no wake. Without a core for the worker, polling would only delay it.
    spins: bool,
}

impl Calls {
    pub(crate) fn new(count: usize, spins: bool) -> Self {
        let free = |_| CallSlot { word: AtomicU64::new(1 << 32 | FREE), wake: WakeWord::futex() };
        Self { slots: (0..count).map(free).collect(), spins }
    }

    /// Bytes of `count` slots, for the memory budget.
    pub(crate) const fn bytes(count: usize) -> usize {
        count * size_of::<CallSlot>()
    }

    fn get(&self, id: CallId) -> Option<&CallSlot> {
        self.slots.get((id.0 & 0xffff_ffff) as usize)
    }

    /// Takes a free slot. One thread at a time. `None` if every slot is in use.
    pub(crate) fn take(&self) -> Option<CallId> {
        for (index, call) in self.slots.iter().enumerate() {
            // Acquire: the slot's last user is done with it; pairs with the Release of the store that freed it.
            let word = call.word.load(Acquire);
            if word & STATE == FREE {
                let id = CallId(word & !0xffff_ffff | index as u64);
                call.word.store(id.word(WAITING), Relaxed); // Relaxed: the ring's record publishes it.
                return Some(id);
            }
        }
        None
    }

    /// Returns a call whose record was never pushed.
    pub(crate) fn untake(&self, id: CallId) {
        if let Some(call) = self.get(id) {
            call.word.store(id.next_free(), Release); // Release: as in `poll`.
        }
    }

    /// The worker is about to handle the message. Returns false if the caller has cancelled, or if the record is
    /// forged.
    #[inline]
    pub(crate) fn start(&self, id: CallId) -> bool {
        let Some(call) = self.get(id) else { return false };
        if mutant("call-start-by-store") {
            let waiting = call.word.load(Acquire) == id.word(WAITING);
            call.word.store(id.word(RUNNING), Release);
            return waiting;
        }
        // AcqRel: exactly one of this exchange and the caller's cancel succeeds, and the other one sees it.
        call.word.compare_exchange(id.word(WAITING), id.word(RUNNING), AcqRel, Relaxed).is_ok()
    }

    /// The worker has handled the message. Returns whether the caller gets the result; false if it has given up.
    pub(crate) fn finish(&self, id: CallId, result: u64) -> bool {
        let Some(call) = self.get(id) else { return false };
        let wake = || after_publishing(|| call.wake.wake_if_asleep());
        if mutant("call-wake-before-done") {
            wake();
        }
        // Release: publishes what the worker did for the message; pairs with the Acquire in `poll`.
        let order = ordering("call-done-relaxed", Release, Relaxed);
        if mutant("call-done-by-store") {
            call.word.store(id.done(result), Release);
        } else if call.word.compare_exchange(id.word(RUNNING), id.done(result), order, Relaxed).is_err() {
            return false;
        }
        if !mutant("call-wake-before-done") {
            wake();
        }
        true
    }

    /// Returns the result once it is there, and frees the slot.
    fn poll(&self, call: &CallSlot, id: CallId) -> Option<u64> {
        // Acquire: DONE makes what the worker did visible; pairs with the Release in `finish`.
        let word = call.word.load(Acquire);
        let result = word >> RESULT_SHIFT & RESULT;
        if word != id.done(result) && !mutant("call-trusts-wake") {
            return None;
        }
        call.word.store(id.next_free(), Release); // Release: pairs with the Acquire in `take`.
        Some(result)
    }

    /// The caller gives up waiting. The slot is free for the next call.
    pub(crate) fn give_up(&self, id: CallId) -> CallEnd {
        let Some(call) = self.get(id) else { return CallEnd::Cancelled };
        // AcqRel for both exchanges, as in `start`; success also frees the slot for its next user.
        if call.word.compare_exchange(id.word(WAITING), id.next_free(), AcqRel, Relaxed).is_ok() {
            return CallEnd::Cancelled;
        }
        if call.word.compare_exchange(id.word(RUNNING), id.next_free(), AcqRel, Relaxed).is_ok() {
            return CallEnd::Abandoned;
        }
        match self.poll(call, id) {
            Some(result) => CallEnd::Done(result),
            None => {
                debug_assert!(false, "DONE is the only state that follows RUNNING");
                CallEnd::Abandoned
            }
        }
    }

    /// Waits for the result until `deadline`, or until `closed` returns true: then no worker will take the message.
    pub(crate) fn wait(&self, id: CallId, deadline: Option<Instant>, closed: impl Fn() -> bool) -> CallEnd {
        let Some(call) = self.get(id) else { return CallEnd::Cancelled };
        let backoff = Backoff::new();
        loop {
            if let Some(result) = self.poll(call, id) {
                return CallEnd::Done(result);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) || closed() {
                return self.give_up(id);
            }
            if self.spins && !backoff.is_completed() {
                backoff.snooze();
                continue;
            }
            // Relaxed: after the fence, and `poll` loads the word again.
            call.wake.sleep_unless(left, || call.word.load(Relaxed) & STATE == DONE || closed());
        }
    }

    /// Wakes every caller, so that each evaluates `closed` again.
    pub(crate) fn wake_all(&self) {
        after_publishing(|| {
            for call in &self.slots {
                call.wake.wake_if_asleep();
            }
        });
    }

    /// No worker will take the message. Gives its caller `result`, unless the caller has given up before.
    pub(crate) fn refuse(&self, id: CallId, result: u64) {
        let Some(call) = self.get(id) else { return };
        // AcqRel: as in `start`.
        if call.word.compare_exchange(id.word(WAITING), id.done(result), AcqRel, Relaxed).is_ok() {
            after_publishing(|| call.wake.wake_if_asleep());
        }
    }
}
