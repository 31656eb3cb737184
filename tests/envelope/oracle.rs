//! What the envelope reader must say about a message, worked out from what `serde_json` says about it. Shared by the
//! tests and by the fuzz target: `check` panics where the two disagree.

use corelane::envelope::{
    Envelope, Fields, Forward, MAX_DEPTH, MAX_FIELD_BYTES, Protocol, ReadError, Text, read,
};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// A protocol, once for the reader and once for the oracle.
pub struct Rules {
    pub protocol: Protocol,
    pub fields: Fields<'static>,
    pub only: Option<&'static [&'static str]>,
}

impl Rules {
    fn new(fields: Fields<'static>, only: Option<&'static [&'static str]>) -> Self {
        let protocol = Protocol::new("rules", &fields, only.map_or(Forward::All, Forward::Only)).unwrap();
        Self { protocol, fields, only }
    }

    /// The built-in protocols, and one each with keys that need escapes, without a sender, and without anything.
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
        vec![
            Self {
                protocol: Protocol::peerjs(),
                ..Self::new(peerjs, Some(&["type", "src", "dst", "payload"]))
            },
            Self { protocol: Protocol::generic(), ..Self::new(generic, None) },
            Self::new(odd, None),
            Self::new(odd, Some(&["payload", "ty\"pe"])),
            Self::new(anonymous, Some(&["payload"])),
            Self::new(Fields::default(), None),
        ]
    }
}

/// Reads and relays `message`, and compares every answer with the oracle's.
pub fn check(rules: &Rules, message: &[u8], sender: &str) {
    let shown = String::from_utf8_lossy(message);
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

type Members<'a> = Vec<(String, &'a str)>;

/// The members of the message, or what may be reported about it: more than one thing can be wrong, and what stands
/// first is found first.
fn faults<'a>(rules: &Rules, message: &'a [u8]) -> Result<Members<'a>, Vec<ReadError>> {
    use ReadError::*;
    let found_early: &[ReadError] = &[DuplicateField, AmbiguousSender, WrongType, FieldTooLong];
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
    let Ok(Object(members)) = serde_json::from_str(text) else {
        // Half a surrogate pair in a key.
        return Err([&[NotJson], found_early].concat());
    };
    let mut found = Vec::new();
    let Fields { message_type, recipient, room, transaction, sender } = rules.fields;
    let mut used: Vec<&str> =
        [message_type, recipient, room, transaction, sender].into_iter().flatten().collect();
    used.extend(rules.only.unwrap_or_default());
    if used.iter().any(|used| members.iter().filter(|(key, _)| key == used).count() > 1) {
        found.push(DuplicateField);
    }
    let resembles = |key: &str, sender: &str| key != sender && visible(key) == visible(sender);
    if rules.only.is_none()
        && sender.is_some_and(|sender| members.iter().any(|(key, _)| resembles(key, sender)))
    {
        found.push(AmbiguousSender);
    }
    for (name, number) in [(message_type, false), (recipient, false), (room, false), (transaction, true)] {
        match meaning(&members, name, number) {
            Ok(text) if text.as_ref().is_some_and(|text| text.len() > MAX_FIELD_BYTES) => {
                found.push(FieldTooLong)
            }
            Ok(None) if name.is_some() && name == message_type => found.push(MissingType),
            Ok(_) => {}
            Err(error) => found.push(error),
        }
    }
    if found.is_empty() { Ok(members) } else { Err(found) }
}

/// What a field says, if anything.
fn meaning(members: &Members<'_>, name: Option<&str>, number: bool) -> Result<Option<String>, ReadError> {
    let Some((_, raw)) = members.iter().find(|(key, _)| Some(key.as_str()) == name) else { return Ok(None) };
    match raw.as_bytes()[0] {
        b'n' => Ok(None),
        b'"' => serde_json::from_str(raw)
            .map(|text: String| Some(text).filter(|text| !text.is_empty()))
            .map_err(|_| ReadError::NotJson),
        b'-' | b'0'..=b'9' if number => Ok(Some((*raw).into())),
        _ => Err(ReadError::WrongType),
    }
}

fn check_fields(rules: &Rules, envelope: &Envelope<'_>, members: &Members<'_>) {
    let fields = rules.fields;
    let of = |name, number| meaning(members, name, number).unwrap();
    check_text(envelope.message_type(), of(fields.message_type, false));
    check_text(envelope.recipient(), of(fields.recipient, false));
    check_text(envelope.room(), of(fields.room, false));
    check_text(envelope.transaction(), of(fields.transaction, true));
    if let Some(json) = envelope.transaction_json() {
        assert!(members.iter().any(|(key, raw)| Some(key.as_str()) == fields.transaction && *raw == json));
    }
    assert_eq!(
        envelope.claimed_sender().map(|text| text.to_string()),
        meaning(members, fields.sender, false).ok().flatten()
    );
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

fn check_relayed(rules: &Rules, envelope: &Envelope<'_>, members: &Members<'_>, sender: &str) {
    let mut relayed = vec![0; envelope.relayed_len(sender)];
    assert_eq!(envelope.write_relayed(sender, &mut relayed), relayed.len());
    assert_eq!(envelope.write_relayed(sender, &mut vec![0; relayed.len() - 1]), 0);
    let quoted = serde_json::to_string(sender).unwrap();
    let named = rules.fields.sender;
    let mut expected: Members<'_> = Vec::new();
    match rules.only {
        Some(only) => {
            let listed = named.is_some_and(|named| only.contains(&named));
            for key in named.filter(|_| !listed).iter().chain(only) {
                let of_client = members.iter().find(|(other, _)| other == key).map(|(_, raw)| *raw);
                let value = if named == Some(*key) { Some(quoted.as_str()) } else { of_client };
                expected.extend(value.map(|value| (key.to_string(), value)));
            }
        }
        None => {
            expected.extend(named.map(|named| (named.into(), quoted.as_str())));
            expected.extend(members.iter().filter(|(key, _)| Some(key.as_str()) != named).cloned());
        }
    }
    let Object(found) = serde_json::from_slice(&relayed).unwrap();
    assert_eq!(found.len(), expected.len());
    for ((key, value), (expected_key, expected_value)) in found.iter().zip(&expected) {
        assert_eq!(key, expected_key);
        if Some(key.as_str()) == named {
            assert_eq!(serde_json::from_str::<String>(value).unwrap(), sender);
        } else {
            assert_eq!(value, expected_value);
        }
    }
    // Who reads the relayed message under the same rules finds the true sender, and relays the same bytes.
    if let Ok(again) = read(&rules.protocol, &relayed) {
        assert_eq!(
            again.claimed_sender().map(|text| text.to_string()),
            named.map(|_| sender.to_string()).filter(|s| !s.is_empty())
        );
        let mut twice = vec![0; again.relayed_len(sender)];
        again.write_relayed(sender, &mut twice);
        assert_eq!(twice, relayed);
    } else {
        let lost = rules
            .only
            .is_some_and(|only| rules.fields.message_type.is_some_and(|name| !only.contains(&name)));
        assert!(lost, "what is relayed must be readable unless its type is not forwarded");
    }
}

/// How deep objects and arrays are nested in a text that is JSON.
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

/// A key as a reader sees it that ignores case and stops at a NUL.
fn visible(key: &str) -> String {
    key.split('\0').next().unwrap_or_default().to_uppercase().to_lowercase()
}

/// All members of an object in their order, duplicates included.
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
