//! Messages for names that are not connected. Each worker holds the messages that it received, in one queue per
//! name, until the name connects or the queue's time is over. The time counts from the queue's first message.
//! The number of messages is bounded per sender, per name and per worker. Owned by the worker. All memory that
//! the limits allow is reserved at the start.
//!
//! All queues have the same hold time, so a list in order of creation serves as the timer: the oldest queue
//! expires first.
//!
//! Used by `dispatch` (holds a message), `held` (ends it), `remote` (returns one), `unknown` (ends brief ones) and `state`. The
//! memory is in `pool` and `blocks`.

#[cfg(all(test, not(corelane_loom)))]
mod tests;

use crate::clients::{ClientId, MAX_NAME_BYTES, NameHash};
use crate::config::{Config, Key};
use crate::metrics::{ApplicationId, ProtocolId, TypeId};
use crate::router::elsewhere::Elsewhere;
use crate::router::notice::Tell;
use crate::router::worker::blocks::Blocks;
use crate::router::worker::pool::{END, Linked, Pool};
use crate::sync::{mutant, os};

/// A held message without its payload. The payload is stored in blocks, in the form in which it will be
/// relayed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) sender: ClientId,
    pub(crate) stamp: u64,
    pub(crate) correlation: u64,
    pub(crate) labels: (TypeId, ProtocolId, ApplicationId),
    /// When the worker took the message from its ring, and since when it has been held, in raw ticks.
    pub(crate) started: u64,
    pub(crate) since: u64,
    /// The size of the message as it was submitted.
    pub(crate) bytes: u32,
    /// The port that has submitted the message.
    pub(crate) port: u16,
    /// Its type may not be held: it waits only for what the cluster says of the name (`unknown`).
    pub(crate) is_brief: bool,
    pub(crate) tell: Tell,
}

#[derive(Debug)]
struct HeldMessage {
    held: Held,
    length: u32,
    first_block: u32,
    next: u32,
}

/// The messages held for one name. Never empty.
#[derive(Debug)]
struct Queue {
    hash: NameHash,
    created: u64,
    name: [u8; MAX_NAME_BYTES],
    name_length: u32,
    count: u32,
    /// How many of them are brief.
    briefs: u32,
    first: u32,
    last: u32,
    /// The last message that has come back from another machine; see [`Holds::put_back`].
    returned: u32,
    /// Where those messages were sent: nothing is sent there again.
    gone_from: Option<Elsewhere>,
    /// The next queue of the same bucket.
    chain: u32,
    /// The queues created before and after this one.
    earlier: u32,
    later: u32,
    /// It is in the list of those that wait for room, and its neighbours there.
    is_stalled: bool,
    before: u32,
    behind: u32,
}

impl Linked for HeldMessage {
    fn link(&mut self) -> &mut u32 {
        &mut self.next
    }
}

impl Linked for Queue {
    fn link(&mut self) -> &mut u32 {
        &mut self.chain
    }
}

#[derive(Debug)]
pub(crate) struct Holds {
    messages: Pool<HeldMessage>,
    blocks: Blocks,
    queues: Pool<Queue>,
    /// By the name's hash: the first queue of each bucket.
    buckets: Box<[u32]>,
    /// The queues in order of creation.
    oldest: u32,
    newest: u32,
    /// The queues that wait for room on a link, in the order in which they are tried.
    stalled: (u32, u32),
    count: usize,
    bytes: usize,
    hold_ticks: u64,
    per_sender: u32,
    per_name: usize,
    message_limit: usize,
    byte_limit: usize,
    /// One bit per client, by its index: the senders of a queue that already have their expiry notice.
    marked: Box<[u64]>,
}

/// Words for one mark per client.
const fn marks(clients: u64) -> u64 {
    clients.div_ceil(64)
}

impl Holds {
    pub(crate) fn new(config: &Config, hold_ticks: u64) -> Self {
        let (messages, bytes) = (config.get(Key::HoldMessages), config.get(Key::HoldBytes));
        Self {
            messages: Pool::new(messages as usize),
            blocks: Blocks::new(bytes, messages),
            queues: Pool::new(messages as usize),
            buckets: vec![END; messages.next_power_of_two() as usize].into(),
            oldest: END,
            newest: END,
            stalled: (END, END),
            count: 0,
            bytes: 0,
            hold_ticks,
            per_sender: config.get(Key::HoldPerSender) as u32,
            per_name: config.count(Key::HoldPerName),
            message_limit: messages as usize,
            byte_limit: bytes as usize,
            marked: vec![0; marks(config.get(Key::MaxClients)) as usize].into(),
        }
    }

