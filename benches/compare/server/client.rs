//! The clients of the servers: pairs of WebSockets that send to each other, all on one thread, in the protocol of the
//! server.

use super::process::{Kind, LIMIT, Server};
use crate::race::histogram;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{WebSocketStream, tungstenite};
use tungstenite::Message;

pub const PAIRS: usize = 16;
/// The size of a message from a client.
const BYTES: usize = 200;

pub type Socket = WebSocketStream<TcpStream>;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    PeerJs,
    /// The same with the candidate in an object, as `peerjs` sends it: peerjs-go takes no other.
    PeerJsGo,
    /// matchbox_server's own: it gives each client an id, and clients of one room can send to each other.
    Matchbox,
}

impl Protocol {
    /// What a server speaks.
    pub fn of(server: Kind) -> Self {
        match server {
            Kind::Ours | Kind::InC | Kind::InGo | Kind::Npm | Kind::Bare => Self::PeerJs,
            Kind::PeerJsGo => Self::PeerJsGo,
            Kind::Matchbox => Self::Matchbox,
        }
    }

    /// Connects the client `id` to `room`. Returns the name under which others reach it.
    pub async fn connect(self, address: SocketAddr, id: &str, room: &str) -> (Socket, String) {
        let stream = TcpSocket::new_v4().unwrap().connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let url = match self {
            Self::PeerJs | Self::PeerJsGo => {
                format!("ws://{address}/peerjs?key=peerjs&id={id}&token=t{id}&version=1.5.5")
            }
            Self::Matchbox => format!("ws://{address}/{room}"),
        };
        let (mut socket, _) =
            tokio_tungstenite::client_async(url, stream).await.expect("the server's handshake");
        let first = socket.next().await.unwrap().unwrap();
        let name = match self {
            Self::PeerJs | Self::PeerJsGo => {
                assert!(first.to_text().unwrap().contains("OPEN"), "{first}");
                id.to_owned()
            }
            Self::Matchbox => {
                let first: serde_json::Value = serde_json::from_str(first.to_text().unwrap()).unwrap();
                first["IdAssigned"].as_str().expect("an id").to_owned()
            }
        };
        (socket, name)
    }

