//! A protocol's field names, as data. Built once from the configuration; `read` and `relay` only look names up.

use super::command::{Argument, Word};
use super::path;
use super::table::{FieldKey, FieldTable, Inserted, Role};
use super::text::Text;
use std::fmt;

/// The maximum number of different keys in a protocol, including the keys on paths into objects.
pub const MAX_KEYS: usize = 16;

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
    /// The members with these keys, in this order. The sender comes first if it is not in the list.
    Only(&'a [&'a str]),
}

/// A protocol: its name, its field names, and which members it relays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    name: Box<str>,
    table: FieldTable,
    /// Whether every message must have a type.
    typed: bool,
    /// The commands of the protocol. A message is an object or one of these.
    pub(super) words: Box<[Word]>,
}

/// Why a protocol cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A key is empty.
    EmptyKey,
    /// A forwarded key contains the syntax of a place: a dot, a bar, `?`, `#` or spaces.
    Path,
    /// Two fields or two forwarded entries have the same key, or two commands have the same word.
    SameKey,
    /// More than [`MAX_KEYS`] different keys.
    TooManyKeys,
    /// A path leads through the value of another field.
    ThroughField,
    /// A `?` before a field that is not the type.
    Presence,
    /// The sender is inside an object but the protocol does not forward everything, or the sender has several places
    /// that are not each inside an object of its own.
    Sender,
    /// Some readers would mistake the key of a field or a forwarded key for the sender's, such as `From` and `from`,
    /// or the key is where the sender is inserted into an object.
    LikeSender,
    /// A command's word is empty, too long, or contains a character other than capital letters and underscores.
    Word,
}

impl Protocol {
    /// Creates a protocol of the host's own.
    ///
    /// # Errors
    /// If a key is empty, if two fields or two forwarded entries have the same key, if a forwarded entry is not a
    /// plain key, if a path leads through another field, if there are more than [`MAX_KEYS`] keys, if the sender's
    /// places are ambiguous, or if another key could be mistaken for the sender's. See [`ProtocolError`].
    ///
    /// ```
    /// use corelane::envelope::{Fields, Forward, Protocol, read};
    ///
    /// let fields = Fields { message_type: Some("kind"), recipient: Some("to.peer#"), ..Fields::default() };
    /// let protocol = Protocol::new("doorbell", &fields, Forward::All)?;
    /// assert_eq!(protocol.name(), "doorbell");
    /// let envelope = read(&protocol, br#"{"kind":"ring","to":{"peer":17}}"#);
    /// assert!(envelope.is_ok_and(|envelope| envelope.recipient().is_some_and(|name| name == "17")));
    /// # Ok::<(), corelane::envelope::ProtocolError>(())
    /// ```
    pub fn new(name: &str, fields: &Fields<'_>, forward: Forward<'_>) -> Result<Self, ProtocolError> {
        let listed = if let Forward::Only(listed) = forward { listed } else { &[] };
        path::check(fields.by_role(), listed)?;
        if let Some(sender) = fields.sender {
            path::check_sender(sender, forward == Forward::All)?;
            let [message_type, recipient, room, transaction, _] = fields.by_role();
            let others = [message_type, recipient, room, transaction];
            path::check_beside_sender(sender, others, listed, |key, its| is_taken_for(key.chars(), its))?;
        }
        let protocol = Self::assemble(name, fields, forward);
        if protocol.table.len() > MAX_KEYS { Err(ProtocolError::TooManyKeys) } else { Ok(protocol) }
    }

    /// The protocol's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Builds a protocol without checking its fields. For fields that are known to be valid, such as the built-in ones.
    pub(super) fn assemble(name: &str, fields: &Fields<'_>, forward: Forward<'_>) -> Self {
        let typed = fields.message_type.is_some();
        let table = FieldTable::new(fields.by_role(), forward);
        Self { name: name.into(), table, typed, words: Box::default() }
    }

    #[inline(always)]
    pub(super) fn table(&self) -> &FieldTable {
        &self.table
    }

