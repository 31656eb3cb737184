//! Frames: what one NATS message between two machines contains. Little endian. A frame belongs to one link: its direction
//! from the sender to the receiver of the frame, and the acknowledgement of the other direction.
//!
//! ```text
//! version u8 | kind u8 | flags u8 | 0 u8 | sender's incarnation u64 | receiver's incarnation u64
//! epoch u32 | base u64 | first u64                         the direction of this frame
//! epoch u32 | upto u64 | count u16, count × reject         with FLAG_ACKNOWLEDGES: of the other direction
//! count u16 | count × record                               with the kind Data
//! reject:  back u32 (upto - 1 - sequence) | number u16
//! record:  flags u8 | name length u8 | type length u16 | payload length u32 | revision u64 | correlation u64
//!          | age in µs u64 | name | type | payload
//! ```
//!
//! Any byte string is a frame or an error; nothing is allocated by a length that the bytes do not back.

use std::time::Duration;

use super::seam::{Outgoing, Reject};

/// The version of the format.
pub const VERSION: u8 = 1;
/// The bytes of a record without its texts and its payload.
pub const RECORD_BYTES: usize = 32;
/// The largest number of rejects in one frame.
pub const MAX_REJECTS: usize = 4096;
/// The largest number of records in one frame.
pub const MAX_RECORDS: usize = 8192;
/// An upper limit on what comes before the records.
pub const MAX_HEAD_BYTES: usize = 64 + MAX_REJECTS * REJECT_BYTES;

const REJECT_BYTES: usize = 6;
const FLAG_ACKNOWLEDGES: u8 = 1;
const RECORD_IS_ROOM: u8 = 1;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The direction begins a new epoch. It is up when the other side has acknowledged the epoch.
    Hello = 1,
    /// Records from `first` on.
    Data = 2,
    /// Only the acknowledgement counts.
    Acknowledgement = 3,
    /// No records: `first` is the next sequence. Asks for an acknowledgement, and shows what got lost at the end.
    Probe = 4,
    /// The receiver of the other direction cannot go on in the epoch that it acknowledges: begin a new one.
    Reset = 5,
}

/// Where a direction stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The link's epoch.
    pub epoch: u32,
    /// The sender has settled all sequences below: their rejects need not be told again.
    pub base: u64,
    /// The sequence of the first record.
    pub first: u64,
}

/// What the receiver of a direction has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The epoch of the direction that this acknowledges.
    pub epoch: u32,
    /// All sequences below are done.
    pub upto: u64,
    /// The ones among them that were not delivered, ascending.
    pub rejects: Vec<(u64, Reject)>,
}

/// One message in a frame.
pub type Record<'a> = Outgoing<'a>;

/// A decoded frame.
#[derive(Debug)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: Kind,
    /// The incarnation of the machine that sent it.
    pub from: u64,
    /// The incarnation that it is for.
    pub to: u64,
    /// The direction of the frame.
    pub position: Position,
    /// Of the other direction.
    pub acknowledgement: Option<Acknowledgement>,
    /// The records, in order.
    pub records: Vec<Record<'a>>,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// They end too early.
    Short,
    /// They go on behind the end.
    Long,
    /// Another version of the format.
    Version(u8),
    /// A field has a value that no sender writes.
    Field(&'static str),
}

/// Writes the beginning of a frame, up to the records. For the kind Data, the records and their count follow
/// ([`Records`]).
pub fn write_head(
    out: &mut Vec<u8>,
    kind: Kind,
    (from, to): (u64, u64),
    position: Position,
    acknowledgement: Option<&Acknowledgement>,
) {
    let flags = if acknowledgement.is_some() { FLAG_ACKNOWLEDGES } else { 0 };
    out.extend_from_slice(&[VERSION, kind as u8, flags, 0]);
    out.extend_from_slice(&from.to_le_bytes());
    out.extend_from_slice(&to.to_le_bytes());
    out.extend_from_slice(&position.epoch.to_le_bytes());
    out.extend_from_slice(&position.base.to_le_bytes());
    out.extend_from_slice(&position.first.to_le_bytes());
    let Some(acknowledgement) = acknowledgement else { return };
    debug_assert!(acknowledgement.rejects.len() <= MAX_REJECTS);
    out.extend_from_slice(&acknowledgement.epoch.to_le_bytes());
    out.extend_from_slice(&acknowledgement.upto.to_le_bytes());
    out.extend_from_slice(&(acknowledgement.rejects.len() as u16).to_le_bytes());
    for (sequence, reject) in &acknowledgement.rejects {
        let back = acknowledgement.upto.saturating_sub(sequence + 1) as u32;
        out.extend_from_slice(&back.to_le_bytes());
        out.extend_from_slice(&reject.number().to_le_bytes());
    }
}

