//! Reads one message into an envelope, by the rules of a protocol. The router's workers call it for each message whose
//! type and recipient the submitter did not pass along.

use super::command::Command;
use super::json::{Scanner, TextSpan, Value};
use super::protocol::Protocol;
use super::protocol::Role;
use super::table::FieldKey;
use super::text::Text;
use corelane::envelope::{MAX_FIELD_BYTES, MAX_KEYS, ReadError};

/// The fields found in a message, borrowed from it.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    pub(super) protocol: &'a Protocol,
    pub(super) text: &'a str,
    /// The value of each key of the protocol, by the key's index; empty if the message does not have the key.
    pub(super) values: [TextSpan; MAX_KEYS],
    /// One bit per entry of `values`: 1 for a string with escapes.
    escaped: u32,
    /// All members, from the first to the last.
    pub(super) members: TextSpan,
    /// The sender's member within `members`, with the comma before it. Empty and at the end if there is no such member.
    sender: TextSpan,
    /// Set if the message is a command, not an object; `values` are then empty.
    pub(super) command: Option<Command>,
}

/// Reads a message. The whole message is checked: a syntax error in the last byte is an error.
///
/// # Errors
/// See [`ReadError`]. Reports the first error in the order of the text; a missing type is reported last.
pub fn read<'a>(protocol: &'a Protocol, message: &'a [u8]) -> Result<Envelope<'a>, ReadError> {
    if message.is_empty() {
        return Err(ReadError::Empty);
    }
    if u32::try_from(message.len()).is_err() {
        return Err(ReadError::TooLong);
    }
    let text = std::str::from_utf8(message).map_err(|_| ReadError::NotUtf8)?;
    let mut scanner = Scanner::new(text);
    let (values, members, sender) = Default::default();
    let mut envelope = Envelope { protocol, text, values, escaped: 0, members, sender, command: None };
    if scanner.peek()? == b'{' {
        envelope.walk(&mut scanner)?;
        scanner.end()?;
    } else {
        envelope.command = Some(no_object(protocol, text, &mut scanner)?);
    }
    if protocol.is_typed() && envelope.message_type().is_none() {
        return Err(ReadError::MissingType);
    }
    Ok(envelope)
}

/// Reads a message that is not an object. It must be a command.
fn no_object(protocol: &Protocol, text: &str, scanner: &mut Scanner<'_>) -> Result<Command, ReadError> {
    if let Some(command) = Command::read(protocol, text)? {
        return Ok(command);
    }
    scanner.value(0)?;
    scanner.end().and(Err(ReadError::NotAnObject))
}

