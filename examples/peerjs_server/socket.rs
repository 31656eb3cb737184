//! The life of a WebSocket that is admitted. One task submits its frames to the port and writes its queue, until either
//! side closes it.

use crate::admit::{Entering, Refused};
use crate::connection::{Connection, Rest, State};
use crate::counts::{At, Refusal};
use crate::guard::Socket;
use crate::http;
use crate::network::{Network, Submitted};
use crate::queue::{Credit, Queue};
use crate::wire::{Outlet, Wire};
use corelane::clock::Stamp;
use corelane::router::SubmitOptions;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use hyper::body::Bytes;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

/// Maximum number of frames that one socket submits before other tasks run.
const FRAMES_PER_TURN: usize = 64;
/// Time for a peer to answer a closing frame.
const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// Time for which the name of a reconnecting client is free. Messages in flight to the old socket reach it in this
/// time and are handed over. New messages are held for the new socket.
const TAKE_OVER_GRACE: Duration = Duration::from_millis(5);
/// Time in which the router must finish the messages of a client that is drained.
const SETTLE: Duration = Duration::from_secs(1);
/// How the HEARTBEAT of a PeerJS client begins. Such a client is idle.
const HEARTBEAT: &[u8] = br#"{"type":"HEARTBEAT""#;
/// Initial read buffer of a socket, in bytes. Most messages fit; a larger one makes the buffer grow for a while.
const READ_BUFFER: usize = 4 << 10;
/// Bytes of tungstenite's own frames to collect before they are written without a flush.
const WRITE_BUFFER: usize = 32 << 10;

/// The limits of a socket. A frame larger than `max_frame` closes the socket.
pub(crate) fn limits(max_frame: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_frame_size(Some(max_frame))
        .max_message_size(Some(max_frame))
}

/// How the task of a socket ends.
#[derive(Debug)]
enum End {
    /// With a closing frame, after an optional text.
    Close(Option<CloseFrame>, Option<Bytes>),
    /// With the answer to the peer's closing frame.
    Answer,
    /// Without any frame.
    Drop,
}

impl End {
    /// The reason for the log.
    fn reason(&self, connection: &Connection) -> &'static str {
        match self {
            _ if connection.state() != State::Open => connection.why(),
            Self::Answer => "closed by the client",
            Self::Close(..) => "protocol error of the client",
            Self::Drop => "connection lost",
        }
    }
}

/// Serves one WebSocket, from its upgrade to its end.
pub(crate) async fn serve(
    network: Rc<Network>,
    socket: &Socket,
    mut stream: WebSocketStream<Outlet>,
    admitted: Result<Entering, Refused>,
    address: IpAddr,
) {
    network.sockets.set(network.sockets.get() + 1);
    let mut rest = Queue::default();
    let connected = match admitted {
        Ok(entering) => entering.connect(address).await,
        Err(refused) => Err(refused),
    };
    let end = match connected {
        Ok(connection) => {
            let (id, came) = (&connection.id, Instant::now());
            tracing::info!(id, %address, "connected");
            let wire = Rc::clone(&stream.get_ref().0);
            connection.attach(Some(Rc::clone(&wire)));
            let mut session = Session {
                network: &network,
                connection: &connection,
                address,
                stream: &mut stream,
                wire: &wire,
                waiting: None,
                unflushed: false,
            };
            let end = poll_fn(|context| session.poll(context)).await;
            connection.attach(None);
            match connection.state() {
                State::Replaced => {
                    network.release_name(&connection);
                    tokio::time::sleep(TAKE_OVER_GRACE).await;
                    network.leave(&connection);
                }
                State::Draining => rest = settle(&network, &connection).await,
                _ => network.leave(&connection),
            }
            let reason = end.reason(&connection);
            tracing::info!(id, %address, reason, seconds = came.elapsed().as_secs(), "disconnected");
            end
        }
        Err(refused) => End::Close(None, Some(refused.into_text())),
    };
    socket.enter(At::Closing);
    // The socket ends in any case, so errors and the time-out are ignored.
    let _ = tokio::time::timeout(CLOSE_GRACE, farewell(&mut stream, &rest, end)).await;
    network.sockets.set(network.sockets.get() - 1);
}