/// The records of a frame that is being filled.
#[derive(Debug, Default)]
pub struct Records {
    bytes: Vec<u8>,
    count: u16,
}

impl Records {
    /// Appends a record. Its texts are at most 255 and 65,535 bytes long; longer ones are the caller's mistake and are
    /// refused.
    pub fn push(&mut self, record: &Record<'_>) -> bool {
        let lengths = (
            u8::try_from(record.name.len()),
            u16::try_from(record.message_type.len()),
            u32::try_from(record.payload.len()),
        );
        let (Ok(name), Ok(message_type), Ok(payload)) = lengths else { return false };
        if usize::from(self.count) >= MAX_RECORDS {
            return false;
        }
        let out = &mut self.bytes;
        out.push(if record.is_room { RECORD_IS_ROOM } else { 0 });
        out.push(name);
        out.extend_from_slice(&message_type.to_le_bytes());
        out.extend_from_slice(&payload.to_le_bytes());
        out.extend_from_slice(&record.revision.to_le_bytes());
        out.extend_from_slice(&record.correlation.to_le_bytes());
        out.extend_from_slice(&(u64::try_from(record.age.as_micros()).unwrap_or(u64::MAX)).to_le_bytes());
        out.extend_from_slice(record.name.as_bytes());
        out.extend_from_slice(record.message_type.as_bytes());
        out.extend_from_slice(record.payload);
        self.count += 1;
        true
    }

    /// How many records there are.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Writes them behind the head of a frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.bytes);
    }
}

/// Reads a frame.
pub fn decode(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let mut reader = Reader { bytes };
    let version = reader.u8()?;
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    let kind = match reader.u8()? {
        1 => Kind::Hello,
        2 => Kind::Data,
        3 => Kind::Acknowledgement,
        4 => Kind::Probe,
        5 => Kind::Reset,
        _ => return Err(FrameError::Field("kind")),
    };
    let flags = reader.u8()?;
    if flags & !FLAG_ACKNOWLEDGES != 0 || reader.u8()? != 0 {
        return Err(FrameError::Field("flags"));
    }
    let (from, to) = (reader.u64()?, reader.u64()?);
    let position = Position { epoch: reader.u32()?, base: reader.u64()?, first: reader.u64()? };
    if position.base > position.first {
        return Err(FrameError::Field("base"));
    }
    let acknowledgement =
        if flags & FLAG_ACKNOWLEDGES != 0 { Some(acknowledgement(&mut reader)?) } else { None };
    let mut records = Vec::new();
    if kind == Kind::Data {
        let count = usize::from(reader.u16()?);
        if count == 0 || count > MAX_RECORDS || count * RECORD_BYTES > reader.bytes.len() {
            return Err(FrameError::Field("count"));
        }
        if position.first.checked_add(count as u64).is_none() {
            return Err(FrameError::Field("first"));
        }
        records.reserve(count);
        for _ in 0..count {
            records.push(record(&mut reader)?);
        }
    }
    if !reader.bytes.is_empty() {
        return Err(FrameError::Long);
    }
    Ok(Frame { kind, from, to, position, acknowledgement, records })
}

