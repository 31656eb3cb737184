//! A message router on tokio, on one thread: a task for each socket, and one that waits for the port's descriptor and hands
//! the deliveries out. A client's first line is its name. Each further line is a message of the protocol `generic`, such as
//! `{"type":"offer","to":"ben"}`. The server ends when its standard input ends.
//!
//! `cargo run -p corelane-examples --bin router_tokio -- 127.0.0.1:9000`

use corelane::error::{Closed, SubmitError};
use corelane::router::{Builder, Event, Port, SubmitOptions};
use corelane::{config::Config, monitor::Format};
use futures_util::{SinkExt, StreamExt};
use std::{cell::RefCell, collections::HashMap, io, rc::Rc, time::Duration};
use tokio::io::{Interest, unix::AsyncFd};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::{spawn_blocking, spawn_local, yield_now};
use tokio_util::codec::{Framed, LinesCodec};

/// A client's queue, which its credit bounds, and what closes the client.
type Peer = (mpsc::UnboundedSender<String>, Rc<Notify>);

/// The port, and the clients by their tokens.
struct Shared {
    port: RefCell<Port>,
    peers: RefCell<HashMap<u64, Peer>>,
}

#[tokio::main(flavor = "local")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let router = Builder::new(Config::default()).start()?;
    let monitor = router.monitor()?;
    let shared = Rc::new(Shared { port: RefCell::new(router.port()?), peers: RefCell::default() });
    let listener = TcpListener::bind(std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:0")).await?;
    println!("listening on {}", listener.local_addr()?);
    let deliveries = spawn_local(deliver(Rc::clone(&shared)));
    let sockets = spawn_local(async move {
        for token in 1.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            spawn_local(serve(stream, token, Rc::clone(&shared)));
        }
    });
    spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    sockets.abort();
    router.request_stop(); // The workers handle what has been submitted. Then the poll says closed.
    deliveries.await??;
    println!("{}", monitor.report(Format::Json));
    Ok(())
}

/// Serves one client until its socket ends, or until the router closes it.
async fn serve(stream: TcpStream, token: u64, shared: Rc<Shared>) -> io::Result<()> {
    let (mut sink, mut lines) = Framed::new(stream, LinesCodec::new_with_max_length(65_536)).split();
    let Some(Ok(name)) = lines.next().await else { return Ok(()) };
    let connected = shared.port.borrow_mut().connect(&name, "generic", "example", token);
    let client = connected.map_err(io::Error::other)?;
    let ((queue, mut frames), close) = (mpsc::unbounded_channel::<String>(), Rc::new(Notify::new()));
    shared.peers.borrow_mut().insert(token, (queue, Rc::clone(&close)));
    let options = SubmitOptions { tell_failed: true, ..SubmitOptions::default() };
    let submit = |line: &str| shared.port.borrow_mut().submit_with(client, line.as_bytes(), options);
    let reading = async {
        while let Some(Ok(line)) = lines.next().await {
            while submit(&line) == Err(SubmitError::RingFull) {
                tokio::time::sleep(Duration::from_millis(1)).await; // The workers are behind: this client waits.
            }
            shared.port.borrow_mut().publish();
        }
    };
    let writing = async {
        while let Some(frame) = frames.recv().await {
            let bytes = frame.len() as u32;
            if sink.send(frame).await.is_err() {
                return;
            }
            shared.port.borrow_mut().acknowledge(client, 1, bytes);
        }
    };
    tokio::select! { () = reading => {} () = writing => {} () = close.notified() => {} }
    shared.port.borrow_mut().disconnect(client).map_err(io::Error::other) // The client's last event is `Closed`.
}

/// Hands deliveries out until the router has stopped.
async fn deliver(shared: Rc<Shared>) -> io::Result<()> {
    #[expect(deprecated, reason = "the replacement is unsafe: the port must stay open, as it does here")]
    let descriptor = AsyncFd::with_interest(shared.port.borrow().descriptor(), Interest::READABLE)?;
    while let Ok(taken) = hand_out(&shared) {
        if taken > 0 || !shared.port.borrow_mut().arm() {
            yield_now().await; // The sockets' tasks run.
        } else {
            descriptor.readable().await?.clear_ready();
            shared.port.borrow_mut().awake(true);
        }
    }
    Ok(())
}

fn hand_out(shared: &Shared) -> Result<usize, Closed> {
    let (mut port, mut peers) = (shared.port.borrow_mut(), shared.peers.borrow_mut());
    let mut batch = port.poll(256)?;
    while let Some(event) = batch.next() {
        match event {
            Event::Message(message) => {
                let text = String::from_utf8_lossy(message.payload).into_owned();
                drop(peers.get(&message.token).map(|(queue, _)| queue.send(text)));
            }
            Event::Undelivered { client, correlation, reason, .. } => {
                let answer = format!(r#"{{"type":"error","reason":"{}"}}"#, reason.label());
                let _ = batch.port().send(client, answer.as_bytes(), correlation); // Fails if the client has left.
            }
            Event::Close { token, .. } => drop(peers.get(&token).map(|(_, close)| close.notify_one())),
            Event::Closed { token, .. } => drop(peers.remove(&token)),
            _ => {} // This protocol holds no messages, and has none that gives a name up.
        }
    }
    Ok(batch.taken())
}
