//! Parses the text that says where a field is. The text is a key, `to`, or a path into objects,
//! `message.recipient.sessionid`, or several of these in order of preference, `handle_id|session_id`. A `#` after a
//! place allows a number as well. A `?` before a place selects the key itself, whatever its value. `table` calls this
//! module when a protocol is built, never while a message is read.

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
