//! A close request that waits on the list of a full egress ring concerns one client only: no other client is closed,
//! and the request is delivered before that client's last event. Rows R12, R16; invariants I4, I8.

use super::harness::{Bench, ROUNDS, Seen, closings, seen, slot};
use corelane::clients::ClientId;
use corelane::error::ConnectError;
use corelane::router::{Event, Port};

const CREDIT: usize = 100;
const VICTIM: u64 = 100;
const NEWCOMER: u64 = 777;

struct Scene {
    bench: Bench,
    /// The victim's port, and the sender's port.
    ports: [Port; 2],
    sender: ClientId,
    events: Vec<Seen>,
    submitted: u64,
}

/// Two clients on each port that acknowledge everything.
const FILLERS: [[&str; 2]; 2] = [["f1", "f2"], ["g1", "g2"]];

impl Scene {
    /// Runs the scene up to the point where the victim's port has delivered the victim's last event.
    fn new() -> Self {
        let credit = CREDIT.to_string();
        let bench = Bench::new(&[
            ("workers", "1"),
            ("max_ports", "2"),
            ("max_clients", "6"),
            ("ring_bytes", "4096"),
            ("backlog_bytes", "4096"),
            ("credit_messages", &credit),
        ]);
        let mut ports = [bench.port(), bench.port()];
        let sender = ports[1].connect("sender", "generic", "", 1).unwrap();
        let victim = ports[0].connect("victim", "generic", "", VICTIM).unwrap();
        for (port, names) in ports.iter_mut().zip(FILLERS) {
            for name in names {
                port.connect(name, "generic", "", 2).unwrap();
            }
        }
        let mut scene = Self { bench, ports, sender, events: Vec::new(), submitted: 0 };
        scene.bench.cycle();
        // The victim's port polls and does not acknowledge. The victim's credit is used up and nothing for it is in
        // flight.
        for _ in 0..CREDIT {
            scene.send("victim");
            scene.read(0, 100);
        }
        assert_eq!(scene.ports[0].outstanding(victim).unwrap().messages as usize, CREDIT);
        scene.crowd(0);
        // The victim is over its credit: it must be closed, and there is no space for the close request.
        scene.send("victim");
        assert_eq!(scene.closes(), 1);
        // Make a little space in the backlog. The victim's last event takes it.
        scene.read(0, 4);
        scene.bench.cycle();
        scene.ports[0].disconnect(victim).unwrap();
        scene.bench.cycle();
        for _ in 0..3 {
            scene.send("f2");
        }
        for round in 0..200 {
            if closings(&scene.events, VICTIM) > 0 {
                break;
            }
            // Other clients continue to get messages as fast as the port polls.
            scene.send(FILLERS[0][round % 2]);
            scene.read(0, 1);
            scene.bench.cycle();
        }
        if closings(&scene.events, VICTIM) == 0 {
            scene.read_all();
        }
        assert_eq!(closings(&scene.events, VICTIM), 1);
        scene
    }

