//! The owner's side of a wake word whose descriptor it waits for in a poller of its own, such as `epoll`. The wait itself
//! is the poller's. Used by `router::port` and `router::local`.

use super::WakeWord;
use crate::sync::mutant;

#[derive(Debug, Default)]
pub(crate) struct Waiter {
    /// The word may say that the owner sleeps.
    armed: bool,
}

impl Waiter {
    /// Announces that the owner is about to wait, unless there is `news`. Returns whether it may wait.
    pub(crate) fn arm_unless(&mut self, word: &WakeWord, news: impl FnOnce() -> bool) -> bool {
        self.armed = true;
        let armed = word.arm_unless(news);
        if mutant("local-read-before-wait") {
            word.drain();
        }
        armed
    }

    /// The owner is awake, whatever has woken it. It must call this before it publishes anything: a word that still
    /// says asleep makes the owner signal itself, if it is also the one who publishes.
    ///
    /// `reported`: the poller has reported the descriptor. The descriptor is read then, and only then. That the word is
    /// cleared says nothing about the descriptor: a waker clears the word first and signals later. A read in between
    /// would find nothing, and the signal that follows would leave the descriptor readable for good.
    pub(crate) fn awake(&mut self, word: &WakeWord, reported: bool) {
        let mut cleared = false;
        if std::mem::take(&mut self.armed) && !mutant("local-no-disarm") {
            cleared = word.disarm();
        }
        let reads = if mutant("local-read-if-cleared") { cleared } else { reported };
        if reads {
            word.drain();
        }
    }

    /// As [`awake`](Self::awake), for an owner that does not know whether its poller has reported the descriptor. A
    /// read of a descriptor without a signal returns at once.
    pub(crate) fn awake_unsure(&mut self, word: &WakeWord) {
        if self.armed {
            self.awake(word, true);
        }
    }
}
