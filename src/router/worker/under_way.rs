//! The messages of one worker that are under way to other machines: in order by link, counted by name and by sender, with
//! their payloads if they may be held. Owned by the worker; all memory is reserved at the first message.
//!
//! Used by `remote`, which hands messages over and ends them, and by `state`.

use crate::clients::{ClientId, NameHash};
use crate::router::elsewhere::{Elsewhere, GatewayOptions, LinkSet, MAX_LINKS};
use crate::router::worker::blocks::Blocks;
use crate::router::worker::handled::NOBODY;
use crate::router::worker::hold::Held;
use crate::router::worker::pool::{END, Linked, Pool};
use crate::sync::mutant;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// Links together may have this many times what one may have under way.
const LINKS_FULL: u64 = 4;
/// One sender may have this part of a link's messages and bytes under way; of those of all links, the same part.
const SENDERS_PART: u32 = 16;

/// A message that is under way. Its name, and its payload if it may be held, are in blocks.
#[derive(Debug)]
pub(in crate::router) struct Sent {
    pub(in crate::router) held: Held,
    pub(in crate::router) hash: NameHash,
    pub(in crate::router) at: Elsewhere,
    /// The link's epoch when it was handed over.
    pub(in crate::router) epoch: u32,
    /// The client whose part of the link it uses. [`NOBODY`]: the host's.
    pub(in crate::router) part_of: ClientId,
    /// It is for a room, whose copies keep no order with messages to names.
    pub(in crate::router) is_room: bool,
    /// Its type may be held.
    pub(in crate::router) may_hold: bool,
    pub(in crate::router) name_length: u16,
    /// Of its name and payload, kept or not: the gateway has both until they are sent.
    pub(in crate::router) bytes: u32,
    /// Of what is kept.
    pub(in crate::router) length: u32,
    pub(in crate::router) first_block: u32,
    pub(in crate::router) next: u32,
}

impl Linked for Sent {
    fn link(&mut self) -> &mut u32 {
        &mut self.next
    }
}

/// The messages under way on one link, in order.
#[derive(Clone, Copy, Debug)]
pub(in crate::router) struct Link {
    pub(in crate::router) epoch: u32,
    pub(in crate::router) first: u32,
    pub(in crate::router) last: u32,
    pub(in crate::router) count: u32,
    pub(in crate::router) bytes: u64,
}

const NO_LINK: Link = Link { epoch: 0, first: END, last: END, count: 0, bytes: 0 };

/// What a sender has under way.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    messages: u32,
    bytes: u32,
}

impl Share {
    /// Whether one more message fits. One alone always does: the link's limit is for all.
    fn has_room(self, bytes: u64, messages_limit: u64, bytes_limit: u64) -> bool {
        self.messages == 0
            || (u64::from(self.messages) < messages_limit && u64::from(self.bytes) + bytes <= bytes_limit)
    }

    fn add(&mut self, bytes: u32) {
        self.messages += 1;
        self.bytes += bytes; // `has_room` keeps it below the bytes of a link.
    }

