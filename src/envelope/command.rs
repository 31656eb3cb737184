//! Messages that are no JSON but a word in capital letters, an argument and the rest: `ROOM_PEER_MSG 7 {…}`. Only
//! protocols that name such words have them; `read` comes here for what does not start as an object.

use super::json::TextSpan;
use super::protocol::{Protocol, ProtocolError};
use super::read::{MAX_FIELD_BYTES, ReadError};
use super::table::Role;

/// What stands behind a command's word, up to the next space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Argument {
    /// Nothing that the router needs.
    Nothing,
    /// Whom it is for. Once it is relayed, whom it is from stands there.
    Recipient,
    /// Which room it is for.
    Room,
    /// Whom it is from. Whatever the client wrote there, the relayed message holds the sender that the server knows.
    Sender,
}

/// A command's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    word: Box<str>,
    argument: Argument,
}

/// A command in a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    word: TextSpan,
    argument: TextSpan,
    names: Argument,
}

impl Word {
    pub(super) fn names(&self, argument: Argument) -> bool {
        self.argument == argument
    }
}

impl Protocol {
    /// Lets messages be commands too: those words, and what the argument of each is. A command's type is its word; a word
    /// that is not listed is one whose argument is nothing. What follows the argument is relayed as it stands.
    ///
    /// The sender of a relayed command is written with white space, control characters and `%` as in addresses of the web
    /// (`%20`), so that it stays one word.
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
    /// [`ProtocolError::Word`] for a word of other characters than capital letters and underscores,
    /// [`ProtocolError::SameKey`] for one that is listed twice.
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

    /// For words that are known to be good.
    pub(super) fn and_words(mut self, words: &[(&str, Argument)]) -> Self {
        self.words = words.iter().map(|&(word, argument)| Word { word: word.into(), argument }).collect();
        self
    }
}

impl Command {
    /// The command that a message is; `None` if the protocol has none or the message does not start with a word.
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
        let span =
            |start: usize, length: usize| TextSpan { start: start as u32, end: (start + length) as u32 };
        Ok(Some(Self { word: span(0, word.len()), argument: span(start, argument.len()), names }))
    }

    /// Where in the message a field stands; empty if it does not.
    pub(super) fn field(&self, role: Role) -> TextSpan {
        match (role, self.names) {
            (Role::Type, _) => self.word,
            (Role::Recipient, Argument::Recipient)
            | (Role::Room, Argument::Room)
            | (Role::Sender, Argument::Sender) => self.argument,
            _ => TextSpan::default(),
        }
    }

    /// Hands over the command as it is relayed, piece by piece.
    pub(super) fn relayed(&self, text: &str, sender: &str, mut put: impl FnMut(&str)) {
        if !matches!(self.names, Argument::Recipient | Argument::Sender) {
            return put(text);
        }
        put(self.word.of(text));
        put(" ");
        for piece in sender.split_inclusive(|character| character == '%' || unwritable(character)) {
            let mut characters = piece.chars();
            match characters.next_back().filter(|last| *last == '%' || unwritable(*last)) {
                Some(last) => {
                    put(characters.as_str());
                    percent(last, &mut put);
                }
                None => put(piece),
            }
        }
        put(text.get(self.argument.end as usize..).unwrap_or_default());
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// What would end a word, for one reader or another.
fn unwritable(character: char) -> bool {
    // The byte order mark is white space to JavaScript.
    character.is_whitespace() || character.is_control() || character == '\u{feff}'
}

/// Hands over a character as `%` and two digits for each of its bytes.
fn percent(character: char, put: &mut impl FnMut(&str)) {
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        put("%");
        for digit in [byte >> 4, byte & 0xF] {
            let digit = char::from_digit(digit.into(), 16).unwrap_or_default();
            put(digit.encode_utf8(&mut [0; 1]));
        }
    }
}
