//! The accept loop. It never ends: a listener that fails is opened again. When the process has no descriptor left,
//! the loop accepts waiting connections with a spare descriptor and closes them, so that their peers see the refusal.

use crate::counts::Refusal;
use crate::network::Service;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};

/// Minimum and maximum pause between two attempts.
const SOON: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_secs(1);
/// Connections closed with the spare descriptor before other tasks run.
const CLOSED_AT_ONCE: usize = 256;

/// A listening socket, and the function that opens its replacement.
pub(crate) struct Listening<'a> {
    pub(crate) listener: std::net::TcpListener,
    pub(crate) address: SocketAddr,
    pub(crate) open: &'a dyn Fn(SocketAddr) -> io::Result<std::net::TcpListener>,
}

/// Passes each connection to `serve`, until the future is dropped.
pub(crate) async fn run(
    service: &Service,
    listening: Listening<'_>,
    mut serve: impl FnMut(TcpStream, SocketAddr),
) {
    let Listening { listener, address, open } = listening;
    let (mut next, mut pause, mut complaints) = (Some(listener), SOON, Complaints::default());
    let (mut spare, mut is_down) = (spare_descriptor(), false);
    loop {
        let opened = next.take().map_or_else(|| open(address), Ok).and_then(TcpListener::from_std);
        let failed = match opened {
            Ok(listener) => {
                if std::mem::take(&mut is_down) {
                    service.listeners_down.fetch_sub(1, Relaxed);
                    tracing::info!(%address, "the listener is open again");
                }
                let failed = accept(service, &listener, &mut spare, &mut complaints, &mut serve).await;
                pause = SOON;
                failed
            }
            Err(error) => error,
        };
        if !std::mem::replace(&mut is_down, true) {
            service.listeners_down.fetch_add(1, Relaxed);
        }
        complaints.say(|count| {
            tracing::error!(%address, error = %failed, count, "a listener failed; opening it again");
        });
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(LATE);
    }
}

/// Accepts until the listener itself fails.
async fn accept(
    service: &Service,
    listener: &TcpListener,
    spare: &mut Option<File>,
    complaints: &mut Complaints,
    serve: &mut impl FnMut(TcpStream, SocketAddr),
) -> io::Error {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => serve(stream, peer),
            Err(error) if is_the_peers(&error) => {}
            Err(error) if is_exhausted(&error) => {
                complaints.say(|count| tracing::error!(%error, count, "cannot accept connections"));
                let before = spare.take();
                let count = if before.is_some() { close_waiting(service, before, listener).await } else { 0 };
                *spare = spare_descriptor();
                if count < CLOSED_AT_ONCE {
                    tokio::time::sleep(SOON).await;
                }
            }
            Err(error) => return error,
        }
    }
}

/// Accepts waiting connections with the spare descriptor and closes each at once. Returns their number.
async fn close_waiting(service: &Service, spare: Option<File>, listener: &TcpListener) -> usize {
    drop(spare);
    for count in 0..CLOSED_AT_ONCE {
        let waiting = tokio::select! {
            biased;
            accepted = listener.accept() => accepted.ok(),
            () = std::future::ready(()) => None,
        };
        let Some((stream, peer)) = waiting else { return count };
        drop(stream);
        service.refuse(Refusal::NoDescriptor, peer.ip(), "");
    }
    CLOSED_AT_ONCE
}

fn spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Whether the connection or its network failed before the accept. The listener itself works.
fn is_the_peers(error: &io::Error) -> bool {
    let codes = [
        libc::ECONNABORTED,
        libc::EINTR,
        libc::EPROTO,
        libc::ENETDOWN,
        libc::ENETUNREACH,
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
        libc::ENOPROTOOPT,
        libc::ENONET,
        libc::EPERM,
    ];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Whether the process or the machine has no descriptor left, or no memory for one.
fn is_exhausted(error: &io::Error) -> bool {
    let codes = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Limits a log line to one per second, with the number of occurrences.
#[derive(Debug, Default)]
struct Complaints {
    count: u64,
    said: Option<Instant>,
}

impl Complaints {
    fn say(&mut self, say: impl FnOnce(u64)) {
        self.count += 1;
        if self.said.is_none_or(|said| said.elapsed() >= LATE) {
            say(self.count);
            *self = Self { count: 0, said: Some(Instant::now()) };
        }
    }
}