    /// A value that never holds anything.
    pub(crate) fn hollow() -> Self {
        Self {
            messages: Pool::new(0),
            blocks: Blocks::new(0, 0),
            queues: Pool::new(0),
            buckets: Box::default(),
            oldest: END,
            newest: END,
            stalled: (END, END),
            count: 0,
            bytes: 0,
            hold_ticks: 0,
            per_sender: 0,
            per_name: 0,
            message_limit: 0,
            byte_limit: 0,
            marked: Box::default(),
        }
    }

    /// The most bytes that the holds can take.
    pub(crate) const fn memory(messages: u64, bytes: u64, clients: u64) -> u64 {
        marks(clients) * size_of::<u64>() as u64
            + Pool::<HeldMessage>::bytes(messages)
            + Blocks::bytes(bytes, messages)
            + Pool::<Queue>::bytes(messages)
            + messages.next_power_of_two() * size_of::<u32>() as u64
    }

    /// Makes its pages resident.
    pub(crate) fn touch(&mut self) -> std::io::Result<()> {
        self.messages.touch()?;
        self.blocks.touch()?;
        self.queues.touch()?;
        os::touch(&mut self.buckets)?;
        os::touch(&mut self.marked)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How long a message may be held, in raw ticks.
    pub(crate) fn hold_ticks(&self) -> u64 {
        self.hold_ticks
    }

    pub(crate) fn messages(&self) -> usize {
        self.count
    }

    pub(crate) fn holds_for(&self, hash: NameHash) -> bool {
        self.count > 0 && self.queue(hash).is_some()
    }

    /// Whether one more message of `bytes` can be held. `of_sender` is how many messages of its sender are held
    /// already.
    pub(crate) fn has_room(&self, hash: NameHash, of_sender: u32, bytes: usize) -> bool {
        let for_name = self.queue(hash).map_or(0, |(_, queue)| queue.count as usize);
        of_sender < self.per_sender
            && for_name < self.per_name
            && self.count < self.message_limit
            && self.bytes + bytes <= self.byte_limit
    }

    fn bucket(&self, hash: NameHash) -> usize {
        hash.0 as usize & (self.buckets.len() - 1)
    }

    fn queue(&self, hash: NameHash) -> Option<(u32, &Queue)> {
        let mut index = self.buckets.get(self.bucket(hash)).copied()?;
        loop {
            let queue = self.queues.get(index)?;
            if queue.hash == hash {
                return Some((index, queue));
            }
            index = queue.chain;
        }
    }

    /// Holds a message. `has_room` must have returned true.
    pub(crate) fn hold(&mut self, hash: NameHash, name: &[u8], now: u64, held: Held, payload: &[u8]) {
        let last = |queue: &Queue| if held.is_brief && mutant("ask-brief-first") { END } else { queue.last };
        self.put_behind(hash, name, now, (held, payload), last);
    }

    /// Puts a message back that another machine has not delivered, because its recipient was gone `from` there. It goes
    /// before all messages of the name that have not come back: it was submitted before them. `has_room` must have
    /// returned true.
    pub(crate) fn put_back(&mut self, hash: NameHash, name: &[u8], message: (Held, &[u8]), from: Elsewhere) {
        let since = message.0.since;
        let returned = |queue: &Queue| if mutant("link-back-behind") { queue.last } else { queue.returned };
        let Some((place, message)) = self.put_behind(hash, name, since, message, returned) else { return };
        let Some(queue) = self.queues.get_mut(place) else { return };
        queue.returned = message;
        queue.gone_from = Some(from);
        // The time counts from the first message, which may be this one.
        if since < queue.created && !mutant("link-time-of-later") {
            queue.created = since;
            self.unlink(place);
            self.link_by_age(place, since);
        }
    }

    /// Puts a message into the queue of a name, behind the message that `place` names; first for `END`. Returns the
    /// places of queue and message.
    fn put_behind(
        &mut self,
        hash: NameHash,
        name: &[u8],
        created: u64,
        (held, payload): (Held, &[u8]),
        place: impl Fn(&Queue) -> u32,
    ) -> Option<(u32, u32)> {
        let queue_at = match self.queue(hash) {
            Some((index, _)) => Some(index),
            None => self.add_queue(hash, name, created),
        };
        let first_block = self.blocks.write(payload);
        let message = HeldMessage { held, length: payload.len() as u32, first_block, next: END };
        let message = self.messages.put(message);
        let queue = queue_at.and_then(|queue| self.queues.get_mut(queue));
        let (Some(queue), Some(message)) = (queue, message) else {
            debug_assert!(false, "`has_room` returned true");
            return None;
        };
        let before = place(queue);
        let next = match self.messages.get_mut(before) {
            Some(before) => std::mem::replace(&mut before.next, message),
            None => std::mem::replace(&mut queue.first, message),
        };
        if next == END {
            queue.last = message;
        }
        if let Some(put) = self.messages.get_mut(message) {
            put.next = next;
        }
        queue.count += 1;
        queue.briefs += u32::from(held.is_brief);
        self.count += 1;
        self.bytes += payload.len();
        Some((queue_at?, message))
    }

    /// Where the messages that have come back for a name were sent, if there are some.
    pub(crate) fn gone_from(&self, hash: NameHash) -> Option<Elsewhere> {
        self.queue(hash).and_then(|(_, queue)| queue.gone_from)
    }

    fn add_queue(&mut self, hash: NameHash, name: &[u8], created: u64) -> Option<u32> {
        let mut copy = [0; MAX_NAME_BYTES];
        for (to, from) in copy.iter_mut().zip(name) {
            *to = *from;
        }
        let bucket = self.bucket(hash);
        let index = self.queues.put(Queue {
            hash,
            created,
            name: copy,
            name_length: name.len().min(MAX_NAME_BYTES) as u32,
            count: 0,
            briefs: 0,
            first: END,
            last: END,
            returned: END,
            gone_from: None,
            chain: self.buckets[bucket],
            earlier: END,
            later: END,
            is_stalled: false,
            before: END,
            behind: END,
        })?;
        self.buckets[bucket] = index;
        self.link_by_age(index, created);
        Some(index)
    }

    /// Puts a queue into the list in order of creation. A message that has come back may be older than the newest queues.
    fn link_by_age(&mut self, index: u32, created: u64) {
        let (mut earlier, mut later) = (self.newest, END);
        while let Some(queue) = self.queues.get(earlier).filter(|queue| queue.created > created) {
            (earlier, later) = (queue.earlier, earlier);
        }
        match self.queues.get_mut(earlier) {
            Some(queue) => queue.later = index,
            None => self.oldest = index,
        }
        match self.queues.get_mut(later) {
            Some(queue) => queue.earlier = index,
            None => self.newest = index,
        }
        if let Some(queue) = self.queues.get_mut(index) {
            (queue.earlier, queue.later) = (earlier, later);
        }
    }

    /// Takes a queue from the list in order of creation.
    fn unlink(&mut self, index: u32) {
        let Some(queue) = self.queues.get(index) else { return };
        let (earlier, later) = (queue.earlier, queue.later);
        match self.queues.get_mut(earlier) {
            Some(earlier) => earlier.later = later,
            None => self.oldest = later,
        }
        match self.queues.get_mut(later) {
            Some(later) => later.earlier = earlier,
            None => self.newest = earlier,
        }
    }

    /// The messages of a name wait for room on a link: behind those of the other names that do.
    pub(crate) fn stall(&mut self, hash: NameHash) {
        let Some((place, _)) = self.queue(hash) else { return };
        let last = self.stalled.1;
        let Some(queue) = self.queues.get_mut(place).filter(|queue| !queue.is_stalled) else { return };
        (queue.is_stalled, queue.before, queue.behind) = (true, last, END);
        match self.queues.get_mut(last) {
            Some(last) => last.behind = place,
            None => self.stalled.0 = place,
        }
        self.stalled.1 = place;
    }

    /// Takes the first name whose messages wait for room.
    pub(crate) fn pop_stalled(&mut self) -> Option<NameHash> {
        let place = self.stalled.0;
        let hash = self.queues.get(place)?.hash;
        self.unstall(place);
        Some(hash)
    }

    fn unstall(&mut self, place: u32) {
        let Some(queue) = self.queues.get_mut(place).filter(|queue| queue.is_stalled) else { return };
        queue.is_stalled = false;
        let (before, behind) = (queue.before, queue.behind);
        match self.queues.get_mut(before) {
            Some(before) => before.behind = behind,
            None => self.stalled.0 = behind,
        }
        match self.queues.get_mut(behind) {
            Some(behind) => behind.before = before,
            None => self.stalled.1 = before,
        }
    }

    /// The first message held for a name. Copies its payload.
    pub(crate) fn front(&self, hash: NameHash, payload: &mut Vec<u8>) -> Option<Held> {
        let (_, queue) = self.queue(hash)?;
        let message = self.messages.get(queue.first)?;
        self.blocks.read(message.first_block, message.length as usize, payload);
        Some(message.held)
    }

    /// Removes the first message held for a name.
    pub(crate) fn pop(&mut self, hash: NameHash) -> Option<Held> {
        let (place, queue) = self.queue(hash)?;
        let index = queue.first;
        let (held, next) = self.free(index)?;
        if let Some(queue) = self.queues.get_mut(place) {
            queue.first = next;
            queue.count -= 1;
            queue.briefs -= u32::from(held.is_brief);
            if queue.returned == index {
                queue.returned = END;
            }
        }
        if next == END {
            self.remove_queue(hash, place);
        }
        Some(held)
    }

    /// Gives the memory of a message back. Returns it, and the message behind it.
    fn free(&mut self, index: u32) -> Option<(Held, u32)> {
        let message = self.messages.get(index)?;
        let (held, next, block) = (message.held, message.next, message.first_block);
        self.count -= 1;
        self.bytes -= message.length as usize;
        self.messages.give_back(index);
        self.blocks.give_back(block);
        Some((held, next))
    }

    /// As [`pop`](Self::pop), for a message that was handed over to another machine: if it comes back, it goes before
    /// all that is left here, also before what came back earlier.
    pub(crate) fn pop_elsewhere(&mut self, hash: NameHash) {
        let Some((place, _)) = self.queue(hash) else { return };
        if let Some(queue) = self.queues.get_mut(place) {
            (queue.returned, queue.gone_from) = (END, None);
        }
        self.pop(hash);
    }

    /// Removes the first brief message held for a name behind the message that `before` names; from the start for `END`.
    /// Returns where to go on.
    pub(crate) fn pop_brief(&mut self, hash: NameHash, mut before: u32) -> Option<(u32, Held)> {
        let (place, queue) = self.queue(hash).filter(|(_, queue)| queue.briefs > 0)?;
        let mut index = self.messages.get(before).map_or(queue.first, |message| message.next);
        loop {
            let message = self.messages.get(index)?;
            if message.held.is_brief {
                break;
            }
            (before, index) = (index, message.next);
        }
        if before == END {
            return self.pop(hash).map(|held| (END, held));
        }
        let (held, next) = self.free(index)?;
        if let Some(before) = self.messages.get_mut(before) {
            before.next = next;
        }
        if let Some(queue) = self.queues.get_mut(place) {
            queue.count -= 1;
            queue.briefs -= 1;
            if next == END {
                queue.last = before;
            }
        }
        Some((before, held))
    }

    fn remove_queue(&mut self, hash: NameHash, place: u32) {
        let Some(queue) = self.queues.get(place) else { return };
        let chain = queue.chain;
        self.unlink(place);
        self.unstall(place);
        let bucket = self.bucket(hash);
        let first = self.buckets[bucket];
        if first == place {
            self.buckets[bucket] = chain;
        } else {
            let mut before = first;
            while let Some(queue) = self.queues.get_mut(before) {
                if queue.chain == place {
                    queue.chain = chain;
                    break;
                }
                before = queue.chain;
            }
        }
        self.queues.give_back(place);
    }

    /// A name whose hold time is over.
    pub(crate) fn expired(&self, now: u64) -> Option<NameHash> {
        let queue = self.queues.get(self.oldest)?;
        (now.saturating_sub(queue.created) >= self.hold_ticks).then_some(queue.hash)
    }

    /// When the oldest queue's time is over, in raw ticks.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        Some(self.queues.get(self.oldest)?.created.saturating_add(self.hold_ticks))
    }

