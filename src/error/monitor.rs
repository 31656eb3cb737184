//! The errors of the monitor's calls.

use super::SystemError;
use super::port::name_length;
use crate::id::ClientId;
use std::fmt::{Display, Formatter, Result};

/// Why a connection of the host's own cannot be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordConnectError {
    /// A client of this name is connected. Carries that client's handle.
    NameTaken(ClientId),
    /// The name is empty or longer than 64 bytes. Carries its length in bytes.
    NameLength(usize),
    /// `max_recorded_clients` clients are connected. Carries the limit.
    TooManyClients(u32),
}

impl Display for RecordConnectError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::NameTaken(_) => {
                formatter.write_str("a client of this name is connected: disconnect that client first")
            }
            Self::NameLength(length) => name_length(formatter, *length),
            Self::TooManyClients(limit) => {
                write!(formatter, "{limit} recorded clients are connected: raise max_recorded_clients")
            }
        }
    }
}

impl std::error::Error for RecordConnectError {}

/// Why an alert rule cannot be added, changed or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuleError {
    /// The rule is not valid.
    Invalid {
        /// The rule's name, cut to the longest name allowed.
        rule: String,
        /// What is wrong, and what to change.
        problem: String,
    },
    /// A rule of this name exists.
    Exists(String),
    /// No rule of this name exists.
    Unknown(String),
    /// The limit of rules is reached. Carries the limit.
    TooMany(u32),
}

impl Display for RuleError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::Invalid { rule, problem } => write!(formatter, "the alert rule {rule:?}: {problem}"),
            Self::Exists(rule) => {
                write!(formatter, "an alert rule {rule:?} exists: remove it first, or choose another name")
            }
            Self::Unknown(rule) => write!(formatter, "no alert rule {rule:?} exists: add it first"),
            Self::TooMany(limit) => write!(formatter, "at most {limit} alert rules: remove one first"),
        }
    }
}

impl std::error::Error for RuleError {}

/// Why the history of a number of the report cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchError {
    /// The number's path.
    pub metric: String,
    /// What is wrong, and what to change.
    pub problem: String,
}

impl Display for WatchError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "the figure {:?}: {}", self.metric, self.problem)
    }
}

impl std::error::Error for WatchError {}

/// Why nobody can listen to alerts, or nothing can write the reports, in this way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenError {
    /// The limit of callbacks, or of polls, is reached. A removed callback counts until its running call has returned.
    /// Carries the limit.
    TooMany(u32),
    /// The thread or the descriptor cannot be created, or the file cannot be written.
    System(SystemError),
}

impl Display for ListenError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::TooMany(limit) => write!(
                formatter,
                "at most {limit} alert listeners: remove one, or fan out in your own callback"
            ),
            Self::System(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::System(error) = self { Some(error) } else { None }
    }
}

impl From<std::io::Error> for ListenError {
    fn from(error: std::io::Error) -> Self {
        Self::System(error.into())
    }
}

/// Why a metric of the host cannot be declared or used as given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricError {
    /// The metric cannot be declared as given.
    Invalid {
        /// The metric's name.
        name: String,
        /// What is wrong, and what to change.
        problem: &'static str,
    },
    /// The number of label values differs from the number of the metric's labels.
    Labels {
        /// The metric's name.
        name: String,
        /// The number of labels that the metric has.
        wanted: u32,
        /// The number of values that were given.
        given: u32,
    },
    /// `max_custom_series` series or 256 families are declared. Carries the first limit.
    TooMany(u32),
}

impl Display for MetricError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::Invalid { name, problem } => write!(formatter, "the metric {name:?}: {problem}"),
            Self::Labels { name, wanted, given } => write!(
                formatter,
                "the metric {name:?} has {wanted} labels, but {given} values were given: give one value per label"
            ),
            Self::TooMany(limit) => write!(
                formatter,
                "{limit} series or 256 families are declared: raise max_custom_series, or declare fewer"
            ),
        }
    }
}

impl std::error::Error for MetricError {}

/// Why a monitor cannot be served over HTTP as given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServeError {
    /// An option is not valid.
    Option {
        /// The option.
        option: &'static str,
        /// What is wrong, and what to change.
        problem: String,
    },
    /// The address cannot be listened on.
    Address {
        /// The address.
        address: String,
        /// Why not.
        error: SystemError,
    },
    /// Key or certificate cannot be used.
    Tls {
        /// Whether the problem is the key. Otherwise it is the certificate.
        is_key: bool,
        /// The file.
        file: std::path::PathBuf,
        /// What is wrong, and what to change.
        problem: String,
    },
    /// The thread or its event loop cannot be started.
    System(SystemError),
}

impl Display for ServeError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::Option { option, problem } => write!(formatter, "the option {option}: {problem}"),
            Self::Address { address, error } => write!(formatter, "cannot listen on {address}: {error}"),
            Self::Tls { is_key, file, problem } => {
                let what = if *is_key { "key" } else { "certificate" };
                write!(formatter, "the {what} {}: {problem}", file.display())
            }
            Self::System(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::System(error) | Self::Address { error, .. } = self { Some(error) } else { None }
    }
}

impl From<std::io::Error> for ServeError {
    fn from(error: std::io::Error) -> Self {
        Self::System(error.into())
    }
}
