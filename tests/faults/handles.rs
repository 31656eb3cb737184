//! A stale client handle has no effect on the client that now has the same client slot, and free slots are reused in
//! turn. Row R16; invariants I4, I7.

use super::harness::{Bench, Seen, closings, poll, slot};
use corelane::clients::{ClientId, RoomId};
use corelane::error::{ClientError, Closed, ConnectError, JoinError, LeaveError, SubmitError};
use corelane::router::Port;

const STALE: SubmitError = SubmitError::StaleClient;
const WRONG_PORT: SubmitError = SubmitError::WrongPort;
const MESSAGE: &[u8] = br#"{"type":"offer","to":"sender"}"#;

/// A client in the client slot of a disconnected one.
struct Place {
    bench: Bench,
    /// The old client's port, and the port of the new client and the sender.
    ports: [Port; 2],
    sender: ClientId,
    old: ClientId,
    new: ClientId,
    submitted: u64,
    events: usize,
}

impl Place {
    fn new() -> Self {
        let bench = Bench::new(&[("workers", "1"), ("max_ports", "2"), ("max_clients", "2")]);
        let mut ports = [bench.port(), bench.port()];
        let sender = ports[1].connect("sender", "generic", "", 1).unwrap();
        let old = ports[0].connect("old", "generic", "", 2).unwrap();
        let mut place = Self { bench, ports, sender, old, new: ClientId(0), submitted: 0, events: 0 };
        assert_eq!(place.send("old"), [Seen::Message(2, 7)]);
        place.ports[0].disconnect(old).unwrap();
        assert_eq!(place.turn(), [Seen::Closed(2)]);
        place.new = place.ports[1].connect("new", "generic", "", 3).unwrap();
        assert_eq!(slot(place.new), (slot(old).0, slot(old).1 + 1));
        // One message is delivered and not acknowledged.
        assert_eq!(place.send("new"), [Seen::Message(3, 7)]);
        place
    }

    fn turn(&mut self) -> Vec<Seen> {
        let ports = &mut self.ports;
        ports.iter_mut().for_each(Port::publish);
        self.bench.cycle();
        let seen: Vec<_> = ports.iter_mut().flat_map(poll).collect();
        self.events += seen.len();
        seen
    }

