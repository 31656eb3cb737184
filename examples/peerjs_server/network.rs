//! A network thread: its listener, its sockets' tasks, its clients on its port. `pump` is the port's task; `http`
//! and `socket` call what is here on their way in and out.

use crate::accept::{self, Listening};
use crate::address::Addresses;
use crate::connection::{Connection, Connections, Rest, State};
use crate::counts::{Counts, Refusal};
use crate::http;
use crate::listen;
use crate::options::Settings;
use crate::pump::{self, Pump};
use crate::registry::{Owner, Registry};
use corelane::clients::{ClientId, KeptFigures};
use corelane::clock::Clock;
use corelane::error::{Error, Refused};
use corelane::monitor::Monitor;
use corelane::router::{ConnectOptions, Port};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Waker;
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;

/// As npm's.
const ALIVE_CHECK: Duration = Duration::from_millis(300);
/// A check that comes so late means that the process was stopped, or its machine.
const PAUSE: Duration = Duration::from_millis(900);
/// How long sockets have for their closing frames when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// What all network threads share.
pub(crate) struct Service {
    pub(crate) settings: Settings,
    pub(crate) registry: Registry,
    pub(crate) threads: Vec<mpsc::UnboundedSender<Command>>,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) counts: Counts,
    pub(crate) addresses: Addresses,
    pub(crate) monitor: Monitor,
    /// Sockets that are open.
    pub(crate) open: AtomicU64,
    /// The most of them at once since `memory` looked last.
    pub(crate) most_open: AtomicU64,
    /// Listeners that have failed and are not open again.
    pub(crate) listeners_down: AtomicU64,
}

impl Service {
    /// Somebody is turned away: counted by reason, and logged.
    pub(crate) fn refuse(&self, reason: Refusal, address: IpAddr, id: &str) {
        self.counts.refuse(reason);
        tracing::warn!(%address, id = shown(id), reason = reason.label(), "refused");
    }

    /// Why no further client would be served; `None`: it would.
    pub(crate) fn is_unready(&self) -> Option<&'static str> {
        if self.listeners_down.load(Relaxed) > 0 {
            return Some("a listener is down");
        }
        let is_full = self.registry.is_full() || self.open.load(Relaxed) >= self.settings.max_connections;
        is_full.then_some("the server is full")
    }
}

/// An id as the log shows it: whoever is refused may bring one of any length.
pub(crate) fn shown(id: &str) -> &str {
    let end = (0..=id.len().min(64)).rev().find(|end| id.is_char_boundary(*end)).unwrap_or_default();
    &id[..end]
}

/// What a thread is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Let go of a client whose id has gone to another socket, then hand over what was not written.
    Release(u64, oneshot::Sender<Rest>),
    Stop,
}

/// What has become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Submitted {
    /// The router has it, or has counted why not.
    Done,
    /// There is no room now.
    Full,
    /// The router takes none so large, and has counted it.
    TooLarge,
}

/// A network thread before it runs.
pub(crate) struct Thread {
    pub(crate) index: usize,
    pub(crate) service: Arc<Service>,
    pub(crate) port: Port,
    pub(crate) listener: std::net::TcpListener,
    pub(crate) address: SocketAddr,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
}

impl Thread {
    /// Runs until told to stop.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        let network = Rc::new(Network {
            index: self.index,
            service: self.service,
            clock: self.port.clock().clone(),
            port: RefCell::new(self.port),
            connections: RefCell::default(),
            sockets: Cell::new(0),
            pump: Pump::default(),
        });
        runtime.block_on(async {
            let descriptor = pump::descriptor(&network)?;
            let accepting = spawn_local(accept(Rc::clone(&network), self.listener, self.address));
            spawn_local(pump::run(Rc::clone(&network), descriptor));
            spawn_local(close_silent_clients(Rc::clone(&network)));
            while let Some(command) = self.commands.recv().await {
                match command {
                    Command::Release(connection, done) => network.release(connection, done),
                    Command::Stop => break,
                }
            }
            accepting.abort();
            network.stop().await;
            Ok(())
        })
    }
}

/// What one thread's tasks share.
pub(crate) struct Network {
    index: usize,
    pub(crate) service: Arc<Service>,
    pub(crate) clock: Clock,
    pub(crate) port: RefCell<Port>,
    pub(crate) connections: RefCell<Connections>,
    pub(crate) pump: Pump,
    /// WebSockets, those that are not clients and those that close included.
    pub(crate) sockets: Cell<usize>,
}

impl Network {
    /// Adds a connection that is to become a client.
    pub(crate) fn add(&self, id: &str) -> Rc<Connection> {
        self.connections.borrow_mut().insert(self.index, id.to_owned())
    }

    /// Forgets a connection that has not become a client.
    pub(crate) fn forget(&self, connection: &Connection) {
        self.service.registry.leave(&connection.id, connection.owner);
        self.connections.borrow_mut().remove(connection.owner.connection);
    }

