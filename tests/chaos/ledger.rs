//! What was given to the router, and what it has said to that.

use corelane::metrics::Accounting;
use std::collections::BTreeMap;

/// Whom a message names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    Name(u64),
    Room(u64),
    Client(u64),
    Nobody,
}

/// A client, from its connect on; kept when it is closed.
#[derive(Debug)]
pub struct Peer {
    pub name: u64,
    pub token: u64,
    /// The serial number of its port.
    pub port: u64,
    /// Its disconnect was called.
    pub leaving: bool,
    pub nameless: bool,
    /// Its last event has come.
    pub closed: bool,
    /// Its port was released: nothing comes any more.
    pub gone: bool,
    pub closing: bool,
    /// Handed out and not acknowledged: messages and bytes.
    pub handed: (u32, u32),
    /// By room: when it left, if it did.
    pub rooms: BTreeMap<u64, Option<u64>>,
    pub room_ids: BTreeMap<u64, u64>,
    /// From each sender, or for what hosts sent from each port: the last that came.
    pub last_from: BTreeMap<(bool, u64), (u64, u64)>,
    pub lefts: u64,
    /// The message that the latest notice of a late one was about.
    pub last_late: u64,
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
            last_late: 0,
        }
    }

    pub fn has_name(&self) -> bool {
        !self.leaving && !self.nameless && !self.gone
    }

    /// Whether the host may still do something with it.
    pub fn is_there(&self) -> bool {
        !self.closed && !self.gone
    }
}

/// A message that was given to a port; its number is its place in the ledger.
#[derive(Debug)]
pub struct Sent {
    /// 0: the host itself.
    pub from: u64,
    /// The serial number of the port.
    pub port: u64,
    pub to: To,
    pub fill: u64,
    pub at: u64,
    /// Its place among all, as they were given to ports.
    pub order: u64,
    pub tell: bool,
    pub is_leave: bool,
    /// Nothing may come of it: it was refused, taken back or taken over.
    pub dead: bool,
    /// Its place among what its handler sent, if that had it relayed.
    pub place: u64,
    /// What its handler sent.
    pub emissions: u64,
    pub refusals: u64,
    pub expired: bool,
    /// Who got it.
    pub reached: Vec<u64>,
}

/// What a handler sent.
#[derive(Debug)]
pub struct Emission {
    pub number: u64,
    pub to: To,
    pub fill: u64,
    /// The router has said that it is on its way.
    pub ok: bool,
    pub delivered: bool,
}

#[derive(Debug, Default)]
pub struct Ledger {
    pub peers: BTreeMap<u64, Peer>,
    pub sent: Vec<Sent>,
    pub emissions: Vec<Emission>,
    /// Messages given to ports, as the router counts them.
    pub submitted: u64,
    pub refused: u64,
    pub events: u64,
    pub base_runs: u64,
    pub ordered: bool,
    pub now: u64,
    pub orders: u64,
}

/// The bytes behind a number that are checked on arrival.
pub fn filling(number: u64, length: u64) -> String {
    (0..length).map(|place| char::from(b'a' + ((number + place) % 26) as u8)).collect()
}

/// What a handler sends.
pub fn emission_bytes(number: u64, fill: u64) -> String {
    format!("E{number}:{}", filling(number, fill))
}

/// What a host sends itself.
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

    /// A message is given to a port now.
    pub fn give(&mut self, number: u64) {
        self.orders += 1;
        self.sent[number as usize].order = self.orders;
    }

    pub fn emit(&mut self, number: u64, to: To, fill: u64) -> u64 {
        self.sent[number as usize].emissions += 1;
        self.emissions.push(Emission { number, to, fill, ok: false, delivered: false });
        self.emissions.len() as u64 - 1
    }

    /// The host has written so much.
    pub fn acknowledge(&mut self, client: u64, messages: u32, bytes: u32) {
        let Some(peer) = self.peers.get_mut(&client).filter(|peer| peer.is_there()) else { return };
        peer.handed = (peer.handed.0.saturating_sub(messages), peer.handed.1.saturating_sub(bytes));
    }

    /// A port is released.
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

/// Submissions that have come to an end, whichever it was.
pub fn ended(of: &Accounting) -> u64 {
    of.refused + of.ok + of.failed + of.expired + of.taken_over
}
