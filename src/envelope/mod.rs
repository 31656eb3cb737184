//! The envelope reader: finds type, recipient, room, transaction and sender in one JSON message without building a
//! tree, and writes the message as it is to be relayed. Pure: bytes in, spans and bytes out; nothing is allocated, and
//! no input makes it recurse or panic. Called by the router's workers, once per message.
//!
//! `protocol` says what the fields are called, `json` walks the text, `text` undoes escapes, `read` applies the rules,
//! `relay` writes.

#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

mod json;
mod protocol;
mod read;
mod relay;
mod text;

pub use json::MAX_DEPTH;
pub use protocol::{Fields, Forward, MAX_KEYS, Protocol, ProtocolError};
pub use read::{Envelope, MAX_FIELD_BYTES, ReadError, read};
pub use text::{Characters, Text};
