//! A network thread: its listener, the tasks of its sockets, its clients on its port, and the worker that routes their
//! messages. `receive` is the task of port and worker.
//! `http` and `socket` call this module to connect clients, submit messages and acknowledge deliveries.

use crate::address::Addresses;
use crate::connection::{Connection, Connections, Rest, State};
use crate::counts::{Counts, Refusal};
use crate::drain;
use crate::http;
use crate::listen;
use crate::membership::{self, Membership};
use crate::options::Settings;
use crate::queue::Credit;
use crate::receive;
use crate::registry::{Owner, Registry};
use corelane::clients::{ClientId, KeptFigures};
use corelane::clock::{Clock, Stamp};
use corelane::error::{ConnectError, SubmitError, TrySubmitError};
use corelane::http::accept::{self, Listening};
use corelane::monitor::Monitor;
use corelane::router::{ConnectOptions, OneThread, Port, SubmitOptions};
use corelane::tokio::{Acknowledger, AsyncPort, Submitter};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;

/// Interval between checks for silent clients, as in npm's server.
const ALIVE_CHECK: Duration = Duration::from_millis(300);
/// If a check comes this late, the process or its machine was paused.
const PAUSE: Duration = Duration::from_millis(900);
/// Time for the closing frames of all sockets when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// State that all network threads share.
pub(crate) struct Service {
    pub(crate) settings: Settings,
    pub(crate) registry: Registry,
    pub(crate) threads: Vec<mpsc::UnboundedSender<Command>>,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) counts: Counts,
    pub(crate) addresses: Addresses,
    pub(crate) monitor: Monitor,
    /// Number of open sockets.
    pub(crate) open: AtomicU64,
    /// Maximum of `open` since the last check by `memory`.
    pub(crate) most_open: AtomicU64,
    /// Number of listeners that have failed and are not open again.
    pub(crate) listeners_down: AtomicU64,
    /// Whether the server drains: it accepts no further client.
    pub(crate) draining: AtomicBool,
    /// In a cluster of several machines.
    pub(crate) membership: Option<Membership>,
}

impl Service {
    /// Counts a refusal by its reason, and logs it.
    pub(crate) fn refuse(&self, reason: Refusal, address: IpAddr, id: &str) {
        self.counts.refuse(reason);
        tracing::warn!(%address, id = shown(id), reason = reason.label(), "refused");
    }

    /// Why the server cannot serve a further client; `None` if it can.
    pub(crate) fn is_unready(&self) -> Option<&'static str> {
        if self.draining.load(Relaxed) {
            return Some("the server drains");
        }
        if let Some(why) = self.membership.as_ref().and_then(Membership::is_unready) {
            return Some(why);
        }
        if self.listeners_down.load(Relaxed) > 0 {
            return Some("a listener is down");
        }
        let is_full = self.registry.is_full() || self.open.load(Relaxed) >= self.settings.max_connections;
        is_full.then_some("the server is full")
    }
}

/// An id as the log shows it, cut to 64 bytes: a refused client may send an id of any length.
pub(crate) fn shown(id: &str) -> &str {
    let end = (0..=id.len().min(64)).rev().find(|end| id.is_char_boundary(*end)).unwrap_or_default();
    &id[..end]
}

/// A command to a network thread.
#[derive(Debug)]
pub(crate) enum Command {
    /// Close the socket of a client whose id belongs to another socket, and hand over the unwritten frames.
    Release(u64, oneshot::Sender<Rest>),
    /// Close the socket of a client if another machine has its id: for another client, or for the same one.
    #[cfg_attr(not(feature = "cluster"), allow(dead_code, reason = "of a cluster"))]
    Lose(u64),
    /// Close all clients within this time, and report when no socket is left.
    Drain(Duration, mpsc::UnboundedSender<()>),
    Stop,
}

/// The result of submitting a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Submitted {
    /// The router accepted the message, or counted its refusal.
    Done,
    /// The ring is full; [`Network::submitter`] can wait for room.
    Full,
    /// The message is larger than `max_message`; the router counted the refusal.
    TooLarge,
}

/// What a network thread needs to start.
pub(crate) struct Thread {
    pub(crate) index: usize,
    pub(crate) service: Arc<Service>,
    pub(crate) port: Port,
    pub(crate) listener: std::net::TcpListener,
    pub(crate) address: SocketAddr,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
}

