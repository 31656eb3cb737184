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

/// What the watch or the leader says of a name: the revision of its key, and its owner if it has one.
pub type News = (u64, Option<Owner>);