fn acknowledgement(reader: &mut Reader<'_>) -> Result<Acknowledgement, FrameError> {
    let (epoch, upto) = (reader.u32()?, reader.u64()?);
    let count = usize::from(reader.u16()?);
    if count > MAX_REJECTS || count * REJECT_BYTES > reader.bytes.len() {
        return Err(FrameError::Field("rejects"));
    }
    let mut rejects = Vec::with_capacity(count);
    for _ in 0..count {
        let back = u64::from(reader.u32()?);
        let reject = Reject::of_number(reader.u16()?);
        let sequence = upto.checked_sub(back + 1).ok_or(FrameError::Field("reject"))?;
        if rejects.last().is_some_and(|(last, _)| *last >= sequence) {
            return Err(FrameError::Field("reject"));
        }
        rejects.push((sequence, reject));
    }
    Ok(Acknowledgement { epoch, upto, rejects })
}

fn record<'a>(reader: &mut Reader<'a>) -> Result<Record<'a>, FrameError> {
    let flags = reader.u8()?;
    if flags & !RECORD_IS_ROOM != 0 {
        return Err(FrameError::Field("record"));
    }
    let (name, message_type) = (usize::from(reader.u8()?), usize::from(reader.u16()?));
    let payload = reader.u32()? as usize;
    let (revision, correlation, age) = (reader.u64()?, reader.u64()?, reader.u64()?);
    Ok(Record {
        is_room: flags & RECORD_IS_ROOM != 0,
        revision,
        correlation,
        age: Duration::from_micros(age),
        name: reader.text(name)?,
        message_type: reader.text(message_type)?,
        payload: reader.take(payload)?,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], FrameError> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(FrameError::Short)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>().ok_or(FrameError::Short)?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn text(&mut self, length: usize) -> Result<&'a str, FrameError> {
        std::str::from_utf8(self.take(length)?).map_err(|_| FrameError::Field("text"))
    }

    fn u8(&mut self) -> Result<u8, FrameError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, FrameError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, FrameError> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(name: &str, payload: &'static [u8]) -> Vec<u8> {
        let mut records = Records::default();
        assert!(records.push(&Record {
            name,
            is_room: name == "room",
            revision: 7,
            message_type: "OFFER",
            correlation: 9,
            age: Duration::from_micros(1500),
            payload,
        }));
        let mut out = Vec::new();
        let rejects = vec![(3, Reject::Gone), (5, Reject::Failed(17)), (9, Reject::Lost)];
        let acknowledgement = Acknowledgement { epoch: 4, upto: 10, rejects };
        let position = Position { epoch: 2, base: 1, first: 3 };
        write_head(&mut out, Kind::Data, (11, 12), position, Some(&acknowledgement));
        records.write(&mut out);
        out
    }

    #[test]
    fn a_frame_is_read_as_written() {
        let bytes = record("ben", b"{}");
        let frame = decode(&bytes).unwrap();
        assert_eq!((frame.kind, frame.from, frame.to), (Kind::Data, 11, 12));
        assert_eq!(frame.position, Position { epoch: 2, base: 1, first: 3 });
        let rejects = frame.acknowledgement.unwrap().rejects;
        assert_eq!(rejects, [(3, Reject::Gone), (5, Reject::Failed(17)), (9, Reject::Lost)]);
        let record = frame.records[0];
        assert_eq!((record.name, record.message_type, record.payload), ("ben", "OFFER", &b"{}"[..]));
        assert_eq!((record.revision, record.correlation, record.is_room), (7, 9, false));
        assert_eq!(record.age, Duration::from_micros(1500));
    }

    #[test]
    fn every_prefix_and_every_suffix_is_refused() {
        let bytes = record("room", b"abc");
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "{end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(decode(&longer).unwrap_err(), FrameError::Long);
        let newer = [&[VERSION + 1], &bytes[1..]].concat();
        assert_eq!(decode(&newer).unwrap_err(), FrameError::Version(VERSION + 1));
    }

    #[test]
    fn a_count_that_the_bytes_do_not_back_allocates_nothing() {
        let mut out = Vec::new();
        write_head(&mut out, Kind::Data, (1, 2), Position::default(), None);
        out.extend_from_slice(&u16::MAX.to_le_bytes());
        assert_eq!(decode(&out).unwrap_err(), FrameError::Field("count"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_changed_byte_is_a_frame_or_an_error(place in 0_usize..100, value: u8) {
            let mut bytes = record("ben", b"{\"a\":1}");
            let place = place % bytes.len();
            bytes[place] = value;
            let _ = decode(&bytes);
        }
    }
}
