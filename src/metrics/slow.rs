//! The latest slow messages of one recording thread: a small ring of words that the thread writes and the
//! collector copies once a second. This is a seqlock per ring. A message that is overwritten before the
//! collector copies it is missing from the list, and is counted as missed. The counts of slow messages in the
//! series are exact.
//!
//! | field | stored | loaded |
//! |---|---|---|
//! | `begun` | first, before a Release fence | last, after an Acquire fence |
//! | `words` | second, Relaxed | second, Relaxed |
//! | `written` | last, Release | first, Acquire |
//!
//! If the words of an entry were being replaced while they were copied, `begun` is too large, and the copy is
//! dropped.

use super::cell::Writer;
use super::label::{ApplicationId, ProtocolId, TypeId};
use super::timing::{SeriesIds, Timing};
use crate::id::{ClientId, MAX_NAME_BYTES};
use crate::sync::{Acquire, AtomicU64, Relaxed, Release, fence, mutant, own_load};

/// Number of entries of a ring.
#[cfg(not(corelane_loom))]
const ENTRIES: u64 = 64;
#[cfg(corelane_loom)]
const ENTRIES: u64 = 1;

const NAME_WORDS: usize = MAX_NAME_BYTES / 8;
#[cfg(not(corelane_loom))]
pub(crate) const SLOW_WORDS: usize = 8 + NAME_WORDS;
#[cfg(corelane_loom)]
pub(crate) const SLOW_WORDS: usize = 2;

/// One slow message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlowMessage {
    pub(crate) timing: Timing,
    /// 0 without a client.
    pub(crate) client: ClientId,
    /// The client's name, cut off at `MAX_NAME_BYTES`, and its length.
    pub(crate) name: ([u8; MAX_NAME_BYTES], usize),
    pub(crate) ids: SeriesIds,
    /// Whether the message was delivered.
    pub(crate) succeeded: bool,
    pub(crate) bytes: u64,
}

#[cfg(corelane_loom)]
impl SlowMessage {
    /// Two words under loom: too few for a whole message.
    pub(crate) fn words(&self) -> [u64; SLOW_WORDS] {
        [self.timing.queue_wait, self.timing.service]
    }

    pub(crate) fn name_of(_: &str) -> ([u8; MAX_NAME_BYTES], usize) {
        ([0; MAX_NAME_BYTES], 0)
    }
}

#[cfg(not(corelane_loom))]
impl SlowMessage {
    pub(crate) fn words(&self) -> [u64; SLOW_WORDS] {
        let (TypeId(message_type), ProtocolId(protocol), ApplicationId(application)) = self.ids;
        let labels = u64::from(message_type) | u64::from(protocol) << 16 | u64::from(application) << 32;
        let mut words = [0; SLOW_WORDS];
        let head = [
            self.timing.ended,
            self.timing.queue_wait,
            self.timing.service,
            self.client.0,
            labels | u64::from(self.succeeded) << 48,
            self.bytes,
            self.name.1 as u64,
            self.timing.held.map_or(u64::MAX, |held| held.min(u64::MAX - 1)),
        ];
        let name = self.name.0.chunks(8).map(|bytes| {
            let mut word = [0; 8];
            word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            u64::from_ne_bytes(word)
        });
        words.iter_mut().zip(head.into_iter().chain(name)).for_each(|(to, from)| *to = from);
        words
    }

    fn of(
        [ended, queue_wait, service, client, labels, bytes, length, held, name @ ..]: [u64; SLOW_WORDS],
    ) -> Self {
        let mut text = [0; MAX_NAME_BYTES];
        let bytes_of = name.iter().flat_map(|word| word.to_ne_bytes());
        text.iter_mut().zip(bytes_of).for_each(|(to, from)| *to = from);
        Self {
            timing: Timing { queue_wait, service, held: (held < u64::MAX).then_some(held), ended },
            client: ClientId(client),
            name: (text, (length as usize).min(MAX_NAME_BYTES)),
            ids: (
                TypeId(labels as u16),
                ProtocolId((labels >> 16) as u16),
                ApplicationId((labels >> 32) as u16),
            ),
            succeeded: labels >> 48 & 1 == 1,
            bytes,
        }
    }

    /// A name in the form that an entry stores.
    pub(crate) fn name_of(name: &str) -> ([u8; MAX_NAME_BYTES], usize) {
        let mut text = [0; MAX_NAME_BYTES];
        text.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
        (text, name.len().min(MAX_NAME_BYTES))
    }

