//! Messages that are not JSON but a word in capital letters, an argument and a rest: `ROOM_PEER_MSG 7 {…}`. Only
//! protocols that list such words have commands. `read` calls this module for a message that does not start with `{`.

use super::json::TextSpan;
use super::protocol::Protocol;
use super::protocol::Role;
use corelane::envelope::{Argument, MAX_FIELD_BYTES, ReadError};

/// The command in a message: the positions of its word and its argument.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    word: TextSpan,
    argument: TextSpan,
    names: Argument,
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
        let span =
            |start: usize, length: usize| TextSpan { start: start as u32, end: (start + length) as u32 };
        Ok(Some(Self { word: span(0, word.len()), argument: span(start, argument.len()), names }))
    }

    /// The position of a field in the message; empty if the command does not have the field.
    pub(super) fn field(&self, role: Role) -> TextSpan {
        match (role, self.names) {
            (Role::Type, _) => self.word,
            (Role::Recipient, Argument::Recipient)
            | (Role::Room, Argument::Room)
            | (Role::Sender, Argument::Sender) => self.argument,
            _ => TextSpan::default(),
        }
    }

    /// Passes the relayed command to `put`, piece by piece.
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

/// Whether some reader would end a word at this character.
fn unwritable(character: char) -> bool {
    // JavaScript treats the byte order mark as white space.
    character.is_whitespace() || character.is_control() || character == '\u{feff}'
}

/// Passes a character to `put`, percent-encoded byte by byte.
fn percent(character: char, put: &mut impl FnMut(&str)) {
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        put("%");
        for digit in [byte >> 4, byte & 0xF] {
            let digit = char::from_digit(digit.into(), 16).unwrap_or_default();
            put(digit.encode_utf8(&mut [0; 1]));
        }
    }
}
