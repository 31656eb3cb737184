//! Writes the relayed form of a message: with the sender that the server knows, whatever the client wrote. The router
//! asks for the length, claims that many bytes of a ring, and has the message written there.

use super::escape::escaped;
use super::fields::Role;
use super::found::Envelope;
use super::scan::Span;
use super::string;
use super::table::Inserted;

/// The relayed form of one message, ready to be written.
pub(crate) struct Relayed<'a> {
    envelope: &'a Envelope<'a>,
    sender: &'a [u8],
    /// The text before the sender, if the form is spliced: the sender needs no escapes, and the runs follow it.
    head: Option<&'a [u8]>,
    length: usize,
}

impl Relayed<'_> {
    /// The exact length, in bytes.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Writes the relayed message to `out`, which is [`len`](Self::len) bytes long.
    #[inline(always)]
    pub(crate) fn write(&self, out: &mut [u8]) {
        let mut rest = out;
        let mut put = |piece: &[u8]| {
            if let Some((place, behind)) = std::mem::take(&mut rest).split_at_mut_checked(piece.len()) {
                copy(piece, place);
                rest = behind;
            }
        };
        match self.head {
            Some(head) => {
                put(head);
                put(self.sender);
                put(b"\",");
                self.envelope.spliced_runs().for_each(|run| put(run.of(self.envelope.message)));
                put(b"}");
            }
            None => self.envelope.relayed(text(self.sender), &mut put),
        }
    }
}

/// The name of a pinned client, which is UTF-8.
fn text(name: &[u8]) -> &str {
    std::str::from_utf8(name).unwrap_or_default()
}

impl<'a> Envelope<'a> {
    /// The relayed form of the message with this sender, the name of a pinned client.
    #[inline]
    pub(crate) fn relayed_from(&'a self, sender: &'a [u8]) -> Relayed<'a> {
        let head = self.spliced_head(sender);
        let length = match head {
            Some(head) => {
                let runs: usize = self.spliced_runs().map(Span::len).sum();
                head.len() + sender.len() + b"\",}".len() + runs
            }
            None => {
                let mut length = 0;
                self.relayed(text(sender), |piece| length += piece.len());
                length
            }
        };
        Relayed { envelope: self, sender, head, length }
    }
}

impl<'a> Envelope<'a> {
    /// The exact length of the relayed message, in bytes.
    pub fn relayed_len(&self, sender: &str) -> usize {
        self.relayed_from(sender.as_bytes()).len()
    }

    /// Writes the relayed message to `out` and returns its length, [`relayed_len`](Self::relayed_len). Members are
    /// copied as written in the message; `sender` is escaped as needed. Returns 0 if `out` is too short; the contents
    /// of `out` are then unspecified.
    pub fn write_relayed(&self, sender: &str, out: &mut [u8]) -> usize {
        let relayed = self.relayed_from(sender.as_bytes());
        match out.get_mut(..relayed.len()) {
            Some(out) => relayed.write(out),
            None => return 0,
        }
        relayed.len()
    }

    /// The text before the sender, if the relayed form can be spliced.
    #[inline(always)]
    fn spliced_head(&self, sender: &[u8]) -> Option<&'a [u8]> {
        let head = self.protocol.table().head.as_deref()?;
        (self.run_count != 0 && string::is_plain(sender)).then_some(head.as_bytes())
    }

    /// The runs, each but the first with the comma before it: only the first one can follow the opening brace.
    #[inline(always)]
    fn spliced_runs(&self) -> impl Iterator<Item = Span> {
        let runs = self.runs.iter().take(self.run_count).enumerate();
        runs.map(|(place, run)| Span { start: run.start - u32::from(place > 0), ..*run })
    }

    /// Passes the relayed message to `put`, piece by piece.
    #[inline(never)]
    fn relayed(&self, sender: &str, mut put: impl FnMut(&[u8])) {
        if let Some(command) = self.command {
            return command.relayed(self.message, sender, put);
        }
        let table = self.protocol.table();
        put(b"{");
        let mut comma: &[u8] = b"";
        if let Some(first) = table.senders.first() {
            self.relayed_inside(first, sender, &mut put);
        } else {
            if let Some(key) = self.protocol.role(Role::Sender).and_then(|index| table.key(index)) {
                put(key.written.as_bytes());
                written(sender, key.number, &mut put);
                comma = b",";
            }
            for run in self.runs.iter().take(self.run_count) {
                put(comma);
                put(run.of(self.message));
                comma = b",";
            }
        }
        put(b"}");
    }

    /// Relays all members and inserts the sender into each object that should hold one, before the client's members.
    /// If the message has no such object, a new object for `first` holds the sender.
    fn relayed_inside(&self, first: &Inserted, sender: &str, put: &mut impl FnMut(&[u8])) {
        let senders = &self.protocol.table().senders;
        let [members, ..] = self.runs;
        // The offset after the opening brace of the object.
        let start = |one: &Inserted| {
            self.values.get(one.index).filter(|span| !span.is_empty()).map(|span| span.start + 1)
        };
        if senders.iter().all(|one| start(one).is_none()) {
            put(self.protocol.table().key(first.index).map_or(b"", |key| key.written.as_bytes()));
            put(b"{");
            inserted(first, sender, put);
            put(if members.is_empty() { b"}" } else { b"}," });
            return put(members.of(self.message));
        }
        let mut at = members.start;
        let next = |at| {
            senders.iter().filter_map(|one| Some((start(one)?, one))).filter(move |(start, _)| *start > at)
        };
        while let Some((start, one)) = next(at).min_by_key(|(start, _)| *start) {
            put(Span { start: at, end: start }.of(self.message));
            inserted(one, sender, put);
            at = start;
            let rest = Span { start, ..members }.of(self.message);
            if !rest.trim_ascii_start().starts_with(b"}") {
                put(b",");
            }
        }
        put(Span { start: at, ..members }.of(self.message));
    }
}

fn inserted(one: &Inserted, sender: &str, put: &mut impl FnMut(&[u8])) {
    put(one.before.as_bytes());
    written(sender, one.number, &mut *put);
    put(one.behind.as_bytes());
}

/// Writes a sender as a JSON value: in quotes, or as a number if `number` allows it and the name is a whole number.
#[inline]
fn written(sender: &str, number: bool, mut put: impl FnMut(&[u8])) {
    if number && is_number(sender) { put(sender.as_bytes()) } else { quoted(sender, put) }
}

/// Whether a name is a whole number that every reader represents exactly. Above 2^53 a reader that uses doubles could
/// map two names to one.
fn is_number(name: &str) -> bool {
    const MOST: u64 = 1 << 53;
    let plain = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    plain && name.parse::<u64>().is_ok_and(|number| number <= MOST)
}

#[inline]
fn quoted(text: &str, mut put: impl FnMut(&[u8])) {
    put(b"\"");
    escaped(text, |piece| put(piece.as_bytes()));
    put(b"\"");
}

/// Copies `from` into `to`, which is equally long. Short pieces are copied without a call.
#[inline(always)]
fn copy(from: &[u8], to: &mut [u8]) {
    match from.len() {
        1 => to.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
        4..8 => copy_ends::<4>(from, to),
        8..16 => copy_ends::<8>(from, to),
        16..=32 => copy_ends::<16>(from, to),
        _ => to.copy_from_slice(from),
    }
}

/// Copies the first and the last `N` bytes: all of a piece of at most twice as many.
#[inline(always)]
fn copy_ends<const N: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut()) {
        *to = *from;
    }
    if let (Some(from), Some(to)) = (from.last_chunk::<N>(), to.last_chunk_mut()) {
        *to = *from;
    }
}
