//! The command line: npm's options under their names, then the server's own. `main` reads it once. An invalid value
//! is refused here, with the option, the value and the allowed values, before any socket listens.

use crate::Failure;
use crate::address::Proxies;
use crate::exports::ExportOptions;
use crate::file::ConfigFile;
use crate::log;
use crate::membership::MembershipOptions;
use crate::values::{MonitorAddress, log_format, log_level, monitor_address, number, origin, report_format};
use crate::values::{router_setting, writable};
use clap::parser::ValueSource;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser};
use corelane::config::Config;
use corelane::error::ServeError;
use corelane::http::{self, Certificate};
use corelane::monitor::{Format, Target};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// Largest message that is planned to fit a ring's record, with its sender's name and header. In bytes; larger
/// messages become out-of-line payloads.
const LARGEST_IN_RING: u64 = (64 << 10) + 1024;
/// Default of `--drain_seconds` in a cluster.
const DRAIN_SECONDS: u64 = 10;

/// A PeerJS-compatible signaling server that measures every message.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Options {
    /// Port to listen on; 0 for any free port. Default: the environment variable PORT, or 9000.
    #[arg(long, short, default_value = "9000", value_parser = number(0, 65_535, ""))]
    #[arg(allow_negative_numbers = true)]
    pub(crate) port: u64,

    /// Host to listen on. Default: all addresses of this machine.
    #[arg(long, short = 'H')]
    pub(crate) host: Option<String>,

    /// Key that clients must send.
    #[arg(long, short, default_value = "peerjs")]
    key: String,

    /// Base path of all addresses of the server.
    #[arg(long, env = "PEERSERVER_PATH", default_value = "/")]
    path: String,

    /// How long a message for a client that is not connected is held. Default: 5000.
    #[arg(long = "expire_timeout", alias = "expire-timeout", short = 't', value_name = "MILLISECONDS")]
    #[arg(value_parser = number(1, 3_600_000, " milliseconds"), allow_negative_numbers = true)]
    expire_timeout: Option<u64>,

    /// Close a client after this time without any frame. The server sends a ping after a third of the time.
    #[arg(long = "alive_timeout", alias = "alive-timeout", value_name = "MILLISECONDS")]
    #[arg(default_value = "60000", value_parser = number(1, 86_400_000, " milliseconds"))]
    #[arg(allow_negative_numbers = true)]
    alive_timeout: u64,

    /// Maximum number of connected clients. Default: 5000.
    #[arg(long = "concurrent_limit", alias = "concurrent-limit", short = 'c', value_name = "CLIENTS")]
    #[arg(value_parser = number(1, 1_000_000, " clients"), allow_negative_numbers = true)]
    concurrent_limit: Option<u64>,

    /// Show the list of clients to anyone.
    #[arg(long = "allow_discovery", alias = "allow-discovery", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, default_value = "false", default_missing_value = "true")]
    allow_discovery: bool,

    /// A proxy is in front of the server: take a client's address from the last entry of X-Forwarded-For (or
    /// Forwarded).
    #[arg(long, action = ArgAction::Set)]
    #[arg(num_args = 0..=1, default_value = "false", default_missing_value = "true")]
    proxied: bool,

    /// With --proxied: the addresses of all proxies, if there are several in a row. Headers of other peers are then
    /// ignored.
    #[arg(long = "trusted_proxy", alias = "trusted-proxy", value_name = "ADDRESS", num_args = 1..)]
    trusted_proxy: Vec<IpAddr>,

    /// Origins whose pages may send requests and connect. Default: any.
    #[arg(long, value_name = "ORIGIN", num_args = 1.., value_parser = origin)]
    cors: Vec<String>,

    /// TLS: file of the private key (PEM).
    #[arg(long, value_name = "FILE", requires = "sslcert")]
    sslkey: Option<PathBuf>,

    /// TLS: file of the certificate chain (PEM).
    #[arg(long, value_name = "FILE", requires = "sslkey")]
    sslcert: Option<PathBuf>,

    /// Maximum number of open sockets of any kind. Default: twice --concurrent_limit plus 1,000.
    #[arg(long = "max_connections", alias = "max-connections", value_name = "SOCKETS")]
    #[arg(value_parser = number(1, 10_000_000, " sockets"), allow_negative_numbers = true)]
    max_connections: Option<u64>,

    /// Maximum number of open sockets per address (per /64 network with IPv6); 0 for no limit. Behind a proxy,
    /// WebSockets are counted by the client's address.
    #[arg(long = "max_per_address", alias = "max-per-address", value_name = "SOCKETS", default_value = "0")]
    #[arg(value_parser = number(0, 1_000_000, " sockets"), allow_negative_numbers = true)]
    max_per_address: u64,

    /// Time limit for a TLS handshake, for a request, for reading an answer, and for the pause between two requests.
    #[arg(long = "socket_timeout", alias = "socket-timeout", value_name = "MILLISECONDS")]
    #[arg(default_value = "10000", value_parser = number(100, 3_600_000, " milliseconds"))]
    #[arg(allow_negative_numbers = true)]
    socket_timeout: u64,

    /// On SIGTERM, close the clients over this time instead of at once, idle ones first, so that they connect to
    /// another server. A second signal ends the drain. 0: no drain. Default: 0, or 10 in a cluster.
    #[arg(long = "drain_seconds", alias = "drain-seconds", value_name = "SECONDS")]
    #[arg(value_parser = number(0, 3600, " seconds"), allow_negative_numbers = true)]
    drain_seconds: Option<u64>,

    #[command(flatten)]
    pub(crate) membership: MembershipOptions,

    /// Log events of this level and above to stderr: error, warn, info, debug or trace; or "off". Events of other libraries below
    /// info are not logged.
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = log_level)]
    pub(crate) log: LevelFilter,

    /// Format of a log line: text or json.
    #[arg(long = "log_format", alias = "log-format", value_name = "FORMAT", default_value = "text")]
    #[arg(value_parser = log_format)]
    pub(crate) log_format: log::Format,

    /// Address of the monitor (its page, /metrics, /healthz, /readyz, /api/…), or "off". Anyone who reaches it can read
    /// all figures, unless there is a --monitor_token.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090", value_parser = monitor_address)]
    pub(crate) monitor: MonitorAddress,

    /// Token of the monitor, 16 to 256 characters: without it nothing can be read (as Authorization: Bearer TOKEN). If
    /// no token is set, nothing can be changed at run time. Other users of this machine see the command line, but not the
    /// environment.
    #[arg(long = "monitor_token", alias = "monitor-token", value_name = "TOKEN", env = "MONITOR_TOKEN")]
    #[arg(hide_env_values = true)]
    monitor_token: Option<String>,

    /// Serve the monitor over HTTPS, with --sslkey and --sslcert.
    #[arg(long = "monitor_tls", alias = "monitor-tls", action = ArgAction::Set, requires = "sslkey")]
    #[arg(num_args = 0..=1, default_value_t = false, default_missing_value = "true")]
    monitor_tls: bool,

    /// Additional name of the monitor. A request is refused if its Host header is not a name of the monitor. IP
    /// addresses, localhost and the name in --monitor are always accepted.
    #[arg(long = "monitor_host", alias = "monitor-host", value_name = "NAME")]
    monitor_host: Vec<String>,

    /// Write the report to this file every report_interval_ms.
    #[arg(long = "report_file", alias = "report-file", value_name = "FILE")]
    report_file: Option<PathBuf>,

    /// Format of the report file: html, text or json.
    #[arg(long = "report_format", alias = "report-format", value_name = "FORMAT", default_value = "html")]
    #[arg(requires = "report_file", value_parser = report_format)]
    report_format: Format,

    #[command(flatten)]
    pub(crate) exports: ExportOptions,

    /// Number of network threads. Each routes the messages of its own clients. Default: one per two cores.
    #[arg(long, value_parser = number(1, 64, " threads"), allow_negative_numbers = true)]
    threads: Option<u64>,

    /// Number of worker threads that route messages in place of the network threads; 0 for none. Default: 0.
    #[arg(long, value_parser = number(0, 64, " threads"), allow_negative_numbers = true)]
    workers: Option<u64>,

    /// Largest message that is routed. The sender of a larger one gets an ERROR, and the refusal is counted. If the
    /// message is larger than twice this and larger than 2 MiB, the socket is closed as well. Default: 1048576.
    #[arg(long = "max_message", alias = "max-message", value_name = "BYTES")]
    #[arg(value_parser = number(1024, 8 << 20, " bytes"), allow_negative_numbers = true)]
    max_message: Option<u64>,

    /// TOML file with keys of the router's configuration, in its sections (docs/configuration.md). Options on the
    /// command line come before the file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Set a key of the router's configuration. Applied after the file and the other options.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = router_setting)]
    router_settings: Vec<(String, String)>,
}

