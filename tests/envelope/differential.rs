//! Mutated messages through the reader and the plain reader: the same verdict, the same fields, the same relayed
//! message. `make envelope` runs more of them; `CORELANE_ENVELOPE_SEED` repeats one message.

use crate::agreement::Both;
use corelane::envelope::ReadError;
use std::collections::BTreeMap;

/// What the mutations start from: each field and each rule of the protocols in `Rules::all` occurs in some of these,
/// with short and long strings, escapes, characters of every length, numbers and nesting.
const STARTS: &[&str] = &[
    r#"{"type":"HEARTBEAT"}"#,
    r#"{ "type": "HEARTBEAT" }"#,
    r#"{"type":"CANDIDATE","payload":{"candidate":{"candidate":"candidate:842163049 1 udp 1677729535 192.0.2.7 46154 typ srflx","sdpMLineIndex":0,"sdpMid":"0"},"connectionId":"mc_4x"},"dst":"ben-6fe1-4c55"}"#,
    r#"{"type":"OFFER","src":"mallory","payload":{"sdp":{"type":"offer","sdp":"v=0\r\no=- 4611 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"},"metadata":null},"dst":"b\u0065n"}"#,
    r#"{"dst":"ben","x":{"dst":1,"to":"žluť 🦄"},"type":"ANSWER","src":{"a":[]},"payload":"long: žluťoučký kůň úpěl ďábelské ódy 🦄🦄🦄"}"#,
    r#"{"type":"offer","to":"ben","room":"attic","id":"7\n","from":"x","k":[{},[],true,false,-1.5e+7]}"#,
    r#"{"from":"z","type":"x","id":-4e2,"more":"\ud83e\udd84 \/ \ud800 \\\\\\\" \b\f\n\r\t"}"#,
    r#"{"ty\"pe":"OFFER","🔑":"ben","ſrc\\":"ann","SRC\\":1,"payload":[1]}"#,
    r#"{"type":"a","dst":7,"payload":{"to":"ben","id":12,"type":"b","from":{}},"x":{"room":{"id":"r"}},"room":5,"id":1}"#,
    r#"{"type":"a","payload":{"to":{"id":"ben","to":{"to":"carl"}},"id":null},"x":{"to":"b","room":{}}}"#,
    r#"{"payload":null,"type":null,"x":null}"#,
    r#"{"type":"","dst":"","payload":[[[[[[[[{"a":[{"b":{"c":[0,0.5,-0,1E-7]}}]}]]]]]]]]}"#,
    r#" { "type" : "a" ,	"dst" : "ben" , "payload" : { "sdp" : [ 1 , 2 ] } , "junk" : 1 , "src" : "x" , "junk" : 2 } "#,
    "TO ben {\"sdp\":1}",
    "ROOM attic",
    "I_AM mallory %20\n",
    "NOTE 1 2",
];

/// What a mutation writes into a message.
const PARTS: &[&str] = &[
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\n",
    "\\u0000",
    "\\n",
    "\\r\\n",
    "\\\"",
    "\\ud83e\\udd84",
    "\\ud800",
    "\\x",
    "é",
    "ž",
    "🦄",
    "\u{feff}",
    "\0",
    "\u{1f}",
    "\u{7f}",
    "0",
    "-",
    "1e5",
    "01",
    "null",
    "true",
    "nul",
    "\"\"",
    "\"type\":\"a\",",
    "\"dst\":\"b\",",
    "\"src\":\"c\",",
    "\"payload\":{},",
    "\"x\":{\"from\":1},",
    "\"to\":{},",
    ",\"From\":1",
    ",\"from\":\"y\"",
    ",\"id\":9",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "{}",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":",
];

/// Members to insert, most of them with a meaning in some protocol.
const MEMBERS: &[&str] = &[
    r#""type":"a","#,
    r#" "dst" : "b" ,"#,
    r#""src":"c","#,
    r#""src":[1],"#,
    r#""payload":{},"#,
    r#""to":"d","#,
    r#""room":"e","#,
    r#""id":9,"#,
    r#""from":null,"#,
    r#""From":"f","#,
    r#""x":{"from":1},"#,
    r#""x":{"to":"g"},"#,
    r#""x":{"room":{"id":3}},"#,
    r#""payload":{"to":{"id":"h"}},"#,
    r#""\u0074ype":"i","#,
    r#""\ud800":1,"#,
    r#""a much longer key than any protocol has":[[],{}],"#,
    r#""":"","#,
    r#""typ":1,"#,
    r#""types":1,"#,
    r#""payload!":1,"#,
    r#""SRC\\":2,"#,
    r#""\u0000":0,"#,
];