    /// A candidate of [`BYTES`] bytes.
    fn candidate(self, to: &str) -> Message {
        let candidate = r#""candidate":"candidate:842163049 1 udp 1677729535 "#;
        let (start, end) = match self {
            Self::PeerJs => (
                format!(r#"{{"type":"CANDIDATE","payload":{{{candidate}"#),
                format!(r#"","sdpMLineIndex":0,"sdpMid":"0"}},"dst":"{to}"}}"#),
            ),
            Self::PeerJsGo => (
                format!(r#"{{"type":"CANDIDATE","payload":{{"candidate":{{{candidate}"#),
                format!(r#"","sdpMLineIndex":0,"sdpMid":"0"}}}},"dst":"{to}"}}"#),
            ),
            Self::Matchbox => (
                format!(r#"{{"Signal":{{"receiver":"{to}","data":{{{candidate}"#),
                r#"","sdpMid":"0"}}}"#.to_owned(),
            ),
        };
        Message::text(format!("{start}{}{end}", "x".repeat(BYTES - start.len() - end.len())))
    }

    /// Checks that a delivered candidate has the sender's name as the server knows it.
    fn check(self, message: &Message, sender: &str) {
        let message: serde_json::Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        let (candidate, from) = match self {
            Self::PeerJs => (&message["payload"], &message["src"]),
            Self::PeerJsGo => (&message["payload"]["candidate"], &message["src"]),
            Self::Matchbox => (&message["Signal"]["data"], &message["Signal"]["sender"]),
        };
        assert!(candidate["candidate"].is_string() && from == sender, "{message}");
    }
}

/// Two clients that send to each other.
struct Two {
    sockets: [Socket; 2],
    messages: [Message; 2],
}

async fn pairs(protocol: Protocol, address: SocketAddr) -> Vec<Two> {
    let mut pairs = Vec::new();
    for place in 0..PAIRS {
        let room = format!("room-{place}");
        let (mut ann, ann_name) = protocol.connect(address, &format!("ann-{place:04}"), &room).await;
        let (mut ben, ben_name) = protocol.connect(address, &format!("ben-{place:04}"), &room).await;
        if protocol == Protocol::Matchbox {
            ann.next().await.unwrap().unwrap(); // NewPeer
        }
        let messages = [protocol.candidate(&ben_name), protocol.candidate(&ann_name)];
        // Check the result before timing.
        ann.send(messages[0].clone()).await.unwrap();
        protocol.check(&ben.next().await.unwrap().unwrap(), &ann_name);
        pairs.push(Two { sockets: [ann, ben], messages });
    }
    pairs
}

/// Sends `batches` times `window` messages, alternating the direction. Adds each message's time from socket to
/// socket, in nanoseconds.
async fn exchange(pair: &mut Two, batches: usize, window: usize, times: &mut Vec<u64>) {
    for batch in 0..batches {
        let from = batch % 2;
        let began = Instant::now();
        for _ in 0..window {
            pair.sockets[from].feed(pair.messages[from].clone()).await.unwrap();
        }
        pair.sockets[from].flush().await.unwrap();
        let mut received = 0;
        while received < window {
            let message = pair.sockets[1 - from].next().await.unwrap().unwrap();
            if message.is_text() || message.is_binary() {
                times.push(began.elapsed().as_nanos() as u64);
                received += 1;
            }
        }
    }
}

/// The figures of one exchange.
pub struct Exchanged {
    /// Messages per second of the server's processor time.
    pub per_cpu_second: f64,
    /// Messages per second of time.
    pub per_second: f64,
    /// Microseconds.
    pub p99: f64,
}

/// The pairs of one server.
pub struct Driver {
    runtime: tokio::runtime::Runtime,
    pairs: Vec<Two>,
    server: Server,
}

impl Driver {
    /// # Errors
    /// The server does not answer in time.
    pub fn new(server: Server, protocol: Protocol) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let address = server.address;
        let pairs = runtime.block_on(async { tokio::time::timeout(LIMIT, pairs(protocol, address)).await });
        let pairs = pairs.map_err(|_| format!("it does not deliver within {LIMIT:?}"))?;
        Ok(Self { pairs, runtime, server })
    }

    /// Each pair sends `window` messages at once and waits for their delivery, again and again.
    pub fn measure(&mut self, messages: usize, window: usize) -> Exchanged {
        let batches = (messages / PAIRS / window).max(1);
        let (before, began) = (self.server.processor_time(), Instant::now());
        let pairs = std::mem::take(&mut self.pairs);
        let (pairs, mut times) = self.runtime.block_on(async {
            let tasks = pairs.into_iter().map(|mut pair| {
                tokio::spawn(async move {
                    let mut times = Vec::with_capacity(batches * window);
                    let all = exchange(&mut pair, batches, window, &mut times);
                    tokio::time::timeout(LIMIT, all).await.expect("every message arrives in time");
                    (pair, times)
                })
            });
            let (mut pairs, mut all) = (Vec::new(), Vec::new());
            for task in tasks.collect::<Vec<_>>() {
                let (pair, times) = task.await.expect("a pair");
                pairs.push(pair);
                all.extend(times);
            }
            (pairs, all)
        });
        self.pairs = pairs;
        let (elapsed, took) = (began.elapsed().as_secs_f64(), self.server.processor_time() - before);
        times.sort_unstable();
        let p99 = times[times.len() * 99 / 100] as f64 / 1000.0;
        Exchanged { per_cpu_second: times.len() as f64 / took, per_second: times.len() as f64 / elapsed, p99 }
    }

    /// Sends at `rate` messages per second, from all first clients in turn, whether earlier messages have arrived or
    /// not. Returns the times from the scheduled moment to the second client's socket, in nanoseconds.
    pub fn open_loop(&mut self, rate: f64, span: Duration) -> Histogram<u64> {
        let count = (rate * span.as_secs_f64()).max(1.0) as usize;
        let pairs = std::mem::take(&mut self.pairs);
        let tasks = tokio::task::LocalSet::new();
        let (pairs, times) = tasks.block_on(&self.runtime, async {
            let (times, received) = (Rc::new(RefCell::new(histogram())), Rc::new(Cell::new(0)));
            let began = Instant::now();
            let (mut senders, mut readers) = (Vec::new(), Vec::new());
            for Two { sockets: [ann, ben], messages } in pairs {
                let (out, other) = ann.split();
                let scheduled = Rc::new(RefCell::new(VecDeque::new()));
                let (times, received, waiting) =
                    (Rc::clone(&times), Rc::clone(&received), Rc::clone(&scheduled));
                let of_pair = count / PAIRS + usize::from(senders.len() < count % PAIRS);
                let reader = tokio::task::spawn_local(async move {
                    let read = read(ben, of_pair, &waiting, began, &times, &received);
                    tokio::time::timeout(LIMIT, read).await.expect("every message arrives in time")
                });
                readers.push(reader);
                senders.push((out, other, messages, scheduled));
            }
            send(&mut senders, count, rate, began).await;
            let mut pairs = Vec::new();
            for ((out, other, messages, _), reader) in senders.into_iter().zip(readers) {
                let ben = reader.await.expect("a reader");
                pairs.push(Two { sockets: [out.reunite(other).expect("the same socket"), ben], messages });
            }
            assert_eq!(received.get(), count);
            let times = times.borrow().clone();
            (pairs, times)
        });
        self.pairs = pairs;
        times
    }
}

type Schedule = Rc<RefCell<VecDeque<u64>>>;
type Sender = (SplitSink<Socket, Message>, SplitStream<Socket>, [Message; 2], Schedule);

/// Sends all messages at their times. It never sleeps, because timers are too coarse; between two messages it lets the
/// readers run.
async fn send(senders: &mut [Sender], count: usize, rate: f64, began: Instant) {
    for place in 0..count {
        let scheduled = (place as f64 * 1e9 / rate) as u64;
        while (began.elapsed().as_nanos() as u64) < scheduled {
            tokio::task::yield_now().await;
        }
        let (out, _, messages, waiting) = &mut senders[place % PAIRS];
        waiting.borrow_mut().push_back(scheduled);
        out.send(messages[0].clone()).await.unwrap();
        if place % 16 == 15 {
            tokio::task::yield_now().await; // Also if it is late.
        }
    }
}

/// Reads `count` messages, which arrive in the order in which they were sent.
async fn read(
    mut socket: Socket,
    count: usize,
    scheduled: &RefCell<VecDeque<u64>>,
    began: Instant,
    times: &RefCell<Histogram<u64>>,
    received: &Cell<usize>,
) -> Socket {
    let mut left = count;
    while left > 0 {
        let message = socket.next().await.unwrap().unwrap();
        if message.is_text() || message.is_binary() {
            let scheduled = scheduled.borrow_mut().pop_front().expect("a message in flight");
            let took = (began.elapsed().as_nanos() as u64).saturating_sub(scheduled);
            times.borrow_mut().saturating_record(took.max(1));
            received.set(received.get() + 1);
            left -= 1;
        }
    }
    socket
}
