//! Numbers of the host in JSON. JSON has no infinity, so an infinite value is written as the text `Infinity`
//! or `-Infinity`. A null would mean that there is no value.

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::Serializer;

/// Writes a number, or null for `None`.
pub(crate) fn number<S: Serializer>(
    value: &(impl Into<Option<f64>> + Copy),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match (*value).into() {
        Some(value) if value == f64::INFINITY => serializer.serialize_str("Infinity"),
        Some(value) if value == f64::NEG_INFINITY => serializer.serialize_str("-Infinity"),
        Some(value) => serializer.serialize_f64(value),
        None => serializer.serialize_none(),
    }
}

/// What [`read_number`] reads: a number, or one that may be missing.
pub(crate) trait ReadNumber: Sized {
    fn from_json(value: Option<f64>) -> Option<Self>;
}

impl ReadNumber for f64 {
    fn from_json(value: Option<f64>) -> Option<Self> {
        value
    }
}

impl ReadNumber for Option<f64> {
    fn from_json(value: Option<f64>) -> Option<Self> {
        Some(value)
    }
}

/// Reads what [`number`] has written.
pub(crate) fn read_number<'de, D: Deserializer<'de>, T: ReadNumber>(deserializer: D) -> Result<T, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(f64),
        Text(String),
    }

    let value = match Option::<Written>::deserialize(deserializer)? {
        None => None,
        Some(Written::Number(value)) => Some(value),
        Some(Written::Text(text)) => match text.as_str() {
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => return Err(Error::custom(format_args!("{text:?} is not a number, Infinity or -Infinity"))),
        },
    };
    T::from_json(value).ok_or_else(|| Error::custom("a number is missing: null"))
}

/// The JSON schema of what [`number`] writes.
#[cfg(feature = "schema")]
pub(crate) struct Number;

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Number {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [{"type": "number"}, {"enum": ["Infinity", "-Infinity"]}, {"type": "null"}]
        })
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::{number, read_number};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    struct Pair {
        #[serde(serialize_with = "number", deserialize_with = "read_number")]
        always: f64,
        #[serde(serialize_with = "number", deserialize_with = "read_number")]
        perhaps: Option<f64>,
    }

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for (always, perhaps, text) in [
            (1.5, None, r#"{"always":1.5,"perhaps":null}"#),
            (f64::INFINITY, Some(f64::NEG_INFINITY), r#"{"always":"Infinity","perhaps":"-Infinity"}"#),
        ] {
            let pair = Pair { always, perhaps };
            assert_eq!(serde_json::to_string(&pair).unwrap(), text);
            assert_eq!(serde_json::from_str::<Pair>(text).unwrap(), pair);
        }
        assert_eq!(serde_json::from_str::<Pair>(r#"{"always":2,"perhaps":3}"#).unwrap().perhaps, Some(3.0));
        for wrong in [r#"{"always":null,"perhaps":1}"#, r#"{"always":"infinite","perhaps":1}"#] {
            serde_json::from_str::<Pair>(wrong).unwrap_err();
        }
    }
}
