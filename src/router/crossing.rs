//! What the records between the gateway and the workers carry: a message on its way to another machine, the answers
//! of that machine, and where a name is. Used by `worker/remote`, `worker/unknown` and `port/gateway`.

use super::elsewhere::{Elsewhere, LinkId, MAX_LINKS, Reject, Whereabouts};
use crate::clients::{MAX_NAME_BYTES, NameHash};

/// Bytes before the name in the payload of a record ELSEWHERE: revision, epoch, link and the name's length.
pub(super) const HEAD_BYTES: usize = 16;

/// What a record ELSEWHERE says before the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) at: Elsewhere,
    pub(super) epoch: u32,
    pub(super) name: usize,
}

impl Head {
    /// Writes the head at the start of a payload.
    pub(super) fn write(self, out: &mut [u8]) {
        let Some(head) = out.first_chunk_mut::<HEAD_BYTES>() else { return };
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&self.at.revision.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.epoch.to_ne_bytes());
        bytes[12] = self.at.slot;
        bytes[14..].copy_from_slice(&(self.name as u16).to_ne_bytes());
        *head = bytes;
    }

    /// Reads the head; returns it with the name and the payload.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let [a, b, c, d, e, f, g, h, i, j, k, l, slot, _, m, n] = *head;
        let name = usize::from(u16::from_ne_bytes([m, n]));
        let revision = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
        let at = Elsewhere { slot, revision };
        let (text, payload) = rest.split_at_checked(name)?;
        Some((Self { at, epoch: u32::from_ne_bytes([i, j, k, l]), name }, text, payload))
    }
}

/// What a record ANSWERED or LINK_LOST says: the oldest `count` messages of a link are done, these of them badly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    pub(super) link: LinkId,
    pub(super) count: u32,
    rejects: &'a [u8],
}

const ANSWER_BYTES: usize = 16;
const REJECT_BYTES: usize = 8;

impl<'a> Answer<'a> {
    /// The answer as bytes.
    pub(super) fn bytes(link: LinkId, count: u32, rejects: &[(u32, Reject)]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ANSWER_BYTES + rejects.len() * REJECT_BYTES);
        bytes.extend_from_slice(&link.epoch.to_ne_bytes());
        bytes.extend_from_slice(&count.to_ne_bytes());
        bytes.extend_from_slice(&u64::from(link.slot).to_ne_bytes());
        for (place, reject) in rejects {
            bytes.extend_from_slice(&place.to_ne_bytes());
            bytes.extend_from_slice(&u32::from(reject.number()).to_ne_bytes());
        }
        bytes
    }

    /// Reads the payload of such a record.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (head, rejects) = bytes.split_first_chunk::<ANSWER_BYTES>()?;
        let word = |at: usize| {
            let bytes = head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_ne_bytes)
        };
        let slot = u8::try_from(word(8)).ok().filter(|slot| usize::from(*slot) < MAX_LINKS)?;
        Some(Self { link: LinkId { slot, epoch: word(0) }, count: word(4), rejects })
    }

    /// The messages that were not delivered: their places among the `count`, ascending.
    pub(super) fn rejects(self) -> impl Iterator<Item = (u32, Reject)> + 'a {
        self.rejects.chunks_exact(REJECT_BYTES).filter_map(|entry| {
            let place = u32::from_ne_bytes(entry.get(..4)?.try_into().ok()?);
            let number = u32::from_ne_bytes(entry.get(4..)?.try_into().ok()?);
            Some((place, Reject::of_number(number as u16)))
        })
    }
}

/// What a record ASKED says: where a name is, by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) hash: NameHash,
    pub(super) answer: Found,
}

/// Where a name is, as a worker learns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    At(Elsewhere),
    Nowhere,
    Unanswered,
}

impl From<Whereabouts> for Found {
    fn from(answer: Whereabouts) -> Self {
        match answer {
            Whereabouts::At(link, revision) => Self::At(Elsewhere { slot: link.slot, revision }),
            Whereabouts::Nowhere => Self::Nowhere,
            Whereabouts::Unanswered => Self::Unanswered,
        }
    }
}

impl Asked {
    const NOWHERE: u64 = 256;
    const UNANSWERED: u64 = 257;

    /// The record's payload: hash, revision, and the link or why there is none.
    pub(super) fn bytes(self) -> Vec<u8> {
        let (revision, place) = match self.answer {
            Found::At(at) => (at.revision, u64::from(at.slot)),
            Found::Nowhere => (0, Self::NOWHERE),
            Found::Unanswered => (0, Self::UNANSWERED),
        };
        [self.hash.0, revision, place].iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// Reads the payload of such a record.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (words, _) = bytes.as_chunks::<8>();
        let [hash, revision, place] = *words else { return None };
        let [hash, revision, place] = [hash, revision, place].map(u64::from_ne_bytes);
        let answer = match place {
            Self::NOWHERE => Found::Nowhere,
            Self::UNANSWERED => Found::Unanswered,
            slot => {
                let slot = u8::try_from(slot).ok().filter(|slot| usize::from(*slot) < MAX_LINKS)?;
                Found::At(Elsewhere { slot, revision })
            }
        };
        Some(Self { hash: NameHash(hash), answer })
    }
}

const _: () = assert!(MAX_NAME_BYTES <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_answers_survive() {
        let head = Head { at: Elsewhere { slot: 62, revision: u64::MAX - 1 }, epoch: 9, name: 3 };
        let mut bytes = vec![0; HEAD_BYTES];
        head.write(&mut bytes);
        bytes.extend_from_slice(b"annpayload");
        assert_eq!(Head::read(&bytes), Some((head, &b"ann"[..], &b"payload"[..])));
        assert_eq!(Head::read(&bytes[..HEAD_BYTES + 2]), None);
        let link = LinkId { slot: 5, epoch: 8 };
        let rejects = [(0, Reject::Gone), (7, Reject::Failed(3))];
        let bytes = Answer::bytes(link, 9, &rejects);
        let answer = Answer::read(&bytes).unwrap();
        assert_eq!((answer.link, answer.count), (link, 9));
        assert!(answer.rejects().eq(rejects));
        assert!(Answer::read(&bytes[..3]).is_none());
    }

    #[test]
    fn where_a_name_is_survives() {
        let at = Elsewhere { slot: 9, revision: u64::MAX };
        for answer in [Found::At(at), Found::Nowhere, Found::Unanswered] {
            let asked = Asked { hash: NameHash(7), answer };
            assert_eq!(Asked::read(&asked.bytes()), Some(asked));
        }
        let bytes =
            Asked { hash: NameHash(7), answer: Found::At(Elsewhere { slot: 255, revision: 1 }) }.bytes();
        assert_eq!((Asked::read(&bytes), Asked::read(&bytes[..20])), (None, None));
    }
}
