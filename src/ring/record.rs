//! The records in a ring: the eight-byte prefix of every record, and the two record formats, ingress (port to worker)
//! and delivery (worker to port). Records are plain bytes in the machine's byte order. The reader copies each field
//! once into a local, because another language may have written the record and is not trusted. Byte tables:
//! `docs/layout.md`.

/// Bytes of length, kind and flags at the start of every record.
pub const PREFIX_BYTES: usize = 8;
/// Bytes before an ingress record's payload.
pub const INGRESS_BYTES: usize = 56;
/// Bytes before a delivery record's recipients.
pub const DELIVERY_BYTES: usize = 56;

/// Fills the end of a ring if the next record does not fit there.
pub(crate) const KIND_PAD: u16 = 0xffff;

/// Kinds of ingress records.
pub mod ingress_kind {
    /// A client's message.
    pub const MESSAGE: u16 = 1;
    /// The client leaves. All its messages precede this record.
    pub const DISCONNECT: u16 = 2;
    /// A client has connected under a name: deliver the messages held for it. `recipient` is the name's hash.
    pub const NAME_CONNECTED: u16 = 3;
    /// A message from the host to the client in `recipient`; it has no sender.
    pub const SEND: u16 = 4;
    /// A message from the host to all members of the room in `recipient`; it has no sender.
    pub const SEND_TO_ROOM: u16 = 5;
    /// Only on a lane: the host has written deliveries (see [`Acknowledgement`](super::Acknowledgement)).
    pub const ACKNOWLEDGE: u16 = 6;
    /// Only on a lane: the host has thrown deliveries away.
    pub const DISCARDED: u16 = 7;
    /// Only from the gateway: another machine has answered messages (`router::elsewhere`).
    pub const ANSWERED: u16 = 8;
    /// Only from the gateway: a link to another machine is lost.
    pub const LINK_LOST: u16 = 9;
    /// Only from the gateway: where a name is that the worker has asked for.
    pub const ASKED: u16 = 10;
}

/// Flags of ingress records.
pub mod ingress_flag {
    /// A caller waits for the result; the record carries the call's id.
    pub const CALL: u16 = 1;
    /// The submitter wants a notice if the message fails or expires.
    pub const TELL_FAILED: u16 = 2;
    /// The payload is {number, length} of an out-of-line payload (`router::payload`).
    pub const OWNED: u16 = 4;
    /// The header names the recipient and the type, and the payload is delivered as it is, without being read. Only for
    /// MESSAGE.
    pub const ADDRESSED: u16 = 8;
    /// Only from the gateway, for SEND and SEND_TO_ROOM: the record carries a ticket instead of a call, and the worker
    /// sends a RESULT with it.
    pub const RESULT: u16 = 16;
}

/// Flags of delivery records of the kinds MESSAGE and ELSEWHERE.
pub mod delivery_flag {
    /// The payload is {number, length} of an out-of-line payload (`router::payload`).
    pub const OWNED: u16 = 1;
    /// Only ELSEWHERE: the message is for a room.
    pub const ROOM: u16 = 2;
}

/// Kinds of delivery records.
pub mod delivery_kind {
    /// A message for the recipients.
    pub const MESSAGE: u16 = 1;
    /// To a sender: its message to the name in the payload has expired.
    pub const EXPIRED: u16 = 2;
    /// To a client's port: the client has left its name (see `Protocol::leave`).
    pub const LEFT: u16 = 3;
    /// To a client's port: close this client. `flags` is the reason.
    pub const CLOSE: u16 = 4;
    /// The client's last record: nothing is handed out for the client after it.
    pub const CLIENT_CLOSED: u16 = 5;
    /// To a sender: its message has not reached its recipient. `flags` is the reason (`router::notice`); `sender` is the
    /// recipient, or 0.
    pub const UNDELIVERED: u16 = 6;
    /// To a port: its own send to the client in the recipient list has failed. `flags` is the reason. The client may be
    /// gone, or belong to another port.
    pub const SEND_FAILED: u16 = 7;
    /// As SEND_FAILED, for a send to a room: the recipient list has the room's number.
    pub const ROOM_SEND_FAILED: u16 = 8;
    /// Only on a lane, to a sender: the worker has refused messages of this client. `flags` is the reason of the last one
    /// and `correlation` the last one's; the payload is their number.
    pub const REFUSED: u16 = 9;
    /// Only to the gateway: a message for a client of another machine (`router::elsewhere`). The recipient list has 0.
    pub const ELSEWHERE: u16 = 10;
    /// Only to the gateway: how a message from another machine has ended. `correlation` is its ticket, `flags` the reason
    /// (`router::notice`).
    pub const RESULT: u16 = 11;
    /// Only to the gateway: where is the name in the payload? The recipient list has 0.
    pub const ASK: u16 = 12;

