//! Follows a protocol's paths into the objects of a message. `read` calls this module for a key that paths lead
//! through. A protocol without such paths never uses it.

use super::error::ReadError;
use super::fields::Role;
use super::found::Envelope;
use super::scan::{Scanner, Span};
use super::table::FieldKey;
use super::text::Text;

impl<'a> Envelope<'a> {
    /// Takes the value of `top`, one of the message's own keys, and records the values in it that the protocol uses.
    /// Objects on a path are scanned in the same pass, without recursion: `node` is the key whose object is open, and
    /// the parent of `node` is the key to return to.
    #[inline(always)]
    pub(super) fn inside(&mut self, scanner: &mut Scanner<'a>, top: usize) -> Result<Span, ReadError> {
        let start = scanner.position();
        *scanner = self.behind_inside(*scanner, top)?;
        Ok(Span { start, end: scanner.position() })
    }

    /// The scanner behind the value. Takes and returns a copy, so that the caller's scanner stays in registers.
    #[inline(never)]
    fn behind_inside(&mut self, mut scanner: Scanner<'a>, top: usize) -> Result<Scanner<'a>, ReadError> {
        let first = scanner.peek()?;
        if first != b'{' {
            // The value is not an object, so paths through it end here. A sender must have an object to be put into.
            scanner.value(first, 1)?;
            let holds_sender = self.protocol.inserted(top).is_some();
            return if holds_sender { Err(ReadError::WrongType) } else { Ok(scanner) };
        }
        scanner.take();
        let (mut node, mut depth, mut opened) = (top, 2, true);
        loop {
            match scanner.peek()? {
                b'}' => {
                    scanner.take();
                    let end = scanner.position();
                    if node == top {
                        return Ok(scanner);
                    }
                    node = self.close(node, end);
                    (depth, opened) = (depth - 1, false);
                    continue;
                }
                _ if opened => {}
                b',' => scanner.take(),
                _ => return Err(ReadError::NotJson),
            }
            let key = scanner.key()?;
            let found = self.find_inside(node, Text::new(key.of(self.message), scanner.escaped()))?;
            opened = false;
            let first = scanner.peek()?;
            match found {
                Some((index, known)) if known.leads_inside() && first == b'{' => {
                    self.open(index, scanner.position())?;
                    scanner.take();
                    (node, depth, opened) = (index, depth + 1, true);
                }
                Some((index, known)) => {
                    let value = scanner.value(first, depth)?;
                    self.note(index, known, value, first, scanner.escaped())?;
                }
                None => {
                    scanner.value(first, depth)?;
                }
            }
        }
    }

    /// Finds a key of an object among the keys that the protocol uses.
    fn find_inside(&self, object: usize, key: Text<'a>) -> Result<Option<(usize, &'a FieldKey)>, ReadError> {
        if !key.is_well_formed() {
            return Err(ReadError::NotJson);
        }
        match self.protocol.table().find_inside(object, key) {
            Some((_, known)) if known.role == Some(Role::Sender) => Err(ReadError::ForgedSender),
            None if self.protocol.resembles_sender_inside(object, key) => Err(ReadError::AmbiguousSender),
            found => Ok(found),
        }
    }

    /// Records where a key's object starts. A value that is already set means that the key appears twice.
    fn open(&mut self, index: usize, start: u32) -> Result<(), ReadError> {
        match self.values.get_mut(index) {
            Some(place) if place.is_empty() => *place = Span { start, end: start + 1 },
            _ => return Err(ReadError::DuplicateField),
        }
        Ok(())
    }

    /// Records where a key's object ends. Returns the key that contains the object.
    fn close(&mut self, index: usize, end: u32) -> usize {
        if let Some(place) = self.values.get_mut(index) {
            place.end = end;
        }
        self.protocol.table().key(index).map_or(index, |key| key.parent)
    }
}
