//! Rooms in the simulator, with a model of the memberships. A message that is in flight while a room changes may be
//! handled before or after the change. Every other message must reach exactly the members at the time of its
//! submission.

use super::{Host, PROTOCOL};
use crate::handlers::Change;
use crate::reached::reached;
use corelane::clients::{ClientId, RoomId};
use corelane::config::Config;
use corelane::error::{JoinError, LeaveError, SubmitError};
use corelane::router::SendOptions;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

pub const ROOMS: [&str; 3] = ["attic", "bar", "cellar"];
/// The type of room messages.
pub(super) const TYPE: &str = "ROOM";
/// The sender of a message of the host: no client has this token.
const HOST: u64 = 0;

reached! {
    delivered: "deliveries to rooms",
    refusals: "refused joins",
    rooms_gone: "rooms whose last member left",
    probes: "probes of rooms",
    several: "room messages with several recipients",
    changed: "rooms that changed under a message",
    sends: "deliveries of what a host sent to a room",
    handler_joins: "joins by handlers",
    handler_leaves: "leaves by handlers",
    handler_late: "joins by handlers of clients that have disconnected",
}

#[derive(Debug)]
struct Room {
    id: RoomId,
    members: BTreeSet<u64>,
}

/// An accepted message.
#[derive(Debug)]
struct Sent {
    room: &'static str,
    /// The host names a room by its handle, so its message does not reach a later room of the same name.
    handle: Option<RoomId>,
    from: u64,
    /// The message may still be in flight to its worker.
    open: bool,
    /// `sender_must`: the sender was a member the whole time until the message arrived. `sender_may`: at some time.
    sender_must: bool,
    sender_may: bool,
    must: BTreeSet<u64>,
    may: BTreeSet<u64>,
    got: BTreeSet<u64>,
}

pub(super) struct Rooms {
    max_rooms: usize,
    max_members: usize,
    max_client_rooms: usize,
    rooms: BTreeMap<&'static str, Room>,
    handles: HashSet<u64>,
    sent: BTreeMap<u64, Sent>,
    gone: u64,
    changed: u64,
    sends: u64,
}

