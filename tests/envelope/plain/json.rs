//! A strict, non-recursive scanner for one JSON text (RFC 8259). It reports where each value ends and refuses text that
//! is not JSON. It reads strings only as far as that requires. Called by `read`.
//!
//! RFC 8259 allows an escape that is half a surrogate pair, so the scanner accepts it. `Text::is_well_formed` refuses
//! it where a string is decoded.

use super::text::{Text, plain_prefix};
use corelane::envelope::MAX_DEPTH;
use corelane::envelope::ReadError::{self, NotJson, TooDeep};

/// A part of the text, by byte offsets. A span is half the size of a reference, and an envelope holds many of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TextSpan {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl TextSpan {
    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The part of `text` that the span covers. `text` must be the text in which the span was found.
    pub(super) fn of(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// The span without its first and last byte: the contents of a string without the quotes.
    pub(super) fn inside(self) -> Self {
        Self { start: self.start + 1, end: self.end - 1 }
    }
}

/// A value in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    /// Includes quotes and brackets; never empty.
    pub(super) span: TextSpan,
    /// The first byte; it determines the value's type.
    pub(super) first: u8,
    /// The value is a string that contains escapes.
    pub(super) escaped: bool,
}

#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// `text` must be shorter than 4 GiB.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The offset after the last byte taken.
    pub(super) fn position(&self) -> u32 {
        self.at as u32
    }

    /// Skips white space and returns the next byte without taking it.
    pub(super) fn peek(&mut self) -> Result<u8, ReadError> {
        loop {
            match self.byte() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return Ok(byte),
                None => return Err(NotJson),
            }
        }
    }

    /// Takes the byte that `peek` returned.
    pub(super) fn take(&mut self) {
        self.at += 1;
    }

    /// Takes a key and its colon.
    pub(super) fn key(&mut self) -> Result<Text<'a>, ReadError> {
        if self.peek()? != b'"' {
            return Err(NotJson);
        }
        let start = self.position();
        let escaped = self.string()?;
        let span = TextSpan { start, end: self.position() };
        if self.peek()? != b':' {
            return Err(NotJson);
        }
        self.take();
        Ok(Text::new(span.inside().of(self.text), escaped))
    }

    /// Takes a value. `depth` is how many objects and arrays are open around it.
    pub(super) fn value(&mut self, depth: u32) -> Result<Value, ReadError> {
        let first = self.peek()?;
        let start = self.position();
        let escaped = if first == b'"' { self.string()? } else { self.nested(depth)? };
        Ok(Value { span: TextSpan { start, end: self.position() }, first, escaped })
    }

    /// Checks that only white space follows.
    pub(super) fn end(&mut self) -> Result<(), ReadError> {
        if self.peek().is_ok() { Err(NotJson) } else { Ok(()) }
    }

    /// Takes a value and everything in it. `open` has one bit per open container, the innermost in the lowest bit: 1
    /// for an object, 0 for an array.
    fn nested(&mut self, outer: u32) -> Result<bool, ReadError> {
        let (mut open, mut depth) = (0_u128, outer);
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                bracket @ (b'{' | b'[') => {
                    if depth >= MAX_DEPTH {
                        return Err(TooDeep);
                    }
                    self.take();
                    let object = bracket == b'{';
                    if self.peek()? != closing(object) {
                        (open, depth) = (open << 1 | u128::from(object), depth + 1);
                        if object {
                            self.key()?;
                        }
                        continue;
                    }
                    self.take();
                }
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                _ => self.number()?,
            }
            // After a value: close the containers that end here; after a comma continue with the next value.
            loop {
                if depth == outer {
                    return Ok(false);
                }
                let object = open & 1 == 1;
                match self.peek()? {
                    b',' => {
                        self.take();
                        if object {
                            self.key()?;
                        }
                        break;
                    }
                    byte if byte == closing(object) => self.take(),
                    _ => return Err(NotJson),
                }
                (open, depth) = (open >> 1, depth - 1);
            }
        }
    }

    /// Takes a string, from its opening to its closing quote. Returns whether the string contains escapes.
    fn string(&mut self) -> Result<bool, ReadError> {
        self.take();
        let mut escaped = false;
        loop {
            self.at += plain_prefix(self.rest());
            match self.byte() {
                Some(b'"') => {
                    self.take();
                    return Ok(escaped);
                }
                Some(b'\\') => escaped = true,
                _ => return Err(NotJson),
            }
            // Escapes come in runs: each line of an SDP ends with two.
            while self.byte() == Some(b'\\') {
                self.take();
                self.escape()?;
            }
        }
    }

    /// Takes the rest of an escape, after the backslash.
    fn escape(&mut self) -> Result<(), ReadError> {
        match self.byte() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.take(),
            Some(b'u') => {
                let digits = self.rest().get(1..5).ok_or(NotJson)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(NotJson);
                }
                self.at += 5;
            }
            _ => return Err(NotJson),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), ReadError> {
        if self.byte() == Some(b'-') {
            self.take();
        }
        match self.byte() {
            Some(b'0') => self.take(),
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.take();
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.take();
            if let Some(b'+' | b'-') = self.byte() {
                self.take();
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Takes one or more digits.
    fn digits(&mut self) -> Result<(), ReadError> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.take();
        }
        if self.at == start { Err(NotJson) } else { Ok(()) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), ReadError> {
        if !self.rest().starts_with(word) {
            return Err(NotJson);
        }
        self.at += word.len();
        Ok(())
    }
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

fn closing(object: bool) -> u8 {
    if object { b'}' } else { b']' }
}