impl Thread {
    /// Runs until `Command::Stop`.
    ///
    /// # Errors
    /// An error of the event loop at the start.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        runtime.block_on(async {
            let port = AsyncPort::local(self.port).map_err(io::Error::other)?;
            let submitter = port.submitter();
            let network = Rc::new(Network {
                index: self.index,
                service: self.service,
                clock: submitter.port().clock().clone(),
                acknowledger: port.acknowledger(),
                submitter,
                connections: RefCell::default(),
                sockets: Cell::new(0),
            });
            let accepting = spawn_local(accept(Rc::clone(&network), self.listener, self.address));
            spawn_local(receive::run(Rc::clone(&network), port));
            spawn_local(close_silent_clients(Rc::clone(&network)));
            spawn_local(membership::catch_up(Rc::clone(&network)));
            while let Some(command) = self.commands.recv().await {
                match command {
                    Command::Release(connection, done) => network.release(connection, done),
                    Command::Lose(connection) => network.lose(connection),
                    Command::Drain(time, drained) => {
                        spawn_local(drain::run(Rc::clone(&network), time, drained));
                    }
                    Command::Stop => break,
                }
            }
            accepting.abort();
            network.stop().await;
            Ok(())
        })
    }
}

/// State that the tasks of one network thread share.
pub(crate) struct Network {
    index: usize,
    pub(crate) service: Arc<Service>,
    pub(crate) clock: Clock,
    pub(crate) submitter: Submitter<OneThread>,
    acknowledger: Acknowledger<OneThread>,
    pub(crate) connections: RefCell<Connections>,
    /// Number of WebSockets, including those that are not clients yet and those that close.
    pub(crate) sockets: Cell<usize>,
}

impl Network {
    /// Adds a connection that will become a client.
    pub(crate) fn add(&self, id: &str) -> Rc<Connection> {
        self.connections.borrow_mut().insert(self.index, id.to_owned())
    }

    /// Removes a connection that has not become a client.
    pub(crate) fn forget(&self, connection: &Connection) {
        self.service.registry.leave(&connection.id, connection.owner);
        self.connections.borrow_mut().remove(connection.owner.connection);
    }

    /// Makes the thread of a client's old socket close it, and waits for the unwritten frames.
    pub(crate) async fn take_over(&self, from: Owner) -> Rest {
        // If that thread stops instead, nothing is handed over.
        self.ask_to_release(from).await.unwrap_or_default()
    }

    /// Makes the thread of a client's old socket close it. Returns where the unwritten frames will be.
    pub(crate) fn ask_to_release(&self, from: Owner) -> oneshot::Receiver<Rest> {
        let (done, rest) = oneshot::channel();
        if let Some(thread) = self.service.threads.get(from.thread) {
            // An error means that the thread has ended; `rest` then says so.
            let _ = thread.send(Command::Release(from.connection, done));
        }
        rest
    }

    /// Connects a client to the router. It continues with the figures of its predecessor.
    ///
    /// # Errors
    /// The router's refusal, for example [`ConnectError::TooManyClients`].
    pub(crate) fn connect(&self, connection: &Connection, figures: KeptFigures) -> Result<(), ConnectError> {
        let options = ConnectOptions::new("peerjs", "peerjs", connection.owner.connection).figures(figures);
        let client = self.submitter.port().connect_with(&connection.id, options)?;
        connection.client.set(Some(client));
        let now = self.clock.now();
        connection.heard_at.set(now);
        connection.active_at.set(now);
        Ok(())
    }

    /// Disconnects a client: first from the router, which frees its name there, then its id. The router still handles
    /// the messages that the client sent. The router's last event for the client frees its token.
    pub(crate) fn leave(&self, connection: &Connection) {
        if let Some(client) = connection.client.take() {
            // A stale handle means that the client is already disconnected.
            let _ = self.submitter.port().disconnect(client);
        }
        self.service.registry.leave(&connection.id, connection.owner);
    }

    /// Frees a client's name in the router while the client stays connected.
    pub(crate) fn release_name(&self, connection: &Connection) {
        if let Some(client) = connection.client.get() {
            // A stale handle means that the client is being disconnected, which has already freed its name.
            let _ = self.submitter.port().release_name(client);
        }
    }

