//! The expected result of the envelope reader for a message, derived from `serde_json`. Used by the tests and by the
//! fuzz target. `check` panics if the two disagree.

// The paths are explicit because the fuzz target includes this file from another folder.
#[path = "oracle/command.rs"]
mod command;
#[path = "oracle/relayed.rs"]
mod relayed;

use command::{check_command, command};
use corelane::envelope::{
    Argument, Envelope, Fields, Forward, MAX_DEPTH, MAX_FIELD_BYTES, Protocol, ReadError, Text, read,
};
use relayed::check_relayed;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The fields of a shipped protocol.
fn shipped(name: &str) -> Protocol {
    let rules = corelane::router::ProtocolRules::by_name(name).expect("it is shipped");
    rules.protocol().clone()
}

/// A protocol in two forms: for the reader and for the oracle.
pub struct Rules {
    pub protocol: Protocol,
    pub fields: Fields<'static>,
    pub only: Option<&'static [&'static str]>,
    pub words: &'static [(&'static str, Argument)],
}

impl Rules {
    fn new(fields: Fields<'static>, only: Option<&'static [&'static str]>) -> Self {
        let protocol = Protocol::new("rules", &fields, only.map_or(Forward::All, Forward::Only)).unwrap();
        Self { protocol, fields, only, words: &[] }
    }

    /// The built-in protocols with top-level keys; protocols with keys that need escapes, without a sender, and
    /// without any field; then protocols with paths, numbers, present keys and commands.
    pub fn all() -> Vec<Self> {
        let peerjs = Fields {
            message_type: Some("type"),
            recipient: Some("dst"),
            sender: Some("src"),
            ..Fields::default()
        };
        let generic = Fields {
            message_type: Some("type"),
            recipient: Some("to"),
            room: Some("room"),
            transaction: Some("id"),
            sender: Some("from"),
        };
        let odd = Fields {
            message_type: Some("ty\"pe"),
            recipient: Some("🔑"),
            sender: Some("ſrc\\"),
            ..Fields::default()
        };
        let anonymous = Fields { recipient: Some("dst"), ..Fields::default() };
        let mut all = vec![
            Self {
                protocol: shipped("peerjs"),
                ..Self::new(peerjs, Some(&["type", "src", "dst", "payload"]))
            },
            Self { protocol: shipped("generic"), ..Self::new(generic, None) },
            Self::new(odd, None),
            Self::new(odd, Some(&["payload", "ty\"pe"])),
            Self::new(anonymous, Some(&["payload"])),
            Self::new(Fields::default(), None),
        ];
        all.extend(Self::nested());
        all
    }

    fn nested() -> Vec<Self> {
        let numbers = Fields {
            message_type: Some("type"),
            recipient: Some("dst#|payload.to#|to"),
            room: Some("x.room.id | room#"),
            transaction: Some("payload.id|id"),
            sender: Some("src#"),
        };
        let put = Fields {
            message_type: Some("type"),
            recipient: Some("payload.to.id|x.to"),
            sender: Some("payload.from.id|x.from#"),
            ..Fields::default()
        };
        let listed = Fields {
            message_type: Some("type|payload.type|?payload"),
            recipient: Some("payload.to.to.to"),
            sender: Some("from"),
            ..Fields::default()
        };
        let present =
            Fields { message_type: Some("?payload|type|?x"), recipient: Some("x.to"), ..Fields::default() };
        const WORDS: &[(&str, Argument)] = &[
            ("TO", Argument::Recipient),
            ("ROOM", Argument::Room),
            ("I_AM", Argument::Sender),
            ("NOTE", Argument::Nothing),
        ];
        let worded = Self::new(present, None);
        let worded = Self { protocol: worded.protocol.with_words(WORDS).unwrap(), words: WORDS, ..worded };
        vec![
            Self::new(numbers, None),
            Self::new(put, None),
            Self::new(listed, Some(&["payload", "type"])),
            Self::new(present, None),
            worded,
        ]
    }
}

/// Reads and relays `message`, and compares every result with the oracle's.
pub fn check(rules: &Rules, message: &[u8], sender: &str) {
    let shown = String::from_utf8_lossy(message);
    if let Some(word) = command(rules, message) {
        return check_command(rules, word, std::str::from_utf8(message).unwrap(), sender);
    }
    match (read(&rules.protocol, message), faults(rules, message)) {
        (Err(error), Err(possible)) => {
            assert!(possible.contains(&error), "{error:?}, not {possible:?}: {shown}")
        }
        (Ok(_), Err(possible)) => panic!("accepted in spite of {possible:?}: {shown}"),
        (Err(error), Ok(_)) => panic!("refused as {error:?}: {shown}"),
        (Ok(envelope), Ok(members)) => {
            check_fields(rules, &envelope, &members);
            check_relayed(rules, &envelope, &members, sender);
        }
    }
}

pub type Members<'a> = Vec<(String, &'a str)>;

