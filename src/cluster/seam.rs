//! What the cluster needs of a router: the methods of its gateway, as a trait, so that a simulator can give a link another
//! router, or none.

use std::time::Duration;

/// A link to another machine: its place in the router's table, and the connection's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId {
    /// 0 to 62.
    pub slot: u8,
    /// One more for each connection of this place.
    pub epoch: u32,
}

/// Why the other machine did not deliver a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// The recipient is not connected there (any more). The message returns to the hold queue.
    Gone,
    /// The recipient does not read.
    NoCredit,
    /// The name has moved on.
    Stale,
    /// It was on the way for too long.
    Expired,
    /// It got lost between the machines.
    Lost,
    /// Another reason: the number of a `Failed`.
    Failed(u16),
}

/// A message from another machine for a client, or a room's members, of this one.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The client, or the room.
    pub name: &'a str,
    /// Whether `name` is a room.
    pub is_room: bool,
    /// The message's type.
    pub message_type: &'a str,
    /// The sender's correlation.
    pub correlation: u64,
    /// How long ago the sender's machine took it.
    pub age: Duration,
    /// The bytes for the recipient.
    pub payload: &'a [u8],
}

/// A message from a client of this machine for one of another.
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
    /// Later; in the same order.
    Full,
    /// The router has stopped, or refuses it for good.
    Closed,
}
