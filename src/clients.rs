//! tmp
/// id
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId(pub u64);
/// max
pub const MAX_NAME_BYTES: usize = 64;
