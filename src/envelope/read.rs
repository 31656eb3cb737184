//! From the bytes of one message to its envelope, under the rules of a protocol. Called by the router's workers for
//! each message whose type and recipient its submitter did not give.

use super::command::Command;
use super::json::{MAX_DEPTH, Scanner, TextSpan, Value};
use super::protocol::{MAX_KEYS, Protocol};
use super::table::{FieldKey, Role};
use super::text::Text;
use std::fmt;

/// The longest type, recipient, room or transaction, in bytes of UTF-8 with escapes undone.
pub const MAX_FIELD_BYTES: usize = 256;

/// What was found in a message: parts of it, borrowed.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    pub(super) protocol: &'a Protocol,
    pub(super) text: &'a str,
    /// The value of each of the protocol's keys, by its index; empty if the message does not have it.
    pub(super) values: [TextSpan; MAX_KEYS],
    /// A bit for each of `values` that is a string with escapes.
    escaped: u32,
    /// From the first member to the last.
    pub(super) members: TextSpan,
    /// In these, the sender's, with the comma before it; empty and at the end if there is none.
    sender: TextSpan,
    /// The message is no object but a command; then `values` has nothing.
    pub(super) command: Option<Command>,
}

/// Why a message was refused. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum ReadError {
    /// No bytes.
    Empty = 1,
    /// Not UTF-8.
    NotUtf8 = 2,
    /// Not JSON, or something follows it, and no command of the protocol. Half a surrogate pair is JSON, but not in a key
    /// of the message itself or of an object that a path leads into, and not in a field that is used.
    NotJson = 3,
    /// JSON, but not an object.
    NotAnObject = 4,
    /// More than [`MAX_DEPTH`] objects and arrays inside each other.
    TooDeep = 5,
    /// A key that the protocol uses, or that one of its paths leads through, stands twice.
    DuplicateField = 6,
    /// A field that the protocol uses is not a string (a transaction, and what the protocol says, may be a number); or what
    /// the sender is put into is no object.
    WrongType = 7,
    /// The protocol has a type, the message has none: absent, `null` or empty.
    MissingType = 8,
    /// A field that the protocol uses is longer than [`MAX_FIELD_BYTES`].
    FieldTooLong = 9,
    /// Everything is relayed, and a key differs from the sender's only as some readers do not see: by case, or behind
    /// a NUL.
    AmbiguousSender = 10,
    /// 4 GiB or more.
    TooLong = 11,
    /// The client has written where the server puts the sender, inside an object.
    ForgedSender = 12,
}

/// Reads a message. All of it is checked: what is not JSON in its last byte is refused.
///
/// # Errors
/// See [`ReadError`]: the first thing wrong, in the order of the text; what is missing comes last.
///
/// ```
/// use corelane::envelope::{Protocol, read};
///
/// let protocol = Protocol::peerjs();
/// let envelope = read(&protocol, br#"{"payload":{"x":1},"dst":"ben","src":"mallory","type":"OFFER"}"#)?;
/// assert!(envelope.message_type().is_some_and(|kind| kind == "OFFER"));
/// assert!(envelope.recipient().is_some_and(|name| name == "ben"));
///
/// let mut relayed = vec![0; envelope.relayed_len("ann")];
/// envelope.write_relayed("ann", &mut relayed);
/// assert_eq!(relayed, br#"{"type":"OFFER","src":"ann","dst":"ben","payload":{"x":1}}"#);
/// # Ok::<(), corelane::envelope::ReadError>(())
/// ```
#[inline(always)] // Built where the caller keeps it: a copy is a tenth of the cost of a small message.
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

/// What is no object must be a command.
#[cold]
fn no_object(protocol: &Protocol, text: &str, scanner: &mut Scanner<'_>) -> Result<Command, ReadError> {
    if let Some(command) = Command::read(protocol, text)? {
        return Ok(command);
    }
    scanner.value(0)?;
    scanner.end().and(Err(ReadError::NotAnObject))
}

