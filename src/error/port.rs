//! The errors of opening a port and of its calls; `SubmitError` is in `reasons`.

use super::{SubmitError, SystemError};
use crate::id::{ClientId, MAX_NAME_BYTES};
use std::fmt::{Display, Formatter, Result};

/// Why a port cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortError {
    /// `max_ports` ports are open. Carries the limit.
    TooManyPorts(u32),
    /// Every local worker has a port. Carries `local_workers`. Only for
    /// [`Router::local_port`](crate::router::Router::local_port).
    TooManyLocalPorts(u32),
    /// Every worker is local, and the call was [`Router::port`](crate::router::Router::port).
    EveryWorkerIsLocal,
    /// `enable_concurrent_routing` is off: the base route handles every message, and a lane cannot call it.
    OnlyBaseRoute,
    /// The router is stopping or stopped.
    Stopped,
    /// The call was [`Router::local_port`](crate::router::Router::local_port) on a worker's thread.
    OwnThread,
    /// The system has no memory or descriptor left.
    System(SystemError),
}

impl Display for PortError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::TooManyPorts(limit) => {
                write!(formatter, "{limit} ports are open: raise max_ports, or share ports")
            }
            Self::TooManyLocalPorts(limit) => {
                write!(formatter, "{limit} local ports are open, one per local worker: raise local_workers")
            }
            Self::EveryWorkerIsLocal => formatter
                .write_str("every worker is local: open the port with Router::local_port, or raise workers"),
            Self::OnlyBaseRoute => formatter.write_str(
                "the base route handles all messages, and a lane cannot call it: set enable_concurrent_routing to on",
            ),
            Self::Stopped => formatter.write_str("the router is stopped: start another one to open a port"),
            Self::OwnThread => formatter
                .write_str("a worker's thread cannot drive a second worker: call it on another thread"),
            Self::System(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for PortError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::System(error) = self { Some(error) } else { None }
    }
}

impl From<std::io::Error> for PortError {
    fn from(error: std::io::Error) -> Self {
        Self::System(error.into())
    }
}

/// Why a client cannot be connected to a port.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// A client of this name is connected. Carries that client's handle.
    NameTaken(ClientId),
    /// The name is empty or longer than 64 bytes. Carries its length in bytes.
    NameLength(usize),
    /// `max_clients` clients are connected, or left so recently that their slots are still in use. Carries the limit.
    TooManyClients(u32),
    /// No protocol of this name is configured.
    UnknownProtocol(String),
    /// A type of this protocol has a handler that may block, and the router has only local workers. Carries the
    /// protocol's name.
    MayBlock(String),
    /// The router is draining.
    Draining,
    /// The router is stopping or stopped, or the port's local worker or poller has ended.
    Closed,
}

impl Display for ConnectError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::NameTaken(_) => {
                formatter.write_str("a client of this name is connected: disconnect that client first")
            }
            Self::NameLength(length) => name_length(formatter, *length),
            Self::TooManyClients(limit) => {
                write!(formatter, "{limit} clients are connected or leaving: raise max_clients")
            }
            Self::UnknownProtocol(name) => {
                write!(formatter, "no protocol named {name:?} is configured: configure it first")
            }
            Self::MayBlock(name) => write!(
                formatter,
                "a handler of protocol {name:?} may block, and every worker is local: register it with \
                 Builder::short_handler, or raise workers"
            ),
            Self::Draining => formatter.write_str("the router is draining: connect to another router"),
            Self::Closed => formatter.write_str("the router or the port is closed: connect to another one"),
        }
    }
}

impl std::error::Error for ConnectError {}

pub(super) fn name_length(formatter: &mut Formatter<'_>, length: usize) -> Result {
    write!(formatter, "the name has {length} bytes; allowed: 1 to {MAX_NAME_BYTES}")
}

/// The client is not connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleClient;

const STALE_CLIENT: &str = "the client is not connected: connect it first";

impl Display for StaleClient {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str(STALE_CLIENT)
    }
}

impl std::error::Error for StaleClient {}

/// The room does not exist: it never did, or its last member has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleRoom;

impl Display for StaleRoom {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str(
            "the room does not exist: its last member has left, or it never existed: join it first",
        )
    }
}

impl std::error::Error for StaleRoom {}

/// Why a call about a connected client has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// The client is not connected.
    StaleClient,
    /// The client belongs to another port.
    WrongPort,
}

impl Display for ClientError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str(match self {
            Self::StaleClient => STALE_CLIENT,
            Self::WrongPort => {
                "the client belongs to another port: make the call there, or disconnect it there, then connect it \
                 through this port"
            }
        })
    }
}

impl std::error::Error for ClientError {}

impl From<StaleClient> for ClientError {
    fn from(StaleClient: StaleClient) -> Self {
        Self::StaleClient
    }
}

/// Why a client cannot join a room. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// The client is not connected.
    StaleClient,
    /// The client belongs to another port.
    WrongPort,
    /// The room's name is empty or longer than 64 bytes. Carries its length in bytes.
    NameLength(usize),
    /// `max_rooms` rooms have members. Carries the limit.
    TooManyRooms(u32),
    /// The room has `max_room_members` members. Carries the limit.
    RoomFull(u32),
    /// The client is in `max_client_rooms` rooms. Carries the limit.
    TooManyClientRooms(u32),
    /// Workers in the middle of a batch still read replaced member lists, and `room_retired_lists` or
    /// `room_retired_bytes` is reached. Retry.
    ListsInUse,
}

