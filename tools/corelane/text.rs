//! Texts for a terminal: names made harmless, and numbers, times and sizes in few characters.

use unicode_width::UnicodeWidthChar;

/// The columns that a text takes.
pub fn width(text: &str) -> usize {
    text.chars().map(|char| char.width().unwrap_or(0)).sum()
}

/// Whether a terminal may do something else with this character than show it in a place of its own: control
/// characters, marks that join the character before, and marks that change the direction of a text.
fn is_unsafe(char: char) -> bool {
    char.width().unwrap_or(0) == 0 || matches!(char, '\u{2028}' | '\u{2029}' | '\u{00ad}')
}

/// A text that a terminal shows as it is. Characters that are not only shown become `\u{1b}` and the like.
pub fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\\' => cleaned.push_str("\\\\"),
            _ if is_unsafe(char) => cleaned.extend(char.escape_unicode()),
            _ => cleaned.push(char),
        }
    }
    cleaned
}

/// As [`clean`], for one field of a line: without spaces, and never empty.
pub fn field(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    let spaces =
        |char: char| if char.is_whitespace() { format!("\\u{{{:x}}}", u32::from(char)) } else { char.into() };
    clean(text).chars().map(spaces).collect()
}

/// As [`clean`], for a text of many lines. Backslashes stay as they are.
pub fn lines(text: &str) -> String {
    let safe = |char: char| match char {
        '\n' | '\t' => char.to_string(),
        _ if is_unsafe(char) => char.escape_unicode().to_string(),
        _ => char.to_string(),
    };
    text.chars().map(safe).collect()
}

/// JSON without characters that a terminal does not only show. They can only be in its texts, where `\u001b` is the
/// same.
pub fn json(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for char in text.chars() {
        if char != '\n' && is_unsafe(char) {
            let mut units = [0; 2];
            char.encode_utf16(&mut units).iter().for_each(|unit| cleaned.push_str(&format!("\\u{unit:04x}")));
        } else {
            cleaned.push(char);
        }
    }
    cleaned
}

/// Exactly `columns` columns: the text, cut with `…`, or filled with spaces.
pub fn fit(text: &str, columns: usize, right: bool) -> String {
    let taken = width(text);
    if taken <= columns {
        let fill = " ".repeat(columns - taken);
        return if right { fill + text } else { text.to_owned() + &fill };
    }
    let (mut cut, mut used) = (String::new(), 0);
    for char in text.chars() {
        let next = used + char.width().unwrap_or(0);
        if next + 1 > columns {
            break;
        }
        cut.push(char);
        used = next;
    }
    if used < columns {
        cut.push('…');
        used += 1;
    }
    cut + &" ".repeat(columns - used)
}

/// A number with thousands separated; from ten million on, in millions.
pub fn count(number: u64) -> String {
    if number >= 10_000_000_000 {
        return format!("{:.1}G", number as f64 / 1e9);
    }
    if number >= 10_000_000 {
        return format!("{:.1}M", number as f64 / 1e6);
    }
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate per second.
pub fn rate(number: f64) -> String {
    if number.is_finite() && number > 0.0 && number < 10.0 {
        return format!("{number:.1}");
    }
    count(number.round() as u64)
}

/// A share of 1, as a percentage.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.01 {
        "<0.01%".to_owned()
    } else if percent > 0.0 && percent < 10.0 {
        format!("{percent:.2}%")
    } else {
        format!("{percent:.0}%")
    }
}

pub fn bytes(number: u64) -> String {
    let mut value = number as f64;
    if number < 1024 {
        return format!("{number} B");
    }
    for unit in ["KiB", "MiB", "GiB"] {
        value /= 1024.0;
        if value < 999.5 {
            return format!("{} {unit}", three(value));
        }
    }
    format!("{} TiB", three(value / 1024.0))
}

