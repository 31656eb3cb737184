//! Accounting of a socket from its acceptance to its end: its peer, its state, its time limits, and its share of the
//! limits on sockets. The stream and the socket's tasks hold references to this value; the drop of the last one
//! corrects the counts.

use crate::counts::{At, Refusal};
use crate::network::Service;
use corelane::http::guard::Patience;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

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

/// The time limit on a socket's writes.
pub(crate) struct Reading(pub(crate) Arc<Socket>);

impl Patience for Reading {
    fn patience(&self) -> Duration {
        self.0.patience()
    }

    fn gave_up(&self) {
        self.0.service.refuse(Refusal::NotRead, self.0.peer, "");
    }
}
