//! A PeerJS-compatible signaling server on corelane, thread per core. It does what npm's `peer` does, and counts and
//! times every message. A network thread owns its listener, its sockets and its port. A submission takes no lock.
//!
//! | modules | what they do |
//! |---|---|
//! | `options`, `values`, `file`, `listen` | read the command line and the configuration, bind the sockets |
//! | `network`, `receive` | a network thread, and its port's task |
//! | `http`, `upgrade`, `admit`, `socket` | the stages of a socket; `guard` counts and limits each socket |
//! | `connection` | the state of one client on its network thread |
//! | `queue`, `wire` | the frames that wait for a socket, and the stream that they share with tungstenite |
//! | `registry`, `address` | who has which id, and the addresses of clients |
//! | `door`, `counts`, `log` | the monitor's HTTP door, refusals and the log |
//! | `exports` | the exporters to Elasticsearch and OpenTelemetry |
//! | `membership`, `ledger`, `listing` | ids and figures in a cluster of several machines: claims, their losses, the list of all ids |
//! | `drain` | closes the clients before a stop |
//! | `memory` | returns the memory of a flood to the system |

mod address;
mod admit;
mod connection;
mod counts;
mod door;
mod drain;
mod exports;
mod file;
mod guard;
mod http;
#[cfg(feature = "cluster")]
mod ledger;
mod listen;
#[cfg(feature = "cluster")]
mod listing;
mod log;
#[cfg_attr(not(feature = "cluster"), path = "membership_off.rs")]
mod membership;
mod memory;
mod network;
mod options;
mod queue;
mod receive;
mod registry;
mod socket;
mod upgrade;
mod values;
mod wire;

use address::Addresses;
use corelane::error::{Error, PortError};
use corelane::http::Certificate;
use corelane::monitor::Monitor;
use corelane::monitor::alert::{Alert, Notification, Severity};
use corelane::router::{Builder, Port, Router};
use counts::Counts;
use listen::Listening;
use memory::Flood;
use network::{Command, Service, Thread};
use options::Options;
use registry::Registry;
use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// Interval between checks of the TLS files, and of whether a flood is over.
const LOOK: Duration = Duration::from_secs(1);

/// Why the server cannot run, and the exit status of the process.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    text: String,
}

impl Failure {
    /// The configuration is wrong; exit status 2.
    pub(crate) fn configuration(text: impl fmt::Display) -> Self {
        Self { status: 2, text: text.to_string() }
    }

    /// The system refused an operation; exit status 1.
    pub(crate) fn system(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self { status: 1, text: format!("{what}: {error}") }
    }
}

fn main() -> ExitCode {
    let status = match Options::read().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            log::complain(format_args!("error: {}", failure.text));
            ExitCode::from(failure.status)
        }
    };
    log::finish();
    status
}

