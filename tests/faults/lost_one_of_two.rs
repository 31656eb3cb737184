//! One worker of two is lost: the router continues with the other. Row R9; invariants I4, I5, I9.

use super::harness::{Bench, CLOSED, ROUNDS, Seen, closings, connect_on, got, offer, poll, poll_to_the_end};
use corelane::clients::ClientId;
use corelane::error::SubmitError;
use corelane::router::Port;

const BOB: u64 = 1;

/// A client that sends to bob, its token, and whether its worker is the lost one.
#[derive(Clone, Copy)]
struct Sender {
    client: ClientId,
    token: u64,
    loses: bool,
}

impl Sender {
    /// The correlation value of its message with that number.
    fn value(self, number: u64) -> u64 {
        self.token * 10 + number
    }
}

struct Scene {
    bench: Bench,
    port: Port,
    senders: Vec<Sender>,
    /// A client that disconnects and whose last record is in the lost worker's ring.
    eve: (ClientId, u64),
    events: Vec<Seen>,
    submitted: u64,
}

impl Scene {
    /// Three senders on each of two workers. Each has sent message 1, which is not polled. `polls` is the number of
    /// polls so far, which decides which worker's ring the port polls first.
    fn new(balance: &str, polls: usize) -> Self {
        let mut bench = Bench::new(&[("workers", "2"), ("balance", balance)]);
        let mut port = bench.port();
        port.connect("bob", "peerjs", "", BOB).unwrap();
        let mut senders = Vec::new();
        for worker in [0, 1, 0, 1, 0, 1] {
            let (client, token) = connect_on(&mut bench, &mut port, worker);
            senders.push(Sender { client, token, loses: false });
        }
        let eve = connect_on(&mut bench, &mut port, 0);
        for _ in 0..polls {
            assert_eq!(poll(&mut port), []);
        }
        let submitted = bench.router.accounting().submitted;
        let mut scene = Self { bench, port, senders: Vec::new(), eve, events: Vec::new(), submitted };
        for sender in senders {
            let before = scene.bench.router.stats().workers[0].ended;
            scene.submit(sender, 1).unwrap();
            scene.port.publish();
            scene.bench.cycle();
            let loses = scene.bench.router.stats().workers[0].ended > before;
            scene.bench.cycle();
            scene.senders.push(Sender { loses, ..sender });
        }
        assert_eq!(scene.senders.iter().filter(|sender| sender.loses).count(), 3);
        scene
    }

    fn submit(&mut self, sender: Sender, number: u64) -> Result<(), SubmitError> {
        self.submitted += 1;
        self.port.submit(sender.client, &offer("bob"), sender.value(number))
    }

    fn turn(&mut self) {
        let events = self.bench.turn(&mut self.port);
        self.events.extend(events);
    }

    /// Submits until the message is accepted.
    fn insist(&mut self, sender: Sender, number: u64) {
        for _ in 0..ROUNDS {
            match self.submit(sender, number) {
                Ok(()) => return,
                Err(error) => assert!(error == CLOSED || error == SubmitError::RingFull, "{error:?}"),
            }
            self.turn();
        }
        panic!("a client of a lost worker never gets through again");
    }

    /// The numbers of a sender's messages that bob got, in order.
    fn of(&self, sender: Sender) -> Vec<u64> {
        let values = got(&self.events, BOB).into_iter();
        values.filter(|value| value / 10 == sender.token).map(|value| value % 10).collect()
    }
}

fn goes_on(balance: &str, polls: usize) {
    let mut scene = Scene::new(balance, polls);
    let senders = scene.senders.clone();
    let lost = *senders.iter().find(|sender| sender.loses).unwrap();
    // The worker that is lost holds one message, and has one untaken message of each of its clients.
    scene.submitted += 1;
    scene.port.submit(lost.client, &offer("nobody"), 0).unwrap();
    scene.port.publish();
    scene.bench.cycle();
    for sender in &senders {
        scene.submit(*sender, 2).unwrap();
    }
    scene.port.disconnect(scene.eve.0).unwrap();
    scene.port.publish();
    drop(scene.bench.workers.remove(0));
    for number in 3..=5 {
        for sender in &senders {
            scene.insist(*sender, number);
        }
        scene.turn();
    }
    let rest = scene.bench.drain(&mut [&mut scene.port]);
    scene.events.extend(rest);
    for sender in &senders {
        let wanted: &[u64] = if sender.loses { &[1, 3, 4, 5] } else { &[1, 2, 3, 4, 5] };
        assert_eq!(scene.of(*sender), wanted, "{balance}, after {polls} polls: {}", sender.token);
    }
    assert_eq!(
        scene.bench.failed("worker_lost"),
        4,
        "three messages that it had not taken, and one that it held"
    );
    assert_eq!(closings(&scene.events, scene.eve.1), 1);
    let figures = scene.bench.router.accounting();
    assert_eq!((figures.in_flight, figures.held), (0, 0), "{figures:?}");
    // Every client can disconnect, and the rest of the router stops.
    for sender in &senders {
        scene.port.disconnect(sender.client).unwrap();
    }
    let rest = scene.bench.drain(&mut [&mut scene.port]);
    scene.events.extend(rest);
    for sender in &senders {
        assert_eq!(closings(&scene.events, sender.token), 1);
    }
    scene.bench.router.request_stop();
    scene.bench.cycle();
    scene.events.extend(poll_to_the_end(&mut scene.port));
    scene.bench.assert_quiet(scene.submitted, scene.events.len());
}

/// A lost worker does not prevent new clients: clients on the old port and on a new port send and get messages.
fn newcomers_are_served(balance: &str) {
    let mut bench = Bench::new(&[("workers", "2"), ("balance", balance)]);
    let mut port = bench.port();
    port.connect("bob", "peerjs", "", BOB).unwrap();
    bench.turn(&mut port);
    drop(bench.workers.remove(0));
    let mut events = bench.turn(&mut port);
    let mut second = bench.port();
    for token in 10..20 {
        let ports = [&mut port, &mut second];
        for (home, token) in ports.into_iter().zip([token, token + 10]) {
            let client = home.connect(&format!("c{token}"), "peerjs", "", token).unwrap();
            home.submit(client, &offer("bob"), token).unwrap();
            home.submit(client, &offer(&format!("c{token}")), token).unwrap();
        }
    }
    events.extend(bench.drain(&mut [&mut port, &mut second]));
    let mut of_bob = got(&events, BOB);
    of_bob.sort_unstable();
    assert_eq!(of_bob, (10..30).collect::<Vec<_>>());
    assert!((10..30).all(|token| got(&events, token) == [token]), "{events:?}");
    drop(second);
    events.extend(bench.drain(&mut [&mut port]));
    assert_eq!(bench.failed("worker_lost"), 0);
    bench.assert_quiet(40, events.len());
}

/// R9: with `hash`, the other worker serves clients that connect after the loss, on any port.
#[test]
fn by_hash_newcomers_are_served() {
    newcomers_are_served("hash");
}

/// R9: the same with `least_loaded`.
#[test]
fn by_load_newcomers_are_served() {
    newcomers_are_served("least_loaded");
}

/// `drop_plain`. R9, I5, I4: with `hash`, the lost worker's clients move to the other worker, and order is kept.
#[test]
fn by_hash_its_clients_move_and_keep_their_order() {
    for polls in [0, 1] {
        goes_on("hash", polls);
    }
}

/// `drop_plain`. R9, I5, I4: the same with `least_loaded`.
#[test]
fn by_load_its_clients_move_and_keep_their_order() {
    for polls in [0, 1] {
        goes_on("least_loaded", polls);
    }
}
