//! What becomes of a delivery that its recipient has no credit for.

/// What the router does when a delivery would give a client more than it may have outstanding. The message fails as
/// `credit_exhausted` in every case; a new limit or a host that acknowledges lets the next one through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum CreditPolicy {
    /// Ask its host to close it, once.
    #[default]
    Disconnect = 0,
    /// Keep it; tell the sender, unless `refusal_notices` is off.
    Refuse = 1,
    /// Keep it where the message's type is listed as droppable; close it for any other.
    Drop = 2,
}

impl CreditPolicy {
    /// The policy of this number; the default where there is none.
    pub(crate) const fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Refuse,
            2 => Self::Drop,
            _ => Self::Disconnect,
        }
    }
}

/// What a client has been given and has not acknowledged as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outstanding {
    /// Messages that hold credit now: in rings, in a backlog, or handed out. What the limit is held against.
    pub messages: u32,
    /// Their bytes.
    pub bytes: u32,
    /// Of these messages, handed out to the host.
    pub handed_messages: u32,
    /// Of these bytes, handed out to the host.
    pub handed_bytes: u32,
    /// The most messages that were handed out and not acknowledged at once: a true maximum, kept by the port since the
    /// client connected.
    pub handed_messages_maximum: u32,
    /// The most bytes, likewise; not necessarily at the same moment.
    pub handed_bytes_maximum: u32,
}