/// The settings that requests and sockets need.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) key: String,
    /// Begins and ends with a slash.
    pub(crate) path: String,
    /// Where WebSockets are.
    pub(crate) socket_path: String,
    pub(crate) allow_discovery: bool,
    /// If empty, any origin is allowed.
    pub(crate) origins: Vec<String>,
    pub(crate) alive_timeout: Duration,
    pub(crate) proxies: Proxies,
    pub(crate) socket_timeout: Duration,
    pub(crate) max_connections: u64,
    pub(crate) max_per_address: u32,
    /// Largest message that is routed, in bytes.
    pub(crate) max_message: u64,
    /// Largest frame that is read at all, in bytes.
    pub(crate) max_frame: usize,
}

impl Options {
    /// Reads the command line. Help, the version and an invalid option end the process here.
    ///
    /// # Errors
    /// [`Failure`] if PORT is invalid or the report file cannot be written.
    pub(crate) fn read() -> Result<Self, Failure> {
        let matches = Self::command().get_matches();
        let mut options = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        if matches.value_source("port") == Some(ValueSource::DefaultValue)
            && let Ok(port) = std::env::var("PORT")
        {
            let wrong = |allowed| {
                format!("the environment variable PORT is \"{port}\", which is not a port; {allowed}")
            };
            options.port =
                number(0, 65_535, "")(&port).map_err(|allowed| Failure::configuration(wrong(allowed)))?;
        }
        options.membership.check()?;
        if let Some(file) = &options.report_file {
            let wrong = |error| format!("--report_file {}: cannot be written: {error}", file.display());
            writable(file).map_err(|error| Failure::configuration(wrong(error)))?;
        }
        Ok(options)
    }

