//! A WebSocket's life: it enters under an id or is told why not, then one task reads its frames into the port and
//! writes its queue, until either side closes it.

use crate::connection::{Connection, Outgoing, State};
use crate::counts::{At, Refusal};
use crate::guard::Socket;
use crate::http::{self, CONNECTION_LIMIT, INVALID_KEY, MISSING_PARAMETERS};
use crate::network::{Network, Submitted};
use crate::registry::Entered;
use corelane::clients::{KeptFigures, MAX_NAME_BYTES};
use corelane::error::Error;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use hyper::body::Bytes;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

/// Frames that one socket may submit before others have their turn.
const FRAMES_PER_TURN: usize = 64;
/// How long a peer has to answer a closing frame.
const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// How long a client that came back is without its name, so that what was for its old socket reaches that, and is
/// handed over, and what comes meanwhile is held for the new one.
const TAKE_OVER_GRACE: Duration = Duration::from_millis(5);
/// What a socket costs before anything is sent: most messages fit, larger ones grow it for a while.
const READ_BUFFER: usize = 4 << 10;
/// What is gathered before it is written without being flushed.
const WRITE_BUFFER: usize = 32 << 10;

/// What a WebSocket's address asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) token: String,
    /// Whose it is.
    pub(crate) address: Option<IpAddr>,
}

/// The limits of a socket; a frame past `max_frame` closes it.
pub(crate) fn limits(max_frame: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_frame_size(Some(max_frame))
        .max_message_size(Some(max_frame))
}

/// How a socket's task ends.
#[derive(Debug)]
enum End {
    /// With a closing frame, and what is said before it.
    Close(Option<CloseFrame>, Option<Bytes>),
    /// The peer has closed: its closing frame is answered.
    Answer,
    /// Without a word.
    Drop,
}

impl End {
    /// For the log.
    fn reason(&self, connection: &Connection) -> &'static str {
        match self {
            _ if connection.state() != State::Open => connection.why(),
            Self::Answer => "closed by the client",
            Self::Close(..) => "the client broke the protocol",
            Self::Drop => "gone",
        }
    }
}

/// Serves one WebSocket, from its upgrade to its end.
pub(crate) async fn serve<S>(
    network: Rc<Network>,
    socket: &Socket,
    mut stream: WebSocketStream<S>,
    query: Query,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    network.sockets.set(network.sockets.get() + 1);
    let address = query.address.unwrap_or(socket.peer());
    let end = match enter(&network, &query, address).await {
        Ok(connection) => {
            let (id, came) = (&connection.id, Instant::now());
            tracing::info!(id, %address, "connected");
            let mut session = Session {
                network: &network,
                connection: &connection,
                address,
                stream: &mut stream,
                frame: None,
                written: None,
            };
            let end = poll_fn(|context| session.poll(context)).await;
            if connection.state() == State::Replaced {
                network.release_name(&connection);
                tokio::time::sleep(TAKE_OVER_GRACE).await;
            }
            network.leave(&connection);
            let reason = end.reason(&connection);
            tracing::info!(id, %address, reason, seconds = came.elapsed().as_secs(), "disconnected");
            end
        }
        Err(end) => end,
    };
    socket.enter(At::Closing);
    // It is over either way.
    let _ = tokio::time::timeout(CLOSE_GRACE, farewell(&mut stream, end)).await;
    network.sockets.set(network.sockets.get() - 1);
}

/// Says what there is to say at a socket's end, and waits until the peer has it: a socket that is dropped with bytes unread
/// takes back what was written last.
async fn farewell<S>(stream: &mut WebSocketStream<S>, end: End) -> Result<(), tungstenite::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match end {
        // The answer is in the stream's buffer since the peer's frame was read.
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
    // As a frame, since `Message::Text` would look once more whether it is UTF-8: the router relays nothing else.
    Message::Frame(Frame::message(text, OpCode::Data(Data::Text), true))
}

