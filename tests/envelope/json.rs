//! Accepts a message only if it is JSON to the last byte, valid UTF-8, and within the nesting limit.

use crate::oracle::{Rules, check};
use crate::{refused, relayed, shipped};
use corelane::envelope::{MAX_DEPTH, ReadError, read};

/// JSON values, and texts that are not JSON values, to be inserted where a value belongs.
#[rustfmt::skip]
const VALUES: &[&str] = &[
    "0", "-0", "10.50", "1e5", "1E+5", "-1.5e-7", "1e999", "true", "false", "null", r#""""#,
    r#""\"\\\/\b\f\n\r\t\u00E9""#, r#""half \ud83e pair \udd84""#, "\"\u{7f}\u{80}\u{2028}\"", "[]",
    "[ ]", "{ }", "[1,2 , [3]]", r#"{"a":{"b":[]},"a":1}"#, "[[],{}]", " \t\r\n1\n ",
];
#[rustfmt::skip]
const NO_VALUES: &[&str] = &[
    "00", "01", "-", "+1", "1.", ".5", "1e", "1e+", "0x1", "-a", "1.e1", "NaN", "Infinity",
    "-Infinity", "1_0", "True", "tru", "nulll", "nul", r#""\x41""#, r#""\u12""#, r#""\u12g4""#,
    r#""\u"abc""#, r#""\"#, r#""\'""#, "\"\n\"", "\"\t\"", "\"\0\"", "\"\u{1f}\"", "'a'", "\"a",
    "\"\\U0041\"", "[1,]", "[,1]", "[1 2]", "[1}", "[", "]", r#"{"a":1]"#, r#"{"a"}"#, r#"{"a":}"#,
    r#"{"a":1,}"#, r#"{a:1}"#, r#"{1:1}"#, r#"{,}"#, r#"{"a":1 "b":2}"#, r#"{"a":01}"#, "", "1 1",
    "/**/1", "\u{feff}1", "\u{a0}1", "\u{b}1", "1\u{c}", "1\0",
];