impl<'a> Envelope<'a> {
    /// What kind of message it is. Always there if the protocol has types.
    #[inline]
    pub fn message_type(&self) -> Option<Text<'a>> {
        self.field(Role::Type)
    }

    /// Whom it is for: `None` if it does not say, or says `null` or `""`.
    #[inline]
    pub fn recipient(&self) -> Option<Text<'a>> {
        self.field(Role::Recipient)
    }

    /// Which room it is for: `None` if it does not say, or says `null` or `""`.
    #[inline]
    pub fn room(&self) -> Option<Text<'a>> {
        self.field(Role::Room)
    }

    /// What an answer will be matched by: the text of a string, or a number as written; `None` if it does not say, or
    /// says `null` or `""`. An answer echoes [`transaction_json`](Self::transaction_json).
    #[inline]
    pub fn transaction(&self) -> Option<Text<'a>> {
        self.field(Role::Transaction)
    }

    /// The transaction as JSON, ready to be echoed: with its quotes if it is a string.
    pub fn transaction_json(&self) -> Option<&'a str> {
        let first = self.protocol.role(Role::Transaction).filter(|index| self.value(*index).is_some());
        let index = first.or_else(|| self.chosen(Role::Transaction).map(|(index, _)| index))?;
        self.value(index).and_then(|_| self.json(index))
    }

    /// Whom the **client** says it is from; `None` if that is no string, or stands inside an object. For logs at most: see
    /// [`write_relayed`](Self::write_relayed).
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

    /// The value of one of the protocol's keys, as written; `None` if the message does not have it.
    #[inline]
    pub(super) fn json(&self, index: usize) -> Option<&'a str> {
        self.values.get(index).filter(|span| !span.is_empty()).map(|span| span.of(self.text))
    }

    /// The members before the sender's, as written; all of them if it has none.
    pub(super) fn before_sender(&self) -> &'a str {
        TextSpan { end: self.sender.start, ..self.members }.of(self.text)
    }

    /// What follows the sender's, from its comma.
    pub(super) fn after_sender(&self) -> &'a str {
        TextSpan { start: self.sender.end, ..self.members }.of(self.text)
    }

    /// Walks all members to the end of the object.
    #[inline(always)]
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

    /// The key that the protocol uses, if this is one of them.
    #[inline(always)]
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

    /// Notes the value of a key that the protocol uses.
    #[inline(always)]
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

    /// The field with that role, if the protocol has it, and the message has it; `null` and `""` are none.
    #[inline]
    fn field(&self, role: Role) -> Option<Text<'a>> {
        let first = self.protocol.role(role).and_then(|index| self.value(index));
        if first.is_some() { first } else { self.elsewhere(role) }
    }

    /// What the value of a key says, if anything.
    #[inline]
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

    /// The field with that role where it does not stand at its first place.
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

    /// The first of the other places that says something: its key, and whether that is the field. A key that is there with
    /// `null` will do if nothing else does.
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

    /// A part of a command.
    fn said(&self, span: TextSpan) -> Option<Text<'a>> {
        (!span.is_empty()).then(|| Text::new(span.of(self.text), false))
    }
}

/// Whether a value will do for a field.
#[inline]
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

impl fmt::Display for ReadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(formatter, "the message is empty: send a JSON object"),
            Self::NotUtf8 => write!(formatter, "the message is not UTF-8: encode it as UTF-8"),
            Self::NotJson => {
                write!(formatter, "the message is not one JSON text: check its syntax and what follows it")
            }
            Self::NotAnObject => {
                write!(formatter, "the message is not a JSON object: send one object per message")
            }
            Self::TooDeep => write!(formatter, "more than {MAX_DEPTH} levels of nesting: nest less"),
            Self::DuplicateField => {
                write!(formatter, "a field that the protocol uses stands twice: send it once")
            }
            Self::WrongType => {
                write!(formatter, "a field that the protocol uses is not a string: send a string")
            }
            Self::MissingType => write!(formatter, "the message has no type: send one"),
            Self::FieldTooLong => {
                write!(formatter, "a field is longer than {MAX_FIELD_BYTES} bytes: shorten it")
            }
            Self::ForgedSender => {
                write!(formatter, "the message names a sender where the server does: leave it out")
            }
            Self::TooLong => formatter.write_str("the message has 4 GiB or more: send less"),
            Self::AmbiguousSender => {
                write!(formatter, "a key reads almost like the sender's: rename it, or spell it exactly")
            }
        }
    }
}

impl std::error::Error for ReadError {}
