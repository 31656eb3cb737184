//! Reads one message into an envelope, by the rules of a protocol. The router's workers call it for each message whose
//! type and recipient the submitter did not pass along.

use super::command::Command;
use super::error::{MAX_FIELD_BYTES, ReadError};
use super::fields::Role;
use super::found::Envelope;
use super::protocol::Protocol;
use super::scan::{Scanner, Span};
use super::table::FieldKey;
use super::text::Text;

/// Reads a message. The whole message is checked: a syntax error in the last byte is an error.
///
/// # Errors
/// See [`ReadError`]. Reports the first error in the order of the text; a missing type is reported last.
///
/// ```
/// use corelane::envelope::read;
/// use corelane::router::ProtocolRules;
///
/// let peerjs = ProtocolRules::peerjs();
/// let envelope = read(peerjs.protocol(), br#"{"payload":{"x":1},"dst":"ben","src":"mallory","type":"OFFER"}"#)?;
/// assert!(envelope.message_type().is_some_and(|kind| kind == "OFFER"));
/// assert!(envelope.recipient().is_some_and(|name| name == "ben"));
///
/// let mut relayed = vec![0; envelope.relayed_len("ann")];
/// envelope.write_relayed("ann", &mut relayed);
/// assert_eq!(relayed, br#"{"src":"ann","payload":{"x":1},"dst":"ben","type":"OFFER"}"#);
/// # Ok::<(), corelane::envelope::ReadError>(())
/// ```
#[inline(always)]
pub fn read<'a>(protocol: &'a Protocol, message: &'a [u8]) -> Result<Envelope<'a>, ReadError> {
    // Built where the result is, in the caller's frame: a copy would cost a tenth of reading a small message.
    let mut result = Ok(Envelope::new(protocol, message));
    if let Ok(envelope) = &mut result
        && let Err(error) = envelope.walk()
    {
        result = Err(refused(message, error));
    }
    result
}

/// The error to report. A message that is not UTF-8 is refused for that, whatever else is wrong with it. The walk has
/// only examined the text up to the error.
#[cold]
fn refused(message: &[u8], error: ReadError) -> ReadError {
    match error {
        ReadError::Empty | ReadError::TooLong => error,
        _ if std::str::from_utf8(message).is_err() => ReadError::NotUtf8,
        _ => error,
    }
}

/// Reads a message that is not an object. It must be a command.
#[cold]
fn no_object(protocol: &Protocol, message: &[u8], mut scanner: Scanner<'_>) -> Result<Command, ReadError> {
    let text = std::str::from_utf8(message).map_err(|_| ReadError::NotUtf8)?;
    if let Some(command) = Command::read(protocol, text)? {
        return Ok(command);
    }
    let first = scanner.peek()?;
    scanner.value(first, 0)?;
    scanner.end().and(Err(ReadError::NotAnObject))
}

impl<'a> Envelope<'a> {
    /// Reads the message from its first byte to its last.
    #[inline(never)]
    fn walk(&mut self) -> Result<(), ReadError> {
        if self.message.is_empty() {
            return Err(ReadError::Empty);
        }
        if u32::try_from(self.message.len()).is_err() {
            return Err(ReadError::TooLong);
        }
        let mut scanner = Scanner::new(self.message);
        if scanner.peek()? == b'{' {
            self.members(&mut scanner)?;
            scanner.end()?;
        } else {
            self.command = Some(no_object(self.protocol, self.message, scanner)?);
        }
        if self.protocol.is_typed() && self.message_type().is_none() {
            return Err(ReadError::MissingType);
        }
        Ok(())
    }

