//! Records everything that was given to the router, and every answer and event that the router returned for it.

use corelane::metrics::Accounting;
use std::collections::BTreeMap;

/// The recipient that a message names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    Name(u64),
    Room(u64),
    Client(u64),
    Nobody,
}

/// A client from its connect on. The entry stays after the client is closed.
#[derive(Debug)]
pub struct Peer {
    pub name: u64,
    pub token: u64,
    /// The serial number of the client's port.
    pub port: u64,
    /// The host has called `disconnect`.
    pub leaving: bool,
    pub nameless: bool,
    /// The client's last event has been delivered.
    pub closed: bool,
    /// The client's port was released: no event may follow.
    pub gone: bool,
    pub closing: bool,
    /// Messages and bytes that were handed out and not yet acknowledged.
    pub handed: (u32, u32),
    /// Per room: when the client left it, or `None` while it is a member.
    pub rooms: BTreeMap<u64, Option<u64>>,
    pub room_ids: BTreeMap<u64, u64>,
    /// The last message received from each sender; for messages of the host itself, from each port.
    pub last_from: BTreeMap<(bool, u64), (u64, u64)>,
    pub lefts: u64,
    /// The order of the last message that has failed when its worker took it.
    pub last_failed: u64,
}

impl Peer {
    pub fn new(name: u64, token: u64, port: u64) -> Self {
        Self {
            name,
            token,
            port,
            leaving: false,
            nameless: false,
            closed: false,
            gone: false,
            closing: false,
            handed: (0, 0),
            rooms: BTreeMap::new(),
            room_ids: BTreeMap::new(),
            last_from: BTreeMap::new(),
            lefts: 0,
            last_failed: 0,
        }
    }

    pub fn has_name(&self) -> bool {
        !self.leaving && !self.nameless && !self.gone
    }

    /// Whether the host may still use the client.
    pub fn is_there(&self) -> bool {
        !self.closed && !self.gone
    }
}

/// A message that was given to a port. Its number is its index in the ledger.
#[derive(Debug)]
pub struct Sent {
    /// The sender; 0 for the host itself.
    pub from: u64,
    /// The serial number of the port.
    pub port: u64,
    pub to: To,
    pub fill: u64,
    pub at: u64,
    /// The message's position in the order in which all messages were given to ports.
    pub order: u64,
    pub tell: bool,
    /// The host was told that the message was not delivered.
    pub told: bool,
    pub is_leave: bool,
    /// Nothing may be delivered for the message: it was refused, withdrawn or taken over.
    pub dead: bool,
    /// If a handler relayed the message: its position, from 1 on, among the emissions; 0 otherwise.
    pub place: u64,
    /// The number of messages that the handler sent for this message.
    pub emissions: u64,
    pub refusals: u64,
    pub expired: bool,
    /// The clients that got the message.
    pub reached: Vec<u64>,
}

/// A message that a handler sent.
#[derive(Debug)]
pub struct Emission {
    pub number: u64,
    pub to: To,
    pub fill: u64,
    /// The router returned `Ok` for it.
    pub ok: bool,
    pub delivered: bool,
}

#[derive(Debug, Default)]
pub struct Ledger {
    pub peers: BTreeMap<u64, Peer>,
    pub sent: Vec<Sent>,
    pub emissions: Vec<Emission>,
    /// Messages given to ports, counted as the router counts them.
    pub submitted: u64,
    pub refused: u64,
    pub events: u64,
    pub base_runs: u64,
    pub ordered: bool,
    pub now: u64,
    pub orders: u64,
}

/// The filler bytes after a number, which are checked on delivery.
pub fn filling(number: u64, length: u64) -> String {
    (0..length).map(|place| char::from(b'a' + ((number + place) % 26) as u8)).collect()
}

/// The bytes of a message that a handler sends.
pub fn emission_bytes(number: u64, fill: u64) -> String {
    format!("E{number}:{}", filling(number, fill))
}

/// The bytes of a message that the host itself sends.
pub fn send_bytes(number: u64, fill: u64) -> String {
    format!("S{number}:{}", filling(number, fill))
}

impl Ledger {
    pub fn send(&mut self, from: u64, port: u64, to: To, fill: u64) -> u64 {
        self.sent.push(Sent {
            from,
            port,
            to,
            fill,
            at: self.now,
            order: 0,
            tell: false,
            told: false,
            is_leave: false,
            dead: false,
            place: 0,
            emissions: 0,
            refusals: 0,
            expired: false,
            reached: Vec::new(),
        });
        let number = self.sent.len() as u64 - 1;
        self.give(number);
        number
    }

    /// Notes that a message is given to a port.
    pub fn give(&mut self, number: u64) {
        self.orders += 1;
        self.sent[number as usize].order = self.orders;
    }

    pub fn emit(&mut self, number: u64, to: To, fill: u64) -> u64 {
        self.sent[number as usize].emissions += 1;
        self.emissions.push(Emission { number, to, fill, ok: false, delivered: false });
        self.emissions.len() as u64 - 1
    }

    /// Notes that the host has acknowledged messages and bytes of a client.
    pub fn acknowledge(&mut self, client: u64, messages: u32, bytes: u32) {
        let Some(peer) = self.peers.get_mut(&client).filter(|peer| peer.is_there()) else { return };
        peer.handed = (peer.handed.0.saturating_sub(messages), peer.handed.1.saturating_sub(bytes));
    }

    /// Notes that a port is released.
    pub fn release(&mut self, port: u64) {
        for peer in self.peers.values_mut().filter(|peer| peer.port == port) {
            peer.gone = true;
        }
    }
}

pub fn name_of(name: u64) -> String {
    format!("n{name}")
}

pub fn room_of(room: u64) -> String {
    format!("room {room}")
}

/// The number of submissions that have ended, with whichever outcome.
pub fn ended(of: &Accounting) -> u64 {
    of.refused + of.ok + of.failed + of.expired + of.taken_over
}
