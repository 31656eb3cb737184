//! A message router on blocking sockets. Each client has a thread that reads and a thread that writes; one more thread
//! hands the deliveries out. A client's first line is its name. Each further line is a message of the protocol `generic`,
//! such as `{"type":"offer","to":"ben"}`. The server ends when its standard input ends.
//!
//! `cargo run -p corelane-examples --bin router_blocking -- 127.0.0.1:9000`

#![expect(clippy::unwrap_used, reason = "a lock fails only after a panic")]

use corelane::clients::ClientId;
use corelane::error::SubmitError;
use corelane::router::{Builder, Event, Poller, SharedPort, SubmitOptions};
use corelane::{config::Config, monitor::Format};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::{thread, time::Duration};

/// A client's queue, which its credit bounds, and its socket.
type Peer = (Sender<Vec<u8>>, TcpStream);

/// The port, and the clients by their tokens.
struct Shared {
    port: SharedPort,
    peers: Mutex<HashMap<u64, Peer>>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let router = Builder::new(Config::default()).start()?;
    let monitor = router.monitor()?;
    let (port, poller) = router.port()?.share();
    let shared = Arc::new(Shared { port, peers: Mutex::default() });
    let listener = TcpListener::bind(std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:0"))?;
    println!("listening on {}", listener.local_addr()?);
    let ((sent, written), polled) = (mpsc::channel(), Arc::clone(&shared));
    let deliveries = thread::spawn(move || deliver(poller, &polled, &written));
    thread::spawn(move || {
        for (token, stream) in (1..).zip(listener.incoming().flatten()) {
            let (shared, sent) = (Arc::clone(&shared), sent.clone());
            thread::spawn(move || serve(&stream, token, &shared, sent));
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink())?;
    drop(router); // Handles what has been submitted, and stops. Then the poll says closed.
    drop(deliveries.join());
    println!("{}", monitor.report(Format::Json));
    Ok(())
}

/// Serves one client until its socket ends.
fn serve(stream: &TcpStream, token: u64, shared: &Shared, sent: Sender<(ClientId, u32)>) -> io::Result<()> {
    let (mut reader, mut line) = (BufReader::new(stream), Vec::new());
    read_line(&mut reader, &mut line)?;
    let (mut writer, socket, (queue, frames)) =
        (stream.try_clone()?, stream.try_clone()?, mpsc::channel::<Vec<u8>>());
    let mut peers = shared.peers.lock().unwrap(); // Deliveries may come at once: they wait for the queue.
    let connected = shared.port.connect(&String::from_utf8_lossy(&line), "generic", "example", token);
    let client = connected.map_err(io::Error::other)?;
    peers.insert(token, (queue, socket));
    drop(peers);
    thread::spawn(move || {
        for frame in frames {
            writer.write_all(&[&frame, &b"\n"[..]].concat())?;
            sent.send((client, frame.len() as u32)).map_err(io::Error::other)?;
        }
        io::Result::Ok(())
    });
    let options = SubmitOptions { tell_failed: true, ..SubmitOptions::default() };
    while read_line(&mut reader, &mut line).unwrap_or(false) {
        while shared.port.submit_with(client, &line, options) == Err(SubmitError::RingFull) {
            thread::sleep(Duration::from_millis(1)); // The workers are behind: this client waits.
        }
    }
    shared.port.disconnect(client).map_err(io::Error::other) // The client's last event is `Closed`.
}

/// Reads a line without its end. False at the end of the input, and for a line that is too long.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    reader.take(65_536).read_until(b'\n', line)?;
    Ok(line.pop() == Some(b'\n'))
}

/// Hands deliveries out until the router has stopped.
fn deliver(mut poller: Poller, shared: &Shared, written: &Receiver<(ClientId, u32)>) {
    while poller.poll_each(256, |event| hand_out(event, shared)).is_ok() {
        poller.wait(Duration::from_millis(10)); // Not longer, because only this thread gives credit back.
        poller.acknowledge_batch(written.try_iter().map(|(client, bytes)| (client, 1, bytes)));
    }
}

fn hand_out(event: Event<'_>, Shared { port, peers }: &Shared) {
    let mut peers = peers.lock().unwrap();
    match event {
        Event::Message(message) => {
            drop(peers.get(&message.token).map(|(queue, _)| queue.send(message.payload.to_vec())));
        }
        Event::Undelivered { client, correlation, reason, .. } => {
            let answer = format!(r#"{{"type":"error","reason":"{}"}}"#, reason.label());
            let _ = port.send(client, answer.as_bytes(), correlation); // Fails if the client has left.
        }
        Event::Close { token, .. } => {
            drop(peers.get(&token).map(|(_, socket)| socket.shutdown(Shutdown::Both)))
        }
        Event::Closed { token, .. } => drop(peers.remove(&token)),
        _ => {} // This protocol holds no messages, and has none that gives a name up.
    }
}
