//! Connects and disconnects clients and moves them in and out of rooms, on any port.

use crate::ledger::{Peer, name_of, room_of};
use crate::setup::PROTOCOL;
use crate::submitting::Way;
use crate::values::is_dropping;
use crate::world::{Place, World};
use corelane::clients::{ClientId, CreditPolicy, RoomId};
use corelane::error::{ClientError, ConnectError, JoinError, LeaveError};
use corelane::router::ConnectOptions;

const ROOMS: u64 = 3;

impl World {
    pub fn new_token(&self) -> u64 {
        self.tokens.set(self.tokens.get() + 1);
        self.tokens.get()
    }

    /// Picks a client, usually a connected one.
    pub fn some_client(&self) -> Option<u64> {
        let ledger = self.ledger.borrow();
        let there: Vec<_> =
            ledger.peers.iter().filter(|(_, peer)| peer.is_there()).map(|(id, _)| *id).collect();
        let open: Vec<_> = there.iter().filter(|id| !ledger.peers[*id].leaving).copied().collect();
        if self.chance(90) && !open.is_empty() {
            return self.pick(&open);
        }
        if self.chance(80) && !there.is_empty() {
            return self.pick(&there);
        }
        let all: Vec<_> = ledger.peers.keys().copied().collect();
        self.pick(&all)
    }

    /// Picks a client with its own port, or occasionally with another port.
    pub fn client_and_place(&self) -> Option<(u64, &Place)> {
        let client = self.some_client()?;
        let home = self.ledger.borrow().peers[&client].port;
        let place = self.place_of(home).filter(|_| self.chance(96));
        Some((client, place.or_else(|| self.some_place())?))
    }

    /// Picks a name, usually that of a connected client.
    pub fn some_name(&self) -> u64 {
        let ledger = self.ledger.borrow();
        let mut names = ledger.peers.values().filter(|peer| peer.has_name()).map(|peer| peer.name);
        // Prefer the first three names, so that many messages have the same recipient.
        let few: Vec<_> = names.by_ref().take(3).collect();
        match self.below(4) {
            0 => self.pick(&few),
            1 => self.pick(&names.collect::<Vec<_>>()),
            _ => None,
        }
        .unwrap_or_else(|| self.below(self.setup.names))
    }

    /// Picks a room, usually one that the client is a member of.
    pub fn room_for(&self, client: u64) -> u64 {
        let ledger = self.ledger.borrow();
        let rooms = ledger.peers[&client].rooms.iter().filter(|(_, left)| left.is_none());
        let own = self.pick(&rooms.map(|(room, _)| *room).collect::<Vec<_>>());
        own.filter(|_| self.chance(80)).unwrap_or_else(|| self.below(ROOMS))
    }

    pub fn connect(&self) {
        let Some(place) = self.some_place() else { return self.open_port() };
        let name = self.below(self.setup.names);
        let connected = self.connect_as(place, name);
        if let Some(client) = connected.filter(|_| self.chance(40)) {
            self.join_one(client, place, self.below(ROOMS));
        }
        if connected.is_some() && self.is_inside() {
            self.reach(|reached| reached.nested_connects += 1);
        }
    }

    /// Connects a client, if its port is not in use and a client slot is free.
    pub fn connect_as(&self, place: &Place, name: u64) -> Option<u64> {
        let token = self.new_token();
        let text = name_of(name);
        let mut options = ConnectOptions::new(PROTOCOL, "", token);
        match self.below(6) {
            0 => options = options.credit_policy(CreditPolicy::Refuse),
            1 => options = options.credit_policy(CreditPolicy::Drop),
            2 => options = options.credit_policy(CreditPolicy::Disconnect),
            _ => {}
        }
        let connected = self.submitting(place, |way| match way {
            Way::Plain(port) => port.connect_with(&text, options),
            Way::Shared(port) => port.connect_with(&text, options),
        })?;
        self.trace(|| format!("connect {text} on {}: {connected:x?}", place.serial.get()));
        let mut ledger = self.ledger.borrow_mut();
        let holder = |name| ledger.peers.iter().find(move |(_, peer)| peer.name == name && peer.has_name());
        match connected {
            Ok(id) => {
                assert!(holder(name).is_none(), "{text} is connected twice");
                assert!(!self.stopped.get() && !self.draining.get());
                self.reach(|reached| reached.reused += u64::from(id.0 >> 32 > 1));
                let replaced = ledger.peers.insert(id.0, Peer::new(name, token, place.serial.get()));
                assert!(replaced.is_none(), "a client handle was issued twice");
                Some(id.0)
            }
            Err(ConnectError::NameTaken(id)) => {
                assert_eq!(
                    holder(name).map(|(id, _)| *id),
                    Some(id.0),
                    "{text} is reported as taken, and no client has that name"
                );
                None
            }
            Err(ConnectError::TooManyClients(_)) => {
                self.reach(|reached| reached.too_many_clients += 1);
                None
            }
            Err(ConnectError::Draining) => {
                assert!(self.draining.get());
                None
            }
            Err(ConnectError::Closed) => {
                let lost = self.are_hands_lost();
                assert!(self.stopped.get() || lost, "the port is closed although its router runs");
                None
            }
            Err(other) => panic!("{other}"),
        }
    }

    pub fn disconnect(&self) {
        if let Some((client, place)) = self.client_and_place() {
            self.disconnect_one(client, place);
        }
    }

