//! A router on one thread, driven by hand, and its ports' events in short form.

pub use crate::support::{Bench, PATIENCE, config_of as config, settled, until};
use corelane::clients::ClientId;
use corelane::error::{Closed, SubmitError};
use corelane::router::{Action, Builder, Event, Port, ProtocolRules};
use std::sync::mpsc;
use std::time::Duration;

/// Limit, in rounds, for something that must end by itself.
pub const ROUNDS: usize = 2_000;

pub const HEARTBEAT: &[u8] = br#"{"type":"HEARTBEAT"}"#;

/// A message that the host handles as a task, with [`sums`].
pub const SUM: &[u8] = br#"{"type":"sum"}"#;

pub fn sums(builder: Builder) -> Builder {
    builder.protocol(ProtocolRules::generic().message_type("sum", Action::Host { hold: false }))
}

/// A delivered event: the client's token, and the submitter's value if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Message(u64, u64),
    Expired(u64, u64),
    Undelivered(u64, u64),
    SendFailed(u64),
    Left(u64),
    Close(u64),
    Closed(u64),
}

pub fn seen(event: &Event<'_>) -> Seen {
    match *event {
        Event::Message(message) => Seen::Message(message.token, message.correlation),
        Event::Expired { token, correlation, .. } => Seen::Expired(token, correlation),
        Event::Undelivered { token, correlation, .. } => Seen::Undelivered(token, correlation),
        Event::SendFailed { correlation, .. } => Seen::SendFailed(correlation),
        Event::Left { token, .. } => Seen::Left(token),
        Event::Close { token, .. } => Seen::Close(token),
        Event::Closed { token, .. } => Seen::Closed(token),
        ref other => panic!("{other:?}"),
    }
}

pub const CLOSED: SubmitError = SubmitError::Closed;

/// Polls once. A closed port has no more events.
pub fn poll(port: &mut Port) -> Vec<Seen> {
    let mut all = Vec::new();
    match port.poll_each(usize::MAX, |event| all.push(seen(&event))) {
        Ok(_) => {}
        Err(error) => assert_eq!((error, &all), (Closed, &Vec::new())),
    }
    all
}

/// Polls until the port reports that it is closed.
pub fn poll_to_the_end(port: &mut Port) -> Vec<Seen> {
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        if let Err(error) = port.poll_each(100, |event| all.push(seen(&event))) {
            assert_eq!(error, Closed);
            return all;
        }
    }
    panic!("a stopped port is never closed: {:?} ...", &all[..all.len().min(9)]);
}

/// The number of last events of a client.
pub fn closings(events: &[Seen], token: u64) -> usize {
    events.iter().filter(|event| **event == Seen::Closed(token)).count()
}

/// The submitter's values of the messages that a client got, in order.
pub fn got(events: &[Seen], token: u64) -> Vec<u64> {
    let of = |event: &Seen| match *event {
        Seen::Message(to, correlation) if to == token => Some(correlation),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

/// A PeerJS message that is held if the name is not connected.
pub fn offer(to: &str) -> Vec<u8> {
    format!(r#"{{"type":"OFFER","dst":"{to}","payload":1}}"#).into_bytes()
}

impl Bench {
    pub fn new(set: &[(&str, &str)]) -> Self {
        Self::built(set, |builder| builder)
    }

    /// Builds a bench with additional builder settings.
    pub fn built(set: &[(&str, &str)], extend: impl FnOnce(Builder) -> Builder) -> Self {
        Self::of(config(set), |builder| extend(builder.name_keys([7, 9])))
    }

    pub fn port(&self) -> Port {
        self.router.port().unwrap()
    }

    pub fn cycle_one(&mut self, worker: usize) -> usize {
        self.workers[worker].cycle(self.clock.now())
    }

    /// Publishes a port's submissions, runs the workers, and returns the port's events.
    pub fn turn(&mut self, port: &mut Port) -> Vec<Seen> {
        port.publish();
        self.cycle();
        poll(port)
    }

    pub fn advance(&self, milliseconds: u64) {
        self.hands.advance(Duration::from_millis(milliseconds));
    }

    /// Cycles and polls until nothing moves.
    pub fn drain(&mut self, ports: &mut [&mut Port]) -> Vec<Seen> {
        let mut all = Vec::new();
        let mut idle = 0;
        for _ in 0..ROUNDS {
            let worked = self.cycle();
            let before = all.len();
            for port in ports.iter_mut() {
                port.publish();
                all.extend(poll(port));
            }
            idle = if worked == 0 && all.len() == before { idle + 1 } else { 0 };
            if idle > 2 {
                return all;
            }
        }
        panic!("never quiet: {:?} ...", &all[..all.len().min(9)]);
    }

    /// Checks conservation (I4) while nothing is in flight: the number of submitted messages and the number of
    /// events.
    pub fn assert_quiet(&self, submitted: u64, events: usize) {
        let figures = settled(&self.router);
        assert_eq!((figures.submitted, figures.consumed), (submitted, events as u64), "{figures:?}");
    }
}

/// A port that was refused because of `queue_messages`, with its messages published or not.
pub fn full_queue(published: bool) -> (Bench, Port, ClientId) {
    let mut bench = Bench::new(&[("workers", "1"), ("queue_messages", "4")]);
    let mut port = bench.port();
    let ann = port.connect("ann", "peerjs", "", 1).unwrap();
    bench.turn(&mut port);
    for _ in 0..4 {
        port.submit(ann, HEARTBEAT, 0).unwrap();
    }
    if published {
        port.publish();
    }
    assert_eq!(port.submit(ann, HEARTBEAT, 0), Err(SubmitError::RingFull));
    (bench, port, ann)
}

/// The index and the generation of a client slot.
pub fn slot(client: ClientId) -> (u32, u32) {
    (client.0 as u32, (client.0 >> 32) as u32)
}

/// Connects a client whose messages go to `worker`, with its number as its token. Polls the events that this causes.
pub fn connect_on(bench: &mut Bench, port: &mut Port, worker: usize) -> (ClientId, u64) {
    for number in 1_000.. {
        assert!(number < 1_100, "no name goes to worker {worker}");
        let connected = port.connect(&format!("c{number}"), "peerjs", "", number);
        let Ok(client) = connected else { continue }; // The name is already connected.
        port.submit(client, HEARTBEAT, 0).unwrap();
        port.publish();
        let before = bench.router.stats().workers[worker].ended;
        bench.cycle();
        let here = bench.router.stats().workers[worker].ended > before;
        bench.cycle();
        poll(port);
        if here {
            return (client, number);
        }
    }
    unreachable!("the numbers end above")
}

/// Runs code that might block on a separate thread. Returns `None` if the code panics or exceeds the time limit.
pub fn within<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(work()));
    told.recv_timeout(PATIENCE).ok()
}
