//! What a protocol calls its fields, as data. Built once from the configuration; `read` and `relay` only look things up.

use super::command::{Argument, Word};
use super::path;
use super::table::{FieldKey, FieldTable, Inserted, Role};
use super::text::Text;
use std::fmt;

/// How many different keys a protocol may name, those on the way into objects included.
pub const MAX_KEYS: usize = 16;

/// Where what the router needs stands in a message; `None` where a protocol has no such field.
///
/// Each is the text of a place, or of several in the order of preference, with a bar between them; the first that says
/// something is the field.
///
/// | text | the field is |
/// |---|---|
/// | `to` | the string at that key of the message |
/// | `message.recipient.sessionid` | the string inside those objects; where one of them is no object, there is no field |
/// | `handle_id#` | a string or a number, by its text |
/// | `handle_id#\|session_id#` | the first of the two that the message has |
/// | `method\|?error\|?result` | for the type alone: else the name of the key that the message has, whatever its value; `null` counts where nothing else does |
///
/// So no key can be named that is empty or has a dot or a bar in it, starts with `?`, ends with `#`, or starts or ends with
/// a space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// What kind of message it is. A protocol that names it requires it.
    pub message_type: Option<&'a str>,
    /// Whom it is for.
    pub recipient: Option<&'a str>,
    /// Which room it is for.
    pub room: Option<&'a str>,
    /// What an answer will be matched by: a string or a number.
    pub transaction: Option<&'a str>,
    /// Whom it is from. Whatever the client wrote there, the relayed message holds the sender that the server knows.
    ///
    /// At a key of the message itself what the client wrote is replaced. Inside an object it is put there, and a message
    /// is refused in which the client has written anything at the path's second key: of `message.sender.sessionid`,
    /// at `sender` in `message`. With several places, each in an object of its own, it is put into each object that the
    /// message has, and into the first if it has none.
    pub sender: Option<&'a str>,
}

/// Which top-level members are relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward<'a> {
    /// All of them, in the order in which the client wrote them, behind the sender.
    All,
    /// Those with these keys, in this order. The sender comes first if it is not in the list.
    Only(&'a [&'a str]),
}

/// A protocol: its name, what its fields are called, and what of a message is relayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    name: Box<str>,
    table: FieldTable,
    /// Messages have types.
    typed: bool,
    /// The commands that messages may be, besides objects.
    pub(super) words: Box<[Word]>,
}

/// Why a protocol cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A key is empty.
    EmptyKey,
    /// A forwarded key is written as a place: with a dot, a bar, `?`, `#` or spaces.
    Path,
    /// Two fields, or two entries of the list of forwarded keys, have one key; or two commands one word.
    SameKey,
    /// More than [`MAX_KEYS`] different keys.
    TooManyKeys,
    /// A path leads through the value of another field.
    ThroughField,
    /// A `?` before a field that is not the type.
    Presence,
    /// A sender inside an object while not everything is forwarded, or one that may stand at several places which are not
    /// each in an object of its own.
    Sender,
    /// A field or a forwarded key that some readers would take for the sender's, such as `From` beside `from`, or one that
    /// stands at the key inside an object where the sender is put.
    LikeSender,
    /// A command's word is not one of capital letters and underscores.
    Word,
}

impl Protocol {
    /// A protocol of the host's own.
    ///
    /// # Errors
    /// If a key is empty or stands for two fields or twice in the list, if a listed key is not a key alone, if a path leads
    /// through another field, if there are more than [`MAX_KEYS`] keys, if a sender cannot be told where it stands, or if
    /// another key could be taken for its.
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

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For fields that are known to be good: those of the protocols that ship.
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

    /// Whether a message can name a recipient, and whether a room.
    pub(crate) fn addresses(&self) -> (bool, bool) {
        let named =
            |role, argument| self.role(role).is_some() || self.words.iter().any(|word| word.names(argument));
        (named(Role::Recipient, Argument::Recipient), named(Role::Room, Argument::Room))
    }

    /// Whether a reader less exact than we are could take this key, which is not the sender's, for the sender's or for
    /// that of an object which holds one: many ignore case (Go's and .NET's), some stop at a NUL (C's).
    pub(super) fn resembles_sender(&self, key: Text<'_>) -> bool {
        match self.role(Role::Sender).and_then(|index| self.table.keys.get(index)) {
            Some(sender) => resembles(&sender.name, key),
            None => self.table.senders.iter().any(|sender| {
                self.table.keys.get(sender.index).is_some_and(|object| resembles(&object.name, key))
            }),
        }
    }

    /// The same of a key inside the object at one of the message's keys.
    pub(super) fn resembles_sender_inside(&self, object: usize, key: Text<'_>) -> bool {
        self.inserted(object).is_some_and(|sender| resembles(&sender.guard, key))
    }

    /// The sender that is put into the object at one of the message's keys.
    pub(super) fn inserted(&self, object: usize) -> Option<&Inserted> {
        self.table.senders.iter().find(|sender| sender.index == object)
    }

    #[inline]
    pub(super) fn role(&self, role: Role) -> Option<usize> {
        self.table.roles.get(role as usize).copied().flatten()
    }

    /// The keys that are relayed, in order; `None` if all members are.
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

/// Whether a reader that ignores case, or stops at a NUL, takes a key for this name.
fn is_taken_for(key: impl Iterator<Item = char>, name: &str) -> bool {
    key.take_while(|character| *character != '\0').flat_map(fold).eq(name.chars().flat_map(fold))
}

/// Equal for characters that differ in case only; `ſ` and `K` (the Kelvin sign) fold to `s` and `k` too.
fn fold(character: char) -> impl Iterator<Item = char> {
    character.to_lowercase().flat_map(char::to_uppercase)
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::EmptyKey => "a key is empty: leave out fields that the protocol does not have",
            Self::Path => {
                "a forwarded key is written as a place: list the member that holds it, by its key alone"
            }
            Self::SameKey => "a key is named twice: give each field a key of its own, and list it once",
            Self::TooManyKeys => {
                return write!(formatter, "more than {MAX_KEYS} keys: forward everything, or name fewer");
            }
            Self::ThroughField => "a path leads through another field: name the object's members alone",
            Self::Presence => "a '?' before a field: only the type can be which key is there",
            Self::Sender => {
                "the sender cannot be told: name one key of the message, or forward everything and name paths into \
                 different objects"
            }
            Self::LikeSender => {
                "a key could be taken for the sender's, or stands where the sender is put: name it otherwise, or elsewhere"
            }
            Self::Word => "a command's word: use capital letters and underscores, A-Z and _",
        };
        formatter.write_str(text)
    }
}

impl std::error::Error for ProtocolError {}
