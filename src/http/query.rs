//! The parameters of an address. An unknown parameter or value is refused with the list of the allowed ones.

use std::borrow::Cow;

/// The values of the named parameters of a query. Each may be given once; no other is allowed.
///
/// ```
/// use corelane::http::parameters;
///
/// let [id, limit] = parameters("id=a%20b", ["id", "limit"])?;
/// assert_eq!((id.as_deref(), limit), (Some("a b"), None));
/// assert_eq!(parameters("size=1", ["id"]).unwrap_err(), "unknown parameter size; allowed: id");
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// A text with the unknown or repeated parameter, for a 400 answer.
pub fn parameters<'a, const N: usize>(
    query: &'a str,
    names: [&str; N],
) -> Result<[Option<Cow<'a, str>>; N], String> {
    let mut found = [const { None }; N];
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let place = names.iter().position(|one| *one == name).and_then(|place| found.get_mut(place));
        match place {
            Some(place @ None) => *place = Some(value),
            Some(Some(_)) => return Err(format!("{name} is given twice; allowed: once")),
            None if names.is_empty() => return Err(format!("unknown parameter {name}; allowed: none")),
            None => return Err(format!("unknown parameter {name}; allowed: {}", names.join(", "))),
        }
    }
    Ok(found)
}

/// The value with this name.
pub(super) fn choose<T: Copy>(parameter: &str, name: &str, all: &[(&str, T)]) -> Result<T, String> {
    let found = all.iter().find(|(one, _)| *one == name).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        format!("{parameter} = {name} is not valid; allowed: {}", names.join(", "))
    })
}

pub(super) fn none(query: &str) -> Result<(), String> {
    parameters(query, []).map(|[]| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_known_and_stand_there_once() {
        let names = |query: &'static str| parameters(query, ["name", "span"]);
        let value = |text: &'static str| Some(Cow::Borrowed(text));
        assert_eq!(names("").unwrap(), [None, None]);
        assert_eq!(
            names("span=hour&name=types.peerjs%2FOFFER").unwrap(),
            [value("types.peerjs/OFFER"), value("hour")]
        );
        assert_eq!(names("nam=x").unwrap_err(), "unknown parameter nam; allowed: name, span");
        assert_eq!(names("name=x&name=x").unwrap_err(), "name is given twice; allowed: once");
        assert_eq!(none("x").unwrap_err(), "unknown parameter x; allowed: none");
    }
}
