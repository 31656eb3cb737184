//! The errors of building, draining and stopping a router, of its protocols, and of its tasks.

use super::{ConfigError, SystemError};
use std::fmt::{Display, Formatter, Result};

/// A protocol's description that is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesError {
    /// The protocol's name; empty if it has none.
    pub protocol: String,
    /// Which part is wrong, and what to change.
    pub problem: String,
}

impl Display for RulesError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        if self.protocol.is_empty() {
            return write!(formatter, "the protocol's description: {}", self.problem);
        }
        write!(formatter, "the protocol {:?}: {}", self.protocol, self.problem)
    }
}

impl std::error::Error for RulesError {}

/// Why a router cannot be built or started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// Values of the configuration do not fit together, or their budget is above `memory_limit_bytes`.
    Config(ConfigError),
    /// A protocol can never work.
    Rules(RulesError),
    /// A handler was registered for a protocol that is not configured. Carries the protocol's name.
    UnknownProtocol(String),
    /// A handler does not match what the protocol lists.
    Handler {
        /// The protocol's name.
        protocol: String,
        /// The message type.
        message_type: String,
        /// What is wrong, and what to change.
        problem: &'static str,
    },
    /// The system has no memory or thread left.
    System(SystemError),
}

impl Display for BuildError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::Config(error) => error.fmt(formatter),
            Self::Rules(error) => error.fmt(formatter),
            Self::UnknownProtocol(name) => write!(
                formatter,
                "a handler is registered for the protocol {name:?}, which is not configured: add it with \
                 Builder::protocol"
            ),
            Self::Handler { protocol, message_type, problem } => {
                write!(formatter, "the handler for {protocol:?} {message_type:?}: {problem}")
            }
            Self::System(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Rules(error) => Some(error),
            Self::System(error) => Some(error),
            Self::UnknownProtocol(_) | Self::Handler { .. } => None,
        }
    }
}

impl From<ConfigError> for BuildError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<RulesError> for BuildError {
    fn from(error: RulesError) -> Self {
        Self::Rules(error)
    }
}

impl From<std::io::Error> for BuildError {
    fn from(error: std::io::Error) -> Self {
        Self::System(error.into())
    }
}

const OWN_THREAD: &str = "the call would wait for its own thread, which drives a local worker: call \
                          Router::request_stop and continue the loop, or make the call on another thread";

/// Why a drain has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DrainError {
    /// The time-out ended first. The router keeps draining.
    TimedOut,
    /// The thread drives a local worker, so the call would wait for itself. Nothing has changed.
    OwnThread,
}

impl Display for DrainError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str(match self {
            Self::TimedOut => {
                "the time-out ended before all messages had ended: keep polling and drain again, or stop"
            }
            Self::OwnThread => OWN_THREAD,
        })
    }
}

impl std::error::Error for DrainError {}

/// Why a stop has not ended, or what it has left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopError {
    /// A worker still runs after the time-out.
    TimedOut,
    /// The router has stopped, except for this many workers: each was inside a handler that did not return in time.
    /// Their threads and memory are left behind.
    Stuck(u32),
    /// The thread drives a local worker, so the call would wait for itself. Nothing has changed.
    OwnThread,
}

impl Display for StopError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::TimedOut => formatter.write_str("a worker still runs after the time-out: call it again"),
            Self::Stuck(workers) => write!(
                formatter,
                "{workers} workers are left behind in handlers that did not return: make the handlers return, or \
                 raise stop_timeout_ms"
            ),
            Self::OwnThread => formatter.write_str(OWN_THREAD),
        }
    }
}

impl std::error::Error for StopError {}

/// The task is not one that this worker's host holds: it is unknown or already done, or a stop gave its worker up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleTask;

impl Display for StaleTask {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str(
            "this worker's host does not hold the task: it is unknown or already done: finish each task once, with \
             the worker that handed it out",
        )
    }
}

impl std::error::Error for StaleTask {}