/// Disconnects a client whose socket is no longer read, after the router has finished the client's messages. New
/// messages for its id are held from now on. Returns the frames that are not written.
async fn settle(network: &Network, connection: &Connection) -> Queue {
    // The socket is its own successor.
    let (done, rest) = oneshot::channel::<Rest>();
    connection.successor.replace(Some(done));
    network.release_name(connection);
    tokio::time::sleep(TAKE_OVER_GRACE).await;
    network.leave(connection);
    // An error means that a new socket of the same client gets the frames.
    let rest = tokio::time::timeout(SETTLE, rest).await;
    rest.ok().and_then(Result::ok).unwrap_or_default().outgoing
}

/// Sends the last frames of a socket and waits until the peer has read them. Closing a TCP socket with unread bytes
/// sends a reset, which can discard the last data before the peer reads it.
async fn farewell(
    stream: &mut WebSocketStream<Outlet>,
    rest: &Queue,
    end: End,
) -> Result<(), tungstenite::Error> {
    for text in rest.texts() {
        stream.feed(frame_of(Bytes::copy_from_slice(text))).await?;
    }
    match end {
        // Reading the peer's closing frame has put the answer into the stream's buffer.
        End::Answer => stream.flush().await?,
        End::Close(frame, text) => {
            if let Some(text) = text {
                stream.send(frame_of(text)).await?;
            }
            stream.close(frame).await?;
            while let Some(Ok(_)) = stream.next().await {}
        }
        End::Drop => return Ok(()),
    }
    let socket = stream.get_mut();
    socket.shutdown().await?;
    let mut rest = [0; 4096];
    while socket.read(&mut rest).await? > 0 {}
    Ok(())
}

fn frame_of(text: Bytes) -> Message {
    // A `Message::Text` would check for UTF-8 again. The router relays only UTF-8, so a raw frame suffices.
    Message::Frame(Frame::message(text, OpCode::Data(Data::Text), true))
}

/// A client's socket while it is open.
struct Session<'a> {
    network: &'a Network,
    connection: &'a Connection,
    address: IpAddr,
    stream: &'a mut WebSocketStream<Outlet>,
    wire: &'a Wire,
    /// A message that waits for room in the ring. Until it is submitted, the task reads no further frame.
    waiting: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// Tungstenite has frames of its own to write: a ping, or the answer to one.
    unflushed: bool,
}

