//! Writes a text into a JSON string.

/// Passes `text` to `put`, escaped for the inside of a JSON string.
pub(super) fn escaped(text: &str, mut put: impl FnMut(&str)) {
    let mut rest = text;
    let special = |character: char| matches!(character, '"' | '\\' | '\0'..'\x20');
    while let Some((plain, behind)) = rest.find(special).and_then(|place| rest.split_at_checked(place)) {
        put(plain);
        let mut characters = behind.chars();
        match characters.next() {
            Some('"') => put("\\\""),
            Some('\\') => put("\\\\"),
            Some(control) => {
                put("\\u00");
                for digit in [control as u32 >> 4, control as u32 & 0xF] {
                    let digit = char::from_digit(digit, 16).unwrap_or_default();
                    put(digit.encode_utf8(&mut [0; 1]));
                }
            }
            None => {}
        }
        rest = characters.as_str();
    }
    put(rest);
}
