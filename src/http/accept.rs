//! The accept loop. It never ends: a listener that fails is opened again. When the process has no descriptor left,
//! the loop accepts waiting connections with a spare descriptor and closes them, so that their peers see the refusal.

use ::tokio::net::{TcpListener, TcpStream};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Minimum and maximum pause between two attempts.
const SOON: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_secs(1);
/// Connections closed with the spare descriptor before other tasks run.
const CLOSED_AT_ONCE: usize = 256;

/// A listening socket, and the function that opens its replacement.
pub struct Listening<'a> {
    /// The open, non-blocking listener.
    pub listener: std::net::TcpListener,
    /// Its address.
    pub address: SocketAddr,
    /// Opens a non-blocking listener on the address.
    pub open: &'a dyn Fn(SocketAddr) -> io::Result<std::net::TcpListener>,
}

/// Who gets the connections.
pub trait Owner {
    /// Takes a connection.
    fn serve(&mut self, stream: TcpStream, peer: SocketAddr);
    /// A connection was closed at once, because there was no descriptor for it.
    fn refused(&mut self, peer: SocketAddr);
    /// The listener has failed, or is open again. Not called twice with the same value.
    fn is_down(&mut self, down: bool);
}

/// Passes each connection to the owner, until the future is dropped.
pub async fn run(listening: Listening<'_>, owner: &mut impl Owner) {
    let Listening { listener, address, open } = listening;
    let (mut next, mut pause, mut complaints) = (Some(listener), SOON, Complaints::default());
    let (mut spare, mut is_down) = (spare_descriptor(), false);
    loop {
        let opened = next.take().map_or_else(|| open(address), Ok).and_then(TcpListener::from_std);
        let failed = match opened {
            Ok(listener) => {
                if std::mem::take(&mut is_down) {
                    owner.is_down(false);
                    tracing::info!(%address, "the listener is open again");
                }
                let failed = accept(owner, &listener, &mut spare, &mut complaints).await;
                pause = SOON;
                failed
            }
            Err(error) => error,
        };
        if !std::mem::replace(&mut is_down, true) {
            owner.is_down(true);
        }
        complaints.say(|count| {
            tracing::error!(%address, error = %failed, count, "a listener failed; opening it again");
        });
        ::tokio::time::sleep(pause).await;
        pause = (2 * pause).min(LATE);
    }
}

/// Accepts until the listener itself fails.
async fn accept(
    owner: &mut impl Owner,
    listener: &TcpListener,
    spare: &mut Option<File>,
    complaints: &mut Complaints,
) -> io::Error {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => owner.serve(stream, peer),
            Err(error) if is_the_peers(&error) => {}
            Err(error) if is_exhausted(&error) => {
                complaints.say(|count| tracing::error!(%error, count, "cannot accept connections"));
                let before = spare.take();
                let count = if before.is_some() { close_waiting(owner, before, listener).await } else { 0 };
                *spare = spare_descriptor();
                if count < CLOSED_AT_ONCE {
                    ::tokio::time::sleep(SOON).await;
                }
            }
            Err(error) => return error,
        }
    }
}

/// Accepts waiting connections with the spare descriptor and closes each at once. Returns their number.
async fn close_waiting(owner: &mut impl Owner, spare: Option<File>, listener: &TcpListener) -> usize {
    drop(spare);
    for count in 0..CLOSED_AT_ONCE {
        // Accepts what already waits, and does not wait for more.
        let waiting = ::tokio::time::timeout(Duration::ZERO, listener.accept()).await;
        let Ok(Ok((stream, peer))) = waiting else { return count };
        drop(stream);
        owner.refused(peer);
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
