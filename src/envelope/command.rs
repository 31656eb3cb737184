//! Messages that are not JSON but a word in capital letters, an argument and a rest: `ROOM_PEER_MSG 7 {…}`. Only
//! protocols that list such words have commands. `read` calls this module for a message that does not start with `{`.

use super::error::ProtocolError;
use super::error::{MAX_FIELD_BYTES, ReadError};
use super::fields::{Argument, Role, Word};
use super::protocol::Protocol;
use super::scan::Span;

/// The command in a message: the positions of its word and its argument.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    word: Span,
    argument: Span,
    names: Argument,
}

impl Protocol {
    /// Lets messages be commands too. `words` lists the command words and the meaning of each word's argument. The
    /// type of a command is its word. A word that is not listed is still a command; its argument has no meaning. Text
    /// after the argument is relayed unchanged.
    ///
    /// In the sender of a relayed command, white space, control characters and `%` are percent-encoded as in URLs
    /// (`%20`), so that the sender stays one word.
    ///
    /// ```
    /// use corelane::envelope::{Argument, Fields, Forward, Protocol, read};
    ///
    /// let protocol = Protocol::new("intercom", &Fields::default(), Forward::All)?;
    /// let protocol = protocol.with_words(&[("CALL", Argument::Recipient), ("HANG_UP", Argument::Nothing)])?;
    /// let envelope = read(&protocol, b"CALL gate now").unwrap();
    /// assert!(envelope.message_type().is_some_and(|word| word == "CALL"));
    /// assert!(envelope.recipient().is_some_and(|name| name == "gate"));
    /// let mut relayed = [0; 14];
    /// envelope.write_relayed("lodge", &mut relayed);
    /// assert_eq!(&relayed, b"CALL lodge now");
    /// # Ok::<(), corelane::envelope::ProtocolError>(())
    /// ```
    ///
    /// # Errors
    /// [`ProtocolError::Word`] if a word is empty, is longer than [`MAX_FIELD_BYTES`], or contains a character other
    /// than capital letters and underscores; [`ProtocolError::SameKey`] if a word is listed twice.
    pub fn with_words(self, words: &[(&str, Argument)]) -> Result<Self, ProtocolError> {
        if words.iter().any(|(word, _)| !is_word(word) || word.len() > MAX_FIELD_BYTES) {
            return Err(ProtocolError::Word);
        }
        let again = |(index, (word, _)): (usize, &(&str, Argument))| {
            words.iter().skip(index + 1).any(|(other, _)| other == word)
        };
        if words.iter().enumerate().any(again) {
            return Err(ProtocolError::SameKey);
        }
        Ok(self.and_words(words))
    }

    /// Sets the words without checking them. For words that are known to be valid.
    pub(super) fn and_words(mut self, words: &[(&str, Argument)]) -> Self {
        self.words = words.iter().map(|&(word, argument)| Word { word: word.into(), argument }).collect();
        self
    }
}

impl Command {
    /// Parses the message as a command. `None` if the protocol has no commands or the message does not start with a
    /// word.
    pub(super) fn read(protocol: &Protocol, text: &str) -> Result<Option<Self>, ReadError> {
        let word = text.split(' ').next().unwrap_or_default();
        if protocol.words.is_empty() || !is_word(word) {
            return Ok(None);
        }
        let argument = text.get(word.len() + 1..).unwrap_or_default().split(' ').next().unwrap_or_default();
        if word.len() > MAX_FIELD_BYTES {
            return Err(ReadError::FieldTooLong);
        }
        let known = protocol.words.iter().find(|known| *known.word == *word);
        let names = known.map_or(Argument::Nothing, |known| known.argument);
        if names != Argument::Nothing {
            if argument.contains(unwritable) {
                return Err(ReadError::NotJson);
            }
            if argument.len() > MAX_FIELD_BYTES {
                return Err(ReadError::FieldTooLong);
            }
        }
        let start = (word.len() + 1).min(text.len());
        let span = |start: usize, length: usize| Span { start: start as u32, end: (start + length) as u32 };
        Ok(Some(Self { word: span(0, word.len()), argument: span(start, argument.len()), names }))
    }

    /// The position of a field in the message; empty if the command does not have the field.
    pub(super) fn field(&self, role: Role) -> Span {
        match (role, self.names) {
            (Role::Type, _) => self.word,
            (Role::Recipient, Argument::Recipient)
            | (Role::Room, Argument::Room)
            | (Role::Sender, Argument::Sender) => self.argument,
            _ => Span::default(),
        }
    }

    /// Passes the relayed command to `put`, piece by piece.
    pub(super) fn relayed(&self, message: &[u8], sender: &str, mut put: impl FnMut(&[u8])) {
        if !matches!(self.names, Argument::Recipient | Argument::Sender) {
            return put(message);
        }
        put(self.word.of(message));
        put(b" ");
        for piece in sender.split_inclusive(|character| character == '%' || unwritable(character)) {
            let mut characters = piece.chars();
            match characters.next_back().filter(|last| *last == '%' || unwritable(*last)) {
                Some(last) => {
                    put(characters.as_str().as_bytes());
                    percent(last, &mut put);
                }
                None => put(piece.as_bytes()),
            }
        }
        put(message.get(self.argument.end as usize..).unwrap_or_default());
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// Whether some reader would end a word at this character.
fn unwritable(character: char) -> bool {
    // JavaScript treats the byte order mark as white space.
    character.is_whitespace() || character.is_control() || character == '\u{feff}'
}

/// Passes a character to `put`, percent-encoded byte by byte.
fn percent(character: char, put: &mut impl FnMut(&[u8])) {
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        put(b"%");
        for digit in [byte >> 4, byte & 0xF] {
            let digit = char::from_digit(digit.into(), 16).unwrap_or_default();
            put(digit.encode_utf8(&mut [0; 1]).as_bytes());
        }
    }
}
