//! Compares the PeerJS server with npm's `peer`, and with a bare relay on tokio that measures nothing. Each server is
//! a separate process on a free loopback port, driven by one client program with 16 pairs of WebSockets. The figures
//! are messages per second of the server's processor time, kernel included, and the 99th percentile of the time from
//! one socket to the other.

use crate::race::{Better, Pair, Report};
use futures_util::{SinkExt, StreamExt};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, tungstenite};
use tungstenite::Message;

const PAIRS: usize = 16;
const LIMIT: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<TcpStream>;

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Server {
    fn start(program: &Path, arguments: &[String], address: SocketAddr) -> Result<Self, String> {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", program.display()))?;
        let mut server = Self { child, address };
        let began = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            if server.child.try_wait().is_ok_and(|status| status.is_some()) || began.elapsed() > LIMIT {
                return Err(format!("{} does not listen", program.display()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Seconds of processor time that the server has used: all threads, user and kernel. The scheduler's figure in
    /// nanoseconds is used if the kernel provides it, otherwise hundredths of a second.
    fn processor_time(&self) -> f64 {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let threads = std::fs::read_dir(process.join("task")).unwrap();
        let exact: Option<u64> = threads
            .map(|thread| {
                let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
                text.split_whitespace().next()?.parse::<u64>().ok()
            })
            .sum();
        if let Some(nanoseconds) = exact.filter(|nanoseconds| *nanoseconds > 0) {
            return nanoseconds as f64 / 1e9;
        }
        let stat = std::fs::read_to_string(process.join("stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // utime and stime are the 12th and 13th fields after the name.
        fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
    }
}

/// Two clients that send to each other.
struct Two {
    sockets: [Socket; 2],
    messages: [Message; 2],
}

async fn connect(address: SocketAddr, id: &str) -> Socket {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let url = format!("ws://{address}/peerjs?key=peerjs&id={id}&token=t{id}&version=1.5.5");
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.expect("the server's handshake");
    let open = socket.next().await.unwrap().unwrap();
    assert!(open.to_text().unwrap().contains("OPEN"), "{open}");
    socket
}

fn candidate(to: &str) -> Message {
    let start = r#"{"type":"CANDIDATE","payload":{"candidate":"candidate:842163049 1 udp 1677729535 "#;
    let end = format!(r#"","sdpMLineIndex":0,"sdpMid":"0"}},"dst":"{to}"}}"#);
    Message::text(format!("{start}{}{end}", "x".repeat(200 - start.len() - end.len())))
}

async fn pairs(address: SocketAddr) -> Vec<Two> {
    let mut pairs = Vec::new();
    for place in 0..PAIRS {
        let names = [format!("ann-{place:04}"), format!("ben-{place:04}")];
        let sockets = [connect(address, &names[0]).await, connect(address, &names[1]).await];
        pairs.push(Two { sockets, messages: [candidate(&names[1]), candidate(&names[0])] });
    }
    // Check the result before timing: the relayed message carries the sender's name as the server knows it.
    for (place, pair) in pairs.iter_mut().enumerate() {
        pair.sockets[0].send(pair.messages[0].clone()).await.unwrap();
        let message = pair.sockets[1].next().await.unwrap().unwrap();
        let message: serde_json::Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        assert_eq!(
            (&message["type"], &message["src"]),
            (&"CANDIDATE".into(), &format!("ann-{place:04}").into())
        );
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

struct Driver {
    runtime: tokio::runtime::Runtime,
    pairs: Vec<Two>,
    server: Server,
}

impl Driver {
    fn new(server: Server) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let address = server.address;
        let pairs = runtime.block_on(async { tokio::time::timeout(LIMIT, pairs(address)).await });
        Self { pairs: pairs.expect("the server answers in time"), runtime, server }
    }

    /// Messages per second of processor time, and the 99th percentile in microseconds.
    fn measure(&mut self, messages: usize, window: usize) -> (f64, f64) {
        let batches = messages / PAIRS / window;
        let before = self.server.processor_time();
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
        let took = self.server.processor_time() - before;
        times.sort_unstable();
        let p99 = times[times.len() * 99 / 100] as f64 / 1000.0;
        (times.len() as f64 / took, p99)
    }
}

fn ours() -> Result<Server, String> {
    let root = Path::new(crate::ROOT);
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let program = root.join(folder).join("release/peerjs_server");
    if !program.exists() {
        return Err("the server is not built: cargo build --release -p peerjs_server".to_owned());
    }
    let (address, monitor) = (free_port(), free_port());
    let arguments =
        ["--port", &address.port().to_string(), "--host", "127.0.0.1", "--monitor", &monitor.to_string()];
    Server::start(&program, &arguments.map(str::to_owned), address)
}

fn npm() -> Result<Server, String> {
    let program = Path::new(crate::ROOT).join("tests/conformance/node_modules/peer/dist/bin/peerjs.js");
    if !program.exists() {
        return Err("npm's peer is not installed: npm ci, in tests/conformance".to_owned());
    }
    let address = free_port();
    let program = program.to_string_lossy().into_owned();
    let port = address.port().to_string();
    let arguments = [program.as_str(), "--port", &port, "--host", "127.0.0.1", "--path", "/"];
    Server::start(Path::new("node"), &arguments.map(str::to_owned), address)
}

fn bare() -> Result<Server, String> {
    let address = free_port();
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    Server::start(&program, &["--bare-relay".to_owned(), address.to_string()], address)
}

pub fn run(report: &mut Report) {
    let mut ours = match ours() {
        Ok(server) => Driver::new(server),
        Err(reason) => return println!("skipped: server ({reason})"),
    };
    for (peer, server) in [("npm peer", npm()), ("floor: bare tokio relay", bare())] {
        let mut theirs = match server {
            Ok(server) => Driver::new(server),
            Err(reason) => {
                println!("skipped: server against {peer} ({reason})");
                continue;
            }
        };
        for (case, window, messages) in [("one in flight", 1, 8_000), ("pipelined", 32, 16_384)] {
            ours.measure(messages, window);
            theirs.measure(messages, window);
            let (mut rates, mut times) = (Vec::new(), Vec::new());
            for round in 0..report.rounds {
                let (our, their) = if round % 2 == 0 {
                    let our = ours.measure(messages, window);
                    (our, theirs.measure(messages, window))
                } else {
                    let their = theirs.measure(messages, window);
                    (ours.measure(messages, window), their)
                };
                rates.push((our.0 / 1000.0, their.0 / 1000.0));
                times.push((our.1, their.1));
            }
            let pair = |what: &str, unit, better| Pair {
                bench: "server",
                case: format!("{case}: {what}"),
                unit,
                peer: peer.to_owned(),
                better,
            };
            report.add(&pair("messages", "1000/CPU-second", Better::Higher), &rates);
            report.add(&pair("p99", "us", Better::Lower), &times);
        }
    }
}

/// The floor, in a separate process: reads the recipient, adds the sender, and forwards the message.
#[expect(clippy::result_large_err, reason = "the handshake's callback is typed so")]
pub fn bare_relay(address: &str) {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::rc::Rc;
    use tokio::sync::mpsc;
    use tungstenite::handshake::server::{Request, Response};

    type Table = Rc<RefCell<HashMap<String, mpsc::UnboundedSender<Message>>>>;

    async fn serve(stream: TcpStream, table: Table) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut name = String::new();
        let socket = tokio_tungstenite::accept_hdr_async(stream, |request: &Request, response: Response| {
            let query = request.uri().query().unwrap_or_default();
            let id = query.split('&').find_map(|part| part.strip_prefix("id="));
            name = id.unwrap_or_default().to_owned();
            Ok(response)
        });
        let (mut out, mut from) = socket.await.ok()?.split();
        let (sender, mut deliveries) = mpsc::unbounded_channel();
        sender.send(Message::text(r#"{"type":"OPEN"}"#)).ok()?;
        table.borrow_mut().insert(name.clone(), sender);
        tokio::task::spawn_local(async move {
            let mut batch = Vec::new();
            while deliveries.recv_many(&mut batch, 64).await > 0 {
                for message in batch.drain(..) {
                    out.feed(message).await.ok()?;
                }
                out.flush().await.ok()?;
            }
            Some(())
        });
        while let Some(Ok(message)) = from.next().await {
            let Ok(text) = message.to_text() else { continue };
            let Some(envelope) = crate::peers::Envelope::read(text.as_bytes()) else { continue };
            let mut relayed = Vec::with_capacity(text.len() + 64);
            envelope.relay(&name, &mut relayed);
            let to = envelope.dst.and_then(|dst| table.borrow().get(dst).cloned());
            if let (Some(to), Ok(relayed)) = (to, String::from_utf8(relayed)) {
                to.send(Message::text(relayed)).ok()?;
            }
        }
        Some(())
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let table = Table::default();
        while let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(serve(stream, Rc::clone(&table)));
        }
    });
}
