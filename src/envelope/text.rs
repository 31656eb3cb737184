//! The contents of a JSON string, or a word of a command, compared and decoded without an allocation. `read` returns
//! these texts. The router decodes a recipient's name into a buffer on its stack and hashes the decoded name.

use std::fmt;
use std::str::Chars;

/// The contents of a JSON string, which may contain escapes, or a text without escapes. Its meaning is
/// [`characters`](Self::characters); two texts that are written differently may have the same meaning.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    /// Valid UTF-8: part of a message that was read, or a name of the protocol.
    raw: &'a [u8],
    escaped: bool,
}

impl<'a> Text<'a> {
    /// `raw` must be the contents of a string that the scanner took, or `escaped` must be false.
    #[inline(always)]
    pub(super) fn new(raw: &'a [u8], escaped: bool) -> Self {
        Self { raw, escaped }
    }

    /// The text as written, escapes not decoded. Texts of the same meaning may differ here, so never compare or hash
    /// it.
    pub fn raw(&self) -> &'a str {
        std::str::from_utf8(self.raw).unwrap_or_default()
    }

    /// Whether [`raw`](Self::raw) contains escapes. If not, `raw` is the decoded text.
    pub fn is_escaped(&self) -> bool {
        self.escaped
    }

    /// The decoded text: borrowed from the message if it has no escapes, otherwise written to `buffer`. `None` if
    /// `buffer` is too small. [`MAX_FIELD_BYTES`](super::MAX_FIELD_BYTES) are enough for every field, except for the
    /// sender that the client claims.
    ///
    /// ```
    /// use corelane::envelope::{MAX_FIELD_BYTES, read};
    /// use corelane::router::ProtocolRules;
    ///
    /// let peerjs = ProtocolRules::peerjs();
    /// let envelope = read(peerjs.protocol(), br#"{"type":"OFFER","dst":"\u0062en"}"#)?;
    /// let mut buffer = [0; MAX_FIELD_BYTES];
    /// assert_eq!(envelope.recipient().and_then(|name| name.decode(&mut buffer)), Some("ben"));
    /// # Ok::<(), corelane::envelope::ReadError>(())
    /// ```
    #[inline]
    pub fn decode<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b str>
    where
        'a: 'b,
    {
        self.decode_bytes(buffer).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// As [`decode`](Self::decode), without the check that the text is UTF-8, which reading the message has made.
    #[inline]
    pub(crate) fn decode_bytes<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b [u8]>
    where
        'a: 'b,
    {
        if self.escaped { self.unescape(buffer) } else { Some(self.raw) }
    }

    #[cold]
    fn unescape<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let mut length = 0;
        for character in self.characters() {
            let end = length + character.len_utf8();
            character.encode_utf8(buffer.get_mut(length..end)?);
            length = end;
        }
        buffer.get(..length)
    }

    /// The text as written, as bytes.
    #[inline(always)]
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether the decoded text equals `other`.
    #[inline]
    pub fn eq_str(&self, other: &str) -> bool {
        if self.escaped { self.characters().eq(other.chars()) } else { self.raw == other.as_bytes() }
    }

    /// The decoded characters.
    pub fn characters(&self) -> Characters<'a> {
        Characters { rest: self.raw().chars(), escaped: self.escaped }
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
        write!(formatter, "\"{}\"", self.raw())
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

    #[inline]
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
