//! What the host sets.

use crate::error::ExportError;
use crate::outgoing;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How the exporter proves who it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Not at all.
    #[default]
    None,
    /// HTTP basic authentication.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// An API key of Elasticsearch, in the encoded form that its API returns.
    ApiKey(String),
}

/// Never prints a secret.
impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("None"),
            Self::Basic { user, .. } => write!(formatter, "Basic {{ user: {user:?}, password: … }}"),
            Self::ApiKey(_) => formatter.write_str("ApiKey(…)"),
        }
    }
}

/// Options of an [`Exporter`](super::Exporter).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The server, such as `https://search.example.org:9200`. A path in it is kept, for servers behind a proxy.
    pub url: String,
    /// How the exporter proves who it is.
    pub credentials: Credentials,
    /// A file of PEM certificates: only servers that these certificates vouch for are trusted. None: the certificates
    /// of Mozilla's list, which the library contains.
    pub certificates: Option<PathBuf>,
    /// The last part of the data streams' names, 1 to 64 characters of `a-z 0-9 _ .`, such as `production`.
    pub namespace: String,
    /// The value of `service.name` in each document. Empty: the name of the program.
    pub service: String,
    /// Time between two documents of figures: from 1 second to 1 hour.
    pub interval: Duration,
    /// Whether each connect and disconnect becomes a document.
    pub connections: bool,
    /// Whether the exporter installs its index templates at the start. Otherwise install the files of
    /// `src/elasticsearch/templates` yourself: the credentials then need no rights but to create documents.
    pub install_templates: bool,
    /// Bytes of documents that may wait: from 64 KiB to 1 GiB.
    pub queue_bytes: usize,
    /// Limit of one request, from the connection to the end of the answer: from 1 second to 5 minutes.
    pub request_timeout: Duration,
}

impl Options {
    /// The defaults for a server: no credentials, namespace `default`, every 10 seconds, connections too, 8 MiB of
    /// documents, 10 seconds for a request.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            credentials: Credentials::None,
            certificates: None,
            namespace: "default".to_owned(),
            service: String::new(),
            interval: Duration::from_secs(10),
            connections: true,
            install_templates: true,
            queue_bytes: 8 << 20,
            request_timeout: Duration::from_secs(10),
        }
    }

    /// Checks the options, and reads the file of certificates. [`Exporter::start`](super::Exporter::start) does so too.
    ///
    /// # Errors
    /// [`ExportError::Invalid`] with the option and what it must be.
    pub fn check(&self) -> Result<(), ExportError> {
        self.agent().map(drop)
    }

    /// A client for these options, if they are valid.
    pub(super) fn agent(&self) -> Result<ureq::Agent, ExportError> {
        self.check_values()?;
        outgoing::agent(self.certificates.as_deref(), self.request_timeout)
    }

    fn check_values(&self) -> Result<(), ExportError> {
        let refuse = |option, must| Err(ExportError::Invalid { option, must });
        outgoing::check(&self.url, self.interval, self.request_timeout)?;
        let is_namespace =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.".contains(&byte);
        if !(1..=64).contains(&self.namespace.len()) || !self.namespace.bytes().all(is_namespace) {
            return refuse("namespace", "have 1 to 64 characters of a-z, 0-9, _ and .");
        }
        if !(64 << 10..=1 << 30).contains(&self.queue_bytes) {
            return refuse("queue_bytes", "be from 64 KiB to 1 GiB");
        }
        let is_header = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        match &self.credentials {
            Credentials::ApiKey(key) if key.is_empty() || !is_header(key) => {
                refuse("credentials", "have an API key in its encoded form, without spaces")
            }
            Credentials::Basic { user, .. } if user.contains(':') => {
                refuse("credentials", "have a user without a colon")
            }
            _ => Ok(()),
        }
    }
}
