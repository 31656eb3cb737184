//! The errors, one type for each operation, and the closed lists of reasons: why the port
//! refused a message, why a message failed, and why a delivery was not handed out. Each error says what is wrong and
//! what to change. [`Error`] is any of them, for a program that passes errors on with `?`.
//!
//! The C interface gives each error its code (`ffi/status.rs`).

mod config;
#[cfg(any(feature = "elasticsearch", feature = "otlp"))]
mod export;
mod monitor;
mod port;
mod reasons;
mod router;

pub use config::{ConfigError, ConfigProblem};
#[cfg(any(feature = "elasticsearch", feature = "otlp"))]
pub use export::ExportError;
pub use monitor::{ListenError, MetricError, RecordConnectError, RuleError, ServeError, WatchError};
pub use port::{
    ClientError, Closed, ConnectError, CycleError, JoinError, LeaveError, NoLocalWorker, PortError,
    RouteError, StaleClient, StaleRoom, TrySubmitError,
};
pub use reasons::{
    CloseReason, Failed, Loss, RoomRefused, SubmitError, TakenOver, Unacknowledged, Undeliverable,
};
pub use router::{BuildError, DrainError, RulesError, StaleTask, StopError};

use std::fmt;

/// A call of the operating system that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemError {
    text: String,
    errno: i32,
}

impl SystemError {
    pub(crate) fn new(error: &impl fmt::Display) -> Self {
        Self { text: error.to_string(), errno: 0 }
    }

    /// The error number of the operating system, or 0 if there is none.
    pub const fn errno(&self) -> i32 {
        self.errno
    }
}

impl From<std::io::Error> for SystemError {
    fn from(error: std::io::Error) -> Self {
        Self { errno: error.raw_os_error().unwrap_or(0), ..Self::new(&error) }
    }
}

impl fmt::Display for SystemError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "a system call failed: {}; check the process's limits of memory, threads and descriptors",
            self.text
        )
    }
}

impl std::error::Error for SystemError {}

/// Declares the union of all errors.
macro_rules! union {
    ($($(#[$doc:meta])* $variant:ident($error:ident),)+) => {
        /// Any error of corelane, so that a program can pass all of them on with `?`. No call returns this type: each
        /// returns its own error, whose variants are those that can happen there.
        ///
        /// ```
        /// use corelane::{config::Config, error::Error, router::Builder};
        ///
        /// fn main() -> Result<(), Error> {
        ///     let config: Config = "workers=1".parse()?;
        ///     let router = Builder::new(config).start()?;
        ///     let mut port = router.port()?;
        ///     let ann = port.connect("ann", "generic", "", 1)?;
        ///     port.submit(ann, br#"{"type":"offer","to":"ben"}"#, 0)?;
        ///     Ok(())
        /// }
        /// ```
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Error { $($(#[$doc])* $variant($error),)+ }

        impl fmt::Display for Error {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $(Self::$variant(error) => error.fmt(formatter),)+ }
            }
        }

        impl std::error::Error for Error {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                match self { $(Self::$variant(error) => Some(error),)+ }
            }
        }

        $(impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })+
    };
}

union! {
    /// Of building or starting a router.
    Build(BuildError),
    /// Of a call about a connected client.
    Client(ClientError),
    /// Of a poll.
    Closed(Closed),
    /// Of a setting.
    Config(ConfigError),
    /// Of connecting a client to a port.
    Connect(ConnectError),
    /// Of a cycle of a local worker.
    Cycle(CycleError),
    /// Of a drain.
    Drain(DrainError),
    /// Of joining a room.
    Join(JoinError),
    /// Of leaving a room.
    Leave(LeaveError),
    /// Of listening to alerts or reports.
    Listen(ListenError),
    /// Of declaring or using a metric of the host.
    Metric(MetricError),
    /// Of a call about a local worker.
    NoLocalWorker(NoLocalWorker),
    /// Of opening a port.
    Port(PortError),
    /// Of recording a connection.
    RecordConnect(RecordConnectError),
    /// Of routing a message and waiting for its result.
    Route(RouteError),
    /// Of an alert rule.
    Rule(RuleError),
    /// Of a protocol's description.
    Rules(RulesError),
    /// Of serving a monitor over HTTP.
    Serve(ServeError),
    /// Of a call about a recorded client.
    StaleClient(StaleClient),
    /// Of listing the members of a room.
    StaleRoom(StaleRoom),
    /// Of finishing a task.
    StaleTask(StaleTask),
    /// Of stopping a router.
    Stop(StopError),
    /// Of submitting or sending a message.
    Submit(SubmitError),
    /// Of the operating system.
    System(SystemError),
    /// Of submitting or sending a message that is kept while there is no room.
    TrySubmit(TrySubmitError),
    /// Of keeping the history of a figure.
    Watch(WatchError),
}
