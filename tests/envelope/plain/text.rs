//! The contents of a JSON string, or a word of a command, compared and decoded without an allocation. `read` returns
//! these texts. The router decodes a recipient's name into a buffer on its stack and hashes the decoded name.

use std::fmt;
use std::str::Chars;

/// The contents of a JSON string, which may contain escapes, or a text without escapes. Its meaning is
/// [`characters`](Self::characters); two texts that are written differently may have the same meaning.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// `raw` must be the contents of a string that the scanner took, or `escaped` must be false.
    pub(super) fn new(raw: &'a str, escaped: bool) -> Self {
        Self { raw, escaped }
    }

    /// The text as written, escapes not decoded. Texts of the same meaning may differ here, so never compare or hash
    /// it.
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// Whether [`raw`](Self::raw) contains escapes. If not, `raw` is the decoded text.
    pub fn is_escaped(&self) -> bool {
        self.escaped
    }

    /// Whether the decoded text equals `other`.
    pub fn eq_str(&self, other: &str) -> bool {
        if self.escaped { self.characters().eq(other.chars()) } else { self.raw == other }
    }

    /// The decoded characters.
    pub fn characters(&self) -> Characters<'a> {
        Characters { rest: self.raw.chars(), escaped: self.escaped }
    }

    /// Whether every escape decodes to a character. Half a surrogate pair does not.
    pub(super) fn is_well_formed(&self) -> bool {
        if !self.escaped {
            return true;
        }
        let mut characters = self.characters();
        characters.by_ref().for_each(drop);
        characters.rest.as_str().is_empty()
    }

    /// Length of the decoded text, in bytes.
    pub(super) fn decoded_bytes(&self) -> usize {
        if self.escaped { self.characters().map(char::len_utf8).sum() } else { self.raw.len() }
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        self.eq_str(other)
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.eq_str(other)
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.characters().try_for_each(|character| fmt::Write::write_char(formatter, character))
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", self.raw)
    }
}

/// The decoded characters of a [`Text`]. The iterator ends before an escape that does not decode to a character.
#[derive(Clone, Debug)]
pub struct Characters<'a> {
    rest: Chars<'a>,
    /// Whether a backslash starts an escape.
    escaped: bool,
}

impl Iterator for Characters<'_> {
    type Item = char;
    fn next(&mut self) -> Option<char> {
        let before = self.rest.clone();
        let character = match self.rest.next()? {
            '\\' if self.escaped => escape(&mut self.rest),
            plain => return Some(plain),
        };
        if character.is_none() {
            self.rest = before;
        }
        character
    }
}

/// Decodes the rest of an escape, after the backslash.
fn escape(rest: &mut Chars<'_>) -> Option<char> {
    Some(match rest.next()? {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return unicode(rest),
        itself @ ('"' | '\\' | '/') => itself,
        _ => return None,
    })
}

/// Decodes the rest of a `\u` escape: one character, or the first half of a surrogate pair and the escape of the
/// second.
fn unicode(rest: &mut Chars<'_>) -> Option<char> {
    let first = hexadecimal(rest)?;
    if !(0xD800..0xDC00).contains(&first) {
        return char::from_u32(first);
    }
    if (rest.next()?, rest.next()?) != ('\\', 'u') {
        return None;
    }
    let second = hexadecimal(rest)?.checked_sub(0xDC00).filter(|half| *half < 0x400)?;
    char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + second)
}

fn hexadecimal(rest: &mut Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |value, _| Some(value << 4 | rest.next()?.to_digit(16)?))
}

/// How many bytes precede the next quote, backslash or control character.
pub(super) fn plain_prefix(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| !matches!(byte, 0..0x20 | b'"' | b'\\')).count()
}

/// Passes `text` to `put`, escaped for the inside of a JSON string.
pub(super) fn escaped(text: &str, mut put: impl FnMut(&str)) {
    let mut rest = text;
    // Every special character is one byte long, so both splits are at character boundaries.
    while let Some((plain, special)) = rest.split_at_checked(plain_prefix(rest.as_bytes())) {
        put(plain);
        match special.as_bytes().first() {
            Some(b'"') => put("\\\""),
            Some(b'\\') => put("\\\\"),
            Some(control) => {
                put("\\u00");
                for digit in [control >> 4, control & 0xF] {
                    let digit = char::from_digit(digit.into(), 16).unwrap_or_default();
                    put(digit.encode_utf8(&mut [0; 1]));
                }
            }
            None => break,
        }
        rest = special.get(1..).unwrap_or_default();
    }
}
