//! The result of handling a message, and constants for messages without a sender or type. Used by `dispatch`,
//! `handler`, `request`, `driven`, `held`, `send`, `message_end` and `adoption`.

use crate::clients::ClientId;
use crate::error::Failed;
use crate::metrics::{ApplicationId, OTHER, Outcome, ProtocolId, SeriesIds, TypeId};

/// No client: the sender of a message of the host, or of a client that has left.
pub(in crate::router) const NOBODY: ClientId = ClientId(0);

/// The outcome of a message whose recipient is being closed.
pub(in crate::router) const CLOSING: Outcome = Outcome::Failed(Failed::RecipientClosed);

/// The result of handling a message.
pub(in crate::router) enum Handled {
    Ended(Outcome),
    Held,
    /// The message is a task; it ends when the host reports its outcome.
    Task {
        hold: bool,
    },
    /// The handler was given up. The worker's state must not be used any more.
    Abandoned,
}

/// The series of a message that has no type.
pub(in crate::router) const fn no_series() -> SeriesIds {
    (TypeId(OTHER), ProtocolId(OTHER), ApplicationId(OTHER))
}
