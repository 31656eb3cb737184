//! A PeerJS-compatible signaling server on corelane, thread per core: what npm's `peer` does, with every message
//! counted and timed. A network thread owns its listener, its sockets and its port; nothing is locked between a
//! socket and a ring. `options` (with `values`), `tls` and `listen` start it, `network` is a thread, `pump` its port's
//! task, `accept`, `http`, `upgrade` and `socket` are what comes in, each under its `guard`, `connection` is what a client has
//! here, `registry` who has which id, and `address` from where; `monitor`, `pages`, `counts` and `log` show what happens, `memory` gives back what a
//! flood took.

mod accept;
mod address;
mod connection;
mod counts;
mod guard;
mod http;
mod listen;
mod log;
mod memory;
mod monitor;
mod network;
mod options;
mod pages;
mod pump;
mod registry;
mod socket;
mod tls;
mod upgrade;
mod values;

use address::Addresses;
use corelane::monitor::Monitor;
use corelane::monitor::alert::{Alert, Notification, Severity};
use corelane::router::{Builder, Router};
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
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;
use tls::Certificate;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// How often the files of TLS are looked at, and whether a flood is over.
const LOOK: Duration = Duration::from_secs(1);

/// Why the server does not run, and the status that it ends with.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    text: String,
}

impl Failure {
    /// The configuration is wrong.
    pub(crate) fn configuration(text: impl fmt::Display) -> Self {
        Self { status: 2, text: text.to_string() }
    }

    /// The system refuses something.
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

/// Runs until a signal. Nothing listens before the whole configuration has been accepted.
fn run(options: &Options) -> Result<(), Failure> {
    log::start(options.log, options.log_format);
    let config = options.config()?;
    let certificate = options.tls()?;
    let tls = certificate.as_ref().map(Certificate::acceptor).transpose()?;
    let builder = Builder::new(config.clone());
    let budget = builder.budget();
    // A descriptor for each socket; where that is not allowed, accepting says so.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let listening = Listening::bind(options)?;
    let mut router = builder.start().map_err(|error| Failure::system("cannot start the router", error))?;

    let measured = start_monitor(options, &router)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    introduce(options, &listening, scheme);
    log::print(format_args!("{} network threads, {} workers", options.threads(), config.workers()));
    log::print(format_args!("memory of the router: {budget}"));
    let mebibytes = measured.bytes_at_most() as f64 / f64::from(1 << 20);
    log::print(format_args!(
        "memory of the monitor: at most {mebibytes:.1} MiB, beside what is in the router's"
    ));

    let (senders, receivers): (Vec<_>, Vec<_>) =
        listening.listeners.iter().map(|_| mpsc::unbounded_channel()).unzip();
    let counts = Counts::new(&measured).map_err(|error| Failure::system("cannot count refusals", error))?;
    let settings = options.settings();
    let service = Arc::new(Service {
        registry: Registry::new(options.concurrent_limit as usize),
        threads: senders,
        tls,
        counts,
        addresses: Addresses::new(settings.max_per_address),
        settings,
        monitor: measured.clone(),
        open: AtomicU64::new(0),
        most_open: AtomicU64::new(0),
        listeners_down: AtomicU64::new(0),
    });

    let (ended, mut any_ended) = mpsc::unbounded_channel();
    let (ready, is_ready) = watch::channel(true);
    let monitor = match listening.monitor {
        Some(listener) => {
            let (reader, monitor, service) = (router.reader(), measured.clone(), Arc::clone(&service));
            Some(monitor::spawn(listener, monitor::Sources { reader, monitor, service, ready: is_ready })?)
        }
        None => None,
    };
    let listeners = listening.listeners.into_iter().zip(receivers).collect();
    let threads = start_threads(&service, &router, listeners, listening.address, &ended)?;
    drop(ended);
    let signalled = wait_for_a_signal(&mut any_ended, &service, certificate.as_deref());
    tracing::info!("stopping");

    // A monitor that is gone already needs no word.
    let _ = ready.send(false);
    for commands in &service.threads {
        // Likewise a thread.
        let _ = commands.send(Command::Stop);
    }
    for thread in threads {
        // A panic has been reported by its thread; stopping goes on.
        let _ = thread.join();
    }
    router.stop();
    drop(ready);
    if let Some(monitor) = monitor {
        // Likewise.
        let _ = monitor.join();
    }
    measured.stop(Duration::from_secs(1));
    signalled
}

/// Measures from the start on, whoever looks: alerts go to the journal, reports to their file.
fn start_monitor(options: &Options, router: &Router) -> Result<Monitor, Failure> {
    let monitor = Monitor::of(&router.source());
    let start = || {
        monitor.on_alert(tell)?;
        if let Some((format, target)) = options.report() {
            monitor.report_to(format, target)?;
        }
        monitor.start()
    };
    start().map_err(|error| Failure::system("cannot start the monitor", error))?;
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

/// Says where the server is, as it can be typed into a browser.
fn introduce(options: &Options, listening: &Listening, scheme: &str) {
    let (address, path) = (listening.address, options.base_path());
    let everywhere = if address.ip().is_unspecified() { " (all addresses of this machine)" } else { "" };
    log::print(format_args!("PeerJS server on {scheme}://{}{path}{everywhere}", reachable(address)));
    match listening.monitor_address {
        Some(address) => {
            let here = reachable(address);
            log::print(format_args!("monitor on http://{here}/metrics and http://{here}/api/report"));
            if !address.ip().to_canonical().is_loopback() {
                tracing::warn!(
                    %address,
                    "the monitor listens beyond the loopback: who reaches it may read everything and change thresholds"
                );
            }
        }
        None => log::print("no addresses of the monitor"),
    }
}

/// An address that this machine reaches.
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
        let port = router.port().map_err(|error| Failure::system("cannot open a port", error))?;
        let thread = Thread { index, service: Arc::clone(service), port, listener, address, commands };
        let ended = ended.clone();
        let handle = std::thread::Builder::new()
            .name(format!("network-{index}"))
            .spawn(move || {
                if let Err(error) = thread.run() {
                    tracing::error!(%error, "a network thread ends");
                }
                // Nobody listens once the server stops.
                let _ = ended.send(());
            })
            .map_err(|error| Failure::system("cannot start a network thread", error))?;
        running.push(handle);
    }
    Ok(running)
}

/// Waits for SIGINT or SIGTERM; an error if a network thread has ended by itself. SIGHUP has key and certificate read again,
/// and so does a change of their files.
fn wait_for_a_signal(
    any_ended: &mut mpsc::UnboundedReceiver<()>,
    service: &Service,
    certificate: Option<&Certificate>,
) -> Result<(), Failure> {
    let failed = |error| Failure::system("cannot wait for signals", error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut flood = Flood::default();
        let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                _ = any_ended.recv() => return Err(Failure::system("stopping", "a network thread has ended")),
                _ = hangup.recv() => match certificate {
                    Some(certificate) => certificate.refresh(true),
                    None => tracing::info!("SIGHUP: there is nothing to read again"),
                },
                () = tokio::time::sleep(LOOK) => {
                    flood.look(service.open.load(Relaxed), service.most_open.swap(0, Relaxed));
                    if let Some(certificate) = certificate {
                        certificate.refresh(false);
                    }
                }
            }
        }
    })
}
