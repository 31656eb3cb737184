//! Polls ports, waits for them, and acknowledges messages.

use crate::world::{Place, World, catch, throw};
use corelane::clients::{ClientId, Outstanding};
use corelane::error::{ClientError, Closed, CycleError};
use corelane::router::{Event, Poller, Port};
use std::time::Duration;

/// A port's polling side, taken out of its place while it is used.
pub enum Polling {
    Plain(Port),
    Shared(Poller),
}

impl Polling {
    fn poll(&mut self, limit: usize, each: impl FnMut(Event<'_>)) -> Result<usize, Closed> {
        match self {
            Self::Plain(port) => port.poll_each(limit, each),
            Self::Shared(poller) => poller.poll_each(limit, each),
        }
    }

    fn acknowledge(&mut self, written: &[(ClientId, u32, u32)]) {
        match (self, written) {
            (Self::Plain(port), [(client, messages, bytes)]) => port.acknowledge(*client, *messages, *bytes),
            (Self::Plain(port), all) => port.acknowledge_batch(all.iter().copied()),
            (Self::Shared(poller), all) => poller.acknowledge_batch(all.iter().copied()),
        }
    }

    fn outstanding(&self, client: ClientId) -> Result<Outstanding, ClientError> {
        match self {
            Self::Plain(port) => port.outstanding(client),
            Self::Shared(poller) => poller.outstanding(client),
        }
    }

    fn rebind(&mut self, client: ClientId, token: u64) -> Result<(), ClientError> {
        match self {
            Self::Plain(port) => port.rebind(client, token),
            Self::Shared(poller) => poller.rebind(client, token),
        }
    }

    pub fn cycle(&mut self) -> Result<usize, CycleError> {
        match self {
            Self::Plain(port) => port.cycle(),
            Self::Shared(poller) => poller.cycle(),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Plain(port) => port.is_over(),
            Self::Shared(poller) => poller.is_over(),
        }
    }
}

impl World {
    /// Runs code on a port's polling side, unless it is in use.
    pub fn polling<R>(&self, place: &Place, run: impl FnOnce(&mut Polling) -> R) -> Option<R> {
        let plain = place.plain.take().map(Polling::Plain);
        let mut polling = plain.or_else(|| place.poller.take().map(Polling::Shared))?;
        let result = run(&mut polling);
        match polling {
            Polling::Plain(port) => *place.plain.borrow_mut() = Some(port),
            Polling::Shared(poller) => *place.poller.borrow_mut() = Some(poller),
        }
        Some(result)
    }

    pub fn poll(&self) {
        let Some(place) = self.some_place() else { return };
        let limit = match self.below(6) {
            0 => self.below(2) as usize,
            1..4 => 1 + self.below(6) as usize,
            _ => 1_000,
        };
        self.poll_place(place, limit);
        if self.is_inside() {
            self.reach(|reached| reached.nested_polls += 1);
        }
    }

    /// Polls once. Returns the number of events.
    pub fn poll_place(&self, place: &Place, limit: usize) -> usize {
        let serial = place.serial.get();
        self.trace(|| format!("poll {serial} {limit}"));
        let taken = self.polling(place, |port| {
            let each = |event: Event<'_>| {
                self.trace(|| format!("  {event:?}").chars().take(150).collect());
                self.reach(|reached| self.ledger.borrow_mut().event(serial, &event, reached));
                if self.calm.get() {
                    return;
                }
                match self.below(100) {
                    0..3 => {
                        self.trace(|| "  throws".to_owned());
                        self.reach(|reached| reached.poll_panics += 1);
                        throw();
                    }
                    3..6 => self.act_inside(),
                    _ => {}
                }
            };
            let polled = match *port {
                // Not every batch is taken to its end, nor dropped.
                Polling::Plain(ref mut port) if self.chance(30) => catch(|| {
                    let mut batch = port.poll(limit)?;
                    while let Some(event) = batch.next() {
                        each(event);
                        if self.chance(5) {
                            break;
                        }
                    }
                    let taken = batch.taken();
                    if self.chance(20) {
                        std::mem::forget(batch);
                    }
                    Ok(taken)
                }),
                _ => catch(|| port.poll(limit, each)),
            };
            match polled {
                Some(Ok(count)) => count,
                Some(Err(error)) => {
                    assert_eq!(error, Closed);
                    assert!(port.is_over());
                    let lost = self.setup.locals == 0 && self.are_hands_lost();
                    let over = self.stopped.get() || lost;
                    assert!(over, "the port is closed although its router runs");
                    0
                }
                None => 1,
            }
        });
        taken.unwrap_or(0)
    }

    /// Acknowledges some messages, all, more than were handed out, and for clients that are not connected.
    pub fn acknowledge(&self) {
        let Some(place) = self.some_place() else { return };
        let mut written = Vec::new();
        for _ in 0..=self.below(3) {
            let Some(client) = self.some_client() else { return };
            let (messages, bytes) = self.ledger.borrow().peers[&client].handed;
            let amount = match self.below(5) {
                0 => (1.min(messages), bytes / 2),
                1 => (messages + 3, bytes + 70),
                2 => (u32::MAX, u32::MAX),
                _ => (messages, bytes),
            };
            written.push((ClientId(client), amount.0, amount.1));
        }
        self.acknowledge_on(place, &written);
    }