    /// Takes the object and all its members.
    #[inline(always)]
    fn members(&mut self, scanner: &mut Scanner<'a>) -> Result<(), ReadError> {
        /// No run has started: the last member is not relayed.
        const NONE: u32 = u32::MAX;
        let (protocol, message) = (self.protocol, self.message);
        scanner.take();
        // The start of the current run of relayed members, and the end of the last member.
        let (mut run, mut end) = (scanner.position(), 0);
        if scanner.peek()? == b'}' {
            scanner.take();
            return Ok(());
        }
        loop {
            let key = scanner.key()?;
            let found = find(protocol, message, key, scanner.escaped())?;
            let first = scanner.peek()?;
            let (value, is_relayed) = match found {
                Some((index, known)) => {
                    let value = match known.leads_inside() {
                        true => self.inside(scanner, index)?,
                        false => scanner.value(first, 1)?,
                    };
                    self.note(index, known, value, first, scanner.escaped())?;
                    (value, known.is_relayed)
                }
                None => (scanner.value(first, 1)?, protocol.table().forwards_all),
            };
            if !is_relayed {
                self.push_run(run, end);
                run = NONE;
            }
            end = value.end;
            let next = scanner.peek()?;
            scanner.take();
            match next {
                b',' if run == NONE => run = scanner.position(),
                b',' => {}
                b'}' => break,
                _ => return Err(ReadError::NotJson),
            }
        }
        self.push_run(run, end);
        Ok(())
    }

    /// Adds a run of members, unless it is empty.
    #[inline(always)]
    fn push_run(&mut self, start: u32, end: u32) {
        if start < end
            && let Some(run) = self.runs.get_mut(self.run_count)
        {
            *run = Span { start, end };
            self.run_count += 1;
        }
    }

    /// Records the value of a key that the protocol uses.
    #[inline(always)]
    pub(super) fn note(
        &mut self,
        index: usize,
        known: &FieldKey,
        value: Span,
        first: u8,
        escaped: bool,
    ) -> Result<(), ReadError> {
        let Some(place) = self.values.get_mut(index) else { return Ok(()) };
        if !place.is_empty() {
            return Err(ReadError::DuplicateField);
        }
        *place = value;
        // Longer than the quotes, and not longer than a field with them.
        if first == b'"' && !escaped && (3..=MAX_FIELD_BYTES + 2).contains(&value.len()) {
            self.plain |= 1 << index;
            return Ok(());
        }
        self.escaped |= u32::from(escaped) << index;
        match known.role {
            None | Some(Role::Sender) => Ok(()),
            Some(_) => check(known.number, value.of(self.message), escaped),
        }
    }
}

/// A key that the protocol uses, and its index.
type Found<'a> = Option<(usize, &'a FieldKey)>;

/// Finds a key among the keys that the protocol uses.
#[inline(always)]
fn find<'a>(
    protocol: &'a Protocol,
    message: &[u8],
    key: Span,
    escaped: bool,
) -> Result<Found<'a>, ReadError> {
    let table = protocol.table();
    if !escaped {
        let bytes = message.get(key.start as usize..).unwrap_or_default();
        let found = table.find_plain(bytes, key.len());
        if found.is_some() || !table.guards_sender {
            return Ok(found);
        }
    }
    find_slowly(protocol, Text::new(key.of(message), escaped))
}

/// Finds a key with escapes, and refuses a key that resembles the sender's.
#[inline(never)]
fn find_slowly<'a>(protocol: &'a Protocol, key: Text<'_>) -> Result<Found<'a>, ReadError> {
    if !key.is_well_formed() {
        return Err(ReadError::NotJson);
    }
    let found = protocol.table().find(key);
    if found.is_none() && protocol.table().guards_sender && protocol.resembles_sender(key) {
        return Err(ReadError::AmbiguousSender);
    }
    Ok(found)
}

/// Checks that a value is valid for a field.
#[inline(never)]
fn check(number: bool, value: &[u8], escaped: bool) -> Result<(), ReadError> {
    let text = match value {
        [b'n', ..] => return Ok(()),
        [b'"', text @ .., _] => Text::new(text, escaped),
        [b'-' | b'0'..=b'9', ..] if number => Text::new(value, false),
        _ => return Err(ReadError::WrongType),
    };
    if !text.is_well_formed() {
        Err(ReadError::NotJson)
    } else if text.bytes().len() > MAX_FIELD_BYTES && text.decoded_bytes() > MAX_FIELD_BYTES {
        Err(ReadError::FieldTooLong)
    } else {
        Ok(())
    }
}