impl<'a> Envelope<'a> {
    /// The message type. Always present if the protocol has types.
    pub fn message_type(&self) -> Option<Text<'a>> {
        self.field(Role::Type)
    }

    /// The recipient. `None` if absent, `null` or `""`.
    pub fn recipient(&self) -> Option<Text<'a>> {
        self.field(Role::Recipient)
    }

    /// The room. `None` if absent, `null` or `""`.
    pub fn room(&self) -> Option<Text<'a>> {
        self.field(Role::Room)
    }

    /// The transaction, by which an answer is matched to its request: the text of a string, or a number as written.
    /// `None` if absent, `null` or `""`. An answer echoes [`transaction_json`](Self::transaction_json).
    pub fn transaction(&self) -> Option<Text<'a>> {
        self.field(Role::Transaction)
    }

    /// The transaction as JSON, ready to be echoed: a string keeps its quotes.
    pub fn transaction_json(&self) -> Option<&'a str> {
        let first = self.protocol.role(Role::Transaction).filter(|index| self.value(*index).is_some());
        let index = first.or_else(|| self.chosen(Role::Transaction).map(|(index, _)| index))?;
        self.value(index).and_then(|_| self.json(index))
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
        claimed.as_bytes().first().filter(|byte| fits(byte))?;
        self.value(index).filter(Text::is_well_formed)
    }

    /// The value of a key of the protocol, as written. `None` if the message does not have the key.
    pub(super) fn json(&self, index: usize) -> Option<&'a str> {
        self.values.get(index).filter(|span| !span.is_empty()).map(|span| span.of(self.text))
    }

    /// The members before the sender's, as written; all members if the message has no sender.
    pub(super) fn before_sender(&self) -> &'a str {
        TextSpan { end: self.sender.start, ..self.members }.of(self.text)
    }

    /// The members after the sender's, starting with their comma.
    pub(super) fn after_sender(&self) -> &'a str {
        TextSpan { start: self.sender.end, ..self.members }.of(self.text)
    }

    /// Scans all members to the end of the object.
    fn walk(&mut self, scanner: &mut Scanner<'a>) -> Result<(), ReadError> {
        scanner.take();
        let start = scanner.position();
        let (mut end, mut sender) = (start, None);
        if scanner.peek()? != b'}' {
            loop {
                let key = scanner.key()?;
                let found = self.find(key)?;
                let value = match found {
                    Some((index, known)) if known.leads_inside() => self.inside(scanner, index)?,
                    _ => scanner.value(1)?,
                };
                if let Some((index, known)) = found {
                    self.note(index, known, value)?;
                    if known.role == Some(Role::Sender) {
                        sender = Some(TextSpan { start: end, end: value.span.end });
                    }
                }
                end = value.span.end;
                match scanner.peek()? {
                    b',' => scanner.take(),
                    b'}' => break,
                    _ => return Err(ReadError::NotJson),
                }
            }
        }
        scanner.take();
        self.members = TextSpan { start, end };
        self.sender = sender.unwrap_or(TextSpan { start: end, end });
        Ok(())
    }

    /// Finds a key among the keys that the protocol uses.
    fn find(&self, key: Text<'a>) -> Result<Option<(usize, &'a FieldKey)>, ReadError> {
        if !key.is_well_formed() {
            return Err(ReadError::NotJson);
        }
        let found = self.protocol.table().find(key);
        if found.is_none() && self.protocol.forwarded().is_none() && self.protocol.resembles_sender(key) {
            return Err(ReadError::AmbiguousSender);
        }
        Ok(found)
    }

    /// Records the value of a key that the protocol uses.
    pub(super) fn note(&mut self, index: usize, known: &FieldKey, value: Value) -> Result<(), ReadError> {
        let Some(place) = self.values.get_mut(index) else { return Ok(()) };
        if !place.is_empty() {
            return Err(ReadError::DuplicateField);
        }
        *place = value.span;
        self.escaped |= u32::from(value.escaped) << index;
        match known.role {
            None | Some(Role::Sender) => Ok(()),
            Some(_) => check(known.number, value, self.text),
        }
    }

    /// The field with this role. `None` if the protocol or the message does not have it, or if it is `null` or `""`.
    fn field(&self, role: Role) -> Option<Text<'a>> {
        let first = self.protocol.role(role).and_then(|index| self.value(index));
        if first.is_some() { first } else { self.elsewhere(role) }
    }

    /// The text of a key's value. `None` if the message does not have the key, or the value is `null` or `""`.
    fn value(&self, index: usize) -> Option<Text<'a>> {
        let span = *self.values.get(index)?;
        let text = match self.text.as_bytes().get(span.start as usize)? {
            _ if span.is_empty() => return None,
            b'n' => return None,
            b'"' => Text::new(span.inside().of(self.text), self.escaped >> index & 1 == 1),
            _ => Text::new(span.of(self.text), false),
        };
        Some(text).filter(|text| !text.raw().is_empty())
    }

    /// The field with this role, if it is not at its first place.
    fn elsewhere(&self, role: Role) -> Option<Text<'a>> {
        if let Some(command) = self.command {
            return self.said(command.field(role));
        }
        let (index, presence) = self.chosen(role)?;
        match presence {
            true => self.protocol.table().key(index).map(|key| Text::new(&key.name, false)),
            false => self.value(index),
        }
    }

    /// The first further place of a field that has a value: its key, and whether the field is the name of the key. A
    /// key with the value `null` counts only if no other place has a value.
    fn chosen(&self, role: Role) -> Option<(usize, bool)> {
        let others = || self.protocol.table().alternatives.iter().filter(|other| other.role == role);
        let says = |index, presence| match presence {
            true => self.json(index).is_some_and(|json| json != "null"),
            false => self.value(index).is_some(),
        };
        let said = others().find(|other| says(other.index, other.presence));
        let there = || others().find(|other| other.presence && self.json(other.index).is_some());
        said.or_else(there).map(|other| (other.index, other.presence))
    }

    /// The text of a command's part; `None` if empty.
    fn said(&self, span: TextSpan) -> Option<Text<'a>> {
        (!span.is_empty()).then(|| Text::new(span.of(self.text), false))
    }
}

/// Checks that a value is valid for a field.
fn check(number: bool, value: Value, message: &str) -> Result<(), ReadError> {
    let text = match value.first {
        b'n' => return Ok(()),
        b'"' => Text::new(value.span.inside().of(message), value.escaped),
        b'-' | b'0'..=b'9' if number => Text::new(value.span.of(message), false),
        _ => return Err(ReadError::WrongType),
    };
    if !text.is_well_formed() {
        Err(ReadError::NotJson)
    } else if text.raw().len() > MAX_FIELD_BYTES && text.decoded_bytes() > MAX_FIELD_BYTES {
        Err(ReadError::FieldTooLong)
    } else {
        Ok(())
    }
}
