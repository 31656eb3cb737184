//! The envelope of a message: where `read` has found the fields, and which members `relay` writes.

use super::command::Command;
use super::error::MAX_KEYS;
use super::fields::Role;
use super::protocol::Protocol;
use super::scan::Span;
use super::text::Text;

/// The fields found in a message, borrowed from it.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    pub(super) protocol: &'a Protocol,
    /// Valid UTF-8.
    pub(super) message: &'a [u8],
    /// The value of each key of the protocol, by the key's index; empty if the message does not have the key.
    pub(super) values: [Span; MAX_KEYS],
    /// One bit per entry of `values`: 1 for a string that is not empty and has no escapes.
    pub(super) plain: u32,
    /// One bit per entry of `values`: 1 for a string with escapes.
    pub(super) escaped: u32,
    /// The members to relay, as runs of adjacent members: a run is relayed as it is written. There are at most as many
    /// runs as listed keys, or two if everything but the sender is relayed.
    pub(super) runs: [Span; MAX_KEYS],
    pub(super) run_count: usize,
    /// Set if the message is a command, not an object; `values` and `runs` are then empty.
    pub(super) command: Option<Command>,
}

impl<'a> Envelope<'a> {
    /// The envelope of a message of which nothing has been read.
    #[inline(always)]
    pub(super) fn new(protocol: &'a Protocol, message: &'a [u8]) -> Self {
        let (values, runs) = ([Span::default(); MAX_KEYS], [Span::default(); MAX_KEYS]);
        Self { protocol, message, values, plain: 0, escaped: 0, runs, run_count: 0, command: None }
    }

    /// The message type. Always present if the protocol has types.
    #[inline]
    pub fn message_type(&self) -> Option<Text<'a>> {
        self.field(Role::Type)
    }

    /// The recipient. `None` if absent, `null` or `""`.
    #[inline]
    pub fn recipient(&self) -> Option<Text<'a>> {
        self.field(Role::Recipient)
    }

    /// The room. `None` if absent, `null` or `""`.
    #[inline]
    pub fn room(&self) -> Option<Text<'a>> {
        self.field(Role::Room)
    }

    /// The transaction, by which an answer is matched to its request: the text of a string, or a number as written.
    /// `None` if absent, `null` or `""`. An answer echoes [`transaction_json`](Self::transaction_json).
    #[inline]
    pub fn transaction(&self) -> Option<Text<'a>> {
        self.field(Role::Transaction)
    }

    /// The transaction as JSON, ready to be echoed: a string keeps its quotes.
    pub fn transaction_json(&self) -> Option<&'a str> {
        let first = self.protocol.role(Role::Transaction).filter(|index| self.value(*index).is_some());
        let index = first.or_else(|| self.chosen(Role::Transaction).map(|(index, _)| index))?;
        self.value(index)?;
        self.json(index).and_then(|json| std::str::from_utf8(json).ok())
    }

    /// The sender that the **client** claims. `None` if it is not a string or is inside an object. Use it for logs at
    /// most: [`write_relayed`](Self::write_relayed) writes the sender that the server knows.
    pub fn claimed_sender(&self) -> Option<Text<'a>> {
        if let Some(command) = self.command {
            return self.said(command.field(Role::Sender));
        }
        let index = self.protocol.role(Role::Sender)?;
        let (claimed, number) = (self.json(index)?, self.protocol.table().key(index)?.number);
        let fits = |byte: &u8| *byte == b'"' || number && matches!(byte, b'-' | b'0'..=b'9');
        claimed.first().filter(|byte| fits(byte))?;
        self.value(index).filter(Text::is_well_formed)
    }

    /// The value of a key of the protocol, as written. `None` if the message does not have the key.
    pub(super) fn json(&self, index: usize) -> Option<&'a [u8]> {
        self.values.get(index).filter(|span| !span.is_empty()).map(|span| span.of(self.message))
    }

    /// The field with this role. `None` if the protocol or the message does not have it, or if it is `null` or `""`.
    #[inline(always)]
    fn field(&self, role: Role) -> Option<Text<'a>> {
        if let Some(index) = self.protocol.role(role)
            && self.plain >> index & 1 == 1
            && let Some(span) = self.values.get(index)
        {
            return Some(Text::new(span.inside().of(self.message), false));
        }
        self.field_slowly(role)
    }

    /// As [`field`](Self::field), for a field that is not a plain string at its first place.
    #[inline(never)]
    fn field_slowly(&self, role: Role) -> Option<Text<'a>> {
        let first = self.protocol.role(role).and_then(|index| self.value(index));
        if first.is_some() { first } else { self.elsewhere(role) }
    }

    /// The text of a key's value. `None` if the message does not have the key, or the value is `null` or `""`.
    fn value(&self, index: usize) -> Option<Text<'a>> {
        let span = *self.values.get(index)?;
        let text = match self.message.get(span.start as usize)? {
            _ if span.is_empty() => return None,
            b'n' => return None,
            b'"' => Text::new(span.inside().of(self.message), self.escaped >> index & 1 == 1),
            _ => Text::new(span.of(self.message), false),
        };
        Some(text).filter(|text| !text.bytes().is_empty())
    }

    /// The field with this role, if it is not at its first place.
    fn elsewhere(&self, role: Role) -> Option<Text<'a>> {
        if let Some(command) = self.command {
            return self.said(command.field(role));
        }
        let (index, presence) = self.chosen(role)?;
        match presence {
            true => self.protocol.table().key(index).map(|key| Text::new(key.name.as_bytes(), false)),
            false => self.value(index),
        }
    }

    /// The first further place of a field that has a value: its key, and whether the field is the name of the key. A
    /// key with the value `null` counts only if no other place has a value.
    fn chosen(&self, role: Role) -> Option<(usize, bool)> {
        let others = || self.protocol.table().alternatives.iter().filter(|other| other.role == role);
        let says = |index, presence| match presence {
            true => self.json(index).is_some_and(|json| json != b"null"),
            false => self.value(index).is_some(),
        };
        let said = others().find(|other| says(other.index, other.presence));
        let there = || others().find(|other| other.presence && self.json(other.index).is_some());
        said.or_else(there).map(|other| (other.index, other.presence))
    }

    /// The text of a command's part; `None` if empty.
    fn said(&self, span: Span) -> Option<Text<'a>> {
        (!span.is_empty()).then(|| Text::new(span.of(self.message), false))
    }
}