    /// Whether a record of this kind may refer to an out-of-line payload.
    pub(crate) const fn may_be_beside(kind: u16) -> bool {
        matches!(kind, MESSAGE | ELSEWHERE)
    }
}

#[inline(always)]
fn bytes<const N: usize>(record: &[u8], at: usize) -> [u8; N] {
    match record.get(at..at + N).and_then(|slice| slice.try_into().ok()) {
        Some(array) => array,
        None => {
            debug_assert!(false, "every caller has checked the record's length");
            [0; N]
        }
    }
}

#[inline(always)]
fn put(record: &mut [u8], at: usize, value: &[u8]) {
    if let Some(target) = record.get_mut(at..at + value.len()) {
        target.copy_from_slice(value);
    }
}

/// The first eight bytes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Length of the record in bytes, including these eight.
    pub length: u32,
    /// The kind.
    pub kind: u16,
    /// The flags; their meaning depends on the kind.
    pub flags: u16,
}

impl Prefix {
    /// The eight bytes as one word, which is read and written at once.
    #[inline(always)]
    pub(super) fn word(self) -> u64 {
        let [a, b, c, d] = self.length.to_ne_bytes();
        let ([e, f], [g, h]) = (self.kind.to_ne_bytes(), self.flags.to_ne_bytes());
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }

    #[inline(always)]
    pub(super) fn of_word(word: u64) -> Self {
        Self::read(&word.to_ne_bytes())
    }

    /// The word at the start of a record; 0, which is no record's, if there are fewer bytes.
    #[inline(always)]
    pub(super) fn word_of(record: &[u8]) -> u64 {
        u64::from_ne_bytes(bytes(record, 0))
    }

    #[inline(always)]
    pub(crate) fn read(record: &[u8]) -> Self {
        Self {
            length: u32::from_ne_bytes(bytes(record, 0)),
            kind: u16::from_ne_bytes(bytes(record, 4)),
            flags: u16::from_ne_bytes(bytes(record, 6)),
        }
    }

    #[inline(always)]
    pub(crate) fn write(self, record: &mut [u8]) {
        put(record, 0, &self.word().to_ne_bytes());
    }
}

/// The header of a record from a host to a worker. The payload follows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IngressHeader {
    /// One of [`ingress_kind`].
    pub kind: u16,
    /// A combination of [`ingress_flag`]s.
    pub flags: u16,
    /// The sending client; 0 in SEND and SEND_TO_ROOM.
    pub client: u64,
    /// When the host read the message from its socket, in raw ticks of the clock.
    pub stamp: u64,
    /// The host's own value, returned in notices.
    pub correlation: u64,
    /// In SEND, and with [`ingress_flag::ADDRESSED`]: the recipient's handle. In SEND_TO_ROOM: the room's handle. In NAME_CONNECTED: the name's hash. Otherwise
    /// 0, since the envelope names the recipient.
    pub recipient: u64,
    /// In SEND and SEND_TO_ROOM, and with [`ingress_flag::ADDRESSED`]: the type label, or `u32::MAX` for the type `send`; the worker checks it. Otherwise
    /// `u32::MAX`, since the envelope names the type.
    pub message_type: u32,
    /// The call that waits for the result, with [`ingress_flag::CALL`]; the ticket, with [`ingress_flag::RESULT`].
    pub call: u64,
}

impl IngressHeader {
    /// Reads the header and returns it with the payload. `None` if the record is shorter than a header.
    #[inline(always)]
    pub fn read(record: &[u8]) -> Option<(Self, &[u8])> {
        let payload = record.get(INGRESS_BYTES..)?;
        let prefix = Prefix::read(record);
        let header = Self {
            kind: prefix.kind,
            flags: prefix.flags,
            client: u64::from_ne_bytes(bytes(record, 8)),
            stamp: u64::from_ne_bytes(bytes(record, 16)),
            correlation: u64::from_ne_bytes(bytes(record, 24)),
            recipient: u64::from_ne_bytes(bytes(record, 32)),
            message_type: u32::from_ne_bytes(bytes(record, 40)),
            call: u64::from_ne_bytes(bytes(record, 48)),
        };
        Some((header, payload))
    }