    pub(crate) fn client_name(&self) -> String {
        String::from_utf8_lossy(self.name.0.get(..self.name.1).unwrap_or_default()).into_owned()
    }
}

#[derive(Debug)]
pub(crate) struct SlowRing {
    begun: AtomicU64,
    written: AtomicU64,
    words: Box<[AtomicU64]>,
}

impl SlowRing {
    /// Bytes of the entries, for the budget.
    pub(crate) const BYTES: usize = ENTRIES as usize * SLOW_WORDS * 8 + 24;

    pub(crate) fn new() -> Self {
        let words = (0..ENTRIES as usize * SLOW_WORDS).map(|_| AtomicU64::new(0)).collect();
        Self { begun: AtomicU64::new(0), written: AtomicU64::new(0), words }
    }

    /// Writes one message over the oldest one.
    #[cold]
    pub(crate) fn write(&self, _: &mut Writer, message: [u64; SLOW_WORDS]) {
        let number = own_load(&self.written);
        // Relaxed: the Release fence orders this store before the words. The fence pairs with the Acquire
        // fence in `read`.
        self.begun.store(number + 1, Relaxed);
        if !mutant("slow-no-release-fence") {
            fence(Release);
        }
        for (word, value) in self.place(number).iter().zip(message) {
            word.store(value, Relaxed); // Relaxed: `written` publishes it.
        }
        self.written.store(number + 1, Release); // Release: pairs with the Acquire in `read`.
    }

    /// Passes the words of each message since `seen` to `each`, and returns the `seen` of the next call.
    /// Messages that have been overwritten are skipped.
    pub(crate) fn read(&self, seen: u64, mut each: impl FnMut([u64; SLOW_WORDS])) -> u64 {
        let written = self.written.load(Acquire); // Acquire: pairs with the Release in `write`.
        for number in seen.max(written.saturating_sub(ENTRIES))..written {
            let mut message = [0; SLOW_WORDS];
            for (value, word) in message.iter_mut().zip(self.place(number)) {
                *value = word.load(Relaxed); // Relaxed: the check of `begun` below detects a torn copy.
            }
            if !mutant("slow-no-acquire-fence") {
                fence(Acquire); // Pairs with the Release fence in `write`.
            }
            // Relaxed: the Acquire fence orders this load after the words. A copy is whole if the writer has
            // not begun the entry that replaces it.
            if self.begun.load(Relaxed) <= number + ENTRIES {
                each(message);
            }
        }
        written
    }

    /// Like [`read`](Self::read), decoded into messages.
    #[cfg(not(corelane_loom))]
    pub(crate) fn messages(&self, seen: u64, mut each: impl FnMut(SlowMessage)) -> u64 {
        self.read(seen, |words| each(SlowMessage::of(words)))
    }

    fn place(&self, number: u64) -> &[AtomicU64] {
        let start = (number % ENTRIES) as usize * SLOW_WORDS;
        self.words.get(start..start + SLOW_WORDS).unwrap_or_default()
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    fn message(number: u64) -> SlowMessage {
        SlowMessage {
            timing: Timing {
                queue_wait: number,
                service: 2 * number,
                held: number.is_multiple_of(2).then_some(4 * number),
                ended: 3 * number,
            },
            client: ClientId(number),
            name: SlowMessage::name_of("ann-ä"),
            ids: (TypeId(1), ProtocolId(2), ApplicationId(3)),
            succeeded: number.is_multiple_of(2),
            bytes: u64::MAX - number,
        }
    }

    #[test]
    fn the_last_ones_are_read_once_as_they_were_written() {
        let (ring, mut writer) = (SlowRing::new(), Writer::new());
        let mut seen = 0;
        let mut found = Vec::new();
        for number in 0..10 {
            ring.write(&mut writer, message(number).words());
        }
        seen = ring.messages(seen, |one| found.push(one));
        assert_eq!(found, (0..10).map(message).collect::<Vec<_>>());
        assert_eq!(found[3].client_name(), "ann-ä");
        found.clear();
        for number in 10..210 {
            ring.write(&mut writer, message(number).words());
        }
        seen = ring.messages(seen, |one| found.push(one));
        assert_eq!(found, (210 - ENTRIES..210).map(message).collect::<Vec<_>>());
        assert_eq!((ring.messages(seen, |_| panic!("read twice")), seen), (210, 210));
    }
}
