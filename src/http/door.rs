//! The door: its thread, and its connections.

use super::accept::{self, Listening};
use super::counts::{Counts, Refusal};
use super::events::Feed;
use super::guard::{Guarded, Patience};
use super::options::Options;
use super::request::Sources;
use crate::error::ServeError;
use crate::monitor::Monitor;
use crate::sync::{Arc, Mutex, lock};
use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::net::TcpStream;
use ::tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use ::tokio::sync::oneshot;
use ::tokio::task::{AbortHandle, spawn_local};
use ::tokio::time::{interval, timeout};
use hyper::body::Incoming;
use hyper::{Request, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::{Condvar, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};
use tokio_rustls::TlsAcceptor;

/// Largest head of a request.
const HEAD_BYTES: usize = 16 << 10;
/// Most headers of a request.
const HEADERS: usize = 64;
/// How often the files of the certificate are looked at.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(1);
/// How long a drop waits for the thread, which may be making an answer.
const DROP_PATIENCE: Duration = Duration::from_secs(1);

/// A monitor's HTTP server, with a thread of its own. It ends when it is dropped.
#[derive(Debug)]
pub struct Door {
    address: SocketAddr,
    /// Dropping it stops the thread.
    stop: Option<oneshot::Sender<()>>,
    ended: Arc<Ended>,
    thread: ThreadId,
}

/// Whether the thread has ended.
#[derive(Debug, Default)]
struct Ended {
    is_true: Mutex<bool>,
    changed: Condvar,
}

/// Says so when the thread ends, also by a panic.
struct EndsWith(Arc<Ended>);

impl Drop for EndsWith {
    fn drop(&mut self) {
        *lock(&self.0.is_true) = true;
        self.0.changed.notify_all();
    }
}

impl Ended {
    /// Waits for the end. Returns false if it takes longer than `patience`.
    fn wait(&self, patience: Duration) -> bool {
        let ended = lock(&self.is_true);
        let waited = self.changed.wait_timeout_while(ended, patience, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Door {
    /// Listens, and serves the monitor. Logs a warning if the address is not on the loopback and there is no token.
    ///
    /// # Errors
    /// - [`ServeError::Option`] if an option is not valid.
    /// - [`ServeError::Address`] if the address cannot be listened on.
    /// - [`ServeError::System`] if the thread cannot be started.
    pub fn serve(monitor: &Monitor, mut options: Options) -> Result<Self, ServeError> {
        let (listener, address) = options.listen()?;
        let tls = options.certificate.as_ref().map(super::Certificate::acceptor).transpose()?;
        // Made here, so that a failure is this call's.
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        drop(runtime?);
        if options.token.is_none() && !address.ip().to_canonical().is_loopback() {
            tracing::warn!(
                %address,
                "the monitor listens beyond the loopback without a token: anyone who reaches it can read all figures"
            );
        }
        let (stop, stopped) = oneshot::channel();
        let ended = Arc::new(Ended::default());
        let ends = EndsWith(Arc::clone(&ended));
        let monitor = monitor.clone();
        let run = move || {
            let _ends = ends;
            match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => serve(&runtime, listener, address, tls, (monitor, options), stopped),
                Err(error) => {
                    tracing::error!(%error, "the monitor's HTTP thread cannot start its event loop")
                }
            }
        };
        let thread = std::thread::Builder::new().name("corelane-http".to_owned()).spawn(run)?;
        Ok(Self { address, stop: Some(stop), ended, thread: thread.thread().id() })
    }

    /// The address on which the door listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the thread and closes all connections. Waits for its end, for at most `patience`; returns whether it has
    /// ended.
    pub fn stop(mut self, patience: Duration) -> bool {
        self.end(patience)
    }

    fn end(&mut self, patience: Duration) -> bool {
        drop(self.stop.take());
        // On its own thread (inside a page of the host) a wait would not end.
        let is_own = std::thread::current().id() == self.thread;
        !is_own && self.ended.wait(patience)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.end(DROP_PATIENCE);
    }
}

fn serve(
    runtime: &LocalRuntime,
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    (monitor, options): (Monitor, Options),
    stopped: oneshot::Receiver<()>,
) {
    let counts = Arc::new(Counts::default());
    let feed = Feed::new(monitor.clone(), options.streams, Arc::clone(&counts));
    let sources = Rc::new(Sources { monitor, options, counts, feed: Rc::clone(&feed) });
    runtime.block_on(async {
        spawn_local(async move { feed.run().await });
        if let Some(certificate) = sources.options.certificate.clone() {
            spawn_local(async move {
                let mut looks = interval(CERTIFICATE_LOOK);
                loop {
                    looks.tick().await;
                    certificate.refresh(false);
                }
            });
        }
        spawn_local(async move {
            let mut owner = Crowd { sources, tls, next: 0, open: Rc::default() };
            let open = |address| {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(listener)
            };
            accept::run(Listening { listener, address, open: &open }, &mut owner).await;
        });
        // An error is the drop of the door.
        let _ = stopped.await;
    });
    // The drop of the runtime ends all tasks, and with them all connections.
}

/// What the door knows of one connection.
struct Connection {
    /// Since when it has waited for a request; `None` while it has one, and for a stream.
    waits: Cell<Option<Instant>>,
}

/// All connections, in the order in which they came.
type Open = Rc<RefCell<BTreeMap<u64, (Rc<Connection>, AbortHandle)>>>;

struct Crowd {
    sources: Rc<Sources>,
    tls: Option<TlsAcceptor>,
    next: u64,
    open: Open,
}

impl accept::Owner for Crowd {
    fn serve(&mut self, stream: TcpStream, _: SocketAddr) {
        let counts = &self.sources.counts;
        if self.open.borrow().len() >= self.sources.options.connections && !self.make_room() {
            counts.refuse(Refusal::Full);
            return;
        }
        let number = self.next;
        self.next += 1;
        let connection = Rc::new(Connection { waits: Cell::new(Some(Instant::now())) });
        let leave = Leave { number, open: Rc::clone(&self.open), counts: Arc::clone(counts) };
        let serving =
            serve_connection(stream, Rc::clone(&self.sources), self.tls.clone(), Rc::clone(&connection));
        let task = spawn_local(async move {
            let _leave = leave;
            serving.await;
        });
        self.open.borrow_mut().insert(number, (connection, task.abort_handle()));
        counts.connections(self.open.borrow().len());
    }

    fn refused(&mut self, _: SocketAddr) {
        self.sources.counts.refuse(Refusal::NoDescriptor);
    }

    fn is_down(&mut self, _: bool) {}
}

impl Crowd {
    /// Closes the connection that has waited longest for its request. Returns false if none waits.
    fn make_room(&self) -> bool {
        let mut open = self.open.borrow_mut();
        let waiting = open.iter().filter_map(|(number, (one, _))| Some((one.waits.get()?, *number)));
        let Some((_, number)) = waiting.min() else { return false };
        if let Some((_, task)) = open.remove(&number) {
            task.abort();
        }
        self.sources.counts.refuse(Refusal::Crowded);
        true
    }
}

/// Takes a connection off the list when its task ends.
struct Leave {
    number: u64,
    open: Open,
    counts: Arc<Counts>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        // While the runtime is dropped, nobody else borrows the list.
        if let Ok(mut open) = self.open.try_borrow_mut() {
            open.remove(&self.number);
            self.counts.connections(open.len());
        }
    }
}

/// The time limit on a connection's writes.
struct Writing {
    patience: Duration,
    counts: Arc<Counts>,
}

impl Patience for Writing {
    fn patience(&self) -> Duration {
        self.patience
    }

    fn gave_up(&self) {
        self.counts.refuse(Refusal::NotRead);
    }
}

async fn serve_connection(
    stream: TcpStream,
    sources: Rc<Sources>,
    tls: Option<TlsAcceptor>,
    connection: Rc<Connection>,
) {
    // Without TCP_NODELAY an event may wait for the acknowledgement of the previous one. If the socket is gone, the
    // next read or write reports it.
    let _ = stream.set_nodelay(true);
    let (patience, counts) = (sources.options.patience, Arc::clone(&sources.counts));
    let stream = Guarded::new(stream, Writing { patience, counts: Arc::clone(&counts) });
    match tls {
        None => requests(stream, sources, connection).await,
        Some(tls) => match timeout(patience, tls.accept(stream)).await {
            Ok(Ok(stream)) => requests(stream, sources, connection).await,
            _ => counts.refuse(Refusal::Handshake),
        },
    }
}

async fn requests<S>(stream: S, sources: Rc<Sources>, connection: Rc<Connection>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (patience, counts) = (sources.options.patience, Arc::clone(&sources.counts));
    let service = service_fn(move |request: Request<Incoming>| {
        let (sources, connection) = (Rc::clone(&sources), Rc::clone(&connection));
        async move {
            connection.waits.set(None);
            let answer = sources.respond(request).await;
            let is_stream = matches!(answer.body(), super::answer::Body::Events(_));
            connection.waits.set(if is_stream { None } else { Some(Instant::now()) });
            Ok::<_, Infallible>(answer)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        // Limits the time for a request's head, and the time between two requests.
        .header_read_timeout(patience)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    // A protocol error or a lost connection affects only this connection.
    if let Err(error) = served.await
        && (error.is_parse() || error.is_timeout())
    {
        counts.refuse(Refusal::Request);
    }
}