    pub fn disconnect_one(&self, client: u64, place: &Place) {
        let result = self.submitting(place, |way| match way {
            Way::Plain(port) => port.disconnect(ClientId(client)),
            Way::Shared(port) => port.disconnect(ClientId(client)),
        });
        self.trace(|| format!("disconnect {client:x}: {result:?}"));
        let mut ledger = self.ledger.borrow_mut();
        let peer = ledger.peers.get_mut(&client).unwrap();
        match result {
            None => {}
            Some(Ok(())) => {
                assert!(!peer.leaving && !peer.gone && peer.port == place.serial.get());
                peer.leaving = true;
            }
            Some(Err(error)) => self.assert_not_open(error, client, peer, place),
        }
    }

    /// Checks that an operation on a client failed for a valid reason.
    fn assert_not_open(&self, error: ClientError, client: u64, peer: &Peer, place: &Place) {
        match error {
            ClientError::StaleClient => {
                assert!(peer.leaving || peer.gone, "{client:x} is connected: {peer:?}")
            }
            ClientError::WrongPort => assert_ne!(peer.port, place.serial.get()),
            other => panic!("{other}"),
        }
    }

    pub fn release_name(&self) {
        let Some((client, place)) = self.client_and_place() else { return };
        let result = self.submitting(place, |way| match way {
            Way::Plain(port) => port.release_name(ClientId(client)),
            Way::Shared(port) => port.release_name(ClientId(client)),
        });
        let mut ledger = self.ledger.borrow_mut();
        let peer = ledger.peers.get_mut(&client).unwrap();
        match result {
            None => {}
            Some(Ok(())) => peer.nameless = true,
            Some(Err(error)) => self.assert_not_open(error, client, peer, place),
        }
    }

    pub fn join(&self) {
        if let Some((client, place)) = self.client_and_place() {
            self.join_one(client, place, self.below(ROOMS));
        }
    }

    fn join_one(&self, client: u64, place: &Place, room: u64) {
        let name = room_of(room);
        let result = self.submitting(place, |way| match way {
            Way::Plain(port) => port.join(ClientId(client), &name),
            Way::Shared(port) => port.join(ClientId(client), &name),
        });
        let mut ledger = self.ledger.borrow_mut();
        let peer = ledger.peers.get_mut(&client).unwrap();
        match result {
            None | Some(Err(JoinError::TooManyRooms(_) | JoinError::TooManyClientRooms(_))) => {}
            Some(Ok(id)) => {
                peer.rooms.insert(room, None);
                peer.room_ids.insert(room, id.0);
            }
            Some(Err(JoinError::RoomFull(_))) => self.reach(|reached| reached.rooms_full += 1),
            Some(Err(JoinError::ListsInUse)) => self.assert_busy(),
            Some(Err(JoinError::StaleClient)) => {
                self.assert_not_open(ClientError::StaleClient, client, peer, place);
            }
            Some(Err(JoinError::WrongPort)) => {
                self.assert_not_open(ClientError::WrongPort, client, peer, place);
            }
            Some(Err(error)) => panic!("{error}"),
        }
    }

    /// The room table is in use only while a worker drops a value of the host. Other host code never runs during that
    /// time.
    fn assert_busy(&self) {
        assert!(is_dropping(), "rooms are busy although no worker drops a value");
        self.reach(|reached| reached.rooms_busy += 1);
    }

    /// Joins and leaves rooms, more often than retired member lists may be kept.
    pub fn churn(&self) {
        if self.calm.get() {
            return;
        }
        let Some((client, place)) = self.client_and_place() else { return };
        for _ in 0..self.below(8) {
            self.join_one(client, place, self.below(ROOMS));
            self.leave_one(client, place);
        }
    }

    pub fn leave(&self) {
        if let Some((client, place)) = self.client_and_place() {
            self.leave_one(client, place);
        }
    }

    fn leave_one(&self, client: u64, place: &Place) {
        let rooms: Vec<_> =
            self.ledger.borrow().peers[&client].room_ids.iter().map(|(room, id)| (*room, *id)).collect();
        let Some((room, id)) = self.pick(&rooms) else { return };
        let result = self.submitting(place, |way| match way {
            Way::Plain(port) => port.leave(ClientId(client), RoomId(id)),
            Way::Shared(port) => port.leave(ClientId(client), RoomId(id)),
        });
        let mut ledger = self.ledger.borrow_mut();
        let now = ledger.now;
        let peer = ledger.peers.get_mut(&client).unwrap();
        match result {
            None => {}
            Some(Ok(())) => {
                peer.rooms.insert(room, Some(now));
            }
            Some(Err(LeaveError::StaleRoom | LeaveError::NotAMember)) => {
                assert!(peer.rooms[&room].is_some(), "the client is a member of the room");
            }
            Some(Err(LeaveError::ListsInUse)) => self.assert_busy(),
            Some(Err(LeaveError::StaleClient)) => {
                self.assert_not_open(ClientError::StaleClient, client, peer, place);
            }
            Some(Err(LeaveError::WrongPort)) => {
                self.assert_not_open(ClientError::WrongPort, client, peer, place);
            }
            Some(Err(error)) => panic!("{error}"),
        }
    }

    /// Connects as many clients as the router admits and joins them all to one room.
    pub fn fill_a_room(&self) {
        let place = &self.ports[0];
        for name in 0..self.setup.max_clients {
            let Some(client) = self.connect_as(place, name) else { continue };
            self.join_one(client, place, 0);
            self.publish();
            if name % 20 == 0 {
                self.work();
            }
        }
        self.reach(|reached| reached.big_rooms += 1);
    }
}
