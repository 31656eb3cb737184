//! The envelope reader. It finds type, recipient, room, transaction and sender in one JSON message without building a
//! tree, and it writes the message in the form in which the router relays it. The module is pure: bytes in, spans and
//! bytes out. It reads a message once, from the first byte to the last. Only a string that is not ASCII and a message that
//! is refused are examined again, to check that they are UTF-8. The module allocates nothing per message, and no input
//! makes it recurse or panic. The router's workers call it once per message.
//!
//! | file | contents |
//! |---|---|
//! | `error`, `fields` | errors, limits, and what a protocol says of its fields |
//! | `protocol` | names of a protocol's fields; `path` parses the field paths, `table` is the look-up table |
//! | `names` | looks up keys and types |
//! | `block` | sixteen bytes at once; `string` finds the end of a string with it, `scan` that of any JSON value |
//! | `text` | strings, with escapes decoded on demand; `escape` writes escapes |
//! | `read` | the rules for top-level members; `inside` has the rules for paths into objects |
//! | `found` | the envelope: what was found in a message |
//! | `command` | messages that are word commands |
//! | `relay` | writes the relayed message |

#![deny(unsafe_code)]
#![deny(clippy::indexing_slicing)]

mod block;
mod command;
mod error;
mod escape;
mod fields;
mod found;
mod inside;
mod names;
mod path;
mod protocol;
mod read;
mod relay;
mod scan;
mod string;
mod table;
mod text;

pub use error::{MAX_DEPTH, MAX_FIELD_BYTES, MAX_KEYS, ProtocolError, ReadError};
pub use fields::{Argument, Fields, Forward};
pub use found::Envelope;
pub(crate) use names::Names;
pub use protocol::Protocol;
pub use read::read;
pub(crate) use relay::Relayed;
pub use text::{Characters, Text};
