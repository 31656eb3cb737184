//! The owner of a name, as the bucket has it.

/// The keyed digest of a client's token.
pub type Mac = [u8; 16];

/// Who owns a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The machine's incarnation.
    pub incarnation: u64,
    /// The number of the claim at that machine.
    pub claim: u64,
    /// Of the client's token.
    pub mac: Mac,
}

/// A revision's bits that are the sequence in the bucket. The others are the bucket's own: a bucket that was lost and made
/// again counts from 1 again, and no revision of it may be taken for one of the bucket before.
pub const SEQUENCE: u64 = (1 << 40) - 1;

/// The bits of a revision that are its bucket's.
pub const fn bucket_of(revision: u64) -> u64 {
    revision & !SEQUENCE
}

/// What the watch or the leader says of a name: the revision of its key, and its owner if it has one.
pub type News = (u64, Option<Owner>);