#[test]
fn the_whole_text_must_be_json() {
    let protocol = shipped("peerjs");
    let (good, bad) =
        (VALUES.iter().map(|value| (value, true)), NO_VALUES.iter().map(|value| (value, false)));
    for (payload, valid) in good.chain(bad) {
        for message in [
            format!(r#"{{"type":"a","payload":{payload}}}"#),
            format!(r#"{{"payload":{payload},"type":"a"}}"#),
            format!(r#"{{"type":"a","other":[0,{{"deep":[0,{payload}]}}]}}"#),
        ] {
            assert_eq!(read(&protocol, message.as_bytes()).is_ok(), valid, "{message}");
            for rules in &Rules::all() {
                check(rules, message.as_bytes(), "ann");
            }
        }
    }
    for not in [
        "{",
        "{\"type\":\"a\"",
        "{\"type\"",
        "{\"type\":\"a\"}}",
        "{\"type\":\"a\"} x",
        "{}{}",
        "\u{feff}{}",
        " ",
        "{nope",
        "[",
        "[1",
        "nul",
        "\"a",
    ] {
        assert_eq!(refused(&protocol, not), ReadError::NotJson, "{not}");
    }
    assert_eq!(refused(&protocol, r#"{"type":"a"},"#), ReadError::NotJson);
    for other in ["[]", "null", "5", " \"OFFER\" ", "true", r#"[{"type":"OFFER"}]"#] {
        assert_eq!(refused(&protocol, other), ReadError::NotAnObject, "{other}");
    }
    assert_eq!(refused(&protocol, ""), ReadError::Empty);
}

#[test]
fn half_a_surrogate_pair_is_refused_only_where_it_is_decoded() {
    let protocol = shipped("peerjs");
    for (pair, character) in [
        (r"\ud800\udc00", '\u{10000}'),
        (r"\uDBFF\uDFFF", '\u{10ffff}'),
        (r"\ud7ff", '\u{d7ff}'),
        (r"\ue000", '\u{e000}'),
    ] {
        let message = format!(r#"{{"type":"{pair}"}}"#);
        let envelope = read(&protocol, message.as_bytes()).unwrap();
        assert!(envelope.message_type().unwrap().characters().eq([character]), "{pair}");
    }
    const HALVES: &[&str] = &[
        r"\ud83e",
        r"\udd84",
        r"\ud83e\ud83e",
        r"\ud83e\n",
        r"\ud83ex",
        r"a\uDBFF\u0041",
        r"\udd84\ud83e",
        r"\ud83e\ue000",
        r"\ud83e\udbff",
    ];
    for half in HALVES {
        for message in [
            format!(r#"{{"type":"{half}"}}"#),
            format!(r#"{{"type":"a","dst":"{half}"}}"#),
            format!(r#"{{"type":"a","{half}":1}}"#),
        ] {
            assert_eq!(refused(&protocol, &message), ReadError::NotJson, "{message}");
        }
        let carried = format!(r#"{{"src":"ann","type":"a","payload":{{"{half}":"{half}"}}}}"#);
        assert_eq!(relayed(&protocol, &carried, "ann"), carried);
    }
}

#[test]
fn text_that_is_not_utf8_is_refused_wherever_it_stands() {
    let protocol = shipped("peerjs");
    for bad in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"] {
        for (before, after) in [
            (&b"{\"type\":\"a\",\"payload\":\""[..], &b"\"}"[..]),
            (b"{\"type\":\"", b"\"}"),
            (b"{\"type\":\"a\"}", b""),
            (b"", b""),
        ] {
            let message = [before, bad, after].concat();
            assert_eq!(read(&protocol, &message).unwrap_err(), ReadError::NotUtf8);
        }
    }
}

#[test]
fn nesting_has_a_limit_and_costs_no_stack() {
    let protocol = shipped("peerjs");
    let nested = |open: &str, inside: &str, close: &str, levels: usize| {
        format!(r#"{{"type":"a","payload":{}{inside}{}}}"#, open.repeat(levels), close.repeat(levels))
    };
    let inside = MAX_DEPTH as usize - 1;
    for (open, middle, close) in
        [("[", "", "]"), ("[", "1", "]"), (r#"{"k":"#, "1", "}"), (r#"{"k":"#, "{}", "}")]
    {
        let less = usize::from(middle == "{}");
        assert!(read(&protocol, nested(open, middle, close, inside - less).as_bytes()).is_ok());
        assert_eq!(refused(&protocol, &nested(open, middle, close, inside + 1 - less)), ReadError::TooDeep);
    }
    for levels in [10_000, 1_000_000] {
        for open in ["[", r#"{"k":"#, r#"[{"k":"#, r#"[0,{"a":1,"k":"#] {
            assert_eq!(refused(&protocol, &open.repeat(levels)), ReadError::TooDeep);
            assert_eq!(
                refused(&protocol, &format!(r#"{{"payload":{}"#, open.repeat(levels))),
                ReadError::TooDeep
            );
        }
        assert_eq!(refused(&protocol, &nested("[", "", "]", levels)), ReadError::TooDeep);
        assert_eq!(refused(&protocol, &"]".repeat(levels)), ReadError::NotJson);
        // A wide message is not a deep one.
        assert!(
            read(
                &protocol,
                nested("[[],", "1", "]", 100).replace("[],", &"[],".repeat(levels / 1000)).as_bytes()
            )
            .is_ok()
        );
    }
    // The kinds of brackets must match on every level.
    for levels in 1..100 {
        let crossed = format!(
            r#"{{"type":"a","payload":{}{}{}}}"#,
            r#"[{"k":"#.repeat(levels / 2),
            "[1}",
            "}]".repeat(levels / 2)
        );
        assert_eq!(refused(&protocol, &crossed), ReadError::NotJson);
        assert!(read(&protocol, nested(r#"[{"k":"#, "1", "}]", levels / 2).as_bytes()).is_ok());
    }
}

#[test]
fn strings_end_at_any_offset() {
    // The reader examines eight bytes at once. Cover every length around that, every position of an escape, and every
    // character that ends the fast path.
    let protocol = shipped("peerjs");
    for length in 0..40 {
        for place in 0..=length {
            for insert in [
                "", "\\n", "\\\"", "\\\\", "\\u00e9", "é", "🦄", "\u{80}", "\u{1f}", "\"", "!", "#", "[",
                "]", "\u{a0}", "\u{7f}",
            ] {
                let string = format!("{}{insert}{}", "a".repeat(place), "z".repeat(length - place));
                let message = format!(r#"{{"type":"a","payload":"{string}"}}"#);
                assert_eq!(
                    read(&protocol, message.as_bytes()).is_ok(),
                    insert != "\u{1f}" && insert != "\"",
                    "{message}"
                );
            }
        }
    }
}
