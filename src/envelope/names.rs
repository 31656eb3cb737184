//! Names that are looked up in every message: a protocol's keys and its types. A name is found by its length and its first
//! eight bytes. Only a name that is longer is compared as a whole.

use super::text::Text;

/// A list of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    marks: Box<[Mark]>,
    names: Box<[Box<str>]>,
}

/// What tells a name apart from others, except from one of the same length that differs behind its eighth byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    length: usize,
    /// The first eight bytes, or all bytes and zeros.
    first: u64,
    /// All bits of the bytes in `first` that belong to the name.
    mask: u64,
}

impl Names {
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let names: Box<[Box<str>]> = names.map(Box::from).collect();
        Self { marks: names.iter().map(|name| Mark::new(name.as_bytes())).collect(), names }
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
        let first = bytes.first_chunk().map_or_else(|| padded(bytes), |eight| u64::from_le_bytes(*eight));
        let is = |known: &Mark| known.length == length && (known.first ^ first) & known.mask == 0;
        let place = self.marks.iter().position(is)?;
        if length <= 8 { Some(place) } else { self.find_long(place, bytes.get(..length)?) }
    }

    /// The place of a name of more than eight bytes. The first of those that share its mark is at `place`.
    fn find_long(&self, place: usize, name: &[u8]) -> Option<usize> {
        let known = self.names.get(place..)?.iter().position(|known| known.as_bytes() == name)?;
        Some(place + known)
    }
}

impl Mark {
    fn new(name: &[u8]) -> Self {
        let all = [u8::MAX; 8];
        let (first, mask) = (padded(name), padded(all.get(..name.len()).unwrap_or(&all)));
        Self { length: name.len(), first, mask }
    }
}

/// The first eight bytes, or all bytes and zeros.
#[inline(never)]
fn padded(bytes: &[u8]) -> u64 {
    let mut eight = [0; 8];
    eight.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(eight)
}
