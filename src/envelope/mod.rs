//! The envelope reader: finds type, recipient, room, transaction and sender in one JSON message without building a
//! tree, and writes the message as it is to be relayed. Pure: bytes in, spans and bytes out; nothing is allocated, and
//! no input makes it recurse or panic. Called by the router's workers, once per message.
//!
//! `protocol` says what the fields are called (`path` reads where they stand, `table` is what it looks up, `shipped` lists
//! those that ship), `json` walks the text, `text` undoes escapes, `read` applies the rules, `inside` those for paths into
//! objects, `command` is for messages that are words; `relay` writes.

#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

mod command;
mod inside;
mod json;
mod path;
mod protocol;
mod read;
mod relay;
mod shipped;
mod table;
mod text;

pub use command::Argument;
pub use json::MAX_DEPTH;
pub use protocol::{Fields, Forward, MAX_KEYS, Protocol, ProtocolError};
pub use read::{Envelope, MAX_FIELD_BYTES, ReadError, read};
pub use text::{Characters, Text};