impl Rooms {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            max_rooms: config.rooms.max_rooms as usize,
            max_members: config.rooms.max_members as usize,
            max_client_rooms: config.rooms.max_per_client as usize,
            rooms: BTreeMap::new(),
            handles: HashSet::new(),
            sent: BTreeMap::new(),
            gone: 0,
            changed: 0,
            sends: 0,
        }
    }

    fn of(&self, token: u64) -> Vec<&'static str> {
        self.rooms.iter().filter(|(_, room)| room.members.contains(&token)).map(|(name, _)| *name).collect()
    }

    /// The result that the router must return for a join: the room's handle, or `None` for a new room.
    fn expected(&self, token: u64, name: &str) -> Result<Option<RoomId>, JoinError> {
        let room = self.rooms.get(name);
        match room {
            Some(room) if room.members.contains(&token) => return Ok(Some(room.id)),
            Some(room) if room.members.len() >= self.max_members => {
                return Err(JoinError::RoomFull(self.max_members as u32));
            }
            _ => {}
        }
        if self.of(token).len() >= self.max_client_rooms {
            return Err(JoinError::TooManyClientRooms(self.max_client_rooms as u32));
        }
        match room {
            Some(room) => Ok(Some(room.id)),
            None if self.rooms.len() >= self.max_rooms => Err(JoinError::TooManyRooms(self.max_rooms as u32)),
            None => Ok(None),
        }
    }

    fn joined(&mut self, token: u64, name: &'static str, id: RoomId) {
        self.rooms.entry(name).or_insert(Room { id, members: BTreeSet::new() }).members.insert(token);
        let meant = |sent: &&mut Sent| sent.room == name && sent.handle.is_none_or(|handle| handle == id);
        for sent in self.sent.values_mut().filter(|sent| sent.open).filter(meant) {
            self.changed += 1;
            if sent.from == token {
                sent.sender_may = true;
            } else {
                sent.may.insert(token);
            }
        }
    }

    fn left(&mut self, token: u64, name: &'static str) {
        let room = self.rooms.get_mut(name).unwrap();
        assert!(room.members.remove(&token));
        if room.members.is_empty() {
            self.rooms.remove(name);
            self.gone += 1;
        }
        for sent in self.sent.values_mut().filter(|sent| sent.open && sent.room == name) {
            self.changed += 1;
            sent.must.remove(&token);
            sent.sender_must &= sent.from != token;
        }
    }

    /// The client disconnected or its port was released: it leaves every room, and no message needs to reach it.
    pub(super) fn gone(&mut self, token: u64) {
        for name in self.of(token) {
            self.left(token, name);
        }
        self.excused(token);
    }

    /// The client is being closed: no message needs to reach it.
    pub(super) fn excused(&mut self, token: u64) {
        for sent in self.sent.values_mut() {
            sent.must.remove(&token);
        }
    }

    /// Every submitted message has reached its worker and was handled with the current rooms.
    pub(super) fn all_arrived(&mut self) {
        for sent in self.sent.values_mut() {
            sent.open = false;
        }
    }

    fn submitted(&mut self, number: u64, from: u64, name: &'static str, handle: Option<RoomId>) {
        let room = self.rooms.get(name).filter(|room| handle.is_none_or(|handle| handle == room.id));
        let members = room.map(|room| room.members.clone()).unwrap_or_default();
        let is_member = from == HOST || members.contains(&from);
        let others: BTreeSet<u64> = members.into_iter().filter(|token| *token != from).collect();
        let sent = Sent {
            room: name,
            handle,
            from,
            open: true,
            sender_must: is_member,
            sender_may: is_member,
            must: others.clone(),
            may: others,
            got: BTreeSet::new(),
        };
        self.sent.insert(number, sent);
    }

    /// The client has a new token from now on.
    pub(super) fn rebound(&mut self, old: u64, new: u64) {
        let rename = |tokens: &mut BTreeSet<u64>| {
            if tokens.remove(&old) {
                tokens.insert(new);
            }
        };
        self.rooms.values_mut().for_each(|room| rename(&mut room.members));
        for sent in self.sent.values_mut() {
            [&mut sent.must, &mut sent.may, &mut sent.got].into_iter().for_each(rename);
            if sent.from == old {
                sent.from = new;
            }
        }
    }

    pub(super) fn was_sent(&self, number: u64) -> bool {
        self.sent.contains_key(&number)
    }

    pub(super) fn delivered(&mut self, number: u64, token: u64, sender: Option<ClientId>) {
        let sent = self.sent.get_mut(&number).expect("a room message that was not sent");
        assert_ne!(sent.from, token, "a sender got its own message");
        assert!(sent.may.contains(&token), "{number} reached a client that was not a member");
        assert!(sent.sender_may, "{number} was sent by a client that was not a member, {sender:?}");
        assert_eq!(sent.from == HOST, sender.is_none(), "a message of the host has no sender");
        self.sends += u64::from(sent.from == HOST);
        assert!(sent.got.insert(token), "{number} reached a member twice");
        sent.open = false;
    }
}

impl Host {
    pub(super) fn join(&mut self) {
        let Some(token) = self.some_peer() else { return self.connect() };
        self.join_one(token);
    }

    pub(super) fn join_one(&mut self, token: u64) {
        let name = *self.random.pick(&ROOMS).unwrap();
        let peer = &self.peers[&token];
        let joined = self.ports[peer.port].as_mut().unwrap().join(peer.id, name);
        if peer.leaving {
            assert_eq!(joined, Err(JoinError::StaleClient));
            return;
        }
        self.has_joined(token, name, joined);
    }

    /// Checks the result of a join against the model, and follows it.
    fn has_joined(&mut self, token: u64, name: &'static str, joined: Result<RoomId, JoinError>) {
        let id = match (self.rooms.expected(token, name), joined) {
            (Ok(Some(known)), Ok(id)) => {
                assert_eq!(id, known, "another room of that name");
                id
            }
            (Ok(None), Ok(id)) => {
                assert!(self.rooms.handles.insert(id.0), "a room's handle was reused");
                id
            }
            (Err(expected), Err(error)) => {
                self.reached.rooms.refusals += 1;
                assert_eq!(error, expected);
                return;
            }
            (expected, joined) => panic!("{joined:?}, expected {expected:?}"),
        };
        self.rooms.joined(token, name, id);
    }

