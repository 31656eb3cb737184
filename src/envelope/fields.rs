//! What a protocol says of its fields and commands.

/// The places in a message of the fields that the router needs. `None` if a protocol does not have the field.
///
/// Each text is one place, or several places in order of preference with a bar between them. The field is the first of
/// these places that has a value.
///
/// | text | the field is |
/// |---|---|
/// | `to` | the string at that key of the message |
/// | `message.recipient.sessionid` | the string inside those objects; no field if one of them is not an object |
/// | `handle_id#` | a string or a number, by its text |
/// | `handle_id#\|session_id#` | the first of the two that the message has |
/// | `method\|?error\|?result` | type only: `method`, else the name of the key that the message has (see below) |
///
/// A `?` before a key selects the key itself, whatever its value. A key with the value `null` counts only if no other
/// place has a value.
///
/// Therefore a key cannot be named if it is empty, contains a dot or a bar, starts with `?`, ends with `#`, or starts
/// or ends with a space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The message type. If a protocol names this field, every message must have it.
    pub message_type: Option<&'a str>,
    /// The recipient's name.
    pub recipient: Option<&'a str>,
    /// The room's name.
    pub room: Option<&'a str>,
    /// The transaction, by which an answer is matched to its request: a string or a number.
    pub transaction: Option<&'a str>,
    /// The sender. The relayed message has the sender that the server knows, whatever the client wrote.
    ///
    /// At a key of the message itself, the sender replaces the client's value. Inside an object, the sender is
    /// inserted, and a message is refused if the client wrote anything at the second key of the path: for
    /// `message.sender.sessionid`, at `sender` in `message`. With several places, each inside an object of its own,
    /// the sender is inserted into each of these objects that the message has, and into the first one if the message
    /// has none.
    pub sender: Option<&'a str>,
}

/// Which top-level members are relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward<'a> {
    /// All members, in the client's order, after the sender.
    All,
    /// The members with these keys, in the client's order, after the sender. The order of the list has no meaning.
    Only(&'a [&'a str]),
}

/// The use of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Type,
    Recipient,
    Room,
    Transaction,
    Sender,
}

impl Role {
    pub(super) const COUNT: usize = 5;
    pub(super) const ALL: [Self; Self::COUNT] =
        [Self::Type, Self::Recipient, Self::Room, Self::Transaction, Self::Sender];
}

/// Meaning of a command's argument: the text between the word and the next space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Argument {
    /// The router does not use the argument.
    Nothing,
    /// The argument is the recipient. The relayed command has the sender in its place.
    Recipient,
    /// The argument is the room.
    Room,
    /// The argument is the sender. The relayed command has the sender that the server knows, whatever the client wrote.
    Sender,
}

/// A command word of a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) word: Box<str>,
    pub(super) argument: Argument,
}

impl Word {
    pub(super) fn names(&self, argument: Argument) -> bool {
        self.argument == argument
    }
}

impl<'a> Fields<'a> {
    pub(super) fn by_role(&self) -> [Option<&'a str>; Role::COUNT] {
        [self.message_type, self.recipient, self.room, self.transaction, self.sender]
    }
}