const LISTS_IN_USE: &str = "workers still read replaced member lists: retry after the next poll, or raise \
                            room_retired_lists and room_retired_bytes";

impl Display for JoinError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::StaleClient => ClientError::StaleClient.fmt(formatter),
            Self::WrongPort => ClientError::WrongPort.fmt(formatter),
            Self::NameLength(length) => name_length(formatter, *length),
            Self::TooManyRooms(limit) => write!(formatter, "{limit} rooms have members: raise max_rooms"),
            Self::RoomFull(limit) => {
                write!(formatter, "the room has {limit} members: raise max_room_members")
            }
            Self::TooManyClientRooms(limit) => {
                write!(formatter, "the client is in {limit} rooms: leave one, or raise max_client_rooms")
            }
            Self::ListsInUse => formatter.write_str(LISTS_IN_USE),
        }
    }
}

impl std::error::Error for JoinError {}

impl From<ClientError> for SubmitError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::StaleClient => Self::StaleClient,
            ClientError::WrongPort => Self::WrongPort,
        }
    }
}

impl From<ClientError> for JoinError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::StaleClient => Self::StaleClient,
            ClientError::WrongPort => Self::WrongPort,
        }
    }
}

/// Why a client cannot leave a room. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaveError {
    /// The client is not connected.
    StaleClient,
    /// The client belongs to another port.
    WrongPort,
    /// The room does not exist: it never did, or its last member has left.
    StaleRoom,
    /// The client is not a member of the room.
    NotAMember,
    /// Workers in the middle of a batch still read replaced member lists, and `room_retired_lists` or
    /// `room_retired_bytes` is reached. Retry.
    ListsInUse,
}

impl Display for LeaveError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::StaleClient => ClientError::StaleClient.fmt(formatter),
            Self::WrongPort => ClientError::WrongPort.fmt(formatter),
            Self::StaleRoom => StaleRoom.fmt(formatter),
            Self::NotAMember => formatter.write_str("the client is not a member of the room: join it first"),
            Self::ListsInUse => formatter.write_str(LISTS_IN_USE),
        }
    }
}

impl std::error::Error for LeaveError {}

impl From<ClientError> for LeaveError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::StaleClient => Self::StaleClient,
            ClientError::WrongPort => Self::WrongPort,
        }
    }
}

/// Why `try_submit` or `try_send` has not accepted a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySubmitError {
    /// There is no room now. The message counts neither as submitted nor as refused: keep it and try again. Carries the
    /// limit that is reached: [`SubmitError::RingFull`], [`SubmitError::InFlightLimit`],
    /// [`SubmitError::ConcurrencyLimit`] or [`SubmitError::PayloadsFull`]. After [`SubmitError::RingFull`] the port's
    /// descriptor becomes readable when there is room; the other limits end with messages under way, without a wake.
    Full(SubmitError),
    /// The port refused the message. The refusal is counted under this reason.
    Refused(SubmitError),
}

impl Display for TrySubmitError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let (Self::Full(reason) | Self::Refused(reason)) = self;
        reason.fmt(formatter)
    }
}

impl std::error::Error for TrySubmitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let (Self::Full(reason) | Self::Refused(reason)) = self;
        Some(reason)
    }
}

/// Why a routed message has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteError {
    /// The port refused the message. The refusal is counted under this reason.
    Refused(SubmitError),
    /// The time-out ended before a worker started the message, and none will.
    TimedOut,
    /// The time-out ended while a worker handled the message. The worker finishes it; its result is discarded.
    TimedOutStarted,
    /// The call would dead-lock: a worker's own thread cannot wait for a worker. A thread that drives a local worker is
    /// such a thread.
    OwnThread,
}

impl Display for RouteError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::Refused(reason) => reason.fmt(formatter),
            Self::TimedOut => formatter
                .write_str("the time-out ended before a worker started the message: retry, or wait longer"),
            Self::TimedOutStarted => formatter
                .write_str("the time-out ended while a worker handles the message: do not send it again"),
            Self::OwnThread => formatter.write_str(
                "the call would dead-lock on a worker's own thread: make it on another thread; to send, use submit",
            ),
        }
    }
}

impl std::error::Error for RouteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Refused(reason) = self { Some(reason) } else { None }
    }
}

impl From<SubmitError> for RouteError {
    fn from(reason: SubmitError) -> Self {
        Self::Refused(reason)
    }
}

/// The router has stopped, and everything has been handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl Display for Closed {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str("the router has stopped and everything has been handed out: drop the port")
    }
}

impl std::error::Error for Closed {}

/// Why a cycle of a local worker does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CycleError {
    /// The port has no local worker.
    NoLocalWorker,
    /// The worker has stopped.
    Closed,
}

impl Display for CycleError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::NoLocalWorker => NoLocalWorker.fmt(formatter),
            Self::Closed => {
                formatter.write_str("the local worker has stopped: poll until the poll says closed as well")
            }
        }
    }
}

impl std::error::Error for CycleError {}

impl From<NoLocalWorker> for CycleError {
    fn from(NoLocalWorker: NoLocalWorker) -> Self {
        Self::NoLocalWorker
    }
}

impl From<Closed> for CycleError {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

/// The port has no local worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoLocalWorker;

impl Display for NoLocalWorker {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str("the port has no local worker: open it with Router::local_port to drive one")
    }
}

impl std::error::Error for NoLocalWorker {}
