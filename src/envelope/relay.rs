//! Writes a message as it is relayed: with the sender that the server knows, whatever the client wrote. The router
//! asks for the length, claims that much of a ring, and has it written there.

use super::json::plain_prefix;
use super::protocol::Role;
use super::read::Envelope;

impl Envelope<'_> {
    /// The length of the relayed message, exactly.
    pub fn relayed_len(&self, sender: &str) -> usize {
        let mut length = 0;
        self.relayed(sender, |piece| length += piece.len());
        length
    }

    /// Writes the relayed message to `out`: [`relayed_len`](Self::relayed_len) bytes, which is what it returns. Values
    /// are copied as they are written in the message, `sender` is escaped as needed. Returns 0 if `out` is shorter
    /// than that; what `out` then holds is of no use.
    pub fn write_relayed(&self, sender: &str, out: &mut [u8]) -> usize {
        let (mut written, mut fits) = (0, true);
        self.relayed(sender, |piece| {
            let end = written + piece.len();
            match out.get_mut(written..end) {
                Some(place) => place.copy_from_slice(piece.as_bytes()),
                None => fits = false,
            }
            written = end;
        });
        if fits { written } else { 0 }
    }

    /// Hands over the relayed message, piece by piece.
    #[inline]
    fn relayed(&self, sender: &str, mut put: impl FnMut(&str)) {
        let sender_index = self.protocol.role(Role::Sender);
        put("{");
        if let Some(keys) = self.protocol.forwarded() {
            let mut first = true;
            for (index, key) in keys.enumerate() {
                let is_sender = sender_index == Some(index);
                let value = self.json(index);
                if !is_sender && value.is_none() {
                    continue;
                }
                if !first {
                    put(",");
                }
                first = false;
                put(&key.written);
                match value {
                    Some(value) if !is_sender => put(value),
                    _ => quoted(sender, &mut put),
                }
            }
        } else {
            if let Some(key) = sender_index.and_then(|index| self.protocol.key(index)) {
                put(&key.written);
                quoted(sender, &mut put);
                if !self.before_sender().is_empty() {
                    put(",");
                }
            }
            put(self.before_sender());
            put(self.after_sender());
        }
        put("}");
    }
}

#[inline]
fn quoted(text: &str, mut put: impl FnMut(&str)) {
    put("\"");
    escaped(text, &mut put);
    put("\"");
}

/// Hands over `text` as it stands between the quotes of a JSON string.
#[inline]
pub(super) fn escaped(text: &str, mut put: impl FnMut(&str)) {
    let mut rest = text;
    // What is not plain is one byte long, so both splits are between characters.
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
