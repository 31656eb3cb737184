//! The floor: a relay that reads the recipient, adds the sender, and forwards the message. It measures and limits
//! nothing. A separate process, `--bare-relay ADDRESS [THREADS]`; each thread has a listener of its own, and by default
//! there is one thread per core.

use crate::peers::Envelope;
use futures_util::{SinkExt, StreamExt};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

type Table = Arc<RwLock<HashMap<String, mpsc::UnboundedSender<Message>>>>;

#[expect(clippy::result_large_err, reason = "the handshake's callback is typed so")]
async fn serve(stream: TcpStream, table: Table) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut name = String::new();
    let read_name = |request: &Request, response: Response| {
        let query = request.uri().query().unwrap_or_default();
        let id = query.split('&').find_map(|part| part.strip_prefix("id="));
        name = id.unwrap_or_default().to_owned();
        Ok(response)
    };
    // tungstenite's own buffer has 128 KiB for each connection.
    let config = WebSocketConfig::default().read_buffer_size(4 << 10);
    let socket = tokio_tungstenite::accept_hdr_async_with_config(stream, read_name, Some(config));
    let (mut out, mut from) = socket.await.ok()?.split();
    let (sender, mut deliveries) = mpsc::unbounded_channel();
    sender.send(Message::text(r#"{"type":"OPEN"}"#)).ok()?;
    table.write().unwrap().insert(name.clone(), sender);
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
        let Some(envelope) = Envelope::read(text.as_bytes()) else { continue };
        let mut relayed = Vec::with_capacity(text.len() + 64);
        envelope.relay(&name, &mut relayed);
        let to = envelope.dst.and_then(|dst| table.read().unwrap().get(dst).cloned());
        if let (Some(to), Ok(relayed)) = (to, String::from_utf8(relayed)) {
            to.send(Message::text(relayed)).ok()?;
        }
    }
    table.write().unwrap().remove(&name);
    Some(())
}

pub fn run(address: &str, threads: Option<usize>) {
    let address: SocketAddr = address.parse().expect("an address");
    let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let table = Table::default();
    let thread = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseport(true).unwrap();
            socket.bind(address).unwrap();
            let listener = socket.listen(1024).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(serve(stream, Arc::clone(&table)));
            }
        });
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(thread);
        }
        thread();
    });
}
