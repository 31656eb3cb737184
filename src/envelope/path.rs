//! Parses the text that says where a field is. The text is a key, `to`, or a path into objects,
//! `message.recipient.sessionid`, or several of these in order of preference, `handle_id|session_id`. A `#` after a
//! place allows a number as well. A `?` before a place selects the key itself, whatever its value. `table` calls this
//! module when a protocol is built, never while a message is read.

use super::error::ProtocolError;

/// One place where a field may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JsonPlace<'a> {
    /// The keys on the path, outermost first.
    pub(super) keys: Vec<&'a str>,
    /// The field is the name of the last key, if the message has that key.
    pub(super) presence: bool,
    /// The value may also be a number; the field is then the number's text.
    pub(super) number: bool,
}

/// Parses the places in a field's text. Every text parses; `check` decides whether the places are valid.
pub(super) fn places(field: &str) -> impl Iterator<Item = JsonPlace<'_>> {
    field.split('|').map(|text| {
        let text = text.trim_matches(' ');
        let (presence, text) = (text.starts_with('?'), text.strip_prefix('?').unwrap_or(text));
        let (number, text) = (text.ends_with('#'), text.strip_suffix('#').unwrap_or(text));
        JsonPlace { keys: text.split('.').collect(), presence, number }
    })
}

/// The checks that need no table: empty keys, the same place twice, a path through another field's value, a `?` on a
/// field that is not the type, and a forwarded key that is written as a place.
pub(super) fn check(fields: [Option<&str>; 5], listed: &[&str]) -> Result<(), ProtocolError> {
    let [message_type, others @ ..] = fields;
    let mut all: Vec<JsonPlace<'_>> = Vec::new();
    for field in [message_type].into_iter().chain(others).flatten() {
        all.extend(places(field));
    }
    let empty = |place: &JsonPlace<'_>| place.keys.iter().any(|key| key.is_empty());
    if all.iter().any(empty) || listed.iter().any(|key| key.is_empty()) {
        return Err(ProtocolError::EmptyKey);
    }
    let is_key = |key: &&str| places(key).all(|place| place.keys == [*key] && !place.presence);
    if !listed.iter().all(is_key) {
        return Err(ProtocolError::Path);
    }
    if others.into_iter().flatten().flat_map(places).any(|place| place.presence) {
        return Err(ProtocolError::Presence);
    }
    let repeated = |(index, place): (usize, &JsonPlace<'_>)| {
        all.iter().skip(index + 1).any(|other| other.keys == place.keys)
    };
    let listed_twice = |(index, key): (usize, &&str)| listed.iter().skip(index + 1).any(|other| other == key);
    if all.iter().enumerate().any(repeated) || listed.iter().enumerate().any(listed_twice) {
        return Err(ProtocolError::SameKey);
    }
    let passed = |value: &JsonPlace<'_>| {
        let passes = |other: &JsonPlace<'_>| {
            other.keys.len() > value.keys.len() && other.keys.starts_with(&value.keys)
        };
        !value.presence && all.iter().any(passes)
    };
    if all.iter().any(passed) { Err(ProtocolError::ThroughField) } else { Ok(()) }
}

/// Checks the sender's places. A sender must be at one key of the message itself, or inside objects. Inside objects,
/// each place must start at a different key, and the protocol must forward everything.
pub(super) fn check_sender(sender: &str, forwards_all: bool) -> Result<(), ProtocolError> {
    let places: Vec<_> = places(sender).collect();
    let nested = places.iter().filter(|place| place.keys.len() > 1).count();
    let shared = places.iter().enumerate().any(|(index, place)| {
        places.iter().skip(index + 1).any(|other| other.keys.first() == place.keys.first())
    });
    match (nested, places.len()) {
        (0, 1) => Ok(()),
        (nested, count) if nested == count && forwards_all && !shared => Ok(()),
        _ => Err(ProtocolError::Sender),
    }
}

/// Checks the other keys against the sender's. No key may be one that a reader could mistake for the sender key,
/// because clients write what they like there. No field may be at the key inside an object where the sender is
/// inserted, because clients may not write there.
pub(super) fn check_beside_sender(
    sender: &str,
    others: [Option<&str>; 4],
    listed: &[&str],
    is_taken_for: impl Fn(&str, &str) -> bool,
) -> Result<(), ProtocolError> {
    let senders: Vec<_> = places(sender).collect();
    let fields = others.into_iter().flatten().flat_map(places).map(|place| place.keys);
    let beside =
        fields.chain(listed.iter().map(|key| vec![*key])).chain(senders.iter().map(|s| s.keys.clone()));
    for keys in beside {
        for JsonPlace { keys: sender, .. } in &senders {
            let wrong = match (keys.as_slice(), sender.as_slice()) {
                (keys, sender) if keys == sender => false,
                ([first, inside, ..], [its, guard, ..]) if first == its => is_taken_for(inside, guard),
                ([first, ..], [its, ..]) => first != its && is_taken_for(first, its),
                _ => false,
            };
            if wrong {
                return Err(ProtocolError::LikeSender);
            }
        }
    }
    Ok(())
}
