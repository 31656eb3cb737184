//! The events that a port's poll hands out. Made by `walk` and `closings`.

use crate::clients::{ClientId, ClientName, Clients, KeptFigures, RoomId};
use crate::error::{CloseReason, Loss};
use crate::ring::record::{DeliveryHeader, delivery_kind};
use crate::router::notice::Notice;

/// An event that a poll hands out. `token` is the host's value for the client.
///
/// ```
/// use corelane::router::Event;
///
/// /// What a host does with each event.
/// fn hand_out(event: Event<'_>) {
///     match event {
///         Event::Message(message) => println!("write {} bytes to {}", message.payload.len(), message.token),
///         Event::Undelivered { token, reason, .. } => println!("tell {token}: {}", reason.label()),
///         Event::SendFailed { correlation, reason, .. } => println!("send {correlation}: {}", reason.label()),
///         Event::Expired { token, .. } => println!("tell {token}, and acknowledge"),
///         Event::Left { token, .. } => println!("{token} gives its name up"),
///         Event::Close { token, .. } => println!("close the socket of {token}, and disconnect"),
///         Event::Closed { token, .. } => println!("{token} may be used again"),
///         _ => {}
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Write these bytes to the client, then acknowledge them.
    Message(DeliveredMessage<'a>),
    /// Messages of the client have expired because no client of the recipient's name has connected within `hold_ms`.
    /// Sent once per name. Acknowledge it like a message of `name`'s length. Not sent if the client has no credit left,
    /// nor for messages that were submitted with [`SubmitOptions::tell_failed`](crate::router::SubmitOptions::tell_failed):
    /// each of those has an [`Undelivered`](Self::Undelivered) instead.
    Expired {
        /// The sender of the messages.
        client: ClientId,
        /// The sender's token.
        token: u64,
        /// The name that did not connect.
        name: &'a [u8],
        /// The correlation of the first message for the name.
        correlation: u64,
    },
    /// A message of the client has not reached its recipient. Sent for each message that was submitted with
    /// [`SubmitOptions::tell_failed`](crate::router::SubmitOptions::tell_failed) and fails or expires, once per message.
    /// Sent without that option too if the recipient has no credit left and its policy is
    /// [`CreditPolicy::Refuse`](crate::clients::CreditPolicy::Refuse), unless `refusal_notices` is off or the client's
    /// port is full. This event uses no credit, so do not acknowledge it.
    Undelivered {
        /// The sender of the message.
        client: ClientId,
        /// The sender's token.
        token: u64,
        /// The recipient, if the message failed at a connected one: a room's member, or a client without credit.
        recipient: Option<ClientId>,
        /// The correlation of the message.
        correlation: u64,
        /// The reason.
        reason: Loss,
    },
    /// A message that the host itself has sent has not reached its recipient. Sent for each such message, whatever the
    /// recipient's policy is, to the port that has sent it. A message to a room has one for each member that it has not
    /// reached, or one for the room if it has reached none. A message that has reached the recipient's port is not
    /// followed any further. Nothing to acknowledge.
    SendFailed {
        /// The recipient. It may be gone.
        to: Recipient,
        /// The correlation of the message.
        correlation: u64,
        /// The reason.
        reason: Loss,
    },
    /// The client has given up its name (for example with PeerJS's LEAVE). Call
    /// [`Port::release_name`](crate::router::Port::release_name) if others may have the name. The client stays
    /// connected.
    Left {
        /// The client.
        client: ClientId,
        /// Its token.
        token: u64,
    },
    /// Close this client's connection, then call [`Port::disconnect`](crate::router::Port::disconnect). Sent at most
    /// once, and not after that call.
    Close {
        /// The client.
        client: ClientId,
        /// Its token.
        token: u64,
        /// The reason.
        reason: CloseReason,
    },
    /// The last event for this client. The host may now free what the token points at.
    Closed {
        /// The client.
        client: ClientId,
        /// Its token.
        token: u64,
        /// The client's figures, for a client that replaces it.
        figures: KeptFigures,
    },
}

impl Event<'_> {
    /// The event of a notice record.
    pub(super) fn of_notice(header: &DeliveryHeader, client: ClientId, token: u64) -> Self {
        let (correlation, reason) = (header.correlation, Notice::reason(header));
        let to = match header.kind {
            delivery_kind::SEND_FAILED => Some(Recipient::Client(client)),
            delivery_kind::ROOM_SEND_FAILED => Some(Recipient::Room(RoomId(client.0))),
            _ => None,
        };
        if let Some(to) = to {
            return Self::SendFailed { to, correlation, reason };
        }
        let recipient = Some(ClientId(header.sender)).filter(|recipient| recipient.0 != 0);
        Self::Undelivered { client, token, recipient, correlation, reason }
    }
}

/// What a host has sent a message to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// A client.
    Client(ClientId),
    /// A room.
    Room(RoomId),
}

/// A message for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveredMessage<'a> {
    /// The recipient.
    pub client: ClientId,
    /// The recipient's token.
    pub token: u64,
    /// The sender; `None` for a message that a host sent.
    pub sender: Option<ClientId>,
    /// The correlation of the submitted message.
    pub correlation: u64,
    /// The bytes to write.
    pub payload: &'a [u8],
    pub(super) names: Names<'a>,
}

impl DeliveredMessage<'_> {
    /// The sender's name. `None` for a message that a host sent, and if the sender has left since.
    pub fn sender_name(&self) -> Option<ClientName> {
        self.names.0.name(self.sender?)
    }
}

/// Where names are looked up.
#[derive(Clone, Copy)]
pub(super) struct Names<'a>(pub(super) &'a Clients);

impl std::fmt::Debug for Names<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("..")
    }
}

/// Two messages are compared by what they say, not by where the names are looked up.
impl PartialEq for Names<'_> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Names<'_> {}