    /// Follows what handlers have done to rooms since the last call.
    pub(super) fn follow_handlers(&mut self) {
        let changes = std::mem::take(&mut *self.plan.changes.lock().unwrap());
        for change in changes {
            let (Change::Join(client, ..) | Change::Leave(client, ..)) = change;
            let connected = self.peers.iter().find(|(_, peer)| peer.id == client && !peer.leaving);
            let token = connected.map(|(token, _)| *token);
            match (change, token) {
                (Change::Join(_, _, joined), None) => {
                    self.reached.rooms.handler_late += 1;
                    assert_eq!(joined, Err(JoinError::StaleClient), "a disconnected client has joined");
                }
                (Change::Join(_, name, joined), Some(token)) => {
                    self.reached.rooms.handler_joins += u64::from(joined.is_ok());
                    self.has_joined(token, name, joined);
                }
                (Change::Leave(_, room, left), token) => {
                    self.reached.rooms.handler_leaves += 1;
                    left.unwrap();
                    let known = self.rooms.rooms.iter().find(|(_, known)| known.id == room);
                    let name = *known.unwrap().0;
                    self.rooms.left(token.unwrap(), name);
                }
            }
        }
    }

    pub(super) fn leave(&mut self) {
        let Some(token) = self.some_peer() else { return };
        let name = *self.random.pick(&ROOMS).unwrap();
        let Some(room) = self.rooms.rooms.get(name) else { return };
        let (peer, id) = (&self.peers[&token], room.id);
        let is_member = room.members.contains(&token);
        let left = self.ports[peer.port].as_mut().unwrap().leave(peer.id, id);
        match (is_member, peer.leaving) {
            (_, true) => assert_eq!(left, Err(LeaveError::StaleClient)),
            (false, false) => assert_eq!(left, Err(LeaveError::NotAMember)),
            (true, false) => {
                left.unwrap();
                self.rooms.left(token, name);
            }
        }
    }

    pub(super) fn submit_to_room(&mut self) {
        let Some(token) = self.some_peer() else { return self.connect() };
        self.submit_to_room_from(token);
    }