    fn remove(&mut self, bytes: u32) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// The unanswered messages to one name: all went to the same place.
#[derive(Clone, Copy, Debug)]
struct Unanswered {
    at: Elsewhere,
    count: u32,
    /// Until when later messages, for the name's new place, wait for the answers.
    patience: Option<u64>,
}

/// The keys are hashes already.
#[derive(Debug, Default)]
pub(super) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// All messages of a worker that are under way to other machines. Made when the first one is.
#[derive(Debug)]
pub(in crate::router) struct Remotes {
    options: GatewayOptions,
    /// The gateway's port.
    pub(in crate::router) port: usize,
    messages: Pool<Sent>,
    blocks: Blocks,
    /// The bytes of all that is under way.
    bytes: u64,
    pub(in crate::router) links: Box<[Link]>,
    /// The links with messages under way.
    in_use: LinkSet,
    /// The ring to the gateway had no room. No answer need come then, so the worker looks again when the ring has room.
    pub(in crate::router) ring_full: bool,
    /// Names whose messages are all answered, and for which others are held.
    pub(in crate::router) answered: Vec<NameHash>,
    names: HashMap<u64, Unanswered, BuildHasherDefault<AsIs>>,
    /// The times until when messages wait for answers from their names' old places, in order. Some are over by an answer.
    waits: VecDeque<(u64, NameHash)>,
    /// By the sender's index, on all links.
    of_sender: Box<[Share]>,
    /// By link and the sender's index.
    of_part: HashMap<u64, Share, BuildHasherDefault<AsIs>>,
    count: usize,
    /// How many of them have ended here: copies for rooms, and what handlers have sent.
    ended: usize,
}

fn part(slot: u8, sender: ClientId) -> u64 {
    // The map uses the lowest and the highest bits. An odd factor keeps the keys apart and spreads both.
    (u64::from(sender.index()) << 8 | u64::from(slot)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Remotes {
    pub(in crate::router) fn new(options: GatewayOptions, clients: usize) -> Self {
        let messages = u64::from(options.link_messages) * LINKS_FULL;
        let bytes = u64::from(options.link_bytes) * LINKS_FULL;
        Self {
            messages: Pool::new(messages as usize),
            blocks: Blocks::new(bytes, messages),
            bytes: 0,
            links: vec![NO_LINK; MAX_LINKS].into(),
            in_use: LinkSet::default(),
            names: HashMap::with_capacity_and_hasher(messages as usize, BuildHasherDefault::default()),
            waits: VecDeque::new(),
            of_sender: vec![Share::default(); clients].into(),
            of_part: HashMap::with_capacity_and_hasher(messages as usize, BuildHasherDefault::default()),
            count: 0,
            ended: 0,
            port: 0,
            ring_full: false,
            answered: Vec::new(),
            options,
        }
    }

    /// The options that its memory is made for.
    pub(in crate::router) fn options(&self) -> GatewayOptions {
        self.options
    }

    /// Makes its memory anew for other options. Nothing is under way.
    pub(in crate::router) fn renew(&mut self, options: GatewayOptions) {
        let new = Self::new(options, 0);
        (self.options, self.messages, self.blocks) = (new.options, new.messages, new.blocks);
        (self.names, self.of_part) = (new.names, new.of_part);
        self.waits.clear();
    }

    /// Whether nothing is under way, room messages included.
    pub(in crate::router) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many messages that have not ended are under way.
    pub(in crate::router) fn messages(&self) -> usize {
        self.count - self.ended
    }

    pub(in crate::router) fn unanswered(&self, hash: NameHash) -> Option<Elsewhere> {
        if self.count == 0 { None } else { self.names.get(&hash.0).map(|one| one.at) }
    }

    /// Whether a link has room for a message that uses a client's part of it, and this part has room. `bytes` are those of name
    /// and payload, also if only the name is kept.
    pub(in crate::router) fn has_room(&self, slot: u8, sender: ClientId, bytes: usize) -> bool {
        let Some(link) = self.links.get(usize::from(slot)) else { return false };
        let of_sender = self.of_sender.get(sender.index() as usize).copied().unwrap_or_default();
        let of_part = self.of_part.get(&part(slot, sender)).copied().unwrap_or_default();
        let (messages, link_bytes) = (self.options.link_messages, u64::from(self.options.link_bytes));
        let share = u64::from((messages / SENDERS_PART).max(1));
        let (share_bytes, bytes) = (link_bytes / u64::from(SENDERS_PART), bytes as u64);
        let has_part = of_part.has_room(bytes, share, share_bytes)
            && of_sender.has_room(bytes, share * LINKS_FULL, share_bytes * LINKS_FULL);
        let all = u64::from(messages) * LINKS_FULL;
        (link.count < messages || mutant("link-bounds"))
            && (sender == NOBODY || has_part || mutant("link-share"))
            && (self.count as u64) < all
            && link.bytes + bytes <= link_bytes
            && self.bytes + bytes <= link_bytes * LINKS_FULL
    }

    /// Keeps a message; `kept` is its name and, if it may be held, its payload. `has_room` has returned true.
    pub(in crate::router) fn push(&mut self, sent: Sent, kept: &[u8]) {
        let (slot, hash, at) = (usize::from(sent.at.slot), sent.hash, sent.at);
        let (part_of, is_room, bytes) = (sent.part_of, sent.is_room, sent.bytes);
        let has_ended = sent.held.sender == NOBODY;
        let first_block = self.blocks.write(kept);
        let message = Sent { first_block, length: kept.len() as u32, next: END, ..sent };
        let (Some(place), Some(link)) = (self.messages.put(message), self.links.get_mut(slot)) else {
            debug_assert!(false, "`has_room` has returned true");
            return;
        };
        match self.messages.get_mut(link.last) {
            Some(last) => last.next = place,
            None => {
                link.first = place;
                self.in_use.insert(slot as u8);
            }
        }
        link.last = place;
        link.count += 1;
        link.bytes += u64::from(bytes);
        self.bytes += u64::from(bytes);
        self.count += 1;
        self.ended += usize::from(has_ended);
        if part_of != NOBODY {
            if let Some(share) = self.of_sender.get_mut(part_of.index() as usize) {
                share.add(bytes);
            }
            self.of_part.entry(part(at.slot, part_of)).or_default().add(bytes);
        }
        if !is_room {
            self.names.entry(hash.0).or_insert(Unanswered { at, count: 0, patience: None }).count += 1;
        }
    }

    /// Takes the oldest message of a link, and its name and payload.
    pub(in crate::router) fn pop(&mut self, slot: u8, kept: &mut Vec<u8>) -> Option<Sent> {
        let link = self.links.get_mut(usize::from(slot))?;
        let place = link.first;
        let message = self.messages.get(place)?;
        let sent = Sent { next: END, ..*message };
        link.first = message.next;
        if link.first == END {
            link.last = END;
            self.in_use.remove(slot);
        }
        link.count -= 1;
        link.bytes -= u64::from(sent.bytes);
        self.bytes -= u64::from(sent.bytes);
        self.count -= 1;
        self.messages.give_back(place);
        self.blocks.read(sent.first_block, sent.length as usize, kept);
        self.blocks.give_back(sent.first_block);
        self.ended -= usize::from(sent.held.sender == NOBODY);
        if sent.part_of != NOBODY {
            if let Some(share) = self.of_sender.get_mut(sent.part_of.index() as usize) {
                share.remove(sent.bytes);
            }
            if let Entry::Occupied(mut entry) = self.of_part.entry(part(slot, sent.part_of)) {
                entry.get_mut().remove(sent.bytes);
                if entry.get().messages == 0 {
                    entry.remove();
                }
            }
        }
        if !sent.is_room
            && let Some(unanswered) = self.names.get_mut(&sent.hash.0)
        {
            unanswered.count -= 1;
            if unanswered.count == 0 {
                self.names.remove(&sent.hash.0);
            }
        }
        Some(sent)
    }

    /// Messages for a name wait for the answers from its old place, until `patience` at most.
    pub(in crate::router) fn wait_for_answers(&mut self, hash: NameHash, patience: u64) {
        // One entry per name at a time; those that are over are gone after their time. The bound is for names that move often.
        if let Some(unanswered) = self.names.get_mut(&hash.0)
            && unanswered.patience.is_none()
            && self.waits.len() < self.options.link_messages as usize * LINKS_FULL as usize
        {
            unanswered.patience = Some(patience);
            self.waits.push_back((patience, hash));
        }
    }

    /// When the next wait for answers may be over.
    pub(in crate::router) fn next_patience(&self) -> Option<u64> {
        self.waits.front().map(|(patience, _)| *patience)
    }

    /// A name whose messages have waited for the answers from its old place for too long.
    pub(in crate::router) fn impatient(&mut self, now: u64) -> Option<NameHash> {
        while let Some((patience, hash)) = self.waits.pop_front_if(|(patience, _)| *patience <= now) {
            if let Some(unanswered) = self.names.get_mut(&hash.0)
                && unanswered.patience == Some(patience)
            {
                unanswered.patience = None;
                return Some(hash);
            }
        }
        None
    }

    /// Whether messages are under way to another gateway than `port`, or in another epoch of the link.
    pub(in crate::router) fn is_old(&self, port: usize, slot: u8, epoch: u32) -> bool {
        (self.count > 0 && self.port != port) || self.oldest_epoch(slot).is_some_and(|oldest| oldest != epoch)
    }

    /// The epoch of a link's oldest message.
    pub(in crate::router) fn oldest_epoch(&self, slot: u8) -> Option<u32> {
        let first = self.links.get(usize::from(slot))?.first;
        self.messages.get(first).map(|sent| sent.epoch)
    }

    /// The links with messages under way.
    pub(in crate::router) fn in_use(&self) -> LinkSet {
        self.in_use
    }

    /// The message that was pushed last on a link.
    pub(in crate::router) fn newest(&mut self, slot: u8) -> Option<&mut Held> {
        let last = self.links.get(usize::from(slot))?.last;
        self.messages.get_mut(last).map(|sent| &mut sent.held)
    }
}