    /// Submits one message of a client.
    pub(crate) fn submit(&self, client: ClientId, message: &[u8], options: SubmitOptions) -> Submitted {
        match self.submitter.try_submit(client, message, options) {
            Err(TrySubmitError::Full(SubmitError::RingFull)) => Submitted::Full,
            Err(TrySubmitError::Refused(SubmitError::TooLarge)) => Submitted::TooLarge,
            Err(TrySubmitError::Full(_)) => {
                // A limit, of the client or of the router. Waiting for its end would stop the client's pings and
                // heartbeats too, so the router refuses and counts the message, or accepts it meanwhile.
                let _ = self.submitter.port().submit_with(client, message, options);
                Submitted::Done
            }
            // Any other refusal drops the message. The router has counted the refusal by reason.
            _ => Submitted::Done,
        }
    }

    /// Acknowledges deliveries of a client that its socket's task has written.
    pub(crate) fn acknowledge(&self, connection: &Connection, written: Credit) {
        if let Some(client) = connection.client.get().filter(|_| written.messages > 0) {
            self.acknowledger.acknowledge(client, written.messages, written.bytes);
        }
    }

    /// Closes the socket of a client whose id belongs to another socket. Its task ends, and the router's last event
    /// for the client hands its unwritten frames over. A socket that still waits for its own predecessor does this
    /// once it has connected.
    fn release(&self, token: u64, done: oneshot::Sender<Rest>) {
        let connection = self.connections.borrow().get(token).cloned();
        // Without a connection there is nothing to hand over; dropping `done` tells the receiver so.
        if let Some(connection) = connection {
            connection.successor.replace(Some(done));
            connection.end(State::Replaced, "replaced by a new socket of the same client");
        }
    }

    /// Closes the socket of a client whose id this machine has lost.
    fn lose(&self, token: u64) {
        let connection = self.connections.borrow().get(token).cloned();
        if let Some(connection) = connection {
            connection.look_at_claim();
        }
    }

    /// Closes every socket and waits for them, for at most `STOP_GRACE`.
    async fn stop(&self) {
        let all: Vec<_> = self.connections.borrow().iter().cloned().collect();
        for connection in all {
            connection.end(State::Closing, "the server stops");
        }
        let gone = async {
            while self.sockets.get() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // Sockets that are still open after the grace period are dropped.
        let _ = tokio::time::timeout(STOP_GRACE, gone).await;
    }
}

/// Accepts connections for as long as the thread runs.
async fn accept(network: Rc<Network>, listener: std::net::TcpListener, address: SocketAddr) {
    let listening = Listening { listener, address, open: &listen::listen };
    accept::run(listening, &mut Accepting(network)).await;
}

/// The owner of a network thread's connections.
struct Accepting(Rc<Network>);

impl accept::Owner for Accepting {
    fn serve(&mut self, stream: TcpStream, peer: SocketAddr) {
        spawn_local(http::serve_accepted(Rc::clone(&self.0), stream, peer));
    }

    fn refused(&mut self, peer: SocketAddr) {
        self.0.service.refuse(Refusal::NoDescriptor, peer.ip(), "");
    }

    fn is_down(&mut self, down: bool) {
        let count = &self.0.service.listeners_down;
        if down {
            count.fetch_add(1, Relaxed)
        } else {
            count.fetch_sub(1, Relaxed)
        };
    }
}

/// Closes silent clients. Any frame counts as a sign of life. A silent client first gets a ping, because a browser
/// may suspend a page's timers while its connection works.
async fn close_silent_clients(network: Rc<Network>) {
    let limit = network.service.settings.alive_timeout;
    let (mut checked_at, mut resumed_at) = (network.clock.now(), Stamp::default());
    loop {
        tokio::time::sleep(ALIVE_CHECK).await;
        let now = network.clock.now();
        // After a pause of the process the sockets hold frames that are not read yet, so silence counts from the
        // resumption.
        if network.clock.between(checked_at, now) > PAUSE {
            resumed_at = now;
        }
        checked_at = now;
        let mut silent = Vec::new();
        for connection in network.connections.borrow().iter() {
            if connection.client.get().is_none() {
                continue;
            }
            let heard_at = connection.heard_at.get().max(resumed_at);
            if network.clock.between(heard_at, now) >= limit {
                silent.push(Rc::clone(connection));
            } else if network.clock.between(heard_at.max(connection.pinged_at.get()), now) >= limit / 3 {
                connection.ping(now);
            }
        }
        for connection in silent {
            network.leave(&connection);
            connection.end(State::Closing, "silent for --alive_timeout");
        }
    }
}
