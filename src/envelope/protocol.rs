//! What a protocol calls its fields, as data. Built once from the configuration; `read` and `relay` only look things up.

use super::text::Text;
use std::fmt;

/// How many different top-level keys a protocol may name.
pub const MAX_KEYS: usize = 16;

/// The top-level keys that hold what the router needs; `None` where a protocol has no such field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// What kind of message it is. A protocol that names it requires it.
    pub message_type: Option<&'a str>,
    /// Whom it is for.
    pub recipient: Option<&'a str>,
    /// Which room it is for.
    pub room: Option<&'a str>,
    /// What an answer will be matched by: a string or a number.
    pub transaction: Option<&'a str>,
    /// Whom it is from. Whatever the client wrote there, the relayed message holds the sender that the server knows.
    pub sender: Option<&'a str>,
}

/// Which top-level members are relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward<'a> {
    /// All of them, in the order in which the client wrote them, behind the sender.
    All,
    /// Those with these keys, in this order. The sender comes first if it is not in the list.
    Only(&'a [&'a str]),
}

/// A protocol: its name, what its fields are called, and what of a message is relayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    name: Box<str>,
    /// Every key that is looked for; those of `Forward::Only` first, in its order.
    keys: Box<[Key]>,
    /// How many of `keys` are relayed; `None` for `Forward::All`.
    forwarded: Option<usize>,
    /// Indices of `keys`, by `Role`.
    roles: [Option<usize>; Role::COUNT],
}

/// A key that a protocol uses. (A path into nested objects would be a key with keys of its own.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: Box<str>,
    /// What its value is used for, besides being relayed.
    role: Option<Role>,
    /// As it is relayed: in quotes, escaped, with the colon.
    pub(super) written: Box<str>,
}

/// What a field is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Type,
    Recipient,
    Room,
    Transaction,
    Sender,
}

impl Role {
    const COUNT: usize = 5;
    const ALL: [Self; Self::COUNT] =
        [Self::Type, Self::Recipient, Self::Room, Self::Transaction, Self::Sender];
}

/// Why a protocol cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A key is empty.
    EmptyKey,
    /// A key contains a dot.
    Path,
    /// Two fields, or two entries of the list of forwarded keys, have one key.
    SameKey,
    /// More than [`MAX_KEYS`] different keys.
    TooManyKeys,
}

impl Protocol {
    /// What PeerJS clients and servers speak: `type`, `src`, `dst`; these and `payload` are relayed.
    pub fn peerjs() -> Self {
        let fields = Fields {
            message_type: Some("type"),
            recipient: Some("dst"),
            sender: Some("src"),
            ..Fields::default()
        };
        Self::assemble("peerjs", &fields, Forward::Only(&["type", "src", "dst", "payload"]))
    }

    /// `type`, `to`, `room`, `id`, `from`; everything is relayed.
    pub fn generic() -> Self {
        let fields = Fields {
            message_type: Some("type"),
            recipient: Some("to"),
            room: Some("room"),
            transaction: Some("id"),
            sender: Some("from"),
        };
        Self::assemble("generic", &fields, Forward::All)
    }