/// Runs until a signal. No socket listens before the whole configuration is accepted.
fn run(options: &Options) -> Result<(), Failure> {
    log::start(options.log, options.log_format);
    let config = options.config()?;
    let certificate = options.tls()?;
    let exports = options.exports.read()?;
    let tls = certificate.as_ref().map(Certificate::acceptor).transpose();
    let tls = tls.map_err(|error| Failure::system("cannot set up TLS", error))?;
    let builder = Builder::new(config.clone());
    let budget = builder.budget().map_err(Failure::configuration)?;
    // Each socket needs a descriptor. If the limit cannot be raised, `accept` reports the shortage.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let listening = Listening::bind(options)?;
    let mut router = builder.start().map_err(|error| Failure::system("cannot start the router", error))?;

    let measured = start_monitor(options, &router)?;
    let exports = exports.start(&measured)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    introduce(options, &listening, scheme);
    let local = u64::from(config.router.local_workers);
    let threads = config.workers() as u64 - local;
    log::print(format_args!(
        "network threads: {}, {local} of them with a worker; worker threads: {threads}",
        options.threads()
    ));
    log::print(format_args!("memory of the router: {budget}"));
    let mebibytes = measured.bytes_at_most() as f64 / f64::from(1 << 20);
    log::print(format_args!(
        "memory of the monitor: at most {mebibytes:.1} MiB, in addition to the router's"
    ));

    let (senders, receivers): (Vec<_>, Vec<_>) =
        listening.listeners.iter().map(|_| mpsc::unbounded_channel()).unzip();
    let counts = Counts::new(&measured).map_err(|error| Failure::system("cannot count refusals", error))?;
    let settings = options.settings(&config);
    let membership = options.membership.join(&router)?;
    let service = Arc::new(Service {
        registry: Registry::new(options::concurrent_limit(&config) as usize),
        threads: senders,
        tls,
        counts,
        addresses: Addresses::new(settings.max_per_address),
        settings,
        monitor: measured.clone(),
        open: AtomicU64::new(0),
        most_open: AtomicU64::new(0),
        listeners_down: AtomicU64::new(0),
        draining: AtomicBool::new(false),
        membership,
    });
    if let Some(membership) = &service.membership {
        membership.watch(&service);
    }

    // Before the first socket is served: a signal that comes then ends the server as any other.
    let (runtime, signals) = open_signals()?;
    let (ended, mut any_ended) = mpsc::unbounded_channel();
    let (ready, is_ready) = watch::channel(true);
    let opened = listening.monitor.map(|listener| {
        let door = options.door(certificate.as_ref()).listener(listener);
        door::open(&measured, door, &service, is_ready)
    });
    let door = opened.transpose()?;
    let listeners = listening.listeners.into_iter().zip(receivers).collect();
    let threads = start_threads(&service, &router, listeners, listening.address, &ended)?;
    drop(ended);
    let drain_time = options.drain_time();
    let signalled = serve(&runtime, signals, &mut any_ended, &service, certificate.as_ref(), drain_time);
    tracing::info!("stopping");

    // An error means that the monitor's thread has already ended.
    let _ = ready.send(false);
    for commands in &service.threads {
        // An error means that the thread has already ended.
        let _ = commands.send(Command::Stop);
    }
    for thread in threads {
        // The panic hook has logged a panic of the thread; the stop continues.
        let _ = thread.join();
    }
    if let Some(membership) = &service.membership {
        membership.stop();
    }
    router.stop();
    exports.stop();
    if let Some(door) = door {
        door.stop(Duration::from_secs(1));
    }
    measured.stop(Duration::from_secs(1));
    signalled
}

/// Starts the monitor. Alerts go to the log, reports to their file.
fn start_monitor(options: &Options, router: &Router) -> Result<Monitor, Failure> {
    let monitor = Monitor::of(&router.source());
    let start = || {
        monitor.on_alert(tell)?;
        if let Some((format, target)) = options.report() {
            monitor.report_to(format, target)?;
        }
        monitor.start()?;
        Ok::<_, Error>(())
    };
    start().map_err(|error| Failure::system("cannot start the monitor", error))?;
    for rule in monitor.snapshot().alerts.rules {
        if let Some(reason) = rule.unavailable {
            tracing::warn!(rule = rule.name, reason = &*reason, "this rule cannot raise an alert");
        }
    }
    Ok(monitor)
}

fn tell(alert: &Alert) {
    let severity = alert.severity.label();
    match alert.notification {
        Some(Notification::Resolved) => tracing::info!(severity, "alert: resolved: {}", alert.message),
        _ if alert.severity == Severity::Critical => {
            tracing::error!(severity, "alert: {severity}: {}", alert.message);
        }
        _ => tracing::warn!(severity, "alert: {severity}: {}", alert.message),
    }
}

/// Prints the addresses of the server, in a form that a browser accepts.
fn introduce(options: &Options, listening: &Listening, scheme: &str) {
    let (address, path) = (listening.address, options.base_path());
    let everywhere = if address.ip().is_unspecified() { " (all addresses of this machine)" } else { "" };
    log::print(format_args!("PeerJS server on {scheme}://{}{path}{everywhere}", reachable(address)));
    match listening.monitor_address {
        Some(address) => {
            let here = reachable(address);
            let scheme = options.monitor_scheme();
            log::print(format_args!("monitor on {scheme}://{here}/ and {scheme}://{here}/metrics"));
        }
        None => log::print("the monitor has no HTTP address (--monitor off)"),
    }
}

/// The address as this machine can reach it: an unspecified address becomes localhost.
fn reachable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() }
}

type Commands = mpsc::UnboundedReceiver<Command>;

