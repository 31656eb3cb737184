//! What a ring's records look like: the eight bytes that every record starts with, and the two kinds of
//! record that travel in rings, in (ingress) and out (delivery). Plain bytes in the machine's order, read once
//! into a local: what another language wrote is not trusted. Byte tables: `docs/layout.md`.

/// Bytes of length, kind and flags at the start of every record.
pub const PREFIX_BYTES: usize = 8;
/// Bytes before an ingress record's payload.
pub const INGRESS_BYTES: usize = 56;
/// Bytes before a delivery record's recipients.
pub const DELIVERY_BYTES: usize = 56;

/// Fills the end of a ring where the next record did not fit.
pub(crate) const KIND_PAD: u16 = 0xffff;

/// Kinds of ingress records.
pub mod ingress_kind {
    /// A client's message.
    pub const MESSAGE: u16 = 1;
    /// The client leaves; everything it sent lies before this.
    pub const DISCONNECT: u16 = 2;
    /// A name has connected: flush what is held for it. `recipient` is the name's hash.
    pub const NAME_CONNECTED: u16 = 3;
    /// A host's own message for the client in `recipient`; it has no sender.
    pub const SEND: u16 = 4;
}

/// Flags of ingress records.
pub mod ingress_flag {
    /// A caller waits: the record names its call.
    pub const CALL: u16 = 1;
    /// The submitter wants a notice if the message has waited too long to be handled.
    pub const TELL_EXPIRED: u16 = 2;
    /// The payload is {number, length} of one that lies elsewhere (`router::payload`).
    pub const OWNED: u16 = 4;
}

/// Flags of delivery records of the kind MESSAGE.
pub mod delivery_flag {
    /// The payload is {number, length} of one that lies elsewhere (`router::payload`).
    pub const OWNED: u16 = 1;
}

/// Kinds of delivery records.
pub mod delivery_kind {
    /// A message for the recipients.
    pub const MESSAGE: u16 = 1;
    /// To a sender: what it sent to the name in the payload has expired.
    pub const EXPIRED: u16 = 2;
    /// To a client's port: the client has left its name (see `Protocol::leave`).
    pub const LEFT: u16 = 3;
    /// To a client's port: close this client; `flags` says why.
    pub const CLOSE: u16 = 4;
    /// Nothing will be handed out for this client after this record.
    pub const CLIENT_CLOSED: u16 = 5;
    /// To a sender: its message was refused for want of the recipient's credit; `flags` says why, `sender` who the recipient is.
    pub const REFUSED: u16 = 6;
}

#[inline(always)]
fn bytes<const N: usize>(record: &[u8], at: usize) -> [u8; N] {
    match record.get(at..at + N).and_then(|slice| slice.try_into().ok()) {
        Some(array) => array,
        None => [0; N], // Never: every caller has checked the record's length.
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
    /// Bytes of the record, these eight included.
    pub length: u32,
    /// What it is.
    pub kind: u16,
    /// Depends on the kind.
    pub flags: u16,
}

impl Prefix {
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
        put(record, 0, &self.length.to_ne_bytes());
        put(record, 4, &self.kind.to_ne_bytes());
        put(record, 6, &self.flags.to_ne_bytes());
    }
}

/// What precedes the payload of a record from a host to a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IngressHeader {
    /// One of [`ingress_kind`].
    pub kind: u16,
    /// [`ingress_flag`]s.
    pub flags: u16,
    /// The sending client; 0 in SEND.
    pub client: u64,
    /// When the host read the message from its socket, in the clock's raw ticks.
    pub stamp: u64,
    /// The host's own value, handed back with notices.
    pub correlation: u64,
    /// Recipient's handle in SEND, otherwise 0: the envelope names it; a name's hash in NAME_CONNECTED.
    pub recipient: u64,
    /// Type label, or `u32::MAX` where the envelope names it.
    pub message_type: u32,
    /// The call that waits for the result; means nothing without [`ingress_flag::CALL`].
    pub call: u64,
}

impl IngressHeader {
    /// Reads the header, or nothing where the record is shorter than one.
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

    /// Writes the header after the prefix, which the ring writes itself.
    #[inline(always)]
    pub fn write(&self, record: &mut [u8]) {
        put(record, 8, &self.client.to_ne_bytes());
        put(record, 16, &self.stamp.to_ne_bytes());
        put(record, 24, &self.correlation.to_ne_bytes());
        put(record, 32, &self.recipient.to_ne_bytes());
        put(record, 40, &self.message_type.to_ne_bytes());
        if self.flags & ingress_flag::CALL != 0 {
            put(record, 48, &self.call.to_ne_bytes());
        }
    }
}

/// What precedes the recipients and the payload of a record from a worker to a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryHeader {
    /// One of [`delivery_kind`].
    pub kind: u16,
    /// A close's reason.
    pub flags: u16,
    /// The client whose message this is, 0 for none.
    pub sender: u64,
    /// The message's own stamp, in raw ticks.
    pub stamp: u64,
    /// The submitter's value.
    pub correlation: u64,
    /// Type label.
    pub message_type: u32,
    /// How many client ids follow the header.
    pub recipients: u32,
}

impl DeliveryHeader {
    /// Bytes of a record with so many recipients and payload bytes.
    #[inline(always)]
    pub const fn record_bytes(recipients: usize, payload: usize) -> usize {
        DELIVERY_BYTES + 8 * recipients + payload
    }

    /// Reads the header, the recipients and the payload, or nothing where the record is shorter than it says.
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

    /// Writes header and recipients after the prefix and returns where the payload goes.
    #[inline(always)]
    pub fn write<'a>(&self, recipients: &[u64], record: &'a mut [u8]) -> &'a mut [u8] {
        put(record, 8, &self.sender.to_ne_bytes());
        put(record, 16, &self.stamp.to_ne_bytes());
        put(record, 24, &self.correlation.to_ne_bytes());
        put(record, 40, &self.message_type.to_ne_bytes());
        put(record, 44, &(recipients.len() as u32).to_ne_bytes());
        for (place, recipient) in recipients.iter().enumerate() {
            put(record, DELIVERY_BYTES + 8 * place, &recipient.to_ne_bytes());
        }
        record.get_mut(Self::record_bytes(recipients.len(), 0)..).unwrap_or_default()
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
