//! A strict, non-recursive scanner for one JSON text (RFC 8259), from its first byte to its last. It reports where each
//! value ends and refuses text that is not JSON. Called by `read` and `inside`.
//!
//! RFC 8259 allows an escape that is half a surrogate pair, so the scanner accepts it. `Text::is_well_formed` refuses
//! it where a string is decoded.

use super::error::MAX_DEPTH;
use super::error::ReadError::{self, NotJson, TooDeep};
use super::string;

/// A part of the message, by byte offsets. A span is half the size of a reference, and an envelope holds many of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    #[inline(always)]
    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }

    #[inline(always)]
    pub(super) fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// The part of `bytes` that the span covers.
    #[inline(always)]
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// The span without its first and last byte: the contents of a string without the quotes.
    #[inline(always)]
    pub(super) fn inside(self) -> Self {
        Self { start: self.start + 1, end: self.end - 1 }
    }
}

/// A position in a message. Whatever is out of line takes and returns offsets, so that the position stays in a
/// register.
#[derive(Clone, Copy)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    escaped: bool,
}

impl<'a> Scanner<'a> {
    /// `bytes` must be shorter than 4 GiB.
    #[inline(always)]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, escaped: false }
    }

    /// The offset behind the last byte taken.
    #[inline(always)]
    pub(super) fn position(&self) -> u32 {
        self.at as u32
    }

    /// Whether the last key, or the last value that is a string, contains escapes.
    #[inline(always)]
    pub(super) fn escaped(&self) -> bool {
        self.escaped
    }

    /// Skips white space and returns the next byte without taking it.
    #[inline(always)]
    pub(super) fn peek(&mut self) -> Result<u8, ReadError> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte > b' ' => Ok(byte),
            _ => {
                self.at = behind_space(self.bytes, self.at);
                self.bytes.get(self.at).copied().ok_or(NotJson)
            }
        }
    }

    /// Takes the byte that `peek` returned.
    #[inline(always)]
    pub(super) fn take(&mut self) {
        self.at += 1;
    }

    /// Takes a key and its colon. Returns the key without its quotes.
    #[inline(always)]
    pub(super) fn key(&mut self) -> Result<Span, ReadError> {
        if self.peek()? != b'"' {
            return Err(NotJson);
        }
        let start = self.position() + 1;
        self.string()?;
        let key = Span { start, end: self.position() - 1 };
        if self.peek()? != b':' {
            return Err(NotJson);
        }
        self.take();
        Ok(key)
    }

    /// Takes a value, with its quotes or brackets. `first` is the byte that `peek` returned, and `depth` is how many
    /// objects and arrays are open around the value.
    #[inline(always)]
    pub(super) fn value(&mut self, first: u8, depth: u32) -> Result<Span, ReadError> {
        let start = self.position();
        if first == b'"' {
            self.string()?;
        } else {
            self.escaped = false;
            self.at = behind_value(self.bytes, self.at, depth)?;
        }
        Ok(Span { start, end: self.position() })
    }

    /// Checks that only white space follows.
    #[inline(always)]
    pub(super) fn end(&mut self) -> Result<(), ReadError> {
        if self.at == self.bytes.len() || self.peek().is_err() { Ok(()) } else { Err(NotJson) }
    }

    /// Takes a string, from its opening to its closing quote.
    #[inline(always)]
    fn string(&mut self) -> Result<(), ReadError> {
        self.at = string::closing_quote(self.bytes, self.at + 1, &mut self.escaped)? + 1;
        Ok(())
    }
}

/// The offset behind the value at `at` and everything in it. `outer` is how many objects and arrays are open around it.
#[inline(never)]
fn behind_value(bytes: &[u8], at: usize, outer: u32) -> Result<usize, ReadError> {
    let mut scanner = Scanner { bytes, at, escaped: false };
    // The innermost open container, and those around it: one bit each, the innermost in the lowest. 1 is an object.
    let (mut object, mut around, mut depth) = (false, 0_u128, outer);
    loop {
        if object {
            scanner.key()?;
        }
        match scanner.peek()? {
            b'"' => scanner.string()?,
            bracket @ (b'{' | b'[') => {
                if depth >= MAX_DEPTH {
                    return Err(TooDeep);
                }
                scanner.take();
                let opened = bracket == b'{';
                if scanner.peek()? != closing(opened) {
                    around = around << 1 | u128::from(object);
                    (object, depth) = (opened, depth + 1);
                    continue;
                }
                scanner.take();
            }
            b't' => scanner.at = behind_word(bytes, scanner.at, b"true")?,
            b'f' => scanner.at = behind_word(bytes, scanner.at, b"false")?,
            b'n' => scanner.at = behind_word(bytes, scanner.at, b"null")?,
            _ => scanner.at = behind_number(bytes, scanner.at)?,
        }
        // Close the containers that end here; after a comma continue with the next value.
        loop {
            if depth == outer {
                return Ok(scanner.at);
            }
            let byte = scanner.peek()?;
            scanner.take();
            if byte == b',' {
                break;
            }
            if byte != closing(object) {
                return Err(NotJson);
            }
            object = around & 1 == 1;
            (around, depth) = (around >> 1, depth - 1);
        }
    }
}

fn closing(object: bool) -> u8 {
    if object { b'}' } else { b']' }
}

#[inline(never)]
fn behind_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

fn behind_word(bytes: &[u8], at: usize, word: &[u8]) -> Result<usize, ReadError> {
    if bytes.get(at..).unwrap_or_default().starts_with(word) { Ok(at + word.len()) } else { Err(NotJson) }
}

#[inline(never)]
fn behind_number(bytes: &[u8], mut at: usize) -> Result<usize, ReadError> {
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { behind_digits(bytes, at)? };
    if bytes.get(at) == Some(&b'.') {
        at = behind_digits(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        at = behind_digits(bytes, at)?;
    }
    Ok(at)
}

/// The offset behind one or more digits.
#[inline(always)]
fn behind_digits(bytes: &[u8], start: usize) -> Result<usize, ReadError> {
    let mut at = start;
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    if at == start { Err(NotJson) } else { Ok(at) }
}
