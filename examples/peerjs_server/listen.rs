//! Listening sockets: one per network thread on the same port, and one for the monitor. `main` binds them before any
//! thread starts, so that a port in use ends the server with one clear error.

use crate::Failure;
use crate::options::Options;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

const BACKLOG: i32 = 1024;

/// The bound sockets.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    /// One per network thread.
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) monitor: Option<TcpListener>,
    pub(crate) monitor_address: Option<SocketAddr>,
}

impl Listening {
    pub(crate) fn bind(options: &Options) -> Result<Self, Failure> {
        let (address, listeners) = listeners(options)?;
        let monitor = match &options.monitor.0 {
            Some(address) => {
                let what = format_args!("the monitor cannot listen on {address} (--monitor)").to_string();
                let first = |mut found: Vec<SocketAddr>| {
                    // If the name has IPv4 and IPv6 addresses, prefer IPv4, so that 127.0.0.1 reaches the monitor.
                    found.sort_by_key(SocketAddr::is_ipv6);
                    found.into_iter().next().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
                };
                let address = address.to_socket_addrs().and_then(|found| first(found.collect()));
                let listener = address.and_then(TcpListener::bind);
                Some(listener.map_err(|error| Failure::system(what, error))?)
            }
            None => None,
        };
        let monitor_address = monitor.as_ref().and_then(|listener| listener.local_addr().ok());
        Ok(Self { address, listeners, monitor, monitor_address })
    }
}

/// Opens the network threads' listeners on the first address that can be bound.
fn listeners(options: &Options) -> Result<(SocketAddr, Vec<TcpListener>), Failure> {
    let port = options.port as u16;
    let candidates: Vec<SocketAddr> = match &options.host {
        // As npm's server: one socket for IPv6 and IPv4, or IPv4 only if that fails.
        None => vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()],
        Some(host) => (host.as_str(), port)
            .to_socket_addrs()
            .map_err(|error| {
                Failure::configuration(format_args!("--host {host}: cannot resolve the address: {error}"))
            })?
            .collect(),
    };
    let mut failure = Failure::configuration("--host resolves to no address");
    for candidate in candidates {
        match listen_with_threads(candidate, options.threads()) {
            Ok(bound) => return Ok(bound),
            Err(error) => {
                let in_use = error.kind() == io::ErrorKind::AddrInUse;
                failure =
                    Failure::system(format_args!("cannot listen on {candidate} (--host, --port)"), error);
                if in_use {
                    break;
                }
            }
        }
    }
    Err(failure)
}

fn listen_with_threads(address: SocketAddr, threads: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    // Only this server's threads may share the port. A first bind without sharing detects another server on the port.
    drop(bind(address, false)?);
    let first = listen(address)?;
    // With port 0 the system chooses the port; the other threads use the same one.
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..threads {
        listeners.push(listen(address)?);
    }
    Ok((address, listeners))
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Opens a network thread's listener, which shares its port with the other threads' (SO_REUSEPORT).
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bind(address, true)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
