//! Random messages, random mutations of them, and random bytes: the reader and `serde_json` must agree on all of
//! them.

use crate::oracle::{Rules, check};
use proptest::prelude::*;

const SENDERS: &[&str] = &[
    "ann",
    "mallory\",\"src\":\"ann\\",
    "tab\t nul\0 žluť 🦄 \u{7f}",
    "",
    "100% ann\u{a0}b",
    "7",
    "9007199254740993",
];

/// A key in which each character is written in one of the ways that JSON allows.
fn spelled(key: &'static str) -> impl Strategy<Value = String> {
    prop::collection::vec(0..8_u8, key.chars().count()).prop_map(move |ways| {
        let mut units = [0; 2];
        let spell = |(character, way): (char, u8)| match (way, character) {
            (0, _) => {
                character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
            }
            (_, '"' | '\\') => format!("\\{character}"),
            (_, '\0') => "\\u0000".to_string(),
            _ => character.to_string(),
        };
        key.chars().zip(ways).map(spell).collect()
    })
}

fn key() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "type",
        "dst",
        "src",
        "payload",
        "to",
        "room",
        "id",
        "from",
        "ty\"pe",
        "🔑",
        "ſrc\\",
        "SRC\\",
        "From",
        "FROM\0x",
        "x",
        "",
        "__proto__",
        "typ",
        "types",
    ];
    prop_oneof![30 => prop::sample::select(KNOWN).prop_flat_map(spelled), 1 => Just("\\ud800".to_string())]
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(""), 1 => Just(" "), 1 => Just("\r\n\t")]
}

fn scalar() -> impl Strategy<Value = String> {
    const VALUES: &[&str] = &[
        "null",
        "true",
        "false",
        "0",
        "-1.5e+7",
        "1e999",
        "123456789012345678901234567890",
        r#""""#,
        r#""ben""#,
        r#""b\u0065n\r\n""#,
        r#""žluť 🦄 \ud83e\udd84 \/""#,
        r#""half \ud83e""#,
        r#""a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=mid:0\r\n""#,
    ];
    prop_oneof![
        12 => prop::sample::select(VALUES).prop_map(str::to_string),
        4 => any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        1 => (200..300_usize).prop_map(|length| format!("\"{}\"", "x".repeat(length))),
    ]
}

fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), space())
                .prop_map(|(items, space)| format!("[{space}{}]", items.join(&format!("{space},")))),
            prop::collection::vec((key(), space(), inner), 0..4).prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(key, space, value)| format!("\"{key}\"{space}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// Nested objects whose keys appear in paths.
fn nested() -> impl Strategy<Value = String> {
    const KEYS: &[&str] = &["to", "id", "from", "room", "type", "From"];
    let end = prop_oneof![3 => Just(r#""ben""#.to_string()), 1 => scalar()];
    end.prop_recursive(3, 12, 3, |inner| {
        let key = prop::sample::select(KEYS).prop_flat_map(spelled);
        prop::collection::vec((key, space(), inner), 0..3).prop_map(|members| {
            let members: Vec<_> = members
                .iter()
                .map(|(key, space, value)| format!("{space}\"{key}\":{space}{value}{space}"))
                .collect();
            format!("{{{}}}", members.join(","))
        })
    })
}

fn message() -> impl Strategy<Value = String> {
    let holders = prop::sample::select(&["payload", "x"][..]).prop_flat_map(spelled);
    let field = prop_oneof![5 => Just(r#""OFFER""#.to_string()), 2 => scalar(), 1 => value()];
    let typed = ("type", field.clone()).prop_map(|(key, value)| format!("\"{key}\":{value}"));
    let member = prop_oneof![
        1 => (key(), space(), field).prop_map(|(key, space, value)| format!("{space}\"{key}\"{space}:{space}{value}{space}")),
        2 => (key(), space(), value()).prop_map(|(key, space, value)| format!("{space}\"{key}\":{value}{space}")),
        2 => (holders, space(), nested()).prop_map(|(key, space, value)| format!("\"{key}\"{space}:{space}{value}")),
        1 => typed,
    ];
    (prop::collection::vec(member, 0..7), space())
        .prop_map(|(members, space)| format!("{space}{{{space}{}}}{space}", members.join(",")))
}

#[derive(Clone, Debug)]
enum Change {
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Cut(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
}

fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![6 => prop::sample::select(&b"{}[]\",:\\u0123456789abcdefDntr/-+.eE \n\t\0\x1f"[..]), 1 => any::<u8>()]
}

fn change() -> impl Strategy<Value = Change> {
    use Change::*;
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), byte()).prop_map(|(at, byte)| Replace(at, byte)),
        (at(), byte()).prop_map(|(at, byte)| Insert(at, byte)),
        at().prop_map(Remove),
        at().prop_map(Cut),
        (at(), at()).prop_map(|(from, to)| Repeat(from, to)),
    ]
}

fn changed(mut message: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        if message.is_empty() {
            break;
        }
        let length = message.len();
        match change {
            Change::Replace(at, byte) => message[at.index(length)] = *byte,
            Change::Insert(at, byte) => message.insert(at.index(length), *byte),
            Change::Remove(at) => drop(message.remove(at.index(length))),
            Change::Cut(at) => message.truncate(at.index(length)),
            Change::Repeat(from, to) => {
                let (from, to) = (from.index(length), to.index(length));
                let part = message[from.min(to)..from.max(to)].to_vec();
                message.splice(to..to, part);
            }
        }
    }
    message
}

/// A command, or a text that resembles one.
fn worded() -> impl Strategy<Value = String> {
    let word = prop_oneof![6 => prop::sample::select(&["TO", "ROOM", "I_AM", "NOTE"][..]).prop_map(str::to_string),
        1 => "[A-Z_]{1,4}", 1 => "[A-Za-z]{0,3}", 1 => "[A-Z]{300}"];
    let name = prop_oneof![4 => Just("ben".to_string()), 1 => Just("\"n\\u0062".to_string()), 1 => any::<String>(),
        1 => Just(String::new()), 1 => "[a-z]{250,260}"];
    (word, name, prop::option::of(any::<String>())).prop_map(|(word, name, rest)| match rest {
        Some(rest) => format!("{word} {name} {rest}"),
        None if name.is_empty() => word,
        None => format!("{word} {name}"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn agrees_with_serde_json_on_messages(message in message(), sender in prop::sample::select(SENDERS)) {
        for rules in &Rules::all() {
            check(rules, message.as_bytes(), sender);
        }
    }

    #[test]
    fn agrees_with_serde_json_on_mutated_messages(
        message in message(),
        changes in prop::collection::vec(change(), 1..4),
        sender in any::<String>(),
    ) {
        let message = changed(message.into_bytes(), &changes);
        for rules in &Rules::all() {
            check(rules, &message, &sender);
        }
    }

    #[test]
    fn commands_are_words_and_their_sender_is_one(message in worded(), sender in prop::sample::select(SENDERS)) {
        for rules in &Rules::all() {
            check(rules, message.as_bytes(), sender);
        }
    }

    #[test]
    fn agrees_with_serde_json_on_noise(message in prop::collection::vec(byte(), 0..60)) {
        for rules in &Rules::all() {
            check(rules, &message, "ann");
        }
    }
}