    pub(crate) fn threads(&self) -> usize {
        // Half of the cores stay free for the kernel's share of the work. On two cores one thread is better than two
        // (docs/decisions/0011-threads-of-the-server.md).
        let cores =
            || std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2).min(64));
        self.threads.map_or_else(cores, |threads| threads as usize)
    }

    /// The format and file of the report, if one is written.
    pub(crate) fn report(&self) -> Option<(Format, Target)> {
        self.report_file.clone().map(|file| (self.report_format, Target::File(file)))
    }

    /// The time that a drain takes; zero for no drain.
    pub(crate) fn drain_time(&self) -> Duration {
        let default = if self.membership.is_on() { DRAIN_SECONDS } else { 0 };
        Duration::from_secs(self.drain_seconds.unwrap_or(default))
    }

    /// The path with a slash at both ends.
    pub(crate) fn base_path(&self) -> String {
        match self.path.trim_matches('/') {
            "" => "/".to_owned(),
            inner => format!("/{inner}/"),
        }
    }

    /// The settings, with the limits of the router's configuration.
    pub(crate) fn settings(&self, config: &Config) -> Settings {
        let path = self.base_path();
        let (limit, max_message) = (concurrent_limit(config), config.limits.max_message);
        Settings {
            key: self.key.clone(),
            socket_path: format!("{path}peerjs"),
            path,
            allow_discovery: self.allow_discovery,
            origins: self.cors.clone(),
            alive_timeout: Duration::from_millis(self.alive_timeout),
            proxies: Proxies { proxied: self.proxied, listed: self.trusted_proxy.clone() },
            socket_timeout: Duration::from_millis(self.socket_timeout),
            max_connections: self.max_connections.unwrap_or(2 * limit + 1000),
            max_per_address: self.max_per_address as u32,
            max_message,
            max_frame: (2 * max_message).max(2 << 20) as usize,
        }
    }

    /// The monitor's HTTP door, without its listener and what it asks the server.
    pub(crate) fn door(&self, certificate: Option<&Certificate>) -> http::Options {
        let mut door = http::Options::new(self.monitor.0.clone().unwrap_or_default())
            .patience(Duration::from_millis(self.socket_timeout));
        for name in &self.monitor_host {
            door = door.name(name);
        }
        if let Some(token) = &self.monitor_token {
            door = door.token(token);
        }
        match certificate.filter(|_| self.monitor_tls) {
            Some(certificate) => door.tls(certificate.clone()),
            None => door,
        }
    }

    pub(crate) fn monitor_scheme(&self) -> &'static str {
        if self.monitor_tls { "https" } else { "http" }
    }

    /// The router's configuration: the defaults of this server, then the file, then the command line.
    ///
    /// # Errors
    /// [`Failure`] with the key, the value and the allowed values, and with the line if it is in the file.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        let file = self.config.as_deref().map(ConfigFile::read).transpose()?;
        let apply = |mut config: Config| -> Result<Config, Failure> {
            if let Some(file) = &file {
                file.apply(&mut config)?;
            }
            self.override_with_options(&mut config);
            for (key, value) in &self.router_settings {
                config.set(key, value).map_err(Failure::configuration)?;
            }
            Ok(config)
        };
        // The default sizes depend on the largest message and on the number of clients, wherever these are set.
        let limits = apply(self.defaults())?;
        let mut config = apply(sized_for(self.defaults(), &limits))?;
        // The gateway to the other machines is one more port.
        config.router.max_ports += u32::from(self.membership.is_on());
        config.validate().map_err(Failure::configuration)?;
        Ok(config)
    }

    /// This server's own defaults, without the sizes that depend on limits.
    fn defaults(&self) -> Config {
        let threads = self.threads() as u32;
        let mut config = Config::default();
        config.router.workers = Some(threads);
        config.router.local_workers = threads;
        config.router.max_ports = threads;
        config.monitor.connection_limit = Some(5_000);
        config.limits.max_message = 1 << 20;
        config.holds.time = Duration::from_secs(5);
        config
    }

    /// Sets what is given on the command line.
    fn override_with_options(&self, config: &mut Config) {
        let threads = self.threads() as u32;
        if self.threads.is_some() {
            config.router.max_ports = threads;
        }
        if self.threads.is_some() || self.workers.is_some() {
            let workers = self.workers.unwrap_or(0) as u32;
            config.router.workers = Some(if workers == 0 { threads } else { workers });
            config.router.local_workers = if workers == 0 { threads } else { 0 };
        }
        if let Some(limit) = self.concurrent_limit {
            config.monitor.connection_limit = Some(limit as u32);
            config.limits.max_clients = slots_for(limit);
        }
        if let Some(bytes) = self.max_message {
            config.limits.max_message = bytes;
        }
        if let Some(milliseconds) = self.expire_timeout {
            config.holds.time = Duration::from_millis(milliseconds);
        }
    }

    /// Loads the TLS files, if they are given.
    ///
    /// # Errors
    /// [`Failure`] if a file cannot be used.
    pub(crate) fn tls(&self) -> Result<Option<Certificate>, Failure> {
        let (Some(key), Some(chain)) = (&self.sslkey, &self.sslcert) else { return Ok(None) };
        let refuse = |error| match error {
            ServeError::Tls { is_key, file, problem } => {
                let option = if is_key { "sslkey" } else { "sslcert" };
                Failure::configuration(format_args!("--{option} {}: {problem}", file.display()))
            }
            other => Failure::system("cannot set up TLS", other),
        };
        Certificate::load(key, chain).map(Some).map_err(refuse)
    }
}