    /// Iterates over the names for which messages are held: the first one for `END`, otherwise the one after
    /// `place`. The caller may flush a name once it has the name's successor.
    pub(crate) fn name_after(&self, place: u32) -> Option<(u32, NameHash)> {
        let next = self.queues.get(place).map_or(self.oldest, |queue| queue.later);
        self.queues.get(next).map(|queue| (next, queue.hash))
    }

    /// The text of a held name.
    pub(crate) fn name(&self, hash: NameHash) -> ([u8; MAX_NAME_BYTES], usize) {
        self.queue(hash)
            .map_or(([0; MAX_NAME_BYTES], 0), |(_, queue)| (queue.name, queue.name_length as usize))
    }

    /// Iterates over the messages held for a name: the first one for `END`, otherwise the one after `place`.
    pub(crate) fn message_after(&self, hash: NameHash, place: u32) -> Option<(u32, Held)> {
        let index = match self.messages.get(place) {
            Some(message) => message.next,
            None => self.queue(hash)?.1.first,
        };
        Some((index, self.messages.get(index)?.held))
    }

    /// Marks a sender. Returns false if it is marked already.
    pub(crate) fn mark(&mut self, sender: ClientId) -> bool {
        let Some(word) = self.marked.get_mut(sender.index() as usize / 64) else { return true };
        let bit = 1 << (sender.index() % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    pub(crate) fn unmark(&mut self, sender: ClientId) {
        if let Some(word) = self.marked.get_mut(sender.index() as usize / 64) {
            *word &= !(1 << (sender.index() % 64));
        }
    }
}