    fn send(&mut self, to: &str) -> Vec<Seen> {
        let message = format!(r#"{{"type":"offer","to":"{to}"}}"#);
        self.ports[1].submit(self.sender, message.as_bytes(), 7).unwrap();
        self.submitted += 1;
        self.turn()
    }

    /// Checks that the new client is unchanged, gets its messages, and frees its client slot for another.
    fn end(mut self) {
        let outstanding = self.ports[1].outstanding(self.new).unwrap();
        assert_eq!((outstanding.messages, outstanding.handed_messages), (1, 1));
        assert_eq!(self.send("new"), [Seen::Message(3, 7)]);
        assert_eq!(self.bench.router.stats().rooms.open, 0);
        self.ports[1].acknowledge(self.new, 2, 1_000);
        assert_eq!(self.ports[1].outstanding(self.new).unwrap().messages, 0);
        self.ports[1].submit(self.new, MESSAGE, 8).unwrap();
        self.submitted += 1;
        assert_eq!(self.turn(), [Seen::Message(1, 8)]);
        self.ports[1].disconnect(self.new).unwrap();
        assert_eq!(self.turn(), [Seen::Closed(3)]);
        self.ports[0].connect("next", "generic", "", 4).unwrap();
        assert_eq!(self.turn(), []);
        self.bench.assert_quiet(self.submitted, self.events);
    }
}

/// `gap`. I7, I4: no operation with a stale handle, through either port, changes anything.
#[test]
fn a_stale_handle_touches_nothing_of_who_came_after() {
    let mut place = Place::new();
    let old = place.old;
    for port in &mut place.ports {
        port.acknowledge(old, 1, 1_000);
        port.acknowledge_batch([(old, 1, 1_000), (old, u32::MAX, u32::MAX)]);
        assert_eq!(port.outstanding(old), Err(ClientError::StaleClient));
        assert_eq!(port.rebind(old, 99), Err(ClientError::StaleClient));
        assert_eq!(port.disconnect(old), Err(ClientError::StaleClient));
        assert_eq!(port.release_name(old), Err(ClientError::StaleClient));
        assert_eq!(port.join(old, "lobby"), Err(JoinError::StaleClient));
        assert_eq!(port.leave(old, RoomId(1 << 32)), Err(LeaveError::StaleClient));
        assert_eq!(port.submit(old, MESSAGE, 9), Err(STALE));
        assert_eq!(port.send(old, b"{}", 9), Err(STALE));
        assert_eq!(port.submit_owned(old, Box::new(MESSAGE), Default::default()).unwrap_err().error, STALE);
        assert_eq!(port.alive_at(old), None);
        place.submitted += 3;
    }
    assert_eq!(place.turn(), []);
    place.end();
}

/// `gap`. I7, I4: operations of another port with the new client's handle change nothing either.
#[test]
fn another_ports_handle_touches_nothing() {
    let mut place = Place::new();
    let (new, other) = (place.new, &mut place.ports[0]);
    other.acknowledge(new, 1, 1_000);
    assert_eq!(other.outstanding(new), Err(ClientError::WrongPort));
    assert_eq!(other.rebind(new, 99), Err(ClientError::WrongPort));
    assert_eq!(other.disconnect(new), Err(ClientError::WrongPort));
    assert_eq!(other.release_name(new), Err(ClientError::WrongPort));
    assert_eq!(other.join(new, "lobby"), Err(JoinError::WrongPort));
    assert_eq!(other.leave(new, RoomId(1 << 32)), Err(LeaveError::WrongPort));
    assert_eq!(other.submit(new, MESSAGE, 9), Err(WRONG_PORT));
    place.submitted += 1;
    assert_eq!(place.turn(), []);
    place.end();
}

/// A bench whose port has connected clients of these names, with their indices as tokens.
fn connected(names: &[&str], limit: &str) -> (Bench, Port, Vec<ClientId>) {
    let mut bench = Bench::new(&[("workers", "1"), ("max_ports", "1"), ("max_clients", limit)]);
    let mut port = bench.port();
    let clients =
        names.iter().zip(0..).map(|(name, token)| port.connect(name, "generic", "", token).unwrap());
    let clients = clients.collect();
    bench.turn(&mut port);
    (bench, port, clients)
}

/// I7: a refused connect uses up no generation, however often it is repeated.
#[test]
fn refused_connects_use_no_generation_up() {
    let (mut bench, mut port, clients) = connected(&["ann", "ben"], "2");
    port.disconnect(clients[1]).unwrap();
    assert_eq!(bench.turn(&mut port), [Seen::Closed(1)]);
    let (place, generation) = slot(clients[1]);
    for _ in 0..70_000 {
        assert_eq!(port.connect("ann", "generic", "", 9), Err(ConnectError::NameTaken(clients[0])));
    }
    let next = slot(port.connect("ben", "generic", "", 9).unwrap());
    assert_eq!(next.0, place);
    assert!((generation + 1..=generation + 2).contains(&next.1), "{} after {generation}", next.1);
}

/// R16, I7: the client slot that has been free for longest is reused first.
#[test]
fn places_are_taken_in_the_order_in_which_they_came_free() {
    let (mut bench, mut port, clients) = connected(&["a", "b", "c", "d"], "4");
    let order = [1, 3, 0];
    for index in order {
        port.disconnect(clients[index]).unwrap();
        assert_eq!(bench.turn(&mut port), [Seen::Closed(index as u64)]);
    }
    let taken = order.map(|index| {
        let client = port.connect(&format!("after {index}"), "generic", "", 9).unwrap();
        slot(client).0
    });
    assert_eq!(taken, order.map(|index| slot(clients[index]).0));
}

/// R16: a client's last event is delivered once, and no later call has an effect.
#[test]
fn a_client_that_is_gone_stays_gone() {
    let (mut bench, mut port, clients) = connected(&["ann"], "1");
    port.disconnect(clients[0]).unwrap();
    assert_eq!(port.disconnect(clients[0]), Err(ClientError::StaleClient));
    let mut events = bench.turn(&mut port);
    assert_eq!(port.disconnect(clients[0]), Err(ClientError::StaleClient));
    events.extend(bench.turn(&mut port));
    bench.router.request_stop();
    bench.cycle();
    events.extend(super::harness::poll_to_the_end(&mut port));
    assert_eq!(port.poll_each(1, |_| ()), Err(Closed));
    assert_eq!((closings(&events, 0), events.len()), (1, 1));
}
