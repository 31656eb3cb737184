//! Writes a message as it is relayed: with the sender that the server knows, whatever the client wrote. The router
//! asks for the length, claims that much of a ring, and has it written there.

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
        let mut separator = "{";
        match self.protocol.forwarded() {
            Some(keys) => {
                for (index, key) in keys.enumerate() {
                    let is_sender = sender_index == Some(index);
                    let value = self.json(index);
                    if !is_sender && value.is_none() {
                        continue;
                    }
                    put(separator);
                    put(&key.written);
                    match value {
                        Some(value) if !is_sender => put(value),
                        _ => quoted(sender, &mut put),
                    }
                    separator = ",";
                }
            }
            None => {
                if let Some(key) = sender_index.and_then(|index| self.protocol.key(index)) {
                    put(separator);
                    put(&key.written);
                    quoted(sender, &mut put);
                    separator = ",";
                }
                if !self.before_sender().is_empty() {
                    put(separator);
                    put(self.before_sender());
                    separator = "";
                }
                put(self.after_sender());
            }
        }
        if separator == "{" {
            put(separator);
        }
        put("}");
    }
}

fn quoted(text: &str, mut put: impl FnMut(&str)) {
    put("\"");
    escaped(text, &mut put);
    put("\"");
}

/// Hands over `text` as it stands between the quotes of a JSON string.
pub(super) fn escaped(text: &str, mut put: impl FnMut(&str)) {
    let mut rest = text;
    while let Some(plain) = rest.bytes().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\')) {
        let Some((before, special)) = rest.split_at_checked(plain) else { break };
        put(before);
        let mut characters = special.chars();
        match characters.next() {
            Some('"') => put("\\\""),
            Some('\\') => put("\\\\"),
            Some(control) => {
                let digit = |value: u32| char::from_digit(value, 16).unwrap_or('0');
                let mut buffer = [0; 2];
                put("\\u00");
                put(digit(control as u32 >> 4).encode_utf8(&mut buffer));
                put(digit(control as u32 & 0xF).encode_utf8(&mut buffer));
            }
            None => {}
        }
        rest = characters.as_str();
    }
    put(rest);
}
