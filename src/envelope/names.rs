//! Names that are looked up in every message: a protocol's keys and its types. A name is found by its length and its first
//! eight bytes. Only a name that is longer is compared as a whole.

use super::text::Text;

/// A list of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    marks: Box<[Mark]>,
    names: Box<[Box<str>]>,
}

/// What tells a name apart. The first eight bytes of a shorter name are the name and zeros; no other name of the same
/// length has these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    first: u64,
    length: usize,
}

impl Names {
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let names: Box<[Box<str>]> = names.map(Box::from).collect();
        let marks = names.iter().map(|name| Mark::new(name.as_bytes(), name.len())).collect();
        Self { marks, names }
    }

    /// The place of a name in the list.
    #[inline]
    pub(crate) fn find(&self, name: Text<'_>) -> Option<usize> {
        if name.is_escaped() {
            return self.names.iter().position(|known| name.eq_str(known));
        }
        self.find_at(name.bytes(), name.bytes().len())
    }

    /// The place of the name that is the first `length` bytes of `bytes`. Fastest if at least eight bytes are there.
    #[inline(always)]
    pub(super) fn find_at(&self, bytes: &[u8], length: usize) -> Option<usize> {
        let mark = Mark::new(bytes, length);
        let mut marks = self.marks.iter();
        let place = marks.position(|known| *known == mark)?;
        if length <= 8 {
            return Some(place);
        }
        // Several long names may share a mark.
        (place..self.names.len()).find(|place| {
            self.names
                .get(*place)
                .is_some_and(|known| known.as_bytes() == bytes.get(..length).unwrap_or_default())
        })
    }
}

impl Mark {
    #[inline(always)]
    fn new(bytes: &[u8], length: usize) -> Self {
        let first = match bytes.first_chunk() {
            Some(eight) => u64::from_le_bytes(*eight),
            None => padded(bytes),
        };
        Self { first: if length < 8 { first & !(u64::MAX << (8 * length)) } else { first }, length }
    }
}

/// Fewer than eight bytes, followed by zeros.
#[inline(always)]
fn padded(bytes: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let last = u64::from(u32::from_le_bytes(*last));
        return u64::from(u32::from_le_bytes(*first)) | last << (8 * (bytes.len() - 4));
    }
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}