    /// Acknowledges everything that was handed out.
    pub fn acknowledge_all(&self) {
        for place in self.ports.iter().filter(|place| place.serial.get() > 0) {
            let serial = place.serial.get();
            let written: Vec<_> = {
                let ledger = self.ledger.borrow();
                let due = ledger
                    .peers
                    .iter()
                    .filter(|(_, peer)| peer.port == serial && peer.is_there() && peer.handed != (0, 0));
                due.map(|(id, peer)| (ClientId(*id), peer.handed.0, peer.handed.1)).collect()
            };
            self.acknowledge_on(place, &written);
        }
    }

    pub fn acknowledge_on(&self, place: &Place, written: &[(ClientId, u32, u32)]) {
        let serial = place.serial.get();
        self.polling(place, |port| {
            port.acknowledge(written);
            for (client, messages, bytes) in written {
                let here = self.ledger.borrow().peers[&client.0].port == serial;
                if here {
                    self.ledger.borrow_mut().acknowledge(client.0, *messages, *bytes);
                } else {
                    self.reach(|reached| reached.late_acknowledgements += 1);
                }
            }
            for (client, ..) in written {
                self.check_outstanding(port, serial, *client);
            }
        });
    }

    fn check_outstanding(&self, port: &Polling, serial: u64, client: ClientId) {
        let ledger = self.ledger.borrow();
        let peer = &ledger.peers[&client.0];
        match port.outstanding(client) {
            Ok(outstanding) => {
                assert!(peer.is_there() && peer.port == serial);
                let (messages, bytes) = self.setup.credit;
                assert!(outstanding.messages <= messages && outstanding.bytes <= bytes, "{outstanding:?}");
                assert_eq!((outstanding.handed_messages, outstanding.handed_bytes), peer.handed);
                assert!(outstanding.messages >= peer.handed.0 && outstanding.bytes >= peer.handed.1);
            }
            Err(ClientError::WrongPort) => assert_ne!(peer.port, serial),
            Err(error) => {
                assert_eq!(error, ClientError::StaleClient);
                assert!(!peer.is_there(), "the client is connected: {peer:?}");
            }
        }
    }

    /// Checks that a connected client has nothing unacknowledged.
    pub fn assert_nothing_outstanding(&self, client: u64) {
        let port = self.ledger.borrow().peers[&client].port;
        let Some(place) = self.place_of(port) else { return };
        let left = self.polling(place, |port| port.outstanding(ClientId(client)).unwrap()).unwrap();
        assert_eq!((left.messages, left.bytes), (0, 0), "everything was acknowledged");
    }

    pub fn rebind(&self) {
        let (Some(client), Some(other)) = (self.some_client(), self.some_place()) else { return };
        let home = self.ledger.borrow().peers[&client].port;
        let place = self.place_of(home).filter(|_| self.chance(80)).unwrap_or(other);
        let token = self.new_token();
        let result = self.polling(place, |port| port.rebind(ClientId(client), token));
        let mut ledger = self.ledger.borrow_mut();
        let peer = ledger.peers.get_mut(&client).unwrap();
        match result {
            None => {}
            Some(Ok(())) => {
                assert!(!peer.leaving && peer.port == place.serial.get());
                peer.token = token;
                self.reach(|reached| reached.rebinds += 1);
            }
            Some(Err(ClientError::WrongPort)) => assert_ne!(peer.port, place.serial.get()),
            Some(Err(error)) => {
                assert_eq!(error, ClientError::StaleClient);
                assert!(peer.leaving || peer.gone, "{peer:?}");
            }
        }
    }

    /// Arms the port, or waits for zero time.
    pub fn wait(&self) {
        let Some(place) = self.some_place() else { return };
        if self.chance(40) {
            self.polling(place, |port| match port {
                Polling::Plain(port) => port.wait(Duration::ZERO),
                Polling::Shared(poller) => poller.wait(Duration::ZERO),
            });
            return;
        }
        let was_over = self.polling(place, |port| port.is_over());
        match self.arm(place) {
            // A port that may sleep must not have missed anything.
            Some(true) => {
                let events = self.ledger.borrow().events;
                self.poll_place(place, 1_000);
                assert_eq!(
                    self.ledger.borrow().events,
                    events,
                    "the port would sleep although an event is waiting"
                );
                let is_over = self.polling(place, |port| port.is_over());
                assert_eq!(was_over, is_over, "the port would sleep although its workers have ended");
                self.assert_nothing_to_do(place);
            }
            Some(false) => self.reach(|reached| reached.arms += 1),
            None => {}
        }
    }

    /// Arms a port before a sleep. Returns `None` if the port is in use.
    pub fn arm(&self, place: &Place) -> Option<bool> {
        self.polling(place, |port| match port {
            Polling::Plain(port) => port.arm(),
            Polling::Shared(poller) => poller.arm(),
        })
    }
}
