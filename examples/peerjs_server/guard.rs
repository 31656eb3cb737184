//! Accounting of a socket from its acceptance to its end: its peer, its state, its time limits, and its share of the
//! limits on sockets. The stream and the socket's tasks hold references to this value; the drop of the last one
//! corrects the counts.

use crate::counts::{At, Refusal};
use crate::network::Service;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// A socket of the public port.
pub(crate) struct Socket {
    service: Arc<Service>,
    peer: IpAddr,
    at: AtomicU8,
    /// The address whose limit the socket counts against.
    counted: OnceLock<IpAddr>,
}

const STATES: [At; 4] = [At::Handshake, At::Http, At::WebSocket, At::Closing];

impl Socket {
    /// Admits a socket. Returns `None`, with the refusal counted, if `max_connections` or the limit of its address is
    /// reached.
    pub(crate) fn admit(service: &Arc<Service>, peer: SocketAddr) -> Option<Arc<Self>> {
        let peer = peer.ip().to_canonical();
        let limit = service.settings.max_connections;
        let before = service.open.fetch_add(1, Relaxed);
        service.most_open.fetch_max(before + 1, Relaxed);
        if before >= limit {
            service.open.fetch_sub(1, Relaxed);
            service.refuse(Refusal::TooManyConnections, peer, "");
            return None;
        }
        let at = if service.tls.is_some() { At::Handshake } else { At::Http };
        service.counts.enter(at);
        let at = AtomicU8::new(at as u8);
        let socket = Arc::new(Self { service: Arc::clone(service), peer, at, counted: OnceLock::new() });
        // Behind a proxy all sockets have the proxy's address. The client's address is known only with its request.
        (service.settings.proxies.proxied || socket.count_against(peer)).then_some(socket)
    }

    /// Counts the socket against the limit of an address. Returns false, with the refusal counted, if the address is
    /// at its limit.
    pub(crate) fn count_against(&self, address: IpAddr) -> bool {
        if self.counted.get().is_some() {
            return true;
        }
        if !self.service.addresses.enter(address) {
            self.service.refuse(Refusal::TooManyOfAddress, address, "");
            return false;
        }
        // Only the socket's own task calls this, so the cell is still empty.
        let _ = self.counted.set(address);
        true
    }

    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    fn at(&self) -> At {
        STATES.get(usize::from(self.at.load(Relaxed))).copied().unwrap_or(At::Closing)
    }

    /// Moves the socket to another state.
    pub(crate) fn enter(&self, at: At) {
        self.service.counts.leave(self.at());
        self.at.store(at as u8, Relaxed);
        self.service.counts.enter(at);
    }

    /// How long the peer may leave written data unread.
    fn patience(&self) -> Duration {
        match self.at() {
            At::WebSocket => self.service.settings.alive_timeout,
            _ => self.service.settings.socket_timeout,
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.service.counts.leave(self.at());
        self.service.open.fetch_sub(1, Relaxed);
        if let Some(address) = self.counted.get() {
            self.service.addresses.leave(*address);
        }
    }
}

/// The owner of a stream.
pub(crate) enum Owner {
    Public(Arc<Socket>),
    /// The monitor, with the time for which a peer may leave an answer unread.
    Monitor(Duration),
}

/// A stream whose peer must read: a write that makes no progress for too long is an error.
pub(crate) struct Guarded {
    stream: TcpStream,
    owner: Owner,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Guarded {
    pub(crate) fn new(stream: TcpStream, owner: Owner) -> Self {
        Self { stream, owner, waiting: None }
    }

    fn watch<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.waiting = None;
            return polled;
        }
        let owner = &self.owner;
        let sleep = self.waiting.get_or_insert_with(|| {
            Box::pin(tokio::time::sleep(match owner {
                Owner::Public(socket) => socket.patience(),
                Owner::Monitor(patience) => *patience,
            }))
        });
        ready!(sleep.as_mut().poll(context));
        self.waiting = None;
        if let Owner::Public(socket) = owner {
            socket.service.refuse(Refusal::NotRead, socket.peer, "");
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Guarded {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Guarded {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, polled)
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // A TCP stream has nothing to flush.
    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