    /// A built-in protocol.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "peerjs" => Some(Self::peerjs()),
            "generic" => Some(Self::generic()),
            _ => None,
        }
    }

    /// A protocol of the host's own. All keys are top-level keys.
    ///
    /// # Errors
    /// If a key is empty, contains a dot (kept for paths into nested objects), stands for two fields or twice in the
    /// list, or if there are more than [`MAX_KEYS`].
    ///
    /// ```
    /// use corelane::envelope::{Fields, Forward, Protocol};
    ///
    /// let fields = Fields { message_type: Some("kind"), recipient: Some("peer"), ..Fields::default() };
    /// let protocol = Protocol::new("doorbell", &fields, Forward::All)?;
    /// assert_eq!(protocol.name(), "doorbell");
    /// # Ok::<(), corelane::envelope::ProtocolError>(())
    /// ```
    pub fn new(name: &str, fields: &Fields<'_>, forward: Forward<'_>) -> Result<Self, ProtocolError> {
        let listed = if let Forward::Only(listed) = forward { listed } else { &[] };
        let named: Vec<&str> = fields.by_role().into_iter().flatten().collect();
        let protocol = Self::assemble(name, fields, forward);
        if named.iter().chain(listed).any(|key| key.is_empty()) {
            Err(ProtocolError::EmptyKey)
        } else if named.iter().chain(listed).any(|key| key.contains('.')) {
            Err(ProtocolError::Path)
        } else if repeats(&named) || repeats(listed) {
            Err(ProtocolError::SameKey)
        } else if protocol.keys.len() > MAX_KEYS {
            Err(ProtocolError::TooManyKeys)
        } else {
            Ok(protocol)
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn assemble(name: &str, fields: &Fields<'_>, forward: Forward<'_>) -> Self {
        let named = fields.by_role();
        let mut names: Vec<&str> = Vec::new();
        let mut add = |key| {
            if !names.contains(&key) {
                names.push(key);
            }
            names.len()
        };
        let forwarded = match forward {
            Forward::All => None,
            Forward::Only(listed) => {
                let unlisted = fields.sender.filter(|sender| !listed.contains(sender));
                unlisted.into_iter().chain(listed.iter().copied()).map(&mut add).last().or(Some(0))
            }
        };
        for key in named.into_iter().flatten() {
            add(key);
        }
        let roles = named.map(|key| names.iter().position(|name| Some(*name) == key));
        let role_of =
            |name| Role::ALL.into_iter().zip(named).find(|(_, key)| *key == Some(name)).map(|(role, _)| role);
        let keys = names.into_iter().map(|name| Key::new(name, role_of(name))).collect();
        Self { name: name.into(), keys, forwarded, roles }
    }

    /// Which key of the table this is, and what for.
    #[inline]
    pub(super) fn find(&self, key: Text<'_>) -> Option<(usize, Option<Role>)> {
        let known = self.keys.iter().enumerate().find(|(_, known)| key.eq_str(&known.name));
        known.map(|(index, known)| (index, known.role))
    }

    /// Whether a reader less exact than we are could take this key, which is not the sender's, for the sender's:
    /// many ignore case (Go's and .NET's), some stop at a NUL (C's).
    pub(super) fn resembles_sender(&self, key: Text<'_>) -> bool {
        let Some(sender) = self.role(Role::Sender).and_then(|index| self.keys.get(index)) else {
            return false;
        };
        if !key.is_escaped() && key.raw().is_ascii() && sender.name.is_ascii() {
            return key.raw().eq_ignore_ascii_case(&sender.name);
        }
        let visible = key.characters().take_while(|character| *character != '\0');
        visible.flat_map(fold).eq(sender.name.chars().flat_map(fold))
    }

    #[inline]
    pub(super) fn role(&self, role: Role) -> Option<usize> {
        self.roles.get(role as usize).copied().flatten()
    }

    /// The keys that are relayed, in order; `None` if all members are.
    pub(super) fn forwarded(&self) -> Option<impl Iterator<Item = &Key>> {
        self.forwarded.map(|count| self.keys.iter().take(count))
    }

    pub(super) fn key(&self, index: usize) -> Option<&Key> {
        self.keys.get(index)
    }
}

impl<'a> Fields<'a> {
    fn by_role(&self) -> [Option<&'a str>; Role::COUNT] {
        [self.message_type, self.recipient, self.room, self.transaction, self.sender]
    }
}

impl Key {
    fn new(name: &str, role: Option<Role>) -> Self {
        let mut written = String::from("\"");
        super::relay::escaped(name, |piece| written.push_str(piece));
        written.push_str("\":");
        Self { name: name.into(), role, written: written.into() }
    }
}

fn repeats(keys: &[&str]) -> bool {
    keys.iter().enumerate().any(|(index, key)| keys.iter().skip(index + 1).any(|other| other == key))
}

/// Equal for characters that differ in case only; `ſ` and `K` (the Kelvin sign) fold to `s` and `k` too.
fn fold(character: char) -> impl Iterator<Item = char> {
    character.to_lowercase().flat_map(char::to_uppercase)
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyKey => {
                write!(formatter, "a key is empty: leave out fields that the protocol does not have")
            }
            Self::Path => write!(formatter, "a key contains a dot: only top-level keys can be named"),
            Self::SameKey => {
                write!(formatter, "a key is named twice: give each field a key of its own, and list it once")
            }
            Self::TooManyKeys => {
                write!(formatter, "more than {MAX_KEYS} keys: forward everything, or fewer keys")
            }
        }
    }
}

impl std::error::Error for ProtocolError {}
