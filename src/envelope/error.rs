//! Why a message cannot be read, why a protocol cannot be built, and the limits of both.

use std::fmt;

/// How many objects and arrays may be open at once, including the message itself.
pub const MAX_DEPTH: u32 = 128;

/// The maximum length of a type, recipient, room or transaction, in bytes of decoded UTF-8.
pub const MAX_FIELD_BYTES: usize = 256;

/// The maximum number of different keys in a protocol, including the keys on paths into objects.
pub const MAX_KEYS: usize = 16;

/// Why a message is refused. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum ReadError {
    /// The message has no bytes.
    Empty = 1,
    /// The message is not UTF-8.
    NotUtf8 = 2,
    /// The message is neither one JSON text nor a command of the protocol. Half a surrogate pair is also an error in
    /// a key of the message itself, in a key of an object on a path, and in a field that is used. Elsewhere it is
    /// accepted.
    NotJson = 3,
    /// The message is JSON, but not an object.
    NotAnObject = 4,
    /// More than [`MAX_DEPTH`] nested objects and arrays.
    TooDeep = 5,
    /// A key that the protocol uses, or that a path leads through, appears twice.
    DuplicateField = 6,
    /// A field that the protocol uses is not a string, or the value that the sender is inserted into is not an
    /// object. A transaction may be a number, and so may fields that the protocol marks with `#`.
    WrongType = 7,
    /// The protocol has types, but the message has none: absent, `null` or empty.
    MissingType = 8,
    /// A field that the protocol uses is longer than [`MAX_FIELD_BYTES`].
    FieldTooLong = 9,
    /// The protocol relays everything, and some readers would mistake a key for the sender's: it differs only in case
    /// or after a NUL.
    AmbiguousSender = 10,
    /// The message has 4 GiB or more.
    TooLong = 11,
    /// The client wrote a value at the place inside an object where the server inserts the sender.
    ForgedSender = 12,
}

/// Why a protocol cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A key is empty.
    EmptyKey,
    /// A forwarded key contains the syntax of a place: a dot, a bar, `?`, `#` or spaces.
    Path,
    /// Two fields or two forwarded entries have the same key, or two commands have the same word.
    SameKey,
    /// More than [`MAX_KEYS`] different keys.
    TooManyKeys,
    /// A path leads through the value of another field.
    ThroughField,
    /// A `?` before a field that is not the type.
    Presence,
    /// The sender is inside an object but the protocol does not forward everything, or the sender has several places
    /// that are not each inside an object of its own.
    Sender,
    /// Some readers would mistake the key of a field or a forwarded key for the sender's, such as `From` and `from`,
    /// or the key is where the sender is inserted into an object.
    LikeSender,
    /// A command's word is empty, too long, or contains a character other than capital letters and underscores.
    Word,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::EmptyKey => "a key is empty: leave out fields that the protocol does not have",
            Self::Path => {
                "a forwarded key is a path: list the top-level member that contains it, by its key alone"
            }
            Self::SameKey => "a key is named twice: give each field its own key, and list each key once",
            Self::TooManyKeys => {
                return write!(
                    formatter,
                    "more than {MAX_KEYS} keys: forward everything, or name fewer keys"
                );
            }
            Self::ThroughField => {
                "a path leads through another field: name only members of the object, not the object itself"
            }
            Self::Presence => "a '?' before a field that is not the type: only the type may have one",
            Self::Sender => {
                "the sender's place is ambiguous: name one key of the message, or forward everything and name paths \
                 into different objects"
            }
            Self::LikeSender => {
                "a key could be mistaken for the sender's, or is where the sender is inserted: use another key or \
                 another object"
            }
            Self::Word => {
                "a command's word is not valid: use 1 to 256 capital letters and underscores, A-Z and _"
            }
        };
        formatter.write_str(text)
    }
}

impl std::error::Error for ProtocolError {}

impl fmt::Display for ReadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(formatter, "the message is empty: send a JSON object"),
            Self::NotUtf8 => write!(formatter, "the message is not UTF-8: encode it as UTF-8"),
            Self::NotJson => {
                write!(
                    formatter,
                    "the message is not one JSON text: check its syntax, and send nothing after it"
                )
            }
            Self::NotAnObject => {
                write!(formatter, "the message is not a JSON object: send one object per message")
            }
            Self::TooDeep => write!(formatter, "more than {MAX_DEPTH} levels of nesting: use fewer levels"),
            Self::DuplicateField => {
                write!(formatter, "a field that the protocol uses appears twice: send it once")
            }
            Self::WrongType => {
                write!(formatter, "a field that the protocol uses has the wrong type: send a string")
            }
            Self::MissingType => write!(formatter, "the message has no type: send one"),
            Self::FieldTooLong => {
                write!(formatter, "a field is longer than {MAX_FIELD_BYTES} bytes: shorten it")
            }
            Self::ForgedSender => {
                write!(formatter, "the message has a sender where the server inserts it: leave it out")
            }
            Self::TooLong => formatter.write_str("the message has 4 GiB or more: send a shorter message"),
            Self::AmbiguousSender => {
                write!(formatter, "a key could be mistaken for the sender's: rename it, or spell it exactly")
            }
        }
    }
}

impl std::error::Error for ReadError {}
