//! A protocol's field names, as data. Built once from the configuration; `read` and `relay` only look names up.

use super::error::{MAX_KEYS, ProtocolError};
use super::fields::Role;
use super::fields::{Argument, Word};
use super::fields::{Fields, Forward};
use super::path;
use super::table::{FieldTable, Inserted};
use super::text::Text;

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
        let table = FieldTable::new(fields.by_role(), forward);
        if table.len() > MAX_KEYS {
            return Err(ProtocolError::TooManyKeys);
        }
        Ok(Self { name: name.into(), table, typed: fields.message_type.is_some(), words: Box::default() })
    }

    /// The protocol's name.
    pub fn name(&self) -> &str {
        &self.name
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
}

fn resembles(name: &str, key: Text<'_>) -> bool {
    if !key.is_escaped() && key.bytes().is_ascii() && name.is_ascii() {
        return key.bytes().eq_ignore_ascii_case(name.as_bytes());
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