    /// Whether every message has a type.
    #[inline(always)]
    pub(super) fn is_typed(&self) -> bool {
        self.typed
    }

    /// Whether a message can name a recipient, and whether it can name a room.
    pub(crate) fn addresses(&self) -> (bool, bool) {
        let named =
            |role, argument| self.role(role).is_some() || self.words.iter().any(|word| word.names(argument));
        (named(Role::Recipient, Argument::Recipient), named(Role::Room, Argument::Room))
    }

    /// Whether a lax reader could mistake this key, which is not the sender's, for the sender's key or for the key of
    /// an object that holds a sender. Many readers ignore case (Go, .NET); some stop at a NUL (C).
    pub(super) fn resembles_sender(&self, key: Text<'_>) -> bool {
        match self.role(Role::Sender).and_then(|index| self.table.keys.get(index)) {
            Some(sender) => resembles(&sender.name, key),
            None => self.table.senders.iter().any(|sender| {
                self.table.keys.get(sender.index).is_some_and(|object| resembles(&object.name, key))
            }),
        }
    }

    /// As [`resembles_sender`](Self::resembles_sender), for a key inside the object at one of the message's own keys.
    pub(super) fn resembles_sender_inside(&self, object: usize, key: Text<'_>) -> bool {
        self.inserted(object).is_some_and(|sender| resembles(&sender.guard, key))
    }

    /// The sender to insert into the object at one of the message's own keys.
    pub(super) fn inserted(&self, object: usize) -> Option<&Inserted> {
        self.table.senders.iter().find(|sender| sender.index == object)
    }

    #[inline]
    pub(super) fn role(&self, role: Role) -> Option<usize> {
        self.table.roles.get(role as usize).copied().flatten()
    }

    /// The relayed keys, in order; `None` if all members are relayed.
    pub(super) fn forwarded(&self) -> Option<impl Iterator<Item = &FieldKey>> {
        self.table.forwarded.map(|count| self.table.keys.iter().take(count))
    }
}

impl<'a> Fields<'a> {
    fn by_role(&self) -> [Option<&'a str>; Role::COUNT] {
        [self.message_type, self.recipient, self.room, self.transaction, self.sender]
    }
}

fn resembles(name: &str, key: Text<'_>) -> bool {
    if !key.is_escaped() && key.raw().is_ascii() && name.is_ascii() {
        return key.raw().eq_ignore_ascii_case(name);
    }
    is_taken_for(key.characters(), name)
}

/// Whether a reader that ignores case or stops at a NUL mistakes a key for this name.
fn is_taken_for(key: impl Iterator<Item = char>, name: &str) -> bool {
    key.take_while(|character| *character != '\0').flat_map(fold).eq(name.chars().flat_map(fold))
}

/// Folds case: equal for characters that differ only in case. `ſ` and `K` (the Kelvin sign) fold like `s` and `k`.
fn fold(character: char) -> impl Iterator<Item = char> {
    character.to_lowercase().flat_map(char::to_uppercase)
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::EmptyKey => "a key is empty: leave out fields that the protocol does not have",
            Self::Path => {
                "a forwarded key is a path: list the top-level member that contains it, by its key alone"
            }
            Self::SameKey => "a key is named twice: give each field its own key, and list each key once",
            Self::TooManyKeys => {
                return write!(
                    formatter,
                    "more than {MAX_KEYS} keys: forward everything, or name fewer keys"
                );
            }
            Self::ThroughField => {
                "a path leads through another field: name only members of the object, not the object itself"
            }
            Self::Presence => "a '?' before a field that is not the type: only the type may have one",
            Self::Sender => {
                "the sender's place is ambiguous: name one key of the message, or forward everything and name paths \
                 into different objects"
            }
            Self::LikeSender => {
                "a key could be mistaken for the sender's, or is where the sender is inserted: use another key or \
                 another object"
            }
            Self::Word => {
                "a command's word is not valid: use 1 to 256 capital letters and underscores, A-Z and _"
            }
        };
        formatter.write_str(text)
    }
}

impl std::error::Error for ProtocolError {}
