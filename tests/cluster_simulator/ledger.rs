//! Every message, and what the clients have seen of it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// May be held.
    Offer,
    /// May not.
    Now,
    /// May not, and may be dropped.
    Hint,
    Room,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offer => "OFFER",
            Self::Now => "NOW",
            Self::Hint => "HINT",
            Self::Room => "ALL",
        }
    }
}

#[derive(Debug)]
pub struct Message {
    pub sender: u64,
    pub incarnation: u64,
    pub to: &'static str,
    pub kind: Kind,
    pub at: Duration,
    /// It was sent to another machine.
    pub left: bool,
    pub left_at: Duration,
    /// When it came back last.
    pub back: Duration,
    /// The machine and the revision that it was sent to last.
    sent_to: (u64, u64),
    gone_from: Option<(u64, u64)>,
    /// What its sender was told.
    pub told: Option<&'static str>,
    /// Who got it: clients, by their numbers.
    pub got: Vec<u64>,
}

impl Message {
    pub fn new(sender: u64, incarnation: u64, to: &'static str, kind: Kind, at: Duration) -> Self {
        let (left, left_at, back) = (false, at, at);
        let (sent_to, gone_from, told, got) = ((0, 0), None, None, Vec::new());
        Self { sender, incarnation, to, kind, at, left, left_at, back, sent_to, gone_from, told, got }
    }
}

/// Prints what happens to the message whose number is in `CORELANE_SIMULATOR_TRACE`.
fn trace(number: u64, what: &str, now: Duration) {
    if crate::variable("CORELANE_SIMULATOR_TRACE") == Some(number) {
        println!("{now:?} {number} {what}");
    }
}

/// By message: the recipient, and the first and last revision of its name.
type Arrivals = BTreeMap<u64, (u64, (u64, u64))>;

#[derive(Default)]
pub struct Ledger {
    messages: Vec<Message>,
    /// By sender and name: the messages that have arrived, with the recipient and its revisions.
    arrived: HashMap<(u64, &'static str), Arrivals>,
    /// By sender, room and recipient: the last one.
    rooms: HashMap<(u64, &'static str, u64), u64>,
    /// When a client of a name was closed or died last.
    pub closed: HashMap<&'static str, Duration>,
}

impl Ledger {
    /// The number that the next message has.
    pub fn next(&self) -> u64 {
        self.messages.len() as u64 + 1
    }

    pub fn submitted(&mut self, message: Message) {
        self.messages.push(message);
    }

    pub fn of(&self, number: u64) -> &Message {
        &self.messages[number as usize - 1]
    }

    pub fn all(&self) -> impl Iterator<Item = (u64, &Message)> {
        self.messages.iter().enumerate().map(|(place, message)| (place as u64 + 1, message))
    }

    /// Its recipient is gone there.
    pub fn back(&mut self, number: u64, now: Duration) {
        trace(number, "gone", now);
        let message = &mut self.messages[number as usize - 1];
        message.back = now;
        message.gone_from = Some(message.sent_to);
    }

    /// It is sent to a machine, to a name of this revision.
    pub fn left(&mut self, number: u64, to: (u64, u64), now: Duration) {
        let message = &mut self.messages[number as usize - 1];
        assert_ne!(message.gone_from, Some(to), "{number} is sent again to where its recipient is gone");
        message.sent_to = to;
        assert_eq!(message.told, None, "{number} is sent to another machine behind its outcome");
        trace(number, "sent away", now);
        message.back = message.at;
        if !std::mem::replace(&mut message.left, true) {
            message.left_at = now;
        }
    }

    /// The sender is told that a message has not arrived.
    pub fn told(&mut self, number: u64, sender: u64, reason: &'static str) {
        let message = &mut self.messages[number as usize - 1];
        assert_eq!(message.sender, sender, "{number} is told to another client");
        if message.kind == Kind::Room {
            return;
        }
        assert_eq!(message.told, None, "{number} has a second outcome: {reason}");
        message.told = Some(reason);
        assert!(message.kind != Kind::Offer || reason != "unknown_recipient", "{number} may be held");
        if reason != "link_lost" {
            assert!(message.got.is_empty(), "{number} has arrived, and its sender was told {reason}");
        }
    }

    /// Whether some message with the same recipient is old enough that what is held for the name expires.
    pub fn was_held(&self, like: &Message, now: Duration, hold: Duration) -> bool {
        let same = |one: &&Message| one.to == like.to && one.incarnation == like.incarnation;
        self.messages.iter().filter(same).any(|one| now >= one.at + hold)
    }

    /// A client has got a message, with one of the revisions that its claim has had: the first and the last one.
    pub fn arrived(&mut self, number: u64, client: u64, name: &'static str, revisions: (u64, u64)) {
        let message = &mut self.messages[number as usize - 1];
        crate::log(name, || {
            format!("  {number} of {} arrives at {client}, revisions {revisions:?}", message.sender)
        });
        let is_once = !message.got.contains(&client);
        assert!(is_once, "{number} arrives twice at {name}");
        message.got.push(client);
        if message.kind == Kind::Room {
            assert_ne!(message.sender, client, "{number} goes back to its sender");
            let last = self.rooms.entry((message.sender, message.to, client)).or_default();
            assert!(*last < number, "{number} arrives behind {last} in a room");
            *last = number;
            return;
        }
        assert_eq!(message.to, name, "{number} arrives at {name}");
        assert_eq!(message.got.len(), 1, "{number} arrives twice");
        assert!(
            matches!(message.told, None | Some("link_lost")),
            "{number} arrives, and its sender was told {:?}",
            message.told
        );
        let arrived = self.arrived.entry((message.sender, message.to)).or_default();
        let (first, last) = revisions;
        if let Some((earlier, (_, before))) = arrived.range(..number).next_back() {
            assert!(before.0 <= last, "{number} arrives at an earlier client of {name} than {earlier}");
        }
        if let Some((later, (other, after))) = arrived.range(number..).next() {
            let is_order = *other != client && after.1 > first;
            assert!(is_order, "{number} arrives behind {later} at {name}");
        }
        arrived.insert(number, (client, revisions));
    }
}
