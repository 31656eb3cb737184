//! The status code of each error. Codes are never reused for another meaning.

use super::status::{
    CORELANE_CLOSED, CORELANE_CONFIG_KEY, CORELANE_CONFIG_VALUE, CORELANE_CORRUPT, CORELANE_EXISTS,
    CORELANE_FULL, CORELANE_INVALID, CORELANE_LIMIT, CORELANE_NOT_FOUND, CORELANE_STALE, CORELANE_STATE,
    CORELANE_SYS, CORELANE_THREAD, CORELANE_TIMEOUT, CORELANE_TOO_LARGE, Failure,
};
use crate::error::{
    BuildError, ClientError, Closed, ConfigError, ConfigProblem, ConnectError, CycleError, DrainError,
    JoinError, LeaveError, ListenError, MetricError, NoLocalWorker, PortError, RecordConnectError,
    RouteError, RuleError, RulesError, StaleClient, StaleTask, StopError, SubmitError, SystemError,
};
use crate::ring::Corrupt;
use std::fmt::Display;

/// A routed message that a worker still handles. Kept for the C call that will route.
const TIMEOUT_STARTED: i32 = -31;

/// An error that has a status code.
pub(super) trait Coded: Display {
    fn code(&self) -> i32;

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
    fn code(&self) -> i32 {
        match self {
            Self::RingFull => CORELANE_FULL,
            Self::TooLarge => CORELANE_TOO_LARGE,
            Self::StaleClient => CORELANE_STALE,
            Self::WrongPort => CORELANE_INVALID,
            Self::Closed | Self::Draining => CORELANE_CLOSED,
            Self::Corrupt => CORELANE_CORRUPT,
            Self::InFlightLimit
            | Self::RateLimited
            | Self::ConcurrencyLimit
            | Self::PayloadsFull
            | Self::TooManyCalls => CORELANE_LIMIT,
        }
    }
}

impl Coded for ConnectError {
    fn code(&self) -> i32 {
        match self {
            Self::NameTaken(_) => CORELANE_EXISTS,
            Self::NameLength(_) => CORELANE_INVALID,
            Self::TooManyClients(_) => CORELANE_LIMIT,
            Self::UnknownProtocol(_) => CORELANE_NOT_FOUND,
            Self::MayBlock(_) => CORELANE_CONFIG_VALUE,
            Self::Draining | Self::Closed => CORELANE_CLOSED,
        }
    }
}

impl Coded for ClientError {
    fn code(&self) -> i32 {
        match self {
            Self::StaleClient => CORELANE_STALE,
            Self::WrongPort => CORELANE_INVALID,
        }
    }
}

impl Coded for JoinError {
    fn code(&self) -> i32 {
        match self {
            Self::StaleClient => CORELANE_STALE,
            Self::WrongPort | Self::NameLength(_) => CORELANE_INVALID,
            Self::TooManyRooms(_) | Self::RoomFull(_) | Self::TooManyClientRooms(_) | Self::ListsInUse => {
                CORELANE_LIMIT
            }
        }
    }
}

impl Coded for LeaveError {
    fn code(&self) -> i32 {
        match self {
            Self::StaleClient | Self::StaleRoom => CORELANE_STALE,
            Self::WrongPort => CORELANE_INVALID,
            Self::NotAMember => CORELANE_NOT_FOUND,
            Self::ListsInUse => CORELANE_LIMIT,
        }
    }
}

impl Coded for CycleError {
    fn code(&self) -> i32 {
        match self {
            Self::NoLocalWorker => CORELANE_STATE,
            Self::Closed => CORELANE_CLOSED,
        }
    }
}

impl Coded for DrainError {
    fn code(&self) -> i32 {
        match self {
            Self::TimedOut => CORELANE_TIMEOUT,
            Self::OwnThread => CORELANE_THREAD,
        }
    }
}

impl Coded for StopError {
    fn code(&self) -> i32 {
        match self {
            Self::TimedOut | Self::Stuck(_) => CORELANE_TIMEOUT,
            Self::OwnThread => CORELANE_THREAD,
        }
    }
}

impl Coded for RecordConnectError {
    fn code(&self) -> i32 {
        match self {
            Self::NameTaken(_) => CORELANE_EXISTS,
            Self::NameLength(_) => CORELANE_INVALID,
            Self::TooManyClients(_) => CORELANE_LIMIT,
        }
    }
}

impl Coded for RuleError {
    fn code(&self) -> i32 {
        match self {
            Self::Invalid { .. } => CORELANE_INVALID,
            Self::Exists(_) => CORELANE_EXISTS,
            Self::Unknown(_) => CORELANE_NOT_FOUND,
            Self::TooMany(_) => CORELANE_LIMIT,
        }
    }
}

impl Coded for MetricError {
    fn code(&self) -> i32 {
        match self {
            Self::Invalid { .. } | Self::Labels { .. } => CORELANE_INVALID,
            Self::TooMany(_) => CORELANE_LIMIT,
        }
    }
}

impl Coded for PortError {
    fn code(&self) -> i32 {
        match self {
            Self::TooManyPorts(_) | Self::TooManyLocalPorts(_) => CORELANE_LIMIT,
            Self::EveryWorkerIsLocal | Self::Stopped => CORELANE_STATE,
            Self::OwnThread => CORELANE_THREAD,
            Self::System(error) => error.code(),
        }
    }

    fn os_errno(&self) -> i32 {
        if let Self::System(error) = self { error.os_errno() } else { 0 }
    }
}

impl Coded for BuildError {
    fn code(&self) -> i32 {
        match self {
            Self::UnknownProtocol(_) => CORELANE_NOT_FOUND,
            Self::Handler { .. } => CORELANE_CONFIG_VALUE,
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
    fn code(&self) -> i32 {
        match self {
            Self::TooMany(_) => CORELANE_LIMIT,
            Self::System(error) => error.code(),
        }
    }

    fn os_errno(&self) -> i32 {
        if let Self::System(error) = self { error.os_errno() } else { 0 }
    }
}

impl Coded for RouteError {
    fn code(&self) -> i32 {
        match self {
            Self::TimedOut => CORELANE_TIMEOUT,
            Self::TimedOutStarted => TIMEOUT_STARTED,
            Self::OwnThread => CORELANE_THREAD,
            Self::Refused(reason) => reason.code(),
        }
    }
}

impl Coded for Closed {
    fn code(&self) -> i32 {
        CORELANE_CLOSED
    }
}

impl Coded for NoLocalWorker {
    fn code(&self) -> i32 {
        CORELANE_STATE
    }
}

impl Coded for StaleClient {
    fn code(&self) -> i32 {
        CORELANE_STALE
    }
}

impl Coded for StaleTask {
    fn code(&self) -> i32 {
        CORELANE_STALE
    }
}

impl Coded for RulesError {
    fn code(&self) -> i32 {
        CORELANE_CONFIG_VALUE
    }
}

impl Coded for ConfigError {
    fn code(&self) -> i32 {
        match self.problem {
            ConfigProblem::UnknownKey => CORELANE_CONFIG_KEY,
            _ => CORELANE_CONFIG_VALUE,
        }
    }
}

impl Coded for SystemError {
    fn code(&self) -> i32 {
        CORELANE_SYS
    }

    fn os_errno(&self) -> i32 {
        self.errno()
    }
}