/// Contents of strings.
const CONTENTS: &[&str] = &[
    "x",
    "é",
    "🦄",
    "\\n",
    "\\r\\n",
    "\\\\",
    "\\\"",
    "\\u00e9",
    "\\ud83e\\udd84",
    "\\ud800",
    "žluťoučký kůň",
    "a=rtpmap:96 VP8/90000\\r\\na=rtcp-fb:96 goog-remb\\r\\n",
    "0123456789abcdef0123456789abcdef",
    "\\t\\b\\f\\/",
    "\\r\\r\\n\\n",
];

const SENDERS: &[&str] = &["ann", "ann-1b9d-6bcd-0011-2233", "", "a\"\\\u{1}é", "7", "9007199254740993"];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// A start with up to three mutations.
fn message(random: &mut Random) -> Vec<u8> {
    let mut message = random.one(STARTS).as_bytes().to_vec();
    for _ in 0..1 + random.below(3) {
        let at = random.below(message.len() + 1);
        let to = (at + random.below(24)).min(message.len());
        match random.below(24) {
            0 => drop(message.splice(at..at, random.one(PARTS).bytes())),
            1 => drop(message.splice(at..to, random.one(PARTS).bytes())),
            2 => drop(message.drain(at..to)),
            3 => message.truncate(at),
            4 if at < message.len() => message[at] = random.next() as u8,
            5 if at < message.len() => message[at] ^= 1 << random.below(8),
            6 => {
                let part = message[at..to].to_vec();
                let place = random.below(message.len() + 1);
                for _ in 0..=random.below(20) {
                    message.splice(place..place, part.iter().copied());
                }
            }
            7 => {
                let other = random.one(STARTS).as_bytes();
                let from = random.below(other.len());
                let part = &other[from..(from + random.below(60)).min(other.len())];
                message.splice(at..at, part.iter().copied());
            }
            8 => {
                let levels = 120 + random.below(12);
                let member = format!(r#""deep":{}{},"#, "[".repeat(levels), "]".repeat(levels));
                insert_behind(&mut message, at, b"{,", &member);
            }
            9 => insert_behind(&mut message, at, b"abcdeABCDE", &"x".repeat(240 + random.below(20))),
            10..17 => insert_behind(&mut message, at, b"{,", random.one(MEMBERS)),
            _ => insert_behind(&mut message, at, b"abcdefghijklmnopqrstuvwxyz", random.one(CONTENTS)),
        }
    }
    message
}

/// Inserts text behind the first of these bytes at or after `at`: most messages stay JSON.
fn insert_behind(message: &mut Vec<u8>, at: usize, bytes: &[u8], text: &str) {
    if let Some(found) = message[at..].iter().position(|byte| bytes.contains(byte)) {
        let place = at + found + 1;
        message.splice(place..place, text.bytes());
    }
}

#[test]
fn agrees_with_the_plain_reader_on_mutated_messages() {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse::<u64>().expect(name));
    let (first, count) = match number("CORELANE_ENVELOPE_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("CORELANE_ENVELOPE_MESSAGES").unwrap_or(200_000)),
    };
    let protocols = Both::all();
    let mut verdicts: BTreeMap<String, u64> = BTreeMap::new();
    for seed in first..first + count {
        let mut random = Random(seed);
        let message = message(&mut random);
        let sender = random.one(SENDERS);
        // Half of the messages are for the protocols that most messages use.
        let among = if random.below(2) == 0 { 2 } else { protocols.len() };
        let protocol = &protocols[random.below(among)];
        let compared = std::panic::catch_unwind(|| protocol.compare(&message, sender));
        let verdict = compared.unwrap_or_else(|_| panic!("CORELANE_ENVELOPE_SEED={seed}"));
        *verdicts.entry(format!("{verdict:?}")).or_default() += 1;
    }
    println!("{count} messages: {verdicts:?}");
    if count >= 200_000 {
        let accepted = verdicts.get("Ok(())").copied().unwrap_or_default();
        assert!(accepted > count / 5 && accepted < count * 4 / 5, "{verdicts:?}");
        use ReadError::*;
        let all = [
            Empty,
            NotUtf8,
            NotJson,
            NotAnObject,
            TooDeep,
            DuplicateField,
            WrongType,
            MissingType,
            FieldTooLong,
            AmbiguousSender,
            ForgedSender,
        ];
        for error in all {
            assert!(
                verdicts.contains_key(&format!("Err({error:?})")),
                "{error:?} never occurred: {verdicts:?}"
            );
        }
    }
}
