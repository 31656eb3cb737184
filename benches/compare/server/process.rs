//! The servers, each a separate process on a free loopback port.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ours,
    /// The server of examples/c.
    InC,
    /// The server of go/examples.
    InGo,
    /// The server of github.com/muka/peerjs-go.
    PeerJsGo,
    Npm,
    Matchbox,
    /// The floor.
    Bare,
}

/// How many threads a server has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// This many threads, and this many cores to run on.
    Count(usize),
    /// What the server does if nobody sets anything.
    Default,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "corelane",
            Self::InC => "corelane in C (libwebsockets)",
            Self::InGo => "corelane in Go",
            Self::PeerJsGo => "peerjs-go",
            Self::Npm => "npm peer",
            Self::Matchbox => "matchbox_server",
            Self::Bare => "floor: bare tokio relay",
        }
    }

    /// Whether the server can have that number of threads. Node has one for all connections.
    pub fn can_have(self, threads: Threads) -> bool {
        self != Self::Npm || matches!(threads, Threads::Count(1) | Threads::Default)
    }

    /// Whether the server may be missing: no package registry has to serve it.
    pub fn may_be_missing(self) -> bool {
        self == Self::PeerJsGo && !crate::built(PEERJS_GO).exists()
    }
}

/// The program of peerjs-go's `cmd/server`, if somebody has put it beside the benchmark.
pub const PEERJS_GO: &str = "peerjs_go";

pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Server {
    /// Starts a server for up to `clients` clients.
    ///
    /// # Errors
    /// The reason why it cannot be started.
    pub fn start(kind: Kind, threads: Threads, clients: usize) -> Result<Self, String> {
        let address = free_port();
        let text = |text: &str| text.to_owned();
        let port = address.port().to_string();
        let (program, mut arguments) = match kind {
            Kind::Ours | Kind::InC | Kind::InGo => {
                let monitor = free_port().to_string();
                let clients = clients.to_string();
                let fixed = ["--port", &port, "--host", "127.0.0.1", "--monitor", &monitor];
                let limit = ["--concurrent_limit", &clients];
                let name = match kind {
                    Kind::InC => "peerjs_server_c",
                    Kind::InGo => "peerjs_server_go",
                    _ => "peerjs_server",
                };
                (our_server(name)?, fixed.into_iter().chain(limit).map(text).collect())
            }
            Kind::PeerJsGo => (our_server(PEERJS_GO)?, Vec::new()),
            Kind::Npm => {
                let program =
                    Path::new(crate::ROOT).join("tests/conformance/node_modules/peer/dist/bin/peerjs.js");
                if !program.exists() {
                    return Err("npm's peer is not installed: npm ci, in tests/conformance".to_owned());
                }
                let (program, clients) = (program.to_string_lossy().into_owned(), clients.to_string());
                let arguments = [&program, "--port", &port, "--host", "127.0.0.1", "--path", "/"];
                let limit = ["--concurrent_limit", &clients];
                (PathBuf::from("node"), arguments.into_iter().chain(limit).map(text).collect::<Vec<_>>())
            }
            Kind::Matchbox => (PathBuf::from("matchbox_server"), vec![address.to_string()]),
            Kind::Bare => {
                let own = std::env::current_exe().map_err(|error| error.to_string())?;
                (own, vec!["--bare-relay".to_owned(), address.to_string()])
            }
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut command = match threads {
            Threads::Count(count) if count < cores => {
                let mut command = Command::new("taskset");
                command.args(["-c", &format!("0-{}", count - 1)]).arg(&program);
                command
            }
            _ => Command::new(&program),
        };
        if let Threads::Count(count) = threads {
            match kind {
                Kind::Ours | Kind::InC | Kind::InGo => {
                    arguments.extend([text("--threads"), count.to_string()])
                }
                Kind::PeerJsGo => drop(command.env("GOMAXPROCS", count.to_string())),
                Kind::Npm => assert_eq!(count, 1),
                // What #[tokio::main] reads.
                Kind::Matchbox => drop(command.env("TOKIO_WORKER_THREADS", count.to_string())),
                Kind::Bare => arguments.push(count.to_string()),
            }
        }
        if kind == Kind::PeerJsGo {
            // It reads no command line. At its own level of the log it writes a line for each message.
            let settings = [
                ("PEER_PORT", port.clone()),
                ("PEER_HOST", text("127.0.0.1")),
                ("PEER_LOGLEVEL", text("error")),
            ];
            command.envs(settings).env("PEER_CONCURRENTLIMIT", clients.to_string());
        }
        let child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| {
                format!("{} does not start: {error}; `make deps` installs it", program.display())
            })?;
        let mut server = Self { child, address };
        let began = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            if server.child.try_wait().is_ok_and(|status| status.is_some()) || began.elapsed() > LIMIT {
                return Err(format!("{} does not listen; `make deps` installs it", program.display()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.child.id())).join(name)
    }

    /// Seconds of processor time that the server has used: all threads, user and kernel. The scheduler's figure in
    /// nanoseconds is used if the kernel provides it, otherwise hundredths of a second.
    pub fn processor_time(&self) -> f64 {
        let threads = std::fs::read_dir(self.file("task")).unwrap();
        let exact: Option<u64> = threads
            .map(|thread| {
                let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
                text.split_whitespace().next()?.parse::<u64>().ok()
            })
            .sum();
        if let Some(nanoseconds) = exact.filter(|nanoseconds| *nanoseconds > 0) {
            return nanoseconds as f64 / 1e9;
        }
        let stat = std::fs::read_to_string(self.file("stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // utime and stime are the 12th and 13th fields after the name.
        fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
    }

    /// Resident memory in KiB.
    pub fn resident(&self) -> f64 {
        let status = std::fs::read_to_string(self.file("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

fn our_server(name: &str) -> Result<PathBuf, String> {
    let program = crate::built(name);
    if program.exists() { Ok(program) } else { Err(format!("{} is not built", program.display())) }
}
