//! The status code of each error. Codes are never reused for another meaning.

use super::guard::Failure;
use super::status::CorelaneStatus;
#[cfg(feature = "nats")]
use crate::cluster::{ClaimError, StartError};
#[cfg(all(feature = "elasticsearch", feature = "otlp"))]
use crate::error::ExportError;
use crate::error::{
    BuildError, ClientError, Closed, ConfigError, ConfigProblem, ConnectError, CycleError, DrainError,
    JoinError, LeaveError, ListenError, MetricError, NoLocalWorker, PortError, RecordConnectError,
    RouteError, RuleError, RulesError, ServeError, StaleClient, StaleRoom, StaleTask, StopError, SubmitError,
    SystemError, TrySubmitError,
};
use crate::ring::Corrupt;
use std::fmt::Display;

/// An error that has a status code.
pub(super) trait Coded: Display {
    fn code(&self) -> CorelaneStatus;

    /// The operating system's error number, or 0.
    fn os_errno(&self) -> i32 {
        0
    }
}

impl<E: Coded> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error.code(), error.to_string()).of_system(error.os_errno())
    }
}

impl From<Corrupt> for Failure {
    fn from(Corrupt: Corrupt) -> Self {
        SubmitError::Corrupt.into()
    }
}

impl Coded for SubmitError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::RingFull => CorelaneStatus::Full,
            Self::TooLarge => CorelaneStatus::TooLarge,
            Self::StaleClient => CorelaneStatus::Stale,
            Self::WrongPort => CorelaneStatus::Invalid,
            Self::Closed | Self::Draining => CorelaneStatus::Closed,
            Self::Corrupt => CorelaneStatus::Corrupt,
            Self::InFlightLimit => CorelaneStatus::InFlight,
            Self::RateLimited => CorelaneStatus::RateLimited,
            Self::ConcurrencyLimit => CorelaneStatus::Concurrency,
            Self::PayloadsFull => CorelaneStatus::Payloads,
            Self::TooManyCalls => CorelaneStatus::Limit,
        }
    }
}

impl Coded for TrySubmitError {
    fn code(&self) -> CorelaneStatus {
        let (Self::Full(reason) | Self::Refused(reason)) = self;
        reason.code()
    }
}

impl Coded for ConnectError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::NameTaken(_) => CorelaneStatus::Exists,
            Self::NameLength(_) => CorelaneStatus::Invalid,
            Self::TooManyClients(_) => CorelaneStatus::Limit,
            Self::UnknownProtocol(_) => CorelaneStatus::NotFound,
            Self::MayBlock(_) => CorelaneStatus::ConfigValue,
            Self::Draining | Self::Closed => CorelaneStatus::Closed,
        }
    }
}

impl Coded for ClientError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::StaleClient => CorelaneStatus::Stale,
            Self::WrongPort => CorelaneStatus::Invalid,
        }
    }
}

impl Coded for JoinError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::StaleClient => CorelaneStatus::Stale,
            Self::WrongPort | Self::NameLength(_) => CorelaneStatus::Invalid,
            Self::TooManyRooms(_) | Self::RoomFull(_) | Self::TooManyClientRooms(_) | Self::ListsInUse => {
                CorelaneStatus::Limit
            }
        }
    }
}

impl Coded for LeaveError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::StaleClient | Self::StaleRoom => CorelaneStatus::Stale,
            Self::WrongPort => CorelaneStatus::Invalid,
            Self::NotAMember => CorelaneStatus::NotFound,
            Self::ListsInUse => CorelaneStatus::Limit,
        }
    }
}

impl Coded for CycleError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::NoLocalWorker => CorelaneStatus::State,
            Self::Closed => CorelaneStatus::Closed,
        }
    }
}

impl Coded for DrainError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::TimedOut => CorelaneStatus::Timeout,
            Self::OwnThread => CorelaneStatus::Thread,
        }
    }
}

impl Coded for StopError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::TimedOut | Self::Stuck(_) => CorelaneStatus::Timeout,
            Self::OwnThread => CorelaneStatus::Thread,
        }
    }
}

impl Coded for RecordConnectError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::NameTaken(_) => CorelaneStatus::Exists,
            Self::NameLength(_) => CorelaneStatus::Invalid,
            Self::TooManyClients(_) => CorelaneStatus::Limit,
        }
    }
}

impl Coded for RuleError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::Invalid { .. } => CorelaneStatus::Invalid,
            Self::Exists(_) => CorelaneStatus::Exists,
            Self::Unknown(_) => CorelaneStatus::NotFound,
            Self::TooMany(_) => CorelaneStatus::Limit,
        }
    }
}