/// One of the places where a field may be.
struct Place {
    keys: Vec<&'static str>,
    presence: bool,
    number: bool,
}

fn places(field: Option<&'static str>) -> Vec<Place> {
    let text = field.unwrap_or_default();
    let places = text.split('|').map(str::trim).filter(|place| !place.is_empty());
    places
        .map(|place| Place {
            keys: place.trim_start_matches('?').trim_end_matches('#').split('.').collect(),
            presence: place.starts_with('?'),
            number: place.ends_with('#'),
        })
        .collect()
}

/// The members of an object, each with its value as written. `None` if the text is not an object or a key contains half a surrogate pair.
pub fn members(raw: &str) -> Option<Members<'_>> {
    serde_json::from_str(raw).ok().map(|Object(members)| members)
}

fn at<'a>(top: &Members<'a>, keys: &[&str]) -> Option<&'a str> {
    let (first, rest) = keys.split_first()?;
    let raw = top.iter().find(|(key, _)| key == first)?.1;
    if rest.is_empty() { Some(raw) } else { at(&members(raw)?, rest) }
}

/// The members of the message, or the errors that the reader may report. A message can have several faults, and the
/// reader reports the first one that it finds.
fn faults<'a>(rules: &Rules, message: &'a [u8]) -> Result<Members<'a>, Vec<ReadError>> {
    use ReadError::*;
    let found_early: &[ReadError] = &[DuplicateField, AmbiguousSender, WrongType, FieldTooLong, ForgedSender];
    if message.is_empty() {
        return Err(vec![Empty]);
    }
    let Ok(text) = std::str::from_utf8(message) else { return Err(vec![NotUtf8]) };
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return Err([&[NotJson, TooDeep], found_early].concat());
    }
    if depth(text) > MAX_DEPTH {
        return Err([&[TooDeep, NotJson], found_early].concat());
    }
    if !text.trim_start().starts_with('{') {
        return Err(vec![NotAnObject]);
    }
    let Some(top) = members(text) else {
        // A key contains half a surrogate pair.
        return Err([&[NotJson], found_early].concat());
    };
    let mut found = sender_faults(rules, &top);
    let Fields { message_type, recipient, room, transaction, sender } = rules.fields;
    for field in [message_type, recipient, room, transaction, sender] {
        for place in places(field) {
            found.extend(path_faults(&top, &place.keys, field == sender));
        }
    }
    let twice = |key: &&&str| top.iter().filter(|(other, _)| other == **key).count() > 1;
    if rules.only.is_some_and(|only| only.iter().find(twice).is_some()) {
        found.push(DuplicateField);
    }
    let nested = [message_type, recipient, room, transaction, sender]
        .iter()
        .flatten()
        .any(|field| field.contains('.'));
    if nested && (found.contains(&DuplicateField) || found.contains(&NotJson)) {
        // The reader finds a fault in the second object before it knows that it is a second object, and a fault
        // before half a surrogate pair before it finds the pair.
        return Err([&[NotJson, MissingType], found_early].concat());
    }
    for (field, number) in [(message_type, false), (recipient, false), (room, false), (transaction, true)] {
        for place in places(field).iter().filter(|place| !place.presence) {
            match said(at(&top, &place.keys), number || place.number) {
                Ok(text) if text.as_ref().is_some_and(|text| text.len() > MAX_FIELD_BYTES) => {
                    found.push(FieldTooLong)
                }
                Ok(_) => {}
                Err(error) => found.push(error),
            }
        }
    }
    if found.is_empty() && message_type.is_some() && meaning(&top, message_type, false).is_none() {
        found.push(MissingType);
    }
    if found.is_empty() { Ok(top) } else { Err(found) }
}

/// Faults on the path to a field: a duplicate key, or a key that is not text.
fn path_faults(top: &Members<'_>, keys: &[&str], sender: bool) -> Vec<ReadError> {
    let Some((first, rest)) = keys.split_first() else { return Vec::new() };
    let mut found: Vec<ReadError> = Vec::new();
    if top.iter().filter(|(key, _)| key == first).count() > 1 {
        found.push(ReadError::DuplicateField);
    }
    for raw in top.iter().filter(|(key, _)| key == first && !rest.is_empty()).map(|(_, raw)| raw) {
        match members(raw) {
            // Nothing below the sender's key is examined, because the message is refused before.
            Some(inner) if !sender => found.extend(path_faults(&inner, rest, false)),
            None if raw.starts_with('{') => found.push(ReadError::NotJson),
            _ => {}
        }
    }
    found
}

