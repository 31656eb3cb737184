//! The expected result for a command.

use super::{Rules, check_text};
use corelane::envelope::{Argument, MAX_FIELD_BYTES, ReadError, read};

/// The word that a message starts with, if the protocol has commands.
pub fn command<'a>(rules: &Rules, message: &'a [u8]) -> Option<&'a str> {
    let word = std::str::from_utf8(message).ok()?.split(' ').next()?;
    let letters = |word: &str| word.chars().all(|letter| letter == '_' || letter.is_ascii_uppercase());
    Some(word).filter(|word| !rules.words.is_empty() && !word.is_empty() && letters(word))
}

pub fn check_command(rules: &Rules, word: &str, message: &str, sender: &str) {
    let argument =
        rules.words.iter().find(|(known, _)| *known == word).map_or(Argument::Nothing, |known| known.1);
    let mut parts = message.splitn(3, ' ').skip(1);
    let (name, rest) = (parts.next().unwrap_or_default(), parts.next());
    let bad =
        name.chars().any(|letter| letter.is_control() || letter.is_whitespace() || letter == '\u{feff}');
    let long = word.len() > MAX_FIELD_BYTES || argument != Argument::Nothing && name.len() > MAX_FIELD_BYTES;
    let envelope = match read(&rules.protocol, message.as_bytes()) {
        Ok(envelope) => envelope,
        Err(ReadError::FieldTooLong) if long => return,
        Err(ReadError::NotJson) if bad && argument != Argument::Nothing => return,
        Err(error) => panic!("{error:?}: {message}"),
    };
    assert!(!long && (argument == Argument::Nothing || !bad), "{message}");
    let is = |one| (argument == one && !name.is_empty()).then(|| name.to_string());
    check_text(envelope.message_type(), Some(word.to_string()));
    check_text(envelope.recipient(), is(Argument::Recipient));
    check_text(envelope.room(), is(Argument::Room));
    check_text(envelope.claimed_sender(), is(Argument::Sender));
    check_text(envelope.transaction(), None);
    let mut relayed = vec![0; envelope.relayed_len(sender)];
    assert_eq!(envelope.write_relayed(sender, &mut relayed), relayed.len());
    let relayed = String::from_utf8(relayed).unwrap();
    if matches!(argument, Argument::Nothing | Argument::Room) {
        return assert_eq!(relayed, message);
    }
    let mut again = relayed.splitn(3, ' ');
    assert_eq!(again.next(), Some(word));
    assert_eq!(unpercent(again.next().unwrap()), sender);
    assert_eq!(again.next(), rest);
}

fn unpercent(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        assert!(!first.is_ascii_whitespace() && !first.is_ascii_control(), "{text}");
        rest = behind;
        bytes.push(match first {
            b'%' => {
                let digits = std::str::from_utf8(&behind[..2]).unwrap();
                rest = &behind[2..];
                u8::from_str_radix(digits, 16).unwrap()
            }
            other => *other,
        });
    }
    String::from_utf8(bytes).unwrap()
}
