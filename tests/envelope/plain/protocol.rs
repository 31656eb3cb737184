//! A protocol's field names, as data, and the roles of its fields.

use super::table::{FieldKey, FieldTable, Inserted};
use super::text::Text;
use corelane::envelope::{Argument, Fields, Forward};

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

/// A command word of a protocol.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) word: Box<str>,
    pub(super) argument: Argument,
}

/// A protocol: its field names, and which members it relays.
#[derive(Clone, Debug)]
pub struct Protocol {
    table: FieldTable,
    typed: bool,
    pub(super) words: Box<[Word]>,
}

impl Protocol {
    /// The fields must be valid: `corelane` has built a protocol of them.
    pub fn new(fields: &Fields<'_>, forward: Forward<'_>, words: &[(&str, Argument)]) -> Self {
        let typed = fields.message_type.is_some();
        let by_role = [fields.message_type, fields.recipient, fields.room, fields.transaction, fields.sender];
        let table = FieldTable::new(by_role, forward);
        let words = words.iter().map(|&(word, argument)| Word { word: word.into(), argument }).collect();
        Self { table, typed, words }
    }

    pub(super) fn table(&self) -> &FieldTable {
        &self.table
    }

    /// Whether every message has a type.
    pub(super) fn is_typed(&self) -> bool {
        self.typed
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
    pub(super) fn role(&self, role: Role) -> Option<usize> {
        self.table.roles.get(role as usize).copied().flatten()
    }

    /// The relayed keys, in order; `None` if all members are relayed.
    pub(super) fn forwarded(&self) -> Option<impl Iterator<Item = &FieldKey>> {
        self.table.forwarded.map(|count| self.table.keys.iter().take(count))
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
