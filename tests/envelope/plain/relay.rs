//! Writes the relayed form of a message: with the sender that the server knows, whatever the client wrote. The router
//! asks for the length, claims that many bytes of a ring, and has the message written there.

use super::json::TextSpan;
use super::protocol::Role;
use super::read::Envelope;
use super::table::Inserted;
use super::text::escaped;

impl Envelope<'_> {
    /// The exact length of the relayed message, in bytes.
    pub fn relayed_len(&self, sender: &str) -> usize {
        let mut length = 0;
        self.relayed(sender, |piece| length += piece.len());
        length
    }

    /// Writes the relayed message to `out` and returns its length, [`relayed_len`](Self::relayed_len). Values are
    /// copied as written in the message; `sender` is escaped as needed. Returns 0 if `out` is too short; the contents
    /// of `out` are then unspecified.
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

    /// Passes the relayed message to `put`, piece by piece.
    fn relayed(&self, sender: &str, mut put: impl FnMut(&str)) {
        if let Some(command) = self.command {
            return command.relayed(self.text, sender, put);
        }
        let table = self.protocol.table();
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
                    _ => written(sender, key.number, &mut put),
                }
            }
        } else if let Some(first) = table.senders.first() {
            self.relayed_inside(first, sender, &mut put);
        } else {
            if let Some(key) = sender_index.and_then(|index| table.key(index)) {
                put(&key.written);
                written(sender, key.number, &mut put);
                if !self.before_sender().is_empty() {
                    put(",");
                }
            }
            put(self.before_sender());
            put(self.after_sender());
        }
        put("}");
    }

    /// Relays all members and inserts the sender into each object that should hold one, before the client's members.
    /// If the message has no such object, a new object for `first` holds the sender.
    fn relayed_inside(&self, first: &Inserted, sender: &str, put: &mut impl FnMut(&str)) {
        let senders = &self.protocol.table().senders;
        // The offset after the opening brace of the object.
        let start = |one: &Inserted| {
            self.values.get(one.index).filter(|span| !span.is_empty()).map(|span| span.start + 1)
        };
        if senders.iter().all(|one| start(one).is_none()) {
            put(self.protocol.table().key(first.index).map_or("", |key| &key.written));
            put("{");
            inserted(first, sender, put);
            put(if self.before_sender().is_empty() { "}" } else { "}," });
            return put(self.before_sender());
        }
        let mut at = self.members.start;
        let next = |at| {
            senders.iter().filter_map(|one| Some((start(one)?, one))).filter(move |(start, _)| *start > at)
        };
        while let Some((start, one)) = next(at).min_by_key(|(start, _)| *start) {
            put(TextSpan { start: at, end: start }.of(self.text));
            inserted(one, sender, put);
            at = start;
            let rest = TextSpan { start, ..self.members }.of(self.text);
            if !rest.trim_start().starts_with('}') {
                put(",");
            }
        }
        put(TextSpan { start: at, ..self.members }.of(self.text));
    }
}

fn inserted(one: &Inserted, sender: &str, put: &mut impl FnMut(&str)) {
    put(&one.before);
    written(sender, one.number, &mut *put);
    put(&one.behind);
}

/// Writes a sender as a JSON value: in quotes, or as a number if `number` allows it and the name is a whole number.
fn written(sender: &str, number: bool, mut put: impl FnMut(&str)) {
    if number && is_number(sender) { put(sender) } else { quoted(sender, put) }
}

/// Whether a name is a whole number that every reader represents exactly. Above 2^53 a reader that uses doubles could
/// map two names to one.
fn is_number(name: &str) -> bool {
    const MOST: u64 = 1 << 53;
    let plain = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    plain && name.parse::<u64>().is_ok_and(|number| number <= MOST)
}
fn quoted(text: &str, mut put: impl FnMut(&str)) {
    put("\"");
    escaped(text, &mut put);
    put("\"");
}
