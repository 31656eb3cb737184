//! What names a client or a room everywhere: its handle, and how long its name may be. Plain values, below everything that
//! uses them; `clients` hands them out.

/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// A room's handle: the generation in the upper half, the place in the lower. A room that its last member has left is
/// gone; the next one of that name has another handle.
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

/// A client's handle: the generation in the upper half, the slot's index in the lower. 0 is nobody.
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
