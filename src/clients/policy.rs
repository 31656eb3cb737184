//! What happens to a delivery whose recipient has no credit left.

/// What the router does with a delivery that would exceed the recipient's credit. In every case the message
/// fails as `credit_exhausted`. A higher limit or an acknowledgement of the host lets later messages through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum CreditPolicy {
    /// Asks the host once to close the client.
    #[default]
    Disconnect = 0,
    /// Keeps the client connected and sends the sender a notice, unless `refusal_notices` is off.
    Refuse = 1,
    /// Keeps the client connected if the type of the message is droppable. Otherwise asks the host to close
    /// the client.
    Drop = 2,
}

impl CreditPolicy {
    /// The policy with this number. The default policy for any other number.
    pub(crate) const fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Refuse,
            2 => Self::Drop,
            _ => Self::Disconnect,
        }
    }
}

/// Messages and bytes of a client that are unacknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outstanding {
    /// Messages that use credit: in rings, in a backlog, or handed out. The credit limit applies to this
    /// number.
    pub messages: u32,
    /// Bytes of these messages.
    pub bytes: u32,
    /// Messages that were handed out to the host and are unacknowledged.
    pub handed_messages: u32,
    /// Bytes of these messages.
    pub handed_bytes: u32,
    /// Largest number of messages that were handed out and unacknowledged at the same time. Exact: the port
    /// keeps it since the client connected.
    pub handed_messages_maximum: u32,
    /// Largest number of bytes that were handed out and unacknowledged at the same time. May be of a
    /// different moment than the largest number of messages.
    pub handed_bytes_maximum: u32,
}
