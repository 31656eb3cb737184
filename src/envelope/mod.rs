//! The envelope reader. It finds type, recipient, room, transaction and sender in one JSON message without building a
//! tree, and it writes the message in the form in which the router relays it. The module is pure: bytes in, spans and
//! bytes out. It allocates nothing per message, and no input makes it recurse or panic. The router's workers call it
//! once per message.
//!
//! | file | contents |
//! |---|---|
//! | `error`, `fields` | errors, limits, and what a protocol says of its fields |
//! | `protocol` | names of a protocol's fields; `path` parses the field paths, `table` is the look-up table |
//! | `shipped` | the built-in protocols |
//! | `json` | the JSON scanner |
//! | `text` | strings, with escapes decoded on demand |
//! | `read` | the rules for top-level members; `inside` has the rules for paths into objects |
//! | `command` | messages that are word commands |
//! | `relay` | writes the relayed message |

#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

mod command;
mod error;
mod fields;
mod inside;
mod json;
mod path;
mod protocol;
mod read;
mod relay;
mod shipped;
mod table;
mod text;

pub use error::{MAX_DEPTH, MAX_FIELD_BYTES, MAX_KEYS, ProtocolError, ReadError};
pub use fields::{Argument, Fields, Forward};
pub use protocol::Protocol;
pub use read::{Envelope, read};
pub use text::{Characters, Text};
