//! What the links share with the router's gateway.

use std::time::Duration;

pub use crate::router::{Incoming, LinkId, Reject};

/// A message from a client of one machine for one of another, as it is in a frame.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The recipient's name, or the room.
    pub name: &'a str,
    /// Whether `name` is a room.
    pub is_room: bool,
    /// The revision of the name's place, as the sender's worker found it.
    pub revision: u64,
    /// The message's type.
    pub message_type: &'a str,
    /// The sender's correlation.
    pub correlation: u64,
    /// How long ago it was submitted.
    pub age: Duration,
    /// The bytes for the recipient.
    pub payload: &'a [u8],
}

/// Why the router did not take an incoming message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliverError {
    /// No such client is connected now.
    Gone,
    /// Another client has the name now than the one that got the earlier messages for this revision.
    Replaced,
    /// Later; in the same order.
    Full,
    /// Never, for this reason.
    Refused(Reject),
}