    /// Writes the header after the prefix. The ring writes the prefix.
    #[inline(always)]
    pub fn write(&self, record: &mut [u8]) {
        // One check of the length for all fields.
        let Some(record) = record.first_chunk_mut::<INGRESS_BYTES>() else { return };
        put(record, 8, &self.client.to_ne_bytes());
        put(record, 16, &self.stamp.to_ne_bytes());
        put(record, 24, &self.correlation.to_ne_bytes());
        put(record, 32, &self.recipient.to_ne_bytes());
        put(record, 40, &self.message_type.to_ne_bytes());
        if self.flags & (ingress_flag::CALL | ingress_flag::RESULT) != 0 {
            put(record, 48, &self.call.to_ne_bytes());
        }
    }
}

/// Bytes of a lane's record DISCONNECT or DISCARDED.
pub const WORD_RECORD_BYTES: usize = 16;
/// Bytes of one entry of a record ACKNOWLEDGE, and of what precedes the entries.
pub const ACKNOWLEDGEMENT_BYTES: usize = 24;
/// See [`ACKNOWLEDGEMENT_BYTES`].
pub const ACKNOWLEDGE_BYTES: usize = 16;

/// The u64 behind the prefix: the client of a lane's DISCONNECT, the number of a DISCARDED. `None` if the record is shorter.
#[inline]
pub fn word_of(record: &[u8]) -> Option<u64> {
    (record.len() >= WORD_RECORD_BYTES).then(|| u64::from_ne_bytes(bytes(record, 8)))
}

/// What the host of a lane has written to one client's peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The client.
    pub client: u64,
    /// Messages written.
    pub messages: u32,
    /// Their bytes.
    pub bytes: u32,
    /// When the oldest of them that was sampled was handed out, in raw ticks; 0 for none.
    pub handed_out: u64,
}

impl Acknowledgement {
    /// Reads the entries of a record ACKNOWLEDGE. `None` if the record is shorter than its count says.
    #[inline]
    pub fn read_all(record: &[u8]) -> Option<impl Iterator<Item = Self>> {
        let (head, rest) = record.split_at_checked(ACKNOWLEDGE_BYTES)?;
        let count = u32::from_ne_bytes(bytes(head, 8)) as usize;
        let entries = rest.get(..count.checked_mul(ACKNOWLEDGEMENT_BYTES)?)?;
        Some(entries.chunks_exact(ACKNOWLEDGEMENT_BYTES).map(|entry| Self {
            client: u64::from_ne_bytes(bytes(entry, 0)),
            messages: u32::from_ne_bytes(bytes(entry, 8)),
            bytes: u32::from_ne_bytes(bytes(entry, 12)),
            handed_out: u64::from_ne_bytes(bytes(entry, 16)),
        }))
    }

    /// Writes a record ACKNOWLEDGE after the prefix.
    pub fn write_all(entries: &[Self], record: &mut [u8]) {
        put(record, 8, &(entries.len() as u32).to_ne_bytes());
        put(record, 12, &0u32.to_ne_bytes());
        for (place, entry) in entries.iter().enumerate() {
            let at = ACKNOWLEDGE_BYTES + place * ACKNOWLEDGEMENT_BYTES;
            put(record, at, &entry.client.to_ne_bytes());
            put(record, at + 8, &entry.messages.to_ne_bytes());
            put(record, at + 12, &entry.bytes.to_ne_bytes());
            put(record, at + 16, &entry.handed_out.to_ne_bytes());
        }
    }
}

/// The header of a record from a worker to a host. The recipients and the payload follow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryHeader {
    /// One of [`delivery_kind`].
    pub kind: u16,
    /// MESSAGE: [`delivery_flag`]s. CLOSE, UNDELIVERED, SEND_FAILED and ROOM_SEND_FAILED: the reason.
    pub flags: u16,
    /// The sending client; 0 for none.
    pub sender: u64,
    /// The message's stamp, in raw ticks.
    pub stamp: u64,
    /// The submitter's value.
    pub correlation: u64,
    /// Type label.
    pub message_type: u32,
    /// The number of client ids that follow the header.
    pub recipients: u32,
}