    fn send(&mut self, to: &str) {
        let message = format!(r#"{{"type":"offer","to":"{to}"}}"#);
        self.ports[1].submit(self.sender, message.as_bytes(), 0).unwrap();
        self.ports[1].publish();
        self.submitted += 1;
        self.bench.cycle();
    }

    /// Fills a port's ring and backlog with messages to other clients.
    fn crowd(&mut self, port: usize) {
        for name in FILLERS[port] {
            for _ in 0..35 {
                self.send(name);
            }
        }
    }

    /// Polls up to `limit` events. The fillers acknowledge.
    fn read(&mut self, port: usize, limit: usize) {
        let mut written = Vec::new();
        self.ports[port]
            .poll_each(limit, |event| {
                self.events.push(seen(&event));
                if let Event::Message(message) = event
                    && message.token == 2
                {
                    written.push((message.client, 1, message.payload.len() as u32));
                }
            })
            .unwrap();
        self.ports[port].acknowledge_batch(written);
    }

    /// Polls until nothing moves.
    fn read_all(&mut self) {
        let mut idle = 0;
        for _ in 0..ROUNDS {
            let (worked, before) = (self.bench.cycle(), self.events.len());
            self.read(0, 1_000);
            self.read(1, 1_000);
            idle = if worked == 0 && self.events.len() == before { idle + 1 } else { 0 };
            if idle > 2 {
                return;
            }
        }
        panic!("never quiet: {} events", self.events.len());
    }

    fn closes(&self) -> u64 {
        self.bench.router.stats().workers[0].credit_closes
    }

    /// Connects a client that takes the victim's client slot as soon as it is free.
    fn newcomer(&mut self, home: usize) -> ClientId {
        for _ in 0..ROUNDS {
            match self.ports[home].connect("newcomer", "generic", "", NEWCOMER) {
                Ok(client) => return client,
                Err(error) => assert_eq!(error, ConnectError::TooManyClients(6)),
            }
            self.bench.cycle();
            self.read(0, 1);
            self.read(1, 1);
        }
        panic!("the victim's client slot is never free");
    }

    /// The newcomer disconnects. Checks that every client in `told` gets at most one close request, before its last
    /// event, and that no other client gets one.
    fn end(mut self, newcomer: ClientId, home: usize, told: &[u64]) {
        self.read_all();
        self.ports[home].disconnect(newcomer).unwrap();
        self.read_all();
        for event in &self.events {
            let Seen::Close(token) = *event else { continue };
            assert!(told.contains(&token), "{token} got a close request");
        }
        for token in [VICTIM, NEWCOMER] {
            let place = |wanted| self.events.iter().position(|event| *event == wanted);
            let closes = self.events.iter().filter(|event| **event == Seen::Close(token)).count();
            assert!(closes <= 1, "{token} got {closes} close requests");
            assert_eq!(closings(&self.events, token), 1, "{token}");
            assert!(
                place(Seen::Close(token)) < place(Seen::Closed(token)),
                "{token} got a close request after its last event"
            );
        }
        self.bench.assert_quiet(self.submitted, self.events.len());
    }
}

fn nobody_is_closed_in_the_place_of_who_is_gone(home: usize) {
    let mut scene = Scene::new();
    let newcomer = scene.newcomer(home);
    assert_eq!(slot(newcomer).0, 1, "not the victim's client slot");
    for _ in 0..300 {
        scene.bench.cycle();
        scene.read(0, 1);
        scene.read(1, 1);
    }
    scene.end(newcomer, home, &[VICTIM]);
}

/// `close_wrong`. I8, R16: only the victim gets a close request.
#[test]
fn a_newcomer_on_the_same_port_is_not_closed_for_who_was_there_before() {
    nobody_is_closed_in_the_place_of_who_is_gone(0);
}

/// `close_wrong other`. I8, R16: the same if the newcomer is on another port.
#[test]
fn a_newcomer_on_another_port_is_not_closed_for_who_was_there_before() {
    nobody_is_closed_in_the_place_of_who_is_gone(1);
}

fn each_is_closed_once(home: usize) {
    let mut scene = Scene::new();
    let newcomer = scene.newcomer(home);
    scene.bench.cycle();
    if home == 1 {
        scene.crowd(home);
    }
    // The newcomer does not acknowledge either, and the path to its port stays full.
    for _ in 0..ROUNDS {
        let is_full = scene.ports[home].outstanding(newcomer).unwrap().messages as usize == CREDIT;
        if !is_full {
            scene.send("newcomer");
        }
        for name in FILLERS[home] {
            scene.send(name);
        }
        if is_full {
            scene.send("newcomer");
        }
        if scene.closes() == 2 {
            break;
        }
        scene.read(home, 1);
    }
    assert_eq!(scene.closes(), 2, "the newcomer never used its credit up");
    scene.end(newcomer, home, &[VICTIM, NEWCOMER]);
}

/// `close_loop`. I4, R12: if two clients in the same client slot exceed their credit one after the other, each gets
/// at most one close request, and the worker does not loop forever.
#[test]
fn two_in_one_place_are_told_to_close_once_at_most() {
    each_is_closed_once(0);
}

/// `close_loop other`. I4, R12: the same if the two clients are on different ports.
#[test]
fn two_in_one_place_on_two_ports_are_told_to_close_once_at_most() {
    each_is_closed_once(1);
}