impl Coded for MetricError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::Invalid { .. } | Self::Labels { .. } => CorelaneStatus::Invalid,
            Self::TooMany(_) => CorelaneStatus::Limit,
        }
    }
}

impl Coded for PortError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::TooManyPorts(_) | Self::TooManyLocalPorts(_) => CorelaneStatus::Limit,
            Self::EveryWorkerIsLocal | Self::OnlyBaseRoute | Self::Stopped => CorelaneStatus::State,
            Self::OwnThread => CorelaneStatus::Thread,
            Self::System(error) => error.code(),
        }
    }

    fn os_errno(&self) -> i32 {
        if let Self::System(error) = self { error.os_errno() } else { 0 }
    }
}

impl Coded for BuildError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::UnknownProtocol(_) => CorelaneStatus::NotFound,
            Self::Handler { .. } => CorelaneStatus::ConfigValue,
            Self::Config(error) => error.code(),
            Self::Rules(error) => error.code(),
            Self::System(error) => error.code(),
        }
    }

    fn os_errno(&self) -> i32 {
        if let Self::System(error) = self { error.os_errno() } else { 0 }
    }
}

impl Coded for ListenError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::TooMany(_) => CorelaneStatus::Limit,
            Self::System(error) => error.code(),
        }
    }

    fn os_errno(&self) -> i32 {
        if let Self::System(error) = self { error.os_errno() } else { 0 }
    }
}

#[cfg(all(feature = "elasticsearch", feature = "otlp"))]
impl Coded for ExportError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::Invalid { .. } => CorelaneStatus::Invalid,
            Self::Listen(error) => error.code(),
        }
    }

    fn os_errno(&self) -> i32 {
        if let Self::Listen(error) = self { error.os_errno() } else { 0 }
    }
}

#[cfg(feature = "nats")]
impl Coded for StartError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::Options(_) => CorelaneStatus::Invalid,
            Self::Port(error) => error.code(),
            Self::System(_) => CorelaneStatus::System,
        }
    }

    fn os_errno(&self) -> i32 {
        match self {
            Self::Options(_) => 0,
            Self::Port(error) => error.os_errno(),
            Self::System(error) => error.raw_os_error().unwrap_or(0),
        }
    }
}

#[cfg(feature = "nats")]
impl Coded for ClaimError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::Taken => CorelaneStatus::Exists,
            Self::Unavailable => CorelaneStatus::Unavailable,
            Self::Fenced => CorelaneStatus::Fenced,
            Self::Busy => CorelaneStatus::Busy,
            Self::Name => CorelaneStatus::Invalid,
            Self::Draining | Self::Stopped => CorelaneStatus::Closed,
        }
    }
}

impl Coded for RouteError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::TimedOut => CorelaneStatus::Timeout,
            Self::TimedOutStarted => CorelaneStatus::TimeoutStarted,
            Self::OwnThread => CorelaneStatus::Thread,
            Self::Refused(reason) => reason.code(),
        }
    }
}

impl Coded for Closed {
    fn code(&self) -> CorelaneStatus {
        CorelaneStatus::Closed
    }
}

impl Coded for NoLocalWorker {
    fn code(&self) -> CorelaneStatus {
        CorelaneStatus::State
    }
}

impl Coded for StaleClient {
    fn code(&self) -> CorelaneStatus {
        CorelaneStatus::Stale
    }
}

impl Coded for StaleRoom {
    fn code(&self) -> CorelaneStatus {
        CorelaneStatus::Stale
    }
}

impl Coded for StaleTask {
    fn code(&self) -> CorelaneStatus {
        CorelaneStatus::Stale
    }
}

impl Coded for RulesError {
    fn code(&self) -> CorelaneStatus {
        CorelaneStatus::ConfigValue
    }
}

impl Coded for ConfigError {
    fn code(&self) -> CorelaneStatus {
        match self.problem {
            ConfigProblem::UnknownKey => CorelaneStatus::ConfigKey,
            _ => CorelaneStatus::ConfigValue,
        }
    }
}

impl Coded for ServeError {
    fn code(&self) -> CorelaneStatus {
        match self {
            Self::Option { .. } | Self::Tls { .. } => CorelaneStatus::Invalid,
            Self::Address { .. } | Self::System(_) => CorelaneStatus::System,
        }
    }

    fn os_errno(&self) -> i32 {
        if let Self::Address { error, .. } | Self::System(error) = self { error.errno() } else { 0 }
    }
}

impl Coded for SystemError {
    fn code(&self) -> CorelaneStatus {
        CorelaneStatus::System
    }

    fn os_errno(&self) -> i32 {
        self.errno()
    }
}