    /// Asks the thread of a client's old socket to let go of it, and waits for what that has not written.
    pub(crate) async fn take_over(&self, from: Owner) -> Rest {
        let (done, rest) = oneshot::channel();
        if let Some(thread) = self.service.threads.get(from.thread)
            && thread.send(Command::Release(from.connection, done)).is_ok()
        {
            // A thread that stops instead lets go as well.
            return rest.await.unwrap_or_default();
        }
        Rest::default()
    }

    /// Makes a connection a client of the router, which goes on with the figures of the one before it.
    pub(crate) fn connect(&self, connection: &Connection, figures: KeptFigures) -> Result<(), Error> {
        let options = ConnectOptions::new("peerjs", "peerjs", connection.owner.connection).figures(figures);
        let client = self.port.borrow_mut().connect_with(&connection.id, options)?;
        connection.client.set(Some(client));
        connection.heard_at.set(self.clock.raw());
        Ok(())
    }

    /// The client is gone: first its name in the router, then its id. What it sent is still handled; its token is
    /// freed by the router's last event for it.
    pub(crate) fn leave(&self, connection: &Connection) {
        if let Some(client) = connection.client.take() {
            // Stale: it was disconnected before.
            let _ = self.port.borrow_mut().disconnect(client);
        }
        self.service.registry.leave(&connection.id, connection.owner);
    }

    /// Frees a client's name in the router while it stays connected.
    pub(crate) fn release_name(&self, connection: &Connection) {
        if let Some(client) = connection.client.get() {
            // Stale: it is being disconnected, and has lost its name by that.
            let _ = self.port.borrow_mut().release_name(client);
        }
    }

    /// Gives one of a client's messages to the router. Where its ring is full, `waker` is woken to try again.
    pub(crate) fn submit(&self, client: ClientId, message: &[u8], stamp: u64, waker: &Waker) -> Submitted {
        match self.port.borrow_mut().submit_at(client, message, 0, stamp) {
            Err(Error::Refused(Refused::Full)) => {
                self.pump.stall(waker);
                Submitted::Full
            }
            Err(Error::Refused(Refused::TooLarge)) => Submitted::TooLarge,
            // Another refusal costs the message; the router has counted it, with its reason.
            _ => {
                self.pump.publish_soon();
                Submitted::Done
            }
        }
    }

    /// What was handed out for a client has been written.
    pub(crate) fn acknowledge(&self, client: ClientId, messages: u32, bytes: u32) {
        self.port.borrow_mut().acknowledge(client, messages, bytes);
    }

    /// Lets go of a client whose id has gone to another socket: its task leaves, and what it has not written is
    /// handed over with the router's last event for it. One that still waits for its own predecessor does so
    /// once it has connected.
    fn release(&self, token: u64, done: oneshot::Sender<Rest>) {
        let connection = self.connections.borrow().get(token).cloned();
        // Without a connection nothing is left, which dropping `done` says.
        if let Some(connection) = connection {
            connection.successor.replace(Some(done));
            connection.end(State::Replaced, "taken over");
        }
    }

    /// Closes every socket and waits for them, not for ever.
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
        // Past the grace they are dropped.
        let _ = tokio::time::timeout(STOP_GRACE, gone).await;
    }
}

/// Accepts connections for as long as the thread runs.
async fn accept(network: Rc<Network>, listener: std::net::TcpListener, address: SocketAddr) {
    let listening = Listening { listener, address, open: &listen::listen };
    let serve = |stream, peer| {
        spawn_local(http::serve_accepted(Rc::clone(&network), stream, peer));
    };
    accept::run(&network.service, listening, serve).await;
}

/// Closes clients that have not been heard of. Any frame counts; who is silent is asked, since what runs a page's timers
/// may sleep while its connection is well.
async fn close_silent_clients(network: Rc<Network>) {
    let limit = network.service.settings.alive_nanoseconds;
    let (mut checked_at, mut resumed_at) = (network.clock.raw(), 0);
    loop {
        tokio::time::sleep(ALIVE_CHECK).await;
        let now = network.clock.raw();
        // After a pause of the process frames lie in the sockets that nobody could read, so silence counts from here.
        if network.clock.nanoseconds(checked_at, now) > PAUSE.as_nanos() as u64 {
            resumed_at = now;
        }
        checked_at = now;
        let mut silent = Vec::new();
        for connection in network.connections.borrow().iter() {
            if connection.client.get().is_none() {
                continue;
            }
            let heard_at = connection.heard_at.get().max(resumed_at);
            if network.clock.nanoseconds(heard_at, now) >= limit {
                silent.push(Rc::clone(connection));
            } else if network.clock.nanoseconds(heard_at.max(connection.pinged_at.get()), now) >= limit / 3 {
                connection.ping(now);
            }
        }
        for connection in silent {
            network.leave(&connection);
            connection.end(State::Closing, "no sign of life");
        }
    }
}