/// Lets a socket in as a client, or says why not.
async fn enter(network: &Network, query: &Query, address: IpAddr) -> Result<Rc<Connection>, End> {
    let Query { key, id, token, .. } = query;
    let refuse = |reason, text| {
        network.service.refuse(reason, address, id);
        Err(End::Close(None, Some(text)))
    };
    if key.is_empty() || id.is_empty() || token.is_empty() {
        return refuse(Refusal::MissingParameters, http::error(MISSING_PARAMETERS));
    }
    if *key != network.service.settings.key {
        return refuse(Refusal::WrongKey, http::error(INVALID_KEY));
    }
    if id.len() > MAX_NAME_BYTES {
        let text = format!("The id is longer than {MAX_NAME_BYTES} bytes");
        return refuse(Refusal::IdTooLong, http::error(&text));
    }
    let connection = network.add(id);
    let entered = network.service.registry.enter(id, token, connection.owner, address);
    if matches!(entered, Entered::New { again: true } | Entered::After(_) | Entered::Taken) {
        network.service.monitor.record_reconnect();
    }
    let mut figures = KeptFigures::default();
    match entered {
        Entered::New { .. } => greet(&connection),
        // If it has a successor itself by then, it connects all the same, for what its client has sent.
        Entered::After(owner) => {
            let rest = network.take_over(owner).await;
            greet(&connection);
            connection.inherit(rest.outgoing);
            figures = rest.figures;
        }
        Entered::Taken | Entered::Full => {
            network.forget(&connection);
            return if entered == Entered::Full {
                refuse(Refusal::ServerFull, http::error(CONNECTION_LIMIT))
            } else {
                refuse(Refusal::IdTaken, Bytes::from_static(http::ID_TAKEN))
            };
        }
    }
    match network.connect(&connection, figures) {
        Ok(()) => Ok(connection),
        Err(error) => {
            network.forget(&connection);
            let text = match error {
                Error::TooManyClients(_) => http::error(CONNECTION_LIMIT),
                error => http::error(&error.to_string()),
            };
            refuse(Refusal::Router, text)
        }
    }
}

/// Queues OPEN, before anything else.
fn greet(connection: &Connection) {
    connection.push(Outgoing { text: Bytes::from_static(http::OPEN), messages: 0, bytes: 0 });
}

/// A client's socket while it is open.
struct Session<'a, S> {
    network: &'a Network,
    connection: &'a Connection,
    address: IpAddr,
    stream: &'a mut WebSocketStream<S>,
    /// Read, and not submitted: the ring was full. With the moment at which it was read.
    frame: Option<(Bytes, u64)>,
    /// Given to the stream and not flushed yet: messages and bytes to acknowledge.
    written: Option<(u32, u32)>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        self.connection.wait_with(context.waker());
        match self.connection.state() {
            State::Open => {}
            State::Closing => {
                // What the peer reads is read before the closing frame; for one that does not, time is short.
                let _ = self.poll_write(context);
                return Poll::Ready(End::Close(None, None));
            }
            State::Replaced => {
                // One more turn for what its client sent before it came back.
                let _ = self.poll_read(context);
                return Poll::Ready(End::Close(None, None));
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

    /// Submits the frames that are there.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<End> {
        for _ in 0..FRAMES_PER_TURN {
            if let Some((message, stamp)) = self.frame.take()
                && let Some(client) = self.connection.client.get()
            {
                match self.network.submit(client, &message, stamp, context.waker()) {
                    Submitted::Done => {}
                    Submitted::Full => {
                        self.frame = Some((message, stamp));
                        return Poll::Pending;
                    }
                    Submitted::TooLarge => self.say_too_large(message.len()),
                }
            }
            let message = match std::task::ready!(Pin::new(&mut *self.stream).poll_next(context)) {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Poll::Ready(self.fault(&error)),
                None => return Poll::Ready(End::Drop),
            };
            let now = self.network.clock.raw();
            self.connection.heard_at.set(now);
            match message {
                Message::Text(_) | Message::Binary(_) => self.frame = Some((message.into_data(), now)),
                Message::Close(_) => return Poll::Ready(End::Answer),
                _ => {}
            }
        }
        // There may be more; others first.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes the queue as far as the socket takes it, and acknowledges once per flush.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), tungstenite::Error>> {
        while self.connection.has_outgoing() {
            std::task::ready!(Pin::new(&mut *self.stream).poll_ready(context))?;
            let Some(Outgoing { text, messages, bytes }) = self.connection.pop() else { break };
            Pin::new(&mut *self.stream).start_send(frame_of(text))?;
            let written = self.written.get_or_insert_default();
            *written = (written.0 + messages, written.1 + bytes);
        }
        if self.connection.take_ping() {
            std::task::ready!(Pin::new(&mut *self.stream).poll_ready(context))?;
            Pin::new(&mut *self.stream).start_send(Message::Ping(Bytes::new()))?;
            self.written.get_or_insert_default();
        }
        if self.written.is_some() {
            std::task::ready!(Pin::new(&mut *self.stream).poll_flush(context))?;
            if let (Some((messages, bytes)), Some(client)) =
                (self.written.take(), self.connection.client.get())
                && messages > 0
            {
                self.network.acknowledge(client, messages, bytes);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Tells the client why its message goes nowhere.
    fn say_too_large(&self, bytes: usize) {
        if self.connection.takes_notices() {
            let text = self.too_large(bytes);
            self.connection.push(Outgoing { text, messages: 0, bytes: 0 });
        }
    }

    fn too_large(&self, bytes: usize) -> Bytes {
        let limit = self.network.service.settings.max_message;
        http::error(&format!("The message has {bytes} bytes; this server delivers up to {limit}"))
    }

    /// How a socket ends whose peer broke the protocol, or is gone.
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
