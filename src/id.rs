//! Handles of clients and rooms, and the limit of their names. Plain values that every other module may use;
//! `clients` issues them.

/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// A room's handle: generation in the upper half, index in the lower half. A room ends when its last member leaves;
/// the next room of the same name has another handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub u64);

impl RoomId {
    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        Self(((generation as u64) << 32) | index as u64)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as u32 as usize
    }
}

/// A client's handle: generation in the upper half, slot index in the lower half. 0 means no client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

impl ClientId {
    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        Self(((generation as u64) << 32) | index as u64)
    }

    pub(crate) const fn index(self) -> u32 {
        self.0 as u32
    }

    pub(crate) const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}