    pub(super) fn submit_to_room_from(&mut self, token: u64) {
        let own = self.rooms.of(token);
        // Occasionally to a room of which the client is not a member.
        let any = *self.random.pick(&ROOMS).unwrap();
        let name = if self.random.chance(10) { any } else { self.random.pick(&own).copied().unwrap_or(any) };
        let size = if self.random.chance(10) { self.random.below(800) } else { self.random.below(60) };
        let number = self.number();
        let fill = "x".repeat(size as usize);
        let text = format!(r#"{{"type":"{TYPE}","room":"{name}","payload":[{number},"{fill}"]}}"#);
        if self.submit_bytes(token, number, text.as_bytes()) {
            self.rooms.submitted(number, token, name, None);
        }
    }

    /// The host itself sends to a room, through any of its ports.
    pub(super) fn send_to_room(&mut self) {
        let place = self.random.below(ROOMS.len() as u64);
        let name = ROOMS[place as usize];
        let Some(room) = self.rooms.rooms.get(name).map(|room| room.id) else { return };
        let Some(through) = self.some_port() else { return };
        for _ in 0..if self.random.chance(20) { 10 } else { 1 } {
            let number = self.number();
            let size = if self.random.chance(10) { self.random.below(3_000) } else { self.random.below(60) };
            let fill = "x".repeat(size as usize);
            let text = format!(r#"{{"room":"{name}","payload":[{number},"{fill}"]}}"#);
            self.submitted += 1;
            let options =
                SendOptions::from(number).message_type(self.router.message_type(PROTOCOL, TYPE).unwrap());
            match self.ports[through].as_mut().unwrap().send_to_room(room, text.as_bytes(), options) {
                Ok(()) => {
                    self.numbers_of.insert(number, 0);
                    let way = u64::MAX - 100 * (1 + place) - through as u64;
                    self.sent_through.insert(number, way);
                    self.rooms.submitted(number, HOST, name, Some(room));
                }
                Err(reason) => {
                    self.refused += 1;
                    let may_be =
                        [SubmitError::RingFull, SubmitError::PayloadsFull, SubmitError::ConcurrencyLimit];
                    assert!(may_be.contains(&reason), "{reason}");
                }
            }
            if self.random.chance(30) {
                // A part of the burst may be handled before the rest is sent.
                self.publish();
                self.cycle();
                self.hands.advance(Duration::from_nanos(1));
            }
        }
    }

    /// A port lists the members of each room, and the rooms of a client.
    pub(super) fn check_lists(&mut self) {
        let Some(place) = self.some_port() else { return };
        let port = self.ports[place].as_ref().unwrap();
        for room in self.rooms.rooms.values() {
            let mut expected: Vec<_> = room.members.iter().map(|token| self.peers[token].id).collect();
            let mut listed = port.members(room.id).unwrap();
            expected.sort();
            listed.sort();
            assert_eq!(listed, expected);
        }
        let Some(token) = self.some_peer() else { return };
        let port = self.ports[place].as_ref().unwrap();
        let listed = port.rooms_of(self.peers[&token].id);
        assert_eq!(listed.is_err(), self.peers[&token].leaving);
        let mut expected: Vec<_> =
            self.rooms.of(token).iter().map(|name| self.rooms.rooms[name].id).collect();
        let mut listed = listed.unwrap_or_default();
        expected.sort();
        listed.sort();
        assert_eq!(listed, expected);
    }

    /// Handles everything, sends to the fullest room, and polls a part of that message.
    pub(super) fn poll_part_of_a_room_message(&mut self, place: usize) {
        self.take_everything();
        self.poll_port(place, usize::MAX).unwrap();
        let fullest = self.rooms.rooms.values().max_by_key(|room| room.members.len());
        if let Some(from) = fullest.and_then(|room| room.members.first()).copied() {
            self.submit_to_room_from(from);
            self.take_everything();
        }
        let limit = 1 + self.random.below(4) as usize;
        self.poll_port(place, limit).unwrap();
    }

    /// Everything has ended: every message reached all clients that were members throughout, except for deliveries
    /// that were dropped because of missing space and messages that expired or failed as a whole.
    pub(super) fn check_rooms(&mut self) {
        let stats = self.router.stats();
        let undelivered = |reason| stats.accounting.undelivered.get(reason);
        let of_type = stats
            .types
            .iter()
            .find(|one| one.name == TYPE && one.protocol.as_deref() == Some(PROTOCOL))
            .unwrap();
        let (mut partly, mut whole) = (0, 0);
        for sent in self.rooms.sent.values().filter(|sent| sent.sender_must) {
            let missing = sent.must.difference(&sent.got).count() as u64;
            if sent.got.is_empty() {
                whole += u64::from(missing > 0);
            } else {
                partly += missing;
            }
            self.reached.rooms.several += u64::from(sent.got.len() > 1);
        }
        let reasons = ["egress_full", "credit_exhausted", "payloads_full"];
        // Without the messages to one client that failed for lack of credit.
        let alone = stats.messages.failures.get("credit_exhausted");
        let full = reasons.into_iter().map(undelivered).sum::<u64>() - alone;
        assert!(partly <= full, "{partly} members missed a message, {full} were dropped");
        let ended = of_type.expired + of_type.failed + full;
        assert!(whole <= ended, "{whole} messages reached no client, {ended} ended without a delivery");
        let members: usize = self.rooms.rooms.values().map(|room| room.members.len()).sum();
        let figures = (stats.rooms.open, stats.rooms.members);
        assert_eq!(
            figures,
            (self.rooms.rooms.len() as u64, members as u64),
            "a room still has a member that left"
        );
        assert_eq!((stats.rooms.retired_lists, stats.rooms.retired_bytes), (0, 0));
        self.reached.rooms.rooms_gone += self.rooms.gone;
        self.reached.rooms.changed += self.rooms.changed;
        self.reached.rooms.sends += self.rooms.sends;
    }

    /// Every member sends to its rooms, one message at a time, and exactly the other members get it.
    pub(super) fn probe_rooms(&mut self) {
        for name in ROOMS {
            let Some(members) = self.rooms.rooms.get(name).map(|room| room.members.clone()) else { continue };
            for from in &members {
                let Some((port, id)) = self.peers.get(from).map(|peer| (peer.port, peer.id)) else {
                    continue;
                };
                let number = self.number();
                self.submitted += 1;
                self.reached.rooms.probes += 1;
                self.numbers_of.insert(number, id.0);
                self.rooms.submitted(number, *from, name, None);
                let text = format!(r#"{{"type":"{TYPE}","room":"{name}","payload":[{number}]}}"#);
                let port = self.ports[port].as_mut().unwrap();
                // Long enough for every client's next token of the rate limit.
                self.hands.advance(std::time::Duration::from_secs(1));
                port.submit(id, text.as_bytes(), number).unwrap();
                port.publish();
                self.settle_rounds(5);
                let sent = &self.rooms.sent[&number];
                assert_eq!(sent.got, sent.must, "a room does not reach its members");
            }
        }
    }
}