impl Session<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        self.connection.wait_with(context.waker());
        match self.connection.state() {
            State::Open => {}
            State::Closing => {
                // Write the queue before the closing frame, as far as the socket accepts it now.
                let _ = self.poll_write(context);
                return Poll::Ready(End::Close(None, None));
            }
            State::Replaced => {
                // Read once more: the client may have sent frames before it reconnected.
                let _ = self.poll_read(context);
                return Poll::Ready(End::Close(None, None));
            }
            State::Draining => return self.poll_drain(context),
            State::Taken => {
                let _ = self.poll_write(context);
                return Poll::Ready(End::Close(None, Some(Bytes::from_static(http::ID_TAKEN))));
            }
            State::Aborted => return Poll::Ready(End::Drop),
        }
        if let Poll::Ready(end) = self.poll_read(context) {
            return Poll::Ready(end);
        }
        match self.poll_write(context) {
            Poll::Ready(Err(_)) => Poll::Ready(End::Drop),
            _ => Poll::Pending,
        }
    }

    /// Submits what the client has sent, and ends. Frames that are not written follow once the client is settled.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<End> {
        if let Poll::Ready(end) = self.poll_read(context) {
            return Poll::Ready(end);
        }
        if self.waiting.is_some() {
            return Poll::Pending;
        }
        if let Poll::Ready(Err(_)) = self.poll_write(context) {
            return Poll::Ready(End::Drop);
        }
        Poll::Ready(End::Close(Some(CloseFrame { code: CloseCode::Restart, reason: "".into() }), None))
    }

    /// Reads and submits the available frames.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<End> {
        for _ in 0..FRAMES_PER_TURN {
            if let Some(waiting) = &mut self.waiting {
                std::task::ready!(waiting.as_mut().poll(context));
                self.waiting = None;
            }
            let message = match std::task::ready!(Pin::new(&mut *self.stream).poll_next(context)) {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Poll::Ready(self.fault(&error)),
                None => return Poll::Ready(End::Drop),
            };
            let now = self.network.clock.now();
            self.connection.heard_at.set(now);
            match message {
                Message::Text(_) | Message::Binary(_) => self.submit(message.into_data(), now),
                Message::Close(_) => return Poll::Ready(End::Answer),
                // Tungstenite answers a ping in the next read or flush.
                _ => self.unflushed = true,
            }
        }
        // There may be more frames. Let other tasks run first.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Submits a message that was read at `stamp`, or lets it wait for room.
    fn submit(&mut self, message: Bytes, stamp: Stamp) {
        let Some(client) = self.connection.client.get() else { return };
        if !message.starts_with(HEARTBEAT) {
            self.connection.active_at.set(stamp);
        }
        let options = SubmitOptions { stamp: Some(stamp), ..SubmitOptions::default() };
        match self.network.submit(client, &message, options) {
            Submitted::Done => {}
            Submitted::Full => {
                let submitter = self.network.submitter.clone();
                self.waiting = Some(Box::pin(async move {
                    // A refusal drops the message. The router has counted it.
                    let _ = submitter.submit(client, &message, options).await;
                }));
            }
            Submitted::TooLarge => self.say_too_large(message.len()),
        }
    }

    /// Writes the queue as far as the socket accepts it, and acknowledges once all of it is written.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), tungstenite::Error>> {
        if self.connection.take_ping() {
            std::task::ready!(Pin::new(&mut *self.stream).poll_ready(context))?;
            Pin::new(&mut *self.stream).start_send(Message::Ping(Bytes::new()))?;
            self.unflushed = true;
        }
        if self.unflushed || self.wire.is_inside() {
            std::task::ready!(Pin::new(&mut *self.stream).poll_flush(context))?;
            self.unflushed = false;
        }
        let written = std::task::ready!(self.connection.poll_write(context))?;
        self.network.acknowledge(self.connection, written);
        Poll::Ready(Ok(()))
    }

    /// Tells the client that its message is too large.
    fn say_too_large(&self, bytes: usize) {
        if self.connection.takes_notices() {
            self.connection.push(&self.too_large(bytes), Credit::default());
        }
    }

    fn too_large(&self, bytes: usize) -> Bytes {
        let limit = self.network.service.settings.max_message;
        http::error(&format!("The message has {bytes} bytes; this server delivers up to {limit}"))
    }

    /// How a socket ends after an error of its stream.
    fn fault(&self, error: &tungstenite::Error) -> End {
        let (code, text) = match error {
            tungstenite::Error::Utf8(_) => (CloseCode::Invalid, None),
            tungstenite::Error::Capacity(CapacityError::MessageTooLong { size, .. }) => {
                let (id, address) = (&self.connection.id, self.address);
                self.network.service.refuse(Refusal::FrameTooLarge, address, id);
                (CloseCode::Size, Some(self.too_large(*size)))
            }
            tungstenite::Error::Protocol(_) => (CloseCode::Protocol, None),
            _ => return End::Drop,
        };
        End::Close(Some(CloseFrame { code, reason: "".into() }), text)
    }
}
