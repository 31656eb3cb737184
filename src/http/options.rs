//! What the host sets before it opens a door.

use super::tls::Certificate;
use crate::error::ServeError;
use crate::sync::Arc;
use std::fmt;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::time::Duration;

/// The address of a door, unless the host chooses another.
const ADDRESS: &str = "127.0.0.1:9090";
/// Allowed lengths of a token.
const TOKEN: std::ops::RangeInclusive<usize> = 16..=256;

type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;
type Page = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// What a [`Door`](super::Door) serves, where, and to whom.
#[derive(Clone)]
pub struct Options {
    address: String,
    listener: Option<Arc<TcpListener>>,
    pub(super) names: Vec<String>,
    pub(super) token: Option<Arc<str>>,
    pub(super) certificate: Option<Certificate>,
    pub(super) ready: Option<Ready>,
    pub(super) pages: Vec<(String, Page)>,
    pub(super) process: bool,
    pub(super) connections: usize,
    pub(super) streams: usize,
    pub(super) patience: Duration,
}

impl fmt::Debug for Options {
    /// Does not show the token.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pages: Vec<_> = self.pages.iter().map(|(path, _)| path).collect();
        formatter
            .debug_struct("Options")
            .field("address", &self.address)
            .field("names", &self.names)
            .field("token", &self.token.is_some())
            .field("certificate", &self.certificate)
            .field("pages", &pages)
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new(ADDRESS)
    }
}

impl Options {
    /// A door on this address: `HOST:PORT`. Port 0 takes a free one. The default is `127.0.0.1:9090`.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            listener: None,
            names: Vec::new(),
            token: None,
            certificate: None,
            ready: None,
            pages: Vec::new(),
            process: true,
            connections: 128,
            streams: 16,
            patience: Duration::from_secs(10),
        }
    }

    /// Uses a socket that already listens, instead of the address.
    #[must_use]
    pub fn listener(mut self, listener: TcpListener) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// Accepts this name in a request's Host header. IP addresses, `localhost` and the host of the address are always
    /// accepted. This prevents DNS rebinding: a page whose name resolves to this machine could otherwise read what only
    /// this machine may read.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// Requires this token: 16 to 256 visible ASCII characters. Without a token, settings cannot be changed.
    #[must_use]
    pub fn token(mut self, token: impl AsRef<str>) -> Self {
        self.token = Some(token.as_ref().into());
        self
    }

    /// Serves HTTPS instead of HTTP. The files are read again when they change.
    #[must_use]
    pub fn tls(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// What `/readyz` asks: `Err` says why the server is not ready. Called on the door's thread, for each request. Must
    /// not block. Without it, `/readyz` always says that the server is ready.
    #[must_use]
    pub fn ready(mut self, ready: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.ready = Some(Arc::new(ready));
        self
    }

    /// Serves JSON of the host's own at a path that begins with `/api/`. `page` gets the query, which
    /// [`parameters`](super::parameters) reads. Its error is the text of a 400 answer. Called on the door's thread, which serves nobody meanwhile.
    #[must_use]
    pub fn page(
        mut self,
        path: impl Into<String>,
        page: impl Fn(&str) -> Result<String, String> + Send + Sync + 'static,
    ) -> Self {
        self.pages.push((path.into(), Arc::new(page)));
        self
    }

    /// Whether `/metrics` has the `process_` families. On, unless the host switches it off because its own metrics
    /// library has them: a family must not appear twice.
    #[must_use]
    pub fn process_metrics(mut self, on: bool) -> Self {
        self.process = on;
        self
    }

    /// The most connections at once, and the most of them that may be streams of events. Default: 128 and 16. At the
    /// limit, the connection that has waited longest for its request is closed for a new one.
    #[must_use]
    pub fn limits(mut self, connections: usize, streams: usize) -> Self {
        (self.connections, self.streams) = (connections, streams);
        self
    }

    /// The time limit for a TLS handshake, for a request, for reading an answer, and between two requests. Default: 10
    /// seconds.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Checks the options, and listens.
    pub(super) fn listen(&mut self) -> Result<(TcpListener, SocketAddr), ServeError> {
        let refuse = |option, problem: String| Err(ServeError::Option { option, problem });
        if let Some(token) = &self.token {
            if !TOKEN.contains(&token.len()) {
                let length = token.len();
                return refuse("token", format!("it has {length} characters; allowed: 16 to 256"));
            }
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                let problem = "it has a space, or a character that is not ASCII; allowed: visible ASCII";
                return refuse("token", problem.to_owned());
            }
        }
        for (path, _) in &self.pages {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-.".contains(&byte);
            if !path.starts_with("/api/") || !path.bytes().all(is_plain) {
                let problem = format!("{path:?} is not a path; allowed: /api/ and letters, digits, / _ - .");
                return refuse("page", problem);
            }
            if super::pages::is_taken(path) || self.pages.iter().filter(|(one, _)| one == path).count() > 1 {
                return refuse("page", format!("{path} is taken; choose another path"));
            }
        }
        if self.connections == 0 || self.streams >= self.connections {
            let (connections, streams) = (self.connections, self.streams);
            let problem = format!(
                "{streams} streams of {connections} connections; allowed: fewer streams than connections"
            );
            return refuse("limits", problem);
        }
        let host = self.address.rsplit_once(':').map(|(host, _)| host.to_owned());
        self.names.extend(["localhost".to_owned()].into_iter().chain(host));
        self.names.iter_mut().for_each(|name| *name = name.to_ascii_lowercase());
        let opened = match self.listener.take() {
            Some(listener) => listener.try_clone(),
            None => self.bind(),
        };
        let ready = opened.and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        });
        ready.map_err(|error| ServeError::Address { address: self.address.clone(), error: error.into() })
    }

    fn bind(&self) -> std::io::Result<TcpListener> {
        // If the name has IPv4 and IPv6 addresses, prefer IPv4, so that 127.0.0.1 reaches the door.
        let mut found: Vec<_> = self.address.to_socket_addrs()?.collect();
        found.sort_by_key(SocketAddr::is_ipv6);
        TcpListener::bind(&found[..])
    }
}