/// Faults of members that a reader could take for the sender.
fn sender_faults(rules: &Rules, top: &Members<'_>) -> Vec<ReadError> {
    let resembles = |key: &str, sender: &str| key != sender && visible(key) == visible(sender);
    let mut found = Vec::new();
    for place in places(rules.fields.sender) {
        if rules.only.is_none() && top.iter().any(|(key, _)| resembles(key, place.keys[0])) {
            found.push(ReadError::AmbiguousSender);
        }
        let Some(guard) = place.keys.get(1) else { continue };
        for (_, raw) in top.iter().filter(|(key, _)| key == place.keys[0]) {
            let inner = members(raw).unwrap_or_default();
            if !raw.starts_with('{') {
                found.push(ReadError::WrongType);
            } else if inner.iter().any(|(key, _)| key == guard) {
                found.push(ReadError::ForgedSender);
            }
            if inner.iter().any(|(key, _)| resembles(key, guard)) {
                found.push(ReadError::AmbiguousSender);
            }
        }
    }
    found
}

/// The text of a value, if it has one.
fn said(raw: Option<&str>, number: bool) -> Result<Option<String>, ReadError> {
    let Some(raw) = raw else { return Ok(None) };
    match raw.as_bytes()[0] {
        b'n' => Ok(None),
        b'"' => serde_json::from_str(raw)
            .map(|text: String| Some(text).filter(|text| !text.is_empty()))
            .map_err(|_| ReadError::NotJson),
        b'-' | b'0'..=b'9' if number => Ok(Some(raw.into())),
        _ => Err(ReadError::WrongType),
    }
}

/// The text of a field: of the first of its places that has one, then of a present `null`.
fn meaning(top: &Members<'_>, field: Option<&'static str>, number: bool) -> Option<String> {
    let (places, mut last) = (places(field), None);
    for place in &places {
        let raw = at(top, &place.keys);
        let key = place.keys.last().map(|key| key.to_string());
        match raw {
            Some("null") if place.presence => last = last.or(key),
            Some(_) if place.presence => return key,
            _ => {}
        }
        let text = if place.presence { None } else { said(raw, number || place.number).unwrap() };
        if text.is_some() {
            return text;
        }
    }
    last
}

fn check_fields(rules: &Rules, envelope: &Envelope<'_>, members: &Members<'_>) {
    let fields = rules.fields;
    check_text(envelope.message_type(), meaning(members, fields.message_type, false));
    check_text(envelope.recipient(), meaning(members, fields.recipient, false));
    check_text(envelope.room(), meaning(members, fields.room, false));
    check_text(envelope.transaction(), meaning(members, fields.transaction, true));
    let spoken = places(fields.transaction).into_iter().filter_map(|place| at(members, &place.keys));
    let mut spoken = spoken.filter(|raw| said(Some(*raw), true).unwrap().is_some());
    assert_eq!(envelope.transaction_json(), spoken.next());
    let claimed = places(fields.sender).into_iter().find(|place| place.keys.len() == 1);
    let claimed = claimed.and_then(|place| said(at(members, &place.keys), place.number).ok().flatten());
    assert_eq!(envelope.claimed_sender().map(|text| text.to_string()), claimed);
}

fn check_text(found: Option<Text<'_>>, expected: Option<String>) {
    let mut buffer = [0; MAX_FIELD_BYTES];
    assert_eq!(found.and_then(|text| text.decode(&mut buffer)), expected.as_deref());
    if let (Some(found), Some(mut other)) = (found, expected) {
        assert!(found == other.as_str() && found.to_string() == other);
        other.push('x');
        assert!(!found.eq_str(&other));
        other.truncate(other.len() - 1);
        other.pop();
        assert!(!found.eq_str(&other));
    }
}

/// The nesting depth of objects and arrays in a JSON text.
fn depth(text: &str) -> u32 {
    let (mut depth, mut deepest, mut string, mut escape) = (0_u32, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escape => escape = false,
            b'\\' => escape = true,
            b'"' => string = !string,
            b'{' | b'[' if !string => depth += 1,
            b'}' | b']' if !string => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// A key as seen by a reader that ignores case and stops at a NUL.
fn visible(key: &str) -> String {
    key.split('\0').next().unwrap_or_default().to_uppercase().to_lowercase()
}

/// All members of an object in order, duplicates included.
struct Object<'a>(Members<'a>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Object<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((key, value.get()));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
