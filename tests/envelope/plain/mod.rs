//! The plain reader: the envelope reader as it was before it used vector instructions, kept as the reference for the
//! differential test and the fuzz target. It validates the whole text as UTF-8, then scans byte by byte, compares keys
//! one after another, and relays listed members in the order of the list. It shares no code with `src/envelope`, only
//! the types that describe a protocol and the errors. Do not make it faster or shorter.

mod command;
mod inside;
mod json;
mod path;
mod protocol;
mod read;
mod relay;
mod table;
mod text;

pub use protocol::Protocol;
pub use read::{Envelope, read};
pub use text::Text;
