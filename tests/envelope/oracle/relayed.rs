//! The expected content of a relayed message: the client's members, and the true sender in every place where the
//! protocol reads it.

use super::{Members, Place, Rules, members, places, said};
use corelane::envelope::{Envelope, ReadError, read};

pub fn check_relayed(rules: &Rules, envelope: &Envelope<'_>, top: &Members<'_>, sender: &str) {
    let mut relayed = vec![0; envelope.relayed_len(sender)];
    assert_eq!(envelope.write_relayed(sender, &mut relayed), relayed.len());
    assert_eq!(envelope.write_relayed(sender, &mut vec![0; relayed.len() - 1]), 0);
    let relayed = String::from_utf8(relayed).unwrap();
    let found = members(&relayed).unwrap();
    if rules.fields.sender.is_some_and(|sender| sender.contains('.')) {
        check_put(rules, top, &found, sender);
        assert_eq!(read(&rules.protocol, relayed.as_bytes()).unwrap_err(), ReadError::ForgedSender);
        return;
    }
    let number = places(rules.fields.sender).first().is_some_and(|place| place.number);
    let quoted = as_written(sender, number);
    let named = places(rules.fields.sender).first().map(|place| place.keys[0]);
    let mut expected: Members<'_> = named.map(|named| (named.into(), quoted.as_str())).into_iter().collect();
    let is_relayed = |key: &str| Some(key) != named && rules.only.is_none_or(|only| only.contains(&key));
    expected.extend(top.iter().filter(|(key, _)| is_relayed(key)).cloned());
    assert_eq!(found.len(), expected.len());
    for ((key, value), (expected_key, expected_value)) in found.iter().zip(&expected) {
        assert_eq!(key, expected_key);
        if Some(key.as_str()) == named {
            assert_eq!(said(Some(value), number).unwrap().unwrap_or_default(), sender);
            assert_eq!(value.starts_with('"'), quoted.starts_with('"'));
        } else {
            assert_eq!(value, expected_value);
        }
    }
    // A reader with the same rules finds the true sender in the relayed message and relays the same bytes.
    if let Ok(again) = read(&rules.protocol, relayed.as_bytes()) {
        assert_eq!(
            again.claimed_sender().map(|text| text.to_string()),
            named.map(|_| sender.to_string()).filter(|s| !s.is_empty())
        );
        let mut twice = vec![0; again.relayed_len(sender)];
        again.write_relayed(sender, &mut twice);
        assert_eq!(twice, relayed.as_bytes());
    } else {
        let kept = |place: &Place| rules.only.is_none_or(|only| only.contains(&place.keys[0]));
        let lost = places(rules.fields.message_type).iter().any(|place| !kept(place));
        assert!(lost, "what is relayed must be readable unless its type is not forwarded");
    }
}

/// The sender as a JSON value.
fn as_written(sender: &str, number: bool) -> String {
    let exact = sender.parse::<u64>().is_ok_and(|value| value <= 1 << 53 && value.to_string() == sender);
    if number && exact { sender.to_string() } else { serde_json::to_string(sender).unwrap() }
}

/// A sender inside objects: it is the first member of each of them and appears nowhere else. The rest is the
/// client's.
fn check_put(rules: &Rules, top: &Members<'_>, found: &Members<'_>, sender: &str) {
    let places = places(rules.fields.sender);
    let given = |place: &&Place| top.iter().any(|(key, _)| key == place.keys[0]);
    let mut found = found.iter();
    if !places.iter().any(|place| given(&place)) {
        let (key, raw) = found.next().unwrap();
        assert_eq!(key, places[0].keys[0]);
        assert_eq!(members(raw).unwrap().len(), 1);
        check_sender(&places[0], raw, sender);
    }
    let mut count = 0;
    for ((key, raw), (client_key, client_raw)) in found.by_ref().zip(top) {
        count += 1;
        assert_eq!(key, client_key);
        match places.iter().find(|place| place.keys[0] == key) {
            Some(place) => {
                check_sender(place, raw, sender);
                assert_eq!(members(raw).unwrap()[1..], members(client_raw).unwrap());
            }
            None => assert_eq!(raw, client_raw),
        }
    }
    assert!(count == top.len() && found.next().is_none());
}

fn check_sender(place: &Place, raw: &str, sender: &str) {
    let mut raw = raw;
    let mut object;
    for key in &place.keys[1..] {
        object = members(raw).unwrap();
        assert_eq!(object[0].0, *key);
        raw = object[0].1;
    }
    assert_eq!(said(Some(raw), place.number).unwrap().unwrap_or_default(), sender);
    assert_eq!(raw.starts_with('"'), as_written(sender, place.number).starts_with('"'));
}