impl DeliveryHeader {
    /// Bytes of a record with this number of recipients and payload bytes.
    #[inline(always)]
    pub const fn record_bytes(recipients: usize, payload: usize) -> usize {
        DELIVERY_BYTES + 8 * recipients + payload
    }

    /// Reads the header, the recipients and the payload. `None` if the record is shorter than its header says.
    #[inline(always)]
    pub fn read(record: &[u8]) -> Option<(Self, Recipients<'_>, &[u8])> {
        let rest = record.get(DELIVERY_BYTES..)?;
        let prefix = Prefix::read(record);
        let header = Self {
            kind: prefix.kind,
            flags: prefix.flags,
            sender: u64::from_ne_bytes(bytes(record, 8)),
            stamp: u64::from_ne_bytes(bytes(record, 16)),
            correlation: u64::from_ne_bytes(bytes(record, 24)),
            message_type: u32::from_ne_bytes(bytes(record, 40)),
            recipients: u32::from_ne_bytes(bytes(record, 44)),
        };
        let (recipients, payload) = rest.split_at_checked(8 * header.recipients as usize)?;
        Some((header, Recipients(recipients), payload))
    }

    /// Writes header and recipients after the prefix and returns the slice for the payload.
    #[inline(always)]
    pub fn write<'a>(&self, recipients: &[u64], record: &'a mut [u8]) -> &'a mut [u8] {
        // One check of the length for all fields, and one for all recipients.
        let Some((header, rest)) = record.split_first_chunk_mut::<DELIVERY_BYTES>() else { return &mut [] };
        put(header, 8, &self.sender.to_ne_bytes());
        put(header, 16, &self.stamp.to_ne_bytes());
        put(header, 24, &self.correlation.to_ne_bytes());
        put(header, 40, &self.message_type.to_ne_bytes());
        put(header, 44, &(recipients.len() as u32).to_ne_bytes());
        let Some((ids, payload)) = rest.split_at_mut_checked(8 * recipients.len()) else { return &mut [] };
        for (place, recipient) in ids.as_chunks_mut().0.iter_mut().zip(recipients) {
            *place = recipient.to_ne_bytes();
        }
        payload
    }
}

/// The client ids of a delivery record.
#[derive(Clone, Copy, Debug)]
pub struct Recipients<'a>(&'a [u8]);

impl<'a> Recipients<'a> {
    /// The ids in order.
    #[inline(always)]
    pub fn iter(self) -> impl Iterator<Item = u64> + 'a {
        self.0.chunks_exact(8).map(|id| u64::from_ne_bytes(bytes(id, 0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_a_round_trip() {
        let ingress = IngressHeader {
            kind: 7,
            flags: 1,
            client: 2,
            stamp: 3,
            correlation: 4,
            recipient: 5,
            message_type: 6,
            call: 7,
        };
        let mut record = [0; INGRESS_BYTES + 3];
        Prefix { length: 59, kind: 7, flags: 1 }.write(&mut record);
        ingress.write(&mut record);
        assert_eq!(IngressHeader::read(&record), Some((ingress, &[0u8; 3][..])));
        assert_eq!(IngressHeader::read(&record[..INGRESS_BYTES - 1]), None);
    }

    #[test]
    fn a_delivery_with_more_recipients_than_bytes_is_no_delivery() {
        let delivery = DeliveryHeader { kind: 1, recipients: 2, ..DeliveryHeader::default() };
        let mut record = [0; DeliveryHeader::record_bytes(2, 5)];
        Prefix { length: record.len() as u32, kind: 1, flags: 0 }.write(&mut record);
        delivery.write(&[8, 9], &mut record).copy_from_slice(b"hello");
        let (read, recipients, payload) = DeliveryHeader::read(&record).unwrap();
        assert_eq!((read, payload), (delivery, &b"hello"[..]));
        assert_eq!(recipients.iter().collect::<Vec<_>>(), [8, 9]);
        assert!(DeliveryHeader::read(&record[..DELIVERY_BYTES + 15]).is_none());
    }
}