/// A duration in nanoseconds.
pub fn duration(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    for (unit, length) in [("ns", 1.0), ("µs", 1e3), ("ms", 1e6)] {
        if value < 999.5 * length {
            return if unit == "ns" {
                format!("{nanoseconds} ns")
            } else {
                format!("{} {unit}", three(value / length))
            };
        }
    }
    if value < 120e9 { format!("{} s", three(value / 1e9)) } else { age(nanoseconds / 1_000_000) }
}

/// A number below 1,000 with three digits.
fn three(value: f64) -> String {
    let places = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.places$}")
}

/// How long ago something was, or how long it has lasted, from milliseconds.
pub fn age(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match () {
        () if seconds < 120 => format!("{seconds} s"),
        () if minutes < 120 => format!("{minutes} min"),
        () if hours < 48 => format!("{hours} h {} min", minutes % 60),
        () => format!("{days} d {} h", hours % 24),
    }
}

/// The time of day of a moment, UTC.
pub fn clock(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Day and time of a moment, UTC, as in RFC 3339.
pub fn moment(milliseconds: u64) -> String {
    // Days since 1 March of the year 0, in eras of 400 years.
    let days = milliseconds / 86_400_000 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * from_march + 2) / 5 + 1, (from_march + 2) % 12 + 1);
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{}Z", clock(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_shown_characters_is_left() {
        assert_eq!(clean("\u{1b}[2Jx\u{9b}31m\r\n\u{7f}"), r"\u{1b}[2Jx\u{9b}31m\u{d}\u{a}\u{7f}");
        assert_eq!(clean("a\u{202e}b\u{200b}c\u{301}\u{2028}"), r"a\u{202e}b\u{200b}c\u{301}\u{2028}");
        assert_eq!(clean("漢字 ü \\"), "漢字 ü \\\\");
        assert_eq!((field(""), field("a b")), ("-".to_owned(), r"a\u{20}b".to_owned()));
        assert_eq!(lines("a\tb\nc\u{1b}"), "a\tb\nc\\u{1b}");
        let cleaned = json("[\"\u{9b}\u{e0041}\"]");
        assert_eq!(cleaned, r#"["\u009b\udb40\udc41"]"#);
        assert_eq!(serde_json::from_str::<Vec<String>>(&cleaned).unwrap(), ["\u{9b}\u{e0041}"]);
    }

    #[test]
    fn every_text_fits() {
        assert_eq!(fit("abc", 5, true), "  abc");
        assert_eq!(fit("abcdef", 4, false), "abc…");
        // A wide character that would be cut in half leaves its place empty.
        for columns in 0..8 {
            assert_eq!(width(&fit("漢字漢字漢字", columns, false)), columns);
        }
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0, 999, 1_000, 9_999_999].map(count), ["0", "999", "1,000", "9,999,999"]);
        assert_eq!(
            (count(12_340_000), rate(0.25), rate(1234.5)),
            ("12.3M".into(), "0.2".into(), "1,235".into())
        );
        assert_eq!(
            [0, 999, 1_500, 1_000_000, 61_000_000_000].map(duration),
            ["0 ns", "999 ns", "1.50 µs", "1.00 ms", "61.0 s"]
        );
        assert_eq!([1_023, 1_536, 1 << 30].map(bytes), ["1023 B", "1.50 KiB", "1.00 GiB"]);
        assert_eq!([0.0, 0.00001, 0.012, 1.0].map(percent), ["0%", "<0.01%", "1.20%", "100%"]);
        assert_eq!([1_000, 130_000, 7_500_000, 1 << 28].map(age), ["1 s", "2 min", "2 h 5 min", "3 d 2 h"]);
    }

    #[test]
    fn moments_are_right() {
        assert_eq!(moment(0), "1970-01-01T00:00:00Z");
        assert_eq!(moment(951_782_399_000), "2000-02-28T23:59:59Z");
        assert_eq!(moment(951_868_799_000), "2000-02-29T23:59:59Z");
        assert_eq!(moment(1_764_370_000_000), "2025-11-28T22:46:40Z");
    }
}
