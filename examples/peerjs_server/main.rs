//! A PeerJS-compatible signaling server on corelane, thread per core: what npm's `peer` does, with every message
//! counted and timed. A network thread owns its listener, its sockets and its port; nothing is locked between a
//! socket and a ring. `options` and `listen` start it, `network` is a thread, `pump` its port's task, `http` and
//! `socket` are what comes in, `connection` is what a client has here, `registry` who has which id; `monitor` and `pages`
//! show the figures.

mod connection;
mod http;
mod listen;
mod monitor;
mod network;
mod options;
mod pages;
mod pump;
mod registry;
mod socket;

use corelane::monitor::Monitor;
use corelane::monitor::alert::{Alert, Notification};
use corelane::router::{Builder, Router};
use listen::Listening;
use network::{Command, Service, Thread};
use options::Options;
use registry::Registry;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

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
    match run(&Options::read()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", failure.text);
            ExitCode::from(failure.status)
        }
    }
}

/// Runs until a signal. Nothing listens before the whole configuration has been accepted.
fn run(options: &Options) -> Result<(), Failure> {
    let config = options.config()?;
    let tls = options.tls()?;
    let builder = Builder::new(config.clone());
    let budget = builder.budget();
    // A descriptor for each socket; where that is not allowed, accepting says so.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let listening = Listening::bind(options)?;
    let mut router = builder.start().map_err(|error| Failure::system("cannot start the router", error))?;

    let scheme = if tls.is_some() { "https" } else { "http" };
    println!("PeerJS server on {scheme}://{}{}", listening.address, options.base_path());
    match listening.monitor_address {
        Some(address) => println!("monitor on http://{address}/metrics and http://{address}/api/report"),
        None => println!("no addresses of the monitor"),
    }
    println!("{} network threads, {} workers", options.threads(), config.workers());
    println!("memory of the router: {budget}");

    let measured = start_monitor(options, &router)?;
    println!(
        "memory of the monitor: {} bytes at most, beside what is in the router's",
        measured.bytes_at_most()
    );

    let (ended, mut any_ended) = mpsc::unbounded_channel();
    let (ready, is_ready) = watch::channel(true);
    let monitor = match listening.monitor {
        Some(listener) => {
            let (reader, monitor) = (router.reader(), measured.clone());
            Some(monitor::spawn(listener, monitor::Sources { reader, monitor, ready: is_ready })?)
        }
        None => None,
    };
    let threads = start_threads(options, &router, listening.listeners, tls, &ended)?;
    drop(ended);
    let signalled = wait_for_a_signal(&mut any_ended);

    // A monitor that is gone already needs no word.
    let _ = ready.send(false);
    for (commands, _) in &threads {
        // Likewise a thread.
        let _ = commands.send(Command::Stop);
    }
    for (_, thread) in threads {
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
    let what = match alert.notification {
        Some(Notification::Resolved) => "resolved",
        _ => alert.severity.label(),
    };
    eprintln!("alert: {what}: {}", alert.message);
}

type RunningThread = (mpsc::UnboundedSender<Command>, JoinHandle<()>);

fn start_threads(
    options: &Options,
    router: &Router,
    listeners: Vec<std::net::TcpListener>,
    tls: Option<tokio_rustls::TlsAcceptor>,
    ended: &mpsc::UnboundedSender<()>,
) -> Result<Vec<RunningThread>, Failure> {
    let channels: Vec<_> = listeners.iter().map(|_| mpsc::unbounded_channel()).collect();
    let (senders, receivers): (Vec<_>, Vec<_>) = channels.into_iter().unzip();
    let service = Arc::new(Service {
        settings: options.settings(),
        registry: Registry::new(options.concurrent_limit as usize),
        threads: senders.clone(),
        tls,
    });
    let mut running = Vec::new();
    for (index, (listener, commands)) in listeners.into_iter().zip(receivers).enumerate() {
        let port = router.port().map_err(|error| Failure::system("cannot open a port", error))?;
        let thread = Thread { index, service: Arc::clone(&service), port, listener, commands };
        let ended = ended.clone();
        let handle = std::thread::Builder::new()
            .name(format!("network-{index}"))
            .spawn(move || {
                if let Err(error) = thread.run() {
                    eprintln!("error: a network thread ends: {error}");
                }
                // Nobody listens once the server stops.
                let _ = ended.send(());
            })
            .map_err(|error| Failure::system("cannot start a network thread", error))?;
        running.push(handle);
    }
    Ok(senders.into_iter().zip(running).collect())
}

/// Waits for SIGINT or SIGTERM; an error if a network thread has ended by itself.
fn wait_for_a_signal(any_ended: &mut mpsc::UnboundedReceiver<()>) -> Result<(), Failure> {
    let failed = |error| Failure::system("cannot wait for signals", error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        tokio::select! {
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
            _ = any_ended.recv() => Err(Failure::system("stopping", "a network thread has ended")),
        }
    })
}