fn start_threads(
    service: &Arc<Service>,
    router: &Router,
    listeners: Vec<(std::net::TcpListener, Commands)>,
    address: SocketAddr,
    ended: &mpsc::UnboundedSender<()>,
) -> Result<Vec<JoinHandle<()>>, Failure> {
    let mut running = Vec::new();
    for (index, (listener, commands)) in listeners.into_iter().enumerate() {
        let port = open_port(router).map_err(|error| Failure::system("cannot open a port", error))?;
        let thread = Thread { index, service: Arc::clone(service), port, listener, address, commands };
        let ended = ended.clone();
        let handle = std::thread::Builder::new()
            .name(format!("network-{index}"))
            .spawn(move || {
                if let Err(error) = thread.run() {
                    tracing::error!(%error, "a network thread failed");
                }
                // The receiver is gone once the server stops.
                let _ = ended.send(());
            })
            .map_err(|error| Failure::system("cannot start a network thread", error))?;
        running.push(handle);
    }
    Ok(running)
}

/// Opens a network thread's port: with a worker of its own, as long as there are any.
fn open_port(router: &Router) -> Result<Port, PortError> {
    match router.local_port() {
        Err(PortError::TooManyLocalPorts(_)) => router.port(),
        opened => opened,
    }
}

/// From now on signals do not end the process, but wait for [`serve`].
fn open_signals() -> Result<(Runtime, Signals), Failure> {
    let failed = |error| Failure::system("cannot wait for signals", error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let signals = runtime.block_on(async { Signals::open() }).map_err(failed)?;
    Ok((runtime, signals))
}

/// Runs until SIGINT or SIGTERM, and drains after SIGTERM. Returns an error if a network thread ends by itself.
fn serve(
    runtime: &Runtime,
    mut signals: Signals,
    any_ended: &mut mpsc::UnboundedReceiver<()>,
    service: &Service,
    certificate: Option<&Certificate>,
    drain_time: Duration,
) -> Result<(), Failure> {
    runtime.block_on(async {
        let drains = signals.wait_for_the_end(any_ended, service, certificate).await?;
        if drains && !drain_time.is_zero() {
            drain_all(service, drain_time, &mut signals).await;
        }
        Ok(())
    })
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn open() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGINT or SIGTERM. Returns whether the server drains first: after SIGTERM. Returns an error if a
    /// network thread ends by itself. Reloads key and certificate on SIGHUP, and when their files change.
    async fn wait_for_the_end(
        &mut self,
        any_ended: &mut mpsc::UnboundedReceiver<()>,
        service: &Service,
        certificate: Option<&Certificate>,
    ) -> Result<bool, Failure> {
        let mut flood = Flood::default();
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return Ok(false),
                _ = self.terminate.recv() => return Ok(true),
                _ = any_ended.recv() => return Err(Failure::system("the server stops", "a network thread ended")),
                _ = self.hangup.recv() => match certificate {
                    Some(certificate) => certificate.refresh(true),
                    None => tracing::info!("SIGHUP ignored: without TLS there are no files to reload"),
                },
                () = tokio::time::sleep(LOOK) => {
                    service.counts.log_lines(log::dropped());
                    flood.look(service.open.load(Relaxed), service.most_open.swap(0, Relaxed));
                    if let Some(certificate) = certificate {
                        certificate.refresh(false);
                    }
                }
            }
        }
    }

    /// Waits for a second signal.
    async fn again(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Makes all network threads close their clients. Returns once all are closed, after `time`, or on a second signal.
async fn drain_all(service: &Service, time: Duration, signals: &mut Signals) {
    service.draining.store(true, Relaxed);
    if let Some(membership) = &service.membership {
        membership.drain();
    }
    tracing::info!(clients = service.registry.len(), seconds = time.as_secs(), "draining");
    let (drained, mut all_drained) = mpsc::unbounded_channel();
    for commands in &service.threads {
        // An error means that the thread has already ended.
        let _ = commands.send(Command::Drain(time, drained.clone()));
    }
    drop(drained);
    tokio::select! {
        // Ends once every thread has dropped its sender.
        () = async { while all_drained.recv().await.is_some() {} } => {}
        () = tokio::time::sleep(time) => {}
        () = signals.again() => tracing::info!("a second signal ends the drain"),
    }
    tracing::info!(clients = service.registry.len(), "drained");
}
