//! A message router on tokio, on one thread: a task for each socket, and one that receives from the port and hands the
//! deliveries out. A client's first line is its name. Each further line is a message of the protocol `generic`, such as
//! `{"type":"offer","to":"ben"}`. The server ends when its standard input ends.
//!
//! `cargo run -p corelane-examples --bin router_tokio -- 127.0.0.1:9000`

use corelane::router::{Builder, Event, SubmitOptions};
use corelane::tokio::{Acknowledger, AsyncPort, Submitter};
use corelane::{config::Config, monitor::Format};
use futures_util::{SinkExt, StreamExt};
use std::{cell::RefCell, collections::HashMap, io, rc::Rc, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::{spawn_blocking, spawn_local};
use tokio_util::codec::{Framed, LinesCodec};

/// A client's queue, which its credit bounds, and what closes the client.
type Peer = (mpsc::UnboundedSender<String>, Rc<Notify>);

/// What the sockets' tasks use of the port, and the clients by their tokens.
struct Shared {
    submitter: Submitter,
    acknowledger: Acknowledger,
    peers: RefCell<HashMap<u64, Peer>>,
}

#[tokio::main(flavor = "local")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let router = Builder::new(Config::default()).start()?;
    let monitor = router.monitor()?;
    let port = AsyncPort::new(router.port()?)?;
    let (submitter, acknowledger) = (port.submitter(), port.acknowledger());
    let shared = Rc::new(Shared { submitter, acknowledger, peers: RefCell::default() });
    let listener = TcpListener::bind(std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:0")).await?;
    println!("listening on {}", listener.local_addr()?);
    let deliveries = spawn_local(deliver(port, Rc::clone(&shared)));
    let sockets = spawn_local(async move {
        for token in 1.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            spawn_local(serve(stream, token, Rc::clone(&shared)));
        }
    });
    spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    sockets.abort();
    router.stop_async(Duration::from_secs(5)).await?; // The workers handle what has been submitted.
    deliveries.await?;
    println!("{}", monitor.report(Format::Json));
    Ok(())
}

/// Serves one client until its socket ends, or until the router closes it.
async fn serve(stream: TcpStream, token: u64, shared: Rc<Shared>) -> io::Result<()> {
    let (mut sink, mut lines) = Framed::new(stream, LinesCodec::new_with_max_length(65_536)).split();
    let Some(Ok(name)) = lines.next().await else { return Ok(()) };
    let port = shared.submitter.port();
    let client = port.connect(&name, "generic", "example", token).map_err(io::Error::other)?;
    let ((queue, mut frames), close) = (mpsc::unbounded_channel::<String>(), Rc::new(Notify::new()));
    shared.peers.borrow_mut().insert(token, (queue, Rc::clone(&close)));
    let options = SubmitOptions { tell_failed: true, ..SubmitOptions::default() };
    let reading = async {
        while let Some(Ok(line)) = lines.next().await {
            // Waits while the workers are behind. A refusal is counted, and the client goes on.
            let _ = shared.submitter.submit(client, line.as_bytes(), options).await;
        }
    };
    let writing = async {
        while let Some(frame) = frames.recv().await {
            let bytes = frame.len() as u32;
            if sink.send(frame).await.is_err() {
                return;
            }
            shared.acknowledger.acknowledge(client, 1, bytes);
        }
    };
    tokio::select! { () = reading => {} () = writing => {} () = close.notified() => {} }
    port.disconnect(client).map_err(io::Error::other) // The client's last event is `Closed`.
}

/// Hands deliveries out until the router has stopped.
async fn deliver(mut port: AsyncPort, shared: Rc<Shared>) {
    while let Ok(mut batch) = port.recv(256).await {
        let mut peers = shared.peers.borrow_mut();
        while let Some(event) = batch.next() {
            match event {
                Event::Message(message) => {
                    let text = String::from_utf8_lossy(message.payload).into_owned();
                    drop(peers.get(&message.token).map(|(queue, _)| queue.send(text)));
                }
                Event::Undelivered { client, correlation, reason, .. } => {
                    let answer = format!(r#"{{"type":"error","reason":"{}"}}"#, reason.label());
                    // Fails if the client has left.
                    let _ = shared.submitter.port().send(client, answer.as_bytes(), correlation);
                }
                Event::Close { token, .. } => drop(peers.get(&token).map(|(_, close)| close.notify_one())),
                Event::Closed { token, .. } => drop(peers.remove(&token)),
                _ => {} // This protocol holds no messages, and has none that gives a name up.
            }
        }
    }
}