/// The largest number of clients that this server connects.
pub(crate) fn concurrent_limit(config: &Config) -> u64 {
    config.monitor.connection_limit.unwrap_or(config.limits.max_clients).into()
}

/// Slots for this number of connected clients. A client that has disconnected, or lost its id, keeps its slot for a
/// while.
fn slots_for(clients: u64) -> u32 {
    (2 * clients).clamp(64, 1_000_000) as u32
}

/// Sizes with which a router works that has these limits.
fn sized_for(mut config: Config, limits: &Config) -> Config {
    // A relayed message also has its sender's name and a record's header.
    let record = limits.limits.max_message.saturating_add(1024);
    // Messages larger than most offers become out-of-line payloads, so that the rings stay small.
    let four_records = (4 * record.min(LARGEST_IN_RING)).next_power_of_two();
    let (router, several) = (&mut config.router, record.saturating_mul(4));
    router.ring_bytes = router.ring_bytes.max(four_records);
    router.backlog_bytes = router.backlog_bytes.max(four_records);
    // Several of the largest messages may be in flight to one client, or held for it.
    config.credit.bytes = config.credit.bytes.max(several);
    config.holds.bytes = config.holds.bytes.max(several);
    config.limits.payload_bytes = config.limits.payload_bytes.max(record.saturating_mul(32));
    if let Some(limit) = limits.monitor.connection_limit {
        config.limits.max_clients = slots_for(limit.into());
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use corelane::clients::CreditPolicy;

    #[test]
    fn every_allowed_size_of_a_message_fits_the_rings() {
        for size in ["1024", "65536", "100000", "8388608"] {
            let options = Options::parse_from(["server", "--max_message", size]);
            options.config().unwrap();
            Options::parse_from(["server", "--set", &format!("max_message={size}")]).config().unwrap();
        }
    }

    #[test]
    fn paths_have_a_slash_on_both_ends() {
        for (given, path) in [("/", "/"), ("", "/"), ("/my/app", "/my/app/"), ("my/app/", "/my/app/")] {
            let settings = Options::parse_from(["server", "--path", given]).settings(&Config::default());
            assert_eq!((settings.path.as_str(), settings.socket_path), (path, format!("{path}peerjs")));
        }
    }

    #[test]
    fn both_spellings_and_nothing_out_of_range() {
        assert_eq!(Options::parse_from(["server", "--expire-timeout", "7"]).expire_timeout, Some(7));
        for bad in [
            ["--port", "65536"],
            ["--port", "-1"],
            ["--set", "workers=65"],
            ["--monitor", "9090"],
            ["--report_format", "xml"],
        ] {
            let error = Options::try_parse_from(["server", bad[0], bad[1]]).unwrap_err().to_string();
            assert!(error.contains(bad[0]) && error.contains(bad[1]) && error.contains("allowed"), "{error}");
        }
    }

    #[test]
    fn the_command_line_comes_before_the_file_and_the_file_before_the_defaults() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/corelane.toml");
        let by_file = Options::parse_from(["server", "--config", file]).config().unwrap();
        assert_eq!(by_file.limits.max_message, 256 << 10);
        assert_eq!(by_file.holds.time, Duration::from_secs(10));
        // The sizes follow the limits of the file.
        assert_eq!(by_file.limits.payload_bytes, Config::default().limits.payload_bytes);
        let options = ["server", "--config", file, "--max_message", "2048", "--set", "hold_ms=7"];
        let by_line = Options::parse_from(options).config().unwrap();
        assert_eq!((by_line.limits.max_message, by_line.holds.time), (2048, Duration::from_millis(7)));
        assert_eq!(by_line.credit.policy, CreditPolicy::Refuse);
        let none = Options::parse_from(["server"]).config().unwrap();
        assert_eq!((none.limits.max_message, none.limits.max_clients), (1 << 20, 10_000));
        assert_eq!(none.limits.payload_bytes, 32 * ((1 << 20) + 1024));
    }
}
