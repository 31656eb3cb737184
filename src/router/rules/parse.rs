//! Reads a protocol from a JSON text: a file in `protocols/`, or a host's own text. Adds `ProtocolRules::parse`, which
//! hosts call; the rules then go to `router::Builder`.

use super::{Action, ProtocolRules};
use crate::envelope::{Argument, Fields, Forward, Protocol};
use crate::error::RulesError;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// The longest description, in bytes.
const MAX_TEXT: usize = 64 << 10;

/// The most types that a description may list: each type takes memory in every worker.
const MAX_TYPES: usize = 64;

/// The members of a description.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    name: String,
    /// For readers of the description.
    #[serde(default, rename = "about")]
    _about: String,
    #[serde(default, rename = "examples")]
    _examples: Vec<IgnoredAny>,
    #[serde(rename = "type")]
    message_type: Option<String>,
    recipient: Option<String>,
    room: Option<String>,
    transaction: Option<String>,
    sender: Option<String>,
    forward: Option<Forwarded>,
    #[serde(default)]
    words: Pairs<Keyword>,
    #[serde(default)]
    types: Pairs<Verb>,
    unknown: Option<Verb>,
    #[serde(default)]
    droppable: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "\"all\" or a list of keys")]
enum Forwarded {
    Word(All),
    Keys(Vec<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum All {
    All,
}

/// The names of the actions in descriptions.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verb {
    Relay,
    Hold,
    RelayToRoom,
    RelayOrLeave,
    KeepAlive,
    Accept,
    Handler,
    Host,
}

/// The names of command arguments in descriptions.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Keyword {
    Nothing,
    Recipient,
    Room,
    Sender,
}

/// The members of an object, in order. A duplicate key is refused.
struct Pairs<T>(Vec<(String, T)>);

impl ProtocolRules {
    /// Reads rules from a JSON description:
    ///
    /// ```
    /// use corelane::{config::Config, router::{Builder, ProtocolRules}};
    ///
    /// let rules = ProtocolRules::parse(r#"{
    ///     "name": "doorbell",
    ///     "type": "kind", "recipient": "to.id#", "sender": "from",
    ///     "types": {"ring": "relay", "ping": "keep_alive"}
    /// }"#)?;
    /// Builder::new(Config::default()).protocol(rules).build()?;
    ///
    /// let wrong = r#"{"name": "doorbell", "type": "kind", "recipient": "kind", "unknown": "relay"}"#;
    /// assert!(ProtocolRules::parse(wrong).unwrap_err().to_string().contains("a key is named twice"));
    /// # Ok::<(), corelane::error::Error>(())
    /// ```
    ///
    /// The members of the description:
    ///
    /// - `name`: the protocol's name. Required.
    /// - `about`, `examples`: a text and a list of messages for readers. The router ignores both.
    /// - `type`, `recipient`, `room`, `transaction`, `sender`: where the field is in a message, see [`Fields`].
    ///   A field that is left out does not exist. `type` or `words` is required.
    /// - `forward`: `"all"` (the default), or a list of keys, see [`Forward`].
    /// - `words`: the commands, and what the argument of each is: `nothing`, `recipient`, `room` or `sender`.
    ///   Without it no message is a command.
    /// - `types`: the listed types, and the action of each: `relay`, `hold`, `relay_to_room`, `relay_or_leave`,
    ///   `keep_alive`, `accept`, `handler`, `host`.
    /// - `unknown`: the action of all other types. Without it they fail. `types` or `unknown` is required.
    /// - `droppable`: the types whose messages may be dropped, see [`droppable`](Self::droppable). None by
    ///   default.
    ///
    /// # Errors
    /// [`RulesError`] with what is wrong and what to change.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        let refuse = |protocol: &str, problem: String| RulesError { protocol: protocol.to_owned(), problem };
        if text.len() > MAX_TEXT {
            return Err(refuse("", format!("its description is longer than {MAX_TEXT} bytes: shorten it")));
        }
        // Some editors begin a file with a byte order mark.
        let described: Description = serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(text))
            .map_err(|error| refuse("", format!("its description cannot be read, correct it: {error}")))?;
        described.check().map_err(|problem| refuse(&described.name, problem))?;
        let protocol = described.protocol().map_err(|problem| refuse(&described.name, problem))?;
        let rules = described.rules(protocol);
        rules.check().map(|()| rules)
    }
}

impl Description {
    /// The checks that the envelope does not make.
    fn check(&self) -> Result<(), String> {
        let types = &self.types.0;
        if self.name.is_empty() {
            Err("it has no name: give \"name\"".to_owned())
        } else if self.message_type.is_none() && self.words.0.is_empty() {
            Err("its messages have no types: give \"type\" or \"words\"".to_owned())
        } else if types.is_empty() && self.unknown.is_none() {
            Err("all its messages would fail: list \"types\", or give \"unknown\" an action".to_owned())
        } else if types.len() > MAX_TYPES {
            Err(format!(
                "it lists {} types, and at most {MAX_TYPES} are allowed: use \"unknown\" for the others",
                types.len()
            ))
        } else if types.iter().any(|(name, _)| name.is_empty()) {
            Err("a type is empty: remove it".to_owned())
        } else {
            Ok(())
        }
    }

    fn protocol(&self) -> Result<Protocol, String> {
        let fields = Fields {
            message_type: self.message_type.as_deref(),
            recipient: self.recipient.as_deref(),
            room: self.room.as_deref(),
            transaction: self.transaction.as_deref(),
            sender: self.sender.as_deref(),
        };
        let listed: Option<Vec<&str>> = match &self.forward {
            Some(Forwarded::Keys(keys)) => Some(keys.iter().map(String::as_str).collect()),
            Some(Forwarded::Word(All::All)) | None => None,
        };
        let forward = listed.as_deref().map_or(Forward::All, Forward::Only);
        let words: Vec<_> =
            self.words.0.iter().map(|(word, argument)| (word.as_str(), argument.argument())).collect();
        let protocol = Protocol::new(&self.name, &fields, forward);
        protocol.and_then(|protocol| protocol.with_words(&words)).map_err(|error| error.to_string())
    }

    fn rules(&self, protocol: Protocol) -> ProtocolRules {
        let mut rules = ProtocolRules::new(protocol);
        for (name, verb) in &self.types.0 {
            rules = rules.message_type(name, verb.action());
        }
        for name in &self.droppable {
            rules = rules.droppable(name);
        }
        match self.unknown {
            Some(verb) => rules.unknown_types(verb.action()),
            None => rules,
        }
    }
}

impl Verb {
    fn action(self) -> Action {
        match self {
            Self::Relay => Action::Relay { hold: false },
            Self::Hold => Action::Relay { hold: true },
            Self::RelayToRoom => Action::RelayToRoom,
            Self::RelayOrLeave => Action::RelayOrLeave,
            Self::KeepAlive => Action::KeepAlive,
            Self::Accept => Action::Accept,
            Self::Handler => Action::Handler { hold: false },
            Self::Host => Action::Host { hold: false },
        }
    }
}

impl Keyword {
    fn argument(self) -> Argument {
        match self {
            Self::Nothing => Argument::Nothing,
            Self::Recipient => Argument::Recipient,
            Self::Room => Argument::Room,
            Self::Sender => Argument::Sender,
        }
    }
}

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder(std::marker::PhantomData))
    }
}

struct InOrder<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
    type Value = Pairs<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs: Vec<(String, T)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, T>()? {
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(serde::de::Error::custom(format_args!("{name:?} is listed twice: remove one")));
            }
            pairs.push((name, value));
        }
        Ok(Pairs(pairs))
    }
}
