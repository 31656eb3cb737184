//! A client's name, copied out of its slot.

use super::NameBuffer;
use std::fmt;
use std::ops::Deref;

/// A client's name. It holds the bytes itself, so it stays the same when the client leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientName {
    pub(super) buffer: NameBuffer,
    pub(super) length: usize,
}

impl ClientName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        let bytes = self.buffer.as_flattened().get(..self.length).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl Deref for ClientName {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for ClientName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
